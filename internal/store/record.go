package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
)

// Record is what the table keeps of an incident for 90 days.
type Record struct {
	// ID is the name of its execution, Execution the execution's ARN. With
	// StartedAt, ID is its key.
	ID        string          `json:"id"`
	Execution string          `json:"execution,omitempty"`
	StartedAt incident.Millis `json:"started_at"`

	// What it began with. The first write of each stays.
	InstanceID string             `json:"instance_id,omitempty"`
	Name       string             `json:"name,omitempty"`
	Region     string             `json:"region,omitempty"`
	Trigger    string             `json:"trigger,omitempty"`
	Dry        bool               `json:"dry,omitempty"`
	Alarm      *incident.Alarm    `json:"alarm,omitempty"`
	Settings   *incident.Settings `json:"settings,omitempty"`

	// EndedAt is 0 while it is open, and End says how it ended. The first write
	// of each stays.
	EndedAt incident.Millis `json:"ended_at,omitempty"`
	End     string          `json:"end,omitempty"`

	// What came of it. The newest write of each stays; a zero value writes none.
	//
	// LeaseUntil is when its lease ends: an execution that has not closed its
	// record by then has died, or lost its lease.
	LeaseUntil incident.Millis            `json:"lease_until,omitempty"`
	Told       bool                       `json:"told,omitempty"`
	Paged      *incident.Paged            `json:"paged,omitempty"`
	Reboot     *incident.Reboot           `json:"reboot,omitempty"`
	Thread     *incident.Thread           `json:"thread,omitempty"`
	HeldBy     string                     `json:"held_by,omitempty"`
	Suppressed []incident.Suppressed      `json:"suppressed,omitempty"`
	Caught     map[string]incident.Caught `json:"caught,omitempty"`

	// Looks are those that it has decided on, in order. They are appended, never
	// written as a whole: see RecordUpdate.
	Looks []LookRecord `json:"looks,omitempty"`
}

// LookRecord is what one look saw and what was decided on it.
type LookRecord struct {
	Look        int               `json:"look"`
	At          incident.Millis   `json:"at"`
	Verdict     incident.Verdict  `json:"verdict,omitempty"`
	Kind        incident.Kind     `json:"kind,omitempty"`
	Row         int               `json:"row,omitempty"`
	Next        string            `json:"next,omitempty"`
	WaitSeconds int               `json:"wait_seconds,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Confirming  string            `json:"confirming,omitempty"`
	Situation   string            `json:"situation,omitempty"`
	Guard       string            `json:"guard,omitempty"`
	Findings    []FindingOfRecord `json:"findings,omitempty"`
}

// FindingOfRecord is a finding in few bytes.
type FindingOfRecord struct {
	Check     string           `json:"check"`
	Outcome   incident.Outcome `json:"outcome"`
	Kind      incident.Kind    `json:"kind,omitempty"`
	Reason    string           `json:"reason,omitempty"`
	Attempts  int              `json:"attempts,omitempty"`
	ElapsedMs int64            `json:"elapsed_ms,omitempty"`
	At        incident.Millis  `json:"at,omitempty"`
}

// RecordUpdate is what is written of an incident: attributes of its record, and
// a look that is appended to it. Record must have ID and StartedAt; its Looks are
// not used. A record that does not exist begins with it.
type RecordUpdate struct {
	Record Record
	// Look is appended; nil: none. Written twice it is read once.
	Look *LookRecord
}

const (
	// keepRecord is how long a record is kept after it was last written. DynamoDB
	// deletes it at some time after that.
	keepRecord = 90 * 24 * time.Hour
	// Texts in a record are cut to these lengths, in bytes, so that 200 looks
	// (incident.MaxLooks) stay well below DynamoDB's 400 KB an item.
	maxReason        = 300
	maxFindingReason = 160
	maxCause         = 1000
	maxName          = 256
	// maxSuppressed is how many suppressed actions a record keeps, the newest.
	maxSuppressed = 40
)

// RecordOf returns the record of an incident, without its looks and without the
// settings, which whoever begins it adds.
func RecordOf(inc *incident.Incident) Record {
	r := Record{
		ID: nameOf(inc.Execution), Execution: inc.Execution.ID, StartedAt: incident.At(inc.Execution.StartedAt),
		InstanceID: inc.InstanceID, Name: inc.Name, Region: inc.Region, Trigger: inc.Trigger, Dry: inc.Dry,
		Alarm: inc.Alarm,
		Told:  inc.Told, Paged: inc.Paged, Thread: inc.Thread, Suppressed: inc.Suppressed, Caught: inc.Caught,
	}
	if inc.HeldBy != nil {
		r.HeldBy = inc.HeldBy.ID
	}
	return r
}

// LookOf returns the record of the look that a decision was made on.
func LookOf(d *incident.Decision) *LookRecord {
	l := &LookRecord{
		Look: d.Look, At: d.At, Verdict: d.Verdict, Kind: d.Kind, Row: d.Row, Next: d.Next, WaitSeconds: d.WaitSeconds,
		Reason: d.Reason, Confirming: d.Confirming, Situation: d.Situation, Guard: d.Guard,
	}
	for _, f := range d.Findings {
		l.Findings = append(l.Findings, FindingOfRecord{f.Check, f.Outcome, f.Kind, f.Reason, f.Attempts, f.ElapsedMs, f.At})
	}
	return l
}

// Unconcluded reports whether a record is open though its execution must have
// ended: its lease has run out.
func (r Record) Unconcluded(now time.Time) bool {
	return r.EndedAt == 0 && r.LeaseUntil != 0 && r.LeaseUntil <= incident.At(now)
}

// nameOf is an execution's name, which its ARN ends with.
func nameOf(e incident.Execution) string {
	if e.Name != "" {
		return e.Name
	}
	return e.ID[strings.LastIndex(e.ID, ":")+1:]
}

// sortable is a time whose text sorts as it does.
const sortable = "2006-01-02T15:04:05.000Z"

func sortableTime(t time.Time) string { return t.UTC().Format(sortable) }

// recordSort is the sort key of an incident's record and of its evidence.
func recordSort(op, id string, startedAt incident.Millis) (string, error) {
	if id == "" || startedAt == 0 {
		return "", fault.New(fault.InvalidInput, op, "incident.execution: its name or startedAt is missing; the record is kept under both")
	}
	return sortableTime(startedAt.Time()) + "#" + id, nil
}

// clipped returns what of the record is written.
func (r Record) clipped() Record {
	r.Looks = nil
	r.Name = incident.Clip(r.Name, maxName)
	if r.Alarm != nil {
		a := *r.Alarm
		a.Reason = incident.Clip(a.Reason, maxCause)
		r.Alarm = &a
	}
	if n := len(r.Suppressed); n > maxSuppressed {
		r.Suppressed = r.Suppressed[n-maxSuppressed:]
	}
	if len(r.Caught) == 0 {
		r.Caught = nil
		return r
	}
	caught := map[string]incident.Caught{}
	for step, c := range r.Caught {
		c.Cause = incident.Clip(c.Cause, maxCause)
		caught[step] = c
	}
	r.Caught = caught
	return r
}

// clipped returns what of the look is written.
func (l LookRecord) clipped() LookRecord {
	l.Reason = incident.Clip(l.Reason, maxReason)
	l.Findings = slices.Clone(l.Findings)
	for n := range l.Findings {
		l.Findings[n].Reason = incident.Clip(l.Findings[n].Reason, maxFindingReason)
	}
	return l
}

// newest are the attributes of a record of which the newest write stays.
var newest = []string{"lease_until", "told", "paged", "reboot", "thread", "held_by", "suppressed", "caught"}

// recordChange returns the change that writes an update of a record.
func (t *Table) recordChange(op string, u RecordUpdate) (*change, error) {
	sk, err := recordSort(op, u.Record.ID, u.Record.StartedAt)
	if err != nil {
		return nil, err
	}
	attributes, err := marshal(u.Record.clipped())
	if err != nil {
		return nil, err
	}
	c := &change{key: key{incidentPartition, sk}}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if slices.Contains(newest, name) {
			c.set(name, attributes[name])
		} else {
			c.setOnce(name, attributes[name])
		}
	}
	c.set("schema", number(policy.Schema))
	c.set("expiresAt", number(t.now().Add(keepRecord).Unix()))
	c.expr("#version = if_not_exists(#version, :zero) + :one", item{":zero": number(0), ":one": number(1)})
	if u.Look != nil {
		look, err := marshal(u.Look.clipped())
		if err != nil {
			return nil, err
		}
		c.expr("#looks = list_append(if_not_exists(#looks, :none), :looks)", item{
			":none":  &types.AttributeValueMemberL{Value: []types.AttributeValue{}},
			":looks": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{Value: look}}},
		})
	}
	// Beside the schema, the attributes that a write builds on must be readable.
	c.when("attribute_not_exists(#pk) OR #schema <= :schema AND attribute_type(#version, :number) AND (attribute_not_exists(#looks) OR attribute_type(#looks, :list))",
		item{":number": text("N"), ":list": text("L")})
	c.refused = fault.New(fault.Internal, op, "item %s of table %s: %w, or %w; correct it, or delete it", c.key, t.Name, ErrSchema, ErrUnreadable)
	return c, nil
}

// UpdateRecord writes attributes and a look of an incident by themselves: when it
// begins, when it ends, and where nothing else is stored. Written again it
// changes nothing.
func (t *Table) UpdateRecord(ctx context.Context, u RecordUpdate) error {
	op := "write record of " + u.Record.ID
	return t.settle(ctx, op, func() error {
		c, err := t.recordChange(op, u)
		if err != nil {
			return err
		}
		return t.write(ctx, op, c)
	})
}

func (t *Table) decodeRecord(op string, in item) (Record, error) {
	var r Record
	if _, err := t.decode(op, keyOf(in), in, &r); err != nil {
		return Record{}, err
	}
	if r.ID == "" || r.StartedAt == 0 {
		return Record{}, t.unreadable(op, keyOf(in), errors.New("attribute id or started_at: missing"))
	}
	// A look that was written twice is there twice: the newest counts.
	var looks []LookRecord
	for _, l := range r.Looks {
		if n := slices.IndexFunc(looks, func(o LookRecord) bool { return o.Look == l.Look }); n >= 0 {
			looks[n] = l
			continue
		}
		looks = append(looks, l)
	}
	r.Looks = looks
	return r, nil
}

// Records returns the records of incidents that began at from or later and
// before to (the zero time: no bound), the newest first: of one instance, or of
// all where instanceID is ""; limit of them at most, or all where it is 0.
// Records that cannot be read are left out and make an error of kind Internal,
// beside which the others are returned.
func (t *Table) Records(ctx context.Context, from, to time.Time, instanceID string, limit int) ([]Record, error) {
	const op = "list incidents"
	first, last := "0", "~" // before and after every time
	if !from.IsZero() {
		first = sortableTime(from)
	}
	if !to.IsZero() {
		last = sortableTime(to)
	}
	if first >= last {
		return nil, nil
	}
	in := incidents()
	in.KeyConditionExpression = aws.String("#pk = :pk AND #sk BETWEEN :first AND :last")
	in.ExpressionAttributeNames["#sk"] = "sk"
	in.ExpressionAttributeValues[":first"], in.ExpressionAttributeValues[":last"] = text(first), text(last)
	switch {
	case instanceID != "":
		in.FilterExpression = aws.String("#instance_id = :instance_id")
		in.ExpressionAttributeNames["#instance_id"] = "instance_id"
		in.ExpressionAttributeValues[":instance_id"] = text(instanceID)
	case limit > 0 && limit < 1000:
		in.Limit = aws.Int32(int32(limit))
	}
	var records []Record
	var bad []error
	err := t.query(ctx, op, in, func(in item) bool {
		if r, err := t.decodeRecord(op, in); err != nil {
			bad = append(bad, err)
		} else {
			records = append(records, r)
		}
		return limit <= 0 || len(records) < limit
	})
	if err == nil && len(bad) > 0 {
		err = &fault.Error{Kind: fault.Internal, Err: errors.Join(bad...)}
	}
	return records, err
}

// incidents asks for all records, the newest first.
func incidents() *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		ScanIndexForward:          aws.Bool(false),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": "pk"},
		ExpressionAttributeValues: item{":pk": text(incidentPartition)},
	}
}

// Record returns the record of the incident whose execution has this name, or
// the only one whose name begins with it, and what was kept of its instance
// before the reboot (nil: nothing). Evidence that cannot be read makes an error
// of kind Internal, beside which the record is returned. Other errors are
// ErrNotFound and ErrAmbiguous.
func (t *Table) Record(ctx context.Context, id string) (*Record, *Evidence, error) {
	op := "look up incident " + id
	if id == "" {
		return nil, nil, fault.New(fault.InvalidInput, "look up incident", "its id is missing; firstline incidents lists them")
	}
	sk, err := t.find(ctx, op, id)
	if err != nil {
		return nil, nil, err
	}
	record, evidence := key{incidentPartition, sk}, key{evidencePartition, sk}
	items, err := t.read(ctx, op, record, evidence)
	if err != nil {
		return nil, nil, err
	}
	if items[record] == nil {
		return nil, nil, fault.New(fault.InvalidInput, op, "%w", ErrNotFound)
	}
	r, err := t.decodeRecord(op, items[record])
	if err != nil {
		return nil, nil, err
	}
	if items[evidence] == nil || over(items[evidence], t.now()) {
		return &r, nil, nil
	}
	var e Evidence
	if _, err := t.decode(op, evidence, items[evidence], &e); err != nil {
		return &r, nil, err
	}
	return &r, &e, nil
}

// find returns the sort key of the only record whose id is, or begins with, id.
func (t *Table) find(ctx context.Context, op, id string) (string, error) {
	in := incidents()
	in.FilterExpression = aws.String("begins_with(#id, :id)")
	in.ProjectionExpression = aws.String("#pk, #sk, #id, #expiresAt")
	for _, name := range []string{"sk", "id", "expiresAt"} {
		in.ExpressionAttributeNames["#"+name] = name
	}
	in.ExpressionAttributeValues[":id"] = text(id)
	var found, ids []string
	exact := ""
	err := t.query(ctx, op, in, func(in item) bool {
		sk := keyOf(in).sk
		_, name, _ := strings.Cut(sk, "#")
		found, ids = append(found, sk), append(ids, name)
		if name == id && exact == "" {
			// A name may be used again after 90 days: the newest is meant.
			exact = sk
		}
		return true
	})
	switch {
	case err != nil:
		return "", err
	case exact != "":
		return exact, nil
	case len(found) == 0:
		return "", fault.New(fault.InvalidInput, op, "%w", ErrNotFound)
	case len(found) > 1:
		return "", fault.New(fault.InvalidInput, op, "%w: %s", ErrAmbiguous, strings.Join(ids[:min(len(ids), 5)], ", "))
	}
	return found[0], nil
}
