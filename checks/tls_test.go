package checks

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"firstline/internal/incident"
	"firstline/test/renegotiate"
)

// rsaCertificate returns one with an RSA key, which servers without a Diffie-Hellman
// exchange need.
func (a *authority) rsaCertificate(t *testing.T) (tls.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, key
}

// Servers with old cryptography are alive, and their certificates are verified all
// the same.
func TestURLOldTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.rsaCertificate(t)
	for _, tc := range []struct {
		name    string
		version uint16
		suite   uint16
	}{
		{"TLS 1.0", tls.VersionTLS10, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
		{"TLS 1.1", tls.VersionTLS11, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA},
		{"RSA key exchange only", tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA},
		{"3DES only", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA},
		{"TLS 1.0, RSA key exchange with 3DES only", tls.VersionTLS10, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA},
		{"RC4 only", tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA},
	} {
		t.Run(tc.name, func(t *testing.T) {
			//nolint:gosec // old servers are what is tried
			server := serveTLS(t, &tls.Config{
				Certificates: []tls.Certificate{cert}, MinVersion: tc.version, MaxVersion: tc.version, CipherSuites: []uint16{tc.suite},
			}, func(http.ResponseWriter, *http.Request) {})
			set := func(s *incident.URLSettings) { s.Scheme, s.Port = "https", portNumber(t, server.URL) }
			f := (&Vantage{DescribeInstances: at("127.0.0.1"), roots: ca.pool}).URL(t.Context(), instance, patient(set))
			wantFinding(t, f, true, 1)
			f = (&Vantage{DescribeInstances: at("127.0.0.1")}).URL(t.Context(), instance, patient(set))
			wantUnknown(t, f, incident.Attention, "the certificate is not valid")
		})
	}
}

// What a server refuses in the handshake, it refuses alive.
func TestURLTLSRefusals(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.rsaCertificate(t)
	//nolint:gosec // TLS 1.3 has an alert of its own for it
	mutual := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		kind  incident.Kind
		words string
	}{
		// nginx with "ssl_ciphers DHE-RSA-AES128-SHA", which Go does not have: handshake_failure.
		{"no algorithm shared", answering(map[string]string{"": "\x15\x03\x03\x00\x02\x02\x28"}), incident.Blind, "shares no TLS version or algorithm"},
		{"a certificate of ours is wanted", func(conn net.Conn) {
			_ = tls.Server(conn, mutual).HandshakeContext(t.Context()) // it fails, and that is what is looked at
			_ = conn.Close()
		}, incident.Attention, "it wants a client certificate, and this check has none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := listen(t, tc.serve)
			f := (&Vantage{DescribeInstances: at(host), roots: ca.pool}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) {
				s.Scheme, s.Port, s.Attempts = "https", port, 2
			}))
			wantUnknown(t, f, tc.kind, tc.words)
			if !f.Answered || f.Attempts != 1 {
				t.Errorf("got %+v, want an answer in one attempt", f)
			}
		})
	}
}

// Apache renegotiates under TLS 1.2, to ask for a client certificate, where
// SSLVerifyClient stands in a Location.
func TestURLRenegotiates(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.rsaCertificate(t)
	for _, tc := range []struct {
		name    string
		serve   func(*renegotiate.Server) error
		outcome incident.Outcome
		kind    incident.Kind
		words   string
	}{
		{"once", func(r *renegotiate.Server) error {
			return errors.Join(r.Handshake(true), r.Send(renegotiate.RecordData, []byte(ok200)))
		}, incident.Passed, "", "got status 200"},
		{"and wants a certificate", func(r *renegotiate.Server) error {
			// SSLVerifyClient require: handshake_failure.
			return errors.Join(r.Handshake(true), r.Send(renegotiate.RecordAlert, []byte{2, 40}))
		}, incident.Unknown, incident.Attention, "it wants a client certificate"},
		{"twice", func(r *renegotiate.Server) error {
			return errors.Join(r.Handshake(true), r.Send(renegotiate.RecordHandshake, []byte{0, 0, 0, 0}))
		}, incident.Unknown, incident.Blind, "our client refuses what the server sends: local error: tls: no renegotiation"},
		{"and sends nonsense", func(r *renegotiate.Server) error {
			_, err := r.Conn.Write([]byte{renegotiate.RecordData, 3, 3, 0, 2, 1, 2})
			return err
		}, incident.Unknown, incident.Blind, "our client refuses what the server sends"},
		{"and closes", func(r *renegotiate.Server) error { return r.Conn.Close() }, incident.Failed, "", " before the answer came"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := listen(t, func(conn net.Conn) {
				r := &renegotiate.Server{Conn: conn, Cert: cert.Certificate[0], Key: key}
				err := r.Ask()
				if err == nil {
					err = tc.serve(r)
				}
				if err != nil {
					_ = conn.Close() // which the finding shows
				}
			})
			f := (&Vantage{DescribeInstances: at(host), roots: ca.pool}).URL(t.Context(), instance, patient(func(s *incident.URLSettings) {
				s.Scheme, s.Port = "https", port
			}))
			if f.Outcome != tc.outcome || f.Kind != tc.kind || !f.Answered {
				t.Errorf("got %+v, want %s %s, answered", f, tc.outcome, tc.kind)
			}
			wantWords(t, f, tc.words)
		})
	}
}
