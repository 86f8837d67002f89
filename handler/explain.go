package handler

import (
	"context"
	"log/slog"

	"firstline/internal/policy"
)

// explained is the answer of explain, of which little is logged: it has all that is
// stored.
type explained policy.Explanation

// LogValue is what is logged.
func (x explained) LogValue() slog.Value {
	return slog.GroupValue(slog.String("instance", x.State.Instance.ID), slog.Int("row", x.Decision.Row), slog.String("next", x.Decision.Next))
}

// explain makes a look, asks for all facts and answers what the policy would decide if
// an alarm of the instance fired now. It takes no lease and stores, tells and reboots
// nothing. The event's source is incident.SourceCanary.
func explain(ctx context.Context, h *Handler, req request) (any, error) {
	if err := onlyDry(req); err != nil {
		return nil, err
	}
	inc, err := h.read(ctx, req)
	if err != nil {
		return nil, err
	}
	e, err := h.Table.Load(ctx, inc.InstanceID)
	if err != nil {
		return nil, err
	}
	recall(inc, e)
	rebooted(inc, e.State.Instance.Reboots)
	h.checkAll(ctx, inc, othersTime+askTime)
	var asked asked
	in := h.input(inc, e.State)
	h.known(ctx, inc, &in, &asked)
	return explained(policy.Explain(in)), nil
}
