package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
)

// ec2 makes the question what EC2 knows of the instance, for its status checks and,
// where it may be slow, for its CPU credits.
func (h *Handler) ec2(mayBeSlow bool) func(context.Context, *incident.Incident) (policy.EC2, error) {
	return func(ctx context.Context, inc *incident.Incident) (policy.EC2, error) {
		return h.askEC2(ctx, inc, mayBeSlow)
	}
}

func (h *Handler) askEC2(ctx context.Context, inc *incident.Incident, mayBeSlow bool) (policy.EC2, error) {
	ids := []string{inc.InstanceID}
	out, err := h.EC2().DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
	i, err := oneInstance(out, err)
	switch {
	case err != nil:
		return policy.EC2{}, fmt.Errorf("DescribeInstances: %w", err)
	case i == nil:
		return policy.EC2{Unknown: true}, nil
	}
	e := stateOf(i, time.Now())
	if e.Running {
		status, err := h.EC2().DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: ids})
		if err != nil {
			return policy.EC2{}, fmt.Errorf("DescribeInstanceStatus: %w", err)
		}
		addStatus(&e, status, time.Now())
	}
	family, _, _ := strings.Cut(string(i.InstanceType), ".")
	if mayBeSlow && slices.Contains(burstable, family) {
		if e.NoCredits, err = h.credits(ctx, inc.InstanceID); err != nil {
			e.CreditsErr = incident.ClipLine(redact.Error(err), maxFact)
			h.warn(ctx, "cannot ask for CPU credits", inc.InstanceID, err)
		}
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
	}
	switch e.State {
	case "running":
		e.Running = true
	case "stopped", "stopping":
		e.Stopped = true
	case "terminated", "shutting-down":
		e.Terminated = true
	}
	if i.LaunchTime != nil {
		e.LaunchedAt = incident.At(*i.LaunchTime)
	}
	e.ByPerson = i.StateReason != nil && aws.ToString(i.StateReason.Code) == byPerson
	for _, t := range i.Tags {
		switch aws.ToString(t.Key) {
		case "Name":
			e.Name = aws.ToString(t.Value)
		case incident.PauseTag:
			if until, err := incident.ParsePause(aws.ToString(t.Value), now); err != nil {
				e.PauseErr = err.Error()
			} else if until > 0 {
				e.Pause = &policy.Pause{Until: until}
			}
		}
	}
	return e
}

// pausedByTag are the instances of the region with a pause tag.
func (h *Handler) pausedByTag(ctx context.Context, now time.Time) (map[string]policy.EC2, error) {
	tagged := map[string]policy.EC2{}
	pages := ec2.NewDescribeInstancesPaginator(h.EC2(), &ec2.DescribeInstancesInput{
		Filters: []types.Filter{{Name: aws.String("tag-key"), Values: []string{incident.PauseTag}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			for n := range r.Instances {
				tagged[aws.ToString(r.Instances[n].InstanceId)] = stateOf(&r.Instances[n], now)
			}
		}
	}
	return tagged, nil
}

// addStatus reads EC2's status checks of a running instance, and what is
// scheduled for it. EC2 has both checks of each running instance: without them
// the instance is about to stop, or the answer is not EC2's.
func addStatus(e *policy.EC2, out *ec2.DescribeInstanceStatusOutput, now time.Time) {
	e.Unclear = true
	for _, s := range out.InstanceStatuses {
		if s.SystemStatus == nil || s.InstanceStatus == nil {
			continue
		}
		system, instance := s.SystemStatus.Status, s.InstanceStatus.Status
		e.Unclear = system == "" || instance == ""
		e.System, e.Instance = system == types.SummaryStatusImpaired, instance == types.SummaryStatusImpaired
		e.Initializing = system == types.SummaryStatusInitializing || instance == types.SummaryStatusInitializing
		e.EBS = s.AttachedEbsStatus != nil && s.AttachedEbsStatus.Status == types.SummaryStatusImpaired
		for _, d := range s.SystemStatus.Details {
			e.ImpairedSince = cmp.Or(e.ImpairedSince, incident.At(aws.ToTime(d.ImpairedSince)))
		}
		if s.AttachedEbsStatus != nil {
			for _, d := range s.AttachedEbsStatus.Details {
				e.ImpairedSince = cmp.Or(e.ImpairedSince, incident.At(aws.ToTime(d.ImpairedSince)))
			}
		}
		for _, event := range s.Events {
			e.Scheduled = cmp.Or(e.Scheduled, scheduled(event, now))
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
	isOver := slices.ContainsFunc(over, func(prefix string) bool { return strings.HasPrefix(description, prefix) })
	atAnyTime := e.Code == types.EventCodeInstanceRetirement || e.Code == types.EventCodeInstanceStop
	if isOver || !atAnyTime && e.NotBefore != nil && now.Before(*e.NotBefore) {
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
func (h *Handler) requestReboot(ctx context.Context, id string) (request string, err error) {
	for n := 1; ; n++ {
		_, err = h.EC2().RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{id}}, func(o *ec2.Options) {
			o.RetryMaxAttempts = 1 // the SDK would ask again after a time-out
		})
		if err == nil {
			return incident.RequestAccepted, nil
		}
		_, answered := errors.AsType[smithy.APIError](err)
		op, isNet := errors.AsType[*net.OpError](err)
		notSent := fault.Throttled(err) || !answered && isNet && op.Op == "dial"
		err = fault.AWS("reboot "+id, err)
		switch {
		case !notSent && (!answered || fault.ServerFault(err)):
			return incident.RequestUnknown, err
		case !notSent || n == rebootTries:
			return incident.RequestRefused, err
		}
		select {
		case <-time.After(rebootPause):
		case <-ctx.Done():
			return incident.RequestRefused, err
		}
	}
}
