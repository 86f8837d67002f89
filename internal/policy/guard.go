package policy

import (
	"fmt"
	"slices"
	"time"

	"firstline/internal/incident"
)

// Guards that refuse a reboot.
const (
	GuardEC2          = "ec2"          // EC2 cannot be asked, or does not call it running
	GuardStatus       = "status"       // AWS has an explanation
	GuardInitializing = "initializing" // it has just been started
	GuardCredits      = "credits"      // it has no CPU credits left, and is slow
	GuardAlarm        = "alarm"        // no alarm of the instance is on
	GuardOnce         = "once"         // this incident has rebooted it
	GuardTries        = "tries"        // the step that reboots failed again and again
	GuardCooldown     = "cooldown"     // the last reboot, or the end of its alert, is too recent
	GuardNotCured     = "not_cured"    // the last reboot did not cure the same failure
	GuardBudget       = "budget"       // too many reboots in 24 hours
	GuardNever        = "never"        // the settings forbid reboots
	GuardRoute53Alone = "route53"      // Route 53 alone says so
	GuardVantage      = "vantage"      // no other vantage agrees
	GuardAnswered     = "answered"     // reboot.on is "unreachable", and a check got an answer, or cannot tell
	GuardDryRun       = "dry_run"      // reboot.dry_run is set
)

// guards are asked in this order until one refuses. One that cannot decide refuses.
var guards = []struct {
	name string
	// refusal says why the guard refuses; "" if it does not.
	refusal func(*decider) string
}{
	{GuardEC2, (*decider).guardEC2},
	{GuardStatus, (*decider).guardStatus},
	{GuardInitializing, (*decider).guardInitializing},
	{GuardEC2, (*decider).guardUnclear},
	{GuardCredits, (*decider).guardCredits},
	{GuardAlarm, (*decider).guardAlarm},
	{GuardOnce, (*decider).guardOnce},
	{GuardCooldown, (*decider).guardCooldown},
	{GuardNotCured, (*decider).guardNotCured},
	{GuardNever, (*decider).guardNever},
	{GuardBudget, (*decider).guardBudget},
	{GuardAnswered, (*decider).guardAnswered},
	{GuardRoute53Alone, (*decider).guardRoute53Alone},
	{GuardVantage, (*decider).guardVantage},
	{GuardDryRun, (*decider).guardDryRun}, // what it refuses would have been rebooted
}

// guard names the guard that refuses a reboot, and says why; "" if none does.
func (d *decider) guard() (guard, reason string) {
	for _, g := range guards {
		if reason = g.refusal(d); reason != "" {
			return g.name, reason
		}
	}
	return "", ""
}

func (d *decider) guardEC2() string {
	f := d.f.EC2
	e := f.Value
	switch {
	case !f.Asked:
		return "EC2 could not be asked about the instance: " + f.Err
	case !e.Running:
		return fmt.Sprintf("EC2 calls the instance %q; only a running one can be rebooted", e.State)
	case e.PauseErr != "":
		return "somebody meant to pause the instance, and the tag cannot be read: " + e.PauseErr
	}
	return ""
}

func (d *decider) guardStatus() string {
	e := d.f.EC2.Value
	switch {
	case e.System, e.EBS:
		return e.impairment()
	case e.Scheduled != "":
		return e.Scheduled
	}
	return ""
}

func (d *decider) guardInitializing() string {
	e := d.f.EC2.Value
	switch {
	case e.Initializing:
		return "the instance has just been started: EC2's status checks are still initializing"
	case d.within(e.LaunchedAt, time.Duration(d.s.Boot.WindowSeconds)*time.Second):
		return "the instance was started at " + clock(e.LaunchedAt) + " and may still be booting"
	}
	return ""
}

func (d *decider) guardUnclear() string {
	if d.f.EC2.Value.Unclear {
		return "EC2 gives no status of the instance, though it calls it running"
	}
	return ""
}

func (d *decider) guardCredits() string {
	switch e := d.f.EC2.Value; {
	case e.Instance: // it hangs, whatever its credits
	case e.CreditsErr != "":
		return "whether it has CPU credits left could not be asked: " + e.CreditsErr
	case e.NoCredits != "":
		return e.NoCredits
	}
	return ""
}

func (d *decider) guardAlarm() string {
	if !d.i.Execution.Alarm {
		return "no alarm of the instance is on"
	}
	return ""
}

func (d *decider) guardOnce() string {
	if !d.i.Execution.Rebooted {
		return ""
	}
	if r := d.i.lastReboot(); r != nil && r.Request == incident.RequestRefused {
		return "EC2 refused the reboot: " + r.Reason
	}
	return "this incident has rebooted it already"
}

func (d *decider) guardCooldown() string {
	cooldown := time.Duration(d.s.Reboot.CooldownSeconds) * time.Second
	switch {
	case d.i.reboots(d.now.Add(-cooldown)) > 0:
		return "it was rebooted within the cooldown of " + incident.Span(cooldown)
	case d.within(d.i.LastResolvedAt, quarantine):
		return "its last alert ended less than four hours ago: what ails it comes back, or somebody works on it"
	}
	return ""
}

func (d *decider) guardNotCured() string {
	if d.notCured() {
		return "the reboot of " + d.i.lastReboot().At.Time().Format("2 January 15:04 UTC") + " did not cure the same failure"
	}
	return ""
}

func (d *decider) guardNever() string {
	switch {
	case d.in.Breaker.InFlight <= 0 || d.in.Breaker.PerHour <= 0:
		return "the region's breaker is set to 0: no instance is ever rebooted"
	case d.s.Reboot.PerDay <= 0:
		return "its budget is 0 reboots per day"
	}
	return ""
}

func (d *decider) guardBudget() string {
	if perDay := d.s.Reboot.PerDay; perDay > 0 && d.i.reboots(d.now.Add(-24*time.Hour)) >= perDay {
		return fmt.Sprintf("its budget of %d reboots per day is used up", perDay)
	}
	return ""
}

func (d *decider) guardAnswered() string {
	switch {
	case d.s.Reboot.On == incident.OnUnreachable && d.l.answered():
		return `reboot.on is "unreachable", and a check got an answer`
	case d.s.Reboot.On == incident.OnUnreachable && d.l.ownBlind():
		return `reboot.on is "unreachable", and a check cannot tell whether it gets an answer`
	}
	return ""
}

// onlyRoute53 reports whether Route 53 is the only check: it is many places.
func (d *decider) onlyRoute53() bool {
	return !d.s.Enabled(incident.CheckURL) && !d.s.Enabled(incident.CheckSSH)
}

func (d *decider) guardRoute53Alone() string {
	if !d.l.ownFailed() && !d.onlyRoute53() {
		return "Route 53 alone reports a failure, and none of our own checks confirms it"
	}
	return ""
}

// guardVantage asks whether another place agrees that the instance is down: another
// region, or Route 53, sees it; EC2 calls it impaired; what failed is an answer of its
// own; our other check got one while this one was refused; or that, or another
// instance, answers while this one was accepted and then silent. The last two say
// nothing while a check is blind that might contradict.
func (d *decider) guardVantage() string {
	if d.f.Closed.Err != "" {
		return "whether its security groups admit anybody could not be asked: " + d.f.Closed.Err
	}
	if d.onlyRoute53() {
		return ""
	}
	for _, f := range d.l.own() {
		if d.in.VantageRequired && f.Outcome == incident.Failed && f.Address != "" && f.DownFrom == nil {
			return "no other region confirms that it is down, and vantage.required is set"
		}
	}
	if d.l.confirmed() {
		return ""
	}
	ownAnswered := d.l.ownAnswered()
	connected := d.f.Connected.Asked && d.f.Connected.Value
	others := d.f.Others.Asked && d.f.Others.Value.Answered
	failedRoute53 := d.l.is(incident.CheckRoute53, incident.Failed)
	agrees := failedRoute53 || d.f.EC2.Value.Instance
	// The URL check might contradict SSH, and Route 53 the URL check.
	url := d.l.of(incident.CheckURL)
	isOpen := map[string]bool{
		incident.CheckSSH: d.s.Enabled(incident.CheckURL) && (url.Outcome == incident.Skipped || url.Kind == incident.Blind),
		incident.CheckURL: d.l.of(incident.CheckRoute53).Kind == incident.Blind,
	}
	// Whoever rejects us at one port may refuse us at the other.
	isBusy := slices.ContainsFunc(d.l.own(), func(f incident.Finding) bool { return f.Kind == incident.Busy })
	for _, f := range d.l.own() {
		if f.Outcome != incident.Failed {
			continue
		}
		isAnsweredBeside := slices.ContainsFunc(d.l.own(), func(o incident.Finding) bool {
			return o.Check != f.Check && o.Heard() && o.Connection == ""
		})
		agrees = agrees || f.Answered && f.Connection == "" ||
			!isOpen[f.Check] && (f.Connection == incident.Refused && isAnsweredBeside && !isBusy ||
				f.Connection == incident.Silent && (ownAnswered || others))
	}
	switch {
	case !agrees:
		return "no other vantage confirms that the instance is down"
	case !failedRoute53 && !ownAnswered && !others && !connected:
		return "nothing else answers us either, so our own way may be broken"
	}
	return ""
}

func (d *decider) guardDryRun() string {
	if d.s.Reboot.DryRun {
		return "reboot.dry_run is set: it would have been rebooted: " + d.l.firstReason()
	}
	return ""
}

// MayReboot asks once more, in the step that reboots, and reserves the reboot in
// the state that it returns. A refusal says why not: then nothing is done, and
// the next look decides.
func MayReboot(in Input, dec incident.Decision) (s State, refusal string) {
	d := newDecider(in)
	d.l = lookOf(dec.Findings, in.Settings)
	d.l.weighVantage(&in)
	if d.f.Unwatched {
		return s, "the instance is no longer watched"
	}
	if age := d.now.Sub(min(dec.At, d.l.seenAt(dec.At))); age > freshLook {
		return s, fmt.Sprintf("the look is %d seconds old", int(age.Seconds()))
	}
	if d.l.Verdict != incident.VerdictFailed {
		return s, d.l.firstReason()
	}
	d.forget()
	d.seeFacts()
	if p, scope := d.pause(); p != nil {
		return s, "the " + scope + " is paused until " + clock(p.Until)
	}
	if d.i.Membership != nil {
		return s, "a person has been paged"
	}
	if why := d.breaker(); why != "" {
		return s, "the region's breaker is open: " + why
	}
	if _, reason := d.guard(); reason != "" {
		return s, reason
	}
	d.i.Reboots = append(d.i.Reboots, incident.Reboot{
		At: d.now, Execution: in.Execution, Look: in.Look, Reason: incident.ClipLine(dec.Reason, 300),
		Request: incident.RequestReserved, Failed: d.l.failed(),
	})
	d.i.Execution.Rebooted = true
	d.i.AtRest = false
	d.r.Reboots = append(d.r.Reboots, RegionReboot{Instance: d.i.ID, Execution: in.Execution, At: d.now})
	return State{*d.i, *d.r}, ""
}

// notCured reports whether the last reboot did not cure what fails now.
func (d *decider) notCured() bool {
	r := d.i.lastReboot()
	return r != nil && r.Outcome == incident.OutcomeNotCured && r.Request != incident.RequestReserved &&
		slices.ContainsFunc(d.l.failed(), func(check string) bool { return slices.Contains(r.Failed, check) })
}

// ReservedBy returns the reboot that an execution has reserved, or nil.
func (i *Instance) ReservedBy(execution string) *incident.Reboot {
	if r := i.lastReboot(); r != nil && r.Execution == execution {
		return r
	}
	return nil
}

// Requested records what became of the request to EC2. One that was refused is
// no reboot.
func Requested(s State, execution, request, reason string) State {
	s = s.clone()
	r := s.Instance.ReservedBy(execution)
	if r == nil {
		return s
	}
	r.Request = request
	if request == incident.RequestRefused {
		r.Reason = incident.ClipLine(reason, 300)
		kept := s.Region.Reboots[:0]
		for _, other := range s.Region.Reboots {
			if other.Instance != s.Instance.ID || other.At != r.At {
				kept = append(kept, other)
			}
		}
		s.Region.Reboots = kept
	}
	return s
}
