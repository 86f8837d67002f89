package notify

import (
	"strings"
	"time"

	"firstline/internal/lazy"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// guarded are the guards of one instance that have words of their own; the brake
// speaks for a region.
var guarded = map[string]bool{
	incident.GuardPause:     true,
	incident.GuardFreshness: true,
	incident.GuardState:     true,
	incident.GuardBaseline:  true,
	incident.GuardCoolDown:  true,
	incident.GuardBudget:    true,
	incident.GuardLease:     true,
}

// nextRefused is what to do when a guard refused; something true also of one that is
// not known here.
func (r *report) nextRefused(inc *incident.Incident) string {
	switch {
	case !guarded[r.guard]:
		return say("guard.other")
	case r.guard == incident.GuardPause:
		return say("guard."+r.guard, "tag", incident.PauseTag, "command", r.resume(incident.PauseInstance))
	case r.guard == incident.GuardBudget && inc.Settings != nil && inc.Settings.Reboot.PerDay == 0:
		return say("guard.budget-never")
	}
	return say("guard."+r.guard, "command", r.incidents(true))
}

// whyShort is why a guard refused, for a headline.
func (r *report) whyShort(inc *incident.Incident) string {
	switch {
	case !guarded[r.guard]:
		return say("why.other")
	case r.guard == incident.GuardFreshness && inc.EventAt.IsZero():
		return say("why.freshness-unknown")
	}
	return say("why." + r.guard)
}

// couldNotOpen reports whether nothing is known to be wrong with an event that
// made no incident: the step that opens it did not come to its end.
func couldNotOpen(inc *incident.Incident, seen eventView) bool {
	name := errorName(inc.Error)
	return seen.problem == "" && seen.instances != "" && name != "" && name != "InvalidInput"
}

// refusalText is why a guard refused.
func refusalText(inc *incident.Incident) string {
	return orElse(truncate(oneLine(inc.Refusal.Reason), limitReason), say("error.unsaid"))
}

// brakeNever reports whether the brake is set to 0: that is no storm, and each
// instance has messages of its own.
func brakeNever(inc *incident.Incident) bool {
	return inc.Refusal != nil && inc.Refusal.Reason == incident.BrakeNever
}

// failure says how a check failed.
func failure(f *checks.Finding) string {
	return say("failed.first", "check", checkName(f.Check), "reason", sentence(reasonText(*f)))
}

// pauseSentence says what is paused, until when and by whom.
func (r *report) pauseSentence(p *incident.Pause) string {
	until := say("until.unknown")
	if !p.Until.IsZero() {
		until = say("until.time", "time", clock(p.Until))
	}
	by, region := truncate(oneLine(p.By), 200), truncate(r.region, 24)
	// The name may end with a full stop of its own.
	by = strings.TrimSuffix(by, ".")
	switch {
	case p.Scope != incident.PauseRegion && by != "":
		return say("paused.instance", "until", until, "tag", incident.PauseTag, "by", by)
	case p.Scope != incident.PauseRegion:
		return say("paused.instance-by-unknown", "until", until, "tag", incident.PauseTag)
	case region != "" && by != "":
		return say("paused.region", "region", region, "until", until, "by", by)
	case region != "":
		return say("paused.region-by-unknown", "region", region, "until", until)
	case by != "":
		return say("paused.somewhere", "until", until, "by", by)
	}
	return say("paused.somewhere-by-unknown", "until", until)
}

// executionName is a name that Step Functions gives an execution, or takes for it.
var executionName = lazy.Regexp(`^[0-9A-Za-z_][0-9A-Za-z._-]{0,79}$`)

// recordOf is the command that shows an incident's timeline and what was kept as
// evidence; "" where there is no incident, or no name that fits a command.
func recordOf(inc *incident.Incident) string {
	name := inc.Execution.Name
	if name == "" {
		name = inc.Execution.ID[strings.LastIndex(inc.Execution.ID, ":")+1:]
	}
	if inc.InstanceID == "" || !executionName().MatchString(name) {
		return ""
	}
	return "firstline incident " + name
}

// recordLabel says what that shows.
func recordLabel(inc *incident.Incident) string {
	if evidenceDue(inc) {
		return say("label.evidence")
	}
	return say("label.timeline")
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
	if regionName().MatchString(r.region) {
		s += " --region " + r.region
	}
	if instance && instanceID().MatchString(r.instance) {
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
