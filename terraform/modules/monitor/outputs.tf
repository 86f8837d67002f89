output "alarm_names" {
  description = "Names of the alarms on the deployment itself."
  value       = sort(concat([for a in aws_cloudwatch_metric_alarm.self : a.alarm_name], [aws_cloudwatch_metric_alarm.reconcile.alarm_name]))
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard of this region."
  value       = aws_cloudwatch_dashboard.region.dashboard_name
}
