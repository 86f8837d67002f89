package checks

import (
	"bytes"
	"context"
	"errors"
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
func (v *Vantage) SSH(ctx context.Context, instanceID string, s incident.SSHSettings) incident.Finding {
	if !s.Enabled {
		return skipped(incident.CheckSSH, "ssh.enabled is false")
	}
	q := question{check: incident.CheckSSH, start: time.Now()}
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
	a := newSeries(s.Attempts, s.TimeoutSeconds, s.IntervalSeconds).run(ctx, func(ctx context.Context, p *progress) (string, *cause) {
		return v.exchangeKeys(ctx, p, s)
	})
	if !s.Private {
		a = v.Egress.confirm(ctx, a)
	}
	f := q.finding(a)
	// The pinned key proves who answered, whatever its address.
	if named && (a.cause != nil || s.HostKeyFingerprint == "") {
		f = elsewhere(f, v.DescribeInstances.foreign(ctx, instanceID, a.remotes))
	}
	return f
}

// errProved ends a key exchange where it has got far enough.
var errProved = errors.New("the server has proved its host key")

// exchangeKeys makes one attempt. The host key's callback comes once the server's
// signature is verified, and there we leave: a server that looks up users in a
// slow directory is not bothered, and no login fails, which OpenSSH punishes more
// than a client that leaves before (authfail and noauth of its PerSourcePenalties).
func (v *Vantage) exchangeKeys(ctx context.Context, p *progress, s incident.SSHSettings) (string, *cause) {
	if c := v.connect(ctx, p, s.AddressFamily, s.Host, strconv.Itoa(s.Port)); c != nil {
		return "", c
	}
	p.at = phaseBanner
	// Where we speak first, a server that closes without reading us resets the
	// connection, and cannot be told from a broken one. Some servers wait for the
	// client, so the wait is short.
	if err := p.conn.await(ctx, min(p.timeout/4, time.Second)); err != nil {
		return "", explainSSH(p, err)
	}
	pinned := s.HostKeyFingerprint
	var key ssh.PublicKey
	config := sshConfig(pinned != "")
	config.HostKeyCallback = func(_ string, _ net.Addr, k ssh.PublicKey) error {
		key = k
		return errProved
	}
	_, _, _, err := ssh.NewClientConn(p.conn, s.Host, config)
	if key == nil {
		return "", explainSSH(p, err)
	}
	fingerprint := ssh.FingerprintSHA256(key)
	if pinned != "" && fingerprint != pinned {
		return "", wrong("it shows %s (%s), not the pinned %s: another machine answers, or ssh.host_key_fingerprint is out of date", fingerprint, key.Type(), pinned)
	}
	return "key exchange completed, host key " + fingerprint, nil
}

// sshConfig asks for plain host keys. Certificates are not asked for, since every
// server that has one has the plain key too.
func sshConfig(pinned bool) *ssh.ClientConfig {
	config := &ssh.ClientConfig{HostKeyAlgorithms: []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}}
	if !pinned {
		// We want to know whether it lives, and tell it nothing: the old
		// algorithms of an old server are as good a sign as any.
		supported, insecure := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
		config.HostKeyAlgorithms = append(config.HostKeyAlgorithms, ssh.KeyAlgoRSA, "ssh-dss")
		config.KeyExchanges = slices.Concat(supported.KeyExchanges, insecure.KeyExchanges)
		config.Ciphers = slices.Concat(supported.Ciphers, insecure.Ciphers)
		config.MACs = slices.Concat(supported.MACs, insecure.MACs)
	}
	return config
}

// explainSSH says why a key exchange did not complete. A server that closes in an
// orderly way, or says something of its own instead of a banner, is alive: OpenSSH
// does so when too many clients are about to log in, and to an address with too
// many penalties. A reboot would not keep a flood out, and would cost those who are
// logged in their work.
func explainSSH(p *progress, err error) *cause {
	if negotiation, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		return ours("key exchange: the server is alive and shares no %s algorithm with this check: %v", negotiation.What, err)
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
	case banner != "":
		p.at = phase("in the key exchange, after its banner (" + banner + ")")
	case speaks(head) != "":
		return wrong("%s answers on this port; name the SSH server's port", speaks(head))
	case whole, line != "" && !fault.IsTimeout(ended):
		return busy("the server is alive and rejects the connection: instead of its banner it sends %q", incident.ClipLine(line, 80))
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
	if c.outcome == incident.Failed && isClosed(ended) {
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
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		if bytes.HasPrefix(line, []byte(sshPrefix)) {
			return incident.ClipLine(string(line), 80), len(head) > lengths && head[lengths] == kexInit
		}
	}
	return "", false
}
