package checks

import (
	"errors"
	"io"
	"net"
	"net/netip"
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
	phaseLookup  phase = "looking up the name"
	phaseConnect phase = "while connecting"
	phaseTLS     phase = "in the TLS handshake"
	phaseAnswer  phase = "before the answer came"
	phaseBody    phase = "in the middle of the body"
)

// progress records how far one attempt got, over all its connections. net/http
// dials in a goroutine of its own, hence the lock.
type progress struct {
	// timeout is the attempt's, for the words only.
	timeout time.Duration

	mu sync.Mutex
	state
}

type state struct {
	at phase
	// private: a host has an address that is not public.
	private bool
	// byteCame over one of the attempt's connections.
	byteCame bool
	// conn is the newest connection, and head the first bytes that it brought.
	conn net.Conn
	head []byte
	// addresses are those of the last host to connect to.
	addresses []netip.Addr
	// remotes are those of the first host: where a redirect leads is not the
	// target.
	remotes []netip.Addr
}

func (p *progress) update(change func(*state)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
}

func (p *progress) now() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

func (p *progress) enter(at phase) { p.update(func(s *state) { s.at = at }) }

func (p *progress) hear() { p.update(func(s *state) { s.byteCame = true }) }

// headBytes is how much of what a connection brings is kept.
const headBytes = 4096

// listening is a connection that notes what the other side says.
type listening struct {
	net.Conn
	progress *progress
}

func (l listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.progress.update(func(s *state) {
			s.byteCame = true
			if s.conn == l.Conn {
				s.head = append(s.head, b[:min(n, headBytes-len(s.head))]...)
			}
		})
	}
	return n, err
}

// How a connection ends.
const (
	endReset  = "connection reset"
	endClosed = "connection closed"
)

// ending words how a connection ended; "" for an error of another kind.
func (p *progress) ending(err error) string {
	switch {
	case fault.IsTimeout(err):
		return "timed out after " + p.timeout.String()
	case isReset(err):
		return endReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return endClosed
	}
	return ""
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EPIPE)
}

// classify tells whose fault err is. What is neither known as the target's nor
// as ours goes to other. Causes pass through.
func (p *progress) classify(err error, other func(error) *cause) *cause {
	if c, ok := errors.AsType[*cause](err); ok {
		return c
	}
	now := p.now()
	errno, fromSystem := errors.AsType[syscall.Errno](err)
	switch end := p.ending(err); {
	case end != "" && now.at == phaseLookup:
		return blind("look up: %s", end)
	case fault.IsTimeout(err):
		c := failed(incident.NoConnection, "%s %s", end, now.at)
		if now.conn != nil {
			c.connection = incident.Silent
		}
		c.unreached = now.conn == nil && !now.private
		return c
	case errno == syscall.ECONNREFUSED:
		return failed(incident.Refused, "connection refused")
	case end == endReset && now.at == phaseConnect:
		return failed(incident.Refused, "%s %s", end, now.at)
	case end != "":
		return failed(incident.ClosedEarly, "%s %s", end, now.at)
	case errno == syscall.ENETUNREACH:
		return blind("connect: %v: our own network has no route there (IPv6 needs a VPC with IPv6 for the function, a private address a route to it)", errno)
	case fromSystem:
		return blind("connect: %v: our own side or its network, not the target", errno)
	}
	return other(err)
}
