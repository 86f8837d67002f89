package checks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

const (
	// maxAddresses bounds how many addresses of a name one attempt tries.
	maxAddresses = 32
	// dialDelay is how long an address has before the next one is tried beside it,
	// and familyDelay how long the addresses of one family wait for those of the
	// other (RFC 8305, 5 and 3).
	dialDelay, familyDelay = 250 * time.Millisecond, 400 * time.Millisecond
)

// connect opens a TCP connection to host, over addressFamily only if there is one,
// and makes it p's. ctx has a deadline.
func (v *Vantage) connect(ctx context.Context, p *attempt, addressFamily, host, port string) *cause {
	addrs, c := v.resolve(ctx, addressFamily, host)
	if c != nil {
		return c
	}
	p.at, p.addresses = phaseConnect, addrs
	first := p.remotes == nil
	if first {
		p.remotes = addrs
	}
	conn, addr, errs := v.race(ctx, addrs, port)
	if conn != nil {
		p.take(ctx, conn)
		if first {
			p.remotes = []netip.Addr{addr}
		}
		return nil
	}
	return p.furthest(errs)
}

// furthest is the cause of the connection that got furthest. That our network has
// no route to one address counts for nothing beside what happened at another.
func (p *attempt) furthest(errs []error) *cause {
	var best *cause
	reach := func(c *cause) int {
		if c.outcome != incident.Failed {
			return -1
		}
		return slices.Index(byReach, c.connection)
	}
	for _, err := range errs {
		c := p.classify(err, func(err error) *cause { return blind("connect: %s", clip(err.Error())) })
		if best == nil || reach(c) > reach(best) {
			best = c
		}
	}
	return best
}

// race connects to the addresses side by side: the next one is tried when one has
// failed or after a delay, and the first connection wins. All have been tried by
// half of the time that is left.
func (v *Vantage) race(ctx context.Context, addrs []netip.Addr, port string) (net.Conn, netip.Addr, []error) {
	dial := v.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	deadline, _ := ctx.Deadline()
	delay := min(dialDelay, time.Until(deadline)/time.Duration(2*len(addrs)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		addr netip.Addr
		err  error
	}
	results := make(chan result)
	try := func(addr netip.Addr) {
		conn, err := dial(ctx, "tcp", net.JoinHostPort(addr.String(), port))
		select {
		case results <- result{conn, addr, err}:
		case <-ctx.Done():
			if err == nil {
				_ = conn.Close() // another one has won
			}
		}
	}
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	for left := addrs; len(errs) < len(addrs); {
		select {
		case <-next.C:
			if len(left) > 0 {
				go try(left[0])
				left = left[1:]
				next.Reset(delay)
			}
		case r := <-results:
			if r.err == nil {
				return r.conn, r.addr, nil
			}
			errs = append(errs, r.err)
			next.Reset(0)
		case <-ctx.Done():
			return nil, netip.Addr{}, append(errs, ctx.Err())
		}
	}
	return nil, netip.Addr{}, errs
}

// part is one of n shares of the time that is left.
func part(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

// resolve returns the addresses of host to try: the instance's own alone where the
// name leads to it, since what answers at another address says nothing about it.
//
// It tells a name that is not there from a name server that does not say, and
// takes half of the time that is left: a slow name server must not eat the time
// that the target has, which would be blamed for it.
func (v *Vantage) resolve(ctx context.Context, addressFamily, host string) ([]netip.Addr, *cause) {
	ctx, cancel := part(ctx, 2)
	defer cancel()
	var all []netip.Addr
	var err error
	if v.only.IsValid() {
		all = []netip.Addr{v.only}
	} else {
		all, err = v.lookUp(ctx, addressFamily, host)
	}
	var addrs, own []netip.Addr
	for _, a := range all {
		if !v.reaches(host, a) {
			continue
		}
		addrs = append(addrs, a)
		if slices.Contains(v.own, a) {
			own = append(own, a)
		}
	}
	if len(own) > 0 {
		addrs = own
	}
	switch {
	case len(addrs) > 0:
		return addrs[:min(len(addrs), maxAddresses)], nil
	case len(all) > 0 && all[0].IsGlobalUnicast():
		return nil, wrong("connect to %s: %s is a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address", host, all[0])
	case len(all) > 0 && v.unasked != nil:
		return nil, v.unasked
	case len(all) > 0:
		return nil, wrong("connect to %s: %s is a loopback, link-local or multicast address, which leads to no other machine; correct the DNS record, or name another host", host, all[0])
	case err == nil && addressFamily == "":
		return nil, wrong("look up %s: it does not resolve to an address; correct the DNS record, or name another host", host)
	case err == nil:
		return nil, wrong("look up %s: it does not resolve to an %s address; correct the DNS record, or leave address_family out", host, addressFamily)
	case fault.IsTimeout(err), ctx.Err() != nil:
		return nil, blind("look up %s: the name servers did not answer within half of the attempt's time", host)
	default:
		return nil, blind("look up %s: %s", host, clip(err.Error()))
	}
}

// lookUp returns the addresses of host, IPv4 and IPv6 ones in turn; none and no
// error: it has none. Both families are asked side by side, since some name servers
// never answer for one of them.
func (v *Vantage) lookUp(ctx context.Context, addressFamily, host string) ([]netip.Addr, error) {
	host = ascii(host)
	families := []string{addressFamily}
	if addressFamily == "" {
		families = []string{incident.FamilyIPv4, incident.FamilyIPv6}
	}
	lookup := v.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		lookup = func(context.Context, string, string) ([]netip.Addr, error) { return []netip.Addr{addr}, nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		family string
		addrs  []netip.Addr
		err    error
	}
	results := make(chan result, len(families))
	for _, family := range families {
		go func() {
			addrs, err := lookup(ctx, "ip"+version(family), host)
			results <- result{family, addrs, err}
		}()
	}
	found := map[string][]netip.Addr{}
	var failure error
	var enough <-chan time.Time
	for range families {
		select {
		case r := <-results:
			found[r.family] = ofFamily(r.family, r.addrs)
			if len(found[r.family]) > 0 {
				enough = time.After(familyDelay)
			} else if !isNotThere(r.err) {
				failure = r.err
			}
		case <-enough:
		}
	}
	return inTurn(found[incident.FamilyIPv4], found[incident.FamilyIPv6]), failure
}

// ascii is a name as DNS and TLS have it, where the settings have it in letters of
// another script.
func ascii(host string) string {
	if name, err := httpguts.PunycodeHostPort(host); err == nil {
		return name
	}
	return host
}

// ofFamily are the addresses of one family.
func ofFamily(family string, all []netip.Addr) (addrs []netip.Addr) {
	for _, a := range all {
		if a = a.Unmap(); a.Is4() == (family == incident.FamilyIPv4) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func inTurn(one, other []netip.Addr) (addrs []netip.Addr) {
	for n := range max(len(one), len(other)) {
		addrs = append(addrs, one[min(n, len(one)):min(n+1, len(one))]...)
		addrs = append(addrs, other[min(n, len(other)):min(n+1, len(other))]...)
	}
	return addrs
}

// isNotThere reports whether a name server says that there is no such name, or none
// of the family.
func isNotThere(err error) bool {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, noneOfFamily := errors.AsType[*net.AddrError](err)
	return err == nil || isDNS && dns.IsNotFound || noneOfFamily
}

// reaches reports whether addr can be the target's. Outside a VPC there is no route
// to private addresses: their silence says nothing about the target. A name that
// leads to this very machine says nothing either, but where EC2 says that it is the
// instance: the local AWS has its instances at loopback addresses. A loopback
// address that stands in the settings is taken at its word.
func (v *Vantage) reaches(host string, addr netip.Addr) bool {
	if v.only.IsValid() {
		return v.public(addr)
	}
	if addr.IsGlobalUnicast() {
		return v.VPC || !private(addr)
	}
	_, notLiteral := netip.ParseAddr(host)
	return slices.Contains(v.own, addr) || notLiteral == nil && addr.IsLoopback()
}

// public reports whether addr is an address that every region can ask: probes have no
// IPv6.
func (v *Vantage) public(addr netip.Addr) bool {
	return !private(addr) && addr.Is4() || v.Local && addr.IsLoopback()
}

// version is the number of an address family.
func version(addressFamily string) string { return strings.TrimPrefix(addressFamily, "ipv") }

// sharedAddressSpace is RFC 6598's, which VPCs use as a private range.
var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")

// private reports whether the route to addr does not lead through the internet.
func private(addr netip.Addr) bool {
	return !addr.IsGlobalUnicast() || addr.IsPrivate() || sharedAddressSpace.Contains(addr)
}
