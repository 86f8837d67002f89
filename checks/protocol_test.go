package checks

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firstline/internal/incident"
)

// What servers send that speak HTTP/2 only, recorded from each.
const (
	// nginx 1.22 with "listen 80 http2", asked with HTTP/1.1.
	nginxHTTP2 = "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x04\x00\x01\x00\x00\x00\x05\x00\xff\xff\xff" +
		"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00" + "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	// Node.js 18 with http2.createServer, asked with HTTP/1.1.
	nodeHTTP2 = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
	// HAProxy 2.6 with "proto h2", asked with HTTP/2. It closes a connection with HTTP/1.1.
	haproxyHTTP2 = "\x00\x00\x0c\x04\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x01\x00\x03\x00\x00\x00d" + "\x00\x00\x00\x04\x01\x00\x00\x00\x00"
	// OpenSSL 3.0 that offers h2 only (ALPN): a fatal alert, no_application_protocol.
	onlyH2Alert = "\x15\x03\x03\x00\x02\x02\x78"
)

const (
	ok200      = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	badRequest = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

// firstLine reads a line, and what else has come by then.
func firstLine(conn net.Conn) string {
	line, _ := bufio.NewReader(conn).ReadString('\n') // what there is must do
	return line
}

// answering returns a server that answers by the first line that it gets, and
// closes the connection. Without an answer for it, that is all it does.
func answering(answers map[string]string) func(net.Conn) {
	return func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		line := firstLine(conn)
		for prefix, answer := range answers {
			if strings.HasPrefix(line, prefix) {
				_, _ = io.WriteString(conn, answer)
			}
		}
	}
}

func TestURLOtherProtocols(t *testing.T) {
	const (
		proxyWords = "the server expects the PROXY protocol"
		http2Words = "the server speaks HTTP/2 only here"
	)
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "127.0.0.1", time.Now().Add(time.Hour))}}
	expired := &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "127.0.0.1", time.Now().Add(-time.Hour))}}
	overTLS := func(serve func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) { serve(tls.Server(conn, config)) }
	}
	// nginx with "listen 443 ssl proxy_protocol".
	proxyThenTLS := func(conn net.Conn, config *tls.Config) {
		line := make([]byte, 0, 108)
		for b := make([]byte, 1); !strings.HasSuffix(string(line), "\n") && len(line) < cap(line); line = append(line, b...) {
			_, _ = conn.Read(b) // without an end, it is too long in the end
		}
		if !strings.HasPrefix(string(line), "PROXY TCP4 127.0.0.1 127.0.0.1 ") {
			_ = conn.Close()
			return
		}
		answering(map[string]string{"GET /": ok200})(tls.Server(conn, config))
	}
	for _, tc := range []struct {
		name   string
		scheme string
		serve  func(net.Conn)
		kind   incident.Kind // "": the target's failure, without a byte
		words  string
	}{
		{"nginx, HTTP/2 only", "http", answering(map[string]string{"": nginxHTTP2}), incident.Attention, http2Words},
		{"Node.js, HTTP/2 only", "http", answering(map[string]string{"": nodeHTTP2}), incident.Attention, http2Words},
		{"HAProxy, HTTP/2 only", "http", answering(map[string]string{"PRI *": haproxyHTTP2}), "", "connection closed before the answer came"},
		{"HTTP/2 only, over TLS", "https", overTLS(answering(map[string]string{"": nginxHTTP2})), incident.Attention, http2Words},
		{"OpenSSL, h2 only", "https", answering(map[string]string{"": onlyH2Alert}), incident.Attention, http2Words},
		{"SSH where TLS is meant", "https", answering(map[string]string{"": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"}), incident.Attention, "an SSH server answers on this port"},
		{"nginx, proxy_protocol", "http", answering(map[string]string{"PROXY TCP4 127.0.0.1 127.0.0.1 ": ok200}), incident.Attention, proxyWords},
		{"HAProxy, accept-proxy", "http", func(conn net.Conn) {
			if line := firstLine(conn); !strings.HasPrefix(line, "PROXY TCP4 ") {
				reset(t, conn)
				return
			}
			_, _ = io.WriteString(conn, ok200)
		}, incident.Attention, proxyWords},
		{"nginx, ssl proxy_protocol", "https", func(conn net.Conn) { proxyThenTLS(conn, config) }, incident.Attention, proxyWords},
		{"nginx, ssl proxy_protocol, expired", "https", func(conn net.Conn) { proxyThenTLS(conn, expired) }, incident.Attention, proxyWords},
		// "return 444": what it says of a request that is none proves nothing.
		{"nginx that closes on purpose", "http", answering(map[string]string{"PROXY": badRequest}), "", "connection closed before the answer came"},
		{"closes always", "http", answering(nil), "", "connection closed before the answer came"},
		{"resets always", "http", func(conn net.Conn) { _ = firstLine(conn); reset(t, conn) }, "", "connection reset before the answer came"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var connections atomic.Int32
			host, port := listen(t, func(conn net.Conn) { connections.Add(1); tc.serve(conn) })
			f := (&Vantage{DescribeInstances: at(host), roots: ca.pool}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) {
				s.Scheme, s.Port, s.Attempts = tc.scheme, port, 2
			}))
			if tc.kind != "" {
				wantUnknown(t, f, tc.kind, tc.words)
				if !f.Answered {
					t.Error("counts as without an answer")
				}
				return
			}
			wantFinding(t, f, false, 2, tc.words)
			if f.Answered || f.Connection != incident.ClosedEarly {
				t.Errorf("got %+v, want closed, without an answer", f)
			}
			if n := connections.Load(); n != 3 {
				t.Errorf("%d connections, want one per attempt, and one with a line of the PROXY protocol", n)
			}
		})
	}
}

// A server that closes one connection and answers the next one is well, whatever
// it says to other protocols.
func TestURLAsksOtherwiseLast(t *testing.T) {
	var asked atomic.Int32
	host, port := listen(t, func(conn net.Conn) {
		if asked.Add(1) == 1 {
			answering(nil)(conn)
			return
		}
		answering(map[string]string{"GET": ok200, "PRI": nginxHTTP2})(conn)
	})
	f := (&Vantage{DescribeInstances: at(host)}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Port, s.Attempts = port, 2 }))
	wantFinding(t, f, true, 2)
}

// Whatever a head holds that our client does not read: its status is an answer.
func TestURLHeadsThatOurClientRefuses(t *testing.T) {
	for _, tc := range []struct {
		head    string
		outcome incident.Outcome
		kind    incident.Kind
		words   string
	}{
		{"HTTP/1.1 200 OK\r\ngeheim\r\n\r\n", incident.Unknown, incident.Blind, "got status 200, and our client refuses what follows"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", incident.Unknown, incident.Blind, "got status 200"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: geheim\r\n\r\n", incident.Unknown, incident.Blind, "got status 200"},
		{"HTTP/1.0 403 Forbidden\r\nA B: c\r\n\r\n", incident.Unknown, incident.Attention, "got status 403, want 200-299"},
		{"HTTP/1.1 429 \r\ngeheim\r\n\r\n", incident.Unknown, incident.Busy, "got status 429"},
		{"HTTP/1.1 502 Bad Gateway\r\ngeheim\r\n\r\n", incident.Failed, "", "got status 502"},
		{"HTTP/1.1 2000\r\n\r\n", incident.Failed, "", "did not answer with valid HTTP"},
		{"ICY 200 OK\r\n\r\n", incident.Failed, "", "did not answer with valid HTTP"},
	} {
		t.Run(tc.head, func(t *testing.T) {
			host, port := listen(t, answering(map[string]string{"GET": tc.head}))
			f := (&Vantage{DescribeInstances: at(host)}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) { s.Port = port }))
			if f.Outcome != tc.outcome || f.Kind != tc.kind || !f.Answered {
				t.Errorf("got %+v, want %s %s, answered", f, tc.outcome, tc.kind)
			}
			wantWords(t, f, tc.words)
			if strings.Contains(f.Reason, "geheim") {
				t.Errorf("reason %q repeats what the target sent", f.Reason)
			}
		})
	}
}

// A firewall that says no is neither our own network nor proof against the target:
// the other checks, or another vantage, decide.
func TestURLRejectedOnTheWay(t *testing.T) {
	works := Egress(func(context.Context, string) error { return nil })
	broken := Egress(func(context.Context, string) error { return errors.New("nothing else answers us") })
	for _, errno := range append(slices.Clone(rejected), syscall.ENETUNREACH, syscall.EPERM) {
		t.Run(errno.Error(), func(t *testing.T) {
			dial := func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp4", Err: os.NewSyscallError("connect", errno)}
			}
			ask := func(e Egress) incident.Finding {
				f := (&Vantage{DescribeInstances: at("203.0.113.7"), dial: dial, Egress: e}).URL(t.Context(), instance, patient())
				if n := strings.Count(f.Reason, errno.Error()); n != 1 {
					t.Errorf("reason %q names the error %d times", f.Reason, n)
				}
				return f
			}
			if !slices.Contains(rejected, errno) {
				wantUnknown(t, ask(works), incident.Blind, "our own")
				return
			}
			f := ask(works)
			wantFinding(t, f, false, 1, "a firewall or router rejects the connection")
			if f.Connection != incident.NoConnection || strings.Contains(f.Reason, "our own") {
				t.Errorf("got %+v, want no connection", f)
			}
			wantUnknown(t, ask(broken), incident.Blind, "our own connectivity over")
		})
	}
}
