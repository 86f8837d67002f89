package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"golang.org/x/tools/txtar"

	"firstline/internal/incident"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// pagerOf is OpsGenie without a service.
func pagerOf() *alertAPI {
	return &alertAPI{service: opsgenie, alertSettings: alertSettings{
		chosen: chosen{Responders: []map[string]string{{"type": "team", "id": "8f2a-team"}}, Priority: "P2"}, PriorityUnknown: "P3",
	}}
}

// whole are the messages whose goldens show all that the channels are sent.
var whole = []string{"down-after-reboot", "hostile"}

// TestGolden holds the first lines and the text of each situation.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name := range messages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message(t, name)
			r := describe(m)
			var files []txtar.File
			add := func(name string, data string) {
				files = append(files, txtar.File{Name: name, Data: []byte(strings.TrimSpace(data) + "\n")})
			}
			a := pagerOf().alert(m)
			switch m.Kind {
			case KindPage, KindTest:
				add("alert", a.Message)
				add("sns", *(&snsTopic{}).compose(m).Subject)
				add("slack", r.slackBlocks()[0].(*slack.HeaderBlock).Text.Text)
			case KindSlack:
				add("slack", r.slackBlocks()[0].(*slack.HeaderBlock).Text.Text)
			case KindNote, KindResolve:
				add(string(m.Kind), r.headline(limitTitle))
			}
			links := r.links
			r.links = nil
			add("text", join(r.lines(), limitDescription))
			r.links = links
			if slices.Contains(whole, name) {
				a.Description = "(above)"
				add("alert.json", encoded(t, a))
				e := (&pagerDuty{pagerDutySettings: pagerDutySettings{Severity: "critical", SeverityUnknown: "error"}}).trigger(m)
				h := (&webhook{}).event(webhookFiring, m)
				e.Payload.Details["text"], h.Data.Text = "(above)", "(above)"
				add("pagerduty.json", encoded(t, e))
				add("webhook.json", encoded(t, h))
				add("links", join(r.lines()[len(r.lines())-len(links):], limitDescription))
				add("slack blocks", shown(t, r.slackBlocks()))
			}
			path := "testdata/" + name + ".txtar"
			got := txtar.Format(&txtar.Archive{Files: files})
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path) //nolint:gosec // G304: a golden file of this test
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got; -update rewrites it)\n%s", diff)
			}
		})
	}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// shown writes blocks for people.
func shown(t *testing.T, blocks []slack.Block) string {
	t.Helper()
	var b strings.Builder
	for _, block := range blocks {
		switch block := block.(type) {
		case *slack.HeaderBlock:
			fmt.Fprintf(&b, "[header] %s\n", block.Text.Text)
		case *slack.SectionBlock:
			fmt.Fprintf(&b, "[section] %s\n", block.Text.Text)
		case *slack.ActionBlock:
			for _, e := range block.Elements.ElementSet {
				button := e.(*slack.ButtonBlockElement)
				fmt.Fprintf(&b, "[button %s] %s → %s\n", button.ActionID, button.Text.Text, button.URL)
			}
		case *slack.ContextBlock:
			for _, e := range block.ContextElements.Elements {
				fmt.Fprintf(&b, "[context] %s\n", e.(*slack.TextBlockObject).Text)
			}
		default:
			t.Errorf("a %T", block)
		}
	}
	return b.String()
}

// constants returns the string constants with a prefix that a file declares.
func constants(t *testing.T, path, prefix string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			all[spec.Names[0].Name] = value
		}
		return true
	})
	return all
}

// Every situation has words, a message in the tests and a paragraph in the runbook,
// and every guard has words.
func TestEverySituationHasWords(t *testing.T) {
	t.Parallel()
	runbook, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for name := range messages {
		told[describe(message(t, name)).situation] = true
	}
	all := constants(t, "../internal/incident/incident.go", "Situation")
	if len(all) < 20 {
		t.Fatalf("%d situations", len(all))
	}
	for name, situation := range all {
		w, ok := situations[situation]
		if !ok || w.icon == "" || w.what == "" || w.next == "" && situation != incident.SituationNotRebooted {
			t.Errorf("%s has no words", name)
		}
		if !told[situation] {
			t.Errorf("%s has no message in the tests", name)
		}
		if !bytes.Contains(runbook, []byte("`"+situation+"`")) {
			t.Errorf("%s is not in RUNBOOK.md", name)
		}
	}
	if len(situations) != len(all) {
		t.Errorf("words of %d situations, there are %d", len(situations), len(all))
	}
	names := constants(t, "../internal/policy/guard.go", "Guard")
	if len(names) < 10 || len(names) != len(guards) {
		t.Errorf("words of %d guards, there are %d", len(guards), len(names))
	}
	for name, guard := range names {
		if w := guards[guard]; w.why == "" || w.next == "" {
			t.Errorf("%s has no words", name)
		}
		if !bytes.Contains(runbook, []byte("`"+guard+"`")) {
			t.Errorf("%s is not in RUNBOOK.md", name)
		}
	}
}

// The first line is whole where it can be: what a phone shows of a notification says
// what is wrong, where, and what firstline did.
func TestFirstLine(t *testing.T) {
	t.Parallel()
	for name := range messages {
		m := message(t, name)
		r := describe(m)
		head := r.headline(limitTitle)
		if strings.ContainsAny(head, "{}") || r.reason == "" && strings.HasSuffix(head, "…") && name != "hostile" {
			t.Errorf("%s: %s", name, head)
		}
		if r.instance != "" && r.situation != incident.SituationNoIncident && m.Alert.Key == r.instance && !strings.Contains(head, r.instance) {
			t.Errorf("%s: the instance is not named: %s", name, head)
		}
		for _, title := range []string{head, r.slackBlocks()[0].(*slack.HeaderBlock).Text.Text, strings.SplitN(r.slackText(), "\n", 2)[0], pagerOf().alert(m).Message, pagerOf().note(m).Note, *(&snsTopic{}).compose(m).Subject} {
			title, _, _ = strings.Cut(title, "\n")
			title = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(title)
			if runes(title) > 120 {
				t.Errorf("%s: %d characters: %s", name, runes(title), title)
			}
		}
	}
}

// The same in the region with the longest name, whatever failed. What firstline did is
// never cut; only behind that is, beside a label or several checks that are unknown.
func TestFirstLineAtItsLongest(t *testing.T) {
	t.Parallel()
	named := func(check string, outcome incident.Outcome, kind incident.Kind) incident.Finding {
		return incident.Finding{Check: check, Outcome: outcome, Kind: kind}
	}
	looks := [][]incident.Finding{
		{named(incident.CheckURL, incident.Failed, ""), named(incident.CheckSSH, incident.Failed, "")},
		{named(incident.CheckRoute53, incident.Failed, ""), named(incident.CheckSSH, incident.Failed, "")},
		{named(incident.CheckURL, incident.Failed, ""), named(incident.CheckRoute53, incident.Failed, ""), named(incident.CheckSSH, incident.Failed, "")},
		{named(incident.CheckURL, incident.Passed, ""), named(incident.CheckRoute53, incident.Passed, ""), named(incident.CheckSSH, incident.Failed, "")},
		{named(incident.CheckURL, incident.Unknown, incident.Blind), named(incident.CheckSSH, incident.Unknown, incident.Blind)},
		{named(incident.CheckURL, incident.Unknown, incident.Contradicted), named(incident.CheckRoute53, incident.Unknown, incident.Blind), named(incident.CheckSSH, incident.Unknown, incident.Busy)},
		{named(incident.CheckURL, incident.Unknown, incident.Blind), named(incident.CheckRoute53, incident.Unknown, incident.Blind), named(incident.CheckSSH, incident.Unknown, incident.Blind)},
	}
	for situation := range situations {
		for n, findings := range looks {
			for guard := range guards {
				for _, label := range []string{"", dryLabel, "Nobody was paged: "} {
					m := about(KindPage, situation, func(_ *Message, inc *incident.Incident, dec *incident.Decision) {
						inc.Region, dec.Guard, dec.Findings, dec.Reason = "ap-northeast-1", guard, findings, ""
						if n > 3 {
							dec.Verdict, dec.Severity = incident.VerdictUnknown, incident.SeverityUnknown
						}
					})
					r := describe(m)
					r.label = label
					head, isCut := strings.CutSuffix(r.headline(limitTitle), "…")
					did := strings.Contains(head, "not rebooted") || strings.Contains(head, "nothing was done") || strings.Contains(head, "firstline's reboot")
					if isCut && (!did || label == "" && n <= 3) || situation == incident.SituationNotRebooted && !did {
						t.Errorf("%s, %s, look %d: %s", situation, guard, n, head)
					}
				}
			}
		}
	}
}

// Whoever is paged is told how to keep firstline away, and how to hand the instance back.
func TestPagesNameThePause(t *testing.T) {
	t.Parallel()
	const want = "firstline pause --region eu-west-1 --instance " + testInstance + " --until 1h"
	const handBack = "firstline handback --region eu-west-1 --instance " + testInstance
	for name := range messages {
		m := message(t, name)
		paged := m.Kind == KindPage && m.Incident.InstanceID != "" && name != "hostile"
		if got := strings.Contains(pagerOf().alert(m).Description, want); got != (paged || name == "note" || name == "pager-failed-slack") {
			t.Errorf("%s: pause named: %v", name, got)
		}
		isHandedOver := paged && name != "held-back" && name != "store" || name == "note" || name == "healthy-again" || name == "pager-failed-slack"
		if got := strings.Contains(pagerOf().alert(m).Description, handBack); got != isHandedOver {
			t.Errorf("%s: handback named: %v", name, got)
		}
	}
}

func TestNoSecretInMessages(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for name := range messages {
		m := message(t, name)
		m.Incident.Name, m.Deployment = "password="+secret, "token="+secret
		if a := m.Incident.Alarm; a != nil {
			a.Reason = "curl -u a:" + secret
		}
		if m.Incident.Event != nil {
			m.Incident.Event = json.RawMessage(`{"detail":{"alarmName":"password=` + secret + `","state":{"reason":"https://u:` + secret + `@h/"}}}`)
		}
		m.Incident.Caught = map[string]incident.Caught{"open": {Error: "token=" + secret, Cause: "DB_PASS: " + secret}, "page": {Cause: "password=" + secret}}
		if dec := m.Incident.Decision; dec != nil {
			dec.Reason, dec.PausedBy, dec.PausedUntil, dec.Unasked = "password="+secret, "password="+secret, 1, []string{"token=" + secret}
			for n := range dec.Findings {
				dec.Findings[n].Reason = "https://u:" + secret + "@host/"
			}
			for n := range dec.Reboots {
				dec.Reboots[n].Reason = "password=" + secret
			}
		}
		m.Alert.Why, m.Alert.Ended = "password="+secret, "password="+secret
		r := describe(m)
		text, err := json.Marshal([]any{
			pagerOf().alert(m), pagerOf().note(m), r.slackText(), r.slackBlocks(), (&pagerDuty{}).trigger(m), (&webhook{}).event(webhookNote, m),
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Index(text, []byte(secret)); n >= 0 {
			t.Errorf("%s: ...%s", name, text[max(0, n-100):n+len(secret)])
		}
	}
}

// At most ten members of a shared alert are named.
func TestMembers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "", 1: "i", 2: "i, i", 10: strings.TrimSuffix(strings.Repeat("i, ", 10), ", "), 12: strings.Repeat("i, ", 9) + "i and 2 more"} {
		if got := members(slices.Repeat([]string{"i"}, n)); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// Whatever an event holds, it can be told.
func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		``, `null`, `7`, `"text"`, `[1,2]`, `{}`, `{"detail":7}`, `{"detail":{"alarmName":{},"configuration":{"metrics":{}}},"resources":"x","region":[]}`,
		`{"detail":{"configuration":{"metrics":[7,{"metricStat":{"metric":{"dimensions":{"InstanceId":"rm -rf"}}}}]}}}`, "{\"detail\":{\"alarmName\":\"\xff<!here>\"}}", `{`,
	} {
		m := event(raw)
		checkLimits(t, m)
		m.Incident.Decision = nil
		checkLimits(t, m)
		checkLimits(t, Message{Kind: KindPage, Incident: &incident.Incident{Event: json.RawMessage(raw)}})
	}
}

// checkLimits renders a message for every channel, and holds it against what the
// services refuse.
func checkLimits(t *testing.T, m Message) {
	t.Helper()
	r := describe(m)
	if faults := slackFaults(r.slackText(), r.slackBlocks()); len(faults) > 0 {
		t.Errorf("Slack would refuse: %v", faults)
	}
	a := pagerOf().alert(m)
	if a.Alias == "" {
		a.Alias = "the service's own"
	}
	if faults := alertFaults(a); len(faults) > 0 {
		t.Errorf("OpsGenie would refuse: %v", faults)
	}
	if faults := noteFaults(pagerOf().note(m)); len(faults) > 0 {
		t.Errorf("OpsGenie would refuse the note: %v", faults)
	}
	if faults := snsFaults((&snsTopic{TopicARN: testTopic}).compose(m)); len(faults) > 0 {
		t.Errorf("SNS would refuse: %v", faults)
	}
	e := (&pagerDuty{pagerDutySettings: pagerDutySettings{Severity: "critical", SeverityUnknown: "error"}}).trigger(m)
	if e.RoutingKey = testRoutingKey; e.DedupKey == "" {
		e.DedupKey = "PagerDuty's own"
	}
	if faults := pagerDutyFaults(e); len(faults) > 0 {
		t.Errorf("PagerDuty would refuse: %v", faults)
	}
	if faults := webhookFaults(t, (&webhook{}).event(webhookFiring, m)); len(faults) > 0 {
		t.Errorf("webhook.schema.json refuses: %v", faults)
	}
}

// Whatever an incident holds, the limits of all channels are kept.
func FuzzMessage(f *testing.F) {
	f.Add(testInstance, "reason", "<!channel>", incident.SituationAttention, `{"errorMessage":"no"}`, []byte(`{"detail":{"alarmName":"a"}}`), 2)
	f.Add("", "", "\xff", "", "", []byte(`"text"`), 0)
	f.Add(testInstance, "reason", "eu-west-1", incident.SituationHeldBack, "--help", []byte(nil), 13)
	f.Add("i", "reason", "eu-west-1", incident.SituationStore, "cause", []byte(nil), 5)
	kinds := []Kind{KindPage, KindNote, KindResolve, KindSlack, KindTest}
	names := slices.Sorted(maps.Keys(messages))
	f.Fuzz(func(t *testing.T, id, reason, name, situation, cause string, event []byte, n int) {
		n &= 0xffff
		m := messages[names[n%len(names)]]()
		m.Kind = kinds[n%len(kinds)]
		inc := m.Incident
		inc.InstanceID, inc.Name, inc.Region, inc.AccountID, inc.Event = id, name, name, reason, event
		inc.Alarm = &incident.Alarm{Name: name, ARN: cause, Reason: reason, Metric: situation}
		inc.Caught = map[string]incident.Caught{"open": {Error: reason, Cause: cause}, situation: {Error: name, Cause: cause}}
		inc.Execution.Name, inc.Execution.ID = cause, name
		m.Deployment = name
		m.Alert = incident.AlertRef{Key: name, Alias: cause, Ended: reason, Why: cause, ReplacedBy: situation, Members: slices.Repeat([]string{name}, n%30)}
		if inc.Decision != nil {
			inc.Decision.Situation, inc.Decision.Reason, inc.Decision.Guard = situation, reason, name
			inc.Decision.Findings = append(inc.Decision.Findings, incident.Finding{Check: name, Outcome: incident.Outcome(cause), Reason: reason})
		}
		checkLimits(t, m)
	})
}

func TestJoin(t *testing.T) {
	t.Parallel()
	lines := []string{"one", "two", "three"}
	for limit, want := range map[int]string{100: "one\ntwo\nthree", 13: "one\ntwo\nthree", 12: "one\ntwo\nthr…", 3: "on…"} {
		if got := join(lines, limit); got != want {
			t.Errorf("join to %d = %q, want %q", limit, got, want)
		}
	}
}
