package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
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
		AlarmName string `json:"alarmName"`
		State     struct {
			Value     string `json:"value"`
			Reason    string `json:"reason"`
			Timestamp string `json:"timestamp"`
		} `json:"state"`
		Configuration struct {
			Metrics []struct {
				MetricStat struct {
					Metric struct {
						Name       string            `json:"name"`
						Dimensions map[string]string `json:"dimensions"`
					} `json:"metric"`
				} `json:"metricStat"`
			} `json:"metrics"`
		} `json:"configuration"`
	} `json:"detail"`
}

// open turns an alarm's event into an incident with its instance's settings.
func open(ctx context.Context, h *Handler, req request) (*incident.Incident, error) {
	if err := only(req, "event"); err != nil {
		return nil, err
	}
	inc, err := fromEvent(req.Event, h.Region)
	if err != nil {
		return nil, fault.New(fault.InvalidInput, "read event", "%w", err)
	}
	if req.Execution.ID == "" {
		return nil, fault.New(fault.InvalidInput, "decode payload", "execution.id: missing; send the execution's id, name and startedAt")
	}
	inc.Execution = *req.Execution
	have := 24 * time.Hour
	if deadline, ok := ctx.Deadline(); ok {
		// The time that this invocation was given is what a check will get,
		// but for the moment that has passed since.
		have = time.Until(deadline).Round(time.Second)
	}
	if inc.Settings, err = h.readSettings(ctx, inc.InstanceID, have); err != nil {
		return inc, err
	}
	if inc.Dry {
		// Nothing boots, so there is nothing to wait for.
		inc.Settings.Boot = incident.Boot{FirstLookSeconds: 1, IntervalSeconds: 1, WindowSeconds: 1}
	}
	return inc, nil
}

// fromEvent reads an alarm's event. Its errors say what an operator would
// have to change.
func fromEvent(raw json.RawMessage, region string) (*incident.Incident, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("event: not an alarm's event: %w", err)
	}
	source := incident.SourceOf(raw)
	if source != incident.SourceAlarm && source != incident.SourceCanary || e.DetailType != "CloudWatch Alarm State Change" {
		return nil, fmt.Errorf(`event: source %q with detail-type %q is not an alarm's; want %q (or %q for a dry run) with "CloudWatch Alarm State Change"`, source, e.DetailType, incident.SourceAlarm, incident.SourceCanary)
	}
	if e.Detail.State.Value != "ALARM" {
		return nil, fmt.Errorf("event.detail.state.value: the alarm %q went to %q; only ALARM opens an incident", e.Detail.AlarmName, e.Detail.State.Value)
	}
	if !incident.ValidAccountID(e.Account) {
		return nil, fmt.Errorf("event.account: %q is not an account id of 12 digits", e.Account)
	}
	if e.Region != region {
		return nil, fmt.Errorf("event.region: the event is of %q, this function runs in %s", e.Region, region)
	}
	id, metric, err := e.instance()
	if err != nil {
		return nil, err
	}
	at, err := e.at()
	if err != nil {
		return nil, err
	}
	inc := &incident.Incident{
		InstanceID: id,
		Region:     e.Region,
		AccountID:  e.Account,
		Dry:        source == incident.SourceCanary,
		Alarm:      &incident.Alarm{Name: e.Detail.AlarmName, Metric: metric, Reason: e.Detail.State.Reason, At: at},
		Run:        1,
		Recovery:   &incident.Recovery{},
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
// colon there, which RFC 3339 does not know; the event's own time is RFC 3339.
func (e *event) at() (time.Time, error) {
	if t, err := time.Parse("2006-01-02T15:04:05.999-0700", e.Detail.State.Timestamp); err == nil {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, e.Time)
	if err != nil {
		return time.Time{}, fmt.Errorf("event.time: %q is not a time such as 2026-11-22T10:04:40Z", e.Time)
	}
	return t.UTC(), nil
}

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
