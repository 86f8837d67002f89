package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"firstline/internal/incident"
	"firstline/test/localaws"
	"firstline/test/testbed"
)

// playCommands tries the operator's commands on an instance that is handed over.
func playCommands(t *testing.T, dir string, all []*scene) {
	s := all[0]
	_ = s.i.SetHTTP(testbed.Broken)
	e := s.ring(t)
	s.ended(t, e, "Told", tally{slack: 1, pages: 1}, "is down")
	t.Run("pause", func(t *testing.T) {
		run(t, s.Testbed, dir, 0, "pause --instance "+s.i.ID+" --until 3d", s.i.ID)
		var paused struct {
			Pauses []struct {
				InstanceID string `json:"instance_id"`
				Until      time.Time
			}
			HandedOver []handedOver `json:"handed_over"`
		}
		decode(t, s.byName(t, 0, "paused --json"), &paused)
		if len(paused.Pauses) != 1 || paused.Pauses[0].InstanceID != s.i.ID || time.Until(paused.Pauses[0].Until) < 71*time.Hour {
			t.Errorf("paused are %+v", paused.Pauses)
		}
		if !slices.ContainsFunc(paused.HandedOver, func(h handedOver) bool { return h.InstanceID == s.i.ID && h.Pager == "opsgenie" }) {
			t.Errorf("handed over are %+v", paused.HandedOver)
		}
		s.byName(t, 0, "resume --instance "+s.i.ID, s.i.ID)
		s.byName(t, 0, "pause --region "+home+" --instance "+s.i.ID, s.i.ID)
		run(t, s.Testbed, dir, 0, "resume --instance "+s.i.ID, s.i.ID)
		s.byName(t, 2, "paused --name nothing --region "+home, `"nothing" is not deployed in `+home)
	})
	t.Run("incidents", func(t *testing.T) { s.playIncidents(t, dir, e) })
	t.Run("redrive", func(t *testing.T) { s.playRedrive(t, dir) })
	t.Run("explain", func(t *testing.T) { s.playExplain(t) })
	t.Run("handback", func(t *testing.T) { s.playHandBack(t) })
}

// handedOver is an instance that paused lists.
type handedOver struct {
	InstanceID string `json:"instance_id"`
	Pager      string
}

// playIncidents lists incidents, and shows one.
func (s *scene) playIncidents(t *testing.T, dir string, e ending) {
	run(t, s.Testbed, dir, 0, "incidents --region "+home+" --instance "+s.i.ID, e.name[:8], " looks in ")
	s.byName(t, 0, "incident "+e.name[:8], s.i.ID, "row 10", "503", "its budget is 0 reboots per day", "opsgenie")
	var one struct {
		Incident struct {
			ID    string
			Told  bool
			Looks []struct {
				Look, Row                         int
				Verdict, Next, Reason, Confirming string
			}
		}
	}
	decode(t, run(t, s.Testbed, dir, 0, "incident "+e.name+" --json"), &one)
	looks := one.Incident.Looks
	if len(looks) < 2 || looks[0].Confirming != "page" || looks[0].Row != 10 || looks[len(looks)-1].Next != incident.NextPage || !one.Incident.Told {
		t.Errorf("%+v", one.Incident)
	}
	denied := s.AWS.AddFault(localaws.Fault{Service: "dynamodb", Region: home, Status: 400, Code: "AccessDeniedException", Message: "not you"})
	defer denied.Remove()
	run(t, s.Testbed, dir, 1, "incidents --region "+home, home+": ", "AccessDeniedException: not you")
}

// playRedrive starts the incident of an event that EventBridge could not deliver.
func (s *scene) playRedrive(t *testing.T, dir string) {
	run(t, s.Testbed, dir, 0, "redrive --region "+home, "nothing lies in the dead-letter queue of "+home)
	lost := s.AWS.AddFault(localaws.Fault{Service: "states", Action: "StartExecution", Region: home, Contains: s.i.ID, Status: 403, Code: "AccessDeniedException", Message: "the role may not"})
	if arns, err := s.AWS.Ring(t.Context(), home, s.alarm(), "Threshold Crossed"); err != nil || len(arns) != 0 {
		t.Fatalf("the alarm started %q, %v", arns, err)
	}
	lost.Remove()
	queue := sqs.NewFromConfig(s.AWS.Config(home))
	url, err := queue.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(s.deployment + "-dead-letter")})
	if err != nil {
		t.Fatal(err)
	}
	junk, err := queue.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: url.QueueUrl, MessageBody: aws.String("no event"),
		MessageAttributes: map[string]sqstypes.MessageAttributeValue{"ERROR_CODE": {DataType: aws.String("String"), StringValue: aws.String("SDK_CLIENT_ERROR")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Messages []struct {
			ID         string `json:"message_id"`
			InstanceID string `json:"instance_id"`
			Result     string
			Execution  string `json:"incident_id"`
		}
	}
	decode(t, s.byName(t, 1, "redrive --yes --json"), &result)
	execution := ""
	for _, m := range result.Messages {
		switch {
		case m.InstanceID == s.i.ID:
			execution = m.Execution
		case m.ID != aws.ToString(junk.MessageId) || m.Execution != "":
			t.Errorf("%+v", m)
		}
	}
	if execution == "" {
		t.Fatalf("no incident was started: %+v", result)
	}
	e := s.follow(t, strings.Replace(s.machine(), ":stateMachine:", ":execution:", 1)+":"+execution)
	s.ended(t, e, "Handed over", tally{slack: 1, pages: 1})
}

// playExplain asks what an alarm of an instance that is handed over would lead to, and
// finds nothing changed.
func (s *scene) playExplain(t *testing.T) {
	before, incidents := s.tally(), s.byName(t, 0, "incidents --instance "+s.i.ID)
	var x struct {
		Stored struct {
			HandedOver handedOver `json:"handed_over"`
		}
		Decision struct {
			Row      int
			Verdict  string
			Findings []struct{ Check, Reason string }
		}
		Facts  []struct{ Fact, Value, Error string }
		Guards []struct {
			Guard, Reason string
			Passes        bool
		}
	}
	decode(t, s.byName(t, 0, "explain --json --instance "+s.i.ID, "IF AN ALARM FIRED NOW", "REFUSES: its budget is 0 reboots per day"), &x)
	if x.Stored.HandedOver.Pager != "opsgenie" || x.Decision.Row != 8 || x.Decision.Verdict != "failed" || len(x.Decision.Findings) != 3 {
		t.Errorf("%+v", x)
	}
	for _, g := range x.Guards {
		if g.Passes != (g.Guard != "never") {
			t.Errorf("guard %+v", g)
		}
	}
	for _, f := range x.Facts {
		if f.Error != "" {
			t.Errorf("fact %+v", f)
		}
	}
	if after := s.tally(); after != before || s.byName(t, 0, "incidents --instance "+s.i.ID) != incidents {
		t.Errorf("explain left a trace: %+v, before %+v", after, before)
	}
}

// playHandBack ends the hand-over of an instance that a person has mended.
func (s *scene) playHandBack(t *testing.T) {
	_ = s.i.SetHTTP(testbed.Healthy)
	s.byName(t, 0, "handback --instance "+s.i.ID, "handed back")
	machine := s.machine()
	client, execution := sfn.NewFromConfig(s.AWS.Config(s.i.Region)), ""
	pages := sfn.NewListExecutionsPaginator(client, &sfn.ListExecutionsInput{StateMachineArn: &machine})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Executions {
			if strings.HasPrefix(aws.ToString(e.Name), "handback-"+s.i.ID+"-") {
				execution = aws.ToString(e.ExecutionArn)
			}
		}
	}
	if execution == "" {
		t.Fatal("no look was started")
	}
	s.ended(t, s.follow(t, execution), "Told", tally{slack: 2, pages: 1, closed: 1}, "is firstline's again: handed back by arn:aws:")
	s.byName(t, 2, "handback --instance "+s.i.ID, "not handed over: "+s.i.ID)
}

// machine is the ARN of the deployment's state machine.
func (s *scene) machine() string {
	return "arn:aws:states:" + s.i.Region + ":" + localaws.AccountID + ":stateMachine:" + s.deployment
}

// playNotifyTest tries all channels: what works, and what does not.
func playNotifyTest(t *testing.T, _ string, all []*scene) {
	s := all[0]
	type delivery struct {
		Channel       string
		OK, Confirmed bool
		Error         string
	}
	test := func(code int, want ...string) map[string]delivery {
		t.Helper()
		var result struct {
			Regions []struct{ Deliveries []delivery }
		}
		decode(t, s.byName(t, code, "notify test --region "+home+" --json", want...), &result)
		byChannel := map[string]delivery{}
		for _, r := range result.Regions {
			for _, d := range r.Deliveries {
				byChannel[d.Channel] = d
			}
		}
		if len(byChannel) != len(chained)+2 {
			t.Fatalf("%d channels, want the pagers, Slack and the heartbeat: %+v", len(byChannel), result)
		}
		return byChannel
	}
	for channel, d := range test(0) {
		// PagerDuty and SNS have no way to tell.
		if tells := channel != "pagerduty" && channel != "sns"; !d.OK || d.Confirmed != tells {
			t.Errorf("%+v, want it taken, and confirmed: %t", d, tells)
		}
	}
	const label = "This is a test message"
	for n, service := range append(s.Pagers(), s.Slack) {
		if got := len(service.Received(label)); got != 1 {
			t.Errorf("%s has %d tests", append(slices.Clone(chained[:len(s.Pagers())]), "Slack")[n], got)
		}
	}
	for n, service := range s.Pagers() {
		if open := service.OpenAlerts(); slices.ContainsFunc(open, func(alias string) bool { return strings.Contains(alias, "/test/") }) {
			t.Errorf("the tests leave open at %s: %q", chained[n], open)
		}
	}
	if !slices.ContainsFunc(s.AWS.Published(s.topic), func(n localaws.Notification) bool { return strings.Contains(n.Message, label) }) {
		t.Error("no test was published")
	}
	// What does not work is named, with what to do, and keeps no other from being
	// tried.
	key, invited := s.JSM.Trouble(testbed.Failing(401)), s.Slack.Trouble(testbed.NotOK("not_in_channel"))
	defer key.End()
	defer invited.End()
	for channel, d := range test(1, home+": Jira Service Management: ", home+": Slack: ", "invite") {
		// The heartbeat is Jira Service Management's.
		if works := !slices.Contains([]string{"jsm", "heartbeat", "slack"}, channel); d.OK != works {
			t.Errorf("%+v, want it to work: %t", d, works)
		}
	}
}
