package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"firstline/internal/incident"
)

// secure makes the newest connection secure. name is the host's.
func (t *urlAttempt) secure(ctx context.Context, name string) error {
	t.at = phaseTLS
	// The server name is about the target, not about where it redirects to.
	if t.settings.ServerName != "" && strings.EqualFold(name, t.target.Hostname()) {
		name = t.settings.ServerName
	}
	conn := tls.Client(t.conn, t.tlsConfig(ascii(name)))
	err := conn.HandshakeContext(ctx)
	if _, notAddress := netip.ParseAddr(name); notAddress == nil && remoteAlert(err) == internalError {
		return wrong("TLS handshake: the server ended it with an internal error, as many do that get no server name (we send none, since %s is an address); set url.server_name, or name a host in url.address", name)
	}
	if err == nil {
		t.web = &recordedConn{Conn: conn}
	}
	return err
}

// tlsConfig speaks with servers as old as Go can. Certificates are verified all
// the same. The request is no secret of ours, except for secret headers, and those
// have the encryption that the target's owner has chosen.
func (t *urlAttempt) tlsConfig(name string) *tls.Config {
	var ciphers []uint16
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		ciphers = append(ciphers, suite.ID)
	}
	//nolint:gosec // an old server, and with verify_certificate = false one whose certificate nobody can verify, may be alive, which is what is asked
	return &tls.Config{
		MinVersion:   tls.VersionTLS10,
		CipherSuites: ciphers,
		NextProtos:   []string{"http/1.1"},
		// Apache asks for a certificate where a Location wants one (SSLVerifyClient).
		Renegotiation: tls.RenegotiateOnceAsClient,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			t.certificateWanted = true
			return new(tls.Certificate), nil // none, which it may leave it at
		},
		ServerName:         name,
		RootCAs:            t.vantage.roots,
		InsecureSkipVerify: !t.settings.VerifyCertificate,
	}
}

// tlsCause is what went wrong with TLS; nil if it is nothing of that. A reboot
// changes neither a certificate nor a configuration, and what our own TLS client
// refuses is no fault of the server's.
func (t *urlAttempt) tlsCause(err error) *cause {
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	cert, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	// With TLS 1.3 a server may refuse us after our handshake is done.
	switch alert := remoteAlert(err); {
	case alert == internalError:
		// With a name that it has served until today, it has lost its certificates
		// or its memory. All other alerts say that it does not want what we have.
		return failed(incident.ClosedEarly, "the server ended the TLS handshake with an internal error")
	case alert == noApplicationProtocol:
		return wrong(onlyHTTP2)
	case alert != "" && t.certificateWanted:
		return wrong("TLS: the server refuses: %s; it wants a client certificate, and this check has none; let it serve this URL without one", alert)
	case slices.Contains(nothingShared, alert):
		return ours("TLS: the server is alive and shares no TLS version or algorithm with this check: %s", alert)
	case alert != "":
		return wrong("TLS: the server refuses: %s", alert)
	case badCert:
		return wrong("TLS handshake: the certificate is not valid: %s", clip(cert.Err.Error()))
	case notTLS && t.at == phaseTLS, errors.Is(err, http.ErrSchemeMismatch):
		return wrong("TLS handshake: the server does not speak TLS on this port; use http, or another port")
	case t.at == phaseTLS:
		return ours("TLS handshake: our client refuses what the server offers: %s", clip(err.Error()))
	case t.fromTLS(err):
		return ours("TLS: our client refuses what the server sends: %s", clip(err.Error()))
	}
	return nil
}

// fromTLS reports whether err came out of a connection whose handshake is done,
// and not out of what came over it.
func (t *urlAttempt) fromTLS(err error) bool {
	if t.web == nil || t.web == t.conn {
		return false
	}
	_, ended := t.web.seen()
	return ended != nil && errors.Is(err, ended)
}

// Alerts as crypto/tls words them, which exports no names for them.
const (
	internalError         = "tls: internal error"
	noApplicationProtocol = "tls: no application protocol"
)

// nothingShared are the alerts of servers that want none of what we offer.
var nothingShared = []string{"tls: protocol version not supported", "tls: handshake failure", "tls: insufficient security level"}

// remoteAlert returns the alert that the server sent (RFC 8446, 6.2); "" if err
// is none.
func remoteAlert(err error) string {
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "remote error" {
		return operation.Err.Error()
	}
	return ""
}
