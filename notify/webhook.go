package notify

// webhookCan is what the contract in README.md asks of a receiver.
var webhookCan = Capabilities{
	Confirms: true, Notes: true, Resolvable: true, Deduplicates: true,
	Priorities: []string{"down-after-reboot", "down", "unknown"}, Title: 120, Text: limitDescription,
}
