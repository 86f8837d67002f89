package main

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"firstline/handler"
	"firstline/internal/fault"
	"firstline/internal/incident"
)

// addPeers gives the handler the regions that it asks before a reboot. Where the
// setting makes no sense, a region is needed and there is none, so nothing is rebooted.
func addPeers(h *handler.Handler, config func() aws.Config, setting string) {
	var vantage struct {
		Function string   `json:"function"`
		Peers    []string `json:"peers"`
		Required bool     `json:"required"`
	}
	if setting == "" {
		return
	}
	if err := incident.DecodeStrict([]byte(setting), &vantage); err != nil {
		h.VantageRequired = true
		return
	}
	h.Peers, h.VantageRequired = vantage.Peers, vantage.Required
	h.AskPeer = func(ctx context.Context, region string, p incident.Probe) (incident.Finding, error) {
		return askPeer(ctx, config(), region, vantage.Function, p)
	}
}

// askPeer has another region's function make a probe.
func askPeer(ctx context.Context, config aws.Config, region, function string, p incident.Probe) (f incident.Finding, err error) {
	op := "ask " + function + " in " + region
	payload, err := json.Marshal(map[string]any{"step": handler.StepProbe, "probe": p})
	if err != nil {
		return f, fault.New(fault.Internal, op, "%w", err)
	}
	config.Region, config.Retryer = region, func() aws.Retryer { return aws.NopRetryer{} }
	out, err := lambda.NewFromConfig(config).Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload})
	if err != nil {
		return f, fault.AWS(op, err)
	}
	if out.FunctionError != nil {
		var failure struct {
			Type    string `json:"errorType"`
			Message string `json:"errorMessage"`
		}
		_ = json.Unmarshal(out.Payload, &failure)
		return f, fault.New(fault.Unavailable, op, "the function failed: %s: %s", failure.Type, failure.Message)
	}
	// That region may run another version.
	if err := json.Unmarshal(out.Payload, &f); err != nil {
		return incident.Finding{}, fault.New(fault.Unavailable, op, "its answer is no finding: %w", err)
	}
	if f.Check != p.Check || f.Outcome == "" {
		return incident.Finding{}, fault.New(fault.Unavailable, op, "its answer is no finding of the check %s", p.Check)
	}
	return f, nil
}
