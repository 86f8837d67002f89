package notify

import (
	"slices"
	"strings"

	"github.com/slack-go/slack"
)

// Slack's limits, in characters and in pieces: the references of blocks and of
// composition objects. limitLine is ours: no single text from outside takes the
// room of the others. All blocks together may have about 13,200 characters.
const (
	limitSlackText    = 3900 // of about 4,000
	limitSlackHeader  = 150
	limitSlackSection = 3000
	limitSlackURL     = 3000

	limitLine = 1000
)

// slackText is the text that notifications show, and whatever shows no blocks.
func (r *report) slackText() string {
	short := *r
	// Cut, an address would lead elsewhere.
	short.links = slices.DeleteFunc(slices.Clone(r.links), func(l link) bool { return len(l.url) > limitLine/2 })
	lines := []string{r.headline(limitHead, escapeSlack)}
	for _, l := range short.lines() {
		lines = append(lines, escapeSlack(l, limitLine))
	}
	return strings.TrimSpace(join(lines, limitSlackText))
}

// slackBlocks renders the report as blocks of Slack: what is wrong, what to do,
// then the evidence.
func (r *report) slackBlocks() []slack.Block {
	room := limitSlackHeader - runes(r.icon) - 1
	blocks := []slack.Block{slack.NewHeaderBlock(slack.NewTextBlockObject(
		slack.PlainTextType, r.icon+" "+r.headline(room, escapeSlack), true, false))}
	section := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		if title != "" {
			lines = slices.Insert(lines, 0, "*"+title+"*")
		}
		blocks = append(blocks, slack.NewSectionBlock(mrkdwn(join(lines, limitSlackSection)), nil, nil))
	}
	var next []string
	for _, l := range r.next {
		s := mark(l.text)
		if l.command != "" {
			s += ": `" + l.command + "`"
		}
		next = append(next, s)
	}
	as := func(facts []fact) (lines []string) {
		for _, f := range facts {
			lines = append(lines, "*"+mark(f.label)+":* "+escapeMrkdwn(f.value, limitLine))
		}
		return lines
	}
	section("", next)
	section("", as(r.why))
	section("Checks", escaped(r.checks))
	section("Reboots", escaped(r.reboots))
	section("", as(r.facts))
	var buttons []slack.BlockElement
	for _, l := range r.links {
		if len(l.url) <= limitSlackURL {
			label := slack.NewTextBlockObject(slack.PlainTextType, l.name, true, false)
			buttons = append(buttons, slack.NewButtonBlockElement("open-"+strings.ToLower(l.name), "", label).WithURL(l.url))
		}
	}
	if len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock("", buttons...))
	}
	from := escapeMrkdwn(r.deployment, limitLine)
	if r.executionName != "" {
		from += " · execution " + escapeMrkdwn(r.executionName, limitLine)
	}
	return append(blocks, slack.NewContextBlock("", mrkdwn(from)))
}

// mrkdwn is a text in Slack's form. Verbatim: Slack is not to make links or mentions
// of what it finds.
func mrkdwn(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, true)
}

// mark is a text of ours, in which backticks mark commands.
func mark(s string) string { return escapeSlack(s, limitLine) }

func escaped(lines []string) []string {
	all := make([]string, len(lines))
	for n, l := range lines {
		all[n] = escapeMrkdwn(l, limitLine)
	}
	return all
}

// escapeMrkdwn makes text from outside harmless in a block. A backtick would begin
// code, in which everything after it may get lost.
func escapeMrkdwn(s string, limit int) string {
	return escapeSlack(strings.ReplaceAll(s, "`", "ˋ"), limit)
}
