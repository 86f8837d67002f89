// Package definition reads the Amazon States Language definitions, to test them
// and to draw them.
package definition

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Places of the definitions in the project.
const (
	// File is that of the state machine that handles an incident.
	File = "terraform/modules/workflow/responder.asl.json"
	// AllClearFile is that of the state machine that gives the all-clear.
	AllClearFile = "terraform/modules/workflow/all-clear.asl.json"
)

// Definition is a state machine.
type Definition struct {
	StartAt string
	States  map[string]State
}

// State is one state, with the fields that the definition uses.
type State struct {
	Type           string
	Resource       string
	Next           string
	Default        string
	TimeoutSeconds int
	Parameters     map[string]json.RawMessage
	Result         json.RawMessage
	ResultPath     string
	Choices        []Choice
	Retry          []Retrier
	Catch          []Catcher
	SecondsPath    string
}

// Choice is a rule of a Choice state.
type Choice struct {
	Next                           string
	Variable                       string
	And                            []Choice
	IsPresent                      *bool
	BooleanEquals                  *bool
	StringEquals                   *string
	NumericEquals                  *float64
	NumericGreaterThanEquals       *float64
	TimestampGreaterThanEqualsPath string
}

// Retrier is an entry of a state's Retry.
type Retrier struct {
	ErrorEquals     []string
	IntervalSeconds float64
	BackoffRate     float64
	MaxAttempts     *int
	MaxDelaySeconds float64
	JitterStrategy  string
}

// Catcher is an entry of a state's Catch.
type Catcher struct {
	ErrorEquals []string
	ResultPath  string
	Next        string
}

// Read reads a definition, such as File, of the project in root.
func Read(root, file string) (*Definition, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file))) //nolint:gosec // the project's own file
	if err != nil {
		return nil, err
	}
	return Parse(text)
}

// Parse decodes a definition.
func Parse(text []byte) (*Definition, error) {
	d := new(Definition)
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("definition: %w", err)
	}
	return d, nil
}

// Step returns the step that a Task invokes the function with, "" for none: it
// calls another service then.
func (s State) Step() string {
	var payload struct {
		Step string `json:"step"`
	}
	if err := json.Unmarshal(s.Parameters["Payload"], &payload); err != nil {
		return ""
	}
	return payload.Step
}

// Edge leads from a state to another.
type Edge struct {
	From, To string
	// Kind is "next", "choice", "default" or "catch".
	Kind string
}

// Edges returns where a state leads to, in the definition's order.
func (d *Definition) Edges(name string) []Edge {
	s := d.States[name]
	var edges []Edge
	add := func(to, kind string) {
		if to != "" {
			edges = append(edges, Edge{From: name, To: to, Kind: kind})
		}
	}
	add(s.Next, "next")
	for _, c := range s.Choices {
		add(c.Next, "choice")
	}
	add(s.Default, "default")
	for _, c := range s.Catch {
		add(c.Next, "catch")
	}
	return edges
}

// Names returns the states' names in the order in which a walk from the start
// comes to them.
func (d *Definition) Names() []string {
	var names []string
	for queue := []string{d.StartAt}; len(queue) > 0; queue = queue[1:] {
		if slices.Contains(names, queue[0]) {
			continue
		}
		names = append(names, queue[0])
		for _, e := range d.Edges(queue[0]) {
			queue = append(queue, e.To)
		}
	}
	return names
}

// Mermaid draws the definition as a Mermaid flowchart that begins with what starts
// it.
func (d *Definition) Mermaid(starters ...string) string {
	names := d.Names()
	id := map[string]string{}
	for n, name := range names {
		id[name] = fmt.Sprintf("s%d", n)
	}
	shape := map[string]string{
		"Task": `["%s"]`, "Choice": `{"%s"}`, "Wait": `[/"%s"/]`, "Pass": `("%s")`, "Succeed": `(["%s"])`, "Fail": `[["%s"]]`,
	}
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for n, starter := range starters {
		node := "start"
		if n > 0 {
			node += fmt.Sprint(n + 1)
		}
		fmt.Fprintf(&b, "    %s((%s)) --> %s\n", node, starter, id[d.StartAt])
	}
	for _, name := range names {
		fmt.Fprintf(&b, "    %s"+cmp.Or(shape[d.States[name].Type], `["%s"]`)+"\n", id[name], name)
	}
	for _, name := range names {
		drawn := map[string]bool{}
		for _, e := range d.Edges(name) {
			arrow := "-->"
			if e.Kind == "catch" {
				arrow = "-. error .->"
			}
			line := fmt.Sprintf("    %s %s %s\n", id[e.From], arrow, id[e.To])
			if !drawn[line] {
				b.WriteString(line)
				drawn[line] = true
			}
		}
	}
	return b.String()
}
