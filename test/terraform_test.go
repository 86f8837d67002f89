package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firstline/internal/regions"
	"firstline/internal/stage"
	"firstline/internal/toolchain"
)

// terraformTool returns the Terraform to use and its environment.
func terraformTool(t *testing.T) (program string, env []string) {
	t.Helper()
	tools := toolchain.Toolchain{Build: filepath.Join(root(t), "build"), Log: testLog{t}}
	program, err := tools.Terraform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config, err := tools.CLIConfig()
	if err != nil {
		t.Fatal(err)
	}
	// No account, and no way to one: every provider of these tests is a mock.
	return program, append(os.Environ(), "TF_CLI_CONFIG_FILE="+config, "CHECKPOINT_DISABLE=1", "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED=true")
}

// TestTerraform runs `terraform test` in the root and in every module.
func TestTerraform(t *testing.T) {
	program, env := terraformTool(t)
	// A copy, so that nothing is written beside the source.
	dir := t.TempDir()
	if err := stage.CopyTerraform(dir, filepath.Join(root(t), "terraform")); err != nil {
		t.Fatal(err)
	}
	// regions.tf is the operator's to cut; the root's tests mock the default.
	all, err := regions.Render(regions.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "regions.tf"), all, 0o600); err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob(filepath.Join(dir, "modules", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range append(modules, dir) {
		if err := stage.PinProvider(module); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(module)
		if module == dir {
			name = "root"
		}
		t.Run(name, func(t *testing.T) {
			tests, err := filepath.Glob(filepath.Join(module, "tests", "*.tftest.hcl"))
			if err != nil || len(tests) == 0 {
				t.Fatalf("%s has no tests (%v)", name, err)
			}
			run := func(args ...string) string {
				t.Helper()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // Terraform, with fixed words
				cmd.Dir, cmd.Env = module, env
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
				}
				return string(out)
			}
			run("init", "-backend=false", "-no-color", "-input=false")
			run("validate", "-no-color")
			out := run("test", "-no-color")
			m := regexp.MustCompile(`Success! ([0-9]+) passed, 0 failed`).FindStringSubmatch(out)
			if m == nil || m[1] == "0" {
				t.Fatalf("terraform test ran nothing:\n%s", out)
			}
			t.Logf("%s: %s runs passed", name, m[1])
		})
	}
}

// The tables of terraform/README.md are what operators work with: a setting that
// they lack does not exist for them.
func TestREADMENamesEverySetting(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root(t), "terraform", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile(filepath.Join(root(t), "terraform", "modules", "settings", "schema.tf"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"pagers"} // the only setting that is no section
	section := ""
	for line := range strings.SplitSeq(string(schema), "\n") {
		if m := regexp.MustCompile(`^    (?:""|(\w+)) = \{$`).FindStringSubmatch(line); m != nil {
			section = m[1]
		}
		m := regexp.MustCompile(`^    (  )?(\w+) += \{ kind`).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := strings.TrimPrefix(section+"."+m[2], ".")
		// Four spaces in are the settings of an alert, which OpsGenie and Jira
		// Service Management share.
		if m[1] == "" || slices.Contains([]string{"slack", "opsgenie", "jsm", "function"}, section) {
			name = m[2]
		}
		names = append(names, name)
	}
	if len(names) < 40 {
		t.Fatalf("found %d settings in the schema: the test reads it wrongly", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("terraform/README.md does not name the setting %s", name)
		}
	}
}
