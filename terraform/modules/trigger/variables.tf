variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "alarm_prefix" {
  description = "What the names of the alarms begin with that start an incident."
  type        = string
}

variable "state_machine_arn" {
  description = "ARN of the state machine to start."
  type        = string
}

variable "all_clear_state_machine_arn" {
  description = "ARN of the state machine to start when such an alarm returns to OK."
  type        = string
}

variable "function_name" {
  description = "Name of the function that sweeps."
  type        = string
}

variable "function_arn" {
  description = "ARN of the function without a version."
  type        = string
}

variable "sweep" {
  description = "How often standing alarms are looked for."
  type = object({
    every_minutes = number
  })
}
