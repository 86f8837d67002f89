package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"firstline/internal/fault"
)

// Egress shows that our own way out works: it connects to something that is
// up whenever anything is. network is "tcp4" or "tcp6". The check bounds it
// to three seconds.
//
// A check asks it when no attempt on a public target got as far as a
// connection. A function in a VPC without a NAT gateway sees every healthy
// machine that way, and must not have them rebooted.
type Egress func(ctx context.Context, network string) error

// DialEgress returns an Egress that is satisfied by a TCP connection to any
// one of the addresses, "host:port", which it tries all at once. Only a public
// one counts: a pager of one's own or an interface endpoint inside the VPC
// shows nothing of the way out of it. Over tcp6, a host that has no IPv6
// address proves nothing: name one that has.
func DialEgress(addresses ...string) Egress { return dialEgress(public, addresses) }

func dialEgress(counts func(netip.Addr) bool, addresses []string) Egress {
	return func(ctx context.Context, network string) error {
		ctx, cancel := context.WithTimeout(ctx, egressAllowance)
		defer cancel()
		results := make(chan error, len(addresses))
		for _, address := range addresses {
			go func() {
				results <- tryWayOut(ctx, counts, network, address)
			}()
		}
		errs := []error{}
		for range addresses {
			err := <-results
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		if len(errs) == 0 {
			return errors.New("no address to try our own way out with")
		}
		return errors.Join(errs...)
	}
}

func tryWayOut(ctx context.Context, counts func(netip.Addr) bool, network, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	_ = conn.Close() // nothing was sent that could be lost
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return err
	}
	if addr := remote.Addr().Unmap(); !counts(addr) {
		return fmt.Errorf("%s is at %s, a private address: that it answers shows no way out to the internet", address, addr)
	}
	return nil
}

// blame returns nil if the target may be blamed for what a series came to, and
// an Unavailable error if our own way out may be the cause.
func (e Egress) blame(ctx context.Context, op, addressFamily string, a answer) error {
	if e == nil || a.passed || !a.noConnection {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, egressAllowance)
	defer cancel()
	if err := e(ctx, tcp(addressFamily)); err != nil {
		return fault.New(fault.Unavailable, op,
			"%s, and our own way out over %s seems broken too (a function in a VPC has none without a NAT gateway): %s",
			a.reason, addressFamily, clip(err.Error()))
	}
	return nil
}
