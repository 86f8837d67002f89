package localaws

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokenTime is how long DynamoDB knows a transaction by its token.
const tokenTime = 10 * time.Minute

// tables are DynamoDB's. moto's transactions are not atomic, and neither are its
// conditional writes, so that one call of a region is answered at a time.
type tables struct {
	regions regionLocks

	mu           sync.Mutex
	transactions map[string]transaction // by region and token
}

// transaction is one that was carried out.
type transaction struct {
	at     time.Time
	items  string
	answer *response
}

// answer answers a call of DynamoDB's.
func (ts *tables) answer(q *request, forward func(*request) *response) *response {
	defer ts.regions.lock(q.region)()
	key, items := "", ""
	if token := q.text("ClientRequestToken"); q.action == "TransactWriteItems" && token != "" {
		key = q.region + " " + token
		// The order of an object's fields is none.
		sorted, err := json.Marshal(q.json["TransactItems"])
		if err != nil {
			return q.refuse(http.StatusBadRequest, "SerializationException", err.Error())
		}
		items = string(sorted)
		if done, ok := ts.known(key); ok {
			if done.items != items {
				return q.refuse(http.StatusBadRequest, "IdempotentParameterMismatchException",
					"Request uses the same client token as a previous, but non-identical request")
			}
			return done.answer.clone()
		}
	}
	resp := forward(q)
	switch {
	case resp.status >= http.StatusInternalServerError && !json.Valid(resp.body):
		// Where an expression is wrong, moto fails instead of saying so.
		return q.refuse(http.StatusBadRequest, "ValidationException", "Invalid request: moto cannot answer it")
	case key != "" && resp.status == http.StatusOK:
		ts.remember(key, transaction{time.Now(), items, resp.clone()})
	}
	return resp
}

func (ts *tables) known(key string) (transaction, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	done, ok := ts.transactions[key]
	return done, ok && time.Since(done.at) < tokenTime
}

func (ts *tables) remember(key string, t transaction) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.transactions == nil {
		ts.transactions = map[string]transaction{}
	}
	maps.DeleteFunc(ts.transactions, func(_ string, old transaction) bool { return time.Since(old.at) >= tokenTime })
	ts.transactions[key] = t
}

// clone is a copy that may be changed.
func (r *response) clone() *response {
	return &response{status: r.status, header: r.header.Clone(), body: slices.Clone(r.body)}
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
		rights = append(rights, right{action, needed[action]})
	}
	return rights
}
