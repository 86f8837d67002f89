package guard

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/old/incident"
)

// Limits are the region's brake. What is 0 or less means that no instance is
// ever rebooted.
type Limits struct {
	// InFlight is the most reboots whose boot window is open.
	InFlight int
	// PerHour is the most reboots of the last 60 minutes.
	PerHour int
}

const (
	// brakeTime is how long a reboot counts against PerHour, and how long
	// suspects are kept.
	brakeTime = time.Hour
	// suspectTime is how far apart instances may time out "at the same moment":
	// the checks of two incidents that began together may end that far apart.
	suspectTime = 2 * time.Minute
	// maxSuspects bounds their list. It is more than any brake allows, so that
	// what is dropped would have changed nothing.
	maxSuspects = 2000
)

// recent are the reboots that still count.
func (b brake) recent(now time.Time) []reboot {
	return slices.DeleteFunc(slices.Clone(b.reboots), func(r reboot) bool {
		return !r.at.After(now.Add(-brakeTime)) && !r.until.After(now)
	})
}

// lastHour are the reboots that count against PerHour.
func (b brake) lastHour(now time.Time) []reboot {
	return slices.DeleteFunc(slices.Clone(b.reboots), func(r reboot) bool { return !r.at.After(now.Add(-brakeTime)) })
}

// inFlight are the reboots whose boot window is open.
func (b brake) inFlight(now time.Time) []reboot {
	return slices.DeleteFunc(slices.Clone(b.reboots), func(r reboot) bool { return !r.until.After(now) })
}

// recentSuspects has each instance that timed out in the last hour once, with
// its latest time, in the order of these.
func (b brake) recentSuspects(now time.Time) []suspect {
	latest := map[string]time.Time{}
	for _, s := range b.suspects {
		if s.at.After(now.Add(-brakeTime)) && s.at.After(latest[s.instance]) {
			latest[s.instance] = s.at
		}
	}
	var all []suspect
	for instance, at := range latest {
		all = append(all, suspect{at, instance})
	}
	slices.SortFunc(all, func(a, b suspect) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.instance, b.instance))
	})
	return all[max(0, len(all)-maxSuspects):]
}

// alsoSilent are the other instances that timed out lately and are not being
// rebooted.
func (b brake) alsoSilent(instanceID string, now time.Time) []string {
	flying := b.inFlight(now)
	var ids []string
	for _, s := range b.recentSuspects(now) {
		rebooting := slices.ContainsFunc(flying, func(r reboot) bool { return r.instance == s.instance })
		if s.instance != instanceID && !rebooting && s.at.After(now.Add(-suspectTime)) {
			ids = append(ids, s.instance)
		}
	}
	return ids
}

// registered reports whether an instance is known to have timed out just now.
func (b brake) registered(instanceID string, now time.Time) bool {
	return slices.ContainsFunc(b.suspects, func(s suspect) bool {
		return s.instance == instanceID && s.at.After(now.Add(-suspectTime/2))
	})
}

// change writes what still counts.
func (b brake) change(now time.Time) *change {
	return changeOf(brakeKey, b.version).
		set("reboots", encodeReboots(b.recent(now))).
		set("suspects", encodeSuspects(b.recentSuspects(now)))
}

// register adds an instance whose check timed out. In a storm all do so at once:
// they append without a condition, and none has to begin anew. Only what is past
// its time is cleared away on the condition that nobody else writes.
func (t *Table) register(ctx context.Context, op string, b brake, instanceID string, now time.Time) error {
	stale := slices.ContainsFunc(b.suspects, func(s suspect) bool { return !s.at.After(now.Add(-brakeTime)) })
	if stale || len(b.suspects) >= maxSuspects {
		b.suspects = append(b.suspects, suspect{now, instanceID})
		return t.update(ctx, op, b.change(now))
	}
	c := &change{key: brakeKey}
	return t.update(ctx, op, c.
		expr("#suspects = list_append(if_not_exists(#suspects, :none), :one)", item{
			":none": &types.AttributeValueMemberL{Value: []types.AttributeValue{}},
			":one":  encodeSuspects([]suspect{{now, instanceID}}),
		}).
		// Whoever decides on what was there before has to begin anew.
		expr("#version = if_not_exists(#version, :zero) + :step", item{":zero": number(0), ":step": number(1)}))
}

// ClaimBrakePage reports whether this incident's execution is the one that pages
// about the brake: the first in an hour, and the same one again. The others add
// to its page.
func (t *Table) ClaimBrakePage(ctx context.Context, inc *incident.Incident) (first bool, err error) {
	op := "claim page about the brake for " + inc.InstanceID
	if err := named(op, inc); err != nil {
		return false, err
	}
	err = settle(ctx, op, func(ctx context.Context) error {
		now := t.now()
		// No reboot is decided on it, so it has no part in the version.
		c := (&change{key: brakeKey}).
			set("pagedAt", millis(now)).
			set("pagedBy", text(inc.Execution.ID)).
			set("pagedInstance", text(inc.InstanceID)).
			when("attribute_not_exists(#pagedAt) OR #pagedAt <= :hourAgo OR #pagedBy = :pagedBy", item{":hourAgo": millis(now.Add(-brakeTime))})
		err := t.update(ctx, op, c)
		if first = err == nil; refused(err) {
			return nil
		}
		return err
	})
	return first && err == nil, err
}

// refused reports whether the condition of a single write was not met.
func refused(err error) bool {
	_, is := errors.AsType[*types.ConditionalCheckFailedException](err)
	return is
}
