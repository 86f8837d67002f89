package guard

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

// Open takes the instance's lease for the incident's execution until the given
// time, and begins its record. The incident must have its instance, its
// execution and EventAt.
//
// handledBy is not nil where there is nothing to do: another execution has the
// lease, or has opened an incident for this event or a later one. One that never
// closed it may be dead, which the table does not know: ended is asked about it,
// once at most, and where it is certain that the execution is over, its lease and
// what it has handled count for nothing. (Its reboots do.) nil is nobody to ask.
//
// paused is the
// region's pause, if there is one. An execution that has opened its incident
// before gets the same answer and changes nothing, whether it has its lease still
// or not: what it has closed stays closed, or nobody would close it again. A dry
// incident only reads: it neither takes a lease nor heeds a pause.
//
// After an error the incident may have its lease or not: call Open again, or
// page. A record that cannot be written is none: Close writes it anyway.
func (t *Table) Open(ctx context.Context, inc *incident.Incident, until time.Time, ended func(context.Context, incident.Execution) bool) (handledBy *incident.Execution, paused *incident.Pause, err error) {
	op := "open incident of " + inc.InstanceID
	if err := complete(op, inc); err != nil {
		return nil, nil, err
	}
	if inc.EventAt.IsZero() {
		return nil, nil, fault.New(fault.InvalidInput, op, "incident.eventAt: missing; without it a new event cannot be told from one that was handled")
	}
	k := guardKey(inc.InstanceID)
	var asked, dead string
	err = settle(ctx, op, func(ctx context.Context) error {
		handledBy, paused = nil, nil
		items, err := t.read(ctx, op, k, pauseKey)
		if err != nil {
			return err
		}
		now := t.now()
		i, err := decodeInstance(k, items[k])
		if err != nil {
			return unreadable(op, err)
		}
		pause, err := decodePause(items[pauseKey], now)
		switch {
		case err != nil:
			return unreadable(op, err)
		case inc.Dry:
			return nil
		}
		if handledBy = i.handled(now, inc); handledBy != nil {
			unclosed := handledBy.ID == i.holder.ID
			if unclosed && asked == "" && ended != nil {
				if asked = handledBy.ID; ended(ctx, *handledBy) {
					dead = asked
				}
			}
			if !unclosed || handledBy.ID != dead {
				return nil
			}
			handledBy = nil
		}
		paused = pause
		if i.handledBy.ID == inc.Execution.ID {
			return nil
		}
		return t.update(ctx, op, take(k, i, inc, now, until, dead))
	})
	if err != nil || handledBy != nil || inc.Dry {
		return handledBy, nil, err
	}
	if err := t.begin(ctx, op, inc, until); err != nil {
		// No guard: an incident that has its lease goes on without it.
		t.log(ctx, "the record of an incident could not be begun", slog.String("instance", inc.InstanceID), slog.String("execution", nameOf(inc.Execution)), slog.String("error", Words(err)))
	}
	return nil, paused, nil
}

// leased reports whether anybody has the instance's lease.
func (i instance) leased(now time.Time) bool {
	return i.holder.ID != "" && i.heldUntil.After(now)
}

// handled returns the other execution that handles the incident's event already,
// or has handled it.
func (i instance) handled(now time.Time, inc *incident.Incident) *incident.Execution {
	own := inc.Execution.ID
	switch {
	case i.leased(now) && i.holder.ID != own:
		return &i.holder
	case i.handledBy.ID == "" || i.handledBy.ID == own:
		return nil
	// The table knows milliseconds.
	case !inc.EventAt.Truncate(time.Millisecond).After(i.handledAt):
		return &i.handledBy
	}
	return nil
}

// take makes the execution the holder of a lease that nobody has, or that is
// dead's. Of several that find the same one dead, the first to write has it: the
// others find it there.
func take(k key, i instance, inc *incident.Incident, now, until time.Time, dead string) *change {
	// An event from the future must not make those to come look handled.
	handledAt := inc.EventAt
	if handledAt.After(now) {
		handledAt = now
	}
	c := changeOf(k, i.version).
		set("heldUntil", seconds(until)).
		set("handledAt", millis(handledAt)).
		set("expiresAt", seconds(now.Add(keepInstance))).
		when("attribute_not_exists(#holder) OR #heldUntil <= :now OR #holder IN (:holder, :dead)", item{":now": number(now.Unix()), ":dead": text(cmp.Or(dead, inc.Execution.ID))})
	for _, name := range []string{"holder", "handledBy"} {
		c.set(name, text(inc.Execution.ID)).
			set(name+"Name", text(nameOf(inc.Execution))).
			set(name+"StartedAt", millis(inc.Execution.StartedAt))
	}
	return c
}

// Close ends what the incident's execution holds: its lease, and its reboot's
// place among those in flight. What passed in it becomes the baseline (see
// Learn), and its record gets its end. Nothing of others' is touched, be it
// that another execution has the lease by now, and a record that has ended keeps
// its end, so that Close can be called again. Each is tried even where another
// could not be done.
//
// Of an incident without an instance only the record is written. A dry incident
// has no lease; it has a record, and what passed in it counts.
func (t *Table) Close(ctx context.Context, inc *incident.Incident, end string) error {
	op := "close incident of " + inc.InstanceID
	if inc.InstanceID == "" {
		op = "close incident"
	}
	if err := named(op, inc); err != nil {
		return err
	}
	// At once, so that a table that hangs takes the time of one call.
	errs := make([]error, 3)
	var wg sync.WaitGroup
	if incident.ValidInstanceID(inc.InstanceID) {
		wg.Go(func() { errs[0] = t.release(ctx, op, inc) })
		wg.Go(func() { errs[1] = t.land(ctx, op, inc) })
	}
	errs[2] = t.finish(ctx, op, inc, end)
	wg.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	// One that may pass speaks for all: Close is to be called again.
	kind := fault.KindOf(errs[0])
	if slices.ContainsFunc(errs, func(err error) bool { return fault.KindOf(err) == fault.Unavailable }) {
		kind = fault.Unavailable
	}
	return &fault.Error{Kind: kind, Err: errors.Join(errs...)}
}

// release ends the lease, if the execution has it, and learns.
func (t *Table) release(ctx context.Context, op string, inc *incident.Incident) error {
	k := guardKey(inc.InstanceID)
	return settle(ctx, op, func(ctx context.Context) error {
		items, err := t.read(ctx, op, k)
		if err != nil {
			return err
		}
		i, err := decodeInstance(k, items[k])
		if err != nil {
			return unreadable(op, err)
		}
		now := t.now()
		c := changeOf(k, i.version)
		held := i.holder.ID == inc.Execution.ID
		if held {
			c.remove("holder", "holderName", "holderStartedAt", "heldUntil").
				when("#holder = :own", item{":own": text(inc.Execution.ID)})
		}
		learned, err := i.learn(op, inc, now)
		if err != nil {
			return err
		}
		if learned {
			c.set("baseline", encodeBaseline(i.baseline))
		}
		if !held && !learned {
			return nil
		}
		return t.update(ctx, op, c.set("expiresAt", seconds(now.Add(keepInstance))))
	})
}

// land takes the execution's reboot out of those in flight.
func (t *Table) land(ctx context.Context, op string, inc *incident.Incident) error {
	return settle(ctx, op, func(ctx context.Context) error {
		items, err := t.read(ctx, op, guardKey(inc.InstanceID), brakeKey)
		if err != nil {
			return err
		}
		b, err := decodeBrake(items[brakeKey])
		if err != nil {
			return unreadable(op, err)
		}
		now := t.now()
		own := of(b.reboots, inc.Execution.ID)
		if own == nil || !own.until.After(now) {
			return nil
		}
		own.until = now
		return t.update(ctx, op, b.change(now))
	})
}

// State is what a sweep must know of an instance.
type State struct {
	// Open says that an execution has the instance's lease, and Holder which.
	Open   bool
	Holder incident.Execution
	// PagedAt is when somebody was last paged about it; the zero time is never.
	PagedAt time.Time
	// Alias is the pager's alias of that page, and Pager the pager that took it; ""
	// where an older version of the function sent it.
	Alias, Pager string
	// Err is why the instance's item cannot be read; the rest is then what could
	// be. An incident that is started for it pages, since it cannot be opened.
	Err error
}

// Standing returns what a sweep must know of each of the instances, and the
// region's pause (nil: there is none). An instance that the table does not know
// has the zero State.
func (t *Table) Standing(ctx context.Context, instanceIDs []string) (map[string]State, *incident.Pause, error) {
	const op = "look up standing alarms"
	keys := []key{pauseKey}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(instanceIDs))) {
		if !incident.ValidInstanceID(id) {
			return nil, nil, fault.New(fault.InvalidInput, op, "%q is not an instance id such as i-0c1cbf2e7abdedf75", id)
		}
		keys = append(keys, guardKey(id))
	}
	items, err := t.read(ctx, op, keys...)
	if err != nil {
		return nil, nil, err
	}
	now := t.now()
	pause, err := decodePause(items[pauseKey], now)
	if err != nil {
		return nil, nil, unreadable(op, err)
	}
	states := map[string]State{}
	for _, id := range instanceIDs {
		k := guardKey(id)
		i, err := decodeInstance(k, items[k])
		if err != nil {
			err = unreadable(op, err)
		}
		states[id] = State{Open: i.leased(now), PagedAt: i.pagedAt, Alias: i.pageAlias, Pager: i.pagePager, Err: err}
		if s := states[id]; s.Open {
			s.Holder = i.holder
			states[id] = s
		}
	}
	return states, pause, nil
}

// Paged remembers that somebody was paged about the incident's instance now,
// under an alias of a pager. Of an incident without an instance there is nothing
// to remember.
func (t *Table) Paged(ctx context.Context, inc *incident.Incident, alias, pager string) error {
	if !incident.ValidInstanceID(inc.InstanceID) {
		return nil
	}
	op := "remember page of " + inc.InstanceID
	return settle(ctx, op, func(ctx context.Context) error {
		now := t.now()
		// Nothing is decided on it, so it has no part in the version.
		c := &change{key: guardKey(inc.InstanceID)}
		return t.update(ctx, op, c.set("pagedAt", millis(now)).set("pageAlias", text(alias)).set("pagePager", text(pager)).
			set("expiresAt", seconds(now.Add(keepInstance))))
	})
}
