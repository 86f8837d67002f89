package handler

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

func TestStateOf(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	instance := func(state types.InstanceStateName, reason string, tags ...string) *types.Instance {
		i := &types.Instance{State: &types.InstanceState{Name: state}}
		if reason != "" {
			i.StateReason = &types.StateReason{Code: &reason}
		}
		for pair := range slices.Chunk(tags, 2) {
			i.Tags = append(i.Tags, types.Tag{Key: &pair[0], Value: &pair[1]})
		}
		return i
	}
	tests := map[string]struct {
		instance *types.Instance
		want     policy.EC2
	}{
		"running":              {instance("running", "", "Name", "web"), policy.EC2{State: "running", Running: true, Name: "web"}},
		"stopped by a person":  {instance("stopped", "Client.UserInitiatedShutdown"), policy.EC2{State: "stopped", Stopped: true, ByPerson: true}},
		"stopped by itself":    {instance("stopping", "Client.InstanceInitiatedShutdown"), policy.EC2{State: "stopping", Stopped: true}},
		"terminated":           {instance("shutting-down", ""), policy.EC2{State: "shutting-down", Terminated: true}},
		"pending":              {instance("pending", ""), policy.EC2{State: "pending"}},
		"no state":             {&types.Instance{}, policy.EC2{State: "unknown"}},
		"paused":               {instance("running", "", incident.PauseTag, "2026-11-22T11:00:00Z"), policy.EC2{State: "running", Running: true, Pause: &policy.Pause{Until: incident.At(now.Add(time.Hour))}}},
		"a pause that is over": {instance("running", "", incident.PauseTag, "2026-11-22T09:00:00Z"), policy.EC2{State: "running", Running: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, stateOf(tt.instance, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if e := stateOf(instance("running", "", incident.PauseTag, "tomorrow"), now); e.Pause != nil || e.PauseErr == "" {
		t.Errorf("a tag that cannot be read: %+v", e)
	}
}

func TestAddStatus(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	status := func(system, instance types.SummaryStatus, change func(*types.InstanceStatus)) *ec2.DescribeInstanceStatusOutput {
		s := types.InstanceStatus{SystemStatus: &types.InstanceStatusSummary{Status: system}, InstanceStatus: &types.InstanceStatusSummary{Status: instance}}
		if change != nil {
			change(&s)
		}
		return &ec2.DescribeInstanceStatusOutput{InstanceStatuses: []types.InstanceStatus{s}}
	}
	event := func(code types.EventCode, description string, in time.Duration) func(*types.InstanceStatus) {
		return func(s *types.InstanceStatus) {
			s.Events = []types.InstanceStatusEvent{{Code: code, Description: &description, NotBefore: aws.Time(now.Add(in))}}
		}
	}
	tests := map[string]struct {
		out  *ec2.DescribeInstanceStatusOutput
		want policy.EC2
	}{
		"ok":                   {status("ok", "ok", nil), policy.EC2{}},
		"system":               {status("impaired", "ok", nil), policy.EC2{System: true}},
		"instance":             {status("ok", "impaired", nil), policy.EC2{Instance: true}},
		"EBS":                  {status("ok", "ok", func(s *types.InstanceStatus) { s.AttachedEbsStatus = &types.EbsStatusSummary{Status: "impaired"} }), policy.EC2{EBS: true}},
		"initializing":         {status("ok", "initializing", nil), policy.EC2{Initializing: true}},
		"nothing":              {&ec2.DescribeInstanceStatusOutput{}, policy.EC2{Unclear: true}},
		"half":                 {status("ok", "ok", func(s *types.InstanceStatus) { s.InstanceStatus = nil }), policy.EC2{Unclear: true}},
		"retired some day":     {status("ok", "ok", event("instance-retirement", "retired", 72*time.Hour)), policy.EC2{Scheduled: `AWS has scheduled the event "instance-retirement" of the instance for 2026-11-25 10:00 UTC, which would explain it`}},
		"maintenance, later":   {status("ok", "ok", event("system-maintenance", "work", time.Hour)), policy.EC2{}},
		"maintenance, now":     {status("ok", "ok", event("system-maintenance", "work", 0)), policy.EC2{Scheduled: `AWS has scheduled the event "system-maintenance" of the instance for 2026-11-22 10:00 UTC, which would explain it`}},
		"maintenance, is over": {status("ok", "ok", event("system-maintenance", "[Completed] work", 0)), policy.EC2{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var e policy.EC2
			addStatus(&e, tt.out, now)
			if diff := cmp.Diff(tt.want, e); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOneInstance(t *testing.T) {
	if i, err := oneInstance(nil, &smithy.GenericAPIError{Code: "InvalidInstanceID.NotFound"}); i != nil || err != nil {
		t.Errorf("unknown to EC2: %v, %v", i, err)
	}
	for _, why := range []error{&smithy.GenericAPIError{Code: "UnauthorizedOperation"}, errors.New("no route")} {
		if _, err := oneInstance(nil, why); err == nil {
			t.Errorf("%v means that it is unknown", why)
		}
	}
}
