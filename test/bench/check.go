package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firstline/internal/atomicfile"
)

// baselineFile is where the ratios are that a check compares with, below the
// project's folder. A quick run writes them (`make bench-baseline`).
const baselineFile = "test/bench/baseline.json"

// Margins of what is the same kind of thing in several benchmarks. What is
// counted has none: it is the same each time.
const (
	// cpuMargin is for CPU seconds over those of a reference in the same run. They
	// differ by a tenth from run to run on two shared cores.
	cpuMargin = 0.25
	// memoryMargin is for peaks: they depend on when garbage is collected and on
	// when it is looked.
	memoryMargin = 0.20
)

// checkRuns is how often a benchmark is run until its ratios are within the
// margins: a machine that is busy for a minute makes no regression, and a
// regression stays one. A baseline is the median of as many.
const checkRuns = 3

// compared is a ratio that a check compares with the baseline. The smaller the
// better.
type compared struct {
	// Key begins with the benchmark's name and a slash, and never changes.
	Key   string
	Value float64
	// Margin is how much larger than the baseline it may be: 0.25 is a quarter.
	Margin float64
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// judge compares the ratios of a benchmark with the baseline. It returns a row for
// each, and what is wrong.
func judge(name string, base map[string]float64, ratios []compared) (rows [][]string, problems []string) {
	missing := map[string]bool{}
	for key := range base {
		missing[key] = strings.HasPrefix(key, name+"/")
	}
	for _, c := range slices.SortedFunc(slices.Values(ratios), func(x, y compared) int { return cmp.Compare(x.Key, y.Key) }) {
		old, known := base[c.Key]
		value, most := round(c.Value), round(old*(1+c.Margin))
		said := "ok"
		switch {
		case !known:
			said = "NO BASELINE"
			problems = append(problems, fmt.Sprintf("%s: measured %.3f, and has no baseline in %s: write it with `make bench-baseline`", c.Key, value, baselineFile))
		case value > most:
			said = "WORSE"
			problems = append(problems, fmt.Sprintf("%s: the baseline is %.3f, measured %.3f, may be %.3f", c.Key, old, value, most))
		case value < round(old/(1+c.Margin)):
			said = "better: `make bench-baseline` keeps it so"
		}
		missing[c.Key] = false
		rows = append(rows, []string{c.Key, fmt.Sprintf("%.3f", old), fmt.Sprintf("%.3f", value), fmt.Sprintf("%.3f", most), said})
	}
	for _, key := range slices.Sorted(maps.Keys(missing)) {
		if missing[key] {
			problems = append(problems, fmt.Sprintf("%s: the baseline is %.3f, and it was not measured: if it is gone on purpose, write the baseline anew with `make bench-baseline`", key, base[key]))
		}
	}
	return rows, problems
}

// of takes one value for each ratio of several runs.
func of(runs [][]compared, choose func([]float64) float64) []compared {
	values := map[string][]float64{}
	for _, run := range runs {
		for _, c := range run {
			values[c.Key] = append(values[c.Key], c.Value)
		}
	}
	chosen := slices.Clone(runs[0])
	for n, c := range chosen {
		chosen[n].Value = choose(values[c.Key])
	}
	return chosen
}

// check runs benchmarks quickly and compares their ratios with the baseline, or
// writes them as the baseline.
func (f *frame) check(ctx context.Context, chosen []benchmark, update bool, stdout io.Writer) error {
	path := filepath.Join(f.project, filepath.FromSlash(baselineFile))
	base := map[string]float64{}
	raw, err := os.ReadFile(path) //nolint:gosec // the project's own file
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &base); err != nil {
			return fmt.Errorf("%s: %w", baselineFile, err)
		}
	case !update || !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: `make bench-baseline` writes it", err)
	}
	t := table{Title: fmt.Sprintf("The smaller the better; the best of up to %d runs.", checkRuns), Head: []string{"ratio", "baseline", "measured", "may be", "verdict"}}
	var problems []string
	for _, b := range chosen {
		var runs [][]compared
		var rows [][]string
		var found []string
		for range checkRuns {
			s, err := b.run(ctx, f)
			if err != nil {
				return fmt.Errorf("%s: %w", b.name(), err)
			}
			runs = append(runs, s.Ratios)
			if rows, found = judge(b.name(), base, of(runs, slices.Min)); !update && len(found) == 0 {
				break
			}
		}
		if update {
			maps.DeleteFunc(base, func(key string, _ float64) bool { return strings.HasPrefix(key, b.name()+"/") })
			for _, c := range of(runs, func(values []float64) float64 { return quantile(values, 0.5) }) {
				base[c.Key] = round(c.Value)
			}
			rows, found = judge(b.name(), base, of(runs, slices.Min))
		}
		t.Rows, problems = append(t.Rows, rows...), append(problems, found...)
	}
	if err := printText(stdout, section{Title: "Ratios beside the baseline", Tables: []table{t}}); err != nil {
		return err
	}
	if update {
		raw, err := json.MarshalIndent(base, "", "  ")
		if err != nil {
			return err
		}
		return atomicfile.Write(path, append(raw, '\n'))
	}
	if len(problems) > 0 {
		return fmt.Errorf("worse than the baseline:\n  %s", strings.Join(problems, "\n  "))
	}
	return nil
}
