package peers

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
)

// Types of TLS records and of handshake messages (RFC 5246).
const (
	recordChange    = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23

	helloRequest       = 0
	clientHello        = 1
	serverHello        = 2
	certificate        = 11
	certificateRequest = 13
	serverHelloDone    = 14
	finished           = 20
)

// renegotiator is the server's side of TLS 1.2 with one cipher suite,
// TLS_RSA_WITH_AES_128_GCM_SHA256, since crypto/tls does not renegotiate as a
// server. It does what Apache does for "SSLVerifyClient optional" in a Location: it
// reads the request, sends a HelloRequest, asks for a certificate in a second
// handshake within the first, and then answers.
type renegotiator struct {
	net.Conn
	// requires: it refuses a client without a certificate.
	requires bool
	in, out  half
	// transcript is what the present handshake has said.
	transcript bytes.Buffer
	// clientSaid and serverSaid are the verify_data of the handshake before (RFC 5746).
	clientSaid, serverSaid []byte
	handshake              bytes.Buffer // bytes of handshake records, not read yet
	data                   bytes.Buffer // bytes of the application, not read yet
}

// half is the protection of one direction; a nil aead is none.
type half struct {
	aead     cipher.AEAD
	salt     []byte
	sequence uint64
}

var errUnexpected = errors.New("the client sent something else than this server waits for")

// renegotiates asks for a certificate, and does without.
func renegotiates(t *testing.T, h *here) {
	t.Helper()
	serves(func(conn net.Conn) { (&renegotiator{Conn: conn}).serve() })(t, h)
}

// renegotiatesAndRefuses refuses who has no certificate.
func renegotiatesAndRefuses(t *testing.T, h *here) {
	t.Helper()
	serves(func(conn net.Conn) { (&renegotiator{Conn: conn, requires: true}).serve() })(t, h)
}

func (r *renegotiator) serve() {
	defer func() { _ = r.Close() }()
	if r.shake(false) != nil {
		return
	}
	for !bytes.HasSuffix(r.data.Bytes(), []byte("\r\n\r\n")) {
		if r.read() != nil {
			return
		}
	}
	if r.send(recordHandshake, []byte{helloRequest, 0, 0, 0}) != nil || r.shake(true) != nil {
		return
	}
	_ = r.send(recordData, []byte(okText))
	_, _ = io.Copy(io.Discard, r.Conn)
}

// shake makes a full handshake, and asks for a certificate if it is to.
func (r *renegotiator) shake(asks bool) error {
	r.transcript.Reset()
	hello, err := r.message(clientHello)
	if err != nil || len(hello) < 38 {
		return errors.Join(err, errUnexpected)
	}
	clientRandom := hello[6:38]
	serverRandom := make([]byte, 32)
	_, _ = rand.Read(serverRandom) // it does not fail
	said := slices.Concat(r.clientSaid, r.serverSaid)
	info := append([]byte{0xff, 1}, sized(2, sized(1, said))...) // renegotiation_info
	body := slices.Concat([]byte{3, 3}, serverRandom, []byte{0, 0, 0x9c, 0}, sized(2, info))
	cert := goodTLS.get().Certificates[0].Certificate[0]
	flight := [][]byte{message(serverHello, body), message(certificate, sized(3, sized(3, cert)))}
	if asks {
		// rsa_sign and ecdsa_sign, rsa_pkcs1_sha256, any authority.
		flight = append(flight, message(certificateRequest, []byte{2, 1, 64, 0, 2, 4, 1, 0, 0}))
	}
	for _, m := range append(flight, message(serverHelloDone, nil)) {
		r.transcript.Write(m)
		if err := r.send(recordHandshake, m); err != nil {
			return err
		}
	}
	if asks { // what it has, which is none
		if _, err := r.message(certificate); err != nil {
			return err
		}
		if r.requires {
			_ = r.send(recordAlert, []byte{2, 40}) // handshake_failure
			return errUnexpected
		}
	}
	exchange, err := r.message(16)
	if err != nil || len(exchange) < 6 {
		return errors.Join(err, errUnexpected)
	}
	secret, err := rsa.DecryptPKCS1v15(nil, rsaKey(), exchange[6:]) //nolint:staticcheck // it is what this cipher suite has
	if err != nil {
		return err
	}
	return r.finish(secret, clientRandom, serverRandom)
}

// finish changes the ciphers and exchanges the Finished messages.
func (r *renegotiator) finish(secret, clientRandom, serverRandom []byte) error {
	master := prf(secret, "master secret", slices.Concat(clientRandom, serverRandom), 48)
	keys := prf(master, "key expansion", slices.Concat(serverRandom, clientRandom), 2*16+2*4)
	if changed, err := r.readOne(); err != nil || !changed {
		return errors.Join(err, errUnexpected)
	}
	r.in = protect(keys[:16], keys[32:36])
	r.clientSaid = r.verify(master, "client finished")
	got, err := r.message(finished)
	if err != nil || !bytes.Equal(got[4:], r.clientSaid) {
		return errors.Join(err, errUnexpected)
	}
	if err := r.send(recordChange, []byte{1}); err != nil {
		return err
	}
	r.out = protect(keys[16:32], keys[36:40])
	r.serverSaid = r.verify(master, "server finished")
	return r.send(recordHandshake, message(finished, r.serverSaid))
}

func (r *renegotiator) verify(master []byte, label string) []byte {
	sum := sha256.Sum256(r.transcript.Bytes())
	return prf(master, label, sum[:], 12)
}

// message reads the next handshake message, which must be of a type.
func (r *renegotiator) message(kind byte) ([]byte, error) {
	for {
		if b := r.handshake.Bytes(); len(b) >= 4 {
			size := 4 + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
			if len(b) >= size {
				m := bytes.Clone(r.handshake.Next(size))
				if m[0] != kind {
					return nil, errUnexpected
				}
				r.transcript.Write(m)
				return m, nil
			}
		}
		if err := r.read(); err != nil {
			return nil, err
		}
	}
}

// read reads one record, which may not change the cipher.
func (r *renegotiator) read() error {
	changed, err := r.readOne()
	if changed {
		return errUnexpected
	}
	return err
}

// readOne reads one record, and reports whether it changes the cipher.
func (r *renegotiator) readOne() (changed bool, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r.Conn, head); err != nil {
		return false, err
	}
	b := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(r.Conn, b); err != nil {
		return false, err
	}
	if r.in.aead != nil {
		if len(b) < 24 {
			return false, errUnexpected
		}
		size := len(b) - 24
		if b, err = r.in.aead.Open(nil, slices.Concat(r.in.salt, b[:8]), b[8:], r.in.additional(head[0], size)); err != nil {
			return false, err
		}
		r.in.sequence++
	}
	switch head[0] {
	case recordChange:
		return true, nil
	case recordHandshake:
		r.handshake.Write(b)
	case recordData:
		r.data.Write(b)
	default:
		return false, errUnexpected
	}
	return false, nil
}

// send writes one record.
func (r *renegotiator) send(kind byte, b []byte) error {
	if r.out.aead != nil {
		nonce := binary.BigEndian.AppendUint64(nil, r.out.sequence)
		b = append(nonce, r.out.aead.Seal(nil, slices.Concat(r.out.salt, nonce), b, r.out.additional(kind, len(b)))...)
		r.out.sequence++
	}
	_, err := r.Write(append([]byte{kind, 3, 3}, sized(2, b)...))
	return err
}

func protect(key, salt []byte) half {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key's length is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return half{aead: aead, salt: salt}
}

// additional is what a record's cipher vouches for beside its content.
func (h half) additional(kind byte, size int) []byte {
	return append(append(binary.BigEndian.AppendUint64(nil, h.sequence), kind, 3, 3), length(2, size)...)
}

func message(kind byte, body []byte) []byte {
	return append([]byte{kind}, sized(3, body)...)
}

// sized puts the length of b in front of it, in so many bytes.
func sized(bytes int, b []byte) []byte { return append(length(bytes, len(b)), b...) }

func length(bytes, n int) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(n))[4-bytes:] //nolint:gosec // a record is short
}

// prf is the pseudorandom function of TLS 1.2 (RFC 5246, 5).
func prf(secret []byte, label string, seed []byte, size int) []byte {
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	var out []byte
	for a := mac(seed); len(out) < size; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:size]
}
