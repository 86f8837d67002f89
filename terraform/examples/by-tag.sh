#!/usr/bin/env bash
# Prints the instances that have a tag, as variables in JSON:
#
#   terraform/examples/by-tag.sh firstline=watch eu-west-1 us-east-1 > terraform/instances.tfvars.json
#
# It needs the AWS CLI, jq and ec2:DescribeInstances. It prints all regions or, when
# one cannot be asked or has no such instance, none: a deploy removes what the file
# no longer names.
set -euo pipefail
if [[ $# -lt 2 || $1 != *=* ]]; then
	echo "usage: $0 TAG=VALUE REGION..." >&2
	exit 2
fi
tag=$1
shift
found=""
for region in "$@"; do
	found+=$(
		aws ec2 describe-instances --region "$region" --output json --filters \
			"Name=tag:${tag%%=*},Values=${tag#*=}" "Name=instance-state-name,Values=pending,running,stopping,stopped" |
			jq --arg region "$region" --arg tag "$tag" '
				[.Reservations[].Instances[].InstanceId] |
				if . == [] then error("\($region): no instance has the tag \($tag)") else . end |
				{($region): {instances: map({(.): {}}) | add}}'
	)
done
jq --sort-keys --slurp '{regions: add}' <<<"$found"
