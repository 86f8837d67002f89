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
	inc, err := h.begin(req)
	if err != nil {
		return nil, err
	}
	if !inc.Dry {
		return nil, fault.New(fault.InvalidInput, "read event", "event.source: verify takes %s only", incident.SourceCanary)
	}
	if inc.Settings, err = h.readSettings(ctx, inc.InstanceID); err != nil {
		return inc, err
	}
	t, err := h.Table(ctx)
	if err != nil {
		return inc, err
	}
	op := "verify " + inc.InstanceID
	_, holder, err := h.takeLease(ctx, t, inc, verifyLease)
	if err != nil {
		return inc, kinded(op, err)
	}
	if holder != nil {
		alreadyHandled(inc, holder)
		return inc, nil
	}
	h.verifyChecks(ctx, inc)
	inc.Next = incident.NextDone
	e, err := t.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		i := &e.State.Instance
		if !owns(i.Lease, inc) {
			return store.ErrKeep
		}
		i.Learn(inc.Findings, inc.Settings)
		giveBack(&i.Lease)
		return nil
	})
	if err == nil && !gaveBack(e.State.Instance.Lease, inc) {
		alreadyHandled(inc, holderOf(e.State.Instance.Lease))
	}
	return inc, kinded(op, err)
}

// verifyChecks runs all checks and asks EC2, side by side, and leaves time for
// storing what came of it. What does not end leaves no finding.
func (h *Handler) verifyChecks(ctx context.Context, inc *incident.Incident) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-tellTime))
		defer cancel()
	}
	asked := new(*inc)
	findings := make([]*incident.Finding, len(incident.Checks))
	all := []func(){func() { h.suppressReboot(ctx, asked) }}
	for n, name := range incident.Checks {
		if run := h.Checks[name]; run != nil {
			own := new(*inc)
			all = append(all, func() {
				f := run(ctx, own, 0)
				f.Check = name
				findings[n] = &f
			})
		}
	}
	sideBySide(ctx, h, all, func(do func()) { do() })
	for _, f := range findings {
		if f != nil {
			inc.Record(*f)
		}
	}
	inc.Suppressed, inc.Refusal = asked.Suppressed, asked.Refusal
}
