package notify

// pagerDutyCan: nothing tells what became of an event that was accepted.
var pagerDutyCan = Capabilities{
	Resolvable: true, Deduplicates: true,
	Priorities: []string{"critical", "error", "warning", "info"}, Title: 1024, Text: limitDescription,
}
