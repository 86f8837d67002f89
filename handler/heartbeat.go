package handler

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/notify"
)

// pingTime bounds a ping of the heartbeat.
const pingTime = 10 * time.Second

// Heartbeat tells a service outside of AWS that firstline is at work here.
type Heartbeat interface {
	// Ping says that all is well or, with a failure, what is not.
	Ping(ctx context.Context, failure error) error
	Test(ctx context.Context, m notify.Message) (notify.Delivery, error)
}

// ping tells the heartbeat how reconcile has ended, and has the table remember it. A ping
// that fails does not fail the step: silence is the alarm.
func (r *reconciling) ping(ctx context.Context, failure error) {
	if r.h.Heartbeat == nil {
		if r.stored != nil && r.stored.Region.Heartbeat != (policy.Heartbeat{}) { // one that was set before
			r.pinged(ctx, func(h *policy.Heartbeat) { *h = policy.Heartbeat{} })
		}
		return
	}
	err := r.pingOnce(ctx, failure)
	if err != nil {
		r.h.warn(ctx, "cannot ping the heartbeat", "", err)
		r.h.count(ctx, metricHeartbeatFailures, r.inc)
	}
	r.pinged(ctx, func(h *policy.Heartbeat) {
		if why := cmp.Or(failure, err); why != nil {
			if text := incident.ClipLine(redact.Error(why), maxWhy); h.Failure != text {
				h.Failure, h.FailedAt = text, incident.At(time.Now())
			}
			return
		}
		*h = policy.Heartbeat{PingedAt: incident.At(time.Now())}
	})
}

func (r *reconciling) pingOnce(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	b, err := r.h.Heartbeat()
	if err != nil {
		return err
	}
	return b.Ping(ctx, failure)
}

func (r *reconciling) pinged(ctx context.Context, change func(*policy.Heartbeat)) {
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	err := r.h.Table.UpdateRegion(ctx, func(stored *policy.Region) error {
		change(&stored.Heartbeat)
		return nil
	})
	if err != nil {
		r.h.warn(ctx, "cannot store that the heartbeat was pinged", "", err)
	}
}

// channels is the answer of the step channels.
type channels struct {
	At incident.Millis `json:"at"`
	// Heartbeat is nil where there is none.
	Heartbeat *policy.Heartbeat `json:"heartbeat,omitempty"`
	// Alerts are the aliases of the alerts that are open as far as is known, by the
	// pager that has them.
	Alerts map[string][]string `json:"alerts"`
}

// tellChannels tells what is stored of the heartbeat and of the pagers' alerts, for the
// operator's command.
func tellChannels(ctx context.Context, h *Handler, _ request) (any, error) {
	e, err := h.Table.Load(ctx, "")
	if err != nil {
		return nil, err
	}
	c := &channels{At: incident.At(time.Now()), Alerts: map[string][]string{}}
	if h.Heartbeat != nil {
		c.Heartbeat = &e.State.Region.Heartbeat
	}
	alerts := e.State.Region.Alerts
	for _, id := range slices.Sorted(maps.Keys(alerts)) {
		at := alerts[id].Old
		if a := alerts[id]; a.ClosedAt == 0 {
			at = append(slices.Clone(at), policy.OldAlias{Alias: a.Alias, Pager: a.Pager})
		}
		for _, o := range at {
			if o.Pager != "" {
				c.Alerts[o.Pager] = append(c.Alerts[o.Pager], o.Alias)
			}
		}
	}
	return c, nil
}
