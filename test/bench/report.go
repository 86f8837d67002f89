package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// The table of the README is between these.
const (
	startMarker = "<!-- bench:start -->"
	endMarker   = "<!-- bench:end -->"
)

// section is what came of a benchmark.
type section struct {
	// Name names its figures in the JSON.
	Name    string
	Figures any
	Tables  []table
	Targets []target
}

// table is for people.
type table struct {
	// Title says what is in it, with its units.
	Title string
	Head  []string
	Rows  [][]string
}

// target is what is to be reached.
type target struct {
	Want     string `json:"want"`
	Measured string `json:"measured"`
	// Met is nil when this run did not measure it.
	Met *bool `json:"met"`
}

// meets is a target that was measured.
func meets(want, measured string, met bool) target {
	return target{Want: want, Measured: measured, Met: &met}
}

func (t target) verdict() string {
	switch {
	case t.Met == nil:
		return "not measured"
	case *t.Met:
		return "yes"
	}
	return "**no**"
}

// targetTable shows the targets of a section.
func targetTable(targets []target) table {
	t := table{Title: "What was to be reached:", Head: []string{"target", "measured", "met"}}
	for _, g := range targets {
		t.Rows = append(t.Rows, []string{g.Want, g.Measured, g.verdict()})
	}
	return t
}

// tables are all tables of all sections, the targets last.
func tables(sections []section) (all []table) {
	var targets []target
	for _, s := range sections {
		all = append(all, s.Tables...)
		targets = append(targets, s.Targets...)
	}
	if len(targets) > 0 {
		all = append(all, targetTable(targets))
	}
	return all
}

// printText prints all for a terminal.
func printText(w io.Writer, notes []string, sections []section) error {
	for _, n := range notes {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	for _, t := range tables(sections) {
		if _, err := fmt.Fprintf(w, "\n%s\n\n", t.Title); err != nil {
			return err
		}
		columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range slices.Concat([][]string{t.Head}, t.Rows) {
			_, _ = fmt.Fprintln(columns, "  "+strings.ReplaceAll(strings.Join(row, "\t"), "**", ""))
		}
		if err := columns.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// markdown is all of it for the README.
func markdown(notes []string, sections []section) string {
	var b strings.Builder
	b.WriteString(strings.Join(notes, " ") + "\n")
	row := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	for _, t := range tables(sections) {
		b.WriteString("\n" + t.Title + "\n\n")
		row(t.Head)
		b.WriteString(strings.Repeat("|---", len(t.Head)) + "|\n")
		for _, r := range t.Rows {
			row(r)
		}
	}
	return b.String()
}

// replaceBetween replaces the lines between two markers. It is an error when
// either is missing, stands more than once, or the end comes first.
func replaceBetween(text, start, end, content string) (string, error) {
	for _, m := range []string{start, end} {
		if n := strings.Count(text, m); n != 1 {
			return "", fmt.Errorf("it has %s %d times, wanted is once", m, n)
		}
	}
	before, rest, _ := strings.Cut(text, start)
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("%s comes before %s", end, start)
	}
	return before + start + "\n" + strings.TrimSpace(content) + "\n" + end + after, nil
}
