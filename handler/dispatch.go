package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/redact"
)

const (
	// reserve is kept of the function's time, so that a step that runs out of it
	// can still say so. The function has 30 s at least.
	reserve = time.Second
	// maxMessage bounds an error's message, in bytes: Step Functions keeps it in
	// the incident.
	maxMessage = 2000
)

// request is the payload of an invocation.
type request struct {
	Step string `json:"step"`
	// Incident is the state machine's state, for the steps of an incident.
	Incident json.RawMessage `json:"incident,omitempty"`
	// Event and Execution are for open, verify and explain.
	Event     json.RawMessage     `json:"event,omitempty"`
	Execution *incident.Execution `json:"execution,omitempty"`
	// Probe is for StepProbe.
	Probe json.RawMessage `json:"probe,omitempty"`
}

// step is a step that a payload may name.
type step struct {
	// takes are the fields that the payload must have beside the step, and no
	// others.
	takes []string
	// run returns the step's answer.
	run func(context.Context, *Handler, request) (answer any, err error)
}

// steps are all steps. coverage, verify, explain and notify-test are for the operator's
// command, reconcile for the schedule, probe for other regions, the others for the
// state machine.
var steps = map[string]step{
	"open":                {[]string{"event", "execution"}, open},
	incident.CheckURL:     onIncident(check(incident.CheckURL)),
	incident.CheckRoute53: onIncident(check(incident.CheckRoute53)),
	incident.CheckSSH:     onIncident(check(incident.CheckSSH)),
	"decide":              onIncident(decide),
	"reboot":              onIncident(reboot),
	"page":                onAnything(page),
	"slack":               onAnything(tellSlack),
	"resolve":             onAnything(resolve),
	"close":               onAnything(closeIncident),
	"reconcile":           {nil, reconcile},
	"coverage":            {nil, compare},
	"channels":            {nil, tellChannels},
	"verify":              {[]string{"event", "execution"}, verify},
	"explain":             {[]string{"event", "execution"}, explain},
	"notify-test":         {nil, notifyTest},
	StepProbe:             {[]string{"probe"}, runProbe},
}

// Steps returns the names of all steps, sorted.
func Steps() []string { return slices.Sorted(maps.Keys(steps)) }

// Invoke runs the step that the payload names. It is lambda.Handler's method.
// Every error is a messages.InvokeResponse_Error whose type is the name of a
// fault.Kind: aws-lambda-go passes a chosen name on only in that form.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	start := time.Now()
	name, answer, err := h.run(ctx, payload)
	var out []byte
	if err == nil {
		out, err = json.Marshal(answer)
	}
	h.log(ctx, name, answer, time.Since(start), err)
	if err != nil {
		return nil, messages.InvokeResponse_Error{Type: string(fault.KindOf(err)), Message: incident.Clip(redact.Error(err), maxMessage)}
	}
	return out, nil
}

// run decodes the payload and runs its step within the function's time.
func (h *Handler) run(ctx context.Context, payload []byte) (name string, answer any, err error) {
	defer func() {
		if r := recover(); r != nil {
			answer, err = nil, h.panicked(ctx, name, r)
		}
	}()
	const op = "decode payload"
	var req request
	if err := incident.DecodeStrict(payload, &req); err != nil {
		return "", nil, fault.New(fault.InvalidInput, op, "%w", err)
	}
	name = req.Step
	s, ok := steps[name]
	if !ok {
		return name, nil, fault.New(fault.InvalidInput, op, "step: %q is unknown; use one of %s", name, strings.Join(Steps(), ", "))
	}
	if name != h.OnlyStep && (h.OnlyStep != "" || name == StepProbe) {
		return name, nil, fault.New(fault.InvalidInput, op, "step: this function does not run %s, since its FIRSTLINE_ONLY_STEP is %q", name, h.OnlyStep)
	}
	given := map[string]bool{"incident": req.Incident != nil, "event": req.Event != nil, "execution": req.Execution != nil, "probe": req.Probe != nil}
	for _, field := range slices.Sorted(maps.Keys(given)) {
		switch wanted := slices.Contains(s.takes, field); {
		case wanted && !given[field]:
			return name, nil, fault.New(fault.InvalidInput, op, "%s: missing; the step %s needs it", field, name)
		case !wanted && given[field]:
			return name, nil, fault.New(fault.InvalidInput, op, "%s: the step %s takes none", field, name)
		}
	}
	ctx, cancel := keeping(ctx, reserve)
	defer cancel()
	answer, err = s.run(ctx, h, req)
	return name, answer, err
}

// panicked logs a panic and makes an error of it.
func (h *Handler) panicked(ctx context.Context, op string, why any) error {
	h.Log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("step", op), slog.Any("panic", why), slog.String("stack", string(debug.Stack())))
	return fault.New(fault.Internal, op, "panic: %v", why)
}

// onIncident makes a step of a func that works on a valid incident.
func onIncident(do func(context.Context, *Handler, *incident.Incident) error) step {
	return step{[]string{"incident"}, func(ctx context.Context, h *Handler, req request) (any, error) {
		inc := new(incident.Incident)
		err := incident.DecodeStrict(req.Incident, inc)
		if err == nil {
			err = inc.Validate()
		}
		if err == nil && inc.Region != h.Region {
			err = fmt.Errorf("incident.region: it is of %s, this function runs in %s", inc.Region, h.Region)
		}
		if err != nil {
			return nil, fault.New(fault.InvalidInput, "decode incident", "%w", err)
		}
		redactCaught(inc)
		return inc, do(ctx, h, inc)
	}}
}

// onAnything makes a step that works on an incident however little is known of
// it: a message that nobody gets is worse than an ugly one, and so is a lease
// that nobody gives back.
func onAnything(do func(context.Context, *Handler, *incident.Incident) error) step {
	return step{[]string{"incident"}, func(ctx context.Context, h *Handler, req request) (any, error) {
		inc := new(incident.Incident)
		if err := incident.DecodeStrict(req.Incident, inc); err != nil {
			inc = incident.Salvage(req.Incident)
			inc.Catch("decode", incident.Caught{Error: string(fault.InvalidInput), Cause: err.Error()})
		}
		redactCaught(inc)
		if inc.InstanceID != "" && !incident.ValidInstanceID(inc.InstanceID) {
			return nil, fault.New(fault.InvalidInput, "decode incident", "incident.instance_id: %q is not an instance id such as i-0c1cbf2e7abdedf75", inc.InstanceID)
		}
		if inc.InstanceID == "" && incident.SourceOf(inc.Event) == incident.SourceCanary {
			inc.Dry = true // open, which says so otherwise, has failed
		}
		return inc, do(ctx, h, inc)
	}}
}

// redactCaught makes what Step Functions caught fit to be kept and shown: the
// message alone, without what looks like a secret.
func redactCaught(inc *incident.Incident) {
	for name, c := range inc.Caught {
		var lambda struct {
			Message string `json:"errorMessage"`
		}
		if json.Unmarshal([]byte(c.Cause), &lambda) == nil && lambda.Message != "" {
			c.Cause = lambda.Message
		}
		c.Cause = incident.Clip(redact.Text(c.Cause), maxMessage)
		inc.Caught[name] = c
	}
}

// log writes one line per step. What an incident holds is in its record and in
// the log of Step Functions.
func (h *Handler) log(ctx context.Context, name string, answer any, elapsed time.Duration, err error) {
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("step", name), slog.Int64("elapsed_ms", elapsed.Milliseconds())}
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("request_id", lc.AwsRequestID))
	}
	if inc, ok := answer.(*incident.Incident); ok && inc != nil {
		attrs = append(attrs, slog.String("instance", inc.InstanceID), slog.String("execution", inc.Execution.Name), slog.Int("look", inc.Look), slog.String("next", inc.Next))
	} else if answer != nil {
		attrs = append(attrs, slog.Any("answer", answer))
	}
	if err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", redact.Error(err)), slog.String("kind", string(fault.KindOf(err))))
	}
	h.Log.LogAttrs(ctx, level, "step", attrs...)
}

// joined makes one error of those of several tries; nil ones are left out. One
// that may pass speaks for all: the step is to be tried again.
func joined(op string, errs []error) error {
	var kind fault.Kind
	var texts []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		if k := fault.KindOf(err); kind == "" || k == fault.Unavailable {
			kind = k
		}
		texts = append(texts, redact.Error(err))
	}
	if texts == nil {
		return nil
	}
	return fault.New(kind, op, "%s", strings.Join(texts, "; "))
}

// keeping is a context that ends some time before the function's time does.
func keeping(ctx context.Context, kept time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-kept))
}

// share is a context with its part of the time that is left.
func share(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(parts))
}

// atOnce is how many calls one step makes at the same time.
const atOnce = 8

// sideBySide calls do for each item, some at once, and returns their errors, one
// for each item. A panic ends that call only.
func sideBySide[T any](ctx context.Context, h *Handler, items []T, do func(T) error) []error {
	errs := make([]error, len(items))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for n, item := range items {
		places <- struct{}{}
		all.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[n] = h.panicked(ctx, "side by side", r)
				}
				<-places
			}()
			errs[n] = do(item)
		})
	}
	all.Wait()
	return errs
}
