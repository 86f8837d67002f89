package main

import (
	"context"
	"errors"
	"flag"
	"io"
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
			"x/a: the baseline is 2.000, measured 2.210, may be 2.200",
			"x/b: the baseline is 1.000, measured 1.500, may be 1.250",
		}},
		{"where there was nothing", []compared{{"x/a", 2, 0}, {"x/b", 1, 0}, {"x/zero", 3, 0.1}}, []string{
			"x/zero: the baseline is 0.000, measured 3.000, may be 0.000",
		}},
		{"a new one, and one that is gone", []compared{{"x/new", 2, 0.1}, {"x/b", 1, 0}, {"x/zero", 0, 0}}, []string{
			"x/new: measured 2.000, and has no baseline in test/bench/baseline.json: write it with `make bench-baseline`",
			"x/a: the baseline is 2.000, and it was not measured: if it is gone on purpose, write the baseline anew with `make bench-baseline`",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, problems := judge("x", base, tt.ratios)
			if diff := cmp.Diff(tt.want, problems); diff != "" || len(rows) != len(tt.ratios) {
				t.Errorf("%d rows\n%s", len(rows), diff)
			}
		})
	}
}

// played is a benchmark whose ratios are known.
type played struct {
	values []float64
	n      int
}

func (*played) name() string        { return "x" }
func (*played) flags(*flag.FlagSet) {}
func (p *played) run(_ context.Context, f *frame) (section, error) {
	if !f.quick || p.n == len(p.values) {
		return section{}, errors.New("it is not run quickly, or too often")
	}
	p.n++
	return section{Ratios: []compared{{"x/a", p.values[p.n-1], 0.1}}}, nil
}

// What is worse once and right in a further run is right.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		update bool
		err    string
		file   string
	}{
		{"right", []float64{2.1}, false, "", `{"x/a": 2, "y/b": 1}`},
		{"right in the end", []float64{3, 4, 2}, false, "", `{"x/a": 2, "y/b": 1}`},
		{"worse", []float64{3, 4, 5}, false, "x/a: the baseline is 2.000, measured 3.000", `{"x/a": 2, "y/b": 1}`},
		{"written anew", []float64{3, 5, 4}, true, "", "{\n  \"x/a\": 4,\n  \"y/b\": 1\n}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &frame{project: t.TempDir(), quick: true}
			path := filepath.Join(f.project, filepath.FromSlash(baselineFile))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(`{"x/a": 2, "y/b": 1}`), 0o600)); err != nil {
				t.Fatal(err)
			}
			b := &played{values: tt.values}
			err := f.check(t.Context(), []benchmark{b}, tt.update, io.Discard)
			if said := errorText(err); (err == nil) != (tt.err == "") || !strings.Contains(said, tt.err) {
				t.Errorf("got %q, want %q", said, tt.err)
			}
			text, err := os.ReadFile(path) //nolint:gosec // a folder of our own
			if err != nil || string(text) != tt.file || b.n != len(tt.values) {
				t.Errorf("%v, %d runs, %s", err, b.n, text)
			}
		})
	}
}
