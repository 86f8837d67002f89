# The stored state of a region: instances, breaker, alerts, records. Leases and
# decisions are conditional writes, so the table has no replica elsewhere: a second
# copy would let two incidents act at once.

resource "aws_dynamodb_table" "incidents" {
  name         = "${var.name}-incidents"
  billing_mode = "PAY_PER_REQUEST" # a storm needs a thousand times what a quiet day does
  table_class  = "STANDARD"

  # Provider 6 has deprecated them in global_secondary_index, not here.
  hash_key  = "pk"
  range_key = "sk"

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  # Old items go at some time after this one; whoever reads one compares it.
  ttl {
    attribute_name = "expiresAt"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  # No server_side_encryption: then DynamoDB encrypts with a key of its own. A key
  # in this account would add calls to KMS to every read and write, which may be
  # throttled or denied. No deletion protection: a region that leaves the file is
  # removed with one apply, and without the stored baseline no instance is rebooted
  # until its checks have passed again.
}
