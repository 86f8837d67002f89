package coverage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/incident"
	"firstline/internal/lazy"
)

const (
	namespaceEC2 = "AWS/EC2"
	// basicSeconds is how often an instance without detailed monitoring has a
	// datapoint (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/manage-detailed-monitoring.html).
	basicSeconds = 300
	// maxListed is of how many metrics without data CloudWatch is asked where there are
	// any, and maxShown how many of these are named.
	maxListed, maxShown = 20, 3
)

// Alarms says which alarms of the running instances cannot fire; both are by instance.
func Alarms(ctx context.Context, c Clients, alarms map[string][]cwtypes.MetricAlarm, instances map[string]ec2types.Instance) ([]Finding, error) {
	var running []alarm
	for _, id := range slices.Sorted(maps.Keys(alarms)) {
		if i, known := instances[id]; known && Running(i) {
			for _, a := range alarms[id] {
				running = append(running, alarm{MetricAlarm: a, instance: i, id: id})
			}
		}
	}
	silent, err := c.silent(ctx, running)
	if err != nil {
		return nil, err
	}
	credits, err := c.credits(ctx, running)
	if err != nil {
		return nil, err
	}
	var all []Finding
	asked := 0
	for n, a := range running {
		balance, standard := credits[a.id]
		switch what, do := a.unfilled(); {
		case what != "":
			all = append(all, on(a.MetricAlarm, Period, a.id, what, do))
		case silent[n]:
			do := "see `aws cloudwatch list-metrics`"
			if asked++; asked <= maxListed {
				if do, err = c.instead(ctx, a); err != nil {
					return nil, err
				}
			}
			all = append(all, on(a.MetricAlarm, NoData, a.id, fmt.Sprintf("has had no data for at least %s: %s has none with exactly the dimensions %s",
				incident.Span(a.patience()), aws.ToString(a.Namespace), dimensions(a.Dimensions)), do))
		case standard:
			all = append(all, a.capped(balance)...)
		}
	}
	return all, nil
}

// alarm is one on a running instance.
type alarm struct {
	cwtypes.MetricAlarm
	instance ec2types.Instance
	id       string
}

// patience is how long an alarm may be without data: EC2 and agents may be late.
func (a alarm) patience() time.Duration {
	evaluation := time.Duration(aws.ToInt32(a.Period)) * time.Second * time.Duration(aws.ToInt32(a.EvaluationPeriods))
	return max(time.Hour, 15*time.Minute+2*evaluation)
}

// isNew: the alarm or its instance may be too young to have data.
func (a alarm) isNew(now time.Time) bool {
	for _, at := range []*time.Time{changed(a.MetricAlarm), a.AlarmConfigurationUpdatedTimestamp, a.instance.LaunchTime} {
		if now.Sub(aws.ToTime(at)) < a.patience() {
			return true
		}
	}
	return false
}

// silent says of each alarm whether its metric has had no datapoint for the alarm's
// patience. CloudWatch is asked for those whose state does not tell: they keep it, or
// are OK, without data.
func (c Clients) silent(ctx context.Context, all []alarm) ([]bool, error) {
	silent, now := make([]bool, len(all)), time.Now()
	var asked []int
	var metrics []metric
	for n, a := range all {
		missing := aws.ToString(a.TreatMissingData)
		switch {
		case a.isNew(now):
		case a.StateValue == cwtypes.StateValueInsufficientData:
			silent[n] = true
		case missing == "ignore", missing == "notBreaching":
			asked = append(asked, n)
			metrics = append(metrics, metric{cwtypes.Metric{Namespace: a.Namespace, MetricName: a.MetricName, Dimensions: a.Dimensions}, "SampleCount", a.patience()})
		}
	}
	values, err := c.newest(ctx, metrics)
	if err != nil {
		return nil, err
	}
	for n, v := range values {
		silent[asked[n]] = v == nil
	}
	return silent, nil
}

// instead says what to do about a metric without data: which dimensions it has.
func (c Clients) instead(ctx context.Context, a alarm) (string, error) {
	out, err := c.CloudWatch.ListMetrics(ctx, &cloudwatch.ListMetricsInput{
		Namespace: a.Namespace, MetricName: a.MetricName, RecentlyActive: cwtypes.RecentlyActivePt3h,
		Dimensions: []cwtypes.DimensionFilter{{Name: aws.String(incident.DimensionInstance), Value: &a.id}},
	})
	if err != nil {
		return "", err
	}
	var there []string
	for _, m := range out.Metrics {
		if words := dimensions(m.Dimensions); words != dimensions(a.Dimensions) && !slices.Contains(there, words) {
			there = append(there, words)
		}
	}
	if len(there) == 0 {
		return "start what reports it (an agent, with its rights), or correct the alarm's namespace, metric and dimensions", nil
	}
	slices.Sort(there)
	more := ""
	if len(there) > maxShown {
		there, more = there[:maxShown], fmt.Sprintf(" (or %d others)", len(there)-maxShown)
	}
	return "there is data with " + strings.Join(there, "; or with ") + more + ": write it into " + setting(a.MetricAlarm, "dimensions"), nil
}

// burstableType tells T2 to T4g from Trn1, and from T1, of whose credits EC2 refuses to
// tell.
var burstableType = lazy.Regexp(`^t[2-9]`)

// credits are the newest CPUCreditBalance of each burstable instance in standard mode;
// nil where CloudWatch has had no figure for an hour.
func (c Clients) credits(ctx context.Context, all []alarm) (map[string]*float64, error) {
	var burstable, standard []string
	for _, a := range all {
		if burstableType().MatchString(string(a.instance.InstanceType)) && !slices.Contains(burstable, a.id) {
			burstable = append(burstable, a.id)
		}
	}
	for ids := range slices.Chunk(burstable, askAtOnce) {
		out, err := c.EC2.DescribeInstanceCreditSpecifications(ctx, &ec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: ids})
		if err != nil {
			return nil, err
		}
		for _, s := range out.InstanceCreditSpecifications {
			if aws.ToString(s.CpuCredits) == "standard" {
				standard = append(standard, aws.ToString(s.InstanceId))
			}
		}
	}
	metrics := make([]metric, len(standard))
	for n, id := range standard {
		metrics[n] = metric{ec2Metric("CPUCreditBalance", id), "Maximum", time.Hour}
	}
	values, err := c.newest(ctx, metrics)
	balances := map[string]*float64{}
	for n, v := range values {
		balances[standard[n]] = v
	}
	return balances, err
}

// ec2Metric is one of an instance's own.
func ec2Metric(name, id string) cwtypes.Metric {
	return cwtypes.Metric{Namespace: aws.String(namespaceEC2), MetricName: &name, Dimensions: []cwtypes.Dimension{{Name: aws.String(incident.DimensionInstance), Value: &id}}}
}

// baselines are what a burstable instance without credits may use at most, in percent,
// by size, or by type where a family differs
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html).
var baselines = map[string]float64{
	"nano": 5, "micro": 10, "small": 20, "medium": 20, "large": 30, "xlarge": 40, "2xlarge": 40,
	"t2.xlarge": 22.5, "t2.2xlarge": 17,
}

// unfilled says why an alarm's period has no datapoint most of the time, and what to do;
// "" if it has.
func (a alarm) unfilled() (what, do string) {
	name, period := aws.ToString(a.MetricName), aws.ToInt32(a.Period)
	m := a.instance.Monitoring
	detailed := m != nil && (m.State == ec2types.MonitoringStateEnabled || m.State == ec2types.MonitoringStatePending)
	what = fmt.Sprintf("has a period of %d s, and there is one datapoint every %d s", period, basicSeconds)
	do = fmt.Sprintf("use %s = %d", setting(a.MetricAlarm, "period_seconds"), basicSeconds)
	switch {
	case aws.ToString(a.Namespace) != namespaceEC2 || period >= basicSeconds || strings.HasPrefix(name, "StatusCheckFailed"):
	case strings.HasPrefix(name, "CPUCredit"), strings.HasPrefix(name, "CPUSurplusCredit"):
		return what, do
	case !detailed:
		return fmt.Sprintf("with period %d s needs detailed monitoring (basic monitoring has one datapoint every %d s)", period, basicSeconds), fmt.Sprintf("turn it on with `aws ec2 monitor-instances --instance-ids %s`, or %s", a.id, do)
	}
	return "", ""
}

// capped says that an alarm on the CPU of an instance in standard mode cannot fire
// without credits: the instance is held at its baseline then.
func (a alarm) capped(balance *float64) []Finding {
	kind := string(a.instance.InstanceType)
	baseline, known := baselines[kind]
	if !known {
		_, size, _ := strings.Cut(kind, ".")
		baseline = baselines[size]
	}
	above := a.ComparisonOperator == cwtypes.ComparisonOperatorGreaterThanOrEqualToThreshold || a.ComparisonOperator == cwtypes.ComparisonOperatorGreaterThanThreshold
	threshold := aws.ToFloat64(a.Threshold)
	if aws.ToString(a.Namespace) != namespaceEC2 || aws.ToString(a.MetricName) != "CPUUtilization" || !above || threshold <= baseline {
		return nil
	}
	now := ""
	if balance != nil {
		now = fmt.Sprintf(" (it has %.0f now)", *balance)
	}
	f := on(a.MetricAlarm, Credits, a.id, fmt.Sprintf("cannot fire at its threshold %g once the instance has no CPU credits%s: a %s in credit mode standard is held at %g %% then", threshold, now, kind, baseline),
		fmt.Sprintf("run `aws ec2 modify-instance-credit-specification --instance-credit-specification InstanceId=%s,CpuCredits=unlimited`, use %s below %g, or watch CPUCreditBalance", a.id, setting(a.MetricAlarm, "threshold"), baseline))
	f.Warning = balance == nil || *balance >= 1
	return []Finding{f}
}
