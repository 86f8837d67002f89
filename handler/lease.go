package handler

import (
	"context"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

const (
	// leaseMargin is how much longer than the next planned wait a lease lasts: a
	// look at its slowest takes about 6 minutes.
	leaseMargin = 15 * time.Minute
	// maxTakes is how often a lease is taken over that somebody else takes first.
	maxTakes = 3
)

// leaseUntil is the end of a lease that is renewed now.
func leaseUntil(now incident.Millis, waitSeconds int) incident.Millis {
	return now.Add(time.Duration(waitSeconds)*time.Second + leaseMargin)
}

// takeLease takes the instance's lease for the incident's execution. One that
// another execution holds is taken over if that one has ended; else the incident
// ends as already handled.
func (h *Handler) takeLease(ctx context.Context, inc *incident.Incident, lasts time.Duration) (e *store.Entry, err error) {
	var held policy.Lease
	for range maxTakes {
		ended := held.Execution
		e, err = h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
			now := incident.At(time.Now())
			i := &e.State.Instance
			held = policy.Lease{}
			if d := i.Decided; d != nil && d.Execution == inc.Execution.ID {
				return store.ErrKeep // it has gone on already: this answer is asked for again
			}
			if i.Lease.Held(inc.Execution.ID, now) && i.Lease.Execution != ended {
				held = i.Lease
				return store.ErrKeep
			}
			i.Lease = policy.Lease{
				Execution: inc.Execution.ID, Name: inc.Execution.Name, StartedAt: incident.At(inc.Execution.StartedAt),
				Until: now.Add(lasts), Version: i.Lease.Version + 1,
			}
			// Taking the lease ends the rest. A dry look leaves it as it is, and what is
			// not known to need a look does not need one.
			i.AtRest = inc.Dry && (i.AtRest || !e.Exists)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if held.Execution == "" {
			inc.LeaseVersion = e.State.Instance.Lease.Version
			return e, nil
		}
		if !h.ended(ctx, inc.InstanceID, *holderOf(held)) {
			break
		}
	}
	h.alreadyHandled(inc, held)
	return e, nil
}

func holderOf(l policy.Lease) *incident.Execution {
	return &incident.Execution{ID: l.Execution, Name: l.Name, StartedAt: l.StartedAt.Time()}
}

// owns reports whether the incident's execution holds the lease, and has not
// gone on without this invocation.
func owns(l policy.Lease, inc *incident.Incident) bool {
	return l.Execution == inc.Execution.ID && l.Version == inc.LeaseVersion
}

// gaveBack reports whether the lease is as this execution left it.
func gaveBack(l policy.Lease, inc *incident.Incident) bool {
	return l.Execution == "" && l.Version == inc.LeaseVersion+1
}

// giveBack ends the lease. Its version goes on, so that whoever has lost it
// cannot write.
func giveBack(l *policy.Lease) { *l = policy.Lease{Version: l.Version + 1} }

// alreadyHandled ends an execution whose instance another one looks after.
func (h *Handler) alreadyHandled(inc *incident.Incident, lease policy.Lease) {
	inc.Next, inc.WaitSeconds = incident.NextAlreadyHandled, 0
	if lease.Execution != "" {
		inc.HeldBy = holderOf(lease)
	}
	h.Metrics.count(metricAlreadyHandled, inc)
}
