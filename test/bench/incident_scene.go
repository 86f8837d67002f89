package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/localaws"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// deployment is the name of what is deployed, and the prefix of all names.
const deployment = "firstline"

// scene is a local AWS with firstline deployed, and instances whose alarms can
// ring.
type scene struct {
	*stage.World
}

// cast asks for instances of one kind.
type cast struct {
	region   string
	settings map[string]any
	number   int
}

// newScene deploys firstline for what is asked for, with variables as change
// leaves them. Terraform deploys one instance of each kind; the others are copies
// of it, since hundreds would take it minutes.
func newScene(ctx context.Context, f *frame, wanted []cast, change func(variables map[string]any)) (_ *scene, _ [][]*stage.Instance, err error) {
	w, err := stage.New(ctx, stage.Options{Root: f.project})
	if err != nil {
		return nil, nil, err
	}
	s := &scene{w}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	overrides := map[string]map[string]any{}
	var models, everybody []*stage.Instance
	instances := make([][]*stage.Instance, len(wanted))
	for n, c := range wanted {
		for range c.number {
			i, err := w.AddInstance(ctx, c.region)
			if err != nil {
				return nil, nil, err
			}
			if instances[n] == nil {
				models, overrides[i.ID] = append(models, i), c.settings
			}
			instances[n], everybody = append(instances[n], i), append(everybody, i)
		}
	}
	v := w.Variables(overrides, models...)
	change(v)
	dir, err := w.CopyRoot(v)
	if err != nil {
		return nil, nil, err
	}
	if err := w.Deploy(ctx, dir, nil); err != nil {
		return nil, nil, err
	}
	for _, all := range instances {
		for _, i := range all[min(1, len(all)):] {
			if err := s.CopyDeployed(ctx, all[0], i); err != nil {
				return nil, nil, fmt.Errorf("copy what is deployed for %s to %s: %w", all[0].ID, i.ID, err)
			}
		}
	}
	if err := s.learn(ctx, everybody); err != nil {
		return nil, nil, err
	}
	f.say("deployed, with %d instances", len(everybody))
	return s, instances, nil
}

func alarmOf(i *stage.Instance) string { return deployment + "-cpu-" + i.ID }

func functionOf(region string) string {
	return "arn:aws:lambda:" + region + ":" + localaws.AccountID + ":function:" + deployment + "-responder"
}

// machineOf is the ARN of the machine that handles incidents.
func machineOf(region string) string {
	return "arn:aws:states:" + region + ":" + localaws.AccountID + ":stateMachine:" + deployment
}

// eventOf is the event of an instance's alarm that rings now, as EventBridge has
// it.
func eventOf(source string, i *stage.Instance) []byte {
	now := time.Now().UTC()
	name := alarmOf(i)
	text, err := json.Marshal(map[string]any{
		"version": "0", "id": fmt.Sprintf("%s-%d", i.ID, now.UnixNano()), "detail-type": "CloudWatch Alarm State Change", "source": source,
		"account": localaws.AccountID, "time": now.Format(time.RFC3339), "region": i.Region,
		"resources": []string{"arn:aws:cloudwatch:" + i.Region + ":" + localaws.AccountID + ":alarm:" + name},
		"detail": map[string]any{
			"alarmName": name,
			"configuration": map[string]any{"metrics": []any{map[string]any{
				"id": "m1", "returnData": true,
				"metricStat": map[string]any{
					"metric": map[string]any{"namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": map[string]any{"InstanceId": i.ID}},
					"period": 300, "stat": "Maximum",
				},
			}}},
			"previousState": map[string]any{"value": "OK"},
			"state":         map[string]any{"value": "ALARM", "reason": "Threshold Crossed", "timestamp": now.Format("2006-01-02T15:04:05.000+0000")},
		},
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return text
}

// invoke runs one step of the deployed function, without a state machine.
func (s *scene) invoke(ctx context.Context, region string, payload map[string]any) (json.RawMessage, error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	out, err := lambda.NewFromConfig(s.AWS.Config(region)).Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(deployment + "-responder"), Payload: raw})
	if err == nil && out.FunctionError != nil {
		err = errors.New(string(out.Payload))
	}
	if err != nil {
		return nil, fmt.Errorf("the step %v: %w", payload["step"], err)
	}
	return out.Payload, nil
}

// openPayload is the payload of the first step, for an execution of a made-up name.
func openPayload(source, name string, i *stage.Instance) map[string]any {
	return map[string]any{
		"step": "open", "event": json.RawMessage(eventOf(source, i)),
		"execution": incident.Execution{ID: strings.Replace(machineOf(i.Region), ":stateMachine:", ":execution:", 1) + ":" + name, Name: name, StartedAt: time.Now().UTC()},
	}
}

// learners is how many instances learn their baseline at the same time.
const learners = 4

// learn has the checks of the instances pass once: what has never passed leads to
// no reboot.
func (s *scene) learn(ctx context.Context, instances []*stage.Instance) error {
	next := make(chan *stage.Instance)
	errs := make(chan error, len(instances))
	var wg sync.WaitGroup
	for range learners {
		wg.Go(func() {
			for i := range next {
				errs <- s.learnOne(ctx, i)
			}
		})
	}
	for _, i := range instances {
		next <- i
	}
	close(next)
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func (s *scene) learnOne(ctx context.Context, i *stage.Instance) error {
	raw, err := s.invoke(ctx, i.Region, openPayload(incident.SourceCanary, "learn-"+i.ID, i))
	for _, step := range []string{"url", "route53", "ssh", "baseline"} {
		if err == nil {
			raw, err = s.invoke(ctx, i.Region, map[string]any{"step": step, "incident": raw})
		}
	}
	if err != nil {
		return fmt.Errorf("the baseline of %s: %w", i.ID, err)
	}
	return nil
}

// ended is an execution that has ended.
type ended struct {
	name   string
	status sfntypes.ExecutionStatus
	// states are those that it went through, entered when.
	states  []string
	entered []time.Time
	// retries are the tries of Tasks beyond each one's first. They count as
	// transitions too.
	retries int
	// checked is how long the checks before a reboot took by themselves.
	checked time.Duration
}

// last is where it ended, "" for nowhere.
func (e ended) last() string {
	if len(e.states) == 0 {
		return ""
	}
	return e.states[len(e.states)-1]
}

// after is when the state that follows another one was entered for the first time,
// zero for never.
func (e ended) after(state string) time.Time {
	if n := slices.Index(e.states, state); n >= 0 && n+1 < len(e.states) {
		return e.entered[n+1]
	}
	return time.Time{}
}

// lookInterval is the pause between two looks whether something has ended.
const lookInterval = 200 * time.Millisecond

// waitFor waits for the next look.
func waitFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// started is the one execution that something must have started.
func started(arns []string, err error) (string, error) {
	if err == nil && len(arns) != 1 {
		err = fmt.Errorf("%d executions were started, want 1", len(arns))
	}
	if err != nil {
		return "", err
	}
	return arns[0], nil
}

// end waits for an execution's end and reads how it went.
func (s *scene) end(ctx context.Context, region, arn string) (ended, error) {
	client := sfn.NewFromConfig(s.AWS.Config(region))
	for {
		x, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
		if err != nil {
			return ended{}, err
		}
		if x.Status != sfntypes.ExecutionStatusRunning {
			return s.history(ctx, region, arn, x.Status)
		}
		if err := waitFor(ctx, lookInterval); err != nil {
			return ended{}, fmt.Errorf("%s does not end: %w", arn, err)
		}
	}
}

// history reads how an execution went.
func (s *scene) history(ctx context.Context, region, arn string, status sfntypes.ExecutionStatus) (ended, error) {
	e := ended{name: arn[strings.LastIndex(arn, ":")+1:], status: status}
	scheduled, tasks := 0, 0
	client := sfn.NewFromConfig(s.AWS.Config(region))
	pages := sfn.NewGetExecutionHistoryPaginator(client, &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return e, err
		}
		for _, h := range page.Events {
			switch {
			case h.StateEnteredEventDetails != nil:
				in := h.StateEnteredEventDetails
				e.states, e.entered = append(e.states, aws.ToString(in.Name)), append(e.entered, aws.ToTime(h.Timestamp))
				if h.Type == sfntypes.HistoryEventTypeTaskStateEntered {
					tasks++
				}
				if e.last() == "Reboot instance" {
					var inc incident.Incident
					if err := json.Unmarshal([]byte(aws.ToString(in.Input)), &inc); err != nil {
						return e, fmt.Errorf("%s: %w", e.name, err)
					}
					e.checked = checked(inc)
				}
			case h.Type == sfntypes.HistoryEventTypeTaskScheduled:
				scheduled++
			}
		}
	}
	e.retries = max(0, scheduled-tasks)
	return e, nil
}

// checked is how long the checks of an incident took by themselves.
func checked(inc incident.Incident) time.Duration {
	var all time.Duration
	for _, f := range inc.Findings {
		all += time.Duration(f.ElapsedMs) * time.Millisecond
	}
	return all
}

// rebooted is when EC2 accepted the instance's reboot.
func (s *scene) rebooted(i *stage.Instance) (time.Time, error) {
	var at []time.Time
	for _, r := range s.AWS.Reboots() {
		if r.InstanceID == i.ID {
			at = append(at, r.Time)
		}
	}
	if len(at) != 1 {
		return time.Time{}, fmt.Errorf("%s was rebooted %d times, want once", i.ID, len(at))
	}
	return at[0], nil
}

// invocation is one of the function of the function as Lambda bills it.
type invocation struct {
	step  string
	at    time.Time
	took  time.Duration
	gbs   float64
	bytes int // of its log
}

// reportLine is Lambda's own last line about an invocation.
var reportLine = regexp.MustCompile(`\tDuration: ([0-9.]+) ms\tBilled Duration: ([0-9]+) ms\tMemory Size: ([0-9]+) MB`)

// billed reads an invocation.
func billed(i localaws.Invocation) (invocation, error) {
	m := reportLine.FindStringSubmatch(i.Log)
	if m == nil {
		return invocation{}, fmt.Errorf("the log of the invocation %s has no REPORT", i.RequestID)
	}
	took, err := time.ParseDuration(m[1] + "ms")
	ms, err2 := strconv.Atoi(m[2])
	mb, err3 := strconv.Atoi(m[3])
	var payload struct {
		Step string `json:"step"`
	}
	if err := errors.Join(err, err2, err3, json.Unmarshal(i.Event, &payload)); err != nil {
		return invocation{}, fmt.Errorf("the invocation %s: %w", i.RequestID, err)
	}
	return invocation{payload.Step, i.Time, took, float64(ms) / 1000 * float64(mb) / 1024, len(i.Log)}, nil
}

// calls are the invocations about an execution, or about whatever else is in their
// event.
func (s *scene) calls(region, about string) ([]invocation, error) {
	var all []invocation
	for _, i := range s.AWS.Invocations(functionOf(region)) {
		if !strings.Contains(string(i.Event), about) {
			continue
		}
		c, err := billed(i)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
