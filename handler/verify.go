package handler

import (
	"context"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/redact"
	"firstline/internal/store"
)

// verifyLease is how long verify has an instance's lease at most: a function
// runs for at most 15 minutes, and this step for much less.
const verifyLease = 3 * time.Minute

// verify runs all checks of an instance side by side, under its lease, and keeps
// which have passed: the baseline, without which a check causes no reboot. It
// asks EC2 whether it would reboot the instance. The policy is not asked. Its
// event is one of incident.SourceCanary; its answer is the incident, with the
// findings, the suppressed reboot or the refusal that says why there is none, and
// next "done", or "already_handled" where another execution holds the lease.
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
	h.runChecks(ctx, inc)
	if err := h.suppressReboot(ctx, inc); err != nil {
		inc.Refusal = string(fault.KindOf(err)) + ": " + redact.Error(err)
	}
	_, err = t.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		i := &e.State.Instance
		if !owns(i.Lease, inc) {
			return lostLease(op)
		}
		keepBaseline(e, inc)
		giveBack(&i.Lease)
		return nil
	})
	inc.Next = incident.NextDone
	return inc, kinded(op, err)
}

// runChecks runs all checks side by side. One that does not end leaves no
// finding.
func (h *Handler) runChecks(ctx context.Context, inc *incident.Incident) {
	findings := make([]*incident.Finding, len(incident.Checks))
	var numbers []int
	for n := range incident.Checks {
		numbers = append(numbers, n)
	}
	sideBySide(ctx, h, numbers, func(n int) {
		if run := h.Checks[incident.Checks[n]]; run != nil {
			own := new(*inc)
			f := run(ctx, own, 0)
			f.Check = incident.Checks[n]
			findings[n] = &f
		}
	})
	for _, f := range findings {
		if f != nil {
			inc.Record(*f)
		}
	}
}

// keepBaseline keeps which checks have passed with the settings of today.
func keepBaseline(e *store.Entry, inc *incident.Incident) {
	i := &e.State.Instance
	for _, f := range inc.Findings {
		if f.Outcome != incident.Passed {
			continue
		}
		if i.Baseline == nil {
			i.Baseline = map[string]string{}
		}
		i.Baseline[f.Check] = inc.Settings.Fingerprint(f.Check)
	}
}
