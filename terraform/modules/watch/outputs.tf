output "alarm_names" {
  description = "Names of the alarms on the instances."
  value       = sort([for a in aws_cloudwatch_metric_alarm.trigger : a.alarm_name])
}
