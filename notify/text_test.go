package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

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
		}
		if err := json.Unmarshal(file(archive, "message.json"), &in); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, golden{
			name:    strings.TrimSuffix(filepath.Base(path), ".txtar"),
			message: Message{Incident: in.Incident, AlarmState: in.AlarmState, Deployment: in.Deployment, Now: in.Now},
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
			var encoded bytes.Buffer
			e := json.NewEncoder(&encoded)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if err := e.Encode(alert); err != nil {
				t.Fatal(err)
			}
			got := []txtar.File{
				{Name: "slack text", Data: []byte(fallback + "\n")},
				{Name: "slack sections", Data: []byte(strings.Join(sections, "\n----\n") + "\n")},
				{Name: "opsgenie description", Data: []byte(description + "\n")},
				{Name: "opsgenie alert.json", Data: encoded.Bytes()},
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
			if runes(fallback) > limitSlackText {
				t.Errorf("Slack text has %d characters", runes(fallback))
			}
			for i, section := range sections {
				if runes(section) > limitSlackSection || section == "" {
					t.Errorf("section %d has %d characters", i, runes(section))
				}
			}
			for channel, text := range map[string]string{
				"slack text": fallback, "slack sections": strings.Join(sections, "\n"), "opsgenie": alert.Message + "\n" + alert.Description,
			} {
				want := []string{g.message.Deployment, inc.Region, inc.AccountID, inc.InstanceID, "Next:", "It took 10m28s"}
				if inc.Reboot == nil {
					want = append(want, "No reboot was made.")
				}
				if inc.PageError != nil {
					want = append(want, "Nobody was paged")
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
