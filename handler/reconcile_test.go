package handler

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/test/dynamo"
)

func (w *world) reconcile() (reconciled, error) {
	w.t.Helper()
	raw, err := w.invoke(map[string]string{"step": "reconcile"})
	var r reconciled
	if err == nil && json.Unmarshal(raw, &r) != nil {
		w.t.Fatalf("%s", raw)
	}
	return r, err
}

func (w *world) startedNames() string {
	return strings.Join(slices.Sorted(maps.Keys(w.started)), " ")
}

func TestReconcileStartsWhatIsDue(t *testing.T) {
	in(t, func(w *world) {
		w.learned() // one is at rest
		if r, err := w.reconcile(); err != nil || len(w.started) > 0 || r.InAlarm != 0 {
			t.Fatalf("at rest: %+v, %v", r, err)
		}
		w.inAlarm = []string{one, two}
		r, err := w.reconcile()
		minute := time.Now().UTC().Format("20060102T1504")
		want := fmt.Sprintf("reconcile-%s-%s reconcile-%s-%s", one, minute, two, minute)
		if err != nil || w.startedNames() != want || r.InAlarm != 2 || len(r.Started) != 2 {
			t.Fatalf("%s, %+v, %v", w.startedNames(), r, err)
		}
		// The event is one that open takes, with the alarm.
		inc := w.must(w.open(execution("x"), json.RawMessage(w.started["reconcile-"+two+"-"+minute])))
		if inc.InstanceID != two || inc.Alarm == nil || inc.Trigger != incident.TriggerSchedule {
			t.Errorf("%+v", inc)
		}
		// Delivered twice, it starts nothing more.
		if _, err := w.reconcile(); err != nil || len(w.started) != 2 {
			t.Errorf("%s, %v", w.startedNames(), err)
		}
	})
}

func TestReconcileLeavesAloneWhatIsLookedAfter(t *testing.T) {
	in(t, func(w *world) {
		w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		w.executions[executionARN+"a"] = sfntypes.ExecutionStatusRunning
		if r, err := w.reconcile(); err != nil || len(w.started) > 0 || len(r.Skipped) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		w.executions[executionARN+"a"] = sfntypes.ExecutionStatusAborted
		if r, err := w.reconcile(); err != nil || len(w.started) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestReconcileStoresPauses(t *testing.T) {
	in(t, func(w *world) {
		w.learned()
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		w.tags[incident.PauseTag] = until.Format(time.RFC3339)
		if _, err := w.reconcile(); err != nil || w.stored(one).Instance.Pause == nil || w.stored(one).Instance.Pause.Until != incident.At(until) {
			t.Fatalf("%v, %+v", err, w.stored(one).Instance.Pause)
		}
		delete(w.tags, incident.PauseTag)
		if _, err := w.reconcile(); err != nil || w.stored(one).Instance.Pause != nil {
			t.Errorf("%v, %+v", err, w.stored(one).Instance.Pause)
		}
	})
}

func TestReconcileResolvesWhatIsLeftOver(t *testing.T) {
	in(t, func(w *world) {
		w.learned()
		w.pager.open["x"], w.pager.open["old"] = true, true
		w.change(one, func(s *policy.State) {
			s.Region.Alerts = map[string]policy.Alert{
				"a": {Key: one, Alias: "x", Pager: "opsgenie", OpenedAt: 1, EndedAt: 2, Old: []policy.OldAlias{{Alias: "old", Pager: "opsgenie"}}},
				"b": {Key: "url/attention", Alias: "y", Pager: "gone", OpenedAt: 1, EndedAt: 2},
				"c": {Key: "url/busy", Alias: "z", OpenedAt: 1, EndedAt: 2},
			}
		})
		r, err := w.reconcile()
		if err != nil || !slices.Equal(r.Resolved, []string{"old", "x", "y", "z"}) || len(w.pager.open) > 0 || len(w.stored(one).Region.Alerts) > 0 {
			t.Errorf("%+v, %v, %+v", r, err, w.stored(one).Region.Alerts)
		}
	})
}

func TestReconcileWithoutTheTablePagesOnceAnHour(t *testing.T) {
	in(t, func(w *world) {
		w.pager.can.Deduplicates = false
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
		w.dead()
		for range 5 {
			if _, err := w.reconcile(); kindOf(err) != "Unavailable" {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
		}
		if len(w.pager.woken) != 1 || !strings.Contains(w.pager.woken[0], "/store/") {
			t.Fatalf("woken %v", w.pager.woken)
		}
		time.Sleep(time.Hour)
		w.alive()
		w.db.Put(dynamo.Item{"pk": text("instance"), "sk": text(one), "schema": text("odd")})
		w.inAlarm = []string{one, two}
		if _, err := w.reconcile(); kindOf(err) != "Unavailable" || len(w.pager.woken) != 2 || len(w.started) != 1 {
			t.Errorf("%v, woken %v, started %s", err, w.pager.woken, w.startedNames())
		}
	})
}

// Where no pager takes it Slack does, once an hour, and the pagers are asked again.
func TestReconcileWithoutTheTableTellsSlack(t *testing.T) {
	for _, pagers := range []int{0, 1} {
		in(t, func(w *world) {
			w.pager.err = errors.New("down")
			w.pagers = w.pagers[:pagers]
			time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
			w.dead()
			for range 3 {
				if _, err := w.reconcile(); kindOf(err) == "" {
					t.Fatal("reconcile works")
				}
				time.Sleep(5 * time.Minute)
			}
			if len(w.slack.posted) != 1 || !w.slack.posted[0].Mention {
				t.Fatalf("posted %+v", w.slack.posted)
			}
			w.pager.err = nil
			if _, err := w.reconcile(); kindOf(err) == "" || len(w.pager.woken) != pagers || len(w.slack.posted) != 1 {
				t.Errorf("%v, woken %v", err, w.pager.woken)
			}
		})
	}
}
