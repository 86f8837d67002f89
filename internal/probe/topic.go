package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"

	"firstline/internal/deployed"
)

// CheckSubscriptions is whether anybody would get what is published to the topic
// of the pager sns. It is asked with the caller's own rights.
const CheckSubscriptions = "subscriptions"

// pagerSNS is the pager whose subscribers SNS has to reach.
const pagerSNS = "sns"

// readTime bounds each question that is asked with the caller's own rights. What it
// is asked beside can be told without it.
const readTime = 30 * time.Second

// topicReader is the one call of SNS's client that tells of a topic.
type topicReader interface {
	GetTopicAttributes(context.Context, *sns.GetTopicAttributesInput, ...func(*sns.Options)) (*sns.GetTopicAttributesOutput, error)
}

// topicsOf makes clients of SNS.
func topicsOf(cfg aws.Config) func(region string) topicReader {
	return func(region string) topicReader { return sns.NewFromConfig(InRegion(cfg, region)) }
}

// subscriptions asks whether anybody has confirmed a subscription of the topic that
// a region's pages go to: SNS takes a page without one, too. ok is false when no
// page goes to a topic, or when ctx ended.
//
// Not knowing is a warning: the topic may be another account's, which
// lets the function publish and nobody read.
func subscriptions(ctx context.Context, topics func(region string) topicReader, r deployed.Region) (c CheckResult, ok bool) {
	if !slices.Contains(r.Pagers, pagerSNS) {
		return c, false
	}
	c = CheckResult{Check: CheckSubscriptions, Result: Warned}
	parts := strings.Split(r.PagerTopicARN, ":")
	if len(parts) != 6 || parts[3] == "" {
		c.Reason = fmt.Sprintf("cannot tell whether anybody would get a page by SNS: %q is not the ARN of a topic, such as arn:aws:sns:eu-west-1:123456789012:oncall", r.PagerTopicARN)
		return c, true
	}
	start := time.Now()
	asked, stop := context.WithTimeout(ctx, readTime)
	defer stop()
	out, err := topics(parts[3]).GetTopicAttributes(asked, &sns.GetTopicAttributesInput{TopicArn: &r.PagerTopicARN})
	if ctx.Err() != nil {
		return c, false
	}
	c.ElapsedMs = time.Since(start).Milliseconds()
	c.Result, c.Reason = subscribed(r.PagerTopicARN, out, err)
	return c, true
}

// subscribed says what SNS's answer about a topic means for a page.
func subscribed(topic string, out *sns.GetTopicAttributesOutput, err error) (Result, string) {
	if _, none := errors.AsType[*snstypes.NotFoundException](err); none {
		return Errored, fmt.Sprintf("the topic %s does not exist, so a page by SNS wakes nobody: name an existing one in sns.topic_arn, or deploy again if it is the deployment's own", topic)
	}
	if err == nil {
		confirmed, err1 := strconv.Atoi(out.Attributes["SubscriptionsConfirmed"])
		pending, err2 := strconv.Atoi(out.Attributes["SubscriptionsPending"])
		if err = errors.Join(err1, err2); err == nil {
			return heard(topic, confirmed, pending)
		}
		err = errors.New("the answer of SNS has no counts")
	}
	return Warned, fmt.Sprintf("cannot tell whether anybody has confirmed a subscription of %s (%s): that needs the right sns:GetTopicAttributes; publish a test and see that somebody gets it", topic, saidWithin(err))
}

// saidWithin is Said of a call that readTime bounds.
func saidWithin(err error) string {
	switch {
	case err == nil:
		return "the answer does not contain it"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", readTime)
	}
	return Said(err)
}

// heard says what the subscriptions of a topic mean for a page.
func heard(topic string, confirmed, pending int) (Result, string) {
	switch {
	case confirmed == 0 && pending > 0:
		return Errored, fmt.Sprintf("nobody has confirmed a subscription of %s (%d pending), so SNS takes a page and wakes nobody: have a subscriber follow the link in AWS's message, and try again", topic, pending)
	case confirmed == 0:
		return Errored, fmt.Sprintf("nobody is subscribed to %s, so SNS takes a page and wakes nobody: subscribe somebody and have it confirmed; SNS drops a subscription that nobody confirms, and a deploy creates those of `subscribers` again", topic)
	case pending > 0:
		return Warned, fmt.Sprintf("of the subscriptions of %s, %d are confirmed and %d are pending: a page does not reach those until they follow the link in AWS's message", topic, confirmed, pending)
	}
	return Passed, fmt.Sprintf("%d confirmed of %s", confirmed, topic)
}
