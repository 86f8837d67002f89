package handler

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// Every way in which the definition leads to a state with the step close.
func TestClose(t *testing.T) {
	now := time.Now().UTC()
	broken := &incident.Error{Error: "Unavailable", Cause: "down"}
	good := func() *incident.Incident {
		inc := open1(`{}`)
		for _, check := range []string{"url", "route53", "ssh"} {
			inc.Record(checks.Finding{Check: check, Passed: true, At: now})
		}
		return inc
	}
	rebooted := func() *incident.Incident {
		inc := failed()
		inc.Run, inc.Reboot = 2, &incident.Reboot{At: now, Outcome: incident.RebootRequested}
		inc.Record(checks.Finding{Check: "url", At: now})
		return inc
	}
	recovered := func() *incident.Incident {
		inc := rebooted()
		inc.Record(checks.Finding{Check: "url", Passed: true, At: now})
		return inc
	}
	paused := func() *incident.Incident {
		inc := failed()
		inc.Paused = &incident.Pause{Until: now.Add(time.Hour), Scope: incident.PauseRegion}
		return inc
	}
	unchecked := func() *incident.Incident {
		inc := open1(`{}`)
		inc.Record(checks.Finding{Check: "url", Passed: true, At: now})
		inc.Error = broken
		return inc
	}
	refused := func() *incident.Incident {
		inc := failed()
		inc.Refusal = &incident.Refusal{Guard: incident.GuardBudget, At: now}
		return inc
	}
	slack := func(inc *incident.Incident) *incident.Incident { told(inc).Slack = &now; return inc }
	page := func(inc *incident.Incident) *incident.Incident { told(inc).Page = &now; return inc }
	pageFailed := func(inc *incident.Incident) *incident.Incident { inc.PageError = broken; return inc }
	slackFailed := func(inc *incident.Incident) *incident.Incident { inc.SlackError = broken; return inc }
	for name, tt := range map[string]struct {
		inc  *incident.Incident
		want string
	}{
		"run 1 passed":                                            {good(), incident.EndAllGood},
		"run 1 passed, while paused":                              {func() *incident.Incident { i := good(); i.Paused = paused().Paused; return i }(), incident.EndAllGood},
		"run 1 of a dry one passed":                               {dry(good()), incident.EndAllGood},
		"recovered":                                               {slack(recovered()), incident.EndRecovered},
		"recovered, Slack failed, so paged":                       {page(slackFailed(recovered())), incident.EndPaged},
		"recovered, Slack failed twice, and no page":              {pageFailed(slackFailed(recovered())), incident.EndNobodyTold},
		"recovered, Slack failed, then the pager, then Slack did": {slack(pageFailed(slackFailed(recovered()))), incident.EndPageFailed},
		"down":                            {page(rebooted()), incident.EndPaged},
		"down, the pager failed":          {slack(pageFailed(rebooted())), incident.EndPageFailed},
		"down, and nobody was told":       {slackFailed(pageFailed(rebooted())), incident.EndNobodyTold},
		"a dry one is down":               {page(dry(rebooted())), incident.EndPaged},
		"could not be checked":            {page(unchecked()), incident.EndPaged},
		"could not be checked, no page":   {slack(pageFailed(unchecked())), incident.EndPageFailed},
		"could not be checked, not told":  {slackFailed(pageFailed(unchecked())), incident.EndNobodyTold},
		"checked, paused":                 {slack(func() *incident.Incident { i := unchecked(); i.Paused = paused().Paused; return i }()), incident.EndPaused},
		"refused":                         {page(refused()), incident.EndPaged},
		"refused for a pause":             {slack(func() *incident.Incident { i := refused(); i.Paused = paused().Paused; return i }()), incident.EndPaused},
		"paused":                          {slack(paused()), incident.EndPaused},
		"paused, and Slack failed":        {slackFailed(paused()), incident.EndNobodyTold},
		"a failed check, and nobody told": {failed(), incident.EndNobodyTold},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			h, _ := newHandler(f)
			got, lerr := invoke(t, h, payload(t, "close", tt.inc))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if !slices.Equal(f.table.ends, []string{tt.want}) || f.table.last.InstanceID != instance || f.table.last.Dry != tt.inc.Dry {
				t.Errorf("ends %v, want %s; of %+v", f.table.ends, tt.want, f.table.last)
			}
			if diff := cmp.Diff(toJSON(t, tt.inc), toJSON(t, got)); diff != "" {
				t.Errorf("the incident changed (-before +after):\n%s", diff)
			}
			if len(f.sent)+len(f.rehearsed)+f.reboots != 0 {
				t.Errorf("it did more than close: %+v", f)
			}
		})
	}
}

// Close works on what the other steps refuse, too: open may have failed after it
// took the lease, and a state may be damaged.
func TestCloseOnAnything(t *testing.T) {
	const at = `"2026-11-22T10:05:00Z"`
	toldPage := `,"told":{"page":` + at + `}`
	opened := func(event, rest string) string {
		return `{"event":` + event + `,"execution":` + execution + `,"error":{"Error":"InvalidInput","Cause":"no settings"}` + rest + `}`
	}
	damaged := toJSON(t, failed())
	for name, tt := range map[string]struct {
		state    string
		instance string
		end      string // "" means that the table is not asked
		dry      bool
	}{
		"open failed, paged":            {opened(sampleEvent(t), toldPage), instance, incident.EndNoIncident, false},
		"open failed, Slack told":       {opened(sampleEvent(t), `,"pageError":{"Error":"Denied"},"told":{"slack":`+at+`}`), instance, incident.EndPageFailed, false},
		"open failed, nobody told":      {opened(sampleEvent(t), `,"pageError":{"Error":"Denied"},"slackError":{"Error":"Denied"}`), instance, incident.EndNobodyTold, false},
		"open of a canary failed":       {opened(rehearsal(t), toldPage), instance, incident.EndNoIncident, true},
		"an event that is none of ours": {opened(`{"source":"aws.ec2"}`, toldPage), "", incident.EndNoIncident, false},
		"an event of another region":    {opened(strings.Replace(sampleEvent(t), `"region": "eu-west-1"`, `"region": "us-east-1"`, 1), toldPage), "", incident.EndNoIncident, false},
		"a run that is none":            {strings.Replace(damaged, `"run":1`, `"run":"one"`+toldPage, 1), instance, incident.EndPaged, false},
		"settings that are none":        {strings.Replace(damaged, `"ssh":{`, `"ssh":{"prot":1,`, 1), instance, incident.EndNobodyTold, false},
		"told that is none":             {strings.Replace(damaged, `"run":1`, `"run":1,"told":"everybody"`, 1), instance, incident.EndNobodyTold, false},
		"not even an execution":         {`"hello"`, "", "", false},
		"nothing":                       {`{}`, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			h, log := newHandler(f)
			got, lerr := invoke(t, h, `{"step":"close","incident":`+tt.state+`}`)
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if tt.end == "" {
				if len(f.table.calls) != 0 || !strings.Contains(log.String(), "without its execution cannot be closed") {
					t.Errorf("calls %v, log %s", f.table.calls, log)
				}
				return
			}
			if !slices.Equal(f.table.ends, []string{tt.end}) {
				t.Fatalf("ends %v, want %s", f.table.ends, tt.end)
			}
			if l := f.table.last; l.InstanceID != tt.instance || l.Execution.Name != "x" || l.Dry != tt.dry {
				t.Errorf("closed %+v", l)
			}
			if tt.instance != "" && strings.HasPrefix(name, "open") && f.table.last.EventAt.IsZero() {
				t.Error("the time of the event is lost")
			}
			// The state machine's state stays what it was.
			if strings.HasPrefix(name, "open") && got.InstanceID != "" {
				t.Errorf("the incident became one of %s", got.InstanceID)
			}
		})
	}
}

func TestCloseFails(t *testing.T) {
	f := &fake{table: &table{errs: map[string]error{"Close": &smithy.GenericAPIError{Code: "ThrottlingException"}}}}
	h, _ := newHandler(f)
	if _, lerr := invoke(t, h, payload(t, "close", failed())); lerr.Type != string(fault.Unavailable) || !strings.Contains(lerr.Message, "close the incident of "+instance) {
		t.Errorf("got %v", lerr)
	}
	h.Guards = noGuards
	if _, lerr := invoke(t, h, payload(t, "close", failed())); lerr.Type != string(fault.InvalidInput) {
		t.Errorf("got %v", lerr)
	}
}

func TestBaseline(t *testing.T) {
	f := &fake{}
	h, _ := newHandler(f)
	inc := dry(open1(`{}`))
	inc.Record(checks.Finding{Check: "url", Passed: true, At: time.Now()})
	got, lerr := invoke(t, h, payload(t, "baseline", inc))
	if lerr.Type != "" || !slices.Equal(f.table.calls, []string{"Learn"}) || len(f.table.last.Findings) != 1 || got.InstanceID != instance {
		t.Errorf("%v, calls %v, %+v", lerr, f.table.calls, got)
	}
	f.table.errs = map[string]error{"Learn": errors.New("no answer")}
	if _, lerr := invoke(t, h, payload(t, "baseline", inc)); lerr.Type != string(fault.Unavailable) || !strings.Contains(lerr.Message, "keep what has passed") {
		t.Errorf("got %v", lerr)
	}
	// It is as strict as a check.
	inc.Region = "us-east-1"
	if _, lerr := invoke(t, h, payload(t, "baseline", inc)); lerr.Type != string(fault.InvalidInput) {
		t.Errorf("got %v", lerr)
	}
}

func TestCloseKeepsWhatItDoesNotKnow(t *testing.T) {
	f := &fake{}
	h, _ := newHandler(f)
	p := strings.Replace(payload(t, "close", failed()), `"run":1`, `"run":1,"mood":"grim"`, 1)
	inc, lerr := invoke(t, h, p)
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(toJSON(t, inc)), &m); err != nil || string(m["mood"]) != `"grim"` {
		t.Errorf("%v, %s", err, m["mood"])
	}
}
