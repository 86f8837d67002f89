package checks

import (
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
// kernel does) and even send a banner; it does not get that far.
//
// It has failed when every attempt met a refused, reset or timed-out
// connection, or a key exchange that did not complete. It is unknown
//
//   - attention for wrong settings, an instance that is unknown, not running or
//     without the address asked for, a name that does not resolve, a private
//     address without a VPC, host keys of which none is the pinned one, HTTP or
//     TLS on the port;
//   - busy for a server that disconnects, closes the connection in an orderly
//     way, or answers with anything of its own;
//   - blind where AWS refuses us or is down, for our own connectivity, name
//     servers that do not answer, a server that shares no algorithm with us,
//     and for too little time left in ctx: Budget is always enough.
//
// An attempt is one connection; with a pinned key it is one for each of the
// server's host keys until the pinned one shows, three on a usual server.
// OpenSSH 9.8 and later may count each against our address (noauth, one
// second each by default): that decays by one second a second, and nobody is
// refused below fifteen (PerSourcePenalties in sshd_config(5)), so that looks
// every 20 seconds never get there.
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
		f = q.elsewhere(f, c.DescribeInstances.foreign(ctx, instanceID, a.remotes))
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
	algorithms := hostKeyAlgorithms(t.settings.HostKeyFingerprint != "")
	var others []string
	for {
		shown, err := t.exchange(ctx, p, algorithms)
		if err == nil {
			return "key exchange completed, host key " + shown.fingerprint, nil
		}
		if _, other := errors.AsType[*wrongKey](err); other {
			others = append(others, shown.fingerprint+" ("+shown.keyType+")")
			algorithms = without(algorithms, shown.keyType)
			if len(algorithms) > 0 {
				continue
			}
		}
		if len(others) == 0 {
			return "", err
		}
		return "", t.unpinned(others, algorithms, err)
	}
}

// unpinned says what it means that the pinned key was not among those shown.
func (t *sshTarget) unpinned(others, algorithms []string, err error) *cause {
	offered := clip(strings.Join(others, ", "))
	if negotiation, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); len(algorithms) > 0 && (!ok || negotiation.What != "host key") {
		// It has completed a key exchange a moment ago, and yet we could not see
		// all its keys.
		c := busy("it shows %s, not the pinned %s, and could not be asked for its other host keys: %s",
			offered, t.settings.HostKeyFingerprint, clip(err.Error()))
		if under := causeOf(err); under.outcome == incident.Unknown {
			c.kind = under.kind
		}
		return c
	}
	return wrong("it shows %s, not the pinned %s: another machine answers, or ssh.host_key_fingerprint is out of date",
		offered, t.settings.HostKeyFingerprint)
}

type wrongKey struct{}

func (*wrongKey) Error() string { return "not the pinned host key" }

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
	seen := &sshConn{Conn: conn}
	if err := seen.awaitServer(ctx, min(p.timeout/4, time.Second)); err != nil {
		return hostKey{}, t.explain(ctx, p, seen, err)
	}
	client, channels, requests, err := ssh.NewClientConn(seen, t.endpoint, t.config(seen, algorithms))
	if err == nil {
		// sshConn ends the handshake before; this is for completeness.
		go ssh.DiscardRequests(requests)
		go func() {
			for c := range channels {
				_ = c.Reject(ssh.Prohibited, "health check") // about to close
			}
		}()
		_ = client.Close() // the key exchange is all we wanted
		return seen.hostKey(), nil
	}
	if seen.completed() {
		return seen.hostKey(), nil
	}
	return seen.hostKey(), t.explain(ctx, p, seen, err)
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

// ending is how a connection ended under a key exchange.
type ending int

const (
	endedOtherwise ending = iota // by an error of the protocol
	endedByTime
	endedOrderly
	endedByReset
)

// explain says why a key exchange did not complete, and how far it got.
func (t *sshTarget) explain(ctx context.Context, p *progress, seen *sshConn, err error) error {
	if _, ok := errors.AsType[*wrongKey](err); ok {
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
	how, did := endedOtherwise, ""
	switch err := seen.ended(err); {
	case fault.IsTimeout(err) || ctx.Err() != nil:
		how, did = endedByTime, fmt.Sprintf("timed out after %v", p.timeout)
	case isClosed(err):
		how, did = endedOrderly, "connection closed"
	case isReset(err):
		how, did = endedByReset, "connection reset"
	}
	count, banner := seen.heard()
	switch {
	case count == 0:
		return silence(p, how, did, seen.ended(err))
	case banner == "":
		return seen.stranger(how, did)
	default:
		return seen.incomplete(how, did, banner, err)
	}
}

// silence: the server accepted the connection and said nothing. OpenSSH before
// 7.5 closes like that when too many clients are about to log in.
func silence(p *progress, how ending, did string, err error) *cause {
	const words = "it accepted the connection and sent nothing"
	switch how {
	case endedByTime:
		return failed(incident.Silent, "%s: %s", did, words)
	case endedOrderly:
		c := busy("%s: %s", did, words)
		c.connection = incident.ClosedEarly
		return c
	case endedByReset:
		return failed(incident.ClosedEarly, "%s: %s", did, words)
	default:
		return p.classify(err, func(err error) *cause { return blind("key exchange: %s", clip(err.Error())) })
	}
}

// stranger: the server said something that is not an SSH banner. OpenSSH does
// so to those it does not want: an address with too many penalties, and whoever
// comes when too many others are about to log in. Either is its listener's
// doing, and so a sign of life. A flood may be the very load that made the
// alarm fire; a reboot would not keep it out, and would cost those who are
// logged in their work.
func (c *sshConn) stranger(how ending, did string) *cause {
	head := c.head()
	for protocol, prefixes := range map[string][]string{"a web server": {httpHead}, "a TLS server": {tlsAlert, tlsHandshake}} {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(head, p) }) {
			return wrong("%s answers on this port; name the SSH server's port", protocol)
		}
	}
	for _, n := range notNow {
		if strings.HasPrefix(head, n.prefix) {
			return busy("the server is alive and rejects the connection: it says %s", n.words)
		}
	}
	count, _ := c.heard()
	if how == endedByTime {
		return failed(incident.Silent, "%s: it sent %d bytes that are no SSH banner", did, count)
	}
	line, _, _ := strings.Cut(head, "\n")
	return busy("the server is alive and rejects the connection: instead of its banner it sends %q", incident.ClipLine(line, 80))
}

// notNow is what OpenSSH says instead of its banner.
var notNow = []struct{ prefix, words string }{
	{"Not allowed at this time", `"Not allowed at this time" (PerSourcePenalties or MaxStartups in its sshd_config; PerSourcePenaltyExemptList lets us in)`},
	{"Exceeded MaxStartups", `"Exceeded MaxStartups": more clients than that are about to log in`},
}

// incomplete: the server sent its banner, and the key exchange did not complete.
func (c *sshConn) incomplete(how ending, did, banner string, err error) *cause {
	words := "it sent its banner (" + banner + ") and did not complete the key exchange"
	switch {
	case how == endedOrderly:
		return busy("%s: %s", did, words)
	case how != endedOtherwise:
		return failed("", "%s: %s", did, words)
	case c.offered():
		return ours("key exchange: our client refuses what the server offers: %s", clip(err.Error()))
	default:
		return failed("", "key exchange failed: %s: %s", words, clip(err.Error()))
	}
}

// hostKeyAlgorithms returns plain keys' algorithms, the ones that operators
// pin first: each mismatch costs a connection. Certificates are not asked for,
// since every server that has one has the plain key too.
func hostKeyAlgorithms(secureOnly bool) []string {
	all := ssh.SupportedAlgorithms().HostKeys
	if !secureOnly {
		all = append(all, ssh.InsecureAlgorithms().HostKeys...)
	}
	plain := slices.DeleteFunc(all, func(a string) bool { return strings.Contains(a, "-cert-") })
	slices.SortStableFunc(plain, func(a, b string) int { return preference(a) - preference(b) })
	return plain
}

func preference(algorithm string) int {
	switch {
	case algorithm == ssh.KeyAlgoED25519:
		return 0
	case strings.HasPrefix(algorithm, "ecdsa-"):
		return 1
	case strings.HasPrefix(algorithm, "rsa-"):
		return 2
	default:
		return 3
	}
}

// without drops the algorithms that a key of this type signs with.
func without(algorithms []string, keyType string) []string {
	return slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool {
		return a == keyType || keyType == ssh.KeyAlgoRSA && strings.HasPrefix(a, "rsa-")
	})
}
