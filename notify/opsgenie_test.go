package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"firstline/internal/fault"
)

// alertFaults is what OpsGenie would refuse an alert for.
func alertFaults(a alert) []string {
	var faults []string
	check := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	limit := func(field, value string, most int) {
		check(utf8.RuneCountInString(value) > most, "%s has %d characters, %d are allowed", field, utf8.RuneCountInString(value), most)
		check(!utf8.ValidString(value), "%s is not UTF-8", field)
	}
	check(a.Message == "", "message is empty")
	limit("message", a.Message, 130)
	check(a.Alias == "", "alias is empty")
	limit("alias", a.Alias, 512)
	limit("description", a.Description, 15000)
	limit("entity", a.Entity, 512)
	limit("source", a.Source, 100)
	check(len(a.Tags) > 20, "%d tags", len(a.Tags))
	for _, tag := range a.Tags {
		check(tag == "", "empty tag")
		limit("tag", tag, 50)
	}
	total := 0
	for k, v := range a.Details {
		total += utf8.RuneCountInString(k) + utf8.RuneCountInString(v)
	}
	check(total > 8000, "details have %d characters", total)
	check(a.Priority != "" && !regexp.MustCompile(`^P[1-5]$`).MatchString(a.Priority), "priority %q", a.Priority)
	for _, r := range a.Responders {
		check(r.Type != "team" || r.ID == "", "responder %+v", r)
	}
	return faults
}

const testKey = "eb243592-faa2-4ba2-a551-1afdf565c889"

// fakeOpsGenie refuses what OpsGenie refuses, and makes alerts some time after
// it has accepted them.
type fakeOpsGenie struct {
	key     string
	pending int // looks at a request before it is processed
	fails   string
	noReads bool // the key may create alerts, not read
	status  http.HandlerFunc

	mu     sync.Mutex
	alerts []alert
	looks  int
}

func (f *fakeOpsGenie) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := func(status int, body string, args ...any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, body, args...)
	}
	if r.Header.Get("Authorization") != "GenieKey "+f.key {
		reply(http.StatusUnauthorized, `{"message":"Could not authenticate","took":0.001,"requestId":"r"}`)
		return
	}
	switch id, isStatus := strings.CutPrefix(r.URL.Path, "/v2/alerts/requests/"); {
	case r.Method == http.MethodPost && r.URL.Path == "/v2/alerts":
		if r.Header.Get("Content-Type") != "application/json" {
			reply(http.StatusUnsupportedMediaType, `{"message":"not JSON"}`)
			return
		}
		var a alert
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil {
			reply(http.StatusBadRequest, `{"message":%q}`, err.Error())
			return
		}
		if faults := alertFaults(a); len(faults) > 0 {
			reply(http.StatusUnprocessableEntity, `{"message":"Request body is not processable.","errors":{"alert":%q}}`, strings.Join(faults, ", "))
			return
		}
		f.alerts = append(f.alerts, a)
		reply(http.StatusAccepted, `{"result":"Request will be processed","took":0.302,"requestId":"43a29c5c-3dbf-4fa4-9c26-f4f71023e120"}`)
	case r.Method == http.MethodGet && isStatus && id == "43a29c5c-3dbf-4fa4-9c26-f4f71023e120":
		f.looks++
		switch {
		case f.status != nil:
			f.status(w, r)
		case f.noReads:
			reply(http.StatusForbidden, `{"message":"You are not authorized"}`)
		case f.looks <= f.pending:
			w.Header().Set("X-Opsgenie-Errortype", "RequestNotProcessed")
			reply(http.StatusNotFound, `{"message":"Request not processed. Please try again later."}`)
		case f.fails != "":
			reply(http.StatusOK, `{"data":{"success":false,"isSuccess":false,"action":"Create","status":%q,"alertId":"","alias":""},"requestId":"x"}`, f.fails)
		default:
			reply(http.StatusOK, `{"data":{"success":true,"isSuccess":true,"action":"Create","status":"Created alert","alertId":"8743a1b2"},"requestId":"x"}`)
		}
	default:
		reply(http.StatusNotFound, `{"message":"no such path"}`)
	}
}

func secretOf(values ...string) Secret {
	return func(_ context.Context, fresh bool) (string, error) {
		if fresh && len(values) > 1 {
			return values[1], nil
		}
		return values[0], nil
	}
}

func pager(t *testing.T, f *fakeOpsGenie) *OpsGenie {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return &OpsGenie{Key: secretOf(f.key), BaseURL: server.URL, TeamID: "8f2a-team", Priority: "P2", HTTP: server.Client(), PollInterval: time.Nanosecond}
}

func TestOpsGenieSendsEveryMessage(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			f := &fakeOpsGenie{key: testKey, pending: 2}
			if err := pager(t, f).Send(t.Context(), g.message); err != nil {
				t.Fatal(err)
			}
			if len(f.alerts) != 1 || f.looks != 3 {
				t.Fatalf("%d alerts, %d looks", len(f.alerts), f.looks)
			}
			if a := f.alerts[0]; len(a.Responders) != 1 || a.Responders[0] != (responder{"team", "8f2a-team"}) || a.Priority != "P2" {
				t.Errorf("responders %v, priority %s", a.Responders, a.Priority)
			}
		})
	}
}

func TestOpsGenieWithoutTeam(t *testing.T) {
	t.Parallel()
	f := &fakeOpsGenie{key: testKey}
	o := pager(t, f)
	o.TeamID, o.Priority = "", ""
	if err := o.Send(t.Context(), message(t, "down")); err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(f.alerts[0])
	if bytes.Contains(body, []byte("responders")) || bytes.Contains(body, []byte("priority")) {
		t.Errorf("unset fields were sent: %s", body)
	}
}

func TestOpsGenieFollowsTheRequest(t *testing.T) {
	t.Parallel()
	say := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		name string
		fake *fakeOpsGenie
		want string // of the error; empty for none
	}{
		{name: "processed at once", fake: &fakeOpsGenie{}},
		{name: "processed later", fake: &fakeOpsGenie{pending: 5}},
		{name: "not made", fake: &fakeOpsGenie{fails: "Team does not exist"}, want: "Team does not exist"},
		{name: "key may not read", fake: &fakeOpsGenie{noReads: true}},
		{name: "path unknown", fake: &fakeOpsGenie{status: say(404, "text/html", "<html>")}},
		{name: "path unknown, JSON", fake: &fakeOpsGenie{status: say(404, "application/json", `{"message":"no such path"}`)}},
		{name: "method not allowed", fake: &fakeOpsGenie{status: say(405, "text/plain", "")}},
		{name: "not implemented", fake: &fakeOpsGenie{status: say(501, "text/plain", "")}},
		{name: "server faults", fake: &fakeOpsGenie{status: say(503, "text/html", "<html>")}, want: "not confirmed within"},
		{name: "rate limited", fake: &fakeOpsGenie{status: say(429, "application/json", "{}")}, want: "not confirmed within"},
		{name: "not JSON", fake: &fakeOpsGenie{status: say(200, "text/html", "<html>")}, want: "text/html without an outcome"},
		{name: "no outcome", fake: &fakeOpsGenie{status: say(200, "application/json", `{"data":{}}`)}, want: "without an outcome"},
		{name: "never processed", fake: &fakeOpsGenie{pending: 1 << 30}, want: "not processed yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := tt.fake
			f.key = testKey
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				o := &OpsGenie{Key: secretOf(testKey), BaseURL: "https://pager.example", HTTP: direct(f)}
				err := o.Send(t.Context(), message(t, "down"))
				wantError(t, err, fault.Unavailable, tt.want)
				if took := time.Since(start); took > defaultFollow {
					t.Errorf("it took %s", took)
				}
				if len(f.alerts) != 1 || f.looks == 0 || f.looks > 10 {
					t.Errorf("%d alerts, %d looks", len(f.alerts), f.looks)
				}
			})
		})
	}
}

func TestOpsGenieFollowsWithinTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeOpsGenie{key: testKey, pending: 1 << 30}
		o := &OpsGenie{Key: secretOf(testKey), BaseURL: "https://pager.example", HTTP: direct(f)}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		wantError(t, o.Send(ctx, message(t, "down")), fault.Unavailable, "not confirmed within 2.5s")
		if ctx.Err() != nil {
			t.Error("nothing of the context is left")
		}
	})
}

// A request id that is no id is not put into a path.
func TestOpsGenieOddAcceptance(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"requestId":"../../x?y"}`, `{"requestId":7}`, `{}`, `{"requestId":""}`} {
		var calls int
		o := &OpsGenie{Key: secretOf(testKey), BaseURL: "https://pager.example", HTTP: direct(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, body)
		}))}
		if err := o.Send(t.Context(), message(t, "down")); err != nil || calls != 1 {
			t.Errorf("%s: %v after %d calls", body, err, calls)
		}
	}
}

func TestOpsGenieRefusalNamesTheField(t *testing.T) {
	t.Parallel()
	o := &OpsGenie{Key: secretOf(testKey), BaseURL: "https://pager.example", HTTP: direct(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"message":"Request body is not processable.","errors":{"responders":"no such team"}}`)
	}))}
	wantError(t, o.Send(t.Context(), message(t, "down")), fault.InvalidInput, "Request body is not processable.; responders: no such team")
}

func TestOpsGenieInvalidSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		o    OpsGenie
		want string
	}{
		{OpsGenie{Key: secretOf(testKey), BaseURL: "us", Priority: "P6"}, "want P1, P2, P3, P4 or P5"},
		{OpsGenie{Key: secretOf(testKey), BaseURL: ""}, "want us, eu, jsm"},
		{OpsGenie{Key: secretOf(testKey), BaseURL: "http://pager.example"}, "loopback"},
	} {
		wantError(t, tt.o.Send(t.Context(), message(t, "down")), fault.InvalidInput, tt.want)
	}
}

func TestOpsGenieURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"us": urlUS, "eu": urlEU, "EU": urlEU, " jsm ": urlJSM,
		"https://pager.example":              "https://pager.example",
		"https://pager.example/a/b/":         "https://pager.example/a/b",
		"http://127.0.0.1:8080":              "http://127.0.0.1:8080",
		"http://127.9.9.9/":                  "http://127.9.9.9",
		"http://[::1]:80":                    "http://[::1]:80",
		"http://localhost:1":                 "http://localhost:1",
		"https://api.opsgenie.com/":          "https://api.opsgenie.com",
		"":                                   "",
		"ap":                                 "",
		"http://pager.example":               "",
		"http://127.0.0.1.example":           "",
		"ftp://pager.example":                "",
		"//pager.example":                    "",
		"https://":                           "",
		"https://:443":                       "",
		"https://user:hunter2@pager":         "",
		"https://pager.example/?k=hunter2":   "",
		"https://pager.example/#hunter2":     "",
		"https://hunter2%zz":                 "",
		"https://api.opsgenie.com/v2/alerts": "",
		"https://api.opsgenie.com/v2":        "",
	} {
		got, err := OpsGenieURL(in)
		if want != "" {
			if err != nil || got != want {
				t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
			}
			continue
		}
		wantError(t, err, fault.InvalidInput, "want us, eu, jsm, or a base URL")
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q is quoted: %v", in, err)
		}
	}
}
