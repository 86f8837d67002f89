package timeline

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

func TestLines(t *testing.T) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var events []types.HistoryEvent
	at := func(s int, e types.HistoryEvent) {
		e.Timestamp = aws.Time(start.Add(time.Duration(s) * time.Second))
		events = append(events, e)
	}
	state := func(i *incident.Incident) *string {
		raw, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		return aws.String(string(raw))
	}
	enter := func(s int, typ types.HistoryEventType, name string, i *incident.Incident) {
		at(s, types.HistoryEvent{Type: typ, StateEnteredEventDetails: &types.StateEnteredEventDetails{Name: &name, Input: state(i)}})
	}
	leave := func(s int, name string, i *incident.Incident) {
		at(s, types.HistoryEvent{Type: types.HistoryEventTypeTaskStateExited, StateExitedEventDetails: &types.StateExitedEventDetails{Name: &name, Output: state(i)}})
	}
	const task = types.HistoryEventTypeTaskStateEntered
	settings := incident.DefaultSettings()

	at(0, types.HistoryEvent{Type: types.HistoryEventTypeExecutionStarted})
	nothing := &incident.Incident{}
	enter(0, task, "Open incident", nothing)
	opened := &incident.Incident{InstanceID: "i-0a1b2c3d", Region: "eu-west-1", Settings: &settings, Run: 1}
	leave(1, "Open incident", opened)
	enter(1, task, "Check URL", opened)
	at(2, types.HistoryEvent{TaskFailedEventDetails: &types.TaskFailedEventDetails{Error: aws.String("Unavailable"), Cause: aws.String(`{"errorType":"Unavailable","errorMessage":"not now"}`)}})
	failed := *opened
	failed.Findings = []checks.Finding{{Run: 1, Check: "url", Reason: "refused", Attempts: 1, ElapsedMs: 12, At: start}}
	leave(3, "Check URL", &failed)
	enter(3, types.HistoryEventTypeChoiceStateEntered, "URL passed?", &failed)
	enter(3, task, "Reboot instance", &failed)
	rebooted := failed
	rebooted.Run, rebooted.Reboot = 2, &incident.Reboot{At: start, Outcome: incident.RebootRequested}
	leave(4, "Reboot instance", &rebooted)
	enter(4, types.HistoryEventTypeWaitStateEntered, "Wait for boot", &rebooted)
	enter(64, task, "Tell Slack", &rebooted)
	leave(65, "Tell Slack", &rebooted)
	enter(65, types.HistoryEventTypeSucceedStateEntered, "Recovered", &rebooted)
	at(65, types.HistoryEvent{Type: types.HistoryEventTypeExecutionSucceeded})

	want := []Line{
		{1 * time.Second, "Open incident", "i-0a1b2c3d in eu-west-1"},
		{2 * time.Second, "Check URL", "Unavailable: not now"},
		{3 * time.Second, "Check URL", "failed: refused (1 attempt, 12 ms)"},
		{4 * time.Second, "Reboot instance", "reboot requested"},
		{4 * time.Second, "Wait for boot", "60 s"},
		{65 * time.Second, "Tell Slack", "done"},
		{65 * time.Second, "end", "Recovered"},
	}
	if diff := cmp.Diff(want, Lines(events)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Follow tells lines as they come: more events must only add to them.
	for n := range events {
		some := append([]Line{}, Lines(events[:n])...)
		if diff := cmp.Diff(want[:len(some)], some); diff != "" {
			t.Errorf("after %d events (-want +got):\n%s", n, diff)
		}
	}
}

// Who looks on must see that nobody was told.
func TestLinesOfADryIncident(t *testing.T) {
	settings := incident.DefaultSettings()
	before := &incident.Incident{InstanceID: "i-0a1b2c3d", Dry: true, Settings: &settings, Run: 1}
	after := *before
	after.Suppress(incident.ActionPage, "[dry run] i-0a1b2c3d is down", time.Now())
	if got, want := done(before, &after), "suppressed: a dry run sends nothing"; got != want {
		t.Errorf("a page: got %q, want %q", got, want)
	}
	after.Run, after.Reboot = 2, &incident.Reboot{Outcome: incident.RebootSuppressed}
	if got, want := done(before, &after), "reboot suppressed"; got != want {
		t.Errorf("a reboot: got %q, want %q", got, want)
	}
}

// The machine that gives the all-clear is told as well.
func TestLinesOfAnAllClear(t *testing.T) {
	settings := incident.DefaultSettings()
	until := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	page := incident.Incident{InstanceID: "i-0a1b2c3d", Region: "eu-west-1", Settings: &settings, Run: 2}
	with := func(change func(*incident.Incident)) *incident.Incident {
		i := page
		change(&i)
		return &i
	}
	alert := &incident.Alert{Alias: "firstline/i-0a1b2c3d", Pager: "jsm"}
	watch := func(trigger, ended string) *incident.Watch {
		return &incident.Watch{Trigger: trigger, Until: until, EverySeconds: 300, WaitSeconds: 120, Ended: ended}
	}
	open := with(func(i *incident.Incident) { i.Alert, i.Watch = alert, watch(incident.WatchPage, "") })
	for _, tt := range []struct {
		name          string
		before, after *incident.Incident
		want          string
	}{
		{"a page", &page, with(func(i *incident.Incident) { i.Alert = alert }), "paged through jsm"},
		{
			"a repeat", &page, with(func(i *incident.Incident) { i.Alert = &incident.Alert{Alias: "a", Pager: "jsm", Repeats: 2} }),
			"added to the open alert through jsm, repeat 2",
		},
		{"Slack's thread", &page, with(func(i *incident.Incident) { i.Thread = &incident.Thread{Channel: "C0", TS: "1.2"} }), "posted in C0"},
		{"found after a page", &page, open, "the alert of i-0a1b2c3d is open: a look every 300 s until 2026-11-22T12:00:00Z"},
		{
			"found after the alarm", &incident.Incident{}, with(func(i *incident.Incident) { i.Alert, i.Watch = alert, watch(incident.WatchAlarm, "") }),
			"the alarm of i-0a1b2c3d is OK again, and its alert is open",
		},
		{
			"none open", &incident.Incident{}, &incident.Incident{InstanceID: "i-0a1b2c3d", Run: incident.RunAllClear},
			"no alert is open, so there is nothing to close",
		},
		{"looked", open, open, "the alert is still open"},
		{
			"a reboot that a guard refused", &page, with(func(i *incident.Incident) {
				i.Refusal = &incident.Refusal{Guard: incident.GuardBudget, Reason: "per_day is 0"}
			}),
			"refused (budget): per_day is 0",
		},
		{"cleared", open, with(func(i *incident.Incident) { i.Alert, i.Watch = alert, watch(incident.WatchPage, incident.WatchCleared) }), "the alert is closed"},
		{"closed", open, with(func(i *incident.Incident) { i.Alert, i.Watch = alert, watch(incident.WatchPage, incident.WatchClosed) }), "somebody has closed the alert"},
	} {
		if got := done(tt.before, tt.after); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	for state, want := range map[string]string{
		"Wait for first look": "120 s", "Wait for second look": "20 s", "Wait for next look": "300 s",
	} {
		if got := waiting(state, open); got != want {
			t.Errorf("%s: got %q, want %q", state, got, want)
		}
	}
	if got := waiting("Wait for next look", &page); got != "20 s" {
		t.Errorf("in the boot window: got %q", got)
	}
}
