data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  function_name = "${var.name}-probe"
  log_group     = "/aws/lambda/${local.function_name}"
}

# The log group comes before the function, which would else make its own,
# without retention.
resource "aws_cloudwatch_log_group" "probe" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "probe" {
  name                 = "${local.function_name}-${var.region}"
  description          = "The log of the probe of ${var.name} in ${var.region}."
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  path                 = var.roles.path
  permissions_boundary = var.roles.permissions_boundary
}

data "aws_iam_policy_document" "probe" {
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${data.aws_partition.current.partition}:logs:${var.region}:${data.aws_caller_identity.current.account_id}:log-group:${local.log_group}:*"]
  }
}

resource "aws_iam_role_policy" "probe" {
  name   = "probe"
  role   = aws_iam_role.probe.id
  policy = data.aws_iam_policy_document.probe.json
}

# The same zip as the responder's. It is in no VPC, gets neither settings nor secrets,
# and takes one step alone. Other regions call it without a version: what it answers
# is the same for all of them.
resource "aws_lambda_function" "probe" {
  function_name    = local.function_name
  description      = "Says whether an address answers here: ${var.name}."
  role             = aws_iam_role.probe.arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  s3_bucket        = var.code.bucket
  s3_key           = var.code.key
  source_code_hash = var.code.hash
  memory_size      = 128
  timeout          = 15 # one attempt of 4 s, and the proof of its own connectivity
  # -1 reserves none; 0 would keep it from ever running.
  reserved_concurrent_executions = var.reserved_concurrency == 0 ? -1 : var.reserved_concurrency

  environment {
    variables = { FIRSTLINE_ONLY_STEP = "probe" }
  }

  logging_config {
    log_format            = "JSON"
    log_group             = aws_cloudwatch_log_group.probe.name
    application_log_level = "INFO"
    system_log_level      = "INFO"
  }

  depends_on = [aws_iam_role_policy.probe]
}
