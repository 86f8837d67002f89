variable "name" {
  description = "Name of the state machine and prefix of what belongs to it."
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

variable "execution_timeout_seconds" {
  description = "How long an incident may take as a whole."
  type        = number
}

variable "all_clear" {
  description = "How often, and for how long after a page, it is looked whether the instance is well again."
  type = object({
    every_minutes = number
    for_minutes   = number
  })
}

variable "log_retention_days" {
  description = "How long executions' logs are kept."
  type        = number
}
