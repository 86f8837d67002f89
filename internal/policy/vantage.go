package policy

import (
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

// seesDown reports whether no byte comes to the peer either.
func (p Peer) seesDown() bool { return p.Err == "" && p.Finding.NoAnswer() }

// why says why the peer neither reaches the target nor sees it down.
func (p Peer) why() string {
	if p.Err != "" {
		return p.Err
	}
	return p.Region + ": " + p.Finding.Reason
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
//	the security groups admit nobody                     attention
//	a peer reaches it                                    contradicted
//	no peer can be asked, and one reached it just now    contradicted
//	a peer sees it down                                  it is down from there, too
func (l *Look) weighVantage(in *Input) {
	for n := range l.Findings {
		f := &l.Findings[n]
		if f.Outcome != incident.Failed || f.Answered {
			continue
		}
		var reached, down []string
		isAsked := false
		for _, p := range in.Facts.Peers {
			switch {
			case p.Check != f.Check:
				continue
			case p.reaches():
				reached = append(reached, p.Region)
			case p.seesDown():
				down = append(down, p.Region)
			}
			isAsked = true
		}
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
	l.withoutBaseline(in.passedBefore)
	l.conclude()
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
		s += " (not confirmed from a second place: its address is not public)"
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

// confirmed reports whether another region sees what failed without a byte.
func (l *Look) confirmed() bool {
	return slices.ContainsFunc(l.own(), func(f incident.Finding) bool { return f.Outcome == incident.Failed && f.DownFrom != nil })
}
