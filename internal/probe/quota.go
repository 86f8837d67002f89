package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// CheckConcurrency is whether the account may run as many steps at once as a storm of
// all instances would need. It is asked with the caller's own rights.
const CheckConcurrency = "concurrency"

// concurrency reads the account's quota of Lambda. Each incident runs one step at a
// time, and reconcile is one more. A new account may have a quota of 10
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
func (v *Verifier) concurrency(ctx context.Context, region string, instances int) CheckResult {
	c, start := CheckResult{Check: CheckConcurrency, Result: Warned}, time.Now()
	asked, stop := context.WithTimeout(ctx, readTime)
	defer stop()
	out, err := v.read(region).lambda.GetAccountSettings(asked, &lambda.GetAccountSettingsInput{})
	c.ElapsedMs = time.Since(start).Milliseconds()
	switch {
	case ctx.Err() != nil:
		c.Result, c.Reason = Skipped, "not tried"
		return c
	case err != nil || out.AccountLimit == nil || out.AccountLimit.UnreservedConcurrentExecutions == nil:
		c.Reason = fmt.Sprintf("cannot tell how many steps may run at once (%s): that needs the right lambda:GetAccountSettings", saidWithin(err))
		return c
	}
	have, quota := int(*out.AccountLimit.UnreservedConcurrentExecutions), out.AccountLimit.ConcurrentExecutions
	c.Reason = fmt.Sprintf("%d steps run at once when all %d instances fail together; of the account's concurrency of %d in this region, which all functions share, %d is unreserved", instances+1, instances, quota, have)
	if have > instances {
		c.Result = Passed
		return c
	}
	c.Reason += fmt.Sprintf(": Lambda would throttle the others, which delays checks, reboots and pages; ask for more with `aws service-quotas request-service-quota-increase --region %s --service-code lambda --quota-code L-B99A9384 --desired-value %d`", region, max(1000, 2*(instances+1)+int(quota)-have))
	return c
}
