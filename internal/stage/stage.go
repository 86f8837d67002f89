// Package stage plays what surrounds firstline on a local AWS: instances with
// real HTTP and SSH servers on loopback addresses of their own, Slack, and the
// pager. The demonstration and the tests share it.
package stage

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Ports of every played instance. They are above 1023, so that no privilege is
// needed; the address is what tells instances apart.
const (
	HTTPPort = 18080
	SSHPort  = 18022
)

// Mode is how a played server behaves.
type Mode int

// Modes of a played server.
const (
	// Healthy answers as it should.
	Healthy Mode = iota
	// Refuse has no listener: the connection is refused. Among other turns the
	// connection is reset at once.
	Refuse
	// Hang accepts the connection and then stays silent.
	Hang
	// Broken answers, but wrongly: status 503, or something that is not SSH.
	Broken
	// HangAccept leaves connections unanswered: no handshake of TCP's is ever
	// completed, as where a host is hung or a filter drops packets. It is known
	// on Linux only and cannot be one of several turns.
	HangAccept
	// HangHeader stops in the middle of the answer's header: HTTP's, or the line
	// in which an SSH server names its version.
	HangHeader
	// HangBody stops in the middle of an HTTP answer's body, or of SSH's key
	// exchange.
	HangBody
)

// Other names of modes, for what they are to SSH.
const (
	HangBanner      = HangHeader
	HangKeyExchange = HangBody
)

// Instance plays an EC2 instance.
type Instance struct {
	// Region and ID name it in the local AWS.
	Region, ID string
	// Address is its loopback address, which stands for its public one.
	Address string

	http, ssh *server

	mu       sync.Mutex
	onReboot func(*Instance)
	reboots  int
}

// NewInstance starts an instance whose servers are healthy. The address is one
// of 127.0.0.0/8.
func NewInstance(ctx context.Context, region, id, address string) (*Instance, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	i := &Instance{Region: region, ID: id, Address: address}
	i.http = &server{address: net.JoinHostPort(address, strconv.Itoa(HTTPPort)), play: map[Mode]func(net.Conn){
		Healthy: serveHTTP, Broken: serveUnavailable, HangHeader: serveHalfHeader, HangBody: serveHalfBody,
	}}
	i.ssh = &server{address: net.JoinHostPort(address, strconv.Itoa(SSHPort)), play: map[Mode]func(net.Conn){
		Healthy: func(c net.Conn) { serveSSH(c, signer) }, Broken: serveGarbage, HangBanner: serveHalfBanner,
		HangKeyExchange: func(c net.Conn) { serveSSH(&silenced{Conn: c, writes: 2}, signer) },
	}}
	if err := errors.Join(i.http.set(ctx, Healthy), i.ssh.set(ctx, Healthy)); err != nil {
		i.Close()
		return nil, fmt.Errorf("play an instance on %s: %w", address, err)
	}
	return i, nil
}

// SetHTTP changes how the web server behaves. Of several modes each connection
// gets the next one, from the first again after the last: an instance that flaps.
func (i *Instance) SetHTTP(modes ...Mode) error { return i.http.set(context.Background(), modes...) }

// SetSSH changes how the SSH server behaves, as SetHTTP does.
func (i *Instance) SetSSH(modes ...Mode) error { return i.ssh.set(context.Background(), modes...) }

// OnReboot says what a reboot does to the instance. It is called once a
// reboot, on a goroutine of its own; nil does nothing.
func (i *Instance) OnReboot(do func(*Instance)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.onReboot = do
}

// CuredBy returns what OnReboot takes of an instance that a reboot cures: its
// servers are gone for the time it boots and healthy afterwards.
func CuredBy(boot time.Duration) func(*Instance) {
	return func(i *Instance) {
		_ = i.SetHTTP(Refuse)
		_ = i.SetSSH(Refuse)
		time.Sleep(boot)
		_ = i.SetHTTP(Healthy)
		_ = i.SetSSH(Healthy)
	}
}

// Reboot is what EC2 does when it reboots the instance.
func (i *Instance) Reboot() {
	i.mu.Lock()
	i.reboots++
	do := i.onReboot
	i.mu.Unlock()
	if do != nil {
		go do(i)
	}
}

// Reboots returns how often the instance was rebooted.
func (i *Instance) Reboots() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reboots
}

// Close ends the instance's servers.
func (i *Instance) Close() {
	i.http.close()
	i.ssh.close()
}

// server is a TCP server whose behaviour can be changed while it runs.
type server struct {
	address string
	// play is what each mode does with a connection, where it does anything.
	play map[Mode]func(net.Conn)

	mu     sync.Mutex
	turns  []Mode
	taken  int // connections since the behaviour was changed
	ln     net.Listener
	deaf   io.Closer // in place of ln where connections hang
	conns  []net.Conn
	closed bool
}

// set changes the behaviour; connections of the old one are cut.
func (s *server) set(ctx context.Context, modes ...Mode) error {
	if len(modes) == 0 {
		modes = []Mode{Healthy}
	}
	for _, m := range modes {
		if m == HangAccept && len(modes) > 1 {
			return errors.New("HangAccept is no turn among others: what never listens cannot take turns")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.turns, s.taken = slices.Clone(modes), 0
	s.cut()
	if s.deaf != nil {
		_ = s.deaf.Close()
		s.deaf = nil
	}
	refuse := !slices.ContainsFunc(modes, func(m Mode) bool { return m != Refuse })
	if s.ln != nil && (refuse || modes[0] == HangAccept) {
		_ = s.ln.Close()
		s.ln = nil
	}
	var err error
	switch {
	case refuse:
	case modes[0] == HangAccept:
		s.deaf, err = listenDeaf(ctx, s.address)
	case s.ln == nil:
		var ln net.Listener
		if ln, err = listen(ctx, s.address); err == nil {
			s.ln = ln
			go s.accept(ln)
		}
	}
	return err
}

// listen listens on an address that has just been given up: a process that was
// being started meanwhile holds the old socket for a moment.
func listen(ctx context.Context, address string) (net.Listener, error) {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return ln, err
		}
	}
}

func (s *server) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		mode := s.turns[s.taken%len(s.turns)]
		s.taken++
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		switch play := s.play[mode]; {
		case play != nil:
			go s.run(c, play)
		case mode == Refuse:
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
		}
		// Else it is held open and never answered.
	}
}

// run serves one connection and forgets it.
func (s *server) run(c net.Conn, serve func(net.Conn)) {
	serve(c)
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = slices.DeleteFunc(s.conns, func(o net.Conn) bool { return o == c })
}

func (s *server) cut() {
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.cut()
	if s.deaf != nil {
		_ = s.deaf.Close()
		s.deaf = nil
	}
	if s.ln != nil {
		_ = s.ln.Close()
	}
}

// asked reads an HTTP request.
func asked(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := c.Read(make([]byte, 64<<10))
	return err == nil
}

// answer writes one HTTP response on a connection of its own.
func answer(c net.Conn, status int, body string) {
	if asked(c) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			status, http.StatusText(status), len(body), body)
	}
}

// hang says nothing more until the client goes.
func hang(c net.Conn) {
	_ = c.SetDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, c)
}

func serveHTTP(c net.Conn)        { answer(c, http.StatusOK, "ok\n") }
func serveUnavailable(c net.Conn) { answer(c, http.StatusServiceUnavailable, "overloaded\n") }
func serveGarbage(c net.Conn)     { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }

func serveHalfHeader(c net.Conn) {
	if asked(c) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/pl")
		hang(c)
	}
}

func serveHalfBody(c net.Conn) {
	if asked(c) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\no")
		hang(c)
	}
}

func serveHalfBanner(c net.Conn) {
	_, _ = io.WriteString(c, "SSH-2.0-Open")
	hang(c)
}

// silenced is a connection on which only the first writes go out: of an SSH
// server its version, then the algorithms that begin the key exchange.
type silenced struct {
	net.Conn
	writes int
}

func (s *silenced) Write(p []byte) (int, error) {
	if s.writes == 0 {
		return len(p), nil
	}
	s.writes--
	return s.Conn.Write(p)
}

// Without a deadline it hangs for as long as the client stays.
func (s *silenced) SetDeadline(time.Time) error { return nil }

// serveSSH is a real SSH server that lets nobody in.
func serveSSH(c net.Conn, key ssh.Signer) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, errors.New("nobody is let in")
		},
	}
	config.AddHostKey(key)
	if conn, _, _, err := ssh.NewServerConn(c, config); err == nil {
		_ = conn.Close()
	}
}
