output "region" {
  description = "Name of the region."
  value       = local.region
}

output "version" {
  description = "Version of the code that was applied here last."
  value       = var.deployment.version
}

output "commit" {
  description = "Commit that the function was built from; empty where that is not known."
  value       = module.function.commit
}

output "account_id" {
  description = "Id of the account."
  value       = data.aws_caller_identity.current.account_id
}

output "name" {
  description = "Prefix of every name."
  value       = var.deployment.name
}

output "state_machine_arn" {
  description = "ARN of the state machine; one execution is one incident."
  value       = module.workflow.arn
}

output "pagers" {
  description = "Who wakes people, in order of fallback: their types, such as opsgenie."
  value       = [for p in var.deployment.pagers : p.type]
}

output "pager_topic_arn" {
  description = "ARN of the topic that pages go to by sns, which may be of another region and account; \"\" where sns is not among the pagers."
  value       = join("", [for p in local.pagers : p.topic_arn if p.type == "sns"])
}

output "function_name" {
  description = "Name of the Lambda function."
  value       = module.function.name
}

output "function_arn" {
  description = "ARN of the published version of the function that incidents call."
  value       = module.function.arn
}

output "rule_name" {
  description = "Name of the EventBridge rule that starts incidents."
  value       = module.trigger.rule_name
}

output "canary_rule_name" {
  description = "Name of the EventBridge rule that starts dry incidents."
  value       = module.trigger.canary_rule_name
}

output "reconcile_rule_name" {
  description = "Name of the EventBridge rule that runs reconcile."
  value       = module.trigger.reconcile_rule_name
}

output "table_name" {
  description = "Name of the DynamoDB table: instances, the region, alerts and records."
  value       = module.table.name
}

output "dead_letter_queue_url" {
  description = "URL of the queue for events of alarms that started no execution."
  value       = module.trigger.dead_letter_queue_url
}

output "alarm_topic_arn" {
  description = "ARN of the topic of the deployment's own alarms, and of pages where sns names no other; null without subscribers."
  value       = one(module.topic[*].arn)
}

output "alarm_names" {
  description = "Names of the alarms on the instances; each starts an incident."
  value       = module.watch.alarm_names
}

output "self_alarm_names" {
  description = "Names of the alarms on the deployment itself."
  value       = module.monitor.alarm_names
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard of this region."
  value       = module.monitor.dashboard_name
}

output "instance_ids" {
  description = "Ids of the instances that are watched."
  value       = sort(keys(var.settings.instances))
}

output "function_log_group" {
  description = "Name of the log group of the function."
  value       = module.function.log_group
}

output "probe_log_group" {
  description = "Name of the log group of the probe, which other regions ask; null where none does."
  value       = one(module.probe[*].log_group)
}

output "execution_log_group" {
  description = "Name of the log group of the state machine's executions."
  value       = module.workflow.log_group
}
