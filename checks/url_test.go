package checks

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
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

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// patient asks once and can wait: for peers that answer. hasty asks twice and
// can't: for peers that don't.
func patient(set ...func(*incident.URLSettings)) incident.URLSettings {
	s := incident.DefaultURLSettings()
	s.TimeoutSeconds, s.Attempts, s.IntervalSeconds = 20, 1, 0
	for _, f := range set {
		f(&s)
	}
	return s
}

func hasty(set ...func(*incident.URLSettings)) incident.URLSettings {
	s := patient(set...)
	s.TimeoutSeconds, s.Attempts = 0.2, 2
	return s
}

// serve starts a web server on loopback and returns the URL check and settings
// that ask it by the instance's address.
func serve(t *testing.T, h http.HandlerFunc) (*Vantage, *httptest.Server, func(*incident.URLSettings)) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return &Vantage{DescribeInstances: at("127.0.0.1")}, server, func(s *incident.URLSettings) { s.Port = portNumber(t, server.URL) }
}

func portNumber(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestURLAnswers(t *testing.T) {
	big := strings.Repeat("x", maxBody)
	mux := http.NewServeMux()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	mux.HandleFunc("/ok", body("all is well"))
	mux.HandleFunc("/204", status(204))
	mux.HandleFunc("/404", status(404))
	mux.HandleFunc("/502", status(502))
	mux.HandleFunc("/big", body(big+"needle"))
	mux.HandleFunc("/fits", body(big[:maxBody-6]+"needle"))
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		//nolint:gosec // no browser reads it
		_, _ = io.WriteString(w, r.Method+" "+r.Host+" "+r.URL.RequestURI()+" "+r.Header.Get("User-Agent")+" "+r.Header.Get("X-A"))
	})
	mux.Handle("/moved", http.RedirectHandler("/ok?geheim=1", http.StatusFound))
	mux.Handle("/moved-to-502", http.RedirectHandler("/502?geheim=1", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.HandleFunc("/ftp", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "ftp://joe:geheim@a/")
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/nowhere", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://a b/?geheim")
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/big-header", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Big", big+big)
	})
	c, server, here := serve(t, mux.ServeHTTP)
	base := "GET " + server.URL

	for _, tc := range []struct {
		name   string
		set    func(*incident.URLSettings)
		passed bool
		reason string
	}{
		{"2xx", func(s *incident.URLSettings) { s.Path = "/ok" }, true, base + "/ok: got status 200"},
		{"empty", func(s *incident.URLSettings) { s.Path = "/204" }, true, base + "/204: got status 204"},
		{"502", func(s *incident.URLSettings) { s.Path = "/502" }, false, base + "/502: got status 502, want 200-299"},
		{"502 with a query", func(s *incident.URLSettings) { s.Path = "/502?key=geheim" }, false, base + "/502: got status 502, want 200-299"},
		{"404 wanted", func(s *incident.URLSettings) { s.Path, s.Status = "/404", []string{"401", "404"} }, true, base + "/404: got status 404"},
		{"matches", func(s *incident.URLSettings) { s.Path, s.BodyPattern = "/ok", "^all .* well$" }, true, base + "/ok: got status 200"},
		{"does not match", func(s *incident.URLSettings) { s.Path, s.BodyPattern = "/ok", "ill" }, false, base + `/ok: the body (11 bytes read) does not match "ill"`},
		{"matches at the end of the first MiB", func(s *incident.URLSettings) { s.Path, s.BodyPattern = "/fits", "needle$" }, true, base + "/fits: got status 200"},
		{"would match beyond the first MiB", func(s *incident.URLSettings) { s.Path, s.BodyPattern = "/big", "needle" }, false, base + `/big: the body (1048576 bytes read) does not match "needle"`},
		{"request as set", func(s *incident.URLSettings) {
			s.Path, s.Method, s.Headers = "/echo?a=b", "POST", map[string]string{"x-a": "y", "user-agent": "me", "host": "app.example.com"}
			s.BodyPattern = `^POST app\.example\.com /echo\?a=b me y$`
		}, true, "POST " + server.URL + "/echo: got status 200"},
		{"HEAD", func(s *incident.URLSettings) { s.Path, s.Method = "/ok", "HEAD" }, true, "HEAD " + server.URL + "/ok: got status 200"},
		{"redirect followed", func(s *incident.URLSettings) { s.Path = "/moved" }, true, base + "/moved: redirected to " + server.URL + "/ok: got status 200"},
		{"redirect to a failure", func(s *incident.URLSettings) { s.Path = "/moved-to-502" }, false, base + "/moved-to-502: redirected to " + server.URL + "/502: got status 502, want 200-299"},
		{"redirect wanted", func(s *incident.URLSettings) {
			s.Path, s.FollowRedirects, s.Status = "/moved", false, []string{"302"}
		}, true, base + "/moved: got status 302"},
		{"endless head", func(s *incident.URLSettings) { s.Path = "/big-header" }, false, base + "/big-header: the head of the answer is longer than 1 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := c.URL(t.Context(), instance, patient(here, tc.set))
			wantFinding(t, f, tc.passed, 1)
			if f.Reason != tc.reason {
				t.Errorf("reason %q, want %q", f.Reason, tc.reason)
			}
			if f.Check != "url" || strings.Contains(f.Reason, "geheim") {
				t.Errorf("got %+v", f)
			}
		})
	}

	t.Run("a status that is none", func(t *testing.T) {
		f := c.URL(t.Context(), instance, patient(here, func(s *incident.URLSettings) { s.Path, s.Status = "/ok", []string{"2xx"} }))
		wantUnknown(t, f, incident.Attention, "got status 200, want 2xx")
	})

	// Whoever redirects is alive, and where it redirects to is configuration: a
	// reboot changes nothing about it.
	for path, words := range map[string]string{
		"/loop":    base + "/loop: redirected to " + server.URL + "/loop: redirect: gave up after 10 of them",
		"/ftp":     base + "/ftp: redirected to ftp://a/: redirect: it leads to neither http nor https",
		"/nowhere": base + "/nowhere: redirect: it leads to something that is not a URL",
	} {
		t.Run("redirect "+path, func(t *testing.T) {
			f := c.URL(t.Context(), instance, patient(here, func(s *incident.URLSettings) { s.Path = path }))
			wantUnknown(t, f, incident.Attention, words, "name the final address in url.address")
			if strings.Contains(f.Reason, "geheim") {
				t.Errorf("%q holds a secret", f.Reason)
			}
		})
	}

	t.Run("explicit address", func(t *testing.T) {
		f := (&Vantage{DescribeInstances: at("127.0.0.1")}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Address = server.URL + "/502?key=geheim" }))
		wantFinding(t, f, false, 1)
		if want := base + "/502: got status 502, want 200-299"; f.Reason != want {
			t.Errorf("reason %q, want %q", f.Reason, want)
		}
	})
	t.Run("long path", func(t *testing.T) {
		f := c.URL(t.Context(), instance, patient(here, func(s *incident.URLSettings) { s.Path = "/404/" + strings.Repeat("é", 1000) }))
		wantUnknown(t, f, incident.Attention, "…: got status 404, want 200-299")
	})
	t.Run("no proxy", func(t *testing.T) {
		t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
		t.Setenv("http_proxy", "http://127.0.0.1:1")
		f := (&Vantage{DescribeInstances: at("127.0.0.1")}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Address = server.URL + "/ok" }))
		wantFinding(t, f, true, 1)
	})
}

func TestURLAttempts(t *testing.T) {
	var asked atomic.Int32
	c, _, here := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := asked.Add(1); n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if !r.Close {
			t.Error("the connection is kept for the next attempt")
		}
	})
	f := c.URL(t.Context(), instance, patient(here, func(s *incident.URLSettings) { s.Attempts, s.IntervalSeconds = 3, 0.001 }))
	wantFinding(t, f, true, 3, "got status 200")
}

func TestURLIPv6(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on this machine: ", err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	_ = server.Listener.Close() // ours takes its place
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	port := portNumber(t, server.URL)
	six := func(s *incident.URLSettings) { s.AddressFamily, s.Port = "ipv6", port }

	c := &Vantage{DescribeInstances: describes(types.Instance{State: running(), Ipv6Address: new("::1")})}
	f := c.URL(t.Context(), instance, patient(six))
	wantFinding(t, f, true, 1, "GET http://[::1]:"+strconv.Itoa(port)+"/: got status 200")

	c = &Vantage{DescribeInstances: at("::1")}
	f = c.URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Address, s.AddressFamily = server.URL, "ipv6" }))
	wantFinding(t, f, true, 1)

	c = &Vantage{DescribeInstances: at("127.0.0.1")}
	f = c.URL(t.Context(), instance, patient(six))
	wantUnknown(t, f, incident.Attention, "no IPv6 address")
}

// The instance's address stands in a URL as it must, with and without a port.
func TestURLTarget(t *testing.T) {
	c := &Vantage{DescribeInstances: describes(types.Instance{State: running(), PublicIpAddress: new("203.0.113.7"), Ipv6Address: new("2001:db8::7")})}
	for _, tc := range []struct {
		set  func(*incident.URLSettings)
		want string
	}{
		{func(*incident.URLSettings) {}, "http://203.0.113.7/"},
		{func(s *incident.URLSettings) { s.Scheme, s.Path = "https", "/a%2Fb?c=d" }, "https://203.0.113.7/a%2Fb?c=d"},
		{func(s *incident.URLSettings) { s.Port = 8080 }, "http://203.0.113.7:8080/"},
		{func(s *incident.URLSettings) { s.AddressFamily = "ipv6" }, "http://[2001:db8::7]/"},
		{func(s *incident.URLSettings) { s.AddressFamily, s.Port = "ipv6", 8080 }, "http://[2001:db8::7]:8080/"},
		{func(s *incident.URLSettings) { s.Path = "//other.example/a" }, "http://203.0.113.7//other.example/a"},
	} {
		got, failure := c.target(t.Context(), instance, patient(tc.set))
		if failure != nil || got.String() != tc.want {
			t.Errorf("got %v, %v, want %s", got, failure, tc.want)
		}
	}
}

func TestURLBadPeers(t *testing.T) {
	request := func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn)) // what it says is of no interest
	}
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			request(conn)
			_, _ = io.WriteString(conn, text)
		}
	}
	closing := func(serve func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) {
			serve(conn)
			_ = conn.Close()
		}
	}
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		slow  bool // the peer hangs, and the check must not
		want  string
	}{
		{"accepts and stays silent", func(net.Conn) {}, true, "timed out after 200ms before the answer came"},
		{"hangs in the status line", say("HTTP/1.1 2"), true, "timed out after 200ms before the answer came"},
		{"hangs in the header", say("HTTP/1.1 200 OK\r\nContent-"), true, "timed out after 200ms before the answer came"},
		{"hangs in the body", say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"), true, "timed out after 200ms in the middle of the body"},
		{"hangs in a chunk", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12"), true, "timed out after 200ms in the middle of the body"},
		{"closes at once", closing(func(net.Conn) {}), false, "connection "}, // closed, or reset if the request came first
		{"closes after the request", closing(request), false, "connection closed before the answer came"},
		{"closes in the body", closing(say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")), false, "connection closed in the middle of the body"},
		{"resets after the request", func(conn net.Conn) { request(conn); reset(t, conn) }, false, "connection reset before the answer came"},
		{"is no web server, begins like TLS", closing(say("\x15\x02\r\n")), false, "did not answer with valid HTTP"},
		{"is no web server", say("220 geheim ESMTP\r\n"), false, "did not answer with valid HTTP"},
		{"answers with nonsense", closing(say("HTTP/1.1 geheim\r\n\r\n")), false, "did not answer with valid HTTP"},
		{"answers with a bad chunk", closing(say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ngeheim\r\n")), false, "did not answer with valid HTTP"},
		{"wrong status needs no body", say("HTTP/1.1 500 geheim\r\nContent-Length: 9\r\n\r\n"), false, "got status 500, want 200-299"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := listen(t, tc.serve)
			c := &Vantage{DescribeInstances: at(host), Egress: func(context.Context, string) error {
				t.Error("asked for our own way out, though the target connected")
				return nil
			}}
			s := patient(func(s *incident.URLSettings) { s.Port, s.Attempts = port, 2 })
			if tc.slow {
				s.TimeoutSeconds = 0.2
			}
			f := c.URL(t.Context(), instance, s)
			wantFinding(t, f, false, 2, tc.want)
			if strings.Contains(f.Reason, "geheim") {
				t.Errorf("reason %q repeats what the target sent", f.Reason)
			}
			if silent := tc.name == "accepts and stays silent"; timedOut(f) != silent {
				t.Errorf("timed out %t, want %t", timedOut(f), silent)
			}
			if tc.slow && f.ElapsedMs < 400 {
				t.Errorf("took %d ms, want both attempts' 200", f.ElapsedMs)
			}
		})
	}
	t.Run("refuses", func(t *testing.T) {
		port := nobody(t)
		f := (&Vantage{DescribeInstances: at("127.0.0.1")}).URL(t.Context(), instance, hasty(func(s *incident.URLSettings) { s.Port = port }))
		wantFinding(t, f, false, 2, "GET http://127.0.0.1:"+strconv.Itoa(port)+"/: connection refused")
		if timedOut(f) {
			t.Error("counts as timed out")
		}
	})
}

// A redirect from https to http must not make the first server's TLS look like an
// answer to the second request.
func TestURLRedirectsFromHTTPS(t *testing.T) {
	dead := "http://127.0.0.1:" + strconv.Itoa(nobody(t)) + "/"
	server := serveTLS(t, nil, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, map[string]string{"/dead": dead, "/app": "app://open"}[r.URL.Path], http.StatusFound)
	})
	ask := func(path string) incident.Finding {
		return (&Vantage{DescribeInstances: at("127.0.0.1")}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) {
			s.Scheme, s.Port, s.Path, s.VerifyCertificate = "https", portNumber(t, server.URL), path, false
		}))
	}
	wantFinding(t, ask("/dead"), false, 1, "redirected to "+dead+": connection refused")
	wantUnknown(t, ask("/app"), incident.Attention, "redirected to app://open: redirect: it leads to neither http nor https")
}

// What comes before the answer, and what comes with a redirect, is not waited for.
func TestURLReadsNoMoreThanItNeeds(t *testing.T) {
	for name, answer := range map[string]string{
		"informational":           "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"redirect":                "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 1000000\r\n\r\nmoved",
		"more than the first MiB": "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + strings.Repeat("x", maxBody),
	} {
		t.Run(name, func(t *testing.T) {
			host, port := listen(t, func(conn net.Conn) {
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil && req.URL.Path == "/ok" {
					_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
					return
				}
				_, _ = io.WriteString(conn, answer)
			})
			f := (&Vantage{DescribeInstances: at(host)}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Port = port }))
			wantFinding(t, f, true, 1)
			if f.ElapsedMs > 10_000 {
				t.Errorf("took %d ms", f.ElapsedMs)
			}
		})
	}
}

func TestURLNetwork(t *testing.T) {
	fails := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	names := func(err error) func(context.Context, string, string) ([]netip.Addr, error) {
		return func(context.Context, string, string) ([]netip.Addr, error) { return nil, err }
	}
	works := Egress(func(context.Context, string) error { return nil })
	broken := Egress(func(context.Context, string) error { return errors.New("i/o timeout") })
	private := describes(types.Instance{State: running(), PrivateIpAddress: new("203.0.113.8")})
	for _, tc := range []struct {
		name   string
		check  Vantage
		set    func(*incident.URLSettings)
		failed string
		kind   incident.Kind
		words  string
	}{
		{"silent", Vantage{dial: silent}, nil, "GET http://203.0.113.7/: timed out after 3s while connecting", "", ""},
		{"silent, way out works", Vantage{dial: silent, Egress: works}, nil, "timed out after 3s while connecting", "", ""},
		{"silent, way out broken", Vantage{dial: silent, Egress: broken}, nil, "", incident.Blind, "our own connectivity over IPv4 seems broken"},
		{"silent, over TLS", Vantage{dial: silent, Egress: broken}, func(s *incident.URLSettings) { s.Scheme = "https" }, "", incident.Blind, "our own connectivity"},
		{"silent, private", Vantage{dial: silent, Egress: broken, DescribeInstances: private}, func(s *incident.URLSettings) { s.Private = true }, "timed out after 3s while connecting", "", ""},
		{"silent, at a private address", Vantage{VPC: true, dial: silent, Egress: broken, DescribeInstances: at("10.0.0.7")}, nil, "timed out after 3s while connecting", "", ""},
		{"at a private address, without a VPC", Vantage{DescribeInstances: at("10.0.0.7")}, nil, "", incident.Attention, "connect to 10.0.0.7: 10.0.0.7 is a private address, which a function outside a VPC does not reach; give the deployment a vpc or name a public address"},
		{"refused, way out broken", Vantage{dial: fails(syscall.ECONNREFUSED), Egress: broken}, nil, "connection refused", "", ""},
		{"no route", Vantage{dial: fails(syscall.ENETUNREACH)}, nil, "", incident.Blind, "our own network has no route"},
		{"no such name", Vantage{lookup: names(&net.DNSError{IsNotFound: true})}, func(s *incident.URLSettings) { s.Address = "http://a.example/" }, "", incident.Attention, "does not resolve"},
		{"name server in trouble", Vantage{lookup: names(&net.DNSError{IsTemporary: true, Err: "server misbehaving"})}, func(s *incident.URLSettings) { s.Address = "http://a.example/" }, "", incident.Blind, "server misbehaving"},
		{"instance unknown", Vantage{DescribeInstances: refuses("InvalidInstanceID.NotFound")}, nil, "", incident.Attention, "NotFound"},
		{"denied", Vantage{DescribeInstances: refuses("UnauthorizedOperation")}, nil, "", incident.Blind, ""},
		{"a pattern that is none", Vantage{}, func(s *incident.URLSettings) { s.BodyPattern = "a(" }, "", incident.Attention, "url.body_pattern"},
		{"an address that is none, with a secret", Vantage{}, func(s *incident.URLSettings) { s.Address = "http://a:secret" }, "", incident.Attention, "url.address: is not a URL"},
		{"an address without a host", Vantage{}, func(s *incident.URLSettings) { s.Address = "http:///health" }, "", incident.Attention, "url.address: is not a URL"},
		{"an address with a port and no host", Vantage{}, func(s *incident.URLSettings) { s.Address = "https://:8443/" }, "", incident.Attention, "url.address: is not a URL"},
		{"an address without a scheme", Vantage{}, func(s *incident.URLSettings) { s.Address = "app.example.com/health" }, "", incident.Attention, "url.address: is not a URL"},
		{"an address of another scheme", Vantage{}, func(s *incident.URLSettings) { s.Address = "ftp://app.example.com/" }, "", incident.Attention, "url.address: is not a URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tc.check.DescribeInstances == nil {
					tc.check.DescribeInstances = at("203.0.113.7")
				}
				s := incident.DefaultURLSettings()
				if tc.set != nil {
					tc.set(&s)
				}
				defaults := incident.DefaultSettings()
				ctx, cancel := context.WithTimeout(t.Context(), budget(&defaults, incident.CheckURL))
				defer cancel()
				f := tc.check.URL(ctx, instance, s)
				if tc.kind != "" {
					wantUnknown(t, f, tc.kind, tc.words)
					return
				}
				wantFinding(t, f, false, 3, tc.failed)
				if silent := strings.HasPrefix(tc.name, "silent"); timedOut(f) != silent {
					t.Errorf("timed out %t, want %t", timedOut(f), silent)
				}
			})
		})
	}
	t.Run("our own time", func(t *testing.T) {
		host, port := listen(t, func(net.Conn) {})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		s := hasty(func(s *incident.URLSettings) { s.Port = port })
		f := (&Vantage{DescribeInstances: at(host)}).URL(ctx, instance, s)
		wantUnknown(t, f, incident.Blind, "our own time is up", "so far: timed out after 200ms")
	})
}

// authority makes certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// certificate returns one for a name or an address that ends at end.
func (a *authority) certificate(t *testing.T, name string, end time.Time) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

func serveTLS(t *testing.T, config *tls.Config, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestURLCertificates(t *testing.T) {
	ca := newAuthority(t)
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	byAddress := with(ca.certificate(t, "127.0.0.1", soon))
	byName := with(ca.certificate(t, "app.example.com", soon))
	expired := with(ca.certificate(t, "127.0.0.1", past))
	old := with(ca.certificate(t, "127.0.0.1", soon))
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	mutual := with(ca.certificate(t, "127.0.0.1", soon))
	mutual.ClientAuth = tls.RequireAnyClientCert
	sick := with(ca.certificate(t, "127.0.0.1", soon))
	sick.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("out of order") }
	// As Caddy and autocert do it: no certificate for a name that they do not
	// know, nor for none.
	choosy := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName != "app.example.com" {
			return nil, errors.New("no certificate for " + hello.ServerName)
		}
		return byName, nil
	}}

	for _, tc := range []struct {
		name   string
		server *tls.Config
		roots  *x509.CertPool
		set    func(*incident.URLSettings)
		passed bool
		failed string
		words  string // of an InvalidInput error
	}{
		{"valid", byAddress, ca.pool, nil, true, "", ""},
		{"unknown authority", byAddress, nil, nil, false, "", "the certificate is not valid: x509: certificate signed by unknown authority"},
		{"unknown authority, not verified", byAddress, nil, func(s *incident.URLSettings) { s.VerifyCertificate = false }, true, "", ""},
		{"another name", byName, ca.pool, nil, false, "", "the certificate is not valid: x509: cannot validate certificate for 127.0.0.1"},
		{"server name", byName, ca.pool, func(s *incident.URLSettings) { s.ServerName = "app.example.com" }, true, "", ""},
		{"another server name", byName, ca.pool, func(s *incident.URLSettings) { s.ServerName = "b.example.com" }, false, "", "the certificate is not valid: x509: certificate is valid for app.example.com, not b.example.com"},
		{"expired", expired, ca.pool, nil, false, "", "the certificate is not valid: x509: certificate has expired"},
		{"expired, not verified", expired, ca.pool, func(s *incident.URLSettings) { s.VerifyCertificate = false }, true, "", ""},
		{"only old TLS", old, ca.pool, nil, true, "", ""},
		{"wants a certificate of ours", mutual, ca.pool, nil, false, "", "the server refuses: tls: certificate required"},
		{"sick, asked by name", sick, ca.pool, func(s *incident.URLSettings) { s.ServerName = "app.example.com" }, false, "the server ended the TLS handshake with an internal error", ""},
		{"choosy, asked by address", choosy, ca.pool, nil, false, "", "the server ended it with an internal error, as many do that get no server name (we send none, since 127.0.0.1 is an address); set url.server_name"},
		{"choosy, asked by address, not verified", choosy, nil, func(s *incident.URLSettings) { s.VerifyCertificate = false }, false, "", "set url.server_name"},
		{"choosy, asked with an address for a name", choosy, ca.pool, func(s *incident.URLSettings) { s.ServerName = "203.0.113.7" }, false, "", "since 203.0.113.7 is an address); set url.server_name"},
		{"choosy, asked by name", choosy, ca.pool, func(s *incident.URLSettings) { s.ServerName = "app.example.com" }, true, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked atomic.Int32
			server := serveTLS(t, tc.server.Clone(), func(http.ResponseWriter, *http.Request) { asked.Add(1) })
			c := &Vantage{DescribeInstances: at("127.0.0.1"), roots: tc.roots}
			s := patient(func(s *incident.URLSettings) { s.Scheme, s.Port, s.Attempts = "https", portNumber(t, server.URL), 2 })
			if tc.set != nil {
				tc.set(&s)
			}
			f := c.URL(t.Context(), instance, s)
			if tc.words != "" {
				wantUnknown(t, f, incident.Attention, "GET "+server.URL+"/", tc.words)
				if asked.Load() != 0 {
					t.Error("asked in spite of it")
				}
				return
			}
			wantFinding(t, f, tc.passed, 0, tc.failed)
		})
	}
}

func TestURLTLSBadPeers(t *testing.T) {
	hello := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) } // and leave the rest
	for _, tc := range []struct {
		name   string
		serve  func(net.Conn)
		slow   bool
		failed string
		words  string // of an InvalidInput error
	}{
		{"silent", func(net.Conn) {}, true, "timed out after 200ms in the TLS handshake", ""},
		{"closes", func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1<<16))
			_ = conn.Close()
		}, false, "connection closed in the TLS handshake", ""},
		{"resets", func(conn net.Conn) { hello(conn); reset(t, conn) }, false, "connection reset in the TLS handshake", ""},
		{"stalls in the handshake", func(conn net.Conn) {
			hello(conn)
			_, _ = conn.Write([]byte{22, 3, 3, 0, 99})
		}, true, "timed out after 200ms in the TLS handshake", ""},
		{"does not speak TLS", func(conn net.Conn) {
			hello(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}, false, "", "does not speak TLS on this port"},
		{"sends nonsense", func(conn net.Conn) {
			hello(conn)
			_, _ = conn.Write([]byte{22, 3, 3, 0, 4, 99, 0, 0, 0})
		}, false, "", "TLS handshake: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := listen(t, tc.serve)
			s := patient(func(s *incident.URLSettings) { s.Scheme, s.Port, s.Path, s.Attempts = "https", port, "/?a=geheim", 2 })
			if tc.slow {
				s.TimeoutSeconds = 0.2
			}
			f := (&Vantage{DescribeInstances: at(host)}).URL(t.Context(), instance, s)
			if strings.Contains(f.Reason, "geheim") {
				t.Errorf("reason %q holds the query string", f.Reason)
			}
			if tc.words != "" {
				kind := incident.Attention
				if tc.name == "sends nonsense" {
					kind = incident.Blind
				}
				wantUnknown(t, f, kind, tc.words)
				return
			}
			wantFinding(t, f, false, 2, tc.failed)
			if silent := tc.name == "silent"; timedOut(f) != silent {
				t.Errorf("timed out %t, want %t", timedOut(f), silent)
			}
		})
	}
}

func TestURLSecretHeaders(t *testing.T) {
	type seen struct{ auth, key, referer string }
	saw := func(r *http.Request) seen {
		return seen{r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), r.Header.Get("Referer")}
	}
	var atOther, atOwn atomic.Pointer[seen]
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := saw(r)
		atOther.Store(&s)
	}))
	t.Cleanup(other.Close)
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := saw(r)
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL+"/", http.StatusTemporaryRedirect)
		case "/home":
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		case "/":
			atOwn.Store(&s)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(own.Close)

	secrets := map[string]string{"/app/auth": "Bearer geheim\n", "/app/key": "geheim2", "/app/bad": "gehe\x00im", "/app/empty": "\n"}
	var readError error
	c := &Vantage{DescribeInstances: at("127.0.0.1"), Secret: func(ctx context.Context, parameter string) (string, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("reads without a limit")
		}
		return secrets[parameter], readError
	}}
	set := func(path string) incident.URLSettings {
		return patient(func(s *incident.URLSettings) {
			s.Port, s.Path = portNumber(t, own.URL), path
			s.SecretHeaders = map[string]string{"authorization": "/app/auth", "x-api-key": "/app/key"}
		})
	}
	all := seen{"Bearer geheim", "geheim2", ""}

	t.Run("sent", func(t *testing.T) {
		f := c.URL(t.Context(), instance, set("/"))
		wantFinding(t, f, true, 1)
		if got := *atOwn.Load(); got != all {
			t.Errorf("sent %+v, want %+v", got, all)
		}
	})
	t.Run("sent again to the same origin", func(t *testing.T) {
		f := c.URL(t.Context(), instance, set("/home?a=geheim"))
		wantFinding(t, f, true, 1)
		if got := *atOwn.Load(); got != all {
			t.Errorf("sent %+v, want %+v", got, all)
		}
	})
	t.Run("not sent elsewhere", func(t *testing.T) {
		// The other server has the same host: the port alone makes another
		// origin, which net/http would send them to.
		f := c.URL(t.Context(), instance, set("/away?a=geheim"))
		wantUnknown(t, f, incident.Attention, "the redirect leads to another origin")
		if got := atOther.Load(); got != nil {
			t.Errorf("sent %+v to another origin", got)
		}
		s := set("/away?a=geheim")
		s.SecretHeaders = nil
		f = c.URL(t.Context(), instance, s)
		wantFinding(t, f, true, 1)
		if got := *atOther.Load(); got != (seen{}) {
			t.Errorf("sent %+v to another origin", got)
		}
	})
	t.Run("not in an error", func(t *testing.T) {
		f := c.URL(t.Context(), instance, set("/401?a=geheim"))
		wantUnknown(t, f, incident.Attention, "got status 401: the target refuses what url.secret_headers sends")
		if strings.Contains(f.Reason, "geheim") {
			t.Errorf("reason %q", f.Reason)
		}
	})
	t.Run("401 is wanted", func(t *testing.T) {
		s := set("/401")
		s.Status = []string{"401"}
		f := c.URL(t.Context(), instance, s)
		wantFinding(t, f, true, 1)
	})
	for _, tc := range []struct {
		name, parameter string
		err             error
		kind            incident.Kind
	}{
		{"bad value", "/app/bad", nil, incident.Attention},
		{"empty value", "/app/empty", nil, incident.Attention},
		{"denied", "/app/auth", &smithy.GenericAPIError{Code: "AccessDeniedException"}, incident.Blind},
		{"with a kind", "/app/auth", fault.New(fault.InvalidInput, "read", "a placeholder"), incident.Attention},
		{"no answer", "/app/auth", errors.New("connection lost"), incident.Blind},
	} {
		t.Run(tc.name, func(t *testing.T) {
			readError = tc.err
			s := set("/")
			s.SecretHeaders = map[string]string{"Authorization": tc.parameter}
			f := c.URL(t.Context(), instance, s)
			wantUnknown(t, f, tc.kind, "url.secret_headers.Authorization", tc.parameter)
			if strings.Contains(f.Reason, "geheim") || strings.Contains(f.Reason, "gehe\x00im") {
				t.Errorf("%q holds the secret", f.Reason)
			}
		})
	}
}

// The server name of the settings is about the target, not about another host
// that it redirects to.
func TestURLServerNameAndRedirects(t *testing.T) {
	ca := newAuthority(t)
	soon := time.Now().Add(time.Hour)
	config := func(name string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, name, soon)}}
	}
	other := serveTLS(t, config("other.example.com"), func(http.ResponseWriter, *http.Request) {})
	otherURL := "https://other.example.com:" + strconv.Itoa(portNumber(t, other.URL)) + "/"
	own := serveTLS(t, config("app.example.com"), func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, otherURL, http.StatusFound)
	})
	c := &Vantage{DescribeInstances: at("127.0.0.1"), roots: ca.pool, lookup: func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	f := c.URL(t.Context(), instance, patient(func(s *incident.URLSettings) {
		s.Scheme, s.Port, s.ServerName = "https", portNumber(t, own.URL), "app.example.com"
	}))
	wantFinding(t, f, true, 1, "redirected to "+otherURL)
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"https://joe:geheim@a.example:8443/b%2Fc?d=geheim#geheim": "https://a.example:8443/b%2Fc",
		"http://[2001:db8::1]/":                                   "http://[2001:db8::1]/",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(u); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMayFollow(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		want     bool
	}{
		{"http://a.example/", "https://A.example/", true},
		{"http://a.example:80/", "https://a.example:443/", true},
		{"http://a.example/", "https://www.a.example/", false},
		{"http://a.example/", "https://a.example:8443/", false},
		{"http://a.example:8080/", "https://a.example/", false},
		{"http://a.example:443/", "https://a.example/", false},
		{"http://a.example/x", "http://A.example:80/y", true},
		{"https://a.example/", "https://a.example:443/", true},
		{"https://a.example/", "http://a.example/", false},
		{"https://a.example/", "https://a.example:8443/", false},
		{"https://a.example/", "https://b.a.example/", false},
	} {
		from, errFrom := url.Parse(tc.from)
		to, errTo := url.Parse(tc.to)
		if errFrom != nil || errTo != nil {
			t.Fatal(errFrom, errTo)
		}
		if got := mayFollow(from, to); got != tc.want {
			t.Errorf("from %s to %s: %t, want %t", tc.from, tc.to, got, tc.want)
		}
	}
}

// A name is looked up by the system where no test stands in for it.
func TestURLName(t *testing.T) {
	_, server, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	address := "http://localhost:" + strconv.Itoa(portNumber(t, server.URL)) + "/"
	f := (&Vantage{DescribeInstances: at("127.0.0.1")}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Address = address }))
	wantFinding(t, f, true, 1, "GET "+address+": got status 200")
}

// A secret is read for every check: it may have been rotated while the function
// was warm.
func TestURLRotatedSecret(t *testing.T) {
	secret := "old"
	c, _, here := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "new" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	c.Secret = func(context.Context, string) (string, error) { return secret, nil }
	s := patient(here, func(s *incident.URLSettings) {
		s.Attempts, s.SecretHeaders = 3, map[string]string{"X-Key": "/app/key"}
	})
	f := c.URL(t.Context(), instance, s)
	wantUnknown(t, f, incident.Attention, "got status 403: the target refuses what url.secret_headers sends")
	if f.Attempts != 1 {
		t.Errorf("%d attempts with a secret that is refused, want 1", f.Attempts)
	}
	secret = "new"
	f = c.URL(t.Context(), instance, s)
	wantFinding(t, f, true, 1)
}

// world is a few hosts by name, each on its usual ports, all on loopback.
type world struct {
	addresses map[string]string // of names
	servers   map[string]string // "address:port" to what listens for it
}

func (w world) look(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if w.addresses[host] == "" {
		return nil, &net.DNSError{IsNotFound: true, Name: host}
	}
	return []netip.Addr{netip.MustParseAddr(w.addresses[host])}, nil
}

func (w world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if w.servers[address] == "" {
		return nil, syscall.ECONNREFUSED
	}
	return new(net.Dialer).DialContext(ctx, network, w.servers[address])
}

// Web servers send whoever comes without TLS to https on the same host, and
// that must not cost the secret headers; to any other origin they do not go,
// and then a refusal is no wonder.
func TestURLSecretHeadersAndRedirects(t *testing.T) {
	ca := newAuthority(t)
	secure := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "app.example.com", time.Now().Add(time.Hour))}},
		func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "geheim" || r.Header.Get("X-Api-Key") != "geheim" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/home":
			if r.Header.Get("Authorization") != "" || r.Header.Get("X-Api-Key") != "" {
				t.Error("sent secrets that had been away")
			}
			w.WriteHeader(http.StatusForbidden)
		case r.Host == "other.example.com":
			http.Redirect(w, r, "http://app.example.com/home", http.StatusFound)
		case r.URL.Path == "/away":
			http.Redirect(w, r, "http://other.example.com/", http.StatusFound)
		default:
			http.Redirect(w, r, "https://app.example.com/", http.StatusMovedPermanently)
		}
	}))
	t.Cleanup(plain.Close)
	hosts := world{
		addresses: map[string]string{"app.example.com": "203.0.113.7", "other.example.com": "203.0.113.8"},
		servers: map[string]string{
			"203.0.113.7:80": plain.Listener.Addr().String(), "203.0.113.8:80": plain.Listener.Addr().String(),
			"203.0.113.7:8080": plain.Listener.Addr().String(), "203.0.113.7:443": secure.Listener.Addr().String(),
		},
	}
	c := &Vantage{DescribeInstances: at("203.0.113.7"), roots: ca.pool, lookup: hosts.look, dial: hosts.dial, Secret: func(context.Context, string) (string, error) {
		return "geheim", nil
	}}
	set := func(address string) incident.URLSettings {
		return patient(func(s *incident.URLSettings) {
			s.Address, s.SecretHeaders = address, map[string]string{"Authorization": "/a", "X-Api-Key": "/b"}
		})
	}
	t.Run("to https on the same host", func(t *testing.T) {
		f := c.URL(t.Context(), instance, set("http://app.example.com/"))
		wantFinding(t, f, true, 1, "redirected to https://app.example.com/: got status 200")
	})
	const words = "the redirect leads to another origin, which does not get url.secret_headers; name the final address"
	t.Run("to https on another port", func(t *testing.T) {
		// The server redirects to :8080 with TLS, which is not where we are.
		hosts.servers["203.0.113.7:8443"] = hosts.servers["203.0.113.7:443"]
		moved := httptest.NewServer(http.RedirectHandler("https://app.example.com:8443/", http.StatusFound))
		defer moved.Close()
		hosts.servers["203.0.113.7:8080"] = moved.Listener.Addr().String()
		f := c.URL(t.Context(), instance, set("http://app.example.com:8080/"))
		wantUnknown(t, f, incident.Attention, "redirected to https://app.example.com:8443/: "+words)
	})
	t.Run("away and home again", func(t *testing.T) {
		f := c.URL(t.Context(), instance, set("http://app.example.com/away"))
		wantUnknown(t, f, incident.Attention, "redirected to http://other.example.com/: "+words)
	})
}

// An instance that redirects is alive. What becomes of the request at another
// host is not its failure.
func TestURLFailureElsewhere(t *testing.T) {
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(sick.Close)
	const own, other = "203.0.113.7", "203.0.113.8"
	for _, tc := range []struct {
		name, location string
		set            func(*incident.URLSettings)
		failed         string
		kind           incident.Kind
		words          string
	}{
		{"another host is down", "http://sso.example.com:81/login?a=geheim", nil, "", incident.Attention, "redirected to http://sso.example.com:81/login: connection refused: that is sso.example.com, not the target"},
		{"another host is sick", "http://sso.example.com:8080/", nil, "", incident.Attention, "got status 502, want 200-299: that is sso.example.com"},
		{"another address is down", "http://" + other + ":81/", nil, "", incident.Attention, "that is " + other},
		{"a host that is not there", "http://gone.example.com/", nil, "", incident.Attention, "redirected to http://gone.example.com/: look up gone.example.com: it does not resolve"},
		{"a host on a private network", "http://inside.example.com/", nil, "", incident.Attention, "10.0.0.7 is a private address"},
		{"the target itself is sick", "http://" + own + ":8080/", nil, "redirected to http://" + own + ":8080/: got status 502", "", ""},
		{"the target's own name, down", "http://app.example.com:81/", nil, "redirected to http://app.example.com:81/: connection refused", "", ""},
		{"the target's own name, sick", "http://app.example.com:8080/", nil, "got status 502", "", ""},
		{"another name of a name", "http://app.example.com:8080/", func(s *incident.URLSettings) { s.Address = "http://example.com/" }, "", incident.Attention, "that is app.example.com, not the target"},
		{"the same name", "http://EXAMPLE.com:8080/", func(s *incident.URLSettings) { s.Address = "http://example.com/" }, "got status 502", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			front := httptest.NewServer(http.RedirectHandler(tc.location, http.StatusFound))
			defer front.Close()
			hosts := world{
				addresses: map[string]string{"example.com": own, "EXAMPLE.com": own, "app.example.com": own, "sso.example.com": other, "inside.example.com": "10.0.0.7"},
				servers: map[string]string{
					own + ":80": front.Listener.Addr().String(), own + ":8080": sick.Listener.Addr().String(), other + ":8080": sick.Listener.Addr().String(),
				},
			}
			s := patient(func(s *incident.URLSettings) { s.Attempts = 2 })
			if tc.set != nil {
				tc.set(&s)
			}
			f := (&Vantage{DescribeInstances: at(own), lookup: hosts.look, dial: hosts.dial}).URL(t.Context(), instance, s)
			if tc.kind != "" {
				wantUnknown(t, f, tc.kind, tc.words)
				if strings.Contains(f.Reason, "geheim") {
					t.Errorf("%q holds a query string", f.Reason)
				}
				return
			}
			wantFinding(t, f, false, 2, tc.failed)
		})
	}
}

// Who asks a TLS port without TLS is told so in many ways.
func TestURLWithoutTLSAtATLSPort(t *testing.T) {
	alert := func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn)) // what it says is of no interest
		_, _ = io.WriteString(conn, "\x15\x03\x01\x00\x02\x02\x16")
	}
	check := func(t *testing.T, host string, port int) {
		t.Helper()
		s := patient(func(s *incident.URLSettings) { s.Port, s.TimeoutSeconds = port, 1 })
		f := (&Vantage{DescribeInstances: at(host)}).URL(t.Context(), instance, s)
		wantUnknown(t, f, incident.Attention, "the server speaks TLS here; use https")
	}
	t.Run("an alert, and the connection stays", func(t *testing.T) {
		host, port := listen(t, alert)
		check(t, host, port)
	})
	t.Run("an alert, and it closes", func(t *testing.T) {
		host, port := listen(t, func(conn net.Conn) { alert(conn); _ = conn.Close() })
		check(t, host, port)
	})
	t.Run("a real one", func(t *testing.T) {
		server := serveTLS(t, nil, func(http.ResponseWriter, *http.Request) {})
		port := portNumber(t, server.URL)
		f := (&Vantage{DescribeInstances: at("127.0.0.1")}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Port = port }))
		wantUnknown(t, f, incident.Attention, "got status 400, want 200-299")
	})
	t.Run("a 400", func(t *testing.T) {
		c, _, here := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
		f := c.URL(t.Context(), instance, patient(here))
		wantUnknown(t, f, incident.Attention, "got status 400, want 200-299")
	})
}

// Every status that is not wanted has its outcome, whoever sees it.
func TestURLStatuses(t *testing.T) {
	for _, tc := range []struct {
		status     int
		retryAfter string
		outcome    incident.Outcome
		kind       incident.Kind
		words      string
	}{
		{200, "", incident.Passed, "", "got status 200"},
		{204, "", incident.Passed, "", "got status 204"},
		{301, "", incident.Unknown, incident.Attention, "gave up after 10"},
		{304, "", incident.Unknown, incident.Attention, "got status 304, want 200-299"},
		{400, "", incident.Unknown, incident.Attention, "got status 400"},
		{401, "", incident.Unknown, incident.Attention, "got status 401"},
		{403, "", incident.Unknown, incident.Attention, "got status 403"},
		{404, "", incident.Unknown, incident.Attention, "got status 404"},
		{405, "", incident.Unknown, incident.Attention, "got status 405"},
		{418, "", incident.Unknown, incident.Attention, "got status 418"},
		{429, "", incident.Unknown, incident.Busy, "got status 429"},
		{429, "30", incident.Unknown, incident.Busy, "got status 429"},
		{500, "", incident.Failed, "", "got status 500"},
		{500, "30", incident.Failed, "", "got status 500"},
		{502, "", incident.Failed, "", "got status 502"},
		{503, "", incident.Failed, "", "got status 503, want"},
		{503, "30", incident.Unknown, incident.Busy, "got status 503 with Retry-After"},
		{503, "Wed, 21 Oct 2026 07:28:00 GMT", incident.Unknown, incident.Busy, "got status 503 with Retry-After"},
		{522, "", incident.Failed, "", "got status 522"},
		{999, "", incident.Unknown, incident.Attention, "got status 999"},
	} {
		t.Run(strconv.Itoa(tc.status)+" "+tc.retryAfter, func(t *testing.T) {
			c, _, here := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tc.retryAfter != "" {
					w.Header().Set("Retry-After", tc.retryAfter)
				}
				if tc.status == http.StatusMovedPermanently {
					w.Header().Set("Location", "/")
				}
				w.WriteHeader(tc.status)
			})
			f := c.URL(t.Context(), instance, patient(here))
			if f.Outcome != tc.outcome || f.Kind != tc.kind || !f.Answered || f.Connection != "" || f.Elsewhere {
				t.Errorf("got %+v, want %s %s, answered", f, tc.outcome, tc.kind)
			}
			wantWords(t, f, tc.words)
		})
	}
}

// How a connection without an answer ends is part of the finding.
func TestURLConnection(t *testing.T) {
	heard := func(conn net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(conn)) } // what it says is of no interest
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		want  incident.Connection
	}{
		{"silent", func(net.Conn) {}, incident.Silent},
		{"closes", func(conn net.Conn) { heard(conn); _ = conn.Close() }, incident.ClosedEarly},
		{"resets", func(conn net.Conn) { heard(conn); reset(t, conn) }, incident.ClosedEarly},
		{"sends one byte", func(conn net.Conn) { heard(conn); _, _ = io.WriteString(conn, "H") }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := listen(t, tc.serve)
			f := (&Vantage{DescribeInstances: at(host)}).URL(t.Context(), instance, hasty(func(s *incident.URLSettings) { s.Port = port }))
			wantFinding(t, f, false, 2)
			if f.Connection != tc.want || f.Answered != (tc.want == "") {
				t.Errorf("got %+v, want connection %q", f, tc.want)
			}
		})
	}
	for err, want := range map[error]incident.Connection{syscall.ECONNREFUSED: incident.Refused, syscall.ETIMEDOUT: incident.NoConnection} {
		c := &Vantage{DescribeInstances: at("203.0.113.7"), dial: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
		if f := c.URL(t.Context(), instance, hasty()); f.Outcome != incident.Failed || f.Connection != want || !f.NoAnswer() {
			t.Errorf("%v: got %+v, want connection %q", err, f, want)
		}
	}
}

// A real SSH server speaks first.
func TestURLAtAnSSHServer(t *testing.T) {
	var asked atomic.Int32
	answer := sshServer(&asked, nil, newHostKeys()(t).ed25519)
	host, port := listen(t, answer)
	f := (&Vantage{DescribeInstances: at(host)}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Port, s.Attempts = port, 3 }))
	wantUnknown(t, f, incident.Attention, "an SSH server answers on this port")
}

// What answers at an address that is not the instance's proves nothing.
func TestElsewhere(t *testing.T) {
	_, server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	keys := newHostKeys()(t)
	var asked atomic.Int32
	host, port := listen(t, sshServer(&asked, nil, keys.ed25519))
	named := func(s *incident.URLSettings) { s.Address = server.URL + "/" }
	sshNamed := func(set ...func(*incident.SSHSettings)) incident.SSHSettings {
		return sshSettings(port, append(set, func(s *incident.SSHSettings) { s.Host = host })...)
	}
	pinned := func(s *incident.SSHSettings) { s.HostKeyFingerprint = fingerprint(keys.ed25519) }
	for _, tc := range []struct {
		name  string
		check func(DescribeInstances) incident.Finding
		at    string
		want  bool
	}{
		{"url, its own", func(d DescribeInstances) incident.Finding {
			return (&Vantage{DescribeInstances: d}).URL(t.Context(), instance, patient(named))
		}, "127.0.0.1", false},
		{"url, another", func(d DescribeInstances) incident.Finding {
			return (&Vantage{DescribeInstances: d}).URL(t.Context(), instance, patient(named))
		}, "203.0.113.7", true},
		{"ssh, its own", func(d DescribeInstances) incident.Finding {
			return (&Vantage{DescribeInstances: d}).SSH(t.Context(), instance, sshNamed(), "")
		}, "127.0.0.1", false},
		{"ssh, another", func(d DescribeInstances) incident.Finding {
			return (&Vantage{DescribeInstances: d}).SSH(t.Context(), instance, sshNamed(), "")
		}, "203.0.113.7", true},
		{"ssh, another address, the pinned key", func(d DescribeInstances) incident.Finding {
			return (&Vantage{DescribeInstances: d}).SSH(t.Context(), instance, sshNamed(pinned), "")
		}, "203.0.113.7", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := tc.check(at(tc.at))
			if f.Elsewhere != tc.want || !f.Answered {
				t.Errorf("got %+v, want elsewhere %t", f, tc.want)
			}
			if said := strings.HasSuffix(f.Reason, "(answered by 127.0.0.1, which is not the instance)"); said != tc.want {
				t.Errorf("reason %q", f.Reason)
			}
		})
	}
}

// A load balancer that is in front of the instance alone speaks for it, but not of
// itself.
func TestURLThroughALoadBalancer(t *testing.T) {
	status := func(code int, set func(http.Header)) func(net.Conn) {
		h := http.Header{"Content-Length": {"0"}}
		if set != nil {
			set(h)
		}
		return func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn)) // what it says is of no interest
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d x\r\n", code)
			_ = h.Write(conn)
			_, _ = io.WriteString(conn, "\r\n")
		}
	}
	const silence = "the load balancer does not answer: "
	for _, tc := range []struct {
		name     string
		serve    func(net.Conn) // nil: nobody listens
		outcome  incident.Outcome
		kind     incident.Kind
		answered bool
		words    string
	}{
		{"passes", status(200, nil), incident.Passed, "", true, "got status 200"},
		{"bad gateway", status(502, nil), incident.Failed, "", false, "got status 502"},
		{"a CDN's own status", status(522, nil), incident.Failed, "", false, "got status 522"},
		{"no target", status(503, nil), incident.Failed, "", false, "got status 503"},
		{"busy", status(503, func(h http.Header) { h.Set("Retry-After", "30") }), incident.Unknown, incident.Busy, true, "got status 503 with Retry-After"},
		{"too many requests", status(429, nil), incident.Unknown, incident.Busy, true, "got status 429"},
		{"forbidden", status(403, nil), incident.Unknown, incident.Attention, true, "got status 403"},
		{"cut body", func(conn net.Conn) {
			status(200, func(h http.Header) { h.Set("Content-Length", "9") })(conn)
			_ = conn.Close()
		}, incident.Failed, "", true, "connection closed in the middle of the body"},
		{"another body", status(200, nil), incident.Failed, "", true, "does not match"},
		{"refuses", nil, incident.Unknown, incident.Attention, false, silence + "connection refused"},
		{"closes", answering(nil), incident.Unknown, incident.Attention, false, silence + "connection closed before the answer came"},
		{"silent", func(net.Conn) {}, incident.Unknown, incident.Attention, false, silence + "timed out"},
		{"no HTTP", answering(map[string]string{"GET": "geheim\r\n"}), incident.Unknown, incident.Attention, false, silence + "did not answer with valid HTTP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := "127.0.0.1", nobody(t)
			if tc.serve != nil {
				host, port = listen(t, tc.serve)
			}
			s := patient(func(s *incident.URLSettings) {
				s.Address, s.LoadBalancer, s.Attempts = "http://"+net.JoinHostPort(host, strconv.Itoa(port))+"/", true, 2
			})
			if tc.name == "silent" {
				s.TimeoutSeconds = 0.2
			}
			if tc.name == "another body" {
				s.BodyPattern = "well"
			}
			f := (&Vantage{DescribeInstances: at("203.0.113.7")}).URL(t.Context(), instance, s)
			if f.Outcome != tc.outcome || f.Kind != tc.kind || f.Answered != tc.answered || f.Elsewhere {
				t.Errorf("got %+v, want %s %s, answered %t", f, tc.outcome, tc.kind, tc.answered)
			}
			wantWords(t, f, tc.words)
			if strings.Contains(f.Reason, "which is not the instance") {
				t.Errorf("reason %q blames the load balancer's address", f.Reason)
			}
		})
	}
}
