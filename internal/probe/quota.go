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

// unreservable is how much of its concurrency an account cannot reserve; of a smaller
// quota, all of it
// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html).
const unreservable = 100

// concurrency reads the account's quota of Lambda. Each incident runs one step at a
// time, and reconcile is one more. A new account may have a quota of 10
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). reserve is
// what a deployment would reserve for its probe.
func (v *Verifier) concurrency(ctx context.Context, region string, instances, reserve int) CheckResult {
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
	have, quota := int(*out.AccountLimit.UnreservedConcurrentExecutions), int(out.AccountLimit.ConcurrentExecutions)
	if spare := max(0, have-min(unreservable, quota)); reserve > spare {
		c.Result = Errored
		c.Reason = fmt.Sprintf("the account can reserve %d more of its concurrency of %d in this region, and its probe would reserve %d: set vantage.reserved_concurrency = 0, or ask for more concurrency", spare, quota, reserve)
		return c
	}
	have -= reserve
	c.Reason = fmt.Sprintf("%d steps run at once when all %d instances fail together; of the account's concurrency of %d in this region, which all functions share, %d is unreserved", instances+1, instances, quota, have)
	if have > instances {
		c.Result = Passed
		return c
	}
	c.Reason += fmt.Sprintf(": Lambda would throttle the others, which delays checks, reboots and pages; ask for more with `aws service-quotas request-service-quota-increase --region %s --service-code lambda --quota-code L-B99A9384 --desired-value %d`", region, max(1000, 2*(instances+1)+quota-have))
	return c
}
