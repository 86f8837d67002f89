package test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/incident"
	"firstline/test/localaws"
	"firstline/test/testbed"
)

const (
	home  = "eu-west-1"
	other = "us-east-1"
	// plain is the deployment of most stories, with one pager; chain has all pagers.
	plain = "firstline"
	chain = "chain"
	// pace shortens the waits of the state machine: 60 s become 6.
	pace = 10
	// longEnough bounds what a story waits for.
	longEnough = 4 * time.Minute
)

// scene is an instance with all that a story needs.
type scene struct {
	*testbed.Testbed
	i          *testbed.Instance
	deployment string
	executions *started
	// topic is the ARN of the deployment's topic; "" for none.
	topic string
}

// started remembers the executions of a test.
type started struct {
	mu  sync.Mutex
	all map[string]string // ARN to region
}

func (s *started) add(arn, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]string{}
	}
	s.all[arn] = region
}

// alarm is the name of the instance's alarm cpu.
func (s *scene) alarm() string { return s.deployment + "-alarm-" + s.i.ID + "-cpu" }

// ending is how an execution ended.
type ending struct {
	name   string
	status sfntypes.ExecutionStatus
	// path are the states that it went through, state is what the last one was
	// entered with.
	path  []string
	state string
}

func (e ending) last() string { return e.path[len(e.path)-1] }

// incident is the incident as the last state had it.
func (e ending) incident(t *testing.T) *incident.Incident {
	t.Helper()
	inc := new(incident.Incident)
	if err := json.Unmarshal([]byte(e.state), inc); err != nil {
		t.Fatalf("%v: %s", err, e.state)
	}
	return inc
}

// ring has the instance's alarm fire and follows the one execution that this
// starts.
func (s *scene) ring(t *testing.T) ending {
	t.Helper()
	return s.follow(t, s.rung(t))
}

// rung has the instance's alarm cpu fire and returns the execution that this starts.
func (s *scene) rung(t *testing.T) (arn string) {
	t.Helper()
	return s.triggered(t, s.alarm())
}

// triggered has an alarm fire and returns the execution that this starts.
func (s *scene) triggered(t *testing.T, alarm string) (arn string) {
	t.Helper()
	arns, err := s.AWS.Ring(t.Context(), s.i.Region, alarm, "Threshold Crossed")
	if err != nil {
		t.Fatal(err)
	}
	if len(arns) != 1 {
		t.Fatalf("the alarm started %d executions, want 1", len(arns))
	}
	return arns[0]
}

// follow waits for the end of an execution.
func (s *scene) follow(t *testing.T, arn string) (e ending) {
	t.Helper()
	s.executions.add(arn, s.i.Region)
	client := sfn.NewFromConfig(s.AWS.Config(s.i.Region))
	until(t, arn+" ends", func() bool {
		out, err := client.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: &arn})
		if err != nil {
			t.Fatal(err)
		}
		e.name, e.status = aws.ToString(out.Name), out.Status
		return out.Status != sfntypes.ExecutionStatusRunning
	})
	for _, h := range s.history(t, arn) {
		if entered := h.StateEnteredEventDetails; entered != nil {
			e.path, e.state = append(e.path, aws.ToString(entered.Name)), aws.ToString(entered.Input)
		}
	}
	return e
}

func (s *scene) history(t *testing.T, arn string) (events []sfntypes.HistoryEvent) {
	t.Helper()
	pages := sfn.NewGetExecutionHistoryPaginator(sfn.NewFromConfig(s.AWS.Config(s.i.Region)), &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, page.Events...)
	}
	return events
}

// enters waits until an execution has entered a state.
func (s *scene) enters(t *testing.T, arn, state string) {
	t.Helper()
	until(t, "the execution comes to "+state, func() bool {
		return slices.ContainsFunc(s.history(t, arn), func(h sfntypes.HistoryEvent) bool {
			return h.StateEnteredEventDetails != nil && aws.ToString(h.StateEnteredEventDetails.Name) == state
		})
	})
}

// stop stops an execution, as a person does.
func (s *scene) stop(t *testing.T, arn string) {
	t.Helper()
	if _, err := sfn.NewFromConfig(s.AWS.Config(s.i.Region)).StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: &arn}); err != nil {
		t.Fatal(err)
	}
	if e := s.follow(t, arn); e.status != sfntypes.ExecutionStatusAborted {
		t.Fatalf("%s is %s, want it stopped", arn, e.status)
	}
}

// terminate terminates the instance.
func (s *scene) terminate(t *testing.T) {
	t.Helper()
	if _, err := ec2.NewFromConfig(s.AWS.Config(s.i.Region)).TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{s.i.ID}}); err != nil {
		t.Fatal(err)
	}
}

// refuse has a service answer 503 to all that concerns the instance, or treat it
// as a trouble says.
func (s *scene) refuse(t *testing.T, of *testbed.Service, as ...testbed.Trouble) *testbed.InTrouble {
	t.Helper()
	trouble := testbed.Failing(503)
	if len(as) > 0 {
		trouble = as[0]
	}
	trouble.Pick = func(r testbed.Request) bool { return r.Has(s.i.ID) }
	in := of.Trouble(trouble)
	t.Cleanup(func() {
		if in.Hits() == 0 {
			t.Error("the service's trouble never happened")
		}
	})
	return in
}

// pagersDown has the first of the chain's pagers answer 503 to all that concerns the
// instance, until all the troubles end.
func (s *scene) pagersDown(t *testing.T, first int) (troubles []*testbed.InTrouble) {
	t.Helper()
	for _, p := range s.Pagers()[:first] {
		troubles = append(troubles, s.refuse(t, p))
	}
	return troubles
}

// tally is what has come of an instance so far.
type tally struct {
	// reboots are those that EC2 was asked for.
	reboots int
	// slack are messages to Slack, pages and notes those of all pagers.
	slack, pages, notes int
	// closed are alerts that firstline has closed.
	closed int
}

// ended asserts how an incident ended, what has come of its instance so far, and
// what each message of this incident says.
func (s *scene) ended(t *testing.T, e ending, end string, want tally, says ...string) {
	t.Helper()
	if fails := slices.Contains([]string{"Told another way", "Nobody was told"}, end); e.last() != end || (e.status == sfntypes.ExecutionStatusFailed) != fails {
		t.Errorf("ended in %q (%s), want %q", e.last(), e.status, end)
	}
	if got := s.tally(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	said := 0
	for _, m := range s.told() {
		if !strings.Contains(m.Body, e.name) {
			continue // an earlier incident's
		}
		said++
		for _, want := range append([]string{s.i.ID, s.i.Region, localaws.AccountID, "firstline incident " + e.name}, says...) {
			if !strings.Contains(m.Text+m.Body, want) {
				t.Errorf("the message does not say %q:\n%s\n%s", want, m.Text, m.Body)
			}
		}
	}
	if len(says) > 0 && said == 0 {
		t.Errorf("nobody was told that %q", says)
	}
	if t.Failed() {
		t.Logf("it went %q, and ended with\n%s", e.path, e.state)
	}
}

// told are all messages about the instance.
func (s *scene) told() []testbed.Received {
	all := s.Slack.Received(s.i.ID)
	for _, p := range s.Pagers() {
		all = append(all, p.Received(s.i.ID)...)
	}
	for _, n := range s.published() {
		all = append(all, testbed.Received{At: n.At, Text: n.Subject, Body: n.Message})
	}
	return all
}

// published are the messages about the instance that went to the deployment's
// topic.
func (s *scene) published() []localaws.Notification {
	if s.topic == "" {
		return nil
	}
	return slices.DeleteFunc(s.AWS.Published(s.topic), func(n localaws.Notification) bool { return !strings.Contains(n.Message, s.i.ID) })
}

func (s *scene) tally() (got tally) {
	for _, r := range s.AWS.Reboots() {
		if r.InstanceID == s.i.ID {
			got.reboots++
		}
	}
	got.slack, got.pages = len(s.Slack.Received(s.i.ID)), len(s.published())
	for _, p := range s.Pagers() {
		for _, m := range p.Received(s.i.ID) {
			if m.Note {
				got.notes++
			} else {
				got.pages++
			}
		}
		for _, m := range p.Closings("") {
			if m.User != testbed.Person && strings.Contains(m.Body, s.i.ID) {
				got.closed++
			}
		}
	}
	return got
}

// send delivers an event of a source about the instance's alarm, and returns the
// execution that it starts.
func (s *scene) send(t *testing.T, source string) (arn string) {
	t.Helper()
	at := time.Now().UTC()
	raw, err := json.Marshal(map[string]any{
		"version": "0", "id": fmt.Sprintf("%s-%d", s.i.ID, at.UnixNano()), "detail-type": incident.DetailTypeAlarm, "source": source,
		"account": localaws.AccountID, "time": at.Format(time.RFC3339), "region": s.i.Region,
		"resources": []string{"arn:aws:cloudwatch:" + s.i.Region + ":" + localaws.AccountID + ":alarm:" + s.alarm()},
		"detail": map[string]any{
			"alarmName": s.alarm(),
			"state":     map[string]any{"value": "ALARM", "reason": "Threshold Crossed", "timestamp": at.Format("2006-01-02T15:04:05.000+0000")},
			"configuration": map[string]any{"metrics": []any{map[string]any{"id": "m1", "returnData": true, "metricStat": map[string]any{
				"metric": map[string]any{"namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": map[string]any{"InstanceId": s.i.ID}}, "period": 300, "stat": "Maximum",
			}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	arns, err := s.AWS.PutEvent(t.Context(), s.i.Region, raw)
	if err != nil || len(arns) != 1 {
		t.Fatalf("the event started %d executions, want 1: %v", len(arns), err)
	}
	return arns[0]
}

// reconciled is what reconcile answers.
type reconciled struct {
	InAlarm  int              `json:"in_alarm"`
	Started  []reconciledItem `json:"started"`
	Skipped  []reconciledItem `json:"skipped"`
	Failed   []reconciledItem `json:"failed"`
	Resolved []string         `json:"resolved"`
}

type reconciledItem struct{ Instance, Execution, Reason string }

// reconcile lets one period of the region's schedule pass, and returns what
// reconcile did and the execution that it started for the instance.
func (s *scene) reconcile(t *testing.T) (all reconciled, arn string) {
	t.Helper()
	answers, err := s.AWS.Tick(t.Context(), s.i.Region)
	if err != nil || len(answers) != 1 {
		t.Fatalf("the schedules answered %q, %v", answers, err)
	}
	if err := json.Unmarshal([]byte(answers[0]), &all); err != nil {
		t.Fatal(err)
	}
	for _, x := range all.Started {
		if x.Instance == s.i.ID {
			arn = "arn:aws:states:" + s.i.Region + ":" + localaws.AccountID + ":execution:" + s.deployment + ":" + x.Execution
		}
	}
	return all, arn
}

// until waits for a condition.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// functionARN is the ARN of a deployment's function in a region, without a version.
func functionARN(deployment, region string) string {
	return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s-responder", region, localaws.AccountID, deployment)
}
