package timeline

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
)

const task = types.HistoryEventTypeTaskStateEntered

// played builds a history, second by second.
type played struct {
	t      *testing.T
	events []types.HistoryEvent
}

func (p *played) add(e types.HistoryEvent) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	e.Timestamp = aws.Time(start.Add(time.Duration(len(p.events)) * time.Second))
	p.events = append(p.events, e)
}

func (p *played) text(v any) *string {
	raw, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	return aws.String(string(raw))
}

func (p *played) enter(typ types.HistoryEventType, name string, in any) {
	p.add(types.HistoryEvent{Type: typ, StateEnteredEventDetails: &types.StateEnteredEventDetails{Name: &name, Input: p.text(in)}})
}

func (p *played) leave(name string, out any) {
	p.add(types.HistoryEvent{Type: types.HistoryEventTypeTaskStateExited, StateExitedEventDetails: &types.StateExitedEventDetails{Name: &name, Output: p.text(out)}})
}

func (p *played) fail(kind, cause string) {
	p.add(types.HistoryEvent{TaskFailedEventDetails: &types.TaskFailedEventDetails{Error: &kind, Cause: &cause}})
}

func opened() incident.Incident {
	settings := incident.DefaultSettings()
	return incident.Incident{
		InstanceID: "i-0a1b2c3d", Region: "eu-west-1", Trigger: incident.TriggerAlarm, Settings: &settings, Look: 1,
		Execution: incident.Execution{ID: "arn:x"},
	}
}

func TestLines(t *testing.T) {
	p := &played{t: t}
	p.add(types.HistoryEvent{Type: types.HistoryEventTypeExecutionStarted})
	p.enter(task, "Open", map[string]string{"source": "aws.cloudwatch"})
	i := opened()
	p.leave("Open", i)
	p.enter(types.HistoryEventTypeChoiceStateEntered, "What next?", i)
	p.enter(task, "Check URL", i)
	i.Record(incident.Finding{Check: incident.CheckURL, Outcome: incident.Failed, Reason: "refused", Attempts: 3, ElapsedMs: 12})
	p.leave("Check URL", i)
	p.enter(task, "Check SSH", i)
	p.fail("Unavailable", `{"errorType":"Unavailable","errorMessage":"not now"}`)
	i.Catch(incident.CheckSSH, incident.Caught{Error: "Unavailable"})
	p.leave("Check SSH", i)
	p.enter(task, "Decide", i)
	i.Caught, i.WaitSeconds = nil, 60
	i.Decision = &incident.Decision{Look: 1, Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextReboot, WaitSeconds: 60, Reason: "refused"}
	p.leave("Decide", i)
	p.enter(task, "Reboot", i)
	p.leave("Reboot", i)
	p.enter(types.HistoryEventTypeWaitStateEntered, "Wait", i)
	p.enter(task, "Page", i)
	i.Paged = &incident.Paged{Pager: "opsgenie", Alias: "f/i-0/1"}
	p.leave("Page", i)
	p.enter(task, "Close", i)
	p.leave("Close", i)
	p.enter(types.HistoryEventTypeSucceedStateEntered, "Told", i)
	p.add(types.HistoryEvent{Type: types.HistoryEventTypeExecutionSucceeded})

	want := []Line{
		{2 * time.Second, "Open", "i-0a1b2c3d in eu-west-1, started by: alarm"},
		{5 * time.Second, "Check URL", "failed: refused (3 attempts, 12 ms)"},
		{7 * time.Second, "Check SSH", "Unavailable: not now"},
		{10 * time.Second, "Decide", "failed; row 10: reboot 60 s: refused"},
		{12 * time.Second, "Reboot", "rebooted"},
		{13 * time.Second, "Wait", "60 s"},
		{15 * time.Second, "Page", "paged by opsgenie, alias f/i-0/1"},
		{17 * time.Second, "Close", "done"},
		{19 * time.Second, "end", "Told"},
	}
	if diff := cmp.Diff(want, Lines(p.events)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Follow tells lines as they come: more events must only add to them.
	for n := range p.events {
		some := append([]Line{}, Lines(p.events[:n])...)
		if diff := cmp.Diff(want[:len(some)], some); diff != "" {
			t.Errorf("after %d events (-want +got):\n%s", n, diff)
		}
	}
}

// An event that is no incident has one line for its error and none for what the
// Catch makes of it.
func TestLinesOfNoIncident(t *testing.T) {
	p := &played{t: t}
	p.enter(task, "Open", map[string]string{})
	p.fail("InvalidInput", "event.source: missing")
	p.leave("Open", map[string]string{"Error": "InvalidInput", "Cause": "event.source: missing"})
	p.add(types.HistoryEvent{ExecutionFailedEventDetails: &types.ExecutionFailedEventDetails{Cause: aws.String("nobody was told")}})
	want := []Line{{time.Second, "Open", "InvalidInput: event.source: missing"}, {3 * time.Second, "end", "failed: nobody was told"}}
	if diff := cmp.Diff(want, Lines(p.events)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDone(t *testing.T) {
	with := func(change func(*incident.Incident)) *incident.Incident {
		i := opened()
		change(&i)
		return &i
	}
	before := with(func(*incident.Incident) {})
	for _, tt := range []struct {
		state string
		after *incident.Incident
		want  string
	}{
		{"Open", with(func(i *incident.Incident) { i.Next = incident.NextAlreadyHandled }), "another execution looks after the instance"},
		{"Decide", with(func(i *incident.Incident) { i.Suppress(incident.NextPage, "[dry run] i-0a1b2c3d is down", time.Now()) }), "suppressed, since it is dry: page"},
		{"Decide", with(func(i *incident.Incident) {
			i.Decision = &incident.Decision{Verdict: incident.VerdictUnknown, Kind: incident.Blind, Row: 12, Next: incident.NextPage, Situation: incident.SituationBlind, Reason: "denied"}
		}), "unknown (blind); row 12: page (blind): denied"},
		{"Reboot", with(func(i *incident.Incident) { i.Refusal = "the region is paused" }), "the region is paused"},
		{"Page", with(func(i *incident.Incident) {
			i.Paged, i.Decision = &incident.Paged{Pager: "jsm", Alias: "a"}, &incident.Decision{Note: true}
		}), "noted by jsm, alias a"},
		{"Slack", with(func(i *incident.Incident) { i.Thread = &incident.Thread{Channel: "C0", TS: "1.2"} }), "posted in C0"},
		{"Resolve alert", before, "done"},
	} {
		if got := done(tt.state, before, tt.after); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.state, got, tt.want)
		}
	}
}

func TestFinding(t *testing.T) {
	for want, f := range map[string]incident.Finding{
		"passed: 200 (1 attempt, 90 ms)": {Outcome: incident.Passed, Reason: "200", Attempts: 1, ElapsedMs: 90},
		"unknown (busy): 503":            {Outcome: incident.Unknown, Kind: incident.Busy, Reason: "503"},
		"skipped: it is off":             {Outcome: incident.Skipped, Reason: "it is off"},
	} {
		if got := Finding(f); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
