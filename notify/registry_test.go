package notify

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
)

const testPagers = `[
	{"type":"jsm","key_parameter":"/firstline/secrets/jsm-api-key"},
	{"type":"opsgenie","endpoint":"eu","key_parameter":"/firstline/secrets/opsgenie-api-key",
	 "responders":[{"type":"team","id":"t"},{"type":"user","username":"jo@example.com"},{"type":"schedule","name":"nights"}],
	 "priority":"P2","priority_unknown":"P4","tags":["shop"],"details":{"runbook":"https://example.com"},"entity":"shop","source":"eu"},
	{"type":"sns","topic_arn":"arn:aws:sns:eu-west-1:123456789012:on-call"},
	{"type":"pagerduty","endpoint":"us","key_parameter":"/firstline/secrets/pagerduty-routing-key","severity":"critical","severity_unknown":"error","group":"shop"},
	{"type":"webhook","url":"https://receiver.example/hook","key_parameter":"/firstline/secrets/webhook-secret"}
]`

func TestNew(t *testing.T) {
	t.Parallel()
	var read []string
	var region string
	f := &fakeSNS{t: t}
	pagers, err := New([]byte(testPagers), Deps{
		Secret: func(_ context.Context, parameter string, _ bool) (string, error) {
			read = append(read, parameter)
			return "", fault.New(fault.Denied, "read "+parameter, "AccessDenied")
		},
		SNS: func(r string) SNSPublisher { region = r; return f },
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pagers {
		names = append(names, p.Name())
	}
	if !slices.Equal(names, []string{"jsm", "opsgenie", "sns", "pagerduty", "webhook"}) {
		t.Fatalf("%q", names)
	}
	og := pagers[1].(*alertAPI)
	want := []map[string]string{{"type": "team", "id": "t"}, {"type": "user", "username": "jo@example.com"}, {"type": "schedule", "name": "nights"}}
	if diff := cmp.Diff(want, og.Responders); diff != "" {
		t.Errorf("responders (-want +got):\n%s", diff)
	}
	if og.Priority != "P2" || og.PriorityUnknown != "P4" || og.Entity != "shop" || og.Source != "eu" || !cmp.Equal(og.Tags, []string{"shop"}) || og.Details["runbook"] != "https://example.com" {
		t.Errorf("%+v", og)
	}
	// Each reads its own secret, and SNS is asked in the topic's region.
	for _, p := range slices.Concat(pagers[:2], pagers[3:]) {
		if _, err := p.Rehearse(t.Context(), message(t, "worse")); fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v", p.Name(), err)
		}
	}
	if diff := cmp.Diff([]string{"/firstline/secrets/jsm-api-key", "/firstline/secrets/opsgenie-api-key", "/firstline/secrets/pagerduty-routing-key", "/firstline/secrets/webhook-secret"}, read); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}

	if err := sent(t, pagers[2], message(t, "worse")); err != nil || region != "eu-west-1" {
		t.Errorf("SNS was asked in %q", region)
	}
	if got := Addresses([]byte(testPagers)); !slices.Equal(got, []string{jsm.urls[""], opsgenie.urls["eu"], pagerDutyURLs["us"]}) {
		t.Errorf("addresses %q", got)
	}
	if got := Addresses([]byte(`[{"type":"opsgenie","endpoint":"https://pager.example/a/"},{"type":"sns"}]`)); !slices.Equal(got, []string{"https://pager.example/a"}) {
		t.Errorf("addresses %q", got)
	}
	if got := Addresses(nil); got != nil {
		t.Errorf("addresses %q", got)
	}
}

func TestNewOfWrongSettings(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		``:                                       "decode JSON",
		`eu`:                                     "decode JSON",
		`{}`:                                     "cannot unmarshal object",
		`[{}]`:                                   `[0].type: "" is not a pager; use opsgenie, jsm, pagerduty, webhook, sns`,
		`[{"type":"sms"}]`:                       `[0].type: "sms" is not a pager`,
		`["opsgenie"]`:                           `[0].type: "" is not a pager`,
		`[null]`:                                 `[0].type: ""`,
		`[{"type":"opsgenie","priorty":"P1"}]`:   `[0]: decode JSON: json: unknown field "priorty"`,
		`[{"type":"opsgenie","priority":1}]`:     "[0]: decode JSON: json: cannot unmarshal number into Go struct field",
		`[{"type":"webhook","endpoint":"eu"}]`:   `[0]: decode JSON: json: unknown field "endpoint"`,
		`[{"type":"pagerduty","priority":"P1"}]`: `[0]: decode JSON: json: unknown field "priority"`,
		`[{"type":"sns","endpoint":"eu"}]`:       `[0]: decode JSON: json: unknown field "endpoint"`,
		`[{"type":"opsgenie"}] []`:               "data after the JSON value",
		`[{"type":"opsgenie","responders":["x"]}`: "decode JSON",
	} {
		pagers, err := New([]byte(config), Deps{})
		if pagers != nil || fault.KindOf(err) != fault.InvalidInput || !strings.Contains(err.Error(), "read FIRSTLINE_PAGERS: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", config, err, want)
		}
	}
	// Whoever has Slack alone has no pager.
	if pagers, err := New([]byte(`[]`), Deps{}); err != nil || len(pagers) != 0 {
		t.Errorf("%d pagers, %v", len(pagers), err)
	}
	// One that cannot work keeps nobody from the others.
	pagers, err := New([]byte(`[{"type":"opsgenie"},{"type":"jsm"}]`), Deps{Secret: func(context.Context, string, bool) (string, error) { return "", nil }})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"the OpsGenie API key is empty", "the Jira Service Management API key is empty"} {
		if _, err := pagers[n].Rehearse(t.Context(), message(t, "worse")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", pagers[n].Name(), err, want)
		}
	}
}

// What a pager can do, and that its entry has its name.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	for _, e := range registry {
		config := `{}`
		if e.Needs != "" {
			config = `{"` + e.Needs + `":"x"}`
		}
		p, err := e.pager([]byte(config), Deps{})
		if err != nil || p.Name() != e.Name || !cmp.Equal(p.Capabilities(), e.Can) {
			t.Errorf("%s: %v, %+v", e.Name, err, p)
		}
	}
}

// TestTypes holds README.md's table against the registry; -update rewrites it.
func TestTypes(t *testing.T) {
	t.Parallel()
	table := "| pager | Confirms | Readable | Notes | Resolvable | Deduplicates | Heartbeat | priorities | title | text |\n" + "|" + strings.Repeat("---|", 10) + "\n"
	word := map[bool]string{true: "yes", false: "no"}
	for _, e := range Types() {
		name := e.Title + " (`" + e.Name + "`)"
		if e.Needs != "" {
			name += " with `" + e.Needs + "`"
		}
		can, priorities := e.Can, "none"
		if can.Priorities != nil {
			priorities = strings.Join(can.Priorities, ", ")
		}
		table += fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %d | %d |\n", name, word[can.Confirms], word[can.Readable], word[can.Notes],
			word[can.Resolvable], word[can.Deduplicates], word[can.Heartbeat], priorities, can.Title, can.Text)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(readme), "-update -->\n")
	got, tail, found := strings.Cut(rest, "<!-- end of pagers -->")
	if !found {
		t.Fatal("README.md has no table of pagers")
	}
	if *update {
		got = table
		//nolint:gosec // G703: a file of this package
		if err := os.WriteFile("README.md", []byte(head+"-update -->\n"+table+"<!-- end of pagers -->"+tail), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(table, got); diff != "" {
		t.Errorf("(-registry +README.md; -update rewrites it)\n%s", diff)
	}
}
