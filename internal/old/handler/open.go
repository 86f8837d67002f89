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
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/internal/fault"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
)

// event is what is read of "CloudWatch Alarm State Change", beside its source
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
type event struct {
	DetailType string   `json:"detail-type"`
	Account    string   `json:"account"`
	Region     string   `json:"region"`
	Time       string   `json:"time"`
	Resources  []string `json:"resources"`
	Detail     struct {
		AlarmName     string     `json:"alarmName"`
		State         eventState `json:"state"`
		Configuration struct {
			Metrics []eventMetric `json:"metrics"`
		} `json:"configuration"`
	} `json:"detail"`
}

// stateChange is the event's detail-type.
const stateChange = "CloudWatch Alarm State Change"

type eventState struct {
	Value  string `json:"value"`
	Reason string `json:"reason"`
	// ReasonData is JSON in a text, as a rule.
	ReasonData json.RawMessage `json:"reasonData,omitempty"`
	Timestamp  string          `json:"timestamp"`
}

type eventMetric struct {
	MetricStat struct {
		Metric struct {
			Name       string            `json:"name"`
			Dimensions map[string]string `json:"dimensions"`
		} `json:"metric"`
	} `json:"metricStat"`
}

// leaseMargin is how much longer than its execution a lease holds: Step
// Functions' clock is not ours.
const leaseMargin = time.Minute

// open turns an alarm's event into an incident with its instance's settings, and
// takes the instance's lease: of one that another execution has, or of an event
// that another one has handled, it says no more than that. A dry incident needs no
// lease, since it does nothing.
func open(ctx context.Context, h *Handler, req request) (any, error) {
	if err := only(req, "event", "execution"); err != nil {
		return nil, err
	}
	have := 24 * time.Hour
	if deadline, ok := ctx.Deadline(); ok {
		// What this invocation was given is what a check will get: asked before
		// the table takes its part of it.
		have = time.Until(deadline).Round(time.Second)
	}
	inc, err := fromEvent(req.Event, h.Region, rings)
	if err != nil {
		return nil, fault.New(fault.InvalidInput, "read event", "%w", err)
	}
	if req.Execution.ID == "" {
		return nil, fault.New(fault.InvalidInput, "decode payload", "execution.id: missing; send the execution's id, name and startedAt")
	}
	if req.Execution.StartedAt.IsZero() {
		return nil, fault.New(fault.InvalidInput, "decode payload", "execution.startedAt: missing; send the execution's id, name and startedAt")
	}
	inc.Execution = *req.Execution
	if !inc.Dry {
		if err := h.lease(ctx, inc); err != nil {
			return inc, err
		}
		if inc.HandledBy != nil {
			h.Metrics.count(metricAlreadyHandled, inc)
			return inc, nil
		}
	}
	if inc.Settings, err = h.readSettings(ctx, inc.InstanceID, have); err != nil {
		return inc, err
	}
	if inc.Dry {
		// Nothing boots, so there is nothing to wait for.
		inc.Settings.Boot = incident.Boot{FirstLookSeconds: 1, IntervalSeconds: 1, WindowSeconds: 1}
		return inc, nil
	}
	h.askTags(ctx, inc)
	h.Metrics.count(metricIncidents, inc)
	return inc, nil
}

// lease takes the instance's lease until the execution is certainly over. Whoever
// holds it already may take it again: the answer to the first time may be lost.
func (h *Handler) lease(ctx context.Context, inc *incident.Incident) error {
	op := "take the lease of " + inc.InstanceID
	if h.ExecutionTimeout <= 0 {
		return fault.New(fault.InvalidInput, op, "the function's environment does not say how long an execution may take (FIRSTLINE_EXECUTION_TIMEOUT_SECONDS); apply the Terraform root again")
	}
	guards, err := h.Guards(ctx)
	if err != nil {
		return err
	}
	ended := func(ctx context.Context, e incident.Execution) bool { return h.ended(ctx, inc.InstanceID, e) }
	inc.HandledBy, inc.Paused, err = guards.Open(ctx, inc, inc.Execution.StartedAt.Add(h.ExecutionTimeout+leaseMargin), ended)
	return kinded(op, err)
}

// unseen is how long Step Functions may not know an execution that has begun: its
// answers are eventually consistent
// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html).
const unseen = time.Minute

// ended reports whether an execution that never closed its incident is over: it
// was stopped, it ran out of time, or its close failed. Whatever is not certain
// counts as running, since its lease is what keeps a second incident away.
func (h *Handler) ended(ctx context.Context, instanceID string, e incident.Execution) bool {
	bounded, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	about := []slog.Attr{slog.String("instance", instanceID), slog.String("holder", e.Name)}
	status, err := h.statusOf(bounded, e.ID)
	switch _, gone := errors.AsType[*sfntypes.ExecutionDoesNotExist](err); {
	case gone && !e.StartedAt.IsZero() && time.Since(e.StartedAt) >= unseen:
		status = "GONE"
	case err != nil:
		h.Log.LogAttrs(ctx, slog.LevelWarn, "whether the execution that has the lease is over is not known", append(about, problem(err))...)
		return false
	case status == sfntypes.ExecutionStatusRunning || status == sfntypes.ExecutionStatusPendingRedrive:
		return false
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "an execution is over and never closed its incident", append(about, slog.String("status", string(status)))...)
	return true
}

// statusOf asks Step Functions what has become of an execution.
func (h *Handler) statusOf(ctx context.Context, arn string) (sfntypes.ExecutionStatus, error) {
	client, err := h.StepFunctions(ctx)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if err != nil {
		return "", err
	}
	if !slices.Contains(sfntypes.ExecutionStatus("").Values(), out.Status) {
		return "", fmt.Errorf("the status of %s is %q, says Step Functions, which is no status that is known", arn, out.Status)
	}
	return out.Status, nil
}

// askTags reads the instance's name, and whether a tag pauses it. Without an answer
// it counts as not paused: the checks run all the same, and the reboot asks again.
func (h *Handler) askTags(ctx context.Context, inc *incident.Incident) {
	client, err := h.EC2(ctx)
	if err == nil {
		var i *ec2types.Instance
		if i, err = describe(ctx, client, "read the tags of "+inc.InstanceID, inc.InstanceID); err == nil {
			inc.Name = nameTag(i)
			if inc.Paused == nil {
				inc.Paused, err = pausedByTag(i)
			}
		}
	}
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "whether the instance is paused is not known yet", slog.String("instance", inc.InstanceID), problem(err))
	}
}

// nameTag is the value of the instance's tag Name; "" without one.
func nameTag(i *ec2types.Instance) string {
	for _, t := range i.Tags {
		if aws.ToString(t.Key) == "Name" {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// pausedByTag reads the instance's tag. An error says why it is no pause, and that
// somebody meant one.
func pausedByTag(i *ec2types.Instance) (*incident.Pause, error) {
	n := slices.IndexFunc(i.Tags, func(t ec2types.Tag) bool { return aws.ToString(t.Key) == incident.PauseTag })
	if n < 0 {
		return nil, nil
	}
	// To PauseFromTag an empty value is no tag.
	return guard.PauseFromTag(cmp.Or(aws.ToString(i.Tags[n].Value), " "), time.Now())
}

// change is a change of an alarm's state that something is made of.
type change struct{ to, makes string }

var (
	rings    = change{"ALARM", "only ALARM opens an incident"}
	backToOK = change{"OK", "only OK begins an all-clear"}
)

// noInstanceError is about an alarm that does not speak of one instance.
type noInstanceError struct{ error }

// fromEvent reads the event of an alarm that went to a state. Its errors say what
// an operator would have to change.
func fromEvent(raw json.RawMessage, region string, want change) (*incident.Incident, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("event: not an alarm's event: %w", err)
	}
	source := incident.SourceOf(raw)
	if source != incident.SourceAlarm && source != incident.SourceCanary || e.DetailType != stateChange {
		return nil, fmt.Errorf(`event: source %q with detail-type %q is not an alarm's; want %q (or %q for a dry run) with %q`, source, e.DetailType, incident.SourceAlarm, incident.SourceCanary, stateChange)
	}
	if e.Detail.State.Value != want.to {
		return nil, fmt.Errorf("event.detail.state.value: the alarm %q went to %q; %s", e.Detail.AlarmName, e.Detail.State.Value, want.makes)
	}
	if !incident.ValidAccountID(e.Account) {
		return nil, fmt.Errorf("event.account: %q is not an account id of 12 digits", e.Account)
	}
	if e.Region != region {
		return nil, fmt.Errorf("event.region: the event is of %q, this function runs in %s", e.Region, region)
	}
	id, metric, err := e.instance()
	if err != nil {
		return nil, noInstanceError{err}
	}
	sent, err := time.Parse(time.RFC3339, e.Time)
	if err != nil {
		return nil, fmt.Errorf("event.time: %q is not a time such as 2026-11-22T10:04:40Z", e.Time)
	}
	inc := &incident.Incident{
		InstanceID: id,
		Region:     e.Region,
		AccountID:  e.Account,
		Dry:        source == incident.SourceCanary,
		Alarm:      &incident.Alarm{Name: e.Detail.AlarmName, Metric: metric, Reason: e.Detail.State.Reason, At: e.at(sent), Value: newest(e.Detail.State.ReasonData)},
		Run:        1,
		Recovery:   &incident.Recovery{},
		EventAt:    sent.UTC(),
	}
	if len(e.Resources) > 0 {
		inc.Alarm.ARN = e.Resources[0]
	}
	return inc, nil
}

// instance finds the one instance that the alarm's metrics speak of, and the
// metric's name. A
// metric-math expression has no dimensions; the metrics behind it do.
func (e *event) instance() (id, metric string, err error) {
	var ids []string
	for _, m := range e.Detail.Configuration.Metrics {
		if id, ok := m.MetricStat.Metric.Dimensions["InstanceId"]; ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
			metric = m.MetricStat.Metric.Name
		}
	}
	switch {
	case len(ids) == 0:
		return "", "", fmt.Errorf("event.detail.configuration.metrics: no metric of the alarm %q has the dimension InstanceId", e.Detail.AlarmName)
	case len(ids) > 1:
		return "", "", fmt.Errorf("event.detail.configuration.metrics: the alarm %q speaks of %d instances (%s); give each its own alarm", e.Detail.AlarmName, len(ids), strings.Join(ids, ", "))
	case !incident.ValidInstanceID(ids[0]):
		return "", "", fmt.Errorf("event.detail.configuration.metrics: InstanceId %q is not an instance id such as i-0c1cbf2e7abdedf75", ids[0])
	}
	return ids[0], metric, nil
}

// at is when the alarm went to ALARM. CloudWatch writes an offset without a
// colon there, which RFC 3339 does not know; the event's own time will do for
// anything else.
func (e *event) at(sent time.Time) time.Time {
	if t, err := time.Parse(timestamp, e.Detail.State.Timestamp); err == nil {
		return t.UTC()
	}
	return sent.UTC()
}

// newest is the newest of the datapoints that CloudWatch has looked at; nil where
// the event does not tell, which some alarms' do not. Those with times come in any
// order, and the others end with the newest
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
func newest(reasonData json.RawMessage) *float64 {
	var text string
	if json.Unmarshal(reasonData, &text) != nil {
		return nil
	}
	var data struct {
		Evaluated []struct {
			Timestamp string   `json:"timestamp"`
			Value     *float64 `json:"value"`
		} `json:"evaluatedDatapoints"`
		Recent []*float64 `json:"recentDatapoints"`
	}
	if json.Unmarshal([]byte(text), &data) != nil {
		return nil
	}
	var value *float64
	var at time.Time
	for _, d := range data.Evaluated {
		t, err := time.Parse(timestamp, d.Timestamp)
		if err == nil && d.Value != nil && (value == nil || t.After(at)) {
			value, at = d.Value, t
		}
	}
	if n := len(data.Recent); value == nil && n > 0 {
		value = data.Recent[n-1]
	}
	return value
}

// timestamp is how CloudWatch writes times in its events.
const timestamp = "2006-01-02T15:04:05.999-0700"

// readSettings reads and checks an instance's settings.
func (h *Handler) readSettings(ctx context.Context, instanceID string, have time.Duration) (*incident.Settings, error) {
	name := h.SettingsPath + instanceID
	op := "read settings of " + instanceID
	client, err := h.SSM(ctx)
	if err != nil {
		return nil, err
	}
	out, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	if _, missing := errors.AsType[*types.ParameterNotFound](err); missing {
		return nil, fault.New(fault.InvalidInput, op, "the SSM parameter %s does not exist; name the instance in regions.tfvars and apply", name)
	}
	if err != nil {
		return nil, fault.AWS(op, err)
	}
	s := new(incident.Settings)
	if err := incident.DecodeStrict([]byte(aws.ToString(out.Parameter.Value)), s); err != nil {
		return nil, fault.New(fault.InvalidInput, op, "the SSM parameter %s: %w", name, err)
	}
	if err := errors.Join(s.Validate(), s.CheckBudget(have)); err != nil {
		return nil, fault.New(fault.InvalidInput, op, "the SSM parameter %s: %w", name, err)
	}
	return s, nil
}
