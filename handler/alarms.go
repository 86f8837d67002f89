package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"firstline/internal/incident"
)

// alarm returns the state of the instance's alarm, and puts the alarm into the
// incident if it is in ALARM.
func (h *Handler) alarm(ctx context.Context, inc *incident.Incident) (state string, err error) {
	out, err := h.CloudWatch().DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{h.AlarmPrefix + inc.InstanceID}})
	if err != nil || len(out.MetricAlarms) == 0 {
		return "", err
	}
	a := out.MetricAlarms[0]
	if a.StateValue == types.StateValueAlarm {
		inc.Alarm = alarmFrom(a)
	}
	return string(a.StateValue), nil
}

// inAlarm returns the alarms of the region that are in ALARM, by instance.
func (h *Handler) inAlarm(ctx context.Context) (map[string]*incident.Alarm, error) {
	found := map[string]*incident.Alarm{}
	pages := cloudwatch.NewDescribeAlarmsPaginator(h.CloudWatch(), &cloudwatch.DescribeAlarmsInput{
		AlarmNamePrefix: &h.AlarmPrefix, StateValue: types.StateValueAlarm, MaxRecords: aws.Int32(100),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range page.MetricAlarms {
			if id := strings.TrimPrefix(aws.ToString(a.AlarmName), h.AlarmPrefix); incident.ValidInstanceID(id) {
				found[id] = alarmFrom(a)
			}
		}
	}
	return found, nil
}

// alarmFrom is an alarm as the incident has it.
func alarmFrom(a types.MetricAlarm) *incident.Alarm {
	at := cmp.Or(a.StateTransitionedTimestamp, a.StateUpdatedTimestamp)
	data, _ := json.Marshal(aws.ToString(a.StateReasonData)) // a text
	return &incident.Alarm{
		Name: aws.ToString(a.AlarmName), ARN: aws.ToString(a.AlarmArn), Metric: aws.ToString(a.MetricName),
		Reason: incident.ClipLine(aws.ToString(a.StateReason), incident.MaxAlarmReason),
		At:     incident.At(aws.ToTime(at)), Value: incident.NewestDatapoint(data),
	}
}
