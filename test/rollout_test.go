package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"
	"github.com/gruntwork-io/terratest/modules/terraform"

	"firstline/internal/artifact"
	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/probe"
	operations "firstline/internal/rollout"
	"firstline/internal/tfstate"
	"firstline/test/localaws"
	"firstline/test/testbed"
)

// The regions of the rollout, and one that is in none of its files. None is
// us-east-1, for which the calls to global services are signed: a fault of that
// region would strike all.
const (
	first  = "eu-west-1"
	second = "eu-west-2"
	third  = "eu-central-1"
)

// commandTime bounds a command of the rollout: what takes longer hangs.
const commandTime = 5 * time.Minute

// operator runs the command on one Terraform root, as somebody at a shell does.
type operator struct {
	*testbed.Testbed
	// dir is the Terraform root, varFile its variables.
	dir, varFile string
}

// newOperator makes a root with a regions.tf of the regions in the variables,
// which are in a file that Terraform does not read by itself.
func newOperator(t *testing.T, w *testbed.Testbed, variables map[string]any) *operator {
	t.Helper()
	dir, err := w.CopyRoot(variables)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{Testbed: w, dir: dir, varFile: filepath.Join(t.TempDir(), "ours.tfvars.json")}
	if err := os.Remove(filepath.Join(dir, testbed.VarFile)); err != nil {
		t.Fatal(err)
	}
	o.write(t, variables)
	return o
}

// write writes the variables anew.
func (o *operator) write(t *testing.T, variables map[string]any) {
	t.Helper()
	raw, err := json.Marshal(variables)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.varFile, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// regionOutcome is what came of a command in a region.
type regionOutcome struct {
	Region, Result            string
	Added, Changed, Destroyed int
	Errors                    []string
	Changes, Drift            []operations.Change
}

// rehearsal is what is read of a dry incident: its decision has times in words, which
// those of the table are not.
type rehearsal struct {
	Region, Reason string
	OK             bool
}

// outcome is what came of a command.
type outcome struct {
	code           int
	stdout, stderr string
	took           time.Duration

	Regions      []regionOutcome
	Log          string
	Canary       []rehearsal
	Verification []probe.Verification
	Stopped      []operations.UnderWay
}

// in returns what came of it in a region.
func (o *outcome) in(region string) regionOutcome {
	for _, r := range o.Regions {
		if r.Region == region {
			return r
		}
	}
	return regionOutcome{Result: "not there"}
}

// results returns the result of each region.
func (o *outcome) results() map[string]string {
	all := map[string]string{}
	for _, r := range o.Regions {
		all[r.Region] = r.Result
	}
	return all
}

// process is a command that was started.
type process struct {
	t              *testing.T
	title          string
	cmd            *exec.Cmd
	stdout, stderr buffer
	began          time.Time
	ended          chan struct{} // closed at the end, with err set
	err            error
}

// buffer takes a command's output, and may be read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startCommand starts firstline in a folder of the project, in a process group
// of its own, as a shell does. Nobody is there to answer its questions.
func startCommand(t *testing.T, env []string, dir string, args ...string) *process {
	t.Helper()
	program, err := firstline()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	t.Cleanup(cancel)
	r := &process{t: t, title: args[0], cmd: exec.CommandContext(ctx, program, args...), ended: make(chan struct{}), began: time.Now()} //nolint:gosec // our own program
	r.cmd.Dir, r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = dir, env, &r.stdout, &r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = r.interrupt
	r.cmd.WaitDelay = time.Minute
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		r.err = r.cmd.Wait()
	}()
	return r
}

// start starts a command on the root, with its result as JSON.
func (o *operator) start(t *testing.T, args ...string) *process {
	t.Helper()
	all := append([]string{args[0], "--dir", o.dir, "--var-file", o.varFile, "--json"}, args[1:]...)
	r := startCommand(t, environ(o.Environment()), "", all...)
	r.title = strings.Join(args, " ")
	return r
}

// environ is this process's environment with other variables over it.
func environ(variables map[string]string) []string {
	all := os.Environ()
	for k, v := range variables {
		all = append(all, k+"="+v)
	}
	return all
}

// interrupt is what Ctrl-C does: the whole process group gets it.
func (r *process) interrupt() error { return syscall.Kill(-r.cmd.Process.Pid, syscall.SIGINT) }

// until waits until something is so while the command runs.
func (r *process) until(what string, so func() bool) {
	r.t.Helper()
	for !so() {
		select {
		case <-r.ended:
			if so() {
				return
			}
			r.t.Fatalf("it ended before %s: %v\n%s%s", what, r.err, r.stdout.String(), r.stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// wait waits for the command's end.
func (r *process) wait() *outcome {
	r.t.Helper()
	<-r.ended
	out := &outcome{code: r.cmd.ProcessState.ExitCode(), stdout: r.stdout.String(), stderr: r.stderr.String(), took: time.Since(r.began)}
	if _, ok := errors.AsType[*exec.ExitError](r.err); r.err != nil && !ok {
		r.t.Fatalf("%v\n%s%s", r.err, out.stdout, out.stderr)
	}
	r.t.Logf("%s: exit code %d after %.1f s", r.title, out.code, out.took.Seconds())
	r.noSecret("what it printed", out.stdout+out.stderr)
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("%s: exit code %d\n%s\n%s", r.title, out.code, out.stdout, out.stderr)
		}
	})
	return out
}

// result waits for the command's end, and reads its result from its output.
func (r *process) result(code int) *outcome {
	r.t.Helper()
	out := r.wait()
	if out.code != code {
		r.t.Errorf("exit code %d, want %d", out.code, code)
	}
	if err := json.Unmarshal([]byte(out.stdout), out); err != nil {
		r.t.Fatalf("what it printed is no result: %v", err)
	}
	text, err := os.ReadFile(out.Log)
	if err != nil || len(text) == 0 {
		r.t.Errorf("the log %q holds nothing: %v", out.Log, err)
	}
	r.noSecret("the log", string(text))
	return out
}

// noSecret asserts that a text holds none of the secrets.
func (r *process) noSecret(what, text string) {
	r.t.Helper()
	for _, secret := range []string{testbed.SlackToken, testbed.OpsGenieKey} {
		if strings.Contains(text, secret) {
			r.t.Errorf("%s holds a secret", what)
		}
	}
}

// run runs a command on the root to its end, which must be with the given code.
func (o *operator) run(t *testing.T, code int, args ...string) *outcome {
	t.Helper()
	return o.start(t, args...).result(code)
}

// state reads the state file.
func (o *operator) state(t *testing.T) (tfstate.State, []byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(o.dir, "terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := tfstate.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s, raw
}

// nothingRuns asserts that a command left neither a lock nor a process behind.
func (o *operator) nothingRuns(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(o.dir, ".terraform.tfstate.lock.info")); err == nil {
		t.Error("the state is still locked")
	}
	// What was ended takes a moment to be gone.
	left := o.processes(t)
	for end := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(end); left = o.processes(t) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, p := range left {
		t.Errorf("it still runs: %s", p)
	}
}

// processes are those that the command started: they have its temporary folder in
// their environment. They are found on Linux only.
func (o *operator) processes(t *testing.T) []string {
	t.Helper()
	variable := []byte("TMPDIR=" + o.Environment()["TMPDIR"])
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range environs {
		text, err := os.ReadFile(path) //nolint:gosec // below /proc
		if err == nil && slices.ContainsFunc(bytes.Split(text, []byte{0}), func(v []byte) bool { return bytes.Equal(v, variable) }) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			found = append(found, fmt.Sprintf("%s: %q", filepath.Dir(path), bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return found
}

// rollout is one deployment to two regions, and what becomes of it. Each further
// region costs every plan two more processes.
type rollout struct {
	*operator
	variables map[string]any
	instances map[string]*testbed.Instance // by region
	// zip is the function's, at a place of its own: Terraform takes another for a change.
	zip string
	// begun is an incident in the first region that began with version 1 of the
	// function.
	begun *held
}

// TestRollout takes one deployment through what an operator of several regions
// meets. Each step goes on where the one before it ended.
func TestRollout(t *testing.T) {
	t.Parallel()
	w := world(t)
	r := &rollout{instances: map[string]*testbed.Instance{}}
	for _, region := range []string{first, second} {
		i, err := w.AddInstance(t.Context(), region)
		if err != nil {
			t.Fatal(err)
		}
		r.instances[region] = i
	}
	r.variables = w.Variables(nil, slices.Collect(maps.Values(r.instances))...)
	r.variables["subscribers"] = []any{map[string]any{"protocol": "sms", "endpoint": "+4930654321"}}
	r.zip = filepath.Join(t.TempDir(), filepath.Base(w.Package))
	if err := errors.Join(os.Link(w.Package, r.zip), os.Link(artifact.ProvenancePath(w.Package), artifact.ProvenancePath(r.zip))); err != nil {
		t.Fatal(err)
	}
	r.variables["function"].(map[string]any)["package"] = r.zip
	r.operator = newOperator(t, w, r.variables)
	for _, step := range []struct {
		name string
		do   func(*rollout, *testing.T)
	}{
		{"a region is dead", (*rollout).dead},
		{"a region fails in the middle", (*rollout).regionFails},
		{"two at once, and cut off in the middle", (*rollout).cutOff},
		{"the next run heals it, and another region cannot be planned", (*rollout).healed},
		{"drift is found", (*rollout).drifted},
		{"an incident begins", (*rollout).begins},
		{"a canary that fails", (*rollout).canaryFails},
		{"interrupted in the middle", (*rollout).interrupted},
		{"a canary that sings", (*rollout).canarySings},
		{"old versions go when no incident calls them", (*rollout).pruned},
		{"verify", (*rollout).verified},
		{"output", (*rollout).printed},
		{"another checkout, without the state", (*rollout).unknown},
		{"upgraded, and rolled back", (*rollout).upgraded},
		{"whatever somebody breaks is found and healed", (*rollout).broken},
		{"a region removed while another is dead", (*rollout).removed},
		{"destroyed", (*rollout).destroyed},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.do(r, t) }) {
			t.Fatal("the steps after it would not begin where they should")
		}
	}
	if n := len(w.AWS.Reboots()); n != 0 {
		t.Errorf("%d reboots: none of this was an incident", n)
	}
	for _, m := range slices.Concat(w.Slack.Received(), w.Pager.Received()) {
		t.Errorf("somebody was told: %s", m.Text)
	}
}

// says asserts what the errors of a region say.
func (o *outcome) says(t *testing.T, region string, words ...string) {
	t.Helper()
	said := strings.Join(o.in(region).Errors, "\n")
	for _, want := range words {
		if !strings.Contains(said, want) {
			t.Errorf("%s: the errors do not say %q:\n%s", region, want, said)
		}
	}
	if !strings.Contains(o.stderr, region) {
		t.Errorf("%s: nothing is said about it", region)
	}
}

// dead deploys to a region that is dead, and to no other.
func (r *rollout) dead(t *testing.T) {
	dead := r.AWS.AddFault(localaws.Fault{Region: second, Status: 503, Code: "ServiceUnavailable"})
	defer dead.Remove()
	out := r.run(t, 1, "deploy", "--yes", "--region", second)
	if diff := cmp.Diff(map[string]string{second: "failed"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	out.says(t, second, "does not answer", "503")
	for _, c := range r.AWS.Calls() {
		if c.Service != "ec2" && !reading.MatchString(c.Action) {
			t.Errorf("without a region that answers it called %s:%s in %s", c.Service, c.Action, c.Region)
		}
	}
}

// regionFails deploys while one region breaks in the middle of the apply.
func (r *rollout) regionFails(t *testing.T) {
	sick := r.AWS.AddFault(localaws.Fault{Region: second, Service: "sqs", Status: 503, Code: "ServiceUnavailable"})
	defer sick.Remove()
	out := r.run(t, 1, "deploy", "--yes")
	if diff := cmp.Diff(map[string]string{first: "done", second: "failed"}, out.results()); diff != "" {
		t.Fatalf("results (-want +got):\n%s", diff)
	}
	// The provider's own 25 attempts would take a quarter of an hour.
	if n := sick.Hits(); n == 0 || n > 10 {
		t.Errorf("the fault struck %d times: the region that fails holds up the other", n)
	}
	out.says(t, second, "503", "creating SQS Queue", "with module."+second)
	if ok := out.in(first); ok.Added < 20 || len(ok.Errors) > 0 {
		t.Errorf("%s: %+v", first, ok)
	}
	if text, err := os.ReadFile(out.Log); err != nil || !strings.Contains(string(text), "503") {
		t.Errorf("the log %s does not hold the errors: %v", out.Log, err)
	}
	r.healthy(t, out.Verification, first)
	if got := r.alarms(t, first); len(got) == 0 {
		t.Errorf("%s: there are no alarms", first)
	}
	r.nothingRuns(t)
}

// cutOff has a second deploy want to begin in the middle of an apply, and then
// presses Ctrl-C twice.
func (r *rollout) cutOff(t *testing.T) {
	release := make(chan struct{})
	held := r.AWS.AddFault(localaws.Fault{Region: second, Service: "sqs", Action: "CreateQueue", Until: release})
	defer held.Remove()
	defer close(release)
	deploy := r.start(t, "deploy", "--yes", "--region", second)
	deploy.until("the queue is created", func() bool { return held.Hits() > 0 })
	if runtime.GOOS == "linux" && len(r.processes(t)) == 0 {
		t.Error("the search for processes does not see it")
	}
	two := r.start(t, "deploy", "--yes").wait()
	if two.code != 1 {
		t.Errorf("the second deploy: exit code %d, want 1", two.code)
	}
	for _, want := range []string{"the state is locked", "@", "was not applied"} {
		if !strings.Contains(two.stderr, want) {
			t.Errorf("the second deploy does not say %q:\n%s", want, two.stderr)
		}
	}
	for _, says := range []string{"interrupt again to cut it off", "waiting for Terraform to end"} {
		if err := deploy.interrupt(); err != nil {
			t.Fatal(err)
		}
		deploy.until("it says "+says, func() bool { return strings.Contains(deploy.stderr.String(), says) })
	}
	out := deploy.result(130)
	if diff := cmp.Diff(map[string]string{second: "interrupted"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if queue := "module." + second + "[0].module.trigger.aws_sqs_queue.dead_letter"; !strings.Contains(out.stderr, queue) {
		t.Errorf("it does not name what may be left, %s", queue)
	}
	r.nothingRuns(t)
	if state, _ := r.state(t); !slices.Contains(state.Regions, second) {
		t.Errorf("the state holds %v only", state.Regions)
	}
}

// healed runs it again, while the region that is deployed cannot be planned.
func (r *rollout) healed(t *testing.T) {
	denied := r.AWS.AddFault(localaws.Fault{Region: first, Service: "ssm", Status: 400, Code: "AccessDeniedException", Message: "explicit deny in a service control policy"})
	out := r.run(t, 1, "deploy", "--yes")
	denied.Remove()
	if diff := cmp.Diff(map[string]string{first: "failed", second: "done"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if denied.Hits() == 0 {
		t.Error("nothing was denied")
	}
	out.says(t, first, "service control policy")
	r.healthy(t, out.Verification, second)
	r.nothingRuns(t)
}

// words are what changes say.
func words(all []operations.Change) []string {
	var said []string
	for _, c := range all {
		said = append(said, c.Words)
	}
	return said
}

// drifted changes things by hand.
func (r *rollout) drifted(t *testing.T) {
	client := cloudwatch.NewFromConfig(r.AWS.Config(first))
	found, err := client.DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{r.alarm(first)}})
	if err != nil || len(found.MetricAlarms) != 1 {
		t.Fatalf("%d alarms, %v", len(found.MetricAlarms), err)
	}
	a := found.MetricAlarms[0]
	_, err = client.PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{
		AlarmName: a.AlarmName, AlarmDescription: a.AlarmDescription, Namespace: a.Namespace, MetricName: a.MetricName,
		Dimensions: a.Dimensions, Statistic: a.Statistic, Period: a.Period, EvaluationPeriods: a.EvaluationPeriods,
		ComparisonOperator: a.ComparisonOperator, TreatMissingData: a.TreatMissingData, ActionsEnabled: a.ActionsEnabled,
		Threshold: aws.Float64(90),
	})
	if err != nil {
		t.Fatal(err)
	}
	parameter := r.parameter(second)
	if _, err := ssm.NewFromConfig(r.AWS.Config(second)).DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: &parameter}); err != nil {
		t.Fatal(err)
	}
	_, before := r.state(t)
	out := r.run(t, 3, "drift")
	want := map[string][]string{
		first:  {fmt.Sprintf("alarm cpu threshold of %s 100 -> 90", r.instances[first].ID)},
		second: {fmt.Sprintf("settings of %s deleted", r.instances[second].ID)},
	}
	got := map[string][]string{}
	for _, o := range out.Regions {
		got[o.Region] = words(o.Drift)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	for region, words := range want {
		for _, w := range words {
			if !strings.Contains(out.stderr, w) {
				t.Errorf("%s: people are not told that %s", region, w)
			}
		}
	}
	if _, after := r.state(t); !bytes.Equal(before, after) {
		t.Error("looking for drift has changed the state")
	}
}

// change has all functions log at another level.
func (r *rollout) change(t *testing.T, level string) {
	t.Helper()
	function := maps.Clone(r.variables["function"].(map[string]any))
	function["log_level"] = level
	r.variables["function"] = function
	r.write(t, r.variables)
}

// canaryFails rolls a change out while the canary's instance does not answer. Only
// the canary's drift is healed.
func (r *rollout) canaryFails(t *testing.T) {
	r.change(t, "debug")
	i := r.instances[first]
	if err := i.SetHTTP(testbed.Refuse); err != nil {
		t.Fatal(err)
	}
	out := r.run(t, 1, "deploy", "--yes", "--canary", first)
	if err := i.SetHTTP(testbed.Healthy); err != nil {
		t.Fatal(err)
	}
	if len(out.Canary) != 1 || out.Canary[0].OK || out.Canary[0].Region != first {
		t.Errorf("canary: %+v", out.Canary)
	}
	for _, want := range []string{first, i.ID, "refused"} {
		if !strings.Contains(out.stderr, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if diff := cmp.Diff(map[string]string{first: "debug", second: "info"}, r.logLevels(t)); diff != "" {
		t.Errorf("what the functions have (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{first: "done", second: "skipped"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	r.nothingRuns(t)
	if out := r.run(t, 0, "drift", "--exclude-region", second); len(out.Regions) != 1 || len(out.in(first).Drift) > 0 {
		t.Errorf("without %s: %+v", second, out.Regions)
	}
	parameter := r.parameter(second)
	if _, err := ssm.NewFromConfig(r.AWS.Config(second)).GetParameter(t.Context(), &ssm.GetParameterInput{Name: &parameter}); err == nil {
		t.Errorf("%s was touched, too", second)
	}
}

// interrupted presses Ctrl-C while a canary is applied: that comes to its end, and
// nothing else is begun.
func (r *rollout) interrupted(t *testing.T) {
	r.change(t, "warn")
	release := make(chan struct{})
	held := r.AWS.AddFault(localaws.Fault{Region: second, Service: "lambda", Action: "UpdateFunctionConfiguration", Until: release})
	defer held.Remove()
	deploy := r.start(t, "deploy", "--yes", "--canary", second)
	deploy.until("the function is changed", func() bool { return held.Hits() > 0 })
	if err := deploy.interrupt(); err != nil {
		t.Fatal(err)
	}
	deploy.until("it says that it is interrupted", func() bool { return strings.Contains(deploy.stderr.String(), "interrupted") })
	close(release)
	out := deploy.result(130)
	if diff := cmp.Diff(map[string]string{first: "skipped", second: "done"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if len(out.Canary)+len(out.Verification) > 0 {
		t.Errorf("it went on with a canary or a verification: %+v, %+v", out.Canary, out.Verification)
	}
	if diff := cmp.Diff(map[string]string{first: "debug", second: "warn"}, r.logLevels(t)); diff != "" {
		t.Errorf("what the functions have (-want +got):\n%s", diff)
	}
	r.nothingRuns(t)
}

// canarySings rolls a change out with the canary's instance healthy: the other
// region follows.
func (r *rollout) canarySings(t *testing.T) {
	r.change(t, "info")
	out := r.run(t, 0, "deploy", "--yes", "--canary", first)
	if len(out.Canary) != 1 || !out.Canary[0].OK {
		t.Errorf("canary: %+v", out.Canary)
	}
	if diff := cmp.Diff(map[string]string{first: "info", second: "info"}, r.logLevels(t)); diff != "" {
		t.Errorf("what the functions have (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{first: "done", second: "done"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	r.healthy(t, out.Verification, first, second)
}

// verified asks what would fail today.
func (r *rollout) verified(t *testing.T) {
	if err := r.instances[second].SetSSH(testbed.Refuse); err != nil {
		t.Fatal(err)
	}
	out := r.run(t, 1, "verify")
	if err := r.instances[second].SetSSH(testbed.Healthy); err != nil {
		t.Fatal(err)
	}
	i := r.instances[second]
	wrong := map[string]string{second + " " + i.ID + " ssh": string(probe.Failed)}
	if diff := cmp.Diff(r.verification(wrong, first, second), flat(out.Verification)); diff != "" {
		t.Errorf("verification (-want +got):\n%s", diff)
	}
	if !strings.Contains(out.stderr, i.ID) || !strings.Contains(out.stderr, "refused") {
		t.Errorf("people are not told what would fail:\n%s", out.stderr)
	}
	r.healthy(t, r.run(t, 0, "verify").Verification, first, second)
}

// printed looks at what an operator gets to find their way.
func (r *rollout) printed(t *testing.T) {
	out := r.start(t, "output").wait()
	if out.code != 0 {
		t.Fatalf("exit code %d", out.code)
	}
	var result struct {
		Regions []struct {
			deployed.Region
			Links map[string]string
		}
	}
	if err := json.Unmarshal([]byte(out.stdout), &result); err != nil {
		t.Fatal(err)
	}
	arns := map[string]string{}
	for _, o := range result.Regions {
		arns[o.Region.Region] = o.StateMachineARN
		if link := o.Links["state_machine"]; !strings.Contains(link, "console.aws.amazon.com") || !strings.Contains(link, o.Region.Region) {
			t.Errorf("%s: the link %q", o.Region.Region, link)
		}
	}
	for region := range r.instances {
		arn := arns[region]
		if _, err := sfn.NewFromConfig(r.AWS.Config(region)).DescribeStateMachine(t.Context(), &sfn.DescribeStateMachineInput{StateMachineArn: &arn}); err != nil {
			t.Errorf("%s: the state machine %q: %v", region, arn, err)
		}
	}
}

// removed takes a region out of the file, while another one is dead. The function
// has a network interface in a VPC there, which Lambda deletes some time after it.
func (r *rollout) removed(t *testing.T) {
	under := r.hold(t, second)
	defer under.release()
	left := r.leaveVPC(t, second)
	regions := maps.Clone(r.variables["regions"].(map[string]any))
	delete(regions, second)
	r.variables["regions"] = regions
	r.write(t, r.variables)
	dead := r.AWS.AddFault(localaws.Fault{Region: first, Status: 503, Code: "ServiceUnavailable"})
	out := r.run(t, 1, "deploy", "--yes")
	dead.Remove()
	if diff := cmp.Diff(map[string]string{first: "failed", second: "done"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	under.stopped(t, out)
	if id := <-left; !strings.Contains(out.stderr, "waiting for Lambda to delete its network interfaces") || !strings.Contains(out.stderr, id) {
		t.Errorf("it does not say that it waits for %s", id)
	}
	if gone := out.in(second); gone.Destroyed < 20 || gone.Added+gone.Changed > 0 {
		t.Errorf("%s: %+v", second, gone)
	}
	if got := r.alarms(t, second); len(got) > 0 {
		t.Errorf("%s: there are still the alarms %v", second, got)
	}
	machines, err := sfn.NewFromConfig(r.AWS.Config(second)).ListStateMachines(t.Context(), &sfn.ListStateMachinesInput{})
	if err != nil || len(machines.StateMachines) > 0 {
		t.Errorf("%s: there are still state machines: %+v, %v", second, machines, err)
	}
	if state, _ := r.state(t); slices.Contains(state.Regions, second) {
		t.Errorf("the state still holds %v", state.Regions)
	}
	out.says(t, first, "does not answer")
	// The two have asked each other; the one that is left has nobody to ask, and nobody
	// asks it.
	out = r.run(t, 0, "deploy", "--yes", "--verify=false")
	if left := out.in(first); left.Changed == 0 || left.Destroyed == 0 || left.Added > 0 {
		t.Errorf("%s: %+v", first, left)
	}
	options := terraformOptions(r.Testbed, r.dir)
	options.VarFiles = []string{r.varFile}
	if code := terraform.PlanExitCodeContext(t, t.Context(), options); code != 0 {
		t.Errorf("terraform plan -detailed-exitcode: %d, want 0", code)
	}
}

// destroyed removes all of it, while an incident waits and another one begins.
func (r *rollout) destroyed(t *testing.T) {
	under := r.hold(t, first)
	defer under.release()
	// Without the zip of this version.
	r.release(t, "99.0.0", r.zip)
	release := make(chan struct{})
	rules := r.AWS.AddFault(localaws.Fault{Region: first, Service: "events", Action: "RemoveTargets", Until: release})
	defer rules.Remove()
	destroy := r.start(t, "destroy", "--yes")
	destroy.until("the rules' targets are removed", func() bool { return rules.Hits() > 0 })
	late := r.hold(t, first)
	defer late.release()
	destroy.until("the late incident is stopped", func() bool { return late.status(t) == sfntypes.ExecutionStatusAborted })
	close(release)
	out := destroy.result(0)
	under.stopped(t, out)
	late.stopped(t, out)
	if diff := cmp.Diff(map[string]string{first: "done"}, out.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	said := strings.Join(words(out.in(first).Changes), "\n")
	for _, want := range []string{"removes table firstline-incidents with about ", "removes queue firstline-dead-letter with ", " is removed: ", r.instances[first].ID + " is no longer watched"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q of what it removes:\n%s", want, said)
		}
	}
	if state, _ := r.state(t); !state.Empty {
		t.Errorf("the state still holds %v", state.Regions)
	}
	auditEmpty(t, r.Testbed, first, second)
	r.nothingRuns(t)
}

// held is an incident whose steps are held.
type held struct {
	client       *sfn.Client
	arn          string
	region, name string
	instance     string
	release      func()
}

// hold starts an incident of a region's instance, none of whose steps ends until
// release is called: then they fail.
func (r *rollout) hold(t *testing.T, region string) *held {
	t.Helper()
	return r.hang(t, region, localaws.Fault{Status: 503, Code: "ServiceException"})
}

// hang is hold with steps that end as in then.
func (r *rollout) hang(t *testing.T, region string, then localaws.Fault) *held {
	t.Helper()
	h := &held{client: sfn.NewFromConfig(r.AWS.Config(region)), region: region, name: "held-" + rand.Text(), instance: r.instances[region].ID}
	released := make(chan struct{})
	then.Region, then.Service, then.Action, then.Contains, then.Until = region, "lambda", "Invoke", h.name, released
	fault := r.AWS.AddFault(then)
	h.release = sync.OnceFunc(func() { close(released); fault.Remove() })
	input, err := json.Marshal(incident.Look{
		Source: incident.SourcePerson, DetailType: incident.DetailTypeLook, Account: localaws.AccountID, Region: region,
		Time: time.Now(), Detail: incident.LookDetail{InstanceID: h.instance},
	})
	if err != nil {
		t.Fatal(err)
	}
	machine := fmt.Sprintf("arn:aws:states:%s:%s:stateMachine:firstline", region, localaws.AccountID)
	started, err := h.client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: &machine, Name: &h.name, Input: aws.String(string(input))})
	if err != nil {
		t.Fatal(err)
	}
	h.arn = aws.ToString(started.ExecutionArn)
	until(t, "its first step", func() bool { return fault.Hits() > 0 })
	return h
}

// status is the execution's.
func (h *held) status(t *testing.T) sfntypes.ExecutionStatus {
	t.Helper()
	out, err := h.client.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: &h.arn})
	if err != nil {
		t.Fatal(err)
	}
	return out.Status
}

// stopped asserts that a command has stopped it, and says so.
func (h *held) stopped(t *testing.T, out *outcome) {
	t.Helper()
	if !slices.ContainsFunc(out.Stopped, func(u operations.UnderWay) bool { return u.ExecutionARN == h.arn && u.InstanceID == h.instance }) {
		t.Errorf("%s is not among what was stopped: %+v", h.arn, out.Stopped)
	}
	if want := h.region + ": 1 incident stopped; look after these instances yourself: " + h.instance; !strings.Contains(out.stderr, want) {
		t.Errorf("it does not say %q", want)
	}
}

// begins starts an incident that outlasts some deployments.
func (r *rollout) begins(t *testing.T) {
	r.begun = r.hold(t, first)
}

// versions are the published versions of a region's function.
func (r *rollout) versions(t *testing.T, region string) []string {
	t.Helper()
	out, err := lambda.NewFromConfig(r.AWS.Config(region)).ListVersionsByFunction(t.Context(), &lambda.ListVersionsByFunctionInput{FunctionName: aws.String("firstline-responder")})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, v := range out.Versions {
		if *v.Version != "$LATEST" {
			all = append(all, *v.Version)
		}
	}
	return all
}

// pruned deploys again once the incident that called version 1 has ended.
func (r *rollout) pruned(t *testing.T) {
	if diff := cmp.Diff([]string{"1", "2", "3"}, r.versions(t, first)); diff != "" {
		t.Errorf("versions while an incident calls the first one (-want +got):\n%s", diff)
	}
	if _, err := r.begun.client.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: &r.begun.arn}); err != nil {
		t.Fatal(err)
	}
	r.begun.release()
	out := r.run(t, 0, "deploy", "--yes", "--verify=false", "--region", first)
	if want := first + ": deleted old versions of the function: 1"; !strings.Contains(out.stderr, want) {
		t.Errorf("it does not say %q", want)
	}
	if diff := cmp.Diff([]string{"2", "3"}, r.versions(t, first)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

// leaveVPC makes a network interface as Lambda does for a function in a VPC, and
// deletes it as Lambda does, once the function is gone: with the function's rights.
// It sends the interface's id.
func (r *rollout) leaveVPC(t *testing.T, region string) <-chan string {
	t.Helper()
	network := ec2.NewFromConfig(r.AWS.Config(region))
	subnets, err := network.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	if err != nil || len(subnets.Subnets) == 0 {
		t.Fatalf("no subnets in %s: %v", region, err)
	}
	made, err := network.CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{
		SubnetId: subnets.Subnets[0].SubnetId, Description: aws.String("AWS Lambda VPC ENI-firstline-responder-3d3a8f1c-6b0f-4d0e-9d3f-0a4b5c6d7e8f"),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := made.NetworkInterface.NetworkInterfaceId
	done := make(chan string, 1)
	go func() {
		defer func() { done <- aws.ToString(id) }()
		for gone := false; !gone && t.Context().Err() == nil; time.Sleep(100 * time.Millisecond) {
			_, err := lambda.NewFromConfig(r.AWS.Config(region)).GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("firstline-responder")})
			_, gone = errors.AsType[*lambdatypes.ResourceNotFoundException](err)
		}
		// Lambda takes its time.
		time.Sleep(3 * time.Second)
		if _, err := iam.NewFromConfig(r.AWS.Config(region)).GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: aws.String("firstline-responder-" + region), PolicyName: aws.String("responder")}); err != nil {
			t.Errorf("Lambda may no longer delete its network interface: %v", err)
		}
		if _, err := network.DeleteNetworkInterface(t.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: id}); err != nil {
			t.Error(err)
		}
	}()
	return done
}

// alarm is the name of a region's CPU alarm.
func (r *rollout) alarm(region string) string {
	return "firstline-alarm-" + r.instances[region].ID + "-cpu"
}

// parameter is the name of the settings of a region's instance.
func (r *rollout) parameter(region string) string {
	return "/firstline/instances/" + r.instances[region].ID
}

// alarms are the names of all alarms of a region.
func (r *rollout) alarms(t *testing.T, region string) []string {
	t.Helper()
	out, err := cloudwatch.NewFromConfig(r.AWS.Config(region)).DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range out.MetricAlarms {
		names = append(names, aws.ToString(a.AlarmName))
	}
	return names
}

// logLevels are what the deployed functions have in their environment.
func (r *rollout) logLevels(t *testing.T) map[string]string {
	t.Helper()
	levels := map[string]string{}
	for region := range r.instances {
		out, err := lambda.NewFromConfig(r.AWS.Config(region)).GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("firstline-responder")})
		if err != nil {
			t.Fatal(err)
		}
		levels[region] = out.Environment.Variables["FIRSTLINE_LOG_LEVEL"]
	}
	return levels
}

// healthy asserts that a verification covers these regions and found all well.
func (r *rollout) healthy(t *testing.T, got []probe.Verification, regions ...string) {
	t.Helper()
	if diff := cmp.Diff(r.verification(nil, regions...), flat(got)); diff != "" {
		t.Errorf("verification (-want +got):\n%s", diff)
	}
}

// verification is what a verification of these regions has to say: all well but
// for what is wrong.
func (r *rollout) verification(wrong map[string]string, regions ...string) map[string]string {
	want := map[string]string{}
	for _, region := range regions {
		for check, result := range map[string]probe.Result{
			"url": probe.Passed, "route53": probe.Skipped, "ssh": probe.Passed, "reboot": probe.Passed, "alarm": probe.Passed,
		} {
			want[region+" "+r.instances[region].ID+" "+check] = string(result)
		}
		for _, check := range []string{"slack", "pager", "concurrency", "rules", "subscribers"} {
			want[region+" "+check] = string(probe.Passed)
		}
	}
	maps.Copy(want, wrong)
	return want
}

// flat flattens verifications.
func flat(verifications []probe.Verification) map[string]string {
	all := map[string]string{}
	for _, v := range verifications {
		if v.Error != "" {
			all[v.Region] = v.Error
		}
		for _, i := range v.Instances {
			for _, c := range i.Checks {
				all[v.Region+" "+i.ID+" "+c.Check] = string(c.Result)
			}
		}
		for _, c := range v.Deployment {
			all[v.Region+" "+c.Check] = string(c.Result)
		}
	}
	return all
}
