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
  opsgenie                  = var.opsgenie
  function                  = var.function
  execution_timeout_seconds = var.execution_timeout_seconds
}

locals {
  deployment = module.settings.deployment
}
