package stage

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request is what a played service is asked.
type Request struct {
	// Method and Path, unescaped and without a query, as in "POST" and
	// "/v2/alerts"; of Jira Service Management's, jsmPath comes before it.
	Method, Path string
	// Body is what came with it, a form without its escapes. Where it asks what
	// became of an earlier request, it is that one's.
	Body string
}

// Has says whether the request's body holds all the words.
func (r Request) Has(words ...string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.Body, w) })
}

// Trouble is what a played service does with a request instead of carrying it
// out. See RateLimited, Failing, Hanging, Resetting, NotOK, Unsuccessful,
// Unprocessed and WrongType.
type Trouble struct {
	// Pick picks the requests; nil picks all.
	Pick func(Request) bool
	// Times is how many requests meet the trouble; 0 means all, until it ends.
	Times int

	// Status, Header and Body are the answer. {authorization} in the body becomes
	// the request's header of that name: some servers show what they were sent.
	Status int
	Header map[string]string
	Body   string
	// Hang leaves the client without an answer until it gives up.
	Hang bool
	// Reset resets the connection.
	Reset bool
	// Unsuccessful has the pager accept the request, and say later that it could
	// not be carried out, for this reason.
	Unsuccessful string
	// Unprocessed has the pager accept the request, and never say, nor do, more.
	Unprocessed bool
	// Late carries the request out before the trouble, so that only the answer
	// gets lost.
	Late bool
}

// RateLimited answers 429, with a Retry-After unless it is zero.
func RateLimited(after time.Duration) Trouble {
	t := Trouble{Status: http.StatusTooManyRequests, Header: map[string]string{"Content-Type": "application/json"}, Body: `{"ok":false,"error":"ratelimited","message":"You are making too many requests!"}`}
	if after > 0 {
		t.Header["Retry-After"] = strconv.Itoa(int(after.Seconds()))
	}
	return t
}

// Failing answers with a status such as 500.
func Failing(status int) Trouble {
	return Trouble{Status: status, Header: map[string]string{"Content-Type": "text/plain"}, Body: http.StatusText(status) + ": {authorization}\n"}
}

// Hanging never answers.
func Hanging() Trouble { return Trouble{Hang: true} }

// Resetting resets the connection.
func Resetting() Trouble { return Trouble{Reset: true} }

// NotOK answers 200 as Slack does when it refuses, with a code such as
// "fatal_error".
func NotOK(code string) Trouble {
	return Trouble{Status: http.StatusOK, Header: map[string]string{"Content-Type": "application/json"}, Body: `{"ok":false,"error":"` + code + `"}`}
}

// Unsuccessful has the pager accept requests and not carry them out.
func Unsuccessful(reason string) Trouble { return Trouble{Unsuccessful: reason} }

// Unprocessed has the pager accept requests that it is for ever about to process.
func Unprocessed() Trouble { return Trouble{Unprocessed: true} }

// WrongType answers 200 or 202 with a page that is none of the service's, as a
// proxy does.
func WrongType(status int) Trouble {
	return Trouble{Status: status, Header: map[string]string{"Content-Type": "text/html"}, Body: "<html><body>Sign in, {authorization}</body></html>\n"}
}

// InTrouble is a trouble that was added.
type InTrouble struct {
	trouble Trouble
	service *Service
	hits    int // guarded by service.mu
}

// Hits is how many requests have met the trouble.
func (i *InTrouble) Hits() int {
	i.service.mu.Lock()
	defer i.service.mu.Unlock()
	return i.hits
}

// End brings the service back to normal.
func (i *InTrouble) End() {
	i.service.mu.Lock()
	defer i.service.mu.Unlock()
	i.service.troubles = slices.DeleteFunc(i.service.troubles, func(other *InTrouble) bool { return other == i })
}

// Trouble has the service treat requests badly from now on, until they were
// Times or the trouble ends. Of several that pick a request, the oldest counts.
func (s *Service) Trouble(t Trouble) *InTrouble {
	i := &InTrouble{trouble: t, service: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles = append(s.troubles, i)
	return i
}

// meet finds the trouble of a request and counts it.
func (s *Service) meet(r Request) *Trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, i := range s.troubles {
		if i.trouble.Pick != nil && !i.trouble.Pick(r) {
			continue
		}
		if i.hits++; i.hits == i.trouble.Times {
			s.troubles = slices.Delete(s.troubles, n, n+1)
		}
		return &i.trouble
	}
	return nil
}

// serve answers a request, or treats it as a trouble asks for.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, h http.Handler) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	body := string(raw)
	if id, ok := strings.CutPrefix(r.URL.Path, statusPath); ok {
		s.mu.Lock()
		if about := s.requests[id]; about != nil {
			body = about.body
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	down := s.fail != nil && len(raw) > 0 && s.fail(body)
	s.mu.Unlock()
	if down {
		http.Error(w, "the service is down", http.StatusServiceUnavailable)
		return
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if plain, err := url.QueryUnescape(body); err == nil {
			body = plain
		}
	}
	t := s.meet(Request{Method: r.Method, Path: r.URL.Path, Body: body})
	switch {
	case t == nil:
		h.ServeHTTP(w, r)
		return
	case t.Unsuccessful != "" || t.Unprocessed:
		// What is wrong with a request shows before that.
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), troubleKey{}, t)))
		return
	case t.Late:
		h.ServeHTTP(&unanswered{header: http.Header{}}, r)
	}
	switch {
	case t.Hang:
		<-r.Context().Done()
	case t.Reset:
		reset(w)
	default:
		for name, value := range t.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(t.Status)
		_, _ = io.WriteString(w, strings.ReplaceAll(t.Body, "{authorization}", r.Header.Get("Authorization"))) //nolint:gosec // no browser reads it
	}
}

// troubleKey is the key of a request's trouble in its context.
type troubleKey struct{}

// troubleOf is the trouble that a request meets after it was accepted, nil for
// none.
func troubleOf(r *http.Request) *Trouble {
	t, _ := r.Context().Value(troubleKey{}).(*Trouble)
	return t
}

// unanswered takes an answer that gets lost.
type unanswered struct{ header http.Header }

func (u *unanswered) Header() http.Header         { return u.header }
func (u *unanswered) Write(p []byte) (int, error) { return len(p), nil }
func (u *unanswered) WriteHeader(int)             {}

// reset ends a connection as a host does that knows nothing of it.
func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// text is the body of a request that serve has read.
func text(r *http.Request) string {
	raw, _ := io.ReadAll(r.Body)
	return string(raw)
}
