package incident

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"firstline/internal/lazy"
)

// maxSuppressed bounds the text of a suppressed action, in bytes.
const maxSuppressed = 1500

// Suppress records what a dry incident leaves undone.
func (i *Incident) Suppress(action, text string, at time.Time) {
	i.Suppressed = append(i.Suppressed, Suppressed{Action: action, At: At(at), Text: Clip(text, maxSuppressed)})
}

// Record adds a finding of this look. A step that runs twice replaces its own.
func (i *Incident) Record(f Finding) {
	f.Look = i.Look
	for n := range i.Findings {
		if i.Findings[n].Check == f.Check {
			i.Findings[n] = f
			return
		}
	}
	i.Findings = append(i.Findings, f)
}

// Finding returns this look's finding of a check, or nil.
func (i *Incident) Finding(check string) *Finding {
	for n := range i.Findings {
		if f := &i.Findings[n]; f.Check == check && f.Look == i.Look {
			return f
		}
	}
	return nil
}

// Booting reports whether the window is open in which the instance must be well
// after its reboot.
func (i *Incident) Booting(now time.Time) bool {
	window := time.Duration(i.Settings.Boot.WindowSeconds) * time.Second
	return i.RebootedAt > 0 && At(now).Sub(i.RebootedAt) < window
}

// Catch records an error as Step Functions would.
func (i *Incident) Catch(step string, c Caught) {
	if i.Caught == nil {
		i.Caught = map[string]Caught{}
	}
	i.Caught[step] = c
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

// Validate returns what a step could not work with. The error is plain: the
// caller gives it a kind.
func (i *Incident) Validate() error {
	switch {
	case !ValidInstanceID(i.InstanceID):
		return fmt.Errorf("incident.instance_id: %q is not an instance id such as i-0c1cbf2e7abdedf75", i.InstanceID)
	case i.Execution.ID == "":
		return errors.New("incident.execution.id: missing; the step open sets it")
	case i.Look < 1 || i.Look > MaxLooks:
		return fmt.Errorf("incident.look: %d is out of range; looks are 1 to %d", i.Look, MaxLooks)
	case i.Settings == nil:
		return errors.New("incident.settings: missing; the step open reads them")
	}
	return nil
}

// Everybody reports whether a range of IPv4 addresses holds all of them, or half: some
// write all as two halves.
func Everybody(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && p.Bits() <= 1
}
