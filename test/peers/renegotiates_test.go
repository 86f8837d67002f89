package peers

import (
	"net"
	"testing"

	"firstline/test/renegotiate"
)

// renegotiates does what Apache does for "SSLVerifyClient optional" in a Location: it
// asks for a certificate in a second handshake, and does without.
func renegotiates(t *testing.T, h *here) {
	t.Helper()
	asksForCertificate(renegotiate.RecordData, okText)(t, h)
}

// renegotiatesAndRefuses refuses who has no certificate: handshake_failure.
func renegotiatesAndRefuses(t *testing.T, h *here) {
	t.Helper()
	asksForCertificate(renegotiate.RecordAlert, "\x02\x28")(t, h)
}

func asksForCertificate(kind byte, answer string) peer {
	return serves(func(conn net.Conn) {
		s := &renegotiate.Server{Conn: conn, Cert: goodTLS.get().Certificates[0].Certificate[0], Key: rsaKey()}
		if s.Ask() == nil && s.Handshake(true) == nil {
			_ = s.Send(kind, []byte(answer)) // a client that has gone says so
		}
		_, _ = conn.Read(make([]byte, 1)) // until it has read that
		_ = conn.Close()
	})
}
