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

// baseline is what baselineFile holds.
type baseline struct {
	Machine machine            `json:"machine"`
	Ratios  map[string]float64 `json:"ratios"`
}

// verdict is what came of a ratio.
type verdict struct {
	compared
	// base is its baseline, 0 for none.
	base float64
	// problem is "" when it is within the margin.
	problem string
}

// most is the largest that a ratio may be. Both are written with three decimals.
func most(base, margin float64) float64 { return base*(1+margin) + 0.0005 }

// judge compares the ratios of a benchmark with the baseline, in the order of
// their keys.
func judge(name string, base map[string]float64, ratios []compared) (all []verdict) {
	missing := map[string]float64{}
	for key, value := range base {
		if strings.HasPrefix(key, name+"/") {
			missing[key] = value
		}
	}
	for _, c := range ratios {
		c.Value = round(c.Value)
		v := verdict{compared: c, base: base[c.Key]}
		_, known := base[c.Key]
		switch {
		case !known:
			v.problem = fmt.Sprintf("%s: measured %.3f, and has no baseline in %s: write it with `make bench-baseline`", c.Key, c.Value, baselineFile)
		case c.Value > most(v.base, c.Margin):
			v.problem = fmt.Sprintf("%s: the baseline is %.3f, measured %.3f: %s more, the margin is %.0f %%", c.Key, v.base, c.Value, worse(v.base, c.Value), 100*c.Margin)
		}
		delete(missing, c.Key)
		all = append(all, v)
	}
	for _, key := range slices.Sorted(maps.Keys(missing)) {
		all = append(all, verdict{
			compared: compared{Key: key}, base: missing[key],
			problem: fmt.Sprintf("%s: the baseline is %.3f, and it was not measured: if it is gone on purpose, write the baseline anew with `make bench-baseline`", key, missing[key]),
		})
	}
	slices.SortFunc(all, func(x, y verdict) int { return cmp.Compare(x.Key, y.Key) })
	return all
}

// worse says how much more it is than the baseline.
func worse(base, value float64) string {
	if base == 0 {
		return fmt.Sprintf("%.3f", value)
	}
	return fmt.Sprintf("%.0f %%", 100*(value/base-1))
}

// better keeps the smaller of each ratio of two runs.
func better(before, now []compared) []compared {
	values := map[string]float64{}
	for _, c := range before {
		values[c.Key] = c.Value
	}
	kept := slices.Clone(now)
	for i, c := range kept {
		if v, ok := values[c.Key]; ok {
			kept[i].Value = min(v, c.Value)
		}
	}
	return kept
}

// problems are those of the verdicts.
func problems(all []verdict) (found []string) {
	for _, v := range all {
		if v.problem != "" {
			found = append(found, v.problem)
		}
	}
	return found
}

// check runs benchmarks quickly and compares their ratios with the baseline, or
// writes them as the baseline.
func (f *frame) check(ctx context.Context, chosen []benchmark, update bool, stdout io.Writer) error {
	path := filepath.Join(f.project, filepath.FromSlash(baselineFile))
	base := baseline{Ratios: map[string]float64{}}
	raw, err := os.ReadFile(path) //nolint:gosec // the project's own file
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &base); err != nil {
			return fmt.Errorf("%s: %w", baselineFile, err)
		}
	case !update || !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: `make bench-baseline` writes it", err)
	}
	if update {
		if base.Machine, err = describe(ctx, f.project); err != nil {
			return err
		}
	}
	var verdicts []verdict
	for _, b := range chosen {
		var runs [][]compared
		var ratios []compared
		for range checkRuns {
			s, err := f.measureSection(ctx, b)
			if err != nil {
				return fmt.Errorf("%s: %w", b.name(), err)
			}
			runs = append(runs, s.Ratios)
			if ratios = better(ratios, s.Ratios); !update && len(problems(judge(b.name(), base.Ratios, ratios))) == 0 {
				break
			}
		}
		if update {
			maps.DeleteFunc(base.Ratios, func(key string, _ float64) bool { return strings.HasPrefix(key, b.name()+"/") })
			for _, c := range ratios {
				base.Ratios[c.Key] = middle(runs, c.Key)
			}
		}
		verdicts = append(verdicts, judge(b.name(), base.Ratios, ratios)...)
	}
	if err := printText(stdout, []section{{Title: "Ratios beside the baseline", Tables: []table{verdictTable(verdicts)}}}); err != nil {
		return err
	}
	if update {
		raw, err := json.MarshalIndent(base, "", "  ")
		if err != nil {
			return err
		}
		return atomicfile.Write(path, append(raw, '\n'))
	}
	if found := problems(verdicts); len(found) > 0 {
		return fmt.Errorf("worse than the baseline:\n  %s", strings.Join(found, "\n  "))
	}
	return nil
}

// middle is the median of a ratio over runs.
func middle(runs [][]compared, key string) float64 {
	var values []float64
	for _, run := range runs {
		for _, c := range run {
			if c.Key == key {
				values = append(values, c.Value)
			}
		}
	}
	slices.Sort(values)
	n := len(values)
	return round((values[(n-1)/2] + values[n/2]) / 2)
}

func verdictTable(all []verdict) table {
	t := table{Title: fmt.Sprintf("The smaller the better; the best of up to %d runs.", checkRuns), Head: []string{"ratio", "baseline", "measured", "may be", "verdict"}}
	for _, v := range all {
		said := "ok"
		switch {
		case v.problem != "":
			said = "WORSE"
			if v.base == 0 || v.Value == 0 {
				said = "NOT COMPARED"
			}
		case v.Value < v.base/(1+v.Margin)-0.0005:
			said = "better: `make bench-baseline` keeps it so"
		}
		t.Rows = append(t.Rows, []string{v.Key, fmt.Sprintf("%.3f", v.base), fmt.Sprintf("%.3f", v.Value), fmt.Sprintf("%.3f", most(v.base, v.Margin)-0.0005), said})
	}
	return t
}
