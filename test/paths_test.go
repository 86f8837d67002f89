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

// No way leads round without a look at the alert, which ends the watch in time, nor
// without a wait.
func TestEveryRoundOfTheWatchIsBounded(t *testing.T) {
	d := readFile(t, definition.AllClearFile)
	for _, tt := range []struct {
		through string
		is      func(name string) bool
	}{
		{"a look at the alert", func(name string) bool { return d.States[name].Step() == "look-alert" }},
		{"a wait", func(name string) bool { return d.States[name].Type == "Wait" }},
	} {
		found := 0
		for _, from := range d.Names() {
			if tt.is(from) {
				found++
				continue
			}
			seen := map[string]bool{}
			for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
				for _, e := range d.Edges(queue[0]) {
					if e.To == from {
						t.Errorf("from %q a path leads back to it without %s", from, tt.through)
					}
					if !tt.is(e.To) && !seen[e.To] {
						seen[e.To] = true
						queue = append(queue, e.To)
					}
				}
			}
		}
		if found == 0 {
			t.Errorf("no state is %s: the test reads the definition wrongly", tt.through)
		}
	}
}

// walker walks a definition.
type walker struct {
	d *definition.Definition
	// results are the incidents that a step may return, as package handler does.
	results func(w walk, step string) []map[string]any
	// waited and failed return what becomes of the incident at a Wait, and where a
	// Task failed; nil is nothing.
	waited, failed func(tree map[string]any) map[string]any
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

// label names a step in a path. Those that are taken in two places for two reasons
// have two names.
func label(state, step string) string {
	switch state {
	case "Page another way":
		return "another pager"
	case "Tell Slack too":
		return "slack too"
	case watching:
		return "watch"
	}
	return step
}

// ofIncident are the results of the steps of the machine that handles an incident.
func ofIncident(w walk, step string) []map[string]any {
	told := func(who string) []map[string]any {
		so, _ := w.tree["told"].(map[string]any)
		return []map[string]any{with(w.tree, map[string]any{"told": with(so, map[string]any{who: inTheWindow})})}
	}
	paused := map[string]any{"until": closesAt, "scope": "instance"}
	refusal := map[string]any{"guard": "cool-down", "reason": "too soon"}
	switch step {
	case "open":
		opened := map[string]any{
			"instanceId": "i-0a1b2c3d", "run": 1.0, "passed": false, "recovery": map[string]any{"passes": 0.0},
			"settings": map[string]any{"boot": map[string]any{"firstLookSeconds": 60.0, "intervalSeconds": 20.0}},
		}
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
		all := told("slack")
		if w.state == "Tell Slack too" {
			// Pages may be kept out of Slack.
			all = append(all, w.tree)
		}
		return all
	case "opsgenie":
		// Of what is no incident nothing stays open.
		paged := told("page")[0]
		all := []map[string]any{paged, with(paged, map[string]any{"alert": map[string]any{"alias": "…"}})}
		if w.has("$.pageError") {
			// The first pager was asked again, and took it.
			for _, tree := range slices.Clone(all) {
				tree = with(tree, nil)
				delete(tree, "pageError")
				all = append(all, tree)
			}
		}
		return all
	case "close":
		return []map[string]any{w.tree}
	}
	return nil
}

// next returns where a path may go on from here, as Step Functions would have it.
func (r walker) next(t *testing.T, s definition.State, w walk) []walk {
	t.Helper()
	switch s.Type {
	case "Task":
		step := label(w.state, s.Step())
		trees := []map[string]any{w.tree} // another service's answer is left out
		if s.Step() != "" {
			trees = r.results(w, s.Step())
		}
		var all []walk
		for _, tree := range trees {
			all = append(all, w.then(s.Next, tree, step))
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
			if r.failed != nil {
				tree = r.failed(tree)
			}
			all = append(all, w.then(c.Next, tree, step+"!"))
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
		if _, ok := lookUp(w.tree, s.SecondsPath); !ok {
			t.Fatalf("%s: %s is waited for and does not exist after the steps %v: %v", w.state, s.SecondsPath, w.steps, w.tree)
		}
		tree := w.tree
		if r.waited != nil {
			tree = r.waited(tree)
		}
		return []walk{w.then(s.Next, tree, "")}
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
	case c.StringEquals != nil:
		return value == *c.StringEquals
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
	walker{d: read(t), results: ofIncident}.walk(t, func(w walk, s definition.State) {
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
			if w.took("opsgenie") || w.took("another pager") || w.took("another pager!") {
				t.Fatalf("paged twice: %v", w.steps)
			}
			if another := w.state == "Page another way"; another != w.took("opsgenie!") || another != w.has("$.pageError") {
				t.Fatalf("%s: the first pager was not asked first, or not once: %v", w.state, w.steps)
			}
		case "slack":
			if w.took("slack") || w.took("slack too") {
				t.Fatalf("Slack is told twice: %v", w.steps)
			}
			if page := w.has("$.told.page"); page != (w.state == "Tell Slack too") {
				t.Fatalf("%s: somebody was paged: %v", w.state, w.steps)
			}
		}
		if w.state == watching && !w.has("$.alert") {
			t.Fatalf("a watch begins without an alert: %v", w.steps)
		}
	}, badEnd)
}

// walk takes every path. It calls visit at every state, and end, which says what is
// wrong with it, at the last.
func (r walker) walk(t *testing.T, visit func(w walk, s definition.State), end func(w walk, failed bool) string) {
	t.Helper()
	ended := map[string]int{}
	seen := map[string]bool{}
	for queue := []walk{{state: r.d.StartAt, tree: map[string]any{}}}; len(queue) > 0; queue = queue[1:] {
		w := queue[0]
		if key := w.key(); seen[key] {
			continue
		} else if seen[key] = true; len(seen) > 100_000 {
			t.Fatal("the paths do not end")
		}
		s, ok := r.d.States[w.state]
		if !ok {
			t.Fatalf("no state %q", w.state)
		}
		visit(w, s)
		if s.Type != "Succeed" && s.Type != "Fail" {
			queue = append(queue, r.next(t, s, w)...)
			continue
		}
		ended[w.state]++
		if problem := end(w, s.Type == "Fail"); problem != "" {
			t.Errorf("%q is reached, but %s: steps %v, incident %v", w.state, problem, w.steps, w.tree)
		}
	}
	for name, s := range r.d.States {
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
		{w.state == "Nobody was told" && (!w.took("slack!") || !w.has("$.paused") && (!w.took("opsgenie!") || !w.took("another pager!"))), "nobody was even asked"},
		{page && w.has("$.reboot") && !w.has("$.error") && !w.took("slack!") && w.tree["lookedAt"] == inTheWindow, "the boot window was still open"},
		{good && !silent, "all was well and somebody was told"},
		{good && (w.took("reboot") || w.took("reboot!")), "all was well and a reboot was asked for"},
		{w.state == "All good" && (!good || !w.took("url") || !w.took("route53") || !w.took("ssh")), "not all passed"},
		{(w.has("$.pageError") || w.has("$.closeError")) && !failed, "what went wrong raises no alarm"},
		{failed && !w.has("$.pageError") && !w.has("$.closeError") && !silent, "nothing went wrong"},
		{w.state == "Page failed" && (page || !slack), "it says that Slack was told, and not the pager"},
		{w.state == "Page failed" && !w.took("another pager!"), "another pager was not asked"},
		{(w.state == "Paged another way") != (page && w.has("$.pageError")), "the first pager failed and another one did not, or that is not said"},
		{w.state == "Paged" && !page, "nobody was paged"},
		{page && w.has("$.alert") != (w.took("watch") || w.took("watch!")), "an alert is left to itself"},
		{page && !w.took("slack too") && !w.took("slack too!"), "the page is not told in Slack"},
		{w.state == "Paused" && (!w.has("$.paused") || !slack), "nothing is paused, or Slack was not told"},
		{w.state == "Recovered" && (!w.has("$.reboot") || w.tree["passed"] != true || passes != 1.0 || !slack || page), "it did not recover in two looks in a row, or Slack was not told"},
	} {
		if rule.broken {
			return rule.is
		}
	}
	return ""
}

// ofAllClear are the results of the steps of the machine that gives the all-clear.
// Beside the incident they keep what has passed: "look" holds the checks of this
// look, "row" how many looks in a row have passed as a whole, "given" whether the
// all-clear was.
func ofAllClear(w walk, step string) []map[string]any {
	ended := func(why string) map[string]any {
		watch, _ := w.tree["watch"].(map[string]any)
		return with(w.tree, map[string]any{"watch": with(watch, map[string]any{"ended": why})})
	}
	anew := with(w.tree, map[string]any{"recovery": map[string]any{"passes": 0.0}, "row": 0.0})
	switch step {
	case "find-alert":
		none := map[string]any{"run": 3.0, "passed": false, "look": "", "row": 0.0}
		all := []map[string]any{none}
		for _, trigger := range []string{"page", "alarm"} {
			all = append(all, with(none, map[string]any{
				"alert": map[string]any{"alias": "…"}, "recovery": map[string]any{"passes": 0.0},
				"watch":    map[string]any{"trigger": trigger, "waitSeconds": 300.0, "everySeconds": 300.0},
				"settings": map[string]any{"boot": map[string]any{"intervalSeconds": 20.0}},
			}))
		}
		return all
	case "look-alert":
		all := []map[string]any{w.tree, anew}
		for _, why := range []string{"closed", "replaced", "taken-over", "time-over", "no-alert", "cleared"} {
			all = append(all, ended(why))
		}
		return all
	case "url", "route53", "ssh":
		look, _ := w.tree["look"].(string)
		look += step + " "
		row, _ := w.tree["row"].(float64)
		if look == "url route53 ssh " {
			row = min(row+1, 2)
		}
		return []map[string]any{
			with(w.tree, map[string]any{"passed": true, "look": look, "row": row}),
			with(w.tree, map[string]any{"passed": false, "look": "", "row": 0.0}),
		}
	case "all-clear":
		return []map[string]any{with(ended("cleared"), map[string]any{"given": true}), ended("closed"), ended("replaced"), ended("taken-over"), anew}
	}
	return nil
}

// Every path of the machine that gives the all-clear: it is given after two looks
// in a row only, and no end leaves an alert without a reason.
func TestEveryPathOfTheAllClear(t *testing.T) {
	r := walker{
		d: readFile(t, definition.AllClearFile), results: ofAllClear,
		waited: func(tree map[string]any) map[string]any { return with(tree, map[string]any{"look": ""}) },
		failed: func(tree map[string]any) map[string]any { return with(tree, map[string]any{"look": "", "row": 0.0}) },
	}
	r.walk(t, func(w walk, s definition.State) {
		switch {
		case s.Type == "Task" && w.has("$.watch.ended"):
			t.Fatalf("%s: it goes on after its end: %v", w.state, w.tree)
		case s.Type == "Task" && w.state != r.d.StartAt && !w.has("$.alert"):
			t.Fatalf("%s: it goes on without an alert: %v", w.state, w.tree)
		case s.Step() == "all-clear" && (w.tree["row"] != 2.0 || w.tree["passed"] != true):
			t.Fatalf("the all-clear is given without two looks in a row that passed: %v", w.tree)
		case s.Step() == "url" && w.tree["look"] != "":
			t.Fatalf("a look begins in the middle of another: %v", w.tree)
		case s.Step() == "reboot" || s.Step() == "opsgenie" || s.Step() == "slack" || s.Step() == "close":
			t.Fatalf("%s: this machine looks, and closes an alert", w.state)
		}
	}, badEndOfAllClear)
}

// badEndOfAllClear says what is wrong with the end of a path, "" when nothing is.
func badEndOfAllClear(w walk, failed bool) string {
	broken := w.took("find-alert!") || w.took("look-alert!") || w.took("all-clear!")
	for _, rule := range []struct {
		broken bool
		is     string
	}{
		{failed != broken, "what went wrong raises no alarm, or nothing went wrong"},
		{!failed && w.has("$.alert") && !w.has("$.watch.ended"), "the alert is left to itself"},
		{(w.state == "All clear") != (w.tree["given"] == true), "it was not given, or that is not said"},
		{(w.state == "All-clear not given") != w.took("all-clear!"), "another step failed"},
	} {
		if rule.broken {
			return rule.is
		}
	}
	return ""
}
