package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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
		{"icmp-host-prohibited, icmp-admin-prohibited", phaseConnect, dial(syscall.EHOSTUNREACH), "no route to host: a firewall or router rejects the connection", ""},
		{"icmp6-adm-prohibited", phaseConnect, dial(syscall.EACCES), "permission denied: a firewall or router rejects the connection", ""},
		{"icmp-proto-unreachable", phaseConnect, dial(syscall.ENOPROTOOPT), "protocol not available: a firewall or router rejects the connection", ""},
		{"no route to the host, later", phaseAnswer, dial(syscall.EHOSTUNREACH), "", incident.Blind},
		{"no address of our own", phaseConnect, dial(syscall.EADDRNOTAVAIL), "", incident.Blind},
		{"no such family", phaseConnect, dial(syscall.EAFNOSUPPORT), "", incident.Blind},
		{"network down", phaseConnect, dial(syscall.ENETDOWN), "", incident.Blind},
		{"not permitted", phaseConnect, dial(syscall.EPERM), "", incident.Blind},
		{"classified as the target's", phaseBody, fmt.Errorf("x: %w", failed("", "y")), "y", ""},
		{"classified as ours", phaseBody, fmt.Errorf("x: %w", blind("a")), "", incident.Blind},
		{"other", phaseConnect, syscall.EMFILE, "", incident.Blind},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &attempt{timeout: 3 * time.Second, at: tc.at}
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
		{"silent name of both families", Vantage{dial: silent, lookup: names("203.0.113.7", "2001:db8::7")}, "", "a.example", "timed out after 3s while connecting", true, "", ""},
		{"silent private target", Vantage{VPC: true, dial: silent}, "ipv4", "10.0.0.7", "timed out after 3s while connecting", false, "", ""},
		{"silent target in shared space", Vantage{VPC: true, dial: silent}, "ipv4", "100.64.0.7", "timed out after 3s while connecting", false, "", ""},
		{"silent loopback target", Vantage{dial: silent}, "ipv4", "127.0.0.1", "timed out after 3s while connecting", false, "", ""},
		{"name with silent private address", Vantage{VPC: true, dial: silent, lookup: names("10.0.0.7")}, "ipv4", "a.example", "timed out after 3s while connecting", false, "", ""},
		{"name with two silent addresses", Vantage{dial: silent, lookup: names("203.0.113.7", "::ffff:203.0.113.8")}, "ipv4", "a.example", "timed out after 3s while connecting", true, "", ""},
		{"private name without a VPC", Vantage{lookup: names("10.0.0.7", "10.0.0.8")}, "ipv4", "a.example", "", false, incident.Attention, "connect to a.example: 10.0.0.7 is a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address"},
		{"private IPv6 name without a VPC", Vantage{lookup: names("fd00::7")}, "ipv6", "a.example", "", false, incident.Attention, "fd00::7 is a private address"},
		{"private address without a VPC", Vantage{}, "ipv4", "192.168.0.7", "", false, incident.Attention, "192.168.0.7 is a private address"},
		{"shared space without a VPC", Vantage{}, "ipv4", "100.64.0.7", "", false, incident.Attention, "is a private address"},
		{"link-local without a VPC", Vantage{}, "ipv4", "169.254.169.254", "", false, incident.Attention, "is a loopback, link-local or multicast address"},
		{"name of this machine", Vantage{lookup: names("127.0.0.1", "::1")}, "", "a.example", "", false, incident.Attention, "connect to a.example: 127.0.0.1 is a loopback, link-local or multicast address, which leads to no other machine; correct the DNS record, or name another host"},
		{"name of this machine, in a VPC", Vantage{VPC: true, lookup: names("127.0.0.2")}, "ipv4", "a.example", "", false, incident.Attention, "127.0.0.2 is a loopback"},
		{"name of this machine, over IPv6", Vantage{lookup: names("127.0.0.1", "::1")}, "ipv6", "a.example", "", false, incident.Attention, "::1 is a loopback"},
		{"name of the metadata service", Vantage{VPC: true, lookup: names("169.254.169.254")}, "", "a.example", "", false, incident.Attention, "169.254.169.254 is a loopback, link-local"},
		{"name of a group", Vantage{VPC: true, lookup: names("ff02::1")}, "", "a.example", "", false, incident.Attention, "multicast"},
		{"name of nothing", Vantage{VPC: true, lookup: names("0.0.0.0")}, "", "a.example", "", false, incident.Attention, "0.0.0.0 is a loopback"},
		{"name of this machine, which is the instance", Vantage{own: addresses("127.0.0.1"), dial: silent, lookup: names("127.0.0.1")}, "", "a.example", "timed out after 3s while connecting", false, "", ""},
		{"name of this machine, EC2 does not say whose", Vantage{unasked: ours("EC2 refuses"), lookup: names("127.0.0.1")}, "", "a.example", "", false, incident.Blind, "EC2 refuses"},
		{"literal of the other family", Vantage{dial: silent}, "ipv6", "203.0.113.7", "", false, incident.Attention, "does not resolve to an ipv6 address"},
		{"no such name", Vantage{lookup: noNames(&net.DNSError{Err: "no such host", Name: "a", IsNotFound: true})}, "ipv4", "a.example", "", false, incident.Attention, "does not resolve to an ipv4 address"},
		{"no such family", Vantage{lookup: noNames(&net.AddrError{Err: "no suitable address found", Addr: "a"})}, "ipv6", "a.example", "", false, incident.Attention, "does not resolve to an ipv6 address"},
		{"no such name in both families", Vantage{lookup: noSuchName}, "", "a.example", "", false, incident.Attention, "look up a.example: it does not resolve to an address"},
		{"no such name in one family, name server in trouble", Vantage{lookup: func(_ context.Context, network, _ string) ([]netip.Addr, error) {
			if network == "ip4" {
				return noSuchName(t.Context(), "", "")
			}
			return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
		}}, "", "a.example", "", false, incident.Blind, "server misbehaving"},
		{"no addresses", Vantage{lookup: names()}, "ipv4", "a.example", "", false, incident.Attention, "does not resolve"},
		{"name server in trouble", Vantage{lookup: noNames(&net.DNSError{Err: "server misbehaving", Name: "a", IsTemporary: true})}, "ipv4", "a.example", "", false, incident.Blind, "server misbehaving"},
		{"name server timed out", Vantage{lookup: noNames(&net.DNSError{Err: "i/o timeout", Name: "a", IsTimeout: true})}, "ipv4", "a.example", "", false, incident.Blind, "name servers did not answer"},
		{"name server slow", Vantage{lookup: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, "ipv4", "a.example", "", false, incident.Blind, "name servers did not answer"},
		{"out of files", Vantage{dial: fails(syscall.EMFILE)}, "ipv4", "203.0.113.7", "", false, incident.Blind, "too many open files"},
		{"no route", Vantage{dial: fails(syscall.ENETUNREACH)}, "ipv4", "203.0.113.7", "", false, incident.Blind, "our own network has no route"},
		{"no route over IPv6, silent over IPv4", Vantage{dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "[") {
				return nil, syscall.ENETUNREACH
			}
			return silent(ctx, network, address)
		}, lookup: names("203.0.113.7", "2001:db8::7")}, "", "a.example", "timed out after 3s while connecting", true, "", ""},
		{"refused at one address, silent at another", Vantage{dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "203.0.113.8:80" {
				return nil, syscall.ECONNREFUSED
			}
			return silent(ctx, network, address)
		}, lookup: names("203.0.113.7", "203.0.113.8")}, "", "a.example", "connection refused", false, "", ""},
		{"refused", Vantage{dial: fails(syscall.ECONNREFUSED)}, "ipv4", "203.0.113.7", "connection refused", false, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				p := &attempt{timeout: 3 * time.Second}
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

func addresses(texts ...string) (addrs []netip.Addr) {
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}

// names is a name server that knows one name.
func names(addrs ...string) func(context.Context, string, string) ([]netip.Addr, error) {
	return func(context.Context, string, string) ([]netip.Addr, error) { return addresses(addrs...), nil }
}

func noSuchName(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// network is addresses that answer, refuse, or are silent.
type network struct {
	answers, refuses []string
	mu               sync.Mutex
	dialled          []string
	open             []net.Conn
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	n.mu.Lock()
	n.dialled = append(n.dialled, host)
	n.mu.Unlock()
	switch {
	case slices.Contains(n.answers, host):
		here, there := net.Pipe()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open = append(n.open, here, there)
		return here, nil
	case slices.Contains(n.refuses, host):
		return nil, syscall.ECONNREFUSED
	}
	return silent(ctx, network, address)
}

func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.open {
		_ = c.Close()
	}
}

func TestConnectTriesEveryAddress(t *testing.T) {
	slowIPv6 := func(ctx context.Context, network, _ string) ([]netip.Addr, error) {
		if network == "ip4" {
			return addresses("203.0.113.7"), nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	fifty := []string{}
	for n := range 50 {
		fifty = append(fifty, fmt.Sprintf("203.0.113.%d", n))
	}
	for _, tc := range []struct {
		name    string
		vantage Vantage
		network *network
		family  string
		tried   []string
		remote  string
		took    time.Duration
	}{
		{"the fourth answers, the others are silent", Vantage{lookup: names("203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4")}, &network{answers: []string{"203.0.113.4"}}, "ipv4", []string{"203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"}, "203.0.113.4", 750 * time.Millisecond},
		{"the fourth answers, the others refuse", Vantage{lookup: names("203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4")}, &network{answers: []string{"203.0.113.4"}, refuses: []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"}}, "", []string{"203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"}, "203.0.113.4", 0},
		{"IPv6 is silent", Vantage{lookup: names("2001:db8::7", "203.0.113.7")}, &network{answers: []string{"203.0.113.7"}}, "", []string{"203.0.113.7"}, "203.0.113.7", 0},
		{"IPv4 is silent", Vantage{lookup: names("203.0.113.7", "203.0.113.8", "2001:db8::7", "2001:db8::8")}, &network{answers: []string{"2001:db8::8"}}, "", []string{"203.0.113.7", "2001:db8::7", "203.0.113.8", "2001:db8::8"}, "2001:db8::8", 750 * time.Millisecond},
		{"IPv4 is silent, and wanted", Vantage{lookup: names("203.0.113.7", "2001:db8::7")}, &network{answers: []string{"2001:db8::7"}}, "ipv4", []string{"203.0.113.7"}, "", 3 * time.Second},
		{"the name server is silent about IPv6", Vantage{lookup: slowIPv6}, &network{answers: []string{"203.0.113.7"}}, "", []string{"203.0.113.7"}, "203.0.113.7", familyDelay},
		{"the instance's own address alone", Vantage{own: addresses("10.0.0.7", "203.0.113.2"), lookup: names("203.0.113.1", "203.0.113.2", "203.0.113.3")}, &network{answers: []string{"203.0.113.1", "203.0.113.3"}}, "", []string{"203.0.113.2"}, "", 3 * time.Second},
		{"outside a VPC no private address", Vantage{lookup: names("10.0.0.7", "172.16.0.7", "127.0.0.1", "203.0.113.7")}, &network{answers: []string{"10.0.0.7", "203.0.113.7"}}, "ipv4", []string{"203.0.113.7"}, "203.0.113.7", 0},
		{"too many, each of them silent", Vantage{lookup: names(fifty...)}, &network{}, "ipv4", fifty[:maxAddresses], "", 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer tc.network.close()
				tc.vantage.dial = tc.network.dial
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				p, start := new(attempt), time.Now()
				c := tc.vantage.connect(ctx, p, tc.family, "a.example", "80")
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				synctest.Wait()
				if diff := cmp.Diff(tc.tried, tc.network.dialled); diff != "" {
					t.Errorf("dialled: %s", diff)
				}
				if (c == nil) != (tc.remote != "") || c == nil && !slices.Equal(p.remotes, addresses(tc.remote)) || c != nil && !slices.Equal(p.remotes, addresses(tc.tried...)) {
					t.Errorf("got %v from %v, want %s", c, p.remotes, tc.remote)
				}
			})
		})
	}
}

// Two answer at about the same time: one wins, and the other is closed.
func TestConnectClosesWhatItDoesNotUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []net.Conn
		var mu sync.Mutex
		w := Vantage{
			lookup: names("203.0.113.7", "203.0.113.8"),
			dial: func(_ context.Context, _, address string) (net.Conn, error) {
				delay := map[string]time.Duration{"203.0.113.7:80": time.Second, "203.0.113.8:80": 2 * time.Second}[address]
				time.Sleep(delay) // it does not hear that another one has won
				here, there := net.Pipe()
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, there)
				return here, nil
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		p := new(attempt)
		if c := w.connect(ctx, p, "", "a.example", "80"); c != nil || !slices.Equal(p.remotes, addresses("203.0.113.7")) {
			t.Fatalf("got %v from %v", c, p.remotes)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for n, wantEOF := range []bool{false, true} {
			_ = ends[n].SetReadDeadline(time.Now().Add(time.Second))
			if _, err := ends[n].Read(make([]byte, 1)); errors.Is(err, io.EOF) != wantEOF {
				t.Errorf("connection %d: %v", n, err)
			}
		}
		p.close()
	})
}

// A name that leads to other machines: what they answer is marked, and no more is
// said about the instance than its own addresses allow.
func TestNameLeadsElsewhere(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(web.Close)
	const own, other = "203.0.113.7", "198.51.100.4"
	for _, tc := range []struct {
		name      string
		describe  DescribeInstances
		leadsTo   []string
		answers   string
		outcome   incident.Outcome
		elsewhere bool
		words     string
	}{
		{"to the instance", at(own), []string{own}, own, incident.Passed, false, "got status 200"},
		{"to another, after a DNS failover", at(own), []string{other}, other, incident.Passed, true, "got status 200 (answered by " + other + ", which is not the instance)"},
		{"to both, the instance is dead", at(own), []string{other, own}, other, incident.Failed, false, "connection refused"},
		{"to both, the other is dead", at(own), []string{other, own}, own, incident.Passed, false, "got status 200"},
		{"to another, which is dead", at(own), []string{other}, own, incident.Failed, true, "connection refused (asked " + other + ", which is not the instance)"},
		{"to another, as far as EC2 says", refuses("RequestLimitExceeded"), []string{other}, other, incident.Passed, false, "got status 200"},
		{"to this machine", at(own), []string{"127.0.0.1", "::1"}, "127.0.0.1", incident.Unknown, false, "127.0.0.1 is a loopback"},
		{"to this machine, which is the instance", at("127.0.0.1"), []string{"127.0.0.1", "::1"}, "127.0.0.1", incident.Passed, false, "got status 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := Vantage{DescribeInstances: tc.describe, lookup: names(tc.leadsTo...), dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if address != tc.answers+":80" {
					return nil, syscall.ECONNREFUSED
				}
				return new(net.Dialer).DialContext(ctx, network, web.Listener.Addr().String())
			}}
			s := incident.DefaultURLSettings()
			s.Address, s.Attempts = "http://app.example.com/", 1
			f := v.URL(t.Context(), instance, s)
			if f.Outcome != tc.outcome || f.Elsewhere != tc.elsewhere || !strings.Contains(f.Reason, tc.words) {
				t.Errorf("got %+v, want %s, elsewhere %t, %q", f, tc.outcome, tc.elsewhere, tc.words)
			}
		})
	}
}

// A name in letters of another script, which the settings take.
func TestNameInUnicode(t *testing.T) {
	var host string
	web := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host = r.Host }))
	t.Cleanup(web.Close)
	var asked []string
	v := Vantage{
		DescribeInstances: at("203.0.113.7"),
		lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			asked = append(asked, host)
			return addresses("203.0.113.7"), nil
		},
		dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, web.Listener.Addr().String())
		},
	}
	web.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName != "xn--bcher-kva.example" {
			t.Errorf("the server name is %q", hello.ServerName)
		}
		return nil, nil
	}
	s := incident.DefaultURLSettings()
	s.Address, s.AddressFamily, s.VerifyCertificate = "https://bücher.example/", incident.FamilyIPv4, false
	const want = "xn--bcher-kva.example"
	if f := v.URL(t.Context(), instance, s); f.Outcome != incident.Passed || host != want || !slices.Equal(asked, []string{want}) {
		t.Errorf("got %+v of the host %q, asked for %v", f, host, asked)
	}
}
