package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"firstline/internal/incident"
	"firstline/internal/lazy"
	"firstline/internal/policy"
)

// Limits of single texts from outside, in characters, and of lists; all are ours.
const (
	limitHead    = 300 // of the first line, where the service sets no limit
	limitReason  = 700
	limitName    = 66 // of an alarm in the first line
	limitTagName = 40 // of an instance's Name in the first line
	minReason    = 60 // of a reason in the first line, else it is left out
	maxMembers   = 10
	maxReboots   = 5
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

// paragraph is a part of a message.
type paragraph struct {
	title string
	items []item
}

func (p *paragraph) add(label, value string) {
	if value != "" {
		p.items = append(p.items, item{label: label, value: value})
	}
}

func (p *paragraph) addCommand(label, command string) {
	p.items = append(p.items, item{label, command, true})
}

// report is a message in words, for any channel. All of it is plain text on one
// line each, without secrets, and not yet escaped for anything.
type report struct {
	situation string
	dec       *incident.Decision
	icon      string
	// label begins the first line. who are the forms of what it is about, the longest
	// first; what says what is wrong and what was done, and reason why.
	label        string
	who          []string
	what, reason string
	// next is what to do, why explains the message, facts are everything else.
	next, why, checks, reboots, facts paragraph
	links                             []link

	deployment, instance, name, region, account string
	execution, executionName                    string
	alarm                                       incident.Alarm
	// shared: the alert is not this instance's own.
	shared bool
}

// describe is the one place that decides what a message says.
func describe(m Message) *report {
	inc := m.Incident
	dec := cmp.Or(inc.Decision, &incident.Decision{})
	r := &report{
		situation: dec.Situation, dec: dec,
		checks: paragraph{title: "Checks"}, reboots: paragraph{title: "Reboots"},
		deployment: cmp.Or(plain(m.Deployment, 50), "firstline"),
		instance:   plain(inc.InstanceID, 40), name: plain(inc.Name, 256), region: plain(inc.Region, 24), account: plain(inc.AccountID, 40),
		execution: plain(inc.Execution.ID, 300), executionName: plain(inc.Execution.Name, 100),
		shared: m.Alert.Key != "" && m.Alert.Key != inc.InstanceID,
	}
	if inc.Alarm != nil {
		r.alarm = *inc.Alarm
	}
	var named []string
	switch {
	case m.Kind == KindTest:
		r.situation = incident.SituationTest
	case inc.InstanceID == "" && r.situation != incident.SituationStore:
		r.situation = incident.SituationNoIncident
		var seen incident.Incident
		seen, named = incident.Glance(inc.Event)
		r.alarm, r.region, r.account = *seen.Alarm, cmp.Or(seen.Region, r.region), cmp.Or(seen.AccountID, r.account)
	}
	r.alarm.Name, r.alarm.ARN, r.alarm.Metric = plain(r.alarm.Name, 255), plain(r.alarm.ARN, 400), plain(r.alarm.Metric, 100)
	r.say(m, inc)
	r.explain(m)
	r.show(m, inc, members(named))
	r.links = r.consoleLinks(cmp.Or(r.instance, strings.Join(named, "")))
	return r
}

// say sets the first line, and what to do.
func (r *report) say(m Message, inc *incident.Incident) {
	w := situations[r.situation]
	r.icon, r.who, r.what = w.icon, r.subjects(), fill(w.what, r.dec)
	if w.withReason {
		r.reason = plain(r.dec.Reason, limitReason)
	}
	next := w.next
	switch {
	case m.Kind == KindResolve:
		r.resolve(m.Alert)
		return
	case r.situation == incident.SituationTest:
		r.label, r.who = testLabel, []string{"firstline's alerts in " + cmp.Or(r.region, "no region")}
	case r.situation == incident.SituationStore && r.instance == "":
		r.what = "cannot use its table: no instance of the region is looked after"
		next = "Watch the region's alarms yourself. Then repair firstline's access to its DynamoDB table; the reason below says what failed."
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
	r.commands(m)
	if failed || r.situation == incident.SituationNotConfirmed {
		r.next.addCommand("A pager failed: test them all", "firstline notify test")
	}
}

// resolve makes the message one that closes an alert.
func (r *report) resolve(a incident.AlertRef) {
	r.icon, r.reason = "✅", ""
	r.label, r.what = "Resolved: ", cmp.Or(plain(a.Ended, limitReason), "no instance is left in this alert")
	if r.shared {
		r.who, r.what = []string{keyWords(a.Key) + " in " + r.region}, "no instance is left in this alert"
	}
	if a.Key == policy.KeyStore || a.Key == policy.KeyNoIncident {
		r.what = plain(a.Ended, limitReason)
	}
	if a.ReplacedBy != "" {
		r.label, r.what = "Replaced: ", "the alert "+plain(a.ReplacedBy, limitAlias)+" takes the place of this one"
	}
	for n := range r.who {
		r.who[n] += ":"
	}
}

// commands adds the commands that a message calls for, if what they name is fit for
// a shell.
func (r *report) commands(m Message) {
	if !incident.ValidRegion(r.region) || !incident.ValidInstanceID(r.instance) || m.Kind == KindTest {
		return
	}
	region := " --region " + r.region
	instance := region + " --instance " + r.instance
	switch {
	case r.situation == incident.SituationPaused && r.dec.PauseScope == "region":
		r.next.addCommand("When the work is done", "firstline resume"+region)
	case r.situation == incident.SituationPaused:
		r.next.addCommand("When the work is done", "firstline resume"+instance)
	case r.dec.Next == incident.NextPage && r.situation != incident.SituationHealthyAgain:
		r.next.addCommand("Keep firstline away while you work", "firstline pause"+instance+" --until 1h")
	}
	if r.situation == incident.SituationHeldBack {
		r.next.addCommand("Let firstline reboot these instances again", "firstline resume"+region)
	}
}

// subjects are the forms of what the first line is about, the longest first.
func (r *report) subjects() []string {
	in := ""
	if r.region != "" {
		in = " in " + r.region
	}
	switch {
	case r.situation == incident.SituationStore && r.instance == "":
		return []string{"firstline" + in}
	case r.instance == "" && r.alarm.Name != "":
		alarm := "Alarm " + incident.ClipLine(r.alarm.Name, limitName)
		return []string{alarm + in, alarm}
	case r.instance == "":
		return []string{"An event" + in}
	case r.name == "":
		return []string{r.instance + in, r.instance}
	}
	return []string{r.instance + " (" + incident.ClipLine(r.name, limitTagName) + ")" + in, r.instance + in, r.instance}
}

// headline is the first line in at most limit characters. The instance's name goes
// first, then most of the reason, then the region.
func (r *report) headline(limit int) string {
	if r.reason != "" {
		for _, who := range r.who[:min(2, len(r.who))] {
			s := r.label + who + " " + r.what + ": "
			if runes(s)+min(runes(r.reason), minReason) <= limit {
				return incident.ClipLine(s+r.reason, limit)
			}
		}
	}
	s := ""
	for _, who := range r.who {
		if s = r.label + who + " " + r.what; runes(s) <= limit {
			break
		}
	}
	return incident.ClipLine(s, limit)
}

// explain sets why there is a message.
func (r *report) explain(m Message) {
	opened := plain(m.Alert.Why, limitReason)
	if m.Kind == KindResolve && r.shared {
		r.why.add("Breaker opened because", opened)
		r.why.add("Ended because", plain(m.Alert.Ended, limitReason))
		return
	}
	r.why.add("Why", plain(r.dec.Reason, limitReason))
	r.why.add("Breaker opened because", opened)
	if r.dec.Since > 0 {
		state := "not healthy"
		if r.dec.Verdict == incident.VerdictHealthy {
			state = "healthy"
		}
		r.why.add("Since", fmt.Sprintf("%s, %s for %s", clock(r.dec.Since), state, incident.Span(incident.At(m.Now).Sub(r.dec.Since))))
	}
	if len(m.Alert.Members) > 1 {
		r.why.add("Instances in this alert", members(m.Alert.Members))
	}
}

// show sets the evidence.
func (r *report) show(m Message, inc *incident.Incident, named string) {
	dec, facts := r.dec, &r.facts
	switch {
	case r.situation == incident.SituationTest:
		facts.add("Deployment", r.deployment)
		facts.add("Sent at", clock(incident.At(m.Now)))
		return
	case m.Kind == KindResolve && r.shared:
		facts.add("Account", r.account)
		return
	}
	for _, f := range dec.Findings {
		// A check that is off says nothing. One that was skipped for another reason
		// may be missed.
		if f.Outcome != incident.Skipped || inc.Settings == nil || inc.Settings.Enabled(f.Check) {
			r.checks.add("", findingLine(f))
		}
	}
	for n, reboot := range slices.Backward(dec.Reboots) {
		if len(r.reboots.items) == maxReboots {
			r.reboots.add("", fmt.Sprintf("and %d more within 7 days", n+1))
			break
		}
		r.reboots.add("", rebootLine(reboot))
	}
	facts.add("Instances named", named)
	facts.add("Alarm", r.alarmLine())
	if dec.PausedUntil > 0 {
		s := "the " + cmp.Or(plain(dec.PauseScope, 20), "instance") + ", until " + clock(dec.PausedUntil)
		if by := plain(dec.PausedBy, 200); by != "" {
			s += ", by " + by
		}
		facts.add("Paused", s)
	}
	for _, why := range dec.Unasked {
		facts.add("Could not be asked", plain(why, limitReason))
	}
	for _, step := range slices.Sorted(maps.Keys(inc.Caught)) {
		if step == "open" || step == "decide" {
			continue // without them there is no decision but to say so, which is its reason
		}
		c := inc.Caught[step]
		facts.add("Step "+plain(step, 30)+" failed", strings.Trim(plain(c.Error, 80)+": "+plain(c.Cause, limitReason), ": "))
	}
	if inc.Paged != nil && m.Kind == KindSlack && dec.Next == incident.NextPage {
		facts.add("Paged", plain(inc.Paged.Pager, 30)+" at "+clock(inc.Paged.At))
	}
	if executionName().MatchString(r.executionName) && inc.InstanceID != "" {
		facts.add("Record", "firstline incident "+r.executionName)
	}
	facts.add("Account", r.account)
}

// executionName is a name that Step Functions gives an execution, or takes for it.
var executionName = lazy.Regexp(`^[0-9A-Za-z_][0-9A-Za-z._-]{0,79}$`)

// alarmLine is the alarm with its value, and its state now.
func (r *report) alarmLine() string {
	a := r.alarm
	var parts []string
	if a.Name != "" {
		parts = append(parts, a.Name)
	}
	if a.Metric != "" && a.Value != nil {
		value := a.Metric + " " + strconv.FormatFloat(*a.Value, 'g', 6, 64)
		if a.Metric == "CPUUtilization" {
			value += " %"
		}
		parts = append(parts, value)
	}
	if a.At > 0 {
		parts = append(parts, "fired at "+clock(a.At))
	}
	if r.dec.AlarmState != "" {
		parts = append(parts, "now "+plain(r.dec.AlarmState, 20))
	}
	s := strings.Join(parts, ", ")
	if reason := plain(a.Reason, limitReason); reason != "" && a.Value == nil {
		s += ": " + reason
	}
	return s
}

// members names an alert's instances, but not too many.
func members(ids []string) string {
	named := make([]string, 0, maxMembers)
	for _, id := range ids[:min(len(ids), maxMembers)] {
		named = append(named, plain(id, 40))
	}
	s := strings.Join(named, ", ")
	if more := len(ids) - maxMembers; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// entity is what an alert is about: an instance, or a region.
func (r *report) entity() string {
	if r.shared {
		return r.region
	}
	return r.instance
}

// tags are an alert's.
func (r *report) tags() []string {
	dry := ""
	if r.label == dryLabel {
		dry = "dry-run"
	}
	return []string{"firstline", r.deployment, r.situation, r.dec.Severity.String(), r.guard(), dry, r.region, r.account, r.instance}
}

// guard is the guard that refused a reboot.
func (r *report) guard() string {
	if r.situation != incident.SituationNotRebooted {
		return ""
	}
	return plain(r.dec.Guard, 30)
}

// details are for machines. What matters comes first: what does not fit is left
// out from the end.
func (r *report) details() []item {
	var p paragraph
	p.add("instanceId", r.instance)
	p.add("name", r.name)
	p.add("region", r.region)
	p.add("accountId", r.account)
	p.add("deployment", r.deployment)
	p.add("situation", r.situation)
	p.add("severity", r.dec.Severity.String())
	p.add("verdict", string(r.dec.Verdict))
	p.add("guard", r.guard())
	p.add("alarm", r.alarm.Name)
	p.add("alarmArn", r.alarm.ARN)
	p.add("alarmState", plain(r.dec.AlarmState, 20))
	p.add("execution", r.execution)
	for _, l := range r.links {
		p.add(strings.ToLower(l.name)+"Url", l.url)
	}
	return p.items
}

// paragraphs are what follows the first line: what to do, then the evidence.
func (r *report) paragraphs() []paragraph {
	all := []paragraph{r.next, r.why, r.checks, r.reboots, r.facts}
	return slices.DeleteFunc(all, func(p paragraph) bool { return len(p.items) == 0 })
}

// lines are the report as plain text, less the first line.
func (r *report) lines() []string {
	var pages paragraph
	for _, l := range r.links {
		pages.add(l.name, l.url)
	}
	var all []string
	for _, p := range append(r.paragraphs(), pages) {
		if len(all) > 0 {
			all = append(all, "")
		}
		if p.title != "" {
			all = append(all, p.title+":")
		}
		for _, i := range p.items {
			if i.label != "" {
				i.label += ": "
			}
			all = append(all, i.label+i.value)
		}
	}
	return all
}

// text is the report with its first line.
func (r *report) text() []string { return append([]string{r.headline(limitHead)}, r.lines()...) }
