package handler

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
	"firstline/notify"
	"firstline/test/dynamo"
)

const (
	one          = "i-0c1cbf2e7abdedf75"
	two          = "i-0d2dcf3e8abdedf86"
	executionARN = "arn:aws:states:eu-west-1:123456789012:execution:firstline:"
)

// world is a region with in-memory peers.
type world struct {
	t   *testing.T
	h   *Handler
	db  *dynamo.DB
	log *bytes.Buffer

	mu sync.Mutex
	// settings by instance, state and tags of all instances, findings by check.
	settings map[string]incident.Settings
	state    ec2types.InstanceStateName
	tags     map[string]string
	findings map[string]incident.Finding
	checked  map[string]int
	// inAlarm are the instances whose alarm is in ALARM.
	inAlarm []string
	// alarmsErr is CloudWatch's answer.
	alarmsErr error
	// executions are the statuses of executions by ARN; started are those started.
	executions map[string]sfntypes.ExecutionStatus
	started    map[string]string
	// rebooted counts requests to EC2, dry ones apart.
	rebooted, dryRuns int
	// rebootErr is EC2's answer, dryRunErr that to a dry one.
	rebootErr, dryRunErr error
	answers              bool
	// instanceType is EC2's, creditMode and credits what a burstable one has; admitted
	// are the rules of its security group.
	instanceType ec2types.InstanceType
	creditMode   string
	credits      float64
	admitted     []ec2types.IpPermission

	pagers []notify.Pager
	pager  *fakePager
	slack  *fakeSlack
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, db: dynamo.New("firstline"), log: &bytes.Buffer{},
		settings: map[string]incident.Settings{}, state: ec2types.InstanceStateNameRunning, tags: map[string]string{},
		dryRunErr: &smithy.GenericAPIError{Code: "DryRunOperation"}, findings: map[string]incident.Finding{}, checked: map[string]int{},
		executions: map[string]sfntypes.ExecutionStatus{}, started: map[string]string{}, answers: true,
		pager:    &fakePager{name: "opsgenie", can: notify.Capabilities{Confirms: true, Readable: true, Notes: true, Resolvable: true, Deduplicates: true}, open: map[string]bool{}},
		slack:    &fakeSlack{},
		admitted: []ec2types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}},
	}
	s := incident.DefaultSettings()
	w.settings[one], w.settings[two] = s, s
	w.healthy()
	w.pagers = []notify.Pager{w.pager}
	table := &store.Table{Name: "firstline", Client: func(context.Context) (store.API, error) { return w.db, nil }, Random: func(d time.Duration) time.Duration { return d / 2 }}
	w.h = &Handler{
		Deployment: "firstline", Region: "eu-west-1", SettingsPath: "/firstline/instances/", Breaker: incident.Breaker{InFlight: 2, PerHour: 6},
		StateMachineARN: "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline", AlarmPrefix: "firstline-alarm-", SlackPages: true,
		Log:           slog.New(slog.NewTextHandler(w.log, nil)),
		SSM:           func() ParameterGetter { return fakeSSM{w} },
		EC2:           func() EC2 { return fakeEC2{w} },
		CloudWatch:    func() CloudWatch { return fakeAlarms{w} },
		StepFunctions: func() Executions { return fakeExecutions{w} },
		Table:         table,
		Answers:       func(context.Context, string, *incident.Settings) bool { return w.answers },
		Connected:     func(context.Context) bool { return true },
		Slack:         w.slack,
		Pagers:        func() ([]notify.Pager, error) { return w.pagers, nil },
		Checks:        map[string]Check{},
	}
	for _, name := range incident.Checks {
		w.h.Checks[name] = func(context.Context, *incident.Incident) incident.Finding {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.checked[name]++
			f := w.findings[name]
			f.At = incident.At(time.Now())
			return f
		}
	}
	return w
}

func (w *world) healthy() {
	for _, c := range []string{incident.CheckURL, incident.CheckSSH} {
		w.findings[c] = incident.Finding{Outcome: incident.Passed, Reason: "200 OK", Answered: true}
	}
	w.findings[incident.CheckRoute53] = incident.Finding{Outcome: incident.Skipped, Reason: "off"}
}

// down: URL is accepted and silent, SSH answers, so that a reboot is right.
func (w *world) down() {
	w.findings[incident.CheckURL] = incident.Finding{Outcome: incident.Failed, Reason: "502 Bad Gateway", Answered: true}
}

// attention: a person has to act.
func (w *world) attention() {
	w.findings[incident.CheckURL] = incident.Finding{Outcome: incident.Unknown, Kind: incident.Attention, Reason: "404 Not Found", Answered: true}
}

// learned has every check pass once, which makes the baseline.
func (w *world) learned() *world {
	w.t.Helper()
	w.healthy()
	if end := w.run("learn", w.event(incident.SourceSchedule, one, false)).end; end != "All good" {
		w.t.Fatalf("learning ended as %s", end)
	}
	return w
}

// event is one of ours.
func (w *world) event(source, id string, alarm bool) json.RawMessage {
	l := incident.Look{Source: source, DetailType: incident.DetailTypeLook, Account: "123456789012", Region: "eu-west-1", Time: time.Now().UTC(), Detail: incident.LookDetail{InstanceID: id}}
	if alarm {
		l.Detail.Alarm = &incident.Alarm{Name: "firstline-alarm-" + id + "-cpu"}
	}
	raw, err := json.Marshal(l)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func execution(name string) incident.Execution {
	return incident.Execution{ID: executionARN + name, Name: name, StartedAt: time.Now().UTC()}
}

// invoke runs a step as Lambda would.
func (w *world) invoke(payload any) ([]byte, error) {
	w.t.Helper()
	raw, err := json.Marshal(payload)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	return w.h.Invoke(ctx, raw)
}

// step runs a step of an incident.
func (w *world) step(name string, inc *incident.Incident) (*incident.Incident, error) {
	w.t.Helper()
	return w.decode(w.invoke(map[string]any{"step": name, "incident": inc}))
}

func (w *world) decode(raw []byte, err error) (*incident.Incident, error) {
	w.t.Helper()
	if err != nil {
		return nil, err
	}
	inc := new(incident.Incident)
	if err := json.Unmarshal(raw, inc); err != nil {
		w.t.Fatal(err)
	}
	return inc, nil
}

func (w *world) open(x incident.Execution, event json.RawMessage) (*incident.Incident, error) {
	w.t.Helper()
	return w.decode(w.invoke(map[string]any{"step": "open", "event": event, "execution": x}))
}

// must returns what must not fail.
func (w *world) must(inc *incident.Incident, err error) *incident.Incident {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return inc
}

// look runs the checks and decide.
func (w *world) look(inc *incident.Incident) *incident.Incident {
	w.t.Helper()
	for _, c := range incident.Checks {
		inc = w.must(w.step(c, inc))
	}
	return w.must(w.step("decide", inc))
}

// caught is what Step Functions makes of an error.
func caught(err error) incident.Caught {
	e, _ := errors.AsType[messages.InvokeResponse_Error](err)
	cause, _ := json.Marshal(map[string]string{"errorMessage": e.Message, "errorType": e.Type})
	return incident.Caught{Error: e.Type, Cause: string(cause)}
}

// ran is how an execution went.
type ran struct {
	end   string
	steps []string
	inc   *incident.Incident
}

// told is how an execution ends that had to say something.
func (r ran) told() string {
	_, failed := r.inc.Caught["page"]
	switch {
	case !r.inc.Told:
		return "Nobody was told"
	case failed:
		return "Told another way"
	}
	return "Told"
}

// run walks the state machine, as its definition does, without retries.
func (w *world) run(name string, event json.RawMessage) ran {
	x := execution(name)
	w.executions[x.ID] = sfntypes.ExecutionStatusRunning
	defer func() { w.executions[x.ID] = sfntypes.ExecutionStatusSucceeded }()
	r := ran{}
	try := func(step string) bool {
		r.steps = append(r.steps, step)
		inc, err := w.step(step, r.inc)
		if err != nil {
			r.inc.Catch(step, caught(err))
			return false
		}
		r.inc = inc
		return true
	}
	inc, err := w.open(x, event)
	next := ""
	if err != nil {
		r.inc = &incident.Incident{Event: event, Execution: x}
		r.inc.Catch("open", caught(err))
		next = "page"
	} else {
		r.inc, next = inc, inc.Next
	}
	for range 300 {
		switch next {
		case "look":
			for _, c := range incident.Checks {
				try(c)
			}
			next = "page"
			if try("decide") {
				next = r.inc.Next
			}
			continue
		case "reboot":
			try("reboot")
			next = "wait"
			continue
		case "wait":
			time.Sleep(time.Duration(r.inc.WaitSeconds) * time.Second)
			next = "look"
			continue
		case "done", "handed_over", "already_handled":
			r.end = map[string]string{"done": "All good", "handed_over": "Handed over", "already_handled": "Already handled"}[next]
			return r
		case "resolve":
			try("resolve")
		case "slack":
		default:
			if !try("page") {
				try("page")
			}
		}
		try("slack")
		try("close")
		r.end = r.told()
		return r
	}
	w.t.Fatal("the execution does not end")
	return r
}

func (w *world) stored(id string) policy.State {
	w.t.Helper()
	e, err := w.h.Table.Load(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return e.State
}

// change changes what is stored.
func (w *world) change(id string, fn func(*policy.State)) {
	w.t.Helper()
	if _, err := w.h.Table.Update(w.t.Context(), id, func(e *store.Entry) error { fn(&e.State); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// losing has the table carry out its next write and lose the answer.
func (w *world) losing(op string, times int) {
	w.db.After = func(_ context.Context, c dynamo.Call) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if c.Op == op && times > 0 {
			times--
			return dynamo.Broken()
		}
		return nil
	}
}

// dead has the table answer nothing.
func (w *world) dead() {
	w.db.Before = func(context.Context, dynamo.Call) error { return dynamo.Broken() }
}

func (w *world) alive() { w.db.Before, w.db.After = nil, nil }

func kindOf(err error) string {
	e, _ := errors.AsType[messages.InvokeResponse_Error](err)
	return e.Type
}

func messageOf(err error) string {
	e, _ := errors.AsType[messages.InvokeResponse_Error](err)
	return e.Message
}

type fakeSSM struct{ w *world }

func (f fakeSSM) GetParameter(_ context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	s, ok := f.w.settings[strings.TrimPrefix(*in.Name, "/firstline/instances/")]
	if !ok {
		return nil, &ssmtypes.ParameterNotFound{}
	}
	raw, err := json.Marshal(s)
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Name: in.Name, Value: aws.String(string(raw))}}, err
}

func (f fakeSSM) GetParametersByPath(_ context.Context, in *ssm.GetParametersByPathInput, _ ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error) {
	out := &ssm.GetParametersByPathOutput{}
	for id, s := range f.w.settings {
		raw, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		out.Parameters = append(out.Parameters, ssmtypes.Parameter{Name: aws.String(*in.Path + "/" + id), Value: aws.String(string(raw))})
	}
	return out, nil
}

type fakeEC2 struct{ w *world }

func (f fakeEC2) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	ids := in.InstanceIds
	if len(ids) == 0 {
		ids = []string{one}
		if len(f.w.tags) == 0 {
			ids = nil
		}
	}
	var found []ec2types.Instance
	for _, id := range ids {
		i := ec2types.Instance{
			InstanceId: &id, State: &ec2types.InstanceState{Name: f.w.state}, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("web")}},
			InstanceType: f.w.instanceType, PublicIpAddress: aws.String("203.0.113.7"), SecurityGroups: []ec2types.GroupIdentifier{{GroupId: aws.String("sg-1")}},
		}
		for k, v := range f.w.tags {
			i.Tags = append(i.Tags, ec2types.Tag{Key: &k, Value: &v})
		}
		found = append(found, i)
	}
	return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: found}}}, nil
}

func (f fakeEC2) DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error) {
	ok := &ec2types.InstanceStatusSummary{Status: ec2types.SummaryStatusOk}
	return &ec2.DescribeInstanceStatusOutput{InstanceStatuses: []ec2types.InstanceStatus{{SystemStatus: ok, InstanceStatus: ok}}}, nil
}

func (f fakeEC2) DescribeSecurityGroups(_ context.Context, in *ec2.DescribeSecurityGroupsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return &ec2.DescribeSecurityGroupsOutput{SecurityGroups: []ec2types.SecurityGroup{{GroupId: &in.GroupIds[0], IpPermissions: f.w.admitted}}}, nil
}

func (f fakeEC2) DescribeInstanceCreditSpecifications(context.Context, *ec2.DescribeInstanceCreditSpecificationsInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceCreditSpecificationsOutput, error) {
	return &ec2.DescribeInstanceCreditSpecificationsOutput{InstanceCreditSpecifications: []ec2types.InstanceCreditSpecification{{CpuCredits: aws.String(f.w.creditMode)}}}, nil
}

func (f fakeEC2) GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	return &ec2.GetConsoleOutputOutput{Output: aws.String(base64.StdEncoding.EncodeToString([]byte("kernel panic\nDB_PASS: hunter2hunter2"))), Timestamp: aws.Time(time.Now())}, nil
}

func (f fakeEC2) RebootInstances(_ context.Context, in *ec2.RebootInstancesInput, _ ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if aws.ToBool(in.DryRun) {
		f.w.dryRuns++
		return nil, f.w.dryRunErr
	}
	f.w.rebooted++
	return &ec2.RebootInstancesOutput{}, f.w.rebootErr
}

type fakeAlarms struct{ w *world }

func (f fakeAlarms) GetMetricData(context.Context, *cloudwatch.GetMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	return &cloudwatch.GetMetricDataOutput{MetricDataResults: []cwtypes.MetricDataResult{{Values: []float64{f.w.credits}}}}, nil
}

func (f fakeAlarms) DescribeAlarms(_ context.Context, in *cloudwatch.DescribeAlarmsInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	if f.w.alarmsErr != nil {
		return nil, f.w.alarmsErr
	}
	out := &cloudwatch.DescribeAlarmsOutput{}
	for _, id := range f.w.inAlarm {
		name := "firstline-alarm-" + id + "-cpu"
		if slices.Contains(in.AlarmNames, name) || in.AlarmNamePrefix != nil && strings.HasPrefix(name, *in.AlarmNamePrefix) {
			out.MetricAlarms = append(out.MetricAlarms, cwtypes.MetricAlarm{
				AlarmName: &name, StateValue: cwtypes.StateValueAlarm, MetricName: aws.String("CPUUtilization"),
				Dimensions: []cwtypes.Dimension{{Name: aws.String("InstanceId"), Value: aws.String(id)}},
			})
		}
	}
	return out, nil
}

type fakeExecutions struct{ w *world }

func (f fakeExecutions) DescribeExecution(_ context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	status, ok := f.w.executions[*in.ExecutionArn]
	if !ok {
		return nil, &sfntypes.ExecutionDoesNotExist{}
	}
	return &sfn.DescribeExecutionOutput{Status: status}, nil
}

func (f fakeExecutions) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if _, ok := f.w.started[*in.Name]; ok {
		return nil, &sfntypes.ExecutionAlreadyExists{}
	}
	f.w.started[*in.Name] = *in.Input
	return &sfn.StartExecutionOutput{}, nil
}

// fakePager is a pager that keeps alerts by alias. Steps ask it side by side.
type fakePager struct {
	mu    sync.Mutex
	name  string
	can   notify.Capabilities
	err   error
	lost  int // answers that are lost
	open  map[string]bool
	woken []string // aliases that woke somebody
	notes []notify.Message
}

func (p *fakePager) Name() string                      { return p.name }
func (p *fakePager) Capabilities() notify.Capabilities { return p.can }

func (p *fakePager) Page(_ context.Context, m notify.Message) (notify.Delivery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return notify.Delivery{}, p.err
	}
	if !p.can.Deduplicates || !p.open[m.Alert.Alias] {
		p.woken = append(p.woken, m.Alert.Alias)
	}
	p.open[m.Alert.Alias] = true
	if p.lost > 0 {
		p.lost--
		return notify.Delivery{}, context.DeadlineExceeded
	}
	return notify.Delivery{Confirmed: true}, nil
}

func (p *fakePager) Note(_ context.Context, m notify.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return p.err
	case !p.open[m.Alert.Alias]:
		return fmt.Errorf("note: %w", notify.ErrNoAlert)
	}
	p.notes = append(p.notes, m)
	return nil
}

func (p *fakePager) Resolve(_ context.Context, m notify.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return p.err
	case !p.open[m.Alert.Alias]:
		return fmt.Errorf("resolve: %w", notify.ErrNoAlert)
	}
	delete(p.open, m.Alert.Alias)
	return nil
}

func (p *fakePager) Open(_ context.Context, alias string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[alias], p.err
}

func (p *fakePager) Rehearse(_ context.Context, m notify.Message) (string, error) {
	return "page " + m.Incident.Decision.Situation, p.err
}

func (p *fakePager) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{Confirmed: true, Detail: "delivered"}, p.err
}

type fakeSlack struct {
	mu     sync.Mutex
	err    error
	posted []notify.Message
}

func (s *fakeSlack) Post(_ context.Context, m notify.Message) (incident.Thread, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return incident.Thread{}, s.err
	}
	s.posted = append(s.posted, m)
	if m.Thread != nil && !m.Mention {
		return *m.Thread, nil
	}
	return incident.Thread{Channel: "C1", TS: fmt.Sprint(len(s.posted))}, nil
}

func (s *fakeSlack) Rehearse(_ context.Context, m notify.Message) (string, error) {
	return "slack " + m.Incident.Decision.Situation, s.err
}

func (s *fakeSlack) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{}, s.err
}

// fakeHeartbeat keeps what it was told.
type fakeHeartbeat struct {
	err   error
	pings []error
}

func (b *fakeHeartbeat) Ping(_ context.Context, failure error) error {
	b.pings = append(b.pings, failure)
	return b.err
}

func (b *fakeHeartbeat) Test(ctx context.Context, _ notify.Message) (notify.Delivery, error) {
	return notify.Delivery{Confirmed: true, Detail: "pinged"}, b.Ping(ctx, nil)
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
