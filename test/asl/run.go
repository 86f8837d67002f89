package asl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits of Step Functions
// (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html).
const (
	// MaxEvents is how many events the history of an execution may hold.
	MaxEvents = 25_000
	// MaxData is how many bytes a state's input, output or result may have.
	MaxData = 256 << 10
	// maxWait is the longest wait, in seconds.
	maxWait = 99_999_999
)

// Error is an error of a Task, as Retry and Catch see it.
type Error struct{ Name, Cause string }

func (e *Error) Error() string { return e.Name + ": " + e.Cause }

// FunctionError is what Step Functions makes of an error that a Lambda
// function returned.
func FunctionError(errorType, message string) *Error {
	cause := map[string]string{"errorMessage": message, "errorType": errorType}
	return &Error{Name: errorType, Cause: string(mustEncode(cause))}
}

// Call is one attempt of a Task.
type Call struct {
	// Execution is the execution's name, State the Task's.
	Execution, State string
	FunctionName     string
	Payload          json.RawMessage
	// Attempt is 0, and one more for each retry.
	Attempt int
}

// Invoke invokes the function. An *Error is the Task's error; any other error
// becomes Lambda.Unknown, as when a function exits. Its context does not end
// with the Task nor with the execution: a function runs on then.
type Invoke func(ctx context.Context, c Call) (json.RawMessage, error)

// Execution is what an execution is started with.
type Execution struct {
	// ID is the execution's ARN.
	ID, Name string
	Input    json.RawMessage
	Invoke   Invoke
	// Stop is asked before each attempt of a Task; true stops the execution
	// there. nil never does.
	Stop func(Call) bool
	// Entered is called with each state that is entered; nil is not.
	Entered func(state string)
	// Jitter turns the delay of a retry with JitterStrategy FULL into the one
	// that is waited for; nil waits for the whole of it.
	Jitter func(time.Duration) time.Duration
}

// Status is how an execution ended.
type Status string

// Statuses, as Step Functions names them.
const (
	Succeeded Status = "SUCCEEDED"
	Failed    Status = "FAILED"
	TimedOut  Status = "TIMED_OUT"
	Aborted   Status = "ABORTED"
)

// Outcome is what an execution came to.
type Outcome struct {
	Status Status
	// Error and Cause say why it did not succeed.
	Error, Cause string
	// Path are the states that it entered, in order.
	Path []string
	// Output is the data of the last state.
	Output json.RawMessage
	// Retries are further attempts of Tasks. A state transition is billed for
	// each state entered and each retry.
	Retries int
	// Events is the length of its history.
	Events int
	// MaxData is the size of the largest data, in bytes.
	MaxData int
	// Failures are the failed attempts of Tasks, in order.
	Failures []Failure
}

// Failure is a failed attempt of a Task.
type Failure struct {
	State string
	Error
}

// End is the state in which the execution ended.
func (o *Outcome) End() string {
	if len(o.Path) == 0 {
		return ""
	}
	return o.Path[len(o.Path)-1]
}

// Transitions is the number of states that were entered.
func (o *Outcome) Transitions() int { return len(o.Path) }

// run is an execution under way.
type run struct {
	m       *Machine
	e       Execution
	out     *Outcome
	started time.Time
	// data is the input of the state under way, as JSON.
	data, input []byte
	// State, EnteredTime and RetryCount of the context object.
	state   string
	entered time.Time
	retry   int
	// calls are the function's invocations, which a goroutine of their own makes.
	calls chan func()
}

// stopped ends an execution from within.
type stopped struct {
	status      Status
	name, cause string
}

func (s *stopped) Error() string { return string(s.status) + ": " + s.name + ": " + s.cause }

// fails ends an execution in a way that nothing catches.
func fails(name, format string, args ...any) error {
	return &stopped{Failed, name, fmt.Sprintf(format, args...)}
}

// Run runs an execution to its end. It waits in time, so that it belongs into
// a bubble of testing/synctest. When ctx ends, it is stopped, as by
// StopExecution.
func (m *Machine) Run(ctx context.Context, e Execution) *Outcome {
	r := &run{m: m, e: e, out: &Outcome{}, started: time.Now()}
	if m.TimeoutSeconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, seconds(m.TimeoutSeconds), &stopped{TimedOut, ErrTimeout, "the execution ran out of time"})
		defer cancel()
	}
	err := r.all(ctx)
	r.leave()
	end, ok := errors.AsType[*stopped](err)
	switch {
	case err == nil:
		r.out.Status = Succeeded
	case ok:
		r.out.Status, r.out.Error, r.out.Cause = end.status, end.name, end.cause
	default: // the context's
		r.out.Status, r.out.Cause = Aborted, err.Error()
	}
	r.out.Events++ // ExecutionSucceeded or its like
	r.out.Output = r.data
	return r.out
}

func (r *run) all(ctx context.Context) error {
	r.out.Events++ // ExecutionStarted
	var input bytes.Buffer
	if err := json.Compact(&input, r.e.Input); err != nil {
		return fails(ErrRuntime, "input: %v", err)
	}
	r.input = input.Bytes()
	r.data = r.input
	if err := r.measure(r.data); err != nil {
		return fails(err.Name, "input: %s", err.Cause)
	}
	var err error
	for name := r.m.StartAt; name != ""; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s := r.m.States[name]
		r.enter(name)
		if r.out.Events > MaxEvents {
			return fails(ErrRuntime, "the history has more than %d events", MaxEvents)
		}
		if name, err = r.step(ctx, s); err != nil {
			return err
		}
		if s.Type != "Fail" {
			r.out.Events++ // ...StateExited
		}
		if err := r.measure(r.data); err != nil {
			return fails(err.Name, "%s: %s", s.Name, err.Cause)
		}
	}
	return nil
}

func (r *run) enter(name string) {
	r.state, r.entered, r.retry = name, time.Now(), 0
	r.out.Path = append(r.out.Path, name)
	r.out.Events++ // ...StateEntered
	if r.e.Entered != nil {
		r.e.Entered(name)
	}
}

// measure refuses data that is too large.
func (r *run) measure(v []byte) *Error {
	r.out.MaxData = max(r.out.MaxData, len(v))
	if len(v) > MaxData {
		return &Error{ErrDataLimit, fmt.Sprintf("%d bytes are more than %d", len(v), MaxData)}
	}
	return nil
}

// step runs one state and returns the next one's name, "" at the end.
func (r *run) step(ctx context.Context, s *State) (string, error) {
	switch s.Type {
	case "Task":
		return r.task(ctx, s)
	case "Choice":
		return r.choose(s)
	case "Wait":
		d, err := r.delay(s)
		if err != nil {
			return "", err
		}
		return s.Next, sleep(ctx, d)
	case "Pass":
		return s.Next, r.pass(s)
	case "Fail":
		return "", &stopped{Failed, s.Error, s.Cause}
	}
	return "", nil // Succeed
}

func (r *run) choose(s *State) (string, error) {
	for n := range s.Rules {
		holds, err := s.Rules[n].holds(r.find)
		if err != nil {
			return "", fails(ErrRuntime, "%s: %v", s.Name, err)
		}
		if holds {
			return s.Rules[n].Next, nil
		}
	}
	if s.Default == "" {
		return "", fails("States.NoChoiceMatched", "%s", s.Name)
	}
	return s.Default, nil
}

func (r *run) delay(s *State) (time.Duration, error) {
	if s.Seconds != nil {
		return seconds(*s.Seconds), nil
	}
	v, ok := r.find(s.seconds)
	var n json.Number
	if ok {
		n, ok = scalar(v).(json.Number)
	}
	if !ok {
		return 0, fails(ErrRuntime, "%s: %s is not a number", s.Name, s.SecondsPath)
	}
	if f := number(n); f != math.Trunc(f) || f < 0 || f > maxWait {
		return 0, fails(ErrRuntime, "%s: %s is %s; whole seconds from 0 to %d are needed", s.Name, s.SecondsPath, n, maxWait)
	}
	return seconds(int(number(n))), nil
}

func (r *run) pass(s *State) error {
	result := r.data
	if s.parameters != nil {
		var err error
		if result, err = s.parameters.fill(nil, r.find); err != nil {
			return fails(ErrRuntime, "%s: %v", s.Name, err)
		}
	}
	if s.Result != nil {
		result = s.fixed
	}
	return r.put(s.result, result)
}

// put puts a result into the data.
func (r *run) put(at path, result []byte) error {
	v, err := at.put(r.data, result)
	if err != nil {
		return fails("States.ResultPathMatchFailure", "%s: %v", r.state, err)
	}
	r.data = v
	return nil
}

// find reads a path in the state's data or in the context object.
func (r *run) find(p path) ([]byte, bool) {
	if !p.context {
		return p.of(r.data)
	}
	const form = "2006-01-02T15:04:05.000Z"
	switch strings.Join(p.fields, ".") {
	case "Execution.Id":
		return quote(r.e.ID), true
	case "Execution.Name":
		return quote(r.e.Name), true
	case "Execution.Input":
		return r.input, true
	case "Execution.StartTime":
		return quote(r.started.UTC().Format(form)), true
	case "State.Name":
		return quote(r.state), true
	case "State.EnteredTime":
		return quote(r.entered.UTC().Format(form)), true
	case "State.RetryCount":
		return strconv.AppendInt(nil, int64(r.retry), 10), true
	}
	return nil, false // parsePath knows no other
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// sleep waits, or returns why ctx ended before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
