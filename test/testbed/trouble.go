package testbed

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
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

// Trouble is the answer that a played service gives to requests instead of
// carrying them out. See Failing and NotOK.
type Trouble struct {
	// Pick picks the requests; nil picks all.
	Pick func(Request) bool
	// Status, Type and Body are the answer. {authorization} in the body becomes
	// the secret that the request came with: some servers show what they were sent.
	Status     int
	Type, Body string
}

// Failing answers with a status such as 500.
func Failing(status int) Trouble {
	return Trouble{Status: status, Type: "text/plain", Body: http.StatusText(status) + ": {authorization}\n"}
}

// NotOK answers 200 as Slack does when it refuses, with a code such as
// "fatal_error".
func NotOK(code string) Trouble {
	return Trouble{Status: http.StatusOK, Type: "application/json", Body: `{"ok":false,"error":"` + code + `"}`}
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

// Trouble has the service treat requests badly from now on, until the trouble
// ends. Of several that pick a request, the oldest counts.
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
	for _, i := range s.troubles {
		if i.trouble.Pick == nil || i.trouble.Pick(r) {
			i.hits++
			return &i.trouble
		}
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
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if plain, err := url.QueryUnescape(body); err == nil {
			body = plain
		}
	}
	t := s.meet(Request{Method: r.Method, Path: r.URL.Path, Body: body})
	if t == nil {
		h.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", t.Type)
	w.WriteHeader(t.Status)
	_, _ = io.WriteString(w, strings.ReplaceAll(t.Body, "{authorization}", cmp.Or(r.Header.Get("Authorization"), s.credential))) //nolint:gosec // no browser reads it
}

// text is the body of a request that serve has read.
func text(r *http.Request) string {
	raw, _ := io.ReadAll(r.Body)
	return string(raw)
}
