// Package timeline tells an execution's history as an operator would: a line
// for each check, action and wait.
package timeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// Line is one thing that happened.
type Line struct {
	// After is the time since the execution started.
	After time.Duration
	// State is the state's name, or the execution's end.
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
		say := func(state, format string, args ...any) {
			lines = append(lines, Line{After: at.Sub(start), State: state, Text: fmt.Sprintf(format, args...)})
		}
		switch {
		case e.StateEnteredEventDetails != nil:
			state = aws.ToString(e.StateEnteredEventDetails.Name)
			entered = incident.Incident{}
			// What is no incident leaves it empty, and the line short.
			_ = json.Unmarshal([]byte(aws.ToString(e.StateEnteredEventDetails.Input)), &entered)
			if e.Type == types.HistoryEventTypeWaitStateEntered {
				say(state, "%s", waiting(state, &entered))
			}
		case e.TaskFailedEventDetails != nil:
			say(state, "%s: %s", aws.ToString(e.TaskFailedEventDetails.Error), cause(aws.ToString(e.TaskFailedEventDetails.Cause)))
		case e.TaskTimedOutEventDetails != nil:
			say(state, "%s", aws.ToString(e.TaskTimedOutEventDetails.Error))
		case e.Type == types.HistoryEventTypeTaskStateExited:
			var left incident.Incident
			if err := json.Unmarshal([]byte(aws.ToString(e.StateExitedEventDetails.Output)), &left); err != nil || left.Error != nil && entered.Error == nil {
				continue
			}
			say(aws.ToString(e.StateExitedEventDetails.Name), "%s", done(&entered, &left))
		case e.Type == types.HistoryEventTypeExecutionSucceeded:
			say("end", "%s", state)
		case e.ExecutionFailedEventDetails != nil:
			say("end", "failed: %s", aws.ToString(e.ExecutionFailedEventDetails.Cause))
		case e.Type == types.HistoryEventTypeExecutionTimedOut, e.Type == types.HistoryEventTypeExecutionAborted:
			say("end", "%s", e.Type)
		}
	}
	return lines
}

// waiting says how long a wait is.
func waiting(state string, i *incident.Incident) string {
	if i.Settings == nil {
		return "waiting"
	}
	seconds := i.Settings.Boot.IntervalSeconds
	switch {
	case i.Watch != nil && strings.Contains(state, "first"):
		seconds = i.Watch.WaitSeconds
	case i.Watch != nil && strings.Contains(state, "next"):
		seconds = i.Watch.EverySeconds
	case strings.Contains(state, "boot"):
		seconds = i.Settings.Boot.FirstLookSeconds
	}
	return fmt.Sprintf("%d s", seconds)
}

// done says what a Task changed in the incident.
func done(before, after *incident.Incident) string {
	switch {
	case after.Run == incident.RunAllClear && after.Alert == nil:
		return ended(incident.WatchNoAlert)
	case before.Watch == nil && after.Watch != nil:
		return watching(after)
	case after.Watch != nil && after.Watch.Ended != "":
		return ended(after.Watch.Ended)
	case before.Settings == nil && after.Settings != nil:
		return after.InstanceID + " in " + after.Region
	case after.Reboot != nil && (before.Reboot == nil || after.Run != before.Run):
		return "reboot " + after.Reboot.Outcome
	case seen(before) != seen(after) && len(after.Findings) > 0:
		f := newest(after)
		word := "failed"
		switch {
		case f.Skipped:
			return f.Reason
		case f.Passed:
			word = "passed"
		}
		return fmt.Sprintf("%s: %s (%s, %d ms)", word, f.Reason, plural(f.Attempts, "attempt"), f.ElapsedMs)
	case after.Refusal != nil && before.Refusal == nil:
		return fmt.Sprintf("refused (%s): %s", after.Refusal.Guard, after.Refusal.Reason)
	case len(after.Suppressed) > len(before.Suppressed):
		return "suppressed: a dry run sends nothing"
	case after.Alert != nil && (before.Alert == nil || *before.Alert != *after.Alert):
		return paged(after.Alert)
	case after.Thread != nil && (before.Thread == nil || *before.Thread != *after.Thread):
		return "posted in " + after.Thread.Channel
	case after.Watch != nil:
		return "the alert is still open"
	default:
		return "done"
	}
}

// watching says what the machine that gives the all-clear looks after.
func watching(i *incident.Incident) string {
	if i.Watch.Trigger == incident.WatchAlarm {
		return fmt.Sprintf("the alarm of %s is OK again, and its alert is open", i.InstanceID)
	}
	return fmt.Sprintf("the alert of %s is open: a look every %d s until %s", i.InstanceID, i.Watch.EverySeconds, i.Watch.Until.UTC().Format(time.RFC3339))
}

// ended says why a watch ends.
func ended(how string) string {
	switch how {
	case incident.WatchCleared:
		return "the alert is closed"
	case incident.WatchClosed:
		return "somebody has closed the alert"
	case incident.WatchReplaced:
		return "another alert has taken its place"
	case incident.WatchTakenOver:
		return "a later watch looks after it"
	case incident.WatchTimeOver:
		return "not well, and the time is over"
	case incident.WatchNoAlert:
		return "no alert is open, so there is nothing to close"
	}
	return how
}

// paged says where a page went.
func paged(a *incident.Alert) string {
	through := ""
	if a.Pager != "" {
		through = " through " + a.Pager
	}
	if a.Repeats > 0 {
		return fmt.Sprintf("added to the open alert%s, repeat %d", through, a.Repeats)
	}
	return "paged" + through
}

// seen tells incidents apart by how many looks their findings stand for.
func seen(i *incident.Incident) int {
	n := 0
	for _, f := range i.Findings {
		n += max(f.Looks, 1)
	}
	return n
}

// newest returns the finding that was made last.
func newest(i *incident.Incident) checks.Finding {
	return slices.MaxFunc(i.Findings, func(a, b checks.Finding) int { return a.At.Compare(b.At) })
}

// cause unpacks the JSON in which Lambda reports a function's error.
func cause(text string) string {
	var e struct{ ErrorMessage string }
	if err := json.Unmarshal([]byte(text), &e); err == nil && e.ErrorMessage != "" {
		return e.ErrorMessage
	}
	return text
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
