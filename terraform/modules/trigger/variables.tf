variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "region" {
  description = "Name of the region."
  type        = string
}

variable "alarm_prefix" {
  description = "Prefix of the names of the alarms that start an incident."
  type        = string
}

variable "state_machine_arn" {
  description = "ARN of the state machine to start."
  type        = string
}

variable "function_name" {
  description = "Name of the function."
  type        = string
}

variable "function_arn" {
  description = "ARN of the function without a version."
  type        = string
}

variable "reconcile" {
  description = "How often reconcile runs."
  type = object({
    every_minutes = number
  })
}

variable "roles" {
  description = "Path of every role and managed policy, and the ARN of every role's permissions boundary; null: none."
  type = object({
    path                 = string
    permissions_boundary = string
  })
}
