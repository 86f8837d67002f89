package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"firstline/internal/deployed"
	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Result is what came of a check. An unknown finding has its kind for a result
// ("attention", "busy"), but for a blind one, which is an error.
type Result string

// Results beside the kinds of an unknown finding.
const (
	// Passed says that the target did what a healthy one does, or that a message
	// or a reboot could have been sent.
	Passed Result = "passed"
	// Failed says that the target is at fault and a reboot may cure it.
	Failed Result = "failed"
	// Errored says that firstline could not tell or could not do something.
	Errored Result = "error"
	// Skipped says that the settings turn it off, or that nothing was asked.
	Skipped Result = "skipped"
	// Handled says that nothing was asked, as an incident is being handled.
	Handled Result = "handled"
	// Warned says that nothing keeps firstline from its work, as far as could be
	// told, and that somebody should look.
	Warned Result = "warning"
	// Untried says that what is needed is there, and that only a message would show
	// whether it works.
	Untried Result = "untried"
)

// What is tried beside the checks of incident.Checks.
const (
	CheckReboot = "reboot"
	CheckSlack  = "slack"
	// CheckPager is all pagers, whatever their types.
	CheckPager = "pager"
)

// Verification is what came of trying everything in one region.
type Verification struct {
	Region    string           `json:"region"`
	Instances []InstanceResult `json:"instances"`
	// Deployment is what all instances share: Slack, the pagers, which are one,
	// Lambda's concurrency, the rules, the subscriptions of a topic that is among the pagers,
	// the subscribers of the deployment's own, and the heartbeat. The alarms are there when none of them
	// could be read.
	Deployment []CheckResult `json:"deployment,omitempty"`
	// Error is why the region was given up; what had not been tried by then is
	// Skipped.
	Error string `json:"error,omitempty"`
}

// InstanceResult is what came of trying one instance.
type InstanceResult struct {
	ID string `json:"instance_id"`
	// Checks are URL, Route 53, SSH, the reboot and the alarm, in this order.
	Checks []CheckResult `json:"checks"`
}

// CheckResult is what came of one check.
type CheckResult struct {
	// Check is url, route53, ssh, reboot, alarm, slack, pager, concurrency,
	// rules, subscriptions, subscribers or heartbeat; of doctor also instance, firewall, policies,
	// terraform or refusal.
	Check  string `json:"check"`
	Result Result `json:"result"`
	// Reason says in words what was seen.
	Reason    string `json:"reason,omitempty"`
	ElapsedMs int64  `json:"elapsed_ms"`
}

// OK reports whether nothing is left to be done about it.
func (r Result) OK() bool { return r == Passed || r == Skipped || r == Warned || r == Untried }

// Failed reports whether an instance is not healthy, or could not be asked as an
// incident is being handled.
func (v Verification) Failed() bool {
	return v.any(func(c CheckResult) bool { return !c.Result.OK() && c.Result != Errored })
}

// Broken reports whether firstline would not do its work here: something could
// not be told or could not be done.
func (v Verification) Broken() bool {
	return v.Error != "" || v.any(func(c CheckResult) bool { return c.Result == Errored })
}

// Denied reports whether AWS refused the function a right. One that is new may
// only need a moment; a secret that Slack or a pager refuses stays wrong.
func (v Verification) Denied() bool {
	return v.any(func(c CheckResult) bool {
		words := []string{"Denied", "Unauthorized", "not authorized"}
		if c.Check == CheckSlack || c.Check == CheckPager {
			words = []string{"AccessDenied", "not authorized to perform"}
		}
		return c.Result == Errored && slices.ContainsFunc(words, func(word string) bool { return strings.Contains(c.Reason, word) })
	})
}

func (v Verification) any(of func(CheckResult) bool) bool {
	return slices.ContainsFunc(v.Deployment, of) ||
		slices.ContainsFunc(v.Instances, func(i InstanceResult) bool { return slices.ContainsFunc(i.Checks, of) })
}

const (
	// concurrency is how many invocations are under way in a region. A new
	// account may run ten, and real incidents go on meanwhile
	// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
	concurrency = 8
	// interval is the time between two instances, of all regions together: an
	// account may send Route 53 five requests a second
	// (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html).
	interval = time.Second / 4
	// An instance that an incident is being handled of is tried so often, with
	// such pauses: a healthy look takes a few seconds.
	handledTries = 3
	handledPause = 15 * time.Second
)

// Verifier tries what is deployed in the regions of one account. Its methods may
// be called concurrently.
type Verifier struct {
	client func(region string) invoker
	topics func(region string) topicReader
	read   func(region string) clients
	// pace has a tick for each instance.
	pace <-chan time.Time
}

// NewVerifier returns a Verifier that calls AWS as cfg says, whose region does
// not matter.
func NewVerifier(cfg aws.Config) *Verifier {
	return &Verifier{
		client: func(region string) invoker { return lambda.NewFromConfig(InRegion(cfg, region)) },
		topics: topicsOf(cfg),
		read: func(region string) clients {
			cfg := InRegion(cfg, region)
			return clients{lambda.NewFromConfig(cfg), sns.NewFromConfig(cfg), sqs.NewFromConfig(cfg), eventbridge.NewFromConfig(cfg), iam.NewFromConfig(cfg)}
		},
		pace: time.Tick(interval),
	}
}

// clients are a region's, with the caller's own rights. They only read.
type clients struct {
	lambda functionReader
	sns    subscriptionReader
	sqs    queueReader
	events ruleReader
	iam    roleReader
}

// Verify tries, through the deployed function, each check of each instance of
// r.InstanceIDs and whether it may be rebooted, and the ways to Slack and the
// pagers, and it asks it whether the alarms can fire. With the caller's own rights it asks
// whether the rules start what they should, who hears what the topics say, and for
// Lambda's quota.
// It reboots nothing and sends nothing. What has passed the function keeps as the
// baseline: a check that never passed cannot cause a reboot. It tells how many instances
// are done.
//
// A failure is never an error of Verify: everything is in the Verification, also
// that ctx has ended.
func (v *Verifier) Verify(ctx context.Context, r deployed.Region, tell func(done, total int)) Verification {
	result := Verification{Region: r.Region, Instances: make([]InstanceResult, len(r.InstanceIDs))}
	for n, id := range r.InstanceIDs {
		result.Instances[n] = newInstanceResult(id)
	}
	if r.Lost != nil {
		result.Error = r.Lost.Error()
		return result
	}
	if r.FunctionARN == "" {
		result.Error = errPart.Error()
		return result
	}
	f := function{v.client(r.Region), r.FunctionARN}
	err := v.instances(ctx, f, r, result.Instances, tell)
	if err == nil {
		result.Deployment = v.deployment(ctx, f, r, result.Instances)
	}
	switch {
	case ctx.Err() != nil:
		result.Error = "interrupted"
	case err != nil:
		result.Error = err.Error()
	}
	return result
}

// newInstanceResult is a result in which nothing was tried.
func newInstanceResult(id string) InstanceResult {
	i := InstanceResult{ID: id}
	for _, check := range append(slices.Clone(incident.Checks), CheckReboot) {
		i.Checks = append(i.Checks, CheckResult{Check: check, Result: Skipped, Reason: "not tried"})
	}
	return i
}

func (i *InstanceResult) set(result Result, reason string) {
	for n := range i.Checks {
		i.Checks[n].Result, i.Checks[n].Reason = result, reason
	}
}

// instances tries all instances. An error is one that all would meet: the region
// is given up.
func (v *Verifier) instances(ctx context.Context, f function, r deployed.Region, all []InstanceResult, tell func(done, total int)) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		done  int
		slots = make(chan struct{}, concurrency)
	)
	for n := range all {
		select {
		case <-ctx.Done():
			continue
		case <-v.pace:
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := all[n].try(ctx, f, r); err != nil {
				giveUp(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; ctx.Err() == nil && tell != nil {
				tell(done, len(all))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// try tries one instance.
func (i *InstanceResult) try(ctx context.Context, f function, r deployed.Region) error {
	var got *view
	var err error
	for n := range handledTries {
		if n > 0 && sleep(ctx, handledPause) != nil {
			break
		}
		got, err = f.call(ctx, map[string]any{"step": "verify", "event": dryLook(r, i.ID), "execution": execution()})
		if err != nil || got.Next != incident.NextAlreadyHandled {
			break
		}
	}
	_, answered := errors.AsType[*functionError](err)
	switch {
	case ctx.Err() != nil:
	case err != nil && !answered && !fault.Throttled(err):
		return fmt.Errorf("the function cannot be invoked: %s", Said(err))
	case err != nil:
		i.set(Errored, Said(err))
	case got.Next == incident.NextAlreadyHandled:
		i.set(Handled, got.handled())
	default:
		i.read(got)
	}
	return nil
}

// read takes the results from what the function found.
func (i *InstanceResult) read(got *view) {
	i.set(Errored, "the check did not end")
	for n := range i.Checks {
		c := &i.Checks[n]
		for _, f := range got.Findings {
			if f.Check == c.Check {
				c.Result, c.Reason, c.ElapsedMs = resultOf(f, got.Settings), f.Reason+advice(f), f.ElapsedMs
			}
		}
		switch {
		case c.Check != CheckReboot:
		case got.Refusal != "":
			c.Reason = got.Refusal
		case got.suppresses(CheckReboot):
			c.Result, c.Reason = Passed, "EC2 would reboot it"
		}
	}
}

// resultOf is what came of a check. One that the settings turn on and that says
// nothing about the instance does no harm until it is needed.
func resultOf(f incident.Finding, s *incident.Settings) Result {
	switch {
	case f.Outcome == incident.Skipped && s != nil && s.Enabled(f.Check), f.Outcome == incident.Passed && f.Elsewhere:
		return Warned
	case f.Outcome == incident.Failed && f.Elsewhere:
		return Result(incident.Attention)
	case f.Outcome != incident.Unknown:
		return Result(f.Outcome)
	case f.Kind == incident.Blind:
		return Errored
	}
	return Result(f.Kind)
}

// advice says what to do about an answer that is not the instance's: a look takes
// it for nothing.
func advice(f incident.Finding) string {
	if !f.Elsewhere || f.Outcome == incident.Unknown {
		return ""
	}
	return "; that says nothing about the instance: " + map[string]string{
		incident.CheckURL:     "name its own address in url.address, or set url.load_balancer if that is a load balancer or a CDN in front of this instance alone",
		incident.CheckRoute53: "name a health check of the instance in route53.health_check_id",
		incident.CheckSSH:     "name its own address in ssh.host, or pin its key in ssh.host_key_fingerprint",
	}[f.Check]
}

// suppresses reports whether an action was prepared and left undone.
func (v *view) suppresses(action string) bool {
	return slices.ContainsFunc(v.Suppressed, func(s incident.Suppressed) bool { return s.Action == action })
}

// dryLook is an event that asks for a dry look at an instance, or, where that is
// empty, at none.
func dryLook(r deployed.Region, instanceID string) incident.Look {
	return incident.Look{
		Source: incident.SourceCanary, DetailType: incident.DetailTypeLook, Account: r.AccountID, Region: r.Region,
		Time: time.Now().UTC(), Detail: incident.LookDetail{InstanceID: instanceID},
	}
}

// execution stands for the execution of the state machine that there is not.
func execution() incident.Execution {
	id := "verify-" + rand.Text()
	return incident.Execution{ID: id, Name: id, StartedAt: time.Now().UTC()}
}

// deployment tries what all instances share, and reads the alarms of all.
func (v *Verifier) deployment(ctx context.Context, f function, r deployed.Region, all []InstanceResult) []CheckResult {
	tries := []func() (CheckResult, bool){
		func() (CheckResult, bool) { return f.message(ctx, r, CheckSlack, incident.NextSlack), true },
		func() (CheckResult, bool) { return f.message(ctx, r, CheckPager, incident.NextPage), true },
		func() (CheckResult, bool) { return v.concurrency(ctx, r.Region, r.Watched(), 0), true },
		func() (CheckResult, bool) { return v.rules(ctx, r) },
		func() (CheckResult, bool) { return subscriptions(ctx, v.topics, r) },
		func() (CheckResult, bool) { return v.subscribers(ctx, r) },
		func() (CheckResult, bool) { return v.alarms(ctx, r, all) },
	}
	var wg sync.WaitGroup
	results := make([][]CheckResult, len(tries)+1)
	wg.Go(func() { results[len(tries)] = v.channels(ctx, f, r) })
	for n, try := range tries {
		wg.Go(func() {
			if c, ok := try(); ok {
				results[n] = []CheckResult{c}
			}
		})
	}
	wg.Wait()
	return slices.Concat(results...)
}

// message has the function prepare a message about a dry event that could not be
// made an incident: it needs no instance.
func (f function) message(ctx context.Context, r deployed.Region, check, step string) CheckResult {
	c := CheckResult{Check: check, Result: Skipped, Reason: "none is configured"}
	if check == CheckPager && len(r.Pagers) == 0 {
		return c
	}
	start := time.Now()
	got, err := f.call(ctx, map[string]any{"step": step, "incident": map[string]any{"event": dryLook(r, ""), "execution": execution()}})
	c.ElapsedMs = time.Since(start).Milliseconds()
	switch {
	case ctx.Err() != nil:
		c.Reason = "not tried"
	case err != nil:
		c.Result, c.Reason = Errored, Said(err)+whatToSet(Said(err))
	case !got.suppresses(step):
	case check == CheckPager && !slices.ContainsFunc(r.Pagers, func(p string) bool { return p != pagerSNS }):
		c.Result, c.Reason = Untried, "SNS takes no call that tells nobody: run `firstline notify test --all`, and see who gets it"
	default:
		c.Result, c.Reason = Passed, "its secret is taken; nothing was sent"
	}
	return c
}
