package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReplaceBetween(t *testing.T) {
	const start, end = "<!-- a -->", "<!-- b -->"
	for _, tt := range []struct{ name, text, want, err string }{
		{"what was there", "before\n<!-- a -->\nold\nold\n<!-- b -->\nafter\n", "before\n<!-- a -->\nnew\n<!-- b -->\nafter\n", ""},
		{"nothing there yet", "<!-- a --><!-- b -->", "<!-- a -->\nnew\n<!-- b -->", ""},
		{"the same again", "<!-- a -->\nnew\n<!-- b -->\n", "<!-- a -->\nnew\n<!-- b -->\n", ""},
		{"none", "text", "", "it has <!-- a --> 0 times, wanted is once"},
		{"no end", "<!-- a -->\ntext", "", "it has <!-- b --> 0 times, wanted is once"},
		{"two", "<!-- a --><!-- b --><!-- a -->", "", "it has <!-- a --> 2 times, wanted is once"},
		{"the wrong way round", "<!-- b --><!-- a -->", "", "<!-- b --> comes before <!-- a -->"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := replaceBetween(tt.text, start, end, "\nnew\n")
			if said := errorText(err); got != tt.want || said != tt.err {
				t.Errorf("got %q, %q; want %q, %q", got, said, tt.want, tt.err)
			}
		})
	}
}

// shown is a section with everything in it.
func shown() section {
	return section{
		Name: "growth", Title: "Growth", Notes: []string{"On this.", "At night."},
		Figures: map[string]int{"n": 1},
		Tables:  []table{{Title: "Times:", Head: []string{"what", "s"}, Rows: [][]string{{"a|b", "1.5"}, {"longer", "2"}}}},
		Targets: []target{
			meets("fast", "0.9", true), meets("small", "300 MB", false), {Want: "cheap", Measured: "-"},
		},
		Ratios: []compared{{"growth/x", 1.23456, 0.1}},
	}
}

func TestMarkdown(t *testing.T) {
	want := `### Growth

On this. At night.

Times:

| what | s |
|---|---|
| a\|b | 1.5 |
| longer | 2 |

What was to be reached:

| target | measured | met |
|---|---|---|
| fast | 0.9 | yes |
| small | 300 MB | **no** |
| cheap | - | not measured |
`
	if diff := cmp.Diff(want, markdown(shown())); diff != "" {
		t.Error(diff)
	}
}

func TestPrintText(t *testing.T) {
	want := `== Growth

On this.
At night.

Times:

  what    s
  a|b     1.5
  longer  2

What was to be reached:

  target  measured  met
  fast    0.9       yes
  small   300 MB    no
  cheap   -         not measured

== Nothing

`
	var b strings.Builder
	if err := printText(&b, []section{shown(), {Name: "nothing", Title: "Nothing"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// A run of some leaves what is known of the others.
func TestMergeMarkdown(t *testing.T) {
	all := []benchmark{&growth{}, &rollout{}}
	text := "before\n" + startMarker + "\n<!-- bench:rollout -->\n### Old\n\nkept\n\n<!-- bench:gone -->\n### Gone\n\n<!-- bench:growth -->\n### Old\n" + endMarker + "\nafter\n"
	want := "before\n" + startMarker + "\n<!-- bench:growth -->\n### Growth\n\nnew\n\n<!-- bench:rollout -->\n### Old\n\nkept\n" + endMarker + "\nafter\n"
	got, err := mergeMarkdown(text, all, []section{{Name: "growth", Title: "Growth", Notes: []string{"new"}}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if again, err := mergeMarkdown(got, all, nil); err != nil || again != got {
		t.Errorf("nothing new changes it: %v\n%s", err, cmp.Diff(got, again))
	}
	if _, err := mergeMarkdown("no markers", all, nil); err == nil {
		t.Error("a README without markers is no error")
	}
}

func TestMergeFigures(t *testing.T) {
	all := []benchmark{&growth{}, &rollout{}}
	old := `{"benchmarks": {"rollout": {"figures": {"kept": 1}}, "gone": {"figures": {}}, "growth": {"figures": {"old": 1}}}}`
	got, err := mergeFigures([]byte(old), all, []section{shown()})
	if err != nil {
		t.Fatal(err)
	}
	var read struct{ Benchmarks map[string]written }
	if err := json.Unmarshal(got, &read); err != nil {
		t.Fatal(err)
	}
	want := map[string]written{
		"rollout": {Figures: map[string]any{"kept": 1.0}},
		"growth":  {Figures: map[string]any{"n": 1.0}, Ratios: map[string]float64{"growth/x": 1.235}, Targets: shown().Targets},
	}
	if diff := cmp.Diff(want, read.Benchmarks); diff != "" {
		t.Error(diff)
	}
	if _, err := mergeFigures([]byte("{"), all, nil); err == nil {
		t.Error("a broken file is no error")
	}
}

func TestTargetInJSON(t *testing.T) {
	raw, err := json.Marshal(shown().Targets)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"want":"fast","measured":"0.9","met":true},{"want":"small","measured":"300 MB","met":false},{"want":"cheap","measured":"-","met":null}]`
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Error(diff)
	}
}

func TestMachineSaysNoMoreThanItShould(t *testing.T) {
	m := machine{Date: "2026-11-22", Cores: 2, MemoryBytes: 25_276_788_736, Kernel: "Linux 6.8.0", Go: "go1.26.0", Terraform: "1.11.4", Provider: "5.100.0"}
	want := "Measured on 2026-11-22 on 2 cores with 25 GB of memory, Linux 6.8.0, go1.26.0, Terraform 1.11.4, AWS provider 5.100.0."
	if got := m.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
