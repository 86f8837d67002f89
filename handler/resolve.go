package handler

import (
	"context"
	"errors"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

// resolveTime bounds closing one alert at one pager.
const resolveTime = 8 * time.Second

// resolve closes at their pagers the alerts that have no members any more. What
// fails is tried again by reconcile.
func resolve(ctx context.Context, h *Handler, inc *incident.Incident) error {
	if inc.Decision == nil || inc.Dry {
		return fault.New(fault.InvalidInput, "resolve the alert of "+inc.InstanceID, "incident.decision: missing, or it is dry; the step decide makes it")
	}
	e, err := h.Table.Load(ctx, inc.InstanceID)
	if err != nil {
		return err
	}
	refs := e.State.Region.ToResolve()
	_, err = h.resolveAll(ctx, inc, refs)
	if inc.Told = err == nil; inc.Told {
		h.tellLeft(inc, refs)
	}
	return err
}

// tellLeft adds to the decision, which Slack is told of next, that its alert stays open
// at a pager that is not configured any more.
func (h *Handler) tellLeft(inc *incident.Incident, refs []incident.AlertRef) {
	pagers, err := h.Pagers()
	for _, ref := range refs {
		if a := inc.Decision.Alert; err == nil && a != nil && a.ID == ref.ID && isLeft(pagers, ref) {
			inc.Decision.Reason += leftWords(ref)
		}
	}
}

func leftWords(ref incident.AlertRef) string {
	return "; close its alert " + ref.Alias + " by hand: " + ref.Pager + " has it, and is not configured any more"
}

// isLeft reports whether an alert is at a pager that is not configured any more.
func isLeft(pagers []notify.Pager, ref incident.AlertRef) bool {
	return ref.Pager != "" && ref.Pager != pagedBySlack && ref.Pager != pagedByLog && pagerNamed(pagers, ref.Pager) == nil
}

// resolveAll closes alerts and has the table forget those that are closed. It
// returns their aliases, without those of which the table does not know.
func (h *Handler) resolveAll(ctx context.Context, inc *incident.Incident, refs []incident.AlertRef) (resolved []string, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	pagers, err := h.Pagers()
	if err != nil {
		return nil, err
	}
	errs := sideBySide(ctx, h, refs, func(ref incident.AlertRef) error { return h.resolveOne(ctx, pagers, inc, ref) })
	var closed []incident.AlertRef
	for n, ref := range refs {
		if errors.Is(errs[n], errOther) {
			errs[n] = nil // its own pager has closed it; the table keeps it until the others have answered
			continue
		}
		if errs[n] == nil && ref.ID != "" {
			closed = append(closed, ref)
			resolved = append(resolved, ref.Alias)
			h.count(ctx, metricResolves, inc)
		}
	}
	if len(closed) > 0 {
		errs = append(errs, h.Table.UpdateRegion(ctx, func(r *policy.Region) error {
			// In this order: an alert goes when none of its aliases is left.
			for _, ref := range closed {
				*r = policy.Resolved(*r, ref)
			}
			return nil
		}))
	}
	return resolved, joined("", errs)
}

// otherPatience is for how long after an alert was opened it is kept for a pager
// that may have it too and does not answer.
const otherPatience = 24 * time.Hour

var errOther = errors.New("another pager, which may have the alert too, does not answer")

// resolveOne closes an alert at its pager. One that no pager is known to have
// may be at any of them, if an answer was lost, and so may one that a pager has.
func (h *Handler) resolveOne(ctx context.Context, pagers []notify.Pager, inc *incident.Incident, ref incident.AlertRef) error {
	var errs []error
	later := false
	if isLeft(pagers, ref) {
		// Nobody can close it from here. Its pager may come back with another deployment.
		h.warn(ctx, "an alert stays open at a pager that is not configured any more", inc.InstanceID, errors.New(ref.Pager+": "+ref.Alias))
		later = time.Since(ref.OpenedAt.Time()) < otherPatience
	}
	for _, p := range pagers {
		isOther := ref.Pager != "" && ref.Pager != p.Name()
		if (isOther || ref.ID == "") && !p.Capabilities().Deduplicates {
			continue // to close what it may not have would be a message of its own
		}
		err := h.resolveAt(ctx, p, inc, ref)
		if isOther && err != nil {
			h.warn(ctx, "cannot tell whether another pager has the alert too", inc.InstanceID, err)
			later = later || fault.KindOf(err) == fault.Unavailable && time.Since(ref.OpenedAt.Time()) < otherPatience
			err = nil
		}
		errs = append(errs, err)
	}
	if err := joined("resolve "+ref.Alias, errs); err != nil || !later {
		return err
	}
	return errOther
}

func (h *Handler) resolveAt(ctx context.Context, p notify.Pager, inc *incident.Incident, ref incident.AlertRef) error {
	if !p.Capabilities().Resolvable {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	dec := *inc.Decision
	dec.Alert = &ref
	err := p.Resolve(ctx, h.message(inc, dec, notify.KindResolve))
	if errors.Is(err, notify.ErrNoAlert) {
		return nil // a person has closed it, or an earlier try has
	}
	return err
}
