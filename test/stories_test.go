package test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/gruntwork-io/terratest/modules/terraform"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/test/localaws"
	"firstline/test/testbed"
)

// story is what happens to one instance, and what must come of it.
type story struct {
	name string
	// chained stories are of the deployment with all pagers.
	chained bool
	// settings override the instance's; healthCheck gives it a Route 53 health check.
	settings    map[string]any
	healthCheck bool
	// pinned says that the settings name another host key than the instance has.
	pinned bool
	act    func(t *testing.T, s *scene)
}

// noReboots is the setting of an instance that is paged instead of being rebooted.
var noReboots = map[string]any{"reboot": map[string]any{"per_day": 0}}

// boot is how long an instance takes to boot: less than the first wait, since one
// that falls silent opens the breaker for the others of its region.
const boot = 300 * time.Millisecond

// stories prove what the simulation cannot: wiring, rights, real peers, and what
// the services get to see.
func stories() []story {
	return slices.Concat(instanceStories(), pagerStories())
}

func instanceStories() []story {
	return []story{
		{name: "healthy", healthCheck: true, act: func(t *testing.T, s *scene) {
			e := s.ring(t)
			s.ended(t, e, "All good", tally{})
			want := []string{"Open", "What next?", "Check URL", "Check Route 53", "Check SSH", "Decide", "What next?", "All good"}
			if diff := cmp.Diff(want, e.path); diff != "" {
				t.Errorf("the silent path (-want +got):\n%s", diff)
			}
		}},
		{name: "a reboot cures it", healthCheck: true, act: func(t *testing.T, s *scene) {
			_ = s.i.SetHTTP(testbed.Refuse)
			s.i.OnReboot(testbed.CuredBy(boot))
			s.AWS.SetConsoleOutput(s.i.ID, "Out of memory: Killed process 4711")
			e := s.ring(t)
			s.ended(t, e, "Told", tally{reboots: 1, slack: 1}, "recovered: firstline rebooted it", "URL passed", "Route 53 passed", "SSH passed", "connection refused")
			if e.path[slices.Index(e.path, "Reboot")-2] != "Decide" || slices.Index(e.path, "Wait") > slices.Index(e.path, "Reboot") {
				t.Errorf("it was rebooted without a second look: %q", e.path)
			}
		}},
		// Its alarm is on a metric of an agent's, which has more dimensions.
		{name: "a reboot does not cure it", settings: map[string]any{
			"ssh":    map[string]any{"timeout_seconds": 1, "attempts": 1},
			"alarms": map[string]any{"cpu": map[string]any{"namespace": "CWAgent", "metric": "cpu_usage_active", "dimensions": map[string]any{"cpu": "cpu-total"}}},
		}, act: func(t *testing.T, s *scene) {
			_ = s.i.SetSSH(testbed.Hang)
			s.ended(t, s.ring(t), "Told", tally{reboots: 1, slack: 1, pages: 1}, "is not well after firstline's reboot: SSH failed, while URL passes", "down from "+home+" and "+other, "firstline pause --region "+home+" --instance "+s.i.ID)
			// It is handed over: no second page, no second reboot.
			s.ended(t, s.ring(t), "Handed over", tally{reboots: 1, slack: 1, pages: 1})
			// A person mends it and closes the alert.
			if !s.Pager.CloseAlert(s.Pager.Received(s.i.ID)[0].Alias) {
				t.Error("there is no open alert")
			}
			_ = s.i.SetSSH(testbed.Healthy)
			s.ended(t, s.ring(t), "Told", tally{reboots: 1, slack: 2, pages: 1}, "is well")
		}},
		{name: "only its own region cannot reach it", act: func(t *testing.T, s *scene) {
			_ = s.i.SetHTTP(testbed.Banned)
			s.ended(t, s.ring(t), "Told", tally{slack: 1, pages: 1}, "is reached from elsewhere, not from this region", "only "+home+" cannot reach it; "+other+" can")
		}},
		{name: "no other region can be asked", settings: noReboots, act: func(t *testing.T, s *scene) {
			denied := s.AWS.AddFault(localaws.Fault{Service: "lambda", Action: "Invoke", Region: other, Contains: s.i.Address, Status: 403, Code: "AccessDeniedException", Message: "not authorized to perform: lambda:InvokeFunction"})
			_ = s.i.SetHTTP(testbed.Refuse)
			s.ended(t, s.ring(t), "Told", tally{slack: 1, pages: 1}, "not confirmed from a second place: no peer could tell", "AccessDeniedException")
			if denied.Hits() == 0 {
				t.Error("no other region was asked")
			}
		}},
		{
			name: "a person has to act", pinned: true, settings: map[string]any{"ssh": map[string]any{"host_key_fingerprint": "SHA256:" + strings.Repeat("A", 43)}},
			act: func(t *testing.T, s *scene) {
				s.ended(t, s.ring(t), "Told", tally{slack: 1, pages: 1}, "needs a person, not a reboot", "SHA256:")
			},
		},
		{name: "a paged instance is terminated", settings: noReboots, act: func(t *testing.T, s *scene) {
			_ = s.i.SetHTTP(testbed.Broken)
			s.ended(t, s.ring(t), "Told", tally{slack: 1, pages: 1}, "is down: URL failed; not rebooted: the settings allow no reboots", "503")
			s.terminate(t)
			s.ended(t, s.ring(t), "Told", tally{slack: 2, pages: 1, closed: 1}, "is gone")
			if status, _ := s.Pager.Alert(s.Pager.Received(s.i.ID)[0].Alias); status != "closed" {
				t.Errorf("the alert is %q", status)
			}
		}},
		// With 60 s to confirm, the first execution waits long enough for the second to
		// meet it.
		{name: "a service restarts while two of its alarms fire", settings: map[string]any{"confirm_seconds": 60}, act: func(t *testing.T, s *scene) {
			_ = s.i.SetHTTP(testbed.Refuse)
			first := s.triggered(t, strings.TrimSuffix(s.alarm(), "cpu")+"status")
			s.enters(t, first, "Check URL")
			again := s.rung(t)
			s.enters(t, first, "Wait")
			_ = s.i.SetHTTP(testbed.Healthy)
			second := s.follow(t, again)
			if by := second.incident(t).HeldBy; second.last() != "Already handled" || by == nil || by.ID != first {
				t.Errorf("the second execution ended in %q, held by %+v, want by %s", second.last(), by, first)
			}
			e := s.follow(t, first)
			s.ended(t, e, "All good", tally{})
			if a := e.incident(t).Alarm; a == nil || a.Trigger != "status" {
				t.Errorf("started by %+v, want by status", a)
			}
		}},
		{name: "a canary of a healthy instance", act: func(t *testing.T, s *scene) {
			s.rehearsed(t, s.follow(t, s.send(t, incident.SourceCanary)), incident.NextDone, incident.NextReboot)
		}},
		{name: "a canary of an instance that is down", settings: noReboots, act: func(t *testing.T, s *scene) {
			_ = s.i.SetHTTP(testbed.Refuse)
			s.rehearsed(t, s.follow(t, s.send(t, incident.SourceCanary)), incident.NextWait, incident.NextReboot)
		}},
	}
}

// rehearsed asserts that a dry incident did nothing, and what it would have done.
func (s *scene) rehearsed(t *testing.T, e ending, suppressed ...string) {
	t.Helper()
	s.ended(t, e, "All good", tally{})
	inc := e.incident(t)
	var actions []string
	for _, a := range inc.Suppressed {
		actions = append(actions, a.Action)
	}
	if diff := cmp.Diff(suppressed, actions); diff != "" || !inc.Dry {
		t.Errorf("dry %t, suppressed (-want +got):\n%s", inc.Dry, diff)
	}
}

// chained are the pagers of the deployment that has all.
var chained = []string{"opsgenie", "jsm", "pagerduty", "webhook", "sns"}

func pagerStories() []story {
	return []story{
		{name: "the first pager is down", chained: true, settings: noReboots, act: func(t *testing.T, s *scene) {
			down := s.refuse(t, s.Pager)
			_ = s.i.SetHTTP(testbed.Refuse)
			e := s.ring(t)
			s.ended(t, e, "Told another way", tally{slack: 1, pages: 1}, "is down")
			if p := e.incident(t).Paged; p == nil || p.Pager != "jsm" || !p.Confirmed {
				t.Errorf("the page was taken by %+v, want by jsm, which confirms it", p)
			}
			s.counted(t, "PagerFallbacks", 1)
			// It works again, and the alert is the other one's.
			down.End()
			s.terminate(t)
			s.ended(t, s.ring(t), "Told", tally{slack: 2, pages: 1, closed: 1}, "is gone")
			if open := s.JSM.OpenAlerts(); slices.ContainsFunc(open, func(alias string) bool { return strings.Contains(alias, s.i.ID) }) {
				t.Errorf("open are %q", open)
			}
		}},
		{name: "the topic is the last pager that works", chained: true, settings: noReboots, act: func(t *testing.T, s *scene) {
			s.pagersDown(t, len(s.Pagers()))
			_ = s.i.SetHTTP(testbed.Refuse)
			e := s.ring(t)
			s.ended(t, e, "Told another way", tally{slack: 1, pages: 1}, "is down")
			if n := len(s.published()); n != 1 {
				t.Errorf("%d messages were published", n)
			}
		}},
		{name: "no pager works", chained: true, settings: noReboots, act: func(t *testing.T, s *scene) {
			s.pagersDown(t, len(s.Pagers()))
			denied := s.AWS.AddFault(localaws.Fault{Service: "sns", Action: "Publish", Contains: s.i.ID, Status: 403, Code: "AuthorizationError", Message: "not authorized"})
			_ = s.i.SetHTTP(testbed.Refuse)
			e := s.ring(t)
			s.ended(t, e, "Told another way", tally{slack: 1}, "Nobody was paged", "is down")
			cause := e.incident(t).Caught["page_another_way"].Cause
			for _, pager := range chained {
				if !strings.Contains(cause, pager) {
					t.Errorf("the error does not name %s: %s", pager, cause)
				}
			}
			if denied.Hits() == 0 {
				t.Error("the topic was never asked")
			}
		}},
		{name: "neither a pager nor Slack works", chained: true, settings: noReboots, act: func(t *testing.T, s *scene) {
			s.pagersDown(t, len(s.Pagers()))
			s.AWS.AddFault(localaws.Fault{Service: "sns", Action: "Publish", Contains: s.i.ID, Status: 403, Code: "AuthorizationError", Message: "not authorized"})
			s.refuse(t, s.Slack)
			_ = s.i.SetHTTP(testbed.Refuse)
			s.ended(t, s.ring(t), "Nobody was told", tally{})
		}},
	}
}

// counted asserts how often the function has counted something of the instance.
func (s *scene) counted(t *testing.T, metric string, want int) {
	t.Helper()
	got := 0
	for _, i := range s.AWS.Invocations(functionARN(s.deployment, s.i.Region)) {
		for line := range strings.Lines(i.Log) {
			if strings.Contains(line, `"`+metric+`":1`) && strings.Contains(line, s.i.ID) {
				got++
			}
		}
	}
	if got != want {
		t.Errorf("%s was counted %d times, want %d", metric, got, want)
	}
}

// TestStories deploys the root twice to a local AWS and plays the stories against
// it, many at the same time, then looks at what the deployments left behind.
func TestStories(t *testing.T) {
	t.Parallel()
	w := world(t)
	executions := &started{}
	overrides := map[string]map[string]any{}
	instances := map[string][]*testbed.Instance{}
	add := func(deployment, region string, settings map[string]any) *scene {
		t.Helper()
		i, err := w.AddInstance(t.Context(), region)
		if err != nil {
			t.Fatal(err)
		}
		overrides[i.ID] = settings
		instances[deployment] = append(instances[deployment], i)
		return &scene{Testbed: w, i: i, deployment: deployment, executions: executions}
	}
	all := stories()
	scenes := make([]*scene, len(all))
	var pinned *testbed.Instance // to another host key
	for n, s := range all {
		deployment := plain
		if s.chained {
			deployment = chain
		}
		scenes[n] = add(deployment, home, s.settings)
		if s.pinned {
			pinned = scenes[n].i
		}
		if s.healthCheck {
			id, err := w.AddHealthCheck(t.Context(), scenes[n].i)
			if err != nil {
				t.Fatal(err)
			}
			overrides[scenes[n].i.ID] = map[string]any{"route53": map[string]any{"health_check_id": id}}
		}
	}
	// What these do concerns a whole region, so each is played alone.
	region := regionStories()
	alone := make([][]*scene, len(region))
	for n, r := range region {
		for range r.instances {
			alone[n] = append(alone[n], add(r.deployment, r.region, r.settings))
		}
	}

	variables := map[string]map[string]any{plain: w.Variables(overrides, instances[plain]...), chain: w.Variables(overrides, instances[chain]...)}
	variables[chain]["name"] = chain
	w.UsePagers(variables[chain], chained...)
	w.UseHeartbeat(variables[chain], "jsm")
	w.UseHeartbeat(variables[plain], "url")
	for _, v := range variables {
		// As many reboot at once here as there are stories.
		v["breaker"] = map[string]any{"in_flight": 500, "per_hour": 500}
	}
	dirs := map[string]string{}
	for name, v := range variables {
		dir, err := w.CopyRoot(v)
		if err != nil {
			t.Fatal(err)
		}
		dirs[name] = dir
	}
	each := func(do func(dir string) error) {
		t.Helper()
		errs := make(chan error)
		for _, dir := range dirs {
			go func() { errs <- do(dir) }()
		}
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	each(func(dir string) error { return apply(t.Context(), w, dir) })
	t.Logf("deployed in %.0f s", time.Since(began).Seconds())
	regions, err := deployed.Decode(map[string]json.RawMessage{home: json.RawMessage(terraform.OutputJSONContext(t, t.Context(), terraformOptions(w, dirs[chain]), home))})
	if err != nil || regions[home].AlarmTopicARN == nil {
		t.Fatalf("what is deployed with all pagers: %+v, %v", regions, err)
	}
	topic := *regions[home].AlarmTopicARN
	for _, s := range slices.Concat(append(alone, scenes)...) {
		if s.deployment == chain {
			s.topic = topic
		}
	}
	t.Run("verify", func(t *testing.T) { playVerify(t, w, dirs, pinned, topic) })
	t.Run("story", func(t *testing.T) {
		for n, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.act(t, scenes[n])
			})
		}
	})
	for n, r := range region {
		t.Run(r.name, func(t *testing.T) { r.act(t, dirs[r.deployment], alone[n]) })
	}
	t.Run("every call was allowed and every right was used", func(t *testing.T) { auditRights(t, w) })
	t.Run("no message was refused for what is in it", func(t *testing.T) {
		for _, service := range append(w.Pagers(), w.Slack, w.Heartbeats) {
			if got := service.Refusals(); len(got) != 0 {
				t.Errorf("%q", got)
			}
		}
	})
	t.Run("no secret is anywhere", func(t *testing.T) { auditSecrets(t, w, slices.Collect(maps.Values(dirs)), topic, executions) })
	t.Run("the plan after it is empty", func(t *testing.T) {
		if code := terraform.PlanExitCodeContext(t, t.Context(), terraformOptions(w, dirs[chain])); code != 0 {
			t.Errorf("terraform plan -detailed-exitcode: %d, want 0", code)
		}
	})
	t.Run("destroy leaves nothing", func(t *testing.T) {
		each(func(dir string) error { return destroy(t.Context(), w, dir) })
		auditEmpty(t, w, home, other)
	})
}

// world starts a local AWS of the test's own.
func world(t *testing.T) *testbed.Testbed {
	t.Helper()
	zip, err := hostPackage()
	if err != nil {
		t.Fatal(err)
	}
	w, err := testbed.New(t.Context(), testbed.Options{Root: root(t), Log: testLog{t}, Pace: pace, Package: zip})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func terraformOptions(w *testbed.Testbed, dir string) *terraform.Options {
	return &terraform.Options{
		TerraformDir: dir, TerraformBinary: w.Terraform, EnvVars: w.Environment(),
		NoColor: true, Parallelism: 40, Logger: logger.Discard,
	}
}

// testLog writes progress into a test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// secrets are those of the played services; of the webhook's, what is in its prefix is none.
var secrets = []string{
	testbed.SlackToken, testbed.OpsGenieKey, testbed.JSMKey, testbed.JSMToken, testbed.RoutingKey, strings.TrimPrefix(testbed.WebhookSecret, "whsec_"), testbed.HeartbeatKey,
}

// auditSecrets looks for the secrets in all that may not hold them.
func auditSecrets(t *testing.T, w *testbed.Testbed, dirs []string, topic string, executions *started) {
	looked := 0
	look := func(where, text string) {
		looked++
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds a secret", where)
			}
		}
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, ".terraform"+string(filepath.Separator)) {
				return err
			}
			text, err := os.ReadFile(path) //nolint:gosec // below a folder of our own
			look(path, string(text))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, of := range [][2]string{{plain, home}, {plain, other}, {chain, home}} {
		name, region := of[0], of[1]
		logs := w.AWS.Logs(functionARN(name, region))
		if logs == "" {
			t.Errorf("%s in %s: the function logged nothing", name, region)
		}
		look("the log of the function "+name+" in "+region, logs)
		for key, text := range tableTexts(t, w, name, region) {
			look("the item "+key+" of the table "+name+" in "+region, text)
		}
	}
	for arn, region := range executions.all {
		for _, text := range historyTexts(t, w, region, arn) {
			look("the history of "+arn, text)
		}
	}
	messages := w.Slack.Received()
	for _, p := range w.Pagers() {
		messages = slices.Concat(messages, p.Received(), p.Closings(""))
	}
	for _, m := range messages {
		look("a message", m.Body)
	}
	for _, p := range w.Heartbeats.Pings("") {
		look("a ping", p.Text)
	}
	published := w.AWS.Published(topic)
	for _, n := range published {
		look("a notification", n.Subject+n.Message)
	}
	if len(published) == 0 {
		t.Error("nothing was published")
	}
	if looked < 100 {
		t.Errorf("looked at %d texts only", looked)
	}
}

// historyTexts are the events of an execution, each as text.
func historyTexts(t *testing.T, w *testbed.Testbed, region, arn string) []string {
	t.Helper()
	var texts []string
	pages := sfn.NewGetExecutionHistoryPaginator(sfn.NewFromConfig(w.AWS.Config(region)), &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
	}
	return texts
}

// tableTexts are the items of a deployment's table in a region, each as text, by
// their keys.
func tableTexts(t *testing.T, w *testbed.Testbed, deployment, region string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	pages := dynamodb.NewScanPaginator(dynamodb.NewFromConfig(w.AWS.Config(region)), &dynamodb.ScanInput{TableName: aws.String(deployment + "-incidents")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			text, err := json.Marshal(item)
			if err != nil {
				t.Fatal(err)
			}
			pk, _ := item["pk"].(*dynamotypes.AttributeValueMemberS)
			sk, _ := item["sk"].(*dynamotypes.AttributeValueMemberS)
			if pk == nil || sk == nil {
				t.Fatalf("an item without its keys: %s", text)
			}
			texts[pk.Value+"/"+sk.Value] = string(text)
		}
	}
	return texts
}

// auditEmpty asserts that nothing of the deployment is left in these regions.
func auditEmpty(t *testing.T, w *testbed.Testbed, regions ...string) {
	t.Helper()
	ctx := t.Context()
	for _, region := range regions {
		config := w.AWS.Config(region)
		left := func(what string, names []string, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if len(names) > 0 {
				t.Errorf("%s: %s are left: %v", region, what, names)
			}
		}
		machines, err := sfn.NewFromConfig(config).ListStateMachines(ctx, &sfn.ListStateMachinesInput{})
		left("state machines", named(machines.StateMachines, func(m sfntypes.StateMachineListItem) *string { return m.Name }), err)
		alarms, err := cloudwatch.NewFromConfig(config).DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{})
		left("alarms", named(alarms.MetricAlarms, func(a cwtypes.MetricAlarm) *string { return a.AlarmName }), err)
		functions, err := lambda.NewFromConfig(config).ListFunctions(ctx, &lambda.ListFunctionsInput{})
		left("functions", named(functions.Functions, func(f lambdatypes.FunctionConfiguration) *string { return f.FunctionName }), err)
		for _, deployment := range []string{plain, chain} {
			parameters, err := ssm.NewFromConfig(config).GetParametersByPath(ctx, &ssm.GetParametersByPathInput{Path: aws.String("/" + deployment), Recursive: aws.Bool(true)})
			left("parameters", named(parameters.Parameters, func(p ssmtypes.Parameter) *string { return p.Name }), err)
		}
		topics, err := sns.NewFromConfig(config).ListTopics(ctx, &sns.ListTopicsInput{})
		left("topics", named(topics.Topics, func(t snstypes.Topic) *string { return t.TopicArn }), err)
		queues, err := sqs.NewFromConfig(config).ListQueues(ctx, &sqs.ListQueuesInput{})
		left("queues", queues.QueueUrls, err)
		tables, err := dynamodb.NewFromConfig(config).ListTables(ctx, &dynamodb.ListTablesInput{})
		left("tables", tables.TableNames, err)
		dashboards, err := cloudwatch.NewFromConfig(config).ListDashboards(ctx, &cloudwatch.ListDashboardsInput{})
		left("dashboards", named(dashboards.DashboardEntries, func(d cwtypes.DashboardEntry) *string { return d.DashboardName }), err)
		rules, err := eventbridge.NewFromConfig(config).ListRules(ctx, &eventbridge.ListRulesInput{})
		left("rules", named(rules.Rules, func(r ebtypes.Rule) *string { return r.Name }), err)
		buckets, err := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(ctx, &s3.ListBucketsInput{})
		left("buckets", named(buckets.Buckets, func(b s3types.Bucket) *string { return b.Name }), err)
		roles, err := iam.NewFromConfig(config).ListRoles(ctx, &iam.ListRolesInput{})
		left("roles", named(roles.Roles, func(r iamtypes.Role) *string { return r.RoleName }), err)
	}
}

// named returns the names of what a list call answered.
func named[T any](items []T, name func(T) *string) []string {
	var names []string
	for _, i := range items {
		names = append(names, aws.ToString(name(i)))
	}
	return names
}
