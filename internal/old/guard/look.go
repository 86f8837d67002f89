package guard

import (
	"context"
	"time"

	"firstline/internal/old/incident"
)

// Look returns when this execution has reserved its reboot (nil: it has not),
// and the region's pause (nil: there is none). A step that is invoked again asks
// it first, or what it did itself might be what refuses it.
func (t *Table) Look(ctx context.Context, inc *incident.Incident) (own *time.Time, paused *incident.Pause, err error) {
	op := "look up reboot of " + inc.InstanceID
	if err := complete(op, inc); err != nil {
		return nil, nil, err
	}
	k := guardKey(inc.InstanceID)
	items, err := t.read(ctx, op, k, pauseKey)
	if err != nil {
		return nil, nil, err
	}
	i, err := decodeInstance(k, items[k])
	if err != nil {
		return nil, nil, unreadable(op, err)
	}
	if paused, err = decodePause(items[pauseKey], t.now()); err != nil {
		return nil, nil, unreadable(op, err)
	}
	if r := of(i.reboots, inc.Execution.ID); r != nil {
		own = &r.at
	}
	return own, paused, nil
}
