package handler

import (
	"context"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

// closeIncident stores what was told, gives the lease back and finishes the
// record. It changes nothing in the incident: how the execution ends is the
// state machine's to choose.
func closeIncident(ctx context.Context, h *Handler, inc *incident.Incident) error {
	if inc.HeldBy != nil || inc.InstanceID == "" || inc.Execution.ID == "" {
		return nil // it has no lease, or one that is over since the execution has ended
	}
	_, err := h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		i := &e.State.Instance
		if i.Lease.Execution != inc.Execution.ID {
			return nil // it was given back before, or lost
		}
		if inc.Decision != nil && owns(i.Lease, inc) && !inc.Dry {
			e.State = toldState(e.State, inc)
		}
		giveBack(&e.State.Instance.Lease)
		r := store.RecordOf(inc)
		if r.EndedAt, r.End = incident.At(time.Now()), "nobody_told"; inc.Told {
			r.End = "told"
		}
		e.Record = &r
		return nil
	})
	return err
}

// toldState is the state once all was told that could be.
func toldState(s policy.State, inc *incident.Incident) policy.State {
	dec := *inc.Decision
	if inc.Paged != nil {
		// Once more, with the thread that Slack has begun since.
		s = policy.Paged(s, dec, *inc.Paged, inc.Thread)
	}
	if _, failed := inc.Caught["slack"]; dec.Slack && !failed {
		s = policy.SlackTold(s, dec, incident.At(time.Now()))
	}
	if inc.Told && dec.Row > 0 {
		s = policy.Closed(s, dec)
	}
	return s
}
