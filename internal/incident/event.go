package incident

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sources of the events that start an execution. EventBridge lets nobody send
// events of an "aws." source, so whatever has SourceAlarm comes from CloudWatch.
const (
	SourceAlarm = "aws.cloudwatch"
	// SourceSchedule is reconcile's, SourcePerson the operator's command.
	SourceSchedule = "firstline.schedule"
	SourcePerson   = "firstline.person"
	// SourceCanary makes an incident dry, and nothing else does.
	SourceCanary = "firstline.canary"
)

// Detail-types of the events that start an execution.
const (
	DetailTypeAlarm = "CloudWatch Alarm State Change"
	DetailTypeLook  = "firstline look"
)

// triggers says by source and detail-type what an event starts.
var triggers = map[[2]string]string{
	{SourceAlarm, DetailTypeAlarm}:   TriggerAlarm,
	{SourceCanary, DetailTypeAlarm}:  TriggerCanary,
	{SourceCanary, DetailTypeLook}:   TriggerCanary,
	{SourceSchedule, DetailTypeLook}: TriggerSchedule,
	{SourcePerson, DetailTypeLook}:   TriggerPerson,
}

// Look is an event of ours that asks for a look at an instance.
type Look struct {
	Source     string     `json:"source"`
	DetailType string     `json:"detail-type"`
	Account    string     `json:"account"`
	Region     string     `json:"region"`
	Time       time.Time  `json:"time"`
	Detail     LookDetail `json:"detail"`
}

// LookDetail says at what to look, and which alarm is in ALARM, if any.
type LookDetail struct {
	InstanceID string `json:"instance_id"`
	Alarm      *Alarm `json:"alarm,omitempty"`
}

// event is what is read of any event. AWS adds fields at will.
type event struct {
	DetailType string          `json:"detail-type"`
	Account    string          `json:"account"`
	Region     string          `json:"region"`
	Time       string          `json:"time"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// alarmDetail is what is read of an alarm's change of state
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
type alarmDetail struct {
	AlarmName string `json:"alarmName"`
	State     struct {
		Value  string `json:"value"`
		Reason string `json:"reason"`
		// ReasonData is JSON in a text, as a rule.
		ReasonData json.RawMessage `json:"reasonData"`
		Timestamp  string          `json:"timestamp"`
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
}

// ParseEvent makes an incident of the event that started an execution. Its
// errors name the field and say what would be right.
func ParseEvent(raw json.RawMessage) (*Incident, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("event: %w", explain(err))
	}
	source := SourceOf(raw)
	trigger, ok := triggers[[2]string{source, e.DetailType}]
	if !ok {
		return nil, fmt.Errorf("event.source, event.detail-type: %q with %q starts nothing; want %q with %q, or %q, %q or %q with %q",
			source, e.DetailType, SourceAlarm, DetailTypeAlarm, SourceSchedule, SourcePerson, SourceCanary, DetailTypeLook)
	}
	if !ValidAccountID(e.Account) {
		return nil, fmt.Errorf("event.account: %q is not an account id of 12 digits", e.Account)
	}
	if !ValidRegion(e.Region) {
		return nil, fmt.Errorf("event.region: %q is not a region such as eu-west-1", e.Region)
	}
	sent, err := time.Parse(time.RFC3339, e.Time)
	if err != nil {
		return nil, fmt.Errorf("event.time: %q is not a time such as 2026-11-22T10:04:40Z", e.Time)
	}
	inc := &Incident{Region: e.Region, AccountID: e.Account, Trigger: trigger, Dry: source == SourceCanary}
	if e.DetailType == DetailTypeLook {
		err = inc.fromLook(e)
	} else {
		err = inc.fromAlarm(e, sent)
	}
	if err != nil {
		return nil, err
	}
	return inc, nil
}

// Glance is what can be read of an event that could not be made an incident, and the
// instances that its alarm names. Any field may be missing or of another type, which
// encoding/json skips.
func Glance(raw json.RawMessage) (i Incident, instances []string) {
	var e event
	var d alarmDetail
	_ = json.Unmarshal(raw, &e)
	_ = json.Unmarshal(e.Detail, &d)
	i.Alarm = &Alarm{Name: d.AlarmName, Reason: d.State.Reason}
	if len(e.Resources) > 0 {
		i.Alarm.ARN = e.Resources[0]
	}
	if ValidRegion(e.Region) {
		i.Region = e.Region
	}
	if ValidAccountID(e.Account) {
		i.AccountID = e.Account
	}
	for _, m := range d.Configuration.Metrics {
		if id := m.MetricStat.Metric.Dimensions[DimensionInstance]; ValidInstanceID(id) && !slices.Contains(instances, id) {
			instances = append(instances, id)
		}
	}
	return i, instances
}

func (i *Incident) fromLook(e event) error {
	var d LookDetail
	if len(e.Detail) == 0 {
		return errors.New("event.detail: missing; want an object with instance_id")
	}
	if err := json.Unmarshal(e.Detail, &d); err != nil {
		return fmt.Errorf("event.detail: %w", explain(err))
	}
	if !ValidInstanceID(d.InstanceID) {
		return fmt.Errorf("event.detail.instance_id: %q is not an instance id such as i-0c1cbf2e7abdedf75", d.InstanceID)
	}
	i.InstanceID, i.Alarm = d.InstanceID, d.Alarm
	return nil
}

func (i *Incident) fromAlarm(e event, sent time.Time) error {
	var d alarmDetail
	if len(e.Detail) == 0 {
		return errors.New("event.detail: missing; want what CloudWatch sends")
	}
	if err := json.Unmarshal(e.Detail, &d); err != nil {
		return fmt.Errorf("event.detail: %w", explain(err))
	}
	if d.State.Value != "ALARM" {
		return fmt.Errorf("event.detail.state.value: alarm %q went to %q; only ALARM starts an incident", d.AlarmName, d.State.Value)
	}
	var ids []string
	metric := ""
	for _, m := range d.Configuration.Metrics {
		if id, ok := m.MetricStat.Metric.Dimensions[DimensionInstance]; ok {
			ids = append(ids, id)
			if metric == "" {
				metric = m.MetricStat.Metric.Name
			}
		}
	}
	id, err := InstanceOfAlarm(d.AlarmName, ids)
	if err != nil {
		return fmt.Errorf("event.detail.configuration.metrics: %w", err)
	}
	at, err := time.Parse(alarmTime, d.State.Timestamp)
	if err != nil {
		at = sent // good enough for people
	}
	i.InstanceID = id
	i.Alarm = &Alarm{
		Name: d.AlarmName, Metric: metric, Reason: ClipLine(d.State.Reason, MaxAlarmReason), At: At(at),
		Value: NewestDatapoint(d.State.ReasonData),
	}
	if len(e.Resources) > 0 {
		i.Alarm.ARN = e.Resources[0]
	}
	return nil
}

const (
	// DimensionInstance is the dimension by which an alarm's metric names an instance.
	DimensionInstance = "InstanceId"
	// alarmTime is how CloudWatch writes times in its events: the offset has no
	// colon, which RFC 3339 does not know.
	alarmTime = "2006-01-02T15:04:05.999-0700"
	// MaxAlarmReason bounds an alarm's reason, in runes.
	MaxAlarmReason = 500
)

// InstanceOfAlarm finds the one instance that an alarm's metrics name in their
// dimensions. A metric math expression has no dimensions; the metrics behind it
// do.
func InstanceOfAlarm(alarm string, ids []string) (string, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	switch {
	case len(ids) == 0:
		return "", fmt.Errorf("no metric of the alarm %q has the dimension %s", alarm, DimensionInstance)
	case len(ids) > 1:
		return "", fmt.Errorf("the alarm %q names %d instances (%s); give each its own alarm", alarm, len(ids), strings.Join(ids, ", "))
	case !ValidInstanceID(ids[0]):
		return "", fmt.Errorf("%s %q of the alarm %q is not an instance id such as i-0c1cbf2e7abdedf75", DimensionInstance, ids[0], alarm)
	}
	return ids[0], nil
}

// NewestDatapoint is the newest of the datapoints that made an alarm fire; nil
// where its reason's data do not tell. Those with times come in any order, the
// others end with the newest
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
func NewestDatapoint(reasonData json.RawMessage) *float64 {
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
		t, err := time.Parse(alarmTime, d.Timestamp)
		if err == nil && d.Value != nil && (value == nil || t.After(at)) {
			value, at = d.Value, t
		}
	}
	if n := len(data.Recent); value == nil && n > 0 {
		value = data.Recent[n-1]
	}
	return value
}
