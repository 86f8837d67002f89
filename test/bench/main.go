// Command bench measures firstline on this machine, beside a reference that is
// measured in the same run, and writes the figures down: as a table to standard
// output and into the README, and as JSON. A benchmark is a file of its own; what
// they share is in main.go, measure.go and report.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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
	// flags adds what can be chosen.
	flags(*flag.FlagSet)
	// run measures. What it returns together with an error is what it had
	// measured until then.
	run(context.Context, *frame) (section, error)
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

// figures is what is written as JSON: the machine, and each benchmark's own.
type figures struct {
	Machine    machine        `json:"machine"`
	Benchmarks map[string]any `json:"benchmarks"`
	Targets    []target       `json:"targets"`
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
		_, _ = fmt.Fprintln(os.Stderr, "bench: interrupted; nothing was written")
		os.Exit(130)
	default:
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := &frame{log: stderr, start: time.Now()}
	var write bool
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&f.every, "sample", 200*time.Millisecond, "shortest time between two looks at the memory, 0 to measure times only")
	flags.DurationVar(&f.limit, "limit", 15*time.Minute, "longest time that one command may take")
	flags.BoolVar(&write, "write", true, "write "+figuresFile+" and the table in README.md")
	all := []benchmark{&rollout{}}
	for _, b := range all {
		b.flags(flags)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not a flag; see -help", flags.Arg(0))
	}
	var err error
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
	m, err := describe(ctx, f.project)
	if err != nil {
		return err
	}
	if m.Load > float64(m.Cores)/2 {
		f.say("note: the machine is busy (load %.1f on %d cores), so the figures will be wrong", m.Load, m.Cores)
	}

	written := figures{Machine: m, Benchmarks: map[string]any{}}
	var sections []section
	var failed error
	for _, b := range all {
		s, err := b.run(ctx, f)
		if s.Name != "" {
			sections = append(sections, s)
			written.Benchmarks[s.Name] = s.Figures
			written.Targets = append(written.Targets, s.Targets...)
		}
		if err != nil {
			failed = err
			break
		}
	}
	if len(sections) == 0 {
		return failed
	}
	notes := []string{m.String()}
	if f.sampling > 0 {
		notes = append(notes, fmt.Sprintf("Looking at the memory took at most %.1f %% of one core.", 100*f.sampling.Seconds()/f.measured.Seconds()))
	}
	if f.shared {
		notes = append(notes, "Other Terraform providers ran at the same time: the memory is too low, and the times too high.")
	}
	if err := printText(stdout, notes, sections); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	if !write {
		return nil
	}
	raw, err := json.MarshalIndent(written, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(f.project, filepath.FromSlash(figuresFile)), append(raw, '\n')); err != nil {
		return err
	}
	readme := filepath.Join(f.project, "README.md")
	old, err := os.ReadFile(readme) //nolint:gosec // the project's own file
	if err != nil {
		return err
	}
	text, err := replaceBetween(string(old), startMarker, endMarker, markdown(notes, sections))
	if err != nil {
		f.say("note: README.md is left as it is: %v", err)
		return nil
	}
	return atomicfile.Write(readme, []byte(text))
}
