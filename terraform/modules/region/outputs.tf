output "state_machine_arn" {
  description = "ARN of the state machine; one execution is one incident."
  value       = module.workflow.arn
}

output "function_name" {
  description = "Name of the Lambda function."
  value       = module.function.name
}

output "rule_name" {
  description = "Name of the EventBridge rule that starts incidents."
  value       = module.trigger.rule_name
}

output "dead_letter_queue_url" {
  description = "URL of the queue for events that could not start an incident."
  value       = module.trigger.dead_letter_queue_url
}

output "alarm_topic_arn" {
  description = "ARN of the topic of the deployment's own alarms; null without subscribers."
  value       = one(module.topic[*].arn)
}

output "alarm_names" {
  description = "Names of the alarms on the instances; each starts an incident."
  value       = module.watch.alarm_names
}

output "self_alarm_names" {
  description = "Names of the alarms on the deployment itself."
  value       = sort(concat(module.workflow.alarm_names, module.trigger.alarm_names))
}
