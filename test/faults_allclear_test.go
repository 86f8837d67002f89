package test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/localaws"
	"firstline/internal/stage"
)

// clearing is what must come of an alarm's return to OK after a page. The instance
// is well by then, unless it is down.
type clearing struct {
	// ends are the states in which the execution may end.
	ends []string
	// open says that the alert is open at the end.
	open bool
	// fails says that the execution fails, which raises the metric of an alarm of
	// the monitor.
	fails bool
	// down says that nothing may be closed, since the instance is not well: all of
	// the time, or at every other look. A person closes it in the end.
	down bool
	// events is how often the alarm's event comes; 0 is once.
	events int
}

// What comes of it.
var (
	// given: the alert is closed.
	given = clearing{ends: []string{allClear}}
	// lost: nobody looks any more, and an alarm rings.
	lost = clearing{ends: []string{"Alert unknown"}, open: true, fails: true}
	// refused: it is well, but the alert cannot be closed, and an alarm rings.
	refused = clearing{ends: []string{"All-clear not given"}, open: true, fails: true}
	// downStill: nothing is closed but by a person.
	downStill = clearing{ends: []string{nothingToDo}, down: true}
)

// clearCalls are those that an all-clear makes of AWS.
var clearCalls = []struct {
	what, step      string
	service, action string
	skip            int
	// then is what follows where it cannot be made.
	then    clearing
	decides bool
	modes   []string
}{
	{what: "the alert", step: "find-alert", service: "dynamodb", action: "BatchGetItem", then: lost},
	{what: "the watch, begun", step: "find-alert", service: "dynamodb", action: "UpdateItem", then: lost, decides: true},
	{what: "the settings", step: "find-alert", service: "ssm", action: "GetParameter", then: lost},
	{what: "the name", step: "find-alert", service: "ec2", action: "DescribeInstances", then: given, modes: []string{"denied"}},
	{what: "the alert", step: "look-alert", service: "dynamodb", action: "BatchGetItem", then: lost},
	{what: "the alert", step: "all-clear", service: "dynamodb", action: "BatchGetItem", then: refused},
	{what: "the alert, closed", step: "all-clear", service: "dynamodb", action: "UpdateItem", then: refused, decides: true},
	{what: "the alarm's state", step: "all-clear", service: "cloudwatch", action: "DescribeAlarms", then: given, modes: []string{"hangs"}},
}

// clearModes are the ways in which they break.
var clearModes = []string{"denied", "throttled for good", "throttled twice", "hangs"}

// during is what the event of a step has in it that looks after an alarm's return
// to OK, and not of the watch that began after the page.
func during(step, id string) []string {
	of := `"trigger":"alarm"`
	if step == "find-alert" {
		of = `"detail-type"`
	}
	return []string{`"step":"` + step + `"`, of, id}
}

// watchCells are pages after which no watch can be started, and pages of which Slack
// does not hear: whatever comes after somebody was woken takes nothing back.
func watchCells() []cell {
	var all []cell
	for _, m := range modes {
		all = append(all, cell{
			kind: "a watch that is not started", name: "states:StartExecution, the watch after the page: " + m.name, condition: dead, slow: m.slow, want: dead.course(),
			arrange: func(s *shot) error {
				f := localaws.Fault{Service: "states", Action: "StartExecution", Contains: s.i.ID, Role: "role/" + plain + "-workflow-"}
				m.set(&f)
				// Step Functions has nothing to let slip, and nobody redacts its history.
				f.Message = ""
				if f.Body != "" {
					f.Body = "\x00 this is no answer"
				}
				if f.Hang {
					// Each time it takes the Task's own time-out, a minute.
					f.Times = 1
				}
				s.breakCalls(f)
				return nil
			},
		})
	}
	for name, trouble := range map[string]stage.Trouble{"hang": stage.Hanging(), "200 with ok: false that stays": stage.NotOK("is_archived")} {
		want := dead.course()
		want.thread = false
		all = append(all, cell{
			kind: "Slack does not hear of it", name: "Slack after a page: " + name + ", for good", condition: dead, slow: true, want: want,
			arrange: func(s *shot) error { return s.trouble(s.w.Slack, trouble) },
		})
	}
	slices.SortStableFunc(all, func(a, b cell) int { return strings.Compare(a.name, b.name) })
	return all
}

// allClearCells are pages about instances that are well by the time when their
// alarms return to OK, where something of the all-clear breaks; and about ones that
// are not well.
func allClearCells() []cell {
	var all []cell
	add := func(kind, name string, slow bool, then clearing, arrange func(*shot) error) {
		all = append(all, cell{kind: kind, name: "an all-clear: " + name, condition: dead, slow: slow, want: dead.course(), clears: &then, arrange: arrange})
	}
	breaks := func(f localaws.Fault, step string) func(*shot) error {
		return func(s *shot) error {
			f.During = during(step, s.i.ID)
			s.breakCalls(f)
			return nil
		}
	}
	for _, c := range clearCalls {
		name := fmt.Sprintf("%s %s:%s, %s: ", c.step, c.service, c.action, c.what)
		call := localaws.Fault{Service: c.service, Action: c.action, Skip: c.skip}
		ways := c.modes
		if ways == nil {
			ways = clearModes
		}
		for _, m := range modes {
			if !slices.Contains(ways, m.name) {
				continue
			}
			f, then := call, c.then
			if m.set(&f); m.heals {
				then = given
			}
			add("an all-clear whose call breaks", name+m.name, m.slow, then, breaks(f, c.step))
		}
		if c.decides {
			for kill, when := range map[localaws.Kill]string{localaws.KillBefore: "before", localaws.KillAfter: "after"} {
				f := call
				f.Kill, f.Times, f.Code = kill, 1, "Runtime.ExitError"
				add("an all-clear that is killed", name+"killed "+when+" it", false, given, breaks(f, c.step))
			}
		}
	}
	for step, then := range map[string]clearing{"find-alert": lost, "look-alert": lost, "all-clear": refused} {
		for _, k := range []struct {
			name  string
			fault localaws.Fault
			then  clearing
		}{
			{"denied", localaws.Fault{Status: 403, Code: "AccessDeniedException"}, then},
			{"500", localaws.Fault{Status: 500, Code: "ServiceException"}, then},
			{"out of time once", localaws.Fault{Code: "Sandbox.Timedout", Times: 1}, given},
			{"out of memory for good", localaws.Fault{Code: "Runtime.OutOfMemory"}, then},
		} {
			f := k.fault
			f.Service, f.Action = "lambda", "Invoke"
			add("an all-clear that Lambda does not run", step+" lambda:Invoke: "+k.name, f.Times == 0, k.then, breaks(f, step))
		}
	}
	// The pager does not close it.
	closing := func(t stage.Trouble, times int) func(*shot) error {
		return func(s *shot) error {
			t.Times = times
			t.Pick = func(r stage.Request) bool {
				return r.Method == "POST" && strings.HasSuffix(r.Path, "/close") && r.Has(s.i.ID)
			}
			s.troubles = append(s.troubles, s.w.Pager.Trouble(t))
			return nil
		}
	}
	discarded := stage.Unsuccessful("the integration is busy")
	for _, k := range []struct {
		name    string
		trouble stage.Trouble
		times   int
		then    clearing
	}{
		{"500 once", echo(stage.Failing(500)), 1, given},
		{"500 for good", echo(stage.Failing(500)), 0, refused},
		{"hang for good", stage.Hanging(), 0, refused},
		{"401 once", echo(stage.Failing(401)), 1, given},
		{"422 for good", echo(stage.Failing(422)), 0, refused},
		{"accepted and not carried out, once", discarded, 1, given},
		{"accepted and not carried out, for good", discarded, 0, refused},
		{"429 with Retry-After, once", stage.RateLimited(time.Second), 1, given},
		{"an answer that gets lost, once", stage.Trouble{Reset: true, Late: true}, 1, given},
	} {
		add("an all-clear that the pager does not take", "OpsGenie: "+k.name, k.times == 0, k.then, closing(k.trouble, k.times))
	}
	// That Slack does not hear of it takes nothing back.
	for name, t := range map[string]stage.Trouble{"500": echo(stage.Failing(500)), "200 with ok: false that stays": stage.NotOK("is_archived")} {
		add("Slack does not hear of it", "Slack: "+name+", for good", true, given, func(s *shot) error {
			t.Pick = func(r stage.Request) bool { return r.Has(s.i.ID, allClear) }
			s.troubles = append(s.troubles, s.w.Slack.Trouble(t))
			return nil
		})
	}
	twice := given
	twice.events, twice.ends = 2, []string{allClear, nothingToDo}
	add("an all-clear whose call breaks", "its event twice at the same moment", false, twice, nil)
	// Down: whatever fails, it is not closed.
	const down = "an all-clear of what is down"
	add(down, "an instance that is down", false, downStill, nil)
	add(down, "an instance that answers every other look", false, downStill, func(s *shot) error {
		s.flaps = true
		return nil
	})
	for _, kill := range []localaws.Kill{localaws.KillBefore, localaws.KillAfter} {
		name := map[localaws.Kill]string{localaws.KillBefore: "before", localaws.KillAfter: "after"}[kill]
		add(down, "an instance that is down, killed "+name+" url ec2:DescribeInstances", false, downStill,
			breaks(localaws.Fault{Service: "ec2", Action: "DescribeInstances", Kill: kill, Times: 1, Code: "Runtime.ExitError"}, "url"))
	}
	add(down, "an instance that cannot be checked", true, downStill, breaks(localaws.Fault{Service: "ec2", Action: "DescribeInstances", Status: 403, Code: "UnauthorizedOperation"}, "url"))
	slices.SortStableFunc(all, func(a, b cell) int { return strings.Compare(a.name, b.name) })
	return all
}

// allClear has the alarm of an instance that was paged about return to OK, and says
// what is wrong with what comes of it.
func (s *shot) allClear(ctx context.Context) (ends []end, wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	want := s.clears
	alias := fmt.Sprintf("%s/%s/%s/%s", plain, localaws.AccountID, s.i.Region, s.i.ID)
	var err error
	switch {
	case s.flaps:
		// Both tries of every other look fail.
		err = s.i.SetHTTP(stage.Healthy, stage.Refuse, stage.Refuse)
	case !want.down:
		err = s.i.SetHTTP(stage.Healthy)
	}
	if err != nil {
		return nil, []string{err.Error()}
	}
	var arns []string
	if want.events > 1 {
		arns, err = s.atOnce(ctx, slices.Repeat([][]byte{okEvent(s.i, time.Now())}, want.events)...)
	} else {
		arns, err = s.w.AWS.Recover(ctx, s.i.Region, plain+"-cpu-"+s.i.ID, "Threshold no longer crossed")
	}
	if err != nil || len(arns) != max(1, want.events) {
		return nil, []string{fmt.Sprintf("the alarm's return to OK started %q, %v", arns, err)}
	}
	if want.down {
		// Three looks have not passed, or three pairs of them.
		if err := s.m.enters(ctx, s.i.Region, arns[0], "Wait for next look", 3); err != nil {
			return nil, []string{err.Error()}
		}
		if !s.w.Pager.CloseAlert(alias) {
			say("the alert is closed, and the instance is not well")
		}
	}
	succeeded, failed := 0, 0
	for _, arn := range arns {
		e, err := s.m.end(ctx, s.i.Region, arn)
		if err != nil {
			return ends, append(wrong, err.Error())
		}
		ends = append(ends, e)
		if e.took > longest {
			say("it took %s", e.took)
		}
		if !slices.Contains(want.ends, e.last()) {
			say("the all-clear ended in %q, want one of %q", e.last(), want.ends)
		}
		if e.last() == allClear {
			succeeded++
		}
		if e.status != sfntypes.ExecutionStatusSucceeded {
			failed++
		}
	}
	if (failed > 0) != want.fails {
		say("an execution failed: %t, want %t", failed > 0, want.fails)
	}

	// (d) An alert is closed once, and only of what is well; and what stays open of
	// something that is well has an alarm.
	byUs := slices.DeleteFunc(s.w.Pager.Closings(alias), func(r stage.Received) bool { return r.User == stage.Person })
	status, count := s.w.Pager.Alert(alias)
	switch {
	case len(byUs) > 0 && want.down:
		say("it was closed: %.200s", byUs[0].Text)
	case len(byUs) > 1:
		say("it was closed %d times", len(byUs))
	case (status == "open") != want.open:
		say("the alert is %q, want it open: %t", status, want.open)
	case status == "open" && failed == 0:
		say("the alert stays open, and no alarm rings")
	case status == "closed" && !want.down && succeeded != 1:
		say("the alert is closed, and %d executions gave the all-clear", succeeded)
	case count != 1:
		say("the alert was counted %d times", count)
	}
	// Nobody is woken by it, and Slack hears of it in the page's thread, once.
	replies := 0
	for _, p := range s.w.Slack.Received(s.i.ID) {
		if p.ThreadTS != "" {
			replies++
		} else if strings.Contains(p.Text, allClear) {
			say("Slack has an all-clear that is in no thread")
		}
	}
	if most := min(succeeded, 1); replies > most {
		say("Slack has %d replies, want %d at most", replies, most)
	}
	return ends, wrong
}

// okEvent is the event with which an instance's alarm returns to OK.
func okEvent(i *stage.Instance, at time.Time) []byte {
	return bytes.ReplaceAll(eventOf("aws.cloudwatch", plain, i, at), []byte(`"value":"ALARM"`), []byte(`"value":"OK"`))
}

// enters waits until an execution has entered a state so many times.
func (m *matrix) enters(ctx context.Context, region, arn, state string, times int) error {
	client := sfn.NewFromConfig(m.w.AWS.Config(region))
	for {
		out, err := client.GetExecutionHistory(ctx, &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
		if err != nil {
			return err
		}
		entered := 0
		for _, h := range out.Events {
			if d := h.StateEnteredEventDetails; d != nil && aws.ToString(d.Name) == state {
				entered++
			}
		}
		if entered >= times {
			return nil
		}
		select {
		case <-m.watches[region].ended(arn):
			return fmt.Errorf("%s ended after it had entered %q %d times, want %d", arn, state, entered, times)
		case <-ctx.Done():
			return fmt.Errorf("%s does not come to %q: %w", arn, state, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}
