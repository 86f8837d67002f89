package redact

import (
	"regexp"
	"slices"
	"strings"

	"firstline/internal/lazy"
)

// consoleRules and textRules are asked in this order.
var (
	consoleRules = append(slices.Clone(commonRules),
		rule{words: names, anyCase: true, redact: assignedOrTold},
		rule{words: []string{"pass", "pwd", "signature"}, anyCase: true, redact: weakNames},
		rule{words: []string{"pass", "pwd"}, anyCase: true, redact: weakNamesWithColon},
		rule{words: schemes, anyCase: true, redact: scheme},
	)
	// Here the schemes come first: what they name ends at a blank, and what is
	// assigned may end sooner.
	textRules = append(slices.Clone(commonRules),
		rule{words: schemes, anyCase: true, redact: scheme},
		rule{words: names, anyCase: true, redact: assigned},
		rule{words: []string{"pass", "pwd", "signature"}, anyCase: true, redact: weakNames},
		rule{words: []string{"pass", "pwd"}, anyCase: true, redact: passwordWithColon},
	)
	commonRules = []rule{
		{words: formWords, redact: replaceAll(form, redacted)},
		{redact: secretKeys},
		{words: []string{"hooks.slack", "webhook"}, anyCase: true, redact: replaceAll(webhook, "${1}"+redacted)},
		{words: []string{"://"}, redact: replaceAll(userInfo, "${1}"+redacted+"@")},
		{words: []string{"key=", "sig=", "auth=", "jwt=", "sid="}, anyCase: true, redact: replaceAll(query, "${1}"+redacted)},
		{words: []string{"curl", "-u"}, redact: userOption},
		{words: []string{"requirepass", "masterauth", "authtoken", "sshpass", "redis-cli", "mysql", "mariadb", "login"}, anyCase: true, redact: commands},
		{words: []string{"chpasswd"}, anyCase: true, redact: chpasswd},
	}
	// names holds a part of every strong name and header, schemes those of HTTP's
	// authentication.
	names   = []string{"pass", "secret", "token", "credential", "key", "authorization", "cookie"}
	schemes = []string{"bearer", "basic", "digest", "negotiate", "geniekey", "token"}
)

// replaceAll returns a rule's redact that replaces every match.
func replaceAll(pattern func() *regexp.Regexp, with string) func(string) string {
	return func(line string) string { return pattern().ReplaceAllString(line, with) }
}

const (
	// strong names have a secret for their value, however it is said.
	strong = `(?:pass(?:word|wd|phrase|code)|secret|token|credential|(?:api|access|account|private|auth|encryption|master|shared|storage|signing|recovery)[ _.-]?key)[a-z0-9_.-]*`
	header = `(?:authorization|cookie)`
	is     = `(?:=>|:=|[=:])[ \t]*`
	assign = `["']?[ \t]*` + is
	// The insides of quotes, up to the end of the line if need be.
	double = `(?:\\.|[^"\\])*`
	single = `(?:\\.|[^'\\])*`
	quoted = `"` + double + `"?|'` + single + `'?`
)

// Text that covers more than a line.
var (
	// Control sequences, strings that a control sequence begins (titles,
	// links), and the other escapes (ECMA-48).
	escape = lazy.Regexp(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]|` +
		`(?:\x1b[\]PX^_]|[\x{90}\x{98}\x{9d}-\x{9f}])[^\x07\x1b\x{9c}\n]*(?:\x07|\x1b\\|\x{9c})|` +
		`\x1b[ -/]*[0-~]`)
	// A key whose end is missing goes to the end of the text.
	keyBlock = lazy.Regexp(`(?is)--+ ?BEGIN[^\n-]*PRIVATE KEY.*?(?:--+ ?END[^\n-]*PRIVATE KEY[^\n-]*--+|\z)`)
	keyEnd   = lazy.Regexp(`(?i)--+ ?END[^\n-]*PRIVATE KEY[^\n-]*-*`)
	keyLine  = lazy.Regexp(`[A-Za-z0-9+/=]{40,}[ \t]*$`)
	// What EC2Launch prints of the administrator's password.
	windowsPassword = lazy.Regexp(`(?is)(<password>).*?(</password>|\z)`)
	randomHeadline  = lazy.Regexp(`(?i)the following .?random.? passwords?`)
	randomPassword  = lazy.Regexp(`^((?:.*[\]:>][ \t]+)?[ \t]*[A-Za-z_][\w.@\\-]*\$?:)[^\s/]\S*[ \t]*$`)
)

// Tokens that their form gives away.
var (
	form = lazy.Regexp(`(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|` + // AWS access keys
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
	formWords = []string{
		"A3T", "AKIA", "ASIA", "ABIA", "ACCA", "IQoJ", "FwoG", "FQoG", "eyJ", "gh", "github_pat_", "glpat-", "npm_", "xox", "xapp-",
		"k_live_", "k_test_", "AIza", "hvs.", "hvb.", "hvr.", "SG.", "_v1_", "sk-", "ATATT3", "SWMTKN-1-", "AGE-SECRET-KEY-1", "$",
	}
	// Whoever knows such an address may use it.
	webhook = lazy.Regexp(`(?i)((?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)|` +
		`discord(?:app)?\.com/api/webhooks|webhook\.office\.com/webhookb2)/)[^\s"'<>\\]+`)
	userInfo = lazy.Regexp(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/:@]*:\S*@|[^\s/]*@)`)
	query    = lazy.Regexp(`(?i)([?&;](?:key|sig|auth|jwt|sid)=)[^&\s"'<>]+`)
)

// secretKeys removes AWS's secret keys: 40 letters, digits, slashes and pluses
// of all kinds, which the 40 of a SHA-1 are not.
func secretKeys(s string) string {
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

func inKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

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

var (
	named = lazy.Regexp(`(?i)((?:` + strong + `|` + header + `)` + assign + `)(?:(")` + double + `("?)|(')` + single + `('?))|` +
		`(` + strong + `=)\S+|` +
		`(` + strong + `["']?[ \t]+(?:is|was|(?:has been )?(?:set )?to)[ \t]+|` + strong + `[^=:]*` + is + `|` + header + assign + `)\S.*`)
	option = lazy.Regexp(`(?i)(--?[a-z0-9-]*` + strong + `)([ \t]+)(` + quoted + `|\S+)`)
)

// assignedOrTold removes what a console line gives as the value of a strong name.
func assignedOrTold(line string) string {
	line = named().ReplaceAllString(line, "${1}${2}${4}${6}${7}"+redacted+"${3}${5}")
	return replaceValues(option(), line, func(string, string) bool { return false })
}

// A quoted value after a quoted name is JSON, where the colon ends no clause.
var equals = lazy.Regexp(`(?i)(` + strong + `|` + header + `)(["']?[ \t]*(?:=>|:=|=)[ \t]*|\\?["'][ \t]*:[ \t]*)` +
	`(` + quoted + `|\\".*|(?:[^\s,;)}]|[,;)}][^\s,;)}])+)`)

// assigned removes what an error assigns to a strong name or gives to an option,
// which what it says of the option is not.
func assigned(line string) string {
	line = replaceValues(equals(), line, func(string, string) bool { return false })
	return replaceValues(option(), line, func(_, value string) bool { return prose().MatchString(value) })
}

// Weak names are a secret's where a value is assigned to them: fsck prints
// "Pass 1: ...".
const (
	weakName  = `([a-z0-9_.-]*(?:pass|pwd|signature))`
	weakColon = `([a-z0-9_.-]*(?:pass|pwd))(\\?["']?[ \t]*:[ \t]*)`
)

var (
	weakEquals = lazy.Regexp(`(?i)` + weakName + `(\\?["']?[ \t]*(?:=>|:=|=)[ \t]*)(` + quoted + `|\S+)`)
	weakQuoted = lazy.Regexp(`(?i)` + weakName + `(\\?["']?[ \t]*:[ \t]*)(` + quoted + `)`)
	weakPlain  = lazy.Regexp(`(?i)` + weakColon + `([^\s"'].*)`)
	// In an error the colon may end a clause: the value has to look like none of
	// its words, and the name must not be a path's end.
	wordAndDigit = lazy.Regexp(`(?i)((?:^|[\s{,;("'])[a-z0-9_-]*(?:pass|pwd|passw(?:or)?d)[ \t]*:[ \t]*)\S*(?:[a-z]\S*\d|\d\S*[a-z])\S*`)
	prose        = lazy.Regexp(`^(?:[A-Z]?[a-z]{1,20}|[A-Z]{1,20})(?:[/-][a-z]{1,20})*[.,:;]*$`)
)

// weakNames removes what is assigned to a weak name, and what stands in quotes
// behind it.
func weakNames(line string) string {
	return replaceValues(weakQuoted(), replaceValues(weakEquals(), line, harmless), harmless)
}

// weakNamesWithColon removes the rest of the line, unless that is what the
// command pwd has to say.
func weakNamesWithColon(line string) string {
	return replaceValues(weakPlain(), line, func(name, value string) bool {
		words := strings.Fields(value)
		bare := strings.EqualFold(name, "pass") || strings.EqualFold(name, "pwd")
		return harmless(name, value) || bare && len(words) > 1 && prose().MatchString(words[0])
	})
}

func passwordWithColon(line string) string {
	return wordAndDigit().ReplaceAllString(line, "${1}"+redacted)
}

// maxKept is how many values of a line may be kept. Behind each, the rest of the
// line is searched again, and an instance may print what it likes.
const maxKept = 20

// replaceValues replaces the last of pattern's three groups (name, separator,
// value) within its quotes, unless keep says that it is no secret. What is kept
// may hold another name.
func replaceValues(pattern *regexp.Regexp, line string, keep func(name, value string) bool) string {
	var b strings.Builder
	for kept := 0; ; {
		m := pattern.FindStringSubmatchIndex(line)
		if m == nil {
			return b.String() + line
		}
		b.WriteString(line[:m[6]])
		name, value := line[m[2]:m[3]], line[m[6]:m[7]]
		if kept < maxKept && keep(name, value) {
			kept++
			line = line[m[6]:]
			continue
		}
		b.WriteString(withinQuotes(value))
		line = line[m[7]:]
	}
}

// withinQuotes returns what stands for a value, with the value's quotes.
func withinQuotes(value string) string {
	first, last := value[0], value[len(value)-1]
	switch {
	case first != '"' && first != '\'':
		return redacted
	case len(value) > 1 && last == first:
		return string(first) + redacted + string(last)
	}
	return string(first) + redacted
}

// harmless reports whether a name only ends like a weak one (the kernel prints
// "Speculative Store Bypass: Mitigation") or is the shell's for a directory
// (sudo prints "PWD=/root").
func harmless(name, value string) bool {
	if name == "PWD" || name == "OLDPWD" {
		return strings.HasPrefix(value, "/")
	}
	return slices.ContainsFunc([]string{"bypass", "compass", "surpass", "trespass"}, func(word string) bool {
		return strings.HasSuffix(strings.ToLower(name), word)
	})
}

var (
	// -u and --user of curl, also among other short options (-fsSu), with a
	// password behind the name.
	userPassword = lazy.Regexp(`((?:^|[ \t"'])(?:-[A-Za-z]{0,6}[uU][ \t]*|--(?:proxy-)?user[ \t=]+))` +
		`("[^":]+:` + double + `"?|'[^':]+:` + single + `'?|[^\s:"']+:\S+)`)
	// What stands behind these is a password without a sign of it.
	passwordOf = lazy.Regexp(`((?i:requirepass|masterauth|_authToken)["']?[ \t=:]+|\bsshpass[ \t]+-p[ \t]*|` +
		`\bredis-cli\b.*?[ \t](?:-a|--pass)[ \t]+|\b(?:mysql|mariadb)[a-z]*\b.*?[ \t]-p|` +
		`\b(?:docker|podman)[ \t]+login\b.*?[ \t]-p[ \t]+)(` + quoted + `|\S+)`)
	userAndPassword = lazy.Regexp(`(\b[A-Za-z_][\w.-]*:)[^\s"'|]+`)
	schemeValue     = lazy.Regexp(`(?i)\b(?:bearer|basic|digest|negotiate|geniekey|token)[ \t]+[a-z0-9._~+/=:-]{6,}`)
)

// userOption removes user and password of curl. Others have such an option, too:
// the time of "date -u" and the ids of "docker run --user" stay.
func userOption(line string) string {
	// A long command goes on in the next line.
	curl := strings.Contains(line, "curl") || strings.HasPrefix(strings.TrimLeft(line, " \t"), "-u")
	return userPassword().ReplaceAllStringFunc(line, func(match string) string {
		m := userPassword().FindStringSubmatch(match)
		user, password, _ := strings.Cut(strings.Trim(m[2], `"'`), ":")
		long := strings.Contains(m[1], "--")
		switch {
		case !curl && !long, strings.HasPrefix(user, "+%"), strings.HasPrefix(password, "//"):
			return match
		case !curl && (user == password || digits(user) && digits(password)):
			return match
		}
		return m[1] + withinQuotes(m[2])
	})
}

func digits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// commands removes the passwords of commands and directives that do not call
// them so. Behind a directive's name may also be what is said about it.
func commands(line string) string {
	return passwordOf().ReplaceAllStringFunc(line, func(match string) string {
		m := passwordOf().FindStringSubmatch(match)
		switch strings.ToLower(m[2]) {
		case "is", "was", "not", "and", "or", "has", "must", "should", "option", "directive", "parameter", "setting":
			return match
		}
		return m[1] + withinQuotes(m[2])
	})
}

// chpasswd removes the passwords that a line hands to chpasswd.
func chpasswd(line string) string {
	if !strings.Contains(small(line), "chpasswd") {
		return line
	}
	return userAndPassword().ReplaceAllString(line, "${1}"+redacted)
}

// scheme removes what stands behind the name of an authentication scheme,
// unless that is prose.
func scheme(line string) string {
	return schemeValue().ReplaceAllStringFunc(line, func(match string) string {
		n := strings.IndexAny(match, " \t")
		if prose().MatchString(strings.TrimLeft(match[n:], " \t")) {
			return match
		}
		return match[:n] + " " + redacted
	})
}
