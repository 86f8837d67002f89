package probe

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"firstline/internal/coverage"
	"firstline/internal/deployed"
	"firstline/internal/incident"
)

const (
	first  = "i-0a1b2c3d4e5f60718"
	second = "i-1a1b2c3d4e5f60718"
)

// ireland is a deployed region that watches the given instances.
func ireland(ids ...string) deployed.Region {
	r := deployed.Region{
		Region: "eu-west-1", AccountID: "123456789012", Name: "firstline",
		StateMachineARN: "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline",
		FunctionARN:     "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:3",
		CanaryRuleName:  "firstline-canary", InstanceIDs: ids, Pagers: []string{"opsgenie"},
	}
	for _, id := range ids {
		r.AlarmNames = append(r.AlarmNames, "firstline-alarm-"+id+"-cpu", "firstline-alarm-"+id+"-status")
	}
	return r
}

// call is an invocation as the function gets it.
type call struct {
	Step     string         `json:"step"`
	Event    *incident.Look `json:"event"`
	Incident *struct {
		Event incident.Look `json:"event"`
	} `json:"incident"`
	Execution incident.Execution `json:"execution"`
}

// instance is the id that the call speaks of.
func (c call) instance() string {
	if c.Event == nil {
		return ""
	}
	return c.Event.Detail.InstanceID
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
	default:
		out.Payload, err = json.Marshal(a)
	}
	return out, err
}

// broken is the payload of a function error that is not JSON.
type broken string

// healthy answers as a function does whose instances are all well.
func healthy(_ context.Context, c call) (any, error) {
	if c.Step == "coverage" {
		return coverage.Comparison{Alarms: ireland(first, second).AlarmNames}, nil
	}
	if c.Step != "verify" {
		return incident.Incident{Suppressed: []incident.Suppressed{{Action: c.Step}}}, nil
	}
	var all []incident.Finding
	for _, check := range incident.Checks {
		all = append(all, incident.Finding{Check: check, Outcome: incident.Passed, Reason: "200 OK"})
	}
	return found(all...), nil
}

// found is what verify answers with findings.
func found(findings ...incident.Finding) incident.Incident {
	return incident.Incident{Next: incident.NextDone, Findings: findings, Suppressed: []incident.Suppressed{{Action: incident.NextReboot}}}
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

func TestSaid(t *testing.T) {
	for want, err := range map[string]error{
		"no answer from lambda.eu-west-1.amazonaws.com: refused": &url.Error{Op: "Post", URL: "https://lambda.eu-west-1.amazonaws.com/x?y", Err: errors.New("refused")},
		"no answer within 2m30s":                                 context.DeadlineExceeded,
		"AccessDenied: said AWS":                                 refusal(http.StatusForbidden, "AccessDenied"),
		"the function ended with an error that says nothing":     &functionError{},
		"Runtime.ExitError":                                      &functionError{Kind: "Runtime.ExitError"},
	} {
		if got := Said(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
