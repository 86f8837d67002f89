package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"

	"firstline/internal/incident"
)

// handshake makes a connection secure. host is the one asked, which may be
// another's than the target's after a redirect.
func (t *urlAttempt) handshake(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	t.progress.enter(phaseTLS)
	settings := t.request.settings
	cure := "name the final address in url.address, with a host name"
	// The name is about the target, not about where it redirects to.
	if strings.EqualFold(host, t.request.target.Hostname()) {
		cure = "set url.server_name to a name that it serves"
		if settings.ServerName != "" {
			host = settings.ServerName
		}
	}
	secure := tls.Client(conn, &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		RootCAs:    t.request.roots,
		//nolint:gosec // the setting verify_certificate = false asks for it: liveness of a machine whose certificate nobody can verify
		InsecureSkipVerify: !settings.VerifyCertificate,
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error is the one that tells
		if _, parseErr := netip.ParseAddr(host); parseErr == nil && remoteAlert(err) == internalError {
			return nil, wrong("TLS handshake: the server ended it with an internal error, as many do that get no server name (we send none, since %s is an address); %s", host, cure)
		}
		return nil, t.progress.classify(err, tlsCause)
	}
	t.progress.enter(phaseAnswer)
	return secure, nil
}

// tlsCause says what is neither the network's nor the clock's doing in a
// handshake: a reboot changes neither a certificate nor a configuration, and
// what our own client refuses is no fault of the server's.
func tlsCause(err error) *cause {
	if alert := remoteAlert(err); alert != "" {
		return alertCause(alert)
	}
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	cert, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case badCert:
		return wrong("TLS handshake: the certificate is not valid: %s", clip(cert.Err.Error()))
	case notTLS:
		return wrong("TLS handshake: the server does not speak TLS on this port; use http, or another port")
	default:
		return ours("TLS handshake: our client refuses what the server offers: %s", clip(err.Error()))
	}
}

// internalError is an alert as crypto/tls words it.
const internalError = "tls: internal error"

// remoteAlert returns the alert that the server sent (RFC 8446, 6.2); "" if err
// is none. crypto/tls exports no names for its alerts.
func remoteAlert(err error) string {
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "remote error" {
		return operation.Err.Error()
	}
	return ""
}

// alertCause says what an alert means. An internal error is the server's failure:
// with a name that it has served until today, it has lost its certificates or its
// memory. All other alerts say that it does not want what we have.
func alertCause(alert string) *cause {
	switch alert {
	case internalError:
		return failed(incident.ClosedEarly, "the server ended the TLS handshake with an internal error")
	case "tls: protocol version not supported", "tls: handshake failure", "tls: insufficient security level":
		return ours("TLS: the server is alive and shares no TLS version or algorithm with this check: %s", alert)
	default:
		return wrong("TLS: the server refuses: %s", alert)
	}
}
