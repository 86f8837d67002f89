package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/deployed"
	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/timeline"
)

// Rehearsal is what came of a dry incident.
type Rehearsal struct {
	Region     string `json:"region"`
	InstanceID string `json:"instance_id"`
	// ExecutionARN is empty when none started.
	ExecutionARN string `json:"execution_arn,omitempty"`
	// Status is the execution's, EndState the name of its last state.
	Status   string `json:"status,omitempty"`
	EndState string `json:"end_state,omitempty"`
	// Decision is the policy's, Suppressed what would have been done.
	Decision   *incident.Decision    `json:"decision,omitempty"`
	Suppressed []incident.Suppressed `json:"suppressed,omitempty"`
	// OK is true when the incident went through all that an incident goes through,
	// and found the instance healthy. Reason says why it is not.
	OK      bool    `json:"ok"`
	Reason  string  `json:"reason,omitempty"`
	Seconds float64 `json:"seconds"`
}

// allGood is the state in which a dry incident ends.
const allGood = "All good"

const (
	// startTime bounds the wait for the execution of an event. EventBridge delivers
	// within a second, but a rule that has just been made may take a while to match.
	startTime = 30 * time.Second
	// sends is how many events are sent at most, and againPause the time between.
	sends, againPause = 4, 10 * time.Second
	// endTime bounds a dry incident. It takes a minute at most, unless a step has to
	// be retried for long.
	endTime = 10 * time.Minute
	poll    = time.Second
	// clockSkew is how far this machine's clock may be ahead of AWS's, which takes
	// no request that is off by more.
	clockSkew = 5 * time.Minute
)

// sender is the one call of EventBridge's client that sends events.
type sender interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// executions is what a rehearsal needs of Step Functions' client.
type executions interface {
	timeline.Histories
	ListExecutions(context.Context, *sfn.ListExecutionsInput, ...func(*sfn.Options)) (*sfn.ListExecutionsOutput, error)
}

// Canary sends the event of an instance's alarm, as a dry one, to the region's
// default bus, and follows the incident that it starts to its end. It reboots
// nothing and tells nobody. It tells the states of the incident as they end.
//
// A failure is never an error of Canary: everything is in the Rehearsal, also
// that ctx has ended.
func Canary(ctx context.Context, cfg aws.Config, r deployed.Region, instanceID string, tell func(state string)) Rehearsal {
	cfg = InRegion(cfg, r.Region)
	c := &canary{events: eventbridge.NewFromConfig(cfg), states: sfn.NewFromConfig(cfg), region: r, tell: tell}
	return c.rehearse(ctx, instanceID)
}

// canary is one run of Canary.
type canary struct {
	events sender
	states executions
	region deployed.Region
	tell   func(state string)
}

// againError says that another event may do better: this one started no
// execution so far, or one of the state machine as it was before the deployment,
// which for some seconds after an update is possible
// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateStateMachine.html),
// or one that found an incident being handled.
type againError struct{ error }

func (c *canary) rehearse(ctx context.Context, instanceID string) Rehearsal {
	start := time.Now()
	r := Rehearsal{Region: c.region.Region, InstanceID: instanceID}
	err := errors.New("only a part of the region is deployed, without the state machine: deploy it again")
	if c.region.StateMachineARN != "" {
		err = c.once(ctx, &r)
	}
	for n := 1; n < sends; n++ {
		// One that comes late after all is dry as well.
		if _, again := errors.AsType[againError](err); !again || sleep(ctx, againPause) != nil {
			break
		}
		c.tell(err.Error() + "; sending another event")
		r = Rehearsal{Region: r.Region, InstanceID: instanceID}
		err = c.once(ctx, &r)
	}
	switch {
	case ctx.Err() != nil:
		r.Reason = "interrupted"
	case err != nil:
		r.Reason = err.Error()
	default:
		r.OK = true
	}
	r.Seconds = time.Since(start).Seconds()
	return r
}

// once sends one event and follows the incident that it starts. Its error says
// why the rehearsal did not go as it should.
func (c *canary) once(ctx context.Context, r *Rehearsal) error {
	sent := time.Now()
	id, err := c.send(ctx, r.InstanceID, sent)
	if err != nil {
		return err
	}
	c.tell("event " + id + " sent")
	if r.ExecutionARN, err = c.find(ctx, id, sent); err != nil {
		return err
	}
	c.tell("execution " + r.ExecutionARN[strings.LastIndex(r.ExecutionARN, ":")+1:] + " started")
	end, err := c.follow(ctx, r.ExecutionARN)
	if err != nil {
		return err
	}
	past, err := c.history(ctx, r.ExecutionARN)
	if err != nil {
		return err
	}
	r.Status, r.EndState = string(end.Status), past.last
	err = r.judge(end, past)
	if past.called == c.region.FunctionARN {
		return err
	}
	// Whatever came of it, it says nothing of what was deployed.
	stale := fmt.Errorf("the dry incident called the function %q, but deployed is %q", past.called, c.region.FunctionARN)
	if err != nil {
		stale = fmt.Errorf("%w: %w", stale, err)
	}
	return againError{stale}
}

// send puts the event on the default bus and returns its id.
func (c *canary) send(ctx context.Context, instanceID string, now time.Time) (string, error) {
	names := c.region.Alarms(instanceID)
	if len(names) == 0 {
		return "", fmt.Errorf("no alarm of the deployment in %s is on %s: name the instance in regions.tfvars and deploy", c.region.Region, instanceID)
	}
	type object = map[string]any
	detail, err := json.Marshal(object{
		"alarmName": names[0],
		"configuration": object{"metrics": []any{object{"metricStat": object{"metric": object{
			"namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": object{incident.DimensionInstance: instanceID},
		}}}}},
		"state": object{"value": "ALARM", "reason": "A dry run, which acts on nothing.", "timestamp": now.UTC().Format("2006-01-02T15:04:05.000-0700")},
	})
	if err != nil {
		return "", err
	}
	out, err := c.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source:     aws.String(incident.SourceCanary),
		DetailType: aws.String(incident.DetailTypeAlarm),
		Detail:     aws.String(string(detail)),
		Resources:  []string{c.region.AlarmARN(names[0])},
		Time:       &now,
	}}})
	if err != nil {
		return "", fmt.Errorf("the event could not be sent: %s", Said(err))
	}
	if len(out.Entries) != 1 {
		return "", fmt.Errorf("EventBridge answered for %d events, one was sent", len(out.Entries))
	}
	e := out.Entries[0]
	if out.FailedEntryCount > 0 || e.EventId == nil {
		return "", fmt.Errorf("EventBridge refused the event: %s: %s", aws.ToString(e.ErrorCode), aws.ToString(e.ErrorMessage))
	}
	return *e.EventId, nil
}

// find waits for the execution whose input is the event of that id.
func (c *canary) find(ctx context.Context, id string, sent time.Time) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	looked := map[string]bool{}
	var trouble error
	for {
		arn, err := c.look(bounded, id, sent.Add(-clockSkew), looked)
		if arn != "" {
			return arn, nil
		}
		switch {
		case err == nil:
			trouble = nil
		case bounded.Err() == nil:
			if trouble = fmt.Errorf("the executions cannot be read: %s", Said(err)); !passing(err) {
				return "", trouble
			}
		}
		if sleep(bounded, poll) == nil {
			continue
		}
		if trouble != nil || ctx.Err() != nil {
			return "", errors.Join(trouble, ctx.Err())
		}
		return "", againError{fmt.Errorf("no execution started within %s: does the rule %s exist, is it enabled, and may its role start the state machine? Its metric FailedInvocations tells", startTime, c.region.CanaryRuleName)}
	}
}

// look goes once through the executions that may be it, newest first, and
// describes each only once.
func (c *canary) look(ctx context.Context, id string, since time.Time, looked map[string]bool) (string, error) {
	pages := sfn.NewListExecutionsPaginator(c.states, &sfn.ListExecutionsInput{StateMachineArn: &c.region.StateMachineARN, MaxResults: 100})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, e := range page.Executions {
			arn := aws.ToString(e.ExecutionArn)
			if e.StartDate != nil && e.StartDate.Before(since) {
				return "", nil
			}
			if looked[arn] {
				continue
			}
			d, err := c.states.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
			if err != nil {
				return "", err
			}
			looked[arn] = true
			var event struct {
				ID string `json:"id"`
			}
			// Whatever else started an execution is none of ours.
			if json.Unmarshal([]byte(aws.ToString(d.Input)), &event) == nil && event.ID == id {
				return arn, nil
			}
		}
	}
	return "", nil
}

// passing reports whether what ended a call may be over in a moment.
func passing(err error) bool { return fault.KindOf(fault.AWS("", err)) == fault.Unavailable }

// follow waits for the end of an execution.
func (c *canary) follow(ctx context.Context, arn string) (*sfn.DescribeExecutionOutput, error) {
	bounded, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	told, last := 0, "its start"
	for {
		n := 0
		end, err := timeline.Follow(bounded, c.states, arn, func(l timeline.Line) {
			// After trouble the lines come from the first one again.
			if n++; n > told {
				told, last = n, l.State
				c.tell(l.State + ": " + l.Text)
			}
		})
		switch {
		case err == nil:
			return end, nil
		case bounded.Err() == nil && passing(err):
			if sleep(bounded, poll) == nil {
				continue
			}
		case bounded.Err() == nil:
			return nil, fmt.Errorf("the execution cannot be followed: %s", Said(err))
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("the dry incident has not ended within %.0f minutes; it has come to %s", endTime.Minutes(), last)
	}
}

// past is what is read of an execution's history.
type past struct {
	// last is the state in which it ended, and input what that was entered with.
	last, input string
	// called is the function that its first task called.
	called string
}

// history reads an execution's history.
func (c *canary) history(ctx context.Context, arn string) (p past, err error) {
	pages := sfn.NewGetExecutionHistoryPaginator(c.states, &sfn.GetExecutionHistoryInput{
		ExecutionArn: &arn, MaxResults: 1000, IncludeExecutionData: aws.Bool(true),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return past{}, fmt.Errorf("the execution's history cannot be read: %s", Said(err))
		}
		for _, e := range page.Events {
			if entered := e.StateEnteredEventDetails; entered != nil {
				p.last, p.input = aws.ToString(entered.Name), aws.ToString(entered.Input)
			}
			if task := e.TaskScheduledEventDetails; task != nil && p.called == "" {
				var call struct{ FunctionName string }
				// Whatever else it holds names no function.
				_ = json.Unmarshal([]byte(aws.ToString(task.Parameters)), &call)
				p.called = call.FunctionName
			}
		}
	}
	return p, nil
}

// judge returns an error that says in words what did not go as it should.
func (r *Rehearsal) judge(end *sfn.DescribeExecutionOutput, p past) error {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var v view
	// An execution that failed has no output.
	if err := json.Unmarshal([]byte(cmp.Or(aws.ToString(end.Output), p.input)), &v); err != nil {
		say("the execution's output is no incident: %v", err)
	}
	if v.Next == incident.NextAlreadyHandled {
		return againError{errors.New(v.handled())}
	}
	r.Suppressed, r.Decision = v.Suppressed, v.Decision
	for _, step := range slices.Sorted(maps.Keys(v.Caught)) {
		c := v.Caught[step]
		say("the step %s ended with %s", step, (&functionError{Kind: c.Error, Message: Unpack(c.Cause)}).Error())
	}
	if d := v.Decision; d != nil {
		for _, why := range d.Unasked {
			say("could not ask %s", why)
		}
		if d.Verdict != incident.VerdictHealthy {
			say("%s is not healthy (%s): %s", r.InstanceID, cmp.Or(string(d.Kind), string(d.Verdict)), d.Reason)
		}
	}
	if v.Refusal != "" {
		say("EC2 would not reboot %s: %s", r.InstanceID, v.Refusal)
	}
	switch {
	case end.Status != types.ExecutionStatusSucceeded:
		say("the execution ended in %q with the status %s", r.EndState, end.Status)
	case len(wrong) == 0 && r.EndState != allGood:
		say("it ended in %q, not in %q", r.EndState, allGood)
	case len(wrong) == 0 && v.Decision == nil:
		say("the policy has not decided")
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}
