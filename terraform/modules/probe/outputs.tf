output "log_group" {
  description = "Name of the log group of the function."
  value       = aws_cloudwatch_log_group.probe.name
}
