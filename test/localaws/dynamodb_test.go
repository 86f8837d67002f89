package localaws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type (
	item = map[string]ddbtypes.AttributeValue
	str  = ddbtypes.AttributeValueMemberS
	num  = ddbtypes.AttributeValueMemberN
	list = ddbtypes.AttributeValueMemberL
)

// plainItems compares items by what they hold.
var plainItems = cmpopts.IgnoreUnexported(str{}, num{}, list{})

func number(i int) *num          { return &num{Value: strconv.Itoa(i)} }
func text(v string) *str         { return &str{Value: v} }
func itemKey(pk, sk string) item { return item{"pk": text(pk), "sk": text(sk)} }

// with adds fields to an item.
func with(i item, more item) item {
	maps.Copy(i, more)
	return i
}

// makeTable makes a table as the deployment's is.
func makeTable(t *testing.T, a *AWS, region string) (*dynamodb.Client, *string) {
	t.Helper()
	client := dynamodb.NewFromConfig(a.Config(region), func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
	name := unique(t)
	if _, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: ddbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []ddbtypes.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: ddbtypes.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: ddbtypes.ScalarAttributeTypeS},
		},
		KeySchema: []ddbtypes.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: ddbtypes.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: ddbtypes.KeyTypeRange},
		},
	}); err != nil {
		t.Fatal(err)
	}
	return client, &name
}

func TestTableSettings(t *testing.T) {
	a := shared(t)
	client, table := makeTable(t, a, region)
	ctx := t.Context()
	if _, err := client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
		TableName: table, PointInTimeRecoverySpecification: &ddbtypes.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: table, TimeToLiveSpecification: &ddbtypes.TimeToLiveSpecification{AttributeName: aws.String("expiresAt"), Enabled: aws.Bool(true)},
	}); err != nil {
		t.Fatal(err)
	}
	described, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: table})
	if err != nil {
		t.Fatal(err)
	}
	backups, err := client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: table})
	if err != nil {
		t.Fatal(err)
	}
	ttl, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: table})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		string(described.Table.TableStatus), string(described.Table.BillingModeSummary.BillingMode),
		string(backups.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus),
		string(ttl.TimeToLiveDescription.TimeToLiveStatus), aws.ToString(ttl.TimeToLiveDescription.AttributeName),
	}
	if diff := cmp.Diff([]string{"ACTIVE", "PAY_PER_REQUEST", "ENABLED", "ENABLED", "expiresAt"}, got); diff != "" {
		t.Error(diff)
	}
	// A tag that is set again has its new value only.
	for _, value := range []string{"old", "new"} {
		if _, err := client.TagResource(ctx, &dynamodb.TagResourceInput{
			ResourceArn: described.Table.TableArn, Tags: []ddbtypes.Tag{{Key: aws.String("k"), Value: &value}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	tags, err := client.ListTagsOfResource(ctx, &dynamodb.ListTagsOfResourceInput{ResourceArn: described.Table.TableArn})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "new" {
		t.Errorf("got %+v, %v", tags, err)
	}
}

func TestItems(t *testing.T) {
	a := shared(t)
	client, table := makeTable(t, a, region)
	ctx := t.Context()
	guard := itemKey("instance#i-1", "guard")

	t.Run("conditional update", func(t *testing.T) {
		take := func(holder string, now int) error {
			_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
				TableName: table, Key: guard,
				UpdateExpression:    aws.String("SET holder = :holder, heldUntil = :until, version = if_not_exists(version, :none) + :one, reboots = list_append(if_not_exists(reboots, :empty), :more)"),
				ConditionExpression: aws.String("attribute_not_exists(pk) OR heldUntil < :now OR (holder = :holder AND attribute_exists(version))"),
				ExpressionAttributeValues: item{
					":holder": text(holder), ":until": number(now + 60), ":now": number(now), ":one": number(1), ":none": number(0),
					":empty": &list{Value: []ddbtypes.AttributeValue{}}, ":more": &list{Value: []ddbtypes.AttributeValue{number(now)}},
				},
				ReturnValues: ddbtypes.ReturnValueAllNew, ReturnValuesOnConditionCheckFailure: ddbtypes.ReturnValuesOnConditionCheckFailureAllOld,
			})
			return err
		}
		if err := take("first", 1000); err != nil {
			t.Fatal(err)
		}
		err := take("second", 1050)
		failed, ok := errors.AsType[*ddbtypes.ConditionalCheckFailedException](err)
		if !ok {
			t.Fatalf("got %v", err)
		}
		want := with(itemKey("instance#i-1", "guard"), item{
			"holder": text("first"), "heldUntil": number(1060), "version": number(1), "reboots": &list{Value: []ddbtypes.AttributeValue{number(1000)}},
		})
		if diff := cmp.Diff(want, failed.Item, plainItems); diff != "" {
			t.Error(diff)
		}
		for _, err := range []error{take("first", 1055), take("second", 1200)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("batch", func(t *testing.T) {
		out, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]ddbtypes.KeysAndAttributes{
			*table: {Keys: []item{guard, itemKey("region", "breaker"), itemKey("region", "pause")}, ConsistentRead: aws.Bool(true)},
		}})
		if err != nil || len(out.Responses[*table]) != 1 || len(out.UnprocessedKeys) != 0 {
			t.Fatalf("got %+v, %v", out, err)
		}
		if got := out.Responses[*table][0]; got["holder"].(*str).Value != "second" || got["version"].(*num).Value != "3" || len(got["reboots"].(*list).Value) != 3 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("transaction", func(t *testing.T) {
		raise := func(sk string, from int) ddbtypes.TransactWriteItem {
			return ddbtypes.TransactWriteItem{Update: &ddbtypes.Update{
				TableName: table, Key: itemKey("transaction", sk), UpdateExpression: aws.String("SET version = :new"),
				ConditionExpression:                 aws.String("attribute_not_exists(version) OR version = :old"),
				ExpressionAttributeValues:           item{":old": number(from), ":new": number(from + 1)},
				ReturnValuesOnConditionCheckFailure: ddbtypes.ReturnValuesOnConditionCheckFailureAllOld,
			}}
		}
		write := func(token string, items ...ddbtypes.TransactWriteItem) error {
			in := &dynamodb.TransactWriteItemsInput{TransactItems: items}
			if token != "" {
				in.ClientRequestToken = &token
			}
			_, err := client.TransactWriteItems(ctx, in)
			return err
		}
		version := func(sk string) string {
			out, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: itemKey("transaction", sk), ConsistentRead: aws.Bool(true)})
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := out.Item["version"].(*num); ok {
				return v.Value
			}
			return "none"
		}
		if err := write("", raise("a", 0), raise("b", 0)); err != nil {
			t.Fatal(err)
		}
		// One condition of two fails: nothing is written.
		err := write("", raise("a", 1), raise("b", 7))
		cancelled, ok := errors.AsType[*ddbtypes.TransactionCanceledException](err)
		if !ok {
			t.Fatalf("got %v", err)
		}
		var reasons []string
		for _, r := range cancelled.CancellationReasons {
			reasons = append(reasons, aws.ToString(r.Code))
		}
		if diff := cmp.Diff([]string{"None", "ConditionalCheckFailed"}, reasons); diff != "" {
			t.Error(diff)
		}
		if got := cancelled.CancellationReasons[1].Item["version"].(*num).Value; got != "1" {
			t.Errorf("the item that failed has version %s", got)
		}
		if got := version("a") + version("b"); got != "11" {
			t.Errorf("versions %s", got)
		}
	})
	t.Run("query", func(t *testing.T) {
		for i := range 7 {
			if _, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: with(itemKey("incident", fmt.Sprintf("2026-11-2%d", i)),
				item{"instanceId": text([]string{"i-1", "i-2"}[i%2]), "end": text("paged")})}); err != nil {
				t.Fatal(err)
			}
		}
		in := &dynamodb.QueryInput{
			TableName: table, KeyConditionExpression: aws.String("pk = :pk AND sk >= :since"), FilterExpression: aws.String("instanceId = :id"),
			ProjectionExpression: aws.String("sk, #end"), ExpressionAttributeNames: map[string]string{"#end": "end"},
			ExpressionAttributeValues: item{":pk": text("incident"), ":since": text("2026-11-21"), ":id": text("i-1")},
			ScanIndexForward:          aws.Bool(false), ConsistentRead: aws.Bool(true), Limit: aws.Int32(2),
		}
		var got []string
		pages := 0
		for {
			out, err := client.Query(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, i := range out.Items {
				got = append(got, i["sk"].(*str).Value+" "+i["end"].(*str).Value)
			}
			if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
				break
			}
		}
		if diff := cmp.Diff([]string{"2026-11-26 paged", "2026-11-24 paged", "2026-11-22 paged"}, got); diff != "" || pages < 3 {
			t.Errorf("%d pages: %s", pages, diff)
		}
	})
	t.Run("delete", func(t *testing.T) {
		in := &dynamodb.DeleteItemInput{TableName: table, Key: guard, ConditionExpression: aws.String("version = :v"), ExpressionAttributeValues: item{":v": number(1)}}
		if _, err := client.DeleteItem(ctx, in); code(err) != "ConditionalCheckFailedException" {
			t.Errorf("got %v", err)
		}
		in.ExpressionAttributeValues[":v"] = number(3)
		if _, err := client.DeleteItem(ctx, in); err != nil {
			t.Error(err)
		}
	})
}

// What DynamoDB refuses in a request is refused.
func TestBadExpressions(t *testing.T) {
	a := shared(t)
	client, table := makeTable(t, a, region)
	update := func(expression, condition string, names map[string]string, values item) error {
		in := &dynamodb.UpdateItemInput{TableName: table, Key: itemKey("a", "b"), UpdateExpression: &expression, ExpressionAttributeNames: names, ExpressionAttributeValues: values}
		if condition != "" {
			in.ConditionExpression = &condition
		}
		_, err := client.UpdateItem(t.Context(), in)
		return err
	}
	query := func(keys, filter, projection string, values item) error {
		in := &dynamodb.QueryInput{TableName: table, KeyConditionExpression: &keys, ExpressionAttributeValues: values}
		if filter != "" {
			in.FilterExpression = &filter
		}
		if projection != "" {
			in.ProjectionExpression = &projection
		}
		_, err := client.Query(t.Context(), in)
		return err
	}
	for what, tt := range map[string]struct {
		err  error
		want string
	}{
		"fine":                      {update("SET a = :a", "attribute_not_exists(pk)", nil, item{":a": number(1)}), ""},
		"fine, nested":              {update("SET #b.c[0] = :a REMOVE a", "attribute_exists(#b)", map[string]string{"#b": "by"}, item{":a": number(1)}), "conditional request failed"},
		"a value too many":          {update("SET a = :a", "", nil, item{":a": number(1), ":b": number(1)}), ":b"},
		"a name too many":           {update("SET a = :a", "", map[string]string{"#x": "x"}, item{":a": number(1)}), "#x"},
		"an undefined value":        {update("SET a = :a", "b = :b", nil, item{":a": number(1)}), ":b"},
		"an undefined name":         {update("SET #a = :a", "", nil, item{":a": number(1)}), "#a"},
		"a reserved word":           {update("SET until = :a", "", nil, item{":a": number(1)}), "reserved keyword: until"},
		"a reserved word, in depth": {update("SET a = :a", "b.by = :a", nil, item{":a": number(1)}), "reserved keyword: by"},
		"no expression":             {update("SET a = :a", "b ? :a", nil, item{":a": number(1)}), "ValidationException"},
		"a query":                   {query("pk = :pk", "", "", item{":pk": text("x")}), ""},
		"a value of a filter":       {query("pk = :pk", "a = :a", "", item{":pk": text("x")}), ":a"},
		"a value too many to query": {query("pk = :pk", "", "", item{":pk": text("x"), ":x": text("y")}), ":x"},
		"a reserved projection":     {query("pk = :pk", "", "sk, until", item{":pk": text("x")}), "reserved keyword: until"},
	} {
		if got := fmt.Sprint(tt.err); (tt.err == nil) != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %s, want %q", what, got, tt.want)
		}
	}
	if _, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("nobody"), Key: itemKey("a", "b")}); code(err) != "ResourceNotFoundException" {
		t.Errorf("no such table: %v", err)
	}
}

// Of writers that raise a version, each by one, none is lost; nor is a half of a
// transaction seen.
func TestTableIsAtomic(t *testing.T) {
	a := shared(t)
	client, table := makeTable(t, a, region)
	const writers, each = 6, 4
	raise := func(ctx context.Context) error {
		for {
			out, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]ddbtypes.KeysAndAttributes{
				*table: {Keys: []item{itemKey("r", "a"), itemKey("r", "b")}, ConsistentRead: aws.Bool(true)},
			}})
			if err != nil {
				return err
			}
			found := out.Responses[*table]
			if len(found) == 1 || len(found) == 2 && found[0]["version"].(*num).Value != found[1]["version"].(*num).Value {
				return fmt.Errorf("half a transaction: %v", found)
			}
			old := 0
			if len(found) == 2 {
				if old, err = strconv.Atoi(found[0]["version"].(*num).Value); err != nil {
					return err
				}
			}
			var items []ddbtypes.TransactWriteItem
			for _, sk := range []string{"a", "b"} {
				items = append(items, ddbtypes.TransactWriteItem{Put: &ddbtypes.Put{
					TableName: table, Item: with(itemKey("r", sk), item{"version": number(old + 1)}),
					ConditionExpression: aws.String("attribute_not_exists(pk) OR version = :old"), ExpressionAttributeValues: item{":old": number(old)},
				}})
			}
			_, err = client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items})
			if code(err) != "TransactionCanceledException" {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := raise(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: table, Key: itemKey("r", "a"), ConsistentRead: aws.Bool(true)})
	if err != nil || out.Item["version"].(*num).Value != strconv.Itoa(writers*each) {
		t.Errorf("got %v, %v, want version %d", out.Item, err, writers*each)
	}
}

// One call of a region is answered at a time, and those of another do not wait.
func TestTablesAnswerOneByOne(t *testing.T) {
	var ts tables
	var mu sync.Mutex
	busy, most := map[string]int{}, map[string]int{}
	both := make(chan struct{})
	forward := func(q *request) *response {
		mu.Lock()
		busy[q.region]++
		most[q.region] = max(most[q.region], busy[q.region])
		if busy["a"] > 0 && busy["b"] > 0 {
			select {
			case <-both:
			default:
				close(both)
			}
		}
		mu.Unlock()
		<-both
		time.Sleep(time.Millisecond) // so that others could come in
		mu.Lock()
		defer mu.Unlock()
		busy[q.region]--
		return &response{status: http.StatusOK}
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			q := &request{signed: "dynamodb", action: "UpdateItem", region: []string{"a", "b"}[i%2]}
			if resp := ts.answer(q, forward); resp.status != http.StatusOK {
				t.Errorf("got %+v", resp)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 1}, most); diff != "" {
		t.Error(diff)
	}
}

// The rights of a call are those that a policy has to allow.
func TestTableRights(t *testing.T) {
	a := shared(t)
	const region = "eu-north-1"
	client, table := makeTable(t, a, region)
	before := len(a.Calls())
	ctx := t.Context()
	_, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]ddbtypes.KeysAndAttributes{*table: {Keys: []item{itemKey("a", "b")}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []ddbtypes.TransactWriteItem{
		{Put: &ddbtypes.Put{TableName: table, Item: itemKey("a", "b")}},
		{Put: &ddbtypes.Put{TableName: table, Item: itemKey("a", "c")}},
		{ConditionCheck: &ddbtypes.ConditionCheck{TableName: table, Key: itemKey("x", "y"), ConditionExpression: aws.String("attribute_not_exists(pk)")}},
		{Delete: &ddbtypes.Delete{TableName: table, Key: itemKey("c", "d")}},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ListTables(ctx, nil); err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:dynamodb:" + region + ":" + AccountID + ":table/" + *table
	want := []string{"BatchGetItem " + arn, "ConditionCheckItem " + arn, "DeleteItem " + arn, "PutItem " + arn, "ListTables *"}
	var got []string
	for _, c := range a.Calls()[before:] {
		if c.Region == region && c.Service == "dynamodb" {
			got = append(got, c.Action+" "+strings.Join(c.Resources, ","))
		}
	}
	if !slices.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}
