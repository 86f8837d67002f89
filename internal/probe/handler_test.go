package probe

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"firstline/handler"
	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/store"
	"firstline/notify"
	"firstline/test/dynamo"
)

// deployedHandler is the real function. Whatever its peers do not define here
// panics: a dry run must not need it.
type deployedHandler struct{ *handler.Handler }

func (d deployedHandler) Invoke(ctx context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	out, err := d.Handler.Invoke(ctx, in.Payload)
	if e, ok := errors.AsType[messages.InvokeResponse_Error](err); ok {
		raw, err := json.Marshal(e)
		return &lambda.InvokeOutput{Payload: raw, FunctionError: aws.String("Unhandled")}, err
	}
	return &lambda.InvokeOutput{Payload: out}, err
}

type fakeSSM struct{ handler.ParameterGetter }

func (fakeSSM) GetParameter(_ context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	if strings.HasSuffix(*in.Name, second) {
		return nil, &ssmtypes.ParameterNotFound{}
	}
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Value: aws.String("{}")}}, nil
}

type fakeEC2 struct{ handler.EC2 }

func (fakeEC2) RebootInstances(context.Context, *ec2.RebootInstancesInput, ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	return nil, &smithy.GenericAPIError{Code: "DryRunOperation"}
}

type fakeSlack struct{ handler.Slack }

func (fakeSlack) Rehearse(context.Context, notify.Message) (string, error) { return "text", nil }
func (fakeSlack) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{Confirmed: true, Detail: "posted"}, nil
}

type fakePager struct{ notify.Pager }

func (fakePager) Name() string { return "jsm" }
func (p fakePager) Rehearse(context.Context, notify.Message) (string, error) {
	return "", p.unset()
}

func (p fakePager) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{}, p.unset()
}

func (fakePager) unset() error {
	return fault.New(fault.InvalidInput, "read secret /firstline/secrets/jsm-api-key", "it was never given a value")
}

func realHandler() deployedHandler {
	db := dynamo.New("firstline")
	h := &handler.Handler{
		Deployment: "firstline", Region: "eu-west-1", SettingsPath: "/firstline/instances/", Log: slog.New(slog.DiscardHandler),
		SSM: func(context.Context) (handler.ParameterGetter, error) { return fakeSSM{}, nil },
		EC2: func(context.Context) (handler.EC2, error) { return fakeEC2{}, nil },
		Table: func(context.Context) (handler.Table, error) {
			return &store.Table{Name: "firstline", Client: func(context.Context) (store.API, error) { return db, nil }}, nil
		},
		Slack: fakeSlack{}, Pagers: func() ([]notify.Pager, error) { return []notify.Pager{fakePager{}}, nil },
		Checks: map[string]handler.Check{},
	}
	for name, outcome := range map[string]incident.Outcome{"url": incident.Failed, "route53": incident.Skipped, "ssh": incident.Passed} {
		h.Checks[name] = func(context.Context, *incident.Incident, incident.Millis) incident.Finding {
			return incident.Finding{Outcome: outcome, Reason: "seen"}
		}
	}
	return deployedHandler{h}
}

// The function and this package agree about what is sent and what comes back.
func TestRealHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := realHandler()
		v := NewVerifier(aws.Config{})
		v.client = func(string) invoker { return h }
		got := v.Verify(t.Context(), ireland(first, second), nil)
		if r := results(got.Instances[0].Checks); r != "failed skipped passed passed" || got.Error != "" {
			t.Errorf("%q, %+v", r, got)
		}
		if c := got.Instances[1].Checks[0]; c.Result != Errored || !strings.Contains(c.Reason, "add the instance to regions.tfvars") {
			t.Errorf("%+v", c)
		}
		if r := results(got.Messages); r != "passed error" || !strings.Contains(got.Messages[1].Reason, "export TF_VAR_jsm_api_key") {
			t.Errorf("%q, %+v", r, got.Messages)
		}
		table, _ := h.Table(t.Context())
		e, err := table.Load(t.Context(), first)
		if i := e.State.Instance; err != nil || i.Baseline["ssh"] == "" || i.Baseline["url"] != "" || i.Lease.Execution != "" {
			t.Errorf("%v, stored %+v", err, i)
		}
		d := notifyBy(t.Context(), h, nil, ireland(first)).Deliveries
		if len(d) != 2 || d[0].Channel != "jsm" || d[0].OK || !strings.Contains(d[0].Error, "export TF_VAR_jsm_api_key") || d[1] != (Delivery{Channel: "slack", OK: true, Confirmed: true, Detail: "posted"}) {
			t.Errorf("%+v", d)
		}
	})
}
