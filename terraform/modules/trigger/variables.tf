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

variable "alarm_actions" {
  description = "ARNs that the alarm on the dead-letter queue notifies."
  type        = list(string)
}
