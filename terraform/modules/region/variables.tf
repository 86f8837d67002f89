variable "name" {
  description = "Prefix of every name; two deployments in one account need different ones."
  type        = string
  default     = "firstline"

  # The longest name made of it is the code bucket's: NAME-code-ACCOUNT-REGION,
  # 63 characters at most. SSM keeps names that begin with aws or ssm to itself.
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name)) && length(var.name) <= 28 && !can(regex("^(aws|ssm)|-cpu(-|$)|-self(-|$)", var.name))
    error_message = "name = \"${var.name}\": use up to 28 lower-case letters, digits and single hyphens, beginning with a letter, not with aws or ssm, without -cpu or -self, which set this project's alarms apart."
  }
}

variable "settings" {
  description = "What modules/settings makes of the operator's file for this region: module.settings.deployment.regions[REGION]."
  type = object({
    instances = map(object({
      json = string
      alarm = object({
        namespace          = string
        metric             = string
        period_seconds     = number
        statistic          = string
        threshold          = number
        evaluation_periods = number
        comparison         = string
        treat_missing_data = string
      })
      health_check_id   = string
      secret_parameters = list(string)
    }))
    vpc = optional(object({
      subnet_ids         = list(string)
      security_group_ids = list(string)
      ipv6               = bool
    }))
  })
}

variable "slack" {
  description = "module.settings.deployment.slack; null: no Slack."
  type = object({
    channel_id = string
    api_url    = string
    pages      = bool
  })
  default = null
}

variable "pagers" {
  description = "module.settings.deployment.pagers"
  type = list(object({
    type      = string
    json      = string
    topic_arn = string
  }))

  validation {
    condition     = length(coalesce(var.subscribers, [])) > 0 || length([for p in var.pagers : p if p.type == "sns" && p.topic_arn == ""]) == 0
    error_message = "pagers: sns without a topic_arn goes to the topic of subscribers, and there are none: name somebody in subscribers, or the ARN of a topic."
  }
}

variable "function" {
  description = "module.settings.deployment.function"
  type = object({
    package            = string
    architecture       = string
    memory_mb          = number
    timeout_seconds    = number
    log_retention_days = number
    log_level          = string
    managed_policies   = number
  })
}

variable "breaker" {
  description = "module.settings.deployment.breaker"
  type = object({
    in_flight = number
    per_hour  = number
  })
  default = { in_flight = 2, per_hour = 6 }
}

variable "reconcile" {
  description = "module.settings.deployment.reconcile"
  type = object({
    every_minutes = number
  })
  default = { every_minutes = 5 }
}

variable "subscribers" {
  description = "Who is told about the deployment's own alarms: [{ protocol, endpoint }]. Pass [] explicitly to notify nobody."
  type = list(object({
    protocol = string
    endpoint = string
  }))
  default = null

  validation {
    condition     = var.subscribers != null
    error_message = "subscribers: name who is told when firstline itself fails, such as [{ protocol = \"email\", endpoint = \"oncall@example.com\" }]. Pass [] explicitly to notify nobody."
  }

  validation {
    condition = alltrue([for s in coalesce(var.subscribers, []) : try({
      email        = can(regex("^[^@\\s]+@[^@\\s]+$", s.endpoint))
      "email-json" = can(regex("^[^@\\s]+@[^@\\s]+$", s.endpoint))
      https        = can(regex("^https://[^\\s@]+$", s.endpoint))
      sms          = can(regex("^\\+[1-9][0-9]{6,14}$", s.endpoint))
      sqs          = can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[^\\s:]+$", s.endpoint))
      lambda       = can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:[^\\s]+$", s.endpoint))
    }[s.protocol], false)])
    error_message = "subscribers: ${join(", ", [for s in coalesce(var.subscribers, []) : "${s.protocol} to ${s.endpoint}"])}: use email or email-json with an address, https with an https:// URL, sms with a number such as +4930123456, sqs or lambda with an ARN."
  }

  validation {
    condition     = length(coalesce(var.subscribers, [])) == length(distinct([for s in coalesce(var.subscribers, []) : "${s.protocol}:${s.endpoint}"]))
    error_message = "subscribers: one is named twice."
  }
}

variable "slack_token" {
  description = "Slack bot token (scope chat:write). Never in the state or a plan; null leaves the stored one alone."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "opsgenie_api_key" {
  description = "OpsGenie API key. Never in the state or a plan; null leaves the stored one alone."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "jsm_api_key" {
  description = "Jira Service Management API key. Never in the state or a plan; null leaves the stored one alone."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "secrets_version" {
  description = "Raise it to write the secrets again."
  type        = number
  default     = 1

  validation {
    condition     = var.secrets_version >= 1 && floor(var.secrets_version) == var.secrets_version
    error_message = "secrets_version = ${var.secrets_version}: use a whole number from 1; raise it by one to write the secrets again."
  }
}
