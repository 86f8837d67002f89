package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/regions"
	"firstline/internal/toolchain"
)

// regionsFile writes a regions.tf and returns its path.
func regionsFile(t *testing.T, names ...string) string {
	t.Helper()
	text, err := regions.Render(names)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, t.TempDir(), "regions.tf", string(text))
}

// write writes a file below a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // below the test's folder
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isolate takes the caller's Terraform settings out of the environment, which
// say where a state lies.
func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{"TF_CLI_CONFIG_FILE", "TF_WORKSPACE", "TF_DATA_DIR", "TF_CLI_ARGS", "TF_CLI_ARGS_state_pull"} {
		t.Setenv(name, "")
	}
}

// stateOf is a state that holds a resource in each of these regions.
func stateOf(names ...string) string {
	var resources []string
	for _, name := range names {
		resources = append(resources, fmt.Sprintf(`{"module": "module.%s[0].module.function", "mode": "managed", "type": "aws_iam_role", "name": "this",
			"provider": "provider[\"registry.terraform.io/hashicorp/aws\"].%[1]s", "instances": [{"schema_version": 0, "attributes": {"id": "x"}}]}`, name))
	}
	return fmt.Sprintf(`{"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "0e4b2d5e-1f0a-4d7c-9d57-2f1f4fd3b1f0", "outputs": {}, "resources": [%s]}`, strings.Join(resources, ", "))
}

func TestRegions(t *testing.T) {
	isolate(t)
	for _, tt := range []struct {
		name, args string
		held       []string // nil: no file
		code       int
		want       []string
		says       string
	}{
		{"only", "--only us-east-1,eu-west-1", []string{"eu-west-2"}, exitOK, []string{"eu-west-1", "us-east-1"}, "written, 2 regions"},
		{"only, twice", "--only us-east-1 --only us-east-1", []string{"us-east-1"}, exitOK, []string{"us-east-1"}, "unchanged, 1 region:"},
		{"add", "--add eu-west-1", []string{"eu-west-2"}, exitOK, []string{"eu-west-1", "eu-west-2"}, "written, 2 regions: eu-west-1 eu-west-2\n"},
		{"add one that is not enabled by default", "--add eu-south-1", []string{"eu-west-2"}, exitOK, []string{"eu-south-1", "eu-west-2"}, "warning: eu-south-1 is not enabled by default: enable it"},
		{"add one that AWS has just opened", "--add eu-west-9", []string{"eu-west-2"}, exitOK, []string{"eu-west-2", "eu-west-9"}, "warning: eu-west-9 is not known to this version"},
		{"neither", "", []string{"eu-south-1"}, exitOK, append(regions.Default(), "eu-south-1"), "written, 18 regions"},
		{"no file", "", nil, exitOK, regions.Default(), "written, 17 regions"},
		{"check", "--check", []string{"eu-south-1"}, exitOK, []string{"eu-south-1"}, "unchanged, 1 region:"},
		{"check without a file", "--check", nil, exitFailed, nil, "regions.tf does not exist"},
		{"from", "--from DIR/two.tfvars", []string{"eu-west-2"}, exitOK, []string{"me-south-1", "us-east-1"}, "written, 2 regions"},
		{"from several", "--from DIR/two.tfvars --from DIR/none.tfvars --from DIR/one.json", []string{"eu-west-2"}, exitOK, []string{"ca-west-1", "me-south-1", "us-east-1"}, "written, 3 regions"},
		{"from and add", "--from DIR/one.json --add us-west-1,ca-west-1", []string{"eu-west-2"}, exitOK, []string{"ca-west-1", "us-west-1"}, "written, 2 regions"},
		{"from, no file", "--from DIR/one.json", nil, exitOK, []string{"ca-west-1"}, "written, 1 region:"},
		{"check from", "--check --from DIR/one.json --from DIR/two.tfvars", []string{"ca-west-1", "eu-west-2", "me-south-1", "us-east-1"}, exitOK, []string{"ca-west-1", "eu-west-2", "me-south-1", "us-east-1"}, "unchanged, 4 regions"},
		{
			"check from, not covered", "--check --from DIR/two.tfvars --from DIR/one.json",
			[]string{"us-east-1"},
			exitFailed,
			[]string{"us-east-1"},
			"regions.tf lacks ca-west-1 (DIR/one.json:1), me-south-1 (DIR/two.tfvars:3): run `firstline regions --add ca-west-1,me-south-1` and commit the file",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "regions.tf")
			if tt.held != nil {
				file = regionsFile(t, tt.held...)
			}
			dir := t.TempDir()
			write(t, dir, "two.tfvars", "regions = {\n  us-east-1 = {}\n  me-south-1 = {}\n}\n")
			write(t, dir, "one.json", `{"regions": {"ca-west-1": {"instances": {}}}}`)
			write(t, dir, "none.tfvars", "name = \"x\"\n")
			args := strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))
			code, stdout, stderr := command(t, append([]string{"regions", "--dir", filepath.Dir(file)}, args...)...)
			if says := strings.ReplaceAll(tt.says, "DIR", dir); code != tt.code || !strings.Contains(stdout+stderr, says) {
				t.Errorf("%d, want %d and %q:\n%s%s", code, tt.code, says, stdout, stderr)
			}
			if tt.want == nil {
				return
			}
			want := slices.Sorted(slices.Values(tt.want))
			if diff := cmp.Diff(want, regions.Read([]byte(read(t, file)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegionsUsageErrors(t *testing.T) {
	file := regionsFile(t, "eu-west-1")
	dir := t.TempDir()
	write(t, dir, "none.tfvars", "name = \"x\"\n")
	write(t, dir, "wrong.tfvars", "regions = {\n  eu-west-1 = {}\n  eu-wset-2 = {}\n}\n")
	write(t, dir, "gov.json", "{\"regions\": {\n\"us-gov-west-1\": {}}}")
	write(t, dir, "broken.tfvars", "regions = {\n")
	for _, tt := range []struct{ args, want string }{
		{"--only eu-west-1 --add eu-west-2", "--only and --add do not go together"},
		{"--only eu-west-1 --from DIR/none.tfvars", "--only and --from do not go together"},
		{"--check --only eu-west-1", "--check and --only do not go together"},
		{"--check --add eu-west-1", "--check and --add do not go together"},
		{"--only eu-wset-1", "did you mean eu-west-1?"},
		{"--only cn-north-1", `"cn-north-1" is a region of the partition aws-cn; firstline was built for the partition aws`},
		{"--add eusouth-1", "did you mean eu-south-1?"},
		{"--only=", "--only: name at least one region"},
		{"--add=", "--add: name at least one region"},
		{"--from=", "--from: name a var file, such as regions.tfvars"},
		{"--from DIR/nowhere.tfvars", "DIR/nowhere.tfvars: there is no such var file"},
		{"--check --from DIR/nowhere.tfvars", "DIR/nowhere.tfvars: there is no such var file"},
		{"--from DIR", "DIR is a folder"},
		{"--from DIR/broken.tfvars", "DIR/broken.tfvars:2: "},
		{"--from DIR/none.tfvars", "DIR/none.tfvars: sets no regions; name the var file that does with --from"},
		{"--from DIR/wrong.tfvars", `DIR/wrong.tfvars:3: "eu-wset-2" is not the name of an AWS region; did you mean eu-west-2?`},
		{"--check --from DIR/gov.json", `DIR/gov.json:2: "us-gov-west-1" is a region of the partition aws-us-gov`},
		{"--dir DIR/nowhere", "--dir: there is no folder DIR/nowhere"},
	} {
		before := read(t, file)
		args := append([]string{"regions", "--dir", filepath.Dir(file)}, strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))...)
		code, stdout, stderr := command(t, args...)
		if want := strings.ReplaceAll(tt.want, "DIR", dir); code != exitUsage || !strings.Contains(stderr, want) || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("firstline %s: %d, want 2 and %q:\n%s%s", tt.args, code, want, stdout, stderr)
		}
		if read(t, file) != before {
			t.Errorf("firstline %s changed the file", tt.args)
		}
	}
}

func TestRegionsCheckFails(t *testing.T) {
	file := regionsFile(t, "eu-west-1")
	edited := read(t, file)
	for text, want := range map[string]string{
		edited + "# by hand\n": "is not what this command writes",
		"":                     "holds no region",
		strings.ReplaceAll(edited, "eu-west-1", "eu-wset-1"): `: "eu-wset-1" is not the name of an AWS region; did you mean eu-west-1?`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, "regions", "--check", "--dir", filepath.Dir(file))
		if code != exitFailed || !strings.Contains(stderr, file) || !strings.Contains(stderr, want) {
			t.Errorf("%d, want 1 and %q: %s", code, want, stderr)
		}
		if read(t, file) != text {
			t.Error("--check changed the file")
		}
	}
}

func TestRegionsJSON(t *testing.T) {
	isolate(t)
	file := regionsFile(t, "eu-west-1", "eu-west-3")
	write(t, filepath.Dir(file), "terraform.tfstate", stateOf("eu-west-1"))
	for _, tt := range []struct {
		args []string
		want map[string]any
	}{
		{[]string{"--add", "eu-west-2"}, map[string]any{"changed": true, "regions": []any{"eu-west-1", "eu-west-2", "eu-west-3"}, "kept": []any{}}},
		{[]string{"--only", "eu-west-2"}, map[string]any{"changed": true, "regions": []any{"eu-west-1", "eu-west-2"}, "kept": []any{"eu-west-1"}}},
		{[]string{"--only", "eu-west-2"}, map[string]any{"changed": false, "regions": []any{"eu-west-1", "eu-west-2"}, "kept": []any{"eu-west-1"}}},
		{[]string{"--check"}, map[string]any{"changed": false, "regions": []any{"eu-west-1", "eu-west-2"}, "kept": []any{}}},
	} {
		code, stdout, stderr := command(t, append([]string{"regions", "--json", "--dir", filepath.Dir(file)}, tt.args...)...)
		var got map[string]any
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitOK {
			t.Fatalf("%v: %d, %v: %s%s", tt.args, code, err, stdout, stderr)
		}
		tt.want["command"], tt.want["file"] = "regions", file
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestRegionsKeepsWhatTheStateHolds(t *testing.T) {
	const (
		kept = " is kept: the state still holds it; take it out of the var file and apply first, then run this again\n"
		both = "eu-west-1, eu-west-2 are kept: the state still holds them; take them out of the var file and apply first, then run this again\n"
	)
	for _, tt := range []struct {
		name, args string
		held       []string // nil: no file
		files, env map[string]string
		want       []string
		says       string
	}{
		{"one", "--only eu-west-3", []string{"eu-west-1", "eu-west-2"}, map[string]string{"terraform.tfstate": stateOf("eu-west-2")}, nil, []string{"eu-west-2", "eu-west-3"}, "\neu-west-2" + kept},
		{"two", "--from one.tfvars", []string{"eu-west-1", "eu-west-2"}, map[string]string{"terraform.tfstate": stateOf("eu-west-2", "eu-west-1")}, nil, []string{"eu-west-1", "eu-west-2", "eu-west-3"}, both},
		{"opt-in", "--only eu-west-3", []string{"eu-south-1", "eu-west-3"}, map[string]string{"terraform.tfstate": stateOf("eu-south-1")}, nil, []string{"eu-south-1", "eu-west-3"}, "unchanged, 2 regions: eu-south-1 eu-west-3\neu-south-1" + kept},
		{"those that stay are not mentioned", "--only eu-west-3", []string{"eu-west-1", "eu-west-3"}, map[string]string{"terraform.tfstate": stateOf("eu-west-3")}, nil, []string{"eu-west-3"}, "1 region: eu-west-3\n"},
		{"destroyed", "--only eu-west-3", []string{"eu-west-1"}, map[string]string{"terraform.tfstate": stateOf()}, nil, []string{"eu-west-3"}, "1 region: eu-west-3\n"},
		{"the file is gone", "--only eu-west-3", nil, map[string]string{"terraform.tfstate": stateOf("eu-south-1")}, nil, []string{"eu-south-1", "eu-west-3"}, "eu-south-1" + kept},
		{"the file is gone, all regions", "", nil, map[string]string{"terraform.tfstate": stateOf("eu-south-1")}, nil, append(regions.Default(), "eu-south-1"), "eu-south-1" + kept},
		{
			"selected workspace", "--only eu-west-3",
			[]string{"eu-west-1", "eu-west-2"},
			map[string]string{"terraform.tfstate": stateOf("eu-west-1"), ".terraform/environment": "blue", "terraform.tfstate.d/blue/terraform.tfstate": stateOf("eu-west-2")},
			nil,
			[]string{"eu-west-2", "eu-west-3"},
			"eu-west-2" + kept,
		},
		{
			"workspace of the environment", "--only eu-west-3",
			[]string{"eu-west-1", "eu-west-2"},
			map[string]string{"terraform.tfstate": stateOf("eu-west-2"), ".terraform/environment": "blue", "terraform.tfstate.d/green/terraform.tfstate": stateOf("eu-west-1")},
			map[string]string{"TF_WORKSPACE": "green"},
			[]string{"eu-west-1", "eu-west-3"},
			"eu-west-1" + kept,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			file := filepath.Join(t.TempDir(), "regions.tf")
			if tt.held != nil {
				file = regionsFile(t, tt.held...)
			}
			for name, text := range tt.files {
				write(t, filepath.Dir(file), name, text)
			}
			from := write(t, t.TempDir(), "one.tfvars", "regions = { eu-west-3 = {} }\n")
			args := strings.Fields(strings.ReplaceAll(tt.args, "one.tfvars", from))
			code, stdout, stderr := command(t, append([]string{"regions", "--dir", filepath.Dir(file)}, args...)...)
			if code != exitOK || !strings.HasSuffix(stdout, tt.says) || stderr != "" {
				t.Errorf("%d, want 0 and %q:\n%s%s", code, tt.says, stdout, stderr)
			}
			want := slices.Sorted(slices.Values(tt.want))
			if diff := cmp.Diff(want, regions.Read([]byte(read(t, file)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegionsDropsNothingBlindly(t *testing.T) {
	const backend = "terraform {\n  backend \"s3\" {}\n}\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"backend", map[string]string{"backend.tf": backend}, "DIR/backend.tf:2 keeps it in the backend \"s3\", which is not initialised: run `terraform init` in DIR first"},
		{"initialised without its backend", map[string]string{"backend.tf": backend, ".terraform/modules/modules.json": "{}"}, "DIR/backend.tf:2 keeps it in the backend \"s3\", which is not initialised: run `terraform init` in DIR first"},
		{"no state", map[string]string{"terraform.tfstate": "<<<<<<<"}, "DIR/terraform.tfstate: no Terraform state: invalid character"},
		{"a state of long ago", map[string]string{"terraform.tfstate": `{"version": 3}`}, "DIR/terraform.tfstate: a state of format version 3, but 4"},
		{"a configuration that does not parse", map[string]string{"x.tf": "\nterraform {\n"}, "DIR/x.tf:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			file := regionsFile(t, "eu-west-1", "eu-west-2")
			dir := filepath.Dir(file)
			for name, text := range tt.files {
				write(t, dir, name, text)
			}
			before := read(t, file)
			code, stdout, stderr := command(t, "regions", "--only", "eu-west-1", "--dir", filepath.Dir(file))
			want := "firstline: no region is dropped from " + file + ": cannot find out which regions the state still holds: " + strings.ReplaceAll(tt.want, "DIR", dir)
			if code != exitFailed || stdout != "" || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%d, want 1 and\n%s\ngot\n%s%s", code, want, stdout, stderr)
			}
			if read(t, file) != before {
				t.Error("the file was changed")
			}
			// Neither of these drops anything, so neither asks.
			for _, args := range []string{"--check", "--add eu-west-3", ""} {
				if code, _, stderr := command(t, append([]string{"regions", "--dir", filepath.Dir(file)}, strings.Fields(args)...)...); code != exitOK {
					t.Errorf("%s: %d, want 0: %s", args, code, stderr)
				}
			}
		})
	}
}

// TestRegionsAsksTerraform has Terraform itself bring the state of a backend.
func TestRegionsAsksTerraform(t *testing.T) {
	isolate(t)
	tools := toolchain.Toolchain{Build: "../../build", Log: t.Output()}
	terraform, err := tools.Terraform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	backend := write(t, dir, "backend.tf", "terraform {\n  backend \"local\" {\n    path          = \"kept/one.tfstate\"\n    workspace_dir = \"kept\"\n  }\n}\n")
	do := func(name string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), terraform, name, "-no-color") //nolint:gosec // the Terraform that was found
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("terraform %s: %v\n%s", name, err, out)
		}
	}
	// Without a provider, nothing is fetched. To read a state, Terraform wants the
	// backend and the modules, but no provider.
	do("init")
	text, err := regions.Render([]string{"eu-west-1", "eu-west-2", "eu-west-3"})
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, dir, "regions.tf", string(text))
	write(t, dir, "modules/region/main.tf", "")
	fails := func(t *testing.T, want string) {
		t.Helper()
		code, stdout, stderr := command(t, "regions", "--only", "eu-west-1", "--dir", filepath.Dir(file))
		want = "terraform state pull in " + dir + ": " + want + ": run `terraform init` there, or give the credentials of its backend\n"
		if code != exitFailed || stdout != "" || !strings.HasSuffix(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%d, want 1 and %q:\n%s%s", code, want, stdout, stderr)
		}
		if read(t, file) != string(text) {
			t.Error("the file was changed")
		}
	}
	t.Run("the modules are not there", func(t *testing.T) {
		fails(t, `Module not installed: This module is not yet installed. Run "terraform init" to install all modules required by this configuration`)
	})
	do("get")
	write(t, dir, "kept/one.tfstate", stateOf("eu-west-2"))
	write(t, dir, "kept/green/terraform.tfstate", stateOf("eu-west-3"))

	t.Run("the backend is another", func(t *testing.T) {
		before := read(t, backend)
		write(t, dir, "backend.tf", strings.ReplaceAll(before, "kept/one", "other"))
		t.Cleanup(func() { write(t, dir, "backend.tf", before) })
		fails(t, `Backend initialization required: please run "terraform init": Reason: Backend configuration block has changed`)
	})
	// One after the other: each finds what the one before has left.
	for _, tt := range []struct {
		name, workspace string
		want            []string
	}{
		{"workspace of the environment", "green", []string{"eu-west-1", "eu-west-3"}},
		{"selected workspace", "", []string{"eu-west-1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TF_WORKSPACE", tt.workspace)
			code, stdout, stderr := command(t, "regions", "--only", "eu-west-1", "--dir", filepath.Dir(file))
			if diff := cmp.Diff(tt.want, regions.Read([]byte(read(t, file)))); code != exitOK || diff != "" {
				t.Errorf("%d, want 0 (-want +got):\n%s\n%s%s", code, diff, stdout, stderr)
			}
		})
	}
}

func TestGist(t *testing.T) {
	for stderr, want := range map[string]string{
		"":                          "",
		"Killed\n":                  "",
		"Error: no such workspace.": "no such workspace",
		"\nWarning: old\n\nsome text\n\nError: No valid sources\nfound\n\nPlease see the\nmanual.\n\nMore.\n\nError: another\n": "No valid sources found: Please see the manual",
		"Error: Module not installed\n\n  on regions.tf line 9:\n   9: module \"x\" {\n\nRun init.\n":                           "Module not installed: Run init",
	} {
		if got := gist(stderr); got != want {
			t.Errorf("%q: got %q, want %q", stderr, got, want)
		}
	}
}
