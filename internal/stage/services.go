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
	requests map[string]bool
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
	s.requests = map[string]bool{}
	s.server = &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.server.Serve(ln) }()
	return nil
}

// take reads a request; ok is false when the service is to fail on it.
func (s *Service) take(w http.ResponseWriter, r *http.Request) (body string, ok bool) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil && s.fail(string(raw)) {
		http.Error(w, "the service is down", http.StatusServiceUnavailable)
		return "", false
	}
	return string(raw), true
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
		body, ok := s.take(w, r)
		if !ok {
			return
		}
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

// NewPager plays OpsGenie's Alert API: 202, then a request's status.
func NewPager(ctx context.Context, key string) (*Service, error) {
	s := &Service{}
	allowed := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "GenieKey "+key {
			return true
		}
		reply(w, http.StatusForbidden, map[string]any{"message": "You are not authorized"})
		return false
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/alerts", func(w http.ResponseWriter, r *http.Request) {
		body, ok := s.take(w, r)
		if !ok || !allowed(w, r) {
			return
		}
		var alert struct{ Message, Alias, Description string }
		if err := json.Unmarshal([]byte(body), &alert); err != nil || alert.Message == "" || len([]rune(alert.Message)) > 130 {
			reply(w, http.StatusUnprocessableEntity, map[string]any{"message": "message: 1 to 130 characters"})
			return
		}
		id := fmt.Sprintf("request-%d", s.keep(Received{Text: alert.Message + "\n" + alert.Description, Alias: alert.Alias, Body: body}))
		reply(w, http.StatusAccepted, map[string]any{"result": "Request will be processed", "took": 0.1, "requestId": id})
	})
	mux.HandleFunc("GET /v2/alerts/requests/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !allowed(w, r) {
			return
		}
		s.mu.Lock()
		asked := s.requests[r.PathValue("id")]
		s.requests[r.PathValue("id")] = true
		s.mu.Unlock()
		if !asked {
			// The real one is not done at once either.
			w.Header().Set("X-Opsgenie-Errortype", "RequestNotProcessed")
			reply(w, http.StatusNotFound, map[string]any{"message": "Request not processed. Please try again later."})
			return
		}
		reply(w, http.StatusOK, map[string]any{"data": map[string]any{
			"isSuccess": true, "success": true, "action": "Create", "status": "Created alert", "alertId": "alert-" + r.PathValue("id"),
		}})
	})
	if err := s.start(ctx, mux); err != nil {
		return nil, err
	}
	return s, nil
}
