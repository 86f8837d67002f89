package localaws

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// tables are DynamoDB's. moto's transactions are not atomic, and neither are its
// conditional writes, so that one call of a region is answered at a time.
type tables struct{ regions regionLocks }

// answer answers a call of DynamoDB's.
func (ts *tables) answer(q *request, forward func(*request) *response) *response {
	defer ts.regions.lock(q.region)()
	resp := forward(q)
	if resp.status >= http.StatusInternalServerError && !json.Valid(resp.body) {
		// Where an expression is wrong, moto fails instead of saying so.
		return q.refuse(http.StatusBadRequest, "ValidationException", "Invalid request: moto cannot answer it")
	}
	return resp
}

// transactionRights are what an item of a transaction needs: a transaction has
// no action of its own in policies.
var transactionRights = map[string]string{
	"ConditionCheck": "ConditionCheckItem", "Delete": "DeleteItem", "Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem",
}

// tableRights are the rights of a call of DynamoDB's, or none where the request
// names no table.
func tableRights(q *request) []right {
	needed := map[string][]string{}
	need := func(action string, table any, index string) {
		name, _ := table.(string)
		if name == "" {
			return
		}
		resource := name
		if !strings.HasPrefix(name, "arn:") {
			resource = fmt.Sprintf("arn:%s:dynamodb:%s:%s:table/%s", partition(q.region), q.region, AccountID, name)
		}
		if index != "" {
			resource += "/index/" + index
		}
		if !slices.Contains(needed[action], resource) {
			needed[action] = append(needed[action], resource)
		}
	}
	switch q.action {
	case "BatchGetItem", "BatchWriteItem":
		items, _ := q.json["RequestItems"].(map[string]any)
		for _, table := range slices.Sorted(maps.Keys(items)) {
			need(q.action, table, "")
		}
	case "TransactWriteItems", "TransactGetItems":
		items, _ := q.json["TransactItems"].([]any)
		for _, i := range items {
			item, _ := i.(map[string]any)
			for kind, o := range item {
				operation, _ := o.(map[string]any)
				if action := transactionRights[kind]; action != "" {
					need(action, operation["TableName"], "")
				}
			}
		}
	case "TagResource", "UntagResource", "ListTagsOfResource":
		need(q.action, q.json["ResourceArn"], "")
	default:
		need(q.action, q.json["TableName"], q.text("IndexName"))
	}
	var rights []right
	for _, action := range slices.Sorted(maps.Keys(needed)) {
		rights = append(rights, right{"dynamodb", action, needed[action], nil})
	}
	return rights
}
