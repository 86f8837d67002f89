package checks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"firstline/internal/fault"
)

func TestDialEgress(t *testing.T) {
	host, port := listen(t, func(net.Conn) {})
	up := net.JoinHostPort(host, strconv.Itoa(port))
	down := net.JoinHostPort(host, strconv.Itoa(nobody(t)))
	for _, tc := range []struct {
		name      string
		addresses []string
		network   string
		ok        bool
	}{
		{"up", []string{up}, "tcp4", true},
		{"one of two is up", []string{down, up}, "tcp4", true},
		{"down", []string{down}, "tcp4", false},
		{"wrong family", []string{up}, "tcp6", false},
		{"no port", []string{host}, "tcp4", false},
		{"none", nil, "tcp4", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := dialEgress(netip.Addr.IsLoopback, tc.addresses)(t.Context(), tc.network); (err == nil) != tc.ok {
				t.Errorf("got %v, want ok %t", err, tc.ok)
			}
		})
	}
	t.Run("up, and not public", func(t *testing.T) {
		// A pager of one's own inside the VPC.
		err := DialEgress(up)(t.Context(), "tcp4")
		if err == nil || !strings.Contains(err.Error(), up+" is at 127.0.0.1, a private address") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("ended context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := dialEgress(netip.Addr.IsLoopback, []string{up})(ctx, "tcp4"); err == nil {
			t.Error("no error")
		}
	})
}

func TestEgressBlame(t *testing.T) {
	broken := errors.New("no way out")
	timeouts := answer{attempts: 3, noConnection: true, reason: "timed out"}
	for _, tc := range []struct {
		name   string
		answer answer
		nilled bool
		err    error
		asked  bool
		blamed bool // the target
	}{
		{"all timed out, way out works", timeouts, false, nil, true, true},
		{"all timed out, way out broken", timeouts, false, broken, true, false},
		{"some connected", answer{attempts: 3}, false, broken, false, true},
		{"passed", answer{attempts: 1, passed: true, noConnection: true}, false, broken, false, true},
		{"none given", timeouts, true, nil, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := false
			egress := Egress(func(ctx context.Context, network string) error {
				asked = true
				if _, bounded := ctx.Deadline(); !bounded || network != "tcp6" {
					t.Errorf("asked over %s, bounded %t", network, bounded)
				}
				return tc.err
			})
			if tc.nilled {
				egress = nil
			}
			err := egress.blame(t.Context(), "GET http://[2001:db8::7]/", "ipv6", tc.answer)
			if asked != tc.asked {
				t.Errorf("asked %t, want %t", asked, tc.asked)
			}
			if tc.blamed {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, fault.Unavailable, "timed out, and our own way out over ipv6 seems broken too", "no way out")
		})
	}
}
