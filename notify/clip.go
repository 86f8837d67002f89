package notify

import (
	"strings"
	"unicode/utf8"

	"firstline/internal/incident"
	"firstline/internal/redact"
)

// plain makes text from outside fit to print: one line, without secrets, in at
// most limit characters.
func plain(s string, limit int) string {
	return incident.ClipLine(redact.Text(incident.ClipLine(s, 4*limit)), limit)
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// join puts lines together as long as they fit the limit, whole ones only, and
// says when some are missing.
func join(lines []string, limit int) string {
	const more = "… (shortened)"
	if all := strings.Join(lines, "\n"); runes(all) <= limit {
		return strings.TrimSpace(all)
	}
	limit -= runes(more)
	var b strings.Builder
	for _, line := range lines {
		if limit -= runes(line) + 1; limit < 0 {
			break
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimSpace(b.String() + more)
}
