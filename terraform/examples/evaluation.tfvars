# To try firstline: Slack and e-mail only, and it reboots nothing.
regions     = { "eu-west-1" = { instances = { "i-0c1cbf2e7abdedf75" = {} } } }
defaults    = { reboot = { dry_run = true } }
slack       = { channel_id = "C0123456789" } # the id, not the name
subscribers = [{ protocol = "email", endpoint = "oncall@example.com" }]
