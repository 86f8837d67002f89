output "rule_name" {
  description = "Name of the rule that starts incidents."
  value       = aws_cloudwatch_event_rule.alarm.name
}

output "canary_rule_name" {
  description = "Name of the rule that starts dry incidents."
  value       = aws_cloudwatch_event_rule.canary.name
}

output "dead_letter_queue_url" {
  description = "URL of the queue for events that could not start an incident."
  value       = aws_sqs_queue.dead_letter.url
}

output "alarm_names" {
  description = "Names of the alarms on the dead-letter queue."
  value       = [aws_cloudwatch_metric_alarm.dead_letter.alarm_name]
}
