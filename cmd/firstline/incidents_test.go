package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/deployed"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
)

func TestSinceWhen(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"24h", "2026-11-22T12:00:00Z"},
		{"7d", "2026-11-16T12:00:00Z"},
		{"0s", "2026-11-23T12:00:00Z"},
		{"2026-11-01T01:00:00+01:00", "2026-11-01T00:00:00Z"},
	} {
		if got, err := sinceWhen(tt.text, noon); err != nil || stamp(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.text, stamp(got), err, tt.want)
		}
	}
	const malformed = "is not a time: give a time ago such as 24h or 7d, or RFC 3339 with its zone, such as 2026-11-22T12:00:00Z"
	for _, tt := range []struct{ text, want string }{
		{"", `--since: "" ` + malformed},
		{"yesterday", `--since: "yesterday" ` + malformed},
		{"-24h", `--since: "-24h" ` + malformed},
		{"2026-11-22", `--since: "2026-11-22" ` + malformed},
		{"2026-11-23T12:00:01Z", "--since: 2026-11-23T12:00:01Z is still to come, it is 2026-11-23T12:00:00Z now: give a time that has passed"},
	} {
		_, err := sinceWhen(tt.text, noon)
		if _, ok := errors.AsType[usageError](err); !ok || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestIncidentID(t *testing.T) {
	for in, want := range map[string]string{
		"2f6a":                           "2f6a",
		"standing-i-0a1b2c3d-1763899200": "standing-i-0a1b2c3d-1763899200",
		"arn:aws:states:eu-west-1:123456789012:execution:firstline:2f6a_1": "2f6a_1",
	} {
		if got, err := incidentID(in); got != want || err != nil {
			t.Errorf("%s: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a b", "a/b", "a\x1b", "arn:", strings.Repeat("a", 81)} {
		_, err := incidentID(in)
		if _, ok := errors.AsType[usageError](err); !ok || !strings.HasSuffix(err.Error(), " is not an incident's id: give one that `firstline incidents` lists, or its beginning") {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

// kept are the records of a region.
type kept struct {
	all      []guard.Record
	alert    *guard.Alert
	alertErr error
	evidence *guard.Evidence
	err      error
	hangs    bool
	// asked are the instances and limits of Incidents.
	asked  []string
	limits []int
}

func (k *kept) Incidents(ctx context.Context, since time.Time, instanceID string, limit int) ([]guard.Record, error) {
	k.asked, k.limits = append(k.asked, instanceID), append(k.limits, limit)
	if k.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var found []guard.Record
	for _, r := range k.all {
		if !r.StartedAt.Before(since) && (instanceID == "" || r.InstanceID == instanceID) && (limit == 0 || len(found) < limit) {
			found = append(found, r)
		}
	}
	return found, k.err
}

func (k *kept) Incident(ctx context.Context, id string) (*guard.Record, *guard.Evidence, error) {
	if k.hangs {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	if k.err != nil && k.all == nil {
		return nil, nil, k.err
	}
	var found *guard.Record
	for n, r := range k.all {
		switch {
		case r.ID == id:
			return &k.all[n], k.evidence, k.err
		case strings.HasPrefix(r.ID, id) && found != nil:
			return nil, nil, guard.ErrAmbiguous
		case strings.HasPrefix(r.ID, id):
			found = &k.all[n]
		}
	}
	if found == nil {
		return nil, nil, guard.ErrNotFound
	}
	return found, k.evidence, k.err
}

func (k *kept) AlertOf(context.Context, string) (*guard.Alert, error) { return k.alert, k.alertErr }

// readerOf reads the records of regions that are played.
func readerOf(world map[string]*kept) *reader {
	return &reader{
		records: func(r deployed.Region) (records, error) {
			if k, ok := world[r.Region]; ok {
				return k, nil
			}
			return nil, errors.New("no table is deployed here: deploy this version first")
		},
	}
}

// record is an incident that began so long before noon.
func record(id, instance string, ago, took time.Duration, end string, i *incident.Incident) guard.Record {
	r := guard.Record{ID: id, InstanceID: instance, StartedAt: noon.Add(-ago), End: end, Incident: i}
	if took > 0 {
		r.EndedAt = r.StartedAt.Add(took)
	}
	return r
}

func TestIncidents(t *testing.T) {
	rebooted := func(outcome string) *incident.Incident {
		return &incident.Incident{Reboot: &incident.Reboot{Outcome: outcome}}
	}
	europe := &kept{all: []guard.Record{
		record("e-open", "i-0a1b2c3d", 5*time.Minute, 0, incident.EndOpen, &incident.Incident{}),
		record("e-recovered", "i-1a1b2c3d", 2*time.Hour, 3*time.Minute+20*time.Second, incident.EndRecovered, rebooted(incident.RebootRequested)),
		record("e-lost", "i-0a1b2c3d", 2*time.Hour+2*time.Minute, 0, incident.EndUnconcluded, nil),
		record("e-nothing", "", 30*time.Hour, time.Second, incident.EndNoIncident, nil),
	}}
	dry := record("u-dry", "i-2a1b2c3d", 3*time.Hour, 40*time.Second, incident.EndPaged, rebooted(incident.RebootSuppressed))
	dry.Dry = true
	america := &kept{all: []guard.Record{
		record("u-refused", "i-2a1b2c3d", time.Hour, 70*time.Second, incident.EndPaged, &incident.Incident{Refusal: &incident.Refusal{Guard: incident.GuardCoolDown}}),
		record("u-unknown", "i-2a1b2c3d", 2*time.Hour, 11*time.Minute, incident.EndPaged, rebooted(incident.RebootUnknown)),
		dry,
		record("u-long", "i-2a1b2c3d", 4*time.Hour, 0, incident.EndPageFailed, nil),
		record("u-repeat", "i-2a1b2c3d", 5*time.Hour, time.Minute, incident.EndPaged, &incident.Incident{Alert: &incident.Alert{Pager: "jsm", Repeats: 2}}),
	}}
	d := deployment{regions: two}
	q := readerOf(map[string]*kept{"eu-west-1": europe, "us-east-1": america})
	since := noon.Add(-7 * 24 * time.Hour)

	result := q.incidents(t.Context(), d.regions, since, nil, 0)
	text, err := printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
	if diff := cmp.Diff(`TIME                  REGION     INSTANCE    END               REBOOTS         TOOK   ID
2026-11-23T11:55:00Z  eu-west-1  i-0a1b2c3d  open              -               -      e-open
2026-11-23T11:00:00Z  us-east-1  i-2a1b2c3d  paged             0 (cool-down)   1m10s  u-refused
2026-11-23T10:00:00Z  eu-west-1  i-1a1b2c3d  recovered         1               3m20s  e-recovered
2026-11-23T10:00:00Z  us-east-1  i-2a1b2c3d  paged             1?              11m    u-unknown
2026-11-23T09:58:00Z  eu-west-1  i-0a1b2c3d  unconcluded       -               -      e-lost
2026-11-23T09:00:00Z  us-east-1  i-2a1b2c3d  paged (dry)       0 (suppressed)  40s    u-dry
2026-11-23T08:00:00Z  us-east-1  i-2a1b2c3d  page-failed       -               -      u-long
2026-11-23T07:00:00Z  us-east-1  i-2a1b2c3d  paged (repeat 2)  0               1m     u-repeat
2026-11-22T06:00:00Z  eu-west-1  -           no-incident       0               1s     e-nothing
`, text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	// The newest of each region are enough for the newest of all.
	europe.limits = nil
	result = q.incidents(t.Context(), d.regions, since, nil, 3)
	var ids []string
	for _, l := range result.Incidents {
		ids = append(ids, l.ID)
	}
	if diff := cmp.Diff([]string{"e-open", "u-refused", "e-recovered"}, ids); diff != "" || !result.More || europe.limits[0] != 4 {
		t.Errorf("more %v, asked for %v (-want +got):\n%s", result.More, europe.limits, diff)
	}
	text, _ = printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
	if !strings.HasSuffix(text, "\nThere are more: the newest 3 are listed. --limit 0 lists all, --since fewer.\n") {
		t.Errorf("it does not say that there are more:\n%s", text)
	}
	if result = q.incidents(t.Context(), d.regions, since, nil, 9); result.More || len(result.Incidents) != 9 {
		t.Errorf("more %v, %d incidents", result.More, len(result.Incidents))
	}

	// Of instances, each once, watched or not.
	europe.asked = nil
	result = q.incidents(t.Context(), d.regions, since, []string{"i-9a1b2c3d", "i-0a1b2c3d", "i-0a1b2c3d"}, 0)
	if diff := cmp.Diff([]string{"i-0a1b2c3d", "i-9a1b2c3d"}, europe.asked); diff != "" || len(result.Incidents) != 2 {
		t.Errorf("%+v (-want +got):\n%s", result.Incidents, diff)
	}
	text, err = printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, []string{"i-9a1b2c3d", "i-0a1b2c3d"}) })
	if err != nil || !strings.HasSuffix(text, "e-lost\n\ni-9a1b2c3d is not watched in eu-west-1, us-east-1: is the id right?\n") {
		t.Errorf("%v\n%s", err, text)
	}

	result = q.incidents(t.Context(), d.regions, noon, nil, 0)
	text, err = printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
	if err != nil || text != "no incident since 2026-11-23T12:00:00Z in eu-west-1, us-east-1\n" {
		t.Errorf("%v\n%s", err, text)
	}
}

// One region that does not answer takes nothing from the others.
func TestIncidentsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := deployment{regions: two}
		q := readerOf(map[string]*kept{"eu-west-1": {all: []guard.Record{record("e", "i-0a1b2c3d", time.Hour, time.Minute, incident.EndAllGood, nil)}}, "us-east-1": {hangs: true}})
		result := q.incidents(t.Context(), d.regions, noon.Add(-24*time.Hour), nil, 0)
		if took := time.Since(start); took != answerTime {
			t.Errorf("it took %s", took)
		}
		text, err := printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
		if diff := cmp.Diff(`TIME                  REGION     INSTANCE    END       REBOOTS  TOOK  ID
2026-11-23T11:00:00Z  eu-west-1  i-0a1b2c3d  all-good  0        1m    e

us-east-1: no answer within 30s
`, text); diff != "" || err == nil || err.Error() != "incidents could not be listed in us-east-1: see above" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
	d := deployment{regions: two}
	// Records may come with an error about others.
	some := readerOf(map[string]*kept{"eu-west-1": {all: []guard.Record{record("e", "i-0a1b2c3d", time.Hour, 0, incident.EndOpen, nil)}, err: errors.New("another cannot be read")}})
	if got := some.incidents(t.Context(), two[:1], noon.Add(-24*time.Hour), nil, 0); len(got.Incidents) != 1 || len(got.Errors) != 1 {
		t.Errorf("%+v", got)
	}
	q := readerOf(map[string]*kept{"eu-west-1": {err: denied}})
	result := q.incidents(t.Context(), d.regions, noon.Add(-24*time.Hour), nil, 0)
	text, err := printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
	if diff := cmp.Diff(`no incident since 2026-11-22T12:00:00Z in no region

eu-west-1: AccessDeniedException: not you
us-east-1: no table is deployed here: deploy this version first
`, text); diff != "" || err == nil || err.Error() != "incidents could not be listed in eu-west-1, us-east-1: see above" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestIncidentsJSON(t *testing.T) {
	q := readerOf(map[string]*kept{"eu-west-1": {all: []guard.Record{
		record("e-1", "i-0a1b2c3d", time.Hour, 90*time.Second, incident.EndPaged, &incident.Incident{Refusal: &incident.Refusal{Guard: incident.GuardBudget}}),
		record("e-2", "i-0a1b2c3d", 2*time.Hour, 0, incident.EndOpen, nil),
	}}})
	var out bytes.Buffer
	if err := printJSON(&out, q.incidents(t.Context(), two[:1], noon.Add(-24*time.Hour), nil, 0)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{
  "command": "incidents",
  "since": "2026-11-22T12:00:00Z",
  "incidents": [
    {
      "id": "e-1",
      "region": "eu-west-1",
      "instanceId": "i-0a1b2c3d",
      "startedAt": "2026-11-23T11:00:00Z",
      "endedAt": "2026-11-23T11:01:30Z",
      "end": "paged",
      "refusal": "budget",
      "tookSeconds": 90
    },
    {
      "id": "e-2",
      "region": "eu-west-1",
      "instanceId": "i-0a1b2c3d",
      "startedAt": "2026-11-23T10:00:00Z",
      "end": "open"
    }
  ],
  "more": false,
  "errors": []
}
`, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIncidentSearch(t *testing.T) {
	rec := func(id string) guard.Record {
		return record(id, "i-0a1b2c3d", time.Hour, time.Minute, incident.EndPaged, nil)
	}
	usage := func(text string) error { return usageError{errors.New(text)} }
	for _, tt := range []struct {
		name, id        string
		europe, america *kept
		want            string // region and id
		errs            []regionError
		err             error
	}{
		{name: "found", id: "abc-1", europe: &kept{}, america: &kept{all: []guard.Record{rec("abc-1")}}, want: "us-east-1 abc-1"},
		{name: "its beginning", id: "abc", europe: &kept{all: []guard.Record{rec("abd")}}, america: &kept{all: []guard.Record{rec("abc-1")}}, want: "us-east-1 abc-1"},
		{name: "an id that is the beginning of another", id: "abc", europe: &kept{all: []guard.Record{rec("abc-1")}}, america: &kept{all: []guard.Record{rec("abc")}}, want: "us-east-1 abc"},
		{name: "nothing waits once it is found", id: "abc", europe: &kept{all: []guard.Record{rec("abc")}}, america: &kept{hangs: true}, want: "eu-west-1 abc"},
		{
			name: "a beginning, and a region that does not answer", id: "ab", europe: &kept{all: []guard.Record{rec("abc")}}, america: &kept{err: denied},
			want: "eu-west-1 abc", errs: []regionError{{"us-east-1", "AccessDeniedException: not you"}},
		},
		{
			name: "evidence that cannot be read", id: "abc", europe: &kept{all: []guard.Record{rec("abc")}, err: errors.New("at: missing")}, america: &kept{err: denied},
			want: "eu-west-1 abc", errs: []regionError{{"eu-west-1", "at: missing"}},
		},
		{
			name: "several in one region", id: "ab", europe: &kept{all: []guard.Record{rec("abc"), rec("abd")}}, america: &kept{},
			err: usage("ab: several incidents begin so (in eu-west-1): give more of the id, as `firstline incidents` lists it"),
		},
		{
			name: "several in two", id: "ab", europe: &kept{all: []guard.Record{rec("abc")}}, america: &kept{all: []guard.Record{rec("abd")}},
			err: usage("ab: several incidents begin so (in eu-west-1, us-east-1): give more of the id, as `firstline incidents` lists it"),
		},
		{
			name: "none", id: "ab", europe: &kept{}, america: &kept{},
			err: usage("ab: no incident of this id in eu-west-1, us-east-1 (they are kept for 90 days): `firstline incidents` lists them"),
		},
		{
			name: "none, as far as is known", id: "ab", europe: &kept{}, america: &kept{hangs: true},
			err: errors.New("ab was not found where a region answered; not all did: us-east-1: no answer within 30s"),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				got, err := readerOf(map[string]*kept{"eu-west-1": tt.europe, "us-east-1": tt.america}).incident(t.Context(), two, tt.id)
				if took := time.Since(start); tt.err == nil && took != 0 {
					t.Errorf("it took %s", took)
				}
				if tt.err != nil {
					_, wanted := errors.AsType[usageError](tt.err)
					_, is := errors.AsType[usageError](err)
					if err == nil || err.Error() != tt.err.Error() || wanted != is {
						t.Errorf("got %v, want %v", err, tt.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if where := got.Record.Region + " " + got.Record.ID; where != tt.want || got.region.Region != got.Record.Region {
					t.Errorf("found %s, want %s", where, tt.want)
				}
				if diff := cmp.Diff(append([]regionError{}, tt.errs...), got.Errors); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestListFallback(t *testing.T) {
	failed := &incident.Error{Error: "Denied"}
	for _, tt := range []struct {
		name string
		inc  *incident.Incident
		want string
	}{
		{"the first pager", &incident.Incident{Told: &incident.Told{Page: &noon}, Alert: &incident.Alert{Pager: "opsgenie"}}, "paged"},
		{"another one", &incident.Incident{PageError: failed, Told: &incident.Told{Page: &noon}, Alert: &incident.Alert{Pager: "sns"}}, "paged (another way)"},
		{"a repeat there", &incident.Incident{PageError: failed, Told: &incident.Told{Page: &noon}, Alert: &incident.Alert{Pager: "sns", Repeats: 1}}, "paged (repeat 1) (another way)"},
		{"none", &incident.Incident{PageError: failed, Told: &incident.Told{Slack: &noon}}, "paged"},
	} {
		if got := list(record("a", "i-0a1b2c3d", time.Hour, time.Minute, incident.EndPaged, tt.inc), two[0]).ended(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What has become of an alert is asked for, and said.
func TestAlertNow(t *testing.T) {
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	own := &incident.Alert{Alias: "firstline/i-0/2", Pager: "opsgenie", Generation: 2, OpenedAt: at(-1)}
	if got := becameOf(&incident.Alert{Alias: "firstline/i-0/standing-1"}, &guard.Alert{Open: true, Generation: 3}); got != nil {
		t.Errorf("of an alert that the table never had: %+v", got)
	}
	for _, tt := range []struct {
		name   string
		latest *guard.Alert
		err    error
		want   []string
		errs   []regionError
	}{
		{
			name: "open, watched", latest: &guard.Alert{Open: true, Generation: 2, Alias: "firstline/i-0/2", Pager: "opsgenie", OpenedAt: at(-1), Repeats: 2, WatchUntil: at(1)},
			want: []string{"firstline/i-0/2 at OpsGenie", "open since 2026-11-23T11:00:00Z", "2 further incidents of the instance added to it", "looks until 2026-11-23T13:00:00Z whether the instance is well again"},
		},
		{
			name: "open, nobody looks any more", latest: &guard.Alert{Open: true, Generation: 2, Alias: "firstline/i-0/2", Pager: "jsm", OpenedAt: at(-1), WatchUntil: at(0)},
			want: []string{"firstline/i-0/2 at Jira Service Management", "open since 2026-11-23T11:00:00Z"},
		},
		{
			name: "all clear", latest: &guard.Alert{Generation: 2, Alias: "firstline/i-0/2", Pager: "opsgenie", OpenedAt: at(-1), Repeats: 1, ClosedAt: at(0), ClosedHow: guard.ClosedByAllClear, WatchUntil: at(1)},
			want: []string{"firstline/i-0/2 at OpsGenie", "opened at 2026-11-23T11:00:00Z, closed at 2026-11-23T12:00:00Z by the all-clear", "1 further incident of the instance added to it"},
		},
		{
			name: "by a person", latest: &guard.Alert{Generation: 2, Alias: "firstline/i-0/2", Pager: "opsgenie", OpenedAt: at(-1), ClosedAt: at(0), ClosedHow: guard.ClosedByPerson},
			want: []string{"firstline/i-0/2 at OpsGenie", "opened at 2026-11-23T11:00:00Z, closed at 2026-11-23T12:00:00Z by a person, as its pager told"},
		},
		{
			name: "another one came", latest: &guard.Alert{Open: true, Generation: 3, Alias: "firstline/i-0/3", Pager: "opsgenie"},
			want: []string{"firstline/i-0/2 at OpsGenie", "a later alert of the instance has come since"},
		},
		{name: "the table has none"},
		{name: "the table has an earlier one", latest: &guard.Alert{Generation: 1}},
		{name: "the table does not answer", err: denied, errs: []regionError{{"eu-west-1", "what has become of the alert is not known: AccessDeniedException: not you"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := record("abc", "i-0a1b2c3d", time.Hour, time.Minute, incident.EndPaged, &incident.Incident{Alert: own})
			q := readerOf(map[string]*kept{"eu-west-1": {all: []guard.Record{rec}, alert: tt.latest, alertErr: tt.err}, "us-east-1": {}})
			for _, id := range []string{"abc", "ab"} {
				got, err := q.incident(t.Context(), two, id)
				if err != nil {
					t.Fatal(err)
				}
				var lines []string
				if got.Alert != nil {
					lines = got.Alert.lines(noon)
				}
				if diff := cmp.Diff(tt.want, lines); diff != "" {
					t.Errorf("%s (-want +got):\n%s", id, diff)
				}
				if diff := cmp.Diff(append([]regionError{}, tt.errs...), append([]regionError{}, got.Errors...)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", id, diff)
				}
			}
		})
	}
}

// wholeIncident is one: down, rebooted, still down, paged.
func wholeIncident() *incidentResult {
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	after := func(seconds int) *time.Time { t := at(seconds); return &t }
	settings := incident.DefaultSettings()
	settings.URL.Address = "https://user@app.example.com:8443/healthz?token=s3cret"
	settings.Route53.HealthCheckID = "4f2b"
	settings.SSH.Enabled = false
	settings.Reboot = incident.RebootSettings{CoolDownSeconds: 1800, PerDay: 2, FreshSeconds: 900}
	return &incidentResult{
		Record: listed{
			ID: "2f6a", Region: "eu-west-1", InstanceID: "i-0a1b2c3d", StartedAt: noon, EndedAt: at(680), End: incident.EndPaged, Reboot: incident.RebootRequested,
		},
		Incident: &incident.Incident{
			Alarm:     &incident.Alarm{Name: "firstline-cpu-i-0a1b2c3d", Reason: "Threshold Crossed: 1 datapoint [100.0]", At: at(-3)},
			Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:firstline:2f6a", Name: "2f6a", StartedAt: noon},
			EventAt:   at(-2),
			Settings:  &settings,
			Findings: []checks.Finding{
				{Run: 1, Check: "url", Reason: "GET https://app.example.com:8443/healthz: connection refused\x1b[2J", Attempts: 3, ElapsedMs: 4012, At: at(6)},
				{Run: 2, Check: "url", Reason: "GET https://app.example.com:8443/healthz: time-out", Attempts: 3, ElapsedMs: 13000, At: at(675), Looks: 17, Since: after(80)},
				{Run: 2, Check: "route53", Passed: true, Reason: "5 of 8 checkers", Attempts: 1, ElapsedMs: 90, At: at(77)},
			},
			Reboot:     &incident.Reboot{At: at(10), Reason: "connection refused", Outcome: incident.RebootRequested, WindowClosesAt: at(610)},
			SlackError: &incident.Error{Error: "Denied", Cause: `{"errorMessage":"post: invalid_auth","errorType":"Denied"}`},
			Told:       &incident.Told{Page: after(679)},
		},
		Evidence: &evidence{
			At: at(8), SystemStatus: "ok", InstanceStatus: "impaired", ConsoleAt: at(-60),
			Console: "[   12.3] Out of memory: Killed process 812\r\n\n\x1b[1mlogin:\x07\n",
		},
	}
}

func TestPrintIncident(t *testing.T) {
	text, err := printed(t, func(w *bytes.Buffer) error { return printIncident(w, wholeIncident(), false) })
	if diff := cmp.Diff(`i-0a1b2c3d in eu-west-1: paged after 11m20s, reboots: 1
incident 2f6a
https://console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/arn:aws:states:eu-west-1:123456789012:execution:firstline:2f6a

TIME                  AFTER    WHAT
2026-11-23T11:59:57Z  -3s      alarm           firstline-cpu-i-0a1b2c3d rang: Threshold Crossed: 1 datapoint [100.0]
2026-11-23T12:00:00Z  +0s      opened          the checks begin
2026-11-23T12:00:06Z  +6s      url             failed: GET https://app.example.com:8443/healthz: connection refused[2J (3 attempts, 4012 ms)
2026-11-23T12:00:08Z  +8s      evidence        kept; see below
2026-11-23T12:00:10Z  +10s     reboot          requested: connection refused; looks end at 2026-11-23T12:10:10Z
2026-11-23T12:01:17Z  +1m17s   route53, run 2  passed: 5 of 8 checkers (1 attempt, 90 ms)
2026-11-23T12:11:15Z  +11m15s  url, run 2      failed: GET https://app.example.com:8443/healthz: time-out (3 attempts, 13000 ms; 17 looks since 2026-11-23T12:01:20Z)
                               slack           Denied: post: invalid_auth
2026-11-23T12:11:19Z  +11m19s  page            sent
2026-11-23T12:11:20Z  +11m20s  end             paged

settings
  url      GET https://app.example.com:8443/healthz, 3 attempts of 3s, wants 200-299
  route53  health check 4f2b, more than 18 % of the checkers
  ssh      off
  boot     first look after 1m, then every 20s, until 10m after the reboot
  reboots  at most one in 30m and 2 in 24 hours, for events of the last 15m

evidence of 2026-11-23T12:00:08Z
  system status    ok
  instance status  impaired
  console, its last lines as of 2026-11-23T11:59:00Z, redacted
  | [   12.3] Out of memory: Killed process 812
  |
  | [1mlogin:
`, text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if text, err = printed(t, func(w *bytes.Buffer) error { return printIncident(w, wholeIncident(), true) }); err != nil || strings.Contains(text, "login") || strings.Contains(text, "evidence of") {
		t.Errorf("%v: without evidence it says\n%s", err, text)
	}
	if err := printIncident(brokenPipe{}, wholeIncident(), false); err == nil {
		t.Error("what cannot be written is no error")
	}
	// The same as JSON, in which nothing can do anything to a terminal.
	var out bytes.Buffer
	if err := printJSON(&out, wholeIncident()); err != nil {
		t.Fatal(err)
	}
	var back map[string]map[string]any
	_ = json.Unmarshal(out.Bytes(), &back)
	if strings.Contains(out.String(), "\x1b") || back["incident"]["reboot"] == nil || back["evidence"]["instanceStatus"] != "impaired" {
		t.Errorf("%s", out.String())
	}
}

// Every other thing that may happen in an incident has its line.
func TestMoments(t *testing.T) {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	after := func(minutes int) *time.Time { t := at(minutes); return &t }
	for _, tt := range []struct {
		name string
		rec  listed
		inc  *incident.Incident
		kept *evidence
		want []string
	}{
		{
			name: "a record without its incident", rec: listed{End: incident.EndUnconcluded},
			want: []string{"0 opened: the checks begin", "- end: unconcluded: its execution ended without its last step, look at it and at the instance"},
		},
		{name: "still open", rec: listed{End: incident.EndOpen}, inc: &incident.Incident{}, want: []string{"0 opened: the checks begin", "- now: still open"}},
		{
			name: "of a standing alarm, refused",
			rec:  listed{End: incident.EndPaged, EndedAt: at(2)},
			inc: &incident.Incident{
				Alarm: &incident.Alarm{Name: "firstline-cpu-i-0", At: at(-185)}, EventAt: at(0),
				Findings: []checks.Finding{{Run: 1, Check: "url", Passed: true, Skipped: true, Reason: "skipped: off", At: at(1)}},
				Refusal:  &incident.Refusal{Guard: incident.GuardCoolDown, Reason: "rebooted at 11:50", At: at(1)},
				Told:     &incident.Told{Page: after(2)},
			},
			kept: &evidence{At: at(1)},
			want: []string{
				"-185 alarm: firstline-cpu-i-0 rang: it gives no reason", "0 event: sent 3h5m after the alarm rang", "0 opened: the checks begin",
				"1 url: skipped: off", "1 evidence: kept; see below", "1 guard: no reboot (cool-down): rebooted at 11:50", "2 page: sent", "2 end: paged",
			},
		},
		{
			name: "paused",
			rec:  listed{End: incident.EndPaused, EndedAt: at(2)},
			inc: &incident.Incident{
				Paused: &incident.Pause{Until: at(60), Scope: incident.PauseRegion, By: "arn:aws:iam::1:user/jane"},
				Told:   &incident.Told{Slack: after(1)},
			},
			want: []string{"0 opened: the checks begin", "- paused: the region, until 2026-11-23T13:00:00Z by arn:aws:iam::1:user/jane: no reboot, no page", "1 slack: message sent", "2 end: paused"},
		},
		{
			name: "everything fails",
			rec:  listed{End: incident.EndNobodyTold, EndedAt: at(9)},
			inc: &incident.Incident{
				Findings:    []checks.Finding{{Run: 1, Check: "url", Reason: "refused", Attempts: 1, ElapsedMs: 1, At: at(1)}},
				Reboot:      &incident.Reboot{At: at(2), Outcome: incident.RebootUnknown},
				RebootError: &incident.Error{Error: "Sandbox.Timedout"},
				Error:       &incident.Error{Error: "Unavailable", Cause: "throttled"},
				SlackError:  &incident.Error{Error: "Denied", Cause: "no"},
				PageError:   &incident.Error{Cause: "no key"},
				CloseError:  &incident.Error{Error: "Unavailable"},
			},
			want: []string{
				"0 opened: the checks begin", "1 url: failed: refused (1 attempt, 1 ms)", "2 reboot: unknown", "- reboot: Sandbox.Timedout", "- error: Unavailable: throttled",
				"- slack: Denied: no", "- page: no key", "- close: Unavailable", "9 end: nobody-told",
			},
		},
		{
			name: "another pager, and Slack",
			rec:  listed{End: incident.EndPaged, EndedAt: at(4)},
			inc: &incident.Incident{
				PageError: &incident.Error{Error: "Denied", Cause: "opsgenie: the key is refused"},
				Alert:     &incident.Alert{Alias: "firstline/1/eu-west-1/i-0/2", Pager: "jsm", Generation: 2, OpenedAt: at(2)},
				Thread:    &incident.Thread{Channel: "C0123456789", TS: "1763899200.000100"},
				Told:      &incident.Told{Page: after(2), Slack: after(3)},
			},
			want: []string{
				"0 opened: the checks begin", "- page: Denied: opsgenie: the key is refused",
				"2 page: sent through Jira Service Management, since another pager failed: firstline/1/eu-west-1/i-0/2",
				"3 slack: message sent", "- slack: in the thread 1763899200.000100 of channel C0123456789", "4 end: paged",
			},
		},
		{
			name: "a repeat, and no watch",
			rec:  listed{End: incident.EndPaged, EndedAt: at(4)},
			inc: &incident.Incident{
				Alert:      &incident.Alert{Alias: "firstline/1/eu-west-1/i-0", Pager: "sns", Repeats: 3, OpenedAt: at(-90)},
				Told:       &incident.Told{Page: after(2)},
				WatchError: &incident.Error{Error: "StepFunctions.AccessDeniedException", Cause: "not authorized"},
			},
			want: []string{
				"0 opened: the checks begin", "2 page: added as repeat 3 to the alert through SNS: firstline/1/eu-west-1/i-0, open since 2026-11-23T10:30:00Z",
				"- watch: StepFunctions.AccessDeniedException: not authorized", "4 end: paged",
			},
		},
		{
			name: "a rehearsal",
			rec:  listed{End: incident.EndRecovered, Dry: true, EndedAt: at(5)},
			inc: &incident.Incident{
				Dry: true, Reboot: &incident.Reboot{At: at(1), Outcome: incident.RebootSuppressed, Reason: "refused"},
				Recovery:   &incident.Recovery{Passes: 2, Since: after(3)},
				Suppressed: []incident.Suppressed{{Action: incident.ActionReboot, At: at(1)}, {Action: incident.ActionSlack, At: at(4), Text: "*text*"}},
				Told:       &incident.Told{Slack: after(4)},
			},
			want: []string{
				"0 opened: a rehearsal, which acts on nothing", "1 reboot: suppressed: refused", "3 recovery: all checks pass since then",
				"4 slack: left undone, since it is dry", "5 end: recovered",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.rec.StartedAt = noon
			var got []string
			for _, m := range moments(&incidentResult{Record: tt.rec, Incident: tt.inc, Evidence: tt.kept}) {
				when := "-"
				if !m.at.IsZero() {
					when = fmt.Sprint(m.at.Sub(noon).Minutes())
				}
				got = append(got, when+" "+m.what+": "+m.text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettingsLines(t *testing.T) {
	s := incident.DefaultSettings()
	s.URL.Scheme, s.URL.Port, s.URL.Path = "https", 8443, "/healthz"
	s.SSH.Host, s.SSH.Port = "bastion.example.com", 2222
	s.Reboot = incident.RebootSettings{DryRun: true}
	want := []string{
		"url      GET https://…:8443/healthz, 3 attempts of 3s, wants 200-299",
		"route53  off",
		"ssh      bastion.example.com port 2222, 3 attempts of 5s",
		"boot     first look after 1m, then every 20s, until 10m after the reboot",
		"reboots  never (per_day is 0); a dry run: EC2 is only asked whether it would",
	}
	if diff := cmp.Diff(want, settingsLines(&s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.URL.Port, s.URL.Address, s.SSH.Host = 0, "%zz", ""
	lines := settingsLines(&s)
	if !strings.Contains(lines[0], "an address that is no URL") || lines[2] != "ssh      the instance, port 2222, 3 attempts of 5s" {
		t.Errorf("%q", lines)
	}
	s.URL.Enabled = false
	if got := settingsLines(&s)[0]; got != "url      off" {
		t.Errorf("%q", got)
	}
}

func TestPrintEvidenceNone(t *testing.T) {
	r := wholeIncident()
	r.Evidence = nil
	text, err := printed(t, func(w *bytes.Buffer) error { return printEvidence(w, r) })
	if err != nil || text != "\nevidence\n  none was kept\n" {
		t.Errorf("%q, %v", text, err)
	}
	r.Incident.Reboot = nil
	if text, err = printed(t, func(w *bytes.Buffer) error { return printEvidence(w, r) }); err != nil || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	r.Evidence = &evidence{At: noon}
	text, err = printed(t, func(w *bytes.Buffer) error { return printEvidence(w, r) })
	if want := "\nevidence of 2026-11-23T12:00:00Z\n  system status    not known\n  instance status  not known\n  console          nothing\n"; err != nil || text != want {
		t.Errorf("%q, %v", text, err)
	}
}
