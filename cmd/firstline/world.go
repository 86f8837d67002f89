package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"

	"firstline/internal/deployed"
	"firstline/internal/stage"
	"firstline/internal/toolchain"
)

// progress prints what is being done, a line each, with the time since the
// start.
type progress struct {
	w     io.Writer
	start time.Time

	mu   sync.Mutex
	last time.Time // of the last line
	text string    // what is being done
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, start: time.Now(), last: time.Now()}
}

func (p *progress) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.text = time.Now(), text
	p.line(text)
}

func (p *progress) line(text string) {
	_, _ = fmt.Fprintf(p.w, "%6.1fs  %s\n", time.Since(p.start).Seconds(), text)
}

// status says how far something is; it is not what is being done.
func (p *progress) status(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	p.line(text)
}

// doing notes what is being done, for still.
func (p *progress) doing(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}

// longestStill bounds a line that says what is still being done, in runes.
const longestStill = 120

// still says what is being done when nothing was said for as long as repeat. What is
// awaited says it better than the last line, unless it is "".
func (p *progress) still(awaited string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < repeat || p.text == "" {
		return
	}
	p.last = time.Now()
	text, _, _ := strings.Cut(cmp.Or(awaited, p.text), "\n")
	if runes := []rune(text); len(runes) > longestStill {
		text = string(runes[:longestStill-1]) + "…"
	}
	p.line("still " + text)
}

// Write lets packages below report through the same lines.
func (p *progress) Write(text []byte) (int, error) {
	p.say("%s", strings.TrimRight(string(text), "\r\n"))
	return len(text), nil
}

// newWorld starts a local AWS with what surrounds it.
func newWorld(ctx context.Context, p *progress) (*stage.World, error) {
	root, err := toolchain.Root()
	if err != nil {
		return nil, usageError{err}
	}
	p.say("packing the function and starting the local AWS")
	w, err := stage.New(ctx, stage.Options{Root: root, Log: p, Pace: pace})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// deploy applies the Terraform root, tells how far it is, and verifies what it has
// deployed while every instance is healthy: a check that has never passed causes no
// reboot. It returns the folder of the root.
func deploy(ctx context.Context, p *progress, w *stage.World, variables map[string]any) (dir string, err error) {
	dir, err = w.CopyRoot(variables)
	if err != nil {
		return "", err
	}
	p.say("deploying with Terraform (about a minute)")
	last := time.Now()
	err = w.Deploy(ctx, dir, func(done, planned int) {
		if time.Since(last) > 5*time.Second || done == planned && done > 0 {
			last = time.Now()
			p.say("  %d of %d resources", done, planned)
		}
	})
	if err != nil {
		return dir, err
	}
	regions, err := outputs(ctx, w, dir)
	if err != nil {
		return dir, err
	}
	p.say("deployed; verifying, as `firstline verify` does")
	verified := verifyRegions(ctx, p, w.AWS.Config(""), regions)
	if ctx.Err() != nil {
		return dir, ctx.Err()
	}
	if err := verdict(verified); err != nil {
		return dir, errors.Join(err, printVerification(p.w, verified))
	}
	p.say("every check passes and is stored as the baseline")
	return dir, nil
}

// outputs reads what is deployed from a root.
func outputs(ctx context.Context, w *stage.World, dir string) ([]deployed.Region, error) {
	tf, err := tfexec.NewTerraform(dir, w.Terraform)
	if err != nil {
		return nil, err
	}
	out, err := tf.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("terraform output: %w", err)
	}
	raw := map[string]json.RawMessage{}
	for name, o := range out {
		raw[name] = o.Value
	}
	byName, err := deployed.Decode(raw)
	if err != nil {
		return nil, err
	}
	var regions []deployed.Region
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		regions = append(regions, byName[name])
	}
	return regions, nil
}

// every calls do each half second until ctx ends, which is no error: it is how
// a command that only waits is ended.
func every(ctx context.Context, do func()) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			do()
		}
	}
}
