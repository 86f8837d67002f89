package handler

import (
	"context"
	"errors"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

// open makes an incident of an event. An instance that is no longer watched is
// decided on at once.
func open(ctx context.Context, h *Handler, req request) (any, error) {
	inc, e, err := h.begin(ctx, req, false)
	if err != nil || inc.Next != "" {
		return inc, err
	}
	rebooted(inc, e.State.Instance.Reboots)
	if inc.Settings == nil {
		inc.Settings = &incident.Settings{} // every check is off
		err := h.decideOn(ctx, inc, &policy.Facts{Unwatched: true})
		inc.Settings = nil
		return inc, err
	}
	h.count(ctx, metricIncidents, inc)
	inc.Next = incident.NextLook
	return inc, nil
}

// begin reads an event and takes the instance's lease.
func (h *Handler) begin(ctx context.Context, req request, verifies bool) (*incident.Incident, *store.Entry, error) {
	inc, err := h.read(ctx, req)
	if err != nil {
		return inc, nil, err
	}
	e, err := h.takeLease(ctx, inc, verifies)
	if err == nil {
		recall(inc, e)
	}
	return inc, e, err
}

// recall gives an incident what is stored of what its checks need.
func recall(inc *incident.Incident, e *store.Entry) {
	inc.HealthCheck = e.State.Instance.HealthCheck
	inc.HostKeyType = e.State.Instance.KnownHostKeyType(inc.Settings)
}

// read makes an incident of an event and an execution, and reads the instance's
// settings (nil: it is no longer watched, and the schedule or a person asks).
func (h *Handler) read(ctx context.Context, req request) (*incident.Incident, error) {
	inc, err := incident.ParseEvent(req.Event)
	switch {
	case err != nil:
		return new(incident.Incident), fault.New(fault.InvalidInput, "read event", "%w", err)
	case inc.Region != h.Region:
		return inc, fault.New(fault.InvalidInput, "read event", "event.region: it is of %s, this function runs in %s", inc.Region, h.Region)
	case req.Execution.ID == "" || req.Execution.StartedAt.IsZero():
		return inc, fault.New(fault.InvalidInput, "decode payload", "execution.id or execution.startedAt: missing; send the execution's id, name and startedAt")
	}
	inc.Execution, inc.Look = *req.Execution, 1
	inc.Settings, err = h.readSettings(ctx, inc.InstanceID)
	unwatched := errors.Is(err, errMissing) && (inc.Trigger == incident.TriggerSchedule || inc.Trigger == incident.TriggerPerson)
	if unwatched {
		return inc, nil
	}
	return inc, err
}
