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

func write(t *testing.T, table *store.Table, records ...store.Record) {
	t.Helper()
	for _, r := range records {
		_, err := table.Update(t.Context(), "", func(e *store.Entry) error {
			e.Record = &r
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryFieldOfARecordIsKept(t *testing.T) {
	table, _ := newTable()
	var want store.Record
	var n int64
	fill(reflect.ValueOf(&want).Elem(), &n)
	want.ID, want.StartedAt = "run", incident.At(start)
	want.Looks = want.Looks[:1]
	write(t, table, want, want) // written again it changes nothing
	if diff := cmp.Diff(want, only(t, table)); diff != "" {
		t.Error(diff)
	}
}

func TestARecordThroughItsLife(t *testing.T) {
	table, db := newTable()
	alarm := &incident.Alarm{Name: "cpu", Reason: "over 90", At: incident.At(start), Value: new(93.5)}
	open := &incident.Incident{InstanceID: one, Execution: began("run", 0), Alarm: alarm, Trigger: incident.TriggerAlarm}
	r := store.RecordOf(open)
	r.LeaseUntil = incident.At(start.Add(15 * time.Minute))
	write(t, table, r)
	for n := range 2 {
		d := incident.Decision{
			Look: n + 1, At: incident.At(start.Add(time.Duration(n) * time.Minute)), Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextWait, WaitSeconds: 60,
			Reason: "URL failed", Confirming: "reboot", Unasked: []string{"EC2: no answer"},
			Findings: []incident.Finding{{Look: n + 1, Check: incident.CheckURL, Outcome: incident.Failed, Reason: "no answer", Attempts: 3, ElapsedMs: 9000}},
		}
		r.LeaseUntil = incident.At(start.Add(time.Duration(n+20) * time.Minute))
		r.Looks = []incident.Decision{store.LookOf(d)}
		must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
			e.State.Instance.LastLookAt = d.At
			e.Record = &r
			return nil
		}))
	}
	late := *open
	late.Told, late.Paged = true, &incident.Paged{Pager: "opsgenie", Alias: "a-1", At: 5}
	end := store.RecordOf(&late)
	end.EndedAt, end.End = incident.At(start.Add(3*time.Minute)), "told"
	write(t, table, end)
	want := store.Record{
		ID: "run", Execution: open.Execution.ID, StartedAt: incident.At(start), InstanceID: one, Trigger: incident.TriggerAlarm, Alarm: alarm,
		EndedAt: incident.At(start.Add(3 * time.Minute)), End: "told", LeaseUntil: incident.At(start.Add(21 * time.Minute)), Told: true, Paged: late.Paged,
	}
	for n := range 2 {
		want.Looks = append(want.Looks, incident.Decision{
			Look: n + 1, At: incident.At(start.Add(time.Duration(n) * time.Minute)), Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextWait, WaitSeconds: 60,
			Reason: "URL failed", Confirming: "reboot",
			Findings: []incident.Finding{{Look: n + 1, Check: incident.CheckURL, Outcome: incident.Failed, Reason: "no answer", Attempts: 3, ElapsedMs: 9000}},
		})
	}
	if diff := cmp.Diff(want, only(t, table)); diff != "" {
		t.Error(diff)
	}
	if n := number(int(start.Add(90 * 24 * time.Hour).Unix())); cmp.Diff(n, db.Get("incident", "2026-11-22T10:00:00.000Z#run")["expiresAt"], ignoreNoSmithy()) != "" {
		t.Error("it is not kept for 90 days")
	}
}

func TestARecordHasTheNameOfItsExecution(t *testing.T) {
	for _, x := range []incident.Execution{{ID: "arn:x:run"}, {ID: "arn:x", Name: "run"}} {
		if r := store.RecordOf(&incident.Incident{Execution: x}); r.ID != "run" || r.Execution != x.ID {
			t.Errorf("%+v", r)
		}
	}
}

// The longest texts are as long as those who make them let them be.
func TestTheLongestRecordFits(t *testing.T) {
	table, db := newTable()
	long := strings.Repeat("…", 5000)
	r := recordOf("run", 0, one)
	r.Name, r.Alarm = long[:768], &incident.Alarm{Reason: long[:3*incident.MaxAlarmReason]}
	r.Caught = map[string]incident.Caught{}
	for n := range 13 {
		r.Caught[fmt.Sprint("step ", n)] = incident.Caught{Error: "Unavailable", Cause: long[:3000]}
	}
	for range 3 {
		r.Suppressed = append(r.Suppressed, incident.Suppressed{Action: "page", Text: long[:1500]})
	}
	r.Evidence = &store.Evidence{Console: long}
	for n := range incident.MaxLooks {
		d := incident.Decision{Look: n + 1, At: incident.At(start), Verdict: "unknown", Kind: "contradicted", Reason: long, Situation: "down_after_reboot", Guard: "a guard of many words"}
		for _, check := range incident.Checks {
			d.Findings = append(d.Findings, incident.Finding{Look: n + 1, Check: check, Outcome: "unknown", Kind: "contradicted", Reason: long, Connection: incident.ClosedEarly, Elsewhere: true, Attempts: 10, ElapsedMs: 50000, At: incident.At(start)})
		}
		r.Looks = []incident.Decision{store.LookOf(d)}
		write(t, table, r)
	}
	if bytes, name := db.Largest(); bytes > 350<<10 {
		t.Errorf("%s has %d bytes", name, bytes)
	}
	if len(r.Evidence.Console) != len(long) {
		t.Error("what was given was cut, too")
	}
}

func TestListsOfRecords(t *testing.T) {
	table, db := newTable()
	for n := range 6 {
		write(t, table, recordOf(fmt.Sprint("run-", n), n, []string{one, two}[n%2]))
	}
	tests := map[string]struct {
		since time.Time
		most  int
		want  string
	}{
		"all":     {most: 10, want: "run-5 run-4 run-3 run-2 run-1 run-0"},
		"since":   {since: start.Add(3 * time.Minute), most: 10, want: "run-5 run-4 run-3"},
		"some":    {most: 2, want: "run-5 run-4"},
		"to come": {since: start.Add(100 * time.Minute), most: 10, want: ""},
	}
	for name, tt := range tests {
		for _, page := range []int{0, 1, 2} {
			t.Run(fmt.Sprint(name, " page ", page), func(t *testing.T) {
				db.Page = page
				var got []string
				for r, err := range table.Records(t.Context(), tt.since) {
					if err != nil {
						t.Fatal(err)
					}
					if got = append(got, r.ID); len(got) == tt.most {
						break
					}
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
	db.Put(dynamo.Item{"pk": text("incident"), "sk": text("2026-11-22T10:00:30.000Z#odd"), "schema": number(1), "version": number(1), "looks": number(1)})
	records, err := all(t, table, time.Time{})
	if len(records) != 6 || !errors.Is(err, store.ErrUnreadable) || fault.KindOf(err) != fault.Internal {
		t.Errorf("beside one that cannot be read: %d records, %v", len(records), err)
	}
	db.Before = failing("Query", 1, dynamo.Denied("Query"))
	if records, err = all(t, table, time.Time{}); len(records) > 0 || fault.KindOf(err) != fault.Denied {
		t.Errorf("denied: %d records, %v", len(records), err)
	}
}

func TestEvidenceThatWasKeptFirstStays(t *testing.T) {
	table, _ := newTable()
	r := recordOf("run", 0, one)
	first := &store.Evidence{At: 5, Console: "kernel panic", ConsoleAt: 4, SystemStatus: "ok", InstanceStatus: "impaired", EBSStatus: "ok"}
	for _, r.Evidence = range []*store.Evidence{nil, first, {At: 9, Console: "login:"}, nil} {
		write(t, table, r)
	}
	if diff := cmp.Diff(first, only(t, table).Evidence); diff != "" {
		t.Error(diff)
	}
}

func TestTheEndOfTheConsoleIsKept(t *testing.T) {
	table, _ := newTable()
	r := recordOf("run", 0, one)
	r.Evidence = &store.Evidence{At: 5, Console: strings.Repeat("a line of the console\n", 5000) + "the last one"}
	write(t, table, r)
	got := only(t, table).Evidence.Console
	if len(got) > 16<<10 || len(got) < 15<<10 || !strings.HasPrefix(got, "a line of") || !strings.HasSuffix(r.Evidence.Console, got) {
		t.Errorf("%d bytes, %.40q", len(got), got)
	}
}
