package checks

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"
)

func TestClassify(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, tc := range []struct {
		name   string
		at     phase
		err    error
		target string        // the reason, if the target is at fault
		kind   incident.Kind // else
	}{
		{"refused", phaseConnect, dial(syscall.ECONNREFUSED), "connection refused", ""},
		{"reset", phaseAnswer, dial(syscall.ECONNRESET), "connection reset before the answer came", ""},
		{"broken pipe", phaseAnswer, dial(syscall.EPIPE), "connection reset before the answer came", ""},
		{"aborted", phaseConnect, dial(syscall.ECONNABORTED), "connection reset while connecting", ""},
		{"closed", phaseAnswer, io.EOF, "connection closed before the answer came", ""},
		{"closed in the body", phaseBody, io.ErrUnexpectedEOF, "connection closed in the middle of the body", ""},
		{"TCP's own time-out", phaseConnect, dial(syscall.ETIMEDOUT), "timed out after 3s while connecting", ""},
		{"time-out", phaseTLS, os.ErrDeadlineExceeded, "timed out after 3s in the TLS handshake", ""},
		{"context's time-out", phaseBody, context.DeadlineExceeded, "timed out after 3s in the middle of the body", ""},
		{"no route to the network", phaseConnect, dial(syscall.ENETUNREACH), "", incident.Blind},
		{"no route to the host", phaseConnect, dial(syscall.EHOSTUNREACH), "", incident.Blind},
		{"no address of our own", phaseConnect, dial(syscall.EADDRNOTAVAIL), "", incident.Blind},
		{"no such family", phaseConnect, dial(syscall.EAFNOSUPPORT), "", incident.Blind},
		{"network down", phaseConnect, dial(syscall.ENETDOWN), "", incident.Blind},
		{"not let out", phaseConnect, dial(syscall.EACCES), "", incident.Blind},
		{"not permitted", phaseConnect, dial(syscall.EPERM), "", incident.Blind},
		{"classified as the target's", phaseBody, fmt.Errorf("x: %w", failed("", "y")), "y", ""},
		{"classified as ours", phaseBody, fmt.Errorf("x: %w", blind("a")), "", incident.Blind},
		{"other", phaseConnect, syscall.EMFILE, "", incident.Blind},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &progress{timeout: 3 * time.Second, at: tc.at}
			c := p.classify(tc.err, func(error) *cause { return blind("other") })
			if tc.kind != "" {
				if c.outcome != incident.Unknown || c.kind != tc.kind {
					t.Errorf("got %+v, want unknown %s", c, tc.kind)
				}
				return
			}
			if c.outcome != incident.Failed || c.text != tc.target {
				t.Errorf("got %+v, want failed, %q", c, tc.target)
			}
		})
	}
}

func TestConnect(t *testing.T) {
	names := func(addrs ...string) func(context.Context, string, string) ([]netip.Addr, error) {
		return func(context.Context, string, string) ([]netip.Addr, error) {
			var list []netip.Addr
			for _, a := range addrs {
				list = append(list, netip.MustParseAddr(a))
			}
			return list, nil
		}
	}
	noNames := func(err error) func(context.Context, string, string) ([]netip.Addr, error) {
		return func(context.Context, string, string) ([]netip.Addr, error) { return nil, err }
	}
	fails := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	for _, tc := range []struct {
		name         string
		vantage      Vantage
		family, host string
		target       string
		noConnection bool
		kind         incident.Kind
		words        string
	}{
		{"silent public target", Vantage{dial: silent}, "ipv4", "203.0.113.7", "timed out after 3s while connecting", true, "", ""},
		{"silent public IPv6 target", Vantage{dial: silent}, "ipv6", "2001:db8::7", "timed out after 3s while connecting", true, "", ""},
		{"silent private target", Vantage{VPC: true, dial: silent}, "ipv4", "10.0.0.7", "timed out after 3s while connecting", false, "", ""},
		{"silent target in shared space", Vantage{VPC: true, dial: silent}, "ipv4", "100.64.0.7", "timed out after 3s while connecting", false, "", ""},
		{"silent loopback target", Vantage{dial: silent}, "ipv4", "127.0.0.1", "timed out after 3s while connecting", false, "", ""},
		{"name with silent private address", Vantage{VPC: true, dial: silent, lookup: names("10.0.0.7")}, "ipv4", "a.example", "timed out after 3s while connecting", false, "", ""},
		{"name with two silent addresses", Vantage{dial: silent, lookup: names("203.0.113.7", "::ffff:203.0.113.8")}, "ipv4", "a.example", "timed out after 3s while connecting", true, "", ""},
		{"private name without a VPC", Vantage{lookup: names("10.0.0.7", "10.0.0.8")}, "ipv4", "a.example", "", false, incident.Attention, "connect to a.example: 10.0.0.7 is a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address"},
		{"private IPv6 name without a VPC", Vantage{lookup: names("fd00::7")}, "ipv6", "a.example", "", false, incident.Attention, "fd00::7 is a private address"},
		{"private address without a VPC", Vantage{}, "ipv4", "192.168.0.7", "", false, incident.Attention, "192.168.0.7 is a private address"},
		{"shared space without a VPC", Vantage{}, "ipv4", "100.64.0.7", "", false, incident.Attention, "is a private address"},
		{"link-local without a VPC", Vantage{}, "ipv4", "169.254.169.254", "", false, incident.Attention, "is a private address"},
		{"literal of the other family", Vantage{dial: silent}, "ipv6", "203.0.113.7", "", false, incident.Attention, "does not resolve to an ipv6 address"},
		{"no such name", Vantage{lookup: noNames(&net.DNSError{Err: "no such host", Name: "a", IsNotFound: true})}, "ipv4", "a.example", "", false, incident.Attention, "does not resolve to an ipv4 address"},
		{"no such family", Vantage{lookup: noNames(&net.AddrError{Err: "no suitable address found", Addr: "a"})}, "ipv6", "a.example", "", false, incident.Attention, "does not resolve to an ipv6 address"},
		{"no addresses", Vantage{lookup: names()}, "ipv4", "a.example", "", false, incident.Attention, "does not resolve"},
		{"name server in trouble", Vantage{lookup: noNames(&net.DNSError{Err: "server misbehaving", Name: "a", IsTemporary: true})}, "ipv4", "a.example", "", false, incident.Blind, "server misbehaving"},
		{"name server timed out", Vantage{lookup: noNames(&net.DNSError{Err: "i/o timeout", Name: "a", IsTimeout: true})}, "ipv4", "a.example", "", false, incident.Blind, "name servers did not answer"},
		{"name server slow", Vantage{lookup: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, "ipv4", "a.example", "", false, incident.Blind, "name servers did not answer"},
		{"out of files", Vantage{dial: fails(syscall.EMFILE)}, "ipv4", "203.0.113.7", "", false, incident.Blind, "too many open files"},
		{"no route", Vantage{dial: fails(syscall.ENETUNREACH)}, "ipv4", "203.0.113.7", "", false, incident.Blind, "our own network has no route"},
		{"refused", Vantage{dial: fails(syscall.ECONNREFUSED)}, "ipv4", "203.0.113.7", "connection refused", false, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				p := &progress{timeout: 3 * time.Second}
				c := tc.vantage.connect(ctx, p, tc.family, tc.host, "80")
				if tc.kind != "" {
					if c.outcome != incident.Unknown || c.kind != tc.kind || !strings.Contains(c.text, tc.words) {
						t.Errorf("got %+v, want unknown %s, %q", c, tc.kind, tc.words)
					}
					return
				}
				want := incident.NoConnection
				if tc.target == "connection refused" {
					want = incident.Refused
				}
				if c.outcome != incident.Failed || c.text != tc.target || (answer{cause: c, remotes: p.remotes}).unreached() != tc.noConnection || c.connection != want {
					t.Errorf("got %+v, want failed, %q, unreached %t", c, tc.target, tc.noConnection)
				}
			})
		})
	}
}

// A name may have an address that is silent and one that answers.
func TestConnectTriesEveryAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialled []string
		here, there := net.Pipe()
		defer func() { _, _ = here.Close(), there.Close() }()
		w := Vantage{
			lookup: func(_ context.Context, network, _ string) ([]netip.Addr, error) {
				if network != "ip4" {
					t.Errorf("looked up %s, want ip4", network)
				}
				return []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8")}, nil
			},
			dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled = append(dialled, network+" "+address)
				if len(dialled) == 1 {
					return silent(ctx, network, address)
				}
				return here, nil
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		p := &progress{}
		if c := w.connect(ctx, p, "ipv4", "a.example", "80"); c != nil || p.conn.Conn != here {
			t.Errorf("got %v, %v", p.conn, c)
		}
		if got, want := strings.Join(dialled, ", "), "tcp4 203.0.113.7:80, tcp4 203.0.113.8:80"; got != want {
			t.Errorf("dialled %s, want %s", got, want)
		}
	})
}

func noSuchName(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// Outside a VPC only what can be reached is tried, however far down the list.
func TestConnectLeavesOutPrivateAddresses(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	w := Vantage{
		lookup: func(context.Context, string, string) ([]netip.Addr, error) {
			var list []netip.Addr
			for _, a := range []string{"10.0.0.7", "172.16.0.7", "192.168.0.7", "203.0.113.7"} {
				list = append(list, netip.MustParseAddr(a))
			}
			return list, nil
		},
		dial: func(_ context.Context, _, address string) (net.Conn, error) {
			if address != "203.0.113.7:80" {
				t.Errorf("dialled %s", address)
			}
			return here, nil
		},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if c := w.connect(ctx, &progress{}, "ipv4", "a.example", "80"); c != nil {
		t.Error(c)
	}
}
