package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// The figures of the README are between these, each benchmark's behind a marker
// with its name.
const (
	startMarker = "<!-- bench:start -->"
	endMarker   = "<!-- bench:end -->"
)

// partMarker begins a benchmark's part.
var partMarker = regexp.MustCompile(`(?m)^<!-- bench:([a-z0-9]+) -->$`)

// section is what came of a benchmark.
type section struct {
	// Name is the benchmark's.
	Name string
	// Title is its heading.
	Title string
	// Machine is where it was measured; the frame fills it in.
	Machine machine
	// Notes are sentences that stand above the tables.
	Notes   []string
	Figures any
	Tables  []table
	Targets []target
	// Ratios are what a check compares with the baseline.
	Ratios []compared
}

// notes are all sentences above the tables.
func (s section) notes() []string {
	if s.Machine == (machine{}) {
		return s.Notes
	}
	return slices.Concat([]string{s.Machine.String()}, s.Notes)
}

// all are the tables, that of the targets last.
func (s section) all() []table {
	if len(s.Targets) == 0 {
		return s.Tables
	}
	return append(slices.Clone(s.Tables), targetTable(s.Targets))
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

// printText prints all for a terminal.
func printText(w io.Writer, sections []section) error {
	for i, s := range sections {
		gap := ""
		if i > 0 {
			gap = "\n"
		}
		if _, err := fmt.Fprintf(w, "%s== %s\n\n", gap, s.Title); err != nil {
			return err
		}
		for _, n := range s.notes() {
			if _, err := fmt.Fprintln(w, n); err != nil {
				return err
			}
		}
		for _, t := range s.all() {
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
	}
	return nil
}

// markdown is a section for the README.
func markdown(s section) string {
	var b strings.Builder
	b.WriteString("### " + s.Title + "\n\n" + strings.Join(s.notes(), " ") + "\n")
	row := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	for _, t := range s.all() {
		b.WriteString("\n" + t.Title + "\n\n")
		row(t.Head)
		b.WriteString(strings.Repeat("|---", len(t.Head)) + "|\n")
		for _, r := range t.Rows {
			row(r)
		}
	}
	return b.String()
}

// mergeMarkdown puts the sections of a run between the README's markers. The
// other benchmarks' parts stay, in the order of all; those of benchmarks that are
// no more go.
func mergeMarkdown(text string, all []benchmark, sections []section) (string, error) {
	old, err := between(text, startMarker, endMarker)
	if err != nil {
		return "", err
	}
	parts := map[string]string{}
	places := partMarker.FindAllStringSubmatchIndex(old, -1)
	for i, p := range places {
		end := len(old)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		parts[old[p[2]:p[3]]] = old[p[1]:end]
	}
	for _, s := range sections {
		parts[s.Name] = markdown(s)
	}
	var b strings.Builder
	for _, bench := range all {
		if part, ok := parts[bench.name()]; ok {
			fmt.Fprintf(&b, "<!-- bench:%s -->\n%s\n\n", bench.name(), strings.TrimSpace(part))
		}
	}
	return replaceBetween(text, startMarker, endMarker, b.String())
}

// between returns what stands between two markers. It is an error when either is
// missing, stands more than once, or the end comes first.
func between(text, start, end string) (string, error) {
	for _, m := range []string{start, end} {
		if n := strings.Count(text, m); n != 1 {
			return "", fmt.Errorf("it has %s %d times, wanted is once", m, n)
		}
	}
	_, rest, _ := strings.Cut(text, start)
	inside, _, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("%s comes before %s", end, start)
	}
	return inside, nil
}

// replaceBetween replaces the lines between two markers, and fails as between
// does.
func replaceBetween(text, start, end, content string) (string, error) {
	if _, err := between(text, start, end); err != nil {
		return "", err
	}
	before, rest, _ := strings.Cut(text, start)
	_, after, _ := strings.Cut(rest, end)
	return before + start + "\n" + strings.TrimSpace(content) + "\n" + end + after, nil
}
