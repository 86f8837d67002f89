output "name" {
  description = "Name of the table of leases, reboots, pauses and incidents."
  value       = aws_dynamodb_table.incidents.name
}
