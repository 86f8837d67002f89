# The operators' interface: examples/production.tfvars shows it in use, and
# modules/settings/schema.tf lists every setting with its bounds.
#
# `any` here and only here: Terraform drops attributes that an object type does
# not name, and a misspelt setting must not vanish without a word.
# modules/settings checks every key and value and hands on typed objects.

variable "regions" {
  description = "What to watch: region => { instances = { instance id => overrides }, vpc = { subnet_ids, security_group_ids, ipv6 } }. An instance has the sections url, route53, ssh, boot, reboot and alarms, and confirm_seconds."
  type        = any

  validation {
    condition     = try(length(keys(var.regions)) > 0, false)
    error_message = "regions: name at least one region with its instances, such as { \"eu-west-1\" = { instances = { \"i-0123456789abcdef0\" = {} } } }. To remove everything, use `terraform destroy`."
  }

  validation {
    condition     = length(setsubtract(try(keys(var.regions), []), local.available_regions)) == 0
    error_message = "regions: ${join(", ", setsubtract(try(keys(var.regions), []), local.available_regions))}: not in regions.tf. If that is the name of a region, add it with `firstline regions --add ${join(",", setsubtract(try(keys(var.regions), []), local.available_regions))}`; else use one of ${join(", ", local.available_regions)}."
  }
}

variable "defaults" {
  description = "Settings for every instance, in the shape of an instance's: built-in default < defaults < instance."
  type        = any
  default     = {}
}

variable "slack" {
  description = "Where Slack messages go: { channel_id, api_url, pages, mention }; api_url is for another base than Slack's own, such as GovSlack's; pages = false keeps pages out of Slack; mention is whom a message mentions that is the page, because there is no pager or none took it: \"channel\" (default), \"here\", or the id of a user or of a user group. Left out: no Slack."
  type        = any
  default     = null
}

variable "pagers" {
  description = "Who wakes people, in order of fallback: any of \"opsgenie\", \"jsm\" (Jira Service Management), \"pagerduty\", \"webhook\" and \"sns\" (an SNS topic). Left out: those that have a block of their name, in this order; without any, Slack takes the pages, and there must be one of both. Pass [] explicitly for no pager."
  type        = any
  default     = null
}

variable "opsgenie" {
  description = "OpsGenie: { endpoint, team_id, responders, priority, priority_unknown, tags, details, entity, source }; endpoint is \"us\" (default), \"eu\" or an https address, priorities are P1 to P5 (default P3). priority_unknown is for an alert of which firstline cannot tell whether the instance is down; it is priority unless set."
  type        = any
  default     = null
}

variable "jsm" {
  description = "Jira Service Management: the same as opsgenie; endpoint is an https address other than Atlassian's own. With cloud_id and email, and jsm_api_token, deliveries are confirmed and alerts can be read."
  type        = any
  default     = null
}

variable "pagerduty" {
  description = "PagerDuty (Events API v2): { endpoint, severity, severity_unknown, group, class, component, details }; endpoint is \"us\" (default), \"eu\" or an https address, severity is critical, error, warning or info (default critical). severity_unknown (default error) is for an alert of which firstline cannot tell whether the instance is down."
  type        = any
  default     = null
}

variable "webhook" {
  description = "A signed webhook: { url }, an https address."
  type        = any
  default     = null
}

variable "sns" {
  description = "The SNS topic of pages: { topic_arn }, of any region and account; without it, the topic of subscribers."
  type        = any
  default     = null
}

variable "heartbeat" {
  description = "What reconcile pings when it has finished, so that somebody outside of AWS notices when it does not: { service, name, failure_suffix }; service is \"opsgenie\", \"jsm\" or \"url\" (heartbeat_url), name (default \"firstline-{region}\") that of the heartbeat at opsgenie or jsm, failure_suffix what is added to the URL when reconcile has failed. Left out: none."
  type        = any
  default     = null
}

variable "function" {
  description = "Shape of the Lambda function: { package, architecture, memory_mb, log_retention_days, log_level, managed_policies }."
  type        = any
  default     = {}
}

variable "breaker" {
  description = "The breaker of each region: { in_flight, per_hour }. It opens when so many reboots are in flight (default 2) or were made within an hour (default 6), each up to 1000, or when reboots do not help; then nothing is rebooted and somebody is paged. 0 means never reboot."
  type        = any
  default     = {}
}

variable "reconcile" {
  description = "How often the schedule starts a look wherever one is due: { every_minutes }, 1 to 10, default 5."
  type        = any
  default     = {}
}

variable "vantage" {
  description = "Whom a region asks before a reboot whether the instance answers there: { peers, required, reserved_concurrency }. peers are regions of this deployment, of which each region asks the first two that are not itself (left out: the next two by name; []: none); required = true reboots nothing at a public IPv4 address that sends no byte unless a peer confirms it; reserved_concurrency is that of each probe, 0 to 1000, default 5 (0: none)."
  type        = any
  default     = {}
}

variable "subscribers" {
  description = "Who is told when firstline itself fails: [{ protocol = \"email\", endpoint = \"oncall@example.com\" }]; protocols are email, email-json, https, sms, sqs, lambda. Pass [] explicitly to notify nobody."
  type = list(object({
    protocol = string
    endpoint = string
  }))
  default = null

  validation {
    condition     = var.subscribers != null
    error_message = "subscribers: name who is told when firstline itself fails, such as [{ protocol = \"email\", endpoint = \"oncall@example.com\" }]. Pass [] explicitly to notify nobody."
  }
}

variable "name" {
  description = "Prefix of every name; two deployments in one account need different ones."
  type        = string
  default     = "firstline"
}

variable "role_path" {
  description = "Path of every IAM role and managed policy; begins and ends with /."
  type        = string
  default     = "/"
  nullable    = false
}

variable "permissions_boundary" {
  description = "ARN of the IAM policy that is the permissions boundary of every role. Left out: none."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of every resource, beside project and repository; the function has the tags version and commit too."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.tags), ["project", "version", "commit", "repository"])) == 0
    error_message = "tags: project, version, commit and repository are set already (repository by the variable of that name)."
  }

  validation {
    condition     = length(var.tags) <= 47 && alltrue([for k, v in var.tags : can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{1,128}$", k)) && can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{0,256}$", v)) && !startswith(lower(k), "aws:")])
    error_message = "tags: up to 47, keys of 128 and values of 256 letters, digits, spaces and _ . : / = + - @, and no key that begins with aws:."
  }
}

variable "repository" {
  description = "Where this deployment's code lives, for the tag of that name."
  type        = string
  default     = "firstline"

  validation {
    condition     = can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{1,256}$", var.repository)) && !can(regex("//[^/]*@", var.repository))
    error_message = "repository: use an address such as https://git.example.com/ops/firstline, without user and password."
  }
}

variable "slack_token" {
  description = "Slack bot token (scope chat:write), as TF_VAR_slack_token. Never in the state or a plan. Without it the stored one stays."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.slack_token == null || can(regex("^[!-~]*$", var.slack_token))
    error_message = "slack_token: holds white space or characters beyond ASCII; give the token alone, without a line break."
  }
}

variable "opsgenie_api_key" {
  description = "OpsGenie API key, as TF_VAR_opsgenie_api_key. Never in the state or a plan. Without it the stored one stays."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.opsgenie_api_key == null || can(regex("^[!-~]*$", var.opsgenie_api_key))
    error_message = "opsgenie_api_key: holds white space or characters beyond ASCII; give the key alone, without a line break."
  }
}

variable "jsm_api_key" {
  description = "Jira Service Management API key, as TF_VAR_jsm_api_key. Never in the state or a plan. Without it the stored one stays."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.jsm_api_key == null || can(regex("^[!-~]*$", var.jsm_api_key))
    error_message = "jsm_api_key: holds white space or characters beyond ASCII; give the key alone, without a line break."
  }
}

variable "jsm_api_token" {
  description = "Atlassian API token of jsm.email, as TF_VAR_jsm_api_token. Never in the state or a plan. Without it the stored one stays."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.jsm_api_token == null || can(regex("^[!-~]*$", var.jsm_api_token))
    error_message = "jsm_api_token: holds white space or characters beyond ASCII; give the token alone, without a line break."
  }
}

variable "pagerduty_routing_key" {
  description = "PagerDuty integration key of the Events API v2, as TF_VAR_pagerduty_routing_key. Never in the state or a plan. Without it the stored one stays."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.pagerduty_routing_key == null || can(regex("^([A-Za-z0-9]{32})?$", var.pagerduty_routing_key))
    error_message = "pagerduty_routing_key: is not an integration key, which has 32 letters and digits; PagerDuty shows it with the integration \"Events API V2\" of the service."
  }
}

variable "webhook_secret" {
  description = "Secret that signs each message of the webhook, as TF_VAR_webhook_secret. Never in the state or a plan. Without it the stored one stays."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.webhook_secret == null || can(regex("^(whsec_([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4}([A-Za-z0-9+/]{2}==)?)?)?$", var.webhook_secret))
    error_message = "webhook_secret: must be whsec_ and 24 to 64 random bytes in base64, such as `echo whsec_$(openssl rand -base64 32)` prints."
  }
}

variable "heartbeat_url" {
  description = "Address that reconcile pings (heartbeat.service = \"url\"), as TF_VAR_heartbeat_url; {region} stands for the region. Never in the state or a plan. Without it the stored one stays."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.heartbeat_url == null || can(regex("^((https://[^\\s/?#@]+|http://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]+)?)([/?][!-~]*)?)?$", var.heartbeat_url))
    error_message = "heartbeat_url: must be an https:// address without user name and password, such as https://hc-ping.com/PING_KEY/firstline-{region}."
  }

  # One that all regions ping would hide that one of them is dead.
  validation {
    condition     = try(length(var.regions), 0) < 2 || strcontains(coalesce(var.heartbeat_url, "{region}"), "{region}")
    error_message = "heartbeat_url: several regions would ping one heartbeat, so that nobody would notice when one of them is dead; put {region} into it, and make a heartbeat for each."
  }
}

variable "secrets_version" {
  description = "Raise it to write the secrets again; TF_VAR_... of Slack and of every chosen pager must be set."
  type        = number
  default     = 1
}

variable "max_retries" {
  description = "How often the AWS provider sends a request before it gives up, the first time included. A region that does not answer delays an apply accordingly: by some seconds with 5, by more than half an hour with the provider's own 25. The command firstline sets 7."
  type        = number
  default     = 25
  nullable    = false

  validation {
    condition     = var.max_retries >= 1 && var.max_retries <= 100 && floor(var.max_retries) == var.max_retries
    error_message = "max_retries = ${var.max_retries}: use a whole number from 1 to 100."
  }
}
