// Package checks observes an instance from outside: its URL, its Route 53
// health check, its SSH server. A check never acts and never returns an error:
// what it cannot tell is a finding too. README.md says what each finding means.
package checks

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"time"

	"firstline/internal/incident"
)

// Vantage is the place from which the URL check and the SSH check ask.
type Vantage struct {
	// DescribeInstances finds the instance's address where the settings name
	// none, and tells whether an address they name is the instance's.
	DescribeInstances DescribeInstances
	// Secret reads the value of a secret header from its SSM parameter. An error
	// of its that has no kind gets the one of an AWS call.
	Secret func(ctx context.Context, parameter string) (string, error)
	// Egress may be nil: then every time-out is blamed on the target.
	Egress Egress
	// VPC: the function runs in a VPC. Outside of one it reaches no private
	// address.
	VPC bool
	// Local: loopback addresses stand for public ones, as on the local AWS.
	Local bool

	// only is the one address that a probe asks; invalid: there is none.
	only netip.Addr
	// own are the instance's addresses, of the check that runs, and unasked says why
	// EC2 did not tell them.
	own     []netip.Addr
	unasked *cause

	// The system's where they are nil.
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	roots  *x509.CertPool
}

// answersAllowance bounds each half of Answers: the address and the attempt. Where
// ctx leaves less, each gets half of it.
const answersAllowance = 4 * time.Second

// Answers reports whether a byte comes from an instance, whatever it says, to
// see whether our vantage works: one attempt at its SSH server, or at its web
// server where SSH is off. It takes at most 8 seconds. It is false where both
// are off.
func (v *Vantage) Answers(ctx context.Context, instanceID string, settings *incident.Settings) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*answersAllowance)
	defer cancel()
	deadline, _ := ctx.Deadline()
	half := time.Until(deadline).Seconds() / 2
	once := *v
	once.Egress = nil
	if s := settings.SSH; s.Enabled {
		s.Attempts, s.TimeoutSeconds = 1, half
		s.HostKeyFingerprint = "" // any key is an answer
		return once.SSH(ctx, instanceID, s, "").Heard()
	}
	s := settings.URL
	s.Attempts, s.TimeoutSeconds = 1, half
	s.SecretHeaders, s.FollowRedirects = nil, false // a 401 is an answer
	return once.URL(ctx, instanceID, s).Heard()     // a byte from a CDN says nothing about our way to the instances
}

// question is what one run of a check asks.
type question struct {
	check string
	// what names the target in a reason, "GET http://203.0.113.7/"; empty while
	// it is not known.
	what  string
	start time.Time
	// public tells which addresses another region can ask too.
	public func(netip.Addr) bool
}

// maxReason bounds a reason, in runes: the incident carries every finding, and
// Step Functions carries the incident (256 KiB at most).
const maxReason = 500

// clip makes text that may come from the target fit for a reason.
func clip(s string) string { return incident.ClipLine(s, maxReason) }

// finding is the only place that turns what a check came to into a finding.
func (q question) finding(a answer) incident.Finding {
	f := incident.Finding{
		Check:     q.check,
		Outcome:   incident.Passed,
		Reason:    a.saw,
		Answered:  a.answered,
		Attempts:  a.attempts,
		ElapsedMs: time.Since(q.start).Milliseconds(),
		At:        incident.At(time.Now()),
	}
	if c := a.cause; c != nil {
		f.Outcome, f.Kind, f.Reason = c.outcome, c.kind, c.text
		if !a.answered || c.unanswered {
			f.Connection = c.connection
		}
	}
	if f.Outcome == incident.Passed || f.Outcome == incident.Failed && !a.answered {
		if n := slices.IndexFunc(a.remotes, q.public); n >= 0 {
			f.Address = a.remotes[n].String()
		}
	}
	if q.what != "" {
		f.Reason = q.what + ": " + f.Reason
	}
	f.Reason = clip(f.Reason)
	return f
}

// skipped returns the finding of a check that the settings turn off.
func skipped(check, reason string) incident.Finding {
	return incident.Finding{
		Check: check, Outcome: incident.Skipped, Reason: "skipped: " + reason, At: incident.At(time.Now()),
	}
}

// elsewhere marks a finding about an address that is not the instance's; "" is
// none.
func elsewhere(f incident.Finding, address string) incident.Finding {
	if address == "" {
		return f
	}
	f.Elsewhere, f.Address = true, ""
	verb := "asked"
	if f.Answered {
		verb = "answered by"
	}
	// The note must survive a reason that is cut.
	note := " (" + verb + " " + address + ", which is not the instance)"
	f.Reason = incident.ClipLine(f.Reason, maxReason-len(note)) + note
	return f
}
