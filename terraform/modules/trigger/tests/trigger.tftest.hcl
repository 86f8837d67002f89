mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  name              = "firstline"
  alarm_prefix      = "firstline-cpu-"
  state_machine_arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"
  alarm_actions     = []
}

run "rule" {
  command = plan
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.alarm.event_pattern) == {
      source        = ["aws.cloudwatch"]
      "detail-type" = ["CloudWatch Alarm State Change"]
      resources     = [{ prefix = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-cpu-" }]
      detail        = { state = { value = ["ALARM"] } }
    }
    error_message = aws_cloudwatch_event_rule.alarm.event_pattern
  }
}

run "target" {
  command = plan
  assert {
    condition     = aws_cloudwatch_event_target.incident.arn == var.state_machine_arn && aws_cloudwatch_event_target.incident.retry_policy[0].maximum_event_age_in_seconds == 3600 && aws_cloudwatch_event_target.incident.retry_policy[0].maximum_retry_attempts == 185
    error_message = "the target, and how long it is tried"
  }
  assert {
    condition     = [for s in data.aws_iam_policy_document.trigger.statement : { actions = s.actions, resources = s.resources }] == [{ actions = toset(["states:StartExecution"]), resources = toset([var.state_machine_arn]) }]
    error_message = "the rule may start this state machine and nothing else"
  }
}

run "dead_letter_queue" {
  command = plan
  assert {
    condition     = aws_sqs_queue.dead_letter.sqs_managed_sse_enabled && aws_sqs_queue.dead_letter.message_retention_seconds == 1209600
    error_message = "encrypted, kept for 14 days"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letter.alarm_name == "firstline-self-dead-letter" && !startswith(aws_cloudwatch_metric_alarm.dead_letter.alarm_name, var.alarm_prefix)
    error_message = "its alarm starts no incident"
  }
}
