package checks

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"
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

func sshSettings(port int, set ...func(*incident.SSHSettings)) incident.SSHSettings {
	s := incident.DefaultSSHSettings()
	s.Port, s.TimeoutSeconds, s.Attempts, s.IntervalSeconds = port, 20, 2, 0
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
	_, other, err := ed25519.GenerateKey(rand.Reader)
	another := signer(t, other, err)
	var asked atomic.Int32
	server := func(config func(*ssh.ServerConfig), keys ...ssh.Signer) func(net.Conn) {
		return sshServer(&asked, config, keys...)
	}
	all := []ssh.Signer{keys.rsa, keys.ecdsa, keys.ed25519}
	const completed, shared = "key exchange completed, host key ", "it negotiates, and shares no "
	for _, tc := range []struct {
		name        string
		serve       func(net.Conn)
		pinned      ssh.Signer
		known       string // type of the pinned key
		reason      string // begins with, where it passes
		attention   []string
		connections int32
	}{
		{"one key", server(nil, keys.rsa), nil, "", completed + fingerprint(keys.rsa) + " (ssh-rsa)", nil, 1},
		{"several keys", server(nil, all...), nil, "", completed + fingerprint(keys.ed25519) + " (ssh-ed25519)", nil, 1},
		{"old server", server(old, keys.rsa), nil, "", completed, nil, 1},
		{"open to everybody", server(func(c *ssh.ServerConfig) { c.NoClientAuth = true }, all...), nil, "", completed, nil, 1},
		{"a line of more than 255 bytes before the banner", afterwards(strings.Repeat("legal notice ", 40)+"\r\n", server(nil, all...)), nil, "", completed, nil, 1},
		{"many lines before the banner", afterwards(strings.Repeat("welcome\r\n", 1000), server(nil, all...)), nil, "", completed, nil, 1},
		{"only sntrup761", offers(onlySntrup), nil, "", shared + "key exchange algorithm with this check; it offers sntrup761x25519-sha512@openssh.com", nil, 1},
		{"only umac", offers(onlyUmac), nil, "", shared + "client to server MAC algorithm with this check; it offers umac-64@openssh.com", nil, 1},
		{"nothing in common", server(func(c *ssh.ServerConfig) { c.Ciphers = []string{"rot13@example.com"} }, all...), nil, "", shared + "client to server cipher", nil, 1},
		{"pinned", server(nil, keys.ed25519), keys.ed25519, "", completed + fingerprint(keys.ed25519), nil, 1},
		{"pinned, the first type to ask for", server(nil, all...), keys.ed25519, "", completed + fingerprint(keys.ed25519), nil, 1},
		{"pinned, the last type to ask for", server(nil, all...), keys.rsa, "", completed + fingerprint(keys.rsa), nil, 3},
		{"pinned, its type is known", server(nil, all...), keys.rsa, ssh.KeyAlgoRSA, completed + fingerprint(keys.rsa), nil, 1},
		{"pinned, its ECDSA type is known", server(nil, all...), keys.ecdsa, ssh.KeyAlgoECDSA256, completed + fingerprint(keys.ecdsa), nil, 1},
		{
			"pinned, but another", server(nil, keys.rsa), keys.ed25519, "", "",
			[]string{"it shows " + fingerprint(keys.rsa) + " (ssh-rsa), not the pinned " + fingerprint(keys.ed25519)},
			2,
		},
		{
			"pinned, and none of several", server(nil, all...), another, "", "",
			[]string{fingerprint(keys.ed25519) + " (ssh-ed25519) and " + fingerprint(keys.ecdsa) + " (ecdsa-sha2-nistp256) and " + fingerprint(keys.rsa) + " (ssh-rsa), not the pinned"},
			4,
		},
		{
			"pinned, another of the known type", server(nil, all...), another, ssh.KeyAlgoED25519, "",
			[]string{"it shows " + fingerprint(keys.ed25519) + " (ssh-ed25519), not the pinned " + fingerprint(another)},
			1,
		},
		{"pinned, none of the known type", server(nil, keys.rsa), another, ssh.KeyAlgoED25519, "", []string{"shares no host key algorithm", "rsa-sha2-512"}, 1},
		{"pinned, and lets one connection in at a time", onlyFirst(server(nil, all...)), keys.rsa, "", "", []string{"it shows " + fingerprint(keys.ed25519)}, 2},
		{"pinned, old server", server(old, all...), keys.rsa, "", "", []string{"alive, and shares no", "algorithm with this check"}, 1},
		{"pinned, only sntrup761", offers(onlySntrup), keys.rsa, "", "", []string{"alive, and shares no key exchange algorithm", "sntrup761x25519-sha512@openssh.com"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var connections atomic.Int32
			host, port := listen(t, func(conn net.Conn) {
				connections.Add(1)
				tc.serve(conn)
			})
			s, keyType := sshSettings(port), ""
			if tc.pinned != nil {
				s.HostKeyFingerprint, keyType = fingerprint(tc.pinned), tc.pinned.PublicKey().Type()
			}
			f := (&Vantage{DescribeInstances: at(host)}).SSH(t.Context(), instance, s, tc.known)
			if tc.attention != nil {
				wantUnknown(t, f, incident.Attention, append(tc.attention, "ssh 127.0.0.1:"+strconv.Itoa(port))...)
				keyType = ""
			} else {
				wantFinding(t, f, true, 1, "ssh 127.0.0.1:"+strconv.Itoa(port)+": "+tc.reason)
				if f.ElapsedMs > 15_000 {
					t.Errorf("took %d ms: waited for more than the key exchange", f.ElapsedMs)
				}
			}
			if f.HostKeyType != keyType {
				t.Errorf("host key type %q, want %q", f.HostKeyType, keyType)
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

// A server that takes most of an attempt for a key exchange: the next attempt goes on
// with the types of key that it has not been asked for.
func TestSSHSlowWithSeveralKeys(t *testing.T) {
	keys := newHostKeys()(t)
	var asked, connections atomic.Int32
	serve := sshServer(&asked, nil, keys.rsa, keys.ecdsa, keys.ed25519)
	host, port := listen(t, func(conn net.Conn) {
		connections.Add(1)
		time.Sleep(600 * time.Millisecond)
		serve(conn)
	})
	s := sshSettings(port)
	s.TimeoutSeconds, s.Attempts, s.HostKeyFingerprint = 1, 3, fingerprint(keys.rsa)
	f := (&Vantage{DescribeInstances: at(host)}).SSH(t.Context(), instance, s, "")
	if f.Outcome != incident.Passed || f.Attempts != 3 || f.HostKeyType != ssh.KeyAlgoRSA {
		t.Errorf("got %+v", f)
	}
	s.Attempts = 1
	f = (&Vantage{DescribeInstances: at(host)}).SSH(t.Context(), instance, s, "")
	wantUnknown(t, f, incident.Attention, "it shows "+fingerprint(keys.ed25519), "raise ssh.timeout_seconds")
}

// onlyFirst closes every connection but the first, as a limit per source does.
func onlyFirst(serve func(net.Conn)) func(net.Conn) {
	var connections atomic.Int32
	return func(conn net.Conn) {
		if connections.Add(1) == 1 {
			serve(conn)
		}
		_ = conn.Close()
	}
}

// afterwards says something before it serves.
func afterwards(words string, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, words)
		serve(conn)
	}
}

// What OpenSSH 9.2 of Debian 12 offers with KexAlgorithms
// sntrup761x25519-sha512@openssh.com, and with MACs umac-64@openssh.com and Ciphers
// aes256-ctr: the lists of its SSH_MSG_KEXINIT.
var (
	onlySntrup = kexLists{
		"sntrup761x25519-sha512@openssh.com,kex-strict-s-v00@openssh.com",
		"ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256",
		"chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
		"umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com," +
			"umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1",
	}
	onlyUmac = kexLists{
		"sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384," +
			"ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256,kex-strict-s-v00@openssh.com",
		"ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256",
		"aes256-ctr",
		"umac-64@openssh.com",
	}
)

type kexLists struct{ keyExchanges, hostKeys, ciphers, macs string }

// offers is sshd that offers these lists and closes when it has read ours.
func offers(l kexLists) func(net.Conn) {
	return func(conn net.Conn) {
		payload := make([]byte, 17)
		payload[0] = 20 // SSH_MSG_KEXINIT
		for _, list := range []string{l.keyExchanges, l.hostKeys, l.ciphers, l.ciphers, l.macs, l.macs, "none,zlib@openssh.com", "none,zlib@openssh.com", "", ""} {
			payload = binary.BigEndian.AppendUint32(payload, uint32(len(list))) //nolint:gosec // a few hundred
			payload = append(payload, list...)
		}
		_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n"+packet(append(payload, 0, 0, 0, 0, 0)))
		_, _ = conn.Read(make([]byte, 4096))
		_ = conn.Close()
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
// with the signature, NEWKEYS. The check passes with the signature and not before.
func TestSSHStalls(t *testing.T) {
	keys := newHostKeys()(t)
	for writes, want := range []string{
		"timed out after 300ms before the server sent anything",
		"timed out after 300ms in the key exchange, after its banner (SSH-2.0-Go)",
		"timed out after 300ms in the key exchange, after its banner (SSH-2.0-Go)",
		"",
	} {
		t.Run(strconv.Itoa(writes)+" writes", func(t *testing.T) {
			var asked atomic.Int32
			answer := sshServer(&asked, nil, keys.ed25519)
			done := make(chan struct{})
			t.Cleanup(func() { close(done) })
			host, port := listen(t, func(conn net.Conn) {
				g := &gate{Conn: conn, done: done}
				g.left.Store(int32(writes)) //nolint:gosec // at most three
				answer(g)
			})
			s := sshSettings(port)
			if want != "" {
				s.TimeoutSeconds = 0.3
			}
			f := (&Vantage{DescribeInstances: at(host)}).SSH(t.Context(), instance, s, "")
			if want == "" {
				wantFinding(t, f, true, 1)
				return
			}
			wantFinding(t, f, false, 2, want)
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
	resets := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			_, _ = conn.Read(make([]byte, 1))
			reset(t, conn)
		}
	}
	// A server that is done closes without reading what the client has sent.
	closes := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}
	const banner = "SSH-2.0-x\r\n"
	disconnect := packet(append([]byte{1, 0, 0, 0, 12, 0, 0, 0, 20}, "Too many connections\x00\x00\x00\x00"...))
	const silent, closed = incident.Silent, incident.ClosedEarly
	const attention, busy = incident.Attention, incident.Busy
	for _, tc := range []struct {
		name       string
		serve      func(net.Conn)
		slow       bool
		kind       incident.Kind // "": failed
		connection incident.Connection
		want       string
	}{
		{"silent", func(net.Conn) {}, true, "", silent, "timed out after 200ms before the server sent anything"},
		{"closes at once", closes(""), false, busy, closed, "connection closed before the server sent anything"},
		{"closes once it has heard us", hangUp(""), false, busy, closed, "connection closed before the server sent anything"},
		{"resets what does not begin with PROXY", resets(""), false, "", closed, "connection reset before the server sent anything"},
		{"stalls in the banner", say("SS"), true, "", "", "timed out after 200ms in the middle of its banner"},
		{"stalls after the banner", say("SSH-2.0-OpenSSH_9.6\r\n"), true, "", "", "timed out after 200ms in the key exchange, after its banner (SSH-2.0-OpenSSH_9.6)"},
		{"banner after other lines", say("welcome\r\nSSH-2.0-x\r\n"), true, "", "", "its banner (SSH-2.0-x)"},
		{"banner after a long line", say(strings.Repeat("x", 5000) + "\r\nSSH-2.0-x\r\n"), true, "", "", "its banner (SSH-2.0-x)"},
		{"no banner after many lines", say(strings.Repeat("welcome\r\n", 1025)), false, busy, "", `instead of its banner it sends "welcome"`},
		{"banner with control characters", say("SSH-2.0-\x1b[31m\r\n"), true, "", "", "its banner (SSH-2.0-[31m)"},
		{"closes after the banner", hangUp(banner), false, busy, "", "connection closed in the key exchange, after its banner (SSH-2.0-x)"},
		{"resets after the banner", resets(banner), false, "", "", "connection reset in the key exchange, after its banner"},
		{"disconnects", hangUp(banner + disconnect), false, busy, "", `the server is alive and disconnects: reason 12: "Too many connections"`},
		{"disconnects and closes", closes(banner + disconnect), false, busy, "", `the server is alive and disconnects: reason 12: "Too many connections"`},
		{"disconnects and resets", resets(banner + disconnect), false, busy, "", `the server is alive and disconnects: reason 12: "Too many connections"`},
		{"disconnects and waits", say(banner + disconnect), false, busy, "", `the server is alive and disconnects: reason 12: "Too many connections"`},
		{"nonsense after the banner", say(banner + strings.Repeat("\xff", 64)), false, "", "", "key exchange failed, after its banner (SSH-2.0-x)"},
		{"endless banner", say(strings.Repeat("x", 1<<16)), false, busy, "", "instead of its banner it sends \"xxx"},
		{"words of its own", closes("Too many users.\r\n"), false, busy, "", `instead of its banner it sends "Too many users."`},
		{"penalties, or a flood", hangUp("Not allowed at this time\r\n"), false, busy, "", `instead of its banner it sends "Not allowed at this time" (too many clients are about to log in, or this client has too many penalties: MaxStartups or PerSourcePenalties`},
		{"penalties, and resets", resets("Not allowed at this time\r\n"), false, busy, "", `instead of its banner it sends "Not allowed at this time"`},
		{"flood", closes("Exceeded MaxStartups\r\n"), false, busy, "", `instead of its banner it sends "Exceeded MaxStartups" (too many clients are about to log in: MaxStartups)`},
		{"flood, and waits", say("Exceeded MaxStartups\r\n"), true, busy, "", `instead of its banner it sends "Exceeded MaxStartups"`},
		{"web server, waits", say("HTTP/1.1 400 Bad Request\r\n\r\n"), true, attention, "", "a web server answers on this port"},
		{"web server, closes", hangUp("HTTP/1.1 400 Bad Request\r\n\r\n"), false, attention, "", "a web server answers on this port"},
		{"TLS server, sends an alert", resets("\x15\x03\x01\x00\x02\x02\x46"), false, attention, "", "a TLS server answers on this port"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var connections atomic.Int32
			host, port := listen(t, func(conn net.Conn) {
				connections.Add(1)
				tc.serve(conn)
			})
			c := &Vantage{DescribeInstances: at(host), Egress: func(context.Context, string) error {
				t.Error("asked for our own connectivity, though the target connected")
				return nil
			}}
			s := sshSettings(port)
			if tc.slow {
				s.TimeoutSeconds = 0.2
			}
			f := c.SSH(t.Context(), instance, s, "")
			attempts := 2
			if tc.kind == "" {
				wantFinding(t, f, false, attempts, tc.want)
			} else {
				wantUnknown(t, f, tc.kind, tc.want)
			}
			if tc.kind == attention {
				attempts = 1
			}
			want := attempts
			if strings.HasSuffix(tc.name, "PROXY") {
				want++ // once it is tried with such a line
			}
			if n := connections.Load(); int(n) != want {
				t.Errorf("%d connections, want %d", n, want)
			}
			if f.Check != "ssh" || f.Connection != tc.connection || f.Answered != (tc.connection == "") {
				t.Errorf("got %+v, want connection %q", f, tc.connection)
			}
		})
	}
	t.Run("refuses", func(t *testing.T) {
		f := (&Vantage{DescribeInstances: at("127.0.0.1")}).SSH(t.Context(), instance, sshSettings(nobody(t)), "")
		wantFinding(t, f, false, 2, "connection refused")
		if f.Connection != incident.Refused || f.Answered {
			t.Errorf("got %+v, want refused", f)
		}
	})
	for name, server := range map[string]*httptest.Server{
		"a real web server": httptest.NewServer(http.NotFoundHandler()),
		"a real TLS server": serveTLS(t, nil, func(http.ResponseWriter, *http.Request) {}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(server.Close)
			s := sshSettings(portNumber(t, server.URL))
			f := (&Vantage{DescribeInstances: at("127.0.0.1")}).SSH(t.Context(), instance, s, "")
			if f.Outcome != incident.Unknown || f.Kind == incident.Blind {
				t.Errorf("got %+v, want attention, or busy where it closes without a word", f)
			}
		})
	}
}

// HAProxy with accept-proxy before an SSH server resets the connection of everybody
// who does not begin with a line of the PROXY protocol, nginx closes it.
func TestSSHExpectsProxy(t *testing.T) {
	var asked, connections atomic.Int32
	answer := sshServer(&asked, nil, newHostKeys()(t).ed25519)
	for name, end := range map[string]func(net.Conn){
		"resets": func(conn net.Conn) { reset(t, conn) },
		"closes": func(conn net.Conn) { _ = conn.Close() },

		"answers in another way": func(conn net.Conn) { reset(t, conn) },
	} {
		t.Run(name, func(t *testing.T) {
			connections.Store(0)
			host, port := listen(t, func(conn net.Conn) {
				connections.Add(1)
				b := make([]byte, 256)
				if n, _ := conn.Read(b); !bytes.HasPrefix(b[:n], []byte("PROXY TCP4 127.0.0.1 127.0.0.1 ")) {
					end(conn)
					return
				}
				if name != "answers in another way" {
					answer(conn)
					return
				}
				_, _ = io.WriteString(conn, "what?\n")
			})
			f := (&Vantage{DescribeInstances: at(host)}).SSH(t.Context(), instance, sshSettings(port), "")
			want := "the server expects the PROXY protocol on this port"
			if name == "answers in another way" {
				want = `no SSH server: it closes the connection of a client that speaks SSH, and sends "what?"`
			}
			wantUnknown(t, f, incident.Attention, want)
			if n := connections.Load(); n != 2 || !f.Answered {
				t.Errorf("%d connections, want 2; answered %t", n, f.Answered)
			}
		})
	}
}

// The TCP wrappers wait for 5 seconds before they close the connection of a client
// that /etc/hosts.deny names (clean_exit.c). By then we have spoken, so it is a reset.
// It must not look like a server that hangs.
func TestSSHHostsDeny(t *testing.T) {
	const refusal = 5 * time.Second
	if got := seconds(incident.DefaultSSHSettings().TimeoutSeconds); got < refusal+time.Second {
		t.Errorf("timeout_seconds is %v by default, and a refusal takes %v", got, refusal)
	}
	var connections atomic.Int32
	host, port := listen(t, func(conn net.Conn) {
		connections.Add(1)
		time.Sleep(refusal / 10)
		_ = conn.Close()
	})
	f := (&Vantage{DescribeInstances: at(host)}).SSH(t.Context(), instance, sshSettings(port, func(s *incident.SSHSettings) {
		s.TimeoutSeconds = 0.8
	}), "")
	wantFinding(t, f, false, 2, "connection reset before the server sent anything")
	if f.Connection != incident.ClosedEarly || f.Answered || connections.Load() != 2 {
		t.Errorf("got %+v after %d connections, want closed after 2", f, connections.Load())
	}
}

// packet frames a payload of a multiple of 8 bytes less 5 and a padding of 4,
// without encryption (RFC 4253, 6).
func packet(payload []byte) string {
	padding := 8 - (5+len(payload))%8
	if padding < 4 {
		padding += 8
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding)) //nolint:gosec // a few bytes
	b = append(b, byte(padding))
	b = append(b, payload...)
	return string(append(b, make([]byte, padding)...))
}

func TestSSHErrors(t *testing.T) {
	broken := Egress(func(context.Context, string) error { return errors.New("i/o timeout") })
	for _, tc := range []struct {
		name  string
		check Vantage
		set   func(*incident.SSHSettings)
		kind  incident.Kind
		words string
	}{
		{"instance unknown", Vantage{DescribeInstances: refuses("InvalidInstanceID.NotFound")}, nil, incident.Attention, "NotFound"},
		{"denied", Vantage{DescribeInstances: refuses("UnauthorizedOperation")}, nil, incident.Blind, ""},
		{"no IPv6", Vantage{DescribeInstances: at("203.0.113.7")}, func(s *incident.SSHSettings) { s.AddressFamily = "ipv6" }, incident.Attention, "no IPv6 address"},
		{"no such name", Vantage{lookup: noSuchName}, func(s *incident.SSHSettings) { s.Host = "a.example" }, incident.Attention, "does not resolve"},
		{"way out broken", Vantage{DescribeInstances: at("203.0.113.7"), dial: silent, Egress: broken}, nil, incident.Blind, "our own connectivity over IPv4"},
		{"private name, no VPC", Vantage{lookup: func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
		}}, func(s *incident.SSHSettings) { s.Host = "a.example" }, incident.Attention, "10.0.0.7 is a private address"},
		{"private address, no VPC", Vantage{DescribeInstances: describes(types.Instance{State: running(), PrivateIpAddress: new("10.0.0.7")})}, func(s *incident.SSHSettings) { s.Private = true }, incident.Attention, "10.0.0.7 is a private address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := incident.DefaultSSHSettings()
				if tc.set != nil {
					tc.set(&s)
				}
				if tc.check.DescribeInstances == nil {
					tc.check.DescribeInstances = at("203.0.113.7")
				}
				f := tc.check.SSH(t.Context(), instance, s, "")
				wantUnknown(t, f, tc.kind, tc.words)
			})
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		host, port := listen(t, func(net.Conn) { cancel() })
		start := time.Now()
		f := (&Vantage{DescribeInstances: at(host)}).SSH(ctx, instance, sshSettings(port), "")
		wantUnknown(t, f, incident.Blind, "context canceled")
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("took %v, the whole time-out", took)
		}
	})
}
