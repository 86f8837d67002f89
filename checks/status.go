package checks

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

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

// statusRange is an inclusive range of status codes.
type statusRange struct{ first, last int }

func (r statusRange) has(status int) bool { return r.first <= status && status <= r.last }

// parseStatus reads a list of status codes and ranges, "200" or "200-299".
func parseStatus(list []string) ([]statusRange, error) {
	ranges := make([]statusRange, 0, len(list))
	for _, s := range list {
		from, to, isRange := strings.Cut(s, "-")
		if !isRange {
			to = from
		}
		first, errFirst := strconv.Atoi(from)
		last, errLast := strconv.Atoi(to)
		if errFirst != nil || errLast != nil {
			return nil, fmt.Errorf(`%q is neither a status code nor a range of them; use "200" or "200-299"`, s)
		}
		ranges = append(ranges, statusRange{first, last})
	}
	return ranges, nil
}
