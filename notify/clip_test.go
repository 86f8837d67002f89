package notify

import (
	"html"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTruncate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 5, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"äöüß", 3, "äö…"},
		{"ab cd", 4, "ab…"},
		{"abc", 1, "…"},
		{"abc", 0, ""},
		{"abc", -1, ""},
		{"a\xffb", 3, "a\uFFFDb"},
	} {
		if got := truncate(tt.in, tt.limit); got != tt.want {
			t.Errorf("truncate(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func TestEscapeSlack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"<!channel> & co", 100, "&lt;!channel&gt; &amp; co"},
		{"<<<", 12, "&lt;&lt;&lt;"},
		{"<<<", 11, "&lt;&lt;…"},
		{"a<", 4, "a…"},
		{"<", 1, "…"},
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
	}{{13, "one\ntwo\nthree"}, {100, "one\ntwo\nthree"}, {12, ""}, {0, ""}} {
		if got := join(lines, tt.limit); got != tt.want {
			t.Errorf("join to %d = %q, want %q", tt.limit, got, tt.want)
		}
	}
	long := []string{"a", strings.Repeat("b", 50), "c"}
	if got := join(long, 40); got != "a\n… (shortened)" {
		t.Errorf("got %q", got)
	}
}

func FuzzTruncate(f *testing.F) {
	for _, s := range []string{"", "plain", "äöü", "\xff\xfe", "a b  c", strings.Repeat("€", 300)} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := truncate(s, limit)
		if !utf8.ValidString(got) {
			t.Errorf("invalid UTF-8: %q", got)
		}
		if runes(got) > max(0, limit) {
			t.Errorf("%d characters, limit %d", runes(got), limit)
		}
		if again := truncate(got, limit); again != got {
			t.Errorf("not idempotent: %q, then %q", got, again)
		}
		if head := strings.TrimSuffix(got, ellipsis); !strings.HasPrefix(strings.ToValidUTF8(s, "\uFFFD"), head) {
			t.Errorf("%q is not the head of %q", head, s)
		}
	})
}

func FuzzOneLine(f *testing.F) {
	for _, s := range []string{"", " a ", "a\nb", "\u202eabc", "\xff", "a\u2028b", "a\u200bb", "\x00 \x1b[31m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := oneLine(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x00\x1b\u2028\u2029\u202e") {
			t.Errorf("%q from %q", got, s)
		}
		if again := oneLine(got); again != got {
			t.Errorf("not idempotent: %q, then %q", got, again)
		}
	})
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
		if valid := strings.ToValidUTF8(s, "\uFFFD"); limit > 6*len(valid) && !strings.Contains(s, "&") && html.UnescapeString(got) != valid {
			t.Errorf("%q does not read as %q", got, valid)
		}
	})
}

func FuzzHide(f *testing.F) {
	f.Add("Authorization: GenieKey s3cr3t-key", "s3cr3t-key")
	f.Add("S3CR3T%2Fkey", "s3cr3t/key")
	f.Fuzz(func(t *testing.T, s, secret string) {
		for _, r := range secret {
			if r <= ' ' || r > '~' {
				t.Skip("no such secret is used")
			}
		}
		if secret == "" || strings.Contains("[redacted]", secret) {
			t.Skip("part of the replacement")
		}
		if got := hide(oneLine(s), []string{secret}); strings.Contains(strings.ReplaceAll(got, "[redacted]", "\n"), secret) {
			t.Errorf("%q holds %q", got, secret)
		}
	})
}
