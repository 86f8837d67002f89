package deployed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"firstline/internal/incident"
)

// ErrNone says that no deployment of that name is in the region.
var ErrNone = errors.New("is not deployed")

// validName is what terraform/modules/region takes for a name.
var validName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// ValidName reports whether a deployment may have that name.
func ValidName(name string) bool { return len(name) <= 28 && validName.MatchString(name) }

// Find asks AWS what the deployment of a name has in cfg's region: the function for
// what it was told, the state machine for the version of the function that it calls,
// and CloudWatch for the alarms. All else follows from the name. The version of the
// code is not known. The error is ErrNone when there is no such function.
func Find(ctx context.Context, cfg aws.Config, name string) (Region, error) {
	r := Region{
		Region: cfg.Region, Name: name, FunctionName: name + "-responder",
		RuleName: name + "-alarm", CanaryRuleName: name + "-canary", ReconcileRuleName: name + "-reconcile",
		DashboardName: name + "-" + cfg.Region, FunctionLogGroup: "/aws/lambda/" + name + "-responder", ExecutionLogGroup: "/aws/vendedlogs/states/" + name,
	}
	function, err := lambda.NewFromConfig(cfg).GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &r.FunctionName})
	if _, missing := errors.AsType[*lambdatypes.ResourceNotFoundException](err); missing {
		return r, fmt.Errorf("%q %w in %s", name, ErrNone, cfg.Region)
	} else if err != nil {
		return r, err
	}
	if err := r.read(function.Environment); err != nil {
		return r, err
	}
	machine, err := sfn.NewFromConfig(cfg).DescribeStateMachine(ctx, &sfn.DescribeStateMachineInput{StateMachineArn: &r.StateMachineARN})
	if err != nil {
		return r, err
	}
	called := regexp.MustCompile(regexp.QuoteMeta(aws.ToString(function.FunctionArn)) + `:[0-9]+`)
	r.FunctionARN = called.FindString(aws.ToString(machine.Definition))
	return r, r.findAlarms(ctx, cloudwatch.NewFromConfig(cfg))
}

// read takes what the function was told by its environment.
func (r *Region) read(told *lambdatypes.EnvironmentResponse) error {
	if told == nil || told.Variables["FIRSTLINE_STATE_MACHINE_ARN"] == "" {
		return fmt.Errorf("the function %s is not firstline's: its environment has no FIRSTLINE_STATE_MACHINE_ARN; give the name of a deployment", r.FunctionName)
	}
	r.TableName, r.StateMachineARN = told.Variables["FIRSTLINE_TABLE"], told.Variables["FIRSTLINE_STATE_MACHINE_ARN"]
	if parts := strings.Split(r.StateMachineARN, ":"); len(parts) > 4 && incident.ValidAccountID(parts[4]) {
		r.AccountID = parts[4]
	}
	r.DeadLetterQueueURL = fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s-dead-letter", r.Region, r.AccountID, r.Name)
	var pagers []struct {
		Type     string `json:"type"`
		TopicARN string `json:"topic_arn"`
	}
	if err := json.Unmarshal([]byte(told.Variables["FIRSTLINE_PAGERS"]), &pagers); err != nil {
		return fmt.Errorf("the pagers of the function %s: %w", r.FunctionName, err)
	}
	for _, p := range pagers {
		r.Pagers = append(r.Pagers, p.Type)
		if p.Type == "sns" {
			r.PagerTopicARN = p.TopicARN
		}
	}
	return nil
}

// findAlarms finds the alarms, the instances that they are on, and the topic that the
// deployment's own notify.
func (r *Region) findAlarms(ctx context.Context, client cloudwatch.DescribeAlarmsAPIClient) error {
	pages := cloudwatch.NewDescribeAlarmsPaginator(client, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String(r.Name + "-")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.MetricAlarms {
			name := aws.ToString(a.AlarmName)
			if id, _ := incident.AlarmOf(name); id != "" && strings.HasPrefix(name, r.Name+"-alarm-"+id) {
				r.AlarmNames, r.InstanceIDs = append(r.AlarmNames, name), append(r.InstanceIDs, id)
			}
			if strings.HasPrefix(name, r.Name+"-self-") {
				r.SelfAlarmNames = append(r.SelfAlarmNames, name)
				if len(a.AlarmActions) > 0 {
					r.AlarmTopicARN = &a.AlarmActions[0]
				}
			}
		}
	}
	for _, list := range []*[]string{&r.AlarmNames, &r.InstanceIDs, &r.SelfAlarmNames} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return nil
}
