package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firstline/internal/regions"
	"firstline/internal/toolchain"
	"firstline/test/testbed"
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

// terraformCopy is a copy of the root and its modules, so that nothing is written
// beside the source. It has a few regions: each costs Terraform a process.
func terraformCopy(t *testing.T, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "terraform")
	if err := testbed.CopyTerraform(dir, filepath.Join(root(t), "terraform")); err != nil {
		t.Fatal(err)
	}
	text, err := regions.Render(names)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "regions.tf"), text, 0o600); err != nil { //nolint:gosec // below a folder of our own
		t.Fatal(err)
	}
	return dir
}

// runs returns a function that runs Terraform in a folder.
func runs(t *testing.T, dir string) func(t *testing.T, args ...string) string {
	t.Helper()
	program, env := terraformTool(t)
	if err := testbed.PinProvider(dir); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...) //nolint:gosec // Terraform, with fixed words
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}

// TestTerraformIsValid validates the root, and so every module, without their tests,
// with all regions that it comes with. With -short it has one of them.
func TestTerraformIsValid(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile(filepath.Join(root(t), "terraform", "regions.tf"))
	if err != nil {
		t.Fatal(err)
	}
	names := regions.Read(committed)
	if testing.Short() {
		names = names[:1]
	}
	dir := terraformCopy(t, names...)
	// It has everybody take the provider that is tested, until they choose another.
	lock, err := os.ReadFile(filepath.Join(root(t), "terraform", ".terraform.lock.hcl"))
	if err != nil || !strings.Contains(string(lock), `version     = "`+toolchain.ProviderVersion+`"`) {
		t.Errorf("the lock file does not name the provider %s: %v", toolchain.ProviderVersion, err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".terraform.lock.hcl"), lock, 0o600); err != nil { //nolint:gosec // below a folder of our own
		t.Fatal(err)
	}
	run := runs(t, dir)
	run(t, "init", "-backend=false", "-no-color", "-input=false", "-lockfile=readonly")
	var result struct {
		Warnings []struct{ Summary, Detail string } `json:"diagnostics"`
	}
	if out := run(t, "validate", "-json", "-no-tests"); json.Unmarshal([]byte(out), &result) != nil || len(result.Warnings) > 0 {
		t.Errorf("terraform validate: %s", out)
	}
}

// deprecated is what later versions of the AWS provider that terraform/versions.tf
// allows have deprecated of the kinds of resources that are used here
// (https://github.com/hashicorp/terraform-provider-aws/blob/main/CHANGELOG.md).
var deprecated = map[string]string{
	`data\.aws_region\.\w+\.(id|name)\b`:      "id (6.47) and name (6.0) of aws_region: region, which 5.x lacks, so modules/region takes either",
	`\bexpected_bucket_owner\b`:               "of the S3 bucket's parts (6.31)",
	`\bglobal_secondary_index\b`:              "hash_key and range_key of one (6.29); 5.x lacks key_schema. Those of the table are not deprecated",
	`\b(inline_policy|managed_policy_arns)\b`: "of aws_iam_role (5.x): resources of their own",
	`\boverwrite\b`:                           "of aws_ssm_parameter (5.x)",
	`aws_s3_bucket\.\w+\.region\b`:            "of aws_s3_bucket (6.0): bucket_region",

	`"aws_cloudwatch_event_rule" "\w+" \{(\n|\n  .*)*\n  is_enabled\b`: "of aws_cloudwatch_event_rule (5.x): state",
}

func TestTerraformUsesNothingDeprecated(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"*.tf", "modules/*/*.tf"} {
		found, err := filepath.Glob(filepath.Join(root(t), "terraform", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 20 {
		t.Fatalf("found %d files", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // of the repository
		if err != nil {
			t.Fatal(err)
		}
		code := regexp.MustCompile(`(?m)(^|\s)#.*$`).ReplaceAllString(string(text), "")
		for form, what := range deprecated {
			if found := regexp.MustCompile(form).FindString(code); found != "" {
				t.Errorf("%s uses %s: deprecated %s", file, found, what)
			}
		}
	}
}

// TestTerraform runs `terraform test` in the root and in every module.
func TestTerraform(t *testing.T) {
	t.Parallel()
	// Those that the root's tests ask about.
	dir := terraformCopy(t, "eu-west-1", "eu-west-2", "us-west-2")
	modules, err := filepath.Glob(filepath.Join(dir, "modules", "*"))
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]func(t *testing.T, args ...string) string{}
	for _, module := range append(modules, dir) {
		// It writes into the folder, and the root's run reads all of them.
		in[module] = runs(t, module)
	}
	for module, run := range in {
		name := filepath.Base(module)
		if module == dir {
			name = "root"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, "init", "-backend=false", "-no-color", "-input=false")
			out := run(t, "test", "-no-color")
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
