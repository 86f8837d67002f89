data "aws_region" "current" {}
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  # Provider 6 has deprecated id and name for region, which provider 5 lacks.
  region = one([for r in [data.aws_region.current] : try(r.region, r.id)])

  # The rule matches alarms by this prefix. The deployment's own alarms begin
  # with NAME-self- and never start an incident.
  alarm_prefix  = "${var.deployment.name}-alarm-"
  alarm_actions = module.topic[*].arn

  roles = { path = var.deployment.role_path, permissions_boundary = var.deployment.permissions_boundary }

  # Pages may go to the topic of the deployment's own alarms too. Its ARN is known
  # by its name, so that the function's policy can be weighed in a plan.
  topic_arn  = "arn:${data.aws_partition.current.partition}:sns:${local.region}:${data.aws_caller_identity.current.account_id}:${var.deployment.name}-self"
  pages_here = length([for p in local.pagers : p if p.topic_arn == local.topic_arn]) > 0
  pagers     = [for p in var.deployment.pagers : merge(p, { topic_arn = p.type == "sns" && p.topic_arn == "" ? local.topic_arn : p.topic_arn })]
}

module "topic" {
  source = "../topic"
  count  = length(var.deployment.subscribers) > 0 ? 1 : 0

  name        = var.deployment.name
  region      = local.region
  subscribers = var.deployment.subscribers
  # A list, since whether there is one has to be known before the role is.
  publisher_role_arns = local.pages_here ? [module.function.role_arn] : []
}

module "table" {
  source = "../table"

  name = var.deployment.name
}

module "function" {
  source = "../function"

  name               = var.deployment.name
  release            = var.deployment.version
  region             = local.region
  package            = var.deployment.function.package
  function           = var.deployment.function
  slack              = var.deployment.slack
  pagers             = local.pagers
  heartbeat          = var.deployment.heartbeat
  instances          = var.settings.instances
  table_name         = module.table.name
  state_machine_name = var.deployment.name
  alarm_prefix       = local.alarm_prefix
  breaker            = var.deployment.breaker
  vantage            = { peers = var.settings.peers, required = var.deployment.vantage.required }
  vpc                = var.settings.vpc
  secrets            = var.secrets
  secrets_version    = var.deployment.secrets_version
  roles              = local.roles
}

# What other regions ask whether an address answers here.
module "probe" {
  source = "../probe"
  count  = var.settings.asked ? 1 : 0

  name                 = var.deployment.name
  region               = local.region
  code                 = module.function.code
  architecture         = var.deployment.function.architecture
  log_retention_days   = var.deployment.function.log_retention_days
  reserved_concurrency = var.deployment.vantage.reserved_concurrency
  roles                = local.roles
}

module "workflow" {
  source = "../workflow"

  name                     = var.deployment.name
  region                   = local.region
  function_arn             = module.function.arn
  function_unqualified_arn = module.function.unqualified_arn
  log_retention_days       = var.deployment.function.log_retention_days
  roles                    = local.roles
}

module "trigger" {
  source = "../trigger"

  name              = var.deployment.name
  region            = local.region
  alarm_prefix      = local.alarm_prefix
  state_machine_arn = module.workflow.arn
  function_name     = module.function.name
  function_arn      = module.function.unqualified_arn
  reconcile         = var.deployment.reconcile
  roles             = local.roles
}

module "monitor" {
  source = "../monitor"

  name              = var.deployment.name
  region            = local.region
  state_machine_arn = module.workflow.arn
  function_name     = module.function.name
  queue_name        = module.trigger.dead_letter_queue_name
  reconcile         = var.deployment.reconcile
  alarm_actions     = local.alarm_actions

  rules = {
    alarm     = module.trigger.rule_name
    canary    = module.trigger.canary_rule_name
    reconcile = module.trigger.reconcile_rule_name
  }
}

module "watch" {
  source = "../watch"

  alarm_prefix  = local.alarm_prefix
  settings_path = module.function.settings_path
  instances     = var.settings.instances

  # An alarm that fired before the rule existed would only be found by reconcile.
  depends_on = [module.trigger]
}
