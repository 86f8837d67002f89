package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"firstline/internal/console"
	"firstline/internal/incident"
	"firstline/internal/lazy"
	"firstline/internal/redact"
)

// Limits of single texts from outside, in characters, and of lists; all are ours.
const (
	limitTitle   = 120 // of the first line: what a phone shows of a notification
	limitReason  = 700
	limitTagName = 40 // of an instance's Name in the first line
	minReason    = 30 // of a reason in the first line, for which an instance's Name goes
	limitURL     = 1500
	maxMembers   = 10
	maxReboots   = 5
	// Twenty findings fit into Slack's text and into two of its sections.
	maxFindings, limitFinding, findingsAtOnce = 20, 280, 10
)

// Labels that begin whatever is no usual message.
const (
	dryLabel  = "[dry run] "
	testLabel = "[test] "
)

// item is a line of a message: a value, with what it is called, or with what the
// command in it does.
type item struct {
	label, value string
	command      bool
}

func (i item) String() string {
	if i.label == "" {
		return i.value
	}
	return i.label + ": " + i.value
}

// paragraph is a part of a message.
type paragraph []item

// add adds a line of text from wherever, unless it is empty.
func (p *paragraph) add(label, value string) {
	if value = plain(value, limitReason); value != "" {
		*p = append(*p, item{label: plain(label, 60), value: value})
	}
}

func (p *paragraph) addCommand(label, command string) { *p = append(*p, item{label, command, true}) }

// report is a message in words, for any channel. All of it is plain text on one
// line each, without secrets, and not yet escaped for anything.
type report struct {
	situation string
	dec       *incident.Decision
	// label begins the first line. who are the forms of what it is about, the longest
	// first; what says what is wrong and what was done, and reason why.
	label        string
	who          []string
	what, reason string
	// next is what to do, why explains the message, facts are everything else.
	next, why, checks, reboots, facts paragraph
	findings                          []paragraph
	// links are pages of the AWS console.
	links paragraph

	deployment, instance, name, region, account string
	// execution is empty unless it is an ARN, of which executionName is the end.
	execution, executionName string
	alarm                    incident.Alarm
	// shared: the alert is not this instance's own.
	shared bool
}

var executionARN = lazy.Regexp(`^arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{12}:execution:[0-9A-Za-z._-]{1,80}:([0-9A-Za-z_][0-9A-Za-z._-]{0,79})$`)

// describe is the one place that decides what a message says.
func describe(m Message) *report {
	inc := m.Incident
	dec := cmp.Or(inc.Decision, &incident.Decision{})
	r := &report{
		situation: plain(dec.Situation, 40), dec: dec,
		deployment: cmp.Or(plain(m.Deployment, 50), "firstline"),
		instance:   plain(inc.InstanceID, 40), name: plain(inc.Name, 256), region: plain(inc.Region, 24), account: plain(inc.AccountID, 40),
		shared: m.Alert.Key != "" && m.Alert.Key != inc.InstanceID,
	}
	if arn := executionARN().FindStringSubmatch(inc.Execution.ID); arn != nil {
		r.execution, r.executionName = arn[0], arn[1]
	}
	if inc.Alarm != nil {
		r.alarm = *inc.Alarm
	}
	var named []string
	switch {
	case m.Kind == KindTest:
		r.situation = incident.SituationTest
	case r.situation == incident.SituationCoverage:
		r.cover(m.Findings)
	case inc.InstanceID == "" && r.situation != incident.SituationStore:
		r.situation = incident.SituationNoIncident
		var seen incident.Incident
		seen, named = incident.Glance(inc.Event)
		r.alarm, r.region, r.account = *seen.Alarm, cmp.Or(seen.Region, r.region), cmp.Or(seen.AccountID, r.account)
	}
	r.alarm.Name, r.alarm.Trigger, r.alarm.ARN = plain(r.alarm.Name, 255), plain(r.alarm.Trigger, 32), plain(r.alarm.ARN, 400)
	r.who = r.subjects()
	if m.Kind == KindResolve {
		r.resolve(m.Alert)
	} else {
		r.say(m, inc)
	}
	if m.Kind != KindResolve || !r.shared {
		r.show(m, inc, named)
	}
	r.facts.add("Account", r.account)
	r.link(cmp.Or(r.instance, strings.Join(named, "")))
	return r
}

// say sets the first line, and what to do.
func (r *report) say(m Message, inc *incident.Incident) {
	w := situations[r.situation]
	r.what = fill(w.what, r.dec)
	if w.withReason && r.dec.Reason != "" {
		r.reason = ": " + plain(r.dec.Reason, limitReason)
	}
	next := w.next
	switch {
	case r.situation == incident.SituationTest:
		r.label, r.who = testLabel, []string{"firstline's alerts in " + cmp.Or(r.region, "no region")}
	case r.situation == incident.SituationStore && r.instance == "":
		r.what = "cannot use its table: no instance of the region is looked after"
		next = "Watch the region's alarms yourself. Then repair firstline's access to its DynamoDB table; the reason below says what failed."
	case r.situation == incident.SituationDownAfterReboot && !isDown(r.dec):
		r.what = fill("is not well after firstline's reboot: {saw}", r.dec) + passes(r.dec)
		next = cmp.Or(situations[string(r.dec.Kind)].next, "Look at what failed: the instance is reached, so to stop and start it is not likely to help.")
	case r.situation == incident.SituationNotRebooted:
		next = guards[r.dec.Guard].next
	}
	if inc.Dry {
		r.label = dryLabel
	}
	_, failed := inc.Caught["page"]
	if failed && m.Kind == KindSlack && r.dec.Next == incident.NextPage && !inc.Told {
		r.label += "Nobody was paged: "
		r.next.add("", "Tell whoever is on call.")
	}
	r.next.add("", next)
	r.commands()
	if failed || r.situation == incident.SituationNotConfirmed {
		where := " --all"
		if incident.ValidRegion(r.region) {
			where = " --region " + r.region
		}
		r.next.addCommand("A pager failed: test them all", "firstline notify test"+where)
	}
}

// cover adds what keeps instances from being watched.
func (r *report) cover(findings []string) {
	r.reason = map[bool]string{true: ": 1 finding", false: fmt.Sprintf(": %d findings", len(findings))}[len(findings) == 1]
	for some := range slices.Chunk(findings[:min(len(findings), maxFindings)], findingsAtOnce) {
		var p paragraph
		for _, f := range some {
			p.add("", plain(f, limitFinding))
		}
		r.findings = append(r.findings, p)
	}
	if more := len(findings) - maxFindings; more > 0 {
		r.findings = append(r.findings, paragraph{{value: fmt.Sprintf("%d more are not shown", more)}})
	}
}

// resolve makes the message one that closes an alert.
func (r *report) resolve(a incident.AlertRef) {
	r.label, r.what = "Resolved: ", plain(a.Ended, limitReason)
	if r.shared {
		r.who = []string{keyWords(a.Key) + " in " + r.region}
	}
	if r.what == "" || r.shared && a.ID != "" {
		r.what = "no instance is left in this alert"
	}
	if a.ReplacedBy != "" {
		r.label, r.what = "Replaced: ", "another alert takes the place of this one"
		r.next.add("The other alert", plain(a.ReplacedBy, limitAlias))
	}
	for n := range r.who {
		r.who[n] += ":"
	}
}

// commands adds the commands that a message calls for, if what they name is fit for
// a shell.
func (r *report) commands() {
	region := " --region " + r.region
	switch {
	case !incident.ValidRegion(r.region):
		return
	case r.situation == incident.SituationCoverage:
		r.next.addCommand("List them all, in full", "firstline coverage"+region)
	}
	if !incident.ValidInstanceID(r.instance) {
		return
	}
	instance := region + " --instance " + r.instance
	switch {
	case r.situation == incident.SituationPaused && r.dec.PauseScope == "region":
		r.next.addCommand("When the work is done", "firstline resume"+region)
	case r.situation == incident.SituationPaused:
		r.next.addCommand("When the work is done", "firstline resume"+instance)
	case r.dec.Next == incident.NextPage && r.situation != incident.SituationHealthyAgain:
		r.next.addCommand("Keep firstline away while you work", "firstline pause"+instance+" --until 1h")
	}
	switch {
	case r.situation == incident.SituationHeldBack:
		r.next.addCommand("Let firstline reboot these instances again", "firstline resume"+region)
	case r.dec.Next == incident.NextPage && r.situation != incident.SituationStore: // of which the table keeps nothing
		r.next.addCommand("Once it is mended, hand it back", "firstline handback"+instance)
	}
}

// subjects are the forms of what the first line is about, the longest first.
func (r *report) subjects() []string {
	in := ""
	if r.region != "" {
		in = " in " + r.region
	}
	switch {
	case r.situation == incident.SituationCoverage, r.situation == incident.SituationStore && r.instance == "":
		return []string{"firstline" + in}
	case r.instance == "" && r.alarm.Name != "":
		return []string{"Alarm " + r.alarm.Name + in, "An alarm" + in}
	case r.instance == "":
		return []string{"An event" + in}
	case r.name == "":
		return []string{r.instance + in}
	}
	isInside := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
	return []string{r.instance + " (" + clipWords(r.name, limitTagName, isInside) + ")" + in, r.instance + in}
}

// about is what an alert is about, for machines: the instance, or the region.
func (r *report) about() string {
	if r.shared {
		return r.region
	}
	return r.instance
}

// headline is the first line in at most limit characters. The instance's name goes
// first, then the end: a reason only as far as it says anything.
func (r *report) headline(limit int) string {
	line := ""
	for _, who := range r.who {
		line = r.label + who + " " + r.what
		if runes(line)+min(runes(r.reason), minReason) <= limit {
			break
		}
	}
	if room := limit - runes(line); room >= min(runes(r.reason), minReason) {
		line += r.reason
	}
	return clipWords(line, limit, func(c rune) bool { return !unicode.IsSpace(c) })
}

// clipWords makes text one line of at most limit characters, without cutting a word
// that is shorter than half of that: half an id or half a number says something else.
func clipWords(s string, limit int, isInside func(rune) bool) string {
	all := []rune(incident.ClipLine(s, limit+1))
	if len(all) <= limit {
		return string(all)
	}
	end := limit - 1
	for end > limit/2 && isInside(all[end-1]) && isInside(all[end]) {
		end--
	}
	if end == limit/2 {
		end = limit - 1
	}
	return strings.TrimRight(string(all[:end]), " :;,.(-_") + "…"
}

// show sets why there is a message, and the evidence. named are the instances that
// an event names that made no incident.
func (r *report) show(m Message, inc *incident.Incident, named []string) {
	dec, facts := r.dec, &r.facts
	r.why.add("Why", dec.Reason)
	r.why.add("Seen", dec.Vantage)
	if dec.Since > 0 {
		r.why.add("Since", clock(dec.Since)+", for "+incident.Span(incident.At(m.Now).Sub(dec.Since)))
	}
	if len(m.Alert.Members) > 1 {
		r.why.add("Instances in this alert", members(m.Alert.Members))
	}
	for _, f := range dec.Findings {
		// A check that is off says nothing. One that was skipped for another reason
		// may be missed.
		if f.Outcome != incident.Skipped || inc.Settings == nil || inc.Settings.Enabled(f.Check) {
			r.checks.add("", findingLine(f))
		}
	}
	for _, reboot := range slices.Backward(dec.Reboots[max(0, len(dec.Reboots)-maxReboots):]) {
		r.reboots.add("", rebootLine(reboot))
	}
	facts.add("Instances named", members(named))
	facts.add("Alarm", alarmLine(r.alarm, dec.AlarmState))
	if dec.PausedUntil > 0 {
		s := "the " + cmp.Or(dec.PauseScope, "instance") + ", until " + clock(dec.PausedUntil)
		if dec.PausedBy != "" {
			s += ", by " + dec.PausedBy
		}
		facts.add("Paused", s)
	}
	for _, why := range dec.Unasked {
		facts.add("Could not be asked", why)
	}
	for _, step := range slices.Sorted(maps.Keys(inc.Caught)) {
		if step == "open" || step == "decide" {
			continue // without them there is no decision but to say so, which is its reason
		}
		c := inc.Caught[step]
		facts.add("Step "+step+" failed", strings.Trim(c.Error+": "+c.Cause, ": "))
	}
	if inc.Paged != nil && m.Kind == KindSlack && dec.Next == incident.NextPage {
		facts.add("Paged", inc.Paged.Pager+" at "+clock(inc.Paged.At))
	}
	if r.executionName != "" && r.instance != "" {
		facts.add("Record", "firstline incident "+r.executionName)
	}
}

// alarmLine is an alarm's trigger with its value, or its reason without one, and its state now.
func alarmLine(a incident.Alarm, state string) string {
	s := cmp.Or(a.Trigger, a.Name)
	if a.Value != nil {
		s += fmt.Sprintf(": %s %.6g", a.Metric, *a.Value)
	}
	if a.At > 0 {
		s += ", fired at " + clock(a.At)
	}
	if state != "" {
		s += ", now " + state
	}
	if a.Value == nil {
		s += ", " + a.Reason
	}
	return strings.Trim(s, ", ")
}

// members names an alert's instances, but not too many.
func members(ids []string) string {
	s := strings.Join(ids[:min(len(ids), maxMembers)], ", ")
	if more := len(ids) - maxMembers; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// link adds the links whose ids are valid; none where the console is not public.
func (r *report) link(instance string) {
	pages, ok := console.In(console.Partition(r.region), r.region)
	if !ok || !incident.ValidRegion(r.region) {
		return
	}
	if r.execution != "" {
		r.links = append(r.links, item{label: "Execution", value: pages.Execution(r.execution)})
	}
	if incident.ValidInstanceID(instance) {
		r.links = append(r.links, item{label: "Instance", value: pages.Instance(instance)})
	}
	if page := pages.Alarm(r.alarm.Name); r.alarm.Name != "" && len(page) <= limitURL {
		r.links = append(r.links, item{label: "Alarm", value: page})
	}
}

// details are for machines, 4,000 characters at most.
func (r *report) details() map[string]string {
	all := map[string]string{
		"instanceId": r.instance,
		"name":       r.name,
		"region":     r.region,
		"accountId":  r.account,
		"deployment": r.deployment,
		"situation":  r.situation,
		"severity":   r.dec.Severity.String(),
		"verdict":    string(r.dec.Verdict),
		"guard":      plain(r.dec.Guard, 30),
		"alarm":      r.alarm.Name,
		"alarmArn":   r.alarm.ARN,
		"alarmState": plain(r.dec.AlarmState, 20),
		"execution":  r.execution,
	}
	for _, l := range r.links {
		all[strings.ToLower(l.label)+"Url"] = l.value
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// paragraphs are what follows the first line: what to do, then the evidence.
func (r *report) paragraphs() []paragraph {
	all := append([]paragraph{r.next}, r.findings...)
	all = append(all, r.why, r.checks, r.reboots, r.facts)
	return slices.DeleteFunc(all, func(p paragraph) bool { return len(p) == 0 })
}

// lines are the report as plain text, less the first line.
func (r *report) lines() []string {
	var all []string
	for _, p := range append(r.paragraphs(), r.links) {
		if len(all) > 0 {
			all = append(all, "")
		}
		for _, i := range p {
			all = append(all, i.String())
		}
	}
	return all
}

// text is the report with its first line.
func (r *report) text() []string { return append([]string{r.headline(limitTitle)}, r.lines()...) }

// plain makes text from outside fit to print: one line, without secrets, in at
// most limit characters.
func plain(s string, limit int) string {
	return incident.ClipLine(redact.Text(incident.ClipLine(s, 4*limit)), limit)
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// join puts lines together, in at most limit characters.
func join(lines []string, limit int) string {
	all := []rune(strings.TrimSpace(strings.Join(lines, "\n")))
	if len(all) <= limit {
		return string(all)
	}
	return string(all[:limit-1]) + "…"
}
