package asl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Machine is a definition that was loaded. It is safe for concurrent use.
type Machine struct {
	Comment string
	StartAt string
	// TimeoutSeconds bounds an execution; 0 is no bound.
	TimeoutSeconds int
	States         map[string]*State
}

// State is one state.
type State struct {
	Name string `json:"-"`
	Comment, Type, Next,
	Resource, Default,
	Error, Cause, SecondsPath string
	// OutputPath and ResultPath are nil where they are absent.
	OutputPath, ResultPath *string
	TimeoutSeconds         int
	Seconds                *int
	Parameters, Result     json.RawMessage
	Retry                  []Retrier
	Catch                  []Catcher
	Choices                []json.RawMessage
	// Rules are the Choices, parsed.
	Rules []Rule `json:"-"`

	output, result, seconds path
	parameters              *template
	fixed                   []byte
}

// Retrier is an entry of a Task's Retry, with the defaults filled in.
type Retrier struct {
	ErrorEquals     []string
	IntervalSeconds int
	BackoffRate     float64
	MaxAttempts     int
	// MaxDelaySeconds 0 is no bound.
	MaxDelaySeconds int
	JitterStrategy  string
}

// Catcher is an entry of a Task's Catch.
type Catcher struct {
	ErrorEquals []string
	// ResultPath is empty where it is absent: the error replaces the input.
	ResultPath string
	Next       string

	result path
}

// fields are those of a state by its type, beside Comment and Type.
var fields = map[string][]string{
	"Task":    {"Resource", "Parameters", "OutputPath", "ResultPath", "TimeoutSeconds", "Retry", "Catch", "Next"},
	"Choice":  {"Choices", "Default"},
	"Wait":    {"Seconds", "SecondsPath", "Next"},
	"Pass":    {"Parameters", "Result", "ResultPath", "Next"},
	"Succeed": {},
	"Fail":    {"Error", "Cause"},
}

// Load reads a definition that was rendered. It refuses what it does not know,
// and what no execution could run.
func Load(definition []byte) (*Machine, error) {
	var raw struct {
		Comment, StartAt string
		TimeoutSeconds   *int
		States           map[string]json.RawMessage
	}
	if err := strict(definition, &raw); err != nil {
		return nil, fmt.Errorf("definition: %w", err)
	}
	if at := bytes.Index(definition, []byte("${")); at >= 0 {
		return nil, fmt.Errorf("definition: there is a placeholder at byte %d: render it first", at)
	}
	m := &Machine{Comment: raw.Comment, StartAt: raw.StartAt, States: map[string]*State{}}
	if raw.TimeoutSeconds != nil {
		if m.TimeoutSeconds = *raw.TimeoutSeconds; m.TimeoutSeconds < 1 {
			return nil, errors.New("definition: TimeoutSeconds must be at least 1")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(raw.States)) {
		s, err := parseState(name, raw.States[name])
		if err != nil {
			return nil, fmt.Errorf("state %q: %w", name, err)
		}
		m.States[name] = s
	}
	return m, m.connected()
}

// strict decodes an object and refuses unknown fields, also those that differ
// in case only: encoding/json takes "next" for "Next".
func strict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	var there map[string]json.RawMessage
	if err := json.Unmarshal(raw, &there); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if _, ok := reflect.TypeOf(v).Elem().FieldByName(name); !ok {
			return fmt.Errorf("the field %q is unknown", name)
		}
	}
	return nil
}

func parseState(name string, raw json.RawMessage) (*State, error) {
	s := &State{Name: name}
	if err := strict(raw, s); err != nil {
		return nil, err
	}
	known, ok := fields[s.Type]
	if !ok {
		return nil, fmt.Errorf("the type %q is unknown", s.Type)
	}
	var there map[string]json.RawMessage
	if err := json.Unmarshal(raw, &there); err != nil {
		return nil, err
	}
	for _, field := range slices.Sorted(maps.Keys(there)) {
		if field != "Type" && field != "Comment" && !slices.Contains(known, field) {
			return nil, fmt.Errorf("the field %s is unknown in a %s", field, s.Type)
		}
		if string(there[field]) == "null" {
			return nil, fmt.Errorf("%s is null, which is not supported", field)
		}
	}
	if slices.Contains(known, "Next") && s.Next == "" {
		return nil, errors.New("there is no Next")
	}
	if err := s.paths(); err != nil {
		return nil, err
	}
	switch s.Type {
	case "Task":
		return s, s.task(there)
	case "Choice":
		return s, s.choice()
	case "Wait":
		return s, s.wait()
	case "Fail":
		if s.Error == "" || s.Cause == "" {
			return nil, errors.New("a Fail needs Error and Cause")
		}
	}
	return s, nil
}

// paths parses what several types have.
func (s *State) paths() error {
	var err error
	if s.OutputPath != nil {
		if s.output, err = parseReference(*s.OutputPath); err != nil {
			return fmt.Errorf("read OutputPath: %w", err)
		}
	}
	if s.ResultPath != nil {
		if s.result, err = parseReference(*s.ResultPath); err != nil {
			return fmt.Errorf("read ResultPath: %w", err)
		}
	}
	if s.Parameters != nil {
		v, err := decode(s.Parameters)
		if err != nil {
			return fmt.Errorf("read Parameters: %w", err)
		}
		t, err := parseTemplate(v)
		if err != nil {
			return fmt.Errorf("read Parameters: %w", err)
		}
		s.parameters = &t
	}
	if s.Result != nil {
		v, err := decode(s.Result)
		if err != nil {
			return fmt.Errorf("read Result: %w", err)
		}
		s.fixed = mustEncode(v)
	}
	return nil
}

func (s *State) task(there map[string]json.RawMessage) error {
	if !strings.HasPrefix(s.Resource, "arn:aws") || !strings.HasSuffix(s.Resource, ":states:::lambda:invoke") {
		return fmt.Errorf("the resource %q is unknown", s.Resource)
	}
	if s.parameters == nil || s.parameters.object == nil {
		return errors.New("lambda:invoke needs Parameters")
	}
	for name := range s.parameters.object {
		if name != "FunctionName" && name != "Payload" {
			return fmt.Errorf("the parameter %s is unknown", name)
		}
	}
	if name, _ := s.parameters.object["FunctionName"].value.(string); name == "" {
		return errors.New("there is no FunctionName")
	}
	if there["TimeoutSeconds"] != nil && s.TimeoutSeconds < 1 {
		return errors.New("the TimeoutSeconds must be at least 1")
	}
	for n := range s.Retry {
		if err := errorNames(s.Retry[n].ErrorEquals, n == len(s.Retry)-1); err != nil {
			return fmt.Errorf("read Retry: %w", err)
		}
	}
	for n := range s.Catch {
		c := &s.Catch[n]
		if err := errorNames(c.ErrorEquals, n == len(s.Catch)-1); err != nil {
			return fmt.Errorf("read Catch: %w", err)
		}
		if c.Next == "" {
			return errors.New("read Catch: there is no Next")
		}
		if c.ResultPath == "" {
			continue
		}
		var err error
		if c.result, err = parseReference(c.ResultPath); err != nil {
			return fmt.Errorf("read Catch: ResultPath: %w", err)
		}
		if len(c.result.fields) == 0 {
			return errors.New(`read Catch: engines differ on "ResultPath": "$"; leave it out`)
		}
	}
	return nil
}

// UnmarshalJSON decodes a retrier over the language's defaults.
func (r *Retrier) UnmarshalJSON(raw []byte) error {
	type plain Retrier
	p := plain{IntervalSeconds: 1, BackoffRate: 2, MaxAttempts: 3, JitterStrategy: "NONE"}
	if err := strict(raw, &p); err != nil {
		return fmt.Errorf("read Retry: %w", err)
	}
	*r = Retrier(p)
	switch {
	case r.IntervalSeconds < 1, r.BackoffRate < 1, r.MaxAttempts < 0, r.MaxDelaySeconds < 0:
		return fmt.Errorf("read Retry: a number for %v is out of bounds", r.ErrorEquals)
	case r.MaxDelaySeconds != 0 && r.MaxDelaySeconds <= r.IntervalSeconds:
		return fmt.Errorf("read Retry: MaxDelaySeconds for %v must be above IntervalSeconds", r.ErrorEquals)
	case r.JitterStrategy != "NONE" && r.JitterStrategy != "FULL":
		return fmt.Errorf("read Retry: the JitterStrategy %q is unknown", r.JitterStrategy)
	}
	return nil
}

// UnmarshalJSON decodes a catcher strictly.
func (c *Catcher) UnmarshalJSON(raw []byte) error {
	type plain Catcher
	var p plain
	if err := strict(raw, &p); err != nil {
		return fmt.Errorf("read Catch: %w", err)
	}
	*c = Catcher(p)
	return nil
}

// Names of errors that Step Functions raises itself.
const (
	ErrAll        = "States.ALL"
	ErrTaskFailed = "States.TaskFailed"
	ErrTimeout    = "States.Timeout"
	ErrRuntime    = "States.Runtime"
	ErrDataLimit  = "States.DataLimitExceeded"
)

func errorNames(names []string, last bool) error {
	if len(names) == 0 {
		return errors.New("there is no ErrorEquals, or it is empty")
	}
	for _, name := range names {
		switch {
		case name == ErrAll && (len(names) > 1 || !last):
			return errors.New("States.ALL must be alone and last")
		case strings.HasPrefix(name, "States.") && !slices.Contains([]string{ErrAll, ErrTaskFailed, ErrTimeout}, name):
			return fmt.Errorf("the error %s is unknown", name)
		}
	}
	return nil
}

func (s *State) choice() error {
	if len(s.Choices) == 0 {
		return errors.New("there are no Choices")
	}
	for _, raw := range s.Choices {
		v, err := decode(raw)
		if err != nil {
			return err
		}
		r, err := parseRule(v, true)
		if err != nil {
			return err
		}
		s.Rules = append(s.Rules, r)
	}
	return nil
}

func (s *State) wait() error {
	if (s.Seconds == nil) == (s.SecondsPath == "") {
		return errors.New("a Wait needs one of Seconds and SecondsPath")
	}
	if s.Seconds != nil {
		if *s.Seconds < 0 {
			return errors.New("its Seconds are negative")
		}
		return nil
	}
	var err error
	if s.seconds, err = parsePath(s.SecondsPath); err != nil {
		return fmt.Errorf("read SecondsPath: %w", err)
	}
	return nil
}

// Targets are the states to which a state leads, in order, each once.
func (s *State) Targets() []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(s.Next)
	for _, r := range s.Rules {
		add(r.Next)
	}
	add(s.Default)
	for _, c := range s.Catch {
		add(c.Next)
	}
	return names
}

// Names are the states in the order in which a walk from the start reaches
// them.
func (m *Machine) Names() []string {
	var names []string
	for queue := []string{m.StartAt}; len(queue) > 0; queue = queue[1:] {
		if slices.Contains(names, queue[0]) || m.States[queue[0]] == nil {
			continue
		}
		names = append(names, queue[0])
		queue = append(queue, m.States[queue[0]].Targets()...)
	}
	return names
}

// connected refuses states that lead nowhere and states that nothing leads to.
func (m *Machine) connected() error {
	if m.States[m.StartAt] == nil {
		return fmt.Errorf("definition: StartAt names %q, and there is no such state", m.StartAt)
	}
	for _, name := range slices.Sorted(maps.Keys(m.States)) {
		for _, to := range m.States[name].Targets() {
			if m.States[to] == nil {
				return fmt.Errorf("state %q: leads to %q, and there is no such state", name, to)
			}
		}
	}
	reached := m.Names()
	for _, name := range slices.Sorted(maps.Keys(m.States)) {
		if !slices.Contains(reached, name) {
			return fmt.Errorf("state %q: no state leads here", name)
		}
	}
	return nil
}
