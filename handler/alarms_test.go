package handler

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"firstline/internal/incident"
)

// fewAlarms are alarms by name, a page each, as CloudWatch lists them.
type fewAlarms struct {
	fakeAlarms
	all []types.MetricAlarm
}

func (f fewAlarms) DescribeAlarms(_ context.Context, in *cloudwatch.DescribeAlarmsInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	n := len(aws.ToString(in.NextToken))
	out := &cloudwatch.DescribeAlarmsOutput{}
	if n+1 < len(f.all) {
		out.NextToken = aws.String(strings.Repeat("x", n+1))
	}
	if a := f.all[n]; strings.HasPrefix(*a.AlarmName, *in.AlarmNamePrefix) && (in.StateValue == "" || in.StateValue == a.StateValue) {
		out.MetricAlarms = append(out.MetricAlarms, a)
	}
	return out, nil
}

func TestAlarmsOfAnInstance(t *testing.T) {
	const no, ok, on = types.StateValueInsufficientData, types.StateValueOk, types.StateValueAlarm
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	alarm := func(name string, state types.StateValue, minute int) types.MetricAlarm {
		return types.MetricAlarm{AlarmName: aws.String("firstline-alarm-" + name), StateValue: state, StateTransitionedTimestamp: aws.Time(noon.Add(time.Duration(minute) * time.Minute))}
	}
	for name, tt := range map[string]struct {
		all            []types.MetricAlarm
		state, trigger string
	}{
		"the first one fired first":  {[]types.MetricAlarm{alarm(one+"-cpu", on, 1), alarm(one+"-status", on, 2)}, "ALARM", "cpu"},
		"the second one fired first": {[]types.MetricAlarm{alarm(one+"-cpu", on, 2), alarm(one+"-status", on, 1)}, "ALARM", "status"},
		"one fires":                  {[]types.MetricAlarm{alarm(one+"-cpu", ok, 1), alarm(one+"-disk_full", on, 2), alarm(one+"-status", ok, 0)}, "ALARM", "disk_full"},
		"one is OK":                  {[]types.MetricAlarm{alarm(one+"-cpu", ok, 1), alarm(one+"-status", no, 2)}, "OK", ""},
		"none has data":              {[]types.MetricAlarm{alarm(one+"-cpu", no, 1)}, "INSUFFICIENT_DATA", ""},
		"another instance's":         {[]types.MetricAlarm{alarm(two+"-cpu", on, 1), alarm("of-somebody", on, 0)}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Handler{AlarmPrefix: "firstline-alarm-", CloudWatch: func() CloudWatch { return fewAlarms{all: tt.all} }}
			inc := &incident.Incident{InstanceID: one}
			state, err := h.alarm(t.Context(), inc)
			all, listErr := h.inAlarm(t.Context())
			if err != nil || listErr != nil || state != tt.state || triggerOf(inc.Alarm) != tt.trigger || triggerOf(all[one]) != tt.trigger {
				t.Errorf("%v, %v: %q, %q, %q", err, listErr, state, triggerOf(inc.Alarm), triggerOf(all[one]))
			}
		})
	}
}

func triggerOf(a *incident.Alarm) string {
	if a == nil {
		return ""
	}
	return a.Trigger
}
