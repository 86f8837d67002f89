package checks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
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
	at        phase
	connected bool
	// private: a host has an address that is not public.
	private bool
	// byteCame over one of the attempt's connections.
	byteCame bool
	// head is the first bytes that came over conn, the newest connection.
	head []byte
	conn net.Conn
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

// dialer is how names and connections are made. The zero value is the system's.
type dialer struct {
	// vpc: the function runs in a VPC, and so reaches private addresses.
	vpc    bool
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// maxAddresses bounds how many addresses of a name one attempt tries: its time
// is divided between them.
const maxAddresses = 3

// connect opens a TCP connection to host, over addressFamily only. Its errors
// are causes. ctx has a deadline.
func (d dialer) connect(ctx context.Context, p *progress, addressFamily, host, port string) (net.Conn, error) {
	addrs, c := d.resolve(ctx, p, addressFamily, host)
	if c != nil {
		return nil, c
	}
	first := false
	p.update(func(s *state) {
		s.at, s.addresses = phaseConnect, addrs
		s.private = s.private || slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !public(a) })
		if first = s.remotes == nil; first {
			s.remotes = addrs
		}
	})
	dial := d.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var firstErr error
	for i, addr := range addrs {
		share, cancel := part(ctx, len(addrs)-i)
		conn, err := dial(share, "tcp"+version(addressFamily), net.JoinHostPort(addr.String(), port))
		cancel()
		if err == nil {
			p.update(func(s *state) {
				s.connected, s.conn, s.head = true, conn, nil
				if first {
					s.remotes = []netip.Addr{addr}
				}
			})
			return listening{conn, p}, nil
		}
		if firstErr == nil {
			firstErr = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, p.classify(firstErr, func(err error) *cause { return blind("connect: %s", clip(err.Error())) })
}

// part is one of n shares of the time that is left.
func part(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

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

// resolve returns the addresses of host to try. Outside a VPC it leaves out the
// private ones, to which there is no route: their silence says nothing about the
// target. Loopback stays; it is where the local AWS has its instances.
func (d dialer) resolve(ctx context.Context, p *progress, addressFamily, host string) ([]netip.Addr, *cause) {
	what := "connect to " + host + ": it is"
	addr, err := netip.ParseAddr(host)
	addrs := []netip.Addr{addr.Unmap()}
	if err != nil {
		what = "look up " + host + ": it resolves to"
		var c *cause
		if addrs, c = d.lookUp(ctx, p, addressFamily, host); c != nil {
			return nil, c
		}
	} else if addrs[0].Is4() != (addressFamily == incident.FamilyIPv4) {
		return nil, wrong("connect to %s: the address is not %s, which is the family to use", host, addressFamily)
	}
	reachable := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		return !d.vpc && !public(a) && !a.IsLoopback()
	})
	if len(reachable) == 0 {
		return nil, wrong("%s %s, a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address", what, addrs[0])
	}
	return reachable[:min(len(reachable), maxAddresses)], nil
}

// lookUp tells a name that is not there from a name server that does not say. It
// takes half of the time that is left: a slow name server must not eat the time
// that the target has, which would be blamed for it.
func (d dialer) lookUp(ctx context.Context, p *progress, addressFamily, host string) ([]netip.Addr, *cause) {
	p.enter(phaseLookup)
	lookup := d.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	ctx, cancel := part(ctx, 2)
	defer cancel()
	addrs, err := lookup(ctx, "ip"+version(addressFamily), host)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, noneOfFamily := errors.AsType[*net.AddrError](err)
	switch {
	case err == nil && len(addrs) > 0:
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		return addrs, nil
	case err == nil, isDNS && dns.IsNotFound, noneOfFamily:
		return nil, wrong("look up %s: the name does not resolve to an %s address", host, addressFamily)
	case fault.IsTimeout(err), ctx.Err() != nil:
		return nil, blind("look up %s: the name servers did not answer in half of the attempt's %v", host, p.timeout)
	default:
		return nil, blind("look up %s: %s", host, clip(err.Error()))
	}
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
		if now.connected {
			c.connection = incident.Silent
		}
		c.unreached = !now.connected && !now.private
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

// version is the number of an address family.
func version(addressFamily string) string { return strings.TrimPrefix(addressFamily, "ipv") }

// sharedAddressSpace is RFC 6598's, which VPCs use as a private range.
var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether the route to addr leads through the internet.
func public(addr netip.Addr) bool {
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !sharedAddressSpace.Contains(addr)
}
