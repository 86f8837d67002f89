data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id

  function_name = "${var.name}-responder"
  role_name     = "${var.name}-responder-${var.region}"
  log_group     = "/aws/lambda/${local.function_name}"
  settings_path = "/${var.name}/instances/"
  # By name, since it is made after the function, which its definition calls.
  state_machine_arn = "arn:${local.partition}:states:${var.region}:${local.account}:stateMachine:${var.state_machine_name}"
  execution_arns    = "arn:${local.partition}:states:${var.region}:${local.account}:execution:${var.state_machine_name}:*"

  # By name, since no region's module depends on another's.
  probe_name = "${var.name}-probe"
  probe_arns = [for peer in var.vantage.peers : "arn:${local.partition}:lambda:${peer}:${local.account}:function:${local.probe_name}"]

  # The secrets of what is there: parameter => variable.
  secrets = { for key in toset(concat(
    [for s in var.slack[*] : "slack-token"],
    flatten([for user in concat(var.pagers[*].secrets, var.heartbeat[*].secrets) : values(user)]),
  )) : key => "TF_VAR_${replace(key, "-", "_")}" }

  # Where an SNS topic is a pager, and no other.
  topic_arns = distinct([for p in var.pagers : p.topic_arn if p.type == "sns"])
  # One that is not the deployment's own may have a customer key: which, is not
  # known here.
  foreign_topics = { for arn in local.topic_arns : arn => {
    region  = split(":", arn)[3]
    account = split(":", arn)[4]
    service = "sns.${split(":", arn)[3]}.amazonaws.com"
  } if arn != "arn:${local.partition}:sns:${var.region}:${local.account}:${var.name}-self" }

  # What the zip was built from, where that is known: version and commit.
  provenance = try(jsondecode(file("${var.package}.json")), {})
  commit     = try(tostring(local.provenance.commit), "")

  pagers = [for p in var.pagers : merge(
    jsondecode(p.json),
    { type = p.type },
    p.topic_arn == "" ? {} : { topic_arn = p.topic_arn },
    { for field, secret in p.secrets : field => aws_ssm_parameter.secret[secret].name },
  )]
  heartbeat = [for h in var.heartbeat[*] : merge(
    jsondecode(replace(h.json, "{region}", var.region)),
    { for field, secret in h.secrets : field => aws_ssm_parameter.secret[secret].name },
  )]
}

# The code: a package is stored under its hash, so an object never changes and
# a function is updated exactly when its package is another one.

resource "aws_s3_bucket" "code" {
  bucket        = "${var.name}-code-${local.account}-${var.region}"
  force_destroy = true
}

resource "aws_s3_bucket_ownership_controls" "code" {
  bucket = aws_s3_bucket.code.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "code" {
  bucket                  = aws_s3_bucket.code.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "code" {
  bucket = aws_s3_bucket.code.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "code" {
  bucket = aws_s3_bucket.code.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# A superseded package is deleted by Terraform, and its versions with it; what stays
# behind, such as after an upload again, expires. No rule is for current objects:
# Terraform would find the package of the deployed version missing.
resource "aws_s3_bucket_lifecycle_configuration" "code" {
  bucket = aws_s3_bucket_versioning.code.bucket # versioning first

  rule {
    id     = "superseded"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    expiration {
      expired_object_delete_marker = true
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

data "aws_iam_policy_document" "code" {
  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.code.arn, "${aws_s3_bucket.code.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "code" {
  bucket = aws_s3_bucket.code.id
  policy = data.aws_iam_policy_document.code.json

  depends_on = [aws_s3_bucket_public_access_block.code]
}

resource "aws_s3_object" "code" {
  bucket      = aws_s3_bucket_versioning.code.bucket # versioning first
  key         = "responder/${filesha256(var.package)}.zip"
  source      = var.package
  source_hash = filemd5(var.package)

  lifecycle {
    precondition {
      condition     = try(local.provenance.version, var.release) == var.release
      error_message = "${var.package} was built from version ${try(local.provenance.version, "")}, and this is version ${var.release}: run `make build`, or take the zip of this version."
    }
  }

  # An object takes 10 tags at most, and the bucket carries them anyway.
  override_provider {
    default_tags {
      tags = {}
    }
  }

  depends_on = [
    aws_s3_bucket_ownership_controls.code,
    aws_s3_bucket_policy.code,
    aws_s3_bucket_server_side_encryption_configuration.code,
  ]
}

# The secrets: write-only, so that neither the state nor a plan holds them.
#
# Without a value, version 1 writes "unset", which the function treats as
# missing: a first deployment works, and whoever puts the value in by hand keeps
# it. Later versions want the value, but only in the plan that writes it: what
# version is stored stands in a parameter beside them. (The resource alone could
# not tell: a plan does not see its own prior state, and a write that AWS refuses
# would count as written in Terraform's.)

data "aws_ssm_parameters_by_path" "secrets_version" {
  path = "/${var.name}/secrets-version"
}

locals {
  stored_version = try(tonumber(nonsensitive(one(data.aws_ssm_parameters_by_path.secrets_version.values))), null)
  # One that differs per region has {region} in it. Empty ones count as none.
  secret_values   = { for key, variable in local.secrets : key => try(replace(var.secrets[key], "{region}", var.region), "") }
  missing_secrets = [for key, value in local.secret_values : key if value == ""]
}

resource "aws_ssm_parameter" "secret" {
  for_each = local.secrets

  name             = "/${var.name}/secrets/${each.key}"
  type             = "SecureString"
  description      = "Written by Terraform when secrets_version rises." # never to change: the provider would send an empty value along
  value_wo_version = var.secrets_version
  # Never empty: at a change of tags the provider would read the stored value
  # into the state.
  value_wo = coalesce(local.secret_values[each.key], "unset")

  lifecycle {
    precondition {
      condition     = var.secrets_version == coalesce(local.stored_version, 1) || length(local.missing_secrets) == 0
      error_message = "secrets_version = ${var.secrets_version} writes the secrets of ${var.name} in ${var.region} again (${local.stored_version == null ? "none are" : "version ${local.stored_version} is"} stored), so all of them are needed: set ${join(" and ", values(local.secrets))}. The stored ones stay as they are."
    }
  }
}

resource "aws_ssm_parameter" "secrets_version" {
  name           = "${data.aws_ssm_parameters_by_path.secrets_version.path}/stored"
  description    = "The secrets_version that is stored."
  type           = "String"
  insecure_value = var.secrets_version

  depends_on = [aws_ssm_parameter.secret]
}

# The log group comes before the function, which would else make its own,
# without retention.

resource "aws_cloudwatch_log_group" "function" {
  name              = local.log_group
  retention_in_days = var.function.log_retention_days
}

# What the function may do.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  name                 = local.role_name
  description          = "The checks of ${var.name} in ${var.region}, its reboots and its messages."
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  path                 = var.roles.path
  permissions_boundary = var.roles.permissions_boundary
}

locals {
  ssm_parameters = concat(
    ["${trimprefix(local.settings_path, "/")}*"],
    [for key in keys(local.secrets) : "${var.name}/secrets/${key}"],
    [for parameter in distinct(flatten([for i in values(var.instances) : i.secret_parameters])) : trimprefix(parameter, "/")],
  )
  ssm_arns = [for p in local.ssm_parameters : "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/${p}"]

  instance_arns     = [for id in keys(var.instances) : "arn:${local.partition}:ec2:${var.region}:${local.account}:instance/${id}"]
  health_check_arns = [for id in distinct([for i in values(var.instances) : i.health_check_id if i.health_check_id != ""]) : "arn:${local.partition}:route53:::healthcheck/${id}"]

  # A list of ARNs soon exceeds what a policy holds. As many as fit go into the
  # role's own policy, the others into managed policies
  # (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html;
  # white space is not counted). What the other statements and the frame of a
  # policy take is set aside; the preconditions below weigh the result. (They can
  # do so in a plan as long as the documents mention no resource: Terraform would
  # read them in the apply.)
  exact_arns     = concat(local.instance_arns, local.health_check_arns)
  arn_size       = max(1, [for a in local.exact_arns : length(a) + 3]...)
  inline_size    = 10240 - 2700 - sum([for a in concat(local.ssm_arns, local.probe_arns) : length(a) + 3]) - sum(concat([0], [for a in local.topic_arns : length(a) + 80], [for a in keys(local.foreign_topics) : length(a) + 330]))
  inline_slots   = min(length(local.exact_arns), max(0, floor(local.inline_size / local.arn_size)))
  managed_slots  = floor((6144 - 250) / local.arn_size)
  managed_chunks = chunklist(slice(local.exact_arns, local.inline_slots, length(local.exact_arns)), local.managed_slots)
  inline_arns    = slice(local.exact_arns, 0, local.inline_slots)
}

data "aws_iam_policy_document" "function" {
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${var.region}:${local.account}:log-group:${local.log_group}:*"]
  }

  statement {
    sid       = "Trace"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"] # X-Ray has no resource level here
  }

  # Which other instances there are that could answer: before a reboot without a
  # Route 53 health check.
  statement {
    sid       = "ListSettings"
    actions   = ["ssm:GetParametersByPath"]
    resources = ["arn:${local.partition}:ssm:${var.region}:${local.account}:parameter${trimsuffix(local.settings_path, "/")}"]
  }

  # Settings and secrets. No kms:Decrypt: they are encrypted with alias/aws/ssm,
  # whose key policy lets every principal of the account decrypt through SSM. A
  # parameter for a secret header that has a customer key needs that key's
  # policy to admit this role.
  statement {
    sid       = "ReadParameters"
    actions   = ["ssm:GetParameter"]
    resources = local.ssm_arns
  }

  statement {
    sid       = "FindInstance"
    actions   = ["ec2:DescribeInstanceCreditSpecifications", "ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeSecurityGroups"]
    resources = ["*"] # Describe calls have no resource level
  }

  statement {
    sid       = "AskMetrics"
    actions   = ["cloudwatch:GetMetricData", "cloudwatch:ListMetrics"]
    resources = ["*"] # metrics have no resource level
  }

  statement {
    sid       = "ListHealthChecks"
    actions   = ["route53:ListHealthChecks"]
    resources = ["*"] # listing has no resource level
  }

  dynamic "statement" {
    for_each = length(local.probe_arns) > 0 ? [local.probe_arns] : []

    content {
      sid       = "AskPeers"
      actions   = ["lambda:InvokeFunction"]
      resources = statement.value
    }
  }

  statement {
    sid     = "AskAlarm"
    actions = ["cloudwatch:DescribeAlarms"]
    # CloudWatch checks for all alarms, whichever names are asked for.
    resources = ["arn:${local.partition}:cloudwatch:${var.region}:${local.account}:alarm:*"]
  }

  # A transaction needs the rights of what it consists of: updates alone.
  statement {
    sid       = "Remember"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:UpdateItem"]
    resources = ["arn:${local.partition}:dynamodb:${var.region}:${local.account}:table/${var.table_name}"]
  }

  statement {
    sid       = "StartIncident"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine_arn]
  }

  # The key of the deployment's own topic admits this role (modules/topic). Of
  # another account the topic's policy must admit it, and its key's.
  dynamic "statement" {
    for_each = local.topic_arns

    content {
      sid       = "Page"
      actions   = ["sns:Publish"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = local.foreign_topics

    content {
      sid       = "PageEncrypted"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = ["arn:${local.partition}:kms:${statement.value.region}:${statement.value.account}:key/*"] # for this one topic only:

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [statement.value.service]
      }

      condition {
        test     = "StringEquals"
        variable = "kms:EncryptionContext:aws:sns:topicArn"
        values   = [statement.key]
      }
    }
  }

  # Whether the execution that holds a lease has ended.
  statement {
    sid       = "AskExecution"
    actions   = ["states:DescribeExecution"]
    resources = [local.execution_arns]
  }

  dynamic "statement" {
    for_each = [for s in local.exact_statements : s if length(setintersection(s.arns, local.inline_arns)) > 0]

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = setintersection(statement.value.arns, local.inline_arns)
    }
  }

  # Lambda's use of a VPC, also without one: Lambda leaves a VPC up to 20 minutes
  # after the function, with this right, and each published version keeps the VPC
  # that it was made with
  # (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html).
  statement {
    sid       = "JoinVPC"
    actions   = local.vpc_actions
    resources = ["*"] # Lambda checks for exactly this before it joins a VPC
  }

  # Not for the function's own code, whose calls alone carry this key
  # (https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html).
  statement {
    sid       = "JoinVPCByLambdaOnly"
    effect    = "Deny"
    actions   = local.vpc_actions
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "lambda:SourceFunctionArn"
      values   = ["arn:${local.partition}:lambda:${var.region}:${local.account}:function:${local.function_name}"]
    }
  }
}

locals {
  vpc_actions = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
  ]
  exact_statements = [
    { sid = "Reboot", actions = ["ec2:GetConsoleOutput", "ec2:RebootInstances"], arns = local.instance_arns },
    { sid = "AskHealthCheck", actions = ["route53:GetHealthCheck", "route53:GetHealthCheckStatus"], arns = local.health_check_arns },
  ]
}

resource "aws_iam_role_policy" "function" {
  name   = "responder"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.function.json

  lifecycle {
    precondition {
      condition     = local.inline_size >= 0 && length(data.aws_iam_policy_document.function.minified_json) <= 10240
      error_message = "The function's policy in ${var.region} is longer than the 10240 characters that IAM allows: ${length(local.ssm_arns)} SSM parameters are too many; let instances share the parameters of their secret headers."
    }
    precondition {
      condition     = length(local.managed_chunks) <= var.function.managed_policies
      error_message = "${var.region} names ${length(local.instance_arns)} instances and ${length(local.health_check_arns)} health checks; the function's role holds ${local.inline_slots + local.managed_slots * var.function.managed_policies} of both (a policy of 10240 characters and ${var.function.managed_policies} managed policies of 6144). Take some out, split them over two deployments (name), or have IAM's quota \"managed policies per role\" raised and set function.managed_policies."
    }
  }
}

data "aws_iam_policy_document" "exact" {
  count = length(local.managed_chunks)

  dynamic "statement" {
    for_each = [for s in local.exact_statements : s if length(setintersection(s.arns, local.managed_chunks[count.index])) > 0]

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = setintersection(statement.value.arns, local.managed_chunks[count.index])
    }
  }
}

resource "aws_iam_policy" "exact" {
  count = length(local.managed_chunks)

  name        = "${local.role_name}-${count.index + 1}"
  path        = var.roles.path
  description = "The instances and health checks of ${var.name} in ${var.region}, part ${count.index + 1}."
  policy      = data.aws_iam_policy_document.exact[count.index].json

  lifecycle {
    precondition {
      condition     = length(data.aws_iam_policy_document.exact[count.index].minified_json) <= 6144
      error_message = "A managed policy for the function in ${var.region} is longer than the 6144 characters that IAM allows."
    }
  }
}

resource "aws_iam_role_policy_attachment" "exact" {
  count = length(local.managed_chunks)

  role       = aws_iam_role.function.name
  policy_arn = aws_iam_policy.exact[count.index].arn
}

# No reserved concurrency: it would be taken from everybody else's, and new
# accounts have none to spare; the state machine waits when it is throttled.

resource "aws_lambda_function" "responder" {
  function_name    = local.function_name
  description      = "One step of an incident: ${var.name}."
  role             = aws_iam_role.function.arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.function.architecture]
  s3_bucket        = aws_s3_object.code.bucket
  s3_key           = aws_s3_object.code.key
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.function.memory_mb
  timeout          = 60   # as long as a check's Task waits
  publish          = true # running incidents keep the version that they began with
  # Here alone: a release would change every resource of the deployment otherwise.
  tags = { for key, value in { version = var.release, commit = local.commit } : key => value if value != "" }

  environment {
    variables = merge({
      # A cold start leaves less garbage than a first collection would take time
      # for: it comes at 8 MB of heap instead of 4.
      GOGC = "200"

      FIRSTLINE_NAME              = var.name
      FIRSTLINE_SETTINGS_PATH     = local.settings_path
      FIRSTLINE_LOG_LEVEL         = var.function.log_level
      FIRSTLINE_VPC               = tostring(var.vpc != null) # outside of one, a private address is a mistake
      FIRSTLINE_PAGERS            = jsonencode(local.pagers)
      FIRSTLINE_TABLE             = var.table_name
      FIRSTLINE_STATE_MACHINE_ARN = local.state_machine_arn
      FIRSTLINE_ALARM_PREFIX      = var.alarm_prefix
      FIRSTLINE_BREAKER           = jsonencode(var.breaker)
      FIRSTLINE_VANTAGE           = jsonencode(merge(var.vantage, { function = local.probe_name }))
      }, concat([for slack in var.slack[*] : {
        FIRSTLINE_SLACK_CHANNEL_ID      = slack.channel_id
        FIRSTLINE_SLACK_API_URL         = slack.api_url
        FIRSTLINE_SLACK_TOKEN_PARAMETER = aws_ssm_parameter.secret["slack-token"].name
        FIRSTLINE_SLACK_PAGES           = tostring(slack.pages)
        FIRSTLINE_SLACK_MENTION         = slack.mention
    }], [for heartbeat in local.heartbeat : { FIRSTLINE_HEARTBEAT = jsonencode(heartbeat) }])...)
  }

  logging_config {
    log_format            = "JSON"
    log_group             = aws_cloudwatch_log_group.function.name
    application_log_level = upper(var.function.log_level)
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = "Active"
  }

  dynamic "vpc_config" {
    for_each = var.vpc[*]

    content {
      subnet_ids                  = vpc_config.value.subnet_ids
      security_group_ids          = vpc_config.value.security_group_ids
      ipv6_allowed_for_dual_stack = vpc_config.value.ipv6
    }
  }

  # Lambda looks at the role's rights when it joins a VPC.
  depends_on = [aws_iam_role_policy.function, aws_iam_role_policy_attachment.exact]
}
