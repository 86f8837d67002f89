package localaws

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

func TestInstanceStatus(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	client := ec2.NewFromConfig(a.Config(region))
	var ids []string
	for range 2 {
		id, err := a.RunInstance(t.Context(), region)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	status := func(id string) string {
		out, err := client.DescribeInstanceStatus(t.Context(), &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}, IncludeAllInstances: aws.Bool(true)})
		if err != nil || len(out.InstanceStatuses) != 1 {
			t.Fatalf("got %+v, %v", out, err)
		}
		s := out.InstanceStatuses[0]
		text := fmt.Sprintf("%s %s %s", s.InstanceState.Name, s.SystemStatus.Status, s.InstanceStatus.Status)
		for _, d := range append(s.SystemStatus.Details, s.InstanceStatus.Details...) {
			text += fmt.Sprintf(" %s %s", d.Name, d.Status)
		}
		for _, e := range s.Events {
			text += fmt.Sprintf("; %s %q %s", e.Code, aws.ToString(e.Description), e.NotBefore.Format(time.RFC3339))
			if aws.ToString(e.InstanceEventId) == "" {
				t.Error("an event without an id")
			}
		}
		return text
	}
	const well = "running ok ok reachability passed reachability passed"
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		set  InstanceStatus
		want string
	}{
		{InstanceStatus{}, well},
		{InstanceStatus{System: "impaired"}, "running impaired ok reachability failed reachability passed"},
		{InstanceStatus{System: "ok", Instance: "initializing"}, "running ok initializing reachability passed reachability initializing"},
		{
			InstanceStatus{Events: []ScheduledEvent{{Code: "instance-retirement", Description: "Running on degraded hardware", NotBefore: at}}},
			well + `; instance-retirement "Running on degraded hardware" 2026-11-22T10:00:00Z`,
		},
		{InstanceStatus{}, well},
	} {
		a.SetInstanceStatus(ids[0], tt.set)
		if got := status(ids[0]); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	a.SetInstanceStatus(ids[0], InstanceStatus{Instance: "impaired"})
	if got := status(ids[1]); got != well {
		t.Errorf("another instance: %q", got)
	}
}

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
