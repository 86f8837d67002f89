package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/fault"
	"firstline/internal/policy"
)

// item is one of the table's, by the names of its attributes.
type item = map[string]types.AttributeValue

// key is the key of an item.
type key struct{ pk, sk string }

// Partitions of the table.
const (
	instancePartition = "instance"
	regionPartition   = "region"
	incidentPartition = "incident"
	evidencePartition = "evidence"
)

var regionKey = key{regionPartition, "region"}

func instanceKey(id string) key { return key{instancePartition, id} }

func (k key) String() string { return k.pk + "/" + k.sk }

func (k key) attributes() item { return item{"pk": text(k.pk), "sk": text(k.sk)} }

func keyOf(in item) key {
	var k key
	if s, ok := in["pk"].(*types.AttributeValueMemberS); ok {
		k.pk = s.Value
	}
	if s, ok := in["sk"].(*types.AttributeValueMemberS); ok {
		k.sk = s.Value
	}
	return k
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// count reads a whole number; ok is false for anything else.
func count(v types.AttributeValue) (n int64, ok bool) {
	if v, isNumber := v.(*types.AttributeValueMemberN); isNumber {
		n, err := strconv.ParseInt(v.Value, 10, 64)
		return n, err == nil
	}
	return 0, false
}

// marshal turns a struct into attributes. Types that travel in JSON as well have
// their names from the tags of JSON.
func marshal(v any) (item, error) {
	in, err := attributevalue.MarshalMapWithOptions(v, func(o *attributevalue.EncoderOptions) { o.TagKey = "json" })
	if err != nil {
		return nil, fault.New(fault.Internal, fmt.Sprintf("encode %T", v), "%w", err)
	}
	return in, nil
}

// unmarshal decodes attributes. After an error it decodes them one by one, so that
// its error can name one.
func unmarshal(in item, v any) error {
	decode := func(in item) error {
		return attributevalue.UnmarshalMapWithOptions(in, v, func(o *attributevalue.DecoderOptions) { o.TagKey = "json" })
	}
	if decode(in) == nil {
		return nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if err := decode(item{name: in[name]}); err != nil {
			errs = append(errs, fmt.Errorf("attribute %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// decode decodes an item that exists and returns its version.
func (t *Table) decode(op string, k key, in item, v any) (version int64, err error) {
	schema, ok := count(in["schema"])
	switch {
	case !ok || schema < 1:
		return 0, t.unreadable(op, k, errors.New("attribute schema: missing or not a positive number"))
	case schema > policy.Schema:
		return 0, fault.New(fault.Internal, op, "item %s of table %s: %w (%d, not %d); deploy the newer version again, or delete the item", k, t.Name, ErrSchema, schema, policy.Schema)
	}
	if version, ok = count(in["version"]); !ok || version < 1 {
		return 0, t.unreadable(op, k, errors.New("attribute version: missing or not a positive number"))
	}
	if err := unmarshal(in, v); err != nil {
		return 0, t.unreadable(op, k, err)
	}
	return version, nil
}

func (t *Table) unreadable(op string, k key, why error) error {
	return fault.New(fault.Internal, op, "item %s of table %s: %w; correct it, or delete it: %w", k, t.Name, ErrUnreadable, why)
}

// over reports whether an item is only there since DynamoDB has not yet deleted
// it.
func over(in item, now time.Time) bool {
	at, ok := count(in["expiresAt"])
	return ok && at > 0 && at <= now.Unix()
}

// equal reports whether two attributes are the same. Sets do not occur.
func equal(a, b types.AttributeValue) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	switch a := a.(type) {
	case *types.AttributeValueMemberS:
		b, ok := b.(*types.AttributeValueMemberS)
		return ok && a.Value == b.Value
	case *types.AttributeValueMemberN:
		b, ok := b.(*types.AttributeValueMemberN)
		return ok && a.Value == b.Value
	case *types.AttributeValueMemberBOOL:
		b, ok := b.(*types.AttributeValueMemberBOOL)
		return ok && a.Value == b.Value
	case *types.AttributeValueMemberNULL:
		_, ok := b.(*types.AttributeValueMemberNULL)
		return ok
	case *types.AttributeValueMemberL:
		b, ok := b.(*types.AttributeValueMemberL)
		return ok && slices.EqualFunc(a.Value, b.Value, equal)
	case *types.AttributeValueMemberM:
		b, ok := b.(*types.AttributeValueMemberM)
		return ok && maps.EqualFunc(a.Value, b.Value, equal)
	}
	return false
}
