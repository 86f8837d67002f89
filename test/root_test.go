package test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gruntwork-io/terratest/modules/terraform"

	"firstline/internal/artifact"
	"firstline/internal/stage"
)

// TestExampleDeploysAsItIs applies the root with every region it comes with,
// the example's var file and the zip that `make build` makes for real.
func TestExampleDeploysAsItIs(t *testing.T) {
	t.Parallel()
	w := world(t)
	dir := t.TempDir()
	if err := stage.CopyTerraform(filepath.Join(dir, "terraform"), filepath.Join(root(t), "terraform")); err != nil {
		t.Fatal(err)
	}
	if err := stage.PinProvider(filepath.Join(dir, "terraform")); err != nil {
		t.Fatal(err)
	}
	if _, err := artifact.Build(t.Context(), root(t), filepath.Join(dir, "build"), "arm64"); err != nil {
		t.Fatal(err)
	}
	options := terraformOptions(w, filepath.Join(dir, "terraform"))
	options.VarFiles = []string{"regions.example.tfvars"}
	terraform.InitAndApplyContext(t, t.Context(), options)
	if code := terraform.PlanExitCodeContext(t, t.Context(), options); code != 0 {
		t.Errorf("terraform plan -detailed-exitcode after it: %d, want 0", code)
	}
}

// TestRootRefuses plans with what an operator may get wrong: the plan fails
// before anything is touched, and says what would be right.
func TestRootRefuses(t *testing.T) {
	t.Parallel()
	w := world(t)
	good := w.Variables(nil)
	good["regions"] = map[string]any{"eu-west-1": map[string]any{"instances": map[string]any{"i-0c1cbf2e7abdedf75": map[string]any{}}}}
	dir, err := w.CopyRoot(good)
	if err != nil {
		t.Fatal(err)
	}
	options := terraformOptions(w, dir)
	terraform.InitContext(t, t.Context(), options)
	for _, tt := range []struct {
		name string
		set  map[string]any
		want []string
	}{
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
			// modules/settings has a test a rule; here all of them come out of
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
			if err := w.WriteVariables(dir, variables); err != nil {
				t.Fatal(err)
			}
			out, err := terraform.PlanContextE(t, t.Context(), options)
			if err == nil {
				t.Fatal("the plan did not fail")
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
