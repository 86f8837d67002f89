package handler

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

// Reconcile pings when it has ended. What goes wrong is stored and fails nothing.
func TestReconcilePingsTheHeartbeat(t *testing.T) {
	in(t, func(w *world) {
		beat := &fakeHeartbeat{}
		var broken error
		w.h.Heartbeat = func() (Heartbeat, error) { return beat, broken }
		reconcile := func(wantErr bool) channels {
			t.Helper()
			time.Sleep(5 * time.Minute)
			if _, err := w.reconcile(); (err != nil) != wantErr {
				t.Fatal(err)
			}
			raw, err := w.invoke(map[string]string{"step": "channels"})
			var got channels
			if err != nil || json.Unmarshal(raw, &got) != nil || got.At != incident.At(time.Now()) {
				t.Fatalf("%s, %v", raw, err)
			}
			return got
		}
		last := func(failure string) {
			t.Helper()
			err := beat.pings[len(beat.pings)-1]
			if (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
				t.Errorf("pinged with %v, want %q", err, failure)
			}
		}
		raw, err := w.invoke(map[string]string{"step": "channels"})
		if err != nil || !strings.Contains(string(raw), `"heartbeat":{}`) {
			t.Errorf("before the first ping: %s, %v", raw, err)
		}
		got := reconcile(false)
		last("")
		at := got.Heartbeat.PingedAt
		if at != got.At || got.Heartbeat.Failure != "" {
			t.Errorf("got %+v", got.Heartbeat)
		}
		w.alarmsErr = errors.New("not authorized")
		got = reconcile(true)
		last("not authorized")
		if got.Heartbeat.PingedAt != at || !strings.Contains(got.Heartbeat.Failure, "not authorized") {
			t.Errorf("reconcile failed: %+v", got.Heartbeat)
		}
		w.alarmsErr, beat.err = nil, errors.New("HTTP 503")
		if got = reconcile(false); got.Heartbeat.PingedAt != at || got.Heartbeat.Failure != "HTTP 503" {
			t.Errorf("the ping failed: %+v", got.Heartbeat)
		}
		beat.err, broken = nil, errors.New("read FIRSTLINE_HEARTBEAT")
		if got = reconcile(false); !strings.Contains(got.Heartbeat.Failure, "FIRSTLINE_HEARTBEAT") || strings.Count(w.log.String(), "HeartbeatFailures=1") != 2 {
			t.Errorf("its settings are wrong: %+v\n%s", got.Heartbeat, w.log)
		}
		broken = nil
		if got = reconcile(false); got.Heartbeat.PingedAt != got.At || got.Heartbeat.Failure != "" {
			t.Errorf("all is well again: %+v", got.Heartbeat)
		}
		w.dead()
		if _, err := w.reconcile(); err == nil {
			t.Error("without the table reconcile works")
		}
		last("list instances")
		w.alive()
		// One that is not there any more is forgotten: what it was told says nothing of another.
		w.h.Heartbeat = nil
		if got = reconcile(false); got.Heartbeat != nil || w.stored(one).Region.Heartbeat != (policy.Heartbeat{}) {
			t.Errorf("without one: %+v", got.Heartbeat)
		}
	})
}

// An open alert stays where it is, new pages go to the new first pager, and what is
// left at one that is gone is said.
func TestMovingToAnotherPager(t *testing.T) {
	open := func(w *world) *fakePager {
		w.learned().attention()
		w.run("a", w.event(incident.SourceSchedule, one, true))
		next := &fakePager{name: "pagerduty", can: notify.Capabilities{Resolvable: true, Deduplicates: true}, open: map[string]bool{}}
		return next
	}
	looks := func(w *world, name string, n int, every time.Duration) {
		for range n {
			time.Sleep(every)
			w.run(name, w.event(incident.SourceSchedule, one, true))
			name += "x"
		}
	}
	at := func(w *world) map[string][]string {
		raw, err := w.invoke(map[string]string{"step": "channels"})
		var got channels
		if err != nil || json.Unmarshal(raw, &got) != nil {
			w.t.Fatal(err)
		}
		return got.Alerts
	}
	in(t, func(w *world) {
		next := open(w)
		w.pagers = []notify.Pager{next, w.pager}
		looks(w, "b", 14, 5*time.Minute)
		if len(w.pager.notes) != 1 || len(next.woken) > 0 || len(at(w)["opsgenie"]) != 1 {
			t.Fatalf("notes %d, woken %v, %v", len(w.pager.notes), next.woken, at(w))
		}
		w.down() // worse: it is paged anew
		w.h.Breaker = incident.Breaker{}
		looks(w, "c", 2, 5*time.Minute)
		if len(w.pager.woken) != 1 || len(next.woken) != 1 || len(at(w)["pagerduty"]) != 1 {
			t.Fatalf("woken %v and %v, %v", w.pager.woken, next.woken, at(w))
		}
		w.healthy()
		looks(w, "d", 8, 5*time.Minute)
		if _, err := w.reconcile(); err != nil || len(w.pager.open)+len(next.open)+len(w.stored(one).Region.Alerts) > 0 {
			t.Errorf("%v, open %v and %v", err, w.pager.open, next.open)
		}
	})
	in(t, func(w *world) {
		next := open(w)
		w.pagers = []notify.Pager{next}
		w.healthy()
		looks(w, "b", 8, 5*time.Minute)
		last := w.slack.posted[len(w.slack.posted)-1].Incident.Decision
		alias := w.pager.woken[0]
		if last.Situation != incident.SituationWell || !strings.Contains(last.Reason, "close its alert "+alias+" by hand: opsgenie has it") {
			t.Errorf("Slack: %+v", last)
		}
		if _, err := w.reconcile(); err != nil || len(at(w)["opsgenie"]) != 1 || !strings.Contains(w.log.String(), "stays open at a pager that is not configured any more") {
			t.Fatalf("%v, %v", err, at(w))
		}
		// What it is to be told meanwhile is a page elsewhere, which says so.
		inc := &incident.Incident{
			InstanceID: one, Region: "eu-west-1", AccountID: "123456789012", Execution: execution("n"), Look: 1,
			Decision: &incident.Decision{Look: 1, Row: 10, Next: "page", Note: true, Situation: incident.SituationHeldBack, Alert: &incident.AlertRef{ID: "x", Alias: "y", Pager: "opsgenie"}},
		}
		if inc = w.must(w.step("page", inc)); inc.Paged.Pager != "pagerduty" || inc.Decision.Note || !strings.Contains(inc.Decision.Reason, "close its alert y by hand") {
			t.Errorf("%+v, %+v", inc.Paged, inc.Decision)
		}
		// The pager is configured again.
		w.pagers = []notify.Pager{next, w.pager}
		if r, err := w.reconcile(); err != nil || len(r.Resolved) != 1 || len(w.pager.open) > 0 || len(at(w)) > 0 {
			t.Errorf("%+v, %v, open %v", r, err, w.pager.open)
		}
	})
}
