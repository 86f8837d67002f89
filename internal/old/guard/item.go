package guard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/old/incident"
)

// item is one of the table's, by the names of its attributes.
type item map[string]types.AttributeValue

// key is the key of an item.
type key struct{ pk, sk string }

// The keys of the region's own items.
var (
	brakeKey = key{"region", "brake"}
	pauseKey = key{"region", "pause"}
)

// Partitions that hold an item an execution.
const (
	incidentPartition = "incident"
	evidencePartition = "evidence"
)

func guardKey(instanceID string) key { return key{"instance#" + instanceID, "guard"} }

func (k key) String() string { return k.pk + "/" + k.sk }

func (k key) attributes() item { return item{"pk": text(k.pk), "sk": text(k.sk)} }

// The values of attributes.

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func boolean(b bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: b} }

// maxMillis is the end of the year 9999, after which no time can be written in
// JSON.
var maxMillis = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMilli()

// millis writes a time that millis reads again: none before 1970, such as the
// zero time.
func millis(t time.Time) types.AttributeValue {
	return number(min(max(t.UnixMilli(), 0), maxMillis))
}

// seconds is millis in seconds. It rounds up: what ends then has not ended
// before.
func seconds(t time.Time) types.AttributeValue {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return number(min(max(s, 0), maxMillis/1000))
}

// decoder reads an item and keeps what is wrong with it. What is missing reads
// as the zero value; what has the wrong type or cannot be is an error.
type decoder struct {
	in   item
	errs []error
	// at is where in the item it reads, as in "reboots[2].".
	at string
}

func (d *decoder) wrong(name, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s%s: %w", d.at, name, fmt.Errorf(format, args...)))
}

// err is what was wrong, with what can be done about it.
func (d *decoder) err(k key) error {
	if len(d.errs) == 0 {
		return nil
	}
	return fmt.Errorf("the item %s cannot be read, put it right or delete it: %w", k, errors.Join(d.errs...))
}

func (d *decoder) text(name string) string {
	switch v := d.in[name].(type) {
	case nil:
	case *types.AttributeValueMemberS:
		return v.Value
	default:
		d.wrong(name, "got %s, want a text", kindOf(v))
	}
	return ""
}

func (d *decoder) boolean(name string) bool {
	switch v := d.in[name].(type) {
	case nil:
	case *types.AttributeValueMemberBOOL:
		return v.Value
	default:
		d.wrong(name, "got %s, want true or false", kindOf(v))
	}
	return false
}

// count reads a whole number that is not negative.
func (d *decoder) count(name string) int64 {
	switch v := d.in[name].(type) {
	case nil:
	case *types.AttributeValueMemberN:
		n, err := strconv.ParseInt(v.Value, 10, 64)
		if err != nil || n < 0 {
			d.wrong(name, "got %.40q, want a whole number", v.Value)
			return 0
		}
		return n
	default:
		d.wrong(name, "got %s, want a number", kindOf(v))
	}
	return 0
}

// millis reads a time in milliseconds since 1970; the zero time is none.
func (d *decoder) millis(name string) time.Time { return d.instant(name, 1) }

// seconds reads a time in seconds since 1970; the zero time is none.
func (d *decoder) seconds(name string) time.Time { return d.instant(name, 1000) }

func (d *decoder) instant(name string, unit int64) time.Time {
	if d.in[name] == nil {
		return time.Time{}
	}
	before := len(d.errs)
	n := d.count(name)
	switch {
	case len(d.errs) > before:
		return time.Time{}
	case n > maxMillis/unit:
		d.wrong(name, "%d is no time of ours", n)
		return time.Time{}
	}
	return time.UnixMilli(n * unit).UTC()
}

// rfc3339 reads a time that is written as people do; the zero time is none.
func (d *decoder) rfc3339(name string) time.Time {
	s := d.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d.wrong(name, "%.40q is not a time such as 2026-11-22T10:00:00Z", s)
		return time.Time{}
	}
	return t.UTC()
}

// list reads a list of maps, each with its own decoder.
func (d *decoder) list(name string, each func(*decoder)) {
	switch v := d.in[name].(type) {
	case nil:
	case *types.AttributeValueMemberL:
		for n, entry := range v.Value {
			d.entry(fmt.Sprintf("%s[%d]", name, n), entry, each)
		}
	default:
		d.wrong(name, "got %s, want a list", kindOf(v))
	}
}

// dict reads a map of maps.
func (d *decoder) dict(name string, each func(key string, d *decoder)) {
	switch v := d.in[name].(type) {
	case nil:
	case *types.AttributeValueMemberM:
		for _, key := range slices.Sorted(maps.Keys(v.Value)) {
			d.entry(fmt.Sprintf("%s.%.40s", name, key), v.Value[key], func(d *decoder) { each(key, d) })
		}
	default:
		d.wrong(name, "got %s, want a map", kindOf(v))
	}
}

func (d *decoder) entry(at string, v types.AttributeValue, each func(*decoder)) {
	m, ok := v.(*types.AttributeValueMemberM)
	if !ok {
		d.wrong(at, "got %s, want a map", kindOf(v))
		return
	}
	inner := &decoder{in: m.Value, at: d.at + at + "."}
	each(inner)
	d.errs = append(d.errs, inner.errs...)
}

// need complains about attributes that are not there.
func (d *decoder) need(names ...string) {
	for _, name := range names {
		if d.in[name] == nil {
			d.wrong(name, "missing")
		}
	}
}

// both complains where of two attributes there is one only.
func (d *decoder) both(a, b string) {
	if (d.in[a] == nil) != (d.in[b] == nil) {
		d.wrong(a, "is there without %s, or that without it", b)
	}
}

func kindOf(v types.AttributeValue) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case *types.AttributeValueMemberS:
		return "a text"
	case *types.AttributeValueMemberN:
		return "a number"
	case *types.AttributeValueMemberBOOL:
		return "true or false"
	case *types.AttributeValueMemberL:
		return "a list"
	case *types.AttributeValueMemberM:
		return "a map"
	case *types.AttributeValueMemberNULL:
		return "null"
	}
	return "another type"
}

// instance is what the table knows of an instance.
type instance struct {
	// holder has the lease until heldUntil; without one its ID is empty.
	holder    incident.Execution
	heldUntil time.Time
	// handledAt is the time of the latest event that opened an incident, and
	// handledBy the execution that it opened.
	handledAt time.Time
	handledBy incident.Execution
	// reboots are those of the last 24 hours, and what was reserved as one.
	reboots []reboot
	// baseline is, by check, with which settings it passed last.
	baseline  map[string]pass
	pagedAt   time.Time
	pageAlias string
	pagePager string
	// version counts the changes that decisions depend on.
	version int64
}

// reboot is one that was made or reserved.
type reboot struct {
	at time.Time
	// by is the ARN of the execution.
	by string
	// claim is a random word of the very call that reserved it.
	claim string
	// instance and until, which ends its boot window, are of the brake's.
	instance string
	until    time.Time
}

// pass is the last time that a check passed.
type pass struct {
	hash string
	at   time.Time
}

// execution reads one that is stored under a name, with its own name and start
// beside it.
func (d *decoder) execution(name string) incident.Execution {
	return incident.Execution{ID: d.text(name), Name: d.text(name + "Name"), StartedAt: d.millis(name + "StartedAt")}
}

// decodeInstance reads an instance's item; nil is one that does not exist. What
// could be read is there beside an error too.
func decodeInstance(k key, in item) (instance, error) {
	d := &decoder{in: in}
	i := instance{
		holder:    d.execution("holder"),
		heldUntil: d.seconds("heldUntil"),
		handledAt: d.millis("handledAt"),
		handledBy: d.execution("handledBy"),
		reboots:   d.reboots(false),
		pagedAt:   d.millis("pagedAt"),
		pageAlias: d.text("pageAlias"),
		pagePager: d.text("pagePager"),
		version:   d.count("version"),
	}
	// Half of a pair decides nothing.
	d.both("holder", "heldUntil")
	d.both("handledBy", "handledAt")
	if d.in["holder"] != nil && i.holder.ID == "" {
		d.wrong("holder", "is empty")
	}
	d.dict("baseline", func(check string, d *decoder) {
		d.need("hash", "at")
		if i.baseline == nil {
			i.baseline = map[string]pass{}
		}
		i.baseline[check] = pass{d.text("hash"), d.millis("at")}
	})
	return i, d.err(k)
}

func (d *decoder) reboots(ofRegion bool) []reboot {
	var all []reboot
	d.list("reboots", func(d *decoder) {
		d.need("at", "by")
		if ofRegion {
			d.need("instance", "until")
		}
		all = append(all, reboot{d.millis("at"), d.text("by"), d.text("claim"), d.text("instance"), d.millis("until")})
	})
	return all
}

// of returns the reboot that an execution has reserved, or nil.
func of(reboots []reboot, execution string) *reboot {
	if n := slices.IndexFunc(reboots, func(r reboot) bool { return r.by == execution }); n >= 0 {
		return &reboots[n]
	}
	return nil
}

func encodeReboots(all []reboot) types.AttributeValue {
	l := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
	for _, r := range all {
		m := item{"at": millis(r.at), "by": text(r.by)}
		if r.claim != "" {
			m["claim"] = text(r.claim)
		}
		if r.instance != "" {
			m["instance"] = text(r.instance)
		}
		if !r.until.IsZero() {
			m["until"] = millis(r.until)
		}
		l.Value = append(l.Value, &types.AttributeValueMemberM{Value: m})
	}
	return l
}

func encodeBaseline(all map[string]pass) types.AttributeValue {
	m := item{}
	for check, p := range all {
		m[check] = &types.AttributeValueMemberM{Value: item{"hash": text(p.hash), "at": millis(p.at)}}
	}
	return &types.AttributeValueMemberM{Value: m}
}

// brake is what the table knows of the region.
type brake struct {
	// reboots are those of the last hour and those in flight.
	reboots []reboot
	// suspects are instances whose checks timed out in the last hour.
	suspects []suspect
	version  int64
}

type suspect struct {
	at       time.Time
	instance string
}

func decodeBrake(in item) (brake, error) {
	d := &decoder{in: in}
	b := brake{reboots: d.reboots(true), version: d.count("version")}
	d.list("suspects", func(d *decoder) {
		d.need("at", "instance")
		b.suspects = append(b.suspects, suspect{d.millis("at"), d.text("instance")})
	})
	return b, d.err(brakeKey)
}

func encodeSuspects(all []suspect) types.AttributeValue {
	l := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
	for _, s := range all {
		l.Value = append(l.Value, &types.AttributeValueMemberM{Value: item{"at": millis(s.at), "instance": text(s.instance)}})
	}
	return l
}
