package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"firstline/checks"
	"firstline/internal/incident"
)

// outcome is how an incident went, as far as the incident tells.
type outcome string

const (
	recovered     outcome = "recovered"
	down          outcome = "down"
	unchecked     outcome = "unchecked"
	paused        outcome = "paused"
	refused       outcome = "refused" // by a guard
	braked        outcome = "brake"   // by the guard of the whole region
	notRebooted   outcome = "not-rebooted"
	rebootUnknown outcome = "reboot-unknown"
	noIncident    outcome = "no-incident"
	unclear       outcome = "unclear"
)

// Slack's limits, in characters, and ours for single texts from outside.
const (
	limitSlackText    = 3900 // of about 4,000
	limitSlackSection = 3000
	limitReason       = 700
	limitName         = 66  // of an alarm in a headline
	limitNumbers      = 150 // of a brake in a headline
	maxLooks          = 14
)

// DryLabel begins whatever a dry incident says to people, and whatever is said of
// an instance whose settings ask for dry runs.
const DryLabel = "[dry run] "

// fact is a labelled value.
type fact struct{ label, value string }

// report is a message in words, for any channel. All of it is plain text on one
// line each, fit to print, and not yet escaped for anything.
type report struct {
	outcome  outcome
	headline string
	summary  []string
	facts    []fact
	looks    []string
	next     string
	links    []link

	// details are for machines: names in camelCase.
	details []fact

	deployment, instance, region, account, execution string
	alarmName, alarmARN                              string
	// guard is what refused the reboot. fleet says that the message belongs on the
	// alert that the brake has for its region.
	guard string
	fleet bool
	// dryTag tells an alert of a dry run from others.
	dryTag string
	// named are the instances that an event names which made no incident.
	named string
	// record is the command that shows what is kept of the incident.
	record string
}

// entity is what an alert is about.
func (r *report) entity() string {
	if r.fleet {
		return r.region
	}
	return r.instance
}

// describe is the one place that decides what a message says.
func describe(m Message) report {
	inc := m.Incident
	r := report{
		outcome:    outcomeOf(inc),
		deployment: orElse(oneLine(m.Deployment), "firstline"),
		instance:   oneLine(inc.InstanceID),
		region:     oneLine(inc.Region),
		account:    oneLine(inc.AccountID),
		execution:  oneLine(inc.Execution.ID),
	}
	var rang incident.Alarm
	if inc.Alarm != nil {
		rang = *inc.Alarm
	}
	var seen eventView
	if r.outcome == noIncident {
		seen = viewEvent(inc.Event)
		r.named = seen.instances
		rang.Name, rang.ARN = orElse(rang.Name, seen.alarmName), orElse(rang.ARN, seen.alarmARN)
		rang.Reason = orElse(rang.Reason, seen.reason)
		r.region, r.account = orElse(r.region, seen.region), orElse(r.account, seen.account)
		// An execution runs where its event came from.
		if parts := executionARN.FindStringSubmatch(r.execution); parts != nil {
			r.region, r.account = orElse(r.region, parts[2]), orElse(r.account, parts[3])
		}
	}
	r.alarmName, r.alarmARN = oneLine(rang.Name), oneLine(rang.ARN)
	if r.alarmName == "" {
		if parts := alarmARN.FindStringSubmatch(r.alarmARN); parts != nil {
			r.alarmName = parts[4]
		}
	}
	// Two instances are no id, and make no link.
	r.links = consoleLinks(partitionOf(r.region, r.execution, r.alarmARN), r.region, r.execution, orElse(r.instance, r.named), r.alarmName)
	if inc.Refusal != nil {
		r.guard = truncate(oneLine(inc.Refusal.Guard), 30)
	}
	r.fleet = r.outcome == braked && !m.Alone && !brakeNever(inc)
	r.record = recordOf(inc)

	why := reasonOf(inc.Error)
	failed := inc.LastFailure()
	r.headline = r.headlineFor(inc, failed)
	r.summary = r.summaryFor(inc, failed, why, seen)
	r.next = r.nextFor(inc, m.AlarmState)
	if s := alarmNow(r.outcome, inc, m.AlarmState); s != "" {
		r.summary = append(r.summary, s)
	}
	if inc.SlackError != nil {
		s := "Slack could not be told: "
		if inc.PageError != nil {
			s = "Slack could not be told at first: "
		}
		r.summary = append(r.summary, s+sentence(reasonOf(inc.SlackError)))
	}
	if inc.CloseError != nil {
		r.summary = append(r.summary, "The incident could not be closed in its table: "+sentence(reasonOf(inc.CloseError))+" Its lease is left to the instance's next alarm, or runs out by itself.")
	}
	if inc.PageError != nil {
		r.summary = slices.Insert(r.summary, 0, "Nobody was paged, as far as is known: "+sentence(reasonOf(inc.PageError)))
		r.next = "Tell whoever is on call, and mend the pager. " + r.next
	}
	switch {
	case inc.Dry:
		r.headline = DryLabel + r.headline
		r.summary = slices.Insert(r.summary, 0, "This is a dry run: no reboot is meant, and nobody is told.")
	case onlyDry(inc):
		r.dryTag = "dry-run"
		r.headline = DryLabel + r.headline
		r.summary = slices.Insert(r.summary, 0, "This message is real. Only reboots of this instance are a dry run, by its setting reboot.dry_run.")
	}
	took := tookSince(inc.Execution.StartedAt, m.Now)
	if took != "" {
		r.summary = append(r.summary, "It took "+took+" from the start of the execution to this message.")
	}
	r.looks = looksOf(inc.Findings)
	r.facts = present([]fact{
		{"Instance", r.instance},
		{"Named by the alarm", r.named},
		{"Region", r.region},
		{"Account", r.account},
		{"Deployment", r.deployment},
		{"Alarm", truncate(r.alarmName, 255)},
		{"Rang at", clock(rang.At)},
		{"Event sent at", eventTime(inc)},
		{"Alarm reason", truncate(oneLine(rang.Reason), limitReason)},
		{"Execution", truncate(oneLine(orElse(inc.Execution.Name, inc.Execution.ID)), 200)},
		{recordLabel(inc), r.record},
	})
	r.details = r.detailsFor(inc, m.AlarmState, failed, why, took)
	return r
}

// outcomeOf derives the outcome from what the state machine left in the
// incident. What kept it from a reboot decides first, then an error, then the
// reboot and the answer of the last check.
func outcomeOf(inc *incident.Incident) outcome {
	switch {
	case inc.InstanceID == "":
		return noIncident
	case inc.Paused != nil && inc.Reboot == nil:
		return paused
	case inc.Refusal != nil && inc.Reboot == nil && inc.Refusal.Guard == incident.GuardBrake:
		return braked
	case inc.Refusal != nil && inc.Reboot == nil:
		return refused
	case maybeRebooted(inc):
		return rebootUnknown
	case inc.Error != nil && inc.Reboot == nil && rebootWasDue(inc):
		return notRebooted
	case inc.Error != nil:
		return unchecked
	case inc.Reboot != nil && inc.Passed:
		return recovered
	case inc.Reboot != nil && inc.Run > 1:
		return down
	}
	return unclear
}

// rebootWasDue reports whether the last check of run 1 failed: what comes next
// is the reboot.
func rebootWasDue(inc *incident.Incident) bool {
	n := len(inc.Findings)
	return n > 0 && inc.Run < 2 && !inc.Findings[n-1].Passed
}

// notAsked are the names of the errors with which the step that reboots ends when
// EC2 has certainly not been asked, or has refused: the function says so itself,
// or Lambda did not run it.
var notAsked = map[string]bool{
	"InvalidInput": true,
	"Denied":       true,
	"Unavailable":  true,

	"Lambda.TooManyRequestsException":             true,
	"Lambda.AccessDeniedException":                true,
	"Lambda.ResourceNotFoundException":            true,
	"Lambda.ResourceNotReadyException":            true,
	"Lambda.ResourceConflictException":            true,
	"Lambda.EC2ThrottledException":                true,
	"Lambda.EC2UnexpectedException":               true,
	"Lambda.ENILimitReachedException":             true,
	"Lambda.SubnetIPAddressLimitReachedException": true,
}

// maybeRebooted reports whether the step that reboots ended with an error after
// which nobody knows whether the instance reboots.
func maybeRebooted(inc *incident.Incident) bool {
	switch {
	case inc.Error == nil || !rebootWasDue(inc):
		return false
	case inc.Reboot != nil:
		return inc.Reboot.Outcome == incident.RebootUnknown
	case inc.Dry || onlyDry(inc):
		// EC2 is asked for a dry run only; Internal may mean that it took it for
		// none.
		return inc.Error.Error == "Internal"
	}
	return !notAsked[inc.Error.Error]
}

// onlyDry reports whether the instance's settings ask for dry runs: its incidents
// are real, its reboots are not.
func onlyDry(inc *incident.Incident) bool {
	return !inc.Dry && inc.Settings != nil && inc.Settings.Reboot.DryRun
}

func (r *report) headlineFor(inc *incident.Incident, failed *checks.Finding) string {
	who := truncate(r.instance, 40)
	if r.outcome == noIncident {
		who = "An event"
		if r.alarmName != "" {
			// Cut here, so that the end of the headline, the outcome, stays.
			who = "Alarm " + truncate(r.alarmName, limitName)
		}
	}
	if r.region != "" {
		who += " in " + truncate(r.region, 24)
	}
	after := ""
	if inc.Reboot != nil {
		switch inc.Reboot.Outcome {
		case incident.RebootRequested:
			after = " after a reboot"
		case incident.RebootSuppressed:
			after = " after a suppressed reboot"
		default:
			after = " after a reboot of unknown outcome"
		}
	}
	var s string
	switch r.outcome {
	case recovered:
		s = who + ": recovered" + after
		if inc.SlackError != nil && inc.PageError == nil {
			s += ", but Slack could not be told"
		}
	case down:
		s = who + " is down" + after
	case unchecked:
		s = who + " could not be checked" + after
	case paused:
		switch {
		case rebootWasDue(inc):
			s = who + failedCheck(failed) + " while paused"
		case inc.Error != nil:
			s = who + " could not be checked while paused"
		default:
			s = who + " is paused"
		}
	case refused:
		s = who + failedCheck(failed) + " and was not rebooted: " + r.whyShort(inc)
	case braked:
		if !r.fleet {
			s = who + failedCheck(failed) + " and was not rebooted: the brake is on"
			if brakeNever(inc) {
				s = strings.TrimSuffix(s, "on") + "set to 0"
			}
			break
		}
		s = "The brake is on"
		if r.region != "" {
			s += " in " + truncate(r.region, 24)
		}
		// The numbers, and not once more that it is on.
		numbers := strings.TrimPrefix(refusalText(inc), "the region's brake is on: ")
		s += ", " + truncate(r.instance, 40) + " not rebooted: " + truncate(numbers, limitNumbers)
	case notRebooted:
		s = who + failedCheck(failed) + " and could not be rebooted"
	case rebootUnknown:
		s = who + failedCheck(failed) + "; whether it was rebooted is unknown"
	case noIncident:
		s = who + " could not be handled"
	case unclear:
		s = who + ": the outcome of an incident is unclear"
	}
	if inc.PageError != nil {
		s = "Pager failed: " + s
	}
	return s
}

func (r *report) summaryFor(inc *incident.Incident, failed *checks.Finding, why string, seen eventView) []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch r.outcome {
	case recovered:
		if inc.Recovery != nil && inc.Recovery.Since != nil && !inc.Recovery.Since.IsZero() {
			say("Reachable since %s.", clock(*inc.Recovery.Since))
		} else {
			say("The last check passed.")
		}
	case down:
		if failed != nil && failed.Run > 1 {
			at := ""
			if !failed.At.IsZero() {
				at = " at " + clock(failed.At)
			}
			say("The %s check still failed in run %d%s: %s", checkName(failed.Check), failed.Run, at, sentence(reasonText(*failed)))
		} else {
			say("The last check failed.")
		}
		if !inc.Reboot.WindowClosesAt.IsZero() && inc.Reboot.Outcome != incident.RebootSuppressed {
			say("The boot window closed at %s.", clock(inc.Reboot.WindowClosesAt))
		}
	case unchecked:
		if next := dueCheck(inc); next != "" {
			say("The %s check could not tell: %s", next, sentence(why))
		} else {
			say("A step ended with an error: %s", sentence(why))
		}
		say("Whether the instance is reachable is not known.")
	case paused:
		if rebootWasDue(inc) {
			say("%s", failure(failed))
		}
		switch next := dueCheck(inc); {
		case inc.Error == nil:
		case next != "":
			say("The %s check could not tell: %s", next, sentence(why))
		default:
			say("A step ended with an error: %s", sentence(why))
		}
		if !rebootWasDue(inc) {
			say("Whether the instance is reachable is not known.")
		}
		say("%s", r.pauseSentence(inc.Paused))
		done := rebootSentence(inc)
		if inc.Told == nil || inc.Told.Page == nil {
			done += " Nobody was paged: the pause asks for that."
		}
		return append(lines, done)
	case refused, braked:
		if failed != nil {
			say("%s", failure(failed))
		}
		say("A reboot was due and was refused (%s): %s", orElse(r.guard, "no guard is named"), sentence(refusalText(inc)))
		if inc.Error != nil {
			say("A step ended with an error as well: %s", sentence(why))
		}
	case notRebooted:
		say("%s", failure(failed))
		say("The reboot was not possible: %s", sentence(why))
	case rebootUnknown:
		say("%s", failure(failed))
		say("The step that reboots ended with an error: %s", sentence(why))
	case noIncident:
		if couldNotOpen(inc, seen) {
			say("The incident could not be opened: %s", sentence(why))
		} else {
			say("The event that started the execution could not be turned into an incident: %s", sentence(why))
		}
		if seen.problem != "" {
			say("%s", seen.problem)
		}
		say("No check ran.")
	case unclear:
		say("The execution asked for this message and left neither an error nor a failed check after a reboot.")
	}
	return append(lines, rebootSentence(inc))
}

func rebootSentence(inc *incident.Incident) string {
	reboot := inc.Reboot
	if reboot == nil && maybeRebooted(inc) {
		return "It is unknown whether a reboot was made: the step that makes it did not come to its end."
	}
	if reboot == nil && inc.RebootError != nil {
		return "No reboot was made, as far as is known: the table that would tell does not answer."
	}
	if reboot == nil {
		return "No reboot was made."
	}
	at := ""
	if !reboot.At.IsZero() {
		at = " at " + clock(reboot.At)
	}
	switch reboot.Outcome {
	case incident.RebootRequested:
		s := "A reboot was requested" + at
		if why := truncate(oneLine(reboot.Reason), limitReason); why != "" {
			return s + ", because: " + sentence(why)
		}
		return s + "."
	case incident.RebootSuppressed:
		if onlyDry(inc) {
			return "No reboot was made: one was suppressed" + at + ", which EC2 would have made."
		}
		return "A reboot was suppressed" + at + "; EC2 would have made it."
	case incident.RebootUnknown:
		// It was reserved, and may not have come to the call.
		return "A reboot was begun" + at + "; its outcome is unknown, since the answer got lost" + lostHow(inc.RebootError) + "."
	}
	return "A reboot is recorded" + at + "; its outcome is unknown."
}

// lostHow says what became of the step that was to reboot, where that is known.
func lostHow(e *incident.Error) string {
	if e == nil {
		return ""
	}
	return " (" + strings.TrimSuffix(sentence(reasonOf(e)), ".") + ")"
}

// watchesCPU says whether the alarm that rang may be spoken of as the CPU's:
// what it watches is a setting.
func watchesCPU(inc *incident.Incident) bool {
	return inc.Alarm != nil && inc.Alarm.Metric == "CPUUtilization"
}

func alarmNow(o outcome, inc *incident.Incident, state string) string {
	switch state {
	case "OK":
		if o == recovered && watchesCPU(inc) {
			return "The CPU is back to normal: its alarm is OK."
		}
		return "The alarm is OK by now."
	case "ALARM":
		return "The alarm is still in ALARM."
	case "INSUFFICIENT_DATA":
		return "The alarm has too little data to tell."
	}
	return ""
}

// nextFor is what to do, for somebody who knows no more than the message.
func (r *report) nextFor(inc *incident.Incident, state string) string {
	switch r.outcome {
	case recovered:
		watched, used := "what the alarm watches", "made the alarm ring"
		if watchesCPU(inc) {
			watched, used = "what uses the CPU", "used the CPU"
		}
		if state == "ALARM" {
			return "Look at " + watched + ": the alarm has not ended."
		}
		return "Find out what " + used + ": read the instance's logs and metrics from before the reboot."
	case down:
		if onlyDry(inc) && inc.Reboot.Outcome == incident.RebootSuppressed {
			return "Look at the instance and reboot it yourself if that is right: its setting reboot.dry_run leaves that to people."
		}
		return "Read the instance's system log and status checks in the console. Stopping and starting it moves it to other hardware, and changes a public IPv4 address that is not an Elastic IP."
	case paused:
		return "Nothing, if the work behind the pause explains it; else look at the instance now. When the work is done, end the pause: " + r.resume(inc.Paused.Scope) + "."
	case refused:
		return r.nextRefused(inc)
	case braked:
		if brakeNever(inc) {
			return "Look at the instance and reboot it yourself if that is right: a brake of 0 leaves that to people."
		}
		further := "All that it holds back"
		if r.fleet {
			further = "Further instances come as notes on the brake's alert; all"
		}
		return "Look at the instance yourself, and find out first what these instances have in common: a network fault or a bad deployment looks like this, and reboots cure neither. " + further + " are in: " + r.incidents(false) + "."
	case notRebooted:
		return "Look at the instance and reboot it yourself if that is right; the error says what kept us from it."
	case rebootUnknown:
		return "Look whether the instance has rebooted (the system log in the console, or its uptime) before you reboot it yourself."
	case noIncident:
		return nextWithout(inc)
	case unclear:
		return "Look at the instance yourself, and at the execution for what happened."
	}
	look := "Look at the instance yourself"
	switch errorName(inc.Error) {
	case "InvalidInput":
		return look + ", then correct what the error names: a setting, or the instance's state."
	case "Denied":
		return look + ", then give the function the permission that the error names."
	case "Internal":
		return look + ". This is a fault of the function: its log says more."
	}
	return look + "; the execution shows which step gave up."
}

// detailsFor are the alert's details. What matters comes first: what does not
// fit is left out from the end.
func (r *report) detailsFor(inc *incident.Incident, state string, failed *checks.Finding, why, took string) []fact {
	run := ""
	if inc.Run > 0 {
		run = fmt.Sprint(inc.Run)
	}
	check, checkReason := "", ""
	if failed != nil {
		check, checkReason = oneLine(failed.Check), reasonText(*failed)
	}
	reboot := "none"
	if inc.Reboot != nil || maybeRebooted(inc) {
		reboot = "unknown"
	}
	if inc.Reboot != nil {
		reboot = orElse(oneLine(inc.Reboot.Outcome), reboot)
	}
	whyRefused, pausedUntil, pausedBy := "", "", ""
	if inc.Refusal != nil {
		whyRefused = refusalText(inc)
	}
	if inc.Paused != nil {
		pausedUntil, pausedBy = clock(inc.Paused.Until), oneLine(inc.Paused.By)
	}
	if inc.Error == nil {
		why = ""
	}
	d := []fact{
		{"instanceId", r.instance},
		{"region", r.region},
		{"accountId", r.account},
		{"deployment", r.deployment},
		{"outcome", string(r.outcome)},
		{"run", run},
		{"error", errorName(inc.Error)},
		{"errorReason", why},
		{"failedCheck", check},
		{"failedReason", checkReason},
		{"reboot", reboot},
		{"guard", r.guard},
		{"refusal", whyRefused},
		{"pausedUntil", pausedUntil},
		{"pausedBy", pausedBy},
		{"namedInstances", r.named},
		{"alarm", r.alarmName},
		{"alarmArn", r.alarmARN},
		{"alarmState", oneLine(state)},
		{"execution", r.execution},
		{"took", took},
		{"slackError", errorName(inc.SlackError)},
		{"record", r.record},
	}
	for _, l := range r.links {
		d = append(d, fact{strings.ToLower(l.label) + "Url", l.url})
	}
	return present(d)
}

func present(facts []fact) []fact {
	return slices.DeleteFunc(facts, func(f fact) bool { return f.value == "" })
}

// dueCheck names the check at which an error ended run 1; empty when that
// cannot be told.
func dueCheck(inc *incident.Incident) string {
	order := []string{checks.NameURL, checks.NameRoute53, checks.NameSSH}
	if inc.Run != 1 || inc.Reboot != nil || len(inc.Findings) >= len(order) {
		return ""
	}
	for i, f := range inc.Findings {
		if f.Check != order[i] || !f.Passed {
			return ""
		}
	}
	return checkName(order[len(inc.Findings)])
}

func checkName(check string) string {
	return orElse(checks.Title(check), orElse(truncate(oneLine(check), 20), "unnamed"))
}

func reasonText(f checks.Finding) string {
	return orElse(truncate(oneLine(f.Reason), limitReason), "no reason given")
}

// looksOf is a line a finding. Of very many, the first and the last are kept.
func looksOf(findings []checks.Finding) []string {
	lines := make([]string, 0, min(len(findings), maxLooks+1))
	skip := len(findings) - maxLooks
	for i, f := range findings {
		if skip > 0 && i >= 4 && i < 4+skip {
			if i == 4 {
				lines = append(lines, fmt.Sprintf("… %d more …", skip))
			}
			continue
		}
		lines = append(lines, look(f))
	}
	return lines
}

func look(f checks.Finding) string {
	state := "failed"
	reason := oneLine(f.Reason)
	switch {
	case f.Skipped:
		state = "skipped"
		reason = strings.TrimPrefix(reason, "skipped: ")
	case f.Passed:
		state = "passed"
	}
	s := fmt.Sprintf("run %d, %s: %s", f.Run, checkName(f.Check), state)
	if reason = truncate(reason, limitReason/2); reason != "" {
		s += ": " + reason
	}
	var notes []string
	if f.Attempts > 0 {
		notes = append(notes, count(f.Attempts, "attempt"))
	}
	if f.ElapsedMs > 0 {
		notes = append(notes, short(time.Duration(f.ElapsedMs)*time.Millisecond))
	}
	if f.Looks > 1 {
		n := count(f.Looks, "look")
		if f.Since != nil && !f.Since.IsZero() {
			n += " since " + clock(*f.Since)
		}
		notes = append(notes, n)
	}
	if !f.At.IsZero() {
		notes = append(notes, "at "+f.At.UTC().Format("15:04:05"))
	}
	if len(notes) > 0 {
		s += " (" + strings.Join(notes, ", ") + ")"
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// reasonOf is what an error says: its name and its cause in words. A function's
// error has a JSON object as its cause; others have plain text or none.
func reasonOf(e *incident.Error) string {
	if e == nil {
		return "no reason given"
	}
	name, cause := errorName(e), strings.TrimSpace(e.Cause)
	var function struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	if strings.HasPrefix(cause, "{") && json.Unmarshal([]byte(cause), &function) == nil && (function.Message != "" || function.Type != "") {
		cause = function.Message
		name = orElse(name, truncate(oneLine(function.Type), 80))
	}
	cause = truncate(oneLine(cause), limitReason)
	if cause == "" {
		switch name {
		case "States.Timeout", "Sandbox.Timedout":
			cause = "the step ran out of time"
		default:
			cause = "no reason given"
		}
	}
	if name == "" {
		return cause
	}
	return name + ": " + cause
}

func errorName(e *incident.Error) string {
	if e == nil {
		return ""
	}
	return truncate(oneLine(e.Error), 80)
}

// sentence ends text with a full stop unless it ends by itself.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, ellipsis) {
		return s
	}
	return s + "."
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

func tookSince(start, now time.Time) string {
	if start.IsZero() || now.IsZero() || now.Before(start) {
		return ""
	}
	return short(now.Sub(start))
}

// short is a duration in the unit that suits it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// eventView is what can be read from an event that made no incident.
type eventView struct {
	alarmName, alarmARN, region, account, reason string
	// instances that the alarm's metrics name; problem says why there is less.
	instances, problem string
}

// viewEvent reads what it can and trusts nothing: any field may be missing or
// of another type, and the event may be no object.
func viewEvent(raw json.RawMessage) eventView {
	var v eventView
	event := object(raw)
	if event == nil {
		v.problem = "The event is not a JSON object."
		return v
	}
	if region := text(event["region"]); regionName.MatchString(region) {
		v.region = region
	}
	if account := text(event["account"]); incident.ValidAccountID(account) {
		v.account = account
	}
	for _, resource := range array(event["resources"]) {
		if arn := text(resource); alarmARN.MatchString(arn) {
			v.alarmARN = arn
			break
		}
	}
	detail := object(event["detail"])
	v.alarmName = text(detail["alarmName"])
	v.reason = text(object(detail["state"])["reason"])
	var ids []string
	for _, metric := range array(object(detail["configuration"])["metrics"]) {
		id := text(object(object(object(object(metric)["metricStat"])["metric"])["dimensions"])["InstanceId"])
		if instanceID.MatchString(id) && !slices.Contains(ids, id) && len(ids) < 10 {
			ids = append(ids, id)
		}
	}
	v.instances = strings.Join(ids, ", ")
	if v.alarmName == "" && v.alarmARN == "" {
		v.problem = "The event names no alarm."
	}
	return v
}

func object(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

func array(raw json.RawMessage) []json.RawMessage {
	var a []json.RawMessage
	if json.Unmarshal(raw, &a) != nil {
		return nil
	}
	return a
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return oneLine(s)
}

// plain renders the report as plain text of at most limit runes.
func (r *report) plain(limit int) string {
	lines := slices.Clone(r.summary)
	lines = append(lines, "Next: "+r.next, "")
	for _, f := range r.facts {
		lines = append(lines, f.label+": "+f.value)
	}
	lines = append(lines, "")
	for _, l := range r.links {
		lines = append(lines, l.label+" page: "+l.url)
	}
	if len(r.looks) > 0 {
		lines = append(lines, "", "Checks:")
		lines = append(lines, r.looks...)
	}
	return strings.TrimSpace(join(lines, limit))
}

// slack renders the report in Slack's mrkdwn: the text that notifications
// show, and the sections of the message.
func (r *report) slack() (fallback string, sections []string) {
	const line = limitReason + 300 // of one line, escaped
	head := []string{"*" + escapeSlack(r.headline, 300) + "*"}
	for _, s := range r.summary {
		head = append(head, escapeSlack(s, line))
	}
	facts := make([]string, 0, len(r.facts))
	for _, f := range r.facts {
		facts = append(facts, f.label+": "+escapeSlack(f.value, line))
	}
	var looks []string
	if len(r.looks) > 0 {
		looks = append(looks, "*Checks*")
		for _, l := range r.looks {
			looks = append(looks, escapeSlack(l, line/2))
		}
	}
	tail := []string{"*Next:* " + escapeSlack(r.next, line)}
	var links []string
	for _, l := range r.links {
		// Escaping can lengthen a link; cut, it would lead elsewhere.
		if address := escapeSlack(l.url, line); !strings.HasSuffix(address, ellipsis) {
			links = append(links, "<"+strings.ReplaceAll(address, "|", "%7C")+"|"+escapeSlack(l.label, 40)+">")
		}
	}
	if len(links) > 0 {
		tail = append(tail, strings.Join(links, " · "))
	}
	parts := [][]string{head, tail, facts, looks}
	var all []string
	for _, part := range parts {
		if section := join(part, limitSlackSection); section != "" {
			sections = append(sections, section)
		}
		all = append(all, part...)
	}
	return join(all, limitSlackText), sections
}
