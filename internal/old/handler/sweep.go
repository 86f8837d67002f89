package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/fault"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
)

const (
	// quiet is how long after a page nobody is paged again for the same, unless
	// the page was closed.
	quiet = time.Hour
	// askAllTime bounds the questions of a sweep about executions. Step Functions
	// answers a few each second, and one that has no answer counts as running.
	askAllTime = 15 * time.Second
	// atOnce is how many instances a sweep works on at the same time.
	atOnce = 8
	// maxFilter is how many values a filter of EC2 may have
	// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Filter.html).
	maxFilter = 200
	// maxNamed bounds how many failures an error names.
	maxNamed = 10
)

// swept is the answer of a sweep.
type swept struct {
	// InAlarm is how many alarms are in ALARM.
	InAlarm int             `json:"inAlarm"`
	Started []sweptInstance `json:"started"`
	Skipped []sweptInstance `json:"skipped"`
	Failed  []sweptInstance `json:"failed"`
}

// sweptInstance is what became of one instance.
type sweptInstance struct {
	Instance  string `json:"instance"`
	Execution string `json:"execution,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// sweep starts an incident for each alarm of the deployment that is in ALARM
// without one: an alarm sends an event when it changes its state, and never again.
// It leaves alone what is looked after, paused, or was paged within the last hour,
// unless the page was closed. What it cannot find out keeps it from nothing: the
// execution that it starts asks again.
func sweep(ctx context.Context, h *Handler, req request) (any, error) {
	if err := only(req); err != nil {
		return nil, err
	}
	const op = "sweep"
	for variable, value := range map[string]string{"FIRSTLINE_ALARM_PREFIX": h.AlarmPrefix, "FIRSTLINE_STATE_MACHINE_ARN": h.StateMachineARN} {
		if value == "" {
			return nil, fault.New(fault.InvalidInput, op, "the function's environment has no %s; apply the Terraform root again", variable)
		}
	}
	now := time.Now().UTC()
	answer := &swept{Started: []sweptInstance{}, Skipped: []sweptInstance{}, Failed: []sweptInstance{}}
	alarms, err := h.standing(ctx)
	if err != nil {
		return nil, kinded(op, err)
	}
	answer.InAlarm = len(alarms)
	h.Metrics.write(metric{name: metricStandingAlarms, value: int64(len(alarms))}, "")
	byInstance := map[string]cwtypes.MetricAlarm{}
	for _, a := range alarms {
		id, _, err := alarmEvent(a, h.Region, now).instance()
		if err != nil {
			// Somebody was told of it when it rang.
			answer.Skipped = append(answer.Skipped, sweptInstance{Instance: aws.ToString(a.AlarmName), Reason: err.Error()})
			continue
		}
		byInstance[id] = a
	}
	if err := h.sweepInstances(ctx, byInstance, now, answer); err != nil {
		return answer, kinded(op, err)
	}
	for _, list := range [][]sweptInstance{answer.Started, answer.Skipped, answer.Failed} {
		slices.SortFunc(list, func(a, b sweptInstance) int { return strings.Compare(a.Instance, b.Instance) })
	}
	if n := len(answer.Failed); n > 0 {
		var errs []string
		for _, f := range answer.Failed[:min(n, maxNamed)] {
			errs = append(errs, f.Instance+": "+f.Reason)
		}
		return answer, fault.New(fault.Unavailable, op, "%d of %d alarms that are on could not be looked after: %s", n, answer.InAlarm, strings.Join(errs, "; "))
	}
	h.Metrics.write(metric{name: metricSweeps, value: 1}, "")
	return answer, nil
}

// standing returns the deployment's alarms that are in ALARM.
func (h *Handler) standing(ctx context.Context) ([]cwtypes.MetricAlarm, error) {
	client, err := h.CloudWatch(ctx)
	if err != nil {
		return nil, err
	}
	var alarms []cwtypes.MetricAlarm
	pages := cloudwatch.NewDescribeAlarmsPaginator(client, &cloudwatch.DescribeAlarmsInput{
		AlarmNamePrefix: &h.AlarmPrefix,
		AlarmTypes:      []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm},
		StateValue:      cwtypes.StateValueAlarm,
		MaxRecords:      aws.Int32(100),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		alarms = append(alarms, page.MetricAlarms...)
	}
	return alarms, nil
}

// sweepInstances goes through the instances whose alarms are in ALARM. An error is
// about all of them.
func (h *Handler) sweepInstances(ctx context.Context, alarms map[string]cwtypes.MetricAlarm, now time.Time, answer *swept) error {
	if len(alarms) == 0 {
		return nil
	}
	ids := make([]string, 0, len(alarms))
	for id := range alarms {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	guards, err := h.Guards(ctx)
	if err != nil {
		return err
	}
	states, ofRegion, err := guards.Standing(ctx, ids)
	if err != nil {
		return err
	}
	if ofRegion != nil {
		for _, id := range ids {
			answer.Skipped = append(answer.Skipped, sweptInstance{Instance: id, Reason: "the region is paused until " + clock(ofRegion.Until)})
		}
		return nil
	}
	// Those about whom somebody else is asked come last: Step Functions where an
	// incident is open, and the pager after a page. If it does not answer, that
	// takes the time of the others.
	rank := func(s guard.State) int {
		switch {
		case s.Open:
			return 1
		case now.Sub(s.PagedAt).Abs() < quiet:
			return 2
		}
		return 0
	}
	slices.SortStableFunc(ids, func(a, b string) int {
		return cmp.Or(rank(states[a])-rank(states[b]), states[a].PagedAt.Compare(states[b].PagedAt))
	})
	asking, cancel := context.WithTimeout(ctx, askAllTime)
	defer cancel()
	client, err := h.StepFunctions(ctx)
	if err != nil {
		return err
	}
	s := &sweeper{
		h: h, client: client, now: now, alarms: alarms, states: states, paused: h.pausedByTags(ctx, ids), closed: h.closedOnce(),
		open: func(id string) bool {
			return states[id].Open && !h.ended(asking, id, states[id].Holder)
		},
	}
	places := make(chan struct{}, atOnce)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, id := range ids {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			execution, reason, err := s.instance(ctx, id)
			one := sweptInstance{Instance: id, Execution: execution, Reason: reason}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				one.Reason = words(err)
				answer.Failed = append(answer.Failed, one)
			case reason != "":
				answer.Skipped = append(answer.Skipped, one)
			default:
				answer.Started = append(answer.Started, one)
			}
		})
	}
	all.Wait()
	return nil
}

// sweeper is what is known of all instances of a sweep.
type sweeper struct {
	h      *Handler
	client Executioner
	now    time.Time
	alarms map[string]cwtypes.MetricAlarm
	states map[string]guard.State
	paused map[string]*incident.Pause
	closed func(ctx context.Context, page guard.State) bool
	// open says whether an execution that may still run has the instance's lease.
	open func(id string) bool
}

// instance starts an incident of one instance, and returns the execution's name or
// the reason why not.
func (s *sweeper) instance(ctx context.Context, id string) (execution, reason string, err error) {
	state, paused := s.states[id], s.paused[id]
	if state.Err != nil {
		// The execution fails at the same, and pages; not more than once an hour.
		s.h.Log.LogAttrs(ctx, slog.LevelWarn, "what the table knows of an instance cannot be read", slog.String("instance", id), problem(state.Err))
	}
	switch {
	case state.Err == nil && s.open(id):
		return "", "an incident is open", nil
	case paused != nil:
		return "", "its tag pauses it until " + clock(paused.Until), nil
	case s.now.Sub(state.PagedAt).Abs() < quiet && !s.closed(ctx, state):
		return "", "somebody was paged at " + clock(state.PagedAt), nil
	}
	execution, err = s.start(ctx, id)
	return execution, "", err
}

// start starts an execution with the event that the alarm would send if it rang
// now. Its name is the same for a minute, the shortest period of a sweep: when the
// schedule calls twice, the second call starts nothing.
func (s *sweeper) start(ctx context.Context, id string) (string, error) {
	const op = "start an execution"
	name := fmt.Sprintf("standing-%s-%d", id, s.now.Truncate(time.Minute).Unix())
	input, err := json.Marshal(ring{Version: "0", ID: name, Source: incident.SourceAlarm, event: alarmEvent(s.alarms[id], s.h.Region, s.now)})
	if err != nil {
		return "", fault.New(fault.Internal, op, "encode the event: %w", err)
	}
	_, err = s.client.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &s.h.StateMachineARN, Name: &name, Input: aws.String(string(input))})
	if _, there := errors.AsType[*sfntypes.ExecutionAlreadyExists](err); err != nil && !there {
		return "", fault.AWS(op, err)
	}
	return name, nil
}

// closedOnce returns a func that asks the pager that took a page whether it is
// closed, once for each. Without an answer it counts as open: somebody has it.
func (h *Handler) closedOnce() func(context.Context, guard.State) bool {
	var mu sync.Mutex
	asked := map[[2]string]func() bool{}
	return func(ctx context.Context, page guard.State) bool {
		mu.Lock()
		which := [2]string{page.Pager, page.Alias}
		ask, ok := asked[which]
		if !ok {
			ask = sync.OnceValue(func() bool {
				closed, err := h.closedAt(ctx, page.Pager, page.Alias)
				if err != nil {
					h.Log.LogAttrs(ctx, slog.LevelInfo, "whether a page is closed is not known", slog.String("alias", page.Alias), problem(err))
				}
				return err == nil && closed
			})
			asked[which] = ask
		}
		mu.Unlock()
		return ask()
	}
}

// closedAt asks a pager whether the alert of an alias is closed; without a name
// that is the first, which was the only one when the page was sent.
func (h *Handler) closedAt(ctx context.Context, pager, alias string) (bool, error) {
	pagers, err := h.Pagers()
	if err != nil {
		return false, err
	}
	p := pagers.ByName(cmp.Or(pager, pagers.All[0].Name()))
	if p == nil {
		return false, fmt.Errorf("the pager %q is not configured any more", pager)
	}
	return isClosed(ctx, p, alias)
}

// pausedByTags asks EC2 which of the instances their tags pause. A tag that cannot
// be read is no pause, nor is one of which EC2 says nothing: then the execution
// asks again.
func (h *Handler) pausedByTags(ctx context.Context, ids []string) map[string]*incident.Pause {
	paused := map[string]*incident.Pause{}
	warn := func(about string, err error) {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "whether instances are paused is not known", slog.String("instance", about), problem(err))
	}
	client, err := h.EC2(ctx)
	if err != nil {
		warn("all", err)
		return paused
	}
	for some := range slices.Chunk(ids, maxFilter) {
		instances, err := taggedInstances(ctx, client, some)
		if err != nil {
			warn(strings.Join(some, ", "), err)
		}
		for _, i := range instances {
			id := aws.ToString(i.InstanceId)
			p, err := pausedByTag(&i)
			if err != nil {
				warn(id, err)
			}
			if p != nil {
				paused[id] = p
			}
		}
	}
	return paused
}

// taggedInstances describes those of the instances that have the tag of a pause.
// By a filter, since an instance that is gone would make an error of the others.
func taggedInstances(ctx context.Context, client Rebooter, ids []string) ([]ec2types.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	var found []ec2types.Instance
	in := &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("instance-id"), Values: ids},
		{Name: aws.String("tag-key"), Values: []string{incident.PauseTag}},
	}}
	for {
		out, err := client.DescribeInstances(ctx, in)
		if err != nil {
			return found, err
		}
		for _, r := range out.Reservations {
			found = append(found, r.Instances...)
		}
		if aws.ToString(out.NextToken) == "" {
			return found, nil
		}
		in.NextToken = out.NextToken
	}
}

// ring is an event as it is sent: of its source, incident.SourceOf alone decides.
type ring struct {
	Version string `json:"version"`
	ID      string `json:"id"`
	Source  string `json:"source"`
	*event
}

// alarmEvent is what of an alarm's event is read, if the alarm rang now.
func alarmEvent(a cwtypes.MetricAlarm, region string, now time.Time) *event {
	e := &event{DetailType: stateChange, Region: region, Time: now.Format(time.RFC3339), Resources: []string{aws.ToString(a.AlarmArn)}}
	if parsed, err := arn.Parse(aws.ToString(a.AlarmArn)); err == nil {
		e.Account = parsed.AccountID
	}
	e.Detail.AlarmName = aws.ToString(a.AlarmName)
	e.Detail.State = eventState{
		Value: string(cwtypes.StateValueAlarm), Reason: aws.ToString(a.StateReason),
		Timestamp: cmp.Or(aws.ToTime(a.StateTransitionedTimestamp), aws.ToTime(a.StateUpdatedTimestamp), now).UTC().Format(timestamp),
	}
	if a.StateReasonData != nil {
		// A text always is JSON.
		e.Detail.State.ReasonData, _ = json.Marshal(*a.StateReasonData)
	}
	add := func(name string, dimensions []cwtypes.Dimension) {
		m := eventMetric{}
		m.MetricStat.Metric.Name = name
		m.MetricStat.Metric.Dimensions = map[string]string{}
		for _, d := range dimensions {
			m.MetricStat.Metric.Dimensions[aws.ToString(d.Name)] = aws.ToString(d.Value)
		}
		e.Detail.Configuration.Metrics = append(e.Detail.Configuration.Metrics, m)
	}
	if a.MetricName != nil {
		add(*a.MetricName, a.Dimensions)
	}
	for _, q := range a.Metrics {
		if q.MetricStat != nil && q.MetricStat.Metric != nil {
			add(aws.ToString(q.MetricStat.Metric.MetricName), q.MetricStat.Metric.Dimensions)
		}
	}
	return e
}
