output "rule_name" {
  description = "Name of the rule that starts incidents."
  value       = aws_cloudwatch_event_rule.alarm.name
}

output "canary_rule_name" {
  description = "Name of the rule that starts dry incidents."
  value       = aws_cloudwatch_event_rule.canary.name
}

output "reconcile_rule_name" {
  description = "Name of the rule that runs reconcile."
  value       = aws_cloudwatch_event_rule.reconcile.name
}

output "dead_letter_queue_url" {
  description = "URL of the queue for events of alarms that started no execution."
  value       = aws_sqs_queue.dead_letter.url
}

output "dead_letter_queue_name" {
  description = "Name of the queue for events of alarms that started no execution."
  value       = aws_sqs_queue.dead_letter.name
}
