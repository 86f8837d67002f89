// Package handler is the Lambda function: it decodes a payload, runs the step
// that it names, and gives an error one of four names. It connects what the
// other packages do: checks observe, policy decides, store remembers, notify
// tells.
package handler

import (
	"context"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"firstline/internal/coverage"
	"firstline/internal/incident"
	"firstline/internal/redact"
	"firstline/internal/store"
	"firstline/notify"
)

// Handler runs steps. Its funcs make a client on first use, so that a step
// pays at cold start only for what it needs; cmd/responder fills them in.
type Handler struct {
	// Deployment is the deployment's name, Region the region that it runs in.
	Deployment, Region string
	// SettingsPath is the SSM path under which each instance has its settings. It
	// ends with a slash.
	SettingsPath string
	// Breaker bounds the region's reboots.
	Breaker incident.Breaker
	// StateMachineARN and AlarmPrefix are what reconcile starts, and for which
	// alarms. An alarm's name is the prefix and the instance's id.
	StateMachineARN, AlarmPrefix string
	// SlackPages says whether a page is told in Slack too.
	SlackPages bool
	// OnlyStep is the one step that this function runs; empty: all but StepProbe.
	OnlyStep string
	// Log gets the metrics too.
	Log *slog.Logger

	SSM           func() ParameterGetter
	EC2           func() EC2
	CloudWatch    func() CloudWatch
	StepFunctions func() Executions
	Table         *store.Table
	// Checks are the checks by name.
	Checks map[string]Check
	// Answers reports whether an instance sends a byte, in one quick attempt.
	Answers func(ctx context.Context, instanceID string, s *incident.Settings) bool
	// Connected reports whether our own way out works.
	Connected func(context.Context) bool
	// Peers are the regions whose probes are asked before a reboot, and AskPeer asks
	// one. VantageRequired: without a peer that confirms, nothing is rebooted.
	Peers           []string
	VantageRequired bool
	AskPeer         func(ctx context.Context, region string, p incident.Probe) (incident.Finding, error)
	// Probe makes the attempt that another region asks for.
	Probe func(context.Context, incident.Probe) incident.Finding
	// Coverage are the clients of coverage; nil: there are none, and reconcile does
	// without.
	Coverage func() coverage.Clients
	// VPC: the function runs in a VPC.
	VPC bool
	// Slack is nil where there is none.
	Slack Slack
	// Pagers returns the pagers in their order.
	Pagers func() ([]notify.Pager, error)
	// Heartbeat returns what reconcile pings when it has ended; nil: there is none.
	Heartbeat func() (Heartbeat, error)

	// pagedStore is the alias under which reconcile last paged about the table, and
	// slackStore the one that Slack took: what does not deduplicate gets one an hour
	// from a warm function.
	pagedStore, slackStore string
}

// Check runs one check of a look.
type Check func(context.Context, *incident.Incident) incident.Finding

// ParameterGetter reads SSM parameters.
type ParameterGetter interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
	GetParametersByPath(context.Context, *ssm.GetParametersByPathInput, ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error)
}

// EC2 is what is used of EC2's client.
type EC2 interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	DescribeInstanceCreditSpecifications(context.Context, *ec2.DescribeInstanceCreditSpecificationsInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceCreditSpecificationsOutput, error)
	DescribeSecurityGroups(context.Context, *ec2.DescribeSecurityGroupsInput, ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error)
	DescribeInstanceStatus(context.Context, *ec2.DescribeInstanceStatusInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error)
	GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error)
	RebootInstances(context.Context, *ec2.RebootInstancesInput, ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error)
}

// CloudWatch is what is used of CloudWatch's client.
type CloudWatch interface {
	GetMetricData(context.Context, *cloudwatch.GetMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error)
	DescribeAlarms(context.Context, *cloudwatch.DescribeAlarmsInput, ...func(*cloudwatch.Options)) (*cloudwatch.DescribeAlarmsOutput, error)
}

// Executions starts executions, and tells whether one has ended.
type Executions interface {
	DescribeExecution(context.Context, *sfn.DescribeExecutionInput, ...func(*sfn.Options)) (*sfn.DescribeExecutionOutput, error)
	StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
}

// Slack tells people who are awake.
type Slack interface {
	Post(ctx context.Context, m notify.Message) (incident.Thread, error)
	Rehearse(ctx context.Context, m notify.Message) (text string, err error)
	Test(ctx context.Context, m notify.Message) (notify.Delivery, error)
}

// aliasPrefix begins the alias of each alert.
func (h *Handler) aliasPrefix() string { return h.Deployment + "/" + h.Region }

// warn logs something that does not end the step.
func (h *Handler) warn(ctx context.Context, message, instanceID string, err error) {
	h.Log.LogAttrs(ctx, slog.LevelWarn, message, slog.String("instance", instanceID), slog.String("error", redact.Error(err)))
}
