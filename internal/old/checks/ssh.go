package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"firstline/internal/fault"
)

// SSH asks an instance's SSH server for a key exchange. It has no credentials
// and names no user.
type SSH struct {
	// DescribeInstances finds the instance's address where the settings name
	// none.
	DescribeInstances DescribeInstances
	// Egress may be nil: then every time-out is blamed on the target.
	Egress Egress
	// VPC: the function runs in a VPC. Outside of one it reaches no private
	// address.
	VPC bool

	way way
}

// Check tries up to s.Attempts times and passes as soon as a key exchange has
// completed: the server has proved that it holds its host key, and both sides
// have switched to the new keys. A hung machine may accept connections (its
// kernel does) and even send a banner; it does not get that far.
//
// The finding has not passed when every attempt met a refused, reset, closed
// or timed-out connection, or something that is not SSH. An error is
//
//   - InvalidInput for wrong settings, an instance that is unknown, not
//     running or without the address asked for, a name that does not resolve,
//     a private address without a VPC, host keys of which none is the pinned one, a server that shares no
//     algorithm with us;
//   - Denied where AWS refused us;
//   - Unavailable for our own way out, name servers, AWS, a server that turns
//     us away before its banner (its penalties, its MaxStartups), and for too
//     little time left in ctx: s.Budget is always enough.
//
// An attempt is one connection; with a pinned key it is one for each of the
// server's host keys until the pinned one shows, three on a usual server.
// OpenSSH 9.8 and later may count each against our address (noauth, one
// second each by default): that decays by one second a second, and nobody is
// refused below fifteen (PerSourcePenalties in sshd_config(5)), so that looks
// every 20 seconds never get there.
func (c *SSH) Check(ctx context.Context, instanceID string, s SSHSettings) (Finding, error) {
	if !s.Enabled {
		return skipped(NameSSH, "ssh.enabled is false"), nil
	}
	if err := s.Validate(); err != nil {
		return Finding{}, fault.New(fault.InvalidInput, "ssh settings", "%w", err)
	}
	start := time.Now()
	host := s.Host
	if host == "" {
		addr, err := c.DescribeInstances.address(ctx, instanceID, s.AddressFamily, s.Private)
		if err != nil {
			return Finding{}, err
		}
		host = addr.String()
	}
	way := c.way
	way.vpc = c.VPC
	knock := &knock{way: way, settings: s, host: host, address: net.JoinHostPort(host, strconv.Itoa(s.Port))}
	op := "ssh " + knock.address
	a, err := s.series().run(ctx, op, knock.once)
	if err != nil {
		return Finding{}, err
	}
	if !s.Private {
		if err := c.Egress.blame(ctx, op, s.AddressFamily, a); err != nil {
			return Finding{}, err
		}
	}
	f := newFinding(NameSSH, start, a.attempts, a.passed, op+": "+a.reason)
	f.TimedOut = a.silent
	return f, nil
}

// knock is a key exchange that can be asked for again and again.
type knock struct {
	way           way
	settings      SSHSettings
	host, address string
}

// once makes one attempt: nil for a pass, else a *targetFault or an error
// with a kind.
//
// A server may own several host keys, and shows one of the algorithm that we
// like best. When that is not the pinned one, the others are asked for, one
// connection each, before the pin counts as violated.
func (k *knock) once(ctx context.Context) (string, error) {
	op := "ssh " + k.address
	algorithms := hostKeyAlgorithms(k.settings.HostKeyFingerprint != "")
	var others []string
	for {
		shown, err := k.exchange(ctx, algorithms)
		if err == nil {
			return "key exchange completed, host key " + shown.fingerprint, nil
		}
		if _, wrong := errors.AsType[*wrongKey](err); wrong {
			others = append(others, shown.fingerprint+" ("+shown.keyType+")")
			algorithms = without(algorithms, shown.keyType)
			if len(algorithms) > 0 {
				continue
			}
		}
		if len(others) == 0 {
			if ours, ok := errors.AsType[*fault.Error](err); ok {
				return "", fault.New(ours.Kind, op, "%w", err)
			}
			return "", err
		}
		offered := clip(strings.Join(others, ", "))
		if negotiation, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); len(algorithms) > 0 && (!ok || negotiation.What != "host key") {
			// It lives, and yet we could not see all its keys.
			// Not %w: a target's fault in there must not count as one here.
			return "", fault.New(fault.Unavailable, op, "it shows %s, not the pinned %s, and could not be asked for its other host keys: %s",
				offered, k.settings.HostKeyFingerprint, clip(err.Error()))
		}
		return "", fault.New(fault.InvalidInput, op, "it shows %s, not the pinned %s: another machine answers, or ssh.hostKeyFingerprint is out of date",
			offered, k.settings.HostKeyFingerprint)
	}
}

// hostKey is what the server has proved to hold.
type hostKey struct{ keyType, fingerprint string }

type wrongKey struct{}

func (*wrongKey) Error() string { return "not the pinned host key" }

// exchange makes one connection and one key exchange.
func (k *knock) exchange(ctx context.Context, algorithms []string) (hostKey, error) {
	j := &journey{timeout: milliseconds(k.settings.TimeoutMs)}
	conn, err := k.way.connect(ctx, j, k.settings.AddressFamily, k.host, strconv.Itoa(k.settings.Port))
	if err != nil {
		return hostKey{}, err
	}
	defer func() { _ = conn.Close() }() // nothing is lost with it
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return hostKey{}, fault.New(fault.Internal, "set the connection's deadline", "%w", err)
		}
	}
	// The deadline alone would outlast a caller that gives up earlier.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	seen := &watched{Conn: conn}
	config := &ssh.ClientConfig{
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			return seen.proved(key, k.settings.HostKeyFingerprint)
		},
	}
	if k.settings.HostKeyFingerprint == "" {
		// We want to know whether it lives, and tell it nothing: the old
		// algorithms of an old server are as good a sign as any.
		supported, insecure := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
		config.KeyExchanges = slices.Concat(supported.KeyExchanges, insecure.KeyExchanges)
		config.Ciphers = slices.Concat(supported.Ciphers, insecure.Ciphers)
		config.MACs = slices.Concat(supported.MACs, insecure.MACs)
	}
	client, channels, requests, err := ssh.NewClientConn(seen, k.address, config)
	if err == nil {
		// watched ends the handshake before; this is for completeness.
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
	return seen.hostKey(), k.explain(ctx, j, seen, err)
}

// explain classifies the error of a key exchange and tells how far it got.
func (k *knock) explain(ctx context.Context, j *journey, seen *watched, err error) error {
	if _, ok := errors.AsType[*wrongKey](err); ok {
		return err
	}
	if negotiation, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		// %w: once looks at what was missing.
		return fault.New(fault.InvalidInput, "key exchange", "the server is alive and shares no %s algorithm with this check: %w", negotiation.What, err)
	}
	if words := seen.turnedAway(); words != "" {
		return fault.New(fault.Unavailable, "key exchange", "the server is alive and turns us away: %s", words)
	}
	err = seen.ended(err)
	bytesRead, banner := seen.heard()
	did, timedOut := "", fault.IsTimeout(err) || ctx.Err() != nil
	switch {
	case timedOut:
		did = fmt.Sprintf("timed out after %v", j.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		did = "connection closed"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		did = "connection reset"
	}
	how := ""
	switch {
	case bytesRead == 0:
		how = "it accepted the connection and sent nothing"
	case banner == "":
		how = fmt.Sprintf("it sent %d bytes that are no SSH banner", bytesRead)
	default:
		how = "it sent its banner (" + banner + ") and did not complete the key exchange"
	}
	if did != "" {
		return &targetFault{reason: did + ": " + how, silent: timedOut && bytesRead == 0}
	}
	return j.classify(err, func(err error) error {
		if banner == "" {
			return &targetFault{reason: "not SSH: " + how}
		}
		return &targetFault{reason: "key exchange failed: " + how + ": " + clip(err.Error())}
	})
}

// watched is a connection that notes how far a key exchange gets, and ends it
// where it has got far enough.
//
// The host key's callback comes once the server's signature is verified. What
// then remains are the two messages NEWKEYS. x/crypto/ssh sends ours in one
// write, awaits the server's, and only then writes again, to ask for
// authentication. That second write is where this connection stops: the key
// exchange has completed, and a server that looks up users in a slow directory
// is not bothered. No login fails, which OpenSSH would punish more than a client
// that leaves before (authfail and noauth of its PerSourcePenalties).
type watched struct {
	net.Conn

	mu     sync.Mutex
	heads  []byte // the first bytes read
	read   int
	key    hostKey
	signed bool // the callback has come, with a key that will do
	writes int  // since then
	failed error
}

var errKeysExchanged = errors.New("the key exchange has completed")

const (
	headBytes = 4096
	// newKeysAndRequest counts the writes after the callback: NEWKEYS, and
	// the request for authentication.
	newKeysAndRequest = 2
)

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read += n
	w.heads = append(w.heads, p[:min(n, headBytes-len(w.heads))]...)
	w.note(err)
	return n, err
}

// note keeps the first error of the connection itself: x/crypto/ssh closes the
// connection on it, and may then report that it is closed. Its caller holds
// the lock.
func (w *watched) note(err error) {
	if w.failed == nil && err != nil && !errors.Is(err, net.ErrClosed) {
		w.failed = err
	}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.signed {
		w.writes++
	}
	done := w.writes >= newKeysAndRequest
	w.mu.Unlock()
	if done {
		// x/crypto/ssh awaits an answer to the request all the same.
		_ = w.Close()
		return 0, errKeysExchanged
	}
	n, err := w.Conn.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(err)
	return n, err
}

func (w *watched) proved(key ssh.PublicKey, pinned string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.key = hostKey{keyType: key.Type(), fingerprint: ssh.FingerprintSHA256(key)}
	if pinned != "" && w.key.fingerprint != pinned {
		return &wrongKey{}
	}
	w.signed = true
	return nil
}

func (w *watched) completed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes >= newKeysAndRequest
}

func (w *watched) hostKey() hostKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.key
}

// ended returns the connection's own error, else the one of the protocol.
func (w *watched) ended(protocol error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return w.failed
	}
	return protocol
}

// heard returns how many bytes the server sent, and its banner if that was
// among them. RFC 4253 allows other lines before it.
func (w *watched) heard() (int, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range bytes.Lines(w.heads) {
		if bytes.HasPrefix(line, []byte("SSH-")) {
			return w.read, clip(string(line[:min(len(line), 80)]))
		}
	}
	return w.read, ""
}

// notNow is what OpenSSH says, instead of its banner, to those it does not
// want: an address with too many penalties, and whoever comes when too many
// others are at the door. Either is its listener's doing, and so a sign of
// life. A flood may be the very load that rang the alarm; a reboot would not
// keep it out, and would cost those who are logged in their work.
var notNow = []struct{ prefix, words string }{
	{"Not allowed at this time", "it says \"Not allowed at this time\" (PerSourcePenalties in its sshd_config; PerSourcePenaltyExemptList lets us in)"},
	{"Exceeded MaxStartups", "it says \"Exceeded MaxStartups\": more clients than that are about to log in"},
}

// turnedAway returns in words why the server does not want to talk, "" if it
// did not say so.
func (w *watched) turnedAway() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range notNow {
		if bytes.HasPrefix(w.heads, []byte(n.prefix)) {
			return n.words
		}
	}
	return ""
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
