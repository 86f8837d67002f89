// Package redact removes what looks like a secret from text that firstline
// logs, stores or shows.
//
// It knows forms (tokens of well-known services, private keys) and names
// (what stands behind "password"): a secret that has neither stays.
package redact

import (
	"slices"
	"strings"
	"unicode"

	"github.com/aws/smithy-go"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// Console makes the output of an instance's console fit to be stored and
// shown. It removes terminal escapes and whatever else does not print, and
// what looks like a secret. Where it cannot tell how far a value goes, it
// removes the rest of the line. Give it the whole output: a secret whose
// beginning is cut off cannot be recognised.
func Console(s string) string {
	return redact(s, consoleRules)
}

// Text does the same for an error or a cause, more gently: such a text names
// secrets all the time and goes on after a colon ("read secret /app/token: the
// SSM parameter does not exist"), which Console takes for the value.
func Text(s string) string {
	return redact(s, textRules)
}

// Error returns the text of err, which must not be nil, as Text does. The
// messages of AWS's answers in it are redacted as thoroughly as a console: an
// answer about a signature quotes the request with its session token.
func Error(err error) string {
	text := err.Error()
	for _, message := range awsMessages(err) {
		text = strings.ReplaceAll(text, message, Console(message))
	}
	return Text(text)
}

// awsMessages returns the messages of AWS's answers in err's tree.
func awsMessages(err error) []string {
	var messages []string
	if api, ok := err.(smithy.APIError); ok && api.ErrorMessage() != "" { //nolint:errorlint // the whole tree is walked
		messages = append(messages, api.ErrorMessage())
	}
	switch e := err.(type) { //nolint:errorlint // the whole tree is walked
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			messages = append(messages, awsMessages(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			messages = append(messages, awsMessages(inner)...)
		}
	}
	return messages
}

func redact(s string, rules []rule) string {
	lines := strings.Split(clean(s), "\n")
	randomPasswords(lines)
	for n, line := range lines {
		lines[n] = apply(rules, line)
	}
	return strings.Join(lines, "\n")
}

// rule removes one kind of secret from a line.
type rule struct {
	// words are what the rule cannot match without; a rule without words is
	// asked of every line. A console has a thousand lines and a regular
	// expression takes its time with each, most of them ordinary.
	words []string
	// anyCase says that the words, in small letters, match in any case.
	anyCase bool
	redact  func(line string) string
}

func apply(rules []rule, line string) string {
	// A rule only puts "[redacted]" into the line, which completes no word, so
	// that what the line held at first decides.
	original, lower := line, small(line)
	for _, r := range rules {
		searched := original
		if r.anyCase {
			searched = lower
		}
		if len(r.words) == 0 || containsAny(searched, r.words) {
			line = r.redact(line)
		}
	}
	return line
}

func containsAny(s string, words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(s, word) })
}

// small returns s in small letters as regular expressions compare them: they
// take the long s for an s.
func small(s string) string { return strings.ReplaceAll(strings.ToLower(s), "ſ", "s") }

// clean removes what does not print, which may hide in the middle of a secret,
// and the secrets that cover several lines.
func clean(s string) string {
	s = plain(s)
	lower := small(s)
	if strings.Contains(lower, "private key") {
		s = cutKeys(keyBlock().ReplaceAllString(s, redacted))
	}
	if strings.Contains(lower, "<password>") {
		s = windowsPassword().ReplaceAllString(s, "${1}"+redacted+"${2}")
	}
	return s
}

func plain(s string) string {
	s = strings.ToValidUTF8(s, "")
	// Only these bytes begin an escape: ESC, and the control characters beyond ASCII.
	if strings.Contains(s, "\x1b") || strings.Contains(s, "\xc2") {
		s = escape().ReplaceAllString(s, "")
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

// cutKeys removes private keys whose beginning is missing: EC2 keeps the last
// 64 KiB of a console.
func cutKeys(s string) string {
	for {
		end := keyEnd().FindStringIndex(s)
		if end == nil {
			return s
		}
		// The last line of a key may be short.
		begin := lineBefore(s, strings.LastIndexByte(s[:end[0]], '\n')+1)
		for begin > 0 {
			previous := lineBefore(s, begin)
			if !keyLine().MatchString(s[previous : begin-1]) {
				break
			}
			begin = previous
		}
		s = s[:begin] + redacted + s[end[1]:]
	}
}

// lineBefore returns where the line begins that ends before begin, which is
// the beginning of a line.
func lineBefore(s string, begin int) int {
	if begin == 0 {
		return 0
	}
	return strings.LastIndexByte(s[:begin-1], '\n') + 1
}

// randomWindow is how many lines after cloud-init's headline, or after the last
// password below it, may hold a password: other programs write to the same
// console at the same time.
const randomWindow = 20

// randomPasswords removes the passwords that cloud-init makes up and prints, a
// line "user:password" each (cc_set_passwords.py).
func randomPasswords(lines []string) {
	left := 0
	for n, line := range lines {
		switch {
		case strings.Contains(small(line), "random") && randomHeadline().MatchString(line):
			left = randomWindow
		case left > 0 && randomPassword().MatchString(line):
			lines[n] = randomPassword().ReplaceAllString(line, "${1}"+redacted)
			left = randomWindow
		default:
			left--
		}
	}
}
