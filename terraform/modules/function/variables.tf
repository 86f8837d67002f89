variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "release" {
  description = "Version of this code, for the function's tag."
  type        = string
}

variable "region" {
  description = "Name of the region."
  type        = string
}

variable "package" {
  description = "Path of the function's zip, for the architecture below. What it was built from is read from the file of this name and .json, if there is one."
  type        = string

  validation {
    condition     = fileexists(var.package)
    error_message = "There is no file ${var.package}: run `make build`, or name the zip."
  }
}

variable "function" {
  description = "Shape of the function; managed_policies is how many managed policies the account may attach to a role (AWS: 10, up to 25 on request)."
  type = object({
    architecture       = string
    memory_mb          = number
    log_retention_days = number
    log_level          = string
    managed_policies   = number
  })
}

variable "slack" {
  description = "Where Slack messages go; null: no Slack. An empty api_url is Slack's own; pages says whether a page is told there too, mention whom a message mentions that is the page."
  type = object({
    channel_id = string
    api_url    = string
    pages      = bool
    mention    = string
  })
  default = null
}

variable "pagers" {
  description = "Who wakes people, in order of fallback: its type, its settings as the function reads them (JSON, modules/settings), the topic of sns, and its secrets: field of the JSON that names the parameter => secret."
  type = list(object({
    type      = string
    json      = string
    topic_arn = string
    secrets   = map(string)
  }))
}

variable "heartbeat" {
  description = "What reconcile pings, as a pager; {region} stands for the region. null: nothing."
  type = object({
    json    = string
    secrets = map(string)
  })
  default = null
}

variable "instances" {
  description = "What the function may touch: instance id => its health check (empty: none) and the SSM parameters of its secret headers."
  type = map(object({
    health_check_id   = string
    secret_parameters = list(string)
  }))
}

variable "table_name" {
  description = "Name of the table: instances, the region, alerts and records."
  type        = string
}

variable "state_machine_name" {
  description = "Name of the state machine, whose executions reconcile starts and asks about."
  type        = string
}

variable "alarm_prefix" {
  description = "Prefix of the names of the alarms that start an incident."
  type        = string
}

variable "breaker" {
  description = "How many reboots may be in flight at once in this region, and how many may be made within an hour, before the breaker opens; 0 means never reboot."
  type = object({
    in_flight = number
    per_hour  = number
  })
}

variable "vantage" {
  description = "The regions whose probes are asked before a reboot, and whether one of them must confirm."
  type = object({
    peers    = list(string)
    required = bool
  })
}

variable "vpc" {
  description = "Subnets and security groups of the function; null: it runs outside any VPC."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    ipv6               = bool
  })
  default = null
}

variable "secrets" {
  description = "The secrets by the names of their parameters, such as slack-token; {region} stands for the region. One that is null or not there leaves the stored one alone."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
}

variable "secrets_version" {
  description = "Raise it to write the secrets again."
  type        = number
  default     = 1
}

variable "roles" {
  description = "Path of every role and managed policy, and the ARN of every role's permissions boundary; null: none."
  type = object({
    path                 = string
    permissions_boundary = string
  })
}
