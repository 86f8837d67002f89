output "arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.responder.arn
}

output "all_clear_arn" {
  description = "ARN of the state machine that gives the all-clear."
  value       = aws_sfn_state_machine.all_clear.arn
}

output "log_group" {
  description = "Name of the log group of both state machines' executions."
  value       = aws_cloudwatch_log_group.executions.name
}
