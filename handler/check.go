package handler

import (
	"context"

	"firstline/internal/incident"
)

// check makes a step of a check: it records what the check saw, and nothing
// else. After a reboot only what Route 53's checkers saw since then counts.
func check(name string) func(context.Context, *Handler, *incident.Incident) error {
	return func(ctx context.Context, h *Handler, inc *incident.Incident) error {
		f := h.Checks[name](ctx, inc, inc.RebootedAt)
		f.Check = name
		inc.Record(f)
		if f.Outcome != incident.Skipped {
			h.Metrics.write(inc, metric{name: metricCheckLatency, value: f.ElapsedMs, unit: "Milliseconds", dimension: "Check", of: name})
		}
		return nil
	}
}
