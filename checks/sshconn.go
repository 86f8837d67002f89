package checks

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"firstline/internal/fault"
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
	buffer *bufio.Reader // of Conn

	mu     sync.Mutex
	key    hostKey
	signed bool  // the callback has come, with a key that will do
	writes int   // since then
	failed error // the first error of the connection itself
}

// newKeysAndRequest counts the writes after the callback: NEWKEYS, and the
// request for authentication.
const newKeysAndRequest = 2

// awaitServer waits for the server's first byte. Where we speak first, a server
// that closes without reading us resets the connection, and cannot be told from a
// broken one. Some servers wait for the client, so the wait is short. The error is
// the connection's.
func (c *sshConn) awaitServer(ctx context.Context, patience time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.buffer.Peek(1); err != nil && !fault.IsTimeout(err) {
		return err
	}
	deadline, _ := ctx.Deadline() // every attempt has one
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	return ctx.Err() // it may have ended while the deadline was ours
}

func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.buffer.Read(p)
	c.note(err)
	return n, err
}

// note keeps the first error of the connection: x/crypto/ssh closes it on that,
// and may then report that it is closed.
func (c *sshConn) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil && err != nil && !errors.Is(err, net.ErrClosed) {
		c.failed = err
	}
}

func (c *sshConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.signed {
		c.writes++
	}
	c.mu.Unlock()
	if _, completed := c.proof(); completed {
		// x/crypto/ssh awaits an answer to the request all the same.
		_ = c.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Write(p)
	c.note(err)
	if isReset(err) {
		// What the server said before it hung up is still to be read.
		return len(p), nil
	}
	return n, err
}

// proved takes the key that the server has signed with.
func (c *sshConn) proved(key ssh.PublicKey, pinned string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key = hostKey{keyType: key.Type(), fingerprint: ssh.FingerprintSHA256(key)}
	if pinned != "" && c.key.fingerprint != pinned {
		return errWrongKey
	}
	c.signed = true
	return nil
}

// proof returns the host key and whether the key exchange has completed with it.
func (c *sshConn) proof() (hostKey, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.key, c.writes >= newKeysAndRequest
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
