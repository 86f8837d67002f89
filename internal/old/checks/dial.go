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
)

// way is how names and connections are made. The zero value is the system's.
type way struct {
	// vpc: the function runs in a VPC, and so reaches private addresses.
	vpc    bool
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// stage is what an attempt was doing, worded so that it completes "timed out
// after 3s …" and "connection closed …".
type stage string

const (
	stageLookup  stage = "looking up the name"
	stageConnect stage = "while connecting"
	stageTLS     stage = "in the TLS handshake"
	stageAnswer  stage = "before the answer came"
	stageBody    stage = "in the middle of the body"
)

// journey records how far one attempt got. net/http dials in a goroutine of
// its own, hence the lock.
type journey struct {
	// timeout is the attempt's, for the words only.
	timeout time.Duration

	mu        sync.Mutex
	at        stage
	connected bool
	private   bool
	// heard: a byte has come over one of the attempt's connections.
	heard bool
	// addresses are those of the last host to connect to.
	addresses []netip.Addr
}

func (j *journey) enter(s stage) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at = s
}

func (j *journey) reached() stage {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.at
}

// connect opens a TCP connection to host, over addressFamily only. Its errors
// are classified already.
func (w way) connect(ctx context.Context, j *journey, addressFamily, host, port string) (net.Conn, error) {
	addrs, err := w.resolve(ctx, j, addressFamily, host)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	j.at, j.addresses = stageConnect, addrs
	j.mu.Unlock()
	dial := w.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var first error
	for i, addr := range addrs {
		if !public(addr) {
			j.mu.Lock()
			j.private = true
			j.mu.Unlock()
		}
		conn, err := dialOne(ctx, dial, tcp(addressFamily), netip.AddrPortFrom(addr, port16(port)).String(), len(addrs)-i)
		if err == nil {
			j.mu.Lock()
			j.connected = true
			j.mu.Unlock()
			return listening{conn, j}, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, j.classify(first, func(err error) error {
		// Whatever else keeps a connection from being made (no file
		// descriptors, no buffers) is on our side.
		return fault.New(fault.Unavailable, "connect", "%s", clip(err.Error()))
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

func (w way) resolve(ctx context.Context, j *journey, addressFamily, host string) ([]netip.Addr, error) {
	op := "look up " + host
	if addr, err := netip.ParseAddr(host); err == nil {
		if familyOf(addr) != addressFamily {
			return nil, fault.New(fault.InvalidInput, "connect to "+host, "the address is not %s, which is the family to use", addressFamily)
		}
		return w.reachable("connect to "+host, "it is", []netip.Addr{addr.Unmap()})
	}
	j.enter(stageLookup)
	lookup := w.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	network := "ip4"
	if addressFamily == familyIPv6 {
		network = "ip6"
	}
	// A slow name server must not eat the time that the target has: with less
	// than half of it left, a time-out would be blamed on the target.
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	addrs, err := lookup(ctx, network, host)
	if err != nil {
		dns, isDNS := errors.AsType[*net.DNSError](err)
		_, noneOfFamily := errors.AsType[*net.AddrError](err)
		switch {
		case isDNS && dns.IsNotFound, noneOfFamily:
			return nil, fault.New(fault.InvalidInput, op, "the name does not resolve to an %s address", addressFamily)
		case fault.IsTimeout(err), ctx.Err() != nil:
			return nil, fault.New(fault.Unavailable, op, "the name servers did not answer in half of the attempt's %v", j.timeout)
		default:
			return nil, fault.New(fault.Unavailable, op, "%s", clip(err.Error()))
		}
	}
	if len(addrs) == 0 {
		return nil, fault.New(fault.InvalidInput, op, "the name does not resolve to an %s address", addressFamily)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	addrs, err = w.reachable(op, "it resolves to", addrs)
	return addrs[:min(len(addrs), maxAddresses)], err
}

// reachable leaves out what a function outside a VPC has no route to: its
// silence says nothing about the target. Loopback stays; it is where the local
// AWS has its instances.
func (w way) reachable(op, verb string, addrs []netip.Addr) ([]netip.Addr, error) {
	if w.vpc {
		return addrs, nil
	}
	some := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !public(a) && !a.IsLoopback() })
	if len(some) == 0 {
		return nil, fault.New(fault.InvalidInput, op,
			"%s %s, a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address", verb, addrs[0])
	}
	return some, nil
}

// classify tells whose fault err is: a *targetFault for what the target did,
// an error with a kind for the rest. What is neither known as the one nor as
// the other goes to other. Errors that are classified pass through.
func (j *journey) classify(err error, other func(error) error) error {
	if target, ok := errors.AsType[*targetFault](err); ok {
		return target
	}
	if ours, ok := errors.AsType[*fault.Error](err); ok {
		return ours
	}
	at := j.reached()
	switch {
	case fault.IsTimeout(err) && at == stageLookup:
		// The lookup has its own, shorter time-out: it is us who are slow.
		return fault.New(fault.Unavailable, "look up", "timed out after %v", j.timeout)
	case fault.IsTimeout(err):
		return j.timedOut("timed out after " + j.timeout.String() + " " + string(at))
	case errors.Is(err, syscall.ECONNREFUSED):
		return &targetFault{reason: "connection refused"}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EPIPE):
		return &targetFault{reason: "connection reset " + string(at)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &targetFault{reason: "connection closed " + string(at)}
	}
	for _, e := range ownWayOut {
		if errors.Is(err, e.errno) {
			return fault.New(fault.Unavailable, "connect", "%s (%w): %s", e.errno.Error(), e.errno, e.words)
		}
	}
	return other(err)
}

func (j *journey) timedOut(reason string) *targetFault {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &targetFault{reason: reason, noConnection: !j.connected && !j.private, silent: !j.heard}
}

// listening is a connection that notes when the other side says something.
type listening struct {
	net.Conn
	journey *journey
}

func (l listening) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.journey.mu.Lock()
		l.journey.heard = true
		l.journey.mu.Unlock()
	}
	return n, err
}

// ownWayOut are the errors that our side of the network makes. A router in
// between may cause some of them too; the target never does.
var ownWayOut = []struct {
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
	if addressFamily == familyIPv6 {
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

// public reports whether the way to addr leads through the internet.
func public(addr netip.Addr) bool {
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !sharedAddressSpace.Contains(addr)
}
