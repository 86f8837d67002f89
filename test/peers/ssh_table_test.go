package peers

import (
	"bufio"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const banner = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n"

// modern is what current OpenSSH and the check have in common.
const (
	modernKex    = "curve25519-sha256"
	modernKey    = "ssh-ed25519"
	modernCipher = "aes128-ctr"
	modernMAC    = "hmac-sha2-256"
)

var banRow = row{"the check causes its own ban", []situation{
	{
		name: "a pinned RSA key beside others", check: "ssh", set: `"host_key_fingerprint":"$RSA"`, peer: sshd(nil, "RSA", "ECDSA", "ED25519"), connections: 1, want: well,
		real: []server{openssh("")},
	},
	{name: "a pinned ECDSA key beside others", check: "ssh", set: `"host_key_fingerprint":"$ECDSA"`, peer: sshd(nil, "RSA", "ECDSA", "ED25519"), connections: 1, want: well, real: []server{openssh("")}},
	{name: "a pinned key that comes first", check: "ssh", set: `"host_key_fingerprint":"$ED25519"`, peer: sshd(nil, "RSA", "ECDSA", "ED25519"), connections: 1, want: well, real: []server{openssh("")}},
	{name: "a pinned key of an RSA server", check: "ssh", set: `"host_key_fingerprint":"$RSA"`, peer: sshd(nil, "RSA"), connections: 1, want: well, real: []server{openssh("HostKey $DIR/RSA")}},
	{name: "a pinned key that it does not have", check: "ssh", set: `"host_key_fingerprint":"$RSA"`, peer: sshd(nil), want: attention, says: []string{"not the pinned"}, real: []server{openssh("HostKey $DIR/ED25519")}},
}}

var sshRow = row{"crypto too old or too new: SSH", []situation{
	{
		name: "sntrup761 alone", check: "ssh", peer: offers("sntrup761x25519-sha512@openssh.com", modernKey, modernCipher, modernMAC), want: well, says: []string{"shares no"},
		real: []server{openssh("KexAlgorithms sntrup761x25519-sha512@openssh.com")},
	},
	{
		name: "umac alone", check: "ssh", peer: offers(modernKex, modernKey, modernCipher, "umac-64-etm@openssh.com,umac-128@openssh.com"), want: well, says: []string{"shares no"},
		real: []server{openssh("MACs umac-64-etm@openssh.com,umac-128@openssh.com\nCiphers aes128-ctr")},
	},
	{name: "a host key of a security token alone", check: "ssh", peer: offers(modernKex, "sk-ssh-ed25519@openssh.com", modernCipher, modernMAC), want: well, says: []string{"shares no"}},
	{
		name: "sntrup761 alone, and a pinned key", check: "ssh", set: `"host_key_fingerprint":"$ED25519"`, want: attention,
		peer: offers("sntrup761x25519-sha512@openssh.com", modernKey, modernCipher, modernMAC), real: []server{openssh("KexAlgorithms sntrup761x25519-sha512@openssh.com")},
	},
	{
		name: "old algorithms alone", check: "ssh", want: well,
		peer: sshd(func(c *ssh.ServerConfig) {
			old := ssh.InsecureAlgorithms()
			c.KeyExchanges, c.Ciphers, c.MACs = old.KeyExchanges, old.Ciphers, old.MACs
		}, "RSA"),
		real: []server{openssh("KexAlgorithms diffie-hellman-group14-sha1\nCiphers aes128-cbc\nMACs hmac-sha1\nHostKeyAlgorithms ssh-rsa\nHostKey $DIR/RSA")},
	},
}}

// longLine is a line before the banner, longer than the 255 bytes that RFC 4253
// allows the banner itself.
var longLine = strings.Repeat("Authorised users only. ", 20) + "\r\n"

// afterBanner waits for the client's banner and sends text then.
func afterBanner(text string, end func(net.Conn)) peer {
	return serves(func(conn net.Conn) {
		_, _ = io.WriteString(conn, banner)
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, text)
		end(conn)
	})
}

var rejectRow = row{"SSH servers that reject the connection", []situation{
	{name: "closes without a word (OpenSSH 7.4 beyond MaxStartups)", check: "ssh", peer: saysAndLeaves(""), want: mute},
	{
		name: "closes without a word, at once (OpenSSH 9.2 beyond MaxStartups)", check: "ssh", peer: saysAndLeaves("Exceeded MaxStartups\r\n"), want: busy, says: []string{"MaxStartups"}, never: []string{"PerSourcePenalties"},
		real: []server{openssh("MaxStartups 1:100:1").holds(1), openssh("PerSourceMaxStartups 1").holds(1)},
	},
	{name: "a penalty of OpenSSH 10", check: "ssh", peer: saysAndLeaves("Not allowed at this time\r\n"), want: busy, says: []string{"Not allowed at this time", "PerSourcePenalties"}},
	{name: "disconnects: too many connections", check: "ssh", peer: afterBanner(disconnect(12, "Too many connections"), shut), want: busy, says: []string{"Too many connections"}},
	{name: "disconnects and resets", check: "ssh", peer: afterBanner(disconnect(12, "Too many connections"), reset), want: busy, says: []string{"Too many connections"}},
	{name: "disconnects before its offer: by application", check: "ssh", peer: saysAndLeaves(banner + disconnect(11, "Bye Bye")), want: busy, says: []string{"Bye Bye"}},
	{name: "too many users", check: "ssh", peer: saysAndLeaves("Too many users.\r\n"), want: busy, says: []string{"Too many users."}},
	{name: "a line over 255 bytes, and closes", check: "ssh", peer: saysAndLeaves(longLine), want: busy},
	{name: "a line over 255 bytes, and waits", check: "ssh", set: quick, peer: says(longLine), want: busy},
	{name: "a line over 255 bytes, and then all is well", check: "ssh", want: well, peer: serves(func(conn net.Conn) {
		_, _ = io.WriteString(conn, longLine)
		c := new(ssh.ServerConfig)
		c.NoClientAuth = true
		c.AddHostKey(hostKey("ED25519"))
		_, _, _, _ = ssh.NewServerConn(conn, c) // the client breaks it off
		_ = conn.Close()
	})},
	{name: "a tarpit", check: "ssh", set: quick, peer: serves(func(conn net.Conn) {
		for range 100 {
			if _, err := io.WriteString(conn, "6d\r\n"); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}), want: busy},
	{name: "SSH 1 alone", check: "ssh", peer: serves(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "SSH-1.5-Cisco-1.25\n")
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, "Protocol major versions differ.\n")
		shut(conn)
	}), want: attention},
	{name: "closes after its banner", check: "ssh", peer: afterBanner("", shut), want: busy},
	{name: "/sbin/nologin of a forwarder", check: "ssh", peer: saysAndLeaves("This account is currently not available.\r\n"), want: busy, says: []string{"This account is currently not available."}},
}}

var keptSSHRow = row{"right before, and to be kept: SSH", []situation{
	{name: "well", check: "ssh", peer: sshd(nil), connections: 1, want: well, real: []server{openssh(""), dropbear()}},
	{name: "well, in the third of three attempts", check: "ssh", set: `"attempts":3`, want: well, peer: takesTurns(resets, resets, func(conn net.Conn) {
		c := &ssh.ServerConfig{NoClientAuth: true}
		c.AddHostKey(hostKey("ED25519"))
		_, _, _, _ = ssh.NewServerConn(conn, c) // the client breaks it off
	})},
	{name: "SIGSTOP", check: "ssh", set: quick, peer: hangs, want: silent, real: []server{openssh("").stopped(), dropbear().stopped()}},
	{name: "a full backlog", check: "ssh", set: quick, peer: full, want: dropped},
	{name: "reset without a word", check: "ssh", peer: serves(resets), want: closed},
	{name: "hangs after its banner", check: "ssh", set: quick, peer: says(banner), want: bad, says: []string{"in the key exchange, after its banner"}},
	{name: "hangs in its banner", check: "ssh", set: quick, peer: says("SS"), want: bad, says: []string{"in the middle of its banner"}},
	{name: "resets after its banner", check: "ssh", peer: afterBanner("", reset), want: bad},
	{name: "nonsense after its banner", check: "ssh", peer: afterBanner(strings.Repeat("\xff", 64), shut), want: bad},
	{name: "a name that does not exist", check: "ssh", set: `"host":"none.test"`, peer: nobody, want: unheard, says: []string{"does not resolve"}},
	{name: "name servers that fail", check: "ssh", set: `"host":"broken.test"`, peer: nobody, want: blind},
	{name: "name servers that are silent", check: "ssh", set: `"host":"silent.test",` + quick, peer: nobody, want: blind, says: []string{"the name servers did not answer"}},
	{name: "no time of our own", check: "ssh", set: `"timeout_seconds":5`, within: 300 * time.Millisecond, peer: hangs, want: blind, says: []string{"our own time is up"}},
}}
