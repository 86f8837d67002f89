variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "region" {
  description = "Name of the region."
  type        = string
}

variable "state_machine_arn" {
  description = "ARN of the state machine."
  type        = string
}

variable "function_name" {
  description = "Name of the function."
  type        = string
}

variable "rules" {
  description = "Names of the EventBridge rules: those that start incidents and dry incidents, and that of reconcile."
  type = object({
    alarm     = string
    canary    = string
    reconcile = string
  })
}

variable "queue_name" {
  description = "Name of the queue for events that could not start an incident."
  type        = string
}

variable "reconcile" {
  description = "How often reconcile runs."
  type = object({
    every_minutes = number
  })
}

variable "alarm_actions" {
  description = "ARNs that an alarm on the deployment itself notifies."
  type        = list(string)
}
