package incident

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ClipLine makes text that may come from a peer fit for a log line and a
// message: valid UTF-8, one line, no control characters, at most limit runes.
func ClipLine(s string, limit int) string {
	// A peer may send megabytes; four bytes a rune is the most that counts.
	// What is cut in the middle of a rune is dropped as invalid below.
	cut := len(s) > utf8.UTFMax*(limit+1)
	if cut {
		s = s[:utf8.UTFMax*(limit+1)]
	}
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		default:
			return r
		}
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	runes := []rune(s)
	if len(runes) <= limit && !cut {
		return s
	}
	runes = runes[:min(len(runes), limit-1)]
	return strings.TrimRight(string(runes), " ") + "…"
}

// Span writes a duration for people.
func Span(d time.Duration) string {
	switch m := int(d.Minutes()); {
	case m < 1:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case m < 60:
		return fmt.Sprintf("%d min", m)
	case m < 48*60:
		return fmt.Sprintf("%d h %d min", m/60, m%60)
	default:
		return fmt.Sprintf("%d days", m/60/24)
	}
}
