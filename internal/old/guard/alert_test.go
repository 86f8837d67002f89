package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

// claim claims an alert for an execution, of the outcome down.
func (d *db) claim(execution string) (Alert, Claim) {
	d.t.Helper()
	return d.claimFor(execution, incident.AlertDown)
}

func (d *db) claimFor(execution, outcome string) (Alert, Claim) {
	d.t.Helper()
	a, claim, err := d.ClaimAlert(d.t.Context(), newIncident(instanceID, execution), outcome)
	if err != nil {
		d.t.Fatal(err)
	}
	return a, claim
}

// sent claims an alert and has it sent under an alias of its generation.
func (d *db) sent(execution string) Alert {
	d.t.Helper()
	a, claim := d.claim(execution)
	if claim == ClaimRepeat {
		d.t.Fatalf("%s got %s, %+v", execution, claim, a)
	}
	a.Alias, a.Pager = fmt.Sprintf("alias/%d", a.Generation), "opsgenie"
	if err := d.AlertSent(d.t.Context(), newIncident(instanceID, execution), a, a.Pager); err != nil {
		d.t.Fatal(err)
	}
	return d.alertOf()
}

func (d *db) alertOf() Alert {
	d.t.Helper()
	a, err := d.AlertOf(d.t.Context(), instanceID)
	if err != nil || a == nil {
		d.t.Fatalf("%+v, %v", a, err)
	}
	return *a
}

func arnOf(execution string) string { return newIncident(instanceID, execution).Execution.ID }

func TestClaimAlert(t *testing.T) {
	d := newDB(t)
	if a, err := d.AlertOf(t.Context(), instanceID); a != nil || err != nil {
		t.Fatalf("before the first: %+v, %v", a, err)
	}
	a, claim := d.claim("a")
	want := Alert{Open: true, Generation: 1, By: arnOf("a"), OpenedAt: at, Outcome: incident.AlertDown, Version: 1}
	if claim != ClaimNew {
		t.Errorf("claim %s", claim)
	}
	same(t, a, want)
	same(t, d.alertOf(), want)
	// Its answer was lost, or the page failed: the same alert again.
	d.pass(time.Minute)
	a, claim = d.claim("a")
	if claim != ClaimNew || !a.Again || a.Generation != 1 || a.Version != 1 {
		t.Errorf("again: %s, %+v", claim, a)
	}
	// Nobody knows that it was sent: it swallows nothing.
	a, claim = d.claim("b")
	if claim != ClaimNew || a.Again || a.Generation != 2 || a.By != arnOf("b") || !a.OpenedAt.Equal(at.Add(time.Minute)) {
		t.Errorf("another: %s, %+v", claim, a)
	}
	if err := d.AlertSent(t.Context(), newIncident(instanceID, "b"), Alert{Generation: 2, Alias: "alias/2"}, "jsm"); err != nil {
		t.Fatal(err)
	}
	// Once it is sent, its own execution makes it again, and others add to it.
	a, claim = d.claim("b")
	if claim != ClaimNew || !a.Again || a.Alias != "alias/2" || a.Pager != "jsm" {
		t.Errorf("sent, and again: %s, %+v", claim, a)
	}
	version := d.alertOf().Version
	for n, execution := range []string{"c", "c", "d", "d", "c"} {
		a, claim = d.claim(execution)
		repeats := []int64{1, 1, 2, 2, 3}[n]
		if claim != ClaimRepeat || a.Repeats != repeats || a.Version != version+repeats || a.Generation != 2 || a.Alias != "alias/2" || a.Again != (n == 1 || n == 3) {
			t.Errorf("%d, %s: %s, %+v", n, execution, claim, a)
		}
	}
	d.pass(-time.Minute)
	got := d.alertOf()
	a.Again = false
	same(t, got, a)
}

// What is left open too long, or is about less, gives way.
func TestClaimAlertInPlaceOfAnother(t *testing.T) {
	unknown := func(d *db) {
		a, _ := d.claimFor("a", incident.AlertUnknown)
		a.Alias = "alias/1"
		if err := d.AlertSent(d.t.Context(), newIncident(instanceID, "a"), a, "opsgenie"); err != nil {
			d.t.Fatal(err)
		}
	}
	down := func(d *db) { d.sent("a") }
	for _, tt := range []struct {
		name    string
		first   func(*db)
		outcome string
		after   time.Duration
		want    Claim
	}{
		{"the same", down, incident.AlertDown, time.Hour, ClaimRepeat},
		{"less", down, incident.AlertUnknown, time.Hour, ClaimRepeat},
		{"as little", unknown, incident.AlertUnknown, time.Hour, ClaimRepeat},
		{"more", unknown, incident.AlertDown, time.Second, ClaimReplace},
		{"nearly a day", down, incident.AlertDown, 24*time.Hour - time.Millisecond, ClaimRepeat},
		{"a day", down, incident.AlertUnknown, 24 * time.Hour, ClaimReplace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			tt.first(d)
			d.pass(tt.after)
			a, claim := d.claimFor("b", tt.outcome)
			if claim != tt.want {
				t.Fatalf("%s, %+v", claim, a)
			}
			if claim == ClaimRepeat {
				return
			}
			replaced := &Replaced{"alias/1", "opsgenie"}
			same(t, a.Replaces, replaced)
			if a.Generation != 2 || !a.SentAt.IsZero() || a.Alias != "" || a.Repeats != 0 {
				t.Errorf("%+v", a)
			}
			// The same again, so that the old one is closed whatever got lost.
			if a, claim = d.claimFor("b", tt.outcome); claim != ClaimReplace || !a.Again || a.Generation != 2 {
				t.Errorf("again: %s, %+v", claim, a)
			}
			same(t, a.Replaces, replaced)
			// Nor is it forgotten when somebody else has to make it.
			if a, claim = d.claimFor("c", tt.outcome); claim != ClaimReplace || a.Generation != 3 {
				t.Errorf("another: %s, %+v", claim, a)
			}
			same(t, a.Replaces, replaced)
		})
	}
}

func TestReclaimAlert(t *testing.T) {
	d := newDB(t)
	d.sent("a")
	a, _ := d.claim("b")
	again := func(execution, how string, gone Alert) (Alert, Claim) {
		t.Helper()
		got, claim, err := d.ReclaimAlert(t.Context(), newIncident(instanceID, execution), incident.AlertDown, gone, how)
		if err != nil {
			t.Fatal(err)
		}
		return got, claim
	}
	got, claim := again("b", ClosedByPerson, a)
	if claim != ClaimNew || got.Generation != 2 || got.By != arnOf("b") || got.Replaces != nil || got.Again || got.Alias != "" {
		t.Errorf("%s, %+v", claim, got)
	}
	// Its answer was lost: it is there.
	if got, claim = again("b", ClosedByPerson, a); claim != ClaimNew || got.Generation != 2 || !got.Again {
		t.Errorf("again: %s, %+v", claim, got)
	}
	if got, claim = d.claim("b"); claim != ClaimNew || got.Generation != 2 || !got.Again {
		t.Errorf("claimed again: %s, %+v", claim, got)
	}
	// One that was as slow has the same to do about the new one as anybody.
	if err := d.AlertSent(t.Context(), newIncident(instanceID, "b"), Alert{Generation: 2, Alias: "alias/2"}, "jsm"); err != nil {
		t.Fatal(err)
	}
	if got, claim = again("c", ClosedByPerson, a); claim != ClaimRepeat || got.Generation != 2 || got.Alias != "alias/2" || got.Repeats != 1 {
		t.Errorf("another: %s, %+v", claim, got)
	}
	got, claim = again("c", ClosedReplaced, got)
	if claim != ClaimReplace || got.Generation != 3 {
		t.Errorf("replaced: %s, %+v", claim, got)
	}
	same(t, got.Replaces, &Replaced{"alias/2", "jsm"})
	// Its own, too: the pager has something else under that alias.
	got.Alias, got.Pager = "alias/3", "jsm"
	if got, claim = again("c", ClosedReplaced, got); claim != ClaimReplace || got.Generation != 4 || got.Again {
		t.Errorf("its own: %s, %+v", claim, got)
	}
	same(t, got.Replaces, &Replaced{"alias/3", "jsm"})
}

func TestAlertThatIsClosedIsFollowedByANewOne(t *testing.T) {
	d := newDB(t)
	a := d.sent("a")
	if err := d.AlertThread(t.Context(), about(a), incident.Thread{Channel: "C1", TS: "1.2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WatchAlert(t.Context(), instanceID, "arn:w", at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if cleared, err := d.ClearAlert(t.Context(), instanceID, "arn:w", d.alertOf(), ClosedByAllClear); !cleared || err != nil {
		t.Fatalf("%t, %v", cleared, err)
	}
	got, claim := d.claim("b")
	want := Alert{Open: true, Generation: 2, By: arnOf("b"), OpenedAt: at, Outcome: incident.AlertDown, Version: got.Version}
	if claim != ClaimNew || got.Version <= a.Version {
		t.Errorf("%s, %+v", claim, got)
	}
	same(t, got, want)
	// Nothing of the old one is left.
	same(t, d.alertOf(), want)
	for _, name := range []string{"sentAt", "alias", "pager", "repeatedBy", "channel", "thread", "watcher", "watchUntil", "closedAt", "closedHow", "closedBy", "replacesAlias", "replacesPager"} {
		if d.get(alertKey(instanceID))[name] != nil {
			t.Errorf("%s is left", name)
		}
	}
	// The very execution whose alert was closed has another one to make.
	b := d.sent("b")
	if cleared, err := d.ClearAlert(t.Context(), instanceID, "arn:w", b, ClosedByPerson); !cleared || err != nil {
		t.Fatalf("%t, %v", cleared, err)
	}
	if got, claim := d.claim("b"); claim != ClaimNew || got.Generation != 3 || got.Again {
		t.Errorf("%s, %+v", claim, got)
	}
}

// about is an incident of an alert.
func about(a Alert) *incident.Incident {
	inc := newIncident(instanceID, "a")
	inc.Alert = &incident.Alert{Alias: a.Alias, Generation: a.Generation}
	return inc
}

func TestAlertSent(t *testing.T) {
	d := newDB(t)
	a, _ := d.claim("a")
	a.Alias = "alias/1"
	inc := newIncident(instanceID, "a")
	for n, pager := range []string{"opsgenie", "opsgenie", "jsm"} {
		d.pass(time.Minute)
		if err := d.AlertSent(t.Context(), inc, a, pager); err != nil {
			t.Fatal(err)
		}
		got := d.alertOf()
		if got.Alias != "alias/1" || got.Pager != pager || got.Version != []int64{2, 2, 3}[n] || !got.SentAt.Equal(at.Add([]time.Duration{1, 1, 3}[n]*time.Minute)) {
			t.Errorf("%d: %+v", n, got)
		}
	}
	// Of others it knows nothing.
	other := a
	other.Generation = 2
	want(t, d.AlertSent(t.Context(), inc, other, "jsm"), fault.InvalidInput, "generation 1, and this one is 2")
	want(t, d.AlertSent(t.Context(), newIncident(instanceID, "b"), a, "jsm"), fault.InvalidInput, "is not this instance's any more")
	want(t, d.AlertSent(t.Context(), newIncident("i-0a1b2c3d", "a"), a, "jsm"), fault.InvalidInput, "generation 0")
	if cleared, err := d.ClearAlert(t.Context(), instanceID, "arn:w", d.alertOf(), ClosedByPerson); !cleared || err != nil {
		t.Fatalf("%t, %v", cleared, err)
	}
	want(t, d.AlertSent(t.Context(), inc, a, "jsm"), fault.InvalidInput, "is not this instance's any more")
}

func TestAlertThread(t *testing.T) {
	d := newDB(t)
	a := d.sent("a")
	one, two := incident.Thread{Channel: "C1", TS: "1.2"}, incident.Thread{Channel: "C2", TS: "3.4"}
	for _, thread := range []incident.Thread{one, two} {
		if err := d.AlertThread(t.Context(), about(a), thread); err != nil {
			t.Fatal(err)
		}
		if got := d.alertOf(); got.Thread == nil || *got.Thread != thread || got.Version != a.Version {
			t.Errorf("%+v", got)
		}
	}
	// Of an alert that is gone there is nothing to remember, and nothing to fail.
	if cleared, err := d.ClearAlert(t.Context(), instanceID, "arn:w", d.alertOf(), ClosedByPerson); !cleared || err != nil {
		t.Fatalf("%t, %v", cleared, err)
	}
	next, _ := d.claim("b")
	for _, gone := range []Alert{a, {Generation: next.Generation + 1}} {
		if err := d.AlertThread(t.Context(), about(gone), one); err != nil {
			t.Errorf("%v", err)
		}
	}
	if got := d.alertOf(); got.Thread != nil {
		t.Errorf("%+v", got)
	}
	want(t, d.AlertThread(t.Context(), newIncident(instanceID, "a"), one), fault.InvalidInput, "incident.alert: missing")
	want(t, d.AlertThread(t.Context(), &incident.Incident{InstanceID: "web-1"}, one), fault.InvalidInput, `"web-1" is not an instance id`)
}

func TestWatchAlert(t *testing.T) {
	d := newDB(t)
	watch := func(execution string, until time.Time) *Alert {
		t.Helper()
		a, err := d.WatchAlert(t.Context(), instanceID, execution, until)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := watch("arn:w", at.Add(time.Hour)); a != nil {
		t.Errorf("nothing is open: %+v", a)
	}
	d.claim("a")
	if a := watch("arn:w", at.Add(time.Hour)); a != nil {
		t.Errorf("nothing is sent: %+v", a)
	}
	sent := d.sent("a")
	a := watch("arn:w", at.Add(time.Hour))
	if a == nil || a.Watcher != "arn:w" || !a.WatchUntil.Equal(at.Add(time.Hour)) || a.Version != sent.Version {
		t.Fatalf("%+v", a)
	}
	same(t, d.alertOf(), *a)
	// Another one takes over, and does not end it earlier.
	for _, tt := range []struct {
		execution   string
		until, ends time.Duration
	}{{"arn:x", 30 * time.Minute, time.Hour}, {"arn:y", 2 * time.Hour, 2 * time.Hour}, {"arn:w", time.Hour, 2 * time.Hour}} {
		if a := watch(tt.execution, at.Add(tt.until)); a.Watcher != tt.execution || !a.WatchUntil.Equal(at.Add(tt.ends)) {
			t.Errorf("%s: %+v", tt.execution, a)
		}
	}
	if cleared, err := d.ClearAlert(t.Context(), instanceID, "arn:w", d.alertOf(), ClosedByAllClear); !cleared || err != nil {
		t.Fatalf("%t, %v", cleared, err)
	}
	if a := watch("arn:w", at.Add(3*time.Hour)); a != nil {
		t.Errorf("it is closed: %+v", a)
	}
	_, err := d.WatchAlert(t.Context(), "web-1", "arn:w", at)
	want(t, err, fault.InvalidInput, `"web-1" is not an instance id`)
	_, err = d.WatchAlert(t.Context(), instanceID, "", at)
	want(t, err, fault.InvalidInput, "execution.id: missing")
}

func TestClearAlert(t *testing.T) {
	d := newDB(t)
	closes := func(execution string, seen Alert, how string) bool {
		t.Helper()
		cleared, err := d.ClearAlert(t.Context(), instanceID, execution, seen, how)
		if err != nil {
			t.Fatal(err)
		}
		return cleared
	}
	if closes("arn:w", Alert{}, ClosedByAllClear) {
		t.Error("there was none")
	}
	unsent, _ := d.claim("a")
	if closes("arn:w", unsent, ClosedByAllClear) {
		t.Error("it was never sent")
	}
	a := d.sent("a")
	// A repeat that comes first is not overlooked.
	d.claim("b")
	if closes("arn:w", a, ClosedByAllClear) || !d.alertOf().Open {
		t.Error("a repeat was overlooked")
	}
	a = d.alertOf()
	older := a
	older.Generation--
	if closes("arn:w", older, ClosedByAllClear) {
		t.Error("it was another one")
	}
	d.pass(time.Minute)
	for range 2 {
		if !closes("arn:w", a, ClosedByAllClear) {
			t.Error("it is as it was seen")
		}
		d.pass(time.Minute)
	}
	got := d.alertOf()
	if got.Open || !got.ClosedAt.Equal(at.Add(time.Minute)) || got.ClosedHow != ClosedByAllClear || got.ClosedBy != "arn:w" || got.Alias != a.Alias {
		t.Errorf("%+v", got)
	}
	// Others have not closed it, nor has this one in another way.
	if closes("arn:x", a, ClosedByAllClear) || closes("arn:w", a, ClosedByPerson) || closes("arn:w", got, ClosedByPerson) {
		t.Error("closed twice")
	}
	_, err := d.ClearAlert(t.Context(), "web-1", "arn:w", a, ClosedByPerson)
	want(t, err, fault.InvalidInput, `"web-1" is not an instance id`)
	_, err = d.ClearAlert(t.Context(), instanceID, "", a, ClosedByPerson)
	want(t, err, fault.InvalidInput, "execution.id: missing")
	_, err = d.AlertOf(t.Context(), "web-1")
	want(t, err, fault.InvalidInput, `"web-1" is not an instance id`)
}

// However many claim at once, none gets what another one has: each adds to the alert
// that was sent, and each is counted.
func TestClaimAlertAtOnce(t *testing.T) {
	d := newDB(t)
	const many = 12
	claims := make([]Claim, many)
	generations := make([]int64, many)
	all := func() {
		var wg sync.WaitGroup
		for n := range many {
			wg.Go(func() {
				a, claim, err := d.ClaimAlert(t.Context(), newIncident(instanceID, fmt.Sprint("e", n)), incident.AlertDown)
				if err != nil {
					t.Error(err)
				}
				claims[n], generations[n] = claim, a.Generation
			})
		}
		wg.Wait()
	}
	all()
	for n := range many {
		if claims[n] != ClaimNew {
			t.Errorf("%d: %s", n, claims[n])
		}
	}
	slices.Sort(generations)
	if got := slices.Compact(generations); len(got) != many || got[0] != 1 || got[many-1] != many {
		t.Errorf("generations %v", got)
	}
	generations = make([]int64, many)
	opener := d.alertOf()
	inc := newIncident(instanceID, "")
	inc.Execution.ID = opener.By
	opener.Alias = "alias"
	if err := d.AlertSent(t.Context(), inc, opener, "opsgenie"); err != nil {
		t.Fatal(err)
	}
	all()
	repeats := 0
	for n := range many {
		if claims[n] == ClaimRepeat {
			repeats++
		}
		if generations[n] != many {
			t.Errorf("%d: generation %d", n, generations[n])
		}
	}
	if got := d.alertOf(); repeats != many-1 || got.Repeats != many-1 {
		t.Errorf("%d repeats, counted %d", repeats, got.Repeats)
	}
}

// An all-clear and an incident at the same moment: either the incident is seen, or it
// makes an alert of its own. It is never added to one that is being closed.
func TestClearAndClaimAtOnce(t *testing.T) {
	d := newDB(t)
	for n := range 8 {
		a := d.sent(fmt.Sprint("opener", n))
		var wg sync.WaitGroup
		var cleared bool
		var claim Claim
		var got Alert
		wg.Go(func() {
			var err error
			if cleared, err = d.ClearAlert(t.Context(), instanceID, "arn:w", a, ClosedByAllClear); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			var err error
			if got, claim, err = d.ClaimAlert(t.Context(), newIncident(instanceID, fmt.Sprint("e", n)), incident.AlertDown); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if cleared == (claim == ClaimRepeat) || cleared != (got.Generation > a.Generation) {
			t.Errorf("cleared %t, and the claim is %s of %d after %d", cleared, claim, got.Generation, a.Generation)
		}
		// For the next round.
		if a := d.alertOf(); !a.SentAt.IsZero() {
			if _, err := d.ClearAlert(t.Context(), instanceID, "arn:w", a, ClosedByPerson); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A write whose answer is lost has been made or not: the same call afterwards finds
// out, and makes nothing twice.
func TestAlertsWithLostAnswers(t *testing.T) {
	reset := errors.New("connection reset")
	lose := func(d *db) {
		d.on("UpdateItem", func(_ any, call func() error) error {
			_ = call()
			d.meddle = nil
			return reset
		})
	}
	d := newDB(t)
	lose(d)
	_, _, err := d.ClaimAlert(t.Context(), newIncident(instanceID, "a"), incident.AlertDown)
	want(t, err, fault.Unavailable, "connection reset")
	if a, claim := d.claim("a"); claim != ClaimNew || a.Generation != 1 || !a.Again {
		t.Errorf("%s, %+v", claim, a)
	}
	lose(d)
	want(t, d.AlertSent(t.Context(), newIncident(instanceID, "a"), Alert{Generation: 1, Alias: "alias/1"}, "jsm"), fault.Unavailable, "connection reset")
	d.sent("a")
	lose(d)
	_, _, err = d.ClaimAlert(t.Context(), newIncident(instanceID, "b"), incident.AlertDown)
	want(t, err, fault.Unavailable, "connection reset")
	if got, claim := d.claim("b"); claim != ClaimRepeat || got.Repeats != 1 || !got.Again {
		t.Errorf("%s, %+v", claim, got)
	}
	a := d.alertOf()
	lose(d)
	cleared, err := d.ClearAlert(t.Context(), instanceID, "arn:w", a, ClosedByAllClear)
	want(t, err, fault.Unavailable, "connection reset")
	if cleared {
		t.Error("cleared beside an error")
	}
	if cleared, err = d.ClearAlert(t.Context(), instanceID, "arn:w", a, ClosedByAllClear); !cleared || err != nil {
		t.Errorf("%t, %v", cleared, err)
	}

	// The SDK asked twice itself, and DynamoDB refused the second.
	d = newDB(t)
	d.on("UpdateItem", func(_ any, call func() error) error {
		if err := call(); err != nil {
			return err
		}
		d.meddle = nil
		return &types.ConditionalCheckFailedException{}
	})
	if a, claim := d.claim("a"); claim != ClaimNew || a.Generation != 1 {
		t.Errorf("%s, %+v", claim, a)
	}
}

// What nobody can read keeps no page back, and is not written over: the error says
// what to do.
func TestAlertThatCannotBeRead(t *testing.T) {
	whole := func() item {
		return item{"state": text("open"), "generation": number(3), "by": text("arn:a"), "openedAt": millis(at), "version": number(7)}
	}
	for name, tt := range map[string]struct {
		name string
		to   types.AttributeValue
		want string
	}{
		"another state":    {"state", text("ajar"), `state: got "ajar", want open or closed`},
		"no state":         {"state", nil, "state: missing"},
		"no generation":    {"generation", nil, "generation: missing"},
		"generation 0":     {"generation", number(0), "generation: is 0, want 1 or more"},
		"a text":           {"generation", text("3"), "generation: got a text, want a number"},
		"no version":       {"version", nil, "version: missing"},
		"no time":          {"openedAt", text("yesterday"), "openedAt: got a text, want a number"},
		"no opener":        {"by", nil, "by: missing"},
		"sent as nothing":  {"sentAt", millis(at), "sentAt: is there without alias"},
		"a thread nowhere": {"thread", text("1.2"), "channel: is there without thread, or that without it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			i := whole()
			if i[tt.name] = tt.to; tt.to == nil {
				delete(i, tt.name)
			}
			d.put(alertKey(instanceID), i)
			before := fmt.Sprint(d.get(alertKey(instanceID)))
			ctx, inc := t.Context(), newIncident(instanceID, "b")
			_, _, claimed := d.ClaimAlert(ctx, inc, incident.AlertDown)
			_, _, reclaimed := d.ReclaimAlert(ctx, inc, incident.AlertDown, Alert{Generation: 3}, ClosedByPerson)
			_, of := d.AlertOf(ctx, instanceID)
			_, watched := d.WatchAlert(ctx, instanceID, "arn:w", at)
			_, cleared := d.ClearAlert(ctx, instanceID, "arn:w", Alert{Generation: 3, Version: 7}, ClosedByPerson)
			for _, err := range []error{claimed, reclaimed, of, watched, cleared, d.AlertSent(ctx, inc, Alert{Generation: 3}, "jsm")} {
				want(t, err, fault.Internal, tt.want)
				want(t, err, fault.Internal, "the item instance#"+instanceID+"/alert cannot be read, put it right or delete it")
			}
			if after := fmt.Sprint(d.get(alertKey(instanceID))); len(after) != len(before) {
				t.Errorf("it was %s and is %s", before, after)
			}
		})
	}
	d := newDB(t)
	i := whole()
	i["of another version"] = boolean(true)
	d.put(alertKey(instanceID), i)
	if a := d.alertOf(); a.Generation != 3 || !a.Open {
		t.Errorf("%+v", a)
	}
}

func TestAlertsWithoutATable(t *testing.T) {
	d := newDB(t)
	a := d.sent("a")
	d.meddle = func(string, any, func() error) error { return refusal("AccessDeniedException") }
	ctx, inc := t.Context(), newIncident(instanceID, "b")
	_, _, err := d.ClaimAlert(ctx, inc, incident.AlertDown)
	want(t, err, fault.Denied, "claim alert of "+instanceID)
	want(t, d.AlertThread(ctx, about(a), incident.Thread{Channel: "C1", TS: "1.2"}), fault.Denied, "remember the thread")
	_, err = d.ClearAlert(ctx, instanceID, "arn:w", a, ClosedByPerson)
	want(t, err, fault.Denied, "close the alert of "+instanceID)

	// One that is always changed by others ends with the context.
	d.on("UpdateItem", func(any, func() error) error { return &types.ConditionalCheckFailedException{} })
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, _, err = d.ClaimAlert(short, inc, incident.AlertDown)
	want(t, err, fault.Unavailable, "deadline exceeded")
	if _, err = d.WatchAlert(short, instanceID, "arn:w", at); err == nil {
		t.Error("watched")
	}
}
