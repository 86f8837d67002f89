package policy_test

import (
	"testing"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// An instance that a person has handed back leaves its alert whatever the look says, and
// is not rebooted for four hours.
func TestHandedBack(t *testing.T) {
	back := membership(func(m *policy.Membership) { m.HandedBackBy = "jane" })
	own := member(self, sevDown, hour)
	decisions(t, []decisionCase{
		{"down", is(down, own, back), "6 resolve handed_back"},
		{"down, in the first look", is(down, own, back, held(0)), "6 resolve handed_back"},
		{"healthy for a minute", is(own, back, healthyFor(min, 1)), "6 resolve handed_back"},
		{"its page was never confirmed", is(down, own, back, membership(func(m *policy.Membership) { m.Confirmed = false })), "6 resolve handed_back"},
		{"the breaker holds it back", is(down, member("breaker", sevDown, hour, other), back), "6 resolve handed_back"},
		{"paused", is(down, own, back, paused(hour)), "2 resolve handed_back"},
		{"gone", is(down, own, back, ec2(func(e *policy.EC2) { e.Terminated = true })), "1 resolve gone"},
	})

	in := input(down, own, back)
	out := policy.Decide(in)
	if refs := out.State.Region.ToResolve(); len(refs) != 1 || refs[0].Ended != "handed back by jane" || out.Decision.Reason != refs[0].Ended {
		t.Errorf("to resolve: %+v, reason %q", refs, out.Decision.Reason)
	}
	// The schedule looks again, and what still fails pages anew.
	if s := policy.Closed(out.State, out.Decision); s.Instance.AtRest || !policy.Due(&s.Instance, false) {
		t.Error("it is at rest though it is down")
	}
	in.State, in.Look, in.Execution = out.State, 1, "e-next"
	in.Settings.ConfirmSeconds = 0
	next := policy.Decide(in)
	if got := summary(next.Decision); got != refuses("cooldown") || next.State.Instance.Membership.HandedBackBy != "" || next.Decision.Alert.Alias == in.State.Region.Alerts["a/"+self].Alias {
		t.Errorf("the next look: %s, %+v", got, next.State.Instance.Membership)
	}
	// Another member keeps the alert open.
	out = policy.Decide(input(down, member("url/attention", sevUnknown, hour, other), back))
	if refs := out.State.Region.ToResolve(); len(refs) != 0 || out.Decision.Next != incident.NextResolve {
		t.Errorf("an alert with another member is to be resolved: %+v", refs)
	}
}
