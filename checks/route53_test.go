package checks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
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

// health is a Route 53 that knows one health check.
type health struct {
	config                 *types.HealthCheckConfig
	configErr, statusErr   error
	observations           []types.HealthCheckObservation
	asksConfig, asksStatus int
	// hangs: it takes the request and does not answer.
	hangs bool
}

func (h *health) GetHealthCheck(ctx context.Context, in *route53.GetHealthCheckInput, _ ...func(*route53.Options)) (*route53.GetHealthCheckOutput, error) {
	h.asksConfig++
	if h.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if h.configErr != nil || *in.HealthCheckId != healthCheck {
		return nil, cmp.Or(h.configErr, errors.New("asked for "+*in.HealthCheckId))
	}
	return &route53.GetHealthCheckOutput{HealthCheck: &types.HealthCheck{HealthCheckConfig: h.config}}, nil
}

func (h *health) GetHealthCheckStatus(ctx context.Context, in *route53.GetHealthCheckStatusInput, _ ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error) {
	h.asksStatus++
	if h.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if h.statusErr != nil || *in.HealthCheckId != healthCheck {
		return nil, cmp.Or(h.statusErr, errors.New("asked for "+*in.HealthCheckId))
	}
	return &route53.GetHealthCheckStatusOutput{HealthCheckObservations: h.observations}, nil
}

// check makes the check of an instance whose address is 203.0.113.7.
func (h *health) check() *Route53 {
	return &Route53{
		Client: func() HealthChecks { return h },
		DescribeInstances: func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
			i := ec2types.Instance{PublicIpAddress: new("203.0.113.7"), State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}}
			return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: []ec2types.Instance{i}}}}, nil
		},
		lookup: func(_ context.Context, network, host string) ([]netip.Addr, error) {
			addr, ok := map[string]string{"www.example.com": "203.0.113.7", "elsewhere.example.com": "198.51.100.4"}[host]
			if network != "ip4" || !ok {
				return nil, &net.DNSError{Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("::ffff:" + addr)}, nil
		},
	}
}

// endpoint is the configuration of a health check of an address.
func endpoint(address string) *types.HealthCheckConfig {
	return &types.HealthCheckConfig{Type: types.HealthCheckTypeHttp, IPAddress: &address}
}

// incidentOf is an incident of an instance with a health check, rebooted at since.
func incidentOf(quorum int, since time.Time) *incident.Incident {
	s := incident.DefaultSettings()
	s.Route53 = incident.Route53Settings{HealthCheckID: healthCheck, QuorumPercent: quorum, Attempts: 3}
	s.Boot.WindowSeconds = 0
	return &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75", Settings: &s, RebootedAt: incident.At(since)}
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
		{"its name does not resolve", observations(before, times(16, "Failure: DNS resolution failed: DNS response error code NXDOMAIN")...), 18, time0, false, 3, incident.Attention, "one says: Failure: DNS resolution failed"},
		{"it wants a server name", observations(before, times(16, "Failure: SSL alert handshake_failure")...), 18, time0, false, 3, incident.Attention, ""},
		{"unreadable ones do not count", join(observations(before, times(14, "Unbekannt")...), mixed(before, 1, 0)), 18, time0, true, 1, "", "1 of 1"},
		{"good ones before the reboot do not", join(mixed(before, 14, 0), mixed(after, 0, 2)), 18, reboot, false, 3, "", "0 of 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := &health{config: endpoint("203.0.113.7"), observations: tc.observations}
			f := h.check().Check(t.Context(), incidentOf(tc.quorum, tc.since))
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
			if h.asksStatus != tc.attempts || h.asksConfig != 1 || f.Check != "route53" || f.Elsewhere {
				t.Errorf("%+v for %+v", h, f)
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
			for _, h := range []*health{{config: endpoint("203.0.113.7"), statusErr: tc.err}, {configErr: tc.err, statusErr: tc.err}} {
				f := h.check().Check(t.Context(), incidentOf(18, time0))
				wantUnknown(t, f, tc.kind, healthCheck)
				if h.configErr != nil && tc.kind == incident.Attention && !strings.HasSuffix(f.Reason, ": correct route53.health_check_id") {
					t.Errorf("%q does not say what to do", f.Reason)
				}
				if h.asksConfig != 1 || h.asksStatus > 1 {
					t.Errorf("%+v: the API allows five a second", h)
				}
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			f := (&health{hangs: true}).check().Check(t.Context(), incidentOf(18, time0))
			wantUnknown(t, f, incident.Blind)
			if took := time.Since(start); took != healthCheckAllowance {
				t.Errorf("took %v, want %v", took, healthCheckAllowance)
			}
		})
	})
	t.Run("too little time", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h := &health{}
		wantUnknown(t, h.check().Check(ctx, incidentOf(18, time0)), incident.Blind, "our own time is up")
		if h.asksConfig+h.asksStatus > 0 {
			t.Error("asked without time to hear the answer")
		}
	})
}

const (
	reaches = "Success: HTTP Status Code 200, OK"
	misses  = "Failure: Connection timed out. The endpoint or the internet connection is down, or requests are being blocked by your firewall."
)

// What a health check is decides whether its reports are about the instance.
func TestRoute53Configuration(t *testing.T) {
	with := func(set func(*types.HealthCheckConfig)) *types.HealthCheckConfig {
		c := endpoint("203.0.113.7")
		set(c)
		return c
	}
	named := func(host string) *types.HealthCheckConfig {
		return &types.HealthCheckConfig{Type: types.HealthCheckTypeHttps, FullyQualifiedDomainName: &host}
	}
	of := func(kind types.HealthCheckType) *types.HealthCheckConfig { return &types.HealthCheckConfig{Type: kind} }
	resolved := ". Resolved IP: 198.51.100.4"
	for _, tc := range []struct {
		name      string
		config    *types.HealthCheckConfig
		report    string
		outcome   incident.Outcome
		elsewhere bool
		words     string
	}{
		{"disabled", with(func(c *types.HealthCheckConfig) { c.Disabled = new(true) }), reaches, incident.Skipped, false, "skipped: it is disabled"},
		{"inverted, and reached", with(func(c *types.HealthCheckConfig) { c.Inverted = new(true) }), reaches, incident.Skipped, false, "skipped: it is inverted"},
		{"inverted, and not reached", with(func(c *types.HealthCheckConfig) { c.Inverted = new(true) }), misses, incident.Skipped, false, "skipped: it is inverted"},
		{"neither", with(func(c *types.HealthCheckConfig) { c.Inverted, c.Disabled = new(false), new(false) }), misses, incident.Failed, false, "0 of 16"},
		{"calculated", of(types.HealthCheckTypeCalculated), misses, incident.Skipped, false, "calculated from other health checks"},
		{"of a CloudWatch alarm", of(types.HealthCheckTypeCloudwatchMetric), misses, incident.Skipped, false, "follows a CloudWatch alarm"},
		{"of a routing control", of(types.HealthCheckTypeRecoveryControl), misses, incident.Skipped, false, "follows a routing control"},
		{"of a new type", of("GRPC"), misses, incident.Skipped, false, `its type "GRPC" is not known`},
		{"a name that leads to the instance", named("www.example.com"), misses, incident.Failed, false, ""},
		{"a name that leads to another machine", named("elsewhere.example.com"), reaches, incident.Passed, true, "(answered by 198.51.100.4, which is not the instance)"},
		{"a name that does not resolve", named("gone.example.com"), misses, incident.Failed, false, ""},
		{"another address", endpoint("198.51.100.4"), misses, incident.Failed, true, "(asked 198.51.100.4, which is not the instance)"},
		{"a name that leads the checkers to another machine", named("www.example.com"), reaches + resolved, incident.Passed, true, "(answered by 198.51.100.4, which is not the instance)"},
		{"a name that leads the checkers to the instance", named("elsewhere.example.com"), reaches + ". Resolved IP: 203.0.113.7.", incident.Passed, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := &health{config: tc.config, observations: observations(time.Now(), times(16, tc.report)...)}
			inc := incidentOf(18, time0)
			f := h.check().Check(t.Context(), inc)
			if f.Outcome != tc.outcome || f.Elsewhere != tc.elsewhere || !strings.Contains(f.Reason, tc.words) {
				t.Errorf("got %+v", f)
			}
			if isUsable := tc.outcome != incident.Skipped; isUsable != (inc.HealthCheck != nil) || isUsable != (h.asksStatus > 0) {
				t.Errorf("remembered %+v, asked %+v", inc.HealthCheck, h)
			}
			if tc.outcome != incident.Skipped {
				return
			}
			inc.Settings.URL.Enabled, inc.Settings.SSH.Enabled = false, false
			wantUnknown(t, h.check().Check(t.Context(), inc), incident.Attention, "the instance has no other check")
		})
	}
	t.Run("the load balancer in front of the instance", func(t *testing.T) {
		h := &health{config: named("Elsewhere.example.com"), observations: observations(time.Now(), reaches+resolved)}
		inc := incidentOf(18, time0)
		inc.Settings.URL.Address, inc.Settings.URL.LoadBalancer = "https://elsewhere.example.com/healthz", true
		if f := h.check().Check(t.Context(), inc); f.Elsewhere || f.Outcome != incident.Passed || !f.Answered {
			t.Errorf("got %+v", f)
		}
		h.observations = observations(time.Now(), "Failure: HTTP Status Code 502, Bad Gateway"+resolved)
		if f := h.check().Check(t.Context(), inc); f.Elsewhere || f.Outcome != incident.Failed || f.Answered {
			t.Errorf("got %+v", f)
		}
	})
}

// The configuration is read once a day, and again when it may have changed; that it
// cannot be read keeps nobody from reading the reports.
func TestRoute53RemembersTheConfiguration(t *testing.T) {
	lately := func(age time.Duration) *incident.HealthCheck {
		return &incident.HealthCheck{ID: healthCheck, Address: "203.0.113.7", ReadAt: incident.At(time.Now().Add(-age))}
	}
	down := errors.New("connection lost")
	for _, tc := range []struct {
		name       string
		remembered *incident.HealthCheck
		err        error
		reports    []string
		asks       int
		knows      bool
		want       incident.Outcome
	}{
		{"nothing is known", nil, nil, times(16, misses), 1, true, incident.Failed},
		{"it is known", lately(23 * time.Hour), nil, times(16, misses), 0, true, incident.Failed},
		{"it is a day old", lately(24 * time.Hour), nil, times(16, misses), 1, true, incident.Failed},
		{"it is a day old and cannot be read", lately(24 * time.Hour), down, times(16, misses), 1, true, incident.Failed},
		{"it is another one's", &incident.HealthCheck{ID: "other", ReadAt: incident.At(time.Now())}, nil, times(16, misses), 1, true, incident.Failed},
		{"nobody has reported", lately(time.Hour), nil, nil, 0, false, incident.Unknown},
		{"nobody has reported, just read", lately(time.Minute), nil, nil, 0, true, incident.Unknown},
		{"it cannot be read, and it is reached", nil, down, times(16, reaches), 1, false, incident.Passed},
		{"it cannot be read, and it is not reached", nil, down, times(16, misses), 1, false, incident.Unknown},
		{"it cannot be read, and the instance is not reached", nil, down, times(16, misses+" Resolved IP: 203.0.113.7"), 1, false, incident.Failed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := &health{config: endpoint("203.0.113.7"), configErr: tc.err, observations: observations(time.Now(), tc.reports...)}
			inc := incidentOf(18, time0)
			inc.Settings.Route53.Attempts = 1
			inc.HealthCheck = tc.remembered
			f := h.check().Check(t.Context(), inc)
			if f.Outcome != tc.want || h.asksConfig != tc.asks || (inc.HealthCheck != nil) != tc.knows || inc.HealthCheck != nil && inc.HealthCheck.ID != healthCheck {
				t.Errorf("got %+v, asked %+v, remembered %+v", f, h, inc.HealthCheck)
			}
			if tc.want == incident.Unknown {
				wantUnknown(t, f, incident.Blind)
			}
		})
	}
}

// While the instance boots the next look comes soon.
func TestRoute53IsAskedOncePerLookWhileItBoots(t *testing.T) {
	for window, want := range map[int]int{600: 1, 60: 3} {
		h := &health{config: endpoint("203.0.113.7"), observations: observations(time.Now(), times(16, misses)...)}
		inc := incidentOf(18, time.Now().Add(-time.Minute))
		inc.Settings.Boot.WindowSeconds = window
		if f := h.check().Check(t.Context(), inc); f.Outcome != incident.Failed || h.asksStatus != want {
			t.Errorf("window of %d s: asked %d times, want %d: %+v", window, h.asksStatus, want, f)
		}
	}
}
