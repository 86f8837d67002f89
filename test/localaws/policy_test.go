package localaws

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func TestAllowed(t *testing.T) {
	const queue, other = "arn:aws:sqs:eu-west-1:123456789012:one", "arn:aws:sqs:eu-west-1:123456789012:two"
	call := func(resources ...string) Call {
		return Call{Service: "sqs", Action: "SendMessage", Resources: resources, Context: map[string]string{"aws:RequestTag/team": "ops"}}
	}
	for name, tt := range map[string]struct {
		statements string
		call       Call
		want       bool
	}{
		"nothing":                 {``, call(queue), false},
		"it":                      {`{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "` + queue + `"}`, call(queue), true},
		"in other letters":        {`{"Effect": "Allow", "Action": ["SQS:sendmessage"], "Resource": ["` + queue + `"]}`, call(queue), true},
		"another action":          {`{"Effect": "Allow", "Action": "sqs:Send", "Resource": "*"}`, call(queue), false},
		"wildcards":               {`{"Effect": "Allow", "Action": "sqs:Send*", "Resource": "arn:aws:sqs:*:*:o*"}`, call(queue), true},
		"another resource":        {`{"Effect": "Allow", "Action": "sqs:*", "Resource": "` + queue + `"}`, call(other), false},
		"one of two resources":    {`{"Effect": "Allow", "Action": "sqs:*", "Resource": "` + queue + `"}`, call(queue, other), false},
		"each by a statement":     {`{"Effect": "Allow", "Action": "sqs:*", "Resource": "` + queue + `"}, {"Effect": "Allow", "Action": "sqs:*", "Resource": "` + other + `"}`, call(queue, other), true},
		"of nothing":              {`{"Effect": "Allow", "Action": "*", "Resource": "*"}`, call(), false},
		"denied as well":          {`{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}, {"Effect": "Allow", "Action": "*", "Resource": "*"}`, call(queue), false},
		"a condition":             {`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestTag/team": ["dev", "ops"]}}}`, call(queue), true},
		"another value":           {`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestTag/team": "o*"}}}`, call(queue), false},
		"a pattern":               {`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"aws:RequestTag/team": "o*"}}}`, call(queue), true},
		"a key that is not there": {`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestTag/app": "ops"}}}`, call(queue), false},
	} {
		p, err := ParsePolicy([]byte(`{"Version": "2012-10-17", "Statement": [` + tt.statements + `]}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := Allowed([]Policy{p}, tt.call); got != tt.want {
			t.Errorf("%s: allowed: %t, want %t", name, got, tt.want)
		}
	}
}

func TestParsePolicyRefusesWhatItCannotEvaluate(t *testing.T) {
	for _, statement := range []string{
		`{"Effect": "Allow", "NotAction": "sqs:*", "Resource": "*"}`,
		`{"Effect": "Allow", "Action": "sqs:*", "NotResource": "*"}`,
		`{"Effect": "Allow", "Action": "sqs:*", "Resource": "*", "Principal": "*"}`,
		`{"Effect": "allow", "Action": "sqs:*", "Resource": "*"}`,
		`{"Effect": "Allow", "Action": "sqs:*", "Resource": "arn:aws:sqs:*:*:on?"}`,
		`{"Effect": "Allow", "Action": "sqs:*", "Resource": "*", "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}}`,
	} {
		if _, err := ParsePolicy([]byte(`{"Statement": [` + statement + `]}`)); err == nil {
			t.Errorf("it takes %s", statement)
		}
	}
}

func TestPrincipal(t *testing.T) {
	a := shared(t)
	const region = "eu-west-3"
	name := unique(t)
	as := func(t *testing.T, statements ...string) aws.Config {
		t.Helper()
		p, err := ParsePolicy([]byte(`{"Statement": [` + strings.Join(statements, ",") + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		config := a.Config(region)
		config.Credentials = credentials.NewStaticCredentialsProvider(a.NewPrincipal(unique(t), p), "any", "")
		return config
	}
	allow := func(resource string, actions ...string) string {
		return `{"Effect": "Allow", "Action": ["` + strings.Join(actions, `", "`) + `"], "Resource": "` + resource + `"}`
	}
	tagged := `{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/deployment": "` + name + `"}}}`
	var key struct {
		KeyMetadata struct {
			KeyID string `json:"KeyId"`
		}
	}
	if err := a.moto.call(t.Context(), "kms", "CreateKey", region, map[string]any{"Tags": []any{map[string]string{"TagKey": "deployment", "TagValue": name}}}, &key); err != nil {
		t.Fatal(err)
	}
	queue := func(c aws.Config) error {
		_, err := sqs.NewFromConfig(c).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Tags: map[string]string{"team": "ops"}})
		return err
	}
	machine := func(c aws.Config) error {
		_, err := sfn.NewFromConfig(c).CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
			Name: &name, RoleArn: aws.String("arn:aws:iam::" + AccountID + ":role/ops/" + name),
			Definition: aws.String(`{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}`),
		})
		return err
	}
	onKeys := func(action string, in map[string]any) func(aws.Config) error {
		return func(c aws.Config) error {
			who, err := c.Credentials.Retrieve(t.Context())
			if err != nil {
				return err
			}
			return callJSON(t.Context(), a.moto.do, a.endpoint, who.AccessKeyID, "kms", action, region, in, nil)
		}
	}
	describe := onKeys("DescribeKey", map[string]any{"KeyId": key.KeyMetadata.KeyID})
	create := onKeys("CreateKey", map[string]any{"Tags": []any{map[string]string{"TagKey": "deployment", "TagValue": name}}})
	for _, tt := range []struct {
		name  string
		as    []string
		do    func(aws.Config) error
		wants string // in the error; "" for none
	}{
		{"a query protocol's code", nil, func(c aws.Config) error {
			_, err := ec2.NewFromConfig(c).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
			return err
		}, "UnauthorizedOperation"},
		{"no right to tag", []string{allow("*", "sqs:CreateQueue")}, queue, "not authorized to perform: sqs:TagQueue on resource: arn:aws:sqs:" + region + ":" + AccountID + ":" + name},
		{"the right to tag", []string{allow("arn:aws:sqs:*:*:"+name, "sqs:CreateQueue", "sqs:TagQueue")}, queue, ""},
		{"no right to pass the role", []string{allow("*", "states:*")}, machine, "AccessDeniedException: User: arn:aws:iam::" + AccountID + ":user/"},
		{"the right to pass another", []string{allow("*", "states:*"), allow("arn:aws:iam::*:role/"+name, "iam:PassRole")}, machine, "iam:PassRole"},
		{"to another service", []string{allow("*", "states:*"), `{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}}`}, machine, "iam:PassRole"},
		{"to this one", []string{allow("*", "states:*"), `{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}}}`}, machine, ""},
		{"a resource's tag", []string{tagged}, describe, ""},
		{"another one's", []string{strings.Replace(tagged, name, "other", 1)}, describe, "kms:DescribeKey"},
		{"a key whose policy one could not change", []string{allow("*", "kms:CreateKey", "kms:TagResource"), tagged}, create, "kms:PutKeyPolicy"},
		{"a key with the tag", []string{strings.Replace(tagged, "ResourceTag", "RequestTag", 1)}, create, ""},
		{"a bucket", []string{allow("arn:aws:s3:::other", "s3:*")}, func(c aws.Config) error {
			_, err := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }).GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: &name})
			return err
		}, "s3:GetBucketPolicy on resource: arn:aws:s3:::" + name},
		{"what nobody can be denied", nil, func(c aws.Config) error {
			_, err := sts.NewFromConfig(c).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			return err
		}, ""},
		{"what the local AWS does not know", []string{allow("*", "*")}, func(c aws.Config) error {
			_, err := sqs.NewFromConfig(c).ListQueues(t.Context(), &sqs.ListQueuesInput{})
			return err
		}, "does not know the rights of sqs:ListQueues"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(as(t, tt.as...))
			if (err == nil) != (tt.wants == "") || err != nil && !strings.Contains(err.Error(), tt.wants) {
				t.Errorf("got %v, want %q", err, tt.wants)
			}
		})
	}
}
