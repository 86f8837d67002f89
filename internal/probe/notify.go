package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"firstline/internal/deployed"
	"firstline/internal/fault"
)

// stepNotifyTest is the function's step that sends a test message through each
// channel.
const stepNotifyTest = "notify-test"

// Notification is what came of a test message in one region.
type Notification struct {
	Region string `json:"region"`
	// Deliveries are the channels, in the order in which the function tried them.
	Deliveries []Delivery `json:"deliveries"`
	// Error is why the function could not try them; then it is not known whether
	// a message was sent.
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Delivery is what came of it in one channel.
type Delivery struct {
	// Channel is slack, opsgenie, jsm or sns.
	Channel string `json:"channel"`
	OK      bool   `json:"ok"`
	// Confirmed says that the service tells that it is done, and not only that it
	// has accepted the message.
	Confirmed bool   `json:"confirmed"`
	Detail    string `json:"detail,omitempty"`
	// Error is why it is not OK, and what to do about it.
	Error string `json:"error,omitempty"`
	// Warning is what somebody should look at though it is OK.
	Warning   string `json:"warning,omitempty"`
	ElapsedMs int64  `json:"elapsedMs"`
}

// OK reports whether every channel took its message.
func (n Notification) OK() bool {
	for _, d := range n.Deliveries {
		if !d.OK {
			return false
		}
	}
	return n.Error == "" && len(n.Deliveries) > 0
}

// Notify has the deployed function of a region send a message, labelled as a test,
// through each of its channels, and asks whether anybody gets what SNS has taken. A failure is never an error of Notify: everything
// is in the Notification, also that ctx has ended.
func Notify(ctx context.Context, cfg aws.Config, r deployed.Region) Notification {
	f := &function{client: lambda.NewFromConfig(clientConfig(cfg, r.Region)), arn: r.FunctionARN, pause: firstPause}
	n, start := f.notify(ctx, r), time.Now()
	n.reached(ctx, topicsOf(cfg), r)
	n.Seconds += time.Since(start).Seconds()
	return n
}

// reached asks whether anybody gets what was published to a topic: it is not
// delivered if nobody does.
func (n *Notification) reached(ctx context.Context, topics func(region string) topicReader, r deployed.Region) {
	for k := range n.Deliveries {
		d := &n.Deliveries[k]
		if d.Channel != pagerSNS || !d.OK {
			continue
		}
		c, asked := subscriptions(ctx, topics, r)
		switch {
		case !asked:
		case c.Result == Errored:
			d.OK, d.Error = false, c.Reason
		case c.Result == Warned:
			d.Warning = c.Reason
		}
	}
}

func (f *function) notify(ctx context.Context, r deployed.Region) Notification {
	start := time.Now()
	n := Notification{Region: r.Region, Deliveries: []Delivery{}}
	err := errors.New("only a part of the region is deployed, without the function: deploy it again")
	if f.arn != "" {
		err = f.deliver(ctx, &n)
	}
	switch {
	case ctx.Err() != nil:
		n.Error = "interrupted"
	case err != nil:
		n.Error = err.Error()
	}
	for k := range n.Deliveries {
		if d := &n.Deliveries[k]; !d.OK {
			d.Error += whatToSet(d.Error)
		}
	}
	n.Seconds = time.Since(start).Seconds()
	return n
}

func (f *function) deliver(ctx context.Context, n *Notification) error {
	// A second invocation would send once more, so that only one which has not
	// begun is tried again.
	raw, err := f.tried(ctx, map[string]string{"step": stepNotifyTest}, notRun)
	if e, answered := errors.AsType[*functionError](err); answered && e.Kind == string(fault.InvalidInput) && strings.Contains(e.Message, `step: "`+stepNotifyTest+`" is unknown`) {
		return fmt.Errorf("the deployed function sends no tests: deploy this version first (%s)", e.Message)
	}
	if err != nil {
		return errors.New(Said(err))
	}
	var answer struct {
		Deliveries []Delivery `json:"deliveries"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("the function answered with something else than deliveries: %w", err)
	}
	if len(answer.Deliveries) == 0 {
		return errors.New("the function named no channel that it has tried")
	}
	n.Deliveries = answer.Deliveries
	return nil
}

// secretVariables are the secrets, as the function names their parameters, and
// the environment variables that Terraform takes them from.
var secretVariables = []struct{ parameter, channel, variable string }{
	{"/secrets/slack-token", "Slack", "TF_VAR_slack_token"},
	{"/secrets/opsgenie-api-key", "OpsGenie", "TF_VAR_opsgenie_api_key"},
	{"/secrets/jsm-api-key", "Jira Service Management", "TF_VAR_jsm_api_key"},
}

// whatToSet says what would mend an error of a channel that lacks its secret; ""
// for any other.
func whatToSet(text string) string {
	if !strings.Contains(text, "never given a value") && !strings.Contains(text, "does not exist") {
		return ""
	}
	var names, variables []string
	for _, s := range secretVariables {
		if strings.Contains(text, s.parameter) {
			names, variables = append(names, s.channel), append(variables, s.variable)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(". %s cannot be told of anything: export %s with the other secrets, raise secrets_version and deploy", strings.Join(names, " and "), strings.Join(variables, " and "))
}
