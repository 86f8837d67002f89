package handler

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"firstline/internal/incident"
	"firstline/notify"
)

// alarmTime bounds the question for the alarm's state: a message is worth
// more than what it could say of the CPU.
const alarmTime = 5 * time.Second

// tell sends a message about the incident. Of a dry incident nothing leaves the
// function but the question for the secret: the message goes into the incident.
func tell(ctx context.Context, h *Handler, c channel, inc *incident.Incident) error {
	m := notify.Message{Incident: inc, Deployment: h.Deployment, Now: time.Now().UTC()}
	if inc.Dry {
		text, err := c.notifier(h).Rehearse(ctx, m)
		if err != nil {
			return err
		}
		inc.Suppress(c.action, text, m.Now)
		return nil
	}
	m.AlarmState = h.alarmState(ctx, inc)
	// The time that the message tells is that of its sending.
	m.Now = time.Now().UTC()
	return c.notifier(h).Send(ctx, m)
}

// alarmState asks CloudWatch for the alarm's state; it is "" when CloudWatch
// does not answer, and then nothing is claimed.
func (h *Handler) alarmState(ctx context.Context, inc *incident.Incident) string {
	if inc.Alarm == nil || inc.Alarm.Name == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, alarmTime)
	defer cancel()
	client, err := h.CloudWatch(ctx)
	if err == nil {
		var out *cloudwatch.DescribeAlarmsOutput
		out, err = client.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{
			AlarmNames: []string{inc.Alarm.Name},
			AlarmTypes: []types.AlarmType{types.AlarmTypeMetricAlarm},
		})
		if err == nil && len(out.MetricAlarms) == 1 {
			return string(out.MetricAlarms[0].StateValue)
		}
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "the alarm's state is not known", slog.String("alarm", inc.Alarm.Name), slog.Any("error", err))
	return ""
}
