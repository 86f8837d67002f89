data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id
  account   = data.aws_caller_identity.current.account_id

  queue_name = "${var.name}-dead-letter"
  queue_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.queue_name}"

  # What all rules match; they differ in the source or the state, and so no event
  # matches two.
  pattern = {
    "detail-type" = ["CloudWatch Alarm State Change"]
    resources     = [{ prefix = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.alarm_prefix}" }]
  }
  rings     = { detail = { state = { value = ["ALARM"] } } }
  rule_arns = [aws_cloudwatch_event_rule.alarm.arn, aws_cloudwatch_event_rule.ok.arn, aws_cloudwatch_event_rule.canary.arn]
}

resource "aws_cloudwatch_event_rule" "alarm" {
  name        = "${var.name}-alarm"
  description = "An alarm ${var.alarm_prefix}... rings: start an incident."

  event_pattern = jsonencode(merge(local.pattern, local.rings, { source = ["aws.cloudwatch"] }))
}

# The second way to notice a recovery, beside the watch after a page. Whatever the
# state was before: an alarm without data in between has recovered too. Without an
# open alert the execution ends after one look at the table.
resource "aws_cloudwatch_event_rule" "ok" {
  name        = "${var.name}-ok"
  description = "An alarm ${var.alarm_prefix}... is OK again: look whether an alert can be closed."

  event_pattern = jsonencode(merge(local.pattern, { source = ["aws.cloudwatch"], detail = { state = { value = ["OK"] } } }))
}

# Rehearsals: EventBridge takes no event of an aws. source from an account, and
# the function makes an incident dry for this source alone. Events of other
# accounts, which a bus may admit, are none of ours.
resource "aws_cloudwatch_event_rule" "canary" {
  name        = "${var.name}-canary"
  description = "A rehearsed alarm ${var.alarm_prefix}...: start a dry incident, which reboots nothing and tells nobody."

  event_pattern = jsonencode(merge(local.pattern, local.rings, { source = ["firstline.canary"], account = [local.account] }))
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
      values   = local.rule_arns
    }
  }
}

resource "aws_iam_role" "trigger" {
  name               = "${var.name}-trigger-${local.region}"
  description        = "The rules ${var.name}-alarm, ${var.name}-ok and ${var.name}-canary in ${local.region}."
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "trigger" {
  statement {
    sid       = "StartIncident"
    actions   = ["states:StartExecution"]
    resources = [var.state_machine_arn]
  }

  statement {
    sid       = "StartAllClear"
    actions   = ["states:StartExecution"]
    resources = [var.all_clear_state_machine_arn]
  }
}

resource "aws_iam_role_policy" "trigger" {
  name   = "trigger"
  role   = aws_iam_role.trigger.id
  policy = data.aws_iam_policy_document.trigger.json
}

# An alarm that could not start an incident within the hour is history, and a
# reboot then would come as a surprise: it goes to the queue, and the queue's
# alarm tells.
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

# Late is better than never here: nothing is closed unless all checks pass twice.
resource "aws_cloudwatch_event_target" "all_clear" {
  rule     = aws_cloudwatch_event_rule.ok.name
  arn      = var.all_clear_state_machine_arn
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

# Whoever rehearses waits for minutes at most, and sees that nothing starts. No
# dead-letter queue: what lies there is a real alarm, and is replayed.
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
      values   = [aws_cloudwatch_event_rule.alarm.arn, aws_cloudwatch_event_rule.ok.arn]
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

# An alarm sends an event when it changes its state only: what stays in ALARM is
# looked at again by a sweep.
resource "aws_cloudwatch_event_rule" "sweep" {
  name                = "${var.name}-sweep"
  description         = "Look for alarms ${var.alarm_prefix}... that are on without an incident."
  schedule_expression = var.sweep.every_minutes == 1 ? "rate(1 minute)" : "rate(${var.sweep.every_minutes} minutes)"
}

# The newest code: nothing is under way that it could change. What fails here is
# not tried for longer than until the next sweep, and goes to no queue: a late
# sweep finds what the next one finds. That none comes to its end is told by the
# dead man's switch (modules/monitor).
resource "aws_cloudwatch_event_target" "sweep" {
  rule  = aws_cloudwatch_event_rule.sweep.name
  arn   = var.function_arn
  input = jsonencode({ step = "sweep" })

  retry_policy {
    maximum_event_age_in_seconds = 60 * var.sweep.every_minutes
    maximum_retry_attempts       = 185
  }

  depends_on = [aws_lambda_permission.sweep, aws_lambda_function_event_invoke_config.sweep]
}

resource "aws_lambda_permission" "sweep" {
  statement_id  = "${var.name}-sweep"
  action        = "lambda:InvokeFunction"
  function_name = var.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.sweep.arn
}

# EventBridge hands a sweep to Lambda's own queue, which would try it three times
# and for six hours. (The state machine does not use that queue: it waits.)
resource "aws_lambda_function_event_invoke_config" "sweep" {
  function_name                = var.function_name
  maximum_event_age_in_seconds = 60 * var.sweep.every_minutes
  maximum_retry_attempts       = 0
}
