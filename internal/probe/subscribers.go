package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"firstline/internal/deployed"
)

// CheckSubscribers is whether those hear of the deployment's own alarms who are to be
// told. It is asked with the caller's own rights.
const CheckSubscribers = "subscribers"

type subscriptionReader interface {
	ListSubscriptionsByTopic(context.Context, *sns.ListSubscriptionsByTopicInput, ...func(*sns.Options)) (*sns.ListSubscriptionsByTopicOutput, error)
}

type queueReader interface {
	GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

type functionReader interface {
	GetAccountSettings(context.Context, *lambda.GetAccountSettingsInput, ...func(*lambda.Options)) (*lambda.GetAccountSettingsOutput, error)
	GetPolicy(context.Context, *lambda.GetPolicyInput, ...func(*lambda.Options)) (*lambda.GetPolicyOutput, error)
}

// subscribers asks of each subscriber of the deployment's own topic whether it hears
// anything. ok is false where there are none, or when ctx ended.
func (v *Verifier) subscribers(ctx context.Context, r deployed.Region) (c CheckResult, ok bool) {
	if r.AlarmTopicARN == nil {
		return c, false
	}
	c, start := CheckResult{Check: CheckSubscribers, Result: Passed}, time.Now()
	asked, stop := context.WithTimeout(ctx, readTime)
	defer stop()
	topic := *r.AlarmTopicARN
	var all []snstypes.Subscription
	pages := sns.NewListSubscriptionsByTopicPaginator(v.read(r.Region).sns, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	for pages.HasMorePages() {
		page, err := pages.NextPage(asked)
		if err != nil {
			c.Result, c.Reason = Warned, fmt.Sprintf("cannot tell who hears of the deployment's own alarms (%s): that needs the right sns:ListSubscriptionsByTopic on %s", saidWithin(err), topic)
			return c, ctx.Err() == nil
		}
		// SNS lists for some days those that have unsubscribed
		// (https://github.com/ansible/ansible/pull/20086).
		all = append(all, slices.DeleteFunc(page.Subscriptions, func(s snstypes.Subscription) bool { return aws.ToString(s.SubscriptionArn) == "Deleted" })...)
	}
	reasons := []string{}
	for _, s := range all {
		if result, reason := v.hears(asked, s, topic); result != Passed {
			reasons = append(reasons, reason)
			if c.Result != Errored {
				c.Result = result
			}
		}
	}
	c.ElapsedMs = time.Since(start).Milliseconds()
	c.Reason = strings.Join(reasons, "; ")
	switch {
	case len(all) == 0:
		c.Result, c.Reason = Errored, fmt.Sprintf("nobody is subscribed to %s, so nobody hears when firstline itself fails: they have unsubscribed, or SNS has dropped what nobody confirmed; a deploy creates the subscriptions again", topic)
	case len(reasons) == 0:
		c.Reason = fmt.Sprintf("%d confirmed of %s", len(all), topic)
	}
	return c, ctx.Err() == nil
}

// hears says whether a subscriber gets what a topic sends.
func (v *Verifier) hears(ctx context.Context, s snstypes.Subscription, topic string) (Result, string) {
	protocol, endpoint := aws.ToString(s.Protocol), aws.ToString(s.Endpoint)
	who := protocol + " to " + endpoint
	if aws.ToString(s.SubscriptionArn) == "PendingConfirmation" {
		return Warned, who + " is not confirmed: it hears nothing until somebody follows the link in AWS's message"
	}
	parts := strings.Split(endpoint, ":")
	var policy, encrypted, action, cure string
	var err error
	switch {
	case protocol == "sqs" && len(parts) == 6:
		action, cure = "sqs:SendMessage", "add the statement of terraform/README.md (Subscribers) to it"
		policy, encrypted, err = v.read(parts[3]).queue(ctx, parts[4], parts[5])
	case protocol == "lambda" && len(parts) >= 7:
		action, cure = "lambda:InvokeFunction", fmt.Sprintf("run `aws lambda add-permission --region %s --function-name %s --statement-id sns-%s --action lambda:InvokeFunction --principal sns.amazonaws.com --source-arn %s`", parts[3], endpoint, strings.Split(topic, ":")[3], topic)
		policy, err = v.read(parts[3]).permissions(ctx, endpoint)
	default:
		return Passed, ""
	}
	_, gone := errors.AsType[*sqstypes.QueueDoesNotExist](err)
	switch {
	case gone:
		return Errored, who + " hears nothing: there is no such queue"
	case err != nil:
		return Warned, fmt.Sprintf("cannot tell whether %s hears anything (%s): that needs the rights sqs:GetQueueUrl and sqs:GetQueueAttributes, or lambda:GetPolicy", who, saidWithin(err))
	case !admits(policy, action, "sns", topic):
		return Errored, fmt.Sprintf("%s hears nothing: its policy does not allow %s for %s; %s", who, action, topic, cure)
	case strings.HasSuffix(encrypted, "alias/aws/sqs"):
		return Errored, who + " hears nothing: it is encrypted with alias/aws/sqs, whose policy keeps SNS out and cannot be changed; use SSE-SQS, or a key of your own whose policy admits sns.amazonaws.com"
	}
	return Passed, ""
}

// queue is a queue's policy and its KMS key, each "" if it has none.
func (c clients) queue(ctx context.Context, account, name string) (policy, key string, err error) {
	at, err := c.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name, QueueOwnerAWSAccountId: &account})
	if err != nil {
		return "", "", err
	}
	out, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: at.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNamePolicy, sqstypes.QueueAttributeNameKmsMasterKeyId},
	})
	if err != nil {
		return "", "", err
	}
	return out.Attributes["Policy"], out.Attributes["KmsMasterKeyId"], nil
}

// permissions are the policy of a function, or of its alias or version; "" if it has
// none.
func (c clients) permissions(ctx context.Context, arn string) (string, error) {
	out, err := c.lambda.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &arn})
	if _, none := errors.AsType[*lambdatypes.ResourceNotFoundException](err); none {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Policy), nil
}

// statement is one of a policy.
type statement struct {
	Effect                      string
	Principal, Action, Resource any
	Condition                   map[string]map[string]any
}

// statements are those of a policy; none of what is no policy.
func statements(policy string) []statement {
	var p struct{ Statement json.RawMessage }
	_ = json.Unmarshal([]byte(policy), &p)
	var all []statement
	if json.Unmarshal(p.Statement, &all) != nil { // one stands without a list
		all = make([]statement, 1)
		_ = json.Unmarshal(p.Statement, &all[0])
	}
	return all
}

// grants reports whether a role's policy allows an action on a resource, as far as this
// policy says, whose conditions are not read.
func grants(policy, action, resource string) bool {
	granted := false
	for _, s := range statements(policy) {
		if !matches(s.Action, action) || !matches(s.Resource, resource) {
			continue
		}
		if s.Effect != "Allow" {
			return false
		}
		granted = true
	}
	return granted
}

// admits reports whether a policy lets a service do something for a source, such as sns
// for a topic. It knows what such policies look like: it reads no Deny, and no condition
// but that on the source.
func admits(policy, action, service, source string) bool {
	parts := strings.Split(source, ":")
	principals := []string{"*", service + ".amazonaws.com", service + "." + parts[3] + ".amazonaws.com"}
	for _, s := range statements(policy) {
		ok := s.Effect == "Allow" &&
			slices.ContainsFunc(texts(s.Principal), func(p string) bool { return slices.Contains(principals, p) }) &&
			matches(s.Action, action)
		for _, condition := range s.Condition {
			for key, values := range condition {
				switch {
				case strings.EqualFold(key, "aws:SourceArn"):
					ok = ok && matches(values, source)
				case strings.EqualFold(key, "aws:SourceAccount"):
					ok = ok && matches(values, parts[4])
				}
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// matches reports whether one of a policy's patterns matches. In what is compared
// here only actions have capital letters, and those do not count.
func matches(patterns any, text string) bool {
	return slices.ContainsFunc(texts(patterns), func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(text))
		return ok && err == nil
	})
}

// texts are those of a policy's element: one, a list, or by kind.
func texts(element any) []string {
	var all []string
	switch e := element.(type) {
	case string:
		all = []string{e}
	case []any:
		for _, one := range e {
			all = append(all, texts(one)...)
		}
	case map[string]any:
		for _, one := range e {
			all = append(all, texts(one)...)
		}
	}
	return all
}
