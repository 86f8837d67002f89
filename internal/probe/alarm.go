package probe

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/deployed"
	"firstline/internal/incident"
)

// CheckAlarm is whether an instance's alarms can fire. It is asked with the caller's
// own rights.
const CheckAlarm = "alarm"

// alarmRights are what the check of alarms needs.
const alarmRights = "cloudwatch:DescribeAlarms, cloudwatch:GetMetricStatistics, ec2:DescribeInstances, ec2:DescribeInstanceCreditSpecifications"

// alarmTime is what one alarm may take beside readTime: up to two calls, of a region
// that may be far away.
const alarmTime = time.Second

// askAtOnce is of how many alarms or instances one call asks: CloudWatch takes 100
// names (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html).
const askAtOnce = 100

type alarmReader interface {
	DescribeAlarms(context.Context, *cloudwatch.DescribeAlarmsInput, ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error)
	GetMetricStatistics(context.Context, *cloudwatch.GetMetricStatisticsInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricStatisticsOutput, error)
}

type instanceReader interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	DescribeInstanceCreditSpecifications(context.Context, *ec2.DescribeInstanceCreditSpecificationsInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceCreditSpecificationsOutput, error)
}

// watched is what CloudWatch and EC2 say of a region's instances and their alarms.
type watched struct {
	region    string
	alarms    map[string]cwtypes.MetricAlarm // by name
	instances map[string]ec2types.Instance   // by id
	// silent are the alarms whose metric has had no datapoint for the alarm's patience,
	// by name, of those whose state does not tell.
	silent map[string]bool
	// credits are those of the burstable instances in standard mode, by id; nil
	// where CloudWatch has no figure.
	credits map[string]*float64
}

// alarms adds to each instance whether its alarms can fire. When that cannot be told of
// any, it returns why: that needs rights which only the caller lacks.
func (v *Verifier) alarms(ctx context.Context, r deployed.Region, all []InstanceResult) (_ CheckResult, unknown bool) {
	start := time.Now()
	asked, stop := context.WithTimeout(ctx, readTime+time.Duration(len(all))*alarmTime)
	defer stop()
	w, err := v.read(r.Region).watched(asked, r)
	elapsed := time.Since(start).Milliseconds()
	for n := range all {
		c := CheckResult{Check: CheckAlarm, Result: Skipped, Reason: "not tried", ElapsedMs: elapsed}
		if err == nil {
			c.Result, c.Reason = w.results(r.Alarms(all[n].ID), all[n].ID, start)
		}
		all[n].Checks = append(all[n].Checks, c)
	}
	if err == nil || ctx.Err() != nil || len(all) == 0 {
		return CheckResult{}, false
	}
	return CheckResult{
		Check: CheckAlarm, Result: Warned, ElapsedMs: elapsed,
		Reason: fmt.Sprintf("cannot tell whether the alarms can fire (%s): that needs the rights %s", saidWithin(err), alarmRights),
	}, true
}

// burstableType tells T2 to T4g from Trn1, and from T1, of whose credits EC2 refuses to
// tell.
var burstableType = regexp.MustCompile(`^t[2-9]`)

// watched asks CloudWatch and EC2.
func (c clients) watched(ctx context.Context, r deployed.Region) (*watched, error) {
	w := &watched{region: r.Region, alarms: map[string]cwtypes.MetricAlarm{}, silent: map[string]bool{}, credits: map[string]*float64{}}
	var names []string
	for _, id := range r.InstanceIDs {
		names = append(names, r.Alarms(id)...)
	}
	for names := range slices.Chunk(names, askAtOnce) {
		pages := cloudwatch.NewDescribeAlarmsPaginator(c.cloudwatch, &cloudwatch.DescribeAlarmsInput{AlarmNames: names, MaxRecords: aws.Int32(askAtOnce)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, a := range page.MetricAlarms {
				w.alarms[aws.ToString(a.AlarmName)] = a
			}
		}
	}
	var err error
	if w.instances, err = Instances(ctx, c.ec2, r.InstanceIDs); err != nil {
		return nil, err
	}
	if err := w.readSilence(ctx, c); err != nil {
		return nil, err
	}
	return w, w.readCredits(ctx, c)
}

// Instances asks EC2 for instances. What it does not know is left out.
func Instances(ctx context.Context, client ec2.DescribeInstancesAPIClient, ids []string) (map[string]ec2types.Instance, error) {
	all := map[string]ec2types.Instance{}
	for ids := range slices.Chunk(ids, askAtOnce) {
		// By a filter, since one id that EC2 does not know fails a call. A filter has up to
		// 200 values.
		pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: ids}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, reservation := range page.Reservations {
				for _, i := range reservation.Instances {
					all[aws.ToString(i.InstanceId)] = i
				}
			}
		}
	}
	return all, nil
}

// readSilence asks for the datapoints of those alarms that keep their state, or are OK,
// without any.
func (w *watched) readSilence(ctx context.Context, c clients) error {
	for name, a := range w.alarms {
		if missing := aws.ToString(a.TreatMissingData); missing != "ignore" && missing != "notBreaching" {
			continue
		}
		points, err := c.datapoints(ctx, a.Namespace, a.MetricName, a.Dimensions, patience(a), max(basicSeconds, aws.ToInt32(a.Period)))
		if err != nil {
			return err
		}
		w.silent[name] = len(points) == 0
	}
	return nil
}

// datapoints are the newest of a metric.
func (c clients) datapoints(ctx context.Context, namespace, metric *string, dimensions []cwtypes.Dimension, span time.Duration, period int32) ([]cwtypes.Datapoint, error) {
	now := time.Now()
	out, err := c.cloudwatch.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
		Namespace: namespace, MetricName: metric, Dimensions: dimensions, StartTime: aws.Time(now.Add(-span)), EndTime: &now, Period: &period,
		Statistics: []cwtypes.Statistic{cwtypes.StatisticMaximum},
	})
	if err != nil {
		return nil, err
	}
	return out.Datapoints, nil
}

// readCredits asks for the credits of the burstable instances in standard mode.
func (w *watched) readCredits(ctx context.Context, c clients) error {
	burstable := slices.DeleteFunc(slices.Sorted(maps.Keys(w.instances)), func(id string) bool {
		i := w.instances[id]
		return i.State == nil || i.State.Name != ec2types.InstanceStateNameRunning || !burstableType.MatchString(string(i.InstanceType))
	})
	for ids := range slices.Chunk(burstable, askAtOnce) {
		out, err := c.ec2.DescribeInstanceCreditSpecifications(ctx, &ec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: ids})
		if err != nil {
			return err
		}
		for _, s := range out.InstanceCreditSpecifications {
			if id := aws.ToString(s.InstanceId); aws.ToString(s.CpuCredits) == "standard" {
				if w.credits[id], err = c.credits(ctx, id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// credits is the newest CPUCreditBalance of an instance within the hour; nil without
// one.
func (c clients) credits(ctx context.Context, id string) (*float64, error) {
	points, err := c.datapoints(ctx, aws.String(namespaceEC2), aws.String("CPUCreditBalance"), []cwtypes.Dimension{{Name: aws.String(incident.DimensionInstance), Value: &id}}, time.Hour, basicSeconds)
	if err != nil || len(points) == 0 {
		return nil, err
	}
	newest := slices.MaxFunc(points, func(a, b cwtypes.Datapoint) int {
		return aws.ToTime(a.Timestamp).Compare(aws.ToTime(b.Timestamp))
	})
	return newest.Maximum, nil
}

const (
	namespaceEC2 = "AWS/EC2"
	// basicSeconds is how often an instance without detailed monitoring has a
	// datapoint (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/manage-detailed-monitoring.html).
	basicSeconds = 300
)

// patience is how long an alarm may be without data: EC2 and agents may be late.
func patience(a cwtypes.MetricAlarm) time.Duration {
	evaluation := time.Duration(aws.ToInt32(a.Period)) * time.Second * time.Duration(aws.ToInt32(a.EvaluationPeriods))
	return 15*time.Minute + 2*evaluation
}

// baselines are what a burstable instance without credits may use at most, in percent,
// by size, or by type where a family differs
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html).
var baselines = map[string]float64{
	"nano": 5, "micro": 10, "small": 20, "medium": 20, "large": 30, "xlarge": 40, "2xlarge": 40,
	"t2.xlarge": 22.5, "t2.2xlarge": 17,
}

// results says whether an instance's alarms can fire, each by its trigger; of those that
// cannot, or may not, alone if there are any.
func (w *watched) results(names []string, id string, now time.Time) (worst Result, reason string) {
	if len(names) == 0 {
		return Errored, "it has no alarm, so nothing starts an incident: deploy again"
	}
	said := map[Result][]string{}
	for _, name := range names {
		_, trigger := incident.AlarmOf(name)
		result, reason := w.result(name, id, now)
		said[result] = append(said[result], trigger+": "+reason)
	}
	for _, worst = range []Result{Errored, Warned, Passed, Skipped} {
		if said[worst] != nil {
			break
		}
	}
	return worst, strings.Join(said[worst], "; ")
}

// result says whether one of an instance's alarms can fire. An instance that does not
// run is none of its business.
func (w *watched) result(name, id string, now time.Time) (Result, string) {
	a, ok := w.alarms[name]
	i := w.instances[id]
	_, trigger := incident.AlarmOf(name)
	switch {
	case !ok:
		return Errored, "the alarm does not exist, so it starts no incident: deploy again"
	case i.State == nil || i.State.Name != ec2types.InstanceStateNameRunning:
		return Skipped, "the instance is not running"
	}
	if reason := unfilled(a, i, trigger); reason != "" {
		return Errored, reason
	}
	if reason := w.noData(a, i, trigger, now); reason != "" {
		return Errored, reason
	}
	if balance, standard := w.credits[id]; standard {
		return capped(a, i, trigger, balance)
	}
	return Passed, "state " + string(a.StateValue)
}

// unfilled says why an alarm's period has no datapoint most of the time; "" if it has.
func unfilled(a cwtypes.MetricAlarm, i ec2types.Instance, trigger string) string {
	metric, period := aws.ToString(a.MetricName), aws.ToInt32(a.Period)
	detailed := i.Monitoring != nil && (i.Monitoring.State == ec2types.MonitoringStateEnabled || i.Monitoring.State == ec2types.MonitoringStatePending)
	switch {
	case aws.ToString(a.Namespace) != namespaceEC2 || period >= basicSeconds || strings.HasPrefix(metric, "StatusCheckFailed"):
	case strings.HasPrefix(metric, "CPUCredit"), strings.HasPrefix(metric, "CPUSurplusCredit"):
		return fmt.Sprintf("its period is %d s, and %s has one datapoint every %d s: use alarms.%s.period_seconds = %d", period, metric, basicSeconds, trigger, basicSeconds)
	case !detailed:
		return fmt.Sprintf("period %d s needs detailed monitoring: with basic monitoring there is one datapoint every %d s; turn it on with `aws ec2 monitor-instances --instance-ids %s` or use alarms.%s.period_seconds = %d", period, basicSeconds, aws.ToString(i.InstanceId), trigger, basicSeconds)
	}
	return ""
}

// noData says that an alarm has had no data for long; "" if it has, or may be too
// young.
func (w *watched) noData(a cwtypes.MetricAlarm, i ec2types.Instance, trigger string, now time.Time) string {
	since := aws.ToTime(cmp.Or(a.StateTransitionedTimestamp, a.StateUpdatedTimestamp))
	for _, at := range []*time.Time{a.AlarmConfigurationUpdatedTimestamp, i.LaunchTime} {
		if at := aws.ToTime(at); at.After(since) {
			since = at
		}
	}
	none := a.StateValue == cwtypes.StateValueInsufficientData || w.silent[aws.ToString(a.AlarmName)]
	if !none || now.Sub(since) < patience(a) {
		return ""
	}
	var dimensions []string
	for _, d := range a.Dimensions {
		dimensions = append(dimensions, aws.ToString(d.Name)+"="+aws.ToString(d.Value))
	}
	return fmt.Sprintf("its metric has had no data for at least %s, so it cannot fire: there is no metric %s of %s with exactly the dimensions %s, or it has no datapoints; see what there is with `aws cloudwatch list-metrics --region %s --namespace %s --metric-name %s --dimensions Name=%s,Value=%s`, and name the other dimensions in alarms.%s.dimensions",
		patience(a), aws.ToString(a.MetricName), aws.ToString(a.Namespace), strings.Join(dimensions, ", "),
		w.region, aws.ToString(a.Namespace), aws.ToString(a.MetricName), incident.DimensionInstance, aws.ToString(i.InstanceId), trigger)
}

// capped says whether an alarm on the CPU of an instance in standard mode can fire:
// without credits the instance is held at its baseline.
func capped(a cwtypes.MetricAlarm, i ec2types.Instance, trigger string, balance *float64) (Result, string) {
	_, size, _ := strings.Cut(string(i.InstanceType), ".")
	baseline, known := baselines[string(i.InstanceType)]
	if !known {
		baseline = baselines[size]
	}
	above := a.ComparisonOperator == cwtypes.ComparisonOperatorGreaterThanOrEqualToThreshold || a.ComparisonOperator == cwtypes.ComparisonOperatorGreaterThanThreshold
	if aws.ToString(a.Namespace) != namespaceEC2 || aws.ToString(a.MetricName) != "CPUUtilization" || !above || aws.ToFloat64(a.Threshold) <= baseline {
		return Passed, "state " + string(a.StateValue)
	}
	result, now := Warned, ""
	if balance != nil {
		now = fmt.Sprintf(" (it has %.0f now)", *balance)
		if *balance < 1 {
			result, now = Errored, " (it has none now)"
		}
	}
	return result, fmt.Sprintf("a %s in credit mode standard is held at %g %% once it has no credits%s, so an alarm with threshold %g cannot fire then: run `aws ec2 modify-instance-credit-specification --instance-credit-specification InstanceId=%s,CpuCredits=unlimited`, or use alarms.%s.threshold below %g, or a trigger with metric = \"CPUCreditBalance\"",
		i.InstanceType, baseline, now, aws.ToFloat64(a.Threshold), aws.ToString(i.InstanceId), trigger, baseline)
}
