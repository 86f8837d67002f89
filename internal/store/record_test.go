package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/store"
	"firstline/test/dynamo"
)

// began is the execution that began some minutes after start.
func began(name string, minutes int) incident.Execution {
	return incident.Execution{ID: "arn:aws:states:eu-west-1:1:execution:firstline:" + name, Name: name, StartedAt: start.Add(time.Duration(minutes) * time.Minute)}
}

func recordOf(name string, minutes int, instance string) store.Record {
	return store.RecordOf(&incident.Incident{InstanceID: instance, Execution: began(name, minutes)})
}

func TestEveryFieldOfARecordIsKept(t *testing.T) {
	table, _ := newTable()
	var want store.Record
	var n int64
	fill(reflect.ValueOf(&want).Elem(), &n)
	want.ID, want.StartedAt = "run", incident.At(start)
	look := want.Looks[0]
	want.Looks = []store.LookRecord{look}
	// Written again it changes nothing.
	for range 2 {
		if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: want, Look: &look}); err != nil {
			t.Fatal(err)
		}
	}
	got, evidence, err := table.Record(t.Context(), "run")
	if err != nil || evidence != nil {
		t.Fatal(evidence, err)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
}

func TestARecordThroughItsLife(t *testing.T) {
	table, db := newTable()
	alarm := &incident.Alarm{Name: "cpu", Reason: "over 90", At: incident.At(start), Value: new(93.5)}
	open := &incident.Incident{InstanceID: one, Execution: began("run", 0), Alarm: alarm, Trigger: incident.TriggerAlarm}
	write := func(u store.RecordUpdate) {
		t.Helper()
		if err := table.UpdateRecord(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	r := store.RecordOf(open)
	r.LeaseUntil = incident.At(start.Add(15 * time.Minute))
	write(store.RecordUpdate{Record: r})
	for n := range 2 {
		d := &incident.Decision{
			Look: n + 1, At: incident.At(start.Add(time.Duration(n) * time.Minute)), Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextWait, WaitSeconds: 60,
			Reason: "URL failed", Confirming: "reboot",
			Findings: []incident.Finding{{Look: n + 1, Check: incident.CheckURL, Outcome: incident.Failed, Reason: "no answer", Attempts: 3, ElapsedMs: 9000, Endpoint: "192.0.2.1:443"}},
		}
		r.LeaseUntil = incident.At(start.Add(time.Duration(n+20) * time.Minute))
		must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
			e.State.Instance.LastLookAt = d.At
			e.Record = &store.RecordUpdate{Record: r, Look: store.LookOf(d)}
			return nil
		}))
	}
	got, _, err := table.Record(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	if got.Unconcluded(start.Add(20*time.Minute)) || !got.Unconcluded(start.Add(21*time.Minute)) {
		t.Errorf("its lease ends at %v", got.LeaseUntil.Time())
	}
	// A later write knows the alarm in another form; the first one stays.
	late := *open
	late.Alarm, late.Told = &incident.Alarm{Name: "disk"}, true
	late.Paged = &incident.Paged{Pager: "opsgenie", Alias: "a-1", At: 5}
	end := store.RecordOf(&late)
	end.EndedAt, end.End = incident.At(start.Add(3*time.Minute)), "told"
	write(store.RecordUpdate{Record: end})
	end.EndedAt, end.End = incident.At(start.Add(9*time.Minute)), "nobody was told"
	write(store.RecordUpdate{Record: end})
	if got, _, err = table.Record(t.Context(), "run"); err != nil {
		t.Fatal(err)
	}
	want := &store.Record{
		ID: "run", Execution: open.Execution.ID, StartedAt: incident.At(start), InstanceID: one, Trigger: incident.TriggerAlarm, Alarm: alarm,
		EndedAt: incident.At(start.Add(3 * time.Minute)), End: "told", LeaseUntil: incident.At(start.Add(21 * time.Minute)), Told: true, Paged: late.Paged,
	}
	for n := range 2 {
		want.Looks = append(want.Looks, store.LookRecord{
			Look: n + 1, At: incident.At(start.Add(time.Duration(n) * time.Minute)), Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextWait, WaitSeconds: 60,
			Reason: "URL failed", Confirming: "reboot",
			Findings: []store.FindingOfRecord{{Check: incident.CheckURL, Outcome: incident.Failed, Reason: "no answer", Attempts: 3, ElapsedMs: 9000}},
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Unconcluded(start.Add(time.Hour)) {
		t.Error("one that has ended is unconcluded")
	}
	if n := number(int(start.Add(90 * 24 * time.Hour).Unix())); cmp.Diff(n, db.Get("incident", "2026-11-22T10:00:00.000Z#run")["expiresAt"], ignoreNoSmithy()) != "" {
		t.Error("it is not kept for 90 days")
	}
}

func TestARecordNeedsItsKey(t *testing.T) {
	table, db := newTable()
	for _, r := range []store.Record{{ID: "run"}, {StartedAt: 5}} {
		if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: r}); fault.KindOf(err) != fault.InvalidInput {
			t.Errorf("%+v: got %v, want InvalidInput", r, err)
		}
	}
	if err := table.PutEvidence(t.Context(), incident.Execution{ID: "arn:x:run"}, store.Evidence{}); fault.KindOf(err) != fault.InvalidInput {
		t.Errorf("evidence: got %v, want InvalidInput", err)
	}
	if len(db.Sorts("incident"))+len(db.Sorts("evidence")) > 0 {
		t.Error("it was written")
	}
	// The name is the ARN's end.
	r := store.RecordOf(&incident.Incident{Execution: incident.Execution{ID: "arn:x:run", StartedAt: start}})
	if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: r}); err != nil || db.Get("incident", "2026-11-22T10:00:00.000Z#run") == nil {
		t.Error(err)
	}
}

func TestTheLongestRecordFits(t *testing.T) {
	table, db := newTable()
	long := strings.Repeat("…", 5000)
	r := recordOf("run", 0, one)
	r.Name, r.Alarm = long, &incident.Alarm{Reason: long}
	r.Caught = map[string]incident.Caught{}
	for n := range 13 {
		r.Caught[fmt.Sprint("step ", n)] = incident.Caught{Error: "Unavailable", Cause: long}
	}
	for range 200 {
		r.Suppressed = append(r.Suppressed, incident.Suppressed{Action: "page", Text: strings.Repeat("x", 1500)})
	}
	for n := range incident.MaxLooks {
		l := &store.LookRecord{Look: n + 1, At: incident.At(start), Verdict: "unknown", Kind: "contradicted", Reason: long, Situation: "down_after_reboot", Guard: "a guard of many words"}
		for _, check := range incident.Checks {
			l.Findings = append(l.Findings, store.FindingOfRecord{Check: check, Outcome: "unknown", Kind: "contradicted", Reason: long, Attempts: 10, ElapsedMs: 50000, At: incident.At(start)})
		}
		if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: r, Look: l}); err != nil {
			t.Fatalf("look %d: %v", n+1, err)
		}
	}
	if bytes, name := db.Largest(); bytes > 350<<10 {
		t.Errorf("%s has %d bytes", name, bytes)
	}
	if len(r.Suppressed) != 200 || r.Alarm.Reason != long {
		t.Error("what was given was cut, too")
	}
}

func TestListsOfRecords(t *testing.T) {
	table, db := newTable()
	for n := range 6 {
		id := []string{one, two}[n%2]
		if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: recordOf(fmt.Sprint("run-", n), n, id)}); err != nil {
			t.Fatal(err)
		}
	}
	old := recordOf("old", -200, one)
	table.Now = func() time.Time { return start.Add(-90 * 24 * time.Hour) }
	if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: old}); err != nil {
		t.Fatal(err)
	}
	table.Now = func() time.Time { return start }
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	tests := map[string]struct {
		from, to time.Time
		instance string
		limit    int
		want     string
	}{
		"all":              {want: "run-5 run-4 run-3 run-2 run-1 run-0"},
		"from":             {from: at(3), want: "run-5 run-4 run-3"},
		"to":               {to: at(3), want: "run-2 run-1 run-0"},
		"between":          {from: at(1), to: at(4), want: "run-3 run-2 run-1"},
		"backwards":        {from: at(4), to: at(1), want: ""},
		"one instance":     {instance: two, want: "run-5 run-3 run-1"},
		"limit":            {limit: 2, want: "run-5 run-4"},
		"limit on another": {instance: one, limit: 2, want: "run-4 run-2"},
		"far ahead":        {from: at(100), want: ""},
	}
	for name, tt := range tests {
		for _, page := range []int{0, 1, 2} {
			t.Run(fmt.Sprint(name, " page ", page), func(t *testing.T) {
				db.Page = page
				all := must[[]store.Record](t)(table.Records(t.Context(), tt.from, tt.to, tt.instance, tt.limit))
				var got []string
				for _, r := range all {
					got = append(got, r.ID)
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
	db.Put(dynamo.Item{"pk": text("incident"), "sk": text("2026-11-22T10:00:30.000Z#odd"), "schema": number(1), "version": number(1), "looks": number(1)})
	all, err := table.Records(t.Context(), time.Time{}, time.Time{}, "", 0)
	if len(all) != 6 || !errors.Is(err, store.ErrUnreadable) || fault.KindOf(err) != fault.Internal {
		t.Errorf("beside one that cannot be read: %d records, %v", len(all), err)
	}
}

func TestOneRecordIsFoundByItsName(t *testing.T) {
	table, db := newTable()
	for n, name := range []string{"abc-1", "abc-12", "xyz", "xyz"} {
		r := recordOf(name, n, one)
		r.Name = fmt.Sprint("name ", n)
		if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		id, want string
		err      error
	}{
		{id: "abc-1", want: "name 0"},
		{id: "abc-12", want: "name 1"},
		{id: "xyz", want: "name 3"}, // the newest
		{id: "abc", err: store.ErrAmbiguous},
		{id: "bc-1", err: store.ErrNotFound},
	}
	for _, tt := range tests {
		for _, db.Page = range []int{0, 1} {
			got, _, err := table.Record(t.Context(), tt.id)
			if tt.err != nil && (!errors.Is(err, tt.err) || fault.KindOf(err) != fault.InvalidInput) || tt.err == nil && (err != nil || got.Name != tt.want) {
				t.Errorf("%s: got %+v, %v", tt.id, got, err)
			}
		}
	}
	if _, _, err := table.Record(t.Context(), ""); fault.KindOf(err) != fault.InvalidInput {
		t.Errorf("no id: got %v", err)
	}
	table.Now = func() time.Time { return start.Add(90 * 24 * time.Hour) }
	if _, _, err := table.Record(t.Context(), "abc-1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one whose time is over: got %v", err)
	}
}

func TestEvidenceThatWasKeptFirstStays(t *testing.T) {
	table, db := newTable()
	x := began("run", 0)
	if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: recordOf("run", 0, one)}); err != nil {
		t.Fatal(err)
	}
	first := store.Evidence{InstanceID: one, At: 5, Console: "kernel panic", ConsoleAt: 4, SystemStatus: "ok", InstanceStatus: "impaired", EBSStatus: "ok"}
	for _, e := range []store.Evidence{first, {InstanceID: one, At: 9, Console: "login:"}} {
		if err := table.PutEvidence(t.Context(), x, e); err != nil {
			t.Fatal(err)
		}
	}
	_, got, err := table.Record(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&first, got); diff != "" {
		t.Error(diff)
	}
	bad := db.Get("evidence", "2026-11-22T10:00:00.000Z#run")
	bad["at"] = text("now")
	db.Put(bad)
	if r, got, err := table.Record(t.Context(), "run"); r == nil || got != nil || !errors.Is(err, store.ErrUnreadable) {
		t.Errorf("got %v, %v, %v, want the record and an error", r, got, err)
	}
}

func TestTheEndOfTheConsoleIsKept(t *testing.T) {
	table, _ := newTable()
	x := began("run", 0)
	if err := table.UpdateRecord(t.Context(), store.RecordUpdate{Record: recordOf("run", 0, one)}); err != nil {
		t.Fatal(err)
	}
	console := strings.Repeat("a line of the console\n", 5000) + "the last one"
	if err := table.PutEvidence(t.Context(), x, store.Evidence{InstanceID: one, At: 5, Console: console}); err != nil {
		t.Fatal(err)
	}
	_, got, err := table.Record(t.Context(), "run")
	if err != nil || len(got.Console) > 16<<10 || len(got.Console) < 15<<10 || !strings.HasPrefix(got.Console, "a line of") || !strings.HasSuffix(console, got.Console) {
		t.Errorf("%d bytes, %.40q, %v", len(got.Console), got.Console, err)
	}
}
