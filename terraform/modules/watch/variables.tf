variable "alarm_prefix" {
  description = "What the name of an instance's alarm begins with; INSTANCE-TRIGGER follows."
  type        = string
}

variable "settings_path" {
  description = "Path of the instances' settings in SSM; the instance id follows."
  type        = string
}

variable "instances" {
  description = "Instance id => its settings as the function reads them (JSON), and its alarms by trigger."
  type = map(object({
    json = string
    alarms = map(object({
      namespace          = string
      metric             = string
      dimensions         = map(string)
      period_seconds     = number
      statistic          = string
      threshold          = number
      evaluation_periods = number
      comparison         = string
      treat_missing_data = string
    }))
  }))
}
