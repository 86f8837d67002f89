package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMostInFlight(t *testing.T) {
	at := func(from, to int64) flight { return flight{time.Unix(from, 0), time.Unix(to, 0)} }
	for _, tt := range []struct {
		name string
		of   []flight
		want int
	}{
		{"none", nil, 0},
		{"one", []flight{at(1, 2)}, 1},
		{"one after another, at the same second", []flight{at(1, 2), at(2, 3)}, 1},
		{"two, then one", []flight{at(1, 5), at(2, 3), at(6, 7)}, 2},
		{"three", []flight{at(1, 9), at(2, 9), at(3, 4)}, 3},
		{"of no length", []flight{at(1, 1)}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mostInFlight(tt.of); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestStormTargets(t *testing.T) {
	for _, tt := range []struct {
		name string
		of   stormFigures
		want []string
	}{
		{"all right", stormFigures{Alarms: 200, Ended: 200, Rebooted: 6, MostInFlight: 2}, []string{"200 of 200, 0 lost: yes", "6 reboots, at most 2 in flight: yes"}},
		{"one lost", stormFigures{Alarms: 200, Ended: 199, Lost: 1, Rebooted: 1, MostInFlight: 1}, []string{"199 of 200, 1 lost: **no**", "1 reboot, at most 1 in flight: yes"}},
		{"one wrong", stormFigures{Alarms: 200, Ended: 199, Rebooted: 7, MostInFlight: 2}, []string{"199 of 200, 0 lost: **no**", "7 reboots, at most 2 in flight: **no**"}},
		{"too many at once", stormFigures{Alarms: 2, Ended: 2, Rebooted: 3, MostInFlight: 3}, []string{"2 of 2, 0 lost: yes", "3 reboots, at most 3 in flight: **no**"}},
		{"none at all", stormFigures{Alarms: 2, Ended: 2}, []string{"2 of 2, 0 lost: yes", "0 reboots, at most 0 in flight: **no**"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdicts(tt.of.targets())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStormTables(t *testing.T) {
	of := stormFigures{
		Alarms: 200, Ended: 199, Rebooted: 5, MostInFlight: 2, Retries: 3, Told: map[string]int{bySlack: 5, byBrake: 194, "nobody": 1},
		Lone: 6, One: 0.52, Median: 20, Last: 41.3, LastReboot: 12.5, End: 60.2, Ratio: 79.4, Problems: []string{"i-1: it went wrong"},
	}
	want := []string{"200", "199", "5", "2", "3", "0.52", "20.0", "41.3", "79.4", "12.5", "60.2"}
	for _, table := range of.tables() {
		if len(table.Head) != len(want) {
			t.Errorf("%d heads, want %d", len(table.Head), len(want))
		}
		if diff := cmp.Diff([][]string{want}, table.Rows); diff != "" {
			t.Error(diff)
		}
	}
	for _, want := range []string{"Told: 5 by Slack, 1 by nobody, 194 by the brake's page.", "the first of 1: i-1: it went wrong."} {
		if notes := of.notes(); !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("no %q in %q", want, notes)
		}
	}
}
