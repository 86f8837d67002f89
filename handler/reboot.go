package handler

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/internal/store"
)

const (
	// rebootTime must be left for EC2's answer once the reboot is reserved, and
	// reserveTime before that for the reservation.
	rebootTime, reserveTime = 8 * time.Second, 4 * time.Second
	// tellTime bounds a write that says what has happened already.
	tellTime = 4 * time.Second
)

// errRefused ends a reservation that the policy refuses.
var errRefused = errors.New("the policy refuses the reboot")

// reboot asks the guards once more, reserves the reboot in the table, and then
// asks EC2. A refusal is no error: the next look decides. An execution that has
// reserved a reboot before never asks EC2 a second time: whether it did is not
// known, and the looks tell.
func reboot(ctx context.Context, h *Handler, inc *incident.Incident) error {
	op := "reboot " + inc.InstanceID
	dec := inc.Decision
	switch {
	case dec == nil || dec.Next != incident.NextReboot:
		return fault.New(fault.InvalidInput, op, "incident.decision: it is not to reboot the instance")
	case inc.Dry:
		return fault.New(fault.InvalidInput, op, "incident.dry: a dry incident reboots nothing")
	}
	t, err := h.Table(ctx)
	if err != nil {
		return err
	}
	e, err := t.Load(ctx, inc.InstanceID)
	if err != nil {
		return kinded(op, err)
	}
	if r := e.State.Instance.ReservedBy(inc.Execution.ID); r != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "this execution has reserved a reboot before", slog.String("instance", inc.InstanceID), slog.String("request", r.Request))
		rebooted(inc, r)
		return nil
	}
	if !owns(e.State.Instance.Lease, inc) {
		return lostLease(op)
	}
	asked := h.ask(inc)
	input := func(s policy.State) policy.Input {
		in := h.input(inc, s)
		in.Look, in.Findings = dec.Look, dec.Findings
		asked.gather(ctx, &in)
		in.Facts, in.Alarm = asked.known, inc.Alarm != nil
		return in
	}
	if _, inc.Refusal = policy.MayReboot(input(e.State), *dec); inc.Refusal != "" {
		return nil
	}
	client, err := h.EC2(ctx)
	if err != nil {
		return err
	}
	h.keepEvidence(ctx, client, t, inc, asked.known.EC2.Value)
	if err := enough(ctx, op, reserveTime+rebootTime); err != nil {
		return err
	}
	r, err := h.reserveReboot(ctx, t, inc, input)
	if errors.Is(err, errRefused) {
		return nil // incident.Refusal says why
	}
	if err != nil {
		return kinded(op, err)
	}
	h.askForReboot(ctx, client, t, inc, r)
	return nil
}

func lostLease(op string) error {
	return fault.New(fault.Internal, op, "another execution has taken the lease")
}

// rebooted puts a reboot of this execution into the incident.
func rebooted(inc *incident.Incident, r *incident.Reboot) {
	if r.Request != incident.RequestRefused {
		inc.RebootedAt = r.At
	}
}

// reserveReboot stores that EC2 is about to be asked. Whoever finds that stored
// does not ask again.
func (h *Handler) reserveReboot(ctx context.Context, t Table, inc *incident.Incident, input func(policy.State) policy.Input) (*incident.Reboot, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-rebootTime))
		defer cancel()
	}
	var tried []incident.Millis
	e, err := t.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		inc.Refusal = ""
		if !owns(e.State.Instance.Lease, inc) {
			return lostLease("reserve the reboot")
		}
		if r := e.State.Instance.ReservedBy(inc.Execution.ID); r != nil {
			if slices.Contains(tried, r.At) {
				return store.ErrKeep // it was this invocation, and the answer was lost
			}
			return fault.New(fault.Internal, "reserve the reboot", "another invocation of this step has reserved it")
		}
		in := input(e.State)
		s, refusal := policy.MayReboot(in, *inc.Decision)
		if refusal != "" {
			inc.Refusal = refusal
			return errRefused
		}
		e.State, tried = s, append(tried, in.Now)
		// The version stays: the looks after the reboot must be able to decide even
		// if this step's answer is lost.
		e.State.Instance.Lease.Until = leaseUntil(in.Now, inc.WaitSeconds)
		r := store.RecordOf(inc)
		r.LeaseUntil = e.State.Instance.Lease.Until
		r.Reboot = new(*s.Instance.ReservedBy(inc.Execution.ID))
		e.Record = &store.RecordUpdate{Record: r}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e.State.Instance.ReservedBy(inc.Execution.ID), nil
}

// askForReboot asks EC2 and records what became of the request. If that cannot
// be recorded the reservation stays, and counts as a reboot.
func (h *Handler) askForReboot(ctx context.Context, client EC2, t Table, inc *incident.Incident, r *incident.Reboot) {
	asking := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		asking, cancel = context.WithDeadline(ctx, deadline.Add(-tellTime/2))
		defer cancel()
	}
	request, err := h.requestReboot(asking, client, inc.InstanceID)
	reason := ""
	if err != nil {
		reason = redact.Error(err)
		h.Log.LogAttrs(ctx, slog.LevelWarn, "EC2 did not accept the reboot", slog.String("instance", inc.InstanceID), slog.String("request", request), problem(err))
	}
	r.Request = request
	rebooted(inc, r)
	if request == incident.RequestRefused {
		inc.Refusal = "EC2 refused the reboot: " + reason
	} else {
		h.Metrics.count(metricReboots, inc)
	}
	bounded, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	_, err = t.Update(bounded, inc.InstanceID, func(e *store.Entry) error {
		e.State = policy.Requested(e.State, inc.Execution.ID, request, reason)
		e.Record = &store.RecordUpdate{Record: store.RecordOf(inc)}
		e.Record.Record.Reboot = e.State.Instance.ReservedBy(inc.Execution.ID)
		return nil
	})
	if err != nil {
		h.warn(ctx, "cannot store what became of a reboot's request", inc.InstanceID, err)
	}
}

// enough returns an error when less of the function's time is left than what
// comes next may take.
func enough(ctx context.Context, op string, need time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < need {
		return fault.New(fault.Unavailable, op, "%s of the function's time are left, and it takes %s", time.Until(deadline).Round(time.Second), need)
	}
	return nil
}
