package incident

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Settings are one instance's settings, as Terraform writes them to SSM.
type Settings struct {
	URL     URLSettings     `json:"url"`
	Route53 Route53Settings `json:"route53"`
	SSH     SSHSettings     `json:"ssh"`
	Boot    Boot            `json:"boot"`
	Reboot  RebootSettings  `json:"reboot"`
	// ConfirmSeconds is how long a verdict must hold before a reboot or a page;
	// 0 acts on the first look.
	ConfirmSeconds int `json:"confirmSeconds"`
}

// RebootSettings bound the reboots of one instance.
type RebootSettings struct {
	// CooldownSeconds is the least time between two reboots, at least the boot
	// window's.
	CooldownSeconds int `json:"cooldownSeconds"`
	// PerDay is the most reboots in 24 hours; 0 means never.
	PerDay int `json:"perDay"`
	// On is OnAnyCheck or OnUnreachable.
	On string `json:"on"`
	// DryRun: nothing is rebooted; the page says what would have been done.
	DryRun bool `json:"dryRun"`
}

// What leads to a reboot.
const (
	// OnAnyCheck: one failed check is enough.
	OnAnyCheck = "any_check"
	// OnUnreachable: only when no check got an answer.
	OnUnreachable = "unreachable"
)

// Boot is the boot window, in seconds.
type Boot struct {
	// FirstLookSeconds is the wait between the reboot and the first look.
	FirstLookSeconds int `json:"firstLookSeconds"`
	// IntervalSeconds is the wait between two looks.
	IntervalSeconds int `json:"intervalSeconds"`
	// WindowSeconds after the reboot, the machine must be well.
	WindowSeconds int `json:"windowSeconds"`
}

// Breaker bounds the reboots of one region. 0 means never reboot.
type Breaker struct {
	// InFlight is how many reboots may be in flight at once.
	InFlight int `json:"in_flight"`
	// PerHour is how many reboots may be made within an hour.
	PerHour int `json:"per_hour"`
}

// Bounds of the settings.
const (
	MaxWindowSeconds    = 3600
	MinIntervalSeconds  = 10
	MaxCooldownSeconds  = 86_400
	MaxPerDay           = 24
	MaxConfirmSeconds   = 600
	MaxReconcileMinutes = 10
	// MaxLooks ends an execution. A history holds 25,000 events
	// (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)
	// and a look costs 24: 200 looks leave room for every retry.
	MaxLooks = 200
	// MaxWaitSeconds bounds one wait of the state machine.
	MaxWaitSeconds = 3600
)

// DefaultSettings returns what an instance gets of which nothing is said.
func DefaultSettings() Settings {
	return Settings{
		URL:            DefaultURLSettings(),
		Route53:        DefaultRoute53Settings(),
		SSH:            DefaultSSHSettings(),
		Boot:           Boot{FirstLookSeconds: 60, IntervalSeconds: 20, WindowSeconds: 600},
		Reboot:         RebootSettings{CooldownSeconds: 6 * 3600, PerDay: 2, On: OnAnyCheck},
		ConfirmSeconds: 120,
	}
}

// Enabled reports whether a check is on.
func (s *Settings) Enabled(check string) bool {
	switch check {
	case CheckURL:
		return s.URL.Enabled
	case CheckRoute53:
		return s.Route53.HealthCheckID != ""
	case CheckSSH:
		return s.SSH.Enabled
	}
	return false
}

// Fingerprint identifies the settings of one check, defaults included: a pass
// with other settings proves nothing about these. It is "" for an unknown name.
func (s *Settings) Fingerprint(check string) string {
	var section any
	switch check {
	case CheckURL:
		section = s.URL
	case CheckRoute53:
		section = s.Route53
	case CheckSSH:
		section = s.SSH
	default:
		return ""
	}
	raw, err := json.Marshal(section)
	if err != nil {
		return "" // texts, numbers and maps of texts only: it cannot be
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

// Validate returns what nothing could work with: a value out of range or an
// unknown word, with its field and what would be right. All other rules are in
// Terraform's modules/settings, which has refused what breaks them; what was
// changed by hand since then is a finding of the check. The errors are plain: the
// caller gives them a kind.
func (s *Settings) Validate() error {
	var errs []error
	bound := func(field string, got, lowest, highest int) {
		if got < lowest || got > highest {
			errs = append(errs, fmt.Errorf("%s: %d is out of range; use %d to %d", field, got, lowest, highest))
		}
	}
	choice := func(field, got string, want ...string) {
		if !slices.Contains(want, got) {
			errs = append(errs, fmt.Errorf("%s: %q is unknown; use one of %s", field, got, strings.Join(want, ", ")))
		}
	}
	series := func(section string, attempts, intervalMs int) {
		bound(section+".attempts", attempts, 1, 10)
		bound(section+".intervalMs", intervalMs, 0, 30_000)
	}
	if !s.URL.Enabled && !s.SSH.Enabled && s.Route53.HealthCheckID == "" {
		errs = append(errs, errors.New("url.enabled, ssh.enabled, route53.healthCheckId: every check is off, so nothing could ever fail; turn at least one on"))
	}
	choice("url.scheme", s.URL.Scheme, SchemeHTTP, SchemeHTTPS)
	choice("url.addressFamily", s.URL.AddressFamily, FamilyIPv4, FamilyIPv6)
	// What acts on the target (PUT, PATCH, DELETE) is never sent.
	choice("url.method", s.URL.Method, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions)
	bound("url.port", s.URL.Port, 0, 65_535)
	bound("url.timeoutMs", s.URL.TimeoutMs, 100, 30_000)
	series("url", s.URL.Attempts, s.URL.IntervalMs)
	bound("route53.quorumPercent", s.Route53.QuorumPercent, 0, 99)
	series("route53", s.Route53.Attempts, s.Route53.IntervalMs)
	choice("ssh.addressFamily", s.SSH.AddressFamily, FamilyIPv4, FamilyIPv6)
	bound("ssh.port", s.SSH.Port, 1, 65_535)
	bound("ssh.timeoutMs", s.SSH.TimeoutMs, 100, 30_000)
	series("ssh", s.SSH.Attempts, s.SSH.IntervalMs)
	bound("confirmSeconds", s.ConfirmSeconds, 0, MaxConfirmSeconds)
	bound("boot.windowSeconds", s.Boot.WindowSeconds, 1, MaxWindowSeconds)
	bound("boot.firstLookSeconds", s.Boot.FirstLookSeconds, 1, s.Boot.WindowSeconds)
	bound("boot.intervalSeconds", s.Boot.IntervalSeconds, MinIntervalSeconds, MaxWindowSeconds)
	bound("reboot.cooldownSeconds", s.Reboot.CooldownSeconds, s.Boot.WindowSeconds, MaxCooldownSeconds)
	bound("reboot.perDay", s.Reboot.PerDay, 0, MaxPerDay)
	choice("reboot.on", s.Reboot.On, OnAnyCheck, OnUnreachable)
	return errors.Join(errs...)
}
