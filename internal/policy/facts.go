package policy

import (
	"maps"
	"slices"
	"time"

	"firstline/internal/incident"
)

// Fact is something that was asked just now. One that could not be asked says
// why; the zero value was not asked.
type Fact[T any] struct {
	Value T
	Asked bool
	Err   string
}

// Known is a fact with a value.
func Known[T any](v T) Fact[T] { return Fact[T]{Value: v, Asked: true} }

// CouldNotAsk is a fact without a value.
func CouldNotAsk[T any](why string) Fact[T] { return Fact[T]{Err: why} }

// Facts are what was asked just now.
type Facts struct {
	// Unwatched: the instance has no settings any more.
	Unwatched bool
	// Alarm is the state of the instance's alarms: ALARM if one of them is.
	Alarm Fact[string]
	EC2   Fact[EC2]
	// Others says whether another instance of the region answers us.
	Others Fact[Others]
	// Connected: our own way out works.
	Connected Fact[bool]
	// Peers are what other regions see of the targets that sent us no byte, and Closed
	// says by check why the security groups admit nobody to such a target.
	Peers  []Peer
	Closed Fact[map[string]string]
	// Alerts are the states of alerts at their pagers, by id.
	Alerts map[string]AlertState
}

// StateAlarm is the state of an alarm that fires.
const StateAlarm = "ALARM"

// EC2 is what EC2 says of the instance.
type EC2 struct {
	Name string
	// Unknown: EC2 knows no such instance.
	Unknown bool
	// State is EC2's word for it, such as "running".
	State string
	// Terminated, Stopped and Running sort the state; ByPerson: a person stopped it.
	Terminated, Stopped, Running bool
	ByPerson                     bool
	// LaunchedAt is when it was last started; 0 if EC2 does not say.
	LaunchedAt incident.Millis
	// Initializing: its status checks have no result yet. Unclear: EC2 gives no
	// status for it.
	Initializing, Unclear bool
	// System, Instance and EBS: that status check of EC2's is impaired. ImpairedSince
	// is since when the system or a volume is; 0: EC2 does not say.
	System, Instance, EBS bool
	ImpairedSince         incident.Millis
	// NoCredits says in words that it has no CPU credits left, and is slow; CreditsErr
	// why that could not be asked.
	NoCredits, CreditsErr string
	// Scheduled says in words what AWS is about to do with it; "" for nothing.
	Scheduled string
	// Pause is what its tag says; nil without one.
	Pause *Pause
	// PauseErr says why the tag cannot be read. Somebody meant to pause the
	// instance, so it is not rebooted.
	PauseErr string
}

// impairment is what AWS repairs, in words.
func (e EC2) impairment() string {
	if e.System {
		return "EC2's system status check is impaired, which no reboot cures: AWS repairs that, or a stop and a start moves the instance"
	}
	return "EC2's status check of the attached EBS volumes is impaired, which no reboot cures"
}

// Others says whether another instance of the region answers us.
type Others struct {
	// Any: there is another watched instance. Answered: one of them sent a byte.
	Any, Answered bool
}

// AlertState is the state of an alert at its pager.
type AlertState string

// States of an alert. The zero value could not be asked.
const (
	AlertOpen   AlertState = "open"
	AlertClosed AlertState = "closed"
	// AlertUnreadable: this pager cannot tell.
	AlertUnreadable AlertState = "unreadable"
)

func (f *Facts) alertUnreadable(id string) bool { return f.Alerts[id] == AlertUnreadable }

// unasked are the facts that could not be asked, in words.
func (f *Facts) unasked() (why []string) {
	for _, err := range []string{f.Alarm.Err, f.EC2.Err, f.Others.Err, f.Connected.Err, f.Closed.Err} {
		if err != "" {
			why = append(why, err)
		}
	}
	for _, p := range f.Peers {
		if !p.reaches() && !p.seesDown() {
			why = append(why, p.why())
		}
	}
	return why
}

// clone copies the state so far that a decision may change the copy.
func (s State) clone() State {
	i, r := s.Instance, s.Region
	i.Findings = slices.Clone(i.Findings)
	i.Recoveries = slices.Clone(i.Recoveries)
	i.Execution.FailedSince = maps.Clone(i.Execution.FailedSince)
	i.Baseline, i.Reach = maps.Clone(i.Baseline), maps.Clone(i.Reach)
	i.Reboots = slices.Clone(i.Reboots)
	if i.Membership != nil {
		m := *i.Membership
		i.Membership = &m
	}
	r.Alerts = maps.Clone(r.Alerts)
	for id, a := range r.Alerts {
		a.Members = maps.Clone(a.Members)
		a.Old = slices.Clone(a.Old)
		r.Alerts[id] = a
	}
	r.Reboots = slices.Clone(r.Reboots)
	r.Silent, r.Hours = maps.Clone(r.Silent), maps.Clone(r.Hours)
	return State{i, r}
}

// see records the look, and what the facts say about what is stored.
func (d *decider) see() {
	if d.f.Unwatched {
		d.before = State{*d.i, *d.r}.clone()
		return
	}
	d.forget()
	d.seeFacts()
	d.seeLook()
	d.before = State{*d.i, *d.r}.clone()
}

// forget drops what is too old to count.
func (d *decider) forget() {
	d.i.Reboots = slices.DeleteFunc(d.i.Reboots, func(r incident.Reboot) bool { return d.now.Sub(r.At) >= keepReboots })
	d.r.Reboots = slices.DeleteFunc(d.r.Reboots, func(r RegionReboot) bool { return d.now.Sub(r.At) >= keepRegionReboots })
	d.i.Recoveries = slices.DeleteFunc(d.i.Recoveries, func(t incident.Millis) bool { return d.now.Sub(t) >= keepRecoveries })
	maps.DeleteFunc(d.r.Silent, func(_ string, t incident.Millis) bool { return d.now.Sub(t) >= keepSilent })
}

// seeFacts takes over what the facts say.
func (d *decider) seeFacts() {
	if d.i.Execution.ID != d.in.Execution {
		d.i.Execution = Execution{ID: d.in.Execution}
	}
	e := &d.i.Execution
	e.Alarm = e.Alarm || d.in.Alarm || d.f.Alarm.Asked && d.f.Alarm.Value == StateAlarm
	if ec2 := d.f.EC2; ec2.Asked {
		d.i.UnknownToEC2++
		if !ec2.Value.Unknown {
			d.i.UnknownToEC2 = 0
			d.i.Pause, d.i.Name = ec2.Value.Pause, ec2.Value.Name
		}
	}
	for id, state := range d.f.Alerts {
		if a, ok := d.r.Alerts[id]; ok && state == AlertClosed && a.ClosedAt == 0 {
			a.ClosedAt = d.now
			d.r.Alerts[id] = a
		}
	}
}

// seeLook records what the look saw.
func (d *decider) seeLook() {
	i, e := d.i, &d.i.Execution
	e.Looks++
	if d.recovers = d.l.Verdict == incident.VerdictHealthy && i.UnhealthySince > 0 && i.LastKind != incident.Blind; d.recovers {
		i.Recoveries = append(i.Recoveries, d.now)
	}
	if slices.ContainsFunc(d.f.Peers, func(p Peer) bool { return p.reaches() && !d.l.is(p.Check, incident.Passed) }) {
		i.OnlyHereAt = d.now
	}
	i.LastLookAt, i.LastVerdict, i.LastKind = d.now, d.l.Verdict, d.l.Kind
	isRepeated := d.l.isRepeated(i.Findings)
	i.Findings = nil
	for _, f := range d.l.Findings {
		f.Reason = incident.ClipLine(f.Reason, 300)
		i.Findings = append(i.Findings, f)
	}
	i.Learn(d.in.Findings, d.s)
	i.LearnReach(d.f.Peers, d.in.Findings, d.s, d.now)
	// One that we have just rebooted is silent while it boots. One that has been
	// unhealthy since before the breaker was closed fell silent before.
	r, boots := i.openReboot(), time.Duration(d.s.ConfirmSeconds)*time.Second
	isNew := i.UnhealthySince == 0 || i.UnhealthySince > d.r.BreakerResetAt
	if (d.l.silent() || d.halted()) && e.Looks > 1 && isNew && (r == nil || !d.within(r.At, boots)) {
		if d.r.Silent == nil {
			d.r.Silent = map[string]incident.Millis{}
		}
		d.r.Silent[i.ID] = d.now
	}
	if d.l.Verdict == incident.VerdictHealthy {
		d.seeHealthy(isRepeated)
	} else {
		d.seeUnhealthy()
	}
}

// isRepeated reports whether all that passes was seen by the look before, which found
// what is given: then it is one observation, and not two looks that agree.
func (l *Look) isRepeated(before []incident.Finding) bool {
	isNew := func(f incident.Finding) bool {
		return f.Outcome == incident.Passed && !slices.ContainsFunc(before, func(b incident.Finding) bool { return b.Check == f.Check && b.At == f.At && f.At > 0 })
	}
	return l.anyPassed() && !slices.ContainsFunc(l.Findings, isNew)
}

// Learn keeps in the baseline which checks the instance has passed with these
// settings.
func (i *Instance) Learn(findings []incident.Finding, s *incident.Settings) {
	for _, f := range findings {
		if f.Outcome != incident.Passed || f.Elsewhere {
			continue
		}
		if i.Baseline == nil {
			i.Baseline = map[string]string{}
		}
		i.Baseline[f.Check] = s.Fingerprint(f.Check)
		if f.Check == incident.CheckSSH {
			i.HostKeyType = f.HostKeyType
		}
	}
}

// KnownHostKeyType is the type of the pinned host key, "" where it is not known
// with these settings (nil: there are none).
func (i *Instance) KnownHostKeyType(s *incident.Settings) string {
	if s == nil || i.Baseline[incident.CheckSSH] != s.Fingerprint(incident.CheckSSH) {
		return ""
	}
	return i.HostKeyType
}

func (d *decider) seeHealthy(isRepeated bool) {
	i, e := d.i, &d.i.Execution
	if m := i.Membership; m != nil {
		m.Unsteady = m.Unsteady || len(i.Recoveries) >= unsteady
	}
	i.UnhealthySince, i.FailedSince = 0, 0
	e.UnhealthySince, e.BlindSince, e.FailedSince = 0, 0, nil
	if d.skipsWhatFailed() {
		// It proves nothing about what this alert or reboot is about.
		i.HealthyRun, i.HealthySince = 0, 0
		return
	}
	if !isRepeated {
		i.HealthyRun++
	}
	if i.HealthySince == 0 {
		i.HealthySince = d.now
	}
	isLong := d.lasted(i.HealthySince, well)
	if i.Membership != nil && isLong {
		i.Membership.LongWell = true
	}
	if i.settled() && isLong && !d.l.Covered {
		i.SlackKey = ""
	}
}

// skipsWhatFailed reports whether the look skipped a check that had failed in the
// instance's alert, or before the reboot whose outcome is open, for a day at most:
// that check may never be made again.
func (d *decider) skipsWhatFailed() bool {
	var failed []string
	if m := d.i.Membership; m != nil && d.within(m.JoinedAt, daily) {
		failed = append(failed, m.Failed...)
	}
	if r := d.i.openReboot(); r != nil && d.within(r.At, time.Duration(d.s.Boot.WindowSeconds)*time.Second) {
		failed = append(failed, r.Failed...)
	}
	return slices.ContainsFunc(failed, func(check string) bool { return d.s.Enabled(check) && d.l.is(check, incident.Skipped) })
}

func (d *decider) seeUnhealthy() {
	i, e := d.i, &d.i.Execution
	seen := d.l.seenAt(d.now)
	since := func(at *incident.Millis, holds bool) {
		switch {
		case !holds:
			*at = 0
		case *at == 0:
			*at = seen
		}
	}
	if i.settled() && d.lasted(i.HealthySince, well) {
		i.SlackKey = "" // something new
	}
	i.HealthyRun, i.HealthySince = 0, 0
	isFailed := d.l.Verdict == incident.VerdictFailed
	since(&i.UnhealthySince, true)
	since(&i.FailedSince, isFailed)
	since(&e.UnhealthySince, true)
	since(&e.BlindSince, d.l.Kind == incident.Blind)
	for _, check := range incident.Checks {
		if !d.l.is(check, incident.Failed) {
			delete(e.FailedSince, check)
			continue
		}
		if e.FailedSince == nil {
			e.FailedSince = map[string]incident.Millis{}
		}
		if e.FailedSince[check] == 0 {
			e.FailedSince[check] = seen
		}
	}
}

// isWell reports whether the instance has been healthy for long enough to leave
// its alert.
func (d *decider) isWell() bool {
	if d.i.HealthyRun < 2 {
		return false
	}
	if m := d.i.Membership; m != nil && d.r.Alerts[m.Alert].ClosedAt > 0 && !m.Unsteady {
		return true // a person says that it is mended, and two looks agree
	}
	if m := d.i.Membership; m != nil && m.Unsteady || d.within(d.i.LastResolvedAt, wellMemory) {
		return d.lasted(d.i.HealthySince, wellAgain)
	}
	return d.lasted(d.i.HealthySince, well)
}

// pause returns the pause that holds now, and its scope.
func (d *decider) pause() (p *Pause, scope string) {
	if p := d.r.Pause; p != nil && d.now < p.Until {
		return p, "region"
	}
	if p := d.i.Pause; p != nil && d.now < p.Until {
		return p, "instance"
	}
	return nil, ""
}
