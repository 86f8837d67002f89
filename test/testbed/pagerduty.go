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
)

// Fields of an event, with their limits: PagerDuty's Events API v2, "Send an Alert
// Event". An event that does not make an alert needs the key of one.
var (
	eventFields = map[string]rule{
		"routing_key": chars(32), "event_action": oneOf("trigger", "acknowledge", "resolve"), "dedup_key": chars(255),
		"payload": anything, "client": chars(limitEvent), "client_url": chars(limitEvent),
		"links":  list(100, holding(map[string]rule{"href": chars(limitEvent), "text": chars(limitEvent)}, "href")),
		"images": list(100, holding(map[string]rule{"src": chars(limitEvent), "href": chars(limitEvent), "alt": chars(limitEvent)}, "src")),
	}
	payloadFields = map[string]rule{
		"summary": chars(1024), "source": chars(limitEvent), "severity": oneOf("critical", "error", "warning", "info"), "timestamp": moment,
		"component": chars(limitEvent), "group": chars(limitEvent), "class": chars(limitEvent), "custom_details": anything,
	}
)

// limitEvent is how large an event may be, in bytes.
const limitEvent = 512 << 10

// NewPagerDuty plays PagerDuty's Events API: it accepts events with 202, carries them
// out afterwards, and never says what became of them. An event about an alert that is
// not open is accepted, and nothing comes of it. It refuses what the API's reference
// does not allow, and names the field.
func NewPagerDuty(ctx context.Context, key string) (*Service, error) {
	s := &Service{credential: key}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/enqueue", s.enqueue)
	return s, s.start(ctx, mux)
}

func (s *Service) enqueue(w http.ResponseWriter, r *http.Request) {
	body := text(r)
	if len(body) > limitEvent {
		s.refused("event", fmt.Sprintf("has %d bytes, and at most %d are allowed", len(body), limitEvent))
		reply(w, http.StatusRequestEntityTooLarge, map[string]any{"status": "invalid event", "message": "Event is too large"})
		return
	}
	fields, _, what := object(r, body)
	errs := map[string]string{"body": what}
	if what == "" {
		errs = s.wrongEvent(fields)
	}
	if len(errs) > 0 {
		s.refusedFields(errs)
		said := []string{}
		for _, name := range slices.Sorted(maps.Keys(errs)) {
			said = append(said, "'"+name+"' "+errs[name])
		}
		reply(w, http.StatusBadRequest, map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": said})
		return
	}
	var e struct {
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		Payload     struct {
			Summary, Source string
			CustomDetails   any `json:"custom_details"`
		}
	}
	_ = json.Unmarshal([]byte(body), &e) // the fields are as they should be
	more, _ := json.MarshalIndent(e.Payload.CustomDetails, "", " ")
	// What is kept is searched for secrets, and this one belongs into an event.
	said := Received{Text: e.Payload.Summary + "\n" + string(more), Alias: e.DedupKey, Source: e.Payload.Source, Body: strings.ReplaceAll(body, s.credential, "ROUTING-KEY")}
	s.accept(&accepted{body: body, action: e.EventAction, do: func() (string, *alert) {
		a := s.openAlert(e.DedupKey)
		switch {
		case e.EventAction == "trigger":
			a = s.page(said)
		case e.EventAction == "resolve" && a != nil:
			s.close(a, said)
		}
		return "", a
	}})
	reply(w, http.StatusAccepted, map[string]any{"status": "success", "message": "Event processed", "dedup_key": cmp.Or(e.DedupKey, "made-by-pagerduty")})
}

// wrongEvent says what is wrong with an event, by the names of its fields.
func (s *Service) wrongEvent(fields map[string]any) map[string]string {
	wanted := []string{"routing_key", "event_action", "dedup_key"}
	if fields["event_action"] == "trigger" {
		wanted = []string{"routing_key", "event_action", "payload"}
	}
	errs := wrong(fields, eventFields, wanted...)
	if key, _ := fields["routing_key"].(string); key != s.credential && errs["routing_key"] == "" {
		errs["routing_key"] = "is not that of an integration"
		if len(key) != len(s.credential) {
			errs["routing_key"] = "has an incorrect length (should be 32 characters)"
		}
	}
	if fields["payload"] == nil {
		return errs
	}
	payload, ok := fields["payload"].(map[string]any)
	if !ok {
		errs["payload"] = "is no object"
		return errs
	}
	for name, what := range wrong(payload, payloadFields, "summary", "source", "severity") {
		errs["payload."+name] = what
	}
	return errs
}
