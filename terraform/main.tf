locals {
  version = trimspace(file("${path.module}/VERSION"))

  tags = merge(var.tags, {
    project    = "firstline"
    version    = local.version
    repository = var.repository
  })
}

module "settings" {
  source = "./modules/settings"

  regions                   = var.regions
  defaults                  = var.defaults
  slack                     = var.slack
  pagers                    = var.pagers
  opsgenie                  = var.opsgenie
  jsm                       = var.jsm
  sns                       = var.sns
  function                  = var.function
  brake                     = var.brake
  sweep                     = var.sweep
  all_clear                 = var.all_clear
  subscribers               = var.subscribers
  execution_timeout_seconds = var.execution_timeout_seconds
}

locals {
  deployment = module.settings.deployment
}

# Allowed, and easily meant for "no limit".
check "brake" {
  assert {
    condition     = local.deployment.brake.in_flight > 0 && local.deployment.brake.per_hour > 0
    error_message = "brake: ${join(" and ", [for k, v in local.deployment.brake : "${k} = 0" if v == 0])}: no instance is ever rebooted; whoever is on call is paged instead. If that is not meant, use 1 to 1000."
  }
}
