# An instance's settings and its alarms, one per trigger, and nothing else: all that instances share exists once
# per region. Neither depends on the other: with a thousand instances that alone
# costs a plan a minute, and an alarm takes longer to fire for the first time than
# its settings take to be written.

locals {
  # Terraform evaluates for_each again for every instance of a resource: flat
  # maps keep a plan of a thousand from taking minutes.
  settings = { for id, i in var.instances : id => i.json }
  alarms = merge([for id, i in var.instances : {
    for trigger, a in i.alarms : "${id}-${trigger}" => jsonencode(merge(a, { instance = id, trigger = trigger }))
  }]...)
}

resource "aws_ssm_parameter" "settings" {
  for_each = local.settings

  name           = "${var.settings_path}${each.key}"
  description    = "What to check of ${each.key}, and how."
  type           = "String"
  insecure_value = each.value # no secret: a plan shows what changes
}

resource "aws_cloudwatch_metric_alarm" "trigger" {
  for_each = local.alarms

  alarm_name          = "${var.alarm_prefix}${each.key}"
  alarm_description   = "Trigger ${jsondecode(each.value).trigger}: ${jsondecode(each.value).instance} may be in trouble: check it, and reboot it if it cannot be reached."
  namespace           = jsondecode(each.value).namespace
  metric_name         = jsondecode(each.value).metric
  dimensions          = merge(jsondecode(each.value).dimensions, { InstanceId = jsondecode(each.value).instance })
  statistic           = jsondecode(each.value).statistic
  period              = jsondecode(each.value).period_seconds
  evaluation_periods  = jsondecode(each.value).evaluation_periods
  comparison_operator = jsondecode(each.value).comparison
  threshold           = jsondecode(each.value).threshold
  treat_missing_data  = jsondecode(each.value).treat_missing_data
  actions_enabled     = true
}
