package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

const instance = "i-0c1cbf2e7abdedf75"

// fake stands for everything around the handler.
type fake struct {
	parameters map[string]ssmtypes.Parameter
	ssmErr     error
	state      ec2types.InstanceStateName
	describe   error
	rebootErr  error
	reboots    int
	dryRuns    int
	dryErr     error // allowed, unless EC2 says something else
	tags       []ec2types.Tag
	status     *ec2types.InstanceStatus // nil: all is well
	statusErr  error
	console    func(latest bool) (*ec2.GetConsoleOutputOutput, error) // nil: nothing was said
	table      *table                                                 // nil: one that knows nothing and allows everything
	alarm      cwtypes.StateValue
	alarmErr   error
	alarms     func(*cloudwatch.DescribeAlarmsInput) *cloudwatch.DescribeAlarmsOutput
	finding    checks.Finding
	checkErr   error
	since      time.Time
	sent       []notify.Message
	rehearsed  []notify.Message
	asked      int // for the alarm's state
	sendErr    error
	noted      []notify.Message
	noteErrs   []error // one after another, then none
	closed     func(alias string) (bool, error)
	shut       []notify.Message // alerts that were closed
	shutErr    error
	updated    []notify.Message // first messages of threads
	updatedAt  []incident.Thread
	updateErr  error
	threadGone bool
	start      func(*sfn.StartExecutionInput) error
	execution  func(ctx context.Context, arn string) (sfntypes.ExecutionStatus, error) // nil: it runs
	panics     bool
}

func (f *fake) GetParameter(_ context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	if f.ssmErr != nil {
		return nil, f.ssmErr
	}
	p, ok := f.parameters[*in.Name]
	if !ok {
		return nil, &ssmtypes.ParameterNotFound{}
	}
	return &ssm.GetParameterOutput{Parameter: &p}, nil
}

func (f *fake) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	if f.describe != nil {
		return nil, f.describe
	}
	out := &ec2.DescribeInstancesOutput{}
	if f.state != "" {
		out.Reservations = []ec2types.Reservation{{Instances: []ec2types.Instance{{InstanceId: aws.String(instance), State: &ec2types.InstanceState{Name: f.state}, Tags: f.tags}}}}
	}
	return out, nil
}

// well is the status of an instance with which nothing is the matter.
func well() *ec2types.InstanceStatus {
	ok := &ec2types.InstanceStatusSummary{Status: ec2types.SummaryStatusOk}
	return &ec2types.InstanceStatus{InstanceId: aws.String(instance), SystemStatus: ok, InstanceStatus: ok}
}

func (f *fake) DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error) {
	if f.statusErr != nil {
		return nil, f.statusErr
	}
	status := f.status
	if status == nil {
		status = well()
	}
	return &ec2.DescribeInstanceStatusOutput{InstanceStatuses: []ec2types.InstanceStatus{*status}}, nil
}

func (f *fake) GetConsoleOutput(_ context.Context, in *ec2.GetConsoleOutputInput, _ ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	if f.console == nil {
		return &ec2.GetConsoleOutputOutput{}, nil
	}
	return f.console(aws.ToBool(in.Latest))
}

func (f *fake) RebootInstances(_ context.Context, in *ec2.RebootInstancesInput, _ ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	if aws.ToBool(in.DryRun) {
		f.dryRuns++
		return &ec2.RebootInstancesOutput{}, f.dryErr
	}
	f.reboots++
	return &ec2.RebootInstancesOutput{}, f.rebootErr
}

func (f *fake) DescribeAlarms(_ context.Context, in *cloudwatch.DescribeAlarmsInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	f.asked++
	if f.alarmErr != nil {
		return nil, f.alarmErr
	}
	if f.alarms != nil {
		return f.alarms(in), nil
	}
	return &cloudwatch.DescribeAlarmsOutput{MetricAlarms: []cwtypes.MetricAlarm{{StateValue: f.alarm}}}, nil
}

func (f *fake) Send(_ context.Context, m notify.Message) error {
	f.sent = append(f.sent, m)
	return f.sendErr
}

func (f *fake) Note(_ context.Context, m notify.Message) error {
	f.noted = append(f.noted, m)
	if len(f.noteErrs) == 0 {
		return nil
	}
	err := f.noteErrs[0]
	f.noteErrs = f.noteErrs[1:]
	return err
}

func (f *fake) Closed(_ context.Context, alias string) (bool, error) {
	if f.closed == nil {
		return true, nil
	}
	return f.closed(alias)
}

func (f *fake) Name() string { return notify.NameOpsGenie }

func (f *fake) Close(_ context.Context, m notify.Message) error {
	f.shut = append(f.shut, m)
	return f.shutErr
}

func (f *fake) Test(_ context.Context, m notify.Message) (notify.Delivery, error) {
	return notify.Delivery{Confirmed: true, Detail: string(m.Kind)}, f.sendErr
}

// thread is where Slack puts a message that is no reply.
var thread = incident.Thread{Channel: "C0123456789", TS: "1700000000.000100"}

func (f *fake) Post(_ context.Context, m notify.Message) (incident.Thread, error) {
	f.sent = append(f.sent, m)
	if f.sendErr != nil {
		return incident.Thread{}, f.sendErr
	}
	if m.Thread != nil && !f.threadGone {
		return *m.Thread, nil
	}
	return thread, nil
}

func (f *fake) Update(_ context.Context, m notify.Message, of incident.Thread) error {
	f.updated = append(f.updated, m)
	f.updatedAt = append(f.updatedAt, of)
	return f.updateErr
}

// Aliases of the fake's pages.
const (
	pageAlias  = "firstline/123456789012/eu-west-1/" + instance
	brakeAlias = "firstline/brake/123456789012:eu-west-1"
)

func (f *fake) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	return &sfn.StartExecutionOutput{}, f.start(in)
}

func (f *fake) DescribeExecution(ctx context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	if f.execution == nil {
		return &sfn.DescribeExecutionOutput{Status: sfntypes.ExecutionStatusRunning}, nil
	}
	status, err := f.execution(ctx, *in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	return &sfn.DescribeExecutionOutput{Status: status}, nil
}

func (f *fake) Rehearse(_ context.Context, m notify.Message) (string, error) {
	f.rehearsed = append(f.rehearsed, m)
	return "the message", f.sendErr
}

type urlFake struct{ *fake }

func (f urlFake) Check(context.Context, string, checks.URLSettings) (checks.Finding, error) {
	if f.panics {
		panic("out of its mind")
	}
	return f.finding, f.checkErr
}

type route53Fake struct{ *fake }

func (f route53Fake) Check(_ context.Context, _ checks.Route53Settings, since time.Time) (checks.Finding, error) {
	f.since = since
	return f.finding, f.checkErr
}

type sshFake struct{ *fake }

func (f sshFake) Check(context.Context, string, checks.SSHSettings) (checks.Finding, error) {
	return f.finding, f.checkErr
}

// newHandler returns a handler around f, and its log.
func newHandler(f *fake) (*Handler, *bytes.Buffer) {
	log := new(bytes.Buffer)
	if f.table == nil {
		f.table = &table{}
	}
	return &Handler{
		Deployment:       "firstline",
		Region:           "eu-west-1",
		SettingsPath:     "/firstline/instances/",
		ExecutionTimeout: 2 * time.Hour,
		Brake:            &guard.Limits{InFlight: 2, PerHour: 6},
		StateMachineARN:  "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline",
		AlarmPrefix:      "firstline-cpu-",
		Log:              slog.New(slog.NewJSONHandler(log, nil)),
		SSM:              func(context.Context) (ParameterGetter, error) { return f, nil },
		EC2:              func(context.Context) (Rebooter, error) { return f, nil },
		CloudWatch:       func(context.Context) (AlarmDescriber, error) { return f, nil },
		StepFunctions:    func(context.Context) (Executioner, error) { return f, nil },
		Guards:           func(context.Context) (Guards, error) { return f.table, nil },
		URL:              urlFake{f},
		Route53:          route53Fake{f},
		SSH:              sshFake{f},
		Slack:            f,
		SlackPages:       new(true),
		AllClear:         &AllClear{Every: 5 * time.Minute, For: 2 * time.Hour},
		Pagers:           func() (*notify.Pagers, error) { return &notify.Pagers{All: []notify.Pager{f}}, nil },
	}, log
}

// invoke sends a payload and returns the incident, or the error as Lambda
// would report it.
func invoke(t *testing.T, h *Handler, payload string) (*incident.Incident, messages.InvokeResponse_Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := h.Invoke(ctx, []byte(payload))
	if err != nil {
		// The type itself, not one that wraps it: that is all aws-lambda-go passes on.
		le, ok := err.(messages.InvokeResponse_Error) //nolint:errorlint // the assertion is the test
		if !ok {
			t.Fatalf("error is a %T, want messages.InvokeResponse_Error", err)
		}
		return nil, le
	}
	inc := new(incident.Incident)
	if err := json.Unmarshal(out, inc); err != nil {
		t.Fatal(err)
	}
	return inc, messages.InvokeResponse_Error{}
}

func open1(settings string) *incident.Incident {
	s := new(incident.Settings)
	if err := json.Unmarshal([]byte(settings), s); err != nil {
		panic(err)
	}
	return &incident.Incident{
		InstanceID: instance, Region: "eu-west-1", AccountID: "123456789012",
		Alarm:     &incident.Alarm{Name: "firstline-cpu-" + instance, At: time.Date(2026, 11, 22, 10, 4, 40, 0, time.UTC)},
		Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:firstline:x", Name: "x"},
		Settings:  s, Run: 1, Recovery: &incident.Recovery{}, EventAt: time.Now().UTC(),
	}
}

func payload(t *testing.T, step string, inc *incident.Incident) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"step": step, "incident": inc})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func sampleEvent(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/alarm.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

const execution = `{"id":"arn:aws:states:eu-west-1:123456789012:execution:firstline:x","name":"x","startedAt":"2026-11-22T10:04:42Z"}`

func openPayload(event string) string {
	return `{"step":"open","event":` + event + `,"execution":` + execution + `}`
}

func settingsAt(value string) map[string]ssmtypes.Parameter {
	return map[string]ssmtypes.Parameter{"/firstline/instances/" + instance: {Value: &value}}
}

func TestOpen(t *testing.T) {
	f := &fake{parameters: settingsAt(`{"url":{"path":"/healthz"},"ssh":{"port":2222}}`), state: "running", tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("web-1")}}}
	h, log := newHandler(f)
	got, lerr := invoke(t, h, openPayload(sampleEvent(t)))
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	s := incident.DefaultSettings()
	s.URL.Path, s.SSH.Port = "/healthz", 2222
	want := &incident.Incident{
		InstanceID: instance, Name: "web-1", Region: "eu-west-1", AccountID: "123456789012",
		Alarm: &incident.Alarm{
			Name:   "firstline-cpu-" + instance,
			Metric: "CPUUtilization",
			ARN:    "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-cpu-" + instance,
			Reason: "Threshold Crossed: 1 datapoint [100.0 (22/11/26 09:59:00)] was greater than or equal to the threshold (100.0).",
			At:     time.Date(2026, 11, 22, 10, 4, 40, 989_000_000, time.UTC),
			Value:  new(100.0),
		},
		Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:firstline:x", Name: "x", StartedAt: time.Date(2026, 11, 22, 10, 4, 42, 0, time.UTC)},
		Settings:  &s, Run: 1, Recovery: &incident.Recovery{}, EventAt: time.Date(2026, 11, 22, 10, 4, 40, 0, time.UTC),
	}
	gotJSON, _ := json.Marshal(got)
	wantJSON, _ := json.Marshal(want)
	if diff := cmp.Diff(string(wantJSON), string(gotJSON)); diff != "" {
		t.Errorf("incident (-want +got):\n%s", diff)
	}
	if !strings.Contains(log.String(), `"instance":"`+instance+`"`) {
		t.Errorf("the log line does not name the instance: %s", log)
	}
}

func TestOpenFindsTheInstanceBehindMetricMath(t *testing.T) {
	event := strings.Replace(sampleEvent(t), `"metrics": [`, `"metrics": [{"id":"e1","expression":"m1*1","returnData":true},`, 1)
	h, _ := newHandler(&fake{parameters: settingsAt(`{}`)})
	inc, lerr := invoke(t, h, openPayload(event))
	if lerr.Type != "" || inc.InstanceID != instance {
		t.Errorf("got %+v, %v", inc, lerr)
	}
}

func TestOpenRefuses(t *testing.T) {
	event := sampleEvent(t)
	with := func(old, replacement string) string {
		t.Helper()
		if !strings.Contains(event, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(event, old, replacement, 1)
	}
	denied := &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}
	throttled := &smithy.GenericAPIError{Code: "ThrottlingException", Message: "slow down"}
	for _, tt := range []struct {
		name, event, settings string
		ssmErr                error
		kind                  fault.Kind
		want                  string
	}{
		{"not an object", `"hello"`, `{}`, nil, fault.InvalidInput, "event: not an alarm's event"},
		{"another source", with(`"aws.cloudwatch"`, `"aws.ec2"`), `{}`, nil, fault.InvalidInput, `source "aws.ec2"`},
		{"back to OK", with(`"value": "ALARM"`, `"value": "OK"`), `{}`, nil, fault.InvalidInput, `went to "OK"; only ALARM opens an incident`},
		{"no instance", with(`{"InstanceId": "i-0c1cbf2e7abdedf75"}`, `{}`), `{}`, nil, fault.InvalidInput, "no metric of the alarm"},
		{"malformed instance", with(`"InstanceId": "i-0c1cbf2e7abdedf75"`, `"InstanceId": "i-1"`), `{}`, nil, fault.InvalidInput, `"i-1" is not an instance id`},
		{"two instances", with(`"metrics": [`, `"metrics": [{"metricStat":{"metric":{"dimensions":{"InstanceId":"i-0a1b2c3d"}}}},`), `{}`, nil, fault.InvalidInput, "2 instances (i-0a1b2c3d, " + instance + ")"},
		{"another region", with(`"region": "eu-west-1"`, `"region": "us-east-1"`), `{}`, nil, fault.InvalidInput, `of "us-east-1", this function runs in eu-west-1`},
		{"no time", with(`"time": "2026-11-22T10:04:40Z"`, `"time": "today"`), `{}`, nil, fault.InvalidInput, `event.time: "today" is not a time`},
		{"malformed account", with(`"account": "123456789012"`, `"account": "12"`), `{}`, nil, fault.InvalidInput, `event.account: "12"`},
		{"no settings", with(`"InstanceId": "i-0c1cbf2e7abdedf75"`, `"InstanceId": "i-0a1b2c3d"`), `{}`, nil, fault.InvalidInput, "/firstline/instances/i-0a1b2c3d does not exist; name the instance in regions.tfvars"},
		{"settings not JSON", event, `{`, nil, fault.InvalidInput, "not JSON"},
		{"settings with a misspelt field", event, `{"url":{"pth":"/"}}`, nil, fault.InvalidInput, `unknown field "pth"`},
		{"settings of the wrong type", event, `{"ssh":{"port":"22"}}`, nil, fault.InvalidInput, "port: got a JSON string, want int"},
		{"settings out of range", event, `{"ssh":{"port":70000}}`, nil, fault.InvalidInput, "ssh.port: 70000"},
		{"settings with more behind them", event, `{} {}`, nil, fault.InvalidInput, "data after the JSON value"},
		{"every check off", event, `{"url":{"enabled":false},"ssh":{"enabled":false}}`, nil, fault.InvalidInput, "every check is off"},
		{"checks that take too long", event, `{"ssh":{"attempts":10,"timeoutMs":30000}}`, nil, fault.InvalidInput, "ssh: its attempts may take"},
		{"a window of too many looks", event, `{"boot":{"intervalSeconds":1,"windowSeconds":3600}}`, nil, fault.InvalidInput, "boot.intervalSeconds"},
		{"denied", event, `{}`, denied, fault.Denied, "read settings of " + instance},
		{"throttled", event, `{}`, throttled, fault.Unavailable, "slow down"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newHandler(&fake{parameters: settingsAt(tt.settings), ssmErr: tt.ssmErr})
			_, lerr := invoke(t, h, openPayload(tt.event))
			if lerr.Type != string(tt.kind) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %s: %s\nwant %s with %q", lerr.Type, lerr.Message, tt.kind, tt.want)
			}
		})
	}
}

func TestInvokeRefusesPayloads(t *testing.T) {
	good := payload(t, "url", open1(`{}`))
	changed := func(old, replacement string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("the payload has no %q", old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	for _, tt := range []struct{ name, payload, want string }{
		{"empty", ``, "not JSON"},
		{"cut short", `{"step":"url"`, "not JSON"},
		{"an array", `[]`, "cannot unmarshal array"},
		{"unknown step", `{"step":"shutdown"}`, `step: "shutdown" is unknown; use one of all-clear, baseline, close, find-alert, look-alert, notify-test, open, opsgenie, reboot, route53, slack, ssh, sweep, url`},
		{"no step", `{}`, `step: "" is unknown`},
		{"unknown field", `{"step":"url","incidents":{}}`, `unknown field "incidents"`},
		{"trailing data", good + `{}`, "data after the JSON value"},
		{"no incident", `{"step":"url"}`, "incident: missing"},
		{"an event where none belongs", `{"step":"url","incident":{},"event":{}}`, "event: the step url takes none"},
		{"no event", `{"step":"open","execution":` + execution + `}`, "event: missing"},
		{"no execution", `{"step":"open","event":{}}`, "execution: missing"},
		{"an execution without an id", `{"step":"open","event":` + sampleEvent(t) + `,"execution":{"name":"x","startedAt":"2026-11-22T10:04:42Z"}}`, "execution.id: missing"},
		{"an execution without a start", `{"step":"open","event":` + sampleEvent(t) + `,"execution":{"id":"arn","name":"x"}}`, "execution.startedAt: missing"},
		{"an incident for a sweep", `{"step":"sweep","incident":{}}`, "incident: the step sweep takes none"},
		{"an event for a close", `{"step":"close","incident":{},"event":{}}`, "event: the step close takes none"},
		{"nothing for a baseline", `{"step":"baseline"}`, "incident: missing"},
		{"an instance id of the wrong form", changed(instance, "i-xyz"), `incident.instanceId: "i-xyz" is not an instance id`},
		{"an account of the wrong form", changed(`"accountId":"123456789012"`, `"accountId":"1"`), `incident.accountId: "1"`},
		{"a region of the wrong form", changed(`"region":"eu-west-1"`, `"region":"Ireland"`), `incident.region: "Ireland"`},
		{"another region", changed(`"region":"eu-west-1"`, `"region":"eu-west-2"`), "it is of eu-west-2, this function runs in eu-west-1"},
		{"run 4", changed(`"run":1`, `"run":4`), "incident.run: 4"},
		{"no settings", changed(`"settings":`, `"setting":`), "incident.settings: missing"},
		{"settings with an unknown field", changed(`"ssh":{`, `"ssh":{"prot":1,`), `unknown field "prot"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newHandler(&fake{})
			_, lerr := invoke(t, h, tt.payload)
			if lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %s: %s\nwant InvalidInput with %q", lerr.Type, lerr.Message, tt.want)
			}
		})
	}
}

func TestChecksRecordWhatTheySaw(t *testing.T) {
	for _, step := range []string{"url", "route53", "ssh"} {
		t.Run(step, func(t *testing.T) {
			f := &fake{finding: checks.Finding{Check: step, Reason: "refused", Attempts: 3}}
			h, log := newHandler(f)
			inc, lerr := invoke(t, h, payload(t, step, open1(`{}`)))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			want := []checks.Finding{{Run: 1, Check: step, Reason: "refused", Attempts: 3}}
			if diff := cmp.Diff(want, inc.Findings); diff != "" || inc.Passed {
				t.Errorf("passed %v, findings (-want +got):\n%s", inc.Passed, diff)
			}
			if !strings.Contains(log.String(), `"attempts":3`) {
				t.Errorf("the log line has no attempts: %s", log)
			}

			f.checkErr = fault.New(fault.Denied, step, "no")
			if _, lerr := invoke(t, h, payload(t, step, open1(`{}`))); lerr.Type != "Denied" {
				t.Errorf("got %v, want Denied", lerr)
			}
		})
	}
}

func TestRoute53CountsOnlyWhatCameAfterTheReboot(t *testing.T) {
	f := &fake{}
	h, _ := newHandler(f)
	inc := open1(`{}`)
	inc.Run = 2
	inc.Reboot = &incident.Reboot{At: time.Date(2026, 11, 22, 10, 5, 0, 0, time.UTC)}
	if _, lerr := invoke(t, h, payload(t, "route53", inc)); lerr.Type != "" {
		t.Fatal(lerr)
	}
	if !f.since.Equal(inc.Reboot.At) {
		t.Errorf("asked for observations since %s, want %s", f.since, inc.Reboot.At)
	}
}

func TestFieldsOfAnotherVersionAreCarried(t *testing.T) {
	h, _ := newHandler(&fake{finding: checks.Finding{Check: "url", Passed: true}})
	p := strings.Replace(payload(t, "url", open1(`{}`)), `"run":1`, `"run":1,"lease":{"owner":"x"}`, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := h.Invoke(ctx, []byte(p))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	if string(m["lease"]) != `{"owner":"x"}` {
		t.Errorf("lease is %s after the step", m["lease"])
	}
}

func failed() *incident.Incident {
	inc := open1(`{"boot":{"firstLookSeconds":1,"intervalSeconds":1,"windowSeconds":30}}`)
	inc.Record(checks.Finding{Check: "url", Reason: "refused", At: time.Now()})
	return inc
}

func TestReboot(t *testing.T) {
	f := &fake{state: ec2types.InstanceStateNameRunning}
	h, _ := newHandler(f)
	before := time.Now()
	inc, lerr := invoke(t, h, payload(t, "reboot", failed()))
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	r := inc.Reboot
	if f.reboots != 1 || inc.Run != 2 || inc.Passed || r.Outcome != incident.RebootRequested || r.Reason != "refused" {
		t.Errorf("%d reboots, %+v, %+v", f.reboots, inc, r)
	}
	if d := r.WindowClosesAt.Sub(before); d < 28*time.Second || d > 31*time.Second || r.WindowClosesAt.Nanosecond() != 0 {
		t.Errorf("the window closes at %s, %s from now", r.WindowClosesAt, d)
	}

	t.Run("never twice in one incident", func(t *testing.T) {
		again, lerr := invoke(t, h, payload(t, "reboot", inc))
		if lerr.Type != "" || f.reboots != 1 {
			t.Errorf("%v, %d reboots", lerr, f.reboots)
		}
		if diff := cmp.Diff(inc.Reboot, again.Reboot); diff != "" {
			t.Errorf("the record changed: %s", diff)
		}
	})
	t.Run("a lost answer is recorded without asking", func(t *testing.T) {
		lost := failed()
		lost.Reboot = &incident.Reboot{At: time.Now().UTC(), Outcome: incident.RebootUnknown}
		got, lerr := invoke(t, h, payload(t, "reboot", lost))
		if lerr.Type != "" || f.reboots != 1 || got.Run != 2 || got.Reboot.Reason != "refused" || got.Reboot.WindowClosesAt.IsZero() {
			t.Errorf("%v, %d reboots, %+v", lerr, f.reboots, got.Reboot)
		}
	})
}

func TestRebootRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		fake fake
		inc  *incident.Incident
		kind fault.Kind
		want string
	}{
		{"nothing failed", fake{state: "running"}, open1(`{}`), fault.InvalidInput, "no check of run 1 has failed"},
		{"run 2 without a reboot", fake{state: "running"}, func() *incident.Incident { i := failed(); i.Run = 2; return i }(), fault.InvalidInput, "only run 1"},
		{"failed long ago", fake{state: "running"}, func() *incident.Incident {
			i := failed()
			i.Findings[0].At = time.Now().Add(-time.Hour)
			return i
		}(), fault.InvalidInput, "is not rebooted on that account"},
		{"the last check passed", fake{state: "running"}, func() *incident.Incident { i := failed(); i.Passed = true; return i }(), fault.InvalidInput, "the last check passed"},
		{"stopped", fake{state: "stopped"}, failed(), fault.InvalidInput, "the instance is stopped"},
		{"gone", fake{}, failed(), fault.InvalidInput, "EC2 knows no such instance"},
		{"describe denied", fake{describe: &smithy.GenericAPIError{Code: "UnauthorizedOperation"}}, failed(), fault.Denied, "describe it first"},
		{"describe throttled", fake{describe: &smithy.GenericAPIError{Code: "RequestLimitExceeded"}}, failed(), fault.Unavailable, "describe it first"},
		{"reboot denied", fake{state: "running", rebootErr: &smithy.GenericAPIError{Code: "UnauthorizedOperation"}}, failed(), fault.Denied, "UnauthorizedOperation"},
		{"reboot throttled", fake{state: "running", rebootErr: &smithy.GenericAPIError{Code: "RequestLimitExceeded"}}, failed(), fault.Unavailable, "RequestLimitExceeded"},
		{"reboot refused", fake{state: "running", rebootErr: &smithy.GenericAPIError{Code: "IncorrectState"}}, failed(), fault.InvalidInput, "IncorrectState"},
		{"never sent", fake{state: "running", rebootErr: errors.New("dial tcp: connection refused")}, failed(), fault.Unavailable, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newHandler(&tt.fake)
			_, lerr := invoke(t, h, payload(t, "reboot", tt.inc))
			if lerr.Type != string(tt.kind) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %s: %s\nwant %s with %q", lerr.Type, lerr.Message, tt.kind, tt.want)
			}
		})
	}
}

func TestRebootNeedsTime(t *testing.T) {
	f := &fake{state: "running"}
	h, _ := newHandler(f)
	ctx, cancel := context.WithTimeout(t.Context(), rebootTime/2)
	defer cancel()
	_, err := h.Invoke(ctx, []byte(payload(t, "reboot", failed())))
	if err == nil || !strings.Contains(err.Error(), "left of the function's time") || f.reboots != 0 {
		t.Errorf("got %v after %d reboots", err, f.reboots)
	}
}

// The real client, against an EC2 that takes the request and says nothing, or
// fails: whether it reboots is not known, and it is not asked again.
func TestRebootWithALostAnswerCountsAsRebooted(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"connection lost": func(w http.ResponseWriter) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = c.Close()
			}
		},
		"server fault": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if describes(w, string(body)) {
					return
				}
				asked.Add(1)
				answer(w)
			}))
			defer server.Close()
			f := &fake{}
			h, _ := newHandler(f)
			h.EC2 = func(context.Context) (Rebooter, error) { return ec2Client(server.URL), nil }
			inc, lerr := invoke(t, h, payload(t, "reboot", failed()))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if asked.Load() != 1 || inc.Reboot.Outcome != incident.RebootUnknown || inc.Run != 2 {
				t.Errorf("asked %d times, %+v", asked.Load(), inc.Reboot)
			}
			if f.table.own == nil {
				t.Error("the reservation is gone, so a retry would reboot again")
			}
		})
	}
}

func TestRebootThatWasNeverSentIsTriedAgain(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	_ = ln.Close()
	f := &fake{state: "running"}
	h, _ := newHandler(f)
	h.EC2 = func(context.Context) (Rebooter, error) { return rebooter{f, ec2Client(nobody)}, nil }
	_, lerr := invoke(t, h, payload(t, "reboot", failed()))
	if lerr.Type != string(fault.Unavailable) {
		t.Errorf("got %v, want Unavailable", lerr)
	}
	if f.table.own != nil {
		t.Error("the reservation stays, so no retry would reboot")
	}
	h.EC2 = func(context.Context) (Rebooter, error) { return f, nil }
	if inc, lerr := invoke(t, h, payload(t, "reboot", failed())); lerr.Type != "" || f.reboots != 1 || inc.Reboot.Outcome != incident.RebootRequested {
		t.Errorf("the retry: %v, %d reboots", lerr, f.reboots)
	}
}

// describes answers, as EC2 does, all but the reboot.
func describes(w io.Writer, request string) bool {
	switch {
	case strings.Contains(request, "Action=DescribeInstances&"):
		_, _ = io.WriteString(w, `<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceState><name>running</name></instanceState></item></instancesSet></item></reservationSet></DescribeInstancesResponse>`)
	case strings.Contains(request, "Action=DescribeInstanceStatus&"):
		_, _ = io.WriteString(w, `<DescribeInstanceStatusResponse><instanceStatusSet><item><systemStatus><status>ok</status></systemStatus><instanceStatus><status>ok</status></instanceStatus></item></instanceStatusSet></DescribeInstanceStatusResponse>`)
	case strings.Contains(request, "Action=GetConsoleOutput&"):
		_, _ = io.WriteString(w, `<GetConsoleOutputResponse><output>aGVsbG8=</output></GetConsoleOutputResponse>`)
	default:
		return false
	}
	return true
}

// rebooter describes instances as the fake does and reboots them for real.
type rebooter struct {
	*fake
	c *ec2.Client
}

func (r rebooter) RebootInstances(ctx context.Context, in *ec2.RebootInstancesInput, o ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	return r.c.RebootInstances(ctx, in, o...)
}

func ec2Client(endpoint string) *ec2.Client {
	return ec2.New(ec2.Options{Region: "eu-west-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
}

func TestTell(t *testing.T) {
	for _, step := range []string{"slack", "opsgenie"} {
		t.Run(step, func(t *testing.T) {
			f := &fake{alarm: cwtypes.StateValueOk}
			h, _ := newHandler(f)
			if _, lerr := invoke(t, h, payload(t, step, failed())); lerr.Type != "" {
				t.Fatal(lerr)
			}
			if len(f.sent) != 1 || f.sent[0].AlarmState != "OK" || f.sent[0].Incident.InstanceID != instance {
				t.Errorf("sent %+v", f.sent)
			}
			f.alarmErr = errors.New("no answer")
			if _, lerr := invoke(t, h, payload(t, step, failed())); lerr.Type != "" {
				t.Fatal(lerr)
			}
			if f.sent[1].AlarmState != "" {
				t.Errorf("claims the alarm is %q, which nobody said", f.sent[1].AlarmState)
			}
			f.sendErr = fault.New(fault.Unavailable, "send", "down")
			if _, lerr := invoke(t, h, payload(t, step, failed())); lerr.Type != "Unavailable" {
				t.Errorf("got %v", lerr)
			}
		})
	}
}

// Whatever the incident looks like, somebody hears of it.
func TestTellWithoutAnIncident(t *testing.T) {
	for name, inc := range map[string]string{
		"open failed":      `{"event":` + sampleEvent(t) + `,"execution":` + execution + `,"error":{"Error":"Denied","Cause":"no"}}`,
		"not even a state": `"hello"`,
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			h, _ := newHandler(f)
			if _, lerr := invoke(t, h, `{"step":"opsgenie","incident":`+inc+`}`); lerr.Type != "" {
				t.Fatal(lerr)
			}
			if len(f.sent) != 1 || f.sent[0].Incident.Error == nil || f.sent[0].Incident.Event == nil {
				t.Errorf("sent %+v", f.sent)
			}
		})
	}
}

func TestTellOfAnIncidentThatIsNotValid(t *testing.T) {
	f := &fake{}
	h, _ := newHandler(f)
	p := strings.Replace(payload(t, "opsgenie", failed()), `"ssh":{`, `"ssh":{"prot":1,`, 1)
	if _, lerr := invoke(t, h, p); lerr.Type != "" {
		t.Fatal(lerr)
	}
	if len(f.sent) != 1 || f.sent[0].Incident.InstanceID != instance || !strings.Contains(f.sent[0].Incident.Error.Cause, "prot") {
		t.Errorf("sent %+v", f.sent)
	}
}

func TestPanicIsInternal(t *testing.T) {
	h, _ := newHandler(&fake{panics: true})
	_, lerr := invoke(t, h, payload(t, "url", open1(`{}`)))
	if lerr.Type != string(fault.Internal) || !strings.Contains(lerr.Message, "out of its mind") {
		t.Errorf("got %v", lerr)
	}
}

func TestSecrets(t *testing.T) {
	const name = "/firstline/secrets/slack-token"
	f := &fake{parameters: map[string]ssmtypes.Parameter{}}
	s := &Secrets{SSM: func(context.Context) (ParameterGetter, error) { return f, nil }}
	put := func(value string, typ ssmtypes.ParameterType) {
		f.parameters[name] = ssmtypes.Parameter{Value: aws.String(value), Type: typ}
	}
	refused := func(want string) {
		t.Helper()
		if _, err := s.Get(t.Context(), name, true); err == nil || fault.KindOf(err) != fault.InvalidInput || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want InvalidInput with %q", err, want)
		}
	}
	refused("does not exist")
	put("plain", ssmtypes.ParameterTypeString)
	refused("make it a SecureString")
	put(Unset, ssmtypes.ParameterTypeSecureString)
	refused("never given a value")
	put("", ssmtypes.ParameterTypeSecureString)
	refused("never given a value")

	put("one", ssmtypes.ParameterTypeSecureString)
	for _, step := range []struct {
		fresh bool
		want  string
	}{{false, "one"}, {false, "one"}, {true, "two"}, {false, "two"}} {
		got, err := s.Get(t.Context(), name, step.fresh)
		if err != nil || got != step.want {
			t.Errorf("fresh %v: got %q, %v, want %q", step.fresh, got, err, step.want)
		}
		put("two", ssmtypes.ParameterTypeSecureString)
	}
	if _, err := s.Get(t.Context(), "", false); fault.KindOf(err) != fault.InvalidInput {
		t.Errorf("a parameter without a name: got %v", err)
	}
}

func FuzzInvoke(f *testing.F) {
	event, err := os.ReadFile("testdata/alarm.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(openPayload(string(event))))
	f.Add([]byte(`{"step":"url","incident":{"instanceId":"i-0c1cbf2e7abdedf75","region":"eu-west-1","accountId":"123456789012","run":1,"settings":{}}}`))
	f.Add([]byte(`{"step":"slack","incident":[]}`))
	f.Add([]byte(`{"step":"close","incident":{"event":` + string(event) + `,"execution":` + execution + `,"told":{"page":"2026-11-22T10:04:42Z"}}}`))
	f.Add([]byte(`{"step":"sweep"}`))
	f.Add([]byte(`{"step":"notify-test"}`))
	f.Add([]byte(`{"step":"find-alert","event":` + strings.Replace(string(event), `"value": "ALARM"`, `"value": "OK"`, 1) + `,"execution":` + execution + `}`))
	f.Add([]byte(`{"step":"all-clear","incident":{"instanceId":"i-0c1cbf2e7abdedf75","region":"eu-west-1","accountId":"123456789012","run":3,"passed":true,"settings":{},"recovery":{"passes":1},"execution":{"id":"x"},"alert":{"alias":"a","generation":1},"watch":{"until":"2026-11-22T10:04:42Z"}}}`))
	f.Add([]byte(openPayload(strings.Replace(string(event), incident.SourceAlarm, incident.SourceCanary, 1))))
	f.Add([]byte(`{"step":"reboot","incident":{"dry":true,"instanceId":"i-0c1cbf2e7abdedf75","region":"eu-west-1","accountId":"123456789012","run":1,"settings":{}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		fk := &fake{parameters: settingsAt(`{}`), state: "running", dryErr: allowed}
		h, _ := newHandler(fk)
		out, err := h.Invoke(t.Context(), payload)
		if err == nil && !json.Valid(out) {
			t.Errorf("answered %q", out)
		}
		if err != nil {
			le, ok := err.(messages.InvokeResponse_Error) //nolint:errorlint // the assertion is the test
			if !ok || le.Type == string(fault.Internal) {
				t.Errorf("%T %v", err, err)
			}
		}
		if fk.reboots > 0 && !bytes.Contains(payload, []byte(`reboot`)) {
			t.Error("rebooted without being told to")
		}
		var inc incident.Incident
		if err == nil && json.Unmarshal(out, &inc) == nil && inc.Dry && fk.reboots+len(fk.sent) > 0 {
			t.Errorf("a dry incident made %d reboots and sent %d messages", fk.reboots, len(fk.sent))
		}
	})
}
