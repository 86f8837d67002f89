package testbed

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// Quieten sets the alarms of a region's instances to OK, for a deployment called
// firstline. Nobody hears of it: it is for reconcile, which reads which alarms fire.
func (w *Testbed) Quieten(ctx context.Context, region string) error {
	client := cloudwatch.NewFromConfig(w.AWS.Config(region))
	pages := cloudwatch.NewDescribeAlarmsPaginator(client, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("firstline-alarm-"), StateValue: types.StateValueAlarm})
	// All are read before one is changed, which would move the pages.
	var names []*string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.MetricAlarms {
			names = append(names, a.AlarmName)
		}
	}
	for _, name := range names {
		if _, err := client.SetAlarmState(ctx, &cloudwatch.SetAlarmStateInput{AlarmName: name, StateValue: types.StateValueOk, StateReason: aws.String("quiet")}); err != nil {
			return err
		}
	}
	return nil
}
