package tfvars

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/toolchain"
)

// folder writes files into a folder of their own.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const one = `regions = { "eu-west-1" = { instances = { "i-01234567" = {} } } }` + "\n"

func TestLoad(t *testing.T) {
	dir := folder(t, map[string]string{"r.tfvars": `
		name = "pager"
		regions = {
			"us-east-1" = { instances = { "i-b" = { url = { path = "/x" } }, "i-a" = {} }, vpc = {} }
			"eu-west-1" = { instances = {} }
			eu-west-2   = { instances = null }
			"eu-west-3" = {}
		}
		function = { architecture = "x86_64" }
	`})
	v, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"eu-west-1", "eu-west-2", "eu-west-3", "us-east-1"}, v.Regions()); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"i-a", "i-b"}, v.Instances("us-east-1")); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	for _, name := range []string{"eu-west-1", "eu-west-2", "eu-west-3", "nowhere"} {
		if ids := v.Instances(name); len(ids) > 0 {
			t.Errorf("%s: %v, want none", name, ids)
		}
	}
	for name, want := range map[string]string{"eu-west-2": filepath.Join(dir, "r.tfvars") + ":6", "nowhere": ""} {
		if got := v.Where(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if v.Name() != "pager" || len(v.Secrets()) > 0 {
		t.Errorf("%q, %v", v.Name(), v.Secrets())
	}
	if want := filepath.Join(filepath.Dir(dir), "build", "responder-x86_64.zip"); v.Package() != want {
		t.Errorf("got %s, want %s", v.Package(), want)
	}
}

func TestPackage(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for set, want := range map[string]string{
		``:                            "build/responder-arm64.zip",
		`function = {}`:               "build/responder-arm64.zip",
		`function = null`:             "build/responder-arm64.zip",
		`function = { package = "" }`: "build/responder-arm64.zip",
		`function = { package = null, architecture = null }`: "build/responder-arm64.zip",
		`function = { architecture = "amd64" }`:              "build/responder-arm64.zip",
		`function = { architecture = "x86_64" }`:             "build/responder-x86_64.zip",
		`function = { package = "../out/f.zip" }`:            "out/f.zip",
		`function = { package = "f.zip", x = 1 }`:            "terraform/f.zip",
		`function = { package = "/srv/f.zip" }`:              "/srv/f.zip",
		`function = { package = "~/f.zip" }`:                 filepath.Join(home, "f.zip"),
		`function = { package = "~f.zip" }`:                  "terraform/~f.zip",
	} {
		dir := folder(t, map[string]string{"terraform/terraform.tfvars": one + set})
		if !filepath.IsAbs(want) {
			want = filepath.Join(dir, want)
		}
		v, err := Load(filepath.Join(dir, "terraform"), nil, nil)
		if err != nil || v.Package() != want {
			t.Errorf("%s: got %s, %v; want %s", set, v.Package(), err, want)
		}
	}
}

// TestPrecedence also asks Terraform itself, whose word it is.
func TestPrecedence(t *testing.T) {
	terraform, err := toolchain.Toolchain{Build: "../../build", Log: t.Output()}.Terraform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const root = `
		variable "regions" { type = any }
		variable "function" {
			type    = any
			default = {}
		}
		variable "name" {
			type    = string
			default = "firstline"
		}
	`
	set := func(name string) string { return `name = "` + name + `"` + "\n" }
	for _, tt := range []struct {
		name    string
		files   map[string]string
		args    []string
		environ []string
		want    string
	}{
		{"default", nil, nil, nil, "firstline"},
		{"environment", nil, nil, []string{"TF_VAR_name=env", "TF_VAR_nowhere=x"}, "env"},
		{"environment, as it is", nil, nil, []string{"TF_VAR_name=\"env\" = ["}, `"env" = [`},
		{"environment, empty", nil, nil, []string{"TF_VAR_name="}, ""},
		{"terraform.tfvars", map[string]string{"terraform.tfvars": set("own")}, nil, []string{"TF_VAR_name=env"}, "own"},
		{"terraform.tfvars.json", map[string]string{"terraform.tfvars": set("own"), "terraform.tfvars.json": `{"name": "json"}`}, nil, nil, "json"},
		{"auto", map[string]string{"terraform.tfvars.json": `{"name": "json"}`, "a.auto.tfvars": set("auto")}, nil, nil, "auto"},
		{"auto, in lexical order", map[string]string{"b.auto.tfvars.json": `{"name": "b"}`, "a.auto.tfvars": set("a"), "B.auto.tfvars": set("B")}, nil, nil, "b"},
		{"auto, JSON is no later kind", map[string]string{"a.auto.tfvars.json": `{"name": "a"}`, "b.auto.tfvars": set("b")}, nil, nil, "b"},
		{"auto, of the root's folder only", map[string]string{"sub/a.auto.tfvars": set("sub"), "other.tfvars": set("other")}, nil, nil, "firstline"},
		{"files", map[string]string{"z.auto.tfvars": set("auto"), "1": set("1"), "2.json": `{"name": "2"}`}, []string{"2.json", "1"}, []string{"TF_VAR_name=env"}, "1"},
		{"files, the last", map[string]string{"1": set("1"), "2.json": `{"//": "note", "name": "2"}`}, []string{"1", "2.json"}, nil, "2"},
		{"what loses is not evaluated", map[string]string{"1": "name = nowhere\n", "2": set("2")}, []string{"1", "2"}, nil, "2"},
		{"a number", map[string]string{"1": "name = 7\n"}, []string{"1"}, nil, "7"},
		{"JSON is literal", map[string]string{"1.json": `{"name": "$${x}"}`}, []string{"1.json"}, nil, "$${x}"},
		{"an expression", map[string]string{"1": `name = 1 == 2 ? "x" : "a${"b"}"` + "\n"}, []string{"1"}, nil, "ab"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, tt.files)
			if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(root), 0o600); err != nil {
				t.Fatal(err)
			}
			environ := append([]string{`TF_VAR_regions={ eu-west-1 = { instances = {} } }`, `TF_VAR_function={ package = "f.zip" }`}, tt.environ...)
			args := []string{"console"}
			var files []string
			for _, a := range tt.args {
				files = append(files, filepath.Join(dir, a))
				args = append(args, "-var-file="+a)
			}
			v, err := Load(dir, files, environ)
			if err != nil {
				t.Fatal(err)
			}
			if v.Name() != tt.want {
				t.Errorf("got %q, want %q", v.Name(), tt.want)
			}
			cmd := exec.CommandContext(t.Context(), terraform, args...)
			cmd.Dir = dir
			// Nothing of the caller's own, which may hold TF_VAR_ too.
			cmd.Env = append([]string{"HOME=" + t.TempDir(), "CHECKPOINT_DISABLE=1"}, environ...)
			cmd.Stdin = strings.NewReader("base64encode(jsonencode([var.name, keys(var.regions), var.function.package]))\n")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s%s", err, out, &stderr)
			}
			var says []any
			if err := json.Unmarshal(decoded(t, string(out)), &says); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			mine := []any{v.Name(), []any{v.Regions()[0]}, strings.TrimPrefix(v.Package(), dir+"/")}
			if diff := cmp.Diff(says, mine); diff != "" {
				t.Errorf("(-Terraform +Load):\n%s", diff)
			}
		})
	}
}

// decoded decodes what terraform console prints of a base64 string.
func decoded(t *testing.T, out string) []byte {
	t.Helper()
	var raw []byte
	if err := json.Unmarshal([]byte(strings.TrimSpace(out)), &raw); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return raw
}

func TestNever(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                       nil,
		"breaker = null":                         nil,
		"breaker = []":                           nil,
		"breaker = { in_flight = null }":         nil,
		"breaker = { in_flight = 1, typo = 0 }":  nil,
		`breaker = { in_flight = "none" }`:       nil,
		"breaker = { in_flight = -1 }":           nil,
		"breaker = { in_flight = 0 }":            {"in_flight"},
		`breaker = { per_hour = "0" }`:           {"per_hour"},
		"breaker = { per_hour = 0, in_flight=0}": {"in_flight", "per_hour"},
	} {
		dir := folder(t, map[string]string{"r.tfvars": one + text})
		v, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, v.Never()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	dir := folder(t, map[string]string{"r.tfvars": one})
	v, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, []string{"TF_VAR_breaker={in_flight=0}"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"in_flight"}, v.Never()); diff != "" {
		t.Errorf("of the environment (-want +got):\n%s", diff)
	}
	if _, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, []string{"TF_VAR_breaker={"}); err == nil || !strings.Contains(err.Error(), "TF_VAR_breaker") {
		t.Errorf("got %v, want an error that names the variable", err)
	}
}

func TestPagers(t *testing.T) {
	settings, err := os.ReadFile("../../terraform/modules/settings/main.tf")
	if want := `pager_types = ["` + strings.Join(pagerTypes, `", "`) + "\"]\n"; err != nil || !strings.Contains(string(settings), want) {
		t.Errorf("modules/settings has another order or other pagers than %s (%v)", want, err)
	}
	for text, want := range map[string][]string{
		"":              nil,
		"pagers = null": nil,
		"sns = {}\njsm = null\nopsgenie = { endpoint = \"eu\" }": {"opsgenie", "sns"},
		"webhook = { url = \"x\" }\npagerduty = {}":              {"pagerduty", "webhook"},
		"pagers = [\"sns\"]\nopsgenie = {}":                      {"sns"},
		`pagers = ["sns", "jsm"]`:                                {"sns", "jsm"},
		`pagers = ["jsm", null, {}, "jsm"]`:                      {"jsm", "jsm"},
		`pagers = "jsm"`:                                         nil,
		"pagers = []":                                            nil,
		`pagers = { first = "jsm", b = "x"}`:                     {"x", "jsm"},
	} {
		dir := folder(t, map[string]string{"r.tfvars": one + text})
		v, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, v.Pagers()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	dir := folder(t, map[string]string{"r.tfvars": one})
	v, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, []string{`TF_VAR_pagers=["jsm"]`})
	if diff := cmp.Diff([]string{"jsm"}, v.Pagers()); diff != "" || err != nil {
		t.Errorf("of the environment: %v (-want +got):\n%s", err, diff)
	}
	if _, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, []string{"TF_VAR_pagers=["}); err == nil || !strings.Contains(err.Error(), "TF_VAR_pagers") {
		t.Errorf("got %v, want an error that names the variable", err)
	}
}

func TestSlack(t *testing.T) {
	for text, want := range map[string]bool{"": false, "slack = null": false, `slack = { channel_id = "C0123456789" }`: true} {
		dir := folder(t, map[string]string{"r.tfvars": one + text})
		v, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, nil)
		if err != nil || v.Slack() != want {
			t.Errorf("%s: %v, %v, want %v", text, v.Slack(), err, want)
		}
	}
}

func TestSecretsInFiles(t *testing.T) {
	dir := declaring(t, map[string]string{
		"terraform.tfvars": one + "slack_token = \"xoxb-1\"\nopsgenie_api_key = null\n",
		"a.auto.tfvars":    "opsgenie_api_key = not-even-quoted\n",
		"last.tfvars":      "slack_token = null\nheartbeat_url = \"k\"\n",
	})
	v, err := Load(dir, []string{filepath.Join(dir, "last.tfvars")}, []string{"TF_VAR_slack_token=xoxb-2"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"slack_token": filepath.Join(dir, "terraform.tfvars") + ":2", "opsgenie_api_key": filepath.Join(dir, "a.auto.tfvars") + ":1", "heartbeat_url": filepath.Join(dir, "last.tfvars") + ":2"}
	if diff := cmp.Diff(want, v.Secrets()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"r.json", "", "DIR/r.json:1: "},
		{"r.json", `{"regions": {"eu-west-1": {}`, "DIR/r.json:1: "},
		{"r.json", `"regions"`, "DIR/r.json:1: "},
		{"r.tfvars", "\n\nregions = {\n", "DIR/r.tfvars:4: "},
		{"r.tfvars", "regions = { eu-west-1 = {} }\nname = \"x\n", "DIR/r.tfvars:2: "},
		{"r.tfvars", one + one, "DIR/r.tfvars:2: Attribute redefined: "},
		{"r.tfvars", "\nregions {\n}\n", `DIR/r.tfvars:2: regions is written as a block; a var file sets values: write regions = { ... }`},
		{"r.tfvars", "variable \"regions\" {\n}\n", "DIR/r.tfvars:1: a variable is declared here; a var file sets values: write name = value"},
		{"r.tfvars", "regions = var.x\n", "DIR/r.tfvars:1: Variables not allowed: "},
		{"r.tfvars", "regions = {\n  a = upper(\"x\")\n}\n", "DIR/r.tfvars:2: Function calls not allowed: "},
		{"r.tfvars", "regions = [\"eu-west-1\"]\n", `DIR/r.tfvars:1: regions is a list; want { "eu-west-1" = { instances = {`},
		{"r.tfvars", "regions = \"eu-west-1\"\n", "DIR/r.tfvars:1: regions is a string; want {"},
		{"r.tfvars", "regions = null\n", "DIR/r.tfvars:1: regions is null; want {"},
		{"r.tfvars", "regions = {}\n", "DIR/r.tfvars:1: regions names no region; want {"},
		{"r.tfvars", "regions = {\n  eu-west-1 = [\"i-01234567\"]\n}\n", `DIR/r.tfvars:2: regions["eu-west-1"] is a list; want { instances = {`},
		{"r.tfvars", "regions = {\n  eu-west-1 = null\n}\n", `DIR/r.tfvars:2: regions["eu-west-1"] is null; want {`},
		{"r.tfvars", "regions = {\n  eu-west-1 = { instances = true }\n}\n", `DIR/r.tfvars:2: regions["eu-west-1"].instances is true or false; want { "i-`},
		{"r.json", "{\"regions\": {\n\"eu-west-1\": {\"instances\": [\"i-0\"]}}}", `DIR/r.json:2: regions["eu-west-1"].instances is a list; want { "i-`},
		{"r.tfvars", "regions = {\n  eu-west-1 = {}\n  \"eu-west-1\" = {}\n}\n", `DIR/r.tfvars:3: region "eu-west-1" is named a second time, after line 2; Terraform would take the second alone: make them one`},
		{"r.tfvars", "regions = {\n  eu-west-1 = { instances = {\n i-a = {}\n i-a = {} } }\n}\n", `DIR/r.tfvars:4: instance "i-a" is named a second time, after line 3;`},
		{"r.tfvars", one + "name = null\n", `DIR/r.tfvars:2: name is null; want a string, such as "firstline"`},
		{"r.tfvars", one + "name = [1]\n", `DIR/r.tfvars:2: name is a list; want a string`},
		{"r.tfvars", one + "function = { package = nowhere }\n", "DIR/r.tfvars:2: Variables not allowed: "},
		{"r.tfvars", "\xff", "DIR/r.tfvars:1: "},
	} {
		dir := folder(t, map[string]string{tt.name: tt.text})
		_, err := Load(dir, []string{filepath.Join(dir, tt.name)}, nil)
		want := strings.ReplaceAll(tt.want, "DIR", dir)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q:\n got %v\nwant %s", tt.text, err, want)
		}
	}
}

func TestLoadRefusesEnvironment(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"":                      "TF_VAR_regions:1: ",
		"{ eu-west-1 = ":        "TF_VAR_regions:1: ",
		"eu-west-1":             "TF_VAR_regions:1: Variables not allowed",
		`"eu-west-1"`:           "TF_VAR_regions: regions is a string; want {",
		"{ eu-west-1 = [] }":    `TF_VAR_regions: regions["eu-west-1"] is a list; want {`,
		"{ a = {}\n a = {}\n }": `TF_VAR_regions:2: region "a" is named a second time`,
	} {
		if _, err := Load(dir, nil, []string{"TF_VAR_regions=" + text}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestLoadRefusesPaths(t *testing.T) {
	dir := folder(t, map[string]string{"r.tfvars": one, "sub/x": "", "auto/x.auto.tfvars/y": ""})
	for _, tt := range []struct{ dir, file, want string }{
		{"", "nowhere.tfvars", "DIR/nowhere.tfvars: there is no such var file"},
		{"", "sub", "DIR/sub is a folder: name a var file in it"},
		{"", "r.tfvars/x", "DIR/r.tfvars/x: not a directory"},
		{"nowhere", "r.tfvars", "DIR/nowhere: no such file or directory: name the folder of the Terraform root"},
		{"auto", "r.tfvars", "DIR/auto/x.auto.tfvars is a folder"},
	} {
		_, err := Load(filepath.Join(dir, tt.dir), []string{filepath.Join(dir, tt.file)}, nil)
		if want := strings.ReplaceAll(tt.want, "DIR", dir); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", tt.file, err, want)
		}
	}
}

func TestPathsAreOfTheWorkingDirectory(t *testing.T) {
	dir := folder(t, map[string]string{"r.tfvars": one, "terraform/main.tf": ""})
	t.Chdir(dir)
	v, err := Load("terraform", []string{"r.tfvars"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.Where("eu-west-1") != "r.tfvars:1" || v.Package() != "build/responder-arm64.zip" {
		t.Errorf("%s, %s", v.Where("eu-west-1"), v.Package())
	}
}

func TestNamed(t *testing.T) {
	dir := folder(t, map[string]string{"r.tfvars": "regions = {\n  us-east-1 = {}\n  \"eu-wset-1\" = {}\n}\n", "other.tfvars": "name = \"x\"\n", "bad.tfvars": "regions = []\n"})
	r := filepath.Join(dir, "r.tfvars")
	for file, want := range map[string]map[string]string{"r.tfvars": {"us-east-1": r + ":2", "eu-wset-1": r + ":3"}, "other.tfvars": nil} {
		got, err := Named(dir, filepath.Join(dir, file))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
	for _, file := range []string{"bad.tfvars", "nowhere.tfvars"} {
		if _, err := Named(dir, filepath.Join(dir, file)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// declaring returns a folder with the root's own variables, and the given files.
func declaring(t *testing.T, files map[string]string) string {
	t.Helper()
	variables, err := os.ReadFile("../../terraform/variables.tf")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"variables.tf": string(variables)}
	maps.Copy(all, files)
	return folder(t, all)
}

// TestUnknownVariables: Terraform warns of a misspelt name and goes on without the
// setting, so that instances are rebooted that were to be left alone.
func TestUnknownVariables(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"r.tfvars", "default = { reboot = { dry_run = true } }\n", "DIR/r.tfvars:1: there is no variable default; did you mean defaults?"},
		{"r.tfvars", "\nbrakes = {}\npager = []\n", "DIR/r.tfvars:2: there is no variable brakes; did you mean breaker?; DIR/r.tfvars:3: there is no variable pager; did you mean pagers?"},
		{"terraform.tfvars", "Slack = {}\n", "DIR/terraform.tfvars:1: there is no variable Slack; did you mean slack?"},
		{"a.auto.tfvars.json", "{\"//\": \"ours\",\n\"defualts\": {}}", "DIR/a.auto.tfvars.json:2: there is no variable defualts; did you mean defaults?"},
		{"r.tfvars", "vpc = {}\n", "DIR/r.tfvars:1: there is no variable vpc; there are breaker, defaults, function, heartbeat, jsm, max_retries, "},
		{"TF_VAR_default", "{}", "TF_VAR_default: there is no variable default; did you mean TF_VAR_defaults? If it is meant for something else, unset it here"},
		{"TF_VAR_slack_tokn", "xoxb-1", "TF_VAR_slack_tokn: there is no variable slack_tokn; did you mean TF_VAR_slack_token?"},
		{"TF_VAR_environment", "production", ""}, // another root's
		{"TF_VAR_env", "x", ""},
	} {
		files, environ := map[string]string{"r.tfvars": one, "extra.tf.json": `{"variable": {"own": {}}}`}, []string{}
		if strings.HasPrefix(tt.name, envPrefix) {
			environ = append(environ, tt.name+"="+tt.text)
		} else {
			files[tt.name] = tt.text
		}
		dir := declaring(t, files)
		want := strings.ReplaceAll(tt.want, "DIR", dir)
		_, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, environ)
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.HasPrefix(got, want) && want != "" || strings.Contains(got, tt.text) {
			t.Errorf("%s: %s\n got %v\nwant %s", tt.name, tt.text, err, want)
		}
		if _, err := Named(dir, filepath.Join(dir, tt.name)); files[tt.name] != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("Named: got %v, want %s", err, want)
		}
	}
	dir := declaring(t, map[string]string{"r.tfvars": one + "own = 1\n", "extra.tf.json": `{"variable": {"own": {}}}`})
	if _, err := Load(dir, []string{filepath.Join(dir, "r.tfvars")}, nil); err != nil {
		t.Errorf("a variable that the operator has added: %v", err)
	}
}

func TestMissing(t *testing.T) {
	const (
		noRegions     = `regions is not set: add regions = { "eu-west-1" = { instances = { "i-0123456789abcdef0" = {} } } }`
		noSubscribers = `subscribers is not set: add subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }], or [] to tell nobody when firstline itself fails`
		noSlack       = `slack is not set: add slack = { channel_id = "C0123456789" }, or a pager by its block (opsgenie, jsm, pagerduty, webhook, sns), or pagers = [] to tell nobody`
	)
	for _, tt := range []struct{ name, text, env, want string }{
		{"r.tfvars", one + "subscribers = []\nsns = {}\n", "", ""},
		{"r.tfvars", one + "subscribers = []\npagers = []\n", "", ""},
		{"r.tfvars", one + "slack = {}\npagers = []\n", "subscribers=[]", ""},
		{"r.tfvars", one + "slack = {}\npagers = []\n", "", "DIR/r.tfvars: " + noSubscribers},
		{"r.tfvars", one + "slack = {}\npagers = []\nsubscribers = null\n", "", "DIR/r.tfvars: " + noSubscribers},
		{"r.tfvars", one + "slack = {}\nsubscribers = []\n", "", ""},
		{"r.tfvars", one + "pagers = null\nsubscribers = []\n", "", "DIR/r.tfvars: " + noSlack},
		{"r.tfvars", "", "", "DIR/r.tfvars: these are not set:\n  - " + noRegions + "\n  - " + noSubscribers + "\n  - " + noSlack},
		{"terraform.tfvars", "name = \"x\"\nsns = {}\nsubscribers = []\n", "", "DIR/terraform.tfvars: " + noRegions},
		{"r.json", `{"sns": {}, "subscribers": []}`, "", `DIR/r.json: regions is not set: add "regions": {"eu-west-1":{"instances":{"i-0123456789abcdef0":{}}}}`},
		{"", "", "", "there is no var file: pass one with --var-file (terraform/examples has some to copy), or write DIR/terraform.tfvars"},
		{"", "", "regions={ eu-west-1 = {} }", noSubscribers + "; " + noSlack},
	} {
		files, args := map[string]string{}, []string{}
		if tt.name != "" {
			files[tt.name] = tt.text
		}
		dir := declaring(t, files)
		if strings.HasPrefix(tt.name, "r.") {
			args = append(args, filepath.Join(dir, tt.name))
		}
		v, err := Load(dir, args, []string{envPrefix + tt.env})
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		got := ""
		if err := v.Missing(); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(strings.ReplaceAll(tt.want, "DIR", dir), got); diff != "" {
			t.Errorf("%s %q (-want +got):\n%s", tt.name, tt.text, diff)
		}
	}
}

// TestExamples holds that the examples that operators copy can be read, and that
// nothing is missing there.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../terraform/examples/*.tfvars")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		v, err := Load(declaring(t, nil), []string{file}, nil)
		if err != nil {
			t.Error(err)
		} else if err := v.Missing(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("../../terraform/examples/production.tfvars")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example, false)
	f.Add([]byte(`{"regions": {"eu-west-1": {"instances": {"i-0": {}}}}, "name": 1, "function": {"package": "x"}}`), true)
	f.Add([]byte("regions = { (true ? \"a\" : null) = {}, a = { for k in [] : k => k } }\nname = \"${1}\"\n"), false)
	f.Add([]byte("regions = { for k, v in { a = {} } : k => v... }\nslack_token = 1\n"), false)
	f.Fuzz(func(t *testing.T, src []byte, isJSON bool) {
		path := "f.tfvars"
		if isJSON {
			path = "f.json"
		}
		l := loader{vars: map[string]variable{}, secrets: map[string]string{}}
		err := l.add(path, src)
		if err == nil {
			_, err = l.name()
		}
		if err == nil {
			_, err = l.pkg(".")
		}
		var found map[string]region
		if err == nil {
			found, err = l.regions()
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		v := Vars{regions: found}
		if !slices.IsSorted(v.Regions()) || len(found) == 0 {
			t.Errorf("%v", v.Regions())
		}
		for _, name := range slices.Collect(maps.Keys(found)) {
			if v.Where(name) == "" {
				t.Errorf("%q is nowhere", name)
			}
		}
	})
}
