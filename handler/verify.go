package handler

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/internal/store"
)

const (
	// verifyLease is how long verify has an instance's lease at most. Terraform lets
	// the function run for a minute at most.
	verifyLease = 2 * time.Minute
	// wouldSucceed is the code of the error with which EC2 answers a dry run that
	// it would have carried out
	// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RebootInstances.html).
	wouldSucceed = "DryRunOperation"
)

// verify runs all checks of an instance under its lease, keeps which have passed
// (the baseline, without which a check causes no reboot), and asks EC2 whether it
// would reboot the instance. The policy is not asked. The event's source is
// incident.SourceCanary. The answer is the incident with the findings, the
// suppressed reboot or the refusal that says why there is none, and next "done",
// or "already_handled" where another execution holds the lease.
func verify(ctx context.Context, h *Handler, req request) (any, error) {
	if err := onlyDry(req); err != nil {
		return nil, err
	}
	inc, _, err := h.begin(ctx, req, true)
	if err != nil || inc.Next != "" {
		return inc, err
	}
	h.suppressReboot(ctx, inc)
	h.checkAll(ctx, inc, tellTime+vantageTime)
	peers := h.peersOf(ctx, inc)
	inc.Next = incident.NextDone
	e, err := h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
		i := &e.State.Instance
		if !owns(i.Lease, inc) {
			return errLost
		}
		i.Learn(inc.Findings, inc.Settings)
		i.LearnReach(peers, inc.Findings, inc.Settings, incident.At(time.Now()))
		i.HealthCheck = inc.HealthCheck
		giveBack(&i.Lease)
		return nil
	})
	if errors.Is(err, errLost) {
		h.alreadyHandled(ctx, inc, e)
		return inc, nil
	}
	return inc, err
}

// peersOf asks the other regions about what has passed: who cannot be asked, or cannot
// reach it, is no witness later, and the finding says so.
func (h *Handler) peersOf(ctx context.Context, inc *incident.Incident) []policy.Peer {
	var passed []incident.Finding
	for _, f := range inc.Findings {
		if f.Outcome == incident.Passed {
			passed = append(passed, f)
		}
	}
	var facts policy.Facts
	questions := h.peerQuestions(ctx, inc, &facts, passed)
	sideBySide(ctx, h, questions, func(question func() error) error { return question() })
	for _, p := range facts.Peers {
		if why := p.NoWitness(); why != "" {
			f := inc.Finding(p.Check)
			f.Reason = incident.ClipLine(f.Reason+"; "+p.Region+" does not reach it: "+why, maxMessage)
		}
	}
	return facts.Peers
}

// onlyDry refuses an event that is not dry.
func onlyDry(req request) error {
	if incident.SourceOf(req.Event) != incident.SourceCanary {
		return fault.New(fault.InvalidInput, "read event", "event.source: %s takes %s only", req.Step, incident.SourceCanary)
	}
	return nil
}

// checkAll runs all checks side by side, and keeps some time for what comes after. A
// check that panics leaves no finding.
func (h *Handler) checkAll(ctx context.Context, inc *incident.Incident, kept time.Duration) {
	ctx, cancel := keeping(ctx, kept)
	defer cancel()
	copies, findings := map[string]*incident.Incident{}, map[string]*incident.Finding{}
	for _, name := range incident.Checks {
		copies[name], findings[name] = new(*inc), new(incident.Finding)
	}
	errs := sideBySide(ctx, h, incident.Checks, func(name string) error {
		*findings[name] = h.Checks[name](ctx, copies[name])
		return nil
	})
	inc.HealthCheck = copies[incident.CheckRoute53].HealthCheck
	for n, name := range incident.Checks {
		if f := findings[name]; errs[n] == nil {
			f.Check = name
			inc.Record(*f)
		}
	}
}

// suppress records what a dry incident leaves undone, and ends it.
func (h *Handler) suppress(ctx context.Context, inc *incident.Incident, dec incident.Decision) {
	inc.Next, inc.WaitSeconds, inc.Decision, inc.Suppressed = incident.NextDone, 0, &dec, nil
	inc.Suppress(dec.Next, "Dry run: "+dec.Next+": "+dec.Reason, time.Now())
	h.suppressReboot(ctx, inc)
}

// suppressReboot asks EC2 whether it would reboot the instance, whatever the
// checks saw: a missing right is found before it is needed. The incident's
// refusal says why EC2 would not.
func (h *Handler) suppressReboot(ctx context.Context, inc *incident.Incident) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := h.EC2().RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{inc.InstanceID}, DryRun: aws.Bool(true)})
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case ok && api.ErrorCode() == wouldSucceed:
		inc.Suppress(incident.NextReboot, "Dry run: EC2 allows a reboot of "+inc.InstanceID, time.Now())
		return
	case err == nil:
		err = fault.New(fault.Internal, "dry run", "EC2 accepted it as if it were none, and may be rebooting the instance: it answers one with the code %s", wouldSucceed)
	default:
		err = fault.AWS("dry run", err)
	}
	inc.Refusal = string(fault.KindOf(err)) + ": " + redact.Error(err)
}
