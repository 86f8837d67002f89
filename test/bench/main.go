// Command bench measures firstline on this machine, beside a reference that is
// measured in the same run, and writes the figures down: as a table to standard
// output and into the README, and as JSON. With -check it compares the ratios with
// the committed ones instead, and with -profile it writes profiles. A benchmark is
// a file of its own; what they share is in main.go, measure.go, report.go and
// check.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"firstline/internal/atomicfile"
	"firstline/internal/stage"
	"firstline/internal/toolchain"
)

// figuresFile is where the figures go, below the project's folder.
const figuresFile = "test/bench/figures.json"

// benchmark measures one thing.
type benchmark interface {
	// name is what -only, the figures and the README know it by: small letters.
	name() string
	// flags adds what can be chosen.
	flags(*flag.FlagSet)
	// run measures. What it returns together with an error is what it had
	// measured until then.
	run(context.Context, *frame) (section, error)
}

// benchmarks are all of them, in the order of the README.
func benchmarks() []benchmark {
	return []benchmark{&function{}, &incidents{}, &storm{}, &growth{}, &rollout{}}
}

// frame is what all benchmarks work with.
type frame struct {
	// project is the project's folder, firstline the command that was built from
	// it.
	project, firstline string
	// every is the shortest time between two looks at the memory, 0 for none.
	every time.Duration
	// limit bounds each command that is measured.
	limit time.Duration
	// quick asks for small sizes: those whose ratios the baseline has.
	quick bool

	log      io.Writer
	start    time.Time
	measured time.Duration // of commands
	sampling time.Duration // of looking at their memory
	// shared says that others' providers ran at the same time.
	shared bool
}

// say tells what is being done.
func (f *frame) say(format string, args ...any) {
	_, _ = fmt.Fprintf(f.log, "%7.1fs  %s\n", time.Since(f.start).Seconds(), fmt.Sprintf(format, args...))
}

// Write lets packages below report through the same lines.
func (f *frame) Write(text []byte) (int, error) {
	f.say("  %s", strings.TrimRight(string(text), "\r\n"))
	return len(text), nil
}

// written is a benchmark's part of the JSON: not all have to come from one run.
type written struct {
	Machine machine            `json:"machine"`
	Targets []target           `json:"targets,omitempty"`
	Ratios  map[string]float64 `json:"ratios,omitempty"`
	Figures any                `json:"figures"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case interrupted:
		_, _ = fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	default:
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags that concern no single benchmark.
type options struct {
	only                          string
	write, check, update, profile bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := &frame{log: stderr, start: time.Now()}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&f.every, "sample", 200*time.Millisecond, "shortest time between two looks at the memory, 0 to measure times only")
	flags.DurationVar(&f.limit, "limit", 15*time.Minute, "longest time that one command may take")
	flags.BoolVar(&f.quick, "quick", false, "small sizes; nothing is written")
	flags.StringVar(&o.only, "only", "", "benchmarks to run, such as growth,rollout; all unless set")
	flags.BoolVar(&o.write, "write", true, "write "+figuresFile+" and the figures in README.md")
	flags.BoolVar(&o.check, "check", false, "a quick run whose ratios are compared with "+baselineFile)
	flags.BoolVar(&o.update, "update", false, "with -check: write the ratios as the baseline instead")
	flags.BoolVar(&o.profile, "profile", false, "write profiles of a cold start and of a plan into "+profileFolder)
	all := benchmarks()
	for _, b := range all {
		b.flags(flags)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not a flag; see -help", flags.Arg(0))
	}
	if o.update && !o.check {
		return errors.New("-update goes with -check: it writes the ratios of a quick run")
	}
	chosen, err := choose(all, o.only)
	if err != nil {
		return err
	}
	if f.project, err = toolchain.Root(); err != nil {
		return err
	}
	f.firstline = filepath.Join(f.project, "build", "firstline")
	if _, err := os.Stat(f.firstline); err != nil {
		return fmt.Errorf("%w: build the command first, or run all of this with `make bench`", err)
	}
	if err := stage.Isolate(); err != nil {
		return err
	}
	if o.profile {
		return f.profile(ctx, stdout)
	}
	m, err := describe(ctx, f.project)
	if err != nil {
		return err
	}
	if m.Load > float64(m.Cores)/2 {
		f.say("note: the machine is busy (load %.1f on %d cores), so the figures will be wrong", m.Load, m.Cores)
	}
	if o.check {
		f.quick = true
		return f.check(ctx, chosen, o.update, stdout)
	}

	var sections []section
	var failed error
	for _, b := range chosen {
		s, err := f.measureSection(ctx, b)
		if s.Name != "" {
			s.Machine = m
			sections = append(sections, s)
		}
		if err != nil {
			// The others can still be measured.
			failed = errors.Join(failed, fmt.Errorf("%s: %w", b.name(), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(sections) == 0 {
		return failed
	}
	if err := printText(stdout, sections); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	if !o.write || f.quick {
		return nil
	}
	return f.write(all, sections)
}

// choose returns the benchmarks that are named, all for "".
func choose(all []benchmark, only string) ([]benchmark, error) {
	if only == "" {
		return all, nil
	}
	var names []string
	for _, b := range all {
		names = append(names, b.name())
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(only, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("-only: there is no benchmark %q; use %s", name, strings.Join(names, ", "))
		}
		wanted[name] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(b benchmark) bool { return !wanted[b.name()] }), nil
}

// measureSection runs a benchmark, and says what the measuring itself took.
func (f *frame) measureSection(ctx context.Context, b benchmark) (section, error) {
	f.measured, f.sampling, f.shared = 0, 0, false
	s, err := b.run(ctx, f)
	if f.sampling > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("Looking at the memory took at most %.1f %% of one core.", 100*f.sampling.Seconds()/f.measured.Seconds()))
	}
	if f.shared {
		s.Notes = append(s.Notes, "Other Terraform providers ran at the same time: the memory is too low, and the times too high.")
	}
	return s, err
}

// write writes the figures of a run, and leaves those of other benchmarks.
func (f *frame) write(all []benchmark, sections []section) error {
	path := filepath.Join(f.project, filepath.FromSlash(figuresFile))
	old, err := os.ReadFile(path) //nolint:gosec // the project's own file
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw, err := mergeFigures(old, all, sections)
	if err != nil {
		return fmt.Errorf("%s: %w", figuresFile, err)
	}
	if err := atomicfile.Write(path, raw); err != nil {
		return err
	}
	readme := filepath.Join(f.project, "README.md")
	text, err := os.ReadFile(readme) //nolint:gosec // the project's own file
	if err != nil {
		return err
	}
	mended, err := mergeMarkdown(string(text), all, sections)
	if err != nil {
		f.say("note: README.md is left as it is: %v", err)
		return nil
	}
	return atomicfile.Write(readme, []byte(mended))
}

// mergeFigures puts the figures of a run into a file of them. Benchmarks that are
// no more leave it.
func mergeFigures(old []byte, all []benchmark, sections []section) ([]byte, error) {
	var before struct {
		Benchmarks map[string]json.RawMessage `json:"benchmarks"`
	}
	if len(old) > 0 {
		if err := json.Unmarshal(old, &before); err != nil {
			return nil, err
		}
	}
	merged := map[string]any{}
	for _, b := range all {
		if part, ok := before.Benchmarks[b.name()]; ok {
			merged[b.name()] = part
		}
	}
	for _, s := range sections {
		w := written{Machine: s.Machine, Targets: s.Targets, Figures: s.Figures}
		for _, c := range s.Ratios {
			if w.Ratios == nil {
				w.Ratios = map[string]float64{}
			}
			w.Ratios[c.Key] = round(c.Value)
		}
		merged[s.Name] = w
	}
	raw, err := json.MarshalIndent(map[string]any{"benchmarks": merged}, "", "  ")
	return append(raw, '\n'), err
}
