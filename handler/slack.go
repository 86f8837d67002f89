package handler

import (
	"context"
	"time"

	"firstline/internal/incident"
	"firstline/notify"
)

// tellSlack tells Slack what was decided, in the thread of the alert. A page
// goes there too where the settings want it, and where no pager has taken it.
func tellSlack(ctx context.Context, h *Handler, inc *incident.Incident) error {
	dec := h.said(inc)
	inc.Decision = &dec
	isPage := dec.Next == incident.NextPage
	needed := isPage && !inc.Told
	m := h.message(inc, dec, notify.KindSlack)
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
	if pagers, err := h.Pagers(); needed && err == nil && len(pagers) == 0 {
		inc.Paged = pagedAs(pagedBySlack, dec) // Slack is all that is there to tell anybody
	}
	h.count(ctx, metricSlackMessages, inc)
	return nil
}
