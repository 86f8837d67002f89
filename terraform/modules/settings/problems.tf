# All that is wrong with what the operator wrote, one sentence each, so that
# one plan shows everything. No sentence repeats an address' password or a
# header's value.

locals {
  # In the order of the pagers.
  pagers_want = "a list of ${join(", ", local.pager_types)}, the one to be asked first in front, such as [\"jsm\", \"sns\"]"
  pagers_problems = var.pagers == null ? [] : can(keys(var.pagers)) || !can([for p in var.pagers : tostring(p)]) ? ["pagers = ${jsonencode(var.pagers)}: must be ${local.pagers_want}"] : concat(
    [for p in distinct([for p in var.pagers : p]) : "pagers: ${jsonencode(p)} is not known; use ${join(", ", local.pager_types)}" if !try(contains(local.pager_types, tostring(p)), false)],
    [for type in local.pager_types : "pagers: ${type} is named twice" if length([for p in var.pagers : p if p == type]) > 1],
  )

  # In the shape of the file: what is missing, misplaced or misspelt.
  shape_problems = concat(
    !can(keys(var.regions)) ? ["regions: must be a map from region names to { instances = { ... } }"] : [],
    can(keys(var.regions)) && length(local.regions) == 0 ? ["regions: is empty; name at least one region with its instances (to remove everything, use `terraform destroy`)"] : [],
    flatten([for region, r in local.regions : concat(
      can(regex("^${local.region}$", region)) ? [] : ["regions: \"${region}\" is ${try([for prefix, partition in local.partitions : "a region of the partition ${partition}; firstline was built for the partition aws and is not tested in any other" if startswith(region, prefix)][0], "not the name of an AWS region; use one such as \"eu-west-1\"")}"],
      [for k in try(keys(var.regions[region]), []) : "${region}: ${k} is not known here; a region has instances and vpc" if !contains(["instances", "vpc"], k)],
      length(r.instances) > 0 ? [] : ["${region}: instances: is missing or empty; use { \"i-0123456789abcdef0\" = { ... } }, or leave the region out"],
      try(var.regions[region].vpc, null) == null ? [] : concat(
        [for k in try(keys(var.regions[region].vpc), []) : "${region}: vpc.${k} is not known; a vpc has subnet_ids, security_group_ids and ipv6" if !contains(["subnet_ids", "security_group_ids", "ipv6"], k)],
        try(length(r.vpc.subnet_ids) > 0 && alltrue([for v in r.vpc.subnet_ids : can(regex("^subnet-([0-9a-f]{8}|[0-9a-f]{17})$", v))]), false) ? [] : ["${region}: vpc.subnet_ids: must be a list of subnets such as [\"subnet-0123456789abcdef0\"]"],
        try(length(r.vpc.security_group_ids) > 0 && alltrue([for v in r.vpc.security_group_ids : can(regex("^sg-([0-9a-f]{8}|[0-9a-f]{17})$", v))]), false) ? [] : ["${region}: vpc.security_group_ids: must be a list of security groups such as [\"sg-0123456789abcdef0\"]"],
        try(r.vpc.ipv6, null) == null || can(tobool(r.vpc.ipv6)) ? [] : ["${region}: vpc.ipv6: must be true (the subnets are dual-stack) or false"],
      ),
    )]),
    [for key, i in local.instances : "${i.region}: \"${i.id}\" is not the id of an instance; use i- and 8 or 17 hexadecimal digits" if !can(regex("^i-([0-9a-f]{8}|[0-9a-f]{17})$", i.id))],
    [for id, in_regions in { for key, i in local.instances : i.id => i.region... } : "${id}: is named in ${join(" and ", in_regions)}; an instance lives in one region" if length(in_regions) > 1],
    flatten([for subject, s in local.subjects : subject == "" ? [] : concat(
      s.settings == null || can(keys(s.settings)) ? [] : ["${subject}must be a map of settings: ${join(", ", concat(s.sections, s.fields))}"],
      [for k in try(keys(s.settings), []) : "${subject}${k} is not known; ${k == "alarm" ? "write alarms = { cpu = { ... } }" : "use ${join(", ", concat(s.sections, s.fields))}"}" if !contains(concat(s.sections, s.fields), k)],
      try(s.settings.alarms, null) == null || can(keys(s.settings.alarms)) ? [] : ["${subject}alarms: must be a map from triggers to their settings, such as { cpu = { threshold = 98 } }"],
      [for trigger, v in try({ for k, v in s.settings.alarms : k => v if can(keys(s.settings.alarms)) }, {}) : !contains(values(local.trigger_sections), trigger)
        ? "${subject}alarms: \"${trigger}\" cannot be a trigger's name; use up to 32 of a-z, 0-9 and _, a letter in front, such as \"disk_full\""
        : "${subject}alarms.${trigger}: must be a map; its settings are ${join(", ", keys(local.trigger_fields))}"
        if !contains(values(local.trigger_sections), trigger) || v != null && !can(keys(v))
      ],
    )]),
    flatten([for subject, s in local.subjects : [for section in s.sections :
      "${subject}${section}: must be a map; its settings are ${join(", ", keys(local.schema[section]))}" if section != "alarms" && try(s.settings[section], null) != null && !can(keys(s.settings[section]))
    ]]),
    local.pagers_problems,
    # Whoever sets up a pager means it to be used.
    length(local.pagers_problems) > 0 ? [] : [
      for type in local.pager_blocks : "${type}: is set, but pagers = ${jsonencode(local.pagers)} does not name it; add \"${type}\" to pagers, or leave the block out"
      if !contains(local.pagers, type)
    ],
    var.slack == null || !can(keys(var.slack)) || can(local.checked[""].slack.channel_id) ? [] : ["slack.channel_id: is missing; use ${local.wants.slack.channel_id}"],
    contains(local.pagers, "webhook") && (local.sections.webhook == null || can(keys(local.sections.webhook))) && !can(local.checked[""].webhook.url) ? ["webhook.url: is missing; use ${local.wants.webhook.url}"] : [],
    !can(keys(var.heartbeat)) || can(local.checked[""].heartbeat.service) ? [] : ["heartbeat.service: is missing; use ${local.wants.heartbeat.service}"],
    # That nobody is told is said, not left out.
    var.pagers == null && length(local.pager_blocks) == 0 && var.slack == null ? ["pagers: is left out, and so are ${join(", ", local.pager_types)} and slack, so nobody would be told; set one of them, or pass pagers = [] explicitly to tell nobody"] : [],
  )

  # In single settings.
  field_problems = flatten([
    for subject, sections in local.checked : [
      for section, fields in sections : [
        for field, c in fields : (!c.known
          ? "${subject}${section}.${field} is not known; use ${join(", ", keys(local.schema[section]))}"
          : contains(["headers", "secrets"], local.schema[section][field].kind)
          ? "${subject}${section}.${field}: ${try(join(", ", local.bad_headers[subject][field]), "")}: must be ${local.wants[section][field]}"
          : local.schema[section][field].kind == "dimensions"
          ? join(": ", compact(["${subject}${section}.${field}", join(", ", local.bad_dimensions[subject][section]), "must be ${local.wants[section][field]}"]))
          : contains(["responders", "tags", "details"], local.schema[section][field].kind)
          ? join(": ", compact(["${section}.${field}", join(", ", local.bad_parts[section][field]), "must be ${local.wants[section][field]}"]))
          : "${subject}${section == "" ? "" : "${section}."}${field} = ${replace(replace(replace(replace(replace(jsonencode(c.value), "/\\/\\/[^@/]*@/", "//***@"), contains(keys(local.queries[""]), "${section}.${field}") ? "/\\?[^\"]+/" : "/^$/", "?***"), "\\u003c", "<"), "\\u003e", ">"), "\\u0026", "&")}: must be ${local.wants[section][field]}"
        ) if !c.ok
      ]
    ]
  ])

  # In the query strings, which stand in the state and in the function's settings
  # for all to read.
  query_problems = flatten([
    for subject, fields in local.queries : [
      for field, names in fields : [
        for name in distinct(names) : "${subject}${field}: its query parameter ${name} looks like a secret; ${field == "webhook.url" ? "leave it out, since webhook_secret signs each message" : "put the value into an SSM SecureString parameter and have it sent as a header: url.secret_headers"}"
        if can(regex(local.secret_query, replace(lower(name), "/[_.]/", "-")))
      ]
    ]
  ])

  # In what belongs together. "address" and "host" are the fields that say whom
  # to ask.
  #
  # How long a check may take is what checks/README.md says: all attempts and
  # pauses, a second of slack, finding the instance's address (10 s; 5 s where it only
  # tells whether an address is the instance's), reading secrets, and the proof of our
  # own connectivity. Of the function's 60 s `verify` keeps 12 to ask other regions and
  # to store what came of the checks (handler/verify.go).
  have_seconds = 48
  budgets = {
    for key, s in local.effective : key => {
      url     = !s.url.enabled ? 0 : 1 + s.url.attempts * s.url.timeout_seconds + (s.url.attempts - 1) * s.url.interval_seconds + (s.url.address == "" ? 10 : 5) + (length(s.url.secret_headers) > 0 ? 5 : 0) + (s.url.private ? 0 : 3)
      route53 = s.route53.health_check_id == "" ? 0 : 1 + s.route53.attempts * 10 + (s.route53.attempts - 1) * s.route53.interval_seconds
      ssh     = !s.ssh.enabled ? 0 : 1 + s.ssh.attempts * s.ssh.timeout_seconds + (s.ssh.attempts - 1) * s.ssh.interval_seconds + (s.ssh.host == "" ? 10 : 5) + (s.ssh.private ? 0 : 3)
    }
  }
  vpcs = { for region, r in local.regions : region => { any = r.vpc != null, ipv6 = try(tobool(r.vpc.ipv6), false) == true } }

  heartbeat_problems = local.heartbeat_service == "" ? [] : concat(
    local.heartbeat_service == "opsgenie" && !contains(local.pagers, "opsgenie") ? ["heartbeat.service = \"opsgenie\": the pager opsgenie is not used, whose key the heartbeat needs; use jsm or url"] : [],
    local.heartbeat_service == "jsm" && !(contains(local.pagers, "jsm") && local.once.jsm.cloud_id != "" && local.jsm_team != "") ? ["heartbeat.service = \"jsm\": needs the pager jsm with cloud_id, email and the team_id of the heartbeat's team; set them, or use url"] : [],
    # One that all regions ping would hide that one of them is dead.
    local.heartbeat_service != "url" && length(local.regions) > 1 && !strcontains(local.once.heartbeat.name, "{region}") ? ["heartbeat.name = ${jsonencode(local.once.heartbeat.name)}: ${length(local.regions)} regions would ping one heartbeat, so that nobody would notice when one of them is dead; put {region} into it, and make a heartbeat for each"] : [],
    [for field, service in { name = "url", failure_suffix = "opsgenie jsm" } : "heartbeat.${field}: has no meaning with service = \"${local.heartbeat_service}\"; leave it out" if strcontains(service, local.heartbeat_service) && can(local.checked[""].heartbeat[field])],
  )

  # load balancer => the instances behind it
  behind = { for key, s in local.effective : s.url.address => key... if s.url.enabled && s.url.load_balancer }

  combination_problems = flatten(concat(
    fileexists(local.package) ? [] : ["function.package: there is no file ${local.package}; run `make build`, or name the zip"],
    [for type in ["opsgenie", "jsm"] : "${type}.team_id: is short for one responder of the type team; put it into ${type}.responders too, or leave out one of the two" if local.once[type].team_id != "" && length(local.once[type].responders) > 0],
    contains(local.pagers, "sns") && local.once.sns.topic_arn == "" && length(try([for s in var.subscribers : s], [])) == 0 ? ["sns.topic_arn: is left out, so that pages go to the topic of subscribers, and there are none; name somebody in subscribers, or the ARN of a topic"] : [],
    local.told_bytes > 2500 ? ["pagers, heartbeat: their settings take ${local.told_bytes} bytes of the function's environment, which has room for 2500; shorten details, tags or responders"] : [],
    (local.once.jsm.cloud_id == "") == (local.once.jsm.email == "") ? [] : ["jsm.cloud_id, jsm.email: one is set without the other; set both, with jsm_api_token, or neither"],
    local.heartbeat_problems,
    [for p in distinct(local.named_peers == null ? [] : local.named_peers) : "vantage.peers: \"${p}\" is not a region of this file; use ${join(", ", keys(local.regions))}" if !contains(keys(local.regions), p)],
    [for p, same in { for p in local.named_peers == null ? [] : local.named_peers : p => p... } : "vantage.peers: ${p} is named twice" if length(same) > 1],
    [for region, peers in local.peers : "vantage.required = true: ${region} has no other region to ask, so nothing would ever be rebooted there; ${local.named_peers == null ? "name another region in regions" : "name another region in vantage.peers"}, or leave required out" if tobool(local.once.vantage.required) && length(peers) == 0],
    [for target in [["url", "address", ["port", "private"]], ["ssh", "host", ["private"]]] : [
      for field in target[2] : "defaults: ${target[0]}.${field}: has no meaning with ${target[0]}.${target[1]}, which says whom to ask; leave out one of the two"
      if try(local.checked["defaults: "][target[0]][target[1]].value != "", false) && try(tobool(local.checked["defaults: "][target[0]][field].value), try(tonumber(local.checked["defaults: "][target[0]][field].value) != 0, false))
    ]],
    [for key, s in local.effective : [for problem in [
      !s.url.enabled && !s.ssh.enabled && s.route53.health_check_id == "" ? "url.enabled, ssh.enabled, route53.health_check_id: every check is off, so nothing could ever fail; turn at least one on" : "",

      local.own[key].address && local.own[key].port ? "url.port: has no meaning with url.address; put the port into the address" : "",
      local.own[key].address && local.own[key].url_private ? "url.private: has no meaning with url.address, which says whom to ask; leave out one of the two" : "",
      local.own[key].host && local.own[key].ssh_private ? "ssh.private: has no meaning with ssh.host, which says whom to ask; leave out one of the two" : "",

      local.asked[key].address == "" && try(tobool(local.checked["${key}: "].url.load_balancer.value), false) ? "url.load_balancer: has a meaning with url.address only; name the load balancer there, or leave it out" : "",
      s.url.enabled && s.url.load_balancer && length(try(local.behind[s.url.address], [])) > 1 ? "url.load_balancer: ${join(" and ", [for other in local.behind[s.url.address] : other if other != key])} has the same url.address, so an answer from there says nothing of one of them alone; give each an address of its own, or leave load_balancer out" : "",

      s.url.enabled && s.url.private && !local.vpcs[local.instances[key].region].any ? "url.private = true: the private address is reached from a VPC only; give the region a vpc, or leave private out" : "",
      s.ssh.enabled && s.ssh.private && !local.vpcs[local.instances[key].region].any ? "ssh.private = true: the private address is reached from a VPC only; give the region a vpc, or leave private out" : "",
      s.url.enabled && can(regex("^https?://${local.private_ipv4}([:/?]|$)", s.url.address)) && !local.vpcs[local.instances[key].region].any ? "url.address: names a private address, which is reached from a VPC only; give the region a vpc, or name a public address" : "",
      s.ssh.enabled && can(regex("^${local.private_ipv4}$", s.ssh.host)) && !local.vpcs[local.instances[key].region].any ? "ssh.host = \"${s.ssh.host}\": a private address is reached from a VPC only; give the region a vpc, or name a public address" : "",
      s.url.enabled && s.url.address_family == "ipv6" && !local.vpcs[local.instances[key].region].ipv6 ? "url.address_family = \"ipv6\": a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or use \"ipv4\"" : "",
      s.ssh.enabled && s.ssh.address_family == "ipv6" && !local.vpcs[local.instances[key].region].ipv6 ? "ssh.address_family = \"ipv6\": a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or use \"ipv4\"" : "",
      s.url.enabled && s.url.address_family == "" && can(regex("^https?://\\[", s.url.address)) && !local.vpcs[local.instances[key].region].ipv6 ? "url.address: names an IPv6 address, and a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or name an IPv4 address" : "",
      s.ssh.enabled && s.ssh.address_family == "" && can(regex(":", s.ssh.host)) && !local.vpcs[local.instances[key].region].ipv6 ? "ssh.host = \"${s.ssh.host}\": a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or name an IPv4 address" : "",
      s.url.address_family == "ipv4" && can(regex("^https?://\\[", s.url.address)) || s.url.address_family == "ipv6" && can(regex("^https?://${local.ipv4}([:/?]|$)", s.url.address)) ? "url.address_family = \"${s.url.address_family}\": does not fit the address in url.address" : "",
      s.ssh.address_family == "ipv4" && can(regex(":", s.ssh.host)) || s.ssh.address_family == "ipv6" && can(regex("^${local.ipv4}$", s.ssh.host)) ? "ssh.address_family = \"${s.ssh.address_family}\": does not fit the address in ssh.host" : "",

      s.url.body_pattern != "" && s.url.method == "HEAD" ? "url.body_pattern: the answer to HEAD has no body; use method = \"GET\", or no pattern" : "",
      alltrue([for v in s.url.status : try(tonumber(split("-", v)[0]) <= tonumber(split("-", v)[1]), true)]) ? "" : "url.status = ${jsonencode(s.url.status)}: a range runs backwards; the lower code comes first",
      length(distinct([for k in concat(keys(s.url.headers), keys(s.url.secret_headers)) : lower(k)])) == length(s.url.headers) + length(s.url.secret_headers) ? "" : "url.headers, url.secret_headers: a header is set twice; leave out one",

      local.budgets[key].url > local.have_seconds ? "url: its attempts may take ${local.budgets[key].url} s, the function has ${local.have_seconds} s for a check; lower url.attempts, url.timeout_seconds or url.interval_seconds" : "",
      local.budgets[key].route53 > local.have_seconds ? "route53: its attempts may take ${local.budgets[key].route53} s, the function has ${local.have_seconds} s for a check; lower route53.attempts or route53.interval_seconds" : "",
      local.budgets[key].ssh > local.have_seconds ? "ssh: its attempts may take ${local.budgets[key].ssh} s, the function has ${local.have_seconds} s for a check; lower ssh.attempts, ssh.timeout_seconds or ssh.interval_seconds" : "",

      floor(s.boot.window_seconds / s.boot.interval_seconds) > 200 ? "boot.interval_seconds = ${s.boot.interval_seconds}: gives more than 200 looks in a window of ${s.boot.window_seconds} s; use at least ${ceil(s.boot.window_seconds / 200)}" : "",
      s.boot.first_look_seconds > s.boot.window_seconds ? "boot.first_look_seconds = ${s.boot.first_look_seconds}: is after the window of ${s.boot.window_seconds} s closes; use at most that" : "",
      s.reboot.cooldown_seconds < s.boot.window_seconds ? "reboot.cooldown_seconds = ${s.reboot.cooldown_seconds}: is shorter than boot.window_seconds = ${s.boot.window_seconds}, so that the machine could be rebooted again while it boots; use at least that" : "",

      length(base64encode(local.json[key])) > 5464 ? "the settings take ${length(base64encode(local.json[key])) / 4 * 3} bytes, an SSM parameter holds 4096; shorten headers or url.body_pattern" : "",
    ] : "${key}: ${problem}" if problem != ""]],
  ))

  # In the alarms of each instance. What an instance has from the defaults alone is said
  # of these, once.
  alarm_problems = distinct(flatten([for key, s in local.effective : concat(
    length(s.alarms) > 10 ? ["${key}: alarms: ${length(s.alarms)} are enabled, which is more than 10 per instance; leave some out, or switch them off with enabled = false"] : [],
    length(s.alarms) == 0 ? ["${key}: alarms: none is enabled, so nothing would start an incident; enable at least one"] : [],
    [for trigger, a in s.alarms : [for problem in concat(
      [for field in ["metric", "threshold"] : "${field}: is missing; use ${local.wants["alarms.${trigger}"][field]}"
        if a[field] == null && !can(local.checked["${key}: "]["alarms.${trigger}"][field]) && !can(local.checked["defaults: "]["alarms.${trigger}"][field])
      ],
      contains([10, 20, 30], a.period_seconds) || a.period_seconds % 60 == 0 ? [] : ["period_seconds = ${a.period_seconds}: must be 10, 20, 30 or a multiple of 60"],
      a.period_seconds < 60 && startswith(a.namespace, "AWS/") ? ["period_seconds = ${a.period_seconds}: metrics of AWS (${a.namespace}) take 60 or more"] : [],
      a.namespace == "AWS/EC2" && length(a.dimensions) > 0 ? ["dimensions: no metric of one instance in AWS/EC2 has a dimension beside InstanceId, so the alarm would never have data; leave them out, or name the agent's namespace"] : [],
      a.period_seconds * a.evaluation_periods > (a.period_seconds < 3600 ? 86400 : 604800) ? ["evaluation_periods = ${a.evaluation_periods}: times ${a.period_seconds} s is more than CloudWatch allows (a day; a week for periods of an hour and more)"] : [],
    ) : "${can(keys(local.written["${key}: "]["alarms.${trigger}"])) ? key : "defaults"}: alarms.${trigger}.${problem}"]],
  )]))

  problems = concat(local.shape_problems, local.field_problems, local.query_problems, local.alarm_problems, local.combination_problems)
}
