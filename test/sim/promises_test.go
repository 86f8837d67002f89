package sim

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

// seen is what the invariants remember of a machine.
type seen struct {
	// downSince and downLast are the begin and the last minute of an episode,
	// which a break of less than half an hour does not end; runSince is the begin
	// of the present run, which one of 90 seconds ends.
	downSince, downLast, runSince time.Time
	// firedSince is since when it is down while its alarm fires and somebody
	// could be woken.
	firedSince time.Time
	isSilent   bool
	okAt       time.Time // it was well for five minutes
	woken      time.Time
	paged      time.Time
	reboot     time.Time
	// untold is the newest reboot whose outcome nobody has heard of.
	untold           time.Time
	problems, closes int
	wakes            int
	// notHelped is the newest reboot, if the machine was down when its boot window
	// closed. stoppedAt is when the machine was last stopped: whoever did that may be
	// at work on it for a while.
	notHelped, stoppedAt time.Time
	isStopped            bool
}

// inFlight counts the reboots made more than a minute ago whose outcome the table
// does not know, and that may open the breaker.
func (w *world) inFlight() (n int) {
	l, err := w.table.Instances(context.Background())
	if err != nil {
		panic(err)
	}
	for _, r := range l.Region.Reboots {
		if age := time.Since(r.At.Time()); r.Outcome == "" && age > time.Minute && age < time.Hour && r.At > l.Region.BreakerResetAt {
			n++
		}
	}
	return n
}

// limits of the promise "never silent".
const (
	wokenWithin       = 35 * time.Minute
	wokenWithinFaults = 50 * time.Minute
)

func (w *world) wokenWithin() time.Duration {
	if w.dies > 0 || w.faulty > .3 { // which ends whole runs of reconcile
		return wokenWithinFaults
	}
	return wokenWithin
}

// watch checks the promises once a minute.
func (w *world) watch() {
	for _, m := range w.machines {
		w.watchMachine(m)
	}
	w.watchAlerts()
}

func (w *world) watchMachine(m *machine) {
	now, s := time.Now(), &m.seen
	if !w.isDown(m, now) || m.unwatched {
		if !m.isRunning() && !s.isStopped {
			s.stoppedAt = now
		}
		s.isStopped = !m.isRunning()
		if m.isRunning() && now.Sub(s.downLast) > 5*time.Minute {
			s.okAt = now
		}
		s.firedSince = time.Time{}
		return
	}
	if now.Sub(s.downLast) > 30*time.Minute {
		s.downSince, s.isSilent = now, false
	}
	if now.Sub(s.downLast) > 90*time.Second {
		s.runSince, s.firedSince = now, time.Time{}
	}
	s.downLast = now
	isFiring := now.Before(m.alarmUntil)
	// See severity. Where our way to the web server alone is broken, and Route 53 says so,
	// nothing that sends us no byte counts.
	isWebHidden := m.webPath != well && m.settings.Enabled(incident.CheckRoute53)
	isHidden := m.closed || w.answersElsewhere(m) || (m.sshPath != well || w.path != well || isWebHidden) && !m.web.down()
	isBlind := w.isOut("route53") && !m.settings.Enabled(incident.CheckURL) && !m.settings.Enabled(incident.CheckSSH)
	cannotTell := isHidden || isBlind || now.Before(m.pause) || !now.Before(m.workFrom) && now.Before(m.work) || w.noPager() || len(m.blinded) > 0 ||
		slices.ContainsFunc([]string{"ec2", "egress", "ssm", "table"}, w.isOut)
	if cannotTell || !isFiring {
		s.firedSince = time.Time{}
	}
	if isFiring && s.firedSince.IsZero() {
		s.firedSince = now
	}
	limit := w.wokenWithin()
	if !w.isReadable() { // who joins by a note, which it does not take, is told by the next page
		limit += 20 * time.Minute
		if w.severity(m) < incident.SeverityDown { // it may be the settings that are wrong: an hour later
			limit += 45 * time.Minute
		}
	}
	if s.isSilent || s.firedSince.IsZero() || now.Sub(s.firedSince) <= limit || now.Sub(s.runSince) <= limit || w.isTold(m) {
		return
	}
	s.isSilent = true
	w.violate("silent", "%s is down since %s, its alarm fires, and nobody has been woken", m.name, s.runSince.Format("15:04"))
}

// noPager reports whether nothing can be relied upon to wake anybody.
func (w *world) noPager() bool {
	for _, p := range w.pagers {
		if !w.ails(p) {
			return false
		}
	}
	return len(w.pagers) > 0 || w.isOut("slack")
}

// ails reports whether anything is the matter with a pager.
func (w *world) ails(p *pager) bool {
	return w.pagerIs("", p) || w.pagerIs("late", p) || w.pagerIs("discards", p)
}

// isReadable reports whether each pager tells whether its alerts are open.
func (w *world) isReadable() bool {
	isBlind := func(p *pager) bool { return !p.can.Readable }
	return len(w.pagers) > 0 && !slices.ContainsFunc(w.pagers, isBlind)
}

// isTold reports whether a person knows that a machine is down: somebody was
// woken since, or it is a member of an alert that is open or in its quiet.
func (w *world) isTold(m *machine) bool {
	now, s := time.Now(), &m.seen
	if !s.woken.IsZero() && !s.woken.Before(s.downSince) {
		return true
	}
	for _, p := range append(slices.Collect(maps.Values(w.known)), w.slack) {
		for _, a := range p.alerts {
			t, isMember := a.members[m.id]
			switch {
			case !isMember, t.again && !w.isUnsteady(m):
			case a.isLost, p == w.slack:
				// As far as anybody can know, somebody has been told, until it ends.
				if now.Sub(a.opened) < 24*time.Hour+w.wokenWithin() && w.isKept(a, m) {
					return true
				}
			case t.severity < incident.SeverityDown && w.severity(m) >= incident.SeverityDown:
			case a.open, !a.closedBy.IsZero() && now.Sub(a.closedBy) < quietOf(a.key)+w.wokenWithin():
				return true
			case !p.can.Readable && !a.closedBy.IsZero() && now.Sub(a.opened) < 24*time.Hour+w.wokenWithin():
				return true
			}
		}
	}
	return false
}

// isKept reports whether the table has an alert, with a machine as its member.
func (w *world) isKept(a *alert, m *machine) bool {
	for _, kept := range w.keptAlerts() {
		if _, isMember := kept.Members[m.id]; isMember && kept.Alias == a.alias {
			return true
		}
	}
	return false
}

// isUnsteady reports whether firstline takes a machine for one whose looks fail at
// random: its alert is open, and it takes two hours of failed looks to page again.
func (w *world) isUnsteady(m *machine) bool {
	e, err := w.table.Load(context.Background(), m.id)
	if err != nil {
		panic(err)
	}
	return e.State.Instance.Membership != nil && e.State.Instance.Membership.Unsteady
}

// quietOf is how long a person who has closed the alert with this key has a machine.
func quietOf(key string) time.Duration {
	if strings.HasSuffix(key, "/"+string(incident.Attention)) {
		return 24 * time.Hour
	}
	return 4 * time.Hour
}

// severity is the one that a machine's truth has for our own checks. Without a
// baseline it may be the settings that are wrong, and what ails an SSH server
// behind a way that is closed to us, nobody can see.
func (w *world) severity(m *machine) incident.Severity {
	if m.power == halted {
		return incident.SeverityDown
	}
	e, err := w.table.Load(context.Background(), m.id)
	if err != nil {
		panic(err)
	}
	s, passed := &m.settings, e.State.Instance.Baseline
	if m.closed || w.answersElsewhere(m) {
		return incident.SeverityUnknown
	}
	own := s.Enabled(incident.CheckURL) && m.web.down() && passed[incident.CheckURL] == s.Fingerprint(incident.CheckURL) ||
		s.Enabled(incident.CheckSSH) && m.ssh.down() && passed[incident.CheckSSH] == s.Fingerprint(incident.CheckSSH) && m.sshPath == well && w.path == well
	if own || !s.Enabled(incident.CheckURL) && !s.Enabled(incident.CheckSSH) && passed[incident.CheckRoute53] == s.Fingerprint(incident.CheckRoute53) {
		return incident.SeverityDown
	}
	return incident.SeverityUnknown
}

// answersElsewhere reports whether only other regions get an answer, though a wrong one:
// that is not down for us, and nor is what is closed to all.
func (w *world) answersElsewhere(m *machine) bool {
	return w.pathTo(m) != well && len(w.peers) > 0 && !m.private && (m.web == broken || m.ssh == broken)
}

// endsWithin is how long an alert may stay open once all of it is over.
const endsWithin = time.Hour

// watchAlerts finds alerts that nothing ends: all their members have been well,
// or gone, for long enough.
func (w *world) watchAlerts() {
	for _, a := range w.openAlerts() {
		if !w.isOver(a) || w.isMessage(a) {
			a.emptied = time.Time{}
			continue
		}
		if a.emptied.IsZero() {
			a.emptied = time.Now()
		}
		if took := time.Since(a.emptied); took > w.takesToBeWell(a)+endsWithin {
			a.emptied = time.Now()
			w.violate("ends", "the alert %s is open, though all of it has been over for %s", a.alias, took)
		}
	}
}

// isMessage reports whether an alert is one of SNS that another pager has as well, or the
// hour's: to close it there would be one more message.
func (w *world) isMessage(a *alert) bool {
	return !a.pager.can.Deduplicates && (len(w.known) > 1 || isOfTheHour(a))
}

// isOfTheHour reports whether an alert is one that the table does not know: its
// alias is the hour's, and reconcile closes it after the next.
func isOfTheHour(a *alert) bool {
	return a.key == policy.KeyStore || a.key == policy.KeyNoIncident
}

// takesToBeWell is for how long the members of an alert must be healthy. What
// makes it two hours is what the table says, which people read as well.
func (w *world) takesToBeWell(a *alert) time.Duration {
	l, err := w.table.Instances(context.Background())
	if err != nil {
		panic(err)
	}
	takes := 40 * time.Minute // 30, and a look at either end
	for _, i := range l.Instances {
		_, isMember := a.members[i.ID]
		isLong := i.Membership != nil && i.Membership.Unsteady || time.Since(i.LastResolvedAt.Time()) < 8*time.Hour
		if isMember && isLong {
			takes = 2*time.Hour + 10*time.Minute
		}
	}
	return takes
}

// isOver reports whether nothing is wrong any more with the members of an alert,
// and nothing keeps the function from seeing that. Where calls fail at random,
// looks are blind every few minutes, and no instance is well by the rule that
// each look for 30 minutes must be healthy: there the alerts must end once the
// faults have (checkRest).
func (w *world) isOver(a *alert) bool {
	if isOfTheHour(a) && time.Now().Before(a.opened.Truncate(time.Hour).Add(2*time.Hour)) {
		return false
	}
	for id := range a.members {
		m := w.machine(id)
		if m != nil && m.power == halted {
			return false
		}
		if m == nil || m.unwatched || !m.isRunning() || isOfTheHour(a) {
			continue
		}
		if time.Since(m.seen.downLast) < 2*time.Minute || time.Since(m.changed) < 2*time.Minute || len(m.blinded) > 0 || len(m.elsewhere) > 0 || m.closed || m.settings.URL.BodyPattern != "" || m.web != well || m.ssh != well || m.webPath != well || m.sshPath != well {
			return false
		}
	}
	if slices.ContainsFunc([]string{"ec2", "route53", "egress", "table", "ssm"}, w.isOut) {
		return false
	}
	return w.path == well && w.dies == 0 && w.faulty == 0 && !w.noPager()
}

// checkReboot checks a reboot at the instant at which EC2 makes it.
func (w *world) checkReboot(m *machine, i *invocation) {
	now, s := time.Now(), &m.seen
	w.logf("REBOOT of %s", m.name)
	w.count["reboots"]++
	w.rebootIsHarmless(m)
	isAnnounced := !s.paged.IsZero() // else she reboots it without a word, and what it looks like from here decides
	if !now.Before(m.workFrom) && now.Before(m.work) && (isAnnounced || !w.isDown(m, now) && w.pathTo(m) == well) {
		w.violate("harm", "%s was rebooted while a person worked on it", m.name)
	}
	race := 5 * time.Second
	if w.faulty > 0 {
		race = functionTime
	}
	if now.Before(m.pause) && now.Sub(m.pauseFrom) > race {
		w.violate("harm", "%s was rebooted while it was paused", m.name)
	}
	isLongStopped := s.stoppedAt.After(s.paged) && now.Sub(s.stoppedAt) > 4*time.Hour
	if !s.paged.IsZero() && s.okAt.Before(s.paged) && !s.downSince.After(s.paged) && !isLongStopped {
		w.violate("harm", "%s was rebooted after a page, never well between", m.name)
	}
	if m.unwatched {
		w.violate("harm", "%s was rebooted though it is no longer watched", m.name)
	}
	if m.settings.Reboot.DryRun {
		w.violate("harm", "%s was rebooted though reboot.dry_run is set", m.name)
	}
	if !s.notHelped.IsZero() && s.okAt.Before(s.notHelped) {
		w.violate("loop", "%s was rebooted though the reboot before did not help", m.name)
	}
	if n := w.inFlight(); n >= w.breaker.InFlight {
		w.violate("loop", "%s is reboot %d in flight", m.name, n+1)
	}
	w.rebootIsAllowed(m, i)
	m.reboots = append(m.reboots, now)
	w.rebootsAt = append(w.rebootsAt, now)
	s.reboot, s.untold = now, now
	w.after(time.Duration(m.settings.Boot.WindowSeconds)*time.Second, func() {
		s.notHelped = time.Time{}
		if m.isRunning() && (m.web.down() || m.ssh.down()) && w.knowsReboot(m) {
			s.notHelped = now
		}
	})
}

// knowsReboot reports whether the table knows that EC2 was asked for the newest
// reboot. One that is only reserved may never have been made.
func (w *world) knowsReboot(m *machine) bool {
	e, err := w.table.Load(context.Background(), m.id)
	if err != nil {
		panic(err)
	}
	all := e.State.Instance.Reboots
	return len(all) > 0 && all[len(all)-1].Request != incident.RequestReserved
}

// rebootIsHarmless checks that the machine is down.
func (w *world) rebootIsHarmless(m *machine) {
	now := time.Now()
	if now.Before(m.bootUntil) {
		w.violate("harm", "%s was rebooted while it was booting", m.name)
		return
	}
	if m.noCredits && m.impaired != "instance" {
		w.violate("harm", "%s was rebooted for being slow: it has no CPU credits", m.name)
	}
	if m.settings.Reboot.On == incident.OnUnreachable && w.answers(m) && !now.Before(m.flapUntil) && now.Sub(m.changed) > 5*time.Minute {
		w.violate("harm", "%s was rebooted though it answers, and reboot.on is \"unreachable\"", m.name)
	}
	if w.isDown(m, now) || now.Sub(m.seen.downLast) <= 90*time.Second || now.Before(m.flapUntil) {
		w.count["reboots of a machine that is down"]++
		return
	}
	isUnconfirmed := m.private || !w.canAskPeers()
	isAlone := isUnconfirmed && (!m.settings.Enabled(incident.CheckRoute53) || w.isOut("route53") || m.blinded[incident.CheckRoute53])
	switch path := w.pathTo(m); {
	case isAlone && slices.Contains([]service{w.path, m.webPath, m.sshPath}, silent):
		w.count["irreducible: a middle box accepts for a host that is cut off from us"]++
	case isAlone && path == refused && m.sshPath == well && w.path == well:
		w.count["irreducible: web refused to us alone while SSH answers"]++
	case isUnconfirmed && m.sshPath == silent && w.path == well && (m.webPath == well || !m.settings.Enabled(incident.CheckURL)) && m.settings.Reboot.On == incident.OnAnyCheck:
		// One failed check is enough, and this one looks like a server that hangs.
		w.count["irreducible: a middle box accepts on the SSH port alone"]++
	case m.settings.Enabled(incident.CheckRoute53) && w.terse && (m.web == attention || m.web == busy):
		// Route 53 names the status that its checkers get. If it ever does not, what
		// they do not like cannot be told from what is down.
		w.count["irreducible: Route 53 fails a machine that answers, and names no status"]++
	default:
		w.violate("harm", "%s was rebooted though it is healthy (web %s, ssh %s; our way: web %s, ssh %s, all %s; unconfirmed %t)",
			m.name, m.web, m.ssh, m.webPath, m.sshPath, w.path, isUnconfirmed)
	}
}

// canAskPeers reports whether a peer could have contradicted a reboot.
func (w *world) canAskPeers() bool {
	for _, peer := range w.peers {
		if w.faulty == 0 && !w.isOut("peer:"+peer) {
			return true
		}
	}
	return false
}

func (w *world) pathTo(m *machine) service {
	switch {
	case w.path != well:
		return w.path
	case m.webPath != well:
		return m.webPath
	}
	return m.sshPath
}

// rebootIsAllowed checks the bounds of the settings.
func (w *world) rebootIsAllowed(m *machine, i *invocation) {
	now := time.Now()
	if e := i.execution; e != nil {
		if e.reboots++; e.reboots > 1 {
			w.violate("loop", "%s was rebooted twice by one incident", m.name)
		}
	}
	day := 0
	for _, at := range m.reboots {
		// A minute, since the reservation comes before the reboot.
		if now.Sub(at) < time.Duration(m.settings.Reboot.CooldownSeconds)*time.Second-time.Minute {
			w.violate("loop", "%s was rebooted within its cooldown, after %s", m.name, now.Sub(at).Round(time.Minute))
		}
		if now.Sub(at) < 24*time.Hour-time.Minute {
			day++
		}
	}
	if day >= m.settings.Reboot.PerDay {
		w.violate("loop", "%s was rebooted %d times within a day", m.name, day+1)
	}
	hour, minute := 0, 0
	for _, at := range w.rebootsAt {
		if at.Before(w.breakerClosed) {
			continue
		}
		if now.Sub(at) < time.Hour-2*time.Minute {
			hour++
		}
		if now.Sub(at) < 50*time.Second { // no outcome is known yet
			minute++
		}
	}
	if hour >= w.breaker.PerHour {
		w.violate("loop", "%d reboots in the region within an hour", hour+1)
	}
	if minute >= w.breaker.InFlight {
		w.violate("loop", "%d reboots in flight", minute+1)
	}
}

// heardOutcome records that people heard what became of a reboot.
func (w *world) heardOutcome(m notify.Message) {
	x := w.machine(m.Incident.InstanceID)
	d := m.Incident.Decision
	if x == nil || d == nil {
		return
	}
	for _, r := range d.Reboots {
		if r.Outcome != "" && !r.At.Time().Before(x.seen.untold.Add(-2*time.Minute)) {
			x.seen.untold = time.Time{}
		}
	}
	switch d.Situation {
	case incident.SituationGone, incident.SituationStopped, incident.SituationUnwatched:
		x.seen.untold = time.Time{}
	}
}

// checkNoise checks a page at the instant at which it wakes somebody.
func (w *world) checkNoise(a *alert, m notify.Message) {
	if w.quiet || w.isRepeat(a) {
		return
	}
	now, recent := time.Now(), 0
	for _, other := range w.wakes {
		if now.Sub(other.at) < 10*time.Minute {
			recent++
		}
		isCause := strings.Contains(a.key, "/") || a.key == policy.KeyBreaker
		// Where a pager cannot tell that its alert is open, who has joined it is told by
		// another page if machines are down.
		anHour := time.Hour - time.Minute
		if !a.pager.can.Readable && a.key == policy.KeyBreaker {
			anHour = 15 * time.Minute
		}
		isAgain := other.alert != a && other.key == a.key && other.alert.pager == a.pager && now.Sub(other.at) < anHour
		isAgain = isAgain && !other.alert.members[m.Incident.InstanceID].again // people take it for healthy since
		isAgain = isAgain && !other.wasLate
		if isCause && isAgain && other.alert.open && !other.at.Before(w.breakerClosed) && !w.hasEnded(other.alert) && !w.isClosedElsewhere(other.alert) {
			w.violate("noise", "the cause %s was paged twice within an hour", a.key)
		}
	}
	// Whoever closes the breaker while machines are down wants each to be looked at.
	if recent == 6 && now.Sub(w.breakerClosed) > 30*time.Minute {
		w.violate("noise", "6 pages within 10 minutes")
	}
	if x := w.machine(a.key); x != nil && w.people {
		if x.seen.wakes++; x.seen.wakes > x.seen.problems+x.seen.closes+1 {
			w.violate("noise", "%s: page %d for %d problems (%s)", x.name, x.seen.wakes, x.seen.problems, m.Alert.Alias)
		}
	}
}

// ends are the states in which an execution may end.
var ends = map[string]bool{
	"All good": true, "Handed over": true, "Already handled": true, "Told": true, "Told another way": true, "Nobody was told": true,
}

func (w *world) checkEnd(e *execution) {
	out := e.outcome
	if out.Status == "ABORTED" {
		w.count["end: the execution died"]++
		return
	}
	w.count["end: "+out.End()]++
	if !ends[out.End()] {
		w.violate("end", "%s ended in %q: %s %s", e.name, out.End(), out.Error, out.Cause)
	}
	// What is for Slack alone, nobody is told while Slack is out; the next look says
	// it again.
	// Only the pager that has the alert takes what is merely a note.
	d := e.decided
	isNote := d.Alert != nil && w.ails(cmp.Or(w.known[d.Alert.Pager], w.first())) && (d.Situation == incident.SituationNote || d.Situation == incident.SituationHealthyAgain)
	isLate := slices.ContainsFunc(w.pagers, func(p *pager) bool { return w.pagerIs("late", p) || w.pagerIs("discards", p) })
	isLate = isLate || time.Since(w.outages["lambda"]) < time.Minute // the last retry came before its end
	if out.End() == "Nobody was told" && w.faulty == 0 && !w.noPager() && !w.isOut("slack") && !isLate && !isNote {
		w.violate("end", "%s: nobody was told, though a pager works", e.name)
	}
}

// isRepeat reports whether a page is one that SNS or Slack, which keep no alerts, was
// asked for twice, where faults, a slow table or an answer that came too late let nobody
// know of the first.
func (w *world) isRepeat(a *alert) bool {
	wasLate := time.Since(w.outages["late:"+a.pager.name]) < 10*time.Minute
	isUnknown := w.faulty > 0 || w.tableTakes > time.Second || wasLate || time.Since(w.faultAt) < 10*time.Minute
	return !a.pager.can.Deduplicates && (isUnknown || isOfTheHour(a) && w.isOut("table")) &&
		slices.ContainsFunc(w.wakes, func(other wake) bool { return other.alert.alias == a.alias })
}

// hasEnded reports whether the last member has left an alert that is still open at
// the pager.
func (w *world) hasEnded(a *alert) bool {
	for _, kept := range w.keptAlerts() {
		if kept.Alias == a.alias {
			return kept.EndedAt > 0
		}
	}
	return false
}

// isClosedElsewhere reports whether a person has closed an alert at the other pager
// that has it, too: an answer was lost.
func (w *world) isClosedElsewhere(a *alert) bool {
	for _, p := range w.pagers {
		if slices.ContainsFunc(p.alerts, func(o *alert) bool { return o != a && o.alias == a.alias && !o.closedBy.IsZero() }) {
			return true
		}
	}
	return false
}

// keptAlerts are the alerts that the table has.
func (w *world) keptAlerts() map[string]policy.Alert {
	l, err := w.table.Instances(context.Background())
	if err != nil {
		panic(err)
	}
	return l.Region.Alerts
}

// checkRest checks what must be over when all has been well for hours.
func (w *world) checkRest() {
	for _, a := range w.openAlerts() {
		if w.isMessage(a) {
			continue
		}
		w.violate("ends", "the alert %s is still open, after hours without a fault", a.alias)
	}
	for id, kept := range w.keptAlerts() {
		// One of a pager that is not configured any more, also under an earlier alias, is
		// kept for a day, until it may be.
		isGone := func(name string) bool {
			return !slices.ContainsFunc(w.pagers, func(p *pager) bool { return p.Name() == name })
		}
		if kept.EndedAt > 0 && time.Since(kept.OpenedAt.Time()) < 25*time.Hour &&
			(isGone(kept.Pager) || slices.ContainsFunc(kept.Old, func(o policy.OldAlias) bool { return isGone(o.Pager) })) {
			continue
		}
		w.violate("ends", "the table still has the alert %s, after hours without a fault", id)
	}
	for _, m := range w.machines {
		if !m.seen.untold.IsZero() && !w.noSlack {
			w.violate("told", "nobody heard what became of the reboot of %s at %s", m.name, m.seen.untold.Format("15:04"))
		}
	}
}
