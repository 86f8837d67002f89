package probe

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"firstline/internal/coverage"
)

// account is an AWS account as its operator reads it. Of what it does not say all is
// well.
type account struct {
	region    string
	quota     int32 // of concurrency, 1000 by default
	topic     []snstypes.Subscription
	queues    map[string]map[string]string // attributes by account and name
	functions map[string]string            // policies by ARN
	rule      func(*eventbridge.DescribeRuleOutput)
	target    func(*ebtypes.Target)
	unmatched bool              // no rule matches an event
	without   string            // a rule, role or policy that is not there
	policies  map[string]string // of roles, by name; "trust" is what they trust
	denied    string            // an action
	calls     *[]string
}

func (a account) in(region string) clients {
	a.region = region
	return clients{a, a, a, a, a}
}

func (a account) called(action string) error {
	if a.calls != nil {
		*a.calls = append(*a.calls, a.region+" "+action)
	}
	if a.denied == action {
		return refusal(http.StatusForbidden, "AccessDenied")
	}
	return nil
}

func (a account) GetAccountSettings(context.Context, *lambda.GetAccountSettingsInput, ...func(*lambda.Options)) (*lambda.GetAccountSettingsOutput, error) {
	quota := a.quota
	if quota == 0 {
		quota = 1000
	}
	return &lambda.GetAccountSettingsOutput{AccountLimit: &lambdatypes.AccountLimit{ConcurrentExecutions: quota, UnreservedConcurrentExecutions: &quota}}, a.called("GetAccountSettings")
}

func (a account) GetPolicy(_ context.Context, in *lambda.GetPolicyInput, _ ...func(*lambda.Options)) (*lambda.GetPolicyOutput, error) {
	policy, ok := a.functions[*in.FunctionName]
	if !ok {
		return nil, &lambdatypes.ResourceNotFoundException{}
	}
	return &lambda.GetPolicyOutput{Policy: &policy}, a.called("GetPolicy")
}

// ListSubscriptionsByTopic has one subscription a page.
func (a account) ListSubscriptionsByTopic(_ context.Context, in *sns.ListSubscriptionsByTopicInput, _ ...func(*sns.Options)) (*sns.ListSubscriptionsByTopicOutput, error) {
	out := new(sns.ListSubscriptionsByTopicOutput)
	if n := len(aws.ToString(in.NextToken)); n < len(a.topic) {
		out.Subscriptions = a.topic[n : n+1]
		if n+1 < len(a.topic) {
			out.NextToken = aws.String(strings.Repeat("x", n+1))
		}
	}
	return out, a.called("ListSubscriptionsByTopic")
}

func (a account) GetQueueUrl(_ context.Context, in *sqs.GetQueueUrlInput, _ ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error) { //nolint:revive // the SDK's name
	name := *in.QueueOwnerAWSAccountId + "/" + *in.QueueName
	if _, ok := a.queues[name]; !ok {
		return nil, &sqstypes.QueueDoesNotExist{}
	}
	return &sqs.GetQueueUrlOutput{QueueUrl: &name}, a.called("GetQueueUrl")
}

func (a account) GetQueueAttributes(_ context.Context, in *sqs.GetQueueAttributesInput, _ ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	return &sqs.GetQueueAttributesOutput{Attributes: a.queues[*in.QueueUrl]}, a.called("GetQueueAttributes")
}

func (a account) DescribeRule(_ context.Context, in *eventbridge.DescribeRuleInput, _ ...func(*eventbridge.Options)) (*eventbridge.DescribeRuleOutput, error) {
	if *in.Name == a.without {
		return nil, &ebtypes.ResourceNotFoundException{}
	}
	out := &eventbridge.DescribeRuleOutput{Name: in.Name, Arn: aws.String("arn:aws:events:eu-west-1:123456789012:rule/" + *in.Name), State: ebtypes.RuleStateEnabled, EventPattern: aws.String("{}")}
	if *in.Name == "firstline-reconcile" {
		out.EventPattern, out.ScheduleExpression = nil, aws.String("rate(5 minutes)")
	}
	if a.rule != nil {
		a.rule(out)
	}
	return out, a.called("DescribeRule")
}

func (a account) ListTargetsByRule(_ context.Context, in *eventbridge.ListTargetsByRuleInput, _ ...func(*eventbridge.Options)) (*eventbridge.ListTargetsByRuleOutput, error) {
	target := ebtypes.Target{Arn: aws.String("arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"), RoleArn: aws.String("arn:aws:iam::123456789012:role/ops/trigger")}
	if *in.Rule == "firstline-reconcile" {
		target = ebtypes.Target{Arn: aws.String("arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"), Input: aws.String(`{"step":"reconcile"}`)}
	}
	if a.target != nil {
		a.target(&target)
	}
	return &eventbridge.ListTargetsByRuleOutput{Targets: []ebtypes.Target{target}}, a.called("ListTargetsByRule")
}

func (a account) TestEventPattern(_ context.Context, in *eventbridge.TestEventPatternInput, _ ...func(*eventbridge.Options)) (*eventbridge.TestEventPatternOutput, error) {
	ours := strings.Contains(*in.Event, `"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-`)
	return &eventbridge.TestEventPatternOutput{Result: ours && !a.unmatched}, a.called("TestEventPattern")
}

func (a account) GetRole(_ context.Context, in *iam.GetRoleInput, _ ...func(*iam.Options)) (*iam.GetRoleOutput, error) {
	if *in.RoleName == a.without {
		return nil, &iamtypes.NoSuchEntityException{}
	}
	trust := cmp.Or(a.policies["trust"], `{"Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole", "Condition": {"ArnEquals": {"aws:SourceArn": ["arn:aws:events:eu-west-1:123456789012:rule/firstline-alarm", "arn:aws:events:eu-west-1:123456789012:rule/firstline-canary"]}}}]}`)
	return &iam.GetRoleOutput{Role: &iamtypes.Role{AssumeRolePolicyDocument: aws.String(url.QueryEscape(trust))}}, a.called("GetRole")
}

func (a account) GetRolePolicy(_ context.Context, in *iam.GetRolePolicyInput, _ ...func(*iam.Options)) (*iam.GetRolePolicyOutput, error) {
	if a.without == "policy" {
		return nil, &iamtypes.NoSuchEntityException{}
	}
	policy := cmp.Or(a.policies[*in.RoleName], `{"Statement": {"Effect": "Allow", "Action": "states:StartExecution", "Resource": "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"}}`)
	return &iam.GetRolePolicyOutput{PolicyDocument: aws.String(url.QueryEscape(policy))}, a.called("GetRolePolicy")
}

// says reports an excerpt that is missing in a text.
func says(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

func TestAlarms(t *testing.T) {
	found := []coverage.Finding{
		{Kind: coverage.Credits, InstanceID: first, What: "may be capped", Do: "pay", Warning: true},
		{Kind: coverage.NoData, InstanceID: second, What: "no data", Do: "start it"},
		{Kind: coverage.Period, InstanceID: second, What: "too short", Do: "use 300"},
		{Kind: coverage.HealthCheck, InstanceID: "i-0e3def4f9abdedf97", What: "is disabled", Do: "enable it"},
	}
	for _, tt := range []struct {
		name    string
		answer  any
		want    string
		reasons string
		all     string
	}{
		{"findings", coverage.Comparison{Findings: found, Alarms: ireland(first, second).AlarmNames[1:]}, "error error passed", "may be capped: pay; its alarm cpu does not exist: deploy again|no data: start it; too short: use 300|nothing keeps its alarms from firing", ""},
		{"a right is missing", functionError{"Denied", "ListMetrics: not authorized"}, "skipped skipped skipped", "not tried|not tried|not tried", "error: cannot compare what is watched with what is: Denied: ListMetrics: not authorized"},
		{"no answer", broken("{"), "skipped skipped skipped", "not tried|not tried|not tried", "error: cannot compare what is watched with what is: {"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := verifier(func(_ context.Context, c call) (any, error) {
				if c.Step != "coverage" {
					t.Errorf("asked for %+v", c)
				}
				return tt.answer, nil
			})
			all := []InstanceResult{{ID: first}, {ID: second}, {ID: "i-0e3def4f9abdedf97"}}
			c, _ := v.alarms(t.Context(), ireland(first, second), all)
			var reasons, got []string
			for _, i := range all {
				got, reasons = append(got, results(i.Checks)), append(reasons, i.Checks[0].Reason)
			}
			if said := strings.Trim(string(c.Result)+": "+c.Reason, ": "); strings.Join(got, " ") != tt.want || strings.Join(reasons, "|") != tt.reasons || said != tt.all {
				t.Errorf("%q, %q, %q", got, reasons, said)
			}
		})
	}
}

func TestRules(t *testing.T) {
	const function = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"
	admitted := map[string]string{function: `{"Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:events:eu-west-1:123456789012:rule/firstline-reconcile"}}}]}`}
	only := func(name string, do func(*eventbridge.DescribeRuleOutput)) func(*eventbridge.DescribeRuleOutput) {
		return func(out *eventbridge.DescribeRuleOutput) {
			if *out.Name == "firstline-"+name {
				do(out)
			}
		}
	}
	disabled := func(out *eventbridge.DescribeRuleOutput) { out.State = ebtypes.RuleStateDisabled }
	for _, tt := range []struct {
		name string
		account
		want Result
		says []string
	}{
		{"as deployed", account{}, Passed, []string{"enabled, with their targets"}},
		{"disabled", account{rule: only("alarm", disabled)}, Errored, []string{"the rule firstline-alarm is disabled, so no alarm starts an incident: deploy again"}},
		{"two disabled", account{rule: func(out *eventbridge.DescribeRuleOutput) {
			only("canary", disabled)(out)
			only("reconcile", disabled)(out)
		}}, Errored, []string{"the rule firstline-canary is disabled, so no dry incident starts; the rule firstline-reconcile is disabled, so reconcile never runs"}},
		{"deleted", account{without: "firstline-alarm"}, Errored, []string{"the rule firstline-alarm does not exist"}},
		{"other events", account{unmatched: true}, Errored, []string{"the rule firstline-alarm does not match the event of the alarm firstline-alarm-" + first + "-cpu", "firstline-canary"}},
		{"once a day", account{rule: only("reconcile", func(out *eventbridge.DescribeRuleOutput) { out.ScheduleExpression = aws.String("rate(1 day)") })}, Errored, []string{`the rule firstline-reconcile has the schedule "rate(1 day)"`}},
		{"another target", account{target: func(t *ebtypes.Target) { t.Arn = aws.String("arn:aws:sqs:eu-west-1:123456789012:other") }}, Errored, []string{"firstline-alarm does not have the target arn:aws:states:", "firstline-reconcile does not have the target " + function}},
		{"another input", account{target: func(t *ebtypes.Target) { t.Input = aws.String("{}") }}, Errored, []string{"firstline-alarm does not hand the event on as it is", "firstline-reconcile does not tell the function to reconcile"}},
		{"no role", account{without: "trigger"}, Errored, []string{"has the role trigger, which does not exist"}},
		{"a role for somebody else", account{policies: map[string]string{"trust": `{"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}}`}}, Errored, []string{"may not assume its role trigger"}},
		{"a role without its policy", account{without: "policy"}, Errored, []string{"has lost its policy trigger"}},
		{"a role for another state machine", account{policies: map[string]string{"trigger": `{"Statement": {"Effect": "Allow", "Action": "states:StartExecution", "Resource": "arn:aws:states:eu-west-1:123456789012:stateMachine:other"}}`}}, Errored, []string{"may not start the state machine"}},
		{"a role that is denied", account{policies: map[string]string{"trigger": `{"Statement": [{"Effect": "Allow", "Action": "states:*", "Resource": "*"}, {"Effect": "Deny", "Action": "*", "Resource": "*"}]}`}}, Errored, []string{"may not start the state machine"}},
		{"no permission", account{functions: map[string]string{}}, Errored, []string{"the rule firstline-reconcile may not invoke the function"}},
		{"not to be read", account{denied: "DescribeRule"}, Warned, []string{"cannot tell", "AccessDenied", "events:DescribeRule"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.functions == nil {
				tt.functions = admitted
			}
			var calls []string
			tt.calls = &calls
			r := ireland(first)
			r.RuleName, r.ReconcileRuleName = "firstline-alarm", "firstline-reconcile"
			v := verifier(healthy)
			v.read = tt.in
			c, ok := v.rules(t.Context(), r)
			if !ok || c.Check != "rules" || c.Result != tt.want {
				t.Errorf("%t %+v", ok, c)
			}
			says(t, c.Reason, tt.says...)
			if len(calls) > 13 {
				t.Errorf("%d calls: %q", len(calls), calls)
			}
		})
	}
}

func TestConcurrency(t *testing.T) {
	r := ireland(first, second)
	r.InstanceIDs = r.InstanceIDs[:1] // one is tried, a storm has both
	r.AlarmNames = append(r.AlarmNames, "firstline-alarm-"+first+"-status")
	for _, tt := range []struct {
		quota   int32
		reserve int
		denied  string
		want    Result
		says    []string
	}{
		{1000, 0, "", Passed, []string{"3 steps run at once when all 2 instances fail together", "1000 is unreserved"}},
		{3, 0, "", Passed, nil},
		{105, 5, "", Passed, []string{"100 is unreserved"}},
		{104, 5, "", Errored, []string{"can reserve 4 more of its concurrency of 104 in this region", "would reserve 5: set vantage.reserved_concurrency = 0"}},
		{10, 1, "", Errored, []string{"can reserve 0 more"}}, // a new account
		{2, 0, "", Warned, []string{"throttle", "--service-code lambda --quota-code L-B99A9384 --desired-value 1000"}},
		{1000, 0, "GetAccountSettings", Warned, []string{"cannot tell", "AccessDenied", "lambda:GetAccountSettings"}},
	} {
		v := verifier(healthy)
		v.read = account{quota: tt.quota, denied: tt.denied}.in
		got := v.concurrency(t.Context(), r.Region, r.Watched(), tt.reserve)
		if got.Check != "concurrency" || got.Result != tt.want {
			t.Errorf("%d: %+v", tt.quota, got)
		}
		says(t, got.Reason, tt.says...)
	}
}

func TestSubscribers(t *testing.T) {
	const (
		queue    = "arn:aws:sqs:us-east-1:123456789012:oncall"
		function = "arn:aws:lambda:eu-west-2:123456789012:function:oncall:live"
		open     = `{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "SQS:*", "Resource": "*"}}`
		admitted = `{"Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:123456789012:firstline-self"}}}]}`
	)
	sub := func(protocol, endpoint, arn string) snstypes.Subscription {
		return snstypes.Subscription{Protocol: &protocol, Endpoint: &endpoint, SubscriptionArn: &arn}
	}
	mail, waiting := sub("email", "a@example.com", ownTopic+":1"), sub("email", "b@example.com", "PendingConfirmation")
	toQueue, toFunction := sub("sqs", queue, ownTopic+":2"), sub("lambda", function, ownTopic+":3")
	with := func(policy, key string) map[string]map[string]string {
		return map[string]map[string]string{"123456789012/oncall": {"Policy": policy, "KmsMasterKeyId": key}}
	}
	for _, tt := range []struct {
		name string
		account
		want Result
		says []string
	}{
		{"nobody", account{}, Errored, []string{"nobody is subscribed to " + ownTopic}},
		{"all confirmed", account{topic: []snstypes.Subscription{mail, sub("sms", "+49", ownTopic+":4")}}, Passed, []string{"2 confirmed"}},
		{"one waits", account{topic: []snstypes.Subscription{mail, waiting}}, Warned, []string{"email to b@example.com is not confirmed", "follows the link"}},
		{"the only one has unsubscribed", account{topic: []snstypes.Subscription{sub("email", "a@example.com", "Deleted")}}, Errored, []string{"nobody is subscribed to " + ownTopic}},
		{"may not be read", account{denied: "ListSubscriptionsByTopic"}, Warned, []string{"cannot tell", "sns:ListSubscriptionsByTopic"}},

		{"a queue that admits the topic", account{topic: []snstypes.Subscription{toQueue}, queues: with(admitted, "")}, Passed, nil},
		{"a queue that admits everybody", account{topic: []snstypes.Subscription{toQueue}, queues: with(open, "alias/mine")}, Passed, nil},
		{"a queue without a policy", account{topic: []snstypes.Subscription{toQueue, waiting}, queues: with("", "")}, Errored, []string{"sqs to " + queue + " hears nothing: its policy does not allow sqs:SendMessage for " + ownTopic, "terraform/README.md", "; email to b@"}},
		{"a queue for another topic", account{topic: []snstypes.Subscription{toQueue}, queues: with(strings.Replace(admitted, "firstline-self", "other", 1), "")}, Errored, []string{"hears nothing"}},
		{"a queue for another account", account{topic: []snstypes.Subscription{toQueue}, queues: with(strings.Replace(admitted, `"ArnLike"`, `"StringEquals": {"aws:SourceAccount": ["210987654321"]}, "ArnLike"`, 1), "")}, Errored, nil},
		{"a queue for another service", account{topic: []snstypes.Subscription{toQueue}, queues: with(strings.Replace(admitted, "sns.amazonaws.com", "events.amazonaws.com", 1), "")}, Errored, nil},
		{"a queue with another right", account{topic: []snstypes.Subscription{toQueue}, queues: with(strings.Replace(admitted, "SendMessage", "ReceiveMessage", 1), "")}, Errored, nil},
		{"a queue that denies", account{topic: []snstypes.Subscription{toQueue}, queues: with(strings.Replace(admitted, "Allow", "Deny", 1), "")}, Errored, nil},
		{"a queue with AWS's key", account{topic: []snstypes.Subscription{toQueue}, queues: with(admitted, "alias/aws/sqs")}, Errored, []string{"encrypted with alias/aws/sqs", "SSE-SQS"}},
		{"no such queue", account{topic: []snstypes.Subscription{toQueue}}, Errored, []string{"there is no such queue"}},
		{"a queue that may not be read", account{topic: []snstypes.Subscription{toQueue}, queues: with(admitted, ""), denied: "GetQueueAttributes"}, Warned, []string{"cannot tell whether sqs to " + queue, "sqs:GetQueueAttributes"}},

		{"a function that admits the topic", account{topic: []snstypes.Subscription{toFunction}, functions: map[string]string{function: strings.Replace(admitted, "sqs:SendMessage", "lambda:InvokeFunction", 1)}}, Passed, nil},
		{"a function without a policy", account{topic: []snstypes.Subscription{toFunction}}, Errored, []string{"lambda to " + function + " hears nothing", "aws lambda add-permission --region eu-west-2 --function-name " + function, "--source-arn " + ownTopic}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var calls []string
			tt.calls = &calls
			v := verifier(healthy)
			v.read = tt.in
			r := ireland(first)
			r.AlarmTopicARN = aws.String(ownTopic)
			c, ok := v.subscribers(t.Context(), r)
			if !ok || c.Check != "subscribers" || c.Result != tt.want {
				t.Errorf("%v: %+v", ok, c)
			}
			says(t, c.Reason, tt.says...)
			// In its own region, which is not the topic's.
			if slices.Contains(calls, "eu-west-1 GetQueueUrl") || slices.Contains(calls, "eu-west-1 GetPolicy") {
				t.Errorf("%q", calls)
			}
		})
	}
	v := verifier(healthy)
	if c, ok := v.subscribers(t.Context(), ireland(first)); ok {
		t.Errorf("without subscribers: %+v", c)
	}
}
