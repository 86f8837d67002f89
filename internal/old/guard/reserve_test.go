package guard

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

func TestReserve(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	d.reserved(inc)
	i, b := d.instance(instanceID), d.brake()
	if len(i.reboots) != 1 || i.reboots[0].claim == "" {
		t.Fatalf("%+v", i)
	}
	i.reboots[0].claim = ""
	same(t, i.reboots, []reboot{{at: at, by: inc.Execution.ID}})
	same(t, b, brake{reboots: []reboot{{at: at, by: inc.Execution.ID, instance: instanceID, until: at.Add(10 * time.Minute)}}, version: 1})

	// Its answer was lost, and it is asked again: not twice the cool-down's fault.
	d.pass(time.Minute)
	for range 2 {
		own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
		if err != nil || refusal != nil || own == nil || !own.Equal(at) {
			t.Fatalf("own %v, refusal %v, %v", own, refusal, err)
		}
	}
	own, paused, err := d.Look(t.Context(), inc)
	if err != nil || paused != nil || own == nil || !own.Equal(at) {
		t.Errorf("look: own %v, paused %v, %v", own, paused, err)
	}
	if n := len(d.brake().reboots); n != 1 {
		t.Errorf("%d reboots in the region", n)
	}
	// What it has reserved stays its own whatever came between.
	if err := d.PauseRegion(t.Context(), d.Now().Add(time.Hour), "ops"); err != nil {
		t.Fatal(err)
	}
	d.pass(6 * time.Hour)
	if own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, Limits{}); err != nil || refusal != nil || own == nil {
		t.Errorf("own %v, refusal %v, %v", own, refusal, err)
	}
}

func TestCancel(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	d.reserved(inc)
	for range 2 {
		if err := d.Cancel(t.Context(), inc); err != nil {
			t.Fatal(err)
		}
		if i, b := d.instance(instanceID), d.brake(); len(i.reboots) != 0 || len(b.reboots) != 0 {
			t.Fatalf("%+v, %+v", i, b)
		}
	}
	// Then the same may be reserved again, and is not held against anybody.
	d.reserved(inc)

	// Another execution cancels nothing of this one's.
	if err := d.Cancel(t.Context(), newIncident(instanceID, "b")); err != nil {
		t.Fatal(err)
	}
	if own, _, err := d.Look(t.Context(), inc); own == nil || err != nil {
		t.Errorf("own %v, %v", own, err)
	}

	// Half of a reservation, which no transaction leaves, goes too.
	d.put(brakeKey, item{"version": number(9), "reboots": encodeReboots([]reboot{{at: at, by: inc.Execution.ID, instance: instanceID, until: at}})})
	d.put(guardKey(instanceID), item{"version": number(9)})
	if err := d.Cancel(t.Context(), inc); err != nil || len(d.brake().reboots) != 0 {
		t.Errorf("%+v, %v", d.brake(), err)
	}
}

func TestCancelWithoutATable(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	d.reserved(inc)
	d.on("TransactWriteItems", func(any, func() error) error { return refusal("ThrottlingException") })
	want(t, d.Cancel(t.Context(), inc), fault.Unavailable, "cancel reboot of "+instanceID)
	d.meddle = nil
	if own, _, err := d.Look(t.Context(), inc); own == nil || err != nil {
		t.Errorf("own %v, %v", own, err)
	}
}

// A write whose answer is lost is looked up: it is this very call's reservation
// or nobody's.
func TestReserveWithLostAnswers(t *testing.T) {
	reset := errors.New("connection reset")
	for _, tt := range []struct {
		name string
		// transact is what becomes of the first transaction, and read of the read
		// that follows it.
		transact func(call func() error) error
		read     func(call func() error) error
		want     string
		// stored says that the reservation is in the table.
		stored bool
	}{
		{"the answer is lost", func(call func() error) error { _ = call(); return reset }, nil, "", true},
		{"the answer is lost, and what is read", func(call func() error) error { _ = call(); return reset }, func(func() error) error { return refusal("AccessDeniedException") }, "AccessDenied", true},
		{"the request is lost", func(func() error) error { return reset }, nil, "connection reset", false},
		{"it is said to be done and is not", func(func() error) error { return nil }, nil, "DynamoDB has taken the reservation, but does not have it", false},
		{"the SDK has asked twice", func(call func() error) error {
			if err := call(); err != nil {
				return err
			}
			return canceled("ConditionalCheckFailed", "ConditionalCheckFailed")
		}, nil, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			inc := d.opened(instanceID, "a")
			transactions := 0
			d.meddle = func(action string, _ any, call func() error) error {
				switch action {
				case "TransactWriteItems":
					if transactions++; transactions == 1 {
						return tt.transact(call)
					}
				case "BatchGetItem":
					if transactions == 1 && tt.read != nil {
						return tt.read(call)
					}
				}
				return call()
			}
			own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
			if own != nil || refusal != nil {
				t.Errorf("own %v, refusal %v", own, refusal)
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if n := len(d.instance(instanceID).reboots); (n == 1) != tt.stored || transactions != 1 {
				t.Errorf("%d reservations, %d transactions", n, transactions)
			}
			d.meddle = nil
			own, refusal, err = d.Reserve(t.Context(), inc, urlFailed, limits)
			if err != nil || refusal != nil || (own != nil) != tt.stored {
				t.Errorf("again: own %v, refusal %v, %v", own, refusal, err)
			}
		})
	}
}

// Two invocations of one step at the same moment: one of them may ask EC2.
func TestReserveTwiceAtOnce(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	var wg sync.WaitGroup
	owns, errs := make([]*time.Time, 8), make([]error, 8)
	for n := range owns {
		wg.Go(func() {
			one := *inc
			owns[n], _, errs[n] = d.Reserve(t.Context(), &one, urlFailed, limits)
		})
	}
	wg.Wait()
	first := 0
	for n, own := range owns {
		if errs[n] != nil {
			t.Error(errs[n])
		} else if own == nil {
			first++
		}
	}
	if first != 1 || len(d.instance(instanceID).reboots) != 1 {
		t.Errorf("%d may ask EC2; %+v", first, d.instance(instanceID))
	}
}

func TestDecide(t *testing.T) {
	own, other := newIncident(instanceID, "own"), newIncident(instanceID, "other")
	hash, err := settingsHash(own.Settings, checks.NameURL)
	if err != nil {
		t.Fatal(err)
	}
	ago := func(d time.Duration) reboot { return reboot{at: at.Add(-d), by: "earlier"} }
	flying := func(id string, started, left time.Duration) reboot {
		return reboot{at: at.Add(-started), by: id, instance: id, until: at.Add(left)}
	}
	for _, tt := range []struct {
		name   string
		mend   func(r *reservation, i *instance, b *brake)
		guard  string
		reason string
	}{
		{"nothing stands against it", nil, "", ""},
		{"paused", func(r *reservation, _ *instance, _ *brake) {
			r.pause = &incident.Pause{Until: at.Add(time.Hour), By: "ops"}
		}, incident.GuardPause, "the region is paused until 2026-11-22T11:00:00Z by ops"},
		{"paused by nobody", func(r *reservation, _ *instance, _ *brake) { r.pause = &incident.Pause{Until: at.Add(time.Hour)} }, incident.GuardPause, "the region is paused until 2026-11-22T11:00:00Z"},
		{"never passed", func(_ *reservation, i *instance, _ *brake) { i.baseline = nil }, incident.GuardBaseline, "the check url has never passed for " + instanceID + ", so that the check itself may be at fault"},
		{"another check passed", func(r *reservation, _ *instance, _ *brake) { r.failed.Check = checks.NameSSH }, incident.GuardBaseline, "the check ssh has never passed"},
		{"passed with other settings", func(_ *reservation, i *instance, _ *brake) { i.baseline["url"] = pass{"x", at.Add(-time.Hour)} }, incident.GuardBaseline, "the check url has never passed for " + instanceID + " with these settings (with others it did at 2026-11-22T09:00:00Z), so that the settings may be at fault"},

		{"rebooted just now", func(_ *reservation, i *instance, _ *brake) { i.reboots = []reboot{ago(time.Second)} }, incident.GuardCoolDown, "the last reboot was 1s ago and the next may come after 30m0s (reboot.cool_down_seconds); rebooted at 2026-11-22T09:59:59Z"},
		{"cools down", func(_ *reservation, i *instance, _ *brake) {
			i.reboots = []reboot{ago(30*time.Minute - time.Millisecond), ago(20 * time.Hour)}
		}, incident.GuardCoolDown, "rebooted at 2026-11-21T14:00:00Z, 2026-11-22T09:30:00Z"},
		{"has cooled down", func(_ *reservation, i *instance, _ *brake) { i.reboots = []reboot{ago(30 * time.Minute)} }, "", ""},
		{"rebooted in the future", func(_ *reservation, i *instance, _ *brake) { i.reboots = []reboot{ago(-time.Hour)} }, incident.GuardCoolDown, "the last reboot was -1h0m0s ago"},

		{"twice today", func(_ *reservation, i *instance, _ *brake) {
			i.reboots = []reboot{ago(24*time.Hour - time.Millisecond), ago(time.Hour)}
		}, incident.GuardBudget, "it was rebooted 2 times in the last 24 hours, as often as reboot.per_day allows, at 2026-11-21T10:00:00Z, 2026-11-22T09:00:00Z"},
		{"once today, once yesterday", func(_ *reservation, i *instance, _ *brake) {
			i.reboots = []reboot{ago(24 * time.Hour), ago(time.Hour)}
		}, "", ""},
		{"once a day", func(r *reservation, i *instance, _ *brake) {
			r.inc.Settings.Reboot.PerDay = 1
			i.reboots = []reboot{ago(time.Hour)}
		}, incident.GuardBudget, "it was rebooted once in the last 24 hours"},
		{"never", func(r *reservation, _ *instance, _ *brake) { r.inc.Settings.Reboot.PerDay = 0 }, incident.GuardBudget, "reboot.per_day is 0 for " + instanceID + ": it is never rebooted"},

		{"no brake in flight", func(r *reservation, _ *instance, _ *brake) { r.limits.InFlight = 0 }, incident.GuardBrake, "is set to 0: no instance is ever rebooted"},
		{"no brake an hour", func(r *reservation, _ *instance, _ *brake) { r.limits.PerHour = 0 }, incident.GuardBrake, "is set to 0: no instance is ever rebooted"},
		{"one in flight", func(_ *reservation, _ *instance, b *brake) {
			b.reboots = []reboot{flying("i-1", time.Minute, time.Minute)}
		}, "", ""},
		{"two in flight", func(_ *reservation, _ *instance, b *brake) {
			b.reboots = []reboot{flying("i-1", 2*time.Hour, time.Millisecond), flying("i-2", 0, time.Hour)}
		}, incident.GuardBrake, "the region's brake is on: 2 reboots under way (i-1, i-2), and brake.in_flight allows 2"},
		{"two have landed", func(_ *reservation, _ *instance, b *brake) {
			b.reboots = []reboot{flying("i-1", time.Minute, 0), flying("i-2", time.Minute, -time.Second)}
		}, "", ""},
		{"six in an hour", func(_ *reservation, _ *instance, b *brake) {
			for n := range 6 {
				b.reboots = append(b.reboots, flying(fmt.Sprintf("i-%d", n), time.Hour-time.Millisecond, 0))
			}
		}, incident.GuardBrake, "the region's brake is on: 6 reboots in the last hour (1 more, i-1, i-2, i-3, i-4, i-5), and brake.per_hour allows 6"},
		{"six in more than an hour", func(_ *reservation, _ *instance, b *brake) {
			b.reboots = []reboot{flying("i-0", time.Hour, 0)}
			for n := range 5 {
				b.reboots = append(b.reboots, flying(fmt.Sprintf("i-%d", n), time.Minute, 0))
			}
		}, "", ""},
		{"two more are silent", func(_ *reservation, _ *instance, b *brake) {
			b.suspects = []suspect{{at.Add(-2*time.Minute + 1), "i-1"}, {at, "i-2"}}
		}, incident.GuardBrake, "the region's brake is on: other instances stopped answering within 2m0s, which is more likely our own network (i-1, i-2) that is as many as brake.in_flight allows, 2"},
		{"one is silent, one in flight", func(_ *reservation, _ *instance, b *brake) {
			b.suspects = []suspect{{at, "i-1"}}
			b.reboots = []reboot{flying("i-2", 0, time.Minute)}
		}, incident.GuardBrake, "(i-1); with 1 reboots under way (i-2) that is as many"},
		{"silent, and in flight themselves", func(_ *reservation, _ *instance, b *brake) {
			b.suspects = []suspect{{at, "i-1"}}
			b.reboots = []reboot{flying("i-1", 0, time.Minute)}
		}, "", ""},
		{"silent before", func(_ *reservation, _ *instance, b *brake) {
			b.suspects = []suspect{{at.Add(-2 * time.Minute), "i-1"}, {at.Add(-time.Hour), "i-2"}}
		}, "", ""},
		{"one is silent twice", func(_ *reservation, _ *instance, b *brake) {
			b.suspects = []suspect{{at.Add(-time.Minute), "i-1"}, {at, "i-1"}}
		}, "", ""},
		{"this one is silent", func(_ *reservation, _ *instance, b *brake) {
			b.suspects = []suspect{{at, instanceID}, {at, "i-1"}}
		}, "", ""},

		{"the lease ran out", func(_ *reservation, i *instance, _ *brake) { i.heldUntil = at }, incident.GuardLease, "this incident's lease ran out at 2026-11-22T10:00:00Z"},
		{"another has the lease", func(_ *reservation, i *instance, _ *brake) { i.holder = other.Execution }, incident.GuardLease, "this incident's lease has run out, and the execution other has it now"},
		{"another had the lease", func(_ *reservation, i *instance, _ *brake) {
			i.holder, i.heldUntil = other.Execution, at.Add(-time.Second)
		}, incident.GuardLease, "this incident does not have the lease of " + instanceID + " any more"},
		{"nobody has the lease", func(_ *reservation, i *instance, _ *brake) { i.holder = incident.Execution{} }, incident.GuardLease, "this incident does not have the lease"},

		// The order of the guards: what concerns the instance comes first.
		{"everything at once", func(r *reservation, i *instance, _ *brake) {
			*i = instance{reboots: []reboot{ago(time.Minute)}}
			r.limits = Limits{}
		}, incident.GuardBaseline, "never passed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inc := newIncident(instanceID, "own")
			r := reservation{inc: inc, failed: urlFailed, limits: limits}
			i := instance{holder: own.Execution, heldUntil: at.Add(time.Second), baseline: map[string]pass{"url": {hash, at.Add(-time.Hour)}}}
			var b brake
			if tt.mend != nil {
				tt.mend(&r, &i, &b)
			}
			got, err := r.decide(at, i, b)
			switch {
			case err != nil:
				t.Fatal(err)
			case tt.guard == "" && got != nil:
				t.Errorf("got %+v", got)
			case tt.guard != "" && (got == nil || got.Guard != tt.guard || !strings.Contains(got.Reason, tt.reason) || !got.At.Equal(at)):
				t.Errorf("got  %+v\nwant %s: %s", got, tt.guard, tt.reason)
			}
		})
	}
	r := reservation{op: "reserve", inc: own, failed: finding("ping", false, at), limits: limits}
	_, err = r.decide(at, instance{}, brake{})
	want(t, err, fault.InvalidInput, `there is no check "ping"`)
}

// What decide refuses leaves nothing behind.
func TestReserveRefused(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	if err := d.PauseRegion(t.Context(), at.Add(time.Hour), "ops"); err != nil {
		t.Fatal(err)
	}
	before := ignored(d.get(guardKey(instanceID)))
	own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
	if err != nil || own != nil || refusal == nil || refusal.Guard != incident.GuardPause {
		t.Fatalf("own %v, refusal %v, %v", own, refusal, err)
	}
	same(t, inc.Paused, &incident.Pause{Until: at.Add(time.Hour), Scope: incident.PauseRegion, By: "ops"})
	same(t, ignored(d.get(guardKey(instanceID))), before)
	if d.get(brakeKey) != nil {
		t.Errorf("%v", d.get(brakeKey))
	}
	if err := d.ResumeRegion(t.Context()); err != nil {
		t.Fatal(err)
	}
	inc.Paused = nil
	d.reserved(inc)
	if inc.Paused != nil {
		t.Errorf("paused %v", inc.Paused)
	}
}

// The condition of the write holds the lease, too: it may run out, or be taken,
// between the read and the write.
func TestReserveLosesItsLease(t *testing.T) {
	for name, taken := range map[string]func(d *db, inc *incident.Incident){
		"taken by another": func(d *db, _ *incident.Incident) {
			i := d.get(guardKey(instanceID))
			i["holder"] = text("other") // without a new version, as by hand
			d.put(guardKey(instanceID), i)
		},
		"closed": func(d *db, inc *incident.Incident) {
			d.meddle = nil
			if err := d.Close(d.t.Context(), inc, incident.EndPaged); err != nil {
				d.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDB(t)
			inc := d.opened(instanceID, "a")
			d.on("TransactWriteItems", func(_ any, call func() error) error {
				d.meddle = nil
				taken(d, inc)
				return call()
			})
			own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
			if err != nil || own != nil || refusal == nil || refusal.Guard != incident.GuardLease {
				t.Errorf("own %v, refusal %v, %v", own, refusal, err)
			}
			if n := len(d.instance(instanceID).reboots); n != 0 {
				t.Errorf("%d reservations", n)
			}
		})
	}
}

// Instances that time out between the read and the write count, too.
func TestReserveSeesWhoTimesOutMeanwhile(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	d.reserved(d.opened("i-00000009", "earlier")) // so that the region has an item
	d.on("TransactWriteItems", func(_ any, call func() error) error {
		d.meddle = nil
		if err := d.register(t.Context(), "register", d.brake(), "i-00000001", at); err != nil {
			t.Error(err)
		}
		return call()
	})
	own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
	if err != nil || own != nil || refusal == nil || !strings.Contains(refusal.Reason, "(i-00000001); with 1 reboots under way (i-00000009)") {
		t.Errorf("own %v, refusal %v, %v", own, refusal, err)
	}
}

func TestReserveDryRun(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	inc.Settings.Reboot.DryRun = true
	for range 2 {
		own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
		if own != nil || refusal != nil || err != nil {
			t.Fatalf("own %v, refusal %v, %v", own, refusal, err)
		}
	}
	if i := d.instance(instanceID); len(i.reboots) != 0 || d.get(brakeKey) != nil {
		t.Errorf("%+v, %v", i, d.get(brakeKey))
	}
	_, refusal, err := d.Reserve(t.Context(), inc, urlFailed, Limits{})
	if err != nil || refusal == nil || refusal.Guard != incident.GuardBrake {
		t.Errorf("refusal %v, %v", refusal, err)
	}
	// A dry incident is asked nothing.
	d.on("BatchGetItem", func(any, func() error) error { return errors.New("asked") })
	inc.Dry = true
	if own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, Limits{}); own != nil || refusal != nil || err != nil {
		t.Errorf("own %v, refusal %v, %v", own, refusal, err)
	}
}

func TestReserveUnreadable(t *testing.T) {
	for name, broken := range map[string]struct {
		k    key
		i    item
		text string
	}{
		"instance": {guardKey(instanceID), item{"version": number(1), "holder": text("x")}, "holder: is there without heldUntil"},
		"brake":    {brakeKey, item{"reboots": text("none")}, "reboots: got a text, want a list"},
		"pause":    {pauseKey, item{"until": text("tomorrow")}, "until: got a text, want a number (firstline resume removes it)"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDB(t)
			inc := d.opened(instanceID, "a")
			d.put(broken.k, broken.i)
			own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
			want(t, err, fault.Internal, "the item "+broken.k.String()+" cannot be read")
			want(t, err, fault.Internal, broken.text)
			if own != nil || refusal != nil || d.count("TransactWriteItems") != 0 {
				t.Errorf("own %v, refusal %v", own, refusal)
			}
		})
	}
}

// A full item is an error, and no reboot.
func TestReserveFullItem(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	// All of them count, so that none can be dropped.
	one := reboot{at: at, by: strings.Repeat("x", 1000), instance: instanceID, until: at.Add(time.Hour)}
	var all []reboot
	for sizeOf(encodeReboots(all)) < 385<<10 {
		all = append(all, one)
	}
	d.put(brakeKey, item{"version": number(1), "reboots": encodeReboots(all)})
	inc.Execution.ID += strings.Repeat("y", 32<<10)
	i := d.get(guardKey(instanceID))
	i["holder"] = text(inc.Execution.ID)
	d.put(guardKey(instanceID), i)
	own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, Limits{InFlight: 10_000, PerHour: 10_000})
	want(t, err, fault.Internal, "ize")
	if own != nil || refusal != nil || len(d.instance(instanceID).reboots) != 0 || len(d.brake().reboots) != len(all) {
		t.Errorf("own %v, refusal %v", own, refusal)
	}
}

// The largest items that the limits allow fit into DynamoDB's 400 KB.
func TestItemsFit(t *testing.T) {
	const limit = 400 << 10
	execution := "arn:aws-us-gov:states:us-gov-east-1:123456789012:execution:" + strings.Repeat("n", 80) + ":" + strings.Repeat("e", 80)
	var b brake
	for n := range 1000 {
		b.reboots = append(b.reboots, reboot{at: at, by: execution, instance: instanceID, until: at.Add(time.Hour)})
		b.reboots[n].instance = fmt.Sprintf("i-%017x", n)
	}
	for n := range 5000 {
		b.suspects = append(b.suspects, suspect{at.Add(time.Duration(n)), fmt.Sprintf("i-%017x", n)})
	}
	c := b.change(at)
	size := 0
	for name, v := range c.values {
		size += len(name) + sizeOf(v)
	}
	if size > limit {
		t.Errorf("the brake has %d bytes", size)
	}
	if n := len(b.recentSuspects(at)); n != maxSuspects {
		t.Errorf("%d suspects", n)
	}
	t.Logf("the largest brake has %d bytes", size)

	var i instance
	for range 100 {
		i.reboots = append(i.reboots, reboot{at: at.Add(-25 * time.Hour), by: execution})
	}
	i.reboots = append(i.reboots, reboot{at: at, by: execution})
	if n := len(i.recent(at)); n != 1 {
		t.Errorf("%d reboots are kept", n)
	}
}

// sizeOf is an attribute's size as DynamoDB counts
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
func sizeOf(v types.AttributeValue) int {
	size := 1
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 2
	case *types.AttributeValueMemberL:
		size = 3
		for _, e := range v.Value {
			size += 1 + sizeOf(e)
		}
	case *types.AttributeValueMemberM:
		size = 3
		for name, e := range v.Value {
			size += 1 + len(name) + sizeOf(e)
		}
	}
	return size
}

// storm has many instances ask at once, and returns how many may be rebooted.
func storm(t *testing.T, d *db, many int, failed checks.Finding) int {
	t.Helper()
	incidents := make([]*incident.Incident, many)
	for n := range incidents {
		incidents[n] = d.opened(fmt.Sprintf("i-%08x", n), fmt.Sprintf("e%d", n))
	}
	begun := time.Now()
	var wg sync.WaitGroup
	refusals, errs := make([]*incident.Refusal, many), make([]error, many)
	for n, inc := range incidents {
		wg.Go(func() {
			var own *time.Time
			if own, refusals[n], errs[n] = d.Reserve(t.Context(), inc, failed, limits); own != nil {
				t.Errorf("%s has reserved before, it is told", inc.InstanceID)
			}
		})
	}
	wg.Wait()
	reserved := 0
	for n, r := range refusals {
		switch {
		case errs[n] != nil:
			t.Error(errs[n])
		case r == nil:
			reserved++
			if got := d.instance(incidents[n].InstanceID).reboots; len(got) != 1 {
				t.Errorf("%s: %+v", incidents[n].InstanceID, got)
			}
		case r.Guard != incident.GuardBrake:
			t.Errorf("%+v", r)
		}
	}
	t.Logf("%d of %d may be rebooted; decided in %s with %d reads, %d transactions", reserved, many, time.Since(begun).Round(time.Millisecond), d.count("BatchGetItem"), d.count("TransactWriteItems"))
	return reserved
}

func TestStorm(t *testing.T) {
	d := newDB(t)
	if n := storm(t, d, 50, urlFailed); n != limits.InFlight || len(d.brake().reboots) != n {
		t.Errorf("%d may be rebooted: %+v", n, d.brake())
	}
}

// Fifty instances that time out at once are a fault of our own network, but for
// those that were first.
func TestSilentStorm(t *testing.T) {
	d := newDB(t)
	n := storm(t, d, 50, urlTimedOut)
	b := d.brake()
	if n > limits.InFlight || len(b.reboots) != n {
		t.Errorf("%d may be rebooted: %+v", n, b)
	}
	if got := len(b.recentSuspects(d.Now())); got != 50 {
		t.Errorf("%d suspects", got)
	}
	// Nor is one that answers wrongly rebooted in their midst.
	_, refusal, err := d.Reserve(t.Context(), d.opened(instanceID, "late"), urlFailed, limits)
	if err != nil || refusal == nil || refusal.Guard != incident.GuardBrake {
		t.Errorf("refusal %v, %v", refusal, err)
	}
	// It passes.
	d.pass(15 * time.Minute)
	d.reserved(d.opened("i-0a1b2c3d", "later"))
}

func TestSuspects(t *testing.T) {
	d := newDB(t)
	ask := func(id, execution string) *incident.Refusal {
		t.Helper()
		own, refusal, err := d.Reserve(t.Context(), d.opened(id, execution), urlTimedOut, Limits{InFlight: 1, PerHour: 9})
		if own != nil || err != nil {
			t.Fatalf("own %v, %v", own, err)
		}
		return refusal
	}
	// One alone is rebooted. Asked again it is not registered twice.
	one := d.opened("i-00000001", "a")
	for range 2 {
		if _, refusal, err := d.Reserve(t.Context(), one, urlTimedOut, limits); refusal != nil || err != nil {
			t.Fatalf("%v, %v", refusal, err)
		}
	}
	same(t, d.brake().suspects, []suspect{{at, "i-00000001"}})
	// The next is registered though it is refused.
	if r := ask("i-00000002", "b"); r == nil || r.Guard != incident.GuardBrake {
		t.Errorf("refusal %v", r)
	}
	same(t, d.brake().suspects, []suspect{{at, "i-00000001"}, {at, "i-00000002"}})
	// After an hour they are cleared away.
	d.pass(time.Hour)
	if r := ask("i-00000003", "c"); r != nil {
		t.Errorf("refusal %v", r)
	}
	same(t, d.brake().suspects, []suspect{{at.Add(time.Hour), "i-00000003"}})
	// So are reboots, when the next is made.
	if b := d.brake(); len(b.reboots) != 1 || b.reboots[0].instance != "i-00000003" {
		t.Errorf("%+v", b.reboots)
	}
	// A refusal for another reason registers it all the same.
	d.pass(time.Minute)
	d.on("TransactWriteItems", func(any, func() error) error { return errors.New("written") })
	stranger := newIncident("i-00000004", "d")
	if _, refusal, err := d.Reserve(t.Context(), stranger, urlTimedOut, limits); err != nil || refusal == nil || refusal.Guard != incident.GuardBaseline {
		t.Errorf("refusal %v, %v", refusal, err)
	}
	if !d.brake().registered("i-00000004", d.Now()) {
		t.Errorf("%+v", d.brake().suspects)
	}
}

func TestClaimBrakePage(t *testing.T) {
	d := newDB(t)
	const many = 20
	var wg sync.WaitGroup
	firsts, errs := make([]bool, many), make([]error, many)
	claim := func(n int) (bool, error) {
		return d.ClaimBrakePage(t.Context(), newIncident(fmt.Sprintf("i-%08x", n), fmt.Sprintf("e%d", n)))
	}
	for n := range many {
		wg.Go(func() { firsts[n], errs[n] = claim(n) })
	}
	wg.Wait()
	first := -1
	for n := range many {
		if errs[n] != nil {
			t.Error(errs[n])
		}
		if firsts[n] {
			if first >= 0 {
				t.Errorf("both e%d and e%d are first", first, n)
			}
			first = n
		}
	}
	if first < 0 {
		t.Fatal("none is first")
	}
	// The first one stays it, and the others do not become it within the hour.
	if again, err := claim(first); !again || err != nil {
		t.Errorf("%t, %v", again, err)
	}
	d.pass(time.Hour - time.Second)
	if other, err := claim(first + 1); other || err != nil {
		t.Errorf("%t, %v", other, err)
	}
	d.pass(time.Second)
	if other, err := claim(first + 1); !other || err != nil {
		t.Errorf("%t, %v", other, err)
	}
	if again, err := claim(first); again || err != nil {
		t.Errorf("%t, %v", again, err)
	}
	d.on("UpdateItem", func(any, func() error) error { return refusal("ThrottlingException") })
	if got, err := claim(first); got || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%t, %v", got, err)
	}
	// The request names the instance, for those who look for it in a log.
	d.on("UpdateItem", func(in any, call func() error) error {
		if v := in.(*dynamodb.UpdateItemInput).ExpressionAttributeValues[":pagedInstance"]; v.(*types.AttributeValueMemberS).Value != "i-00000007" {
			t.Errorf("%v", v)
		}
		return call()
	})
	if _, err := claim(7); err != nil {
		t.Error(err)
	}
}
