data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id
  account   = data.aws_caller_identity.current.account_id

  queue_name = "${var.name}-dead-letter"
  queue_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.queue_name}"

  # What both rules match; they differ in the source, and so no event matches
  # both.
  pattern = {
    "detail-type" = ["CloudWatch Alarm State Change"]
    resources     = [{ prefix = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.alarm_prefix}" }]
    detail        = { state = { value = ["ALARM"] } }
  }
  rule_arns = [aws_cloudwatch_event_rule.alarm.arn, aws_cloudwatch_event_rule.canary.arn]
}

resource "aws_cloudwatch_event_rule" "alarm" {
  name        = "${var.name}-alarm"
  description = "An alarm ${var.alarm_prefix}... rings: start an incident."

  event_pattern = jsonencode(merge(local.pattern, { source = ["aws.cloudwatch"] }))
}

# Rehearsals: EventBridge takes no event of an aws. source from an account, and
# the function makes an incident dry for this source alone. Events of other
# accounts, which a bus may admit, are none of ours.
resource "aws_cloudwatch_event_rule" "canary" {
  name        = "${var.name}-canary"
  description = "A rehearsed alarm ${var.alarm_prefix}...: start a dry incident, which reboots nothing and tells nobody."

  event_pattern = jsonencode(merge(local.pattern, { source = ["firstline.canary"], account = [local.account] }))
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
  description        = "The rules ${var.name}-alarm and ${var.name}-canary in ${local.region}."
  assume_role_policy = data.aws_iam_policy_document.assume.json
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

# Whoever rehearses waits for minutes at most, and sees that nothing starts. No
# dead-letter queue: as long as a message lies there its alarm is on, and an
# alarm that is on tells nobody of the event of a real one.
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
    sid       = "FromRule"
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

resource "aws_cloudwatch_metric_alarm" "dead_letter" {
  alarm_name          = "${var.name}-self-dead-letter"
  alarm_description   = "An alarm could not start an incident: its event is in the queue ${var.name}-dead-letter."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letter.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
}
