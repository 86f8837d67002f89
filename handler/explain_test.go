package handler

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// explain answers what a look would lead to, and leaves no trace of it.
func TestExplain(t *testing.T) {
	explain := func(w *world, source string) (x policy.Explanation, err error) {
		raw, err := w.invoke(map[string]any{"step": "explain", "event": w.event(source, one, false), "execution": execution("x")})
		if err == nil {
			err = json.Unmarshal(raw, &x)
		}
		return x, err
	}
	for _, c := range []struct {
		name       string
		set        func(*world)
		row        int
		next       string
		assumed    int
		membership bool
	}{
		{"healthy", func(w *world) { w.healthy() }, 9, incident.NextDone, 1, false},
		{"down", func(w *world) { w.down(); w.inAlarm = []string{one} }, 10, incident.NextReboot, 1, false},
		{"down, and no alarm", func(w *world) { w.down() }, 10, incident.NextReboot, 2, false},
		{"an incident is under way", func(w *world) {
			w.down()
			w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		}, 10, incident.NextReboot, 3, false},
		{"handed over", func(w *world) {
			w.attention()
			w.run("a", w.event(incident.SourceSchedule, one, true))
		}, 8, incident.NextHandedOver, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(w *world) {
				w.learned()
				c.set(w)
				before, writes, told := w.stored(one), w.db.Writes(), len(w.slack.posted)+len(w.pager.woken)+len(w.pager.notes)
				x, err := explain(w, incident.SourceCanary)
				if err != nil {
					t.Fatal(err)
				}
				if x.Decision.Row != c.row || x.Decision.Next != c.next || len(x.Assumed) != c.assumed || (x.State.Instance.Membership != nil) != c.membership {
					t.Errorf("%+v, assumed %q, membership %v", x.Decision, x.Assumed, x.State.Instance.Membership)
				}
				if len(x.Decision.Findings) != 3 || len(x.Guards) < 15 || x.Facts[1].Fact != "EC2" || x.Facts[1].Value != "running, status checks ok" {
					t.Errorf("%+v", x)
				}
				if diff := cmp.Diff(before, w.stored(one)); diff != "" || w.db.Writes() != writes {
					t.Errorf("%d writes (-before +after):\n%s", w.db.Writes()-writes, diff)
				}
				if n := len(w.slack.posted) + len(w.pager.woken) + len(w.pager.notes); n != told || w.rebooted+w.dryRuns+len(w.started) > 0 {
					t.Errorf("told %d times, rebooted %d, %d dry runs, started %v", n-told, w.rebooted, w.dryRuns, w.started)
				}
				if strings.Contains(w.log.String(), "baseline") || strings.Contains(w.log.String(), "Baseline") {
					t.Errorf("the log has what is stored: %s", w.log)
				}
			})
		})
	}
	in(t, func(w *world) {
		if _, err := explain(w, incident.SourcePerson); kindOf(err) != "InvalidInput" || !strings.Contains(messageOf(err), "event.source: explain takes firstline.canary only") {
			t.Errorf("got %v", err)
		}
	})
}

// A hand-over that a person ends is told by the next look: its alert is closed, and
// Slack says who it was.
func TestHandedBack(t *testing.T) {
	in(t, func(w *world) {
		w.attention()
		w.run("a", w.event(incident.SourceSchedule, one, true))
		alias := w.pager.woken[0]
		w.change(one, func(s *policy.State) { s.Instance.Membership.HandedBackBy = "jane" })
		r := w.run("b", w.event(incident.SourcePerson, one, false))
		if r.end != "Told" || !slices.Equal(r.steps[len(r.steps)-3:], []string{"resolve", "slack", "close"}) || w.pager.open[alias] {
			t.Errorf("%s after %v, open %v", r.end, r.steps, w.pager.open)
		}
		last := w.slack.posted[len(w.slack.posted)-1].Incident.Decision
		if last.Situation != incident.SituationHandedBack || last.Reason != "handed back by jane" {
			t.Errorf("Slack was told %+v", last)
		}
		// It is still ill: the schedule looks again, and somebody is paged anew.
		if s := w.stored(one).Instance; s.Membership != nil || s.AtRest || time.Since(s.LastResolvedAt.Time()) > time.Minute {
			t.Errorf("%+v", s)
		}
		if w.run("c", w.event(incident.SourceSchedule, one, true)); len(w.pager.woken) != 2 || w.rebooted > 0 {
			t.Errorf("woken %v, rebooted %d", w.pager.woken, w.rebooted)
		}
	})
}
