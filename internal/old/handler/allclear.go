package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/fault"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// AllClear is how firstline looks after a page whether the instance is well again.
type AllClear struct {
	// Every is the time between two looks.
	Every time.Duration
	// For is how long it looks after a page; 0: it does so only when the alarm has
	// returned to OK.
	For time.Duration
}

const (
	// leastWatch is how long it looks at least after an alarm has returned to OK.
	leastWatch = 15 * time.Minute
	// elsewhereTime bounds what is done about an alert beside the one that counts.
	elsewhereTime = 5 * time.Second
	// looksHold is how long what the checks saw is good enough to close an alert: a
	// table that does not answer may have the step tried again for minutes.
	looksHold = 5 * time.Minute
)

// findAlert begins an all-clear. It takes the execution's whole input, which is an
// incident after its page, or the event of an alarm that has returned to OK, and
// makes an incident of the instance's open alert. Without one, where nobody asks for
// a watch, and where nothing can be checked, that incident has no alert.
func findAlert(ctx context.Context, h *Handler, req request) (any, error) {
	if err := only(req, "event", "execution"); err != nil {
		return nil, err
	}
	const op = "find the alert"
	have := 24 * time.Hour
	if deadline, ok := ctx.Deadline(); ok {
		have = time.Until(deadline).Round(time.Second)
	}
	switch {
	case req.Execution.ID == "":
		return nil, fault.New(fault.InvalidInput, "decode payload", "execution.id: missing; send the execution's id, name and startedAt")
	case h.AllClear == nil:
		return nil, fault.New(fault.InvalidInput, op, "the function's environment does not say how often and for how long it is to look after a page (FIRSTLINE_ALL_CLEAR_EVERY_MINUTES: 1 to 60, FIRSTLINE_ALL_CLEAR_FOR_MINUTES: 0 to 1440); apply the Terraform root again")
	}
	from, trigger, err := h.alertInput(req.Event)
	if err != nil {
		return nil, fault.New(fault.InvalidInput, op, "%w", err)
	}
	inc := &incident.Incident{
		InstanceID: from.InstanceID, Name: from.Name, Region: from.Region, AccountID: from.AccountID, Dry: from.Dry,
		Alarm: from.Alarm, Execution: *req.Execution, Run: incident.RunAllClear, Recovery: &incident.Recovery{},
	}
	lasts := h.AllClear.For
	if trigger == incident.WatchAlarm {
		lasts = max(lasts, leastWatch)
	}
	if inc.InstanceID == "" || inc.Dry {
		return inc, nil
	}
	guards, err := h.Guards(ctx)
	if err != nil {
		return inc, err
	}
	if a := from.Alert; trigger == incident.WatchPage && a != nil && a.Generation > 0 && a.Repeats == 0 {
		// The step that paged may not have come to it.
		h.alertSent(ctx, from, guard.Alert{Generation: a.Generation, Alias: a.Alias, Pager: a.Pager})
	}
	if lasts <= 0 {
		return inc, nil
	}
	a, err := guards.AlertOf(ctx, inc.InstanceID)
	if err != nil || a == nil || !a.Open || a.SentAt.IsZero() {
		return inc, kinded(op, err)
	}
	// Before it takes the watch over: an earlier one, which can check, is not to end
	// for one that cannot.
	if inc.Settings = from.Settings; inc.Settings == nil {
		inc.Settings, err = h.readSettings(ctx, inc.InstanceID, have)
		if fault.KindOf(err) == fault.InvalidInput {
			// Nothing can be checked: a person has to close it. Whoever was paged
			// knows, or has taken the instance out.
			h.Log.LogAttrs(ctx, slog.LevelWarn, "no all-clear is given", slog.String("instance", inc.InstanceID), slog.String("alias", a.Alias), problem(err))
			return inc, nil
		}
		if err != nil {
			return inc, err
		}
	}
	if inc.Name == "" {
		h.askName(ctx, inc)
	}
	now := time.Now()
	if a, err = guards.WatchAlert(ctx, inc.InstanceID, inc.Execution.ID, now.Add(lasts)); err != nil || a == nil {
		return inc, kinded(op, err)
	}
	until := a.WatchUntil
	if most := now.Add(max(h.AllClear.For, leastWatch)); until.After(most) {
		// An earlier version was to look for longer than this execution may take.
		until = most
	}
	every := int(h.AllClear.Every / time.Second)
	inc.Alert, inc.Thread = alertOf(*a), a.Thread
	inc.Watch = &incident.Watch{Trigger: trigger, Until: until.UTC().Truncate(time.Second), EverySeconds: every, WaitSeconds: every}
	return inc, nil
}

// alertInput reads the input of the machine that gives the all-clear, and says
// which of the two it is. Of an alarm that speaks of no instance, or an incident
// without one, what it returns has none.
func (h *Handler) alertInput(raw json.RawMessage) (*incident.Incident, string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return nil, "", errors.New("event: it is neither an alarm's event nor an incident: not a JSON object")
	}
	if fields["detail-type"] != nil {
		inc, err := fromEvent(raw, h.Region, backToOK)
		if _, none := errors.AsType[noInstanceError](err); none {
			// Somebody was told when it rang.
			return &incident.Incident{Region: h.Region}, incident.WatchAlarm, nil
		}
		return inc, incident.WatchAlarm, err
	}
	inc := new(incident.Incident)
	if err := json.Unmarshal(raw, inc); err != nil {
		inc = incident.Salvage(raw)
	}
	dry := inc.Dry || incident.SourceOf(inc.Event) == incident.SourceCanary
	inc = h.known(inc)
	inc.Dry = dry
	switch {
	case inc.InstanceID == "":
		return &incident.Incident{Region: h.Region, Dry: dry}, incident.WatchPage, nil
	case !incident.ValidInstanceID(inc.InstanceID):
		return nil, "", fmt.Errorf("event.instanceId: %q is not an instance id such as i-0c1cbf2e7abdedf75", inc.InstanceID)
	case inc.Region != h.Region:
		return nil, "", fmt.Errorf("event.region: the incident is of %q, this function runs in %s", inc.Region, h.Region)
	}
	return inc, incident.WatchPage, nil
}

// askName asks EC2 for the instance's name, which is for people only.
func (h *Handler) askName(ctx context.Context, inc *incident.Incident) {
	client, err := h.EC2(ctx)
	if err == nil {
		var i *ec2types.Instance
		if i, err = describe(ctx, client, "read the tags of "+inc.InstanceID, inc.InstanceID); err == nil {
			inc.Name = nameTag(i)
		}
	}
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the instance's name is not known", slog.String("instance", inc.InstanceID), problem(err))
	}
}

// watching returns an error unless the incident is one of findAlert's.
func watching(op string, inc *incident.Incident) error {
	switch {
	case inc.Run != incident.RunAllClear:
		return fault.New(fault.InvalidInput, op, "incident.run: it is %d; an all-clear is given in run %d", inc.Run, incident.RunAllClear)
	case inc.Alert == nil || inc.Alert.Generation == 0:
		return fault.New(fault.InvalidInput, op, "incident.alert: missing; the step find-alert finds it")
	case inc.Watch == nil:
		return fault.New(fault.InvalidInput, op, "incident.watch: missing; the step find-alert makes it")
	case inc.Execution.ID == "":
		return fault.New(fault.InvalidInput, op, "incident.execution.id: missing; the table knows who watches by it")
	case inc.Dry:
		return fault.New(fault.InvalidInput, op, "incident.dry: a dry incident has paged nobody")
	}
	return nil
}

// lookAlert says whether the alert is still to be watched: watch.ended, where it is
// not. Whatever has happened to it since the last look, such as another incident,
// has the looks counted from the beginning.
func lookAlert(ctx context.Context, h *Handler, inc *incident.Incident) error {
	op := "look at the alert of " + inc.InstanceID
	if err := watching(op, inc); err != nil {
		return err
	}
	guards, err := h.Guards(ctx)
	if err != nil {
		return err
	}
	a, err := guards.AlertOf(ctx, inc.InstanceID)
	if err != nil {
		return kinded(op, err)
	}
	standing(inc, a)
	if inc.Watch.Ended == "" && !time.Now().Before(inc.Watch.Until) {
		inc.Watch.Ended = incident.WatchTimeOver
	}
	if inc.Watch.Ended != "" {
		return nil
	}
	// What kept the last look from its end is no concern of the next one.
	inc.Error = nil
	return h.learnClosed(ctx, guards, inc)
}

// standing compares the incident's alert with what the table knows of it.
func standing(inc *incident.Incident, a *guard.Alert) {
	switch {
	case a == nil:
		// The item is gone: nothing is known to be open.
		inc.Watch.Ended = incident.WatchNoAlert
	case a.Generation != inc.Alert.Generation:
		inc.Watch.Ended = incident.WatchReplaced
	case !a.Open && a.ClosedHow == guard.ClosedByAllClear:
		inc.Watch.Ended = incident.WatchCleared
	case !a.Open:
		inc.Watch.Ended = incident.WatchClosed
	case a.Watcher != inc.Execution.ID:
		inc.Watch.Ended = incident.WatchTakenOver
	case a.Version != inc.Alert.Version:
		inc.Recovery = &incident.Recovery{}
	}
	if inc.Watch.Ended == "" {
		inc.Alert = alertOf(*a)
		if a.Thread != nil {
			inc.Thread = a.Thread
		}
	}
}

// learnClosed asks the pager whether a person has closed the alert, and has the
// table know. Where the pager does not tell, it counts as open.
func (h *Handler) learnClosed(ctx context.Context, guards Guards, inc *incident.Incident) error {
	pagers, err := h.Pagers()
	if err != nil {
		return err
	}
	p := pagers.ByName(inc.Alert.Pager)
	if p == nil {
		return nil
	}
	closed, err := isClosed(ctx, p, inc.Alert.Alias)
	if err != nil && !errors.Is(err, notify.ErrCannotTell) {
		h.Log.LogAttrs(ctx, slog.LevelInfo, "whether the alert is closed is not known", slog.String("instance", inc.InstanceID), slog.String("alias", inc.Alert.Alias), problem(err))
	}
	if err != nil || !closed {
		return nil
	}
	learned, err := guards.ClearAlert(ctx, inc.InstanceID, inc.Execution.ID, seen(inc), guard.ClosedByPerson)
	switch {
	case err != nil:
		return kinded("close the alert of "+inc.InstanceID, err)
	case learned:
		inc.Watch.Ended = incident.WatchClosed
	default:
		// Another incident was faster, and asks the pager itself.
		inc.Recovery = &incident.Recovery{}
	}
	return nil
}

// seen is the alert as the incident knows it.
func seen(inc *incident.Incident) guard.Alert {
	return guard.Alert{Generation: inc.Alert.Generation, Version: inc.Alert.Version}
}

// giveAllClear closes the alert of an instance that is well: in the table first,
// then at its pager, then in Slack's thread. Once the table has it, a step that is
// tried again goes on from there. When something has happened to the alert
// meanwhile, watch.ended stays empty, and the looks are counted from the beginning.
func giveAllClear(ctx context.Context, h *Handler, inc *incident.Incident) error {
	op := "give the all-clear for " + inc.InstanceID
	if err := watching(op, inc); err != nil {
		return err
	}
	if !inc.Passed || inc.Recovery == nil || inc.Recovery.Passes < 1 {
		return fault.New(fault.InvalidInput, op, "incident.passed, incident.recovery.passes: %t and %d passes before it; only two in a row give it", inc.Passed, passes(inc))
	}
	pagers, err := h.Pagers()
	if err != nil {
		return err
	}
	guards, err := h.Guards(ctx)
	if err != nil {
		return err
	}
	a, err := guards.AlertOf(ctx, inc.InstanceID)
	if err != nil {
		return kinded(op, err)
	}
	// What this execution has written before is not somebody else's.
	began := a != nil && a.Generation == inc.Alert.Generation && !a.Open && a.ClosedHow == guard.ClosedByAllClear && a.ClosedBy == inc.Execution.ID
	if !began {
		version := inc.Alert.Version
		if standing(inc, a); inc.Watch.Ended != "" || inc.Alert.Version != version {
			return nil
		}
		if time.Since(inc.LookedAt) > looksHold {
			inc.Recovery = &incident.Recovery{}
			return nil
		}
		recovery := inc.Recovery
		if err := h.learnClosed(ctx, guards, inc); err != nil || inc.Watch.Ended != "" || inc.Recovery != recovery {
			return err
		}
		cleared, err := guards.ClearAlert(ctx, inc.InstanceID, inc.Execution.ID, seen(inc), guard.ClosedByAllClear)
		if err != nil {
			return kinded(op, err)
		}
		if !cleared {
			inc.Recovery = &incident.Recovery{}
			return nil
		}
	}
	m := notify.Message{
		Kind: notify.KindAllClear, Incident: inc, Thread: inc.Thread,
		Deployment: h.Deployment, AlarmState: h.alarmState(ctx, inc), Now: time.Now().UTC(),
	}
	closed, err := h.closeAlert(ctx, m, pagers)
	if err != nil {
		return err
	}
	if a.Replaces != nil && a.Replaces.Pager != inc.Alert.Pager {
		h.closeLeftOpen(ctx, m, pagers, *a.Replaces)
	}
	h.Metrics.count(metricAllClears, inc)
	h.Log.LogAttrs(ctx, slog.LevelInfo, "all clear", slog.String("instance", inc.InstanceID), slog.String("pager", inc.Alert.Pager), slog.String("alias", inc.Alert.Alias))
	inc.Watch.Ended = incident.WatchCleared
	if !closed {
		// Then nobody is to read that it is.
		said, watch := *inc, *inc.Watch
		watch.Ended = ""
		said.Watch, m.Incident = &watch, &said
	}
	h.tellAllClear(ctx, m)
	return nil
}

func passes(inc *incident.Incident) int {
	if inc.Recovery == nil {
		return 0
	}
	return inc.Recovery.Passes
}

// closeAlert closes the alert at its pager; closed is false where there is no such
// pager.
func (h *Handler) closeAlert(ctx context.Context, m notify.Message, pagers *notify.Pagers) (closed bool, err error) {
	a := m.Incident.Alert
	which := []slog.Attr{slog.String("instance", m.Incident.InstanceID), slog.String("pager", a.Pager), slog.String("alias", a.Alias)}
	p := pagers.ByName(a.Pager)
	if p == nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the pager that has the alert is not configured any more: it stays open there", which...)
		return false, nil
	}
	// One that is not there was closed by a person a moment ago, or by this step
	// before its answer was lost; one of which the pager does not tell was accepted.
	if err := p.Close(ctx, m); err != nil && !errors.Is(err, notify.ErrNoAlert) {
		return false, err
	}
	if first := pagers.All[0]; first.Name() != p.Name() && first.Name() != snsName {
		// It failed when it was to take the page, and may have it all the same.
		if err := closeElsewhere(ctx, first, m); err != nil {
			h.Log.LogAttrs(ctx, slog.LevelInfo, "whether the first pager has the alert too is not known", append(which, slog.String("first", first.Name()), problem(err))...)
		}
	}
	return true, nil
}

// closeLeftOpen closes the alert that another pager had to take the place of, and that
// was left open for that; as well as can be.
func (h *Handler) closeLeftOpen(ctx context.Context, m notify.Message, pagers *notify.Pagers, old guard.Replaced) {
	p := pagers.ByName(old.Pager)
	if p == nil || p.Name() == snsName {
		return
	}
	if err := closeElsewhere(ctx, p, about(m, notify.KindAllClear, &incident.Alert{Alias: old.Alias, Pager: old.Pager})); err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "an earlier alert may be open still", slog.String("instance", m.Incident.InstanceID), slog.String("pager", old.Pager), slog.String("alias", old.Alias), problem(err))
	}
}

// tellAllClear tells Slack in the thread of the page. The alert is closed: that
// Slack does not take it is no reason to fail.
func (h *Handler) tellAllClear(ctx context.Context, m notify.Message) {
	if m.Thread == nil {
		return
	}
	if _, err := h.Slack.Post(ctx, m); err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "Slack was not told of the all-clear", slog.String("instance", m.Incident.InstanceID), problem(err))
		return
	}
	h.Metrics.count(metricSlackMessages, m.Incident)
	h.updateRoot(ctx, m, *m.Thread)
}
