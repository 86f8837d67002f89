package guard

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

// clockSlack is how far the operator's clock may be ahead of the function's: a
// pause of exactly incident.MaxPause is one at once.
const clockSlack = time.Hour

// PauseRegion pauses the whole region until a time, at most incident.MaxPause
// ahead; an earlier pause of it gives way. by is who asks for it, in words that
// people read. A time that is over or too far ahead is InvalidInput.
func (t *Table) PauseRegion(ctx context.Context, until time.Time, by string) error {
	const op = "pause region"
	now := t.now()
	if !until.After(now) {
		return fault.New(fault.InvalidInput, op, "%s is over; now it is %s", stamp(until), stamp(now))
	}
	if err := tooFar(until, now); err != nil {
		return fault.New(fault.InvalidInput, op, "%w", err)
	}
	return settle(ctx, op, func(ctx context.Context) error {
		i := pauseKey.attributes()
		i["until"], i["since"], i["by"] = seconds(until), number(now.Unix()), text(by)
		_, err := call(ctx, t, op, API.PutItem, &dynamodb.PutItemInput{TableName: &t.Name, Item: i})
		return err
	})
}

// ResumeRegion ends the region's pause. Without one it does nothing.
func (t *Table) ResumeRegion(ctx context.Context) error {
	const op = "resume region"
	return settle(ctx, op, func(ctx context.Context) error {
		_, err := call(ctx, t, op, API.DeleteItem, &dynamodb.DeleteItemInput{TableName: &t.Name, Key: pauseKey.attributes()})
		return err
	})
}

// RegionPause returns the region's pause; nil when there is none, or it is over.
func (t *Table) RegionPause(ctx context.Context) (*incident.Pause, error) {
	const op = "look up pause of region"
	items, err := t.read(ctx, op, pauseKey)
	if err != nil {
		return nil, err
	}
	p, err := decodePause(items[pauseKey], t.now())
	if err != nil {
		return nil, unreadable(op, err)
	}
	return p, nil
}

// decodePause reads the region's pause; nil when there is none, or it is over.
func decodePause(in item, now time.Time) (*incident.Pause, error) {
	if in == nil {
		return nil, nil
	}
	d := &decoder{in: in}
	d.need("until")
	p := &incident.Pause{Until: d.seconds("until"), Scope: incident.PauseRegion, By: d.text("by")}
	if len(d.errs) == 0 {
		if err := tooFar(p.Until, now.Add(clockSlack)); err != nil {
			d.wrong("until", "%w", err)
		}
	}
	if err := d.err(pauseKey); err != nil {
		return nil, fmt.Errorf("%w (firstline resume removes it)", err)
	}
	if !p.Until.After(now) {
		return nil, nil
	}
	return p, nil
}

// PauseFromTag reads the value of an instance's tag incident.PauseTag; "" is no
// such tag. It returns nil without an error when there is no pause: no tag, or
// its time is over. A value that is no RFC 3339 time, or one more than
// incident.MaxPause ahead (and an hour, since clocks differ), is an error: that is
// no pause, but somebody wanted one, so the instance is not to be rebooted either.
func PauseFromTag(value string, now time.Time) (*incident.Pause, error) {
	if value == "" {
		return nil, nil
	}
	until, err := time.Parse(time.RFC3339, strings.TrimSpace(value))
	if err != nil {
		return nil, fmt.Errorf("tag %s: %.100q is not a time such as %s", incident.PauseTag, value, stamp(now.Add(time.Hour).Truncate(time.Hour)))
	}
	until = until.UTC()
	if err := tooFar(until, now.Add(clockSlack)); err != nil {
		return nil, fmt.Errorf("tag %s: %w", incident.PauseTag, err)
	}
	if !until.After(now) {
		return nil, nil
	}
	return &incident.Pause{Until: until, Scope: incident.PauseInstance}, nil
}

func tooFar(until, now time.Time) error {
	if until.Sub(now) <= incident.MaxPause {
		return nil
	}
	return fmt.Errorf("%s is more than %d days ahead; a pause lasts that long at most", stamp(until), incident.MaxPause/(24*time.Hour))
}

// stamp writes a time as people read it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
