# These are `any` on purpose: Terraform drops attributes that an object type
# does not name, so a misspelt setting would vanish without a word. schema.tf
# says what may be said; the output is typed.

variable "regions" {
  description = "What to watch: region => { instances = { instance id => overrides }, vpc = { subnet_ids, security_group_ids, ipv6 } }. schema.tf lists the settings of an instance."
  type        = any
}

variable "defaults" {
  description = "Settings for every instance: built-in default < defaults < instance."
  type        = any
  default     = {}
}

variable "slack" {
  description = "Where Slack messages go: { channel_id, api_url, pages, mention }; null: no Slack."
  type        = any
  default     = null
}

variable "pagers" {
  description = "Who wakes people, in order of fallback: any of \"opsgenie\", \"jsm\", \"pagerduty\", \"webhook\" and \"sns\"; null: those that have a block, in this order. []: none, so that Slack takes pages."
  type        = any
  default     = null
}

variable "opsgenie" {
  description = "OpsGenie: { endpoint, team_id, responders, priority, priority_unknown, tags, details, entity, source }."
  type        = any
  default     = null
}

variable "jsm" {
  description = "Jira Service Management, as opsgenie, and cloud_id and email."
  type        = any
  default     = null
}

variable "pagerduty" {
  description = "PagerDuty: { endpoint, severity, severity_unknown, group, class, component, details }."
  type        = any
  default     = null
}

variable "webhook" {
  description = "A signed webhook: { url }."
  type        = any
  default     = null
}

variable "heartbeat" {
  description = "What reconcile pings: { service, name, failure_suffix }."
  type        = any
  default     = null
}

variable "sns" {
  description = "An SNS topic: { topic_arn }; without one, the topic of subscribers."
  type        = any
  default     = null
}

variable "function" {
  description = "The shape of the Lambda function: { package, architecture, memory_mb, log_retention_days, log_level, managed_policies }."
  type        = any
  default     = {}
}

variable "breaker" {
  description = "The most reboots per region before the breaker opens: { in_flight, per_hour }; 0 means never reboot."
  type        = any
  default     = {}
}

variable "reconcile" {
  description = "How often reconcile runs, which starts a look wherever one is due: { every_minutes }."
  type        = any
  default     = {}
}

variable "vantage" {
  description = "Whom a region asks before a reboot: { peers, required, reserved_concurrency }."
  type        = any
  default     = {}
}

variable "subscribers" {
  description = "Who is told about the deployment's own alarms, as given to modules/region; checked only for being empty."
  type        = any
  default     = null
}
