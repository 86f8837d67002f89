package timeline

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/go-cmp/cmp"

	"firstline/checks"
	"firstline/internal/incident"
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
