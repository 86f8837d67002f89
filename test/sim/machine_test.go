package sim

import (
	"cmp"
	"context"
	"time"

	"firstline/internal/incident"
)

// service is the truth about a server, or about the way from us to it.
type service string

const (
	well      service = "well"
	refused   service = "refused"
	dropped   service = "dropped"   // nothing answers
	silent    service = "silent"    // accepted, and then nothing comes
	broken    service = "broken"    // HTTP 500; an SSH key exchange that does not complete
	busy      service = "busy"      // HTTP 503 with Retry-After; SSH says "too many connections"
	attention service = "attention" // HTTP 403; another host key
)

// down reports whether a reboot may be right.
func (s service) down() bool { return s == refused || s == dropped || s == silent || s == broken }

type power string

const (
	running    power = "running"
	stopped    power = "stopped" // by a person
	terminated power = "terminated"
	halted     power = "halted" // it stopped by itself, or its host failed
)

// checkersLag is how old Route 53's view of a machine is.
const checkersLag = 20 * time.Second

// address is every machine's public address.
const address = "203.0.113.7"

var peerRegions = []string{"eu-central-1", "us-east-1"}

// machine is the truth about an instance, and what the invariants remember of it.
type machine struct {
	name, id string
	settings incident.Settings
	// parameter is what SSM has of the settings.
	parameter string

	web, ssh service
	// webPath and sshPath are the way from us alone to it.
	webPath, sshPath service
	curable          bool // by a reboot
	private          bool // its address
	closed           bool // its security groups admit nobody
	noCredits        bool // a burstable machine without CPU credits
	power            power
	unwatched        bool
	blinded          map[string]bool // checks that our client cannot make
	elsewhere        map[string]bool // checks that another machine answers, which is well
	bootUntil        time.Time
	initUntil        time.Time // EC2 says "initializing"
	forgotten        time.Time // until then EC2 does not know it
	impaired         string    // EC2's "system", "ebs" or "instance" status check
	impairedAt       time.Time
	scheduled        bool    // AWS is about to do something with it
	flapP            float64 // how likely it is to fail in any 45 seconds
	flapUntil        time.Time
	alarmUntil       time.Time
	pauseFrom, pause time.Time
	workFrom, work   time.Time
	webHistory       []webState
	changed          time.Time // when its servers last changed, or the way to them

	launchedAt time.Time // when it was last started; zero: long ago
	reboots    []time.Time
	seen       seen
}

type webState struct {
	at  time.Time
	bad bool
	is  service
}

func (m *machine) isRunning() bool { return m.power == running }

// set changes the truth about the servers.
func (w *world) set(m *machine, web, ssh service) {
	m.web, m.ssh = web, ssh
	m.mark()
	w.logf("%s: web %s, ssh %s, curable %t", m.name, web, ssh, m.curable)
}

// mark remembers what Route 53's checkers see later.
func (m *machine) mark() {
	now := time.Now()
	m.changed = now
	m.webHistory = append(m.webHistory, webState{at: now, bad: m.web.down() || now.Before(m.bootUntil), is: m.web})
	if n := len(m.webHistory); n > 40 {
		m.webHistory = m.webHistory[n-20:]
	}
}

func (m *machine) webAt(t time.Time) (bad bool, is service) {
	is = well
	for _, s := range m.webHistory {
		if !s.at.After(t) {
			bad, is = s.bad, s.is
		}
	}
	return bad, is
}

// flaps reports whether the machine fails in the 45 seconds around t.
func (w *world) flaps(m *machine, t time.Time) bool {
	return t.Before(m.flapUntil) && w.chance(m.flapP, m.id, t.Unix()/45)
}

// isDown reports whether an enabled check would fail for everybody.
func (w *world) isDown(m *machine, t time.Time) bool {
	if m.power == halted {
		return true
	}
	if !m.isRunning() {
		return false
	}
	s := &m.settings
	isWeb := s.Enabled(incident.CheckURL) && !m.elsewhere[incident.CheckURL] || s.Enabled(incident.CheckRoute53)
	return isWeb && m.web.down() || s.Enabled(incident.CheckSSH) && m.ssh.down() || t.Before(m.bootUntil) || w.flaps(m, t)
}

// boot restarts a machine.
func (w *world) boot(m *machine, span time.Duration, cures bool) {
	m.bootUntil = time.Now().Add(span)
	m.mark()
	w.after(span+time.Millisecond, func() { // an instant's nanoseconds may come before it
		if cures && m.isRunning() {
			m.flapUntil, m.impaired = time.Time{}, ""
			w.set(m, well, well)
		}
		m.mark()
	})
}

// repair makes a machine well.
func (w *world) repair(m *machine) {
	if m.closed {
		m.changed = time.Now()
	}
	m.impaired, m.scheduled, m.closed, m.noCredits = "", false, false, false
	if m.isRunning() && (m.web != well || m.ssh != well || time.Now().Before(m.flapUntil)) {
		m.flapUntil = time.Time{}
		w.set(m, well, well)
	}
}

// raise sets the alarm for a time. Events may be lost.
func (w *world) raise(m *machine, span time.Duration) {
	if m.power == terminated || m.unwatched {
		return
	}
	now := time.Now()
	was := now.Before(m.alarmUntil)
	if until := now.Add(span); until.After(m.alarmUntil) {
		m.alarmUntil = until
	}
	if was {
		return
	}
	if w.random.Float64() < w.lost {
		w.logf("%s: alarm, its event is lost", m.name)
		return
	}
	w.logf("%s: alarm", m.name)
	w.alarmEvent(m)
}

// look is what a check sees, and how long it takes to see it.
type look struct {
	finding incident.Finding
	takes   time.Duration
}

// wrongBody is a setting of the URL check which a healthy server does not meet.
const wrongBody = "wrong"

// observe turns the truth into what a check with these settings sees.
func (w *world) observe(check string, m *machine, s *incident.Settings, since time.Time) look {
	f := incident.Finding{Check: check, Attempts: 3}
	if !s.Enabled(check) {
		f.Outcome, f.Reason = incident.Skipped, "it is off"
		return look{f, 0}
	}
	if check == incident.CheckRoute53 && m.blinded[check] {
		return look{unknown(f, incident.Blind, "denied"), time.Second}
	}
	if check == incident.CheckRoute53 {
		return look{w.observeRoute53(f, m, since), 300 * time.Millisecond}
	}
	if m.blinded[check] {
		return look{unknown(f, incident.Blind, "our client refuses what the server offers"), time.Second}
	}
	if m.elsewhere[check] {
		f.Elsewhere = true
		return saw(f, well)
	}
	path := m.webPath
	if check == incident.CheckSSH {
		path = m.sshPath
	}
	if w.path != well {
		path = w.path
	}
	server := w.serves(check, m)
	switch {
	case w.isOut("ec2"):
		return look{unknown(f, incident.Blind, "EC2 could not be asked for the address"), 10 * time.Second}
	case !m.isRunning():
		return look{unknown(f, incident.Attention, "the instance is "+string(m.power)+", not running"), 0}
	case path != well:
		server = path
	}
	if check == incident.CheckURL && server == well && s.URL.BodyPattern == wrongBody {
		server = broken
	}
	l := saw(f, server)
	if (l.finding.NoAnswer() || l.finding.Outcome == incident.Passed) && !m.private {
		l.finding.Address = address
	}
	if l.finding.NoAnswer() && w.isOut("egress") {
		l.finding.Connection = ""
		l.finding = unknown(l.finding, incident.Blind, "our own way out does not work")
	}
	return l
}

// serves is what everybody gets whose own way to the machine is well.
func (w *world) serves(check string, m *machine) service {
	now := time.Now()
	switch {
	case m.closed, !m.isRunning():
		return dropped
	case now.Before(m.bootUntil):
		if m.bootUntil.Sub(now) < 30*time.Second {
			return refused
		}
		return dropped
	case w.flaps(m, now):
		if w.chance(.7, m.id, 991) {
			return silent
		}
		return dropped
	case check == incident.CheckSSH:
		return m.ssh
	}
	return m.web
}

// askPeer is the function's question to a probe in another region: one attempt.
func (w *world) askPeer(ctx context.Context, region string, p incident.Probe) (incident.Finding, error) {
	i := invocationOf(ctx)
	l, err := call(ctx, w, "peer:"+region, "peer:"+region+" "+p.Check, func() (look, error) {
		f := incident.Finding{Check: p.Check}
		l := saw(f, cmp.Or(w.peerPath[region], w.serves(p.Check, w.machine(i.instance))))
		if w.peerPath[region] == "blind" {
			l = look{unknown(f, incident.Blind, "our own connectivity seems broken"), 7 * time.Second}
		}
		l.takes = min(l.takes, 4*time.Second)
		return l, nil
	})
	if err != nil {
		return incident.Finding{}, err
	}
	select {
	case <-time.After(l.takes):
		return l.finding, nil
	case <-ctx.Done():
		return incident.Finding{}, ctx.Err()
	}
}

func unknown(f incident.Finding, kind incident.Kind, reason string) incident.Finding {
	f.Outcome, f.Kind, f.Reason = incident.Unknown, kind, reason
	return f
}

func saw(f incident.Finding, s service) look {
	switch s {
	case refused:
		f.Outcome, f.Connection, f.Reason = incident.Failed, incident.Refused, "connection refused"
		return look{f, 4 * time.Second}
	case dropped:
		f.Outcome, f.Connection, f.Reason = incident.Failed, incident.NoConnection, "no connection within 3s"
		return look{f, 13 * time.Second}
	case silent:
		f.Outcome, f.Connection, f.Reason = incident.Failed, incident.Silent, "accepted, and then silent"
		return look{f, 13 * time.Second}
	case broken:
		f.Outcome, f.Answered, f.Reason = incident.Failed, true, "HTTP 500"
		return look{f, 4 * time.Second}
	case busy:
		f.Answered = true
		return look{unknown(f, incident.Busy, "HTTP 503 with Retry-After"), 4 * time.Second}
	case attention:
		f.Answered = true
		return look{unknown(f, incident.Attention, "HTTP 403"), 4 * time.Second}
	}
	f.Outcome, f.Answered, f.Reason, f.Attempts = incident.Passed, true, "HTTP 200", 1
	return look{f, 200 * time.Millisecond}
}

// observeRoute53 is what the checkers saw a little while ago.
func (w *world) observeRoute53(f incident.Finding, m *machine, since time.Time) incident.Finding {
	then := time.Now().Add(-checkersLag)
	bad, is := m.webAt(then)
	switch {
	case w.isOut("route53"):
		return unknown(f, incident.Blind, "Route 53's API does not answer")
	case !since.IsZero() && then.Before(since):
		return unknown(f, incident.Blind, "no observation since the reboot")
	case !m.isRunning(), m.closed, bad && is != broken, w.flaps(m, then):
		f.Outcome, f.Connection, f.Reason = incident.Failed, incident.NoConnection, "no checker reaches it"
	case is == broken:
		f.Outcome, f.Answered, f.Reason = incident.Failed, true, "the checkers get HTTP 500"
	case (is == busy || is == attention) && w.terse:
		f.Outcome, f.Reason = incident.Failed, "the checkers judge it unhealthy"
	case is == busy:
		f.Answered = true
		return unknown(f, incident.Busy, "the checkers get HTTP 503")
	case is == attention:
		f.Answered = true
		return unknown(f, incident.Attention, "the checkers get HTTP 403")
	default:
		f.Outcome, f.Answered, f.Reason = incident.Passed, true, "16 of 16 checkers reach it"
	}
	return f
}

// answers reports whether the machine sends us a byte.
func (w *world) answers(m *machine) bool {
	for _, check := range []string{incident.CheckURL, incident.CheckSSH} {
		if w.observe(check, m, &m.settings, time.Time{}).finding.Heard() {
			return true
		}
	}
	return false
}

func (m *machine) state() power {
	if m.power == halted {
		return stopped
	}
	return m.power
}
