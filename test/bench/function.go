package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"firstline/handler"
)

// Margins of the check.
const (
	// startMargin is for medians of the CPU time of cold starts over the floor's in the
	// same run.
	startMargin = 0.25
	// sizeMargin is for bytes of the package and lines of code, which a change makes
	// on purpose.
	sizeMargin = 0.05
)

// function measures the deployed function itself: how long each step takes from the
// start of a process, and in a warm one, beside the smallest function that there is;
// how much memory it takes; how large the package is, and how much of it is ours.
type function struct {
	cold, warm int
}

func (b *function) name() string { return "function" }

func (b *function) flags(f *flag.FlagSet) {
	f.IntVar(&b.cold, "cold", 20, "processes that are started for each step; the median counts")
	f.IntVar(&b.warm, "warm", 50, "invocations of each step in a warm process; the median counts")
}

// stepFigures are those of a step. Milliseconds are medians.
type stepFigures struct {
	step string
	// cold is from the process's start to its first answer, and low and high the
	// quartiles. cpu is what the process took of the CPU, which a busy machine changes
	// less, and ratio that over the floor's.
	cold, low, high, cpu, ratio float64
	// warm is from the event to the answer.
	warm float64
	// peak is the most memory of any process, cold or warm, in bytes.
	peak int64
	// calls are those of AWS by service, metrics the names of those that it writes,
	// and logBytes the length of its log, of one invocation.
	calls    map[string]int
	metrics  []string
	logBytes int
}

// samples are what was measured of a program.
type samples struct {
	cold, cpu, warm []float64
	peak            int64
	calls           map[string]int
	metrics         []string
	logBytes        int
}

// program is a binary with the case that it is started for.
type program struct {
	binary string
	stepCase
}

func (b *function) run(ctx context.Context, f *frame) (_ section, err error) {
	if b.cold < 1 || b.warm < 1 {
		return section{}, errors.New("-cold and -warm are 1 or more")
	}
	cold, warm := b.cold, b.warm
	if f.quick {
		cold, warm = min(cold, 10), min(warm, 10)
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return section{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	packages, err := buildPackages(ctx, f, dir)
	if err != nil {
		return section{}, err
	}
	lines, err := linesInLambda(ctx, f.project)
	if err != nil {
		return section{}, err
	}
	steps, err := measureSteps(ctx, f, dir, cold, warm)
	if err != nil {
		return section{}, err
	}
	return section{
		Name: b.name(), Title: "The function",
		Notes: []string{
			fmt.Sprintf("A cold start is from the start of the process to its first answer over the Lambda Runtime API, the median of %d processes; the floor is the smallest Go function that makes one HTTP GET, started in turn with the others. A warm step is the median of %d invocations in one process.", cold, warm),
			"All that a step speaks to is on loopback and answers at once. What Lambda itself needs before it starts a process is not in it.",
		},
		Tables: []table{stepTable(steps), packageTable(packages), lineTable(lines)},
		Ratios: slices.Concat(stepRatios(steps), packageRatios(packages), []compared{{"function/lines", float64(totalLines(lines)), sizeMargin}}),
	}, nil
}

// measureSteps builds the function and the floor for this machine and measures all
// steps. The floor is the first.
func measureSteps(ctx context.Context, f *frame, dir string, cold, warm int) ([]stepFigures, error) {
	f.say("building the function and the floor")
	binary, floor := filepath.Join(dir, "bootstrap"), filepath.Join(dir, "floor")
	if err := errors.Join(goBuild(ctx, f.project, binary, "./cmd/responder"), goBuild(ctx, f.project, floor, "./test/bench/floor")); err != nil {
		return nil, err
	}
	programs := []program{{floor, floorCase}}
	for _, c := range stepCases {
		programs = append(programs, program{binary, c})
	}
	p, err := startPeers(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	driver, err := startFunction(ctx, dir, binary, p.variables())
	if err != nil {
		return nil, err
	}
	got, err := (&stepBench{peers: p, driver: driver}).measure(ctx, f, dir, programs, cold, warm)
	if err := errors.Join(err, driver.end()); err != nil {
		return nil, err
	}
	var all []stepFigures
	for n, s := range got {
		all = append(all, stepFigures{
			step: programs[n].name, cold: quantile(s.cold, 0.5), low: quantile(s.cold, 0.25), high: quantile(s.cold, 0.75),
			cpu: quantile(s.cpu, 0.5), ratio: quantile(s.cpu, 0.5) / quantile(got[0].cpu, 0.5), warm: quantile(s.warm, 0.5), peak: s.peak,
			calls: s.calls, metrics: s.metrics, logBytes: s.logBytes,
		})
	}
	return all, nil
}

// measure starts all programs in turn, again and again, so that what the machine does
// meanwhile is done to all of them; then each once for many invocations.
func (b *stepBench) measure(ctx context.Context, f *frame, dir string, programs []program, cold, warm int) ([]samples, error) {
	all := make([]samples, len(programs))
	f.say("starting %d programs %d times each", len(programs), cold)
	for round := range cold + 1 {
		for n := range programs {
			if round%2 == 1 {
				n = len(programs) - 1 - n
			}
			s, err := b.start(ctx, dir, programs[n], 1)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first reads the program from the disk
				all[n].add(s)
			}
		}
	}
	f.say("invoking each of them %d times", warm)
	for n := range programs {
		s, err := b.start(ctx, dir, programs[n], warm+1)
		if err != nil {
			return nil, err
		}
		s.cold, s.cpu = nil, nil
		all[n].add(s)
	}
	return all, nil
}

// start starts a program for a number of invocations.
func (b *stepBench) start(ctx context.Context, dir string, p program, invocations int) (s samples, err error) {
	event, err := b.invocation(ctx, p.stepCase)
	if err != nil {
		return s, err
	}
	variables := b.peers.variables()
	if p.step == handler.StepProbe { // of a function of its own
		variables = append(variables, "FIRSTLINE_ONLY_STEP="+p.step)
	}
	process, err := startFunction(ctx, dir, p.binary, variables, event)
	if err != nil {
		return s, err
	}
	defer func() {
		err = errors.Join(err, process.end())
		s.cpu = append(s.cpu, inMs(process.cmd.ProcessState.UserTime()+process.cmd.ProcessState.SystemTime()))
	}()
	for n := range invocations {
		if n > 0 {
			if event, err = b.invocation(ctx, p.stepCase); err != nil {
				return s, err
			}
			process.runtime.events <- event
		}
		got, err := process.wait(ctx)
		if err == nil {
			err = b.took(p.stepCase, got.answer)
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", p.name, err)
		}
		if n == 0 {
			s.cold = append(s.cold, inMs(got.ended.Sub(process.started)))
		} else {
			s.warm = append(s.warm, inMs(got.ended.Sub(got.began)))
		}
	}
	s.calls, _ = b.peers.outcome()
	s.peak = process.peakBytes()
	log, err := os.ReadFile(process.log.Name())
	s.logBytes = len(log) / invocations
	for _, m := range metricNames.FindAllSubmatch(log, -1) {
		if name := string(m[1]); !slices.Contains(s.metrics, name) {
			s.metrics = append(s.metrics, name)
		}
	}
	return s, err
}

// metricNames finds the metric in a line of the log that is in CloudWatch's
// embedded form (handler/metrics.go).
var metricNames = regexp.MustCompile(`"Metrics":\[\{"Name":"([^"]+)"`)

func inMs(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *samples) add(t samples) {
	s.cold, s.cpu, s.warm, s.peak = append(s.cold, t.cold...), append(s.cpu, t.cpu...), append(s.warm, t.warm...), max(s.peak, t.peak)
	s.calls, s.metrics, s.logBytes = t.calls, t.metrics, t.logBytes
}

// quantile is the value below which a part of all is: 0.5 for the median.
func quantile(all []float64, part float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	at := part * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func stepTable(steps []stepFigures) table {
	t := table{
		Title: "Each step, in ms and MB:",
		Head:  []string{"step", "speaks to", "cold start", "quartiles", "CPU of it", "over the floor's", "warm", "peak memory"},
	}
	for n, c := range append([]stepCase{floorCase}, stepCases...) {
		s := steps[n]
		peak := "-"
		if s.peak > 0 {
			peak = fmt.Sprintf("%.1f", megabytes(s.peak))
		}
		t.Rows = append(t.Rows, []string{
			s.step, c.clients, fmt.Sprintf("%.1f", s.cold), fmt.Sprintf("%.1f, %.1f", s.low, s.high), fmt.Sprintf("%.1f", s.cpu), fmt.Sprintf("%.2f", s.ratio), fmt.Sprintf("%.2f", s.warm), peak,
		})
	}
	return t
}

// stepRatios are what a later run is compared by.
func stepRatios(steps []stepFigures) (all []compared) {
	for _, s := range steps[1:] {
		key := "function/" + strings.ReplaceAll(strings.ReplaceAll(s.step, ",", ""), " ", "-")
		all = append(all, compared{key + "/cpu", s.ratio, startMargin})
		if s.peak > 0 && steps[0].peak > 0 {
			all = append(all, compared{key + "/memory", float64(s.peak) / float64(steps[0].peak), memoryMargin})
		}
	}
	return all
}

func packageTable(packages []archFigures) table {
	t := table{Title: "The package, in MB:", Head: []string{"architecture", "zip", "binary"}}
	for _, p := range packages {
		t.Rows = append(t.Rows, []string{p.architecture, fmt.Sprintf("%.2f", megabytes(p.zipBytes)), fmt.Sprintf("%.1f", megabytes(p.binaryBytes))})
	}
	return t
}

func packageRatios(packages []archFigures) (all []compared) {
	for _, p := range packages {
		all = append(all, compared{"function/zip/" + p.architecture, float64(p.zipBytes), sizeMargin})
	}
	return all
}

func lineTable(lines []packageLines) table {
	t := table{Title: "Lines of our code that run in Lambda, tests left out:", Head: []string{"package", "lines"}}
	for _, p := range lines {
		t.Rows = append(t.Rows, []string{p.name, strconv.Itoa(p.lines)})
	}
	t.Rows = append(t.Rows, []string{"all", strconv.Itoa(totalLines(lines))})
	return t
}
