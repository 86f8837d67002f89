package testbed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// served closes a service at the end of a test.
func served(t *testing.T, s *Service, err error) *Service {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// body is a JSON object with some fields changed; nil takes one out.
func body(t *testing.T, base, change map[string]any) string {
	t.Helper()
	all := maps.Clone(base)
	for name, value := range change {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// refusedFor asserts that a service has refused something for one field only, which the
// answer names; "": nothing was refused.
func refusedFor(t *testing.T, s *Service, field, answer string) {
	t.Helper()
	got := s.Refusals()
	switch {
	case field == "" && len(got) == 0:
	case field == "" || len(got) != 1 || !strings.HasPrefix(got[0], field+":") || !strings.Contains(answer, field):
		t.Errorf("refused for %q, want %q; answered %s", got, field, answer)
	}
}

func TestPagerDutyRefuses(t *testing.T) {
	payload := map[string]any{"summary": "down", "source": "i-1", "severity": "critical"}
	event := map[string]any{"routing_key": RoutingKey, "event_action": "trigger", "dedup_key": "a/b", "payload": payload}
	with := func(field string, value any) string { return body(t, event, map[string]any{field: value}) }
	in := func(field string, value any) string {
		var changed map[string]any
		_ = json.Unmarshal([]byte(body(t, payload, map[string]any{field: value})), &changed)
		return with("payload", changed)
	}
	for name, tt := range map[string]struct {
		body, field string // that is refused; "" where the event is taken
	}{
		"as long as allowed": {body(t, event, map[string]any{
			"dedup_key": strings.Repeat("a", 255), "client": "firstline", "client_url": "https://example.com/",
			"links": []any{map[string]any{"href": "https://example.com/", "text": "x"}}, "images": []any{map[string]any{"src": "https://example.com/x.png"}},
			"payload": map[string]any{
				"summary": strings.Repeat("ü", 1024), "source": "i-1", "severity": "info", "timestamp": "2026-01-02T03:04:05.678Z",
				"component": "x", "group": "y", "class": "z", "custom_details": map[string]any{"text": strings.Repeat("x", 400_000)},
			},
		}), ""},
		"no key of an alert":        {with("dedup_key", nil), ""},
		"resolve":                   {body(t, event, map[string]any{"event_action": "resolve", "payload": nil}), ""},
		"resolve without a key":     {body(t, event, map[string]any{"event_action": "resolve", "payload": nil, "dedup_key": nil}), "dedup_key"},
		"no JSON":                   {"{", "body"},
		"no routing key":            {with("routing_key", nil), "routing_key"},
		"short routing key":         {with("routing_key", "x"), "routing_key"},
		"another's routing key":     {with("routing_key", strings.Repeat("x", 32)), "routing_key"},
		"unknown action":            {with("event_action", "close"), "event_action"},
		"long key of an alert":      {with("dedup_key", strings.Repeat("a", 256)), "dedup_key"},
		"unknown field":             {with("severity", "critical"), "severity"},
		"no payload":                {with("payload", nil), "payload"},
		"a payload that is text":    {with("payload", "down"), "payload"},
		"no summary":                {in("summary", nil), "payload.summary"},
		"long summary":              {in("summary", strings.Repeat("ü", 1025)), "payload.summary"},
		"no source":                 {in("source", ""), "payload.source"},
		"unknown severity":          {in("severity", "P1"), "payload.severity"},
		"no severity":               {in("severity", nil), "payload.severity"},
		"no time":                   {in("timestamp", "yesterday"), "payload.timestamp"},
		"unknown field of it":       {in("details", "x"), "payload.details"},
		"a link without an address": {with("links", []any{map[string]any{"text": "x"}}), "links"},
		"too large":                 {in("custom_details", strings.Repeat("x", limitEvent)), "event"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewPagerDuty(t.Context(), RoutingKey)
			served(t, s, err)
			got := do(t, http.MethodPost, s.URL+"/v2/enqueue", "", "application/json", tt.body)
			want := map[string]int{"": http.StatusAccepted, "event": http.StatusRequestEntityTooLarge}[tt.field]
			if want == 0 {
				want = http.StatusBadRequest
			}
			if got.status != want || strings.Contains(got.body, RoutingKey) {
				t.Errorf("%+v, want %d", got, want)
			}
			if tt.field == "event" {
				got.body = tt.field // it names none
			}
			refusedFor(t, s, tt.field, got.body)
		})
	}
}

func TestPagerDuty(t *testing.T) {
	s, err := NewPagerDuty(t.Context(), RoutingKey)
	served(t, s, err)
	send := func(action, key, summary string) {
		t.Helper()
		got := do(t, http.MethodPost, s.URL+"/v2/enqueue", "", "application/json", body(t, map[string]any{
			"routing_key": RoutingKey, "event_action": action, "dedup_key": key, "payload": map[string]any{"summary": summary, "source": "i-1", "severity": "error"},
		}, nil))
		if got.status != http.StatusAccepted || !strings.Contains(got.body, `"dedup_key":"`+key+`"`) {
			t.Errorf("%+v", got)
		}
	}
	send("resolve", "a", "nothing is open")
	send("trigger", "a", "down")
	send("trigger", "a", "down again")
	if status, count := s.Alert("a"); status != "open" || count != 2 {
		t.Errorf("%s, counted %d times", status, count)
	}
	s.SetLag(time.Hour)
	send("resolve", "a", "well")
	if status, _ := s.Alert("a"); status != "open" || len(s.Closings("")) != 0 {
		t.Errorf("it was carried out at once: %s", status)
	}
	s.SetLag(0)
	send("resolve", "b", "nothing is open")
	s.mu.Lock()
	for _, r := range s.queue {
		r.due = time.Now()
	}
	s.mu.Unlock()
	if status, _ := s.Alert("a"); status != "closed" || len(s.Closings("")) != 1 {
		t.Errorf("%s, closings %+v", status, s.Closings(""))
	}
	if got := s.Received(RoutingKey); len(got) != 0 || len(s.Received("down")) != 2 {
		t.Errorf("%+v", s.Received())
	}
	// What it shows of a request in trouble is what a server knows of it: the key.
	s.Trouble(Failing(500))
	if got := do(t, http.MethodPost, s.URL+"/v2/enqueue", "", "application/json", "{}"); !strings.Contains(got.body, RoutingKey) {
		t.Errorf("%+v", got)
	}
}

// signed sends a message to the webhook.
func signed(t *testing.T, s *Service, id, secret string, at time.Time, text string) (status int, answer string) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + text))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {stamp},
		"Webhook-Signature": {"v1,another v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw := make([]byte, 1000)
	n, _ := resp.Body.Read(raw)
	return resp.StatusCode, string(raw[:n])
}

func webhookMessage(t *testing.T, kind string, change map[string]any) string {
	t.Helper()
	data := map[string]any{"alert": "a", "title": "i-1 is down", "text": "i-1 is down", "severity": "down", "situation": "down", "test": false, "deployment": "firstline", "region": "eu-west-1"}
	var changed map[string]any
	_ = json.Unmarshal([]byte(body(t, data, change)), &changed)
	return body(t, map[string]any{"type": kind, "timestamp": "2026-01-02T03:04:05Z", "data": changed}, nil)
}

func TestWebhookRefuses(t *testing.T) {
	firing := func(change map[string]any) string { return webhookMessage(t, "firing", change) }
	for name, tt := range map[string]struct {
		id, secret string
		age        time.Duration
		body       string
		status     int
		field      string
	}{
		"as it should be":       {body: firing(nil), status: 200},
		"another secret":        {secret: "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)), body: firing(nil), status: 401, field: "webhook-signature"},
		"an old signature":      {age: 10 * time.Minute, body: firing(nil), status: 401, field: "webhook-timestamp"},
		"one of tomorrow":       {age: -10 * time.Minute, body: firing(nil), status: 401, field: "webhook-timestamp"},
		"an id with full stops": {id: "a.b", body: firing(nil), status: 401, field: "webhook-id"},
		"no JSON":               {body: "{", status: 400, field: "body"},
		"unknown type":          {body: webhookMessage(t, "page", nil), status: 422, field: "type"},
		"no alert":              {body: firing(map[string]any{"alert": nil}), status: 422, field: "data"},
		"a long title":          {body: firing(map[string]any{"title": strings.Repeat("ü", 121)}), status: 422, field: "data"},
		"an unknown field":      {body: firing(map[string]any{"message": "x"}), status: 422, field: "data"},
		"a test that is text":   {body: firing(map[string]any{"test": "no"}), status: 422, field: "data"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewWebhook(t.Context(), WebhookSecret)
			served(t, s, err)
			if tt.secret == "" {
				tt.secret = WebhookSecret
			}
			if tt.id == "" {
				tt.id = "id"
			}
			status, answer := signed(t, s, tt.id, tt.secret, time.Now().Add(-tt.age), tt.body)
			if status != tt.status {
				t.Errorf("%d: %s", status, answer)
			}
			refusedFor(t, s, tt.field, answer)
		})
	}
}

func TestWebhook(t *testing.T) {
	s, err := NewWebhook(t.Context(), WebhookSecret)
	served(t, s, err)
	send := func(id, kind string, want int) {
		t.Helper()
		if status, answer := signed(t, s, id, WebhookSecret, time.Now(), webhookMessage(t, kind, nil)); status != want {
			t.Errorf("%s %s: %d %s, want %d", id, kind, status, answer, want)
		}
	}
	send("0", "note", 404)
	send("0", "resolved", 404)
	send("1", "firing", 200)
	send("1", "firing", 200) // a retry
	if status, count := s.Alert("a"); status != "open" || count != 1 {
		t.Errorf("%s, counted %d times", status, count)
	}
	send("2", "firing", 200)
	if _, count := s.Alert("a"); count != 2 {
		t.Errorf("counted %d times", count)
	}
	send("2", "note", 409)
	send("3", "note", 200)
	s.SetLag(time.Hour)
	send("4", "resolved", 202)
	if status, _ := s.Alert("a"); status != "open" {
		t.Errorf("it was carried out at once: %s", status)
	}
	s.SetLag(0)
	send("5", "resolved", 200)
	if status, _ := s.Alert("a"); status != "open" || len(s.Received()) != 3 || !s.Received()[2].Note {
		t.Errorf("what comes later waits: %s, %+v", status, s.Received())
	}
	s.mu.Lock()
	s.queue[0].due = time.Now()
	s.mu.Unlock()
	if status, _ := s.Alert("a"); status != "closed" || len(s.Closings("a")) != 1 {
		t.Errorf("%s, %+v", status, s.Closings("a"))
	}
	send("6", "resolved", 404)
}

func TestOperations(t *testing.T) {
	for name, knows := range map[string]bool{"it knows an integration's requests": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			o := jsmOperations
			o.Requests = knows
			s, err := NewJSM(t.Context(), JSMKey, o)
			served(t, s, err)
			base, basic := strings.TrimSuffix(s.URL, jsmPath)+opsPath+o.CloudID+"/v1", "Basic "+base64.StdEncoding.EncodeToString([]byte(o.Email+":"+o.Token))
			get := func(path, authorization string, want int) (answer map[string]any) {
				t.Helper()
				got := do(t, http.MethodGet, base+path, authorization, "", "")
				if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != want {
					t.Errorf("%s: %+v, want %d", path, got, want)
				}
				return answer
			}
			get("/alerts/alias?alias=a%2Fb", basic, 404)
			_, answer := ask(t, s, JSMKey, http.MethodPost, "/v2/alerts", map[string]string{"message": "down", "alias": "a/b"})
			id, _ := answer["requestId"].(string)
			get("/alerts/requests/"+id, basic, 404)
			became := map[bool]int{true: 200, false: 404}[knows]
			if said := get("/alerts/requests/"+id, basic, became); knows && (said["isSuccess"] != true || said["alias"] != "a/b") {
				t.Errorf("%v", said)
			}
			if said := get("/alerts/alias?alias=a%2Fb", basic, 200); said["status"] != "open" {
				t.Errorf("%v", said)
			}
			s.CloseAlert("a/b")
			get("/alerts/alias?alias=a%2Fb", basic, 404)
			s.SetDiscards(true)
			_, answer = ask(t, s, JSMKey, http.MethodPost, "/v2/alerts", map[string]string{"message": "down", "alias": "a/b"})
			id, _ = answer["requestId"].(string)
			get("/alerts/requests/"+id, basic, 404)
			if said := get("/alerts/requests/"+id, basic, became); knows && (said["isSuccess"] != false || said["status"] == "") {
				t.Errorf("%v", said)
			}
			get("/alerts/alias?alias=a%2Fb", basic, 404)
			// The key is not the token, and neither is for another team.
			get("/alerts/alias?alias=a%2Fb", "GenieKey "+JSMKey, 401)
			get("/teams/another/heartbeats/ping?name=firstline-x", basic, 404)
			if said := get("/teams/"+o.TeamID+"/heartbeats?name=firstline-x", basic, 200); len(said["values"].([]any)) != 1 {
				t.Errorf("%v", said)
			}
			if said := get("/teams/"+o.TeamID+"/heartbeats?name=another", basic, 200); len(said["values"].([]any)) != 0 {
				t.Errorf("%v", said)
			}
			get("/teams/"+o.TeamID+"/heartbeats/ping?name=firstline-x", basic, 202)
			get("/teams/"+o.TeamID+"/heartbeats/ping", basic, 400)
			if got := s.Pings("firstline-x"); len(got) != 1 || len(s.Pings("")) != 1 {
				t.Errorf("%+v", s.Pings(""))
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	s, err := NewHeartbeats(t.Context(), HeartbeatKey)
	served(t, s, err)
	for _, tt := range []struct {
		url    string
		status int
	}{
		{s.URL + "firstline-x", 200},
		{s.URL + "firstline-x/fail", 200},
		{s.URL + "another", 404},
		{strings.Replace(s.URL, HeartbeatKey, "guessed", 1) + "firstline-x", 404},
	} {
		if got := do(t, http.MethodPost, tt.url, "", "text/plain", "text of "+tt.url); got.status != tt.status {
			t.Errorf("%s: %+v", tt.url, got)
		}
	}
	var got []Ping
	for _, p := range s.Pings("firstline-x") {
		p.At = time.Time{}
		got = append(got, p)
	}
	if diff := cmp.Diff([]Ping{
		{Name: "firstline-x", Text: "text of " + s.URL + "firstline-x"},
		{Name: "firstline-x", Failed: true, Text: "text of " + s.URL + "firstline-x/fail"},
	}, got); diff != "" {
		t.Error(diff)
	}
	og := playedPager(t)
	for path, want := range map[string]int{"firstline-x/ping": 202, "another/ping": 202, "firstline-x": 200, "another": 404} {
		if status, answer := ask(t, og, testKey, http.MethodGet, "/v2/heartbeats/"+path, ""); status != want {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	if len(og.Pings("")) != 2 {
		t.Errorf("%+v", og.Pings(""))
	}
}
