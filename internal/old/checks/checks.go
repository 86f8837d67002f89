// Package checks looks at an instance from outside: its URL, its Route 53
// health check, its SSH server. A check observes and never acts.
//
// A check answers in one of three ways. A Finding that passed: the target did
// what a healthy one does. A Finding that did not pass: the target is at
// fault and a reboot may cure it. An error (see package fault): it could not
// be told, or a reboot cannot cure it.
package checks

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Names of the checks, as they stand in findings and in the state machine.
const (
	NameURL     = "url"
	NameRoute53 = "route53"
	NameSSH     = "ssh"
)

// Title is what people call a check, "" for a name that is none.
func Title(check string) string {
	switch check {
	case NameURL:
		return "URL"
	case NameRoute53:
		return "Route 53"
	case NameSSH:
		return "SSH"
	}
	return ""
}

// Finding is what one check saw in one look.
type Finding struct {
	// Run is 1 before the reboot and 2 after it. The handler sets it.
	Run int `json:"run"`
	// Check is the check's name.
	Check string `json:"check"`
	// Passed is true when the target did what a healthy one does, and when
	// the check was skipped.
	Passed bool `json:"passed"`
	// Skipped is true when the settings turn this check off.
	Skipped bool `json:"skipped,omitempty"`
	// TimedOut is true when the target said nothing at all in time: what a fault
	// of the network in between looks like too.
	TimedOut bool `json:"timedOut,omitempty"`
	// Reason says in words what was seen, without secrets or query strings.
	Reason string `json:"reason"`
	// Attempts is how often the target was asked.
	Attempts int `json:"attempts"`
	// ElapsedMs is how long the check took, pauses between attempts included.
	ElapsedMs int64 `json:"elapsedMs"`
	// At is when the check ended.
	At time.Time `json:"at"`
	// Looks is how many successive looks of this run this finding stands for,
	// where it is more than one; Since is then the time of the first.
	Looks int        `json:"looks,omitempty"`
	Since *time.Time `json:"since,omitempty"`
}

// skipped returns the finding of a check that the settings turn off.
func skipped(check, reason string) Finding {
	return Finding{Check: check, Passed: true, Skipped: true, Reason: "skipped: " + reason, At: time.Now().UTC()}
}

// newFinding returns the finding of a check that began at start and asked the
// target so many times.
func newFinding(check string, start time.Time, attempts int, passed bool, reason string) Finding {
	return Finding{
		Check:     check,
		Passed:    passed,
		Reason:    clip(reason),
		Attempts:  attempts,
		ElapsedMs: time.Since(start).Milliseconds(),
		At:        time.Now().UTC(),
	}
}

// maxReason bounds a reason, in runes: the incident carries every finding, and
// Step Functions carries the incident (256 KiB at most).
const maxReason = 500

// clip is clipTo for a whole reason.
func clip(s string) string { return clipTo(s, maxReason) }

// clipTo makes text that may come from the target fit for a log line and a
// message: valid UTF-8, one line, no control characters, at most limit runes.
func clipTo(s string, limit int) string {
	// A peer may send megabytes; four bytes a rune is the most that counts.
	// What is cut in the middle of a rune is dropped as invalid below.
	cut := len(s) > utf8.UTFMax*(limit+1)
	if cut {
		s = s[:utf8.UTFMax*(limit+1)]
	}
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		default:
			return r
		}
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	runes := []rune(s)
	if len(runes) <= limit && !cut {
		return s
	}
	runes = runes[:min(len(runes), limit-1)]
	return strings.TrimRight(string(runes), " ") + "…"
}
