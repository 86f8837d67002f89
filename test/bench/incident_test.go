package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/definition"
	"firstline/internal/localaws"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// The project's folder, from this one.
const projectFolder = "../.."

// A change of these numbers is a change of what an incident costs: the README's
// tables and the baseline go with it.
func TestTransitionsOfEachPath(t *testing.T) {
	for _, p := range incidentPaths() {
		t.Run(p.key, func(t *testing.T) {
			d, err := definition.Read(projectFolder, p.file)
			if err != nil {
				t.Fatal(err)
			}
			states, err := walk(d, p.script)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string][]string{
				"all-good":     {"10", "All good", "open url route53 ssh close"},
				"recovered":    {"26", "Recovered", "open url reboot url route53 ssh url route53 ssh slack close"},
				"down":         {"18", "Paged", "open url reboot url opsgenie slack close"},
				"refused":      {"15", "Paged", "open url reboot opsgenie slack close"},
				"unclear":      {"11", "Paged", "open url opsgenie slack close"},
				"paused":       {"9", "Paused", "open url slack close"},
				"handled":      {"3", "Already handled", "open"},
				"nothing-open": {"3", "Nothing to do", "find-alert"},
				"all-clear":    {"21", "All clear", "find-alert url route53 ssh look-alert url route53 ssh all-clear"},
			}[p.key]
			got := []string{strconv.Itoa(len(states)), states[len(states)-1], strings.Join(steps(d, states), " ")}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n%s", diff, strings.Join(states, " → "))
			}
		})
	}
}

func TestEachFurtherLook(t *testing.T) {
	for _, tt := range []struct {
		file   string
		script script
		each   int
	}{
		{definition.File, script{down: true, looks: 1}, 5},
		{definition.AllClearFile, script{afterPage: true, down: true, looks: 1}, 6},
	} {
		d, err := definition.Read(projectFolder, tt.file)
		if err != nil {
			t.Fatal(err)
		}
		one, err := walk(d, tt.script)
		if err != nil {
			t.Fatal(err)
		}
		tt.script.looks = 24
		many, err := walk(d, tt.script)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(many) - len(one); got != 23*tt.each {
			t.Errorf("%s: 23 further looks have %d transitions, want %d", tt.file, got, 23*tt.each)
		}
		if tt.file == definition.File && (looksOf(one) != 1 || looksOf(many) != 24) {
			t.Errorf("%d and %d looks, want 1 and 24", looksOf(one), looksOf(many))
		}
	}
}

// The issue says of the TypeScript original that its all-good path has 7.
func TestOriginal(t *testing.T) {
	if diff := cmp.Diff([]int{7, 11, 7}, []int{originalGood, originalRecovered, originalDown}); diff != "" {
		t.Error(diff)
	}
}

func TestWalkRefuses(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		name string
		d    definition.Definition
		of   script
		want string
	}{
		{"no such state", definition.Definition{StartAt: "A", States: map[string]definition.State{"A": {Type: "Wait", Next: "B"}}}, script{}, `a walk comes to "B", and there is no such state`},
		{"a circle", definition.Definition{StartAt: "A", States: map[string]definition.State{"A": {Type: "Wait", Next: "A"}}}, script{}, "a walk does not end"},
		{"another type", definition.Definition{StartAt: "A", States: map[string]definition.State{"A": {Type: "Parallel"}}}, script{}, "A: a walk knows no Parallel"},
		{
			"what is not there",
			definition.Definition{StartAt: "A", States: map[string]definition.State{"A": {Type: "Choice", Choices: []definition.Choice{{Variable: "$.x", BooleanEquals: &yes}}}}},
			script{},
			"A: $.x is compared, and the script has none",
		},
		{
			"another comparison",
			definition.Definition{StartAt: "A", States: map[string]definition.State{
				"A": {Type: "Pass", ResultPath: "$.x", Next: "B"}, "B": {Type: "Choice", Choices: []definition.Choice{{Variable: "$.x"}}},
			}},
			script{},
			"B: a walk does not know the comparison of $.x",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := walk(&tt.d, tt.of); !strings.HasPrefix(errorText(err), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Defaults stand in the settings' schema, and here once more.
func TestDefaultsOfTheSettings(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(projectFolder, "terraform", "modules", "settings", "schema.tf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]int{
		"first_look_seconds": {firstLookSeconds}, "window_seconds": {windowSeconds},
		"for_minutes": {watchForMinutes}, "in_flight": {brakeInFlight}, "per_hour": {brakePerHour},
		// Both the sweep's and the all-clear's.
		"every_minutes": {sweepEveryMinutes, watchEveryMinutes},
	} {
		var got []int
		for _, m := range regexp.MustCompile(`(?m)^ +`+name+` += \{ kind = "integer", default = ([0-9]+)`).FindAllStringSubmatch(string(text), -1) {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if mostLooks != 28 {
		t.Errorf("%d looks, want 28", mostLooks)
	}
}

func TestBilled(t *testing.T) {
	i := localaws.Invocation{
		RequestID: "r", Event: []byte(`{"step": "url", "incident": {}}`),
		Log: "START RequestId: r Version: 1\nEND RequestId: r\nREPORT RequestId: r\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 256 MB\tMax Memory Used: 20 MB\n",
	}
	got, err := billed(i)
	if err != nil {
		t.Fatal(err)
	}
	if want := (invocation{"url", time.Time{}, 12340 * time.Microsecond, 0.00325, len(i.Log)}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	i.Log = "nothing"
	if _, err := billed(i); errorText(err) != "the log of the invocation r has no REPORT" {
		t.Errorf("got %v", err)
	}
}

func TestAtWork(t *testing.T) {
	at := time.Unix(100, 0)
	calls := []invocation{{at: at, took: time.Second}, {at: at.Add(2 * time.Second), took: 3 * time.Second}, {at: at.Add(9 * time.Second), took: time.Second}}
	if got, want := atWork(calls, at.Add(4*time.Second)), 3*time.Second; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestChecked(t *testing.T) {
	inc := incident.Incident{Findings: []checks.Finding{{ElapsedMs: 12}, {ElapsedMs: 30}}}
	if got, want := checked(inc), 42*time.Millisecond; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAfter(t *testing.T) {
	e := ended{states: []string{"A", "B", "C"}, entered: []time.Time{time.Unix(1, 0), time.Unix(2, 0), time.Unix(3, 0)}}
	for state, want := range map[string]time.Time{"A": time.Unix(2, 0), "C": {}, "D": {}} {
		if got := e.after(state); !got.Equal(want) {
			t.Errorf("after %s: got %s, want %s", state, got, want)
		}
	}
	if e.last() != "C" || (ended{}).last() != "" {
		t.Error("the last state is not the last")
	}
}

func TestMiddleOf(t *testing.T) {
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := middleOf(tt.of); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.of, got, tt.want)
		}
	}
}

func TestSignificant(t *testing.T) {
	for of, want := range map[float64]string{0: "0", 0.000123456: "0.0001235", 12.34567: "12.35", 1e-7: "1e-07"} {
		if got := strconv.FormatFloat(significant(of), 'g', 6, 64); got != want {
			t.Errorf("%v: got %s, want %s", of, got, want)
		}
	}
}

func TestDollars(t *testing.T) {
	// 1000 transitions are 2.5 cents, a million invocations 20.
	if got, want := dollars(1000, 1_000_000, 0), 0.225; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// someIncidents are figures with everything in them.
func someIncidents() incidentFigures {
	return incidentFigures{
		Overhead: overheadFigures{Incidents: 20, Machine: 300.5, Function: 45, Direct: 60, Ratio: 5.008, Slowest: 400},
		Paths: []pathFigures{
			{Key: "all-good", Name: "all is well", Transitions: 10, Original: 7, Played: 1, Invocations: 5, GBSeconds: 0.01, Dollars: 0.00025},
			{Key: "down", Name: "down", Transitions: 18, Original: 7, PerLook: 5, Played: 3, Invocations: 7, GBSeconds: 2, Dollars: 0.0005},
			{Key: "watch", Name: "watch", Transitions: 150, Invocations: 49},
		},
		Rest: []restFigure{{What: "alarms", Amount: "16", Dollars: 1.6}, {What: "metrics", Amount: "2", Dollars: 0.6}, {What: "a key", Amount: "1", Dollars: 1, Optional: true}},
	}
}

func TestIncidentTables(t *testing.T) {
	var rows [][]string
	for _, table := range someIncidents().tables() {
		for _, r := range table.Rows {
			if len(r) != len(table.Head) {
				t.Errorf("%d cells below %d heads: %v", len(r), len(table.Head), r)
			}
		}
		rows = append(rows, table.Rows...)
	}
	want := [][]string{
		{"all is well", "10", "7", "+3", "-", "5", "0.010", "0.00025", "once"},
		{"down", "18", "7", "+11", "+5", "7", "2.000", "0.00050", "3 times"},
		{"watch", "150", "-", "-", "-", "49", "0.000", "0.00000", "counted only"},
		{"alarms", "16", "1.60"},
		{"metrics", "2", "0.60"},
		{"a region at rest", "", "2.20"},
		{"and a key", "1", "1.00"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}

func TestIncidentTargets(t *testing.T) {
	var got []string
	for _, g := range someIncidents().targets() {
		got = append(got, g.Measured+": "+g.verdict())
	}
	if diff := cmp.Diff([]string{"10 and 7: +3: yes", "18 and 7: +11: **no**"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestIncidentRatios(t *testing.T) {
	want := []compared{
		{Key: "incident/overhead", Value: 5.008, Margin: overheadMargin},
		{Key: "incident/transitions-a-look/down", Value: 5},
		{Key: "incident/transitions/all-good", Value: 10},
		{Key: "incident/transitions/down", Value: 18},
		{Key: "incident/transitions/watch", Value: 150},
	}
	if diff := cmp.Diff(want, someIncidents().ratios("incident")); diff != "" {
		t.Error(diff)
	}
}

func TestEventOfIsOneThatOpensAnIncident(t *testing.T) {
	text := string(eventOf(incident.SourceAlarm, &stage.Instance{Region: "eu-west-1", ID: "i-0123456789abcdef0"}))
	for _, want := range []string{`"source":"aws.cloudwatch"`, `"InstanceId":"i-0123456789abcdef0"`, ":alarm:firstline-cpu-i-0123456789abcdef0", `"value":"ALARM"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
