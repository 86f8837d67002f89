mock_provider "aws" {
  source = "../../tests/aws"

  mock_resource "aws_cloudwatch_log_group" {
    defaults = {
      arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/vendedlogs/states/firstline"
    }
  }
}

variables {
  name                      = "firstline"
  function_arn              = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:7"
  function_unqualified_arn  = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"
  execution_timeout_seconds = 7200
  log_retention_days        = 90
}

run "definition" {
  command = plan
  assert {
    condition     = jsondecode(aws_sfn_state_machine.responder.definition).TimeoutSeconds == 7200
    error_message = "the time-out of the whole is a number"
  }
  assert {
    condition = alltrue([
      for name, state in jsondecode(aws_sfn_state_machine.responder.definition).States :
      state.Resource == "arn:aws:states:::lambda:invoke" && state.Parameters.FunctionName == var.function_arn if state.Type == "Task"
    ])
    error_message = "every task calls the published version"
  }
  assert {
    condition     = !strcontains(aws_sfn_state_machine.responder.definition, "$${")
    error_message = "a placeholder is left"
  }
}

run "logs_and_tracing" {
  command = plan
  assert {
    condition     = aws_sfn_state_machine.responder.logging_configuration[0].level == "ALL" && aws_sfn_state_machine.responder.logging_configuration[0].include_execution_data && aws_sfn_state_machine.responder.tracing_configuration[0].enabled
    error_message = "logs and tracing"
  }
  assert {
    condition     = aws_cloudwatch_log_group.executions.name == "/aws/vendedlogs/states/firstline" && aws_cloudwatch_log_group.executions.retention_in_days == 90
    error_message = "the log group"
  }
}

run "role" {
  command = plan
  assert {
    condition     = aws_iam_role.workflow.name == "firstline-workflow-eu-west-1"
    error_message = "IAM names carry the region"
  }
  assert {
    condition     = [for s in data.aws_iam_policy_document.workflow.statement : s.resources if s.sid == "CallFunction"] == [toset(["arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:*"])]
    error_message = "published versions of this function and nothing else"
  }
}
