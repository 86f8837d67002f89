package incident

import (
	"fmt"
	"strings"
	"time"
)

const (
	// PauseTag is the tag of an instance whose value is the time until when the
	// instance is paused, RFC 3339, at most MaxPause ahead.
	PauseTag = "firstline:pause"
	// MaxPause is the longest pause.
	MaxPause = 7 * 24 * time.Hour
	// clockSlack is how far the clock of whoever set a pause may be ahead.
	clockSlack = time.Hour
)

// ParsePause reads the value of the tag PauseTag: the end of a pause, or 0 when
// that has passed. An error says why the value is no pause, although somebody
// wanted one.
func ParsePause(value string, now time.Time) (Millis, error) {
	until, err := time.Parse(time.RFC3339, strings.TrimSpace(value))
	if err != nil {
		return 0, fmt.Errorf("tag %s: %.100q is not a time such as %s", PauseTag, value, now.Add(time.Hour).Truncate(time.Hour).UTC().Format(time.RFC3339))
	}
	if until.Sub(now) > MaxPause+clockSlack {
		return 0, fmt.Errorf("tag %s: %s is more than %d days ahead; a pause lasts that long at most", PauseTag, until.UTC().Format(time.RFC3339), MaxPause/(24*time.Hour))
	}
	if !until.After(now) {
		return 0, nil
	}
	return At(until), nil
}
