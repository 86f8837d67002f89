package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/deployed"
	"firstline/internal/probe"
)

// checked is an instance's result: what is not said has passed.
func checked(id string, other ...probe.CheckResult) probe.InstanceResult {
	i := probe.InstanceResult{ID: id}
	for _, check := range []string{"url", "route53", "ssh", "reboot", "alarm"} {
		c := probe.CheckResult{Check: check, Result: probe.Passed, Reason: "as it should"}
		for _, o := range other {
			if o.Check == check || o.Check == "" {
				c = o
				c.Check = check
			}
		}
		i.Checks = append(i.Checks, c)
	}
	return i
}

func shared(slack, pager, subscriptions probe.Result) []probe.CheckResult {
	all := []probe.CheckResult{{Check: "slack", Result: slack}, {Check: "pager", Result: pager}, {Check: "concurrency", Result: probe.Passed}}
	if subscriptions != "" {
		all = append(all, probe.CheckResult{Check: "subscriptions", Result: subscriptions, Reason: "nobody\x1b has confirmed"})
	}
	return all
}

func TestPrintVerification(t *testing.T) {
	verified := []probe.Verification{
		{
			Region: "eu-west-1",
			Instances: []probe.InstanceResult{
				checked("i-0a1b2c3d", probe.CheckResult{Check: "route53", Result: probe.Skipped, Reason: "skipped: no health check"}),
				checked("i-1a1b2c3d", probe.CheckResult{Check: "url", Result: "attention", Reason: "GET http://203.0.113.7/: 404"}),
				checked("i-2a1b2c3d", probe.CheckResult{Check: "ssh", Result: probe.Failed, Reason: "refused"}, probe.CheckResult{Check: "reboot", Result: probe.Errored, Reason: "Denied: dry run"}, probe.CheckResult{Check: "alarm", Result: probe.Errored, Reason: "no data"}),
				checked("i-3a1b2c3d", probe.CheckResult{Result: probe.Handled, Reason: "an incident is being handled"}, probe.CheckResult{Check: "alarm", Result: probe.Passed}),
			},
			Deployment: []probe.CheckResult{
				{Check: "slack", Result: probe.Passed},
				{Check: "pager", Result: probe.Errored, Reason: "the key is not set"},
				{Check: "concurrency", Result: probe.Warned, Reason: "10 are few"},
				{Check: "rules", Result: probe.Errored, Reason: "the rule firstline-alarm is disabled"},
				{Check: "subscribers", Result: probe.Errored, Reason: "the queue's policy"},
			},
		},
		{Region: "eu-west-2", Deployment: shared(probe.Passed, probe.Skipped, "")},
		{Region: "eu-west-3", Instances: []probe.InstanceResult{checked("i-4a1b2c3d", probe.CheckResult{Check: "url", Result: "busy", Reason: "429"})}, Deployment: shared(probe.Passed, probe.Passed, probe.Errored)},
		{Region: "eu-north-1", Instances: []probe.InstanceResult{checked("i-5a1b2c3d")}, Deployment: shared(probe.Passed, probe.Passed, probe.Warned)},
		{Region: "sa-east-1", Instances: []probe.InstanceResult{checked("i-7a1b2c3d", probe.CheckResult{Check: "url", Result: probe.Warned, Reason: "answered by 198.51.100.4"})}, Deployment: shared(probe.Passed, probe.Passed, "")},
		{Region: "us-east-1", Error: "the function cannot be invoked: down", Instances: []probe.InstanceResult{checked("i-6a1b2c3d", probe.CheckResult{Result: probe.Skipped})}},
	}
	var out bytes.Buffer
	if err := printVerification(&out, verified); err != nil {
		t.Fatal(err)
	}
	const want = `
REGION      INSTANCE    URL        ROUTE53  SSH      REBOOT   ALARM
eu-west-1   i-0a1b2c3d  passed     -        passed   passed   passed
eu-west-1   i-1a1b2c3d  ATTENTION  passed   passed   passed   passed
eu-west-1   i-2a1b2c3d  passed     passed   FAILED   ERROR    ERROR
eu-west-1   i-3a1b2c3d  HANDLED    HANDLED  HANDLED  HANDLED  passed
eu-west-2   -           -          -        -        -        -
eu-west-3   i-4a1b2c3d  BUSY       passed   passed   passed   passed
eu-north-1  i-5a1b2c3d  passed     passed   passed   passed   passed
sa-east-1   i-7a1b2c3d  WARNING    passed   passed   passed   passed
us-east-1   i-6a1b2c3d  -          -        -        -        -

REGION      SLACK   PAGER   CONCURRENCY  RULES  SUBSCRIBED  SUBSCRIBERS
eu-west-1   passed  ERROR   WARNING      ERROR  -           ERROR
eu-west-2   passed  -       passed       -      -           -
eu-west-3   passed  passed  passed       -      ERROR       -
eu-north-1  passed  passed  passed       -      WARNING     -
sa-east-1   passed  passed  passed       -      -           -
us-east-1   -       -       -            -      -           -

eu-west-1 i-1a1b2c3d: URL: attention: GET http://203.0.113.7/: 404
eu-west-1 i-2a1b2c3d: SSH: failed: refused
eu-west-1 i-2a1b2c3d: reboot: error: Denied: dry run
eu-west-1 i-2a1b2c3d: alarm: error: no data
eu-west-1 i-3a1b2c3d: URL, Route 53, SSH, reboot: handled: an incident is being handled
eu-west-1: the pager: error: the key is not set
eu-west-1: Lambda's concurrency: warning: 10 are few
eu-west-1: the rules: error: the rule firstline-alarm is disabled
eu-west-1: subscribers: error: the queue's policy
eu-west-2: no instance is watched here, so no check was tried
eu-west-3 i-4a1b2c3d: URL: busy: 429
eu-west-3: SNS: error: nobody has confirmed
eu-north-1: SNS: warning: nobody has confirmed
sa-east-1 i-7a1b2c3d: URL: warning: answered by 198.51.100.4
us-east-1: given up: the function cannot be invoked: down
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n, want := range []string{
		"4 instances, 1 not healthy, 1 being handled, 1 with an error, the pager does not work, a warning of Lambda's concurrency, a rule starts nothing, a subscriber hears nothing", "0 instances",
		"1 instance, 1 not healthy, nobody gets a page by SNS", "1 instance, all passed, a warning of SNS", "1 instance, 1 with a warning", "given up: the function cannot be invoked: down",
	} {
		if got := tally(verified[n]); got != want {
			t.Errorf("%s: %q, want %q", verified[n].Region, got, want)
		}
	}
	if err := verdict(verified); err == nil || err.Error() != "not everything passed in eu-west-1, eu-west-3, us-east-1: see above" {
		t.Errorf("verdict: %v", err)
	}
	out.Reset()
	if err := printVerification(&out, verified[1:2]); err != nil || strings.Contains(out.String(), "SUBSCRIBED") || verdict(verified[1:2]) != nil {
		t.Errorf("%v, %v:\n%s", err, verdict(verified[1:2]), out.String())
	}
	if err := printVerification(brokenPipe{}, verified); err == nil {
		t.Error("what cannot be written is no error")
	}
}

// All regions at the same time, in their order.
func TestEachRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var out bytes.Buffer
		waits := map[string]time.Duration{"eu-west-1": 2 * time.Minute, "us-east-1": time.Minute}
		got := eachRegion(newProgress(&out), two, func(name string) string { return "did " + name }, func(r deployed.Region, say func(string)) string {
			say("begins")
			time.Sleep(waits[r.Region])
			return r.Region
		})
		if took := time.Since(start); took != 2*time.Minute || !slices.Equal(got, []string{"eu-west-1", "us-east-1"}) {
			t.Errorf("after %s: %v", took, got)
		}
		if text := out.String(); strings.Count(text, "begins") != 2 || strings.Index(text, "us-east-1  did us-east-1") > strings.Index(text, "eu-west-1  did eu-west-1") {
			t.Errorf("it told\n%s", text)
		}
	})
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestOnlyInstances(t *testing.T) {
	regions := []deployed.Region{
		{Region: "eu-west-1", InstanceIDs: []string{"i-0", "i-1"}},
		{Region: "us-east-1", InstanceIDs: []string{"i-2"}},
	}
	for _, tt := range []struct {
		name, ids string
		want      []deployed.Region
		err       string
	}{
		{"none given", "", regions, ""},
		{"one", "i-1", []deployed.Region{{Region: "eu-west-1", InstanceIDs: []string{"i-1"}}}, ""},
		{"of both", "i-2 i-0", []deployed.Region{{Region: "eu-west-1", InstanceIDs: []string{"i-0"}}, regions[1]}, ""},
		{"unknown", "i-0 i-9", nil, "--instance: i-9: not watched in eu-west-1, us-east-1; watched are i-0, i-1, i-2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := onlyInstances(regions, strings.Fields(tt.ids))
			if tt.err != "" {
				if _, ok := errors.AsType[usageError](err); !ok || err.Error() != tt.err {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	if len(regions[0].InstanceIDs) != 2 {
		t.Error("the regions were changed")
	}
}

func TestPrintRegions(t *testing.T) {
	topic := "arn:aws:sns:eu-west-1:123456789012:firstline"
	d := deployment{
		regions: []deployed.Region{
			{
				Region: "eu-west-1", AccountID: "123456789012", Name: "firstline", Version: "0.3.0", Commit: "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567-dirty",
				StateMachineARN: "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline",
				FunctionName:    "firstline-responder",
				FunctionARN:     "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:3",
				RuleName:        "firstline-alarm", CanaryRuleName: "firstline-canary", ReconcileRuleName: "firstline-reconcile",
				TableName: "firstline-incidents", DashboardName: "firstline-eu-west-1",
				DeadLetterQueueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/firstline-dead-letter",
				AlarmTopicARN:      &topic,
				AlarmNames:         []string{"firstline-alarm-i-0a1b2c3d-cpu"}, SelfAlarmNames: []string{"firstline-self-dead-letter"},
				InstanceIDs:      []string{"i-0a1b2c3d"},
				FunctionLogGroup: "/aws/lambda/firstline-responder", ExecutionLogGroup: "/aws/vendedlogs/states/firstline",
			},
			{Region: "us-iso-east-1", AccountID: "123456789012", StateMachineARN: "arn:aws-iso:states:us-iso-east-1:123456789012:stateMachine:firstline"},
		},
		missing: []string{"us-east-1"},
	}
	var out bytes.Buffer
	if err := printRegions(&out, d); err != nil {
		t.Fatal(err)
	}
	const want = `eu-west-1  account 123456789012, 1 instance, version 0.3.0, commit 0a1b2c3d4e5f and changes to it
  state machine             arn:aws:states:eu-west-1:123456789012:stateMachine:firstline
                            https://console.aws.amazon.com/states/home?region=eu-west-1#/statemachines/view/arn:aws:states:eu-west-1:123456789012:stateMachine:firstline
  log of the incidents      /aws/vendedlogs/states/firstline
                            https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Faws$252Fvendedlogs$252Fstates$252Ffirstline
  function                  arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:3
                            https://console.aws.amazon.com/lambda/home?region=eu-west-1#/functions/firstline-responder
  log of the function       /aws/lambda/firstline-responder
                            https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Faws$252Flambda$252Ffirstline-responder
  alarms on instances       1: firstline-alarm-…
                            https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:?~(search~'firstline-alarm-)
  alarms on firstline       1: firstline-self-…
                            https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:?~(search~'firstline-self-)
  rule of alarms            firstline-alarm
                            https://console.aws.amazon.com/events/home?region=eu-west-1#/eventbus/default/rules/firstline-alarm
  rule of dry incidents     firstline-canary
                            https://console.aws.amazon.com/events/home?region=eu-west-1#/eventbus/default/rules/firstline-canary
  rule of reconcile         firstline-reconcile
                            https://console.aws.amazon.com/events/home?region=eu-west-1#/eventbus/default/rules/firstline-reconcile
  table                     firstline-incidents
                            https://console.aws.amazon.com/dynamodbv2/home?region=eu-west-1#table?name=firstline-incidents
  dashboard                 firstline-eu-west-1
                            https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#dashboards/dashboard/firstline-eu-west-1
  dead-letter queue         https://sqs.eu-west-1.amazonaws.com/123456789012/firstline-dead-letter
                            https://console.aws.amazon.com/sqs/v3/home?region=eu-west-1#/queues/https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F123456789012%2Ffirstline-dead-letter
  topic of the subscribers  arn:aws:sns:eu-west-1:123456789012:firstline
                            https://console.aws.amazon.com/sns/v3/home?region=eu-west-1#/topic/arn:aws:sns:eu-west-1:123456789012:firstline

us-iso-east-1  account 123456789012, 0 instances
  state machine             arn:aws-iso:states:us-iso-east-1:123456789012:stateMachine:firstline

us-east-1  not deployed
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	out.Reset()
	if err := printRegions(&out, deployment{state: "s3://bucket/key"}); err != nil || out.String() != "nothing is deployed according to the state s3://bucket/key\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// withoutAWS takes the caller's AWS settings and credentials away.
func withoutAWS(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
}

func TestAWSConfig(t *testing.T) {
	withoutAWS(t)
	_, err := awsConfig(t.Context())
	if _, ok := errors.AsType[usageError](err); !ok || !strings.HasPrefix(err.Error(), "no AWS credentials: set AWS_PROFILE, or ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAFIRSTLINE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "local")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
	cfg, err := awsConfig(t.Context())
	if err != nil || cfg.BaseEndpoint == nil || *cfg.BaseEndpoint != "http://127.0.0.1:4566" || cfg.Region == "" {
		t.Errorf("%+v, %v", cfg, err)
	}
	t.Setenv("AWS_PROFILE", "nobody")
	if _, err := awsConfig(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a profile that does not exist: %v", err)
	}
}

// What is wrong with the command line or its files is said before Terraform is
// looked for.
func TestDeployedUsage(t *testing.T) {
	withoutAWS(t)
	for _, tt := range []struct{ args, want string }{
		{"verify --region eu-west-1 --exclude-region eu-west-1", "eu-west-1: given with both --region and --exclude-region"},
		{"output --region eu-west-1 --exclude-region eu-west-2,eu-west-1", "eu-west-1: given with both --region and --exclude-region"},
		{"verify --var-file DIR/none.tfvars", "DIR/none.tfvars"},
		{"output --var-file DIR/none.tfvars", "DIR/none.tfvars"},
		{"output --dir DIR", "regions.tf does not exist"},
		{"verify now", `"now" is not a command or flag of firstline verify`},
	} {
		dir := t.TempDir()
		code, stdout, stderr := command(t, strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, strings.ReplaceAll(tt.want, "DIR", dir)) {
			t.Errorf("firstline %s: %d, want 2 and %q:\n%s%s", tt.args, code, tt.want, stdout, stderr)
		}
	}
}
