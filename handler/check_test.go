package handler

import (
	"context"
	"testing"
	"time"

	"firstline/internal/incident"
)

const healthCheck = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"

// asksRoute53 gives the instance a health check, and returns the times at which its
// checkers are asked, and what the check then knows of it. see says what it finds.
func (w *world) asksRoute53(see func() incident.Outcome) (asked *[]time.Time, known *[]incident.HealthCheck) {
	asked, known = new([]time.Time), new([]incident.HealthCheck)
	s := w.settings[one]
	s.Route53.HealthCheckID = healthCheck
	w.settings[one] = s
	w.h.Checks[incident.CheckRoute53] = func(_ context.Context, inc *incident.Incident) incident.Finding {
		if inc.HealthCheck == nil {
			inc.HealthCheck = &incident.HealthCheck{ID: healthCheck, Address: "203.0.113.7", ReadAt: incident.At(time.Now())}
		}
		*asked, *known = append(*asked, time.Now()), append(*known, *inc.HealthCheck)
		return incident.Finding{Outcome: see(), At: incident.At(time.Now())}
	}
	return asked, known
}

// While a machine boots Route 53 is asked once a minute, and nothing that was seen
// before the reboot is used after it.
func TestRoute53IsAskedOncePerMinuteInTheBootWindow(t *testing.T) {
	in(t, func(w *world) {
		outcome := incident.Passed
		asked, _ := w.asksRoute53(func() incident.Outcome { return outcome })
		w.learned().down()
		outcome = incident.Failed
		*asked = nil
		looks := w.checked[incident.CheckURL]
		r := w.run("a", w.event(incident.SourceSchedule, one, true))
		reboots := w.stored(one).Instance.Reboots
		if r.end != "Told" || w.rebooted != 1 || len(reboots) != 1 {
			t.Fatalf("%s, %d reboots, %v", r.end, w.rebooted, reboots)
		}
		first, window := time.Time{}, 0
		for n, at := range *asked {
			if !at.After(reboots[0].At.Time()) { // the look before it
				continue
			}
			if window++; first.IsZero() {
				first = at
			} else if gap := at.Sub((*asked)[n-1]); gap < time.Minute {
				t.Errorf("asked again after %v", gap)
			}
		}
		if looks = w.checked[incident.CheckURL] - looks; window < 9 || window > 11 || looks < 28 {
			t.Errorf("asked %d times in a window of 10 minutes, of %d looks", window, looks)
		}
		if want := reboots[0].At.Time().Add(time.Minute); first.Before(want.Add(-time.Second)) || first.After(want.Add(2*time.Second)) {
			t.Errorf("first asked at %v, rebooted at %v", first, reboots[0].At.Time())
		}
	})
}

// A finding that is used again is one observation: two looks of it do not say that
// the reboot cured the instance.
func TestOnePassOfRoute53IsNotTwoHealthyLooks(t *testing.T) {
	in(t, func(w *world) {
		outcome := incident.Passed
		asked, _ := w.asksRoute53(func() incident.Outcome { return outcome })
		s := w.settings[one]
		s.URL.Enabled, s.SSH.Enabled = false, false
		w.settings[one] = s
		w.healthy()
		for _, c := range []string{incident.CheckURL, incident.CheckSSH} {
			w.findings[c] = incident.Finding{Outcome: incident.Skipped, Reason: "off"}
		}
		w.run("learn", w.event(incident.SourceSchedule, one, false))
		outcome = incident.Failed
		inc := w.must(w.open(execution("a"), w.event(incident.SourceSchedule, one, true)))
		for inc.Next != incident.NextReboot {
			inc = w.look(inc)
			time.Sleep(time.Duration(inc.WaitSeconds) * time.Second)
		}
		inc = w.must(w.step("reboot", inc))
		outcome, *asked = incident.Passed, nil
		time.Sleep(time.Minute)
		looks := 0
		for rebooted := time.Now(); inc.Next == incident.NextReboot || inc.Next == incident.NextWait; looks++ {
			inc = w.look(inc)
			if len(*asked) < 2 && (inc.Next != incident.NextWait || time.Since(rebooted) > 2*time.Minute) {
				t.Fatalf("%s after %d looks and %d questions: %+v", inc.Next, looks, len(*asked), inc.Decision)
			}
			time.Sleep(time.Duration(inc.WaitSeconds) * time.Second)
		}
		if len(*asked) != 2 || looks != 4 || inc.Decision.Situation != incident.SituationRecovered {
			t.Errorf("%d looks, asked at %v: %+v", looks, *asked, inc.Decision)
		}
	})
}

// What the health check is survives the execution, and verify remembers it too.
func TestTheHealthCheckIsRemembered(t *testing.T) {
	in(t, func(w *world) {
		_, known := w.asksRoute53(func() incident.Outcome { return incident.Passed })
		w.must(w.decode(w.invoke(map[string]any{"step": "verify", "event": w.event(incident.SourceCanary, one, false), "execution": execution("v")})))
		time.Sleep(time.Hour)
		w.run("a", w.event(incident.SourceSchedule, one, false))
		w.must(w.decode(w.invoke(map[string]any{"step": "verify", "event": w.event(incident.SourceCanary, one, false), "execution": execution("v2")})))
		if len(*known) != 3 || (*known)[1] != (*known)[0] || (*known)[2] != (*known)[0] {
			t.Errorf("known %+v", *known)
		}
		// Another one may be known once the settings name another.
		w.h.Checks[incident.CheckRoute53] = func(_ context.Context, inc *incident.Incident) incident.Finding {
			inc.HealthCheck = nil
			return incident.Finding{Outcome: incident.Skipped, At: incident.At(time.Now())}
		}
		w.run("b", w.event(incident.SourceSchedule, one, false))
		if h := w.stored(one).Instance.HealthCheck; h != nil {
			t.Errorf("stored %+v", h)
		}
	})
}
