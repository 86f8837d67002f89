package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
)

// Entry is an instance and its region as they were loaded, to be changed and
// saved. It is used by one goroutine at a time.
type Entry struct {
	// State may be changed; its Instance.ID may not.
	State policy.State
	// Exists: the instance had an item when it was loaded or last saved.
	Exists bool
	// Record is what Save also writes of the incident, in the same transaction;
	// nil: nothing. Save takes it away once it is written.
	Record *RecordUpdate

	id               string
	instance, region loaded
}

// Load reads an instance and its region, strongly consistent, in one request. An
// item that does not exist is the zero value.
func (t *Table) Load(ctx context.Context, instanceID string) (*Entry, error) {
	op := "load state of " + instanceID
	if !incident.ValidInstanceID(instanceID) {
		return nil, fault.New(fault.InvalidInput, "load state", "%q is not an instance id such as i-0c1cbf2e7abdedf75", instanceID)
	}
	k := instanceKey(instanceID)
	items, err := t.read(ctx, op, k, regionKey)
	if err != nil {
		return nil, err
	}
	e := &Entry{id: instanceID}
	e.State.Instance.ID = instanceID
	if e.instance, err = load(t, op, k, items[k], &e.State.Instance); err != nil {
		return nil, err
	}
	if e.State.Instance.ID != instanceID {
		return nil, t.unreadable(op, k, fmt.Errorf("attribute id: %q is another instance", e.State.Instance.ID))
	}
	if e.region, err = load(t, op, regionKey, items[regionKey], &e.State.Region); err != nil {
		return nil, err
	}
	e.Exists = e.instance.version > 0
	return e, nil
}

// load decodes an item (nil: there is none) into v.
func load(t *Table, op string, k key, in item, v any) (loaded, error) {
	var l loaded
	var err error
	if in == nil {
		l.stored, err = marshal(v)
		return l, err
	}
	if l.version, err = t.decode(op, k, in, v); err != nil {
		return loaded{}, err
	}
	// What is not of v is written by changeOf, or never.
	for _, name := range []string{"pk", "sk", "schema", "version"} {
		delete(in, name)
	}
	l.stored = in
	return l, nil
}

// Save writes what has changed in the entry since it was loaded or last saved:
// all of it or nothing, and only the attributes that changed. Where nothing has
// changed and there is no Record it makes no call.
//
// ErrChanged: an item that changed here was changed by somebody else as well;
// load it again. After any other error of kind Unavailable the write may have
// been carried out or not.
func (t *Table) Save(ctx context.Context, e *Entry) error {
	op := "save state of " + e.id
	if e.id == "" || e.State.Instance.ID != e.id {
		return fault.New(fault.Internal, op, "the entry of %q was not loaded, or its id was changed", e.State.Instance.ID)
	}
	i, instance, err := e.instance.next(instanceKey(e.id), e.State.Instance)
	if err != nil {
		return err
	}
	r, region, err := e.region.next(regionKey, e.State.Region)
	if err != nil {
		return err
	}
	changes := slices.DeleteFunc([]*change{i, r}, func(c *change) bool { return c == nil })
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
// each time with what is stored then. An error of fn ends it without a write and
// is returned as it is; ErrKeep ends it without an error. The entry is the newest
// one, as it was saved, or as fn left it.
func (t *Table) Update(ctx context.Context, instanceID string, fn func(*Entry) error) (*Entry, error) {
	var e *Entry
	var stop error
	err := t.settle(ctx, "update state of "+instanceID, func() (err error) {
		if e, err = t.Load(ctx, instanceID); err != nil {
			return err
		}
		if stop = fn(e); stop != nil {
			return nil
		}
		return t.Save(ctx, e)
	})
	if err == nil && !errors.Is(stop, ErrKeep) {
		err = stop
	}
	return e, err
}

// UpdateRegion is Update of the region alone.
func (t *Table) UpdateRegion(ctx context.Context, fn func(*policy.Region) error) error {
	const op = "update region"
	var stop error
	err := t.settle(ctx, op, func() error {
		var region policy.Region
		items, err := t.read(ctx, op, regionKey)
		if err != nil {
			return err
		}
		was, err := load(t, op, regionKey, items[regionKey], &region)
		if err != nil {
			return err
		}
		if stop = fn(&region); stop != nil {
			return nil
		}
		c, _, err := was.next(regionKey, region)
		if err != nil || c == nil {
			return err
		}
		return t.write(ctx, op, c)
	})
	if err == nil && !errors.Is(stop, ErrKeep) {
		err = stop
	}
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
	in := &dynamodb.QueryInput{
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": "pk"},
		ExpressionAttributeValues: item{":pk": text(instancePartition)},
	}
	err := t.query(ctx, op, in, func(in item) bool {
		k := keyOf(in)
		i := policy.Instance{ID: k.sk}
		_, err := t.decode(op, k, in, &i)
		if err == nil && i.ID != k.sk {
			err = t.unreadable(op, k, fmt.Errorf("attribute id: %q is another instance", i.ID))
		}
		if err != nil {
			l.Unreadable[k.sk] = err
		} else {
			l.Instances = append(l.Instances, i)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	items, err := t.read(ctx, op, regionKey)
	if err != nil {
		return nil, err
	}
	if _, err := load(t, op, regionKey, items[regionKey], &l.Region); err != nil {
		l.Region, l.RegionErr = policy.Region{}, err
	}
	return l, nil
}
