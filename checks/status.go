package checks

import (
	"fmt"
	"net/http"
	"strconv"

	"firstline/internal/incident"
	"firstline/internal/lazy"
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

// statusRange is an inclusive range of status codes.
type statusRange struct{ first, last int }

var statusForm = lazy.Regexp(`^([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?$`)

// parseStatus reads a list of status codes and ranges, "200" or "200-299".
func parseStatus(list []string) ([]statusRange, error) {
	ranges := make([]statusRange, 0, len(list))
	for _, s := range list {
		m := statusForm().FindStringSubmatch(s)
		if m == nil {
			return nil, fmt.Errorf(`%q is neither a status code nor a range of them; use "200" or "200-299", 100 to 599`, s)
		}
		first, _ := strconv.Atoi(m[1]) // three digits, says the pattern
		last, err := strconv.Atoi(m[2])
		if err != nil {
			last = first
		}
		ranges = append(ranges, statusRange{first, last})
	}
	return ranges, nil
}
