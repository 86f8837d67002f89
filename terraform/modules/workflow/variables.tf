variable "name" {
  description = "Name of the state machine and prefix of what belongs to it."
  type        = string
}

variable "region" {
  description = "Name of the region."
  type        = string
}

variable "function_arn" {
  description = "ARN of a published version of the function."
  type        = string
}

variable "function_unqualified_arn" {
  description = "ARN of the function without a version."
  type        = string
}

variable "log_retention_days" {
  description = "How long executions' logs are kept."
  type        = number
}

variable "roles" {
  description = "Path of every role and managed policy, and the ARN of every role's permissions boundary; null: none."
  type = object({
    path                 = string
    permissions_boundary = string
  })
}
