package sim

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/internal/incident"
)

const (
	settingsPath = "/firstline/instances/"
	alarmPrefix  = "firstline-alarm-"
	machineARN   = "arn:aws:states:" + region + ":" + account + ":stateMachine:firstline"
)

// call is a call to a service: its effect runs with mu held.
func call[T any](ctx context.Context, w *world, service, name string, effect func() (T, error)) (out T, err error) {
	after, err := w.enter(ctx, service, name)
	if err != nil {
		return out, err
	}
	w.mu.Lock()
	out, err = effect()
	w.mu.Unlock()
	if lost := after(); lost != nil {
		var none T
		return none, lost
	}
	return out, err
}

// services are AWS's APIs as far as the function uses them.
type services struct{ w *world }

func (s services) parameter(m *machine) ssmtypes.Parameter {
	if m.parameter == "" { // they seldom change
		raw, err := json.Marshal(m.settings)
		if err != nil {
			panic(err)
		}
		m.parameter = string(raw)
	}
	return ssmtypes.Parameter{Name: aws.String(settingsPath + m.id), Value: &m.parameter}
}

func (s services) GetParameter(ctx context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	return call(ctx, s.w, "ssm", "ssm:GetParameter", func() (*ssm.GetParameterOutput, error) {
		m := s.w.machine((*in.Name)[strings.LastIndex(*in.Name, "/")+1:])
		if m == nil || m.unwatched {
			return nil, &ssmtypes.ParameterNotFound{}
		}
		return &ssm.GetParameterOutput{Parameter: new(s.parameter(m))}, nil
	})
}

func (s services) GetParametersByPath(ctx context.Context, _ *ssm.GetParametersByPathInput, _ ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error) {
	return call(ctx, s.w, "ssm", "ssm:GetParametersByPath", func() (*ssm.GetParametersByPathOutput, error) {
		out := &ssm.GetParametersByPathOutput{}
		for _, m := range s.w.machines {
			if !m.unwatched {
				out.Parameters = append(out.Parameters, s.parameter(m))
			}
		}
		return out, nil
	})
}

func (s services) instance(m *machine) ec2types.Instance {
	i := ec2types.Instance{
		InstanceId: &m.id, State: &ec2types.InstanceState{Name: ec2types.InstanceStateName(m.state())},
		Tags:           []ec2types.Tag{{Key: aws.String("Name"), Value: &m.name}},
		InstanceType:   map[bool]ec2types.InstanceType{false: "m7g.large", true: "t4g.micro"}[m.noCredits],
		SecurityGroups: []ec2types.GroupIdentifier{{GroupId: aws.String(map[bool]string{false: "sg-open", true: "sg-closed"}[m.closed])}},
	}
	if !m.launchedAt.IsZero() {
		i.LaunchTime = &m.launchedAt
	}
	if m.isRunning() {
		i.PublicIpAddress = aws.String(address)
	} else {
		i.StateReason = &ec2types.StateReason{Code: aws.String("Client.UserInitiatedShutdown")}
		if m.power == halted {
			i.StateReason.Code = aws.String("Client.InstanceInitiatedShutdown")
		}
	}
	if time.Now().Before(m.pause) {
		i.Tags = append(i.Tags, ec2types.Tag{Key: aws.String(incident.PauseTag), Value: aws.String(m.pause.UTC().Format(time.RFC3339))})
	}
	return i
}

func (s services) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	return call(ctx, s.w, "ec2", "ec2:DescribeInstances", func() (*ec2.DescribeInstancesOutput, error) {
		out := &ec2.DescribeInstancesOutput{}
		if len(in.Filters) > 0 { // those that are paused
			for _, m := range s.w.machines {
				if m.power != terminated && time.Now().Before(m.pause) {
					out.Reservations = append(out.Reservations, ec2types.Reservation{Instances: []ec2types.Instance{s.instance(m)}})
				}
			}
			return out, nil
		}
		for _, id := range in.InstanceIds {
			m := s.w.machine(id)
			if m == nil || time.Now().Before(m.forgotten) {
				return nil, awsError("InvalidInstanceID.NotFound")
			}
			out.Reservations = append(out.Reservations, ec2types.Reservation{Instances: []ec2types.Instance{s.instance(m)}})
		}
		return out, nil
	})
}

func (s services) DescribeInstanceStatus(ctx context.Context, in *ec2.DescribeInstanceStatusInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error) {
	return call(ctx, s.w, "ec2", "ec2:DescribeInstanceStatus", func() (*ec2.DescribeInstanceStatusOutput, error) {
		out := &ec2.DescribeInstanceStatusOutput{}
		for _, id := range in.InstanceIds {
			m := s.w.machine(id)
			if m == nil || time.Now().Before(m.forgotten) {
				return nil, awsError("InvalidInstanceID.NotFound")
			}
			if m.isRunning() || aws.ToBool(in.IncludeAllInstances) {
				out.InstanceStatuses = append(out.InstanceStatuses, s.status(m))
			}
		}
		return out, nil
	})
}

func (s services) status(m *machine) ec2types.InstanceStatus {
	of := func(check string) ec2types.SummaryStatus {
		switch {
		case !m.isRunning():
			return ec2types.SummaryStatusNotApplicable
		case time.Now().Before(m.initUntil):
			return ec2types.SummaryStatusInitializing
		case m.impaired == check:
			return ec2types.SummaryStatusImpaired
		}
		return ec2types.SummaryStatusOk
	}
	var events []ec2types.InstanceStatusEvent
	if m.scheduled {
		events = append(events, ec2types.InstanceStatusEvent{Code: ec2types.EventCodeInstanceRetirement, Description: aws.String("The instance is running on degraded hardware")})
	}
	return ec2types.InstanceStatus{
		InstanceId: &m.id, Events: events, InstanceState: &ec2types.InstanceState{Name: ec2types.InstanceStateName(m.power)},
		SystemStatus: &ec2types.InstanceStatusSummary{
			Status: of("system"), Details: []ec2types.InstanceStatusDetails{{Name: "reachability", ImpairedSince: m.impairedSince("system")}},
		},
		InstanceStatus: &ec2types.InstanceStatusSummary{Status: of("instance")},
		AttachedEbsStatus: &ec2types.EbsStatusSummary{
			Status: of("ebs"), Details: []ec2types.EbsStatusDetails{{Name: "reachability", ImpairedSince: m.impairedSince("ebs")}},
		},
	}
}

func (m *machine) impairedSince(check string) *time.Time {
	if m.impaired != check {
		return nil
	}
	return &m.impairedAt
}

func (s services) DescribeSecurityGroups(ctx context.Context, in *ec2.DescribeSecurityGroupsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error) {
	return call(ctx, s.w, "ec2", "ec2:DescribeSecurityGroups", func() (*ec2.DescribeSecurityGroupsOutput, error) {
		g := ec2types.SecurityGroup{GroupId: &in.GroupIds[0]}
		if in.GroupIds[0] == "sg-open" {
			g.IpPermissions = []ec2types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}
		}
		return &ec2.DescribeSecurityGroupsOutput{SecurityGroups: []ec2types.SecurityGroup{g}}, nil
	})
}

func (s services) DescribeInstanceCreditSpecifications(ctx context.Context, in *ec2.DescribeInstanceCreditSpecificationsInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstanceCreditSpecificationsOutput, error) {
	return call(ctx, s.w, "ec2", "ec2:DescribeInstanceCreditSpecifications", func() (*ec2.DescribeInstanceCreditSpecificationsOutput, error) {
		return &ec2.DescribeInstanceCreditSpecificationsOutput{InstanceCreditSpecifications: []ec2types.InstanceCreditSpecification{
			{InstanceId: &in.InstanceIds[0], CpuCredits: aws.String("standard")},
		}}, nil
	})
}

func (s services) GetMetricData(ctx context.Context, _ *cloudwatch.GetMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	return call(ctx, s.w, "cloudwatch", "cloudwatch:GetMetricData", func() (*cloudwatch.GetMetricDataOutput, error) {
		return &cloudwatch.GetMetricDataOutput{MetricDataResults: []cwtypes.MetricDataResult{{Id: aws.String("credits"), Values: []float64{.2}}}}, nil
	})
}

func (s services) GetConsoleOutput(ctx context.Context, _ *ec2.GetConsoleOutputInput, _ ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	return call(ctx, s.w, "ec2", "ec2:GetConsoleOutput", func() (*ec2.GetConsoleOutputOutput, error) {
		return &ec2.GetConsoleOutputOutput{}, nil
	})
}

func (s services) RebootInstances(ctx context.Context, in *ec2.RebootInstancesInput, _ ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	return call(ctx, s.w, "ec2", "ec2:RebootInstances", func() (*ec2.RebootInstancesOutput, error) {
		if s.w.isOut("reboots") {
			return nil, awsError("UnauthorizedOperation")
		}
		if aws.ToBool(in.DryRun) {
			return nil, awsError("DryRunOperation")
		}
		for _, id := range in.InstanceIds {
			m := s.w.machine(id)
			if m == nil || !m.isRunning() {
				return nil, awsError("IncorrectState")
			}
			s.w.checkReboot(m, invocationOf(ctx))
			s.w.boot(m, s.w.between(40*time.Second, s.w.bootMax), m.curable)
		}
		return &ec2.RebootInstancesOutput{}, nil
	})
}

func (s services) DescribeAlarms(ctx context.Context, in *cloudwatch.DescribeAlarmsInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error) {
	return call(ctx, s.w, "cloudwatch", "cloudwatch:DescribeAlarms", func() (*cloudwatch.DescribeAlarmsOutput, error) {
		out := &cloudwatch.DescribeAlarmsOutput{}
		for _, m := range s.w.machines {
			name, state := alarmPrefix+m.id+"-cpu", cwtypes.StateValueOk
			switch {
			case m.unwatched:
				continue
			case time.Now().Before(m.alarmUntil):
				state = cwtypes.StateValueAlarm
			case !m.isRunning():
				state = cwtypes.StateValueInsufficientData
			}
			if in.StateValue != "" && in.StateValue != state || len(in.AlarmNames) > 0 && !slices.Contains(in.AlarmNames, name) ||
				!strings.HasPrefix(name, aws.ToString(in.AlarmNamePrefix)) {
				continue
			}
			out.MetricAlarms = append(out.MetricAlarms, cwtypes.MetricAlarm{
				AlarmName: &name, AlarmArn: aws.String("arn:aws:cloudwatch:" + region + ":" + account + ":alarm:" + name),
				StateValue: state, MetricName: aws.String("CPUUtilization"), StateReason: aws.String("Threshold Crossed"),
				Dimensions: []cwtypes.Dimension{{Name: aws.String(incident.DimensionInstance), Value: &m.id}},
			})
		}
		return out, nil
	})
}

func (s services) StartExecution(ctx context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	return call(ctx, s.w, "states", "states:StartExecution "+*in.Name, func() (*sfn.StartExecutionOutput, error) {
		e, ok := s.w.start(aws.ToString(in.Name), json.RawMessage(*in.Input))
		if !ok && (e.status != sfntypes.ExecutionStatusRunning || string(e.input) != *in.Input) {
			return nil, &sfntypes.ExecutionAlreadyExists{}
		}
		return &sfn.StartExecutionOutput{ExecutionArn: &e.arn, StartDate: &e.started}, nil
	})
}

func (s services) DescribeExecution(ctx context.Context, in *sfn.DescribeExecutionInput, _ ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error) {
	return call(ctx, s.w, "states", "states:DescribeExecution "+*in.ExecutionArn, func() (*sfn.DescribeExecutionOutput, error) {
		e := s.w.executions[(*in.ExecutionArn)[strings.LastIndex(*in.ExecutionArn, ":")+1:]]
		if e == nil {
			return nil, &sfntypes.ExecutionDoesNotExist{}
		}
		return &sfn.DescribeExecutionOutput{ExecutionArn: &e.arn, Name: &e.name, Status: e.status, StartDate: &e.started}, nil
	})
}
