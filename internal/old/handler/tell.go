package handler

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// alarmTime bounds the question for the alarm's state: a message is worth
// more than what it could say of the CPU. The same goes for what the table is
// asked.
const (
	alarmTime = 5 * time.Second
	askTime   = 3 * time.Second
)

// tellSlack tells Slack of the incident: instead of a page, or after it.
func tellSlack(ctx context.Context, h *Handler, inc *incident.Incident) error {
	paged := inc.Told != nil && inc.Told.Page != nil
	if paged {
		if h.SlackPages == nil {
			return fault.New(fault.InvalidInput, "tell Slack of a page", "the function's environment does not say whether pages are told there (FIRSTLINE_SLACK_PAGES: true or false); apply the Terraform root again")
		}
		// Good news went to the pager since Slack did not take it. Of all that the
		// brake stops, Slack hears once.
		if !*h.SlackPages || cameBack(inc) || inc.Told.Noted {
			return nil
		}
	}
	if inc.Dry {
		now := time.Now().UTC()
		text, err := h.Slack.Rehearse(ctx, notify.Message{Incident: inc, Deployment: h.Deployment, Now: now})
		if err != nil {
			return err
		}
		inc.Suppress(incident.ActionSlack, text, now)
		told(inc).Slack = &now
		return nil
	}
	m := h.message(ctx, inc)
	if paged && inc.Alert != nil && inc.Alert.Repeats > 0 {
		m.Kind, m.Thread = notify.KindRepeat, inc.Thread
	}
	thread, err := h.Slack.Post(ctx, m)
	if err != nil {
		return err
	}
	told(inc).Slack = &m.Now
	h.Metrics.count(metricSlackMessages, inc)
	h.Log.LogAttrs(ctx, slog.LevelInfo, "told Slack", slog.String("instance", inc.InstanceID))
	switch {
	case m.Thread != nil && thread == *m.Thread:
		h.updateRoot(ctx, m, thread)
	case thread.TS == "":
		// Slack did not say what it is called.
	default:
		inc.Thread = &thread
		if paged && inc.Alert != nil && inc.Alert.Generation > 0 {
			h.keepThread(ctx, inc, thread)
		}
	}
	return nil
}

// updateRoot has the first message of a thread say what its last one does. The
// last one is there, so it is no reason to fail.
func (h *Handler) updateRoot(ctx context.Context, m notify.Message, thread incident.Thread) {
	if err := h.Slack.Update(ctx, m, thread); err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the first message of the thread in Slack stays as it was", slog.String("instance", m.Incident.InstanceID), problem(err))
	}
}

// keepThread has the table know of the thread, for the repeats and the all-clear.
func (h *Handler) keepThread(ctx context.Context, inc *incident.Incident, thread incident.Thread) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	guards, err := h.Guards(ctx)
	if err == nil {
		err = guards.AlertThread(ctx, h.known(inc), thread)
	}
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the table does not know of the thread in Slack", slog.String("instance", inc.InstanceID), problem(err))
	}
}

// tellPager pages somebody, and has the table remember it for the sweeps.
func tellPager(ctx context.Context, h *Handler, inc *incident.Incident) error {
	pagers, err := h.Pagers()
	if err != nil {
		return err
	}
	if inc.Dry {
		return h.rehearsePage(ctx, inc, pagers)
	}
	p, err := h.page(ctx, h.message(ctx, inc), pagers)
	if err != nil {
		return err
	}
	told(inc).Page, told(inc).Noted = &p.at, p.noted
	inc.Alert, inc.Thread = p.alert, p.thread
	switch {
	case p.pager == pagers.All[0].Name():
		// It has failed before, and did not now.
		inc.PageError = nil
	case inc.PageError != nil:
		h.Metrics.count(metricPagerFallbacks, inc)
	}
	counted := metricPages
	if p.repeat {
		counted = metricRepeats
	}
	h.Metrics.count(counted, inc)
	h.Log.LogAttrs(ctx, slog.LevelInfo, "paged", slog.String("instance", inc.InstanceID), slog.String("pager", p.pager), slog.String("alias", p.alias), slog.Bool("repeat", p.repeat))
	if cameBack(inc) {
		// Should it fail again while the alarm stays on, nobody has been told.
		return nil
	}
	h.remember(ctx, inc, p.alias, p.pager)
	return nil
}

// rehearsePage does of a page what makes no call, with every pager: one that takes
// a page only when others have failed would show what it lacks too late.
func (h *Handler) rehearsePage(ctx context.Context, inc *incident.Incident, pagers *notify.Pagers) error {
	m := notify.Message{Incident: inc, Deployment: h.Deployment, Now: time.Now().UTC()}
	var first string
	var failed error
	for n, p := range pagers.All {
		text, err := p.Rehearse(ctx, m)
		if n == 0 {
			first = text
		}
		switch {
		case err == nil:
		case failed == nil:
			failed = fault.New(fault.KindOf(err), "pager "+p.Name(), "%w", err)
		default:
			// All that is wrong is said at once.
			failed = &fault.Error{Kind: fault.KindOf(failed), Op: "pagers", Err: fmt.Errorf("%w; pager %s: %w", failed, p.Name(), err)}
		}
	}
	if failed != nil {
		return failed
	}
	inc.Suppress(incident.ActionPage, first, m.Now)
	told(inc).Page = &m.Now
	// It was about any of them, and none lacks anything now.
	inc.PageError = nil
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

// message is what is told of the incident now.
func (h *Handler) message(ctx context.Context, inc *incident.Incident) notify.Message {
	h.findReboot(ctx, inc)
	state := h.alarmState(ctx, inc)
	// The time that the message tells is that of its sending.
	return notify.Message{Incident: inc, Deployment: h.Deployment, AlarmState: state, Now: time.Now().UTC()}
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
func (h *Handler) remember(ctx context.Context, inc *incident.Incident, alias, pager string) {
	known := h.known(inc)
	if known.InstanceID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	guards, err := h.Guards(ctx)
	if err == nil {
		err = guards.Paged(ctx, known, alias, pager)
	}
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the table does not know of the page", slog.String("instance", known.InstanceID), problem(err))
	}
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
