package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"firstline/internal/regions"
	"firstline/internal/stage"
)

// What is to be reached (firstline beside plain Terraform, with the same
// parallelism).
const (
	mostTimeRatio   = 1.10
	mostMoreBytes   = 100e6
	tenRegionsRatio = 2.0
)

// quickRegions is the size of a quick run: enough for a plan that is more than
// the start of processes.
const quickRegions = 5

// rollout measures plan, deploy and destroy of firstline beside plain Terraform,
// on a local AWS of its own for each.
type rollout struct {
	sizes, sweep counts
	sweepRegions int
	same, repeat int
}

// counts is a flag of numbers.
type counts []int

func (c *counts) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*c)), " ", ","), "[]")
}

func (c *counts) Set(text string) error {
	*c = nil
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number of 1 or more", part)
		}
		*c = append(*c, n)
	}
	return nil
}

func (*rollout) name() string { return "rollout" }

func (b *rollout) flags(f *flag.FlagSet) {
	b.sizes, b.sweep = counts{1, 5, 10, 17}, counts{10, 20, 40, 80}
	f.Var(&b.sizes, "regions", "numbers of regions")
	f.IntVar(&b.repeat, "repeat", 1, "how often each is measured; the median counts")
	f.IntVar(&b.same, "same", 10, "parallelism of both, where firstline and Terraform are compared")
	f.Var(&b.sweep, "parallelism", "parallelisms that plain Terraform is tried with")
	f.IntVar(&b.sweepRegions, "parallelism-regions", 10, "number of regions that they are tried on, 0 for not at all")
}

// The commands that are compared.
const (
	plan    = "plan"
	deploy  = "deploy"
	destroy = "destroy"
)

var rolloutCommands = []string{plan, deploy, destroy}

// variant is who does it.
type variant struct {
	name string
	// firstline says that it is not plain Terraform.
	firstline bool
	// parallelism is 0 for the command's own.
	parallelism int
}

// trial is what a variant took for a number of regions.
type trial struct {
	took map[string]usage
	// apply is the second half of plain Terraform's deploy.
	apply     usage
	resources int
	copies    int
}

// rolloutFigures are the figures as they are written.
type rolloutFigures struct {
	Parallelism int           `json:"parallelism"`
	Repeat      int           `json:"repeat"`
	Sizes       []sizeFigures `json:"sizes"`
	Sweep       []sweepFigure `json:"parallelisms"`
	// SweepRegions is the number of regions in Sweep.
	SweepRegions int `json:"parallelismsRegions"`
	// Roots is how many roots were initialised, ProviderCopies how many copies of
	// the provider that left.
	Roots          int `json:"roots"`
	ProviderCopies int `json:"providerCopies"`
}

// sizeFigures are those of a number of regions.
type sizeFigures struct {
	Regions   int              `json:"regions"`
	Resources int              `json:"resources"`
	Commands  []commandFigures `json:"commands"`
}

// commandFigures compare a command.
type commandFigures struct {
	Command   string `json:"command"`
	Terraform usage  `json:"terraform"`
	Firstline usage  `json:"firstline"`
	// Default is firstline with its own parallelism.
	Default usage `json:"firstlineDefault"`
	// Ratio is firstline's time over Terraform's, MoreBytes its memory less
	// Terraform's, both at the same parallelism; DefaultRatio is the ratio of
	// Default.
	Ratio        float64 `json:"timeRatio"`
	DefaultRatio float64 `json:"defaultTimeRatio"`
	MoreBytes    int64   `json:"moreBytes"`
}

// sweepFigure is plain Terraform's deploy at a parallelism.
type sweepFigure struct {
	Parallelism int `json:"parallelism"`
	// Deploy is plan and apply, Apply the second alone.
	Deploy usage `json:"deploy"`
	Apply  usage `json:"apply"`
	// Ratio is the deploy's time over that at the first parallelism.
	Ratio float64 `json:"timeRatio"`
}

func (b *rollout) run(ctx context.Context, f *frame) (section, error) {
	known := regions.Default()
	if most := max(slices.Max(b.sizes), b.sweepRegions); most > len(known) {
		return section{}, fmt.Errorf("-regions: %d is more than the %d regions that regions.tf comes with", most, len(known))
	}
	if b.repeat < 1 || b.same < 1 || b.sweepRegions < 0 {
		return section{}, errors.New("-repeat and -same are 1 or more, -parallelism-regions 0 or more")
	}
	sizes, commands, repeat, sweepRegions := b.sizes, rolloutCommands, b.repeat, b.sweepRegions
	if f.quick {
		sizes, commands, repeat, sweepRegions = counts{quickRegions}, []string{plan}, 3, 0
	}
	// The provider is read from disk by the first to run it.
	f.say("warming up")
	all := rolloutFigures{Parallelism: b.same, Repeat: repeat, SweepRegions: sweepRegions}
	if _, err := b.try(ctx, f, variant{name: "Terraform", parallelism: b.same}, known[:1], []string{plan}); err != nil {
		return section{}, err
	}
	variants := []variant{
		{"Terraform", false, b.same},
		{"firstline", true, b.same},
		{"firstline by default", true, 0},
	}
	err := func() error {
		turn := 0
		for _, n := range sizes {
			trials := map[string][]trial{}
			for range repeat {
				// Each time the others begin, so that nobody always finds the
				// machine warm.
				order := slices.Clone(variants)
				if turn++; turn%2 == 0 {
					slices.Reverse(order)
				}
				for _, v := range order {
					t, err := b.try(ctx, f, v, known[:n], commands)
					if err != nil {
						return fmt.Errorf("%s, %s: %w", v.name, countRegions(n), err)
					}
					trials[v.name] = append(trials[v.name], t)
					all.Roots++
					all.ProviderCopies += t.copies
				}
			}
			size, err := compare(n, commands, trials[variants[0].name], trials[variants[1].name], trials[variants[2].name])
			if err != nil {
				return err
			}
			all.Sizes = append(all.Sizes, size)
		}
		if sweepRegions == 0 {
			return nil
		}
		for _, p := range b.sweep {
			var deploys, applies []usage
			for range repeat {
				t, err := b.try(ctx, f, variant{name: "Terraform", parallelism: p}, known[:sweepRegions], []string{deploy})
				if err != nil {
					return fmt.Errorf("parallelism %d: %w", p, err)
				}
				all.Roots++
				all.ProviderCopies += t.copies
				deploys, applies = append(deploys, t.took[deploy]), append(applies, t.apply)
			}
			s := sweepFigure{Parallelism: p, Deploy: median(deploys), Apply: median(applies), Ratio: 1}
			if len(all.Sweep) > 0 {
				s.Ratio = ratio(s.Deploy, all.Sweep[0].Deploy)
			}
			all.Sweep = append(all.Sweep, s)
		}
		return nil
	}()
	if err != nil && len(all.Sizes) == 0 {
		return section{}, err
	}
	return section{
		Name: b.name(), Title: "Roll out: firstline beside plain Terraform",
		Figures: all, Tables: all.tables(), Targets: all.targets(), Ratios: all.ratios(),
	}, err
}

// try runs the commands of a variant on a root and a local AWS of its own.
func (b *rollout) try(ctx context.Context, f *frame, v variant, names, commands []string) (t trial, err error) {
	w, err := stage.New(ctx, stage.Options{Root: f.project})
	if err != nil {
		return trial{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	var instances []*stage.Instance
	for i, name := range names {
		// Nothing looks whether it runs: only an alarm's incident does.
		instances = append(instances, &stage.Instance{Region: name, ID: fmt.Sprintf("i-%017x", i+1)})
	}
	dir, err := w.CopyRoot(w.Variables(nil, instances...))
	if err != nil {
		return trial{}, err
	}
	env := os.Environ()
	for name, value := range w.Environment() {
		env = append(env, name+"="+value)
	}
	steps := v.terraform
	if v.firstline {
		steps = v.rollout
	}
	run := func(args []string) (usage, error) {
		c := command{Args: append([]string{w.Terraform}, args...), Dir: dir, Env: env}
		if v.firstline {
			// It looks for the project from where it runs.
			c = command{Args: append([]string{f.firstline}, args...), Dir: f.project, Env: env}
		}
		return f.measure(ctx, c)
	}
	// Init, and a plan of one region for whatever is slow the first time, do not
	// count.
	for _, args := range steps("", dir, names[0]) {
		if _, err := run(args); err != nil {
			return trial{}, err
		}
	}
	t.took = map[string]usage{}
	for _, name := range commands {
		for _, args := range steps(name, dir, "") {
			u, err := run(args)
			if err != nil {
				return trial{}, err
			}
			t.took[name], t.apply = t.took[name].add(u), last(name, t.apply, u)
		}
		f.say("%s, %s (parallelism %s): %-7s %6.1f s  %5.0f MB", countRegions(len(names)), v.name, v.parallel(), name, t.took[name].Seconds, megabytes(t.took[name].PeakBytes))
		left, err := managed(filepath.Join(dir, "terraform.tfstate"))
		if err != nil {
			return trial{}, err
		}
		switch name {
		case deploy:
			t.resources = left
			if left == 0 {
				return trial{}, errors.New("the deploy left nothing in the state")
			}
		case destroy:
			if left != 0 {
				return trial{}, fmt.Errorf("the destroy left %d resources in the state", left)
			}
		}
	}
	t.copies, err = providerCopies(filepath.Join(dir, ".terraform"))
	return t, err
}

// last returns the usage of a deploy's last part.
func last(name string, before, u usage) usage {
	if name == deploy {
		return u
	}
	return before
}

func (v variant) parallel() string {
	if v.parallelism == 0 {
		return "its own"
	}
	return strconv.Itoa(v.parallelism)
}

// terraform returns the command lines of plain Terraform for what firstline does
// in one; of name "" for what comes before, with a region to warm up on.
func (v variant) terraform(name, _, warm string) [][]string {
	parallelism := "-parallelism=" + strconv.Itoa(v.parallelism)
	planned := func(file string, more ...string) []string {
		return append([]string{"plan", "-input=false", "-no-color", parallelism, "-out=" + file}, more...)
	}
	applied := func(file string) []string {
		return []string{"apply", "-input=false", "-no-color", parallelism, file}
	}
	switch name {
	case plan:
		return [][]string{planned("p")}
	case deploy:
		return [][]string{planned("p"), applied("p")}
	case destroy:
		return [][]string{planned("d", "-destroy"), applied("d")}
	}
	return [][]string{{"init", "-input=false", "-no-color"}, planned("w", "-target=module."+warm)}
}

// rollout returns the command lines of firstline, as terraform does.
func (v variant) rollout(name, dir, warm string) [][]string {
	var args []string
	switch name {
	case plan:
		args = []string{"plan"}
	case deploy:
		args = []string{"deploy", "--yes", "--verify=false"}
	case destroy:
		args = []string{"destroy", "--yes"}
	default:
		args = []string{"plan", "--region", warm}
	}
	args = append(args, "--dir", dir)
	if v.parallelism > 0 {
		args = append(args, "--parallelism", strconv.Itoa(v.parallelism))
	}
	return [][]string{args}
}

// managed counts the resources in a state, 0 without one.
func managed(path string) (int, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // below a folder of our own
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	var state struct {
		Resources []struct {
			Mode      string            `json:"mode"`
			Instances []json.RawMessage `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	n := 0
	for _, r := range state.Resources {
		if r.Mode == "managed" {
			n += len(r.Instances)
		}
	}
	return n, nil
}

// providerCopies counts the AWS providers in a root's .terraform folder that are
// files of their own. A link into a mirror or a cache is none: a symbolic link is
// not followed, and a file that also has a name outside of this folder is theirs.
func providerCopies(dir string) (int, error) {
	type inode struct{ dev, ino uint64 }
	names, links := map[inode]uint64{}, map[inode]uint64{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasPrefix(d.Name(), "terraform-provider-aws") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: this system does not tell its inode", d.Name())
		}
		// The types of these differ between systems.
		i, n := inode{uint64(s.Dev), uint64(s.Ino)}, uint64(s.Nlink)
		names[i]++
		links[i] = n
		return nil
	})
	copies := 0
	for i, n := range names {
		if links[i] <= n {
			copies++
		}
	}
	return copies, err
}

// compare makes the figures of a number of regions.
func compare(n int, commands []string, terraform, firstline, byDefault []trial) (sizeFigures, error) {
	s := sizeFigures{Regions: n, Resources: terraform[0].resources}
	for _, t := range slices.Concat(terraform, firstline, byDefault) {
		if t.resources != s.Resources {
			return s, fmt.Errorf("%d regions: one deployed %d resources, another %d: not the same was measured", n, s.Resources, t.resources)
		}
	}
	of := func(name string, trials []trial) usage {
		var all []usage
		for _, t := range trials {
			all = append(all, t.took[name])
		}
		return median(all)
	}
	for _, name := range commands {
		c := commandFigures{Command: name, Terraform: of(name, terraform), Firstline: of(name, firstline), Default: of(name, byDefault)}
		c.Ratio, c.DefaultRatio = ratio(c.Firstline, c.Terraform), ratio(c.Default, c.Terraform)
		if c.Firstline.PeakBytes > 0 && c.Terraform.PeakBytes > 0 {
			c.MoreBytes = c.Firstline.PeakBytes - c.Terraform.PeakBytes
		}
		s.Commands = append(s.Commands, c)
	}
	return s, nil
}

// median returns the middle times and the middle peak, each by itself; of an even
// number the mean of the two in the middle.
func median(all []usage) usage {
	if len(all) == 0 {
		return usage{}
	}
	var seconds, cpu, peaks []float64
	for _, u := range all {
		seconds, cpu, peaks = append(seconds, u.Seconds), append(cpu, u.CPUSeconds), append(peaks, float64(u.PeakBytes))
	}
	middle := func(values []float64) float64 {
		slices.Sort(values)
		n := len(values)
		return (values[(n-1)/2] + values[n/2]) / 2
	}
	return usage{Seconds: round(middle(seconds)), CPUSeconds: round(middle(cpu)), PeakBytes: int64(middle(peaks))}
}

// ratio is a time over another, 0 for not known.
func ratio(u, reference usage) float64 {
	if reference.Seconds == 0 {
		return 0
	}
	return round(u.Seconds / reference.Seconds)
}

// round leaves three decimals.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// ratios are the plans' only, which is where firstline does more than run
// Terraform: CPU seconds, since what else the machine does changes the time of a
// plan by a fifth, and an apply's time is mostly the local AWS'.
func (r rolloutFigures) ratios() (all []compared) {
	for _, s := range r.Sizes {
		for _, c := range s.Commands {
			if c.Command != plan || c.Terraform.CPUSeconds == 0 {
				continue
			}
			key := fmt.Sprintf("rollout/plan/%d", s.Regions)
			all = append(all, compared{Key: key + "/cpu", Value: c.Firstline.CPUSeconds / c.Terraform.CPUSeconds, Margin: cpuMargin})
			if c.Terraform.PeakBytes > 0 {
				all = append(all, compared{Key: key + "/memory", Value: float64(c.Firstline.PeakBytes) / float64(c.Terraform.PeakBytes), Margin: memoryMargin})
			}
		}
	}
	return all
}

func (r rolloutFigures) tables() []table {
	seconds := func(u usage) string { return fmt.Sprintf("%.1f", u.Seconds) }
	memory := func(u usage) string {
		if u.PeakBytes == 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f", megabytes(u.PeakBytes))
	}
	times := table{
		Title: fmt.Sprintf("Plain Terraform and firstline at parallelism %d, and firstline at its own: seconds, and the peak of the memory (proportional set size of all processes, in MB of 10^6 bytes). A deploy is plan and apply, and so is a destroy.", r.Parallelism),
		Head: []string{
			"regions", "resources", "command", "Terraform s", "firstline s", "ratio", "Terraform MB", "firstline MB", "more MB",
			"own parallelism s", "ratio", "MB",
		},
	}
	for _, s := range r.Sizes {
		for _, c := range s.Commands {
			more := "-"
			if c.Terraform.PeakBytes > 0 {
				more = fmt.Sprintf("%+.0f", megabytes(c.MoreBytes))
			}
			times.Rows = append(times.Rows, []string{
				strconv.Itoa(s.Regions), strconv.Itoa(s.Resources), c.Command, seconds(c.Terraform), seconds(c.Firstline), fmt.Sprintf("%.2f", c.Ratio),
				memory(c.Terraform), memory(c.Firstline), more, seconds(c.Default), fmt.Sprintf("%.2f", c.DefaultRatio), memory(c.Default),
			})
		}
	}
	all := []table{times}
	if len(r.Sweep) == 0 {
		return all
	}
	sweep := table{
		Title: fmt.Sprintf("Plain Terraform's deploy of %s by its parallelism:", countRegions(r.SweepRegions)),
		Head:  []string{"parallelism", "deploy s", "ratio", "of it apply s", "MB"},
	}
	for _, s := range r.Sweep {
		sweep.Rows = append(sweep.Rows, []string{strconv.Itoa(s.Parallelism), seconds(s.Deploy), fmt.Sprintf("%.2f", s.Ratio), seconds(s.Apply), memory(s.Deploy)})
	}
	return append(all, sweep)
}

// countRegions says how many regions.
func countRegions(n int) string {
	if n == 1 {
		return "1 region"
	}
	return strconv.Itoa(n) + " regions"
}

func (r rolloutFigures) targets() []target {
	slow := target{Want: fmt.Sprintf("firstline takes at most %.2f times as long as plain Terraform", mostTimeRatio), Measured: "-"}
	large := target{Want: fmt.Sprintf("firstline takes at most %.0f MB more memory", mostMoreBytes/1e6), Measured: "-"}
	grows := target{Want: fmt.Sprintf("ten regions deploy in under %.0f times the time of one", tenRegionsRatio), Measured: "-"}
	copied := target{Want: "the provider is neither copied nor downloaded more than once", Measured: "-"}
	// The worst of all counts.
	var worst, most commandFigures
	var worstAt, mostAt int
	deploys := map[int]usage{}
	for _, s := range r.Sizes {
		for _, c := range s.Commands {
			if worstAt == 0 || c.Ratio > worst.Ratio {
				worst, worstAt = c, s.Regions
			}
			if c.Terraform.PeakBytes > 0 && (mostAt == 0 || c.MoreBytes > most.MoreBytes) {
				most, mostAt = c, s.Regions
			}
			if c.Command == deploy {
				deploys[s.Regions] = c.Default
			}
		}
	}
	if worstAt > 0 {
		slow = meets(slow.Want, fmt.Sprintf("at worst %.3f (%s, %s)", worst.Ratio, worst.Command, countRegions(worstAt)), worst.Ratio <= mostTimeRatio)
	}
	if mostAt > 0 {
		large = meets(large.Want, fmt.Sprintf("at most %+.0f MB (%s, %s)", megabytes(most.MoreBytes), most.Command, countRegions(mostAt)), most.MoreBytes <= mostMoreBytes)
	}
	if ten, one := deploys[10], deploys[1]; ten.Seconds > 0 && one.Seconds > 0 {
		grew := ratio(ten, one)
		grows = meets(grows.Want, fmt.Sprintf("%.3f (%.1f s and %.1f s, at firstline's own parallelism)", grew, ten.Seconds, one.Seconds), grew < tenRegionsRatio)
	}
	if r.Roots > 0 {
		copied = meets(copied.Want, fmt.Sprintf("copies in %d roots: %d", r.Roots, r.ProviderCopies), r.ProviderCopies <= 1)
	}
	return []target{slow, large, grows, copied}
}
