package handler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/coverage"
	"firstline/notify"
)

// account is what AWS says of all instances at once: each has an alarm and runs, but
// for those that EC2 does not know.
type account struct {
	coverage.EC2
	unknown []string
	hangs   bool
	err     error
}

func (a *account) clients() coverage.Clients { return coverage.Clients{CloudWatch: a, EC2: a} }

func (a *account) DescribeAlarms(ctx context.Context, in *cloudwatch.DescribeAlarmsInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	if a.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	out := &cloudwatch.DescribeAlarmsOutput{}
	for _, id := range []string{one, two} {
		out.MetricAlarms = append(out.MetricAlarms, cwtypes.MetricAlarm{
			AlarmName: aws.String(*in.AlarmNamePrefix + id + "-cpu"), Namespace: aws.String("AWS/EC2"), MetricName: aws.String("CPUUtilization"), Period: aws.Int32(300),
			Dimensions: []cwtypes.Dimension{{Name: aws.String("InstanceId"), Value: &id}},
		})
	}
	return out, a.err
}

func (a *account) GetMetricData(context.Context, *cloudwatch.GetMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	return &cloudwatch.GetMetricDataOutput{}, nil
}

func (a *account) ListMetrics(context.Context, *cloudwatch.ListMetricsInput, ...func(*cloudwatch.Options)) (*cloudwatch.ListMetricsOutput, error) {
	return &cloudwatch.ListMetricsOutput{}, nil
}

func (a *account) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	out := &ec2.DescribeInstancesOutput{}
	for _, id := range in.Filters[0].Values {
		if !slices.Contains(a.unknown, id) {
			out.Reservations = append(out.Reservations, ec2types.Reservation{Instances: []ec2types.Instance{{InstanceId: &id, State: &ec2types.InstanceState{Name: "running"}}}})
		}
	}
	return out, nil
}

func TestReconcileTellsOfCoverageOnceADay(t *testing.T) {
	in(t, func(w *world) {
		a := &account{unknown: []string{two}}
		w.h.Coverage = a.clients
		// after reconciles until a time has passed, and returns what Slack was told.
		after := func(d time.Duration) (told []notify.Message) {
			was := len(w.slack.posted)
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Minute) {
				if _, err := w.reconcile(); err != nil {
					t.Fatal(err)
				}
			}
			return w.slack.posted[was:]
		}
		if told := after(time.Hour); len(told) > 0 {
			t.Fatalf("within the first hour: %+v", told)
		}
		for range 2 {
			told := after(24 * time.Hour)
			if len(told) != 1 || len(told[0].Findings) != 1 || !strings.HasPrefix(told[0].Findings[0], two+": EC2 does not know it: ") || told[0].Incident.Region != "eu-west-1" {
				t.Fatalf("within a day: %+v", told)
			}
		}
		if a.unknown = nil; len(after(24*time.Hour)) > 0 {
			t.Error("told that all is well")
		}
		a.unknown = []string{two}
		for _, fails := range []func(){func() { a.err = errors.New("AccessDenied") }, func() { a.hangs = true }, func() { a.hangs, w.slack.err = false, errors.New("down") }} {
			w.log.Reset()
			fails()
			start := time.Now()
			if told := after(24 * time.Hour); len(told) > 0 || strings.Count(w.log.String(), "cannot compare what is watched with what is") != 1 || time.Since(start) > 24*time.Hour+coverageTime {
				t.Errorf("%d told, after %s: %s", len(told), time.Since(start), w.log)
			}
			a.err = nil
		}
		w.slack.err = nil
		if len(after(24*time.Hour)) != 1 {
			t.Error("not told on the next day")
		}
		if len(w.pager.woken) > 0 {
			t.Errorf("paged: %q", w.pager.woken)
		}
	})
}
