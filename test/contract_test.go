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

	"firstline/internal/definition"
	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/handler"
	"firstline/internal/old/incident"
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

// read reads the definition of the state machine that handles an incident.
func read(t *testing.T) *definition.Definition {
	t.Helper()
	return readFile(t, definition.File)
}

func readFile(t *testing.T, file string) *definition.Definition {
	t.Helper()
	d, err := definition.Read(root(t), file)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// eachMachine runs a test of each definition.
func eachMachine(t *testing.T, test func(t *testing.T, file string)) {
	for _, file := range []string{definition.File, definition.AllClearFile} {
		t.Run(filepath.Base(file), func(t *testing.T) { test(t, file) })
	}
}

// watching is the only Task that calls no step of the function: it starts the
// other state machine.
const watching = "Watch for recovery"

// serviceErrors are the error names of Step Functions
// (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html)
// and of Lambda's Invoke
// (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors).
var serviceErrors = []string{
	"States.ALL",
	// https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html#API_StartExecution_Errors
	"StepFunctions.ExecutionAlreadyExistsException",
	"Lambda.AWSLambdaException", "Lambda.AccessDeniedException", "Lambda.ClientExecutionTimeoutException",
	"Lambda.EC2ThrottledException", "Lambda.EC2UnexpectedException", "Lambda.ENILimitReachedException",
	"Lambda.ResourceConflictException", "Lambda.ResourceNotFoundException", "Lambda.ResourceNotReadyException",
	"Lambda.SdkClientException", "Lambda.ServiceException", "Lambda.SubnetIPAddressLimitReachedException",
	"Lambda.TooManyRequestsException",
}

func TestDefinitionNamesStepsAndErrorsThatExist(t *testing.T) {
	known := slices.Concat(serviceErrors, []string{string(fault.InvalidInput), string(fault.Denied), string(fault.Unavailable), string(fault.Internal)})
	used := map[string]bool{}
	eachMachine(t, func(t *testing.T, file string) {
		for name, s := range readFile(t, file).States {
			if s.Type == "Task" && name != watching {
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
	})
	// What the state machines do not call: the schedule and the operator's
	// command do.
	callers := map[string]string{
		"sweep":       filepath.Join("terraform", "modules", "trigger", "main.tf"),
		"baseline":    filepath.Join("internal", "probe", "verify.go"),
		"notify-test": filepath.Join("internal", "probe", "notify.go"),
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

func TestDefinitionIsWhole(t *testing.T) { eachMachine(t, testDefinitionIsWhole) }

func testDefinitionIsWhole(t *testing.T, file string) {
	d := readFile(t, file)
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
	eachMachine(t, testEveryTaskIsBoundedRetriedAndCaught)
}

func testEveryTaskIsBoundedRetriedAndCaught(t *testing.T, file string) {
	for name, s := range readFile(t, file).States {
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
			// What another service calls its transient errors is left to it.
			transient = transient || slices.Contains(r.ErrorEquals, string(fault.Unavailable)) ||
				name == watching && slices.Contains(r.ErrorEquals, "States.ALL")
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

// Every Task is retried alike; a few are worth more patience, or less.
func TestEveryTaskIsRetriedAlike(t *testing.T) { eachMachine(t, testEveryTaskIsRetriedAlike) }

func testEveryTaskIsRetriedAlike(t *testing.T, file string) {
	patience := map[string]definition.Retrier{
		"Check Route 53":   {MaxAttempts: aws.Int(10), MaxDelaySeconds: 30}, // five requests a second for the whole account
		"Tell Slack":       {MaxAttempts: aws.Int(10), MaxDelaySeconds: 45},
		"Page":             {MaxAttempts: aws.Int(4), MaxDelaySeconds: 30}, // another pager is next
		"Page another way": {MaxAttempts: aws.Int(10), MaxDelaySeconds: 60},
		"Tell Slack too":   {MaxAttempts: aws.Int(2), MaxDelaySeconds: 10}, // somebody was woken
		"Give all-clear":   {MaxAttempts: aws.Int(10), MaxDelaySeconds: 60},
	}
	d := readFile(t, file)
	for name, s := range d.States {
		if s.Type != "Task" || name == watching {
			continue
		}
		want := slices.Clone(read(t).States["Open incident"].Retry)
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
	until := []string{
		"Open incident", "Check URL", "Check Route 53", "Check SSH", "Reboot instance",
		"Check URL", "Check Route 53", "Check SSH", "Tell Slack", "Page", "Page another way",
	}
	for _, path := range [][]string{{"Tell Slack instead", "Close incident"}, {watching, "Tell Slack too", "Close incident"}} {
		total := worst(t, read(t), append(slices.Clone(until), path...))
		t.Logf("every Task at its worst, ending in %v: %s of %s", path, total, besideWindow)
		if total > besideWindow {
			t.Errorf("every Task at its worst, ending in %v, takes %s, terraform/modules/settings allows %s beside the boot window", path, total, besideWindow)
		}
	}
}

// besideWatch is what terraform/modules/workflow/main.tf adds to the time of a watch
// and one wait for the time-out of the execution.
const besideWatch = 2 * time.Hour

// A watch that begins a look just before its time is over ends that look, waits
// once more, and is told so by the next look at the alert.
func TestEverythingButTheWatchFitsTheExecution(t *testing.T) {
	d := readFile(t, definition.AllClearFile)
	total := worst(t, d, []string{"Find alert", "Look at alert", "Check URL", "Check Route 53", "Check SSH", "Give all-clear", "Look at alert"})
	t.Logf("every Task at its worst: %s of %s", total, besideWatch)
	if total > besideWatch {
		t.Errorf("every Task at its worst takes %s, terraform/modules/workflow allows %s beside the watch", total, besideWatch)
	}
}

// worst is how long these Tasks take at their worst.
func worst(t *testing.T, d *definition.Definition, names []string) time.Duration {
	t.Helper()
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
	total := backOff(d.StartAt, "Lambda.ResourceNotReadyException") + backOff(d.StartAt, "Lambda.TooManyRequestsException")
	var hanging time.Duration
	for _, name := range names {
		s, ok := d.States[name]
		if !ok {
			t.Fatalf("no state %q", name)
		}
		cause := string(fault.Unavailable)
		if name == watching {
			cause = "States.ALL"
		}
		timeout := time.Duration(s.TimeoutSeconds) * time.Second
		total += backOff(name, cause) + timeout
		for _, r := range s.Retry {
			if slices.Contains(r.ErrorEquals, cause) {
				hanging = max(hanging, time.Duration(*r.MaxAttempts)*timeout)
			}
		}
	}
	return total + hanging
}

// A history holds 25,000 events.
const historyQuota = 25_000

func TestHistoryHoldsTheLongestWindow(t *testing.T) {
	look := events(t, read(t), "Check URL", "URL passed?", "Check Route 53", "Route 53 passed?", "Check SSH", "SSH passed?", "A check failed", "Start counting again", "Wait for next look")
	if got := look * incident.MaxLooks; got > historyQuota/2 {
		t.Errorf("%d looks of %d events make %d of %d events", incident.MaxLooks, look, got, historyQuota)
	}
}

// maxWatchLooks is what terraform/modules/settings/problems.tf allows in a watch.
const maxWatchLooks = 300

func TestHistoryHoldsTheLongestWatch(t *testing.T) {
	d := readFile(t, definition.AllClearFile)
	all := []string{"Look at alert", "Still to watch?", "Check URL", "URL passed?", "Check Route 53", "Route 53 passed?", "Check SSH", "SSH passed?"}
	fails := events(t, d, append(slices.Clone(all), "Start over", "Wait for next look")...)
	if got := fails * maxWatchLooks; got > historyQuota/2 {
		t.Errorf("%d looks of %d events make %d of %d events", maxWatchLooks, fails, got, historyQuota)
	}
	// An instance that passes once and then fails, again and again, is looked at
	// twice as often.
	passes := events(t, d, append(slices.Clone(all), "Count the pass", "Wait for second look")...)
	if got := (fails + passes) * maxWatchLooks; got > historyQuota {
		t.Errorf("%d looks of %d events make %d of %d events", 2*maxWatchLooks, (fails+passes)/2, got, historyQuota)
	}
}

// events counts what these states leave in a history: entered, exited, and for a
// Task scheduled, started and ended. Retries of one look are few.
func events(t *testing.T, d *definition.Definition, names ...string) int {
	t.Helper()
	of := map[string]int{"Task": 5, "Choice": 2, "Wait": 2, "Pass": 2}
	sum := 0
	for _, name := range names {
		s, ok := d.States[name]
		if !ok {
			t.Fatalf("no state %q", name)
		}
		sum += of[s.Type]
	}
	return sum
}

func TestPlaceholdersStandInsideQuotes(t *testing.T) {
	want := map[string][]string{
		definition.File:         {"all_clear_arn", "function_arn", "partition"},
		definition.AllClearFile: {"function_arn", "partition"},
	}
	eachMachine(t, func(t *testing.T, file string) { testPlaceholders(t, file, want[file]) })
}

func testPlaceholders(t *testing.T, file string, want []string) {
	text, err := os.ReadFile(filepath.Join(root(t), file)) //nolint:gosec // the project's own file
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
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("placeholders (-want +got):\n%s", diff)
	}
}

// Whether an incident is dry must not get lost between two steps: every state
// hands on the whole of it. One state begins anew, with the event in it, whose
// source says the same.
func TestNoStateForgetsAnIncident(t *testing.T) { eachMachine(t, testNoStateForgetsAnIncident) }

func testNoStateForgetsAnIncident(t *testing.T, file string) {
	text, err := os.ReadFile(filepath.Join(root(t), file)) //nolint:gosec // the project's own file
	if err != nil {
		t.Fatal(err)
	}
	var machine struct {
		States map[string]struct {
			Type                  string
			InputPath, OutputPath *string
			ResultPath            json.RawMessage
			ResultSelector        json.RawMessage
			Parameters            struct {
				Payload map[string]any
				Event   string `json:"event.$"`
				Input   string `json:"Input.$"`
			}
			Catch []struct{ ResultPath, Next string }
		}
	}
	if err := json.Unmarshal(text, &machine); err != nil {
		t.Fatal(err)
	}
	// The first Task makes the incident of its input. What it cannot make one of
	// begins anew in one machine, and ends the other.
	opens, begins := "Open incident", "No incident"
	if file == definition.AllClearFile {
		opens, begins = "Find alert", "Alert unknown"
	}
	for name, s := range machine.States {
		if s.InputPath != nil || len(s.ResultSelector) > 0 {
			t.Errorf("%s: InputPath and ResultSelector take something out of the incident", name)
		}
		switch s.Type {
		case "Task":
			switch {
			case name == watching:
				if string(s.ResultPath) != "null" || s.OutputPath != nil {
					t.Errorf("%s: its output is not the incident that came in", name)
				}
				if s.Parameters.Input != "$" {
					t.Errorf("%s: the other machine does not get the whole incident", name)
				}
			case s.ResultPath != nil || aws.ToString(s.OutputPath) != "$.Payload":
				t.Errorf("%s: its output is not the incident that the function returned", name)
			case name != opens && s.Parameters.Payload["incident.$"] != "$":
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
			if string(s.ResultPath) != `"$.recovery"` {
				t.Errorf("%s: it writes to %s", name, s.ResultPath)
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
	t.Run("all-clear", testPathsOfTheAllClear)
	for _, source := range []string{incident.SourceAlarm, incident.SourceCanary} {
		t.Run(source, func(t *testing.T) { testPathsOfTheDefinition(t, source) })
	}
}

func testPathsOfTheDefinition(t *testing.T, source string) {
	// What the function itself makes of an alarm, and of a reboot.
	event := bytes.Replace(alarmEvent(t), []byte(incident.SourceAlarm), []byte(source), 1)
	// A reboot follows on fresh events only.
	event = regexp.MustCompile(`("time": *")[^"]*"`).ReplaceAll(event, []byte("${1}"+time.Now().UTC().Format(time.RFC3339)+`"`))
	opened := invoke(t, "open", map[string]any{"event": json.RawMessage(event), "execution": incident.Execution{ID: "arn", Name: "n", StartedAt: time.Now()}})
	looked := invoke(t, "url", map[string]any{"incident": opened})
	raw := invoke(t, "reboot", map[string]any{"incident": looked})
	if (source == incident.SourceCanary) != bytes.Contains(raw, []byte(`"dry":true`)) {
		t.Errorf("an event of %s makes %s", source, raw)
	}
	pathsExist(t, read(t), raw, 5, 10)
}

// The other machine reads what the step find-alert makes of either of its inputs.
func testPathsOfTheAllClear(t *testing.T) {
	ok := regexp.MustCompile(`("value": *)"ALARM"`).ReplaceAll(alarmEvent(t), []byte(`${1}"OK"`))
	paged, err := json.Marshal(incident.Incident{
		InstanceID: "i-0c1cbf2e7abdedf75", Region: "eu-west-1", AccountID: "123456789012", Execution: incident.Execution{ID: "arn"},
		Alert: &incident.Alert{Alias: "a", Pager: "opsgenie", Generation: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	for trigger, input := range map[string]json.RawMessage{incident.WatchAlarm: ok, incident.WatchPage: paged} {
		t.Run(trigger, func(t *testing.T) {
			raw := invoke(t, "find-alert", map[string]any{"event": input, "execution": incident.Execution{ID: "arn", Name: "n", StartedAt: time.Now()}})
			var found incident.Incident
			if err := json.Unmarshal(raw, &found); err != nil {
				t.Fatal(err)
			}
			if found.Alert == nil || found.Watch == nil || found.Watch.Trigger != trigger {
				t.Fatalf("it makes %s", raw)
			}
			pathsExist(t, readFile(t, definition.AllClearFile), raw, 6, 3)
		})
	}
}

func alarmEvent(t *testing.T) []byte {
	t.Helper()
	event, err := os.ReadFile(filepath.Join(root(t), "internal", "old", "handler", "testdata", "alarm.json"))
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// invoke runs a step of a function for which all is well but the instance.
func invoke(t *testing.T, step string, rest map[string]any) json.RawMessage {
	t.Helper()
	h := &handler.Handler{
		Region: "eu-west-1", Log: slog.New(slog.DiscardHandler),
		SSM:    func(context.Context) (handler.ParameterGetter, error) { return emptySettings{}, nil },
		EC2:    func(context.Context) (handler.Rebooter, error) { return running{}, nil },
		Guards: func(context.Context) (handler.Guards, error) { return letting{}, nil },
		URL:    failing{},

		ExecutionTimeout: 3 * time.Hour, Brake: &guard.Limits{InFlight: 1, PerHour: 1},
		AllClear: &handler.AllClear{Every: 5 * time.Minute, For: 2 * time.Hour},
	}
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

// pathsExist holds what a definition reads of an incident against one that the
// function returned, and what it only asks for against one that has everything. The
// numbers are how many paths it reads at least.
func pathsExist(t *testing.T, d *definition.Definition, raw json.RawMessage, leastCompared, leastAsked int) {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	var compared, asked []string
	var fromChoices func([]definition.Choice)
	fromChoices = func(cs []definition.Choice) {
		// What is absent has led away from here already.
		present := map[string]bool{}
		for _, c := range cs {
			switch {
			case c.IsPresent != nil:
				asked = append(asked, c.Variable)
				present[c.Variable] = present[c.Variable] || !*c.IsPresent
			case present[c.Variable]:
				asked = append(asked, c.Variable)
			default:
				compared = append(compared, c.Variable, c.TimestampGreaterThanEqualsPath)
			}
			fromChoices(c.And)
		}
	}
	for _, s := range d.States {
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
		{"the incident that the function returned", tree, compared, leastCompared},
		{"an incident that has everything", whole, asked, leastAsked},
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
		InstanceID: "i-0c1cbf2e7abdedf75",
		Alarm:      &incident.Alarm{}, Settings: &incident.Settings{}, Reboot: &incident.Reboot{At: now, WindowClosesAt: now},
		Recovery: &incident.Recovery{Since: &now}, HandledBy: &incident.Execution{ID: "arn"}, Paused: &incident.Pause{Until: now},
		Refusal: &incident.Refusal{Guard: incident.GuardBrake}, Told: &incident.Told{Slack: &now, Page: &now},
		Error: failed, RebootError: failed, SlackError: failed, PageError: failed, CloseError: failed, WatchError: failed,
		Alert: &incident.Alert{Alias: "a"}, Thread: &incident.Thread{}, Watch: &incident.Watch{Ended: incident.WatchCleared},
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

func (letting) AlertOf(context.Context, string) (*guard.Alert, error) {
	return &guard.Alert{Open: true, Generation: 1, Alias: "a", Pager: "opsgenie", SentAt: time.Now()}, nil
}

func (letting) WatchAlert(_ context.Context, _, execution string, until time.Time) (*guard.Alert, error) {
	return &guard.Alert{Open: true, Generation: 1, Alias: "a", Pager: "opsgenie", Watcher: execution, WatchUntil: until}, nil
}

func (letting) AlertSent(context.Context, *incident.Incident, guard.Alert, string) error { return nil }

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

// An operator's detail of an alert must not take the place of one of ours.
func TestSettingsKnowOurDetails(t *testing.T) {
	file := func(parts ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{root(t)}, parts...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, source, ok := strings.Cut(file("internal", "old", "notify", "text.go"), ") detailsFor(")
	body, _, ends := strings.Cut(source, "\n}\n")
	if !ok || !ends {
		t.Fatal("notify/text.go has no method detailsFor")
	}
	var ours []string
	for _, m := range regexp.MustCompile(`(?m)^\t\t\{"(\w+)", `).FindAllStringSubmatch(body, -1) {
		ours = append(ours, m[1])
	}
	for _, m := range regexp.MustCompile(`link\{"(\w+)", `).FindAllStringSubmatch(file("internal", "old", "notify", "console.go"), -1) {
		ours = append(ours, m[1]+"Url")
	}
	if len(ours) < 25 {
		t.Errorf("notify sets the details %v: this test reads it wrongly", ours)
	}
	list := regexp.MustCompile(`own_details = \[([^\]]*)\]`).FindStringSubmatch(file("terraform", "modules", "settings", "schema.tf"))
	if list == nil {
		t.Fatal("modules/settings has no list own_details")
	}
	var known []string
	for _, m := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(list[1], -1) {
		known = append(known, m[1])
	}
	slices.Sort(ours)
	slices.Sort(known)
	if diff := cmp.Diff(slices.Compact(ours), known); diff != "" {
		t.Errorf("details (-notify +modules/settings):\n%s", diff)
	}
}

func TestREADMEDrawsTheDefinition(t *testing.T) {
	path := filepath.Join(root(t), "README.md")
	text, err := os.ReadFile(path) //nolint:gosec // the project's own file
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	for file, starters := range map[string][]string{
		definition.File:         {"alarm"},
		definition.AllClearFile: {"page", "alarm is OK"},
	} {
		// The block follows its marker, which says whose it is.
		const end = "```"
		open := "<!-- " + filepath.Base(file) + " -->\n```mermaid\n"
		head, rest, ok := strings.Cut(readme, open)
		if !ok {
			t.Errorf("README.md has no Mermaid block that begins with\n%s", open)
			continue
		}
		drawn, tail, _ := strings.Cut(rest, end)
		want := readFile(t, file).Mermaid(starters...)
		if *update {
			readme = head + open + want + end + tail
			continue
		}
		if diff := cmp.Diff(want, drawn); diff != "" {
			t.Errorf("README.md draws another machine than %s; run `go test ./test -run README -update` (-want +got):\n%s", file, diff)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(readme), 0o644); err != nil { //nolint:gosec // the README is public
			t.Fatal(err)
		}
	}
}
