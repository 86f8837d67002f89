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

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "ˋ")

// escapeSlack makes text from outside harmless in Slack's mrkdwn, where <, > and &
// make links and mentions and a backtick begins code, in at most limit characters
// of what comes out. No escape sequence is cut.
func escapeSlack(s string, limit int) string {
	for most := limit; most > 0; {
		escaped := slackEscapes.Replace(incident.ClipLine(s, most))
		over := runes(escaped) - limit
		if over <= 0 {
			return escaped
		}
		most = min(most, runes(s)) - (over+4)/5 // an escape adds 4 or less
	}
	return ""
}

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
