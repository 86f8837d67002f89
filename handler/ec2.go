package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
)

// askEC2 asks EC2 what it knows of an instance, and for its status checks.
func (h *Handler) askEC2(ctx context.Context, instanceID string) (policy.EC2, error) {
	client, err := h.EC2(ctx)
	if err != nil {
		return policy.EC2{}, err
	}
	var (
		all                     sync.WaitGroup
		found                   *ec2.DescribeInstancesOutput
		status                  *ec2.DescribeInstanceStatusOutput
		foundFailed, statFailed error
	)
	all.Go(func() {
		found, foundFailed = client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instanceID}})
	})
	all.Go(func() {
		status, statFailed = client.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{instanceID}})
	})
	all.Wait()
	i, err := oneInstance(found, foundFailed)
	switch {
	case err != nil:
		return policy.EC2{}, fmt.Errorf("DescribeInstances: %w", err)
	case i == nil:
		return policy.EC2{Unknown: true}, nil
	}
	e := stateOf(i, time.Now())
	if e.Running && statFailed != nil {
		return policy.EC2{}, fmt.Errorf("DescribeInstanceStatus: %w", statFailed)
	}
	if e.Running {
		addStatus(&e, status, time.Now())
	}
	return e, nil
}

// notFound is the code with which EC2 says that it knows no such instance
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html).
const notFound = "InvalidInstanceID.NotFound"

// oneInstance reads an answer about one instance; nil: EC2 does not know it.
func oneInstance(out *ec2.DescribeInstancesOutput, err error) (*types.Instance, error) {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == notFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, r := range out.Reservations {
		for n := range r.Instances {
			return &r.Instances[n], nil
		}
	}
	return nil, nil
}

// byPerson is the code of the reason for which EC2 has stopped an instance that
// a person stopped.
const byPerson = "Client.UserInitiatedShutdown"

func stateOf(i *types.Instance, now time.Time) policy.EC2 {
	e := policy.EC2{State: "unknown"}
	if i.State != nil {
		e.State = string(i.State.Name)
		switch i.State.Name {
		case types.InstanceStateNameRunning:
			e.Running = true
		case types.InstanceStateNameStopped, types.InstanceStateNameStopping:
			e.Stopped = true
		case types.InstanceStateNameTerminated, types.InstanceStateNameShuttingDown:
			e.Terminated = true
		}
	}
	e.ByPerson = i.StateReason != nil && aws.ToString(i.StateReason.Code) == byPerson
	for _, t := range i.Tags {
		switch aws.ToString(t.Key) {
		case "Name":
			e.Name = aws.ToString(t.Value)
		case incident.PauseTag:
			e.Pause, e.PauseErr = pauseOf(aws.ToString(t.Value), now)
		}
	}
	return e
}

// pauseOf reads the value of the tag that pauses an instance.
func pauseOf(value string, now time.Time) (*policy.Pause, string) {
	until, err := incident.ParsePause(value, now)
	switch {
	case err != nil:
		return nil, err.Error()
	case until == 0:
		return nil, ""
	}
	return &policy.Pause{Until: until}, ""
}

// addStatus reads EC2's status checks of a running instance, and what is
// scheduled for it. EC2 has both checks of each running instance: without them
// the instance is about to stop, or the answer is not EC2's.
func addStatus(e *policy.EC2, out *ec2.DescribeInstanceStatusOutput, now time.Time) {
	if out == nil || len(out.InstanceStatuses) == 0 {
		e.Unclear = true
		return
	}
	s := out.InstanceStatuses[0]
	var initializing bool
	impaired := func(status types.SummaryStatus) bool {
		initializing = initializing || status == types.SummaryStatusInitializing
		return status == types.SummaryStatusImpaired
	}
	if s.SystemStatus == nil || s.InstanceStatus == nil || s.SystemStatus.Status == "" || s.InstanceStatus.Status == "" {
		e.Unclear = true
	}
	if s.SystemStatus != nil {
		e.System = impaired(s.SystemStatus.Status)
	}
	if s.InstanceStatus != nil {
		e.Instance = impaired(s.InstanceStatus.Status)
	}
	if s.AttachedEbsStatus != nil {
		e.EBS = s.AttachedEbsStatus.Status == types.SummaryStatusImpaired
	}
	e.Initializing = initializing
	for _, event := range s.Events {
		if e.Scheduled == "" {
			e.Scheduled = scheduled(event, now)
		}
	}
}

// over begins the description of an event that is done with, for up to a week
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusEvent.html);
// canceled ones are shown likewise.
var over = []string{"[completed]", "[canceled]", "[cancelled]"}

// scheduled says what AWS is about to do with the instance, if that may be why
// it does not answer. The host of one that is to be retired or stopped may be
// failing already; other work has a time at which it begins.
func scheduled(e types.InstanceStatusEvent, now time.Time) string {
	description := strings.ToLower(strings.TrimSpace(aws.ToString(e.Description)))
	for _, prefix := range over {
		if strings.HasPrefix(description, prefix) {
			return ""
		}
	}
	atAnyTime := e.Code == types.EventCodeInstanceRetirement || e.Code == types.EventCodeInstanceStop
	if !atAnyTime && e.NotBefore != nil && now.Before(*e.NotBefore) {
		return ""
	}
	when := ""
	if e.NotBefore != nil {
		when = " for " + e.NotBefore.UTC().Format("2006-01-02 15:04 UTC")
	}
	return fmt.Sprintf("AWS has scheduled the event %q of the instance%s, which would explain it", e.Code, when)
}

const (
	// rebootTries is how often EC2 is asked that has certainly not carried it out,
	// and rebootPause the time between two tries.
	rebootTries = 3
	rebootPause = time.Second
)

// requestReboot asks EC2 to reboot the instance, and says what became of the
// request. It asks again only where EC2 has certainly not carried it out. The
// error says why a request was refused.
func (h *Handler) requestReboot(ctx context.Context, client EC2, id string) (request string, err error) {
	for n := 1; ; n++ {
		var again bool
		request, again, err = rebootOnce(ctx, client, id)
		if !again || n == rebootTries {
			return request, err
		}
		select {
		case <-time.After(rebootPause):
		case <-ctx.Done():
			return request, err
		}
	}
}

// rebootOnce asks EC2 once. again: it has certainly not carried it out, and may
// do so in a moment.
func rebootOnce(ctx context.Context, client EC2, id string) (request string, again bool, err error) {
	op := "reboot " + id
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	_, err = client.RebootInstances(traced, &ec2.RebootInstancesInput{InstanceIds: []string{id}}, oneAttempt)
	_, answered := errors.AsType[smithy.APIError](err)
	switch {
	case err == nil:
		return incident.RequestAccepted, false, nil
	case fault.Throttled(err):
		return incident.RequestRefused, true, fault.AWS(op, err)
	case !answered && isBeforeSending(err, sent.Load()):
		return incident.RequestRefused, true, fault.AWS(op, err)
	case !answered, fault.ServerFault(err):
		return incident.RequestUnknown, false, fault.AWS(op, err)
	}
	return incident.RequestRefused, false, fault.AWS(op, err)
}

// isBeforeSending reports whether a request without an answer was never sent.
func isBeforeSending(err error, sent bool) bool {
	_, isOperation := errors.AsType[*smithy.OperationError](err)
	// What is not the SDK's error says nothing about what was sent.
	return isOperation && !sent
}

// oneAttempt keeps the SDK from asking again after a time-out.
func oneAttempt(o *ec2.Options) { o.RetryMaxAttempts = 1 }

// wouldSucceed is the code of the error with which EC2 answers a dry run that
// it would have carried out
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RebootInstances.html).
const wouldSucceed = "DryRunOperation"

// dryRunReboot asks EC2 whether it would reboot the instance. Unlike a reboot it
// may be asked again, which the SDK does.
func (h *Handler) dryRunReboot(ctx context.Context, client EC2, id string) error {
	op := "reboot " + id
	_, err := client.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{id}, DryRun: aws.Bool(true)})
	if err == nil {
		return fault.New(fault.Internal, op, "EC2 accepted a dry run as if it were none, and may be rebooting the instance: it answers one with the code %s", wouldSucceed)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == wouldSucceed {
		return nil
	}
	return fault.AWS(op, fmt.Errorf("dry run: %w", err))
}
