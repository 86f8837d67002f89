package incident

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/old/checks"
)

func TestDecodeStrictNamesTheField(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unknown", `{"url":{"portt":1}}`, `unknown field "portt"`},
		{"wrong type", `{"url":{"port":"80"}}`, "url.port: got a JSON string, want int"},
		{"too long a number", `{"url":{"port":1e99}}`, "url.port"},
		{"cut", `{"url":`, "it ends too early"},
		{"empty", ``, "it ends too early"},
		{"not JSON", `url: {}`, "not JSON"},
		{"trailing", `{} x`, "data after the JSON value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s Settings
			type plain Settings
			err := DecodeStrict([]byte(tt.in), (*plain)(&s))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSettingsKeepDefaults(t *testing.T) {
	var s Settings
	if err := json.Unmarshal([]byte(`{"url":{"verifyCertificate":false},"boot":{"windowSeconds":300}}`), &s); err != nil {
		t.Fatal(err)
	}
	want := DefaultSettings()
	want.URL.VerifyCertificate, want.Boot.WindowSeconds = false, 300
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestSettingsValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		mend func(*Settings)
		want string
	}{
		{"every check off", func(s *Settings) { s.URL.Enabled, s.SSH.Enabled = false, false }, "every check is off"},
		{"no first look", func(s *Settings) { s.Boot.FirstLookSeconds = 0 }, "boot.firstLookSeconds: 0 is out of range"},
		{"no pause", func(s *Settings) { s.Boot.IntervalSeconds = 0 }, "boot.intervalSeconds: 0 is out of range"},
		{"a day", func(s *Settings) { s.Boot.WindowSeconds = 86400 }, "boot.windowSeconds: 86400 is out of range"},
		{"too many looks", func(s *Settings) { s.Boot.IntervalSeconds, s.Boot.WindowSeconds = 1, 3600 }, "use at least 18"},
		{"first look after the window", func(s *Settings) { s.Boot.WindowSeconds = 30 }, "is after the window"},
		{"a negative cool-down", func(s *Settings) { s.Reboot.CoolDownSeconds = -1 }, "reboot.coolDownSeconds: -1 is out of range; use 0 to 86400 seconds"},
		{"a cool-down of days", func(s *Settings) { s.Reboot.CoolDownSeconds = 86_401 }, "reboot.coolDownSeconds: 86401 is out of range"},
		{"a cool-down shorter than the window", func(s *Settings) { s.Reboot.CoolDownSeconds = 599 }, "reboot.coolDownSeconds: 599 ends before the boot window of 600 s; use at least that"},
		{"a window longer than the cool-down", func(s *Settings) { s.Boot.WindowSeconds = 1801 }, "reboot.coolDownSeconds: 1800 ends before the boot window of 1801 s"},
		{"a negative budget", func(s *Settings) { s.Reboot.PerDay = -1 }, "reboot.perDay: -1 is out of range; use 0 to 24 reboots, where 0 means never"},
		{"a large budget", func(s *Settings) { s.Reboot.PerDay = 25 }, "reboot.perDay: 25 is out of range"},
		{"never fresh", func(s *Settings) { s.Reboot.FreshSeconds = 59 }, "reboot.freshSeconds: 59 is out of range; use 60 to 86400 seconds"},
		{"always fresh", func(s *Settings) { s.Reboot.FreshSeconds = 86_401 }, "reboot.freshSeconds: 86401 is out of range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := DefaultSettings()
			tt.mend(&s)
			if err := s.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	s := DefaultSettings()
	s.URL.Enabled, s.SSH.Enabled, s.Route53.HealthCheckID = false, false, "4f2b1c3d-0000-4000-8000-000000000000"
	if err := s.Validate(); err != nil {
		t.Errorf("a health check alone is enough: %v", err)
	}
}

func TestRebootSettingsAtTheirBounds(t *testing.T) {
	for name, r := range map[string]RebootSettings{
		"lowest":  {CoolDownSeconds: 600, PerDay: 0, FreshSeconds: 60},
		"highest": {CoolDownSeconds: 86_400, PerDay: 24, FreshSeconds: 86_400, DryRun: true},
	} {
		s := DefaultSettings()
		s.Reboot = r
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What an older version has written knows nothing of them.
	var s Settings
	if err := json.Unmarshal([]byte(`{"url":{},"reboot":{"perDay":1}}`), &s); err != nil {
		t.Fatal(err)
	}
	if want := (RebootSettings{CoolDownSeconds: 1800, PerDay: 1, FreshSeconds: 900}); s.Reboot != want {
		t.Errorf("got %+v, want %+v", s.Reboot, want)
	}
	if err := json.Unmarshal([]byte(`{"reboot":{"perday":1,"per_day":1}}`), &s); err == nil || !strings.Contains(err.Error(), `unknown field "per_day"`) {
		t.Errorf("got %v", err)
	}
}

func TestCheckBudget(t *testing.T) {
	s := DefaultSettings()
	if err := s.CheckBudget(time.Minute); err != nil {
		t.Error(err)
	}
	if err := s.CheckBudget(10 * time.Second); err == nil || !strings.Contains(err.Error(), "ssh: its attempts may take") {
		t.Errorf("got %v", err)
	}
}

func TestRecord(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 11, 22, 10, 0, s, 0, time.UTC) }
	see := func(check string, passed bool, s int) checks.Finding {
		return checks.Finding{Check: check, Passed: passed, At: at(s)}
	}
	i := &Incident{Run: 1}
	i.Record(see("url", true, 1))
	i.Record(see("ssh", false, 2))
	i.Run = 2
	i.Record(see("url", false, 3))
	i.Record(see("url", false, 4))
	i.Record(see("url", false, 5))
	i.Record(see("url", true, 6))
	i.Record(see("ssh", false, 7))
	first := at(3)
	want := []checks.Finding{
		{Run: 1, Check: "url", Passed: true, At: at(1)},
		{Run: 1, Check: "ssh", At: at(2)},
		{Run: 2, Check: "url", At: at(5), Looks: 3, Since: &first},
		{Run: 2, Check: "url", Passed: true, At: at(6)},
		{Run: 2, Check: "ssh", At: at(7)},
	}
	if diff := cmp.Diff(want, i.Findings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if i.Passed {
		t.Error("the last finding failed")
	}
	if f := i.LastFailure(); f == nil || f.Check != "ssh" || f.Run != 2 {
		t.Errorf("last failure %+v", f)
	}
}

// The looks of a watch go on for hours.
func TestRecordOfAWatch(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	i := &Incident{Run: RunAllClear}
	for n := range 24 {
		for _, check := range []string{"url", "ssh"} {
			i.Record(checks.Finding{Check: check, Passed: check == "url", At: at.Add(time.Duration(n) * 5 * time.Minute)})
		}
	}
	if len(i.Findings) != 2 || i.Findings[0].Looks != 24 || i.Findings[1].Looks != 24 || i.Findings[1].Run != RunAllClear || !i.Findings[1].Since.Equal(at) {
		t.Errorf("%+v", i.Findings)
	}
	for n := range 3 * maxFindings {
		i.Record(checks.Finding{Check: "url", Passed: n%2 == 1, At: at})
	}
	if len(i.Findings) > maxFindings {
		t.Errorf("%d findings", len(i.Findings))
	}
}

func TestRuns(t *testing.T) {
	s := DefaultSettings()
	for run, ok := range map[int]bool{-1: false, 0: false, 1: true, 2: true, RunAllClear: true, 4: false} {
		err := (&Incident{InstanceID: "i-0a1b2c3d", Region: "eu-west-1", AccountID: "123456789012", Settings: &s, Run: run}).Validate()
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("incident.run: %d is none of 1", run)) {
			t.Errorf("run %d: %v", run, err)
		}
	}
}

// What the steps of a page and of an all-clear put into it, as a state machine reads it.
func TestAlertInAnIncident(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	value := 99.5
	i := &Incident{
		InstanceID: "i-0a1b2c3d", Name: "web-1", Alarm: &Alarm{Value: &value},
		Alert:  &Alert{Alias: "a/2", Pager: "jsm", Generation: 2, OpenedAt: at, Outcome: AlertDown, Repeats: 1, Version: 4},
		Thread: &Thread{Channel: "C0123456789", TS: "1.2"},
		Watch:  &Watch{Trigger: WatchPage, Until: at, EverySeconds: 300, WaitSeconds: 20, Ended: WatchCleared},
	}
	raw, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"name":"web-1"`, `"value":99.5`,
		`"alert":{"alias":"a/2","pager":"jsm","generation":2,"openedAt":"2026-11-22T10:00:00Z","outcome":"down","repeats":1,"version":4}`,
		`"thread":{"channel":"C0123456789","ts":"1.2"}`,
		`"watch":{"trigger":"page","until":"2026-11-22T10:00:00Z","everySeconds":300,"waitSeconds":20,"ended":"cleared"}`,
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s lacks %s", raw, want)
		}
	}
	var again Incident
	if err := json.Unmarshal(raw, &again); err != nil || again.Alert == nil || *again.Alert != *i.Alert || *again.Thread != *i.Thread || *again.Watch != *i.Watch {
		t.Errorf("%+v, %v", again, err)
	}
	// One that goes on has no end, which the state machine asks for.
	i.Watch.Ended = ""
	if raw, err = json.Marshal(i); err != nil || strings.Contains(string(raw), "ended") {
		t.Errorf("%s, %v", raw, err)
	}
	if raw, err = json.Marshal(&Incident{Alarm: &Alarm{}}); err != nil || strings.Contains(string(raw), "alert") || strings.Contains(string(raw), "watch") || strings.Contains(string(raw), "value") {
		t.Errorf("%s, %v", raw, err)
	}
}

// However an instance flaps, its incident stays small and keeps what led to
// the reboot.
func TestRecordIsBounded(t *testing.T) {
	// The longest reason that package checks gives, of what JSON makes longest.
	reason := strings.Repeat("<", 500)
	i := &Incident{Run: 1}
	i.Record(checks.Finding{Check: "url", Reason: "first"})
	i.Run = 2
	for n := range 3 * MaxLooks {
		i.Record(checks.Finding{Check: "url", Passed: n%2 == 0, Reason: reason})
	}
	cause := &Error{Error: "Lambda.Unknown", Cause: strings.Repeat("<", 32<<10)}
	i.Error, i.SlackError, i.PageError, i.RebootError, i.CloseError = cause, cause, cause, cause, cause
	i.Refusal = &Refusal{Guard: GuardBrake, Reason: reason}
	for _, action := range []string{ActionReboot, ActionPage, ActionSlack} {
		i.Suppress(action, strings.Repeat("<", 32<<10), time.Now())
	}
	raw, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 240<<10 {
		t.Errorf("the incident has %d bytes", len(raw))
	}
	if i.Findings[0].Reason != "first" {
		t.Error("run 1 is forgotten")
	}
	if last := i.Findings[len(i.Findings)-1]; last.Passed {
		t.Error("the newest finding is forgotten")
	}
}

func TestSettingsRefuseNull(t *testing.T) {
	for _, in := range []string{`null`, `{"url":null}`} {
		s := new(Settings)
		if err := DecodeStrict([]byte(in), s); err == nil || !strings.Contains(err.Error(), "got null") {
			t.Errorf("%s: got %v", in, err)
		}
	}
}

func TestSalvage(t *testing.T) {
	got := Salvage([]byte(`{"instanceId":"i-0a1b2c3d","region":7,"settings":{"x":1},"execution":{"id":"e"},"error":{"Error":"Denied","Cause":"no"}}`))
	if got.InstanceID != "i-0a1b2c3d" || got.Execution.ID != "e" || got.Error.Error != "Denied" || got.Region != "" || got.Settings != nil || got.Event != nil {
		t.Errorf("%+v", got)
	}
	if got := Salvage([]byte(`"hello"`)); string(got.Event) != `"hello"` {
		t.Errorf("%+v", got)
	}
}

func TestIncidentRoundTrip(t *testing.T) {
	const in = `{"instanceId":"i-0a1b2c3d","execution":{"id":"x","startedAt":"2026-11-22T10:00:00+00:00"},"passed":true,"zone":{"a":[1]},"another":"y"}`
	var i Incident
	if err := json.Unmarshal([]byte(in), &i); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"instanceId":"i-0a1b2c3d","execution":{"id":"x","startedAt":"2026-11-22T10:00:00Z"},"passed":true,"another":"y","zone":{"a":[1]}}`
	if string(out) != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
}

func TestSuppress(t *testing.T) {
	at := time.Date(2026, 11, 22, 11, 0, 0, 5, time.FixedZone("", 3600))
	i := &Incident{InstanceID: "i-0a1b2c3d", Dry: true}
	i.Suppress(ActionPage, strings.Repeat("é", 2000), at)
	got := i.Suppressed[0]
	if got.Action != "page" || got.At != at.UTC() || len(got.Text) > 2010 || !strings.HasPrefix(got.Text, "éé") || !strings.HasSuffix(got.Text, "é…") {
		t.Errorf("%+v", got)
	}
	raw, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"dry":true`) || !strings.Contains(string(raw), `"suppressed":[{"action":"page","at":"2026-11-22T10:00:00.000000005Z","text":"é`) {
		t.Errorf("%s", raw)
	}
	// An incident that is not dry does not speak of it.
	if raw, err = json.Marshal(&Incident{}); err != nil || strings.Contains(string(raw), "dry") || strings.Contains(string(raw), "suppressed") {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestSourceOf(t *testing.T) {
	for event, want := range map[string]string{
		`{"source":"aws.cloudwatch"}`:                             "aws.cloudwatch",
		`{"source":"aws.cloudwatch","Source":"firstline.canary"}`: "aws.cloudwatch",
		`{"SOURCE":"firstline.canary","source":"aws.cloudwatch"}`: "aws.cloudwatch",
		`{"Source":"firstline.canary"}`:                           "",
		`{"detail":{"source":"firstline.canary"}}`:                "",
		`{"source":"firstline.canary"}`:                           "firstline.canary",
		`{"source":["firstline.canary"]}`:                         "",
		`{"source":null}`:                                         "",
		`"firstline.canary"`:                                      "",
		`[{"source":"firstline.canary"}]`:                         "",
		`{"source":"firstline.canary"`:                            "",
		``:                                                        "",
	} {
		if got := SourceOf(json.RawMessage(event)); got != want {
			t.Errorf("%s: got %q, want %q", event, got, want)
		}
	}
}
