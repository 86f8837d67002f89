mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  name              = "firstline"
  region            = "eu-west-1"
  state_machine_arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"
  function_name     = "firstline-responder"
  queue_name        = "firstline-dead-letter"
  rules             = { alarm = "firstline-alarm", canary = "firstline-canary", reconcile = "firstline-reconcile" }
  reconcile         = { every_minutes = 5 }

  alarm_actions = ["arn:aws:sns:eu-west-1:123456789012:firstline-self"]
}

run "alarms" {
  command = plan
  assert {
    condition = { for k, a in aws_cloudwatch_metric_alarm.self : a.alarm_name => "${a.namespace} ${a.metric_name} ${jsonencode(a.dimensions)} ${a.evaluation_periods}x${a.period}" } == {
      "firstline-self-incident-failed"    = "AWS/States ExecutionsFailed {\"StateMachineArn\":\"arn:aws:states:eu-west-1:123456789012:stateMachine:firstline\"} 1x60"
      "firstline-self-incident-timed-out" = "AWS/States ExecutionsTimedOut {\"StateMachineArn\":\"arn:aws:states:eu-west-1:123456789012:stateMachine:firstline\"} 1x60"
      "firstline-self-incident-aborted"   = "AWS/States ExecutionsAborted {\"StateMachineArn\":\"arn:aws:states:eu-west-1:123456789012:stateMachine:firstline\"} 1x60"
      "firstline-self-incident-throttled" = "AWS/States ExecutionThrottled {\"StateMachineArn\":\"arn:aws:states:eu-west-1:123456789012:stateMachine:firstline\"} 1x300"

      "firstline-self-function-errors"       = "AWS/Lambda Errors {\"FunctionName\":\"firstline-responder\"} 3x300"
      "firstline-self-function-throttles"    = "AWS/Lambda Throttles {\"FunctionName\":\"firstline-responder\"} 1x300"
      "firstline-self-dead-letters"          = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"firstline-dead-letter\"} 1x60"
      "firstline-self-dead-letter-sent"      = "AWS/SQS NumberOfMessagesSent {\"QueueName\":\"firstline-dead-letter\"} 1x60"
      "firstline-self-dead-letter-lost"      = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"firstline-alarm\"} 1x60"
      "firstline-self-rule-alarm-failed"     = "AWS/Events FailedInvocations {\"RuleName\":\"firstline-alarm\"} 1x300"
      "firstline-self-rule-canary-failed"    = "AWS/Events FailedInvocations {\"RuleName\":\"firstline-canary\"} 1x300"
      "firstline-self-rule-reconcile-failed" = "AWS/Events FailedInvocations {\"RuleName\":\"firstline-reconcile\"} 1x300"
    }
    error_message = jsonencode({ for k, a in aws_cloudwatch_metric_alarm.self : a.alarm_name => "${a.namespace} ${a.metric_name} ${jsonencode(a.dimensions)} ${a.evaluation_periods}x${a.period}" })
  }
  assert {
    condition = alltrue([for a in aws_cloudwatch_metric_alarm.self : alltrue([
      a.statistic == "Sum", a.comparison_operator == "GreaterThanThreshold", a.threshold == 0, a.treat_missing_data == "notBreaching",
    ])])
    error_message = "one is too many, and no data is good news"
  }
  assert {
    condition     = alltrue([for a in concat(values(aws_cloudwatch_metric_alarm.self), [aws_cloudwatch_metric_alarm.reconcile]) : toset(a.alarm_actions) == toset(var.alarm_actions) && length(a.alarm_description) > 50])
    error_message = "every alarm tells, and what to do"
  }
  assert {
    condition     = alltrue([for end in ["ToldAnotherWay", "NobodyWasTold"] : strcontains(aws_cloudwatch_metric_alarm.self["incident-failed"].alarm_description, end)])
    error_message = "the ends of the definition that fail: ${aws_cloudwatch_metric_alarm.self["incident-failed"].alarm_description}"
  }
  assert {
    condition     = output.alarm_names == sort(concat([for a in aws_cloudwatch_metric_alarm.self : a.alarm_name], ["firstline-self-reconcile-missing"]))
    error_message = join(", ", output.alarm_names)
  }
}

run "dead_mans_switch" {
  command = plan
  assert {
    condition = alltrue([
      aws_cloudwatch_metric_alarm.reconcile.alarm_name == "firstline-self-reconcile-missing",
      aws_cloudwatch_metric_alarm.reconcile.namespace == "firstline",
      aws_cloudwatch_metric_alarm.reconcile.metric_name == "Reconciles",
      aws_cloudwatch_metric_alarm.reconcile.dimensions == tomap({ Deployment = "firstline" }),
      aws_cloudwatch_metric_alarm.reconcile.statistic == "Sum",
      aws_cloudwatch_metric_alarm.reconcile.comparison_operator == "LessThanThreshold",
      aws_cloudwatch_metric_alarm.reconcile.threshold == 1,
      aws_cloudwatch_metric_alarm.reconcile.treat_missing_data == "breaching",
      aws_cloudwatch_metric_alarm.reconcile.period == 300,
      aws_cloudwatch_metric_alarm.reconcile.evaluation_periods == 3,
    ])
    error_message = "no reconcile for three periods is bad news"
  }
}

run "dead_mans_switch_of_frequent_reconciles" {
  command = plan
  variables {
    reconcile = { every_minutes = 1 }
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.reconcile.period == 300
    error_message = "metrics come late: never less than five minutes"
  }
}

run "dead_mans_switch_of_infrequent_reconciles" {
  command = plan
  variables {
    reconcile = { every_minutes = 10 }
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.reconcile.period == 600 && strcontains(aws_cloudwatch_metric_alarm.reconcile.alarm_description, "for 30 minutes")
    error_message = aws_cloudwatch_metric_alarm.reconcile.alarm_description
  }
}

run "nobody_to_tell" {
  command = plan
  variables {
    alarm_actions = []
  }
  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.self : length(coalesce(a.alarm_actions, [])) == 0])
    error_message = "no topic without subscribers"
  }
}

run "dashboard" {
  command = plan
  assert {
    condition     = aws_cloudwatch_dashboard.region.dashboard_name == "firstline-eu-west-1" && output.dashboard_name == "firstline-eu-west-1"
    error_message = "dashboards belong to the account: two regions need two names"
  }
  assert {
    condition     = [for w in jsondecode(aws_cloudwatch_dashboard.region.dashboard_body).widgets : w.properties.alarms if w.type == "alarm"] == [[for name in output.alarm_names : "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:${name}"]]
    error_message = "every alarm is on it"
  }
  assert {
    condition = toset(distinct([for m in flatten([for w in jsondecode(aws_cloudwatch_dashboard.region.dashboard_body).widgets : [for m in w.properties.metrics : jsonencode(slice(m, 0, 4))] if w.type == "metric"]) : m])) == toset([
      for name in ["Incidents", "AlreadyHandled", "Reboots", "Refusals", "Pages", "Notes", "PagerFallbacks", "Resolves", "SlackMessages", "CheckLatency", "AlarmsInAlarm", "Reconciles", "HeartbeatFailures"] : jsonencode(["firstline", name, "Deployment", "firstline"])
    ])
    error_message = aws_cloudwatch_dashboard.region.dashboard_body
  }
  assert {
    condition     = alltrue([for w in jsondecode(aws_cloudwatch_dashboard.region.dashboard_body).widgets : w.x + w.width <= 24 && try(w.properties.region, "eu-west-1") == "eu-west-1"])
    error_message = "it fits the grid"
  }
}
