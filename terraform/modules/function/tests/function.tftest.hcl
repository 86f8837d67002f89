mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  roles    = { path = "/", permissions_boundary = null }
  name     = "firstline"
  region   = "eu-west-1"
  release  = "1.2.3"
  package  = "main.tf"
  function = { architecture = "arm64", memory_mb = 256, log_retention_days = 90, log_level = "info", managed_policies = 10 }
  slack    = { channel_id = "C0123456789", api_url = "", pages = true, mention = "here" }
  pagers   = [{ type = "opsgenie", json = "{\"endpoint\":\"eu\",\"priority\":\"P2\"}", topic_arn = "", secrets = { key_parameter = "opsgenie-api-key" } }]
  instances = {
    "i-0c1cbf2e7abdedf75" = { health_check_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", secret_parameters = ["/app/token"] }
    "i-0a1b2c3d"          = { health_check_id = "", secret_parameters = ["/app/token"] }
  }
  table_name         = "firstline-incidents"
  state_machine_name = "firstline"
  alarm_prefix       = "firstline-alarm-"
  breaker            = { in_flight = 2, per_hour = 6 }
  vantage            = { peers = ["us-east-1", "ap-south-1"], required = false }
}

run "shape" {
  command = plan
  assert {
    condition = alltrue([
      aws_lambda_function.responder.function_name == "firstline-responder",
      aws_lambda_function.responder.runtime == "provided.al2023",
      aws_lambda_function.responder.architectures == tolist(["arm64"]),
      aws_lambda_function.responder.publish,
      aws_lambda_function.responder.memory_size == 256,
      aws_lambda_function.responder.timeout == 60,
      aws_lambda_function.responder.tracing_config[0].mode == "Active",
      length(aws_lambda_function.responder.vpc_config) == 0,
    ])
    error_message = "the function"
  }
  assert {
    condition = aws_lambda_function.responder.environment[0].variables == tomap({
      GOGC                            = "200"
      FIRSTLINE_NAME                  = "firstline"
      FIRSTLINE_SETTINGS_PATH         = "/firstline/instances/"
      FIRSTLINE_LOG_LEVEL             = "info"
      FIRSTLINE_VPC                   = "false"
      FIRSTLINE_SLACK_CHANNEL_ID      = "C0123456789"
      FIRSTLINE_SLACK_API_URL         = ""
      FIRSTLINE_SLACK_TOKEN_PARAMETER = "/firstline/secrets/slack-token"
      FIRSTLINE_SLACK_PAGES           = "true"
      FIRSTLINE_SLACK_MENTION         = "here"
      FIRSTLINE_PAGERS                = "[{\"endpoint\":\"eu\",\"key_parameter\":\"/firstline/secrets/opsgenie-api-key\",\"priority\":\"P2\",\"type\":\"opsgenie\"}]"
      FIRSTLINE_TABLE                 = "firstline-incidents"
      FIRSTLINE_STATE_MACHINE_ARN     = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"
      FIRSTLINE_ALARM_PREFIX          = "firstline-alarm-"
      FIRSTLINE_BREAKER               = "{\"in_flight\":2,\"per_hour\":6}"
      FIRSTLINE_VANTAGE               = "{\"function\":\"firstline-probe\",\"peers\":[\"us-east-1\",\"ap-south-1\"],\"required\":false}"
    })
    error_message = "the function's environment"
  }
  assert {
    condition     = aws_s3_object.code.key == "responder/${filesha256("main.tf")}.zip" && aws_s3_bucket.code.bucket == "firstline-code-123456789012-eu-west-1"
    error_message = "the package is stored under its hash"
  }
  assert {
    condition     = aws_cloudwatch_log_group.function.retention_in_days == 90 && aws_lambda_function.responder.logging_config[0].log_group == "/aws/lambda/firstline-responder"
    error_message = "logs"
  }
  assert {
    condition     = aws_iam_role.function.name == "firstline-responder-eu-west-1"
    error_message = "IAM names carry the region"
  }
}

run "policy" {
  command = plan
  assert {
    condition = { for s in data.aws_iam_policy_document.function.statement : s.sid => sort(s.resources) } == {
      Log            = tolist(["arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/firstline-responder:*"])
      Trace          = tolist(["*"])
      ReadParameters = tolist(["arn:aws:ssm:eu-west-1:123456789012:parameter/app/token", "arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/instances/*", "arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/secrets/opsgenie-api-key", "arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/secrets/slack-token"])
      ListSettings   = tolist(["arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/instances"])
      FindInstance   = tolist(["*"])
      AskMetrics     = tolist(["*"])
      AskPeers       = tolist(["arn:aws:lambda:ap-south-1:123456789012:function:firstline-probe", "arn:aws:lambda:us-east-1:123456789012:function:firstline-probe"])
      AskAlarm       = tolist(["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:*"])
      Remember       = tolist(["arn:aws:dynamodb:eu-west-1:123456789012:table/firstline-incidents"])
      StartIncident  = tolist(["arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"])
      AskExecution   = tolist(["arn:aws:states:eu-west-1:123456789012:execution:firstline:*"])
      Reboot         = tolist(["arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b2c3d", "arn:aws:ec2:eu-west-1:123456789012:instance/i-0c1cbf2e7abdedf75"])
      AskHealthCheck = tolist(["arn:aws:route53:::healthcheck/4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"])

      ListHealthChecks    = tolist(["*"])
      JoinVPC             = tolist(["*"])
      JoinVPCByLambdaOnly = tolist(["*"])
    }
    error_message = jsonencode({ for s in data.aws_iam_policy_document.function.statement : s.sid => sort(s.resources) })
  }
  assert {
    condition = { for s in data.aws_iam_policy_document.function.statement : s.sid => sort(s.actions) if !startswith(s.sid, "JoinVPC") } == {
      Log            = tolist(["logs:CreateLogStream", "logs:PutLogEvents"])
      Trace          = tolist(["xray:PutTelemetryRecords", "xray:PutTraceSegments"])
      ReadParameters = tolist(["ssm:GetParameter"])
      ListSettings   = tolist(["ssm:GetParametersByPath"])
      FindInstance   = tolist(["ec2:DescribeInstanceCreditSpecifications", "ec2:DescribeInstanceStatus", "ec2:DescribeInstances", "ec2:DescribeSecurityGroups"])
      AskMetrics     = tolist(["cloudwatch:GetMetricData", "cloudwatch:ListMetrics"])
      AskPeers       = tolist(["lambda:InvokeFunction"])
      AskAlarm       = tolist(["cloudwatch:DescribeAlarms"])
      Remember       = tolist(["dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:UpdateItem"])
      StartIncident  = tolist(["states:StartExecution"])
      AskExecution   = tolist(["states:DescribeExecution"])
      Reboot         = tolist(["ec2:GetConsoleOutput", "ec2:RebootInstances"])
      AskHealthCheck = tolist(["route53:GetHealthCheck", "route53:GetHealthCheckStatus"])

      ListHealthChecks = tolist(["route53:ListHealthChecks"])
    }
    error_message = jsonencode({ for s in data.aws_iam_policy_document.function.statement : s.sid => sort(s.actions) })
  }
  assert {
    condition     = length(aws_iam_policy.exact) == 0
    error_message = "no managed policy while all fits the role's own"
  }
}

# Lambda leaves a VPC after the function has left it or is gone, and old versions stay
# in theirs. The function's own code never may.
run "lambda_may_leave_a_vpc_and_the_code_may_not" {
  command = plan
  assert {
    condition = { for s in data.aws_iam_policy_document.function.statement : s.sid => sort(s.actions) if startswith(s.sid, "JoinVPC") } == { for sid in ["JoinVPC", "JoinVPCByLambdaOnly"] : sid => tolist([
      "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
      "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
    ]) }
    error_message = "the same actions, and without a VPC too"
  }
  assert {
    condition = [for s in data.aws_iam_policy_document.function.statement : {
      sid = s.sid, keys = [for c in s.condition : c.variable], values = flatten([for c in s.condition : c.values])
      } if s.effect == "Deny"] == [{
      sid    = "JoinVPCByLambdaOnly", keys = ["lambda:SourceFunctionArn"],
      values = ["arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder"]
    }]
    error_message = "denied to the code of this function, and nothing else is"
  }
}

run "no_peers" {
  command = plan
  variables {
    vantage = { peers = [], required = false }
  }
  assert {
    condition     = !contains([for s in data.aws_iam_policy_document.function.statement : s.sid], "AskPeers") && aws_lambda_function.responder.environment[0].variables["FIRSTLINE_VANTAGE"] == "{\"function\":\"firstline-probe\",\"peers\":[],\"required\":false}"
    error_message = "nobody is asked"
  }
}

run "superseded_packages_expire" {
  command = plan
  assert {
    condition = length(aws_s3_bucket_lifecycle_configuration.code.rule) == 1 && alltrue([
      aws_s3_bucket_lifecycle_configuration.code.rule[0].status == "Enabled",
      aws_s3_bucket_lifecycle_configuration.code.rule[0].noncurrent_version_expiration[0].noncurrent_days == 30,
      # The provider takes it only without a number of days or a date.
      aws_s3_bucket_lifecycle_configuration.code.rule[0].expiration[0].expired_object_delete_marker,
    ])
    error_message = "old versions of an object expire, and never the current one"
  }
}

run "neither_slack_nor_pagers" {
  command = plan
  variables {
    slack  = null
    pagers = []
  }
  assert {
    condition = { for k, v in aws_lambda_function.responder.environment[0].variables : k => v if strcontains(k, "SLACK") || strcontains(k, "PAGERS") } == {
      FIRSTLINE_PAGERS = "[]"
    }
    error_message = "no channel, no variable of it"
  }
  assert {
    condition     = length(aws_ssm_parameter.secret) == 0
    error_message = "no secret of what is not there"
  }
}

# A key for each pager that has one, and a topic for the one that has none.
run "pagers" {
  command = plan
  variables {
    pagers = [
      { type = "jsm", json = "{}", topic_arn = "", secrets = { key_parameter = "jsm-api-key", token_parameter = "jsm-api-token" } },
      { type = "sns", json = "{}", topic_arn = "arn:aws:sns:us-east-1:210987654321:oncall", secrets = {} },
    ]
    slack = { channel_id = "C0123456789", api_url = "", pages = false, mention = "channel" }
  }
  assert {
    condition = jsondecode(aws_lambda_function.responder.environment[0].variables["FIRSTLINE_PAGERS"]) == [
      { type = "jsm", key_parameter = "/firstline/secrets/jsm-api-key", token_parameter = "/firstline/secrets/jsm-api-token" },
      { type = "sns", topic_arn = "arn:aws:sns:us-east-1:210987654321:oncall" },
    ]
    error_message = aws_lambda_function.responder.environment[0].variables["FIRSTLINE_PAGERS"]
  }
  assert {
    condition     = aws_lambda_function.responder.environment[0].variables["FIRSTLINE_SLACK_PAGES"] == "false"
    error_message = "whether Slack is told of pages"
  }
  assert {
    condition     = toset(keys(aws_ssm_parameter.secret)) == toset(["slack-token", "jsm-api-key", "jsm-api-token"])
    error_message = "no key of a pager that is not chosen"
  }
  assert {
    condition = { for s in data.aws_iam_policy_document.function.statement : s.sid => { actions = s.actions, resources = sort(s.resources) } if contains(["Page", "ReadParameters"], s.sid) } == {
      Page           = { actions = toset(["sns:Publish"]), resources = tolist(["arn:aws:sns:us-east-1:210987654321:oncall"]) }
      ReadParameters = { actions = toset(["ssm:GetParameter"]), resources = tolist(["arn:aws:ssm:eu-west-1:123456789012:parameter/app/token", "arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/instances/*", "arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/secrets/jsm-api-key", "arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/secrets/jsm-api-token", "arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/secrets/slack-token"]) }
    }
    error_message = "what it may publish to and read"
  }
  # The topic may be encrypted with a key of its account: for this topic alone.
  assert {
    condition = [for s in data.aws_iam_policy_document.function.statement : {
      actions    = s.actions
      resources  = tolist(s.resources)
      conditions = { for c in s.condition : c.variable => one(c.values) }
      } if s.sid == "PageEncrypted"] == [{
      actions   = toset(["kms:Decrypt", "kms:GenerateDataKey"])
      resources = tolist(["arn:aws:kms:us-east-1:210987654321:key/*"])
      conditions = {
        "kms:ViaService"                         = "sns.us-east-1.amazonaws.com"
        "kms:EncryptionContext:aws:sns:topicArn" = "arn:aws:sns:us-east-1:210987654321:oncall"
      }
    }]
    error_message = "what it may do with the topic's key: ${jsonencode([for s in data.aws_iam_policy_document.function.statement : s if s.sid == "PageEncrypted"])}"
  }
}

# One per region, with the secret of its pager or one of its own.
run "heartbeat" {
  command = plan
  variables {
    heartbeat = { json = "{\"name\":\"firstline-{region}\",\"service\":\"jsm\"}", secrets = { token_parameter = "jsm-api-token" } }
  }
  assert {
    condition     = jsondecode(aws_lambda_function.responder.environment[0].variables["FIRSTLINE_HEARTBEAT"]) == { service = "jsm", name = "firstline-eu-west-1", token_parameter = "/firstline/secrets/jsm-api-token" }
    error_message = aws_lambda_function.responder.environment[0].variables["FIRSTLINE_HEARTBEAT"]
  }
  assert {
    condition     = toset(keys(aws_ssm_parameter.secret)) == toset(["slack-token", "opsgenie-api-key", "jsm-api-token"])
    error_message = "its secret: ${join(", ", keys(aws_ssm_parameter.secret))}"
  }
}

run "the_deployments_own_topic" {
  command = plan
  variables {
    pagers = [{ type = "sns", json = "{}", topic_arn = "arn:aws:sns:eu-west-1:123456789012:firstline-self", secrets = {} }]
  }
  assert {
    condition     = length([for s in data.aws_iam_policy_document.function.statement : s if s.sid == "PageEncrypted"]) == 0
    error_message = "its key admits the role itself"
  }
}

# The environment of a function holds 4 KB
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). The
# longest pagers and heartbeat that modules/settings lets pass must fit, with the longest names.
run "environment_fits" {
  command = plan
  variables {
    name               = "a234567890123456789012345678"
    alarm_prefix       = "a234567890123456789012345678-alarm-"
    table_name         = "a234567890123456789012345678-incidents"
    state_machine_name = "a234567890123456789012345678"
    breaker            = { in_flight = 1000, per_hour = 1000 }
    vantage            = { peers = ["ap-northeast-1", "ap-southeast-1"], required = false }
    slack              = { channel_id = "C01234567890123456789", api_url = "https://${format("%-150s", "")}", pages = false, mention = "S01234567890123456789" }
    pagers             = [{ type = "opsgenie", json = jsonencode({ details = { long = format("%-1900s", "") } }), topic_arn = "", secrets = { key_parameter = "opsgenie-api-key" } }]
    heartbeat          = { json = jsonencode({ service = "opsgenie", name = "{region}${format("%-392s", "")}" }), secrets = { key_parameter = "opsgenie-api-key" } }
  }
  assert {
    condition     = length("${aws_lambda_function.responder.environment[0].variables["FIRSTLINE_PAGERS"]}${aws_lambda_function.responder.environment[0].variables["FIRSTLINE_HEARTBEAT"]}") >= 2490 && sum([for k, v in aws_lambda_function.responder.environment[0].variables : length(k) + length(v)]) <= 3800
    error_message = "${length("${aws_lambda_function.responder.environment[0].variables["FIRSTLINE_PAGERS"]}${aws_lambda_function.responder.environment[0].variables["FIRSTLINE_HEARTBEAT"]}")} of ${sum([for k, v in aws_lambda_function.responder.environment[0].variables : length(k) + length(v)])} characters"
  }
}

run "no_health_check_no_statement" {
  command = plan
  variables {
    instances = { "i-0a1b2c3d" = { health_check_id = "", secret_parameters = [] } }
  }
  assert {
    condition     = !contains([for s in data.aws_iam_policy_document.function.statement : s.sid], "AskHealthCheck")
    error_message = "no rights on health checks where there are none"
  }
}

run "vpc" {
  command = plan
  variables {
    vpc = { subnet_ids = ["subnet-01234567"], security_group_ids = ["sg-01234567"], ipv6 = true }
  }
  assert {
    condition     = aws_lambda_function.responder.vpc_config[0].ipv6_allowed_for_dual_stack
    error_message = "the function joins the VPC"
  }
  assert {
    condition     = aws_lambda_function.responder.environment[0].variables["FIRSTLINE_VPC"] == "true"
    error_message = "the function knows that it reaches private addresses"
  }
}

# 900 instances: 108 in the role's own policy, the others 89 to a policy.
run "many_instances_take_managed_policies" {
  command = plan
  variables {
    instances = { for i in range(900) : format("i-%017x", i) => { health_check_id = "", secret_parameters = [] } }
  }
  assert {
    condition = alltrue([
      length(aws_iam_policy.exact) == 9,
      length(aws_iam_role_policy_attachment.exact) == 9,
      aws_iam_policy.exact[8].name == "firstline-responder-eu-west-1-9",
      length(toset(flatten(concat(
        [for s in data.aws_iam_policy_document.function.statement : s.resources if s.sid == "Reboot"],
        [for d in data.aws_iam_policy_document.exact : [for s in d.statement : s.resources]],
      )))) == 900,
      # What IAM would count: 37 + 2 for the policy, 103 for the statement.
      alltrue([for d in data.aws_iam_policy_document.exact : sum([for s in d.statement : sum([for r in s.resources : length(r) + 3]) + 103]) + 39 <= 6144]),
    ])
    error_message = "every instance in a policy, none longer than it may be: ${length(aws_iam_policy.exact)}"
  }
}

run "many_instances_and_a_topic" {
  command = plan
  variables {
    pagers    = [{ type = "sns", json = "{}", topic_arn = "arn:aws:sns:us-east-1:210987654321:${format("%0200d", 0)}", secrets = {} }]
    instances = { for i in range(900) : format("i-%017x", i) => { health_check_id = "", secret_parameters = [] } }
  }
  assert {
    condition     = local.inline_slots < 105 && local.inline_slots > 90
    error_message = "the topic takes room of the role's own policy: ${local.inline_slots}"
  }
}

run "too_many_instances" {
  command = plan
  variables {
    instances = { for i in range(1024) : format("i-%017x", i) => { health_check_id = "", secret_parameters = [] } }
  }
  expect_failures = [aws_iam_role_policy.function]
}

run "a_raised_quota_holds_more" {
  command = plan
  variables {
    function  = { architecture = "arm64", memory_mb = 256, log_retention_days = 90, log_level = "info", managed_policies = 25 }
    instances = { for i in flatten([for n in range(3) : range(777 * n, 777 * n + 777)]) : format("i-%017x", i) => { health_check_id = "", secret_parameters = [] } }
  }
}

run "too_many_secret_headers" {
  command = plan
  variables {
    instances = { for i in range(200) : format("i-%017x", i) => { health_check_id = "", secret_parameters = ["/app/${i}/token"] } }
  }
  expect_failures = [aws_iam_role_policy.function]
}

# The zips here are no zips: only their names and what lies beside them count.
run "provenance" {
  command = plan
  variables {
    package = "tests/built.zip"
  }
  assert {
    condition     = aws_lambda_function.responder.tags == tomap({ version = "1.2.3", commit = "0a1b2c3d" }) && output.commit == "0a1b2c3d"
    error_message = "the function is tagged with version and commit"
  }
}

run "provenance_unknown" {
  command = plan
  assert {
    condition     = aws_lambda_function.responder.tags == tomap({ version = "1.2.3" }) && output.commit == ""
    error_message = "without a commit there is no such tag"
  }
}

run "package_of_another_version" {
  command = plan
  variables {
    package = "tests/built.zip"
    release = "1.2.4"
  }
  expect_failures = [aws_s3_object.code]
}

run "package_missing" {
  command = plan
  variables {
    package = "nowhere.zip"
  }
  expect_failures = [var.package]
}

# secrets_version against what is stored, and whether the values are at hand.

run "secrets_first_deployment_without_values" {
  command = plan
  assert {
    condition     = aws_ssm_parameter.secret["slack-token"].type == "SecureString" && aws_ssm_parameter.secret["slack-token"].value_wo_version == 1
    error_message = "a secret is encrypted"
  }
}

run "secrets_rotation_without_values" {
  command = plan
  variables {
    secrets_version = 2
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["1"] }
  }
  expect_failures = [aws_ssm_parameter.secret]
}

run "secrets_rotation_with_one_value" {
  command = plan
  variables {
    secrets_version = 2
    secrets         = { slack-token = "xoxb-test" }
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["1"] }
  }
  expect_failures = [aws_ssm_parameter.secret]
}

run "secrets_rotation_with_values" {
  command = plan
  variables {
    secrets_version = 2
    secrets         = { slack-token = "xoxb-test", opsgenie-api-key = "test" }
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["1"] }
  }
}

# Those of the chosen pagers, and no other.
run "secrets_rotation_of_another_pager" {
  command = plan
  variables {
    pagers          = [{ type = "jsm", json = "{}", topic_arn = "", secrets = { key_parameter = "jsm-api-key", token_parameter = "jsm-api-token" } }]
    secrets_version = 2
    secrets         = { slack-token = "xoxb-test", jsm-api-key = "test", jsm-api-token = "test", opsgenie-api-key = null }
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["1"] }
  }
}

# Each is empty where a CI job does not know it.
run "secrets_rotation_with_an_empty_token" {
  command = plan
  variables {
    pagers          = [{ type = "jsm", json = "{}", topic_arn = "", secrets = { key_parameter = "jsm-api-key", token_parameter = "jsm-api-token" } }]
    secrets_version = 2
    secrets         = { slack-token = "xoxb-test", jsm-api-key = "test", jsm-api-token = "" }
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["1"] }
  }
  expect_failures = [aws_ssm_parameter.secret]
}

run "secrets_rotation_with_the_key_of_another_pager" {
  command = plan
  variables {
    pagers          = [{ type = "jsm", json = "{}", topic_arn = "", secrets = { key_parameter = "jsm-api-key", token_parameter = "jsm-api-token" } }]
    secrets_version = 2
    secrets         = { slack-token = "xoxb-test", opsgenie-api-key = "test" }
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["1"] }
  }
  expect_failures = [aws_ssm_parameter.secret]
}

run "secrets_rotation_without_a_pager_that_has_a_key" {
  command = plan
  variables {
    pagers          = [{ type = "sns", json = "{}", topic_arn = "arn:aws:sns:eu-west-1:123456789012:oncall", secrets = {} }]
    secrets_version = 2
    secrets         = { slack-token = "xoxb-test" }
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["1"] }
  }
}

run "secrets_stored_already" {
  command = plan
  variables {
    secrets_version = 2
  }
  override_data {
    target = data.aws_ssm_parameters_by_path.secrets_version
    values = { values = ["2"] }
  }
}

run "secrets_of_a_later_version_in_a_new_region" {
  command = plan
  variables {
    secrets_version = 2
  }
  expect_failures = [aws_ssm_parameter.secret]
}
