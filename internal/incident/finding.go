package incident

import (
	"errors"
	"fmt"
	"net/netip"
)

// Names of the checks, in the order in which a look runs them.
const (
	CheckURL     = "url"
	CheckRoute53 = "route53"
	CheckSSH     = "ssh"
)

// Checks are the names of all checks, in the order in which a look runs them.
var Checks = []string{CheckURL, CheckRoute53, CheckSSH}

// CheckTitle is what people call a check; "" for an unknown name.
func CheckTitle(check string) string {
	switch check {
	case CheckURL:
		return "URL"
	case CheckRoute53:
		return "Route 53"
	case CheckSSH:
		return "SSH"
	}
	return ""
}

// Outcome is what one check came to.
type Outcome string

// Outcomes of a check.
const (
	// Passed: the target did what a healthy one does.
	Passed Outcome = "passed"
	// Failed: the target is at fault and a reboot may cure it.
	Failed Outcome = "failed"
	// Unknown: neither can be told; Kind says why.
	Unknown Outcome = "unknown"
	// Skipped: the settings turn this check off, or another finding of the look
	// makes it irrelevant.
	Skipped Outcome = "skipped"
)

// Kind says why a finding, or the verdict of a look, is unknown.
type Kind string

// Kinds of an unknown finding, the one that matters most first: the kind of a
// look is the first that one of its findings has.
const (
	// Attention: a person has to act, and no reboot helps.
	Attention Kind = "attention"
	// Contradicted: another finding of the same look speaks against it.
	Contradicted Kind = "contradicted"
	// Busy: the target is alive and rejects the connection.
	Busy Kind = "busy"
	// Blind: the fault is ours, or of an AWS API.
	Blind Kind = "blind"
)

// Kinds are all kinds in the order of their weight.
var Kinds = []Kind{Attention, Contradicted, Busy, Blind}

// Connection says how far the connection of a check without an answer got. It is
// empty for a finding with Answered, unless all that came was a TLS handshake, or a
// redirect to another port.
type Connection string

// Ways in which a connection ends before a byte comes.
const (
	// NoConnection: nothing answered in time, or a firewall or router on the way
	// said no.
	NoConnection Connection = "none"
	// Refused: something refused the connection, the host or a firewall that
	// answers for it.
	Refused Connection = "refused"
	// Silent: the connection was accepted, and then nothing came.
	Silent Connection = "silent"
	// ClosedEarly: the connection was accepted and ended before a byte came.
	ClosedEarly Connection = "closed"
)

// Finding is what one check saw in one look.
type Finding struct {
	// Look is the number of the look within the incident, from 1.
	Look    int     `json:"look"`
	Check   string  `json:"check"`
	Outcome Outcome `json:"outcome"`
	// Kind is there for an unknown outcome only.
	Kind Kind `json:"kind,omitempty"`
	// Reason says in words what was seen, without secrets or query strings.
	Reason string `json:"reason"`
	// Answered: at least one byte came from the target. For Route 53: a checker
	// names an HTTP status.
	Answered bool `json:"answered,omitempty"`
	// Connection says how a check without an answer ended.
	Connection Connection `json:"connection,omitempty"`
	// Elsewhere: the answer came from an address that is not the instance's, so
	// it proves and disproves nothing about the instance.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Address is the public IPv4 address that was asked, where the check passed or no
	// byte came: another region can ask it too.
	Address string `json:"address,omitempty"`
	// DownFrom are the other regions from which no byte comes either, sorted.
	DownFrom []string `json:"down_from,omitempty"`
	// HostKeyType is the type of the pinned host key, "ssh-rsa", where the server
	// has proved that it holds it.
	HostKeyType string `json:"host_key_type,omitempty"`
	// Attempts is how often the target was asked.
	Attempts int `json:"attempts,omitempty"`
	// ElapsedMs is how long the check took in milliseconds, pauses included.
	ElapsedMs int64 `json:"elapsed_ms,omitempty"`
	// At is when the check ended.
	At Millis `json:"at"`
}

// Heard reports whether a byte came from the instance itself, and not from another
// machine.
func (f Finding) Heard() bool { return f.Answered && !f.Elsewhere }

// NoAnswer reports whether the check failed before any byte came, or where it failed
// (Connection says so) none came: after a TLS handshake, or a redirect.
func (f Finding) NoAnswer() bool { return f.Outcome == Failed && (!f.Answered || f.Connection != "") }

// ProbeAgent is the user agent of a probe's HTTP request, unless the settings name one.
const ProbeAgent = "firstline (probe of another region)"

// Probe is what another region is asked: one attempt of one check at a public
// address.
type Probe struct {
	// Check is CheckURL or CheckSSH; the settings of that check are there.
	Check string `json:"check"`
	// Address is the one to ask, whatever a name in the settings leads to.
	Address string       `json:"address"`
	URL     *URLSettings `json:"url,omitempty"`
	SSH     *SSHSettings `json:"ssh,omitempty"`
}

// Validate returns what the step probe could not work with. The error is plain: the
// caller gives it a kind.
func (p Probe) Validate() error {
	switch {
	case p.Check != CheckURL && p.Check != CheckSSH:
		return fmt.Errorf("probe.check: %q is not a check that another region makes; use %s or %s", p.Check, CheckURL, CheckSSH)
	case (p.URL != nil) != (p.Check == CheckURL):
		return fmt.Errorf("probe.url: must be there for the check %s, and for no other", CheckURL)
	case (p.SSH != nil) != (p.Check == CheckSSH):
		return fmt.Errorf("probe.ssh: must be there for the check %s, and for no other", CheckSSH)
	case p.URL != nil && p.URL.Address == "":
		return errors.New("probe.url.address: missing; name the URL to ask")
	case p.SSH != nil && p.SSH.Host == "":
		return errors.New("probe.ssh.host: missing; name the host to ask")
	case p.SSH != nil && (p.SSH.Port < 1 || p.SSH.Port > 65535):
		return fmt.Errorf("probe.ssh.port: %d is out of range; ports are 1 to 65535", p.SSH.Port)
	}
	if _, err := netip.ParseAddr(p.Address); err != nil {
		return fmt.Errorf("probe.address: %q is not an IP address such as 203.0.113.7", p.Address)
	}
	return nil
}
