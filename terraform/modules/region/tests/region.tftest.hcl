mock_provider "aws" {
  source = "../../tests/aws"

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/role" }
  }
  mock_resource "aws_lambda_function" {
    defaults = {
      arn           = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"
      qualified_arn = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:1"
    }
  }
  mock_resource "aws_sfn_state_machine" {
    defaults = { arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline" }
  }
}

variables {
  settings = {
    instances = {
      "i-0c1cbf2e7abdedf75" = {
        json              = "{}"
        alarms            = { cpu = { namespace = "AWS/EC2", metric = "CPUUtilization", dimensions = {}, period_seconds = 300, statistic = "Maximum", threshold = 100, evaluation_periods = 1, comparison = "GreaterThanOrEqualToThreshold", treat_missing_data = "missing" } }
        health_check_id   = ""
        secret_parameters = []
      }
    }
    peers = ["eu-central-1"]
    asked = false
  }
  deployment = {
    name        = "firstline"
    version     = "1.2.3"
    slack       = { channel_id = "C0123456789", api_url = "", pages = true, mention = "channel" }
    pagers      = [{ type = "opsgenie", json = "{}", topic_arn = "", secrets = { key_parameter = "opsgenie-api-key" } }]
    function    = { package = "main.tf", architecture = "arm64", memory_mb = 256, log_retention_days = 90, log_level = "info", managed_policies = 10 }
    breaker     = { in_flight = 2, per_hour = 6 }
    reconcile   = { every_minutes = 5 }
    vantage     = { required = false, reserved_concurrency = 5 }
    subscribers = []
  }
}

run "nobody_to_tell" {
  command = plan
  assert {
    condition     = output.alarm_topic_arn == null && length(module.topic) == 0
    error_message = "no topic without subscribers"
  }
  assert {
    condition     = output.alarm_names == tolist(["firstline-alarm-i-0c1cbf2e7abdedf75-cpu"])
    error_message = "the instances' alarms"
  }
  assert {
    condition     = length(output.self_alarm_names) == 13 && alltrue([for name in output.self_alarm_names : startswith(name, "firstline-self-")])
    error_message = "the deployment's own alarms share no prefix with the instances': ${join(", ", output.self_alarm_names)}"
  }
  assert {
    condition     = output.region == "eu-west-1" && output.account_id == "123456789012" && output.name == "firstline"
    error_message = "what is deployed where"
  }
  assert {
    condition     = output.function_name == "firstline-responder" && output.rule_name == "firstline-alarm" && output.canary_rule_name == "firstline-canary" && output.pagers == ["opsgenie"] && output.pager_topic_arn == ""
    error_message = "names of what the operator's command asks for"
  }
  assert {
    condition     = output.table_name == "firstline-incidents" && output.reconcile_rule_name == "firstline-reconcile" && output.dashboard_name == "firstline-eu-west-1"
    error_message = "the table, the rule of reconcile and the dashboard"
  }
  assert {
    condition     = output.instance_ids == tolist(["i-0c1cbf2e7abdedf75"])
    error_message = "the instances"
  }
  assert {
    condition     = output.function_log_group == "/aws/lambda/firstline-responder" && output.execution_log_group == "/aws/vendedlogs/states/firstline"
    error_message = "the log groups"
  }
  assert {
    condition     = output.probe_log_group == null && length(module.probe) == 0
    error_message = "no probe where no other region asks"
  }
}

run "asked_by_another_region" {
  command = plan
  variables {
    settings = merge(var.settings, { asked = true })
  }
  assert {
    condition     = output.probe_log_group == "/aws/lambda/firstline-probe" && length(module.probe) == 1
    error_message = "the probe is where another region asks"
  }
}

run "arns_of_what_is_deployed" {
  command = plan
  override_resource {
    target          = module.function.aws_lambda_function.responder
    override_during = plan
    values = {
      arn           = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"
      qualified_arn = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:1"
    }
  }
  override_resource {
    target          = module.workflow.aws_sfn_state_machine.responder
    override_during = plan
    values          = { arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline" }
  }
  assert {
    condition     = output.function_arn == "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:1"
    error_message = "the version of the function that incidents call, not the function"
  }
  assert {
    condition     = output.state_machine_arn == "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"
    error_message = "the state machine"
  }
}

run "somebody_to_tell" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      subscribers = [
        { protocol = "email", endpoint = "oncall@example.com" },
        { protocol = "https", endpoint = "https://example.com/hook" },
        { protocol = "sms", endpoint = "+4930123456" },
        { protocol = "sqs", endpoint = "arn:aws:sqs:eu-west-1:123456789012:queue" },
        { protocol = "lambda", endpoint = "arn:aws:lambda:eu-west-1:123456789012:function:hook" },
      ]
    })
  }
  assert {
    condition     = length(module.topic) == 1
    error_message = "a topic"
  }
}

# Pages may go where the deployment's own alarms go.
run "pages_to_the_topic_of_subscribers" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      pagers      = [{ type = "opsgenie", json = "{}", topic_arn = "", secrets = { key_parameter = "opsgenie-api-key" } }, { type = "sns", json = "{}", topic_arn = "", secrets = {} }]
      subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
    })
  }
  assert {
    condition     = output.pagers == ["opsgenie", "sns"]
    error_message = "the pagers in their order"
  }
  assert {
    condition     = local.pages_here && [for p in local.pagers : p.topic_arn] == ["", "arn:aws:sns:eu-west-1:123456789012:firstline-self"]
    error_message = "the deployment's own topic, whose key admits the function"
  }
  assert {
    condition     = output.pager_topic_arn == "arn:aws:sns:eu-west-1:123456789012:firstline-self"
    error_message = "the topic of which the operator's command asks whether anybody is subscribed"
  }
}

run "pages_to_another_topic" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      pagers = [{ type = "sns", json = "{}", topic_arn = "arn:aws:sns:us-east-1:210987654321:oncall", secrets = {} }]
    })
  }
  assert {
    condition     = !local.pages_here && [for p in local.pagers : p.topic_arn] == ["arn:aws:sns:us-east-1:210987654321:oncall"] && length(module.topic) == 0
    error_message = "the topic of another account, and no own one"
  }
  assert {
    condition     = output.pager_topic_arn == "arn:aws:sns:us-east-1:210987654321:oncall"
    error_message = "the topic of which the operator's command asks whether anybody is subscribed"
  }
}

run "pages_to_subscribers_of_whom_there_are_none" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      pagers = [{ type = "sns", json = "{}", topic_arn = "", secrets = {} }]
    })
  }
  expect_failures = [var.deployment]
}

run "subscribers_not_said" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      subscribers = null
    })
  }
  expect_failures = [var.deployment]
}

run "subscriber_of_an_unknown_protocol" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      subscribers = [{ protocol = "fax", endpoint = "+4930123456" }]
    })
  }
  expect_failures = [var.deployment]
}

# A topic of alarms is none of the FIFO topics, and others reach no FIFO queue.
run "subscriber_with_a_fifo_queue" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      subscribers = [{ protocol = "sqs", endpoint = "arn:aws:sqs:eu-west-1:123456789012:queue.fifo" }]
    })
  }
  expect_failures = [var.deployment]
}

run "subscriber_without_an_address" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      subscribers = [{ protocol = "email", endpoint = "oncall" }]
    })
  }
  expect_failures = [var.deployment]
}

run "subscriber_named_twice" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      subscribers = [{ protocol = "email", endpoint = "a@example.com" }, { protocol = "email", endpoint = "a@example.com" }]
    })
  }
  expect_failures = [var.deployment]
}

run "name_too_long" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      name = "a2345678901234567890123456789"
    })
  }
  expect_failures = [var.deployment]
}

run "name_in_capitals" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      name = "Firstline"
    })
  }
  expect_failures = [var.deployment]
}

run "name_that_SSM_keeps" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      name = "aws-firstline"
    })
  }
  expect_failures = [var.deployment]
}

run "name_that_another_deployment_would_match" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      name = "firstline-alarm-two"
    })
  }
  expect_failures = [var.deployment]
}

run "name_of_a_probe" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      name = "firstline-probe"
    })
  }
  expect_failures = [var.deployment]
}

run "name_of_a_function" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      name = "firstline-responder"
    })
  }
  expect_failures = [var.deployment]
}

run "secrets_version_below_one" {
  command = plan
  variables {
    deployment = merge(var.deployment, {
      secrets_version = 0
    })
  }
  expect_failures = [var.deployment]
}

run "role_path_without_a_slash_at_its_end" {
  command = plan
  variables {
    deployment = merge(var.deployment, { role_path = "/team" })
  }
  expect_failures = [var.deployment]
}

run "role_path_too_long" {
  command = plan
  variables {
    deployment = merge(var.deployment, { role_path = format("/%s/", join("", [for n in range(511) : "a"])) })
  }
  expect_failures = [var.deployment]
}

run "boundary_that_is_a_role" {
  command = plan
  variables {
    deployment = merge(var.deployment, { permissions_boundary = "arn:aws:iam::123456789012:role/boundary" })
  }
  expect_failures = [var.deployment]
}

run "path_and_boundary" {
  command = plan
  variables {
    deployment = merge(var.deployment, { role_path = "/team/ops/", permissions_boundary = "arn:aws-us-gov:iam::123456789012:policy/team/boundary" })
  }
  assert {
    condition     = local.roles == { path = "/team/ops/", permissions_boundary = "arn:aws-us-gov:iam::123456789012:policy/team/boundary" }
    error_message = "of every role"
  }
}
