package checks

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"firstline/internal/incident"
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
		serve   func(*renegotiator) error
		outcome incident.Outcome
		kind    incident.Kind
		words   string
	}{
		{"once", func(r *renegotiator) error {
			return errors.Join(r.handshake(true), r.send(recordData, []byte(ok200)))
		}, incident.Passed, "", "got status 200"},
		{"and wants a certificate", func(r *renegotiator) error {
			// SSLVerifyClient require: handshake_failure.
			return errors.Join(r.handshake(true), r.send(recordAlert, []byte{2, 40}))
		}, incident.Unknown, incident.Attention, "it wants a client certificate"},
		{"twice", func(r *renegotiator) error {
			return errors.Join(r.handshake(true), r.send(recordHandshake, []byte{0, 0, 0, 0}))
		}, incident.Unknown, incident.Blind, "our client refuses what the server sends: local error: tls: no renegotiation"},
		{"and sends nonsense", func(r *renegotiator) error {
			_, err := r.conn.Write([]byte{recordData, 3, 3, 0, 2, 1, 2})
			return err
		}, incident.Unknown, incident.Blind, "our client refuses what the server sends"},
		{"and closes", func(r *renegotiator) error { return r.conn.Close() }, incident.Failed, "", " before the answer came"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := listen(t, func(conn net.Conn) {
				r := &renegotiator{conn: conn, cert: cert.Certificate[0], key: key}
				err := r.handshake(false)
				if err == nil {
					_, err = r.receive(recordData) // the request
				}
				if err == nil {
					err = errors.Join(r.send(recordHandshake, []byte{0, 0, 0, 0}), tc.serve(r)) // a HelloRequest
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

// Types of TLS records.
const (
	recordCipherSpec = 20
	recordAlert      = 21
	recordHandshake  = 22
	recordData       = 23
)

// renegotiator is a server with TLS 1.2 and one cipher suite, an RSA key exchange
// with AES_128_GCM_SHA256 (RFC 5246, 5288 and 5746). crypto/tls has no server that
// renegotiates.
type renegotiator struct {
	conn           net.Conn
	cert           []byte
	key            *rsa.PrivateKey
	in, out        *direction
	unread         []byte // handshake messages
	said           []byte // by both, in this handshake
	byClient, byUs []byte // the Finished messages of the one before
}

// direction is one direction of a connection that is encrypted.
type direction struct {
	aead cipher.AEAD
	salt []byte
	seq  uint64
}

func (d *direction) next(kind byte, length int) (explicit, nonce, extra []byte) {
	explicit = binary.BigEndian.AppendUint64(nil, d.seq)
	d.seq++
	extra = append(bytes.Clone(explicit), kind, 3, 3)
	return explicit, slices.Concat(d.salt, explicit), append(extra, sized(length)...)
}

func (r *renegotiator) send(kind byte, text []byte) error {
	if r.out != nil {
		explicit, nonce, extra := r.out.next(kind, len(text))
		text = r.out.aead.Seal(explicit, nonce, text, extra)
	}
	_, err := r.conn.Write(slices.Concat([]byte{kind, 3, 3}, sized(len(text)), text))
	return err
}

func (r *renegotiator) receive(kind byte) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r.conn, head); err != nil {
		return nil, err
	}
	if head[0] != kind {
		return nil, errors.New("got another record")
	}
	text := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(r.conn, text); err != nil {
		return nil, err
	}
	if r.in == nil {
		return text, nil
	}
	_, nonce, extra := r.in.next(kind, len(text)-24) // without its nonce and its tag
	return r.in.aead.Open(nil, nonce, text[8:], extra)
}

// hear returns the client's next message of the handshake.
func (r *renegotiator) hear() ([]byte, error) {
	length := func() int { return 4 + int(binary.BigEndian.Uint32(append([]byte{0}, r.unread[1:4]...))) }
	for len(r.unread) < 4 || len(r.unread) < length() {
		text, err := r.receive(recordHandshake)
		if err != nil {
			return nil, err
		}
		r.unread = append(r.unread, text...)
	}
	message := r.unread[:length()]
	r.unread = r.unread[length():]
	r.said = append(r.said, message...)
	return message, nil
}

func (r *renegotiator) say(kind byte, body ...byte) error {
	message := slices.Concat([]byte{kind, 0}, sized(len(body)), body)
	r.said = append(r.said, message...)
	return r.send(recordHandshake, message)
}

// handshake makes a handshake: the first one, or one more, which asks for a client
// certificate that need not be.
func (r *renegotiator) handshake(again bool) error {
	r.said = nil
	hello, err := r.hear()
	if err != nil {
		return err
	}
	if again && !bytes.Contains(hello, r.byClient) {
		return errors.New("the client does not bind the two handshakes together")
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	both := slices.Concat(r.byClient, r.byUs)
	extension := slices.Concat([]byte{0xff, 1}, sized(1+len(both)), sized(len(both))[1:], both)
	err = errors.Join(
		r.say(2, slices.Concat([]byte{3, 3}, random, []byte{0, 0, 0x9c, 0}, sized(len(extension)), extension)...),
		r.say(11, slices.Concat([]byte{0}, sized(3+len(r.cert)), []byte{0}, sized(len(r.cert)), r.cert)...),
	)
	if again {
		err = errors.Join(err, r.say(13, 1, 1, 0, 2, 4, 1, 0, 0)) // RSA, with SHA-256, any authority
	}
	if err = errors.Join(err, r.say(14)); err != nil {
		return err
	}
	if again {
		if _, err := r.hear(); err != nil { // its certificate, which is none
			return err
		}
	}
	exchange, err := r.hear()
	if err != nil {
		return err
	}
	//nolint:staticcheck // this is how TLS 1.2 exchanges keys with RSA, and the key is good for this test only
	premaster, err := rsa.DecryptPKCS1v15(nil, r.key, exchange[6:])
	if err != nil {
		return err
	}
	return r.finish(premaster, hello[6:38], random)
}

// finish ends a handshake with new keys.
func (r *renegotiator) finish(premaster, client, server []byte) error {
	master := expand(premaster, "master secret", slices.Concat(client, server), 48)
	keys := expand(master, "key expansion", slices.Concat(server, client), 40)
	with := func(key, salt []byte) *direction {
		block, errKey := aes.NewCipher(key)
		aead, errBlock := cipher.NewGCM(block)
		if err := errors.Join(errKey, errBlock); err != nil {
			panic(err) // the sizes are right
		}
		return &direction{aead: aead, salt: salt}
	}
	if _, err := r.receive(recordCipherSpec); err != nil {
		return err
	}
	r.in = with(keys[:16], keys[32:36])
	finished, err := r.hear()
	if err != nil {
		return err
	}
	r.byClient = finished[4:]
	if err := r.send(recordCipherSpec, []byte{1}); err != nil {
		return err
	}
	r.out = with(keys[16:32], keys[36:])
	sum := sha256.Sum256(r.said)
	r.byUs = expand(master, "server finished", sum[:], 12)
	return r.say(20, r.byUs...)
}

// sized is a length as TLS writes it, in two bytes.
func sized(n int) []byte {
	return binary.BigEndian.AppendUint16(nil, uint16(n)) //nolint:gosec // records and messages are shorter
}

// expand is TLS 1.2's pseudorandom function (RFC 5246, 5).
func expand(secret []byte, label string, seed []byte, length int) (out []byte) {
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(slices.Concat(parts...))
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	for a := mac(seed); len(out) < length; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:length]
}
