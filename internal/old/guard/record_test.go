package guard

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

// history has one incident a minute: of "i-00000000" and "i-00000001" in turn.
func (d *db) history(many int) {
	d.t.Helper()
	for n := range many {
		inc := newIncident(fmt.Sprintf("i-%08x", n%2), fmt.Sprintf("run-%02d", n))
		inc.Execution.StartedAt = at.Add(time.Duration(n) * time.Minute)
		if err := d.Close(d.t.Context(), inc, incident.EndAllGood); err != nil {
			d.t.Fatal(err)
		}
	}
}

func ids(records []Record) string {
	var all []string
	for _, r := range records {
		all = append(all, strings.TrimPrefix(r.ID, "run-"))
	}
	return strings.Join(all, " ")
}

func TestIncidents(t *testing.T) {
	d := newDB(t)
	d.history(7)
	// Pages of two, however many are asked for.
	pages := 0
	d.on("Query", func(in any, call func() error) error {
		pages++
		if q := in.(*dynamodb.QueryInput); q.Limit == nil || *q.Limit > 2 {
			q.Limit = aws.Int32(2)
		}
		return call()
	})
	for _, tt := range []struct {
		name     string
		since    time.Time
		instance string
		limit    int
		want     string
	}{
		{"all", time.Time{}, "", 0, "06 05 04 03 02 01 00"},
		{"the last", time.Time{}, "", 1, "06"},
		{"the last three", time.Time{}, "", 3, "06 05 04"},
		{"more than there are", time.Time{}, "", 99, "06 05 04 03 02 01 00"},
		{"since one began", at.Add(4 * time.Minute), "", 0, "06 05 04"},
		{"since one had begun", at.Add(4*time.Minute + time.Millisecond), "", 0, "06 05"},
		{"since another zone's time", at.Add(5 * time.Minute).In(time.FixedZone("", 7200)), "", 0, "06 05"},
		{"since then", at.Add(time.Hour), "", 0, ""},
		{"of one instance", time.Time{}, "i-00000001", 0, "05 03 01"},
		{"the last of one instance", time.Time{}, "i-00000001", 2, "05 03"},
		{"of one instance since", at.Add(3 * time.Minute), "i-00000000", 0, "06 04"},
		{"of no instance", time.Time{}, "i-00000009", 0, ""},
	} {
		records, err := d.Incidents(t.Context(), tt.since, tt.instance, tt.limit)
		if got := ids(records); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	if pages < 20 {
		t.Errorf("%d pages", pages)
	}
	d.meddle = nil

	// DynamoDB deletes them some time after 90 days.
	d.pass(90*24*time.Hour - time.Second)
	if records, err := d.Incidents(t.Context(), time.Time{}, "", 0); err != nil || len(records) != 7 {
		t.Errorf("%d records, %v", len(records), err)
	}
	d.pass(time.Second)
	if records, err := d.Incidents(t.Context(), time.Time{}, "", 0); err != nil || len(records) != 0 {
		t.Errorf("%d records, %v", len(records), err)
	}
	_, _, err := d.Incident(t.Context(), "run-00")
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	d.on("Query", func(any, func() error) error { return refusal("AccessDeniedException") })
	_, err = d.Incidents(t.Context(), time.Time{}, "", 0)
	want(t, err, fault.Denied, "list incidents in table "+d.Name)
}

// One record that cannot be read hides no other.
func TestIncidentsUnreadable(t *testing.T) {
	d := newDB(t)
	d.history(2)
	d.put(key{incidentPartition, "2026-11-22T10:00:30.000Z#odd"}, item{"id": number(7), "startedAt": text("then"), "end": text("open")})
	d.put(key{incidentPartition, "2026-11-22T10:00:40.000Z#newer"}, item{
		"id": text("newer"), "instanceId": text(instanceID), "startedAt": text("2026-11-22T10:00:40Z"), "end": text("all-good"),
		"incident": text(`{"instanceId":"i-0c1cbf2e7abdedf75","region":"eu-west-1","settings":{"of":"another version"}}`),
	})
	records, err := d.Incidents(t.Context(), time.Time{}, "", 0)
	if got := ids(records); got != "01 newer 00" || records[1].Region != region || records[1].Incident.Settings != nil {
		t.Errorf("%+v", records)
	}
	want(t, err, fault.Internal, "the item incident/2026-11-22T10:00:30.000Z#odd cannot be read")
	want(t, err, fault.Internal, "id: got a number, want a text")
	want(t, err, fault.Internal, `startedAt: "then" is not a time`)
	want(t, err, fault.Internal, "incident: missing")
}

func TestIncident(t *testing.T) {
	d := newDB(t)
	for n, name := range []string{"abc", "abcd", "abd-1", "xyz", "same", "same"} {
		inc := newIncident(instanceID, name)
		inc.Execution.StartedAt = at.Add(time.Duration(n) * time.Minute)
		if err := d.Close(t.Context(), inc, incident.EndPaged); err != nil {
			t.Fatal(err)
		}
	}
	evidence := Evidence{At: at, Console: "kernel panic", ConsoleAt: at.Add(-time.Minute), SystemStatus: "ok", InstanceStatus: "impaired"}
	if err := d.KeepEvidence(t.Context(), newIncident(instanceID, "xyz"), evidence); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		id, want string
		err      error
		text     string
	}{
		{"abc", "abc", nil, ""}, // though another one begins with it
		{"abcd", "abcd", nil, ""},
		{"abd", "abd-1", nil, ""},
		{"ab", "", ErrAmbiguous, "several incidents have an id that begins with it: abc, abcd, abd-1"},
		{"abcde", "", ErrNotFound, "look up incident abcde: no incident has this id"},
		{"bc", "", ErrNotFound, ""},
		{"", "", nil, "its id is missing; firstline incidents lists them"},
		{"x", "xyz", nil, ""},
	} {
		r, e, err := d.Incident(t.Context(), tt.id)
		switch {
		case tt.want != "":
			if err != nil || r == nil || r.ID != tt.want || r.End != incident.EndPaged || r.Incident.InstanceID != instanceID {
				t.Errorf("%q: got %+v, %v", tt.id, r, err)
			}
			if (e != nil) != (tt.want == "xyz") {
				t.Errorf("%q: evidence %+v", tt.id, e)
			} else if e != nil {
				same(t, *e, evidence)
			}
		case r != nil || tt.err != nil && !errors.Is(err, tt.err):
			t.Errorf("%q: got %+v, %v; want %v", tt.id, r, err, tt.err)
		default:
			want(t, err, fault.InvalidInput, tt.text)
		}
	}
	// A name that was used again is the newest's.
	if r, _, err := d.Incident(t.Context(), "same"); err != nil || !r.StartedAt.Equal(at.Add(5*time.Minute)) {
		t.Errorf("%+v, %v", r, err)
	}
	// Evidence that cannot be read takes no record away.
	d.put(key{evidencePartition, "abc"}, item{"at": number(1)})
	r, e, err := d.Incident(t.Context(), "abc")
	want(t, err, fault.Internal, "the item evidence/abc cannot be read")
	if r == nil || r.ID != "abc" || e != nil {
		t.Errorf("%+v, %+v", r, e)
	}
	// Nor is it kept for longer than the record.
	d.put(key{evidencePartition, "abcd"}, item{"at": text("2026-11-22T10:00:00Z"), "expiresAt": seconds(at)})
	if r, e, err := d.Incident(t.Context(), "abcd"); r == nil || e != nil || err != nil {
		t.Errorf("%+v, %+v, %v", r, e, err)
	}
}

func TestKeepEvidence(t *testing.T) {
	d := newDB(t)
	inc := newIncident(instanceID, "a")
	if err := d.Close(t.Context(), inc, incident.EndRecovered); err != nil {
		t.Fatal(err)
	}
	line := "[   12.345678] systemd[1]: Started something or other.\n"
	console := "-----BEGIN RSA PRIVATE KEY-----\n" + strings.Repeat(line, 400) + "-----END RSA PRIVATE KEY-----\n" +
		strings.Repeat(line, 400) + "\x1b[31mpassword=hunter2\x1b[0m\n" + line
	if err := d.KeepEvidence(t.Context(), inc, Evidence{At: at, Console: console, SystemStatus: "ok"}); err != nil {
		t.Fatal(err)
	}
	// The step is invoked again, when the instance is booting.
	d.pass(time.Minute)
	if err := d.KeepEvidence(t.Context(), inc, Evidence{At: d.Now(), Console: "Booting Linux", SystemStatus: "initializing"}); err != nil {
		t.Fatal(err)
	}
	_, e, err := d.Incident(t.Context(), "a")
	if err != nil || e == nil {
		t.Fatalf("%+v, %v", e, err)
	}
	if !e.At.Equal(at) || e.SystemStatus != "ok" || e.InstanceStatus != "" || !e.ConsoleAt.IsZero() {
		t.Errorf("%+v", e)
	}
	if len(e.Console) > maxConsole || len(e.Console) < maxConsole-len(line) || !strings.HasPrefix(e.Console, line) || !strings.HasSuffix(e.Console, "\npassword=[redacted]\n"+line) {
		t.Errorf("%d bytes: %.100q … %q", len(e.Console), e.Console, e.Console[len(e.Console)-100:])
	}
	d.on("PutItem", func(any, func() error) error { return refusal("AccessDeniedException") })
	want(t, d.KeepEvidence(t.Context(), inc, Evidence{}), fault.Denied, "keep evidence of "+instanceID)
}

func TestTail(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 8, ""},
		{"12345678", 8, "12345678"},
		{"1\n34567890abcdef01", 16, "34567890abcdef01"},
		{"1234567890\nabcdefghijklmno", 16, "abcdefghijklmno"},
		{"a long line\n and another one", 16, " and another one"},
		{"1234567\nabcde\nfgh", 8, "bcde\nfgh"}, // a newline further on does not count
		{"ééééé", 5, "éé"},
	} {
		if got := tail(tt.in, tt.limit); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}
