package guard

import (
	"strings"

	"github.com/aws/smithy-go"

	"firstline/internal/lazy"
)

// assigned is a secret's name with a value behind an equals sign.
var assigned = lazy.Regexp(`(?i)([a-z0-9_.-]*(?:pass(?:word|wd|phrase)|secret|token|credential|signature|authorization|cookie|(?:api|access|private|auth)[_.-]?key)[a-z0-9_.-]*["']?[ \t]*=[ \t]*)(?:"[^"\n]*"?|'[^'\n]*'?|[^\s,;)]+)`)

// RedactWords takes what looks like a secret out of an error's words, which others
// may have put there. It does so more gently than Redact, for which any line that
// names a secret and goes on after a colon has its value there: these words do
// that all the time, "read secret /app/token: it does not exist".
func RedactWords(s string) string {
	r := redactor()
	s = r.escape.ReplaceAllString(strings.ToValidUTF8(s, ""), "")
	s = r.keys(r.keyBlock.ReplaceAllString(strings.Map(printable, s), redacted))
	if strings.Contains(s, "://") {
		s = r.userInfo.ReplaceAllString(s, "${1}"+redacted+"@")
	}
	return assigned().ReplaceAllString(r.schemes(s), "${1}"+redacted)
}

// Words is what an error says, for a log line and for the state machine, without
// what looks like a secret. Of what AWS itself said nothing is spared: an answer
// about a signature quotes the request, with its session token.
func Words(err error) string {
	text := err.Error()
	for _, said := range quoted(err) {
		text = strings.ReplaceAll(text, said, Redact(said))
	}
	return RedactWords(text)
}

// quoted are the messages of AWS's answers in an error's tree.
func quoted(err error) []string {
	var said []string
	if api, ok := err.(smithy.APIError); ok && api.ErrorMessage() != "" { //nolint:errorlint // the whole tree is walked
		said = append(said, api.ErrorMessage())
	}
	switch e := err.(type) { //nolint:errorlint // the same
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			said = append(said, quoted(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			said = append(said, quoted(inner)...)
		}
	}
	return said
}
