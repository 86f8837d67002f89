package checks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"

	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"
)

const healthCheck = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"

var time0 time.Time

func observations(checked time.Time, statuses ...string) []types.HealthCheckObservation {
	var list []types.HealthCheckObservation
	for _, s := range statuses {
		list = append(list, types.HealthCheckObservation{StatusReport: &types.StatusReport{Status: &s, CheckedTime: &checked}})
	}
	return list
}

func times(n int, s string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

func TestRoute53(t *testing.T) {
	const (
		success = "Success: HTTP Status Code 200, OK. Resolved IP: 203.0.113.7"
		failure = "Failure: The health checker could not establish a connection within the timeout limit."
	)
	status := func(code int) string {
		return fmt.Sprintf("Failure: HTTP Status Code %d, %s. Resolved IP: 203.0.113.7", code, http.StatusText(code))
	}
	reboot := time.Now().UTC().Add(-time.Minute).Truncate(time.Second)
	before, after := reboot.Add(-time.Second), reboot.Add(time.Second)
	old, almost := time.Now().Add(-freshReport-time.Second), time.Now().Add(-freshReport+30*time.Second)
	longAgo := old.Add(-time.Hour)
	mixed := func(checked time.Time, good, bad int) []types.HealthCheckObservation {
		return append(observations(checked, times(bad, failure)...), observations(checked, times(good, success)...)...)
	}
	join := func(a, b []types.HealthCheckObservation) []types.HealthCheckObservation { return append(a, b...) }
	for _, tc := range []struct {
		name         string
		observations []types.HealthCheckObservation
		quorum       int
		since        time.Time
		passed       bool
		attempts     int
		kind         incident.Kind
		words        string
	}{
		{"all succeed", mixed(before, 16, 0), 18, time0, true, 1, "", "Route 53 health check " + healthCheck + ": 16 of 16 checkers report success"},
		{"none succeeds", mixed(before, 0, 16), 18, time0, false, 3, "", "0 of 16 checkers report success, want more than 18 %; one says: Failure: The health checker could not"},
		{"exactly the quorum", mixed(before, 18, 82), 18, time0, false, 3, "", "18 of 100"},
		{"just above", mixed(before, 19, 81), 18, time0, true, 1, "", "19 of 100"},
		{"three of sixteen", mixed(before, 3, 13), 18, time0, true, 1, "", ""},
		{"two of sixteen", mixed(before, 2, 14), 18, time0, false, 3, "", ""},
		{"quorum 0 wants one", mixed(before, 0, 16), 0, time0, false, 3, "", ""},
		{"quorum 0 has one", mixed(before, 1, 15), 0, time0, true, 1, "", ""},
		{"small letters are no success", observations(before, "success: not as AWS writes it", failure), 18, time0, false, 3, "", "0 of 1"},
		{"no observations", nil, 18, time0, false, 0, incident.Blind, "no checker has reported"},
		{"observations without a report", []types.HealthCheckObservation{{}, {StatusReport: &types.StatusReport{}}}, 18, time0, false, 0, incident.Blind, "no checker has reported"},
		{"all before the reboot", mixed(before, 16, 0), 18, reboot, false, 0, incident.Blind, "no checker has reported since the reboot at " + reboot.Format(time.RFC3339)},
		{"at the moment of the reboot", mixed(reboot, 16, 0), 18, reboot, false, 0, incident.Blind, "no checker has reported since"},
		{"without a time", []types.HealthCheckObservation{{StatusReport: &types.StatusReport{Status: new(success)}}}, 18, reboot, false, 0, incident.Blind, "no checker has reported since"},
		{"all too old", mixed(old, 16, 0), 18, time0, false, 0, incident.Blind, "no checker has reported in the last 5 minutes"},
		{"all without a time", []types.HealthCheckObservation{{StatusReport: &types.StatusReport{Status: new(success)}}}, 18, time0, false, 0, incident.Blind, "no checker has reported in the last 5 minutes"},
		{"old failures do not count", join(mixed(old, 0, 14), mixed(almost, 2, 0)), 18, time0, true, 1, "", "2 of 2 checkers report success (14 have not looked in the last 5 minutes)"},
		{"old successes do not count", join(mixed(old, 14, 0), mixed(almost, 0, 2)), 18, time0, false, 3, "", "0 of 2"},
		{"after the reboot and too old", mixed(old, 16, 0), 18, longAgo, false, 0, incident.Blind, "no checker has reported in the last 5 minutes"},
		{"none at all since the reboot", nil, 18, reboot, false, 0, incident.Blind, "no checker has reported since"},
		{"only those after the reboot count", join(mixed(before, 0, 14), mixed(after, 2, 0)), 18, reboot, true, 1, "", "2 of 2 checkers report success (14 have not looked since the reboot at " + reboot.Format(time.RFC3339) + ")"},
		{"busy", observations(before, times(16, status(429))...), 18, time0, false, 3, incident.Busy, "0 of 16 checkers report success, want more than 18 %; one says: Failure: HTTP Status Code 429"},
		{"not there", observations(before, times(16, status(404))...), 18, time0, false, 3, incident.Attention, "one says: Failure: HTTP Status Code 404"},
		{"forbidden", observations(before, times(16, status(403))...), 18, time0, false, 3, incident.Attention, ""},
		{"server errors", observations(before, times(16, status(503))...), 18, time0, false, 3, "", "one says: Failure: HTTP Status Code 503"},
		{"another body than wanted", observations(before, times(16, status(200))...), 18, time0, false, 3, "", ""},
		{"some are rejected, most do not reach it", join(observations(before, times(2, status(429))...), mixed(before, 0, 14)), 18, time0, false, 3, "", "one says: Failure: The health checker"},
		{"enough are rejected", join(observations(before, times(3, status(429))...), mixed(before, 0, 13)), 18, time0, false, 3, incident.Busy, "one says: Failure: HTTP Status Code 429"},
		{"successes and rejected make the quorum", join(observations(before, status(404)), mixed(before, 2, 13)), 18, time0, false, 3, incident.Attention, "2 of 16"},
		{"more are busy than not there", join(observations(before, times(3, status(429))...), observations(before, times(2, status(404))...)), 18, time0, false, 3, incident.Busy, ""},
		{"unreadable ones do not count", join(observations(before, times(14, "Unbekannt")...), mixed(before, 1, 0)), 18, time0, true, 1, "", "1 of 1"},
		{"good ones before the reboot do not", join(mixed(before, 14, 0), mixed(after, 0, 2)), 18, reboot, false, 3, "", "0 of 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls := 0
			c := &Route53{GetHealthCheckStatus: func(_ context.Context, in *route53.GetHealthCheckStatusInput, _ ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error) {
				calls++
				if *in.HealthCheckId != healthCheck {
					t.Errorf("asked for %s", *in.HealthCheckId)
				}
				return &route53.GetHealthCheckStatusOutput{HealthCheckObservations: tc.observations}, nil
			}}
			s := incident.Route53Settings{HealthCheckID: healthCheck, QuorumPercent: tc.quorum, Attempts: 3}
			f := c.Check(t.Context(), s, tc.since)
			named := slices.ContainsFunc(tc.observations, func(o types.HealthCheckObservation) bool {
				return o.StatusReport != nil && o.StatusReport.Status != nil && strings.Contains(*o.StatusReport.Status, "HTTP Status Code") &&
					o.StatusReport.CheckedTime != nil && o.StatusReport.CheckedTime.After(tc.since) && time.Since(*o.StatusReport.CheckedTime) < freshReport
			})
			if f.Answered != named {
				t.Errorf("answered %t, want %t", f.Answered, named)
			}
			if tc.kind != "" {
				wantUnknown(t, f, tc.kind, tc.words)
				if tc.attempts != 0 && f.Attempts != tc.attempts {
					t.Errorf("%d attempts, want %d", f.Attempts, tc.attempts)
				}
				return
			}
			wantFinding(t, f, tc.passed, tc.attempts, tc.words)
			if calls != tc.attempts || f.Check != "route53" {
				t.Errorf("%d calls for %+v", calls, f)
			}
		})
	}
}

func TestRoute53Errors(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		kind incident.Kind
	}{
		{"unknown", &types.NoSuchHealthCheck{Message: new("No health check exists")}, incident.Attention},
		{"calculated", &types.InvalidInput{Message: new("not for calculated health checks")}, incident.Attention},
		{"throttled", &smithy.GenericAPIError{Code: "Throttling", Message: "Rate exceeded"}, incident.Blind},
		{"throttled, the other name", &types.ThrottlingException{Message: new("Rate exceeded")}, incident.Blind},
		{"denied", &smithy.GenericAPIError{Code: "AccessDenied"}, incident.Blind},
		{"no answer", errors.New("connection lost"), incident.Blind},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls := 0
			c := &Route53{GetHealthCheckStatus: func(context.Context, *route53.GetHealthCheckStatusInput, ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error) {
				calls++
				return nil, tc.err
			}}
			f := c.Check(t.Context(), incident.Route53Settings{HealthCheckID: healthCheck, QuorumPercent: 18, Attempts: 3}, time0)
			wantUnknown(t, f, tc.kind, healthCheck)
			if calls != 1 {
				t.Errorf("%d calls, want 1: the API allows five a second", calls)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &Route53{GetHealthCheckStatus: func(ctx context.Context, _ *route53.GetHealthCheckStatusInput, _ ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			start := time.Now()
			f := c.Check(t.Context(), incident.Route53Settings{HealthCheckID: healthCheck, Attempts: 3}, time0)
			wantUnknown(t, f, incident.Blind)
			if took := time.Since(start); took != healthCheckAllowance {
				t.Errorf("took %v, want %v", took, healthCheckAllowance)
			}
		})
	})
	t.Run("too little time", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := &Route53{GetHealthCheckStatus: func(context.Context, *route53.GetHealthCheckStatusInput, ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error) {
			t.Error("asked without time to hear the answer")
			return nil, errors.New("unexpected")
		}}
		f := c.Check(ctx, incident.Route53Settings{HealthCheckID: healthCheck, Attempts: 3}, time0)
		wantUnknown(t, f, incident.Blind, "our own time is up")
	})
}
