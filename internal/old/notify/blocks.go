package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"firstline/internal/old/checks"
)

// Slack's limits, in characters and in pieces: the references of blocks and of
// composition objects. The limits of lines are ours: no single text from outside
// takes the room of the others, nor all together what a message may have.
const (
	limitSlackText    = 3900 // of about 4,000
	limitSlackHeader  = 150
	limitSlackSection = 3000
	limitSlackField   = 2000
	limitSlackFields  = 10
	limitSlackButton  = 75
	limitSlackURL     = 3000

	limitLine     = 1000
	limitShort    = 400 // of a field
	limitNext     = 1500
	limitTimeline = 2500
)

// slackText is the text that notifications show, and whatever shows no blocks.
func (r *report) slackText() string {
	clean := func(s string) string { return escapeSlack(s, limitLine) }
	short := *r
	// Cut, an address would lead elsewhere.
	short.links = slices.DeleteFunc(slices.Clone(r.links), func(l link) bool { return len(l.url) > limitLine/2 })
	values := append(short.values(slackWords, clean), "headline", r.headAs(300, escapeSlack))
	return join(slackWords.lay("text", values...), limitSlackText)
}

// slackBlocks renders the report as blocks of Slack. What to know and to do comes
// first.
func (r *report) slackBlocks() []slack.Block {
	const room = limitSlackHeader - 4 // less what stands before the headline
	blocks := []slack.Block{slack.NewHeaderBlock(plainText(
		slackWords.say("title."+string(r.outcome), "headline", r.headAs(room, escapeSlack)), limitSlackHeader))}
	section := func(lines []string, limit int) {
		if text := join(lines, limit); text != "" {
			blocks = append(blocks, slack.NewSectionBlock(mrkdwn(text), nil, nil))
		}
	}
	summary := make([]string, len(r.summary))
	for i, s := range r.summary {
		summary[i] = escapeMrkdwn(s, limitLine)
	}
	section(slackWords.lay("happened", "summary", strings.Join(summary, "\n")), limitSlackSection)
	section([]string{slackWords.say("next", "next", escapeMrkdwn(r.next, limitNext))}, limitSlackSection)

	var fields []*slack.TextBlockObject
	for _, f := range r.fields {
		text := strings.Join(slackWords.lay("field", "label", f.label, "value", escapeMrkdwn(f.value, limitShort)), "\n")
		if len(fields) < limitSlackFields && runes(text) <= limitSlackField {
			fields = append(fields, mrkdwn(text))
		}
	}
	if len(fields) > 0 {
		blocks = append(blocks, slack.NewSectionBlock(nil, fields, nil))
	}
	if lines := timelineOf(r.allSeen); len(lines) > 0 {
		section(slackWords.lay("timeline", "lines", strings.Join(lines, "\n")), limitTimeline+200)
	}
	if r.record != "" {
		section([]string{slackWords.say("record", "label", r.recordLabel, "command", r.record)}, limitSlackSection)
	}
	var buttons []slack.BlockElement
	for _, name := range []string{"execution", "alarm", "instance", "logs"} {
		i := slices.IndexFunc(r.links, func(l link) bool { return l.name == name })
		if i < 0 || len(r.links[i].url) > limitSlackURL {
			continue
		}
		label := plainText(slackWords.say("button."+name), limitSlackButton)
		buttons = append(buttons, slack.NewButtonBlockElement("open-"+name, "", label).WithURL(r.links[i].url))
	}
	if len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock("", buttons...))
	}
	from := slackWords.say("context.no-execution", "deployment", escapeMrkdwn(r.deployment, limitShort))
	if r.executionName != "" {
		from = slackWords.say("context", "deployment", escapeMrkdwn(r.deployment, limitShort), "execution", escapeMrkdwn(r.executionName, limitShort))
	}
	context := []slack.MixedElement{mrkdwn(from)}
	if r.reason != "" {
		context = append(context, mrkdwn(slackWords.say("context.reason", "reason", escapeMrkdwn(r.reason, limitLine))))
	}
	return append(blocks, slack.NewContextBlock("", context...))
}

// mrkdwn is a text in Slack's form. Verbatim: Slack is not to make links or mentions
// of what it finds.
func mrkdwn(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, true)
}

// plainText is a text without any form.
func plainText(text string, limit int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, truncate(text, limit), true, false)
}

// escapeMrkdwn makes text from outside harmless in a block. A backtick would begin
// code, in which everything after it may get lost.
func escapeMrkdwn(s string, limit int) string {
	return escapeSlack(strings.ReplaceAll(s, "`", "ˋ"), limit)
}

// timelineOf is a line a look, escaped for Slack: when, what was checked, and why it
// failed. Findings that stand for several looks in a row are one line. Of very many,
// the first and the last are kept.
func timelineOf(findings []checks.Finding) []string {
	looks := looksIn(findings)
	const first = 4
	skip := len(looks) - maxLooks
	room := limitTimeline / max(1, min(len(looks), maxLooks+1))
	var lines []string
	for i, group := range looks {
		if skip > 0 && i >= first && i < first+skip {
			if i == first {
				lines = append(lines, slackWords.say("more", "n", fmt.Sprint(skip)))
			}
			continue
		}
		lines = append(lines, lookLine(group, room))
	}
	return lines
}

// looksIn groups findings by the look that made them: each look asks the checks in
// the same order, and ends with the first that fails.
func looksIn(findings []checks.Finding) [][]checks.Finding {
	order := []string{checks.NameURL, checks.NameRoute53, checks.NameSSH}
	var looks [][]checks.Finding
	for i, f := range findings {
		if i > 0 {
			last := findings[i-1]
			if f.Run == last.Run && slices.Index(order, f.Check) > slices.Index(order, last.Check) && last.Passed {
				looks[len(looks)-1] = append(looks[len(looks)-1], f)
				continue
			}
		}
		looks = append(looks, []checks.Finding{f})
	}
	return looks
}

func lookLine(look []checks.Finding, room int) string {
	var from, to time.Time
	many := 0
	for _, f := range look {
		begun := f.At
		if f.Since != nil && f.Looks > 1 {
			begun = *f.Since
		}
		if !begun.IsZero() && (from.IsZero() || begun.Before(from)) {
			from = begun
		}
		if f.At.After(to) {
			to = f.At
		}
		many = max(many, f.Looks)
	}
	at := ""
	switch {
	case to.IsZero():
	case many > 1:
		at = slackWords.say("range", "from", timeOfDay(from), "to", timeOfDay(to))
	default:
		at = timeOfDay(to)
	}
	var saw []string
	for _, f := range look {
		check := escapeMrkdwn(checkName(f.Check), 40)
		switch {
		case f.Skipped:
			saw = append(saw, slackWords.say("skipped", "check", check))
		case f.Passed:
			saw = append(saw, slackWords.say("passed", "check", check))
		default:
			// What is left of the line, less the rest of it.
			saw = append(saw, slackWords.say("failed", "check", check, "reason", escapeMrkdwn(reasonText(f), min(limitReason/2, max(room-90, 40)))))
		}
	}
	run, seen := fmt.Sprint(look[0].Run), strings.Join(saw, "  ")
	if many > 1 {
		return slackWords.say("line.looks", "time", at, "run", run, "looks", fmt.Sprint(many), "checks", seen)
	}
	return slackWords.say("line", "time", at, "run", run, "checks", seen)
}
