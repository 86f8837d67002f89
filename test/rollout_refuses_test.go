package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"firstline/test/localaws"
	"firstline/test/testbed"
)

// trial is one mistake of an operator's.
type trial struct {
	*operator
	t *testing.T
	// variables are those of the var file.
	variables map[string]any
	// args are what follows --dir and --var-file; the first is the command.
	args []string
	env  map[string]string
	// folder is the working directory.
	folder string
}

// fresh gives the trial a Terraform root of its own, with a state.
func (tr *trial) fresh(state string) {
	tr.operator = newOperator(tr.t, tr.Testbed, tr.variables)
	if err := os.WriteFile(filepath.Join(tr.dir, "terraform.tfstate"), []byte(state), 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

// noTerraform takes Terraform away, and the ways to get it: on PATH are the
// given programs only, and the build folder is empty.
func (tr *trial) noTerraform(programs map[string]string) {
	path := tr.t.TempDir()
	tr.folder = tr.t.TempDir()
	if err := os.WriteFile(filepath.Join(tr.folder, "go.mod"), []byte("module firstline\n"), 0o600); err != nil {
		tr.t.Fatal(err)
	}
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(path, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil { //nolint:gosec // a program
			tr.t.Fatal(err)
		}
	}
	// Nobody listens there.
	maps.Copy(tr.env, map[string]string{"PATH": path, "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "", "no_proxy": "", "https_proxy": ""})
}

// plansSecrets stands in for a Terraform whose plan creates the secrets of a region.
var plansSecrets = `case $1 in
version) echo '{"terraform_version": "1.11.4", "platform": "linux_amd64"}' ;;
plan) for secret in slack-token opsgenie-api-key; do
	echo '{"type":"planned_change","change":{"resource":{"addr":"module.` + first + `[0].module.function.aws_ssm_parameter.secret[\"'$secret'\"]"},"action":"create"}}'
done ;;
init) ;;
console) echo '"` + base64.StdEncoding.EncodeToString([]byte(`{"regions": {"`+first+`": {}}, "slack": {}, "pagers": [{"type": "opsgenie"}]}`)) + `"' ;;
show) echo '{"format_version": "1.2"}' ;;
*) echo "$@: what for?" >&2; exit 1 ;;
esac`

// stateOf is a state with one resource.
func stateOf(module, kind, name, arn string) string {
	raw, err := json.Marshal(map[string]any{
		"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "11111111-2222-3333-4444-555555555555", "outputs": map[string]any{},
		"resources": []any{map[string]any{
			"module": module, "mode": "managed", "type": kind, "name": name, "provider": `provider["registry.terraform.io/hashicorp/aws"].` + first,
			"instances": []any{map[string]any{"schema_version": 0, "attributes": map[string]any{"id": name, "arn": arn}}},
		}},
	})
	if err != nil {
		panic(err)
	}
	if module == "" {
		return strings.Replace(string(raw), `"module":"",`, "", 1)
	}
	return string(raw)
}

// reading matches the actions that change nothing.
var reading = regexp.MustCompile(`^(Get|Describe|List|Head|GET|HEAD|Validate)`)

// TestRolloutRefuses gives the command what an operator may get wrong: one line
// says what would be right, and nothing was touched.
func TestRolloutRefuses(t *testing.T) {
	t.Parallel()
	w := world(t)
	good := w.Variables(nil)
	watched, err := w.AWS.RunInstance(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	away, err := w.AWS.RunInstance(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	const nowhere = "i-0c1cbf2e7abdedf75"
	good["regions"] = map[string]any{first: map[string]any{"instances": map[string]any{watched: map[string]any{}}}}
	shared := newOperator(t, w, good)
	for _, tt := range []struct {
		name string
		// set makes the mistake.
		set func(*trial)
		// want must be in the line.
		want []string
	}{
		{"no var file", func(tr *trial) { tr.varFile = "nowhere.tfvars" }, []string{"nowhere.tfvars: there is no such var file", "--var-file"}},
		{"a var file that does not parse", func(tr *trial) {
			tr.varFile = filepath.Join(tr.t.TempDir(), "broken.tfvars")
			if err := os.WriteFile(tr.varFile, []byte("name = \"firstline\"\nregions = {\n"), 0o600); err != nil {
				tr.t.Fatal(err)
			}
		}, []string{"broken.tfvars:3: "}},
		{"regions that are none", func(tr *trial) { tr.variables["regions"] = "eu-west-1" }, []string{"ours.tfvars.json", "regions"}},
		{"no regions", func(tr *trial) { tr.variables["regions"] = map[string]any{} }, []string{"region"}},
		{"a region that is not in the file", func(tr *trial) { tr.args = append(tr.args, "--region", second) }, []string{"--region", second, first}},
		{"a region that does not exist", func(tr *trial) { tr.args = append(tr.args, "--region", "eu-wst-1") }, []string{"--region", "eu-wst-1", first}},
		{"a region left out that is not in the file", func(tr *trial) { tr.args = append(tr.args, "--exclude-region", second) }, []string{"--exclude-region", second, first}},
		{"a region that is both", func(tr *trial) { tr.args = append(tr.args, "--region", first, "--exclude-region", first) }, []string{first, "both --region and --exclude-region"}},
		{"no region left", func(tr *trial) { tr.args = append(tr.args, "--exclude-region", first) }, []string{"no region is left"}},
		{"a region that regions.tf lacks", func(tr *trial) {
			tr.variables["regions"] = map[string]any{"eu-south-1": map[string]any{"instances": map[string]any{}}}
		}, []string{"eu-south-1", "firstline regions --add eu-south-1"}},
		{"a region in the file that does not exist", func(tr *trial) {
			tr.variables["regions"] = map[string]any{"eu-wst-1": map[string]any{"instances": map[string]any{}}}
		}, []string{"eu-wst-1", first}},
		{"a block that is misspelt", func(tr *trial) { tr.variables["default"] = map[string]any{"reboot": map[string]any{"dry_run": true}} }, []string{"ours.tfvars.json:1: there is no variable default; did you mean defaults?"}},
		{"nobody to notify", func(tr *trial) { delete(tr.variables, "subscribers") }, []string{`ours.tfvars.json: subscribers is not set: add "subscribers": [{"endpoint":"oncall@example.com","protocol":"email"}]`}},
		{"a setting that does not exist", func(tr *trial) { tr.variables["defaults"] = map[string]any{"ssh": map[string]any{"prot": 22}} }, []string{"ssh.prot is not known"}},
		{"secrets in a var file", func(tr *trial) { tr.variables["slack_token"] = "xoxb-in-a-file" }, []string{"slack_token", "ours.tfvars.json", "TF_VAR_slack_token"}},
		{"secrets not set", func(tr *trial) { delete(tr.env, "TF_VAR_slack_token") }, []string{"TF_VAR_slack_token is not set", first}},
		{"a plan without secrets", func(tr *trial) { tr.args = []string{"plan"}; delete(tr.env, "TF_VAR_slack_token") }, []string{"TF_VAR_slack_token is not set", first}},
		{"all that is wrong with instances, settings and secrets at once", func(tr *trial) {
			delete(tr.env, "TF_VAR_opsgenie_api_key")
			tr.variables["regions"] = map[string]any{
				first: map[string]any{"instances": map[string]any{
					nowhere: map[string]any{}, away: map[string]any{"ssh": map[string]any{"prot": 22}}, "web-1": map[string]any{},
					watched: map[string]any{"url": map[string]any{"secret_headers": map[string]any{"Authorization": "/app/healthz/token"}}},
				}},
				second: map[string]any{"instances": map[string]any{away: map[string]any{}}},
			}
			tr.operator = newOperator(tr.t, tr.Testbed, tr.variables)
		}, []string{
			"refused for 7 reasons", "ssh.prot is not known", `"web-1" is not the id of an instance`, away + ": is named in " + first + " and " + second,
			nowhere + ": not in " + first + ", and in none of the regions", away + ": not in " + first + ", but in " + second + ": name it there",
			watched + ": url.secret_headers.Authorization: there is no SSM parameter /app/healthz/token in " + first, "TF_VAR_opsgenie_api_key is not set, and no value is stored in " + first + ", " + second,
		}},
		{"a zip that was not built", func(tr *trial) {
			tr.variables["function"] = map[string]any{"package": "nowhere.zip"}
		}, []string{"nowhere.zip", "make build"}},
		{"no root", func(tr *trial) {
			tr.operator = &operator{Testbed: tr.Testbed, dir: tr.t.TempDir(), varFile: tr.varFile}
		}, []string{"regions.tf", "--dir"}},
		{"no Terraform", func(tr *trial) { tr.noTerraform(nil) }, []string{"Terraform", "1.11", "PATH"}},
		{"a Terraform that is too old", func(tr *trial) {
			tr.noTerraform(map[string]string{"terraform": `echo '{"terraform_version": "1.5.7", "platform": "linux_amd64"}'`})
		}, []string{"Terraform", "1.5.7", "1.11", "PATH"}},
		{"the state of another project", func(tr *trial) {
			tr.fresh(stateOf("", "aws_instance", "web", "arn:aws:ec2:eu-west-1:"+localaws.AccountID+":instance/i-1"))
		}, []string{"not of this project", "aws_instance.web"}},
		{"a state that is none", func(tr *trial) { tr.fresh("<html>not found</html>") }, []string{"state"}},
		{"the state of another account", func(tr *trial) {
			tr.fresh(stateOf("module."+first+"[0].module.trigger", "aws_cloudwatch_event_rule", "alarm", "arn:aws:events:eu-west-1:999999999999:rule/firstline-alarm"))
		}, []string{"999999999999", localaws.AccountID, "credentials"}},
		{"no credentials", func(tr *trial) {
			maps.Copy(tr.env, map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_DEFAULT_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull})
		}, []string{"credentials"}},
		{"credentials that AWS refuses", func(tr *trial) {
			f := tr.AWS.AddFault(localaws.Fault{Service: "sts", Status: 403, Code: "ExpiredToken", Message: "The security token included in the request is expired"})
			tr.t.Cleanup(f.Remove)
		}, []string{"credentials", "expired"}},
		{"nobody to answer", func(tr *trial) {
			tr.operator = newOperator(tr.t, tr.Testbed, tr.variables)
			tr.noTerraform(map[string]string{"terraform": plansSecrets})
			// init makes it.
			if err := os.Mkdir(filepath.Join(tr.dir, ".terraform"), 0o750); err != nil {
				tr.t.Fatal(err)
			}
			tr.args = []string{"deploy"}
		}, []string{"--yes"}},
		{"nobody to answer a destroy of nothing", func(tr *trial) { tr.args = []string{"destroy", "--region", third} }, []string{third}},
		{"a canary that is not in the file", func(tr *trial) { tr.args = append(tr.args, "--canary", second) }, []string{"--canary", second, first}},
		{"a canary instance without a canary", func(tr *trial) { tr.args = append(tr.args, "--canary-instance", "i-0c1cbf2e7abdedf75") }, []string{"--canary-instance", "--canary"}},
		{"a canary instance that is not in the file", func(tr *trial) { tr.args = append(tr.args, "--canary", first, "--canary-instance", "i-00000000") }, []string{"--canary-instance", "i-00000000", watched}},
		{"a canary without instances", func(tr *trial) {
			tr.variables["regions"] = map[string]any{first: map[string]any{"instances": map[string]any{}}}
			tr.args = append(tr.args, "--canary", first)
		}, []string{"canary", first, "instance"}},
		{"no parallelism", func(tr *trial) { tr.args = append(tr.args, "--parallelism", "0") }, []string{"--parallelism"}},
		{"a parallelism that is no number", func(tr *trial) { tr.args = append(tr.args, "--parallelism", "many") }, []string{"--parallelism", "--help"}},
		{"an argument", func(tr *trial) { tr.args = append(tr.args, first) }, []string{first, "--help"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &trial{operator: &operator{Testbed: w, dir: shared.dir, varFile: shared.varFile}, t: t, variables: maps.Clone(good), args: []string{"deploy", "--yes"}, env: w.Environment()}
			tt.set(tr)
			if tr.varFile == shared.varFile || strings.HasSuffix(tr.varFile, "ours.tfvars.json") {
				tr.write(t, tr.variables)
			}
			stateFile := filepath.Join(tr.dir, "terraform.tfstate")
			before, _ := os.ReadFile(stateFile) //nolint:gosec // below a folder of our own
			calls := len(w.AWS.Calls())

			out := startCommand(t, environ(tr.env), tr.folder, append([]string{tr.args[0], "--dir", tr.dir, "--var-file", tr.varFile}, tr.args[1:]...)...).wait()
			if out.code != 2 {
				t.Errorf("exit code %d, want 2", out.code)
			}
			line, ok := strings.CutPrefix(strings.TrimSuffix(out.stderr, "\n"), "firstline: ")
			// A list of what is wrong with the settings may follow.
			if head, _, _ := strings.Cut(line, "\n  - "); !ok || strings.Contains(head, "\n") {
				t.Errorf("that is not one line:\n%s", out.stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(line, want) {
					t.Errorf("it does not say %q:\n%s", want, out.stderr)
				}
			}
			// What deploy is refused, a plan is refused too.
			if slices.Equal(tr.args, []string{"deploy", "--yes"}) {
				plan := startCommand(t, environ(tr.env), tr.folder, "plan", "--dir", tr.dir, "--var-file", tr.varFile).wait()
				if plan.code != 2 || plan.stderr != out.stderr {
					t.Errorf("plan: exit code %d:\n%s", plan.code, plan.stderr)
				}
			}
			if strings.Contains(out.stdout+out.stderr, "xoxb-in-a-file") {
				t.Error("it shows a secret")
			}
			if after, _ := os.ReadFile(stateFile); !bytes.Equal(before, after) { //nolint:gosec // below a folder of our own
				t.Errorf("the state was written: %s", after)
			}
			for _, c := range w.AWS.Calls()[calls:] {
				if !reading.MatchString(c.Action) {
					t.Errorf("it called %s:%s", c.Service, c.Action)
				}
			}
			tr.nothingRuns(t)
		})
	}
}

// TestDoctor looks at an instance before anything is deployed: first with what an
// operator may have wrong, then with all of it mended.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := world(t)
	i, err := w.AddInstance(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	client := ec2.NewFromConfig(w.AWS.Config(first))
	stopped, err := w.AWS.RunInstance(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{stopped}}); err != nil {
		t.Fatal(err)
	}
	group, err := client.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("web")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ModifyInstanceAttribute(t.Context(), &ec2.ModifyInstanceAttributeInput{InstanceId: &i.ID, Groups: []string{*group.GroupId}}); err != nil {
		t.Fatal(err)
	}
	variables := w.Variables(map[string]map[string]any{i.ID: {"route53": map[string]any{"health_check_id": "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"}, "alarms": map[string]any{"cpu": map[string]any{"period_seconds": 60}}}}, i)
	inFirst := variables["regions"].(map[string]any)[first].(map[string]any)["instances"].(map[string]any)
	inFirst[stopped] = map[string]any{}
	o := newOperator(t, w, variables)
	env := w.Environment()
	// The deployer's rights suffice.
	key := w.AWS.NewPrincipal("doctor", deployerPolicies(t, plain, "/")...)
	run := func() (out *outcome, said string) {
		calls := len(w.AWS.Calls())
		env["AWS_ACCESS_KEY_ID"] = key
		out = startCommand(t, environ(env), "", "doctor", "--dir", o.dir, "--var-file", o.varFile).wait()
		for _, c := range w.AWS.Calls()[calls:] {
			if !reading.MatchString(c.Action) {
				t.Errorf("it called %s:%s", c.Service, c.Action)
			}
		}
		_, table, _ := strings.Cut(out.stdout, "\nAREA")
		table, _, _ = strings.Cut(table, "\n\n")
		for line := range strings.Lines(table) {
			if len(line) > 81 {
				t.Errorf("a line of %d columns: %s", len(line), line)
			}
		}
		return out, out.stdout + out.stderr
	}

	env["TF_VAR_slack_token"], env["TF_VAR_opsgenie_api_key"] = "xoxb-nobody", "nobody"
	_ = i.SetHTTP(testbed.Refuse)
	out, said := run()
	if out.code != 1 {
		t.Errorf("exit code %d, want 1:\n%s", out.code, said)
	}
	for _, want := range []string{
		"invalid_auth", "Could not authenticate", "URL: failed: from here", "Route 53: attention: from here", "does not run",
		fmt.Sprintf("admits TCP %d or TCP %d from 0.0.0.0/0", testbed.SSHPort, testbed.HTTPPort), "period 60 s needs detailed monitoring",
	} {
		if !strings.Contains(strings.ToLower(said), strings.ToLower(want)) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}

	env = w.Environment()
	_ = i.SetHTTP(testbed.Healthy)
	delete(inFirst, stopped)
	inFirst[i.ID] = map[string]any{}
	o.write(t, variables)
	if _, err := client.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(65535), CidrIp: aws.String("0.0.0.0/0")}); err != nil {
		t.Fatal(err)
	}
	if out, said = run(); out.code != 0 || strings.Contains(said, "needs the right") {
		t.Errorf("exit code %d, want 0:\n%s", out.code, said)
	}

	variables["defaults"].(map[string]any)["ssh"].(map[string]any)["prot"] = 22
	o.write(t, variables)
	if out, said = run(); out.code != 2 || !strings.Contains(said, "ssh.prot is not known") {
		t.Errorf("exit code %d, want 2:\n%s", out.code, said)
	}
}

// TestRolloutHelp keeps the commands' help complete.
func TestRolloutHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"doctor", "plan", "deploy", "destroy", "drift", "output", "verify"} {
		out := startCommand(t, os.Environ(), "", name, "--help").wait()
		if out.code != 0 {
			t.Errorf("%s --help: exit code %d", name, out.code)
		}
		for _, want := range []string{"--dir", "--var-file", "--backend-config", "--region", "--exclude-region", "--json", "Exit codes:", fmt.Sprintf("firstline %s", name)} {
			if !strings.Contains(out.stdout, want) {
				t.Errorf("%s --help does not say %q", name, want)
			}
		}
	}
}
