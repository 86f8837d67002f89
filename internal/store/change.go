package store

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/policy"
)

// change is an update of one item, on a condition.
type change struct {
	key           key
	sets, removes []string
	condition     string
	names         map[string]string
	values        item
	// refused is the error where the condition is not met; nil: ErrChanged.
	refused error
}

func newChange(k key) *change {
	c := &change{key: k, names: map[string]string{}, values: item{}}
	c.set("schema", number(policy.Schema))
	return c
}

// name stands for an attribute in an expression, where some names are reserved.
func (c *change) name(attribute string) string {
	c.names["#"+attribute] = attribute
	return "#" + attribute
}

// value stands for a value in an expression.
func (c *change) value(name string, v types.AttributeValue) string {
	c.values[":"+name] = v
	return ":" + name
}

func (c *change) set(name string, v types.AttributeValue) {
	c.sets = append(c.sets, c.name(name)+" = "+c.value(name, v))
}

func (c *change) update(table string) *types.Update {
	e := "SET " + strings.Join(c.sets, ", ")
	if len(c.removes) > 0 {
		e += " REMOVE " + strings.Join(c.removes, ", ")
	}
	return &types.Update{
		TableName: &table, Key: c.key.attributes(), UpdateExpression: &e, ConditionExpression: &c.condition,
		ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	}
}

// write carries out all changes or none.
func (t *Table) write(ctx context.Context, op string, changes ...*change) error {
	in := &dynamodb.TransactWriteItemsInput{}
	for _, c := range changes {
		in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Update: c.update(t.Name)})
	}
	_, err := call(ctx, t, op, API.TransactWriteItems, in)
	if canceled, ok := errors.AsType[*types.TransactionCanceledException](err); ok && len(canceled.CancellationReasons) == len(changes) {
		for n, c := range changes {
			if c.refused != nil && aws.ToString(canceled.CancellationReasons[n].Code) == conditionFailed {
				return c.refused
			}
		}
	}
	return err
}

// stored is an item as it was read or last written.
type stored struct {
	// version counts its writes; 0: there is no item.
	version int64
	// known are the attributes that this version of firstline knows, as it would
	// write them. The others stay as they are.
	known item
}

// next returns the change that makes the item what v is, and the item as it is
// then; the change is nil where v is what is stored.
func (s stored) next(k key, v any) (*change, stored, error) {
	now, err := marshal(v)
	if err != nil {
		return nil, s, err
	}
	c := newChange(k)
	c.set("version", number(s.version+1))
	if s.version == 0 {
		c.condition = "attribute_not_exists(" + c.name("pk") + ")"
	} else {
		c.condition = c.name("version") + " = " + c.value("was", number(s.version))
	}
	all := maps.Clone(now)
	maps.Copy(all, s.known)
	changed := false
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch v := now[name]; {
		case reflect.DeepEqual(v, s.known[name]):
			continue
		case v == nil:
			c.removes = append(c.removes, c.name(name))
		default:
			c.set(name, v)
		}
		changed = true
	}
	if !changed {
		return nil, s, nil
	}
	return c, stored{s.version + 1, now}, nil
}
