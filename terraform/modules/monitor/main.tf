# Watches the deployment itself: alarms on whatever could end without anybody having
# been told, and a dashboard.

data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  # Each fires when its metric is above 0 in every one of so many periods in a
  # row. Without data nothing has happened.
  alarms = merge({
    incident-failed = {
      metric      = "AWS/States/ExecutionsFailed", dimension = "StateMachineArn", of = var.state_machine_arn, period = 60, periods = 1
      description = "Nobody was told of an incident, or only another way. The execution names its end: NobodyWasTold (no pager and no Slack channel took the message: look at the instance now) or ToldAnotherWay (a pager refused a request, and another pager or Slack took the message: look at the instance, then repair the pager's key or endpoint). The input of the last state has the errors."
    }
    incident-timed-out = {
      metric      = "AWS/States/ExecutionsTimedOut", dimension = "StateMachineArn", of = var.state_machine_arn, period = 60, periods = 1
      description = "An incident took longer than its state machine allows, which only a fault of firstline explains: look at the instance and at the execution. Reconcile starts the next look within ${var.reconcile.every_minutes} min."
    }
    incident-aborted = {
      metric      = "AWS/States/ExecutionsAborted", dimension = "StateMachineArn", of = var.state_machine_arn, period = 60, periods = 1
      description = "Somebody stopped an incident: look at the instance and at the execution. Reconcile starts the next look within ${var.reconcile.every_minutes} min while the alarm of the instance is in ALARM or its last look was not healthy."
    }
    incident-throttled = {
      metric      = "AWS/States/ExecutionThrottled", dimension = "StateMachineArn", of = var.state_machine_arn, period = 300, periods = 1
      description = "Step Functions throttles incidents, which delays reboots and pages: find out what else uses the account's state transitions, or have that quota raised."
    }

    # Single errors are what the state machine's retries are for.
    function-errors = {
      metric      = "AWS/Lambda/Errors", dimension = "FunctionName", of = var.function_name, period = 300, periods = 3
      description = "Steps have been failing for a quarter of an hour: the log of the function says which and why."
    }
    function-throttles = {
      metric      = "AWS/Lambda/Throttles", dimension = "FunctionName", of = var.function_name, period = 300, periods = 1
      description = "Lambda throttles the function, which delays checks and pages: find out what else runs in this account and region, or have the quota \"concurrent executions\" raised."
    }

    # The metrics of a queue that nobody has used for hours may come a quarter of
    # an hour late
    # (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/monitoring-using-cloudwatch.html),
    # too late for a count of what was sent: so the first dead letter is seen by its
    # lying there. From then on that alarm is on and tells of no second one, but the
    # queue is in use, and the count does.
    dead-letters = {
      metric      = "AWS/SQS/ApproximateNumberOfMessagesVisible", dimension = "QueueName", of = var.queue_name, period = 60, periods = 1
      description = "An alarm could not start an incident: its event is in the queue ${var.queue_name}. Look at the instance that it names, then run `firstline redrive`."
    }
    dead-letter-sent = {
      metric      = "AWS/SQS/NumberOfMessagesSent", dimension = "QueueName", of = var.queue_name, period = 60, periods = 1
      description = "One more alarm could not start an incident: its event is in the queue ${var.queue_name}. Look at the instance that it names, then run `firstline redrive`."
    }
    dead-letter-lost = {
      metric      = "AWS/Events/InvocationsFailedToBeSentToDlq", dimension = "RuleName", of = var.rules.alarm, period = 60, periods = 1
      description = "An alarm could not start an incident, and its event could not be put into the queue ${var.queue_name} either: it is lost. Look at the alarms of your instances that are in ALARM (reconcile starts their incidents within ${var.reconcile.every_minutes} min), then repair the queue and its policy (run `firstline drift`)."
    }
    }, {
    for kind, name in var.rules : "rule-${kind}-failed" => {
      metric      = "AWS/Events/FailedInvocations", dimension = "RuleName", of = name, period = 300, periods = 1
      description = "EventBridge has given up on an event of the rule ${name}: AWS did not take it in time, or its role, its target or the function's permission is no longer as Terraform made it (run `firstline drift`)."
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
  actions_enabled     = true
}

# The dead man's switch: whatever keeps reconcile from its end (the schedule, the
# permission, the function, the table), its metric stops coming, so missing data is
# bad news here. Three periods, since a run may slip into the next one and metrics
# come late; never less than five minutes each.
#
# CloudWatch evaluates the past of a new alarm too, in which reconcile never ran:
# after the first deployment of a region this alarm may fire until the first run, a
# period at most. (If missing data were "missing", the alarm would stay silent then,
# but also for ever where reconcile has never worked.)
resource "aws_cloudwatch_metric_alarm" "reconcile" {
  alarm_name          = "${var.name}-self-reconcile-missing"
  alarm_description   = "Reconcile has not succeeded for ${3 * local.reconcile_period / 60} minutes, so a lost event or a dead execution goes unnoticed. Look at the rule ${var.rules.reconcile}, then at the log of the function. (In the first ${var.reconcile.every_minutes} min after the first deployment this is no fault.)"
  namespace           = local.namespace
  metric_name         = "Reconciles"
  dimensions          = { Deployment = var.name }
  statistic           = "Sum"
  period              = local.reconcile_period
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  actions_enabled     = true
}

locals {
  namespace        = "firstline" # the function's own metrics (handler/metrics.go)
  reconcile_period = 60 * max(5, var.reconcile.every_minutes)

  alarm_names = sort(concat([for key in keys(local.alarms) : "${var.name}-self-${key}"], ["${var.name}-self-reconcile-missing"]))

  # incident.Check... and policy.Guard...
  checks = ["url", "route53", "ssh"]
  guards = ["ec2", "status", "initializing", "credits", "alarm", "once", "tries", "cooldown", "not_cured", "budget", "never", "route53", "vantage", "answered", "dry_run"]

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
      [local.namespace, "Notes", "Deployment", var.name],
      [local.namespace, "PagerFallbacks", "Deployment", var.name],
      [local.namespace, "Resolves", "Deployment", var.name],
      [local.namespace, "SlackMessages", "Deployment", var.name],
    ] },
    { title = "How long checks take (ms, 99 of 100)", stat = "p99", metrics = [
      for check in local.checks : [local.namespace, "CheckLatency", "Deployment", var.name, "Check", check]
    ] },
    { title = "Alarms in ALARM, reconciles, and pings that failed", stat = "Maximum", metrics = [
      [local.namespace, "AlarmsInAlarm", "Deployment", var.name],
      [local.namespace, "Reconciles", "Deployment", var.name],
      [local.namespace, "HeartbeatFailures", "Deployment", var.name],
    ] },
  ]
}

# Dashboards belong to the account, not to a region, and so the name says which.
resource "aws_cloudwatch_dashboard" "region" {
  dashboard_name = "${var.name}-${var.region}"

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type = "alarm", x = 0, y = 0, width = 24, height = 3
        properties = {
          title  = "${var.name} in ${var.region}: alarms on the deployment itself"
          alarms = [for name in local.alarm_names : "arn:${data.aws_partition.current.partition}:cloudwatch:${var.region}:${data.aws_caller_identity.current.account_id}:alarm:${name}"]
        }
      }],
      [for n, graph in local.graphs : {
        type       = "metric", x = 8 * (n % 3), y = 3 + 6 * floor(n / 3), width = 8, height = 6
        properties = merge(graph, { region = var.region, view = "timeSeries", period = 300 })
      }],
    )
  })
}
