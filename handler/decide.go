package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
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
	return h.decideOn(ctx, inc, nil)
}

// decideOn decides and stores. Without facts it asks for them.
func (h *Handler) decideOn(ctx context.Context, inc *incident.Incident, facts *policy.Facts) error {
	op := "decide on " + inc.InstanceID
	asked, looked := asked{facts: facts}, inc.Settings
	var dec incident.Decision
	e, err := h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		i := &e.State.Instance
		if d := i.Decided; d != nil && d.Execution == inc.Execution.ID && d.Look == inc.Look {
			dec = incident.Decision{}
			if err := json.Unmarshal([]byte(d.Decision), &dec); err != nil {
				return fault.New(fault.Internal, op, "decode the stored decision: %w", err)
			}
			return nil
		}
		if !owns(i.Lease, inc) {
			return errLost
		}
		in := h.input(inc, e.State)
		h.known(ctx, inc, &in, &asked)
		for _, check := range changed(looked, inc.Settings) { // what was seen says nothing of what is asked now
			isOld := func(f incident.Finding) bool { return f.Check == check }
			in.Findings, inc.Findings = slices.DeleteFunc(in.Findings, isOld), slices.DeleteFunc(inc.Findings, isOld)
			in.Caught[check] = "its settings have changed meanwhile"
		}
		out := policy.Decide(in)
		dec = out.Decision
		if m := i.Membership; m != nil && dec.Next == incident.NextResolve && dec.Alert == nil {
			dec.Alert = out.State.Region.Ref(m.Alert) // Slack has its earlier messages
		}
		if inc.Dry {
			h.suppress(ctx, inc, dec)
		} else {
			raw, err := json.Marshal(dec)
			if err != nil {
				return fault.New(fault.Internal, op, "encode the decision: %w", err)
			}
			e.State = out.State
			i.HealthCheck = inc.HealthCheck
			i.Decided = &policy.Decided{Execution: inc.Execution.ID, Look: inc.Look, Decision: string(raw)}
		}
		record(e, inc, dec)
		return nil
	})
	switch {
	case errors.Is(err, errLost):
		h.alreadyHandled(ctx, inc, e)
		return nil
	case err == nil && !inc.Dry:
		h.apply(ctx, inc, dec, &e.State.Instance)
	}
	return err
}

// changed are the checks whose settings differ.
func changed(before, now *incident.Settings) (checks []string) {
	for _, check := range incident.Checks {
		if before != now && before.Fingerprint(check) != now.Fingerprint(check) {
			checks = append(checks, check)
		}
	}
	return checks
}

// record stores the look in the incident's record, and renews the lease or gives
// it back.
func record(e *store.Entry, inc *incident.Incident, dec incident.Decision) {
	i := &e.State.Instance
	r := store.RecordOf(inc)
	r.Name = cmp.Or(i.Name, r.Name)
	if reboot := i.ReservedBy(inc.Execution.ID); reboot != nil {
		r.Reboot = new(*reboot)
	}
	switch {
	case inc.Dry:
		r.EndedAt, r.End = dec.At, incident.NextDone
		giveBack(&i.Lease)
	case dec.Next == incident.NextDone, dec.Next == incident.NextHandedOver:
		r.EndedAt, r.End = dec.At, dec.Next
		giveBack(&i.Lease)
	default:
		renew(&i.Lease, dec.At, dec.WaitSeconds)
		i.Lease.Version++
		r.LeaseUntil = i.Lease.Until
	}
	r.Looks = []incident.Decision{store.LookOf(dec)}
	e.Record = &r
}

// input is what the policy decides on, but for the facts.
func (h *Handler) input(inc *incident.Incident, s policy.State) policy.Input {
	in := policy.Input{
		Now: incident.At(time.Now()), Settings: inc.Settings, Breaker: h.Breaker, AliasPrefix: h.aliasPrefix(), NoSlack: h.Slack == nil,
		Region: h.Region, Peers: h.Peers, VantageRequired: h.VantageRequired,
		Execution: inc.Execution.ID, StartedAt: incident.At(inc.Execution.StartedAt), Alarm: inc.Alarm != nil,
		Look: inc.Look, Caught: map[string]string{}, State: s,
	}
	for _, name := range append([]string{"reboot"}, incident.Checks...) {
		if f := inc.Finding(name); f != nil {
			in.Findings = append(in.Findings, *f)
		}
		if c, ok := inc.Caught[name]; ok {
			in.Caught[name] = cmp.Or(c.Cause, c.Error)
		}
	}
	return in
}

// apply makes the incident what the decision wants of it. The next look begins
// without findings, but for one that it may use again while the instance boots, and
// without what kept this look's checks from their ends.
func (h *Handler) apply(ctx context.Context, inc *incident.Incident, dec incident.Decision, i *policy.Instance) {
	inc.Next, inc.WaitSeconds, inc.Decision = dec.Next, dec.WaitSeconds, &dec
	inc.LeaseVersion, inc.Refusal = i.Lease.Version, ""
	inc.Name = cmp.Or(i.Name, inc.Name)
	inc.HostKeyType = i.KnownHostKeyType(inc.Settings)
	was := inc.RebootedAt
	rebooted(inc, dec.Reboots)
	maps.DeleteFunc(inc.Caught, func(step string, _ incident.Caught) bool { return step == "reboot" || incident.CheckTitle(step) != "" })
	if dec.Guard != "" {
		h.count(ctx, metricRefusals, inc, slog.String("Guard", dec.Guard))
	}
	if dec.Next == incident.NextWait || dec.Next == incident.NextReboot {
		kept := inc.Finding(incident.CheckRoute53)
		inc.Look, inc.Findings = dec.Look+1, nil
		// One that was made without knowing of the reboot says nothing after it.
		if kept != nil && dec.Next == incident.NextWait && was == inc.RebootedAt && inc.Booting(time.Now()) {
			inc.Findings = []incident.Finding{*kept}
		}
	}
}
