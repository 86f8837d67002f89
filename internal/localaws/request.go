package localaws

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Call is one call to AWS that the gateway saw.
type Call struct {
	// Time is when it came in.
	Time time.Time
	// Role is the ARN of the role that made it, or the service that did, as in
	// events.amazonaws.com; empty for callers outside.
	Role string
	// Service and Action are as in a policy: "lambda" and "InvokeFunction". A
	// transaction of DynamoDB, for which policies have no action, counts as a
	// call of each kind that it holds.
	Service, Action string
	Region          string
	// Resources are what a policy has to allow the action on: ARNs, or "*"
	// where the action has no resource level. They are exact for what functions,
	// state machines and rules of this project call, and "*" for the rest.
	Resources []string
	// Status is the HTTP status of the answer.
	Status int
}

// request is a call as it came in.
type request struct {
	http   *http.Request
	body   []byte
	key    string // access key
	token  string // session token: names a machine's role
	signed string // the service's signing name
	region string
	// action is the API's name of it, which is not always the policy's.
	action string
	path   []string // unescaped segments
	form   url.Values
	json   map[string]any
	cbor   bool
	// malformed is why the body cannot be read.
	malformed error
}

// engineKey is the access key of moto's States Language engine, which puts the
// role of the calling machine in the place of a session token.
const engineKey = "ak"

// credential finds who signed for what.
var credential = regexp.MustCompile(`Credential=([^/,\s]+)/\d+/([^/,\s]+)/([^/,\s]+)/aws4_request`)

// rpcPath is the path of Smithy's RPC protocol.
var rpcPath = regexp.MustCompile(`^/service/([^/]+)/operation/([^/]+)$`)

func parseRequest(r *http.Request, body []byte) *request {
	q := &request{http: r, body: body, token: r.Header.Get("X-Amz-Security-Token"), signed: "s3", region: "us-east-1"}
	auth := r.Header.Get("Authorization")
	if auth == "" {
		// A presigned address.
		auth = "Credential=" + r.URL.Query().Get("X-Amz-Credential")
	}
	if m := credential.FindStringSubmatch(auth); m != nil {
		q.key, q.region, q.signed = m[1], m[2], m[3]
	}
	for segment := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		if plain, err := url.PathUnescape(segment); err == nil {
			segment = plain
		}
		q.path = append(q.path, segment)
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case media == "application/x-www-form-urlencoded":
		q.form, _ = url.ParseQuery(string(body))
	case q.signed != "s3" && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")):
		_ = json.Unmarshal(body, &q.json)
	}
	rpc := rpcPath.FindStringSubmatch(r.URL.Path)
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		t := r.Header.Get("X-Amz-Target")
		q.action = t[strings.LastIndex(t, ".")+1:]
	case rpc != nil:
		q.action, q.cbor = rpc[2], true
		q.json, q.malformed = cborToJSON(body)
	case q.form.Get("Action") != "":
		q.action = q.form.Get("Action")
	case q.signed == "lambda":
		q.action = lambdaAction(r.Method, q.path)
	case q.signed == "route53":
		q.action = route53Action(r.Method, q.path)
	case q.signed == "s3":
		q.action = s3Action(r.Method, q.path, r.URL.Query())
	case q.signed == "xray" && len(q.path) == 1:
		q.action = "Put" + q.path[0]
	default:
		q.action = r.Method + " " + r.URL.Path
	}
	return q
}

func (q *request) is(signed, action string) bool { return q.signed == signed && q.action == action }

// text is a field of a JSON request.
func (q *request) text(name string) string {
	s, _ := q.json[name].(string)
	return s
}

// restAction names the actions of a REST service by method and path; "*" is
// any one segment.
type restAction struct{ method, path, name string }

func matchREST(actions []restAction, method string, path []string) string {
	for _, a := range actions {
		pattern := strings.Split(a.path, "/")
		if a.method != method || len(pattern) != len(path) {
			continue
		}
		matches := true
		for i, p := range pattern {
			matches = matches && (p == "*" || p == path[i])
		}
		if matches {
			return a.name
		}
	}
	return method + " /" + strings.Join(path, "/")
}

func lambdaAction(method string, path []string) string {
	if len(path) == 0 {
		return method
	}
	// The first segment is the version of that part of the API.
	return matchREST([]restAction{
		{"POST", "functions", "CreateFunction"},
		{"GET", "functions", "ListFunctions"},
		{"GET", "functions/*", "GetFunction"},
		{"DELETE", "functions/*", "DeleteFunction"},
		{"GET", "functions/*/configuration", "GetFunctionConfiguration"},
		{"PUT", "functions/*/configuration", "UpdateFunctionConfiguration"},
		{"PUT", "functions/*/code", "UpdateFunctionCode"},
		{"POST", "functions/*/versions", "PublishVersion"},
		{"GET", "functions/*/versions", "ListVersionsByFunction"},
		{"POST", "functions/*/invocations", "Invoke"},
		{"POST", "functions/*/invoke-async", "InvokeAsync"},
		{"PUT", "functions/*/concurrency", "PutFunctionConcurrency"},
		{"DELETE", "functions/*/concurrency", "DeleteFunctionConcurrency"},
		{"POST", "functions/*/aliases", "CreateAlias"},
		{"PUT", "functions/*/aliases/*", "UpdateAlias"},
		{"DELETE", "functions/*/aliases/*", "DeleteAlias"},
		{"POST", "functions/*/policy", "AddPermission"},
		{"GET", "functions/*/policy", "GetPolicy"},
		{"DELETE", "functions/*/policy/*", "RemovePermission"},
		{"GET", "functions/*/code-signing-config", "GetFunctionCodeSigningConfig"},
		{"GET", "tags/*", "ListTags"},
		{"POST", "tags/*", "TagResource"},
		{"DELETE", "tags/*", "UntagResource"},
		{"GET", "account-settings", "GetAccountSettings"},
		{"PUT", "functions/*/event-invoke-config", "PutFunctionEventInvokeConfig"},
		{"GET", "functions/*/event-invoke-config", "GetFunctionEventInvokeConfig"},
		{"DELETE", "functions/*/event-invoke-config", "DeleteFunctionEventInvokeConfig"},
	}, method, path[1:])
}

func route53Action(method string, path []string) string {
	return matchREST([]restAction{
		{"GET", "2013-04-01/healthcheck/*/status", "GetHealthCheckStatus"},
		{"GET", "2013-04-01/healthcheck/*", "GetHealthCheck"},
		{"POST", "2013-04-01/healthcheck", "CreateHealthCheck"},
		{"GET", "2013-04-01/healthcheck", "ListHealthChecks"},
		{"DELETE", "2013-04-01/healthcheck/*", "DeleteHealthCheck"},
	}, method, path)
}

func s3Action(method string, path []string, query url.Values) string {
	if len(path) > 1 {
		switch method {
		case http.MethodGet:
			return "GetObject"
		case http.MethodHead:
			return "HeadObject"
		case http.MethodPut:
			return "PutObject"
		case http.MethodDelete:
			return "DeleteObject"
		}
	}
	for name := range query {
		return method + " bucket " + name
	}
	return method + " bucket"
}

// policyService is a signing name as policies write it.
func (q *request) policyService() string {
	if q.signed == "monitoring" {
		return "cloudwatch"
	}
	return q.signed
}

// policyAction is an action as policies write it.
func (q *request) policyAction() string {
	switch q.signed + ":" + q.action {
	case "lambda:Invoke", "lambda:InvokeAsync":
		return "InvokeFunction"
	case "s3:HeadObject":
		return "GetObject"
	}
	return q.action
}

// right is an action, as policies write it, and what it is done on.
type right struct {
	action    string
	resources []string
}

// rights are what a policy has to allow for the call, at least one.
func (q *request) rights() []right {
	if q.signed == "dynamodb" {
		if rights := tableRights(q); len(rights) > 0 {
			return rights
		}
	}
	return []right{{q.policyAction(), q.resources()}}
}

// resources are what a policy has to allow the call on.
func (q *request) resources() []string {
	arn := func(service, rest string) string {
		return fmt.Sprintf("arn:%s:%s:%s:%s:%s", partition(q.region), service, q.region, AccountID, rest)
	}
	var found []string
	switch q.signed + ":" + q.action {
	case "ec2:RebootInstances", "ec2:StopInstances", "ec2:StartInstances", "ec2:TerminateInstances":
		for _, id := range instanceIDs(q.form) {
			found = append(found, arn("ec2", "instance/"+id))
		}
	case "ec2:GetConsoleOutput":
		found = append(found, arn("ec2", "instance/"+q.form.Get("InstanceId")))
	case "ec2:CreateTags", "ec2:DeleteTags":
		for i := 1; q.form.Get(fmt.Sprintf("ResourceId.%d", i)) != ""; i++ {
			if id := q.form.Get(fmt.Sprintf("ResourceId.%d", i)); strings.HasPrefix(id, "i-") {
				found = append(found, arn("ec2", "instance/"+id))
			}
		}
	case "ssm:GetParameter", "ssm:PutParameter", "ssm:DeleteParameter", "ssm:GetParameterHistory":
		found = append(found, parameterARN(arn, q.text("Name")))
	case "ssm:GetParameters", "ssm:DeleteParameters":
		names, _ := q.json["Names"].([]any)
		for _, name := range names {
			if name, ok := name.(string); ok {
				found = append(found, parameterARN(arn, name))
			}
		}
	case "ssm:GetParametersByPath":
		found = append(found, parameterARN(arn, q.text("Path")))
	case "route53:GetHealthCheckStatus", "route53:GetHealthCheck", "route53:DeleteHealthCheck":
		found = append(found, "arn:"+partition(q.region)+":route53:::healthcheck/"+q.path[2])
	case "lambda:Invoke", "lambda:InvokeAsync":
		f := parseFunctionName(q.path[2], q.http.URL.Query().Get("Qualifier"), q.region)
		found = append(found, f.arn())
	case "states:StartExecution", "states:StartSyncExecution", "states:ListExecutions", "states:DescribeStateMachine":
		found = append(found, q.text("stateMachineArn"))
	case "states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution":
		found = append(found, q.text("executionArn"))
	case "monitoring:DescribeAlarms":
		// AWS asks for all alarms, whichever ones the call names: its refusals
		// end in "on resource: arn:aws:cloudwatch:…:alarm:*".
		found = append(found, arn("cloudwatch", "alarm:*"))
	case "monitoring:SetAlarmState":
		if name := q.field("AlarmName"); name != "" {
			found = append(found, arn("cloudwatch", "alarm:"+name))
		}
	case "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes":
		address := q.text("QueueUrl")
		found = append(found, arn("sqs", address[strings.LastIndex(address, "/")+1:]))
	case "monitoring:PutDashboard", "monitoring:GetDashboard":
		// Dashboards belong to no region.
		found = append(found, fmt.Sprintf("arn:%s:cloudwatch::%s:dashboard/%s", partition(q.region), AccountID, q.field("DashboardName")))
	case "sns:Publish":
		found = append(found, cmp.Or(q.form.Get("TopicArn"), q.form.Get("TargetArn"), "*"))
	case "s3:GetObject", "s3:HeadObject", "s3:PutObject", "s3:DeleteObject":
		found = append(found, "arn:"+partition(q.region)+":s3:::"+strings.Join(q.path, "/"))
	case "events:PutEvents":
		entries, _ := q.json["Entries"].([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			found = append(found, arn("events", "event-bus/"+busName(entry["EventBusName"])))
		}
	}
	if len(found) == 0 {
		found = []string{"*"}
	}
	return found
}

func parameterARN(arn func(service, rest string) string, name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	return arn("ssm", "parameter/"+strings.TrimPrefix(name, "/"))
}

// partition is the first part of the ARNs of a region.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// field is a field of a request in any of the protocols.
func (q *request) field(name string) string {
	if value := q.form.Get(name); value != "" {
		return value
	}
	return q.text(name)
}
