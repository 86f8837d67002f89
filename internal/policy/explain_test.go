package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// refusing are the guards that refuse in an explanation, in their order.
func refusing(x policy.Explanation) (names []string) {
	for _, g := range x.Guards {
		if g.Passes != (g.Reason == "") {
			names = append(names, fmt.Sprintf("%+v", g))
		}
		if !g.Passes {
			names = append(names, g.Guard)
		}
	}
	return names
}

// Every guard says for itself what it thinks, whatever others say.
func TestExplainGuards(t *testing.T) {
	reboot := func(f func(*incident.RebootSettings)) option {
		return setting(func(s *incident.Settings) { f(&s.Reboot) })
	}
	notCured := rebooted(7*hour, incident.OutcomeNotCured)
	all := []string{"ec2", "status", "initializing", "credits", "cooldown", "not_cured", "never", "answered", "vantage", "dry_run"}
	everything := options(look(noReply, off, passed), notCured,
		ec2(func(e *policy.EC2) {
			e.Unclear, e.System, e.Initializing, e.NoCredits = true, true, true, "it has no CPU credits left"
		}),
		instance(func(i *policy.Instance) { i.LastResolvedAt = ago(hour) }),
		reboot(func(r *incident.RebootSettings) { r.PerDay, r.On, r.DryRun = 0, incident.OnUnreachable, true }))
	for _, c := range []struct {
		name string
		is   []option
		want string
	}{
		{"none", is(down), ""},
		{"the breaker", is(down, alert("a/breaker", "breaker", min, other)), "breaker"},
		{"EC2 cannot be asked", is(down, ec2Blind), "ec2 status initializing credits"},
		{"credits", is(down, ec2(func(e *policy.EC2) { e.CreditsErr = "denied" })), "credits"},
		{"no alarm is on, and one is assumed to be", is(down, noAlarm), ""},
		{"what this incident has done does not count for another", is(down, instance(func(i *policy.Instance) { i.Execution.Rebooted = true })), ""},
		{"cooldown", is(down, instance(func(i *policy.Instance) { i.LastResolvedAt = ago(hour) })), "cooldown"},
		{"not cured", is(down, notCured), "not_cured"},
		{"budget", is(down, rebooted(7*hour, incident.OutcomeCured), reboot(func(r *incident.RebootSettings) { r.PerDay = 1 })), "budget"},
		{"answered", is(look(noReply, noReply, passed), reboot(func(r *incident.RebootSettings) { r.On = incident.OnUnreachable })), "answered"},
		{"Route 53 alone", is(r53Alone), "route53"},
		{"vantage", is(look(noReply, off, noReply)), "vantage"},
		{"dry run", is(down, reboot(func(r *incident.RebootSettings) { r.DryRun = true })), "dry_run"},
		{"all at once", is(everything), strings.Join(all, " ")},
		{"healthy", is(healthy), "route53 vantage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := policy.Explain(input(c.is...))
			if diff := cmp.Diff(strings.Fields(c.want), append([]string{}, refusing(x)...)); diff != "" {
				t.Errorf("(-want +got):\n%s%+v", diff, x.Guards)
			}
			if len(x.Guards) != 15 || x.Guards[0].Guard != policy.KeyBreaker || x.Guards[14].Guard != policy.GuardDryRun {
				t.Errorf("guards: %+v", x.Guards)
			}
		})
	}
}

// The decision is Decide's once it is confirmed, and what that takes for granted is said.
func TestExplainDecision(t *testing.T) {
	fresh := options(held(0), instance(func(i *policy.Instance) { i.Execution, i.UnhealthySince = policy.Execution{}, 0 }))
	for _, c := range []struct {
		name    string
		is      []option
		assumed []string
	}{
		{"down", is(down), []string{"not healthy since 02:58 UTC"}},
		{"down, in the first look", is(down, fresh, noAlarm), []string{"in ALARM; now: OK", "for 2 min (confirm_seconds); now: this look is the first"}},
		{"down, an incident is under way", is(down, instance(func(i *policy.Instance) {
			i.Lease = policy.Lease{Execution: "arn", Name: "e-other", Until: now.Add(min)}
		})), []string{"is under way; now: e-other", "not healthy since"}},
		{"a guard refuses", is(down, ec2Blind), []string{"not healthy since"}},
		{"blind, in the first look", is(allBlind, fresh), []string{"this look is the first"}},
		{"attention", is(attention), []string{"not healthy since"}},
		{"healthy", is(healthy), nil},
		{"the alarm cannot be asked", is(healthy, noAlarm, change(func(in *policy.Input) { in.Facts.Alarm = policy.CouldNotAsk[string]("CloudWatch: throttled") })), []string{"now: CloudWatch: throttled"}},
		{"handed over", is(down, member(self, sevDown, hour)), []string{"not healthy since"}},
		{"paused", is(down, paused(hour)), []string{"not healthy since"}},
		{"a reboot's outcome is open", is(down, rebooted(min, "")), []string{"not healthy since"}},
		{"stopped by a person", is(down, stopped, byPerson), []string{"not healthy since"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(c.is...)
			x := policy.Explain(in)
			confirmed := input(append(slices.Clone(c.is), held(hour), change(func(in *policy.Input) { in.Alarm = true }))...)
			if got, want := summary(x.Decision), summary(policy.Decide(confirmed).Decision); got != want {
				t.Errorf("got %s, Decide says %s", got, want)
			}
			if len(x.Assumed) != len(c.assumed) {
				t.Fatalf("assumed %q, want %q", x.Assumed, c.assumed)
			}
			for n, want := range c.assumed {
				if !strings.Contains(x.Assumed[n], want) {
					t.Errorf("assumed %q, want %q", x.Assumed, c.assumed)
				}
			}
			if diff := cmp.Diff(input(c.is...), in); diff != "" || !cmp.Equal(in.State, x.State) {
				t.Errorf("the input was changed: %s", diff)
			}
		})
	}
}

// Every fact is there, with its value or why it could not be asked.
func TestExplainFacts(t *testing.T) {
	in := input(down, ec2(func(e *policy.EC2) {
		e.LaunchedAt, e.Instance, e.PauseErr = ago(day), true, `"tomorrow" is not a time`
	}), change(func(in *policy.Input) {
		in.Facts.Closed, in.Facts.Others = policy.CouldNotAsk[map[string]string]("security groups: denied"), policy.Fact[policy.Others]{}
		in.Facts.Peers = []policy.Peer{{Region: "us-east-1", Check: "url", Finding: *noReply("url")}, {Region: "eu-central-1", Check: "url", Err: "no answer"}}
		in.Facts.Alerts["a/i-self"] = policy.AlertOpen
	}))
	want := []policy.FactSaid{
		{Fact: "alarm", Value: "ALARM"},
		{Fact: "EC2", Value: "running, started at 2026-01-04 03:00 UTC, instance impaired"},
		{Fact: "pause tag", Error: `"tomorrow" is not a time`},
		{Fact: "CPU credits", Value: "it has some, or needs none"},
		{Fact: "security groups", Error: "security groups: denied"},
		{Fact: "other instances", Value: "not asked: this look does not need it"},
		{Fact: "our connectivity", Value: "works"},
		{Fact: "us-east-1", Value: "url failed: what url saw"},
		{Fact: "eu-central-1", Error: "no answer"},
		{Fact: "alert", Value: "a/i-self: open"},
	}
	if diff := cmp.Diff(want, policy.Explain(in).Facts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := reflect.TypeFor[policy.Facts]().NumField(); n != 8 { // Unwatched is row 1
		t.Errorf("%d facts: is each of them said?", n)
	}
}
