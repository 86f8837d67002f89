package probe

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"firstline/internal/deployed"
	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// Result is what came of a check.
type Result string

const (
	// Passed says that the target did what a healthy one does, or that a message
	// or a reboot could have been sent.
	Passed Result = "passed"
	// Failed says that the target is at fault: an alarm would have it rebooted.
	Failed Result = "failed"
	// Errored says that it could not be told or done: an alarm would page.
	Errored Result = "error"
	// Skipped says that the settings turn it off, or that nothing was asked.
	Skipped Result = "skipped"
	// Warned says that nothing keeps the first line from its work, as far as could
	// be told, and that somebody should look.
	Warned Result = "warning"
)

// What is tried beside the checks of package checks. The names are also those of
// the function's steps.
const (
	CheckReboot   = "reboot"
	CheckBaseline = "baseline"
	CheckSlack    = "slack"
	// CheckOpsGenie is all pagers, whatever their types: the step has kept its name.
	CheckOpsGenie = "opsgenie"
)

// Verification is what came of trying everything in one region.
type Verification struct {
	Region    string           `json:"region"`
	Instances []InstanceResult `json:"instances"`
	// Messages are Slack and the pagers, which are one, and the subscriptions of a
	// topic that is among them.
	Messages []CheckResult `json:"messages,omitempty"`
	// Error is why the region was given up; what had not been tried by then is
	// Skipped.
	Error string `json:"error,omitempty"`
}

// InstanceResult is what came of trying one instance.
type InstanceResult struct {
	ID string `json:"id"`
	// Checks are URL, Route 53, SSH, the reboot and the baseline, in this order.
	Checks []CheckResult `json:"checks"`
}

// CheckResult is what came of one check.
type CheckResult struct {
	// Check is url, route53, ssh, reboot, baseline, slack, opsgenie or subscriptions.
	Check  string `json:"check"`
	Result Result `json:"result"`
	// Reason says in words what was seen.
	Reason    string `json:"reason,omitempty"`
	ElapsedMs int64  `json:"elapsedMs"`
}

// Failed reports whether an instance would fail a check today.
func (v Verification) Failed() bool { return v.has(Failed) }

// Broken reports whether something could not be told or could not be done: the
// first line would not do its work here.
func (v Verification) Broken() bool { return v.Error != "" || v.has(Errored) }

// Denied reports whether the function was refused a right. One that is new may
// only need a moment.
func (v Verification) Denied() bool {
	return v.any(func(c CheckResult) bool {
		return c.Result == Errored && strings.HasPrefix(c.Reason, string(fault.Denied)+": ")
	})
}

func (v Verification) has(r Result) bool {
	return v.any(func(c CheckResult) bool { return c.Result == r })
}

func (v Verification) any(of func(CheckResult) bool) bool {
	return slices.ContainsFunc(v.Messages, of) ||
		slices.ContainsFunc(v.Instances, func(i InstanceResult) bool { return slices.ContainsFunc(i.Checks, of) })
}

const (
	// concurrency is how many invocations are under way in a region. A new
	// account may run ten, and real incidents go on meanwhile
	// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
	concurrency = 8
	// route53Interval keeps an account below Route 53's five requests a second
	// (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html).
	route53Interval = time.Second / 4
	// rebootInterval leaves EC2's bucket for calls that change something, which
	// refills with five a second in each region, to the reboots that are meant: a
	// dry run counts like one
	// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html).
	// It also is the pace of the whole, a thousand instances in six minutes.
	rebootInterval = time.Second / 3
)

// Verifier tries what is deployed in the regions of one account. Its methods may
// be called concurrently.
type Verifier struct {
	client func(region string) invoker
	topics func(region string) topicReader
	// route53 is of all regions together, reboots the interval of each.
	route53 *pacer
	reboots time.Duration
	pause   time.Duration
}

// NewVerifier returns a Verifier that calls AWS as cfg says, whose region does
// not matter.
func NewVerifier(cfg aws.Config) *Verifier {
	return &Verifier{
		client:  func(region string) invoker { return lambda.NewFromConfig(clientConfig(cfg, region)) },
		topics:  topicsOf(cfg),
		route53: &pacer{interval: route53Interval},
		reboots: rebootInterval,
		pause:   firstPause,
	}
}

// Verify tries, through the deployed function, each check of each instance of
// r.InstanceIDs and whether it may be rebooted, and the way to Slack and
// the pagers; and it asks SNS for the subscriptions of a pager's topic. It reboots nothing and sends nothing. What has passed it has the
// function keep: a check that never passed cannot cause a reboot. It tells how
// many instances are done.
//
// A failure is never an error of Verify: everything is in the Verification, also
// that ctx has ended.
func (v *Verifier) Verify(ctx context.Context, r deployed.Region, tell func(done, total int)) Verification {
	run := &verification{
		Verifier: v,
		region:   r,
		function: &function{client: v.client(r.Region), arn: r.FunctionARN, slots: make(chan struct{}, concurrency), pause: v.pause},
		ec2:      &pacer{interval: v.reboots},
		tell:     tell,
		result:   Verification{Region: r.Region, Instances: make([]InstanceResult, len(r.InstanceIDs))},
	}
	for n, id := range r.InstanceIDs {
		run.result.Instances[n] = newInstanceResult(id)
	}
	if r.FunctionARN == "" {
		run.result.Error = "only a part of the region is deployed, without the function: deploy it again"
		return run.result
	}
	run.all(ctx)
	return run.result
}

// newInstanceResult is a result in which nothing was tried.
func newInstanceResult(id string) InstanceResult {
	i := InstanceResult{ID: id}
	for _, check := range []string{checks.NameURL, checks.NameRoute53, checks.NameSSH, CheckReboot, CheckBaseline} {
		i.Checks = append(i.Checks, CheckResult{Check: check, Result: Skipped, Reason: "not tried"})
	}
	return i
}

// verification is one run of Verify.
type verification struct {
	*Verifier
	region   deployed.Region
	function *function
	ec2      *pacer
	tell     func(done, total int)

	mu     sync.Mutex
	done   int
	result Verification
	// first is an incident to make messages of.
	first *opened
}

func (v *verification) all(ctx context.Context) {
	caller := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	// As many as there are slots, so that the first are done first.
	next := make(chan int)
	for range min(concurrency, len(v.region.InstanceIDs)) {
		wg.Go(func() {
			for n := range next {
				v.instance(ctx, stop, &v.result.Instances[n])
			}
		})
	}
	for n := range v.region.InstanceIDs {
		select {
		case next <- n:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	switch {
	case caller.Err() != nil:
		v.result.Error = "interrupted"
	case ctx.Err() != nil:
		v.result.Error = context.Cause(ctx).Error()
	default:
		v.messages(ctx)
		if caller.Err() != nil {
			v.result.Error = "interrupted"
		}
	}
}

// instance tries one instance. Each check starts from the incident as it was
// opened, so that none hides another.
func (v *verification) instance(ctx context.Context, stop context.CancelCauseFunc, i *InstanceResult) {
	o, err := v.open(ctx, i.ID)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if _, ok := errors.AsType[stopError](err); ok {
			stop(err)
			return
		}
		for n := range i.Checks {
			i.Checks[n].Result, i.Checks[n].Reason = Errored, "open: "+err.Error()
		}
	} else {
		v.mu.Lock()
		if v.first == nil {
			v.first = o
		}
		v.mu.Unlock()
		var seen []json.RawMessage
		for n := range i.Checks {
			// It is the last one, of what the others have seen.
			if i.Checks[n].Check == CheckBaseline {
				if c, ok := v.baseline(ctx, o, seen, i.passed()); ok {
					i.Checks[n] = c
				}
				continue
			}
			if c, after, ok := v.check(ctx, i.Checks[n].Check, o); ok {
				i.Checks[n] = c
				if after != nil {
					seen = append(seen, after.findings()...)
				}
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done++
	if v.tell != nil {
		v.tell(v.done, len(v.result.Instances))
	}
}

// passed returns the names of the checks of the instance that have passed.
func (i *InstanceResult) passed() []string {
	var names []string
	for _, c := range i.Checks {
		if c.Result == Passed && slices.Contains([]string{checks.NameURL, checks.NameRoute53, checks.NameSSH}, c.Check) {
			names = append(names, c.Check)
		}
	}
	return names
}

// stopError is an error that the other instances would meet too: the region is
// given up.
type stopError struct{ text string }

func (e stopError) Error() string { return e.text }

// open has the function open a dry incident of an instance. What it returns is
// dry: nothing else is safe to go on with.
func (v *verification) open(ctx context.Context, instanceID string) (*opened, error) {
	now := time.Now()
	g, err := newRing(v.region, instanceID, "A verification, which acts on nothing.", now)
	if err != nil {
		return nil, err
	}
	id := "verify-" + rand.Text()
	o, err := v.function.call(ctx, map[string]any{
		"step":      "open",
		"event":     g.event(v.region, id, now),
		"execution": incident.Execution{ID: id, Name: id, StartedAt: now.UTC()},
	})
	if err != nil {
		e, answered := errors.AsType[*functionError](err)
		switch {
		case answered && e.Kind == string(fault.InvalidInput) && strings.Contains(e.Message, incident.SourceCanary):
			return nil, stopError{"the deployed function knows no dry incidents: deploy this version first (" + e.Message + ")"}
		case answered, fault.Throttled(err):
			return nil, errors.New(Said(err))
		}
		return nil, stopError{"no incident can be opened: " + Said(err)}
	}
	if !o.Dry {
		return nil, stopError{fmt.Sprintf("the deployed function opened an incident of %s that is not dry, and nothing was done with it: deploy this version first", instanceID)}
	}
	return o, nil
}

// check tries one thing on an opened incident and returns what came of it, and
// the incident afterwards, which is nil after an error; ok is false when ctx
// ended before it could be told.
func (v *verification) check(ctx context.Context, check string, o *opened) (c CheckResult, after *opened, ok bool) {
	asks := check == checks.NameRoute53 && o.Settings.Route53.HealthCheckID != ""
	if asks && v.route53.wait(ctx) != nil || check == CheckReboot && v.ec2.wait(ctx) != nil {
		return c, nil, false
	}
	start := time.Now()
	after, err := v.function.call(ctx, map[string]any{"step": check, "incident": o.raw})
	if ctx.Err() != nil {
		return c, nil, false
	}
	c = CheckResult{Check: check, Result: Errored, ElapsedMs: time.Since(start).Milliseconds()}
	if err != nil {
		c.Reason = Said(err)
		if check == CheckSlack || check == CheckOpsGenie {
			c.Reason += whatToSet(c.Reason)
		}
		return c, nil, true
	}
	switch check {
	case CheckReboot:
		c.suppressed(after, incident.ActionReboot, "EC2 would reboot it")
	case CheckSlack:
		c.suppressed(after, incident.ActionSlack, "the token is stored; nothing was sent")
	case CheckOpsGenie:
		c.suppressed(after, incident.ActionPage, pagersReady(v.region.Pagers))
	default:
		c.found(after)
		if asks && len(after.Findings) > 0 {
			// The function asks again by itself when what it hears is bad.
			v.route53.charge(after.Findings[len(after.Findings)-1].Attempts - 1)
		}
	}
	return c, after, true
}

// baseline has the function keep which checks have passed with the settings of
// today: no other may cause a reboot. ok is false when ctx ended before it could
// be told.
func (v *verification) baseline(ctx context.Context, o *opened, seen []json.RawMessage, passed []string) (c CheckResult, ok bool) {
	c = CheckResult{Check: CheckBaseline, Result: Skipped, Reason: "no check has passed, so there is nothing to keep"}
	if len(passed) == 0 {
		return c, true
	}
	start := time.Now()
	inc, err := o.with(seen)
	if err == nil {
		_, err = v.function.call(ctx, map[string]any{"step": CheckBaseline, "incident": inc})
	}
	if ctx.Err() != nil {
		return c, false
	}
	c.Result, c.Reason, c.ElapsedMs = Passed, "kept: "+strings.Join(passed, ", "), time.Since(start).Milliseconds()
	if err != nil {
		c.Result, c.Reason = Errored, Said(err)
		if e, answered := errors.AsType[*functionError](err); answered && e.Kind == string(fault.InvalidInput) && strings.Contains(e.Message, `step: "`+CheckBaseline+`" is unknown`) {
			c.Reason = "the deployed function keeps no baseline: deploy this version first (" + e.Message + ")"
		}
	}
	return c, true
}

// pagersReady says what it means that a page could be rehearsed.
func pagersReady(pagers []string) string {
	keys := 0
	for _, p := range pagers {
		if p != pagerSNS {
			keys++
		}
	}
	switch {
	case keys == 0 && len(pagers) > 0:
		return "no key is needed; nothing was sent"
	case keys > 1:
		return "the keys are stored; nothing was sent"
	}
	return "the key is stored; nothing was sent"
}

// found takes a check's result from its finding.
func (c *CheckResult) found(o *opened) {
	for _, f := range slices.Backward(o.Findings) {
		if f.Check != c.Check {
			continue
		}
		c.Reason, c.ElapsedMs = f.Reason, f.ElapsedMs
		switch {
		case f.Skipped:
			c.Result = Skipped
		case f.Passed:
			c.Result = Passed
		default:
			c.Result = Failed
		}
		return
	}
	c.Reason = "the function answered without a finding"
}

// suppressed takes a result from whether an action was prepared and left undone.
func (c *CheckResult) suppressed(o *opened, action, reason string) {
	if !o.suppresses(action) {
		c.Reason = "the function did not say what it would have done"
		return
	}
	c.Result, c.Reason = Passed, reason
}

// messages tries Slack and the pagers on one of the incidents, and asks who is
// subscribed to a pager's topic.
func (v *verification) messages(ctx context.Context) {
	var (
		wg    sync.WaitGroup
		topic CheckResult
		asked bool
	)
	wg.Go(func() { topic, asked = subscriptions(ctx, v.topics, v.region) })
	v.result.Messages = []CheckResult{{Check: CheckSlack, Result: Skipped}, {Check: CheckOpsGenie, Result: Skipped}}
	for n := range v.result.Messages {
		m := &v.result.Messages[n]
		switch {
		case len(v.result.Instances) == 0:
			m.Reason = "no instance is watched here, so there is nothing to tell of"
		case v.first == nil:
			m.Reason = "no incident could be opened to tell of"
		default:
			m.Reason = "not tried"
			wg.Go(func() {
				if c, _, ok := v.check(ctx, m.Check, v.first); ok {
					*m = c
				}
			})
		}
	}
	wg.Wait()
	if asked {
		v.result.Messages = append(v.result.Messages, topic)
	}
}
