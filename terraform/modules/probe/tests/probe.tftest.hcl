mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  name                 = "firstline"
  region               = "eu-central-1"
  code                 = { bucket = "firstline-code-123456789012-eu-central-1", key = "responder/1.zip", hash = "MQ==" }
  architecture         = "arm64"
  log_retention_days   = 90
  reserved_concurrency = 5
  roles                = { path = "/team/", permissions_boundary = "arn:aws:iam::123456789012:policy/boundary" }
}

run "shape" {
  command = plan
  assert {
    condition = alltrue([
      aws_lambda_function.probe.function_name == "firstline-probe",
      aws_lambda_function.probe.s3_bucket == "firstline-code-123456789012-eu-central-1",
      aws_lambda_function.probe.s3_key == "responder/1.zip",
      aws_lambda_function.probe.source_code_hash == "MQ==",
      aws_lambda_function.probe.architectures == tolist(["arm64"]),
      aws_lambda_function.probe.timeout == 15,
      aws_lambda_function.probe.reserved_concurrent_executions == 5,
      length(aws_lambda_function.probe.vpc_config) == 0,
      aws_lambda_function.probe.environment[0].variables == tomap({ FIRSTLINE_ONLY_STEP = "probe" }),
    ])
    error_message = "the function, which knows nothing of the deployment"
  }
  assert {
    condition     = aws_cloudwatch_log_group.probe.name == "/aws/lambda/firstline-probe" && aws_cloudwatch_log_group.probe.retention_in_days == 90 && aws_lambda_function.probe.logging_config[0].log_group == "/aws/lambda/firstline-probe"
    error_message = "its log"
  }
  assert {
    condition     = aws_iam_role.probe.name == "firstline-probe-eu-central-1" && aws_iam_role.probe.path == "/team/" && aws_iam_role.probe.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"
    error_message = "its role"
  }
  assert {
    condition     = [for s in data.aws_iam_policy_document.probe.statement : { actions = sort(s.actions), resources = sort(s.resources) }] == [{ actions = tolist(["logs:CreateLogStream", "logs:PutLogEvents"]), resources = tolist(["arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/firstline-probe:*"]) }]
    error_message = "it may write its log and nothing else: ${jsonencode(data.aws_iam_policy_document.probe.statement)}"
  }
}

run "an_account_that_can_spare_none" {
  command = plan
  variables {
    reserved_concurrency = 0
  }
  assert {
    condition     = aws_lambda_function.probe.reserved_concurrent_executions == -1
    error_message = "0 would keep it from running"
  }
}
