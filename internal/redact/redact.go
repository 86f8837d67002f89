// Package redact removes what looks like a secret from text that firstline
// logs, stores or shows.
//
// It knows forms (tokens of well-known services, private keys) and names
// (what stands behind "password"): a secret that has neither stays.
package redact

import (
	"errors"
	"strings"
	"unicode"

	"github.com/aws/smithy-go"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// Text redacts an error or a cause. Such a text names secrets all the time and
// goes on after a colon ("read secret /app/token: the SSM parameter does not
// exist"), so that what stands behind a colon is mostly kept.
func Text(s string) string { return redact(s, inText) }

// Console makes the output of an instance's console fit to be stored and
// shown. Where it cannot tell how far a value goes, it removes the rest of the
// line. Give it the whole output: a secret whose beginning is cut off cannot be
// recognised.
func Console(s string) string {
	return redact(s, func(line string) string {
		return behind(toEndOfLine, inText(line))
	})
}

// Error returns the text of err, which must not be nil, as Text does. The message
// of AWS's answer in it is redacted as thoroughly as a console: an answer about a
// signature quotes the request with its session token.
func Error(err error) string {
	text := err.Error()
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorMessage() != "" {
		text = strings.ReplaceAll(text, api.ErrorMessage(), Console(api.ErrorMessage()))
	}
	return Text(text)
}

// redact removes what does not print, which may hide in the middle of a secret,
// then the secrets that cover several lines, then those of each line.
func redact(s string, ofLine func(string) string) string {
	s = strings.ToValidUTF8(s, "")
	// Only these bytes begin an escape: ESC, and the control characters beyond ASCII.
	if strings.Contains(s, "\x1b") || strings.Contains(s, "\xc2") {
		s = escape().ReplaceAllString(s, "")
	}
	s = strings.Map(printable, strings.ReplaceAll(s, "\r\n", "\n"))
	lower := strings.ToLower(s)
	if strings.Contains(lower, "private key") {
		s = endOfKey().ReplaceAllString(privateKey().ReplaceAllString(s, redacted), redacted)
	}
	if strings.Contains(lower, "<password>") {
		s = windowsPassword().ReplaceAllString(s, "${1}"+redacted+"${2}")
	}
	lines := strings.Split(s, "\n")
	if strings.Contains(lower, "random") {
		randomPasswords(lines)
	}
	for n, line := range lines {
		if line = secretKeys(line); suspect(line) {
			line = ofLine(line)
		}
		lines[n] = line
	}
	return strings.Join(lines, "\n")
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

// randomWindow is how many lines after cloud-init's headline, or after the last
// password below it, may hold a password: other programs write to the same
// console at the same time.
const randomWindow = 20

// randomPasswords removes the passwords that cloud-init makes up and prints, a
// line "user:password" each (cc_set_passwords.py).
func randomPasswords(lines []string) {
	left := 0
	for n, line := range lines {
		left--
		switch {
		case randomHeadline().MatchString(line):
			left = randomWindow
		case left >= 0 && randomPassword().MatchString(line):
			lines[n] = randomPassword().ReplaceAllString(line, "${1}"+redacted)
			left = randomWindow
		}
	}
}
