package checks

import (
	"net/http"

	"firstline/internal/incident"
)

// unexpected says what an HTTP status that is not wanted means, whoever saw it:
// a 5xx is the target's failure, unless it says that it is too busy now; any
// other status is an answer that only a person can put right.
func unexpected(status int, retryAfter bool) (incident.Outcome, incident.Kind) {
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && retryAfter:
		return incident.Unknown, incident.Busy
	case status >= 500 && status <= 599:
		return incident.Failed, ""
	default:
		return incident.Unknown, incident.Attention
	}
}
