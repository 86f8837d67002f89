# The root as a whole. One mocked provider for each region of regions.tf: after
# `firstline regions --add` or `--only`, this list follows it.

mock_provider "aws" {
  alias  = "ap-northeast-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "ap-northeast-2"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "ap-northeast-3"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "ap-south-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "ap-southeast-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "ap-southeast-2"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "ca-central-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "eu-central-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "eu-north-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "eu-west-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "eu-west-2"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "eu-west-3"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "sa-east-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "us-east-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "us-east-2"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "us-west-1"
  source = "./tests/aws"
}

mock_provider "aws" {
  alias  = "us-west-2"
  source = "./tests/aws"
}

variables {
  regions = {
    "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = { url = { path = "/healthz" } } } }
  }
  slack       = { channel_id = "C0123456789" }
  pagers      = []
  function    = { package = "main.tf" }
  subscribers = []
}

run "regions_of_the_file_and_no_other" {
  command = plan
  assert {
    condition     = output.eu-west-1.region == "eu-west-1" && output.eu-west-2 == null && output.us-west-2 == null
    error_message = "a region that the file does not name is not deployed"
  }
  assert {
    condition     = output.eu-west-1.probe_log_group == null
    error_message = "nobody asks the only region"
  }
  assert {
    condition     = output.eu-west-1.alarm_names == tolist(["firstline-alarm-i-0c1cbf2e7abdedf75-cpu", "firstline-alarm-i-0c1cbf2e7abdedf75-status"])
    error_message = "the instances' alarms"
  }
  assert {
    condition     = output.eu-west-1.version == trimspace(file("VERSION"))
    error_message = "the version that is deployed"
  }
  assert {
    condition     = local.tags == { project = "firstline", repository = "firstline" }
    error_message = "tags"
  }
}

run "two_regions_ask_each_other" {
  command = plan
  variables {
    regions = {
      "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }
      "us-west-2" = { instances = { "i-1c1cbf2e7abdedf75" = {} } }
    }
    vantage = { reserved_concurrency = 0 }
  }
  assert {
    condition     = output.eu-west-1.probe_log_group == "/aws/lambda/firstline-probe" && output.us-west-2.probe_log_group == "/aws/lambda/firstline-probe"
    error_message = "each has a probe"
  }
  assert {
    condition     = local.deployment.regions["eu-west-1"].peers[0] == "us-west-2" && local.shared.vantage == { required = false, reserved_concurrency = 0 }
    error_message = "each asks the other"
  }
}

run "what_is_easily_meant_otherwise_warns" {
  command = plan
  variables {
    tags    = { Project = "shop" }
    breaker = { per_hour = 0 }
    slack   = null
    pagers  = []
  }
  expect_failures = [check.breaker, check.channels]
  assert {
    condition     = local.tags == { Project = "shop", repository = "firstline" }
    error_message = "IAM refuses a role with the tags project and Project"
  }
}

# Several to a run: seventeen providers make each run slow.

run "every_variable_wrong" {
  command = plan
  variables {
    regions          = { "eu-south-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } } # regions.tf lacks it
    subscribers      = null
    tags             = { version = "1" } # set already
    repository       = "https://user:password@git.example.com/firstline"
    slack_token      = "xoxb-test\n"
    opsgenie_api_key = "a b"
    jsm_api_key      = "a\tb"
    jsm_api_token    = "ATATT3xF\n"
    max_retries      = 0

    pagerduty_routing_key = "u+8uNNkTtZ7yaKcvEFDLt5Xd"               # an API key's form
    webhook_secret        = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY=" # 23 bytes
  }
  expect_failures = [
    var.regions, var.subscribers, var.tags, var.repository, var.slack_token, var.opsgenie_api_key, var.jsm_api_key, var.jsm_api_token,
    var.pagerduty_routing_key, var.webhook_secret, var.max_retries,
  ]
}

run "every_variable_wrong_in_another_way" {
  command = plan
  variables {
    tags        = { "aws:team" = "ops" }
    repository  = ""
    max_retries = 2.5

    pagerduty_routing_key = "${join("", [for i in range(32) : "x"])}\n"
    webhook_secret        = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3" # without its prefix
    heartbeat_url         = "http://hc-ping.com/key/firstline" # not https
  }
  expect_failures = [var.tags, var.repository, var.pagerduty_routing_key, var.webhook_secret, var.heartbeat_url, var.max_retries]
}

run "no_regions" {
  command = plan
  variables {
    regions = {}
  }
  expect_failures = [var.regions]
}

run "one_heartbeat_url_of_two_regions" {
  command = plan
  variables {
    regions = {
      "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }
      "us-west-2" = { instances = { "i-1c1cbf2e7abdedf75" = {} } }
    }
    heartbeat_url = "https://hc-ping.com/key/firstline"
  }
  expect_failures = [var.heartbeat_url]
}

# Each secret as it should be, of two regions.
run "secrets" {
  command = plan
  variables {
    regions = {
      "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } }
      "us-west-2" = { instances = { "i-1c1cbf2e7abdedf75" = {} } }
    }
    pagers    = null
    jsm       = { cloud_id = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", email = "oncall@example.com" }
    webhook   = { url = "https://oncall.example.com/" }
    heartbeat = { service = "url" }
    pagerduty = {}

    slack_token           = "xoxb-test"
    jsm_api_key           = "test"
    jsm_api_token         = "ATATT3xF=0A"
    pagerduty_routing_key = "0123456789abcdef0123456789ABCDEF"
    webhook_secret        = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
    heartbeat_url         = "https://hc-ping.com/key/firstline-{region}"
  }
  assert {
    condition     = output.us-west-2.pagers == ["jsm", "pagerduty", "webhook"]
    error_message = jsonencode(output.us-west-2)
  }
}
