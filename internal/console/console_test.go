package console

import "testing"

func TestPartition(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1": "aws", "us-east-1": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov",
		"us-iso-east-1": "", "eu-isoe-west-1": "", "eusc-de-east-1": "",
	} {
		if got := Partition(region); got != want {
			t.Errorf("%s: %q, want %q", region, got, want)
		}
	}
}

func TestPages(t *testing.T) {
	c, ok := In("aws", "eu-west-1")
	if !ok {
		t.Fatal("no console in eu-west-1")
	}
	const base = "https://console.aws.amazon.com/"
	for _, tt := range []struct{ name, got, want string }{
		{
			"state machine", c.StateMachine("arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"),
			"states/home?region=eu-west-1#/statemachines/view/arn:aws:states:eu-west-1:123456789012:stateMachine:firstline",
		},
		{
			"execution", c.Execution("arn:aws:states:eu-west-1:123456789012:execution:firstline:x"),
			"states/home?region=eu-west-1#/v2/executions/details/arn:aws:states:eu-west-1:123456789012:execution:firstline:x",
		},
		{"instance", c.Instance("i-0a1b2c3d"), "ec2/home?region=eu-west-1#InstanceDetails:instanceId=i-0a1b2c3d"},
		{"function", c.Function("firstline-responder"), "lambda/home?region=eu-west-1#/functions/firstline-responder"},
		{"alarm", c.Alarm("a b/c"), "cloudwatch/home?region=eu-west-1#alarmsV2:alarm/a%20b%2Fc"},
		{"alarms", c.Alarms("firstline-alarm-"), "cloudwatch/home?region=eu-west-1#alarmsV2:?~(search~'firstline-alarm-)"},
		{"dashboard", c.Dashboard("firstline-eu-west-1"), "cloudwatch/home?region=eu-west-1#dashboards/dashboard/firstline-eu-west-1"},
		{"table", c.Table("firstline-incidents"), "dynamodbv2/home?region=eu-west-1#table?name=firstline-incidents"},
		{
			"log group", c.LogGroup("/aws/lambda/firstline-responder"),
			"cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Faws$252Flambda$252Ffirstline-responder",
		},
		{"rule", c.Rule("firstline-alarm"), "events/home?region=eu-west-1#/eventbus/default/rules/firstline-alarm"},
		{
			"queue", c.Queue("https://sqs.eu-west-1.amazonaws.com/123456789012/q"),
			"sqs/v3/home?region=eu-west-1#/queues/https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F123456789012%2Fq",
		},
		{"topic", c.Topic("arn:aws:sns:eu-west-1:123456789012:t"), "sns/v3/home?region=eu-west-1#/topic/arn:aws:sns:eu-west-1:123456789012:t"},
	} {
		if tt.got != base+tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, tt.got, base+tt.want)
		}
	}
	if c, _ := In("aws-cn", "cn-north-1"); c.Instance("i-0") != "https://console.amazonaws.cn/ec2/home?region=cn-north-1#InstanceDetails:instanceId=i-0" {
		t.Errorf("China: %s", c.Instance("i-0"))
	}
	if _, ok := In("aws-iso", "us-iso-east-1"); ok {
		t.Error("a console in aws-iso")
	}
}
