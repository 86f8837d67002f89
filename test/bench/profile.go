package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed" // what is laid over the commands
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"firstline/internal/stage"
)

// profileFolder is where profiles go, below the project's folder.
const profileFolder = "build/profile"

// profiledMain goes into a command that is to be profiled.
//
//go:embed profile_main.go.txt
var profiledMain []byte

const (
	// profileStarts is how many cold starts of each step make a profile: one alone
	// has some ten samples.
	profileStarts = 10
	// profileInstances is the size of the region whose plan is profiled.
	profileInstances = 100
	// profileLines is how much of a profile is printed.
	profileLines = 25
)

// profile writes profiles of the function's cold start and of a plan, and prints
// the largest of each.
func (f *frame) profile(ctx context.Context, stdout io.Writer) error {
	dir := filepath.Join(f.project, filepath.FromSlash(profileFolder))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750)); err != nil {
		return err
	}
	if err := f.profileStart(ctx, dir, stdout); err != nil {
		return fmt.Errorf("cold start: %w", err)
	}
	if err := f.profilePlan(ctx, dir, stdout); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	_, err := fmt.Fprintf(stdout, "\nThe profiles are in %s: `go tool pprof -http=: %s/start.cpu` and so on.\n", profileFolder, profileFolder)
	return err
}

// buildProfiled builds a command with profiledMain laid over it.
func (f *frame) buildProfiled(ctx context.Context, dir, name string) (string, error) {
	scratch, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	source, overlay, binary := filepath.Join(scratch, "main.go"), filepath.Join(scratch, "overlay.json"), filepath.Join(dir, name)
	raw, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(f.project, "cmd", name, "profiled.go"): source,
	}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(source, profiledMain, 0o600), os.WriteFile(overlay, raw, 0o600)); err != nil {
		return "", err
	}
	//nolint:gosec // fixed words and our own folders
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-overlay", overlay, "-o", binary, "./cmd/"+name)
	cmd.Dir, cmd.Env = f.project, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return binary, nil
}

// profileStart profiles the function from its start to its first answer, of every
// step as often.
func (f *frame) profileStart(ctx context.Context, dir string, stdout io.Writer) error {
	f.say("building the function with profiles")
	binary, err := f.buildProfiled(ctx, dir, "responder")
	if err != nil {
		return err
	}
	p, err := startPeers(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	bench := &stepBench{peers: p}
	if err := bench.talk(); err != nil {
		return err
	}
	// What the packages' own initialisation takes is over before a profile can
	// begin.
	trace, err := bench.startProfiled(ctx, dir, binary, stepCases[0], "GODEBUG=inittrace=1")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "start.init"), []byte(trace), 0o600); err != nil {
		return err
	}
	if err := printTop(stdout, "Cold start: the packages whose initialisation takes longest, in ms", initTimes(trace)); err != nil {
		return err
	}
	f.say("starting the function %d times for each of %d steps", profileStarts, len(stepCases))
	prefix := filepath.Join(dir, "start")
	for range profileStarts {
		for _, c := range stepCases {
			if _, err := bench.startProfiled(ctx, dir, binary, c, "FIRSTLINE_PROFILE="+prefix, "GODEBUG=memprofilerate=1"); err != nil {
				return err
			}
		}
	}
	return f.mergeProfiles(ctx, "Cold start", binary, prefix, stdout)
}

// startProfiled starts the function for one invocation and returns what it wrote.
func (b *stepBench) startProfiled(ctx context.Context, dir, binary string, c stepCase, variables ...string) (said string, err error) {
	event, err := b.invocation(c)
	if err != nil {
		return "", err
	}
	process, err := startFunction(ctx, dir, binary, append(b.peers.variables(), variables...), event)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, process.end()) }()
	got, err := process.wait(ctx)
	if err == nil {
		err = b.took(c, got.answer)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.name, err)
	}
	// Its first segment is written by then.
	select {
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	raw, err := os.ReadFile(process.log.Name())
	return string(raw), err
}

// mergeProfiles makes one CPU and one memory profile of those of many processes,
// and prints the largest of them.
func (f *frame) mergeProfiles(ctx context.Context, title, binary, prefix string, stdout io.Writer) error {
	for _, p := range []struct{ name, glob, flag, what string }{
		{"cpu", "-*.cpu", "-cum", "CPU time"},
		{"mem", "-*.mem", "-sample_index=alloc_space", "memory allocated"},
	} {
		parts, err := filepath.Glob(prefix + p.glob)
		if err != nil {
			return err
		}
		// A segment that was under way when its process ended is empty.
		parts = slices.DeleteFunc(parts, func(path string) bool {
			info, err := os.Stat(path)
			return err != nil || info.Size() == 0
		})
		if len(parts) == 0 {
			return fmt.Errorf("there is no profile %s%s", prefix, p.glob)
		}
		merged := prefix + "." + p.name
		for _, args := range [][]string{
			append([]string{"tool", "pprof", "-proto", "-output=" + merged, binary}, parts...),
			{"tool", "pprof", "-top", p.flag, "-nodecount=" + strconv.Itoa(profileLines), binary, merged},
		} {
			out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput() //nolint:gosec // our own command lines
			if err != nil {
				return fmt.Errorf("go tool pprof: %w: %s", err, lastLines(string(out), 5))
			}
			if args[2] != "-top" {
				continue
			}
			if _, err := fmt.Fprintf(stdout, "\n== %s: %s\n\n%s", title, p.what, out); err != nil {
				return err
			}
		}
		for _, part := range parts {
			if err := os.Remove(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// initLine is what GODEBUG=inittrace=1 says of a package.
var initLine = regexp.MustCompile(`(?m)^init (\S+) @[0-9.]+ ms, ([0-9.]+) ms clock`)

// initTimes are the milliseconds of each package's initialisation.
func initTimes(trace string) map[string]float64 {
	times := map[string]float64{}
	for _, m := range initLine.FindAllStringSubmatch(trace, -1) {
		if ms, err := strconv.ParseFloat(m[2], 64); err == nil {
			times[m[1]] += ms
		}
	}
	return times
}

// profilePlan profiles a plan of many instances: firstline as a program, and
// Terraform by the parts of its graph, since its binary has no symbols.
func (f *frame) profilePlan(ctx context.Context, dir string, stdout io.Writer) (err error) {
	f.say("building the command with profiles")
	binary, err := f.buildProfiled(ctx, dir, "firstline")
	if err != nil {
		return err
	}
	w, err := stage.New(ctx, stage.Options{Root: f.project})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	root, err := growthRoot(w, profileInstances)
	if err != nil {
		return err
	}
	env := os.Environ()
	for name, value := range w.Environment() {
		env = append(env, name+"="+value)
	}
	prefix, trace := filepath.Join(dir, "plan"), filepath.Join(dir, "plan.trace")
	f.say("planning %s, twice", countInstances(profileInstances))
	for _, c := range []command{
		{Args: []string{w.Terraform, "init", "-input=false", "-no-color"}, Dir: root, Env: env},
		{Args: []string{binary, "plan", "--dir", root}, Dir: f.project, Env: append(slices.Clone(env), "FIRSTLINE_PROFILE="+prefix, "GODEBUG=memprofilerate=4096")},
		{Args: []string{w.Terraform, "plan", "-input=false", "-no-color"}, Dir: root, Env: append(slices.Clone(env), "TF_LOG_CORE=trace", "TF_LOG_PATH="+trace)},
	} {
		if _, err := f.measure(ctx, c); err != nil {
			return err
		}
	}
	if err := f.mergeProfiles(ctx, "firstline plan", binary, prefix, stdout); err != nil {
		return err
	}
	log, err := os.Open(trace) //nolint:gosec // below our own folder
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	times, err := vertexTimes(log)
	if err != nil {
		return err
	}
	return printTop(stdout, "Terraform's plan: the longest parts of its graph, in ms (many at the same time; waiting for a place among ten is in it, waiting for other parts is not)", times)
}

// vertexLine is what Terraform's log says when it begins and ends a part of its
// graph.
var vertexLine = regexp.MustCompile(`^(\S+) \[TRACE\] vertex "(.+)": (starting visit|visit complete|dynamic subgraph encountered errors|visit failed)`)

// vertexTimes sums up the milliseconds of each part of the graph: all instances
// of a resource are one part, and so are all walks.
func vertexTimes(log io.Reader) (map[string]float64, error) {
	times, began := map[string]float64{}, map[string]time.Time{}
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if m := vertexLine.FindStringSubmatch(line); m != nil {
			at, err := time.Parse("2006-01-02T15:04:05.000Z0700", m[1])
			if err != nil {
				return nil, fmt.Errorf("terraform's log: %w", err)
			}
			if m[3] == "starting visit" {
				began[m[2]] = at
			} else if since, ok := began[m[2]]; ok {
				times[instanceKey.ReplaceAllString(m[2], "")] += float64(at.Sub(since)) / float64(time.Millisecond)
				delete(began, m[2])
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return times, nil
		case err != nil:
			return nil, err
		}
	}
}

// printTop prints the largest of some milliseconds.
func printTop(w io.Writer, title string, times map[string]float64) error {
	if _, err := fmt.Fprintf(w, "\n== %s\n\n", title); err != nil {
		return err
	}
	names := slices.SortedFunc(maps.Keys(times), func(x, y string) int {
		return cmp.Or(cmp.Compare(times[y], times[x]), strings.Compare(x, y))
	})
	for _, name := range names[:min(profileLines, len(names))] {
		if _, err := fmt.Fprintf(w, "%10.2f  %s\n", times[name], name); err != nil {
			return err
		}
	}
	return nil
}
