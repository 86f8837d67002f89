package incident

import (
	"cmp"
	"encoding/json"
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

// event is what is read of any event: a look of ours, or an alarm's change of
// state. AWS adds fields at will
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html).
type event struct {
	DetailType string   `json:"detail-type"`
	Account    string   `json:"account"`
	Region     string   `json:"region"`
	Time       string   `json:"time"`
	Resources  []string `json:"resources"`
	Detail     struct {
		LookDetail
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
	} `json:"detail"`
}

// ParseEvent makes an incident of the event that started an execution. Its
// errors name the field and say what would be right.
func ParseEvent(raw json.RawMessage) (*Incident, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	source := SourceOf(raw)
	trigger, ok := triggers[[2]string{source, e.DetailType}]
	switch {
	case !ok:
		return nil, fmt.Errorf("event.source, event.detail-type: %q with %q starts nothing; want %q with %q, or %q, %q or %q with %q",
			source, e.DetailType, SourceAlarm, DetailTypeAlarm, SourceSchedule, SourcePerson, SourceCanary, DetailTypeLook)
	case !ValidAccountID(e.Account):
		return nil, fmt.Errorf("event.account: %q is not an account id of 12 digits", e.Account)
	case !ValidRegion(e.Region):
		return nil, fmt.Errorf("event.region: %q is not a region such as eu-west-1", e.Region)
	}
	inc := &Incident{Region: e.Region, AccountID: e.Account, Trigger: trigger, Dry: source == SourceCanary}
	if e.DetailType == DetailTypeLook {
		inc.InstanceID, inc.Alarm = e.Detail.InstanceID, e.Detail.Alarm
		if !ValidInstanceID(inc.InstanceID) {
			return nil, fmt.Errorf("event.detail.instance_id: %q is not an instance id such as i-0c1cbf2e7abdedf75", inc.InstanceID)
		}
		return inc, nil
	}
	if e.Detail.State.Value != "ALARM" {
		return nil, fmt.Errorf("event.detail.state.value: alarm %q went to %q; only ALARM starts an incident", e.Detail.AlarmName, e.Detail.State.Value)
	}
	var ids []string
	var err error
	inc.Alarm, ids = e.alarm()
	if inc.InstanceID, err = instanceOfAlarm(inc.Alarm.Name, ids); err != nil {
		return nil, fmt.Errorf("event.detail.configuration.metrics: %w", err)
	}
	return inc, nil
}

// alarm is the alarm in an event of CloudWatch, and what its metrics name as
// instances.
func (e *event) alarm() (a *Alarm, instances []string) {
	s := e.Detail.State
	at, err := time.Parse(alarmTime, s.Timestamp)
	if err != nil {
		at, _ = time.Parse(time.RFC3339, e.Time) // good enough for people
	}
	_, trigger := AlarmOf(e.Detail.AlarmName)
	a = &Alarm{Name: e.Detail.AlarmName, Trigger: trigger, Reason: ClipLine(s.Reason, MaxAlarmReason), At: At(at), Value: NewestDatapoint(s.ReasonData)}
	if len(e.Resources) > 0 {
		a.ARN = e.Resources[0]
	}
	for _, m := range e.Detail.Configuration.Metrics {
		metric := m.MetricStat.Metric
		if id, ok := metric.Dimensions[DimensionInstance]; ok {
			a.Metric = cmp.Or(a.Metric, metric.Name)
			instances = append(instances, id)
		}
	}
	return a, instances
}

// Glance is what can be read of an event that could not be made an incident, and the
// instances that its alarm names. Any field may be missing or of another type, which
// encoding/json skips.
func Glance(raw json.RawMessage) (i Incident, instances []string) {
	var e event
	_ = json.Unmarshal(raw, &e)
	alarm, named := e.alarm()
	i.Alarm = &Alarm{Name: alarm.Name, Reason: alarm.Reason, ARN: alarm.ARN}
	if ValidRegion(e.Region) {
		i.Region = e.Region
	}
	if ValidAccountID(e.Account) {
		i.AccountID = e.Account
	}
	for _, id := range named {
		if ValidInstanceID(id) && !slices.Contains(instances, id) {
			instances = append(instances, id)
		}
	}
	return i, instances
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

// AlarmOf returns the instance and the trigger with which the name of an instance's
// alarm ends (terraform/modules/watch); empty for any other name.
func AlarmOf(name string) (instance, trigger string) {
	last := max(0, strings.LastIndexByte(name, '-'))
	if first := strings.LastIndex(name[:last], "-i-"); first >= 0 && ValidInstanceID(name[first+1:last]) {
		return name[first+1 : last], name[last+1:]
	}
	return "", ""
}

// instanceOfAlarm finds the one instance that an alarm's metrics name in their
// dimensions. A metric math expression has no dimensions; the metrics behind it
// do.
func instanceOfAlarm(alarm string, ids []string) (string, error) {
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
// where its reason's data do not tell.
func NewestDatapoint(reasonData json.RawMessage) *float64 {
	var text string
	var data struct {
		Recent []*float64 `json:"recentDatapoints"` // the newest last
	}
	if json.Unmarshal(reasonData, &text) != nil || json.Unmarshal([]byte(text), &data) != nil || len(data.Recent) == 0 {
		return nil
	}
	return data.Recent[len(data.Recent)-1]
}
