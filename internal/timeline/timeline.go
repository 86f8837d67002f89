// Package timeline tells an execution's history as an operator would: a line
// for each check, decision, action and wait.
package timeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/incident"
)

// Line is one thing that happened.
type Line struct {
	// After is the time since the execution started.
	After time.Duration
	// State is the state's name, or "end".
	State string
	// Text says what came of it.
	Text string
}

// Histories is what Follow needs of Step Functions' client.
type Histories interface {
	GetExecutionHistory(context.Context, *sfn.GetExecutionHistoryInput, ...func(*sfn.Options)) (*sfn.GetExecutionHistoryOutput, error)
	DescribeExecution(context.Context, *sfn.DescribeExecutionInput, ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error)
}

// interval is how often Follow asks.
const interval = 250 * time.Millisecond

// Follow tells each line as it happens and returns the execution as it ended.
func Follow(ctx context.Context, client Histories, execution string, tell func(Line)) (*sfn.DescribeExecutionOutput, error) {
	told := 0
	for {
		end, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &execution})
		if err != nil {
			return nil, fmt.Errorf("describe execution %s: %w", execution, err)
		}
		events, err := history(ctx, client, execution)
		if err != nil {
			return nil, err
		}
		lines := Lines(events)
		for _, l := range lines[told:] {
			tell(l)
		}
		told = len(lines)
		if end.Status != types.ExecutionStatusRunning {
			return end, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(interval):
		}
	}
}

func history(ctx context.Context, client Histories, execution string) ([]types.HistoryEvent, error) {
	var events []types.HistoryEvent
	pages := sfn.NewGetExecutionHistoryPaginator(client, &sfn.GetExecutionHistoryInput{ExecutionArn: &execution, IncludeExecutionData: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("history of execution %s: %w", execution, err)
		}
		events = append(events, page.Events...)
	}
	return events, nil
}

// Lines turns a history into lines. More events give the same lines and more.
func Lines(events []types.HistoryEvent) []Line {
	var (
		lines   []Line
		start   time.Time
		state   string
		entered incident.Incident
	)
	for n := range events {
		e := &events[n]
		at := aws.ToTime(e.Timestamp)
		if start.IsZero() {
			start = at
		}
		say := func(state, text string) { lines = append(lines, Line{After: at.Sub(start), State: state, Text: text}) }
		switch {
		case e.StateEnteredEventDetails != nil:
			state = aws.ToString(e.StateEnteredEventDetails.Name)
			entered = incident.Incident{}
			// What is no incident leaves it empty, and the line short.
			_ = json.Unmarshal([]byte(aws.ToString(e.StateEnteredEventDetails.Input)), &entered)
			if e.Type == types.HistoryEventTypeWaitStateEntered {
				say(state, fmt.Sprintf("%d s", entered.WaitSeconds))
			}
		case e.TaskFailedEventDetails != nil:
			say(state, aws.ToString(e.TaskFailedEventDetails.Error)+": "+cause(aws.ToString(e.TaskFailedEventDetails.Cause)))
		case e.TaskTimedOutEventDetails != nil:
			say(state, aws.ToString(e.TaskTimedOutEventDetails.Error))
		case e.Type == types.HistoryEventTypeTaskStateExited:
			var left incident.Incident
			err := json.Unmarshal([]byte(aws.ToString(e.StateExitedEventDetails.Output)), &left)
			// What a Catch takes out of a state is told already.
			if err == nil && left.Execution.ID != "" && len(left.Caught) <= len(entered.Caught) {
				say(state, done(state, &entered, &left))
			}
		case e.Type == types.HistoryEventTypeExecutionSucceeded:
			say("end", state)
		case e.ExecutionFailedEventDetails != nil:
			say("end", "failed: "+aws.ToString(e.ExecutionFailedEventDetails.Cause))
		case e.Type == types.HistoryEventTypeExecutionTimedOut, e.Type == types.HistoryEventTypeExecutionAborted:
			say("end", string(e.Type))
		}
	}
	return lines
}

// done says what a Task made of the incident.
func done(state string, before, after *incident.Incident) string {
	for _, check := range incident.Checks {
		if f := after.Finding(check); f != nil && state == "Check "+incident.CheckTitle(check) {
			return Finding(*f)
		}
	}
	switch {
	case after.Next == incident.NextAlreadyHandled:
		return "another execution looks after the instance"
	case len(after.Suppressed) > len(before.Suppressed):
		return "suppressed, since it is dry: " + after.Suppressed[len(after.Suppressed)-1].Action
	case state == "Open":
		return fmt.Sprintf("%s in %s, started by: %s", after.InstanceID, after.Region, after.Trigger)
	case state == "Decide" && after.Decision != nil:
		return Decision(*after.Decision)
	case state == "Reboot":
		return cmp.Or(after.Refusal, "rebooted")
	case after.Paged != nil && before.Paged == nil:
		return paged(*after.Paged, after.Decision)
	case after.Thread != nil && before.Thread == nil:
		return "posted in " + after.Thread.Channel
	}
	return "done"
}

// Finding says what a check saw.
func Finding(f incident.Finding) string {
	outcome := string(f.Outcome)
	if f.Kind != "" {
		outcome += " (" + string(f.Kind) + ")"
	}
	if f.Attempts == 0 {
		return outcome + ": " + f.Reason
	}
	attempts := "1 attempt"
	if f.Attempts > 1 {
		attempts = fmt.Sprintf("%d attempts", f.Attempts)
	}
	return fmt.Sprintf("%s: %s (%s, %d ms)", outcome, f.Reason, attempts, f.ElapsedMs)
}

// Decision says what was decided on a look, by which row of the policy's table,
// and why.
func Decision(d incident.Decision) string {
	text := string(d.Verdict)
	if d.Kind != "" {
		text += " (" + string(d.Kind) + ")"
	}
	text += fmt.Sprintf("; row %d: %s", d.Row, d.Next)
	if d.WaitSeconds > 0 {
		text += fmt.Sprintf(" %d s", d.WaitSeconds)
	}
	if about := strings.Trim(d.Situation+", "+d.Guard, ", "); about != "" {
		text += " (" + about + ")"
	}
	return text + ": " + d.Reason
}

// paged says which pager took a page or a note.
func paged(p incident.Paged, d *incident.Decision) string {
	what := "paged"
	if d != nil && d.Note {
		what = "noted"
	}
	return fmt.Sprintf("%s by %s, alias %s", what, p.Pager, p.Alias)
}

// cause unpacks the JSON in which Lambda reports a function's error.
func cause(text string) string {
	var e struct{ ErrorMessage string }
	if err := json.Unmarshal([]byte(text), &e); err == nil && e.ErrorMessage != "" {
		return e.ErrorMessage
	}
	return text
}
