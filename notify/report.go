package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"firstline/internal/incident"
	"firstline/internal/lazy"
	"firstline/internal/redact"
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

// fact is a labelled value.
type fact struct{ label, value string }

// line is something to do, with the command that does it, or none.
type line struct{ text, command string }

// report is a message in words, for any channel. All of it is plain text on one
// line each, without secrets, and not yet escaped for anything.
type report struct {
	situation string
	severity  incident.Severity
	icon      string
	// label begins the first line. who are the forms of what it is about, the
	// longest first; what says what is wrong and what was done, and reason why.
	label        string
	who          []string
	what, reason string
	next         []line
	// why is what explains the message, then come checks and reboots, a line each,
	// and facts, which is everything else.
	why             []fact
	checks, reboots []string
	facts           []fact
	links           []link

	deployment, instance, name, region, account string
	// entity is what an alert is about: an instance, or a region. shared: it is not
	// this instance's own.
	entity                   string
	shared                   bool
	execution, executionName string
	alarmName, alarmARN      string
	guard                    string
	dec                      *incident.Decision
}

// plain makes text from outside fit to print: one line, without secrets.
func plain(s string, limit int) string {
	return truncate(redact.Text(oneLine(truncate(s, 4*limit))), limit)
}

// describe is the one place that decides what a message says.
func describe(m Message) *report {
	inc := m.Incident
	if inc == nil {
		inc = &incident.Incident{}
	}
	dec := inc.Decision
	if dec == nil {
		dec = &incident.Decision{}
	}
	r := &report{
		situation: dec.Situation, severity: dec.Severity, dec: dec,
		deployment: cmp.Or(plain(m.Deployment, 50), "firstline"),
		instance:   plain(inc.InstanceID, 40), name: plain(inc.Name, 256), region: plain(inc.Region, 40), account: plain(inc.AccountID, 40),
		execution:     plain(inc.Execution.ID, 300),
		executionName: plain(cmp.Or(inc.Execution.Name, inc.Execution.ID[strings.LastIndex(inc.Execution.ID, ":")+1:]), 100),
	}
	var alarm incident.Alarm
	if inc.Alarm != nil {
		alarm = *inc.Alarm
	}
	var seen eventView
	switch {
	case m.Kind == KindTest:
		r.situation = incident.SituationTest
	case inc.InstanceID == "" && r.situation != incident.SituationStore:
		r.situation, r.severity = incident.SituationNoIncident, incident.SeverityUnknown
		seen = viewEvent(inc.Event)
		alarm.Name, alarm.ARN = cmp.Or(alarm.Name, seen.alarmName), cmp.Or(alarm.ARN, seen.alarmARN)
		alarm.Reason = cmp.Or(alarm.Reason, seen.reason)
		r.region, r.account = cmp.Or(seen.region, r.region), cmp.Or(seen.account, r.account)
	}
	r.alarmName, r.alarmARN = plain(alarm.Name, 255), plain(alarm.ARN, 400)
	r.shared = m.Alert.Key != "" && m.Alert.Key != inc.InstanceID
	r.entity = r.instance
	if r.shared {
		r.entity = r.region
	}
	r.say(m, inc)
	r.explain(m, inc)
	r.show(m, inc, &alarm, seen)
	r.links = consoleLinks(partitionOf(r.region, r.execution, r.alarmARN), linked{
		region: r.region, execution: r.execution, instance: cmp.Or(r.instance, seen.instance()), alarm: r.alarmName, deployment: r.deployment,
	})
	return r
}

// say sets the first line, and what to do.
func (r *report) say(m Message, inc *incident.Incident) {
	w, ok := situations[r.situation]
	if !ok {
		w = wording{icon: "🟠", what: "{state}", next: readConsole}
	}
	r.icon, r.what = w.icon, fill(w.what, r.dec)
	r.who = r.subjects()
	if w.withReason {
		r.reason = plain(r.dec.Reason, limitReason)
	}
	r.next = []line{{text: w.next}}
	switch {
	case r.situation == incident.SituationTest:
		r.label, r.who, r.what = testLabel, []string{"firstline's alerts in " + cmp.Or(r.region, "no region")}, "work: this is not an incident"
	case r.situation == incident.SituationNoIncident:
		r.reason = cmp.Or(reasonOf(inc, "open"), r.reason)
	case r.situation == incident.SituationStore && r.instance == "":
		r.what = "cannot use its table: no instance of the region is looked after"
		r.next[0].text = "Watch the region's alarms yourself. Then repair firstline's access to its DynamoDB table; the reason below says what failed."
	case r.situation == incident.SituationNotRebooted:
		r.guard = plain(r.dec.Guard, 30)
		r.next[0].text = wordsOfGuard(r.dec.Guard).next
	}
	if m.Kind == KindResolve {
		r.resolve(m.Alert)
		return
	}
	r.commands(m)
	if inc.Dry {
		r.label = dryLabel
	}
	if _, failed := inc.Caught["page"]; failed {
		if m.Kind == KindSlack && r.dec.Next == incident.NextPage && !inc.Told {
			r.label += "Nobody was paged: "
			r.next = slices.Insert(r.next, 0, line{text: "Tell whoever is on call."})
		}
		r.next = append(r.next, line{text: "Repair the pager that failed", command: "firstline notify test"})
	}
}

// resolve makes the message one that closes an alert.
func (r *report) resolve(a incident.AlertRef) {
	r.icon, r.reason, r.next = "✅", "", nil
	r.label, r.what = "Resolved: ", cmp.Or(plain(a.Ended, limitReason), "no instance is left in this alert")
	if r.shared {
		r.who, r.what = []string{keyWords(a.Key) + " in " + r.region}, "no instance is left in this alert"
	}
	if a.ReplacedBy != "" {
		r.label, r.what = "Replaced: ", "the alert "+plain(a.ReplacedBy, limitAlias)+" takes the place of this one"
	}
	for n := range r.who {
		r.who[n] += ":"
	}
}

// commands adds the commands that a page calls for.
func (r *report) commands(m Message) {
	flags := r.flags()
	switch {
	case r.situation == incident.SituationPaused && r.dec.PauseScope == "region":
		r.next = append(r.next, line{"When the work is done", "firstline resume --region " + r.region})
	case r.situation == incident.SituationPaused && flags != "":
		r.next = append(r.next, line{"When the work is done", "firstline resume" + flags})
	case r.dec.Next != incident.NextPage || flags == "" || r.situation == incident.SituationHealthyAgain || m.Kind == KindTest:
		return
	default:
		r.next = append(r.next, line{"Keep firstline away while you work", "firstline pause" + flags + " --until 1h"})
	}
	if r.situation == incident.SituationHeldBack {
		r.next = append(r.next, line{"Let firstline reboot these instances again", "firstline resume --region " + r.region})
	}
}

// flags name the region and the instance to a command; "" unless both are fit for
// a shell.
func (r *report) flags() string {
	if !incident.ValidRegion(r.region) || !incident.ValidInstanceID(r.instance) {
		return ""
	}
	return " --region " + r.region + " --instance " + r.instance
}

// subjects are the forms of what the first line is about, the longest first.
func (r *report) subjects() []string {
	var forms []string
	switch {
	case r.situation == incident.SituationStore && r.instance == "":
		return []string{"firstline in " + r.region}
	case r.instance == "" && r.alarmName != "":
		forms = []string{"Alarm " + truncate(r.alarmName, limitName)}
	case r.instance == "":
		forms = []string{"An event"}
	default:
		for _, most := range []int{limitTagName, limitTagName / 2} {
			if r.name != "" {
				forms = append(forms, fmt.Sprintf("%s (%s)", r.instance, truncate(r.name, most)))
			}
		}
		forms = append(forms, r.instance)
	}
	bare := forms[len(forms)-1]
	if r.region != "" {
		for n := range forms {
			forms[n] += " in " + truncate(r.region, 24)
		}
	}
	return append(forms, bare)
}

// headline is the first line in at most limit runes, in the form of a channel, in
// which it may become longer: cut brings a text into that form. The instance's name
// goes before its region does, and the reason is cut.
func (r *report) headline(limit int, cut func(s string, limit int) string) string {
	length := func(s string) int { return runes(cut(s, 10*runes(s))) }
	for _, who := range r.who {
		s := r.label + who + " " + r.what
		switch n := length(s); {
		case n > limit:
		case r.reason == "":
			return cut(s, limit)
		case n+2+min(length(r.reason), minReason) <= limit:
			return cut(s+": "+r.reason, limit)
		}
	}
	return cut(r.label+r.who[len(r.who)-1]+" "+r.what, limit)
}

// explain sets why there is a message.
func (r *report) explain(m Message, inc *incident.Incident) {
	add := func(label, value string) {
		if value != "" {
			r.why = append(r.why, fact{label, value})
		}
	}
	if m.Kind == KindResolve && r.shared {
		add("Breaker opened because", plain(m.Alert.Why, limitReason))
		add("Ended because", plain(m.Alert.Ended, limitReason))
		return
	}
	why := cmp.Or(r.reason, plain(r.dec.Reason, limitReason))
	if r.situation == incident.SituationStore {
		why = cmp.Or(reasonOf(inc, "decide"), why)
	}
	add("Why", why)
	add("Breaker opened because", plain(m.Alert.Why, limitReason))
	add("Since", r.since(m))
	if len(m.Alert.Members) > 1 {
		add("Alert about", keyWords(m.Alert.Key))
		add("Its instances", members(m.Alert.Members))
	}
}

// show sets the evidence.
func (r *report) show(m Message, inc *incident.Incident, alarm *incident.Alarm, seen eventView) {
	add := func(label, value string) {
		if value != "" {
			r.facts = append(r.facts, fact{label, value})
		}
	}
	dec := r.dec
	switch {
	case r.situation == incident.SituationTest:
		add("Deployment", r.deployment)
		add("Sent at", clock(incident.At(m.Now)))
		return
	case m.Kind == KindResolve && r.shared:
		add("Account", r.account)
		return
	}
	r.looked(inc)
	add("Instances named", seen.instances)
	add("Event", seen.problem)
	add("Alarm", r.alarm(alarm))
	if dec.PausedUntil > 0 {
		by := plain(dec.PausedBy, 200)
		if by != "" {
			by = ", by " + by
		}
		add("Paused", fmt.Sprintf("the %s, until %s%s", cmp.Or(plain(dec.PauseScope, 20), "instance"), clock(dec.PausedUntil), by))
	}
	for _, why := range dec.Unasked {
		add("Could not be asked", plain(why, limitReason))
	}
	for _, step := range slices.Sorted(maps.Keys(inc.Caught)) {
		shown := step == "open" && r.situation == incident.SituationNoIncident || step == "decide" && r.situation == incident.SituationStore
		if !shown {
			add("Step "+plain(step, 30)+" failed", reasonOf(inc, step))
		}
	}
	if inc.Paged != nil && m.Kind == KindSlack && dec.Next == incident.NextPage {
		add("Paged", plain(inc.Paged.Pager, 30)+" at "+clock(inc.Paged.At))
	}
	if executionName().MatchString(r.executionName) && inc.InstanceID != "" {
		add("Record", "firstline incident "+r.executionName)
	}
	add("Account", r.account)
}

// looked sets what the checks saw, and the reboots.
func (r *report) looked(inc *incident.Incident) {
	for _, f := range r.dec.Findings {
		// A check that is off says nothing. One that was skipped for another reason
		// may be missed.
		if f.Outcome != incident.Skipped || inc.Settings == nil || inc.Settings.Enabled(f.Check) {
			r.checks = append(r.checks, findingLine(f))
		}
	}
	for n, reboot := range slices.Backward(r.dec.Reboots) {
		if len(r.reboots) == maxReboots {
			r.reboots = append(r.reboots, fmt.Sprintf("and %d more within 7 days", n+1))
			break
		}
		r.reboots = append(r.reboots, rebootLine(reboot))
	}
}

// since is when the present state began.
func (r *report) since(m Message) string {
	if r.dec.Since == 0 {
		return ""
	}
	state := "not healthy"
	if r.dec.Verdict == incident.VerdictHealthy {
		state = "healthy"
	}
	if m.Now.IsZero() {
		return clock(r.dec.Since) + ", " + state
	}
	return fmt.Sprintf("%s, %s for %s", clock(r.dec.Since), state, ago(incident.At(m.Now).Sub(r.dec.Since)))
}

// alarm is the alarm with its value, and its state now.
func (r *report) alarm(a *incident.Alarm) string {
	if r.alarmName == "" {
		if r.dec.AlarmState == "" {
			return ""
		}
		return "now " + plain(r.dec.AlarmState, 20)
	}
	s := r.alarmName
	if metric := plain(a.Metric, 100); metric != "" {
		s += ", " + metric
		if a.Value != nil {
			s += " " + strconv.FormatFloat(*a.Value, 'g', 6, 64)
			if a.Metric == "CPUUtilization" {
				s += " %"
			}
		}
	}
	if a.At > 0 {
		s += ", fired at " + clock(a.At)
	}
	if r.dec.AlarmState != "" {
		s += ", now " + plain(r.dec.AlarmState, 20)
	}
	if reason := plain(a.Reason, limitReason); reason != "" && a.Value == nil {
		s += ": " + reason
	}
	return s
}

// members names an alert's instances, but not too many.
func members(ids []string) string {
	more := len(ids) - maxMembers
	named := make([]string, 0, maxMembers)
	for _, id := range ids[:min(len(ids), maxMembers)] {
		named = append(named, plain(id, 40))
	}
	s := strings.Join(named, ", ")
	if more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// reasonOf is what Step Functions caught of a step, in words: the error's name and
// cause; "" for nothing. A function's error has a JSON object as its cause; others
// have plain text or none.
func reasonOf(inc *incident.Incident, step string) string {
	c, ok := inc.Caught[step]
	if !ok {
		return ""
	}
	name, cause := plain(c.Error, 80), strings.TrimSpace(c.Cause)
	var function struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	if strings.HasPrefix(cause, "{") && json.Unmarshal([]byte(cause), &function) == nil && function.Message+function.Type != "" {
		cause, name = function.Message, cmp.Or(name, plain(function.Type, 80))
	}
	if cause = plain(cause, limitReason); cause == "" {
		return cmp.Or(name, "no reason given")
	}
	if name == "" {
		return cause
	}
	return name + ": " + cause
}

// executionName is a name that Step Functions gives an execution, or takes for it.
var executionName = lazy.Regexp(`^[0-9A-Za-z_][0-9A-Za-z._-]{0,79}$`)

// tags are an alert's.
func (r *report) tags() []string {
	dry := ""
	if r.label == dryLabel {
		dry = "dry-run"
	}
	return []string{"firstline", r.deployment, r.situation, r.severity.String(), r.guard, dry, r.region, r.account, r.instance}
}

// details are for machines. What matters comes first: what does not fit is left
// out from the end.
func (r *report) details() []fact {
	all := []fact{
		{"instanceId", r.instance},
		{"name", r.name},
		{"region", r.region},
		{"accountId", r.account},
		{"deployment", r.deployment},
		{"situation", r.situation},
		{"severity", r.severity.String()},
		{"verdict", string(r.dec.Verdict)},
		{"guard", r.guard},
		{"alarm", r.alarmName},
		{"alarmArn", r.alarmARN},
		{"alarmState", plain(r.dec.AlarmState, 20)},
		{"execution", r.execution},
	}
	for _, l := range r.links {
		all = append(all, fact{strings.ToLower(l.name) + "Url", l.url})
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.value == "" })
}

// lines are the report as plain text, less the first line: what to do, then the
// evidence.
func (r *report) lines() []string {
	var all []string
	for _, l := range r.next {
		all = append(all, l.plain())
	}
	paragraph := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		all = append(all, "")
		if title != "" {
			all = append(all, title)
		}
		all = append(all, lines...)
	}
	as := func(facts []fact) (lines []string) {
		for _, f := range facts {
			lines = append(lines, f.label+": "+f.value)
		}
		return lines
	}
	var pages []string
	for _, l := range r.links {
		pages = append(pages, l.name+": "+l.url)
	}
	paragraph("", as(r.why))
	paragraph("Checks:", r.checks)
	paragraph("Reboots:", r.reboots)
	paragraph("", as(r.facts))
	paragraph("", pages)
	return all
}

func (l line) plain() string {
	if l.command == "" {
		return l.text
	}
	return l.text + ": " + l.command
}

// body is the report without its first line, in at most limit runes.
func (r *report) body(limit int) string { return strings.TrimSpace(join(r.lines(), limit)) }

// text is the report with its first line in at most head runes.
func (r *report) text(head, limit int) string {
	return strings.TrimSpace(join(append([]string{r.headline(head, truncate)}, r.lines()...), limit))
}
