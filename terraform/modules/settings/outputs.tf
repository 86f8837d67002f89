output "problems" {
  description = "All that is wrong with the settings, one sentence each; empty when they can be deployed."
  value       = local.problems
}

output "deployment" {
  description = "The settings, complete and typed: { regions = { region => { instances, vpc } }, slack, opsgenie, function, brake, sweep }. Fails while there are problems."
  value = {
    regions = {
      for region, r in local.regions : region => {
        instances = {
          for id in keys(r.instances) : id => {
            json              = local.json["${region}/${id}"]
            alarm             = local.effective["${region}/${id}"].alarm
            health_check_id   = local.effective["${region}/${id}"].route53.health_check_id
            secret_parameters = distinct(values(local.effective["${region}/${id}"].url.secret_headers))
          }
        }
        vpc = r.vpc == null ? null : {
          subnet_ids         = tolist([for v in try(r.vpc.subnet_ids, []) : tostring(v)])
          security_group_ids = tolist([for v in try(r.vpc.security_group_ids, []) : tostring(v)])
          ipv6               = try(tobool(r.vpc.ipv6), false) == true
        }
      }
    }
    slack = {
      channel_id = try(tostring(local.once.slack.channel_id), null)
      api_url    = tostring(local.once.slack.api_url)
    }
    opsgenie = {
      team_id  = tostring(local.once.opsgenie.team_id)
      endpoint = tostring(local.once.opsgenie.endpoint)
      priority = tostring(local.once.opsgenie.priority)
    }
    function = {
      package            = local.package
      architecture       = tostring(local.once.function.architecture)
      memory_mb          = tonumber(local.once.function.memory_mb)
      timeout_seconds    = tonumber(local.once.function.timeout_seconds)
      log_retention_days = tonumber(local.once.function.log_retention_days)
      log_level          = tostring(local.once.function.log_level)
      managed_policies   = tonumber(local.once.function.managed_policies)
    }
    brake = {
      in_flight = tonumber(local.once.brake.in_flight)
      per_hour  = tonumber(local.once.brake.per_hour)
    }
    sweep = {
      every_minutes = tonumber(local.once.sweep.every_minutes)
    }
  }

  precondition {
    condition     = length(local.problems) == 0
    error_message = "The settings cannot be deployed:\n${join("\n", [for p in local.problems : "  - ${p}"])}"
  }
}
