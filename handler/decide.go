package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

// decide has the policy decide on this look, and stores what follows together
// with the decision itself: asked again about the same look, it returns that
// decision. An execution that has lost its lease ends as already handled.
func decide(ctx context.Context, h *Handler, inc *incident.Incident) error {
	asked := h.ask(inc)
	facts := func(in *policy.Input) { asked.facts(ctx, in) }
	if inc.Dry {
		return h.rehearse(ctx, inc, facts)
	}
	return h.decideOn(ctx, inc, facts)
}

// decideOn decides and stores. facts is called on each state that the decision
// is tried on, since others may write in between.
func (h *Handler) decideOn(ctx context.Context, inc *incident.Incident, facts func(*policy.Input)) error {
	var dec incident.Decision
	var lost, isNew bool
	e, err := h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		lost, isNew = false, false
		i := &e.State.Instance
		if d := i.Decided; d != nil && d.Execution == inc.Execution.ID && d.Look == inc.Look {
			dec = incident.Decision{}
			if err := json.Unmarshal([]byte(d.Decision), &dec); err != nil {
				return fault.New(fault.Internal, "decide on "+inc.InstanceID, "decode the stored decision: %w", err)
			}
			return store.ErrKeep
		}
		if lost = !owns(i.Lease, inc); lost {
			return store.ErrKeep
		}
		in := h.input(inc, e.State)
		facts(&in)
		out := policy.Decide(in)
		dec, isNew = out.Decision, true
		if m := i.Membership; m != nil && dec.Next == incident.NextResolve && dec.Alert == nil {
			// Slack has its earlier messages.
			dec.Alert = out.State.Region.Ref(m.Alert)
		}
		return keepDecision(e, inc, out.State, dec)
	})
	switch {
	case err != nil:
		return err
	case lost:
		h.alreadyHandled(inc, e.State.Instance.Lease)
		return nil
	}
	h.apply(ctx, inc, dec, &e.State.Instance)
	if isNew && dec.Guard != "" {
		h.Metrics.write(inc, metric{name: metricRefusals, value: 1, dimension: "Guard", of: dec.Guard})
	}
	return nil
}

// keepDecision puts into the entry what one conditional write stores: the state
// that follows, the decision under its execution and look, the lease, and the
// record's look.
func keepDecision(e *store.Entry, inc *incident.Incident, s policy.State, dec incident.Decision) error {
	raw, err := json.Marshal(dec)
	if err != nil {
		return fault.New(fault.Internal, "decide on "+inc.InstanceID, "encode the decision: %w", err)
	}
	e.State = s
	i := &e.State.Instance
	i.Decided = &policy.Decided{Execution: inc.Execution.ID, Look: inc.Look, Decision: string(raw)}
	r := store.RecordOf(inc)
	if i.Name != "" {
		r.Name = i.Name
	}
	if reboot := i.ReservedBy(inc.Execution.ID); reboot != nil {
		r.Reboot = new(*reboot)
	}
	if dec.Next == incident.NextDone || dec.Next == incident.NextHandedOver {
		giveBack(&i.Lease)
		r.EndedAt, r.End = dec.At, dec.Next
	} else {
		i.Lease.Until = leaseUntil(dec.At, dec.WaitSeconds)
		i.Lease.Version++
		r.LeaseUntil = i.Lease.Until
	}
	e.Record = &store.RecordUpdate{Record: r, Look: store.LookOf(&dec)}
	return nil
}

// input is what the policy decides on, but for the facts.
func (h *Handler) input(inc *incident.Incident, s policy.State) policy.Input {
	in := policy.Input{
		Now: incident.At(time.Now()), Settings: inc.Settings, AliasPrefix: h.aliasPrefix(),
		Execution: inc.Execution.ID, StartedAt: incident.At(inc.Execution.StartedAt), Alarm: inc.Alarm != nil,
		Look: inc.Look, Caught: map[string]string{}, State: s,
	}
	if h.Breaker != nil {
		in.Breaker = *h.Breaker
	} else {
		h.Log.Error("the environment does not say how many reboots the region may have: nothing is rebooted")
	}
	for _, f := range inc.Findings {
		if f.Look == inc.Look {
			in.Findings = append(in.Findings, f)
		}
	}
	for _, name := range incident.Checks {
		if c, ok := inc.Caught[name]; ok {
			in.Caught[name] = cmp.Or(c.Cause, c.Error)
		}
	}
	return in
}

// apply makes the incident what the decision wants of it. The next look begins
// without findings, and without what kept this look's checks from their ends.
func (h *Handler) apply(ctx context.Context, inc *incident.Incident, dec incident.Decision, i *policy.Instance) {
	inc.Next, inc.WaitSeconds, inc.Decision = dec.Next, dec.WaitSeconds, &dec
	inc.LeaseVersion, inc.Refusal = i.Lease.Version, ""
	if i.Name != "" {
		inc.Name = i.Name
	}
	rebooted(inc, dec.Reboots)
	if c, ok := inc.Caught["reboot"]; ok {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the step that reboots failed", slog.String("instance", inc.InstanceID), slog.String("error", c.Cause))
	}
	maps.DeleteFunc(inc.Caught, func(step string, _ incident.Caught) bool { return step == "reboot" || incident.CheckTitle(step) != "" })
	if len(inc.Caught) == 0 {
		inc.Caught = nil
	}
	if dec.Next == incident.NextWait || dec.Next == incident.NextReboot {
		inc.Look, inc.Findings = dec.Look+1, nil
	}
}
