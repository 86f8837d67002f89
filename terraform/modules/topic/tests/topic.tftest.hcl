mock_provider "aws" {
  source = "../../tests/aws"

  mock_resource "aws_kms_key" {
    defaults = {
      arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    }
  }

  mock_resource "aws_sns_topic" {
    defaults = {
      arn = "arn:aws:sns:eu-west-1:123456789012:firstline-self"
    }
  }
}

variables {
  name        = "firstline"
  region      = "eu-west-1"
  subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }, { protocol = "https", endpoint = "https://example.com/hook" }]
}

run "topic" {
  command = apply # mocked: nothing is made
  assert {
    condition     = aws_sns_topic.self.kms_master_key_id == aws_kms_key.topic.arn && aws_kms_key.topic.enable_key_rotation
    error_message = "encrypted with a key of our own"
  }
  assert {
    condition = [for s in data.aws_iam_policy_document.key.statement : [for c in s.condition : "${c.test} ${c.variable} ${join(",", c.values)}"]
    if anytrue([for p in s.principals : contains(p.identifiers, "cloudwatch.amazonaws.com")])] == [["StringEquals aws:SourceAccount 123456789012"]]
    error_message = "the key admits CloudWatch's alarms, of this account only"
  }
  assert {
    condition     = anytrue([for c in data.aws_iam_policy_document.topic.statement[0].condition : c.variable == "aws:SourceAccount" && contains(c.values, "123456789012")])
    error_message = "alarms of this account only"
  }
  assert {
    condition     = [for s in data.aws_iam_policy_document.topic.statement : one([for c in s.condition : "${c.test} ${c.variable} ${join(",", c.values)}"]) if s.effect == "Deny" && s.actions == toset(["sns:Publish"])] == ["Bool aws:SecureTransport false"]
    error_message = "no plain HTTP"
  }
  assert {
    condition     = length([for s in data.aws_iam_policy_document.key.statement : s if s.sid == "Pages"]) == 0
    error_message = "no role publishes unless one is named"
  }
  assert {
    condition     = toset(keys(aws_sns_topic_subscription.subscriber)) == toset(["email:oncall@example.com", "https:https://example.com/hook"])
    error_message = "everybody is subscribed"
  }
}

run "publisher" {
  command = apply # mocked: nothing is made
  variables {
    publisher_role_arns = ["arn:aws:iam::123456789012:role/firstline-responder-eu-west-1"]
  }
  assert {
    condition = [for s in data.aws_iam_policy_document.key.statement : {
      actions    = s.actions
      identifier = flatten([for p in s.principals : p.identifiers])
      conditions = toset([for c in s.condition : "${c.test} ${c.variable} ${join(",", c.values)}"])
      } if s.sid == "Pages"] == [{
      actions    = toset(["kms:Decrypt", "kms:GenerateDataKey*"])
      identifier = ["*"]
      conditions = toset(["ArnEquals aws:PrincipalArn arn:aws:iam::123456789012:role/firstline-responder-eu-west-1", "StringEquals kms:CallerAccount 123456789012"])
    }]
    error_message = "the key admits this role and no other"
  }
}

run "queues_and_functions_of_this_account" {
  command = apply # mocked: nothing is made
  variables {
    subscribers = [
      { protocol = "sqs", endpoint = "arn:aws:sqs:us-east-1:123456789012:oncall" },
      { protocol = "lambda", endpoint = "arn:aws:lambda:eu-west-1:123456789012:function:oncall" },
      { protocol = "lambda", endpoint = "arn:aws:lambda:eu-west-1:123456789012:function:oncall:live" },
      { protocol = "lambda", endpoint = "arn:aws:lambda:us-east-1:123456789012:function:oncall" },
    ]
  }
  assert {
    condition     = length(aws_sns_topic_subscription.subscriber) == 4
    error_message = "everybody is subscribed"
  }
  assert {
    condition = { for key, p in aws_lambda_permission.subscriber : key => "${p.function_name} ${coalesce(p.qualifier, "-")} ${p.principal} ${p.source_arn}" } == {
      "lambda:arn:aws:lambda:eu-west-1:123456789012:function:oncall"      = "oncall - sns.amazonaws.com arn:aws:sns:eu-west-1:123456789012:firstline-self"
      "lambda:arn:aws:lambda:eu-west-1:123456789012:function:oncall:live" = "oncall live sns.amazonaws.com arn:aws:sns:eu-west-1:123456789012:firstline-self"
    }
    error_message = "a function of this region admits the topic"
  }
}

run "a_queue_of_another_account" {
  command = plan
  variables {
    subscribers = [{ protocol = "sqs", endpoint = "arn:aws:sqs:eu-west-1:210987654321:oncall" }, { protocol = "email", endpoint = "oncall@example.com" }]
  }
  expect_failures = [aws_sns_topic_subscription.subscriber["sqs:arn:aws:sqs:eu-west-1:210987654321:oncall"]]
}

run "a_function_of_another_account" {
  command = plan
  variables {
    subscribers = [{ protocol = "lambda", endpoint = "arn:aws:lambda:eu-west-1:210987654321:function:oncall" }]
  }
  expect_failures = [aws_sns_topic_subscription.subscriber]
}
