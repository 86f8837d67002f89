package localaws

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/go-cmp/cmp"
)

func TestConsoleOutput(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	client := ec2.NewFromConfig(a.Config(region))
	id, err := a.RunInstance(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	before := len(a.Calls())
	for _, want := range []string{"Out of memory: Killed process 1 <nginx>\n", "", strings.Repeat("x", 64<<10)} {
		a.SetConsoleOutput(id, want)
		out, err := client.GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
		if err != nil || string(text) != want || *out.InstanceId != id || out.Timestamp == nil {
			t.Errorf("got %q, %v, want %q", text, err, want)
		}
	}
	if got, want := a.Calls()[before].Resources, []string{"arn:aws:ec2:" + region + ":" + AccountID + ":instance/" + id}; !cmp.Equal(got, want) {
		t.Errorf("resources %v, want %v", got, want)
	}
}

func TestTags(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	client := ec2.NewFromConfig(a.Config(region))
	id, err := a.RunInstance(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	a.SetPublicAddress(id, "127.0.0.7")
	tag := func() string {
		out, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range out.Reservations[0].Instances[0].Tags {
			if *tag.Key == "firstline:pause" {
				return *tag.Value
			}
		}
		return "none"
	}
	for _, value := range []string{"2026-11-22T10:00:00Z", "no <time> & none"} {
		if _, err := client.CreateTags(t.Context(), &ec2.CreateTagsInput{
			Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String("firstline:pause"), Value: &value}},
		}); err != nil {
			t.Fatal(err)
		}
		if got := tag(); got != value {
			t.Errorf("got %q, want %q", got, value)
		}
	}
	if _, err := client.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String("firstline:pause")}}}); err != nil {
		t.Fatal(err)
	}
	if got := tag(); got != "none" {
		t.Errorf("got %q", got)
	}
}

// What an account has by default, and moto does not.
func TestDefaultsOfAnAccount(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	id, err := a.RunInstance(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	credits, err := ec2.NewFromConfig(a.Config(region)).DescribeInstanceCreditSpecifications(t.Context(), &ec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{id}})
	if err != nil || len(credits.InstanceCreditSpecifications) != 1 || aws.ToString(credits.InstanceCreditSpecifications[0].CpuCredits) != "unlimited" {
		t.Errorf("credits: %+v, %v", credits, err)
	}
	settings, err := lambda.NewFromConfig(a.Config(region)).GetAccountSettings(t.Context(), &lambda.GetAccountSettingsInput{})
	if err != nil || settings.AccountLimit.ConcurrentExecutions != 1000 || aws.ToInt32(settings.AccountLimit.UnreservedConcurrentExecutions) != 1000 {
		t.Errorf("Lambda: %+v, %v", settings, err)
	}
}
