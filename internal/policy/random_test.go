package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// randomInput is an input that may or may not occur, with a state that is
// consistent. The same seed makes the same one.
func randomInput(seed uint64) policy.Input {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test that a seed reproduces
	chance := func(p float64) bool { return r.Float64() < p }
	span := func() time.Duration {
		edges := []time.Duration{0, sec, min, 2 * min, 10 * min, 20 * min, 30 * min, hour, 2 * hour, 4 * hour, 6 * hour, day, 7 * day}
		return max(0, edges[r.IntN(len(edges))]+time.Duration(r.IntN(3)-1)*sec)
	}
	everything := []seen{passed, passed, badAnswer, noReply, refused, mute, closedEarly, forbidden, noName, busy, blind, missing, elsewhere(passed), elsewhere(badAnswer), elsewhere(noReply)}
	what := func() seen { return everything[r.IntN(len(everything))] }
	list := []option{look(what(), what(), what()), held(span())}
	if chance(.4) {
		list = append(list, []option{down, healthy, attention, allBusy, look(off, what(), what()), look(what(), off, off), look(busy, off, passed), look(off, blind, passed)}[r.IntN(8)])
	}
	add := func(p float64, o func() option) {
		if chance(p) {
			list = append(list, o())
		}
	}
	sev := func() incident.Severity { return incident.Severity(1 + r.IntN(3)) }
	key := func() string { return []string{self, cause, "breaker", "url/blind"}[r.IntN(4)] }
	outcome := func() string {
		return []string{"", incident.OutcomeCured, incident.OutcomeNotCured, incident.OutcomeOverridden}[r.IntN(4)]
	}
	add(.3, func() option { return alert("a/breaker", "breaker", span(), other, "i-third") })
	add(.3, func() option { return alert("a/"+cause, cause, span(), other) })
	add(.2, func() option { return alert("b/"+cause, cause, span(), "i-third") })
	add(.3, func() option { return healthyFor(span(), r.IntN(4)) })
	add(.3, func() option { return failedFor(span()) })
	add(.3, func() option { return rebooted(span(), outcome()) })
	add(.3, func() option { return rebooted(span(), outcome()) })
	add(.3, func() option { return otherRebooted(other, span(), outcome()) })
	add(.3, func() option { return otherRebooted("i-third", span(), outcome()) })
	add(.1, func() option { return options(healthy, healthyFor(span(), 1+r.IntN(3)), rebooted(span(), "")) })
	add(.2, func() option { return silent(span()) })
	add(.2, func() option { return resetBreaker(span()) })
	add(.1, func() option { return paused(span() - min) })
	add(.1, func() option { return terminated })
	add(.1, func() option { return unknownID })
	add(.1, func() option { return options(stopped, byPerson) })
	add(.1, func() option { return ec2Blind })
	add(.1, func() option { return noAlarm })
	add(.1, func() option { return neverPassed(incident.Checks[r.IntN(3)]) })
	add(.3, func() option { return slackSaid([]string{"url/busy", "covered", "gone"}[r.IntN(3)], span()) })
	add(.1, func() option {
		return change(func(in *policy.Input) { in.Look = 199 + r.IntN(2); in.StartedAt = ago(span()) })
	})
	add(.2, func() option { return setting(func(s *incident.Settings) { s.ConfirmSeconds = r.IntN(601) }) })
	add(.5, func() option {
		k := key()
		m := []option{member(k, sev(), span(), other), membership(func(m *policy.Membership) {
			m.Confirmed, m.ByNote, m.LongWell = chance(.8), chance(.2), chance(.2)
			if chance(.2) {
				m.AgainAt = ago(span())
			}
		})}
		if chance(.3) {
			m = append(m, closed(k, span()))
		}
		return options(m...)
	})
	add(.3, func() option {
		return change(func(in *policy.Input) {
			for id := range in.State.Region.Alerts {
				// The order of the map does not matter: each has the same.
				in.Facts.Alerts[id] = policy.AlertUnreadable
			}
		})
	})
	add(.1, func() option {
		return change(func(in *policy.Input) { in.Facts.Alerts["a/breaker"] = policy.AlertClosed })
	})
	return input(list...)
}

const randomInputs = 1200

// copyOf is a deep copy.
func copyOf(t *testing.T, in policy.Input) string {
	t.Helper()
	raw, err := json.Marshal(in) // sorts the keys of maps
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDecideChangesNothingAndIsDeterministic(t *testing.T) {
	for seed := range uint64(randomInputs) {
		in := randomInput(seed)
		before := copyOf(t, in)
		first := policy.Decide(in)
		if after := copyOf(t, in); after != before {
			t.Fatalf("seed %d: Decide changed its input: %s", seed, cmp.Diff(before, after))
		}
		kept := fmt.Sprintf("%+v", mustJSON(t, first))
		for range 3 {
			if diff := cmp.Diff(first, policy.Decide(randomInput(seed))); diff != "" {
				t.Fatalf("seed %d: two decisions on the same input: %s", seed, diff)
			}
		}
		policy.MayReboot(in, first.Decision)
		if after := copyOf(t, in); after != before {
			t.Fatalf("seed %d: MayReboot changed its input: %s", seed, cmp.Diff(before, after))
		}
		// What is told of it changes neither the input nor the output.
		s := policy.Paged(first.State, first.Decision, taken, &incident.Thread{})
		s = policy.Closed(policy.SlackTold(s, first.Decision, now), first.Decision)
		s, _ = policy.Resume(s, now)
		for _, ref := range s.Region.ToResolve() {
			s.Region = policy.Resolved(s.Region, ref)
		}
		if copyOf(t, in) != before || fmt.Sprintf("%+v", mustJSON(t, first)) != kept {
			t.Fatalf("seed %d: what came after the decision changed it", seed)
		}
		if problem := inconsistent(s); problem != "" {
			t.Fatalf("seed %d: after it was told: %s", seed, problem)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDecideOnRandomInputs(t *testing.T) {
	rows := map[int]int{}
	for seed := range uint64(randomInputs) {
		in := randomInput(seed)
		if problem := inconsistent(in.State); problem != "" {
			t.Fatalf("seed %d: the input is not consistent: %s", seed, problem)
		}
		out := policy.Decide(in)
		rows[out.Decision.Row]++
		for _, problem := range append(violations(in, out), inconsistent(out.State)) {
			if problem != "" {
				t.Errorf("seed %d: %s: %s", seed, summary(out.Decision), problem)
			}
		}
	}
	for row := 1; row <= 12; row++ {
		if rows[row] < 5 {
			t.Errorf("row %d decided %d times, too few to prove anything: %v", row, rows[row], rows)
		}
	}
}

// violations are the promises that a decision breaks.
func violations(in policy.Input, out policy.Output) (problems []string) {
	d, i := out.Decision, out.State.Instance
	rule := func(holds bool, problem string) {
		if !holds {
			problems = append(problems, problem)
		}
	}
	waits := d.Next == incident.NextWait || d.Next == incident.NextReboot
	wasMember := in.State.Instance.Membership != nil
	rule(slices.Contains(incident.Nexts, d.Next), "a word that the state machine does not know")
	rule(d.Reason != "", "no reason")
	rule(d.Row >= 1 && d.Row <= 12, "no row")
	rule(!waits || d.WaitSeconds >= 1 && d.WaitSeconds <= incident.MaxWaitSeconds, "wait_seconds out of range")
	rule(waits || d.WaitSeconds == 0, "wait_seconds without a wait")
	rule(!waits || in.Look < incident.MaxLooks, "a look after the last one")
	rule(d.Next != incident.NextPage || d.Alert != nil && d.Alert.Alias != "" && d.Situation != "", "a page without alert or situation")
	rule(d.Next != incident.NextPage || d.Severity != 0 || d.Situation == incident.SituationHealthyAgain, "a page without severity")
	rule(d.Next != incident.NextSlack && d.Next != incident.NextResolve || d.Slack && d.SlackKey != "" && d.Situation != "", "a message without key or situation")
	rule(d.Next != incident.NextPage || d.Slack != (d.Situation == incident.SituationNote), "a page that Slack does not hear of, or an hourly note that it does")
	rule(!d.Note || d.Next == incident.NextPage, "a note without a page")
	rule(d.Next != incident.NextReboot || d.Verdict == incident.VerdictFailed && !wasMember && d.Row == 10, "a reboot of an instance that is handed over or has not failed")
	rule(d.Next != incident.NextReboot || !out.State.Region.BreakerOpen(), "a reboot while the breaker is open")
	rule(d.Guard == "" || d.Next != incident.NextReboot, "a reboot that a guard refuses")
	rule(!i.AtRest || i.Membership == nil && (d.Verdict == incident.VerdictHealthy || d.Row == 1) && d.Next == incident.NextDone, "at rest too early")
	rule(d.Next != incident.NextHandedOver || i.Membership != nil, "handed over without an alert")
	rule(d.Next != incident.NextDone || i.Membership == nil, "done as a member of an alert")
	rule(d.Confirming == "" || (i.Membership == nil) == (in.State.Instance.Membership == nil), "a decision that must hold first changes the membership")
	rule(len(d.Findings) == len(incident.Checks), "findings are missing")
	if d.Next == incident.NextPage && i.Membership != nil {
		rule(i.Membership.Alert == d.Alert.ID && slices.Contains(d.Alert.Members, self), "a page of an alert that the instance is not in")
	}
	return problems
}

// inconsistent says what is wrong with a state, or "".
func inconsistent(s policy.State) string {
	in := ""
	if m := s.Instance.Membership; m != nil {
		in = m.Alert
		if _, ok := s.Region.Alerts[m.Alert]; !ok {
			return "the membership's alert does not exist"
		}
	}
	aliases := map[string]string{}
	for id, a := range s.Region.Alerts {
		_, lists := a.Members[s.Instance.ID]
		switch {
		case lists != (id == in):
			return fmt.Sprintf("alert %s lists the instance: %v; it is a member of %q", id, lists, in)
		case a.Key == "" || a.Alias == "" || a.Wake < 1:
			return "an alert without key or alias: " + id
		case aliases[a.Alias] != "" && id[0] == aliases[a.Alias][0]:
			return "two alerts have the alias " + a.Alias
		case slices.ContainsFunc(a.Old, func(o policy.OldAlias) bool { return o.Alias == a.Alias }):
			return "an alert's alias is among its old ones: " + id
		}
		aliases[a.Alias] = id
	}
	return ""
}
