# Ten regions, one deploy. `firstline regions --from` cuts regions.tf to them, so that
# a plan starts ten provider processes and not seventeen.

regions = {
  "ap-northeast-1" = { instances = { "i-0a1b2c3d4e5f60701" = {}, "i-0a1b2c3d4e5f60702" = {} } }
  "ap-southeast-1" = { instances = { "i-0a1b2c3d4e5f60703" = {} } }
  "ap-southeast-2" = { instances = { "i-0a1b2c3d4e5f60704" = {} } }
  "ca-central-1"   = { instances = { "i-0a1b2c3d4e5f60705" = {} } }
  "eu-central-1"   = { instances = { "i-0a1b2c3d4e5f60706" = {}, "i-0a1b2c3d4e5f60707" = {} } }
  "eu-west-1"      = { instances = { "i-0a1b2c3d4e5f60708" = {} } }
  "eu-west-2"      = { instances = { "i-0a1b2c3d4e5f60709" = {} } }
  "sa-east-1"      = { instances = { "i-0a1b2c3d4e5f6070a" = {} } }
  # The one without a web server.
  "us-east-1" = { instances = { "i-0a1b2c3d4e5f6070b" = { url = { enabled = false } } } }
  "us-west-2" = { instances = { "i-0a1b2c3d4e5f6070c" = {} } }
}

# For every instance of every region.
defaults = {
  url    = { path = "/healthz" }
  alarms = { cpu = { threshold = 98 } }
}

slack       = { channel_id = "C0123456789" }
jsm         = {} # pages; its key is TF_VAR_jsm_api_key
subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
