package store

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Record is what the table keeps of an incident for 90 days.
type Record struct {
	// ID is the name of its execution, Execution the execution's ARN. With
	// StartedAt, ID is its key.
	ID        string          `json:"id"`
	Execution string          `json:"execution,omitempty"`
	StartedAt incident.Millis `json:"started_at"`

	InstanceID string             `json:"instance_id,omitempty"`
	Name       string             `json:"name,omitempty"`
	Region     string             `json:"region,omitempty"`
	Trigger    string             `json:"trigger,omitempty"`
	Dry        bool               `json:"dry,omitempty"`
	Alarm      *incident.Alarm    `json:"alarm,omitempty"`
	Settings   *incident.Settings `json:"settings,omitempty"`

	// EndedAt is 0 while it is open, and End says how it ended.
	EndedAt incident.Millis `json:"ended_at,omitempty"`
	End     string          `json:"end,omitempty"`
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

	// Looks are those that it has decided on, in order.
	Looks []incident.Decision `json:"looks,omitempty"`
	// Evidence is what was seen of the instance before its reboot.
	Evidence *Evidence `json:"evidence,omitempty"`
}

// Evidence is what was seen of an instance before its reboot.
type Evidence struct {
	// At is when it was gathered.
	At incident.Millis `json:"at"`
	// Console is the end of what the instance wrote to its console, redacted.
	Console string `json:"console,omitempty"`
	// ConsoleAt is when EC2 took that down, which may be long before At.
	ConsoleAt incident.Millis `json:"console_at,omitempty"`
	// SystemStatus, InstanceStatus and EBSStatus are EC2's status checks, "ok" or
	// "impaired".
	SystemStatus   string `json:"system_status,omitempty"`
	InstanceStatus string `json:"instance_status,omitempty"`
	EBSStatus      string `json:"ebs_status,omitempty"`
}

const (
	// keepRecord is how long after its begin DynamoDB deletes a record.
	keepRecord = 90 * 24 * time.Hour
	// Texts of a look and the console are cut to these lengths, in bytes, so that
	// 200 looks (incident.MaxLooks) stay well below DynamoDB's 400 KB an item.
	maxReason        = 300
	maxFindingReason = 160
	maxConsole       = 16 << 10
)

// RecordOf returns the record of an incident, without its looks and without the
// settings, which whoever begins it adds.
func RecordOf(inc *incident.Incident) Record {
	r := Record{
		ID: inc.Execution.Name, Execution: inc.Execution.ID, StartedAt: incident.At(inc.Execution.StartedAt),
		InstanceID: inc.InstanceID, Name: inc.Name, Region: inc.Region, Trigger: inc.Trigger, Dry: inc.Dry,
		Alarm: inc.Alarm,
		Told:  inc.Told, Paged: inc.Paged, Thread: inc.Thread, Suppressed: inc.Suppressed, Caught: inc.Caught,
	}
	if r.ID == "" {
		r.ID = r.Execution[strings.LastIndex(r.Execution, ":")+1:]
	}
	if inc.HeldBy != nil {
		r.HeldBy = inc.HeldBy.ID
	}
	return r
}

// LookOf returns what a record keeps of a decision.
func LookOf(d incident.Decision) incident.Decision {
	l := incident.Decision{
		Look: d.Look, At: d.At, Verdict: d.Verdict, Kind: d.Kind, Row: d.Row, Next: d.Next, WaitSeconds: d.WaitSeconds,
		Reason: incident.Clip(d.Reason, maxReason), Confirming: d.Confirming, Situation: d.Situation, Guard: d.Guard,
	}
	for _, f := range d.Findings {
		f.Reason = incident.Clip(f.Reason, maxFindingReason)
		l.Findings = append(l.Findings, f)
	}
	return l
}

// recordChange returns the change that writes a record: each attribute that is
// not zero, but the looks are appended to those that are there, and evidence
// stays as it was first written, before the reboot.
func (t *Table) recordChange(op string, r Record) (*change, error) {
	if r.Evidence != nil {
		r.Evidence = new(*r.Evidence)
		r.Evidence.Console = tail(r.Evidence.Console)
	}
	attributes, err := marshal(r)
	if err != nil {
		return nil, err
	}
	c := newChange(key{incidentPartition, sortable(r.StartedAt.Time()) + "#" + r.ID})
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		v := attributes[name]
		switch name {
		case "looks":
			none := c.value("none", &types.AttributeValueMemberL{Value: []types.AttributeValue{}})
			c.sets = append(c.sets, fmt.Sprintf("%s = list_append(if_not_exists(%[1]s, %s), %s)", c.name(name), none, c.value(name, v)))
		case "evidence":
			c.sets = append(c.sets, fmt.Sprintf("%s = if_not_exists(%[1]s, %s)", c.name(name), c.value(name, v)))
		default:
			c.set(name, v)
		}
	}
	c.set("expiresAt", number(r.StartedAt.Add(keepRecord).Time().Unix()))
	c.condition = fmt.Sprintf("attribute_not_exists(%s) OR %s <= :schema AND (attribute_not_exists(%s) OR attribute_type(%[3]s, %s))",
		c.name("pk"), c.name("schema"), c.name("looks"), c.value("list", text("L")))
	c.refused = fault.New(fault.Internal, op, "item %s of table %s: %w, or %w; correct it, or delete it", c.key, t.Name, ErrSchema, ErrUnreadable)
	return c, nil
}

// tail returns the last bytes of a console's output, from the beginning of a
// line. It is redacted before: a secret whose beginning is cut off cannot be
// recognized.
func tail(s string) string {
	if len(s) <= maxConsole {
		return s
	}
	s = strings.ToValidUTF8(s[len(s)-maxConsole:], "")
	if _, lines, ok := strings.Cut(s, "\n"); ok {
		return lines
	}
	return s
}

// Records yields the records of incidents that began since a time, the newest
// first. One that cannot be read yields an error of kind Internal, and does not
// end them; any other error does.
func (t *Table) Records(ctx context.Context, since time.Time) iter.Seq2[Record, error] {
	const op = "list incidents"
	return func(yield func(Record, error) bool) {
		for in, err := range t.query(ctx, op, incidentPartition, sortable(since), true) {
			var r Record
			if err == nil {
				err = t.decode(op, keyOf(in), in, &r)
			}
			// A dry look that ran twice was appended twice.
			r.Looks = slices.CompactFunc(r.Looks, func(a, b incident.Decision) bool { return a.Look == b.Look })
			if !yield(r, err) {
				return
			}
		}
	}
}

// sortable is a time as a text that sorts as it does.
func sortable(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
