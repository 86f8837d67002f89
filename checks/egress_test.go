package checks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"firstline/internal/incident"
)

func TestDialEgress(t *testing.T) {
	host, port := listen(t, func(net.Conn) {})
	up := net.JoinHostPort(host, strconv.Itoa(port))
	down := net.JoinHostPort(host, strconv.Itoa(nobody(t)))
	none := func(netip.Addr) bool { return false }
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
			if err := dialEgress(none, tc.addresses)(t.Context(), tc.network); (err == nil) != tc.ok {
				t.Errorf("got %v, want ok %t", err, tc.ok)
			}
		})
	}
	// Slack and most pagers have no IPv6.
	t.Run("one of two over IPv6", func(t *testing.T) {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp6", "[::1]:0")
		if err != nil {
			t.Skip("this machine has no IPv6: ", err)
		}
		defer func() { _ = l.Close() }()
		six := dialEgress(none, []string{up, l.Addr().String()})
		if err := six(t.Context(), "tcp6"); err != nil {
			t.Error(err)
		}
		_ = l.Close()
		if err := six(t.Context(), "tcp6"); err == nil {
			t.Error("an answer over IPv4 proves nothing about IPv6")
		}
	})
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
		if err := dialEgress(none, []string{up})(ctx, "tcp4"); err == nil {
			t.Error("no error")
		}
	})
}

func TestEgressConfirm(t *testing.T) {
	broken := errors.New("no way out")
	unreached := func(remotes ...string) answer {
		a := answer{attempts: 3, cause: failed(incident.NoConnection, "timed out")}
		for _, r := range remotes {
			a.remotes = append(a.remotes, netip.MustParseAddr(r))
		}
		return a
	}
	timeouts := unreached("203.0.113.7")
	answered := timeouts
	answered.answered = true
	for _, tc := range []struct {
		name   string
		answer answer
		none   bool
		err    error
		asked  string
		blind  string
	}{
		{"all timed out, connectivity works", timeouts, false, nil, "tcp4", ""},
		{"all timed out, connectivity broken", timeouts, false, broken, "tcp4", "IPv4"},
		{"all timed out over IPv6", unreached("2001:db8::7"), false, broken, "tcp6", "IPv6"},
		{"all timed out over both", unreached("203.0.113.7", "2001:db8::7"), false, broken, "tcp", "IPv4 and IPv6"},
		{"one answered", answered, false, broken, "", ""},
		{"some connected", answer{attempts: 3, cause: failed(incident.Silent, "timed out")}, false, broken, "", ""},
		{"passed", answer{attempts: 1}, false, broken, "", ""},
		{"none given", timeouts, true, nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := ""
			egress := Egress(func(_ context.Context, network string) error {
				asked = network
				return tc.err
			})
			if tc.none {
				egress = nil
			}
			a := egress.confirm(t.Context(), tc.answer)
			if asked != tc.asked {
				t.Errorf("asked over %q, want %q", asked, tc.asked)
			}
			if tc.blind == "" {
				if a.cause != tc.answer.cause {
					t.Errorf("got %+v", a.cause)
				}
				return
			}
			f := question{}.finding(a)
			wantUnknown(t, f, incident.Blind, "timed out, and our own connectivity over "+tc.blind+" seems broken too", "no way out")
			if f.Connection != incident.NoConnection {
				t.Errorf("connection %q", f.Connection)
			}
		})
	}
}
