package testbed

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	testToken = "xoxb-test"
	testKey   = "test-key"
)

func playedSlack(t *testing.T) *Service {
	t.Helper()
	s, err := NewSlack(t.Context(), testToken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func playedPager(t *testing.T) *Service {
	t.Helper()
	s, err := NewPager(t.Context(), testKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// said is an answer of a played service.
type said struct {
	status      int
	retryAfter  string
	contentType string
	body        string
	err         error
}

// do asks a service, and waits a second for the answer.
func do(t *testing.T, method, address, authorization, contentType, body string) said {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Type", contentType)
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return said{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return said{resp.StatusCode, resp.Header.Get("Retry-After"), resp.Header.Get("Content-Type"), string(text), err}
}

func post(t *testing.T, s *Service, text string) said {
	t.Helper()
	form := url.Values{"channel": {SlackChannel}, "text": {text}}
	return do(t, http.MethodPost, s.URL+"chat.postMessage", "Bearer "+testToken, "application/x-www-form-urlencoded", form.Encode())
}

func page(t *testing.T, s *Service, alias, message string) said {
	t.Helper()
	body, err := json.Marshal(map[string]string{"alias": alias, "message": message})
	if err != nil {
		t.Fatal(err)
	}
	return do(t, http.MethodPost, s.URL+"/v2/alerts", "GenieKey "+testKey, "application/json", string(body))
}

func addNote(t *testing.T, s *Service, alias, text string) said {
	t.Helper()
	body, err := json.Marshal(map[string]string{"note": text})
	if err != nil {
		t.Fatal(err)
	}
	return do(t, http.MethodPost, s.URL+"/v2/alerts/"+url.PathEscape(alias)+"/notes?identifierType=alias", "GenieKey "+testKey, "application/json", string(body))
}

// outcome is what the pager says became of a request, the second time it is
// asked.
func outcome(t *testing.T, s *Service, accepted said) string {
	t.Helper()
	var a struct{ RequestID string }
	if err := json.Unmarshal([]byte(accepted.body), &a); err != nil || a.RequestID == "" || accepted.status != http.StatusAccepted {
		t.Fatalf("not accepted: %+v", accepted)
	}
	look := func() said {
		return do(t, http.MethodGet, s.URL+statusPath+a.RequestID, "GenieKey "+testKey, "", "")
	}
	if first := look(); first.status != http.StatusNotFound {
		t.Errorf("at first: %+v", first)
	}
	var told struct {
		Data struct {
			IsSuccess bool
			Status    string
		}
	}
	if err := json.Unmarshal([]byte(look().body), &told); err != nil {
		t.Fatal(err)
	}
	if told.Data.IsSuccess {
		return "done"
	}
	return told.Data.Status
}

func texts(all []Received) []string {
	var found []string
	for _, r := range all {
		found = append(found, strings.TrimSpace(r.Text))
	}
	return found
}

func TestTrouble(t *testing.T) {
	const picked, other = "the <one> & only", "another"
	for name, tt := range map[string]struct {
		trouble Trouble
		want    said
	}{
		"500":    {Failing(500), said{status: 500, contentType: "text/plain", body: "Internal Server Error: Bearer " + testToken + "\n"}},
		"not ok": {NotOK("fatal_error"), said{status: 200, contentType: "application/json", body: `{"ok":false,"error":"fatal_error"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := playedSlack(t)
			tt.trouble.Pick = func(r Request) bool { return r.Method == http.MethodPost && r.Has("<one>", "only") }
			trouble := s.Trouble(tt.trouble)
			if got := post(t, s, other); got.status != 200 || !strings.Contains(got.body, `"ok":true`) {
				t.Errorf("a request that is not picked: %+v", got)
			}
			if got := post(t, s, picked); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if trouble.Hits() != 1 {
				t.Errorf("%d hits", trouble.Hits())
			}
			if diff := cmp.Diff([]string{other}, texts(s.Received())); diff != "" {
				t.Error(diff)
			}
			trouble.End()
			if got := post(t, s, picked); got.status != 200 || !strings.Contains(got.body, `"ok":true`) {
				t.Errorf("back to normal: %+v", got)
			}
		})
	}
}

func TestAlerts(t *testing.T) {
	s := playedPager(t)
	const alias = "firstline/123456789012/eu-west-1/i-1"
	status := func() string {
		got := do(t, http.MethodGet, s.URL+"/v2/alerts/"+url.PathEscape(alias)+"?identifierType=alias", "GenieKey "+testKey, "", "")
		var told struct {
			RequestID string
			Data      struct {
				Status, Alias string
				Count         int
			}
		}
		if err := json.Unmarshal([]byte(got.body), &told); err != nil || told.RequestID == "" {
			t.Fatalf("got %+v, %v", got, err)
		}
		if got.status == http.StatusNotFound {
			return "none"
		}
		if told.Data.Alias != alias {
			t.Errorf("got %+v", got)
		}
		return told.Data.Status
	}
	if got := status(); got != "none" {
		t.Errorf("got %s", got)
	}
	if got := outcome(t, s, addNote(t, s, alias, "too early")); got != "Alert does not exist" {
		t.Errorf("a note on nothing: %s", got)
	}
	for _, message := range []string{"down", "down still"} {
		if got := outcome(t, s, page(t, s, alias, message)); got != "done" {
			t.Errorf("got %s", got)
		}
	}
	if status, count := s.Alert(alias); status != "open" || count != 2 {
		t.Errorf("%s, counted %d", status, count)
	}
	if got := status(); got != "open" {
		t.Errorf("got %s", got)
	}
	if got := outcome(t, s, addNote(t, s, alias, "another instance")); got != "done" {
		t.Errorf("a note: %s", got)
	}
	if !s.CloseAlert(alias) || s.CloseAlert(alias) || s.CloseAlert("unknown") {
		t.Error("it can be closed once, and no other")
	}
	// By its alias only an open one is found.
	if got := status(); got != "none" {
		t.Errorf("got %s", got)
	}
	if status, _ := s.Alert(alias); status != "closed" {
		t.Errorf("got %s", status)
	}
	if got := outcome(t, s, addNote(t, s, alias, "too late")); got != "Alert does not exist" {
		t.Errorf("a note on a closed alert: %s", got)
	}
	page(t, s, alias, "down again")
	if status, count := s.Alert(alias); status != "open" || count != 1 {
		t.Errorf("a new alert: %s, counted %d", status, count)
	}
	if diff := cmp.Diff([]string{"down", "down still", "another instance", "down again"}, texts(s.Received())); diff != "" {
		t.Error(diff)
	}
	if notes := s.Received("another instance"); len(notes) != 1 || !notes[0].Note || notes[0].Alias != alias {
		t.Errorf("got %+v", notes)
	}
	if got := do(t, http.MethodGet, s.URL+"/v2/alerts/x?identifierType=alias", "GenieKey other", "", ""); got.status != http.StatusUnauthorized {
		t.Errorf("with another key: %+v", got)
	}
}

// The status of a request is picked by what that request was.
func TestTroubleOfAStatus(t *testing.T) {
	s := playedPager(t)
	failing := Failing(http.StatusInternalServerError)
	failing.Pick = func(r Request) bool { return r.Method == http.MethodGet && r.Has("i-1") }
	s.Trouble(failing)
	var got []int
	for _, message := range []string{"i-1 is down", "i-2 is down"} {
		var accepted struct{ RequestID string }
		if err := json.Unmarshal([]byte(page(t, s, "a", message).body), &accepted); err != nil {
			t.Fatal(err)
		}
		got = append(got, do(t, http.MethodGet, s.URL+statusPath+accepted.RequestID, "GenieKey "+testKey, "", "").status)
	}
	if diff := cmp.Diff([]int{500, 404}, got); diff != "" {
		t.Error(diff)
	}
}

// What is refused for what is in it can be asked for: nobody may need to notice.
func TestRefusals(t *testing.T) {
	slack, pager := playedSlack(t), playedPager(t)
	post(t, slack, "x")
	page(t, pager, "a", "x")
	if got := append(slack.Refusals(), pager.Refusals()...); len(got) != 0 {
		t.Errorf("%q", got)
	}
	call(t, slack, "chat.postMessage", "text", "x", "blocks", `[{"type": "dividers"}]`)
	call(t, slack, "chat.postMessage", "text", "x", "thread_ts", "1600000000.000001")
	page(t, pager, "a", "")
	got := append(slack.Refusals(), pager.Refusals()...)
	if len(got) != 2 || !strings.HasPrefix(got[0], "invalid_blocks: ") || !strings.HasPrefix(got[1], "message: ") {
		t.Errorf("%q", got)
	}
}
