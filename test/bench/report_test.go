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
func shown() []section {
	return []section{
		{
			Name:   "x",
			Tables: []table{{Title: "Times:", Head: []string{"what", "s"}, Rows: [][]string{{"a|b", "1.5"}, {"longer", "2"}}}},
			Targets: []target{
				meets("fast", "0.9", true), meets("small", "300 MB", false), {Want: "cheap", Measured: "-"},
			},
		},
		{Name: "without a table"},
	}
}

func TestMarkdown(t *testing.T) {
	want := `On this. At night.

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
	if diff := cmp.Diff(want, markdown([]string{"On this.", "At night."}, shown())); diff != "" {
		t.Error(diff)
	}
}

func TestPrintText(t *testing.T) {
	want := `On this.
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
`
	var b strings.Builder
	if err := printText(&b, []string{"On this.", "At night."}, shown()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTargetInJSON(t *testing.T) {
	raw, err := json.Marshal(shown()[0].Targets)
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
