variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "subscribers" {
  description = "Who hears about the deployment's own alarms."
  type = list(object({
    protocol = string
    endpoint = string
  }))
}
