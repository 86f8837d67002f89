package test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"firstline/internal/definition"
)

// From the moment at which an incident may hold a lease, every way to an end
// leads through a Task that gives it back.
func TestEveryIncidentIsClosed(t *testing.T) {
	d := read(t)
	ends := func(name string) bool { return slices.Contains([]string{"Succeed", "Fail"}, d.States[name].Type) }
	tasks := 0
	for _, from := range d.Names() {
		if d.States[from].Type != "Task" || d.States[from].Step() == "close" {
			continue
		}
		tasks++
		seen := map[string]bool{from: true}
		for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
			for _, e := range d.Edges(queue[0]) {
				// Whoever is told that another execution has the lease holds none.
				if from == d.StartAt && e.To == "Already handled" || seen[e.To] || d.States[e.To].Step() == "close" {
					continue
				}
				if ends(e.To) {
					t.Errorf("from %q a path leads to the end %q past every Task that closes the incident", from, e.To)
				}
				seen[e.To] = true
				queue = append(queue, e.To)
			}
		}
	}
	if tasks < 7 {
		t.Errorf("%d Tasks were looked at: the test reads the definition wrongly", tasks)
	}
	// The incident is closed once, and with all that was told.
	for _, name := range d.Names() {
		if d.States[name].Step() != "close" {
			continue
		}
		seen := map[string]bool{}
		for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
			for _, e := range d.Edges(queue[0]) {
				if d.States[e.To].Type == "Task" {
					t.Errorf("after %q comes the Task %q", name, e.To)
				} else if !seen[e.To] {
					seen[e.To] = true
					queue = append(queue, e.To)
				}
			}
		}
	}
}

// walk is a point on a path through the definition.
type walk struct {
	state string
	// tree is the state machine's state: the incident.
	tree map[string]any
	// steps are those that the path has taken, each once and sorted, so that the
	// looks of a boot window do not make paths without end. Whatever ended with an
	// error has an exclamation mark.
	steps []string
}

func (w walk) key() string {
	raw, err := json.Marshal([]any{w.state, w.tree, w.steps})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// then returns where the path goes on.
func (w walk) then(state string, tree map[string]any, step string) walk {
	steps := slices.Clone(w.steps)
	if step != "" && !slices.Contains(steps, step) {
		steps = append(steps, step)
		slices.Sort(steps)
	}
	return walk{state, tree, steps}
}

func (w walk) took(step string) bool { return slices.Contains(w.steps, step) }

func (w walk) has(path string) bool {
	_, ok := lookUp(w.tree, path)
	return ok
}

// lookUp finds what a path such as $.told.page names.
func lookUp(tree map[string]any, path string) (any, bool) {
	var at any = tree
	for key := range strings.SplitSeq(strings.TrimPrefix(path, "$."), ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[key]; !ok {
			return nil, false
		}
	}
	return at, true
}

// with returns the tree with other fields.
func with(tree map[string]any, fields map[string]any) map[string]any {
	changed := map[string]any{}
	maps.Copy(changed, tree)
	maps.Copy(changed, fields)
	return changed
}

const (
	inTheWindow = "2026-11-22T10:05:00Z"
	closesAt    = "2026-11-22T10:10:00Z"
	afterIt     = "2026-11-22T10:15:00Z"
)

// results are the incidents that a step may return, as package handler does.
func results(w walk, step string) []map[string]any {
	told := func(who string) []map[string]any {
		so, _ := w.tree["told"].(map[string]any)
		return []map[string]any{with(w.tree, map[string]any{"told": with(so, map[string]any{who: inTheWindow})})}
	}
	paused := map[string]any{"until": closesAt, "scope": "instance"}
	refusal := map[string]any{"guard": "cool-down", "reason": "too soon"}
	switch step {
	case "open":
		opened := map[string]any{"instanceId": "i-0a1b2c3d", "run": 1.0, "passed": false, "recovery": map[string]any{"passes": 0.0}}
		return []map[string]any{
			opened,
			with(opened, map[string]any{"paused": paused}),
			with(opened, map[string]any{"handledBy": map[string]any{"name": "another"}}),
		}
	case "url", "route53", "ssh":
		var all []map[string]any
		for _, passed := range []bool{true, false} {
			for _, at := range []string{inTheWindow, afterIt} {
				all = append(all, with(w.tree, map[string]any{"passed": passed, "lookedAt": at}))
			}
		}
		return all
	case "reboot":
		return []map[string]any{
			with(w.tree, map[string]any{"run": 2.0, "passed": false, "reboot": map[string]any{"windowClosesAt": closesAt}, "recovery": map[string]any{"passes": 0.0}}),
			with(w.tree, map[string]any{"refusal": refusal}),
			with(w.tree, map[string]any{"refusal": refusal, "paused": paused}),
		}
	case "slack":
		return told("slack")
	case "opsgenie":
		return told("page")
	case "close":
		return []map[string]any{w.tree}
	}
	return nil
}

// next returns where a path may go on from here, as Step Functions would have it.
func next(t *testing.T, s definition.State, w walk) []walk {
	t.Helper()
	switch s.Type {
	case "Task":
		var all []walk
		for _, tree := range results(w, s.Step()) {
			all = append(all, w.then(s.Next, tree, s.Step()))
		}
		if len(all) == 0 {
			t.Fatalf("%s: this test does not know the step %q", w.state, s.Step())
		}
		for _, c := range s.Catch {
			failure := map[string]any{"Error": "Denied", "Cause": "…"}
			tree := failure
			if field, ok := strings.CutPrefix(c.ResultPath, "$."); ok {
				tree = with(w.tree, map[string]any{field: failure})
			}
			all = append(all, w.then(c.Next, tree, s.Step()+"!"))
		}
		return all
	case "Choice":
		for _, c := range s.Choices {
			if matches(t, w, c) {
				return []walk{w.then(c.Next, w.tree, "")}
			}
		}
		return []walk{w.then(s.Default, w.tree, "")}
	case "Pass":
		result := map[string]any{}
		for key := range s.Parameters {
			result[strings.TrimSuffix(key, ".$")] = "…"
		}
		if n, ok := s.Parameters["passes"]; ok {
			result["passes"] = number(t, n)
		}
		if s.Result != nil {
			if err := json.Unmarshal(s.Result, &result); err != nil {
				t.Fatalf("%s: %v", w.state, err)
			}
		}
		if field, ok := strings.CutPrefix(s.ResultPath, "$."); ok {
			result = with(w.tree, map[string]any{field: result})
		}
		return []walk{w.then(s.Next, result, "")}
	case "Wait":
		return []walk{w.then(s.Next, w.tree, "")}
	}
	t.Fatalf("%s: this test knows no %s", w.state, s.Type)
	return nil
}

func number(t *testing.T, raw json.RawMessage) float64 {
	t.Helper()
	var n float64
	if err := json.Unmarshal(raw, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// matches evaluates a rule of a Choice. What it compares has to exist: else the
// execution would end in an error that nothing catches.
func matches(t *testing.T, w walk, c definition.Choice) bool {
	t.Helper()
	if c.And != nil {
		return !slices.ContainsFunc(c.And, func(part definition.Choice) bool { return !matches(t, w, part) })
	}
	value, ok := lookUp(w.tree, c.Variable)
	if c.IsPresent != nil {
		return ok == *c.IsPresent
	}
	if !ok {
		t.Fatalf("%s: %s is compared and does not exist after the steps %v: %v", w.state, c.Variable, w.steps, w.tree)
	}
	switch {
	case c.BooleanEquals != nil:
		return value == *c.BooleanEquals
	case c.NumericEquals != nil:
		return value == *c.NumericEquals
	case c.NumericGreaterThanEquals != nil:
		n, isNumber := value.(float64)
		return isNumber && n >= *c.NumericGreaterThanEquals
	case c.TimestampGreaterThanEqualsPath != "":
		bound, ok := lookUp(w.tree, c.TimestampGreaterThanEqualsPath)
		if !ok {
			t.Fatalf("%s: %s is compared and does not exist after the steps %v: %v", w.state, c.TimestampGreaterThanEqualsPath, w.steps, w.tree)
		}
		at, isText := value.(string)
		until, alsoText := bound.(string)
		return isText && alsoText && at >= until
	}
	t.Fatalf("%s: this test does not know the comparison of %s", w.state, c.Variable)
	return false
}

// Every path that an execution can take, with every result and error of every
// step: what must never happen, and how each ends.
func TestEveryPath(t *testing.T) {
	d := read(t)
	ended := map[string]int{}
	seen := map[string]bool{}
	for queue := []walk{{state: d.StartAt, tree: map[string]any{}}}; len(queue) > 0; queue = queue[1:] {
		w := queue[0]
		if key := w.key(); seen[key] {
			continue
		} else if seen[key] = true; len(seen) > 100_000 {
			t.Fatal("the paths do not end")
		}
		s, ok := d.States[w.state]
		if !ok {
			t.Fatalf("no state %q", w.state)
		}
		switch s.Step() {
		case "reboot":
			if w.took("reboot") || w.took("reboot!") || w.has("$.reboot") || w.has("$.refusal") {
				t.Fatalf("a second reboot is asked for after %v", w.steps)
			}
			if w.has("$.paused") || w.has("$.error") || w.tree["passed"] != false || w.tree["run"] != 1.0 {
				t.Fatalf("a reboot is asked for of %v", w.tree)
			}
		case "opsgenie":
			if w.has("$.paused") {
				t.Fatalf("a paused instance is paged about after %v", w.steps)
			}
			if w.took("opsgenie") || w.took("opsgenie!") {
				t.Fatalf("paged twice: %v", w.steps)
			}
		case "slack":
			if w.took("slack") {
				t.Fatalf("Slack is told twice: %v", w.steps)
			}
		}
		if s.Type != "Succeed" && s.Type != "Fail" {
			queue = append(queue, next(t, s, w)...)
			continue
		}
		ended[w.state]++
		if problem := badEnd(w, s.Type == "Fail"); problem != "" {
			t.Errorf("%q is reached, but %s: steps %v, incident %v", w.state, problem, w.steps, w.tree)
		}
	}
	for name, s := range d.States {
		if (s.Type == "Succeed" || s.Type == "Fail") && ended[name] == 0 {
			t.Errorf("nothing ends in %q", name)
		}
	}
	t.Logf("%d points, ends: %v", len(seen), ended)
}

// badEnd says what is wrong with the end of a path, "" when nothing is.
func badEnd(w walk, failed bool) string {
	handled, closed := w.has("$.handledBy"), w.took("close") || w.took("close!")
	page, slack := w.has("$.told.page"), w.has("$.told.slack")
	silent := !page && !slack
	passes, _ := lookUp(w.tree, "$.recovery.passes")
	// Run 1, and all that was looked at passed.
	good := w.tree["passed"] == true && !w.has("$.reboot") && !w.has("$.error")
	for _, rule := range []struct {
		broken bool
		is     string
	}{
		{handled != (w.state == "Already handled"), "another execution has it, or has not"},
		{handled && len(w.steps) != 1, "it did more than to open"},
		{!handled && !closed, "the incident was not closed"},
		{!handled && silent && !good && w.state != "Nobody was told", "nobody was told"},
		{!silent && w.state == "Nobody was told", "somebody was told"},
		{w.state == "Nobody was told" && (!w.took("slack!") || !w.has("$.paused") && !w.took("opsgenie!")), "nobody was even asked"},
		{page && w.has("$.reboot") && !w.has("$.error") && !w.has("$.slackError") && w.tree["lookedAt"] == inTheWindow, "the boot window was still open"},
		{good && !silent, "all was well and somebody was told"},
		{good && (w.took("reboot") || w.took("reboot!")), "all was well and a reboot was asked for"},
		{w.state == "All good" && (!good || !w.took("url") || !w.took("route53") || !w.took("ssh")), "not all passed"},
		{(w.has("$.pageError") || w.has("$.closeError")) && !failed, "what went wrong raises no alarm"},
		{failed && !w.has("$.pageError") && !w.has("$.closeError") && !silent, "nothing went wrong"},
		{w.state == "Page failed" && (page || !slack), "it says that Slack was told, and not the pager"},
		{w.state == "Paged" && !page, "nobody was paged"},
		{w.state == "Paused" && (!w.has("$.paused") || !slack), "nothing is paused, or Slack was not told"},
		{w.state == "Recovered" && (!w.has("$.reboot") || w.tree["passed"] != true || passes != 1.0 || !slack || page), "it did not recover in two looks in a row, or Slack was not told"},
	} {
		if rule.broken {
			return rule.is
		}
	}
	return ""
}
