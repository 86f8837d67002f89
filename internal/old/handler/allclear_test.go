package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// counting has the handler count, and returns a func that says what.
func counting(h *Handler) func(*testing.T) []string {
	out := new(bytes.Buffer)
	h.Metrics = &Metrics{Out: out}
	return func(t *testing.T) []string {
		t.Helper()
		var names []string
		documents, _ := emitted(t, out)
		for _, d := range documents {
			names = append(names, d.AWS.CloudWatchMetrics[0].Metrics[0].Name)
		}
		return names
	}
}

// watcher is the execution of the all-clear's machine.
const watcher = `{"id":"arn:aws:states:eu-west-1:123456789012:execution:firstline-all-clear:w","name":"w","startedAt":"2026-11-22T10:20:00Z"}`

const watcherARN = "arn:aws:states:eu-west-1:123456789012:execution:firstline-all-clear:w"

func findPayload(input string) string {
	return `{"step":"find-alert","event":` + input + `,"execution":` + watcher + `}`
}

func okEvent(t *testing.T) string {
	t.Helper()
	return strings.Replace(sampleEvent(t), `"value": "ALARM"`, `"value": "OK"`, 1)
}

// pagedIncident is an incident as the responder's machine hands it over.
func pagedIncident() *incident.Incident {
	inc := downIncident()
	now := time.Now().UTC()
	inc.Name = "web-1"
	inc.Told = &incident.Told{Page: &now}
	inc.Alert = alertOf(openAlert("opsgenie", 1))
	inc.Alert.Repeats = 0
	return inc
}

func TestFindAlert(t *testing.T) {
	for _, tt := range []struct {
		name, trigger string
		input         string
		lasts         time.Duration
	}{
		{"after a page", incident.WatchPage, toJSON(t, pagedIncident()), 2 * time.Hour},
		{"after the alarm returned to OK", incident.WatchAlarm, okEvent(t), 2 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alert := openAlert("opsgenie", 1)
			f := &fake{parameters: settingsAt(`{"boot":{"intervalSeconds":7}}`), state: "running", tags: pauseTag("2020-01-01T00:00:00Z"), table: &table{alert: &alert}}
			h, _ := newHandler(f)
			before := time.Now()
			inc, lerr := invoke(t, h, findPayload(tt.input))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if inc.InstanceID != instance || inc.Region != "eu-west-1" || inc.AccountID != "123456789012" || inc.Run != incident.RunAllClear || inc.Passed || inc.Execution.ID != watcherARN {
				t.Errorf("found %+v", inc)
			}
			if inc.Recovery == nil || inc.Recovery.Passes != 0 || len(inc.Findings) != 0 || inc.Told != nil || inc.Reboot != nil || inc.Error != nil {
				t.Errorf("it is not one of its own: %+v", inc)
			}
			if diff := cmp.Diff(alertOf(openAlert("opsgenie", 1)), inc.Alert); diff != "" {
				t.Errorf("alert (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(&thread, inc.Thread); diff != "" {
				t.Errorf("thread (-want +got):\n%s", diff)
			}
			w := inc.Watch
			if w == nil || w.Trigger != tt.trigger || w.EverySeconds != 300 || w.WaitSeconds != 300 || w.Ended != "" || w.Until.Nanosecond() != 0 {
				t.Fatalf("watch %+v", w)
			}
			if lasts := w.Until.Sub(before); lasts < tt.lasts-2*time.Second || lasts > tt.lasts+time.Minute {
				t.Errorf("it lasts %s", lasts)
			}
			if diff := cmp.Diff([]string{watcherARN}, f.table.watchers); diff != "" {
				t.Errorf("watched by (-want +got):\n%s", diff)
			}
			// Every later step takes it.
			if err := inc.Validate(); err != nil {
				t.Error(err)
			}
			if want := map[string]string{incident.WatchPage: "web-1", incident.WatchAlarm: "web"}[tt.trigger]; inc.Name != want {
				t.Errorf("its name is %q, want %q", inc.Name, want)
			}
		})
	}
}

// Where there is nothing to look after, the machine ends at once: the answer has no
// alert.
func TestFindAlertOfNothing(t *testing.T) {
	closed := openAlert("opsgenie", 1)
	closed.Open = false
	open := openAlert("opsgenie", 1)
	unsent := openAlert("opsgenie", 1)
	unsent.SentAt = time.Time{}
	noInstance := strings.Replace(okEvent(t), `{"InstanceId": "i-0c1cbf2e7abdedf75"}`, `{}`, 1)
	for _, tt := range []struct {
		name, input string
		alert       *guard.Alert
		lasts       time.Duration
		asked       bool
	}{
		{"never paged", okEvent(t), nil, time.Hour, true},
		{"closed", okEvent(t), &closed, time.Hour, true},
		{"closed, after a page", toJSON(t, pagedIncident()), &closed, time.Hour, true},
		{"no watch after pages", toJSON(t, pagedIncident()), &open, 0, false},
		{"a dry incident", toJSON(t, dry(pagedIncident())), &open, time.Hour, false},
		{"a dry event", `{"event":` + rehearsal(t) + `,"execution":` + execution + `}`, &open, time.Hour, false},
		{"a rehearsed OK", strings.Replace(okEvent(t), `"aws.cloudwatch"`, `"firstline.canary"`, 1), &open, time.Hour, false},
		{"an alarm of no instance", noInstance, &open, time.Hour, false},
		// Nor does it take the watch over from one that can check.
		{"no settings", okEvent(t), &open, time.Hour, true},
		{"never sent", okEvent(t), &unsent, time.Hour, true},
		{"an incident of no instance", `{"event":{"source":"aws.ec2"},"execution":` + execution + `}`, &open, time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{table: &table{alert: tt.alert}}
			h, _ := newHandler(f)
			h.AllClear.For = tt.lasts
			inc, lerr := invoke(t, h, findPayload(tt.input))
			if lerr.Type != "" || inc.Alert != nil || inc.Watch != nil || slices.Contains(f.table.calls, "AlertOf") != tt.asked || len(f.table.watchers) != 0 {
				t.Errorf("%v, %+v, calls %v", lerr, inc, f.table.calls)
			}
		})
	}
}

// Without a watch after pages, an alarm that returns to OK is looked after still.
func TestFindAlertWhenOnlyAlarmsCount(t *testing.T) {
	alert := openAlert("opsgenie", 1)
	f := &fake{parameters: settingsAt(`{}`), state: "running", table: &table{alert: &alert}}
	h, _ := newHandler(f)
	h.AllClear.For = 0
	inc, lerr := invoke(t, h, findPayload(okEvent(t)))
	if lerr.Type != "" || inc.Alert == nil || time.Until(inc.Watch.Until) < leastWatch-time.Minute || time.Until(inc.Watch.Until) > leastWatch {
		t.Errorf("%v, %+v", lerr, inc)
	}
}

// The page's own step may not have come to telling the table that it was sent.
func TestFindAlertTellsTheTable(t *testing.T) {
	alert := openAlert("opsgenie", 1)
	f := &fake{table: &table{alert: &alert}}
	h, _ := newHandler(f)
	if _, lerr := invoke(t, h, findPayload(toJSON(t, pagedIncident()))); lerr.Type != "" {
		t.Fatal(lerr)
	}
	if len(f.table.sent) != 1 || f.table.sent[0].Alias != pageAlias || f.table.sent[0].Pager != "opsgenie" || f.table.sent[0].Generation != 1 {
		t.Errorf("told of %+v", f.table.sent)
	}
	// Also where pages are not watched: the alarm's return to OK has to find it.
	h.AllClear.For = 0
	f.table.sent = nil
	if inc, lerr := invoke(t, h, findPayload(toJSON(t, pagedIncident()))); lerr.Type != "" || inc.Alert != nil || len(f.table.sent) != 1 {
		t.Errorf("%v, alert %+v, told of %+v", lerr, inc.Alert, f.table.sent)
	}
	h.AllClear.For = time.Hour
	repeat := pagedIncident()
	repeat.Alert.Repeats = 1
	f.table.sent = nil
	if _, lerr := invoke(t, h, findPayload(toJSON(t, repeat))); lerr.Type != "" || len(f.table.sent) != 0 {
		t.Errorf("%v, told of %+v, which another execution has sent", lerr, f.table.sent)
	}
	// An event that made no incident has an alert too.
	event := `{"event":` + sampleEvent(t) + `,"execution":` + execution + `,"alert":{"alias":"a","pager":"opsgenie","generation":1}}`
	f.parameters = settingsAt(`{}`)
	inc, lerr := invoke(t, h, findPayload(event))
	if lerr.Type != "" || inc.InstanceID != instance || inc.Alert == nil || inc.Settings == nil {
		t.Errorf("%v, %+v", lerr, inc)
	}
}

func TestFindAlertFails(t *testing.T) {
	for name, tt := range map[string]struct {
		payload string
		change  func(*Handler, *fake)
		kind    fault.Kind
		want    string
	}{
		"the table is down":     {findPayload(okEvent(t)), func(_ *Handler, f *fake) { f.table.errs = map[string]error{"WatchAlert": errors.New("no answer")} }, fault.Unavailable, "find the alert: no answer"},
		"no table":              {findPayload(okEvent(t)), func(h *Handler, _ *fake) { h.Guards = noGuards }, fault.InvalidInput, "no table"},
		"the table is silent":   {findPayload(okEvent(t)), func(_ *Handler, f *fake) { f.table.errs = map[string]error{"AlertOf": errors.New("no answer")} }, fault.Unavailable, "find the alert: no answer"},
		"settings are denied":   {findPayload(okEvent(t)), func(_ *Handler, f *fake) { f.ssmErr = &smithy.GenericAPIError{Code: "AccessDeniedException"} }, fault.Denied, "read settings of " + instance},
		"no times":              {findPayload(okEvent(t)), func(h *Handler, _ *fake) { h.AllClear = nil }, fault.InvalidInput, "FIRSTLINE_ALL_CLEAR_FOR_MINUTES: 0 to 1440"},
		"it rings":              {findPayload(sampleEvent(t)), nil, fault.InvalidInput, "only OK begins an all-clear"},
		"another region":        {findPayload(strings.Replace(okEvent(t), `"region": "eu-west-1"`, `"region": "us-east-1"`, 1)), nil, fault.InvalidInput, "us-east-1"},
		"an incident elsewhere": {findPayload(strings.Replace(toJSON(t, pagedIncident()), `"region":"eu-west-1"`, `"region":"us-east-1"`, 1)), nil, fault.InvalidInput, "us-east-1"},
		"a malformed instance":  {findPayload(`{"instanceId":"web-1"}`), nil, fault.InvalidInput, `"web-1" is not an instance id`},
		"not an object":         {findPayload(`"hello"`), nil, fault.InvalidInput, "neither an alarm's event nor an incident"},
		"null":                  {findPayload(`null`), nil, fault.InvalidInput, "neither an alarm's event nor an incident"},
		"no execution":          {`{"step":"find-alert","event":{}}`, nil, fault.InvalidInput, "execution: missing"},
		"an empty execution":    {`{"step":"find-alert","event":{},"execution":{}}`, nil, fault.InvalidInput, "execution.id: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			alert := openAlert("opsgenie", 1)
			f := &fake{parameters: settingsAt(`{}`), state: "running", table: &table{alert: &alert}}
			h, _ := newHandler(f)
			if tt.change != nil {
				tt.change(h, f)
			}
			if _, lerr := invoke(t, h, tt.payload); lerr.Type != string(tt.kind) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %v, want %s with %q", lerr, tt.kind, tt.want)
			}
			// Whoever watches it goes on.
			if len(f.table.watchers) != 0 {
				t.Errorf("taken over by %v", f.table.watchers)
			}
		})
	}
}

// A watch that was to be longer, before a deployment, does not outlast an execution.
func TestFindAlertOfALongWatch(t *testing.T) {
	alert := openAlert("opsgenie", 1)
	alert.WatchUntil = time.Now().Add(24 * time.Hour)
	f := &fake{parameters: settingsAt(`{}`), state: "running", table: &table{alert: &alert}}
	h, _ := newHandler(f)
	inc, lerr := invoke(t, h, findPayload(okEvent(t)))
	if lerr.Type != "" || inc.Watch == nil || time.Until(inc.Watch.Until) > h.AllClear.For || time.Until(inc.Watch.Until) < h.AllClear.For-time.Minute {
		t.Errorf("%v, %+v", lerr, inc.Watch)
	}
}

// What an earlier look ended with is not in the way of this one.
func TestLookAlertForgetsAnError(t *testing.T) {
	alert := watchedAlert()
	h, _ := newHandler(&fake{table: &table{alert: &alert}, closed: func(string) (bool, error) { return false, nil }})
	inc := watchedIncident()
	inc.Error = &incident.Error{Error: "Unavailable", Cause: "throttled"}
	if got, lerr := invoke(t, h, payload(t, "look-alert", inc)); lerr.Type != "" || got.Error != nil {
		t.Errorf("%v, %+v", lerr, got.Error)
	}
}

// watched is an incident that the machine is looking after.
func watchedIncident() *incident.Incident {
	inc := open1(`{}`)
	inc.Execution = incident.Execution{ID: watcherARN, Name: "w"}
	inc.Run, inc.Passed = incident.RunAllClear, true
	inc.Alert, inc.Thread = alertOf(openAlert("opsgenie", 1)), &thread
	inc.Watch = &incident.Watch{Trigger: incident.WatchPage, Until: time.Now().Add(time.Hour).UTC().Truncate(time.Second), EverySeconds: 300, WaitSeconds: 20}
	since := time.Now().Add(-time.Minute).UTC()
	inc.Recovery = &incident.Recovery{Passes: 1, Since: &since}
	inc.Record(checks.Finding{Check: "url", Passed: true, At: time.Now().UTC()})
	return inc
}

// watchedAlert is the same in the table.
func watchedAlert() guard.Alert {
	a := openAlert("opsgenie", 1)
	a.Watcher, a.WatchUntil = watcherARN, time.Now().Add(time.Hour)
	return a
}

func TestLookAlert(t *testing.T) {
	is := func(change func(*guard.Alert)) *guard.Alert {
		a := watchedAlert()
		change(&a)
		return &a
	}
	says := func(closed bool, err error) func(string) (bool, error) {
		return func(alias string) (bool, error) {
			if alias != pageAlias {
				return false, errors.New("asked for " + alias)
			}
			return closed, err
		}
	}
	for _, tt := range []struct {
		name      string
		alert     *guard.Alert
		unsettled bool
		change    func(*incident.Incident)
		closed    func(string) (bool, error)
		ended     string
		passes    int
		cleared   []string
	}{
		{"it goes on", is(func(*guard.Alert) {}), false, nil, says(false, nil), "", 1, nil},
		{"the pager does not tell", is(func(*guard.Alert) {}), false, nil, says(false, errNoTelling), "", 1, nil},
		{"the pager is down", is(func(*guard.Alert) {}), false, nil, says(false, errDown), "", 1, nil},
		{"its pager is not there any more", is(func(a *guard.Alert) { a.Pager = "jsm" }), false, nil, says(true, nil), "", 1, nil},
		{"a person has closed it", is(func(*guard.Alert) {}), false, nil, says(true, nil), incident.WatchClosed, 1, []string{"person"}},
		{"a person has closed it, and somebody is faster", is(func(*guard.Alert) {}), true, nil, says(true, nil), "", 0, nil},
		{"another incident has come", is(func(a *guard.Alert) { a.Version++; a.Repeats++ }), false, nil, says(false, nil), "", 0, nil},
		{"another alert has its place", is(func(a *guard.Alert) { a.Generation = 2 }), false, nil, says(false, nil), incident.WatchReplaced, 1, nil},
		{"it is closed already", is(func(a *guard.Alert) { a.Open, a.ClosedHow = false, guard.ClosedByPerson }), false, nil, says(false, nil), incident.WatchClosed, 1, nil},
		{"somebody gave the all-clear", is(func(a *guard.Alert) { a.Open, a.ClosedHow = false, guard.ClosedByAllClear }), false, nil, says(false, nil), incident.WatchCleared, 1, nil},
		{"a later watch looks after it", is(func(a *guard.Alert) { a.Watcher = "arn:later" }), false, nil, says(false, nil), incident.WatchTakenOver, 1, nil},
		{"nothing is known of it", nil, false, nil, says(false, nil), incident.WatchNoAlert, 1, nil},
		{"its time is over", is(func(*guard.Alert) {}), false, func(i *incident.Incident) { i.Watch.Until = time.Now() }, says(false, nil), incident.WatchTimeOver, 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{closed: tt.closed, table: &table{alert: tt.alert, unsettled: tt.unsettled}}
			h, _ := newHandler(f)
			inc := watchedIncident()
			if tt.change != nil {
				tt.change(inc)
			}
			got, lerr := invoke(t, h, payload(t, "look-alert", inc))
			if lerr.Type != "" || got.Watch.Ended != tt.ended || got.Recovery.Passes != tt.passes {
				t.Errorf("%v, ended %q, %+v", lerr, got.Watch.Ended, got.Recovery)
			}
			if diff := cmp.Diff(tt.cleared, f.table.cleared); diff != "" || len(f.shut)+len(f.sent)+len(f.noted) != 0 {
				t.Errorf("it said something; cleared (-want +got):\n%s", diff)
			}
			if tt.ended == "" && !tt.unsettled && tt.alert.Version != got.Alert.Version {
				t.Errorf("it knows version %d, want %d", got.Alert.Version, tt.alert.Version)
			}
		})
	}
}

func TestAllClear(t *testing.T) {
	alert := watchedAlert()
	f := &fake{alarm: "OK", table: &table{alert: &alert}, closed: func(string) (bool, error) { return false, nil }}
	h, _ := newHandler(f)
	counted := counting(h)
	got, lerr := invoke(t, h, payload(t, "all-clear", watchedIncident()))
	if lerr.Type != "" || got.Watch.Ended != incident.WatchCleared {
		t.Fatalf("%v, %+v", lerr, got)
	}
	if diff := cmp.Diff([]string{"all-clear"}, f.table.cleared); diff != "" {
		t.Errorf("cleared (-want +got):\n%s", diff)
	}
	if len(f.shut) != 1 || f.shut[0].Kind != notify.KindAllClear || notify.Alias(f.shut[0]) != pageAlias || f.shut[0].AlarmState != "OK" || f.shut[0].Now.IsZero() {
		t.Errorf("closed with %+v", f.shut)
	}
	if len(f.sent) != 1 || f.sent[0].Kind != notify.KindAllClear || *f.sent[0].Thread != thread || len(f.updated) != 1 || f.updatedAt[0] != thread {
		t.Errorf("told Slack %+v, updated %+v at %v", f.sent, f.updated, f.updatedAt)
	}
	if diff := cmp.Diff([]string{"AllClears", "SlackMessages"}, counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if got.Told != nil {
		t.Errorf("told %+v", got.Told)
	}
}

// Whatever the step is cut off after, it goes on from there, and closes once.
func TestAllClearAgain(t *testing.T) {
	alert := watchedAlert()
	open := true
	f := &fake{table: &table{alert: &alert}, closed: func(string) (bool, error) { return !open, nil }, shutErr: errDown}
	h, _ := newHandler(f)
	if _, lerr := invoke(t, h, payload(t, "all-clear", watchedIncident())); lerr.Type != string(fault.Unavailable) || len(f.sent) != 0 {
		t.Fatalf("the pager is down: %v, %d told", lerr, len(f.sent))
	}
	if alert.Open {
		t.Fatal("the table was not told first")
	}
	f.shutErr = nil
	for n := range 2 {
		got, lerr := invoke(t, h, payload(t, "all-clear", watchedIncident()))
		if lerr.Type != "" || got.Watch.Ended != incident.WatchCleared || len(f.sent) != n+1 {
			t.Fatalf("%v, %+v, %d told", lerr, got, len(f.sent))
		}
		// The alert is closed now, and that was nobody else.
		open, f.shutErr = false, errGone
	}
	if diff := cmp.Diff([]string{"all-clear"}, f.table.cleared); diff != "" {
		t.Errorf("cleared (-want +got):\n%s", diff)
	}
}

// What was seen some time ago says nothing of now: the step was tried for minutes.
func TestAllClearAfterOldLooks(t *testing.T) {
	alert := watchedAlert()
	f := &fake{table: &table{alert: &alert}, closed: func(string) (bool, error) { return false, nil }}
	h, _ := newHandler(f)
	inc := watchedIncident()
	inc.LookedAt = time.Now().Add(-looksHold - time.Second)
	got, lerr := invoke(t, h, payload(t, "all-clear", inc))
	if lerr.Type != "" || got.Watch.Ended != "" || got.Recovery.Passes != 0 || len(f.table.cleared)+len(f.shut)+len(f.sent) != 0 {
		t.Errorf("%v, %+v, cleared %v", lerr, got, f.table.cleared)
	}
	// Once the table has it, it is only to be carried out.
	alert.Open, alert.ClosedHow, alert.ClosedBy = false, guard.ClosedByAllClear, watcherARN
	if got, lerr = invoke(t, h, payload(t, "all-clear", inc)); lerr.Type != "" || got.Watch.Ended != incident.WatchCleared || len(f.shut) != 1 {
		t.Errorf("%v, %+v, %d closed", lerr, got, len(f.shut))
	}
}

// What was left open when the page went another way is closed with it.
func TestAllClearClosesWhatWasLeftOpen(t *testing.T) {
	for name, tt := range map[string]struct {
		replaces guard.Replaced
		closes   []error
		want     []string
	}{
		"by another pager":    {guard.Replaced{Alias: pageAlias, Pager: "opsgenie"}, nil, []string{"jsm close base/2", "opsgenie close base/2", "opsgenie close base"}},
		"which is down":       {guard.Replaced{Alias: pageAlias, Pager: "opsgenie"}, []error{errDown, errDown}, []string{"jsm close base/2", "opsgenie close base/2", "opsgenie close base"}},
		"closed long ago":     {guard.Replaced{Alias: pageAlias, Pager: "jsm"}, nil, []string{"jsm close base/2", "opsgenie close base/2"}},
		"nothing can be left": {guard.Replaced{Alias: pageAlias, Pager: "sns"}, nil, []string{"jsm close base/2", "opsgenie close base/2"}},
		"nobody knows it now": {guard.Replaced{Alias: pageAlias, Pager: "pagerduty"}, nil, []string{"jsm close base/2", "opsgenie close base/2"}},
	} {
		t.Run(name, func(t *testing.T) {
			alert := openAlert("jsm", 2)
			alert.Watcher, alert.Replaces = watcherARN, &tt.replaces
			f := &fake{table: &table{alert: &alert}}
			h, _ := newHandler(f)
			log := by(h, &way{name: "opsgenie", closes: tt.closes}, &way{name: "jsm", tells: errNoTelling}, &way{name: "sns"})
			inc := watchedIncident()
			inc.Alert = alertOf(alert)
			if got, lerr := invoke(t, h, payload(t, "all-clear", inc)); lerr.Type != "" || got.Watch.Ended != incident.WatchCleared {
				t.Errorf("%v, %+v", lerr, got)
			}
			if diff := cmp.Diff(tt.want, *log); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Nobody reads that an alert is closed which a pager has that is not configured any more.
func TestAllClearOfAPagerThatIsGone(t *testing.T) {
	alert := watchedAlert()
	alert.Pager = "jsm"
	f := &fake{table: &table{alert: &alert}}
	h, _ := newHandler(f)
	by(h, &way{name: "opsgenie"})
	inc := watchedIncident()
	inc.Alert.Pager = "jsm"
	got, lerr := invoke(t, h, payload(t, "all-clear", inc))
	if lerr.Type != "" || got.Watch.Ended != incident.WatchCleared || len(f.sent) != 1 || f.sent[0].Incident.Watch.Ended != "" {
		t.Errorf("%v, %+v, told %+v", lerr, got, f.sent)
	}
}

func TestAllClearThatIsNotGiven(t *testing.T) {
	is := func(change func(*guard.Alert)) *guard.Alert {
		a := watchedAlert()
		change(&a)
		return &a
	}
	for _, tt := range []struct {
		name      string
		alert     *guard.Alert
		unsettled bool
		closed    bool
		ended     string
		passes    int
		cleared   []string
	}{
		{"a person has closed it", is(func(*guard.Alert) {}), false, true, incident.WatchClosed, 1, []string{"person"}},
		{"another incident has come", is(func(a *guard.Alert) { a.Version++ }), false, false, "", 0, nil},
		{"another incident comes just now", is(func(*guard.Alert) {}), true, false, "", 0, nil},
		{"another alert has its place", is(func(a *guard.Alert) { a.Generation = 2 }), false, false, incident.WatchReplaced, 1, nil},
		{"another watch gives it", is(func(a *guard.Alert) { a.Watcher = "arn:later" }), false, false, incident.WatchTakenOver, 1, nil},
		{"another watch gave it", is(func(a *guard.Alert) {
			a.Open, a.ClosedHow, a.ClosedBy = false, guard.ClosedByAllClear, "arn:later"
		}), false, false, incident.WatchCleared, 1, nil},
		{"the table knows that a person closed it", is(func(a *guard.Alert) {
			a.Open, a.ClosedHow, a.ClosedBy = false, guard.ClosedByPerson, watcherARN
		}), false, false, incident.WatchClosed, 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{table: &table{alert: tt.alert, unsettled: tt.unsettled}, closed: func(string) (bool, error) { return tt.closed, nil }}
			h, _ := newHandler(f)
			counted := counting(h)
			got, lerr := invoke(t, h, payload(t, "all-clear", watchedIncident()))
			if lerr.Type != "" || got.Watch.Ended != tt.ended || got.Recovery.Passes != tt.passes {
				t.Errorf("%v, ended %q, %+v", lerr, got.Watch.Ended, got.Recovery)
			}
			if n := len(f.shut) + len(f.sent) + len(f.updated); n != 0 || counted(t) != nil {
				t.Errorf("%d messages, counted %v", n, counted(t))
			}
			if diff := cmp.Diff(tt.cleared, f.table.cleared); diff != "" {
				t.Errorf("cleared (-want +got):\n%s", diff)
			}
		})
	}
}

// What fails on the way: the pager's failure is tried again, Slack's is not.
func TestAllClearFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Handler, *fake)
		kind   fault.Kind
		shut   int
		sent   int
		log    string
	}{
		{"the pager is down", func(_ *Handler, f *fake) { f.shutErr = errDown }, fault.Unavailable, 1, 0, ""},
		{"the pager refuses", func(_ *Handler, f *fake) { f.shutErr = errDenied }, fault.Denied, 1, 0, ""},
		{"the pager does not have it any more", func(_ *Handler, f *fake) { f.shutErr = errGone }, "", 1, 1, ""},
		{"the pager does not say", func(_ *Handler, f *fake) { f.shutErr = errUnconfirmed }, "", 1, 1, ""},
		{"Slack is down", func(_ *Handler, f *fake) { f.sendErr = errDown }, "", 1, 1, "Slack was not told of the all-clear"},
		{"the thread's first message is gone", func(_ *Handler, f *fake) { f.updateErr = errDown }, "", 1, 1, "stays as it was"},
		{"the table is down", func(_ *Handler, f *fake) { f.table.errs = map[string]error{"ClearAlert": errDown} }, fault.Unavailable, 0, 0, ""},
		{"the table does not answer", func(_ *Handler, f *fake) { f.table.errs = map[string]error{"AlertOf": errors.New("no answer")} }, fault.Unavailable, 0, 0, "give the all-clear for " + instance},
		{"no table", func(h *Handler, _ *fake) { h.Guards = noGuards }, fault.InvalidInput, 0, 0, ""},
		{"no pagers", func(h *Handler, _ *fake) {
			h.Pagers = func() (*notify.Pagers, error) { return nil, fault.New(fault.InvalidInput, "read", "none") }
		}, fault.InvalidInput, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alert := watchedAlert()
			f := &fake{table: &table{alert: &alert}, closed: func(string) (bool, error) { return false, nil }}
			h, log := newHandler(f)
			tt.change(h, f)
			got, lerr := invoke(t, h, payload(t, "all-clear", watchedIncident()))
			if lerr.Type != string(tt.kind) || len(f.shut) != tt.shut || len(f.sent) != tt.sent || !strings.Contains(log.String(), tt.log) {
				t.Errorf("%v, %d closed, %d told, log %s", lerr, len(f.shut), len(f.sent), log)
			}
			if tt.kind == "" && got.Watch.Ended != incident.WatchCleared {
				t.Errorf("ended %q", got.Watch.Ended)
			}
		})
	}
}

// Nobody was told in Slack, so that nobody waits for an end there.
func TestAllClearWithoutAThread(t *testing.T) {
	alert := watchedAlert()
	alert.Thread = nil
	f := &fake{table: &table{alert: &alert}, closed: func(string) (bool, error) { return false, nil }}
	h, _ := newHandler(f)
	inc := watchedIncident()
	inc.Thread = nil
	if got, lerr := invoke(t, h, payload(t, "all-clear", inc)); lerr.Type != "" || got.Watch.Ended != incident.WatchCleared || len(f.shut) != 1 || len(f.sent) != 0 {
		t.Errorf("%v, %+v, %d closed, %d told", lerr, got.Watch, len(f.shut), len(f.sent))
	}
	// One that came after the watch began is in the table.
	alert = watchedAlert()
	f.table.alert = &alert
	if _, lerr := invoke(t, h, payload(t, "all-clear", inc)); lerr.Type != "" || len(f.sent) != 1 {
		t.Errorf("%v, %d told", lerr, len(f.sent))
	}
}

// The first pager may have taken a page that went another way.
func TestAllClearOfAPageThatWentAnotherWay(t *testing.T) {
	for name, tt := range map[string]struct {
		pager string
		ways  []*way
		want  []string
	}{
		"jsm has it":                   {"jsm", []*way{{name: "opsgenie"}, {name: "jsm", tells: errNoTelling}}, []string{"jsm close base", "opsgenie close base"}},
		"and the first does not":       {"jsm", []*way{{name: "opsgenie", closes: []error{errGone}}, {name: "jsm", tells: errNoTelling}}, []string{"jsm close base", "opsgenie close base"}},
		"and the first is down":        {"jsm", []*way{{name: "opsgenie", closes: []error{errDown}}, {name: "jsm", tells: errNoTelling}}, []string{"jsm close base", "opsgenie close base"}},
		"SNS told them":                {"sns", []*way{{name: "opsgenie"}, {name: "sns", tells: errNoTelling}}, []string{"sns close base", "opsgenie close base"}},
		"the first has it":             {"opsgenie", []*way{{name: "opsgenie", open: map[string]bool{pageAlias: true}}, {name: "sns"}}, []string{"opsgenie close base"}},
		"SNS is the first":             {"jsm", []*way{{name: "sns"}, {name: "jsm", tells: errNoTelling}}, []string{"jsm close base"}},
		"the pager is not there":       {"jsm", []*way{{name: "opsgenie"}}, nil},
		"it is down, and is asked now": {"jsm", []*way{{name: "opsgenie"}, {name: "jsm", tells: errDown}}, []string{"jsm close base", "opsgenie close base"}},
	} {
		t.Run(name, func(t *testing.T) {
			alert := watchedAlert()
			alert.Pager = tt.pager
			f := &fake{table: &table{alert: &alert}}
			h, _ := newHandler(f)
			log := by(h, tt.ways...)
			inc := watchedIncident()
			inc.Alert.Pager = tt.pager
			got, lerr := invoke(t, h, payload(t, "all-clear", inc))
			if lerr.Type != "" || got.Watch.Ended != incident.WatchCleared || len(f.sent) != 1 {
				t.Errorf("%v, %+v, %d told", lerr, got.Watch, len(f.sent))
			}
			if diff := cmp.Diff(tt.want, *log); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Both steps refuse what the first one did not make.
func TestAllClearRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*incident.Incident)
		want   string
		clear  bool // only the all-clear refuses it
	}{
		"run 2":          {func(i *incident.Incident) { i.Run = 2 }, "given in run 3", false},
		"no alert":       {func(i *incident.Incident) { i.Alert = nil }, "incident.alert: missing", false},
		"no generation":  {func(i *incident.Incident) { i.Alert.Generation = 0 }, "incident.alert: missing", false},
		"no watch":       {func(i *incident.Incident) { i.Watch = nil }, "incident.watch: missing", false},
		"no execution":   {func(i *incident.Incident) { i.Execution.ID = "" }, "incident.execution.id: missing", false},
		"a dry one":      {func(i *incident.Incident) { i.Dry = true }, "incident.dry", false},
		"it failed":      {func(i *incident.Incident) { i.Passed = false }, "only two in a row", true},
		"it passed once": {func(i *incident.Incident) { i.Recovery.Passes = 0 }, "only two in a row", true},
		"it never did":   {func(i *incident.Incident) { i.Recovery = nil }, "only two in a row", true},
	} {
		for _, step := range []string{"look-alert", "all-clear"} {
			alert := watchedAlert()
			f := &fake{table: &table{alert: &alert}, closed: func(string) (bool, error) { return false, nil }}
			h, _ := newHandler(f)
			inc := watchedIncident()
			tt.change(inc)
			_, lerr := invoke(t, h, payload(t, step, inc))
			if tt.clear && step == "look-alert" {
				if lerr.Type != "" {
					t.Errorf("%s, %s: %v", name, step, lerr)
				}
				continue
			}
			if lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, tt.want) || len(f.shut)+len(f.sent)+len(f.table.cleared) != 0 {
				t.Errorf("%s, %s: %v", name, step, lerr)
			}
		}
	}
}

// A pager that says nothing takes little of a look's time.
func TestLookWhileThePagerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alert := watchedAlert()
		f := &fake{table: &table{alert: &alert}}
		h, _ := newHandler(f)
		h.Pagers = only1(hangingPager{f})
		start := time.Now()
		if got, lerr := invoke(t, h, payload(t, "look-alert", watchedIncident())); lerr.Type != "" || got.Watch.Ended != "" || time.Since(start) > askTime {
			t.Errorf("%v, %+v after %s", lerr, got.Watch, time.Since(start))
		}
	})
}

// The checks of a watch count all that they see, and are merged look after look.
func TestChecksOfAWatch(t *testing.T) {
	f := &fake{finding: checks.Finding{Check: "route53", Passed: true, At: time.Now()}, since: time.Now()}
	h, _ := newHandler(f)
	inc := watchedIncident()
	for range 3 {
		got, lerr := invoke(t, h, payload(t, "route53", inc))
		if lerr.Type != "" {
			t.Fatal(lerr)
		}
		inc = got
	}
	if n := len(inc.Findings); n != 2 || inc.Findings[1].Looks != 3 || inc.Findings[1].Run != 3 || !f.since.IsZero() {
		t.Errorf("%+v", inc.Findings)
	}
	// And nothing is rebooted on their account.
	f.state = ec2types.InstanceStateNameRunning
	inc.Record(checks.Finding{Check: "url", Reason: "refused", At: time.Now()})
	if _, lerr := invoke(t, h, payload(t, "reboot", inc)); lerr.Type != string(fault.InvalidInput) || f.reboots != 0 {
		t.Errorf("%v, %d reboots", lerr, f.reboots)
	}
}

func TestNotifyTest(t *testing.T) {
	f := &fake{}
	h, log := newHandler(f)
	counted := counting(h)
	by(h, &way{name: "opsgenie"}, &way{name: "jsm", tells: errNoTelling}, &way{name: "sns", sends: []error{errDenied}})
	ask := func() tested {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := h.Invoke(ctx, []byte(`{"step":"notify-test"}`))
		if err != nil {
			t.Fatal(err)
		}
		var got tested
		if err := incident.DecodeStrict(out, &got); err != nil {
			t.Fatal(err)
		}
		for n := range got.Deliveries {
			if ms := got.Deliveries[n].ElapsedMs; ms < 0 || ms > 60_000 {
				t.Errorf("%+v", got.Deliveries[n])
			}
			got.Deliveries[n].ElapsedMs = 0
		}
		return got
	}
	want := tested{[]delivery{
		{Channel: "opsgenie", OK: true, Confirmed: true, Detail: "opsgenie"},
		{Channel: "jsm", OK: true, Detail: "jsm"},
		{Channel: "sns", Detail: "sns", Error: errDenied.Error()},
		{Channel: "slack", OK: true, Confirmed: true, Detail: "test"},
	}}
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"TestMessages", "TestMessages", "TestMessages"}, counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	var line struct{ Tested tested }
	if err := json.Unmarshal(log.Bytes(), &line); err != nil || len(line.Tested.Deliveries) != 4 {
		t.Errorf("log %s (%v)", log, err)
	}
	if len(f.table.calls) != 0 {
		t.Errorf("calls %v", f.table.calls)
	}
	h.Pagers = func() (*notify.Pagers, error) {
		return nil, fault.New(fault.InvalidInput, "read FIRSTLINE_PAGERS", "the list is empty")
	}
	want = tested{[]delivery{{Channel: "pagers", Error: "read FIRSTLINE_PAGERS: the list is empty"}, {Channel: "slack", OK: true, Confirmed: true, Detail: "test"}}}
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, lerr := invoke(t, h, `{"step":"notify-test","incident":{}}`); lerr.Type != string(fault.InvalidInput) {
		t.Errorf("got %v", lerr)
	}
}

func TestAlarmValue(t *testing.T) {
	for data, want := range map[string]*float64{
		`{"recentDatapoints":[1.0,0.5],"evaluatedDatapoints":[{"timestamp":"2023-01-09T14:02:00.000+0000","value":0.5},{"timestamp":"2023-01-09T14:01:00.000+0000","value":1.0}]}`: new(0.5),
		`{"recentDatapoints":[1.0,0.5]}`: new(0.5),
		`{"recentDatapoints":[100.0]}`:   new(100.0),
		`{"recentDatapoints":[0.0]}`:     new(0.0),
		`{"evaluatedDatapoints":[{"timestamp":"2023-01-09T14:02:00.000+0000"},{"timestamp":"2023-01-09T14:01:00.000+0000","value":3}]}`: new(3.0),
		`{"evaluatedDatapoints":[{"timestamp":"yesterday","value":7}],"recentDatapoints":[3]}`:                                          new(3.0),
		`{"recentDatapoints":[]}`:           nil,
		`{"recentDatapoints":[1.0,null]}`:   nil,
		`{"recentDatapoints":"none"}`:       nil,
		`{"recentDatapoints":["1.0"]}`:      nil,
		`{"evaluatedDatapoints":{"a":"b"}}`: nil,
		`[]`:                                nil,
		`not JSON`:                          nil,
		``:                                  nil,
	} {
		got := newest(json.RawMessage(toJSON(t, data)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", data, diff)
		}
	}
	for _, reasonData := range []string{`"reasonData": 7`, `"reasonData": {"recentDatapoints":[1]}`, `"reasonData": null`} {
		f := &fake{parameters: settingsAt(`{}`), state: "running"}
		h, _ := newHandler(f)
		event := strings.Replace(sampleEvent(t), `"timestamp": "2026-11-22T10:04:40.989+0000"`, `"timestamp": "2026-11-22T10:04:40.989+0000",`+reasonData, 1)
		if inc, lerr := invoke(t, h, openPayload(event)); lerr.Type != "" || inc.Alarm.Value != nil {
			t.Errorf("%s: %v, %+v", reasonData, lerr, inc)
		}
	}
}
