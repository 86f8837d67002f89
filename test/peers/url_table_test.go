package peers

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// overTLS asks by the instance's name, quick that lets a time-out come soon.
const (
	overTLS = `"address":"https://app.test:$PORT/"`
	quick   = `"timeout_seconds":0.4`
)

const indistinguishable = "without Route 53, a web server that refuses us alone cannot be told from a dead one while SSH answers"

var refusedRow = row{"only our address is refused", []situation{
	{name: "REJECT of the web port", check: "url", peer: nobody, want: refused, says: []string{"connection refused"}, known: indistinguishable},
	{name: "REJECT of the SSH port", check: "ssh", peer: nobody, want: refused, says: []string{"connection refused"}},
	{name: "DROP of the web port", check: "url", set: quick, peer: full, want: dropped, says: []string{"timed out after 400ms while connecting"}},
	{name: "DROP of the SSH port", check: "ssh", set: quick, peer: full, want: dropped, says: []string{"timed out after 400ms while connecting"}},
	{name: "/etc/hosts.deny, web", check: "url", peer: saysAndCloses(""), want: closed},
	{
		name: "/etc/hosts.deny, SSH", check: "ssh", peer: saysAndCloses(""), want: mute,
	},
	{
		name: "limit per source, HAProxy", check: "url", peer: serves(resets), want: closed,
		real: []server{haproxy("frontend f\n  bind $HOST:$PORT\n  tcp-request connection reject\n  http-request return status 200")},
	},
	{
		name: "limit per source, Dropbear", check: "ssh", peer: saysAndLeaves(""), want: mute,
		real: []server{dropbear().holds(5)},
	},
	{
		name: "HAProxy's silent-drop", check: "url", set: quick, peer: serves(func(c net.Conn) { readHead(c) }), want: silent,
		known: "one that accepts and is silent to us alone cannot be told from a hung one while nothing else contradicts it",
	},
	{
		name: "HAProxy's rejection of a request", check: "url", peer: serves(func(c net.Conn) { readHead(c); shut(c) }), want: closed,
		real: []server{haproxy("frontend f\n  bind $HOST:$PORT\n  tcp-request inspect-delay 5s\n  tcp-request content reject if HTTP\n  http-request return status 200")},
	},
	{
		name: "HAProxy's limit of requests", check: "url", peer: replies("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"), want: busy,
		real: []server{haproxy("frontend f\n  bind $HOST:$PORT\n  http-request deny deny_status 429")},
	},
	{
		name: "icmp-host-prohibited or icmp-admin-prohibited, web", check: "url", isolated: true, peer: nobody, own: []string{"203.0.113.9"}, egress: connected, want: dropped,
		says: []string{"rejects the connection"}, never: []string{"our own"},
	},
	{
		name: "icmp-host-prohibited or icmp-admin-prohibited, SSH", check: "ssh", isolated: true, peer: nobody, own: []string{"203.0.113.9"}, egress: connected, want: dropped,
		says: []string{"rejects the connection"}, never: []string{"our own"},
	},
	{
		name: "DROP of the HTTPS port to which the web port redirects", check: "url", set: quick, want: attention, says: []string{"timed out after 400ms while connecting", "a firewall"},
		peer: func(t *testing.T, h *here) {
			t.Helper()
			next := &here{host: h.host}
			full(t, next)
			web(redirects(next.fill("https://$HOST:$PORT/")))(t, h)
		},
	},
	{
		name: "REJECT of the HTTPS port to which the web port redirects", check: "url", want: refusedNext, says: []string{"redirected to", "connection refused"},
		peer: web(redirects("https://127.0.0.1:1/")),
	},
	{name: "DROP at a public address", check: "url", set: quick, isolated: true, peer: at("203.0.113.7", full), own: []string{"203.0.113.7"}, egress: connected, want: dropped},
}}

// connected says that our own connectivity works, and disconnected that it does not.
func connected(context.Context, string) error { return nil }

func disconnected(context.Context, string) error { return errors.New("dial tcp: i/o timeout") }

var statusRow = row{"every status that is not 2xx", append(everyStatus(), []situation{
	{
		name: "503 with Retry-After", check: "url", peer: replies("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"), want: busy,
		real: []server{nginx("listen $HOST:$PORT; add_header Retry-After 30 always; return 503;"), apache("Header always set Retry-After 30\nRedirect 503 /")},
	},
	{
		name: "no client certificate", check: "url", set: overTLS, want: attention, says: []string{"got status 400"},
		peer: secure(goodTLS, func(c net.Conn) {
			readHead(c)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}),
		real: []server{nginx("listen $HOST:$PORT ssl; ssl_verify_client on; return 200;")},
	},
	{
		name: "client certificate required in the handshake", check: "url", set: overTLS, want: attention,
		peer: secureWeb(withTLS(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), wellWeb),
		real: []server{apache("SSLEngine on\nSSLVerifyClient require")},
	},
	{name: "answers before it is asked, and leaves", check: "url", peer: saysAndLeaves("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"), want: busy},
	{
		name: "401 for a secret header", check: "url", set: `"secret_headers":{"Authorization":"/firstline/token"}`, want: attention, says: []string{"url.secret_headers"},
		peer: replies("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), real: []server{nginx("listen $HOST:$PORT; return 401;")},
	},
	{name: "a status that is wanted", check: "url", set: `"status":["401"]`, peer: replies("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), want: well},
}...)}

var ourClientRow = row{"what our own client refuses", []situation{
	{
		name: "renegotiation for a Location", check: "url", set: overTLS, want: well, peer: renegotiates,
		real: []server{apache("SSLEngine on\nSSLProtocol TLSv1.2\n<Location />\nSSLVerifyClient optional\n</Location>")},
	},
	{
		name: "renegotiation that requires a certificate", check: "url", set: overTLS, want: attention, peer: renegotiatesAndRefuses, says: []string{"client certificate"},
		real: []server{apache("SSLEngine on\nSSLProtocol TLSv1.2\n<Location />\nSSLVerifyClient require\n</Location>")},
	},
	{
		name: "authentication after the handshake of TLS 1.3", check: "url", set: overTLS, want: attention, says: []string{"got status 403"},
		peer: secureWeb(goodTLS, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }),
		real: []server{apache("SSLEngine on\nSSLProtocol TLSv1.3\n<Location />\nSSLVerifyClient require\n</Location>")},
	},
	{
		name: "a warning in the handshake", check: "url", set: overTLS, want: well,
		peer: serves(func(conn net.Conn) {
			_, _ = conn.Write([]byte{0x15, 3, 1, 0, 2, 1, 112}) // unrecognized_name, as a warning
			c := tls.Server(conn, goodTLS.get())
			answersOK(c)
			_ = conn.Close()
		}),
	},
	{name: "a header that Go refuses", check: "url", peer: replies("HTTP/1.1 200 OK\r\nBad Header\r\nContent-Length: 0\r\n\r\n"), want: blindHeard, says: []string{"got status 200"}},
	{name: "two lengths", check: "url", peer: replies("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok\n"), want: blindHeard, says: []string{"got status 200"}},
	{name: "a transfer encoding that Go does not have", check: "url", peer: replies("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), want: blindHeard, says: []string{"got status 200"}},
	{name: "a header that Go refuses, and status 404", check: "url", peer: replies("HTTP/1.1 404 Not Found\r\nBad Header\r\n\r\n"), want: attention, says: []string{"got status 404"}},
	{name: "a header that Go refuses, and status 500", check: "url", peer: replies("HTTP/1.1 500 Internal Server Error\r\nBad Header\r\n\r\n"), want: bad, says: []string{"got status 500"}},
	{
		name: "a handshake that stops", check: "url", set: `"scheme":"https",` + quick, want: bad, says: []string{"timed out after 400ms in the TLS handshake"},
		peer: serves(func(conn net.Conn) { _, _ = conn.Write([]byte{0x16, 3, 3, 1, 0}) }),
	},
}}

// h2Settings is what nginx 1.22.1 sends on a port with HTTP/2 and without TLS:
// SETTINGS, WINDOW_UPDATE, and GOAWAY with PROTOCOL_ERROR.
const h2Settings = "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x04\x00\x01\x00\x00\x00\x05\x00\xff\xff\xff" +
	"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"

var protocolRow = row{"another protocol on the port", []situation{
	{
		name: "HTTP/2 alone, without TLS", check: "url", peer: saysAndCloses(h2Settings), want: attention, says: []string{"HTTP/2"},
		real: []server{nginx("listen $HOST:$PORT http2; return 200;")},
	},
	{
		// It has no baseline, so that it is a matter for a person as well.
		name: "HTTP/2 alone, without a word for others", check: "url", peer: replies(""), want: closed,
		real: []server{haproxy("frontend f\n  bind $HOST:$PORT proto h2\n  http-request return status 200")},
	},
	{
		name: "HTTP/2 alone, by ALPN", check: "url", set: overTLS, want: attention, says: []string{"HTTP/2"},
		peer: secure(withTLS(func(c *tls.Config) { c.NextProtos = []string{"h2"} }), func(c net.Conn) {
			_, _ = io.WriteString(c, h2Settings)
			time.Sleep(50 * time.Millisecond) // for it to be read before the connection ends
		}),
	},
	{
		name: "HTTP/2 alone, without a word for others, over TLS", check: "url", set: overTLS, peer: secure(goodTLS, func(c net.Conn) { readHead(c) }), want: closedInTLS,
		real: []server{haproxy("frontend f\n  bind $HOST:$PORT ssl crt $DIR/both.pem proto h2 alpn h2\n  http-request return status 200")},
	},
	{
		name: "HTTP/2 alone by ALPN, and HTTP/1.1 for who asks for it", check: "url", set: overTLS, want: well,
		peer: secureWeb(withTLS(func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }), wellWeb),
		real: []server{haproxy("frontend f\n  bind $HOST:$PORT ssl crt $DIR/both.pem alpn h2\n  http-request return status 200"), apache("SSLEngine on\nProtocols h2"), nginx("listen $HOST:$PORT ssl http2;")},
	},
	{
		name: "SSH on the web port", check: "url", peer: sshd(nil), want: attention, says: []string{"an SSH server answers"},
		real: []server{openssh(""), dropbear()},
	},
	{
		name: "SSH on the HTTPS port", check: "url", set: overTLS, peer: sshd(nil), want: attention, says: []string{"an SSH server answers"},
		real: []server{openssh(""), dropbear()},
	},
	{
		name: "HTTP on the SSH port", check: "ssh", peer: web(wellWeb), want: attention, says: []string{"a web server answers"},
		real: []server{nginx("listen $HOST:$PORT; return 200;"), apache("")},
	},
	{
		name: "HTTPS on the SSH port", check: "ssh", want: attention,
		peer: saysAfterwards("\x15\x03\x01\x00\x02\x02\x46"), says: []string{"a TLS server answers"},
	},
	{
		name: "TLS on the HTTP port", check: "url", want: attention,
		peer: secureWeb(goodTLS, wellWeb), real: []server{nginx("listen $HOST:$PORT ssl; return 200;"), apache("SSLEngine on")},
	},
	{
		name: "TLS on the HTTP port, with an alert", check: "url", want: attention, peer: replies("\x15\x03\x01\x00\x02\x02\x46"), says: []string{"TLS"},
	},
	{
		name: "HTTP on the HTTPS port", check: "url", set: overTLS, want: attention, says: []string{"does not speak TLS"},
		peer: web(wellWeb), real: []server{nginx("listen $HOST:$PORT; return 200;"), apache("")},
	},
	{
		name: "PROXY protocol expected", check: "url", peer: serves(wantsProxyLine), want: attention, says: []string{"PROXY"},
		real: []server{nginx("listen $HOST:$PORT proxy_protocol; return 200;"), haproxy("frontend f\n  bind $HOST:$PORT accept-proxy\n  http-request return status 200"), apache("LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\nRemoteIPProxyProtocol On")},
	},
	{
		name: "PROXY protocol expected, SSH", check: "ssh", want: attention, says: []string{"PROXY"},
		peer: serves(func(conn net.Conn) {
			b := make([]byte, 6)
			if _, err := io.ReadFull(conn, b); err == nil && string(b) == "PROXY " {
				_, _ = io.WriteString(conn, banner)
			}
			shut(conn)
		}),
	},
}}

var nameRow = row{"the name leads elsewhere", []situation{
	{name: "a name of 127.0.0.1, which is not the instance", check: "url", set: `"address":"http://nobodys.test:$PORT/"`, peer: nobody, own: []string{"203.0.113.7"}, want: unheard, says: []string{"127.0.0.1"}},
	{name: "a name of 127.0.0.1, where something answers", check: "url", set: `"address":"http://nobodys.test:$PORT/"`, peer: web(wellWeb), own: []string{"203.0.113.7"}, want: unheard, says: []string{"127.0.0.1"}},
	{name: "a name of 127.0.0.1, SSH", check: "ssh", set: `"host":"nobodys.test"`, peer: sshd(nil), own: []string{"203.0.113.7"}, want: unheard, says: []string{"127.0.0.1"}},
	{name: "a link-local name", check: "url", set: `"address":"http://linklocal.test:$PORT/"`, peer: nobody, own: []string{"203.0.113.7"}, want: unheard, says: []string{"169.254.169.254"}},
	{name: "a name of 0.0.0.0", check: "url", set: `"address":"http://unspecified.test:$PORT/"`, peer: nobody, own: []string{"203.0.113.7"}, want: unheard, says: []string{"0.0.0.0"}},
	{name: "a multicast name", check: "url", set: `"address":"http://multicast.test:$PORT/"`, peer: nobody, own: []string{"203.0.113.7"}, want: unheard, says: []string{"224.0.0.251"}},
	{name: "a private name, outside a VPC", check: "url", set: `"address":"http://private.test:$PORT/"`, peer: nobody, own: []string{"203.0.113.7"}, want: unheard, says: []string{"10.1.2.3", "private address"}},
	{name: "four addresses, the fourth answers", check: "url", set: `"address":"http://four.test:$PORT/"`, peer: at("127.0.4.4", web(wellWeb)), own: zone["four.test"], want: well},
	{name: "four addresses, three drop", check: "url", set: `"address":"http://four.test:$PORT/","timeout_seconds":5`, peer: beside(at("127.0.4.4", web(wellWeb)), at("127.0.4.1", full), at("127.0.4.2", full), at("127.0.4.3", full)), own: zone["four.test"], want: well},
	{name: "four addresses, the fourth answers, SSH", check: "ssh", set: `"host":"four.test"`, peer: at("127.0.4.4", sshd(nil)), own: zone["four.test"], want: well},
	{name: "two addresses, the first drops", check: "url", set: `"address":"http://two.test:$PORT/","timeout_seconds":5`, peer: beside(at("127.0.5.2", web(wellWeb)), at("127.0.5.1", full)), own: zone["two.test"], want: well},
	{name: "IPv6 blackholed, IPv4 well", check: "url", set: `"address":"http://both.test:$PORT/","address_family":"","timeout_seconds":5`, peer: beside(web(wellWeb), at("::1", full)), own: zone["both.test"], want: well},
	{name: "IPv6 blackholed, IPv4 well and its name server slow", check: "url", set: `"address":"http://slow4.test:$PORT/","address_family":"","timeout_seconds":5`, peer: beside(web(wellWeb), at("::1", full)), own: zone["both.test"], want: well},
	{name: "IPv6 refused, IPv4 well", check: "url", set: `"address":"http://both.test:$PORT/","address_family":""`, peer: web(wellWeb), own: zone["both.test"], want: well},
	{name: "IPv4 blackholed, IPv6 well", check: "ssh", set: `"host":"both.test","address_family":"","timeout_seconds":5`, peer: beside(full, at("::1", sshd(nil))), own: zone["both.test"], want: well},
	{name: "a name of IPv6 alone", check: "url", set: `"address":"http://six.test:$PORT/","address_family":""`, peer: at("::1", web(wellWeb)), own: []string{"::1"}, want: well},
	{name: "name servers that are silent about IPv6", check: "url", set: `"address":"http://silent6.test:$PORT/","address_family":"","timeout_seconds":5`, peer: web(wellWeb), want: well},
	{name: "name servers that fail about IPv6", check: "url", set: `"address":"http://broken6.test:$PORT/","address_family":""`, peer: web(wellWeb), want: well},
	{name: "name servers that are silent about IPv6, SSH", check: "ssh", set: `"host":"silent6.test","address_family":"","timeout_seconds":5`, peer: sshd(nil), want: well},
	{name: "a name without an address of the family", check: "url", set: `"address":"http://six.test:$PORT/","address_family":"ipv4"`, peer: nobody, want: unheard, says: []string{"does not resolve to an"}},
	{name: "two addresses, the instance's refuses and another machine answers", check: "url", set: `"address":"http://two.test:$PORT/"`, peer: at("127.0.5.2", web(wellWeb)), own: []string{"127.0.5.1"}, want: refused, known: indistinguishable},
	{name: "two addresses, the instance answers and another machine refuses", check: "url", set: `"address":"http://two.test:$PORT/"`, peer: at("127.0.5.2", web(wellWeb)), own: []string{"127.0.5.2"}, want: well},
	{name: "all addresses refuse", check: "url", set: `"address":"http://four.test:$PORT/"`, peer: nobody, own: zone["four.test"], want: refused, known: indistinguishable},
}}

var elsewhereRow = row{"the answer comes from another machine", []situation{
	{name: "another machine answers", check: "url", set: `"address":"http://127.0.0.1:$PORT/"`, peer: web(wellWeb), own: []string{"203.0.113.7"}, want: wellElsewhere, says: []string{"answered by 127.0.0.1, which is not the instance"}},
	{name: "another machine fails", check: "url", set: `"address":"http://127.0.0.1:$PORT/"`, peer: replies("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), own: []string{"203.0.113.7"}, want: badElsewhere, says: []string{"answered by 127.0.0.1, which is not the instance"}},
	{name: "a CDN's 522", check: "url", set: `"address":"http://127.0.0.1:$PORT/"`, peer: replies("HTTP/1.1 522 \r\nServer: cloudflare\r\nContent-Length: 0\r\n\r\n"), own: []string{"203.0.113.7"}, want: badElsewhere, says: []string{"got status 522"}},
	{name: "another machine is away", check: "url", set: `"address":"http://127.0.0.1:$PORT/"`, peer: nobody, own: []string{"203.0.113.7"}, want: awayElsewhere, says: []string{"127.0.0.1"}},
	{name: "another SSH server answers", check: "ssh", set: `"host":"127.0.0.1"`, peer: sshd(nil), own: []string{"203.0.113.7"}, want: wellElsewhere, says: []string{"answered by 127.0.0.1, which is not the instance"}, real: []server{openssh("")}},
	{name: "another address with the pinned host key", check: "ssh", set: `"host":"127.0.0.1","host_key_fingerprint":"$ED25519"`, peer: sshd(nil), own: []string{"203.0.113.7"}, want: well},
	{name: "a load balancer passes", check: "url", set: `"load_balancer":true,"address":"http://127.0.0.1:$PORT/"`, peer: web(wellWeb), own: []string{"203.0.113.7"}, want: well},
	{name: "a load balancer does not reach it", check: "url", set: `"load_balancer":true,"address":"http://127.0.0.1:$PORT/"`, peer: replies("HTTP/1.1 522 \r\nServer: cloudflare\r\nContent-Length: 0\r\n\r\n"), own: []string{"203.0.113.7"}, want: badBehind, says: []string{"got status 522"}},
	{name: "a load balancer is busy", check: "url", set: `"load_balancer":true,"address":"http://127.0.0.1:$PORT/"`, peer: replies("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"), own: []string{"203.0.113.7"}, want: busy},
	{name: "a load balancer refuses", check: "url", set: `"load_balancer":true,"address":"http://127.0.0.1:$PORT/"`, peer: nobody, own: []string{"203.0.113.7"}, want: unheard, says: []string{"load balancer"}},
	{name: "a load balancer is silent", check: "url", set: `"load_balancer":true,"address":"http://127.0.0.1:$PORT/",` + quick, peer: hangs, own: []string{"203.0.113.7"}, want: unheard, says: []string{"load balancer"}},
	{
		name: "HAProxy without its server", check: "url", set: `"load_balancer":true,"address":"http://127.0.0.1:$PORT/"`, own: []string{"203.0.113.7"}, want: badBehind, says: []string{"got status 503"},
		peer: replies("HTTP/1.0 503 Service Unavailable\r\ncache-control: no-cache\r\nconnection: close\r\ncontent-type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"),
		real: []server{haproxy("frontend f\n  bind $HOST:$PORT\n  default_backend b\nbackend b\n  retries 0\n  server s 127.0.0.1:1")},
	},
}}

// only is a configuration with one TLS version.
func only(version uint16, suites ...uint16) *lazyTLS {
	return withTLS(func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = version, version, suites })
}

var tlsRow = row{"crypto too old or too new: TLS", []situation{
	{
		name: "TLS 1.0 alone", check: "url", set: overTLS, peer: secureWeb(only(tls.VersionTLS10), wellWeb), want: well,
		real: []server{nginx("listen $HOST:$PORT ssl; ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0; return 200;")},
	},
	{name: "TLS 1.1 alone", check: "url", set: overTLS, peer: secureWeb(only(tls.VersionTLS11), wellWeb), want: well, real: []server{nginx("listen $HOST:$PORT ssl; ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0; return 200;")}},
	{
		name: "RSA key exchange alone", check: "url", set: overTLS, peer: secureWeb(only(tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA), wellWeb), want: well,
		real: []server{nginx("listen $HOST:$PORT ssl; ssl_protocols TLSv1.2; ssl_ciphers AES128-SHA; return 200;")},
	},
	{name: "3DES alone", check: "url", set: overTLS, peer: secureWeb(only(tls.VersionTLS12, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA), wellWeb), want: well},
	{name: "RC4 alone", check: "url", set: overTLS, peer: secureWeb(only(tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA), wellWeb), want: well},
	{name: "TLS 1.3 alone", check: "url", set: overTLS, peer: secureWeb(only(tls.VersionTLS13), wellWeb), want: well, real: []server{nginx("listen $HOST:$PORT ssl; ssl_protocols TLSv1.3; return 200;")}},
	{
		name: "a cipher that Go does not have", check: "url", set: overTLS, want: blindHeard, says: []string{"shares no TLS version or algorithm"},
		peer: tlsAlert(40), real: []server{nginx("listen $HOST:$PORT ssl; ssl_protocols TLSv1.2; ssl_ciphers CAMELLIA128-SHA; return 200;")},
	},
	{name: "a TLS version that Go does not have", check: "url", set: overTLS, peer: tlsAlert(70), want: blindHeard, says: []string{"shares no TLS version or algorithm"}},
	{name: "an unknown server name", check: "url", set: overTLS, peer: tlsAlert(112), want: attention, real: []server{nginx("listen $HOST:$PORT ssl; ssl_reject_handshake on;")}},
	{name: "TLS, an internal error", check: "url", set: overTLS, peer: tlsAlert(80), want: bad, says: []string{"internal error"}},
	{name: "TLS, no server name was sent", check: "url", set: `"scheme":"https"`, peer: tlsAlert(80), want: attention, says: []string{"url.server_name"}},
}}

// tlsAlert ends a handshake with a fatal alert (RFC 8446, 6).
func tlsAlert(description byte) peer {
	return serves(func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = conn.Write([]byte{0x15, 3, 3, 0, 2, 2, description})
		shut(conn)
	})
}

// gzipped is text as gzip has it.
func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// bomb is 32 MiB of nothing between two texts, as gzip has it.
func bomb(first, last string) string { return gzipped(first + strings.Repeat("\x00", 32<<20) + last) }

func deflated(text string, isRaw bool) string {
	var b bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&b)
	if isRaw {
		w, _ = flate.NewWriter(&b, flate.BestSpeed)
	}
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// encoded is an answer with a Content-Encoding.
func encoded(encoding, body string) peer {
	return replies(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", encoding, len(body), body))
}

// brotli is a body that nobody here can read.
const brotli = "\x1b\x0b\x00\xf8\x25\x00\x8a\x94\x60\x4a\x2d\x15\x01"

const wantsWell = `"body_pattern":"all is well"`

var gzipRow = row{"compressed without being asked", []situation{
	{
		name: "gzip", check: "url", set: wantsWell + `,"path":"/packed.html"`, peer: encoded("gzip", gzipped("all is well\n")), want: well,
		real: []server{nginx("listen $HOST:$PORT; gzip_static always;")},
	},
	{name: "gzip without a pattern", check: "url", peer: encoded("gzip", gzipped("all is well\n")), want: well},
	{name: "gzip, and the pattern does not match", check: "url", set: wantsWell, peer: encoded("gzip", gzipped("all is lost\n")), want: bad, says: []string{"does not match"}},
	{name: "x-gzip", check: "url", set: wantsWell, peer: encoded("x-gzip", gzipped("all is well\n")), want: well},
	{name: "deflate", check: "url", set: wantsWell, peer: encoded("deflate", deflated("all is well\n", false)), want: well},
	{name: "deflate without zlib's head", check: "url", set: wantsWell, peer: encoded("deflate", deflated("all is well\n", true)), want: well},
	{name: "identity", check: "url", set: wantsWell, peer: encoded("identity", "all is well\n"), want: well},
	{name: "Brotli", check: "url", set: wantsWell, peer: encoded("br", brotli), want: attention, says: []string{"br"}},
	{name: "Brotli without a pattern", check: "url", peer: encoded("br", brotli), want: well},
	{name: "a gzip bomb", check: "url", set: wantsWell, peer: encoded("gzip", bomb("", "all is well")), want: bad, says: []string{"does not match"}},
	{name: "a gzip bomb that is well", check: "url", set: wantsWell, peer: encoded("gzip", bomb("all is well", "")), want: well},
	{name: "gzip that is none", check: "url", set: wantsWell, peer: encoded("gzip", "all is lost\n"), want: bad},
	{name: "gzip of nothing", check: "url", peer: encoded("gzip", ""), want: well},
	{name: "gzip of the answer to HEAD", check: "url", set: `"method":"HEAD"`, peer: replies("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 36\r\n\r\n"), want: well, real: []server{nginx("listen $HOST:$PORT; gzip_static always;")}},
	{name: "gzip of status 204", check: "url", peer: replies("HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n"), want: well},
	{name: "a cut gzip", check: "url", set: wantsWell, peer: replies("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 999\r\n\r\n" + gzipped("all is lost\n")[:20]), want: bad},
}}

var keptURLRow = row{"right before, and to be kept: URL", []situation{
	{name: "well", check: "url", peer: web(wellWeb), connections: 1, want: well, real: []server{nginx("listen $HOST:$PORT;"), apache(""), haproxy("frontend f\n  bind $HOST:$PORT\n  http-request return status 200")}},
	{name: "well, over TLS", check: "url", set: overTLS, peer: secureWeb(goodTLS, wellWeb), want: well, real: []server{nginx("listen $HOST:$PORT ssl;"), apache("SSLEngine on")}},
	{name: "an expired certificate", check: "url", set: overTLS, peer: withLeaf(&trusted, appName, -90), want: attention, says: []string{"certificate"}},
	{name: "a certificate of the future", check: "url", set: overTLS, peer: withLeaf(&trusted, appName, 90), want: attention, says: []string{"certificate"}},
	{name: "a certificate for another name", check: "url", set: overTLS, peer: withLeaf(&trusted, "other.test", -1), want: attention, says: []string{"certificate"}},
	{name: "a certificate of an unknown authority", check: "url", set: overTLS, peer: withLeaf(&unknownAuthority, appName, -1), want: attention, says: []string{"certificate"}},
	{name: "a certificate that is not verified", check: "url", set: overTLS + `,"verify_certificate":false`, peer: withLeaf(&unknownAuthority, "other.test", -90), want: well},
	{name: "a redirect loop", check: "url", peer: web(redirects("/")), want: attention, says: []string{"gave up after 10"}, real: []server{nginx("listen $HOST:$PORT; return 302 /;")}},
	{name: "a redirect to ftp", check: "url", peer: web(redirects("ftp://app.test/")), want: attention, says: []string{"redirect"}},
	{name: "a redirect to a dead host", check: "url", peer: web(redirects("http://wrong.test:1/")), own: []string{"127.0.0.1", "127.0.0.99"}, want: attention, says: []string{"redirected to http://wrong.test:1/"}},
	{name: "a redirect to a name that does not exist", check: "url", peer: web(redirects("http://none.test/")), want: attention, says: []string{"redirected to http://none.test/"}},
	{name: "a redirect to a failure of its own", check: "url", peer: web(redirectsOnce(http.StatusBadGateway)), want: bad, says: []string{"got status 502"}},
	{name: "a redirect to HTTPS with a bad certificate", check: "url", peer: redirectsTo(withLeaf(&unknownAuthority, appName, -1)), want: attention, says: []string{"certificate"}},
	{name: "a redirect that is followed", check: "url", peer: web(redirectsOnce(http.StatusOK)), want: well, says: []string{"redirected to"}},
	{name: "a name that does not exist", check: "url", set: `"address":"http://none.test:$PORT/"`, peer: nobody, want: unheard, says: []string{"does not resolve"}},
	{name: "name servers that fail", check: "url", set: `"address":"http://broken.test:$PORT/"`, peer: nobody, want: blind, says: []string{"broken.test"}},
	{name: "name servers that refuse", check: "url", set: `"address":"http://refuses.test:$PORT/"`, peer: nobody, want: blind, says: []string{"refuses.test"}},
	{name: "name servers that are silent", check: "url", set: `"address":"http://silent.test:$PORT/",` + quick, peer: nobody, want: blind, says: []string{"the name servers did not answer"}},
	{name: "SIGSTOP", check: "url", set: quick, peer: hangs, want: silent, real: []server{nginx("listen $HOST:$PORT;").stopped()}},
	{name: "SIGSTOP, over TLS", check: "url", set: quick + `,"scheme":"https"`, peer: hangs, want: silent, says: []string{"in the TLS handshake"}},
	{name: "a full backlog", check: "url", set: quick, peer: full, want: dropped},
	{name: "closed without a byte", check: "url", peer: replies(""), want: closed},
	{name: "reset before a byte", check: "url", peer: serves(resets), want: closed},
	{name: "a TLS handshake that is closed", check: "url", set: overTLS, peer: serves(func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); shut(c) }), want: closed},
	{name: "a body that is cut", check: "url", peer: replies("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nall is"), want: bad, says: []string{"closed in the middle of the body"}},
	{name: "a chunked body that is cut", check: "url", peer: replies("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nall is"), want: bad, says: []string{"in the middle of the body"}},
	{name: "a body that stops", check: "url", set: quick, peer: serves(func(c net.Conn) {
		readHead(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nall is")
	}), want: bad, says: []string{"timed out after 400ms in the middle of the body"}},
	{name: "a slow head", check: "url", set: quick, peer: drips(okText, 50*time.Millisecond), want: bad, says: []string{"timed out after 400ms before the answer came"}},
	{name: "a head that is cut", check: "url", peer: replies("HTTP/1.1 200 OK\r\nContent-Le"), want: bad},
	{name: "a head over 1 MiB", check: "url", peer: replies("HTTP/1.1 200 OK\r\nX-Big: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"), want: bad, says: []string{"longer than 1 MiB"}},
	{name: "a head of 200 KiB", check: "url", peer: replies("HTTP/1.1 200 OK\r\nX-Big: " + strings.Repeat("x", 200<<10) + "\r\nContent-Length: 0\r\n\r\n"), want: well},
	{name: "no HTTP", check: "url", peer: replies("hello\r\n"), want: bad, says: []string{"did not answer with valid HTTP"}},
	{name: "no word beside the status", check: "url", peer: replies("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), want: well},
	{name: "status 444", check: "url", want: closed, peer: replies(""), real: []server{nginx("listen $HOST:$PORT; return 444;")}},
	{
		name: "status 444, over TLS", check: "url", set: overTLS, want: closedInTLS, peer: secure(goodTLS, func(c net.Conn) { readHead(c) }),
		real: []server{nginx("listen $HOST:$PORT ssl; return 444;")},
	},
	{name: "HTTP/1.0 without a length", check: "url", set: wantsWell, peer: replies("HTTP/1.0 200 OK\r\n\r\nall is well\n"), want: well},
	{name: "informational answers first", check: "url", peer: replies("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okText), want: well},
	{name: "a pattern that matches", check: "url", set: wantsWell, peer: web(wellWeb), want: well, real: []server{nginx("listen $HOST:$PORT;"), apache("")}},
	{name: "a pattern that does not match", check: "url", set: `"body_pattern":"lost"`, peer: web(wellWeb), want: bad, says: []string{"does not match"}, real: []server{nginx("listen $HOST:$PORT;"), apache("")}},
	{name: "our own connectivity is broken", check: "url", set: quick, isolated: true, peer: at("203.0.113.7", full), own: []string{"203.0.113.7"}, egress: disconnected, want: blindAway, says: []string{"our own connectivity"}},
	{name: "our own network has no route", check: "url", isolated: true, peer: nobody, own: []string{"198.51.100.4"}, egress: connected, want: blind, says: []string{"no route"}},
	{name: "two of three answers", check: "url", set: `"attempts":3`, peer: takesTurns(resets, answersOK, answersOK), want: well},
	{name: "the third of three answers", check: "url", set: `"attempts":3`, peer: takesTurns(resets, resets, answersOK), want: well},
	{name: "no time of our own", check: "url", set: `"timeout_seconds":5`, within: 300 * time.Millisecond, peer: hangs, want: blind, says: []string{"our own time is up"}},
}}

// withLeaf has a certificate of an authority for a name, from some days from now on.
func withLeaf(a *authority, name string, days int) peer {
	return secureWeb(withTLS(func(c *tls.Config) {
		c.Certificates = []tls.Certificate{a.leaf(name, time.Now().AddDate(0, 0, days))}
	}), wellWeb)
}

func redirects(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

// redirectsOnce redirects to a path with a status.
func redirectsOnce(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/next", http.StatusMovedPermanently)
			return
		}
		w.WriteHeader(status)
	}
}

// redirectsTo redirects to another port of the instance, with TLS.
func redirectsTo(p peer) peer {
	return func(t *testing.T, h *here) {
		t.Helper()
		next := &here{host: h.host}
		p(t, next)
		web(redirects(next.fill("https://"+appName+":$PORT/")))(t, h)
	}
}

// at makes a peer at another address, with the port of those before it.
func at(host string, p peer) peer {
	return func(t *testing.T, h *here) {
		t.Helper()
		own := h.host
		h.host = host
		p(t, h)
		h.host = own
	}
}

// beside makes several peers, which share the first one's port.
func beside(peers ...peer) peer {
	return func(t *testing.T, h *here) {
		t.Helper()
		for _, p := range peers {
			p(t, h)
		}
	}
}

// saysAfterwards waits for the client and then sends these bytes.
func saysAfterwards(text string) peer {
	return serves(func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, text)
		shut(conn)
	})
}
