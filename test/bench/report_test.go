package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var shown = section{
	Name: "growth", Title: "Growth", Notes: []string{"On this.", "At night."},
	Tables: []table{{Title: "Times:", Head: []string{"what", "s"}, Rows: [][]string{{"a|b", "1.5"}, {"longer", "2"}}}},
}

func TestPrintText(t *testing.T) {
	var out bytes.Buffer
	if err := printText(&out, shown); err != nil {
		t.Fatal(err)
	}
	const want = "\n== Growth\n\nOn this.\nAt night.\n\nTimes:\n\n  what    s\n  a|b     1.5\n  longer  2\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestMergeMarkdown(t *testing.T) {
	const want = "before\n<!-- bench:growth -->\n## Growth\n\nOn this. At night.\n\nTimes:\n\n| what | s |\n|---|---|\n| a\\|b | 1.5 |\n| longer | 2 |\n<!-- /bench:growth -->\nafter\n"
	for _, text := range []string{"before\n<!-- bench:growth --><!-- /bench:growth -->\nafter\n", want} {
		if got, err := mergeMarkdown(text, []section{shown}); err != nil || got != want {
			t.Errorf("%v\n%s", err, cmp.Diff(want, got))
		}
	}
	for _, text := range []string{"", "<!-- bench:growth -->", "<!-- /bench:growth --><!-- bench:growth -->"} {
		if _, err := mergeMarkdown(text, []section{shown}); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
