package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/test/dynamo"
)

// attribute is the value of an attribute as DynamoDB's JSON has it
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html).
type attribute struct {
	S    *string     `json:"S,omitempty"`
	N    *string     `json:"N,omitempty"`
	BOOL *bool       `json:"BOOL,omitempty"`
	NULL *bool       `json:"NULL,omitempty"`
	L    []attribute `json:"L,omitzero"`
	M    attributes  `json:"M,omitzero"`
}

type attributes map[string]attribute

func (a attribute) value() types.AttributeValue {
	switch {
	case a.S != nil:
		return &types.AttributeValueMemberS{Value: *a.S}
	case a.N != nil:
		return &types.AttributeValueMemberN{Value: *a.N}
	case a.BOOL != nil:
		return &types.AttributeValueMemberBOOL{Value: *a.BOOL}
	case a.NULL != nil:
		return &types.AttributeValueMemberNULL{Value: *a.NULL}
	case a.L != nil:
		list := []types.AttributeValue{}
		for _, v := range a.L {
			list = append(list, v.value())
		}
		return &types.AttributeValueMemberL{Value: list}
	}
	return &types.AttributeValueMemberM{Value: a.M.item()}
}

func (as attributes) item() dynamo.Item {
	if as == nil {
		return nil
	}
	item := dynamo.Item{}
	for name, a := range as {
		item[name] = a.value()
	}
	return item
}

func attributeOf(v types.AttributeValue) attribute {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return attribute{S: &v.Value}
	case *types.AttributeValueMemberN:
		return attribute{N: &v.Value}
	case *types.AttributeValueMemberBOOL:
		return attribute{BOOL: &v.Value}
	case *types.AttributeValueMemberNULL:
		return attribute{NULL: &v.Value}
	case *types.AttributeValueMemberL:
		list := []attribute{}
		for _, e := range v.Value {
			list = append(list, attributeOf(e))
		}
		return attribute{L: list}
	case *types.AttributeValueMemberM:
		return attribute{M: attributesOf(v.Value)}
	}
	return attribute{}
}

func attributesOf(item dynamo.Item) attributes {
	as := attributes{}
	for name, v := range item {
		as[name] = attributeOf(v)
	}
	return as
}

func attributesOfAll(items []dynamo.Item) []attributes {
	all := []attributes{}
	for _, i := range items {
		all = append(all, attributesOf(i))
	}
	return all
}

// tableInput has the fields of all calls of DynamoDB that the function makes.
type tableInput struct {
	TableName, UpdateExpression, ConditionExpression *string
	Key, ExpressionAttributeValues                   attributes
	ExpressionAttributeNames                         map[string]string
	// Query.
	KeyConditionExpression, FilterExpression, ProjectionExpression *string
	ConsistentRead, ScanIndexForward                               *bool
	Limit                                                          *int32
	ExclusiveStartKey                                              attributes
	// BatchGetItem.
	RequestItems map[string]struct {
		Keys           []attributes
		ConsistentRead *bool
	}
	// TransactWriteItems.
	ClientRequestToken *string
	TransactItems      []struct{ Update *tableInput }
}

// answerTable answers a call of DynamoDB from the one in memory.
func answerTable(ctx context.Context, db *dynamo.DB, action string, body []byte) (any, error) {
	var in tableInput
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	switch action {
	case "BatchGetItem":
		keys := &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{}}
		for table, asked := range in.RequestItems {
			wanted := types.KeysAndAttributes{ConsistentRead: asked.ConsistentRead}
			for _, k := range asked.Keys {
				wanted.Keys = append(wanted.Keys, k.item())
			}
			keys.RequestItems[table] = wanted
		}
		out, err := db.BatchGetItem(ctx, keys)
		if err != nil {
			return nil, err
		}
		found := map[string][]attributes{}
		for table, items := range out.Responses {
			found[table] = attributesOfAll(items)
		}
		return map[string]any{"Responses": found, "UnprocessedKeys": struct{}{}}, nil
	case "Query":
		out, err := db.Query(ctx, &dynamodb.QueryInput{
			TableName: in.TableName, ConsistentRead: in.ConsistentRead, ScanIndexForward: in.ScanIndexForward, Limit: in.Limit,
			KeyConditionExpression: in.KeyConditionExpression, FilterExpression: in.FilterExpression, ProjectionExpression: in.ProjectionExpression,
			ExpressionAttributeNames: in.ExpressionAttributeNames, ExpressionAttributeValues: in.ExpressionAttributeValues.item(),
			ExclusiveStartKey: in.ExclusiveStartKey.item(),
		})
		if err != nil {
			return nil, err
		}
		return map[string]any{"Items": attributesOfAll(out.Items), "Count": out.Count, "ScannedCount": out.ScannedCount}, nil
	case "UpdateItem":
		_, err := db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: in.TableName, Key: in.Key.item(), UpdateExpression: in.UpdateExpression, ConditionExpression: in.ConditionExpression,
			ExpressionAttributeNames: in.ExpressionAttributeNames, ExpressionAttributeValues: in.ExpressionAttributeValues.item(),
		})
		return struct{}{}, err
	case "TransactWriteItems":
		writes := &dynamodb.TransactWriteItemsInput{}
		for _, w := range in.TransactItems {
			if w.Update == nil {
				return nil, errors.New("the benchmark knows updates only")
			}
			writes.TransactItems = append(writes.TransactItems, types.TransactWriteItem{Update: &types.Update{
				TableName: w.Update.TableName, Key: w.Update.Key.item(), UpdateExpression: w.Update.UpdateExpression, ConditionExpression: w.Update.ConditionExpression,
				ExpressionAttributeNames: w.Update.ExpressionAttributeNames, ExpressionAttributeValues: w.Update.ExpressionAttributeValues.item(),
			}})
		}
		_, err := db.TransactWriteItems(ctx, writes)
		return struct{}{}, err
	}
	return nil, fmt.Errorf("the benchmark knows no %s", action)
}
