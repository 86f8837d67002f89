package peers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// peer makes what answers at h.host, and sets h.port.
type peer func(t *testing.T, h *here)

// folder is a temporary folder that servers without rights can read.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer") //nolint:usetesting // what t.TempDir makes is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a server that ends may still write
	return dir
}

// listen opens a listener; port 0 is a free one.
func listen(t *testing.T, host string, port int) (net.Listener, int) {
	t.Helper()
	at := net.TCPAddr{IP: net.ParseIP(host), Port: port}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, int(netip.MustParseAddrPort(l.Addr().String()).Port())
}

// serves hands each connection to serve, which closes it or leaves it open until
// the test ends.
func serves(serve func(net.Conn)) peer {
	return func(t *testing.T, h *here) {
		t.Helper()
		var l net.Listener
		l, h.port = listen(t, h.host, h.port)
		go accept(t, h, l, serve)
	}
}

func accept(t *testing.T, h *here, l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		h.connections.Add(1)
		t.Cleanup(func() { _ = conn.Close() })
		go serve(conn)
	}
}

// nobody is a port on which nobody listens, and that nobody else takes.
func nobody(t *testing.T, h *here) {
	t.Helper()
	bound(t, h)
}

// hangs never calls accept: the kernel does, as for a process that is stopped.
func hangs(t *testing.T, h *here) {
	t.Helper()
	_, h.port = listen(t, h.host, h.port)
}

// full has a backlog that is full: no further connection is made, as behind a
// firewall that drops.
func full(t *testing.T, h *here) {
	t.Helper()
	if err := syscall.Listen(bound(t, h), 0); err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr(h.host)
	for range 16 {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, uint16(h.port)).String(), 100*time.Millisecond) //nolint:gosec,noctx // a port; the time-out bounds it
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the backlog takes everything")
}

// bound is a socket that has a port, and does not listen.
func bound(t *testing.T, h *here) (fd int) {
	t.Helper()
	addr := netip.MustParseAddr(h.host)
	family, where := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: h.port})
	if addr.Is4() {
		where.(*syscall.SockaddrInet4).Addr = addr.As4()
	} else {
		family, where = syscall.AF_INET6, &syscall.SockaddrInet6{Port: h.port, Addr: addr.As16()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, where); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := name.(*syscall.SockaddrInet4); ok {
		h.port = at.Port
	}
	return fd
}

// readHead reads a request up to the empty line.
func readHead(conn net.Conn) string {
	var head bytes.Buffer
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" || line == "\n" {
			return head.String()
		}
	}
}

// shut closes a connection in an orderly way: what the other side has sent is read.
func shut(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
}

// reset ends a connection with a reset.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// resets resets a connection once it has heard from the client: before, the
// client's kernel may take the reset for an answer to its SYN.
func resets(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 1))
	reset(conn)
}

// replies answers each request with these bytes, and closes.
func replies(text string) peer {
	return serves(func(conn net.Conn) {
		readHead(conn)
		_, _ = io.WriteString(conn, text)
		shut(conn)
	})
}

// says sends these bytes at once, and waits.
func says(text string) peer {
	return serves(func(conn net.Conn) { _, _ = io.WriteString(conn, text) })
}

// saysAndCloses sends these bytes at once, and closes in an orderly way.
func saysAndCloses(text string) peer {
	return serves(func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		shut(conn)
	})
}

// saysAndLeaves sends these bytes at once, and closes without reading.
func saysAndLeaves(text string) peer {
	return serves(func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	})
}

// drips sends text byte by byte after a request.
func drips(text string, pause time.Duration) peer {
	return serves(func(conn net.Conn) {
		readHead(conn)
		for _, b := range []byte(text) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(pause)
		}
		_ = conn.Close()
	})
}

// takesTurns has a peer for each of the first connections; the last one stays.
func takesTurns(serve ...func(net.Conn)) peer {
	return func(t *testing.T, h *here) {
		t.Helper()
		serves(func(conn net.Conn) {
			n := int(h.connections.Load())
			serve[min(n, len(serve))-1](conn)
		})(t, h)
	}
}

// ok is a web server that is well.
const okText = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well\n"

func answersOK(conn net.Conn) {
	readHead(conn)
	_, _ = io.WriteString(conn, okText)
	shut(conn)
}

// web is a web server of net/http.
func web(handler http.HandlerFunc) peer { return secureWeb(nil, handler) }

// secureWeb is a web server with TLS.
func secureWeb(config *lazyTLS, handler http.HandlerFunc) peer {
	return func(t *testing.T, h *here) {
		t.Helper()
		l, port := listen(t, h.host, h.port)
		h.port = port
		if config != nil {
			l = tls.NewListener(l, config.get())
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: quiet}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
	}
}

// secure hands each TLS connection to serve once its handshake is done.
func secure(config *lazyTLS, serve func(net.Conn)) peer {
	return serves(func(conn net.Conn) {
		c := tls.Server(conn, config.get())
		if err := c.HandshakeContext(context.Background()); err == nil {
			serve(c)
		}
		_ = conn.Close()
	})
}

func wellWeb(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "all is well\n") }

// sshd answers as OpenSSH does: it lets nobody in. nil keys are an ED25519 one.
func sshd(config func(*ssh.ServerConfig), keys ...string) peer {
	if keys == nil {
		keys = []string{"ED25519"}
	}
	return serves(func(conn net.Conn) {
		c := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") }}
		for _, k := range keys {
			c.AddHostKey(hostKey(k))
		}
		if config != nil {
			config(c)
		}
		_, _, _, _ = ssh.NewServerConn(conn, c) // the client breaks it off
		_ = conn.Close()
	})
}

// offers is an OpenSSH that offers these algorithms, and closes when we have none of
// them; names are as RFC 4253, 7.1 has them.
func offers(kex, key, cipher, mac string) peer {
	payload := append([]byte{20}, make([]byte, 16)...) // SSH_MSG_KEXINIT and a cookie
	for _, names := range []string{kex, key, cipher, cipher, mac, mac, "none", "none", "", ""} {
		payload = binary.BigEndian.AppendUint32(payload, uint32(len(names))) //nolint:gosec // a few bytes
		payload = append(payload, names...)
	}
	return serves(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n")
		r := bufio.NewReader(conn)
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(conn, packet(append(payload, make([]byte, 5)...)))
		_, _ = r.Read(make([]byte, 4096)) // the client's offer
		_ = conn.Close()
	})
}

// packet frames a payload without encryption (RFC 4253, 6).
func packet(payload []byte) string {
	padding := 8 - (5+len(payload))%8
	if padding < 4 {
		padding += 8
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding)) //nolint:gosec // a few bytes
	b = append(append(b, byte(padding)), payload...)
	return string(append(b, make([]byte, padding)...))
}

// disconnect is SSH_MSG_DISCONNECT (RFC 4253, 11.1).
func disconnect(reason byte, text string) string {
	payload := binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0, reason}, uint32(len(text))) //nolint:gosec // a few bytes
	return packet(append(append(payload, text...), 0, 0, 0, 0))
}

// wantsProxyLine expects the PROXY protocol before the request, and closes without
// a byte otherwise, as nginx and HAProxy do.
func wantsProxyLine(conn net.Conn) {
	r := bufio.NewReader(conn)
	line, _ := r.ReadString('\n')
	if !strings.HasPrefix(line, "PROXY ") {
		shut(conn)
		return
	}
	for line != "\r\n" && line != "" {
		line, _ = r.ReadString('\n')
	}
	_, _ = io.WriteString(conn, okText)
	shut(conn)
}
