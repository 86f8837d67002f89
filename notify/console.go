package notify

import (
	"regexp"

	"firstline/internal/console"
)

var (
	instanceID   = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	regionName   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+){1,3}-[0-9]{1,2}$`)
	executionARN = regexp.MustCompile(`^arn:(aws[a-z-]*):states:([a-z0-9-]+):([0-9]{12}):execution:[0-9A-Za-z._-]{1,80}:[0-9A-Za-z._-]{1,80}$`)
	alarmARN     = regexp.MustCompile(`^arn:(aws[a-z-]*):cloudwatch:([a-z0-9-]+):([0-9]{12}):alarm:(.{1,255})$`)
)

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
	if !regionName.MatchString(region) {
		return ""
	}
	return console.Partition(region)
}

// link is a page of the AWS console.
type link struct{ label, url string }

// consoleLinks returns the links whose ids are valid; none in a partition whose
// console is not known.
func consoleLinks(partition, region, execution, instance, alarm string) []link {
	pages, ok := console.In(partition, region)
	if !ok {
		return nil
	}
	var links []link
	if parts := executionARN.FindStringSubmatch(execution); parts != nil && regionName.MatchString(parts[2]) {
		// It may be in another region than what it speaks of.
		there, _ := console.In(partition, parts[2])
		links = append(links, link{"Execution", there.Execution(execution)})
	}
	if regionName.MatchString(region) {
		if instanceID.MatchString(instance) {
			links = append(links, link{"Instance", pages.Instance(instance)})
		}
		if alarm != "" {
			links = append(links, link{"Alarm", pages.Alarm(alarm)})
		}
	}
	return links
}
