package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
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
	// Of messages that are about no incident of their own.
	allClear outcome = "all-clear"
	tested   outcome = "test"
)

// Limits of single texts from outside, in characters; all are ours.
const (
	limitReason  = 700
	limitName    = 66  // of an alarm in a headline
	limitNumbers = 150 // of a brake in a headline
	limitTagName = 40  // of an instance's Name in a headline
	maxLooks     = 14
)

// DryLabel begins whatever a dry incident says to people, and whatever is said of
// an instance whose settings ask for dry runs.
const DryLabel = "[dry run] "

// TestLabel begins whatever a test says to people.
const TestLabel = "[test] "

// fact is a labelled value.
type fact struct{ label, value string }

// report is a message in words, for any channel. All of it is plain text on one
// line each, fit to print, and not yet escaped for anything.
type report struct {
	outcome outcome
	// headline says what happened to what. shorter are other forms of it, each
	// shorter than the one before.
	headline string
	shorter  []string
	summary  []string
	facts    []fact
	// fields are those of the facts that are short; reason is why the alarm rang.
	fields  []fact
	reason  string
	looks   []string
	next    string
	links   []link
	allSeen []checks.Finding

	// details are for machines: names in camelCase.
	details []fact

	deployment, instance, name, region, account, execution string
	executionName                                          string
	alarmName, alarmARN                                    string
	// severity is incident.AlertUnknown or incident.AlertDown.
	severity string
	// guard is what refused the reboot. fleet says that the message belongs on the
	// alert that the brake has for its region.
	guard string
	fleet bool
	// dryTag tells an alert of a dry run from others.
	dryTag string
	// named are the instances that an event names which made no incident.
	named string
	// record is the command that shows what is kept of the incident, and recordLabel
	// says what that is.
	record, recordLabel string
}

// entity is what an alert is about.
func (r *report) entity() string {
	if r.fleet {
		return r.region
	}
	return r.instance
}

// head is the headline in at most limit runes: what it is about and how it went stay
// before the instance's name and its region do.
func (r *report) head(limit int) string { return r.headAs(limit, truncate) }

// headAs is the same in the form of a channel, in which it may become longer. cut
// brings a text into that form, in at most so many runes.
func (r *report) headAs(limit int, cut func(s string, limit int) string) string {
	for _, s := range append([]string{r.headline}, r.shorter...) {
		if whole := cut(s, 10*runes(s)); runes(whole) <= limit {
			return whole
		}
	}
	return cut(append([]string{r.headline}, r.shorter...)[len(r.shorter)], limit)
}

// audience is who a message is for: whoever is woken already knows that the pager
// works, and whoever reads Slack that Slack does.
type audience int

const (
	toSlack audience = iota
	toPager
)

// describe is the one place that decides what a message says.
func describe(m Message, to audience) report {
	inc := m.Incident
	if inc == nil {
		inc = &incident.Incident{}
	}
	r := report{
		outcome:    outcomeFor(m.Kind, inc),
		deployment: orElse(oneLine(m.Deployment), "firstline"),
		instance:   oneLine(inc.InstanceID),
		name:       truncate(oneLine(inc.Name), 256),
		region:     oneLine(inc.Region),
		account:    oneLine(inc.AccountID),
		execution:  oneLine(inc.Execution.ID),
		allSeen:    inc.Findings,
	}
	r.severity = severityOf(r.outcome, inc)
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
	}
	if r.instance == "" {
		// An execution runs where its event came from.
		if parts := executionARN().FindStringSubmatch(r.execution); parts != nil {
			r.region, r.account = orElse(r.region, parts[2]), orElse(r.account, parts[3])
		}
	}
	r.alarmName, r.alarmARN = oneLine(rang.Name), oneLine(rang.ARN)
	if r.alarmName == "" {
		if parts := alarmARN().FindStringSubmatch(r.alarmARN); parts != nil {
			r.alarmName = parts[4]
		}
	}
	if inc.Refusal != nil {
		r.guard = truncate(oneLine(inc.Refusal.Guard), 30)
	}
	r.fleet = r.outcome == braked && !m.Alone && !brakeNever(inc)
	r.record, r.recordLabel = recordOf(inc), recordLabel(inc)
	if r.outcome == allClear || r.outcome == tested {
		// Its execution is none of an incident.
		r.record = ""
	}
	r.executionName = truncate(oneLine(orElse(inc.Execution.Name, inc.Execution.ID)), 200)
	// Two instances are no id, and make no link.
	r.links = consoleLinks(partitionOf(r.region, r.execution, r.alarmARN), linked{
		region: r.region, execution: r.execution, instance: orElse(r.instance, r.named), alarm: r.alarmName, deployment: r.deployment,
	})

	why := reasonOf(inc.Error)
	failed := inc.LastFailure()
	forms := r.headlines(inc, failed, to)
	r.headline, r.shorter = forms[0], forms[1:]
	r.next = r.nextFor(inc, m.AlarmState)
	took := ""
	switch r.outcome {
	case tested:
		r.summary = []string{say("test.why")}
	case allClear:
		r.summary = r.clearSummary(inc, m)
	default:
		took = tookSince(inc.Execution.StartedAt, m.Now)
		r.summary = r.summaryFor(inc, failed, why, seen)
		r.around(inc, m, to, took)
	}
	r.again(m, inc)
	r.label(inc)
	r.looks = looksOf(inc.Findings)
	r.reason = truncate(oneLine(rang.Reason), limitReason)
	when := say("label.rang")
	if m.Kind == KindAllClear && inc.Watch != nil && inc.Watch.Trigger == incident.WatchAlarm {
		when = say("label.back")
	}
	sent := ""
	if r.outcome == tested {
		sent = clock(m.Now)
	}
	r.fields = present([]fact{
		{say("label.instance"), with(r.instance, truncate(r.name, 100))},
		{say("label.named"), r.named},
		{say("label.region"), r.region},
		{say("label.account"), r.account},
		{say("label.alarm"), with(truncate(r.alarmName, 255), alarmValue(&rang))},
		{when, clock(rang.At)},
		{say("label.event"), eventTime(inc)},
		{say("label.sent"), sent},
	})
	r.facts = present([]fact{
		{say("label.instance"), r.instance},
		{say("label.name"), r.name},
		{say("label.named"), r.named},
		{say("label.region"), r.region},
		{say("label.account"), r.account},
		{say("label.deployment"), r.deployment},
		{say("label.alarm"), truncate(r.alarmName, 255)},
		{say("label.value"), alarmValue(&rang)},
		{when, clock(rang.At)},
		{say("label.event"), eventTime(inc)},
		{say("label.reason"), r.reason},
		{say("label.execution"), r.executionName},
		{r.recordLabel, r.record},
		{say("label.sent"), sent},
	})
	r.details = r.detailsFor(inc, m, failed, why, took)
	return r
}

// with adds more to a value, where there are both.
func with(value, more string) string {
	if value == "" || more == "" {
		return value
	}
	return say("value.with", "value", value, "with", more)
}

// say returns a sentence.
func say(key string, values ...string) string { return sentences.say(key, values...) }

// around adds what is true of any incident: the alarm as it is now, and what else
// went wrong on the way.
func (r *report) around(inc *incident.Incident, m Message, to audience, took string) {
	add := func(s string) { r.summary = append(r.summary, s) }
	if s := alarmNow(r.outcome, inc, m.AlarmState); s != "" {
		add(s)
	}
	if inc.SlackError != nil {
		key := "slack.failed"
		if inc.PageError != nil || to == toSlack {
			key = "slack.failed-first"
		}
		add(say(key, "error", sentence(reasonOf(inc.SlackError))))
	}
	if inc.CloseError != nil {
		add(say("close.failed", "error", sentence(reasonOf(inc.CloseError))))
	}
	told := to == toSlack && inc.Told != nil && inc.Told.Page != nil
	if told && m.Kind == KindIncident {
		add(pagedSentence(inc))
	}
	if inc.PageError != nil {
		why := sentence(reasonOf(inc.PageError))
		switch {
		case to == toPager:
			add(say("page.another-way", "error", why))
			r.next = say("page.another-way-next", "next", r.next)
		case told:
			add(say("page.another-way-told", "error", why))
			r.next = say("page.another-way-next", "next", r.next)
		default:
			r.summary = slices.Insert(r.summary, 0, say("page.failed", "error", why))
			r.next = say("page.failed-next", "next", r.next)
		}
	}
	switch {
	case inc.Dry:
		r.summary = slices.Insert(r.summary, 0, say("dry.all"))
	case onlyDry(inc):
		r.dryTag = "dry-run"
		r.summary = slices.Insert(r.summary, 0, say("dry.reboots"))
	}
	if took != "" {
		add(say("took", "took", took))
	}
}

// pagedSentence says through which pager a page was sent.
func pagedSentence(inc *incident.Incident) string {
	at := clock(*inc.Told.Page)
	if inc.Alert != nil {
		if name := pagerName(inc.Alert.Pager); name != "" {
			return say("paged.told", "time", at, "pager", name)
		}
	}
	return say("paged.told-somehow", "time", at)
}

// pagerName is a pager's name for people; "" for one that is not known.
func pagerName(name string) string {
	switch name {
	case NameOpsGenie, NameJSM, NameSNS:
		return say("pager." + name)
	}
	return ""
}

// again makes the headline that of a further incident, or of one that gets an alert
// of its own.
func (r *report) again(m Message, inc *incident.Incident) {
	if by := truncate(oneLine(m.ReplacedBy), limitAlias); by != "" {
		r.summary = slices.Insert(r.summary, 0, say("replaced.by", "alias", by))
		r.wrap(func(s string) string { return say("headline.replaced", "headline", s) })
		return
	}
	if m.Kind != KindRepeat {
		return
	}
	r.wrap(func(s string) string {
		if inc.Alert == nil || inc.Alert.Repeats <= 0 {
			return say("headline.again", "headline", s)
		}
		return say("headline.again-counted", "headline", s, "n", fmt.Sprint(inc.Alert.Repeats+1))
	})
}

// label marks what is no usual message.
func (r *report) label(inc *incident.Incident) {
	switch {
	case r.outcome == tested:
		r.wrap(func(s string) string { return TestLabel + s })
	case inc.Dry, onlyDry(inc):
		r.wrap(func(s string) string { return DryLabel + s })
	}
}

// wrap puts something around every form of the headline.
func (r *report) wrap(around func(string) string) {
	r.headline = around(r.headline)
	for i, s := range r.shorter {
		r.shorter[i] = around(s)
	}
}

// AlertOutcome is how bad it is what a message is about: incident.AlertDown when a
// check has failed and none has shown since that the instance is well, whether it
// was rebooted or not; incident.AlertUnknown when nothing is known to be wrong with
// the instance: the checks or the event could not tell, or it came back.
func AlertOutcome(m Message) string {
	if m.Incident == nil {
		return incident.AlertUnknown
	}
	return severityOf(outcomeFor(m.Kind, m.Incident), m.Incident)
}

func severityOf(o outcome, inc *incident.Incident) string {
	switch o {
	case down, refused, braked, notRebooted, rebootUnknown:
		return incident.AlertDown
	case unchecked, paused, unclear:
		if inc.LastFailure() != nil {
			return incident.AlertDown
		}
	}
	return incident.AlertUnknown
}

// outcomeFor is the outcome of a message: those of the kinds that are about no
// incident of their own, else the incident's.
func outcomeFor(kind Kind, inc *incident.Incident) outcome {
	switch kind {
	case KindTest:
		return tested
	case KindAllClear:
		return allClear
	}
	return outcomeOf(inc)
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

// headlines returns the headline in full, then in shorter forms.
func (r *report) headlines(inc *incident.Incident, failed *checks.Finding, to audience) []string {
	id := truncate(r.instance, 40)
	var subjects []string
	switch {
	case r.outcome == noIncident && r.alarmName != "":
		// Cut here, so that the end of the headline, the outcome, stays.
		subjects = []string{say("who.alarm", "alarm", truncate(r.alarmName, limitName))}
	case r.outcome == noIncident:
		subjects = []string{say("who.event")}
	default:
		for _, most := range []int{limitTagName, limitTagName / 2} {
			if r.name != "" {
				subjects = append(subjects, say("who.named", "instance", id, "name", truncate(r.name, most)))
			}
		}
		subjects = append(subjects, say("who.instance", "instance", id))
	}
	bare := subjects[len(subjects)-1]
	if region := truncate(r.region, 24); region != "" {
		for i, subject := range subjects {
			subjects[i] = say("who.in", "who", subject, "region", region)
		}
	}
	forms := make([]string, 0, len(subjects)+1)
	for _, who := range append(subjects, bare) {
		s := r.headlineFor(inc, failed, who, to)
		if inc.PageError != nil && to == toSlack && (inc.Told == nil || inc.Told.Page == nil) {
			s = say("headline.pager-failed", "headline", s)
		}
		forms = append(forms, s)
	}
	return forms
}

func (r *report) headlineFor(inc *incident.Incident, failed *checks.Finding, who string, to audience) string {
	after := ""
	if inc.Reboot != nil {
		switch inc.Reboot.Outcome {
		case incident.RebootRequested:
			after = say("after.requested")
		case incident.RebootSuppressed:
			after = say("after.suppressed")
		default:
			after = say("after.unknown")
		}
	}
	check := say("check.any")
	if failed != nil {
		check = say("check.named", "check", checkName(failed.Check))
	}
	region := truncate(r.region, 24)
	switch r.outcome {
	case recovered:
		if inc.SlackError != nil && inc.PageError == nil && to == toPager {
			return say("headline.recovered-untold", "who", who, "after", after)
		}
		return say("headline.recovered", "who", who, "after", after)
	case down:
		return say("headline.down", "who", who, "after", after)
	case unchecked:
		return say("headline.unchecked", "who", who, "after", after)
	case paused:
		switch {
		case rebootWasDue(inc):
			return say("headline.paused-failed", "who", who, "check", check)
		case inc.Error != nil:
			return say("headline.paused-unchecked", "who", who)
		}
		return say("headline.paused", "who", who)
	case refused:
		return say("headline.refused", "who", who, "check", check, "why", r.whyShort(inc))
	case braked:
		switch {
		case brakeNever(inc):
			return say("headline.brake-never", "who", who, "check", check)
		case !r.fleet:
			return say("headline.brake-alone", "who", who, "check", check)
		}
		// The numbers, and not once more that it is on.
		numbers := truncate(strings.TrimPrefix(refusalText(inc), "the region's brake is on: "), limitNumbers)
		if region == "" {
			return say("headline.brake-somewhere", "instance", truncate(r.instance, 40), "numbers", numbers)
		}
		return say("headline.brake", "region", region, "instance", truncate(r.instance, 40), "numbers", numbers)
	case notRebooted:
		return say("headline.not-rebooted", "who", who, "check", check)
	case rebootUnknown:
		return say("headline.reboot-unknown", "who", who, "check", check)
	case noIncident:
		return say("headline.no-incident", "who", who)
	case allClear:
		return say("headline.all-clear", "who", who)
	case tested:
		if region == "" {
			return say("headline.test-somewhere")
		}
		return say("headline.test", "region", region)
	}
	return say("headline.unclear", "who", who)
}

func (r *report) summaryFor(inc *incident.Incident, failed *checks.Finding, why string, seen eventView) []string {
	var lines []string
	add := func(s string) { lines = append(lines, s) }
	couldNotTell := func() {
		if next := dueCheck(inc); next != "" {
			add(say("check.could-not-tell", "check", next, "error", sentence(why)))
		} else {
			add(say("step.ended", "error", sentence(why)))
		}
	}
	switch r.outcome {
	case recovered:
		if inc.Recovery != nil && inc.Recovery.Since != nil && !inc.Recovery.Since.IsZero() {
			add(say("recovered.since", "time", clock(*inc.Recovery.Since)))
		} else {
			add(say("recovered.passed"))
		}
	case down:
		switch {
		case failed == nil || failed.Run < 2:
			add(say("down.unsaid"))
		case failed.At.IsZero():
			add(say("down.failed-sometime", "check", checkName(failed.Check), "run", fmt.Sprint(failed.Run), "reason", sentence(reasonText(*failed))))
		default:
			add(say("down.failed", "check", checkName(failed.Check), "run", fmt.Sprint(failed.Run), "time", clock(failed.At), "reason", sentence(reasonText(*failed))))
		}
		if !inc.Reboot.WindowClosesAt.IsZero() && inc.Reboot.Outcome != incident.RebootSuppressed {
			add(say("down.window", "time", clock(inc.Reboot.WindowClosesAt)))
		}
	case unchecked:
		couldNotTell()
		add(say("reachable.unknown"))
	case paused:
		if rebootWasDue(inc) {
			add(failure(failed))
		}
		if inc.Error != nil {
			couldNotTell()
		}
		if !rebootWasDue(inc) {
			add(say("reachable.unknown"))
		}
		add(r.pauseSentence(inc.Paused))
		done := rebootSentence(inc)
		if inc.Told == nil || inc.Told.Page == nil {
			done += " " + say("paused.nobody-paged")
		}
		return append(lines, done)
	case refused, braked:
		if failed != nil {
			add(failure(failed))
		}
		add(say("refused.reason", "guard", orElse(r.guard, say("refused.no-guard")), "reason", sentence(refusalText(inc))))
		if inc.Error != nil {
			add(say("step.ended-too", "error", sentence(why)))
		}
	case notRebooted:
		add(failure(failed))
		add(say("not-rebooted.error", "error", sentence(why)))
	case rebootUnknown:
		add(failure(failed))
		add(say("reboot-unknown.error", "error", sentence(why)))
	case noIncident:
		if couldNotOpen(inc, seen) {
			add(say("no-incident.open", "error", sentence(why)))
		} else {
			add(say("no-incident.event", "error", sentence(why)))
		}
		if seen.problem != "" {
			add(seen.problem)
		}
		add(say("no-incident.no-check"))
	case unclear:
		add(say("unclear.left"))
	}
	return append(lines, rebootSentence(inc))
}

// clearSummary says what was seen before an all-clear: two looks in a row that
// passed, the second of which is the last one.
func (r *report) clearSummary(inc *incident.Incident, m Message) []string {
	var lines []string
	add := func(s string) { lines = append(lines, s) }
	first, second := "", clock(inc.LookedAt)
	if inc.Recovery != nil && inc.Recovery.Since != nil {
		first = clock(*inc.Recovery.Since)
	}
	switch {
	case first != "" && second != "":
		add(say("all-clear.twice", "first", first, "second", second))
	case second != "":
		add(say("all-clear.twice-untimed", "second", second))
	default:
		add(say("all-clear.looks"))
	}
	looked, skipped := lastLook(inc.Findings)
	if len(looked) > 0 {
		add(say("all-clear.checked", "checks", strings.Join(looked, ", ")))
	}
	if len(skipped) > 0 {
		add(say("all-clear.skipped", "checks", strings.Join(skipped, ", ")))
	}
	if s := alarmNow(r.outcome, inc, m.AlarmState); s != "" {
		add(s)
	}
	if inc.Alert != nil && !inc.Alert.OpenedAt.IsZero() {
		if age := tookSince(inc.Alert.OpenedAt, m.Now); age != "" {
			add(say("all-clear.opened", "time", clock(inc.Alert.OpenedAt), "age", age))
		}
	}
	if inc.Alert != nil && inc.Alert.Repeats == 1 {
		add(say("all-clear.repeats-one"))
	} else if inc.Alert != nil && inc.Alert.Repeats > 1 {
		add(say("all-clear.repeats", "n", fmt.Sprint(inc.Alert.Repeats)))
	}
	if inc.Watch != nil && inc.Watch.Ended == incident.WatchCleared && (inc.Alert == nil || inc.Alert.Pager != NameSNS) {
		add(say("all-clear.closed"))
	}
	return lines
}

// lastLook returns the checks that the all-clear's newest look made, and those that
// the settings turn off.
func lastLook(findings []checks.Finding) (looked, skipped []string) {
	for i, f := range findings {
		if f.Run != incident.RunAllClear || slices.ContainsFunc(findings[i+1:], func(later checks.Finding) bool {
			return later.Run == f.Run && later.Check == f.Check
		}) {
			continue
		}
		if f.Skipped {
			skipped = append(skipped, checkName(f.Check))
		} else if f.Passed {
			looked = append(looked, checkName(f.Check))
		}
	}
	return looked, skipped
}

func rebootSentence(inc *incident.Incident) string {
	reboot := inc.Reboot
	switch {
	case reboot == nil && maybeRebooted(inc):
		return say("reboot.unknown")
	case reboot == nil && inc.RebootError != nil:
		return say("reboot.none-known")
	case reboot == nil:
		return say("reboot.none")
	}
	at := ""
	if !reboot.At.IsZero() {
		at = say("at", "time", clock(reboot.At))
	}
	switch reboot.Outcome {
	case incident.RebootRequested:
		if why := truncate(oneLine(reboot.Reason), limitReason); why != "" {
			return say("reboot.requested", "at", at, "reason", sentence(why))
		}
		return say("reboot.requested-unexplained", "at", at)
	case incident.RebootSuppressed:
		if onlyDry(inc) {
			return say("reboot.suppressed-by-setting", "at", at)
		}
		return say("reboot.suppressed", "at", at)
	case incident.RebootUnknown:
		// It was reserved, and may not have come to the call. How says what became of
		// the step, where that is known.
		how := ""
		if inc.RebootError != nil {
			how = say("reboot.how", "error", strings.TrimSuffix(sentence(reasonOf(inc.RebootError)), "."))
		}
		return say("reboot.lost", "at", at, "how", how)
	}
	return say("reboot.recorded", "at", at)
}

// watchesCPU says whether the alarm that rang may be spoken of as the CPU's:
// what it watches is a setting.
func watchesCPU(inc *incident.Incident) bool {
	return inc.Alarm != nil && inc.Alarm.Metric == "CPUUtilization"
}

// alarmValue is the newest datapoint of the alarm that rang, with its unit where
// that is known.
func alarmValue(a *incident.Alarm) string {
	if a.Value == nil {
		return ""
	}
	value := strconv.FormatFloat(*a.Value, 'g', 6, 64)
	if a.Metric == "CPUUtilization" {
		return say("value.percent", "value", value)
	}
	return value
}

func alarmNow(o outcome, inc *incident.Incident, state string) string {
	switch state {
	case "OK":
		if o == recovered && watchesCPU(inc) {
			return say("alarm.cpu-ok")
		}
		return say("alarm.ok")
	case "ALARM":
		return say("alarm.on")
	case "INSUFFICIENT_DATA":
		return say("alarm.no-data")
	}
	return ""
}

// nextFor is what to do, for somebody who knows no more than the message.
func (r *report) nextFor(inc *incident.Incident, state string) string {
	switch r.outcome {
	case recovered:
		watched, used := say("watched.any"), say("used.any")
		if watchesCPU(inc) {
			watched, used = say("watched.cpu"), say("used.cpu")
		}
		if state == "ALARM" {
			return say("next.recovered-alarm-on", "watched", watched)
		}
		return say("next.recovered", "used", used)
	case down:
		if onlyDry(inc) && inc.Reboot.Outcome == incident.RebootSuppressed {
			return say("next.down-dry")
		}
		return say("next.down")
	case paused:
		return say("next.paused", "command", r.resume(inc.Paused.Scope))
	case refused:
		return r.nextRefused(inc)
	case braked:
		switch {
		case brakeNever(inc):
			return say("next.brake-never")
		case r.fleet:
			return say("next.brake", "command", r.incidents(false))
		}
		return say("next.brake-alone", "command", r.incidents(false))
	case notRebooted:
		return say("next.not-rebooted")
	case rebootUnknown:
		return say("next.reboot-unknown")
	case noIncident:
		switch errorName(inc.Error) {
		case "Denied":
			return say("next.no-incident.Denied")
		case "Unavailable":
			return say("next.no-incident.Unavailable")
		case "", "InvalidInput", "Internal":
			return say("next.no-incident.InvalidInput")
		}
		return say("next.no-incident")
	case unclear:
		return say("next.unclear")
	case allClear:
		return say("next.all-clear", "command", r.incidents(true))
	case tested:
		return say("next.test")
	}
	switch errorName(inc.Error) {
	case "InvalidInput":
		return say("next.unchecked.InvalidInput")
	case "Denied":
		return say("next.unchecked.Denied")
	case "Internal":
		return say("next.unchecked.Internal")
	}
	return say("next.unchecked")
}

// detailsFor are the alert's details. What matters comes first: what does not
// fit is left out from the end.
func (r *report) detailsFor(inc *incident.Incident, m Message, failed *checks.Finding, why, took string) []fact {
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
	if r.outcome == tested || r.outcome == allClear {
		reboot = ""
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
		{"name", r.name},
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
		{"alarmState", oneLine(m.AlarmState)},
		{"alarmValue", alarmNumber(inc.Alarm)},
		{"execution", r.execution},
		{"took", took},
		{"slackError", errorName(inc.SlackError)},
		{"record", r.record},
	}
	for _, l := range r.links {
		d = append(d, fact{l.name + "Url", l.url})
	}
	return present(d)
}

// alarmNumber is the alarm's value for machines.
func alarmNumber(a *incident.Alarm) string {
	if a == nil || a.Value == nil {
		return ""
	}
	return strconv.FormatFloat(*a.Value, 'g', -1, 64)
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
	return orElse(checks.Title(check), orElse(truncate(oneLine(check), 20), say("look.unnamed")))
}

func reasonText(f checks.Finding) string {
	return orElse(truncate(oneLine(f.Reason), limitReason), say("error.unsaid"))
}

// looksOf is a line a finding. Of very many, the first and the last are kept.
func looksOf(findings []checks.Finding) []string {
	lines := make([]string, 0, min(len(findings), maxLooks+1))
	skip := len(findings) - maxLooks
	for i, f := range findings {
		if skip > 0 && i >= 4 && i < 4+skip {
			if i == 4 {
				lines = append(lines, say("look.more", "n", fmt.Sprint(skip)))
			}
			continue
		}
		lines = append(lines, look(f))
	}
	return lines
}

func look(f checks.Finding) string {
	run, check := fmt.Sprint(f.Run), checkName(f.Check)
	var s string
	reason := oneLine(f.Reason)
	switch {
	case f.Skipped:
		s = say("look.skipped", "run", run, "check", check)
		reason = strings.TrimPrefix(reason, "skipped: ")
	case f.Passed:
		s = say("look.passed", "run", run, "check", check)
	default:
		s = say("look.failed", "run", run, "check", check)
	}
	if reason = truncate(reason, limitReason/2); reason != "" {
		s = say("look.why", "look", s, "reason", reason)
	}
	var notes []string
	switch {
	case f.Attempts == 1:
		notes = append(notes, say("note.attempt"))
	case f.Attempts > 1:
		notes = append(notes, say("note.attempts", "n", fmt.Sprint(f.Attempts)))
	}
	if f.ElapsedMs > 0 {
		notes = append(notes, short(time.Duration(f.ElapsedMs)*time.Millisecond))
	}
	if f.Looks > 1 {
		n := fmt.Sprint(f.Looks)
		if f.Since != nil && !f.Since.IsZero() {
			notes = append(notes, say("note.looks-since", "n", n, "time", clock(*f.Since)))
		} else {
			notes = append(notes, say("note.looks", "n", n))
		}
	}
	if !f.At.IsZero() {
		notes = append(notes, say("at", "time", timeOfDay(f.At)))
	}
	return say("look.notes", "look", s, "notes", strings.Join(notes, ", "))
}

func timeOfDay(t time.Time) string { return t.UTC().Format("15:04:05") }

// reasonOf is what an error says: its name and its cause in words. A function's
// error has a JSON object as its cause; others have plain text or none.
func reasonOf(e *incident.Error) string {
	if e == nil {
		return say("error.unsaid")
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
			cause = say("error.timeout")
		default:
			cause = say("error.unsaid")
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
		v.problem = say("no-incident.no-object")
		return v
	}
	if region := text(event["region"]); regionName().MatchString(region) {
		v.region = region
	}
	if account := text(event["account"]); incident.ValidAccountID(account) {
		v.account = account
	}
	for _, resource := range array(event["resources"]) {
		if arn := text(resource); alarmARN().MatchString(arn) {
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
		if instanceID().MatchString(id) && !slices.Contains(ids, id) && len(ids) < 10 {
			ids = append(ids, id)
		}
	}
	v.instances = strings.Join(ids, ", ")
	if v.alarmName == "" && v.alarmARN == "" {
		v.problem = say("no-incident.no-alarm")
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

// values are what the channels' forms may name, a line at a time passed through
// clean. fact and page are a fact and a link as the channel shows them.
func (r *report) values(words wordlist, clean func(string) string) []string {
	each := func(lines []string) string {
		cleaned := make([]string, len(lines))
		for i, line := range lines {
			cleaned[i] = clean(line)
		}
		return strings.Join(cleaned, "\n")
	}
	facts := make([]string, len(r.facts))
	for i, f := range r.facts {
		facts[i] = words.say("fact", "label", f.label, "value", f.value)
	}
	pages := make([]string, len(r.links))
	for i, l := range r.links {
		pages[i] = words.say("page", "label", l.label(), "url", l.url)
	}
	return []string{
		"summary", each(r.summary), "next", clean(r.next), "facts", each(facts), "pages", each(pages), "looks", each(r.looks),
	}
}

// plain renders a form of a channel as plain text of at most limit runes, with the
// headline in at most headLimit.
func (r *report) plain(words wordlist, key string, headLimit, limit int) string {
	as := func(s string) string { return s }
	return strings.TrimSpace(join(words.lay(key, append(r.values(words, as), "headline", r.head(headLimit))...), limit))
}
