package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a command took.
type usage struct {
	Seconds float64
	// CPUSeconds are of the command and of all that it waited for, providers
	// included. What others do at the same time changes them less than Seconds.
	CPUSeconds float64
	// PeakBytes is the largest sum of the proportional set sizes of all of its
	// processes at one look.
	PeakBytes int64
}

// command is what is measured.
type command struct {
	// Args begin with the program.
	Args []string
	// Dir is the folder that it runs in.
	Dir string
	Env []string
}

// endTime is how long a command may take to end when it is interrupted, before
// it is killed.
const endTime = 30 * time.Second

// mark is the variable by which the processes of a command are known: a Terraform
// provider that has outlived its parent still has it.
const mark = "FIRSTLINE_BENCH"

// lookEvery is the time between two looks at the memory, for which the kernel walks all
// of a process's pages: 5 ms for a provider.
const lookEvery = 200 * time.Millisecond

// measure runs a command and tells what it took and wrote.
func (f *frame) measure(ctx context.Context, c command) (usage, string, error) {
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	marked := mark + "=" + rand.Text()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...) //nolint:gosec // our own command lines
	var out bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, append(c.Env, marked), &out, &out
	// A terminal's interrupt must not come to it twice.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = endTime
	end, peak := make(chan struct{}), make(chan int64, 1)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, "", err
	}
	go func() { peak <- watch("/proc", marked, end) }()
	err := cmd.Wait()
	took := time.Since(began)
	close(end)
	u := usage{Seconds: took.Seconds(), PeakBytes: <-peak}
	if p := cmd.ProcessState; p != nil {
		u.CPUSeconds = (p.UserTime() + p.SystemTime()).Seconds()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(append([]string{filepath.Base(c.Args[0])}, c.Args[1:]...), " "), err, lastLines(out.String(), 40))
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
	return u, out.String(), err
}

// lastLines returns the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// watch looks at the memory of the marked processes again and again and returns
// the most that it saw.
func watch(proc, marked string, end <-chan struct{}) (peak int64) {
	next := time.NewTicker(lookEvery)
	defer next.Stop()
	for {
		select {
		case <-end:
			return peak
		case <-next.C:
			peak = max(peak, memory(proc, marked))
		}
	}
}

// memory sums up the proportional set sizes of the processes that have a
// variable in their environment: each page counts once, divided by how many
// share it. Processes that end meanwhile, or are not ours to look at, do not
// count.
func memory(proc, variable string) int64 {
	folders, err := fs.Glob(os.DirFS(proc), "[0-9]*")
	if err != nil {
		return 0
	}
	var sum int64
	for _, folder := range folders {
		environ, err := os.ReadFile(filepath.Join(proc, folder, "environ")) //nolint:gosec // below /proc
		if err != nil || !hasVariable(environ, variable) {
			continue
		}
		rollup, err := os.ReadFile(filepath.Join(proc, folder, "smaps_rollup")) //nolint:gosec // below /proc
		if err != nil {
			continue
		}
		if size, err := kilobytes(rollup, "Pss"); err == nil {
			sum += size
		}
	}
	return sum
}

// hasVariable reports whether an environment, as in /proc, has "NAME=value".
func hasVariable(environ []byte, variable string) bool {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if string(v) == variable {
			return true
		}
	}
	return false
}

// kilobytes returns a field of smaps_rollup or meminfo ("Pss: 12 kB") in bytes.
func kilobytes(text []byte, field string) (int64, error) {
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name != field {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		if unit != "kB" {
			return 0, fmt.Errorf("%s is in %q, not in kB", field, unit)
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%s is %q, not a number of kB", field, number)
		}
		return n * 1024, nil
	}
	return 0, fmt.Errorf("there is no %s", field)
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
