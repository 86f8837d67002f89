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
  all_clear                 = { every_minutes = 5, for_minutes = 120 }
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
      state.Resource == "arn:aws:states:::lambda:invoke" && state.Parameters.FunctionName == var.function_arn if state.Type == "Task" && name != "Watch for recovery"
    ])
    error_message = "every task calls the published version"
  }
  assert {
    condition = alltrue([
      jsondecode(aws_sfn_state_machine.responder.definition).States["Watch for recovery"].Resource == "arn:aws:states:::states:startExecution",
      jsondecode(aws_sfn_state_machine.responder.definition).States["Watch for recovery"].Parameters.StateMachineArn == "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline-all-clear",
    ])
    error_message = "but for the one that starts the other machine"
  }
  assert {
    condition     = !strcontains(aws_sfn_state_machine.responder.definition, "$${")
    error_message = "a placeholder is left"
  }
}

run "all_clear" {
  command = plan
  assert {
    condition     = aws_sfn_state_machine.all_clear.name == "firstline-all-clear" && aws_sfn_state_machine.all_clear.type == "STANDARD"
    error_message = "its name, which the other machine starts it by"
  }
  # 125 minutes, and the looks at both ends.
  assert {
    condition     = jsondecode(aws_sfn_state_machine.all_clear.definition).TimeoutSeconds == 14700
    error_message = "it may take longer than it watches"
  }
  assert {
    condition = alltrue([
      for name, state in jsondecode(aws_sfn_state_machine.all_clear.definition).States :
      state.Resource == "arn:aws:states:::lambda:invoke" && state.Parameters.FunctionName == var.function_arn if state.Type == "Task"
    ])
    error_message = "every task calls the published version"
  }
  assert {
    condition     = !strcontains(aws_sfn_state_machine.all_clear.definition, "$${")
    error_message = "a placeholder is left"
  }
  assert {
    condition     = aws_sfn_state_machine.all_clear.logging_configuration[0].level == "ALL" && aws_sfn_state_machine.all_clear.logging_configuration[0].include_execution_data && aws_sfn_state_machine.all_clear.tracing_configuration[0].enabled
    error_message = "logs and tracing"
  }
}

run "all_clear_only_when_the_alarm_is_ok" {
  command = plan
  variables {
    all_clear = { every_minutes = 60, for_minutes = 0 }
  }
  assert {
    condition     = jsondecode(aws_sfn_state_machine.all_clear.definition).TimeoutSeconds == 11700
    error_message = "a quarter of an hour, and one more wait"
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
  assert {
    condition     = [for s in data.aws_iam_policy_document.workflow.statement : [s.actions, s.resources] if s.sid == "WatchForRecovery"] == [[toset(["states:StartExecution"]), toset(["arn:aws:states:eu-west-1:123456789012:stateMachine:firstline-all-clear"])]]
    error_message = "it starts the machine that gives the all-clear and no other"
  }
}
