package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/test/localaws"
)

// hand is somebody at the console of a region: what stops firstline from working can be
// done there with one call or two.
type hand struct {
	ctx             context.Context
	config          aws.Config
	region, account string
	instance        string

	events   *eventbridge.Client
	function *lambda.Client
	roles    *iam.Client
	alarms   *cloudwatch.Client
	topics   *sns.Client
	queues   *sqs.Client
	tables   *dynamodb.Client
	settings *ssm.Client
	machines *sfn.Client
}

// byHand is a hand in a region, with an instance that is watched there.
func byHand(t *testing.T, aws *localaws.AWS, region, instance string) *hand {
	config := aws.Config(region)
	return &hand{
		ctx: t.Context(), config: config, region: region, account: localaws.AccountID, instance: instance,
		events: eventbridge.NewFromConfig(config), function: lambda.NewFromConfig(config), roles: iam.NewFromConfig(config),
		alarms: cloudwatch.NewFromConfig(config), topics: sns.NewFromConfig(config), queues: sqs.NewFromConfig(config),
		tables: dynamodb.NewFromConfig(config), settings: ssm.NewFromConfig(config), machines: sfn.NewFromConfig(config),
	}
}

var (
	responder = aws.String("firstline-responder")
	nobody    = aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Principal":"*"}]}`)
	noRight   = aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`)
)

// retarget changes the only target of a rule.
func (h *hand) retarget(rule string, change func(*ebtypes.Target)) error {
	out, err := h.events.ListTargetsByRule(h.ctx, &eventbridge.ListTargetsByRuleInput{Rule: &rule})
	if err != nil || len(out.Targets) != 1 {
		return fmt.Errorf("%d targets, %w", len(out.Targets), err)
	}
	change(&out.Targets[0])
	_, err = h.events.PutTargets(h.ctx, &eventbridge.PutTargetsInput{Rule: &rule, Targets: out.Targets})
	return err
}

// untarget removes the only target of a rule.
func (h *hand) untarget(rule string) error {
	out, err := h.events.ListTargetsByRule(h.ctx, &eventbridge.ListTargetsByRuleInput{Rule: &rule})
	if err != nil || len(out.Targets) != 1 {
		return fmt.Errorf("%d targets, %w", len(out.Targets), err)
	}
	_, err = h.events.RemoveTargets(h.ctx, &eventbridge.RemoveTargetsInput{Rule: &rule, Ids: []string{*out.Targets[0].Id}})
	return err
}

// alarm changes an alarm.
func (h *hand) alarm(name string, change func(*cloudwatch.PutMetricAlarmInput)) error {
	out, err := h.alarms.DescribeAlarms(h.ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{name}})
	if err != nil || len(out.MetricAlarms) != 1 {
		return fmt.Errorf("%d alarms, %w", len(out.MetricAlarms), err)
	}
	a := out.MetricAlarms[0]
	in := &cloudwatch.PutMetricAlarmInput{
		AlarmName: a.AlarmName, AlarmDescription: a.AlarmDescription, Namespace: a.Namespace, MetricName: a.MetricName,
		Dimensions: a.Dimensions, Statistic: a.Statistic, Period: a.Period, EvaluationPeriods: a.EvaluationPeriods, Threshold: a.Threshold,
		ComparisonOperator: a.ComparisonOperator, TreatMissingData: a.TreatMissingData, ActionsEnabled: a.ActionsEnabled, AlarmActions: a.AlarmActions,
	}
	change(in)
	_, err = h.alarms.PutMetricAlarm(h.ctx, in)
	return err
}

func (h *hand) topic() *string {
	return aws.String("arn:aws:sns:" + h.region + ":" + h.account + ":firstline-self")
}

// queue does something with the dead-letter queue.
func (h *hand) queue(do func(url *string) error) error {
	out, err := h.queues.GetQueueUrl(h.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("firstline-dead-letter")})
	if err != nil {
		return err
	}
	return do(out.QueueUrl)
}

// keyID is the id of the topic's key.
func (h *hand) keyID() (string, error) {
	out, err := h.topics.GetTopicAttributes(h.ctx, &sns.GetTopicAttributesInput{TopicArn: h.topic()})
	if err != nil {
		return "", err
	}
	arn := out.Attributes["KmsMasterKeyId"]
	return arn[strings.LastIndex(arn, "/")+1:], nil
}

// key calls KMS on the topic's key.
func (h *hand) key(action string, in map[string]any) error {
	id, err := h.keyID()
	if err != nil {
		return err
	}
	in["KeyId"] = id
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(h.ctx, http.MethodPost, *h.config.BaseEndpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+action)
	who, err := h.config.Credentials.Retrieve(h.ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(h.ctx, who, req, hex.EncodeToString(sum[:]), "kms", h.region, time.Now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("kms:%s: %s", action, resp.Status)
	}
	return nil
}

// breakage is something that stops firstline from working, or from telling, and how
// drift names it. INSTANCE, REGION, ACCOUNT and KEY stand for what the region has.
type breakage struct {
	do   func(*hand) error
	want string
}

// changes are what somebody may change, and still all of it is there.
var changes = []breakage{
	{func(h *hand) error {
		_, err := h.events.DisableRule(h.ctx, &eventbridge.DisableRuleInput{Name: aws.String("firstline-alarm")})
		return err
	}, `rule firstline-alarm state "ENABLED" -> "DISABLED"`},
	{func(h *hand) error {
		_, err := h.events.PutRule(h.ctx, &eventbridge.PutRuleInput{Name: aws.String("firstline-canary"), EventPattern: aws.String(`{"source":["nobody"]}`)})
		return err
	}, `rule firstline-canary event_pattern.`},
	{func(h *hand) error {
		_, err := h.events.PutRule(h.ctx, &eventbridge.PutRuleInput{Name: aws.String("firstline-reconcile"), ScheduleExpression: aws.String("rate(1 day)")})
		return err
	}, `rule firstline-reconcile schedule_expression "rate(5 minutes)" -> "rate(1 day)"`},
	{func(h *hand) error {
		return h.retarget("firstline-alarm", func(t *ebtypes.Target) { t.RoleArn = aws.String("arn:aws:iam::" + h.account + ":role/other") })
	}, `target of rule firstline-alarm role_arn "arn:aws:iam::ACCOUNT:role/firstline-trigger-REGION" -> "arn:aws:iam::ACCOUNT:role/other"`},
	{func(h *hand) error {
		return h.retarget("firstline-canary", func(t *ebtypes.Target) {
			t.Arn = aws.String(strings.TrimSuffix(*t.Arn, "firstline") + "other")
		})
	}, `target of rule firstline-canary arn "arn:aws:states:REGION:ACCOUNT:stateMachine:firstline" -> "arn:aws:states:REGION:ACCOUNT:stateMachine:other"`},
	{func(h *hand) error {
		return h.retarget("firstline-reconcile", func(t *ebtypes.Target) { t.Input = aws.String(`{}`) })
	}, `target of rule firstline-reconcile input.step "reconcile" -> none`},

	{func(h *hand) error {
		_, err := h.function.PutFunctionConcurrency(h.ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: responder, ReservedConcurrentExecutions: aws.Int32(0)})
		return err
	}, `function firstline-responder reserved_concurrent_executions -1 -> 0`},
	{func(h *hand) error {
		_, err := h.function.UpdateFunctionConfiguration(h.ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: responder, Environment: &lambdatypes.Environment{Variables: map[string]string{"FIRSTLINE_TABLE": "other"}}, Handler: aws.String("other")})
		return err
	}, `function firstline-responder handler "bootstrap" -> "other"`},
	{func(h *hand) error {
		_, err := h.function.DeleteFunctionEventInvokeConfig(h.ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: responder})
		return err
	}, `invocation of function firstline-responder deleted`},
	{func(h *hand) error {
		_, err := h.function.RemovePermission(h.ctx, &lambda.RemovePermissionInput{FunctionName: responder, StatementId: aws.String("firstline-reconcile")})
		return err
	}, `permission of function firstline-responder deleted`},
	{func(h *hand) error {
		_, err := h.machines.UpdateStateMachine(h.ctx, &sfn.UpdateStateMachineInput{
			StateMachineArn: aws.String("arn:aws:states:" + h.region + ":" + h.account + ":stateMachine:firstline"),
			Definition:      aws.String(`{"StartAt":"Open","States":{"Open":{"Type":"Succeed"}}}`),
		})
		return err
	}, `state machine firstline definition.States.All good {"Comment":`},

	{func(h *hand) error {
		return h.alarm("firstline-alarm-"+h.instance+"-cpu", func(in *cloudwatch.PutMetricAlarmInput) {
			in.ActionsEnabled, in.Threshold = aws.Bool(false), aws.Float64(101)
		})
	}, `alarm cpu threshold of INSTANCE 100 -> 101`},
	{func(h *hand) error {
		return h.alarm("firstline-self-incident-failed", func(in *cloudwatch.PutMetricAlarmInput) { in.ActionsEnabled = aws.Bool(false) })
	}, `alarm firstline-self-incident-failed actions_enabled true -> false`},
	{func(h *hand) error {
		return h.alarm("firstline-self-reconcile-missing", func(in *cloudwatch.PutMetricAlarmInput) { in.AlarmActions = nil })
	}, `alarm firstline-self-reconcile-missing alarm_actions "arn:aws:sns:REGION:ACCOUNT:firstline-self" -> none`},

	{func(h *hand) error {
		_, err := h.roles.PutRolePolicy(h.ctx, &iam.PutRolePolicyInput{RoleName: aws.String("firstline-responder-" + h.region), PolicyName: aws.String("responder"), PolicyDocument: noRight})
		return err
	}, `policy of role firstline-responder-REGION policy.Statement.0.Effect "Allow" -> "Deny"`},
	{func(h *hand) error {
		_, err := h.roles.UpdateAssumeRolePolicy(h.ctx, &iam.UpdateAssumeRolePolicyInput{
			RoleName:       aws.String("firstline-workflow-" + h.region),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"sts:AssumeRole","Principal":{"Service":"states.amazonaws.com"}}]}`),
		})
		return err
	}, `role firstline-workflow-REGION assume_role_policy.Statement.Effect "Allow" -> "Deny"`},
	{func(h *hand) error {
		_, err := h.roles.PutRolePermissionsBoundary(h.ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("firstline-trigger-" + h.region), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AWSDenyAll")})
		return err
	}, `role firstline-trigger-REGION permissions_boundary "" -> "arn:aws:iam::aws:policy/AWSDenyAll"`},

	{func(h *hand) error {
		_, err := h.topics.SetTopicAttributes(h.ctx, &sns.SetTopicAttributesInput{TopicArn: h.topic(), AttributeName: aws.String("Policy"), AttributeValue: nobody})
		return err
	}, `policy of topic arn:aws:sns:REGION:ACCOUNT:firstline-self policy.Statement.0.Effect "Allow" -> "Deny"`},
	{func(h *hand) error {
		out, err := h.topics.ListSubscriptionsByTopic(h.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: h.topic()})
		if err != nil || len(out.Subscriptions) != 1 {
			return fmt.Errorf("%d subscriptions, %w", len(out.Subscriptions), err)
		}
		_, err = h.topics.Unsubscribe(h.ctx, &sns.UnsubscribeInput{SubscriptionArn: out.Subscriptions[0].SubscriptionArn})
		return err
	}, `subscription +4930654321 deleted`},
	{func(h *hand) error { return h.key("DisableKey", map[string]any{}) }, `key KEY is_enabled true -> false`},

	{func(h *hand) error {
		return h.queue(func(url *string) error {
			_, err := h.queues.SetQueueAttributes(h.ctx, &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Policy": *nobody}})
			return err
		})
	}, `queue firstline-dead-letter policy.Statement.0.Effect "Allow" -> "Deny"`},
	{func(h *hand) error {
		_, err := h.settings.PutParameter(h.ctx, &ssm.PutParameterInput{Name: aws.String("/firstline/instances/" + h.instance), Value: aws.String("{}"), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true)})
		return err
	}, `settings of INSTANCE: `},
}

// deletions are what somebody may delete.
var deletions = []breakage{
	{func(h *hand) error {
		if err := h.untarget("firstline-alarm"); err != nil {
			return err
		}
		_, err := h.events.DeleteRule(h.ctx, &eventbridge.DeleteRuleInput{Name: aws.String("firstline-alarm")})
		return err
	}, `rule firstline-alarm deleted`},
	{func(h *hand) error { return h.untarget("firstline-reconcile") }, `target of rule firstline-reconcile deleted`},
	{func(h *hand) error {
		_, err := h.function.DeleteFunction(h.ctx, &lambda.DeleteFunctionInput{FunctionName: responder})
		return err
	}, `function firstline-responder deleted`},
	{func(h *hand) error {
		_, err := h.machines.DeleteStateMachine(h.ctx, &sfn.DeleteStateMachineInput{StateMachineArn: aws.String("arn:aws:states:" + h.region + ":" + h.account + ":stateMachine:firstline")})
		return err
	}, `state machine firstline deleted`},
	{func(h *hand) error {
		_, err := h.tables.DeleteTable(h.ctx, &dynamodb.DeleteTableInput{TableName: aws.String("firstline-incidents")})
		return err
	}, `table firstline-incidents deleted`},
	{func(h *hand) error {
		return h.queue(func(url *string) error {
			_, err := h.queues.DeleteQueue(h.ctx, &sqs.DeleteQueueInput{QueueUrl: url})
			return err
		})
	}, `queue firstline-dead-letter deleted`},
	{func(h *hand) error { return h.key("ScheduleKeyDeletion", map[string]any{"PendingWindowInDays": 7}) }, `key KEY deleted`},
	{func(h *hand) error {
		_, err := h.topics.DeleteTopic(h.ctx, &sns.DeleteTopicInput{TopicArn: h.topic()})
		return err
	}, `topic firstline-self deleted`},
	{func(h *hand) error {
		_, err := h.alarms.DeleteAlarms(h.ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{"firstline-alarm-" + h.instance + "-cpu"}})
		return err
	}, `alarm cpu of INSTANCE deleted`},
	{func(h *hand) error {
		_, err := h.alarms.DeleteAlarms(h.ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{"firstline-self-dead-letters"}})
		return err
	}, `alarm firstline-self-dead-letters deleted`},
	{func(h *hand) error {
		_, err := h.roles.DeleteRolePolicy(h.ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String("firstline-trigger-" + h.region), PolicyName: aws.String("trigger")})
		return err
	}, `policy of role firstline-trigger-REGION deleted`},
	{func(h *hand) error {
		role := aws.String("firstline-workflow-" + h.region)
		if _, err := h.roles.DeleteRolePolicy(h.ctx, &iam.DeleteRolePolicyInput{RoleName: role, PolicyName: aws.String("workflow")}); err != nil {
			return err
		}
		_, err := h.roles.DeleteRole(h.ctx, &iam.DeleteRoleInput{RoleName: role})
		return err
	}, `role firstline-workflow-REGION deleted`},
	{func(h *hand) error {
		_, err := h.settings.DeleteParameter(h.ctx, &ssm.DeleteParameterInput{Name: aws.String("/firstline/secrets/slack-token")})
		return err
	}, `parameter /firstline/secrets/slack-token deleted`},
}

// terminated adds an instance to the var file that was terminated.
func (r *rollout) terminated(t *testing.T, region string) string {
	t.Helper()
	i, err := r.AddInstance(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ec2.NewFromConfig(r.AWS.Config(region)).TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{i.ID}}); err != nil {
		t.Fatal(err)
	}
	variables := maps.Clone(r.variables)
	regions := maps.Clone(variables["regions"].(map[string]any))
	regions[region] = map[string]any{"instances": map[string]any{i.ID: map[string]any{}, r.instances[region].ID: map[string]any{}}}
	variables["regions"] = regions
	r.write(t, variables)
	return i.ID
}

// broken breaks all that somebody may break by hand: drift names each, and a deploy
// heals all.
func (r *rollout) broken(t *testing.T) {
	want := map[string][]string{}
	for region, all := range map[string][]breakage{first: changes, second: deletions} {
		h := byHand(t, r.AWS, region, r.instances[region].ID)
		key, err := h.keyID()
		if err != nil {
			t.Fatal(err)
		}
		fill := strings.NewReplacer("INSTANCE", h.instance, "REGION", region, "ACCOUNT", h.account, "KEY", key)
		for _, b := range all {
			line := fill.Replace(b.want)
			if err := b.do(h); err != nil {
				t.Errorf("%s: %s: %v", region, line, err)
			}
			want[region] = append(want[region], line)
		}
	}
	gone := r.terminated(t, second)
	want[second] = append(want[second], gone+" is terminated")
	out := r.run(t, 3, "drift")
	r.write(t, r.variables)
	for region, lines := range want {
		for _, line := range lines {
			if !slices.ContainsFunc(words(out.in(region).Drift), func(said string) bool { return strings.HasPrefix(said, line) }) {
				t.Errorf("%s: drift does not say %q", region, line)
			}
		}
	}
	healed := r.run(t, 0, "deploy", "--yes")
	r.healthy(t, healed.Verification, slices.Collect(maps.Keys(want))...)
	if out := r.run(t, 0, "drift"); len(out.in(first).Drift)+len(out.in(second).Drift) > 0 {
		t.Errorf("drift after a deploy: %+v", out.Regions)
	}
}

// unknown works in another checkout, whose state is empty: what is deployed is neither
// taken over nor removed, and each command names the state that it looked in.
func (r *rollout) unknown(t *testing.T) {
	o := newOperator(t, r.Testbed, r.variables)
	state := filepath.Join(o.dir, "terraform.tfstate")
	where := first + ", " + second
	refusal := "is deployed in " + where + ", and this state (" + state + ") does not know it: whose state is it?"
	calls := len(r.AWS.Calls())
	for _, tt := range []struct{ command, want string }{
		{"deploy", refusal},
		{"destroy", refusal},
		{"drift", refusal},
		{"verify", "nothing is deployed in " + where + " according to the state " + state},
	} {
		out := o.start(t, tt.command).wait()
		if out.code != 2 || !strings.Contains(out.stderr, tt.want) {
			t.Errorf("%s: exit code %d, want 2 and %q", tt.command, out.code, tt.want)
		}
		if tag := "firstline (repository firstline, version "; tt.command != "verify" && !strings.Contains(out.stderr, tag) {
			t.Errorf("%s: it does not say %q", tt.command, tag)
		}
	}
	for _, c := range r.AWS.Calls()[calls:] {
		if !reading.MatchString(c.Action) {
			t.Errorf("it called %s:%s in %s", c.Service, c.Action, c.Region)
		}
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("there is a state")
	}
}
