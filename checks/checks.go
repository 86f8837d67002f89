// Package checks observes an instance from outside: its URL, its Route 53
// health check, its SSH server. A check never acts and never returns an error:
// what it cannot tell is a finding too. README.md says what each finding means.
package checks

import (
	"time"

	"firstline/internal/incident"
)

// maxReason bounds a reason, in runes: the incident carries every finding, and
// Step Functions carries the incident (256 KiB at most).
const maxReason = 500

// clip makes text that may come from the target fit for a reason.
func clip(s string) string { return incident.ClipLine(s, maxReason) }

// skipped returns the finding of a check that the settings turn off.
func skipped(check, reason string) incident.Finding {
	return incident.Finding{
		Check: check, Outcome: incident.Skipped, Reason: "skipped: " + reason, At: incident.At(time.Now()),
	}
}

// inquiry is one run of a check.
type inquiry struct {
	check string
	// what names the target in a reason, "GET http://203.0.113.7/"; empty while
	// it is not known.
	what string
	// endpoint is "host:port".
	endpoint string
	start    time.Time
}

// finding is the only place that turns what a check came to into a finding.
func (q inquiry) finding(a answer) incident.Finding {
	f := incident.Finding{
		Check:     q.check,
		Outcome:   incident.Passed,
		Reason:    a.saw,
		Answered:  a.answered,
		Endpoint:  q.endpoint,
		Attempts:  a.attempts,
		ElapsedMs: time.Since(q.start).Milliseconds(),
		At:        incident.At(time.Now()),
	}
	if c := a.cause; c != nil {
		f.Outcome, f.Kind, f.Reason = c.outcome, c.kind, c.text
		if !a.answered {
			f.Connection = c.connection
		}
	}
	if q.what != "" {
		f.Reason = q.what + ": " + f.Reason
	}
	f.Reason = clip(f.Reason)
	return f
}

// elsewhere marks a finding about an address that is not the instance's; "" is
// none.
func elsewhere(f incident.Finding, address string) incident.Finding {
	if address == "" {
		return f
	}
	f.Elsewhere = true
	verb := "asked"
	if f.Answered {
		verb = "answered by"
	}
	// The note must survive a reason that is cut.
	note := " (" + verb + " " + address + ", which is not the instance)"
	f.Reason = incident.ClipLine(f.Reason, maxReason-len(note)) + note
	return f
}
