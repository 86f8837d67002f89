package localaws

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/google/go-cmp/cmp"
)

// snsCall calls SNS in the name of an access key, as the SDKs do, and returns the
// status and the answer.
func snsCall(t *testing.T, a *AWS, key, region string, pairs ...string) (int, string) {
	t.Helper()
	form := url.Values{"Version": {"2010-03-31"}}
	for pair := range slices.Chunk(pairs, 2) {
		form.Set(pair[0], pair[1])
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.Endpoint()+"/", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sign(req, key, region, "sns")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestPublish(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	name := unique(t)
	role := makeRole(t, a, name)
	topic := "arn:aws:sns:" + region + ":" + AccountID + ":" + name
	if status, answer := snsCall(t, a, outsideKey, region, "Action", "CreateTopic", "Name", name); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	publish := func(pairs ...string) (int, string) {
		return snsCall(t, a, a.keyOf(role), region, append([]string{"Action", "Publish"}, pairs...)...)
	}
	long := strings.Repeat("ü", 131_072)
	for what, tt := range map[string]struct {
		pairs []string
		want  string // what the refusal says; "" where it is taken
	}{
		"all it may have":       {[]string{"TopicArn", topic, "Subject", strings.Repeat("x", 100), "Message", long}, ""},
		"without a subject":     {[]string{"TopicArn", topic, "Message", "down"}, ""},
		"no topic":              {[]string{"Message", "down"}, "TopicArn"},
		"another region's":      {[]string{"TopicArn", strings.Replace(topic, region, "eu-west-1", 1), "Message", "down"}, "TopicArn"},
		"no ARN":                {[]string{"TopicArn", name, "Message", "down"}, "TopicArn"},
		"a topic of nobody":     {[]string{"TopicArn", topic + "-other", "Message", "down"}, "NotFound"},
		"long subject":          {[]string{"TopicArn", topic, "Subject", strings.Repeat("x", 101), "Message", "down"}, "Subject"},
		"empty subject":         {[]string{"TopicArn", topic, "Subject", "", "Message", "down"}, "Subject"},
		"subject not in ASCII":  {[]string{"TopicArn", topic, "Subject", "läuft", "Message", "down"}, "Subject"},
		"subject of two lines":  {[]string{"TopicArn", topic, "Subject", "a\nb", "Message", "down"}, "Subject"},
		"subject after a space": {[]string{"TopicArn", topic, "Subject", " a", "Message", "down"}, "Subject"},
		"no message":            {[]string{"TopicArn", topic}, "Empty message"},
		"long message":          {[]string{"TopicArn", topic, "Message", long + "x"}, "Message too long"},
		"broken message":        {[]string{"TopicArn", topic, "Message", "a\xff"}, "UTF-8"},
		"FIFO without a group":  {[]string{"TopicArn", topic + ".fifo", "Message", "down"}, "MessageGroupId"},
		"JSON that is none":     {[]string{"TopicArn", topic, "Message", "down", "MessageStructure", "json"}, "JSON"},
		"JSON without default":  {[]string{"TopicArn", topic, "Message", `{"email": "x"}`, "MessageStructure", "json"}, "default"},
	} {
		t.Run(what, func(t *testing.T) {
			status, answer := publish(tt.pairs...)
			if (status == 200) != (tt.want == "") || !strings.Contains(answer, tt.want) {
				t.Errorf("%d %.500s", status, answer)
			}
		})
	}
	before := len(a.Published(topic))
	if before != 2 || len(a.Published(topic+"-other")) != 0 {
		t.Errorf("%d messages were taken", before)
	}
	a.AddFault(Fault{Service: "sns", Action: "Publish", Contains: "refused", Status: 403, Code: "AuthorizationError", Message: "not you", Times: 1})
	if status, answer := publish("TopicArn", topic, "Message", "refused"); status != 403 || !strings.Contains(answer, "AuthorizationError") {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := publish("TopicArn", topic, "Subject", "A subject", "Message", "down & out"); status != 200 || !strings.Contains(answer, "MessageId") {
		t.Errorf("%d %s", status, answer)
	}
	taken := a.Published(topic)[before:]
	if len(taken) != 1 || taken[0].Role != role || taken[0].Subject != "A subject" || taken[0].Message != "down & out" || taken[0].At.IsZero() {
		t.Errorf("%+v", taken)
	}
	calls := a.Calls()
	last := calls[len(calls)-1]
	last.Time = calls[0].Time
	if diff := cmp.Diff(Call{Time: calls[0].Time, Role: role, Service: "sns", Action: "Publish", Region: region, Resources: []string{topic}, Status: 200}, last); diff != "" {
		t.Error(diff)
	}
}

// SNS counts the subscriptions of a topic, and does not count as confirmed what
// somebody has to confirm first.
func TestTopicSubscriptions(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	name := unique(t)
	topic := "arn:aws:sns:" + region + ":" + AccountID + ":" + name
	call := func(pairs ...string) string {
		t.Helper()
		status, answer := snsCall(t, a, outsideKey, region, pairs...)
		if status != 200 {
			t.Fatalf("%q: %d %s", pairs, status, answer)
		}
		return answer
	}
	client := sns.NewFromConfig(a.Config(region))
	counts := func(want string) {
		t.Helper()
		out, err := client.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: &topic})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Attributes["SubscriptionsConfirmed"] + " confirmed, " + out.Attributes["SubscriptionsPending"] + " pending"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	call("Action", "CreateTopic", "Name", name)
	call("Action", "CreateTopic", "Name", name+"-other")
	counts("0 confirmed, 0 pending")
	call("Action", "Subscribe", "TopicArn", topic+"-other", "Protocol", "sms", "Endpoint", "+4930123456")
	arns := map[string]string{} // by protocol
	subscribe := func(protocol, endpoint string) {
		t.Helper()
		_, answer, _ := strings.Cut(call("Action", "Subscribe", "TopicArn", topic, "Protocol", protocol, "Endpoint", endpoint), "<SubscriptionArn>")
		arns[protocol], _, _ = strings.Cut(answer, "<")
	}
	subscribe("email", "oncall@example.com")
	subscribe("https", "https://example.com/hook")
	counts("0 confirmed, 2 pending")
	subscribe("sms", "+4930123456")
	subscribe("sqs", "arn:aws:sqs:"+region+":"+AccountID+":queue")
	counts("2 confirmed, 2 pending")
	nobodys := topic + "-nobodys"
	if _, err := client.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: &nobodys}); err == nil {
		t.Error("a topic that is not there has attributes")
	} else if _, ok := errors.AsType[*snstypes.NotFoundException](err); !ok {
		t.Errorf("a topic that is not there: %v", err)
	}
	listed := map[string]string{}
	list, err := client.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Subscriptions {
		listed[*s.Protocol] = *s.SubscriptionArn
	}
	want := map[string]string{"email": "PendingConfirmation", "https": "PendingConfirmation", "sms": arns["sms"], "sqs": arns["sqs"]}
	if diff := cmp.Diff(want, listed); diff != "" || !strings.HasPrefix(arns["sms"], topic+":") {
		t.Errorf("subscriptions (-want +got):\n%s", diff)
	}
	for _, arn := range arns {
		call("Action", "Unsubscribe", "SubscriptionArn", arn)
	}
	counts("0 confirmed, 0 pending")
}
