package incident

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettingsValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Settings)
		want []string
	}{
		{"the defaults", func(*Settings) {}, nil},
		{"the highest", func(s *Settings) {
			s.ConfirmSeconds, s.Boot.WindowSeconds, s.Boot.FirstLookSeconds, s.Reboot.CooldownSeconds = 600, 3600, 3600, 86_400
			s.URL.Attempts, s.URL.IntervalSeconds, s.URL.TimeoutSeconds, s.URL.Port = 10, 30, 30, 65_535
		}, nil},
		{"the lowest", func(s *Settings) {
			s.ConfirmSeconds, s.Boot.IntervalSeconds, s.Reboot.PerDay, s.Reboot.CooldownSeconds = 0, 10, 0, 600
			s.SSH.Attempts, s.SSH.IntervalSeconds, s.SSH.TimeoutSeconds, s.Route53.QuorumPercent = 1, 0, 0.1, 0
		}, nil},
		{"every check is off", func(s *Settings) { s.URL.Enabled, s.SSH.Enabled = false, false }, []string{
			"url.enabled, ssh.enabled, route53.health_check_id: every check is off, so nothing could ever fail; turn at least one on",
		}},
		{"words", func(s *Settings) {
			s.URL.Scheme, s.URL.AddressFamily, s.URL.Method, s.SSH.AddressFamily, s.Reboot.On = "ftp", "", "DELETE", "inet", "always"
		}, []string{
			`url.scheme: "ftp" is unknown; use one of http, https`,
			`url.address_family: "" is unknown; use one of ipv4, ipv6`,
			`url.method: "DELETE" is unknown; use one of GET, HEAD, POST, OPTIONS`,
			`ssh.address_family: "inet" is unknown; use one of ipv4, ipv6`,
			`reboot.on: "always" is unknown; use one of any_check, unreachable`,
		}},
		{"too small", func(s *Settings) {
			s.URL.Port, s.URL.TimeoutSeconds, s.URL.Attempts, s.URL.IntervalSeconds = -1, 0.09, 0, -1
			s.SSH.Port, s.Boot.IntervalSeconds, s.Reboot.CooldownSeconds = 0, 9, 599
		}, []string{
			"url.port: -1 is out of range; use 0 to 65535",
			"url.timeout_seconds: 0.09 is out of range; use 0.1 to 30",
			"url.attempts: 0 is out of range; use 1 to 10",
			"url.interval_seconds: -1 is out of range; use 0 to 30",
			"ssh.port: 0 is out of range; use 1 to 65535",
			"boot.interval_seconds: 9 is out of range; use 10 to 3600",
			"reboot.cooldown_seconds: 599 is out of range; use 600 to 86400",
		}},
		{"too large", func(s *Settings) {
			s.Route53.QuorumPercent, s.Route53.Attempts, s.ConfirmSeconds, s.Boot.FirstLookSeconds, s.Reboot.PerDay = 100, 11, 601, 601, 25
		}, []string{
			"route53.quorum_percent: 100 is out of range; use 0 to 99",
			"route53.attempts: 11 is out of range; use 1 to 10",
			"confirm_seconds: 601 is out of range; use 0 to 600",
			"boot.first_look_seconds: 601 is out of range; use 1 to 600",
			"reboot.per_day: 25 is out of range; use 0 to 24",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := DefaultSettings()
			tt.set(&s)
			var got []string
			if err := s.Validate(); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
