package localaws

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/go-cmp/cmp"
)

// An alarm that returns to OK goes to the rules that ask for that, and to no other.
func TestRecover(t *testing.T) {
	a := shared(t)
	const region = "ap-northeast-1"
	d := deploy(t, a, region)
	machine, _ := makeMachine(t, a, region, d.name+"-all-clear", `{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}`)
	rule := d.name + "-ok"
	events := eventbridge.NewFromConfig(a.Config(region))
	if _, err := events.PutRule(t.Context(), &eventbridge.PutRuleInput{
		Name: &rule,
		EventPattern: aws.String(`{"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"],
			"resources": [{"prefix": "arn:aws:cloudwatch:` + region + `:` + AccountID + `:alarm:` + d.name + `-cpu-"}], "detail": {"state": {"value": ["OK"]}}}`),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &rule, Targets: []ebtypes.Target{{
		Id: aws.String("all-clear"), Arn: &machine, RoleArn: &d.ruleRole,
		DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: aws.String("arn:aws:sqs:" + region + ":" + AccountID + ":" + d.name)},
	}}}); err != nil {
		t.Fatal(err)
	}
	// of is the machine of an execution.
	of := func(executions []string, err error) string {
		t.Helper()
		if err != nil || len(executions) != 1 {
			t.Fatalf("started %v, %v", executions, err)
		}
		finished(t, a, region, executions[0])
		return strings.Split(executions[0], ":")[6]
	}
	if got := of(a.Ring(t.Context(), region, d.alarm, "busy")); got != "machine-"+d.name {
		t.Errorf("ringing started %s", got)
	}
	started, err := a.Recover(t.Context(), region, d.alarm, "calm again")
	if got := of(started, err); got != d.name+"-all-clear" {
		t.Errorf("returning to OK started %s", got)
	}
	var event struct {
		Detail struct {
			State, PreviousState struct{ Value, Reason, ReasonData string }
		}
	}
	if err := json.Unmarshal([]byte(*finished(t, a, region, started[0]).Input), &event); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		Value, Reason string
		Datapoints    []float64
	}
	read := func(value, reason, data string) seen {
		var d struct{ RecentDatapoints []float64 }
		if err := json.Unmarshal([]byte(data), &d); err != nil {
			t.Error(err)
		}
		return seen{value, reason, d.RecentDatapoints}
	}
	was, is := event.Detail.PreviousState, event.Detail.State
	want := []seen{{"ALARM", "busy", []float64{100}}, {"OK", "calm again", []float64{99}}}
	if diff := cmp.Diff(want, []seen{read(was.Value, was.Reason, was.ReasonData), read(is.Value, is.Reason, is.ReasonData)}); diff != "" {
		t.Error(diff)
	}
	if _, err := a.Recover(t.Context(), region, d.alarm, "again"); err == nil || !strings.Contains(err.Error(), "OK already") {
		t.Errorf("it returns to OK twice: %v", err)
	}
	if _, err := a.Recover(t.Context(), region, "nobody", "x"); err == nil || !strings.Contains(err.Error(), "no such alarm") {
		t.Errorf("got %v", err)
	}
	// To ring it once more says OK to nobody.
	of(a.Ring(t.Context(), region, d.alarm, "busy"))
	of(a.Ring(t.Context(), region, d.alarm, "busy once more"))
	// What its target does not take is in the queue.
	a.AddFault(Fault{Service: "states", Action: "StartExecution", Region: region, Contains: d.name + "-all-clear", Status: 400, Code: "AccessDeniedException", Times: 1})
	if started, err := a.Recover(t.Context(), region, d.alarm, "lost"); err != nil || len(started) != 0 {
		t.Errorf("started %v, %v", started, err)
	}
	letters := d.letters(t, a, region)
	if len(letters) != 1 || !strings.Contains(*letters[0].Body, `"lost"`) || !strings.HasSuffix(*letters[0].MessageAttributes["RULE_ARN"].StringValue, "/"+rule) {
		t.Errorf("letters: %+v", letters)
	}
}

func TestDatapoint(t *testing.T) {
	for operator, want := range map[string][2]float64{
		"GreaterThanOrEqualToThreshold": {100, 99},
		"GreaterThanThreshold":          {101, 99},
		"LessThanOrEqualToThreshold":    {100, 101},
		"LessThanThreshold":             {99, 101},
	} {
		al := alarm{Threshold: 100, ComparisonOperator: operator}
		if got := [2]float64{al.datapoint(true), al.datapoint(false)}; got != want {
			t.Errorf("%s: %v, want %v", operator, got, want)
		}
	}
}
