package handler

import (
	"context"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/store"
)

// verifyLease is how long verify has an instance's lease at most. Terraform lets
// the function run for a minute at most.
const verifyLease = 2 * time.Minute

// verify runs all checks of an instance under its lease, keeps which have passed
// (the baseline, without which a check causes no reboot), and asks EC2 whether it
// would reboot the instance. The policy is not asked. The event's source is
// incident.SourceCanary. The answer is the incident with the findings, the
// suppressed reboot or the refusal that says why there is none, and next "done",
// or "already_handled" where another execution holds the lease.
func verify(ctx context.Context, h *Handler, req request) (any, error) {
	if incident.SourceOf(req.Event) != incident.SourceCanary {
		return nil, fault.New(fault.InvalidInput, "read event", "event.source: verify takes %s only", incident.SourceCanary)
	}
	inc, _, err := h.begin(ctx, req, verifyLease)
	if err != nil || inc.Next != "" {
		return inc, err
	}
	h.verifyChecks(ctx, inc)
	inc.Next = incident.NextDone
	e, err := h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		i := &e.State.Instance
		if !owns(i.Lease, inc) {
			return store.ErrKeep
		}
		i.Learn(inc.Findings, inc.Settings)
		giveBack(&i.Lease)
		return nil
	})
	if err == nil && !gaveBack(e.State.Instance.Lease, inc) {
		h.alreadyHandled(inc, e.State.Instance.Lease)
	}
	return inc, err
}

// verifyChecks runs all checks and asks EC2, side by side, and leaves time for
// storing what came of it. What does not end leaves no finding.
func (h *Handler) verifyChecks(ctx context.Context, inc *incident.Incident) {
	ctx, cancel := keeping(ctx, tellTime)
	defer cancel()
	all := []func(){func() { h.suppressReboot(ctx, inc) }}
	findings := make([]*incident.Finding, len(incident.Checks))
	for n, name := range incident.Checks {
		own := new(*inc) // the others must not see what becomes of inc
		all = append(all, func() { findings[n] = new(h.Checks[name](ctx, own, 0)) })
	}
	sideBySide(ctx, h, all, func(do func()) error { do(); return nil })
	for n, f := range findings {
		if f != nil {
			f.Check = incident.Checks[n]
			inc.Record(*f)
		}
	}
}
