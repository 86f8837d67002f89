package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"firstline/internal/deployed"
	"firstline/internal/incident"
)

// CheckRules is whether the rules start what they should. It is asked with the
// caller's own rights.
const CheckRules = "rules"

// ruleRights are what the check of rules needs.
const ruleRights = "events:DescribeRule, events:ListTargetsByRule, events:TestEventPattern, iam:GetRole, iam:GetRolePolicy, lambda:GetPolicy"

// triggerPolicy is the policy of the rules' role (terraform/modules/trigger).
const triggerPolicy = "trigger"

type ruleReader interface {
	DescribeRule(context.Context, *eventbridge.DescribeRuleInput, ...func(*eventbridge.Options)) (*eventbridge.DescribeRuleOutput, error)
	ListTargetsByRule(context.Context, *eventbridge.ListTargetsByRuleInput, ...func(*eventbridge.Options)) (*eventbridge.ListTargetsByRuleOutput, error)
	TestEventPattern(context.Context, *eventbridge.TestEventPatternInput, ...func(*eventbridge.Options)) (*eventbridge.TestEventPatternOutput, error)
}

type roleReader interface {
	GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error)
	GetRolePolicy(context.Context, *iam.GetRolePolicyInput, ...func(*iam.Options)) (*iam.GetRolePolicyOutput, error)
}

// rule is what a rule is to be like.
type rule struct {
	name string
	// breaks says what does not happen without it.
	breaks string
	// source is that of the events that it matches; a schedule has none.
	source string
	// target is the ARN of what it starts.
	target string
}

// rules are those of a region.
func rules(r deployed.Region) []rule {
	function := r.FunctionARN[:strings.LastIndex(r.FunctionARN, ":")]
	return []rule{
		{r.RuleName, "no alarm starts an incident", incident.SourceAlarm, r.StateMachineARN},
		{r.CanaryRuleName, "no dry incident starts", incident.SourceCanary, r.StateMachineARN},
		{r.ReconcileRuleName, "reconcile never runs: a lost event or a dead execution goes unnoticed", "", function},
	}
}

// rules asks whether the rules are enabled, match, have their targets, and may start
// these. ok is false where none are deployed, or when ctx ended.
func (v *Verifier) rules(ctx context.Context, r deployed.Region) (c CheckResult, ok bool) {
	if r.RuleName == "" || r.StateMachineARN == "" || len(r.AlarmNames) == 0 {
		return c, false
	}
	c, start := CheckResult{Check: CheckRules, Result: Passed, Reason: "enabled, with their targets"}, time.Now()
	asked, stop := context.WithTimeout(ctx, readTime)
	defer stop()
	var wrong []string
	for _, one := range rules(r) {
		reason, err := v.read(r.Region).rule(asked, r, one)
		if err != nil {
			c.Result, c.Reason = Warned, fmt.Sprintf("cannot tell whether the rule %s starts anything (%s): that needs the rights %s", one.name, saidWithin(err), ruleRights)
			return c, ctx.Err() == nil
		}
		if reason != "" {
			wrong = append(wrong, fmt.Sprintf("the rule %s %s, so %s", one.name, reason, one.breaks))
		}
	}
	if c.ElapsedMs = time.Since(start).Milliseconds(); len(wrong) > 0 {
		c.Result, c.Reason = Errored, strings.Join(wrong, "; ")+": deploy again"
	}
	return c, ctx.Err() == nil
}

// rate is a schedule as terraform/modules/trigger makes it: at most ten minutes.
var rate = regexp.MustCompile(`^rate\((1 minute|[2-9] minutes|10 minutes)\)$`)

// rule says what is wrong with a rule; "" when nothing is.
func (c clients) rule(ctx context.Context, r deployed.Region, want rule) (string, error) {
	is, err := c.events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &want.name})
	if _, none := errors.AsType[*ebtypes.ResourceNotFoundException](err); none {
		return "does not exist", nil
	} else if err != nil {
		return "", err
	}
	switch {
	case is.State == ebtypes.RuleStateDisabled:
		return "is disabled", nil
	case want.source == "" && !rate.MatchString(aws.ToString(is.ScheduleExpression)):
		return fmt.Sprintf("has the schedule %q", aws.ToString(is.ScheduleExpression)), nil
	case want.source != "":
		event, err := alarmEvent(r, want.source)
		if err != nil {
			return "", err
		}
		out, err := c.events.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{EventPattern: is.EventPattern, Event: &event})
		if err != nil {
			return "", err
		}
		if !out.Result {
			return "does not match the event of the alarm " + r.AlarmNames[0], nil
		}
	}
	out, err := c.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &want.name})
	if err != nil {
		return "", err
	}
	for _, target := range out.Targets {
		if aws.ToString(target.Arn) == want.target {
			return c.target(ctx, want, target, aws.ToString(is.Arn))
		}
	}
	return "does not have the target " + want.target, nil
}

// alarmEvent is the event of an alarm of the region, as a rule sees it.
func alarmEvent(r deployed.Region, source string) (string, error) {
	type object = map[string]any
	raw, err := json.Marshal(object{
		"id": "00000000-0000-0000-0000-000000000000", "version": "0", "account": r.AccountID, "region": r.Region,
		"time": time.Now().UTC().Format(time.RFC3339), "source": source, "detail-type": incident.DetailTypeAlarm,
		"resources": []string{r.AlarmARN(r.AlarmNames[0])},
		"detail":    object{"alarmName": r.AlarmNames[0], "state": object{"value": "ALARM"}},
	})
	return string(raw), err
}

// target says why a rule does not start its target; "" when it does.
func (c clients) target(ctx context.Context, want rule, target ebtypes.Target, arn string) (string, error) {
	if want.source == "" {
		if !strings.Contains(aws.ToString(target.Input), `"reconcile"`) {
			return "does not tell the function to reconcile", nil
		}
		policy, err := c.permissions(ctx, want.target)
		if err == nil && !admits(policy, "lambda:InvokeFunction", "events", arn) {
			return "may not invoke the function, whose policy does not admit it", nil
		}
		return "", err
	}
	if target.Input != nil || target.InputPath != nil || target.InputTransformer != nil {
		return "does not hand the event on as it is", nil
	}
	name := aws.ToString(target.RoleArn)
	name = name[strings.LastIndex(name, "/")+1:]
	role, err := c.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if _, none := errors.AsType[*iamtypes.NoSuchEntityException](err); none {
		return "has the role " + name + ", which does not exist", nil
	} else if err != nil {
		return "", err
	}
	trust, err := url.QueryUnescape(aws.ToString(role.Role.AssumeRolePolicyDocument))
	if err != nil {
		return "", err
	}
	if !admits(trust, "sts:AssumeRole", "events", arn) {
		return "may not assume its role " + name, nil
	}
	policy, err := c.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: aws.String(triggerPolicy)})
	if _, none := errors.AsType[*iamtypes.NoSuchEntityException](err); err != nil && !none {
		return "", err
	} else if none {
		return "has the role " + name + ", which has lost its policy " + triggerPolicy, nil
	}
	document, err := url.QueryUnescape(aws.ToString(policy.PolicyDocument))
	if err != nil {
		return "", err
	}
	if !grants(document, "states:StartExecution", want.target) {
		return "has the role " + name + ", which may not start the state machine", nil
	}
	return "", nil
}
