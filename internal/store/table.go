// Package store remembers: the state of each instance, of the region, and a
// record of each incident, in the region's DynamoDB table.
//
// A write names only the attributes that changed, since two published versions
// of the function run side by side during a deployment, and it goes through
// only while the item has the version that was read. An item that cannot be
// decoded, or of a newer schema, is an error and is never overwritten.
package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
)

// API is what is used of DynamoDB's client.
type API interface {
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

// Table is the table of one region. Its methods may be called concurrently.
//
// Unless they say otherwise their errors are Denied where AWS refuses us,
// Unavailable where the table does not answer, throttles or is changed by
// others, InvalidInput where the table does not exist or an argument is wrong,
// and Internal where an item cannot be read (ErrUnreadable, ErrSchema) or is
// full.
type Table struct {
	// Name is the table's.
	Name string
	// Client returns the region's client of DynamoDB. An error of its leaves
	// every method as it is.
	Client func(context.Context) (API, error)
	// Now is the clock that expiries are compared with; nil: time.Now.
	Now func() time.Time
	// Random returns a random duration below limit, for the pause before another
	// try; nil: math/rand's. A simulation sets it to be reproducible.
	Random func(limit time.Duration) time.Duration
}

// What an error of the store may be. errors.Is finds them.
var (
	// ErrChanged: somebody else has changed an item since it was loaded, or is
	// changing it now. Nothing was written. Its kind is Unavailable.
	ErrChanged = errors.New("another execution has changed the item")
	// ErrSchema: an item has a newer schema than this version knows. Its kind is
	// Internal.
	ErrSchema = errors.New("the item has a newer schema than this version of firstline knows")
	// ErrUnreadable: an item cannot be decoded. Its kind is Internal.
	ErrUnreadable = errors.New("the item cannot be decoded")
	// ErrKeep ends Update and UpdateRegion without a write and without an error,
	// when their function returns it.
	ErrKeep = errors.New("nothing is to be written")
	// ErrNotFound: no incident has this id, or one that begins with it. Its kind
	// is InvalidInput.
	ErrNotFound = errors.New("no incident has this id, or one that begins with it")
	// ErrAmbiguous: the ids of several incidents begin with it. Its kind is
	// InvalidInput.
	ErrAmbiguous = errors.New("several incidents have an id that begins with it")

	// errThrottled: DynamoDB had no capacity. Nothing was written.
	errThrottled = errors.New("the table is throttled")
)

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
)

func (t *Table) now() time.Time {
	if t.Now != nil {
		return t.Now().UTC()
	}
	return time.Now().UTC()
}

func (t *Table) random(limit time.Duration) time.Duration {
	if t.Random != nil {
		return t.Random(limit)
	}
	//nolint:gosec // it spreads tries, and keeps no secret
	return rand.N(limit)
}

// call makes one call in bounded time and gives its error a kind.
func call[In, Out any](ctx context.Context, t *Table, op string, method func(API, context.Context, In, ...func(*dynamodb.Options)) (Out, error), in In) (Out, error) {
	var none Out
	client, err := t.Client(ctx)
	if err != nil {
		return none, err
	}
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	out, err := method(client, bounded, in)
	return out, t.explain(op, err)
}

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
		return fault.New(fault.Unavailable, op, "%w: %w", ErrChanged, err)
	case api.ErrorCode() == "ValidationException", api.ErrorCode() == "SerializationException":
		// The request is ours alone, or an item has become too large.
		return &fault.Error{Kind: fault.Internal, Op: op, Err: err}
	case api.ErrorCode() == "ResourceNotFoundException":
		return fault.New(fault.InvalidInput, op, "the table does not exist; apply Terraform: %w", err)
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
	if throttled {
		return fault.New(fault.Unavailable, op, "%w: %w", errThrottled, err)
	}
	if changed {
		return fault.New(fault.Unavailable, op, "%w: %w", ErrChanged, err)
	}
	return fault.New(fault.Unavailable, op, "%w", err)
}

// settle tries until what was decided on what was read could be written. Each
// try reads anew. The pauses between them are random, so that those who compete
// come one after another.
func (t *Table) settle(ctx context.Context, op string, try func() error) error {
	throttled := 0
	for n := 1; ; n++ {
		err := try()
		switch {
		case errors.Is(err, errThrottled):
			if throttled++; throttled == maxThrottled {
				return err
			}
		case !errors.Is(err, ErrChanged):
			return err
		}
		if n == maxTries {
			return fault.New(fault.Unavailable, op, "given up after %d tries; the last: %w", n, err)
		}
		select {
		case <-time.After(t.random(min(maxPause, minPause<<min(n-1, 6)))):
		case <-ctx.Done():
			return fault.New(fault.Unavailable, op, "%w after %d tries; the last: %w", ctx.Err(), n, err)
		}
	}
}

// read gets items in one request, strongly consistent. The answer has only
// those that exist.
func (t *Table) read(ctx context.Context, op string, keys ...key) (map[key]item, error) {
	found := map[key]item{}
	var wanted []map[string]types.AttributeValue
	for _, k := range keys {
		wanted = append(wanted, k.attributes())
	}
	err := t.settle(ctx, op, func() error {
		out, err := call(ctx, t, op, API.BatchGetItem, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			t.Name: {Keys: wanted, ConsistentRead: aws.Bool(true)},
		}})
		if err != nil {
			return err
		}
		items, ok := out.Responses[t.Name]
		left := out.UnprocessedKeys[t.Name].Keys
		if !ok && len(left) == 0 {
			// An answer about nothing is not one that says that nothing is there.
			return fault.New(fault.Unavailable, op, "DynamoDB's answer does not mention the table %s", t.Name)
		}
		for _, i := range items {
			k := keyOf(i)
			if !slices.Contains(keys, k) {
				return fault.New(fault.Unavailable, op, "DynamoDB's answer has an item %.80q, which was not asked for", k.String())
			}
			found[k] = i
		}
		if len(left) == 0 {
			return nil
		}
		wanted = left
		return fault.New(fault.Unavailable, op, "%w: DynamoDB left out %d items", errThrottled, len(left))
	})
	if errors.Is(err, errThrottled) {
		// It was tried often enough here: whoever called need not begin anew.
		return nil, fault.New(fault.Unavailable, op, "%v", err)
	}
	return found, err
}

// query hands over items, page after page, until each wants no more. Those
// whose time is over are not there any more.
func (t *Table) query(ctx context.Context, op string, in *dynamodb.QueryInput, each func(item) bool) error {
	in.TableName, in.ConsistentRead = &t.Name, aws.Bool(true)
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
