package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// wording is what is said of a situation.
type wording struct {
	icon string
	// what follows the instance in the first line: what is wrong with it, and what
	// firstline did. See fill for what stands in braces.
	what string
	// withReason: the decision's reason follows what, as far as there is room.
	withReason bool
	// next is what to do.
	next string
}

const (
	readConsole = "Read the instance's system log and its status checks in the console."
	moves       = "Stopping and starting it moves it to other hardware, and changes a public IPv4 address that is not an Elastic IP."
)

// situations has the words of every situation.
var situations = map[string]wording{
	incident.SituationDownAfterReboot: {icon: "🔴", what: "is down: {saw}; firstline's reboot did not help", next: readConsole + " " + moves},
	incident.SituationNotRebooted:     {icon: "🔴", what: "{state}; not rebooted: {guard}"},
	incident.SituationHeldBack: {
		icon: "🛑", what: "{state}; not rebooted: breaker open",
		next: "Find out what the alert's instances have in common: a network fault, an outage of AWS or a deployment is not cured by reboots. Further instances are notes on this alert for an hour; after that they page again.",
	},
	incident.SituationAttention: {
		icon: "🟠", what: "needs a person, not a reboot", withReason: true,
		next: "Correct what the check names: the instance's service, a certificate, a DNS name, a password, or the check's own settings.",
	},
	incident.SituationContradicted: {
		icon: "🟠", what: "is reached by one check and not by another; not rebooted", withReason: true,
		next: "Try to reach the instance from another network, and compare the checks below: a security group, a firewall or firstline's own network path often lets one of them in and not the other.",
	},
	incident.SituationOnlyHere: {
		icon: "🟠", what: "is reached from elsewhere, not from this region; not rebooted", withReason: true,
		next: "Look for what bans or drops firstline's address: fail2ban or a firewall on the instance, a network ACL, a fault of the network between this region and it. Further instances that only this region cannot reach are notes on this alert for an hour.",
	},
	incident.SituationBusy: {
		icon: "🟠", what: "is alive and rejects connections; not rebooted", withReason: true,
		next: "Look at the instance's load and at its connection limits.",
	},
	incident.SituationBlind: {
		icon: "🟠", what: "cannot be checked; not rebooted", withReason: true,
		next: "Look at the instance yourself: firstline cannot tell whether it is reachable. Then repair what kept firstline from checking it.",
	},
	incident.SituationStore: {
		icon: "🟠", what: "{state}; not rebooted: firstline's table cannot be used",
		next: "Look at the instance yourself. Then repair firstline's access to its DynamoDB table: until then every instance of the region that is not healthy is paged like this one, and none is rebooted.",
	},
	incident.SituationWorse:     {icon: "🔴", what: "is worse than when it was paged, not rebooted: {saw}", next: readConsole},
	incident.SituationDiedAgain: {icon: "🔴", what: "is down again, not rebooted: {saw}", next: readConsole + " It was healthy after the page, so look for something that recurs."},
	incident.SituationStillDown: {icon: "🔴", what: "is still not healthy, not rebooted: {saw}", next: "Look at the instance again: nobody has brought it back since it was paged."},
	incident.SituationNotConfirmed: {
		icon: "🔴", what: "{state}; not rebooted; repeats an unconfirmed page",
		next: readConsole,
	},
	incident.SituationNote: {icon: "🟠", what: "is still not healthy: {saw}", next: "Nothing new: this note shows what firstline sees while you work on it."},
	incident.SituationRecovered: {
		icon: "🟢", what: "recovered: firstline rebooted it",
		next: "Find out by day what made the reboot necessary, in the logs and metrics from before it.",
	},
	incident.SituationRebootedOften: {
		icon: "🟠", what: "recovered, but firstline rebooted it {times} in 7 days",
		next: "Find the cause: reboots only put it off. You are paged about this once a day at most.",
	},
	incident.SituationHealthyAgain: {icon: "🟢", what: "is healthy again", next: "Nothing to do, unless it fails again. Once it has been healthy for long enough, firstline closes the alert."},
	incident.SituationWell:         {icon: "✅", what: "is well", next: "Nothing to do: firstline may reboot it again when it fails."},
	incident.SituationHandedBack: {
		icon: "⚪", what: "is firstline's again", withReason: true,
		next: "Nothing to do: firstline looks at it again within five minutes, and pages if it is not healthy. It is not rebooted for four hours.",
	},
	incident.SituationGone:      {icon: "⚪", what: "is gone: it was terminated, or EC2 does not know it", next: "Remove it from regions.tfvars if it does not come back."},
	incident.SituationStopped:   {icon: "⚪", what: "was stopped by a person", next: "Nothing to do: firstline looks at it again when it runs."},
	incident.SituationUnwatched: {icon: "⚪", what: "is no longer watched", next: "Nothing to do."},
	incident.SituationPaused: {
		icon: "⏸️", what: "is not healthy while it is paused, nothing was done: {saw}",
		next: "Nothing to do, if the work behind the pause explains it. Otherwise look at the instance now: nobody is paged.",
	},
	incident.SituationCovered: {icon: "🟡", what: "is healthy, but a check cannot be made", next: "Repair what kept firstline from making the check."},
	incident.SituationImpaired: {
		icon: "🟡", what: "is healthy, though AWS calls it impaired", withReason: true,
		next: "Wait for AWS, or stop and start the instance by day. " + moves,
	},
	incident.SituationUnsteady: {icon: "🟡", what: "fails now and then; no failure lasted long enough to act", next: "Look at the instance's load, and at whether a service restarts again and again."},
	incident.SituationCoverage: {
		icon: "🟡", what: "cannot watch every instance",
		next: "Correct each of these by day: until then an incident may not begin, or a check may not see it. This is said once a day.",
	},
	incident.SituationNoIncident: {
		icon: "🟠", what: "could not be handled: nothing was checked or rebooted", withReason: true,
		next: "Look at the alarm and its instance yourself. Then correct what the error names.",
	},
	incident.SituationTest: {icon: "🔵", what: "work: this is not an incident", next: "This is a test message sent with \"firstline notify test\". No instance is affected."},
}

// guardWords are what is said of a guard that refused a reboot: in the first line,
// and what to do.
type guardWords struct{ why, next string }

const rebootIt = "Look at the instance, and reboot it yourself if that is right."

var guards = map[string]guardWords{
	policy.GuardEC2:          {"its state in EC2 is against it", "Look at the instance's state in the console. Reboot it yourself if that is right."},
	policy.GuardStatus:       {"AWS reports a problem", "A reboot does not cure this. Wait for AWS, or stop and start the instance. " + moves},
	policy.GuardInitializing: {"it is still starting", "Read the system log in the console: EC2's status checks have had no result for the whole boot window."},
	policy.GuardCredits:      {"it has no CPU credits left", "It is slow rather than down: wait for credits, stop what uses its CPU, or switch it to unlimited mode (which costs money) or to a larger type."},
	policy.GuardAlarm:        {"none of its alarms is on", rebootIt + " firstline reboots only while an alarm of the instance is in ALARM."},
	policy.GuardOnce:         {"EC2 was asked for one before", readConsole + " See below what came of the reboot before you reboot it once more."},
	policy.GuardTries:        {"the reboot failed three times", "The incident says why. Reboot it yourself if nothing answers."},
	policy.GuardCooldown:     {"it was rebooted or paged recently", "It failed again soon after that: look for the cause before you reboot it."},
	policy.GuardNotCured:     {"the last reboot did not help", "Look for the cause: another reboot is not likely to help."},
	policy.GuardBudget:       {"its daily reboots are used up", "It fails in spite of its reboots: look for the cause before you reboot it again."},
	policy.GuardNever:        {"the settings allow no reboots", rebootIt},
	policy.GuardRoute53Alone: {"only Route 53 reports a failure", "Compare the checks below: firstline reaches the instance and Route 53's checkers do not. Look at the way between them, and at the Route 53 health check's own settings."},
	policy.GuardVantage:      {"no other vantage confirms it", "Try to reach the instance from another network: firstline's own way to it may be broken. Reboot it yourself if it is down from there, too."},
	policy.GuardAnswered:     {"a check got an answer", rebootIt + ` Its setting reboot.on is "unreachable".`},
	policy.GuardDryRun:       {"reboot.dry_run is on", rebootIt + " firstline would have rebooted it."},
}

// fill puts what is known into the words of a situation.
func fill(what string, dec *incident.Decision) string {
	saw := saw(dec)
	state := "is not healthy: " + saw
	switch {
	case dec.Severity >= incident.SeverityDown:
		state = "is down: " + saw
	case dec.Verdict == incident.VerdictFailed:
		state = "may be down: " + saw
	}
	return strings.NewReplacer(
		"{saw}", saw, "{guard}", guards[dec.Guard].why, "{state}", state, "{times}", fmt.Sprintf("%d times", len(dec.Reboots)),
	).Replace(what)
}

// saw says in short what the checks saw.
func saw(dec *incident.Decision) string {
	var failed, unknown []string
	kind := dec.Kind
	if !slices.ContainsFunc(dec.Findings, func(f incident.Finding) bool { return f.Outcome == incident.Unknown && f.Kind == kind }) {
		kind = ""
	}
	for _, f := range dec.Findings {
		switch f.Outcome {
		case incident.Failed:
			failed = append(failed, checkName(f.Check))
		case incident.Unknown:
			if kind = cmp.Or(kind, f.Kind); f.Kind == kind {
				unknown = append(unknown, checkName(f.Check))
			}
		case incident.Passed, incident.Skipped:
		}
	}
	switch {
	case len(failed) == len(incident.Checks):
		return "all checks failed"
	case len(failed) > 0:
		return strings.Join(failed, " and ") + " failed"
	case len(unknown) == len(incident.Checks) && kind == incident.Blind:
		return "no check could be made"
	case len(unknown) == len(incident.Checks):
		return "all checks " + pluralWords.Replace(kindWords(kind))
	case len(unknown) > 1:
		return strings.Join(unknown, " and ") + " " + pluralWords.Replace(kindWords(kind))
	case len(unknown) > 0:
		return unknown[0] + " " + kindWords(kind)
	case len(dec.Findings) > 0:
		return "no check failed"
	}
	return "no check ran"
}

// isDown reports whether a look failed and nothing in it speaks for the instance.
func isDown(dec *incident.Decision) bool {
	return dec.Verdict == incident.VerdictFailed && passes(dec) == ""
}

// passes names the checks that the instance itself passes, beside what saw says.
func passes(dec *incident.Decision) string {
	var passed []string
	for _, f := range dec.Findings {
		if f.Outcome == incident.Passed {
			passed = append(passed, checkName(f.Check))
		}
	}
	if len(passed) == 0 {
		return ""
	}
	return ", while " + strings.Join(passed, " and ") + map[bool]string{true: " passes", false: " pass"}[len(passed) == 1]
}

// kinds say of a check what its finding's kind means.
var kinds = map[incident.Kind]string{
	incident.Attention:             "needs a person",
	incident.Contradicted:          "is contradicted",
	incident.Busy:                  "is busy",
	incident.Blind:                 "could not be checked",
	incident.Kind(incident.Failed): "alone reports a failure", // of Route 53
}

// pluralWords make what is said of one check fit for several.
var pluralWords = strings.NewReplacer("is ", "are ", "needs ", "need ")

func kindWords(k incident.Kind) string { return cmp.Or(kinds[k], "is unknown") }

// findingLine is what one check saw.
func findingLine(f incident.Finding) string {
	line := checkName(f.Check) + " " + string(f.Outcome)
	if f.Outcome == incident.Unknown {
		line = checkName(f.Check) + " " + kindWords(f.Kind)
	}
	if f.Reason != "" {
		line += ": " + f.Reason
	}
	if f.Attempts > 1 {
		line += fmt.Sprintf(" (%d attempts)", f.Attempts)
	}
	return line
}

// What is said of a reboot's request, and of what came of it.
var (
	requests = map[string]string{
		incident.RequestAccepted: "EC2 accepted it",
		incident.RequestReserved: "firstline cannot tell whether EC2 was asked",
		incident.RequestUnknown:  "EC2's answer was lost",
		incident.RequestRefused:  "EC2 refused it, nothing was rebooted",
	}
	outcomes = map[string]string{
		incident.OutcomeCured:      "; the instance recovered",
		incident.OutcomeNotCured:   "; the instance did not recover",
		incident.OutcomeOverridden: "; the instance was stopped, terminated or unwatched",
		"":                         "; its outcome is open",
	}
)

// rebootLine is when an instance was rebooted, and what came of it.
func rebootLine(r incident.Reboot) string {
	s := "Reboot at " + clock(r.At) + ": " + requests[r.Request]
	if r.Request != incident.RequestRefused {
		s += outcomes[r.Outcome]
	}
	if r.Reason != "" {
		s += " (" + r.Reason + ")"
	}
	return s
}

// keyWords say what an alert that several instances share is about.
func keyWords(key string) string {
	switch key {
	case policy.KeyBreaker:
		return "the breaker"
	case policy.KeyHeld:
		return "what the breaker held back"
	case policy.KeyVantage:
		return "what only this region cannot reach"
	case policy.KeyStore:
		return "the table"
	case policy.KeyNoIncident:
		return "an event that made no incident"
	}
	if check, kind, ok := strings.Cut(key, "/"); ok {
		return checkName(check) + " " + kindWords(incident.Kind(kind))
	}
	return plain(key, 60) // another instance
}

func checkName(check string) string { return cmp.Or(incident.CheckTitle(check), plain(check, 20)) }

func clock(m incident.Millis) string { return m.Time().Format("2006-01-02 15:04 UTC") }
