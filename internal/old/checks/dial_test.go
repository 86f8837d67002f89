package checks

import (
	"context"
	"errors"
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

	"firstline/internal/fault"
)

func TestClassify(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	other := errors.New("other")
	for _, tc := range []struct {
		name   string
		at     stage
		err    error
		target string     // the reason, if the target is at fault
		kind   fault.Kind // else
	}{
		{"refused", stageConnect, dial(syscall.ECONNREFUSED), "connection refused", ""},
		{"reset", stageAnswer, dial(syscall.ECONNRESET), "connection reset before the answer came", ""},
		{"broken pipe", stageAnswer, dial(syscall.EPIPE), "connection reset before the answer came", ""},
		{"aborted", stageConnect, dial(syscall.ECONNABORTED), "connection reset while connecting", ""},
		{"closed", stageAnswer, io.EOF, "connection closed before the answer came", ""},
		{"closed in the body", stageBody, io.ErrUnexpectedEOF, "connection closed in the middle of the body", ""},
		{"TCP's own time-out", stageConnect, dial(syscall.ETIMEDOUT), "timed out after 3s while connecting", ""},
		{"time-out", stageTLS, os.ErrDeadlineExceeded, "timed out after 3s in the TLS handshake", ""},
		{"context's time-out", stageBody, context.DeadlineExceeded, "timed out after 3s in the middle of the body", ""},
		{"time-out of a lookup", stageLookup, context.DeadlineExceeded, "", fault.Unavailable},
		{"no route to the network", stageConnect, dial(syscall.ENETUNREACH), "", fault.Unavailable},
		{"no route to the host", stageConnect, dial(syscall.EHOSTUNREACH), "", fault.Unavailable},
		{"no address of our own", stageConnect, dial(syscall.EADDRNOTAVAIL), "", fault.Unavailable},
		{"no such family", stageConnect, dial(syscall.EAFNOSUPPORT), "", fault.Unavailable},
		{"network down", stageConnect, dial(syscall.ENETDOWN), "", fault.Unavailable},
		{"not let out", stageConnect, dial(syscall.EACCES), "", fault.Unavailable},
		{"not permitted", stageConnect, dial(syscall.EPERM), "", fault.Unavailable},
		{"classified as the target's", stageBody, fmt.Errorf("x: %w", &targetFault{reason: "y"}), "y", ""},
		{"classified as ours", stageBody, fmt.Errorf("x: %w", fault.New(fault.Denied, "a", "b")), "", fault.Denied},
		{"other", stageConnect, syscall.EMFILE, "", fault.Internal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := &journey{timeout: 3 * time.Second}
			j.enter(tc.at)
			err := j.classify(tc.err, func(error) error { return other })
			target, blamed := errors.AsType[*targetFault](err)
			switch {
			case tc.kind != "":
				wantKind(t, err, tc.kind)
				if blamed {
					t.Errorf("blames the target: %v", err)
				}
			case !blamed || target.reason != tc.target:
				t.Errorf("got %v, want the target's fault, %q", err, tc.target)
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
		way          way
		family, host string
		target       string
		noConnection bool
		kind         fault.Kind
		words        string
	}{
		{"silent public target", way{dial: silent}, "ipv4", "203.0.113.7", "timed out after 3s while connecting", true, "", ""},
		{"silent public IPv6 target", way{dial: silent}, "ipv6", "2001:db8::7", "timed out after 3s while connecting", true, "", ""},
		{"silent private target", way{vpc: true, dial: silent}, "ipv4", "10.0.0.7", "timed out after 3s while connecting", false, "", ""},
		{"silent target in shared space", way{vpc: true, dial: silent}, "ipv4", "100.64.0.7", "timed out after 3s while connecting", false, "", ""},
		{"silent loopback target", way{dial: silent}, "ipv4", "127.0.0.1", "timed out after 3s while connecting", false, "", ""},
		{"name with silent private address", way{vpc: true, dial: silent, lookup: names("10.0.0.7")}, "ipv4", "a.example", "timed out after 3s while connecting", false, "", ""},
		{"name with two silent addresses", way{dial: silent, lookup: names("203.0.113.7", "::ffff:203.0.113.8")}, "ipv4", "a.example", "timed out after 3s while connecting", true, "", ""},
		{"private name without a VPC", way{lookup: names("10.0.0.7", "10.0.0.8")}, "ipv4", "a.example", "", false, fault.InvalidInput, "look up a.example: it resolves to 10.0.0.7, a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address"},
		{"private IPv6 name without a VPC", way{lookup: names("fd00::7")}, "ipv6", "a.example", "", false, fault.InvalidInput, "resolves to fd00::7, a private address"},
		{"private address without a VPC", way{}, "ipv4", "192.168.0.7", "", false, fault.InvalidInput, "it is 192.168.0.7, a private address"},
		{"shared space without a VPC", way{}, "ipv4", "100.64.0.7", "", false, fault.InvalidInput, "a private address"},
		{"link-local without a VPC", way{}, "ipv4", "169.254.169.254", "", false, fault.InvalidInput, "a private address"},
		{"literal of the other family", way{dial: silent}, "ipv6", "203.0.113.7", "", false, fault.InvalidInput, "not ipv6"},
		{"no such name", way{lookup: noNames(&net.DNSError{Err: "no such host", Name: "a", IsNotFound: true})}, "ipv4", "a.example", "", false, fault.InvalidInput, "does not resolve to an ipv4 address"},
		{"no such family", way{lookup: noNames(&net.AddrError{Err: "no suitable address found", Addr: "a"})}, "ipv6", "a.example", "", false, fault.InvalidInput, "does not resolve to an ipv6 address"},
		{"no addresses", way{lookup: names()}, "ipv4", "a.example", "", false, fault.InvalidInput, "does not resolve"},
		{"name server in trouble", way{lookup: noNames(&net.DNSError{Err: "server misbehaving", Name: "a", IsTemporary: true})}, "ipv4", "a.example", "", false, fault.Unavailable, "server misbehaving"},
		{"name server timed out", way{lookup: noNames(&net.DNSError{Err: "i/o timeout", Name: "a", IsTimeout: true})}, "ipv4", "a.example", "", false, fault.Unavailable, "name servers did not answer"},
		{"name server slow", way{lookup: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, "ipv4", "a.example", "", false, fault.Unavailable, "name servers did not answer"},
		{"out of files", way{dial: fails(syscall.EMFILE)}, "ipv4", "203.0.113.7", "", false, fault.Unavailable, "too many open files"},
		{"no route", way{dial: fails(syscall.ENETUNREACH)}, "ipv4", "203.0.113.7", "", false, fault.Unavailable, "our own network has no route"},
		{"refused", way{dial: fails(syscall.ECONNREFUSED)}, "ipv4", "203.0.113.7", "connection refused", false, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_, err := tc.way.connect(ctx, &journey{timeout: 3 * time.Second}, tc.family, tc.host, "80")
				if tc.kind != "" {
					wantKind(t, err, tc.kind, tc.words)
					return
				}
				target, ok := errors.AsType[*targetFault](err)
				if !ok || target.reason != tc.target || target.noConnection != tc.noConnection {
					t.Errorf("got %#v, want the target's fault, %q, no connection %t", err, tc.target, tc.noConnection)
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
		w := way{
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
		conn, err := w.connect(ctx, &journey{}, "ipv4", "a.example", "80")
		if heard, ok := conn.(listening); err != nil || !ok || heard.Conn != here {
			t.Errorf("got %v, %v", conn, err)
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
	w := way{
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
	if _, err := w.connect(t.Context(), &journey{}, "ipv4", "a.example", "80"); err != nil {
		t.Error(err)
	}
}
