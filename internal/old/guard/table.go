// Package guard keeps what incidents must know of each other in the region's
// DynamoDB table: who has an instance's lease, when it was rebooted, which of
// its checks have ever passed, how many reboots the region has seen; and a
// record of each incident.
//
// Whatever it allows holds however many executions ask at once: it decides on
// what it has read, and writes on the condition that this is still so. What it
// has allowed to an execution it allows to the same one again, since a step
// whose answer was lost is invoked again. Where it cannot tell, it returns an
// error and never an answer.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/lazy"
	"firstline/internal/old/incident"
)

// API is what is used of DynamoDB's client. The function makes only calls of
// BatchGetItem, PutItem, UpdateItem, and TransactWriteItems with updates; the
// rest is for the operator's command.
type API interface {
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

// Table is the table of one region. Its methods may be called concurrently.
//
// Unless they say otherwise their errors are Denied where AWS refuses us,
// Unavailable where the table does not answer, throttles or is changed by others
// all the time, InvalidInput where the table does not exist or the incident
// lacks what is needed, and Internal where an item cannot be read or is full.
type Table struct {
	// Name is the table's.
	Name string
	// Client returns the region's client of DynamoDB. An error of its leaves
	// every method as it is.
	Client func(context.Context) (API, error)
	// Now is the clock that every expiry is compared with; nil: time.Now.
	Now func() time.Time
	// Log hears of what failed and stops nothing; nil: nobody does.
	Log *slog.Logger
}

const (
	// callTime bounds one call of DynamoDB, the SDK's retries included. It
	// answers in milliseconds; one that hangs must leave the step its time.
	callTime = 10 * time.Second
	// maxTries is how often a write is decided anew, since others were faster.
	maxTries = 100
	// maxThrottled is how often of these DynamoDB may have throttled it. The SDK
	// has tried each several times.
	maxThrottled = 8
	// minPause and maxPause bound the pause before another try, which is random.
	minPause, maxPause = 25 * time.Millisecond, time.Second
	// batch is how many items DynamoDB reads at once
	// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
	batch = 100
)

// How long items are kept after they were last written. DynamoDB deletes them at
// some time after that.
const (
	keepInstance = 400 * 24 * time.Hour
	keepRecord   = 90 * 24 * time.Hour
)

func (t *Table) now() time.Time {
	if t.Now != nil {
		return t.Now().UTC()
	}
	return time.Now().UTC()
}

func (t *Table) log(ctx context.Context, message string, about ...slog.Attr) {
	if t.Log != nil {
		t.Log.LogAttrs(ctx, slog.LevelWarn, message, about...)
	}
}

func (t *Table) client(ctx context.Context, op string) (API, error) {
	if t.Name == "" {
		return nil, fault.New(fault.Internal, op, "the name of the region's table is not set")
	}
	return t.Client(ctx)
}

// call makes one call in bounded time and gives its error a kind.
func call[In, Out any](ctx context.Context, t *Table, op string, method func(API, context.Context, In, ...func(*dynamodb.Options)) (Out, error), in In) (Out, error) {
	client, err := t.client(ctx, op)
	if err != nil {
		var none Out
		return none, err
	}
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	out, err := method(client, bounded, in)
	return out, t.explain(op, err)
}

// What an error of a write may be besides one that ends it.
var (
	// errChanged: somebody else has changed the item, or is doing so. Nothing
	// was written.
	errChanged = errors.New("others kept changing it")
	// errThrottled: DynamoDB had no capacity for it. Nothing was written.
	errThrottled = errors.New("the table is throttled")
)

// explain gives an error of a call its kind, and marks what can be tried again.
func (t *Table) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	op += " in table " + t.Name
	if canceled, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
		return explainCanceled(op, canceled)
	}
	api, _ := errors.AsType[smithy.APIError](err)
	switch {
	case api == nil:
	case api.ErrorCode() == "ConditionalCheckFailedException", api.ErrorCode() == "TransactionConflictException":
		return &fault.Error{Kind: fault.Unavailable, Op: op, Err: fmt.Errorf("%w: %w", errChanged, err)}
	case api.ErrorCode() == "ValidationException", api.ErrorCode() == "SerializationException":
		// The request is ours alone, or an item has become too large.
		return &fault.Error{Kind: fault.Internal, Op: op, Err: err}
	case api.ErrorCode() == "ResourceNotFoundException":
		return fault.New(fault.InvalidInput, op, "there is no such table; apply Terraform: %w", err)
	}
	return fault.AWS(op, err)
}

// explainCanceled explains why a transaction was not carried out
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
func explainCanceled(op string, err *types.TransactionCanceledException) error {
	changed, throttled := false, false
	for _, reason := range err.CancellationReasons {
		switch code := aws.ToString(reason.Code); code {
		case "", "None":
		case "ConditionalCheckFailed", "TransactionConflict":
			changed = true
		case "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded":
			throttled = true
		case "AccessDenied":
			return fault.New(fault.Denied, op, "%s: %w", code, err)
		default:
			// ValidationError, such as of an item that has become too large.
			return fault.New(fault.Internal, op, "%s: %s: %w", code, aws.ToString(reason.Message), err)
		}
	}
	switch {
	case throttled:
		return &fault.Error{Kind: fault.Unavailable, Op: op, Err: fmt.Errorf("%w: %w", errThrottled, err)}
	case changed:
		return &fault.Error{Kind: fault.Unavailable, Op: op, Err: fmt.Errorf("%w: %w", errChanged, err)}
	}
	return &fault.Error{Kind: fault.Unavailable, Op: op, Err: err}
}

// again ends a try that has to be followed by another one at once.
var errAgain = errors.New("what was written is not what is read")

// settle tries until what was decided on what was read could be written. Each
// try reads anew. The pauses between them are random, so that those who compete
// come one after another.
func settle(ctx context.Context, op string, try func(context.Context) error) error {
	var err error
	throttled := 0
	for n := range maxTries {
		if err = try(ctx); err == nil {
			return nil
		}
		pause := maxPause
		if n < 6 {
			pause = min(maxPause, minPause<<n)
		}
		switch {
		case errors.Is(err, errAgain):
			continue
		case errors.Is(err, errThrottled):
			if throttled++; throttled == maxThrottled {
				return err
			}
		case !errors.Is(err, errChanged):
			return err
		}
		//nolint:gosec // it spreads tries, and keeps no secret
		timer := time.NewTimer(rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fault.New(fault.Unavailable, op, "%w after %d tries; the last: %w", ctx.Err(), n+1, err)
		}
	}
	return fault.New(fault.Unavailable, op, "given up after %d tries; the last: %w", maxTries, err)
}

// read gets items in as few requests as can be, strongly consistent. The answer
// has only those that exist.
func (t *Table) read(ctx context.Context, op string, keys ...key) (map[key]item, error) {
	found := map[key]item{}
	for some := range slices.Chunk(keys, batch) {
		var wanted []map[string]types.AttributeValue
		for _, k := range some {
			wanted = append(wanted, k.attributes())
		}
		err := settle(ctx, op, func(ctx context.Context) error {
			out, err := call(ctx, t, op, API.BatchGetItem, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
				t.Name: {Keys: wanted, ConsistentRead: aws.Bool(true)},
			}})
			if err != nil {
				return err
			}
			items, ok := out.Responses[t.Name]
			if !ok {
				// An answer about nothing is not one that says that nothing is there.
				return fault.New(fault.Unavailable, op, "DynamoDB's answer does not speak of the table %s", t.Name)
			}
			for _, i := range items {
				d := decoder{in: i}
				k := key{d.text("pk"), d.text("sk")}
				if !slices.Contains(some, k) {
					return fault.New(fault.Unavailable, op, "DynamoDB's answer has an item %.80q, which was not asked for", k.String())
				}
				found[k] = i
			}
			left, ok := out.UnprocessedKeys[t.Name]
			if !ok || len(left.Keys) == 0 {
				return nil
			}
			wanted = left.Keys
			return fmt.Errorf("%w: %d items were left out", errThrottled, len(wanted))
		})
		if errors.Is(err, errThrottled) {
			// Whoever called has no reason to begin anew.
			return nil, fault.New(fault.Unavailable, op, "%v", err)
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// unreadable is the error about an item that cannot be read.
func unreadable(op string, err error) error {
	return &fault.Error{Kind: fault.Internal, Op: op, Err: err}
}

// change is an update of one item, on conditions.
type change struct {
	key        key
	sets       []string
	removes    []string
	conditions []string
	names      map[string]string
	values     item
}

// changeOf begins an update that goes through only while the item still has the
// version that was read (0: none), and that gives it the next one.
func changeOf(k key, version int64) *change {
	c := &change{key: k}
	c.set("version", number(version+1))
	if version == 0 {
		return c.when("attribute_not_exists(#version)", nil)
	}
	return c.when("#version = :was", item{":was": number(version)})
}

// set writes an attribute.
func (c *change) set(name string, v types.AttributeValue) *change {
	c.sets = append(c.sets, fmt.Sprintf("#%s = :%s", name, name))
	c.use("#"+name, item{":" + name: v})
	return c
}

// expr writes an attribute as an expression says, in which #name stands for an
// attribute and :name for a value.
func (c *change) expr(set string, values item) *change {
	c.sets = append(c.sets, set)
	c.use(set, values)
	return c
}

// remove takes attributes away.
func (c *change) remove(names ...string) *change {
	for _, name := range names {
		c.removes = append(c.removes, "#"+name)
		c.use("#"+name, nil)
	}
	return c
}

// when adds a condition.
func (c *change) when(condition string, values item) *change {
	c.conditions = append(c.conditions, "("+condition+")")
	c.use(condition, values)
	return c
}

var placeholder = lazy.Regexp(`#\w+`)

// use declares the names in an expression, since some are reserved words, and
// its values.
func (c *change) use(expression string, values item) {
	if c.names == nil {
		c.names, c.values = map[string]string{}, item{}
	}
	for _, name := range placeholder().FindAllString(expression, -1) {
		c.names[name] = name[1:]
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

func (c *change) condition() *string {
	if len(c.conditions) == 0 {
		return nil
	}
	return aws.String(strings.Join(c.conditions, " AND "))
}

// update carries out one change.
func (t *Table) update(ctx context.Context, op string, c *change) error {
	_, err := call(ctx, t, op, API.UpdateItem, &dynamodb.UpdateItemInput{
		TableName: &t.Name, Key: c.key.attributes(), UpdateExpression: c.expression(), ConditionExpression: c.condition(),
		ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	})
	return err
}

// transact carries out all changes or none.
func (t *Table) transact(ctx context.Context, op string, changes ...*change) error {
	if len(changes) == 1 {
		return t.update(ctx, op, changes[0])
	}
	in := &dynamodb.TransactWriteItemsInput{}
	for _, c := range changes {
		in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Update: &types.Update{
			TableName: &t.Name, Key: c.key.attributes(), UpdateExpression: c.expression(), ConditionExpression: c.condition(),
			ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
		}})
	}
	_, err := call(ctx, t, op, API.TransactWriteItems, in)
	return err
}

// putNew writes an item unless there is one with its key.
func (t *Table) putNew(ctx context.Context, op string, k key, i item) error {
	i["pk"], i["sk"] = text(k.pk), text(k.sk)
	_, err := call(ctx, t, op, API.PutItem, &dynamodb.PutItemInput{TableName: &t.Name, Item: i, ConditionExpression: aws.String("attribute_not_exists(pk)")})
	if refused(err) {
		return nil
	}
	return err
}

// named returns an error unless the incident names its execution, by which
// whoever holds something is known.
func named(op string, inc *incident.Incident) error {
	if inc.Execution.ID == "" {
		return fault.New(fault.InvalidInput, op, "incident.execution.id: missing; the table knows executions by it")
	}
	return nil
}

// complete returns an error unless the incident names its instance and its
// execution.
func complete(op string, inc *incident.Incident) error {
	if !incident.ValidInstanceID(inc.InstanceID) {
		return fault.New(fault.InvalidInput, op, "incident.instanceId: %q is not an instance id such as i-0c1cbf2e7abdedf75", inc.InstanceID)
	}
	return named(op, inc)
}
