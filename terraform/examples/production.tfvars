# Two regions, Slack and two pagers, and nearly every setting in use. Every setting,
# its default and its bounds: ../README.md.

regions = {
  "eu-west-1" = {
    instances = {
      # http://PUBLIC-ADDRESS/healthz must answer 200 to 299, Route 53's checkers
      # must reach the health check's endpoint, SSH must complete a key exchange.
      "i-0c1cbf2e7abdedf75" = {
        url     = { path = "/healthz" }
        route53 = { health_check_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b" }
      }

      # The defaults alone.
      "i-0a1b2c3d4e5f60718" = {}
    }
  }

  "us-east-1" = {
    # Only with a VPC can private addresses and IPv6 be checked. The function
    # then needs NAT (or endpoints) to reach AWS, Slack and OpsGenie.
    #
    # vpc = {
    #   subnet_ids         = ["subnet-0123456789abcdef0"]
    #   security_group_ids = ["sg-0123456789abcdef0"]
    #   ipv6               = false # true: the subnets are dual-stack
    # }

    instances = {
      "i-0f9e8d7c6b5a43210" = {
        url = {
          address         = "https://app.example.com/healthz" # instead of the instance's own address
          headers         = { "X-Probe" = "firstline" }
          status          = ["200", "204"]
          body_pattern    = "\"status\":\\s*\"ok\"" # RE2, within the first MiB
          timeout_seconds = 5
          # The value of a header that carries a secret lives in SSM:
          # secret_headers = { Authorization = "/app/healthz/authorization" }
        }
        ssh = {
          port = 2222
          # host_key_fingerprint = "SHA256:..."  as `ssh-keygen -lf` prints it
        }
        boot   = { window_seconds = 900 }                             # a slow starter
        reboot = { cooldown_seconds = 43200, per_day = 1 }            # instead of 6 hours, twice
        alarms = { cpu = { threshold = 95, evaluation_periods = 2 } } # instead of 98, once
      }

      # No web server: SSH alone. Nothing is rebooted: the page says what would have
      # been done.
      "i-01234567" = { url = { enabled = false }, reboot = { dry_run = true } }
    }
  }
}

# For every instance; an instance's own settings override them.
defaults = {
  ssh  = { port = 22 }
  boot = { first_look_seconds = 60, interval_seconds = 20, window_seconds = 600 }

  # How long a verdict must hold before a reboot or a page; 180 where machines boot
  # slowly.
  confirm_seconds = 120

  # A saturated instance often reports 99.8 %, which the built-in 100 never matches.
  # ../README.md has more: other metrics, detailed monitoring, credits.
  alarms = { cpu = { threshold = 98 } }
}

# Leave the block out for no Slack.
slack = {
  channel_id = "C0123456789" # the id, not the name
  # pages    = false         # keeps pages out of Slack that a pager took
  # mention  = "S0123456789" # whom a message mentions that no pager took: "channel" (default), "here", a user, a user group
}

# Who wakes people, in order: the next pager is tried when the one before does not
# take a page. Left out: the pagers that have a block. OpsGenie's API ends on
# 2027-04-05; Jira Service Management goes on.
pagers = ["opsgenie", "sns"]

opsgenie = {
  endpoint         = "eu" # us, eu, or an https address
  priority         = "P2" # the instance is down, or was not rebooted
  priority_unknown = "P3" # firstline cannot tell whether it is down
  # responders = [                            # else the integration's own team
  #   { type = "team", name = "operations" }, # team, user, escalation, schedule
  #   { type = "user", username = "oncall@example.com" },
  # ]
  # tags    = ["web"]           # beside firstline's own
  # details = { runbook = "https://wiki.example.com/web" }
  # entity  = "web"             # instead of the instance
  # source  = "operations"      # instead of the deployment's name
}

# Other pagers, each with its name in pagers and its secret in the environment
# (../README.md#secrets). Jira Service Management has the same settings as OpsGenie,
# and with a cloud_id tells what became of a page.
#
# jsm       = { priority = "P2", cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com" }
# pagerduty = { endpoint = "eu", component = "web" }
# webhook   = { url = "https://oncall.example.com/firstline" }

# The pager of last resort. Without a topic_arn it is the topic of subscribers.
# A topic may be of any region and account; one of another account, or with
# a customer key, needs a policy there that admits the function's role
# (firstline-responder-REGION): sns:Publish on the topic, kms:Decrypt and
# kms:GenerateDataKey* on the key.
#
# sns = { topic_arn = "arn:aws:sns:eu-west-1:123456789012:oncall" }

# The breaker, per region: it opens when so many reboots are in flight or were made
# within an hour, because many at once are rarely the machines' fault. Then nothing
# is rebooted and somebody is paged. 0 means never reboot.
breaker = { in_flight = 2, per_hour = 6 }

# How often the schedule starts a look wherever one is due, and what it pings when it
# has finished: whoever keeps the heartbeat alerts when firstline or a region is dead.
reconcile = { every_minutes = 5 }
# heartbeat = { service = "opsgenie", name = "firstline-{region}" }

# Who is told when firstline itself fails (an execution, the dead-letter queue, ...).
# Pass [] explicitly to notify nobody. Protocols, and what a queue or a function needs:
# ../README.md.
subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]

# Raise it, with the TF_VAR_... of Slack, of every pager and of the heartbeat set, to write new secrets.
secrets_version = 1

# function = { architecture = "arm64", memory_mb = 256, log_retention_days = 90, log_level = "info" }

tags       = { team = "operations" }
repository = "https://git.example.com/operations/firstline"
