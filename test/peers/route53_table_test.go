package peers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"firstline/checks"
	"firstline/internal/incident"

	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"
)

// healthCheck is a health check as Route 53 has it: its configuration, and what its
// checkers report.
type healthCheck struct {
	config  types.HealthCheckConfig
	reports []string
	// age is how old the reports are.
	age time.Duration
	err error
}

const healthCheckID = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"

// Reports as checkers word them.
const (
	success      = "Success: HTTP Status Code 200, OK. Resolved IP: 203.0.113.7"
	successThere = "Success: HTTP Status Code 200, OK. Resolved IP: 198.51.100.4"
	timedOut     = "Failure: Connection timed out. The endpoint or the internet connection is down, or requests are being blocked by your firewall."
	status503    = "Failure: HTTP Status Code 503, Service Unavailable. Resolved IP: 203.0.113.7"
	status401    = "Failure: HTTP Status Code 401, Unauthorized. Resolved IP: 203.0.113.7"
	status429    = "Failure: HTTP Status Code 429, Too Many Requests. Resolved IP: 203.0.113.7"
	noSuchName   = "Failure: DNS resolution failed: Rcode NXDomain(3)"
	sslAlert     = "Failure: The endpoint's response was an SSL alert, handshake_failure."
	unreadable   = "The checker is being replaced."
	checkerPool  = 16
)

// checkers is a list of as many reports as there are checkers.
func checkers(n int, report, others string) (list []string) {
	for i := range checkerPool {
		if i < n {
			list = append(list, report)
		} else {
			list = append(list, others)
		}
	}
	return list
}

// ask makes the check.
func (h healthCheck) ask(ctx context.Context, _ *testing.T) incident.Finding {
	settings := incident.DefaultSettings()
	settings.Route53.HealthCheckID, settings.Route53.IntervalSeconds = healthCheckID, 0.01
	c := checks.Route53{Client: func() checks.HealthChecks { return h }, DescribeInstances: ec2s("203.0.113.7")}
	return c.Check(ctx, &incident.Incident{InstanceID: instance, Settings: &settings})
}

// GetHealthCheck is Route 53's.
func (h healthCheck) GetHealthCheck(context.Context, *route53.GetHealthCheckInput, ...func(*route53.Options)) (*route53.GetHealthCheckOutput, error) {
	if h.err != nil {
		return nil, h.err
	}
	return &route53.GetHealthCheckOutput{HealthCheck: &types.HealthCheck{Id: new(healthCheckID), HealthCheckConfig: &h.config}}, nil
}

// GetHealthCheckStatus is Route 53's.
func (h healthCheck) GetHealthCheckStatus(context.Context, *route53.GetHealthCheckStatusInput, ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error) {
	if h.err != nil {
		return nil, h.err
	}
	out := new(route53.GetHealthCheckStatusOutput)
	for n, report := range h.reports {
		out.HealthCheckObservations = append(out.HealthCheckObservations, types.HealthCheckObservation{
			IPAddress:    new(fmt.Sprintf("192.0.2.%d", n)),
			StatusReport: &types.StatusReport{Status: new(report), CheckedTime: new(time.Now().Add(-h.age))},
		})
	}
	return out, nil
}

// watches is the configuration of a health check of the instance.
func watches(change func(*types.HealthCheckConfig)) types.HealthCheckConfig {
	c := types.HealthCheckConfig{Type: types.HealthCheckTypeHttp, IPAddress: new("203.0.113.7"), Port: new(int32(80)), ResourcePath: new("/")}
	if change != nil {
		change(&c)
	}
	return c
}

func of(kind types.HealthCheckType) types.HealthCheckConfig {
	return types.HealthCheckConfig{Type: kind}
}

func r53(name string, h healthCheck, w wanted, says ...string) situation {
	if h.config.Type == "" {
		h.config = watches(nil)
	}
	return situation{name: name, check: incident.CheckRoute53, set: `"health_check_id":"` + healthCheckID + `"`, peer: func(*testing.T, *here) {}, ask: h.ask, want: w, says: says}
}

var route53Row = row{"Route 53 checks that are not what they seem", []situation{
	r53("well", healthCheck{reports: checkers(16, success, "")}, well53, "16 of 16"),
	r53("it fails", healthCheck{reports: checkers(16, timedOut, "")}, failed53, "0 of 16"),
	r53("4 of 16 reach it", healthCheck{reports: checkers(4, success, timedOut)}, well53, "4 of 16"),
	r53("3 of 16 reach it", healthCheck{reports: checkers(3, success, timedOut)}, well53, "3 of 16"),
	r53("2 of 16 reach it", healthCheck{reports: checkers(2, success, timedOut)}, failedHeard53, "2 of 16"),
	r53("its name does not resolve", healthCheck{reports: checkers(16, noSuchName, "")}, attentionUnheard53, "DNS resolution failed"),
	r53("its TLS is refused", healthCheck{reports: checkers(16, sslAlert, "")}, attentionUnheard53, "SSL alert"),
	r53("some reports cannot be read", healthCheck{reports: checkers(4, success, unreadable)}, well53, "4 of 4"),
	r53("status 503", healthCheck{reports: checkers(16, status503, "")}, failedHeard53),
	r53("status 401", healthCheck{reports: checkers(16, status401, "")}, attention53, "401"),
	r53("status 429", healthCheck{reports: checkers(16, status429, "")}, busy53, "429"),
	r53("reports that cannot be read", healthCheck{reports: checkers(16, unreadable, "")}, blind53),
	r53("old reports alone", healthCheck{reports: checkers(16, timedOut, ""), age: time.Hour}, blind53),
	r53("throttled", healthCheck{err: &smithy.GenericAPIError{Code: "Throttling", Message: "Rate exceeded"}}, blind53),
	r53("denied", healthCheck{err: &smithy.GenericAPIError{Code: "AccessDenied", Message: "no"}}, blind53),
	r53("no such health check", healthCheck{err: &smithy.GenericAPIError{Code: "NoSuchHealthCheck", Message: "none"}}, attentionUnheard53),
	r53("disabled", healthCheck{config: watches(func(c *types.HealthCheckConfig) { c.Disabled = new(true) })}, skipped53, "disabled"),
	r53("disabled, with reports of before", healthCheck{config: watches(func(c *types.HealthCheckConfig) { c.Disabled = new(true) }), reports: checkers(16, timedOut, "")}, skipped53, "disabled"),
	r53("calculated", healthCheck{config: of(types.HealthCheckTypeCalculated)}, skipped53, "calculated"),
	r53("of a CloudWatch alarm", healthCheck{config: of(types.HealthCheckTypeCloudwatchMetric)}, skipped53, "CloudWatch"),
	r53("of recovery control", healthCheck{config: of(types.HealthCheckTypeRecoveryControl)}, skipped53, "routing control"),
	r53("inverted, and it answers", healthCheck{config: watches(func(c *types.HealthCheckConfig) { c.Inverted = new(true) }), reports: checkers(16, success, "")}, skipped53, "inverted"),
	r53("inverted, and it is down", healthCheck{config: watches(func(c *types.HealthCheckConfig) { c.Inverted = new(true) }), reports: checkers(16, timedOut, "")}, skipped53, "inverted"),
	r53("for another address, which passes", healthCheck{config: watches(func(c *types.HealthCheckConfig) { c.IPAddress = new("198.51.100.4") }), reports: checkers(16, successThere, "")}, wellElsewhere53, "198.51.100.4"),
	r53("for another address, which fails", healthCheck{config: watches(func(c *types.HealthCheckConfig) { c.IPAddress = new("198.51.100.4") }), reports: checkers(16, timedOut, "")}, failedElsewhere53, "198.51.100.4"),
}}

// The wants of the Route 53 check. Beside it is the URL check, or nothing, or a URL
// check that fails the same way.

func well53(string) want {
	return want{outcome: incident.Passed, answered: true, then: [rests]string{nothing, nothing, nothing}}
}

func failed53(string) want {
	return want{outcome: incident.Failed, then: [rests]string{contradicted, reboot, reboot}}
}

func failedHeard53(string) want {
	return want{outcome: incident.Failed, answered: true, then: [rests]string{contradicted, reboot, reboot}}
}

func attention53(string) want {
	return want{outcome: incident.Unknown, kind: incident.Attention, answered: true, then: [rests]string{attends, attends, attends}}
}

func attentionUnheard53(string) want {
	w := attention53("")
	w.answered = false
	return w
}

func busy53(string) want {
	return want{outcome: incident.Unknown, kind: incident.Busy, answered: true, then: [rests]string{slack, isBusy, isBusy}}
}

func blind53(string) want {
	return want{outcome: incident.Unknown, kind: incident.Blind, then: [rests]string{slack, isBlind, isBlind}}
}

// skipped53: with nothing beside it, a look finds nothing.
func skipped53(string) want {
	return want{outcome: incident.Skipped, then: [rests]string{nothing, anything, anything}}
}

func wellElsewhere53(string) want {
	return want{outcome: incident.Passed, answered: true, elsewhere: true, then: [rests]string{nothing, attends, attends}}
}

func failedElsewhere53(string) want {
	return want{outcome: incident.Failed, elsewhere: true, then: [rests]string{anything, attends, attends}}
}
