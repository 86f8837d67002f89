// Package coverage compares what is watched with what is: it finds instances that are
// watched in name only. It reads, and changes nothing.
package coverage

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/incident"
)

// Finding is something that keeps an instance from being watched.
type Finding struct {
	// Kind is one of the constants below.
	Kind       string `json:"kind"`
	InstanceID string `json:"instance_id"`
	// Alarm is the alarm's name, where it is about one.
	Alarm string `json:"alarm,omitempty"`
	// What is wrong, and what to do about it, each in one line.
	What string `json:"what"`
	Do   string `json:"do"`
	// Warning: it is well now and may not be later.
	Warning bool `json:"warning,omitempty"`
}

// Kinds of finding.
const (
	NoAlarm     = "no_alarm"     // nothing starts an incident
	NoSettings  = "no_settings"  // its incident could not begin
	Gone        = "gone"         // EC2 does not know it, or it is terminated
	HealthCheck = "health_check" // its Route 53 health check is disabled or deleted
	NoData      = "no_data"      // an alarm whose metric has no datapoints
	Period      = "period"       // an alarm with fewer datapoints than periods
	AlwaysOn    = "always_on"    // an alarm in ALARM while every look is healthy
	Credits     = "credits"      // an alarm that cannot fire without CPU credits
)

func (f Finding) String() string { return f.InstanceID + ": " + f.What + ": " + f.Do }

// Instance is one that is watched.
type Instance struct {
	ID            string
	HealthCheckID string
	// HealthySince is the first of its healthy looks in a row, and LastLookAt the last
	// look; 0: not known.
	HealthySince, LastLookAt incident.Millis
}

const (
	// longOn is how long an alarm is in ALARM beside healthy looks before it is told.
	// Such an instance is looked at every few minutes: looks end with freshLook.
	longOn    = 24 * time.Hour
	freshLook = time.Hour
)

// Comparison is what came of comparing.
type Comparison struct {
	// Findings are in the order of the instances.
	Findings []Finding `json:"findings"`
	// Alarms are the names of all alarms on instances that there are, sorted.
	Alarms []string `json:"alarms"`
}

// LogValue is what is logged: how much there is.
func (c *Comparison) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("findings", len(c.Findings)), slog.Int("alarms", len(c.Alarms)))
}

// Lack adds a finding for each alarm that should be there and is not.
func (c *Comparison) Lack(alarms []string) {
	for _, name := range alarms {
		id, trigger := incident.AlarmOf(name)
		hasNone := func(f Finding) bool { return f.Kind == NoAlarm && f.InstanceID == id && f.Alarm == "" }
		if !slices.Contains(c.Alarms, name) && !slices.ContainsFunc(c.Findings, hasNone) {
			c.Findings = append(c.Findings, Finding{Kind: NoAlarm, InstanceID: id, Alarm: name, What: "its alarm " + trigger + " does not exist", Do: "deploy again"})
		}
	}
}

// Region asks AWS about the watched instances of a region, whose alarms' names begin
// with a prefix.
func Region(ctx context.Context, c Clients, prefix string, watched []Instance) (*Comparison, error) {
	ids := make([]string, len(watched))
	for n, i := range watched {
		ids[n] = i.ID
	}
	var alarms map[string][]cwtypes.MetricAlarm
	var instances map[string]ec2types.Instance
	var health map[string]string
	if err := atOnce(ctx,
		func(ctx context.Context) (err error) { alarms, err = c.alarms(ctx, prefix); return err },
		func(ctx context.Context) (err error) { instances, err = Instances(ctx, c.EC2, ids); return err },
		func(ctx context.Context) (err error) { health, err = c.healthChecks(ctx, watched); return err },
		func(ctx context.Context) error { return c.try(ctx, ids) },
	); err != nil {
		return nil, err
	}
	all, err := Alarms(ctx, c, alarms, instances)
	if err != nil {
		return nil, err
	}
	for _, i := range watched {
		here, known := instances[i.ID]
		switch {
		case !known:
			all = append(all, Finding{Kind: Gone, InstanceID: i.ID, What: "EC2 does not know it", Do: replace})
			continue
		case terminated(here):
			all = append(all, Finding{Kind: Gone, InstanceID: i.ID, What: "it is terminated", Do: replace})
			continue
		case len(alarms[i.ID]) == 0:
			all = append(all, Finding{Kind: NoAlarm, InstanceID: i.ID, What: "it has no alarm, so nothing starts an incident", Do: "deploy again"})
		}
		if state := health[i.HealthCheckID]; state != "" {
			all = append(all, Finding{Kind: HealthCheck, InstanceID: i.ID, What: "its Route 53 health check " + i.HealthCheckID + " " + state, Do: "enable it, or correct route53.health_check_id"})
		}
		all = append(all, i.alwaysOn(alarms[i.ID], time.Now())...)
	}
	compared := &Comparison{Alarms: []string{}}
	for id, these := range alarms {
		for _, a := range these {
			compared.Alarms = append(compared.Alarms, aws.ToString(a.AlarmName))
		}
		if !slices.Contains(ids, id) {
			all = append(all, Finding{Kind: NoSettings, InstanceID: id, Alarm: aws.ToString(these[0].AlarmName), What: "it has an alarm and no settings, so its incidents cannot begin", Do: "deploy again"})
		}
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.InstanceID, b.InstanceID), cmp.Compare(a.Alarm, b.Alarm))
	})
	slices.Sort(compared.Alarms)
	compared.Findings = append([]Finding{}, all...)
	return compared, nil
}

const replace = "write the id of the instance that replaced it in its place in regions.tfvars, or remove it, and deploy"

// atOnce asks all questions side by side, and returns the first error, which ends the
// others.
func atOnce(ctx context.Context, questions ...func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, ask := range questions {
		wg.Go(func() {
			if err := ask(ctx); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// alwaysOn are the alarms that have long been on beside healthy looks.
func (i Instance) alwaysOn(alarms []cwtypes.MetricAlarm, now time.Time) (all []Finding) {
	for _, a := range alarms {
		since := max(i.HealthySince, incident.At(aws.ToTime(changed(a))))
		if a.StateValue == cwtypes.StateValueAlarm && i.HealthySince > 0 && now.Sub(since.Time()) >= longOn && now.Sub(i.LastLookAt.Time()) < freshLook {
			all = append(all, on(a, AlwaysOn, i.ID, "has been in ALARM since "+since.Time().Format("2006-01-02 15:04 UTC")+" while every look was healthy", "look for what keeps the metric there, or change "+setting(a, "threshold")))
		}
	}
	return all
}

// on is a finding about an alarm.
func on(a cwtypes.MetricAlarm, kind, id, what, do string) Finding {
	_, trigger := incident.AlarmOf(aws.ToString(a.AlarmName))
	return Finding{Kind: kind, InstanceID: id, Alarm: aws.ToString(a.AlarmName), What: "its alarm " + trigger + " (" + aws.ToString(a.MetricName) + ") " + what, Do: do}
}

func terminated(i ec2types.Instance) bool {
	return i.State != nil && (i.State.Name == ec2types.InstanceStateNameTerminated || i.State.Name == ec2types.InstanceStateNameShuttingDown)
}

// Running reports whether EC2 says that an instance runs.
func Running(i ec2types.Instance) bool {
	return i.State != nil && i.State.Name == ec2types.InstanceStateNameRunning
}

// changed is when an alarm went to its state; its state's reason may change later.
func changed(a cwtypes.MetricAlarm) *time.Time {
	return cmp.Or(a.StateTransitionedTimestamp, a.StateUpdatedTimestamp)
}

// setting is what a setting of an alarm is called in regions.tfvars.
func setting(a cwtypes.MetricAlarm, name string) string {
	_, trigger := incident.AlarmOf(aws.ToString(a.AlarmName))
	return "alarms." + trigger + "." + name
}

// dimensions are a metric's, in words. Which instance it is goes without saying.
func dimensions(all []cwtypes.Dimension) string {
	var words []string
	for _, d := range all {
		word := aws.ToString(d.Name)
		if word != incident.DimensionInstance {
			word += "=" + aws.ToString(d.Value)
		}
		words = append(words, word)
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
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
