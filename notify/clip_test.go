package notify

import (
	"strings"
	"testing"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	lines := []string{"one", "two", "three"}
	for _, tt := range []struct {
		limit int
		want  string
	}{{13, "one\ntwo\nthree"}, {100, "one\ntwo\nthree"}} {
		if got := join(lines, tt.limit); got != tt.want {
			t.Errorf("join to %d = %q, want %q", tt.limit, got, tt.want)
		}
	}
	long := []string{"a", strings.Repeat("b", 50), "c"}
	if got := join(long, 40); got != "a\n… (shortened)" {
		t.Errorf("got %q", got)
	}
}
