package testbed

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"slices"
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
	// User and Source are who the pager was told it is from.
	User, Source string
	// Channel is Slack's, TS the message's name there, and ThreadTS the name of
	// the message that it answers; "" where it answers none.
	Channel, TS, ThreadTS string
	// Blocks are the message's, as Slack got them.
	Blocks json.RawMessage
	// Warnings are what Slack took and warns of, such as a text that it advises
	// to shorten.
	Warnings []string
	// Body is the request's body; of Slack's its text and blocks.
	Body string
}

// Service plays Slack or the pager.
type Service struct {
	// URL is what firstline's settings take as the service's base.
	URL string
	// credential is the secret of a service that is told it elsewhere than in the
	// header Authorization.
	credential string

	mu       sync.Mutex
	received []Received
	troubles []*InTrouble
	refusals []string
	server   *http.Server

	// Of a pager.
	requests map[string]*accepted
	queue    []*accepted // not yet carried out
	lag      time.Duration
	alerts   []*alert
	made     int // alerts
	closings []Received
	discards bool
	messages map[string]string // of the webhook: what came with an id

	// Of a service that keeps heartbeats.
	pings []Ping

	// Of Slack.
	channels []string
}

// Received returns the messages whose body contains all the given words: what
// was posted to Slack, answers in threads too, and of a pager alerts and notes. See
// Closings for the rest.
func (s *Service) Received(words ...string) []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	return containing(s.received, words)
}

// Refusals says which requests were refused for what is in them, and why: whoever
// is refused may try in a simpler form, so that it would not show else.
func (s *Service) Refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refusals)
}

// refused keeps a refusal.
func (s *Service) refused(what string, why ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, strings.Join(append([]string{what}, why...), ": "))
}

// refusedFields keeps a refusal of fields.
func (s *Service) refusedFields(wrong map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		s.refused(name, wrong[name])
	}
}

// containing are those whose body contains all the words.
func containing(all []Received, words []string) []Received {
	var found []Received
	for _, r := range all {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.Body, w) }) {
			found = append(found, r)
		}
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
	s.requests = map[string]*accepted{}
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, h) }), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.server.Serve(ln) }()
	return nil
}

// reply writes a JSON answer.
func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
