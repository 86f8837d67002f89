package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	base := map[string]float64{"x/a": 2, "x/b": 1, "y/c": 5, "x/zero": 0}
	for _, tt := range []struct {
		name   string
		ratios []compared
		want   []string
	}{
		{"as before", []compared{{"x/a", 2, 0.1}, {"x/b", 1, 0}, {"x/zero", 0, 0}}, nil},
		{"at the margin", []compared{{"x/a", 2.2, 0.1}, {"x/b", 1.0004, 0}, {"x/zero", 0, 0}}, nil},
		{"better", []compared{{"x/a", 1, 0.1}, {"x/b", 0.1, 0}, {"x/zero", 0, 0}}, nil},
		{"beyond it", []compared{{"x/a", 2.21, 0.1}, {"x/b", 1.5, 0.25}, {"x/zero", 0, 0}}, []string{
			"x/a: the baseline is 2.000, measured 2.210: 10 % more, the margin is 10 %",
			"x/b: the baseline is 1.000, measured 1.500: 50 % more, the margin is 25 %",
		}},
		{"where there was nothing", []compared{{"x/a", 2, 0}, {"x/b", 1, 0}, {"x/zero", 3, 0.1}}, []string{
			"x/zero: the baseline is 0.000, measured 3.000: 3.000 more, the margin is 10 %",
		}},
		{"a new one, and one that is gone", []compared{{"x/new", 2, 0.1}, {"x/b", 1, 0}, {"x/zero", 0, 0}}, []string{
			"x/a: the baseline is 2.000, and it was not measured: if it is gone on purpose, write the baseline anew with `make bench-baseline`",
			"x/new: measured 2.000, and has no baseline in test/bench/baseline.json: write it with `make bench-baseline`",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, problems(judge("x", base, tt.ratios))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// played is a benchmark whose ratios are known.
type played struct {
	runs [][]compared
	n    int
	err  error
}

func (*played) name() string        { return "x" }
func (*played) flags(*flag.FlagSet) {}
func (p *played) run(_ context.Context, f *frame) (section, error) {
	if !f.quick {
		return section{}, errors.New("not a quick run")
	}
	p.n++
	return section{Name: "x", Ratios: p.runs[min(p.n, len(p.runs))-1]}, p.err
}

func TestCheck(t *testing.T) {
	good, bad, mixed := []compared{{"x/a", 1, 0.1}, {"x/b", 1, 0.1}}, []compared{{"x/a", 2, 0.1}, {"x/b", 2, 0.1}}, []compared{{"x/a", 2, 0.1}, {"x/b", 1, 0.1}}
	other := []compared{{"x/a", 1, 0.1}, {"x/b", 2, 0.1}}
	for _, tt := range []struct {
		name string
		runs [][]compared
		n    int
		err  string
	}{
		{"good", [][]compared{good}, 1, ""},
		{"good the second time", [][]compared{bad, good}, 2, ""},
		{"each good once", [][]compared{mixed, other}, 2, ""},
		{"bad", [][]compared{bad, bad, mixed}, 3, "worse than the baseline:\n  x/a: the baseline is 1.000, measured 2.000: 100 % more, the margin is 10 %"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &frame{project: t.TempDir(), log: io.Discard, quick: true}
			writeBaseline(t, f, `{"ratios": {"x/a": 1, "x/b": 1, "y/other": 3}}`)
			p := &played{runs: tt.runs}
			var out bytes.Buffer
			err := f.check(t.Context(), []benchmark{p}, false, &out)
			if errorText(err) != tt.err || p.n != tt.n {
				t.Errorf("got %v after %d runs, want %q after %d", err, p.n, tt.err, tt.n)
			}
			if worse := strings.Contains(out.String(), "WORSE"); worse != (tt.err != "") {
				t.Errorf("printed:\n%s", out.String())
			}
		})
	}
	t.Run("what is measured fails", func(t *testing.T) {
		f := &frame{project: t.TempDir(), log: io.Discard, quick: true}
		writeBaseline(t, f, `{}`)
		err := f.check(t.Context(), []benchmark{&played{runs: [][]compared{good}, err: errors.New("broken")}}, false, io.Discard)
		if errorText(err) != "x: broken" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no baseline", func(t *testing.T) {
		f := &frame{project: t.TempDir(), log: io.Discard, quick: true}
		err := f.check(t.Context(), []benchmark{&played{runs: [][]compared{good}}}, false, io.Discard)
		if !strings.Contains(errorText(err), "`make bench-baseline` writes it") {
			t.Errorf("got %v", err)
		}
	})
}

func writeBaseline(t *testing.T, f *frame, text string) {
	t.Helper()
	path := filepath.Join(f.project, filepath.FromSlash(baselineFile))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMiddle(t *testing.T) {
	runs := [][]compared{{{"x/a", 3, 0}, {"x/b", 9, 0}}, {{"x/a", 1, 0}}, {{"x/a", 2.00049, 0}}}
	if got := middle(runs, "x/a"); got != 2 {
		t.Errorf("got %g", got)
	}
}

// The committed baseline is of benchmarks that there are.
func TestCommittedBaseline(t *testing.T) {
	raw, err := os.ReadFile("baseline.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no baseline yet: `make bench-baseline` writes it")
	} else if err != nil {
		t.Fatal(err)
	}
	var base baseline
	if err := json.Unmarshal(raw, &base); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, b := range benchmarks() {
		names[b.name()] = false
	}
	for key := range base.Ratios {
		name, _, _ := strings.Cut(key, "/")
		if _, ok := names[name]; !ok {
			t.Errorf("%s is of no benchmark", key)
		}
		names[name] = true
	}
	for name, known := range names {
		if !known {
			t.Errorf("the benchmark %s has no ratio in the baseline: `make bench-baseline`", name)
		}
	}
}
