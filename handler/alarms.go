package handler

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// alarm returns the state of the instance's alarms: ALARM if one of them is, else OK
// if one of them is. It puts the one that fired first into the incident.
func (h *Handler) alarm(ctx context.Context, inc *incident.Incident) (state string, err error) {
	err = h.alarms(ctx, h.AlarmPrefix+inc.InstanceID+"-", "", func(a types.MetricAlarm) {
		if a.StateValue == types.StateValueAlarm {
			inc.Alarm = firstFired(inc.Alarm, alarmFrom(a))
		}
		if s := string(a.StateValue); state != policy.StateAlarm && (s == policy.StateAlarm || s > state) {
			state = s // OK comes after INSUFFICIENT_DATA in the alphabet
		}
	})
	return state, err
}

// inAlarm returns per instance of the region the one of its alarms in ALARM that fired
// first.
func (h *Handler) inAlarm(ctx context.Context) (map[string]*incident.Alarm, error) {
	found := map[string]*incident.Alarm{}
	return found, h.alarms(ctx, h.AlarmPrefix, types.StateValueAlarm, func(a types.MetricAlarm) {
		if id, _ := incident.AlarmOf(aws.ToString(a.AlarmName)); id != "" {
			found[id] = firstFired(found[id], alarmFrom(a))
		}
	})
}

// alarms visits the alarms whose names begin with a prefix, those in one state unless
// that is empty.
func (h *Handler) alarms(ctx context.Context, prefix string, state types.StateValue, visit func(types.MetricAlarm)) error {
	pages := cloudwatch.NewDescribeAlarmsPaginator(h.CloudWatch(), &cloudwatch.DescribeAlarmsInput{
		AlarmNamePrefix: &prefix, StateValue: state, MaxRecords: aws.Int32(100),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.MetricAlarms {
			visit(a)
		}
	}
	return nil
}

// firstFired is the alarm that went to ALARM first.
func firstFired(a, b *incident.Alarm) *incident.Alarm {
	if a == nil || b.At < a.At {
		return b
	}
	return a
}

// alarmFrom is an alarm as the incident has it.
func alarmFrom(a types.MetricAlarm) *incident.Alarm {
	at := cmp.Or(a.StateTransitionedTimestamp, a.StateUpdatedTimestamp)
	data, _ := json.Marshal(aws.ToString(a.StateReasonData)) // a text
	_, trigger := incident.AlarmOf(aws.ToString(a.AlarmName))
	return &incident.Alarm{
		Name: aws.ToString(a.AlarmName), Trigger: trigger, ARN: aws.ToString(a.AlarmArn), Metric: aws.ToString(a.MetricName),
		Reason: incident.ClipLine(aws.ToString(a.StateReason), incident.MaxAlarmReason),
		At:     incident.At(aws.ToTime(at)), Value: incident.NewestDatapoint(data),
	}
}
