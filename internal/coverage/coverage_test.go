package coverage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"firstline/internal/incident"
)

const (
	first  = "i-0c1cbf2e7abdedf75"
	check  = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"
	prefix = "firstline-alarm-"
)

// account is an AWS account. Of what it does not say all is well: each instance runs and
// has an alarm with data.
type account struct {
	ids      []string
	alarm    func(*cwtypes.MetricAlarm)
	instance func(*ec2types.Instance)
	unknown  bool // to EC2
	noAlarm  bool
	noData   bool
	credits  string // mode of each burstable instance
	balance  *float64
	metrics  [][]string // dimensions with data, name and value alternating
	health   []bool     // the account's health checks, of which the last is check: disabled
	denied   string     // an action

	mu    *sync.Mutex
	calls map[string]int
}

func (a account) called(action string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[action]++
	if a.denied == action {
		return errors.New(action + ": AccessDenied")
	}
	return nil
}

func (a account) clients() Clients { return Clients{a, a, a} }

// born is when everything in an account was made.
func born() *time.Time { return aws.Time(time.Now().Add(-72 * time.Hour)) }

// page is which ids a call with that token tells of, and the next token; the first page
// is empty, others have 100.
func (a account) page(token *string, ids []string) ([]string, *string) {
	if token == nil {
		return nil, aws.String("0")
	}
	from, _ := strconv.Atoi(*token)
	to := min(from+100, len(ids))
	if to < len(ids) {
		return ids[from:to], aws.String(strconv.Itoa(to))
	}
	return ids[from:], nil
}

func (a account) DescribeAlarms(_ context.Context, in *cloudwatch.DescribeAlarmsInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	out := new(cloudwatch.DescribeAlarmsOutput)
	var ids []string
	ids, out.NextToken = a.page(in.NextToken, a.ids)
	for _, id := range ids {
		alarm := cwtypes.MetricAlarm{
			AlarmName: aws.String(*in.AlarmNamePrefix + id + "-cpu"), StateValue: cwtypes.StateValueOk, StateTransitionedTimestamp: born(), AlarmConfigurationUpdatedTimestamp: born(),
			Namespace: aws.String("AWS/EC2"), MetricName: aws.String("CPUUtilization"), Period: aws.Int32(300), EvaluationPeriods: aws.Int32(1),
			Threshold: aws.Float64(100), ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanOrEqualToThreshold,
			Dimensions: []cwtypes.Dimension{{Name: aws.String("InstanceId"), Value: &id}},
		}
		if a.alarm != nil {
			a.alarm(&alarm)
		}
		if !a.noAlarm {
			out.MetricAlarms = append(out.MetricAlarms, alarm)
		}
	}
	return out, a.called("DescribeAlarms")
}

// GetMetricData has one value a page.
func (a account) GetMetricData(_ context.Context, in *cloudwatch.GetMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	out := new(cloudwatch.GetMetricDataOutput)
	if in.NextToken == nil {
		out.NextToken = aws.String("more")
		return out, a.called("GetMetricData")
	}
	if len(in.MetricDataQueries) > 500 {
		return nil, errors.New("ValidationError")
	}
	for _, q := range in.MetricDataQueries {
		r := cwtypes.MetricDataResult{Id: q.Id}
		switch {
		case *q.MetricStat.Metric.MetricName == "CPUCreditBalance" && a.balance != nil:
			r.Values = []float64{*a.balance, 99}
		case *q.MetricStat.Metric.MetricName == "CPUUtilization" && !a.noData:
			r.Values = []float64{7}
		}
		out.MetricDataResults = append(out.MetricDataResults, r)
	}
	return out, a.called("GetMetricData")
}

func (a account) ListMetrics(context.Context, *cloudwatch.ListMetricsInput, ...func(*cloudwatch.Options)) (*cloudwatch.ListMetricsOutput, error) {
	out := new(cloudwatch.ListMetricsOutput)
	for _, pairs := range a.metrics {
		var m cwtypes.Metric
		for p := range slices.Chunk(pairs, 2) {
			m.Dimensions = append(m.Dimensions, cwtypes.Dimension{Name: &p[0], Value: &p[1]})
		}
		out.Metrics = append(out.Metrics, m)
	}
	return out, a.called("ListMetrics")
}

func (a account) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	out := new(ec2.DescribeInstancesOutput)
	if len(in.Filters[0].Values) > 200 {
		return nil, errors.New("FilterLimitExceeded")
	}
	var ids []string
	ids, out.NextToken = a.page(in.NextToken, in.Filters[0].Values)
	for _, id := range ids {
		i := ec2types.Instance{
			InstanceId: &id, InstanceType: "m7g.large", LaunchTime: born(), State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning},
			Monitoring: &ec2types.Monitoring{State: ec2types.MonitoringStateDisabled},
		}
		if a.instance != nil {
			a.instance(&i)
		}
		if !a.unknown {
			out.Reservations = append(out.Reservations, ec2types.Reservation{Instances: []ec2types.Instance{i}})
		}
	}
	return out, a.called("DescribeInstances")
}

func (a account) DescribeInstanceCreditSpecifications(_ context.Context, in *ec2.DescribeInstanceCreditSpecificationsInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstanceCreditSpecificationsOutput, error) {
	out := new(ec2.DescribeInstanceCreditSpecificationsOutput)
	for _, id := range in.InstanceIds {
		out.InstanceCreditSpecifications = append(out.InstanceCreditSpecifications, ec2types.InstanceCreditSpecification{InstanceId: &id, CpuCredits: &a.credits})
	}
	return out, a.called("DescribeInstanceCreditSpecifications")
}

// ListHealthChecks has one health check a page.
func (a account) ListHealthChecks(_ context.Context, in *route53.ListHealthChecksInput, _ ...func(*route53.Options)) (*route53.ListHealthChecksOutput, error) {
	out := new(route53.ListHealthChecksOutput)
	n, _ := strconv.Atoi(aws.ToString(in.Marker))
	if n < len(a.health) {
		id := fmt.Sprint("other-", n)
		if n == len(a.health)-1 {
			id = check
		}
		out.HealthChecks = []r53types.HealthCheck{{Id: &id, HealthCheckConfig: &r53types.HealthCheckConfig{Disabled: &a.health[n]}}}
		out.IsTruncated, out.NextMarker = n+1 < len(a.health), aws.String(strconv.Itoa(n+1))
	}
	return out, a.called("ListHealthChecks")
}

// region asks about all instances of an account.
func (a account) region(ctx context.Context, watched ...Instance) (*Comparison, map[string]int, error) {
	a.mu, a.calls = new(sync.Mutex), map[string]int{}
	for _, i := range watched {
		if !slices.Contains(a.ids, i.ID) {
			a.ids = append(a.ids, i.ID)
		}
	}
	compared, err := Region(ctx, a.clients(), prefix, watched)
	return compared, a.calls, err
}

func insufficient(a *cwtypes.MetricAlarm) { a.StateValue = cwtypes.StateValueInsufficientData }

func TestFindings(t *testing.T) {
	good := func(a *cwtypes.MetricAlarm) { a.TreatMissingData = aws.String("notBreaching") }
	minute := func(a *cwtypes.MetricAlarm) { a.Period = aws.Int32(60) }
	firing := func(a *cwtypes.MetricAlarm) { a.StateValue = cwtypes.StateValueAlarm }
	t2 := func(i *ec2types.Instance) { i.InstanceType = "t2.medium" }
	state := func(s ec2types.InstanceStateName) func(*ec2types.Instance) {
		return func(i *ec2types.Instance) { i.State.Name = s }
	}
	detailed := func(i *ec2types.Instance) { i.Monitoring.State = ec2types.MonitoringStateEnabled }
	ago := func(d time.Duration) incident.Millis { return incident.At(time.Now().Add(-d)) }
	for _, tt := range []struct {
		name string
		account
		watched Instance
		want    string // the kind, with "?" of a warning; "": none
		says    []string
	}{
		{"is well", account{}, Instance{}, "", nil},
		{"is stopped, and its alarm has no data", account{alarm: insufficient, instance: state(ec2types.InstanceStateNameStopped)}, Instance{}, "", nil},
		{"has no alarm", account{noAlarm: true}, Instance{}, NoAlarm, []string{first + ": it has no alarm, so nothing starts an incident: deploy again"}},
		{"has an alarm and no settings", account{ids: []string{"i-0d2dcf3e8abdedf86"}}, Instance{}, NoSettings, []string{"i-0d2dcf3e8abdedf86: it has an alarm and no settings"}},
		{"is unknown to EC2", account{unknown: true, alarm: insufficient}, Instance{HealthCheckID: check}, Gone, []string{first + ": EC2 does not know it: write the id of the instance that replaced it"}},
		{"is terminated", account{instance: state(ec2types.InstanceStateNameTerminated)}, Instance{}, Gone, []string{"it is terminated"}},

		{"has a health check", account{health: []bool{true, false}}, Instance{HealthCheckID: check}, "", nil},
		{"has a disabled health check", account{health: []bool{false, false, true}}, Instance{HealthCheckID: check}, HealthCheck, []string{"its Route 53 health check " + check + " is disabled: enable it"}},
		{"has a deleted health check", account{}, Instance{HealthCheckID: check}, HealthCheck, []string{check + " does not exist: enable it, or correct route53.health_check_id"}},

		{"fires, and fails", account{alarm: firing}, Instance{LastLookAt: ago(0)}, "", nil},
		{"fires, and has been healthy for an hour", account{alarm: firing}, Instance{HealthySince: ago(time.Hour), LastLookAt: ago(0)}, "", nil},
		{"fires since an hour, and has been healthy for a week", account{alarm: func(a *cwtypes.MetricAlarm) {
			firing(a)
			a.StateTransitionedTimestamp = aws.Time(time.Now().Add(-time.Hour))
		}}, Instance{HealthySince: ago(168 * time.Hour), LastLookAt: ago(0)}, "", nil},
		{"fires, and is no longer looked at", account{alarm: firing}, Instance{HealthySince: ago(48 * time.Hour), LastLookAt: ago(2 * time.Hour)}, "", nil},
		{"fires, and has been healthy for a day", account{alarm: firing}, Instance{HealthySince: ago(24 * time.Hour), LastLookAt: ago(5 * time.Minute)}, AlwaysOn, []string{"its alarm cpu (CPUUtilization) has been in ALARM since", "while every look was healthy: look for what keeps the metric there"}},

		{"has never had data", account{alarm: insufficient}, Instance{}, NoData, []string{"its alarm cpu (CPUUtilization) has had no data for at least 1 h 0 min: AWS/EC2 has none with exactly the dimensions InstanceId: start what reports it"}},
		{"has data with other dimensions", account{alarm: insufficient, metrics: [][]string{{"InstanceId", first}, {"InstanceId", first, "ImageId", "ami-1"}, {"InstanceId", first, "cpu", "1"}, {"InstanceId", first, "cpu", "2"}, {"InstanceId", first, "cpu", "3"}, {"InstanceId", first, "cpu", "3"}}}, Instance{}, NoData, []string{"there is data with ImageId=ami-1, InstanceId; or with InstanceId, cpu=1; or with InstanceId, cpu=2 (or 1 others): write it into alarms.cpu.dimensions"}},
		{"without data, which counts as good ones", account{alarm: good, noData: true}, Instance{}, NoData, []string{"has had no data for at least 1 h 0 min"}},
		{"with data, of which missing ones would count as good", account{alarm: good}, Instance{}, "", nil},
		{"has never had data, whatever else changes", account{alarm: func(a *cwtypes.MetricAlarm) { insufficient(a); a.StateUpdatedTimestamp = aws.Time(time.Now()) }}, Instance{}, NoData, nil},
		{"is new", account{alarm: func(a *cwtypes.MetricAlarm) {
			insufficient(a)
			a.StateTransitionedTimestamp = aws.Time(time.Now().Add(-59 * time.Minute))
		}}, Instance{}, "", nil},
		{"was changed just now", account{alarm: func(a *cwtypes.MetricAlarm) {
			insufficient(a)
			a.AlarmConfigurationUpdatedTimestamp = aws.Time(time.Now())
		}}, Instance{}, "", nil},
		{"of an instance that was started just now", account{alarm: insufficient, instance: func(i *ec2types.Instance) { i.LaunchTime = aws.Time(time.Now()) }}, Instance{}, "", nil},
		{"takes two days", account{alarm: func(a *cwtypes.MetricAlarm) { insufficient(a); a.EvaluationPeriods = aws.Int32(576) }}, Instance{}, "", nil},

		{"each minute, with basic monitoring", account{alarm: minute}, Instance{}, Period, []string{"its alarm cpu (CPUUtilization) with period 60 s needs detailed monitoring (basic monitoring has one datapoint every 300 s): turn it on", "aws ec2 monitor-instances --instance-ids " + first, "alarms.cpu.period_seconds = 300"}},
		{"each minute, with detailed monitoring", account{alarm: minute, instance: detailed}, Instance{}, "", nil},
		{"each minute, on a status check", account{alarm: func(a *cwtypes.MetricAlarm) { minute(a); a.MetricName = aws.String("StatusCheckFailed_Instance") }}, Instance{}, "", nil},
		{"each minute, of an agent", account{alarm: func(a *cwtypes.MetricAlarm) { minute(a); a.Namespace = aws.String("CWAgent") }}, Instance{}, "", nil},
		{"each minute, on credits", account{alarm: func(a *cwtypes.MetricAlarm) { minute(a); a.MetricName = aws.String("CPUCreditBalance") }, instance: detailed}, Instance{}, Period, []string{"its alarm cpu (CPUCreditBalance) has a period of 60 s, and there is one datapoint every 300 s: use alarms.cpu.period_seconds = 300"}},

		{"standard, balance unknown", account{instance: t2, credits: "standard"}, Instance{}, Credits + "?", []string{"cannot fire at its threshold 100 once the instance has no CPU credits: a t2.medium in credit mode standard is held at 20 % then", "CpuCredits=unlimited", "alarms.cpu.threshold below 20", "CPUCreditBalance"}},
		{"standard, with credits", account{instance: t2, credits: "standard", balance: new(57.6)}, Instance{}, Credits + "?", []string{"(it has 58 now)"}},
		{"standard, without credits", account{instance: t2, credits: "standard", balance: new(0.0)}, Instance{}, Credits, []string{"(it has 0 now)"}},
		{"standard, below the baseline", account{instance: t2, credits: "standard", balance: new(0.0), alarm: func(a *cwtypes.MetricAlarm) { a.Threshold = aws.Float64(20) }}, Instance{}, "", nil},
		{"standard, on credits", account{instance: t2, credits: "standard", balance: new(0.0), alarm: func(a *cwtypes.MetricAlarm) {
			a.MetricName, a.ComparisonOperator, a.Threshold = aws.String("CPUCreditBalance"), cwtypes.ComparisonOperatorLessThanOrEqualToThreshold, aws.Float64(1)
		}}, Instance{}, "", nil},
		{"unlimited", account{instance: t2, credits: "unlimited", balance: new(0.0)}, Instance{}, "", nil},
		{"of an old generation", account{instance: func(i *ec2types.Instance) { i.InstanceType = "t1.micro" }, denied: "DescribeInstanceCreditSpecifications"}, Instance{}, "", nil},
		{"not burstable, though its name begins with a t", account{instance: func(i *ec2types.Instance) { i.InstanceType = "trn1.2xlarge" }, credits: "standard"}, Instance{}, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.watched.ID = first
			compared, _, err := tt.region(t.Context(), tt.watched)
			if err != nil {
				t.Fatal(err)
			}
			var kinds, said []string
			for _, f := range compared.Findings {
				kinds = append(kinds, f.Kind+map[bool]string{true: "?"}[f.Warning])
				said = append(said, f.String())
			}
			if strings.Join(kinds, " ") != tt.want {
				t.Fatalf("%q", said)
			}
			for _, want := range tt.says {
				if !strings.Contains(said[0], want) {
					t.Errorf("%q does not say %q", said[0], want)
				}
			}
		})
	}
}

// A right that is missing fails it, also where no finding calls for it.
func TestDenied(t *testing.T) {
	for _, action := range []string{"DescribeAlarms", "DescribeInstances", "GetMetricData", "ListMetrics", "ListHealthChecks"} {
		if all, _, err := (account{denied: action}).region(t.Context(), Instance{ID: first, HealthCheckID: check}); err == nil || all != nil || !strings.Contains(err.Error(), action) {
			t.Errorf("%s: %v, %v", action, err, all)
		}
	}
}

// A thousand instances cost tens of calls, and the alarms without data no more than
// some.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var watched []Instance
		for n := range 1000 {
			watched = append(watched, Instance{ID: fmt.Sprintf("i-%017x", n), HealthCheckID: check})
		}
		compared, calls, err := account{alarm: insufficient, health: []bool{false}, instance: func(i *ec2types.Instance) { i.InstanceType = "t3.micro" }, credits: "standard"}.region(t.Context(), watched...)
		if err != nil {
			t.Fatal(err)
		}
		if all := compared.Findings; len(all) != 1000 || len(compared.Alarms) != 1000 || !slices.IsSortedFunc(all, func(a, b Finding) int { return strings.Compare(a.InstanceID, b.InstanceID) }) {
			t.Fatalf("%d findings, %d alarms", len(all), len(compared.Alarms))
		}
		// Empty first pages are the fake's.
		want := map[string]int{"DescribeAlarms": 11, "DescribeInstances": 20, "DescribeInstanceCreditSpecifications": 10, "GetMetricData": 6, "ListMetrics": 21, "ListHealthChecks": 1}
		for action, n := range want {
			if calls[action] != n {
				t.Errorf("%s: %d calls, want %d", action, calls[action], n)
			}
		}
	})
}

// Whoever knows which alarms there should be hears of those that are not there.
func TestLack(t *testing.T) {
	const second = "i-0d2dcf3e8abdedf86"
	c := Comparison{Alarms: []string{prefix + first + "-cpu"}, Findings: []Finding{{Kind: NoAlarm, InstanceID: second}}}
	c.Lack([]string{prefix + first + "-cpu", prefix + first + "-status", prefix + second + "-cpu"})
	if len(c.Findings) != 2 || c.Findings[1].String() != first+": its alarm status does not exist: deploy again" {
		t.Errorf("%+v", c.Findings)
	}
}
