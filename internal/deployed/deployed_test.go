package deployed

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ireland = `{
	"region": "eu-west-1", "account_id": "123456789012", "name": "firstline", "version": "0.3.0",
	"state_machine_arn": "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline",
	"function_name": "firstline-responder",
	"function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:3",
	"rule_name": "firstline-alarm", "canary_rule_name": "firstline-canary",
	"reconcile_rule_name": "firstline-reconcile", "table_name": "firstline-incidents", "dashboard_name": "firstline-eu-west-1",
	"dead_letter_queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/firstline-dead-letter",
	"alarm_topic_arn": null,
	"alarm_names": ["firstline-alarm-i-0a1b2c3d-cpu", "firstline-alarm-i-1a1b2c3d-cpu"],
	"self_alarm_names": ["firstline-self-dead-letter"],
	"instance_ids": ["i-0a1b2c3d", "i-1a1b2c3d"],
	"pagers": ["jsm", "sns"], "pager_topic_arn": "arn:aws:sns:us-east-1:210987654321:oncall",
	"function_log_group": "/aws/lambda/firstline-responder", "probe_log_group": "/aws/lambda/firstline-probe", "execution_log_group": "/aws/vendedlogs/states/firstline",
	"added_later": {"a": 1}
}`

func TestDecode(t *testing.T) {
	got, err := Decode(map[string]json.RawMessage{
		"eu-west-1": json.RawMessage(ireland),
		"us-east-1": json.RawMessage(`null`),
		"version":   json.RawMessage(`"0.3.0"`),
		"numbers":   json.RawMessage(`[1, 2]`),
		// Outputs of a root of somebody's own.
		"machines": json.RawMessage(`{"eu-west-1": "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"}`),
		"empty":    json.RawMessage(`{"region": null, "state_machine_arn": null}`),
		"":         nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Region{
		Region: "eu-west-1", AccountID: "123456789012", Name: "firstline", Version: "0.3.0",
		StateMachineARN: "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline",
		FunctionName:    "firstline-responder",
		FunctionARN:     "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:3",
		RuleName:        "firstline-alarm", CanaryRuleName: "firstline-canary",
		ReconcileRuleName: "firstline-reconcile", TableName: "firstline-incidents", DashboardName: "firstline-eu-west-1",
		DeadLetterQueueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/firstline-dead-letter",
		AlarmNames:         []string{"firstline-alarm-i-0a1b2c3d-cpu", "firstline-alarm-i-1a1b2c3d-cpu"},
		SelfAlarmNames:     []string{"firstline-self-dead-letter"},
		InstanceIDs:        []string{"i-0a1b2c3d", "i-1a1b2c3d"},
		Pagers:             []string{"jsm", "sns"},
		PagerTopicARN:      "arn:aws:sns:us-east-1:210987654321:oncall",
		FunctionLogGroup:   "/aws/lambda/firstline-responder", ProbeLogGroup: "/aws/lambda/firstline-probe", ExecutionLogGroup: "/aws/vendedlogs/states/firstline",
	}
	if diff := cmp.Diff(map[string]Region{"eu-west-1": want}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodePart(t *testing.T) {
	got, err := Decode(map[string]json.RawMessage{"eu-west-1": json.RawMessage(`{"region": "eu-west-1", "state_machine_arn": null, "alarm_names": null}`)})
	if names := slices.Collect(maps.Keys(got)); err != nil || !slices.Equal(names, []string{"eu-west-1"}) || got["eu-west-1"].StateMachineARN != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"another's name", strings.Replace(ireland, `"eu-west-1"`, `"eu-west-2"`, 1), `output "eu-west-1": it is of the region "eu-west-2"`},
		{"another type", strings.Replace(ireland, `["firstline-self-dead-letter"]`, `"x"`, 1), "self_alarm_names"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode(map[string]json.RawMessage{"eu-west-1": json.RawMessage(tt.value)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAlarm(t *testing.T) {
	r := Region{
		Region: "cn-north-1", AccountID: "123456789012", FunctionARN: "arn:aws-cn:lambda:cn-north-1:123456789012:function:x:1",
		AlarmNames: []string{"firstline-alarm-i-0a1b2c3d-cpu", "firstline-alarm-i-1a1b2c3d-cpu", "firstline-alarm-i-1a1b2c3d-status"},
	}
	if got := r.Alarms("i-1a1b2c3d"); !slices.Equal(got, []string{"firstline-alarm-i-1a1b2c3d-cpu", "firstline-alarm-i-1a1b2c3d-status"}) {
		t.Errorf("got %q", got)
	}
	if got := r.Alarms("i-a1b2c3d"); len(got) > 0 {
		t.Errorf("the end of another id found %q", got)
	}
	if got, want := r.AlarmARN("a"), "arn:aws-cn:cloudwatch:cn-north-1:123456789012:alarm:a"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Region{}).Partition(); got != "aws" {
		t.Errorf("without an ARN: %q", got)
	}
}
