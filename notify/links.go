package notify

import (
	"firstline/internal/console"
	"firstline/internal/incident"
	"firstline/internal/lazy"
)

// link is a page of the AWS console.
type link struct{ name, url string }

var executionARN = lazy.Regexp(`^arn:(aws[a-z-]*):states:([a-z0-9-]+):[0-9]{12}:execution:[0-9A-Za-z._-]{1,80}:([0-9A-Za-z._-]{1,80})$`)

// consoleLinks returns the links whose ids are valid; none where the console is not
// public.
func (r *report) consoleLinks(instance string) []link {
	if !incident.ValidRegion(r.region) {
		return nil
	}
	pages, ok := console.In(console.Partition(r.region), r.region)
	if !ok {
		return nil
	}
	var links []link
	execution := executionARN().FindStringSubmatch(r.execution)
	if execution != nil {
		links = append(links, link{"Execution", pages.Execution(r.execution)})
	}
	if incident.ValidInstanceID(instance) {
		links = append(links, link{"Instance", pages.Instance(instance)})
	}
	if r.alarm.Name != "" {
		links = append(links, link{"Alarm", pages.Alarm(r.alarm.Name)})
	}
	if execution != nil {
		// What the function has logged of this execution; its name is in every line.
		links = append(links, link{"Logs", pages.LogEvents("/aws/lambda/"+r.deployment+"-responder", execution[3])})
	}
	return links
}
