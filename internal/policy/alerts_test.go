package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

const cause = "url/attention"

// A new member of a cause is a note if its alert is open and woke somebody
// within the hour; otherwise it pages.
func TestJoining(t *testing.T) {
	resolved := func(d time.Duration) option {
		return instance(func(i *policy.Instance) { i.LastResolvedAt, i.ResolvedFrom = ago(d), "a/"+cause })
	}
	alertIs := func(woke time.Duration) option { return alert("a/"+cause, cause, woke, other) }
	decisions(t, []decisionCase{
		{"no alert yet", is(attention), "12 page attention unknown @url/attention"},
		{"it woke somebody 59:59 ago", is(attention, alertIs(hour-sec)), "12 page attention unknown note @url/attention"},
		{"it woke somebody an hour ago", is(attention, alertIs(hour)), "12 page attention unknown @url/attention"},
		{"this instance was well, and left it, after that", is(attention, alertIs(hour-sec), resolved(hour-2*sec)), "12 page attention unknown @url/attention"},
		{"this instance was well before that", is(attention, alertIs(hour-sec), resolved(hour)), "12 page attention unknown note @url/attention"},
		{"this instance was well, and left another alert, after that", is(attention, alertIs(hour-sec), resolved(hour-2*sec), instance(func(i *policy.Instance) { i.ResolvedFrom = "a/" + other })), "12 page attention unknown note @url/attention"},
		{"its page was never confirmed", is(attention, alertIs(min), alertOf("a/"+cause, func(a *policy.Alert) { a.LastWakeAt = 0 })), "12 page attention unknown @url/attention"},
		{"a person has closed it", is(attention, alertIs(min), closed(cause, sec)), "12 page attention unknown @url/attention"},
		{"a person closes it now", is(attention, alertIs(min), change(func(in *policy.Input) { in.Facts.Alerts["a/"+cause] = policy.AlertClosed })), "12 page attention unknown @url/attention"},
		{"another cause has an alert", is(attention, alert("a/ssh/attention", "ssh/attention", min, other)), "12 page attention unknown @url/attention"},
		{"an instance's own alert is no note", is(down, noAlarm, alert("a/"+other, other, min, other)), refuses("alarm")},
		{"worse within the hour is a page", is(down, member(cause, sevUnknown, min)), "7 page worse down @i-self"},
	})
}

func TestAliases(t *testing.T) {
	aliasOf := func(in policy.Input) (string, policy.Alert) {
		out := policy.Decide(in)
		return out.Decision.Alert.Alias, out.State.Region.Alerts[out.Decision.Alert.ID]
	}
	const first = "prod/eu-west-1/url/attention/1"

	alias, a := aliasOf(input(attention))
	if want := "prod/eu-west-1/url/attention/20260105T030000.000Z"; alias != want || a.Wake != 1 {
		t.Errorf("a new alert: alias %q, wake %d", alias, a.Wake)
	}
	alias, a = aliasOf(input(attention, alert("a/"+cause, cause, min, other)))
	if alias != first || a.Wake != 1 || len(a.Old) != 0 {
		t.Errorf("a note: %+v", a)
	}
	alias, a = aliasOf(input(attention, alert("a/"+cause, cause, min, other), alertOf("a/"+cause, func(a *policy.Alert) { a.LastWakeAt, a.Pager = 0, "" })))
	if alias != first || a.Wake != 1 {
		t.Errorf("a page that no pager has confirmed: %+v", a)
	}

	// A new alias wakes somebody; the old one is closed with a pointer.
	out := policy.Decide(input(attention, alert("a/"+cause, cause, hour, other)))
	a = out.State.Region.Alerts["a/"+cause]
	if a.Wake != 2 || a.Alias == first || a.Alias != out.Decision.Alert.Alias || a.Pager != "" || a.LastWakeAt != 0 {
		t.Errorf("paged again: %+v", a)
	}
	refs := out.State.Region.ToResolve()
	if len(refs) != 1 || refs[0].Alias != first || refs[0].ReplacedBy != a.Alias || refs[0].Pager != "pager" {
		t.Errorf("to resolve: %+v", refs)
	}
}

// Each wake of one alert has an alias of its own, also within a millisecond.
func TestEachWakeHasANewAlias(t *testing.T) {
	in := input(attention, alert("a/"+cause, cause, hour, other))
	seen := map[string]bool{in.State.Region.Alerts["a/"+cause].Alias: true}
	for n := range 4 {
		out := policy.Decide(in)
		alias := out.Decision.Alert.Alias
		if seen[alias] {
			t.Fatalf("wake %d: alias %s was used before", n, alias)
		}
		seen[alias] = true
		in.State.Region = policy.Paged(out.State, out.Decision, incident.Paged{Pager: "pager", At: now.Add(-hour)}, nil).Region
	}
}

func TestMoving(t *testing.T) {
	// It was a member of a cause alone, and failed.
	out := policy.Decide(input(down, member(cause, sevUnknown, hour)))
	own := out.Decision.Alert.ID
	if diff := cmp.Diff(map[string][]string{own: {self}}, members(out.State.Region)); diff != "" {
		t.Error(diff)
	}
	refs := out.State.Region.ToResolve()
	if len(refs) != 1 || refs[0].Key != cause || refs[0].ReplacedBy != out.Decision.Alert.Alias {
		t.Errorf("to resolve: %+v", refs)
	}
	if out.State.Instance.LastResolvedAt != 0 {
		t.Error("it counts as resolved, though it was not well")
	}
	// With another member the cause's alert stays.
	out = policy.Decide(input(down, member(cause, sevUnknown, hour, other)))
	want := map[string][]string{out.Decision.Alert.ID: {self}, "a/" + cause: {other}}
	if diff := cmp.Diff(want, members(out.State.Region)); diff != "" {
		t.Error(diff)
	}
	if refs := out.State.Region.ToResolve(); len(refs) != 0 {
		t.Errorf("to resolve: %+v", refs)
	}
}

func TestMembership(t *testing.T) {
	out := policy.Decide(input(attention, alert("a/"+cause, cause, min, other)))
	want := &policy.Membership{
		Alert: "a/" + cause, Severity: sevUnknown, Kind: incident.Attention, Failed: []string{"url"}, JoinedAt: now, ByNote: true, Situation: incident.SituationAttention,
	}
	if diff := cmp.Diff(want, out.State.Instance.Membership); diff != "" {
		t.Error(diff)
	}
	out = policy.Decide(input(look(badAnswer, passed, passed), noAlarm))
	want = &policy.Membership{
		Alert: "i-self@1767582000000", Severity: sevDown, Failed: []string{"url"}, JoinedAt: now, Situation: incident.SituationNotRebooted,
	}
	if diff := cmp.Diff(want, out.State.Instance.Membership); diff != "" {
		t.Error(diff)
	}
}

// Closed by a person: closed for all its members.
func TestClosedForAllMembers(t *testing.T) {
	in := input(attention, member(cause, sevUnknown, 2*hour, other), change(func(in *policy.Input) { in.Facts.Alerts["a/"+cause] = policy.AlertClosed }))
	out := policy.Decide(in)
	if a := out.State.Region.Alerts["a/"+cause]; a.ClosedAt != now || len(a.Members) != 2 {
		t.Errorf("closed at %v with %d members", a.ClosedAt, len(a.Members))
	}
	// The other member keeps quiet without asking its pager.
	next := input(attention, instance(func(i *policy.Instance) {
		i.ID, i.Membership = other, &policy.Membership{Alert: "a/" + cause, Severity: sevUnknown, Kind: incident.Attention, JoinedAt: ago(2 * hour), Confirmed: true}
	}))
	next.State.Region = out.State.Region
	if refs := policy.AlertsToAsk(next); len(refs) != 0 {
		t.Errorf("a closed alert is asked for: %+v", refs)
	}
	if got := summary(policy.Decide(next).Decision); got != "8 handed_over" {
		t.Errorf("the other member: %s", got)
	}
	// The time at which it was closed stays.
	in.State.Region = out.State.Region
	in.Now = now.Add(min)
	if a := policy.Decide(in).State.Region.Alerts["a/"+cause]; a.ClosedAt != now {
		t.Errorf("closed at %v, want %v as before", a.ClosedAt, now)
	}
}

// The members of a cause that a person has closed page once, together.
func TestQuietEndsForAllMembersOnce(t *testing.T) {
	wasMember := membership(func(m *policy.Membership) { m.Kind = incident.Attention })
	first := policy.Decide(input(attention, member(cause, sevUnknown, 30*hour, other), wasMember, closed(cause, day)))
	if got := summary(first.Decision); got != "7 page still_down unknown @url/attention" {
		t.Fatalf("the first: %s", got)
	}
	told := policy.Paged(first.State, first.Decision, incident.Paged{Pager: "pager", At: now}, nil)
	second := input(attention, instance(func(i *policy.Instance) {
		i.ID, i.Membership = other, &policy.Membership{Alert: "a/" + cause, Severity: sevUnknown, Kind: incident.Attention, JoinedAt: ago(30 * hour), Confirmed: true}
	}))
	second.State.Region = told.Region
	second.Now = now.Add(min)
	out := policy.Decide(second)
	if got := summary(out.Decision); got != "7 page still_down unknown note @url/attention" {
		t.Errorf("the second: %s", got)
	}
	if got := members(out.State.Region); len(got) != 1 || len(got[first.Decision.Alert.ID]) != 2 {
		t.Errorf("members: %v", got)
	}
}

// A page that is repeated keeps its alias, so that a pager that has it already
// wakes nobody. A note is repeated as a note.
func TestRepeating(t *testing.T) {
	repeats := func(d time.Duration) option {
		return alertOf("a/"+cause, func(a *policy.Alert) { a.WakingAt = ago(d) })
	}
	unconfirmed := func(isNote bool) option {
		return membership(func(m *policy.Membership) { m.Confirmed, m.ByNote = false, isNote })
	}
	neverTaken := alertOf("a/"+cause, func(a *policy.Alert) { a.LastWakeAt, a.Pager = 0, "" })
	for _, tt := range []struct {
		name string
		is   option
		want string
		wake int
	}{
		{"no pager has taken it", options(member(cause, sevUnknown, min), unconfirmed(false), neverTaken), "7 page not_confirmed unknown @url/attention", 1},
		{"a pager has taken another member's page", options(member(cause, sevUnknown, min, other), unconfirmed(false)), "7 page not_confirmed unknown @url/attention", 1},
		{"a pager has taken another member's page after it joined", options(member(cause, sevUnknown, hour, other), unconfirmed(false), alertOf("a/"+cause, func(a *policy.Alert) { a.LastWakeAt = ago(hour - sec) })), "8 handed_over", 1},
		{"another member repeats the page since 1:59", options(member(cause, sevUnknown, min, other), unconfirmed(false), neverTaken, repeats(2*min-sec)), "7 handed_over", 1},
		{"another member repeated the page two minutes ago", options(member(cause, sevUnknown, min, other), unconfirmed(false), neverTaken, repeats(2*min)), "7 page not_confirmed unknown @url/attention", 1},
		{"a note, woke somebody 59:59 ago", options(member(cause, sevUnknown, hour-sec, other), unconfirmed(true)), "7 page not_confirmed unknown note @url/attention", 1},
		{"a note, woke somebody an hour ago", options(member(cause, sevUnknown, hour, other), unconfirmed(true)), "7 page not_confirmed unknown @url/attention", 2},
		{"a note on an alert that nobody took", options(member(cause, sevUnknown, min, other), unconfirmed(true), neverTaken), "7 page not_confirmed unknown @url/attention", 1},
		{"a note on an alert that a person has closed since", options(member(cause, sevUnknown, min, other), unconfirmed(true), closed(cause, sec)), "7 page not_confirmed unknown @url/attention", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := policy.Decide(input(attention, tt.is))
			if got := summary(out.Decision); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			a := out.State.Region.Alerts["a/"+cause]
			if ref := out.Decision.Alert; a.Wake != tt.wake || ref != nil && ref.Alias != a.Alias || a.ClosedAt != 0 {
				t.Errorf("decision %+v, alert %+v", out.Decision, a)
			}
		})
	}
}

// An instance whose alert the table has lost is still handed over: it is paged
// again and not rebooted.
func TestLostAlert(t *testing.T) {
	lost := options(member(self, sevDown, 3*hour), region(func(r *policy.Region) { r.Alerts = nil }))
	decisions(t, []decisionCase{
		{"failed", is(down, lost), "7 page not_confirmed down @i-self"},
		{"needs attention", is(attention, lost), "7 page not_confirmed unknown @url/attention"},
		{"healthy for 10 minutes", is(lost, healthyFor(10*min, 3)), "6 handed_over"},
		{"well", is(lost, healthyFor(30*min, 6)), "6 resolve well"},
		{"gone", is(down, lost, terminated), "1 resolve gone"},
	})
}

func TestAlertsToAsk(t *testing.T) {
	ids := func(in policy.Input) (got []string) {
		for _, ref := range policy.AlertsToAsk(in) {
			got = append(got, ref.ID)
		}
		return got
	}
	all := options(member(self, sevDown, hour), alert("a/breaker", "breaker", hour, other), alert("a/"+cause, cause, hour, other), alert("a/"+other, other, hour, other))
	for _, tt := range []struct {
		name string
		is   option
		want []string
	}{
		{"none", down, nil},
		{"its own and the breaker's", options(down, all), []string{"a/breaker", "a/" + self}},
		{"the look's cause, too", options(attention, all), []string{"a/breaker", "a/" + self, "a/" + cause}},
		{"not one that is known to be closed", options(down, all, closed(self, min)), []string{"a/breaker"}},
		{"not one that no pager has taken", options(down, all, alertOf("a/breaker", func(a *policy.Alert) { a.Pager = "" })), []string{"a/" + self}},
	} {
		if diff := cmp.Diff(tt.want, ids(input(tt.is))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestSeverity(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   option
		want incident.Severity
	}{
		{"nothing failed", attention, sevUnknown},
		{"Route 53 alone, though SSH is on", look(blind, noReply, passed), sevUnknown},
		{"Route 53 alone, and the others cannot tell", options(look(blind, badAnswer, blind), noAlarm), sevDown},
		{"Route 53 alone, the only check", options(look(off, noReply, off), noAlarm), sevDown},
		{"URL alone", options(look(badAnswer, passed, passed), noAlarm), sevDown},
		{"SSH alone", options(look(passed, passed, mute), noAlarm), sevDown},
		{"after a reboot", options(down, rebooted(hour, "")), sevAfter},
		{"after a reboot, though nothing failed now", options(attention, rebooted(hour, "")), sevAfter},
	} {
		if got := policy.Decide(input(tt.is)).Decision.Severity; got != tt.want {
			t.Errorf("%s: severity %v, want %v", tt.name, got, tt.want)
		}
	}
}
