// Package policy decides what follows from a look at an instance. It is pure:
// it does no I/O, has no clock of its own and knows no AWS types. What is known
// goes in, and what follows comes out.
package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"firstline/internal/incident"
)

// Times of the policy.
const (
	// well is how long an instance must be healthy to leave its alert, and
	// wellAgain how long if it has left one within wellMemory.
	well       = 30 * time.Minute
	wellAgain  = 2 * time.Hour
	wellMemory = 6 * time.Hour
	// saidAgain is how long it must be healthy before its alert is told so.
	saidAgain = 10 * time.Minute
	// downAgain is how long it must be ill in every look to have died again.
	downAgain = 20 * time.Minute
	// quietClosed and quietAttention follow upon a person's closing the alert.
	quietClosed    = 4 * time.Hour
	quietAttention = 24 * time.Hour
	// repeatUnread is when an alert is paged again whose pager cannot tell whether
	// it is open, and repeatNoted if instances have joined it by a note since.
	repeatUnread = 24 * time.Hour
	repeatNoted  = time.Hour
	repeatDown   = 15 * time.Minute // and one of them is down
	// waking is how long others leave a page of their alert to the instance that
	// makes it.
	waking = 5 * time.Minute
	// repeating is the same for a page that is repeated.
	repeating = 2 * time.Minute
	// joinWithin is how recently an alert must have woken somebody for a new
	// member to be a note; hourly bounds notes and Slack.
	joinWithin = time.Hour
	hourly     = time.Hour
	daily      = 24 * time.Hour
	// blindPatience is how long looks go on before a blind one is told, and
	// blindSlack how long Slack alone hears of it while a check passes.
	blindPatience = 2 * time.Minute
	blindSlack    = 20 * time.Minute
	// busySlack is how long Slack alone hears of a web server that is busy.
	busySlack = 20 * time.Minute
	// quarantine follows upon the end of its alert.
	quarantine = 4 * time.Hour
	// often is the number of reboots in 7 days from which on somebody is paged.
	often = 3
	// unsteady is the number of recoveries in 2 hours that make an instance
	// unsteady. Then nothing short counts any more: it must be healthy for
	// wellAgain to be well, unhealthy for downAgain to be worse, and for downLong to
	// have died again.
	unsteady = 3
	downLong = 2 * time.Hour
	// maxTries is how often an execution decides to reboot before it pages instead.
	maxTries = 3
	// silentMemory is how long another instance's silence opens the breaker.
	silentMemory = 10 * time.Minute
	// curesMemory is how long reboots that cured nothing count, cures how many.
	curesMemory = 24 * time.Hour
	cures       = 2
	// impaired is how long AWS must call the system or a volume impaired for Slack to
	// hear of a healthy instance.
	impaired = 10 * time.Minute
	// freshLook is how old the look may be that leads to a reboot.
	freshLook = 90 * time.Second
	// lookAgain and lookBlind are waits in seconds between two looks.
	lookAgain = 60
	lookBlind = 30
)

// Input is all that a decision is made on.
type Input struct {
	Now      incident.Millis
	Settings *incident.Settings
	Breaker  incident.Breaker
	// AliasPrefix begins every alert's alias: the deployment's and the region's
	// name.
	AliasPrefix string
	// Region is where we are, Peers are the regions that are asked what they see.
	// VantageRequired: without a peer that sees it down, nothing with a public address
	// is rebooted.
	Region          string
	Peers           []string
	VantageRequired bool
	// NoSlack: there is no Slack, so what Slack alone would hear of is paged.
	NoSlack bool
	// Execution is the execution's id, StartedAt its begin, Alarm whether an
	// alarm was in ALARM when it began.
	Execution string
	StartedAt incident.Millis
	Alarm     bool
	// Look is the look's number, Findings its findings, and Caught says by check
	// why one is missing.
	Look     int
	Findings []incident.Finding
	Caught   map[string]string
	Facts    Facts
	State    State
}

// Output is a decision with the state that follows from it. The input's state
// is not changed.
type Output struct {
	Decision incident.Decision
	State    State
}

// AlertsToAsk are the alerts whose state at the pager the decision needs.
func AlertsToAsk(in Input) (refs []incident.AlertRef) {
	r := &in.State.Region
	l := weigh(&in)
	ids := map[string]bool{}
	if m := in.State.Instance.Membership; m != nil {
		ids[m.Alert] = true
	}
	ids[r.openAlert(KeyBreaker)] = true
	if l.severity() < incident.SeverityDown {
		ids[r.openAlert(l.cause())] = true
	}
	if len(in.Peers) > 0 {
		ids[r.openAlert(KeyVantage)] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if a, ok := r.Alerts[id]; ok && a.ClosedAt == 0 && a.Pager != "" {
			refs = append(refs, *r.Ref(id))
		}
	}
	return refs
}

func weigh(in *Input) Look {
	l := Weigh(in.Findings, in.Settings, in.passedBefore, in.Caught)
	l.weighVantage(in)
	l.afterReboot(in.State.Instance.openReboot())
	return l
}

// passedBefore reports whether a check has ever passed with its present settings.
func (in *Input) passedBefore(check string) bool {
	print := in.State.Instance.Baseline[check]
	return print != "" && print == in.Settings.Fingerprint(check)
}

// rows is the table. The first row that matches decides:
//
//	 1  gone, stopped by a person, or no longer watched      leave the alert; Slack; at rest
//	 2  paused                                               leave the alert if well or handed back; else Slack; done
//	 3  a reboot whose outcome is open, healthy twice        Slack "recovered"; page too from the third in 7 days on
//	 4  ... window open, or this look is healthy             wait, look again
//	 5  ... window closed                                    page, down-after-reboot
//	 6  handed over, healthy or handed back by a person      well or handed back: leave the alert; else done
//	 7  handed over; not confirmed, worse, died again, or
//	    its quiet has ended                                  page
//	 8  handed over                                          a note, at most one an hour; done
//	 9  healthy                                              done, silently
//	10  failed                                               breaker, guards; reboot or page
//	11  busy or blind while another check passes; for 20
//	    minutes at most if URL is busy, or blind without a
//	    passing URL                                          Slack
//	12  any other unknown                                    page by cause
var rows = []func(*decider) bool{
	(*decider).overridden,
	(*decider).paused,
	(*decider).recovered,
	(*decider).booting,
	(*decider).downAfterReboot,
	(*decider).handedOverHealthy,
	(*decider).handedOverPage,
	(*decider).handedOver,
	(*decider).healthy,
	(*decider).failed,
	(*decider).slackAlone,
	(*decider).unknown,
}

// Decide decides what follows from a look.
func Decide(in Input) Output {
	d := newDecider(in)
	d.see()
	for n, row := range rows {
		if row(d) {
			d.out.Row = n + 1
			break
		}
	}
	d.confirm()
	d.finish()
	return Output{d.out, State{*d.i, *d.r}}
}

// decider is one decision under way. i and r are copies that it changes.
type decider struct {
	in  Input
	now incident.Millis
	s   *incident.Settings
	f   *Facts
	i   *Instance
	r   *Region
	l   Look
	out incident.Decision
	// before are i and r as they were once the look was recorded: what a decision
	// that has to be confirmed first goes back to.
	before State
	// needsConfirming: what was decided is a reboot or a page that the verdict
	// must hold for.
	needsConfirming bool
	// recovers: this look is healthy, and the one before was not.
	recovers bool
}

func newDecider(in Input) *decider {
	state := in.State.clone()
	return &decider{
		in: in, now: in.Now, s: in.Settings, f: &in.Facts, i: &state.Instance, r: &state.Region, l: weigh(&in),
		out: incident.Decision{Look: in.Look, At: in.Now, AlarmState: in.Facts.Alarm.Value},
	}
}

// within reports whether something happened less than d ago.
func (d *decider) within(at incident.Millis, span time.Duration) bool {
	return at > 0 && d.now.Sub(at) < span
}

// lasted reports whether something has lasted for a time.
func (d *decider) lasted(since incident.Millis, span time.Duration) bool {
	return since > 0 && d.now.Sub(since) >= span
}

// set completes the decision's word and reason.
func (d *decider) set(next, situation, reason string) bool {
	d.out.Next, d.out.Situation, d.out.Reason = next, situation, reason
	return true
}

// done ends the execution silently.
func (d *decider) done(reason string) bool {
	next := incident.NextDone
	if d.i.Membership != nil {
		next = incident.NextHandedOver
	}
	return d.set(next, "", reason)
}

// wait looks again after some seconds.
func (d *decider) wait(seconds int, reason string) bool {
	d.out.WaitSeconds = seconds
	return d.set(incident.NextWait, "", reason)
}

// slack tells Slack if what it would say has changed. Counted messages come at
// most once an hour.
func (d *decider) slack(situation, key, reason string, counted bool) bool {
	switch {
	case d.i.SlackKey == key:
		return d.done(reason + "; Slack has been told")
	case counted && d.within(d.i.SlackAt, hourly):
		return d.done(reason + "; Slack was told something within the hour")
	}
	d.out.Slack, d.out.SlackKey = true, key
	return d.set(incident.NextSlack, situation, reason)
}

// resolve takes the instance out of its alert, for the reason why, and tells Slack.
func (d *decider) resolve(situation, why, reason string) bool {
	d.i.LastResolvedAt, d.i.ResolvedFrom = d.now, d.i.Membership.Alert
	d.leave(why, "")
	d.out.Slack, d.out.SlackKey = true, situation
	return d.set(incident.NextResolve, situation, reason)
}

// overridden is row 1.
func (d *decider) overridden() bool {
	situation := ""
	switch e := d.f.EC2; {
	case d.f.Unwatched:
		situation = incident.SituationUnwatched
	case !e.Asked:
		return false
	case e.Value.Terminated, e.Value.Unknown && d.i.UnknownToEC2 >= 2:
		situation = incident.SituationGone
	case e.Value.Unknown:
		return d.wait(lookAgain, "EC2 does not know the instance; one more look decides whether it is gone")
	case e.Value.Stopped && e.Value.ByPerson:
		situation = incident.SituationStopped
	default:
		return false
	}
	if r := d.i.openReboot(); r != nil {
		r.Outcome = incident.OutcomeOverridden
		d.regionOutcome(r)
	}
	words := map[string]string{
		incident.SituationUnwatched: "the instance is no longer watched",
		incident.SituationGone:      "the instance is gone",
		incident.SituationStopped:   "a person has stopped the instance",
	}[situation]
	if d.i.Membership != nil {
		return d.resolve(situation, words, words)
	}
	if situation == incident.SituationStopped {
		d.i.LastResolvedAt = d.now // whoever has it in hand may start it again
	}
	return d.slack(situation, situation, words, false)
}

// paused is row 2.
func (d *decider) paused() bool {
	p, scope := d.pause()
	if p == nil {
		return false
	}
	d.out.PausedUntil, d.out.PausedBy, d.out.PauseScope = p.Until, p.By, scope
	switch {
	case d.handedBack():
		return true
	case d.i.Membership != nil && d.isWell():
		return d.resolve(incident.SituationWell, "the instance is well", "paused, and well again")
	case d.l.Verdict == incident.VerdictHealthy:
		return d.done("paused, and healthy")
	}
	key := incident.SituationPaused + "/" + string(d.l.Verdict) + "/" + string(d.l.Kind)
	if d.i.SlackKey == key && d.lasted(d.i.SlackAt, daily) {
		d.out.Slack, d.out.SlackKey = true, key
		return d.set(incident.NextSlack, incident.SituationPaused, "still paused, and still not healthy")
	}
	return d.slack(incident.SituationPaused, key, "paused: nothing is rebooted and nobody is paged", true)
}

// recovered is row 3.
func (d *decider) recovered() bool {
	r := d.i.lastReboot()
	if r == nil || r.Request == incident.RequestRefused || r.Told || d.l.Verdict != incident.VerdictHealthy {
		return false
	}
	if r.Outcome == "" && d.i.HealthyRun < 2 || r.Outcome != "" && r.Outcome != incident.OutcomeCured {
		return false
	}
	if r.Outcome == "" {
		r.Outcome = incident.OutcomeCured
		d.regionOutcome(r)
	}
	n := d.i.reboots(d.now.Add(-keepReboots))
	if n >= often && !d.within(d.i.OftenPagedAt, daily) {
		d.i.OftenPagedAt = d.now
		d.out.Severity = incident.SeverityUnknown
		d.page(d.i.ID, incident.SituationRebootedOften, fmt.Sprintf("recovered, but it is reboot %d within 7 days", n))
		d.needsConfirming = false
		return true
	}
	d.out.Slack, d.out.SlackKey = true, fmt.Sprintf("%s/%d", incident.SituationRecovered, r.At)
	return d.set(incident.NextSlack, incident.SituationRecovered, "the reboot cured it: healthy in two looks in a row")
}

// booting is row 4.
func (d *decider) booting() bool {
	r := d.i.openReboot()
	if r == nil {
		return false
	}
	window := time.Duration(d.s.Boot.WindowSeconds) * time.Second
	switch {
	case d.l.Verdict == incident.VerdictHealthy:
		return d.wait(d.s.Boot.IntervalSeconds, "healthy after the reboot; one more healthy look is needed")
	case d.now.Sub(r.At) < window:
		return d.wait(d.s.Boot.IntervalSeconds, "the boot window is open until "+clock(r.At.Add(window)))
	}
	return false
}

// downAfterReboot is row 5.
func (d *decider) downAfterReboot() bool {
	r := d.i.openReboot()
	if r == nil {
		return false
	}
	r.Outcome = incident.OutcomeNotCured
	d.regionOutcome(r)
	d.out.Severity = incident.SeverityDownAfterReboot
	d.page(d.i.ID, incident.SituationDownAfterReboot, "the boot window has closed: "+d.l.firstReason())
	for _, check := range r.Failed { // each must be seen to pass before it is well
		if failed := &d.i.Membership.Failed; !slices.Contains(*failed, check) {
			*failed = append(*failed, check)
		}
	}
	d.needsConfirming = false
	return true
}

// handedOverHealthy is row 6.
func (d *decider) handedOverHealthy() bool {
	m := d.i.Membership
	switch {
	case d.handedBack():
		return true
	case m == nil || d.l.Verdict != incident.VerdictHealthy:
		return false
	case d.isWell():
		return d.resolve(incident.SituationWell, "the instance is well", "well: healthy since "+clock(d.i.HealthySince))
	case m.AgainAt == 0 && !m.Unsteady && m.Confirmed && d.r.Alerts[m.Alert].LastWakeAt > 0 && d.lasted(d.i.HealthySince, saidAgain):
		m.AgainAt = d.now
		d.out.Alert, d.out.Note = d.r.Ref(m.Alert), true
		d.out.Slack = true
		return d.set(incident.NextPage, incident.SituationHealthyAgain, "healthy again since "+clock(d.i.HealthySince)+", not long enough to end the alert")
	}
	if d.r.Alerts[m.Alert].ClosedAt > 0 && d.i.HealthyRun == 1 && !m.Unsteady {
		return d.wait(lookAgain, "healthy, and a person has closed the alert: one more healthy look is needed")
	}
	return d.done("healthy, not long enough to end the alert")
}

// handedBack takes the instance out of its alert if a person has ended the hand-over,
// whatever the look says: the next one, within minutes, acts upon that.
func (d *decider) handedBack() bool {
	m := d.i.Membership
	if m == nil || m.HandedBackBy == "" {
		return false
	}
	why := "handed back by " + m.HandedBackBy
	return d.resolve(incident.SituationHandedBack, why, why)
}

// handedOverPage is row 7.
func (d *decider) handedOverPage() bool {
	m := d.i.Membership
	if m == nil {
		return false
	}
	a, isKnown := d.r.Alerts[m.Alert]
	m.Confirmed = m.Confirmed || a.LastWakeAt > m.JoinedAt // another member's page names this one, too
	worse, again, noted := time.Duration(0), downAgain, repeatNoted
	if m.Severity >= incident.SeverityDown {
		noted = repeatDown
	}
	if m.Unsteady {
		worse, again = downAgain, downLong
	}
	isDown := d.l.Verdict == incident.VerdictFailed && d.lasted(d.i.UnhealthySince, worse) || d.halted()
	isIll := d.l.Kind != incident.Busy && d.l.Kind != incident.Blind && d.lasted(d.i.UnhealthySince, again)
	switch {
	case !isKnown:
		return d.pageLook(incident.SituationNotConfirmed, "the table has lost its alert: "+d.l.firstReason())
	case a.LastWakeAt == 0 && d.within(a.WakingAt, repeating):
		return d.done("handed over: its page is on its way")
	case !m.Confirmed, a.LastWakeAt == 0 && !d.within(a.WakingAt, waking):
		return d.repeat()
	case d.severity() > m.Severity && isDown:
		return d.pageLook(incident.SituationWorse, "worse than what was paged: "+d.l.firstReason())
	case (m.LongWell || m.AgainAt > 0) && isIll:
		return d.pageLook(incident.SituationDiedAgain, "it was healthy since the page, and has not been for "+incident.Span(again)+": "+d.l.firstReason())
	case a.ClosedAt > 0:
		quiet := quietClosed
		if m.Kind == incident.Attention && m.Severity < incident.SeverityDown && (d.l.Kind == incident.Attention || d.l.Kind == incident.Busy) {
			quiet = quietAttention
		}
		if d.now.Sub(a.ClosedAt) >= quiet {
			return d.pageLook(incident.SituationStillDown, "a person closed the alert "+incident.Span(d.now.Sub(a.ClosedAt))+" ago, and it is still not healthy")
		}
		return false
	case d.f.alertUnreadable(m.Alert) && (d.lasted(a.LastWakeAt, repeatUnread) || a.JoinedByNoteAt > a.LastWakeAt && d.lasted(a.LastWakeAt, noted)):
		d.out.Severity = m.Severity
		d.wake(m.Alert)
		m.Confirmed = false
		d.needsConfirming = true
		d.out.Slack = true
		return d.set(incident.NextPage, incident.SituationStillDown, "its pager cannot tell whether the alert is open, and it is still not healthy")
	}
	return false
}

// repeat repeats a page or note that no pager has confirmed, under the alias
// that it had, so that a pager which has it wakes nobody. A note is repeated as
// one only where a new member would be one, too.
func (d *decider) repeat() bool {
	m := d.i.Membership
	a := d.r.Alerts[m.Alert]
	switch {
	case a.LastWakeAt == 0:
		a.WakingAt = d.now
		d.r.Alerts[m.Alert] = a
	case a.ClosedAt > 0, m.ByNote && !d.within(a.LastWakeAt, joinWithin):
		d.wake(m.Alert)
		m.ByNote = false
	default:
		d.out.Note = m.ByNote
	}
	d.out.Severity, d.out.Slack, d.out.Alert = m.Severity, true, d.r.Ref(m.Alert)
	return d.set(incident.NextPage, incident.SituationNotConfirmed, "no pager has confirmed the page before this one")
}

// halted reports whether the instance has stopped without a person stopping it.
func (d *decider) halted() bool {
	e := d.f.EC2
	return e.Asked && e.Value.Stopped && !e.Value.ByPerson
}

// severity is that of a page about this look, unless a reboot came before it.
func (d *decider) severity() incident.Severity {
	if d.halted() {
		return incident.SeverityDown
	}
	return d.l.severity()
}

// handedOver is row 8.
func (d *decider) handedOver() bool {
	m := d.i.Membership
	if m == nil {
		return false
	}
	a := d.r.Alerts[m.Alert]
	if a.ClosedAt > 0 {
		return d.done("handed over: a person closed the alert " + incident.Span(d.now.Sub(a.ClosedAt)) + " ago")
	}
	if d.within(max(a.NoteAt, a.LastWakeAt), hourly) {
		return d.done("handed over")
	}
	a.NoteAt = d.now
	d.r.Alerts[m.Alert] = a
	d.out.Alert, d.out.Note = d.r.Ref(m.Alert), true
	d.out.Severity = m.Severity
	return d.set(incident.NextPage, incident.SituationNote, "handed over, and still not healthy: "+d.l.firstReason())
}

// healthy is row 9.
func (d *decider) healthy() bool {
	if d.l.Verdict != incident.VerdictHealthy {
		return false
	}
	if e := d.f.EC2.Value; (e.System || e.EBS) && d.lasted(e.ImpairedSince, impaired) {
		return d.slack(incident.SituationImpaired, incident.SituationImpaired, "healthy, but "+e.impairment(), true)
	}
	if d.l.Covered {
		return d.slack(incident.SituationCovered, incident.SituationCovered, "healthy, but a check could not be made", true)
	}
	if d.recovers && len(d.i.Recoveries) >= unsteady {
		return d.slack(incident.SituationUnsteady, incident.SituationUnsteady, fmt.Sprintf("healthy, after %d failures within two hours", len(d.i.Recoveries)), true)
	}
	return d.done("healthy")
}

// failed is row 10.
func (d *decider) failed() bool {
	if d.l.Verdict != incident.VerdictFailed {
		return false
	}
	if d.severity() >= incident.SeverityDown {
		if why := d.breaker(); why != "" {
			return d.hold(why)
		}
	}
	guard, reason := d.guard()
	if guard == "" && d.i.Execution.Tries >= maxTries {
		guard, reason = GuardTries, fmt.Sprintf("this incident was to reboot it %d times, and the step that reboots did not: %s", maxTries, cmp.Or(d.in.Caught["reboot"], "see its log"))
	}
	switch {
	case guard == GuardInitializing && d.now.Sub(d.in.StartedAt) < time.Duration(d.s.Boot.WindowSeconds)*time.Second:
		return d.wait(lookAgain, reason)
	case guard != "":
		d.out.Guard = guard
		return d.pageLook(incident.SituationNotRebooted, reason)
	}
	d.needsConfirming = true
	d.out.WaitSeconds = d.s.Boot.FirstLookSeconds
	return d.set(incident.NextReboot, "", d.l.firstReason())
}

// slackAlone is row 11.
func (d *decider) slackAlone() bool {
	if d.l.Verdict != incident.VerdictUnknown || !d.l.anyPassed() || d.in.NoSlack {
		return false
	}
	situation := incident.SituationBusy
	switch d.l.Kind {
	case incident.Busy:
		// Varnish says 503 with Retry-After of a server behind it that is dead.
		if d.l.of(incident.CheckURL).Kind == incident.Busy && d.lasted(d.i.UnhealthySince, busySlack) {
			return false
		}
	case incident.Blind:
		situation = incident.SituationBlind
		if !d.l.is(incident.CheckURL, incident.Passed) && d.lasted(d.i.UnhealthySince, blindSlack) {
			return false
		}
		if d.i.SlackKey != d.l.cause() && !d.lasted(d.i.Execution.BlindSince, blindPatience) {
			return d.wait(lookBlind, "blind for less than two minutes: "+d.l.firstReason())
		}
	default:
		return false
	}
	return d.slack(situation, d.l.cause(), d.l.firstReason(), true)
}

// unknown is row 12.
func (d *decider) unknown() bool {
	if d.l.Kind == incident.Blind && !d.lasted(d.i.Execution.BlindSince, blindPatience) {
		return d.wait(lookBlind, "blind for less than two minutes: "+d.l.firstReason())
	}
	situation := map[incident.Kind]string{
		incident.Attention: incident.SituationAttention, incident.Contradicted: incident.SituationContradicted,
		incident.Busy: incident.SituationBusy, incident.Blind: incident.SituationBlind,
	}[d.l.Kind]
	if d.l.cause() == KeyVantage {
		situation = incident.SituationOnlyHere
	}
	return d.pageLook(situation, d.l.firstReason())
}

// confirm puts off a reboot or a page until the verdict has held in every look
// for long enough.
func (d *decider) confirm() {
	if !d.needsConfirming {
		return
	}
	need := time.Duration(d.s.ConfirmSeconds) * time.Second
	held := time.Duration(-1)
	if since := d.heldSince(); since > 0 {
		held = d.l.seenAt(d.now).Sub(since) // the decision may come long after the checks
	}
	if held >= need {
		if d.out.Next == incident.NextReboot {
			d.i.Execution.Tries++
		}
		return
	}
	confirming := "page"
	if d.out.Next == incident.NextReboot {
		confirming = "reboot"
	}
	reason, row := d.out.Reason, d.out.Row
	*d.i, *d.r = d.before.Instance, d.before.Region
	d.out = incident.Decision{Look: d.in.Look, At: d.now, Row: row, AlarmState: d.out.AlarmState, Confirming: confirming}
	seconds := lookAgain
	if left := int((need - held).Seconds()) + 1; left < seconds {
		seconds = max(left, incident.MinIntervalSeconds)
	}
	d.wait(seconds, "must hold for "+incident.Span(need)+" first: "+reason)
}

// heldSince is since when the verdict has held in every look of this execution.
// A failure counts looks in which the same check failed.
func (d *decider) heldSince() incident.Millis {
	if d.l.Verdict != incident.VerdictFailed {
		return d.i.Execution.UnhealthySince
	}
	since := incident.Millis(0)
	for _, check := range d.l.failed() {
		if t := d.i.Execution.FailedSince[check]; since == 0 || t < since {
			since = t
		}
	}
	return since
}

// finish completes the decision and what is stored of it.
func (d *decider) finish() {
	if d.in.Look >= incident.MaxLooks && (d.out.Next == incident.NextWait || d.out.Next == incident.NextReboot) {
		d.out.WaitSeconds = 0
		d.done(fmt.Sprintf("an execution ends after %d looks; the schedule goes on: %s", incident.MaxLooks, d.out.Reason))
	}
	d.out.Verdict, d.out.Kind, d.out.Findings = d.l.Verdict, d.l.Kind, d.l.Findings
	d.out.Reboots = slices.Clone(d.i.Reboots)
	d.out.Since = max(d.i.HealthySince, d.i.UnhealthySince)
	d.out.Unasked, d.out.Vantage = d.f.unasked(), d.l.vantages(&d.in)
	d.i.LastRow, d.i.LastReason = d.out.Row, incident.ClipLine(d.out.Reason, 300)
	d.i.AtRest = d.out.Next == incident.NextDone && d.restful()
}

// restful reports whether nothing is left to be looked after: the last look was
// healthy or row 1 decided, no alert, no reboot whose outcome is open or untold.
func (d *decider) restful() bool {
	return (d.l.Verdict == incident.VerdictHealthy || d.out.Row == 1) && d.i.settled()
}

func (i *Instance) settled() bool {
	r := i.lastReboot()
	return i.Membership == nil && (r == nil || r.Told || r.Request == incident.RequestRefused || r.Outcome == incident.OutcomeOverridden || r.Outcome == incident.OutcomeNotCured)
}

// clock writes a time for people.
func clock(m incident.Millis) string { return m.Time().Format("15:04 UTC") }

// NeedsOthers reports whether a decision needs to know whether another instance
// of the region answers us: for a failure of our own checks without a byte that
// Route 53 does not confirm.
func NeedsOthers(in Input) bool {
	l := weigh(&in)
	return l.ownFailed() && !l.ownAnswered() && !l.is(incident.CheckRoute53, incident.Failed)
}
