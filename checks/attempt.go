package checks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// phase is what an attempt was doing, worded so that it completes "timed out
// after 3s …" and "connection closed …".
type phase string

const (
	phaseConnect  phase = "while connecting"
	phaseTLS      phase = "in the TLS handshake"
	phaseAnswer   phase = "before the answer came"
	phaseBody     phase = "in the middle of the body"
	phaseBanner   phase = "before the server sent anything"
	phaseInBanner phase = "in the middle of its banner"
)

// attempt records how far one attempt got, over all its connections.
type attempt struct {
	// timeout is the attempt's, for the words only.
	timeout time.Duration
	at      phase
	// answered: a byte came over a connection before conn.
	answered bool
	// conn is the newest connection.
	conn *recordedConn
	// addresses are those of the last host to connect to.
	addresses []netip.Addr
	// remotes are those of the first host: where a redirect leads is not the
	// target. Once one of them has accepted the connection, it is that one alone.
	remotes []netip.Addr
}

// heard reports whether a byte came over one of the attempt's connections.
func (p *attempt) heard() bool {
	if p.conn == nil {
		return p.answered
	}
	head, _ := p.conn.seen()
	return p.answered || len(head) > 0
}

// take makes conn the newest connection. Its reads and writes time out when ctx
// ends, also when the caller gives up before the deadline.
func (p *attempt) take(ctx context.Context, conn net.Conn) {
	p.answered = p.heard()
	p.close()
	p.conn = &recordedConn{Conn: conn}
	context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

func (p *attempt) close() {
	if p.conn != nil {
		_ = p.conn.Close() // nothing is lost with it
	}
}

// headBytes is how much of what a connection brings is kept.
const headBytes = 4096

// recordedConn is a connection that notes what comes over it. x/crypto/ssh reads and
// writes in goroutines of its own, hence the lock.
type recordedConn struct {
	net.Conn

	mu   sync.Mutex
	head []byte // the first bytes
	err  error  // the first error, but not that we have closed it

	unread []byte // what await has read
}

// await waits for the first bytes, until ctx ends or for as long as patience. The
// error is the connection's.
func (w *recordedConn) await(ctx context.Context, patience time.Duration) error {
	b := make([]byte, headBytes)
	_ = w.SetReadDeadline(time.Now().Add(patience)) // reading tells what is wrong with it
	n, err := w.Conn.Read(b)
	_ = w.SetReadDeadline(time.Time{})
	if err != nil && !fault.IsTimeout(err) {
		return err
	}
	w.note(b[:n], nil)
	w.unread = b[:n]
	return ctx.Err() // it may have ended while the deadline was ours
}

func (w *recordedConn) note(b []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head = append(w.head, b[:min(len(b), headBytes-len(w.head))]...)
	if w.err == nil && !errors.Is(err, net.ErrClosed) {
		w.err = err
	}
}

func (w *recordedConn) seen() (head []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head, w.err
}

func (w *recordedConn) Read(b []byte) (int, error) {
	if len(w.unread) > 0 {
		n := copy(b, w.unread)
		w.unread = w.unread[n:]
		return n, nil
	}
	n, err := w.Conn.Read(b)
	w.note(b[:n], err)
	return n, err
}

// Write takes no notice of a reset: what the other side said before it hung up is
// still to be read.
func (w *recordedConn) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	w.note(nil, err)
	if isReset(err) {
		return len(b), nil
	}
	return n, err
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EPIPE)
}

func isClosed(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// rejected are the errors that connect returns for an ICMP message that says that
// the host cannot be reached, or may not be: icmp_err_convert in net/ipv4/icmp.c
// of Linux, and icmpv6_err_convert in net/ipv6/icmp.c. Which of them a firewall
// sends is up to its configuration, as is whether it rejects or drops. ENETUNREACH
// is not among them: it is what we get without a route of our own.
var rejected = []syscall.Errno{syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENONET, syscall.ENOPROTOOPT, syscall.EACCES}

// classify tells whose fault err is. What is neither known as the target's nor
// as ours goes to other. Causes pass through.
func (p *attempt) classify(err error, other func(error) *cause) *cause {
	if c, ok := errors.AsType[*cause](err); ok {
		return c
	}
	errno, fromSystem := errors.AsType[syscall.Errno](err)
	switch {
	case fault.IsTimeout(err) && (p.conn == nil || p.at == phaseConnect):
		return failed(incident.NoConnection, "timed out after %v %s", p.timeout, p.at)
	case fault.IsTimeout(err):
		return failed(incident.Silent, "timed out after %v %s", p.timeout, p.at)
	case errno == syscall.ECONNREFUSED:
		return failed(incident.Refused, "connection refused")
	case isReset(err): // while connecting, too: who refuses does not accept first
		return failed(incident.ClosedEarly, "connection reset %s", p.at)
	case isClosed(err):
		return failed(incident.ClosedEarly, "connection closed %s", p.at)
	case p.at == phaseConnect && slices.Contains(rejected, errno):
		return failed(incident.NoConnection, "%v: a firewall or router rejects the connection", errno)
	case errno == syscall.ENETUNREACH:
		return blind("%v: our own network has no route there (for IPv6 the function needs a vpc with ipv6 = true, for a private address a VPC with a route to it)", errno)
	case fromSystem:
		return blind("%v %s: an error of our own system, not of the target", errno, p.at)
	}
	return other(err)
}
