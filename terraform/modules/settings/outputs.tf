output "problems" {
  description = "All that is wrong with the settings, one sentence each; empty when they can be deployed."
  value       = local.problems
}

output "deployment" {
  description = "The settings, complete and typed: { regions = { region => { instances, vpc, peers, asked } }, slack, pagers, heartbeat, function, breaker, reconcile, vantage }. Fails while there are problems."
  value = {
    regions = {
      for region, r in local.regions : region => {
        instances = {
          for id in keys(r.instances) : id => {
            json              = local.json["${region}/${id}"]
            alarms            = local.effective["${region}/${id}"].alarms
            health_check_id   = local.effective["${region}/${id}"].route53.health_check_id
            secret_parameters = distinct(values(local.effective["${region}/${id}"].url.secret_headers))
          }
        }
        vpc = r.vpc == null ? null : {
          subnet_ids         = tolist([for v in try(r.vpc.subnet_ids, []) : tostring(v)])
          security_group_ids = tolist([for v in try(r.vpc.security_group_ids, []) : tostring(v)])
          ipv6               = try(tobool(r.vpc.ipv6), false) == true
        }
        # The regions whose probes this one asks, and whether another asks its own.
        peers = local.peers[region]
        asked = contains(flatten(values(local.peers)), region)
      }
    }
    slack = var.slack == null ? null : {
      channel_id = try(tostring(local.once.slack.channel_id), null)
      api_url    = tostring(local.once.slack.api_url)
      pages      = tobool(local.once.slack.pages)
      mention    = tostring(local.once.slack.mention)
    }
    # In the order in which they are asked. The JSON is what the function gets of
    # each, beside the names of its secrets' parameters; a topic_arn of "" is the
    # deployment's own topic.
    pagers = [for type in local.pagers : {
      type      = type
      json      = local.pagers_json[type]
      secrets   = local.pager_secrets[type]
      topic_arn = type == "sns" ? tostring(local.once.sns.topic_arn) : ""
    }]
    # As a pager; {region} stands for the region.
    heartbeat = local.heartbeat == null ? null : { json = local.heartbeat_json, secrets = local.heartbeat_secrets }
    function = {
      package            = local.package
      architecture       = tostring(local.once.function.architecture)
      memory_mb          = tonumber(local.once.function.memory_mb)
      log_retention_days = tonumber(local.once.function.log_retention_days)
      log_level          = tostring(local.once.function.log_level)
      managed_policies   = tonumber(local.once.function.managed_policies)
    }
    breaker = {
      in_flight = tonumber(local.once.breaker.in_flight)
      per_hour  = tonumber(local.once.breaker.per_hour)
    }
    reconcile = {
      every_minutes = tonumber(local.once.reconcile.every_minutes)
    }
    vantage = {
      required             = tobool(local.once.vantage.required)
      reserved_concurrency = tonumber(local.once.vantage.reserved_concurrency)
    }
  }

  precondition {
    condition     = length(local.problems) == 0
    error_message = "The settings cannot be deployed:\n${join("\n", [for p in local.problems : "  - ${p}"])}"
  }
}
