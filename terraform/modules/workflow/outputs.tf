output "arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.responder.arn
}

output "alarm_names" {
  description = "Names of the alarms on the state machine."
  value       = sort([for a in aws_cloudwatch_metric_alarm.executions : a.alarm_name])
}

output "log_group" {
  description = "Name of the log group of the state machine's executions."
  value       = aws_cloudwatch_log_group.executions.name
}
