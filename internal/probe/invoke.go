// Package probe tries what is deployed in a region: each check of each instance
// through the deployed function, and a dry incident through the deployed bus,
// rule, state machine and function.
//
// It reboots nothing and tells nobody, because all it sends are events of the
// source firstline.canary, which alone makes an incident dry. What it changes is
// the baseline: which checks have passed. Only Notify sends messages, labelled as
// a test.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"

	"firstline/internal/deployed"
	"firstline/internal/fault"
	"firstline/internal/incident"
)

// invoker is the one call of Lambda's client that runs a function.
type invoker interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

const (
	// invokeTime bounds one invocation, as the state machine does.
	invokeTime = 150 * time.Second
	// attempts is how often an invocation is made that might do better.
	attempts = 3
	// firstPause is the least that passes before the second of them; each pause
	// is three times as long as the one before.
	firstPause = time.Second
)

// functionError is an error with which the deployed function answered: Kind is
// that of package fault, or Lambda's own, as in "Sandbox.Timedout".
type functionError struct {
	Kind    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (e *functionError) Error() string {
	switch {
	case e.Kind == "" && e.Message == "":
		return "the function ended with an error that says nothing"
	case e.Message == "":
		return e.Kind
	case e.Kind == "":
		return e.Message
	}
	return e.Kind + ": " + e.Message
}

// view is what is read of an incident. Its settings are those of the deployed
// version, which may have other fields.
type view struct {
	Settings   *incident.Settings         `json:"settings"`
	Findings   []incident.Finding         `json:"findings"`
	Next       string                     `json:"next"`
	Decision   *incident.Decision         `json:"decision"`
	HeldBy     *incident.Execution        `json:"held_by"`
	Suppressed []incident.Suppressed      `json:"suppressed"`
	Refusal    string                     `json:"refusal"`
	Caught     map[string]incident.Caught `json:"caught"`
}

// handled says that another execution holds the instance's lease.
func (v *view) handled() string {
	name := "its name is not known"
	if v.HeldBy != nil {
		name = "execution " + v.HeldBy.Name
	}
	return "an incident is being handled: " + name + "; try again when it has ended"
}

// errPart is why nothing can be invoked.
var errPart = errors.New("only a part of the region is deployed, without the function: deploy it again")

// function is the deployed function of a region.
type function struct {
	client invoker
	arn    string
}

// call runs one step of a dry incident and returns the incident. It tries again
// what may be over in a moment: such a step can be repeated at will.
func (f function) call(ctx context.Context, payload any) (*view, error) {
	raw, err := f.tried(ctx, payload, transient)
	if err != nil {
		return nil, err
	}
	v := new(view)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("the function did not answer with an incident: %w", err)
	}
	return v, nil
}

// answer runs a step of a region's deployed function that answers with a T, which is called what.
func answer[T any](ctx context.Context, client invoker, r deployed.Region, what string, payload map[string]any) (*T, error) {
	switch {
	case r.Lost != nil:
		return nil, r.Lost
	case r.FunctionARN == "":
		return nil, errPart
	}
	raw, err := function{client, r.FunctionARN}.tried(ctx, payload, transient)
	if err != nil {
		return nil, errors.New(Said(err))
	}
	x := new(T)
	if err := json.Unmarshal(raw, x); err != nil {
		return nil, fmt.Errorf("the function did not answer with %s: %w", what, err)
	}
	return x, nil
}

// tried runs one step and returns its answer. It tries again after an error that
// again picks.
func (f function) tried(ctx context.Context, payload any, again func(error) bool) ([]byte, error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	pause := firstPause
	for n := 1; ; n++ {
		answer, err := f.once(ctx, raw)
		if err == nil || ctx.Err() != nil || n == attempts || !again(err) {
			return answer, err
		}
		// Jitter, since many instances meet the same trouble at once.
		if err := sleep(ctx, pause+rand.N(pause)); err != nil { //nolint:gosec // no secret depends on it
			return nil, err
		}
		pause *= 3
	}
}

func (f function) once(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, invokeTime)
	defer cancel()
	out, err := f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.arn, Payload: payload}, func(o *lambda.Options) {
		// tried does it, with more patience.
		o.RetryMaxAttempts = 1
	})
	if err != nil {
		return nil, err
	}
	if out.FunctionError != nil {
		e := new(functionError)
		if json.Unmarshal(out.Payload, e) != nil {
			e.Message = incident.Clip(string(out.Payload), 500)
		}
		return nil, e
	}
	return out.Payload, nil
}

// notRun reports whether an invocation has surely not run the function, and may
// do so in a moment.
func notRun(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	// A function that was deployed just now may not be ready.
	return ok && (fault.Throttled(err) || api.ErrorCode() == "ResourceConflictException")
}

// transient reports whether an invocation may do better in a moment.
func transient(err error) bool {
	if e, ok := errors.AsType[*functionError](err); ok {
		return e.Kind == string(fault.Unavailable)
	}
	if _, ok := errors.AsType[smithy.APIError](err); ok {
		return notRun(err) || fault.ServerFault(err)
	}
	_, lost := errors.AsType[*url.Error](err)
	return lost
}

// Said puts an error of a call of AWS into few words.
func Said(err error) string {
	if e, ok := errors.AsType[*functionError](err); ok {
		return e.Error()
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return fmt.Sprintf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		host := u.URL
		if address, err := url.Parse(u.URL); err == nil {
			host = address.Host
		}
		return fmt.Sprintf("no answer from %s: %v", host, u.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", invokeTime)
	}
	return err.Error()
}

// Unpack takes the message out of the JSON in which Lambda reports a function's
// error.
func Unpack(cause string) string {
	var e functionError
	if json.Unmarshal([]byte(cause), &e) == nil && e.Message != "" {
		return e.Message
	}
	return cause
}

// InRegion is the configuration of a region's clients.
func InRegion(cfg aws.Config, region string) aws.Config {
	cfg = cfg.Copy()
	cfg.Region = region
	return cfg
}

// sleep waits unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
