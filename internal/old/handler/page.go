package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"firstline/internal/fault"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// snsName is the pager that keeps nothing open: it tells, and that is all.
const snsName = notify.NameSNS

// Pauses between two tries to add a note to a page that another execution is just
// sending.
const (
	noteTries = 3
	notePause = 2 * time.Second
)

// claimTime bounds what a page asks of the table. It answers in milliseconds; when
// it does not, the page has an alias of its own, which nobody adds to and no
// all-clear closes: that is worth some seconds, and not more.
const claimTime = 6 * time.Second

// maxClaims is how often a page looks for an alert of its own. The table knows
// which are open, so that once is enough but where people or other executions are
// at it at the same moment.
const maxClaims = 5

// paged is a page that a pager has taken.
type paged struct {
	pager, alias string
	at           time.Time
	// repeat says that it was added to an alert that is open, and noted that this is
	// the brake's.
	repeat, noted bool
	// alert is the instance's; nil when the page is about something else. thread is
	// where Slack was told of it before.
	alert  *incident.Alert
	thread *incident.Thread
}

func pagedBy(p notify.Pager, m notify.Message) paged {
	return paged{pager: p.Name(), alias: notify.Alias(m), at: m.Now}
}

// page sends a page.
//
// The first pager alone is asked at first, so that the state machine's retries are
// its. When it has failed, all others are, in their order, and then it again.
func (h *Handler) page(ctx context.Context, m notify.Message, pagers *notify.Pagers) (paged, error) {
	inc, ways := m.Incident, pagers.All[:1]
	if inc.PageError != nil && len(pagers.All) > 1 {
		ways = lastly(pagers.All, pagers.All[0])
	}
	switch r := inc.Refusal; {
	case cameBack(inc):
		// On an alert that is open it would only raise a count.
		return h.pageApart(ctx, m, ways)
	case r == nil || r.Guard != incident.GuardBrake:
		return h.pageInstance(ctx, m, pagers, ways)
	case h.Brake != nil && (h.Brake.InFlight <= 0 || h.Brake.PerHour <= 0):
		// By its setting it is always on. That is no storm: whatever failed within
		// the same hour has nothing to do with the others.
		m.Alone = true
		return h.pageInstance(ctx, m, pagers, ways)
	}
	return oneOf(ctx, ways, func(ctx context.Context, p notify.Pager) (paged, error) {
		return h.pageBrake(ctx, m, pagers, p)
	})
}

// oneOf tries one pager after the other until one has the page. Each gets its share
// of the time that is left: one that hangs takes no time from the next.
func oneOf(ctx context.Context, ways []notify.Pager, try func(context.Context, notify.Pager) (paged, error)) (paged, error) {
	var failed error
	kind := fault.Unavailable
	for n, p := range ways {
		bounded, cancel := share(ctx, len(ways)-n)
		got, err := try(bounded, p)
		cancel()
		if err == nil {
			return got, nil
		}
		if len(ways) == 1 {
			return paged{}, err
		}
		err = fmt.Errorf("%s: %w", p.Name(), err)
		if failed == nil {
			failed, kind = err, fault.KindOf(err)
			continue
		}
		if fault.KindOf(err) == fault.Unavailable {
			// One that may pass speaks for all: the step is to be tried again.
			kind = fault.Unavailable
		}
		failed = fmt.Errorf("%w; %w", failed, err)
	}
	return paged{}, &fault.Error{Kind: kind, Op: "page another way", Err: failed}
}

// share is a context with its part of the time that is left.
func share(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || parts < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(parts))
}

// send sends a page by the first pager that takes it.
func send(ctx context.Context, m notify.Message, ways []notify.Pager) (paged, error) {
	return oneOf(ctx, ways, func(ctx context.Context, p notify.Pager) (paged, error) {
		return pagedBy(p, m), p.Send(ctx, m)
	})
}

// pageApart sends a page under an alias that no other one has: whatever is open
// already, somebody is woken.
func (h *Handler) pageApart(ctx context.Context, m notify.Message, ways []notify.Pager) (paged, error) {
	e := m.Incident.Execution
	m.Generation = 0
	// The same each time that the step is tried.
	m.Suffix = cmp.Or(e.Name, e.ID[strings.LastIndex(e.ID, ":")+1:], strconv.FormatInt(m.Now.UnixMilli(), 10))
	return send(ctx, m, ways)
}

// pageUnknown is pageApart of an instance of which the table says nothing. Nobody
// adds to its alert, and no all-clear closes it.
func (h *Handler) pageUnknown(ctx context.Context, m notify.Message, ways []notify.Pager) (paged, error) {
	got, err := h.pageApart(ctx, m, ways)
	if err == nil && m.Incident.InstanceID != "" {
		got.alert = &incident.Alert{Alias: got.alias, Pager: got.pager, OpenedAt: got.at, Outcome: notify.AlertOutcome(m)}
	}
	return got, err
}

// pageInstance pages about the incident's instance: with an alert of its own, or
// with a note on the one that is open. Where there is doubt which it is to be,
// somebody is woken.
func (h *Handler) pageInstance(ctx context.Context, m notify.Message, pagers *notify.Pagers, ways []notify.Pager) (paged, error) {
	known := h.known(m.Incident)
	if known.InstanceID == "" {
		return h.pageUnknown(ctx, m, ways)
	}
	c := &claiming{h: h, inc: known, outcome: notify.AlertOutcome(m)}
	a, claim, err := c.ask(ctx, nil, "")
	for range maxClaims {
		switch {
		case err != nil:
			h.Log.LogAttrs(ctx, slog.LevelWarn, "which alert is open is not known: the page gets one of its own", slog.String("instance", known.InstanceID), problem(err))
			return h.pageUnknown(ctx, m, ways)
		case claim != guard.ClaimRepeat:
			m.Generation = int(a.Generation)
			a.Alias, a.Pager = notify.Alias(m), ways[0].Name()
			if !a.Again && swallows(ctx, ways[0], a) {
				a, claim, err = c.ask(ctx, &a, guard.ClosedReplaced)
				continue
			}
			return h.pageAnew(ctx, m, pagers, ways, known, a)
		}
		p := pagers.ByName(a.Pager)
		if p == nil || m.Incident.PageError != nil || p.Name() == snsName && ways[0].Name() != snsName {
			// It was taken by a pager that is not there any more, that has just
			// failed, or that keeps nothing open and was the last resort.
			if p != nil && m.Incident.PageError != nil && len(ways) > 1 {
				ways = lastly(pagers.All, p)
			}
			a, claim, err = c.ask(ctx, openOf(a), guard.ClosedReplaced)
			continue
		}
		got, gone, failed := h.repeat(ctx, m, p, a)
		if gone == "" {
			return got, failed
		}
		h.Log.LogAttrs(ctx, slog.LevelInfo, "the alert takes no note: the page gets one of its own", slog.String("instance", known.InstanceID), slog.String("alias", a.Alias), slog.String("why", gone), problem(failed))
		a, claim, err = c.ask(ctx, &a, gone)
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "others keep opening and closing alerts: the page gets one of its own", slog.String("instance", known.InstanceID))
	return h.pageUnknown(ctx, m, ways)
}

// claiming asks the table for an alert.
type claiming struct {
	h       *Handler
	inc     *incident.Incident
	outcome string
}

// ask claims an alert, another one than gone if that is not nil.
func (c *claiming) ask(ctx context.Context, gone *guard.Alert, how string) (guard.Alert, guard.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	guards, err := c.h.Guards(ctx)
	if err != nil {
		return guard.Alert{}, "", err
	}
	if gone == nil {
		return guards.ClaimAlert(ctx, c.inc, c.outcome)
	}
	return guards.ReclaimAlert(ctx, c.inc, c.outcome, *gone, how)
}

// lastly is the pagers in their order, but for one that has just failed: it is not the
// first one always, since an earlier page may have gone another way.
func lastly(all []notify.Pager, failed notify.Pager) []notify.Pager {
	others := slices.DeleteFunc(slices.Clone(all), func(p notify.Pager) bool { return p.Name() == failed.Name() })
	return append(others, failed)
}

// openOf is the alert as one that is to be replaced. SNS keeps nothing open: what its
// alert took the place of, which may be open, is not to be forgotten.
func openOf(a guard.Alert) *guard.Alert {
	if a.Pager == snsName && a.Replaces != nil {
		a.Alias, a.Pager = a.Replaces.Alias, a.Replaces.Pager
	}
	return &a
}

// isClosed asks a pager in bounded time whether an alert is closed.
func isClosed(ctx context.Context, p notify.Pager, alias string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return p.Closed(ctx, alias)
}

// closeElsewhere closes in bounded time an alert which the step is not about. One that
// is not there needs no closing.
func closeElsewhere(ctx context.Context, p notify.Pager, m notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, elsewhereTime)
	defer cancel()
	if err := p.Close(ctx, m); err != nil && !errors.Is(err, notify.ErrNoAlert) {
		return err
	}
	return nil
}

// swallows reports whether a page under an alias may wake nobody, since an alert of
// which the table knows nothing has it: versions that knew no generations paged
// under the first one's, and nobody closed it; and where the instance's item was
// deleted, or the whole table, they are counted from the beginning again.
func swallows(ctx context.Context, p notify.Pager, a guard.Alert) bool {
	if p.Name() == snsName {
		return false
	}
	closed, err := isClosed(ctx, p, a.Alias)
	if err != nil {
		// Whoever cannot tell, or may not (a key that creates and does not read), is
		// spared the first one's alias. One that does not answer now is about to
		// fail anyway.
		return a.Generation == 1 && (errors.Is(err, notify.ErrCannotTell) || fault.KindOf(err) == fault.Denied)
	}
	return !closed
}

// pageAnew makes the alert that was claimed, and closes the one that it replaces.
func (h *Handler) pageAnew(ctx context.Context, m notify.Message, pagers *notify.Pagers, ways []notify.Pager, known *incident.Incident, a guard.Alert) (paged, error) {
	got, err := send(ctx, m, ways)
	if err != nil {
		return got, err
	}
	a.Alias, a.Pager = got.alias, got.pager
	got.alert = alertOf(a)
	h.alertSent(ctx, known, a)
	if old := a.Replaces; old != nil && takesThePlace(m, got, *old) {
		h.closeReplaced(ctx, m, pagers, *old, got.alias)
	}
	return got, nil
}

// takesThePlace reports whether the alert that it replaces can be closed. What a
// pager keeps open, and escalates, is not to end while the instance is down and its
// new page is by SNS, which keeps nothing open, or by another pager, since this one
// has just failed. It is closed with the all-clear.
func takesThePlace(m notify.Message, got paged, old guard.Replaced) bool {
	return got.pager != snsName && (m.Incident.PageError == nil || got.pager == old.Pager)
}

// alertSent has the table know that a pager has the alert. Without it the next
// incident makes one more, which is no reason to fail.
func (h *Handler) alertSent(ctx context.Context, inc *incident.Incident, a guard.Alert) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	guards, err := h.Guards(ctx)
	if err == nil {
		err = guards.AlertSent(ctx, inc, a, a.Pager)
	}
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "the table does not know of the alert", slog.String("instance", inc.InstanceID), slog.String("alias", a.Alias), problem(err))
	}
}

// closeReplaced closes an alert in whose place another one came, as well as can be.
func (h *Handler) closeReplaced(ctx context.Context, m notify.Message, pagers *notify.Pagers, old guard.Replaced, by string) {
	p := pagers.ByName(old.Pager)
	if p == nil || p.Name() == snsName || old.Alias == by {
		return
	}
	m = about(m, notify.KindRepeat, &incident.Alert{Alias: old.Alias, Pager: old.Pager})
	m.ReplacedBy = by
	// The page is sent: nothing that comes after it may take the step's time.
	if err := closeElsewhere(ctx, p, m); err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "an alert that was replaced may be open still", slog.String("instance", m.Incident.InstanceID), slog.String("pager", old.Pager), slog.String("alias", old.Alias), slog.String("by", by), problem(err))
	}
}

// repeat adds the incident to an alert that is open. Where that cannot be, gone says
// what has become of it, and err why. An error without it is one to try again after.
func (h *Handler) repeat(ctx context.Context, m notify.Message, p notify.Pager, a guard.Alert) (got paged, gone string, err error) {
	alert := alertOf(a)
	// Raised is the whole page, under the alias of the alert.
	raised := m
	raised.Generation = int(a.Generation)
	m = about(m, notify.KindRepeat, alert)
	got = paged{pager: p.Name(), alias: a.Alias, at: m.Now, repeat: true, alert: alert, thread: a.Thread}
	note := func() (gone string, err error) {
		switch err := p.Note(ctx, m); {
		case err == nil:
			return "", nil
		case nowhere(err):
			return guard.ClosedByPerson, err
		case errors.Is(err, notify.ErrNoAlert), fault.KindOf(err) == fault.Unavailable:
			return "", err
		default:
			return guard.ClosedReplaced, err
		}
	}
	create := func() (gone string, err error) {
		if notify.Alias(raised) != a.Alias {
			// It was made of an event without an incident.
			return guard.ClosedReplaced, nil
		}
		err = p.Send(ctx, raised)
		if err != nil && fault.KindOf(err) != fault.Unavailable {
			return guard.ClosedReplaced, err
		}
		return "", err
	}
	if p.Name() == snsName {
		gone, err = note()
		return got, gone, err
	}
	closed, asked := isClosed(ctx, p, a.Alias)
	switch {
	case asked == nil && closed:
		return got, guard.ClosedByPerson, nil
	case asked == nil:
		if gone, err = note(); gone != "" || !errors.Is(err, notify.ErrNoAlert) {
			return got, gone, err
		}
		// The note was accepted, and the pager does not tell where it went. Made
		// once more it is the same alert, or a new one if somebody has closed it.
		gone, err = create()
		return got, gone, err
	}
	h.Log.LogAttrs(ctx, slog.LevelInfo, "whether the alert is open is not known: it is made once more", slog.String("instance", m.Incident.InstanceID), slog.String("alias", a.Alias), problem(asked))
	if gone, err = create(); gone != "" || err != nil {
		return got, gone, err
	}
	if gone, err = note(); gone == "" && errors.Is(err, notify.ErrNoAlert) || gone == guard.ClosedByPerson {
		// Nothing more can be known: the alert was made a moment ago.
		return got, "", nil
	}
	return got, gone, err
}

// alertOf is what the incident keeps of an alert.
func alertOf(a guard.Alert) *incident.Alert {
	return &incident.Alert{
		Alias: a.Alias, Pager: a.Pager, Generation: a.Generation, OpenedAt: a.OpenedAt,
		Outcome: a.Outcome, Repeats: a.Repeats, Version: a.Version,
	}
}

// about is a message about an alert that is there.
func about(m notify.Message, kind notify.Kind, a *incident.Alert) notify.Message {
	inc := *m.Incident
	inc.Alert = a
	m.Kind, m.Incident = kind, &inc
	return m
}

// pageBrake pages by one pager about an instance that the region's brake stopped. A
// brake that is on has one page an hour for its region, and whatever else it stops
// goes there as a note. When there is doubt whether that can be seen, the instance
// gets a page of its own.
func (h *Handler) pageBrake(ctx context.Context, m notify.Message, pagers *notify.Pagers, p notify.Pager) (paged, error) {
	alone := func() (paged, error) {
		own := m
		own.Alone = true
		return h.pageInstance(ctx, own, pagers, []notify.Pager{p})
	}
	fleet := pagedBy(p, m)
	first, err := h.claimBrakePage(ctx, m.Incident)
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "whether the brake's page was sent is not known: the instance gets its own", slog.String("instance", m.Incident.InstanceID), problem(err))
		return alone()
	}
	if first {
		// Sent to one of an earlier hour that nobody has closed, it would raise a
		// count and wake nobody. Where the pager does not tell, one page more is
		// better than none.
		closed, err := isClosed(ctx, p, fleet.alias)
		if err != nil || !closed {
			return alone()
		}
		return fleet, p.Send(ctx, m)
	}
	err = h.note(ctx, m, p)
	if err == nil {
		fleet.noted = true
		return fleet, nil
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "no note could be added to the brake's page", slog.String("instance", m.Incident.InstanceID), problem(err))
	if !errors.Is(err, notify.ErrNoAlert) {
		return alone()
	}
	if err := p.Send(ctx, m); err != nil {
		return fleet, err
	}
	if nowhere(err) {
		// Several may send it at the same moment, of which the pager makes one.
		if err := p.Note(ctx, m); err != nil && !errors.Is(err, notify.ErrNoAlert) {
			return alone()
		}
	}
	return fleet, nil
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
func (h *Handler) note(ctx context.Context, m notify.Message, p notify.Pager) error {
	ctx, cancel := share(ctx, 2)
	defer cancel()
	for try := 1; ; try++ {
		err := p.Note(ctx, m)
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
