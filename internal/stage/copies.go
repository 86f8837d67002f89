package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// What a deployment called firstline calls the settings and the alarm of an instance,
// without its id.
const (
	settingsPrefix = "/firstline/instances/"
	alarmPrefix    = "firstline-cpu-"
)

// CopyDeployed gives an instance the settings and the alarm that Terraform has deployed
// for another one of its region. That takes no time, for any number of instances.
func (w *World) CopyDeployed(ctx context.Context, from, to *Instance) error {
	parameters, alarms := ssm.NewFromConfig(w.AWS.Config(to.Region)), cloudwatch.NewFromConfig(w.AWS.Config(to.Region))
	p, err := parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(settingsPrefix + from.ID)})
	if err != nil {
		return err
	}
	if _, err := parameters.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(settingsPrefix + to.ID), Value: p.Parameter.Value, Type: p.Parameter.Type}); err != nil {
		return err
	}
	out, err := alarms.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{alarmPrefix + from.ID}})
	if err != nil {
		return err
	}
	if len(out.MetricAlarms) != 1 {
		return fmt.Errorf("%d alarms are called %s%s, want 1", len(out.MetricAlarms), alarmPrefix, from.ID)
	}
	a := out.MetricAlarms[0]
	_, err = alarms.PutMetricAlarm(ctx, &cloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String(alarmPrefix + to.ID), Namespace: a.Namespace, MetricName: a.MetricName,
		Dimensions: []cwtypes.Dimension{{Name: aws.String("InstanceId"), Value: aws.String(to.ID)}},
		Period:     a.Period, EvaluationPeriods: a.EvaluationPeriods, Threshold: a.Threshold,
		Statistic: a.Statistic, ComparisonOperator: a.ComparisonOperator, TreatMissingData: a.TreatMissingData,
	})
	return err
}

// Quieten sets the alarms of a region's instances to OK, but for those of some ids.
// Nobody hears of it: it is for sweeps, which look which alarms ring.
func (w *World) Quieten(ctx context.Context, region string, but ...string) error {
	client := cloudwatch.NewFromConfig(w.AWS.Config(region))
	pages := cloudwatch.NewDescribeAlarmsPaginator(client, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String(alarmPrefix), StateValue: cwtypes.StateValueAlarm})
	var names []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.MetricAlarms {
			if name := aws.ToString(a.AlarmName); !slices.Contains(but, strings.TrimPrefix(name, alarmPrefix)) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if _, err := client.SetAlarmState(ctx, &cloudwatch.SetAlarmStateInput{AlarmName: &name, StateValue: cwtypes.StateValueOk, StateReason: aws.String("quiet")}); err != nil {
			return err
		}
	}
	return nil
}
