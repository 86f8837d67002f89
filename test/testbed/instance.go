// Package testbed plays what surrounds firstline on a local AWS: instances with
// real HTTP and SSH servers on loopback addresses of their own, Slack, and the
// pager. The demonstration and the tests share it.
package testbed

import (
	"bufio"
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

	"firstline/internal/incident"
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
	// Refuse has no listener: the connection is refused.
	Refuse
	// Hang accepts the connection and then stays silent.
	Hang
	// Broken answers, but wrongly: status 503, or something that is not SSH.
	Broken
	// Forbidden answers an HTTP request with status 403.
	Forbidden
	// Banned answers an HTTP request of another region's probe alone.
	Banned
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
		Healthy: serveHTTP, Broken: serveUnavailable, Forbidden: serveForbidden, Banned: serveBanned,
	}}
	i.ssh = &server{address: net.JoinHostPort(address, strconv.Itoa(SSHPort)), play: map[Mode]func(net.Conn){
		Healthy: func(c net.Conn) { serveSSH(c, signer) }, Broken: serveGarbage,
	}}
	if err := errors.Join(i.http.set(ctx, Healthy), i.ssh.set(ctx, Healthy)); err != nil {
		i.Close()
		return nil, fmt.Errorf("play an instance on %s: %w", address, err)
	}
	return i, nil
}

// SetHTTP changes how the web server behaves.
func (i *Instance) SetHTTP(mode Mode) error { return i.http.set(context.Background(), mode) }

// SetSSH changes how the SSH server behaves.
func (i *Instance) SetSSH(mode Mode) error { return i.ssh.set(context.Background(), mode) }

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
	mode   Mode
	ln     net.Listener
	conns  []net.Conn
	closed bool
}

// set changes the behaviour; connections of the old one are cut.
func (s *server) set(ctx context.Context, mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.mode = mode
	s.cut()
	switch {
	case mode == Refuse && s.ln != nil:
		_ = s.ln.Close()
		s.ln = nil
	case mode != Refuse && s.ln == nil:
		ln, err := listen(ctx, s.address)
		if err != nil {
			return err
		}
		s.ln = ln
		go s.accept(ln)
	}
	return nil
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
		play := s.play[s.mode]
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		if play != nil {
			go s.run(c, play)
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
	if s.ln != nil {
		_ = s.ln.Close()
	}
}

// answer writes one HTTP response on a connection of its own.
func answer(c net.Conn, status int, body string) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 64<<10)); err != nil {
		return
	}
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}

// serveBanned is what a firewall on the way makes of a server: whoever does not come
// from elsewhere gets no byte until it gives up.
func serveBanned(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	request, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil || request.UserAgent() != incident.ProbeAgent {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	_, _ = fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

func serveHTTP(c net.Conn)        { answer(c, http.StatusOK, "ok\n") }
func serveUnavailable(c net.Conn) { answer(c, http.StatusServiceUnavailable, "overloaded\n") }
func serveForbidden(c net.Conn)   { answer(c, http.StatusForbidden, "not you\n") }
func serveGarbage(c net.Conn)     { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }

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
