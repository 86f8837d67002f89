// Package renegotiate is the server's side of a TLS 1.2 connection that
// renegotiates, for tests of clients: crypto/tls has none.
package renegotiate

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
)

// Types of TLS records (RFC 8446, 5.1).
const (
	recordCipherSpec = 20
	RecordAlert      = 21
	RecordHandshake  = 22
	RecordData       = 23
)

// Server is a server with TLS 1.2 and one cipher suite, an RSA key exchange
// with AES_128_GCM_SHA256 (RFC 5246, 5288 and 5746). crypto/tls has no server that
// renegotiates.
type Server struct {
	Conn net.Conn
	// Cert is its certificate, in DER, whose key is Key.
	Cert []byte
	Key  *rsa.PrivateKey

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

// Send sends a record of a type, in the clear before the first handshake is done.
func (s *Server) Send(kind byte, text []byte) error {
	if s.out != nil {
		explicit, nonce, extra := s.out.next(kind, len(text))
		text = s.out.aead.Seal(explicit, nonce, text, extra)
	}
	_, err := s.Conn.Write(slices.Concat([]byte{kind, 3, 3}, sized(len(text)), text))
	return err
}

// Receive reads a record, which must be of a type.
func (s *Server) Receive(kind byte) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(s.Conn, head); err != nil {
		return nil, err
	}
	if head[0] != kind {
		return nil, errors.New("got another record")
	}
	text := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(s.Conn, text); err != nil {
		return nil, err
	}
	if s.in == nil {
		return text, nil
	}
	_, nonce, extra := s.in.next(kind, len(text)-24) // without its nonce and its tag
	return s.in.aead.Open(nil, nonce, text[8:], extra)
}

// hear returns the client's next message of the handshake.
func (s *Server) hear() ([]byte, error) {
	length := func() int { return 4 + int(binary.BigEndian.Uint32(append([]byte{0}, s.unread[1:4]...))) }
	for len(s.unread) < 4 || len(s.unread) < length() {
		text, err := s.Receive(RecordHandshake)
		if err != nil {
			return nil, err
		}
		s.unread = append(s.unread, text...)
	}
	message := s.unread[:length()]
	s.unread = s.unread[length():]
	s.said = append(s.said, message...)
	return message, nil
}

func (s *Server) say(kind byte, body ...byte) error {
	message := slices.Concat([]byte{kind, 0}, sized(len(body)), body)
	s.said = append(s.said, message...)
	return s.Send(RecordHandshake, message)
}

// Handshake makes a handshake: the first one, or one more, which asks for a client
// certificate that need not be.
func (s *Server) Handshake(again bool) error {
	s.said = nil
	hello, err := s.hear()
	if err != nil {
		return err
	}
	if again && !bytes.Contains(hello, s.byClient) {
		return errors.New("the client does not bind the two handshakes together")
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	both := slices.Concat(s.byClient, s.byUs)
	extension := slices.Concat([]byte{0xff, 1}, sized(1+len(both)), sized(len(both))[1:], both)
	err = errors.Join(
		s.say(2, slices.Concat([]byte{3, 3}, random, []byte{0, 0, 0x9c, 0}, sized(len(extension)), extension)...),
		s.say(11, slices.Concat([]byte{0}, sized(3+len(s.Cert)), []byte{0}, sized(len(s.Cert)), s.Cert)...),
	)
	if again {
		err = errors.Join(err, s.say(13, 1, 1, 0, 2, 4, 1, 0, 0)) // RSA, with SHA-256, any authority
	}
	if err = errors.Join(err, s.say(14)); err != nil {
		return err
	}
	if again {
		if _, err := s.hear(); err != nil { // its certificates: an empty list
			return err
		}
	}
	exchange, err := s.hear()
	if err != nil {
		return err
	}
	//nolint:staticcheck // this is how TLS 1.2 exchanges keys with RSA, and the key is good for this test only
	premaster, err := rsa.DecryptPKCS1v15(nil, s.Key, exchange[6:])
	if err != nil {
		return err
	}
	return s.finish(premaster, hello[6:38], random)
}

// Ask makes the first handshake, reads the request, and asks for another handshake.
func (s *Server) Ask() error {
	if err := s.Handshake(false); err != nil {
		return err
	}
	if _, err := s.Receive(RecordData); err != nil {
		return err
	}
	return s.Send(RecordHandshake, []byte{0, 0, 0, 0}) // a HelloRequest
}

// finish ends a handshake with new keys.
func (s *Server) finish(premaster, client, server []byte) error {
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
	if _, err := s.Receive(recordCipherSpec); err != nil {
		return err
	}
	s.in = with(keys[:16], keys[32:36])
	finished, err := s.hear()
	if err != nil {
		return err
	}
	s.byClient = finished[4:]
	if err := s.Send(recordCipherSpec, []byte{1}); err != nil {
		return err
	}
	s.out = with(keys[16:32], keys[36:])
	sum := sha256.Sum256(s.said)
	s.byUs = expand(master, "server finished", sum[:], 12)
	return s.say(20, s.byUs...)
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
