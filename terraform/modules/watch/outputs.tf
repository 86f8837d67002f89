output "alarm_names" {
  description = "Names of the alarms on the instances."
  value       = sort([for a in aws_cloudwatch_metric_alarm.cpu : a.alarm_name])
}
