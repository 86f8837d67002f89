package rollout

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/tfvars"
)

// vars are variables that name Slack, regions, space-separated, and pagers: "" is
// OpsGenie alone.
func vars(t *testing.T, names, pagers string) tfvars.Vars {
	t.Helper()
	text := "regions = {\n"
	for name := range strings.FieldsSeq(names) {
		text += fmt.Sprintf("  %q = {}\n", name)
	}
	if pagers == "" {
		pagers = `["opsgenie"]`
	}
	text += "}\nslack = {}\npagers = " + pagers + "\n"
	file := filepath.Join(t.TempDir(), "r.tfvars")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := tfvars.Load(t.TempDir(), []string{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestWarnings: in the words of Terraform, which says them in a plain plan.
func TestWarnings(t *testing.T) {
	for text, want := range map[string][]string{
		"slack = {}\nbreaker = { in_flight = 1 }":                 nil,
		"sns = {}\nbreaker = { in_flight = 0 }":                   {"breaker: in_flight = 0: no instance is ever rebooted, somebody is paged instead. If that is not intended, use 1 to 1000."},
		"slack = {}\nbreaker = { in_flight = 0, per_hour = 0.0 }": {"breaker: in_flight = 0 and per_hour = 0: no instance is ever rebooted, somebody is paged instead. If that is not intended, use 1 to 1000."},
		"pagers = []": {"slack, pagers: there is no Slack and no pager, so nobody is told of an instance that is down. If that is not intended, set slack or a pager."},
	} {
		file := filepath.Join(t.TempDir(), "r.tfvars")
		if err := os.WriteFile(file, []byte(`regions = { "eu-west-1" = {} }`+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := held(t, "eu-west-1")
		var err error
		if r.vars, err = tfvars.Load(t.TempDir(), []string{file}, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.ownWarnings(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// TestWarns: Terraform's warnings are shown, each once, without those that come of
// what it was told to do.
func TestWarns(t *testing.T) {
	warning := func(summary, detail, address string) string {
		return fmt.Sprintf(`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":%q,"detail":%q,"address":%q}}`, summary, detail, address)
	}
	r := played(t, map[string][]string{
		"plan": {
			warning("Resource targeting is in effect", "You are creating a plan with the -target option", ""),
			warning("Check block assertion failed", "slack, pagers: there is no Slack and no pager, so nobody is told of an instance that is down. If that is not intended, set slack or a pager.", "check.channels"),
			warning("Deprecated attribute", "Use region.", inIreland), warning("Deprecated attribute", "Use region.", inIreland), warning("Deprecated attribute", "Use region.", inVirginia),
			planned("create", inIreland), "0",
		},
		"apply": {warning("Deprecated attribute", "Use region.", inVirginia), warning("Slow", "", ""), applied("create", inIreland), "0"},
	}, "eu-west-1", "us-east-1")
	var log bytes.Buffer
	r.o.Log = &log
	for range 2 {
		p, err := r.Plan(t.Context(), []string{"eu-west-1", "us-east-1"}, false)
		if err == nil {
			err = r.Apply(t.Context(), p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := `warning: slack, pagers: there is no Slack and no pager, so nobody is told of an instance that is down. If that is not intended, set slack or a pager.
warning: Deprecated attribute: Use region.
  with ` + inIreland + `
  and 1 more like it
warning: Slow
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWarnsOfOpsGenie: its API ends, and then nobody is paged any more.
func TestWarnsOfOpsGenie(t *testing.T) {
	for _, tt := range []struct{ pagers, now, want string }{
		{"", "2026-11-23", ""},
		{"", "2027-01-10", "OpsGenie's API ends on 2027-04-05: choose another pager"},
		{`["jsm", "opsgenie"]`, "2027-05-01", "OpsGenie's API has ended on 2027-04-05: choose another pager"},
		{`["jsm", "sns"]`, "2027-05-01", ""},
	} {
		r := held(t, "eu-west-1")
		r.vars = vars(t, "eu-west-1", tt.pagers)
		now, err := time.Parse(time.DateOnly, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(r.ownWarnings(now), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s at %s: got %q, want %q", tt.pagers, tt.now, got, tt.want)
		}
	}
}
