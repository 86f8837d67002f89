package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"firstline/internal/incident"
)

// pageLook pages about the look, or has the breaker hold the instance back.
func (d *decider) pageLook(situation, reason string) bool {
	d.out.Severity = d.severity()
	key := d.i.ID
	if d.out.Severity < incident.SeverityDown {
		key = d.l.cause()
	} else {
		isHeld := false
		if m := d.i.Membership; m != nil {
			was := d.r.Alerts[m.Alert].Key
			isHeld = was == KeyBreaker || was == KeyHeld
		}
		why := ""
		if situation != incident.SituationStillDown || d.r.BreakerOpen() { // what was told before opens no breaker
			why = d.breaker()
		}
		if why != "" {
			d.hold(why)
			if isHeld {
				d.out.Situation, d.out.Reason, d.i.Membership.Situation = situation, reason, situation
			}
			return true
		}
		if isHeld { // one page for all whom the breaker held back before a person closed it
			key = KeyHeld
		}
	}
	d.page(key, situation, reason)
	return true
}

// hold makes the instance a member of the breaker's alert.
func (d *decider) hold(why string) bool {
	d.out.Severity = incident.SeverityDown
	d.page(KeyBreaker, incident.SituationHeldBack, "not rebooted, the region's breaker is open: "+why)
	id := d.i.Membership.Alert
	if a := d.r.Alerts[id]; a.Why == "" {
		a.Why = why
		d.r.Alerts[id] = a
	}
	d.out.Alert = d.r.Ref(id)
	return true
}

// page makes the instance a member of the alert with a key. The member is a
// note if that alert is open and has woken somebody within the hour, and since
// it last said that this instance is healthy; else the alert is paged, under a
// new alias.
func (d *decider) page(key, situation, reason string) {
	m, old := d.i.Membership, ""
	if m != nil {
		old = m.Alert
	}
	id := d.r.openAlert(key)
	if id == "" && m != nil && d.r.Alerts[old].Key == key && key == d.i.ID {
		id = old // closed by a person, and paged again
	}
	takenForHealthy := incident.Millis(0) // by people, since then
	switch {
	case m != nil && old == id:
		takenForHealthy = cmp.Or(m.AgainAt, d.i.FailedSince, d.i.UnhealthySince)
	case d.i.ResolvedFrom == id:
		takenForHealthy = d.i.LastResolvedAt
	}
	switch a, ok := d.r.Alerts[id]; {
	case !ok:
		id = d.newAlert(key)
	case a.LastWakeAt == 0 && old != id && d.within(a.WakingAt, waking):
		d.out.Note = true // another one's page is on its way
	case a.LastWakeAt == 0:
		// No pager has confirmed its page: it is sent once more, under its alias.
	case key != d.i.ID && d.within(a.LastWakeAt, joinWithin) && a.LastWakeAt > takenForHealthy:
		d.out.Note = true
	default:
		d.wake(id)
	}
	if old != "" && old != id {
		d.leave("the instance went to another alert", d.r.Alerts[id].Alias)
	}
	a := d.r.Alerts[id]
	if a.Members == nil {
		a.Members = map[string]incident.Millis{}
	}
	a.Members[d.i.ID] = d.now
	d.r.Alerts[id] = a
	d.i.Membership = &Membership{
		Alert: id, Severity: d.out.Severity, Kind: d.l.Kind, Failed: d.l.notPassed(),
		JoinedAt: d.now, ByNote: d.out.Note, Situation: situation, Unsteady: len(d.i.Recoveries) >= unsteady || m != nil && (m.Unsteady || m.Situation == incident.SituationDiedAgain && situation == m.Situation),
	}
	d.needsConfirming = true
	d.out.Alert, d.out.Slack = d.r.Ref(id), true
	d.set(incident.NextPage, situation, reason)
}

// newAlert adds an alert without members.
func (d *decider) newAlert(key string) string {
	id := fmt.Sprintf("%s@%d", key, d.now)
	if d.r.Alerts == nil {
		d.r.Alerts = map[string]Alert{}
	}
	d.r.Alerts[id] = Alert{Key: key, Alias: d.alias(key, d.now, 1), Wake: 1, OpenedAt: d.now, WakingAt: d.now}
	return id
}

// alias names an alert at the pager. The time keeps it apart from an earlier one
// even where the table was lost.
func (d *decider) alias(key string, opened incident.Millis, wake int) string {
	alias := d.in.AliasPrefix + "/" + key + "/" + opened.Time().Format("20060102T150405.000Z")
	if wake > 1 {
		alias += fmt.Sprintf("/%d", wake)
	}
	return alias
}

// wake gives an alert a new alias, under which it wakes somebody again. The old
// one is closed with a pointer.
func (d *decider) wake(id string) {
	a := d.r.Alerts[id]
	a.Old = append(a.Old, OldAlias{a.Alias, a.Pager})
	a.Wake++
	a.Alias, a.Pager = d.alias(a.Key, a.OpenedAt, a.Wake), ""
	a.LastWakeAt, a.ClosedAt, a.NoteAt, a.MentionedAt, a.WakingAt = 0, 0, 0, 0, d.now
	d.r.Alerts[id] = a
	d.out.Alert = d.r.Ref(id)
}

// leave takes the instance out of its alert. An alert without members is to be
// resolved; replacedBy is the alias that takes its place.
func (d *decider) leave(why, replacedBy string) {
	leave(d.i, d.r, d.now, why, replacedBy)
}

func leave(i *Instance, r *Region, now incident.Millis, why, replacedBy string) {
	if i.Membership == nil {
		return
	}
	id := i.Membership.Alert
	i.Membership = nil
	a, ok := r.Alerts[id]
	if !ok {
		return
	}
	delete(a.Members, i.ID)
	if len(a.Members) == 0 {
		a.EndedAt, a.Ended, a.ReplacedBy = now, why, replacedBy
		if a.Key == KeyBreaker && i.HealthySince > 0 && now.Sub(i.HealthySince) >= well {
			r.BreakerResetAt = now // else nothing says that what opened it is over
		}
	}
	r.Alerts[id] = a
}

// breaker says why the region's breaker holds the instance back, or "". Only
// what happened since it last closed opens it.
func (d *decider) breaker() string {
	if id := d.r.openAlert(KeyBreaker); id != "" {
		return cmp.Or(d.r.Alerts[id].Why, "its alert is open")
	}
	since := d.r.BreakerResetAt
	inFlight, lastHour := 0, 0
	var concluded []RegionReboot
	for _, r := range d.r.Reboots {
		if r.At < since {
			continue
		}
		if d.within(r.At, time.Hour) {
			lastHour++
			if r.Outcome == "" {
				inFlight++
			}
		}
		if d.within(r.At, curesMemory) && r.Outcome != "" {
			concluded = append(concluded, r)
		}
	}
	b := d.in.Breaker
	switch {
	case b.InFlight > 0 && inFlight >= b.InFlight:
		return fmt.Sprintf("%d reboots are in flight", inFlight)
	case b.PerHour > 0 && lastHour >= b.PerHour:
		return fmt.Sprintf("%d reboots were made within an hour", lastHour)
	}
	for id, at := range d.r.Silent {
		if id != d.i.ID && at > since && d.within(at, silentMemory) {
			return "another instance fell silent within 10 minutes"
		}
	}
	if n := len(concluded); n >= cures && !slices.ContainsFunc(concluded[n-cures:], func(r RegionReboot) bool { return r.Outcome == incident.OutcomeCured }) {
		return fmt.Sprintf("the last %d reboots cured nothing", cures)
	}
	if o := d.f.Others; !d.l.confirmed() && !d.l.is(incident.CheckRoute53, incident.Failed) && !d.l.ownAnswered() && o.Asked && o.Value.Any && !o.Value.Answered {
		return "no other instance of the region answers us, so our own way may be broken"
	}
	return ""
}

// regionOutcome tells the region what became of a reboot.
func (d *decider) regionOutcome(r *incident.Reboot) {
	for n := range d.r.Reboots {
		if other := &d.r.Reboots[n]; other.Instance == d.i.ID && other.At == r.At {
			other.Outcome = r.Outcome
		}
	}
}
