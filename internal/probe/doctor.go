package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/checks"
	"firstline/internal/coverage"
	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/notify"
)

// What Examine looks at beside what Verify does.
const (
	// CheckInstance is whether an instance exists and runs.
	CheckInstance = "instance"
	// CheckFirewall is whether security groups and network ACLs let the function in.
	CheckFirewall = "firewall"
	// CheckPolicies is whether IAM lets the function's role have its managed policies.
	CheckPolicies = "policies"
)

// examineTime bounds what is asked about one region.
const examineTime = 30 * time.Second

// examination is what is asked about one region before anything is deployed there.
type examination struct {
	clients
	aws       coverage.Clients
	region    string
	want      Intended
	ssm       *ssm.Client
	route53   *route53.Client
	functions *lambda.Client
	instances map[string]ec2types.Instance
	firewalls *firewalls
}

// Examine looks, before anything is deployed and with the caller's own rights, for
// what would fail in a region: instances that do not run, checks that fail from here,
// firewalls, alarms that could not fire, Lambda's quota, and secrets that Slack or a
// pager does not take. It changes nothing and tells nobody anything. What it cannot tell
// is a warning; everything is in the Verification, also that ctx has ended.
func Examine(ctx context.Context, cfg aws.Config, region string, want Intended) Verification {
	asked, stop := context.WithTimeout(ctx, examineTime)
	defer stop()
	cfg = InRegion(cfg, region)
	x := examination{
		clients: clients{lambda: lambda.NewFromConfig(cfg)},
		aws:     coverage.Clients{CloudWatch: cloudwatch.NewFromConfig(cfg), EC2: ec2.NewFromConfig(cfg)},
		region:  region, want: want, ssm: ssm.NewFromConfig(cfg), route53: route53.NewFromConfig(cfg), functions: lambda.NewFromConfig(cfg),
	}
	v := Verification{Region: region}
	ids := want.Regions[region].IDs()
	var err error
	if x.instances, err = coverage.Instances(asked, x.aws.EC2, ids); err != nil {
		v.Error = fmt.Sprintf("cannot read its instances (%s): that needs the right ec2:DescribeInstances", saidWithin(err))
		return v
	}
	var unread CheckResult
	if x.firewalls, err = readFirewalls(asked, ec2.NewFromConfig(cfg), want.Regions[region], x.instances); err != nil {
		unread = CheckResult{Check: CheckFirewall, Result: Warned, Reason: fmt.Sprintf("cannot tell what security groups and network ACLs let in (%s): that needs the rights ec2:DescribeSecurityGroups and ec2:DescribeNetworkAcls", saidWithin(err))}
	}
	// Before the checks, which may take all of the time where many instances are down.
	for _, c := range want.Channels {
		// A ping would say that all is well.
		if len(c.Secrets) > 0 && c.Type != CheckHeartbeat {
			v.Deployment = append(v.Deployment, x.channel(asked, c))
		}
	}
	verifier := &Verifier{read: func(string) clients { return x.clients }}
	v.Deployment = append(v.Deployment, verifier.concurrency(asked, region, len(ids), x.reserve(asked)))
	var wg sync.WaitGroup
	slots := make(chan struct{}, concurrency)
	v.Instances = make([]InstanceResult, len(ids))
	for n, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			v.Instances[n] = x.instance(asked, id)
		})
	}
	wg.Wait()
	v.Deployment = append(v.Deployment, x.alarms(asked, v.Instances)...)
	if unread.Check != "" {
		v.Deployment = append(v.Deployment, unread)
	}
	if ctx.Err() != nil {
		v.Error = "interrupted"
	}
	return v
}

// instance examines one instance.
func (x examination) instance(ctx context.Context, id string) InstanceResult {
	r := InstanceResult{ID: id}
	add := func(check string, result Result, reason string, elapsed int64) {
		r.Checks = append(r.Checks, CheckResult{Check: check, Result: result, Reason: reason, ElapsedMs: elapsed})
	}
	i, known := x.instances[id]
	switch {
	case !known:
		add(CheckInstance, Errored, "it is not in this region", 0)
		return r
	case !coverage.Running(i):
		add(CheckInstance, Result(incident.Attention), "it does not run, so no check was tried and no alarm can fire: start it", 0)
		return r
	}
	add(CheckInstance, Passed, "it runs", 0)
	settings := x.want.Regions[x.region].Instances[id].Settings
	for _, f := range x.look(ctx, i, settings) {
		result, reason := x.fromHere(f, &settings)
		add(f.Check, result, reason, f.ElapsedMs)
	}
	if reason := x.firewalls.closed(ctx, i, settings); reason != "" {
		add(CheckFirewall, Errored, reason, 0)
	} else if x.firewalls != nil {
		add(CheckFirewall, Passed, "the function is let in", 0)
	}
	return r
}

// reserve is how much concurrency the region's probe would reserve beside what it has
// reserved already.
func (x examination) reserve(ctx context.Context) int {
	more := x.want.Regions[x.region].ProbeConcurrency
	if more == 0 {
		return 0
	}
	// Where it is not there, or nobody tells, it has none.
	if out, err := x.functions.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(x.want.Name + "-probe")}); err == nil && out.Concurrency != nil {
		more -= int(aws.ToInt32(out.Concurrency.ReservedConcurrentExecutions))
	}
	return max(0, more)
}

// look runs the three checks once from here.
func (x examination) look(ctx context.Context, i ec2types.Instance, s incident.Settings) []incident.Finding {
	describe := func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
		return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: []ec2types.Instance{i}}}}, nil
	}
	v := &checks.Vantage{DescribeInstances: describe, Secret: x.parameter, VPC: x.want.Regions[x.region].VPC != nil}
	s.URL.Attempts, s.Route53.Attempts, s.SSH.Attempts = 1, 1, 1
	id := aws.ToString(i.InstanceId)
	return []incident.Finding{
		private(s.URL.Private, incident.CheckURL, func() incident.Finding { return v.URL(ctx, id, s.URL) }),
		(&checks.Route53{Client: func() checks.HealthChecks { return x.route53 }, DescribeInstances: describe}).Check(ctx, &incident.Incident{InstanceID: id, Settings: &s}),
		private(s.SSH.Private, incident.CheckSSH, func() incident.Finding { return v.SSH(ctx, id, s.SSH, "") }),
	}
}

// parameter returns the value of an SSM parameter.
func (x examination) parameter(ctx context.Context, name string) (string, error) {
	out, err := x.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if err != nil {
		return "", err
	}
	if out.Parameter == nil {
		return "", errors.New("SSM answered without the parameter")
	}
	return aws.ToString(out.Parameter.Value), nil
}

// private leaves a check out that asks a private address.
func private(is bool, check string, run func() incident.Finding) incident.Finding {
	if is {
		return incident.Finding{Check: check, Outcome: incident.Skipped, Reason: notFromHere}
	}
	return run()
}

const notFromHere = "not tried from here: it asks a private address"

// fromHere is what a finding means for the function, which asks from elsewhere: what
// fails from here may pass from its VPC, and what is our own trouble here is not its.
func (x examination) fromHere(f incident.Finding, s *incident.Settings) (Result, string) {
	result, reason := resultOf(f, s), f.Reason+advice(f)
	switch {
	case f.Reason == notFromHere:
		return Skipped, reason
	case result == Errored:
		return Warned, "cannot tell from here: " + reason
	case result == Failed && x.want.Regions[x.region].VPC != nil && f.Check != incident.CheckRoute53:
		return Warned, "from here, and the function asks from its VPC: " + reason
	case !result.OK():
		return result, "from here: " + reason
	}
	return result, reason
}

// alarmRights are what alarms needs.
const alarmRights = "cloudwatch:GetMetricData, cloudwatch:ListMetrics, ec2:DescribeInstanceCreditSpecifications"

// alarms adds to each instance whether its alarm could fire; where that cannot be told,
// it returns why.
func (x examination) alarms(ctx context.Context, all []InstanceResult) []CheckResult {
	alarms := map[string][]cwtypes.MetricAlarm{}
	for id, i := range x.want.Regions[x.region].Instances {
		for _, trigger := range slices.Sorted(maps.Keys(i.Alarms)) {
			alarms[id] = append(alarms[id], i.Alarms[trigger].metricAlarm(id, trigger))
		}
	}
	findings, err := coverage.Alarms(ctx, x.aws, alarms, x.instances)
	if err != nil {
		return []CheckResult{{Check: CheckAlarm, Result: Warned, Reason: fmt.Sprintf("cannot tell whether the alarms could fire (%s): that needs the rights %s", saidWithin(err), alarmRights)}}
	}
	for n := range all {
		if coverage.Running(x.instances[all[n].ID]) {
			all[n].Checks = append(all[n].Checks, alarmResult(all[n].ID, findings))
		}
	}
	return nil
}

// metricAlarm is the alarm as CloudWatch would have it. Whether its metric has data is
// asked of those alone that keep their state without, so it is made one.
func (a IntendedAlarm) metricAlarm(id, trigger string) cwtypes.MetricAlarm {
	m := cwtypes.MetricAlarm{
		AlarmName: aws.String("alarm-" + id + "-" + trigger), Namespace: &a.Namespace, MetricName: &a.Metric, Period: &a.PeriodSeconds, EvaluationPeriods: &a.EvaluationPeriods,
		Threshold: &a.Threshold, ComparisonOperator: cwtypes.ComparisonOperator(a.Comparison), TreatMissingData: aws.String("ignore"),
		Dimensions: []cwtypes.Dimension{{Name: aws.String(incident.DimensionInstance), Value: &id}},
	}
	for name, value := range a.Dimensions {
		m.Dimensions = append(m.Dimensions, cwtypes.Dimension{Name: &name, Value: &value})
	}
	return m
}

// channel has Slack or a pager take its secret: the one that is given, else the one that
// is stored.
func (x examination) channel(ctx context.Context, ch Channel) CheckResult {
	start := time.Now()
	c := CheckResult{Check: CheckPager, Result: Passed, Reason: Title(ch.Type) + " takes its secret; nothing was sent"}
	m := notify.Message{Kind: notify.KindTest, Incident: &incident.Incident{Region: x.region}, Deployment: x.want.Name, Now: start}
	var err error
	if ch.Type == CheckSlack {
		c.Check = CheckSlack
		slack := notify.Slack{Token: func(ctx context.Context, fresh bool) (string, error) {
			return x.secret(ctx, ch.Secrets["token"].Parameter(x.want.Name), fresh)
		}}
		slack.ChannelID, _ = ch.Settings["channel_id"].(string)
		slack.APIURL, _ = ch.Settings["api_url"].(string)
		_, err = slack.Rehearse(ctx, m)
	} else {
		var pagers []notify.Pager
		if pagers, err = notify.New(fmt.Appendf(nil, "[%s]", ch.config(x.want.Name)), notify.Deps{Secret: x.secret}); err == nil {
			_, err = pagers[0].Rehearse(ctx, m)
		}
	}
	c.ElapsedMs = time.Since(start).Milliseconds()
	switch {
	case err != nil && fault.KindOf(err) == fault.Unavailable:
		c.Result, c.Reason = Warned, "cannot tell from here: "+err.Error()
	case err != nil:
		c.Result, c.Reason = Errored, err.Error()
	}
	return c
}

// secret returns the secret of a parameter: the one that is given, else the one that is
// stored.
func (x examination) secret(ctx context.Context, parameter string, _ bool) (string, error) {
	const op = "read the secret"
	secret := Secret(path.Base(parameter))
	if given := secret.Given(x.region); given != "" {
		return given, nil
	}
	stored, err := x.parameter(ctx, parameter)
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none || err == nil && stored == incident.UnsetSecret {
		return "", fault.New(fault.InvalidInput, op, "%s is not set, and none is stored", secret.Variable())
	} else if err != nil {
		return "", fault.New(fault.Unavailable, op, "%s is not set, and what is stored cannot be read: %s", secret.Variable(), Said(err))
	}
	return stored, nil
}

// Policies asks IAM whether the function's role may have as many managed policies as
// the settings say.
func Policies(ctx context.Context, cfg aws.Config, want Intended) CheckResult {
	ctx, stop := context.WithTimeout(ctx, examineTime)
	defer stop()
	c := CheckResult{Check: CheckPolicies, Result: Passed}
	out, err := iam.NewFromConfig(cfg).GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})
	if err != nil {
		c.Result, c.Reason = Warned, fmt.Sprintf("cannot tell how many managed policies a role may have (%s): that needs the right iam:GetAccountSummary", saidWithin(err))
		return c
	}
	quota, told := out.SummaryMap["AttachedPoliciesPerRoleQuota"]
	c.Reason = fmt.Sprintf("a role may have %d managed policies", quota)
	if told && int(quota) < want.ManagedPolicies {
		c.Result = Errored
		c.Reason += fmt.Sprintf(", and function.managed_policies = %d: use %d, or have IAM's quota \"managed policies per role\" raised", want.ManagedPolicies, quota)
	}
	return c
}
