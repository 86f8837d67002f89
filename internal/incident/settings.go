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
	ConfirmSeconds int `json:"confirm_seconds"`
}

// RebootSettings bound the reboots of one instance.
type RebootSettings struct {
	// CooldownSeconds is the least time between two reboots, at least the boot
	// window's.
	CooldownSeconds int `json:"cooldown_seconds"`
	// PerDay is the most reboots in 24 hours; 0 means never.
	PerDay int `json:"per_day"`
	// On is OnAnyCheck or OnUnreachable.
	On string `json:"on"`
	// DryRun: nothing is rebooted; the page says what would have been done.
	DryRun bool `json:"dry_run"`
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
	FirstLookSeconds int `json:"first_look_seconds"`
	// IntervalSeconds is the wait between two looks.
	IntervalSeconds int `json:"interval_seconds"`
	// WindowSeconds after the reboot, the machine must be well.
	WindowSeconds int `json:"window_seconds"`
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
	errs := []error{
		oneOf("url.scheme", s.URL.Scheme, SchemeHTTP, SchemeHTTPS),
		oneOf("url.address_family", s.URL.AddressFamily, FamilyIPv4, FamilyIPv6),
		// What acts on the target (PUT, PATCH, DELETE) is never sent.
		oneOf("url.method", s.URL.Method, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions),
		within("url.port", s.URL.Port, 0, 65_535),
		within("url.timeout_seconds", s.URL.TimeoutSeconds, 0.1, 30),
		within("url.attempts", s.URL.Attempts, 1, 10),
		within("url.interval_seconds", s.URL.IntervalSeconds, 0, 30),
		within("route53.quorum_percent", s.Route53.QuorumPercent, 0, 99),
		within("route53.attempts", s.Route53.Attempts, 1, 10),
		within("route53.interval_seconds", s.Route53.IntervalSeconds, 0, 30),
		oneOf("ssh.address_family", s.SSH.AddressFamily, FamilyIPv4, FamilyIPv6),
		within("ssh.port", s.SSH.Port, 1, 65_535),
		within("ssh.timeout_seconds", s.SSH.TimeoutSeconds, 0.1, 30),
		within("ssh.attempts", s.SSH.Attempts, 1, 10),
		within("ssh.interval_seconds", s.SSH.IntervalSeconds, 0, 30),
		within("confirm_seconds", s.ConfirmSeconds, 0, MaxConfirmSeconds),
		within("boot.window_seconds", s.Boot.WindowSeconds, 1, MaxWindowSeconds),
		within("boot.first_look_seconds", s.Boot.FirstLookSeconds, 1, s.Boot.WindowSeconds),
		within("boot.interval_seconds", s.Boot.IntervalSeconds, MinIntervalSeconds, MaxWindowSeconds),
		within("reboot.cooldown_seconds", s.Reboot.CooldownSeconds, s.Boot.WindowSeconds, MaxCooldownSeconds),
		within("reboot.per_day", s.Reboot.PerDay, 0, MaxPerDay),
		oneOf("reboot.on", s.Reboot.On, OnAnyCheck, OnUnreachable),
	}
	if !s.URL.Enabled && !s.SSH.Enabled && s.Route53.HealthCheckID == "" {
		errs = append(errs, errors.New("url.enabled, ssh.enabled, route53.health_check_id: every check is off, so nothing could ever fail; turn at least one on"))
	}
	return errors.Join(errs...)
}

func within[N int | float64](field string, got, lowest, highest N) error {
	if got < lowest || got > highest {
		return fmt.Errorf("%s: %v is out of range; use %v to %v", field, got, lowest, highest)
	}
	return nil
}

func oneOf(field, got string, want ...string) error {
	if !slices.Contains(want, got) {
		return fmt.Errorf("%s: %q is unknown; use one of %s", field, got, strings.Join(want, ", "))
	}
	return nil
}
