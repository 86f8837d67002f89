package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
	"firstline/notify"
	"firstline/test/dynamo"
)

// in runs a test in virtual time.
func in(t *testing.T, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t)) })
}

func TestHealthyIsSilent(t *testing.T) {
	in(t, func(w *world) {
		r := w.run("a", w.event(incident.SourceSchedule, one, true))
		if r.end != "All good" || !slices.Equal(r.steps, []string{"url", "route53", "ssh", "decide"}) {
			t.Errorf("%s after %v", r.end, r.steps)
		}
		s := w.stored(one).Instance
		if !s.AtRest || s.Lease.Execution != "" || s.Baseline[incident.CheckURL] == "" {
			t.Errorf("stored: %+v", s)
		}
		if len(w.slack.posted)+len(w.pager.woken) > 0 {
			t.Error("somebody was told")
		}
	})
}

func TestARebootThatCures(t *testing.T) {
	in(t, func(w *world) {
		w.learned().down()
		cured := time.AfterFunc(4*time.Minute, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.healthy()
		})
		defer cured.Stop()
		r := w.run("a", w.event(incident.SourceSchedule, one, true))
		if r.end != "Told" || w.rebooted != 1 || len(w.pager.woken) > 0 {
			t.Fatalf("%s, %d reboots, woken %v; %s", r.end, w.rebooted, w.pager.woken, w.log)
		}
		if len(w.slack.posted) != 1 || w.slack.posted[0].Incident.Decision.Situation != incident.SituationRecovered {
			t.Errorf("Slack: %+v", w.slack.posted)
		}
		s := w.stored(one)
		if !s.Instance.AtRest || !s.Instance.Reboots[0].Told || s.Instance.Reboots[0].Request != incident.RequestAccepted {
			t.Errorf("stored: %+v", s.Instance)
		}
		var evidence []*store.Evidence
		for record, err := range w.h.Table.Records(w.t.Context(), time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			if record.Evidence != nil {
				evidence = append(evidence, record.Evidence)
			}
		}
		if len(evidence) != 1 || evidence[0].Console == "" || strings.Contains(evidence[0].Console, "hunter2") {
			t.Errorf("evidence: %v", evidence)
		}
	})
}

func TestDownAfterRebootIsHandedOver(t *testing.T) {
	in(t, func(w *world) {
		w.learned().down()
		r := w.run("a", w.event(incident.SourceSchedule, one, true))
		if r.end != "Told" || w.rebooted != 1 || len(w.pager.woken) != 1 {
			t.Fatalf("%s, %d reboots, woken %v", r.end, w.rebooted, w.pager.woken)
		}
		s := w.stored(one)
		m := s.Instance.Membership
		if m == nil || !m.Confirmed || s.Region.Alerts[m.Alert].Pager != "opsgenie" || s.Region.Alerts[m.Alert].Thread == nil || s.Instance.AtRest {
			t.Fatalf("stored: %+v %+v", m, s.Region.Alerts)
		}
		// The schedule looks again: neither a reboot nor a page.
		time.Sleep(5 * time.Minute)
		if r := w.run("b", w.event(incident.SourceSchedule, one, true)); r.end != "Handed over" || w.rebooted != 1 || len(w.pager.woken) != 1 {
			t.Errorf("%s, %d reboots, woken %v", r.end, w.rebooted, w.pager.woken)
		}
		// Well for half an hour: the alert is resolved.
		w.healthy()
		for n := range 8 {
			time.Sleep(5 * time.Minute)
			w.run(fmt.Sprint("c", n), w.event(incident.SourceSchedule, one, false))
		}
		if len(w.pager.open) > 0 || len(w.stored(one).Region.Alerts) > 0 || !w.stored(one).Instance.AtRest {
			t.Errorf("open: %v, stored: %+v", w.pager.open, w.stored(one))
		}
		if last := w.slack.posted[len(w.slack.posted)-1]; last.Incident.Decision.Situation != incident.SituationWell || last.Thread == nil {
			t.Errorf("Slack: %+v", last)
		}
	})
}

func TestDecideRunsTwice(t *testing.T) {
	in(t, func(w *world) {
		w.learned().down()
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		for _, c := range incident.Checks {
			inc = w.must(w.step(c, inc))
		}
		first := w.must(w.step("decide", inc))
		stored := w.stored(one)
		time.Sleep(10 * time.Second)
		w.healthy()
		again := w.must(w.step("decide", inc))
		if diff := cmp.Diff(first, again, cmp.AllowUnexported(incident.Incident{})); diff != "" || first.Next != incident.NextWait || first.Look != 2 || first.Findings != nil {
			t.Errorf("%s %+v", diff, first)
		}
		if diff := cmp.Diff(stored, w.stored(one)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDecideWhoseWriteLosesItsAnswer(t *testing.T) {
	for _, lost := range []int{1, 3} {
		in(t, func(w *world) {
			w.learned().attention()
			inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
			inc = w.look(inc)
			time.Sleep(3 * time.Minute)
			for _, c := range incident.Checks {
				inc = w.must(w.step(c, inc))
			}
			w.losing("TransactWriteItems", lost)
			got, err := w.step("decide", inc)
			for n := 0; err != nil && n < 5; n++ {
				got, err = w.step("decide", inc)
			}
			if err != nil || got.Next != incident.NextPage {
				t.Fatalf("%+v, %v", got, err)
			}
			if s := w.stored(one); len(s.Region.Alerts) != 1 || s.Instance.Execution.Looks != 2 {
				t.Errorf("stored: %+v", s)
			}
		})
	}
}

// What the pager says of an alert is about the alias that it was asked for: another
// execution may page the alert again before the decision is stored.
func TestAnAlertThatIsPagedAgainMeanwhileIsNotClosed(t *testing.T) {
	in(t, func(w *world) {
		w.learned().attention()
		w.run("a", w.event(incident.SourceSchedule, one, true))
		clear(w.pager.open) // a person has closed it
		inc := w.must(w.open(execution("b"), w.event(incident.SourceSchedule, one, true)))
		for _, c := range incident.Checks {
			inc = w.must(w.step(c, inc))
		}
		w.db.Before = func(_ context.Context, c dynamo.Call) error {
			if c.Op == "TransactWriteItems" {
				w.alive()
				w.change(two, func(s *policy.State) {
					for id, a := range s.Region.Alerts {
						a.Alias = "again"
						s.Region.Alerts[id] = a
					}
				})
			}
			return nil
		}
		w.must(w.step("decide", inc))
		for _, a := range w.stored(one).Region.Alerts {
			if a.Alias != "again" || a.ClosedAt > 0 {
				t.Errorf("got %+v", a)
			}
		}
	})
}

func TestALostLeaseEndsAsAlreadyHandled(t *testing.T) {
	in(t, func(w *world) {
		w.learned().down()
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		for _, c := range incident.Checks {
			inc = w.must(w.step(c, inc))
		}
		w.change(one, func(s *policy.State) {
			s.Instance.Lease.Execution, s.Instance.Lease.Name = executionARN+"other", "other"
		})
		got := w.must(w.step("decide", inc))
		if got.Next != incident.NextAlreadyHandled || got.HeldBy == nil || got.HeldBy.Name != "other" {
			t.Errorf("got %+v", got)
		}
		// Another invocation of the same execution has gone on.
		w.change(one, func(s *policy.State) { s.Instance.Lease.Execution, s.Instance.Lease.Version = executionARN+"a", 99 })
		if got := w.must(w.step("decide", inc)); got.Next != incident.NextAlreadyHandled {
			t.Errorf("got %+v", got)
		}
	})
}

func TestTheLease(t *testing.T) {
	tests := map[string]struct {
		status sfntypes.ExecutionStatus
		after  time.Duration
		next   string
	}{
		"runs":                {sfntypes.ExecutionStatusRunning, time.Minute, incident.NextAlreadyHandled},
		"has failed":          {sfntypes.ExecutionStatusFailed, time.Minute, incident.NextLook},
		"not known yet":       {"", time.Second, incident.NextAlreadyHandled},
		"not known":           {"", time.Minute, incident.NextLook},
		"an odd status":       {"ODD", time.Minute, incident.NextAlreadyHandled},
		"runs, lease is over": {sfntypes.ExecutionStatusRunning, 16 * time.Minute, incident.NextLook},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				event := w.event(incident.SourceSchedule, one, true)
				first := w.must(w.open(execution("a"), event))
				if tt.status != "" {
					w.executions[executionARN+"a"] = tt.status
				}
				time.Sleep(tt.after)
				got := w.must(w.open(execution("b"), event))
				if got.Next != tt.next || (tt.next == incident.NextAlreadyHandled) != (got.HeldBy != nil) {
					t.Errorf("got %+v", got)
				}
				// The one that has it may ask again.
				if tt.next == incident.NextAlreadyHandled {
					if again := w.must(w.open(first.Execution, event)); again.Next != incident.NextLook || again.LeaseVersion != first.LeaseVersion+1 {
						t.Errorf("again: %+v", again)
					}
				}
			})
		})
	}
}

// toReboot leads to the step that reboots.
func (w *world) toReboot() *incident.Incident {
	w.t.Helper()
	w.learned().down()
	inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
	for range 5 {
		if inc = w.look(inc); inc.Next == incident.NextReboot {
			return inc
		}
		time.Sleep(time.Duration(inc.WaitSeconds) * time.Second)
	}
	w.t.Fatalf("it does not reboot: %+v", inc.Decision)
	return nil
}

func TestRebootRunsTwice(t *testing.T) {
	in(t, func(w *world) {
		inc := w.toReboot()
		got := w.must(w.step("reboot", inc))
		again := w.must(w.step("reboot", inc))
		if w.rebooted != 1 || got.Refusal != "" || again.RebootedAt != got.RebootedAt || again.RebootedAt == 0 || got.WaitSeconds != 60 {
			t.Errorf("%d reboots: %+v, %+v", w.rebooted, got, again)
		}
		// The looks go on even if neither answer has reached the state machine.
		if after := w.look(inc); after.Next != incident.NextWait {
			t.Errorf("got %+v", after.Decision)
		}
	})
}

func TestRebootWhoseReservationLosesItsAnswer(t *testing.T) {
	in(t, func(w *world) {
		inc := w.toReboot()
		// The table took it: nobody knows, and EC2 is not asked.
		w.losing("TransactWriteItems", 1)
		_, err := w.step("reboot", inc)
		if kindOf(err) != "Unavailable" || w.rebooted != 0 {
			t.Fatalf("%v, %d reboots", err, w.rebooted)
		}
		w.must(w.step("reboot", inc))
		if w.rebooted != 0 || w.stored(one).Instance.Reboots[0].Request != incident.RequestReserved {
			t.Errorf("%d reboots, %+v", w.rebooted, w.stored(one).Instance.Reboots)
		}
	})
}

func TestRebootAnswers(t *testing.T) {
	tests := map[string]struct {
		err     error
		asked   int
		request string
	}{
		"denied":    {&smithy.GenericAPIError{Code: "UnauthorizedOperation"}, 1, incident.RequestRefused},
		"throttled": {&smithy.GenericAPIError{Code: "RequestLimitExceeded"}, 3, incident.RequestRefused},
		"5xx":       {&smithy.GenericAPIError{Code: "InternalError", Fault: smithy.FaultServer}, 1, incident.RequestUnknown},
		"lost":      {errors.New("connection reset"), 1, incident.RequestUnknown},
		"accepted":  {nil, 1, incident.RequestAccepted},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				inc := w.toReboot()
				w.rebootErr = tt.err
				got := w.must(w.step("reboot", inc))
				s := w.stored(one)
				if w.rebooted != tt.asked || s.Instance.Reboots[0].Request != tt.request || (got.Refusal != "") != (tt.request == incident.RequestRefused) {
					t.Errorf("%d asked, %+v, refusal %q", w.rebooted, s.Instance.Reboots, got.Refusal)
				}
				if (len(s.Region.Reboots) == 0) != (tt.request == incident.RequestRefused) {
					t.Errorf("region: %+v", s.Region.Reboots)
				}
			})
		})
	}
}

func TestRebootIsRefused(t *testing.T) {
	tests := map[string]struct {
		change  func(*world)
		refusal string
		kind    string
	}{
		"paused":        {func(w *world) { w.tags[incident.PauseTag] = time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }, "paused", ""},
		"old":           {func(*world) { time.Sleep(2 * time.Minute) }, "seconds old", ""},
		"stopped":       {func(w *world) { w.state = ec2types.InstanceStateNameStopped }, "stopped", ""},
		"lost lease":    {func(w *world) { w.change(one, func(s *policy.State) { s.Instance.Lease.Execution = "x" }) }, "", "Internal"},
		"table is dead": {func(w *world) { w.dead() }, "", "Unavailable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				inc := w.toReboot()
				tt.change(w)
				got, err := w.step("reboot", inc)
				if kindOf(err) != tt.kind || w.rebooted > 0 || err == nil && !strings.Contains(got.Refusal, tt.refusal) {
					t.Errorf("%+v, %v, %d reboots", got, err, w.rebooted)
				}
			})
		})
	}
}

func TestPageThatLosesItsAnswerWakesOnce(t *testing.T) {
	in(t, func(w *world) {
		w.learned().attention()
		w.pager.lost = 1
		r := w.run("a", w.event(incident.SourceSchedule, one, true))
		if r.end != "Told" || len(w.pager.woken) != 1 || !w.stored(one).Instance.Membership.Confirmed {
			t.Errorf("%s, woken %v", r.end, w.pager.woken)
		}
	})
}

func TestPageWhoseConfirmationIsLost(t *testing.T) {
	in(t, func(w *world) {
		w.learned().attention()
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		for inc.Next != incident.NextPage {
			time.Sleep(time.Duration(inc.WaitSeconds) * time.Second)
			inc = w.look(inc)
		}
		w.dead()
		inc = w.must(w.step("page", inc))
		w.alive()
		if !inc.Told || inc.Paged == nil || w.stored(one).Instance.Membership.Confirmed {
			t.Fatalf("%+v", inc)
		}
		// The step runs again: the same alias.
		inc.Told, inc.Paged = false, nil
		w.must(w.step("page", inc))
		if len(w.pager.woken) != 1 || !w.stored(one).Instance.Membership.Confirmed {
			t.Errorf("woken %v", w.pager.woken)
		}
	})
}

func TestPageAnotherWay(t *testing.T) {
	second := func(w *world) *fakePager {
		p := &fakePager{name: "sns", open: map[string]bool{}}
		w.pagers = append(w.pagers, p)
		return p
	}
	// What was accepted and discarded goes to the next pager in the same step.
	in(t, func(w *world) {
		w.learned().attention()
		w.pager.err = fault.New(fault.Unavailable, "page", "%w", notify.ErrDiscarded)
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		for inc.Next != incident.NextPage {
			time.Sleep(time.Duration(inc.WaitSeconds) * time.Second)
			inc = w.look(inc)
		}
		if _, err := w.step("page", inc); kindOf(err) != "Unavailable" {
			t.Errorf("without another one: %v", err)
		}
		p := second(w)
		inc = w.must(w.step("page", inc))
		if len(p.woken) != 1 || !inc.Told || inc.Paged.Pager != "sns" || inc.Caught["page"].Error != "Unavailable" || !w.stored(one).Instance.Membership.Confirmed {
			t.Errorf("woken %v, %+v", p.woken, inc)
		}
		// So is a note that is more than one, and an hourly one goes nowhere else.
		inc.Caught, inc.Told, inc.Decision.Note, inc.Decision.Alert.Pager = nil, false, true, "opsgenie"
		if got := w.must(w.step("page", inc)); len(p.woken) != 2 || got.Decision.Note || got.Caught["page"].Error == "" {
			t.Errorf("woken %v, %+v", p.woken, got)
		}
		inc.Decision.Situation = incident.SituationNote
		if _, err := w.step("page", inc); kindOf(err) != "Unavailable" || len(p.woken) != 2 {
			t.Errorf("woken %v, %v", p.woken, err)
		}
		p.err = errors.New("down")
		inc.Decision.Note = false
		if _, err := w.step("page", inc); kindOf(err) != "Unavailable" {
			t.Errorf("when the other one is down: %v", err)
		}
	})
	in(t, func(w *world) {
		w.learned().attention()
		p := second(w)
		w.pager.err = fault.New(fault.Denied, "page", "wrong key")
		r := w.run("a", w.event(incident.SourceSchedule, one, true))
		if r.end != "Told another way" || len(p.woken) != 1 || r.inc.Paged.Pager != "sns" {
			t.Errorf("%s, %+v", r.end, r.inc.Paged)
		}
	})
	in(t, func(w *world) {
		w.learned().attention()
		p := second(w)
		w.pager.err, p.err = errors.New("down"), errors.New("down")
		r := w.run("a", w.event(incident.SourceSchedule, one, true))
		if r.end != "Told another way" || len(w.slack.posted) != 1 || w.stored(one).Instance.Membership.Confirmed {
			t.Errorf("%s, Slack %d", r.end, len(w.slack.posted))
		}
		// Slack mentions somebody in their place, once an hour, and goes on in one thread.
		for n := range 14 {
			time.Sleep(5 * time.Minute)
			w.run(fmt.Sprint("s", n), w.event(incident.SourceSchedule, one, true))
		}
		mentions, thread := 0, ""
		for n, m := range w.slack.posted {
			if m.Mention {
				mentions++
			}
			if n > 0 && (m.Thread == nil || m.Thread.TS != thread) {
				t.Errorf("message %d has the thread %v, want %s", n, m.Thread, thread)
			}
			if m.Mention {
				thread = fmt.Sprint(n + 1)
			}
		}
		if mentions != 2 || len(w.slack.posted) != 15 || w.stored(one).Instance.Membership.Confirmed {
			t.Errorf("%d mentions, Slack %d", mentions, len(w.slack.posted))
		}
		// Nothing takes it: the next look, which the schedule starts, pages again.
		w.slack.err = errors.New("down")
		time.Sleep(5 * time.Minute)
		if r := w.run("b", w.event(incident.SourceSchedule, one, true)); r.end != "Nobody was told" || w.stored(one).Instance.AtRest {
			t.Errorf("%s", r.end)
		}
		w.pager.err, w.slack.err = nil, nil
		time.Sleep(5 * time.Minute)
		if r := w.run("c", w.event(incident.SourceSchedule, one, true)); r.end != "Told" || len(w.pager.woken) != 1 {
			t.Errorf("%s, woken %v", r.end, w.pager.woken)
		}
	})
}

func TestWithoutPagersSlackIsThePager(t *testing.T) {
	in(t, func(w *world) {
		w.learned().attention()
		w.pagers, w.h.SlackPages = nil, false
		for n := range 6 {
			if r := w.run(fmt.Sprint(n), w.event(incident.SourceSchedule, one, true)); r.end != "Told" && r.end != "Handed over" {
				t.Errorf("%s", r.end)
			}
			time.Sleep(5 * time.Minute)
		}
		if len(w.slack.posted) != 1 || !w.slack.posted[0].Mention || !w.stored(one).Instance.Membership.Confirmed {
			t.Fatalf("%d posted, %+v", len(w.slack.posted), w.stored(one).Instance.Membership)
		}
		// Notes go to the thread and wake nobody; a page after a day does again.
		for n := range 25 {
			time.Sleep(time.Hour)
			w.run(fmt.Sprint("h", n), w.event(incident.SourceSchedule, one, true))
		}
		for n, m := range w.slack.posted[1:] {
			if isPage := !m.Incident.Decision.Note; m.Mention != isPage || m.Thread == nil || isPage != (m.Incident.Decision.Situation == incident.SituationStillDown) {
				t.Errorf("message %d: mention %v, %+v", n, m.Mention, m.Incident.Decision)
			}
		}
		if len(w.slack.posted) < 20 {
			t.Errorf("%d posted", len(w.slack.posted))
		}
		// When it is well, that is said there too, and nothing is left.
		w.healthy()
		for n := range 8 {
			time.Sleep(5 * time.Minute)
			w.run(fmt.Sprint("c", n), w.event(incident.SourceSchedule, one, false))
		}
		if last := w.slack.posted[len(w.slack.posted)-1]; last.Mention || last.Incident.Decision.Situation != incident.SituationWell || len(w.stored(one).Region.Alerts) > 0 {
			t.Errorf("Slack: %+v", last.Incident.Decision)
		}
	})
	// Slack does not deduplicate what the table does not know: once an hour.
	in(t, func(w *world) {
		w.pagers = nil
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
		w.slack.err = errors.New("down")
		for n := range 12 {
			r := w.run(fmt.Sprint("a", n), json.RawMessage(`{"source":"aws.cloudwatch"}`))
			if want := map[bool]string{true: "Nobody was told", false: "Told"}[n == 0]; r.end != want {
				t.Errorf("%d: %s", n, r.end)
			}
			w.slack.err = nil
			time.Sleep(4*time.Minute + 59*time.Second)
		}
		if len(w.slack.posted) != 1 || !w.slack.posted[0].Mention {
			t.Errorf("%d posted", len(w.slack.posted))
		}
	})
	in(t, func(w *world) {
		w.learned().attention()
		w.pagers, w.h.Slack = nil, nil
		if r := w.run("a", w.event(incident.SourceSchedule, one, true)); r.end != "Told" || !strings.Contains(w.log.String(), "nobody is configured to be paged") {
			t.Errorf("%s", r.end)
		}
	})
}

func TestNotes(t *testing.T) {
	note := func(situation string) *incident.Incident {
		s := incident.DefaultSettings()
		return &incident.Incident{
			InstanceID: one, Region: "eu-west-1", AccountID: "123456789012", Execution: execution("a"), Look: 1, Settings: &s, Next: "page",
			Decision: &incident.Decision{Look: 1, Row: 8, Next: "page", Note: true, Situation: situation, Alert: &incident.AlertRef{ID: "x", Alias: "alias", Pager: "opsgenie"}},
		}
	}
	tests := map[string]struct {
		situation    string
		can          notify.Capabilities
		open         bool
		notes, wakes int
		stillNote    bool
	}{
		"open":                             {incident.SituationHeldBack, notify.Capabilities{Notes: true}, true, 1, 0, true},
		"closed":                           {incident.SituationHeldBack, notify.Capabilities{Notes: true}, false, 0, 1, false},
		"hourly, closed":                   {incident.SituationNote, notify.Capabilities{Notes: true}, false, 0, 0, true},
		"no notes, deduplicates, open":     {incident.SituationHeldBack, notify.Capabilities{Deduplicates: true}, true, 0, 0, false},
		"no notes, deduplicates, closed":   {incident.SituationHeldBack, notify.Capabilities{Deduplicates: true}, false, 0, 1, false},
		"no notes, does not deduplicate":   {incident.SituationHeldBack, notify.Capabilities{}, true, 0, 0, true},
		"healthy again, takes no notes":    {incident.SituationHealthyAgain, notify.Capabilities{Deduplicates: true}, true, 0, 0, true},
		"hourly, takes notes and is open":  {incident.SituationNote, notify.Capabilities{Notes: true}, true, 1, 0, true},
		"healthy again, alert was closed ": {incident.SituationHealthyAgain, notify.Capabilities{Notes: true}, false, 0, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				w.pager.can, w.pager.open["alias"] = tt.can, tt.open
				got := w.must(w.step("page", note(tt.situation)))
				if len(w.pager.notes) != tt.notes || len(w.pager.woken) != tt.wakes || !got.Told || got.Decision.Note != tt.stillNote {
					t.Errorf("notes %d, woken %d, %+v", len(w.pager.notes), len(w.pager.woken), got.Decision)
				}
			})
		})
	}
}

func TestNoIncident(t *testing.T) {
	in(t, func(w *world) {
		var aliases []string
		for n := range 3 {
			r := w.run(fmt.Sprint("a", n), json.RawMessage(`{"source":"aws.cloudwatch","detail-type":"CloudWatch Alarm State Change","password":"x"}`))
			if r.end != "Told" || r.inc.Decision.Situation != incident.SituationNoIncident || !strings.Contains(r.inc.Decision.Reason, "event.account") {
				t.Fatalf("%s, %+v", r.end, r.inc.Decision)
			}
			aliases = append(aliases, r.inc.Paged.Alias)
		}
		if len(w.pager.woken) != 1 || !strings.HasPrefix(aliases[0], "firstline/eu-west-1/no-incident/") {
			t.Errorf("woken %v", w.pager.woken)
		}
	})
}

func TestOpenThatCannotBeginItsRecordTakesNoLease(t *testing.T) {
	in(t, func(w *world) {
		w.db.Before = func(_ context.Context, c dynamo.Call) error {
			if c.Op == "TransactWriteItems" && slices.ContainsFunc(c.Keys, func(k string) bool { return strings.HasPrefix(k, "incident/") }) {
				return dynamo.Denied("TransactWriteItems")
			}
			return nil
		}
		event := w.event(incident.SourceSchedule, one, true)
		x := execution("a")
		_, err := w.open(x, event)
		if kindOf(err) != "Denied" || w.stored(one).Instance.Lease.Execution != "" {
			t.Fatal(err)
		}
		w.alive()
		inc := &incident.Incident{Event: event, Execution: x, Told: true}
		inc.Catch("open", caught(err))
		w.must(w.step("close", inc))
		if next := w.must(w.open(execution("b"), event)); next.Next != incident.NextLook {
			t.Errorf("got %+v", next)
		}
	})
}

// Open took the lease, and nobody knows: somebody is paged, and as the execution has
// ended its lease keeps no other one away.
func TestOpenThatLosesItsAnswerForGood(t *testing.T) {
	in(t, func(w *world) {
		w.learned().attention()
		event := w.event(incident.SourceSchedule, one, true)
		w.losing("TransactWriteItems", 1)
		if r := w.run("a", event); r.end != "Told" || len(w.pager.woken) != 1 || w.stored(one).Instance.Lease.Name != "a" {
			t.Fatalf("%s, woken %v, %+v", r.end, w.pager.woken, w.stored(one).Instance.Lease)
		}
		w.inAlarm = []string{one}
		if r, err := w.reconcile(); err != nil || len(r.Started) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		if next := w.must(w.open(execution("b"), event)); next.Next != incident.NextLook {
			t.Errorf("got %+v", next)
		}
	})
}

func TestTheTableIsDead(t *testing.T) {
	for name, tt := range map[string]struct {
		look  func(*world)
		wakes int
	}{
		"healthy":   {(*world).healthy, 0},
		"down":      {(*world).down, 1},
		"attention": {(*world).attention, 1},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				w.learned()
				tt.look(w)
				for n := range 3 {
					inc := w.must(w.open(execution(fmt.Sprint("a", n)), w.event(incident.SourceSchedule, one, true)))
					for _, c := range incident.Checks {
						inc = w.must(w.step(c, inc))
					}
					w.dead()
					_, err := w.step("decide", inc)
					if kindOf(err) != "Unavailable" {
						t.Fatal(err)
					}
					inc.Catch("decide", caught(err))
					inc = w.must(w.step("page", inc))
					inc = w.must(w.step("slack", inc))
					if !inc.Told || w.rebooted > 0 {
						t.Errorf("%+v", inc)
					}
					w.alive()
					w.must(w.step("close", inc))
				}
				if len(w.pager.woken) != tt.wakes {
					t.Errorf("woken %v", w.pager.woken)
				}
			})
		})
	}
}

func TestDryRunsDoNothing(t *testing.T) {
	looks := map[string]struct {
		look func(*world)
		want []string
	}{
		"healthy":   {(*world).healthy, []string{"done", "reboot"}},
		"down":      {(*world).down, []string{"reboot", "reboot"}},
		"attention": {(*world).attention, []string{"page", "reboot"}},
	}
	for name, tt := range looks {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				s := w.settings[one]
				s.ConfirmSeconds = 0
				w.settings[one] = s
				w.learned()
				tt.look(w)
				before := w.stored(one)
				r := w.run("a", w.event(incident.SourceCanary, one, true))
				after := w.stored(one)
				after.Instance.Lease, before.Instance.Lease = policy.Lease{}, policy.Lease{}
				if diff := cmp.Diff(before, after); diff != "" {
					t.Error(diff)
				}
				var got []string
				for _, s := range r.inc.Suppressed {
					got = append(got, s.Action)
				}
				if r.end != "All good" || !slices.Equal(got, tt.want) || w.rebooted > 0 || w.dryRuns != 1 || len(w.pager.woken)+len(w.slack.posted) > 0 {
					t.Errorf("%s, %v, %d dry runs", r.end, r.inc.Suppressed, w.dryRuns)
				}
				if w.stored(one).Instance.Lease.Execution != "" {
					t.Error("the lease is held")
				}
			})
		})
	}
}

func TestACanaryOfANewInstanceLeavesItAtRest(t *testing.T) {
	in(t, func(w *world) {
		if r := w.run("a", w.event(incident.SourceCanary, one, false)); r.end != "All good" || !w.stored(one).Instance.AtRest {
			t.Errorf("%s, %+v", r.end, w.stored(one).Instance)
		}
	})
}

func TestNoLongerWatched(t *testing.T) {
	in(t, func(w *world) {
		w.learned().attention()
		w.run("a", w.event(incident.SourceSchedule, one, true))
		delete(w.settings, one)
		r := w.run("b", w.event(incident.SourceSchedule, one, false))
		if r.end != "Told" || r.inc.Decision.Situation != incident.SituationUnwatched || len(w.pager.open) > 0 {
			t.Errorf("%s, open %v, %+v", r.end, w.pager.open, r.inc.Decision)
		}
		if s := w.stored(one); !s.Instance.AtRest || s.Instance.Lease.Execution != "" || len(s.Region.Alerts) > 0 {
			t.Errorf("stored %+v", s)
		}
		if r := w.run("c", w.event(incident.SourceSchedule, one, false)); r.end != "All good" {
			t.Errorf("again: %s", r.end)
		}
	})
}

func TestRefusedPayloads(t *testing.T) {
	defaults, err := json.Marshal(incident.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	valid := `"instance_id":"` + one + `","region":"eu-west-1","account_id":"123456789012","look":1,"execution":{"id":"x","startedAt":"2026-11-22T10:00:00Z"},"settings":` + string(defaults)
	look := func(detail string) string {
		return `{"step":"open","execution":{"id":"x","name":"x","startedAt":"2026-11-22T10:00:00Z"},"event":{"source":"firstline.schedule","detail-type":"firstline look","account":"123456789012","region":"eu-west-1","time":"2026-11-22T10:00:00Z","detail":` + detail + `}}`
	}
	tests := map[string]struct{ payload, want string }{
		"no JSON":                {`{`, "decode JSON"},
		"unknown step":           {`{"step":"sweep"}`, `step: "sweep" is unknown`},
		"unknown field":          {`{"step":"url","incdent":{}}`, `unknown field "incdent"`},
		"no incident":            {`{"step":"url"}`, "incident: missing"},
		"a probe elsewhere":      {`{"step":"probe","probe":{}}`, `does not run probe, since its FIRSTLINE_ONLY_STEP is ""`},
		"too much":               {`{"step":"reconcile","incident":{}}`, "incident: the step reconcile takes none"},
		"instance":               {`{"step":"url","incident":{"instance_id":"web"}}`, `incident.instance_id: "web"`},
		"instance of a page":     {`{"step":"page","incident":{"instance_id":"web"}}`, `incident.instance_id: "web"`},
		"settings":               {`{"step":"decide","incident":{` + strings.Replace(valid, `"settings":{`, `"settings":{"ulr":{},`, 1) + `}}`, `"ulr"`},
		"region":                 {`{"step":"decide","incident":{` + strings.Replace(valid, "eu-west-1", "us-east-1", 1) + `}}`, "incident.region"},
		"look":                   {`{"step":"ssh","incident":{` + strings.Replace(valid, `"look":1`, `"look":900`, 1) + `}}`, "incident.look"},
		"reboot undecided":       {`{"step":"reboot","incident":{` + valid + `}}`, "incident.decision"},
		"resolve undecided":      {`{"step":"resolve","incident":{` + valid + `}}`, "incident.decision"},
		"event without id":       {look(`{"instance_id":"web"}`), `event.detail.instance_id: "web"`},
		"no start":               {strings.Replace(look(`{"instance_id":"`+one+`"}`), `,"startedAt":"2026-11-22T10:00:00Z"`, "", 1), "execution.startedAt"},
		"a dry one, no settings": {strings.Replace(look(`{"instance_id":"i-0123456789abcdef0"}`), "firstline.schedule", "firstline.canary", 1), "add the instance to regions.tfvars"},
		"verify is dry":          {strings.Replace(look(`{"instance_id":"`+one+`"}`), `"step":"open"`, `"step":"verify"`, 1), "event.source"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				_, err := w.h.Invoke(t.Context(), []byte(tt.payload))
				if kindOf(err) != "InvalidInput" || !strings.Contains(messageOf(err), tt.want) {
					t.Errorf("got %v, want InvalidInput with %q", err, tt.want)
				}
			})
		})
	}
}

func TestCausesAreRedactedAndCut(t *testing.T) {
	in(t, func(w *world) {
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		inc.Catch("url", incident.Caught{Error: "Unavailable", Cause: `{"errorMessage":"Authorization: Bearer xoxb-123456789012-abcdefghijkl","errorType":"Unavailable"}`})
		inc.Catch("ssh", incident.Caught{Error: "Lambda.Unknown", Cause: strings.Repeat("long ", 5000)})
		got := w.must(w.step("route53", inc))
		if c := got.Caught["url"].Cause; strings.Contains(c, "xoxb-1") || strings.Contains(c, "errorType") || c == "" {
			t.Errorf("url: %q", c)
		}
		if c := got.Caught["ssh"].Cause; len(c) > maxMessage+10 {
			t.Errorf("ssh: %d bytes", len(c))
		}
	})
}

func TestAMissingFindingIsBlindAndItsCauseIsCleared(t *testing.T) {
	in(t, func(w *world) {
		w.learned()
		w.findings[incident.CheckSSH] = incident.Finding{Outcome: incident.Failed, Reason: "no", Answered: true}
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		inc.Catch("url", incident.Caught{Error: "Sandbox.Timedout", Cause: "out of time"})
		inc = w.must(w.step("ssh", inc))
		got := w.must(w.step("decide", inc))
		f := got.Decision.Findings[0]
		if f.Kind != incident.Blind || !strings.Contains(f.Reason, "out of time") || got.Caught != nil {
			t.Errorf("%+v, caught %v", f, got.Caught)
		}
	})
}

func TestAPanicIsInternal(t *testing.T) {
	in(t, func(w *world) {
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		url := w.h.Checks["url"]
		w.h.Checks["url"] = func(context.Context, *incident.Incident) incident.Finding { panic("nil map") }
		if _, err := w.step("url", inc); kindOf(err) != "Internal" || !strings.Contains(messageOf(err), "nil map") {
			t.Errorf("got %v", err)
		}
		// One that is asked on the side takes nothing with it.
		w.h.Checks["url"] = url
		w.h.Answers = func(context.Context, string, *incident.Settings) bool { panic("nil map") }
		w.change(one, func(s *policy.State) { s.Instance.Lease.Until = 1 })
		w.learned()
		w.findings[incident.CheckURL] = incident.Finding{Outcome: incident.Failed, Reason: "no answer", Connection: incident.NoConnection}
		w.findings[incident.CheckSSH] = w.findings[incident.CheckURL]
		inc = w.must(w.open(execution("b"), w.event(incident.SourceSchedule, one, true)))
		if got := w.look(inc); got.Decision.Verdict != incident.VerdictFailed {
			t.Errorf("got %+v", got.Decision)
		}
	})
}

// The SSH check is told the type of the pinned key as soon as it is known, and is not
// told that of another one.
func TestHostKeyTypeIsRemembered(t *testing.T) {
	in(t, func(w *world) {
		var told []string
		ask := w.h.Checks[incident.CheckSSH]
		w.h.Checks[incident.CheckSSH] = func(ctx context.Context, inc *incident.Incident) incident.Finding {
			told = append(told, inc.HostKeyType)
			f := ask(ctx, inc)
			f.HostKeyType = "ssh-rsa"
			return f
		}
		w.attention() // so that the execution looks again
		w.run("a", w.event(incident.SourceSchedule, one, true))
		w.healthy()
		w.run("b", w.event(incident.SourceSchedule, one, true))
		if n := len(told); n < 3 || told[0] != "" || told[1] != "ssh-rsa" || told[n-1] != "ssh-rsa" {
			t.Errorf("told %q, want it from the second look on", told)
		}
		s := w.settings[one]
		s.SSH.HostKeyFingerprint = "SHA256:y"
		w.settings[one], told = s, nil
		w.run("c", w.event(incident.SourceSchedule, one, true))
		if told[0] != "" {
			t.Errorf("told %q of another pinned key", told)
		}
	})
}

func TestVerify(t *testing.T) {
	verify := func(w *world, name string) (*incident.Incident, error) {
		return w.decode(w.invoke(map[string]any{"step": "verify", "event": w.event(incident.SourceCanary, one, false), "execution": execution(name)}))
	}
	in(t, func(w *world) {
		w.attention()
		got := w.must(verify(w, "v"))
		s := w.stored(one).Instance
		if got.Next != incident.NextDone || len(got.Findings) != 3 || len(got.Suppressed) != 1 || w.dryRuns != 1 {
			t.Errorf("got %+v", got)
		}
		if s.Baseline["ssh"] == "" || s.Baseline["url"] != "" || s.Lease.Execution != "" || !s.AtRest {
			t.Errorf("stored %+v", s)
		}
	})
	in(t, func(w *world) {
		w.executions[executionARN+"a"] = sfntypes.ExecutionStatusRunning
		w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		got := w.must(verify(w, "v"))
		if got.Next != incident.NextAlreadyHandled || got.HeldBy == nil || got.HeldBy.Name != "a" || len(w.checked) > 0 {
			t.Errorf("got %+v", got)
		}
	})
	// The lease is lost during the checks, and EC2 refuses.
	in(t, func(w *world) {
		w.dryRunErr = &smithy.GenericAPIError{Code: "UnauthorizedOperation"}
		ssh := w.h.Checks["ssh"]
		w.h.Checks["ssh"] = func(ctx context.Context, inc *incident.Incident) incident.Finding {
			w.change(one, func(s *policy.State) {
				s.Instance.Lease = policy.Lease{Execution: "b", Version: s.Instance.Lease.Version + 1}
			})
			return ssh(ctx, inc)
		}
		got := w.must(verify(w, "v"))
		if got.Next != incident.NextAlreadyHandled || got.HeldBy == nil || got.HeldBy.ID != "b" || w.stored(one).Instance.Baseline != nil {
			t.Errorf("got %+v", got)
		}
		if !strings.HasPrefix(got.Refusal, "Denied: ") || len(got.Suppressed) > 0 {
			t.Errorf("refusal %q, suppressed %+v", got.Refusal, got.Suppressed)
		}
	})
}

// A right that a healthy look does not need is missed in a dry incident all the
// same.
func TestDryRunsFindMissingRights(t *testing.T) {
	in(t, func(w *world) {
		w.dryRunErr = &smithy.GenericAPIError{Code: "UnauthorizedOperation"}
		w.alarmsErr = errors.New("not authorized")
		got := w.run("a", w.event(incident.SourceCanary, one, false)).inc
		if d := got.Decision; d.Verdict != incident.VerdictHealthy || !slices.Equal(d.Unasked, []string{"CloudWatch: not authorized"}) {
			t.Errorf("%+v", d)
		}
		if !strings.HasPrefix(got.Refusal, "Denied: ") {
			t.Errorf("refusal %q", got.Refusal)
		}
	})
}

// The operator's command tries the channels with a dry event of no instance.
func TestChannelsAreRehearsed(t *testing.T) {
	in(t, func(w *world) {
		inc := &incident.Incident{Event: json.RawMessage(`{"source":"firstline.canary"}`), Execution: execution("v")}
		for _, step := range []string{"page", "slack"} {
			if got := w.must(w.step(step, inc)); len(got.Suppressed) != 1 || got.Suppressed[0].Action != step || !strings.Contains(got.Suppressed[0].Text, incident.SituationNoIncident) {
				t.Errorf("%s: %+v", step, got.Suppressed)
			}
		}
		w.pager.err = fault.New(fault.InvalidInput, "read secret x", "it was never given a value")
		if _, err := w.step("page", inc); kindOf(err) != "InvalidInput" || !strings.Contains(messageOf(err), "never given a value") {
			t.Errorf("got %v", err)
		}
		if n := len(w.pager.woken) + len(w.slack.posted); n > 0 {
			t.Errorf("%d messages were sent", n)
		}
	})
}

func TestNotifyTest(t *testing.T) {
	in(t, func(w *world) {
		w.slack.err = fault.New(fault.Denied, "post", "invalid_auth")
		w.h.Heartbeat = func() (Heartbeat, error) { return &fakeHeartbeat{}, nil }
		raw, err := w.invoke(map[string]string{"step": "notify-test"})
		var got tested
		if err != nil || json.Unmarshal(raw, &got) != nil || len(got.Deliveries) != 3 {
			t.Fatalf("%s, %v", raw, err)
		}
		if d := got.Deliveries; !d[2].OK || d[2].Channel != "heartbeat" || !d[2].Confirmed || !d[0].OK || d[0].Channel != "opsgenie" || d[1].OK || !strings.Contains(d[1].Error, "invalid_auth") {
			t.Errorf("got %+v", d)
		}
	})
}

// Before a reboot other regions are asked about what sent no byte, at the same place,
// and without secrets.
func TestPeersAreAsked(t *testing.T) {
	s := incident.DefaultSettings()
	s.URL.Path, s.URL.SecretHeaders = "/healthz", map[string]string{"X-Api-Key": "/app/key"}
	s.URL.Port, s.SSH.HostKeyFingerprint = 8080, "SHA256:a"
	named := incident.DefaultSettings()
	named.URL.Address, named.SSH.Host = "https://app.example.com/healthz", "app.example.com"
	for _, tt := range []struct {
		name     string
		settings incident.Settings
		address  string
		seen     func(region string) (incident.Finding, error)
		verdict  incident.Verdict
		url, ssh string // what was asked
		vantage  string
	}{
		{"down", s, "203.0.113.7", func(string) (incident.Finding, error) {
			return incident.Finding{Outcome: incident.Failed, Connection: incident.NoConnection}, nil
		}, incident.VerdictFailed, "http://203.0.113.7:8080/healthz", "203.0.113.7", "down from eu-west-1 and eu-central-1 and us-east-1"},
		{"reached", named, "203.0.113.7", func(region string) (incident.Finding, error) {
			if region == "us-east-1" {
				return incident.Finding{}, errors.New("AccessDeniedException")
			}
			return incident.Finding{Outcome: incident.Unknown, Kind: incident.Attention, Answered: true}, nil
		}, incident.VerdictUnknown, "https://app.example.com/healthz", "app.example.com", ""},
		{"private", s, "", nil, incident.VerdictFailed, "", "", "down from eu-west-1 (not confirmed from a second place: it has no public IPv4 address)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(w *world) {
				w.settings[one] = tt.settings
				w.learned()
				w.h.Peers = []string{"eu-central-1", "us-east-1"}
				passes := incident.Finding{Outcome: incident.Passed, Answered: true, Address: tt.address}
				w.h.AskPeer = func(context.Context, string, incident.Probe) (incident.Finding, error) { return passes, nil }
				w.findings[incident.CheckURL], w.findings[incident.CheckSSH] = passes, passes
				if end := w.run("peers", w.event(incident.SourceSchedule, one, false)).end; end != "All good" {
					t.Fatal(end)
				}
				failed := incident.Finding{Outcome: incident.Failed, Reason: "no answer", Connection: incident.NoConnection, Address: tt.address}
				w.findings[incident.CheckURL], w.findings[incident.CheckSSH] = failed, failed
				var mu sync.Mutex
				asked := map[string]string{}
				w.h.AskPeer = func(_ context.Context, region string, p incident.Probe) (incident.Finding, error) {
					mu.Lock()
					defer mu.Unlock()
					switch {
					case p.URL != nil:
						asked[p.Check] = p.URL.Address
						if p.URL.SecretHeaders != nil {
							t.Error("secret headers were sent")
						}
					case p.SSH.HostKeyFingerprint != "":
						t.Error("the pinned key was sent")
					default:
						asked[p.Check] = p.SSH.Host
					}
					return tt.seen(region)
				}
				got := w.look(w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))).Decision
				if got.Verdict != tt.verdict || got.Vantage != tt.vantage || asked[incident.CheckURL] != tt.url || asked[incident.CheckSSH] != tt.ssh {
					t.Errorf("asked %v; got %s, %q: %s", asked, got.Verdict, got.Vantage, got.Reason)
				}
				if denied := slices.ContainsFunc(got.Unasked, func(s string) bool { return strings.Contains(s, "AccessDenied") }); denied != (tt.name == "reached") {
					t.Errorf("could not ask: %v", got.Unasked)
				}
			})
		})
	}
}

func TestSecurityGroupsAreAsked(t *testing.T) {
	rule := func(from, to int32, cidrs ...string) ec2types.IpPermission {
		p := ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &from, ToPort: &to}
		for _, c := range cidrs {
			p.IpRanges = append(p.IpRanges, ec2types.IpRange{CidrIp: &c})
		}
		return p
	}
	prefixes := rule(0, 65535)
	prefixes.PrefixListIds = []ec2types.PrefixListId{{PrefixListId: aws.String("pl-1")}}
	for _, tt := range []struct {
		name     string
		admitted []ec2types.IpPermission
		address  string
		got      incident.Connection
		want     incident.Verdict
	}{
		{"everybody", []ec2types.IpPermission{rule(80, 80, "0.0.0.0/0"), rule(20, 30, "0.0.0.0/1", "128.0.0.0/1")}, "203.0.113.7", incident.NoConnection, incident.VerdictFailed},
		{"nobody", nil, "203.0.113.7", incident.NoConnection, incident.VerdictUnknown},
		{"an office", []ec2types.IpPermission{rule(0, 65535, "198.51.100.0/24")}, "203.0.113.7", incident.NoConnection, incident.VerdictUnknown},
		{"a prefix list", []ec2types.IpPermission{prefixes}, "203.0.113.7", incident.NoConnection, incident.VerdictFailed},
		{"our group, at a private address", []ec2types.IpPermission{rule(22, 80)}, "", incident.NoConnection, incident.VerdictFailed},
		{"an office, but it refuses", []ec2types.IpPermission{rule(0, 65535, "198.51.100.0/24")}, "203.0.113.7", incident.Refused, incident.VerdictFailed},
		{"nobody, though something accepts", nil, "203.0.113.7", incident.Silent, incident.VerdictUnknown},
		{"another port, at a private address", []ec2types.IpPermission{rule(443, 443)}, "", incident.NoConnection, incident.VerdictUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(w *world) {
				w.learned()
				w.admitted = tt.admitted
				failed := incident.Finding{Outcome: incident.Failed, Reason: "no answer", Connection: tt.got, Address: tt.address}
				w.findings[incident.CheckURL], w.findings[incident.CheckSSH] = failed, failed
				if got := w.look(w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))).Decision; got.Verdict != tt.want {
					t.Errorf("got %s: %s", got.Verdict, got.Reason)
				}
			})
		})
	}
}

func TestCreditsAreAsked(t *testing.T) {
	for _, tt := range []struct {
		kind, mode string
		credits    float64
		want       bool
	}{
		{"t3.micro", "standard", .99, true},
		{"t3.micro", "standard", 1, false},
		{"t4g.small", "unlimited", 0, false},
		{"m7g.large", "standard", 0, false},
		{"trn1.2xlarge", "standard", 0, false},
	} {
		in(t, func(w *world) {
			w.instanceType, w.creditMode, w.credits = ec2types.InstanceType(tt.kind), tt.mode, tt.credits
			e, err := w.h.askEC2(t.Context(), &incident.Incident{InstanceID: one}, true)
			if err != nil || e.CreditsErr != "" || (e.NoCredits != "") != tt.want {
				t.Errorf("%+v: %q %q %v", tt, e.NoCredits, e.CreditsErr, err)
			}
		})
	}
}
