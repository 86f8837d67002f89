package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/fault"
)

const (
	testCloudID = "6f2c7a9e-11aa-4c2e-9f43-0d5b2c7a9e11"
	testToken   = "ATATT3-token" //nolint:gosec // G101: no real token
)

// fakeJSM takes requests with an integration's key, carries them out some seconds
// later, and is read with an API token.
type fakeJSM struct {
	after    time.Duration
	requests bool   // the Operations API knows what an integration was asked
	discards string // instead of making an alert
	status   int    // of the Operations API, where it does not answer

	mu   sync.Mutex
	said map[string]string // of requests, by id, once they are carried out
	open map[string]bool
}

func (f *fakeJSM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) //nolint:gosec // G705: a test's own answer
	}
	ops, isOps := strings.CutPrefix(r.URL.Path, "/jsm/ops/api/"+testCloudID+"/v1/alerts/")
	integration, isIntegration := strings.CutPrefix(r.URL.Path, "/jsm/ops/integration/v2/alerts")
	user, token, _ := r.BasicAuth()
	alias := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(integration, "/"), closePath), notesPath)
	switch id, isRequest := strings.CutPrefix(ops, "requests/"); {
	case isIntegration && r.Method == http.MethodPost && r.Header.Get("Authorization") == "GenieKey "+testKey:
		id = strings.ToLower(strings.Trim(strings.NewReplacer("/", "-", ":", "-", ".", "-").Replace("r"+integration), "-"))
		if integration == "" {
			alias = testAlias
		}
		time.AfterFunc(f.after, func() { f.carryOut(id, alias, integration) })
		reply(http.StatusAccepted, `{"result":"Request will be processed","requestId":"`+id+`"}`)
	case !isOps || r.Method != http.MethodGet:
		reply(http.StatusNotFound, `{"message":"no such path"}`)
	case f.status != 0:
		reply(f.status, `{"code":0,"message":"`+r.Header.Get("Authorization")+`"}`)
	case user != "ops@example.com" || token != testToken:
		reply(http.StatusUnauthorized, `{"code":401,"message":"Unauthorized"}`)
	case isRequest && f.requests && f.said[id] != "":
		reply(http.StatusOK, f.said[id])
	case ops == "alias" && f.open[r.URL.Query().Get("alias")]:
		reply(http.StatusOK, `{"id":"a-1","alias":"x","status":"open","acknowledged":false}`)
	default:
		reply(http.StatusNotFound, `{"code":404,"message":"not found"}`)
	}
}

func (f *fakeJSM) carryOut(id, alias, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	said := `{"action":"x","isSuccess":true,"status":"done","alertId":"a-1"}`
	switch {
	case what == "" && f.discards != "":
		said = `{"action":"Create","isSuccess":false,"status":"` + f.discards + `"}`
	case what == "":
		f.open[alias] = true
	case !f.open[alias]:
		said = `{"action":"x","isSuccess":false,"status":"Alert does not exist"}`
	case strings.HasSuffix(what, closePath):
		delete(f.open, alias)
	}
	f.said[id] = said
}

// With a cloud id what became of a request is read: of the request itself or, where an
// integration's requests are not known, of the alert.
func TestJSMWithCloudID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fake *fakeJSM
		// words of the errors of a page, a note and a close; "" for none
		page, note, close string
		noNote            bool // ErrNoAlert is in the note's error
		confirmed         bool
		open              string // the error of Open and, in its words, of Rehearse
		took              time.Duration
	}{
		{name: "requests are known", fake: &fakeJSM{requests: true, after: 2 * time.Second}, confirmed: true, took: 4 * time.Second},
		{name: "alerts alone are known", fake: &fakeJSM{after: 2 * time.Second}, confirmed: true, took: 4 * time.Second},
		{
			name: "discarded", fake: &fakeJSM{requests: true, discards: "Discarded by a policy"}, took: time.Second,
			page: "then not carried out: Discarded by a policy", note: "not open", noNote: true,
		},
		{
			name: "never made, and the request is not known", fake: &fakeJSM{discards: "yes"}, took: followFor,
			page: "not confirmed within 10s: the Operations API knows neither the request nor such an open alert; check jsm.cloud_id", note: "no alert is open", noNote: true,
		},
		// As where a key may make alerts and not read: a page that was accepted counts.
		{
			name: "the token is refused", fake: &fakeJSM{status: http.StatusUnauthorized}, took: time.Second,
			note: "not known whether it was added", noNote: true, open: "HTTP 401 Unauthorized",
		},
		{
			name: "the Operations API is down", fake: &fakeJSM{status: http.StatusBadGateway}, took: followFor,
			page: "not confirmed within 10s", note: "not confirmed within 10s", close: "not confirmed within 10s", open: "HTTP 502",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := tt.fake
				f.said, f.open = map[string]string{}, map[string]bool{}
				p, err := jsm.pager([]byte(`{"type":"jsm","key_parameter":"/x/key","cloud_id":"`+testCloudID+`","email":"ops@example.com","token_parameter":"/x/token"}`), Deps{
					HTTP: direct(f),
					Secret: func(_ context.Context, parameter string, _ bool) (string, error) {
						return map[string]string{"/x/key": testKey, "/x/token": testToken}[parameter], nil
					},
				})
				if can := p.Capabilities(); err != nil || !can.Confirms || !can.Readable || !can.Heartbeat {
					t.Fatalf("%v, %+v", err, can)
				}
				start := time.Now()
				d, err := p.Page(t.Context(), message(t, "worse"))
				wantError(t, err, fault.Unavailable, tt.page)
				if took := time.Since(start); d.Confirmed != tt.confirmed || took > tt.took || errors.Is(err, ErrDiscarded) != strings.Contains(tt.page, "Discarded") {
					t.Errorf("confirmed %v after %s: %v", d.Confirmed, took, err)
				}
				isOpen := func(want bool) {
					t.Helper()
					open, err := p.Open(t.Context(), testAlias)
					if tt.open == "" && (err != nil || open != want) || tt.open != "" && (err == nil || !strings.Contains(err.Error(), tt.open)) {
						t.Errorf("open %v, want %v: %v", open, want, err)
					}
				}
				isOpen(tt.confirmed)
				err = p.Note(t.Context(), message(t, "note"))
				if tt.note == "" && err != nil || tt.note != "" && (err == nil || errors.Is(err, ErrNoAlert) != tt.noNote) {
					t.Errorf("note: %v, want %q", err, tt.note)
				}
				err = p.Resolve(t.Context(), message(t, "well"))
				if (err != nil) != (tt.close != "") && !errors.Is(err, ErrNoAlert) {
					t.Errorf("close: %v", err)
				}
				time.Sleep(f.after)
				isOpen(false)
				if _, err = p.Rehearse(t.Context(), message(t, "worse")); (err != nil) != (tt.open != "") || err != nil && !strings.Contains(err.Error(), tt.open) {
					t.Errorf("rehearsal: %v", err)
				}
				if err != nil && (strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), "b3BzQ")) {
					t.Errorf("a secret is in %v", err)
				}
			})
		})
	}
}

// Without a cloud id the request's status is asked for once, and followed only where it
// is answered as documented.
func TestJSMAsksOnce(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		`<html>`: 1, `{"message":"no such path"}`: 1, `{"data":{}}`: 1,
		`{"message":"Request not processed. Please try again later."}`: 7,
	} {
		for _, status := range []int{http.StatusNotFound, http.StatusOK, http.StatusServiceUnavailable} {
			if status == http.StatusOK && want > 1 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				o := serving(jsm, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost {
						w.WriteHeader(http.StatusAccepted)
						_, _ = io.WriteString(w, `{"requestId":"r-1"}`)
						return
					}
					asked++
					w.WriteHeader(status)
					_, _ = io.WriteString(w, body)
				}))
				d, err := o.Page(t.Context(), message(t, "worse"))
				if err != nil || d.Confirmed || asked != want {
					t.Errorf("%d %s: asked %d times, want %d: %+v, %v", status, body, asked, want, d, err)
				}
			})
		}
	}
}
