package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/internal/store"
	"firstline/notify"
)

// Where there is no pager, what took a page in one's place. No pager has these
// names, so the alert counts as one of which nobody can tell whether it is open.
const (
	pagedBySlack = "slack"
	pagedByLog   = "log"
)

// page wakes somebody, or adds a note to an alert that did. At first the first
// pager alone is asked, so that the state machine's retries are its; when it has
// failed, all others are, in their order, and then it again.
func page(ctx context.Context, h *Handler, inc *incident.Incident) error {
	dec := h.said(inc)
	inc.Decision = &dec
	if dec.Next != incident.NextPage {
		inc.Told = true // healthy: nothing has to be said
		return nil
	}
	pagers, err := h.Pagers()
	if err != nil {
		return err
	}
	if inc.Dry {
		return h.rehearsePage(ctx, pagers, inc, dec)
	}
	isHours := dec.Alert.ID == "" && wakesTwice(pagers, inc)
	switch {
	case isHours && h.isTakenForTheHour(ctx, inc, dec.Alert.Alias, false):
		inc.Told, dec.Slack = true, false
		return nil
	case len(pagers) == 0 && h.Slack != nil:
		return nil // Slack has it
	case len(pagers) == 0:
		h.Log.LogAttrs(ctx, slog.LevelError, "nobody is configured to be paged", slog.String("instance", inc.InstanceID), slog.String("situation", dec.Situation), slog.String("reason", dec.Reason))
		inc.Paged = pagedAs(pagedByLog, dec)
	default:
		if inc.Paged, err = h.deliver(ctx, pagers, inc, &dec); err != nil {
			return err
		}
		if isHours {
			h.isTakenForTheHour(ctx, inc, dec.Alert.Alias, true)
		}
		if inc.Paged.Pager == pagers[0].Name() {
			delete(inc.Caught, "page") // it has failed before, and did not now
		} else if _, failed := inc.Caught["page"]; failed {
			h.count(ctx, metricPagerFallbacks, inc)
		}
		h.countPage(ctx, inc, dec)
	}
	inc.Told = true
	h.confirm(ctx, inc, dec)
	return nil
}

// wakesTwice reports whether two pages under one alias may wake somebody twice: by Slack,
// or by a pager that does not deduplicate and is asked now.
func wakesTwice(pagers []notify.Pager, inc *incident.Incident) bool {
	asked := pagers[:min(len(pagers), 1)]
	if _, failed := inc.Caught["page"]; failed {
		asked = pagers
	}
	return len(pagers) == 0 || slices.ContainsFunc(asked, func(p notify.Pager) bool { return !p.Capabilities().Deduplicates })
}

// countPage counts a page or a note that was taken.
func (h *Handler) countPage(ctx context.Context, inc *incident.Incident, dec incident.Decision) {
	if dec.Note {
		h.count(ctx, metricNotes, inc)
	} else {
		h.count(ctx, metricPages, inc)
	}
}

// isTakenForTheHour reserves the page of an alert that is the hour's, or says that it
// was told. Where the table does not answer, each execution pages.
func (h *Handler) isTakenForTheHour(ctx context.Context, inc *incident.Incident, alias string, told bool) (taken bool) {
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	err := h.Table.UpdateRegion(ctx, func(r *policy.Region) error {
		taken = r.TakeHour(alias, inc.Execution.ID, told, incident.At(time.Now()))
		return nil
	})
	if err != nil {
		h.warn(ctx, "cannot store who pages", inc.InstanceID, err)
	}
	return taken && err == nil
}

// rehearsePage does of a page what makes no call, with every pager: one that
// takes a page only when others have failed would show what it lacks too late.
func (h *Handler) rehearsePage(ctx context.Context, pagers []notify.Pager, inc *incident.Incident, dec incident.Decision) error {
	text := "Dry run: there is no pager"
	var failed []error
	for n, p := range pagers {
		would, err := p.Rehearse(ctx, h.message(inc, dec, notify.KindPage))
		if err != nil {
			failed = append(failed, fmt.Errorf("pager %s: %w", p.Name(), err))
		}
		if n == 0 {
			text = would
		}
	}
	if err := joined("", failed); err != nil {
		return err // all that is wrong at once
	}
	inc.Told = true
	inc.Suppress(incident.NextPage, text, time.Now())
	delete(inc.Caught, "page") // it was about any of them, and none lacks anything now
	return nil
}

func pagedAs(pager string, dec incident.Decision) *incident.Paged {
	return &incident.Paged{Pager: pager, At: incident.At(time.Now()), Alias: dec.Alert.Alias}
}

// confirm has the table know of a page. Without it the instance is paged again
// under the same alias, which the pager deduplicates: no reason to fail.
func (h *Handler) confirm(ctx context.Context, inc *incident.Incident, dec incident.Decision) {
	if dec.Alert.ID == "" {
		return // the table does not know the alert
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	_, err := h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		e.State = policy.Paged(e.State, dec, *inc.Paged, inc.Thread)
		return nil
	})
	if err != nil {
		h.warn(ctx, "cannot store that a pager has taken the page", inc.InstanceID, err)
	}
}

// deliver sends a page or a note by the first pager that takes it. A note that
// finds no open alert becomes a page, unless it is only a note.
func (h *Handler) deliver(ctx context.Context, pagers []notify.Pager, inc *incident.Incident, dec *incident.Decision) (*incident.Paged, error) {
	first := cmp.Or(pagerNamed(pagers, dec.Alert.Pager), pagers[0]) // the one that has the alert
	_, failed := inc.Caught["page"]
	if dec.Note {
		bounded, cancel := share(ctx, 1+min(len(pagers), 2))
		isOnlyNote := dec.Situation == incident.SituationNote || dec.Situation == incident.SituationHealthyAgain
		sent, err := h.note(bounded, first, inc, *dec, isOnlyNote)
		cancel()
		if sent || err != nil && (isOnlyNote || !failed && !errors.Is(err, notify.ErrDiscarded)) {
			return pagedAs(first.Name(), *dec), err
		}
		dec.Note = false
	}
	if isLeft(pagers, *dec.Alert) {
		dec.Reason += leftWords(*dec.Alert) // with this page another pager has it
	}
	if !failed {
		bounded, cancel := share(ctx, min(len(pagers), 2))
		paged, err := h.pageBy(bounded, first, inc, *dec)
		cancel()
		if !errors.Is(err, notify.ErrDiscarded) || len(pagers) == 1 {
			return paged, err
		}
		// It will not take it the next time: the others are asked now, and the
		// execution ends as if this step had failed.
		inc.Catch("page", caughtOf(err))
	}
	others := slices.DeleteFunc(slices.Clone(pagers), func(p notify.Pager) bool { return p.Name() == first.Name() })
	return h.pageByOne(ctx, append(others, first), inc, *dec)
}

// note adds the message to the alert that a pager has. sent is false where a page
// has to go out in its place: it is not only a note, which wakes nobody.
func (h *Handler) note(ctx context.Context, p notify.Pager, inc *incident.Incident, dec incident.Decision, isOnlyNote bool) (sent bool, err error) {
	can := p.Capabilities()
	if !can.Notes {
		// A page under the alias of an open alert wakes nobody where the pager
		// deduplicates. Elsewhere it would, and the alert has woken somebody.
		return isOnlyNote || !can.Deduplicates, nil
	}
	err = p.Note(ctx, h.message(inc, dec, notify.KindNote))
	if errors.Is(err, notify.ErrNoAlert) {
		return isOnlyNote, nil
	}
	return err == nil, err
}

// pageByOne tries one pager after the other until one has the page. Each gets its
// share of the time that is left: one that hangs takes no time from the next.
func (h *Handler) pageByOne(ctx context.Context, ways []notify.Pager, inc *incident.Incident, dec incident.Decision) (*incident.Paged, error) {
	var failed []error
	for n, p := range ways {
		bounded, cancel := share(ctx, len(ways)-n)
		paged, err := h.pageBy(bounded, p, inc, dec)
		cancel()
		if err == nil {
			return paged, nil
		}
		failed = append(failed, err)
	}
	return nil, joined("page", failed)
}

// caughtOf is what Step Functions would hand to a Catch.
func caughtOf(err error) incident.Caught {
	return incident.Caught{Error: string(fault.KindOf(err)), Cause: incident.Clip(redact.Error(err), maxMessage)}
}

func (h *Handler) pageBy(ctx context.Context, p notify.Pager, inc *incident.Incident, dec incident.Decision) (*incident.Paged, error) {
	paged := pagedAs(p.Name(), dec)
	got, err := p.Page(ctx, h.message(inc, dec, notify.KindPage))
	if err != nil {
		return nil, fault.New(fault.KindOf(err), p.Name(), "%w", err)
	}
	paged.Confirmed = got.Confirmed
	return paged, nil
}
