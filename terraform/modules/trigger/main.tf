data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id

  queue_name = "${var.name}-dead-letter"
  queue_arn  = "arn:${local.partition}:sqs:${var.region}:${local.account}:${local.queue_name}"

  # What both rules match; they differ in the source, so no event matches both.
  pattern = {
    "detail-type" = ["CloudWatch Alarm State Change"]
    resources     = [{ prefix = "arn:${local.partition}:cloudwatch:${var.region}:${local.account}:alarm:${var.alarm_prefix}" }]
    detail        = { state = { value = ["ALARM"] } }
  }
}

resource "aws_cloudwatch_event_rule" "alarm" {
  name        = "${var.name}-alarm"
  description = "An alarm ${var.alarm_prefix}... is in ALARM: start an incident."

  event_pattern = jsonencode(merge(local.pattern, { source = ["aws.cloudwatch"] }))
  state         = "ENABLED" # unset, Terraform would leave alone what somebody has disabled
}

# Dry incidents: EventBridge takes no event of an aws. source from an account, and
# the function makes an incident dry for this source alone. A bus may admit events
# of other accounts; those do not match.
resource "aws_cloudwatch_event_rule" "canary" {
  name        = "${var.name}-canary"
  description = "A simulated alarm ${var.alarm_prefix}...: start a dry incident, which reboots nothing and tells nobody."

  event_pattern = jsonencode(merge(local.pattern, { source = ["firstline.canary"], account = [local.account] }))
  state         = "ENABLED"
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.alarm.arn, aws_cloudwatch_event_rule.canary.arn]
    }
  }
}

resource "aws_iam_role" "trigger" {
  name                 = "${var.name}-trigger-${var.region}"
  description          = "The rules ${var.name}-alarm and ${var.name}-canary in ${var.region}."
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  path                 = var.roles.path
  permissions_boundary = var.roles.permissions_boundary
}

data "aws_iam_policy_document" "trigger" {
  statement {
    sid       = "StartIncident"
    actions   = ["states:StartExecution"]
    resources = [var.state_machine_arn]
  }
}

resource "aws_iam_role_policy" "trigger" {
  name   = "trigger"
  role   = aws_iam_role.trigger.id
  policy = data.aws_iam_policy_document.trigger.json
}

# While Step Functions throttles or is down, EventBridge tries for an hour; then the
# event goes to the queue. Where a right, the role or the state machine is missing it
# goes there at once, without a retry
# (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html). The
# queue's alarm tells somebody. Reconcile starts the look meanwhile, while the alarm
# stays in ALARM.
resource "aws_cloudwatch_event_target" "incident" {
  rule     = aws_cloudwatch_event_rule.alarm.name
  arn      = var.state_machine_arn
  role_arn = aws_iam_role.trigger.arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letter.arn
  }

  depends_on = [aws_iam_role_policy.trigger]
}

# Whoever sends a dry incident waits for minutes at most and sees that nothing
# starts. No dead-letter queue: what is in there is a real alarm, and is redriven.
resource "aws_cloudwatch_event_target" "canary" {
  rule     = aws_cloudwatch_event_rule.canary.name
  arn      = var.state_machine_arn
  role_arn = aws_iam_role.trigger.arn

  retry_policy {
    maximum_event_age_in_seconds = 300
    maximum_retry_attempts       = 185
  }

  depends_on = [aws_iam_role_policy.trigger]
}

# SSE-SQS: the managed key alias/aws/sqs would lock EventBridge out.
resource "aws_sqs_queue" "dead_letter" {
  name                      = local.queue_name
  message_retention_seconds = 1209600 # 14 days, the most that SQS keeps
  sqs_managed_sse_enabled   = true
  policy                    = data.aws_iam_policy_document.dead_letter.json
}

data "aws_iam_policy_document" "dead_letter" {
  statement {
    sid       = "FromRules"
    actions   = ["sqs:SendMessage"]
    resources = [local.queue_arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.alarm.arn]
    }
  }

  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [local.queue_arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

# An alarm sends an event only when its state changes, and an event can get lost.
# Reconcile starts a look wherever one is due.
resource "aws_cloudwatch_event_rule" "reconcile" {
  name                = "${var.name}-reconcile"
  description         = "Reconcile: start a look wherever one is due."
  schedule_expression = var.reconcile.every_minutes == 1 ? "rate(1 minute)" : "rate(${var.reconcile.every_minutes} minutes)"
  state               = "ENABLED"
}

# The newest code: no running incident depends on it. While Lambda throttles or is
# down, EventBridge tries until the next reconcile at most; without the permission it
# tries once. The event goes to no queue: a late reconcile finds what the next one
# finds. If none succeeds, the alarm NAME-self-reconcile-missing tells
# (modules/monitor).
resource "aws_cloudwatch_event_target" "reconcile" {
  rule  = aws_cloudwatch_event_rule.reconcile.name
  arn   = var.function_arn
  input = jsonencode({ step = "reconcile" })

  retry_policy {
    maximum_event_age_in_seconds = 60 * var.reconcile.every_minutes
    maximum_retry_attempts       = 185
  }

  depends_on = [aws_lambda_permission.reconcile, aws_lambda_function_event_invoke_config.reconcile]
}

resource "aws_lambda_permission" "reconcile" {
  statement_id  = "${var.name}-reconcile"
  action        = "lambda:InvokeFunction"
  function_name = var.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.reconcile.arn
}

# EventBridge invokes asynchronously: Lambda's own queue would retry twice and for six
# hours. (The state machine invokes synchronously and does not use that queue.)
resource "aws_lambda_function_event_invoke_config" "reconcile" {
  function_name                = var.function_name
  maximum_event_age_in_seconds = 60 * var.reconcile.every_minutes
  maximum_retry_attempts       = 0
}
