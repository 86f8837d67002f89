package probe

import (
	"context"
	"time"

	"firstline/internal/coverage"
	"firstline/internal/deployed"
)

// CheckAlarm is whether an instance's alarms can fire.
const CheckAlarm = "alarm"

// Coverage has the deployed function of a region compare what is watched with what is.
func (v *Verifier) Coverage(ctx context.Context, r deployed.Region) ([]coverage.Finding, error) {
	got, err := answer[coverage.Comparison](ctx, v.client(r.Region), r, "findings", map[string]any{"step": "coverage"})
	if err != nil {
		return nil, err
	}
	got.Lack(r.AlarmNames)
	return got.Findings, nil
}

// alarms adds to each instance whether its alarms can fire. When the function cannot
// tell, it returns why.
func (v *Verifier) alarms(ctx context.Context, r deployed.Region, all []InstanceResult) (_ CheckResult, unknown bool) {
	start := time.Now()
	findings, err := v.Coverage(ctx, r)
	elapsed := time.Since(start).Milliseconds()
	for n := range all {
		c := CheckResult{Check: CheckAlarm, Result: Skipped, Reason: "not tried"}
		if err == nil {
			c = alarmResult(all[n].ID, findings)
		}
		c.ElapsedMs = elapsed
		all[n].Checks = append(all[n].Checks, c)
	}
	if err == nil || ctx.Err() != nil || len(all) == 0 {
		return CheckResult{}, false
	}
	return CheckResult{Check: CheckAlarm, Result: Errored, Reason: "cannot compare what is watched with what is: " + err.Error(), ElapsedMs: elapsed}, true
}

// alarmResult is what findings mean for one instance. Of its health check the check of
// Route 53 tells.
func alarmResult(id string, findings []coverage.Finding) CheckResult {
	c := CheckResult{Check: CheckAlarm, Result: Passed, Reason: "nothing keeps its alarms from firing"}
	for _, f := range findings {
		if f.InstanceID != id || f.Kind == coverage.HealthCheck {
			continue
		}
		if c.Result == Passed {
			c.Result, c.Reason = Warned, ""
		} else {
			c.Reason += "; "
		}
		if !f.Warning {
			c.Result = Errored
		}
		c.Reason += f.What + ": " + f.Do
	}
	return c
}
