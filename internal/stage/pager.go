package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"
)

// statusPath is where the pager tells what became of a request.
const statusPath = "/v2/alerts/requests/"

// accepted is a request that the pager carries out after its answer.
type accepted struct {
	body string
	// failed is why it could not be carried out; "" where it could.
	failed string
	asked  bool
}

// alert is one of the pager's.
type alert struct {
	id     string
	status string // "open" or "closed"
	count  int
}

// CloseAlert closes the alert of an alias, as a person does. The next alert of
// that alias is a new one. It returns false if there is none that is open.
func (s *Service) CloseAlert(alias string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.alerts[alias]
	if a == nil || a.status != "open" {
		return false
	}
	a.status = "closed"
	return true
}

// DeleteAlert has the pager forget the alert of an alias.
func (s *Service) DeleteAlert(alias string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alerts, alias)
}

// Alert returns the status, "open" or "closed", of the alert of an alias, and
// how many requests were counted as this one alert; "" and 0 where there is none.
func (s *Service) Alert(alias string) (status string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.alerts[alias]; a != nil {
		return a.status, a.count
	}
	return "", 0
}

// accept makes the answer to a request that was accepted; failed is why it could
// not be carried out.
func (s *Service) accept(body, failed string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("request-%d", len(s.requests)+1)
	s.requests[id] = &accepted{body: body, failed: failed}
	return map[string]any{"result": "Request will be processed", "took": 0.1, "requestId": id}
}

// raise makes an alert, or counts one more where its alias is open already.
func (s *Service) raise(alias string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.alerts[alias]; a != nil && a.status == "open" && alias != "" {
		a.count++
		return
	}
	s.alerts[alias] = &alert{id: fmt.Sprintf("alert-%d", len(s.received)), status: "open", count: 1}
}

// NewPager plays OpsGenie's Alert API: 202, then a request's status.
func NewPager(ctx context.Context, key string) (*Service, error) {
	s := &Service{}
	mux := http.NewServeMux()
	handle := func(pattern string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "GenieKey "+key {
				reply(w, http.StatusForbidden, map[string]any{"message": "You are not authorized"})
				return
			}
			h(w, r)
		})
	}
	handle("POST /v2/alerts", func(w http.ResponseWriter, r *http.Request) {
		body := text(r)
		var a struct{ Message, Alias, Description string }
		if err := json.Unmarshal([]byte(body), &a); err != nil || a.Message == "" || utf8.RuneCountInString(a.Message) > 130 {
			reply(w, http.StatusUnprocessableEntity, map[string]any{"message": "message: 1 to 130 characters"})
			return
		}
		s.keep(Received{Text: a.Message + "\n" + a.Description, Alias: a.Alias, Body: body})
		s.raise(a.Alias)
		reply(w, http.StatusAccepted, s.accept(body, ""))
	})
	handle("GET "+statusPath+"{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		s.mu.Lock()
		about, failed, asked := s.requests[id], "", false
		if about != nil {
			failed, asked = about.failed, about.asked
			about.asked = true
		}
		s.mu.Unlock()
		switch {
		case !asked:
			// The real one is not done at once either.
			w.Header().Set("X-Opsgenie-Errortype", "RequestNotProcessed")
			reply(w, http.StatusNotFound, map[string]any{"message": "Request not processed. Please try again later."})
		case failed != "":
			reply(w, http.StatusOK, map[string]any{"data": map[string]any{"isSuccess": false, "success": false, "status": failed, "alertId": ""}})
		default:
			reply(w, http.StatusOK, map[string]any{"data": map[string]any{
				"isSuccess": true, "success": true, "action": "Create", "status": "Created alert", "alertId": "alert-" + id,
			}})
		}
	})
	handle("POST /v2/alerts/{alias}/notes", func(w http.ResponseWriter, r *http.Request) {
		alias, body := r.PathValue("alias"), text(r)
		var n struct{ Note string }
		if err := json.Unmarshal([]byte(body), &n); err != nil || n.Note == "" || utf8.RuneCountInString(n.Note) > 25_000 || !byAlias(r.URL) {
			reply(w, http.StatusUnprocessableEntity, map[string]any{"message": "note: 1 to 25000 characters, and the identifier an alias"})
			return
		}
		failed := ""
		if status, _ := s.Alert(alias); status == "open" {
			s.keep(Received{Text: n.Note, Alias: alias, Note: true, Body: body})
		} else {
			// By an alias it finds open alerts only.
			failed = "Alert does not exist"
		}
		reply(w, http.StatusAccepted, s.accept(body, failed))
	})
	handle("GET /v2/alerts/{alias}", func(w http.ResponseWriter, r *http.Request) {
		alias := r.PathValue("alias")
		s.mu.Lock()
		defer s.mu.Unlock()
		a := s.alerts[alias]
		if a == nil || !byAlias(r.URL) {
			reply(w, http.StatusNotFound, map[string]any{"message": "Alert with id [" + alias + "] does not exist.", "took": 0.1, "requestId": "look-up"})
			return
		}
		reply(w, http.StatusOK, map[string]any{"took": 0.1, "requestId": "look-up", "data": map[string]any{
			"id": a.id, "alias": alias, "status": a.status, "count": a.count, "acknowledged": false,
		}})
	})
	if err := s.start(ctx, mux); err != nil {
		return nil, err
	}
	return s, nil
}

func byAlias(u *url.URL) bool { return u.Query().Get("identifierType") == "alias" }
