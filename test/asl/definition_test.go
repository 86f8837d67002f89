package asl

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/toolchain"
)

const functionARN = "arn:aws:lambda:us-east-1:123456789012:function:firstline:7"

func project(t testing.TB, name string) string {
	t.Helper()
	root, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(Dir), name)) //nolint:gosec // the project's own file
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func responder(t testing.TB) *Machine {
	t.Helper()
	root, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := Render(root, Vars{FunctionARN: functionARN, TimeoutSeconds: 86_400})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFileHasOnePlaceholder(t *testing.T) {
	for _, name := range []string{DefinitionFile, RetryFile} {
		text := strings.ReplaceAll(project(t, name), `"FunctionName": "`+Placeholder+`"`, "")
		for _, mark := range []string{"${", "%{", "QueryLanguage", "JSONata"} {
			if strings.Contains(text, mark) {
				t.Errorf("%s contains %q", name, mark)
			}
		}
		if !json.Valid([]byte(text)) && name == RetryFile {
			t.Errorf("%s is not JSON before it is rendered", name)
		}
	}
	if n := strings.Count(project(t, DefinitionFile), Placeholder); n != 11 {
		t.Errorf("the placeholder is there %d times, want once per Task", n)
	}
	if !json.Valid([]byte(project(t, DefinitionFile))) {
		t.Error("the definition is not JSON before it is rendered")
	}
}

func TestStates(t *testing.T) {
	m := responder(t)
	got := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(m.States)) {
		got[m.States[name].Type] = append(got[m.States[name].Type], name)
	}
	want := map[string][]string{
		"Task": {
			"Check Route 53", "Check SSH", "Check URL", "Close", "Decide", "Open", "Page", "Page another way",
			"Reboot", "Resolve alert", "Slack",
		},
		"Choice":  {"How did it end?", "What next?"},
		"Wait":    {"Wait"},
		"Pass":    {"No incident"},
		"Succeed": {"All good", "Already handled", "Handed over", "Told"},
		"Fail":    {"Nobody was told", "Told another way"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states by type (-want +got):\n%s", diff)
	}
}

// steps are the Tasks' steps, and where an error of each leads.
var steps = []struct{ state, step, caught, next string }{
	{"Open", "open", "", "No incident"},
	{"Check URL", "url", "$.caught.url", "Check Route 53"},
	{"Check Route 53", "route53", "$.caught.route53", "Check SSH"},
	{"Check SSH", "ssh", "$.caught.ssh", "Decide"},
	{"Decide", "decide", "$.caught.decide", "Page"},
	{"Reboot", "reboot", "$.caught.reboot", "Wait"},
	{"Page", "page", "$.caught.page", "Page another way"},
	{"Page another way", "page", "$.caught.page_another_way", "Slack"},
	{"Resolve alert", "resolve", "$.caught.resolve", "Slack"},
	{"Slack", "slack", "$.caught.slack", "Close"},
	{"Close", "close", "$.caught.close", "How did it end?"},
}

func TestTasks(t *testing.T) {
	m := responder(t)
	execution := `"execution":{"id.$":"$$.Execution.Id","name.$":"$$.Execution.Name","startedAt.$":"$$.Execution.StartTime"}`
	tasks := 0
	for _, s := range m.States {
		if s.Type == "Task" {
			tasks++
		}
	}
	if tasks != len(steps) {
		t.Errorf("there are %d Tasks, and %d are looked at", tasks, len(steps))
	}
	for _, tt := range steps {
		s := m.States[tt.state]
		want := fmt.Sprintf(`{"FunctionName":%q,"Payload":{"step":%q,"incident.$":"$"}}`, functionARN, tt.step)
		if tt.step == "open" {
			want = fmt.Sprintf(`{"FunctionName":%q,"Payload":{"step":"open","event.$":"$",%s}}`, functionARN, execution)
		}
		if diff := cmp.Diff(compact(t, want), compact(t, string(s.Parameters))); diff != "" {
			t.Errorf("%s: parameters (-want +got):\n%s", tt.state, diff)
		}
		if s.OutputPath == nil || *s.OutputPath != "$.Payload" {
			t.Errorf("%s: OutputPath is not $.Payload", tt.state)
		}
		catch := []Catcher{{ErrorEquals: []string{ErrAll}, ResultPath: tt.caught, Next: tt.next}}
		if diff := cmp.Diff(catch, s.Catch, cmp.AllowUnexported(path{}), cmp.FilterPath(func(p cmp.Path) bool {
			return p.Last().String() == ".result"
		}, cmp.Ignore())); diff != "" {
			t.Errorf("%s: Catch (-want +got):\n%s", tt.state, diff)
		}
		bound := 150
		if slices.Contains([]string{"url", "route53", "ssh"}, tt.step) || tt.state == "Page" {
			bound = 60
		}
		if s.TimeoutSeconds != bound {
			t.Errorf("%s: TimeoutSeconds is %d, want %d", tt.state, s.TimeoutSeconds, bound)
		}
	}
}

func compact(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRetry(t *testing.T) {
	m := responder(t)
	var shared []Retrier
	if err := json.Unmarshal([]byte(project(t, RetryFile)), &shared); err != nil {
		t.Fatal(err)
	}
	kinds := []string{string(fault.InvalidInput), string(fault.Denied), string(fault.Internal)}
	for _, tt := range steps {
		retry := m.States[tt.state].Retry
		if last := retry[len(retry)-1].ErrorEquals; !slices.Equal(last, []string{ErrAll}) {
			t.Errorf("%s: its last retrier names %v, want States.ALL alone", tt.state, last)
		}
		own := true
		switch {
		case slices.Contains([]string{"url", "route53", "ssh"}, tt.step):
			if len(retry) != 1 || retry[0].MaxAttempts != 1 {
				t.Errorf("%s: a check has one retry, not %+v", tt.state, retry)
			}
		case tt.state == "Page":
			if len(retry) != 2 || retry[1].MaxAttempts != 3 || !slices.Equal(retry[0].ErrorEquals, kinds) {
				t.Errorf("%s: the first pager needs little patience, not %+v", tt.state, retry)
			}
		default:
			own = false
			if diff := cmp.Diff(shared, retry); diff != "" {
				t.Errorf("%s: is not retried as %s says (-want +got):\n%s", tt.state, RetryFile, diff)
			}
		}
		if text := compact(t, project(t, DefinitionFile)).(map[string]any)["States"].(map[string]any)[tt.state]; own != (text.(map[string]any)["Retry"] != nil) {
			t.Errorf("%s: a policy of its own: %v, want %v", tt.state, !own, own)
		}
		for _, r := range retry {
			if r.MaxAttempts > 0 && (r.JitterStrategy != "FULL" || r.MaxDelaySeconds == 0 || r.BackoffRate <= 1) {
				t.Errorf("%s: the retry of %v needs a back-off, jitter and a cap", tt.state, r.ErrorEquals)
			}
		}
	}
	if !slices.Equal(shared[0].ErrorEquals, kinds) || shared[0].MaxAttempts != 0 {
		t.Errorf("%v must not be retried", kinds)
	}
}

// A look takes about 6 of the 15 minutes for which the lease outlasts the next
// wait: what one kind of error may wait for must fit into the others.
func TestPatienceEndsWithinTheLease(t *testing.T) {
	const rest = 9 * time.Minute
	for name, s := range responder(t).States {
		for _, r := range s.Retry {
			var total time.Duration
			for n := range r.MaxAttempts {
				total += r.Delay(n)
			}
			// States.ALL retries what may have taken all of a Task's time.
			if slices.Equal(r.ErrorEquals, []string{ErrAll}) {
				total += seconds(s.TimeoutSeconds) * time.Duration(r.MaxAttempts+1)
			}
			if total > rest {
				t.Errorf("%s: retries of %v take %s, more than %s", name, r.ErrorEquals, total, rest)
			}
		}
	}
}

func TestEveryComparisonIsGuarded(t *testing.T) {
	for _, s := range responder(t).States {
		// what an earlier rule of the state made sure of
		sure := map[string]bool{}
		for n := range s.Rules {
			r := &s.Rules[n]
			if r.Not != nil && r.Not.Operator == "IsPresent" {
				sure[r.Not.Variable] = true
				continue
			}
			here := maps.Clone(sure)
			r.Walk(func(part *Rule) {
				if part.Or != nil || part.Not != nil {
					t.Errorf("%s: rule %d: this test follows And only", s.Name, n)
				}
				switch {
				case part.Operator == "IsPresent":
					here[part.Variable] = true
				case part.Operator != "" && !here[part.Variable]:
					t.Errorf("%s: rule %d compares %s, which may be missing", s.Name, n, part.Variable)
				}
			})
		}
		if s.Type == "Choice" && s.Default == "" {
			t.Errorf("%s: has no Default", s.Name)
		}
	}
}

// A loop without a wait would run until the history is full.
func TestEveryLoopWaits(t *testing.T) {
	m := responder(t)
	for from := range m.States {
		seen := map[string]bool{}
		for queue := slices.Clone(m.States[from].Targets()); len(queue) > 0; queue = queue[1:] {
			if seen[queue[0]] || queue[0] == "Wait" || queue[0] == "What next?" {
				continue
			}
			seen[queue[0]] = true
			queue = append(queue, m.States[queue[0]].Targets()...)
		}
		if seen[from] {
			t.Errorf("%s leads back to itself without a Wait or a decision", from)
		}
	}
}

// story is an execution with given answers.
type story struct {
	// answers are the fields that a step sets, one object for each call; the
	// last one is repeated. A text is the name of an error.
	answers map[string][]any
	input   string
}

func (s story) run(t *testing.T, m *Machine) (*Outcome, []string) {
	t.Helper()
	var out *Outcome
	var payloads []string
	synctest.Test(t, func(t *testing.T) {
		calls := map[string]int{}
		invoke := func(_ context.Context, c Call) (json.RawMessage, error) {
			payloads = append(payloads, string(c.Payload))
			var p struct {
				Step     string         `json:"step"`
				Incident map[string]any `json:"incident"`
			}
			if err := json.Unmarshal(c.Payload, &p); err != nil {
				t.Error(err)
			}
			inc := p.Incident
			if inc == nil {
				inc = map[string]any{"instance_id": "i-0a1b2c3d"}
			}
			answers := s.answers[c.State]
			if len(answers) == 0 {
				answers = []any{map[string]any{}}
			}
			answer := answers[min(calls[c.State], len(answers)-1)]
			calls[c.State]++
			if name, ok := answer.(string); ok {
				return nil, FunctionError(name, "refused")
			}
			for name, v := range answer.(map[string]any) {
				if inc[name] = v; v == nil {
					delete(inc, name)
				}
			}
			return json.Marshal(inc)
		}
		input := s.input
		if input == "" {
			input = `{"source": "aws.cloudwatch"}`
		}
		out = m.Run(t.Context(), Execution{ID: "arn:x", Name: "x", Input: json.RawMessage(input), Invoke: invoke})
	})
	return out, payloads
}

func next(word string, wait any) map[string]any {
	return map[string]any{"next": word, "wait_seconds": wait}
}

func TestPaths(t *testing.T) {
	m := responder(t)
	look := []any{next(incident.NextLook, nil)}
	told := []any{map[string]any{"told": true}}
	const (
		aLook = "Check URL > Check Route 53 > Check SSH > Decide"
		again = "What next? > Wait > " + aLook
		first = "Open > What next? > " + aLook
		ended = "Slack > Close > How did it end?"
	)
	for name, tt := range map[string]struct {
		answers map[string][]any
		input   string
		path    string
		status  Status
		events  int // 0: not counted
	}{
		"healthy": {
			answers: map[string][]any{"Decide": {next("done", nil)}},
			path:    first + " > What next? > All good", status: Succeeded, events: 33,
		},
		"a further look": {
			answers: map[string][]any{"Decide": {next("wait", 60), next("done", nil)}},
			path:    first + " > " + again + " > What next? > All good", status: Succeeded, events: 33 + 24,
		},
		"open says it all": {
			answers: map[string][]any{"Open": {next("already_handled", nil)}},
			path:    "Open > What next? > Already handled", status: Succeeded,
		},
		"handed over": {
			answers: map[string][]any{"Decide": {next("handed_over", nil)}},
			path:    first + " > What next? > Handed over", status: Succeeded,
		},
		"rebooted and recovered": {
			answers: map[string][]any{"Decide": {next("reboot", 60), next("slack", nil)}, "Slack": told},
			path:    first + " > What next? > Reboot > Wait > " + aLook + " > What next? > " + ended + " > Told", status: Succeeded,
		},
		"the reboot fails": {
			answers: map[string][]any{"Decide": {next("reboot", 60), next("page", nil)}, "Reboot": {"Denied"}, "Page": told},
			path:    first + " > What next? > Reboot > Wait > " + aLook + " > What next? > Page > " + ended + " > Told", status: Succeeded,
		},
		"well": {
			answers: map[string][]any{"Decide": {next("resolve", nil)}, "Slack": told},
			path:    first + " > What next? > Resolve alert > " + ended + " > Told", status: Succeeded,
		},
		"the alert stays open": {
			answers: map[string][]any{"Decide": {next("resolve", nil)}, "Resolve alert": {"Denied"}, "Slack": told},
			path:    first + " > What next? > Resolve alert > " + ended + " > Told another way", status: Failed,
		},
		"the first pager refuses": {
			answers: map[string][]any{"Decide": {next("page", nil)}, "Page": {"Denied"}, "Page another way": told},
			path:    first + " > What next? > Page > Page another way > " + ended + " > Told another way", status: Failed,
		},
		"only Slack": {
			answers: map[string][]any{"Decide": {next("page", nil)}, "Page": {"Denied"}, "Page another way": {"Denied"}, "Slack": told},
			path:    first + " > What next? > Page > Page another way > " + ended + " > Told another way", status: Failed,
		},
		"nothing takes it, and close fails": {
			answers: map[string][]any{"Decide": {next("page", nil)}, "Page": {"Denied"}, "Page another way": {"Denied"}, "Slack": {"Denied"}, "Close": {"Denied"}},
			path:    first + " > What next? > Page > Page another way > " + ended + " > Nobody was told", status: Failed,
		},
		"told is false": {
			answers: map[string][]any{"Decide": {next("slack", nil)}, "Slack": {map[string]any{"told": false}}},
			path:    first + " > What next? > " + ended + " > Nobody was told", status: Failed,
		},
		"every check is killed": {
			answers: map[string][]any{"Check URL": {"Lambda.Unknown"}, "Check Route 53": {"Lambda.Unknown"}, "Check SSH": {"Lambda.Unknown"}, "Decide": {next("done", nil)}},
			path:    first + " > What next? > All good", status: Succeeded, events: 33 + 3*3,
		},
		"decide fails": {
			answers: map[string][]any{"Decide": {"Unavailable"}, "Page": told},
			path:    first + " > Page > " + ended + " > Told", status: Succeeded,
		},
		"no incident": {
			answers: map[string][]any{"Open": {"InvalidInput"}, "Page": told},
			path:    "Open > No incident > Page > " + ended + " > Told", status: Succeeded,
		},
		"no incident, the input is a list": {
			answers: map[string][]any{"Open": {"InvalidInput"}, "Page": told}, input: `[1]`,
			path: "Open > No incident > Page > " + ended + " > Told", status: Succeeded,
		},
		"no incident, caught is null": {
			answers: map[string][]any{"Open": {"InvalidInput"}, "Page": told}, input: `{"caught": null}`,
			path: "Open > No incident > Page > " + ended + " > Told", status: Succeeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.answers["Open"] == nil {
				tt.answers["Open"] = look
			}
			out, _ := story{answers: tt.answers, input: tt.input}.run(t, m)
			if diff := cmp.Diff(strings.Split(tt.path, " > "), out.Path); diff != "" {
				t.Errorf("path (-want +got):\n%s", diff)
			}
			if out.Status != tt.status {
				t.Errorf("status %s, want %s: %s %s", out.Status, tt.status, out.Error, out.Cause)
			}
			if tt.events != 0 && out.Events != tt.events {
				t.Errorf("%d events, want %d", out.Events, tt.events)
			}
		})
	}
}

// The cost of a look is that of the transitions, and its share of the history.
func TestLookCosts(t *testing.T) {
	m := responder(t)
	looks := func(n int) *Outcome {
		var decide []any
		for range n - 1 {
			decide = append(decide, next("wait", 60))
		}
		out, _ := story{answers: map[string][]any{"Open": {next("look", nil)}, "Decide": append(decide, next("done", nil))}}.run(t, m)
		if out.Status != Succeeded || out.Retries != 0 {
			t.Fatalf("%d looks: %s with %d retries: %s", n, out.Status, out.Retries, out.Cause)
		}
		return out
	}
	one, two, most := looks(1), looks(2), looks(incident.MaxLooks)
	if got := one.Transitions(); got != 8 {
		t.Errorf("the silent path has %d transitions, want 8", got)
	}
	if got := two.Transitions() - one.Transitions(); got != 6 {
		t.Errorf("a further look has %d transitions, want 6", got)
	}
	if got := two.Events - one.Events; got != 24 {
		t.Errorf("a further look has %d events, want 24", got)
	}
	// Each look's Tasks may be retried three times each, and more.
	if got := 4 * most.Events; got > MaxEvents {
		t.Errorf("%d looks have %d events, more than a quarter of %d", incident.MaxLooks, most.Events, MaxEvents)
	}
}

// Open and Decide leave nothing in $.next that the definition does not know,
// and nothing that it does not know is lost.
func TestEveryWordLeadsSomewhere(t *testing.T) {
	m := responder(t)
	want := map[string]string{
		incident.NextLook: "Check URL", incident.NextWait: "Wait", incident.NextReboot: "Reboot", incident.NextSlack: "Slack",
		incident.NextPage: "Page", incident.NextResolve: "Resolve alert", incident.NextDone: "All good",
		incident.NextHandedOver: "Handed over", incident.NextAlreadyHandled: "Already handled",
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(incident.Nexts)), slices.Sorted(maps.Keys(want))); diff != "" {
		t.Errorf("words (-known +tested):\n%s", diff)
	}
	after := func(answer map[string]any) string {
		out, _ := story{answers: map[string][]any{"Open": {answer}, "Decide": {next("done", nil)}, "Page": {map[string]any{"told": true}}}}.run(t, m)
		if out.Error == ErrRuntime {
			t.Errorf("%v: %s", answer, out.Cause)
		}
		return out.Path[2]
	}
	for word, state := range want {
		if got := after(next(word, incident.MaxWaitSeconds)); got != state {
			t.Errorf("%s leads to %q, want %q", word, got, state)
		}
	}
	for _, answer := range []map[string]any{
		{},
		{"next": "Look"},
		{"next": 7},
		{"next": ""},
		{"next": []any{"look"}},
		next("wait", nil), next("wait", "60"), next("wait", 0), next("wait", -1), next("wait", incident.MaxWaitSeconds+1), next("reboot", nil),
	} {
		if got := after(answer); got != "Page" {
			t.Errorf("%v leads to %q, want Page", answer, got)
		}
	}
}

func TestWhatStepsAreGiven(t *testing.T) {
	m := responder(t)
	_, payloads := story{
		answers: map[string][]any{"Open": {"InvalidInput"}, "Page": {map[string]any{"told": true}}}, input: `{"source":"aws.cloudwatch"}`,
	}.run(t, m)
	const (
		execution = `"execution":{"id":"arn:x","name":"x","startedAt":"2000-01-01T00:00:00.000Z"}`
		event     = `"event":{"source":"aws.cloudwatch"}`
	)
	cause := `{\"errorMessage\":\"refused\",\"errorType\":\"InvalidInput\"}`
	want := []string{
		`{` + event + `,` + execution + `,"step":"open"}`,
		`{"incident":{"caught":{"open":{"Cause":"` + cause + `","Error":"InvalidInput"}},` + event + `,` + execution + `},"step":"page"}`,
	}
	if diff := cmp.Diff(want, payloads[:2]); diff != "" {
		t.Errorf("payloads (-want +got):\n%s", diff)
	}
}
