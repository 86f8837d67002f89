package localaws

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// right is an action, as policies write it, what it is done on, and the condition
// keys that come with it.
type right struct {
	service, action string
	resources       []string
	context         map[string]string
}

// rights are what a policy has to allow for the call, at least one.
func (q *request) rights() []right {
	if q.signed == "dynamodb" {
		if rights := tableRights(q); len(rights) > 0 {
			return rights
		}
	}
	if q.is("s3", "DeleteObjects") {
		if rights := severalObjects(q); len(rights) > 0 {
			return rights
		}
	}
	resources := []string{"*"}
	if name := operations[q.signed+":"+q.action]; name != nil {
		if found := name(q); len(found) > 0 {
			resources = found
		}
	}
	return []right{{q.policyService(), q.policyAction(), resources, nil}}
}

// dependent are the rights that AWS wants for a call beside those of its own: to
// tag what is created, to pass a role, to read what a function is made of. The
// Service Authorization Reference calls them dependent actions
// (https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html).
func (q *request) dependent() (all []right) {
	need := func(service, action string, resources ...string) {
		all = append(all, right{service, action, resources, nil})
	}
	own := q.rights()[0]
	if action := tagging[q.signed+":"+q.action]; action != "" && len(q.tags()) > 0 {
		need(own.service, action, own.resources...)
	}
	pass := func(to string, role any) {
		if role, _ := role.(string); role != "" {
			all = append(all, right{"iam", "PassRole", []string{role}, map[string]string{"iam:PassedToService": to}})
		}
	}
	switch q.signed + ":" + q.action {
	case "lambda:CreateFunction", "lambda:UpdateFunctionConfiguration":
		pass("lambda.amazonaws.com", q.json["Role"])
		if vpc, _ := q.json["VpcConfig"].(map[string]any); len(items(vpc["SubnetIds"])) > 0 {
			// https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
			for _, action := range []string{"DescribeSecurityGroups", "DescribeSubnets", "DescribeVpcs", "GetSecurityGroupsForVpc"} {
				need("ec2", action, "*")
			}
		}
	case "lambda:GetFunction":
		// Without it the answer lacks the tags
		// (https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html).
		need("lambda", "ListTags", own.resources...)
	case "kms:CreateKey":
		// KMS takes no policy under which the caller could not change the policy again
		// (https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html). AWS
		// does not say that it knows the key's tags by then: here it knows the request's.
		need("kms", "PutKeyPolicy", "*")
	case "states:CreateStateMachine", "states:UpdateStateMachine":
		pass("states.amazonaws.com", q.json["roleArn"])
	case "events:PutTargets":
		for _, target := range items(q.json["Targets"]) {
			target, _ := target.(map[string]any)
			pass("events.amazonaws.com", target["RoleArn"])
		}
	}
	code, _ := q.json["Code"].(map[string]any)
	if q.is("lambda", "UpdateFunctionCode") {
		code = q.json
	}
	if bucket, _ := code["S3Bucket"].(string); bucket != "" {
		need("s3", "GetObject", q.global("s3", bucket+"/"+fmt.Sprint(code["S3Key"])))
	}
	return all
}

// tagging are the rights to create something with tags.
var tagging = map[string]string{
	"dynamodb:CreateTable": "TagResource", "events:PutRule": "TagResource", "iam:CreatePolicy": "TagPolicy", "iam:CreateRole": "TagRole",
	"kms:CreateKey": "TagResource", "lambda:CreateFunction": "TagResource", "logs:CreateLogGroup": "TagResource",
	"monitoring:PutMetricAlarm": "TagResource", "sns:CreateTopic": "TagResource", "sqs:CreateQueue": "TagQueue",
	"ssm:PutParameter": "AddTagsToResource", "states:CreateStateMachine": "TagResource",
}

// tags are those of a request, by key.
func (q *request) tags() map[string]string {
	tags := map[string]string{}
	for _, name := range []string{"Tags", "tags"} {
		named, _ := q.json[name].(map[string]any)
		for key, value := range named {
			tags[key] = fmt.Sprint(value)
		}
		for _, tag := range items(q.json[name]) {
			tag, _ := tag.(map[string]any)
			for _, keys := range [][2]string{{"Key", "Value"}, {"key", "value"}, {"TagKey", "TagValue"}} {
				if key, ok := tag[keys[0]].(string); ok {
					tags[key] = fmt.Sprint(tag[keys[1]])
				}
			}
		}
	}
	for name, values := range q.form {
		if prefix, ok := strings.CutSuffix(name, ".Key"); ok && strings.HasPrefix(name, "Tags.") {
			tags[values[0]] = q.form.Get(prefix + ".Value")
		}
	}
	return tags
}

// naming finds what a call is made on; nothing means "*".
type naming func(*request) []string

// operations are those whose rights are known, by signing name and API name. The
// names of actions and resources are those of the Service Authorization Reference.
var operations = func() map[string]naming {
	all := map[string]naming{}
	for _, o := range []struct {
		service, actions string
		on               naming
	}{
		{"ec2", "RebootInstances StopInstances StartInstances TerminateInstances GetConsoleOutput CreateTags DeleteTags", onInstances},
		{"ec2", "DescribeInstances DescribeInstanceStatus DescribeInstanceCreditSpecifications DescribeNetworkAcls DescribeNetworkInterfaces DescribeSecurityGroups DescribeRegions DescribeAvailabilityZones", onAnything},
		{"ssm", "GetParameter PutParameter DeleteParameter GetParameterHistory GetParameters DeleteParameters GetParametersByPath AddTagsToResource RemoveTagsFromResource ListTagsForResource", onParameters},
		{"ssm", "DescribeParameters", onAnything},
		{"route53", "ListHealthChecks", onAnything},
		{"route53", "GetHealthCheckStatus GetHealthCheck DeleteHealthCheck", func(q *request) []string { return []string{q.global("route53", "/healthcheck/"+q.path[2])} }},
		{"lambda", "CreateFunction GetFunction GetFunctionConfiguration DeleteFunction UpdateFunctionConfiguration UpdateFunctionCode PublishVersion ListVersionsByFunction GetFunctionCodeSigningConfig AddPermission GetPolicy RemovePermission PutFunctionEventInvokeConfig GetFunctionEventInvokeConfig DeleteFunctionEventInvokeConfig PutFunctionConcurrency DeleteFunctionConcurrency Invoke InvokeAsync ListTags TagResource UntagResource", onFunction},
		{"lambda", "GetAccountSettings", onAnything},
		{"iam", "GetAccountSummary", onAnything},
		{"states", "CreateStateMachine UpdateStateMachine DescribeStateMachine DeleteStateMachine ListStateMachineVersions ListTagsForResource TagResource UntagResource StartExecution StartSyncExecution ListExecutions DescribeExecution GetExecutionHistory StopExecution", onStateMachine},
		{"states", "ValidateStateMachineDefinition", onAnything},
		{"events", "PutRule DescribeRule DeleteRule PutTargets ListTargetsByRule RemoveTargets ListTagsForResource TagResource UntagResource", onRule},
		{"events", "PutEvents", onBuses},
		{"events", "TestEventPattern", onAnything},
		{"sqs", "CreateQueue GetQueueUrl GetQueueAttributes SetQueueAttributes DeleteQueue ListQueueTags TagQueue UntagQueue SendMessage ReceiveMessage DeleteMessage", onQueue},
		{"sns", "CreateTopic GetTopicAttributes SetTopicAttributes DeleteTopic ListTagsForResource TagResource UntagResource Subscribe ListSubscriptionsByTopic Publish", onTopic},
		// The Service Authorization Reference names no resource for these.
		{"sns", "GetSubscriptionAttributes SetSubscriptionAttributes Unsubscribe", onAnything},
		{"kms", "CreateKey ListAliases", onAnything},
		{"kms", "DescribeKey GetKeyPolicy PutKeyPolicy GetKeyRotationStatus EnableKey DisableKey EnableKeyRotation DisableKeyRotation ListResourceTags TagResource UntagResource UpdateKeyDescription ScheduleKeyDeletion CreateAlias DeleteAlias UpdateAlias", onKey},
		{"monitoring", "PutMetricAlarm DeleteAlarms SetAlarmState ListTagsForResource TagResource UntagResource", onAlarms},
		// AWS asks for all alarms, whichever ones the call names: its refusals end in
		// "on resource: arn:aws:cloudwatch:…:alarm:*".
		{"monitoring", "DescribeAlarms", func(q *request) []string { return []string{q.arn("cloudwatch", "alarm:*")} }},
		{"monitoring", "PutDashboard GetDashboard DeleteDashboards", onDashboards},
		{"monitoring", "GetMetricData ListMetrics", onAnything},
		{"logs", "CreateLogGroup PutRetentionPolicy DeleteRetentionPolicy DescribeLogGroups DeleteLogGroup ListTagsForResource TagResource UntagResource", onLogGroup},
		{"iam", "CreateRole GetRole DeleteRole UpdateRole UpdateRoleDescription UpdateAssumeRolePolicy PutRolePermissionsBoundary TagRole UntagRole ListRolePolicies ListAttachedRolePolicies ListInstanceProfilesForRole PutRolePolicy GetRolePolicy DeleteRolePolicy AttachRolePolicy DetachRolePolicy", onRole},
		{"iam", "CreatePolicy GetPolicy DeletePolicy GetPolicyVersion ListPolicyVersions CreatePolicyVersion DeletePolicyVersion TagPolicy UntagPolicy ListPolicyTags", onManagedPolicy},
		{"s3", "AbortMultipartUpload CreateBucket DeleteBucket ListBucket ListBucketVersions GetBucketLocation GetObject HeadObject PutObject DeleteObject DeleteObjectVersion GetObjectTagging PutObjectTagging DeleteObjects", onObjects},
		{"dynamodb", "CreateTable DescribeTable UpdateTable DeleteTable DescribeContinuousBackups UpdateContinuousBackups DescribeTimeToLive UpdateTimeToLive TagResource UntagResource ListTagsOfResource", onAnything}, // see tableRights
		// No policy can deny it.
		{"sts", "GetCallerIdentity", onAnything},
	} {
		for action := range strings.FieldsSeq(o.actions) {
			all[o.service+":"+action] = o.on
		}
	}
	for _, actions := range bucketActions {
		for _, action := range actions {
			all["s3:"+action] = onObjects
		}
	}
	return all
}()

func onAnything(*request) []string { return nil }

// arn is the ARN of something of the region that was called.
func (q *request) arn(service, rest string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", partition(q.region), service, q.region, AccountID, rest)
}

// global is the ARN of something that belongs to no region; rest may begin with the
// account.
func (q *request) global(service, rest string) string {
	return "arn:" + partition(q.region) + ":" + service + ":::" + strings.TrimPrefix(rest, "/")
}

func items(v any) []any {
	all, _ := v.([]any)
	return all
}

// texts are the strings of a list, whatever the protocol.
func (q *request) texts(name string) (all []string) {
	for _, v := range items(q.json[name]) {
		if text, ok := v.(string); ok {
			all = append(all, text)
		}
	}
	for i := 1; q.form.Get(fmt.Sprintf("%s.member.%d", name, i)) != ""; i++ {
		all = append(all, q.form.Get(fmt.Sprintf("%s.member.%d", name, i)))
	}
	return all
}

// arnOr makes an ARN of names that are none.
func (q *request) arnOr(service, prefix string, names ...string) (all []string) {
	for _, name := range names {
		switch {
		case name == "":
		case strings.HasPrefix(name, "arn:"):
			all = append(all, name)
		default:
			all = append(all, q.arn(service, prefix+name))
		}
	}
	return all
}

func onInstances(q *request) (found []string) {
	ids := append(instanceIDs(q.form), q.form.Get("InstanceId"))
	for i := 1; q.form.Get(fmt.Sprintf("ResourceId.%d", i)) != ""; i++ {
		ids = append(ids, q.form.Get(fmt.Sprintf("ResourceId.%d", i)))
	}
	for _, id := range ids {
		if strings.HasPrefix(id, "i-") {
			found = append(found, q.arn("ec2", "instance/"+id))
		}
	}
	return found
}

func onParameters(q *request) []string {
	names := append(q.texts("Names"), q.text("Name"), q.text("Path"), q.text("ResourceId"))
	for i, name := range names {
		names[i] = strings.TrimPrefix(name, "/")
	}
	return q.arnOr("ssm", "parameter/", names...)
}

func onFunction(q *request) []string {
	name := q.text("FunctionName")
	if len(q.path) > 2 {
		name = q.path[2]
	}
	qualifier := q.http.URL.Query().Get("Qualifier")
	if qualifier == "$LATEST" && !strings.HasPrefix(q.action, "Invoke") {
		qualifier = ""
	}
	return []string{parseFunctionName(name, qualifier, q.region).arn()}
}

func onStateMachine(q *request) []string {
	return q.arnOr("states", "stateMachine:", cmp.Or(q.text("stateMachineArn"), q.text("executionArn"), q.text("resourceArn"), q.text("name")))
}

func onRule(q *request) []string {
	return q.arnOr("events", "rule/", cmp.Or(q.text("ResourceARN"), q.text("Rule"), q.text("Name")))
}

func onBuses(q *request) (found []string) {
	for _, e := range items(q.json["Entries"]) {
		entry, _ := e.(map[string]any)
		found = append(found, q.arn("events", "event-bus/"+busName(entry["EventBusName"])))
	}
	return found
}

func onQueue(q *request) []string {
	address := cmp.Or(q.text("QueueUrl"), q.text("QueueName"))
	return q.arnOr("sqs", "", address[strings.LastIndex(address, "/")+1:])
}

func onTopic(q *request) []string {
	return q.arnOr("sns", "", cmp.Or(q.form.Get("TopicArn"), q.form.Get("TargetArn"), q.form.Get("ResourceArn"), q.form.Get("Name")))
}

func onKey(q *request) (found []string) {
	for _, id := range []string{q.text("AliasName"), cmp.Or(q.text("KeyId"), q.text("TargetKeyId"))} {
		if !strings.HasPrefix(id, "alias/") && id != "" && !strings.HasPrefix(id, "arn:") {
			id = "key/" + id
		}
		found = append(found, q.arnOr("kms", "", id)...)
	}
	return found
}

func onAlarms(q *request) []string {
	names := append(q.texts("AlarmNames"), q.field("AlarmName"))
	return append(q.arnOr("cloudwatch", "alarm:", names...), q.arnOr("cloudwatch", "", q.field("ResourceARN"))...)
}

// Dashboards belong to no region.
func onDashboards(q *request) (found []string) {
	for _, name := range append(q.texts("DashboardNames"), q.field("DashboardName")) {
		if name != "" {
			found = append(found, fmt.Sprintf("arn:%s:cloudwatch::%s:dashboard/%s", partition(q.region), AccountID, name))
		}
	}
	return found
}

func onLogGroup(q *request) []string {
	if arn := q.text("resourceArn"); arn != "" {
		return []string{arn}
	}
	name := cmp.Or(q.text("logGroupName"), "*")
	return []string{q.arn("logs", "log-group:"+name+":*")}
}

func onRole(q *request) []string {
	path := cmp.Or(q.form.Get("Path"), "/")
	return []string{fmt.Sprintf("arn:%s:iam::%s:role%s%s", partition(q.region), AccountID, path, q.form.Get("RoleName"))}
}

func onManagedPolicy(q *request) []string {
	if arn := q.form.Get("PolicyArn"); arn != "" {
		return []string{arn}
	}
	return []string{fmt.Sprintf("arn:%s:iam::%s:policy%s%s", partition(q.region), AccountID, cmp.Or(q.form.Get("Path"), "/"), q.form.Get("PolicyName"))}
}

func onObjects(q *request) []string { return []string{q.global("s3", strings.Join(q.path, "/"))} }

// severalObjects are the rights to delete several objects at once, or versions of
// them.
func severalObjects(q *request) (all []right) {
	root, err := readXML(q.body)
	if err != nil {
		return nil
	}
	for _, o := range root.children("Object") {
		action := "DeleteObject"
		if o.text("VersionId") != "" {
			action = "DeleteObjectVersion"
		}
		all = append(all, right{"s3", action, []string{q.global("s3", q.path[0]+"/"+o.text("Key"))}, nil})
	}
	return all
}

// bucketActions are the actions on a part of a bucket, by the part's name in the
// query and the HTTP method.
var bucketActions = map[string]map[string]string{
	"accelerate":        {"GET": "GetAccelerateConfiguration"},
	"acl":               {"GET": "GetBucketAcl"},
	"cors":              {"GET": "GetBucketCORS"},
	"encryption":        {"GET": "GetEncryptionConfiguration", "PUT": "PutEncryptionConfiguration", "DELETE": "PutEncryptionConfiguration"},
	"lifecycle":         {"GET": "GetLifecycleConfiguration", "PUT": "PutLifecycleConfiguration", "DELETE": "PutLifecycleConfiguration"},
	"location":          {"GET": "GetBucketLocation"},
	"logging":           {"GET": "GetBucketLogging"},
	"object-lock":       {"GET": "GetBucketObjectLockConfiguration"},
	"ownershipControls": {"GET": "GetBucketOwnershipControls", "PUT": "PutBucketOwnershipControls", "DELETE": "PutBucketOwnershipControls"},
	"policy":            {"GET": "GetBucketPolicy", "PUT": "PutBucketPolicy", "DELETE": "DeleteBucketPolicy"},
	"publicAccessBlock": {"GET": "GetBucketPublicAccessBlock", "PUT": "PutBucketPublicAccessBlock", "DELETE": "PutBucketPublicAccessBlock"},
	"replication":       {"GET": "GetReplicationConfiguration"},
	"requestPayment":    {"GET": "GetBucketRequestPayment"},
	"tagging":           {"GET": "GetBucketTagging", "PUT": "PutBucketTagging", "DELETE": "PutBucketTagging"},
	"versioning":        {"GET": "GetBucketVersioning", "PUT": "PutBucketVersioning"},
	"versions":          {"GET": "ListBucketVersions"},
	"website":           {"GET": "GetBucketWebsite"},
}

// s3Action names a call of S3 as policies do, but for HeadObject.
func s3Action(method string, path []string, query url.Values) string {
	if len(path) > 1 {
		action := map[string]string{http.MethodGet: "GetObject", http.MethodHead: "HeadObject", http.MethodPut: "PutObject", http.MethodDelete: "DeleteObject"}[method]
		switch {
		case action != "" && query.Has("tagging"):
			action += "Tagging"
		case method == http.MethodDelete && query.Has("versionId"):
			action = "DeleteObjectVersion"
		case method == http.MethodDelete && query.Has("uploadId"):
			action = "AbortMultipartUpload"
		case method == http.MethodPost && (query.Has("uploads") || query.Has("uploadId")):
			action = "PutObject" // in parts: above 5 MiB, as the SDKs do
		}
		return cmp.Or(action, method+" object")
	}
	for _, part := range slices.Sorted(maps.Keys(query)) {
		if actions, ok := bucketActions[part]; ok {
			return cmp.Or(actions[method], method+" bucket "+part)
		}
	}
	if method == http.MethodPost && query.Has("delete") {
		return "DeleteObjects" // policies know DeleteObject and DeleteObjectVersion
	}
	return cmp.Or(map[string]string{http.MethodGet: "ListBucket", http.MethodHead: "ListBucket", http.MethodPut: "CreateBucket", http.MethodDelete: "DeleteBucket"}[method], method+" bucket")
}
