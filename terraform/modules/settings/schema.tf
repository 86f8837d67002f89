# Every setting: what it is, its built-in value, its bounds. This module is where
# settings are checked. The function decodes them strictly, and checks no bounds again
# (internal/incident/settings.go).
#
# kind     what a value must be                         bounds
# bool     true or false
# number   a number, fractions allowed                  min, max
# integer  a whole number                               min, max
# enum     one of a few                                 values
# string   matches pattern                              pattern, want
# strings  a list, not empty, each matches pattern      pattern, want
# regex    an RE2 pattern that compiles
# headers  header name => value, no secrets
# secrets  header name => name of an SSM parameter
# responders, tags, details  of an alert: see main.tf
# dimensions  name => value of a metric's further dimensions
# names    a list of names, may be empty

locals {
  # The names of the partition aws's regions, also of those that AWS will open;
  # internal/regions has the same.
  region = "(af|ap|ca|eu|il|me|mx|sa|us)-(central|(north|south)?(east|west)|north|south)-[1-9]"

  # The other partitions, by what their regions' names begin with.
  partitions = { "cn-" = "aws-cn", "eusc-" = "aws-eusc", "us-gov-" = "aws-us-gov", "us-iso-" = "aws-iso", "us-isob-" = "aws-iso-b", "eu-isoe-" = "aws-iso-e", "us-isof-" = "aws-iso-f" }

  ipv4 = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}"
  ipv6 = "[0-9A-Fa-f]*:[0-9A-Fa-f:]*(:${local.ipv4})?"
  # Names in other scripts are translated by the function.
  host = "[\\p{L}\\p{N}_]([\\p{L}\\p{N}_-]{0,61}[\\p{L}\\p{N}_])?(\\.[\\p{L}\\p{N}_]([\\p{L}\\p{N}_-]{0,61}[\\p{L}\\p{N}_])?)*\\.?"
  port = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
  # https anywhere, http only to this machine (tests, the local AWS).
  endpoint = "(https://(${local.host}|\\[${local.ipv6}\\])|http://(localhost|127(\\.[0-9]{1,3}){3}|\\[::1\\]))(:${local.port})?(/[^\\s?#]*)?"

  # One line of text, and one that does not begin or end with a space.
  line = "[^\\p{Cc}]"
  text = "[^\\s\\p{Cc}](${local.line}{0,98}[^\\s\\p{Cc}])?"

  # What an alert of OpsGenie and one of Jira Service Management may say; the
  # bounds are the service's, less what firstline says itself.
  alert = {
    team_id          = { kind = "string", default = "", pattern = "^[0-9A-Za-z_-]{0,100}$", want = "a team's id, such as \"4513b7ea-3b91-438f-b7e4-e3e54af9147c\"; leave it out to let the integration's own team answer" }
    responders       = { kind = "responders", default = [] }
    priority         = { kind = "enum", default = "P3", values = ["P1", "P2", "P3", "P4", "P5"] }
    priority_unknown = { kind = "enum", default = "", values = ["P1", "P2", "P3", "P4", "P5"] } # "": as priority
    tags             = { kind = "tags", default = [] }
    details          = { kind = "details", default = {} }
    entity           = { kind = "string", default = "", pattern = "^${local.line}{0,512}$", want = "up to 512 characters on one line" }
    source           = { kind = "string", default = "", pattern = "^${local.line}{0,100}$", want = "up to 100 characters on one line" }
  }
  # Those that notify/report.go sets; notify/details_test.go compares them.
  own_details = [
    "instanceId", "name", "region", "accountId", "deployment", "situation", "severity", "verdict", "guard", "alarm", "alarmArn", "alarmState", "execution",
    "executionUrl", "instanceUrl", "alarmUrl", "text",
  ]

  # What starts a look at an instance: trigger => what differs from the defaults below.
  # Every instance has these, unless its alarms say otherwise. Any other must have a
  # metric and a threshold.
  built_in = {
    cpu    = { metric = "CPUUtilization", threshold = 100 }
    status = { metric = "StatusCheckFailed_Instance", threshold = 1, period_seconds = 60, evaluation_periods = 2 }
  }
  trigger_fields = {
    enabled            = { kind = "bool", default = true }
    namespace          = { kind = "string", default = "AWS/EC2", pattern = "^[A-Za-z0-9.#/_-][A-Za-z0-9.#/_ -]{0,254}$", want = "a CloudWatch namespace such as \"AWS/EC2\" or \"CWAgent\"" }
    metric             = { kind = "string", default = null, pattern = "^[!-~][ -~]{0,254}$", want = "the name of a metric that has the dimension InstanceId" }
    dimensions         = { kind = "dimensions", default = {} } # beside InstanceId
    period_seconds     = { kind = "integer", default = 300, min = 10, max = 86400 }
    statistic          = { kind = "enum", default = "Maximum", values = ["Maximum", "Minimum", "Average", "Sum", "SampleCount"] }
    threshold          = { kind = "number", default = null, min = -1e15, max = 1e15 }
    evaluation_periods = { kind = "integer", default = 1, min = 1, max = 8640 }
    comparison         = { kind = "enum", default = "GreaterThanOrEqualToThreshold", values = ["GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"] }
    treat_missing_data = { kind = "enum", default = "missing", values = ["missing", "ignore", "breaching", "notBreaching"] }
  }
  # A section per trigger that is written anywhere.
  trigger_schema = { for section, trigger in local.trigger_sections : section => {
    for field, spec in local.trigger_fields : field => merge(spec, try({ default = local.built_in[trigger][field] }, {}))
  } }

  schema = merge(local.trigger_schema, {
    url = {
      enabled            = { kind = "bool", default = true }
      address            = { kind = "string", default = "", pattern = "^(https?://(${local.host}|\\[${local.ipv6}\\])(:${local.port})?([/?]([^%\\s#]|%[0-9A-Fa-f]{2})*)?)?$", want = "an http:// or https:// address such as \"https://app.example.com/healthz\", without user name and password (put the value of the Authorization header into an SSM parameter and name that in url.secret_headers)" }
      load_balancer      = { kind = "bool", default = false } # url.address names one, in front of this instance alone
      scheme             = { kind = "enum", default = "http", values = ["http", "https"] }
      port               = { kind = "integer", default = 0, min = 0, max = 65535 } # 0: the scheme's own
      path               = { kind = "string", default = "/", pattern = "^/(([^%/\\s#]|%[0-9A-Fa-f]{2})([^%\\s#]|%[0-9A-Fa-f]{2})*)?$", want = "a path such as \"/healthz\"" }
      private            = { kind = "bool", default = false }
      address_family     = { kind = "enum", default = "", values = ["ipv4", "ipv6"] } # "": both, of a name
      method             = { kind = "enum", default = "GET", values = ["GET", "HEAD", "POST", "OPTIONS"] }
      headers            = { kind = "headers", default = {} }
      secret_headers     = { kind = "secrets", default = {} }
      timeout_seconds    = { kind = "number", default = 3, min = 0.1, max = 30 }
      attempts           = { kind = "integer", default = 3, min = 1, max = 10 }
      interval_seconds   = { kind = "number", default = 2, min = 0, max = 30 }
      status             = { kind = "strings", default = ["200-299"], pattern = "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$", want = "a list of status codes or ranges from 100 to 599, such as [\"200\", \"300-399\"]" }
      body_pattern       = { kind = "regex", default = "" }
      follow_redirects   = { kind = "bool", default = true }
      server_name        = { kind = "string", default = "", pattern = "^(${local.host}|${local.ipv6})?$", want = "the name in the certificate, such as \"app.example.com\", without scheme and port" }
      verify_certificate = { kind = "bool", default = true }
    }
    route53 = {
      health_check_id  = { kind = "string", default = "", pattern = "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$", want = "the id that Route 53 shows, such as \"4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b\"" }
      quorum_percent   = { kind = "integer", default = 18, min = 0, max = 99 } # passes above it; 18 is Route 53's own
      attempts         = { kind = "integer", default = 3, min = 1, max = 10 }
      interval_seconds = { kind = "number", default = 2, min = 0, max = 30 }
    }
    ssh = {
      enabled              = { kind = "bool", default = true }
      host                 = { kind = "string", default = "", pattern = "^(${local.host}|${local.ipv6})?$", want = "a host name or an IP address, without scheme, user, brackets and port (the port is ssh.port)" }
      port                 = { kind = "integer", default = 22, min = 1, max = 65535 }
      private              = { kind = "bool", default = false }
      address_family       = { kind = "enum", default = "", values = ["ipv4", "ipv6"] } # as for url
      timeout_seconds      = { kind = "number", default = 7, min = 0.1, max = 30 }      # a refusal by /etc/hosts.deny takes 5
      attempts             = { kind = "integer", default = 3, min = 1, max = 10 }
      interval_seconds     = { kind = "number", default = 2, min = 0, max = 30 }
      host_key_fingerprint = { kind = "string", default = "", pattern = "^(SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048])?$", want = "SHA256: and 43 base64 characters, as `ssh-keygen -lf` prints it" }
    }
    boot = {
      first_look_seconds = { kind = "integer", default = 60, min = 1, max = 3600 }
      interval_seconds   = { kind = "integer", default = 20, min = 10, max = 3600 }
      window_seconds     = { kind = "integer", default = 600, min = 1, max = 3600 }
    }
    reboot = {
      cooldown_seconds = { kind = "integer", default = 21600, min = 0, max = 86400 } # and at least boot.window_seconds
      per_day          = { kind = "integer", default = 2, min = 0, max = 24 }        # 0: never
      on               = { kind = "enum", default = "any_check", values = ["any_check", "unreachable"] }
      dry_run          = { kind = "bool", default = false }
    }

    # Not an instance's: said once for the whole deployment.
    slack = {
      channel_id = { kind = "string", default = null, pattern = "^[CGD][A-Z0-9]{6,20}$", want = "the id of a channel, such as \"C0123456789\" (Slack shows it at the end of the channel's details), not its name" }
      api_url    = { kind = "string", default = "", pattern = "^(${local.endpoint})?$", want = "an https:// address such as \"https://slack-gov.com/api/\"; leave it out for Slack's own" }
      pages      = { kind = "bool", default = true }
      mention    = { kind = "string", default = "channel", pattern = "^(channel|here|[UWS][A-Z0-9]{6,20})$", want = "whom a message mentions that is the page: \"channel\", \"here\", or the id of a user (U0123456789) or of a user group (S0123456789)" }
    }
    opsgenie = merge(local.alert, {
      endpoint = { kind = "string", default = "us", pattern = "^(us|eu|${local.endpoint})$", want = "\"us\", \"eu\" or an https:// address; Jira Service Management has a block of its own, jsm, and is named in pagers" }
    })
    jsm = merge(local.alert, {
      endpoint = { kind = "string", default = "", pattern = "^(${local.endpoint})?$", want = "an https:// address; leave it out for Atlassian's own" }
      cloud_id = { kind = "string", default = "", pattern = "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$", want = "the id of the Atlassian site, such as \"4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b\" (https://SITE.atlassian.net/_edge/tenant_info shows it)" }
      email    = { kind = "string", default = "", pattern = "^([^@\\s]{1,64}@[^@\\s]{1,189})?$", want = "the e-mail address of the account whose API token is jsm_api_token" }
    })
    pagerduty = {
      endpoint         = { kind = "string", default = "us", pattern = "^(us|eu|${local.endpoint})$", want = "\"us\", \"eu\" (the service region of the PagerDuty account) or an https:// address" }
      severity         = { kind = "enum", default = "critical", values = ["critical", "error", "warning", "info"] }
      severity_unknown = { kind = "enum", default = "error", values = ["critical", "error", "warning", "info"] }
      group            = { kind = "string", default = "", pattern = "^${local.line}{0,255}$", want = "up to 255 characters on one line" }
      class            = { kind = "string", default = "", pattern = "^${local.line}{0,255}$", want = "up to 255 characters on one line" }
      component        = { kind = "string", default = "", pattern = "^${local.line}{0,255}$", want = "up to 255 characters on one line" }
      details          = { kind = "details", default = {} }
    }
    webhook = {
      url = { kind = "string", default = "", pattern = "^${local.endpoint}(\\?[^\\s#]*)?$", want = "an https:// address such as \"https://oncall.example.com/firstline\", without user name, password and #" }
    }
    sns = {
      topic_arn = { kind = "string", default = "", pattern = "^(arn:aws:sns:${local.region}:[0-9]{12}:[A-Za-z0-9_-]{1,256})?$", want = "the ARN of a topic, such as \"arn:aws:sns:eu-west-1:123456789012:oncall\", of any region and account (a FIFO topic reaches queues only); leave it out for the topic of subscribers" }
    }
    function = {
      package            = { kind = "string", default = "", pattern = ".", want = "the path of a zip file" }
      architecture       = { kind = "enum", default = "arm64", values = ["arm64", "x86_64"] }
      memory_mb          = { kind = "integer", default = 256, min = 128, max = 10240 }
      log_retention_days = { kind = "enum", default = 90, values = ["1", "3", "5", "7", "14", "30", "60", "90", "120", "150", "180", "365", "400", "545", "731", "1096", "1827", "2192", "2557", "2922", "3288", "3653"] }
      log_level          = { kind = "enum", default = "info", values = ["debug", "info", "warn", "error"] }
      # How many managed policies AWS lets this account attach to a role.
      managed_policies = { kind = "integer", default = 10, min = 10, max = 25 }
    }
    # Per region; 0: no reboot at all.
    breaker = {
      in_flight = { kind = "integer", default = 2, min = 0, max = 1000 }
      per_hour  = { kind = "integer", default = 6, min = 0, max = 1000 }
    }
    reconcile = {
      every_minutes = { kind = "integer", default = 5, min = 1, max = 10 }
    }
    # What reconcile pings when it has finished; {region} becomes the region's name.
    heartbeat = {
      service        = { kind = "enum", default = "", values = ["opsgenie", "jsm", "url"] }
      name           = { kind = "string", default = "firstline-{region}", pattern = "^${local.text}$", want = "the name that the heartbeat has at its service, up to 100 characters, such as \"firstline-{region}\"" }
      failure_suffix = { kind = "string", default = "", pattern = "^(/[^\\s?#]{1,50})?$", want = "what is added to the path of heartbeat_url when reconcile has failed, such as \"/fail\"" }
    }
    # Whom a region asks before a reboot.
    vantage = {
      peers                = { kind = "names", default = null, want = "a list of regions of this file, such as [\"eu-central-1\", \"us-east-1\"], of which each region asks the first two that are not itself; [] asks none" } # null: the next two
      required             = { kind = "bool", default = false }
      reserved_concurrency = { kind = "integer", default = 5, min = 0, max = 1000 } # 0: none is reserved
    }

    # Fields that an instance and the defaults have beside their sections.
    "" = {
      # How long a verdict must hold before a reboot or a page; 0: act on the first look.
      confirm_seconds = { kind = "integer", default = 120, min = 0, max = 600 }
    }
  })

  # Names of headers and query parameters, and which of them carry secrets. A query
  # parameter's name is in small letters, with "-" for "_" and ".".
  header_name   = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
  own_headers   = ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
  secret_header = "authorization|cookie|token|secret|password|passwd|api-key|apikey|access-key|credential|session|signature|x-auth"
  secret_query  = "${local.secret_header}|^(auth|jwt|pass|pwd|sig)$"
  # A dimension's name or value: ASCII, not only spaces.
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
  dimension = "^ *[!-~][ -~]*$"
  # What a function outside a VPC has no route to; loopback is the local AWS'.
  private_ipv4 = "(10|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])|169\\.254|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)(\\.[0-9]{1,3}){2,3}"
}
