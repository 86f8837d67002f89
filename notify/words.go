package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"firstline/internal/incident"
	"firstline/internal/lazy"
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
	readConsole = "Check its system log."
	moves       = "Stop and start moves it to other hardware (its public address changes, unless it is an Elastic IP)."
)

// situations has the words of every situation.
var situations = map[string]wording{
	incident.SituationDownAfterReboot: {icon: "🔴", what: "is down: {saw}; firstline's reboot did not help", next: readConsole + " " + moves},
	incident.SituationNotRebooted:     {icon: "🔴", what: "{state}; not rebooted: {guard}"},
	incident.SituationHeldBack: {
		icon: "🛑", what: "{state}; not rebooted: breaker open",
		next: "Find what these instances have in common: the network, AWS, a deployment.",
	},
	incident.SituationAttention: {
		icon: "🟠", what: "needs a person, not a reboot", withReason: true,
		next: "Correct what the check names: the service, its certificate, its name, or the check's settings.",
	},
	incident.SituationContradicted: {
		icon: "🟠", what: "is reached by one check and not by another; not rebooted", withReason: true,
		next: "Try it from another network: a security group, a firewall or firstline's own network may let only one check in.",
	},
	incident.SituationOnlyHere: {
		icon: "🟠", what: "is reached from elsewhere, not from this region; not rebooted", withReason: true,
		next: "Look for what drops firstline's address: fail2ban, a firewall, a network ACL.",
	},
	incident.SituationBusy: {
		icon: "🟠", what: "is alive and rejects connections; not rebooted", withReason: true,
		next: "Check its load and its connection limits.",
	},
	incident.SituationBlind: {
		icon: "🟠", what: "cannot be checked; not rebooted", withReason: true,
		next: "Check it yourself. Then repair what kept firstline from checking it.",
	},
	incident.SituationStore: {
		icon: "🟠", what: "{state}; not rebooted: firstline's table cannot be used",
		next: "Check it yourself. Then repair firstline's access to its DynamoDB table: nothing is rebooted until then.",
	},
	incident.SituationWorse:     {icon: "🔴", what: "is worse than when it was paged, not rebooted: {saw}", next: readConsole},
	incident.SituationDiedAgain: {icon: "🔴", what: "is down again, not rebooted: {saw}", next: readConsole + " It was healthy after the page: look for something that recurs."},
	incident.SituationStillDown: {icon: "🔴", what: "is still not healthy, not rebooted: {saw}", next: "Check it again: nobody has brought it back since the page."},
	incident.SituationNotConfirmed: {
		icon: "🔴", what: "{state}; not rebooted; repeats an unconfirmed page",
		next: readConsole,
	},
	incident.SituationNote: {icon: "🟠", what: "is still not healthy: {saw}", next: "Nothing new: this is what firstline sees while you work on it."},
	incident.SituationRecovered: {
		icon: "🟢", what: "recovered: firstline rebooted it",
		next: "Find out by day why it needed the reboot.",
	},
	incident.SituationRebootedOften: {
		icon: "🟠", what: "recovered, but firstline rebooted it {times} in 7 days",
		next: "Find the cause: reboots only put it off.",
	},
	incident.SituationHealthyAgain: {icon: "🟢", what: "is healthy again", next: "Nothing, unless it fails again. firstline closes the alert once it has stayed healthy."},
	incident.SituationWell:         {icon: "✅", what: "is well", next: "Nothing. firstline may reboot it again when it fails."},
	incident.SituationHandedBack: {
		icon: "⚪", what: "is firstline's again", withReason: true,
		next: "Nothing. firstline checks it within 5 minutes and pages if it fails; no reboot for 4 hours.",
	},
	incident.SituationGone:      {icon: "⚪", what: "is gone: it was terminated, or EC2 does not know it", next: "Remove it from regions.tfvars if it does not come back."},
	incident.SituationStopped:   {icon: "⚪", what: "was stopped by a person", next: "Nothing. firstline checks it again when it runs."},
	incident.SituationUnwatched: {icon: "⚪", what: "is no longer watched", next: "Nothing."},
	incident.SituationPaused: {
		icon: "⏸️", what: "is not healthy while it is paused, nothing was done: {saw}",
		next: "Nothing, if the planned work explains it. Otherwise check it now: nobody is paged.",
	},
	incident.SituationCovered: {icon: "🟡", what: "is healthy, but a check cannot be made", next: "Repair what kept firstline from making the check."},
	incident.SituationImpaired: {
		icon: "🟡", what: "is healthy, though AWS calls it impaired", withReason: true,
		next: "Wait for AWS, or stop and start it by day.",
	},
	incident.SituationUnsteady: {icon: "🟡", what: "fails now and then; no failure lasted long enough to act", next: "Check its load, and whether a service restarts again and again."},
	incident.SituationCoverage: {
		icon: "🟡", what: "cannot watch every instance",
		next: "Correct these by day: until then an incident may not begin, or a check may not see it.",
	},
	incident.SituationNoIncident: {
		icon: "🟠", what: "could not be handled: nothing was checked or rebooted", withReason: true,
		next: "Check the alarm's instance yourself. Then correct what the error names.",
	},
	incident.SituationTest: {icon: "🔵", what: "work: this is not an incident", next: "Nothing: this is a test message sent with \"firstline notify test\". No instance is affected."},
}

// guardWords are what is said of a guard that refused a reboot: in the first line,
// and what to do.
type guardWords struct{ why, next string }

const rebootIt = "Check it; reboot it yourself if that is right."

var guards = map[string]guardWords{
	policy.GuardEC2:          {"its state in EC2 is against it", "Check its state in the console; reboot it yourself if that is right."},
	policy.GuardStatus:       {"AWS reports a problem", "Wait for AWS, or stop and start it: a reboot does not help."},
	policy.GuardInitializing: {"it is still starting", readConsole + " EC2's status checks have had no result since it started."},
	policy.GuardCredits:      {"it has no CPU credits left", "Stop what uses its CPU, or take unlimited mode or a larger type: it is slow, not down."},
	policy.GuardAlarm:        {"none of its alarms is on", rebootIt},
	policy.GuardOnce:         {"EC2 was asked for one before", "See what came of that reboot before you reboot it again."},
	policy.GuardTries:        {"the reboot failed three times", "Reboot it yourself if nothing answers: firstline could not."},
	policy.GuardCooldown:     {"it was rebooted or paged recently", "Look for the cause before you reboot it: it failed again soon after that."},
	policy.GuardNotCured:     {"the last reboot did not help", "Look for the cause: another reboot is unlikely to help."},
	policy.GuardBudget:       {"its daily reboots are used up", "Look for the cause before you reboot it again."},
	policy.GuardNever:        {"the settings allow no reboots", rebootIt},
	policy.GuardRoute53Alone: {"only Route 53 reports a failure", "Check the Route 53 health check's settings, and the way between its checkers and the instance."},
	policy.GuardVantage:      {"no other vantage confirms it", "Try it from another network: firstline's own may be broken. Reboot it yourself if it is down from there, too."},
	policy.GuardAnswered:     {"a check got an answer", rebootIt},
	policy.GuardDryRun:       {"reboot.dry_run is on", rebootIt + " firstline would have."},
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

// targets are what findings begin with: the address that was asked.
var targets = lazy.Regexp(`(?:[A-Z]{3,7} )?(?:https?://\S+|[0-9a-fA-F.:\[\]]+:\d+): `)

// withoutTargets is a reason without the addresses in it, which the incident has.
func withoutTargets(reason string) string { return targets().ReplaceAllString(reason, "") }

// findingWords are what one check saw.
func findingWords(f incident.Finding) string {
	switch {
	case f.Outcome == incident.Passed:
		return checkName(f.Check) + " ok"
	case f.Outcome == incident.Unknown || f.Reason == "":
		line := checkName(f.Check) + " " + map[bool]string{true: kindWords(f.Kind), false: string(f.Outcome)}[f.Outcome == incident.Unknown]
		return strings.TrimSuffix(line+": "+withoutTargets(f.Reason), ": ")
	}
	return checkName(f.Check) + ": " + withoutTargets(f.Reason)
}

// What is said of a reboot's request, and of what came of it.
var (
	requests = map[string]string{
		incident.RequestReserved: "it is not known whether EC2 was asked",
		incident.RequestUnknown:  "EC2's answer was lost",
		incident.RequestRefused:  "EC2 refused it",
	}
	outcomes = map[string]string{
		incident.OutcomeCured:      "it helped",
		incident.OutcomeNotCured:   "it did not help",
		incident.OutcomeOverridden: "the instance was stopped, terminated or unwatched",
	}
)

// rebootWords are when an instance was rebooted last, and what came of it.
func rebootWords(all []incident.Reboot, now incident.Millis) string {
	if len(all) == 0 {
		return ""
	}
	r := all[len(all)-1]
	s := "Rebooted " + clock(r.At, now)
	if len(all) > 1 {
		s = fmt.Sprintf("%d reboots, the last at %s", len(all), clock(r.At, now))
	}
	return s + ": " + cmp.Or(outcomes[r.Outcome], requests[r.Request], "its outcome is open") + "."
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

// clock is a time of the last day as people say it, and an earlier one with its day.
func clock(m, now incident.Millis) string {
	if now.Sub(m) < 24*time.Hour && m <= now || m.Time().Format(time.DateOnly) == now.Time().Format(time.DateOnly) {
		return m.Time().Format("15:04 UTC")
	}
	return m.Time().Format("2 Jan 15:04 UTC")
}
