package incident

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"firstline/internal/old/checks"

	"firstline/internal/lazy"
)

// maxFindings keeps an incident far below Step Functions' 256 KiB of state
// (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html),
// however often an instance flaps in its boot window.
const maxFindings = 40

// Record adds what a check saw. From run 2 on the same answer of the same check,
// look after look, becomes one finding that counts its looks.
func (i *Incident) Record(f checks.Finding) {
	f.Run = i.Run
	i.Passed = f.Passed
	i.LookedAt = f.At.UTC().Truncate(time.Second)
	if last := i.lastOf(f.Check); last != nil && i.Run >= 2 && last.Passed == f.Passed && last.Skipped == f.Skipped {
		since := last.At
		if last.Since != nil {
			since = *last.Since
		}
		f.Since, f.Looks = &since, max(last.Looks, 1)+1
		*last = f
		return
	}
	i.Findings = append(i.Findings, f)
	if len(i.Findings) > maxFindings {
		// What run 1 saw led to the reboot and stays.
		if first := slices.IndexFunc(i.Findings, func(f checks.Finding) bool { return f.Run >= 2 }); first >= 0 {
			i.Findings = slices.Delete(i.Findings, first, first+1)
		}
	}
}

// maxSuppressed bounds the text of a suppressed action, in bytes. The definition
// leads through three of them at most: the reboot, the page, and the message to Slack.
const maxSuppressed = 1500

// Suppress records what a dry incident leaves undone.
func (i *Incident) Suppress(action, text string, at time.Time) {
	i.Suppressed = append(i.Suppressed, Suppressed{Action: action, At: at.UTC(), Text: Clip(text, maxSuppressed)})
}

// lastOf returns the newest finding of a check in this run, or nil.
func (i *Incident) lastOf(check string) *checks.Finding {
	for n := len(i.Findings) - 1; n >= 0; n-- {
		if f := &i.Findings[n]; f.Run == i.Run && f.Check == check {
			return f
		}
	}
	return nil
}

// LastFailure returns the newest finding that did not pass, of the latest run
// that has one, or nil.
func (i *Incident) LastFailure() *checks.Finding {
	var last *checks.Finding
	for n := range i.Findings {
		f := &i.Findings[n]
		if !f.Passed && (last == nil || f.Run > last.Run || f.Run == last.Run && !f.At.Before(last.At)) {
			last = f
		}
	}
	return last
}

var (
	// instanceID has either length that EC2 gives out
	// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html).
	instanceID = lazy.Regexp(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	region     = lazy.Regexp(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	accountID  = lazy.Regexp(`^[0-9]{12}$`)
)

// ValidInstanceID reports whether id has the form of an EC2 instance id.
func ValidInstanceID(id string) bool { return instanceID().MatchString(id) }

// ValidRegion reports whether name has the form of a region's name.
func ValidRegion(name string) bool { return region().MatchString(name) }

// ValidAccountID reports whether id has the form of an AWS account id.
func ValidAccountID(id string) bool { return accountID().MatchString(id) }

// Validate returns all that a step could not work with. The errors are plain:
// the caller gives them a kind.
func (i *Incident) Validate() error {
	var errs []error
	missing := func(field, got, want string) {
		errs = append(errs, fmt.Errorf("incident.%s: %q is not %s", field, got, want))
	}
	if !ValidInstanceID(i.InstanceID) {
		missing("instanceId", i.InstanceID, "an instance id such as i-0c1cbf2e7abdedf75")
	}
	if !ValidRegion(i.Region) {
		missing("region", i.Region, "a region such as eu-west-1")
	}
	if !ValidAccountID(i.AccountID) {
		missing("accountId", i.AccountID, "an account id of 12 digits")
	}
	if i.Run < 1 || i.Run > RunAllClear {
		errs = append(errs, fmt.Errorf("incident.run: %d is none of 1 (before the reboot), 2 (after it) and %d (after a page)", i.Run, RunAllClear))
	}
	if i.Settings == nil {
		errs = append(errs, errors.New("incident.settings: missing; the step open reads them"))
	} else if err := i.Settings.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("incident.settings: %w", err))
	}
	return errors.Join(errs...)
}
