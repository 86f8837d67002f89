variable "deployment" {
  description = "What all regions have in common: name is the prefix of every name, version is that of this code (the function has it as a tag), slack to vantage are module.settings.deployment's, subscribers are told about the deployment's own alarms (pass [] explicitly to notify nobody), secrets_version writes the secrets again when it rises, role_path and permissions_boundary (an ARN) are of every role."
  type = object({
    name    = string
    version = string
    slack = optional(object({
      channel_id = string
      api_url    = string
      pages      = bool
      mention    = string
    }))
    pagers = list(object({
      type      = string
      json      = string
      topic_arn = string
      secrets   = map(string)
    }))
    heartbeat = optional(object({
      json    = string
      secrets = map(string)
    }))
    function = object({
      package            = string
      architecture       = string
      memory_mb          = number
      log_retention_days = number
      log_level          = string
      managed_policies   = number
    })
    breaker   = object({ in_flight = number, per_hour = number })
    reconcile = object({ every_minutes = number })
    vantage   = object({ required = bool, reserved_concurrency = number })
    subscribers = list(object({
      protocol = string
      endpoint = string
    }))
    secrets_version      = optional(number, 1)
    role_path            = optional(string, "/")
    permissions_boundary = optional(string)
  })

  # The longest name made of it is the code bucket's: NAME-code-ACCOUNT-REGION,
  # 63 characters at most. SSM keeps names that begin with aws or ssm to itself.
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.deployment.name)) && length(var.deployment.name) <= 28 && !can(regex("^(aws|ssm)|-(alarm|self|responder|probe)(-|$)", var.deployment.name))
    error_message = "name = \"${var.deployment.name}\": use up to 28 lower-case letters, digits and single hyphens, beginning with a letter, not with aws or ssm, without -alarm, -self, -responder or -probe, which stand in the names of what a deployment makes."
  }

  validation {
    condition     = var.deployment.subscribers != null
    error_message = "subscribers: name who is told when firstline itself fails, such as [{ protocol = \"email\", endpoint = \"oncall@example.com\" }]. Pass [] explicitly to notify nobody."
  }

  validation {
    condition     = length(coalesce(var.deployment.subscribers, [])) > 0 || length([for p in var.deployment.pagers : p if p.type == "sns" && p.topic_arn == ""]) == 0
    error_message = "pagers: sns without a topic_arn goes to the topic of subscribers, and there are none: name somebody in subscribers, or the ARN of a topic."
  }

  validation {
    condition = alltrue([for s in coalesce(var.deployment.subscribers, []) : try({
      email        = can(regex("^[^@\\s]+@[^@\\s]+$", s.endpoint))
      "email-json" = can(regex("^[^@\\s]+@[^@\\s]+$", s.endpoint))
      https        = can(regex("^https://[^\\s@]+$", s.endpoint))
      sms          = can(regex("^\\+[1-9][0-9]{6,14}$", s.endpoint))
      sqs          = can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}$", s.endpoint))
      lambda       = can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)?$", s.endpoint))
    }[s.protocol], false)])
    error_message = "subscribers: ${join(", ", [for s in coalesce(var.deployment.subscribers, []) : "${s.protocol} to ${s.endpoint}"])}: use email or email-json with an address, https with an https:// URL, sms with a number such as +4930123456, sqs with the ARN of a queue that is not FIFO, lambda with the ARN of a function."
  }

  validation {
    condition     = length(coalesce(var.deployment.subscribers, [])) == length(distinct([for s in coalesce(var.deployment.subscribers, []) : "${s.protocol}:${s.endpoint}"]))
    error_message = "subscribers: one is named twice."
  }

  validation {
    condition     = var.deployment.secrets_version >= 1 && floor(var.deployment.secrets_version) == var.deployment.secrets_version
    error_message = "secrets_version = ${var.deployment.secrets_version}: use a whole number from 1; raise it by one to write the secrets again."
  }

  # Patterns and lengths are IAM's
  # (https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html).
  validation {
    condition     = can(regex("^/([!-~]+/)?$", var.deployment.role_path)) && length(var.deployment.role_path) <= 512
    error_message = "role_path = \"${var.deployment.role_path}\": use a path of up to 512 characters that begins and ends with /, such as /team/ops/."
  }

  validation {
    condition     = var.deployment.permissions_boundary == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[!-~]+$", var.deployment.permissions_boundary))
    error_message = "permissions_boundary = \"${coalesce(var.deployment.permissions_boundary, "null")}\": use the ARN of an IAM policy, such as arn:aws:iam::123456789012:policy/boundary."
  }
}

variable "settings" {
  description = "What modules/settings makes of the operator's file for this region: module.settings.deployment.regions[REGION]."
  type = object({
    instances = map(object({
      json = string
      alarms = map(object({
        namespace          = string
        metric             = string
        dimensions         = map(string)
        period_seconds     = number
        statistic          = string
        threshold          = number
        evaluation_periods = number
        comparison         = string
        treat_missing_data = string
      }))
      health_check_id   = string
      secret_parameters = list(string)
    }))
    vpc = optional(object({
      subnet_ids         = list(string)
      security_group_ids = list(string)
      ipv6               = bool
    }))
    peers = list(string)
    asked = bool
  })
}

variable "secrets" {
  description = "The secrets by the names of their parameters, such as slack-token; {region} stands for the region. Never in the state or a plan; one that is null or not there leaves the stored one alone."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
}
