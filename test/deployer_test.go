package test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"firstline/internal/artifact"
	"firstline/test/localaws"
	"firstline/test/testbed"
)

// What the roles have that TestDeployer deploys.
const (
	rolePath      = "/ops/"
	boundary      = "arn:aws:iam::" + localaws.AccountID + ":policy/boundary"
	otherBoundary = "arn:aws:iam::" + localaws.AccountID + ":policy/other"
)

// unneeded are actions of terraform/deployer that no command of TestDeployer needs,
// with the reason why they are there.
var unneeded = map[string]string{
	"cloudwatch:GetMetricData":                 "doctor",
	"cloudwatch:ListMetrics":                   "doctor",
	"ec2:DescribeInstanceCreditSpecifications": "doctor",
	"ec2:DescribeNetworkAcls":                  "doctor, which TestDoctor has the same rights for",
	"iam:GetAccountSummary":                    "doctor",
	"route53:GetHealthCheck":                   "doctor",
	"route53:GetHealthCheckStatus":             "doctor",
	"lambda:PutFunctionConcurrency":            "a probe, which one region alone has none of; TestStories makes two",
	"iam:UpdateRole":                           "puts right what somebody has changed by hand; moto forgets the description then",
	"kms:UpdateKeyDescription":                 "puts right what somebody has changed by hand",
	"s3:AbortMultipartUpload":                  "ends an upload in parts, above 5 MiB, that broke off",
	"s3:ListTagsForResource":                   "the AWS provider asks S3 Control for a bucket's tags from 6.23 on; this one is older",
	"s3:TagResource":                           "the AWS provider has S3 Control tag a bucket from 6.23 on; this one is older",
	"s3:UntagResource":                         "the AWS provider has S3 Control tag a bucket from 6.23 on; this one is older",
	"states:StopExecution":                     "destroy stops executions that run; here none does",
}

// deployer is somebody who has the rights of terraform/deployer and no others.
type deployer struct {
	*operator
	key      string
	policies []localaws.Policy
}

// deployerPolicies are those of terraform/deployer, for a deployment of the local AWS.
func deployerPolicies(t *testing.T, name, path string) []localaws.Policy {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), "terraform", "deployer", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the deployer's policies: %q, %v", files, err)
	}
	fill := strings.NewReplacer("${partition}", "aws", "${account}", localaws.AccountID, "${name}", name, "${role_path}", path)
	var all []localaws.Policy
	for _, f := range files {
		text, err := os.ReadFile(f) //nolint:gosec // a file of ours
		if err != nil {
			t.Fatal(err)
		}
		filled := fill.Replace(string(text))
		if strings.Contains(filled, "${") {
			t.Errorf("%s has a placeholder that is not known", f)
		}
		p, err := localaws.ParsePolicy([]byte(filled))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, p)
	}
	return all
}

// TestDeployerPoliciesFit holds the deployer's policies against what IAM takes as a
// managed policy: 6,144 characters, white space not counted.
func TestDeployerPoliciesFit(t *testing.T) {
	for _, p := range deployerPolicies(t, strings.Repeat("a", 28), "/division/team/operations/") {
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if size := len(strings.Join(strings.Fields(string(raw)), "")); size > 6144 {
			t.Errorf("the policy with %s has %d characters, IAM takes 6144", p.Statement[0].Sid, size)
		}
	}
}

// TestDeployer has somebody deploy, plan, look for drift, verify, test the channels,
// deploy a change and destroy who has the rights of terraform/deployer and no
// others: they suffice, and each of them is needed.
func TestDeployer(t *testing.T) {
	t.Parallel()
	w := world(t)
	variables := deployerVariables(t, w)
	d := &deployer{operator: newOperator(t, w, variables), policies: deployerPolicies(t, plain, rolePath)}
	d.demandBoundary(t)
	d.key = w.AWS.NewPrincipal("deployer", d.policies...)

	d.run(t, "deploy", "--yes")
	if out := d.run(t, "plan"); out.in(first).Added+out.in(first).Changed+out.in(first).Destroyed > 0 {
		t.Errorf("a plan of what is deployed: %+v", out.in(first))
	}
	if out := d.run(t, "drift"); len(out.in(first).Drift) > 0 {
		t.Errorf("drift: %q", words(out.in(first).Drift))
	}
	d.run(t, "verify")
	d.coverage(t)
	d.command(t, "notify", "test", "--all")
	d.change(t, variables)
	d.changeByHand(t)
	d.run(t, "deploy", "--yes", "--canary", first)
	d.managedPolicies(t)
	d.run(t, "destroy", "--yes")
	d.judge(t)
}

// demandBoundary adds the condition of the README, which keeps the deployer from
// making roles without a boundary.
func (d *deployer) demandBoundary(t *testing.T) {
	t.Helper()
	for _, p := range d.policies {
		for n := range p.Statement {
			if s := &p.Statement[n]; s.Sid == "RightsOfRoles" {
				s.Condition = map[string]map[string]localaws.Words{"StringEquals": {"iam:PermissionsBoundary": {boundary, otherBoundary}}}
				return
			}
		}
	}
	t.Fatal("no policy has the statement RightsOfRoles, which the README names")
}

// deployerVariables are those of a deployment that has all that one can have.
func deployerVariables(t *testing.T, w *testbed.Testbed) map[string]any {
	t.Helper()
	i, err := w.AddInstance(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.AddHealthCheck(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	client := ec2.NewFromConfig(w.AWS.Config(first))
	subnets, err := client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	variables := w.Variables(map[string]map[string]any{i.ID: {"route53": map[string]any{"health_check_id": id}}}, i)
	w.UsePagers(variables, "opsgenie", "sns")
	variables["regions"].(map[string]any)[first].(map[string]any)["vpc"] = map[string]any{
		"subnet_ids": []any{aws.ToString(subnets.Subnets[0].SubnetId)}, "security_group_ids": []any{aws.ToString(groups.SecurityGroups[0].GroupId)},
	}
	variables["tags"] = map[string]any{"cost-center": "42"}
	variables["role_path"] = rolePath
	variables["permissions_boundary"] = boundary
	return variables
}

// command runs a command that takes the root with --dir alone.
func (d *deployer) command(t *testing.T, args ...string) *process {
	t.Helper()
	env := maps.Clone(d.Environment())
	env["AWS_ACCESS_KEY_ID"] = d.key
	r := startCommand(t, environ(env), "", append(args, "--dir", d.dir, "--json")...)
	r.title = strings.Join(args, " ")
	return r
}

// run runs a command of a rollout to its end, which must be a good one.
func (d *deployer) run(t *testing.T, args ...string) *outcome {
	t.Helper()
	return d.command(t, slices.Concat(args, []string{"--var-file", d.varFile})...).result(0)
}

// coverage disables the health check and enables it again, and takes a right away.
func (d *deployer) coverage(t *testing.T) {
	t.Helper()
	client := route53.NewFromConfig(d.AWS.Config(first))
	all, err := client.ListHealthChecks(t.Context(), &route53.ListHealthChecksInput{})
	if err != nil || len(all.HealthChecks) != 1 {
		t.Fatalf("%v: %+v", err, all)
	}
	disable := func(disabled bool) {
		t.Helper()
		if _, err := client.UpdateHealthCheck(t.Context(), &route53.UpdateHealthCheckInput{HealthCheckId: all.HealthChecks[0].Id, Disabled: &disabled}); err != nil {
			t.Fatal(err)
		}
	}
	compare := func(code int, want string) {
		t.Helper()
		wanted(t, d.command(t, "coverage", "--var-file", d.varFile), code, "coverage", want)
	}
	compare(0, `"findings": []`)
	disable(true)
	compare(3, `"kind": "health_check"`)
	disable(false)
	compare(0, "nothing found")
	denied := d.AWS.AddFault(localaws.Fault{Service: "monitoring", Action: "ListMetrics", Region: first, Status: http.StatusForbidden, Code: "AccessDenied", Message: "not you"})
	defer denied.Remove()
	compare(1, "not you")
	wanted(t, d.command(t, "verify", "--var-file", d.varFile), 1, "verify", "cannot compare what is watched with what is: Denied", "not you")
}

// change changes all that an operator may change of what is deployed.
func (d *deployer) change(t *testing.T, variables map[string]any) {
	t.Helper()
	function := maps.Clone(variables["function"].(map[string]any))
	function["log_level"], function["log_retention_days"], function["package"] = "debug", 30, repacked(t, d.Package)
	variables["function"] = function
	variables["tags"] = map[string]any{"team": "ops"}
	variables["permissions_boundary"] = otherBoundary
	variables["defaults"].(map[string]any)["alarms"] = map[string]any{"cpu": map[string]any{"threshold": 90}}
	d.UsePagers(variables, "opsgenie")
	variables["subscribers"] = []any{map[string]any{"protocol": "sms", "endpoint": "+4930654321"}}
	d.write(t, variables)
}

// changeByHand changes what no setting does, as somebody at a console might.
func (d *deployer) changeByHand(t *testing.T) {
	t.Helper()
	h := byHand(t, d.AWS, first, "")
	if err := h.key("DisableKey", map[string]any{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.function.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: responder, ReservedConcurrentExecutions: aws.Int32(0)}); err != nil {
		t.Fatal(err)
	}
	config := h.config
	role := aws.String(plain + "-workflow-" + first)
	roles := iam.NewFromConfig(config)
	if _, err := roles.UpdateRoleDescription(t.Context(), &iam.UpdateRoleDescriptionInput{RoleName: role, Description: aws.String("by hand")}); err != nil {
		t.Fatal(err)
	}
	if _, err := roles.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{
		RoleName:       role,
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"states.amazonaws.com"}}]}`),
	}); err != nil {
		t.Fatal(err)
	}
	queues := sqs.NewFromConfig(config)
	queue, err := queues.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(plain + "-dead-letter")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queues.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: queue.QueueUrl, Attributes: map[string]string{"MessageRetentionPeriod": "86400"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := dynamodb.NewFromConfig(config).UpdateTable(t.Context(), &dynamodb.UpdateTableInput{TableName: aws.String(plain + "-incidents"), DeletionProtectionEnabled: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
}

// repacked is a copy of a zip that differs in its comment alone.
func repacked(t *testing.T, path string) string {
	t.Helper()
	from, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(path)))
	if err != nil {
		t.Fatal(err)
	}
	out := zip.NewWriter(to)
	for _, f := range from.File {
		if err := out.Copy(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.SetComment("another build"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	built, err := artifact.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := built.Write(to.Name()); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

// managedPolicies makes, changes and deletes a managed policy as the AWS provider
// does: a deployment has some from about 120 instances in a region on.
func (d *deployer) managedPolicies(t *testing.T) {
	t.Helper()
	config := d.AWS.Config(first)
	config.Credentials = credentials.NewStaticCredentialsProvider(d.key, "local", "")
	client := iam.NewFromConfig(config)
	name, role := aws.String(plain+"-responder-"+first+"-1"), aws.String(plain+"-responder-"+first)
	document := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:RebootInstances","Resource":"*"}]}`)
	made, err := client.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: name, Path: aws.String(rolePath), PolicyDocument: document, Tags: []types.Tag{{Key: aws.String("project"), Value: aws.String(plain)}}})
	if err != nil {
		t.Fatal(err)
	}
	arn := made.Policy.Arn
	version := aws.String("v1")
	for what, do := range map[string]func() error{
		"GetPolicy": func() error { _, err := client.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: arn}); return err },
		"GetPolicyVersion": func() error {
			_, err := client.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: version})
			return err
		},
		"ListPolicyVersions": func() error {
			_, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: arn})
			return err
		},
		"CreatePolicyVersion": func() error {
			_, err := client.CreatePolicyVersion(t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: document})
			return err
		},
		"UntagPolicy": func() error {
			_, err := client.UntagPolicy(t.Context(), &iam.UntagPolicyInput{PolicyArn: arn, TagKeys: []string{"project"}})
			return err
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := client.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: arn}); err != nil {
		t.Error(err)
	}
	if _, err := client.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: arn}); err != nil {
		t.Error(err)
	}
	if _, err := client.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v2")}); err != nil {
		t.Error(err)
	}
	if _, err := client.DeletePolicy(t.Context(), &iam.DeletePolicyInput{PolicyArn: arn}); err != nil {
		t.Error(err)
	}
}

// judge asserts that every call was allowed, and that without any one action some
// call would not have been.
func (d *deployer) judge(t *testing.T) {
	t.Helper()
	var calls []localaws.Call
	seen := map[string]bool{}
	for _, c := range d.AWS.Calls() {
		what := fmt.Sprint(c.Service, ":", c.Action, " on ", c.Resources, " ", c.Context)
		if !strings.HasSuffix(c.Role, ":user/deployer") || c.Service == "sts" && c.Action == "GetCallerIdentity" || seen[what] {
			continue
		}
		seen[what] = true
		calls = append(calls, c)
		if !localaws.Allowed(d.policies, c) {
			t.Errorf("the deployer's policies do not allow %s", what)
		}
	}
	if len(calls) < 100 {
		t.Errorf("%d calls: this judges nothing", len(calls))
	}
	for p := range d.policies {
		for s := range d.policies[p].Statement {
			statement := &d.policies[p].Statement[s]
			all := statement.Action
			for n, action := range all {
				statement.Action = slices.Delete(slices.Clone(all), n, n+1)
				needed := slices.ContainsFunc(calls, func(c localaws.Call) bool { return !localaws.Allowed(d.policies, c) })
				if reason := unneeded[action]; needed == (reason != "") {
					t.Errorf("statement %s: %s is needed by a call: %t, and its reason to be there is %q", statement.Sid, action, needed, reason)
				}
			}
			statement.Action = all
		}
	}
}
