package handler

import (
	"context"
	"fmt"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/internal/store"
	"firstline/notify"
)

// dryLabel begins what a dry incident would have done.
const dryLabel = "Dry run: "

// rehearse has the policy decide on a dry incident, and records what would have
// been done. It stores no more than its record, and gives the lease back.
func (h *Handler) rehearse(ctx context.Context, t Table, inc *incident.Incident, facts func(*policy.Input)) error {
	op := "decide on " + inc.InstanceID
	e, err := t.Load(ctx, inc.InstanceID)
	if err != nil {
		return kinded(op, err)
	}
	lease := e.State.Instance.Lease
	if !owns(lease, inc) && !gaveBack(lease, inc) {
		alreadyHandled(inc, holderOf(lease))
		return nil
	}
	in := h.input(inc, e.State)
	facts(&in)
	dec := policy.Decide(in).Decision
	inc.Decision = &dec
	if err := h.suppressDecision(ctx, inc, dec); err != nil {
		return err
	}
	h.suppressReboot(ctx, inc)
	_, err = t.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		if owns(e.State.Instance.Lease, inc) {
			giveBack(&e.State.Instance.Lease)
		}
		r := store.RecordOf(inc)
		r.EndedAt, r.End = dec.At, incident.NextDone
		e.Record = &store.RecordUpdate{Record: r, Look: store.LookOf(&dec)}
		return nil
	})
	inc.Next, inc.WaitSeconds = incident.NextDone, 0
	return kinded(op, err)
}

// suppressDecision records what was decided, with the message that was not sent.
func (h *Handler) suppressDecision(ctx context.Context, inc *incident.Incident, dec incident.Decision) error {
	now := time.Now()
	switch dec.Next {
	case incident.NextPage:
		return h.rehearsePage(ctx, inc, dec)
	case incident.NextSlack, incident.NextResolve:
		if h.Slack != nil {
			return h.rehearseSlack(ctx, inc, dec)
		}
	}
	inc.Suppress(dec.Next, fmt.Sprintf("%s%s: %s", dryLabel, dec.Next, dec.Reason), now)
	return nil
}

// suppressReboot asks EC2 whether it would reboot the instance, whatever the
// checks saw: a missing right is found before it is needed. The incident's
// refusal says why EC2 would not.
func (h *Handler) suppressReboot(ctx context.Context, inc *incident.Incident) {
	client, err := h.EC2(ctx)
	if err == nil {
		err = h.dryRunReboot(ctx, client, inc.InstanceID)
	}
	if err != nil {
		inc.Refusal = string(fault.KindOf(err)) + ": " + redact.Error(err)
		return
	}
	inc.Suppress(incident.NextReboot, dryLabel+"EC2 allows a reboot of "+inc.InstanceID, time.Now())
}

// rehearsePage does of a page what makes no call, with every pager: one that
// takes a page only when others have failed would show what it lacks too late.
func (h *Handler) rehearsePage(ctx context.Context, inc *incident.Incident, dec incident.Decision) error {
	pagers, err := h.Pagers()
	if err != nil {
		return err
	}
	m := h.message(inc, dec, kindOfPage(dec))
	first := dryLabel + "there is no pager"
	var failed error
	for n, p := range pagers {
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
	inc.Suppress(incident.NextPage, first, m.Now)
	return nil
}

func (h *Handler) rehearseSlack(ctx context.Context, inc *incident.Incident, dec incident.Decision) error {
	m := h.message(inc, dec, notify.KindSlack)
	text, err := h.Slack.Rehearse(ctx, m)
	if err != nil {
		return err
	}
	inc.Suppress(incident.NextSlack, text, m.Now)
	return nil
}
