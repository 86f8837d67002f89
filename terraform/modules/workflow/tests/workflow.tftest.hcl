mock_provider "aws" {
  source = "../../tests/aws"

  mock_resource "aws_cloudwatch_log_group" {
    defaults = {
      arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/vendedlogs/states/firstline"
    }
  }
}

variables {
  roles                    = { path = "/", permissions_boundary = null }
  name                     = "firstline"
  region                   = "eu-west-1"
  function_arn             = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:7"
  function_unqualified_arn = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"
  log_retention_days       = 90
}

run "definition" {
  command = plan
  assert {
    condition     = aws_sfn_state_machine.responder.name == "firstline" && aws_sfn_state_machine.responder.type == "STANDARD"
    error_message = "the state machine"
  }
  assert {
    condition = tonumber(trimsuffix(aws_sfn_state_machine.responder.timeouts.delete, "m")) * 60 > 1.2 * max(3600, [
      for state in values(jsondecode(aws_sfn_state_machine.responder.definition).States) : try(state.Seconds, 0)
    ]...)
    error_message = "AWS deletes it when the longest state has ended, which is a Wait of up to an hour (internal/incident)"
  }
  assert {
    condition     = jsondecode(aws_sfn_state_machine.responder.definition).TimeoutSeconds == 21600
    error_message = "the time-out of the whole is a number"
  }
  assert {
    condition = length([for state in jsondecode(aws_sfn_state_machine.responder.definition).States : state if state.Type == "Task"]) == 11 && alltrue([
      for state in jsondecode(aws_sfn_state_machine.responder.definition).States :
      state.Resource == "arn:aws:states:::lambda:invoke" && state.Parameters.FunctionName == var.function_arn if state.Type == "Task"
    ])
    error_message = "every task calls the published version"
  }
  assert {
    condition     = !strcontains(aws_sfn_state_machine.responder.definition, "$${")
    error_message = "a placeholder is left"
  }
  assert {
    condition = { for name, state in jsondecode(aws_sfn_state_machine.responder.definition).States : name => jsonencode({
      for k, v in state : k => v if !contains(["Resource", "Retry", "Parameters"], k)
      }) } == { for name, state in jsondecode(file("responder.asl.json")).States : name => jsonencode({
      for k, v in state : k => v if !contains(["Resource", "Retry", "Parameters"], k)
    }) }
    error_message = "the file's states, otherwise unchanged"
  }
}

run "retries" {
  command = plan
  assert {
    condition = alltrue([
      for name, state in jsondecode(aws_sfn_state_machine.responder.definition).States : try(
        jsonencode(state.Retry) == jsonencode(jsondecode(file("responder.asl.json")).States[name].Retry),
        jsonencode(state.Retry) == jsonencode(jsondecode(file("retry.json"))),
      ) if state.Type == "Task"
    ])
    error_message = "a task keeps its own retry policy, or has the shared one"
  }
  assert {
    condition     = [for name, state in jsondecode(aws_sfn_state_machine.responder.definition).States : name if can(state.Retry) && can(jsondecode(file("responder.asl.json")).States[name].Retry)] == ["Check Route 53", "Check SSH", "Check URL", "Page"]
    error_message = "the tasks with a retry policy of their own"
  }
  assert {
    condition     = alltrue([for state in jsondecode(aws_sfn_state_machine.responder.definition).States : !can(state.Retry) && !can(state.Resource) if state.Type != "Task"])
    error_message = "nothing is added to a state that is no task"
  }
}

run "definition_in_another_partition" {
  command = plan
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-us-gov" }
  }
  assert {
    condition     = distinct([for state in jsondecode(aws_sfn_state_machine.responder.definition).States : state.Resource if state.Type == "Task"]) == tolist(["arn:aws-us-gov:states:::lambda:invoke"])
    error_message = "the partition of every task"
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
    condition     = toset([for s in data.aws_iam_policy_document.workflow.statement : s.sid]) == toset(["CallFunction", "DeliverLogs", "Trace"])
    error_message = "and, beside logs and traces, no other right"
  }
}
