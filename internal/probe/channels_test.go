package probe

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

func TestVerifyChannels(t *testing.T) {
	now := incident.At(time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC))
	const (
		every = " (reconcile pings it every 5 min when it ends)"
		left  = "OpsGenie is not among the pagers any more, and firstline cannot close what is open there: close it by hand when its instance is well, or add the pager again, last, until then: a, b"
	)
	ago := func(minutes time.Duration, failure string) *policy.Heartbeat {
		return &policy.Heartbeat{PingedAt: now.Add(-minutes * time.Minute), Failure: failure, FailedAt: now.Add(-4 * time.Minute)}
	}
	for _, tt := range []struct {
		name      string
		heartbeat *policy.Heartbeat
		alerts    map[string][]string
		denied    string
		err       any
		want      []CheckResult
	}{
		{name: "none"},
		{"just set", &policy.Heartbeat{}, nil, "", nil, []CheckResult{{Check: "heartbeat", Result: Untried, Reason: "not pinged yet" + every}}},
		{"pinged", ago(15, ""), nil, "", nil, []CheckResult{{Check: "heartbeat", Result: Passed, Reason: "last pinged at 2026-12-01 02:45 UTC, 15 min ago"}}},
		{"long ago", ago(16, ""), nil, "", nil, []CheckResult{{Check: "heartbeat", Result: Failed, Reason: "last pinged at 2026-12-01 02:44 UTC, 16 min ago: reconcile does not end; see the function's log" + every}}},
		{"its rule cannot be read", ago(16, ""), nil, "DescribeRule", nil, []CheckResult{{Check: "heartbeat", Result: Passed, Reason: "last pinged at 2026-12-01 02:44 UTC, 16 min ago"}}},
		{"not the last time", ago(9, "HTTP 503"), nil, "", nil, []CheckResult{{Check: "heartbeat", Result: Warned, Reason: "last pinged at 2026-12-01 02:51 UTC, 9 min ago; not at 02:56 UTC, because HTTP 503" + every}}},
		{"never", &policy.Heartbeat{Failure: "HTTP 401", FailedAt: now}, nil, "", nil, []CheckResult{{Check: "heartbeat", Result: Failed, Reason: "not pinged yet; not at 03:00 UTC, because HTTP 401" + every}}},
		{"alerts that are left", nil, map[string][]string{"opsgenie": {"a", "b"}, "jsm": {"c"}, "slack": {"d"}}, "", nil, []CheckResult{{Check: "pager", Result: Warned, Reason: left}}},
		{"not known", nil, nil, "", functionError{"InvalidInput", "step: unknown"}, []CheckResult{{Check: "heartbeat", Result: Warned, Reason: "cannot tell whether a heartbeat is pinged, and where alerts are open: InvalidInput: step: unknown"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := verifier(func(ctx context.Context, c call) (any, error) {
					switch {
					case c.Step != "channels":
						return healthy(ctx, c)
					case tt.err != nil:
						return tt.err, nil
					}
					return map[string]any{"at": now, "heartbeat": tt.heartbeat, "alerts": tt.alerts, "later": "more"}, nil
				})
				v.read = account{denied: tt.denied}.in
				r := ireland()
				r.Pagers, r.ReconcileRuleName = []string{"pagerduty", "jsm"}, "firstline-reconcile"
				got := v.Verify(t.Context(), r, nil).Deployment[3:]
				if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(CheckResult{}, "ElapsedMs"), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}
