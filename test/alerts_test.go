package test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"firstline/internal/deployed"
	"firstline/internal/localaws"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// The watch after a page of the deployment that has one, in minutes: of the time
// between two looks waitPace makes seconds, and its end stays where it is.
const (
	watchEvery = 3
	watchFor   = 3
)

const (
	allClear    = "All clear"
	nothingToDo = "Nothing to do"
)

// alertStories are of what becomes of a page: repeats, and the all-clear when the
// alarm returns to OK.
func alertStories() []story {
	const paged = "Paged"
	return []story{
		{name: "the alarm returns to OK and all is well", act: func(t *testing.T, s *scene, x *started) {
			s.page(t, x)
			_ = s.i.SetSSH(stage.Healthy)
			s.cleared(t, s.follow(t, s.backToOK(t), x), s.Pager, s.alias(1))
			s.tally(t, tally{reboots: 1, pages: 1, clears: 1})
			// It is down again: somebody is woken again.
			_ = s.i.SetSSH(stage.Refuse)
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 2, clears: 1}, "cool-down")
		}},
		{name: "the alarm returns to OK and one pass is not enough", act: func(t *testing.T, s *scene, x *started) {
			s.page(t, x)
			// The first look passes, both tries of the second do not.
			_ = s.i.SetHTTP(slices.Concat([]stage.Mode{stage.Healthy, stage.Refuse, stage.Refuse}, slices.Repeat([]stage.Mode{stage.Healthy}, 50))...)
			_ = s.i.SetSSH(stage.Healthy)
			e := s.follow(t, s.backToOK(t), x)
			if over := slices.Index(e.path, "Start over"); over < slices.Index(e.path, "Count the pass") || over < 0 {
				t.Errorf("it passed once and then failed, and the watch went so: %q", e.path)
			}
			s.cleared(t, e, s.Pager, s.alias(1))
			s.tally(t, tally{reboots: 1, pages: 1, clears: 1})
		}},
		{name: "the alarm returns to OK, but the instance does not, and a person closes the page", act: func(t *testing.T, s *scene, x *started) {
			s.page(t, x)
			arn := s.backToOK(t)
			s.passes(t, arn, "Wait for next look", 2)
			if status, _ := s.Pager.Alert(s.alias(1)); status != "open" {
				t.Errorf("the alert of an instance that is down is %q", status)
			}
			s.closeByHand(t, 1)
			s.watchEnds(t, s.follow(t, arn, x), incident.WatchClosed)
			s.tally(t, tally{reboots: 1, pages: 1})
		}},
		{name: "a page that a person closed before the alarm returns to OK", act: func(t *testing.T, s *scene, x *started) {
			s.page(t, x)
			s.closeByHand(t, 1)
			_ = s.i.SetSSH(stage.Healthy)
			s.watchEnds(t, s.follow(t, s.backToOK(t), x), incident.WatchClosed)
			s.tally(t, tally{reboots: 1, pages: 1})
			if by := s.Pager.Closings(s.alias(1)); len(by) != 1 || by[0].User != stage.Person {
				t.Errorf("closed by %+v, want by a person", by)
			}
		}},
		{name: "the alarm returns to OK and nobody was paged", act: func(t *testing.T, s *scene, x *started) {
			s.expect(t, s.ring(t, x), "All good", tally{})
			e := s.follow(t, s.backToOK(t), x)
			if e.last != nothingToDo || len(e.path) > 3 {
				t.Errorf("it took %q, want three states and %q", e.path, nothingToDo)
			}
			s.tally(t, tally{})
		}},
		{name: "the alarm rings again while the page is open", act: func(t *testing.T, s *scene, x *started) {
			s.page(t, x)
			for n := range 2 {
				s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 1, repeats: n + 1}, "Again", "cool-down")
			}
			if status, count := s.Pager.Alert(s.alias(1)); status != "open" || count != 1 {
				t.Errorf("the alert is %s and was counted %d times, want open and once", status, count)
			}
			roots := s.Slack.Received(s.i.ID)
			thread := s.Slack.Thread(roots[0].TS)
			if len(thread) != 3 || !strings.Contains(thread[0].Text, "incident 3 of this alert") {
				t.Errorf("the thread has %d messages, and the first says:\n%s", len(thread), thread[0].Text)
			}
			_ = s.i.SetSSH(stage.Healthy)
			s.cleared(t, s.follow(t, s.backToOK(t), x), s.Pager, s.alias(1))
			s.tally(t, tally{reboots: 1, pages: 1, repeats: 2, clears: 1})
		}},
		{name: "the alarm rings again after a person closed the page", act: func(t *testing.T, s *scene, x *started) {
			s.page(t, x)
			s.closeByHand(t, 1)
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 2}, "cool-down")
			if open := s.Pager.OpenAlerts(); slices.Contains(open, s.alias(1)) || !slices.Contains(open, s.alias(2)) {
				t.Errorf("open are %q", open)
			}
			// And again: that one is open.
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 2, repeats: 1}, "cool-down")
		}},
		{name: "what could not be told is down after all", act: func(t *testing.T, s *scene, x *started) {
			blind := s.AWS.AddFault(deny("ec2", "DescribeInstances", s.i.ID))
			s.expect(t, s.ring(t, x), paged, tally{pages: 1}, "could not be checked")
			blind.Remove()
			_ = s.i.SetSSH(stage.Refuse)
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 2, replaced: 1}, "down after a reboot")
			if by := s.Pager.Closings(s.alias(1)); len(by) != 1 || !strings.Contains(by[0].Text, s.alias(2)) {
				t.Errorf("the first alert was closed so: %+v", by)
			}
			if open := s.Pager.OpenAlerts(); slices.Contains(open, s.alias(1)) || !slices.Contains(open, s.alias(2)) {
				t.Errorf("open are %q", open)
			}
			// That it cannot be told again is less than what is known.
			blind = s.AWS.AddFault(deny("ec2", "DescribeInstances", s.i.ID))
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 2, replaced: 1, repeats: 1}, "could not be checked")
			blind.Remove()
		}},
		{name: "the pager accepts a page and discards it", act: func(t *testing.T, s *scene, x *started) {
			discard := stage.Unsuccessful("the integration is busy")
			discard.Pick = func(r stage.Request) bool {
				return r.Method == "POST" && strings.HasSuffix(r.Path, "/v2/alerts") && r.Has(s.i.ID)
			}
			// Both tries of a step, and the first of the next.
			discard.Times = 3
			discarded := s.Pager.Trouble(discard)
			e := s.page(t, x)
			if discarded.Hits() != 3 || slices.Contains(e.path, "Page another way") {
				t.Errorf("%d requests were discarded, and it went %q", discarded.Hits(), e.path)
			}
			if status, count := s.Pager.Alert(s.alias(1)); status != "open" || count != 1 {
				t.Errorf("the alert is %q and was counted %d times, want open and once", status, count)
			}
		}},
		{name: "the alarm rings again while the all-clear is about to be given", act: func(t *testing.T, s *scene, x *started) {
			s.page(t, x)
			_ = s.i.SetSSH(stage.Healthy)
			hold := make(chan struct{})
			held := s.AWS.AddFault(localaws.Fault{Service: "lambda", Action: "Invoke", During: []string{`"step":"all-clear"`, s.i.ID}, Until: hold, Times: 1})
			arn := s.backToOK(t)
			until(t, "the step all-clear begins", func() bool { return held.Hits() > 0 })
			// It has passed twice, and is down again.
			_ = s.i.SetSSH(stage.Refuse)
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 1, repeats: 1}, "Again", "cool-down")
			close(hold)
			s.passes(t, arn, "Start over", 1)
			if status, _ := s.Pager.Alert(s.alias(1)); status != "open" {
				t.Errorf("the alert is %q, though an incident was added to it", status)
			}
			s.tally(t, tally{reboots: 1, pages: 1, repeats: 1})
			_ = s.i.SetSSH(stage.Healthy)
			s.cleared(t, s.follow(t, arn, x), s.Pager, s.alias(1))
			s.tally(t, tally{reboots: 1, pages: 1, repeats: 1, clears: 1})
		}},
	}
}

// chainStories are of the deployment with all pagers, which watches after a page.
func chainStories() []story {
	const paged, anotherWay = "Paged", "Paged another way"
	return []story{
		{name: "a page and its all-clear by the watch", chained: true, act: func(t *testing.T, s *scene, x *started) {
			e := s.page(t, x)
			_ = s.i.SetSSH(stage.Healthy)
			s.cleared(t, s.follow(t, s.watchAfter(e), x), s.Pager, s.alias(1))
			s.tally(t, tally{reboots: 1, pages: 1, clears: 1})
		}},
		{name: "a person closes the page during the watch", chained: true, act: func(t *testing.T, s *scene, x *started) {
			e := s.page(t, x)
			s.closeByHand(t, 1)
			s.watchEnds(t, s.follow(t, s.watchAfter(e), x), incident.WatchClosed)
			s.tally(t, tally{reboots: 1, pages: 1})
		}},
		{name: "the first pager is down", chained: true, act: func(t *testing.T, s *scene, x *started) {
			down := s.breakService(s.Pager)
			_ = s.i.SetSSH(stage.Refuse)
			first := s.ring(t, x)
			s.expect(t, first, anotherWay, tally{reboots: 1, pages: 1}, "down after a reboot", "A pager failed")
			s.tookIt(t, first, "jsm")
			if n := len(s.Pager.Received(s.i.ID)); n != 0 {
				t.Errorf("the first pager has %d messages", n)
			}
			// It works again, and the alert is still the other one's.
			down.End()
			again := s.ring(t, x)
			s.expect(t, again, paged, tally{reboots: 1, pages: 1, repeats: 1}, "Again", "cool-down")
			if n := len(s.Pager.Received(s.i.ID)); n != 0 {
				t.Errorf("the first pager has %d messages", n)
			}
			_ = s.i.SetSSH(stage.Healthy)
			s.cleared(t, s.follow(t, s.watchAfter(again), x), s.JSM, s.alias(1))
			s.tally(t, tally{reboots: 1, pages: 1, repeats: 1, clears: 1})
			// Of two watches the later one looks after it.
			s.watchEnds(t, s.follow(t, s.watchAfter(first), x), incident.WatchTakenOver)
		}},
		{name: "the first two pagers are down", chained: true, act: func(t *testing.T, s *scene, x *started) {
			s.pagerDown()
			s.jsmDown()
			_ = s.i.SetSSH(stage.Refuse)
			e := s.ring(t, x)
			s.expect(t, e, anotherWay, tally{reboots: 1, pages: 1}, "down after a reboot", "A pager failed")
			s.tookIt(t, e, "sns")
			_ = s.i.SetSSH(stage.Healthy)
			if e := s.follow(t, s.watchAfter(e), x); e.last != allClear {
				t.Errorf("the watch ended in %q\n%s", e.last, strings.Join(e.lines, "\n"))
			}
			// There is nothing to close: the topic is told.
			s.tally(t, tally{reboots: 1, pages: 1, clears: 1})
		}},
		{name: "all pagers are down", chained: true, slow: true, act: func(t *testing.T, s *scene, x *started) {
			s.pagerDown()
			s.jsmDown()
			s.breakCalls(localaws.Fault{Service: "sns", Action: "Publish", Contains: s.i.ID, Status: 403, Code: "AuthorizationError", Message: "not authorized"})
			_ = s.i.SetSSH(stage.Refuse)
			e := s.ring(t, x)
			s.expect(t, e, "Page failed", tally{reboots: 1, slack: 1}, "Nobody was paged", "down after a reboot")
			// It is about all of them.
			var inc incident.Incident
			if err := json.Unmarshal([]byte(e.state), &inc); err != nil || inc.PageError == nil {
				t.Fatalf("%v: %s", err, e.state)
			}
			for _, pager := range []string{"opsgenie", "jsm", "sns"} {
				if !strings.Contains(inc.PageError.Cause, pager) {
					t.Errorf("the error does not name %s: %s", pager, inc.PageError.Cause)
				}
			}
		}},
		{name: "the first pager's key cannot be read", chained: true, act: func(t *testing.T, s *scene, x *started) {
			// A function that has it already reads it again when it is refused.
			s.breakService(s.Pager, stage.Failing(401))
			s.breakCalls(localaws.Fault{Service: "ssm", Action: "GetParameter", Contains: "opsgenie-api-key", During: []string{`"step":"opsgenie"`, s.i.ID}, Hang: true})
			_ = s.i.SetSSH(stage.Refuse)
			e := s.ring(t, x)
			s.expect(t, e, anotherWay, tally{reboots: 1, pages: 1}, "A pager failed")
			s.tookIt(t, e, "jsm")
			// Five tries of six seconds each, and the pauses between them.
			if took := s.JSM.Received(s.i.ID)[0].At.Sub(e.entered["Page"]); took > 75*time.Second {
				t.Errorf("the page took %s to another pager", took)
			}
			_ = s.i.SetSSH(stage.Healthy)
			s.cleared(t, s.follow(t, s.watchAfter(e), x), s.JSM, s.alias(1))
		}},
		{name: "an instance that stays down is not watched for ever", chained: true, slow: true, act: func(t *testing.T, s *scene, x *started) {
			e := s.page(t, x)
			watch := s.follow(t, s.watchAfter(e), x)
			s.watchEnds(t, watch, incident.WatchTimeOver)
			if watch.took > (watchFor+1)*time.Minute {
				t.Errorf("the watch took %s", watch.took)
			}
			s.tally(t, tally{reboots: 1, pages: 1})
			if status, _ := s.Pager.Alert(s.alias(1)); status != "open" {
				t.Errorf("the alert is %q", status)
			}
		}},
	}
}

// page has the alarm ring of an instance whose SSH server refuses for good.
func (s *scene) page(t *testing.T, executions *started) ending {
	t.Helper()
	_ = s.i.SetSSH(stage.Refuse)
	e := s.ring(t, executions)
	s.expect(t, e, "Paged", tally{reboots: 1, pages: 1}, "down after a reboot")
	return e
}

// backToOK has the instance's alarm return to OK, and returns the one execution
// that this starts.
func (s *scene) backToOK(t *testing.T) (arn string) {
	t.Helper()
	arns, err := s.AWS.Recover(t.Context(), s.i.Region, s.alarm(), "Threshold no longer crossed")
	if err != nil {
		t.Fatal(err)
	}
	if len(arns) != 1 || !strings.Contains(arns[0], ":execution:"+s.name()+"-all-clear:") {
		t.Fatalf("the alarm's return to OK started %q, want an all-clear", arns)
	}
	return arns[0]
}

// watchAfter is the watch that an incident starts after its page.
func (s *scene) watchAfter(e ending) (arn string) {
	return "arn:aws:states:" + s.i.Region + ":" + localaws.AccountID + ":execution:" + s.name() + "-all-clear:" + e.name
}

// closeByHand closes the nth page about the instance, as a person does.
func (s *scene) closeByHand(t *testing.T, n int) {
	t.Helper()
	if !s.Pager.CloseAlert(s.alias(n)) {
		t.Fatalf("there is no open alert %s to close", s.alias(n))
	}
}

// breakService has a service treat what concerns the instance as a trouble says;
// without one it answers 503. It must strike.
func (s *scene) breakService(of *stage.Service, as ...stage.Trouble) *stage.InTrouble {
	trouble := stage.Failing(503)
	if len(as) > 0 {
		trouble = as[0]
	}
	trouble.Pick = func(r stage.Request) bool { return r.Has(s.i.ID) }
	in := of.Trouble(trouble)
	s.t.Cleanup(func() {
		if in.Hits() == 0 {
			s.t.Error("the trouble of a service never happened")
		}
	})
	return in
}

// tookIt asserts which pager took the page of an incident, and that a metric says
// that it was not the first.
func (s *scene) tookIt(t *testing.T, e ending, pager string) {
	t.Helper()
	var inc incident.Incident
	if err := json.Unmarshal([]byte(e.state), &inc); err != nil {
		t.Fatalf("%v: %s", err, e.state)
	}
	if inc.Alert == nil || inc.Alert.Pager != pager || inc.PageError == nil {
		t.Errorf("the page was taken by %+v after %+v, want by %s", inc.Alert, inc.PageError, pager)
	}
	counted := 0
	for _, i := range s.AWS.Invocations(functionARN(s.name(), s.i.Region)) {
		for line := range strings.Lines(i.Log) {
			if strings.Contains(line, `"PagerFallbacks":1`) && strings.Contains(line, s.i.ID) {
				counted++
			}
		}
	}
	if counted != 1 {
		t.Errorf("%d fallbacks were counted, want 1", counted)
	}
}

// cleared asserts that an all-clear was given: all checks passed in two looks in a
// row, the alert is closed with a note that says so, and Slack's thread says it too.
func (s *scene) cleared(t *testing.T, e ending, pager *stage.Service, alias string) {
	t.Helper()
	looks := 0
	for _, state := range e.path {
		switch state {
		case "Start over":
			looks = 0
		case "Check SSH":
			looks++
		}
	}
	if e.last != allClear || looks < 2 {
		t.Errorf("the watch ended in %q after %d looks in a row\n%s", e.last, looks, strings.Join(e.lines, "\n"))
	}
	if status, _ := pager.Alert(alias); status != "closed" {
		t.Errorf("the alert %s is %q", alias, status)
	}
	notes := pager.Closings(alias)
	if len(notes) != 1 {
		t.Fatalf("the alert was closed %d times: %+v", len(notes), notes)
	}
	var inc incident.Incident
	if err := json.Unmarshal([]byte(e.state), &inc); err != nil || inc.Thread == nil {
		t.Fatalf("%v: it knows of no thread in Slack: %s", err, e.state)
	}
	thread := s.Slack.Thread(inc.Thread.TS)
	if len(thread) < 2 {
		t.Fatalf("the thread has %d messages", len(thread))
	}
	for where, text := range map[string]string{"the closing note": notes[0].Text, "the reply in Slack": thread[len(thread)-1].Text, "the first message in Slack": thread[0].Text} {
		for _, want := range []string{allClear, s.i.ID, "two looks in a row"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", where, want, text)
			}
		}
	}
	if notes[0].User == stage.Person {
		t.Error("the alert was closed by a person")
	}
}

// watchEnds asserts that a watch ended without an all-clear, and why.
func (s *scene) watchEnds(t *testing.T, e ending, why string) {
	t.Helper()
	var inc incident.Incident
	if err := json.Unmarshal([]byte(e.state), &inc); err != nil {
		t.Fatalf("%v: %s", err, e.state)
	}
	if e.last != nothingToDo || inc.Watch == nil || inc.Watch.Ended != why {
		t.Errorf("the watch ended in %q (%+v), want %q and %q\n%s", e.last, inc.Watch, nothingToDo, why, strings.Join(e.lines, "\n"))
	}
}

// passes waits until an execution has entered a state so many times.
func (s *scene) passes(t *testing.T, arn, state string, times int) {
	t.Helper()
	client := sfn.NewFromConfig(s.AWS.Config(s.i.Region))
	until(t, "the watch comes to "+state, func() bool {
		entered := 0
		pages := sfn.NewGetExecutionHistoryPaginator(client, &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range page.Events {
				if d := h.StateEnteredEventDetails; d != nil && aws.ToString(d.Name) == state {
					entered++
				}
			}
		}
		return entered >= times
	})
}

// until waits for a condition.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// playNotifyTest tries all channels with the command: what works, and what does not.
func playNotifyTest(t *testing.T, w *stage.World, dir, topic string) {
	type delivery struct {
		Channel       string
		OK, Confirmed bool
		Error         string
	}
	run := func(code int) (byChannel map[string]delivery, said string) {
		t.Helper()
		out := startCommand(t, environ(w.Environment()), "", "notify", "test", "--region", home, "--json", "--dir", dir).wait()
		if out.code != code {
			t.Fatalf("notify test: exit code %d, want %d:\n%s%s", out.code, code, out.stdout, out.stderr)
		}
		var result struct {
			Regions []struct{ Deliveries []delivery }
		}
		if err := json.Unmarshal([]byte(out.stdout), &result); err != nil || len(result.Regions) != 1 {
			t.Fatalf("%v:\n%s%s", err, out.stdout, out.stderr)
		}
		byChannel = map[string]delivery{}
		for _, d := range result.Regions[0].Deliveries {
			byChannel[d.Channel] = d
		}
		if len(byChannel) != 4 {
			t.Fatalf("%d channels, want four: %+v", len(byChannel), byChannel)
		}
		return byChannel, out.stderr
	}
	const label = "this is no incident"
	all, _ := run(0)
	for channel, d := range all {
		// The others have no way to tell.
		if tells := channel == "opsgenie" || channel == "slack"; !d.OK || d.Confirmed != tells {
			t.Errorf("%+v, want it taken, and confirmed: %t", d, tells)
		}
	}
	for name, got := range map[string][]stage.Received{"Slack": w.Slack.Received(label), "OpsGenie": w.Pager.Received(label), "Jira Service Management": w.JSM.Received(label)} {
		if len(got) != 1 {
			t.Errorf("%s has %d tests", name, len(got))
			continue
		}
		if m := got[0]; m.Alias != "" && !strings.Contains(m.Body, `"priority":"P5"`) {
			t.Errorf("a test wakes somebody: %s", m.Body)
		}
	}
	for _, p := range []*stage.Service{w.Pager, w.JSM} {
		if open := p.OpenAlerts(); slices.ContainsFunc(open, func(alias string) bool { return strings.Contains(alias, "/test/") }) {
			t.Errorf("a test is still open: %q", open)
		}
	}
	published := 0
	for _, n := range w.Published(topic) {
		if strings.Contains(n.Subject, label) {
			published++
		}
	}
	if published != 1 {
		t.Errorf("%d tests were published", published)
	}

	// What does not work is named, with what to do, and keeps no other from being
	// tried.
	key, invited := w.JSM.Trouble(stage.Failing(401)), w.Slack.Trouble(stage.NotOK("not_in_channel"))
	broken, said := run(1)
	key.End()
	invited.End()
	for channel, d := range broken {
		if works := channel == "opsgenie" || channel == "sns"; d.OK != works {
			t.Errorf("%+v, want it to work: %t", d, works)
		}
	}
	for _, want := range []string{home + ": Jira Service Management: ", home + ": Slack: ", "invite"} {
		if !strings.Contains(said, want) {
			t.Errorf("notify test does not say %q:\n%s", want, said)
		}
	}
}

// playWithoutFallbackKey has a pager lose its key that is asked only when another
// one fails: a dry incident shows it, and so does verify.
func playWithoutFallbackKey(t *testing.T, s *scene, dir string, region deployed.Region, executions *started) {
	if want := []string{"opsgenie", "jsm", "sns"}; !slices.Equal(region.Pagers, want) {
		t.Errorf("the deployment's pagers are %q, want %q", region.Pagers, want)
	}
	defer withoutSecret(t, s.World, s.i.Region, "/"+chain+"/secrets/jsm-api-key")()
	_ = s.i.SetSSH(stage.Refuse)
	e := rehearse(t, s.World, chain, s.i.Region, s.i.ID, executions)
	inc := dryIncident(t, e)
	if e.last != "Page failed" || inc.PageError == nil || inc.PageError.Error != "InvalidInput" || !strings.Contains(inc.PageError.Cause, "/"+chain+"/secrets/jsm-api-key") {
		t.Errorf("ended in %q (%s), page error %+v\n%s", e.last, e.status, inc.PageError, strings.Join(e.lines, "\n"))
	}
	s.tally(t, tally{})
	out := startCommand(t, environ(s.Environment()), "", "verify", "--dir", dir, "--instance", s.i.ID).wait()
	if out.code != 1 || !strings.Contains(out.stdout+out.stderr, "TF_VAR_jsm_api_key") {
		t.Errorf("verify: exit code %d, want 1 and what to set:\n%s%s", out.code, out.stdout, out.stderr)
	}
}

// alarmsOfFailures asserts that an alarm is on the executions that fail: those that
// page another way or not at all, and those that give no all-clear.
func alarmsOfFailures(t *testing.T, w *stage.World) {
	for _, name := range []string{plain, chain} {
		out, err := cloudwatch.NewFromConfig(w.AWS.Config(home)).DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String(name + "-self-")})
		if err != nil {
			t.Fatal(err)
		}
		watched := map[string]bool{}
		for _, a := range out.MetricAlarms {
			if aws.ToString(a.MetricName) == "ExecutionsFailed" && len(a.Dimensions) == 1 {
				watched[aws.ToString(a.Dimensions[0].Value)] = true
			}
		}
		for _, machine := range []string{name, name + "-all-clear"} {
			if arn := "arn:aws:states:" + home + ":" + localaws.AccountID + ":stateMachine:" + machine; !watched[arn] {
				t.Errorf("no alarm is on the failed executions of %s", arn)
			}
		}
	}
}
