package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What is to be reached.
const (
	// mostURLRatio is for the check of an explicit address, which is what the floor
	// does, and mostStepRatio for every other step: cold starts over the floor's.
	mostURLRatio, mostStepRatio = 2.0, 4.0
	// mostOverhead is what a warm step takes beside its peers' answers, in ms.
	mostOverhead = 2.0
	// mostZip and mostMemory are bytes.
	mostZip, mostMemory = 7e6, 40e6
)

// Margins of the check.
const (
	// startMargin is for medians of cold starts over the floor's in the same run: they
	// differ by less than a fifth from run to run on two shared cores.
	startMargin = 0.25
	// sizeMargin is for bytes of the package, which a newer compiler or SDK changes a
	// little.
	sizeMargin = 0.05
)

// function measures the deployed function itself: how long each step takes from the
// start of a process, and in a warm one, beside the smallest function that there is;
// how much memory it takes; and how large the package is.
type function struct {
	cold, warm int
	fresh      bool
}

func (b *function) name() string { return "function" }

func (b *function) flags(f *flag.FlagSet) {
	f.IntVar(&b.cold, "function-cold", 20, "processes that are started for each step; the median counts")
	f.IntVar(&b.warm, "function-warm", 200, "invocations of each step in a warm process; the median counts")
	f.BoolVar(&b.fresh, "function-fresh", false, "compile all for the second of two builds that are to be the same, which takes minutes")
}

// functionFigures are the figures as they are written.
type functionFigures struct {
	Cold     int           `json:"coldStarts"`
	Warm     int           `json:"warmInvocations"`
	Floor    stepFigures   `json:"floor"`
	Steps    []stepFigures `json:"steps"`
	Packages []archFigures `json:"packages"`
	// FreshBuild says that the second of two builds compiled all.
	FreshBuild bool `json:"freshBuild"`
	// EC2 is nothing after a quick run.
	EC2 ec2Figures `json:"ec2"`
}

// stepFigures are those of a step. Milliseconds are medians.
type stepFigures struct {
	Step string `json:"step"`
	// ColdMs is from the process's start to its first answer, ColdPeersMs what of it
	// others took to answer, and Ratio ColdMs over the floor's.
	ColdMs      float64 `json:"coldMs"`
	ColdPeersMs float64 `json:"coldPeersMs"`
	Ratio       float64 `json:"coldRatio"`
	// Low and High are the quartiles of ColdMs.
	Low  float64 `json:"coldLowerQuartileMs"`
	High float64 `json:"coldUpperQuartileMs"`
	// WarmMs is from the event to the answer, PeersMs what of it others took, and
	// OverheadMs the rest.
	WarmMs     float64 `json:"warmMs"`
	PeersMs    float64 `json:"warmPeersMs"`
	OverheadMs float64 `json:"overheadMs"`
	// PeakBytes is the most memory of any process, cold or warm.
	PeakBytes int64 `json:"peakBytes"`
}

// ec2Figures tell what the SDK's client of EC2 costs.
type ec2Figures struct {
	SDK    clientFigures `json:"sdk"`
	ByHand clientFigures `json:"byHand"`
	// Symbols is what the largest packages take in the binary, in bytes, and
	// SymbolsOfAll the sum of all.
	Symbols      []packageFigures `json:"symbols"`
	SymbolsOfAll int64            `json:"symbolsOfAll"`
}

// clientFigures are those of the function with one client of EC2.
type clientFigures struct {
	BinaryBytes int64 `json:"binaryBytes"`
	ZipBytes    int64 `json:"zipBytes"`
	// URLMs is a cold start that does not use it, LookedUpMs one that does, and
	// PeakBytes the memory of the latter.
	URLMs      float64 `json:"urlColdMs"`
	LookedUpMs float64 `json:"lookedUpColdMs"`
	PeakBytes  int64   `json:"peakBytes"`
}

type packageFigures struct {
	Package string `json:"package"`
	Bytes   int64  `json:"bytes"`
}

// program is a binary with the case that it is started for.
type program struct {
	binary string
	stepCase
}

// samples are what was measured of a program.
type samples struct {
	cold, coldPeers, warm, peers, overhead []float64
	peak                                   int64
}

func (b *function) run(ctx context.Context, f *frame) (_ section, err error) {
	if b.cold < 1 || b.warm < 1 {
		return section{}, errors.New("-function-cold and -function-warm are 1 or more")
	}
	cold, warm := b.cold, b.warm
	if f.quick {
		cold, warm = min(cold, 10), min(warm, 20)
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return section{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all := functionFigures{Cold: cold, Warm: warm, FreshBuild: b.fresh}
	var binary string
	if all.Packages, binary, err = b.buildPackages(ctx, f, dir); err != nil {
		return section{}, err
	}
	floor, byHand := filepath.Join(dir, "floor"), filepath.Join(dir, "by-hand")
	f.say("building the floor")
	if err := goBuild(ctx, f.project, floor, "./test/bench/floor", linkedAsDeployed); err != nil {
		return section{}, err
	}
	programs := []program{{floor, floorCase}}
	for _, c := range stepCases {
		programs = append(programs, program{binary, c})
	}
	if !f.quick {
		f.say("building the function with another client of EC2, and with symbols")
		if all.EC2, err = weigh(ctx, f.project, dir, binary, byHand); err != nil {
			return section{}, err
		}
		for _, c := range stepCases {
			if c.step == "url" {
				programs = append(programs, program{byHand, c})
			}
		}
	}
	got, err := b.measure(ctx, f, dir, programs, cold, warm)
	if err != nil {
		return section{}, err
	}
	for n, p := range programs {
		s := got[n].figures(p.name, got[0])
		switch {
		case n == 0:
			all.Floor = s
		case p.binary == binary:
			all.Steps = append(all.Steps, s)
			all.EC2.SDK.add(s)
		default:
			all.EC2.ByHand.add(s)
		}
	}
	return section{
		Name: b.name(), Title: "The function", Notes: all.notes(), Figures: all,
		Tables: all.tables(), Targets: all.targets(), Ratios: all.ratios(),
	}, nil
}

// weigh builds the function with a client of EC2 by hand, and tells what either
// weighs.
func weigh(ctx context.Context, project, dir, binary, byHand string) (e ec2Figures, err error) {
	withSymbols := filepath.Join(dir, "symbols")
	if err := errors.Join(
		buildWithoutEC2(ctx, project, dir, byHand),
		goBuild(ctx, project, withSymbols, "./cmd/responder", linkedWithSymbols),
	); err != nil {
		return e, err
	}
	for _, c := range []struct {
		path string
		to   *clientFigures
	}{{binary, &e.SDK}, {byHand, &e.ByHand}} {
		if c.to.BinaryBytes, c.to.ZipBytes, err = packedBytes(c.path); err != nil {
			return e, err
		}
	}
	sum, err := symbolBytes(ctx, withSymbols)
	if err != nil {
		return e, err
	}
	for _, size := range sum {
		e.SymbolsOfAll += size
	}
	names, merged := largest(sum, 8)
	if !slices.Contains(names, ec2Module) {
		names = append(names, ec2Module)
	}
	for _, name := range names {
		e.Symbols = append(e.Symbols, packageFigures{name, merged[name]})
	}
	return e, nil
}

// add takes what was measured of a step with this client.
func (c *clientFigures) add(s stepFigures) {
	switch s.Step {
	case "url":
		c.URLMs = s.ColdMs
	case lookedUp:
		c.LookedUpMs, c.PeakBytes = s.ColdMs, s.PeakBytes
	}
}

// measure starts all programs in turn, again and again, so that what the machine does
// meanwhile is done to all of them; then each once for many invocations.
func (b *function) measure(ctx context.Context, f *frame, dir string, programs []program, cold, warm int) ([]samples, error) {
	p, err := startPeers(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	bench := &stepBench{peers: p}
	if err := bench.talk(); err != nil {
		return nil, err
	}
	all := make([]samples, len(programs))
	f.say("starting %d programs %d times each", len(programs), cold)
	for round := range cold + 1 {
		for n := range programs {
			if round%2 == 1 {
				n = len(programs) - 1 - n
			}
			s, err := bench.start(ctx, dir, programs[n], 1)
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
		s, err := bench.start(ctx, dir, programs[n], warm+1)
		if err != nil {
			return nil, err
		}
		s.cold, s.coldPeers = nil, nil
		all[n].add(s)
	}
	return all, nil
}

// start starts a program for a number of invocations.
func (b *stepBench) start(ctx context.Context, dir string, p program, invocations int) (s samples, err error) {
	event, err := b.invocation(p.stepCase)
	if err != nil {
		return s, err
	}
	process, err := startFunction(ctx, dir, p.binary, b.peers.variables(), event)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, process.end()) }()
	for n := range invocations {
		if n > 0 {
			if event, err = b.invocation(p.stepCase); err != nil {
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
		from := got.began
		if n == 0 {
			from = process.started
		}
		whole, peers := got.ended.Sub(from), b.peers.times.take(from, got.ended)
		if n == 0 {
			s.cold, s.coldPeers = append(s.cold, inMs(whole)), append(s.coldPeers, inMs(peers))
			continue
		}
		s.warm, s.peers, s.overhead = append(s.warm, inMs(whole)), append(s.peers, inMs(peers)), append(s.overhead, inMs(whole-peers))
	}
	s.peak = process.peakBytes()
	return s, nil
}

func inMs(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *samples) add(t samples) {
	s.cold, s.coldPeers = append(s.cold, t.cold...), append(s.coldPeers, t.coldPeers...)
	s.warm, s.peers, s.overhead = append(s.warm, t.warm...), append(s.peers, t.peers...), append(s.overhead, t.overhead...)
	s.peak = max(s.peak, t.peak)
}

// figures are the samples' medians, beside the floor's.
func (s samples) figures(step string, floor samples) stepFigures {
	return stepFigures{
		Step: step, ColdMs: quantile(s.cold, 0.5), ColdPeersMs: quantile(s.coldPeers, 0.5),
		Ratio: quantile(s.cold, 0.5) / quantile(floor.cold, 0.5), Low: quantile(s.cold, 0.25), High: quantile(s.cold, 0.75),
		WarmMs: quantile(s.warm, 0.5), PeersMs: quantile(s.peers, 0.5), OverheadMs: quantile(s.overhead, 0.5), PeakBytes: s.peak,
	}
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

func (f functionFigures) notes() []string {
	return []string{
		fmt.Sprintf("A cold start is from the start of the process to its first answer over the Lambda Runtime API, the median of %d processes; the floor is the smallest Go function that makes one HTTP GET, started in turn with the others.", f.Cold),
		fmt.Sprintf("Warm figures are medians of %d invocations in one process. All that a step speaks to is on loopback and answers at once; how long that takes is counted there.", f.Warm),
		"What Lambda itself needs before it starts a process is in none of them.",
	}
}

func (f functionFigures) tables() []table {
	steps := table{
		Title: "Each step, in ms and MB:",
		Head:  []string{"step", "speaks to", "cold start", "over the floor", "warm", "of it others", "overhead", "peak memory"},
	}
	clients := map[string]string{floorCase.name: floorCase.clients}
	for _, c := range stepCases {
		clients[c.name] = c.clients
	}
	for _, s := range append([]stepFigures{f.Floor}, f.Steps...) {
		steps.Rows = append(steps.Rows, []string{
			s.Step, clients[s.Step], fmt.Sprintf("%.1f", s.ColdMs), fmt.Sprintf("%.2f", s.Ratio),
			fmt.Sprintf("%.2f", s.WarmMs), fmt.Sprintf("%.2f", s.PeersMs), fmt.Sprintf("%.2f", s.OverheadMs), peakText(s.PeakBytes),
		})
	}
	packages := table{
		Title: "The package, in MB:",
		Head:  []string{"architecture", "zip", "binary", "stripped", "two builds are the same"},
	}
	for _, p := range f.Packages {
		packages.Rows = append(packages.Rows, []string{
			p.Architecture, fmt.Sprintf("%.2f", megabytes(p.ZipBytes)), fmt.Sprintf("%.1f", megabytes(p.BinaryBytes)), yesOrNo(p.Stripped), yesOrNo(p.Same),
		})
	}
	if f.EC2.SDK.BinaryBytes == 0 {
		return []table{steps, packages}
	}
	client := table{
		Title: "What the SDK's client of EC2 costs: the same function with a client of its four calls that is written by hand (`test/bench/floor/ec2`), in MB and ms:",
		Head:  []string{"client of EC2", "zip", "binary", "cold start of url", "of url that asks EC2", "peak memory of that"},
	}
	for _, c := range []struct {
		name string
		clientFigures
	}{{"the SDK's", f.EC2.SDK}, {"by hand", f.EC2.ByHand}} {
		client.Rows = append(client.Rows, []string{
			c.name, fmt.Sprintf("%.2f", megabytes(c.ZipBytes)), fmt.Sprintf("%.1f", megabytes(c.BinaryBytes)),
			fmt.Sprintf("%.1f", c.URLMs), fmt.Sprintf("%.1f", c.LookedUpMs), peakText(c.PeakBytes),
		})
	}
	symbols := table{
		Title: fmt.Sprintf("What is in the binary: the largest packages, in MB of symbols (`go tool nm -size`), of %.1f in all:", megabytes(f.EC2.SymbolsOfAll)),
		Head:  []string{"package", "MB"},
	}
	for _, p := range f.EC2.Symbols {
		symbols.Rows = append(symbols.Rows, []string{p.Package, fmt.Sprintf("%.2f", megabytes(p.Bytes))})
	}
	return []table{steps, packages, client, symbols}
}

func peakText(bytes int64) string {
	if bytes == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.1f", megabytes(bytes))
}

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// worst is the step with the largest of something.
func worst(steps []stepFigures, of func(stepFigures) float64) (name string, most float64) {
	for _, s := range steps {
		if v := of(s); name == "" || v > most {
			name, most = s.Step, v
		}
	}
	return name, most
}

func (f functionFigures) targets() []target {
	var others []stepFigures
	var url stepFigures
	for _, s := range f.Steps {
		if s.Step == "url" {
			url = s
			continue
		}
		others = append(others, s)
	}
	coldStep, cold := worst(others, func(s stepFigures) float64 { return s.Ratio })
	warmStep, warm := worst(f.Steps, func(s stepFigures) float64 { return s.OverheadMs })
	fullStep, full := worst(f.Steps, func(s stepFigures) float64 { return float64(s.PeakBytes) })
	var slow []string
	for _, s := range f.Steps {
		if s.OverheadMs >= mostOverhead {
			slow = append(slow, fmt.Sprintf("%s %.1f", s.Step, s.OverheadMs))
		}
	}
	overhead := fmt.Sprintf("at most %.2f (%s)", warm, warmStep)
	if len(slow) > 0 {
		overhead = strings.Join(slow, ", ") + "; the others less"
	}
	var zip int64
	stripped, same := true, true
	for _, p := range f.Packages {
		zip, stripped, same = max(zip, p.ZipBytes), stripped && p.Stripped, same && p.Same
	}
	memory := target{Want: "peak memory of every step at most 40 MB", Measured: peakText(int64(full))}
	if full > 0 {
		memory = meets(memory.Want, fmt.Sprintf("%.1f MB (%s)", full/1e6, fullStep), full <= mostMemory)
	}
	return []target{
		meets("cold start of url with an explicit address at most 2 times the floor", fmt.Sprintf("%.2f", url.Ratio), url.Ratio <= mostURLRatio),
		meets("cold start of every other step at most 4 times the floor", fmt.Sprintf("%.2f (%s)", cold, coldStep), cold <= mostStepRatio),
		meets("overhead of a warm step beyond what others take under 2 ms", overhead, warm < mostOverhead),
		meets("zip at most 7 MB", fmt.Sprintf("%.2f MB", megabytes(zip)), zip <= mostZip),
		meets("binary stripped", yesOrNo(stripped), stripped),
		memory,
		meets("two builds in two folders byte-identical on both architectures", yesOrNo(same), same && len(f.Packages) == 2),
	}
}

// ratios are what the check compares.
func (f functionFigures) ratios() []compared {
	var all []compared
	for _, s := range f.Steps {
		key := strings.ReplaceAll(strings.ReplaceAll(s.Step, ",", ""), " ", "-")
		all = append(all, compared{Key: "function/" + key + "/cold", Value: s.Ratio, Margin: startMargin})
		if s.PeakBytes > 0 && f.Floor.PeakBytes > 0 {
			all = append(all, compared{Key: "function/" + key + "/memory", Value: float64(s.PeakBytes) / float64(f.Floor.PeakBytes), Margin: memoryMargin})
		}
	}
	for _, p := range f.Packages {
		all = append(all, compared{Key: "function/zip/" + p.Architecture, Value: float64(p.ZipBytes), Margin: sizeMargin})
		builds := 1.0
		if !p.Same {
			builds = 2
		}
		all = append(all, compared{Key: "function/different-builds/" + p.Architecture, Value: builds})
	}
	return all
}
