package rollout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-exec/tfexec"
)

// played returns a Root, whose regions are chosen, of a Terraform that says what
// is given, by command; what it says last is its exit code, or a program that it
// becomes.
func played(t *testing.T, says map[string][]string, names ...string) *Root {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$@\" >>" + dir + "/called\ncase $1 in\nversion) echo '{\"terraform_version\": \"1.11.4\"}' ;;\n"
	for command, lines := range says {
		last := len(lines) - 1
		end := "exit " + lines[last]
		if strings.HasPrefix(lines[last], "exec ") {
			end = lines[last]
		}
		script += fmt.Sprintf("%s) cat <<'END'\n%s\nEND\n%s ;;\n", command, strings.Join(lines[:last], "\n"), end)
	}
	program := filepath.Join(dir, "terraform")
	if err := os.WriteFile(program, []byte(script+"esac\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	r := held(t, names...)
	r.all, r.temp = names, dir
	r.o.Dir, r.o.Log = dir, t.Output()
	for _, name := range names {
		r.status[name] = &Status{Region: name, Phase: Waiting}
	}
	var err error
	if r.tf, err = tfexec.NewTerraform(dir, program); err != nil {
		t.Fatal(err)
	}
	if r.log, err = os.CreateTemp(dir, "log"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.log.Close() })
	return r
}

// phases are how far the regions are.
func phases(r *Root) map[string]Phase {
	all := map[string]Phase{}
	for _, s := range r.Statuses() {
		all[s.Region] = s.Phase
	}
	return all
}

func planned(action, address string) string {
	return fmt.Sprintf(`{"type":"planned_change","change":{"resource":{"addr":%q},"action":%q}}`, address, action)
}

func applied(action, address string) string {
	return fmt.Sprintf(`{"type":"apply_complete","hook":{"resource":{"addr":%q},"action":%q}}`, address, action)
}

func said(summary, address string) string {
	return fmt.Sprintf(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":%q,"address":%q}}`, summary, address)
}

func begun(address, id string) string {
	return fmt.Sprintf(`{"type":"apply_start","hook":{"resource":{"addr":%q},"action":"delete","id_key":"id","id_value":%q}}`, address, id)
}

func broken(address string) string {
	return fmt.Sprintf(`{"type":"apply_errored","hook":{"resource":{"addr":%q},"action":"delete"}}`, address)
}

// endedEarly is what a region says that Terraform left in the middle.
const endedEarly = "Terraform ended after 0 of 1 changes: the error that concerns all regions says why"

const (
	inIreland  = "module.eu-west-1[0].aws_sqs_queue.q"
	inVirginia = "module.us-east-1[0].aws_sqs_queue.q"
)

// TestPlanOfNothing: Terraform without a target would work on all regions.
func TestPlanOfNothing(t *testing.T) {
	r := played(t, nil, "eu-west-1", "us-east-1")
	r.fail("us-east-1", "it does not answer")
	for _, destroy := range []bool{false, true} {
		p, err := r.Plan(t.Context(), nil, destroy)
		if err != nil || !p.Empty() || p.Destroy != destroy {
			t.Errorf("got %+v, %v", p, err)
		}
	}
	if called, err := os.ReadFile(filepath.Join(r.o.Dir, "called")); err == nil {
		t.Errorf("Terraform was called: %s", called)
	}
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name  string
		says  []string
		of    []string
		want  map[string]Phase
		error string
	}{
		{
			name: "two regions", of: []string{"eu-west-1", "us-east-1"},
			says: []string{planned("create", inIreland), "0"},
			want: map[string]Phase{"eu-west-1": Planned, "us-east-1": Unchanged},
		},
		{
			name: "all fail", of: []string{"us-east-1"},
			says: []string{said("503", inVirginia), "1"},
			want: map[string]Phase{"eu-west-1": Waiting, "us-east-1": Failed},
		},
		{
			name: "a region that is not planned cannot fail", of: []string{"us-east-1"},
			says:  []string{said("unknown argument", inIreland), "1"},
			want:  map[string]Phase{"eu-west-1": Waiting, "us-east-1": Planning},
			error: "unknown argument",
		},
		{
			name: "a change of a region that was not chosen", of: []string{"us-east-1"},
			says:  []string{planned("delete", inIreland), "0"},
			want:  map[string]Phase{"eu-west-1": Waiting, "us-east-1": Planning},
			error: "the plan would change " + inIreland + " too",
		},
		{
			name: "a change in no region", of: []string{"eu-west-1", "us-east-1"},
			says:  []string{planned("create", "aws_instance.web"), "0"},
			want:  map[string]Phase{"eu-west-1": Planning, "us-east-1": Planning},
			error: "the plan would change aws_instance.web too",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := played(t, map[string][]string{"plan": tt.says}, "eu-west-1", "us-east-1")
			_, err := r.Plan(t.Context(), tt.of, false)
			if got := fmt.Sprint(err); tt.error == "" && err != nil || !strings.Contains(got, tt.error) {
				t.Errorf("error %q, want %q", got, tt.error)
			}
			if diff := cmp.Diff(tt.want, phases(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlanHangs has a region that takes a call and never answers it: it is left
// out, and the others are planned.
func TestPlanHangs(t *testing.T) {
	began := func(address string) string {
		return fmt.Sprintf(`{"type":"refresh_start","hook":{"resource":{"addr":%q}}}`, address)
	}
	ended := func(address string) string {
		return fmt.Sprintf(`{"type":"refresh_complete","hook":{"resource":{"addr":%q}}}`, address)
	}
	const hang = "exec sleep 60"
	for _, tt := range []struct {
		name string
		says []string
		want map[string]string
		err  string
	}{
		{name: "in a call", says: []string{began(inIreland), began(inVirginia), ended(inVirginia), hang}, want: map[string]string{"eu-west-1": "the region does not answer"}},
		{name: "before any", says: []string{began(inVirginia), ended(inVirginia), hang}, want: map[string]string{"eu-west-1": "the region does not answer"}},
		{name: "nobody's", says: []string{began(inIreland), ended(inIreland), began(inVirginia), ended(inVirginia), hang}, err: "terraform printed nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := played(t, map[string][]string{"plan": tt.says}, "eu-west-1", "us-east-1")
			r.silence = 300 * time.Millisecond
			_, failed, err := r.plan(t.Context(), []string{"eu-west-1", "us-east-1"}, false, nil)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || len(failed) != len(tt.want) {
				t.Fatalf("got %v, %v", failed, err)
			}
			for name, want := range tt.want {
				if len(failed[name]) != 1 || !strings.Contains(failed[name][0], want) {
					t.Errorf("%s: got %q, want %q", name, failed[name], want)
				}
			}
		})
	}
}

// TestProviderDies has a provider's process end, as the kernel ends it for want of
// memory: Terraform has an error for each resource.
func TestProviderDies(t *testing.T) {
	gone := func(summary, address string) string {
		return fmt.Sprintf(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":%q,"detail":"The plugin encountered an error, and failed to respond to the plugin.(*GRPCProvider).ReadResource call. The plugin logs may contain more details.","address":%q,"range":{"filename":"modules/trigger/main.tf","start":{"line":1}}}}`, summary, address)
	}
	killed := []string{planned("create", inVirginia)}
	for range 100 {
		killed = append(killed, gone("Plugin did not respond", inIreland), gone("Request cancelled", inVirginia))
	}
	for _, tt := range []struct {
		name string
		says []string
	}{
		{name: "while it plans", says: slices.Concat(killed, []string{"1"})},
		{name: "with an error of another kind", says: slices.Concat(killed, []string{said("503", inVirginia), "1"})},
		{name: "before it has begun", says: []string{`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Failed to load plugin schemas","detail":"Could not load the schema for provider registry.terraform.io/hashicorp/aws: failed to instantiate provider \"registry.terraform.io/hashicorp/aws\" to obtain schema: Unrecognized remote plugin message: \nFailed to read any lines from plugin's stdout"}}`, "1"}},
		{name: "Terraform itself", says: []string{"exec sh -c 'kill -9 $$'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := played(t, map[string][]string{"plan": tt.says}, "eu-west-1", "us-east-1")
			_, err := r.Plan(t.Context(), []string{"eu-west-1", "us-east-1"}, false)
			if _, wrong := errors.AsType[InputError](err); err == nil || wrong {
				t.Fatalf("got %v, want an error that is not the caller's", err)
			}
			for _, want := range []string{"killed, most likely because the machine ran out of memory: a plan of the 2 regions in regions.tf takes about 0.8 GB", "firstline regions --from", "(log: "} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it does not say %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %v", err)
			}
		})
	}
}

func TestExists(t *testing.T) {
	r := held(t, "eu-west-1")
	r.status["eu-west-1"] = &Status{Region: "eu-west-1"}
	r.fail("eu-west-1", "creating IAM Role (x): EntityAlreadyExists: Role with name x already exists.", "creating queue: 503")
	errs := r.Statuses()[0].Errors
	if len(errs) != 2 || !strings.Contains(errs[0], "without the state knowing") || errs[1] != "creating queue: 503" {
		t.Errorf("got %q", errs)
	}
}

func TestApply(t *testing.T) {
	for _, tt := range []struct {
		name   string
		says   []string
		want   map[string]Phase
		errors map[string][]string
		error  string
	}{
		{
			name: "all well", says: []string{applied("read", inIreland), applied("create", inIreland), applied("create", inVirginia), "0"},
			want: map[string]Phase{"eu-west-1": Done, "eu-west-2": Unchanged, "us-east-1": Done},
		},
		{
			name: "one fails", says: []string{applied("create", inIreland), said("503", inVirginia), "1"},
			want:   map[string]Phase{"eu-west-1": Done, "eu-west-2": Unchanged, "us-east-1": Failed},
			errors: map[string][]string{"us-east-1": {"503\n  with " + inVirginia}},
		},
		{
			name: "one without changes fails", says: []string{applied("create", inIreland), applied("create", inVirginia), said("expired", "module.eu-west-2[0]"), "1"},
			want:   map[string]Phase{"eu-west-1": Done, "eu-west-2": Failed, "us-east-1": Done},
			errors: map[string][]string{"eu-west-2": {"expired\n  with module.eu-west-2[0]"}},
		},
		{
			name: "what concerns all hides no region's error", says: []string{applied("create", inIreland), said("503", inVirginia), said("Failed to save state", ""), "1"},
			want:   map[string]Phase{"eu-west-1": Done, "eu-west-2": Unchanged, "us-east-1": Failed},
			errors: map[string][]string{"us-east-1": {"503\n  with " + inVirginia}},
			error:  "Failed to save state",
		},
		{
			name: "a lock", says: []string{said("Error acquiring the state lock", ""), "1"},
			want:  map[string]Phase{"eu-west-1": Planned, "eu-west-2": Unchanged, "us-east-1": Planned},
			error: "the state is locked",
		},
		{
			name: "killed", says: []string{applied("create", inIreland), "137"},
			want:   map[string]Phase{"eu-west-1": Done, "eu-west-2": Unchanged, "us-east-1": Failed},
			errors: map[string][]string{"us-east-1": {endedEarly}},
			error:  "exit status 137",
		},
		{
			name: "killed after an error", says: []string{applied("create", inIreland), said("503", "module.eu-west-2[0]"), "exec sh -c 'kill -9 $$'"},
			want:   map[string]Phase{"eu-west-1": Done, "eu-west-2": Unchanged, "us-east-1": Failed},
			errors: map[string][]string{"us-east-1": {endedEarly}},
			error:  "ran out of memory",
		},
		{
			name: "errors of deletions, which name no resource",
			says: []string{
				begun("module.us-east-1[0].aws_dynamodb_table.t", "firstline-incidents"), begun("module.eu-west-1[0].aws_dynamodb_table.t", "firstline-incidents"),
				begun("module.us-east-1[0].aws_iam_role.r", "role-us-east-1"), broken("module.us-east-1[0].aws_iam_role.r"),
				broken("module.us-east-1[0].aws_dynamodb_table.t"), broken("module.eu-west-1[0].aws_dynamodb_table.t"),
				said("deleting table (firstline-incidents): protected", ""), said("deleting role (role-us-east-1): no", ""), said("deleting table (firstline-incidents): protected", ""), "1",
			},
			want: map[string]Phase{"eu-west-1": Failed, "eu-west-2": Unchanged, "us-east-1": Failed},
			errors: map[string][]string{
				"eu-west-1": {"deleting table (firstline-incidents): protected\n  with module.eu-west-1[0].aws_dynamodb_table.t"},
				"us-east-1": {
					"deleting table (firstline-incidents): protected\n  with module.us-east-1[0].aws_dynamodb_table.t",
					"deleting role (role-us-east-1): no\n  with module.us-east-1[0].aws_iam_role.r",
				},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := played(t, map[string][]string{
				"plan":  {planned("read", inIreland), planned("create", inIreland), planned("create", inVirginia), "0"},
				"apply": tt.says,
			}, "eu-west-1", "eu-west-2", "us-east-1")
			p, err := r.Plan(t.Context(), r.Chosen(), false)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Apply(t.Context(), p)
			if got := fmt.Sprint(err); tt.error == "" && err != nil || !strings.Contains(got, tt.error) {
				t.Errorf("error %q, want %q", got, tt.error)
			}
			if diff := cmp.Diff(tt.want, phases(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, s := range r.Statuses() {
				if diff := cmp.Diff(tt.errors[s.Region], s.Errors); diff != "" {
					t.Errorf("%s (-want +got):\n%s", s.Region, diff)
				}
				if s.Phase == Done && (s.Added != 1 || s.Ended.IsZero()) {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// TestOpenRefuses makes mistakes that are seen before Terraform is looked for.
func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct{ name, value, config, want string }{
		{"TF_WORKSPACE", "staging", "", "TF_WORKSPACE is set to"},
		{"TF_CLI_ARGS_plan", "-no-color -target=module.eu-west-1", "", "TF_CLI_ARGS_plan holds -target"},
		{"TF_CLI_ARGS", "-var name=x", "", "TF_CLI_ARGS holds -var,"},
		{"TF_CLI_ARGS_plan", "-no-color -parallelism=3", "nowhere.hcl", "nowhere.hcl: there is no such file"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "regions.tf"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"TF_WORKSPACE", "TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_CLI_ARGS_apply"} {
				t.Setenv(name, "")
			}
			t.Setenv(tt.name, tt.value)
			o := Options{Dir: dir, Project: dir}
			if tt.config != "" {
				o.BackendConfig = []string{tt.config}
			}
			_, err := Open(t.Context(), o)
			if _, ok := errors.AsType[InputError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an InputError with %q", err, tt.want)
			}
		})
	}
}

func TestLogHidesBackendSettings(t *testing.T) {
	var b strings.Builder
	logger{&b}.Printf("[INFO] running Terraform command: %s", "terraform init -backend-config=access_key=AKIA1 -backend-config=secret_key=hush= -backend-config=/etc/b.hcl -upgrade=false")
	want := "[INFO] running Terraform command: terraform init -backend-config=access_key=… -backend-config=secret_key=… -backend-config=/etc/b.hcl -upgrade=false\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b.String(), want)
	}
}

// TestInitStamp changes what terraform init depends on.
func TestInitStamp(t *testing.T) {
	r := played(t, nil, "eu-west-1")
	data := filepath.Join(r.o.Dir, ".terraform")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(t.TempDir(), "backend.hcl")
	seen := map[string]string{}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"nothing", func() error { return nil }},
		{"a file", func() error { return os.WriteFile(filepath.Join(r.o.Dir, "main.tf"), nil, 0o600) }},
		{"a file of JSON", func() error { return os.WriteFile(filepath.Join(r.o.Dir, "backend.tf.json"), nil, 0o600) }},
		{"a flag", func() error { r.o.BackendConfig = []string{backend}; return nil }},
		{"a backend's file", func() error { return os.WriteFile(backend, []byte("bucket = \"b\""), 0o600) }},
		{"a backend initialised by somebody", func() error {
			return os.WriteFile(filepath.Join(data, "terraform.tfstate"), []byte(`{"backend":{}}`), 0o600)
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		stamp, err := r.initStamp(data)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := r.initStamp(data); err != nil || again != stamp {
			t.Errorf("%s: not the same twice: %v", step.name, err)
		}
		if before := seen[stamp]; before != "" {
			t.Errorf("%s: the same as %s", step.name, before)
		}
		seen[stamp] = step.name
	}
}
