data "aws_partition" "current" {}
data "aws_region" "current" {}
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
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.key.json
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
      values   = ["arn:${local.partition}:cloudwatch:${data.aws_region.current.id}:${local.account}:alarm:${var.name}-self-*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "self" {
  arn    = aws_sns_topic.self.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "subscriber" {
  for_each = { for s in var.subscribers : "${s.protocol}:${s.endpoint}" => s }

  topic_arn = aws_sns_topic.self.arn
  protocol  = each.value.protocol
  endpoint  = each.value.endpoint
}
