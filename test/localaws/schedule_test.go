package localaws

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/go-cmp/cmp"
)

func TestTick(t *testing.T) {
	a := shared(t)
	ctx := t.Context()
	client, name, _ := makeFunction(t, a, nil)
	events := eventbridge.NewFromConfig(a.Config(region))
	function := "arn:aws:lambda:" + region + ":" + AccountID + ":function:" + name
	rule, err := events.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, ScheduleExpression: aws.String("rate(5 minutes)")})
	if err != nil {
		t.Fatal(err)
	}
	target := func(input string) {
		t.Helper()
		to := ebtypes.Target{Id: aws.String("function"), Arn: &function}
		if input != "" {
			to.Input = &input
		}
		if _, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: []ebtypes.Target{to}}); err != nil {
			t.Fatal(err)
		}
	}
	permit := func(source string) {
		t.Helper()
		_, err := client.AddPermission(ctx, &lambda.AddPermissionInput{
			FunctionName: &name, StatementId: aws.String("reconcile"), Action: aws.String("lambda:InvokeFunction"),
			Principal: aws.String("events.amazonaws.com"), SourceArn: &source,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	forbid := func() {
		t.Helper()
		if _, err := client.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &name, StatementId: aws.String("reconcile")}); err != nil {
			t.Fatal(err)
		}
	}
	target(`{"do":"env"}`)

	// Nothing else runs on a schedule in this region.
	if _, err := a.Tick(ctx, region); err == nil || !strings.Contains(err.Error(), "NO_PERMISSIONS") {
		t.Errorf("without a permission: %v", err)
	}
	permit(*rule.RuleArn + "-other")
	if _, err := a.Tick(ctx, region); err == nil || !strings.Contains(err.Error(), "NO_PERMISSIONS") {
		t.Errorf("with another rule's permission: %v", err)
	}
	forbid()
	permit(*rule.RuleArn)
	before := len(a.Calls())
	answers, err := a.Tick(ctx, region)
	if err != nil || len(answers) != 1 || !strings.Contains(answers[0], `"COLOR":"red"`) {
		t.Errorf("got %v, %v", answers, err)
	}
	var got []string
	for _, c := range a.Calls()[before:] {
		got = append(got, strings.Join(append([]string{c.Role, c.Service, c.Action}, c.Resources...), " "))
	}
	if diff := cmp.Diff([]string{"events.amazonaws.com lambda InvokeFunction " + function}, got); diff != "" {
		t.Error(diff)
	}
	// The whole event where there is no input.
	target("")
	answers, err = a.Tick(ctx, region)
	runs := a.Invocations(name)
	if event := string(runs[len(runs)-1].Event); err != nil || len(answers) != 1 || !strings.Contains(event, `"detail-type":"Scheduled Event"`) || !strings.Contains(event, *rule.RuleArn) {
		t.Errorf("got %v, %v of %s", answers, err, event)
	}
	target(`{"do":"error"}`)
	if answers, err := a.Tick(ctx, region); err == nil || len(answers) != 0 || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("a function that fails: %v, %v", answers, err)
	}
	fault := a.AddFault(Fault{Service: "lambda", Action: "Invoke", Contains: name, Status: 429, Code: "TooManyRequestsException", Times: 1})
	if _, err := a.Tick(ctx, region); err == nil || !strings.Contains(err.Error(), "TooManyRequestsException") || fault.Hits() != 1 {
		t.Errorf("a function that is throttled: %v", err)
	}
	if _, err := events.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if answers, err := a.Tick(ctx, region); err != nil || len(answers) != 0 {
		t.Errorf("a rule that is disabled: %v, %v", answers, err)
	}
	if answers, err := a.Tick(ctx, "eu-west-3"); err != nil || len(answers) != 0 {
		t.Errorf("a region without rules: %v, %v", answers, err)
	}
}

// A rule that matches events invokes a function too, once it may.
func TestRuleInvokesFunction(t *testing.T) {
	a := shared(t)
	ctx := t.Context()
	client, name, _ := makeFunction(t, a, nil)
	events := eventbridge.NewFromConfig(a.Config(region))
	function := "arn:aws:lambda:" + region + ":" + AccountID + ":function:" + name
	rule, err := events.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: aws.String(`{"source": ["` + name + `"]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: []ebtypes.Target{{Id: aws.String("f"), Arn: &function}}}); err != nil {
		t.Fatal(err)
	}
	put := func() {
		t.Helper()
		if _, err := events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
			{Source: &name, DetailType: aws.String("test"), Detail: aws.String(`{}`)},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if _, err := client.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &name, StatementId: aws.String("rule"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("events.amazonaws.com"), SourceArn: rule.RuleArn,
	}); err != nil {
		t.Fatal(err)
	}
	put()
	eventually(t, "it runs", func() bool { return len(a.Invocations(name)) > 0 })
	if runs := a.Invocations(name); len(runs) != 1 {
		t.Errorf("%d invocations, want that of the event which it was allowed: %v", len(runs), runs)
	}
}
