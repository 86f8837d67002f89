package checks

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"firstline/internal/fault"
)

func signer(t *testing.T, key crypto.Signer, err error) ssh.Signer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type hostKeys struct{ ed25519, ecdsa, rsa ssh.Signer }

var newHostKeys = sync.OnceValue(func() func(t *testing.T) hostKeys {
	_, ed, edErr := ed25519.GenerateKey(rand.Reader)
	ec, ecErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, rsErr := rsa.GenerateKey(rand.Reader, 2048)
	return func(t *testing.T) hostKeys {
		t.Helper()
		return hostKeys{signer(t, ed, edErr), signer(t, ec, ecErr), signer(t, rs, rsErr)}
	}
})

func fingerprint(s ssh.Signer) string { return ssh.FingerprintSHA256(s.PublicKey()) }

// sshServer answers one connection as sshd does: it lets nobody in.
func sshServer(asked *atomic.Int32, config func(*ssh.ServerConfig), keys ...ssh.Signer) func(net.Conn) {
	return func(conn net.Conn) {
		c := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			return nil, errors.New("no")
		}}
		c.AuthLogCallback = func(ssh.ConnMetadata, string, error) { asked.Add(1) }
		for _, k := range keys {
			c.AddHostKey(k)
		}
		if config != nil {
			config(c)
		}
		_, _, _, _ = ssh.NewServerConn(conn, c) // the client breaks it off
	}
}

func sshSettings(port int, set ...func(*SSHSettings)) SSHSettings {
	s := DefaultSSHSettings()
	s.Port, s.TimeoutMs, s.Attempts, s.IntervalMs = port, 20_000, 2, 0
	for _, f := range set {
		f(&s)
	}
	return s
}

func TestSSHKeyExchange(t *testing.T) {
	keys := newHostKeys()(t)
	old := func(c *ssh.ServerConfig) {
		insecure := ssh.InsecureAlgorithms()
		c.KeyExchanges, c.MACs, c.Ciphers = insecure.KeyExchanges, insecure.MACs, insecure.Ciphers
	}
	pin := func(k ssh.Signer) func(*SSHSettings) {
		return func(s *SSHSettings) { s.HostKeyFingerprint = fingerprint(k) }
	}
	all := []ssh.Signer{keys.rsa, keys.ecdsa, keys.ed25519}
	for _, tc := range []struct {
		name        string
		config      func(*ssh.ServerConfig)
		keys        []ssh.Signer
		set         func(*SSHSettings)
		reason      string
		kind        fault.Kind
		words       []string
		connections int32
	}{
		{"one key", nil, []ssh.Signer{keys.rsa}, nil, "key exchange completed, host key " + fingerprint(keys.rsa), "", nil, 1},
		{"several keys", nil, all, nil, "key exchange completed, host key " + fingerprint(keys.ed25519), "", nil, 1},
		{"old server", old, []ssh.Signer{keys.rsa}, nil, "key exchange completed", "", nil, 1},
		{"open to everybody", func(c *ssh.ServerConfig) { c.NoClientAuth = true }, all, nil, "key exchange completed", "", nil, 1},
		{"pinned", nil, []ssh.Signer{keys.ed25519}, pin(keys.ed25519), "key exchange completed, host key " + fingerprint(keys.ed25519), "", nil, 1},
		{"pinned, second in line", nil, all, pin(keys.ecdsa), "key exchange completed, host key " + fingerprint(keys.ecdsa), "", nil, 2},
		{"pinned, last in line", nil, all, pin(keys.rsa), "key exchange completed, host key " + fingerprint(keys.rsa), "", nil, 3},
		{
			"pinned, but another", nil,
			[]ssh.Signer{keys.rsa},
			pin(keys.ed25519), "", fault.InvalidInput,
			[]string{"it shows " + fingerprint(keys.rsa) + " (ssh-rsa), not the pinned " + fingerprint(keys.ed25519)},
			2,
		},
		{
			"pinned, but all others", nil,
			[]ssh.Signer{keys.ecdsa, keys.ed25519},
			pin(keys.rsa), "", fault.InvalidInput,
			[]string{fingerprint(keys.ecdsa), fingerprint(keys.ed25519), "not the pinned " + fingerprint(keys.rsa)},
			3,
		},
		{"nothing in common", func(c *ssh.ServerConfig) { c.Ciphers = []string{"rot13@example.com"} }, all, nil, "", fault.InvalidInput, []string{"alive and shares no", "cipher"}, 1},
		{"pinned old server", old, all, pin(keys.rsa), "", fault.InvalidInput, []string{"alive and shares no", "algorithm with this check"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var connections, asked atomic.Int32
			answer := sshServer(&asked, tc.config, tc.keys...)
			host, port := listen(t, func(conn net.Conn) {
				connections.Add(1)
				answer(conn)
			})
			s := sshSettings(port)
			if tc.set != nil {
				tc.set(&s)
			}
			f, err := (&SSH{DescribeInstances: at(host)}).Check(t.Context(), instance, s)
			if tc.kind != "" {
				wantKind(t, err, tc.kind, append(tc.words, "ssh 127.0.0.1:"+strconv.Itoa(port))...)
			} else {
				wantFinding(t, f, err, true, 1, "ssh 127.0.0.1:"+strconv.Itoa(port)+": "+tc.reason)
				if f.ElapsedMs > 15_000 {
					t.Errorf("took %d ms: waited for more than the key exchange", f.ElapsedMs)
				}
			}
			if n := connections.Load(); n != tc.connections {
				t.Errorf("%d connections, want %d", n, tc.connections)
			}
			if n := asked.Load(); n != 0 {
				t.Errorf("%d logins tried, want none", n)
			}
		})
	}
}

// gate is a server's connection that lets so many writes through, then hangs.
type gate struct {
	net.Conn
	left atomic.Int32
	done chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	if g.left.Add(-1) < 0 {
		<-g.done
		return 0, io.ErrClosedPipe
	}
	return g.Conn.Write(p)
}

// x/crypto/ssh writes one packet at a time: banner, key exchange offer, reply
// with the signature, NEWKEYS. The check passes with the last of them and not
// before.
func TestSSHStalls(t *testing.T) {
	keys := newHostKeys()(t)
	for writes, want := range []string{
		"timed out after 300ms: it accepted the connection and sent nothing",
		"timed out after 300ms: it sent its banner (SSH-2.0-Go) and did not complete the key exchange",
		"timed out after 300ms: it sent its banner (SSH-2.0-Go) and did not complete the key exchange",
		"timed out after 300ms: it sent its banner (SSH-2.0-Go) and did not complete the key exchange",
		"",
	} {
		t.Run(strconv.Itoa(writes)+" writes", func(t *testing.T) {
			var asked atomic.Int32
			answer := sshServer(&asked, nil, keys.ed25519)
			done := make(chan struct{})
			t.Cleanup(func() { close(done) })
			host, port := listen(t, func(conn net.Conn) {
				g := &gate{Conn: conn, done: done}
				g.left.Store(int32(writes)) //nolint:gosec // at most four
				answer(g)
			})
			s := sshSettings(port)
			if want != "" {
				s.TimeoutMs = 300
			}
			f, err := (&SSH{DescribeInstances: at(host)}).Check(t.Context(), instance, s)
			if want == "" {
				wantFinding(t, f, err, true, 1)
				return
			}
			wantFinding(t, f, err, false, 2, want)
		})
	}
}

func TestSSHBadPeers(t *testing.T) {
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
	}
	// A client that has been heard is not reset when its server closes.
	hangUp := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		slow  bool
		want  string
	}{
		{"silent", func(net.Conn) {}, true, "timed out after 200ms: it accepted the connection and sent nothing"},
		{"stalls in the banner", say("SS"), true, "timed out after 200ms: it sent 2 bytes that are no SSH banner"},
		{"stalls after the banner", say("SSH-2.0-OpenSSH_9.6\r\n"), true, "timed out after 200ms: it sent its banner (SSH-2.0-OpenSSH_9.6) and did not"},
		{"banner after other lines", say("welcome\r\nSSH-2.0-x\r\n"), true, "its banner (SSH-2.0-x)"},
		{"web server, waits", say("HTTP/1.1 400 Bad Request\r\n\r\n"), true, "timed out after 200ms: it sent 28 bytes that are no SSH banner"},
		{"web server, closes", hangUp("HTTP/1.1 400 Bad Request\r\n\r\n"), false, "connection closed: it sent 28 bytes that are no SSH banner"},
		{"closes at once", hangUp(""), false, "connection closed: it accepted the connection and sent nothing"},
		{"closes after the banner", hangUp("SSH-2.0-x\r\n"), false, "connection closed: it sent its banner (SSH-2.0-x) and did not"},
		{"resets after the banner", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-x\r\n")
			_, _ = conn.Read(make([]byte, 1))
			reset(t, conn)
		}, false, "connection reset: "},
		{"endless banner", say(strings.Repeat("x", 1<<16)), false, "not SSH: it sent "},
		{"nonsense after the banner", say("SSH-2.0-x\r\n" + strings.Repeat("\xff", 64)), false, "key exchange failed: it sent its banner (SSH-2.0-x)"},
		{"banner with control characters", say("SSH-2.0-\x1b[31m\r\n"), true, "its banner (SSH-2.0-[31m)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port := listen(t, tc.serve)
			c := &SSH{DescribeInstances: at(host), Egress: func(context.Context, string) error {
				t.Error("asked for our own way out, though the target connected")
				return nil
			}}
			s := sshSettings(port)
			if tc.slow {
				s.TimeoutMs = 200
			}
			f, err := c.Check(t.Context(), instance, s)
			wantFinding(t, f, err, false, 2, tc.want)
			if silent := tc.name == "silent"; f.Check != "ssh" || f.TimedOut != silent {
				t.Errorf("got %+v, want timed out %t", f, silent)
			}
		})
	}
	t.Run("refuses", func(t *testing.T) {
		f, err := (&SSH{DescribeInstances: at("127.0.0.1")}).Check(t.Context(), instance, sshSettings(nobody(t)))
		wantFinding(t, f, err, false, 2, "connection refused")
		if f.TimedOut {
			t.Error("counts as timed out")
		}
	})
}

// OpenSSH's listener turns clients away in words, without a banner: it lives.
func TestSSHTurnedAway(t *testing.T) {
	for _, tc := range []struct{ name, says, words string }{
		{"penalties", "Not allowed at this time\r\n", `the server is alive and turns us away: it says "Not allowed at this time" (PerSourcePenalties`},
		{"flood", "Exceeded MaxStartups\r\n", `the server is alive and turns us away: it says "Exceeded MaxStartups"`},
	} {
		for _, how := range []string{"closes", "resets", "waits"} {
			t.Run(tc.name+" "+how, func(t *testing.T) {
				var connections atomic.Int32
				host, port := listen(t, func(conn net.Conn) {
					connections.Add(1)
					_, _ = io.WriteString(conn, tc.says)
					switch how {
					case "closes":
						_ = conn.(*net.TCPConn).CloseWrite()
						_, _ = io.Copy(io.Discard, conn)
					case "resets":
						_, _ = conn.Read(make([]byte, 1))
						reset(t, conn)
					}
				})
				s := sshSettings(port)
				if how == "waits" {
					s.TimeoutMs = 300
				}
				_, err := (&SSH{DescribeInstances: at(host)}).Check(t.Context(), instance, s)
				wantKind(t, err, fault.Unavailable, tc.words)
				if n := connections.Load(); n != 2 {
					t.Errorf("%d attempts, want both: it may pass", n)
				}
			})
		}
	}
}

// A server that shows another key and then goes silent is alive: that is no
// reason to reboot it, nor to say that it has no other key.
func TestSSHPinnedAndThenSilent(t *testing.T) {
	keys := newHostKeys()(t)
	var connections, asked atomic.Int32
	answer := sshServer(&asked, nil, keys.ed25519)
	host, port := listen(t, func(conn net.Conn) {
		if connections.Add(1)%2 == 1 {
			answer(conn)
			return
		}
		_, _ = conn.Read(make([]byte, 1<<16))
		_ = conn.Close()
	})
	s := sshSettings(port, func(s *SSHSettings) { s.HostKeyFingerprint = fingerprint(keys.rsa) })
	_, err := (&SSH{DescribeInstances: at(host)}).Check(t.Context(), instance, s)
	wantKind(t, err, fault.Unavailable, fingerprint(keys.ed25519), fingerprint(keys.rsa), "could not be asked for its other host keys")
	if n := connections.Load(); n != 4 {
		t.Errorf("%d connections, want 2 in each of 2 attempts", n)
	}
}

func TestSSHErrors(t *testing.T) {
	broken := Egress(func(context.Context, string) error { return errors.New("i/o timeout") })
	for _, tc := range []struct {
		name  string
		check SSH
		set   func(*SSHSettings)
		kind  fault.Kind
		words string
	}{
		{"settings", SSH{}, func(s *SSHSettings) { s.Port = 0 }, fault.InvalidInput, "ssh.port"},
		{"instance unknown", SSH{DescribeInstances: refuses("InvalidInstanceID.NotFound")}, nil, fault.InvalidInput, "NotFound"},
		{"denied", SSH{DescribeInstances: refuses("UnauthorizedOperation")}, nil, fault.Denied, ""},
		{"no IPv6", SSH{DescribeInstances: at("203.0.113.7")}, func(s *SSHSettings) { s.AddressFamily = "ipv6" }, fault.InvalidInput, "no IPv6 address"},
		{"no such name", SSH{way: way{lookup: noSuchName}}, func(s *SSHSettings) { s.Host = "a.example" }, fault.InvalidInput, "does not resolve"},
		{"way out broken", SSH{DescribeInstances: at("203.0.113.7"), way: way{dial: silent}, Egress: broken}, nil, fault.Unavailable, "our own way out over ipv4"},
		{"private name, no VPC", SSH{way: way{lookup: func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
		}}}, func(s *SSHSettings) { s.Host = "a.example" }, fault.InvalidInput, "resolves to 10.0.0.7, a private address"},
		{"private address, no VPC", SSH{DescribeInstances: describes(types.Instance{State: running(), PrivateIpAddress: new("10.0.0.7")})}, func(s *SSHSettings) { s.Private = true }, fault.InvalidInput, "is 10.0.0.7, a private address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := DefaultSSHSettings()
				if tc.set != nil {
					tc.set(&s)
				}
				_, err := tc.check.Check(t.Context(), instance, s)
				wantKind(t, err, tc.kind, tc.words)
			})
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		host, port := listen(t, func(net.Conn) { cancel() })
		start := time.Now()
		_, err := (&SSH{DescribeInstances: at(host)}).Check(ctx, instance, sshSettings(port))
		wantKind(t, err, fault.Unavailable, "context canceled")
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("took %v, the whole time-out", took)
		}
	})
}
