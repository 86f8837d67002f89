package notify

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"firstline/checks"
	"firstline/internal/incident"
)

// guard is what is said of a guard that refused a reboot.
type guard struct {
	// short is why, within the room that an alert's message leaves.
	short string
	// next is what to do. After a colon comes a command.
	next string
}

// guards are those of one instance; the brake speaks for a region. What stands
// here is true of every refusal of a guard: the numbers are in its reason.
var guards = map[string]guard{
	incident.GuardPause: {
		"its pause tag is not valid",
		"Look at the instance and reboot it yourself if that is right. As it stands, its tag " + incident.PauseTag + " pauses nothing and stops every reboot: set it to a time to come, at most seven days ahead, or remove it:",
	},
	incident.GuardFreshness: {
		"its event is too old",
		"Look at the instance now and reboot it yourself if that is right. Then find out what held the event back: a dead-letter queue that was replayed, throttled executions, or an execution that was run again.",
	},
	incident.GuardState: {
		"its state speaks against it",
		"Give an instance that is starting some minutes, then look at it. A failed system status check or a scheduled event is AWS's doing, and a reboot does not cure it: stopping and starting moves the instance to other hardware, and changes a public IPv4 address that is not an Elastic IP.",
	},
	incident.GuardBaseline: {
		"that check has no pass on record",
		"Find out which is wrong, the instance or the check: a security group that never let us in, a wrong path or a wrong port fails like this. Reboot the instance yourself if that is right. A check that is mended counts from its first pass on: firstline verify makes one.",
	},
	incident.GuardCoolDown: {
		"its cool-down has not passed",
		"It fails again soon after a reboot: look for the cause before anybody reboots it once more, in its logs and in what was kept before the earlier reboots. Those are in:",
	},
	incident.GuardBudget: {
		"no reboot is left in its budget",
		"It fails again after that many reboots: look for the cause before anybody reboots it once more, in its logs and in what was kept before the earlier ones. Those are in:",
	},
	incident.GuardLease: {
		"its incident lost the lease",
		"Look at the instance yourself, and at its other incidents. Those are in:",
	},
}

// guardOf returns what is said of a guard, and something true of one that is not
// known here.
func guardOf(name string) guard {
	if g, ok := guards[name]; ok {
		return g
	}
	return guard{"a guard refused", "Look at the instance and reboot it yourself if that is right; the reason says what kept us from it."}
}

// nextRefused is what to do when a guard refused.
func (r *report) nextRefused(inc *incident.Incident) string {
	next := guardOf(r.guard).next
	switch r.guard {
	case incident.GuardPause:
		return next + " " + r.resume(incident.PauseInstance) + "."
	case incident.GuardBudget:
		if inc.Settings != nil && inc.Settings.Reboot.PerDay == 0 {
			return "Look at the instance and reboot it yourself if that is right: its setting reboot.per_day of 0 leaves that to people."
		}
		return next + " " + r.incidents(true) + "."
	case incident.GuardCoolDown, incident.GuardLease:
		return next + " " + r.incidents(true) + "."
	}
	return next
}

// whyShort is why a guard refused, for a headline.
func (r *report) whyShort(inc *incident.Incident) string {
	if r.guard == incident.GuardFreshness && inc.EventAt.IsZero() {
		return "the age of its event is unknown"
	}
	return guardOf(r.guard).short
}

// nextWithout is what to do when there is no incident.
func nextWithout(inc *incident.Incident) string {
	switch errorName(inc.Error) {
	case "Denied":
		return "Look at the alarm and its instance yourself, then give the function the permission that the error names."
	case "Unavailable":
		return "Look at the alarm and its instance yourself: firstline could not begin. The error says what did not answer; while that is its table, every incident of the region ends like this one."
	case "", "InvalidInput", "Internal":
		return "Look at the alarm and its instance yourself, then mend what the error names."
	}
	return "Look at the alarm and its instance yourself; the execution shows how the step that opens the incident ended."
}

// couldNotOpen reports whether nothing is known to be wrong with an event that
// made no incident: the step that opens it did not come to its end.
func couldNotOpen(inc *incident.Incident, seen eventView) bool {
	name := errorName(inc.Error)
	return seen.problem == "" && seen.instances != "" && name != "" && name != "InvalidInput"
}

// refusalText is why a guard refused.
func refusalText(inc *incident.Incident) string {
	return orElse(truncate(oneLine(inc.Refusal.Reason), limitReason), "no reason given")
}

// brakeNever reports whether the brake is set to 0: that is no storm, and each
// instance has messages of its own.
func brakeNever(inc *incident.Incident) bool {
	return inc.Refusal != nil && inc.Refusal.Reason == incident.BrakeNever
}

// failedCheck says in a headline which check failed.
func failedCheck(f *checks.Finding) string {
	if f == nil {
		return " failed a check"
	}
	return " failed the " + checkName(f.Check) + " check"
}

// failure says how it failed.
func failure(f *checks.Finding) string {
	return fmt.Sprintf("The %s check failed in run 1: %s", checkName(f.Check), sentence(reasonText(*f)))
}

// pauseSentence says what is paused, until when and by whom.
func (r *report) pauseSentence(p *incident.Pause) string {
	what, how := "The instance is paused", "by its tag "+incident.PauseTag
	by := "; the tag does not say by whom"
	if p.Scope == incident.PauseRegion {
		what, how, by = "The whole region is paused", "by its switch", "; it is not known by whom"
		if r.region != "" {
			what = "The whole region " + truncate(r.region, 24) + " is paused"
		}
	}
	if who := truncate(oneLine(p.By), 200); who != "" {
		by = "; set by " + who
	}
	until := "until a time that is not known"
	if !p.Until.IsZero() {
		until = "until " + clock(p.Until)
	}
	return sentence(what + " " + until + ", " + how + by)
}

// executionName is a name that Step Functions gives an execution, or takes for it.
var executionName = regexp.MustCompile(`^[0-9A-Za-z_][0-9A-Za-z._-]{0,79}$`)

// recordOf is the command that shows an incident's timeline and what was kept as
// evidence; "" where there is no incident, or no name that fits a command.
func recordOf(inc *incident.Incident) string {
	name := inc.Execution.Name
	if name == "" {
		name = inc.Execution.ID[strings.LastIndex(inc.Execution.ID, ":")+1:]
	}
	if inc.InstanceID == "" || !executionName.MatchString(name) {
		return ""
	}
	return "firstline incident " + name
}

// recordLabel says what that shows.
func recordLabel(inc *incident.Incident) string {
	if evidenceDue(inc) {
		return "Timeline and evidence"
	}
	return "Timeline"
}

// evidenceDue reports whether evidence was to be kept: that comes just before the
// table is asked whether there may be a reboot.
func evidenceDue(inc *incident.Incident) bool {
	switch {
	case inc.Dry:
		return false
	case inc.Refusal != nil:
		g := inc.Refusal.Guard
		return g == incident.GuardBaseline || g == incident.GuardCoolDown || g == incident.GuardBudget || g == incident.GuardBrake || g == incident.GuardLease
	}
	return inc.Reboot != nil || maybeRebooted(inc)
}

// incidents is the command that lists the region's incidents, or the instance's.
func (r *report) incidents(ofInstance bool) string {
	return "firstline incidents" + r.flags(ofInstance)
}

// resume is the command that ends a pause.
func (r *report) resume(scope string) string {
	return "firstline resume" + r.flags(scope != incident.PauseRegion)
}

// flags name the region and the instance to a command, as far as they are fit for
// a shell.
func (r *report) flags(instance bool) string {
	s := ""
	if regionName.MatchString(r.region) {
		s += " --region " + r.region
	}
	if instance && instanceID.MatchString(r.instance) {
		s += " --instance " + r.instance
	}
	return s
}

// eventTime is when the event was sent, where that is not when the alarm rang: the
// schedule found the alarm still on, or the event was sent again.
func eventTime(inc *incident.Incident) string {
	if inc.EventAt.IsZero() || inc.Alarm == nil || inc.EventAt.Sub(inc.Alarm.At).Abs() < time.Minute {
		return ""
	}
	return clock(inc.EventAt)
}
