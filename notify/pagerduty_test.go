package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

const testRoutingKey = "0123456789abcdefABCDEF9876543210"

// pagerDutyFaults is what PagerDuty would refuse an event for: the reference of "Send an
// Alert Event".
func pagerDutyFaults(e pagerDutyEvent) []string {
	var faults []string
	check := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	check(len(e.RoutingKey) != 32, "Length of 'routing_key' is incorrect (should be 32 characters)")
	check(e.DedupKey == "" || utf8.RuneCountInString(e.DedupKey) > 255, "dedup_key %q", e.DedupKey)
	for _, l := range e.Links {
		check(!strings.HasPrefix(l.Href, "https://") || l.Text == "", "link %+v", l)
	}
	switch e.Action {
	case "trigger":
		if e.Payload == nil {
			return append(faults, "payload is missing")
		}
		_, err := time.Parse(time.RFC3339, e.Payload.Timestamp)
		check(err != nil, "timestamp: %v", err)
		check(e.Payload.Summary == "" || utf8.RuneCountInString(e.Payload.Summary) > 1024, "summary %q", e.Payload.Summary)
		check(e.Payload.Source == "", "source is missing")
		check(!slices.Contains(pagerDutyCan.Priorities, e.Payload.Severity), "severity %q", e.Payload.Severity)
	case "resolve":
		check(e.Payload != nil || e.Links != nil, "a resolve with a payload")
	default:
		check(true, "event_action %q", e.Action)
	}
	whole, err := json.Marshal(e)
	check(err != nil || len(whole) > 512<<10 || !utf8.Valid(whole), "%d bytes, %v", len(whole), err)
	return faults
}

// fakePagerDuty refuses what PagerDuty refuses, and never tells what it did.
type fakePagerDuty struct {
	open  map[string]pagerDutyEvent
	woken []pagerDutyEvent
	calls int
}

func (f *fakePagerDuty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.calls++
	var e pagerDutyEvent
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	faults := []string{}
	if err := d.Decode(&e); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v2/enqueue" || r.Header.Get("Content-Type") != "application/json" {
		faults = append(faults, fmt.Sprint(r.Method, r.URL, err))
	} else if faults = pagerDutyFaults(e); len(faults) == 0 && e.RoutingKey != testRoutingKey {
		faults = append(faults, "Invalid routing key")
	}
	if len(faults) > 0 {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": faults})
		return
	}
	_, isOpen := f.open[e.DedupKey]
	switch {
	case e.Action == "resolve":
		delete(f.open, e.DedupKey)
	case isOpen:
		f.open[e.DedupKey] = e
	default:
		f.open[e.DedupKey] = e
		f.woken = append(f.woken, e)
	}
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "message": "Event processed", "dedup_key": e.DedupKey})
}

// pagedThroughPagerDuty is a pager with settings, whose service is f.
func pagedThroughPagerDuty(t *testing.T, f http.Handler, config string, keys ...string) Pager {
	t.Helper()
	all, err := New([]byte(`[`+config+`]`), Deps{
		HTTP:   direct(f),
		Secret: func(ctx context.Context, _ string, fresh bool) (string, error) { return secretOf(keys...)(ctx, fresh) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

const testPagerDuty = `{"type":"pagerduty","endpoint":"eu","key_parameter":"/x","severity":"critical","severity_unknown":"error"}`

func TestPagerDutyKeepsAnAlert(t *testing.T) {
	t.Parallel()
	f := &fakePagerDuty{open: map[string]pagerDutyEvent{}}
	p := pagedThroughPagerDuty(t, f, testPagerDuty, testRoutingKey)
	// Twice is once: an answer may be lost.
	for range 2 {
		if d, err := p.Page(t.Context(), message(t, "worse")); err != nil || d.Confirmed {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if len(f.woken) != 1 || f.open[testAlias].Payload == nil {
		t.Fatalf("%d woken, open %v", len(f.woken), f.open)
	}
	if err := p.Note(t.Context(), message(t, "note")); !errors.Is(err, ErrNoAlert) || f.calls != 2 {
		t.Errorf("note: %v, %d calls", err, f.calls)
	}
	if _, err := p.Open(t.Context(), testAlias); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("open: %v", err)
	}
	for range 2 {
		if err := p.Resolve(t.Context(), message(t, "well")); err != nil || len(f.open) != 0 {
			t.Errorf("resolve: %v, open %v", err, f.open)
		}
	}
}

// What settings say of an event, and what they cannot.
func TestPagerDutySettings(t *testing.T) {
	t.Parallel()
	const all = `{"type":"pagerduty","endpoint":"us","key_parameter":"/x","severity":"error","severity_unknown":"warning",
		"group":"shop","class":"ec2","component":"web","details":{"runbook":"https://example.com","region":"theirs"}}`
	type fields struct{ severity, source, group, class, component, runbook string }
	for _, tt := range []struct {
		config, about string
		want          fields
	}{
		{testPagerDuty, "worse", fields{"critical", testInstance, "firstline", "worse", "", ""}},
		{testPagerDuty, "attention", fields{"error", "eu-west-1", "firstline", "attention", "", ""}},
		{testPagerDuty, "test", fields{"info", "firstline", "firstline", "test", "", ""}},
		{all, "worse", fields{"error", testInstance, "shop", "ec2", "web", "https://example.com"}},
		{all, "attention", fields{"warning", "eu-west-1", "shop", "ec2", "web", "https://example.com"}},
		{all, "test", fields{"info", "firstline", "shop", "ec2", "web", "https://example.com"}},
	} {
		f := &fakePagerDuty{open: map[string]pagerDutyEvent{}}
		if _, err := pagedThroughPagerDuty(t, f, tt.config, testRoutingKey).Page(t.Context(), message(t, tt.about)); err != nil {
			t.Fatal(err)
		}
		got := f.woken[0].Payload
		if diff := cmp.Diff(tt.want, fields{got.Severity, got.Source, got.Group, got.Class, got.Component, got.Details["runbook"]}, cmp.AllowUnexported(fields{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.about, diff)
		}
		if got.Details["region"] != "eu-west-1" || !strings.Contains(got.Details["text"], situations[got.Details["situation"]].next) {
			t.Errorf("details %v", got.Details)
		}
	}
}

// A key that PagerDuty does not know is answered with 400: it is read once more, and
// then somebody has to store another one.
func TestPagerDutyErrors(t *testing.T) {
	t.Parallel()
	another := strings.Repeat("0", 32)
	for _, tt := range []struct {
		name, about string
		keys        []string
		kind        fault.Kind
		want        string
		calls       int
	}{
		{"renewed", "worse", []string{another, testRoutingKey}, "", "", 2},
		{"unknown", "worse", []string{another}, fault.Denied, "HTTP 400 Bad Request: Event object is invalid: Invalid routing key: store the integration key", 2},
		{"of the REST API", "worse", []string{"u+key"}, fault.Denied, "Length of 'routing_key' is incorrect", 2},
	} {
		f := &fakePagerDuty{open: map[string]pagerDutyEvent{}}
		_, err := pagedThroughPagerDuty(t, f, testPagerDuty, tt.keys...).Page(t.Context(), message(t, tt.about))
		wantError(t, err, tt.kind, tt.want)
		if f.calls != tt.calls {
			t.Errorf("%s: %d calls, want %d", tt.name, f.calls, tt.calls)
		}
	}
	f := &fakePagerDuty{open: map[string]pagerDutyEvent{}}
	_, err := pagedThroughPagerDuty(t, f, strings.Replace(testPagerDuty, "critical", "P1", 1), testRoutingKey).Page(t.Context(), message(t, "worse"))
	wantError(t, err, fault.InvalidInput, `HTTP 400 Bad Request: Event object is invalid: severity "P1"`)
	if f.calls != 1 {
		t.Errorf("%d calls", f.calls)
	}
}

func TestPagerDutyTest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakePagerDuty{open: map[string]pagerDutyEvent{}}
		d, err := pagedThroughPagerDuty(t, f, testPagerDuty, testRoutingKey).Test(t.Context(), message(t, "test"))
		if err != nil || d.Confirmed || !regexp.MustCompile(`^PagerDuty accepted the alert firstline/test/eu-west-1/\S+ and the request to close it; it does not tell`).MatchString(d.Detail) {
			t.Errorf("%+v, %v", d, err)
		}
		if len(f.woken) != 1 || len(f.open) != 0 || !strings.HasPrefix(f.woken[0].Payload.Summary, testLabel) {
			t.Errorf("woken %+v, open %v", f.woken, f.open)
		}
	})
}

// An alias longer than a key may be is cut, and the same for every event.
func TestPagerDutyLongAlias(t *testing.T) {
	t.Parallel()
	m := message(t, "hostile")
	if key := dedupKey(m); utf8.RuneCountInString(key) != limitDedupKey || key == incident.ClipLine(alias(m), limitAlias) {
		t.Errorf("%q", key)
	}
}
