package handler

import (
	"context"
	"time"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// checkURL looks at the instance's web server.
func checkURL(ctx context.Context, h *Handler, inc *incident.Incident) error {
	f, err := h.URL.Check(ctx, inc.InstanceID, inc.Settings.URL)
	return record(h, inc, f, err)
}

// checkRoute53 looks at the instance's health check. After a reboot only what
// Route 53's checkers saw since then counts; a suppressed one was none.
func checkRoute53(ctx context.Context, h *Handler, inc *incident.Incident) error {
	var since time.Time
	if inc.Reboot != nil && !inc.Dry && inc.Reboot.Outcome != incident.RebootSuppressed {
		since = inc.Reboot.At
	}
	f, err := h.Route53.Check(ctx, inc.Settings.Route53, since)
	return record(h, inc, f, err)
}

// checkSSH looks at the instance's SSH server.
func checkSSH(ctx context.Context, h *Handler, inc *incident.Incident) error {
	f, err := h.SSH.Check(ctx, inc.InstanceID, inc.Settings.SSH)
	return record(h, inc, f, err)
}

// record puts what a check saw into the incident.
func record(h *Handler, inc *incident.Incident, f checks.Finding, err error) error {
	if err != nil {
		return err
	}
	inc.Record(f)
	h.Metrics.checked(inc, f)
	return nil
}
