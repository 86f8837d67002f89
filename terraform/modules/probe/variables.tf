variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "region" {
  description = "Name of the region."
  type        = string
}

variable "code" {
  description = "The function's zip in S3, and its SHA-256 in base64."
  type = object({
    bucket = string
    key    = string
    hash   = string
  })
}

variable "architecture" {
  description = "arm64 or x86_64, as the zip is built for."
  type        = string
}

variable "log_retention_days" {
  description = "How long the log is kept."
  type        = number
}

variable "reserved_concurrency" {
  description = "How many invocations the account keeps for this function, and the most that it may have; 0: none is reserved."
  type        = number
}

variable "roles" {
  description = "Path of every role and managed policy, and the ARN of every role's permissions boundary; null: none."
  type = object({
    path                 = string
    permissions_boundary = string
  })
}
