package guard

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// Redact makes the output of an instance's console fit to be kept and shown. It
// takes out terminal escapes and whatever else does not print, and what looks
// like a secret: private keys, keys of AWS, tokens of well-known forms, JSON web
// tokens, password hashes, HTTP credentials, user info in addresses, and the
// values of what is called a password, a secret, a token and the like. Where it
// cannot tell how far a value goes, the rest of the line goes with it.
//
// It knows forms and names: a secret that has neither stays.
func Redact(s string) string {
	r := redactor()
	// What hides in the middle of a secret comes out first.
	s = r.plain(s)
	if lower := small(s); strings.Contains(lower, "private key") || strings.Contains(lower, "<password>") {
		s = r.keyBlock.ReplaceAllString(s, redacted)
		s = r.cutKeys(s)
		s = r.windows.ReplaceAllString(s, "${1}"+redacted+"${2}")
	}
	lines := strings.Split(s, "\n")
	for n, line := range lines {
		lines[n] = r.line(line)
	}
	return strings.Join(lines, "\n")
}

// plain takes out what does not print.
func (r *patterns) plain(s string) string {
	s = strings.ToValidUTF8(s, "")
	// Only these bytes begin an escape: ESC, and the control characters beyond ASCII.
	if strings.Contains(s, "\x1b") || strings.Contains(s, "\xc2") {
		s = r.escape.ReplaceAllString(s, "")
	}
	return strings.Map(printable, strings.ReplaceAll(s, "\r\n", "\n"))
}

func printable(r rune) rune {
	switch {
	case r == '\n', r == '\t', ' ' <= r && r <= '~':
		return r
	case r == '\r':
		return '\n'
	case unicode.IsSpace(r):
		return ' '
	case !unicode.IsGraphic(r):
		return -1
	}
	return r
}

// patterns are what secrets look like.
type patterns struct {
	escape           *regexp.Regexp
	keyBlock, keyEnd *regexp.Regexp
	keyLine          *regexp.Regexp
	windows          *regexp.Regexp
	form             *regexp.Regexp
	userInfo         *regexp.Regexp
	value, option    *regexp.Regexp
	scheme, prose    *regexp.Regexp
}

// redactor compiles them when they are needed, which few invocations do.
var redactor = sync.OnceValue(func() *patterns {
	const (
		// What has a secret for its value, however it is said.
		strong = `(?:pass(?:word|wd|phrase|code)|secret|token|credential|(?:api|access|private|auth|encryption|master)[ _.-]?key)[a-z0-9_.-]*`
		// What does where a value is assigned to it: fsck prints "Pass 1: …".
		weak   = `(?:pass|pwd|signature)`
		header = `(?:authorization|cookie)`
		is     = `(?:=>|:=|[=:])[ \t]*`
		assign = `["']?[ \t]*` + is
		// The insides of quotes, up to the end of the line if need be.
		double = `(?:\\.|[^"\\])*`
		single = `(?:\\.|[^'\\])*`
	)
	return &patterns{
		// Control sequences, strings that a control sequence begins (titles,
		// links), and the other escapes (ECMA-48).
		escape: regexp.MustCompile(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]|` +
			`(?:\x1b[\]PX^_]|[\x{90}\x{98}\x{9d}-\x{9f}])[^\x07\x1b\x{9c}\n]*(?:\x07|\x1b\\|\x{9c})|` +
			`\x1b[ -/]*[0-~]`),
		// One whose end is missing goes to the end of the text.
		keyBlock: regexp.MustCompile(`(?is)--+ ?BEGIN[^\n-]*PRIVATE KEY.*?(?:--+ ?END[^\n-]*PRIVATE KEY[^\n-]*--+|\z)`),
		keyEnd:   regexp.MustCompile(`(?i)--+ ?END[^\n-]*PRIVATE KEY[^\n-]*-*`),
		keyLine:  regexp.MustCompile(`[A-Za-z0-9+/=]{40,}[ \t]*$`),
		// What Windows prints of its administrator's password.
		windows: regexp.MustCompile(`(?is)(<password>).*?(</password>|\z)`),
		form: regexp.MustCompile(`(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|` + // AWS access keys
			`(?:IQoJ|FwoG|FQoG)[A-Za-z0-9+/=]{40,}|` + // AWS session tokens
			`eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|` + // JSON web tokens
			`gh[a-z]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{10,}|npm_[A-Za-z0-9]{20,}|` +
			`xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|[rs]k_(?:live|test)_\w{10,}|AIza[\w-]{30,}|` +
			`\$(?:1|2[abxy]?|5|6|7|g?y|argon2id?)\$[^\s:"']+`), // password hashes
		userInfo: regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/:@]*:\S*@|[^\s/]*@)`),
		value: regexp.MustCompile(`(?i)((?:` + strong + `|` + weak + `|` + header + `)` + assign + `)(?:(")` + double + `("?)|(')` + single + `('?))|` +
			`((?:` + strong + `|` + weak + `)=)\S+|` +
			`(` + strong + `["']?[ \t]+(?:is|was|(?:set )?to)[ \t]+|` + strong + `[^=:]*` + is + `|` + header + assign + `).+`),
		option: regexp.MustCompile(`(?i)(--?[a-z0-9-]*` + strong + `[ \t]+)(?:"` + double + `"?|'` + single + `'?|\S+)`),
		scheme: regexp.MustCompile(`(?i)\b(?:bearer|basic|digest|negotiate|geniekey|token)[ \t]+[a-z0-9._~+/=:-]{6,}`),
		prose:  regexp.MustCompile(`^(?:[A-Z]?[a-z]{1,20}|[A-Z]{1,20})(?:[/-][a-z]{1,20})*[.,:;]*$`),
	}
})

// A regular expression takes its time with each line, and a console has a thousand.
// So each is asked only of lines that have one of the words that it cannot match
// without; scheme's and names' are in small letters.
var (
	formWords   = []string{"A3T", "AKIA", "ASIA", "ABIA", "ACCA", "IQoJ", "FwoG", "FQoG", "eyJ", "gh", "glpat-", "npm_", "xox", "xapp-", "k_live_", "k_test_", "AIza", "$"}
	schemeWords = []string{"bearer", "basic", "digest", "negotiate", "geniekey", "token"}
)

// small is a text in small letters, as regular expressions compare them: the long s
// is one of them.
func small(s string) string { return strings.ReplaceAll(strings.ToLower(s), "ſ", "s") }

func containsAny(s string, words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(s, word) })
}

// names has what every name of a secret contains.
var names = []string{"pass", "pwd", "secret", "token", "credential", "key", "signature", "authorization", "cookie"}

// line redacts one line.
func (r *patterns) line(s string) string {
	s = r.keys(s)
	if strings.Contains(s, "://") {
		s = r.userInfo.ReplaceAllString(s, "${1}"+redacted+"@")
	}
	lower := small(s)
	if containsAny(lower, names) {
		s = r.value.ReplaceAllString(s, "${1}${2}${4}${6}${7}"+redacted+"${3}${5}")
		s = r.option.ReplaceAllString(s, "${1}"+redacted)
	}
	if containsAny(lower, schemeWords) {
		s = r.schemes(s)
	}
	return s
}

// schemes takes out what stands behind the name of a scheme of HTTP's, unless that is
// prose.
func (r *patterns) schemes(s string) string {
	return r.scheme.ReplaceAllStringFunc(s, func(m string) string {
		n := strings.IndexAny(m, " \t")
		if r.prose.MatchString(strings.TrimLeft(m[n:], " \t")) {
			return m
		}
		return m[:n] + " " + redacted
	})
}

// keys takes out what has the form of a key or a token.
func (r *patterns) keys(s string) string {
	if containsAny(s, formWords) {
		s = r.form.ReplaceAllString(s, redacted)
	}
	var b strings.Builder
	done, begin := 0, 0
	for end := range len(s) + 1 {
		if end < len(s) && inKey(s[end]) {
			continue
		}
		if secretKey(s[begin:end]) {
			b.WriteString(s[done:begin] + redacted)
			done = end
		}
		begin = end + 1
	}
	return b.String() + s[done:]
}

// inKey reports whether a byte is one of AWS's secret keys' characters.
func inKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

// secretKey reports whether a run of letters, digits, slashes and pluses looks
// like one of AWS's secret keys, whose 40 characters come in all kinds; those of
// a SHA-1 do not.
func secretKey(s string) bool {
	if len(s) != 40 {
		return false
	}
	var lower, upper, digit bool
	for _, c := range s {
		lower = lower || c >= 'a' && c <= 'z'
		upper = upper || c >= 'A' && c <= 'Z'
		digit = digit || c >= '0' && c <= '9'
	}
	return lower && upper && digit
}

// cutKeys takes out private keys whose beginning is missing: the console keeps
// the last 64 KB.
func (r *patterns) cutKeys(s string) string {
	for {
		end := r.keyEnd.FindStringIndex(s)
		if end == nil {
			return s
		}
		// The last line of a key may be short.
		begin := lineBefore(s, strings.LastIndexByte(s[:end[0]], '\n')+1)
		for begin > 0 {
			previous := lineBefore(s, begin)
			if !r.keyLine.MatchString(s[previous : begin-1]) {
				break
			}
			begin = previous
		}
		s = s[:begin] + redacted + s[end[1]:]
	}
}

// lineBefore returns where the line begins that ends before a line's beginning.
func lineBefore(s string, begin int) int {
	if begin == 0 {
		return 0
	}
	return strings.LastIndexByte(s[:begin-1], '\n') + 1
}
