package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

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

// decode decodes an item that exists.
func (t *Table) decode(op string, k key, in item, v any) error {
	switch schema, ok := count(in["schema"]); {
	case !ok || schema < 1:
		return t.unreadable(op, k, errors.New("attribute schema: missing or not a positive number"))
	case schema > policy.Schema:
		return fault.New(fault.Internal, op, "item %s of table %s: %w (%d, not %d); deploy the newer version again, or delete the item", k, t.Name, ErrSchema, schema, policy.Schema)
	}
	if err := unmarshal(in, v); err != nil {
		return t.unreadable(op, k, err)
	}
	return nil
}

func (t *Table) unreadable(op string, k key, why error) error {
	return fault.New(fault.Internal, op, "item %s of table %s: %w; correct it, or delete it: %w", k, t.Name, ErrUnreadable, why)
}
