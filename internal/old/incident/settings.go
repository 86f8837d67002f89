package incident

import (
	"errors"
	"fmt"
	"time"

	"firstline/internal/old/checks"
)

// Bounds of the boot window. A history holds 25,000 events
// (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)
// and a look costs about 30: 200 looks leave room for every retry.
const (
	MaxWindowSeconds = 3600
	MaxLooks         = 200
)

// Bounds of the reboots' settings. The table keeps an instance's reboots for a
// day; a fresh event must survive EventBridge's retries of a minute or so.
const (
	MaxCoolDownSeconds = 86_400
	MaxPerDay          = 24
	MinFreshSeconds    = 60
	MaxFreshSeconds    = 86_400
)

// DefaultSettings returns what an instance gets of which nothing is said.
func DefaultSettings() Settings {
	return Settings{
		URL:     checks.DefaultURLSettings(),
		Route53: checks.DefaultRoute53Settings(),
		SSH:     checks.DefaultSSHSettings(),
		Boot:    Boot{FirstLookSeconds: 60, IntervalSeconds: 20, WindowSeconds: 600},
		Reboot:  RebootSettings{CoolDownSeconds: 1800, PerDay: 2, FreshSeconds: 900},
	}
}

// Validate returns all that is wrong with the settings, each with the field
// and what would be right. The errors are plain: the caller gives them a kind.
func (s *Settings) Validate() error {
	errs := []error{s.URL.Validate(), s.Route53.Validate(), s.SSH.Validate(), s.Boot.validate(), s.Reboot.validate(s.Boot)}
	if !s.URL.Enabled && !s.SSH.Enabled && s.Route53.HealthCheckID == "" {
		errs = append(errs, errors.New("url.enabled, ssh.enabled, route53.healthCheckId: every check is off, so nothing could ever fail; turn at least one on"))
	}
	return errors.Join(errs...)
}

// CheckBudget returns an error when a check may take longer than the given
// time, which is what the function has for one step.
func (s *Settings) CheckBudget(have time.Duration) error {
	var errs []error
	for _, c := range []struct {
		name string
		need time.Duration
	}{{checks.NameURL, s.URL.Budget()}, {checks.NameRoute53, s.Route53.Budget()}, {checks.NameSSH, s.SSH.Budget()}} {
		if c.need > have {
			errs = append(errs, fmt.Errorf("%s: its attempts may take %s, the function has %s; lower attempts, time-out or interval, or raise the function's time-out", c.name, c.need, have.Round(time.Second)))
		}
	}
	return errors.Join(errs...)
}

func (b Boot) validate() error {
	var errs []error
	bound := func(field string, got, lowest, highest int) {
		if got < lowest || got > highest {
			errs = append(errs, fmt.Errorf("boot.%s: %d is out of range; use %d to %d seconds", field, got, lowest, highest))
		}
	}
	bound("firstLookSeconds", b.FirstLookSeconds, 1, MaxWindowSeconds)
	bound("intervalSeconds", b.IntervalSeconds, 1, MaxWindowSeconds)
	bound("windowSeconds", b.WindowSeconds, 1, MaxWindowSeconds)
	if b.IntervalSeconds >= 1 && b.WindowSeconds/b.IntervalSeconds > MaxLooks {
		errs = append(errs, fmt.Errorf("boot.intervalSeconds: %d s gives more than %d looks in a window of %d s; use at least %d", b.IntervalSeconds, MaxLooks, b.WindowSeconds, (b.WindowSeconds+MaxLooks-1)/MaxLooks))
	}
	if b.FirstLookSeconds > b.WindowSeconds {
		errs = append(errs, fmt.Errorf("boot.firstLookSeconds: %d is after the window of %d s closes; use at most that", b.FirstLookSeconds, b.WindowSeconds))
	}
	return errors.Join(errs...)
}

func (r RebootSettings) validate(b Boot) error {
	var errs []error
	bound := func(field string, got, lowest, highest int, unit string) {
		if got < lowest || got > highest {
			errs = append(errs, fmt.Errorf("reboot.%s: %d is out of range; use %d to %d %s", field, got, lowest, highest, unit))
		}
	}
	bound("coolDownSeconds", r.CoolDownSeconds, 0, MaxCoolDownSeconds, "seconds")
	bound("perDay", r.PerDay, 0, MaxPerDay, "reboots, where 0 means never")
	bound("freshSeconds", r.FreshSeconds, MinFreshSeconds, MaxFreshSeconds, "seconds")
	if r.CoolDownSeconds >= 0 && r.CoolDownSeconds < b.WindowSeconds {
		errs = append(errs, fmt.Errorf("reboot.coolDownSeconds: %d ends before the boot window of %d s; use at least that", r.CoolDownSeconds, b.WindowSeconds))
	}
	return errors.Join(errs...)
}
