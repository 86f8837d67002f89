package test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/checks"
	"firstline/handler"
	"firstline/internal/definition"
	"firstline/internal/fault"
	"firstline/internal/guard"
	"firstline/internal/incident"
	"firstline/internal/toolchain"
)

var update = flag.Bool("update", false, "rewrite what is generated into the README")

// root is the project's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T) *definition.Definition {
	t.Helper()
	d, err := definition.Read(root(t))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// serviceErrors are the error names of Step Functions
// (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html)
// and of Lambda's Invoke
// (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors).
var serviceErrors = []string{
	"States.ALL",
	"Lambda.AWSLambdaException", "Lambda.AccessDeniedException", "Lambda.ClientExecutionTimeoutException",
	"Lambda.EC2ThrottledException", "Lambda.EC2UnexpectedException", "Lambda.ENILimitReachedException",
	"Lambda.ResourceConflictException", "Lambda.ResourceNotFoundException", "Lambda.ResourceNotReadyException",
	"Lambda.SdkClientException", "Lambda.ServiceException", "Lambda.SubnetIPAddressLimitReachedException",
	"Lambda.TooManyRequestsException",
}

func TestDefinitionNamesStepsAndErrorsThatExist(t *testing.T) {
	known := slices.Concat(serviceErrors, []string{string(fault.InvalidInput), string(fault.Denied), string(fault.Unavailable), string(fault.Internal)})
	used := map[string]bool{}
	for name, s := range read(t).States {
		if s.Type == "Task" {
			if !slices.Contains(handler.Steps(), s.Step()) {
				t.Errorf("%s: the function has no step %q", name, s.Step())
			}
			used[s.Step()] = true
		}
		var errors []string
		for _, r := range s.Retry {
			errors = append(errors, r.ErrorEquals...)
		}
		for _, c := range s.Catch {
			errors = append(errors, c.ErrorEquals...)
		}
		for _, e := range errors {
			if !slices.Contains(known, e) {
				t.Errorf("%s: nothing raises an error named %q", name, e)
			}
		}
	}
	// What the state machine does not call: the schedule and the operator's
	// command do.
	callers := map[string]string{
		"sweep":    filepath.Join("terraform", "modules", "trigger", "main.tf"),
		"baseline": filepath.Join("internal", "probe", "verify.go"),
	}
	for _, step := range handler.Steps() {
		if used[step] {
			continue
		}
		file, ok := callers[step]
		if !ok {
			t.Errorf("no state uses the step %q", step)
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), file)) //nolint:gosec // the project's own file
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), strconv.Quote(step)) {
			t.Errorf("%s does not name the step %q", file, step)
		}
	}
}

func TestDefinitionIsWhole(t *testing.T) {
	d := read(t)
	reached := d.Names()
	for name, s := range d.States {
		if !slices.Contains(reached, name) {
			t.Errorf("%s: no path leads to it", name)
		}
		for _, e := range d.Edges(name) {
			if _, ok := d.States[e.To]; !ok {
				t.Errorf("%s: leads to %q, which does not exist", name, e.To)
			}
		}
		if s.Type == "Choice" && s.Default == "" {
			t.Errorf("%s: a Choice without a default ends in an error that nothing can catch", name)
		}
	}
	for _, name := range reached {
		if _, ok := d.States[name]; !ok {
			t.Errorf("%q does not exist", name)
		}
	}
}

func TestEveryTaskIsBoundedRetriedAndCaught(t *testing.T) {
	for name, s := range read(t).States {
		if s.Type != "Task" {
			continue
		}
		if s.TimeoutSeconds == 0 {
			t.Errorf("%s: no time-out", name)
		}
		transient := false
		for _, r := range s.Retry {
			if r.MaxAttempts != nil && *r.MaxAttempts == 0 {
				continue
			}
			if r.MaxAttempts == nil || r.BackoffRate <= 1 || r.JitterStrategy != "FULL" || r.MaxDelaySeconds == 0 {
				t.Errorf("%s: retry of %v needs a bound, a back-off, jitter and a cap", name, r.ErrorEquals)
			}
			transient = transient || slices.Contains(r.ErrorEquals, string(fault.Unavailable))
		}
		if !transient {
			t.Errorf("%s: %s is not retried", name, fault.Unavailable)
		}
		if n := len(s.Catch); n == 0 || !slices.Equal(s.Catch[n-1].ErrorEquals, []string{"States.ALL"}) {
			t.Errorf("%s: it does not catch every error at last", name)
		}
	}
}

// An operator must never have to ask whether the automation asked EC2 twice. The
// one Task may be tried again, since the function finds its own reservation of
// the reboot then (handler/reboot.go); TestEveryPath shows that no path comes to
// it twice.
func TestOnlyOneTaskAsksForAReboot(t *testing.T) {
	d := read(t)
	var asking []string
	for name, s := range d.States {
		if s.Step() == "reboot" {
			asking = append(asking, name)
		}
	}
	if diff := cmp.Diff([]string{"Reboot instance"}, asking); diff != "" {
		t.Errorf("Tasks with the step reboot (-want +got):\n%s", diff)
	}
}

// Every Task is retried alike; a few are worth more patience.
func TestEveryTaskIsRetriedAlike(t *testing.T) {
	patience := map[string]definition.Retrier{
		"Check Route 53": {MaxAttempts: aws.Int(10), MaxDelaySeconds: 30}, // five requests a second for the whole account
		"Tell Slack":     {MaxAttempts: aws.Int(10), MaxDelaySeconds: 45},
		"Page":           {MaxAttempts: aws.Int(10), MaxDelaySeconds: 60},
	}
	d := read(t)
	for name, s := range d.States {
		if s.Type != "Task" {
			continue
		}
		want := slices.Clone(d.States[d.StartAt].Retry)
		for n, r := range want {
			if p, ok := patience[name]; ok && slices.Contains(r.ErrorEquals, string(fault.Unavailable)) {
				want[n].MaxAttempts, want[n].MaxDelaySeconds = p.MaxAttempts, p.MaxDelaySeconds
			}
		}
		if diff := cmp.Diff(want, s.Retry); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// besideWindow is what terraform/modules/settings/problems.tf adds to the longest boot window for
// the least time-out of an execution.
const besideWindow = 2 * time.Hour

// An execution's own time-out cannot be caught, so nothing else may last that
// long. The worst that is believed in: every Task meets transient errors until
// just before its retries end and then takes all of its time; the function has
// to wake up in its VPC once, and is throttled to the end once; and one Task is
// answered only after its time-out at every try.
func TestEverythingButTheWindowFitsTheExecution(t *testing.T) {
	d := read(t)
	backOff := func(name string, cause string) time.Duration {
		var sum float64
		for _, r := range d.States[name].Retry {
			if slices.Contains(r.ErrorEquals, cause) {
				for n := range *r.MaxAttempts {
					sum += math.Min(r.IntervalSeconds*math.Pow(r.BackoffRate, float64(n)), r.MaxDelaySeconds)
				}
			}
		}
		return time.Duration(sum * float64(time.Second))
	}
	total := backOff("Open incident", "Lambda.ResourceNotReadyException") + backOff("Open incident", "Lambda.TooManyRequestsException")
	var hanging time.Duration
	for _, name := range []string{
		"Open incident", "Check URL", "Check Route 53", "Check SSH", "Reboot instance",
		"Check URL", "Check Route 53", "Check SSH", "Tell Slack", "Page", "Tell Slack instead", "Close incident",
	} {
		s, ok := d.States[name]
		if !ok {
			t.Fatalf("no state %q", name)
		}
		timeout := time.Duration(s.TimeoutSeconds) * time.Second
		total += backOff(name, string(fault.Unavailable)) + timeout
		for _, r := range s.Retry {
			if slices.Contains(r.ErrorEquals, string(fault.Unavailable)) {
				hanging = max(hanging, time.Duration(*r.MaxAttempts)*timeout)
			}
		}
	}
	total += hanging
	t.Logf("every Task at its worst: %s of %s", total, besideWindow)
	if total > besideWindow {
		t.Errorf("every Task at its worst takes %s, terraform/modules/settings allows %s beside the boot window", total, besideWindow)
	}
}

// A history holds 25,000 events.
func TestHistoryHoldsTheLongestWindow(t *testing.T) {
	const quota = 25_000
	// Entered, exited, and for a Task scheduled, started and ended; retries
	// of one look are few, those of many looks end the incident.
	events := map[string]int{"Task": 5, "Choice": 2, "Wait": 2, "Pass": 2}
	d := read(t)
	look := 0
	for _, name := range []string{"Check URL", "URL passed?", "Check Route 53", "Route 53 passed?", "Check SSH", "SSH passed?", "A check failed", "Start counting again", "Wait for next look"} {
		s, ok := d.States[name]
		if !ok {
			t.Fatalf("no state %q", name)
		}
		look += events[s.Type]
	}
	if got := look * incident.MaxLooks; got > quota/2 {
		t.Errorf("%d looks of %d events make %d of %d events", incident.MaxLooks, look, got, quota)
	}
}

func TestPlaceholdersStandInsideQuotes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), definition.File))
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Error("the raw file is not JSON")
	}
	var names []string
	for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"function_arn", "partition"}, names); diff != "" {
		t.Errorf("placeholders (-want +got):\n%s", diff)
	}
}

// Whether an incident is dry must not get lost between two steps: every state
// hands on the whole of it. One state begins anew, with the event in it, whose
// source says the same.
func TestNoStateForgetsAnIncident(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), definition.File))
	if err != nil {
		t.Fatal(err)
	}
	var machine struct {
		States map[string]struct {
			Type                              string
			InputPath, OutputPath, ResultPath *string
			ResultSelector                    json.RawMessage
			Parameters                        struct {
				Payload map[string]any
				Event   string `json:"event.$"`
			}
			Catch []struct{ ResultPath, Next string }
		}
	}
	if err := json.Unmarshal(text, &machine); err != nil {
		t.Fatal(err)
	}
	const opens, begins = "Open incident", "No incident"
	for name, s := range machine.States {
		if s.InputPath != nil || len(s.ResultSelector) > 0 {
			t.Errorf("%s: InputPath and ResultSelector take something out of the incident", name)
		}
		switch s.Type {
		case "Task":
			if s.ResultPath != nil || aws.ToString(s.OutputPath) != "$.Payload" {
				t.Errorf("%s: its output is not the incident that the function returned", name)
			}
			if name != opens && s.Parameters.Payload["incident.$"] != "$" {
				t.Errorf("%s: the function does not get the whole incident", name)
			}
			for _, c := range s.Catch {
				if name == opens && c.Next == begins {
					continue
				}
				if path, ok := strings.CutPrefix(c.ResultPath, "$."); !ok || !strings.HasSuffix(strings.ToLower(path), "error") {
					t.Errorf("%s: what it catches goes to %q, not to a field for errors", name, c.ResultPath)
				}
			}
		case "Pass":
			if name == begins {
				if s.Parameters.Event != "$$.Execution.Input" {
					t.Errorf("%s: its event is %q", name, s.Parameters.Event)
				}
				continue
			}
			if path, ok := strings.CutPrefix(aws.ToString(s.ResultPath), "$."); !ok || path != "recovery" {
				t.Errorf("%s: it writes to %q", name, aws.ToString(s.ResultPath))
			}
		default:
			if s.OutputPath != nil || s.ResultPath != nil {
				t.Errorf("%s: a %s that changes the incident", name, s.Type)
			}
		}
	}
}

// The definition reads these paths; a path that leads nowhere ends an
// execution in an error that nothing can catch.
func TestPathsOfTheDefinitionExistInAnIncident(t *testing.T) {
	for _, source := range []string{incident.SourceAlarm, incident.SourceCanary} {
		t.Run(source, func(t *testing.T) { testPathsOfTheDefinition(t, source) })
	}
}

func testPathsOfTheDefinition(t *testing.T, source string) {
	// What the function itself makes of an alarm, and of a reboot.
	h := &handler.Handler{
		Region: "eu-west-1", Log: slog.New(slog.DiscardHandler),
		SSM:    func(context.Context) (handler.ParameterGetter, error) { return emptySettings{}, nil },
		EC2:    func(context.Context) (handler.Rebooter, error) { return running{}, nil },
		Guards: func(context.Context) (handler.Guards, error) { return letting{}, nil },
		URL:    failing{},

		ExecutionTimeout: 3 * time.Hour, Brake: &guard.Limits{InFlight: 1, PerHour: 1},
	}
	invoke := func(step string, rest map[string]any) json.RawMessage {
		t.Helper()
		rest["step"] = step
		payload, err := json.Marshal(rest)
		if err != nil {
			t.Fatal(err)
		}
		out, err := h.Invoke(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	event, err := os.ReadFile(filepath.Join(root(t), "handler", "testdata", "alarm.json"))
	if err != nil {
		t.Fatal(err)
	}
	event = bytes.Replace(event, []byte(incident.SourceAlarm), []byte(source), 1)
	// A reboot follows on fresh events only.
	event = regexp.MustCompile(`("time": *")[^"]*"`).ReplaceAll(event, []byte("${1}"+time.Now().UTC().Format(time.RFC3339)+`"`))
	opened := invoke("open", map[string]any{"event": json.RawMessage(event), "execution": incident.Execution{ID: "arn", Name: "n", StartedAt: time.Now()}})
	looked := invoke("url", map[string]any{"incident": opened})
	raw := invoke("reboot", map[string]any{"incident": looked})
	var tree map[string]any
	if (source == incident.SourceCanary) != bytes.Contains(raw, []byte(`"dry":true`)) {
		t.Errorf("an event of %s makes %s", source, raw)
	}
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	var compared, asked []string
	var fromChoices func([]definition.Choice)
	fromChoices = func(cs []definition.Choice) {
		for _, c := range cs {
			if c.IsPresent != nil {
				asked = append(asked, c.Variable)
			} else {
				compared = append(compared, c.Variable, c.TimestampGreaterThanEqualsPath)
			}
			fromChoices(c.And)
		}
	}
	for _, s := range read(t).States {
		compared = append(compared, s.SecondsPath)
		fromChoices(s.Choices)
		for _, c := range s.Catch {
			asked = append(asked, c.ResultPath)
		}
	}
	// What is only asked for is a field that an incident may have.
	whole := fullIncident(t)
	for _, in := range []struct {
		what  string
		tree  map[string]any
		paths []string
		least int
	}{
		{"the incident that the function returned", tree, compared, 5},
		{"an incident that has everything", whole, asked, 8},
	} {
		checked := map[string]bool{}
		for _, p := range in.paths {
			if !strings.HasPrefix(p, "$.") || checked[p] {
				continue
			}
			checked[p] = true
			if value, ok := lookUp(in.tree, p); !ok || value == nil {
				t.Errorf("%s does not exist in %s", p, in.what)
			}
		}
		if len(checked) < in.least {
			t.Errorf("the definition reads %d paths of %s: the test looks at the wrong fields", len(checked), in.what)
		}
	}
}

// fullIncident is an incident that has every field, as Step Functions sees it.
func fullIncident(t *testing.T) map[string]any {
	t.Helper()
	now, failed := time.Now(), &incident.Error{Error: "Denied"}
	raw, err := json.Marshal(incident.Incident{
		Alarm: &incident.Alarm{}, Settings: &incident.Settings{}, Reboot: &incident.Reboot{At: now, WindowClosesAt: now},
		Recovery: &incident.Recovery{Since: &now}, HandledBy: &incident.Execution{ID: "arn"}, Paused: &incident.Pause{Until: now},
		Refusal: &incident.Refusal{Guard: incident.GuardBrake}, Told: &incident.Told{Slack: &now, Page: &now},
		Error: failed, RebootError: failed, SlackError: failed, PageError: failed, CloseError: failed,
	})
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// emptySettings is an SSM whose parameters say nothing: defaults throughout.
type emptySettings struct{}

func (emptySettings) GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Value: aws.String("{}")}}, nil
}

// running is an EC2 on which every instance runs and reboots.
type running struct{}

func (running) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: []ec2types.Instance{
		{State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}},
	}}}}, nil
}

func (running) RebootInstances(_ context.Context, in *ec2.RebootInstancesInput, _ ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	if aws.ToBool(in.DryRun) {
		return nil, &smithy.GenericAPIError{Code: "DryRunOperation"}
	}
	return &ec2.RebootInstancesOutput{}, nil
}

func (running) DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error) {
	ok := &ec2types.InstanceStatusSummary{Status: ec2types.SummaryStatusOk}
	return &ec2.DescribeInstanceStatusOutput{InstanceStatuses: []ec2types.InstanceStatus{{SystemStatus: ok, InstanceStatus: ok}}}, nil
}

func (running) GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	return &ec2.GetConsoleOutputOutput{}, nil
}

// letting are guards that let everything pass. What is not here is not called.
type letting struct{ handler.Guards }

func (letting) Open(context.Context, *incident.Incident, time.Time, func(context.Context, incident.Execution) bool) (*incident.Execution, *incident.Pause, error) {
	return nil, nil, nil
}

func (letting) Look(context.Context, *incident.Incident) (*time.Time, *incident.Pause, error) {
	return nil, nil, nil
}

func (letting) KeepEvidence(context.Context, *incident.Incident, guard.Evidence) error { return nil }

func (letting) Reserve(context.Context, *incident.Incident, checks.Finding, guard.Limits) (*time.Time, *incident.Refusal, error) {
	return nil, nil, nil
}

// failing is a check that never passes.
type failing struct{}

func (failing) Check(context.Context, string, checks.URLSettings) (checks.Finding, error) {
	return checks.Finding{Check: checks.NameURL, At: time.Now()}, nil
}

// The dashboard draws what the function counts.
func TestDashboardKnowsGuardsAndChecks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "terraform", "modules", "monitor", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string][]string{
		"checks": {checks.NameURL, checks.NameRoute53, checks.NameSSH},
		"guards": {
			incident.GuardPause, incident.GuardFreshness, incident.GuardState, incident.GuardBaseline,
			incident.GuardCoolDown, incident.GuardBudget, incident.GuardBrake, incident.GuardLease,
		},
	} {
		m := regexp.MustCompile(`(?m)^  ` + list + ` += (\[.*\])$`).FindSubmatch(text)
		if m == nil {
			t.Errorf("modules/monitor has no list %s", list)
			continue
		}
		var got []string
		if err := json.Unmarshal(m[1], &got); err != nil {
			t.Errorf("%s: %v", list, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", list, diff)
		}
	}
}

func TestREADMEDrawsTheDefinition(t *testing.T) {
	path := filepath.Join(root(t), "README.md")
	text, err := os.ReadFile(path) //nolint:gosec // the project's own file
	if err != nil {
		t.Fatal(err)
	}
	const open, end = "```mermaid\n", "```"
	head, rest, ok := strings.Cut(string(text), open)
	if !ok {
		t.Fatal("README.md has no Mermaid block")
	}
	drawn, tail, _ := strings.Cut(rest, end)
	want := read(t).Mermaid()
	if *update {
		if err := os.WriteFile(path, []byte(head+open+want+end+tail), 0o644); err != nil { //nolint:gosec // the README is public
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, drawn); diff != "" {
		t.Errorf("README.md draws another machine; run `go test ./test -run README -update` (-want +got):\n%s", diff)
	}
}
