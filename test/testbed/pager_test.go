package testbed

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ask asks a pager with a JSON body.
func ask(t *testing.T, s *Service, key, method, path string, body any) (status int, answer map[string]any) {
	t.Helper()
	raw, isText := body.(string)
	if !isText {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(text)
	}
	got := do(t, method, s.URL+path, "GenieKey "+key, "application/json", raw)
	if err := json.Unmarshal([]byte(got.body), &answer); got.err != nil || err != nil {
		t.Fatalf("%+v: %v", got, err)
	}
	return got.status, answer
}

func TestPagerRefuses(t *testing.T) {
	s := playedPager(t)
	many := func(n int, text string) (all []string) {
		for range n {
			all = append(all, text)
		}
		return all
	}
	with := func(field string, value any) map[string]any { return map[string]any{"message": "down", field: value} }
	who := func(pairs ...string) map[string]any {
		r := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			r[pairs[i]] = pairs[i+1]
		}
		return with("responders", []any{r})
	}
	const create, notes, closing = "/v2/alerts", "/v2/alerts/a%2Fb/notes?identifierType=alias", "/v2/alerts/a%2Fb/close?identifierType=alias"
	for name, tt := range map[string]struct {
		path   string
		body   any
		status int
		field  string // that the answer names; none where the request is taken
	}{
		"as long as allowed": {create, map[string]any{
			"message": strings.Repeat("ü", 130), "alias": strings.Repeat("a", 512), "description": strings.Repeat("d", 15_000), "entity": strings.Repeat("e", 512),
			"source": strings.Repeat("s", 100), "user": strings.Repeat("u", 100), "note": strings.Repeat("n", 25_000), "tags": many(20, strings.Repeat("t", 50)),
			"details": map[string]string{"key": strings.Repeat("v", 7_997)}, "priority": "P5", "actions": many(10, strings.Repeat("x", 50)),
		}, 202, ""},
		"no JSON":                 {create, "{", 400, ""},
		"a list":                  {create, "[]", 400, ""},
		"unknown field":           {create, with("teams", []string{"x"}), 422, "teams"},
		"field of another case":   {create, with("Alias", "x"), 422, "Alias"},
		"no message":              {create, map[string]any{"alias": "x"}, 422, "message"},
		"blank message":           {create, map[string]any{"message": " \n"}, 422, "message"},
		"message is no text":      {create, map[string]any{"message": 5}, 422, "message"},
		"long message":            {create, map[string]any{"message": strings.Repeat("ü", 131)}, 422, "message"},
		"long alias":              {create, with("alias", strings.Repeat("x", 513)), 422, "alias"},
		"long description":        {create, with("description", strings.Repeat("x", 15_001)), 422, "description"},
		"many tags":               {create, with("tags", many(21, "x")), 422, "tags"},
		"long tag":                {create, with("tags", []string{strings.Repeat("x", 51)}), 422, "tags"},
		"empty tag":               {create, with("tags", []string{""}), 422, "tags"},
		"tags are no list":        {create, with("tags", "x"), 422, "tags"},
		"large details":           {create, with("details", map[string]string{"key": strings.Repeat("v", 7_998)}), 422, "details"},
		"detail is no text":       {create, with("details", map[string]any{"key": 5}), 422, "details"},
		"details are no map":      {create, with("details", []string{"x"}), 422, "details"},
		"long entity":             {create, with("entity", strings.Repeat("x", 513)), 422, "entity"},
		"long source":             {create, with("source", strings.Repeat("x", 101)), 422, "source"},
		"long user":               {create, with("user", strings.Repeat("x", 101)), 422, "user"},
		"long note":               {create, with("note", strings.Repeat("x", 25_001)), 422, "note"},
		"priority":                {create, with("priority", "P6"), 422, "priority"},
		"team by id":              {create, who("type", "team", "id", "x"), 202, ""},
		"team by name":            {create, who("type", "team", "name", "x"), 202, ""},
		"schedule by name":        {create, who("type", "schedule", "name", "x"), 202, ""},
		"escalation by id":        {create, who("type", "escalation", "id", "x"), 202, ""},
		"user by name":            {create, who("type", "user", "username", "x@example.com"), 202, ""},
		"user by another name":    {create, who("type", "user", "name", "x"), 422, "responders"},
		"team by username":        {create, who("type", "team", "username", "x"), 422, "responders"},
		"responder without a way": {create, who("type", "team"), 422, "responders"},
		"responder with two ways": {create, who("type", "team", "id", "x", "name", "y"), 422, "responders"},
		"empty id":                {create, who("type", "team", "id", ""), 422, "responders"},
		"no type":                 {create, who("id", "x"), 422, "responders"},
		"unknown type":            {create, who("type", "rotation", "id", "x"), 422, "responders"},
		"too many":                {create, with("responders", many(51, "x")), 422, "responders"},
		"a schedule cannot see":   {create, with("visibleTo", []any{map[string]string{"type": "schedule", "id": "x"}}), 422, "visibleTo"},
		"note":                    {notes, map[string]any{"note": strings.Repeat("ü", 25_000), "user": "x", "source": "y"}, 202, ""},
		"note without a note":     {notes, map[string]any{"user": "x"}, 422, "note"},
		"note too long":           {notes, map[string]any{"note": strings.Repeat("x", 25_001)}, 422, "note"},
		"note with a message":     {notes, map[string]any{"note": "x", "message": "y"}, 422, "message"},
		"close":                   {closing, map[string]any{}, 202, ""},
		"close with a note":       {closing, map[string]any{"user": "x", "source": "y", "note": "z"}, 202, ""},
		"close, long user":        {closing, map[string]any{"user": strings.Repeat("x", 101)}, 422, "user"},
		"close, unknown field":    {closing, map[string]any{"reason": "x"}, 422, "reason"},
		"neither id nor alias":    {"/v2/alerts/a/close?identifierType=Alias", map[string]any{}, 422, "identifierType"},
		"unknown action":          {"/v2/alerts/a/shut", map[string]any{}, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := ask(t, s, testKey, http.MethodPost, tt.path, tt.body)
			fields, _ := answer["errors"].(map[string]any)
			if _, named := fields[tt.field]; status != tt.status || named != (tt.field != "") || len(fields) > 1 || answer["requestId"] == nil {
				t.Errorf("%d: %v", status, answer)
			}
		})
	}
	if got := do(t, http.MethodPost, s.URL+create, "GenieKey "+testKey, "text/plain", `{"message": "x"}`); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("a body that is called no JSON: %+v", got)
	}
}

// act does something to an alert, and returns what became of it.
func act(t *testing.T, s *Service, id, kind, action string, body map[string]string) string {
	t.Helper()
	raw := []byte("{}")
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	return outcome(t, s, do(t, http.MethodPost, s.URL+"/v2/alerts/"+url.PathEscape(id)+"/"+action+"?identifierType="+kind, "GenieKey "+testKey, "application/json", string(raw)))
}

func TestCloseAlert(t *testing.T) {
	s := playedPager(t)
	const alias = "firstline/1/eu-west-1/i-1"
	look := func(id, kind string) (int, any) {
		status, answer := ask(t, s, testKey, http.MethodGet, "/v2/alerts/"+url.PathEscape(id)+"?identifierType="+kind, "")
		data, _ := answer["data"].(map[string]any)
		return status, data["status"]
	}
	if got := act(t, s, alias, "alias", "close", nil); got != "Alert does not exist" {
		t.Errorf("nothing to close: %s", got)
	}
	outcome(t, s, page(t, s, alias, "down"))
	if status, got := look(alias, "alias"); status != 200 || got != "open" {
		t.Errorf("%d %v", status, got)
	}
	if got := act(t, s, alias, "alias", "close", map[string]string{"note": "all is well", "user": "firstline", "source": "x"}); got != "done" {
		t.Errorf("close: %s", got)
	}
	for kind, want := range map[string]string{"alias": "Alert does not exist", "id": "Alert is already closed"} {
		if got := act(t, s, map[string]string{"alias": alias, "id": "alert-1"}[kind], kind, "close", nil); got != want {
			t.Errorf("closed again by its %s: %s", kind, got)
		}
	}
	if status, got := look("alert-1", "id"); status != 200 || got != "closed" {
		t.Errorf("%d %v", status, got)
	}
	if status, _ := look(alias, "alias"); status != 404 {
		t.Errorf("by its alias: %d", status)
	}
	// The next one of that alias is another, and a person closes it.
	outcome(t, s, page(t, s, alias, "down again"))
	if diff := cmp.Diff([]string{alias}, s.OpenAlerts()); diff != "" {
		t.Error(diff)
	}
	if !s.CloseAlert(alias) || len(s.OpenAlerts()) != 0 {
		t.Error("a person can close what is open")
	}
	type by struct{ Alias, User, Source, Text string }
	var got []by
	for _, c := range s.Closings(alias) {
		got = append(got, by{c.Alias, c.User, c.Source, c.Text})
	}
	if diff := cmp.Diff([]by{{alias, "firstline", "x", "all is well"}, {alias, Person, "", ""}}, got); diff != "" {
		t.Error(diff)
	}
	if len(s.Closings("")) != 2 || len(s.Closings("other")) != 0 {
		t.Errorf("%+v", s.Closings(""))
	}
	if got := texts(s.Received()); len(got) != 2 {
		t.Errorf("a closing wakes nobody: %q", got)
	}
}

// A lag keeps the order, and what was accepted shows only later.
func TestLag(t *testing.T) {
	s := playedPager(t)
	s.SetLag(300 * time.Millisecond)
	var first struct{ RequestID string }
	if err := json.Unmarshal([]byte(page(t, s, "a", "down").body), &first); err != nil {
		t.Fatal(err)
	}
	said := addNote(t, s, "a", "still")
	if got := texts(s.Received()); len(got) != 0 {
		t.Errorf("at once: %q", got)
	}
	look := func() int {
		status, answer := ask(t, s, testKey, http.MethodGet, statusPath+first.RequestID, "")
		if data, _ := answer["data"].(map[string]any); status == 200 && (data["isSuccess"] != true || data["alertId"] != "alert-1" || data["alias"] != "a") {
			t.Errorf("%v", answer)
		}
		return status
	}
	for range 2 {
		if got := look(); got != http.StatusNotFound {
			t.Errorf("too early: %d", got)
		}
	}
	for end := time.Now().Add(5 * time.Second); look() != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is never done")
		}
	}
	for end := time.Now().Add(5 * time.Second); len(s.Received("still")) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the note never comes")
		}
	}
	s.SetLag(0)
	if got := outcome(t, s, said); got != "done" {
		t.Errorf("the note: %s", got)
	}
	if diff := cmp.Diff([]string{"down", "still"}, texts(s.Received())); diff != "" {
		t.Error(diff)
	}
}

func TestJSM(t *testing.T) {
	const key = "jsm-key"
	s, err := NewJSM(t.Context(), key, Operations{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if !strings.HasSuffix(s.URL, "/jsm/ops/integration") {
		t.Errorf("at %s", s.URL)
	}
	post := func(path string, body any) (int, map[string]any) { return ask(t, s, key, http.MethodPost, path, body) }
	status, answer := post("/v2/alerts", map[string]string{"message": "down", "alias": "a/b"})
	id, _ := answer["requestId"].(string)
	if status != 202 || id == "" {
		t.Fatalf("%d %v", status, answer)
	}
	if status, answer := post("/v2/alerts/a%2Fb/notes?identifierType=alias", map[string]string{"note": "still"}); status != 202 {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := post("/v2/alerts", map[string]string{"massage": "x"}); status != 422 {
		t.Errorf("%d %v", status, answer)
	}
	// It does not tell, and what answers is not like OpsGenie.
	for _, path := range []string{statusPath + id, "/v2/alerts/a%2Fb?identifierType=alias", "/v1/alerts"} {
		if status, answer := ask(t, s, key, http.MethodGet, path, ""); status != 404 || answer["requestId"] != nil {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	if status, _ := ask(t, s, "other", http.MethodPost, "/v2/alerts", map[string]string{"message": "x"}); status != 401 {
		t.Errorf("another's key: %d", status)
	}
	if status, answer := post("/v2/alerts/a%2Fb/close?identifierType=alias", map[string]string{"note": "well"}); status != 202 {
		t.Errorf("%d %v", status, answer)
	}
	if status, _ := s.Alert("a/b"); status != "closed" || len(s.Closings("a/b")) != 1 {
		t.Errorf("the alert is %q", status)
	}
	if diff := cmp.Diff([]string{"down", "still"}, texts(s.Received())); diff != "" {
		t.Error(diff)
	}
}
