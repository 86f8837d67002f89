package handler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

// mayReboot asks the guards that need no table: pauses, the event's age, and what
// EC2 knows of the instance, in this order. A pause goes first, since it also
// means that nobody is paged. The status is for the evidence.
func (h *Handler) mayReboot(ctx context.Context, client Rebooter, inc *incident.Incident, ofRegion *incident.Pause) (status *types.InstanceStatus, refusal *incident.Refusal, err error) {
	op := "reboot " + inc.InstanceID
	now := time.Now().UTC()
	refuse := func(guard, format string, args ...any) *incident.Refusal {
		return &incident.Refusal{Guard: guard, Reason: fmt.Sprintf(format, args...), At: now}
	}
	if ofRegion != nil {
		inc.Paused = ofRegion
		by := ""
		if ofRegion.By != "" {
			by = " by " + ofRegion.By
		}
		return nil, refuse(incident.GuardPause, "all of %s is paused until %s%s", inc.Region, clock(ofRegion.Until), by), nil
	}
	i, err := describe(ctx, client, op, inc.InstanceID)
	if err != nil {
		return nil, nil, err
	}
	switch paused, err := pausedByTag(i); {
	case err != nil:
		return nil, refuse(incident.GuardPause, "somebody meant to pause the instance, and until when is not known: %s", err), nil
	case paused != nil:
		inc.Paused = paused
		return nil, refuse(incident.GuardPause, "the instance's tag %s pauses it until %s", incident.PauseTag, clock(paused.Until)), nil
	}
	if reason := staleness(inc, now); reason != "" {
		return nil, refuse(incident.GuardFreshness, "%s", reason), nil
	}
	if err := running(i, op); err != nil {
		return nil, nil, err
	}
	if status, err = statusOf(ctx, client, op, inc.InstanceID); err != nil {
		return nil, nil, err
	}
	if reason := explanation(status, now); reason != "" {
		return status, refuse(incident.GuardState, "%s", reason), nil
	}
	return status, nil, nil
}

// staleness says why the event is too old to reboot for, or "".
func staleness(inc *incident.Incident, now time.Time) string {
	if inc.EventAt.IsZero() {
		// An older version of the function opened it, without a lease.
		return "when the event was sent is not known: another version of the function opened the incident"
	}
	fresh := time.Duration(inc.Settings.Reboot.FreshSeconds) * time.Second
	if age := now.Sub(inc.EventAt); age > fresh {
		return fmt.Sprintf("the event was sent at %s, %s ago; after more than %s nothing is rebooted on its account", clock(inc.EventAt), age.Round(time.Second), fresh)
	}
	return ""
}

// statusOf asks EC2 for its status checks of a running instance, and for what it
// has scheduled.
func statusOf(ctx context.Context, client Rebooter, op, id string) (*types.InstanceStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	out, err := client.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}})
	if err != nil {
		return nil, fault.AWS(op, fmt.Errorf("ask for its status first: %w", err))
	}
	says := func(s *types.InstanceStatusSummary) bool { return s != nil && s.Status != "" }
	if len(out.InstanceStatuses) > 0 && says(out.InstanceStatuses[0].SystemStatus) && says(out.InstanceStatuses[0].InstanceStatus) {
		return &out.InstanceStatuses[0], nil
	}
	// Of every running instance EC2 has both: it is about to stop, or the answer
	// is not EC2's.
	return nil, fault.New(fault.Unavailable, op, "ask for its status first: EC2 gives none, though it says that the instance is running")
}

// explanation says what of an instance's status speaks against a reboot, or "".
func explanation(s *types.InstanceStatus, now time.Time) string {
	switch {
	case s.SystemStatus.Status == types.SummaryStatusImpaired:
		return "EC2's own status check of the system underneath it has failed, which no reboot cures: AWS repairs that, or a stop and a start moves the instance"
	case s.InstanceStatus.Status == types.SummaryStatusInitializing, s.SystemStatus.Status == types.SummaryStatusInitializing:
		return "it has been started a short time ago: EC2's status checks are still initializing"
	}
	for _, e := range s.Events {
		if reason := scheduled(e, now); reason != "" {
			return reason
		}
	}
	return ""
}

// over begins the description of an event that is done with, for up to a week
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusEvent.html);
// canceled ones are shown likewise.
var over = []string{"[completed]", "[canceled]", "[cancelled]"}

// scheduled says what AWS is about to do with the instance, if that may be why it
// does not answer. The host of one that is to be retired or stopped may be failing
// already; other work has a time at which it begins.
func scheduled(e types.InstanceStatusEvent, now time.Time) string {
	description := strings.ToLower(strings.TrimSpace(aws.ToString(e.Description)))
	for _, prefix := range over {
		if strings.HasPrefix(description, prefix) {
			return ""
		}
	}
	when := "has scheduled"
	if e.NotBefore != nil {
		when += " for " + clock(*e.NotBefore)
	}
	atAnyTime := e.Code == types.EventCodeInstanceRetirement || e.Code == types.EventCodeInstanceStop
	if !atAnyTime && e.NotBefore != nil && now.Before(*e.NotBefore) {
		return ""
	}
	return fmt.Sprintf("AWS %s the event %q of the instance, which would explain it", when, e.Code)
}

// clock writes a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
