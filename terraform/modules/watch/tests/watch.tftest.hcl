mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  alarm_prefix  = "firstline-alarm-"
  settings_path = "/firstline/instances/"
  instances = {
    "i-0c1cbf2e7abdedf75" = {
      json   = "{}"
      alarms = { cpu = { namespace = "AWS/EC2", metric = "CPUUtilization", dimensions = {}, period_seconds = 300, statistic = "Maximum", threshold = 100, evaluation_periods = 1, comparison = "GreaterThanOrEqualToThreshold", treat_missing_data = "missing" }, status = { namespace = "AWS/EC2", metric = "StatusCheckFailed_Instance", dimensions = {}, period_seconds = 60, statistic = "Maximum", threshold = 1, evaluation_periods = 2, comparison = "GreaterThanOrEqualToThreshold", treat_missing_data = "missing" } }
    }
    "i-0a1b2c3d" = {
      json   = "{\"url\":{}}"
      alarms = { agent_cpu = { namespace = "CWAgent", metric = "cpu_usage_active", dimensions = { cpu = "cpu-total", InstanceType = "m7g.large" }, period_seconds = 10, statistic = "Average", threshold = 99.5, evaluation_periods = 3, comparison = "GreaterThanThreshold", treat_missing_data = "breaching" } }
    }
  }
}

run "one_alarm_per_instance_and_trigger" {
  command = plan
  assert {
    condition     = { for id, p in aws_ssm_parameter.settings : p.name => "${p.type} ${p.insecure_value}" } == { "/firstline/instances/i-0c1cbf2e7abdedf75" = "String {}", "/firstline/instances/i-0a1b2c3d" = "String {\"url\":{}}" }
    error_message = "the settings' parameters"
  }
  assert {
    condition     = output.alarm_names == tolist(["firstline-alarm-i-0a1b2c3d-agent_cpu", "firstline-alarm-i-0c1cbf2e7abdedf75-cpu", "firstline-alarm-i-0c1cbf2e7abdedf75-status"])
    error_message = "the alarms' names"
  }
  assert {
    condition = { for id, a in aws_cloudwatch_metric_alarm.trigger : id => a.dimensions } == {
      "i-0c1cbf2e7abdedf75-cpu"    = tomap({ InstanceId = "i-0c1cbf2e7abdedf75" })
      "i-0c1cbf2e7abdedf75-status" = tomap({ InstanceId = "i-0c1cbf2e7abdedf75" })
      "i-0a1b2c3d-agent_cpu"       = tomap({ InstanceId = "i-0a1b2c3d", cpu = "cpu-total", InstanceType = "m7g.large" })
    }
    error_message = "an alarm's metric is the instance's, with the further dimensions of an agent"
  }
  assert {
    condition = alltrue(flatten([for id, i in var.instances : [for trigger, want in i.alarms : [for a in [aws_cloudwatch_metric_alarm.trigger["${id}-${trigger}"]] : [
      a.namespace == want.namespace,
      a.metric_name == want.metric,
      a.period == want.period_seconds,
      a.statistic == want.statistic,
      a.threshold == want.threshold,
      a.evaluation_periods == want.evaluation_periods,
      a.comparison_operator == want.comparison,
      a.treat_missing_data == want.treat_missing_data,
      a.alarm_description == "Trigger ${trigger}: ${id} may be in trouble: check it, and reboot it if it cannot be reached.",
    ]]]]))
    error_message = "the alarms' settings"
  }
}
