package test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/test/localaws"
	"firstline/test/testbed"
)

// regionStory is a story about a whole region.
type regionStory struct {
	name, deployment, region string
	// instances is how many it has, settings are theirs.
	instances int
	settings  map[string]any
	act       func(t *testing.T, dir string, all []*scene)
}

func regionStories() []regionStory {
	return []regionStory{
		{"the heartbeat", plain, other, 1, nil, playHeartbeat},
		{"an alarm of an instance without settings", plain, other, 1, nil, playWithoutSettings},
		{"a paused region", plain, other, 1, nil, playPausedRegion},
		{"an execution is stopped after its reboot", plain, other, 1, nil, playStopped},
		{"the breaker", plain, other, 3, nil, playBreaker},
		{"PagerDuty has the alert of a cause", chain, home, 2, nil, func(t *testing.T, _ string, all []*scene) { playCause(t, all, 2, tally{slack: 1, pages: 1}) }},
		{"the webhook has the alert of a cause", chain, home, 2, nil, func(t *testing.T, _ string, all []*scene) { playCause(t, all, 3, tally{slack: 1, notes: 1}) }},
		{"a test of all channels", chain, home, 1, nil, playNotifyTest},
		{"the operator's commands", plain, home, 1, noReboots, playCommands},
	}
}

// run runs an operator's command on a deployment, and wants an exit code and
// texts.
func run(t *testing.T, w *testbed.Testbed, dir string, code int, args string, want ...string) string {
	t.Helper()
	return wanted(t, startCommand(t, environ(w.Environment()), "", append(strings.Fields(args), "--dir", dir)...), code, args, want...)
}

// byName runs an operator's command as somebody does who has credentials and the
// program, and neither the project, nor the state, nor Terraform.
func (s *scene) byName(t *testing.T, code int, args string, want ...string) string {
	t.Helper()
	env := append(environ(s.Environment()), "PATH=", "FIRSTLINE_NAME="+s.deployment, "FIRSTLINE_REGIONS="+home)
	return wanted(t, startCommand(t, env, t.TempDir(), strings.Fields(args)...), code, args, want...)
}

// wanted waits for a command and wants an exit code and texts.
func wanted(t *testing.T, r *process, code int, args string, want ...string) string {
	t.Helper()
	out := r.wait()
	if out.code != code {
		t.Errorf("%s: exit code %d, want %d:\n%s%s", args, out.code, code, out.stdout, out.stderr)
	}
	for _, text := range want {
		if !strings.Contains(out.stdout+out.stderr, text) {
			t.Errorf("%s does not say %q:\n%s%s", args, text, out.stdout, out.stderr)
		}
	}
	return out.stdout
}

// decode decodes what a command has printed.
func decode(t *testing.T, out string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
}

// playVerify has the command keep the baseline of every instance. One instance has
// another host key than its settings say, and a queue is subscribed to the topic that
// does not admit it at first.
func playVerify(t *testing.T, w *testbed.Testbed, dirs map[string]string, other *testbed.Instance, topic string) {
	t.Run(plain, func(t *testing.T) {
		t.Parallel()
		if out := run(t, w, dirs[plain], 1, "verify"); !strings.Contains(out, other.ID+": SSH: ") || !strings.Contains(out, "SHA256:") {
			t.Errorf("it does not name the host key of %s:\n%s", other.ID, out)
		}
	})
	t.Run(chain, func(t *testing.T) {
		t.Parallel()
		queues, topics := sqs.NewFromConfig(w.AWS.Config(home)), sns.NewFromConfig(w.AWS.Config(home))
		queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("subscriber")})
		if err != nil {
			t.Fatal(err)
		}
		arn := strings.Replace(strings.Replace(topic, ":sns:", ":sqs:", 1), chain+"-self", "subscriber", 1)
		subscription, err := topics.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &arn, ReturnSubscriptionArn: true})
		if err != nil {
			t.Fatal(err)
		}
		run(t, w, dirs[chain], 1, "verify", home+": subscribers: error: sqs to "+arn+" hears nothing")
		policy := `{"Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": "` + arn + `", "Condition": {"ArnLike": {"aws:SourceArn": "` + topic + `"}}}]}`
		if _, err := queues.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: queue.QueueUrl, Attributes: map[string]string{"Policy": policy}}); err != nil {
			t.Fatal(err)
		}
		run(t, w, dirs[chain], 0, "verify")
		if _, err := topics.Unsubscribe(t.Context(), &sns.UnsubscribeInput{SubscriptionArn: subscription.SubscriptionArn}); err != nil {
			t.Error(err)
		}
		if _, err := queues.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: queue.QueueUrl}); err != nil {
			t.Error(err)
		}
	})
}

// playWithoutSettings takes an instance's settings away: no incident can be made
// of its alarm, and somebody must hear of it.
func playWithoutSettings(t *testing.T, _ string, all []*scene) {
	s := all[0]
	client, name := ssm.NewFromConfig(s.AWS.Config(s.i.Region)), "/"+s.deployment+"/instances/"+s.i.ID
	out, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name})
	if err == nil {
		_, err = client.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: &name})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_, err := client.PutParameter(context.WithoutCancel(t.Context()), &ssm.PutParameterInput{Name: &name, Value: out.Parameter.Value, Type: ssmtypes.ParameterTypeString})
		if err != nil {
			t.Error(err)
		}
	}()
	e := s.ring(t)
	if e.last() != "Told" {
		t.Errorf("ended in %q (%s): %s", e.last(), e.status, e.state)
	}
	pages := s.Pager.Received(s.alarm())
	if len(pages) != 1 || !strings.Contains(pages[0].Text, "could not be handled") || !strings.Contains(pages[0].Text, "regions.tfvars") {
		t.Errorf("%d pages: %+v", len(pages), pages)
	}
}

// playPausedRegion pauses a whole region: it is checked, and Slack is told.
func playPausedRegion(t *testing.T, dir string, all []*scene) {
	s := all[0]
	run(t, s.Testbed, dir, 0, "pause --region "+other+" --until 1h")
	run(t, s.Testbed, dir, 0, "paused", other)
	_ = s.i.SetHTTP(testbed.Refuse)
	s.ended(t, s.ring(t), "Told", tally{slack: 1}, "is not healthy while it is paused", "firstline resume --region "+other)
	run(t, s.Testbed, dir, 0, "resume --region "+other)
	s.i.OnReboot(testbed.CuredBy(boot))
	s.ended(t, s.ring(t), "Told", tally{reboots: 1, slack: 2}, "recovered")
}

// playStopped stops an execution right after its reboot: reconcile sees that it
// has ended, and the look that it starts tells what came of the reboot.
func playStopped(t *testing.T, _ string, all []*scene) {
	s := all[0]
	s.quieten(t)
	if got, _ := s.reconcile(t); got.InAlarm != 0 || len(got.Started) != 0 {
		t.Errorf("all is at rest, and reconcile did %+v", got)
	}
	_ = s.i.SetHTTP(testbed.Refuse)
	s.i.OnReboot(testbed.CuredBy(boot))
	arn := s.rung(t)
	until(t, "it is rebooted", func() bool { return s.i.Reboots() > 0 })
	if got, again := s.reconcile(t); again != "" || len(got.Skipped) != 1 {
		t.Errorf("an execution looks after it, and reconcile did %+v", got)
	}
	s.stop(t, arn)
	_, arn = s.reconcile(t)
	if arn == "" {
		t.Fatal("reconcile did not start a look")
	}
	s.ended(t, s.follow(t, arn), "Told", tally{reboots: 1, slack: 1}, "recovered")
	s.quieten(t)
}

// playHeartbeat has reconcile end well, which its region's heartbeat is told, and then
// fail. The command verify says when the heartbeat was pinged.
func playHeartbeat(t *testing.T, dir string, all []*scene) {
	s := all[0]
	pings := func() []testbed.Ping { return s.Heartbeats.Pings("firstline-" + other) }
	before := len(pings())
	if _, _ = s.reconcile(t); len(pings()) != before+1 || pings()[before].Failed {
		t.Errorf("pings are %+v, want one more than %d", pings(), before)
	}
	denied := s.AWS.AddFault(localaws.Fault{Service: "monitoring", Action: "DescribeAlarms", Region: other, Status: 403, Code: "AccessDenied", Message: "not authorized"})
	answers, err := s.AWS.Tick(t.Context(), other)
	denied.Remove()
	if err == nil {
		t.Errorf("reconcile answered %q", answers)
	}
	got := pings()[before+1:]
	if len(got) == 0 || !got[0].Failed || !strings.Contains(got[0].Text, "AccessDenied") {
		t.Errorf("reconcile has failed, and the heartbeat was sent %+v", got)
	}
	run(t, s.Testbed, dir, 0, "verify --json --region "+other+" --instance "+s.i.ID, `"check": "heartbeat"`, "last pinged at ", ", because ", "AccessDenied")
	if got := s.Heartbeats.Pings("firstline-" + home); len(got) != 0 {
		t.Errorf("the heartbeat of %s was sent %+v", home, got)
	}
}

// playCause has two instances need a person for the same cause, while the pagers before
// the one that takes it are down. The second joins the alert, which wakes nobody; what
// that comes to is joins. The alert is closed when the last one has left it.
func playCause(t *testing.T, all []*scene, of int, joins tally) {
	first, second, pager := all[0], all[1], all[0].Pagers()[of]
	down := first.pagersDown(t, of)
	_, _ = first.i.SetHTTP(testbed.Forbidden), second.i.SetHTTP(testbed.Forbidden)
	e := first.ring(t)
	first.ended(t, e, "Told another way", tally{slack: 1, pages: 1}, "403")
	paged := e.incident(t).Paged
	if paged == nil || paged.Pager != chained[of] || paged.Confirmed != (joins.notes > 0) {
		t.Fatalf("the page was taken by %+v, want by %s", paged, chained[of])
	}
	for _, d := range down {
		d.End()
	}
	second.ended(t, second.ring(t), "Told", joins, "403")
	if status, _ := pager.Alert(paged.Alias); status != "open" || slices.ContainsFunc(pager.OpenAlerts(), func(alias string) bool { return alias != paged.Alias }) {
		t.Errorf("the alert %s is %q, open are %q", paged.Alias, status, pager.OpenAlerts())
	}
	for _, s := range all {
		s.terminate(t)
		if e := s.ring(t); e.last() != "Told" {
			t.Errorf("ended in %q: %s", e.last(), e.state)
		}
	}
	if status, _ := pager.Alert(paged.Alias); status != "closed" || len(pager.Closings(paged.Alias)) != 1 {
		t.Errorf("the alert is %q, closed by %+v", status, pager.Closings(paged.Alias))
	}
}

// quieten has the alarms of the region return to OK. Nobody hears of it.
func (s *scene) quieten(t *testing.T) {
	t.Helper()
	if err := s.Quieten(t.Context(), s.i.Region); err != nil {
		t.Fatal(err)
	}
}

// playBreaker has an instance fall silent, which no reboot cures: the next one that
// fails is not rebooted, the breaker pages once for all that it holds back, and the command
// that closes it has them looked at.
func playBreaker(t *testing.T, dir string, all []*scene) {
	silent, first, second := all[0], all[1], all[2]
	_ = silent.i.SetHTTP(testbed.Refuse)
	_ = silent.i.SetSSH(testbed.Refuse)
	silent.ended(t, silent.ring(t), "Told", tally{reboots: 1, slack: 1, pages: 1}, "is down: URL and SSH failed; firstline's reboot did not help", "down from "+other+" and "+home)
	for _, s := range []*scene{first, second} {
		_ = s.i.SetHTTP(testbed.Refuse)
		s.i.OnReboot(testbed.CuredBy(boot))
		e := s.ring(t)
		if e.last() != "Told" {
			t.Errorf("ended in %q: %s", e.last(), e.state)
		}
	}
	held := slices.DeleteFunc(silent.Pager.Received("the region's breaker is open"), func(m testbed.Received) bool { return !strings.Contains(m.Alias, "/"+other+"/breaker/") })
	if len(held) != 2 || held[0].Note || !held[1].Note || held[0].Alias != held[1].Alias {
		t.Errorf("the breaker told of two instances with %+v", held)
	}
	if n := first.i.Reboots() + second.i.Reboots(); n != 0 {
		t.Errorf("%d reboots while the breaker is open", n)
	}
	run(t, first.Testbed, dir, 0, "paused", first.i.ID, second.i.ID)
	run(t, first.Testbed, dir, 0, "resume --region "+other, first.i.ID, second.i.ID)
	for _, s := range []*scene{first, second} {
		until(t, s.i.ID+" recovers", func() bool {
			return slices.ContainsFunc(s.Slack.Received(s.i.ID), func(m testbed.Received) bool { return strings.Contains(m.Text, s.i.ID+" in "+other+" recovered") })
		})
		if got := s.tally().reboots; got != 1 {
			t.Errorf("%s was rebooted %d times, want once", s.i.ID, got)
		}
	}
	// The schedule closes the alert that has no members any more.
	got, arn := silent.reconcile(t)
	if len(held) == 0 || !slices.Contains(got.Resolved, held[0].Alias) {
		t.Errorf("reconcile resolved %q", got.Resolved)
	} else if status, _ := silent.Pager.Alert(held[0].Alias); status != "closed" {
		t.Errorf("the breaker's alert is %q", status)
	}
	if e := silent.follow(t, arn); e.last() != "Handed over" {
		t.Errorf("a look at the silent instance ended in %q", e.last())
	}
}
