// Package handler is the Lambda function: it decodes a payload, runs the step
// that it names, and gives an error one of four names. What follows a step is
// the state machine's to decide.
package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// reserve is kept of the function's time, so that a step that runs out of it
// can still say so.
const reserve = time.Second

// Handler runs steps. Its funcs make a client on first use, so that a step
// pays at cold start only for what it needs; cmd/responder fills them in.
type Handler struct {
	// Deployment is the deployment's name, for messages.
	Deployment string
	// Region is the region that the function runs in.
	Region string
	// SettingsPath is the SSM path under which each instance has its settings.
	SettingsPath string
	// ExecutionTimeout is when the state machine cuts an execution off; 0 means
	// that the environment does not say.
	ExecutionTimeout time.Duration
	// Brake bounds the region's reboots; nil means that the environment does not
	// say.
	Brake *guard.Limits
	// StateMachineARN and AlarmPrefix are what a sweep starts, and for which alarms.
	StateMachineARN, AlarmPrefix string
	// SlackPages says whether a page is told in Slack too; nil means that the
	// environment does not say.
	SlackPages *bool
	// AllClear is how it looks after a page whether the instance is well again; nil
	// means that the environment does not say.
	AllClear *AllClear
	Log      *slog.Logger
	// Metrics may be nil: then nothing is counted.
	Metrics *Metrics

	SSM           func(context.Context) (ParameterGetter, error)
	EC2           func(context.Context) (Rebooter, error)
	CloudWatch    func(context.Context) (AlarmDescriber, error)
	StepFunctions func(context.Context) (Executioner, error)
	Guards        func(context.Context) (Guards, error)
	URL           URLCheck
	Route53       Route53Check
	SSH           SSHCheck
	Slack         Slack
	// Pagers returns the ways to wake somebody, of which there is at least one.
	Pagers func() (*notify.Pagers, error)
}

// ParameterGetter is the one call of SSM's client that reads a parameter.
type ParameterGetter interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
}

// Rebooter is what a reboot needs of EC2's client.
type Rebooter interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error)
	GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error)
	RebootInstances(context.Context, *ec2.RebootInstancesInput, ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error)
}

// AlarmDescriber is the one call of CloudWatch's client that reads alarms.
type AlarmDescriber interface {
	DescribeAlarms(context.Context, *cloudwatch.DescribeAlarmsInput, ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error)
}

// Executioner is what starts an execution with Step Functions' client, and tells
// whether one is over.
type Executioner interface {
	DescribeExecution(context.Context, *sfn.DescribeExecutionInput, ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error)
	StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
}

// Guards is what stands between a failed check and a reboot, and remembers what
// was done; see guard.Table.
type Guards interface {
	Open(ctx context.Context, inc *incident.Incident, until time.Time, ended func(context.Context, incident.Execution) bool) (handledBy *incident.Execution, paused *incident.Pause, err error)
	Look(ctx context.Context, inc *incident.Incident) (own *time.Time, paused *incident.Pause, err error)
	Reserve(ctx context.Context, inc *incident.Incident, failed checks.Finding, l guard.Limits) (own *time.Time, refusal *incident.Refusal, err error)
	Cancel(ctx context.Context, inc *incident.Incident) error
	Learn(ctx context.Context, inc *incident.Incident) error
	Paged(ctx context.Context, inc *incident.Incident, alias, pager string) error
	ClaimBrakePage(ctx context.Context, inc *incident.Incident) (first bool, err error)
	Close(ctx context.Context, inc *incident.Incident, end string) error
	KeepEvidence(ctx context.Context, inc *incident.Incident, e guard.Evidence) error
	Standing(ctx context.Context, instanceIDs []string) (map[string]guard.State, *incident.Pause, error)
	ClaimAlert(ctx context.Context, inc *incident.Incident, outcome string) (guard.Alert, guard.Claim, error)
	ReclaimAlert(ctx context.Context, inc *incident.Incident, outcome string, gone guard.Alert, how string) (guard.Alert, guard.Claim, error)
	AlertSent(ctx context.Context, inc *incident.Incident, a guard.Alert, pager string) error
	AlertThread(ctx context.Context, inc *incident.Incident, thread incident.Thread) error
	AlertOf(ctx context.Context, instanceID string) (*guard.Alert, error)
	WatchAlert(ctx context.Context, instanceID, execution string, until time.Time) (*guard.Alert, error)
	ClearAlert(ctx context.Context, instanceID, execution string, seen guard.Alert, how string) (cleared bool, err error)
}

// URLCheck looks at an instance's web server; see checks.URL.
type URLCheck interface {
	Check(ctx context.Context, instanceID string, s checks.URLSettings) (checks.Finding, error)
}

// Route53Check looks at an instance's health check; see checks.Route53.
type Route53Check interface {
	Check(ctx context.Context, s checks.Route53Settings, since time.Time) (checks.Finding, error)
}

// SSHCheck looks at an instance's SSH server; see checks.SSH.
type SSHCheck interface {
	Check(ctx context.Context, instanceID string, s checks.SSHSettings) (checks.Finding, error)
}

// Slack tells people who are awake; see notify.Slack.
type Slack interface {
	Post(ctx context.Context, m notify.Message) (incident.Thread, error)
	Update(ctx context.Context, m notify.Message, thread incident.Thread) error
	Rehearse(ctx context.Context, m notify.Message) (text string, err error)
	Test(ctx context.Context, m notify.Message) (notify.Delivery, error)
}

// maxMessage bounds an error's message, in bytes: Step Functions keeps it in
// the incident.
const maxMessage = 2000

// request is the payload of an invocation.
type request struct {
	Step string `json:"step"`
	// Incident is the state machine's state, for every step but open, find-alert,
	// sweep and notify-test.
	Incident json.RawMessage `json:"incident,omitempty"`
	// Event and Execution are for open, and for find-alert, whose event is the
	// execution's whole input.
	Event     json.RawMessage     `json:"event,omitempty"`
	Execution *incident.Execution `json:"execution,omitempty"`
}

// step runs one step and returns its answer: the incident as it is afterwards,
// but for a sweep and a test of the channels.
type step func(context.Context, *Handler, request) (answer any, err error)

// steps are the steps that a payload may name. The state machines name all of them
// but three: baseline and notify-test are for the operator's command, and sweep for
// the schedule.
var steps = map[string]step{
	"open":             open,
	checks.NameURL:     onIncident(checkURL),
	checks.NameRoute53: onIncident(checkRoute53),
	checks.NameSSH:     onIncident(checkSSH),
	"reboot":           onIncident(reboot),
	"slack":            onAnything(tellSlack),
	"opsgenie":         onAnything(tellPager),
	"close":            onAnything(closeIncident),
	"baseline":         onIncident(baseline),
	"sweep":            sweep,
	"find-alert":       findAlert,
	"look-alert":       onIncident(lookAlert),
	"all-clear":        onIncident(giveAllClear),
	"notify-test":      notifyTest,
}

// Steps returns the names of all steps, sorted.
func Steps() []string { return slices.Sorted(maps.Keys(steps)) }

// Invoke runs the step that the payload names. It is lambda.Handler's method.
// Every error is a messages.InvokeResponse_Error whose type is the name of a
// fault.Kind: aws-lambda-go passes a chosen name on only in that form.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	start := time.Now()
	if rehearses(payload) {
		dry := *h
		dry.Log = h.Log.With(slog.Bool("dry", true))
		h = &dry
	}
	name, answer, err := h.run(ctx, payload)
	var out []byte
	if err == nil {
		out, err = json.Marshal(answer)
	}
	h.log(ctx, name, answer, time.Since(start), err)
	if err != nil {
		return nil, messages.InvokeResponse_Error{Type: string(fault.KindOf(err)), Message: incident.Clip(words(err), maxMessage)}
	}
	return out, nil
}

// rehearses reports whether a payload is of a dry incident, as far as the log is
// concerned: it has to be known before anything can fail.
func rehearses(payload []byte) bool {
	var p struct {
		Event    json.RawMessage `json:"event"`
		Incident struct {
			Dry   bool            `json:"dry"`
			Event json.RawMessage `json:"event"`
		} `json:"incident"`
	}
	// What does not decode stays empty.
	_ = json.Unmarshal(payload, &p)
	return p.Incident.Dry || incident.SourceOf(p.Event) == incident.SourceCanary || incident.SourceOf(p.Incident.Event) == incident.SourceCanary
}

// run decodes the payload and runs its step within the function's time.
func (h *Handler) run(ctx context.Context, payload []byte) (name string, answer any, err error) {
	defer func() {
		if r := recover(); r != nil {
			h.Log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("step", name), slog.String("stack", string(debug.Stack())))
			answer, err = nil, fault.New(fault.Internal, name, "panic: %v", r)
		}
	}()
	var req request
	if err := incident.DecodeStrict(payload, &req); err != nil {
		return "", nil, fault.New(fault.InvalidInput, "decode payload", "%w", err)
	}
	run, ok := steps[req.Step]
	if !ok {
		return req.Step, nil, fault.New(fault.InvalidInput, "decode payload", "step: %q is unknown; use one of %s", req.Step, strings.Join(Steps(), ", "))
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	name = req.Step
	answer, err = run(ctx, h, req)
	return name, answer, err
}

// onIncident makes a step of a func that works on a valid incident.
func onIncident(do func(context.Context, *Handler, *incident.Incident) error) step {
	return func(ctx context.Context, h *Handler, req request) (any, error) {
		if err := only(req, "incident"); err != nil {
			return nil, err
		}
		inc := new(incident.Incident)
		if err := json.Unmarshal(req.Incident, inc); err != nil {
			return nil, fault.New(fault.InvalidInput, "decode incident", "%w", err)
		}
		if err := inc.Validate(); err != nil {
			return nil, fault.New(fault.InvalidInput, "decode incident", "%w", err)
		}
		if inc.Region != h.Region {
			return nil, fault.New(fault.InvalidInput, "decode incident", "incident.region: it is of %s, this function runs in %s", inc.Region, h.Region)
		}
		return inc, do(ctx, h, inc)
	}
}

// onAnything makes a step that works on an incident however little is known of
// it: a message that nobody gets is worse than an ugly one, and so is a lease that
// nobody ends.
func onAnything(do func(context.Context, *Handler, *incident.Incident) error) step {
	return func(ctx context.Context, h *Handler, req request) (any, error) {
		if err := only(req, "incident"); err != nil {
			return nil, err
		}
		inc := new(incident.Incident)
		if err := json.Unmarshal(req.Incident, inc); err != nil {
			inc = incident.Salvage(req.Incident)
			if inc.Error == nil {
				inc.Error = &incident.Error{Error: string(fault.InvalidInput), Cause: fmt.Sprintf("decode incident: %v", err)}
			}
		}
		if inc.InstanceID == "" && incident.SourceOf(inc.Event) == incident.SourceCanary {
			// The step open, which says so otherwise, has failed.
			inc.Dry = true
		}
		return inc, do(ctx, h, inc)
	}
}

// only refuses a payload whose fields are not those of its step.
func only(req request, want ...string) error {
	for _, f := range []struct {
		name  string
		given bool
	}{{"incident", req.Incident != nil}, {"event", req.Event != nil}, {"execution", req.Execution != nil}} {
		wanted := slices.Contains(want, f.name)
		if wanted && !f.given {
			return fault.New(fault.InvalidInput, "decode payload", "%s: missing; the step %s needs it", f.name, req.Step)
		}
		if !wanted && f.given {
			return fault.New(fault.InvalidInput, "decode payload", "%s: the step %s takes none", f.name, req.Step)
		}
	}
	return nil
}

// known is the incident as the table of guards knows it. One that could not be
// opened is read from its event, since open may have failed after it took the
// lease.
func (h *Handler) known(inc *incident.Incident) *incident.Incident {
	if inc.InstanceID != "" || inc.Event == nil {
		return inc
	}
	opened, err := fromEvent(inc.Event, h.Region, rings)
	if err != nil {
		return inc // then open took no lease
	}
	k := *inc
	k.InstanceID, k.Region, k.AccountID = opened.InstanceID, opened.Region, opened.AccountID
	k.Alarm, k.EventAt = opened.Alarm, opened.EventAt
	return &k
}

// kinded gives an error a kind, unless it has one.
func kinded(op string, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok || err == nil {
		return err
	}
	return fault.AWS(op, err)
}

// log writes one line a step.
func (h *Handler) log(ctx context.Context, name string, answer any, elapsed time.Duration, err error) {
	attrs := []slog.Attr{slog.String("step", name), slog.Int64("elapsedMs", elapsed.Milliseconds())}
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("requestId", lc.AwsRequestID))
	}
	switch a := answer.(type) {
	case *swept:
		attrs = append(attrs, slog.Any("swept", a))
	case *tested:
		attrs = append(attrs, slog.Any("tested", a))
	case *incident.Incident:
		attrs = append(attrs, aboutIncident(name, a)...)
	}
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelError
		attrs = append(attrs, problem(err), slog.String("kind", string(fault.KindOf(err))))
	}
	h.Log.LogAttrs(ctx, level, "step", attrs...)
}

// aboutIncident is what the log line of a step says about its incident.
func aboutIncident(step string, inc *incident.Incident) []slog.Attr {
	attrs := []slog.Attr{slog.String("instance", inc.InstanceID), slog.String("execution", inc.Execution.Name), slog.Int("run", inc.Run), slog.Bool("passed", inc.Passed)}
	if n := len(inc.Findings); n > 0 && inc.Findings[n-1].Check == step {
		f := inc.Findings[n-1]
		attrs = append(attrs, slog.Int("attempts", f.Attempts), slog.String("reason", f.Reason))
	}
	if inc.HandledBy != nil {
		attrs = append(attrs, slog.String("handledBy", inc.HandledBy.Name))
	}
	if inc.Watch != nil && inc.Watch.Ended != "" {
		attrs = append(attrs, slog.String("watchEnded", inc.Watch.Ended))
	}
	if inc.Refusal != nil {
		attrs = append(attrs, slog.String("guard", inc.Refusal.Guard), slog.String("refused", inc.Refusal.Reason))
	}
	if inc.Paused != nil {
		attrs = append(attrs, slog.String("pausedUntil", inc.Paused.Until.UTC().Format(time.RFC3339)))
	}
	return attrs
}
