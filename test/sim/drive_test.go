package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/handler"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
	"firstline/notify"
	"firstline/test/asl"
)

// maxState is the most bytes that an incident may have.
const maxState = 200_000

// definition is the deployed one.
var definition = sync.OnceValues(func() (*asl.Machine, error) {
	raw, err := asl.Render("../..", asl.Vars{FunctionARN: "firstline:1", TimeoutSeconds: 4 * 3600})
	if err != nil {
		return nil, err
	}
	return asl.Load(raw)
})

// execution is one execution of the state machine.
type execution struct {
	arn, name string
	input     json.RawMessage
	started   time.Time
	status    sfntypes.ExecutionStatus
	// instance is the machine that it works on, once that is known.
	instance    string
	invocations int
	reboots     int
	// decided is its newest decision.
	decided incident.Decision
	// stop ends it before its next Task.
	stop    bool
	outcome *asl.Outcome
}

// newFunction makes the real function in this world.
func (w *world) newFunction() *handler.Handler {
	s := services{w}
	h := &handler.Handler{
		Deployment: deployment, Region: region, SettingsPath: settingsPath, Breaker: w.breaker,
		StateMachineARN: machineARN, AlarmPrefix: alarmPrefix, SlackPages: true, Log: slog.New(slog.DiscardHandler),
		SSM:           func() handler.ParameterGetter { return s },
		EC2:           func() handler.EC2 { return s },
		CloudWatch:    func() handler.CloudWatch { return s },
		StepFunctions: func() handler.Executions { return s },
		Table:         w.table,
		Checks:        map[string]handler.Check{},
		Answers: func(_ context.Context, id string, _ *incident.Settings) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			m := w.machine(id)
			return m != nil && w.answers(m)
		},
		Connected: func(ctx context.Context) bool {
			isConnected, _ := call(ctx, w, "egress", "egress:connect", func() (bool, error) { return true, nil })
			return isConnected
		},
		Peers: w.peers, VantageRequired: w.vantageRequired, AskPeer: w.askPeer,
		Slack: channel{w},
		Pagers: func() (all []notify.Pager, err error) {
			for _, p := range w.pagers {
				all = append(all, p)
			}
			return all, nil
		},
	}
	if w.noSlack {
		h.Slack = nil
	}
	for _, check := range incident.Checks {
		h.Checks[check] = w.check(check)
	}
	return h
}

// check is a check of the function: it sees what is true when it begins.
func (w *world) check(check string) handler.Check {
	return func(ctx context.Context, inc *incident.Incident) incident.Finding {
		l, err := call(ctx, w, "", "check:"+check, func() (look, error) {
			if check == incident.CheckRoute53 {
				w.askRoute53(inc)
			}
			return w.observe(check, w.machine(inc.InstanceID), inc.Settings, inc.RebootedAt.Time()), nil
		})
		if err != nil {
			f := unknown(incident.Finding{Check: check}, incident.Blind, err.Error())
			f.At = incident.At(time.Now())
			return f
		}
		select {
		case <-time.After(l.takes):
		case <-ctx.Done():
			l.finding = unknown(l.finding, incident.Blind, "no time left")
		}
		l.finding.At = incident.At(time.Now())
		return l.finding
	}
}

// askRoute53 counts what Route 53 is asked, and remembers what the health check is, as
// the check does. mu is held.
func (w *world) askRoute53(inc *incident.Incident) {
	w.count["asks"]++
	if id := inc.Settings.Route53.HealthCheckID; id != "" && inc.HealthCheck == nil {
		w.count["reads"]++
		inc.HealthCheck = &incident.HealthCheck{ID: id, Address: address, Port: 80, ReadAt: incident.At(time.Now())}
	}
}

// start starts an execution unless there is one of that name. mu is held.
func (w *world) start(name string, input json.RawMessage) (*execution, bool) {
	if e := w.executions[name]; e != nil {
		return e, false
	}
	e := &execution{
		arn: "arn:aws:states:" + region + ":" + account + ":execution:firstline:" + name, name: name, input: input,
		started: time.Now(), status: sfntypes.ExecutionStatusRunning,
	}
	w.executions[name] = e
	w.count["executions"]++
	first := untilPhase(time.Now(), w.phaseOf(name))
	w.tasks.Go(func() {
		time.Sleep(first)
		w.run(e)
	})
	return e, true
}

// canary starts a dry execution, as firstline's canaries do.
func (w *world) canary(m *machine) error {
	input, err := json.Marshal(incident.Look{
		Source: incident.SourceCanary, DetailType: incident.DetailTypeLook, Account: account, Region: region,
		Time: time.Now().UTC(), Detail: incident.LookDetail{InstanceID: m.id},
	})
	w.start(fmt.Sprintf("canary-%s-%d", m.name, time.Now().Unix()), input)
	return err
}

// run runs an execution to its end.
func (w *world) run(e *execution) {
	machine, err := definition()
	if err != nil {
		panic(err)
	}
	out := machine.Run(context.Background(), asl.Execution{
		ID: e.arn, Name: e.name, Input: e.input,
		Invoke: func(_ context.Context, c asl.Call) (json.RawMessage, error) { return w.invoke(e, c.Payload) },
		Stop: func(c asl.Call) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return e.stop || w.ended || w.chance(w.dies, e.name, c.State, e.invocations, "dies")
		},
		Jitter: func(d time.Duration) time.Duration { return (d / 2).Truncate(time.Millisecond) },
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	e.status, e.outcome = sfntypes.ExecutionStatus(out.Status), out
	w.checkEnd(e)
}

// invoke runs the function once, as Lambda would.
func (w *world) invoke(e *execution, payload json.RawMessage) (json.RawMessage, error) {
	step, err := textOf(payload, "step")
	if err != nil {
		return nil, err
	}
	instance, _ := textOf(payload, "incident", "instance_id")
	w.mu.Lock()
	i := &invocation{step: step, instance: instance, execution: e, calls: map[string]int{}, waits: map[string]int{}, after: map[string]func() error{}}
	if e != nil {
		e.invocations++
		i.id = fmt.Sprintf("%s/%d/%s", e.name, e.invocations, step)
		if i.instance != "" {
			e.instance = i.instance
		}
	} else {
		i.id = fmt.Sprintf("%s/%d", step, time.Now().UnixNano())
	}
	i.troubled = w.chance(w.faulty, i.id, "troubled")
	for n := range w.planned {
		if f := w.planned[n]; f.step == step {
			i.planned = &f
			w.planned = append(w.planned[:n:n], w.planned[n+1:]...)
			break
		}
	}
	w.count["invocations"]++
	if w.isOut("lambda") && e != nil {
		w.mu.Unlock()
		return nil, &asl.Error{Name: "Lambda.TooManyRequestsException", Cause: "Rate Exceeded."}
	}
	begin := w.until(time.Now().Add(20 * time.Millisecond))
	w.mu.Unlock()
	time.Sleep(begin)
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), invocationKey{}, i), functionTime)
	defer cancel()
	i.kill = cancel
	out, err := w.newFunction().Invoke(ctx, payload)
	return w.answer(i, out, err)
}

// textOf returns a text in a payload.
func textOf(payload json.RawMessage, fields ...string) (s string, err error) {
	raw, _ := asl.Get(payload, fields...)
	return s, json.Unmarshal(raw, &s)
}

// functionTime is the function's time-out.
const functionTime = 120 * time.Second

// answer is what Lambda makes of what the function returned.
func (w *world) answer(i *invocation, out []byte, err error) (json.RawMessage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i.planned != nil {
		// No call was named that it made: the answer as a whole is lost.
		w.faultAt = time.Now()
		w.logf("fault: the answer of %s is lost", i.id)
		return nil, &asl.Error{Name: "Lambda.Unknown", Cause: "the answer was lost"}
	}
	if i.dead {
		w.logf("%s was killed", i.id)
		return nil, &asl.Error{Name: "Lambda.Unknown", Cause: "killed"}
	}
	if err != nil {
		w.count["step errors"]++
		w.logf("%s: %v", i.id, err)
		if e, ok := errors.AsType[messages.InvokeResponse_Error](err); ok {
			return nil, asl.FunctionError(e.Type, e.Message)
		}
		return nil, err
	}
	if len(out) > maxState {
		w.violate("size", "%s returned %d bytes", i.id, len(out))
	}
	if i.step == "decide" {
		w.decided(i, out)
	}
	return out, nil
}

// decided counts and logs a decision.
func (w *world) decided(i *invocation, out []byte) {
	raw, _ := asl.Get(out, "decision")
	var d incident.Decision
	if json.Unmarshal(raw, &d) != nil {
		return
	}
	if i.execution != nil {
		i.execution.decided = d
	}
	w.count["looks"]++
	w.count[fmt.Sprintf("row %02d", d.Row)]++
	if d.Guard != "" {
		w.count["guard "+d.Guard]++
	}
	if !w.loud {
		return
	}
	name := i.instance
	if m := w.machine(i.instance); m != nil {
		name = m.name
	}
	w.logf("%s: look %d %s %s; row %d: %s %s %s", name, d.Look, d.Verdict, d.Kind, d.Row, d.Next, d.Situation, d.Reason)
}

// alarmEvent sends the event of an alarm that fires.
func (w *world) alarmEvent(m *machine) {
	now := time.Now().UTC()
	name := alarmPrefix + m.id + "-cpu"
	event := map[string]any{
		"version": "0", "id": "e", "detail-type": incident.DetailTypeAlarm, "source": incident.SourceAlarm, "account": account,
		"time": now.Format(time.RFC3339), "region": region,
		"resources": []string{"arn:aws:cloudwatch:" + region + ":" + account + ":alarm:" + name},
		"detail": map[string]any{
			"alarmName": name,
			"state":     map[string]any{"value": "ALARM", "reason": "Threshold Crossed", "timestamp": now.Format("2006-01-02T15:04:05.000-0700")},
			"configuration": map[string]any{"metrics": []any{map[string]any{"metricStat": map[string]any{"metric": map[string]any{
				"name": "CPUUtilization", "dimensions": map[string]any{incident.DimensionInstance: m.id},
			}}}}},
		},
	}
	input, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	w.start(fmt.Sprintf("event-%s-%d", m.name, w.phases), input)
}

// reconcile is the schedule. It is delivered late, or twice, now and then.
func (w *world) reconcile() {
	if w.isIdle() {
		return // it would start nothing, and most of a day is like that
	}
	if w.p(w.lost) {
		w.after(90*time.Second, w.deliver)
	}
	w.deliver()
}

// isIdle reports whether the schedule has nothing to do: no alarm fires, each
// instance in the table is at rest, and no alert is open. Such a run starts and
// resolves nothing. What it stores of a pause's tag it has stored by then. Its faults
// would show nothing but pages about the table, which occur often enough. The table
// is read again only once it has been written.
func (w *world) isIdle() bool {
	if w.isOut("table") || len(w.openAlerts()) > 0 {
		return false
	}
	for _, m := range w.machines {
		if time.Now().Before(m.alarmUntil) || time.Since(m.pauseFrom) < 10*time.Minute {
			return false
		}
	}
	if writes := w.db.Writes(); writes != w.restingAsked {
		w.restingAsked, w.resting = writes, w.isResting()
	}
	return w.resting
}

// isResting reports whether the table has nothing for the schedule to do.
func (w *world) isResting() bool {
	l, err := w.table.Instances(context.Background())
	if err != nil || len(l.Region.Alerts) > 0 {
		return false
	}
	for _, i := range l.Instances {
		if !i.AtRest {
			return false
		}
	}
	return true
}

func (w *world) deliver() {
	first := w.until(time.Now())
	w.tasks.Go(func() {
		time.Sleep(first)
		// What fails is logged; the schedule comes again.
		_, _ = w.invoke(nil, json.RawMessage(`{"step":"reconcile"}`))
	})
}

// live runs the region until a time after the begin.
func (w *world) live(span time.Duration) {
	w.mu.Lock()
	wait := w.until(w.begun.Add(span))
	w.mu.Unlock()
	time.Sleep(wait)
}

// stop ends the day: nothing begins any more, and what is under way ends.
func (w *world) stop() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.tasks.Wait()
}

// store changes what is stored of a machine, as people's commands do.
func (w *world) store(m *machine, change func(*policy.Instance)) {
	_, err := w.table.Update(context.Background(), m.id, func(e *store.Entry) error {
		change(&e.State.Instance)
		return nil
	})
	if err != nil {
		panic(err)
	}
}

// resume is the operator's command that closes the breaker.
func (w *world) resume() {
	w.logf("a person resumes")
	w.breakerClosed = time.Now()
	for _, m := range w.machines {
		_, err := w.table.Update(context.Background(), m.id, func(e *store.Entry) error {
			s, was := policy.Resume(e.State, incident.At(time.Now()))
			if !was {
				return nil
			}
			e.State = s
			m.seen = seen{}
			return nil
		})
		if err != nil {
			panic(err)
		}
	}
}

// pauseRegion is the operator's command that pauses the whole region.
func (w *world) pauseRegion(span time.Duration) {
	until := time.Now().Add(span)
	for _, m := range w.machines {
		m.pauseFrom, m.pause = time.Now(), until
	}
	err := w.table.UpdateRegion(context.Background(), func(r *policy.Region) error {
		r.Pause = &policy.Pause{Until: incident.At(until), By: "a person"}
		return nil
	})
	if err != nil {
		panic(err)
	}
}
