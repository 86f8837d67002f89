package handler

import (
	"context"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// check makes a step of a check: it records what the check saw, and nothing
// else. After a reboot only what Route 53's checkers saw since then counts.
func check(name string) func(context.Context, *Handler, *incident.Incident) error {
	return func(ctx context.Context, h *Handler, inc *incident.Incident) error {
		run := h.Checks[name]
		if run == nil {
			return fault.New(fault.Internal, name, "this function has no such check")
		}
		f := run(ctx, inc, inc.RebootedAt)
		f.Check = name
		inc.Record(f)
		h.Metrics.checked(inc, f)
		return nil
	}
}
