package probe

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"firstline/handler"
	"firstline/internal/coverage"
	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/store"
	"firstline/notify"
	"firstline/test/asl"
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

func (fakeSSM) GetParametersByPath(context.Context, *ssm.GetParametersByPathInput, ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error) {
	return &ssm.GetParametersByPathOutput{Parameters: []ssmtypes.Parameter{{Name: aws.String("/firstline/instances/" + first), Value: aws.String("{}")}}}, nil
}

// fakeCloudWatch has no alarm.
type fakeCloudWatch struct{}

func (fakeCloudWatch) DescribeAlarms(context.Context, *cloudwatch.DescribeAlarmsInput, ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	return &cloudwatch.DescribeAlarmsOutput{}, nil
}

func (fakeCloudWatch) GetMetricData(context.Context, *cloudwatch.GetMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	return &cloudwatch.GetMetricDataOutput{}, nil
}

func (fakeCloudWatch) ListMetrics(context.Context, *cloudwatch.ListMetricsInput, ...func(*cloudwatch.Options)) (*cloudwatch.ListMetricsOutput, error) {
	return &cloudwatch.ListMetricsOutput{}, nil
}

type fakeEC2 struct {
	handler.EC2
	// denied: no instance can be described.
	denied bool
}

func (f fakeEC2) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	if f.denied {
		return nil, &smithy.GenericAPIError{Code: "UnauthorizedOperation"}
	}
	running := ec2types.Instance{InstanceId: aws.String(first), State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}}
	return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: []ec2types.Instance{running}}}}, nil
}

func (fakeEC2) DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error) {
	return &ec2.DescribeInstanceStatusOutput{}, nil
}

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

func realHandler(url incident.Outcome) deployedHandler {
	db := dynamo.New("firstline")
	h := &handler.Handler{
		Deployment: "firstline", Region: "eu-west-1", SettingsPath: "/firstline/instances/", Log: slog.New(slog.DiscardHandler),
		SSM:      func() handler.ParameterGetter { return fakeSSM{} },
		EC2:      func() handler.EC2 { return fakeEC2{} },
		Coverage: func() coverage.Clients { return coverage.Clients{CloudWatch: fakeCloudWatch{}, EC2: fakeEC2{}} },
		Table:    &store.Table{Name: "firstline", Client: func(context.Context) (store.API, error) { return db, nil }},
		Slack:    fakeSlack{}, Pagers: func() ([]notify.Pager, error) { return []notify.Pager{fakePager{}}, nil },
		Checks: map[string]handler.Check{}, Breaker: incident.Breaker{InFlight: 2, PerHour: 6},
	}
	for name, outcome := range map[string]incident.Outcome{"url": url, "route53": incident.Skipped, "ssh": incident.Passed} {
		h.Checks[name] = func(context.Context, *incident.Incident) incident.Finding {
			return incident.Finding{Outcome: outcome, Reason: "seen"}
		}
	}
	return deployedHandler{h}
}

// The function and this package agree about what is sent and what comes back.
func TestRealHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := realHandler(incident.Failed)
		v := verifier(nil)
		v.client = func(string) invoker { return h }
		got := v.Verify(t.Context(), ireland(first, second), nil)
		if r := results(got.Instances[0].Checks); r != "failed skipped passed passed error" || !strings.Contains(got.Instances[0].Checks[4].Reason, "it has no alarm") || got.Error != "" {
			t.Errorf("%q, %+v", r, got)
		}
		if c := got.Instances[1].Checks[0]; c.Result != Errored || !strings.Contains(c.Reason, "add the instance to regions.tfvars") {
			t.Errorf("%+v", c)
		}
		if r := results(got.Deployment); r != "passed error passed" || !strings.Contains(got.Deployment[1].Reason, "export TF_VAR_jsm_api_key") {
			t.Errorf("%q, %+v", r, got.Deployment)
		}
		e, err := h.Table.Load(t.Context(), first)
		if i := e.State.Instance; err != nil || i.Baseline["ssh"] == "" || i.Baseline["url"] != "" || i.Lease.Execution != "" {
			t.Errorf("%v, stored %+v", err, i)
		}
		d := notifyBy(t.Context(), h, nil, ireland(first)).Deliveries
		if len(d) != 2 || d[0].Channel != "jsm" || d[0].OK || !strings.Contains(d[0].Error, "export TF_VAR_jsm_api_key") || d[1] != (Delivery{Channel: "slack", OK: true, Confirmed: true, Detail: "posted"}) {
			t.Errorf("%+v", d)
		}
	})
}

// What the real state machine and function make of a canary's event.
func TestRealMachine(t *testing.T) {
	definition, err := asl.Render("../..", asl.Vars{FunctionARN: ireland().FunctionARN})
	if err != nil {
		t.Fatal(err)
	}
	machine, err := asl.Load(definition)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		instance string
		url      incident.Outcome
		denied   bool
		end      string
		want     string // the error, "" for none
	}{
		{"healthy", first, incident.Passed, false, allGood, ""},
		{"down, and it never was up", first, incident.Failed, false, allGood, first + " is not healthy (attention): "},
		{"a right is missing", first, incident.Passed, true, allGood, "could not ask EC2: DescribeInstances: "},
		{"not watched", second, incident.Passed, false, "Told", "the step open ended with InvalidInput: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := realHandler(tt.url)
				h.EC2 = func() handler.EC2 { return fakeEC2{denied: tt.denied} }
				h.Pagers = func() ([]notify.Pager, error) { return nil, nil }
				s := healthyStates(t)
				c := &canary{events: s, region: ireland(first, second)}
				if _, err := c.send(t.Context(), tt.instance, time.Now()); err != nil {
					t.Fatal(err)
				}
				// As EventBridge hands it to the state machine.
				event, err := json.Marshal(map[string]any{
					"id": eventID, "account": c.region.AccountID, "region": c.region.Region, "time": s.sent.Time.UTC(),
					"source": s.sent.Source, "detail-type": s.sent.DetailType, "resources": s.sent.Resources, "detail": json.RawMessage(*s.sent.Detail),
				})
				if err != nil {
					t.Fatal(err)
				}
				o := machine.Run(t.Context(), asl.Execution{ID: "arn:x", Name: "x", Input: event, Invoke: func(ctx context.Context, call asl.Call) (json.RawMessage, error) {
					out, err := h.Handler.Invoke(ctx, call.Payload)
					if e, ok := errors.AsType[messages.InvokeResponse_Error](err); ok {
						return nil, asl.FunctionError(e.Type, e.Message)
					}
					return out, err
				}})
				r := Rehearsal{InstanceID: tt.instance, EndState: o.End()}
				err = r.judge(&sfn.DescribeExecutionOutput{Status: types.ExecutionStatus(o.Status), Output: aws.String(string(o.Output))}, past{})
				if o.End() != tt.end || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s, %v: %s", o.End(), err, o.Output)
				}
			})
		})
	}
}
