package tfstate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const aws = `provider[\"registry.terraform.io/hashicorp/aws\"]`

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		want      State
	}{
		{"nothing", "", State{Empty: true}},
		{"a line feed", "\n", State{Empty: true}},
		{"destroyed", `{"version": 4, "serial": 18446744073709551615, "outputs": {}, "resources": []}`, State{Serial: 18446744073709551615, Empty: true}},
		{
			"two regions", `{"version": 4, "terraform_version": "1.11.4", "serial": 7, "lineage": "x", "outputs": {"eu-west-1": {"value": {"name": "pager", "region": "eu-west-1"}, "type": "string"}, "us-east-1": {"value": null}, "eu-west-2": {"value": {"name": "gone"}}, "version": {"value": "0.1.0"}}, "resources": [
				{"module": "module.us-east-1[0].module.function", "mode": "managed", "type": "aws_iam_role", "name": "this", "provider": "` + aws + `.us-east-1", "instances": [{"schema_version": 0, "attributes": {"arn": "arn:aws:iam::123456789012:role/x"}}]},
				{"module": "module.eu-west-1[0].module.function", "mode": "managed", "type": "aws_s3_bucket", "name": "this", "provider": "` + aws + `.eu-west-1", "instances": [{"attributes": {"arn": "arn:aws:s3:::bucket"}}]},
				{"module": "module.eu-west-1[0].module.watch[\"i-0\"]", "mode": "managed", "type": "aws_cloudwatch_metric_alarm", "name": "this", "provider": "` + aws + `.eu-west-1", "instances": [
					{"attributes": {"arn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a:b", "threshold": 100}}, {"deposed": "00000001", "attributes": {"arn": null}}]},
				{"module": "module.eu-west-1[0]", "mode": "data", "type": "aws_caller_identity", "name": "this", "provider": "` + aws + `.eu-west-1", "instances": [{"attributes": {"arn": "arn:aws:sts::999999999999:x"}}]},
				{"module": "module.settings", "mode": "managed", "type": "terraform_data", "name": "checked", "provider": "provider[\"terraform.io/builtin/terraform\"]", "instances": []}
			]}`,
			State{Regions: []string{"eu-west-1", "us-east-1"}, Held: []string{"eu-west-1", "us-east-1"}, Accounts: []string{"123456789012"}, Names: []string{"pager"}, Serial: 7},
		},
		{
			"only a data source is left", `{"version": 4, "serial": 1, "resources": [{"module": "module.eu-west-1[0]", "mode": "data", "type": "aws_region", "name": "this", "provider": "` + aws + `.eu-west-1", "instances": [{}]}]}`,
			State{Serial: 1, Empty: true},
		},
		{
			"something of the operator's own uses a region's provider", `{"version": 4, "resources": [
				{"mode": "managed", "type": "aws_sns_topic", "name": "mine", "provider": "` + aws + `.eu-west-2", "instances": [{"attributes": {"arn": "arn:aws:sns:eu-west-2:210987654321:mine"}}]}]}`,
			State{Held: []string{"eu-west-2"}, Foreign: []string{"aws_sns_topic.mine"}},
		},
		{
			"another project", `{"version": 4, "serial": 3, "resources": [
				{"mode": "managed", "type": "aws_instance", "name": "web", "provider": "` + aws + `", "instances": [{"index_key": 0, "attributes": {"arn": "arn:aws:ec2:eu-west-1:123456789012:instance/i-0"}}]},
				{"module": "module.vpc", "mode": "managed", "type": "aws_vpc", "name": "this", "provider": "module.vpc.` + aws + `.eu-west-1", "instances": []},
				{"module": "module.eu-wset-1[0]", "mode": "managed", "type": "aws_vpc", "name": "this", "provider": "provider[\"registry.terraform.io/hashicorp/null\"].eu-west-1", "instances": []}
			]}`,
			State{Foreign: []string{"aws_instance.web", "module.eu-wset-1[0].aws_vpc.this", "module.vpc.aws_vpc.this"}, Serial: 3},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for raw, want := range map[string]string{
		"Error: no state":               "no Terraform state: invalid character 'E'",
		`{"version": 4}{}`:              "no Terraform state: invalid character '{' after top-level value",
		`[]`:                            "no Terraform state: json: cannot unmarshal array",
		`{}`:                            `no Terraform state: it has no "version"`,
		`{"version": "four"}`:           "no Terraform state: json: invalid number literal",
		`{"version": 3, "modules": []}`: "format version 3, but 4",
		`{"version": 5, "resources": "elsewhere"}`: "format version 5, but 4",
		`{"version": 4, "resources": {}}`:          "not a Terraform state of format version 4",
	} {
		if got, err := Parse([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, %v; want %q", raw, got, err, want)
		}
	}
}
