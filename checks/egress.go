package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Egress proves that our own connectivity works: it connects over network,
// "tcp4", "tcp6", or "tcp" for either, to something that is up whenever anything is.
//
// A check asks it when no attempt on a public target got as far as a
// connection. A function in a VPC without a NAT gateway sees every healthy
// machine that way, and must not have them rebooted.
type Egress func(ctx context.Context, network string) error

// DialEgress returns an Egress that is satisfied by a TCP connection to any one
// of the addresses, "host:port", within 3 seconds. It tries all at once. Only a
// public address counts: a pager of one's own or an interface endpoint inside the
// VPC proves nothing about the internet, nor does a host without IPv6 over tcp6.
func DialEgress(addresses ...string) Egress { return dialEgress(private, addresses) }

func dialEgress(ignored func(netip.Addr) bool, addresses []string) Egress {
	return func(ctx context.Context, network string) error {
		ctx, cancel := context.WithTimeout(ctx, egressAllowance)
		defer cancel()
		results := make(chan error, len(addresses))
		for _, address := range addresses {
			go func() { results <- tryEgress(ctx, ignored, network, address) }()
		}
		err := errors.New("nothing else answers us")
		for range addresses {
			result := <-results
			if result == nil {
				return nil
			}
			err = fmt.Errorf("%w; %w", err, result)
		}
		return err
	}
}

func tryEgress(ctx context.Context, ignored func(netip.Addr) bool, network, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	_ = conn.Close() // nothing was sent that could be lost
	remote, _ := conn.RemoteAddr().(*net.TCPAddr)
	if addr := remote.AddrPort().Addr().Unmap(); ignored(addr) {
		return fmt.Errorf("%s is at %s, a private address: its answer proves nothing about the internet", address, addr)
	}
	return nil
}

// confirm returns the answer, or a blind one where it may be our own
// connectivity that kept every attempt from a connection: over the address
// families that were tried.
func (e Egress) confirm(ctx context.Context, a answer) answer {
	if e == nil || !a.unreached() {
		return a
	}
	network, over := "tcp", "IPv4 and IPv6"
	switch {
	case !slices.ContainsFunc(a.remotes, netip.Addr.Is6):
		network, over = "tcp4", "IPv4"
	case !slices.ContainsFunc(a.remotes, netip.Addr.Is4):
		network, over = "tcp6", "IPv6"
	}
	if err := e(ctx, network); err != nil {
		c := blind("%s, and our own connectivity over %s seems broken too (in a VPC the function needs a NAT gateway for IPv4, an egress-only internet gateway for IPv6): %s",
			a.cause.text, over, clip(err.Error()))
		c.connection = a.cause.connection
		a.cause = c
	}
	return a
}
