data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
}

# A key of our own: the managed key alias/aws/sns would lock CloudWatch out, and
# nobody would notice.
data "aws_iam_policy_document" "key" {
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"] # in a key's policy: this key

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "CloudWatchAlarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"] # in a key's policy: this key

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # Whoever publishes has the topic's key used in its own name. The role stands in a
  # condition: as a principal it would be kept by its inner id, and a role that is
  # made anew would be locked out.
  dynamic "statement" {
    for_each = var.publisher_role_arns

    content {
      sid       = "Pages"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
      resources = ["*"] # in a key's policy: this key

      principals {
        type        = "AWS"
        identifiers = ["*"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:PrincipalArn"
        values   = [statement.value]
      }

      condition {
        test     = "StringEquals"
        variable = "kms:CallerAccount"
        values   = [local.account]
      }
    }
  }
}

resource "aws_kms_key" "topic" {
  description             = "The topic ${var.name}-self."
  is_enabled              = true
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.key.json

  # Whoever deploys may touch the keys with this tag, and no other: a key has no name
  # before it has an alias (deployer/).
  tags = { deployment = var.name }
}

resource "aws_kms_alias" "topic" {
  name          = "alias/${var.name}-self"
  target_key_id = aws_kms_key.topic.key_id
}

resource "aws_sns_topic" "self" {
  name              = "${var.name}-self"
  display_name      = var.name
  kms_master_key_id = aws_kms_key.topic.arn
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.self.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:cloudwatch:${var.region}:${local.account}:alarm:${var.name}-self-*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.self.arn]

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

resource "aws_sns_topic_policy" "self" {
  arn    = aws_sns_topic.self.arn
  policy = data.aws_iam_policy_document.topic.json
}

locals {
  # Only the other account can confirm a subscription of its queue or function, and
  # the provider gives up on one that nobody confirms within two minutes.
  subscribers = { for s in var.subscribers : "${s.protocol}:${s.endpoint}" => merge(s, {
    elsewhere = contains(["sqs", "lambda"], s.protocol) && !try(split(":", s.endpoint)[1] == local.partition && split(":", s.endpoint)[4] == local.account, false)
  }) }
  functions = { for key, s in local.subscribers : key => split(":", s.endpoint) if s.protocol == "lambda" && !s.elsewhere && try(split(":", s.endpoint)[3] == var.region, false) }
}

resource "aws_sns_topic_subscription" "subscriber" {
  for_each = local.subscribers

  topic_arn = aws_sns_topic.self.arn
  protocol  = each.value.protocol
  endpoint  = each.value.endpoint

  lifecycle {
    precondition {
      condition     = !each.value.elsewhere
      error_message = "subscribers: ${each.value.protocol} to ${each.value.endpoint} is not of account ${local.account} (${local.partition}): only that account could confirm the subscription. Use email, https, sms, or a queue or function of this account."
    }
  }
}

# A function refuses what its own policy does not permit, and SNS drops the message.
# One of another region needs a provider of that region, so its permission is its
# owner's, as the policy of a queue is, which is one document.
resource "aws_lambda_permission" "subscriber" {
  for_each = local.functions

  statement_id  = "${var.name}-self"
  action        = "lambda:InvokeFunction"
  function_name = each.value[6]
  qualifier     = try(each.value[7], null)
  principal     = "sns.amazonaws.com"
  source_arn    = aws_sns_topic.self.arn
}
