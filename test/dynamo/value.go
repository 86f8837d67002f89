package dynamo

import (
	"math/big"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// clone copies an item to the bottom, so that whoever writes shares no value with
// the table.
func clone(i Item) Item {
	if i == nil {
		return nil
	}
	out := make(Item, len(i))
	for name, v := range i {
		out[name] = cloneValue(v)
	}
	return out
}

func cloneValue(v types.AttributeValue) types.AttributeValue {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return &types.AttributeValueMemberS{Value: v.Value}
	case *types.AttributeValueMemberN:
		return &types.AttributeValueMemberN{Value: v.Value}
	case *types.AttributeValueMemberBOOL:
		return &types.AttributeValueMemberBOOL{Value: v.Value}
	case *types.AttributeValueMemberNULL:
		return &types.AttributeValueMemberNULL{Value: v.Value}
	case *types.AttributeValueMemberL:
		out := make([]types.AttributeValue, len(v.Value))
		for n := range v.Value {
			out[n] = cloneValue(v.Value[n])
		}
		return &types.AttributeValueMemberL{Value: out}
	case *types.AttributeValueMemberM:
		return &types.AttributeValueMemberM{Value: clone(v.Value)}
	}
	return nil
}

// typeOf is the name of a value's type, as attribute_type has it; "" for a type
// that is not known here.
func typeOf(v types.AttributeValue) string {
	switch v.(type) {
	case *types.AttributeValueMemberS:
		return "S"
	case *types.AttributeValueMemberN:
		return "N"
	case *types.AttributeValueMemberBOOL:
		return "BOOL"
	case *types.AttributeValueMemberNULL:
		return "NULL"
	case *types.AttributeValueMemberL:
		return "L"
	case *types.AttributeValueMemberM:
		return "M"
	}
	return ""
}

// valid reports whether a value can be stored: its types are known here, and its
// numbers are numbers.
func valid(v types.AttributeValue) bool {
	switch v := v.(type) {
	case *types.AttributeValueMemberN:
		if _, ok := wholeOf(v); ok {
			return true
		}
		_, ok := numberOf(v)
		return ok
	case *types.AttributeValueMemberL:
		for _, e := range v.Value {
			if !valid(e) {
				return false
			}
		}
	case *types.AttributeValueMemberM:
		for _, e := range v.Value {
			if !valid(e) {
				return false
			}
		}
	}
	return typeOf(v) != ""
}

func numberOf(v types.AttributeValue) (*big.Rat, bool) {
	if n, ok := v.(*types.AttributeValueMemberN); ok {
		return new(big.Rat).SetString(n.Value)
	}
	return nil, false
}

// wholeOf is a number without a fraction that is not too large, which most are.
func wholeOf(v types.AttributeValue) (int64, bool) {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	return i, err == nil
}

// size is an item's size in bytes
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
func size(i Item) int {
	n := 0
	for name, v := range i {
		n += len(name) + sizeOf(v)
	}
	return n
}

func sizeOf(v types.AttributeValue) int {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 2
	case *types.AttributeValueMemberL:
		n := 3
		for _, e := range v.Value {
			n += 1 + sizeOf(e)
		}
		return n
	case *types.AttributeValueMemberM:
		return 3 + size(v.Value) + len(v.Value)
	}
	return 1
}
