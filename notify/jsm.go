package notify

// jsm is Jira Service Management, whose integrations take the calls of OpsGenie.
// They document no way to ask what became of a request, nor of an alert, so what
// is accepted is taken for done. Some do answer, and then tell what failed.
var jsm = service{
	name: "jsm", title: "Jira Service Management",
	urls: map[string]string{"": "https://api.atlassian.com/jsm/ops/integration"},
	can:  Capabilities{Notes: true, Resolvable: true, Deduplicates: true},
}
