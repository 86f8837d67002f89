package testbed

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Ping is one that a service that keeps heartbeats was sent.
type Ping struct {
	At time.Time
	// Name is the heartbeat's. Failed says that it came in the form for a failure, and
	// Text is what came with it.
	Name   string
	Failed bool
	Text   string
}

// Pings returns the pings of a heartbeat, or all where the name is empty.
func (s *Service) Pings(name string) []Ping {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.pings), func(p Ping) bool { return name != "" && p.Name != name })
}

func (s *Service) pinged(p Ping) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.At = time.Now()
	s.pings = append(s.pings, p)
}

// heartbeatName begins the names of all heartbeats that the played services have.
const heartbeatName = "firstline-"

// kept are the fields of a heartbeat that is there and enabled.
func kept(name string) map[string]any {
	return map[string]any{"name": name, "description": "firstline", "interval": 15, "intervalUnit": "minutes", "enabled": true}
}

// pong answers "Ping Heartbeat", which does not look whether there is such a heartbeat.
func (p pager) pong(w http.ResponseWriter, r *http.Request) {
	p.pinged(Ping{Name: r.PathValue("name")})
	reply(w, http.StatusAccepted, map[string]any{"result": "PONG - Heartbeat received", "took": 0.1, "requestId": "ping"})
}

// heartbeat answers "Get Heartbeat".
func (p pager) heartbeat(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !strings.HasPrefix(name, heartbeatName) {
		refuse(w, http.StatusNotFound, "Heartbeat with name ["+name+"] does not exist.", nil)
		return
	}
	data := kept(name)
	data["expired"] = false
	reply(w, http.StatusOK, map[string]any{"took": 0.1, "requestId": "look-up", "data": data})
}

// NewHeartbeats plays a service such as healthchecks.io, which is pinged at an address
// that is a secret: the name of a heartbeat behind a key, and "/fail" behind that for a
// failure. Settings take as its address what is before the name.
func NewHeartbeats(ctx context.Context, key string) (*Service, error) {
	s := &Service{credential: key}
	mux := http.NewServeMux()
	answer := func(failed bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			name := r.PathValue("name")
			if r.PathValue("key") != key || !strings.HasPrefix(name, heartbeatName) {
				s.refused("no such heartbeat", name)
				http.Error(w, "not found", http.StatusNotFound)
				return
			}
			s.pinged(Ping{Name: name, Failed: failed, Text: text(r)})
			_, _ = w.Write([]byte("OK"))
		}
	}
	for _, method := range []string{"GET", "POST"} { // HEAD comes with GET
		mux.HandleFunc(method+" /{key}/{name}", answer(false))
		mux.HandleFunc(method+" /{key}/{name}/fail", answer(true))
	}
	err := s.start(ctx, mux)
	s.URL += "/" + key + "/"
	return s, err
}
