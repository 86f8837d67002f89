package handler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/notify"
)

// alarmTime bounds the question for the alarm's state: a message is worth
// more than what it could say of the CPU. The same goes for what the table is
// asked.
const (
	alarmTime = 5 * time.Second
	askTime   = 3 * time.Second
)

// tellSlack sends a message to Slack.
func tellSlack(ctx context.Context, h *Handler, inc *incident.Incident) error {
	m, err := h.tell(ctx, inc, incident.ActionSlack, h.Slack, func(ctx context.Context, m notify.Message) (notify.Message, error) {
		return m, h.Slack.Send(ctx, m)
	})
	if err != nil {
		return err
	}
	told(inc).Slack = &m.Now
	h.Metrics.count(metricSlackMessages, inc)
	h.Log.LogAttrs(ctx, slog.LevelInfo, "told Slack", slog.String("instance", inc.InstanceID))
	return nil
}

// tellPager pages somebody, and has the table remember it for the sweeps.
func tellPager(ctx context.Context, h *Handler, inc *incident.Incident) error {
	m, err := h.tell(ctx, inc, incident.ActionPage, h.OpsGenie, h.page)
	if err != nil {
		return err
	}
	told(inc).Page = &m.Now
	h.Metrics.count(metricPages, inc)
	if inc.Dry {
		return nil
	}
	alias := h.OpsGenie.Alias(m)
	h.Log.LogAttrs(ctx, slog.LevelInfo, "paged", slog.String("instance", inc.InstanceID), slog.String("alias", alias))
	if cameBack(inc) {
		// Should it fail again while the alarm stays on, nobody has been told.
		return nil
	}
	h.remember(ctx, inc, alias)
	return nil
}

// cameBack reports whether a page is good news, which goes to the pager when
// Slack does not take it.
func cameBack(inc *incident.Incident) bool {
	return inc.Run == 2 && inc.Passed && inc.Error == nil
}

// told returns who was told of an incident.
func told(inc *incident.Incident) *incident.Told {
	if inc.Told == nil {
		inc.Told = &incident.Told{}
	}
	return inc.Told
}

// tell sends a message about the incident and returns what was sent. Of a dry
// incident nothing leaves the function but the question for the secret: the
// message goes into the incident.
func (h *Handler) tell(ctx context.Context, inc *incident.Incident, action string, by Notifier, send func(context.Context, notify.Message) (notify.Message, error)) (notify.Message, error) {
	m := notify.Message{Incident: inc, Deployment: h.Deployment, Now: time.Now().UTC()}
	if inc.Dry {
		text, err := by.Rehearse(ctx, m)
		if err != nil {
			return m, err
		}
		inc.Suppress(action, text, m.Now)
		return m, nil
	}
	h.findReboot(ctx, inc)
	m.AlarmState = h.alarmState(ctx, inc)
	// The time that the message tells is that of its sending.
	m.Now = time.Now().UTC()
	return send(ctx, m)
}

// findReboot looks for a reboot that the incident knows nothing of: the step that
// ended with an error may have been cut off earlier, when it had asked EC2
// already. Nobody is to be told that there was none.
func (h *Handler) findReboot(ctx context.Context, inc *incident.Incident) {
	failed := inc.LastFailure()
	if inc.Error == nil || inc.Reboot != nil || inc.Refusal != nil || inc.Run != 1 || inc.Passed || failed == nil || h.Guards == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	guards, err := h.Guards(ctx)
	if err == nil {
		var own *time.Time
		if own, _, err = guards.Look(ctx, inc); err == nil && own != nil {
			inc.Reboot = &incident.Reboot{At: own.UTC(), Reason: failed.Reason, Outcome: incident.RebootUnknown}
		}
	}
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "whether a reboot was reserved is not known", slog.String("instance", inc.InstanceID), problem(err))
		inc.RebootError = &incident.Error{Error: string(fault.KindOf(err)), Cause: words(err)}
	}
}

// remember has the table know of a page, which keeps the sweeps from paging again
// at once. Without it somebody is paged twice, which is no reason to fail.
func (h *Handler) remember(ctx context.Context, inc *incident.Incident, alias string) {
	known := h.known(inc)
	if known.InstanceID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	guards, err := h.Guards(ctx)
	if err == nil {
		err = guards.Paged(ctx, known, alias)
	}
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the table does not know of the page", slog.String("instance", known.InstanceID), problem(err))
	}
}

// Pauses between two tries to add a note to a page that another execution is just
// sending.
const (
	noteTries = 3
	notePause = 2 * time.Second
)

// page sends a page, and returns the message as it was sent. A brake that is on
// has one page an hour for its region, and whatever else it stops goes there as a
// note. When there is doubt whether that can be seen, the instance gets a page of
// its own.
func (h *Handler) page(ctx context.Context, m notify.Message) (notify.Message, error) {
	if r := m.Incident.Refusal; r == nil || r.Guard != incident.GuardBrake {
		return m, h.OpsGenie.Send(ctx, m)
	}
	alone := m
	alone.Alone = true
	if h.Brake != nil && (h.Brake.InFlight <= 0 || h.Brake.PerHour <= 0) {
		// By its setting it is always on. That is no storm: whatever failed within
		// the same hour has nothing to do with the others.
		return alone, h.OpsGenie.Send(ctx, alone)
	}
	first, err := h.claimBrakePage(ctx, m.Incident)
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "whether the brake's page was sent is not known: the instance gets its own", slog.String("instance", m.Incident.InstanceID), problem(err))
		return alone, h.OpsGenie.Send(ctx, alone)
	}
	if first {
		// Sent to one of an earlier hour that nobody has closed, it would raise a
		// count and wake nobody. Where the pager does not tell, one page more is
		// better than none.
		bounded, cancel := context.WithTimeout(ctx, askTime)
		closed, err := h.OpsGenie.Closed(bounded, h.OpsGenie.Alias(m))
		cancel()
		if err != nil || !closed {
			return alone, h.OpsGenie.Send(ctx, alone)
		}
		return m, h.OpsGenie.Send(ctx, m)
	}
	err = h.note(ctx, m)
	if err == nil {
		return m, nil
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "no note could be added to the brake's page", slog.String("instance", m.Incident.InstanceID), problem(err))
	if !errors.Is(err, notify.ErrNoAlert) {
		return alone, h.OpsGenie.Send(ctx, alone)
	}
	if err := h.OpsGenie.Send(ctx, m); err != nil {
		return m, err
	}
	if nowhere(err) {
		// Several may send it at the same moment, of which the pager makes one.
		if err := h.OpsGenie.Note(ctx, m); err != nil && !errors.Is(err, notify.ErrNoAlert) {
			return alone, h.OpsGenie.Send(ctx, alone)
		}
	}
	return m, nil
}

func (h *Handler) claimBrakePage(ctx context.Context, inc *incident.Incident) (first bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	guards, err := h.Guards(ctx)
	if err != nil {
		return false, err
	}
	return guards.ClaimBrakePage(ctx, inc)
}

// note adds a note to the brake's page, which another execution may be about to
// send. It leaves half of the time for a page.
func (h *Handler) note(ctx context.Context, m notify.Message) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	for try := 1; ; try++ {
		err := h.OpsGenie.Note(ctx, m)
		if !nowhere(err) || try == noteTries {
			return err
		}
		timer := time.NewTimer(notePause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// nowhere reports whether a note was certainly added to nothing. Some pagers
// accept one and never tell.
func nowhere(err error) bool {
	return errors.Is(err, notify.ErrNoAlert) && fault.KindOf(err) != fault.Unavailable
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
	h.Log.LogAttrs(ctx, slog.LevelWarn, "the alarm's state is not known", slog.String("alarm", inc.Alarm.Name), problem(err))
	return ""
}
