package notify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"firstline/internal/fault"
	"firstline/internal/incident"
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
		named := 0
		for _, by := range []string{r["id"], r["name"], r["username"]} {
			if by != "" {
				named++
			}
		}
		known := slices.Contains([]string{"team", "user", "escalation", "schedule"}, r["type"])
		check(!known || named != 1 || r["username"] != "" && r["type"] != "user", "responder %+v", r)
	}
	return faults
}

// noteFaults is what it would refuse a note for.
func noteFaults(n note) []string {
	var faults []string
	for field, f := range map[string]struct {
		value string
		most  int
	}{"note": {n.Note, 25000}, "user": {n.User, 100}, "source": {n.Source, 100}} {
		if !utf8.ValidString(f.value) || f.value == "" || utf8.RuneCountInString(f.value) > f.most {
			faults = append(faults, fmt.Sprintf("%s has %d characters, 1 to %d are allowed, in UTF-8", field, utf8.RuneCountInString(f.value), f.most))
		}
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
	// discards is how many requests are accepted and then not carried out.
	discards int
	notes    map[string][]note
	closings map[string][]note
	// closed are the aliases of alerts that are closed; fails is for the request
	// of the moment.
	closed map[string]bool
}

// open reports whether there is an open alert of an alias.
func (f *fakeOpsGenie) open(alias string) bool {
	return !f.closed[alias] && slices.ContainsFunc(f.alerts, func(a alert) bool { return a.Alias == alias })
}

func (f *fakeOpsGenie) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := func(status int, body string, args ...any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		//nolint:gosec // G705: a test's own answer
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
		if f.discards == 0 {
			f.alerts = append(f.alerts, a)
			delete(f.closed, a.Alias)
		}
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
		case f.discards > 0:
			f.discards--
			f.looks = 0
			reply(http.StatusOK, `{"data":{"success":false,"isSuccess":false,"action":"Create","status":"Discarded by a rule","alertId":"","alias":""},"requestId":"x"}`)
		case f.fails != "":
			reply(http.StatusOK, `{"data":{"success":false,"isSuccess":false,"action":"Create","status":%q,"alertId":"","alias":""},"requestId":"x"}`, f.fails)
		default:
			reply(http.StatusOK, `{"data":{"success":true,"isSuccess":true,"action":"Create","status":"Created alert","alertId":"8743a1b2"},"requestId":"x"}`)
		}
	default:
		f.byAlias(w, r, reply)
	}
}

// byAlias serves what is asked of one alert. As its keys are, the path is escaped.
func (f *fakeOpsGenie) byAlias(_ http.ResponseWriter, r *http.Request, reply func(int, string, ...any)) {
	parts := strings.Split(r.URL.EscapedPath(), "/")
	if len(parts) < 4 || r.URL.Query().Get("identifierType") != "alias" {
		reply(http.StatusNotFound, `{"message":"no such path"}`)
		return
	}
	alias, err := url.PathUnescape(parts[3])
	switch {
	case err != nil:
		reply(http.StatusBadRequest, `{"message":"not escaped"}`)
	case r.Method == http.MethodPost && len(parts) == 5 && (parts[4] == "notes" || parts[4] == "close"):
		var n note
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&n); err != nil {
			reply(http.StatusBadRequest, `{"message":%q}`, err.Error())
			return
		}
		if faults := noteFaults(n); len(faults) > 0 {
			reply(http.StatusUnprocessableEntity, `{"message":%q}`, strings.Join(faults, ", "))
			return
		}
		f.looks, f.fails = 0, ""
		switch {
		case !f.open(alias):
			f.fails = "Alert does not exist"
		case parts[4] == "close":
			f.closings[alias] = append(f.closings[alias], n)
			f.closed[alias] = true
		default:
			f.notes[alias] = append(f.notes[alias], n)
		}
		reply(http.StatusAccepted, `{"result":"Request will be processed","took":0.302,"requestId":"43a29c5c-3dbf-4fa4-9c26-f4f71023e120"}`)
	case r.Method == http.MethodGet && len(parts) == 4 && f.open(alias):
		reply(http.StatusOK, `{"data":{"id":"8743a1b2","alias":%q,"status":"open","acknowledged":true,"count":2},"took":0.1,"requestId":"x"}`, alias)
	case r.Method == http.MethodGet && len(parts) == 4:
		reply(http.StatusNotFound, `{"message":"Alert does not exist","took":0.1,"requestId":"x"}`)
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

// serving is a pager whose service is a handler.
func serving(s service, endpoint string, h http.Handler) *alertAPI {
	return &alertAPI{service: s, alertSettings: alertSettings{Endpoint: endpoint}, key: secretOf(testKey), http: direct(h)}
}

func TestOpsGenieSendsEveryMessage(t *testing.T) {
	t.Parallel()
	for name := range messages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeOpsGenie{key: testKey, pending: 2}
			o := serving(opsgenie, "https://pager.example", f)
			o.Responders, o.Priority, o.PriorityUnknown = []map[string]string{{"type": "team", "id": "8f2a-team"}}, "P2", "P2"
			m := message(t, name)
			if m.Kind == KindSlack && m.Alert.Alias == "" {
				t.Skip("it is never paged")
			}
			synctest.Test(t, func(t *testing.T) {
				d, err := o.Page(t.Context(), m)
				if err != nil || !d.Confirmed {
					t.Fatalf("%+v, %v", d, err)
				}
			})
			if len(f.alerts) != 1 || f.looks != 3 {
				t.Fatalf("%d alerts, %d looks", len(f.alerts), f.looks)
			}
			priority := "P2"
			if m.Kind == KindTest {
				priority = "P5"
			}
			if a := f.alerts[0]; !slices.EqualFunc(a.Responders, o.Responders, maps.Equal) || a.Priority != priority {
				t.Errorf("responders %v, priority %s", a.Responders, a.Priority)
			}
			if a := f.alerts[0]; m.Kind != KindTest && name != "hostile" && a.Alias != m.Alert.Alias {
				t.Errorf("alias %q, want %q", a.Alias, m.Alert.Alias)
			}
		})
	}
}

func TestOpsGenieWithoutSettings(t *testing.T) {
	t.Parallel()
	f := &fakeOpsGenie{key: testKey}
	if err := sent(t, serving(opsgenie, "https://pager.example", f), message(t, "worse")); err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(f.alerts[0])
	if bytes.Contains(body, []byte("responders")) || bytes.Contains(body, []byte("priority")) {
		t.Errorf("unset fields were sent: %s", body)
	}
}

// The priority follows the severity.
func TestOpsGeniePriority(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"down-after-reboot": "P2", "not-rebooted": "P2", "attention": "P3", "no-incident": "P3", "store-region": "P2", "test": "P5"} {
		if a := pagerOf().alert(message(t, name)); a.Priority != want {
			t.Errorf("%s: %s, want %s", name, a.Priority, want)
		}
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
		{name: "server faults", fake: &fakeOpsGenie{status: say(503, "text/html", "<html>")}, want: "not confirmed within"},
		{name: "rate limited", fake: &fakeOpsGenie{status: say(429, "application/json", "{}")}, want: "not confirmed within"},
		{name: "not JSON", fake: &fakeOpsGenie{status: say(200, "text/html", "<html>")}, want: "text/html, without an outcome"},
		{name: "no outcome", fake: &fakeOpsGenie{status: say(200, "application/json", `{"data":{}}`)}, want: "without an outcome"},
		{name: "never processed", fake: &fakeOpsGenie{pending: 1 << 30}, want: "not processed yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := tt.fake
			f.key = testKey
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				o := serving(opsgenie, "https://pager.example", f)
				err := sent(t, o, message(t, "worse"))
				wantError(t, err, fault.Unavailable, tt.want)
				if took := time.Since(start); took > followFor {
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
		o := serving(opsgenie, "https://pager.example", f)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		wantError(t, page(ctx, o, message(t, "worse")), fault.Unavailable, "not confirmed within 2.5s")
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
		o := serving(opsgenie, "https://pager.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, body)
		}))
		if err := sent(t, o, message(t, "worse")); err != nil || calls != 1 {
			t.Errorf("%s: %v after %d calls", body, err, calls)
		}
	}
}

func TestOpsGenieRefusalNamesTheField(t *testing.T) {
	t.Parallel()
	o := serving(opsgenie, "https://pager.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"message":"Request body is not processable.","errors":{"responders":"no such team"}}`)
	}))
	wantError(t, sent(t, o, message(t, "worse")), fault.InvalidInput, "Request body is not processable.; responders: no such team")
}

// A note and the end of an alert go to the alert of the message's alias, if that is
// open.
func TestOpsGenieOnAnAlert(t *testing.T) {
	t.Parallel()
	synctest.Test(t, onAnAlert)
}

func onAnAlert(t *testing.T) {
	f := &fakeOpsGenie{key: testKey, pending: 2, notes: map[string][]note{}, closings: map[string][]note{}, closed: map[string]bool{}}
	o := serving(opsgenie, "https://pager.example", f)
	for name, call := range map[string]func(context.Context, Message) error{"note": o.Note, "resolve": o.Resolve} {
		if err := call(t.Context(), message(t, "note")); !errors.Is(err, ErrNoAlert) {
			t.Errorf("%s without an alert: %v", name, err)
		}
	}
	f.fails, f.looks = "", 0
	if err := sent(t, o, message(t, "worse")); err != nil {
		t.Fatal(err)
	}
	if err := o.Note(t.Context(), message(t, "note")); err != nil {
		t.Fatal(err)
	}
	isOpen := func(want bool) {
		t.Helper()
		if got, err := o.Open(t.Context(), testAlias); err != nil || got != want {
			t.Errorf("open: %v, %v, want %v", got, err, want)
		}
	}
	isOpen(true)
	if err := o.Resolve(t.Context(), message(t, "well")); err != nil {
		t.Fatal(err)
	}
	isOpen(false)
	if len(f.notes[testAlias]) != 1 || len(f.closings[testAlias]) != 1 || len(f.alerts) != 1 {
		t.Fatalf("notes %v, closings %v, %d alerts", f.notes, f.closings, len(f.alerts))
	}
	if n := f.closings[testAlias][0]; !strings.HasPrefix(n.Note, "Resolved: "+testInstance) || n.User != "firstline" || n.Source != "firstline" {
		t.Errorf("%+v", n)
	}
	err := o.Note(t.Context(), message(t, "note"))
	wantError(t, err, fault.Unavailable, "the request was accepted and then not carried out: Alert does not exist")
	if !errors.Is(err, ErrNoAlert) {
		t.Errorf("it does not say that there is no alert: %v", err)
	}
}

// Whatever leaves it open whether a note is there is an error, and says whether
// the alert may be missing.
func TestOpsGenieFollowsTheNote(t *testing.T) {
	t.Parallel()
	say := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const accepted = `{"result":"Request will be processed","requestId":"r-1"}`
	accept := say(http.StatusAccepted, "application/json", accepted)
	for _, tt := range []struct {
		name         string
		post, status http.HandlerFunc
		kind         fault.Kind
		want         string
		noAlert      bool
	}{
		{name: "added", post: accept, status: say(200, "application/json", `{"data":{"isSuccess":true,"status":"Added note"}}`)},
		{name: "no such alert", post: accept, status: say(200, "application/json", `{"data":{"isSuccess":false,"status":"Alert does not exist"}}`), kind: fault.Unavailable, want: "then not carried out: Alert does not exist", noAlert: true},
		{name: "not added", post: accept, status: say(200, "application/json", `{"data":{"isSuccess":false,"status":"Something else"}}`), kind: fault.Unavailable, want: "then not carried out: Something else"},
		{name: "unknown at once", post: say(404, "application/json", `{"message":"Alert does not exist","took":0.1,"requestId":"r-1"}`), kind: fault.InvalidInput, want: "HTTP 404 Not Found: Alert does not exist", noAlert: true},
		{name: "no such path", post: say(404, "text/html", "<html>"), kind: fault.InvalidInput, want: "is the configured address right?"},
		{name: "key may not add", post: say(403, "application/json", `{"message":"You are not authorized"}`), kind: fault.Denied, want: "let its integration read, create and update alerts"},
		{name: "no request id", post: say(202, "application/json", `{"result":"Request will be processed"}`), kind: fault.Unavailable, want: "not known whether it was added", noAlert: true},
		{name: "key may not read", post: accept, status: say(403, "application/json", `{"message":"You are not authorized"}`), kind: fault.Unavailable, want: "not known whether it was added", noAlert: true},
		{name: "no request status", post: accept, status: say(404, "text/html", "<html>"), kind: fault.Unavailable, want: "not known whether it was added", noAlert: true},
		{name: "never processed", post: accept, status: say(404, "application/json", `{"message":"Request not processed. Please try again later."}`), kind: fault.Unavailable, want: "the request was accepted and not confirmed within"},
		{name: "server faults", post: accept, status: say(503, "text/html", "<html>"), kind: fault.Unavailable, want: "the request was accepted and not confirmed within"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := serving(opsgenie, "https://pager.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch got := r.Method + " " + r.URL.RequestURI(); got {
					case "POST /v2/alerts/firstline%2Feu-west-1%2Fi-0c1cbf2e7abdedf75%2F20261122T100403.000Z/notes?identifierType=alias":
						tt.post(w, r)
					case "GET /v2/alerts/requests/r-1":
						tt.status(w, r)
					default:
						t.Error(got)
					}
				}))
				start := time.Now()
				err := o.Note(t.Context(), message(t, "note"))
				wantError(t, err, tt.kind, tt.want)
				if errors.Is(err, ErrNoAlert) != tt.noAlert {
					t.Errorf("no alert: %v: %v", !tt.noAlert, err)
				}
				if took := time.Since(start); took > followFor {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// An alert counts as closed only on the pager's own word.
func TestOpsGenieOpen(t *testing.T) {
	t.Parallel()
	const gone = `{"message":"Alert does not exist","took":0.1,"requestId":"r-1"}`
	for _, tt := range []struct {
		name        string
		status      int
		contentType string // JSON unless said
		body        string
		open        bool
		kind        fault.Kind
		want        string
	}{
		{name: "open", status: 200, body: `{"data":{"status":"open","acknowledged":false},"requestId":"r-1"}`, open: true},
		{name: "acknowledged", status: 200, body: `{"data":{"status":"open","acknowledged":true},"requestId":"r-1"}`, open: true},
		{name: "closed", status: 200, body: `{"data":{"status":"closed"},"requestId":"r-1"}`},
		{name: "closed, in capitals", status: 200, body: `{"data":{"status":"CLOSED"}}`},
		{name: "another state", status: 200, body: `{"data":{"status":"snoozed"}}`, open: true},
		{name: "gone", status: 404, body: gone},
		{name: "not found by something else", status: 404, body: `{"message":"no route"}`, kind: fault.InvalidInput, want: "is the configured address right?"},
		{name: "not found, a page", status: 404, contentType: "text/html", body: "<html>", kind: fault.InvalidInput, want: "is the configured address right?"},
		{name: "no state", status: 200, body: `{"data":{},"requestId":"r-1"}`, kind: fault.Unavailable, want: "does not say"},
		{name: "state of another type", status: 200, body: `{"data":{"status":7}}`, kind: fault.Unavailable, want: "does not say"},
		{name: "a list", status: 200, body: `{"data":[{"status":"closed"}]}`, kind: fault.Unavailable, want: "does not say"},
		{name: "accepted", status: 202, body: `{"requestId":"r-1"}`, kind: fault.Unavailable, want: "does not say"},
		{name: "denied", status: 403, body: `{"message":"You are not authorized"}`, kind: fault.Denied, want: "let its integration read, create and update alerts"},
		{name: "unavailable", status: 503, body: `{}`, kind: fault.Unavailable, want: "HTTP 503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := serving(opsgenie, "us", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Method + " " + r.URL.RequestURI(); !strings.HasSuffix(got, "/v2/alerts/firstline%2F1%2Feu-west-1%2Fi-%C3%A4?identifierType=alias") || !strings.HasPrefix(got, "GET ") {
					t.Error(got)
				}
				w.Header().Set("Content-Type", cmp.Or(tt.contentType, "application/json"))
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			open, err := o.Open(t.Context(), "firstline/1/eu-west-1/i-ä")
			wantError(t, err, tt.kind, tt.want)
			if open != tt.open {
				t.Errorf("open %v, want %v", open, tt.open)
			}
		})
	}
}

// What is accepted and then discarded is worth a retry, and says so to whoever has
// another pager.
func TestOpsGenieDiscardsARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeOpsGenie{key: testKey, pending: 1, discards: 1}
		o := serving(opsgenie, "https://pager.example", f)
		for n, want := range []string{"the request was accepted and then not carried out: Discarded by a rule", ""} {
			err := sent(t, o, message(t, "worse"))
			wantError(t, err, fault.Unavailable, want)
			if errors.Is(err, ErrDiscarded) != (n == 0) {
				t.Errorf("try %d: %v", n+1, err)
			}
			if len(f.alerts) != n {
				t.Errorf("try %d: %d alerts", n+1, len(f.alerts))
			}
		}
	})
}

// What Jira Service Management accepts is taken for done, unless it says otherwise.
func TestJSM(t *testing.T) {
	t.Parallel()
	const accepted = `{"result":"Request will be processed","requestId":"r-1"}`
	for _, tt := range []struct {
		name   string
		status int
		body   string
		// words of the errors; "" for none
		send, note, close string
		confirmed         bool
		took              time.Duration // at most, of Send
	}{
		{name: "no such path", status: 404, body: "<html>", note: "not known whether it was added"},
		{name: "not for keys", status: 401, body: `{"code":401}`, note: "not known whether it was added"},
		{name: "server faults", status: 503, body: "", note: "not known whether it was added", took: followFor},
		{name: "never processed", status: 404, body: `{"message":"Request not processed. Please try again later."}`, note: "not known whether it was added", took: followFor},
		{name: "it does tell", status: 200, body: `{"data":{"isSuccess":true,"status":"Created alert","alertId":"a-1"}}`, confirmed: true},
		{name: "it says no", status: 200, body: `{"data":{"isSuccess":false,"status":"Alert does not exist"}}`, send: "then not carried out", note: "then not carried out", close: "then not carried out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var paths []string
				o := serving(jsm, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasPrefix("https://"+r.URL.Host+r.URL.Path, jsm.urls[""]+"/v2/alerts") || r.Header.Get("Authorization") != "GenieKey "+testKey {
						t.Errorf("%s %s", r.Method, r.URL)
					}
					if r.Method == http.MethodPost {
						paths = append(paths, strings.TrimPrefix(r.URL.RequestURI(), "/jsm/ops/integration/v2/alerts"))
						w.Header().Set("Content-Type", "application/json")
						w.WriteHeader(http.StatusAccepted)
						_, _ = io.WriteString(w, accepted)
						return
					}
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, tt.body)
				}))
				start := time.Now()
				wantError(t, sent(t, o, message(t, "worse")), fault.Unavailable, tt.send)
				if took := time.Since(start); took > tt.took+time.Second {
					t.Errorf("it took %s", took)
				}
				err := o.Note(t.Context(), message(t, "note"))
				wantError(t, err, fault.Unavailable, tt.note)
				if err != nil && (!errors.Is(err, ErrNoAlert) || !strings.Contains(err.Error(), "through Jira Service Management")) {
					t.Errorf("the note: %v", err)
				}
				wantError(t, o.Resolve(t.Context(), message(t, "well")), fault.Unavailable, tt.close)
				const alias = "/firstline%2Feu-west-1%2Fi-0c1cbf2e7abdedf75%2F20261122T100403.000Z"
				for _, want := range []string{"", alias + "/notes?identifierType=alias", alias + "/close?identifierType=alias"} {
					if !slices.Contains(paths, want) {
						t.Errorf("it did not post to %q: %q", want, paths)
					}
				}
				if tt.send != "" {
					return
				}
				d, err := o.Test(t.Context(), message(t, "test"))
				if err != nil || d.Confirmed != tt.confirmed || tt.confirmed == strings.Contains(d.Detail, "does not tell") || !strings.Contains(d.Detail, "Jira Service Management") {
					t.Errorf("test: %+v, %v", d, err)
				}
			})
		})
	}
}

// Tags, details, entity, source and responders are settings, within the limits of the
// service and without taking ours away.
func TestOpsGenieSettings(t *testing.T) {
	t.Parallel()
	m := message(t, "worse")
	o := &alertAPI{service: opsgenie, alertSettings: alertSettings{chosen: chosen{
		Responders: []map[string]string{{"type": "user", "username": "anna@example.com"}, {"type": "schedule", "name": "nights"}, {"type": "escalation", "id": "e-1"}},
		Tags:       []string{"web", "firstline", " two\nlines ", ""},
		Details:    map[string]string{"runbook": "https://wiki.example/web", "instanceId": "another"},
		Entity:     "shop", Source: "eu",
	}}}
	a := o.alert(m)
	ours := pagerOf().alert(m)
	if want := append(slices.Clone(ours.Tags), "web", "two lines"); !slices.Equal(a.Tags, want) {
		t.Errorf("tags %q, want %q", a.Tags, want)
	}
	if a.Entity != "shop" || a.Source != "eu" || o.note(m).Source != "eu" || !slices.EqualFunc(a.Responders, o.Responders, maps.Equal) {
		t.Errorf("%+v", a)
	}
	for name, value := range ours.Details {
		if a.Details[name] != value {
			t.Errorf("our %s is %q now, was %q", name, a.Details[name], value)
		}
	}
	if len(a.Details) != len(ours.Details)+1 || a.Details["runbook"] != "https://wiki.example/web" {
		t.Errorf("details %v", a.Details)
	}

	// The most that Terraform lets through.
	o.Tags, o.Details, o.Entity, o.Source = nil, map[string]string{}, strings.Repeat("ü", 512), strings.Repeat("ü", 100)
	for i := range 12 {
		o.Tags = append(o.Tags, fmt.Sprintf("%02d%s", i, strings.Repeat("ü", 48)))
	}
	for i := range 8 {
		o.Details[fmt.Sprint("theirs", i)] = strings.Repeat("ü", 493)
	}
	long := message(t, "hostile")
	a = o.alert(long)
	if faults := alertFaults(a); len(faults) > 0 {
		t.Errorf("OpsGenie would refuse: %v", faults)
	}
	for name, value := range pagerOf().alert(long).Details {
		if a.Details[name] != value {
			t.Errorf("our %s is %q now, was %q", name, a.Details[name], value)
		}
	}
}

// A test is made, followed and taken back, or says what is left of it.
func TestOpsGenieTest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeOpsGenie{key: testKey, pending: 1, closings: map[string][]note{}, closed: map[string]bool{}}
		o := serving(opsgenie, "https://pager.example", f)
		for range 2 {
			d, err := o.Test(t.Context(), Message{Kind: KindTest, Deployment: "firstline", Now: time.Now(), Incident: &incident.Incident{Region: "eu-west-1"}})
			if err != nil || !d.Confirmed || !strings.HasPrefix(d.Detail, "OpsGenie made the alert firstline/test/eu-west-1/") || !strings.HasSuffix(d.Detail, " and closed it again") {
				t.Errorf("%+v, %v", d, err)
			}
		}
		if len(f.alerts) != 2 || len(f.closings) != 2 || f.alerts[0].Alias == f.alerts[1].Alias {
			t.Errorf("%d alerts, closed %v", len(f.alerts), f.closings)
		}
		if a := f.alerts[0]; a.Priority != "P5" || !strings.HasPrefix(a.Message, testLabel) || !slices.Contains(a.Tags, "test") {
			t.Errorf("%+v", a)
		}
		f.discards = 1
		_, err := o.Test(t.Context(), message(t, "test"))
		wantError(t, err, fault.Unavailable, "then not carried out")

		refuses := direct(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/close") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			f.ServeHTTP(w, r)
		}))
		o.http = refuses
		_, err = o.Test(t.Context(), message(t, "test"))
		wantError(t, err, fault.Denied, "was made, and may be open: resolve the alert through OpsGenie: HTTP 403 Forbidden: renew the API key, and let its integration read, create and update alerts")
	})
}

func page(ctx context.Context, o *alertAPI, m Message) error {
	_, err := o.Page(ctx, m)
	return err
}

// A rehearsal closes an alert that was never made: a key that is nobody's, or that may
// not make alerts, is refused.
func TestOpsGenieRehearse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		answer string
		kind   fault.Kind
		want   string
	}{
		{http.StatusAccepted, `{"result":"Request will be processed","requestId":"r-1"}`, "", ""},
		{http.StatusNotFound, `{"message":"Alert does not exist","requestId":"r-1"}`, "", ""},
		{http.StatusUnauthorized, `{"message":"Could not authenticate","requestId":"r-1"}`, fault.Denied, "Could not authenticate: renew the API key"},
		{http.StatusForbidden, `{"message":"Key is not authorized","requestId":"r-1"}`, fault.Denied, "let its integration read, create and update alerts"},
		{http.StatusNotFound, `<html>`, fault.InvalidInput, "is the configured address right?"},
		{http.StatusBadGateway, `<html>`, fault.Unavailable, "HTTP 502"},
	} {
		for _, s := range []service{opsgenie, jsm} {
			p := ofService(s, secretOf("key-1"), "https://service.example", roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPost || r.URL.String() != "https://service.example/v2/alerts/firstline%2Fnever-made/close?identifierType=alias" || r.Header.Get("Authorization") != "GenieKey key-1" {
					t.Errorf("it called %s %s", r.Method, r.URL)
				}
				w := httptest.NewRecorder()
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
				return w.Result(), nil
			}))
			_, err := p.Rehearse(t.Context(), message(t, "worse"))
			if tt.want == "" && err != nil || tt.want != "" && (fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s, %d: got %v, want %s %q", s.name, tt.status, err, tt.kind, tt.want)
			}
		}
	}
}
