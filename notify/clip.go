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

// join puts lines together, in at most limit characters.
func join(lines []string, limit int) string {
	all := []rune(strings.TrimSpace(strings.Join(lines, "\n")))
	if len(all) <= limit {
		return string(all)
	}
	return string(all[:limit-1]) + "…"
}
