package localaws

import (
	"bytes"
	"encoding/json"
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
	// state machines, rules and deployments of this project call, and "*" for the
	// rest.
	Resources []string
	// Context are the condition keys of a call of [AWS.NewPrincipal]'s.
	Context map[string]string
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
