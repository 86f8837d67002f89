variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "state_machine_arn" {
  description = "ARN of the state machine."
  type        = string
}

variable "all_clear_state_machine_arn" {
  description = "ARN of the state machine that gives the all-clear."
  type        = string
}

variable "execution_timeout_seconds" {
  description = "How long an incident may take as a whole."
  type        = number
}

variable "function_name" {
  description = "Name of the function."
  type        = string
}

variable "rules" {
  description = "Names of the EventBridge rules: those that start incidents, all-clears and dry incidents, and that of the sweep."
  type = object({
    alarm  = string
    ok     = string
    canary = string
    sweep  = string
  })
}

variable "queue_name" {
  description = "Name of the queue for events that could not start an incident."
  type        = string
}

variable "sweep" {
  description = "How often standing alarms are looked for."
  type = object({
    every_minutes = number
  })
}

variable "alarm_actions" {
  description = "ARNs that an alarm on the deployment itself notifies."
  type        = list(string)
}
