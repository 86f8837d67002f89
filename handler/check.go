package handler

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"firstline/internal/incident"
)

// check makes a step of a check: it records what the check saw, and nothing
// else.
func check(name string) func(context.Context, *Handler, *incident.Incident) error {
	return func(ctx context.Context, h *Handler, inc *incident.Incident) error {
		if f := lately(inc, name); f != nil {
			inc.Record(*f)
			return nil
		}
		f := h.Checks[name](ctx, inc)
		f.Check = name
		inc.Record(f)
		if f.Outcome != incident.Skipped {
			h.measure(ctx, metricCheckLatency, f.ElapsedMs, "Milliseconds", inc, slog.String("Check", name))
		}
		return nil
	}
}

// askRoute53 is how often Route 53 is asked while an instance boots: it allows five
// requests a second for a whole account
// (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html),
// and the looks come faster then.
const askRoute53 = time.Minute

// lately returns what an earlier look found of a check that is not to be made
// again so soon, or nil.
func lately(inc *incident.Incident, name string) *incident.Finding {
	n := slices.IndexFunc(inc.Findings, func(f incident.Finding) bool {
		return name == incident.CheckRoute53 && f.Check == name && time.Since(f.At.Time()) < askRoute53
	})
	if n < 0 || !inc.Booting(time.Now()) {
		return nil
	}
	return new(inc.Findings[n])
}
