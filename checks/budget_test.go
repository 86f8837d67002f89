package checks

import (
	"testing"
	"time"

	"firstline/internal/incident"
)

// slack is what a series takes beyond its attempts and pauses, on a machine with
// a fraction of a core.
const slack = time.Second

// budget is the longest that a check may take with these settings; 0 if it is
// off or unknown.
func budget(settings *incident.Settings, check string) time.Duration {
	if !settings.Enabled(check) {
		return 0
	}
	switch check {
	case incident.CheckURL:
		s := settings.URL
		longest := newSeries(s.Attempts, s.TimeoutSeconds, s.IntervalSeconds).budget() + networkAllowance(s.Address, s.Private)
		if len(s.SecretHeaders) > 0 {
			longest += secretAllowance
		}
		return longest
	case incident.CheckRoute53:
		s := settings.Route53
		return newSeries(s.Attempts, healthCheckAllowance.Seconds(), s.IntervalSeconds).budget()
	default:
		s := settings.SSH
		return newSeries(s.Attempts, s.TimeoutSeconds, s.IntervalSeconds).budget() + networkAllowance(s.Host, s.Private)
	}
}

// networkAllowance is for finding the target's address, or for comparing the
// one that the settings name, and for the proof of our own connectivity.
func networkAllowance(named string, private bool) time.Duration {
	allowance := lookupAllowance
	if named != "" {
		allowance = elsewhereAllowance
	}
	if !private {
		allowance += egressAllowance
	}
	return allowance
}

func (s series) budget() time.Duration {
	return time.Duration(s.attempts)*s.timeout + time.Duration(s.attempts-1)*s.interval + slack
}

func TestBudget(t *testing.T) {
	with := func(set func(*incident.Settings)) *incident.Settings {
		s := incident.DefaultSettings()
		set(&s)
		return &s
	}
	for _, tc := range []struct {
		name, check string
		settings    *incident.Settings
		want        time.Duration
	}{
		{"url", "url", with(func(*incident.Settings) {}), (13 + 1 + 10 + 3) * time.Second},
		{"url, private", "url", with(func(s *incident.Settings) { s.URL.Private = true }), (13 + 1 + 10) * time.Second},
		{"url, named", "url", with(func(s *incident.Settings) { s.URL.Address = "http://a/" }), (13 + 1 + 5 + 3) * time.Second},
		{"url, secret", "url", with(func(s *incident.Settings) { s.URL.SecretHeaders = map[string]string{"Authorization": "/a"} }), (13 + 1 + 10 + 5 + 3) * time.Second},
		{"url, off", "url", new(incident.Settings), 0},
		{"ssh", "ssh", with(func(*incident.Settings) {}), (25 + 1 + 10 + 3) * time.Second},
		{"ssh, named", "ssh", with(func(s *incident.Settings) { s.SSH.Host = "a" }), (25 + 1 + 5 + 3) * time.Second},
		{"ssh, private", "ssh", with(func(s *incident.Settings) { s.SSH.Private = true }), (25 + 1 + 10) * time.Second},
		{"ssh, off", "ssh", new(incident.Settings), 0},
		{"route53", "route53", with(func(s *incident.Settings) { s.Route53.HealthCheckID = healthCheck }), (34 + 1) * time.Second},
		{"route53, skipped", "route53", with(func(*incident.Settings) {}), 0},
		{"unknown", "ping", with(func(*incident.Settings) {}), 0},
	} {
		if got := budget(tc.settings, tc.check); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
