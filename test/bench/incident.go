package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"firstline/internal/incident"
	"firstline/test/asl"
)

// The default of the function's memory, in GB, and of reconcile's schedule
// (terraform/modules/settings/schema.tf).
const (
	functionGB            = 0.25
	reconcileEveryMinutes = 5
)

// incidents counts the transitions of the paths through the definition, and reckons
// what they cost, and what a region costs at rest.
type incidents struct{}

func (*incidents) name() string { return "incident" }

func (*incidents) flags(*flag.FlagSet) {}

// path is one through the definition: what open and decide say, in the order in
// which they are asked.
type path struct {
	key, name string
	open      string
	// decide has a word for each look.
	decide []string
	// down says that the URL check fails in each look before the last.
	down bool
	// fails is the step that ends with an error.
	fails string
	// end is the state in which the path ends.
	end string
	// original is how many transitions the TypeScript original has on this path, 0
	// where it has no such path.
	original int
}

// looksIn is how many looks fit a boot window if a look takes no time.
func looksIn(b incident.Boot) int { return 1 + (b.WindowSeconds-b.FirstLookSeconds)/b.IntervalSeconds }

// words are some words of decide after the looks that confirm, of which there is one
// a minute.
func words(then ...string) []string {
	var all []string
	for range incident.DefaultSettings().ConfirmSeconds / 60 {
		all = append(all, incident.NextWait)
	}
	return append(all, then...)
}

// paths are those with the default settings. The original's state machine, as its
// repository has it (rafalkrol-xyz/aws-blog-cpu-check-customer-story,
// lib/state-machine-stack.ts): each check is a Task and a Choice; then come the
// reboot, one wait and the checks once more; a message is the last state, and all
// went well a state of its own. It confirms nothing, takes no lease and refuses
// nothing.
func paths() []path {
	notCured := words(incident.NextReboot)
	for range looksIn(incident.DefaultSettings().Boot) - 1 {
		notCured = append(notCured, incident.NextWait)
	}
	return []path{
		{key: "all-good", name: "all is well", decide: []string{incident.NextDone}, end: "All good", original: 7},
		{key: "recovered", name: "URL down, confirmed, rebooted, healthy in two looks: Slack", decide: words(incident.NextReboot, incident.NextWait, incident.NextSlack), down: true, end: "Told", original: 11},
		{key: "not-cured", name: "URL down, confirmed, rebooted, down for the whole boot window: page", decide: append(notCured, incident.NextPage), down: true, end: "Told", original: 7},
		{key: "refused", name: "URL down, confirmed, a guard refuses the reboot: page", decide: words(incident.NextPage), down: true, end: "Told"},
		{key: "handed-over", name: "a person has it", decide: []string{incident.NextHandedOver}, end: "Handed over"},
		{key: "resolved", name: "it is well again: the alert is resolved", decide: []string{incident.NextResolve}, end: "Told"},
		{key: "paused", name: "URL down while paused: Slack", decide: []string{incident.NextSlack}, down: true, end: "Told"},
		{key: "handled", name: "another execution has it", open: incident.NextAlreadyHandled, end: "Already handled"},
		{key: "no-incident", name: "the event is no incident: page", fails: "open", end: "Told"},
	}
}

// walked is what a path takes.
type walked struct {
	path
	transitions int
	// invoked are the steps, in order.
	invoked []string
}

// walk runs a path through the definition, whose waits take no time.
func walk(ctx context.Context, m *asl.Machine, p path) (walked, error) {
	w := walked{path: p}
	looks := 0
	invoke := func(_ context.Context, c asl.Call) (json.RawMessage, error) {
		var in struct {
			Step     string         `json:"step"`
			Incident map[string]any `json:"incident"`
		}
		if err := json.Unmarshal(c.Payload, &in); err != nil {
			return nil, err
		}
		w.invoked = append(w.invoked, in.Step)
		if in.Step == p.fails {
			return nil, asl.FunctionError("InvalidInput", "the event is no incident")
		}
		inc := in.Incident
		switch in.Step {
		case "open":
			inc = map[string]any{"next": cmp.Or(p.open, incident.NextLook)}
		case "decide":
			if looks >= len(p.decide) {
				looks++
				return nil, asl.FunctionError("InvalidInput", "it looks more often than the path has words")
			}
			inc["next"], inc["wait_seconds"] = p.decide[looks], 1
			looks++
		case "page", "slack", "resolve":
			inc["told"] = true
		}
		return json.Marshal(inc)
	}
	out := m.Run(ctx, asl.Execution{ID: "arn", Name: p.key, Input: json.RawMessage("{}"), Invoke: invoke})
	if out.Status != asl.Succeeded || out.End() != p.end || looks != len(p.decide) || out.Retries > 0 {
		return w, fmt.Errorf("the path %q: %s in %q after %d looks and %d retries: %s", p.name, out.Status, out.End(), looks, out.Retries, out.Cause)
	}
	w.transitions = out.Transitions()
	return w, nil
}

// withoutWaits is the definition, whose wait takes no time.
func withoutWaits(project string) (*asl.Machine, error) {
	text, err := asl.Render(project, asl.Vars{FunctionARN: "arn:aws:lambda:" + functionRegion + ":" + functionAccount + ":function:firstline-responder:1"})
	if err != nil {
		return nil, err
	}
	var d map[string]any
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	states, _ := d["States"].(map[string]any)
	for _, s := range states {
		if state, _ := s.(map[string]any); state["Type"] == "Wait" {
			delete(state, "SecondsPath")
			state["Seconds"] = 0
		}
	}
	if text, err = json.Marshal(d); err != nil {
		return nil, err
	}
	return asl.Load(text)
}

// costs are GB-seconds of the function's steps.
type costs map[string]float64

// costsOf are those of measured steps. A URL check that fails waits between its
// attempts.
func costsOf(steps []stepFigures) costs {
	c := costs{}
	for _, s := range steps {
		c[s.step] = s.warm / 1000 * functionGB
	}
	url := incident.DefaultURLSettings()
	c["url, down"] = c["url"]*float64(url.Attempts) + float64(url.Attempts-1)*url.IntervalSeconds*functionGB
	return c
}

// of is what a path takes.
func (c costs) of(w walked) (gbs, dollars float64) {
	looks := 0
	for _, step := range w.invoked {
		switch step {
		case "url":
			if looks++; w.down && looks < max(2, len(w.decide)) {
				step = "url, down"
			}
		case "decide":
			if w.down {
				step = "decide, failed"
			}
		}
		gbs += c[step]
	}
	return gbs, float64(w.transitions)*perTransition + float64(len(w.invoked))*perInvocation + gbs*perGBSecond
}

func (b *incidents) run(ctx context.Context, f *frame) (_ section, err error) {
	m, err := withoutWaits(f.project)
	if err != nil {
		return section{}, err
	}
	s := section{Name: b.name(), Title: "Incidents: transitions and cost"}
	var all []walked
	for _, p := range paths() {
		w, err := walk(ctx, m, p)
		if err != nil {
			return section{}, err
		}
		all = append(all, w)
		s.Ratios = append(s.Ratios, compared{Key: "incident/transitions/" + p.key, Value: float64(w.transitions)})
	}
	if f.quick {
		return s, nil
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return section{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	steps, err := measureSteps(ctx, f, dir, 1, 20)
	if err != nil {
		return section{}, err
	}
	f.say("planning a region for its alarms")
	planned, err := (&growth{}).try(ctx, f, size{1, 1}, false)
	if err != nil {
		return section{}, err
	}
	alarms := planned.types["aws_cloudwatch_metric_alarm"] - 2 // cpu and status of the instance
	s.Notes = []string{
		"Transitions are those of the interpreter that runs the definition, with the default settings: a failure is confirmed for two minutes, in three looks. A further look has 6 transitions.",
		fmt.Sprintf("Prices are AWS's for %s as looked up on %s, without the free tier (%s). Durations are this machine's in a warm process, with arm64's price and the default memory, and with the pauses between the attempts of a failing URL check.", pricesRegion, pricesDate, priceSources),
	}
	s.Tables = []table{pathTable(all, costsOf(steps)), restTable(steps, alarms)}
	return s, nil
}

func pathTable(all []walked, c costs) table {
	t := table{
		Title: "What an incident takes and costs, with the transitions of the TypeScript original, which confirms nothing and knows no lease, guard, pause or alert, where it has such a path:",
		Head:  []string{"path", "transitions", "original", "invocations", "GB-s", "US$"},
	}
	for _, w := range all {
		original := "-"
		if w.original > 0 {
			original = strconv.Itoa(w.original)
		}
		gbs, dollars := c.of(w)
		t.Rows = append(t.Rows, []string{w.name, strconv.Itoa(w.transitions), original, strconv.Itoa(len(w.invoked)), fmt.Sprintf("%.3f", gbs), fmt.Sprintf("%.5f", dollars)})
	}
	return t
}

// restTable is what each region costs per month at rest.
func restTable(steps []stepFigures, alarms int) table {
	var r stepFigures
	for _, s := range steps {
		if s.step == "reconcile" {
			r = s
		}
	}
	const runs = hoursAMonth * 60 / reconcileEveryMinutes
	gbs := r.warm / 1000 * functionGB
	t := table{Title: "What each region costs per month at rest:", Head: []string{"what", "amount", "US$ per month"}}
	sum := 0.0
	row := func(what, amount string, dollars float64) {
		t.Rows = append(t.Rows, []string{what, amount, fmt.Sprintf("%.2f", dollars)})
		if !strings.HasPrefix(what, "and ") {
			sum += dollars
		}
	}
	row("alarms on firstline itself", strconv.Itoa(alarms), float64(alarms)*perAlarm)
	row("metrics that always have data", strconv.Itoa(len(r.metrics)), float64(len(r.metrics))*perMetric)
	row(fmt.Sprintf("reconcile every %d min: the function", reconcileEveryMinutes), fmt.Sprintf("%d of %.4f GB-s", runs, gbs), runs*(perInvocation+gbs*perGBSecond))
	row("reconcile: questions to CloudWatch", strconv.Itoa(runs*r.calls["cloudwatch"]), float64(runs*r.calls["cloudwatch"])*perAPICall)
	row("reconcile: reads of the table", strconv.Itoa(runs*r.calls["dynamodb"]), float64(runs*r.calls["dynamodb"])*2*perRead)
	row("reconcile: traces, if all are recorded", strconv.Itoa(runs), runs*perTrace)
	row("reconcile: its log", fmt.Sprintf("%d of %.1f KB", runs, float64(r.logBytes)/1e3), runs*float64(r.logBytes)/1e9*perLogGB)
	row("table: 10 MB of records, with recovery", "10 MB", 0.01*(perTableGB+perRecoveryGB))
	row("rules, waits, settings, an empty queue", "-", 0)
	row("and a region at rest in all", "", sum)
	row("and the KMS key of the topic, with subscribers", "1", perKey)
	row("and the dashboard, from the account's fourth on", "1", perDashboard)
	row("and each instance: its alarms cpu and status", "2", 2*perAlarm)
	return t
}
