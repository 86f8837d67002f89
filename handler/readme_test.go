package handler

import (
	"os"
	"strings"
	"testing"

	"firstline/internal/incident"
)

// The README's table is the one above policy's rows.
func TestREADMEHasThePolicysTable(t *testing.T) {
	source, err := os.ReadFile("../internal/policy/policy.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, comment, found := strings.Cut(string(source), "// rows is the table.")
	comment, _, ended := strings.Cut(comment, "var rows =")
	if !found || !ended {
		t.Fatal("internal/policy/policy.go has no comment above rows")
	}
	var table []string
	for line := range strings.Lines(comment) {
		if row, ok := strings.CutPrefix(line, "//\t"); ok {
			table = append(table, row)
		}
	}
	if len(table) < 12 || !strings.Contains(string(readme), "```\n"+strings.Join(table, "")+"```\n") {
		t.Errorf("README.md does not have this table:\n%s", strings.Join(table, ""))
	}
}

func TestREADMENamesEachWord(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range append(Steps(), incident.Nexts...) {
		if !strings.Contains(string(readme), "`"+word+"`") {
			t.Errorf("README.md does not name %q", word)
		}
	}
}
