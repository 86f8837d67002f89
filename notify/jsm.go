package notify

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

const urlJSM = "https://api.atlassian.com/jsm/ops/integration"

// jsm is Jira Service Management, whose integrations take the calls of OpsGenie.
// They document no way to ask what became of a request, nor of an alert, so what
// is accepted is taken for done.
var jsm = service{
	name: "jsm", title: "Jira Service Management", url: jsmURL,
	can: Capabilities{Notes: true, Resolvable: true, Deduplicates: true},
	// Some do answer, and then tell what failed.
	followFor: 4 * time.Second,
}

// jsmURL returns the base URL of an endpoint: "" is Atlassian's own.
func jsmURL(endpoint string) (string, error) {
	if strings.TrimSpace(endpoint) == "" {
		return urlJSM, nil
	}
	base, err := alertAPIURL(endpoint)
	if err != nil {
		return "", errors.New("jsm.endpoint: " + err.Error() + "; leave it empty for " + urlJSM + ", or use a base URL (https, or http on loopback)")
	}
	return base, nil
}

func makeJSM(config json.RawMessage, deps Deps) (Pager, error) {
	return makeAlertAPI(jsm, config, deps)
}
