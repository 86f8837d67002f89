package notify

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	instanceID   = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	regionName   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+){1,3}-[0-9]{1,2}$`)
	accountID    = regexp.MustCompile(`^[0-9]{12}$`)
	executionARN = regexp.MustCompile(`^arn:(aws[a-z-]*):states:([a-z0-9-]+):([0-9]{12}):execution:[0-9A-Za-z._-]{1,80}:[0-9A-Za-z._-]{1,80}$`)
	alarmARN     = regexp.MustCompile(`^arn:(aws[a-z-]*):cloudwatch:([a-z0-9-]+):([0-9]{12}):alarm:(.{1,255})$`)
)

// consoles are the partitions with a public console, and its host.
var consoles = map[string]string{
	"aws":        "console.aws.amazon.com",
	"aws-us-gov": "console.amazonaws-us-gov.com",
	"aws-cn":     "console.amazonaws.cn",
}

// partitionOf returns the partition that the ARNs name, else the one that the
// region belongs to; empty when neither tells.
func partitionOf(region string, arns ...string) string {
	for _, arn := range arns {
		for _, form := range []*regexp.Regexp{executionARN, alarmARN} {
			if parts := form.FindStringSubmatch(arn); parts != nil {
				return parts[1]
			}
		}
	}
	switch {
	case !regionName.MatchString(region):
		return ""
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.Contains(region, "-iso"), strings.HasPrefix(region, "eusc-"):
		return ""
	}
	return "aws"
}

// link is a page of the AWS console.
type link struct{ label, url string }

// consoleLinks returns the links whose ids are valid; none in a partition whose
// console is not known.
func consoleLinks(partition, region, execution, instance, alarm string) []link {
	host, ok := consoles[partition]
	if !ok {
		return nil
	}
	page := func(service, region, fragment string) string {
		return "https://" + host + "/" + service + "/home?region=" + url.QueryEscape(region) + "#" + fragment
	}
	var links []link
	if parts := executionARN.FindStringSubmatch(execution); parts != nil && regionName.MatchString(parts[2]) {
		links = append(links, link{"Execution", page("states", parts[2], "/v2/executions/details/"+execution)})
	}
	if regionName.MatchString(region) {
		if instanceID.MatchString(instance) {
			links = append(links, link{"Instance", page("ec2", region, "InstanceDetails:instanceId="+instance)})
		}
		if alarm != "" {
			name := strings.ReplaceAll(url.QueryEscape(alarm), "+", "%20")
			links = append(links, link{"Alarm", page("cloudwatch", region, "alarmsV2:alarm/"+name)})
		}
	}
	return links
}
