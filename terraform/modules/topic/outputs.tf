output "arn" {
  description = "ARN of the topic; it takes messages once its policy and key are there."
  value       = aws_sns_topic_policy.self.arn
}
