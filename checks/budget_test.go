package checks

import (
	"testing"
	"time"

	"firstline/internal/incident"
)

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
		{"url, secret", "url", with(func(s *incident.Settings) { s.URL.SecretHeaders = map[string]string{"Authorization": "/a"} }), (13 + 1 + 10 + 5 + 5 + 3 + 3) * time.Second},
		{"url, off", "url", new(incident.Settings), 0},
		{"ssh", "ssh", with(func(*incident.Settings) {}), (19 + 1 + 10 + 3) * time.Second},
		{"ssh, named", "ssh", with(func(s *incident.Settings) { s.SSH.Host = "a" }), (19 + 1 + 5 + 3) * time.Second},
		{"ssh, private", "ssh", with(func(s *incident.Settings) { s.SSH.Private = true }), (19 + 1 + 10) * time.Second},
		{"ssh, off", "ssh", new(incident.Settings), 0},
		{"route53", "route53", with(func(s *incident.Settings) { s.Route53.HealthCheckID = healthCheck }), (34 + 1) * time.Second},
		{"route53, skipped", "route53", with(func(*incident.Settings) {}), 0},
		{"unknown", "ping", with(func(*incident.Settings) {}), 0},
	} {
		if got := Budget(tc.settings, tc.check); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
