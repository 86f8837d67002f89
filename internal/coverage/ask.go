package coverage

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/route53"

	"firstline/internal/incident"
)

// Clients are a region's; Route 53 has no regions.
type Clients struct {
	CloudWatch CloudWatch
	EC2        EC2
	Route53    Route53
}

// CloudWatch is what is used of CloudWatch's client.
type CloudWatch interface {
	DescribeAlarms(context.Context, *cloudwatch.DescribeAlarmsInput, ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error)
	GetMetricData(context.Context, *cloudwatch.GetMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error)
	ListMetrics(context.Context, *cloudwatch.ListMetricsInput, ...func(*cloudwatch.Options)) (*cloudwatch.ListMetricsOutput, error)
}

// EC2 is what is used of EC2's client.
type EC2 interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	DescribeInstanceCreditSpecifications(context.Context, *ec2.DescribeInstanceCreditSpecificationsInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceCreditSpecificationsOutput, error)
}

// Route53 is what is used of Route 53's client.
type Route53 interface {
	ListHealthChecks(context.Context, *route53.ListHealthChecksInput, ...func(*route53.Options)) (*route53.ListHealthChecksOutput, error)
}

const (
	// askAtOnce is of how many alarms, instances or health checks one call asks
	// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html).
	askAtOnce = 100
	// queriesAtOnce is of how many metrics GetMetricData tells in one call
	// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html).
	queriesAtOnce = 500
)

// alarms are the alarms on instances, by instance.
func (c Clients) alarms(ctx context.Context, prefix string) (map[string][]cwtypes.MetricAlarm, error) {
	all := map[string][]cwtypes.MetricAlarm{}
	pages := cloudwatch.NewDescribeAlarmsPaginator(c.CloudWatch, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: &prefix, MaxRecords: aws.Int32(askAtOnce)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range page.MetricAlarms {
			if id, _ := incident.AlarmOf(aws.ToString(a.AlarmName)); id != "" {
				all[id] = append(all[id], a)
			}
		}
	}
	return all, nil
}

// healthChecks says of the instances' health checks which no checker serves. They are
// listed, all of the account: Route 53 answers five questions a second to a whole account
// (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html).
func (c Clients) healthChecks(ctx context.Context, watched []Instance) (map[string]string, error) {
	state := map[string]string{}
	for _, i := range watched {
		if i.HealthCheckID != "" {
			state[i.HealthCheckID] = "does not exist"
		}
	}
	in := &route53.ListHealthChecksInput{MaxItems: aws.Int32(askAtOnce)}
	for more := len(state) > 0; more; {
		page, err := c.Route53.ListHealthChecks(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, h := range page.HealthChecks {
			if id := aws.ToString(h.Id); state[id] != "" {
				state[id] = ""
				if h.HealthCheckConfig != nil && aws.ToBool(h.HealthCheckConfig.Disabled) {
					state[id] = "is disabled"
				}
			}
		}
		in.Marker = page.NextMarker
		more = page.IsTruncated && in.Marker != nil
	}
	return state, nil
}

// try uses the rights that only some findings call for, so that one that is missing is
// found before.
func (c Clients) try(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	m := metric{ec2Metric("CPUUtilization", ids[0]), "Maximum", time.Hour}
	if _, err := c.newest(ctx, []metric{m}); err != nil {
		return err
	}
	_, err := c.CloudWatch.ListMetrics(ctx, &cloudwatch.ListMetricsInput{Namespace: m.Namespace, MetricName: m.MetricName, Dimensions: []cwtypes.DimensionFilter{{Name: m.Dimensions[0].Name, Value: &ids[0]}}})
	return err
}

// metric is a metric in exactly its dimensions, and how far back it is asked for.
type metric struct {
	cwtypes.Metric
	stat string
	span time.Duration
}

// newest returns the newest value of each metric; nil: it has none in its span.
func (c Clients) newest(ctx context.Context, metrics []metric) ([]*float64, error) {
	values := make([]*float64, len(metrics))
	bySpan := map[time.Duration][]int{}
	for n, m := range metrics {
		bySpan[m.span] = append(bySpan[m.span], n)
	}
	for span, all := range bySpan {
		for some := range slices.Chunk(all, queriesAtOnce) {
			now := time.Now()
			in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(now.Add(-span)), EndTime: &now, ScanBy: cwtypes.ScanByTimestampDescending}
			for _, n := range some {
				in.MetricDataQueries = append(in.MetricDataQueries, cwtypes.MetricDataQuery{
					Id:         aws.String("m" + strconv.Itoa(n)),
					MetricStat: &cwtypes.MetricStat{Metric: &metrics[n].Metric, Period: aws.Int32(bucket(span)), Stat: &metrics[n].stat},
				})
			}
			if err := c.read(ctx, in, values); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

// bucket is into how many seconds a span is divided: a dozen buckets are enough to see
// that a metric has values, and a long span would have more than one answer takes.
func bucket(span time.Duration) int32 {
	return basicSeconds * int32(max(1, (span/12+basicSeconds*time.Second-1)/(basicSeconds*time.Second))) //nolint:gosec // of days at most
}

func (c Clients) read(ctx context.Context, in *cloudwatch.GetMetricDataInput, values []*float64) error {
	for {
		out, err := c.CloudWatch.GetMetricData(ctx, in)
		if err != nil {
			return err
		}
		for _, r := range out.MetricDataResults {
			n, err := strconv.Atoi(strings.TrimPrefix(aws.ToString(r.Id), "m"))
			if err == nil && n < len(values) && values[n] == nil && len(r.Values) > 0 {
				values[n] = &r.Values[0]
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return nil
		}
	}
}
