package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"firstline/internal/deployed"
)

// Notification is what came of a test message in one region.
type Notification struct {
	Region string `json:"region"`
	// Deliveries are the channels, in the order in which the function has them.
	Deliveries []Delivery `json:"deliveries"`
	// Error is why the function could not try them; then it is not known whether
	// a message was sent.
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Delivery is what came of it in one channel.
type Delivery struct {
	// Channel is slack, a pager's name, or heartbeat.
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
	ElapsedMs int64  `json:"elapsed_ms"`
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
// through each of its channels and ping its heartbeat, and asks whether anybody gets what SNS has taken.
// A failure is never an error of Notify: everything is in the Notification, also
// that ctx has ended.
func Notify(ctx context.Context, cfg aws.Config, r deployed.Region) Notification {
	return notifyBy(ctx, lambda.NewFromConfig(InRegion(cfg, r.Region)), topicsOf(cfg), r)
}

func notifyBy(ctx context.Context, client invoker, topics func(region string) topicReader, r deployed.Region) Notification {
	start := time.Now()
	n := Notification{Region: r.Region, Deliveries: []Delivery{}}
	err := r.Lost
	if err == nil {
		err = n.deliver(ctx, function{client, r.FunctionARN})
	}
	for k := range n.Deliveries {
		d := &n.Deliveries[k]
		if !d.OK {
			d.Error += whatToSet(d.Error)
			continue
		}
		if d.Channel == pagerSNS {
			d.reached(ctx, topics, r)
		}
	}
	switch {
	case ctx.Err() != nil:
		n.Error = "interrupted"
	case err != nil:
		n.Error = err.Error()
	}
	n.Seconds = time.Since(start).Seconds()
	return n
}

func (n *Notification) deliver(ctx context.Context, f function) error {
	if f.arn == "" {
		return errPart
	}
	// A second invocation would send once more, so that only one which has not
	// begun is tried again.
	raw, err := f.tried(ctx, map[string]string{"step": "notify-test"}, notRun)
	if err != nil {
		return errors.New(Said(err))
	}
	var answer struct {
		Deliveries []Delivery `json:"deliveries"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("the function did not answer with deliveries: %w", err)
	}
	if len(answer.Deliveries) == 0 {
		return errors.New("no channel is configured: nobody would be told")
	}
	n.Deliveries = answer.Deliveries
	return nil
}

// reached asks whether anybody gets what was published to a topic: it is not
// delivered if nobody does.
func (d *Delivery) reached(ctx context.Context, topics func(region string) topicReader, r deployed.Region) {
	c, asked := subscriptions(ctx, topics, r)
	switch {
	case !asked:
	case c.Result == Errored:
		d.OK, d.Error = false, c.Reason
	case c.Result == Warned:
		d.Warning = c.Reason
	}
}

// secretPath is the end of a secret's parameter, which begins with its channel.
var secretPath = regexp.MustCompile(`/secrets/(([a-z]+)-[a-z-]+)`)

// whatToSet says what would mend an error of a channel that lacks its secret; ""
// for any other.
func whatToSet(text string) string {
	if !strings.Contains(text, "never given a value") && !strings.Contains(text, "does not exist") {
		return ""
	}
	var names, variables []string
	for _, m := range secretPath.FindAllStringSubmatch(text, -1) {
		if variable := Secret(m[1]).Variable(); !slices.Contains(variables, variable) {
			names, variables = append(names, Title(m[2])), append(variables, variable)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(". No message can reach %s: export %s with the other secrets, raise secrets_version and deploy", strings.Join(names, " and "), strings.Join(variables, " and "))
}
