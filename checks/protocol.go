package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"firstline/internal/incident"
)

// Whose answer begins like this.
const (
	aWebServer    = "a web server"
	aTLSServer    = "a TLS server"
	anSSHServer   = "an SSH server"
	anHTTP2Server = "an HTTP/2 server"
)

// sshPrefix begins the banner of an SSH server (RFC 4253, 4.2).
const sshPrefix = "SSH-"

// speaks names the kind of server that an answer begins like; "" for another one.
// TLS begins with an alert or a handshake: the record's type and the major
// version (RFC 8446, 5.1). HTTP/2 begins with a SETTINGS frame: three bytes of
// length, the type, no flags, stream 0 (RFC 9113, 3.4 and 4.1).
func speaks(head []byte) string {
	switch s := string(head); {
	case strings.HasPrefix(s, "HTTP/"):
		return aWebServer
	case strings.HasPrefix(s, "\x15\x03"), strings.HasPrefix(s, "\x16\x03"):
		return aTLSServer
	case strings.HasPrefix(s, sshPrefix):
		return anSSHServer
	case len(s) >= 9 && s[0] == 0 && s[3:9] == "\x04\x00\x00\x00\x00\x00":
		return anHTTP2Server
	}
	return ""
}

const onlyHTTP2 = "the server speaks HTTP/2 only here, and this check speaks HTTP/1.1; enable HTTP/1.1 too, or name another port"

// otherProtocol is the cause where the answer to a request began like another
// protocol's, whatever became of the connection then; else nil.
func (t *urlAttempt) otherProtocol() *cause {
	from := t.web
	if t.at == phaseTLS {
		from = t.conn
	}
	if from == nil {
		return nil
	}
	head, _ := from.seen()
	switch kind := speaks(head); {
	case kind == aTLSServer && from == t.web:
		return wrong("the server speaks TLS here; use https")
	case kind == anSSHServer:
		return wrong("an SSH server answers on this port; name the web server's port")
	case kind == anHTTP2Server:
		return wrong(onlyHTTP2)
	}
	return nil
}

// askWithProxyLine asks once more, in the last attempt, where the target has closed
// the connection without a byte, as servers do that expect the PROXY protocol. It
// returns nil if that is not why.
func (t *urlAttempt) askWithProxyLine(ctx context.Context, c *cause) *cause {
	newest := t.conn
	if t.web != nil {
		newest = t.web
	}
	if newest == nil || c.connection != incident.ClosedEarly || t.redirectedTo != nil || t.tries < t.settings.Attempts {
		return nil
	}
	if head, _ := newest.seen(); len(head) > 0 {
		return nil
	}
	again := &urlAttempt{urlRequest: t.urlRequest, attempt: &attempt{timeout: t.timeout}, proxied: true}
	if !again.likesProxyLine(ctx) {
		return nil
	}
	t.answered = true
	return wrong("the server expects the PROXY protocol on this port, and closes every other connection without an answer; name a port without it")
}

// likesProxyLine reports whether a request with a line of the PROXY protocol in
// front is answered well. A server that does not expect it answers 400 or hangs up.
func (t *urlAttempt) likesProxyLine(ctx context.Context) bool {
	defer t.close()
	resp, err := t.send(ctx, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse })
	if err != nil {
		// A certificate is shown to whom it understands.
		_, shown := errors.AsType[*tls.CertificateVerificationError](err)
		return shown
	}
	_ = resp.Body.Close() // the status says it
	return resp.StatusCode < 400 || accepted(t.settings.Status, resp.StatusCode)
}

// proxyLine is version 1 of the PROXY protocol for a connection of ours
// (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, 2.1). Apache
// does not read the shorter "PROXY UNKNOWN".
func proxyLine(conn net.Conn) string {
	from, errFrom := netip.ParseAddrPort(conn.LocalAddr().String())
	to, errTo := netip.ParseAddrPort(conn.RemoteAddr().String())
	if errors.Join(errFrom, errTo) != nil {
		return "PROXY UNKNOWN\r\n"
	}
	version := "4"
	if to.Addr().Is6() {
		version = "6"
	}
	return fmt.Sprintf("PROXY TCP%s %s %s %d %d\r\n", version, from.Addr(), to.Addr(), from.Port(), to.Port())
}
