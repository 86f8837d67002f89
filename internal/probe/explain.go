package probe

import (
	"context"

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
	return answer[policy.Explanation](ctx, client, r, "an explanation", map[string]any{"step": "explain", "event": dryLook(r, instanceID), "execution": execution()})
}
