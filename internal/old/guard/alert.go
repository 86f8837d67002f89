package guard

import (
	"context"
	"fmt"
	"time"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

// Alert is what the table knows of the latest alert that a pager has, or was to
// have, about an instance.
type Alert struct {
	// Open says that nobody is known to have closed it.
	Open bool
	// Generation counts the alerts of an instance, from 1: each has an alias of its
	// own, since a pager takes a page for an open alias as one more of the same and
	// wakes nobody.
	Generation int64
	// By is the ARN of the execution that opened it at OpenedAt.
	By       string
	OpenedAt time.Time
	// SentAt is when the pager had it; the zero time: not as far as is known.
	SentAt time.Time
	// Alias is its name at the pager, and Pager the pager's.
	Alias, Pager string
	// Outcome is incident.AlertUnknown or incident.AlertDown.
	Outcome string
	// Repeats is how many further incidents were added to it, the last by the
	// execution RepeatedBy.
	Repeats    int64
	RepeatedBy string
	// Replaces is the alert in whose place it came, which may be open still; nil:
	// none.
	Replaces *Replaced
	// Thread is where Slack was told of it; nil: nowhere.
	Thread *incident.Thread
	// Watcher is the ARN of the execution that looks until WatchUntil whether the
	// instance is well again.
	Watcher    string
	WatchUntil time.Time
	// ClosedAt, ClosedHow and ClosedBy (an execution's ARN) are there when it is
	// not open.
	ClosedAt            time.Time
	ClosedHow, ClosedBy string
	// Version changes with each incident that it is about, and with whatever else
	// an all-clear must not overlook.
	Version int64
	// Again says of a claim that this execution has made it before.
	Again bool
}

// Replaced is an alert that another one took the place of.
type Replaced struct{ Alias, Pager string }

// Claim is what an execution is to do about an alert.
type Claim string

// Answers of ClaimAlert.
const (
	// ClaimNew: it makes a new alert.
	ClaimNew Claim = "new"
	// ClaimRepeat: it adds to the one that is open.
	ClaimRepeat Claim = "repeat"
	// ClaimReplace: it makes a new alert, and closes the one that it replaces.
	ClaimReplace Claim = "replace"
)

// How an alert came to be closed.
const (
	ClosedByAllClear = "all-clear"
	// ClosedByPerson: somebody has closed it, or its pager does not have it.
	ClosedByPerson = "person"
	// ClosedReplaced: another one took its place.
	ClosedReplaced = "replaced"
)

// replaceAfter is how long an alert is added to. Nobody may be at work on an older
// one any more.
const replaceAfter = 24 * time.Hour

func alertKey(instanceID string) key { return key{"instance#" + instanceID, "alert"} }

// ClaimAlert decides what the incident's execution is to do about the instance's
// alert, for an outcome (incident.AlertUnknown or incident.AlertDown). It makes a
// new one where none is open, or where it is not known that the open one was ever
// sent: whoever claimed that may have died, and somebody has to be woken. One that
// is older than a day, or about something less, is replaced. An execution that has
// claimed gets its claim again.
//
// After an error the alert may have been claimed: page under an alias that nobody
// else has.
func (t *Table) ClaimAlert(ctx context.Context, inc *incident.Incident, outcome string) (Alert, Claim, error) {
	return t.claimAlert(ctx, "claim alert of "+inc.InstanceID, inc, outcome, nil, "")
}

// ReclaimAlert is ClaimAlert for one that has found that the alert of its claim
// will not do: ClosedByPerson, since its pager does not have it open, or
// ClosedReplaced, since nothing can be added to it. Then it is a new one. Where
// another execution was faster, it decides on what that one has left.
func (t *Table) ReclaimAlert(ctx context.Context, inc *incident.Incident, outcome string, gone Alert, how string) (Alert, Claim, error) {
	return t.claimAlert(ctx, "claim another alert of "+inc.InstanceID, inc, outcome, &gone, how)
}

func (t *Table) claimAlert(ctx context.Context, op string, inc *incident.Incident, outcome string, gone *Alert, how string) (a Alert, claim Claim, err error) {
	if err := complete(op, inc); err != nil {
		return Alert{}, "", err
	}
	k, own := alertKey(inc.InstanceID), inc.Execution.ID
	err = settle(ctx, op, func(ctx context.Context) error {
		was, err := t.alert(ctx, op, inc.InstanceID)
		if err != nil {
			return err
		}
		now := t.now()
		var replaces *Replaced
		switch {
		case gone != nil && was.Open && was.Generation == gone.Generation:
			if how == ClosedReplaced && gone.Alias != "" {
				replaces = &Replaced{gone.Alias, gone.Pager}
			}
		case !was.Open:
		case was.By == own:
			a, claim = was, claimOf(was)
			a.Again = true
			return nil
		case was.SentAt.IsZero():
			replaces = was.Replaces
		case now.Sub(was.OpenedAt) >= replaceAfter, rank(outcome) > rank(was.Outcome):
			replaces = &Replaced{was.Alias, was.Pager}
		case was.RepeatedBy == own:
			a, claim = was, ClaimRepeat
			a.Again = true
			return nil
		default:
			a, claim = was, ClaimRepeat
			a.Repeats, a.RepeatedBy, a.Version = was.Repeats+1, own, was.Version+1
			return t.update(ctx, op, changeOf(k, was.Version).
				set("repeats", number(a.Repeats)).
				set("repeatedBy", text(own)).
				set("expiresAt", seconds(now.Add(keepInstance))))
		}
		a = Alert{
			Open: true, Generation: was.Generation + 1, By: own, OpenedAt: now.Truncate(time.Millisecond),
			Outcome: outcome, Replaces: replaces, Version: was.Version + 1,
		}
		claim = claimOf(a)
		return t.update(ctx, op, newAlert(k, was.Version, a, now))
	})
	if err != nil {
		return Alert{}, "", err
	}
	return a, claim, nil
}

// claimOf is the claim of whoever opened an alert.
func claimOf(a Alert) Claim {
	if a.Replaces != nil {
		return ClaimReplace
	}
	return ClaimNew
}

// rank orders outcomes; one that is not known is the least.
func rank(outcome string) int {
	switch outcome {
	case incident.AlertDown:
		return 2
	case incident.AlertUnknown:
		return 1
	}
	return 0
}

// newAlert writes a new alert over the one before.
func newAlert(k key, version int64, a Alert, now time.Time) *change {
	c := changeOf(k, version).
		set("state", text("open")).
		set("generation", number(a.Generation)).
		set("by", text(a.By)).
		set("openedAt", millis(a.OpenedAt)).
		set("outcome", text(a.Outcome)).
		set("repeats", number(0)).
		set("expiresAt", seconds(now.Add(keepInstance))).
		remove("sentAt", "alias", "pager", "repeatedBy", "channel", "thread", "watcher", "watchUntil", "closedAt", "closedHow", "closedBy")
	if a.Replaces == nil {
		return c.remove("replacesAlias", "replacesPager")
	}
	return c.set("replacesAlias", text(a.Replaces.Alias)).set("replacesPager", text(a.Replaces.Pager))
}

// AlertSent remembers that a pager has the alert that the incident's execution has
// claimed, under an alias: from now on others add to it. An alert whose place
// another one has taken meanwhile is InvalidInput.
func (t *Table) AlertSent(ctx context.Context, inc *incident.Incident, a Alert, pager string) error {
	op := "remember the alert of " + inc.InstanceID
	if err := complete(op, inc); err != nil {
		return err
	}
	return settle(ctx, op, func(ctx context.Context) error {
		was, err := t.alert(ctx, op, inc.InstanceID)
		if err != nil {
			return err
		}
		now := t.now()
		switch {
		case was.Generation != a.Generation || was.By != inc.Execution.ID || !was.Open:
			return fault.New(fault.InvalidInput, op, "the alert %s is not this instance's any more: the table has its generation %d, and this one is %d", a.Alias, was.Generation, a.Generation)
		case !was.SentAt.IsZero() && was.Alias == a.Alias && was.Pager == pager:
			return nil
		}
		return t.update(ctx, op, changeOf(alertKey(inc.InstanceID), was.Version).
			set("sentAt", millis(now)).
			set("alias", text(a.Alias)).
			set("pager", text(pager)).
			set("expiresAt", seconds(now.Add(keepInstance))))
	})
}

// AlertThread remembers where Slack was told of the incident's alert. Of one that
// is not open any more there is nothing to remember.
func (t *Table) AlertThread(ctx context.Context, inc *incident.Incident, thread incident.Thread) error {
	op := "remember the thread about " + inc.InstanceID
	switch {
	case !incident.ValidInstanceID(inc.InstanceID):
		return fault.New(fault.InvalidInput, op, "incident.instanceId: %q is not an instance id such as i-0c1cbf2e7abdedf75", inc.InstanceID)
	case inc.Alert == nil:
		return fault.New(fault.InvalidInput, op, "incident.alert: missing; the step opsgenie makes it")
	}
	return settle(ctx, op, func(ctx context.Context) error {
		// Nothing is decided on it, so it has no part in the version.
		err := t.update(ctx, op, (&change{key: alertKey(inc.InstanceID)}).
			set("channel", text(thread.Channel)).
			set("thread", text(thread.TS)).
			when("#state = :open AND #generation = :generation", item{":open": text("open"), ":generation": number(inc.Alert.Generation)}))
		if refused(err) {
			return nil
		}
		return err
	})
}

// AlertOf returns the instance's latest alert; nil: there never was one.
func (t *Table) AlertOf(ctx context.Context, instanceID string) (*Alert, error) {
	op := "look up the alert of " + instanceID
	if !incident.ValidInstanceID(instanceID) {
		return nil, fault.New(fault.InvalidInput, op, "%q is not an instance id such as i-0c1cbf2e7abdedf75", instanceID)
	}
	a, err := t.alert(ctx, op, instanceID)
	if err != nil || a.Generation == 0 {
		return nil, err
	}
	return &a, nil
}

// WatchAlert makes an execution the only one that looks after the instance's
// alert, until the given time or longer if another one was to. It returns the
// alert, or nil when none is open of which it is known that a pager has it.
func (t *Table) WatchAlert(ctx context.Context, instanceID, execution string, until time.Time) (*Alert, error) {
	op := "watch the alert of " + instanceID
	switch {
	case !incident.ValidInstanceID(instanceID):
		return nil, fault.New(fault.InvalidInput, op, "%q is not an instance id such as i-0c1cbf2e7abdedf75", instanceID)
	case execution == "":
		return nil, fault.New(fault.InvalidInput, op, "execution.id: missing; the table knows who watches by it")
	}
	var watched *Alert
	err := settle(ctx, op, func(ctx context.Context) error {
		watched = nil
		a, err := t.alert(ctx, op, instanceID)
		if err != nil || !a.Open || a.SentAt.IsZero() {
			return err
		}
		if a.WatchUntil.Before(until) {
			a.WatchUntil = until.UTC().Truncate(time.Millisecond)
		}
		a.Watcher = execution
		// An all-clear does not depend on it, so it has no part in the version.
		err = t.update(ctx, op, (&change{key: alertKey(instanceID)}).
			set("watcher", text(execution)).
			set("watchUntil", millis(a.WatchUntil)).
			when("#state = :open AND #generation = :generation", item{":open": text("open"), ":generation": number(a.Generation)}))
		if err == nil {
			watched = &a
		}
		return err
	})
	return watched, err
}

// ClearAlert writes down that the alert is closed, and how, if it is still what
// the execution has seen: open, sent, of this generation and version. The same
// execution gets the same answer again. When it is false, nothing was written.
func (t *Table) ClearAlert(ctx context.Context, instanceID, execution string, seen Alert, how string) (cleared bool, err error) {
	op := "close the alert of " + instanceID
	switch {
	case !incident.ValidInstanceID(instanceID):
		return false, fault.New(fault.InvalidInput, op, "%q is not an instance id such as i-0c1cbf2e7abdedf75", instanceID)
	case execution == "":
		return false, fault.New(fault.InvalidInput, op, "execution.id: missing; the table knows who closed it by it")
	}
	err = settle(ctx, op, func(ctx context.Context) error {
		cleared = false
		was, err := t.alert(ctx, op, instanceID)
		if err != nil {
			return err
		}
		now := t.now()
		switch {
		case was.Generation != seen.Generation:
			return nil
		case !was.Open:
			cleared = was.ClosedBy == execution && was.ClosedHow == how
			return nil
		case was.SentAt.IsZero() || was.Version != seen.Version:
			return nil
		}
		err = t.update(ctx, op, changeOf(alertKey(instanceID), was.Version).
			set("state", text("closed")).
			set("closedAt", millis(now)).
			set("closedHow", text(how)).
			set("closedBy", text(execution)).
			set("expiresAt", seconds(now.Add(keepInstance))))
		cleared = err == nil
		return err
	})
	return cleared && err == nil, err
}

// alert reads an instance's alert; one that does not exist has no generation.
func (t *Table) alert(ctx context.Context, op, instanceID string) (Alert, error) {
	k := alertKey(instanceID)
	items, err := t.read(ctx, op, k)
	if err != nil {
		return Alert{}, err
	}
	a, err := decodeAlert(k, items[k])
	if err != nil {
		return Alert{}, unreadable(op, err)
	}
	return a, nil
}

func decodeAlert(k key, in item) (Alert, error) {
	if in == nil {
		return Alert{}, nil
	}
	d := &decoder{in: in}
	d.need("state", "generation", "by", "openedAt", "version")
	a := Alert{
		Generation: d.count("generation"), By: d.text("by"), OpenedAt: d.millis("openedAt"),
		SentAt: d.millis("sentAt"), Alias: d.text("alias"), Pager: d.text("pager"),
		Outcome: d.text("outcome"), Repeats: d.count("repeats"), RepeatedBy: d.text("repeatedBy"),
		Watcher: d.text("watcher"), WatchUntil: d.millis("watchUntil"),
		ClosedAt: d.millis("closedAt"), ClosedHow: d.text("closedHow"), ClosedBy: d.text("closedBy"),
		Version: d.count("version"),
	}
	switch state := d.text("state"); state {
	case "open":
		a.Open = true
	case "closed":
	default:
		d.wrong("state", "got %.40q, want open or closed", state)
	}
	// One that was sent nowhere cannot be added to.
	d.both("sentAt", "alias")
	d.both("sentAt", "pager")
	d.both("channel", "thread")
	if channel := d.text("channel"); channel != "" {
		a.Thread = &incident.Thread{Channel: channel, TS: d.text("thread")}
	}
	if alias := d.text("replacesAlias"); alias != "" {
		a.Replaces = &Replaced{alias, d.text("replacesPager")}
	}
	if a.Generation == 0 && in["generation"] != nil {
		d.wrong("generation", "is 0, want 1 or more")
	}
	if err := d.err(k); err != nil {
		return Alert{}, fmt.Errorf("%w (without it the next page is a new alert)", err)
	}
	return a, nil
}
