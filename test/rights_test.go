package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"firstline/test/localaws"
	"firstline/test/testbed"
)

// unused are actions that are granted though no call of the stories shows
// them, with the reason.
var unused = map[string]string{
	"logs:CreateLogStream":          "the Lambda service writes the log; the local AWS keeps it itself",
	"logs:PutLogEvents":             "the Lambda service writes the log; the local AWS keeps it itself",
	"logs:CreateLogDelivery":        "Step Functions sets up its log delivery; the local AWS has none",
	"logs:GetLogDelivery":           "Step Functions sets up its log delivery; the local AWS has none",
	"logs:UpdateLogDelivery":        "Step Functions sets up its log delivery; the local AWS has none",
	"logs:DeleteLogDelivery":        "Step Functions sets up its log delivery; the local AWS has none",
	"logs:ListLogDeliveries":        "Step Functions sets up its log delivery; the local AWS has none",
	"logs:PutResourcePolicy":        "Step Functions sets up its log delivery; the local AWS has none",
	"logs:DescribeResourcePolicies": "Step Functions sets up its log delivery; the local AWS has none",
	"logs:DescribeLogGroups":        "Step Functions sets up its log delivery; the local AWS has none",
	"xray:PutTraceSegments":         "the X-Ray daemon of the service sends traces; the local AWS has none",
	"xray:PutTelemetryRecords":      "the X-Ray daemon of the service sends traces; the local AWS has none",
	"xray:GetSamplingRules":         "the X-Ray daemon of the service sends traces; the local AWS has none",
	"xray:GetSamplingTargets":       "the X-Ray daemon of the service sends traces; the local AWS has none",

	"ec2:AssignPrivateIpAddresses":   "the Lambda service joins and leaves VPCs; the local AWS has no network",
	"ec2:CreateNetworkInterface":     "the Lambda service joins and leaves VPCs; the local AWS has no network",
	"ec2:DeleteNetworkInterface":     "the Lambda service joins and leaves VPCs; the local AWS has no network",
	"ec2:DescribeNetworkInterfaces":  "the Lambda service joins and leaves VPCs; the local AWS has no network",
	"ec2:DescribeSubnets":            "the Lambda service joins and leaves VPCs; the local AWS has no network",
	"ec2:UnassignPrivateIpAddresses": "the Lambda service joins and leaves VPCs; the local AWS has no network",
}

// auditRights holds what every role did against what its policies allow: moto
// forgives what AWS refuses.
func auditRights(t *testing.T, w *testbed.Testbed) {
	policies := map[string][]localaws.Policy{}
	used := map[string]bool{}
	byRole := map[string]int{}
	told := map[string]bool{}
	for _, c := range w.AWS.Calls() {
		if !strings.Contains(c.Role, ":role/") {
			continue
		}
		byRole[c.Role]++
		if policies[c.Role] == nil {
			policies[c.Role] = policiesOf(t, w, c.Role)
		}
		action := c.Service + ":" + c.Action
		if denied := fmt.Sprintf("%s called %s on %s", c.Role, action, c.Resources); !localaws.Allowed(policies[c.Role], c) && !told[denied] {
			told[denied] = true
			t.Errorf("%s, which its policies do not allow", denied)
		}
		used[c.Role+" "+action] = true
	}
	if len(byRole) < 9 {
		t.Errorf("%d roles called AWS, want the function's, the state machine's and the rules' of three deployments: %v", len(byRole), byRole)
	}
	// What only some deployments or a few stories do.
	for _, want := range []string{
		"firstline-responder-" + other + " states:StartExecution", "firstline-trigger-" + home + " states:StartExecution",
		"chain-responder-" + home + " sns:Publish",
	} {
		if !used["arn:aws:iam::"+localaws.AccountID+":role/"+want] {
			t.Errorf("nothing shows that %s is allowed", want)
		}
	}
	for role, all := range policies {
		for _, action := range actions(all) {
			if strings.Contains(action, "*") {
				t.Errorf("%s is granted %s", role, action)
			}
			// What one deployment does not play, another does.
			name := role[strings.LastIndex(role, "/")+1:]
			played := used[role+" "+action]
			for other := range byRole {
				if sameKind(name, other[strings.LastIndex(other, "/")+1:]) {
					played = played || used[other+" "+action]
				}
			}
			if !played && unused[action] == "" {
				t.Errorf("%s is granted %s and never used it", role, action)
			}
		}
	}
}

// actions are all that policies grant.
func actions(policies []localaws.Policy) (all []string) {
	for _, p := range policies {
		for _, s := range p.Statement {
			if s.Effect == "Allow" {
				all = append(all, s.Action...)
			}
		}
	}
	return all
}

// sameKind reports whether two roles are the same but for their region and their
// deployment.
func sameKind(a, b string) bool {
	for _, r := range []string{home, other} {
		a, b = strings.ReplaceAll(a, r, "REGION"), strings.ReplaceAll(b, r, "REGION")
	}
	for _, name := range []string{plain, chain} {
		a, b = strings.TrimPrefix(a, name+"-"), strings.TrimPrefix(b, name+"-")
	}
	return a == b
}

// policiesOf reads every policy of a role.
func policiesOf(t *testing.T, w *testbed.Testbed, role string) []localaws.Policy {
	t.Helper()
	client := iam.NewFromConfig(w.AWS.Config(home))
	name := role[strings.LastIndex(role, "/")+1:]
	var documents []string
	inline, err := client.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: &name})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range inline.PolicyNames {
		out, err := client.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &p})
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, aws.ToString(out.PolicyDocument))
	}
	attached, err := client.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range attached.AttachedPolicies {
		policy, err := client.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: p.PolicyArn})
		if err != nil {
			t.Fatal(err)
		}
		version, err := client.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: p.PolicyArn, VersionId: policy.Policy.DefaultVersionId})
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, aws.ToString(version.PolicyVersion.Document))
	}
	var all []localaws.Policy
	for _, d := range documents {
		if plain, err := url.QueryUnescape(d); err == nil && !json.Valid([]byte(d)) {
			d = plain
		}
		p, err := localaws.ParsePolicy([]byte(d))
		if err != nil {
			t.Fatalf("%s: %v in %s", role, err, d)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no policy", role)
	}
	return all
}
