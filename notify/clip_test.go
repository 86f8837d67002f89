package notify

import (
	"html"
	"strings"
	"testing"
	"unicode/utf8"

	"firstline/internal/incident"
)

func TestEscapeSlack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"<!channel> & co", 100, "&lt;!channel&gt; &amp; co"},
		{"<<<", 12, "&lt;&lt;&lt;"},
		{"<<<", 11, "&lt;…"},
		{"a<b", 5, "a…"},
		{"<", 0, ""},
	} {
		if got := escapeSlack(tt.in, tt.limit); got != tt.want {
			t.Errorf("escapeSlack(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

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

func FuzzEscapeSlack(f *testing.F) {
	for _, s := range []string{"", "<!channel>", "&amp;", "a&b<c>d", "\xff<", strings.Repeat("&", 100)} {
		f.Add(s, 12)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := escapeSlack(s, limit)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "<>") {
			t.Errorf("%q from %q", got, s)
		}
		if runes(got) > max(0, limit) {
			t.Errorf("%d characters, limit %d", runes(got), limit)
		}
		rest := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(got)
		if strings.Contains(rest, "&") {
			t.Errorf("a cut escape sequence in %q", got)
		}
		if want := incident.ClipLine(s, len(s)+1); limit > 6*len(s) && !strings.ContainsAny(s, "&`") && html.UnescapeString(got) != want {
			t.Errorf("%q does not read as %q", got, want)
		}
	})
}
