package testbed

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// statusPath is where the pager tells what became of a request.
const statusPath = "/v2/alerts/requests/"

// accepted is a request that the pager carries out after its answer.
type accepted struct {
	body, action string
	// due is when it is carried out, and do how.
	due  time.Time
	do   func() (status string, about *alert)
	done bool
	// What became of it: status, and the alert, nil where that failed.
	status string
	alert  *alert
	asked  bool
}

// alert is one of the pager's.
type alert struct {
	id, alias string
	status    string // "open" or "closed"
	count     int
	created   time.Time
}

// CloseAlert closes the alert of an alias, as a person does. The next alert of
// that alias is a new one. It returns false if there is none that is open.
func (s *Service) CloseAlert(alias string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	a := s.openAlert(alias)
	if a == nil {
		return false
	}
	s.close(a, Received{User: Person})
	return true
}

// Person is the user of a closing that came by CloseAlert.
const Person = "a person"

// Closings returns who closed the alerts of an alias, or all where it is empty:
// the note that came with it is the text, and a closing by hand has Person as its
// user, and neither text nor body.
func (s *Service) Closings(alias string) []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	return slices.DeleteFunc(slices.Clone(s.closings), func(r Received) bool { return alias != "" && r.Alias != alias })
}

// Alert returns the status, "open" or "closed", of the latest alert of an alias,
// and how many requests were counted as this one alert; "" and 0 where there is
// none.
func (s *Service) Alert(alias string) (status string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	for _, a := range slices.Backward(s.alerts) {
		if a.alias == alias {
			return a.status, a.count
		}
	}
	return "", 0
}

// OpenAlerts returns the aliases of the alerts that are open, in the order in
// which they were made.
func (s *Service) OpenAlerts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	var aliases []string
	for _, a := range s.alerts {
		if a.status == "open" {
			aliases = append(aliases, a.alias)
		}
	}
	return aliases
}

// SetLag has the pager carry requests out that long after it accepted them, in
// the order in which they came, and say until then that it has not. Without a lag
// they are carried out at once, and the first question what became of one is
// answered that nothing has yet.
func (s *Service) SetLag(lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = lag
}

// openAlert is the open alert of an alias, of which there is one at most.
func (s *Service) openAlert(alias string) *alert {
	for _, a := range s.alerts {
		if a.alias == alias && a.status == "open" {
			return a
		}
	}
	return nil
}

// catchUp carries out what is due. s.mu is held.
func (s *Service) catchUp() {
	now := time.Now()
	for len(s.queue) > 0 && !now.Before(s.queue[0].due) {
		r := s.queue[0]
		s.queue = s.queue[1:]
		r.status, r.alert = r.do()
		r.done = true
	}
}

// accept takes a request, and carries it out when that is due.
func (s *Service) accept(r *accepted) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = fmt.Sprintf("request-%d", len(s.requests)+1)
	s.requests[id] = r
	r.due = time.Now().Add(s.lag)
	s.queue = append(s.queue, r)
	s.catchUp()
	return id
}

// raise makes an alert, or counts one more where its alias is open already.
func (s *Service) raise(alias string) *alert {
	if a := s.openAlert(alias); a != nil && alias != "" {
		a.count++
		return a
	}
	s.made++
	id := fmt.Sprintf("alert-%d", s.made)
	// Without an alias its id is its alias.
	a := &alert{id: id, alias: cmp.Or(alias, id), status: "open", count: 1, created: time.Now()}
	s.alerts = append(s.alerts, a)
	return a
}

// page takes a message that makes an alert, unless that of its alias is open.
func (s *Service) page(r Received) *alert {
	r.At = time.Now()
	s.received = append(s.received, r)
	return s.raise(r.Alias)
}

// note adds a message to an alert, and close closes it with one.
func (s *Service) note(a *alert, r Received) {
	r.At, r.Alias, r.Note = time.Now(), a.alias, true
	s.received = append(s.received, r)
}

func (s *Service) close(a *alert, r Received) {
	a.status, r.At, r.Alias = "closed", time.Now(), a.alias
	s.closings = append(s.closings, r)
}

// SetDiscards has the pager accept alerts and then make none of them, as a policy
// that its owner has made does.
func (s *Service) SetDiscards(discards bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discards = discards
}

// pager plays the Alert API, with the parts of it that a service has.
type pager struct {
	*Service
	// tells says that it tells what became of a request, reads that it tells of
	// alerts and has heartbeats.
	tells, reads bool
	// unknown answers calls that it does not have, and forbidden those with a key
	// that is not its own.
	unknown, forbidden func(w http.ResponseWriter)
}

// NewPager plays OpsGenie's Alert API: it accepts requests with 202, says on the
// second question what became of them, and tells of alerts and heartbeats. It refuses
// what the API's reference does not allow, and names the field.
func NewPager(ctx context.Context, key string) (*Service, error) {
	p := pager{Service: &Service{}, tells: true, reads: true}
	p.unknown = func(w http.ResponseWriter) {
		refuse(w, http.StatusNotFound, "No handler was found for the request.", nil)
	}
	p.forbidden = func(w http.ResponseWriter) { refuse(w, http.StatusUnauthorized, "Could not authenticate", nil) }
	return p.Service, p.start(ctx, p.handler("", key))
}

// handler has the calls below a path, for a key.
func (p pager) handler(base, key string) *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(path string, h http.HandlerFunc) {
		method, path, _ := strings.Cut(path, " ")
		mux.HandleFunc(method+" "+base+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "GenieKey "+key {
				p.forbidden(w)
				return
			}
			h(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { p.unknown(w) })
	handle("POST /v2/alerts", p.create)
	handle("POST /v2/alerts/{id}/{action}", p.act)
	if p.tells {
		handle("GET "+statusPath+"{id}", p.outcome)
	}
	if p.reads {
		handle("GET /v2/alerts/{id}", p.tell)
		handle("GET /v2/heartbeats/{name}", p.heartbeat)
		handle("GET /v2/heartbeats/{name}/ping", p.pong)
		handle("POST /v2/heartbeats/{name}/ping", p.pong)
	}
	return mux
}

// create answers "Create Alert".
func (p pager) create(w http.ResponseWriter, r *http.Request) {
	body := text(r)
	if !p.valid(w, r, body, createFields, "message") {
		return
	}
	var a struct{ Message, Alias, Description, User, Source string }
	_ = json.Unmarshal([]byte(body), &a) // the fields are strings
	p.take(w, &accepted{body: body, action: "Create", do: func() (string, *alert) {
		if p.discards {
			return "Alert is discarded by the policy night", nil
		}
		return "Created alert", p.page(Received{Text: a.Message + "\n" + a.Description, Alias: a.Alias, User: a.User, Source: a.Source, Body: body})
	}})
}

// take accepts a request, and answers so.
func (p pager) take(w http.ResponseWriter, r *accepted) {
	reply(w, http.StatusAccepted, map[string]any{"result": "Request will be processed", "took": 0.1, "requestId": p.accept(r)})
}

// act answers the calls that do something to an alert.
func (p pager) act(w http.ResponseWriter, r *http.Request) {
	body := text(r)
	id, kind := r.PathValue("id"), cmp.Or(r.URL.Query().Get("identifierType"), "id")
	action := map[string]string{"notes": "AddNote", "close": "Close"}[r.PathValue("action")]
	var wanted []string
	switch action {
	case "":
		p.unknown(w)
		return
	case "AddNote":
		wanted = append(wanted, "note")
	}
	if !p.valid(w, r, body, actFields, wanted...) {
		return
	}
	if kind != "id" && kind != "alias" {
		refuse(w, http.StatusUnprocessableEntity, "", map[string]string{"identifierType": fmt.Sprintf("%q is neither id nor alias", kind)})
		return
	}
	var n struct{ Note, User, Source string }
	_ = json.Unmarshal([]byte(body), &n)
	p.take(w, &accepted{body: body, action: action, do: func() (string, *alert) {
		// By an alias it finds open alerts only.
		a := p.find(id, kind)
		said := Received{Text: n.Note, User: n.User, Source: n.Source, Body: body}
		switch {
		case a == nil:
			return "Alert does not exist", nil
		case action == "Close" && a.status == "closed":
			return "Alert is already closed", nil
		case action == "Close":
			p.close(a, said)
			return "Closed alert", a
		}
		p.note(a, said)
		return "Added note to alert", a
	}})
}

// find finds an alert by its id, or an open one by its alias.
func (p pager) find(id, kind string) *alert {
	if kind == "alias" {
		return p.openAlert(id)
	}
	for _, a := range p.alerts {
		if a.id == id {
			return a
		}
	}
	return nil
}

// outcome answers "Get Request Status".
func (p pager) outcome(w http.ResponseWriter, r *http.Request) {
	about := p.became(r.PathValue("id"))
	if about == nil {
		w.Header().Set("X-Opsgenie-Errortype", "RequestNotProcessed")
		refuse(w, http.StatusNotFound, "Request not processed. Please try again later.", nil)
		return
	}
	data := about.said()
	data["success"], data["integrationId"] = data["isSuccess"], "integration-1"
	reply(w, http.StatusOK, map[string]any{"took": 0.1, "requestId": "look-up", "data": data})
}

// became is a request that has been carried out, nil where it has not, or is none.
func (s *Service) became(id string) *accepted {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catchUp()
	about := s.requests[id]
	if about == nil {
		return nil
	}
	// The real one is not done at once either.
	tells := about.done && (about.asked || s.lag > 0)
	about.asked = true
	if !tells {
		return nil
	}
	return about
}

// said are the fields that tell what became of a request that has been carried out.
func (r *accepted) said() map[string]any {
	said := map[string]any{
		"action": r.action, "isSuccess": r.alert != nil, "status": r.status,
		"processedAt": r.due.UTC().Format(time.RFC3339Nano), "alertId": "", "alias": "",
	}
	if r.alert != nil {
		said["alertId"], said["alias"] = r.alert.id, r.alert.alias
	}
	return said
}

// tell answers "Get Alert".
func (p pager) tell(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUp()
	id := r.PathValue("id")
	a := p.find(id, cmp.Or(r.URL.Query().Get("identifierType"), "id"))
	if a == nil {
		refuse(w, http.StatusNotFound, "Alert with id ["+id+"] does not exist.", nil)
		return
	}
	reply(w, http.StatusOK, map[string]any{"took": 0.1, "requestId": "look-up", "data": a.said()})
}

// said are the fields that tell of an alert.
func (a *alert) said() map[string]any {
	return map[string]any{"id": a.id, "alias": a.alias, "status": a.status, "count": a.count, "createdAt": a.created.UTC().Format(time.RFC3339Nano)}
}

// refuse answers as OpsGenie does: errors by field, where there are any.
func refuse(w http.ResponseWriter, status int, message string, fields map[string]string) {
	answer := map[string]any{"message": cmp.Or(message, "Request body is not processable. Please check the errors."), "took": 0.1, "requestId": "refused"}
	if len(fields) > 0 {
		answer["errors"] = fields
	}
	reply(w, status, answer)
}

// Fields of the requests, with their limits: OpsGenie's Alert API, "Create Alert",
// "Add Note" and "Close Alert".
var (
	createFields = map[string]rule{
		"message": chars(130), "alias": chars(512), "description": chars(15_000), "entity": chars(512), "source": chars(100),
		"user": chars(100), "note": chars(25_000), "tags": list(20, chars(50)), "actions": list(10, chars(50)), "details": details(8_000),
		"responders": list(50, responder("team", "user", "escalation", "schedule")), "visibleTo": list(50, responder("team", "user")),
		"priority": oneOf("P1", "P2", "P3", "P4", "P5"),
	}
	actFields = map[string]rule{"user": chars(100), "source": chars(100), "note": chars(25_000)}
)

// valid looks at a request's fields, of which some are wanted, or refuses it.
func (s *Service) valid(w http.ResponseWriter, r *http.Request, body string, rules map[string]rule, wanted ...string) bool {
	fields, status, what := object(r, body)
	if what != "" {
		s.refused(what, body)
		refuse(w, status, what, nil)
		return false
	}
	if wrong := wrong(fields, rules, wanted...); len(wrong) > 0 {
		s.refusedFields(wrong)
		refuse(w, http.StatusUnprocessableEntity, "", wrong)
		return false
	}
	return true
}

func details(most int) rule {
	return func(value any) string {
		pairs, ok := value.(map[string]any)
		if !ok {
			return "is no map"
		}
		n := 0
		for key, value := range pairs {
			text, ok := value.(string)
			if !ok {
				return fmt.Sprintf("the value of %q is no string", key)
			}
			n += len([]rune(key)) + len([]rune(text))
		}
		if n > most {
			return fmt.Sprintf("has %d characters in all, and at most %d are allowed", n, most)
		}
		return ""
	}
}

// responder is the form of who is told: a kind, and an id or a name; a user has
// a username.
func responder(kinds ...string) rule {
	return func(value any) string {
		who, ok := value.(map[string]any)
		if !ok {
			return "is no object"
		}
		kind, _ := who["type"].(string)
		if !slices.Contains(kinds, kind) {
			return fmt.Sprintf("has the type %v, and one of %s is wanted", who["type"], strings.Join(kinds, ", "))
		}
		name := "name"
		if kind == "user" {
			name = "username"
		}
		named := 0
		for _, field := range slices.Sorted(maps.Keys(who)) {
			text, _ := who[field].(string)
			switch {
			case field == "type":
			case field != "id" && field != name:
				return fmt.Sprintf("has the field %q, and a %s has id or %s", field, kind, name)
			case text == "":
				return fmt.Sprintf("has no text as its %s", field)
			default:
				named++
			}
		}
		if named != 1 {
			return fmt.Sprintf("has %d of id and %s, and exactly one is wanted", named, name)
		}
		return ""
	}
}
