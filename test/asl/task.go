package asl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// task runs a Task with its retries and returns the next state's name.
func (r *run) task(ctx context.Context, s *State) (string, error) {
	used := make([]int, len(s.Retry))
	for {
		result, err := r.attempt(ctx, s)
		if err == nil {
			return s.Next, r.result(s, result)
		}
		failed, ok := errors.AsType[*Error](err)
		if !ok {
			return "", err
		}
		r.out.Failures = append(r.out.Failures, Failure{s.Name, *failed})
		again, err := r.again(ctx, s, used, failed)
		if err != nil {
			return "", err
		}
		if !again {
			return r.caught(s, failed)
		}
	}
}

// result puts the result of a Task where it belongs.
func (r *run) result(s *State, result []byte) error {
	if err := r.put(s.result, result); err != nil {
		return err
	}
	v, ok := s.output.of(r.data)
	if !ok {
		return fails(ErrRuntime, "%s: OutputPath: %s does not exist", s.Name, s.output)
	}
	r.data = v
	return nil
}

// again waits for the next attempt, if the Task has one for this error. Only
// the first retrier that names the error counts.
func (r *run) again(ctx context.Context, s *State, used []int, failed *Error) (bool, error) {
	n := slices.IndexFunc(s.Retry, func(t Retrier) bool { return named(t.ErrorEquals, failed.Name) })
	if n < 0 || used[n] >= s.Retry[n].MaxAttempts {
		return false, nil
	}
	d := s.Retry[n].Delay(used[n])
	if r.e.Jitter != nil && s.Retry[n].JitterStrategy == "FULL" {
		d = r.e.Jitter(d)
	}
	used[n]++
	r.retry++
	r.out.Retries++
	return true, sleep(ctx, d)
}

// Delay is how long a retrier waits at most before a retry, counted from 0.
func (t *Retrier) Delay(retry int) time.Duration {
	s := float64(t.IntervalSeconds) * math.Pow(t.BackoffRate, float64(retry))
	if t.MaxDelaySeconds > 0 {
		s = min(s, float64(t.MaxDelaySeconds))
	}
	return time.Duration(min(s, maxWait) * float64(time.Second))
}

// caught looks for the Catch that takes an error.
func (r *run) caught(s *State, failed *Error) (string, error) {
	for _, c := range s.Catch {
		if named(c.ErrorEquals, failed.Name) {
			return c.Next, r.put(c.result, mustEncode(map[string]any{"Error": failed.Name, "Cause": failed.Cause}))
		}
	}
	return "", fails(failed.Name, "%s", failed.Cause)
}

// named reports whether ErrorEquals names an error. The wildcards leave out
// what ends an execution in any case.
func named(names []string, name string) bool {
	terminal := name == ErrRuntime || name == ErrDataLimit
	return slices.ContainsFunc(names, func(n string) bool {
		switch n {
		case ErrAll:
			return !terminal
		case ErrTaskFailed:
			return !terminal && name != ErrTimeout
		}
		return n == name
	})
}

// attempt invokes the function once. An *Error is the Task's; any other error
// ends the execution.
func (r *run) attempt(ctx context.Context, s *State) ([]byte, error) {
	c := Call{Execution: r.e.Name, State: s.Name, FunctionName: s.parameters.object["FunctionName"].value.(string), Attempt: r.retry}
	if payload, ok := s.parameters.object["Payload"]; ok {
		var err error
		if c.Payload, err = payload.fill(nil, r.find); err != nil {
			return nil, fails(ErrRuntime, "%s: %v", s.Name, err)
		}
	}
	if r.e.Stop != nil && r.e.Stop(c) {
		return nil, &stopped{Aborted, "", "stopped before " + s.Name}
	}
	r.out.Events += 2 // TaskScheduled, TaskStarted
	payload, err := r.invoke(ctx, s, c)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.out.Events++ // TaskSucceeded, TaskFailed or TaskTimedOut
	if err != nil {
		if failed, ok := errors.AsType[*Error](err); ok {
			return nil, failed
		}
		return nil, &Error{"Lambda.Unknown", err.Error()}
	}
	if !json.Valid(payload) {
		return nil, &Error{"Lambda.Unknown", "the function did not return JSON"}
	}
	if err := r.measure(payload); err != nil {
		return nil, err
	}
	return slices.Concat([]byte(`{"ExecutedVersion":"1","Payload":`), bytes.TrimSpace(payload), []byte(`,"StatusCode":200}`)), nil
}

// invoke waits for the function until the Task's time is over or ctx ends. The
// function runs on then, as Lambda's does.
func (r *run) invoke(ctx context.Context, s *State, c Call) (json.RawMessage, error) {
	type answer struct {
		raw json.RawMessage
		err error
	}
	answers := make(chan answer, 1)
	if r.calls == nil {
		calls := make(chan func())
		go func() {
			for call := range calls {
				call()
			}
		}()
		r.calls = calls
	}
	r.calls <- func() {
		raw, err := r.e.Invoke(context.WithoutCancel(ctx), c)
		answers <- answer{raw, err}
	}
	var late <-chan time.Time
	if s.TimeoutSeconds > 0 {
		timer := time.NewTimer(seconds(s.TimeoutSeconds))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case a := <-answers:
		return a.raw, a.err
	case <-late:
		r.leave()
		return nil, &Error{ErrTimeout, fmt.Sprintf("%s took longer than %d s", s.Name, s.TimeoutSeconds)}
	case <-ctx.Done():
		r.leave()
		return nil, context.Cause(ctx)
	}
}

// leave lets the function end by itself; a further invocation has a goroutine of
// its own.
func (r *run) leave() {
	if r.calls != nil {
		close(r.calls)
		r.calls = nil
	}
}
