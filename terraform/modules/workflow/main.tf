data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  all_clear_name = "${var.name}-all-clear"
  # By name, since the role comes before the machine.
  all_clear_arn = "arn:${data.aws_partition.current.partition}:states:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:stateMachine:${local.all_clear_name}"

  # The files' placeholders stand in quotes and so make strings; States Language
  # wants a number here.
  definition = jsonencode(merge(
    jsondecode(templatefile("${path.module}/responder.asl.json", {
      partition     = data.aws_partition.current.partition
      function_arn  = var.function_arn
      all_clear_arn = local.all_clear_arn
    })),
    { TimeoutSeconds = var.execution_timeout_seconds },
  ))

  # The function ends a watch at the first look after its time, which is a quarter
  # of an hour at least once an alarm is OK again (handler/allclear.go); until then
  # there is one more wait, and both looks with all their retries
  # (test/contract_test.go).
  all_clear_definition = jsonencode(merge(
    jsondecode(templatefile("${path.module}/all-clear.asl.json", {
      partition    = data.aws_partition.current.partition
      function_arn = var.function_arn
    })),
    { TimeoutSeconds = 60 * (max(15, var.all_clear.for_minutes) + var.all_clear.every_minutes) + 7200 },
  ))
}

# /aws/vendedlogs/ keeps the log delivery's resource policy short: AWS names
# the prefix once, not every group.
resource "aws_cloudwatch_log_group" "executions" {
  name              = "/aws/vendedlogs/states/${var.name}"
  retention_in_days = var.log_retention_days
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

# One role for both machines: all but one of their rights are the same.
resource "aws_iam_role" "workflow" {
  name               = "${var.name}-workflow-${data.aws_region.current.id}"
  description        = "The state machines ${var.name} and ${local.all_clear_name} in ${data.aws_region.current.id}."
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "workflow" {
  # Every published version, not the newest only: an incident under way calls
  # the version it began with, also after a deployment.
  statement {
    sid       = "CallFunction"
    actions   = ["lambda:InvokeFunction"]
    resources = ["${var.function_unqualified_arn}:*"]
  }

  # After a page. Nothing waits for its end, so that this is all it takes.
  statement {
    sid       = "WatchForRecovery"
    actions   = ["states:StartExecution"]
    resources = [local.all_clear_arn]
  }

  # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
  statement {
    sid = "DeliverLogs"
    actions = [
      "logs:CreateLogDelivery",
      "logs:DeleteLogDelivery",
      "logs:DescribeLogGroups",
      "logs:DescribeResourcePolicies",
      "logs:GetLogDelivery",
      "logs:ListLogDeliveries",
      "logs:PutResourcePolicy",
      "logs:UpdateLogDelivery",
    ]
    resources = ["*"] # log delivery has no resource level
  }

  # https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html
  statement {
    sid = "Trace"
    actions = [
      "xray:GetSamplingRules",
      "xray:GetSamplingTargets",
      "xray:PutTelemetryRecords",
      "xray:PutTraceSegments",
    ]
    resources = ["*"] # X-Ray has no resource level here
  }
}

resource "aws_iam_role_policy" "workflow" {
  name   = "workflow"
  role   = aws_iam_role.workflow.id
  policy = data.aws_iam_policy_document.workflow.json
}

resource "aws_sfn_state_machine" "responder" {
  name       = var.name
  type       = "STANDARD"
  role_arn   = aws_iam_role.workflow.arn
  definition = local.definition

  # With execution data: an incident holds no secret, and without it a log says
  # little.
  logging_configuration {
    level                  = "ALL"
    include_execution_data = true
    log_destination        = "${aws_cloudwatch_log_group.executions.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  # It starts the other one.
  depends_on = [aws_iam_role_policy.workflow, aws_sfn_state_machine.all_clear]
}

resource "aws_sfn_state_machine" "all_clear" {
  name       = local.all_clear_name
  type       = "STANDARD"
  role_arn   = aws_iam_role.workflow.arn
  definition = local.all_clear_definition

  logging_configuration {
    level                  = "ALL"
    include_execution_data = true
    log_destination        = "${aws_cloudwatch_log_group.executions.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  depends_on = [aws_iam_role_policy.workflow]
}
