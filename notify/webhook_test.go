package notify

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"firstline/internal/fault"
)

// receiver is an example of one: it checks a message, and answers when it is done.
type receiver struct {
	key  []byte
	wake func(title, text string) error
	// done are the answers to earlier messages, and open the keys of open alerts.
	done map[string]int
	open map[string]bool
}

func (rec *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || !rec.isSigned(r.Header, body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	id := r.Header.Get("Webhook-Id")
	if rec.done[id] == 0 { // else it is a message whose answer got lost
		rec.done[id] = rec.take(body)
	}
	w.WriteHeader(rec.done[id])
	if rec.done[id] >= 500 {
		delete(rec.done, id) // firstline tries again
	}
}

// isSigned reports whether a message is firstline's, and was sent just now.
func (rec *receiver) isSigned(h http.Header, body []byte) bool {
	sent, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	want := sign(rec.key, h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body)
	for signature := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return true
		}
	}
	return false
}

// take does what a message asks for.
func (rec *receiver) take(body []byte) (status int) {
	var m struct {
		Type string
		Data struct {
			Alert, Title, Text string
			Test               bool
		}
	}
	switch err := json.Unmarshal(body, &m); {
	case err != nil:
		return http.StatusBadRequest
	case m.Type == "firing" && rec.open[m.Data.Alert]:
		return http.StatusOK // somebody has been woken
	case m.Type == "firing":
		if err := rec.wake(m.Data.Title, m.Data.Text); err != nil {
			return http.StatusServiceUnavailable // firstline tries again, and then elsewhere
		}
		rec.open[m.Data.Alert] = true
	case !rec.open[m.Data.Alert]:
		return http.StatusNotFound
	case m.Type == "resolved":
		delete(rec.open, m.Data.Alert)
	}
	return http.StatusNoContent
}

//nolint:gosec // G101: no real secret
const testWebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiving is a webhook with a receiver.
func receiving(t *testing.T, woken *[]string, secrets ...string) (*webhook, *receiver) {
	t.Helper()
	key, err := webhookKey(testWebhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	rec := &receiver{key: key, done: map[string]int{}, open: map[string]bool{}, wake: func(title, _ string) error {
		*woken = append(*woken, title)
		return nil
	}}
	return &webhook{URL: "https://receiver.example/hook?a=b", secret: secretOf(secrets...), http: direct(rec)}, rec
}

func TestWebhookKeepsAnAlert(t *testing.T) {
	t.Parallel()
	var woken []string
	w, rec := receiving(t, &woken, testWebhookSecret)
	again := message(t, "worse")
	again.Incident.Execution.ID += "2"
	for _, m := range []Message{message(t, "worse"), message(t, "worse"), again} {
		if d, err := w.Page(t.Context(), m); err != nil || !d.Confirmed {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if len(woken) != 1 || len(rec.done) != 2 {
		t.Errorf("woken %q, messages %v", woken, rec.done)
	}
	if err := w.Note(t.Context(), message(t, "note")); err != nil {
		t.Errorf("note: %v", err)
	}
	if _, err := w.Open(t.Context(), testAlias); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("open: %v", err)
	}
	if err := w.Resolve(t.Context(), message(t, "well")); err != nil || len(rec.open) != 0 {
		t.Errorf("resolve: %v, %v", err, rec.open)
	}
	// Its answer to the same message is the same; another finds no alert.
	if err := w.Resolve(t.Context(), message(t, "well")); err != nil {
		t.Errorf("resolve: %v", err)
	}
	if err := w.Resolve(t.Context(), again); !errors.Is(err, ErrNoAlert) {
		t.Errorf("resolve: %v", err)
	}
	if err := w.Note(t.Context(), again); !errors.Is(err, ErrNoAlert) {
		t.Errorf("note: %v", err)
	}
}

// What a receiver's answer means.
func TestWebhookAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status             int
		confirmed, noAlert bool
		kind               fault.Kind
		want               string
	}{
		{status: 200, confirmed: true},
		{status: 201, confirmed: true},
		{status: 202},
		{status: 204, confirmed: true},
		{status: 404, kind: fault.InvalidInput, want: "is the configured address right?", noAlert: true},
		{status: 410, kind: fault.InvalidInput, want: "HTTP 410 Gone", noAlert: true},
		{status: 422, kind: fault.InvalidInput, want: "HTTP 422 Unprocessable Entity: no such field"},
		{status: 401, kind: fault.Denied, want: "store the secret that the receiver knows"},
		{status: 503, kind: fault.Unavailable, want: "HTTP 503"},
	} {
		answers := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, "no such\nfield")
		})
		w := &webhook{URL: "https://receiver.example/hook", secret: secretOf(testWebhookSecret), http: direct(answers)}
		d, err := w.Page(t.Context(), message(t, "worse"))
		wantError(t, err, tt.kind, tt.want)
		if d.Confirmed != tt.confirmed || errors.Is(err, ErrNoAlert) {
			t.Errorf("page, %d: %+v, %v", tt.status, d, err)
		}
		note := w.Note(t.Context(), message(t, "note"))
		if tt.status == http.StatusAccepted { // it may be lost
			if wantError(t, note, fault.Unavailable, "not known whether it was added"); !errors.Is(note, ErrNoAlert) {
				t.Errorf("note: %v", note)
			}
			note = nil
		}
		for _, err := range []error{note, w.Resolve(t.Context(), message(t, "well"))} {
			wantError(t, err, tt.kind, tt.want)
			if errors.Is(err, ErrNoAlert) != tt.noAlert {
				t.Errorf("%d: %v", tt.status, err)
			}
		}
	}
}

// The example of the specification
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
func TestWebhookSignature(t *testing.T) {
	t.Parallel()
	key, err := webhookKey(testWebhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	if got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("got %s", got)
	}
	for _, size := range []int{1, 23, 65} {
		w := &webhook{secret: secretOf("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, size)))}
		_, err := w.Page(t.Context(), message(t, "worse"))
		wantError(t, err, fault.InvalidInput, "page through the webhook: the webhook secret is not whsec_ and the base64 of 24 to 64 bytes: store it again")
	}
	for _, secret := range []string{testWebhookSecret[6:], "whsec_" + strings.Repeat("%", 40)} {
		_, err := (&webhook{secret: secretOf(secret)}).Page(t.Context(), message(t, "worse"))
		wantError(t, err, fault.InvalidInput, "store it again")
		if strings.Contains(err.Error(), secret) {
			t.Error(err)
		}
	}
}

// A renewed secret is read, and the message is the same one. A receiver that turns
// messages away, or a proxy that shows the page of a login, has woken nobody.
func TestWebhookSecretIsRenewed(t *testing.T) {
	t.Parallel()
	var woken []string
	old := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	w, _ := receiving(t, &woken, old, testWebhookSecret)
	if d, err := w.Page(t.Context(), message(t, "worse")); err != nil || !d.Confirmed || len(woken) != 1 {
		t.Errorf("%+v, %v, woken %q", d, err, woken)
	}
	w, rec := receiving(t, &woken, testWebhookSecret)
	rec.wake = func(string, string) error { return errors.New("no telephone") }
	_, err := w.Page(t.Context(), message(t, "worse"))
	wantError(t, err, fault.Unavailable, "HTTP 503")
	rec.wake = func(string, string) error { return nil }
	if _, err := w.Page(t.Context(), message(t, "worse")); err != nil {
		t.Error(err)
	}
}

func TestWebhookTest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var woken []string
		w, rec := receiving(t, &woken, testWebhookSecret)
		d, err := w.Test(t.Context(), message(t, "test"))
		if err != nil || !d.Confirmed || !strings.HasPrefix(d.Detail, "the webhook's receiver made the alert firstline/test/eu-west-1/") || len(woken) != 1 || len(rec.open) != 0 {
			t.Errorf("%+v, %v, woken %q", d, err, woken)
		}
	})
}

var webhookSchema = sync.OnceValues(func() (schema map[string]any, err error) {
	raw, err := os.ReadFile("webhook.schema.json")
	return schema, errors.Join(err, json.Unmarshal(raw, &schema))
})

// webhookFaults is what webhook.schema.json would refuse an event for.
func webhookFaults(t *testing.T, e webhookEvent) []string {
	t.Helper()
	var value any
	body, _ := json.Marshal(e)
	schema, err := webhookSchema()
	if err = errors.Join(err, json.Unmarshal(body, &value)); err != nil {
		t.Fatal(err)
	}
	return schemaFaults("body", schema, value)
}

// schemaFaults holds a value against the part of JSON Schema that our schema uses. A
// field that the schema does not name is a fault as well.
func schemaFaults(at string, schema map[string]any, value any) (faults []string) {
	check := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, at+": "+fmt.Sprintf(format, args...))
		}
	}
	if enum, ok := schema["enum"].([]any); ok {
		check(!slices.Contains(enum, value), "%v is none of %v", value, enum)
	}
	switch value := value.(type) {
	case map[string]any:
		check(schema["type"] != "object", "an object")
		required, _ := schema["required"].([]any)
		for _, name := range required {
			check(value[name.(string)] == nil, "%s is missing", name)
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, field := range value {
			of, ok := properties[name].(map[string]any)
			check(!ok, "%s is not in the schema", name)
			faults = append(faults, schemaFaults(at+"."+name, of, field)...)
		}
	case string:
		check(schema["type"] != "string" && schema["enum"] == nil, "a text")
		most, ok := schema["maxLength"].(float64)
		check(ok && utf8.RuneCountInString(value) > int(most), "%d characters", utf8.RuneCountInString(value))
		var err error
		switch schema["format"] {
		case "date-time":
			_, err = time.Parse(time.RFC3339, value)
		case "uri":
			_, err = url.ParseRequestURI(value)
		}
		check(err != nil, "%v", err)
	case bool:
		check(schema["type"] != "boolean", "a boolean")
	default:
		check(true, "%T", value)
	}
	return faults
}

// The schema is what the tests of messages hold every event against, so it has to
// refuse what is wrong; its limits are the code's.
func TestWebhookSchema(t *testing.T) {
	t.Parallel()
	e := (&webhook{}).event(webhookFiring, message(t, "worse"))
	if faults := webhookFaults(t, e); len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, change := range map[string]func(*webhookEvent){
		"type":     func(e *webhookEvent) { e.Type = "acknowledged" },
		"title":    func(e *webhookEvent) { e.Data.Title = strings.Repeat("ü", webhookCan.Title+1) },
		"text":     func(e *webhookEvent) { e.Data.Text = strings.Repeat("ü", webhookCan.Text+1) },
		"alert":    func(e *webhookEvent) { e.Data.Alert = strings.Repeat("a", limitAlias+1) },
		"severity": func(e *webhookEvent) { e.Data.Severity = "P1" },
		"links":    func(e *webhookEvent) { e.Data.Links = map[string]string{"alarm": "no URL"} },
	} {
		wrong := e
		change(&wrong)
		if faults := webhookFaults(t, wrong); len(faults) != 1 || !strings.Contains(faults[0], name) {
			t.Errorf("%s: %q", name, faults)
		}
	}
	for _, severity := range webhookCan.Priorities {
		e.Data.Severity = severity
		if faults := webhookFaults(t, e); len(faults) > 0 {
			t.Error(faults)
		}
	}
}
