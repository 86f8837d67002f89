variable "name" {
  description = "Prefix of every name of the deployment."
  type        = string
}

variable "region" {
  description = "Name of the region."
  type        = string
}

variable "subscribers" {
  description = "Who is told about the deployment's own alarms."
  type = list(object({
    protocol = string
    endpoint = string
  }))
}

variable "publisher_role_arns" {
  description = "ARNs of the roles of this account that publish too, by rights of their own: the topic's key admits them. One at most."
  type        = list(string)
  default     = []
  nullable    = false
}
