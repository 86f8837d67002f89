package handler

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

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

// reboot asks the guards once more, reserves the reboot in the table, and then
// asks EC2. A refusal is no error: the next look decides. An execution that has
// reserved a reboot before never asks EC2 a second time: whether it did is not
// known, and the looks tell.
func reboot(ctx context.Context, h *Handler, inc *incident.Incident) error {
	op := "reboot " + inc.InstanceID
	if inc.Decision == nil || inc.Decision.Next != incident.NextReboot || inc.Dry {
		return fault.New(fault.InvalidInput, op, "incident.decision: it is not to reboot the instance, or it is dry")
	}
	e, mine, err := h.reserveReboot(ctx, op, inc)
	if err != nil || inc.Refusal != "" {
		return err
	}
	r := e.State.Instance.ReservedBy(inc.Execution.ID)
	if mine {
		h.askForReboot(ctx, inc, r)
	}
	rebooted(inc, []incident.Reboot{*r})
	return nil
}

// rebooted puts the time of the newest of an instance's reboots into the incident.
func rebooted(inc *incident.Incident, all []incident.Reboot) {
	if n := len(all); n > 0 && all[n-1].Request != incident.RequestRefused {
		inc.RebootedAt = all[n-1].At
	}
}

// reserveReboot stores that EC2 is about to be asked, unless the policy refuses:
// then the incident's refusal says why. Whoever finds a reservation that is not
// mine, of this invocation, does not ask.
func (h *Handler) reserveReboot(ctx context.Context, op string, inc *incident.Incident) (e *store.Entry, mine bool, err error) {
	ctx, cancel := keeping(ctx, rebootTime)
	defer cancel()
	var asked asked
	looked := inc.Settings
	mayReboot := func(s policy.State) (policy.State, string) {
		in := h.input(inc, s)
		in.Look, in.Findings = inc.Decision.Look, inc.Decision.Findings
		h.known(ctx, inc, &in, &asked)
		if checks := changed(looked, inc.Settings); len(checks) > 0 && !in.Facts.Unwatched {
			return s, "the settings have changed since the look: " + strings.Join(checks, ", ")
		}
		return policy.MayReboot(in, *inc.Decision)
	}
	var evidence *store.Evidence
	var tried incident.Millis
	e, err = h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		inc.Refusal = ""
		if r := e.State.Instance.ReservedBy(inc.Execution.ID); r != nil {
			mine = r.At == tried // and the answer was lost
			return nil
		}
		if !owns(e.State.Instance.Lease, inc) {
			return fault.New(fault.Internal, op, "%w", errLost)
		}
		s, refusal := mayReboot(e.State)
		if refusal == "" && evidence == nil {
			evidence = h.evidence(ctx, inc, asked.facts.EC2.Value)
			asked.facts = nil // that took its time
			s, refusal = mayReboot(e.State)
		}
		if inc.Refusal = refusal; refusal != "" {
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < reserveTime {
			return fault.New(fault.Unavailable, op, "too little of the function's time is left")
		}
		e.State = s
		r := store.RecordOf(inc)
		r.Reboot, r.Evidence = s.Instance.ReservedBy(inc.Execution.ID), evidence
		// The version stays: the looks after the reboot must be able to decide even
		// if this step's answer is lost.
		renew(&e.State.Instance.Lease, r.Reboot.At, inc.WaitSeconds)
		r.LeaseUntil = e.State.Instance.Lease.Until
		e.Record = &r
		mine, tried = true, r.Reboot.At
		return nil
	})
	return e, mine, err
}

// askForReboot asks EC2 and records what became of the request. If that cannot
// be recorded the reservation stays, and counts as a reboot.
func (h *Handler) askForReboot(ctx context.Context, inc *incident.Incident, r *incident.Reboot) {
	asking, cancel := keeping(ctx, tellTime/2)
	defer cancel()
	request, err := h.requestReboot(asking, inc.InstanceID)
	reason := ""
	if err != nil {
		reason = redact.Error(err)
		h.warn(ctx, "EC2 did not accept the reboot", inc.InstanceID, err)
	}
	if r.Request = request; request == incident.RequestRefused {
		inc.Refusal = "EC2 refused the reboot: " + reason
	} else {
		h.count(ctx, metricReboots, inc)
	}
	ctx, cancel = context.WithTimeout(ctx, tellTime)
	defer cancel()
	_, err = h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		e.State = policy.Requested(e.State, inc.Execution.ID, request, reason)
		r := store.RecordOf(inc)
		r.Reboot = e.State.Instance.ReservedBy(inc.Execution.ID)
		e.Record = &r
		return nil
	})
	if err != nil {
		h.warn(ctx, "cannot store what became of a reboot's request", inc.InstanceID, err)
	}
}

// evidence is what a reboot wipes out: the console's output, and the status checks.
// It is as good as it can be had in the time.
func (h *Handler) evidence(ctx context.Context, inc *incident.Incident, state policy.EC2) *store.Evidence {
	word := map[bool]string{false: "ok", true: "impaired"}
	e := &store.Evidence{
		At:           incident.At(time.Now()),
		SystemStatus: word[state.System], InstanceStatus: word[state.Instance], EBSStatus: word[state.EBS],
	}
	if err := h.readConsole(ctx, inc.InstanceID, e); err != nil {
		h.warn(ctx, "cannot read the console", inc.InstanceID, err)
	}
	return e
}

// readConsole reads the output of an instance's console, and when EC2 took it.
// The latest is there on Nitro only; others have what EC2 kept of the last start
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html).
func (h *Handler) readConsole(ctx context.Context, id string, e *store.Evidence) error {
	ctx, cancel := keeping(ctx, reserveTime)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, askTime)
	defer cancel()
	out, err := h.EC2().GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
	if _, answered := errors.AsType[smithy.APIError](err); answered && fault.KindOf(fault.AWS("", err)) == fault.InvalidInput {
		out, err = h.EC2().GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
	}
	if err != nil {
		return fmt.Errorf("GetConsoleOutput: %w", err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	e.Console, e.ConsoleAt = redact.Console(string(text)), incident.At(aws.ToTime(out.Timestamp))
	return err
}
