output "arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.responder.arn
}

output "log_group" {
  description = "Name of the log group of the state machine's executions."
  value       = aws_cloudwatch_log_group.executions.name
}
