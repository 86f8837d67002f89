package checks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// SSH asks an instance's SSH server for a key exchange up to s.Attempts times and
// passes as soon as the server has proved that it holds its host key. A hung
// machine may accept connections (its kernel does) and even send a banner; it does
// not get that far. The check has no credentials and names no user. README.md says
// how much time ctx needs.
//
// keyType is the type of the pinned key, "ssh-rsa", as an earlier finding has it, or
// empty: then an attempt may need a connection for each type that the server has.
func (v *Vantage) SSH(ctx context.Context, instanceID string, s incident.SSHSettings, keyType string) incident.Finding {
	if !s.Enabled {
		return skipped(incident.CheckSSH, "ssh.enabled is false")
	}
	q := question{check: incident.CheckSSH, start: time.Now(), public: v.public}
	named := s.Host != ""
	v = v.knowing(ctx, instanceID, named)
	if !named {
		addr, c := v.DescribeInstances.address(ctx, instanceID, s.AddressFamily, s.Private)
		if c != nil {
			return q.finding(answer{cause: c})
		}
		s.Host = addr
	}
	q.what = "ssh " + net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	x := &keyExchange{vantage: v, settings: s, keyType: keyType}
	a := newSeries(s.Attempts, s.TimeoutSeconds, s.IntervalSeconds).run(ctx, x.attempt)
	if !s.Private {
		a = v.Egress.confirm(ctx, a)
	}
	f := q.finding(a)
	f.HostKeyType = x.pinnedType
	// The pinned key proves who answered, whatever its address.
	if named && f.HostKeyType == "" {
		f = elsewhere(f, v.DescribeInstances.foreign(ctx, instanceID, a.remotes))
	}
	return f
}

// keyExchange is what all attempts of a check have in common.
type keyExchange struct {
	vantage  *Vantage
	settings incident.SSHSettings
	keyType  string
	// algorithms are those to ask for that no key shown so far has, and shown are these
	// keys, none of which is pinned.
	algorithms, shown []string
	// pinnedType is the type of the pinned key, once the server has proved it.
	pinnedType string
	// hasWaited: the newest connection brought nothing until we spoke. An SSH server
	// speaks first.
	hasWaited bool
	// askedProxy: it was tried whether the server expects the PROXY protocol.
	askedProxy bool
}

// attempt makes one attempt: with a pinned key whose type is not known, a
// connection for each type until the server shows it, since a server shows one key
// per connection. What goes wrong after the first is no failure: the server lives.
func (x *keyExchange) attempt(ctx context.Context, p *attempt) (string, *cause) {
	pinned := x.settings.HostKeyFingerprint
	if x.algorithms == nil {
		x.algorithms = x.hostKeyAlgorithms()
	}
	for {
		key, err := x.hostKey(ctx, p, x.algorithms)
		switch negotiation, isNegotiation := errors.AsType[*ssh.AlgorithmNegotiationError](err); {
		case isNegotiation && len(x.shown) > 0:
			return "", x.notPinned()
		case err != nil && len(x.shown) > 0: // with more time, the next attempt goes on with the other types
			return "", unknown(incident.Attention, ctx.Err() == nil, "it shows %s, and showed no key of another type before the attempt ended, so firstline cannot tell whether it has the pinned %s; raise ssh.timeout_seconds, or let the server accept more connections from firstline",
				strings.Join(x.shown, " and "), pinned)
		case isNegotiation && pinned == "":
			return fmt.Sprintf("it negotiates, and shares no %s algorithm with this check; it offers %s",
				negotiation.What, offer(negotiation)), nil
		case err != nil:
			return "", x.explain(ctx, p, err)
		}
		fingerprint := ssh.FingerprintSHA256(key)
		if pinned == "" || fingerprint == pinned {
			if pinned != "" {
				x.pinnedType = key.Type()
			}
			return "key exchange completed, host key " + fingerprint + " (" + key.Type() + ")", nil
		}
		x.shown = append(x.shown, fingerprint+" ("+key.Type()+")")
		x.algorithms = slices.DeleteFunc(x.algorithms, func(a string) bool { return slices.Contains(signs(key.Type()), a) })
		if x.keyType != "" || len(x.algorithms) == 0 {
			return "", x.notPinned()
		}
	}
}

func (x *keyExchange) notPinned() *cause {
	return wrong("it shows %s, not the pinned %s: another machine answers, or ssh.host_key_fingerprint is out of date",
		strings.Join(x.shown, " and "), x.settings.HostKeyFingerprint)
}

// offer is what the server offers instead, in few words.
func offer(e *ssh.AlgorithmNegotiationError) string {
	return incident.ClipLine(cmp.Or(strings.Join(e.RequestedAlgorithms, ", "), "none"), 200)
}

// signs are the algorithms with which a key of a type signs, but for SHA-1.
func signs(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// errProved ends a key exchange where it has got far enough.
var errProved = errors.New("the server has proved its host key")

// hostKey makes a connection and a key exchange. The host key's callback comes once
// the server's signature is verified, and there we leave: a server that looks up
// users in a slow directory is not bothered, and no login fails, which OpenSSH
// punishes more than a client that leaves before (authfail and noauth of its
// PerSourcePenalties).
func (x *keyExchange) hostKey(ctx context.Context, p *attempt, algorithms []string) (key ssh.PublicKey, err error) {
	s := x.settings
	if c := x.vantage.connect(ctx, p, s.AddressFamily, s.Host, strconv.Itoa(s.Port)); c != nil {
		return nil, c
	}
	p.at, x.hasWaited = phaseBanner, false
	// Where we speak first, a server that closes without reading us resets the
	// connection, and cannot be told from a broken one. Some servers wait for the
	// client, so the wait is short.
	if err := p.conn.await(ctx, min(p.timeout/4, time.Second)); err != nil {
		return nil, err
	}
	x.hasWaited = !p.heard()
	config := sshConfig(s.HostKeyFingerprint != "")
	config.HostKeyAlgorithms = algorithms
	config.HostKeyCallback = func(_ string, _ net.Addr, k ssh.PublicKey) error {
		key = k
		return errProved
	}
	_, _, _, err = ssh.NewClientConn(&bannerConn{recordedConn: p.conn}, s.Host, config)
	if key != nil {
		return key, nil
	}
	return nil, err
}

// hostKeyAlgorithms are those to ask for. Certificates are not asked for, since
// every server that has one has the plain key too.
func (x *keyExchange) hostKeyAlgorithms() []string {
	all := []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	switch {
	case x.settings.HostKeyFingerprint == "":
		return append(all, ssh.KeyAlgoRSA, "ssh-dss")
	case x.keyType != "":
		return signs(x.keyType)
	}
	return all
}

// sshConfig is as lenient as can be where no key is pinned: we want to know whether
// the server lives, and tell it nothing. The old algorithms of an old server are as
// good a sign as any.
func sshConfig(pinned bool) *ssh.ClientConfig {
	config := new(ssh.ClientConfig)
	if !pinned {
		supported, insecure := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
		config.KeyExchanges = slices.Concat(supported.KeyExchanges, insecure.KeyExchanges)
		config.Ciphers = slices.Concat(supported.Ciphers, insecure.Ciphers)
		config.MACs = slices.Concat(supported.MACs, insecure.MACs)
	}
	return config
}

// bannerConn hides the lines before the server's banner, which RFC 4253 (4.2)
// allows: x/crypto/ssh gives up on one of 255 bytes.
type bannerConn struct {
	*recordedConn
	past bool
}

// What OpenSSH's client puts up with before the banner: SSH_MAX_BANNER_LEN and
// SSH_MAX_PRE_BANNER_LINES of its kex.h.
const (
	maxLineBytes = 8192
	maxLines     = 1024
)

var errNoBanner = errors.New("no banner comes")

func (c *bannerConn) Read(b []byte) (int, error) {
	var start []byte // of the line
	for lines, length := 0, 0; !c.past; length++ {
		if lines == maxLines || length == maxLineBytes {
			return 0, errNoBanner
		}
		if n, err := c.recordedConn.Read(b[:1]); n == 0 {
			return 0, err
		}
		switch {
		case b[0] == '\n':
			lines, length, start = lines+1, 0, nil
		case len(start) < len(sshPrefix):
			start = append(start, b[0])
		}
		if c.past = string(start) == sshPrefix; c.past {
			c.begin(start)
		}
	}
	return c.recordedConn.Read(b)
}

// begin makes start, which has been read, what is read next, and the beginning of
// what is kept.
func (w *recordedConn) begin(start []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unread = append(start, w.unread...)
	w.head = slices.Clone(w.unread)
}

// explain says why a key exchange did not complete. A server that closes in an
// orderly way, or says something of its own instead of a banner, is alive: OpenSSH
// does so when too many clients are about to log in, and to an address with too
// many penalties. A reboot would not keep a flood out, and would cost those who are
// logged in their work.
func (x *keyExchange) explain(ctx context.Context, p *attempt, err error) *cause {
	if c, ok := errors.AsType[*cause](err); ok {
		return c
	}
	if negotiation, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		return wrong("the server is alive, and shares no %s algorithm with this check, so it cannot show the pinned key; it offers %s",
			negotiation.What, offer(negotiation))
	}
	// x/crypto/ssh exports no type for it.
	if _, words, ok := strings.Cut(err.Error(), "ssh: disconnect, reason "); ok {
		return busy("the server is alive and disconnects: reason %s", clip(words))
	}
	head, ended := p.conn.seen()
	if ended == nil {
		ended = err
	}
	banner, offered := sshBanner(head)
	line, _, whole := strings.Cut(string(head), "\n")
	switch {
	case banner != "" && !strings.HasPrefix(banner, "SSH-2.0-") && !strings.HasPrefix(banner, "SSH-1.99-"):
		return wrong("the server is alive, and speaks a version of SSH that this check does not: %s", banner)
	case banner != "":
		p.at = phase("in the key exchange, after its banner (" + banner + ")")
	case speaks(head) != "":
		return wrong("%s answers on this port; name the SSH server's port", speaks(head))
	case whole, line != "" && !fault.IsTimeout(ended):
		return busy("the server is alive and rejects the connection: instead of its banner it sends %q%s", incident.ClipLine(line, 80), meaning(line))
	case line != "":
		p.at = phaseInBanner
	}
	c := p.classify(ended, func(err error) *cause {
		switch {
		case offered:
			return ours("key exchange: our client refuses what the server offers: %s", clip(err.Error()))
		case banner != "":
			return failed("", "key exchange failed, after its banner (%s): %s", banner, clip(err.Error()))
		default:
			return blind("key exchange: %s", clip(err.Error()))
		}
	})
	if other := x.askWithProxyLine(ctx, p, c); other != nil {
		return other
	}
	if c.outcome == incident.Failed && isClosed(ended) {
		c.outcome, c.kind = incident.Unknown, incident.Busy
	}
	return c
}

// meaning explains what OpenSSH says instead of its banner (drop_connection in its
// sshd.c); "" for other words. From 9.8 on it says the same in both cases.
func meaning(line string) string {
	switch strings.TrimSpace(line) {
	case "Exceeded MaxStartups":
		return " (too many clients are about to log in: MaxStartups)"
	case "Not allowed at this time":
		return " (too many clients are about to log in, or this client has too many penalties: MaxStartups or PerSourcePenalties, sshd's log says which)"
	}
	return ""
}

// askWithProxyLine asks a server that has waited for us and then closed without a
// byte, which no SSH server does, whether it answers a client that begins with a line
// of the PROXY protocol; nil: it does not. It asks once per check, and only where half
// of the attempt is left.
func (x *keyExchange) askWithProxyLine(ctx context.Context, p *attempt, c *cause) *cause {
	deadline, _ := ctx.Deadline()
	if c.connection != incident.ClosedEarly || p.heard() || !x.hasWaited || x.askedProxy || time.Until(deadline) < p.timeout/2 {
		return nil
	}
	x.askedProxy = true
	s := x.settings
	if x.vantage.connect(ctx, p, s.AddressFamily, s.Host, strconv.Itoa(s.Port)) != nil {
		return nil
	}
	if _, err := io.WriteString(p.conn, proxyLine(p.conn)); err != nil {
		return nil
	}
	_ = p.conn.await(ctx, p.timeout/4) // what came is what counts
	switch head, _ := p.conn.seen(); {
	case speaks(head) == anSSHServer:
		return wrong("the server expects the PROXY protocol on this port, and closes every other connection; name a port without it")
	case len(head) > 0:
		return wrong("no SSH server: it closes the connection of a client that speaks SSH, and sends %q to one that begins with the PROXY protocol; name the SSH server's port",
			incident.ClipLine(string(head), 80))
	}
	return nil
}

// sshBanner returns the server's banner, "" if head does not begin with it, and
// whether the server has made its offer of algorithms: a packet with SSH_MSG_KEXINIT
// (RFC 4253, 6 and 7.1).
func sshBanner(head []byte) (banner string, offered bool) {
	const (
		lengths = 5 // of the packet, and of its padding
		kexInit = 20
	)
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	if !bytes.HasPrefix(line, []byte(sshPrefix)) {
		return "", false
	}
	return incident.ClipLine(string(line), 80), len(rest) > lengths && rest[lengths] == kexInit
}
