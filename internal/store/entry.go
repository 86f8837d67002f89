package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"firstline/internal/policy"
)

// Entry is an instance and its region as they were loaded, to be changed and
// saved. It is used by one goroutine at a time.
type Entry struct {
	// State may be changed; its Instance.ID may not.
	State policy.State
	// Exists: the instance had an item when it was loaded or last saved.
	Exists bool
	// Record is what Save also writes of the incident, in the same transaction: what
	// is not zero in it, with its looks appended to those that are stored. Evidence
	// stays as it was first written, and a record that does not exist begins with
	// it. nil: nothing. Save takes it away once it is written.
	Record *Record

	id               string // "": the region alone
	instance, region stored
}

// Load reads an instance and its region, strongly consistent, in one request. An
// item that does not exist is the zero value.
func (t *Table) Load(ctx context.Context, instanceID string) (*Entry, error) {
	op := "load state of " + cmp.Or(instanceID, "the region")
	keys := []key{regionKey}
	if instanceID != "" {
		keys = append(keys, instanceKey(instanceID))
	}
	items, err := t.read(ctx, op, keys...)
	if err != nil {
		return nil, err
	}
	e := &Entry{id: instanceID}
	if e.instance, err = t.loadInstance(op, instanceID, items[instanceKey(instanceID)], &e.State.Instance); err != nil {
		return nil, err
	}
	if e.region, err = t.load(op, regionKey, items[regionKey], &e.State.Region); err != nil {
		return nil, err
	}
	e.Exists = e.instance.version > 0
	return e, nil
}

// load decodes an item (nil: there is none) into v.
func (t *Table) load(op string, k key, in item, v any) (s stored, err error) {
	if in != nil {
		if err := t.decode(op, k, in, v); err != nil {
			return stored{}, err
		}
		var ok bool
		if s.version, ok = count(in["version"]); !ok || s.version < 1 {
			return stored{}, t.unreadable(op, k, errors.New("attribute version: missing or not a positive number"))
		}
	}
	s.known, err = marshal(v)
	return s, err
}

func (t *Table) loadInstance(op, id string, in item, i *policy.Instance) (stored, error) {
	i.ID = id
	s, err := t.load(op, instanceKey(id), in, i)
	if err == nil && i.ID != id {
		err = t.unreadable(op, instanceKey(id), fmt.Errorf("attribute id: %q is another instance", i.ID))
	}
	return s, err
}

// Save writes what has changed in the entry since it was loaded or last saved:
// all of it or nothing, and only the attributes that changed. Where nothing has
// changed and there is no Record it makes no call.
//
// ErrChanged: an item that changed here was changed by somebody else as well;
// load it again. After any other error of kind Unavailable the write may have
// been carried out or not.
func (t *Table) Save(ctx context.Context, e *Entry) error {
	op := "save state of " + cmp.Or(e.id, "the region")
	i, instance, err := e.instance.next(instanceKey(e.id), e.State.Instance)
	if err != nil {
		return err
	}
	r, region, err := e.region.next(regionKey, e.State.Region)
	if err != nil {
		return err
	}
	var changes []*change
	for _, c := range []*change{i, r} {
		if c != nil {
			changes = append(changes, c)
		}
	}
	if e.Record != nil {
		c, err := t.recordChange(op, *e.Record)
		if err != nil {
			return err
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil
	}
	if err := t.write(ctx, op, changes...); err != nil {
		return err
	}
	e.instance, e.region, e.Record = instance, region, nil
	e.Exists = instance.version > 0
	return nil
}

// Update loads an instance and its region, has fn change them, and saves them;
// it does so again while others are faster. So fn may be called several times,
// each time with what is stored then. Where it changes nothing, nothing is
// written. An error of fn ends it without a write and is returned as it is. The
// entry is the newest one, as it was saved, or as fn left it.
func (t *Table) Update(ctx context.Context, instanceID string, fn func(*Entry) error) (*Entry, error) {
	var e *Entry
	var stop error
	err := t.settle(ctx, "update state of "+cmp.Or(instanceID, "the region"), func() (err error) {
		if e, err = t.Load(ctx, instanceID); err != nil {
			return err
		}
		if stop = fn(e); stop != nil {
			return nil
		}
		return t.Save(ctx, e)
	})
	return e, cmp.Or(err, stop)
}

// UpdateRegion is Update of the region alone.
func (t *Table) UpdateRegion(ctx context.Context, fn func(*policy.Region) error) error {
	_, err := t.Update(ctx, "", func(e *Entry) error { return fn(&e.State.Region) })
	return err
}

// Listing is all that is stored of a region's instances.
type Listing struct {
	// Instances are those that can be read, by their ids.
	Instances []policy.Instance
	// Unreadable are the errors of the others, by their ids.
	Unreadable map[string]error
	// Region is the zero value where RegionErr says why it cannot be read.
	Region    policy.Region
	RegionErr error
}

// Instances reads all instances and the region, strongly consistent. Items that
// cannot be decoded do not hide the others: the listing names them.
func (t *Table) Instances(ctx context.Context) (*Listing, error) {
	const op = "list instances"
	l := &Listing{Unreadable: map[string]error{}}
	for in, err := range t.query(ctx, op, instancePartition, "i-", false) {
		if err != nil {
			return nil, err
		}
		id := keyOf(in).sk
		var i policy.Instance
		if _, err := t.loadInstance(op, id, in, &i); err != nil {
			l.Unreadable[id] = err
		} else {
			l.Instances = append(l.Instances, i)
		}
	}
	items, err := t.read(ctx, op, regionKey)
	if err != nil {
		return nil, err
	}
	if _, l.RegionErr = t.load(op, regionKey, items[regionKey], &l.Region); l.RegionErr != nil {
		l.Region = policy.Region{}
	}
	return l, nil
}
