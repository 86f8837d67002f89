package test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firstline/test/testbed"
)

// withoutRegions is a copy of the root without the regions' modules and providers:
// its variables and its settings are left, and no provider has to be started. It
// believes that regions.tf has eu-west-1.
func withoutRegions(t *testing.T) string {
	t.Helper()
	dir := terraformCopy(t, "eu-west-1")
	for name, text := range map[string]string{
		"regions.tf":  "locals {\n  available_regions = [\"eu-west-1\"]\n}\n",
		"versions.tf": "terraform {\n  required_version = \">= 1.11\"\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRootRefuses plans with what an operator may get wrong: the plan fails and
// says what would be right. TestRolloutRefuses shows that a plan of the whole root
// fails then, before anything is touched.
func TestRootRefuses(t *testing.T) {
	t.Parallel()
	dir := withoutRegions(t)
	program, env := terraformTool(t)
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...) //nolint:gosec // Terraform, with fixed words
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("init", "-input=false", "-no-color"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	good := map[string]any{
		"regions":     map[string]any{"eu-west-1": map[string]any{"instances": map[string]any{"i-0c1cbf2e7abdedf75": map[string]any{}}}},
		"slack":       map[string]any{"channel_id": "C0123456789"},
		"opsgenie":    map[string]any{},
		"subscribers": []any{},
		"function":    map[string]any{"package": "main.tf"},
	}
	for _, tt := range []struct {
		name string
		set  map[string]any
		want []string
	}{
		{"nothing is wrong", nil, nil},
		{"no region", map[string]any{"regions": map[string]any{}}, []string{"name at least one region"}},
		{
			"a region that regions.tf lacks",
			map[string]any{"regions": map[string]any{"eu-south-1": map[string]any{"instances": map[string]any{}}}},
			[]string{"firstline regions --add eu-south-1"},
		},
		{"no package", map[string]any{"function": map[string]any{"package": "nowhere.zip"}}, []string{"make build"}},
		{"no subscribers", map[string]any{"subscribers": nil}, []string{"subscribers"}},
		{"nobody to tell", map[string]any{"slack": nil, "opsgenie": nil, "pagers": nil}, []string{"pass pagers = [] explicitly"}},
		{
			// modules/settings has a test per rule; here all of them come out of
			// one plan of the root.
			"settings",
			map[string]any{
				"defaults": map[string]any{"ssh": map[string]any{"prot": 22}},
				"regions": map[string]any{"eu-west-1": map[string]any{"instances": map[string]any{
					"i-1":        map[string]any{},
					"i-00000001": map[string]any{"urls": map[string]any{}},
					"i-00000002": map[string]any{"url": map[string]any{"pth": "/"}},
					"i-00000003": map[string]any{"url": map[string]any{"address": "ftp://example.com/"}},
					"i-00000004": map[string]any{"url": map[string]any{"body_pattern": "("}},
					"i-00000005": map[string]any{"ssh": map[string]any{"port": 70000}},
					"i-00000006": map[string]any{"ssh": map[string]any{"attempts": 10, "timeout_seconds": 30}},
					"i-00000007": map[string]any{"url": map[string]any{"private": true}},
					"i-00000008": map[string]any{"ssh": map[string]any{"address_family": "ipv6"}},
					"i-00000009": map[string]any{"url": map[string]any{"headers": map[string]any{"Authorization": "Bearer x"}}},
					"i-0000000a": map[string]any{"confirm_seconds": 601, "reboot": map[string]any{"on": "ssh"}, "boot": map[string]any{"interval_seconds": 9}},
				}}},
				"pagers":    []any{"opsgenie", "jms"},
				"opsgenie":  map[string]any{"responders": []any{map[string]any{"type": "team"}}},
				"jsm":       map[string]any{"endpoint": "eu"},
				"sns":       map[string]any{"topic": "x"},
				"breaker":   map[string]any{"in_flight": -1},
				"reconcile": map[string]any{"every_minutes": 11},
			},
			[]string{
				"prot is not known", "i-1", "i-00000001: urls is not known", "i-00000002: url.pth is not known", "i-00000003: url.address",
				"i-00000004: url.body_pattern", "i-00000005: ssh.port = 70000", "i-00000006: ssh", "i-00000007: url.private",
				"i-00000008: ssh.address_family", "url.secret_headers",
				`pagers: "jms" is not known`, "opsgenie.responders: number 1", "jsm.endpoint", "sns.topic is not known",
				"i-0000000a: confirm_seconds = 601", "i-0000000a: reboot.on", "i-0000000a: boot.interval_seconds = 9", "breaker.in_flight = -1", "reconcile.every_minutes = 11",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			variables := maps.Clone(good)
			maps.Copy(variables, tt.set)
			raw, err := json.Marshal(variables)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, testbed.VarFile), raw, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := run("plan", "-input=false", "-no-color")
			if failed := err != nil; failed != (len(tt.want) > 0) {
				t.Fatalf("%v\n%s", err, out)
			}
			// Terraform wraps its messages to the width of a terminal.
			said := strings.Join(strings.Fields(strings.ReplaceAll(out, "│", " ")), " ")
			for _, want := range tt.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "terraform.tfstate")); err == nil {
		t.Error("a plan that failed wrote a state")
	}
}
