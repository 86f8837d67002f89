# Instances without a public address, asked at their private one from within the VPC.
#
# The subnets need a route to AWS, Slack and the pager (NAT, or endpoints), and the
# security groups must let the checked ports out. The instances' own security groups
# must let these in from there.

regions = {
  "eu-central-1" = {
    vpc = {
      subnet_ids         = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
      security_group_ids = ["sg-0123456789abcdef0"]
    }
    instances = {
      "i-0a1b2c3d4e5f60711" = {}
      # Behind an internal load balancer of its own, which answers for it.
      "i-0a1b2c3d4e5f60712" = { url = { address = "http://billing.internal.example.com/healthz", load_balancer = true } }
    }
  }
}

defaults = {
  url = { private = true, port = 8080, path = "/healthz" }
  ssh = { private = true }
}

slack       = { channel_id = "C0123456789" }
jsm         = {} # pages; its key is TF_VAR_jsm_api_key
subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
