package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"firstline/internal/fault"
)

// heartbeats are the settings of one at each service, its secret, and the calls of a
// ping and, where the service tells what it has, of looking.
var heartbeats = map[string]struct {
	config, secret, ping, look string
}{
	"opsgenie": {
		`{"service":"opsgenie","name":"firstline-eu west","endpoint":"eu","key_parameter":"/x/opsgenie-api-key"}`, "og-key",
		"GET https://api.eu.opsgenie.com/v2/heartbeats/firstline-eu%20west/ping GenieKey og-key",
		"GET https://api.eu.opsgenie.com/v2/heartbeats/firstline-eu%20west GenieKey og-key",
	},
	"jsm": {
		`{"service":"jsm","name":"firstline-eu west","team_id":"t-1","cloud_id":"c-1","email":"a@example.com","token_parameter":"/x/jsm-api-token","endpoint":""}`, "token",
		"GET https://api.atlassian.com/jsm/ops/api/c-1/v1/teams/t-1/heartbeats/ping?name=firstline-eu+west Basic YUBleGFtcGxlLmNvbTp0b2tlbg==",
		"GET https://api.atlassian.com/jsm/ops/api/c-1/v1/teams/t-1/heartbeats?name=firstline-eu+west Basic YUBleGFtcGxlLmNvbTp0b2tlbg==",
	},
	"url": {
		`{"service":"url","key_parameter":"/x/heartbeat-url","failure_suffix":"/fail"}`, "https://hc.example/ping/7f3a?rid=1\n",
		"POST https://hc.example/ping/7f3a?rid=1 ", "",
	},
}

// beat makes a heartbeat whose service answers by itself, and notes what it is asked.
func beat(t *testing.T, service string, answer func(r *http.Request) (int, string)) (*Heartbeat, *[]string) {
	t.Helper()
	var asked []string
	h, err := NewHeartbeat([]byte(heartbeats[service].config), Deps{
		Secret: func(context.Context, string, bool) (string, error) { return heartbeats[service].secret, nil },
		HTTP: roundTrip(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+string(body))
			w := httptest.NewRecorder()
			status, said := answer(r)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, said)
			return w.Result(), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, &asked
}

func TestHeartbeatPing(t *testing.T) {
	t.Parallel()
	failure := fault.New(fault.Unavailable, "reconcile", "list the alarms: password=hunter2: throttled")
	for name, s := range heartbeats {
		h, asked := beat(t, name, func(*http.Request) (int, string) {
			return http.StatusAccepted, `{"result":"PONG - Heartbeat received"}`
		})
		if err := h.Ping(t.Context(), nil); err != nil || fmt.Sprint(*asked) != "["+s.ping+"]" {
			t.Errorf("%s: %v, asked %q, want %q", name, err, *asked, s.ping)
		}
		// What failed is said where there is a form for it, and else by silence.
		*asked = nil
		want := "[]"
		if name == "url" {
			want = "[POST https://hc.example/ping/7f3a/fail?rid=1 reconcile: list the alarms: password=[redacted] throttled]"
		}
		if err := h.Ping(t.Context(), failure); err != nil || fmt.Sprint(*asked) != want {
			t.Errorf("%s: %v, asked %q, want %q", name, err, *asked, want)
		}
		h.FailureSuffix = ""
		*asked = nil
		if err := h.Ping(t.Context(), failure); err != nil || len(*asked) > 0 {
			t.Errorf("%s without a form for failures: %v, asked %q", name, err, *asked)
		}
	}
	if h, err := NewHeartbeat(nil, Deps{}); h != nil || err != nil {
		t.Errorf("%+v, %v", h, err)
	}
	for config, want := range map[string]string{
		`{}`:                               `service: "" is none; use opsgenie, jsm or url`,
		`{"service":"sns"}`:                `service: "sns" is none`,
		`{"service":"url","url":"https:"}`: `unknown field "url"`,
		`[]`:                               "decode JSON",
	} {
		h, err := NewHeartbeat([]byte(config), Deps{})
		wantError(t, err, fault.InvalidInput, "read FIRSTLINE_HEARTBEAT: ")
		wantError(t, err, fault.InvalidInput, want)
		if h != nil {
			t.Errorf("%s: %+v", config, h)
		}
	}
}

// Whatever a service or the secret answers, a ping that was not taken is an error of a
// kind, which holds neither the secret nor the URL.
func TestHeartbeatErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status  int
		body    string
		kind    fault.Kind
		want    string
		onlyURL bool // it is none where the answer has to be JSON
	}{
		{status: 200, body: "OK (not found)", kind: fault.InvalidInput, want: "the service does not know the heartbeat's URL", onlyURL: true},
		{status: 401, body: `{"message":"Could not authenticate"}`, kind: fault.Denied, want: "HTTP 401"},
		{status: 404, body: `{"message":"No heartbeat","requestId":"r-1"}`, kind: fault.InvalidInput, want: "HTTP 404"},
		{status: 422, body: `{}`, kind: fault.InvalidInput, want: "HTTP 422"},
		{status: 429, body: `{}`, kind: fault.Unavailable, want: "HTTP 429"},
		{status: 502, body: "<html>", kind: fault.Unavailable, want: "HTTP 502"},
		{status: 302, body: "", kind: fault.Unavailable, want: "redirects are not followed"},
	} {
		for name, s := range heartbeats {
			h, asked := beat(t, name, func(r *http.Request) (int, string) {
				return tt.status, strings.Replace(tt.body, `"message":"`, `"message":"`+r.URL.String()+r.Header.Get("Authorization")+" ", 1)
			})
			err := h.Ping(t.Context(), nil)
			kind, want := tt.kind, tt.want
			switch {
			case tt.onlyURL && name != "url":
				kind, want = fault.Unavailable, "does not say that the ping was taken"
			case tt.status == 404 && name != "url":
				want = "there is none of this name: make it, or set heartbeat.name"
			}
			wantError(t, err, kind, want)
			if n := len(*asked); n > 2 || (n == 2) != (tt.status == 401) {
				t.Errorf("%s, %d: %d calls", name, tt.status, n)
			}
			for _, secret := range []string{strings.TrimSpace(s.secret), "7f3a", "YUBleGF"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%s, %d: %q is in %v", name, tt.status, secret, err)
				}
			}
			if errors.Is(err, ErrNoAlert) {
				t.Errorf("%s, %d: it is about no alert: %v", name, tt.status, err)
			}
		}
	}
	h, _ := beat(t, "url", nil)
	h.keeper.key = secretOf("heartbeat.example/7f3a")
	wantError(t, h.Ping(t.Context(), nil), fault.InvalidInput, "the heartbeat's URL is none: store it again")
}

// A test finds out that a heartbeat would never alert.
func TestHeartbeatTest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                string
		status              int
		opsgenie, jsm       string
		kind                fault.Kind
		want, wantDelivered string
	}{
		{name: "enabled", status: 200, opsgenie: `{"data":{"name":"firstline-eu west","enabled":true}}`, jsm: `{"values":[{"name":"other","enabled":false},{"name":"firstline-eu west","enabled":true}]}`, wantDelivered: "and has it enabled"},
		{name: "disabled", status: 200, opsgenie: `{"data":{"name":"firstline-eu west","enabled":false}}`, jsm: `{"values":[{"name":"firstline-eu west","enabled":false}]}`, kind: fault.InvalidInput, want: "it is not enabled, so it never alerts: enable it"},
		{name: "another one", status: 200, opsgenie: `{"data":{}}`, jsm: `{"values":[]}`, kind: fault.InvalidInput, want: "there is none of this name: make it"},
		{name: "none", status: 404, opsgenie: `{"message":"Heartbeat does not exist","requestId":"r-1"}`, jsm: `{"code":404}`, kind: fault.InvalidInput, want: "there is none of this name: make it"},
		{name: "may not read", status: 403, opsgenie: `{}`, jsm: `{}`, wantDelivered: "may not read whether there is such a heartbeat"},
		{name: "down", status: 503, wantDelivered: "could not be read: read the heartbeat"},
	} {
		for name, s := range heartbeats {
			h, asked := beat(t, name, func(r *http.Request) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/ping") || name == "url" {
					return http.StatusOK, `{"message":"PONG - Heartbeat received"}`
				}
				return tt.status, map[string]string{"opsgenie": tt.opsgenie, "jsm": tt.jsm}[name]
			})
			d, err := h.Test(t.Context(), Message{})
			if name == "url" {
				if err != nil || !d.Confirmed || len(*asked) != 1 {
					t.Errorf("%s: %+v, %v, asked %q", name, d, err, *asked)
				}
				continue
			}
			wantError(t, err, tt.kind, tt.want)
			if !strings.Contains(d.Detail, tt.wantDelivered) || d.Confirmed != (tt.name == "enabled") || (*asked)[0] != s.ping || (*asked)[1] != s.look {
				t.Errorf("%s, %s: %+v, asked %q", name, tt.name, d, *asked)
			}
		}
	}
}
