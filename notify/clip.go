package notify

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// oneLine makes text from outside fit to print: valid UTF-8, one line, without
// control and invisible formatting characters (which could reorder what is
// read), runs of spaces as one.
func oneLine(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s { // Invalid bytes come as U+FFFD.
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Cc, r):
			space = true
			continue
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs):
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}

func runes(s string) int { return utf8.RuneCountInString(s) }

const ellipsis = "…"

// truncate keeps the head of s, in at most limit runes with the ellipsis that
// says that something is missing. What comes out is valid UTF-8.
func truncate(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if limit <= 0 {
		return ""
	}
	if runes(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == limit {
			return strings.TrimRightFunc(s[:i], unicode.IsSpace) + ellipsis
		}
	}
	return s
}

// escapeSlack makes text from outside harmless in Slack's mrkdwn, where <, >
// and & make links and mentions, in at most limit runes of what comes out. No
// escape sequence is cut.
func escapeSlack(s string, limit int) string {
	var b strings.Builder
	n, kept := 0, 0 // runes written; bytes of those that leave room for the ellipsis
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		form := string(r)
		switch r {
		case '&':
			form = "&amp;"
		case '<':
			form = "&lt;"
		case '>':
			form = "&gt;"
		}
		if n += runes(form); n > limit {
			if limit <= 0 {
				return ""
			}
			return b.String()[:kept] + ellipsis
		}
		b.WriteString(form)
		if n < limit {
			kept = b.Len()
		}
	}
	return b.String()
}

// join puts lines together as long as they fit the limit, whole ones only, and
// says when some are missing.
func join(lines []string, limit int) string {
	const more = "… (shortened)"
	if all := strings.Join(lines, "\n"); runes(all) <= limit {
		return all
	}
	var b strings.Builder
	n := 0
	for _, line := range lines {
		need := runes(line) + 1
		if n+need+runes(more) > limit {
			break
		}
		b.WriteString(line + "\n")
		n += need
	}
	if n+runes(more) <= limit {
		b.WriteString(more)
	}
	return b.String()
}
