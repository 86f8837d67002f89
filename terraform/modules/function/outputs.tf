output "arn" {
  description = "ARN of the published version of the function; definitions call this one."
  value       = aws_lambda_function.responder.qualified_arn
}

output "unqualified_arn" {
  description = "ARN of the function without a version."
  value       = aws_lambda_function.responder.arn
}

output "commit" {
  description = "Commit that the function's zip was built from; empty where that is not known."
  value       = local.commit
}

output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.responder.function_name
}

output "code" {
  description = "The function's zip in S3, and its SHA-256 in base64."
  value = {
    bucket = aws_s3_object.code.bucket
    key    = aws_s3_object.code.key
    hash   = filebase64sha256(var.package)
  }
}

output "role_arn" {
  description = "ARN of the function's role."
  value       = aws_iam_role.function.arn
}

output "settings_path" {
  description = "Path of the instances' settings in SSM; the instance id follows."
  value       = local.settings_path
}

output "log_group" {
  description = "Name of the log group of the function."
  value       = aws_cloudwatch_log_group.function.name
}
