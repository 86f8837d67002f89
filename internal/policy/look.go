package policy

import (
	"cmp"
	"slices"

	"firstline/internal/incident"
)

// Look is what one pass over the checks says, after its findings were weighed
// against each other.
type Look struct {
	// Findings has one for each check, in the order of incident.Checks.
	Findings []incident.Finding
	Verdict  incident.Verdict
	// Kind is there for an unknown verdict only.
	Kind incident.Kind
	// onlyHere: another region, or Route 53's checkers, reach what we cannot.
	onlyHere bool
	// peerAnswered: another region gets an answer from what sends us no byte.
	peerAnswered bool
	// Covered: a check is blind, or the URL check asks another machine, and another one covers it.
	Covered bool
}

// Weigh weighs the findings of one look against each other. passedBefore
// reports whether a check has ever passed with its present settings. An enabled
// check without a finding is blind; why says why, by check.
//
// The rules, in this order:
//
//	a failure at an address that is not the instance's                                      attention
//	any other answer from such an address, and another check says something of the instance  skipped
//	any other answer from such an address                                                    attention
//	SSH got no connection, or one closed without a byte, and the URL check got an answer,
//	or there is no URL check and Route 53 passes                                             contradicted
//	a failed check has never passed with these settings, and no failed check beside it has   attention
//	URL failed before any byte came, Route 53's checkers reach the endpoint                  URL, and each failure without a byte, contradicted
//	Route 53 failed, our URL check passes                                                    contradicted
//	Route 53 failed, our URL check got an answer that is busy or attention                   Route 53 gets that kind
//	URL passes and others are blind; or URL is blind and Route 53 passes                     the blind ones are skipped
func Weigh(findings []incident.Finding, s *incident.Settings, passedBefore func(check string) bool, why map[string]string) Look {
	l := Look{Findings: complete(findings, s, why)}
	url, route53, ssh := l.of(incident.CheckURL), l.of(incident.CheckRoute53), l.of(incident.CheckSSH)
	l.withoutElsewhere()
	urlAnswered := url.Heard()
	if ssh.NoAnswer() && ssh.Connection != incident.Silent {
		switch {
		case urlAnswered:
			become(ssh, incident.Contradicted, "the URL check got an answer: the port may be closed to us alone")
		case url.Outcome == incident.Skipped && route53.Outcome == incident.Passed:
			become(ssh, incident.Contradicted, "Route 53's checkers reach the instance: the port may be closed to us alone")
		}
	}
	l.withoutBaseline(passedBefore)
	// Checkers that name a status have reached it, whatever they think of it.
	reached := route53.Outcome == incident.Passed || route53.Outcome == incident.Unknown && route53.Heard()
	if url.NoAnswer() && reached {
		const seen = "Route 53's checkers reach it: our own network path is broken"
		become(url, incident.Contradicted, seen)
		l.onlyHere = url.Connection != "" && !url.Answered // a load balancer may have said so
		if ssh.NoAnswer() {
			become(ssh, incident.Contradicted, seen)
		}
	}
	if route53.Outcome == incident.Failed {
		switch {
		case url.Outcome == incident.Passed:
			become(route53, incident.Contradicted, "the URL check passes")
		case urlAnswered && url.Outcome == incident.Unknown && (url.Kind == incident.Busy || url.Kind == incident.Attention):
			become(route53, url.Kind, "the URL check got an answer that explains it")
		}
	}
	l.withoutBaseline(passedBefore) // what vouched for it may be contradicted
	l.skipCovered(url, route53)
	l.conclude()
	return l
}

// lookOf is a look whose findings have been weighed already.
func lookOf(findings []incident.Finding, s *incident.Settings) Look {
	l := Look{Findings: complete(findings, s, nil)}
	l.conclude()
	return l
}

// complete brings the findings into order, one for each check.
func complete(findings []incident.Finding, s *incident.Settings, why map[string]string) []incident.Finding {
	all := make([]incident.Finding, 0, len(incident.Checks))
	for _, check := range incident.Checks {
		n := slices.IndexFunc(findings, func(f incident.Finding) bool { return f.Check == check })
		switch {
		case n >= 0:
			all = append(all, findings[n])
		case s.Enabled(check):
			reason := "the check did not end"
			if why[check] != "" {
				reason += ": " + why[check]
			}
			all = append(all, incident.Finding{Check: check, Outcome: incident.Unknown, Kind: incident.Blind, Reason: reason})
		default:
			all = append(all, incident.Finding{Check: check, Outcome: incident.Skipped, Reason: "it is off"})
		}
	}
	return all
}

// become makes a finding unknown, for a reason that joins its own.
func become(f *incident.Finding, kind incident.Kind, reason string) {
	f.Outcome, f.Kind = incident.Unknown, kind
	f.Reason += " (" + reason + ")"
}

func (l *Look) of(check string) *incident.Finding {
	return &l.Findings[slices.Index(incident.Checks, check)]
}

// withoutBaseline makes failures of checks that have never passed a matter for a
// person: the settings may be wrong. One failed check that has passed before
// vouches for the others.
func (l *Look) withoutBaseline(passedBefore func(check string) bool) {
	for _, f := range l.Findings {
		if f.Outcome == incident.Failed && passedBefore(f.Check) {
			return
		}
	}
	for n := range l.Findings {
		if f := &l.Findings[n]; f.Outcome == incident.Failed {
			become(f, incident.Attention, "this check has never passed with these settings")
		}
	}
}

// withoutElsewhere takes what another machine answered out of the look: it neither
// proves nor disproves that the instance lives. A person has to act where nothing
// else tells, and where what was asked fails.
func (l *Look) withoutElsewhere() {
	tells := slices.ContainsFunc(l.Findings, func(f incident.Finding) bool {
		return !f.Elsewhere && f.Outcome != incident.Skipped && f.Kind != incident.Blind
	})
	for n := range l.Findings {
		switch f := &l.Findings[n]; {
		case !f.Elsewhere:
		case f.Outcome == incident.Failed:
			become(f, incident.Attention, "what was asked is not the instance itself")
		case f.Outcome != incident.Passed && f.Kind != incident.Busy:
		case tells:
			f.Outcome, f.Kind = incident.Skipped, ""
			l.Covered = l.Covered || f.Check == incident.CheckURL // the web server may be dead behind it
		default:
			become(f, incident.Attention, "no check tells whether the instance itself lives")
		}
	}
}

// afterReboot makes a matter for a person of a check that failed before the reboot
// and now asks another machine: whether the reboot has helped, the others do not
// tell, but for Route 53, which asks the web server, too.
func (l *Look) afterReboot(r *incident.Reboot) {
	for n := range l.Findings {
		f := &l.Findings[n]
		if r == nil || !f.Elsewhere || f.Outcome != incident.Skipped || !slices.Contains(r.Failed, f.Check) ||
			f.Check == incident.CheckURL && l.is(incident.CheckRoute53, incident.Passed) {
			continue
		}
		become(f, incident.Attention, "no check tells whether the reboot has helped")
	}
	l.conclude()
}

// skipCovered skips what is blind while another check sees the instance.
func (l *Look) skipCovered(url, route53 *incident.Finding) {
	skip := func(f *incident.Finding) {
		f.Outcome, f.Kind = incident.Skipped, ""
		l.Covered = true
	}
	switch {
	case url.Outcome == incident.Passed:
		for n := range l.Findings {
			if f := &l.Findings[n]; f.Kind == incident.Blind {
				skip(f)
			}
		}
	case url.Kind == incident.Blind && route53.Outcome == incident.Passed:
		skip(url)
		if ssh := l.of(incident.CheckSSH); ssh.Kind == incident.Blind {
			skip(ssh)
		}
	}
}

// conclude sets the verdict.
func (l *Look) conclude() {
	l.Verdict, l.Kind = incident.VerdictHealthy, ""
	if len(l.failed()) > 0 {
		l.Verdict = incident.VerdictFailed
		return
	}
	for _, kind := range incident.Kinds {
		if slices.ContainsFunc(l.Findings, func(f incident.Finding) bool { return f.Outcome == incident.Unknown && f.Kind == kind }) {
			l.Verdict, l.Kind = incident.VerdictUnknown, kind
			return
		}
	}
}

// failed are the checks that failed.
func (l *Look) failed() (checks []string) {
	for _, f := range l.Findings {
		if f.Outcome == incident.Failed {
			checks = append(checks, f.Check)
		}
	}
	return checks
}

// notPassed are the checks that failed, or saw what is for a person.
func (l *Look) notPassed() (checks []string) {
	for _, f := range l.Findings {
		if f.Outcome == incident.Failed || f.Outcome == incident.Unknown && f.Kind != incident.Blind {
			checks = append(checks, f.Check)
		}
	}
	return checks
}

// seenAt is when the newest finding was made; unknown where no finding says.
func (l *Look) seenAt(unknown incident.Millis) (at incident.Millis) {
	for _, f := range l.Findings {
		at = max(at, f.At)
	}
	return cmp.Or(at, unknown)
}

func (l *Look) is(check string, o incident.Outcome) bool { return l.of(check).Outcome == o }

func (l *Look) anyPassed() bool {
	return slices.ContainsFunc(l.Findings, func(f incident.Finding) bool { return f.Outcome == incident.Passed })
}

// answered reports whether any check, or another region, got an answer from the instance.
func (l *Look) answered() bool {
	return l.peerAnswered || slices.ContainsFunc(l.Findings, incident.Finding.Heard)
}

// ownAnswered reports whether one of our own checks got bytes from the instance.
func (l *Look) ownAnswered() bool {
	return slices.ContainsFunc(l.own(), incident.Finding.Heard)
}

// own are the findings of our own checks.
func (l *Look) own() []incident.Finding {
	return []incident.Finding{*l.of(incident.CheckURL), *l.of(incident.CheckSSH)}
}

// ownFailed reports whether one of our own checks failed.
func (l *Look) ownFailed() bool {
	return l.is(incident.CheckURL, incident.Failed) || l.is(incident.CheckSSH, incident.Failed)
}

// ownBlind reports whether one of our own checks cannot tell.
func (l *Look) ownBlind() bool {
	return slices.ContainsFunc(l.own(), func(f incident.Finding) bool { return f.Kind == incident.Blind })
}

// silent reports whether the instance fell silent: every failure came without a
// byte, and no check passes.
func (l *Look) silent() bool {
	if l.Verdict != incident.VerdictFailed || l.anyPassed() {
		return false
	}
	return !slices.ContainsFunc(l.Findings, func(f incident.Finding) bool { return f.Outcome == incident.Failed && f.Answered })
}

// cause is the key of a look that does not call the instance down: the check, and
// the kind or that it failed.
func (l *Look) cause() string {
	if l.onlyHere && l.Kind == incident.Contradicted {
		return KeyVantage
	}
	if failed := l.failed(); len(failed) > 0 {
		return failed[0] + "/" + string(incident.Failed)
	}
	for _, f := range l.Findings {
		if f.Outcome == incident.Unknown && f.Kind == l.Kind {
			return f.Check + "/" + string(l.Kind)
		}
	}
	return string(l.Kind)
}

// severity is that of a page about this look, unless a reboot came before it.
// Route 53 alone is not enough to call an instance down where another check says
// something about it.
func (l *Look) severity() incident.Severity {
	if l.Verdict != incident.VerdictFailed {
		return incident.SeverityUnknown
	}
	tells := func(f incident.Finding) bool {
		return f.Outcome != incident.Skipped && f.Kind != incident.Blind && f.Kind != incident.Contradicted
	}
	if !l.ownFailed() && slices.ContainsFunc(l.own(), tells) {
		return incident.SeverityUnknown
	}
	return incident.SeverityDown
}

// firstReason is the reason of the finding that made the verdict.
func (l *Look) firstReason() string {
	for _, f := range l.Findings {
		if f.Outcome == incident.Failed && l.Verdict == incident.VerdictFailed || f.Outcome == incident.Unknown && f.Kind == l.Kind {
			return incident.CheckTitle(f.Check) + ": " + f.Reason
		}
	}
	return ""
}
