package checks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"
)

// probeURL asks what an address leads to, and 203.0.113.7 where that is a name.
func probeURL(address string) incident.Probe {
	s := incident.DefaultURLSettings()
	s.Address, s.Private, s.LoadBalancer, s.BodyPattern = address, true, true, "["
	s.SecretHeaders = map[string]string{"X-Key": "/a"}
	u, _ := url.Parse(address)
	return incident.Probe{Check: incident.CheckURL, Address: literal(u.Hostname()), URL: &s}
}

func probeSSH(host string, port int) incident.Probe {
	s := incident.DefaultSSHSettings()
	s.Host, s.Port, s.Private, s.HostKeyFingerprint = host, port, true, "SHA256:other"
	return incident.Probe{Check: incident.CheckSSH, Address: literal(host), SSH: &s}
}

func literal(host string) string {
	if _, err := netip.ParseAddr(host); err != nil {
		return "203.0.113.7"
	}
	return host
}

// A vantage that may not ask EC2, SSM, or a private address.
func TestProbe(t *testing.T) {
	var logins atomic.Int32
	host, sshPort := listen(t, sshServer(&logins, nil, newHostKeys()(t).ed25519))
	_, closes := listen(t, func(conn net.Conn) { _ = conn.Close() })
	_, resets := listen(t, func(conn net.Conn) { reset(t, conn) })
	asked := 0
	_, web, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" {
			t.Error("sent a secret")
		}
		if asked++; r.URL.Path == "/away" {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	local := func(port int) string { return "http://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/" }
	for _, tc := range []struct {
		name     string
		probe    incident.Probe
		answered bool
		outcome  incident.Outcome
		kind     incident.Kind
		address  string
	}{
		{"URL", probeURL(web.URL), true, incident.Unknown, incident.Attention, ""},
		{"URL redirects", probeURL(web.URL + "/away"), true, incident.Unknown, incident.Attention, ""},
		{"URL with a certificate for another name", probeURL(secure.URL), true, incident.Unknown, incident.Attention, ""},
		{"URL refuses", probeURL(local(nobody(t))), false, incident.Failed, "", host},
		{"URL closes", probeURL(local(closes)), false, incident.Failed, "", host},
		{"SSH with another key", probeSSH(host, sshPort), true, incident.Passed, "", host},
		{"SSH closes", probeSSH(host, closes), false, incident.Unknown, incident.Busy, ""},
		{"SSH resets", probeSSH(host, resets), false, incident.Failed, "", host},
		{"SSH refuses", probeSSH(host, nobody(t)), false, incident.Failed, "", host},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := (&Vantage{Local: true}).Probe(t.Context(), tc.probe)
			if f.Answered != tc.answered || f.Outcome != tc.outcome || f.Kind != tc.kind || f.Address != tc.address || f.Attempts != 1 || f.Check != tc.probe.Check {
				t.Errorf("got %+v", f)
			}
		})
	}
	if asked != 2 {
		t.Errorf("%d requests", asked)
	}
}

func TestProbeRefuses(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "[::1]", "10.0.0.7", "172.16.0.7", "192.168.0.7", "100.64.0.7", "169.254.169.254", "[fe80::1]", "[fd00::7]",
		"224.0.0.1", "[ff02::1]", "0.0.0.0", "[::]", "255.255.255.255", "[::ffff:10.0.0.7]", "[2001:db8::7]",
	} {
		v := &Vantage{
			VPC:    true,
			lookup: names("10.0.0.7", "127.0.0.1", "fe80::1"),
			dial: func(_ context.Context, _, address string) (net.Conn, error) {
				t.Errorf("asked %s", address)
				return nil, errors.New("no")
			},
		}
		for _, p := range []incident.Probe{probeURL("http://" + host + "/"), probeSSH(strings.Trim(host, "[]"), 22)} {
			wantUnknown(t, v.Probe(t.Context(), p), incident.Attention, " is a ")
		}
	}
	// Whatever a name leads to there.
	v := &Vantage{lookup: names("10.0.0.7", "203.0.113.8", "127.0.0.1"), dial: func(_ context.Context, _, address string) (net.Conn, error) {
		if address != "203.0.113.7:80" {
			t.Errorf("asked %s", address)
		}
		return nil, syscall.ECONNREFUSED
	}}
	if f := v.Probe(t.Context(), probeURL("http://a.example/")); f.Outcome != incident.Failed || f.Address != "203.0.113.7" {
		t.Errorf("got %+v", f)
	}
}

// A silent target takes 4 s, and then the probe's own connectivity must be there.
func TestProbeProvesItsOwnConnectivity(t *testing.T) {
	for _, broken := range []error{nil, errors.New("no way out")} {
		synctest.Test(t, func(t *testing.T) {
			v := &Vantage{dial: silent, Egress: func(context.Context, string) error { return broken }}
			start := time.Now()
			f := v.Probe(t.Context(), probeSSH("203.0.113.7", 22))
			if time.Since(start) != 4*time.Second {
				t.Errorf("took %s", time.Since(start))
			}
			if broken != nil {
				wantUnknown(t, f, incident.Blind, "no way out")
			} else if f.Outcome != incident.Failed || f.Address != "203.0.113.7" {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestFindingAddress(t *testing.T) {
	public, private, own := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("127.0.0.1")
	down := failed(incident.NoConnection, "timed out")
	for _, tc := range []struct {
		name  string
		a     answer
		local bool
		want  string
	}{
		{"public", answer{cause: down, remotes: []netip.Addr{public}}, false, "203.0.113.7"},
		{"the public one of two", answer{cause: down, remotes: []netip.Addr{private, public}}, false, "203.0.113.7"},
		{"private", answer{cause: down, remotes: []netip.Addr{private}}, false, ""},
		{"loopback", answer{cause: down, remotes: []netip.Addr{own}}, false, ""},
		{"loopback on the local AWS", answer{cause: down, remotes: []netip.Addr{own}}, true, "127.0.0.1"},
		{"private on the local AWS", answer{cause: down, remotes: []netip.Addr{private}}, true, ""},
		{"a byte came", answer{cause: down, answered: true, remotes: []netip.Addr{public}}, false, ""},
		{"passed", answer{remotes: []netip.Addr{public}}, false, "203.0.113.7"},
		{"IPv6", answer{cause: down, remotes: []netip.Addr{netip.MustParseAddr("2001:db8::7"), public}}, false, "203.0.113.7"},
		{"unknown", answer{cause: busy("full"), remotes: []netip.Addr{public}}, false, ""},
		{"nobody was asked", answer{cause: down}, false, ""},
		{"through a load balancer", answer{cause: &cause{outcome: incident.Failed, status: 502}, answered: true, remotes: []netip.Addr{public}}.throughLoadBalancer(), false, ""},
	} {
		f := question{public: (&Vantage{Local: tc.local}).public}.finding(tc.a)
		if f.Address != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, f.Address, tc.want)
		}
		if f = elsewhere(f, "198.51.100.4"); f.Address != "" {
			t.Errorf("%s, elsewhere: %q", tc.name, f.Address)
		}
	}
}
