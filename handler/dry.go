package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

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
func (h *Handler) rehearse(ctx context.Context, inc *incident.Incident, facts func(*policy.Input)) error {
	e, err := h.Table.Load(ctx, inc.InstanceID)
	if err != nil {
		return err
	}
	lease := e.State.Instance.Lease
	if !owns(lease, inc) && !gaveBack(lease, inc) {
		h.alreadyHandled(inc, lease)
		return nil
	}
	in := h.input(inc, e.State)
	facts(&in)
	dec := policy.Decide(in).Decision
	inc.Decision = &dec
	switch {
	case dec.Next == incident.NextPage:
		err = h.rehearsePage(ctx, inc, dec)
	case h.Slack != nil && (dec.Next == incident.NextSlack || dec.Next == incident.NextResolve):
		err = h.rehearseSlack(ctx, inc, dec)
	default:
		inc.Suppress(dec.Next, dryLabel+dec.Next+": "+dec.Reason, time.Now())
	}
	if err != nil {
		return err
	}
	h.suppressReboot(ctx, inc)
	inc.Next, inc.WaitSeconds = incident.NextDone, 0
	_, err = h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		if owns(e.State.Instance.Lease, inc) {
			giveBack(&e.State.Instance.Lease)
		}
		r := store.RecordOf(inc)
		r.EndedAt, r.End = dec.At, incident.NextDone
		e.Record = &store.RecordUpdate{Record: r, Look: store.LookOf(&dec)}
		return nil
	})
	return err
}

// wouldSucceed is the code of the error with which EC2 answers a dry run that
// it would have carried out
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RebootInstances.html).
const wouldSucceed = "DryRunOperation"

// suppressReboot asks EC2 whether it would reboot the instance, whatever the
// checks saw: a missing right is found before it is needed. The incident's
// refusal says why EC2 would not.
func (h *Handler) suppressReboot(ctx context.Context, inc *incident.Incident) {
	_, err := h.EC2().RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{inc.InstanceID}, DryRun: aws.Bool(true)})
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case ok && api.ErrorCode() == wouldSucceed:
		inc.Suppress(incident.NextReboot, dryLabel+"EC2 allows a reboot of "+inc.InstanceID, time.Now())
		return
	case err == nil:
		err = fault.New(fault.Internal, "dry run", "EC2 accepted it as if it were none, and may be rebooting the instance: it answers one with the code %s", wouldSucceed)
	default:
		err = fault.AWS("dry run", err)
	}
	inc.Refusal = string(fault.KindOf(err)) + ": " + redact.Error(err)
}

// rehearsePage does of a page what makes no call, with every pager: one that
// takes a page only when others have failed would show what it lacks too late.
func (h *Handler) rehearsePage(ctx context.Context, inc *incident.Incident, dec incident.Decision) error {
	pagers, err := h.Pagers()
	if err != nil {
		return err
	}
	kind := notify.KindPage
	if dec.Note {
		kind = notify.KindNote
	}
	m := h.message(inc, dec, kind)
	first := dryLabel + "there is no pager"
	var failed []error
	for n, p := range pagers {
		text, err := p.Rehearse(ctx, m)
		if n == 0 {
			first = text
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("pager %s: %w", p.Name(), err))
		}
	}
	if err := joined("", failed); err != nil {
		return err // all that is wrong at once
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
