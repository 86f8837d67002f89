package asl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// path is a reference path: "$", "$.a.b", or "$$.a.b" into the context object.
type path struct {
	context bool
	fields  []string
}

var pathForm = regexp.MustCompile(`^\$?\$(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// contextFields are the fields of the context object that an execution fills.
var contextFields = []string{
	"Execution.Id", "Execution.Input", "Execution.Name", "Execution.StartTime",
	"State.EnteredTime", "State.Name", "State.RetryCount",
}

// parsePath refuses what is no plain reference path, such as an intrinsic
// function, an index or a filter.
func parsePath(text string) (path, error) {
	if !pathForm.MatchString(text) {
		return path{}, fmt.Errorf("%q is not a path such as $.a.b", text)
	}
	rest, context := strings.CutPrefix(text, "$$")
	if !context {
		rest = strings.TrimPrefix(text, "$")
	}
	p := path{context: context}
	if rest != "" {
		p.fields = strings.Split(rest[1:], ".")
	}
	if context && !slices.Contains(contextFields, strings.Join(p.fields, ".")) {
		return path{}, fmt.Errorf("%q is not a field of the context object that is known here", text)
	}
	return p, nil
}

// parseReference parses a path that may not be into the context object.
func parseReference(text string) (path, error) {
	p, err := parsePath(text)
	if err == nil && p.context {
		err = fmt.Errorf("%q is in the context object; a path into the state's data is needed", text)
	}
	return p, err
}

func (p path) String() string {
	root := "$"
	if p.context {
		root = "$$"
	}
	return strings.Join(append([]string{root}, p.fields...), ".")
}

// of returns what the path names in a JSON value, and whether there is such a
// thing.
func (p path) of(v []byte) ([]byte, bool) {
	for _, f := range p.fields {
		begin, end := member(v, f)
		if begin < 0 {
			return nil, false
		}
		v = v[begin:end]
	}
	return v, true
}

// put returns the value with what the path names replaced. Objects on the way
// that are missing are made; the value itself stays as it is.
func (p path) put(v, what []byte) ([]byte, error) {
	if len(p.fields) == 0 {
		return what, nil
	}
	if v[0] != '{' {
		return nil, fmt.Errorf("%s: its parent is not an object", p)
	}
	below := []byte("{}")
	begin, end := member(v, p.fields[0])
	if begin >= 0 {
		below = v[begin:end]
	}
	changed, err := path{fields: p.fields[1:]}.put(below, what)
	if err != nil {
		return nil, err
	}
	if begin >= 0 {
		return slices.Concat(v[:begin], changed, v[end:]), nil
	}
	name := append(quote(p.fields[0]), ':')
	if len(v) > len("{}") {
		name = append([]byte{','}, name...)
	}
	return slices.Concat(v[:len(v)-1], name, changed, []byte("}")), nil
}

// template is the value of Parameters, with its paths parsed.
type template struct {
	value  any                 // a literal, where there are no parts
	raw    []byte              // its JSON
	object map[string]template // an object
	names  []string            // its fields, sorted
	path   *path               // a field whose name ends in ".$"
}

func parseTemplate(v any) (template, error) {
	switch x := v.(type) {
	case map[string]any:
		t := template{object: map[string]template{}}
		for key, value := range x {
			name, dynamic := strings.CutSuffix(key, ".$")
			if _, twice := t.object[name]; twice {
				return t, fmt.Errorf("%q is there twice", name)
			}
			if !dynamic {
				part, err := parseTemplate(value)
				if err != nil {
					return t, err
				}
				t.object[name] = part
				continue
			}
			text, _ := value.(string)
			p, err := parsePath(text)
			if err != nil {
				return t, fmt.Errorf("%s: %w", key, err)
			}
			t.object[name] = template{path: &p}
		}
		t.names = slices.Sorted(maps.Keys(t.object))
		return t, nil
	case []any:
		if bytes.Contains(mustEncode(x), []byte(`.$":`)) {
			return template{}, errors.New("a path inside a list is not supported")
		}
	}
	return template{value: v, raw: mustEncode(v)}, nil
}

// fill appends the template's value, whose paths find reads.
func (t template) fill(b []byte, find func(path) ([]byte, bool)) ([]byte, error) {
	switch {
	case t.path != nil:
		v, ok := find(*t.path)
		if !ok {
			return nil, fmt.Errorf("read Parameters: %s does not exist in the input", t.path)
		}
		return append(b, v...), nil
	case t.object != nil:
		b = append(b, '{')
		for n, name := range t.names {
			if n > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = t.object[name].fill(append(append(b, quote(name)...), ':'), find); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return append(b, t.raw...), nil
}

// quote writes a text in JSON.
func quote(s string) []byte { return mustEncode(s) }

// decode decodes one JSON value and keeps its numbers as they are written.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is data after the JSON value")
	}
	return v, nil
}

// mustEncode encodes what decode returned, which cannot fail.
func mustEncode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
