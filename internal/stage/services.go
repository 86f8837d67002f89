package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Received is a message as a played service got it.
type Received struct {
	At time.Time
	// Text is the whole message in plain words.
	Text string
	// Alias is the alert's alias; "" for Slack.
	Alias string
	// Note says that it came as a note on an alert, which wakes nobody up.
	Note bool
	// Body is the request's body.
	Body string
}

// Service plays Slack or the pager.
type Service struct {
	// URL is what firstline's settings take as the service's base.
	URL string

	mu       sync.Mutex
	received []Received
	fail     func(body string) bool
	troubles []*InTrouble
	requests map[string]*accepted
	alerts   map[string]*alert // by alias, the latest of each
	server   *http.Server
}

// FailWhen makes the service answer 503 to requests whose body it picks; nil
// makes it work again.
func (s *Service) FailWhen(pick func(body string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = pick
}

// Received returns the messages whose body contains all the given words.
func (s *Service) Received(words ...string) []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Received
next:
	for _, r := range s.received {
		for _, w := range words {
			if !strings.Contains(r.Body, w) {
				continue next
			}
		}
		found = append(found, r)
	}
	return found
}

// Close ends the service.
func (s *Service) Close() { _ = s.server.Close() }

func (s *Service) start(ctx context.Context, h http.Handler) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.URL = "http://" + ln.Addr().String()
	s.requests, s.alerts = map[string]*accepted{}, map[string]*alert{}
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, h) }), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.server.Serve(ln) }()
	return nil
}

// keep stores a message and returns its number.
func (s *Service) keep(m Received) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.At = time.Now()
	s.received = append(s.received, m)
	return len(s.received)
}

// reply writes a JSON answer.
func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// NewSlack plays Slack's chat.postMessage for one token.
func NewSlack(ctx context.Context, token string) (*Service, error) {
	s := &Service{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/chat.postMessage", func(w http.ResponseWriter, r *http.Request) {
		body := text(r)
		fields, err := slackFields(r, body)
		if err != nil {
			reply(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_form_data"})
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+token && fields["token"] != token {
			reply(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_auth"})
			return
		}
		delete(fields, "token")
		n := s.keep(Received{Text: fields["text"], Body: fields["text"] + "\n" + fields["blocks"]})
		reply(w, http.StatusOK, map[string]any{"ok": true, "channel": fields["channel"], "ts": fmt.Sprintf("1700000000.%06d", n)})
	})
	if err := s.start(ctx, mux); err != nil {
		return nil, err
	}
	s.URL += "/api/"
	return s, nil
}

// slackFields reads a form or a JSON body, as Slack does.
func slackFields(r *http.Request, body string) (map[string]string, error) {
	fields := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var m map[string]any
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			return nil, err
		}
		for k, v := range m {
			fields[k] = fmt.Sprint(v)
		}
		return fields, nil
	}
	r.Body = io.NopCloser(strings.NewReader(body))
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	for k := range r.PostForm {
		fields[k] = r.PostForm.Get(k)
	}
	return fields, nil
}
