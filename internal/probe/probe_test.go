package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"firstline/internal/deployed"
)

const (
	first  = "i-0a1b2c3d4e5f60718"
	second = "i-1a1b2c3d4e5f60718"
)

// ireland is a deployed region that watches the given instances.
func ireland(ids ...string) deployed.Region { return region("eu-west-1", ids...) }

func region(name string, ids ...string) deployed.Region {
	r := deployed.Region{
		Region: name, AccountID: "123456789012", Name: "firstline",
		StateMachineARN: "arn:aws:states:" + name + ":123456789012:stateMachine:firstline",
		FunctionARN:     "arn:aws:lambda:" + name + ":123456789012:function:firstline-responder:3",
		CanaryRuleName:  "firstline-canary", DeadLetterQueueURL: "https://sqs/firstline-dead-letter",
		InstanceIDs: ids,
	}
	for _, id := range ids {
		r.AlarmNames = append(r.AlarmNames, "firstline-cpu-"+id)
	}
	return r
}

// call is an invocation as the function gets it.
type call struct {
	Step  string `json:"step"`
	Event struct {
		ID        string   `json:"id"`
		Source    string   `json:"source"`
		Region    string   `json:"region"`
		Resources []string `json:"resources"`
		Detail    struct {
			AlarmName     string `json:"alarmName"`
			Configuration struct {
				Metrics []struct {
					MetricStat struct {
						Metric struct {
							Dimensions map[string]string `json:"dimensions"`
						} `json:"metric"`
					} `json:"metricStat"`
				} `json:"metrics"`
			} `json:"configuration"`
		} `json:"detail"`
	} `json:"event"`
	Incident map[string]any `json:"incident"`
}

// instance is the id that the call speaks of.
func (c *call) instance() string {
	if c.Step == "open" {
		return c.Event.Detail.Configuration.Metrics[0].MetricStat.Metric.Dimensions["InstanceId"]
	}
	return c.Incident["instanceId"].(string)
}

// play is a deployed function: it answers a call with an incident or an error.
type play func(context.Context, call) (any, error)

func (p play) Invoke(ctx context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	var c call
	if err := json.Unmarshal(in.Payload, &c); err != nil {
		return nil, err
	}
	answer, err := p(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &lambda.InvokeOutput{StatusCode: http.StatusOK}
	switch a := answer.(type) {
	case functionError:
		out.FunctionError = aws.String("Unhandled")
		out.Payload, err = json.Marshal(a)
	case broken:
		out.FunctionError = aws.String("Unhandled")
		out.Payload = []byte(a)
	case string:
		out.Payload = []byte(a)
	default:
		out.Payload, err = json.Marshal(a)
	}
	return out, err
}

// broken is the payload of a function error that is not JSON.
type broken string

// healthy answers as a function does whose instances are all well.
func healthy(_ context.Context, c call) (any, error) {
	inc := c.Incident
	if c.Step == "open" {
		inc = map[string]any{"instanceId": c.instance(), "dry": true, "settings": map[string]any{"route53": map[string]any{"healthCheckId": "4f2b"}}}
	}
	switch c.Step {
	case "url", "route53", "ssh":
		inc["findings"] = []any{map[string]any{"check": c.Step, "passed": true, "reason": "as it should", "attempts": 1, "elapsedMs": 7}}
	case "reboot", "slack":
		inc["suppressed"] = []any{map[string]any{"action": c.Step}}
	case "opsgenie":
		inc["suppressed"] = []any{map[string]any{"action": "page"}}
	}
	return inc, nil
}

// found is an incident with one finding.
func found(c call, passed bool, reason string) map[string]any {
	c.Incident["findings"] = []any{map[string]any{"check": c.Step, "passed": passed, "reason": reason, "attempts": 3, "elapsedMs": 4012}}
	return c.Incident
}

// refusal is an error that AWS answers with.
func refusal(status int, code string) error {
	fault := smithy.FaultClient
	if status >= http.StatusInternalServerError {
		fault = smithy.FaultServer
	}
	return &smithy.OperationError{ServiceID: "Lambda", OperationName: "Invoke", Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
		Err:      &smithy.GenericAPIError{Code: code, Message: "said AWS", Fault: fault},
	}}
}

// numbered returns n instance ids.
func numbered(n int) []string {
	ids := make([]string, n)
	for k := range ids {
		ids[k] = fmt.Sprintf("i-%017x", k+1)
	}
	return ids
}

// verifier returns a Verifier of functions that answer as p does.
func verifier(p play) *Verifier {
	v := NewVerifier(aws.Config{})
	v.client = func(string) invoker { return p }
	return v
}

func TestNewRingNeedsAnAlarm(t *testing.T) {
	v := verifier(func(context.Context, call) (any, error) { t.Error("invoked"); return nil, nil })
	r := ireland(first)
	r.AlarmNames = nil
	got := v.Verify(t.Context(), r, nil)
	if got.Error != "" || got.Instances[0].Checks[0].Result != Errored {
		t.Errorf("%+v", got)
	}
}
