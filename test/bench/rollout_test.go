package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCounts(t *testing.T) {
	for _, tt := range []struct {
		text string
		want counts
		err  string
	}{
		{"1", counts{1}, ""},
		{"1, 5,10", counts{1, 5, 10}, ""},
		{"", nil, `"" is not a number of 1 or more`},
		{"1,0", counts{1}, `"0" is not a number of 1 or more`},
		{"many", nil, `"many" is not a number of 1 or more`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got := counts{9}
			if said := errorText(got.Set(tt.text)); said != tt.err {
				t.Errorf("got %q, want %q", said, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := (&counts{1, 5}).String(); got != "1,5" {
		t.Errorf("got %q", got)
	}
}

func TestRolloutRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-regions 18", "18 is more than the 17 regions"},
		{"-parallelism-regions 18", "18 is more than the 17 regions"},
		{"-repeat 0", "-repeat and -same are 1 or more"},
		{"-same -1", "-repeat and -same are 1 or more"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var b rollout
			flags := flag.NewFlagSet("bench", flag.ContinueOnError)
			flags.SetOutput(io.Discard)
			b.flags(flags)
			if err := flags.Parse(strings.Fields(tt.args)); err != nil {
				t.Fatal(err)
			}
			if _, err := b.run(t.Context(), &frame{log: io.Discard}); !strings.Contains(errorText(err), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCommandLines(t *testing.T) {
	const dir = "/root"
	line := func(lines [][]string) string {
		var all []string
		for _, l := range lines {
			all = append(all, strings.Join(l, " "))
		}
		return strings.Join(all, "; ")
	}
	for _, tt := range []struct{ name, terraform, firstline, byDefault string }{
		{
			"", "init -input=false -no-color; plan -input=false -no-color -parallelism=10 -out=w -target=module.eu-west-1",
			"plan --region eu-west-1 --dir /root --parallelism 10", "plan --region eu-west-1 --dir /root",
		},
		{plan, "plan -input=false -no-color -parallelism=10 -out=p", "plan --dir /root --parallelism 10", "plan --dir /root"},
		{
			deploy, "plan -input=false -no-color -parallelism=10 -out=p; apply -input=false -no-color -parallelism=10 p",
			"deploy --yes --verify=false --dir /root --parallelism 10", "deploy --yes --verify=false --dir /root",
		},
		{
			destroy, "plan -input=false -no-color -parallelism=10 -out=d -destroy; apply -input=false -no-color -parallelism=10 d",
			"destroy --yes --dir /root --parallelism 10", "destroy --yes --dir /root",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := []string{
				line(variant{parallelism: 10}.terraform(tt.name, dir, "eu-west-1")),
				line(variant{parallelism: 10}.rollout(tt.name, dir, "eu-west-1")),
				line(variant{}.rollout(tt.name, dir, "eu-west-1")),
			}
			if diff := cmp.Diff([]string{tt.terraform, tt.firstline, tt.byDefault}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// used is a usage of so many seconds, half of them of the CPU.
func used(seconds float64, bytes int64) usage {
	return usage{Seconds: seconds, CPUSeconds: round(seconds / 2), PeakBytes: bytes}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		name string
		all  []usage
		want usage
	}{
		{"none", nil, usage{}},
		{"one", []usage{{Seconds: 1.2345, CPUSeconds: 0.2344, PeakBytes: 5}}, usage{Seconds: 1.235, CPUSeconds: 0.234, PeakBytes: 5}},
		{"each by itself", []usage{used(3, 10), used(1, 30), used(2, 20)}, used(2, 20)},
		{"an even number", []usage{used(4, 10), used(1, 30), used(2, 20), used(3, 40)}, used(2.5, 25)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, median(tt.all)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUsageOfTwoCommandsInARow(t *testing.T) {
	if got, want := used(1, 50).add(used(2, 40)), used(3, 50); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// took is a trial whose three commands take as long, and as much, as told.
func took(resources int, seconds float64, bytes int64) trial {
	return trial{resources: resources, took: map[string]usage{plan: used(seconds, bytes), deploy: used(10*seconds, bytes), destroy: used(5*seconds, bytes)}}
}

func TestCompare(t *testing.T) {
	got, err := compare(5, rolloutCommands, []trial{took(100, 2, 1000), took(100, 4, 3000)}, []trial{took(100, 3.3, 2500)}, []trial{took(100, 1.5, 1900)})
	if err != nil {
		t.Fatal(err)
	}
	want := sizeFigures{Regions: 5, Resources: 100, Commands: []commandFigures{
		{plan, used(3, 2000), used(3.3, 2500), used(1.5, 1900), 1.1, 0.5, 500},
		{deploy, used(30, 2000), used(33, 2500), used(15, 1900), 1.1, 0.5, 500},
		{destroy, used(15, 2000), used(16.5, 2500), used(7.5, 1900), 1.1, 0.5, 500},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err = compare(5, rolloutCommands, []trial{took(100, 2, 0)}, []trial{took(99, 2, 0)}, []trial{took(100, 2, 0)})
	if want := "5 regions: one deployed 100 resources, another 99: not the same was measured"; errorText(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestTargets(t *testing.T) {
	size := func(regions int, ratio float64, more int64, seconds float64) sizeFigures {
		return sizeFigures{Regions: regions, Commands: []commandFigures{
			{Command: plan, Terraform: used(1, 1), Ratio: 1, MoreBytes: -5e6},
			{Command: deploy, Terraform: used(1, 1), Ratio: ratio, MoreBytes: more, Default: usage{Seconds: seconds}},
		}}
	}
	for _, tt := range []struct {
		name string
		of   rolloutFigures
		want []string
	}{
		{"nothing was measured", rolloutFigures{}, []string{"-: not measured", "-: not measured", "-: not measured", "-: not measured"}},
		{
			"all met, if only just",
			rolloutFigures{Roots: 3, ProviderCopies: 1, Sizes: []sizeFigures{size(1, 1.10, 100e6, 30), size(10, 1.02, 3e6, 59)}},
			[]string{
				"at worst 1.100 (deploy, 1 region): yes", "at most +100 MB (deploy, 1 region): yes",
				"1.967 (59.0 s and 30.0 s, at firstline's own parallelism): yes", "copies in 3 roots: 1: yes",
			},
		},
		{
			"none met",
			rolloutFigures{Roots: 3, ProviderCopies: 2, Sizes: []sizeFigures{size(1, 1.02, 3e6, 30), size(10, 1.101, 101e6, 60)}},
			[]string{
				"at worst 1.101 (deploy, 10 regions): **no**", "at most +101 MB (deploy, 10 regions): **no**",
				"2.000 (60.0 s and 30.0 s, at firstline's own parallelism): **no**", "copies in 3 roots: 2: **no**",
			},
		},
		{
			"no memory, and one size",
			rolloutFigures{Roots: 1, Sizes: []sizeFigures{{Regions: 1, Commands: []commandFigures{{Command: plan, Terraform: usage{Seconds: 1}, Ratio: 1}}}}},
			[]string{"at worst 1.000 (plan, 1 region): yes", "-: not measured", "-: not measured", "copies in 1 roots: 0: yes"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdicts(tt.of.targets())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRolloutTables(t *testing.T) {
	of := rolloutFigures{
		Parallelism: 10, SweepRegions: 10,
		Sizes: []sizeFigures{{Regions: 5, Resources: 100, Commands: []commandFigures{
			{deploy, used(30, 1000e6), used(31.54, 1050e6), used(25, 1060e6), 1.05, 0.83, 50e6},
			{destroy, used(30, 0), used(31.54, 0), used(25, 0), 1.05, 0.83, 0},
		}}},
		Sweep: []sweepFigure{{40, used(38, 1500e6), used(27.5, 1500e6), 0.8}},
	}
	var rows [][]string
	for _, table := range of.tables() {
		for _, r := range table.Rows {
			if len(r) != len(table.Head) {
				t.Errorf("%d cells below %d heads: %v", len(r), len(table.Head), r)
			}
		}
		rows = append(rows, table.Rows...)
	}
	want := [][]string{
		{"5", "100", "deploy", "30.0", "31.5", "1.05", "1000", "1050", "+50", "25.0", "0.83", "1060"},
		{"5", "100", "destroy", "30.0", "31.5", "1.05", "-", "-", "-", "25.0", "0.83", "-"},
		{"40", "38.0", "0.80", "27.5", "1500"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}

func TestRolloutRatiosAreOfPlans(t *testing.T) {
	of := rolloutFigures{Sizes: []sizeFigures{{Regions: 5, Commands: []commandFigures{
		{Command: plan, Terraform: used(30, 1000), Firstline: used(33, 1100)},
		{Command: deploy, Terraform: used(30, 1000), Firstline: used(60, 1100)},
	}}}}
	want := []compared{
		{"rollout/plan/5/cpu", 1.1, cpuMargin},
		{"rollout/plan/5/memory", 1.1, memoryMargin},
	}
	if diff := cmp.Diff(want, of.ratios()); diff != "" {
		t.Error(diff)
	}
}

func TestManaged(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name, path string
		want       int
		err        string
	}{
		{"none", filepath.Join(dir, "nowhere"), 0, ""},
		{"empty", write("a", `{"version": 4, "resources": []}`), 0, ""},
		{
			"some", write("b", `{"resources": [{"mode": "managed", "instances": [{}, {}]}, {"mode": "data", "instances": [{}]}, {"mode": "managed", "instances": [{}]}]}`),
			3, "",
		},
		{"broken", write("c", `{`), 0, "c: unexpected end of JSON input"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := managed(tt.path)
			if said := errorText(err); got != tt.want || said != tt.err {
				t.Errorf("got %d, %q; want %d, %q", got, said, tt.want, tt.err)
			}
		})
	}
}

func TestProviderCopies(t *testing.T) {
	const name = "terraform-provider-aws_v5.100.0_x5"
	for _, tt := range []struct {
		name string
		make func(mirror, dir string) error
		want int
	}{
		{"nothing", func(_, _ string) error { return nil }, 0},
		{"a link to the folder", func(mirror, dir string) error { return os.Symlink(mirror, filepath.Join(dir, "linux")) }, 0},
		{"a link to the file", func(mirror, dir string) error {
			return os.Symlink(filepath.Join(mirror, name), filepath.Join(dir, name))
		}, 0},
		{"a hard link to it", func(mirror, dir string) error { return os.Link(filepath.Join(mirror, name), filepath.Join(dir, name)) }, 0},
		{"a copy", func(_, dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600) }, 1},
		{"one copy by two names, and one more", func(_, dir string) error {
			for _, n := range []string{name, "terraform-provider-aws"} {
				if err := os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o600); err != nil {
					return err
				}
			}
			return os.Link(filepath.Join(dir, name), filepath.Join(dir, name+"-too"))
		}, 2},
		{"another provider", func(_, dir string) error {
			return os.WriteFile(filepath.Join(dir, "terraform-provider-random"), []byte("x"), 0o600)
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mirror, dir := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(mirror, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			below := filepath.Join(dir, "providers", "aws")
			if err := os.MkdirAll(below, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(mirror, below); err != nil {
				t.Fatal(err)
			}
			if got, err := providerCopies(dir); err != nil || got != tt.want {
				t.Errorf("got %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}
