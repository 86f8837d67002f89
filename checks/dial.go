package checks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// dialer is how names and connections are made. The zero value is the system's.
type dialer struct {
	// vpc: the function runs in a VPC, and so reaches private addresses.
	vpc    bool
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

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

	mu        sync.Mutex
	at        phase
	connected bool
	private   bool
	// byteCame over one of the attempt's connections.
	byteCame bool
	// addresses are those of the last host to connect to.
	addresses []netip.Addr
	// remotes are those of the first host: where a redirect leads is not the
	// target.
	remotes []netip.Addr
}

func (p *progress) enter(at phase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = at
}

func (p *progress) reached() phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *progress) hear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byteCame = true
}

func (p *progress) heard() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byteCame
}

func (p *progress) asked() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remotes
}

// resolved notes the addresses of a host, and reports whether it is the first.
func (p *progress) resolved(addrs []netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.addresses = phaseConnect, addrs
	if p.remotes != nil {
		return false
	}
	p.remotes = addrs
	return true
}

func (p *progress) trying(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.private = p.private || !public(addr)
}

func (p *progress) connectedTo(addr netip.Addr, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = true
	if first {
		p.remotes = []netip.Addr{addr}
	}
}

// connect opens a TCP connection to host, over addressFamily only. Its errors
// are causes.
func (d dialer) connect(ctx context.Context, p *progress, addressFamily, host, port string) (net.Conn, error) {
	addrs, c := d.resolve(ctx, p, addressFamily, host)
	if c != nil {
		return nil, c
	}
	first := p.resolved(addrs)
	dial := d.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var firstErr error
	for i, addr := range addrs {
		p.trying(addr)
		conn, err := dialOne(ctx, dial, tcp(addressFamily), netip.AddrPortFrom(addr, port16(port)).String(), len(addrs)-i)
		if err == nil {
			p.connectedTo(addr, first)
			return listening{conn, p}, nil
		}
		if firstErr == nil {
			firstErr = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, p.classify(firstErr, func(err error) *cause {
		// Whatever else keeps a connection from being made (no file
		// descriptors, no buffers) is on our side.
		return blind("connect: %s", clip(err.Error()))
	})
}

// dialOne gives one of n addresses its share of the time that is left.
func dialOne(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), network, address string, n int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && n > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
		defer cancel()
	}
	return dial(ctx, network, address)
}

// maxAddresses bounds how many addresses of a name one attempt tries: its time
// is divided between them.
const maxAddresses = 3

func (d dialer) resolve(ctx context.Context, p *progress, addressFamily, host string) ([]netip.Addr, *cause) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if familyOf(addr) != addressFamily {
			return nil, wrong("connect to %s: the address is not %s, which is the family to use", host, addressFamily)
		}
		return d.reachable("connect to "+host, "it is", []netip.Addr{addr.Unmap()})
	}
	p.enter(phaseLookup)
	lookup := d.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	network := "ip4"
	if addressFamily == incident.FamilyIPv6 {
		network = "ip6"
	}
	// A slow name server must not eat the time that the target has: with less
	// than half of it left, a time-out would be blamed on the target.
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	what := "look up " + host
	addrs, err := lookup(ctx, network, host)
	if err != nil {
		return nil, lookupCause(ctx, p, what, addressFamily, err)
	}
	if len(addrs) == 0 {
		return nil, unresolved(what, addressFamily)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	addrs, c := d.reachable(what, "it resolves to", addrs)
	return addrs[:min(len(addrs), maxAddresses)], c
}

// lookupCause tells a name that is not there from a name server that does not
// say.
func lookupCause(ctx context.Context, p *progress, what, addressFamily string, err error) *cause {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, noneOfFamily := errors.AsType[*net.AddrError](err)
	switch {
	case isDNS && dns.IsNotFound, noneOfFamily:
		return unresolved(what, addressFamily)
	case fault.IsTimeout(err), ctx.Err() != nil:
		return blind("%s: the name servers did not answer in half of the attempt's %v", what, p.timeout)
	default:
		return blind("%s: %s", what, clip(err.Error()))
	}
}

func unresolved(what, addressFamily string) *cause {
	return wrong("%s: the name does not resolve to an %s address", what, addressFamily)
}

// reachable leaves out what a function outside a VPC has no route to: its
// silence says nothing about the target. Loopback stays; it is where the local
// AWS has its instances.
func (d dialer) reachable(what, verb string, addrs []netip.Addr) ([]netip.Addr, *cause) {
	if d.vpc {
		return addrs, nil
	}
	some := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !public(a) && !a.IsLoopback() })
	if len(some) == 0 {
		return nil, wrong("%s: %s %s, a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address",
			what, verb, addrs[0])
	}
	return some, nil
}

// classify tells whose fault err is. What is neither known as the target's nor
// as ours goes to other. Causes pass through.
func (p *progress) classify(err error, other func(error) *cause) *cause {
	if c, ok := errors.AsType[*cause](err); ok {
		return c
	}
	at := p.reached()
	switch {
	case fault.IsTimeout(err) && at == phaseLookup:
		// The lookup has its own, shorter time-out: it is us who are slow.
		return blind("look up: timed out after %v", p.timeout)
	case fault.IsTimeout(err):
		return p.timedOut("timed out after " + p.timeout.String() + " " + string(at))
	case errors.Is(err, syscall.ECONNREFUSED):
		return failed(incident.Refused, "connection refused")
	case isReset(err) && at == phaseConnect:
		return failed(incident.Refused, "connection reset %s", at)
	case isReset(err):
		return failed(incident.ClosedEarly, "connection reset %s", at)
	case isClosed(err):
		return failed(incident.ClosedEarly, "connection closed %s", at)
	}
	for _, e := range ownNetwork {
		if errors.Is(err, e.errno) {
			return blind("connect: %s: %s", e.errno.Error(), e.words)
		}
	}
	return other(err)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EPIPE)
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (p *progress) timedOut(reason string) *cause {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := failed(incident.NoConnection, "%s", reason)
	if p.connected {
		c.connection = incident.Silent
	}
	c.unreached = !p.connected && !p.private
	return c
}

// listening is a connection that notes when the other side says something.
type listening struct {
	net.Conn
	progress *progress
}

func (l listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.progress.hear()
	}
	return n, err
}

// ownNetwork are the errors that our side of the network makes. A router in
// between may cause some of them too; the target never does.
var ownNetwork = []struct {
	errno syscall.Errno
	words string
}{
	{syscall.ENETUNREACH, "our own network has no route there (IPv6 needs a VPC with IPv6 for the function, a private address a route to it)"},
	{syscall.EHOSTUNREACH, "our own network does not reach the host"},
	{syscall.EADDRNOTAVAIL, "our own side has no address to connect from"},
	{syscall.EAFNOSUPPORT, "our own side lacks this address family"},
	{syscall.ENETDOWN, "our own network is down"},
	{syscall.EACCES, "our own side does not let the connection out"},
	{syscall.EPERM, "our own side does not let the connection out"},
}

func tcp(addressFamily string) string {
	if addressFamily == incident.FamilyIPv6 {
		return "tcp6"
	}
	return "tcp4"
}

// port16 converts a port that Validate or net/url has seen; 0 connects to
// nothing.
func port16(port string) uint16 {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// sharedAddressSpace is RFC 6598's, which VPCs use as a private range.
var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether the route to addr leads through the internet.
func public(addr netip.Addr) bool {
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !sharedAddressSpace.Contains(addr)
}

// familyOf is the family of an address.
func familyOf(addr netip.Addr) string {
	if addr.Unmap().Is4() {
		return incident.FamilyIPv4
	}
	return incident.FamilyIPv6
}
