package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"firstline/internal/deployed"
	"firstline/internal/policy"
)

// Explain has the deployed function of a region look at an instance and tell what would
// happen if an alarm of it fired now. Nothing follows from it.
func Explain(ctx context.Context, cfg aws.Config, r deployed.Region, instanceID string) (*policy.Explanation, error) {
	return explainBy(ctx, lambda.NewFromConfig(InRegion(cfg, r.Region)), r, instanceID)
}

func explainBy(ctx context.Context, client invoker, r deployed.Region, instanceID string) (*policy.Explanation, error) {
	switch {
	case r.Lost != nil:
		return nil, r.Lost
	case r.FunctionARN == "":
		return nil, errPart
	}
	raw, err := function{client, r.FunctionARN}.tried(ctx, map[string]any{"step": "explain", "event": dryLook(r, instanceID), "execution": execution()}, transient)
	if err != nil {
		return nil, errors.New(Said(err))
	}
	x := new(policy.Explanation)
	if err := json.Unmarshal(raw, x); err != nil {
		return nil, fmt.Errorf("the function did not answer with an explanation: %w", err)
	}
	return x, nil
}
