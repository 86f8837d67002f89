// Package dynamo is DynamoDB in memory, for tests: one table with the keys pk
// and sk. It knows the calls, fields and expressions that internal/store uses,
// and refuses everything else, so that a test cannot pass on what DynamoDB would
// not do. It uses no clock and no goroutine, and so works under testing/synctest.
package dynamo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// Item is an item by the names of its attributes.
type Item = map[string]types.AttributeValue

// Limits of DynamoDB
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
const (
	maxItem        = 400 << 10
	maxPage        = 1 << 20
	maxExpression  = 4 << 10
	maxBatch       = 100
	maxTransaction = 100
)

// Call is one call of the table.
type Call struct {
	// Op is the operation, "UpdateItem".
	Op string
	// Keys are the items that it names, "pk/sk"; for Query "pk/".
	Keys []string
}

// DB is one table. Its methods may be called concurrently; its fields are set
// before. What its calls answer shares values with the table, which never changes
// one in place: neither may who reads them.
type DB struct {
	// Name is the table's.
	Name string
	// Before is called before each call has an effect, and After once it has had
	// one. An error of either is the call's answer. They may block, but must end
	// with the context. nil: nothing happens.
	Before, After func(context.Context, Call) error
	// Page is the most items of a Query's page; 0: as many as fit into 1 MB.
	Page int

	mu     sync.Mutex
	items  map[key]Item
	writes int
}

type key struct{ pk, sk string }

func (k key) String() string { return k.pk + "/" + k.sk }

// New returns an empty table.
func New(name string) *DB { return &DB{Name: name, items: map[key]Item{}} }

// Errors as DynamoDB returns them, for Before and After.

// Throttled is the error of a call that exceeds the table's capacity. Nothing
// was written.
func Throttled() error {
	return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate of requests exceeds the allowed throughput.", Fault: smithy.FaultClient}
}

// Denied is the error of a call that the role may not make.
func Denied(op string) error {
	return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized to perform: dynamodb:" + op, Fault: smithy.FaultClient}
}

// Broken is an error of DynamoDB's own. What was asked may be done or not.
func Broken() error {
	return &smithy.GenericAPIError{Code: "InternalServerError", Message: "Internal server error", Fault: smithy.FaultServer}
}

// Conflict is the error of a write that another transaction is in the way of:
// of TransactWriteItems for n items, or of a single write for 0.
func Conflict(n int) error {
	if n == 0 {
		return &types.TransactionConflictException{Message: aws.String("Transaction is ongoing for the item")}
	}
	reasons := make([]types.CancellationReason, n)
	for i := range reasons {
		reasons[i] = types.CancellationReason{Code: aws.String("TransactionConflict")}
	}
	return canceled(reasons)
}

func invalid(format string, args ...any) error {
	return &smithy.GenericAPIError{Code: "ValidationException", Message: fmt.Sprintf(format, args...), Fault: smithy.FaultClient}
}

func conditionFailed() error {
	return &types.ConditionalCheckFailedException{Message: aws.String("The conditional request failed")}
}

func canceled(reasons []types.CancellationReason) error {
	var codes []string
	for _, r := range reasons {
		codes = append(codes, aws.ToString(r.Code))
	}
	return &types.TransactionCanceledException{
		Message:             aws.String("Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]"),
		CancellationReasons: reasons,
	}
}

// Get returns a copy of an item, or nil.
func (d *DB) Get(pk, sk string) Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	return clone(d.items[key{pk, sk}])
}

// Put writes an item as a test wants it, without Before and After.
func (d *DB) Put(i Item) {
	k, err := keyOf(i, false)
	if err != nil {
		panic(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.items[k] = clone(i)
	d.writes++
}

// Writes counts the writes that were carried out.
func (d *DB) Writes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// Sorts returns the sort keys of a partition, in order.
func (d *DB) Sorts(pk string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sorts(pk)
}

func (d *DB) sorts(pk string) []string {
	var all []string
	for k := range d.items {
		if k.pk == pk {
			all = append(all, k.sk)
		}
	}
	slices.Sort(all)
	return all
}

// Largest returns the size of the table's largest item in bytes, and its key.
func (d *DB) Largest() (bytes int, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, i := range d.items {
		if n := size(i); n > bytes || n == bytes && k.String() < name {
			bytes, name = n, k.String()
		}
	}
	return bytes, name
}

// do makes one call.
func (d *DB) do(ctx context.Context, op string, table *string, keys []key, effect func() error) error {
	call := Call{Op: op}
	for _, k := range keys {
		call.Keys = append(call.Keys, k.String())
	}
	if err := ctx.Err(); err != nil {
		return &smithy.CanceledError{Err: err}
	}
	if d.Before != nil {
		if err := d.Before(ctx, call); err != nil {
			return err
		}
	}
	if aws.ToString(table) != d.Name {
		return &types.ResourceNotFoundException{Message: aws.String("Requested resource not found")}
	}
	d.mu.Lock()
	err := effect()
	d.mu.Unlock()
	if d.After != nil {
		if lost := d.After(ctx, call); lost != nil {
			return lost
		}
	}
	return err
}

// known refuses an input with fields that are not implemented here.
func known(in any, fields ...string) error {
	v := reflect.ValueOf(in).Elem()
	for f := range v.Type().Fields() {
		if f.IsExported() && !v.FieldByIndex(f.Index).IsZero() && !slices.Contains(fields, f.Name) {
			return invalid("%s.%s is not known to the DynamoDB in memory", v.Type().Name(), f.Name)
		}
	}
	return nil
}

// keyOf returns the key in an item, or of a call where it is all there may be.
func keyOf(i Item, only bool) (key, error) {
	pk, ok := i["pk"].(*types.AttributeValueMemberS)
	sk, ok2 := i["sk"].(*types.AttributeValueMemberS)
	if !ok || !ok2 || pk.Value == "" || sk.Value == "" || only && len(i) != 2 {
		return key{}, invalid("The provided key element does not match the schema")
	}
	return key{pk.Value, sk.Value}, nil
}

// BatchGetItem reads items of this table, strongly consistent.
func (d *DB) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	if err := known(in, "RequestItems"); err != nil {
		return nil, err
	}
	if len(in.RequestItems) != 1 {
		return nil, invalid("BatchGetItem names %d tables, not 1", len(in.RequestItems))
	}
	out := &dynamodb.BatchGetItemOutput{Responses: map[string][]Item{}}
	for table, asked := range in.RequestItems {
		if err := known(&asked, "Keys", "ConsistentRead"); err != nil {
			return nil, err
		}
		if !aws.ToBool(asked.ConsistentRead) {
			return nil, invalid("BatchGetItem is not consistent")
		}
		var keys []key
		for _, k := range asked.Keys {
			one, err := keyOf(k, true)
			if err != nil {
				return nil, err
			}
			if slices.Contains(keys, one) {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			keys = append(keys, one)
		}
		if len(keys) == 0 || len(keys) > maxBatch {
			return nil, invalid("BatchGetItem names %d items", len(keys))
		}
		err := d.do(ctx, "BatchGetItem", &table, keys, func() error {
			out.Responses[table] = []Item{}
			for _, k := range keys {
				if i, ok := d.items[k]; ok {
					out.Responses[table] = append(out.Responses[table], maps.Clone(i))
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PutItem writes a whole item.
func (d *DB) PutItem(ctx context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	if err := known(in, "TableName", "Item", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"); err != nil {
		return nil, err
	}
	w := write{next: in.Item, condition: in.ConditionExpression, names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues}
	k, err := keyOf(in.Item, false)
	if err != nil {
		return nil, err
	}
	w.key = k
	if err := d.single(ctx, "PutItem", in.TableName, w); err != nil {
		return nil, err
	}
	return &dynamodb.PutItemOutput{}, nil
}

// UpdateItem changes attributes of an item.
func (d *DB) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	if err := known(in, "TableName", "Key", "UpdateExpression", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"); err != nil {
		return nil, err
	}
	k, err := keyOf(in.Key, true)
	if err != nil {
		return nil, err
	}
	w := write{key: k, update: in.UpdateExpression, condition: in.ConditionExpression, names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues}
	if w.update == nil {
		return nil, invalid("UpdateItem has no UpdateExpression")
	}
	if err := d.single(ctx, "UpdateItem", in.TableName, w); err != nil {
		return nil, err
	}
	return &dynamodb.UpdateItemOutput{}, nil
}

// DeleteItem deletes an item.
func (d *DB) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	if err := known(in, "TableName", "Key", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"); err != nil {
		return nil, err
	}
	k, err := keyOf(in.Key, true)
	if err != nil {
		return nil, err
	}
	w := write{key: k, gone: true, condition: in.ConditionExpression, names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues}
	if err := d.single(ctx, "DeleteItem", in.TableName, w); err != nil {
		return nil, err
	}
	return &dynamodb.DeleteItemOutput{}, nil
}

// TransactWriteItems carries out updates of this table, all or none.
func (d *DB) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	if err := known(in, "TransactItems"); err != nil {
		return nil, err
	}
	if n := len(in.TransactItems); n == 0 || n > maxTransaction {
		return nil, invalid("TransactWriteItems has %d items", n)
	}
	var writes []write
	var keys []key
	for _, i := range in.TransactItems {
		if err := known(&i, "Update"); err != nil {
			return nil, err
		}
		u := i.Update
		if u == nil || u.UpdateExpression == nil {
			return nil, invalid("TransactWriteItems has an item without an update")
		}
		if err := known(u, "TableName", "Key", "UpdateExpression", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"); err != nil {
			return nil, err
		}
		if aws.ToString(u.TableName) != aws.ToString(in.TransactItems[0].Update.TableName) {
			return nil, invalid("TransactWriteItems names several tables")
		}
		k, err := keyOf(u.Key, true)
		if err != nil {
			return nil, err
		}
		if slices.Contains(keys, k) {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		}
		keys = append(keys, k)
		writes = append(writes, write{key: k, update: u.UpdateExpression, condition: u.ConditionExpression, names: u.ExpressionAttributeNames, values: u.ExpressionAttributeValues})
	}
	err := d.do(ctx, "TransactWriteItems", in.TransactItems[0].Update.TableName, keys, func() error { return d.transact(writes) })
	if err != nil {
		return nil, err
	}
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

// write is one write of an item.
type write struct {
	key               key
	next              Item    // the whole item
	update, condition *string // or what changes in it
	gone              bool    // or that it goes
	names             map[string]string
	values            Item
}

// apply returns what the item is after a write.
func (d *DB) apply(w write) (Item, error) {
	e := &expression{names: w.names, values: w.values, item: d.items[w.key], used: map[string]bool{}}
	if err := e.check(w.update, w.condition); err != nil {
		return nil, err
	}
	// DynamoDB parses all of a request before it looks at an item.
	met, err := e.meets(w.condition)
	if err != nil {
		return nil, err
	}
	next := clone(w.next)
	if w.update != nil {
		next = maps.Clone(e.item)
		if next == nil {
			next = Item{}
		}
		next["pk"], next["sk"] = &types.AttributeValueMemberS{Value: w.key.pk}, &types.AttributeValueMemberS{Value: w.key.sk}
		if err := e.update(next, *w.update, !met); err != nil {
			return nil, err
		}
	}
	if err := e.unused(); err != nil {
		return nil, err
	}
	if !met {
		return nil, conditionFailed()
	}
	if n := size(next); n > maxItem {
		return nil, invalid("Item size has exceeded the maximum allowed size")
	}
	return next, nil
}

func (d *DB) commit(w write, next Item) {
	d.writes++
	if w.gone {
		delete(d.items, w.key)
		return
	}
	d.items[w.key] = next
}

func (d *DB) single(ctx context.Context, op string, table *string, w write) error {
	return d.do(ctx, op, table, []key{w.key}, func() error {
		next, err := d.apply(w)
		if err == nil {
			d.commit(w, next)
		}
		return err
	})
}

func (d *DB) transact(writes []write) error {
	reasons := make([]types.CancellationReason, len(writes))
	next := make([]Item, len(writes))
	failed := false
	for n, w := range writes {
		var err error
		next[n], err = d.apply(w)
		reasons[n].Code = aws.String("None")
		if err == nil {
			continue
		}
		failed = true
		reasons[n] = types.CancellationReason{Code: aws.String("ConditionalCheckFailed"), Message: aws.String(err.Error())}
		if e, ok := errors.AsType[*smithy.GenericAPIError](err); ok {
			reasons[n] = types.CancellationReason{Code: aws.String("ValidationError"), Message: &e.Message}
		}
	}
	if failed {
		return canceled(reasons)
	}
	for n, w := range writes {
		d.commit(w, next[n])
	}
	return nil
}

// Query reads items of a partition, strongly consistent.
func (d *DB) Query(ctx context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	err := known(in, "TableName", "ConsistentRead", "ScanIndexForward", "KeyConditionExpression", "FilterExpression", "ProjectionExpression",
		"ExpressionAttributeNames", "ExpressionAttributeValues", "Limit", "ExclusiveStartKey")
	if err != nil {
		return nil, err
	}
	if !aws.ToBool(in.ConsistentRead) {
		return nil, invalid("Query is not consistent")
	}
	e := &expression{names: in.ExpressionAttributeNames, values: in.ExpressionAttributeValues, used: map[string]bool{}}
	pk, err := e.partition(aws.ToString(in.KeyConditionExpression))
	if err != nil {
		return nil, err
	}
	out := &dynamodb.QueryOutput{}
	err = d.do(ctx, "Query", in.TableName, []key{{pk: pk}}, func() error { return d.page(in, e, pk, out) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// page answers one page of a Query.
func (d *DB) page(in *dynamodb.QueryInput, e *expression, pk string, out *dynamodb.QueryOutput) error {
	if err := e.check(in.KeyConditionExpression, in.FilterExpression); err != nil {
		return err
	}
	// Also without an item every expression is parsed.
	for _, c := range []*string{in.KeyConditionExpression, in.FilterExpression} {
		if _, err := e.meets(c); err != nil {
			return err
		}
	}
	project, err := e.projection(aws.ToString(in.ProjectionExpression))
	if err != nil {
		return err
	}
	if err := e.unused(); err != nil {
		return err
	}
	sorts := d.sorts(pk)
	order := 1
	if in.ScanIndexForward != nil && !*in.ScanIndexForward {
		slices.Reverse(sorts)
		order = -1
	}
	if in.ExclusiveStartKey != nil {
		after, err := keyOf(in.ExclusiveStartKey, true)
		if err != nil {
			return err
		}
		sorts = slices.DeleteFunc(sorts, func(sk string) bool { return order*cmp.Compare(sk, after.sk) <= 0 })
	}
	limit := int(aws.ToInt32(in.Limit))
	if d.Page > 0 && (limit == 0 || d.Page < limit) {
		limit = d.Page
	}
	read, bytes := 0, 0
	for _, sk := range sorts {
		e.item = d.items[key{pk, sk}]
		if ok, _ := e.meets(in.KeyConditionExpression); !ok {
			continue
		}
		read++
		bytes += size(e.item)
		if ok, _ := e.meets(in.FilterExpression); ok {
			out.Items = append(out.Items, project(maps.Clone(e.item)))
		}
		if read == limit || bytes > maxPage {
			out.LastEvaluatedKey = Item{"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberS{Value: sk}}
			break
		}
	}
	out.Count, out.ScannedCount = int32(len(out.Items)), int32(read) //nolint:gosec // a page has few items
	return nil
}
