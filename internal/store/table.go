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
	"iter"
	"math/rand/v2"
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
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

// Table is the table of one region. Its methods may be called concurrently.
//
// Unless they say otherwise their errors are Denied where AWS refuses us,
// Unavailable where the table does not answer, throttles or is changed by
// others, InvalidInput where the table does not exist, and Internal where an
// item cannot be read (ErrUnreadable, ErrSchema) or is full.
type Table struct {
	// Name is the table's.
	Name string
	// Client returns the region's client of DynamoDB. An error of its leaves
	// every method as it is.
	Client func(context.Context) (API, error)
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

	// errThrottled: DynamoDB had no capacity. Nothing was written.
	errThrottled = errors.New("the table is throttled")
)

const (
	// callTime bounds one call of DynamoDB, the SDK's retries included. It
	// answers in milliseconds; one that hangs must leave the step its time.
	callTime = 10 * time.Second
	// maxTries is how often a write is decided anew, since others were faster.
	maxTries = 100
	// maxThrottled is how often of these DynamoDB may have throttled it.
	maxThrottled = 8
	// minPause and maxPause bound the pause before another try, which is random.
	minPause, maxPause = 25 * time.Millisecond, time.Second
)

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
	return out, explain(op+" in table "+t.Name, err)
}

// conditionFailed is the reason of a transaction one of whose conditions is not
// met.
const conditionFailed = "ConditionalCheckFailed"

// explain gives an error of a call its kind, and marks what can be tried again
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
func explain(op string, err error) error {
	codes := map[string]bool{}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		codes[api.ErrorCode()] = true
	}
	if canceled, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
		for _, reason := range canceled.CancellationReasons {
			codes[aws.ToString(reason.Code)] = true
		}
	}
	switch {
	case codes["AccessDenied"]:
		return fault.New(fault.Denied, op, "%w", err)
	case codes["ValidationError"], codes["ValidationException"]:
		// The request is ours alone, or an item has become too large.
		return fault.New(fault.Internal, op, "%w", err)
	case codes["ThrottlingError"], codes["ProvisionedThroughputExceeded"], codes["RequestLimitExceeded"]:
		return fault.New(fault.Unavailable, op, "%w: %w", errThrottled, err)
	case codes[conditionFailed], codes["TransactionConflict"]:
		return fault.New(fault.Unavailable, op, "%w: %w", ErrChanged, err)
	}
	return fault.AWS(op, err)
}

// settle tries until what was decided on what was read could be written. Each
// try reads anew. The pauses between them are random, so that those who compete
// come one after another.
func (t *Table) settle(ctx context.Context, op string, try func() error) error {
	random := t.Random
	if random == nil {
		random = rand.N[time.Duration]
	}
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
		case <-time.After(random(min(maxPause, minPause<<min(n-1, 6)))):
		case <-ctx.Done():
			return fault.New(fault.Unavailable, op, "%w after %d tries; the last: %w", ctx.Err(), n, err)
		}
	}
}

// read gets items in one request, strongly consistent. The answer has only
// those that exist.
func (t *Table) read(ctx context.Context, op string, keys ...key) (map[key]item, error) {
	asked := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, k := range keys {
		asked.Keys = append(asked.Keys, k.attributes())
	}
	out, err := call(ctx, t, op, API.BatchGetItem, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{t.Name: asked}})
	if err != nil {
		return nil, err
	}
	if left := len(out.UnprocessedKeys[t.Name].Keys); left > 0 {
		return nil, fault.New(fault.Unavailable, op, "%w: DynamoDB left out %d items", errThrottled, left)
	}
	found := map[key]item{}
	for _, i := range out.Responses[t.Name] {
		found[keyOf(i)] = i
	}
	return found, nil
}

// query yields the items of a partition whose sort key is from or comes after
// it, strongly consistent. An error ends them.
func (t *Table) query(ctx context.Context, op, partition, from string, newestFirst bool) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		in := &dynamodb.QueryInput{
			TableName: &t.Name, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(!newestFirst),
			KeyConditionExpression:    aws.String("#pk = :pk AND #sk >= :from"),
			ExpressionAttributeNames:  map[string]string{"#pk": "pk", "#sk": "sk"},
			ExpressionAttributeValues: item{":pk": text(partition), ":from": text(from)},
		}
		for {
			out, err := call(ctx, t, op, API.Query, in)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, i := range out.Items {
				if !yield(i, nil) {
					return
				}
			}
			if len(out.LastEvaluatedKey) == 0 {
				return
			}
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
	}
}
