package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

func TestOpen(t *testing.T) {
	d := newDB(t)
	inc := newIncident(instanceID, "a")
	handled, paused, err := d.Open(t.Context(), inc, until.Add(time.Nanosecond), nil)
	if handled != nil || paused != nil || err != nil {
		t.Fatalf("handled by %v, paused %v, %v", handled, paused, err)
	}
	same(t, d.instance(instanceID), instance{
		holder: inc.Execution, heldUntil: until.Add(time.Second), // a lease is never shorter
		handledBy: inc.Execution, handledAt: at, version: 1,
	})
	if at400 := d.get(guardKey(instanceID))["expiresAt"]; at400.(*types.AttributeValueMemberN).Value != fmt.Sprint(at.Add(400*24*time.Hour).Unix()) {
		t.Errorf("expires at %v", at400)
	}
	records, err := d.Incidents(t.Context(), time.Time{}, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	got := records[0].Incident
	records[0].Incident = nil
	same(t, records, []Record{{ID: "a", InstanceID: instanceID, Region: region, StartedAt: at, End: incident.EndOpen}})
	if got.Alarm.Name != inc.Alarm.Name || got.Execution != inc.Execution {
		t.Errorf("the record holds %+v", got)
	}
}

func TestOpenAgain(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	before, record := d.get(guardKey(instanceID)), d.get(recordKey(inc.Execution, at))
	d.pass(time.Minute)
	for range 2 {
		if handled, paused, err := d.Open(t.Context(), inc, until, nil); handled != nil || paused != nil || err != nil {
			t.Fatalf("handled by %v, paused %v, %v", handled, paused, err)
		}
	}
	same(t, ignored(d.get(guardKey(instanceID))), ignored(before))
	same(t, ignored(d.get(recordKey(inc.Execution, at))), ignored(record))

	// What was closed stays closed, and takes no lease that nobody would end.
	if err := d.Close(t.Context(), inc, incident.EndPaged); err != nil {
		t.Fatal(err)
	}
	if handled, _, err := d.Open(t.Context(), inc, until, nil); handled != nil || err != nil {
		t.Fatalf("handled by %v, %v", handled, err)
	}
	if i := d.instance(instanceID); i.leased(d.Now()) {
		t.Errorf("has a lease: %+v", i)
	}
	if r := record1(t, d); r.End != incident.EndPaged {
		t.Errorf("the record says %s", r.End)
	}
	_, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
	if err != nil || refusal == nil || refusal.Guard != incident.GuardLease {
		t.Errorf("refusal %v, %v", refusal, err)
	}
}

// ignored makes attribute values comparable.
func ignored(i item) string { return fmt.Sprint(plain(&types.AttributeValueMemberM{Value: i})) }

func record1(t *testing.T, d *db) Record {
	t.Helper()
	records, err := d.Incidents(t.Context(), time.Time{}, "", 0)
	if err != nil || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	return records[0]
}

// When the lease's answer is lost, Open called again comes to the same end.
func TestOpenWithALostAnswer(t *testing.T) {
	d := newDB(t)
	lost := false
	d.on("UpdateItem", func(_ any, call func() error) error {
		if err := call(); err != nil || lost {
			return err
		}
		lost = true
		return errors.New("connection reset")
	})
	inc := newIncident(instanceID, "a")
	_, _, err := d.Open(t.Context(), inc, until, nil)
	want(t, err, fault.Unavailable, "connection reset")
	if handled, _, err := d.Open(t.Context(), inc, until, nil); handled != nil || err != nil {
		t.Fatalf("handled by %v, %v", handled, err)
	}
	if i := d.instance(instanceID); i.holder != inc.Execution || i.version != 1 {
		t.Errorf("%+v", i)
	}
	if r := record1(t, d); r.End != incident.EndOpen {
		t.Errorf("the record says %s", r.End)
	}
}

// The record is no guard: without it an incident that has its lease goes on, and
// Close writes it.
func TestOpenWithoutARecord(t *testing.T) {
	d := newDB(t)
	log := new(bytes.Buffer)
	d.Log = slog.New(slog.NewJSONHandler(log, nil))
	if err := d.PauseRegion(t.Context(), at.Add(time.Hour), "ops"); err != nil {
		t.Fatal(err)
	}
	d.on("PutItem", func(any, func() error) error {
		return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not you: Authorization=Bearer hunter2"}
	})
	inc := newIncident(instanceID, "a")
	handled, paused, err := d.Open(t.Context(), inc, until, nil)
	if handled != nil || paused == nil || err != nil || d.instance(instanceID).holder != inc.Execution {
		t.Errorf("handled by %v, paused %v, %v, %+v", handled, paused, err, d.instance(instanceID))
	}
	if records, err := d.Incidents(t.Context(), time.Time{}, "", 0); err != nil || len(records) != 0 {
		t.Errorf("%d records, %v", len(records), err)
	}
	for _, said := range []string{"the record of an incident could not be begun", `"instance":"` + instanceID + `"`, `"execution":"a"`, "AccessDeniedException"} {
		if !strings.Contains(log.String(), said) {
			t.Errorf("log %s, want %q", log, said)
		}
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("a secret in the log: %s", log)
	}
	d.pass(time.Minute)
	if err := d.Close(t.Context(), inc, incident.EndPaged); err != nil {
		t.Fatal(err)
	}
	r := record1(t, d)
	if r.Incident.Alarm.Name != inc.Alarm.Name {
		t.Errorf("the record holds %+v", r.Incident)
	}
	r.Incident = nil
	same(t, r, Record{ID: "a", InstanceID: instanceID, Region: region, StartedAt: at, EndedAt: at.Add(time.Minute), End: incident.EndPaged})
}

func TestOpenHandled(t *testing.T) {
	first := newIncident(instanceID, "first").Execution
	for _, tt := range []struct {
		name string
		// eventAt is of the second event, and now when it comes.
		closed  bool
		eventAt time.Time
		now     time.Duration
		// dead is what is known of the first execution, once it is asked for.
		dead, asked bool
		handled     bool
	}{
		{"the same event while it is open", false, at, time.Minute, false, true, true},
		{"the alarm flaps while it is open", false, at.Add(5 * time.Minute), 5 * time.Minute, false, true, true},
		{"an older event while it is open", false, at.Add(-time.Minute), time.Minute, false, true, true},
		{"one second before its lease ends", false, at.Add(time.Minute), 3*time.Hour - time.Second, false, true, true},
		{"a new event after its lease", false, at.Add(3 * time.Hour), 3 * time.Hour, true, false, false},
		{"the same event after its lease", false, at, 3 * time.Hour, false, true, true},
		{"a new event, and its execution is dead", false, at.Add(time.Minute), time.Minute, true, true, false},
		// Handled halfway is not handled.
		{"the same event, and its execution is dead", false, at, time.Minute, true, true, false},
		{"an older event, and its execution is dead", false, at.Add(-time.Minute), time.Minute, true, true, false},
		{"the same event after its lease, and its execution is dead", false, at, 3 * time.Hour, true, true, false},
		// What was closed came to its end.
		{"the same event later", true, at, time.Hour, true, false, true},
		{"an older event later", true, at.Add(-time.Millisecond), time.Hour, true, false, true},
		{"less than the table can tell", true, at.Add(time.Microsecond), time.Hour, true, false, true},
		{"a new event", true, at.Add(time.Millisecond), time.Hour, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			one := newIncident(instanceID, "first")
			if _, _, err := d.Open(t.Context(), one, until, nil); err != nil {
				t.Fatal(err)
			}
			if tt.closed {
				if err := d.Close(t.Context(), one, incident.EndAllGood); err != nil {
					t.Fatal(err)
				}
			}
			d.pass(tt.now)
			two := newIncident(instanceID, "second")
			two.EventAt = tt.eventAt
			var asked []incident.Execution
			handled, _, err := d.Open(t.Context(), two, until.Add(3*time.Hour), func(_ context.Context, e incident.Execution) bool {
				asked = append(asked, e)
				return tt.dead
			})
			if err != nil {
				t.Fatal(err)
			}
			if tt.asked != (len(asked) == 1) || len(asked) > 1 || tt.asked && asked[0] != first {
				t.Errorf("asked about %v", asked)
			}
			records, err := d.Incidents(t.Context(), time.Time{}, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.handled {
				if handled != nil || d.instance(instanceID).holder != two.Execution || len(records) != 2 {
					t.Errorf("handled by %v, %d records, %+v", handled, len(records), d.instance(instanceID))
				}
				return
			}
			if handled == nil || *handled != first || len(records) != 1 {
				t.Errorf("handled by %v, want %v; %d records", handled, first, len(records))
			}
		})
	}
}

// An event with a time of next year is no reason to miss those of today.
func TestOpenEventFromTheFuture(t *testing.T) {
	d := newDB(t)
	odd := newIncident(instanceID, "odd")
	odd.EventAt = at.AddDate(1, 0, 0)
	if _, _, err := d.Open(t.Context(), odd, until, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(t.Context(), odd, incident.EndAllGood); err != nil {
		t.Fatal(err)
	}
	d.pass(time.Minute)
	next := newIncident(instanceID, "next")
	next.EventAt = at.Add(30 * time.Second)
	if handled, _, err := d.Open(t.Context(), next, until, nil); handled != nil || err != nil {
		t.Errorf("handled by %v, %v", handled, err)
	}
}

func TestOpenDry(t *testing.T) {
	d := newDB(t)
	if err := d.PauseRegion(t.Context(), at.Add(time.Hour), "ops"); err != nil {
		t.Fatal(err)
	}
	d.opened(instanceID, "a")
	dry := newIncident(instanceID, "dry")
	dry.Dry = true
	before := ignored(d.get(guardKey(instanceID)))
	if handled, paused, err := d.Open(t.Context(), dry, until, nil); handled != nil || paused != nil || err != nil {
		t.Errorf("handled by %v, paused %v, %v", handled, paused, err)
	}
	same(t, ignored(d.get(guardKey(instanceID))), before)
	// It rehearses that the table answers.
	d.on("BatchGetItem", func(any, func() error) error { return refusal("AccessDeniedException") })
	_, _, err := d.Open(t.Context(), dry, until, nil)
	want(t, err, fault.Denied, "AccessDenied")
}

func TestOpenPaused(t *testing.T) {
	d := newDB(t)
	if err := d.PauseRegion(t.Context(), at.Add(time.Hour), "ops"); err != nil {
		t.Fatal(err)
	}
	_, paused, err := d.Open(t.Context(), newIncident(instanceID, "a"), until, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, paused, &incident.Pause{Until: at.Add(time.Hour), Scope: incident.PauseRegion, By: "ops"})
}

// Of many executions for one instance, one gets its lease, and all others know
// which.
func TestOpenCompetition(t *testing.T) {
	d := newDB(t)
	const many = 20
	var wg sync.WaitGroup
	handled, errs := make([]*incident.Execution, many), make([]error, many)
	for n := range many {
		wg.Go(func() {
			inc := newIncident(instanceID, fmt.Sprintf("e%d", n))
			// Half of them are of the same event.
			inc.EventAt = at.Add(time.Duration(n/2) * time.Second)
			handled[n], _, errs[n] = d.Open(t.Context(), inc, until, nil)
		})
	}
	wg.Wait()
	holder := d.instance(instanceID).holder
	won := 0
	for n, h := range handled {
		switch {
		case errs[n] != nil:
			t.Error(errs[n])
		case h == nil:
			won++
			if holder.Name != fmt.Sprintf("e%d", n) {
				t.Errorf("e%d has opened it, and %s has the lease", n, holder.Name)
			}
		case *h != holder:
			t.Errorf("e%d is told that %s has the lease, which %s has", n, h.Name, holder.Name)
		}
	}
	if won != 1 {
		t.Errorf("%d executions have opened it", won)
	}
}

// Of many executions that find the same one dead, one takes its lease, and the
// others hear of that one.
func TestOpenAfterADeadOne(t *testing.T) {
	d := newDB(t)
	dead := d.opened(instanceID, "dead")
	d.reserved(dead)
	d.pass(time.Minute)
	const many = 10
	var all, asking sync.WaitGroup
	asking.Add(many)
	handled, errs := make([]*incident.Execution, many), make([]error, many)
	for n := range many {
		all.Go(func() {
			inc := newIncident(instanceID, fmt.Sprintf("e%d", n))
			inc.EventAt = at.Add(time.Minute)
			handled[n], _, errs[n] = d.Open(t.Context(), inc, until.Add(time.Minute), func(_ context.Context, e incident.Execution) bool {
				// All know it before the first one writes.
				asking.Done()
				asking.Wait()
				return e == dead.Execution
			})
		})
	}
	all.Wait()
	holder := d.instance(instanceID).holder
	var winner *incident.Incident
	for n, h := range handled {
		switch {
		case errs[n] != nil:
			t.Error(errs[n])
		case h == nil && winner != nil:
			t.Errorf("%s and e%d have opened it", winner.Execution.Name, n)
		case h == nil:
			winner = newIncident(instanceID, fmt.Sprintf("e%d", n))
		case *h != holder:
			t.Errorf("e%d is told that %s has the lease, which %s has", n, h.Name, holder.Name)
		}
	}
	if winner == nil || winner.Execution != holder {
		t.Fatalf("%s has the lease, and %+v opened it", holder.Name, winner)
	}

	// The dead one's reboot counts, and what is left of it changes nothing.
	_, refusal, err := d.Reserve(t.Context(), winner, urlFailed, limits)
	if err != nil || refusal == nil || refusal.Guard != incident.GuardCoolDown {
		t.Errorf("refusal %v, %v", refusal, err)
	}
	if err := d.Close(t.Context(), dead, incident.EndPaged); err != nil {
		t.Fatal(err)
	}
	if i := d.instance(instanceID); i.holder != winner.Execution {
		t.Errorf("after the dead one's close: %+v", i)
	}
	if by, _, err := d.Open(t.Context(), dead, until, nil); err != nil || by == nil || *by != winner.Execution {
		t.Errorf("the dead one, opened again, is handled by %v, %v", by, err)
	}
}

// A dead one that closes after all, while somebody asks about it, has come to its
// end.
func TestOpenWhileTheDeadOneCloses(t *testing.T) {
	d := newDB(t)
	slow := d.opened(instanceID, "slow")
	again := newIncident(instanceID, "again")
	handled, _, err := d.Open(t.Context(), again, until, func(context.Context, incident.Execution) bool {
		if err := d.Close(t.Context(), slow, incident.EndPaged); err != nil {
			t.Error(err)
		}
		return true
	})
	if err != nil || handled == nil || *handled != slow.Execution {
		t.Errorf("handled by %v, %v", handled, err)
	}
}

func TestClose(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	inc.Findings = []checks.Finding{finding(checks.NameURL, false, at), finding(checks.NameSSH, true, at)}
	d.reserved(inc)
	if n := len(d.brake().inFlight(d.Now())); n != 1 {
		t.Fatalf("%d in flight", n)
	}
	d.pass(5 * time.Minute)
	inc.Run = 2
	if err := d.Close(t.Context(), inc, incident.EndRecovered); err != nil {
		t.Fatal(err)
	}
	i := d.instance(instanceID)
	if i.holder.ID != "" || !i.heldUntil.IsZero() || i.handledBy != inc.Execution || len(i.reboots) != 1 {
		t.Errorf("%+v", i)
	}
	if hash, _ := settingsHash(inc.Settings, checks.NameSSH); i.baseline[checks.NameSSH] != (pass{hash, at}) {
		t.Errorf("baseline %+v", i.baseline)
	}
	b := d.brake()
	if len(b.inFlight(d.Now())) != 0 || len(b.lastHour(d.Now())) != 1 {
		t.Errorf("%+v", b)
	}
	r := record1(t, d)
	if r.End != incident.EndRecovered || !r.EndedAt.Equal(at.Add(5*time.Minute)) || r.Incident.Run != 2 {
		t.Errorf("%+v", r)
	}

	// Its answer was lost.
	before := []string{ignored(d.get(guardKey(instanceID))), ignored(d.get(brakeKey)), ignored(d.get(recordKey(inc.Execution, at)))}
	d.pass(time.Minute)
	if err := d.Close(t.Context(), inc, incident.EndRecovered); err != nil {
		t.Fatal(err)
	}
	same(t, []string{ignored(d.get(guardKey(instanceID))), ignored(d.get(brakeKey)), ignored(d.get(recordKey(inc.Execution, at)))}, before)

	// And its reboot is remembered as its own.
	own, _, err := d.Reserve(t.Context(), inc, urlFailed, limits)
	if err != nil || own == nil || !own.Equal(at) {
		t.Errorf("own %v, %v", own, err)
	}
}

// An execution whose lease ran out and was taken touches nothing of the other's.
func TestCloseByAnother(t *testing.T) {
	d := newDB(t)
	slow := d.opened(instanceID, "slow")
	slow.Findings = []checks.Finding{finding(checks.NameURL, true, at)}
	d.reserved(slow)
	d.pass(4 * time.Hour)
	fast := d.opened(instanceID, "fast")
	fast.Settings.URL.Path = "/new"
	fast.Findings = []checks.Finding{finding(checks.NameURL, true, d.Now())}
	if err := d.Learn(t.Context(), fast); err != nil {
		t.Fatal(err)
	}
	d.reserved(fast)
	before, brakeBefore := ignored(d.get(guardKey(instanceID))), ignored(d.get(brakeKey))
	for range 2 {
		if err := d.Close(t.Context(), slow, incident.EndPaged); err != nil {
			t.Fatal(err)
		}
	}
	same(t, ignored(d.get(guardKey(instanceID))), before)
	same(t, ignored(d.get(brakeKey)), brakeBefore)
	records, err := d.Incidents(t.Context(), time.Time{}, "", 0)
	if err != nil || len(records) != 2 || records[0].End != incident.EndOpen || records[1].End != incident.EndPaged {
		t.Errorf("%+v, %v", records, err)
	}
}

func TestCloseWhatItCan(t *testing.T) {
	t.Run("the instance's item is garbage", func(t *testing.T) {
		d := newDB(t)
		inc := d.opened(instanceID, "a")
		d.reserved(inc)
		d.put(guardKey(instanceID), item{"version": text("one")})
		err := d.Close(t.Context(), inc, incident.EndPaged)
		want(t, err, fault.Internal, "the item instance#"+instanceID+"/guard cannot be read, put it right or delete it: version: got a text, want a number")
		if b := d.brake(); len(b.inFlight(d.Now())) != 0 {
			t.Errorf("still in flight: %+v", b)
		}
		if r := record1(t, d); r.End != incident.EndPaged {
			t.Errorf("the record says %s", r.End)
		}
	})
	t.Run("one of several may pass", func(t *testing.T) {
		d := newDB(t)
		inc := d.opened(instanceID, "a")
		d.put(guardKey(instanceID), item{"version": text("one")})
		d.on("UpdateItem", func(any, func() error) error { return refusal("ThrottlingException") })
		err := d.Close(t.Context(), inc, incident.EndPaged)
		want(t, err, fault.Unavailable, "version: got a text")
		want(t, err, fault.Unavailable, "ThrottlingException")
	})
	t.Run("no instance", func(t *testing.T) {
		d := newDB(t)
		inc := &incident.Incident{Execution: newIncident(instanceID, "a").Execution, Event: []byte(`"hello"`), Error: &incident.Error{Error: "InvalidInput"}}
		inc.Execution.Name = ""
		for range 2 {
			if err := d.Close(t.Context(), inc, incident.EndNoIncident); err != nil {
				t.Fatal(err)
			}
		}
		records, err := d.Incidents(t.Context(), time.Time{}, "", 0)
		if err != nil || len(records) != 1 || records[0].ID != "a" || records[0].End != incident.EndNoIncident || string(records[0].Incident.Event) != `"hello"` {
			t.Errorf("%+v, %v", records, err)
		}
	})
	t.Run("an execution that began nobody knows when", func(t *testing.T) {
		d := newDB(t)
		inc := &incident.Incident{Execution: incident.Execution{ID: "a"}}
		if err := d.Close(t.Context(), inc, incident.EndNoIncident); err != nil {
			t.Fatal(err)
		}
		if r := record1(t, d); !r.StartedAt.Equal(at) || r.ID != "a" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("dry", func(t *testing.T) {
		d := newDB(t)
		other := d.opened(instanceID, "other")
		dry := newIncident(instanceID, "dry")
		dry.Dry = true
		dry.Findings = []checks.Finding{finding(checks.NameSSH, true, at)}
		if err := d.Close(t.Context(), dry, incident.EndAllGood); err != nil {
			t.Fatal(err)
		}
		i := d.instance(instanceID)
		if i.holder != other.Execution || i.baseline[checks.NameSSH].hash == "" {
			t.Errorf("%+v", i)
		}
		records, err := d.Incidents(t.Context(), time.Time{}, "", 0)
		if err != nil || len(records) != 2 {
			t.Fatalf("%+v, %v", records, err)
		}
		for _, r := range records {
			if r.Dry != (r.ID == "dry") {
				t.Errorf("%+v", r)
			}
		}
	})
}

// A lease that was never closed is nobody's when its time is over, and what it
// has left open says so.
func TestUnconcluded(t *testing.T) {
	d := newDB(t)
	d.opened(instanceID, "dead")
	d.pass(3*time.Hour - time.Second)
	states, _, err := d.Standing(t.Context(), []string{instanceID})
	if err != nil || !states[instanceID].Open || record1(t, d).End != incident.EndOpen {
		t.Errorf("%+v, %v, %s", states, err, record1(t, d).End)
	}
	d.pass(time.Second)
	states, _, err = d.Standing(t.Context(), []string{instanceID})
	if err != nil || states[instanceID].Open || record1(t, d).End != incident.EndUnconcluded {
		t.Errorf("%+v, %v, %s", states, err, record1(t, d).End)
	}
}

func TestStanding(t *testing.T) {
	d := newDB(t)
	d.opened("i-00000001", "a")
	closed := d.opened("i-00000002", "b")
	if err := d.Paged(t.Context(), closed, "alias-2", "jsm"); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(t.Context(), closed, incident.EndPaged); err != nil {
		t.Fatal(err)
	}
	d.put(guardKey("i-00000003"), item{"holder": boolean(true), "pagedAt": millis(at), "pageAlias": text("alias-3")})
	if err := d.PauseRegion(t.Context(), at.Add(time.Hour), "ops"); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for n := range 150 {
		ids = append(ids, fmt.Sprintf("i-%08x", n))
	}
	ids = append(ids, ids[1])
	// DynamoDB answers for a part of what it is asked.
	reads := 0
	d.on("BatchGetItem", func(_ any, call func() error) error {
		reads++
		return call()
	})
	table := &Table{Name: d.Name, Now: d.Now, Client: func(context.Context) (API, error) { return halves{meddler{d}, d.Name}, nil }}
	states, pause, err := table.Standing(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	if len(states) != 150 || pause == nil || reads < 4 {
		t.Errorf("%d states, pause %v, %d reads", len(states), pause, reads)
	}
	if s := states["i-00000003"]; s.Err == nil || s.Alias != "alias-3" || !s.PagedAt.Equal(at) || s.Open {
		t.Errorf("garbage: %+v", s)
	} else {
		want(t, s.Err, fault.Internal, "holder: got true or false, want a text")
	}
	delete(states, "i-00000003")
	for id, s := range states {
		wanted := map[string]State{"i-00000001": {Open: true, Holder: newIncident("i-00000001", "a").Execution}, "i-00000002": {PagedAt: at, Alias: "alias-2", Pager: "jsm"}}[id]
		if s != wanted {
			t.Errorf("%s: got %+v, want %+v", id, s, wanted)
		}
	}
	_, _, err = d.Standing(t.Context(), []string{"web-1"})
	want(t, err, fault.InvalidInput, `"web-1" is not an instance id`)
	if states, _, err := d.Standing(t.Context(), nil); err != nil || len(states) != 0 {
		t.Errorf("%+v, %v", states, err)
	}
}

// halves leaves half of the keys unprocessed, as DynamoDB may.
type halves struct {
	API
	table string
}

func (h halves) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, o ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	keys := in.RequestItems[h.table]
	half := (len(keys.Keys) + 1) / 2
	left := keys
	left.Keys, keys.Keys = keys.Keys[half:], keys.Keys[:half]
	out, err := h.API.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{h.table: keys}}, o...)
	if err == nil && len(left.Keys) > 0 {
		out.UnprocessedKeys = map[string]types.KeysAndAttributes{h.table: left}
	}
	return out, err
}

// A table without capacity is no table without items.
func TestReadsThatAreThrottled(t *testing.T) {
	d := newDB(t)
	all := &dynamodb.BatchGetItemOutput{
		Responses:       map[string][]map[string]types.AttributeValue{d.Name: {}},
		UnprocessedKeys: map[string]types.KeysAndAttributes{d.Name: {Keys: []map[string]types.AttributeValue{pauseKey.attributes()}}},
	}
	table := &Table{Name: d.Name, Client: func(context.Context) (API, error) { return answers{meddler{d}, all}, nil }}
	_, err := table.RegionPause(t.Context())
	want(t, err, fault.Unavailable, "the table is throttled: 1 items were left out")
}

func TestPaged(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	version := d.instance(instanceID).version
	for n, alias := range []string{"first", "second"} {
		d.pass(time.Duration(n) * time.Minute)
		if err := d.Paged(t.Context(), inc, alias, "pager of the "+alias); err != nil {
			t.Fatal(err)
		}
	}
	i := d.instance(instanceID)
	if i.pageAlias != "second" || i.pagePager != "pager of the second" || !i.pagedAt.Equal(at.Add(time.Minute)) || i.version != version || i.holder != inc.Execution {
		t.Errorf("%+v", i)
	}
	// An instance of which nothing else is known.
	if err := d.Paged(t.Context(), newIncident("i-0a1b2c3d", "b"), "third", "sns"); err != nil {
		t.Fatal(err)
	}
	if i := d.instance("i-0a1b2c3d"); i.pageAlias != "third" || i.pagePager != "sns" {
		t.Errorf("%+v", i)
	}
	// And one that is none.
	if err := d.Paged(t.Context(), &incident.Incident{}, "fourth", "sns"); err != nil {
		t.Fatal(err)
	}
	// It is no change to those who decide, and can be opened.
	if handled, _, err := d.Open(t.Context(), newIncident("i-0a1b2c3d", "c"), until, nil); handled != nil || err != nil {
		t.Errorf("handled by %v, %v", handled, err)
	}
}
