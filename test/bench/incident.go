package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/definition"
	"firstline/internal/localaws"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// mostMoreTransitions is how many state transitions a path may have beyond the
// TypeScript original's.
const mostMoreTransitions = 3

// overheadMargin: both parts of the ratio are times of tens of milliseconds on a
// machine that may be busy.
const overheadMargin = 0.5

// Defaults of the settings (terraform/modules/settings/schema.tf): those from which
// follows how often an incident, and the watch after a page, look.
const (
	firstLookSeconds, lookSeconds, windowSeconds = 60, 20, 600
	watchEveryMinutes, watchForMinutes           = 5, 120
	sweepEveryMinutes                            = 5
)

// mostLooks is how often it is looked until the boot window closes, if looking
// takes no time.
const mostLooks = 1 + (windowSeconds-firstLookSeconds)/lookSeconds

// benchRegion is where everything is played. Which one does not matter.
const benchRegion = "eu-west-1"

// incidents measures what lies between an alarm and a reboot, how many transitions
// the paths have, and what they cost.
type incidents struct {
	repeat, plays, sweeps int
}

func (*incidents) name() string { return "incident" }

func (b *incidents) flags(f *flag.FlagSet) {
	f.IntVar(&b.repeat, "incident-repeat", 20, "how many incidents are timed from the alarm to the reboot, and as many without a state machine")
	f.IntVar(&b.plays, "incident-plays", 3, "how often each path is played")
	f.IntVar(&b.sweeps, "incident-sweeps", 5, "how many sweeps are measured")
}

// incidentPath is a path through a definition.
type incidentPath struct {
	// key names it in the figures.
	key, name string
	// file is the definition's.
	file   string
	script script
	// original is how many transitions the TypeScript original has on the same path,
	// 0 where it has no such path.
	original int
	// more says what each further look adds to what is shown.
	more bool
}

// The original's state machine as its repository has it
// (rafalkrol-xyz/aws-blog-cpu-check-customer-story, lib/state-machine-stack.ts):
// each check is a Task and a Choice; then come the reboot, one wait and the checks
// once more; a message is the last state, and all went well a state of its own. Its
// all-good path has the 7 transitions that it is known for. It takes no lease,
// refuses nothing, knows no pause, catches no error and closes no alert, so there is
// nothing to compare the other paths with.
const (
	originalCheck     = 2
	originalGood      = 3*originalCheck + 1
	originalReboot    = 2 // and the wait
	originalRecovered = originalCheck + originalReboot + 3*originalCheck + 1
	originalDown      = originalCheck + originalReboot + originalCheck + 1
)

func incidentPaths() []incidentPath {
	return []incidentPath{
		{key: "all-good", name: "all is well", file: definition.File, original: originalGood},
		{key: "recovered", name: "URL down, the reboot cures it", file: definition.File, script: script{down: true, cured: true}, original: originalRecovered},
		{key: "down", name: "URL down, and still after the reboot (one look): page", file: definition.File, script: script{down: true, looks: 1}, original: originalDown, more: true},
		{key: "refused", name: "URL down, a guard refuses the reboot: page", file: definition.File, script: script{down: true, refused: true}},
		{key: "unclear", name: "a check ends with an error: page", file: definition.File, script: script{unclear: true}},
		{key: "paused", name: "URL down while paused: Slack", file: definition.File, script: script{down: true, paused: true}},
		{key: "handled", name: "another incident has it", file: definition.File, script: script{handled: true}},
		{key: "nothing-open", name: "alarm returns to OK, nothing is open", file: definition.AllClearFile, script: script{nothing: true}},
		{key: "all-clear", name: "alarm returns to OK: all-clear", file: definition.AllClearFile},
	}
}

// pathFigures are a path's. What it takes is the median of all plays of it.
type pathFigures struct {
	Key         string `json:"key"`
	Name        string `json:"name"`
	Transitions int    `json:"transitions"`
	Original    int    `json:"originalTransitions,omitempty"`
	// PerLook is what a further look adds, 0 for nothing.
	PerLook int `json:"transitionsPerFurtherLook,omitempty"`
	// Played is how many executed histories were as the definition has it, and
	// Retries how many tries they had beyond it.
	Played      int     `json:"played"`
	Retries     int     `json:"retries"`
	Invocations int     `json:"invocations"`
	GBSeconds   float64 `json:"gbSeconds"`
	Dollars     float64 `json:"dollars"`
	// Executed is how many transitions the played ones had, with their further looks.
	Executed int `json:"executedTransitions,omitempty"`
}

// restFigure is what a region costs a month while nothing happens.
type restFigure struct {
	What    string  `json:"what"`
	Amount  string  `json:"amount"`
	Dollars float64 `json:"dollarsAMonth"`
	// Optional is what not every region has.
	Optional bool `json:"optional,omitempty"`
}

// overheadFigures are milliseconds from the alarm's event to the reboot, less the
// checks' own.
type overheadFigures struct {
	Incidents int     `json:"incidents"`
	Machine   float64 `json:"machineMs"`
	// Function is the part of it in which the function was at work.
	Function float64 `json:"functionMs"`
	// Direct are the same steps, invoked one after another without a state machine.
	Direct float64 `json:"directMs"`
	Ratio  float64 `json:"ratio"`
	// Slowest is the slowest of the machine's.
	Slowest float64 `json:"slowestMs"`
}

// incidentFigures are the figures as they are written.
type incidentFigures struct {
	Overhead     overheadFigures `json:"overhead"`
	Paths        []pathFigures   `json:"paths"`
	Rest         []restFigure    `json:"atRest"`
	PricesDate   string          `json:"pricesDate"`
	PricesRegion string          `json:"pricesRegion"`
	// Steps are the median GB-seconds of the function's steps.
	Steps map[string]float64 `json:"stepGBSeconds"`
}

// stagedIncidents is where it is measured.
type stagedIncidents struct {
	*scene
	f     *frame
	paths map[string][]string // states of each path, by key
	defs  map[string]*definition.Definition
	// played are the executions of each path, with what they took.
	played map[string][]playedPath
}

type playedPath struct {
	ended
	calls []invocation
}

func (b *incidents) run(ctx context.Context, f *frame) (section, error) {
	if b.repeat < 1 || b.plays < 1 || b.sweeps < 1 {
		return section{}, errors.New("-incident-repeat, -incident-plays and -incident-sweeps are 1 or more")
	}
	repeat, plays, sweeps := b.repeat, b.plays, b.sweeps
	if f.quick {
		// The transitions are counted; only the overhead has to be measured.
		repeat, plays, sweeps = min(repeat, 7), 0, 1
	}
	st := &stagedIncidents{f: f, paths: map[string][]string{}, defs: map[string]*definition.Definition{}, played: map[string][]playedPath{}}
	for _, p := range incidentPaths() {
		if st.defs[p.file] == nil {
			d, err := definition.Read(f.project, p.file)
			if err != nil {
				return section{}, err
			}
			st.defs[p.file] = d
		}
		states, err := walk(st.defs[p.file], p.script)
		if err != nil {
			return section{}, fmt.Errorf("the path %q: %w", p.name, err)
		}
		st.paths[p.key] = states
	}

	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	// As long as they are by default, since waits are billed.
	patient := map[string]any{
		"url": map[string]any{"timeout_seconds": 3, "attempts": 3, "interval_seconds": 2},
		"ssh": map[string]any{"timeout_seconds": 5, "attempts": 3, "interval_seconds": 2},
	}
	never := map[string]any{"url": patient["url"], "ssh": patient["ssh"], "reboot": map[string]any{"per_day": 0}}
	s, instances, err := newScene(ctx, f, []cast{
		{benchRegion, nil, 2 * repeat}, {benchRegion, patient, 6 * plays}, {benchRegion, never, plays},
	}, func(map[string]any) {})
	if err != nil {
		return section{}, err
	}
	defer func() { _ = s.Close() }()
	st.scene = s

	overhead, err := st.overhead(ctx, instances[0])
	if err != nil {
		return section{}, fmt.Errorf("from an alarm to the reboot: %w", err)
	}
	for n := range plays {
		if err := st.play(ctx, instances[1][6*n:6*n+6], instances[2][n]); err != nil {
			return section{}, err
		}
		f.say("each path played %s", times(n+1))
	}
	all := incidentFigures{Overhead: overhead, PricesDate: pricesDate, PricesRegion: pricesRegion, Steps: st.stepMedians()}
	all.Paths = append(st.pathFigures(), st.watched(all.Steps)...)
	if all.Rest, err = st.rest(ctx, sweeps); err != nil {
		return section{}, fmt.Errorf("at rest: %w", err)
	}
	return section{
		Name: b.name(), Title: "Incidents: overhead, transitions, cost", Figures: all,
		Notes: all.notes(), Tables: all.tables(), Targets: all.targets(), Ratios: all.ratios(b.name()),
	}, nil
}

// times says how often.
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// overhead times incidents from the alarm's event to the reboot, in turn with the
// same steps without a state machine.
func (st *stagedIncidents) overhead(ctx context.Context, instances []*stage.Instance) (overheadFigures, error) {
	var machine, function, direct []float64
	for n, i := range instances {
		i.OnReboot(stage.CuredBy(0))
		if err := i.SetHTTP(stage.Refuse); err != nil {
			return overheadFigures{}, err
		}
		if n%2 == 1 {
			took, err := st.direct(ctx, i)
			if err != nil {
				return overheadFigures{}, fmt.Errorf("without a state machine: %w", err)
			}
			direct = append(direct, ms(took))
			continue
		}
		began := time.Now()
		arn, err := started(st.AWS.PutEvent(ctx, i.Region, eventOf(incident.SourceAlarm, i)))
		if err != nil {
			return overheadFigures{}, err
		}
		played, err := st.ended(ctx, "recovered", i.Region, arn)
		if err != nil {
			return overheadFigures{}, err
		}
		at, err := st.rebooted(i)
		if err != nil {
			return overheadFigures{}, err
		}
		machine = append(machine, ms(at.Sub(began)-played.checked))
		function = append(function, ms(atWork(played.calls, at)-played.checked))
	}
	// These play with other settings than the paths that are paid for.
	delete(st.played, "recovered")
	o := overheadFigures{
		Incidents: len(machine), Machine: middleOf(machine), Function: middleOf(function), Direct: middleOf(direct), Slowest: round(slices.Max(machine)),
	}
	o.Ratio = round(o.Machine / o.Direct)
	st.f.say("alarm to reboot, less the checks: %.0f ms; without a state machine %.0f ms", o.Machine, o.Direct)
	return o, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// middleOf is the median, of an even number the mean of the two in the middle.
func middleOf(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return round((sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2)
}

// atWork is how long invocations took until a time.
func atWork(calls []invocation, until time.Time) time.Duration {
	var all time.Duration
	for _, c := range calls {
		if left := until.Sub(c.at); left > 0 {
			all += min(c.took, left)
		}
	}
	return all
}

// direct invokes the steps from the alarm to the reboot one after another, and
// returns how long that took, less the check.
func (st *stagedIncidents) direct(ctx context.Context, i *stage.Instance) (time.Duration, error) {
	began := time.Now()
	raw, err := st.invoke(ctx, i.Region, openPayload(incident.SourceAlarm, "direct-"+i.ID, i))
	for _, step := range []string{"url", "reboot"} {
		if err == nil {
			raw, err = st.invoke(ctx, i.Region, map[string]any{"step": step, "incident": raw})
		}
	}
	if err != nil {
		return 0, err
	}
	var inc incident.Incident
	if err := json.Unmarshal(raw, &inc); err != nil {
		return 0, err
	}
	at, err := st.rebooted(i)
	if err != nil {
		return 0, fmt.Errorf("%w (a guard's answer: %+v)", err, inc.Refusal)
	}
	// Nobody else's reboot is to find its place taken.
	_, err = st.invoke(ctx, i.Region, map[string]any{"step": "close", "incident": raw})
	return at.Sub(began) - checked(inc), err
}

// ended waits for an execution of a path, and compares it with what the definition
// says.
func (st *stagedIncidents) ended(ctx context.Context, key, region, arn string) (playedPath, error) {
	e, err := st.end(ctx, region, arn)
	if err != nil {
		return playedPath{}, err
	}
	paths := incidentPaths()
	p := paths[slices.IndexFunc(paths, func(p incidentPath) bool { return p.key == key })]
	want := st.paths[key]
	if p.more {
		p.script.looks = looksOf(e.states)
		if want, err = walk(st.defs[p.file], p.script); err != nil {
			return playedPath{}, err
		}
	}
	if !slices.Equal(e.states, want) {
		return playedPath{}, fmt.Errorf("%s (%q): the definition says %s; the history %s", e.name, p.name, strings.Join(want, " → "), strings.Join(e.states, " → "))
	}
	all, err := st.calls(region, e.name)
	if err != nil {
		return playedPath{}, err
	}
	// The watch after a page has the same name.
	own := steps(st.defs[p.file], want)
	all = slices.DeleteFunc(all, func(c invocation) bool { return !slices.Contains(own, c.step) })
	if len(all) < len(own) {
		return playedPath{}, fmt.Errorf("%s (%q): %d invocations are known, want %d", e.name, p.name, len(all), len(own))
	}
	played := playedPath{e, all}
	st.played[key] = append(st.played[key], played)
	return played, nil
}

// play plays each path once. The last instance is never rebooted.
func (st *stagedIncidents) play(ctx context.Context, i []*stage.Instance, never *stage.Instance) error {
	ring := func(i *stage.Instance) (string, error) {
		return started(st.AWS.Ring(ctx, i.Region, alarmOf(i), "Threshold Crossed"))
	}
	recovered := func(i *stage.Instance) (string, error) {
		return started(st.AWS.Recover(ctx, i.Region, alarmOf(i), "Threshold not crossed"))
	}
	well, cured, dead, unclear, paused, twice := i[0], i[1], i[2], i[3], i[4], i[5]
	for _, down := range []*stage.Instance{cured, dead, paused, twice, never} {
		if err := down.SetHTTP(stage.Refuse); err != nil {
			return err
		}
	}
	cured.OnReboot(stage.CuredBy(0))
	twice.OnReboot(stage.CuredBy(0))
	_, err := ec2.NewFromConfig(st.AWS.Config(paused.Region)).CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: []string{paused.ID},
		Tags:      []ec2types.Tag{{Key: aws.String(incident.PauseTag), Value: aws.String(time.Now().Add(time.Hour).UTC().Format(time.RFC3339))}},
	})
	if err != nil {
		return err
	}
	denied := st.AWS.AddFault(localaws.Fault{
		Service: "ec2", Action: "DescribeInstances", Contains: unclear.ID, During: []string{`"step":"url"`},
		Status: 403, Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation.",
	})
	defer denied.Remove()
	for _, p := range []struct {
		key   string
		of    *stage.Instance
		start func(*stage.Instance) (string, error)
	}{
		{"all-good", well, ring},
		{"nothing-open", well, recovered},
		{"recovered", cured, ring},
		{"down", dead, ring},
		{"unclear", unclear, ring},
		{"paused", paused, ring},
		{"refused", never, ring},
		{"all-clear", never, func(i *stage.Instance) (string, error) {
			if err := i.SetHTTP(stage.Healthy); err != nil {
				return "", err
			}
			return recovered(i)
		}},
		{"handled", twice, func(i *stage.Instance) (string, error) {
			first, err := ring(i)
			if err != nil {
				return "", err
			}
			// Not before the first has its lease.
			if err := st.leased(ctx, i); err != nil {
				return "", err
			}
			second, err := started(st.AWS.PutEvent(ctx, i.Region, eventOf(incident.SourceAlarm, i)))
			if err != nil {
				return "", err
			}
			_, err = st.end(ctx, i.Region, first)
			return second, err
		}},
	} {
		arn, err := p.start(p.of)
		if err == nil {
			_, err = st.ended(ctx, p.key, p.of.Region, arn)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.key, err)
		}
	}
	return nil
}

// leased waits until an incident of an instance has been opened.
func (st *stagedIncidents) leased(ctx context.Context, i *stage.Instance) error {
	for {
		all, err := st.calls(i.Region, i.ID)
		if err != nil {
			return err
		}
		// The first of all was to learn its baseline.
		opened := 0
		for _, c := range all {
			if c.step == "open" {
				opened++
			}
		}
		if opened > 1 {
			return nil
		}
		if err := waitFor(ctx, lookInterval); err != nil {
			return err
		}
	}
}

// stepMedians are the median GB-seconds of the steps, over all paths that were
// played.
func (st *stagedIncidents) stepMedians() map[string]float64 {
	all := map[string][]float64{}
	for key, played := range st.played {
		for _, p := range played {
			for _, c := range p.calls {
				step := c.step
				// A check that fails waits between its attempts.
				if step == "url" && key != "all-good" && key != "all-clear" {
					step = "url, down"
					if key == "recovered" || key == "unclear" {
						continue
					}
				}
				all[step] = append(all[step], c.gbs)
			}
		}
	}
	medians := map[string]float64{}
	for step, values := range all {
		medians[step] = significant(middle64(values))
	}
	return medians
}

// middle64 is middleOf without rounding: GB-seconds are small.
func middle64(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// significant leaves four digits that say something.
func significant(x float64) float64 {
	if x == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(x)))-3)
	return math.Round(x/unit) * unit
}

// dollars is what transitions, invocations and GB-seconds cost.
func dollars(transitions, invocations int, gbs float64) float64 {
	return significant(float64(transitions)*perTransition + float64(invocations)*perInvocation + gbs*perGBSecond)
}

// pathFigures are those of the paths that were played.
func (st *stagedIncidents) pathFigures() []pathFigures {
	var all []pathFigures
	for _, p := range incidentPaths() {
		of := pathFigures{Key: p.key, Name: p.name, Transitions: len(st.paths[p.key]), Original: p.original}
		of.Invocations = len(steps(st.defs[p.file], st.paths[p.key]))
		if p.more {
			// One more look, by the definition.
			further := p.script
			further.looks++
			if states, err := walk(st.defs[p.file], further); err == nil {
				of.PerLook = len(states) - of.Transitions
			}
		}
		var gbs []float64
		var executed []float64
		for _, played := range st.played[p.key] {
			of.Played++
			of.Retries += played.retries
			executed = append(executed, float64(len(played.states)+played.retries))
			sum, looked := 0.0, 0
			for _, c := range played.calls {
				// What is shown has one look; the others are cut.
				if p.more && c.step == "url" {
					if looked++; looked > 2 {
						continue
					}
				}
				sum += c.gbs
			}
			gbs = append(gbs, sum)
		}
		of.Executed = int(middle64(executed))
		of.GBSeconds = significant(middle64(gbs))
		of.Dollars = dollars(of.Transitions, of.Invocations, of.GBSeconds)
		all = append(all, of)
	}
	return all
}

// watched are figures of what takes too long to be played: counted from the
// definitions, with the measured steps.
func (st *stagedIncidents) watched(medians map[string]float64) []pathFigures {
	var all []pathFigures
	for _, p := range []incidentPath{
		{key: "down-default", name: fmt.Sprintf("the same with the default boot window (at most %d looks)", mostLooks), file: definition.File, script: script{down: true, looks: mostLooks}},
		{
			key: "watch", name: fmt.Sprintf("watch after a page, down for all of its %d min (%d looks)", watchForMinutes, watchForMinutes/watchEveryMinutes),
			file: definition.AllClearFile, script: script{afterPage: true, down: true, looks: watchForMinutes / watchEveryMinutes},
		},
	} {
		d := st.defs[p.file]
		states, err := walk(d, p.script)
		if err != nil {
			continue // the walk of the same definition has worked before
		}
		of := pathFigures{Key: p.key, Name: p.name, Transitions: len(states)}
		for _, step := range steps(d, states) {
			of.Invocations++
			if step == "url" {
				step = "url, down"
			}
			of.GBSeconds += medians[step]
		}
		of.GBSeconds = significant(of.GBSeconds)
		of.Dollars = dollars(of.Transitions, of.Invocations, of.GBSeconds)
		all = append(all, of)
	}
	return all
}

// metricNames finds the metric in a line of the log that is in CloudWatch's
// embedded form (handler/metrics.go).
var metricNames = regexp.MustCompile(`"Metrics":\[\{"Name":"([^"]+)"`)

// rest measures what a region does while nothing happens, and reckons what a month
// of it costs.
func (st *stagedIncidents) rest(ctx context.Context, sweeps int) ([]restFigure, error) {
	alarms, err := cloudwatch.NewFromConfig(st.AWS.Config(benchRegion)).DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String(deployment + "-self-"), MaxRecords: aws.Int32(100)})
	if err != nil {
		return nil, err
	}
	if err := st.Quieten(ctx, benchRegion); err != nil {
		return nil, err
	}
	before := time.Now()
	var gbs, bytes []float64
	metrics := map[string]bool{}
	for range sweeps {
		if _, err := st.AWS.Tick(ctx, benchRegion); err != nil {
			return nil, err
		}
	}
	for _, i := range st.AWS.Invocations(functionOf(benchRegion)) {
		c, err := billed(i)
		if err != nil || c.step != "sweep" {
			continue
		}
		gbs, bytes = append(gbs, c.gbs), append(bytes, float64(c.bytes))
		for _, m := range metricNames.FindAllStringSubmatch(i.Log, -1) {
			metrics[m[1]] = true
		}
	}
	if len(gbs) != sweeps {
		return nil, fmt.Errorf("%d sweeps are known, want %d", len(gbs), sweeps)
	}
	asked, read := 0, 0
	for _, c := range st.AWS.Calls() {
		if c.Time.Before(before) || !strings.Contains(c.Role, "-responder-") {
			continue
		}
		switch c.Service {
		case "cloudwatch":
			asked++
		case "dynamodb":
			read++
		}
	}
	const aMonth = hoursAMonth * 60 / sweepEveryMinutes
	each := func(n int) float64 { return float64(n) / float64(sweeps) }
	median := middle64(gbs)
	kilobytes := middle64(bytes) / 1000
	self := len(alarms.MetricAlarms)
	return []restFigure{
		{What: "alarms on firstline itself", Amount: strconv.Itoa(self), Dollars: float64(self) * perAlarm},
		{What: "metrics that always have data (of each sweep)", Amount: strconv.Itoa(len(metrics)), Dollars: float64(len(metrics)) * perMetric},
		{
			What: fmt.Sprintf("sweeps, one every %d min: the function", sweepEveryMinutes), Amount: fmt.Sprintf("%d of %.4f GB-s", aMonth, median),
			Dollars: aMonth * (perInvocation + median*perGBSecond),
		},
		{What: "sweeps: questions to CloudWatch", Amount: fmt.Sprintf("%.0f", aMonth*each(asked)), Dollars: aMonth * each(asked) * perAPICall},
		{What: "sweeps: traces, if all are recorded", Amount: strconv.Itoa(aMonth), Dollars: aMonth * perTrace},
		{What: "logs: the function's, of sweeps", Amount: fmt.Sprintf("%d of %.1f KB", aMonth, kilobytes), Dollars: aMonth * kilobytes / 1e6 * perLogGB},
		{What: "table: reads of sweeps", Amount: fmt.Sprintf("%.0f", aMonth*each(read)), Dollars: aMonth * each(read) * 2 * perRead},
		{What: "table: 10 MB of records, with recovery", Amount: "10 MB", Dollars: 0.01 * (perTableGB + perRecoveryGB)},
		{What: "all-clear watches", Amount: "none runs without an open alert", Dollars: 0},
		{What: "rules, waits, settings, an empty queue", Amount: "-", Dollars: 0},
		{What: "KMS key of the topic, with subscribers", Amount: "1", Dollars: perKey, Optional: true},
		{What: "dashboard, from the account's fourth on", Amount: "1", Dollars: perDashboard, Optional: true},
		{What: "each instance: its alarm", Amount: "1", Dollars: perAlarm, Optional: true},
	}, nil
}

func (r incidentFigures) notes() []string {
	return []string{
		fmt.Sprintf("From the alarm's event to the moment at which EC2 gets RebootInstances, less the URL check's own time, on the local AWS: the median of %s is %.0f ms, the slowest %.0f ms; for %.0f ms of it the function is at work.", count(r.Overhead.Incidents, "incident"), r.Overhead.Machine, r.Overhead.Slowest, r.Overhead.Function),
		fmt.Sprintf("The same three steps, invoked one after another without a state machine and in turn with those, take %.0f ms (ratio %.2f). The rest is the local AWS's own delivery and its Step Functions engine, which say nothing about AWS's.", r.Overhead.Direct, r.Overhead.Ratio),
		"Transitions are counted from the definitions, and every execution that was played went through exactly these states.",
		fmt.Sprintf("Prices are AWS's for %s as looked up on %s, without the free tier (%s). Durations are the local AWS's with the default attempts of the checks, arm64's price and the default memory; a cold start is not in them.", pricesRegion, pricesDate, priceSources),
	}
}

// count says how many.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

func (r incidentFigures) tables() []table {
	paths := table{
		Title: "What an incident takes and costs. The TypeScript original has no lease, guard, pause, error path or all-clear: where it has no such path there is a dash.",
		Head:  []string{"path", "transitions", "original", "more", "each further look", "invocations", "GB-s", "US$", "played"},
	}
	for _, p := range r.Paths {
		original, more, look, played := "-", "-", "-", "counted only"
		if p.Original > 0 {
			original, more = strconv.Itoa(p.Original), fmt.Sprintf("%+d", p.Transitions-p.Original)
		}
		if p.PerLook > 0 {
			look = fmt.Sprintf("%+d", p.PerLook)
		}
		if p.Played > 0 {
			played = times(p.Played)
		}
		paths.Rows = append(paths.Rows, []string{
			p.Name, strconv.Itoa(p.Transitions), original, more, look, strconv.Itoa(p.Invocations), fmt.Sprintf("%.3f", p.GBSeconds), fmt.Sprintf("%.5f", p.Dollars), played,
		})
	}
	rest := table{Title: "What a region costs a month while nothing happens:", Head: []string{"what", "amount", "US$ a month"}}
	sum, optional := 0.0, []restFigure{}
	for _, x := range r.Rest {
		if x.Optional {
			optional = append(optional, x)
			continue
		}
		sum += x.Dollars
		rest.Rows = append(rest.Rows, []string{x.What, x.Amount, fmt.Sprintf("%.2f", x.Dollars)})
	}
	rest.Rows = append(rest.Rows, []string{"a region at rest", "", fmt.Sprintf("%.2f", sum)})
	for _, x := range optional {
		rest.Rows = append(rest.Rows, []string{"and " + x.What, x.Amount, fmt.Sprintf("%.2f", x.Dollars)})
	}
	return []table{paths, rest}
}

func (r incidentFigures) targets() []target {
	var all []target
	for _, p := range r.Paths {
		if p.Original > 0 {
			all = append(all, meets(
				fmt.Sprintf("at most %d transitions more than the TypeScript original: %s", mostMoreTransitions, p.Name),
				fmt.Sprintf("%d and %d: %+d", p.Transitions, p.Original, p.Transitions-p.Original), p.Transitions-p.Original <= mostMoreTransitions,
			))
		}
	}
	return all
}

// ratios are what a later run is compared by.
func (r incidentFigures) ratios(name string) []compared {
	var all []compared
	for _, p := range r.Paths {
		all = append(all, compared{Key: name + "/transitions/" + p.Key, Value: float64(p.Transitions)})
		if p.PerLook > 0 {
			all = append(all, compared{Key: name + "/transitions-a-look/" + p.Key, Value: float64(p.PerLook)})
		}
	}
	all = append(all, compared{Key: name + "/overhead", Value: r.Overhead.Ratio, Margin: overheadMargin})
	slices.SortFunc(all, func(a, b compared) int { return cmp.Compare(a.Key, b.Key) })
	return all
}
