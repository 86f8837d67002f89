# These are `any` on purpose: Terraform drops attributes that an object type
# does not name, so a misspelt setting would vanish without a word. schema.tf
# says what may be said; the output is typed.

variable "regions" {
  description = "What to watch: region => { instances = { instance id => overrides }, vpc = { subnet_ids, security_group_ids, ipv6 } }. schema.tf lists the settings of an instance."
  type        = any
}

variable "defaults" {
  description = "Settings under every instance: built-in default < defaults < instance."
  type        = any
  default     = {}
}

variable "slack" {
  description = "Where Slack messages go: { channel_id, api_url }."
  type        = any
}

variable "opsgenie" {
  description = "Where pages go: { team_id, endpoint, priority }."
  type        = any
  default     = {}
}

variable "function" {
  description = "The shape of the Lambda function: { package, architecture, memory_mb, timeout_seconds, log_retention_days, log_level, managed_policies }."
  type        = any
  default     = {}
}

variable "brake" {
  description = "The most reboots of a region: { in_flight, per_hour }."
  type        = any
  default     = {}
}

variable "sweep" {
  description = "How often alarms are looked for that stay on: { every_minutes }."
  type        = any
  default     = {}
}

variable "execution_timeout_seconds" {
  description = "How long an incident may take as a whole; the longest boot window must fit with 7200 s to spare, which is what all else of an incident may take (test/contract_test.go)."
  type        = number
  default     = 10800
}
