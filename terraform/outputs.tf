locals {
  deployed = { for region, modules in local.region_modules : region => modules[0] if length(modules) > 0 }
}

output "version" {
  description = "Version of this code."
  value       = local.version
}

output "state_machine_arns" {
  description = "Region => ARN of the state machine; one execution is one incident."
  value       = { for region, r in local.deployed : region => r.state_machine_arn }
}

output "function_names" {
  description = "Region => name of the Lambda function."
  value       = { for region, r in local.deployed : region => r.function_name }
}

output "rule_names" {
  description = "Region => name of the EventBridge rule that starts incidents."
  value       = { for region, r in local.deployed : region => r.rule_name }
}

output "dead_letter_queue_urls" {
  description = "Region => URL of the queue for events that could not start an incident."
  value       = { for region, r in local.deployed : region => r.dead_letter_queue_url }
}

output "alarm_topic_arns" {
  description = "Region => ARN of the topic of the deployment's own alarms; null without subscribers."
  value       = { for region, r in local.deployed : region => r.alarm_topic_arn }
}

output "alarm_names" {
  description = "Region => names of the alarms on the instances; each starts an incident."
  value       = { for region, r in local.deployed : region => r.alarm_names }
}

output "self_alarm_names" {
  description = "Region => names of the alarms on the deployment itself."
  value       = { for region, r in local.deployed : region => r.self_alarm_names }
}
