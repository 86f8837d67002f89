package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/handler"
	"firstline/internal/toolchain"
)

func TestEveryStepIsMeasured(t *testing.T) {
	var steps []string
	for _, c := range stepCases {
		steps = append(steps, c.step)
	}
	slices.Sort(steps)
	if diff := cmp.Diff(handler.Steps(), slices.Compact(steps)); diff != "" {
		t.Errorf("-handler.Steps() +stepCases:\n%s", diff)
	}
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		all  []float64
		part float64
		want float64
	}{
		{nil, 0.5, 0},
		{[]float64{3}, 0.5, 3},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 1, 3, 2, 4}, 0.25, 2},
		{[]float64{5, 1, 3, 2, 4}, 1, 5},
	} {
		if got := quantile(tt.all, tt.part); got != tt.want {
			t.Errorf("quantile(%v, %g) = %g, want %g", tt.all, tt.part, got, tt.want)
		}
	}
}

// Every step takes the way that is meant, in the function as it is built.
func TestStepsAreMeasuredOnTheirWay(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the function")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	project, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	steps, err := measureSteps(ctx, &frame{project: project, log: t.Output(), start: time.Now()}, t.TempDir(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.cold <= 0 || s.warm <= 0 {
			t.Errorf("%s: %+v", s.step, s)
		}
	}
}

// All of our packages that the function consists of are counted, and nothing else.
func TestLinesInLambda(t *testing.T) {
	project, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := linesInLambda(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]int{}
	for _, p := range lines {
		counted[p.name] = p.lines
	}
	for _, name := range []string{"firstline/cmd/responder", "firstline/handler", "firstline/internal/policy", "firstline/internal/store", "firstline/checks", "firstline/notify"} {
		if counted[name] < 100 {
			t.Errorf("%s: %d lines", name, counted[name])
		}
	}
	for name := range counted {
		if ok, _ := filepath.Match("firstline/test*", name); ok || counted[name] == 0 {
			t.Errorf("%s does not run in Lambda, or has %d lines", name, counted[name])
		}
	}
}

// A function that fails is not measured.
func TestWaitTellsWhyThereIsNoAnswer(t *testing.T) {
	dir := t.TempDir()
	p, err := startFunction(t.Context(), dir, "/bin/false", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.wait(t.Context())
	if said := errorText(errors.Join(err, p.end())); said != "it ended before it answered: " {
		t.Errorf("got %q", said)
	}
}
