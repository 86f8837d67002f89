mock_provider "aws" {
  source = "../../tests/aws"
}

variables {
  name = "firstline"
}

run "table" {
  command = plan
  assert {
    condition     = aws_dynamodb_table.incidents.name == "firstline-incidents" && output.name == "firstline-incidents"
    error_message = "the table's name"
  }
  assert {
    condition = alltrue([
      aws_dynamodb_table.incidents.hash_key == "pk",
      aws_dynamodb_table.incidents.range_key == "sk",
      { for a in aws_dynamodb_table.incidents.attribute : a.name => a.type } == { pk = "S", sk = "S" },
    ])
    error_message = "the keys, which are strings"
  }
  assert {
    condition     = aws_dynamodb_table.incidents.billing_mode == "PAY_PER_REQUEST" && aws_dynamodb_table.incidents.table_class == "STANDARD"
    error_message = "on demand"
  }
  assert {
    condition     = [for t in aws_dynamodb_table.incidents.ttl : [t.attribute_name, t.enabled]] == [["expiresAt", true]]
    error_message = "items expire"
  }
  assert {
    condition     = [for p in aws_dynamodb_table.incidents.point_in_time_recovery : p.enabled] == [true]
    error_message = "point-in-time recovery"
  }
}
