package peers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

var quiet = log.New(io.Discard, "", 0)

// authority signs certificates. The first one is trusted; see trust.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var trusted, unknownAuthority authority

// trust makes the authorities, and has crypto/x509 trust the first one: it reads
// SSL_CERT_FILE when it first verifies something.
func trust(dir string) error {
	var err1, err2 error
	trusted, err1 = newAuthority("firstline test")
	unknownAuthority, err2 = newAuthority("nobody knows this one")
	file := filepath.Join(dir, "ca.pem")
	return errors.Join(err1, err2,
		os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.cert.Raw}), 0o600),
		os.Setenv("SSL_CERT_FILE", file), os.Setenv("SSL_CERT_DIR", dir))
}

func newAuthority(name string) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(raw)
	return authority{cert, key}, err
}

// rsaKey is one for everybody: making one takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// leaf is a certificate for a name, and for 127.0.0.1 and ::1 with it, for 30 days
// from a day.
func (a *authority) leaf(name string, from time.Time) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:   from, NotAfter: from.Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	if name != appName {
		template.IPAddresses = nil
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &rsaKey().PublicKey, a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: rsaKey()}
}

// appName is the name of the instance: names_test.go has its addresses.
const appName = "app.test"

// withTLS is a configuration with a good certificate, as changed.
func withTLS(change func(*tls.Config)) *lazyTLS { return &lazyTLS{change: change} }

var goodTLS = withTLS(nil)

// lazyTLS is made when the authority is there: after TestMain began.
type lazyTLS struct {
	change func(*tls.Config)
	once   sync.Once
	config *tls.Config
}

func (l *lazyTLS) get() *tls.Config {
	l.once.Do(func() {
		l.config = &tls.Config{Certificates: []tls.Certificate{trusted.leaf(appName, time.Now().Add(-time.Hour))}}
		if l.change != nil {
			l.change(l.config)
		}
	})
	return l.config
}

// hostKeys are the host keys of SSH servers, by type.
var hostKeys = sync.OnceValue(func() map[string]crypto.Signer {
	_, ed, err1 := ed25519.GenerateKey(rand.Reader)
	ec, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{"ED25519": ed, "ECDSA": ec, "RSA": rsaKey()}
})

func hostKey(kind string) ssh.Signer {
	signer, err := ssh.NewSignerFromSigner(hostKeys()[kind])
	if err != nil {
		panic(err)
	}
	return signer
}

func fingerprint(kind string) string { return ssh.FingerprintSHA256(hostKey(kind).PublicKey()) }
