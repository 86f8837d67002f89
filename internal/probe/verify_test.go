package probe

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/deployed"
	"firstline/internal/incident"
)

// verifier is one with functions that answer as p does, in an account in which all is
// well.
func verifier(p play) *Verifier {
	v := NewVerifier(aws.Config{})
	v.client = func(string) invoker { return p }
	v.read = account{}.in
	return v
}

// verified has functions that answer as p does verify a region, in virtual time.
func verified(ctx context.Context, r deployed.Region, p play) Verification {
	v := verifier(p)
	return v.Verify(ctx, r, nil)
}

// results are an instance's results in few words.
func results(checks []CheckResult) string {
	var all []string
	for _, c := range checks {
		all = append(all, string(c.Result))
	}
	return strings.Join(all, " ")
}

func TestVerify(t *testing.T) {
	const passed, failed, unknown = incident.Passed, incident.Failed, incident.Unknown
	denied := found()
	denied.Suppressed, denied.Refusal = nil, "Denied: reboot: UnauthorizedOperation"
	for _, tt := range []struct {
		name            string
		answer          any
		err             error
		want            string
		reason          string // of the first check
		calls           int
		failed, broken  bool
		denied, givenUp bool
	}{
		{
			name:   "all pass",
			answer: found(incident.Finding{Check: "url", Outcome: passed, Reason: "200"}, incident.Finding{Check: "route53", Outcome: incident.Skipped}, incident.Finding{Check: "ssh", Outcome: passed}),
			want:   "passed skipped passed passed", reason: "200", calls: 1,
		},
		{
			name:   "not healthy",
			answer: found(incident.Finding{Check: "url", Outcome: failed, Reason: "refused"}, incident.Finding{Check: "route53", Outcome: unknown, Kind: incident.Attention}, incident.Finding{Check: "ssh", Outcome: unknown, Kind: incident.Busy}),
			want:   "failed attention busy passed", reason: "refused", calls: 1, failed: true,
		},
		{
			name:   "blind, and one without a finding",
			answer: found(incident.Finding{Check: "url", Outcome: unknown, Kind: incident.Blind, Reason: "DescribeInstances: not authorized"}, incident.Finding{Check: "ssh", Outcome: passed}),
			want:   "error error passed passed", reason: "DescribeInstances: not authorized", calls: 1, broken: true, denied: true,
		},
		{
			name: "checks that say nothing about the instance",
			answer: incident.Incident{
				Settings: &incident.Settings{Route53: incident.Route53Settings{HealthCheckID: "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"}},
				Findings: []incident.Finding{
					{Check: "url", Outcome: passed, Elsewhere: true, Reason: "200 (answered by 198.51.100.4, which is not the instance)"},
					{Check: "route53", Outcome: incident.Skipped, Reason: "skipped: it is disabled"},
					{Check: "ssh", Outcome: incident.Skipped},
				},
				Suppressed: []incident.Suppressed{{Action: incident.NextReboot}},
			},
			want: "warning warning skipped passed", calls: 1,
			reason: "200 (answered by 198.51.100.4, which is not the instance); that says nothing about the instance: name its own address in url.address, or set url.load_balancer if that is a load balancer or a CDN in front of this instance alone",
		},
		{
			name: "a failure of another machine",
			answer: incident.Incident{
				Settings: &incident.Settings{},
				Findings: []incident.Finding{
					{Check: "url", Outcome: incident.Skipped},
					{Check: "route53", Outcome: incident.Skipped},
					{Check: "ssh", Outcome: incident.Failed, Elsewhere: true, Reason: "silent (asked 198.51.100.4, which is not the instance)"},
				},
				Suppressed: []incident.Suppressed{{Action: incident.NextReboot}},
			},
			want: "skipped skipped attention passed", calls: 1, failed: true,
		},
		{name: "no right to reboot", answer: denied, want: "error error error error", reason: "the check did not end", calls: 1, broken: true, denied: true},
		{
			name:   "being handled",
			answer: incident.Incident{Next: incident.NextAlreadyHandled, HeldBy: &incident.Execution{Name: "alarm-1"}},
			want:   "handled handled handled handled", reason: "an incident is being handled: execution alarm-1; try again when it has ended", calls: handledTries, failed: true,
		},
		{name: "the function is denied", answer: functionError{"Denied", "read settings"}, want: "error error error error", reason: "Denied: read settings", calls: 1, broken: true, denied: true},
		{name: "unavailable", answer: functionError{"Unavailable", "throttled"}, want: "error error error error", reason: "Unavailable: throttled", calls: attempts, broken: true},
		{name: "not JSON", answer: broken("oh"), want: "error error error error", reason: "oh", calls: 1, broken: true},
		{name: "throttled", err: refusal(http.StatusTooManyRequests, "TooManyRequestsException"), want: "error error error error", reason: "TooManyRequestsException: said AWS", calls: attempts, broken: true},
		{name: "server fault", err: refusal(http.StatusServiceUnavailable, "ServiceException"), want: "skipped skipped skipped skipped", reason: "not tried", calls: attempts, broken: true, givenUp: true},
		{name: "no answer", err: &url.Error{URL: "https://lambda", Err: context.DeadlineExceeded}, want: "skipped skipped skipped skipped", reason: "not tried", calls: attempts, broken: true, givenUp: true},
		{name: "no such version", err: refusal(http.StatusNotFound, "ResourceNotFoundException"), want: "skipped skipped skipped skipped", reason: "not tried", calls: 1, broken: true, givenUp: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				got := verified(t.Context(), ireland(first), func(ctx context.Context, c call) (any, error) {
					if c.Step != "verify" {
						return healthy(ctx, c)
					}
					if calls++; c.instance() != first || c.Event.Source != incident.SourceCanary || c.Execution.ID == "" || c.Execution.StartedAt.IsZero() {
						t.Errorf("called with %+v", c)
					}
					return tt.answer, tt.err
				})
				checks := got.Instances[0].Checks
				if !tt.givenUp { // the alarm does not depend on what the function says
					tt.want += " passed"
				}
				if results(checks) != tt.want || checks[0].Reason != tt.reason || calls != tt.calls {
					t.Errorf("%q, %q after %d calls", results(checks), checks[0].Reason, calls)
				}
				if got.Failed() != tt.failed || got.Broken() != tt.broken || got.Denied() != tt.denied || (got.Error != "") != tt.givenUp {
					t.Errorf("failed %v, broken %v, denied %v: %q", got.Failed(), got.Broken(), got.Denied(), got.Error)
				}
				if !tt.givenUp && results(got.Deployment) != "passed passed passed" {
					t.Errorf("deployment %+v", got.Deployment)
				}
			})
		})
	}
}

// An incident that ends meanwhile is waited for.
func TestVerifyWaitsForAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := verified(t.Context(), ireland(first), func(ctx context.Context, c call) (any, error) {
			if time.Since(start) < handledPause {
				return incident.Incident{Next: incident.NextAlreadyHandled}, nil
			}
			return healthy(ctx, c)
		})
		if got.Instances[0].Checks[0].Result != Passed {
			t.Errorf("%+v", got)
		}
	})
}

func TestVerifyMessages(t *testing.T) {
	const unset = "pager jsm: read secret /firstline/secrets/jsm-api-key: it was never given a value"
	for _, tt := range []struct {
		name string
		r    deployed.Region
		p    play
		want []CheckResult
	}{
		// No instance is needed.
		{"both", ireland(), healthy, []CheckResult{{Check: "slack", Result: Passed, Reason: "its secret is taken; nothing was sent"}, {Check: "pager", Result: Passed, Reason: "its secret is taken; nothing was sent"}}},
		{"SNS alone", deployed.Region{Region: "eu-west-1", FunctionARN: "f", Pagers: []string{"sns"}}, healthy, []CheckResult{{Check: "slack", Result: Passed, Reason: "its secret is taken; nothing was sent"}, {Check: "pager", Result: Untried, Reason: "SNS takes no call that tells nobody: run `firstline notify test --all`, and see who gets it"}}},
		{"no Slack, no pager", deployed.Region{Region: "eu-west-1", FunctionARN: "f"}, func(context.Context, call) (any, error) { return incident.Incident{}, nil }, []CheckResult{{Check: "slack", Result: Skipped, Reason: "none is configured"}, {Check: "pager", Result: Skipped, Reason: "none is configured"}}},
		{"a key is missing", ireland(), func(ctx context.Context, c call) (any, error) {
			if c.Step == "page" {
				return functionError{"InvalidInput", unset}, nil
			}
			return healthy(ctx, c)
		}, []CheckResult{{Check: "slack", Result: Passed, Reason: "its secret is taken; nothing was sent"}, {Check: "pager", Result: Errored, Reason: "InvalidInput: " + unset + ". No message can reach Jira Service Management: export TF_VAR_jsm_api_key with the other secrets, raise secrets_version and deploy"}}},
		{"a token that Slack refuses", ireland(), func(ctx context.Context, c call) (any, error) {
			if c.Step == "slack" {
				return functionError{"Denied", "tell Slack: invalid_auth"}, nil
			}
			return healthy(ctx, c)
		}, []CheckResult{{Check: "slack", Result: Errored, Reason: "Denied: tell Slack: invalid_auth"}, {Check: "pager", Result: Passed, Reason: "its secret is taken; nothing was sent"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := verified(t.Context(), tt.r, func(ctx context.Context, c call) (any, error) {
					if c.Step != "coverage" && c.Step != "channels" && (c.Incident == nil || c.Incident.Event.Source != incident.SourceCanary) {
						t.Errorf("called with %+v", c)
					}
					return tt.p(ctx, c)
				})
				// Another try does not mend a secret.
				if diff := cmp.Diff(tt.want, got.Deployment[:2]); diff != "" || got.Error != "" || got.Denied() {
					t.Errorf("%q, denied %v (-want +got):\n%s", got.Error, got.Denied(), diff)
				}
			})
		})
	}
}

// An account's limits hold: so many at once in a region, and so many a second in
// all.
func TestVerifyPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for n := range 30 {
			ids = append(ids, fmt.Sprintf("i-%017x", n))
		}
		var now, most, all atomic.Int32
		v := verifier(nil)
		v.client = func(string) invoker {
			return play(func(ctx context.Context, c call) (any, error) {
				all.Add(1)
				for n := now.Add(1); n > most.Load(); {
					most.Store(n)
				}
				defer now.Add(-1)
				time.Sleep(10 * time.Second)
				return healthy(ctx, c)
			})
		}
		start, told := time.Now(), 0
		var wg sync.WaitGroup
		wg.Go(func() { v.Verify(t.Context(), ireland(ids...), func(done, _ int) { told = done }) })
		time.Sleep(5 * time.Second)
		if n := all.Load(); n != concurrency {
			t.Errorf("%d are under way", n)
		}
		wg.Wait()
		if most.Load() != concurrency || told != len(ids) || time.Since(start) < 40*time.Second {
			t.Errorf("%d at once, %d told, after %s", most.Load(), told, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		v := verifier(healthy)
		start := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { v.Verify(t.Context(), ireland(first), nil) })
		}
		if wg.Wait(); time.Since(start) != 10*interval {
			t.Errorf("10 regions took %s", time.Since(start))
		}
	})
}

func TestVerifyInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		got := verified(ctx, ireland(first, second), func(ctx context.Context, c call) (any, error) {
			if c.instance() == first {
				return healthy(ctx, c)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if got.Error != "interrupted" || got.Instances[0].Checks[0].Result != Passed || results(got.Instances[1].Checks) != "skipped skipped skipped skipped" || got.Deployment != nil {
			t.Errorf("%+v", got)
		}
	})
	r := ireland(first)
	r.FunctionARN = ""
	if got := verified(t.Context(), r, nil); !strings.Contains(got.Error, "deploy it again") {
		t.Errorf("%+v", got)
	}
}
