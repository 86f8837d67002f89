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
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/localaws"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// guardStories are of reboots that a guard refuses, of pauses, and of events that
// come twice.
func guardStories() []story {
	const silently, recovered, paged = "All good", "Recovered", "Paged"
	down := func(s *scene) { _ = s.i.SetHTTP(stage.Refuse); s.i.OnReboot(stage.CuredBy(time.Second)) }
	again := map[string]any{"reboot": map[string]any{"cool_down_seconds": 10, "per_day": 1}}
	return []story{
		{
			name: "a check that never passed", unlearned: true, set: down,
			end: paged, pages: 1, says: []string{"was not rebooted", "no pass on record", "firstline verify"},
		},
		{name: "settings that changed since the check passed", act: func(t *testing.T, s *scene, x *started) {
			s.change(t, func(settings map[string]any) { settings["url"].(map[string]any)["path"] = "/other" })
			down(s)
			s.expect(t, s.ring(t, x), paged, tally{pages: 1}, "no pass on record")
			// One pass with the new settings, and it may cause a reboot.
			_ = s.i.SetHTTP(stage.Healthy)
			s.expect(t, s.ring(t, x), silently, tally{pages: 1})
			down(s)
			s.expect(t, s.ring(t, x), recovered, tally{reboots: 1, slack: 1, pages: 1})
		}},
		{name: "a second failure within the cool-down", act: func(t *testing.T, s *scene, x *started) {
			down(s)
			s.expect(t, s.ring(t, x), recovered, tally{reboots: 1, slack: 1})
			earlier := s.rebootedAt()
			down(s)
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, slack: 1, pages: 1}, "cool-down", earlier.UTC().Format("2006-01-02"), earlier.UTC().Format("15:04"))
		}},
		{name: "no reboot left today", settings: again, act: func(t *testing.T, s *scene, x *started) {
			down(s)
			s.expect(t, s.ring(t, x), recovered, tally{reboots: 1, slack: 1})
			earlier := s.rebootedAt()
			for time.Since(earlier) < 11*time.Second {
				time.Sleep(100 * time.Millisecond)
			}
			down(s)
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, slack: 1, pages: 1}, "budget", earlier.UTC().Format("15:04"))
		}},
		{name: "an instance that is never to be rebooted", settings: map[string]any{"reboot": map[string]any{"per_day": 0}}, set: down, end: paged, pages: 1, says: []string{"per_day"}},
		{name: "an event that came late", act: func(t *testing.T, s *scene, x *started) {
			down(s)
			s.expect(t, s.send(t, x, s.event(time.Now().Add(-16*time.Minute)))[0], paged, tally{pages: 1}, "too old")
		}},
		{
			name: "an instance that is starting", set: func(s *scene) {
				down(s)
				s.AWS.SetInstanceStatus(s.i.ID, localaws.InstanceStatus{Instance: "initializing"})
			},
			end: paged, pages: 1, says: []string{"initializing"},
		},
		{
			name: "a host that fails", set: func(s *scene) { down(s); s.AWS.SetInstanceStatus(s.i.ID, localaws.InstanceStatus{System: "impaired"}) },
			end: paged, pages: 1, says: []string{"status check of the system"},
		},
		{
			name: "an instance that AWS is to retire", set: func(s *scene) { down(s); s.planned("instance-retirement", "", 48*time.Hour) },
			end: paged, pages: 1, says: []string{"instance-retirement"},
		},
		{
			name: "an instance that AWS works on", set: func(s *scene) { down(s); s.planned("system-maintenance", "", -time.Minute) },
			end: paged, pages: 1, says: []string{"system-maintenance"},
		},
		{
			name: "an instance that AWS has worked on", set: func(s *scene) { down(s); s.planned("system-maintenance", "[Completed] ", -time.Hour) },
			end: recovered, reboots: 1, slack: 1,
		},
		{name: "a paused instance", act: func(t *testing.T, s *scene, x *started) {
			s.tag(t, incident.PauseTag, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			s.expect(t, s.ring(t, x), silently, tally{})
			down(s)
			s.expect(t, s.ring(t, x), "Paused", tally{slack: 1}, "paused", "firstline resume")
			// What is over pauses nothing.
			s.tag(t, incident.PauseTag, time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
			s.expect(t, s.ring(t, x), recovered, tally{reboots: 1, slack: 2})
		}},
		{name: "an instance that is paused while it is checked", set: func(s *scene) {
			down(s)
			// Where open cannot read the tag, reboot does.
			s.breakCalls(localaws.Fault{Service: "ec2", Action: "DescribeInstances", During: []string{`"step":"open"`, s.i.ID}, Status: 503, Code: "Unavailable"})
			s.tag(s.t, incident.PauseTag, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		}, end: "Paused", slack: 1, says: []string{"paused"}},
		{
			name: "a pause that is no time", set: func(s *scene) { down(s); s.tag(s.t, incident.PauseTag, "tomorrow") },
			end: paged, pages: 1, says: []string{"tomorrow", incident.PauseTag},
		},
		{
			name: "a pause of eight days", set: func(s *scene) {
				down(s)
				s.tag(s.t, incident.PauseTag, time.Now().Add(8*24*time.Hour).UTC().Format(time.RFC3339))
			},
			end: paged, pages: 1, says: []string{incident.PauseTag},
		},
		{name: "reboots that are a dry run by setting", settings: map[string]any{"reboot": map[string]any{"dry_run": true}}, set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
		}, end: paged, pages: 1, says: []string{"[dry run]", "reboot.dry_run"}},
		{name: "the event comes twice at the same moment", act: func(t *testing.T, s *scene, x *started) {
			down(s)
			e := s.event(time.Now())
			ends := s.send(t, x, e, e)
			slices.SortFunc(ends, func(a, b ending) int { return strings.Compare(a.last, b.last) })
			s.expect(t, ends[1], recovered, tally{reboots: 1, slack: 1})
			s.handled(t, ends[0], ends[1])
			// And once more, when all is over.
			late := s.send(t, x, e)[0]
			s.handled(t, late, ends[1])
			s.expect(t, late, "Already handled", tally{reboots: 1, slack: 1})
		}},
		{name: "the alarm flaps while an incident is open", act: func(t *testing.T, s *scene, x *started) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.i.OnReboot(stage.CuredBy(4 * time.Second))
			open := s.rung(t)
			s.untilRebooted(t)
			flap := s.ring(t, x)
			e := s.follow(t, open, x)
			s.handled(t, flap, e)
			s.expect(t, e, recovered, tally{reboots: 1, slack: 1})
		}},
		{name: "an execution that is stopped in the middle", act: func(t *testing.T, s *scene, x *started) {
			_ = s.i.SetHTTP(stage.Refuse)
			e := s.event(time.Now())
			arns, err := s.AWS.PutEvent(t.Context(), s.i.Region, e)
			if err != nil || len(arns) != 1 {
				t.Fatalf("the event started %q, %v", arns, err)
			}
			s.untilRebooted(t)
			s.stop(t, arns[0])
			// Its lease silences nothing, nor has it handled its event; its reboot counts.
			s.expect(t, s.send(t, x, e)[0], paged, tally{reboots: 1, pages: 1}, "cool-down")
			s.expect(t, s.ring(t, x), paged, tally{reboots: 1, pages: 1, repeats: 1}, "cool-down")
			late := s.send(t, x, e)[0]
			s.expect(t, late, "Already handled", tally{reboots: 1, pages: 1, repeats: 1})
		}},
	}
}

// handled asserts that an execution ended since another one looked after the
// instance.
func (s *scene) handled(t *testing.T, e, by ending) {
	t.Helper()
	var inc incident.Incident
	if err := json.Unmarshal([]byte(e.state), &inc); err != nil {
		t.Fatal(err)
	}
	if e.last != "Already handled" || inc.HandledBy == nil || inc.HandledBy.Name != by.name {
		t.Errorf("ended in %q, handled by %+v, want by %s", e.last, inc.HandledBy, by.name)
	}
}

// rung rings the instance's alarm and returns the one execution that it starts.
func (s *scene) rung(t *testing.T) (arn string) {
	t.Helper()
	s.nextSecond()
	return rung(t.Context(), t, s.World, s.i.Region, s.alarm())
}

// follow waits for the end of an execution.
func (s *scene) follow(t *testing.T, arn string, executions *started) ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	return follow(ctx, t, s.World, s.i.Region, arn, executions)
}

// untilRebooted waits until EC2 has been asked to reboot the instance.
func (s *scene) untilRebooted(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); s.i.Reboots() == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s was not rebooted", s.i.ID)
		}
	}
}

// stop stops an execution.
func (s *scene) stop(t *testing.T, arn string) {
	t.Helper()
	client := sfn.NewFromConfig(s.AWS.Config(s.i.Region))
	if _, err := client.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: &arn}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := client.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: &arn})
		if err != nil || time.Now().After(end) {
			t.Fatalf("%s was not stopped: %v", arn, err)
		}
		if out.Status == sfntypes.ExecutionStatusAborted {
			return
		}
	}
}

// rebootedAt is when EC2 was asked last to reboot the instance.
func (s *scene) rebootedAt() (at time.Time) {
	for _, r := range s.AWS.Reboots() {
		if r.InstanceID == s.i.ID {
			at = r.Time
		}
	}
	return at
}

// planned has AWS plan something for the instance.
func (s *scene) planned(code, prefix string, in time.Duration) {
	from := time.Now().Add(in)
	s.AWS.SetInstanceStatus(s.i.ID, localaws.InstanceStatus{Events: []localaws.ScheduledEvent{{Code: code, Description: prefix + "The instance is running on degraded hardware", NotBefore: from, NotAfter: from.Add(2 * time.Hour)}}})
}

// tag tags the instance.
func (s *scene) tag(t *testing.T, name, value string) {
	t.Helper()
	tag(t, s.World, s.i, name, value)
}

func tag(t *testing.T, w *stage.World, i *stage.Instance, name, value string) {
	t.Helper()
	_, err := ec2.NewFromConfig(w.AWS.Config(i.Region)).CreateTags(t.Context(), &ec2.CreateTagsInput{
		Resources: []string{i.ID}, Tags: []ec2types.Tag{{Key: &name, Value: &value}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// change changes the instance's settings, as an apply does.
func (s *scene) change(t *testing.T, how func(settings map[string]any)) {
	t.Helper()
	client := ssm.NewFromConfig(s.AWS.Config(s.i.Region))
	name := "/" + s.name() + "/instances/" + s.i.ID
	out, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name})
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]any
	if err := json.Unmarshal([]byte(aws.ToString(out.Parameter.Value)), &settings); err != nil {
		t.Fatal(err)
	}
	how(settings)
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutParameter(t.Context(), &ssm.PutParameterInput{Name: &name, Value: aws.String(string(text)), Overwrite: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
}

// event is the event with which the instance's alarm rings at a time.
func (s *scene) event(at time.Time) []byte {
	return eventOf(incident.SourceAlarm, s.name(), s.i, at)
}

// eventOf is the event with which an instance's alarm rings at a time. Of the
// source aws.cloudwatch it is meant, and of firstline.canary it is a rehearsal.
func eventOf(source, deployment string, i *stage.Instance, at time.Time) []byte {
	name := deployment + "-cpu-" + i.ID
	text, err := json.Marshal(map[string]any{
		"version": "0", "id": fmt.Sprintf("%s-%d", i.ID, at.UnixNano()), "detail-type": "CloudWatch Alarm State Change", "source": source,
		"account": localaws.AccountID, "time": at.UTC().Format(time.RFC3339), "region": i.Region,
		"resources": []string{"arn:aws:cloudwatch:" + i.Region + ":" + localaws.AccountID + ":alarm:" + name},
		"detail":    alarmDetail(name, i.ID, at),
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return text
}

// alarmDetail is the detail of such an event.
func alarmDetail(alarm, id string, at time.Time) map[string]any {
	return map[string]any{
		"alarmName": alarm,
		"configuration": map[string]any{"metrics": []any{map[string]any{
			"id": "m1", "returnData": true,
			"metricStat": map[string]any{
				"metric": map[string]any{"namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": map[string]any{"InstanceId": id}},
				"period": 300, "stat": "Maximum",
			},
		}}},
		"previousState": map[string]any{"value": "OK"},
		"state":         map[string]any{"value": "ALARM", "reason": "Threshold Crossed", "timestamp": at.UTC().Format("2006-01-02T15:04:05.000+0000")},
	}
}

// send delivers events at the same moment and waits for the end of the one
// execution that each starts.
func (s *scene) send(t *testing.T, executions *started, events ...[]byte) []ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	arns, errs := make([][]string, len(events)), make([]error, len(events))
	var wg sync.WaitGroup
	for n, e := range events {
		wg.Go(func() { arns[n], errs[n] = s.AWS.PutEvent(ctx, s.i.Region, e) })
	}
	wg.Wait()
	var ends []ending
	for n := range events {
		if errs[n] != nil || len(arns[n]) != 1 {
			t.Fatalf("the event started %d executions, %v", len(arns[n]), errs[n])
		}
		ends = append(ends, follow(ctx, t, s.World, s.i.Region, arns[n][0], executions))
	}
	return ends
}

// learn has a deployment's function keep which checks of the instances pass, as
// `firstline verify` does, but without its pace.
func learn(t *testing.T, w *stage.World, deployment string, instances ...*stage.Instance) {
	t.Helper()
	next := make(chan *stage.Instance)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				if err := learnOne(t.Context(), w, deployment, i); err != nil {
					t.Errorf("the baseline of %s: %v", i.ID, err)
				}
			}
		})
	}
	for _, i := range instances {
		next <- i
	}
	close(next)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func learnOne(ctx context.Context, w *stage.World, deployment string, i *stage.Instance) error {
	now := time.Now()
	name := fmt.Sprintf("learn-%s-%d", i.ID, now.UnixNano())
	raw, err := invokeOn(ctx, w, deployment, i.Region, map[string]any{
		"step": "open", "event": json.RawMessage(eventOf(incident.SourceCanary, deployment, i, now)),
		"execution": incident.Execution{ID: name, Name: name, StartedAt: now.UTC()},
	})
	if err != nil {
		return err
	}
	for _, step := range []string{"url", "route53", "ssh"} {
		// A check that cannot tell leaves nothing to keep.
		if after, err := invokeOn(ctx, w, deployment, i.Region, map[string]any{"step": step, "incident": raw}); err == nil {
			raw = after
		}
	}
	_, err = invokeOn(ctx, w, deployment, i.Region, map[string]any{"step": "baseline", "incident": raw})
	return err
}

// invokeOn runs one step of a deployment's function.
func invokeOn(ctx context.Context, w *stage.World, deployment, region string, payload any) (json.RawMessage, error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	out, err := lambda.NewFromConfig(w.AWS.Config(region)).Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(deployment + "-responder"), Payload: raw})
	if err != nil {
		return nil, err
	}
	if out.FunctionError != nil {
		return nil, fmt.Errorf("%s", out.Payload)
	}
	return out.Payload, nil
}

// tableOf is a deployment's table in a region.
func tableOf(w *stage.World, deployment, region string) *guard.Table {
	return &guard.Table{Name: deployment + "-incidents", Client: func(context.Context) (guard.API, error) {
		return dynamodb.NewFromConfig(w.AWS.Config(region)), nil
	}}
}

// quiet sets the alarms of a region to OK, but for those of some instances.
func quiet(t *testing.T, w *stage.World, region string, but ...string) {
	t.Helper()
	if err := w.Quieten(t.Context(), region, but...); err != nil {
		t.Fatal(err)
	}
}

// swept is what a sweep answers.
type swept struct {
	InAlarm int
	Started []struct{ Instance, Execution string }
	Skipped []struct{ Instance, Reason string }
	Failed  []struct{ Instance, Reason string }
}

// sweep lets one period of a region's schedules pass.
func sweep(t *testing.T, w *stage.World, region string) swept {
	t.Helper()
	answers, err := w.AWS.Tick(t.Context(), region)
	if err != nil || len(answers) != 1 {
		t.Fatalf("the schedules answered %q, %v", answers, err)
	}
	var s swept
	if err := json.Unmarshal([]byte(answers[0]), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// did says of each instance what a sweep did.
func (s swept) did() map[string]string {
	all := map[string]string{}
	for _, i := range s.Started {
		all[i.Instance] = "started"
	}
	for _, i := range s.Skipped {
		all[i.Instance] = "skipped: " + i.Reason
	}
	for _, i := range s.Failed {
		all[i.Instance] = "failed: " + i.Reason
	}
	return all
}

// playPausedRegion pauses a whole region with the command: checks and a message
// to Slack, no reboot, no page.
func playPausedRegion(t *testing.T, w *stage.World, dir string, i *stage.Instance, executions *started) {
	s := &scene{World: w, t: t, i: i}
	command := func(want int, args ...string) *outcome {
		t.Helper()
		out := startCommand(t, environ(w.Environment()), "", append(args, "--dir", dir)...).wait()
		if out.code != want {
			t.Fatalf("%q: exit code %d, want %d:\n%s%s", args, out.code, want, out.stdout, out.stderr)
		}
		return out
	}
	command(0, "pause", "--region", other, "--until", "1h")
	if out := command(0, "paused"); !strings.Contains(out.stdout, other) {
		t.Errorf("paused does not name the region:\n%s", out.stdout)
	}
	if err := i.SetHTTP(stage.Healthy); err != nil {
		t.Fatal(err)
	}
	if err := i.SetSSH(stage.Refuse); err != nil {
		t.Fatal(err)
	}
	s.expect(t, s.ring(t, executions), "Paused", tally{slack: 1}, "whole region", "firstline resume")
	if got := sweep(t, w, other).did()[i.ID]; !strings.HasPrefix(got, "skipped: ") || !strings.Contains(got, "paused") {
		t.Errorf("a sweep of the paused region: %q", got)
	}
	command(0, "resume", "--region", other)
	if out := command(0, "paused"); strings.Contains(out.stdout, other+" ") {
		t.Errorf("paused still names the region:\n%s", out.stdout)
	}
	i.OnReboot(stage.CuredBy(time.Second))
	s.expect(t, s.ring(t, executions), "Recovered", tally{reboots: 1, slack: 2})
}

// playStandingAlarms sweeps a region: an alarm that stays in ALARM when its
// incident has ended opens another one, unless somebody is at work on it.
func playStandingAlarms(t *testing.T, w *stage.World, standing, watched *stage.Instance, executions *started) {
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	s := &scene{World: w, t: t, i: standing}
	quiet(t, w, other)
	if got := sweep(t, w, other); got.InAlarm != 0 || len(got.did()) != 0 {
		t.Errorf("a sweep while all is quiet: %+v", got)
	}
	// This one stays well, and its alarm on.
	well := &scene{World: w, t: t, i: watched}
	well.expect(t, well.ring(t, executions), "All good", tally{})
	// This one is down for good.
	if err := standing.SetSSH(stage.Refuse); err != nil {
		t.Fatal(err)
	}
	s.expect(t, s.ring(t, executions), "Paged", tally{reboots: 1, pages: 1})

	executionARN := func(name string) string {
		return "arn:aws:states:" + other + ":" + localaws.AccountID + ":execution:firstline:" + name
	}
	again := func(i *stage.Instance) ending {
		t.Helper()
		got := sweep(t, w, other)
		for _, x := range got.Started {
			if x.Instance == i.ID {
				return follow(ctx, t, w, other, executionARN(x.Execution), executions)
			}
		}
		t.Fatalf("the sweep did not start an incident of %s: %+v", i.ID, got)
		return ending{}
	}
	// What is paged has somebody's attention; what is well is looked at.
	got := sweep(t, w, other)
	if d := got.did(); got.InAlarm != 2 || !strings.Contains(d[standing.ID], "paged") || d[watched.ID] != "started" {
		t.Errorf("a sweep of one that is paged and one that is well: %+v", got)
	}
	for _, x := range got.Started {
		if e := follow(ctx, t, w, other, executionARN(x.Execution), executions); e.last != "All good" {
			t.Errorf("the one that is well ended in %q", e.last)
		}
	}
	// Somebody closes the page, and the alarm is still on.
	if !w.Pager.CloseAlert(s.alias(1)) {
		t.Fatal("there is no alert to close")
	}
	quiet(t, w, other, standing.ID)
	e := again(standing)
	s.expect(t, e, "Paged", tally{reboots: 1, pages: 2}, "cool-down")
	if !strings.HasPrefix(e.name, "standing-"+standing.ID) {
		t.Errorf("the execution is called %q", e.name)
	}
	// An open incident is not joined by another one.
	well.i.OnReboot(stage.CuredBy(3 * time.Second))
	if err := watched.SetHTTP(stage.Refuse); err != nil {
		t.Fatal(err)
	}
	open := well.rung(t)
	well.untilRebooted(t)
	if d := sweep(t, w, other).did(); !strings.HasPrefix(d[watched.ID], "skipped: ") || !strings.Contains(d[watched.ID], "open") {
		t.Errorf("a sweep while an incident is open: %q", d[watched.ID])
	}
	well.expect(t, well.follow(t, open, executions), "Recovered", tally{reboots: 1, slack: 1})
	// A paused instance is left alone.
	tag(t, w, watched, incident.PauseTag, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if d := sweep(t, w, other).did(); !strings.Contains(d[watched.ID], "pauses it") {
		t.Errorf("a sweep of a paused instance: %q", d[watched.ID])
	}
	quiet(t, w, other)
}

// playCommands asks the command for the incidents that have been.
func playCommands(t *testing.T, w *stage.World, dir string, i *stage.Instance) {
	env := environ(w.Environment())
	out := startCommand(t, env, "", "incidents", "--dir", dir, "--instance", i.ID, "--json").wait()
	if out.code != 0 {
		t.Fatalf("incidents: exit code %d:\n%s%s", out.code, out.stdout, out.stderr)
	}
	records, err := tableOf(w, plain, other).Incidents(t.Context(), time.Now().Add(-time.Hour), i.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends []string
	for _, r := range slices.Backward(records) {
		ends = append(ends, r.End)
		if !strings.Contains(out.stdout, r.ID) {
			t.Errorf("incidents does not list %s:\n%s", r.ID, out.stdout)
		}
	}
	if diff := cmp.Diff([]string{incident.EndPaged, incident.EndPaged}, ends); diff != "" {
		t.Errorf("the ends of its incidents (-want +got):\n%s", diff)
	}
	for _, r := range records {
		out := startCommand(t, env, "", "incident", r.ID, "--dir", dir).wait()
		if out.code != 0 || !strings.Contains(out.stdout, i.ID) || !strings.Contains(out.stdout, "failed: ssh ") {
			t.Errorf("incident %s: exit code %d:\n%s%s", r.ID, out.code, out.stdout, out.stderr)
		}
	}
}
