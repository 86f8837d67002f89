package probe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

// CheckHeartbeat is when the heartbeat outside of AWS was last pinged.
const CheckHeartbeat = "heartbeat"

// Title is what people call a channel.
func Title(channel string) string {
	switch channel {
	case "slack":
		return "Slack"
	case CheckHeartbeat:
		return "Heartbeat"
	}
	for _, t := range notify.Types() {
		if t.Name == channel {
			return t.Title
		}
	}
	return channel
}

// channels asks when the heartbeat was last pinged, and which alerts are open at a pager
// that is not configured any more.
func (v *Verifier) channels(ctx context.Context, f function, r deployed.Region) (all []CheckResult) {
	start := time.Now()
	got, err := answer[struct {
		At        incident.Millis     `json:"at"`
		Heartbeat *policy.Heartbeat   `json:"heartbeat"`
		Alerts    map[string][]string `json:"alerts"`
	}](ctx, f.client, r, "its channels", map[string]any{"step": "channels"})
	elapsed := time.Since(start).Milliseconds()
	if err != nil && ctx.Err() == nil {
		return []CheckResult{{CheckHeartbeat, Warned, "cannot tell whether a heartbeat is pinged, and where alerts are open: " + err.Error(), elapsed}}
	} else if err != nil {
		return nil
	}
	if got.Heartbeat != nil {
		c := heartbeat(*got.Heartbeat, got.At, v.reconcileEvery(ctx, r))
		c.ElapsedMs = elapsed
		all = append(all, c)
	}
	for _, pager := range slices.Sorted(maps.Keys(got.Alerts)) {
		if pager != "slack" && pager != "log" && !slices.Contains(r.Pagers, pager) {
			aliases := got.Alerts[pager]
			all = append(all, CheckResult{CheckPager, Warned, fmt.Sprintf("%s is not among the pagers any more, and firstline cannot close what is open there: close it by hand when its instance is well, or add the pager again, last, until then: %s",
				Title(pager), incident.Clip(strings.Join(aliases, ", "), 500)), elapsed})
		}
	}
	return all
}

// heartbeat says whether a heartbeat was pinged in the last three runs of reconcile. It
// does not fail a deployment, which may be what mends it: reconcile has not run since.
func heartbeat(h policy.Heartbeat, now incident.Millis, every time.Duration) CheckResult {
	c := CheckResult{Check: CheckHeartbeat, Result: Passed}
	age := now.Sub(h.PingedAt)
	switch {
	case h == policy.Heartbeat{}:
		c.Result = Untried
	case h.PingedAt == 0, age > 3*every:
		c.Result = Failed
	case h.Failure != "":
		c.Result = Warned
	}
	c.Reason = "not pinged yet"
	if h.PingedAt > 0 {
		c.Reason = fmt.Sprintf("last pinged at %s, %s ago", h.PingedAt.Time().Format("2006-01-02 15:04 UTC"), incident.Span(age))
	}
	if h.Failure != "" {
		c.Reason += fmt.Sprintf("; not at %s, because %s", h.FailedAt.Time().Format("15:04 UTC"), h.Failure)
	} else if c.Result == Failed {
		c.Reason += ": reconcile does not end; see the function's log"
	}
	if c.Result != Passed {
		c.Reason += fmt.Sprintf(" (reconcile pings it every %s when it ends)", incident.Span(every))
	}
	return c
}

// reconcileEvery is how often reconcile runs, or the most that the settings allow where
// its rule cannot be read.
func (v *Verifier) reconcileEvery(ctx context.Context, r deployed.Region) time.Duration {
	asked, stop := context.WithTimeout(ctx, readTime)
	defer stop()
	minutes := incident.MaxReconcileMinutes
	if rule, err := v.read(r.Region).events.DescribeRule(asked, &eventbridge.DescribeRuleInput{Name: &r.ReconcileRuleName}); err == nil {
		_, _ = fmt.Sscanf(aws.ToString(rule.ScheduleExpression), "rate(%d minute", &minutes)
	}
	return time.Duration(minutes) * time.Minute
}
