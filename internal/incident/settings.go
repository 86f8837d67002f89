package incident

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

// UnsetSecret is what Terraform writes into a secret's parameter when it is given no
// value (terraform/modules/function): it counts as missing.
const UnsetSecret = "unset"

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
	MinIntervalSeconds  = 10
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
		Route53:        Route53Settings{QuorumPercent: 18, Attempts: 3, IntervalSeconds: 2},
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

// ParseSettings decodes settings as Terraform writes them, over the defaults. It
// refuses unknown fields; Terraform has checked the values.
func ParseSettings(data []byte) (*Settings, error) {
	s := new(DefaultSettings())
	if err := DecodeStrict(data, s); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return s, nil
}
