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
	w := world(t)
	instance := func(settings map[string]any) map[string]any {
		return map[string]any{"eu-west-1": map[string]any{"instances": map[string]any{"i-0c1cbf2e7abdedf75": settings}}}
	}
	good := w.Variables(nil)
	good["regions"] = instance(map[string]any{})
	dir, err := w.CopyRoot(good)
	if err != nil {
		t.Fatal(err)
	}
	options := terraformOptions(w, dir)
	terraform.InitContext(t, t.Context(), options)
	for _, tt := range []struct {
		name string
		set  map[string]any
		want string
	}{
		{"no region", map[string]any{"regions": map[string]any{}}, "name at least one region"},
		{"a region that regions.tf lacks", map[string]any{"regions": map[string]any{"eu-south-1": map[string]any{"instances": map[string]any{}}}}, "firstline regions --add eu-south-1"},
		{"a misspelt section", map[string]any{"regions": instance(map[string]any{"urls": map[string]any{}})}, "urls"},
		{"a misspelt setting", map[string]any{"regions": instance(map[string]any{"url": map[string]any{"pth": "/"}})}, "pth"},
		{"a misspelt default", map[string]any{"defaults": map[string]any{"ssh": map[string]any{"prot": 22}}}, "prot"},
		{"an instance id of the wrong form", map[string]any{"regions": map[string]any{"eu-west-1": map[string]any{"instances": map[string]any{"i-1": map[string]any{}}}}}, "i-1"},
		{"another scheme", map[string]any{"regions": instance(map[string]any{"url": map[string]any{"address": "ftp://example.com/"}})}, "http:// or https://"},
		{"a pattern that does not compile", map[string]any{"regions": instance(map[string]any{"url": map[string]any{"body_pattern": "("}})}, "body_pattern"},
		{"a port out of range", map[string]any{"regions": instance(map[string]any{"ssh": map[string]any{"port": 70000}})}, "1 to 65535"},
		{"a budget longer than the function's time", map[string]any{"regions": instance(map[string]any{"ssh": map[string]any{"attempts": 10, "timeout_seconds": 30}})}, "timeout_seconds"},
		{"private without a VPC", map[string]any{"regions": instance(map[string]any{"url": map[string]any{"private": true}})}, "vpc"},
		{"IPv6 without a VPC", map[string]any{"regions": instance(map[string]any{"ssh": map[string]any{"address_family": "ipv6"}})}, "vpc"},
		{"a secret in a header", map[string]any{"regions": instance(map[string]any{"url": map[string]any{"headers": map[string]any{"Authorization": "Bearer x"}}})}, "secret_headers"},
		{"no package", map[string]any{"function": map[string]any{"package": "nowhere.zip"}}, "make build"},
		{"no subscribers", map[string]any{"subscribers": nil}, "subscribers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			variables := maps.Clone(good)
			maps.Copy(variables, tt.set)
			if err := w.WriteVariables(dir, variables); err != nil {
				t.Fatal(err)
			}
			out, err := terraform.PlanContextE(t, t.Context(), options)
			// Terraform wraps its messages to the width of a terminal.
			said := strings.Join(strings.Fields(strings.ReplaceAll(out, "│", " ")), " ")
			if err == nil || !strings.Contains(said, tt.want) {
				t.Errorf("got %v, want an error with %q:\n%s", err, tt.want, out)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "terraform.tfstate")); err == nil {
		t.Error("a plan that failed wrote a state")
	}
}
