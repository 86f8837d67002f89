package asl

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rule is one rule of a Choice state, or a part of one.
type Rule struct {
	// Next is empty in a part.
	Next string
	// And, Or and Not combine parts; at most one of them is set.
	And, Or []Rule
	Not     *Rule
	// Variable is compared with Operator and Operand where none is set.
	Variable string
	Operator string
	Operand  any

	path path
}

// test compares a variable that exists with an operand.
type test func(got, want any) bool

func isType[T any](got, want any) bool {
	_, ok := got.(T)
	return ok == (want == true)
}

func equal[T comparable](got, want any) bool {
	g, ok := got.(T)
	return ok && g == want.(T)
}

func numeric(holds func(got, want float64) bool) test {
	return func(got, want any) bool {
		g, ok := got.(json.Number)
		return ok && holds(number(g), number(want.(json.Number)))
	}
}

// number is NaN-free: decode made sure that it is a JSON number.
func number(n json.Number) float64 {
	f, _ := n.Float64()
	return f
}

// operators are the comparisons that are known, by the type of their operand.
// IsPresent is not among them since it is asked of what does not exist, too.
var operators = map[string]struct {
	kind string
	test test
}{
	"IsNumeric":                {"boolean", isType[json.Number]},
	"IsString":                 {"boolean", isType[string]},
	"IsBoolean":                {"boolean", isType[bool]},
	"StringEquals":             {"string", equal[string]},
	"BooleanEquals":            {"boolean", equal[bool]},
	"NumericEquals":            {"number", numeric(func(g, w float64) bool { return g == w })},
	"NumericGreaterThanEquals": {"number", numeric(func(g, w float64) bool { return g >= w })},
	"NumericLessThanEquals":    {"number", numeric(func(g, w float64) bool { return g <= w })},
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	}
	return "another type"
}

// parseRule parses a rule; top says whether it is a whole one, which leads to
// a state.
func parseRule(v any, top bool) (Rule, error) {
	fields, ok := v.(map[string]any)
	if !ok {
		return Rule{}, errors.New("a rule is an object")
	}
	fields = maps.Clone(fields)
	var r Rule
	if top {
		if r.Next, _ = fields["Next"].(string); r.Next == "" {
			return r, errors.New("a rule needs Next")
		}
		delete(fields, "Next")
		delete(fields, "Comment")
	}
	var err error
	switch {
	case fields["And"] != nil:
		r.And, err = parseParts(fields["And"])
		delete(fields, "And")
	case fields["Or"] != nil:
		r.Or, err = parseParts(fields["Or"])
		delete(fields, "Or")
	case fields["Not"] != nil:
		var part Rule
		part, err = parseRule(fields["Not"], false)
		r.Not = &part
		delete(fields, "Not")
	default:
		return r, r.comparison(fields)
	}
	if err == nil && len(fields) > 0 {
		err = fmt.Errorf("unknown fields %s beside a combination", sortedKeys(fields))
	}
	return r, err
}

func parseParts(v any) ([]Rule, error) {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil, errors.New("a combination needs a list of rules")
	}
	parts := make([]Rule, len(list))
	for n, item := range list {
		var err error
		if parts[n], err = parseRule(item, false); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func (r *Rule) comparison(fields map[string]any) error {
	r.Variable, _ = fields["Variable"].(string)
	var err error
	if r.path, err = parsePath(r.Variable); err != nil {
		return fmt.Errorf("the variable: %w", err)
	}
	delete(fields, "Variable")
	if len(fields) != 1 {
		return fmt.Errorf("%s: one operator is needed, not %s", r.Variable, sortedKeys(fields))
	}
	for r.Operator, r.Operand = range fields {
	}
	if r.Operator == "IsPresent" {
		if r.Operand != true {
			return fmt.Errorf(`%s: engines differ on "IsPresent": %v; put Not around "IsPresent": true`, r.Variable, r.Operand)
		}
		return nil
	}
	known, ok := operators[r.Operator]
	if !ok {
		return fmt.Errorf("%s: the operator %s is unknown", r.Variable, r.Operator)
	}
	if got := kindOf(r.Operand); got != known.kind {
		return fmt.Errorf("%s: %s needs a %s and has %s", r.Variable, r.Operator, known.kind, got)
	}
	return nil
}

func sortedKeys(m map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// holds reports whether the rule matches; find reads a path. An error means that
// it compares what does not exist, which no Catch catches.
func (r *Rule) holds(find func(path) ([]byte, bool)) (bool, error) {
	switch {
	case r.And != nil:
		return all(r.And, find, true)
	case r.Or != nil:
		any, err := all(r.Or, find, false)
		return !any, err
	case r.Not != nil:
		holds, err := r.Not.holds(find)
		return !holds, err
	}
	got, there := find(r.path)
	if r.Operator == "IsPresent" {
		return there, nil
	}
	if !there {
		return false, fmt.Errorf("variable %s does not exist in the input", r.Variable)
	}
	return operators[r.Operator].test(scalar(got), r.Operand), nil
}

// scalar is a value to compare; an object or a list is equal to nothing.
func scalar(raw []byte) any {
	switch raw[0] {
	case '{', '[', 'n':
		return nil
	case 't', 'f':
		return raw[0] == 't'
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			panic(err) // a part of what is valid
		}
		return s
	}
	return json.Number(raw)
}

// all reports whether every rule's outcome is want. It asks no further than it
// has to, as Step Functions does.
func all(rules []Rule, find func(path) ([]byte, bool), want bool) (bool, error) {
	for n := range rules {
		holds, err := rules[n].holds(find)
		if err != nil || holds != want {
			return false, err
		}
	}
	return true, nil
}

// Walk calls f with the rule and every part of it.
func (r *Rule) Walk(f func(*Rule)) {
	f(r)
	for _, parts := range [][]Rule{r.And, r.Or} {
		for n := range parts {
			parts[n].Walk(f)
		}
	}
	if r.Not != nil {
		r.Not.Walk(f)
	}
}
