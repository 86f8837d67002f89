package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/handler"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// around is what surrounds the real handler. What it embeds is nil: nothing of
// it is to be called.
type around struct {
	handler.Guards
	reboots []bool // whether each was a dry run
	sent    int
	learnt  []checks.Finding
}

func (a *around) Open(context.Context, *incident.Incident, time.Time, func(context.Context, incident.Execution) bool) (*incident.Execution, *incident.Pause, error) {
	return nil, nil, nil
}

func (a *around) Learn(_ context.Context, inc *incident.Incident) error {
	a.learnt = inc.Findings
	return nil
}

func (a *around) DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error) {
	return &ec2.DescribeInstanceStatusOutput{}, nil
}

func (a *around) GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	return &ec2.GetConsoleOutputOutput{}, nil
}

func (a *around) GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Value: aws.String(`{}`)}}, nil
}

func (a *around) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: []ec2types.Instance{{
		State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning},
	}}}}}, nil
}

func (a *around) RebootInstances(_ context.Context, in *ec2.RebootInstancesInput, _ ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	a.reboots = append(a.reboots, aws.ToBool(in.DryRun))
	return nil, &smithy.GenericAPIError{Code: "DryRunOperation"}
}

func (a *around) DescribeAlarms(context.Context, *cloudwatch.DescribeAlarmsInput, ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	return &cloudwatch.DescribeAlarmsOutput{}, nil
}

// pagerAround is a pager, and slackAround Slack.
type (
	pagerAround struct {
		notify.Pager
		a    *around
		name string
		err  error
	}
	slackAround struct {
		handler.Slack
		a *around
	}
)

func (p pagerAround) Name() string { return p.name }

func (p pagerAround) Send(context.Context, notify.Message) error { p.a.sent++; return nil }

func (p pagerAround) Rehearse(context.Context, notify.Message) (string, error) {
	return "what it says", p.err
}

func (p pagerAround) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{Confirmed: true, Detail: "made and closed"}, p.err
}

func (s slackAround) Post(context.Context, notify.Message) (incident.Thread, error) {
	s.a.sent++
	return incident.Thread{}, nil
}

func (s slackAround) Rehearse(context.Context, notify.Message) (string, error) {
	return "what it says", nil
}

func (s slackAround) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{Detail: "posted"}, nil
}

type urlCheck struct{ f checks.Finding }

func (u urlCheck) Check(context.Context, string, checks.URLSettings) (checks.Finding, error) {
	return u.f, nil
}

type route53Check struct{ f checks.Finding }

func (r route53Check) Check(context.Context, checks.Route53Settings, time.Time) (checks.Finding, error) {
	return r.f, nil
}

type sshCheck struct{ f checks.Finding }

func (s sshCheck) Check(context.Context, string, checks.SSHSettings) (checks.Finding, error) {
	return s.f, nil
}

// handled is the real handler behind Lambda's Invoke.
type handled struct {
	h  *handler.Handler
	mu sync.Mutex
}

func (h *handled) Invoke(ctx context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out, err := h.h.Invoke(ctx, in.Payload)
	if e, ok := errors.AsType[messages.InvokeResponse_Error](err); ok {
		// As Lambda answers it.
		raw, err := json.Marshal(e)
		return &lambda.InvokeOutput{Payload: raw, FunctionError: aws.String("Unhandled")}, err
	} else if err != nil {
		return nil, err
	}
	return &lambda.InvokeOutput{Payload: out}, nil
}

// handlerAround is a real handler.
func handlerAround(a *around, pagers ...notify.Pager) *handled {
	return &handled{h: &handler.Handler{
		Deployment: "firstline", Region: "eu-west-1", SettingsPath: "/firstline/instances/",
		Log:              slog.New(slog.DiscardHandler),
		SSM:              func(context.Context) (handler.ParameterGetter, error) { return a, nil },
		EC2:              func(context.Context) (handler.Rebooter, error) { return a, nil },
		CloudWatch:       func(context.Context) (handler.AlarmDescriber, error) { return a, nil },
		Guards:           func(context.Context) (handler.Guards, error) { return a, nil },
		ExecutionTimeout: 3 * time.Hour, Brake: &guard.Limits{InFlight: 2, PerHour: 6},
		URL:     urlCheck{checks.Finding{Check: "url", Reason: "GET http://203.0.113.7/: connection refused", ElapsedMs: 4012, At: time.Now()}},
		Route53: route53Check{checks.Finding{Check: "route53", Passed: true, Skipped: true, Reason: "skipped: no health check"}},
		SSH:     sshCheck{checks.Finding{Check: "ssh", Passed: true, Reason: "key exchange", ElapsedMs: 31}},
		Slack:   slackAround{a: a},
		Pagers:  func() (*notify.Pagers, error) { return &notify.Pagers{All: pagers}, nil },
	}}
}

// errUnset is the error of a pager whose key was never stored.
var errUnset = fault.New(fault.InvalidInput, "page through Jira Service Management", "read secret /firstline/secrets/jsm-api-key: it was never given a value; see \"Secrets\" in the README")

// A key that is missing is said with the pager's name and what to set, also where
// that pager is not the first.
func TestVerifyRealHandlerWithoutKey(t *testing.T) {
	a := &around{}
	v := NewVerifier(aws.Config{})
	v.client = func(string) invoker {
		return handlerAround(a, pagerAround{a: a, name: "opsgenie"}, pagerAround{a: a, name: "jsm", err: errUnset})
	}
	got := v.Verify(t.Context(), ireland(first), nil)
	m := got.Messages[1]
	for _, want := range []string{"InvalidInput: ", "jsm", "/firstline/secrets/jsm-api-key", "Jira Service Management cannot be told of anything: export TF_VAR_jsm_api_key with the other secrets"} {
		if m.Result != Errored || !strings.Contains(m.Reason, want) {
			t.Errorf("%s: it does not say %q: %q", m.Result, want, m.Reason)
		}
	}
	if a.sent != 0 || !got.Broken() {
		t.Errorf("%d messages sent, broken %v", a.sent, got.Broken())
	}
}

// The real handler takes the event, and what it answers is understood.
func TestVerifyRealHandler(t *testing.T) {
	a := &around{}
	h := handlerAround(a, pagerAround{a: a, name: "opsgenie"})
	v := NewVerifier(aws.Config{})
	v.client = func(string) invoker { return h }
	var told []int
	got := v.Verify(t.Context(), ireland(first), func(done, total int) { told = append(told, done, total) })
	untimed(&got)
	want := Verification{
		Region: "eu-west-1",
		Instances: []InstanceResult{{ID: first, Checks: []CheckResult{
			{Check: "url", Result: Failed, Reason: "GET http://203.0.113.7/: connection refused"},
			{Check: "route53", Result: Skipped, Reason: "skipped: no health check"},
			{Check: "ssh", Result: Passed, Reason: "key exchange"},
			{Check: "reboot", Result: Passed, Reason: "EC2 would reboot it"},
			{Check: "baseline", Result: Passed, Reason: "kept: ssh"},
		}}},
		Messages: []CheckResult{
			{Check: "slack", Result: Passed, Reason: "the token is stored; nothing was sent"},
			{Check: "opsgenie", Result: Passed, Reason: "the key is stored; nothing was sent"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(a.reboots, []bool{true}) || a.sent != 0 {
		t.Errorf("reboots asked for as dry runs: %v, messages sent: %d", a.reboots, a.sent)
	}
	var learnt []string
	for _, f := range a.learnt {
		learnt = append(learnt, fmt.Sprintf("%s %v", f.Check, f.Passed && !f.Skipped))
	}
	if diff := cmp.Diff([]string{"url false", "route53 false", "ssh true"}, learnt); diff != "" {
		t.Errorf("learnt (-want +got):\n%s", diff)
	}
	if !slices.Equal(told, []int{1, 1}) {
		t.Errorf("told %v", told)
	}
	if !got.Failed() || got.Broken() {
		t.Errorf("failed %v, broken %v", got.Failed(), got.Broken())
	}
}

// untimed takes the times out of a result.
func untimed(v *Verification) {
	for n := range v.Instances {
		for k := range v.Instances[n].Checks {
			v.Instances[n].Checks[k].ElapsedMs = 0
		}
	}
	for n := range v.Messages {
		v.Messages[n].ElapsedMs = 0
	}
}

// Every check starts from the incident as it was opened.
func TestVerifyIndependentChecks(t *testing.T) {
	v := verifier(func(ctx context.Context, c call) (any, error) {
		switch {
		case c.Step != "open" && (c.Incident["findings"] != nil && c.Step != "baseline" || c.Incident["kept"] != "as it is"):
			t.Errorf("%s got %v", c.Step, c.Incident)
		case c.Step == "url" && c.instance() == first:
			return found(c, false, "connection refused"), nil
		case c.Step == "ssh" && c.instance() == first:
			return functionError{"Denied", "host key"}, nil
		}
		answer, err := healthy(ctx, c)
		if c.Step == "open" {
			answer.(map[string]any)["kept"] = "as it is"
		}
		return answer, err
	})
	got := v.Verify(t.Context(), ireland(first, second), nil)
	results := func(i InstanceResult) (all []Result) {
		for _, c := range i.Checks {
			all = append(all, c.Result)
		}
		return all
	}
	if want := []Result{Failed, Passed, Errored, Passed, Passed}; !slices.Equal(results(got.Instances[0]), want) {
		t.Errorf("first: %v, want %v", results(got.Instances[0]), want)
	}
	if want := []Result{Passed, Passed, Passed, Passed, Passed}; !slices.Equal(results(got.Instances[1]), want) {
		t.Errorf("second: %v, want %v", results(got.Instances[1]), want)
	}
	if !got.Denied() || (Verification{Instances: got.Instances[:0]}).Denied() {
		t.Errorf("denied: %+v", got)
	}
	if c := got.Instances[0].Checks[2]; c.Reason != "Denied: host key" {
		t.Errorf("%+v", c)
	}
	if c := got.Instances[0].Checks[0]; c.ElapsedMs != 4012 {
		t.Errorf("%+v", c)
	}
	if !got.Failed() || !got.Broken() || got.Error != "" {
		t.Errorf("failed %v, broken %v, %q", got.Failed(), got.Broken(), got.Error)
	}
}

// What has passed is kept as the baseline, and what was seen goes with it.
func TestVerifyBaseline(t *testing.T) {
	type seen struct {
		check  string
		passed bool
		extra  any
	}
	for _, tt := range []struct {
		name   string
		answer map[string]any // by step; else healthy
		want   []seen         // by the step baseline, nil when it is not invoked
		result CheckResult
		broken bool
	}{
		{
			name:   "all pass",
			want:   []seen{{"url", true, "kept"}, {"route53", true, "kept"}, {"ssh", true, "kept"}},
			result: CheckResult{Result: Passed, Reason: "kept: url, route53, ssh"},
		},
		{
			name:   "one fails, one is an error",
			answer: map[string]any{"url": "fails", "ssh": functionError{"Denied", "host key"}},
			want:   []seen{{"url", false, nil}, {"route53", true, "kept"}},
			result: CheckResult{Result: Passed, Reason: "kept: route53"},
			broken: true,
		},
		{
			name:   "none passes",
			answer: map[string]any{"url": "fails", "route53": "is off", "ssh": "fails"},
			result: CheckResult{Result: Skipped, Reason: "no check has passed, so there is nothing to keep"},
		},
		{
			name:   "the table is denied",
			answer: map[string]any{"baseline": functionError{"Denied", "learn: AccessDeniedException"}},
			want:   []seen{{"url", true, "kept"}, {"route53", true, "kept"}, {"ssh", true, "kept"}},
			result: CheckResult{Result: Errored, Reason: "Denied: learn: AccessDeniedException"},
			broken: true,
		},
		{
			name:   "a function that is older",
			answer: map[string]any{"baseline": functionError{"InvalidInput", `decode payload: step: "baseline" is unknown; use one of open, url`}},
			want:   []seen{{"url", true, "kept"}, {"route53", true, "kept"}, {"ssh", true, "kept"}},
			result: CheckResult{Result: Errored, Reason: `the deployed function keeps no baseline: deploy this version first (decode payload: step: "baseline" is unknown; use one of open, url)`},
			broken: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []seen
			v := verifier(func(ctx context.Context, c call) (any, error) {
				if c.Step == "baseline" {
					for _, f := range c.Incident["findings"].([]any) {
						f := f.(map[string]any)
						got = append(got, seen{f["check"].(string), f["passed"].(bool), f["extra"]})
					}
					if c.Incident["instanceId"] != first || c.Incident["dry"] != true || c.Incident["settings"] == nil {
						t.Errorf("the incident is %v", c.Incident)
					}
				}
				switch answer := tt.answer[c.Step].(type) {
				case functionError:
					return answer, nil
				case string:
					inc := found(c, answer == "is off", answer)
					inc["findings"].([]any)[0].(map[string]any)["skipped"] = answer == "is off"
					return inc, nil
				}
				answer, err := healthy(ctx, c)
				if findings, ok := answer.(map[string]any)["findings"].([]any); ok {
					// Fields of another version are carried along.
					findings[0].(map[string]any)["extra"] = "kept"
				}
				return answer, err
			})
			result := v.Verify(t.Context(), ireland(first), nil)
			untimed(&result)
			tt.result.Check = "baseline"
			if diff := cmp.Diff(tt.result, result.Instances[0].Checks[4]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(seen{})); diff != "" {
				t.Errorf("it was given (-want +got):\n%s", diff)
			}
			if result.Broken() != tt.broken {
				t.Errorf("broken %v, want %v", result.Broken(), tt.broken)
			}
		})
	}
}

// Whatever is not dry is never gone on with.
func TestVerifyRefusesWhatIsNotDry(t *testing.T) {
	for name, open := range map[string]any{
		"no mark":      map[string]any{"instanceId": first},
		"marked so":    map[string]any{"instanceId": first, "dry": false},
		"old function": functionError{"InvalidInput", `read event: event: source "firstline.canary" with detail-type "CloudWatch Alarm State Change" is not an alarm's`},
		"no incident":  "[]",
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var steps []string
			v := verifier(func(_ context.Context, c call) (any, error) {
				mu.Lock()
				defer mu.Unlock()
				steps = append(steps, c.Step)
				return open, nil
			})
			got := v.Verify(t.Context(), ireland(numbered(20)...), nil)
			if got.Error == "" || !got.Broken() || got.Messages != nil {
				t.Errorf("%+v", got)
			}
			if n := slices.IndexFunc(steps, func(s string) bool { return s != "open" }); n >= 0 {
				t.Errorf("the step %s was invoked", steps[n])
			}
			if len(steps) > 2*concurrency {
				t.Errorf("%d incidents were opened after all", len(steps))
			}
			for _, i := range got.Instances {
				if i.Checks[3].Result != Skipped {
					t.Errorf("%+v", i)
				}
			}
		})
	}
}

func TestVerifyErrors(t *testing.T) {
	gone := &url.Error{Op: "Post", URL: "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/x", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		name   string
		answer any
		err    error
		calls  int    // of the step that it is answered to
		reason string // of the check url
		stops  string // when opening an incident ends so
	}{
		{name: "denied", answer: functionError{"Denied", "read settings: AccessDenied"}, calls: 1, reason: "Denied: read settings: AccessDenied"},
		{name: "unavailable", answer: functionError{"Unavailable", "throttled"}, calls: attempts, reason: "Unavailable: throttled"},
		{name: "Lambda's own", answer: functionError{"Sandbox.Timedout", "Task timed out after 60.00 seconds"}, calls: 1, reason: "Sandbox.Timedout: Task timed out after 60.00 seconds"},
		{name: "without a message", answer: functionError{Kind: "Runtime.ExitError"}, calls: 1, reason: "Runtime.ExitError"},
		{name: "not JSON", answer: broken("oh"), calls: 1, reason: "oh"},
		{name: "nothing said", answer: broken("{}"), calls: 1, reason: "the function ended with an error that says nothing"},
		{name: "throttled", err: refusal(http.StatusTooManyRequests, "TooManyRequestsException"), calls: attempts, reason: "TooManyRequestsException: said AWS"},
		{name: "server fault", err: refusal(http.StatusServiceUnavailable, "ServiceException"), calls: attempts, reason: "ServiceException: said AWS", stops: "ServiceException: said AWS"},
		{name: "not ready", err: refusal(http.StatusConflict, "ResourceConflictException"), calls: attempts, reason: "ResourceConflictException: said AWS", stops: "ResourceConflictException"},
		{name: "no such version", err: refusal(http.StatusNotFound, "ResourceNotFoundException"), calls: 1, reason: "ResourceNotFoundException: said AWS", stops: "ResourceNotFoundException: said AWS"},
		{name: "no answer", err: gone, calls: attempts, reason: "no answer from lambda.eu-west-1.amazonaws.com: connection refused", stops: "no answer from lambda.eu-west-1.amazonaws.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []string{"url", "open"} {
				synctest.Test(t, func(t *testing.T) {
					var calls atomic.Int32
					v := verifier(func(ctx context.Context, c call) (any, error) {
						if c.Step != step {
							return healthy(ctx, c)
						}
						calls.Add(1)
						return tt.answer, tt.err
					})
					got := v.Verify(t.Context(), ireland(first), nil)
					if n := int(calls.Load()); n != tt.calls {
						t.Errorf("%s was tried %d times, want %d", step, n, tt.calls)
					}
					if !got.Broken() || got.Failed() {
						t.Errorf("broken %v, failed %v", got.Broken(), got.Failed())
					}
					if step == "open" && tt.stops != "" {
						if !strings.Contains(got.Error, tt.stops) || got.Instances[0].Checks[0].Result != Skipped {
							t.Errorf("%+v, want the region given up for %q", got, tt.stops)
						}
						return
					}
					want := tt.reason
					if step == "open" {
						want = "open: " + want
					}
					if c := got.Instances[0].Checks[0]; got.Error != "" || c.Result != Errored || c.Reason != want {
						t.Errorf("%q, %+v, want %q", got.Error, c, want)
					}
					if ssh := got.Instances[0].Checks[2]; step == "url" && ssh.Result != Passed {
						t.Errorf("ssh: %+v", ssh)
					}
				})
			}
		})
	}
}

// What is over in a moment is not reported.
func TestVerifyTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused atomic.Int32
		start := time.Now()
		v := verifier(func(ctx context.Context, c call) (any, error) {
			if c.Step == "ssh" && refused.Add(1) < attempts {
				return nil, refusal(http.StatusTooManyRequests, "TooManyRequestsException")
			}
			return healthy(ctx, c)
		})
		if got := v.Verify(t.Context(), ireland(first), nil); got.Broken() || got.Failed() {
			t.Errorf("%+v", got)
		}
		if took := time.Since(start); took < 4*firstPause || took > 9*firstPause {
			t.Errorf("it took %s: the pauses are wrong", took)
		}
	})
}

func TestVerifyConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		v := verifier(func(ctx context.Context, c call) (any, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(time.Second)
			return healthy(ctx, c)
		})
		last := 0
		got := v.Verify(t.Context(), ireland(numbered(50)...), func(done, total int) {
			if done != last+1 || total != 50 {
				t.Errorf("told %d of %d after %d", done, total, last)
			}
			last = done
		})
		if got.Broken() || got.Failed() || last != 50 {
			t.Errorf("%+v, told %d", got, last)
		}
		if most.Load() != concurrency {
			t.Errorf("%d invocations at a time, want %d", most.Load(), concurrency)
		}
	})
}

// Route 53's limit is the account's, whatever the regions.
func TestVerifyRoute53Rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []time.Time
		v := verifier(func(ctx context.Context, c call) (any, error) {
			if c.Step != "route53" {
				return healthy(ctx, c)
			}
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Now())
			return healthy(ctx, c)
		})
		var wg sync.WaitGroup
		for _, name := range []string{"eu-west-1", "us-east-1", "us-west-2"} {
			wg.Go(func() {
				if got := v.Verify(t.Context(), region(name, numbered(10)...), nil); got.Broken() {
					t.Errorf("%+v", got)
				}
			})
		}
		wg.Wait()
		if len(asked) != 30 {
			t.Fatalf("asked %d times", len(asked))
		}
		slices.SortFunc(asked, time.Time.Compare)
		for n := 5; n < len(asked); n++ {
			if d := asked[n].Sub(asked[n-5]); d < time.Second {
				t.Errorf("six calls within %s", d)
			}
		}
		if took := asked[29].Sub(asked[0]); took > 8*time.Second {
			t.Errorf("30 calls took %s", took)
		}
	})
}

// What the function asks by itself counts.
func TestVerifyRoute53Charge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		v := verifier(func(ctx context.Context, c call) (any, error) {
			if c.Step == "route53" {
				return found(c, false, "too few checkers"), nil
			}
			return healthy(ctx, c)
		})
		v.reboots = 0
		// What the last ones asked is charged to nobody.
		v.Verify(t.Context(), ireland(numbered(40)...), nil)
		if took := time.Since(start); took < (40-concurrency)*3*route53Interval {
			t.Errorf("120 questions took %s", took)
		}
	})
}

// The dry runs of a region leave EC2's bucket to the reboots that are meant.
func TestVerifyRebootRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[string][]time.Time{}
		v := verifier(nil)
		v.client = func(region string) invoker {
			return play(func(ctx context.Context, c call) (any, error) {
				if c.Step == "reboot" {
					mu.Lock()
					defer mu.Unlock()
					asked[region] = append(asked[region], time.Now())
				}
				return healthy(ctx, c)
			})
		}
		v.route53.interval = 0
		start := time.Now()
		var wg sync.WaitGroup
		for _, name := range []string{"eu-west-1", "us-east-1"} {
			wg.Go(func() { v.Verify(t.Context(), region(name, numbered(30)...), nil) })
		}
		wg.Wait()
		for name, times := range asked {
			slices.SortFunc(times, time.Time.Compare)
			for n := 5; n < len(times); n++ {
				if d := times[n].Sub(times[n-5]); d < 5*rebootInterval {
					t.Errorf("%s: six dry runs within %s", name, d)
				}
			}
			if len(times) != 30 {
				t.Errorf("%s: %d dry runs", name, len(times))
			}
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("two regions took %s: each has a bucket of its own", took)
		}
	})
}

// A check that has asked three times has used up its share.
func TestPacerCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{interval: time.Second}
		start := time.Now()
		for range 2 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.charge(2)
		}
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("the third call came after %s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// No health check, no call of Route 53, no wait for it.
func TestVerifyWithoutHealthChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		v := verifier(func(ctx context.Context, c call) (any, error) {
			answer, err := healthy(ctx, c)
			if c.Step == "open" {
				delete(answer.(map[string]any), "settings")
			}
			return answer, err
		})
		v.reboots = 0
		if got := v.Verify(t.Context(), ireland(numbered(40)...), nil); got.Broken() || time.Since(start) != 0 {
			t.Errorf("after %s: %+v", time.Since(start), got)
		}
	})
}

func TestVerifyNothingToTry(t *testing.T) {
	v := verifier(func(context.Context, call) (any, error) { t.Error("invoked"); return nil, nil })
	got := v.Verify(t.Context(), ireland(), nil)
	if got.Broken() || got.Failed() || len(got.Messages) != 2 || got.Messages[0].Result != Skipped || got.Messages[0].Reason == "" {
		t.Errorf("%+v", got)
	}
	half := ireland(first)
	half.FunctionARN = ""
	if got := v.Verify(t.Context(), half, nil); !strings.Contains(got.Error, "deploy it again") || !got.Broken() {
		t.Errorf("%+v", got)
	}
}

// Messages are broken on their own.
func TestVerifyMessages(t *testing.T) {
	v := verifier(func(ctx context.Context, c call) (any, error) {
		switch c.Step {
		case "slack":
			return functionError{"InvalidInput", "Slack: read secret /firstline/secrets/slack-token: it was never given a value"}, nil
		case "opsgenie":
			return c.Incident, nil
		}
		return healthy(ctx, c)
	})
	got := v.Verify(t.Context(), ireland(first), nil)
	untimed(&got)
	want := []CheckResult{
		{Check: "slack", Result: Errored, Reason: "InvalidInput: Slack: read secret /firstline/secrets/slack-token: it was never given a value. " +
			"Slack cannot be told of anything: export TF_VAR_slack_token with the other secrets, raise secrets_version and deploy"},
		{Check: "opsgenie", Result: Errored, Reason: "the function did not say what it would have done"},
	}
	if diff := cmp.Diff(want, got.Messages); diff != "" || !got.Broken() {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPagersReady(t *testing.T) {
	for pagers, want := range map[string]string{
		"": "the key is stored; nothing was sent", "jsm": "the key is stored; nothing was sent",
		"opsgenie jsm sns": "the keys are stored; nothing was sent", "sns": "no key is needed; nothing was sent",
	} {
		if got := pagersReady(strings.Fields(pagers)); got != want {
			t.Errorf("%s: got %q, want %q", pagers, got, want)
		}
	}
}

func TestVerifyInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		v := verifier(func(ctx context.Context, c call) (any, error) {
			if c.instance() == second {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return healthy(ctx, c)
		})
		time.AfterFunc(time.Minute, cancel)
		start := time.Now()
		got := v.Verify(ctx, ireland(append([]string{first, second}, numbered(30)...)...), nil)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it took %s", took)
		}
		if got.Error != "interrupted" || got.Instances[0].Checks[0].Result != Passed || got.Instances[1].Checks[0].Result != Skipped {
			t.Errorf("%q, %+v", got.Error, got.Instances[:2])
		}
	})
}

// Errors as the SDK's own client makes them.
func TestSaid(t *testing.T) {
	client := func(address string) *lambda.Client {
		return lambda.NewFromConfig(aws.Config{
			Region: "eu-west-1", BaseEndpoint: &address, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		})
	}
	invoke := func(c invoker) error {
		f := &function{client: c, arn: "arn:aws:lambda:eu-west-1:123456789012:function:f:1", slots: make(chan struct{}, 1), pause: time.Millisecond}
		_, err := f.call(t.Context(), map[string]string{"step": "open"})
		return err
	}
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(body, []byte("open")) || !strings.HasSuffix(r.URL.Path, "function:f:1/invocations") {
			t.Errorf("%s got %s, %v", r.URL.Path, body, err)
		}
		w.Header().Set("X-Amzn-Errortype", "ServiceException")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"Message":"down"}`)
	}))
	err := invoke(client(server.URL))
	if got := Said(err); got != "ServiceException: down" || calls.Load() != attempts {
		t.Errorf("%q after %d calls", got, calls.Load())
	}
	server.Close()
	err = invoke(client(server.URL))
	if got := Said(err); !strings.HasPrefix(got, "no answer from 127.0.0.1:") || !strings.Contains(got, "refused") || !transient(err) {
		t.Errorf("%q, transient %v", got, transient(err))
	}
}
