package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"firstline/internal/incident"
)

// vantageMemory is how long a look stays contradicted by a peer while no peer can be
// asked.
const vantageMemory = 15 * time.Minute

// Peer is what another region saw of what one of our checks asked, or why it saw
// nothing.
type Peer struct {
	Region, Check string
	Finding       incident.Finding
	Err           string
}

// reaches reports whether something answers the peer.
func (p Peer) reaches() bool {
	return p.Err == "" && (p.Finding.Outcome == incident.Passed || p.Finding.Heard() || p.Finding.Kind == incident.Busy)
}

// seesDown reports whether no byte comes to the peer either. A connection that ends in
// order is a server's, and not a sign of a machine that is down.
func (p Peer) seesDown() bool {
	return p.Err == "" && p.Finding.NoAnswer() && p.Finding.Connection != incident.ClosedEarly
}

// NoWitness says why the peer cannot tell whether what passes for us is down; "" if it
// can.
func (p Peer) NoWitness() string {
	if p.reaches() {
		return ""
	}
	return cmp.Or(p.Err, p.Finding.Reason)
}

// why says why the peer neither reaches the target nor sees it down.
func (p Peer) why() string {
	if p.Err != "" {
		return p.Err
	}
	return p.Region + ": " + p.Finding.Reason
}

// reachKey is a peer's key in Instance.Reach.
func reachKey(p Peer) string { return p.Check + "@" + p.Region }

// reachedDaily is how often a peer is asked about a check that passes.
const reachedDaily = 24 * time.Hour

// Unlearned are the findings of a healthy look of which some peer has not said within a
// day whether it reaches the target. A peer that never could is no witness: its way may
// be closed on purpose.
func Unlearned(in Input) (findings []incident.Finding) {
	l := weigh(&in)
	if l.Verdict != incident.VerdictHealthy {
		return nil
	}
	for _, f := range l.own() {
		isOld := func(region string) bool {
			r := in.State.Instance.Reach[reachKey(Peer{Region: region, Check: f.Check})]
			return r.Print != in.Settings.Fingerprint(f.Check) || in.Now.Sub(r.At) >= reachedDaily
		}
		if f.Outcome == incident.Passed && f.Address != "" && slices.ContainsFunc(in.Peers, isOld) {
			findings = append(findings, f)
		}
	}
	return findings
}

// LearnReach keeps which peers reach what passes for us, or reach it though we do not.
func (i *Instance) LearnReach(peers []Peer, findings []incident.Finding, s *incident.Settings, now incident.Millis) {
	for _, p := range peers {
		passed := slices.ContainsFunc(findings, func(f incident.Finding) bool { return f.Check == p.Check && f.Outcome == incident.Passed })
		tells := p.reaches() || passed && p.Err == "" && p.Finding.NoAnswer()
		if !tells {
			continue
		}
		if i.Reach == nil {
			i.Reach = map[string]Reach{}
		}
		i.Reach[reachKey(p)] = Reach{Print: s.Fingerprint(p.Check), At: now, OK: p.reaches()}
	}
}

// Failed reports whether a look failed, as far as our own checks and Route 53 tell.
func Failed(in Input) bool {
	l := weigh(&in)
	return l.Verdict == incident.VerdictFailed
}

// Unanswered are the findings of a look that failed without a byte: what the security
// groups admit is asked, and other regions about what has a public address. A machine
// that boots is silent, and nobody is asked.
func Unanswered(in Input) (findings []incident.Finding) {
	window := time.Duration(in.Settings.Boot.WindowSeconds) * time.Second
	if r := in.State.Instance.openReboot(); r != nil && in.Now.Sub(r.At) < window {
		return nil
	}
	for _, f := range weigh(&in).Findings {
		if f.Outcome == incident.Failed && !f.Answered && f.DownFrom == nil {
			findings = append(findings, f)
		}
	}
	return findings
}

// weighVantage weighs what the security groups and other regions say of the targets
// that sent us no byte:
//
//	the security groups admit nobody                        attention
//	a peer reaches it, or its connection is accepted there
//	and comes to nothing here                               contradicted
//	a peer sees it down, and has reached it before          it is down from there, too
//	no peer tells, and one reached it just now              contradicted
//	a peer reaches the other check's target                 contradicted, unless it is accepted here and there, and silent
func (l *Look) weighVantage(in *Input) {
	reachedBeside := ""
	for n := range l.Findings {
		f := &l.Findings[n]
		if f.Outcome != incident.Failed || f.Answered {
			continue
		}
		reached, down, isAsked := in.seenBy(f)
		lately := in.State.Instance.OnlyHereAt
		switch closed := in.Facts.Closed.Value[f.Check]; {
		case closed != "":
			become(f, incident.Attention, closed)
		case len(reached) > 0:
			l.onlyHere = true
			become(f, incident.Contradicted, "only "+in.Region+" cannot reach it; "+strings.Join(reached, " and ")+" can")
		case len(down) > 0:
			f.DownFrom = down
		case isAsked && lately > 0 && in.Now.Sub(lately) < vantageMemory:
			l.onlyHere = true
			become(f, incident.Contradicted, "no other region can be asked now, and one reached it at "+clock(lately))
		}
	}
	for _, p := range in.Facts.Peers {
		if p.reaches() && !l.is(p.Check, incident.Passed) {
			reachedBeside, l.peerAnswered = p.Region, true
		}
	}
	for _, f := range []*incident.Finding{l.of(incident.CheckURL), l.of(incident.CheckSSH)} {
		if isHung := f.Connection == incident.Silent && f.DownFrom != nil; reachedBeside != "" && f.NoAnswer() && !f.Answered && !isHung {
			become(f, incident.Contradicted, reachedBeside+" gets an answer from the instance")
		}
	}
	l.withoutBaseline(in.passedBefore)
	l.conclude()
}

// seenBy are the peers that reach what sent us no byte, and those that see it down
// like us and could reach it when it passed. isAsked: there is any.
func (in *Input) seenBy(f *incident.Finding) (reached, down []string, isAsked bool) {
	for _, p := range in.Facts.Peers {
		if p.Check != f.Check {
			continue
		}
		isAsked = true
		isAccepted := p.Finding.Connection == incident.Silent || p.Finding.Connection == incident.ClosedEarly
		r := in.State.Instance.Reach[reachKey(p)]
		switch {
		case p.reaches(), p.Err == "" && f.Connection == incident.NoConnection && isAccepted:
			reached = append(reached, p.Region)
		case p.seesDown() && r.OK && r.Print == in.Settings.Fingerprint(f.Check):
			down = append(down, p.Region)
		}
	}
	return reached, down, isAsked
}

// vantages says from where the instance was seen to be down; "" if something came from
// it.
func (l *Look) vantages(in *Input) string {
	n := slices.IndexFunc(l.own(), incident.Finding.NoAnswer)
	if l.Verdict != incident.VerdictFailed || n < 0 {
		return ""
	}
	f := l.own()[n]
	for _, other := range l.own() {
		if other.NoAnswer() && other.DownFrom != nil {
			f = other
		}
	}
	s := "down from " + in.Region
	switch {
	case f.DownFrom != nil:
		s = "down from " + strings.Join(append([]string{in.Region}, f.DownFrom...), " and ")
	case f.Address == "":
		s += " (not confirmed from a second place: it has no public IPv4 address)"
	case len(in.Peers) == 0:
		s += " (not confirmed from a second place: this region has no peers)"
	default:
		s += " (not confirmed from a second place: no peer could tell)"
	}
	if l.of(incident.CheckRoute53).NoAnswer() {
		s += ", and from Route 53's checkers"
	}
	return s
}

// confirmed reports whether another region sees what failed without a byte, and no byte
// of the instance's says that it lives.
func (l *Look) confirmed() bool {
	return !l.ownAnswered() && slices.ContainsFunc(l.own(), func(f incident.Finding) bool { return f.Outcome == incident.Failed && f.DownFrom != nil })
}
