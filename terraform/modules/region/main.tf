data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  # The rule matches alarms by this prefix. The deployment's own alarms begin
  # with NAME-self- and never start an incident.
  alarm_prefix  = "${var.name}-cpu-"
  alarm_actions = module.topic[*].arn
}

module "topic" {
  source = "../topic"
  count  = length(var.subscribers) > 0 ? 1 : 0

  name        = var.name
  subscribers = var.subscribers
}

module "table" {
  source = "../table"

  name = var.name
}

module "function" {
  source = "../function"

  name                      = var.name
  package                   = var.function.package
  function                  = var.function
  slack                     = var.slack
  opsgenie                  = var.opsgenie
  instances                 = var.settings.instances
  table_name                = module.table.name
  state_machine_name        = var.name
  execution_timeout_seconds = var.execution_timeout_seconds
  alarm_prefix              = local.alarm_prefix
  brake                     = var.brake
  vpc                       = var.settings.vpc
  slack_token               = var.slack_token
  opsgenie_api_key          = var.opsgenie_api_key
  secrets_version           = var.secrets_version
}

module "workflow" {
  source = "../workflow"

  name                      = var.name
  function_arn              = module.function.arn
  function_unqualified_arn  = module.function.unqualified_arn
  execution_timeout_seconds = var.execution_timeout_seconds
  log_retention_days        = var.function.log_retention_days
}

module "trigger" {
  source = "../trigger"

  name              = var.name
  alarm_prefix      = local.alarm_prefix
  state_machine_arn = module.workflow.arn
  function_name     = module.function.name
  function_arn      = module.function.unqualified_arn
  sweep             = var.sweep
}

module "monitor" {
  source = "../monitor"

  name                      = var.name
  state_machine_arn         = module.workflow.arn
  execution_timeout_seconds = var.execution_timeout_seconds
  function_name             = module.function.name
  queue_name                = module.trigger.dead_letter_queue_name
  sweep                     = var.sweep
  alarm_actions             = local.alarm_actions

  rules = {
    alarm  = module.trigger.rule_name
    canary = module.trigger.canary_rule_name
    sweep  = module.trigger.sweep_rule_name
  }
}

module "watch" {
  source = "../watch"

  alarm_prefix  = local.alarm_prefix
  settings_path = module.function.settings_path
  instances     = var.settings.instances

  # An alarm that rang before the rule was there would never be heard.
  depends_on = [module.trigger]
}
