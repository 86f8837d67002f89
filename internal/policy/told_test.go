package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

var taken = incident.Paged{Pager: "second", Alias: "x", At: now.Add(sec), Confirmed: true}

func TestPagedConfirms(t *testing.T) {
	out := policy.Decide(input(down, noAlarm))
	thread := &incident.Thread{Channel: "C1", TS: "1.2"}
	s := policy.Paged(out.State, out.Decision, taken, thread)
	a := s.Region.Alerts[out.Decision.Alert.ID]
	if a.Pager != "second" || a.LastWakeAt != taken.At || a.Thread != thread || !s.Instance.Membership.Confirmed {
		t.Errorf("alert %+v, membership %+v", a, s.Instance.Membership)
	}
	if out.State.Instance.Membership.Confirmed || out.State.Region.Alerts[out.Decision.Alert.ID].Pager != "" {
		t.Error("Paged changed the state that it was given")
	}
	// The first thread stays.
	if s := policy.Paged(s, out.Decision, taken, &incident.Thread{TS: "9"}); s.Region.Alerts[out.Decision.Alert.ID].Thread.TS != "1.2" {
		t.Error("a later thread replaces the first")
	}
}

func TestPagedNotes(t *testing.T) {
	joined := policy.Decide(input(attention, alert("a/"+cause, cause, min, other)))
	s := policy.Paged(joined.State, joined.Decision, taken, nil)
	a := s.Region.Alerts["a/"+cause]
	if a.LastWakeAt != ago(min) || a.JoinedByNoteAt != taken.At || a.Pager != "pager" || !s.Instance.Membership.Confirmed {
		t.Errorf("after a member joined by a note: %+v, %+v", a, s.Instance.Membership)
	}
	hourly := policy.Decide(input(down, member(self, sevDown, 2*hour)))
	s = policy.Paged(hourly.State, hourly.Decision, taken, nil)
	if a := s.Region.Alerts["a/"+self]; a.LastWakeAt != ago(2*hour) || a.JoinedByNoteAt != 0 {
		t.Errorf("after an hourly note: %+v", a)
	}
}

func TestPagedOfAnotherAlias(t *testing.T) {
	out := policy.Decide(input(down, noAlarm))
	late := out.Decision
	late.Alert = new(*late.Alert)
	late.Alert.Alias = "an earlier one"
	if diff := cmp.Diff(out.State, policy.Paged(out.State, late, taken, nil)); diff != "" {
		t.Errorf("the answer about an earlier alias changes the state: %s", diff)
	}
	late.Alert = nil
	if diff := cmp.Diff(out.State, policy.Paged(out.State, late, taken, nil)); diff != "" {
		t.Errorf("a decision without an alert changes the state: %s", diff)
	}
}

func TestPagedTellsOutcomes(t *testing.T) {
	out := policy.Decide(input(down, rebooted(hour, "")))
	if s := policy.Paged(out.State, out.Decision, taken, nil); !s.Instance.Reboots[0].Told {
		t.Error("the outcome of the reboot is not told")
	}
	out = policy.Decide(input(attention, rebooted(min, ""), member(cause, sevUnknown, 2*hour)))
	if s := policy.Paged(out.State, out.Decision, taken, nil); s.Instance.Reboots[0].Told {
		t.Error("an outcome that is open is told")
	}
}

func TestSlackTold(t *testing.T) {
	for _, tt := range []struct {
		name    string
		is      option
		counted bool
	}{
		{"busy", look(busy, off, passed), true},
		{"paused", options(down, paused(hour)), true},
		{"row 1", options(down, terminated), false},
		{"row 3", options(rebooted(min, ""), healthyFor(min, 1)), false},
	} {
		out := policy.Decide(input(tt.is))
		i := policy.SlackTold(out.State, out.Decision, now).Instance
		if i.SlackKey != out.Decision.SlackKey || i.SlackKey == "" || (i.SlackAt == now) != tt.counted {
			t.Errorf("%s: key %q at %v", tt.name, i.SlackKey, i.SlackAt)
		}
	}
	// What goes beside a page is not counted.
	out := policy.Decide(input(attention, slackSaid("covered", min)))
	if i := policy.SlackTold(out.State, out.Decision, now).Instance; !out.Decision.Slack || i.SlackKey != "covered" || i.SlackAt != ago(min) {
		t.Errorf("beside a page: Slack %v, key %q at %v", out.Decision.Slack, i.SlackKey, i.SlackAt)
	}
}

// Slack hears of the same again once the instance has been healthy for 30
// minutes in between.
func TestSlackKeyIsForgotten(t *testing.T) {
	for d, want := range map[incident.Millis]string{ago(30*min - sec): "url/busy", ago(30 * min): ""} {
		in := input(slackSaid("url/busy", 2*hour), healthyFor(now.Sub(d), 5))
		if got := policy.Decide(in).State.Instance.SlackKey; got != want {
			t.Errorf("healthy for %v: key %q, want %q", now.Sub(d), got, want)
		}
	}
}

func TestClosed(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   option
		want bool
	}{
		{"covered, told", options(look(passed, blind, passed), healthyFor(0, 0)), true},
		{"busy, told", look(busy, off, passed), false},
		{"paged", attention, false},
		{"well", options(member(self, sevDown, hour), healthyFor(30*min, 5)), true},
		{"gone", options(down, terminated, member(self, sevDown, hour)), true},
	} {
		out := policy.Decide(input(tt.is))
		if out.State.Instance.AtRest {
			t.Errorf("%s: at rest before it was told", tt.name)
		}
		if got := policy.Closed(out.State, out.Decision).Instance.AtRest; got != tt.want {
			t.Errorf("%s: at rest is %v", tt.name, got)
		}
	}
}

func TestResolved(t *testing.T) {
	r := input(alert("a/"+cause, cause, hour), alertOf("a/"+cause, func(a *policy.Alert) { a.Old = []policy.OldAlias{{Alias: "old", Pager: "pager"}} })).State.Region
	refs := r.ToResolve()
	if len(refs) != 2 || refs[0].Alias != "old" || refs[1].Alias != r.Alerts["a/"+cause].Alias {
		t.Fatalf("to resolve: %+v", refs)
	}
	one := policy.Resolved(r, refs[0])
	if left := one.ToResolve(); len(left) != 1 || left[0].Alias != refs[1].Alias {
		t.Errorf("after the old one: %+v", left)
	}
	if both := policy.Resolved(one, refs[1]); len(both.Alerts) != 0 {
		t.Errorf("after both: %+v", both.Alerts)
	}
	if len(r.Alerts["a/"+cause].Old) != 1 {
		t.Error("Resolved changed the region that it was given")
	}
	// In the other order an old alias keeps the alert.
	other := policy.Resolved(r, refs[1])
	if left := other.ToResolve(); len(left) != 2 {
		t.Errorf("the present one first: %+v", left)
	}
	if got := policy.Resolved(r, incident.AlertRef{ID: "a/unknown"}); len(got.Alerts) != 1 {
		t.Error("an unknown alert changes the region")
	}
}

func TestResolvedKeepsMembers(t *testing.T) {
	r := input(member(cause, sevUnknown, hour)).State.Region
	if got := policy.Resolved(r, *r.Ref("a/" + cause)); len(got.Alerts) != 1 {
		t.Error("an alert that has members again is forgotten")
	}
}

func TestWithoutStore(t *testing.T) {
	in := input(down)
	in.State = policy.State{Instance: policy.Instance{ID: self}}
	d := policy.WithoutStore(in, "throttled")
	if got := summary(d); got != "0 page store down @store" || !d.Slack {
		t.Errorf("failed: %s", got)
	}
	if d.Alert.Alias != "prod/eu-west-1/store/20260105T03" {
		t.Errorf("alias %s", d.Alert.Alias)
	}
	in.Now = now.Add(hour - sec)
	if got := policy.WithoutStore(in, "throttled").Alert.Alias; got != d.Alert.Alias {
		t.Errorf("within the hour: alias %s", got)
	}
	in.Now = now.Add(hour)
	if got := policy.WithoutStore(in, "throttled").Alert.Alias; got == d.Alert.Alias {
		t.Errorf("in the next hour: alias %s as before", got)
	}
	in.Findings = input(healthy).Findings
	if got := summary(policy.WithoutStore(in, "throttled")); got != "0 done" {
		t.Errorf("healthy: %s", got)
	}
	in.Findings = nil
	if got := policy.WithoutStore(in, "throttled"); got.Next != incident.NextPage || got.Kind != incident.Blind {
		t.Errorf("no findings: %s %s", got.Next, got.Kind)
	}
}

func TestReservedBy(t *testing.T) {
	i := input(rebooted(min, "")).State.Instance
	if i.ReservedBy(i.Reboots[0].Execution) == nil || i.ReservedBy("e-other") != nil {
		t.Error("ReservedBy confuses executions")
	}
	if new(policy.Instance).ReservedBy("e-now") != nil {
		t.Error("an instance without reboots has one")
	}
}

func TestLeaseHeld(t *testing.T) {
	l := policy.Lease{Execution: "e-1", Until: now.Add(min)}
	if !l.Held("e-2", false, now) || l.Held("e-1", false, now) || l.Held("e-2", false, now.Add(min)) || new(policy.Lease).Held("e-2", false, 0) {
		t.Error("a lease is held by another execution until it ends")
	}
}
