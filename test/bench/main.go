// Command bench measures firstline on this machine and prints the figures, which also
// go into test/bench/README.md. With -check it compares ratios with the committed ones
// instead. A benchmark is a file of its own; what they share is in main.go, measure.go,
// report.go and check.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"firstline/internal/atomicfile"
	"firstline/internal/toolchain"
	"firstline/test/testbed"
)

// readmeFile is where the figures go, below the project's folder.
const readmeFile = "test/bench/README.md"

// benchmark measures one thing.
type benchmark interface {
	// name is what -only, the ratios and the README know it by: small letters.
	name() string
	// flags adds what can be chosen.
	flags(*flag.FlagSet)
	run(context.Context, *frame) (section, error)
}

// benchmarks are all of them, in the order of the README.
func benchmarks() []benchmark {
	return []benchmark{&function{}, &incidents{}, &growth{}}
}

// frame is what all benchmarks work with.
type frame struct {
	// project is the project's folder.
	project string
	// limit bounds each command that is measured.
	limit time.Duration
	// quick asks for small sizes: those whose ratios the baseline has.
	quick bool

	log   io.Writer
	start time.Time
}

// say tells what is being done.
func (f *frame) say(format string, args ...any) {
	_, _ = fmt.Fprintf(f.log, "%7.1fs  %s\n", time.Since(f.start).Seconds(), fmt.Sprintf(format, args...))
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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := &frame{log: stderr, start: time.Now()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&f.limit, "limit", 15*time.Minute, "longest time that one command may take")
	flags.BoolVar(&f.quick, "quick", false, "small sizes; nothing is written")
	only := flags.String("only", "", "benchmarks to run, such as function,growth; all unless set")
	write := flags.Bool("write", true, "write the figures into "+readmeFile)
	check := flags.Bool("check", false, "a quick run whose ratios are compared with "+baselineFile)
	update := flags.Bool("update", false, "with -check: write the ratios as the baseline instead")
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
	if *update && !*check {
		return errors.New("-update goes with -check: it writes the ratios of a quick run")
	}
	chosen, err := choose(all, *only)
	if err != nil {
		return err
	}
	if f.project, err = toolchain.Root(); err != nil {
		return err
	}
	if err := testbed.Isolate(); err != nil {
		return err
	}
	if *check {
		f.quick = true
		return f.check(ctx, chosen, *update, stdout)
	}
	m, err := describe(ctx, f.project)
	if err != nil {
		return err
	}
	var sections []section
	var failed error
	for _, b := range chosen {
		s, err := b.run(ctx, f)
		if err != nil {
			// The others can still be measured.
			failed = errors.Join(failed, fmt.Errorf("%s: %w", b.name(), err))
			continue
		}
		s.Notes = append([]string{m.String()}, s.Notes...)
		sections = append(sections, s)
	}
	failed = errors.Join(failed, printText(stdout, sections...))
	if *write && !f.quick {
		failed = errors.Join(failed, f.write(sections))
	}
	return failed
}

// write writes the figures of a run, and leaves those of other benchmarks.
func (f *frame) write(sections []section) error {
	path := filepath.Join(f.project, filepath.FromSlash(readmeFile))
	text, err := os.ReadFile(path) //nolint:gosec // the project's own file
	if err != nil {
		return err
	}
	merged, err := mergeMarkdown(string(text), sections)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(merged))
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
