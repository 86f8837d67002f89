package checks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"firstline/internal/fault"
)

// maxAddresses bounds how many addresses of a name one attempt tries: its time
// is divided between them.
const maxAddresses = 3

// connect opens a TCP connection to host, over addressFamily only, and makes it
// p's. ctx has a deadline.
func (v *Vantage) connect(ctx context.Context, p *progress, addressFamily, host, port string) *cause {
	addrs, c := v.resolve(ctx, addressFamily, host)
	if c != nil {
		return c
	}
	p.at, p.addresses = phaseConnect, addrs
	first := p.remotes == nil
	if first {
		p.remotes = addrs
	}
	dial := v.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var firstErr error
	for i, addr := range addrs {
		share, cancel := part(ctx, len(addrs)-i)
		conn, err := dial(share, "tcp"+version(addressFamily), net.JoinHostPort(addr.String(), port))
		cancel()
		if err == nil {
			p.take(ctx, conn)
			if first {
				p.remotes = []netip.Addr{addr}
			}
			return nil
		}
		if firstErr == nil {
			firstErr = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return p.classify(firstErr, func(err error) *cause { return blind("connect: %s", clip(err.Error())) })
}

// part is one of n shares of the time that is left.
func part(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

// resolve returns the addresses of host to try. Outside a VPC it leaves out the
// private ones, to which there is no route: their silence says nothing about the
// target. Loopback stays; it is where the local AWS has its instances.
//
// It tells a name that is not there from a name server that does not say, and
// takes half of the time that is left: a slow name server must not eat the time
// that the target has, which would be blamed for it.
func (v *Vantage) resolve(ctx context.Context, addressFamily, host string) ([]netip.Addr, *cause) {
	lookup := v.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	ctx, cancel := part(ctx, 2)
	defer cancel()
	all, err := lookup(ctx, "ip"+version(addressFamily), host)
	var addrs []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); v.VPC || !private(a) || a.IsLoopback() {
			addrs = append(addrs, a)
		}
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, noneOfFamily := errors.AsType[*net.AddrError](err)
	switch {
	case len(addrs) > 0:
		return addrs[:min(len(addrs), maxAddresses)], nil
	case len(all) > 0:
		return nil, wrong("connect to %s: %s is a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address", host, all[0].Unmap())
	case err == nil, isDNS && dns.IsNotFound, noneOfFamily:
		return nil, wrong("look up %s: it does not resolve to an %s address", host, addressFamily)
	case fault.IsTimeout(err), ctx.Err() != nil:
		return nil, blind("look up %s: the name servers did not answer in half of the attempt's time", host)
	default:
		return nil, blind("look up %s: %s", host, clip(err.Error()))
	}
}

// version is the number of an address family.
func version(addressFamily string) string { return strings.TrimPrefix(addressFamily, "ipv") }

// sharedAddressSpace is RFC 6598's, which VPCs use as a private range.
var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")

// private reports whether the route to addr does not lead through the internet.
func private(addr netip.Addr) bool {
	return !addr.IsGlobalUnicast() || addr.IsPrivate() || sharedAddressSpace.Contains(addr)
}
