package handler

import (
	"context"
	"log/slog"

	"firstline/internal/incident"
)

// check makes a step of a check: it records what the check saw, and nothing
// else.
func check(name string) func(context.Context, *Handler, *incident.Incident) error {
	return func(ctx context.Context, h *Handler, inc *incident.Incident) error {
		f := h.Checks[name](ctx, inc)
		f.Check = name
		inc.Record(f)
		if f.Outcome != incident.Skipped {
			h.measure(ctx, metricCheckLatency, f.ElapsedMs, "Milliseconds", inc, slog.String("Check", name))
		}
		return nil
	}
}
