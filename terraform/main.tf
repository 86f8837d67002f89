locals {
  version = trimspace(file("${path.module}/VERSION"))

  # IAM does not tell upper from lower case in a key: it refuses a role with project
  # and Project (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html).
  tags = merge(
    { for key, value in { project = "firstline", repository = var.repository } : key => value if !contains([for k in keys(var.tags) : lower(k)], key) },
    var.tags,
  )
}

module "settings" {
  source = "./modules/settings"

  regions     = var.regions
  defaults    = var.defaults
  slack       = var.slack
  pagers      = var.pagers
  opsgenie    = var.opsgenie
  jsm         = var.jsm
  pagerduty   = var.pagerduty
  webhook     = var.webhook
  sns         = var.sns
  heartbeat   = var.heartbeat
  function    = var.function
  breaker     = var.breaker
  reconcile   = var.reconcile
  vantage     = var.vantage
  subscribers = var.subscribers
}

locals {
  deployment = module.settings.deployment

  # What regions.tf hands to all regions.
  shared = {
    name                 = var.name
    version              = local.version
    slack                = local.deployment.slack
    pagers               = local.deployment.pagers
    heartbeat            = local.deployment.heartbeat
    function             = local.deployment.function
    breaker              = local.deployment.breaker
    reconcile            = local.deployment.reconcile
    vantage              = local.deployment.vantage
    subscribers          = var.subscribers
    secrets_version      = var.secrets_version
    role_path            = var.role_path
    permissions_boundary = var.permissions_boundary
  }
  # By the names of their parameters.
  secrets = {
    slack-token           = var.slack_token
    opsgenie-api-key      = var.opsgenie_api_key
    jsm-api-key           = var.jsm_api_key
    jsm-api-token         = var.jsm_api_token
    pagerduty-routing-key = var.pagerduty_routing_key
    webhook-secret        = var.webhook_secret
    heartbeat-url         = var.heartbeat_url
  }
}

# Allowed, since somebody may only want to look on.
check "channels" {
  assert {
    condition     = local.deployment.slack != null || length(local.deployment.pagers) > 0
    error_message = "slack, pagers: there is no Slack and no pager, so nobody is told of an instance that is down. If that is not intended, set slack or a pager."
  }
}

# Allowed, and easily meant for "no limit".
check "breaker" {
  assert {
    condition     = local.deployment.breaker.in_flight > 0 && local.deployment.breaker.per_hour > 0
    error_message = "breaker: ${join(" and ", [for k, v in local.deployment.breaker : "${k} = 0" if v == 0])}: no instance is ever rebooted, somebody is paged instead. If that is not intended, use 1 to 1000."
  }
}
