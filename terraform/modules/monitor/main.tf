# Who watches the first line: alarms on whatever ends without anybody having been
# told, and a dashboard.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  region = data.aws_region.current.id

  # What an execution that is not closed leaves behind.
  lease = "the next alarm of its instance takes over; where Step Functions or the table do not answer, up to ${var.execution_timeout_seconds + 60} s after the execution began"

  # Each rings when its metric is above 0 in every one of so many periods in a
  # row. Without data nothing has happened.
  alarms = merge({
    incident-failed = {
      metric      = "AWS/States/ExecutionsFailed", dimension = "StateMachineArn", of = var.state_machine_arn, period = 60, periods = 1
      description = "An incident did not end as it should. Its execution says how: PagedAnotherWay (the first pager is broken, another one took it), PageFailed (Slack was told), NobodyWasTold (look at the instance now) or NotClosed (${local.lease})."
    }
    incident-timed-out = {
      metric      = "AWS/States/ExecutionsTimedOut", dimension = "StateMachineArn", of = var.state_machine_arn, period = 60, periods = 1
      description = "An incident took longer than ${var.execution_timeout_seconds} s and was cut off: look at the execution and at the instance."
    }
    incident-aborted = {
      metric      = "AWS/States/ExecutionsAborted", dimension = "StateMachineArn", of = var.state_machine_arn, period = 60, periods = 1
      description = "Somebody stopped an incident: look at the execution and at the instance (${local.lease})."
    }
    incident-throttled = {
      metric      = "AWS/States/ExecutionThrottled", dimension = "StateMachineArn", of = var.state_machine_arn, period = 300, periods = 1
      description = "Step Functions slows incidents down, which delays reboots and pages: look what else uses the account's state transitions, or have that quota raised."
    }

    all-clear-failed = {
      metric      = "AWS/States/ExecutionsFailed", dimension = "StateMachineArn", of = var.all_clear_state_machine_arn, period = 60, periods = 1
      description = "An alert that is open may stay so although its instance is well: close it by hand then. The execution says why: AlertUnknown (the table did not answer) or AllClearNotGiven (the pager did not close it)."
    }
    all-clear-timed-out = {
      metric      = "AWS/States/ExecutionsTimedOut", dimension = "StateMachineArn", of = var.all_clear_state_machine_arn, period = 60, periods = 1
      description = "The watch after a page was cut off, which its own end should have come before: look at the execution, and close the alert by hand once the instance is well."
    }
    all-clear-throttled = {
      metric      = "AWS/States/ExecutionThrottled", dimension = "StateMachineArn", of = var.all_clear_state_machine_arn, period = 300, periods = 1
      description = "Step Functions slows the watches after pages down, and incidents with them: look what else uses the account's state transitions, or have that quota raised."
    }

    # Single errors are what the state machine's retries are for.
    function-errors = {
      metric      = "AWS/Lambda/Errors", dimension = "FunctionName", of = var.function_name, period = 300, periods = 3
      description = "Steps have been failing for a quarter of an hour: the log of the function says which and why."
    }
    function-throttles = {
      metric      = "AWS/Lambda/Throttles", dimension = "FunctionName", of = var.function_name, period = 300, periods = 1
      description = "Lambda has no room for the function, which delays checks and pages: look what else runs in this account and region, or have the quota \"concurrent executions\" raised."
    }

    # The metrics of a queue that nobody has used for hours may come a quarter of
    # an hour late
    # (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/monitoring-using-cloudwatch.html),
    # too late for a count of what was sent: so the first dead letter is seen by its
    # lying there. From then on that alarm is on and tells of no second one, but the
    # queue is in use, and the count does.
    dead-letters = {
      metric      = "AWS/SQS/ApproximateNumberOfMessagesVisible", dimension = "QueueName", of = var.queue_name, period = 60, periods = 1
      description = "An alarm could not start an incident, or its return to OK an all-clear: its event is in the queue ${var.queue_name}. Look at the instance that it names, then run `firstline redrive`."
    }
    dead-letter-sent = {
      metric      = "AWS/SQS/NumberOfMessagesSent", dimension = "QueueName", of = var.queue_name, period = 60, periods = 1
      description = "One more alarm could not start an incident, or its return to OK an all-clear: its event is in the queue ${var.queue_name}. Look at the instance that it names, then run `firstline redrive`."
    }
    }, {
    for kind, name in var.rules : "rule-${kind}-failed" => {
      metric      = "AWS/Events/FailedInvocations", dimension = "RuleName", of = name, period = 300, periods = 1
      description = "EventBridge has given up on an event of the rule ${name}: AWS did not take it in time, or its role, its target or the function's permission is no longer as Terraform made it (`firstline drift` tells)."
    }
  })
}

resource "aws_cloudwatch_metric_alarm" "self" {
  for_each = local.alarms

  alarm_name          = "${var.name}-self-${each.key}"
  alarm_description   = each.value.description
  namespace           = join("/", slice(split("/", each.value.metric), 0, 2))
  metric_name         = split("/", each.value.metric)[2]
  dimensions          = { (each.value.dimension) = each.value.of }
  statistic           = "Sum"
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
}

# The dead man's switch: whatever it is that keeps the sweep from its end (the
# schedule, the permission, the function, its table), its metric stops coming. So
# no data is bad news here. Three periods, since a sweep may slip into the next
# one and metrics come late; never less than five minutes each.
#
# CloudWatch looks at the past of a new alarm too, in which there was no sweep:
# after the first deployment of a region this one may ring until the first sweep,
# a period at most. (With missing data as "not known" it would stay silent then,
# but also for ever where the sweep has never worked.)
resource "aws_cloudwatch_metric_alarm" "sweep" {
  alarm_name          = "${var.name}-self-sweep-missing"
  alarm_description   = "Nobody looks after alarms that stay in ALARM: the rule ${var.rules.sweep} has not had the function sweep for ${3 * local.sweep_period / 60} minutes. Look at the rule, then at the function's log. (In the first ${var.sweep.every_minutes} min after the first deployment this is no fault.)"
  namespace           = local.namespace
  metric_name         = "Sweeps"
  dimensions          = { Deployment = var.name }
  statistic           = "Sum"
  period              = local.sweep_period
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
}

locals {
  namespace    = "firstline" # the function's own metrics (handler/metrics.go)
  sweep_period = 60 * max(5, var.sweep.every_minutes)

  alarm_names = sort(concat([for key in keys(local.alarms) : "${var.name}-self-${key}"], ["${var.name}-self-sweep-missing"]))

  # As the function names them: checks.Name..., incident.Guard...
  checks = ["url", "route53", "ssh"]
  guards = ["pause", "freshness", "state", "baseline", "cool-down", "budget", "brake", "lease"]

  graphs = [
    { title = "Incidents", stat = "Sum", metrics = [
      [local.namespace, "Incidents", "Deployment", var.name],
      [local.namespace, "AlreadyHandled", "Deployment", var.name],
    ] },
    { title = "Reboots", stat = "Sum", metrics = [
      [local.namespace, "Reboots", "Deployment", var.name],
    ] },
    { title = "Reboots that a guard refused", stat = "Sum", metrics = [
      for guard in local.guards : [local.namespace, "Refusals", "Deployment", var.name, "Guard", guard]
    ] },
    { title = "Who was told", stat = "Sum", metrics = [
      [local.namespace, "Pages", "Deployment", var.name],
      [local.namespace, "Repeats", "Deployment", var.name],
      [local.namespace, "PagerFallbacks", "Deployment", var.name],
      [local.namespace, "AllClears", "Deployment", var.name],
      [local.namespace, "SlackMessages", "Deployment", var.name],
    ] },
    { title = "How long checks take (ms, 99 of 100)", stat = "p99", metrics = [
      for check in local.checks : [local.namespace, "CheckLatency", "Deployment", var.name, "Check", check]
    ] },
    { title = "Alarms that stay, and the sweeps that look for them", stat = "Maximum", metrics = [
      [local.namespace, "StandingAlarms", "Deployment", var.name],
      [local.namespace, "Sweeps", "Deployment", var.name],
    ] },
  ]
}

# Dashboards belong to the account, not to a region, and so the name says which.
resource "aws_cloudwatch_dashboard" "region" {
  dashboard_name = "${var.name}-${local.region}"

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type = "alarm", x = 0, y = 0, width = 24, height = 3
        properties = {
          title  = "${var.name} in ${local.region}: alarms on the first line itself"
          alarms = [for name in local.alarm_names : "arn:${data.aws_partition.current.partition}:cloudwatch:${local.region}:${data.aws_caller_identity.current.account_id}:alarm:${name}"]
        }
      }],
      [for n, graph in local.graphs : {
        type       = "metric", x = 8 * (n % 3), y = 3 + 6 * floor(n / 3), width = 8, height = 6
        properties = merge(graph, { region = local.region, view = "timeSeries", period = 300 })
      }],
    )
  })
}
