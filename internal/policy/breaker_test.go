package policy_test

import (
	"fmt"
	"testing"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

const held1 = "10 page held_back down @breaker"

func silent(d time.Duration) option {
	return region(func(r *policy.Region) { r.Silent = map[string]incident.Millis{other: ago(d)} })
}

// resetBreaker: the breaker was last reset some time ago.
func resetBreaker(d time.Duration) option {
	return region(func(r *policy.Region) { r.BreakerResetAt = ago(d) })
}

// perHour adds reboots of other instances that are all told, one a minute, the
// first some time ago.
func perHour(n int, first time.Duration) option {
	return func(s *scene) {
		for k := range n {
			otherRebooted(fmt.Sprintf("i-%d", k), first-time.Duration(k)*min, incident.OutcomeCured)(s)
		}
	}
}

func TestBreakerOpens(t *testing.T) {
	flight := func(d time.Duration) option { return otherRebooted(other, d, "") }
	cured := func(d time.Duration) option { return otherRebooted(other, d, incident.OutcomeCured) }
	notCured := func(d time.Duration) option { return otherRebooted(other, d, incident.OutcomeNotCured) }
	overridden := func(d time.Duration) option { return otherRebooted(other, d, incident.OutcomeOverridden) }
	noOther := change(func(in *policy.Input) { in.Facts.Others = policy.Known(policy.Others{Any: true}) })
	decisions(t, []decisionCase{
		{"2 reboots are in flight", is(down, flight(5*min), flight(min)), held1},
		{"1 reboot is in flight", is(down, flight(min)), reboots},
		{"in_flight 1", is(down, flight(min), change(func(in *policy.Input) { in.Breaker.InFlight = 1 })), held1},
		{"2 reboots, one was overridden", is(down, flight(min), overridden(5*min)), reboots},

		{"6 reboots within the hour", is(down, perHour(6, hour-sec)), held1},
		{"6 reboots, the first an hour ago", is(down, perHour(6, hour)), reboots},
		{"5 reboots within the hour", is(down, perHour(5, 30*min)), reboots},
		{"per_hour 3", is(down, perHour(3, 30*min), change(func(in *policy.Input) { in.Breaker.PerHour = 3 })), held1},

		{"another fell silent 9:59 ago", is(down, silent(10*min-sec)), held1},
		{"another fell silent 10 minutes ago", is(down, silent(10*min)), reboots},
		{"this one fell silent", is(down, region(func(r *policy.Region) { r.Silent = map[string]incident.Millis{self: ago(min)} })), reboots},
		{"another fell silent, and this one has answered", is(look(badAnswer, passed, passed), silent(min)), held1},

		{"no other instance answers us", is(look(mute, off, noReply), noOther), held1},
		{"no other instance answers us, Route 53 is blind", is(look(mute, blind, noReply), noOther), held1},
		{"no other instance answers us, but Route 53 agrees", is(down, noOther), reboots},
		{"no other instance answers us, but this one has", is(look(mute, off, badAnswer), noOther), reboots},
		{"there is no other instance", is(look(mute, off, noReply), change(func(in *policy.Input) { in.Facts.Others = policy.Known(policy.Others{}) })), refuses("vantage")},
		{"the others could not be asked", is(look(mute, off, noReply), change(func(in *policy.Input) { in.Facts.Others = policy.CouldNotAsk[policy.Others]("x") })), refuses("vantage")},

		{"the last 2 cured nothing", is(down, notCured(23*hour), notCured(2*hour)), held1},
		{"the last 2 cured nothing, the first a day ago", is(down, notCured(day), notCured(2*hour)), reboots},
		{"the last but one cured it", is(down, notCured(5*hour), cured(4*hour), notCured(2*hour)), reboots},
		{"the third last cured it", is(down, cured(5*hour), notCured(4*hour), notCured(2*hour)), held1},
		{"one cured nothing", is(down, notCured(2*hour)), reboots},
		{"a person stopped the last one: it cured nothing", is(down, notCured(5*hour), overridden(2*hour)), held1},
	})
}

func TestBreakerCountsSinceItWasReset(t *testing.T) {
	flights := func(s *scene) {
		otherRebooted(other, 5*min, "")(s)
		otherRebooted("i-third", 4*min, "")(s)
	}
	decisions(t, []decisionCase{
		{"in flight, reset before", is(down, flights, resetBreaker(5*min+sec)), held1},
		{"in flight, reset since", is(down, flights, resetBreaker(5*min-sec)), reboots},
		{"per hour, reset before", is(down, perHour(6, 30*min), resetBreaker(31*min)), held1},
		{"per hour, reset since", is(down, perHour(6, 30*min), resetBreaker(29*min)), reboots},
		{"silent, reset before", is(down, silent(5*min), resetBreaker(6*min)), held1},
		{"silent, reset since", is(down, silent(5*min), resetBreaker(5*min)), reboots},
		{"cured nothing, reset since", is(down, otherRebooted(other, 3*hour, incident.OutcomeNotCured), otherRebooted(other, 2*hour, incident.OutcomeNotCured), resetBreaker(150*min)), reboots},
	})
}

func TestBreakerIsOpen(t *testing.T) {
	woke := func(d time.Duration, members ...string) option { return alert("a/breaker", "breaker", d, members...) }
	decisions(t, []decisionCase{
		{"it woke somebody 59:59 ago", is(down, woke(hour-sec, other)), "10 page held_back down note @breaker"},
		{"it woke somebody an hour ago", is(down, woke(hour, other)), held1},
		{"its page was never confirmed", is(down, woke(min, other), alertOf("a/breaker", func(a *policy.Alert) { a.LastWakeAt = 0 })), held1},
		{"a person has closed it", is(down, woke(min, other), closed("breaker", sec)), reboots},
		{"a person closes it now", is(down, woke(min, other), change(func(in *policy.Input) { in.Facts.Alerts["a/breaker"] = policy.AlertClosed })), reboots},
		{"its last member has left", is(down, woke(min)), reboots},
		{"nobody has written why it opened", is(down, woke(min, other), alertOf("a/breaker", func(a *policy.Alert) { a.Why = "" })), "10 page held_back down note @breaker"},
		{"a guard refuses as well: the breaker comes first", is(down, noAlarm, woke(min, other)), "10 page held_back down note @breaker"},
		{"Route 53 alone is not held back", is(r53Alone, woke(min, other)), "10 page not_rebooted unknown guard:route53 @route53/failed"},
		{"a member that needs attention goes on as such", is(attention, woke(min, other)), "12 page attention unknown @url/attention"},
		{"a member is not held back twice", is(down, member("breaker", sevDown, min)), "8 handed_over"},
		{"must hold first", is(down, woke(min, other), held(min)), "10 wait 60s confirming:page"},
	})
}

func TestBreakerHoldsBack(t *testing.T) {
	out := policy.Decide(input(down, silent(min)))
	m := out.State.Instance.Membership
	if m == nil || out.State.Region.Alerts[m.Alert].Key != policy.KeyBreaker || !out.State.Region.BreakerOpen() {
		t.Fatalf("it is not a member of the breaker's alert: %+v", m)
	}
	if why := out.Decision.Alert.Why; why != "another instance fell silent within 10 minutes" {
		t.Errorf("why it opened: %q", why)
	}
}

func TestBreakerCloses(t *testing.T) {
	breaker := options(member("breaker", sevDown, 3*hour))
	for _, tt := range []struct {
		name              string
		is                option
		isClosed, isReset bool
	}{
		{"the last member is well", options(breaker, healthyFor(30*min, 6)), true, true},
		{"the last member is gone", options(breaker, down, terminated), true, false},
		{"the last member was stopped", options(breaker, down, stopped, byPerson), true, false},
		{"the last member is no longer watched", options(breaker, unwatched), true, false},
		{"a person closes the alert", options(breaker, down, change(func(in *policy.Input) { in.Facts.Alerts["a/breaker"] = policy.AlertClosed })), true, false},
		{"a member is well, another is not", options(member("breaker", sevDown, 3*hour, other), healthyFor(30*min, 6)), false, false},
		{"still down", options(breaker, down), false, false},
		{"healthy, not well", options(breaker, healthyFor(29*min, 6)), false, false},
	} {
		r := policy.Decide(input(tt.is)).State.Region
		if isReset := r.BreakerResetAt == now; isReset != tt.isReset || r.BreakerOpen() == tt.isClosed {
			t.Errorf("%s: reset at %v, open %v", tt.name, r.BreakerResetAt, r.BreakerOpen())
		}
	}
}

// The members of a breaker's alert that a person has closed stay handed over,
// and page once, together, when their quiet ends.
func TestBreakerClosedByAPerson(t *testing.T) {
	decisions(t, []decisionCase{
		{"still handed over", is(down, member("breaker", sevDown, 5*hour, other), closed("breaker", 4*hour-sec)), "8 handed_over"},
		{"its quiet ends, another is silent too", is(down, member("breaker", sevDown, 5*hour, other), closed("breaker", 4*hour), resetBreaker(4*hour), silent(min)), "7 page still_down down @held"},
		{"its quiet ends, the breaker has opened again", is(down, member("breaker", sevDown, 5*hour, other), closed("breaker", 4*hour), resetBreaker(4*hour), alert("a/new", "breaker", min, "i-third")), "7 page still_down down note @breaker"},
		{"its quiet ends, it is alone", is(down, member("breaker", sevDown, 5*hour), closed("breaker", 4*hour), resetBreaker(4*hour)), "7 page still_down down @held"},
	})
}

func TestSilentIsRecorded(t *testing.T) {
	reset := func(d time.Duration) option {
		return region(func(r *policy.Region) { r.BreakerResetAt = ago(d) })
	}
	looks := func(n int) option {
		return instance(func(i *policy.Instance) { i.Execution.Looks = n })
	}
	for _, tt := range []struct {
		name string
		is   option
		want bool
	}{
		{"every failure without a byte, second look", options(down, looks(1)), true},
		{"the first look of an execution", options(down, looks(0)), false},
		{"it was rebooted two minutes ago", options(down, looks(1), rebooted(2*min, "")), true},
		{"it boots after a reboot", options(down, looks(1), rebooted(2*min-sec, "")), false},
		{"unhealthy since the breaker was closed", options(down, held(2*min), reset(2*min)), false},
		{"unhealthy since after that", options(down, held(2*min), reset(2*min+sec)), true},
		{"a failure with a byte", look(noReply, off, badAnswer), false},
		{"a check passes", look(noReply, off, passed), false},
		{"a check is blind", look(noReply, blind, off), true},
		{"needs attention", look(forbidden, off, noReply), false},
		{"healthy", healthy, false},
	} {
		_, got := policy.Decide(input(tt.is)).State.Region.Silent[self]
		if got != tt.want {
			t.Errorf("%s: recorded as silent: %v", tt.name, got)
		}
	}
}

func TestResume(t *testing.T) {
	in := input(down, member("breaker", sevDown, hour, other), instance(func(i *policy.Instance) { i.AtRest = true }))
	s, isMember := policy.Resume(in.State, now)
	if !isMember || s.Instance.Membership != nil || s.Instance.AtRest || s.Region.BreakerResetAt != now {
		t.Errorf("member %v, membership %v, at rest %v, closed at %v", isMember, s.Instance.Membership, s.Instance.AtRest, s.Region.BreakerResetAt)
	}
	if s.Instance.LastResolvedAt != 0 {
		t.Error("a resumed instance counts as resolved, so no reboot would be allowed")
	}
	in.State = s
	in.State.Region.Alerts = nil // once the other member has left, too
	if got := summary(policy.Decide(in).Decision); got != reboots {
		t.Errorf("after resume: %s", got)
	}
	if _, isMember := policy.Resume(input(member(self, sevDown, hour)).State, now); isMember {
		t.Error("resume takes an instance out of its own alert")
	}
	if _, isMember := policy.Resume(input().State, now); isMember {
		t.Error("an instance without an alert is a member")
	}
}
