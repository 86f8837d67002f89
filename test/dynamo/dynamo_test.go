package dynamo_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/test/dynamo"
)

func text(s string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: s} }
func number(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func list(s ...string) types.AttributeValue {
	l := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
	for _, one := range s {
		l.Value = append(l.Value, text(one))
	}
	return l
}

func keyOf(sk string) dynamo.Item { return dynamo.Item{"pk": text("p"), "sk": text(sk)} }

// names are those that an expression uses.
func names(expressions ...string) map[string]string {
	all := map[string]string{}
	for _, word := range strings.FieldsFunc(strings.Join(expressions, " "), func(r rune) bool { return strings.ContainsRune(" (),=<>+", r) }) {
		if strings.HasPrefix(word, "#") {
			all[word] = word[1:]
		}
	}
	return all
}

func update(sk, update, condition string, values dynamo.Item) *types.Update {
	u := &types.Update{TableName: aws.String("t"), Key: keyOf(sk), UpdateExpression: &update, ExpressionAttributeNames: names(update, condition), ExpressionAttributeValues: values}
	if condition != "" {
		u.ConditionExpression = &condition
	}
	return u
}

func single(t *testing.T, db *dynamo.DB, u *types.Update) error {
	_, err := db.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: u.TableName, Key: u.Key, UpdateExpression: u.UpdateExpression, ConditionExpression: u.ConditionExpression,
		ExpressionAttributeNames: u.ExpressionAttributeNames, ExpressionAttributeValues: u.ExpressionAttributeValues,
	})
	return err
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

const (
	met     = ""
	refused = "ConditionalCheckFailedException"
	invalid = "ValidationException"
)

func TestConditions(t *testing.T) {
	v := func(pairs ...any) dynamo.Item {
		i := dynamo.Item{":x": number("1")}
		for n := 0; n+1 < len(pairs); n += 2 {
			i[pairs[n].(string)] = pairs[n+1].(types.AttributeValue)
		}
		return i
	}
	tests := []struct {
		condition string
		values    dynamo.Item
		want      string
	}{
		{"attribute_not_exists(#pk)", v(), refused},
		{"attribute_not_exists(#other)", v(), met},
		{"attribute_exists(#pk)", v(), met},
		{"#n = :n", v(":n", number("7")), met},
		{"#n = :n", v(":n", number("7.0")), met},
		{"#n = :n", v(":n", number("8")), refused},
		{"#n = :n", v(":n", text("7")), refused},
		{"#n < :n", v(":n", number("10")), met},
		{"#n <= :n", v(":n", number("6")), refused},
		{"#n >= :n", v(":n", number("7")), met},
		{"#other <= :n", v(":n", number("7")), refused},
		{"#n BETWEEN :n AND :m", v(":n", number("7"), ":m", number("9")), met},
		{"#s BETWEEN :n AND :m", v(":n", text("b"), ":m", text("c")), refused},
		{"begins_with(#s, :s)", v(":s", text("ab")), met},
		{"begins_with(#s, :s)", v(":s", text("b")), refused},
		{"attribute_type(#l, :s)", v(":s", text("L")), met},
		{"attribute_type(#n, :s)", v(":s", text("L")), refused},
		{"(#n = :n OR #s = :s) AND attribute_exists(#l)", v(":n", number("8"), ":s", text("abc")), met},
		{"#n = :n OR #s = :s AND attribute_exists(#other)", v(":n", number("8"), ":s", text("abc")), refused},
		{"#n = :n AND (#s = :s OR attribute_exists(#other))", v(":n", number("8"), ":s", text("abc")), refused},
		// What is not known, or not right.
		{"contains(#s, :s)", v(":s", text("a")), invalid},
		{"NOT #n = :n", v(":n", number("7")), invalid},
		{"#n <> :n", v(":n", number("7")), invalid},
		{"#n = :n", v(), invalid},
		{"#n = :n", v(":n", number("7"), ":m", number("7")), invalid},
		{"#n = :n", v(":n", number("seven")), invalid},
		{"#n = :n)", v(":n", number("7")), invalid},
		{"(#n = :n", v(":n", number("7")), invalid},
		{"#n = :n AND", v(":n", number("7")), invalid},
		{"n = :n", v(":n", number("7")), invalid},
		{"#n = :n", v(":n", &types.AttributeValueMemberSS{Value: []string{"a"}}), invalid},
		{"#n = :n OR #n = :nope", v(":n", number("7")), invalid},
	}
	for _, tt := range tests {
		t.Run(tt.condition, func(t *testing.T) {
			db := dynamo.New("t")
			i := keyOf("a")
			i["n"], i["s"], i["l"] = number("7"), text("abc"), list()
			db.Put(i)
			err := single(t, db, update("a", "SET #x = :x", tt.condition, tt.values))
			if got := code(err); got != tt.want || (err != nil) != (tt.want != met) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if written := db.Get("p", "a")["x"] != nil; written != (tt.want == met) {
				t.Errorf("written: %t", written)
			}
		})
	}
}

func TestUpdates(t *testing.T) {
	tests := []struct {
		update string
		values dynamo.Item
		want   dynamo.Item // nil: refused
	}{
		{"SET #n = :v", dynamo.Item{":v": text("x")}, dynamo.Item{"n": text("x"), "l": list("a")}},
		{"SET #m = :v, #n = :v REMOVE #l", dynamo.Item{":v": text("x")}, dynamo.Item{"m": text("x"), "n": text("x")}},
		{"REMOVE #l, #other", nil, dynamo.Item{"n": number("7")}},
		{"SET #n = if_not_exists(#n, :v)", dynamo.Item{":v": text("x")}, dynamo.Item{"n": number("7"), "l": list("a")}},
		{"SET #n = if_not_exists(#n, :z) + :v", dynamo.Item{":z": number("0"), ":v": number("1")}, dynamo.Item{"n": number("8"), "l": list("a")}},
		{"SET #m = if_not_exists(#m, :z) + :v", dynamo.Item{":z": number("0"), ":v": number("1")}, dynamo.Item{"m": number("1"), "n": number("7"), "l": list("a")}},
		{"SET #l = list_append(if_not_exists(#l, :z), :v)", dynamo.Item{":z": list(), ":v": list("b")}, dynamo.Item{"n": number("7"), "l": list("a", "b")}},
		{"SET #m = list_append(if_not_exists(#m, :z), :v)", dynamo.Item{":z": list(), ":v": list("b")}, dynamo.Item{"m": list("b"), "n": number("7"), "l": list("a")}},
		// What is not known, or not right.
		{"SET #l = list_append(#n, :v)", dynamo.Item{":v": list("b")}, nil},
		{"SET #n = #l + :v", dynamo.Item{":v": number("1")}, nil},
		{"SET #n = #other", nil, nil},
		{"SET #n = :v, #n = :v", dynamo.Item{":v": text("x")}, nil},
		{"SET #n = :v REMOVE #n", dynamo.Item{":v": text("x")}, nil},
		{"SET #pk = :v", dynamo.Item{":v": text("x")}, nil},
		{"ADD #n :v", dynamo.Item{":v": number("1")}, nil},
		{"SET #n = :v - :v", dynamo.Item{":v": number("1")}, nil},
		{"SET #n = :v DELETE #l :v", dynamo.Item{":v": number("1")}, nil},
		{"SET #n.#l = :v", dynamo.Item{":v": number("1")}, nil},
		{"", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.update, func(t *testing.T) {
			db := dynamo.New("t")
			was := keyOf("a")
			was["n"], was["l"] = number("7"), list("a")
			db.Put(was)
			err := single(t, db, update("a", tt.update, "", tt.values))
			want := tt.want
			if want == nil {
				if code(err) != invalid {
					t.Errorf("got %v, want %s", err, invalid)
				}
				want = was
			} else if err != nil {
				t.Error(err)
			}
			want["pk"], want["sk"] = text("p"), text("a")
			if diff := cmp.Diff(want, db.Get("p", "a"), values()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// values compares attributes by what they hold.
func values() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool { return strings.Contains(p.String(), "noSmithyDocumentSerde") }, cmp.Ignore())
}

func TestATransactionIsAllOrNothing(t *testing.T) {
	db := dynamo.New("t")
	transact := func(updates ...*types.Update) error {
		in := &dynamodb.TransactWriteItemsInput{}
		for _, u := range updates {
			in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Update: u})
		}
		_, err := db.TransactWriteItems(t.Context(), in)
		return err
	}
	set := func(sk, condition string, v types.AttributeValue) *types.Update {
		return update(sk, "SET #v = :v", condition, dynamo.Item{":v": v})
	}
	if err := transact(set("a", "attribute_not_exists(#pk)", text("x")), set("b", "", text("x"))); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		updates []*types.Update
		want    []string
	}{
		"a condition": {[]*types.Update{set("b", "", text("y")), set("a", "attribute_not_exists(#pk)", text("y"))}, []string{"None", "ConditionalCheckFailed"}},
		"a size":      {[]*types.Update{set("a", "", text(strings.Repeat("y", 400<<10))), set("b", "", text("y"))}, []string{"ValidationError", "None"}},
		"a syntax":    {[]*types.Update{set("a", "", text("y")), set("b", "#v", text("y"))}, []string{"None", "ValidationError"}},
		"one twice":   {[]*types.Update{set("a", "", text("y")), set("a", "", text("z"))}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := transact(tt.updates...)
			var got []string
			if c, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
				for _, r := range c.CancellationReasons {
					got = append(got, aws.ToString(r.Code))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err == nil {
				t.Error(diff, err)
			}
			for _, sk := range []string{"a", "b"} {
				if diff := cmp.Diff(text("x"), db.Get("p", sk)["v"], values()); diff != "" {
					t.Error(sk, diff)
				}
			}
		})
	}
}

func TestHooks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	db := dynamo.New("t")
	put := func() error {
		i := keyOf("a")
		i["v"] = text("x")
		_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("t"), Item: i})
		return err
	}
	var calls []dynamo.Call
	db.Before = func(_ context.Context, c dynamo.Call) error {
		calls = append(calls, c)
		return dynamo.Throttled()
	}
	if err := put(); code(err) != "ThrottlingException" || db.Get("p", "a") != nil {
		t.Errorf("throttled: %v", err)
	}
	lost := errors.New("lost")
	db.Before, db.After = nil, func(context.Context, dynamo.Call) error { return lost }
	if err := put(); !errors.Is(err, lost) || db.Get("p", "a") == nil {
		t.Errorf("an answer that is lost: %v", err)
	}
	cancel()
	if err := put(); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
	if diff := cmp.Diff([]dynamo.Call{{Op: "PutItem", Keys: []string{"p/a"}}}, calls); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	db := dynamo.New("t")
	name, ctx := aws.String("t"), t.Context()
	calls := map[string]func() error{
		"another field": func() error {
			_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: name, Item: keyOf("a"), ReturnValues: types.ReturnValueAllOld})
			return err
		},
		"no sort key": func() error {
			_, err := db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: name, Key: dynamo.Item{"pk": text("p")}})
			return err
		},
		"not consistent": func() error {
			_, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"t": {Keys: []map[string]types.AttributeValue{keyOf("a")}}}})
			return err
		},
		"a query by another name": func() error {
			_, err := db.Query(ctx, &dynamodb.QueryInput{TableName: name, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("#v = :v"), ExpressionAttributeNames: map[string]string{"#v": "v"}, ExpressionAttributeValues: dynamo.Item{":v": text("x")}})
			return err
		},
		"a transaction without an update": func() error {
			_, err := db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Put: &types.Put{TableName: name, Item: keyOf("a")}}}})
			return err
		},
	}
	for what, call := range calls {
		if err := call(); code(err) != invalid {
			t.Errorf("%s: got %v, want %s", what, err, invalid)
		}
	}
	_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("other"), Item: keyOf("a")})
	if code(err) != "ResourceNotFoundException" {
		t.Errorf("another table: got %v", err)
	}
}

func TestNobodySharesValuesWithTheTable(t *testing.T) {
	db := dynamo.New("t")
	m := &types.AttributeValueMemberM{Value: dynamo.Item{"v": text("x")}}
	if err := single(t, db, update("a", "SET #m = :m", "", dynamo.Item{":m": m})); err != nil {
		t.Fatal(err)
	}
	m.Value["v"] = text("y")
	db.Get("p", "a")["m"].(*types.AttributeValueMemberM).Value["v"] = text("z")
	if diff := cmp.Diff(text("x"), db.Get("p", "a")["m"].(*types.AttributeValueMemberM).Value["v"], values()); diff != "" {
		t.Error(diff)
	}
}
