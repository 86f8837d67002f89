package main

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/toolchain"
)

func TestWalk(t *testing.T) {
	project, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	m, err := withoutWaits(project)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, p := range paths() {
		w, err := walk(t.Context(), m, p)
		if err != nil {
			t.Error(err)
		}
		got[p.key] = w.transitions
	}
	// 6 for a first look and 6 for each further one; then the end.
	want := map[string]int{
		"all-good": 6 + 2, "recovered": 6 + 2*6 + 1 + 2*6 + 5, "not-cured": 6 + 2*6 + 1 + 28*6 + 6, "refused": 6 + 2*6 + 6,
		"handed-over": 6 + 2, "resolved": 6 + 6, "paused": 6 + 5, "handled": 3, "no-incident": 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := walk(t.Context(), m, path{name: "endless", decide: []string{"wait"}, end: "Told"}); err == nil {
		t.Error("a path that does not end where it should is no error")
	}
}

func TestCosts(t *testing.T) {
	c := costs{"open": 1, "url": 2, "url, down": 20, "decide": 3, "decide, failed": 30, "page": 4}
	for _, tt := range []struct {
		name string
		w    walked
		want float64
	}{
		{"healthy", walked{invoked: []string{"open", "url", "decide"}}, 6},
		{"down", walked{path: path{down: true, decide: []string{"page"}}, invoked: []string{"open", "url", "decide", "page"}}, 1 + 20 + 30 + 4},
		{"recovered in the last look", walked{path: path{down: true, decide: []string{"reboot", "slack"}}, invoked: []string{"open", "url", "decide", "url", "decide"}}, 1 + 20 + 30 + 2 + 30},
	} {
		tt.w.transitions = 10
		gbs, dollars := c.of(tt.w)
		if gbs != tt.want || math.Abs(dollars-(10*perTransition+float64(len(tt.w.invoked))*perInvocation+tt.want*perGBSecond)) > 1e-12 {
			t.Errorf("%s: %g GB-s, %g dollars, want %g", tt.name, gbs, dollars, tt.want)
		}
	}
}
