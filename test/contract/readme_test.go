package contract

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every metric of the function and every alarm on firstline itself is explained to
// whoever sees it.
func TestMetricsAndAlarmsAreDocumented(t *testing.T) {
	alarms := all(file(t, monitorFile), `(?m)^    ([a-z-]+) = \{$`)
	alarms = append(alarms, "rule-alarm-failed", "rule-canary-failed", "rule-reconcile-failed", "reconcile-missing")
	if len(alarms) != 13 {
		t.Errorf("there are %d alarms, want 13: they are written otherwise than this test reads them: %v", len(alarms), alarms)
	}
	documents := []string{"handler/README.md", "terraform/README.md"}
	var documented strings.Builder
	for _, d := range documents {
		documented.WriteString(file(t, d))
	}
	for n, name := range slices.Concat(alarms, constants(t, metricsFile, "metric")) {
		quoted := "`" + name + "`"
		if n < len(alarms) {
			quoted = "-" + name + "`" // behind the deployment's name
		}
		if !strings.Contains(documented.String(), quoted) {
			t.Errorf("none of %v names %s", documents, name)
		}
	}
}

// diagram is a Mermaid flowchart.
type diagram struct {
	// states are the labels of its nodes in brackets, sorted. Round ones are what
	// starts an execution.
	states []string
	// edges are pairs of labels.
	edges [][2]string
}

var (
	arrow = regexp.MustCompile(`\s*(?:-->|==>|-\.->|--\s[^->|]+\s-->|-\.\s[^.|]+\s\.->)(?:\|[^|]*\|)?\s*`)
	node  = regexp.MustCompile(`^(\w+)(.*)$`)
)

func parseMermaid(text string) (d diagram) {
	labels := map[string]string{}
	var edges [][2]string
	for line := range strings.Lines(text) {
		var from string
		for n, part := range arrow.Split(strings.TrimSpace(line), -1) {
			m := node.FindStringSubmatch(strings.TrimSpace(part))
			if m == nil || m[2] != "" && !strings.ContainsAny(m[2][:1], "[({") {
				break // a keyword's line
			}
			if label := strings.Trim(m[2], "[]{}()/\\\""); label != "" {
				if labels[m[1]] = label; !strings.HasPrefix(m[2], "((") {
					d.states = append(d.states, label)
				}
			}
			if n > 0 {
				edges = append(edges, [2]string{from, m[1]})
			}
			from = m[1]
		}
	}
	for _, e := range edges {
		d.edges = append(d.edges, [2]string{labels[e[0]], labels[e[1]]})
	}
	slices.Sort(d.states)
	d.states = slices.Compact(d.states)
	return d
}

func TestParseMermaid(t *testing.T) {
	got := parseMermaid("flowchart TD\n  start((alarm)) --> a\n  a[\"Open\"] --> b{\"What next?\"}\n  b -- page --> c[Page] --> e([Told])\n  b -->|wait| w[/\"Wait\"/]\n  c -. error .-> e\n")
	want := diagram{
		states: []string{"Open", "Page", "Told", "Wait", "What next?"},
		edges:  [][2]string{{"alarm", "Open"}, {"Open", "What next?"}, {"What next?", "Page"}, {"Page", "Told"}, {"What next?", "Wait"}, {"Page", "Told"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(diagram{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The README's diagram has the definition's states, and no way that the definition
// has not.
func TestREADMEDrawsTheDefinition(t *testing.T) {
	_, rest, found := strings.Cut(file(t, "README.md"), "```mermaid\n")
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("README.md has no Mermaid block")
	}
	m, _ := definition(t)
	d := parseMermaid(text)
	names := m.Names()
	slices.Sort(names)
	if diff := cmp.Diff(names, d.states); diff != "" {
		t.Errorf("states (-definition +README.md):\n%s", diff)
	}
	for _, e := range d.edges {
		from, ok := m.States[e[0]]
		if ok && !slices.Contains(from.Targets(), e[1]) {
			t.Errorf("README.md draws a way from %q to %q, which the definition has not", e[0], e[1])
		}
	}
}
