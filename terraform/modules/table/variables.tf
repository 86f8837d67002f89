variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}
