package handler

import (
	"context"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// StepProbe is the step of a function of its own, which has no rights and no secrets:
// another region asks it whether a target is down from here too.
const StepProbe = "probe"

// runProbe makes the attempt that another region asks for.
func runProbe(ctx context.Context, h *Handler, req request) (any, error) {
	var p incident.Probe
	err := incident.DecodeStrict(req.Probe, &p)
	if err == nil {
		err = p.Validate()
	}
	if err != nil {
		return nil, fault.New(fault.InvalidInput, "decode probe", "%w", err)
	}
	return h.Probe(ctx, p), nil
}
