package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
)

// states plays a region's bus and state machine.
type states struct {
	t *testing.T
	// refuse is the bus's answer to the event, nil to take it.
	refuse *ebtypes.PutEventsResultEntry
	putErr error
	// lost is how many events start nothing; puts counts all.
	lost, puts int
	// delay is how long the event takes to start an execution, runs how long
	// that takes to end. Negative means for ever.
	delay, runs time.Duration
	// end, last and output are how it ends.
	end    types.ExecutionStatus
	last   string
	output string
	// others are executions that have nothing to do with it, of which so many
	// fit a page.
	others, page int
	// called is the function that the executions call, by default the deployed
	// one; so many of the first call the one before.
	called string
	stale  int
	// trouble is what calls of Step Functions end with until some time.
	trouble error
	until   time.Time

	sent      ebtypes.PutEventsRequestEntry
	at        time.Time
	described map[string]int
}

const eventID = "8c1d3f8e-52b1-4c2e-9f43-0d5b2c7a9e11"

func (s *states) PutEvents(_ context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	if s.putErr != nil {
		return nil, s.putErr
	}
	if s.refuse != nil {
		return &eventbridge.PutEventsOutput{FailedEntryCount: 1, Entries: []ebtypes.PutEventsResultEntry{*s.refuse}}, nil
	}
	s.sent = in.Entries[0]
	if s.puts++; s.puts > s.lost {
		s.at = time.Now()
	}
	return &eventbridge.PutEventsOutput{Entries: []ebtypes.PutEventsResultEntry{{EventId: aws.String(eventID)}}}, nil
}

func (s *states) started() bool {
	return !s.at.IsZero() && s.delay >= 0 && time.Since(s.at) >= s.delay
}

func (s *states) troubled() error {
	if time.Now().Before(s.until) {
		return s.trouble
	}
	return nil
}

// ListExecutions lists three newer than ours, ours, and the rest.
func (s *states) ListExecutions(_ context.Context, in *sfn.ListExecutionsInput, _ ...func(*sfn.Options)) (*sfn.ListExecutionsOutput, error) {
	if err := s.troubled(); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(aws.ToString(in.StateMachineArn), "stateMachine:firstline") {
		s.t.Errorf("asked for %s", aws.ToString(in.StateMachineArn))
	}
	var all []types.ExecutionListItem
	add := func(name string, at time.Time) {
		all = append(all, types.ExecutionListItem{ExecutionArn: aws.String("arn:x:execution:firstline:" + name), StartDate: &at})
	}
	for n := range min(3, s.others) {
		add(fmt.Sprintf("newer-%d", n), time.Now())
	}
	if s.started() {
		add("ours", s.at.Add(s.delay))
	}
	for n := range s.others {
		// Each older than the one before.
		add(fmt.Sprintf("older-%d", n), s.at.Add(-time.Duration(n)*10*time.Second))
	}
	from := 0
	if in.NextToken != nil {
		_, _ = fmt.Sscan(*in.NextToken, &from)
	}
	out := &sfn.ListExecutionsOutput{Executions: all[from:min(from+s.page, len(all))]}
	if from+s.page < len(all) {
		out.NextToken = aws.String(fmt.Sprint(from + s.page))
	}
	return out, nil
}

func (s *states) DescribeExecution(_ context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	if err := s.troubled(); err != nil {
		return nil, err
	}
	arn := aws.ToString(in.ExecutionArn)
	s.described[arn]++
	if !strings.HasSuffix(arn, ":ours") {
		return &sfn.DescribeExecutionOutput{Input: aws.String(`{"id":"another"}`)}, nil
	}
	out := &sfn.DescribeExecutionOutput{Input: aws.String(`{"id":"` + eventID + `"}`), Status: types.ExecutionStatusRunning}
	if s.ended() {
		out.Status = s.end
		if s.end == types.ExecutionStatusSucceeded {
			out.Output = &s.output
		} else {
			out.Error, out.Cause = aws.String("PageFailed"), aws.String("The pager did not take the alert")
		}
	}
	return out, nil
}

func (s *states) ended() bool { return s.runs >= 0 && time.Since(s.at) >= s.delay+s.runs }

func (s *states) GetExecutionHistory(_ context.Context, _ *sfn.GetExecutionHistoryInput, _ ...func(*sfn.Options)) (*sfn.GetExecutionHistoryOutput, error) {
	if err := s.troubled(); err != nil {
		return nil, err
	}
	enter := func(name, input string) types.HistoryEvent {
		return types.HistoryEvent{Timestamp: &s.at, Type: types.HistoryEventTypeWaitStateEntered, StateEnteredEventDetails: &types.StateEnteredEventDetails{Name: &name, Input: &input}}
	}
	called := s.called
	if s.puts <= s.lost+s.stale {
		called = strings.TrimSuffix(called, ":3") + ":2"
	}
	parameters := `{"FunctionName":"` + called + `","Payload":{"step":"open"}}`
	out := &sfn.GetExecutionHistoryOutput{Events: []types.HistoryEvent{
		enter("Open", "{}"),
		{Timestamp: &s.at, Type: types.HistoryEventTypeTaskScheduled, TaskScheduledEventDetails: &types.TaskScheduledEventDetails{Parameters: &parameters}},
	}}
	if s.ended() {
		out.Events = append(out.Events, enter(s.last, s.output))
	}
	return out, nil
}

// dry is a dry incident with a decision and what else is given of it.
func dry(verdict incident.Verdict, reason string, change func(*view)) string {
	v := view{Next: incident.NextDone, Decision: &incident.Decision{Verdict: verdict, Next: incident.NextDone, Reason: reason}}
	if change != nil {
		change(&v)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// healthyStates ends a dry incident as it should end.
func healthyStates(t *testing.T) *states {
	return &states{
		t: t, delay: 2 * time.Second, runs: 3 * time.Second, end: types.ExecutionStatusSucceeded, last: allGood,
		output: dry(incident.VerdictHealthy, "healthy", nil), called: ireland().FunctionARN, page: 100, described: map[string]int{},
	}
}

// rehearsed plays a canary.
func rehearsed(ctx context.Context, s *states, tell func(string)) Rehearsal {
	c := &canary{events: s, states: s, region: ireland(first), tell: tell}
	return c.rehearse(ctx, first)
}

// TestCanarySendsAgain has a new rule that does not match yet, and a state
// machine that still starts what it was before the deployment.
func TestCanarySendsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			lost, stale, puts int
			ok                bool
			reason            string
		}{
			{0, 0, 1, true, ""},
			{3, 0, 4, true, ""},
			{4, 0, 4, false, "no execution started"},
			{0, 1, 2, true, ""},
			{1, 1, 3, true, ""},
			{0, 4, 4, false, `called the function "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:2", but deployed is "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:3"`},
		} {
			s := healthyStates(t)
			s.lost, s.stale = tt.lost, tt.stale
			got := rehearsed(t.Context(), s, func(string) {})
			if got.OK != tt.ok || s.puts != tt.puts || !strings.Contains(got.Reason, tt.reason) || tt.ok && got.Reason != "" {
				t.Errorf("%+v: OK %v after %d events: %s", tt, got.OK, s.puts, got.Reason)
			}
		}
	})
}

// An incident that is being handled is waited for.
func TestCanaryWaitsForAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := dry("", "", func(v *view) {
			v.Next, v.Decision, v.HeldBy = incident.NextAlreadyHandled, nil, &incident.Execution{Name: "alarm-1"}
		})
		s := healthyStates(t)
		s.last, s.output = "Already handled", handled
		if got := rehearsed(t.Context(), s, func(string) {}); got.OK || s.puts != sends || !strings.Contains(got.Reason, "an incident is being handled: execution alarm-1") {
			t.Errorf("after %d events: %+v", s.puts, got)
		}
		s = healthyStates(t)
		well := s.output
		s.last, s.output = "Already handled", handled
		got := rehearsed(t.Context(), s, func(state string) {
			if strings.HasSuffix(state, "sending another event") {
				s.last, s.output = allGood, well
			}
		})
		if !got.OK || s.puts != 2 || got.Decision == nil {
			t.Errorf("after %d events: %+v", s.puts, got)
		}
	})
}

func TestCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := healthyStates(t)
		s.others, s.page = 60, 2
		var told []string
		got := rehearsed(t.Context(), s, func(state string) { told = append(told, state) })
		if got.Seconds < 5 || got.Seconds > 7 {
			t.Errorf("it took %.1f s", got.Seconds)
		}
		got.Seconds = 0
		want := Rehearsal{
			Region: "eu-west-1", InstanceID: first, ExecutionARN: "arn:x:execution:firstline:ours",
			Status: "SUCCEEDED", EndState: allGood, OK: true,
			Decision: &incident.Decision{Verdict: incident.VerdictHealthy, Next: incident.NextDone, Reason: "healthy"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if aws.ToString(s.sent.Source) != incident.SourceCanary || aws.ToString(s.sent.DetailType) != "CloudWatch Alarm State Change" || s.sent.EventBusName != nil ||
			!slices.Equal(s.sent.Resources, []string{"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-" + first + "-cpu"}) {
			t.Errorf("sent %+v", s.sent)
		}
		var detail struct {
			State struct{ Value, Timestamp string }
		}
		if err := json.Unmarshal([]byte(aws.ToString(s.sent.Detail)), &detail); err != nil || detail.State.Value != "ALARM" || !strings.HasSuffix(detail.State.Timestamp, "+0000") {
			t.Errorf("detail %s, %v", aws.ToString(s.sent.Detail), err)
		}
		for arn, n := range s.described {
			if n > 1 && !strings.HasSuffix(arn, ":ours") {
				t.Errorf("%s was described %d times", arn, n)
			}
		}
		// Those that are older than the clock may be wrong are none of ours.
		if n := len(s.described); n > 3+1+31 {
			t.Errorf("%d executions were described", n)
		}
		if len(told) < 3 || !strings.Contains(told[0], eventID) || !strings.Contains(told[1], "ours") {
			t.Errorf("told %q", told)
		}
	})
}

func TestCanaryEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*states)
		want []string
	}{
		{"URL down", func(s *states) {
			s.output = dry(incident.VerdictFailed, "must hold for 2 min first: URL: connection refused", nil)
		}, []string{first + " is not healthy (failed): must hold for 2 min first: URL: connection refused"}},
		{"blind", func(s *states) {
			s.output = dry(incident.VerdictUnknown, "URL: denied", func(v *view) { v.Decision.Kind = incident.Blind })
		}, []string{first + " is not healthy (blind): URL: denied"}},
		{"rights are missing", func(s *states) {
			s.output = dry(incident.VerdictHealthy, "healthy", func(v *view) {
				v.Decision.Unasked, v.Refusal = []string{"EC2: UnauthorizedOperation"}, "Denied: dry run"
			})
		}, []string{"could not ask EC2: UnauthorizedOperation", "EC2 would not reboot " + first + ": Denied: dry run"}},
		{"a step was denied", func(s *states) {
			s.last, s.output = "Told", dry("", "", func(v *view) {
				v.Decision, v.Caught = nil, map[string]incident.Caught{"decide": {Error: "Denied", Cause: `{"errorMessage":"load i-0: AccessDenied","errorType":"Denied"}`}}
			})
		}, []string{"the step decide ended with Denied: load i-0: AccessDenied"}},
		{"not opened, and no pager", func(s *states) {
			s.end, s.last = types.ExecutionStatusFailed, "Nobody was told"
			s.output = `{"event":{},"caught":{"open":{"Error":"InvalidInput","Cause":"no settings"},"page":{"Error":"Denied","Cause":"not set"}}}`
		}, []string{"the step open ended with InvalidInput: no settings", "the step page ended with Denied: not set", `ended in "Nobody was told" with the status FAILED`}},
		{"aborted", func(s *states) { s.end, s.last = types.ExecutionStatusAborted, "Check URL" }, []string{`ended in "Check URL" with the status ABORTED`}},
		{"elsewhere", func(s *states) { s.last = "Told" }, []string{`it ended in "Told", not in "All good"`}},
		{"undecided", func(s *states) { s.output = "{}" }, []string{"the policy has not decided"}},
		{"no incident", func(s *states) { s.output = `[]` }, []string{"the execution's output is no incident"}},
		{"refused", func(s *states) {
			s.refuse = &ebtypes.PutEventsResultEntry{ErrorCode: aws.String("NotAuthorizedForSource"), ErrorMessage: aws.String("no")}
		}, []string{"EventBridge refused the event: NotAuthorizedForSource: no"}},
		{"not sent", func(s *states) { s.putErr = refusal(http.StatusBadRequest, "AccessDeniedException") }, []string{"the event could not be sent: AccessDeniedException: said AWS"}},
		{"not started", func(s *states) { s.delay = -1 }, []string{"no execution started within 30s: does the rule firstline-canary exist, is it enabled"}},
		{"not ended", func(s *states) { s.runs = -1 }, []string{"has not ended within 10 minutes; it has come to Open"}},
		{"not to be read", func(s *states) {
			s.trouble, s.until = refusal(http.StatusBadRequest, "AccessDeniedException"), time.Now().Add(time.Hour)
		}, []string{"the executions cannot be read: AccessDeniedException"}},
		{"down for long", func(s *states) {
			s.trouble, s.until = refusal(http.StatusServiceUnavailable, "ServiceUnavailable"), time.Now().Add(time.Hour)
		}, []string{"the executions cannot be read: ServiceUnavailable"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := healthyStates(t)
				tt.set(s)
				got := rehearsed(t.Context(), s, func(string) {})
				if got.OK {
					t.Fatal("it is said to be well")
				}
				for _, want := range tt.want {
					if !strings.Contains(got.Reason, want) {
						t.Errorf("%q does not say %q", got.Reason, want)
					}
				}
			})
		})
	}
}

// Trouble that passes is ridden out, and no line is told twice.
func TestCanaryTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := healthyStates(t)
		s.trouble, s.until = refusal(http.StatusServiceUnavailable, "ServiceUnavailable"), time.Now().Add(20*time.Second)
		if got := rehearsed(t.Context(), s, func(string) {}); !got.OK {
			t.Errorf("while it is looked for: %+v", got)
		}
		// What is over is not the reason why none has started.
		s = healthyStates(t)
		s.lost = 1
		s.trouble, s.until = refusal(http.StatusBadRequest, "ThrottlingException"), time.Now().Add(20*time.Second)
		if got := rehearsed(t.Context(), s, func(string) {}); !got.OK || s.puts != 2 {
			t.Errorf("while it is looked for, and then none has started: %d events, %+v", s.puts, got)
		}
		s = healthyStates(t)
		s.runs = time.Minute
		s.trouble = refusal(http.StatusBadRequest, "ThrottlingException")
		told := map[string]int{}
		got := rehearsed(t.Context(), s, func(state string) {
			if told[state]++; strings.HasPrefix(state, "Open") {
				s.until = time.Now().Add(5 * time.Second)
			}
		})
		if !got.OK {
			t.Errorf("while it is followed: %+v", got)
		}
		for state, n := range told {
			if n > 1 {
				t.Errorf("told %d times: %s", n, state)
			}
		}
	})
}

func TestCanaryInterrupted(t *testing.T) {
	for name, set := range map[string]func(*states){
		"before it has started": func(s *states) { s.delay = -1 },
		"while it runs":         func(s *states) { s.runs = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := healthyStates(t)
				set(s)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(30*time.Second, cancel)
				if got := rehearsed(ctx, s, func(string) {}); got.OK || got.Reason != "interrupted" || got.Seconds != 30 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestCanaryNeeds(t *testing.T) {
	s := healthyStates(t)
	c := &canary{events: s, states: s, region: ireland(first), tell: func(string) {}}
	if got := c.rehearse(t.Context(), second); !strings.Contains(got.Reason, "no alarm of the deployment in eu-west-1 is on "+second) {
		t.Errorf("%+v", got)
	}
	c.region.StateMachineARN = ""
	if got := c.rehearse(t.Context(), first); !strings.Contains(got.Reason, "deploy it again") {
		t.Errorf("%+v", got)
	}
	if s.sent.Source != nil {
		t.Error("an event was sent")
	}
}
