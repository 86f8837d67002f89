package handler

import (
	"context"
	"log/slog"

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
	switch {
	case dec.Next != incident.NextPage && dec.Next != incident.NextSlack && dec.Next != incident.NextResolve:
		inc.Told = true // healthy: nothing has to be said
		return nil
	case !needed && (!dec.Slack || isPage && !h.SlackPages):
		inc.Told = true
		return nil
	case h.Slack == nil:
		h.Log.LogAttrs(ctx, slog.LevelInfo, "there is no Slack to tell", slog.String("instance", inc.InstanceID), slog.String("situation", dec.Situation), slog.String("reason", dec.Reason))
		inc.Told = inc.Told || !isPage
		return nil
	}
	if inc.Dry {
		if err := h.rehearseSlack(ctx, inc, dec); err != nil {
			return err
		}
		inc.Told = true
		return nil
	}
	thread, err := h.Slack.Post(ctx, h.message(inc, dec, notify.KindSlack))
	if err != nil {
		return err
	}
	inc.Told = true
	if thread.TS != "" {
		inc.Thread = &thread
	}
	if needed && h.hasNoPager() {
		inc.Paged = pagedAs(pagedBySlack, dec)
	}
	h.Metrics.count(metricSlackMessages, inc)
	return nil
}

// hasNoPager reports whether Slack is all that is there to tell anybody.
func (h *Handler) hasNoPager() bool {
	pagers, err := h.Pagers()
	return err == nil && len(pagers) == 0
}
