package checks

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// SSH asks an instance's SSH server for a key exchange. It has no credentials
// and names no user.
type SSH struct {
	// DescribeInstances finds the instance's address where the settings name
	// none, and tells whether an address they name is the instance's.
	DescribeInstances DescribeInstances
	// Egress may be nil: then every time-out is blamed on the target.
	Egress Egress
	// VPC: the function runs in a VPC. Outside of one it reaches no private
	// address.
	VPC bool

	dialer dialer
}

// Check tries up to s.Attempts times and passes as soon as a key exchange has
// completed: the server has proved that it holds its host key, and both sides
// have switched to the new keys. A hung machine may accept connections (its
// kernel does) and even send a banner; it does not get that far. README.md
// says how much time ctx needs.
func (c *SSH) Check(ctx context.Context, instanceID string, s incident.SSHSettings) incident.Finding {
	if !s.Enabled {
		return skipped(incident.CheckSSH, "ssh.enabled is false")
	}
	q := inquiry{check: incident.CheckSSH, start: time.Now()}
	target, failure := c.target(ctx, instanceID, s)
	if failure != nil {
		return q.finding(answer{cause: failure})
	}
	q.what, q.endpoint = "ssh "+target.endpoint, target.endpoint
	a := sshSeries(s).run(ctx, target.try)
	if !s.Private {
		a = c.Egress.confirm(ctx, s.AddressFamily, a)
	}
	f := q.finding(a)
	// The pinned key proves who answered, whatever its address.
	if s.Host != "" && (a.cause != nil || s.HostKeyFingerprint == "") {
		f = elsewhere(f, c.DescribeInstances.foreign(ctx, instanceID, a.remotes))
	}
	return f
}

// sshTarget is a server that can be asked for a key exchange again and again.
type sshTarget struct {
	dialer         dialer
	settings       incident.SSHSettings
	host, endpoint string
}

func (c *SSH) target(ctx context.Context, instanceID string, s incident.SSHSettings) (*sshTarget, *cause) {
	t := &sshTarget{dialer: c.dialer, settings: s, host: s.Host}
	t.dialer.vpc = c.VPC
	if t.host == "" {
		addr, failure := c.DescribeInstances.address(ctx, instanceID, s.AddressFamily, s.Private)
		if failure != nil {
			return nil, failure
		}
		t.host = addr.String()
	}
	t.endpoint = net.JoinHostPort(t.host, strconv.Itoa(s.Port))
	return t, nil
}

// try makes one attempt: nil for a pass, else a *cause.
//
// A server may own several host keys, and shows one of the algorithm that we
// like best. When that is not the pinned one, the others are asked for, one
// connection each, before the pin counts as violated.
func (t *sshTarget) try(ctx context.Context, p *progress) (string, error) {
	algorithms := hostKeyAlgorithms
	if t.settings.HostKeyFingerprint == "" {
		algorithms = slices.Concat(hostKeyAlgorithms, oldHostKeyAlgorithms)
	}
	var others []string
	for {
		key, err := t.exchange(ctx, p, algorithms)
		switch {
		case err == nil:
			return "key exchange completed, host key " + key.fingerprint, nil
		case errors.Is(err, errWrongKey):
			others = append(others, key.fingerprint+" ("+key.keyType+")")
			if algorithms = without(algorithms, key.keyType); len(algorithms) == 0 {
				return "", t.unpinned(others, nil)
			}
		case len(others) > 0:
			return "", t.unpinned(others, err)
		default:
			return "", err
		}
	}
}

var errWrongKey = errors.New("not the pinned host key")

// unpinned says what it means that the pinned key was not among those shown. err
// is what kept us from the next one.
func (t *sshTarget) unpinned(others []string, err error) *cause {
	shows := fmt.Sprintf("it shows %s, not the pinned %s", clip(strings.Join(others, ", ")), t.settings.HostKeyFingerprint)
	if negotiation, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); err == nil || ok && negotiation.What == "host key" {
		return wrong("%s: another machine answers, or ssh.host_key_fingerprint is out of date", shows)
	}
	// It has completed a key exchange a moment ago, so it is alive.
	c := busy("%s, and could not be asked for its other host keys: %s", shows, clip(err.Error()))
	if under := causeOf(err); under.outcome == incident.Unknown {
		c.kind = under.kind
	}
	return c
}

// exchange makes one connection and one key exchange.
func (t *sshTarget) exchange(ctx context.Context, p *progress, algorithms []string) (hostKey, error) {
	conn, err := t.dialer.connect(ctx, p, t.settings.AddressFamily, t.host, strconv.Itoa(t.settings.Port))
	if err != nil {
		return hostKey{}, err
	}
	defer func() { _ = conn.Close() }() // nothing is lost with it
	p.enter(phaseAnswer)
	// A deadline alone would outlast a caller that gives up earlier.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	seen := &sshConn{Conn: conn, buffer: bufio.NewReader(conn)}
	if err := seen.awaitServer(ctx, min(p.timeout/4, time.Second)); err != nil {
		return hostKey{}, explain(p, err, err)
	}
	// sshConn ends it, so that it never returns a client.
	_, _, _, err = ssh.NewClientConn(seen, t.endpoint, t.config(seen, algorithms))
	key, completed := seen.proof()
	if completed {
		return key, nil
	}
	return key, explain(p, err, seen.ended(err))
}

func (t *sshTarget) config(seen *sshConn, algorithms []string) *ssh.ClientConfig {
	config := &ssh.ClientConfig{
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			return seen.proved(key, t.settings.HostKeyFingerprint)
		},
	}
	if t.settings.HostKeyFingerprint == "" {
		// We want to know whether it lives, and tell it nothing: the old
		// algorithms of an old server are as good a sign as any.
		supported, insecure := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
		config.KeyExchanges = slices.Concat(supported.KeyExchanges, insecure.KeyExchanges)
		config.Ciphers = slices.Concat(supported.Ciphers, insecure.Ciphers)
		config.MACs = slices.Concat(supported.MACs, insecure.MACs)
	}
	return config
}

// explain says why a key exchange did not complete, and how far it got. ended is
// the connection's error, if it has one, else err. A server that closes in an
// orderly way is alive; OpenSSH does so when too many clients are about to log in.
func explain(p *progress, err, ended error) error {
	if errors.Is(err, errWrongKey) {
		return err
	}
	if negotiation, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		c := ours("key exchange: the server is alive and shares no %s algorithm with this check: %v", negotiation.What, err)
		c.err = err // unpinned looks at what was missing
		return c
	}
	// x/crypto/ssh exports no type for it.
	if _, words, ok := strings.Cut(err.Error(), "ssh: disconnect, reason "); ok {
		return busy("the server is alive and disconnects: reason %s", clip(words))
	}
	head, end := p.now().head, p.ending(ended)
	banner, offered := sshBanner(head)
	const silent = "it accepted the connection and sent nothing"
	incomplete := "it sent its banner (" + banner + ") and did not complete the key exchange"
	var c *cause
	switch {
	case len(head) == 0 && end == "":
		c = p.classify(ended, func(err error) *cause { return blind("key exchange: %s", clip(err.Error())) })
	case len(head) == 0 && fault.IsTimeout(ended):
		c = failed(incident.Silent, "%s: %s", end, silent)
	case len(head) == 0:
		c = failed(incident.ClosedEarly, "%s: %s", end, silent)
	case banner == "":
		c = stranger(string(head), end, fault.IsTimeout(ended))
	case end != "":
		c = failed("", "%s: %s", end, incomplete)
	case offered:
		c = ours("key exchange: our client refuses what the server offers: %s", clip(err.Error()))
	default:
		c = failed("", "key exchange failed: %s: %s", incomplete, clip(err.Error()))
	}
	if c.outcome == incident.Failed && end == endClosed {
		c.outcome, c.kind = incident.Unknown, incident.Busy
	}
	return c
}

// sshBanner returns the server's banner, "" if it is not in head, and whether the
// server has made its offer of algorithms: a packet with SSH_MSG_KEXINIT. RFC
// 4253 allows other lines before the banner (4.2; 6 and 7.1 for the packet).
func sshBanner(head []byte) (banner string, offered bool) {
	const (
		lengths = 5 // of the packet, and of its padding
		kexInit = 20
	)
	rest := head
	for line := range bytes.Lines(head) {
		rest = rest[len(line):]
		if bytes.HasPrefix(line, []byte(sshPrefix)) {
			return incident.ClipLine(string(line[:min(len(line), 80)]), 80), len(rest) > lengths && rest[lengths] == kexInit
		}
	}
	return "", false
}

// stranger: the server said something that is not an SSH banner. OpenSSH does
// so to an address with too many penalties, and when too many clients are about
// to log in: its listener is alive. A reboot would not keep a flood out, and
// would cost those who are logged in their work.
func stranger(head, end string, timedOut bool) *cause {
	const port = "%s answers on this port; name the SSH server's port"
	const rejects = "the server is alive and rejects the connection: "
	switch {
	case strings.HasPrefix(head, httpPrefix):
		return wrong(port, "a web server")
	case strings.HasPrefix(head, tlsAlert), strings.HasPrefix(head, tlsHandshake):
		return wrong(port, "a TLS server")
	case strings.HasPrefix(head, "Not allowed at this time"):
		return busy(rejects + `it says "Not allowed at this time" (PerSourcePenalties or MaxStartups in its sshd_config; PerSourcePenaltyExemptList lets us in)`)
	case strings.HasPrefix(head, "Exceeded MaxStartups"):
		return busy(rejects + `it says "Exceeded MaxStartups": more clients than that are about to log in`)
	case timedOut:
		return failed("", "%s: it sent %d bytes that are no SSH banner", end, len(head))
	}
	line, _, _ := strings.Cut(head, "\n")
	return busy(rejects+"instead of its banner it sends %q", incident.ClipLine(line, 80))
}

// The algorithms of plain host keys, the ones that operators pin first: each
// mismatch costs a connection. Certificates are not asked for, since every server
// that has one has the plain key too.
var (
	hostKeyAlgorithms = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	oldHostKeyAlgorithms = []string{ssh.KeyAlgoRSA, "ssh-dss"}
)

// without drops the algorithms that a key of this type signs with.
func without(algorithms []string, keyType string) []string {
	return slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool {
		return a == keyType || keyType == ssh.KeyAlgoRSA && strings.HasPrefix(a, "rsa-")
	})
}
