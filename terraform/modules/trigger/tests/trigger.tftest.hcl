mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  roles             = { path = "/", permissions_boundary = null }
  name              = "firstline"
  region            = "eu-west-1"
  alarm_prefix      = "firstline-alarm-"
  state_machine_arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"
  function_name     = "firstline-responder"
  function_arn      = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"
  reconcile         = { every_minutes = 5 }
}

run "rule" {
  command = plan
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.alarm.event_pattern) == {
      source        = ["aws.cloudwatch"]
      "detail-type" = ["CloudWatch Alarm State Change"]
      resources     = [{ prefix = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-" }]
      detail        = { state = { value = ["ALARM"] } }
    }
    error_message = aws_cloudwatch_event_rule.alarm.event_pattern
  }
}

run "canary_rule" {
  command = plan
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.canary.event_pattern) == {
      source        = ["firstline.canary"]
      account       = ["123456789012"]
      "detail-type" = ["CloudWatch Alarm State Change"]
      resources     = [{ prefix = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-" }]
      detail        = { state = { value = ["ALARM"] } }
    }
    error_message = aws_cloudwatch_event_rule.canary.event_pattern
  }
  assert {
    condition     = length(setintersection(jsondecode(aws_cloudwatch_event_rule.alarm.event_pattern).source, jsondecode(aws_cloudwatch_event_rule.canary.event_pattern).source)) == 0
    error_message = "no event matches both rules"
  }
  assert {
    condition     = aws_cloudwatch_event_rule.canary.name == "firstline-canary" && output.canary_rule_name == "firstline-canary" && output.rule_name == "firstline-alarm"
    error_message = "names of the rules"
  }
  assert {
    condition     = alltrue([for rule in [aws_cloudwatch_event_rule.alarm, aws_cloudwatch_event_rule.canary, aws_cloudwatch_event_rule.reconcile] : rule.state == "ENABLED"])
    error_message = "an apply enables a rule that somebody has disabled"
  }
}

run "canary_target" {
  command = plan
  override_resource {
    target          = aws_iam_role.trigger
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/firstline-trigger-eu-west-1" }
  }
  override_resource {
    target          = aws_sqs_queue.dead_letter
    override_during = plan
    values          = { arn = "arn:aws:sqs:eu-west-1:123456789012:firstline-dead-letter" }
  }
  assert {
    condition     = aws_cloudwatch_event_target.canary.rule == "firstline-canary" && aws_cloudwatch_event_target.incident.rule == "firstline-alarm"
    error_message = "each rule has its target"
  }
  assert {
    condition     = aws_cloudwatch_event_target.canary.arn == var.state_machine_arn && aws_cloudwatch_event_target.canary.role_arn == aws_cloudwatch_event_target.incident.role_arn
    error_message = "the same state machine and role as of a real alarm"
  }
  assert {
    condition     = aws_cloudwatch_event_target.incident.dead_letter_config[0].arn == "arn:aws:sqs:eu-west-1:123456789012:firstline-dead-letter" && length(aws_cloudwatch_event_target.canary.dead_letter_config) == 0
    error_message = "the queue is for real alarms alone: its own alarm rings once"
  }
  assert {
    condition     = aws_cloudwatch_event_target.canary.input == null && aws_cloudwatch_event_target.canary.input_path == null && length(aws_cloudwatch_event_target.canary.input_transformer) == 0 && length(aws_cloudwatch_event_target.incident.input_transformer) == 0
    error_message = "the event goes in as it is, with its source"
  }
  assert {
    condition     = aws_cloudwatch_event_target.canary.retry_policy[0].maximum_event_age_in_seconds == 300
    error_message = "how long it is tried"
  }
}

run "these_rules_are_admitted_and_no_other" {
  command = plan
  override_resource {
    target          = aws_cloudwatch_event_rule.alarm
    override_during = plan
    values          = { arn = "arn:aws:events:eu-west-1:123456789012:rule/firstline-alarm" }
  }
  override_resource {
    target          = aws_cloudwatch_event_rule.canary
    override_during = plan
    values          = { arn = "arn:aws:events:eu-west-1:123456789012:rule/firstline-canary" }
  }
  assert {
    condition = [for c in data.aws_iam_policy_document.assume.statement[0].condition : [c.test, c.variable, toset(c.values)] if c.variable == "aws:SourceArn"] == [
      ["ArnEquals", "aws:SourceArn", toset(["arn:aws:events:eu-west-1:123456789012:rule/firstline-alarm", "arn:aws:events:eu-west-1:123456789012:rule/firstline-canary"])],
    ]
    error_message = "who may take the role"
  }
  assert {
    condition = [for c in data.aws_iam_policy_document.dead_letter.statement[0].condition : [c.test, c.variable, toset(c.values)]] == [
      ["ArnEquals", "aws:SourceArn", toset(["arn:aws:events:eu-west-1:123456789012:rule/firstline-alarm"])],
    ]
    error_message = "who may write to the queue"
  }
}

run "target" {
  command = plan
  assert {
    condition     = aws_cloudwatch_event_target.incident.arn == var.state_machine_arn && aws_cloudwatch_event_target.incident.retry_policy[0].maximum_event_age_in_seconds == 3600 && aws_cloudwatch_event_target.incident.retry_policy[0].maximum_retry_attempts == 185
    error_message = "the target, and how long it is tried"
  }
  assert {
    condition = [for s in data.aws_iam_policy_document.trigger.statement : { actions = s.actions, resources = s.resources }] == [
      { actions = toset(["states:StartExecution"]), resources = toset([var.state_machine_arn]) },
    ]
    error_message = "the rules may start this state machine and nothing else"
  }
}

run "dead_letter_queue" {
  command = plan
  assert {
    condition     = aws_sqs_queue.dead_letter.sqs_managed_sse_enabled && aws_sqs_queue.dead_letter.message_retention_seconds == 1209600
    error_message = "encrypted, kept for 14 days"
  }
  assert {
    condition     = output.dead_letter_queue_name == "firstline-dead-letter"
    error_message = "its name, which its alarms want"
  }
}

run "reconcile" {
  command = plan
  override_resource {
    target          = aws_cloudwatch_event_rule.reconcile
    override_during = plan
    values          = { arn = "arn:aws:events:eu-west-1:123456789012:rule/firstline-reconcile" }
  }
  assert {
    condition     = aws_cloudwatch_event_rule.reconcile.name == "firstline-reconcile" && aws_cloudwatch_event_rule.reconcile.schedule_expression == "rate(5 minutes)" && output.reconcile_rule_name == "firstline-reconcile"
    error_message = "the schedule"
  }
  assert {
    condition     = aws_cloudwatch_event_target.reconcile.rule == "firstline-reconcile" && aws_cloudwatch_event_target.reconcile.arn == var.function_arn && aws_cloudwatch_event_target.reconcile.role_arn == null && jsondecode(aws_cloudwatch_event_target.reconcile.input) == { step = "reconcile" }
    error_message = "it has the function reconcile"
  }
  assert {
    condition     = aws_cloudwatch_event_target.reconcile.retry_policy[0].maximum_event_age_in_seconds == 300 && length(aws_cloudwatch_event_target.reconcile.dead_letter_config) == 0
    error_message = "until the next reconcile, and nothing goes to the queue of real alarms"
  }
  assert {
    condition = alltrue([
      aws_lambda_permission.reconcile.action == "lambda:InvokeFunction",
      aws_lambda_permission.reconcile.function_name == "firstline-responder",
      aws_lambda_permission.reconcile.principal == "events.amazonaws.com",
      aws_lambda_permission.reconcile.source_arn == "arn:aws:events:eu-west-1:123456789012:rule/firstline-reconcile",
      aws_lambda_permission.reconcile.qualifier == null,
    ])
    error_message = "this rule may call the function and no other"
  }
  assert {
    condition     = aws_lambda_function_event_invoke_config.reconcile.function_name == "firstline-responder" && aws_lambda_function_event_invoke_config.reconcile.maximum_retry_attempts == 0 && aws_lambda_function_event_invoke_config.reconcile.maximum_event_age_in_seconds == 300
    error_message = "one invocation a period"
  }
}

run "reconcile_every_minute" {
  command = plan
  variables {
    reconcile = { every_minutes = 1 }
  }
  assert {
    condition     = aws_cloudwatch_event_rule.reconcile.schedule_expression == "rate(1 minute)" && aws_cloudwatch_event_target.reconcile.retry_policy[0].maximum_event_age_in_seconds == 60
    error_message = aws_cloudwatch_event_rule.reconcile.schedule_expression
  }
}
