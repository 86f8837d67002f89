package redact

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"firstline/internal/lazy"
)

// Text that covers more than a line.
var (
	// Control sequences, strings that a control sequence begins (titles,
	// links), and the other escapes (ECMA-48).
	escape = lazy.Regexp(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]|` +
		`(?:\x1b[\]PX^_]|[\x{90}\x{98}\x{9d}-\x{9f}])[^\x07\x1b\x{9c}\n]*(?:\x07|\x1b\\|\x{9c})|` +
		`\x1b[ -/]*[0-~]`)
	// A key whose end is missing goes to the end of the text.
	privateKey = lazy.Regexp(`(?is)--+ ?BEGIN[^\n-]*PRIVATE KEY.*?(?:--+ ?END[^\n-]*PRIVATE KEY[^\n-]*--+|\z)`)
	// A key whose beginning is missing, since EC2 keeps the last 64 KiB of a console.
	// Its last line may be short.
	endOfKey = lazy.Regexp(`(?:.*[A-Za-z0-9+/=]{40}[ \t]*\n)*(?:.*\n)?.*--+ ?(?i:END[^\n-]*PRIVATE KEY)[^\n-]*-*`)
	// What EC2Launch prints of the administrator's password.
	windowsPassword = lazy.Regexp(`(?is)(<password>).*?(</password>|\z)`)
	randomHeadline  = lazy.Regexp(`(?i)the following .?random.? passwords?`)
	randomPassword  = lazy.Regexp(`^((?:.*[\]:>][ \t]+)?[ \t]*[A-Za-z_][\w.@\\-]*\$?:)[^\s/]\S*[ \t]*$`)
)

// Secrets that their form gives away.
var (
	token = lazy.Regexp(`(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|` + // AWS access keys
		`(?:IQoJ|FwoG|FQoG)[A-Za-z0-9+/=]{40,}|` + // AWS session tokens
		`eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|` + // JSON web tokens
		`gh[a-z]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{10,}|npm_[A-Za-z0-9]{20,}|` +
		`xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|[rs]k_(?:live|test)_\w{10,}|AIza[\w-]{30,}|` +
		`\bhv[sbr]\.[\w-]{10,}|` + // HashiCorp Vault
		`\bSG\.[\w-]{16,}(?:\.[\w-]+)?|` + // SendGrid
		`\bdo[opr]_v1_\w{16,}|` + // DigitalOcean
		`\bsk-[\w-]{20,}|` + // OpenAI, Anthropic
		`\bATATT3[\w=-]{20,}|` + // Atlassian
		`\bSWMTKN-1-[\w-]+|` + // Docker Swarm
		`\bAGE-SECRET-KEY-1[A-Z0-9]{20,}|` +
		`\$(?:1|2[abxy]?|5|6|7|g?y|argon2id?)\$[^\s:"']+`) // password hashes
	userInfo = lazy.Regexp(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/:@]*:\S*@|[^\s/]*@)`)
)

// secretKeys removes AWS's secret keys: 40 letters, digits, slashes and pluses of
// all kinds, which the 40 of a SHA-1 are not.
func secretKeys(line string) string {
	outside := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '+' && r != '/'
	}
	for run := range strings.FieldsFuncSeq(line, outside) {
		if len(run) == 40 && run != strings.ToLower(run) && run != strings.ToUpper(run) && strings.ContainsAny(run, "0123456789") {
			line = strings.ReplaceAll(line, run, redacted)
		}
	}
	return line
}

// hints are what a line with a secret has one of, in small letters. A console has
// a thousand lines and a regular expression takes its time with each, most of them
// ordinary.
var hints = []string{
	"pass", "pwd", "secret", "token", "credential", "key", "auth", "cookie", "signature", "sig=", "jwt=", "sid=",
	"bearer", "basic", "digest", "negotiate", "://", "-u", "--user", "--proxy-user", "curl", "redis-cli", "mysql", "mariadb", "login",
	"hooks.slack", "webhook", "a3t", "akia", "asia", "abia", "acca", "iqoj", "fwog", "fqog", "eyj", "gh", "github_pat_", "glpat-", "npm_",
	"xox", "xapp-", "k_live_", "k_test_", "aiza", "hvs.", "hvb.", "hvr.", "sg.", "_v1_", "sk-", "atatt3", "swmtkn-1-", "$",
}

// suspect reports whether a line may hold a secret.
func suspect(line string) bool {
	line = strings.ToLower(line)
	return slices.ContainsFunc(hints, func(hint string) bool { return strings.Contains(line, hint) })
}

const (
	// strong names have a secret for their value, however it is said.
	strong = `(?:pass(?:word|wd|phrase|code)|secret|token|credential|(?:api|access|account|private|auth|encryption|master|shared|storage|signing|recovery)[ _.-]?key)[a-z0-9_.-]*|authorization|cookie`
	// weak names are a secret's where a value is assigned to them: fsck prints
	// "Pass 1: ...".
	weak  = `[a-z0-9_.-]*(?:pass|pwd)`
	quote = `\\?["']?[ \t]*`
	// The insides of quotes, up to the end of the line if need be.
	quoted = `"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|\\".*`
)

// rule removes the values that stand behind something.
type rule struct {
	// before ends where the value begins. Its first group is the value's name.
	before func() *regexp.Regexp
	// value is how far the value goes; nil: to the end of the line.
	value func() *regexp.Regexp
	// keep says that what follows is no value; nil keeps nothing. It is asked for each
	// name of a line, so that it must not read the whole rest: an instance may print
	// what it likes.
	keep func(line, name, rest string) bool
}

var (
	anywhere = []rule{
		// Whoever knows such an address may use it.
		{
			before: lazy.Regexp(`(?i)(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com/webhookb2/|` +
				`[?&;](?:key|sig|auth|jwt|sid)=)`),
			value: lazy.Regexp(`^[^&\s"'<>\\]+`),
		},
		// curl's user and password, also among other short options (-fsSu).
		{
			before: lazy.Regexp(`(?:^|[ \t"'])(-[A-Za-z]{0,6}[uU][ \t]*|--(?:proxy-)?user[ \t=]+)`),
			value:  lazy.Regexp(`^(?:"[^":]+:(?:\\.|[^"\\])*"?|'[^':]+:(?:\\.|[^'\\])*'?|[^\s:"']+:\S+)`),
			keep:   notCurl,
		},
		// Schemes of HTTP's authentication, before an option takes one for its value.
		{
			before: lazy.Regexp(`(?i)\b(bearer|basic|digest|negotiate|geniekey|token)[ \t]+`),
			value:  lazy.Regexp(`(?i)^[a-z0-9._~+/=:-]{6,}`),
			keep:   func(_, _, rest string) bool { return prose().MatchString(rest) },
		},
		// Options, and what has a password behind it without a sign of that.
		{
			before: lazy.Regexp(`((?i:--?[a-z0-9-]*(?:` + strong + `))[ \t]+(?:[=:>]+[ \t]+)?|(?i:requirepass|masterauth|_authToken)["']?[ \t=:]+|` +
				`\bsshpass[ \t]+-p[ \t]*|\bredis-cli\b.*?[ \t](?:-a|--pass)[ \t]+|\b(?:mysql|mariadb)[a-z]*\b.*?[ \t]-p|` +
				`\b(?:docker|podman)[ \t]+login\b.*?[ \t]-p[ \t]+)`),
			value: lazy.Regexp(`^(?:` + quoted + `|\S+)`),
			keep:  func(_, _, rest string) bool { return saidOfOption().MatchString(rest) },
		},
		// A value ends at a blank, less the punctuation before it. In JSON, where the name
		// is quoted, the colon ends no clause.
		{
			before: lazy.Regexp(`(?i)(` + strong + `|` + weak + `|[a-z0-9_.-]*signature)(?:` + quote + `(?:=>|:=|=)|\\?["'][ \t]*:)[ \t]*`),
			value:  lazy.Regexp(`^(?:` + quoted + `|(?:(?i:bearer|basic|digest|negotiate|geniekey|token)[ \t]+)?(?:[,;)}]*[^\s,;)}])+)`),
			keep:   harmless,
		},
		{
			before: lazy.Regexp(`(?i)(` + strong + `|` + weak + `|[a-z0-9_.-]*signature)` + quote + `:[ \t]*`),
			value:  lazy.Regexp(`^(?:` + quoted + `)`),
			keep:   harmless,
		},
	}
	toEndOfLine = []rule{
		{
			before: lazy.Regexp(`(?i)(` + strong + `)(?:["']?[ \t]+(?:is|was|(?:has been )?(?:set )?to)[ \t]+|[^=:]*(?:=>|:=|=[ \t]|[ \t]=|:)[ \t]*)`),
			keep:   func(_, _, rest string) bool { return strings.HasPrefix(rest[1:], redacted) },
		},
		{before: lazy.Regexp(`(?i)(` + weak + `)` + quote + `:[ \t]*`), keep: notAssigned},
	}
	// In an error a colon may end a clause: the value has to look like none of its
	// words, and the name must not be a path's end.
	wordAndDigit = lazy.Regexp(`(?i)((?:^|[\s{,;("'])[a-z0-9_-]*(?:pass|pwd|passw(?:or)?d)[ \t]*:[ \t]*)\S*(?:[a-z]\S*\d|\d\S*[a-z])\S*`)
	chpasswd     = lazy.Regexp(`(\b[A-Za-z_][\w.-]*:)[^\s"'|]+`)
	prose        = lazy.Regexp(`^(?:[A-Z]?[a-z]{1,20}|[A-Z]{1,20})(?:[/-][a-z]{1,20})*["'.,:;)]*(?:[ \t]|$)`)
	saidOfOption = lazy.Regexp(`(?i)^(?:is|was|set|not|and|or|has|must|should|option|directive|parameter|setting)(?:[ \t]|$)`)
	ids          = lazy.Regexp(`^[0-9]+:[0-9]+$`)
)

// inText redacts a line of any text.
func inText(line string) string {
	line = token().ReplaceAllString(line, redacted)
	line = userInfo().ReplaceAllString(line, "${1}"+redacted+"@")
	if strings.Contains(strings.ToLower(line), "chpasswd") {
		line = chpasswd().ReplaceAllString(line, "${1}"+redacted)
	}
	return wordAndDigit().ReplaceAllString(behind(anywhere, line), "${1}"+redacted)
}

// behind applies rules to a line.
func behind(rules []rule, line string) string {
	for _, r := range rules {
		var b strings.Builder
		done := 0
		for _, m := range r.before().FindAllStringSubmatchIndex(line, -1) {
			value := line[m[1]:]
			if m[1] < done || value == "" || r.keep != nil && r.keep(line, line[m[2]:m[3]], value) {
				continue
			}
			if r.value != nil {
				value = r.value().FindString(value)
			}
			if value != "" {
				b.WriteString(line[done:m[1]] + withinQuotes(value))
				done = m[1] + len(value)
			}
		}
		line = b.String() + line[done:]
	}
	return line
}

// withinQuotes returns what stands for a value, with the value's quotes.
func withinQuotes(value string) string {
	first, last := value[:1], value[len(value)-1:]
	switch {
	case first != `"` && first != "'":
		return redacted
	case len(value) > 1 && last == first:
		return first + redacted + last
	}
	return first + redacted
}

// harmless reports whether a name only ends like a weak one (the kernel prints
// "Speculative Store Bypass: Mitigation") or is the shell's for a directory
// (sudo prints "PWD=/root").
func harmless(_, name, rest string) bool {
	if name == "PWD" || name == "OLDPWD" {
		return strings.HasPrefix(rest, "/")
	}
	return slices.ContainsFunc([]string{"bypass", "compass", "surpass", "trespass"}, func(word string) bool {
		return strings.HasSuffix(strings.ToLower(name), word)
	})
}

// notAssigned reports whether a weak name's colon is followed by what the command
// pwd has to say, or by a value that has been redacted within its quotes.
func notAssigned(line, name, rest string) bool {
	bare := strings.EqualFold(name, "pass") || strings.EqualFold(name, "pwd")
	return harmless(line, name, rest) || strings.HasPrefix(rest[1:], redacted) ||
		bare && strings.Contains(rest, " ") && prose().MatchString(rest)
}

// notCurl reports whether an option like curl's is another command's: the time of
// "date -u" and the ids of "docker run --user" stay.
func notCurl(line, option, rest string) bool {
	word, _, _ := strings.Cut(rest, " ")
	user, password, _ := strings.Cut(strings.Trim(word, `"'`), ":")
	if strings.HasPrefix(user, "+%") || strings.HasPrefix(password, "//") {
		return true
	}
	// A long command goes on in the next line.
	if strings.HasPrefix(strings.TrimLeft(line, " \t"), "-u") || strings.Contains(line, "curl") {
		return false
	}
	return !strings.HasPrefix(option, "--") || user == password || ids().MatchString(word)
}
