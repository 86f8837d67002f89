package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// freshFinding is how old the finding may be that leads to a reboot. Retries
// and redrives of an execution can bring an old incident back, and the machine
// may have recovered long ago.
const freshFinding = 5 * time.Minute

// The function has 30 s at least, and one of them is the reserve. What is asked
// before a reboot leaves enough of them for the reboot itself.
const (
	// lookTime bounds one question to the table, describeTime one to EC2.
	lookTime, describeTime = 4 * time.Second, 5 * time.Second
	// evidenceTime bounds what is kept of the instance as it is.
	evidenceTime = 8 * time.Second
	// reserveTime must be left for the reservation, and rebootTime after it: with
	// less, EC2's answer might come too late to be told.
	reserveTime, rebootTime = 3 * time.Second, 10 * time.Second
	// cancelTime is what taking a reservation back may use of what EC2 has left.
	cancelTime = 8 * time.Second
)

// reboot asks every guard, and then EC2 to reboot the instance, and opens the
// boot window. A refusal is no error: the incident says who refused, and why. An
// incident that holds a reboot already never asks a second time, nor does an
// execution that has reserved one. A dry incident asks whether EC2 would do it,
// whatever the checks saw; its window is closed at once, like that of an instance
// whose settings want dry runs.
func reboot(ctx context.Context, h *Handler, inc *incident.Incident) error {
	failure := inc.LastFailure()
	if !inc.Dry && failure == nil && inc.Run == 1 {
		return fault.New(fault.InvalidInput, "reboot "+inc.InstanceID, "incident.findings: no check of run 1 has failed; without one there is nothing to reboot for")
	}
	if inc.Reboot == nil {
		if inc.Run != 1 {
			return fault.New(fault.InvalidInput, "reboot "+inc.InstanceID, "incident.run: it is %d; only run 1 leads to a reboot", inc.Run)
		}
		var err error
		if inc.Dry {
			inc.Reboot, err = h.rehearseReboot(ctx, inc)
		} else {
			inc.Reboot, inc.Refusal, err = h.guardedReboot(ctx, inc, failure)
		}
		if err != nil {
			return err
		}
		if inc.Refusal != nil {
			h.Metrics.refused(inc)
			return nil
		}
		if inc.Reboot.Outcome == incident.RebootSuppressed {
			inc.Suppress(incident.ActionReboot, suppressedReboot(inc, failure), inc.Reboot.At)
		} else {
			h.Metrics.count(metricReboots, inc)
		}
	}
	if inc.Reboot.Reason == "" && failure != nil {
		inc.Reboot.Reason = failure.Reason
	}
	window := time.Duration(inc.Settings.Boot.WindowSeconds) * time.Second
	if inc.Reboot.Outcome == incident.RebootSuppressed {
		window = 0
	}
	// Whole seconds in UTC: the form that Step Functions compares.
	inc.Reboot.WindowClosesAt = inc.Reboot.At.Add(window).UTC().Truncate(time.Second)
	inc.Run, inc.Passed, inc.Recovery = 2, false, &incident.Recovery{}
	return nil
}

// due returns an error unless the failure is one to reboot for now.
func due(inc *incident.Incident, failure *checks.Finding) error {
	if inc.Passed {
		return fault.New(fault.InvalidInput, "reboot "+inc.InstanceID, "incident.passed: the last check passed; only a failed one leads to a reboot")
	}
	if age := time.Since(failure.At); age > freshFinding {
		return fault.New(fault.InvalidInput, "reboot "+inc.InstanceID, "the check failed at %s, %s ago; after more than %s the instance is not rebooted on that account", failure.At.UTC().Format(time.RFC3339), age.Round(time.Second), freshFinding)
	}
	return nil
}

// suppressedReboot says what was left undone.
func suppressedReboot(inc *incident.Incident, failure *checks.Finding) string {
	text := notify.DryLabel + inc.InstanceID + " in " + inc.Region + " would have been rebooted; EC2 allows it"
	if failure == nil {
		return text + ". No check failed."
	}
	return text + ". The reason: " + failure.Reason
}

// guardedReboot reboots the instance if no guard is against it. The first of
// them is the reservation: a step whose answer got lost is invoked again, and
// must not find that the instance is just starting, or paused meanwhile, and say
// that nothing was done. Whatever a guard cannot find out is an error, and not a
// reboot.
func (h *Handler) guardedReboot(ctx context.Context, inc *incident.Incident, failure *checks.Finding) (*incident.Reboot, *incident.Refusal, error) {
	op := "reboot " + inc.InstanceID
	if h.Brake == nil {
		return nil, nil, fault.New(fault.InvalidInput, op, "the function's environment does not say how many reboots the region may have (FIRSTLINE_BRAKE_IN_FLIGHT, FIRSTLINE_BRAKE_PER_HOUR); apply the Terraform root again")
	}
	guards, err := h.Guards(ctx)
	if err != nil {
		return nil, nil, err
	}
	own, paused, err := h.look(ctx, guards, inc)
	if err != nil {
		return nil, nil, kinded(op, fmt.Errorf("ask the guards: %w", err))
	}
	if own != nil {
		return h.reservedBefore(ctx, *own), nil, nil
	}
	if err := due(inc, failure); err != nil {
		return nil, nil, err
	}
	client, err := h.EC2(ctx)
	if err != nil {
		return nil, nil, err
	}
	status, refusal, err := h.mayReboot(ctx, client, inc, paused)
	if err != nil || refusal != nil {
		return nil, refusal, err
	}
	h.keepEvidence(ctx, client, guards, inc, status)
	if err := enough(ctx, op, reserveTime+rebootTime); err != nil {
		return nil, nil, err
	}
	own, refusal, err = h.reserveReboot(ctx, guards, inc, *failure)
	switch {
	case err != nil:
		// The reservation may stand or not. Another invocation of this step may
		// have made it and asked EC2, so it is not for this one to cancel.
		return nil, nil, kinded(op, fmt.Errorf("reserve it: %w", err))
	case refusal != nil:
		return nil, refusal, nil
	case own != nil:
		return h.reservedBefore(ctx, *own), nil, nil
	}
	dryRun := inc.Settings.Reboot.DryRun
	outcome, err := h.requestReboot(ctx, client, inc.InstanceID, dryRun)
	if err != nil {
		if !dryRun {
			h.cancel(ctx, guards, inc)
		}
		return nil, nil, err
	}
	return &incident.Reboot{At: time.Now().UTC(), Outcome: outcome}, nil, nil
}

// look asks the table for this execution's own reservation and the region's pause.
func (h *Handler) look(ctx context.Context, guards Guards, inc *incident.Incident) (own *time.Time, paused *incident.Pause, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return guards.Look(ctx, inc)
}

// reservedBefore is the reboot of an invocation whose answer got lost: EC2 may
// have been asked or not, and is not asked again.
func (h *Handler) reservedBefore(ctx context.Context, at time.Time) *incident.Reboot {
	h.Log.WarnContext(ctx, "this execution has reserved a reboot before: its outcome is unknown, and it counts as rebooted", slog.Time("at", at))
	return &incident.Reboot{At: at.UTC(), Outcome: incident.RebootUnknown}
}

// reserveReboot leaves EC2 its time.
func (h *Handler) reserveReboot(ctx context.Context, guards Guards, inc *incident.Incident, failed checks.Finding) (own *time.Time, refusal *incident.Refusal, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-rebootTime))
		defer cancel()
	}
	return guards.Reserve(ctx, inc, failed, *h.Brake)
}

// cancel takes a reservation back of which EC2 certainly knows nothing. If it
// stays, the next try takes it for a reboot of unknown outcome: then nothing is
// rebooted, and somebody is paged when the boot window closes.
func (h *Handler) cancel(ctx context.Context, guards Guards, inc *incident.Incident) {
	ctx, done := context.WithTimeout(ctx, cancelTime)
	defer done()
	if err := guards.Cancel(ctx, inc); err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the reservation of a reboot that was not made stays", slog.String("instance", inc.InstanceID), problem(err))
	}
}

// rehearseReboot asks EC2 whether it would reboot the instance of a dry incident.
func (h *Handler) rehearseReboot(ctx context.Context, inc *incident.Incident) (*incident.Reboot, error) {
	op := "reboot " + inc.InstanceID
	client, err := h.EC2(ctx)
	if err != nil {
		return nil, err
	}
	i, err := describe(ctx, client, op, inc.InstanceID)
	if err != nil {
		return nil, err
	}
	if err := running(i, op); err != nil {
		return nil, err
	}
	if err := enough(ctx, op, rebootTime); err != nil {
		return nil, err
	}
	outcome, err := h.requestReboot(ctx, client, inc.InstanceID, true)
	if err != nil {
		return nil, err
	}
	return &incident.Reboot{At: time.Now().UTC(), Outcome: outcome}, nil
}

// enough returns an error when less of the function's time is left than what
// comes next may take.
func enough(ctx context.Context, op string, need time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < need {
		return fault.New(fault.Unavailable, op, "%s left of the function's time, it takes %s", time.Until(deadline).Round(time.Second), need)
	}
	return nil
}

// requestReboot asks EC2 once. An error means that EC2 has certainly not been
// asked, or has refused; of a dry run it may also mean that EC2 did not say what
// would happen.
func (h *Handler) requestReboot(ctx context.Context, client Rebooter, id string, dryRun bool) (outcome string, err error) {
	op := "reboot " + id
	in := &ec2.RebootInstancesInput{InstanceIds: []string{id}}
	if dryRun {
		in.DryRun = aws.Bool(true)
	}
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	_, err = client.RebootInstances(traced, in, func(o *ec2.Options) {
		// The SDK would ask again after a time-out.
		o.RetryMaxAttempts = 1
	})
	if dryRun {
		return dryOutcome(op, err)
	}
	_, answered := errors.AsType[smithy.APIError](err)
	switch {
	case err == nil:
		return incident.RebootRequested, nil
	case !sent.Load() && !answered, fault.Throttled(err):
		return "", fault.AWS(op, err)
	case !answered, fault.ServerFault(err):
		h.Log.WarnContext(ctx, "the outcome of the reboot is unknown: it counts as rebooted")
		return incident.RebootUnknown, nil
	default:
		return "", fault.AWS(op, err)
	}
}

// wouldSucceed is the code of the error with which EC2 answers a dry run that
// it would have carried out
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RebootInstances.html).
const wouldSucceed = "DryRunOperation"

// dryOutcome reads EC2's answer to a dry run, which is an error whatever it
// says. Without an answer nothing is lost: asking again does no harm.
func dryOutcome(op string, err error) (string, error) {
	if err == nil {
		return "", fault.New(fault.Internal, op, "EC2 accepted a dry run as if it were none, and may be rebooting the instance: it answers one with the code %s", wouldSucceed)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == wouldSucceed {
		return incident.RebootSuppressed, nil
	}
	return "", fault.AWS(op, fmt.Errorf("dry run: %w", err))
}

// describe asks EC2 for an instance.
func describe(ctx context.Context, client Rebooter, op, id string) (*types.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return nil, fault.AWS(op, fmt.Errorf("describe it first: %w", err))
	}
	for _, r := range out.Reservations {
		for n := range r.Instances {
			return &r.Instances[n], nil
		}
	}
	return nil, fault.New(fault.InvalidInput, op, "EC2 knows no such instance")
}

// running returns an error unless EC2 says that the instance is running.
func running(i *types.Instance, op string) error {
	state := types.InstanceStateName("of an unknown state")
	if i.State != nil {
		state = i.State.Name
	}
	if state == types.InstanceStateNameRunning {
		return nil
	}
	return fault.New(fault.InvalidInput, op, "the instance is %s; only a running one can be rebooted", state)
}
