package notify

import (
	"regexp"
	"strings"

	"firstline/internal/console"
	"firstline/internal/incident"
	"firstline/internal/lazy"
)

var (
	executionARN = lazy.Regexp(`^arn:(aws[a-z-]*):states:([a-z0-9-]+):([0-9]{12}):execution:[0-9A-Za-z._-]{1,80}:[0-9A-Za-z._-]{1,80}$`)
	alarmARN     = lazy.Regexp(`^arn:(aws[a-z-]*):cloudwatch:([a-z0-9-]+):([0-9]{12}):alarm:(.{1,255})$`)
)

// partitionOf returns the partition that the ARNs name, else the one that the
// region belongs to; empty when neither tells.
func partitionOf(region string, arns ...string) string {
	for _, arn := range arns {
		for _, form := range []*regexp.Regexp{executionARN(), alarmARN()} {
			if parts := form.FindStringSubmatch(arn); parts != nil {
				return parts[1]
			}
		}
	}
	if !incident.ValidRegion(region) {
		return ""
	}
	return console.Partition(region)
}

// link is a page of the AWS console.
type link struct{ name, url string }

// linked is what links lead to.
type linked struct{ region, execution, instance, alarm, deployment string }

// deploymentName is a deployment's name, as far as it is part of others' names.
var deploymentName = lazy.Regexp(`^[0-9A-Za-z_-]{1,50}$`)

// consoleLinks returns the links whose ids are valid; none in a partition whose
// console is not known.
func consoleLinks(partition string, to linked) []link {
	pages, ok := console.In(partition, to.region)
	if !ok {
		return nil
	}
	var links []link
	parts := executionARN().FindStringSubmatch(to.execution)
	ran := parts != nil && incident.ValidRegion(parts[2])
	// It may be in another region than what it speaks of.
	var there console.Console
	if ran {
		there, _ = console.In(partition, parts[2])
		links = append(links, link{"Execution", there.Execution(to.execution)})
	}
	if incident.ValidRegion(to.region) {
		if incident.ValidInstanceID(to.instance) {
			links = append(links, link{"Instance", pages.Instance(to.instance)})
		}
		if to.alarm != "" {
			links = append(links, link{"Alarm", pages.Alarm(to.alarm)})
		}
	}
	if ran && deploymentName().MatchString(to.deployment) {
		// What the function has logged of this execution; its name is in every line.
		name := to.execution[strings.LastIndex(to.execution, ":")+1:]
		links = append(links, link{"Logs", there.LogEvents("/aws/lambda/"+to.deployment+"-responder", name)})
	}
	return links
}
