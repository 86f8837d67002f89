package checks

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"

	"firstline/internal/incident"
)

// compressed is what a writer of that kind makes of text.
func compressed(t *testing.T, text string, writer func(io.Writer) io.WriteCloser) string {
	t.Helper()
	var b bytes.Buffer
	w := writer(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestURLCompressed(t *testing.T) {
	gz := func(text string) string {
		return compressed(t, text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	}
	zl := func(text string) string {
		return compressed(t, text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	}
	bare := compressed(t, "all is well", func(w io.Writer) io.WriteCloser {
		f, err := flate.NewWriter(w, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
	// A file of "all is well", as nginx sends it with gzip_static always.
	const nginx = "\x1f\x8b\x08\x08'\x8d\rk\x00\x03index.html\x00K\xcc\xc9Q\xc8,V(O\xcd\xc9\xe1\x02\x00\xa54\x14\xe1\x0c\x00\x00\x00"
	bomb := gz(strings.Repeat("x", 8*maxBody) + "needle")
	noise := make([]byte, 2*maxBody)
	for n, x := 0, uint32(1); n < len(noise); n++ {
		x = x*1664525 + 1013904223
		noise[n] = byte(x >> 24)
	}
	for _, tc := range []struct {
		name, encoding, body, pattern string
		want                          incident.Outcome
		words                         string
	}{
		{"as nginx sends it", "gzip", nginx, "^all is well\n$", incident.Passed, ""},
		{"another text", "gzip", gz("out of order"), "well", incident.Failed, `the body (12 bytes read) does not match "well"`},
		{"an old name", "X-GZIP", gz("all is well"), "^all is well$", incident.Passed, ""},
		{"zlib", "deflate", zl("all is well"), "^all is well$", incident.Passed, ""},
		{"deflate without zlib's head", "deflate", bare, "^all is well$", incident.Passed, ""},
		{"none", "identity", "all is well", "^all is well$", incident.Passed, ""},
		{"an encoding that it is not in", "gzip", "all is well", "^all is well$", incident.Passed, ""},
		{"damaged", "gzip", nginx[:len(nginx)-9], "well", incident.Failed, "does not match"},
		{"no body", "gzip", "", "well", incident.Failed, "the body (0 bytes read) does not match"},
		{"matches at the end of the first MiB", "gzip", gz(strings.Repeat("x", maxBody-6) + "needle"), "needle$", incident.Passed, ""},
		{"a bomb", "gzip", bomb, "needle", incident.Failed, "the body (1048576 bytes read) does not match"},
		{"more than 1 MiB, compressed", "gzip", gz("all is well" + string(noise)), "^all is well", incident.Passed, ""},
		{"another encoding", "br", "\x0f\x05\x80all is well\x03", "^all is well$", incident.Unknown, `the body comes in the encoding "br"`},
		{"another encoding that hides nothing", "br", "\x0f\x05\x80all is well\x03", "all is well", incident.Passed, ""},
		{"another encoding, no pattern", "zstd", "\x28\xb5\x2f\xfd", "", incident.Passed, ""},
		{"twice", "gzip, gzip", gz(gz("all is well")), "well", incident.Unknown, "this check reads gzip and deflate"},
		{"damaged, no pattern", "gzip", "nonsense", "", incident.Passed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _, here := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", tc.encoding)
				_, _ = io.WriteString(w, tc.body)
			})
			f := c.URL(t.Context(), instance, patient(here, func(s *incident.URLSettings) { s.BodyPattern = tc.pattern }))
			if tc.want == incident.Unknown {
				wantUnknown(t, f, incident.Attention, tc.words)
				return
			}
			wantFinding(t, f, tc.want == incident.Passed, 1, tc.words)
		})
	}
}

// Whatever a server sends, decoding it ends, and with no more than is matched.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00"), "gzip")
	f.Add([]byte("x\x9cK\x04\x00\x00b\x00b"), "deflate")
	f.Add([]byte("K\x04\x00"), "deflate")
	f.Fuzz(func(t *testing.T, raw []byte, encoding string) {
		if body, _ := plain(raw, encoding); len(body) > max(len(raw), maxBody) {
			t.Errorf("%d bytes", len(body))
		}
	})
}
