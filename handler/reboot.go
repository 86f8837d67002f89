package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/checks"
	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/notify"
)

// freshFinding is how old the finding may be that leads to a reboot. Retries
// and redrives of an execution can bring an old incident back, and the machine
// may have recovered long ago.
const freshFinding = 5 * time.Minute

// rebootTime is what must be left of the function's time before EC2 is asked:
// less, and the answer might come too late to be told.
const rebootTime = 10 * time.Second

// reboot asks EC2 to reboot the instance and opens the boot window. An
// incident that holds a reboot already never asks a second time. A dry incident
// asks whether EC2 would do it, whatever the checks saw, and its window is
// closed at once.
func reboot(ctx context.Context, h *Handler, inc *incident.Incident) error {
	failure := inc.LastFailure()
	if !inc.Dry && failure == nil && inc.Run == 1 {
		return fault.New(fault.InvalidInput, "reboot "+inc.InstanceID, "incident.findings: no check of run 1 has failed; without one there is nothing to reboot for")
	}
	if inc.Reboot == nil {
		if inc.Run != 1 {
			return fault.New(fault.InvalidInput, "reboot "+inc.InstanceID, "incident.run: it is %d; only run 1 leads to a reboot", inc.Run)
		}
		if !inc.Dry {
			if err := due(inc, failure); err != nil {
				return err
			}
		}
		outcome, err := h.requestReboot(ctx, inc)
		if err != nil {
			return err
		}
		inc.Reboot = &incident.Reboot{At: time.Now().UTC(), Outcome: outcome}
		if outcome == incident.RebootSuppressed {
			inc.Suppress(incident.ActionReboot, suppressedReboot(inc, failure), inc.Reboot.At)
		}
	}
	if inc.Reboot.Reason == "" && failure != nil {
		inc.Reboot.Reason = failure.Reason
	}
	window := time.Duration(inc.Settings.Boot.WindowSeconds) * time.Second
	if inc.Dry {
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

// suppressedReboot says what a dry incident left undone.
func suppressedReboot(inc *incident.Incident, failure *checks.Finding) string {
	text := notify.DryLabel + inc.InstanceID + " in " + inc.Region + " would have been rebooted; EC2 allows it"
	if failure == nil {
		return text + ". No check failed."
	}
	return text + ". The reason: " + failure.Reason
}

// requestReboot asks EC2 once. An error means that EC2 has certainly not been
// asked, or has refused; of a dry incident it may also mean that EC2 did not
// say what would happen.
func (h *Handler) requestReboot(ctx context.Context, inc *incident.Incident) (outcome string, err error) {
	op := "reboot " + inc.InstanceID
	client, err := h.EC2(ctx)
	if err != nil {
		return "", err
	}
	if err := running(ctx, client, inc.InstanceID); err != nil {
		return "", err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < rebootTime {
		return "", fault.New(fault.Unavailable, op, "%s left of the function's time, it takes %s", time.Until(deadline).Round(time.Second), rebootTime)
	}
	in := &ec2.RebootInstancesInput{InstanceIds: []string{inc.InstanceID}}
	if inc.Dry {
		in.DryRun = aws.Bool(true)
	}
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	_, err = client.RebootInstances(traced, in, func(o *ec2.Options) {
		// The SDK would ask again after a time-out.
		o.RetryMaxAttempts = 1
	})
	if inc.Dry {
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

// running returns an error unless EC2 says that the instance is running.
func running(ctx context.Context, client Rebooter, id string) error {
	op := "reboot " + id
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return fault.AWS(op, fmt.Errorf("describe it first: %w", err))
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if i.State != nil && i.State.Name == types.InstanceStateNameRunning {
				return nil
			}
			if i.State != nil {
				return fault.New(fault.InvalidInput, op, "the instance is %s; only a running one can be rebooted", i.State.Name)
			}
		}
	}
	return fault.New(fault.InvalidInput, op, "EC2 knows no such instance")
}
