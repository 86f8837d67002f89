package guard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// budgetTime is how long a reboot counts against RebootSettings.PerDay. No
// cool-down is longer.
const budgetTime = 24 * time.Hour

// Reserve decides whether the incident's instance may be rebooted now, because
// of a check that failed, and reserves the reboot if so. There are three answers:
//
//   - own is not nil: this execution has reserved its reboot before, at that
//     time. EC2 may have been asked and is not to be asked again.
//   - refusal is not nil: no reboot, and why. Where that is the region's pause,
//     inc.Paused is set, too.
//   - neither: the reboot is reserved, and the caller alone may ask EC2. It calls
//     Cancel when it certainly has not.
//
// An instance whose check timed out is registered among the suspects first,
// whatever is decided. With RebootSettings.DryRun nothing is reserved: own is
// nil, and neither answer means that nothing stands against a reboot. Of a dry
// incident nothing is asked.
//
// After an error the reboot may have been reserved: do not ask EC2, but Reserve
// again, or page. Reserve ends with ctx; whoever needs time after it gives it a
// context that ends earlier.
func (t *Table) Reserve(ctx context.Context, inc *incident.Incident, failed checks.Finding, l Limits) (own *time.Time, refusal *incident.Refusal, err error) {
	op := "reserve reboot of " + inc.InstanceID
	if err := complete(op, inc); err != nil {
		return nil, nil, err
	}
	if inc.Settings == nil {
		return nil, nil, fault.New(fault.InvalidInput, op, "incident.settings: missing; the step open reads them")
	}
	if inc.Dry {
		return nil, nil, nil
	}
	r := reservation{table: t, op: op, inc: inc, failed: failed, limits: l, claim: rand.Text()}
	if err := settle(ctx, op, r.try); err != nil {
		return nil, nil, err
	}
	if r.refusal != nil && r.refusal.Guard == incident.GuardPause {
		inc.Paused = r.pause
	}
	return r.own, r.refusal, nil
}

// reservation is one call of Reserve.
type reservation struct {
	table  *Table
	op     string
	inc    *incident.Incident
	failed checks.Finding
	limits Limits
	// claim tells what this call has written from what another one has, for the
	// same execution.
	claim string

	own     *time.Time
	refusal *incident.Refusal
	// pause is the region's.
	pause *incident.Pause

	// written says that DynamoDB has confirmed the reservation. lost is the
	// error after which it may have been written.
	written bool
	lost    error
}

// try decides once. A reservation counts when it is read: then its answer may
// have been lost, or a wrong one.
func (r *reservation) try(ctx context.Context) error {
	k := guardKey(r.inc.InstanceID)
	items, err := r.table.read(ctx, r.op, k, brakeKey, pauseKey)
	if err != nil {
		return err
	}
	i, err := decodeInstance(k, items[k])
	if err != nil {
		return unreadable(r.op, err)
	}
	if own := of(i.reboots, r.inc.Execution.ID); own != nil {
		if own.claim != r.claim {
			r.own = &own.at
		}
		return nil
	}
	switch {
	case r.lost != nil:
		return r.lost
	case r.written:
		return fault.New(fault.Unavailable, r.op, "DynamoDB has taken the reservation, but does not have it")
	}
	b, err := decodeBrake(items[brakeKey])
	if err != nil {
		return unreadable(r.op, err)
	}
	now := r.table.now()
	if r.pause, err = decodePause(items[pauseKey], now); err != nil {
		return unreadable(r.op, err)
	}
	if r.failed.TimedOut && !b.registered(r.inc.InstanceID, now) {
		if err := r.table.register(ctx, r.op, b, r.inc.InstanceID, now); err != nil {
			return err
		}
		// Those who registered meanwhile count, too.
		return errAgain
	}
	r.refusal, err = r.decide(now, i, b)
	if err != nil || r.refusal != nil || r.inc.Settings.Reboot.DryRun {
		return err
	}
	return r.write(ctx, k, i, b, now)
}

// write reserves the reboot in the instance's item and in the region's.
func (r *reservation) write(ctx context.Context, k key, i instance, b brake, now time.Time) error {
	one := reboot{at: now, by: r.inc.Execution.ID, claim: r.claim}
	ofInstance := changeOf(k, i.version).
		set("reboots", encodeReboots(append(i.recent(now), one))).
		set("expiresAt", seconds(now.Add(keepInstance))).
		when("#holder = :own AND #heldUntil > :now", item{":own": text(r.inc.Execution.ID), ":now": number(now.Unix())})
	one.claim, one.instance = "", r.inc.InstanceID
	one.until = now.Add(time.Duration(r.inc.Settings.Boot.WindowSeconds) * time.Second)
	b.reboots = append(b.reboots, one)
	err := r.table.transact(ctx, r.op, ofInstance, b.change(now))
	if errors.Is(err, errChanged) || errors.Is(err, errThrottled) {
		return err
	}
	r.written, r.lost = err == nil, err
	return errAgain
}

// recent are the instance's reboots that still count.
func (i instance) recent(now time.Time) []reboot {
	return slices.DeleteFunc(slices.Clone(i.reboots), func(r reboot) bool { return !r.at.After(now.Add(-budgetTime)) })
}

// decide says why the instance is not to be rebooted now; nil: nothing that the
// table knows stands against it.
func (r *reservation) decide(now time.Time, i instance, b brake) (*incident.Refusal, error) {
	id, s := r.inc.InstanceID, r.inc.Settings.Reboot
	refuse := func(guard, reason string, args ...any) (*incident.Refusal, error) {
		return &incident.Refusal{Guard: guard, Reason: fmt.Sprintf(reason, args...), At: now}, nil
	}
	if r.pause != nil {
		by := ""
		if r.pause.By != "" {
			by = " by " + r.pause.By
		}
		return refuse(incident.GuardPause, "the region is paused until %s%s", stamp(r.pause.Until), by)
	}

	hash, err := settingsHash(r.inc.Settings, r.failed.Check)
	switch passed, known := i.baseline[r.failed.Check]; {
	case err != nil:
		return nil, fault.New(fault.Internal, r.op, "%w", err)
	case hash == "":
		return nil, fault.New(fault.InvalidInput, r.op, "incident.findings: there is no check %q", r.failed.Check)
	case !known:
		return refuse(incident.GuardBaseline, "the check %s has never passed for %s, so that the check itself may be at fault", r.failed.Check, id)
	case passed.hash != hash:
		return refuse(incident.GuardBaseline, "the check %s has never passed for %s with these settings (with others it did at %s), so that the settings may be at fault", r.failed.Check, id, stamp(passed.at))
	}

	earlier := i.recent(now)
	slices.SortFunc(earlier, func(a, b reboot) int { return a.at.Compare(b.at) })
	times := make([]string, 0, len(earlier))
	for _, e := range earlier {
		times = append(times, stamp(e.at))
	}
	coolDown := time.Duration(s.CoolDownSeconds) * time.Second
	if n := len(earlier); n > 0 && earlier[n-1].at.Add(coolDown).After(now) {
		return refuse(incident.GuardCoolDown, "the last reboot was %s ago and the next may come after %s (reboot.cool_down_seconds); rebooted at %s", now.Sub(earlier[n-1].at).Round(time.Second), coolDown, list(times))
	}
	switch {
	case s.PerDay <= 0:
		return refuse(incident.GuardBudget, "reboot.per_day is 0 for %s: it is never rebooted", id)
	case len(earlier) >= s.PerDay:
		return refuse(incident.GuardBudget, "it was rebooted %s in the last 24 hours, as often as reboot.per_day allows, at %s", often(len(earlier)), list(times))
	}
	if reason := b.refuses(id, r.limits, now); reason != "" {
		return refuse(incident.GuardBrake, "%s", reason)
	}

	switch held := i.leased(now); {
	case held && i.holder.ID == r.inc.Execution.ID:
		return nil, nil
	case held:
		return refuse(incident.GuardLease, "this incident's lease has run out, and the execution %s has it now", nameOf(i.holder))
	case i.holder.ID == r.inc.Execution.ID:
		return refuse(incident.GuardLease, "this incident's lease ran out at %s", stamp(i.heldUntil))
	}
	return refuse(incident.GuardLease, "this incident does not have the lease of %s any more", id)
}

// refuses says why the brake is on, or "".
func (b brake) refuses(instanceID string, l Limits, now time.Time) string {
	if l.InFlight <= 0 || l.PerHour <= 0 {
		return incident.BrakeNever
	}
	names := func(all []reboot) string {
		ids := make([]string, 0, len(all))
		for _, r := range all {
			ids = append(ids, r.instance)
		}
		return list(ids)
	}
	flying, silent, hour := b.inFlight(now), b.alsoSilent(instanceID, now), b.lastHour(now)
	switch {
	case len(flying) >= l.InFlight:
		return fmt.Sprintf("the region's brake is on: %d reboots under way (%s), and brake.in_flight allows %d", len(flying), names(flying), l.InFlight)
	case len(flying)+len(silent) >= l.InFlight:
		text := fmt.Sprintf("the region's brake is on: other instances stopped answering within %s, which is more likely our own network (%s)", suspectTime, list(silent))
		if len(flying) > 0 {
			text += fmt.Sprintf("; with %d reboots under way (%s)", len(flying), names(flying))
		}
		return text + fmt.Sprintf(" that is as many as brake.in_flight allows, %d", l.InFlight)
	case len(hour) >= l.PerHour:
		return fmt.Sprintf("the region's brake is on: %d reboots in the last hour (%s), and brake.per_hour allows %d", len(hour), names(hour), l.PerHour)
	}
	return ""
}

// list joins the newest few of what is said in a reason, which stays short.
func list(all []string) string {
	const most = 5
	if more := len(all) - most; more > 0 {
		return fmt.Sprintf("%d more, %s", more, strings.Join(all[more:], ", "))
	}
	return strings.Join(all, ", ")
}

func often(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Cancel takes the execution's reservation back. It is for a caller that got
// none of Reserve's answers against a reboot, and then certainly has not asked
// EC2, or was refused. Without a reservation it does nothing.
func (t *Table) Cancel(ctx context.Context, inc *incident.Incident) error {
	op := "cancel reboot of " + inc.InstanceID
	if err := complete(op, inc); err != nil {
		return err
	}
	k := guardKey(inc.InstanceID)
	return settle(ctx, op, func(ctx context.Context) error {
		items, err := t.read(ctx, op, k, brakeKey)
		if err != nil {
			return err
		}
		i, err := decodeInstance(k, items[k])
		if err != nil {
			return unreadable(op, err)
		}
		b, err := decodeBrake(items[brakeKey])
		if err != nil {
			return unreadable(op, err)
		}
		now := t.now()
		isOwn := func(r reboot) bool { return r.by == inc.Execution.ID }
		var changes []*change
		if slices.ContainsFunc(i.reboots, isOwn) {
			changes = append(changes, changeOf(k, i.version).
				set("reboots", encodeReboots(slices.DeleteFunc(i.recent(now), isOwn))).
				set("expiresAt", seconds(now.Add(keepInstance))))
		}
		if slices.ContainsFunc(b.reboots, isOwn) {
			b.reboots = slices.DeleteFunc(b.reboots, isOwn)
			changes = append(changes, b.change(now))
		}
		if len(changes) == 0 {
			return nil
		}
		return t.transact(ctx, op, changes...)
	})
}
