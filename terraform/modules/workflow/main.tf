data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  # A backstop: every wait and every Task has a bound of its own and an execution
  # ends after 200 looks, so only a fault of ours gets here. A time-out cannot be
  # caught: the execution itself tells nobody, its alarm fires
  # (modules/monitor), and reconcile starts the next look. So it leaves room for the
  # slowest incident that makes sense, about 5.9 h: a boot that is waited for (1 h),
  # confirming and blind looks (0.5 h), a reboot with the longest boot window and
  # interval (2 h), and paging another way, Slack and Close with all their retries
  # (0.8 h each).
  execution_timeout_seconds = 6 * 3600

  asl = jsondecode(templatefile("${path.module}/responder.asl.json", { function_arn = var.function_arn }))

  # The retry policy of every Task that has none of its own.
  retry = jsondecode(file("${path.module}/retry.json"))

  # The file's only placeholder stands inside strings, so that validators accept it
  # unrendered; what is a number or depends on the partition is merged in here.
  definition = jsonencode(merge(local.asl, {
    TimeoutSeconds = local.execution_timeout_seconds
    States = {
      for name, state in local.asl.States : name => merge(
        state,
        { for k, v in { Resource = "arn:${data.aws_partition.current.partition}:states:::lambda:invoke" } : k => v if state.Type == "Task" },
        { for k, v in { Retry = local.retry } : k => v if state.Type == "Task" && !can(state.Retry) },
      )
    }
  }))
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

resource "aws_iam_role" "workflow" {
  name                 = "${var.name}-workflow-${var.region}"
  description          = "The state machine ${var.name} in ${var.region}."
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  path                 = var.roles.path
  permissions_boundary = var.roles.permissions_boundary
}

data "aws_iam_policy_document" "workflow" {
  # Every published version, not the newest only: a running incident calls the
  # version that it began with, also after a deployment.
  statement {
    sid       = "CallFunction"
    actions   = ["lambda:InvokeFunction"]
    resources = ["${var.function_unqualified_arn}:*"]
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

  # AWS deletes a state machine when its executions have ended, and ends one at its
  # next transition
  # (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachine.html).
  # The longest state is a Wait of an hour; a Task with all its retries takes 0.8 h.
  timeouts {
    delete = "90m"
  }

  depends_on = [aws_iam_role_policy.workflow]
}
