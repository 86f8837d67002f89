# What comes out when all is well. problems.tftest.hcl has what is not.

variables {
  slack    = { channel_id = "C0123456789" }
  opsgenie = {}
  function = { package = "main.tf" }
}

run "an_instance_of_which_nothing_is_said" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
  }
  assert {
    condition     = length(output.problems) == 0
    error_message = join("\n", output.problems)
  }
  # incident.DefaultSettings, in full.
  assert {
    condition = jsondecode(output.deployment.regions["eu-west-1"].instances["i-0c1cbf2e7abdedf75"].json) == {
      url = {
        enabled = true, address = "", load_balancer = false, scheme = "http", port = 0, path = "/", private = false, address_family = ""
        method  = "GET", headers = {}, secret_headers = {}, timeout_seconds = 3, attempts = 3, interval_seconds = 2
        status  = ["200-299"], body_pattern = "", follow_redirects = true, server_name = "", verify_certificate = true
      }
      route53 = { health_check_id = "", quorum_percent = 18, attempts = 3, interval_seconds = 2 }
      ssh = {
        enabled         = true, host = "", port = 22, private = false, address_family = ""
        timeout_seconds = 7, attempts = 3, interval_seconds = 2, host_key_fingerprint = ""
      }
      boot            = { first_look_seconds = 60, interval_seconds = 20, window_seconds = 600 }
      reboot          = { cooldown_seconds = 21600, per_day = 2, on = "any_check", dry_run = false }
      confirm_seconds = 120
    }
    error_message = output.deployment.regions["eu-west-1"].instances["i-0c1cbf2e7abdedf75"].json
  }
  assert {
    condition = output.deployment.regions["eu-west-1"].instances["i-0c1cbf2e7abdedf75"].alarms == {
      cpu = {
        namespace          = "AWS/EC2", metric = "CPUUtilization", dimensions = {}, period_seconds = 300, statistic = "Maximum", threshold = 100
        evaluation_periods = 1, comparison = "GreaterThanOrEqualToThreshold", treat_missing_data = "missing"
      }
      status = {
        namespace          = "AWS/EC2", metric = "StatusCheckFailed_Instance", dimensions = {}, period_seconds = 60, statistic = "Maximum", threshold = 1
        evaluation_periods = 2, comparison = "GreaterThanOrEqualToThreshold", treat_missing_data = "missing"
      }
    }
    error_message = "the alarms' defaults"
  }
  assert {
    condition     = output.deployment.function == { package = "main.tf", architecture = "arm64", memory_mb = 256, log_retention_days = 90, log_level = "info", managed_policies = 10 }
    error_message = "the function's defaults"
  }
  assert {
    condition     = output.deployment.slack == { channel_id = "C0123456789", api_url = "", pages = true, mention = "channel" } && output.deployment.heartbeat == null
    error_message = "the defaults of Slack"
  }
  assert {
    condition     = [for p in output.deployment.pagers : [p.type, p.topic_arn]] == [["opsgenie", ""]] && jsondecode(output.deployment.pagers[0].json) == { endpoint = "us", priority = "P3", priority_unknown = "P3" }
    error_message = jsonencode(output.deployment.pagers)
  }
  # One region has nobody to ask.
  assert {
    condition     = output.deployment.vantage == { required = false, reserved_concurrency = 5 } && length(output.deployment.regions["eu-west-1"].peers) == 0 && !output.deployment.regions["eu-west-1"].asked
    error_message = jsonencode(output.deployment)
  }
  assert {
    condition     = output.deployment.breaker == { in_flight = 2, per_hour = 6 } && output.deployment.reconcile == { every_minutes = 5 }
    error_message = "the defaults of the breaker and of reconcile"
  }
}

run "everything_said_and_instance_over_defaults_over_built_in" {
  command = plan
  variables {
    defaults = {
      url             = { port = 8080, path = "/default", timeout_seconds = 1.5, attempts = 2 }
      ssh             = { port = 2222 }
      alarms          = { cpu = { threshold = 98, evaluation_periods = 3 }, disk = { namespace = "CWAgent", metric = "disk_used_percent", threshold = 95 } }
      boot            = { window_seconds = 900 }
      reboot          = { cooldown_seconds = 7200, per_day = 3, dry_run = true }
      confirm_seconds = 180
    }
    regions = {
      "eu-west-1" = {
        vpc = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-01234567"], ipv6 = true }
        instances = {
          "i-0c1cbf2e7abdedf75" = {
            url = {
              enabled        = true, scheme = "https", port = 8443, path = "/healthz?deep=1", private = true, address_family = "ipv6", method = "POST"
              headers        = { "X-Probe" = "firstline", Host = "app.example.com" }
              secret_headers = { Authorization = "/app/healthz/authorization", "X-Api-Key" = "/app/healthz/key" }
              attempts       = null, interval_seconds = 0.3, status = ["200", "300-399"], body_pattern = "^ok\\b", follow_redirects = false
              server_name    = "app.example.com", verify_certificate = false
            }
            route53         = { health_check_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", quorum_percent = 50, attempts = 2, interval_seconds = 10 }
            ssh             = { host_key_fingerprint = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8" }
            boot            = { first_look_seconds = 30, interval_seconds = 10 }
            reboot          = { cooldown_seconds = 900, on = "unreachable", dry_run = false }
            confirm_seconds = 0
            alarms          = { status = { enabled = false }, cpu = { statistic = "Average", threshold = 99.5, period_seconds = 60, evaluation_periods = 5, comparison = "GreaterThanThreshold", treat_missing_data = "breaching", namespace = "CWAgent", metric = "cpu_usage_active", dimensions = { cpu = "cpu-total", core = 0 } } }
          }
          "i-0a1b2c3d" = { url = { address = "https://app.example.com/healthz", load_balancer = true }, ssh = null, alarms = { cpu = null, memory = { namespace = "CWAgent", metric = "mem_used_percent", threshold = 99 } } }
        }
      }
      "mx-central-1" = { instances = { "i-0123456789abcdef0" = { url = { enabled = false }, ssh = { host = "bastion.example.com" } } } }
    }
    pagers   = ["jsm", "sns", "opsgenie"]
    opsgenie = { endpoint = "http://127.0.0.1:8080/og", priority = "P1", team_id = "4513b7ea-3b91-438f-b7e4-e3e54af9147c" }
    jsm = {
      endpoint   = "https://jsm.example.com/base", priority = "P2", priority_unknown = "P4"
      responders = [{ type = "team", name = "Operations & co" }, { type = "user", username = "oncall@example.com", id = null }, { type = "schedule", id = "1" }, { type = "escalation", name = "night" }]
      tags       = ["web", 7], details = { runbook = "https://wiki.example.com/web", tier = 1 }, entity = "web", source = "operations"
    }
    sns       = { topic_arn = "arn:aws:sns:us-east-1:210987654321:oncall" }
    slack     = { channel_id = "C0123456789", api_url = "https://slack-gov.com/api/", pages = false }
    breaker   = { in_flight = 0, per_hour = 1000 }
    reconcile = { every_minutes = 10 }
  }
  assert {
    condition = jsondecode(output.deployment.regions["eu-west-1"].instances["i-0c1cbf2e7abdedf75"].json) == {
      url = {
        enabled         = true, address = "", load_balancer = false, scheme = "https", port = 8443, path = "/healthz?deep=1", private = true, address_family = "ipv6", method = "POST"
        headers         = { "X-Probe" = "firstline", Host = "app.example.com" }
        secret_headers  = { Authorization = "/app/healthz/authorization", "X-Api-Key" = "/app/healthz/key" }
        timeout_seconds = 1.5, attempts = 2, interval_seconds = 0.3, status = ["200", "300-399"], body_pattern = "^ok\\b", follow_redirects = false
        server_name     = "app.example.com", verify_certificate = false
      }
      route53 = { health_check_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", quorum_percent = 50, attempts = 2, interval_seconds = 10 }
      ssh = {
        enabled              = true, host = "", port = 2222, private = false, address_family = "", timeout_seconds = 7, attempts = 3, interval_seconds = 2
        host_key_fingerprint = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"
      }
      boot            = { first_look_seconds = 30, interval_seconds = 10, window_seconds = 900 }
      reboot          = { cooldown_seconds = 900, per_day = 3, on = "unreachable", dry_run = false }
      confirm_seconds = 0
    }
    error_message = output.deployment.regions["eu-west-1"].instances["i-0c1cbf2e7abdedf75"].json
  }
  assert {
    condition     = toset(output.deployment.regions["eu-west-1"].instances["i-0c1cbf2e7abdedf75"].secret_parameters) == toset(["/app/healthz/authorization", "/app/healthz/key"])
    error_message = "the parameters that the function must read"
  }
  assert {
    condition     = output.deployment.regions["eu-west-1"].instances["i-0c1cbf2e7abdedf75"].alarms.cpu.dimensions == { cpu = "cpu-total", core = "0" }
    error_message = "the dimensions of an agent's metric"
  }
  # By trigger and field.
  assert {
    condition = { for id, i in output.deployment.regions["eu-west-1"].instances : id => { for trigger, a in i.alarms : trigger => [a.metric, a.threshold, a.evaluation_periods] } } == {
      "i-0c1cbf2e7abdedf75" = { cpu = ["cpu_usage_active", 99.5, 5], disk = ["disk_used_percent", 95, 1] }
      "i-0a1b2c3d"          = { cpu = ["CPUUtilization", 98, 3], disk = ["disk_used_percent", 95, 1], status = ["StatusCheckFailed_Instance", 1, 2], memory = ["mem_used_percent", 99, 1] }
    }
    error_message = jsonencode(output.deployment.regions["eu-west-1"].instances)
  }
  # The address says whom to ask: the defaults' port yields to it.
  assert {
    condition     = jsondecode(output.deployment.regions["eu-west-1"].instances["i-0a1b2c3d"].json).url.port == 0 && jsondecode(output.deployment.regions["eu-west-1"].instances["i-0a1b2c3d"].json).confirm_seconds == 180 && jsondecode(output.deployment.regions["eu-west-1"].instances["i-0a1b2c3d"].json).url.load_balancer
    error_message = output.deployment.regions["eu-west-1"].instances["i-0a1b2c3d"].json
  }
  assert {
    condition     = output.deployment.breaker == { in_flight = 0, per_hour = 1000 } && output.deployment.reconcile == { every_minutes = 10 }
    error_message = "the breaker, of which 0 is allowed, and reconcile"
  }
  assert {
    condition     = [for p in output.deployment.pagers : [p.type, p.topic_arn]] == [["jsm", ""], ["sns", "arn:aws:sns:us-east-1:210987654321:oncall"], ["opsgenie", ""]]
    error_message = "the pagers in the order of the file: ${jsonencode(output.deployment.pagers)}"
  }
  assert {
    condition = [for p in output.deployment.pagers : jsondecode(p.json)] == [
      {
        endpoint   = "https://jsm.example.com/base", priority = "P2", priority_unknown = "P4", entity = "web", source = "operations"
        responders = [{ type = "team", name = "Operations & co" }, { type = "user", username = "oncall@example.com" }, { type = "schedule", id = "1" }, { type = "escalation", name = "night" }]
        tags       = ["web", "7"], details = { runbook = "https://wiki.example.com/web", tier = "1" }
      },
      { topic_arn = "arn:aws:sns:us-east-1:210987654321:oncall" },
      { endpoint = "http://127.0.0.1:8080/og", priority = "P1", priority_unknown = "P1", responders = [{ type = "team", id = "4513b7ea-3b91-438f-b7e4-e3e54af9147c" }] },
    ]
    error_message = join("\n", output.deployment.pagers[*].json)
  }
  assert {
    condition     = !output.deployment.slack.pages
    error_message = "pages in Slack"
  }
  assert {
    condition     = output.deployment.regions["mx-central-1"].vpc == null && output.deployment.regions["eu-west-1"].vpc.ipv6
    error_message = "a VPC where one was named"
  }
}

# What says whom to ask, on two levels: the instance's wins.
run "address_and_port_on_two_levels" {
  command = plan
  variables {
    defaults = { url = { port = 8080, scheme = "https", path = "/healthz", private = true }, ssh = { private = true } }
    regions = {
      "eu-west-1" = {
        vpc = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-01234567"] }
        instances = {
          "i-0c1cbf2e7abdedf75" = { url = { address = "http://app.example.com/" }, ssh = { host = "app.example.com" } }
          "i-0a1b2c3d"          = { url = { address = "", port = 0 }, ssh = { host = "" } }
        }
      }
      # Without a VPC: what has an address or a host is not private.
      "us-east-1" = { instances = { "i-0123456789abcdef0" = { url = { address = "http://app.example.com/" }, ssh = { host = "app.example.com" } } } }
    }
  }
  assert {
    condition     = length(output.problems) == 0
    error_message = join("\n", output.problems)
  }
  assert {
    condition = { for id, i in merge(output.deployment.regions["eu-west-1"].instances, output.deployment.regions["us-east-1"].instances) : id => [
      for v in [jsondecode(i.json).url.address, jsondecode(i.json).url.port, jsondecode(i.json).url.private, jsondecode(i.json).ssh.host, jsondecode(i.json).ssh.private] : tostring(v)
      ] } == {
      "i-0c1cbf2e7abdedf75" = ["http://app.example.com/", "0", "false", "app.example.com", "false"]
      "i-0a1b2c3d"          = ["", "0", "true", "", "true"]
      "i-0123456789abcdef0" = ["http://app.example.com/", "0", "false", "app.example.com", "false"]
    }
    error_message = jsonencode(output.deployment.regions)
  }
}

run "an_instances_port_over_an_address_of_the_defaults" {
  command = plan
  variables {
    defaults = { url = { address = "http://app.example.com/" }, ssh = { host = "app.example.com" } }
    regions = { "eu-west-1" = {
      vpc = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-01234567"] }
      instances = {
        "i-0c1cbf2e7abdedf75" = { url = { port = 8080 } }
        "i-0a1b2c3d"          = { url = { private = true }, ssh = { private = true } }
        "i-0a1b2c3e"          = { url = { port = 0, private = false }, ssh = { private = false } }
      }
    } }
  }
  assert {
    condition     = length(output.problems) == 0
    error_message = join("\n", output.problems)
  }
  assert {
    condition = { for id, i in output.deployment.regions["eu-west-1"].instances : id => [
      for v in [jsondecode(i.json).url.address, jsondecode(i.json).url.port, jsondecode(i.json).url.private, jsondecode(i.json).ssh.host, jsondecode(i.json).ssh.private] : tostring(v)
      ] } == {
      "i-0c1cbf2e7abdedf75" = ["", "8080", "false", "app.example.com", "false"]
      "i-0a1b2c3d"          = ["", "0", "true", "", "true"]
      "i-0a1b2c3e"          = ["http://app.example.com/", "0", "false", "app.example.com", "false"]
    }
    error_message = jsonencode(output.deployment.regions)
  }
}

run "pagers_that_have_a_block" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    slack   = null
    sns     = { topic_arn = "arn:aws:sns:us-east-1:210987654321:oncall" }
    webhook = { url = "http://127.0.0.1:8080/hook?team=ops" }
    jsm     = { priority = "P1", cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com" }

    pagerduty = {}
  }
  assert {
    condition     = length(output.problems) == 0 && output.deployment.pagers[*].type == ["opsgenie", "jsm", "pagerduty", "webhook", "sns"] && output.deployment.slack == null
    error_message = jsonencode(output.deployment)
  }
  assert {
    condition = { for p in output.deployment.pagers : p.type => jsondecode(p.json) if contains(["jsm", "pagerduty", "webhook"], p.type) } == {
      jsm       = { priority = "P1", priority_unknown = "P1", cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com" }
      pagerduty = { endpoint = "us", severity = "critical", severity_unknown = "error" }
      webhook   = { url = "http://127.0.0.1:8080/hook?team=ops" }
    }
    error_message = join("\n", output.deployment.pagers[*].json)
  }
  assert {
    condition = { for p in output.deployment.pagers : p.type => p.secrets } == {
      opsgenie  = { key_parameter = "opsgenie-api-key" }
      jsm       = { key_parameter = "jsm-api-key", token_parameter = "jsm-api-token" }
      pagerduty = { key_parameter = "pagerduty-routing-key" }
      webhook   = { key_parameter = "webhook-secret" }
      sns       = {}
    }
    error_message = jsonencode(output.deployment.pagers[*].secrets)
  }
}

run "pagerduty" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie  = null
    pagerduty = { endpoint = "eu", severity = "error", severity_unknown = "warning", group = "web", class = "instance", component = 7, details = { tier = 1 } }
  }
  assert {
    condition     = length(output.problems) == 0 && jsondecode(output.deployment.pagers[0].json) == { endpoint = "eu", severity = "error", severity_unknown = "warning", group = "web", class = "instance", component = "7", details = { tier = "1" } }
    error_message = jsonencode(output.deployment.pagers)
  }
}

run "heartbeat_of_opsgenie" {
  command = plan
  variables {
    regions   = { for n, region in ["us-east-1", "eu-west-1"] : region => { instances = { "i-${n}c1cbf2e7abdedf75" = {} } } }
    opsgenie  = { endpoint = "eu" }
    heartbeat = { service = "opsgenie" }
  }
  assert {
    condition     = length(output.problems) == 0 && jsondecode(output.deployment.heartbeat.json) == { service = "opsgenie", name = "firstline-{region}", endpoint = "eu" } && output.deployment.heartbeat.secrets == { key_parameter = "opsgenie-api-key" }
    error_message = jsonencode([output.problems, output.deployment.heartbeat])
  }
}

# Of the team that is named first.
run "heartbeat_of_jsm" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie  = null
    jsm       = { cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com", responders = [{ type = "user", id = "1" }, { type = "team", id = "2" }] }
    heartbeat = { service = "jsm", name = "web of Ireland" }
  }
  assert {
    condition     = length(output.problems) == 0 && jsondecode(output.deployment.heartbeat.json) == { service = "jsm", name = "web of Ireland", team_id = "2", cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com" } && output.deployment.heartbeat.secrets == tomap({ token_parameter = "jsm-api-token" })
    error_message = jsonencode([output.problems, output.deployment.heartbeat])
  }
}

run "heartbeat_of_a_url" {
  command = plan
  variables {
    regions   = { for n, region in ["us-east-1", "eu-west-1"] : region => { instances = { "i-${n}c1cbf2e7abdedf75" = {} } } }
    heartbeat = { service = "url", failure_suffix = "/fail" }
  }
  assert {
    condition     = length(output.problems) == 0 && jsondecode(output.deployment.heartbeat.json) == { service = "url", failure_suffix = "/fail" } && output.deployment.heartbeat.secrets == { key_parameter = "heartbeat-url" }
    error_message = jsonencode([output.problems, output.deployment.heartbeat])
  }
}

run "slack_alone" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie = null
    slack    = { channel_id = "C0123456789", mention = "S0123456789" }
  }
  assert {
    condition     = length(output.problems) == 0 && length(output.deployment.pagers) == 0 && output.deployment.slack.mention == "S0123456789"
    error_message = jsonencode(output.deployment)
  }
}

run "nobody_to_tell_and_that_is_said" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    slack    = null
    opsgenie = null
    pagers   = []
  }
  assert {
    condition     = length(output.problems) == 0 && length(output.deployment.pagers) == 0 && output.deployment.slack == null
    error_message = jsonencode(output.deployment)
  }
}

run "the_topic_of_subscribers" {
  command = plan
  variables {
    regions     = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie    = null
    pagers      = ["sns"]
    subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }
  assert {
    condition     = length(output.problems) == 0 && output.deployment.pagers == [{ type = "sns", json = "{}", topic_arn = "", secrets = {} }]
    error_message = jsonencode(output.deployment.pagers)
  }
}

# The most that the service takes.
run "bounds_of_an_alert" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie = {
      tags   = [for i in range(12) : format("%-50s", "tag ${i}")]
      entity = format("%-512s", "e")
      source = format("%-100s", "s")
    }
  }
  assert {
    condition     = length(output.problems) == 0
    error_message = join("\n", output.problems)
  }
}

# The next two by name, round the end.
run "peers_left_out" {
  command = plan
  variables {
    regions = { for n, region in ["us-east-1", "eu-west-1", "ap-south-1", "eu-central-1"] : region => { instances = { "i-${n}c1cbf2e7abdedf75" = {} } } }
  }
  assert {
    condition = { for region, r in output.deployment.regions : region => join(" ", r.peers) if r.asked } == {
      "ap-south-1"   = "eu-central-1 eu-west-1"
      "eu-central-1" = "eu-west-1 us-east-1"
      "eu-west-1"    = "us-east-1 ap-south-1"
      "us-east-1"    = "ap-south-1 eu-central-1"
    }
    error_message = jsonencode({ for region, r in output.deployment.regions : region => r.peers })
  }
}

run "peers_of_two_regions" {
  command = plan
  variables {
    regions = { for n, region in ["us-east-1", "eu-west-1"] : region => { instances = { "i-${n}c1cbf2e7abdedf75" = {} } } }
    vantage = { required = true, reserved_concurrency = 0 }
  }
  assert {
    condition     = { for region, r in output.deployment.regions : region => join(" ", r.peers) if r.asked } == { "eu-west-1" = "us-east-1", "us-east-1" = "eu-west-1" } && output.deployment.vantage == { required = true, reserved_concurrency = 0 }
    error_message = jsonencode({ for region, r in output.deployment.regions : region => r.peers })
  }
}

run "peers_named" {
  command = plan
  variables {
    regions = { for n, region in ["us-east-1", "eu-west-1", "ap-south-1", "eu-central-1"] : region => { instances = { "i-${n}c1cbf2e7abdedf75" = {} } } }
    vantage = { peers = ["us-east-1", "eu-central-1", "ap-south-1"] }
  }
  assert {
    condition = { for region, r in output.deployment.regions : region => join(" ", concat(r.peers, r.asked ? ["asked"] : [])) } == {
      "ap-south-1"   = "us-east-1 eu-central-1 asked"
      "eu-central-1" = "us-east-1 ap-south-1 asked"
      "eu-west-1"    = "us-east-1 eu-central-1"
      "us-east-1"    = "eu-central-1 ap-south-1 asked"
    }
    error_message = jsonencode({ for region, r in output.deployment.regions : region => r.peers })
  }
}

run "nobody_is_asked" {
  command = plan
  variables {
    regions = { for n, region in ["us-east-1", "eu-west-1"] : region => { instances = { "i-${n}c1cbf2e7abdedf75" = {} } } }
    vantage = { peers = [] }
  }
  assert {
    condition     = alltrue([for r in values(output.deployment.regions) : length(r.peers) == 0 && !r.asked])
    error_message = jsonencode({ for region, r in output.deployment.regions : region => r.peers })
  }
}
