output "name" {
  description = "Name of the table: instances, the region, alerts and records."
  value       = aws_dynamodb_table.incidents.name
}
