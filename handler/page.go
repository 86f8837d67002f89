package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
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
	if inc.Dry {
		if err := h.rehearsePage(ctx, inc, dec); err != nil {
			return err
		}
		inc.Told = true
		delete(inc.Caught, "page") // it was about any of them, and none lacks anything now
		return nil
	}
	pagers, err := h.Pagers()
	if err != nil {
		return err
	}
	if len(pagers) == 0 {
		h.pageWithoutPagers(ctx, inc, dec)
		return nil
	}
	d := &delivering{h: h, inc: inc, dec: dec, m: h.message(inc, dec, kindOfPage(dec)), pagers: pagers}
	p, err := d.deliver(ctx)
	if err != nil {
		return err
	}
	inc.Decision, inc.Told, inc.Paged = &d.dec, true, p
	if p.Pager == pagers[0].Name() {
		delete(inc.Caught, "page") // it has failed before, and did not now
	} else if _, failed := inc.Caught["page"]; failed {
		h.Metrics.count(metricPagerFallbacks, inc)
	}
	if d.dec.Note {
		h.Metrics.count(metricNotes, inc)
	} else {
		h.Metrics.count(metricPages, inc)
	}
	h.Log.LogAttrs(ctx, slog.LevelInfo, "paged", slog.String("instance", inc.InstanceID), slog.String("pager", p.Pager), slog.String("alias", p.Alias), slog.Bool("note", d.dec.Note))
	h.confirm(ctx, inc, d.dec)
	return nil
}

// pageWithoutPagers leaves a page to Slack; without Slack the log has it, as
// whoever configured neither wanted.
func (h *Handler) pageWithoutPagers(ctx context.Context, inc *incident.Incident, dec incident.Decision) {
	if h.Slack != nil {
		return
	}
	h.Log.LogAttrs(ctx, slog.LevelError, "nobody is configured to be paged", slog.String("instance", inc.InstanceID), slog.String("situation", dec.Situation), slog.String("reason", dec.Reason))
	inc.Told, inc.Paged = true, pagedAs(pagedByLog, dec)
	h.confirm(ctx, inc, dec)
}

func pagedAs(pager string, dec incident.Decision) *incident.Paged {
	p := &incident.Paged{Pager: pager, At: incident.At(time.Now())}
	if dec.Alert != nil {
		p.Alias = dec.Alert.Alias
	}
	return p
}

// confirm has the table know of a page. Without it the instance is paged again
// under the same alias, which the pager deduplicates: no reason to fail.
func (h *Handler) confirm(ctx context.Context, inc *incident.Incident, dec incident.Decision) {
	if dec.Alert == nil || dec.Alert.ID == "" || inc.Paged == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	t, err := h.Table(ctx)
	if err == nil {
		_, err = t.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
			e.State = policy.Paged(e.State, dec, *inc.Paged, inc.Thread)
			return nil
		})
	}
	if err != nil {
		h.warn(ctx, "cannot store that a pager has taken the page", inc.InstanceID, err)
	}
}

// delivering is one page or note on its way.
type delivering struct {
	h   *Handler
	inc *incident.Incident
	// dec changes when a note becomes a page.
	dec    incident.Decision
	m      notify.Message
	pagers []notify.Pager
}

// deliver sends the message by the first pager that takes it.
func (d *delivering) deliver(ctx context.Context) (*incident.Paged, error) {
	first := d.pagers[0]
	if d.dec.Alert != nil {
		if p := pagerNamed(d.pagers, d.dec.Alert.Pager); p != nil {
			first = p
		}
	}
	ways := []notify.Pager{first}
	_, failed := d.inc.Caught["page"]
	if failed && !d.onlyANote() {
		others := slices.DeleteFunc(slices.Clone(d.pagers), func(p notify.Pager) bool { return p.Name() == first.Name() })
		ways = append(others, first)
	}
	return oneOf(ctx, ways, func(ctx context.Context, p notify.Pager) (*incident.Paged, error) {
		return d.send(ctx, p, p.Name() == first.Name())
	})
}

// onlyANote reports whether the message is for an open alert alone: somebody has
// been woken, and nobody is to be on its account.
func (d *delivering) onlyANote() bool {
	return d.dec.Note && (d.dec.Situation == incident.SituationNote || d.dec.Situation == incident.SituationHealthyAgain)
}

// send sends the message by one pager. hasAlert: that one has the alert which a
// note is for. A note that finds no open alert becomes a page, unless it is only
// a note.
func (d *delivering) send(ctx context.Context, p notify.Pager, hasAlert bool) (*incident.Paged, error) {
	paged := pagedAs(p.Name(), d.dec)
	if d.dec.Note && hasAlert {
		sent, err := d.note(ctx, p)
		if sent || err != nil {
			return paged, err
		}
	}
	m, dec := d.m, d.dec
	dec.Note = false
	m.Kind = notify.KindPage
	got, err := p.Page(ctx, m)
	if err != nil {
		return nil, err
	}
	d.dec, paged.Confirmed = dec, got.Confirmed
	return paged, nil
}

// note adds the message to the alert. sent is false where a page has to go out
// in its place.
func (d *delivering) note(ctx context.Context, p notify.Pager) (sent bool, err error) {
	can := p.Capabilities()
	if !can.Notes {
		// A page under the alias of an open alert wakes nobody where the pager
		// deduplicates. Elsewhere it would, and the alert has woken somebody.
		return d.onlyANote() || !can.Deduplicates, nil
	}
	err = p.Note(ctx, d.m)
	if errors.Is(err, notify.ErrNoAlert) {
		d.h.warn(ctx, "the alert takes no note", d.inc.InstanceID, err)
		return d.onlyANote(), nil
	}
	return err == nil, err
}

// oneOf tries one pager after the other until one has the message. Each gets its
// share of the time that is left: one that hangs takes no time from the next.
func oneOf(ctx context.Context, ways []notify.Pager, try func(context.Context, notify.Pager) (*incident.Paged, error)) (*incident.Paged, error) {
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
			return nil, err
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
	return nil, &fault.Error{Kind: kind, Op: "page another way", Err: failed}
}

// share is a context with its part of the time that is left.
func share(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || parts < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(parts))
}
