package probe

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"

	"firstline/internal/deployed"
)

const (
	ownTopic   = "arn:aws:sns:eu-west-1:123456789012:firstline-self"
	otherTopic = "arn:aws:sns:us-east-1:210987654321:oncall"
)

// asking is SNS of every region: it answers as its function does.
type asking func(ctx context.Context, region, topic string) (map[string]string, error)

func (a asking) in(region string) topicReader { return topicsIn{a, region} }

type topicsIn struct {
	asking
	region string
}

func (i topicsIn) GetTopicAttributes(ctx context.Context, in *sns.GetTopicAttributesInput, _ ...func(*sns.Options)) (*sns.GetTopicAttributesOutput, error) {
	attributes, err := i.asking(ctx, i.region, *in.TopicArn)
	if err != nil {
		return nil, err
	}
	return &sns.GetTopicAttributesOutput{Attributes: attributes}, nil
}

// counting has the given subscriptions.
func counting(confirmed, pending string) asking {
	return func(context.Context, string, string) (map[string]string, error) {
		return map[string]string{"TopicArn": ownTopic, "SubscriptionsConfirmed": confirmed, "SubscriptionsPending": pending}, nil
	}
}

// bySNS is a region whose pages go to a topic at last.
func bySNS(topic string, ids ...string) deployed.Region {
	r := ireland(ids...)
	r.Pagers, r.PagerTopicARN = []string{"opsgenie", "sns"}, topic
	return r
}

func TestSubscriptions(t *testing.T) {
	for _, tt := range []struct {
		name, topic string
		sns         asking
		want        Result
		says        []string
	}{
		{"confirmed", ownTopic, counting("2", "0"), Passed, []string{"2 confirmed of " + ownTopic}},
		{"nobody yet", ownTopic, counting("0", "3"), Errored, []string{"nobody has confirmed a subscription of " + ownTopic + " (3 pending)", "wakes nobody", "follow the link"}},
		{"nobody at all", otherTopic, counting("0", "0"), Errored, []string{"nobody is subscribed to " + otherTopic, "wakes nobody", "subscribe somebody"}},
		{"some of them", ownTopic, counting("1", "2"), Warned, []string{ownTopic, "1 are confirmed and 2 are pending", "follow the link"}},
		{"no counts", ownTopic, counting("", ""), Warned, []string{"cannot tell", "no counts"}},
		{
			"may not be read", otherTopic,
			func(context.Context, string, string) (map[string]string, error) {
				return nil, refusal(http.StatusForbidden, "AuthorizationError")
			},
			Warned,
			[]string{"cannot tell whether anybody has confirmed a subscription of " + otherTopic + " (AuthorizationError: said AWS)", "sns:GetTopicAttributes"},
		},
		{
			"not there", ownTopic,
			func(context.Context, string, string) (map[string]string, error) {
				return nil, &snstypes.NotFoundException{}
			},
			Errored,
			[]string{"the topic " + ownTopic + " does not exist", "wakes nobody", "sns.topic_arn"},
		},
		{"no ARN", "oncall", nil, Warned, []string{"cannot tell", `"oncall" is not the ARN`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			c, ok := subscriptions(t.Context(), asking(func(ctx context.Context, region, topic string) (map[string]string, error) {
				// The topic's own region, which is not the deployment's.
				if asked++; topic != tt.topic || region != strings.Split(tt.topic, ":")[3] {
					t.Errorf("asked in %s for %s", region, topic)
				}
				return tt.sns(ctx, region, topic)
			}).in, bySNS(tt.topic))
			if !ok || c.Check != "subscriptions" || c.Result != tt.want || (asked == 1) != (tt.sns != nil) {
				t.Errorf("%v, asked %d times: %+v", ok, asked, c)
			}
			for _, want := range tt.says {
				if !strings.Contains(c.Reason, want) {
					t.Errorf("%q does not say %q", c.Reason, want)
				}
			}
		})
	}
}

// Who pages nobody by SNS has no rights there, and need not have.
func TestSubscriptionsWithoutSNS(t *testing.T) {
	r := ireland(first)
	r.Pagers, r.PagerTopicARN = []string{"opsgenie", "jsm"}, ownTopic
	if c, ok := subscriptions(t.Context(), func(string) topicReader { t.Error("asked"); return nil }, r); ok {
		t.Errorf("%+v", c)
	}
}

func TestSubscriptionsWithoutAnswer(t *testing.T) {
	hangs := asking(func(ctx context.Context, _, _ string) (map[string]string, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c, ok := subscriptions(t.Context(), hangs.in, bySNS(ownTopic))
		if !ok || c.Result != Warned || !strings.Contains(c.Reason, "no answer within 30s") || time.Since(start) != 30*time.Second || c.ElapsedMs != 30_000 {
			t.Errorf("after %s: %+v", time.Since(start), c)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if c, ok := subscriptions(ctx, hangs.in, bySNS(ownTopic)); ok {
			t.Errorf("interrupted: %+v", c)
		}
	})
}

// A region in which nobody would be woken is broken, and one that somebody should
// look at is not.
func TestVerifySubscriptions(t *testing.T) {
	for _, tt := range []struct {
		name, confirmed, pending string
		ids                      []string
		want                     Result
		broken                   bool
	}{
		{"confirmed", "1", "0", []string{first}, Passed, false},
		{"one of two", "1", "1", []string{first}, Warned, false},
		{"nobody", "0", "1", []string{first}, Errored, true},
		// It needs no incident.
		{"nobody, and no instance", "0", "1", nil, Errored, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := verifier(healthy)
				v.topics = counting(tt.confirmed, tt.pending).in
				got := v.Verify(t.Context(), bySNS(ownTopic, tt.ids...), nil)
				if got.Deployment[3].Result != tt.want || got.Broken() != tt.broken || got.Failed() {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}
