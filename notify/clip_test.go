package notify

import "testing"

func TestJoin(t *testing.T) {
	t.Parallel()
	lines := []string{"one", "two", "three"}
	for limit, want := range map[int]string{100: "one\ntwo\nthree", 13: "one\ntwo\nthree", 12: "one\ntwo\nthr…", 3: "on…"} {
		if got := join(lines, limit); got != want {
			t.Errorf("join to %d = %q, want %q", limit, got, want)
		}
	}
}
