package handler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

const (
	// leaseMargin is how much longer than the next planned wait a lease lasts: a
	// look at its slowest takes about 6 minutes.
	leaseMargin = 15 * time.Minute
	// maxTakes is how often a lease is taken over that somebody else takes first.
	maxTakes = 3
	// askTime bounds one question to a service.
	askTime = 5 * time.Second
	// unseen is how long Step Functions may not know an execution that has begun:
	// its answers are eventually consistent
	// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html).
	unseen = time.Minute
)

// errLost ends a write of an execution that has lost its lease.
var errLost = errors.New("another execution has taken the lease")

// takeLease takes the instance's lease for the incident's execution. One that
// another execution holds is taken over if that one has ended; else the incident
// ends as already handled. The incident's record begins with the lease; verify has
// none, and so short a lease that it delays nothing should it die.
func (h *Handler) takeLease(ctx context.Context, inc *incident.Incident, verifies bool) (e *store.Entry, err error) {
	ended := ""
	for range maxTakes {
		e, err = h.Table.Update(ctx, inc.InstanceID, func(e *store.Entry) error {
			now := incident.At(time.Now())
			i := &e.State.Instance
			if d := i.Decided; d != nil && d.Execution == inc.Execution.ID {
				return nil // it has gone on already: this answer is asked for again
			}
			if i.Lease.Held(inc.Execution.ID, inc.Dry || verifies, now) && i.Lease.Execution != ended {
				return errLost
			}
			i.Lease = policy.Lease{
				Execution: inc.Execution.ID, Name: inc.Execution.Name, StartedAt: incident.At(inc.Execution.StartedAt),
				Until: now.Add(verifyLease), Version: i.Lease.Version + 1, Dry: inc.Dry || verifies,
			}
			if !verifies {
				inc.Name = i.Name
				r := store.RecordOf(inc)
				r.Settings, r.LeaseUntil = inc.Settings, now.Add(leaseMargin)
				i.Lease.Until, e.Record = r.LeaseUntil, &r
			}
			// Taking the lease ends the rest. A dry look leaves it as it is, and what is
			// not known to need a look does not need one.
			i.AtRest = inc.Dry && (i.AtRest || !e.Exists)
			return nil
		})
		if err == nil {
			inc.LeaseVersion = e.State.Instance.Lease.Version
			return e, nil
		}
		if !errors.Is(err, errLost) {
			return nil, err
		}
		held := e.State.Instance.Lease
		if !h.ended(ctx, inc.InstanceID, held) {
			break
		}
		ended = held.Execution
	}
	h.alreadyHandled(ctx, inc, e)
	return e, nil
}

// ended reports whether the execution that holds a lease has ended: it was
// stopped, it ran out of time, or its last step failed. Whatever is not certain
// counts as running, since its lease is what keeps a second one away.
func (h *Handler) ended(ctx context.Context, instanceID string, l policy.Lease) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	status := sfntypes.ExecutionStatus("GONE")
	out, err := h.StepFunctions().DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &l.Execution})
	if err == nil {
		status = out.Status
	} else if _, unknown := errors.AsType[*sfntypes.ExecutionDoesNotExist](err); !unknown || time.Since(l.StartedAt.Time()) < unseen {
		h.warn(ctx, "cannot tell whether the execution that holds the lease has ended", instanceID, err)
		return false
	}
	switch status {
	case "GONE", sfntypes.ExecutionStatusSucceeded, sfntypes.ExecutionStatusFailed, sfntypes.ExecutionStatusTimedOut, sfntypes.ExecutionStatusAborted:
		h.Log.LogAttrs(ctx, slog.LevelWarn, "an execution has ended without giving its lease back",
			slog.String("instance", instanceID), slog.String("holder", l.Name), slog.String("status", string(status)))
		return true
	}
	return false
}

// owns reports whether the incident's execution holds the lease, and has not
// gone on without this invocation.
func owns(l policy.Lease, inc *incident.Incident) bool {
	return l.Execution == inc.Execution.ID && l.Version == inc.LeaseVersion
}

// renew lets a lease last until the next planned wait is over, and a look after it.
func renew(l *policy.Lease, now incident.Millis, waitSeconds int) {
	l.Until = now.Add(time.Duration(waitSeconds)*time.Second + leaseMargin)
}

// giveBack ends the lease. Its version goes on, so that whoever has lost it
// cannot write.
func giveBack(l *policy.Lease) { *l = policy.Lease{Version: l.Version + 1} }

// alreadyHandled ends an execution whose instance another one looks after.
func (h *Handler) alreadyHandled(ctx context.Context, inc *incident.Incident, e *store.Entry) {
	inc.Next, inc.WaitSeconds = incident.NextAlreadyHandled, 0
	if l := e.State.Instance.Lease; l.Execution != "" {
		inc.HeldBy = &incident.Execution{ID: l.Execution, Name: l.Name, StartedAt: l.StartedAt.Time()}
	}
	h.count(ctx, metricAlreadyHandled, inc)
}
