package localaws

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/google/go-cmp/cmp"
)

func TestDescribeAlarms(t *testing.T) {
	a := shared(t)
	const region = "ap-east-1"
	ctx := t.Context()
	client := cloudwatch.NewFromConfig(a.Config(region))
	for i := range 57 {
		for _, prefix := range []string{"x-alarm-", "x-self-"} {
			if _, err := client.PutMetricAlarm(ctx, &cloudwatch.PutMetricAlarmInput{
				AlarmName: aws.String(fmt.Sprintf("%si-%02d", prefix, i)), Namespace: aws.String("AWS/EC2"), MetricName: aws.String("CPUUtilization"),
				Statistic: cwtypes.StatisticMaximum, Period: aws.Int32(300), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(100),
				ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanOrEqualToThreshold,
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"x-alarm-i-03", "x-self-i-04", "x-alarm-i-55"} {
		if _, err := client.SetAlarmState(ctx, &cloudwatch.SetAlarmStateInput{AlarmName: &name, StateValue: cwtypes.StateValueAlarm, StateReason: aws.String("x")}); err != nil {
			t.Fatal(err)
		}
	}
	for what, tt := range map[string]struct {
		in    cloudwatch.DescribeAlarmsInput
		pages []int // how many alarms each holds
	}{
		"all":             {cloudwatch.DescribeAlarmsInput{}, []int{50, 50, 14}},
		"prefix":          {cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("x-alarm-")}, []int{50, 7}},
		"prefix and page": {cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("x-alarm-"), MaxRecords: aws.Int32(30)}, []int{30, 27}},
		"state":           {cloudwatch.DescribeAlarmsInput{StateValue: cwtypes.StateValueAlarm}, []int{3}},
		"both":            {cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("x-alarm-"), StateValue: cwtypes.StateValueAlarm}, []int{2}},
		"both and page":   {cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("x-alarm-"), StateValue: cwtypes.StateValueAlarm, MaxRecords: aws.Int32(1)}, []int{1, 1}},
		"names":           {cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"x-alarm-i-03", "x-self-i-05"}}, []int{2}},
		"none":            {cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("y-")}, []int{0}},
	} {
		seen := map[string]bool{}
		var pages []int
		for {
			out, err := client.DescribeAlarms(ctx, &tt.in)
			if err != nil {
				t.Fatal(err)
			}
			for _, al := range out.MetricAlarms {
				if seen[*al.AlarmName] || !strings.HasPrefix(*al.AlarmName, aws.ToString(tt.in.AlarmNamePrefix)) ||
					tt.in.StateValue != "" && al.StateValue != tt.in.StateValue || al.StateUpdatedTimestamp == nil {
					t.Errorf("%s: %s is %s, or twice", what, *al.AlarmName, al.StateValue)
				}
				seen[*al.AlarmName] = true
			}
			pages = append(pages, len(out.MetricAlarms))
			if tt.in.NextToken = out.NextToken; out.NextToken == nil {
				break
			}
		}
		if diff := cmp.Diff(tt.pages, pages); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

func TestDashboard(t *testing.T) {
	a := shared(t)
	ctx := t.Context()
	client := cloudwatch.NewFromConfig(a.Config(region))
	name := unique(t)
	body := `{"widgets": [{"type": "text", "properties": {"markdown": "incidents <1>"}}]}`
	if _, err := client.PutDashboard(ctx, &cloudwatch.PutDashboardInput{DashboardName: &name, DashboardBody: &body}); err != nil {
		t.Fatal(err)
	}
	out, err := client.GetDashboard(ctx, &cloudwatch.GetDashboardInput{DashboardName: &name})
	if err != nil || *out.DashboardBody != body || !strings.HasSuffix(*out.DashboardArn, ":dashboard/"+name) {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := client.DeleteDashboards(ctx, &cloudwatch.DeleteDashboardsInput{DashboardNames: []string{name}}); err != nil {
		t.Fatal(err)
	}
	_, err = client.GetDashboard(ctx, &cloudwatch.GetDashboardInput{DashboardName: &name})
	if _, ok := errors.AsType[*cwtypes.DashboardNotFoundError](err); !ok && code(err) != "ResourceNotFound" {
		t.Errorf("a dashboard that is gone: %v", err)
	}
}
