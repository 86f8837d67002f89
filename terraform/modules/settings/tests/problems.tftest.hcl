# Every rule, with its sentence: several faults to a run, since all of them
# must show at once, and nothing beside them.

variables {
  slack    = { channel_id = "C0123456789" }
  pagers   = []
  function = { package = "main.tf" }
}

run "no_regions" {
  command = plan
  variables {
    regions = {}
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "regions: is empty; name at least one region with its instances (to remove everything, use `terraform destroy`)",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "regions_not_a_map" {
  command = plan
  variables {
    regions = "eu-west-1"
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "regions: must be a map from region names to { instances = { ... } }",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "not_a_region" {
  command = plan
  variables {
    regions = {
      "eu-west1"      = { instances = { "i-0c1cbf2e7abdedf75" = {} } }
      "eu-wset-1"     = { instances = { "i-1c1cbf2e7abdedf75" = {} } }
      "us-gov-west-1" = { instances = { "i-2c1cbf2e7abdedf75" = {} } }
    }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "regions: \"eu-west1\" is not the name of an AWS region; use one such as \"eu-west-1\"",
      "regions: \"eu-wset-1\" is not the name of an AWS region; use one such as \"eu-west-1\"",
      "regions: \"us-gov-west-1\" is a region of the partition aws-us-gov; firstline was built for the partition aws and is not tested in any other",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "region_unknown_key" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} }, vcp = {} } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1: vcp is not known here; a region has instances and vpc",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "region_without_instances" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = {} }, "us-east-1" = {} }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1: instances: is missing or empty; use { \"i-0123456789abcdef0\" = { ... } }, or leave the region out",
      "us-east-1: instances: is missing or empty; use { \"i-0123456789abcdef0\" = { ... } }, or leave the region out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "vpc_wrong" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} }, vpc = { subnets = [], security_group_ids = "sg-01234567", ipv6 = "yes" } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1: vpc.subnets is not known; a vpc has subnet_ids, security_group_ids and ipv6",
      "eu-west-1: vpc.subnet_ids: must be a list of subnets such as [\"subnet-0123456789abcdef0\"]",
      "eu-west-1: vpc.security_group_ids: must be a list of security groups such as [\"sg-0123456789abcdef0\"]",
      "eu-west-1: vpc.ipv6: must be true (the subnets are dual-stack) or false",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "instance_ids" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-123" = {}, "I-0a1b2c3d" = {}, "i-0a1b2c3d" = {} } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1: \"I-0a1b2c3d\" is not the id of an instance; use i- and 8 or 17 hexadecimal digits",
      "eu-west-1: \"i-123\" is not the id of an instance; use i- and 8 or 17 hexadecimal digits",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "instance_in_two_regions" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }, "us-east-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "i-0c1cbf2e7abdedf75: is named in eu-west-1 and us-east-1; an instance lives in one region",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "unknown_section" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { shh = {} } } } }
    defaults = { route54 = {} }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "defaults: route54 is not known; use url, route53, ssh, boot, reboot, alarms, confirm_seconds",
      "eu-west-1/i-0c1cbf2e7abdedf75: shh is not known; use url, route53, ssh, boot, reboot, alarms, confirm_seconds",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "section_not_a_map" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { ssh = 22 } } } }
    defaults = "x"
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "defaults: must be a map of settings: url, route53, ssh, boot, reboot, alarms, confirm_seconds",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh: must be a map; its settings are address_family, attempts, enabled, host, host_key_fingerprint, interval_seconds, port, private, timeout_seconds",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "instance_not_a_map" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = "x" } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: must be a map of settings: url, route53, ssh, boot, reboot, alarms, confirm_seconds",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "unknown_fields" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { adress = "https://app.example.com/" } } } } }
    defaults  = { boot = { window = 5 }, reboot = { cool_down_seconds = 5 }, confirm_second = 5 }
    slack     = { channel_id = "C0123456789", token = "x" }
    opsgenie  = { team = "x" }
    function  = { package = "main.tf", arch = "x86_64" }
    breaker   = { in_flights = 1 }
    reconcile = { minutes = 5 }

    sns    = { topic = "x" }
    jsm    = { key = "x" }
    pagers = ["opsgenie", "jsm", "sns"]

    subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "defaults: confirm_second is not known; use url, route53, ssh, boot, reboot, alarms, confirm_seconds",
      "breaker.in_flights is not known; use in_flight, per_hour",
      "function.arch is not known; use architecture, log_level, log_retention_days, managed_policies, memory_mb, package",
      "jsm.key is not known; use cloud_id, details, email, endpoint, entity, priority, priority_unknown, responders, source, tags, team_id",
      "opsgenie.team is not known; use details, endpoint, entity, priority, priority_unknown, responders, source, tags, team_id",
      "reconcile.minutes is not known; use every_minutes",
      "slack.token is not known; use api_url, channel_id, mention, pages",
      "sns.topic is not known; use topic_arn",
      "defaults: boot.window is not known; use first_look_seconds, interval_seconds, window_seconds",
      "defaults: reboot.cool_down_seconds is not known; use cooldown_seconds, dry_run, on, per_day",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.adress is not known; use address, address_family, attempts, body_pattern, enabled, follow_redirects, headers, interval_seconds, load_balancer, method, path, port, private, scheme, secret_headers, server_name, status, timeout_seconds, verify_certificate",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "ranges" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { port = 65536, timeout_seconds = 0.05, attempts = 0, interval_seconds = 31 }, route53 = { quorum_percent = 100, attempts = 1.5 }, ssh = { port = 0, timeout_seconds = "long", attempts = 11 }, boot = { first_look_seconds = 0, interval_seconds = 9, window_seconds = 3601 }, confirm_seconds = 601, reboot = { cooldown_seconds = 86401, per_day = 25, on = "ssh", dry_run = "maybe" }, alarms = { cpu = { threshold = "high", evaluation_periods = 0, period_seconds = 5 } } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: confirm_seconds = 601: must be a whole number from 0 to 600",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.evaluation_periods = 0: must be a whole number from 1 to 8640",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.period_seconds = 5: must be a whole number from 10 to 86400",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.threshold = \"high\": must be a number from -1000000000000000 to 1000000000000000",
      "eu-west-1/i-0c1cbf2e7abdedf75: boot.first_look_seconds = 0: must be a whole number from 1 to 3600",
      "eu-west-1/i-0c1cbf2e7abdedf75: boot.interval_seconds = 9: must be a whole number from 10 to 3600",
      "eu-west-1/i-0c1cbf2e7abdedf75: boot.window_seconds = 3601: must be a whole number from 1 to 3600",
      "eu-west-1/i-0c1cbf2e7abdedf75: reboot.cooldown_seconds = 86401: must be a whole number from 0 to 86400",
      "eu-west-1/i-0c1cbf2e7abdedf75: reboot.dry_run = \"maybe\": must be true or false",
      "eu-west-1/i-0c1cbf2e7abdedf75: reboot.on = \"ssh\": must be one of any_check, unreachable",
      "eu-west-1/i-0c1cbf2e7abdedf75: reboot.per_day = 25: must be a whole number from 0 to 24",
      "eu-west-1/i-0c1cbf2e7abdedf75: route53.attempts = 1.5: must be a whole number from 1 to 10",
      "eu-west-1/i-0c1cbf2e7abdedf75: route53.quorum_percent = 100: must be a whole number from 0 to 99",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.attempts = 11: must be a whole number from 1 to 10",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.port = 0: must be a whole number from 1 to 65535",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.timeout_seconds = \"long\": must be a number from 0.1 to 30",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.attempts = 0: must be a whole number from 1 to 10",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.interval_seconds = 31: must be a number from 0 to 30",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.port = 65536: must be a whole number from 0 to 65535",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.timeout_seconds = 0.05: must be a number from 0.1 to 30",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "one_of_a_few" {
  command = plan
  variables {
    pagers   = null
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { scheme = "ftp", method = "PUT", address_family = "ip", enabled = "yes" }, ssh = { address_family = 4 }, alarms = { cpu = { statistic = "Max", comparison = ">=", treat_missing_data = "bad" } } } } } }
    function = { package = "main.tf", architecture = "arm", log_level = "trace" }
    opsgenie = { priority = "P6", priority_unknown = 4 }
    slack    = { channel_id = "C0123456789", pages = "some" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "function.architecture = \"arm\": must be one of arm64, x86_64",
      "function.log_level = \"trace\": must be one of debug, info, warn, error",
      "opsgenie.priority = \"P6\": must be one of P1, P2, P3, P4, P5",
      "opsgenie.priority_unknown = 4: must be one of P1, P2, P3, P4, P5",
      "slack.pages = \"some\": must be true or false",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.comparison = \">=\": must be one of GreaterThanOrEqualToThreshold, GreaterThanThreshold, LessThanThreshold, LessThanOrEqualToThreshold",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.statistic = \"Max\": must be one of Maximum, Minimum, Average, Sum, SampleCount",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.treat_missing_data = \"bad\": must be one of missing, ignore, breaching, notBreaching",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.address_family = 4: must be one of ipv4, ipv6",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address_family = \"ip\": must be one of ipv4, ipv6",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.enabled = \"yes\": must be true or false",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.method = \"PUT\": must be one of GET, HEAD, POST, OPTIONS",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.scheme = \"ftp\": must be one of http, https",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "forms" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { path = "healthz", status = ["200", "700"], body_pattern = "(", server_name = "https://x" }, route53 = { health_check_id = "4f2b" }, ssh = { host = "user@host:22", host_key_fingerprint = "MD5:00" }, alarms = { cpu = { metric = "", namespace = "" } } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.metric = \"\": must be the name of a metric that has the dimension InstanceId",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.namespace = \"\": must be a CloudWatch namespace such as \"AWS/EC2\" or \"CWAgent\"",
      "eu-west-1/i-0c1cbf2e7abdedf75: route53.health_check_id = \"4f2b\": must be the id that Route 53 shows, such as \"4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b\"",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.host = \"user@host:22\": must be a host name or an IP address, without scheme, user, brackets and port (the port is ssh.port)",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.host_key_fingerprint = \"MD5:00\": must be SHA256: and 43 base64 characters, as `ssh-keygen -lf` prints it",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.body_pattern = \"(\": must be an RE2 pattern (https://golang.org/s/re2syntax)",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.path = \"healthz\": must be a path such as \"/healthz\"",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.server_name = \"https://x\": must be the name in the certificate, such as \"app.example.com\", without scheme and port",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.status = [\"200\",\"700\"]: must be a list of status codes or ranges from 100 to 599, such as [\"200\", \"300-399\"]",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "status_empty" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { status = [] } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.status = []: must be a list of status codes or ranges from 100 to 599, such as [\"200\", \"300-399\"]",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "status_backwards" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { status = ["399-300"] } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.status = [\"399-300\"]: a range runs backwards; the lower code comes first",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "slack_opsgenie_function" {
  command = plan
  variables {
    pagers   = null
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    slack    = { channel_id = "#ops", api_url = "http://slack-gov.com/api/" }
    opsgenie = { endpoint = "europe", team_id = "the team" }
    function = { package = "nowhere.zip", memory_mb = 64, log_retention_days = 91, managed_policies = 30 }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "function.log_retention_days = 91: must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653",
      "function.managed_policies = 30: must be a whole number from 10 to 25",
      "function.memory_mb = 64: must be a whole number from 128 to 10240",
      "opsgenie.endpoint = \"europe\": must be \"us\", \"eu\" or an https:// address; Jira Service Management has a block of its own, jsm, and is named in pagers",
      "opsgenie.team_id = \"the team\": must be a team's id, such as \"4513b7ea-3b91-438f-b7e4-e3e54af9147c\"; leave it out to let the integration's own team answer",
      "slack.api_url = \"http://slack-gov.com/api/\": must be an https:// address such as \"https://slack-gov.com/api/\"; leave it out for Slack's own",
      "slack.channel_id = \"#ops\": must be the id of a channel, such as \"C0123456789\" (Slack shows it at the end of the channel's details), not its name",
      "function.package: there is no file nowhere.zip; run `make build`, or name the zip",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "nobody_to_tell" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = null
    slack   = null
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "pagers: is left out, and so are opsgenie, jsm, pagerduty, webhook, sns and slack, so nobody would be told; set one of them, or pass pagers = [] explicitly to tell nobody",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "slack_without_a_channel" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    slack   = {}
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "slack.channel_id: is missing; use the id of a channel, such as \"C0123456789\" (Slack shows it at the end of the channel's details), not its name",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "a_password_is_not_repeated" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { address = "https://user:hunter2@app.example.com/" } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address = \"https://***@app.example.com/\": must be an http:// or https:// address such as \"https://app.example.com/healthz\", without user name and password (put the value of the Authorization header into an SSM parameter and name that in url.secret_headers)",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "address_of_another_scheme" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { address = "ftp://app.example.com/" } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address = \"ftp://app.example.com/\": must be an http:// or https:// address such as \"https://app.example.com/healthz\", without user name and password (put the value of the Authorization header into an SSM parameter and name that in url.secret_headers)",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "headers" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { headers = { Authorization = "Basic c2VjcmV0", Connection = "close", host = "https://app.example.com", "X Y" = "z", "X-Fine" = "a" }, secret_headers = { Host = "/app/host", "X-Api-Key" = "hunter2", Cookie = "/app/cookie" } } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.headers: Authorization, Connection, X Y, host: must be a map from header names to values of one line, that of Host a host; a header that HTTP sets itself (Connection, Content-Length, ...) is left out, and one that carries a secret (Authorization, Cookie, X-Api-Key, ...) goes into url.secret_headers, with the name of an SSM parameter for a value",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.secret_headers: Host, X-Api-Key: must be a map from header names to names of SSM parameters, which begin with \"/\", such as \"/app/healthz/token\"; Host is no secret",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "header_twice" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { headers = { "x-probe" = "a" }, secret_headers = { "X-Probe" = "/app/probe" } } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.headers, url.secret_headers: a header is set twice; leave out one",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "nothing_to_check" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { enabled = false }, ssh = { enabled = false } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.enabled, ssh.enabled, route53.health_check_id: every check is off, so nothing could ever fail; turn at least one on",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "address_with_port_or_private" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { address = "https://app.example.com/", port = 443, private = true }, ssh = { host = "app.example.com", private = true } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.port: has no meaning with url.address; put the port into the address",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.private: has no meaning with url.address, which says whom to ask; leave out one of the two",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.private: has no meaning with ssh.host, which says whom to ask; leave out one of the two",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "defaults_address_with_port" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    defaults = { url = { address = "https://app.example.com/", port = 443, private = true }, ssh = { host = "app.example.com", private = true } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "defaults: url.port: has no meaning with url.address, which says whom to ask; leave out one of the two",
      "defaults: url.private: has no meaning with url.address, which says whom to ask; leave out one of the two",
      "defaults: ssh.private: has no meaning with ssh.host, which says whom to ask; leave out one of the two",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "secrets_in_query_strings" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = {
      "i-0c1cbf2e7abdedf75" = { url = { address = "https://app.example.com/?x=1&api_key=hunter2;Token=hunter2&Token=hunter2" } }
      "i-0a1b2c3d"          = { url = { path = "/secret/token?deep=token&signal=1&author=me" } }
      "i-0a1b2c3e"          = { url = { path = "healthz?pwd=hunter2" } }
    } } }
    defaults = { url = { path = "/?X-Amz-Signature=hunter2&sig=hunter2&p%61ssword=hunter2" } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0a1b2c3e: url.path = \"healthz?***\": must be a path such as \"/healthz\"",
      "defaults: url.path: its query parameter X-Amz-Signature looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secret_headers",
      "defaults: url.path: its query parameter sig looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secret_headers",
      "defaults: url.path: its query parameter password looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secret_headers",
      "eu-west-1/i-0a1b2c3e: url.path: its query parameter pwd looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secret_headers",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address: its query parameter api_key looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secret_headers",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address: its query parameter Token looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secret_headers",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "private_address_without_vpc" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = {
      "i-0c1cbf2e7abdedf75" = { url = { address = "http://172.16.0.7:8080/" }, ssh = { host = "10.0.0.7" } }
      "i-0a1b2c3d"          = { url = { address = "http://172.32.0.7/" }, ssh = { host = "100.128.0.1" } }
      "i-0a1b2c3e"          = { url = { enabled = false, address = "http://192.168.0.7/" }, ssh = { host = "127.0.0.1" } }
    } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address: names a private address, which is reached from a VPC only; give the region a vpc, or name a public address",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.host = \"10.0.0.7\": a private address is reached from a VPC only; give the region a vpc, or name a public address",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "private_or_ipv6_without_vpc" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { private = true, address_family = "ipv6" }, ssh = { private = true, address_family = "ipv6" } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.private = true: the private address is reached from a VPC only; give the region a vpc, or leave private out",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.private = true: the private address is reached from a VPC only; give the region a vpc, or leave private out",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address_family = \"ipv6\": a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or use \"ipv4\"",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.address_family = \"ipv6\": a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or use \"ipv4\"",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "address_of_the_other_family" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { address = "http://[2001:db8::1]:8080/", address_family = "ipv4" }, ssh = { host = "2001:db8::1", address_family = "ipv4" } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address_family = \"ipv4\": does not fit the address in url.address",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.address_family = \"ipv4\": does not fit the address in ssh.host",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "ipv6_address_without_dual_stack" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { address = "http://[2001:db8::1]:8080/" }, ssh = { host = "2001:db8::1" } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.address: names an IPv6 address, and a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or name an IPv4 address",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh.host = \"2001:db8::1\": a function has IPv6 in dual-stack subnets only; give the region a vpc with ipv6 = true, or name an IPv4 address",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "a_load_balancer_in_front_of_two" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {}, "i-0a1b2c3d" = {}, "i-0123456789abcdef0" = { url = { address = "https://one.example.com/" } } } } }
    defaults = { url = { load_balancer = true, address = "https://app.example.com/" } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0a1b2c3d: url.load_balancer: eu-west-1/i-0c1cbf2e7abdedf75 has the same url.address, so an answer from there says nothing of one of them alone; give each an address of its own, or leave load_balancer out",
      "eu-west-1/i-0c1cbf2e7abdedf75: url.load_balancer: eu-west-1/i-0a1b2c3d has the same url.address, so an answer from there says nothing of one of them alone; give each an address of its own, or leave load_balancer out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "load_balancer_without_an_address" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { load_balancer = true } }, "i-0a1b2c3d" = {} } } }
    defaults = { url = { load_balancer = true } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.load_balancer: has a meaning with url.address only; name the load balancer there, or leave it out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "pattern_with_head" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { method = "HEAD", body_pattern = "ok" } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url.body_pattern: the answer to HEAD has no body; use method = \"GET\", or no pattern",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "budgets" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { timeout_seconds = 15, secret_headers = { Authorization = "/app/token" } }, route53 = { health_check_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", attempts = 5 }, ssh = { attempts = 8 } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: url: its attempts may take 68 s, the function has 48 s for a check; lower url.attempts, url.timeout_seconds or url.interval_seconds",
      "eu-west-1/i-0c1cbf2e7abdedf75: route53: its attempts may take 59 s, the function has 48 s for a check; lower route53.attempts or route53.interval_seconds",
      "eu-west-1/i-0c1cbf2e7abdedf75: ssh: its attempts may take 84 s, the function has 48 s for a check; lower ssh.attempts, ssh.timeout_seconds or ssh.interval_seconds",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

# What TestBudget in checks/budget_test.go tells apart; an address in url fits.
run "budgets_of_each_kind" {
  command = plan
  variables {
    defaults = { url = { attempts = 8 }, ssh = { attempts = 5 }, route53 = { attempts = 5 } }
    regions = { "eu-west-1" = {
      vpc = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-01234567"] }
      instances = {
        "i-00000001" = {}
        "i-00000002" = { url = { private = true }, ssh = { private = true } }
        "i-00000003" = { url = { address = "http://app.example.com/" }, ssh = { host = "app.example.com" } }
        "i-00000004" = { url = { secret_headers = { Authorization = "/app/token" } }, ssh = { enabled = false } }
        "i-00000005" = { url = { enabled = false }, ssh = { enabled = false }, route53 = { health_check_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b" } }
      }
    } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-00000001: url: its attempts may take 52 s, the function has 48 s for a check; lower url.attempts, url.timeout_seconds or url.interval_seconds",
      "eu-west-1/i-00000001: ssh: its attempts may take 57 s, the function has 48 s for a check; lower ssh.attempts, ssh.timeout_seconds or ssh.interval_seconds",
      "eu-west-1/i-00000002: url: its attempts may take 49 s, the function has 48 s for a check; lower url.attempts, url.timeout_seconds or url.interval_seconds",
      "eu-west-1/i-00000002: ssh: its attempts may take 54 s, the function has 48 s for a check; lower ssh.attempts, ssh.timeout_seconds or ssh.interval_seconds",
      "eu-west-1/i-00000003: ssh: its attempts may take 52 s, the function has 48 s for a check; lower ssh.attempts, ssh.timeout_seconds or ssh.interval_seconds",
      "eu-west-1/i-00000004: url: its attempts may take 57 s, the function has 48 s for a check; lower url.attempts, url.timeout_seconds or url.interval_seconds",
      "eu-west-1/i-00000005: route53: its attempts may take 59 s, the function has 48 s for a check; lower route53.attempts or route53.interval_seconds",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "boot_window" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { boot = { window_seconds = 3600, interval_seconds = 10 } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: boot.interval_seconds = 10: gives more than 200 looks in a window of 3600 s; use at least 18",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "cooldown_shorter_than_the_window" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { reboot = { cooldown_seconds = 0 } }, "i-0a1b2c3d" = { boot = { window_seconds = 1800 } }, "i-0a1b2c3e" = { boot = { window_seconds = 1801 } } } } }
    defaults = { boot = { window_seconds = 900 }, reboot = { cooldown_seconds = 1800 } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0a1b2c3e: reboot.cooldown_seconds = 1800: is shorter than boot.window_seconds = 1801, so that the machine could be rebooted again while it boots; use at least that",
      "eu-west-1/i-0c1cbf2e7abdedf75: reboot.cooldown_seconds = 0: is shorter than boot.window_seconds = 900, so that the machine could be rebooted again while it boots; use at least that",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "breaker_and_reconcile" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    breaker   = { in_flight = -1, per_hour = 1001 }
    reconcile = { every_minutes = 0 }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "breaker.in_flight = -1: must be a whole number from 0 to 1000",
      "breaker.per_hour = 1001: must be a whole number from 0 to 1000",
      "reconcile.every_minutes = 0: must be a whole number from 1 to 10",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "breaker_and_reconcile_in_another_way" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    breaker   = { in_flight = 1.5, per_hour = "many" }
    reconcile = 5
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "reconcile: must be a map; its settings are every_minutes",
      "breaker.in_flight = 1.5: must be a whole number from 0 to 1000",
      "breaker.per_hour = \"many\": must be a whole number from 0 to 1000",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "first_look_after_the_window" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { boot = { window_seconds = 30 } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: boot.first_look_seconds = 60: is after the window of 30 s closes; use at most that",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "alarm_periods" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { alarms = { cpu = { period_seconds = 45 } } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.period_seconds = 45: must be 10, 20, 30 or a multiple of 60",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.period_seconds = 45: metrics of AWS (AWS/EC2) take 60 or more",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "alarms" {
  command = plan
  variables {
    defaults = { alarms = { disk = { metric = "disk_used_percent" }, net = { metric = "NetworkIn" }, off = { enabled = false } }, alarm = { threshold = 98 } }
    regions = { "eu-west-1" = { instances = {
      "i-0a1b2c3d" = { alarms = { net = { threshold = 1, period_seconds = 90 }, CPU = {}, cpu = { thresold = 95 }, status = true, credits = { threshold = "low", enabled = "yes" } } }
      "i-0a1b2c3e" = { alarms = { for n in range(10) : "t${n}" => { metric = "x", threshold = n } } }
      "i-0a1b2c3f" = { alarms = { for trigger in ["cpu", "status", "disk", "net"] : trigger => { enabled = false } } }
      "i-1a1b2c3d" = { alarms = ["cpu"] }
      "i-1a1b2c3e" = { alarms = { disk = null, net = { threshold = 5 } } }
    } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "defaults: alarm is not known; write alarms = { cpu = { ... } }",
      "eu-west-1/i-0a1b2c3d: alarms: \"CPU\" cannot be a trigger's name; use up to 32 of a-z, 0-9 and _, a letter in front, such as \"disk_full\"",
      "eu-west-1/i-0a1b2c3d: alarms.status: must be a map; its settings are comparison, dimensions, enabled, evaluation_periods, metric, namespace, period_seconds, statistic, threshold, treat_missing_data",
      "eu-west-1/i-1a1b2c3d: alarms: must be a map from triggers to their settings, such as { cpu = { threshold = 98 } }",
      "eu-west-1/i-0a1b2c3d: alarms.cpu.thresold is not known; use comparison, dimensions, enabled, evaluation_periods, metric, namespace, period_seconds, statistic, threshold, treat_missing_data",
      "eu-west-1/i-0a1b2c3d: alarms.credits.enabled = \"yes\": must be true or false",
      "eu-west-1/i-0a1b2c3d: alarms.credits.threshold = \"low\": must be a number from -1000000000000000 to 1000000000000000",
      "eu-west-1/i-0a1b2c3d: alarms.credits.metric: is missing; use the name of a metric that has the dimension InstanceId",
      "defaults: alarms.disk.threshold: is missing; use a number from -1000000000000000 to 1000000000000000",
      "eu-west-1/i-0a1b2c3d: alarms.net.period_seconds = 90: must be 10, 20, 30 or a multiple of 60",
      "eu-west-1/i-0a1b2c3e: alarms: 14 are enabled, which is more than 10 per instance; leave some out, or switch them off with enabled = false",
      "defaults: alarms.net.threshold: is missing; use a number from -1000000000000000 to 1000000000000000",
      "eu-west-1/i-0a1b2c3f: alarms: none is enabled, so nothing would start an incident; enable at least one",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "alarm_longer_than_a_day" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { alarms = { cpu = { evaluation_periods = 289 } } } } } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.evaluation_periods = 289: times 300 s is more than CloudWatch allows (a day; a week for periods of an hour and more)",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "settings_too_long" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { headers = { for i in range(60) : "X-Header-${i}" => "................................................................" } } } } } }
  }
  assert {
    condition     = length(output.problems) == 1 && can(regex("the settings take [0-9]+ bytes, an SSM parameter holds 4096; shorten headers or url.body_pattern$", output.problems[0]))
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "pagers_not_a_list" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = "opsgenie"
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "pagers = \"opsgenie\": must be a list of opsgenie, jsm, pagerduty, webhook, sns, the one to be asked first in front, such as [\"jsm\", \"sns\"]",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "pagers_a_map" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = { opsgenie = {} }
    jsm     = { priority = "P1" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "pagers = {\"opsgenie\":{}}: must be a list of opsgenie, jsm, pagerduty, webhook, sns, the one to be asked first in front, such as [\"jsm\", \"sns\"]",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "pagers_unknown_and_twice" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = ["PagerDuty", "jsm", "jsm", "slack"]
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "pagers: \"PagerDuty\" is not known; use opsgenie, jsm, pagerduty, webhook, sns",
      "pagers: \"slack\" is not known; use opsgenie, jsm, pagerduty, webhook, sns",
      "pagers: jsm is named twice",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "blocks_of_pagers_that_are_not_chosen" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers   = ["jsm"]
    opsgenie = { endpoint = "eu" }
    sns      = { topic_arn = "arn:aws:sns:eu-west-1:123456789012:oncall" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "opsgenie: is set, but pagers = [\"jsm\"] does not name it; add \"opsgenie\" to pagers, or leave the block out",
      "sns: is set, but pagers = [\"jsm\"] does not name it; add \"sns\" to pagers, or leave the block out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "pager_blocks_not_maps" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers   = ["opsgenie", "jsm", "sns"]
    opsgenie = "eu"
    jsm      = ["P1"]
    sns      = "arn:aws:sns:eu-west-1:123456789012:oncall"

    subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "opsgenie: must be a map; its settings are details, endpoint, entity, priority, priority_unknown, responders, source, tags, team_id",
      "jsm: must be a map; its settings are cloud_id, details, email, endpoint, entity, priority, priority_unknown, responders, source, tags, team_id",
      "sns: must be a map; its settings are topic_arn",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "jira_service_management_as_an_endpoint_of_opsgenie" {
  command = plan
  variables {
    pagers   = null
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie = { endpoint = "jsm" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "opsgenie.endpoint = \"jsm\": must be \"us\", \"eu\" or an https:// address; Jira Service Management has a block of its own, jsm, and is named in pagers",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "forms_of_an_alert" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = ["jsm"]
    jsm     = { endpoint = "eu", entity = "one\ntwo", source = format("%-101s", "s"), team_id = "the team" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "jsm.endpoint = \"eu\": must be an https:// address; leave it out for Atlassian's own",
      "jsm.entity = \"one\\ntwo\": must be up to 512 characters on one line",
      "jsm.source = \"s                                                                                                    \": must be up to 100 characters on one line",
      "jsm.team_id = \"the team\": must be a team's id, such as \"4513b7ea-3b91-438f-b7e4-e3e54af9147c\"; leave it out to let the integration's own team answer",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "responders" {
  command = plan
  variables {
    pagers   = null
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie = { responders = [{ type = "team", name = "operations" }, { type = "group", id = "1" }, { type = "team", id = "1", name = "x" }, { type = "team", username = "x" }, { type = "user" }, { id = "1" }, { type = "user", id = "1", nmae = "x" }, "operations", { type = "user", name = "" }] }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "opsgenie.responders: number 2, number 3, number 4, number 5, number 6, number 7, number 8, number 9: must be a list of up to 50, each with a type (team, user, escalation or schedule) and exactly one of id, name and, for a user, username, such as { type = \"team\", name = \"operations\" }",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "responders_not_a_list" {
  command = plan
  variables {
    pagers   = null
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie = { responders = { type = "team", name = "operations" } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "opsgenie.responders: must be a list of up to 50, each with a type (team, user, escalation or schedule) and exactly one of id, name and, for a user, username, such as { type = \"team\", name = \"operations\" }",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "team_and_responders" {
  command = plan
  variables {
    pagers   = null
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie = { team_id = "1", responders = [{ type = "user", username = "oncall@example.com" }] }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "opsgenie.team_id: is short for one responder of the type team; put it into opsgenie.responders too, or leave out one of the two",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "tags" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers   = ["opsgenie", "jsm"]
    opsgenie = { tags = ["", format("%-51s", "t"), "fine", ["x"]] }
    jsm      = { tags = ["a", "b", "a"] }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "jsm.tags: must be a list of up to 12 different tags of 1 to 50 characters (the service takes 20, of which firstline sets up to 8)",
      "opsgenie.tags: \"\", \"t                                                  \", [\"x\"]: must be a list of up to 12 different tags of 1 to 50 characters (the service takes 20, of which firstline sets up to 8)",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "too_many_tags" {
  command = plan
  variables {
    pagers   = null
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    opsgenie = { tags = [for i in range(13) : "tag ${i}"] }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "opsgenie.tags: must be a list of up to 12 different tags of 1 to 50 characters (the service takes 20, of which firstline sets up to 8)",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "details" {
  command = plan
  variables {
    regions  = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers   = ["opsgenie", "jsm"]
    opsgenie = { details = { instanceId = "i-1", runbook = "x", list = ["x"] } }
    jsm      = { details = { a = format("%-3990s", "x"), longer_name = "x" } }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "jsm.details: must be a map from names to values of 4000 characters in all, without names that firstline sets itself, such as instanceId",
      "opsgenie.details: instanceId, list: must be a map from names to values of 4000 characters in all, without names that firstline sets itself, such as instanceId",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "sns_without_anybody_to_hear" {
  command = plan
  variables {
    regions     = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers      = ["sns"]
    subscribers = []
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "sns.topic_arn: is left out, so that pages go to the topic of subscribers, and there are none; name somebody in subscribers, or the ARN of a topic",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "sns_fifo" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = ["sns"]
    sns     = { topic_arn = "arn:aws:sns:eu-west-1:123456789012:oncall.fifo" }

    subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "sns.topic_arn = \"arn:aws:sns:eu-west-1:123456789012:oncall.fifo\": must be the ARN of a topic, such as \"arn:aws:sns:eu-west-1:123456789012:oncall\", of any region and account (a FIFO topic reaches queues only); leave it out for the topic of subscribers",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "sns_of_another_service" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = ["sns"]
    sns     = { topic_arn = "arn:aws:sqs:eu-west-1:123456789012:oncall" }

    subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "sns.topic_arn = \"arn:aws:sqs:eu-west-1:123456789012:oncall\": must be the ARN of a topic, such as \"arn:aws:sns:eu-west-1:123456789012:oncall\", of any region and account (a FIFO topic reaches queues only); leave it out for the topic of subscribers",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "pagers_too_long" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = ["opsgenie", "jsm"]
    # Together: each alone would do.
    opsgenie = { details = { runbook = format("%-1200s", "x") } }
    jsm      = { details = { runbook = format("%-1200s", "x") } }
  }
  assert {
    condition     = length(output.problems) == 1 && can(regex("^pagers, heartbeat: their settings take 2[678][0-9]{2} bytes of the function's environment, which has room for 2500; shorten details, tags or responders$", output.problems[0]))
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "pagerduty_webhook_mention" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers    = null
    slack     = { channel_id = "C0123456789", mention = "@oncall" }
    pagerduty = { endpoint = "apac", severity = "P1", severity_unknown = "page", group = "a\nb", class = "c", component = 3, details = { instanceId = "i-1" }, routing_key = "x" }
    webhook   = { url = "http://user:hunter2@oncall.example.com/?q=hush" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "pagerduty.details: instanceId: must be a map from names to values of 4000 characters in all, without names that firstline sets itself, such as instanceId",
      "pagerduty.endpoint = \"apac\": must be \"us\", \"eu\" (the service region of the PagerDuty account) or an https:// address",
      "pagerduty.group = \"a\\nb\": must be up to 255 characters on one line",
      "pagerduty.routing_key is not known; use class, component, details, endpoint, group, severity, severity_unknown",
      "pagerduty.severity = \"P1\": must be one of critical, error, warning, info",
      "pagerduty.severity_unknown = \"page\": must be one of critical, error, warning, info",
      "slack.mention = \"@oncall\": must be whom a message mentions that is the page: \"channel\", \"here\", or the id of a user (U0123456789) or of a user group (S0123456789)",
      "webhook.url = \"http://***@oncall.example.com/?***\": must be an https:// address such as \"https://oncall.example.com/firstline\", without user name, password and #",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "webhook_without_a_url" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = ["webhook"]
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "webhook.url: is missing; use an https:// address such as \"https://oncall.example.com/firstline\", without user name, password and #",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "webhook_with_a_secret_in_its_url" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = null
    webhook = { url = "https://oncall.example.com/?team=ops&access_token=hush" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "webhook.url: its query parameter access_token looks like a secret; leave it out, since webhook_secret signs each message",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "cloud_id_and_email" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = null
    jsm     = { cloud_id = "example", email = "oncall" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "jsm.cloud_id = \"example\": must be the id of the Atlassian site, such as \"4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b\" (https://SITE.atlassian.net/_edge/tenant_info shows it)",
      "jsm.email = \"oncall\": must be the e-mail address of the account whose API token is jsm_api_token",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "cloud_id_without_an_email" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = null
    jsm     = { cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "jsm.cloud_id, jsm.email: one is set without the other; set both, with jsm_api_token, or neither",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "email_without_a_cloud_id" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers  = null
    jsm     = { email = "oncall@example.com" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "jsm.cloud_id, jsm.email: one is set without the other; set both, with jsm_api_token, or neither",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "heartbeat_without_a_service" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    heartbeat = { name = "", failure_suffix = "fail", interval = 5 }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "heartbeat.service: is missing; use one of opsgenie, jsm, url",
      "heartbeat.failure_suffix = \"fail\": must be what is added to the path of heartbeat_url when reconcile has failed, such as \"/fail\"",
      "heartbeat.interval is not known; use failure_suffix, name, service",
      "heartbeat.name = \"\": must be the name that the heartbeat has at its service, up to 100 characters, such as \"firstline-{region}\"",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "heartbeat_of_an_unknown_service" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    heartbeat = { service = "pagerduty" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "heartbeat.service = \"pagerduty\": must be one of opsgenie, jsm, url",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "heartbeat_of_a_pager_that_is_not_used" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers    = null
    jsm       = { cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com", responders = [{ type = "team", name = "ops" }] }
    heartbeat = { service = "opsgenie", failure_suffix = "/fail" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "heartbeat.service = \"opsgenie\": the pager opsgenie is not used, whose key the heartbeat needs; use jsm or url",
      "heartbeat.failure_suffix: has no meaning with service = \"opsgenie\"; leave it out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "heartbeat_of_jsm_without_its_team" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    pagers    = null
    jsm       = { cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com", responders = [{ type = "team", name = "ops" }] }
    heartbeat = { service = "jsm" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "heartbeat.service = \"jsm\": needs the pager jsm with cloud_id, email and the team_id of the heartbeat's team; set them, or use url",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "one_heartbeat_of_two_regions" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }, "us-east-1" = { instances = { "i-1c1cbf2e7abdedf75" = {} } } }
    pagers    = null
    opsgenie  = {}
    heartbeat = { service = "opsgenie", name = "firstline" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "heartbeat.name = \"firstline\": 2 regions would ping one heartbeat, so that nobody would notice when one of them is dead; put {region} into it, and make a heartbeat for each",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "heartbeat_with_a_name_and_a_url" {
  command = plan
  variables {
    regions   = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }, "us-east-1" = { instances = { "i-1c1cbf2e7abdedf75" = {} } } }
    heartbeat = { service = "url", name = "firstline" }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "heartbeat.name: has no meaning with service = \"url\"; leave it out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "alarm_dimensions" {
  command = plan
  variables {
    defaults = { alarms = { cpu = { namespace = "CWAgent", dimensions = ["cpu"] } } }
    regions = { "eu-west-1" = { instances = {
      "i-0c1cbf2e7abdedf75" = { alarms = { cpu = { dimensions = { InstanceId = "i-0c1cbf2e7abdedf75", ":x" = "1", cpu = "", path = "/\u00fc", "a b" = "c d" } } } }
      "i-0a1b2c3d"          = { alarms = { cpu = { dimensions = { for n in range(30) : "d${n}" => "x" } } } }
      "i-0a1b2c3e"          = { alarms = { cpu = { namespace = "AWS/EC2", dimensions = { cpu = "cpu-total" } } } }
    } } }
  }
  assert {
    condition = output.problems == [for p in [
      "defaults: alarms.cpu.dimensions: WANT",
      "eu-west-1/i-0a1b2c3d: alarms.cpu.dimensions: WANT",
      "eu-west-1/i-0c1cbf2e7abdedf75: alarms.cpu.dimensions: :x, InstanceId, cpu, path: WANT",
      "eu-west-1/i-0a1b2c3e: alarms.cpu.dimensions: no metric of one instance in AWS/EC2 has a dimension beside InstanceId, so the alarm would never have data; leave them out, or name the agent's namespace",
    ] : replace(p, "WANT", "must be a map of up to 29 further dimensions, names of 1 to 255 to values of 1 to 1024 ASCII characters, without InstanceId, which is set already, and without a name that begins with \":\", such as { cpu = \"cpu-total\" }")]
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "vantage_with_bad_values" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    vantage = { peers = "eu-west-1", required = "always", reserved_concurrency = 1001, peer = [] }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "vantage.peer is not known; use peers, required, reserved_concurrency",
      "vantage.peers = \"eu-west-1\": must be a list of regions of this file, such as [\"eu-central-1\", \"us-east-1\"], of which each region asks the first two that are not itself; [] asks none",
      "vantage.required = \"always\": must be true or false",
      "vantage.reserved_concurrency = 1001: must be a whole number from 0 to 1000",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "vantage_peers" {
  command = plan
  variables {
    regions = {
      "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }
      "us-east-1" = { instances = { "i-1c1cbf2e7abdedf75" = {} } }
    }
    vantage = { peers = ["eu-wset-1", "us-east-1", "eu-wset-1"] }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "vantage.peers: \"eu-wset-1\" is not a region of this file; use eu-west-1, us-east-1",
      "vantage.peers: eu-wset-1 is named twice",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "vantage_required_of_one_region" {
  command = plan
  variables {
    regions = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
    vantage = { required = true }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "vantage.required = true: eu-west-1 has no other region to ask, so nothing would ever be rebooted there; name another region in regions, or leave required out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}

run "vantage_required_of_a_region_without_a_peer" {
  command = plan
  variables {
    regions = {
      "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }
      "us-east-1" = { instances = { "i-1c1cbf2e7abdedf75" = {} } }
    }
    vantage = { peers = ["us-east-1"], required = true }
  }
  assert {
    condition = join("\n", output.problems) == join("\n", [
      "vantage.required = true: us-east-1 has no other region to ask, so nothing would ever be rebooted there; name another region in vantage.peers, or leave required out",
    ])
    error_message = join("\n", output.problems)
  }
  expect_failures = [output.deployment]
}
