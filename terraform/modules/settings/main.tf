locals {
  # What each kind wants, for the messages.
  wants = {
    for section, fields in local.schema : section => {
      for field, spec in fields : field => try(spec.want, {
        bool    = "true or false"
        number  = "a number from ${try(spec.min, 0)} to ${try(spec.max, 0)}"
        integer = "a whole number from ${try(spec.min, 0)} to ${try(spec.max, 0)}"
        enum    = "one of ${join(", ", try(spec.values, []))}"
        regex   = "an RE2 pattern (https://golang.org/s/re2syntax)"
        headers = "a map from header names to values of one line, that of Host a host; a header that HTTP sets itself (Connection, Content-Length, ...) is left out, and one that carries a secret (Authorization, Cookie, X-Api-Key, ...) goes into url.secret_headers, with the name of an SSM parameter for a value"
        secrets = "a map from header names to names of SSM parameters, which begin with \"/\", such as \"/app/healthz/token\"; Host is no secret"

        responders = "a list of up to 50, each with a type (team, user, escalation or schedule) and exactly one of id, name and, for a user, username, such as { type = \"team\", name = \"operations\" }"
        tags       = "a list of up to 12 different tags of 1 to 50 characters (the service takes 20, of which firstline sets up to 8)"
        dimensions = "a map of up to 29 further dimensions, names of 1 to 255 to values of 1 to 1024 ASCII characters, without InstanceId, which is set already, and without a name that begins with \":\", such as { cpu = \"cpu-total\" }"
        details    = "a map from names to values of 4000 characters in all, without names that firstline sets itself, such as instanceId"
      }[spec.kind])
    }
  }

  # What is known of an instance and of the defaults: sections, and fields beside
  # them, which make a section "" of their own.
  instance_sections = ["url", "route53", "ssh", "boot", "reboot", "alarms"]
  # Each trigger's settings are checked as a section alarms.TRIGGER.
  trigger_sections = { for trigger in distinct(concat(keys(local.built_in), flatten([
    for s in concat([var.defaults], [for i in local.instances : i.settings]) : try(keys(s.alarms), [])
  ]))) : "alarms.${trigger}" => trigger if can(regex("^[a-z][a-z0-9_]{0,31}$", trigger)) }
  parts           = concat(["url", "route53", "ssh", "boot", "reboot"], keys(local.trigger_sections), [""])
  instance_fields = keys(local.schema[""])
  once_sections   = ["slack", "opsgenie", "jsm", "pagerduty", "webhook", "sns", "heartbeat", "function", "breaker", "reconcile", "vantage"]

  pager_types = ["opsgenie", "jsm", "pagerduty", "webhook", "sns"]
  sections = {
    slack     = var.slack, opsgenie = var.opsgenie, jsm = var.jsm, pagerduty = var.pagerduty, webhook = var.webhook, sns = var.sns
    heartbeat = var.heartbeat, function = var.function, breaker = var.breaker, reconcile = var.reconcile, vantage = var.vantage
  }
  # Those that have a block, unless the operator gives an order; what of that cannot
  # be is left out, and is a problem.
  pager_blocks = [for type in local.pager_types : type if local.sections[type] != null]
  pagers       = distinct([for p in try([for p in var.pagers : tostring(p)], local.pager_blocks) : p if try(contains(local.pager_types, p), false)])

  # Null, here and below, means: not said.
  regions = { for region, r in try({ for k, v in var.regions : k => v if can(keys(var.regions)) }, {}) : region => {
    # keys() fails for what is no map, once: an "if" would ask it for each instance.
    instances = try([keys(r.instances), { for id, i in r.instances : id => i }][1], {})
    vpc       = try({ for k, v in r.vpc : k => v if can(keys(r.vpc)) }, null)
  } }

  instances = merge([for region, r in local.regions : {
    for id, i in r.instances : "${region}/${id}" => { region = region, id = id, settings = i }
  }]...)

  subjects = merge(
    { "" = { sections = local.once_sections, fields = [], settings = local.sections } },
    { "defaults: " = { sections = local.instance_sections, fields = local.instance_fields, settings = var.defaults } },
    { for key, i in local.instances : "${key}: " => { sections = local.instance_sections, fields = local.instance_fields, settings = i.settings } },
  )

  # subject => section => what is written there
  written = {
    for subject, s in local.subjects : subject => merge(
      try({ for k, v in s.settings : k => v if contains(s.sections, k) }, {}),
      try({ for trigger, v in s.settings.alarms : "alarms.${trigger}" => v }, {}),
      { "" = try({ for k, v in s.settings : k => v if contains(s.fields, k) }, {}) },
    )
  }

  # subject => headers or secret_headers => the names of those that cannot be
  bad_headers = {
    for subject, s in local.subjects : subject => {
      headers = try([
        for k, v in s.settings.url.headers : k
        if !can(regex(local.header_name, k)) || contains(local.own_headers, lower(k)) || can(regex(local.secret_header, lower(k))) || try(can(regex("[\\x00-\\x08\\x0a-\\x1f\\x7f]", tostring(v))), true) || lower(k) == "host" && !can(regex("^(${local.host}|\\[${local.ipv6}\\])(:${local.port})?$", tostring(v)))
      ], [])
      secret_headers = try([
        for k, v in s.settings.url.secret_headers : k
        if !can(regex(local.header_name, k)) || contains(local.own_headers, lower(k)) || lower(k) == "host" || !can(regex("^(/[A-Za-z0-9_.-]+)+$", v))
      ], [])
    }
  }

  # subject => section => the names of an alarm's dimensions that cannot be
  bad_dimensions = {
    for subject, sections in local.written : subject => {
      for section, fields in sections : section => try([
        for k, v in fields.dimensions : k
        if k == "InstanceId" || startswith(k, ":") || length(k) > 255 || !can(regex(local.dimension, k)) || !try(length(tostring(v)) <= 1024 && can(regex(local.dimension, tostring(v))), false)
      ], [])
    }
  }

  # section => responders, tags or details => those that cannot be
  bad_parts = {
    for section in ["opsgenie", "jsm", "pagerduty"] : section => {
      responders = try([
        for n, r in local.subjects[""].settings[section].responders : "number ${n + 1}"
        if !try(
          contains(["team", "user", "escalation", "schedule"], r.type)
          && length([for k, v in r : k if v != null && (!contains(["type", "id", "name", "username"], k) || k == "username" && r.type != "user")]) == 0
          && length([for k, v in r : k if contains(["id", "name", "username"], k) && can(regex("^${local.line}{1,250}$", v))]) == 1
          && length([for k, v in r : k if contains(["id", "name", "username"], k) && v != null]) == 1
        , false)
      ], [])
      tags = try([
        for t in local.subjects[""].settings[section].tags : jsonencode(t) if !can(regex("^${local.line}{1,50}$", tostring(t)))
      ], [])
      details = try([
        for k, v in local.subjects[""].settings[section].details : k
        if k == "" || contains(local.own_details, k) || !can(length(tostring(v)))
      ], [])
    }
  }

  # subject => what has a query => the names of the parameters in its query, as
  # the server decodes them
  queries = {
    for subject, s in local.subjects : subject => {
      for field in ["url.address", "url.path", "webhook.url"] : field => [
        for pair in try(split("&", replace(regex("\\?([^#]*)", tostring(s.settings[split(".", field)[0]][split(".", field)[1]]))[0], ";", "&")), []) :
        try(jsondecode("\"${replace(split("=", pair)[0], "/%([0-9A-Fa-f]{2})/", "\\u00$1")}\""), split("=", pair)[0])
      ]
    }
  }

  # subject => section => field => { value, known, ok }
  checked = {
    for subject, s in local.subjects : subject => {
      for section in subject == "" ? concat([""], s.sections) : local.parts : section => {
        for field, value in try({ for k, v in local.written[subject][section] : k => v if v != null && can(keys(local.written[subject][section])) }, {}) : field => {
          value = value
          known = can(local.schema[section][field])
          ok = try({
            bool    = can(tobool(value))
            number  = try(tonumber(value) >= local.schema[section][field].min && tonumber(value) <= local.schema[section][field].max, false)
            integer = try(tonumber(value) >= local.schema[section][field].min && tonumber(value) <= local.schema[section][field].max && floor(value) == tonumber(value), false)
            enum    = try(contains(local.schema[section][field].values, tostring(value)), false)
            string  = try(length(regexall(local.schema[section][field].pattern, tostring(value))) > 0, false)
            strings = try(length(value) > 0 && !can(keys(value)) && alltrue([for v in value : can(regex(local.schema[section][field].pattern, tostring(v)))]), false)
            names   = !can(keys(value)) && can([for v in value : length(tostring(v))])
            regex   = can(regexall(value, ""))
            headers = try(can(keys(value)) && length(local.bad_headers[subject][field]) == 0, false)
            secrets = try(can(keys(value)) && length(local.bad_headers[subject][field]) == 0, false)

            dimensions = try(length(keys(value)) <= 29 && length(local.bad_dimensions[subject][section]) == 0, false)

            responders = try(!can(keys(value)) && length([for v in value : v]) <= 50 && length(local.bad_parts[section][field]) == 0, false)
            tags       = try(!can(keys(value)) && length([for v in value : v]) <= 12 && length(distinct([for v in value : tostring(v)])) == length(value) && length(local.bad_parts[section][field]) == 0, false)
            details    = try(can(keys(value)) && length(local.bad_parts[section][field]) == 0 && sum(concat([0], [for k, v in value : length(k) + length(tostring(v))])) <= 4000, false)
          }[local.schema[section][field].kind], false)
        }
      }
    }
  }

  # What an instance gets of which nothing is said, and what each gets in all.
  base = {
    for section in local.parts : section => merge(
      { for field, spec in local.schema[section] : field => spec.default },
      { for field, c in local.checked["defaults: "][section] : field => c.value if c.ok },
    )
  }
  once = {
    for section in local.once_sections : section => merge(
      { for field, spec in local.schema[section] : field => spec.default },
      { for field, c in local.checked[""][section] : field => c.value if c.ok },
    )
  }
  said = {
    for key, i in local.instances : key => {
      for section in local.parts : section => merge(
        local.base[section],
        { for field, c in local.checked["${key}: "][section] : field => c.value if c.ok },
      )
    }
  }

  # Whom each region asks: the first two peers that are not the region itself;
  # where none are named, the next two regions by name, round the end.
  named_peers = local.once.vantage.peers == null ? null : [for p in local.once.vantage.peers : tostring(p)]
  peers = { for n, region in keys(local.regions) : region => [
    for m, p in [for p in coalesce(local.named_peers, [for m in [1, 2] : element(keys(local.regions), n + m)]) : p if p != region] : p if m < 2
  ] }

  # What the function gets of a pager, beside its type and what this module does
  # not know: the name of its key's parameter, and the deployment's own topic.
  pager_settings = merge({
    for type in ["opsgenie", "jsm"] : type => {
      endpoint = tostring(local.once[type].endpoint)
      responders = concat(
        local.once[type].team_id == "" ? [] : [{ type = "team", id = tostring(local.once[type].team_id) }],
        [for r in local.once[type].responders : { for k, v in r : k => tostring(v) if v != null }],
      )
      priority         = tostring(local.once[type].priority)
      priority_unknown = tostring(local.once[type].priority_unknown == "" ? local.once[type].priority : local.once[type].priority_unknown)
      tags             = [for v in local.once[type].tags : tostring(v)]
      details          = { for k, v in local.once[type].details : k => tostring(v) }
      entity           = tostring(local.once[type].entity)
      source           = tostring(local.once[type].source)
      cloud_id         = type == "jsm" ? tostring(local.once.jsm.cloud_id) : ""
      email            = type == "jsm" ? tostring(local.once.jsm.email) : ""
    }
    }, {
    pagerduty = merge(
      { for field in ["endpoint", "severity", "severity_unknown", "group", "class", "component"] : field => tostring(local.once.pagerduty[field]) },
      { details = { for k, v in local.once.pagerduty.details : k => tostring(v) } },
    )
    webhook = { url = tostring(local.once.webhook.url) }
    sns     = { topic_arn = tostring(local.once.sns.topic_arn) }
  })
  pagers_json = { for type, s in local.pager_settings : type => jsonencode({ for k, v in s : k => v if length(v) > 0 }) }
  # The secrets of each: what the function gets the parameter's name as => the secret.
  jsm_token = local.once.jsm.cloud_id == "" ? {} : { token_parameter = "jsm-api-token" }
  pager_secrets = {
    opsgenie  = { key_parameter = "opsgenie-api-key" }
    jsm       = merge({ key_parameter = "jsm-api-key" }, local.jsm_token)
    pagerduty = { key_parameter = "pagerduty-routing-key" }
    webhook   = { key_parameter = "webhook-secret" }
    sns       = {}
  }

  # What the function gets of the heartbeat: what tells opsgenie and jsm is the
  # pager's.
  heartbeat_service = tostring(local.once.heartbeat.service)
  jsm_team          = try([for r in local.pager_settings.jsm.responders : r.id if r.type == "team" && can(r.id)][0], "")
  heartbeat = try({
    opsgenie = { name = tostring(local.once.heartbeat.name), endpoint = local.pager_settings.opsgenie.endpoint }
    jsm = {
      name  = tostring(local.once.heartbeat.name), endpoint = local.pager_settings.jsm.endpoint, team_id = local.jsm_team
      email = local.pager_settings.jsm.email, cloud_id = local.pager_settings.jsm.cloud_id
    }
    url = { failure_suffix = tostring(local.once.heartbeat.failure_suffix) }
  }[local.heartbeat_service], null)
  heartbeat_json    = jsonencode({ for k, v in merge({ service = local.heartbeat_service }, local.heartbeat) : k => v if v != "" })
  heartbeat_secrets = try({ opsgenie = local.pager_secrets.opsgenie, jsm = local.jsm_token, url = { key_parameter = "heartbeat-url" } }[local.heartbeat_service], {})

  # At most, whatever the deployment and the regions are called.
  told_bytes = length(base64encode(jsonencode(concat(
    [for type in local.pagers : merge(
      { type = type, (type == "sns" ? "topic_arn" : "key_parameter") = format("%-90s", "") },
      { for field, secret in local.pager_secrets[type] : field => format("%-90s", "") },
      jsondecode(local.pagers_json[type]),
    )],
    [for heartbeat in local.heartbeat[*] : merge(
      { for field, secret in local.heartbeat_secrets : field => format("%-90s", "") },
      jsondecode(local.heartbeat_json),
    )],
  )))) / 4 * 3

  # The triggers of an instance: what is built in, and what it or the defaults write.
  triggers = {
    for key, i in local.instances : key => [
      for section, trigger in local.trigger_sections : trigger
      if contains(keys(local.built_in), trigger) || can(keys(local.written["defaults: "][section])) || can(keys(local.written["${key}: "][section]))
    ]
  }

  package = local.once.function.package != "" ? tostring(local.once.function.package) : "${path.root}/../build/responder-${local.once.function.architecture}.zip"

  # Which of the settings that say whom to ask an instance has of its own.
  own = {
    for key, i in local.instances : key => {
      address     = try(local.checked["${key}: "].url.address.ok && local.checked["${key}: "].url.address.value != "", false)
      port        = try(tonumber(local.checked["${key}: "].url.port.value) != 0, false)
      url_private = try(tobool(local.checked["${key}: "].url.private.value), false)
      host        = try(local.checked["${key}: "].ssh.host.ok && local.checked["${key}: "].ssh.host.value != "", false)
      ssh_private = try(tobool(local.checked["${key}: "].ssh.private.value), false)
    }
  }

  # Either an address or a host says whom to ask, or a port or a private address
  # does: what the instance has of its own wins over the other from the defaults.
  # (Both on one level are refused in problems.tf.)
  asked = {
    for key, s in local.said : key => {
      address = !local.own[key].address && (local.own[key].port || local.own[key].url_private) ? "" : tostring(s.url.address)
      host    = !local.own[key].host && local.own[key].ssh_private ? "" : tostring(s.ssh.host)
    }
  }

  effective = {
    for key, s in local.said : key => {
      url = {
        enabled            = tobool(s.url.enabled)
        address            = local.asked[key].address
        load_balancer      = tobool(s.url.load_balancer) && local.asked[key].address != ""
        scheme             = tostring(s.url.scheme)
        port               = local.asked[key].address == "" ? tonumber(s.url.port) : 0
        path               = tostring(s.url.path)
        private            = tobool(s.url.private) && local.asked[key].address == ""
        address_family     = tostring(s.url.address_family)
        method             = tostring(s.url.method)
        headers            = { for k, v in s.url.headers : k => tostring(v) }
        secret_headers     = { for k, v in s.url.secret_headers : k => tostring(v) }
        timeout_seconds    = tonumber(s.url.timeout_seconds)
        attempts           = tonumber(s.url.attempts)
        interval_seconds   = tonumber(s.url.interval_seconds)
        status             = [for v in s.url.status : tostring(v)]
        body_pattern       = tostring(s.url.body_pattern)
        follow_redirects   = tobool(s.url.follow_redirects)
        server_name        = tostring(s.url.server_name)
        verify_certificate = tobool(s.url.verify_certificate)
      }
      route53 = {
        health_check_id  = tostring(s.route53.health_check_id)
        quorum_percent   = tonumber(s.route53.quorum_percent)
        attempts         = tonumber(s.route53.attempts)
        interval_seconds = tonumber(s.route53.interval_seconds)
      }
      ssh = {
        enabled              = tobool(s.ssh.enabled)
        host                 = local.asked[key].host
        port                 = tonumber(s.ssh.port)
        private              = tobool(s.ssh.private) && local.asked[key].host == ""
        address_family       = tostring(s.ssh.address_family)
        timeout_seconds      = tonumber(s.ssh.timeout_seconds)
        attempts             = tonumber(s.ssh.attempts)
        interval_seconds     = tonumber(s.ssh.interval_seconds)
        host_key_fingerprint = tostring(s.ssh.host_key_fingerprint)
      }
      boot = {
        first_look_seconds = tonumber(s.boot.first_look_seconds)
        interval_seconds   = tonumber(s.boot.interval_seconds)
        window_seconds     = tonumber(s.boot.window_seconds)
      }
      reboot = {
        cooldown_seconds = tonumber(s.reboot.cooldown_seconds)
        per_day          = tonumber(s.reboot.per_day)
        on               = tostring(s.reboot.on)
        dry_run          = tobool(s.reboot.dry_run)
      }
      confirm_seconds = tonumber(s[""].confirm_seconds)
      # Those that are enabled.
      alarms = {
        for trigger in local.triggers[key] : trigger => {
          namespace          = tostring(s["alarms.${trigger}"].namespace)
          metric             = tostring(s["alarms.${trigger}"].metric)
          dimensions         = { for k, v in s["alarms.${trigger}"].dimensions : k => tostring(v) }
          period_seconds     = tonumber(s["alarms.${trigger}"].period_seconds)
          statistic          = tostring(s["alarms.${trigger}"].statistic)
          threshold          = tonumber(s["alarms.${trigger}"].threshold)
          evaluation_periods = tonumber(s["alarms.${trigger}"].evaluation_periods)
          comparison         = tostring(s["alarms.${trigger}"].comparison)
          treat_missing_data = tostring(s["alarms.${trigger}"].treat_missing_data)
        } if tobool(s["alarms.${trigger}"].enabled)
      }
    }
  }

  # The JSON that the function decodes strictly (internal/incident.Settings): the
  # same names and units.
  json = { for key, s in local.effective : key => jsonencode({ for k, v in s : k => v if k != "alarms" }) }
}
