package testbed

import (
	"context"
	"net/http"
	"strings"
)

// Paths of Jira Service Management: the calls of integrations, and the Operations API.
const (
	jsmPath = "/jsm/ops/integration"
	opsPath = "/jsm/ops/api/"
)

// Operations is what the Operations API of Jira Service Management is read with.
type Operations struct {
	CloudID, Email, Token, TeamID string
	// Requests says that it knows of requests that were made with an integration's
	// key. Whether the real one does is not documented.
	Requests bool
	// Integration says that the calls of integrations tell what became of a request,
	// as OpsGenie's do. That is not documented either.
	Integration bool
}

// NewJSM plays the calls of Jira Service Management that take the place of
// OpsGenie's: below a path of their own, for a key of their own, and without any
// that would tell what became of a request. The Operations API beside them tells of
// that, of open alerts and of heartbeats; without a CloudID there is none. What it
// does not have it answers like a server that has never heard of OpsGenie.
func NewJSM(ctx context.Context, key string, o Operations) (*Service, error) {
	p := pager{Service: &Service{}, tells: o.Integration}
	p.unknown = func(w http.ResponseWriter) {
		reply(w, http.StatusNotFound, map[string]any{"code": http.StatusNotFound, "message": "HTTP 404 Not Found"})
	}
	p.forbidden = func(w http.ResponseWriter) {
		reply(w, http.StatusUnauthorized, map[string]any{"code": http.StatusUnauthorized, "message": "Unauthorized; scope does not match"})
	}
	mux := p.handler(jsmPath, key)
	handle := func(path string, h http.HandlerFunc) {
		mux.HandleFunc("GET "+opsPath+o.CloudID+path, func(w http.ResponseWriter, r *http.Request) {
			if email, token, _ := r.BasicAuth(); email != o.Email || token != o.Token {
				p.forbidden(w)
				return
			}
			h(w, r)
		})
	}
	if o.CloudID != "" {
		handle("/v1/alerts/alias", p.opsAlias)
		handle("/v1/alerts/requests/{id}", func(w http.ResponseWriter, r *http.Request) {
			about := p.became(r.PathValue("id"))
			if about == nil || !o.Requests {
				p.unknown(w)
				return
			}
			reply(w, http.StatusOK, about.said())
		})
		handle("/v1/teams/"+o.TeamID+"/heartbeats", p.opsHeartbeats)
		handle("/v1/teams/"+o.TeamID+"/heartbeats/ping", p.opsPing)
	}
	err := p.start(ctx, mux)
	p.URL += jsmPath
	return p.Service, err
}

// opsAlias answers "Get alert by alias", which finds open alerts only.
func (p pager) opsAlias(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.catchUp()
	a := p.openAlert(r.URL.Query().Get("alias"))
	p.mu.Unlock()
	if a == nil {
		p.unknown(w)
		return
	}
	reply(w, http.StatusOK, a.said())
}

// opsHeartbeats answers "List heartbeats", and opsPing "Ping heartbeat".
func (p pager) opsHeartbeats(w http.ResponseWriter, r *http.Request) {
	values := []any{}
	if name := r.URL.Query().Get("name"); strings.HasPrefix(name, heartbeatName) {
		values = append(values, kept(name))
	}
	reply(w, http.StatusOK, map[string]any{"values": values, "links": map[string]any{}})
}

func (p pager) opsPing(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "" {
		p.refused("name", "is mandatory, and missing or empty")
		reply(w, http.StatusBadRequest, map[string]any{"code": http.StatusBadRequest, "message": "name must not be empty"})
		return
	}
	p.pinged(Ping{Name: name})
	reply(w, http.StatusAccepted, map[string]any{"message": "PONG - Heartbeat received"})
}
