package checks

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// hostKey is what the server has proved to hold.
type hostKey struct{ keyType, fingerprint string }

// sshConn is a connection that notes how far a key exchange gets, and ends it
// where it has got far enough.
//
// The host key's callback comes once the server's signature is verified. What
// then remains are the two messages NEWKEYS. x/crypto/ssh sends ours in one
// write, awaits the server's, and only then writes again, to ask for
// authentication. That second write is where this connection stops: the key
// exchange has completed, and a server that looks up users in a slow directory
// is not bothered. No login fails, which OpenSSH would punish more than a client
// that leaves before (authfail and noauth of its PerSourcePenalties).
type sshConn struct {
	net.Conn
	// early is what awaitServer has read.
	early []byte

	mu     sync.Mutex
	first  []byte // the first bytes read
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

// awaitServer waits for the server's first bytes. Where we speak first, a
// server that closes without reading us resets the connection, and cannot be
// told from a broken one. Some servers wait for the client, so the wait is
// short. The error is the connection's.
func (c *sshConn) awaitServer(ctx context.Context, patience time.Duration) error {
	end, bounded := ctx.Deadline()
	if !bounded {
		end = time.Time{}
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	early := make([]byte, 512)
	n, err := c.Conn.Read(early)
	c.early = early[:n]
	c.took(c.early, nil)
	if n == 0 && err != nil && !fault.IsTimeout(err) {
		c.took(nil, err)
		return err
	}
	if err := c.SetDeadline(end); err != nil {
		return err
	}
	return ctx.Err() // it may have ended while the deadline was ours
}

func (c *sshConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.took(p[:n], err)
	return n, err
}

func (c *sshConn) took(b []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read += len(b)
	c.first = append(c.first, b[:min(len(b), headBytes-len(c.first))]...)
	c.note(err)
}

// note keeps the first error of the connection itself: x/crypto/ssh closes the
// connection on it, and may then report that it is closed. Its caller holds
// the lock.
func (c *sshConn) note(err error) {
	if c.failed == nil && err != nil && !errors.Is(err, net.ErrClosed) {
		c.failed = err
	}
}

func (c *sshConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.signed {
		c.writes++
	}
	done := c.writes >= newKeysAndRequest
	c.mu.Unlock()
	if done {
		// x/crypto/ssh awaits an answer to the request all the same.
		_ = c.Close()
		return 0, errKeysExchanged
	}
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(err)
	if isReset(err) {
		// What the server said before it hung up is still to be read.
		return len(p), nil
	}
	return n, err
}

func (c *sshConn) proved(key ssh.PublicKey, pinned string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key = hostKey{keyType: key.Type(), fingerprint: ssh.FingerprintSHA256(key)}
	if pinned != "" && c.key.fingerprint != pinned {
		return &wrongKey{}
	}
	c.signed = true
	return nil
}

func (c *sshConn) completed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes >= newKeysAndRequest
}

func (c *sshConn) hostKey() hostKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.key
}

// ended returns the connection's own error, else the one of the protocol.
func (c *sshConn) ended(protocol error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	return protocol
}

func (c *sshConn) head() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.first)
}

// heard returns how many bytes the server sent, and its banner if that was
// among them. RFC 4253 allows other lines before it.
func (c *sshConn) heard() (int, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(c.first) {
		if bytes.HasPrefix(line, []byte(sshBanner)) {
			return c.read, incident.ClipLine(string(line[:min(len(line), 80)]), 80)
		}
	}
	return c.read, ""
}

// offered reports whether the server has made its offer of algorithms: the
// banner's line is followed by a packet with SSH_MSG_KEXINIT (RFC 4253, 6 and 7.1).
func (c *sshConn) offered() bool {
	const (
		lengths = 5 // of the packet, and of its padding
		kexInit = 20
	)
	c.mu.Lock()
	defer c.mu.Unlock()
	banner := false
	rest := c.first
	for line := range bytes.Lines(c.first) {
		rest = rest[len(line):]
		if banner = bytes.HasPrefix(line, []byte(sshBanner)); banner {
			break
		}
	}
	return banner && len(rest) > lengths && rest[lengths] == kexInit
}
