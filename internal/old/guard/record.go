package guard

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

// Record is what the table keeps of an incident for 90 days.
type Record struct {
	// ID is the name of its execution.
	ID         string
	InstanceID string
	Region     string
	StartedAt  time.Time
	// EndedAt is the zero time while it is open.
	EndedAt time.Time
	// End is one of incident's End constants: EndOpen until it is closed, and
	// EndUnconcluded when its lease has run out before that.
	End string
	// Dry says that it was a rehearsal.
	Dry bool
	// Incident is the incident as it was opened, or as it ended.
	Incident *incident.Incident
}

// What Incident does not find. Both come with the kind InvalidInput.
var (
	// ErrNotFound: no incident has this id, or one that begins with it.
	ErrNotFound = errors.New("no incident has this id, or one that begins with it")
	// ErrAmbiguous: the ids of several incidents begin with it.
	ErrAmbiguous = errors.New("several incidents have an id that begins with it")
)

// sortable is a time whose text sorts as it does.
const sortable = "2006-01-02T15:04:05.000Z"

func sortableTime(t time.Time) string { return t.UTC().Format(sortable) }

// recordKey is the key of an execution's record. One that does not say when it
// began, which happens to executions without an incident only, began now.
func recordKey(e incident.Execution, now time.Time) key {
	at := e.StartedAt
	if at.IsZero() {
		at = now
	}
	return key{incidentPartition, sortableTime(at) + "#" + nameOf(e)}
}

// nameOf is an execution's name, which its ARN ends with.
func nameOf(e incident.Execution) string {
	if e.Name != "" {
		return e.Name
	}
	return e.ID[strings.LastIndex(e.ID, ":")+1:]
}

// begin writes the record of an incident that was opened, unless it is there.
func (t *Table) begin(ctx context.Context, op string, inc *incident.Incident, until time.Time) error {
	now := t.now()
	return settle(ctx, op, func(ctx context.Context) error {
		i, err := encodeRecord(op, inc, incident.EndOpen, now)
		if err != nil {
			return err
		}
		i["heldUntil"] = seconds(until)
		return t.putNew(ctx, op, recordKey(inc.Execution, now), i)
	})
}

// finish ends the record, or writes it where there is none. One that has ended
// keeps its end.
func (t *Table) finish(ctx context.Context, op string, inc *incident.Incident, end string) error {
	now := t.now()
	i, err := encodeRecord(op, inc, end, now)
	if err != nil {
		return err
	}
	i["endedAt"] = text(sortableTime(now))
	return settle(ctx, op, func(ctx context.Context) error {
		c := (&change{key: recordKey(inc.Execution, now)}).when("attribute_not_exists(#endedAt)", nil)
		for _, name := range slices.Sorted(maps.Keys(i)) {
			c.set(name, i[name])
		}
		if err := t.update(ctx, op, c); !refused(err) {
			return err
		}
		return nil
	})
}

func encodeRecord(op string, inc *incident.Incident, end string, now time.Time) (item, error) {
	raw, err := json.Marshal(inc)
	if err != nil {
		return nil, fault.New(fault.Internal, op, "encode the incident: %w", err)
	}
	startedAt := inc.Execution.StartedAt
	if startedAt.IsZero() {
		startedAt = now
	}
	return item{
		"id":         text(nameOf(inc.Execution)),
		"instanceId": text(inc.InstanceID),
		"startedAt":  text(sortableTime(startedAt)),
		"end":        text(end),
		"dry":        boolean(inc.Dry),
		"incident":   text(string(raw)),
		"expiresAt":  seconds(now.Add(keepRecord)),
	}, nil
}

func decodeRecord(in item, now time.Time) (Record, error) {
	d := &decoder{in: in}
	d.need("id", "startedAt", "end", "incident")
	r := Record{
		ID: d.text("id"), InstanceID: d.text("instanceId"),
		StartedAt: d.rfc3339("startedAt"), EndedAt: d.rfc3339("endedAt"),
		End: d.text("end"), Dry: d.boolean("dry"),
	}
	heldUntil := d.seconds("heldUntil")
	raw := []byte(d.text("incident"))
	if err := d.err(key{d.text("pk"), d.text("sk")}); err != nil {
		return Record{}, err
	}
	if r.End == incident.EndOpen && !heldUntil.IsZero() && !heldUntil.After(now) {
		r.End = incident.EndUnconcluded
	}
	// Another version may have written it.
	r.Incident = new(incident.Incident)
	if err := json.Unmarshal(raw, r.Incident); err != nil {
		r.Incident = incident.Salvage(raw)
	}
	r.Region = r.Incident.Region
	return r, nil
}

// Incidents returns the records of incidents that began at since or later, the
// newest first: of one instance, or of all where instanceID is ""; limit of them
// at most, or all where it is 0. Records that cannot be read are left out and
// make an error of kind Internal, beside which the others are returned.
func (t *Table) Incidents(ctx context.Context, since time.Time, instanceID string, limit int) ([]Record, error) {
	const op = "list incidents"
	in := t.incidents()
	if !since.IsZero() {
		in.KeyConditionExpression = aws.String("#pk = :pk AND #sk >= :since")
		in.ExpressionAttributeNames["#sk"] = "sk"
		in.ExpressionAttributeValues[":since"] = text(sortableTime(since))
	}
	switch {
	case instanceID != "":
		in.FilterExpression = aws.String("#instanceId = :instance")
		in.ExpressionAttributeNames["#instanceId"] = "instanceId"
		in.ExpressionAttributeValues[":instance"] = text(instanceID)
	case limit > 0 && limit < 1000:
		in.Limit = aws.Int32(int32(limit))
	}
	var records []Record
	var bad []error
	err := t.query(ctx, op, in, func(i item) bool {
		switch r, err := decodeRecord(i, t.now()); {
		case err != nil:
			bad = append(bad, err)
		default:
			records = append(records, r)
		}
		return limit <= 0 || len(records) < limit
	})
	if err == nil && len(bad) > 0 {
		err = unreadable(op, errors.Join(bad...))
	}
	return records, err
}

// Incident returns the record of the incident whose execution has this name, or
// the only one whose name begins with it, and what was kept of its instance
// before the reboot (nil: nothing). Evidence that cannot be read makes an error
// of kind Internal, beside which the record is returned. Other errors are
// ErrNotFound and ErrAmbiguous.
func (t *Table) Incident(ctx context.Context, id string) (*Record, *Evidence, error) {
	op := "look up incident " + id
	if id == "" {
		return nil, nil, fault.New(fault.InvalidInput, "look up incident", "its id is missing; firstline incidents lists them")
	}
	in := t.incidents()
	in.FilterExpression = aws.String("begins_with(#id, :id)")
	in.ProjectionExpression = aws.String("#pk, #sk, #id, #expiresAt")
	for _, name := range []string{"sk", "id", "expiresAt"} {
		in.ExpressionAttributeNames["#"+name] = name
	}
	in.ExpressionAttributeValues[":id"] = text(id)
	var found, exact []key
	var ids []string
	err := t.query(ctx, op, in, func(i item) bool {
		d := decoder{in: i}
		k := key{d.text("pk"), d.text("sk")}
		if d.text("id") == id {
			exact = append(exact, k)
		}
		found, ids = append(found, k), append(ids, d.text("id"))
		return true
	})
	if len(exact) > 0 {
		// A name may be used again after 90 days.
		found = exact[:1]
	}
	switch {
	case err != nil:
		return nil, nil, err
	case len(found) == 0:
		return nil, nil, fault.New(fault.InvalidInput, op, "%w", ErrNotFound)
	case len(found) > 1:
		slices.Reverse(ids) // the newest are shown
		return nil, nil, fault.New(fault.InvalidInput, op, "%w: %s", ErrAmbiguous, list(ids))
	}
	_, name, _ := strings.Cut(found[0].sk, "#")
	evidence := key{evidencePartition, name}
	items, err := t.read(ctx, op, found[0], evidence)
	if err != nil {
		return nil, nil, err
	}
	if items[found[0]] == nil {
		return nil, nil, fault.New(fault.InvalidInput, op, "%w", ErrNotFound)
	}
	r, err := decodeRecord(items[found[0]], t.now())
	if err != nil {
		return nil, nil, unreadable(op, err)
	}
	if items[evidence] == nil || over(items[evidence], t.now()) {
		return &r, nil, nil
	}
	e, err := decodeEvidence(evidence, items[evidence])
	if err != nil {
		return &r, nil, unreadable(op, err)
	}
	return &r, &e, nil
}

// incidents asks for all records, the newest first.
func (t *Table) incidents() *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName: &t.Name, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(false),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": "pk"},
		ExpressionAttributeValues: item{":pk": text(incidentPartition)},
	}
}

// query hands over items, page after page, until each wants no more. Those whose
// time is over are not there any more.
func (t *Table) query(ctx context.Context, op string, in *dynamodb.QueryInput, each func(item) bool) error {
	for {
		out, err := call(ctx, t, op, API.Query, in)
		if err != nil {
			return err
		}
		for _, i := range out.Items {
			if !over(i, t.now()) && !each(i) {
				return nil
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// over reports whether an item is only there since DynamoDB has not yet deleted
// it.
func over(i item, now time.Time) bool {
	d := decoder{in: i}
	at := d.seconds("expiresAt")
	return !at.IsZero() && !at.After(now)
}
