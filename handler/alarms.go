package handler

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"firstline/internal/incident"
)

// alarmOf returns the state of an instance's alarms, ALARM if one of them is,
// and the one that is in ALARM.
func (h *Handler) alarmOf(ctx context.Context, instanceID string) (state string, alarm *incident.Alarm, err error) {
	alarms, err := h.describeAlarms(ctx, h.AlarmPrefix+instanceID, "")
	for _, a := range alarms {
		// A short id may begin a long one.
		if id, err := instanceOfAlarm(a); err != nil || id != instanceID {
			continue
		}
		if a.StateValue == cwtypes.StateValueAlarm {
			return string(a.StateValue), alarmFrom(a), nil
		}
		if state == "" || a.StateValue == cwtypes.StateValueOk {
			state = string(a.StateValue)
		}
	}
	return state, nil, err
}

// describeAlarms returns the alarms with a prefix in a state, or in any.
func (h *Handler) describeAlarms(ctx context.Context, prefix string, state cwtypes.StateValue) (alarms []cwtypes.MetricAlarm, err error) {
	pages := cloudwatch.NewDescribeAlarmsPaginator(h.CloudWatch(), &cloudwatch.DescribeAlarmsInput{
		AlarmNamePrefix: &prefix,
		AlarmTypes:      []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm},
		StateValue:      state,
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

// alarmFrom is an alarm as the incident has it.
func alarmFrom(a cwtypes.MetricAlarm) *incident.Alarm {
	at := cmp.Or(a.StateTransitionedTimestamp, a.StateUpdatedTimestamp)
	data, _ := json.Marshal(aws.ToString(a.StateReasonData)) // a text
	return &incident.Alarm{
		Name: aws.ToString(a.AlarmName), ARN: aws.ToString(a.AlarmArn), Metric: aws.ToString(a.MetricName),
		Reason: incident.ClipLine(aws.ToString(a.StateReason), incident.MaxAlarmReason),
		At:     incident.At(aws.ToTime(at)), Value: incident.NewestDatapoint(data),
	}
}

// instanceOfAlarm finds the instance that an alarm is about.
func instanceOfAlarm(a cwtypes.MetricAlarm) (string, error) {
	dimensions := a.Dimensions
	for _, q := range a.Metrics {
		if q.MetricStat != nil && q.MetricStat.Metric != nil {
			dimensions = append(dimensions, q.MetricStat.Metric.Dimensions...)
		}
	}
	var ids []string
	for _, d := range dimensions {
		if aws.ToString(d.Name) == incident.DimensionInstance {
			ids = append(ids, aws.ToString(d.Value))
		}
	}
	return incident.InstanceOfAlarm(aws.ToString(a.AlarmName), ids)
}
