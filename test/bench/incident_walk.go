package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"firstline/internal/definition"
)

// tree is the state of a state machine: the incident.
type tree = map[string]any

// script is what the steps of an execution answer: from it follows the path
// through the definition.
type script struct {
	handled, paused bool
	// down has the URL check fail, in run 1 and, unless cured, in run 2. unclear has
	// it end with an error.
	down, cured, unclear bool
	// refused has a guard refuse the reboot.
	refused bool
	// looks is how many there are until the boot window closes, or the watch's time
	// is over.
	looks int
	// allClear is of the machine that gives the all-clear: what it finds, and after
	// what.
	nothing, afterPage bool
}

// Times of a script, which Step Functions compares as they are.
const (
	inWindow   = "2026-11-22T10:05:00Z"
	windowEnd  = "2026-11-22T10:10:00Z"
	afterwards = "2026-11-22T10:15:00Z"
)

// scriptedRun plays a script.
type scriptedRun struct {
	script
	looked int
}

// answer is what a step makes of the incident, nil for an error.
func (r *scriptedRun) answer(step string, in tree) tree {
	out := maps.Clone(in)
	told := func(who string) tree {
		so, _ := in["told"].(tree)
		so = maps.Clone(so)
		if so == nil {
			so = tree{}
		}
		so[who] = afterwards
		out["told"] = so
		return out
	}
	switch step {
	case "open":
		out = tree{
			"instanceId": "i-0a1b2c3d", "run": 1.0, "passed": false, "recovery": tree{"passes": 0.0},
			"settings": tree{"boot": tree{"firstLookSeconds": 60.0, "intervalSeconds": 20.0}},
		}
		if r.handled {
			out["handledBy"] = tree{"name": "another"}
		}
		if r.paused {
			out["paused"] = tree{"until": windowEnd}
		}
	case "url", "route53", "ssh":
		if r.unclear {
			return nil
		}
		again := in["run"] != 1.0
		if step == "url" && again {
			r.looked++
		}
		out["passed"] = step != "url" || !r.down || again && r.cured
		out["lookedAt"] = inWindow
		if again && r.looked >= r.looks {
			out["lookedAt"] = afterwards
		}
	case "reboot":
		if r.refused {
			out["refusal"] = tree{"guard": "budget"}
			break
		}
		out["run"], out["passed"], out["reboot"], out["recovery"] = 2.0, false, tree{"windowClosesAt": windowEnd}, tree{"passes": 0.0}
	case "slack":
		return told("slack")
	case "opsgenie":
		told("page")
		out["alert"] = tree{"alias": "…"}
	case "close":
	case "find-alert":
		out = tree{"run": 3.0, "passed": false, "recovery": tree{"passes": 0.0}, "settings": tree{"boot": tree{"intervalSeconds": 20.0}}}
		watch := tree{"trigger": "alarm", "waitSeconds": 300.0, "everySeconds": 300.0}
		if r.afterPage {
			watch["trigger"] = "page"
		}
		if out["watch"] = watch; !r.nothing {
			out["alert"] = tree{"alias": "…"}
		}
	case "look-alert":
		if r.afterPage && r.looked >= r.looks {
			return watchEnded(out, "time-over")
		}
	case "all-clear":
		return watchEnded(out, "cleared")
	default:
		return nil
	}
	return out
}

func watchEnded(in tree, why string) tree {
	watch, _ := in["watch"].(tree)
	watch = maps.Clone(watch)
	watch["ended"] = why
	in["watch"] = watch
	return in
}

// mostStates bounds a walk.
const mostStates = 2000

// walk returns the states that an execution of a definition goes through if its
// steps answer as the script has it.
func walk(d *definition.Definition, of script) ([]string, error) {
	r := &scriptedRun{script: of}
	var names []string
	in := tree{}
	for at := d.StartAt; ; {
		s, ok := d.States[at]
		names = append(names, at)
		switch {
		case !ok:
			return names, fmt.Errorf("a walk comes to %q, and there is no such state", at)
		case s.Type == "Succeed" || s.Type == "Fail":
			return names, nil
		case len(names) > mostStates:
			return names, fmt.Errorf("a walk does not end: its last states are %q", names[len(names)-10:])
		}
		var err error
		if at, in, err = r.next(at, s, in); err != nil {
			return names, err
		}
	}
}

// next is where an execution goes on, and with what.
func (r *scriptedRun) next(at string, s definition.State, in tree) (string, tree, error) {
	switch s.Type {
	case "Task":
		if s.Step() == "" {
			return s.Next, in, nil // another service, whose answer is left out
		}
		out := r.answer(s.Step(), in)
		if out != nil {
			return s.Next, out, nil
		}
		if len(s.Catch) == 0 {
			return "", nil, fmt.Errorf("%s: the script has the step %q fail, and nothing catches that", at, s.Step())
		}
		return s.Catch[0].Next, withResult(in, s.Catch[0].ResultPath, tree{"Error": "Denied", "Cause": "…"}), nil
	case "Choice":
		for _, c := range s.Choices {
			yes, err := matches(at, c, in)
			if err != nil {
				return "", nil, err
			}
			if yes {
				return c.Next, in, nil
			}
		}
		return s.Default, in, nil
	case "Pass":
		result := tree{}
		for key, raw := range s.Parameters {
			var value any = "…" // of a path
			if !strings.HasSuffix(key, ".$") {
				if err := json.Unmarshal(raw, &value); err != nil {
					return "", nil, fmt.Errorf("%s: %w", at, err)
				}
			}
			result[strings.TrimSuffix(key, ".$")] = value
		}
		if s.Result != nil {
			if err := json.Unmarshal(s.Result, &result); err != nil {
				return "", nil, fmt.Errorf("%s: %w", at, err)
			}
		}
		return s.Next, withResult(in, s.ResultPath, result), nil
	case "Wait":
		return s.Next, in, nil
	}
	return "", nil, fmt.Errorf("%s: a walk knows no %s", at, s.Type)
}

// withResult puts a result where ResultPath says.
func withResult(in tree, path string, result tree) tree {
	field, below := strings.CutPrefix(path, "$.")
	if !below {
		return result
	}
	out := maps.Clone(in)
	out[field] = result
	return out
}

// lookUp finds what a path such as $.told.page names.
func lookUp(in tree, path string) (any, bool) {
	var at any = in
	for key := range strings.SplitSeq(strings.TrimPrefix(path, "$."), ".") {
		m, ok := at.(tree)
		if !ok {
			return nil, false
		}
		if at, ok = m[key]; !ok {
			return nil, false
		}
	}
	return at, true
}

// matches evaluates a rule of a Choice.
func matches(at string, c definition.Choice, in tree) (bool, error) {
	for _, part := range c.And {
		if yes, err := matches(at, part, in); err != nil || !yes {
			return false, err
		}
	}
	if c.And != nil {
		return true, nil
	}
	value, ok := lookUp(in, c.Variable)
	switch {
	case c.IsPresent != nil:
		return ok == *c.IsPresent, nil
	case !ok:
		return false, fmt.Errorf("%s: %s is compared, and the script has none", at, c.Variable)
	case c.BooleanEquals != nil:
		return value == *c.BooleanEquals, nil
	case c.StringEquals != nil:
		return value == *c.StringEquals, nil
	case c.NumericEquals != nil:
		return value == *c.NumericEquals, nil
	case c.NumericGreaterThanEquals != nil:
		n, isNumber := value.(float64)
		return isNumber && n >= *c.NumericGreaterThanEquals, nil
	case c.TimestampGreaterThanEqualsPath != "":
		bound, _ := lookUp(in, c.TimestampGreaterThanEqualsPath)
		is, isText := value.(string)
		until, alsoText := bound.(string)
		return isText && alsoText && is >= until, nil
	}
	return false, fmt.Errorf("%s: a walk does not know the comparison of %s", at, c.Variable)
}

// steps are the function's steps on a path, in order: its invocations.
func steps(d *definition.Definition, states []string) []string {
	var all []string
	for _, name := range states {
		if step := d.States[name].Step(); step != "" {
			all = append(all, step)
		}
	}
	return all
}

// looksOf counts the looks after a reboot in executed states: the URL checks that
// come after the first wait.
func looksOf(states []string) int {
	boot := slices.Index(states, "Wait for boot")
	if boot < 0 {
		return 0
	}
	looks := 0
	for _, name := range states[boot:] {
		if name == "Check URL" {
			looks++
		}
	}
	return looks
}
