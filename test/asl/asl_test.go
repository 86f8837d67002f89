package asl

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	invoke = `"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f", "Payload": {"in.$": "$"}}, "OutputPath": "$.Payload"`
	end    = `"End": {"Type": "Succeed"}`
)

// machine is a definition that begins with the state A and has an End.
func machine(states string) string {
	return `{"StartAt": "A", "States": {` + states + `, ` + end + `}}`
}

func load(t *testing.T, definition string) *Machine {
	t.Helper()
	m, err := Load([]byte(definition))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLoadRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ definition, want string }{
		"no JSON":             {`{`, "unexpected EOF"},
		"unknown field":       {`{"StartAt": "A", "QueryLanguage": "JSONPath", "States": {}}`, `unknown field "QueryLanguage"`},
		"a field's case":      {`{"startAt": "A", "States": {}}`, `"startAt" is unknown`},
		"placeholder":         {machine(`"A": {"Type": "Wait", "Seconds": 1, "Comment": "${arn}", "Next": "End"}`), "placeholder"},
		"no start":            {`{"StartAt": "B", "States": {` + end + `}}`, "StartAt"},
		"no bound":            {`{"StartAt": "End", "TimeoutSeconds": 0, "States": {` + end + `}}`, "TimeoutSeconds"},
		"unknown type":        {machine(`"A": {"Type": "Parallel"}`), `type "Parallel" is unknown`},
		"another type's":      {machine(`"A": {"Type": "Wait", "Seconds": 1, "Next": "End", "Default": "End"}`), "Default is unknown in a Wait"},
		"End":                 {machine(`"A": {"Type": "Pass", "End": true}`), `unknown field "End"`},
		"null":                {machine(`"A": {"Type": "Pass", "ResultPath": null, "Next": "End"}`), "ResultPath is null"},
		"no Next":             {machine(`"A": {"Type": "Pass"}`), "no Next"},
		"leads nowhere":       {machine(`"A": {"Type": "Pass", "Next": "B"}`), `leads to "B"`},
		"unreachable":         {machine(`"A": {"Type": "Pass", "Next": "End"}, "B": {"Type": "Succeed"}`), `"B": no state leads here`},
		"resource":            {machine(`"A": {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "Next": "End"}`), "resource"},
		"no function":         {machine(`"A": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"Payload": {}}, "Next": "End"}`), "FunctionName"},
		"parameter":           {machine(`"A": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f", "Qualifier": "1"}, "Next": "End"}`), "Qualifier"},
		"intrinsic function":  {machine(`"A": {"Type": "Pass", "Parameters": {"a.$": "States.UUID()"}, "Next": "End"}`), "is not a path"},
		"index":               {machine(`"A": {"Type": "Pass", "ResultPath": "$.a[0]", "Next": "End"}`), "is not a path"},
		"context field":       {machine(`"A": {"Type": "Pass", "Parameters": {"a.$": "$$.Task.Token"}, "Next": "End"}`), "context object"},
		"path in a list":      {machine(`"A": {"Type": "Pass", "Parameters": {"a": [{"b.$": "$"}]}, "Next": "End"}`), "inside a list"},
		"time-out":            {machine(`"A": {` + invoke + `, "TimeoutSeconds": 0, "Next": "End"}`), "TimeoutSeconds"},
		"heartbeat":           {machine(`"A": {` + invoke + `, "HeartbeatSeconds": 1, "Next": "End"}`), "HeartbeatSeconds"},
		"retrier's field":     {machine(`"A": {` + invoke + `, "Retry": [{"ErrorEquals": ["X"], "Jitter": "FULL"}], "Next": "End"}`), "Jitter"},
		"jitter":              {machine(`"A": {` + invoke + `, "Retry": [{"ErrorEquals": ["X"], "JitterStrategy": "HALF"}], "Next": "End"}`), "HALF"},
		"back-off":            {machine(`"A": {` + invoke + `, "Retry": [{"ErrorEquals": ["X"], "BackoffRate": 0.5}], "Next": "End"}`), "out of bounds"},
		"delay":               {machine(`"A": {` + invoke + `, "Retry": [{"ErrorEquals": ["X"], "IntervalSeconds": 5, "MaxDelaySeconds": 5}], "Next": "End"}`), "MaxDelaySeconds"},
		"ALL is not alone":    {machine(`"A": {` + invoke + `, "Retry": [{"ErrorEquals": ["X", "States.ALL"]}], "Next": "End"}`), "alone and last"},
		"ALL is not last":     {machine(`"A": {` + invoke + `, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "End"}, {"ErrorEquals": ["X"], "Next": "End"}], "Next": "End"}`), "alone and last"},
		"no errors":           {machine(`"A": {` + invoke + `, "Catch": [{"ErrorEquals": [], "Next": "End"}], "Next": "End"}`), "ErrorEquals"},
		"unknown error":       {machine(`"A": {` + invoke + `, "Catch": [{"ErrorEquals": ["States.All"], "Next": "End"}], "Next": "End"}`), "States.All"},
		"catcher's field":     {machine(`"A": {` + invoke + `, "Catch": [{"ErrorEquals": ["X"], "next": "End"}], "Next": "End"}`), `"next" is unknown`},
		"catch into $":        {machine(`"A": {` + invoke + `, "Catch": [{"ErrorEquals": ["X"], "ResultPath": "$", "Next": "End"}], "Next": "End"}`), "engines differ"},
		"no choices":          {machine(`"A": {"Type": "Choice", "Choices": [], "Default": "End"}`), "no Choices"},
		"operator":            {machine(`"A": {"Type": "Choice", "Choices": [{"Variable": "$.a", "StringMatches": "*", "Next": "End"}]}`), "StringMatches is unknown"},
		"operand":             {machine(`"A": {"Type": "Choice", "Choices": [{"Variable": "$.a", "StringEquals": 1, "Next": "End"}]}`), "needs a string"},
		"two operators":       {machine(`"A": {"Type": "Choice", "Choices": [{"Variable": "$.a", "StringEquals": "a", "IsString": true, "Next": "End"}]}`), "one operator"},
		"IsPresent false":     {machine(`"A": {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": false, "Next": "End"}]}`), "engines differ"},
		"Next in a part":      {machine(`"A": {"Type": "Choice", "Choices": [{"Not": {"Variable": "$.a", "IsPresent": true, "Next": "End"}, "Next": "End"}]}`), "one operator"},
		"And and Or":          {machine(`"A": {"Type": "Choice", "Choices": [{"And": [{"Variable": "$.a", "IsPresent": true}], "Or": [], "Next": "End"}]}`), "beside a combination"},
		"two waits":           {machine(`"A": {"Type": "Wait", "Seconds": 1, "SecondsPath": "$.s", "Next": "End"}`), "one of"},
		"a time to wait for":  {machine(`"A": {"Type": "Wait", "Timestamp": "2026-01-01T00:00:00Z", "Next": "End"}`), "Timestamp"},
		"a Fail says nothing": {`{"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "X"}}}`, "Error and Cause"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load([]byte(tt.definition))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// outcome is what an execution in a bubble came to, and how long it took.
func outcome(t *testing.T, definition, input string, f Invoke) (out *Outcome, took time.Duration) {
	t.Helper()
	m := load(t, definition)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out = m.Run(t.Context(), Execution{ID: "arn:x", Name: "x", Input: json.RawMessage(input), Invoke: f})
		took = time.Since(start)
		time.Sleep(time.Minute) // a function that the Task left behind ends
	})
	return out, took
}

func TestChoice(t *testing.T) {
	const input = `{"s": "a", "n": 60, "b": true, "o": {"p": null}, "f": 1.5, "\u0065": "\u0062", "x\\": "}"}`
	for rule, want := range map[string]string{
		`"Variable": "$.s", "StringEquals": "a"`:                                                              "yes",
		`"Variable": "$.s", "StringEquals": "A"`:                                                              "no",
		`"Variable": "$.n", "StringEquals": "60"`:                                                             "no",
		`"Variable": "$.n", "NumericEquals": 60.0`:                                                            "yes",
		`"Variable": "$.n", "NumericGreaterThanEquals": 60`:                                                   "yes",
		`"Variable": "$.n", "NumericGreaterThanEquals": 61`:                                                   "no",
		`"Variable": "$.n", "NumericLessThanEquals": 60`:                                                      "yes",
		`"Variable": "$.n", "NumericLessThanEquals": 59`:                                                      "no",
		`"Variable": "$.s", "NumericEquals": 1`:                                                               "no",
		`"Variable": "$.b", "BooleanEquals": true`:                                                            "yes",
		`"Variable": "$.b", "BooleanEquals": false`:                                                           "no",
		`"Variable": "$.b", "IsBoolean": true`:                                                                "yes",
		`"Variable": "$.s", "IsString": true`:                                                                 "yes",
		`"Variable": "$.f", "IsNumeric": true`:                                                                "yes",
		`"Variable": "$.s", "IsNumeric": true`:                                                                "no",
		`"Variable": "$.s", "IsNumeric": false`:                                                               "yes",
		`"Variable": "$.o.p", "IsPresent": true`:                                                              "yes",
		`"Variable": "$.e", "StringEquals": "b"`:                                                              "yes",
		`"Variable": "$.o.p.q", "IsPresent": true`:                                                            "no",
		`"Variable": "$$.Execution.Name", "StringEquals": "x"`:                                                "yes",
		`"Not": {"Variable": "$.x", "IsPresent": true}`:                                                       "yes",
		`"And": [{"Variable": "$.x", "IsPresent": true}, {"Variable": "$.x", "StringEquals": "a"}]`:           "no",
		`"Or": [{"Variable": "$.s", "StringEquals": "b"}, {"Variable": "$.s", "StringEquals": "a"}]`:          "yes",
		`"Or": [{"Variable": "$.s", "StringEquals": "b"}, {"Variable": "$.s", "StringEquals": "c"}]`:          "no",
		`"Variable": "$.x", "StringEquals": "a"`:                                                              ErrRuntime,
		`"Not": {"Variable": "$.x", "StringEquals": "a"}`:                                                     ErrRuntime,
		`"And": [{"Variable": "$.s", "StringEquals": "a"}, {"Variable": "$.x", "NumericLessThanEquals": 60}]`: ErrRuntime,
	} {
		t.Run(rule, func(t *testing.T) {
			definition := `{"StartAt": "A", "States": {"A": {"Type": "Choice", "Choices": [{` + rule + `, "Next": "yes"}], "Default": "no"}, "yes": {"Type": "Succeed"}, "no": {"Type": "Succeed"}}}`
			out, _ := outcome(t, definition, input, nil)
			got := out.End()
			if out.Status == Failed {
				got = out.Error
			}
			if got != want {
				t.Errorf("got %s, want %s: %s", got, want, out.Cause)
			}
		})
	}
	out, _ := outcome(t, machine(`"A": {"Type": "Choice", "Choices": [{"Variable": "$.s", "StringEquals": "b", "Next": "End"}]}`), input, nil)
	if out.Error != "States.NoChoiceMatched" {
		t.Errorf("without a match and a Default: %s %s", out.Status, out.Error)
	}
}

func TestWait(t *testing.T) {
	for input, want := range map[string]time.Duration{
		`{"s": 90}`: 90 * time.Second, `{"s": 0}`: 0, `{"s": 60.0}`: time.Minute, `{"s": 100000000}`: -1,
		`{}`: -1, `{"s": null}`: -1, `{"s": "90"}`: -1, `{"s": 1.5}`: -1, `{"s": -1}`: -1,
	} {
		out, took := outcome(t, machine(`"A": {"Type": "Wait", "SecondsPath": "$.s", "Next": "End"}`), input, nil)
		if want < 0 {
			if out.Status != Failed || out.Error != ErrRuntime {
				t.Errorf("%s: %s %s, want %s", input, out.Status, out.Error, ErrRuntime)
			}
		} else if out.Status != Succeeded || took != want {
			t.Errorf("%s: %s after %s, want %s", input, out.Status, took, want)
		}
	}
	if _, took := outcome(t, machine(`"A": {"Type": "Wait", "Seconds": 3, "Next": "End"}`), `{}`, nil); took != 3*time.Second {
		t.Errorf("Seconds: waited %s", took)
	}
}

func TestPass(t *testing.T) {
	for fields, want := range map[string]string{
		``:                                     `{"a":{"b":1}}`,
		`"Result": {"c": 12345678901234567}, `: `{"c":12345678901234567}`,
		`"Result": 2, "ResultPath": "$.a.c", `: `{"a":{"b":1,"c":2}}`,
		`"Result": 2, "ResultPath": "$.x.y", `: `{"a":{"b":1},"x":{"y":2}}`,
		`"Parameters": {"n.$": "$.a.b", "l": ["x"], "t": "u", "o": {"s.$": "$$.State.Name"}}, `: `{"l":["x"],"n":1,"o":{"s":"A"},"t":"u"}`,
		`"Parameters": {"i.$": "$$.Execution.Input", "at.$": "$$.State.EnteredTime"}, `:         `{"at":"2000-01-01T00:00:00.000Z","i":{"a":{"b":1}}}`,
		`"Parameters": {"n.$": "$.x"}, `:         ErrRuntime,
		`"Result": 2, "ResultPath": "$.a.b.c", `: "States.ResultPathMatchFailure",
	} {
		out, _ := outcome(t, machine(`"A": {"Type": "Pass", `+fields+`"Next": "End"}`), `{"a": {"b": 1}}`, nil)
		got := string(out.Output)
		if out.Status == Failed {
			got = out.Error
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", fields, got, want)
		}
	}
}

// fails returns an Invoke that fails with the names in turn, and then answers.
func failing(names ...string) Invoke {
	return func(_ context.Context, c Call) (json.RawMessage, error) {
		if c.Attempt < len(names) {
			return nil, &Error{names[c.Attempt], "why"}
		}
		return json.RawMessage(`{"ok":true}`), nil
	}
}

func TestRetryAndCatch(t *testing.T) {
	const task = `"A": {` + invoke + `, "TimeoutSeconds": 10,
		"Retry": [
			{"ErrorEquals": ["No"], "MaxAttempts": 0},
			{"ErrorEquals": ["Slow"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4, "MaxDelaySeconds": 10, "JitterStrategy": "FULL"},
			{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 1}],
		"Catch": [{"ErrorEquals": ["Slow"], "ResultPath": "$.caught.a", "Next": "End"}, {"ErrorEquals": ["States.ALL"], "Next": "End"}],
		"Next": "End"}`
	for name, tt := range map[string]struct {
		f      Invoke
		output string
		took   time.Duration
		events int
	}{
		"at once":      {failing(), `{"ok":true}`, 0, 9},
		"after a try":  {failing("X"), `{"ok":true}`, time.Second, 12},
		"back-off":     {failing("Slow", "Slow", "Slow"), `{"ok":true}`, 18 * time.Second, 18},
		"exhausted":    {failing("Slow", "Slow", "Slow", "Slow", "Slow"), `{"i":1,"caught":{"a":{"Cause":"why","Error":"Slow"}}}`, 28 * time.Second, 21},
		"each its own": {failing("Slow", "X", "Slow"), `{"ok":true}`, 9 * time.Second, 18},
		"not retried":  {failing("No"), `{"Cause":"why","Error":"No"}`, 0, 9},
		"a plain error": {
			func(context.Context, Call) (json.RawMessage, error) { return nil, errors.New("exit status 2") },
			`{"Cause":"exit status 2","Error":"Lambda.Unknown"}`, time.Second, 12,
		},
		"out of time": {
			func(context.Context, Call) (json.RawMessage, error) {
				time.Sleep(11 * time.Second)
				return json.RawMessage(`{}`), nil
			},
			`{"Cause":"A took longer than 10 s","Error":"States.Timeout"}`, 10 * time.Second, 9,
		},
		"no JSON": {
			func(context.Context, Call) (json.RawMessage, error) { return nil, nil },
			`{"Cause":"the function did not return JSON","Error":"Lambda.Unknown"}`, time.Second, 12,
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, took := outcome(t, machine(task), `{"i": 1}`, tt.f)
			if out.Status != Succeeded || took != tt.took || out.Events != tt.events {
				t.Errorf("%s after %s with %d events, want %s and %d: %s", out.Status, took, out.Events, tt.took, tt.events, out.Cause)
			}
			if diff := cmp.Diff(tt.output, string(out.Output)); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatNothingCatches(t *testing.T) {
	const task = `"A": {` + invoke + `, "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.caught.a", "Next": "End"}], "Next": "End"}`
	huge := func(context.Context, Call) (json.RawMessage, error) {
		return json.RawMessage(`"` + strings.Repeat("x", MaxData) + `"`), nil
	}
	for name, tt := range map[string]struct {
		input string
		f     Invoke
		want  string
	}{
		"States.Runtime":   {`{}`, failing(ErrRuntime), ErrRuntime},
		"too much data":    {`{}`, huge, ErrDataLimit},
		"a list":           {`[]`, failing("X"), "States.ResultPathMatchFailure"},
		"caught is null":   {`{"caught": null}`, failing("X"), "States.ResultPathMatchFailure"},
		"no output path":   {`{}`, nil, ErrRuntime},
		"input is no JSON": {`{`, failing(), ErrRuntime},
	} {
		definition := machine(task)
		if tt.f == nil {
			definition, tt.f = strings.Replace(definition, "$.Payload", "$.Body", 1), failing()
		}
		out, _ := outcome(t, definition, tt.input, tt.f)
		if out.Status != Failed || out.Error != tt.want {
			t.Errorf("%s: %s %s, want %s: %s", name, out.Status, out.Error, tt.want, out.Cause)
		}
	}
}

func TestFail(t *testing.T) {
	out, _ := outcome(t, `{"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "X", "Cause": "why"}}}`, `{}`, nil)
	want := &Outcome{Status: Failed, Error: "X", Cause: "why", Path: []string{"A"}, Output: []byte(`{}`), Events: 3, MaxData: 2}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
}

// waiting waits for ever.
const waiting = `"A": {"Type": "Wait", "Seconds": 60, "Next": "B"}, "B": {` + invoke + `, "Next": "C"},
	"C": {"Type": "Choice", "Choices": [{"Variable": "$.stop", "IsPresent": true, "Next": "End"}], "Default": "A"}`

func TestEnds(t *testing.T) {
	bounded := strings.Replace(machine(waiting), "{", `{"TimeoutSeconds": 150, `, 1)
	out, took := outcome(t, bounded, `{}`, failing())
	if out.Status != TimedOut || out.Error != ErrTimeout || took != 150*time.Second || out.End() != "A" {
		t.Errorf("%s %s in %s after %s, want TIMED_OUT after 150 s", out.Status, out.Error, out.End(), took)
	}
	out, _ = outcome(t, strings.Replace(machine(waiting), "60", "0", 1), `{}`, failing())
	if out.Status != Failed || out.Error != ErrRuntime || out.Events < MaxEvents {
		t.Errorf("%s %s after %d events, want the history to be full", out.Status, out.Error, out.Events)
	}
}

func TestStop(t *testing.T) {
	m := load(t, machine(waiting))
	synctest.Test(t, func(t *testing.T) {
		var entered []string
		calls := 0
		out := m.Run(t.Context(), Execution{
			Input: json.RawMessage(`{}`), Invoke: failing(),
			Stop:    func(Call) bool { calls++; return calls == 2 },
			Entered: func(state string) { entered = append(entered, state) },
		})
		want := []string{"A", "B", "C", "A", "B"}
		if diff := cmp.Diff(want, entered); diff != "" || out.Status != Aborted {
			t.Errorf("%s; states (-want +got):\n%s", out.Status, diff)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		var done atomic.Bool
		out := m.Run(ctx, Execution{Input: json.RawMessage(`{}`), Invoke: func(ctx context.Context, _ Call) (json.RawMessage, error) {
			time.Sleep(time.Minute)
			done.Store(ctx.Err() == nil)
			return json.RawMessage(`{}`), nil
		}})
		if out.Status != Aborted || out.End() != "B" || done.Load() {
			t.Errorf("%s in %s, function at its end: %v; want ABORTED in B before", out.Status, out.End(), done.Load())
		}
		time.Sleep(time.Minute)
		if !done.Load() {
			t.Error("the function was stopped with the execution")
		}
	})
}

func TestJitter(t *testing.T) {
	const task = `"A": {` + invoke + `, "Retry": [{"ErrorEquals": ["Full"], "IntervalSeconds": 8, "JitterStrategy": "FULL"}, {"ErrorEquals": ["None"], "IntervalSeconds": 8}], "Next": "End"}`
	for name, want := range map[string]time.Duration{"Full": 4 * time.Second, "None": 8 * time.Second} {
		m := load(t, machine(task))
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			out := m.Run(t.Context(), Execution{Input: json.RawMessage(`{}`), Invoke: failing(name), Jitter: func(d time.Duration) time.Duration { return d / 2 }})
			if took := time.Since(start); took != want || out.Retries != 1 {
				t.Errorf("%s: %d retries in %s, want one after %s", name, out.Retries, took, want)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	const definition = `{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:x", "Parameters": {"FunctionName": "${function_arn}"}}, "B": {"Type": "Task", "Retry": []}, "C": {"Type": "Wait"}}}`
	got, err := Merge([]byte(definition), []byte(`[{"MaxAttempts": 1}]`), Vars{FunctionARN: "f", Partition: "aws-cn", TimeoutSeconds: 9})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"StartAt":"A","States":{"A":{"Parameters":{"FunctionName":"f"},"Resource":"arn:aws-cn:x","Retry":[{"MaxAttempts":1}],"Type":"Task"},"B":{"Retry":[],"Type":"Task"},"C":{"Type":"Wait"}},"TimeoutSeconds":9}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, broken := range [][2]string{{"{", "[]"}, {"{}", "["}} {
		if _, err := Merge([]byte(broken[0]), []byte(broken[1]), Vars{}); err == nil {
			t.Errorf("%q is merged without an error", broken)
		}
	}
}
