package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// section is what came of a benchmark.
type section struct {
	// Name is the benchmark's.
	Name string
	// Title is its heading.
	Title string
	// Notes are sentences that stand above the tables.
	Notes  []string
	Tables []table
	// Ratios are what a check compares with the baseline.
	Ratios []compared
}

// table is for people.
type table struct {
	// Title says what is in it, with its units.
	Title string
	Head  []string
	Rows  [][]string
}

// printText prints sections for a terminal.
func printText(w io.Writer, sections ...section) error {
	for _, s := range sections {
		if _, err := fmt.Fprintf(w, "\n== %s\n\n%s\n", s.Title, strings.Join(s.Notes, "\n")); err != nil {
			return err
		}
		for _, t := range s.Tables {
			if _, err := fmt.Fprintf(w, "\n%s\n\n", t.Title); err != nil {
				return err
			}
			columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			for _, row := range slices.Concat([][]string{t.Head}, t.Rows) {
				_, _ = fmt.Fprintln(columns, "  "+strings.Join(row, "\t"))
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
	b.WriteString("## " + s.Title + "\n\n" + strings.Join(s.Notes, " ") + "\n")
	row := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	for _, t := range s.Tables {
		b.WriteString("\n" + t.Title + "\n\n")
		row(t.Head)
		b.WriteString(strings.Repeat("|---", len(t.Head)) + "|\n")
		for _, r := range t.Rows {
			row(r)
		}
	}
	return b.String()
}

// mergeMarkdown puts sections between the README's markers of their names.
func mergeMarkdown(text string, sections []section) (string, error) {
	for _, s := range sections {
		start, end := "<!-- bench:"+s.Name+" -->", "<!-- /bench:"+s.Name+" -->"
		before, rest, found := strings.Cut(text, start)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			return "", fmt.Errorf("%s has no %s ... %s", readmeFile, start, end)
		}
		text = before + start + "\n" + strings.TrimSpace(markdown(s)) + "\n" + end + after
	}
	return text, nil
}
