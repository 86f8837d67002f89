// Package console builds links into the AWS console, in every partition that
// has a public one.
package console

import (
	"net/url"
	"strings"
)

// hosts are the partitions with a public console, and its host.
var hosts = map[string]string{
	"aws":        "console.aws.amazon.com",
	"aws-us-gov": "console.amazonaws-us-gov.com",
	"aws-cn":     "console.amazonaws.cn",
}

// Partition returns the partition that a region belongs to; "" for one whose
// console is not public.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.Contains(region, "-iso"), strings.HasPrefix(region, "eusc-"):
		return ""
	}
	return "aws"
}

// Console is one partition's console, set to one region. Its methods take names
// and ARNs as AWS gives them out; whoever has them from elsewhere checks them
// first.
type Console struct{ host, region string }

// In returns a partition's console in a region; ok is false when that has no
// public one.
func In(partition, region string) (c Console, ok bool) {
	host, ok := hosts[partition]
	return Console{host, region}, ok
}

func (c Console) page(service, fragment string) string {
	return "https://" + c.host + "/" + service + "/home?region=" + url.QueryEscape(c.region) + "#" + fragment
}

// escape makes a name fit for a part of a fragment.
func escape(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

// StateMachine is the page of a state machine and its executions.
func (c Console) StateMachine(arn string) string {
	return c.page("states", "/statemachines/view/"+arn)
}

// Execution is the page of one execution.
func (c Console) Execution(arn string) string {
	return c.page("states", "/v2/executions/details/"+arn)
}

// Instance is the page of an EC2 instance.
func (c Console) Instance(id string) string {
	return c.page("ec2", "InstanceDetails:instanceId="+id)
}

// Function is the page of a Lambda function.
func (c Console) Function(name string) string {
	return c.page("lambda", "/functions/"+escape(name))
}

// Alarm is the page of one CloudWatch alarm.
func (c Console) Alarm(name string) string {
	return c.page("cloudwatch", "alarmsV2:alarm/"+escape(name))
}

// Alarms lists the alarms whose names contain a text of letters, digits, dashes
// and underscores, which is what the console takes as it is.
func (c Console) Alarms(text string) string {
	return c.page("cloudwatch", "alarmsV2:?~(search~'"+text+")")
}

// Dashboard is the page of a CloudWatch dashboard.
func (c Console) Dashboard(name string) string {
	return c.page("cloudwatch", "dashboards/dashboard/"+escape(name))
}

// Table is the page of a DynamoDB table.
func (c Console) Table(name string) string {
	return c.page("dynamodbv2", "table?name="+escape(name))
}

// LogGroup is the page of a log group.
func (c Console) LogGroup(name string) string {
	return c.page("cloudwatch", "logsV2:log-groups/log-group/"+twice(name))
}

// twice escapes twice, as the pages of logs want it, which also have $ for %.
func twice(text string) string { return strings.ReplaceAll(escape(escape(text)), "%", "$") }

// Rule is the page of a rule of the default event bus.
func (c Console) Rule(name string) string {
	return c.page("events", "/eventbus/default/rules/"+escape(name))
}

// Queue is the page of an SQS queue.
func (c Console) Queue(address string) string {
	return c.page("sqs/v3", "/queues/"+escape(address))
}

// Topic is the page of an SNS topic.
func (c Console) Topic(arn string) string {
	return c.page("sns/v3", "/topic/"+arn)
}
