package store

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/policy"
)

// change is an update of one item, on conditions.
type change struct {
	key        key
	sets       []string
	removes    []string
	conditions []string
	names      map[string]string
	values     item
	// refused is the error where its condition is not met; nil: ErrChanged.
	refused error
}

// changeOf begins an update that goes through only while the item still has the
// version that was read (0: there is none), and that gives it the next one.
func changeOf(k key, version int64) *change {
	c := &change{key: k}
	c.set("schema", number(policy.Schema))
	c.set("version", number(version+1))
	c.onlyIf(version)
	return c
}

// onlyIf makes the item's version a condition.
func (c *change) onlyIf(version int64) {
	if version == 0 {
		c.when("attribute_not_exists(#pk)", nil)
		return
	}
	c.when("#version = :was", item{":was": number(version)})
}

// set writes an attribute.
func (c *change) set(name string, v types.AttributeValue) {
	c.expr("#"+name+" = :"+name, item{":" + name: v})
}

// setOnce writes an attribute unless it is there.
func (c *change) setOnce(name string, v types.AttributeValue) {
	c.expr("#"+name+" = if_not_exists(#"+name+", :"+name+")", item{":" + name: v})
}

// expr writes an attribute as an expression says, in which #name stands for an
// attribute and :name for a value.
func (c *change) expr(set string, values item) {
	c.sets = append(c.sets, set)
	c.use(set, values)
}

// remove takes an attribute away.
func (c *change) remove(name string) {
	c.removes = append(c.removes, "#"+name)
	c.use("#"+name, nil)
}

// when adds a condition.
func (c *change) when(condition string, values item) {
	c.conditions = append(c.conditions, "("+condition+")")
	c.use(condition, values)
}

// use declares the names in an expression, since some are reserved words, and
// its values.
func (c *change) use(expression string, values item) {
	if c.names == nil {
		c.names, c.values = map[string]string{}, item{}
	}
	for _, part := range strings.Split(expression, "#")[1:] {
		end := strings.IndexFunc(part, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if end < 0 {
			end = len(part)
		}
		c.names["#"+part[:end]] = part[:end]
	}
	maps.Copy(c.values, values)
}

func (c *change) expression() *string {
	e := "SET " + strings.Join(c.sets, ", ")
	if len(c.removes) > 0 {
		e += " REMOVE " + strings.Join(c.removes, ", ")
	}
	return &e
}

func (c *change) condition() *string { return aws.String(strings.Join(c.conditions, " AND ")) }

// write carries out all changes or none.
func (t *Table) write(ctx context.Context, op string, changes ...*change) error {
	var updates []types.TransactWriteItem
	for _, c := range changes {
		updates = append(updates, types.TransactWriteItem{Update: &types.Update{
			TableName: &t.Name, Key: c.key.attributes(), UpdateExpression: c.expression(), ConditionExpression: c.condition(),
			ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
		}})
	}
	if len(changes) == 1 {
		u := updates[0].Update
		_, err := call(ctx, t, op, API.UpdateItem, &dynamodb.UpdateItemInput{
			TableName: u.TableName, Key: u.Key, UpdateExpression: u.UpdateExpression, ConditionExpression: u.ConditionExpression,
			ExpressionAttributeNames: u.ExpressionAttributeNames, ExpressionAttributeValues: u.ExpressionAttributeValues,
		})
		if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused && changes[0].refused != nil {
			return changes[0].refused
		}
		return err
	}
	_, err := call(ctx, t, op, API.TransactWriteItems, &dynamodb.TransactWriteItemsInput{TransactItems: updates})
	if canceled, ok := errors.AsType[*types.TransactionCanceledException](err); ok && len(canceled.CancellationReasons) == len(changes) {
		for n, c := range changes {
			if c.refused != nil && aws.ToString(canceled.CancellationReasons[n].Code) == "ConditionalCheckFailed" {
				return c.refused
			}
		}
	}
	return err
}

// loaded is an item as it was read or last written: its version and attributes.
type loaded struct {
	version int64
	stored  item
}

// next returns the change that makes the item what v is, and the item as it is
// then; the change is nil where v is what was loaded.
func (l loaded) next(k key, v any) (*change, loaded, error) {
	now, err := marshal(v)
	if err != nil {
		return nil, l, err
	}
	names := maps.Clone(l.stored)
	if names == nil {
		names = item{}
	}
	maps.Copy(names, now)
	maps.DeleteFunc(names, func(name string, _ types.AttributeValue) bool { return equal(l.stored[name], now[name]) })
	was, err := l.known(names, v)
	if err != nil {
		return nil, l, err
	}
	maps.DeleteFunc(names, func(name string, _ types.AttributeValue) bool { return equal(was[name], now[name]) })
	if len(names) == 0 {
		return nil, l, nil
	}
	if l.version == 0 {
		names = now
	}
	c := changeOf(k, l.version)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if now[name] != nil {
			c.set(name, now[name])
		} else {
			c.remove(name)
		}
	}
	return c, loaded{l.version + 1, now}, nil
}

// known returns what this version of firstline makes of stored attributes, in
// whose place v comes: what it does not know of them has not changed.
func (l loaded) known(names item, v any) (item, error) {
	if l.version == 0 || len(names) == 0 {
		return l.stored, nil
	}
	in := item{}
	for name := range names {
		if l.stored[name] != nil {
			in[name] = l.stored[name]
		}
	}
	was := reflect.New(reflect.TypeOf(v))
	if err := unmarshal(in, was.Interface()); err != nil {
		return nil, err
	}
	return marshal(was.Elem().Interface())
}
