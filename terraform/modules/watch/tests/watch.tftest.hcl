mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  alarm_prefix  = "firstline-alarm-"
  settings_path = "/firstline/instances/"
  instances = {
    "i-0c1cbf2e7abdedf75" = {
      json  = "{}"
      alarm = { namespace = "AWS/EC2", metric = "CPUUtilization", dimensions = {}, period_seconds = 300, statistic = "Maximum", threshold = 100, evaluation_periods = 1, comparison = "GreaterThanOrEqualToThreshold", treat_missing_data = "missing" }
    }
    "i-0a1b2c3d" = {
      json  = "{\"url\":{}}"
      alarm = { namespace = "CWAgent", metric = "cpu_usage_active", dimensions = { cpu = "cpu-total", InstanceType = "m7g.large" }, period_seconds = 10, statistic = "Average", threshold = 99.5, evaluation_periods = 3, comparison = "GreaterThanThreshold", treat_missing_data = "breaching" }
    }
  }
}

run "two_resources_an_instance" {
  command = plan
  assert {
    condition     = { for id, p in aws_ssm_parameter.settings : p.name => "${p.type} ${p.insecure_value}" } == { "/firstline/instances/i-0c1cbf2e7abdedf75" = "String {}", "/firstline/instances/i-0a1b2c3d" = "String {\"url\":{}}" }
    error_message = "the settings' parameters"
  }
  assert {
    condition     = output.alarm_names == tolist(["firstline-alarm-i-0a1b2c3d-cpu", "firstline-alarm-i-0c1cbf2e7abdedf75-cpu"])
    error_message = "the alarms' names"
  }
  assert {
    condition = { for id, a in aws_cloudwatch_metric_alarm.cpu : id => a.dimensions } == {
      "i-0c1cbf2e7abdedf75" = tomap({ InstanceId = "i-0c1cbf2e7abdedf75" })
      "i-0a1b2c3d"          = tomap({ InstanceId = "i-0a1b2c3d", cpu = "cpu-total", InstanceType = "m7g.large" })
    }
    error_message = "an alarm's metric is the instance's, with the further dimensions of an agent"
  }
  assert {
    condition = alltrue([for id, a in aws_cloudwatch_metric_alarm.cpu : alltrue([
      a.namespace == var.instances[id].alarm.namespace,
      a.metric_name == var.instances[id].alarm.metric,
      a.period == var.instances[id].alarm.period_seconds,
      a.statistic == var.instances[id].alarm.statistic,
      a.threshold == var.instances[id].alarm.threshold,
      a.evaluation_periods == var.instances[id].alarm.evaluation_periods,
      a.comparison_operator == var.instances[id].alarm.comparison,
      a.treat_missing_data == var.instances[id].alarm.treat_missing_data,
    ])])
    error_message = "the alarms' settings"
  }
}
