package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/deployed"
	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
	"firstline/internal/timeline"
)

// Rehearsal is what came of a dry incident.
type Rehearsal struct {
	Region     string `json:"region"`
	InstanceID string `json:"instanceId"`
	// ExecutionARN is empty when none started.
	ExecutionARN string `json:"executionArn,omitempty"`
	// Status is the execution's, EndState the name of its last state.
	Status   string `json:"status,omitempty"`
	EndState string `json:"endState,omitempty"`
	// Suppressed is what would have been done.
	Suppressed []incident.Suppressed `json:"suppressed,omitempty"`
	Findings   []checks.Finding      `json:"findings,omitempty"`
	// OK is true when the incident was dry, ended silently, and nothing would
	// have been done. Reason says why it is not.
	OK      bool    `json:"ok"`
	Reason  string  `json:"reason,omitempty"`
	Seconds float64 `json:"seconds"`
}

// allGood is the state in which an incident ends silently.
const allGood = "All good"

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
	cfg = clientConfig(cfg, r.Region)
	c := &canary{
		events: eventbridge.NewFromConfig(cfg),
		states: sfn.NewFromConfig(cfg),
		region: r,
		tell:   tell,
		// EventBridge delivers within a second, but a rule that has just been
		// made may take a while to match.
		startTime: 30 * time.Second,
		sends:     4,
		// A dry incident takes a minute at most, unless a step has to be
		// retried for long.
		endTime: 10 * time.Minute,
		poll:    time.Second,
	}
	if c.tell == nil {
		c.tell = func(string) {}
	}
	return c.rehearse(ctx, instanceID)
}

// canary is one run of Canary.
type canary struct {
	events sender
	states executions
	region deployed.Region
	tell   func(state string)

	// startTime bounds the wait for the execution of one of at most sends
	// events, endTime that for its end.
	startTime, endTime, poll time.Duration
	sends                    int
}

func (c *canary) rehearse(ctx context.Context, instanceID string) Rehearsal {
	start := time.Now()
	r := Rehearsal{Region: c.region.Region, InstanceID: instanceID}
	err := c.run(ctx, &r)
	switch {
	case ctx.Err() != nil:
		r.OK, r.Reason = false, "interrupted"
	case err != nil:
		r.Reason = err.Error()
	default:
		r.OK = true
	}
	r.Seconds = time.Since(start).Seconds()
	return r
}

// run returns an error that says why the rehearsal did not go as it should.
func (c *canary) run(ctx context.Context, r *Rehearsal) error {
	if c.region.StateMachineARN == "" {
		return errors.New("only a part of the region is deployed, without the state machine: deploy it again")
	}
	var err error
	for n := range c.sends {
		if err = c.once(ctx, r); err == nil {
			return nil
		}
		// One that comes late after all is dry as well.
		if _, early := errors.AsType[tooEarlyError](err); !early || n == c.sends-1 {
			break
		}
		c.tell(err.Error() + "; sending another event")
	}
	return err
}

// once sends one event and follows the incident that it starts.
func (c *canary) once(ctx context.Context, r *Rehearsal) error {
	*r = Rehearsal{Region: r.Region, InstanceID: r.InstanceID}
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
	r.Status = string(end.Status)
	past, err := c.history(ctx, r.ExecutionARN)
	if err != nil {
		return err
	}
	r.EndState = past.last
	// An execution that failed has no output.
	dry, err := r.judge(end, cmp.Or(aws.ToString(end.Output), past.input))
	if past.called == c.region.FunctionARN {
		return err
	}
	// Whatever came of it, it says nothing of what was deployed.
	stale := fmt.Errorf("the dry incident called the function %q, and deployed is %q", past.called, c.region.FunctionARN)
	if err != nil {
		stale = fmt.Errorf("%w: %w", stale, err)
	}
	if !dry {
		// Another one might page once more.
		return stale
	}
	return tooEarlyError{stale}
}

// send puts the event on the default bus and returns its id.
func (c *canary) send(ctx context.Context, instanceID string, now time.Time) (string, error) {
	g, err := newRing(c.region, instanceID, "A rehearsal, which acts on nothing.", now)
	if err != nil {
		return "", err
	}
	out, err := c.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source:     aws.String(incident.SourceCanary),
		DetailType: aws.String(detailType),
		Detail:     aws.String(string(g.detail)),
		Resources:  []string{g.alarmARN},
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

// clockSkew is how far this machine's clock may be ahead of AWS's, which takes
// no request that is off by more.
const clockSkew = 5 * time.Minute

// find waits for the execution whose input is the event of that id.
func (c *canary) find(ctx context.Context, id string, sent time.Time) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, c.startTime)
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
		if sleep(bounded, c.poll) == nil {
			continue
		}
		if trouble != nil || ctx.Err() != nil {
			return "", errors.Join(trouble, ctx.Err())
		}
		return "", tooEarlyError{fmt.Errorf("no execution started within %.0f s: does the rule %s exist, is it enabled, and may its role start the state machine? Its metric FailedInvocations tells", c.startTime.Seconds(), c.region.CanaryRuleName)}
	}
}

// tooEarlyError says that AWS has not taken up yet what was deployed: an event
// has started no execution so far, or one of the state machine as it was before,
// which for some seconds after an update is possible
// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateStateMachine.html).
type tooEarlyError struct{ error }

func (e tooEarlyError) Unwrap() error { return e.error }

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
func passing(err error) bool {
	e, ok := errors.AsType[*fault.Error](fault.AWS("", err))
	return ok && e.Kind == fault.Unavailable
}

// follow waits for the end of an execution.
func (c *canary) follow(ctx context.Context, arn string) (*sfn.DescribeExecutionOutput, error) {
	bounded, cancel := context.WithTimeout(ctx, c.endTime)
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
			if sleep(bounded, c.poll) == nil {
				continue
			}
		case bounded.Err() == nil:
			return nil, fmt.Errorf("the execution cannot be followed: %s", Said(err))
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("the dry incident has not ended within %.0f minutes; it has come to %s", c.endTime.Minutes(), last)
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

// judge reports whether the incident was dry, and returns an error that says in
// words what did not go as it should.
func (r *Rehearsal) judge(end *sfn.DescribeExecutionOutput, output string) (dry bool, err error) {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var v view
	if err := json.Unmarshal([]byte(output), &v); err != nil {
		say("the execution's output is no incident: %v", err)
	} else if !v.Dry {
		say("the incident was not dry, so messages may have been sent: is the deployed function of this version?")
	}
	r.Suppressed, r.Findings = v.Suppressed, v.Findings
	if v.Reboot != nil && v.Reboot.Outcome != incident.RebootSuppressed {
		say("the outcome of a reboot of %s is %q, and a dry incident must never ask for one: look at the instance", r.InstanceID, v.Reboot.Outcome)
	}
	if v.suppresses(incident.ActionReboot) {
		say("%s would have been rebooted: %s", r.InstanceID, v.failure())
	}
	for _, e := range []struct {
		what string
		err  *incident.Error
	}{
		{"a step", v.Error}, {"the reboot", v.RebootError}, {"the page", v.PageError}, {"the Slack message", v.SlackError}, {"the close", v.CloseError},
	} {
		if e.err != nil {
			say("%s ended with %s", e.what, (&functionError{Kind: e.err.Error, Message: Unpack(e.err.Cause)}).Error())
		}
	}
	switch {
	case end.Status != types.ExecutionStatusSucceeded:
		say("the execution ended in %q with the status %s", r.EndState, end.Status)
		if len(wrong) == 1 && (end.Error != nil || end.Cause != nil) {
			wrong[0] += ": " + (&functionError{Kind: aws.ToString(end.Error), Message: aws.ToString(end.Cause)}).Error()
		}
	case len(wrong) > 0:
	case r.EndState != allGood:
		say("it ended in %q, not in %q", r.EndState, allGood)
	case len(v.Suppressed) > 0:
		say("it would have done more than to end silently: %s: %s", v.Suppressed[0].Action, v.Suppressed[0].Text)
	}
	if len(wrong) > 0 {
		return v.Dry, errors.New(strings.Join(wrong, "; "))
	}
	return v.Dry, nil
}

// failure says what the first check saw that did not pass.
func (v *view) failure() string {
	for _, f := range v.Findings {
		if !f.Passed {
			return f.Check + ": " + f.Reason
		}
	}
	return "no check failed"
}

// Unpack takes the message out of the JSON in which Lambda reports a function's
// error.
func Unpack(cause string) string {
	var e functionError
	if json.Unmarshal([]byte(cause), &e) == nil && e.Message != "" {
		return e.Message
	}
	return cause
}
