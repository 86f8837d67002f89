package handler

import (
	"cmp"
	"context"
	"time"

	"firstline/internal/incident"
	"firstline/notify"
)

// mentionAgain is how long after Slack took a page in the place of the pagers, which
// are asked again in each look, it mentions nobody again.
const mentionAgain = time.Hour

// tellSlack tells Slack what was decided, in the thread of the alert. A page
// goes there too where the settings want it, and where no pager has taken it.
func tellSlack(ctx context.Context, h *Handler, inc *incident.Incident) error {
	dec := h.said(inc)
	inc.Decision = &dec
	isPage := dec.Next == incident.NextPage
	needed := isPage && !inc.Told
	m := h.message(inc, dec, notify.KindSlack)
	m.Mention = needed && !dec.Note && m.Now.Sub(m.Alert.MentionedAt.Time()) >= mentionAgain
	switch {
	case !needed && (!dec.Slack || isPage && !h.SlackPages):
		inc.Told = true // nothing has to be said, or a pager has it
		return nil
	case h.Slack == nil:
		inc.Told = !needed
		return nil
	case inc.Dry:
		text, err := h.Slack.Rehearse(ctx, m)
		if inc.Told = err == nil; inc.Told {
			inc.Suppress(incident.NextSlack, text, time.Now())
		}
		return err
	}
	thread, err := h.Slack.Post(ctx, m)
	if err != nil {
		return err
	}
	inc.Told = true
	if thread.TS != "" {
		inc.Thread = &thread
	}
	h.count(ctx, metricSlackMessages, inc)
	if m.Mention {
		dec.Alert.MentionedAt, dec.Alert.Thread = incident.At(m.Now), cmp.Or(inc.Thread, dec.Alert.Thread) // it begins a thread
	}
	if pagers, err := h.Pagers(); needed && err == nil && len(pagers) == 0 {
		h.slackHasPaged(ctx, inc, dec)
	}
	return nil
}

// slackHasPaged records that Slack, which is all that is there to tell anybody, has
// taken a page or a note.
func (h *Handler) slackHasPaged(ctx context.Context, inc *incident.Incident, dec incident.Decision) {
	inc.Paged = pagedAs(pagedBySlack, dec)
	if dec.Alert.ID == "" {
		h.isTakenForTheHour(ctx, inc, dec.Alert.Alias, true)
	}
	h.countPage(ctx, inc, dec)
	h.confirm(ctx, inc, dec)
}
