package handler

import (
	"context"
	"errors"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

// open makes an incident of an event: it reads the instance's settings and takes
// its lease. An instance that is no longer watched is decided on at once.
func open(ctx context.Context, h *Handler, req request) (any, error) {
	inc, err := h.begin(req)
	if err != nil {
		return nil, err
	}
	inc.Settings, err = h.readSettings(ctx, inc.InstanceID)
	unwatched := errors.Is(err, errUnwatched) && (inc.Trigger == incident.TriggerSchedule || inc.Trigger == incident.TriggerPerson)
	if err != nil && !unwatched {
		return inc, err
	}
	e, err := h.takeLease(ctx, inc, leaseMargin)
	if err != nil || inc.Next != "" {
		return inc, err
	}
	inc.Name = e.State.Instance.Name
	rebooted(inc, e.State.Instance.Reboots)
	if unwatched {
		// Nothing can be checked of it: the policy decides at once.
		inc.Settings = &incident.Settings{} // every check is off
		err := h.decideOn(ctx, inc, func(in *policy.Input) { in.Facts.Unwatched = true })
		inc.Settings = nil
		return inc, err
	}
	r := store.RecordOf(inc)
	r.Settings, r.LeaseUntil = inc.Settings, e.State.Instance.Lease.Until
	if err := h.Table.UpdateRecord(ctx, store.RecordUpdate{Record: r}); err != nil {
		return inc, err
	}
	h.Metrics.count(metricIncidents, inc)
	inc.Next = incident.NextLook
	return inc, nil
}

// begin makes an incident of an event and an execution.
func (h *Handler) begin(req request) (*incident.Incident, error) {
	inc, err := incident.ParseEvent(req.Event)
	if err != nil {
		return nil, fault.New(fault.InvalidInput, "read event", "%w", err)
	}
	switch {
	case inc.Region != h.Region:
		return nil, fault.New(fault.InvalidInput, "read event", "event.region: it is of %s, this function runs in %s", inc.Region, h.Region)
	case req.Execution.ID == "":
		return nil, fault.New(fault.InvalidInput, "decode payload", "execution.id: missing; send the execution's id, name and startedAt")
	case req.Execution.StartedAt.IsZero():
		return nil, fault.New(fault.InvalidInput, "decode payload", "execution.startedAt: missing; send the execution's id, name and startedAt")
	}
	inc.Execution, inc.Look = *req.Execution, 1
	return inc, nil
}
