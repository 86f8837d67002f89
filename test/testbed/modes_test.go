package testbed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// patience is how long the tests wait for what never comes.
const patience = 500 * time.Millisecond

func playedInstance(t *testing.T) *Instance {
	t.Helper()
	// Below those of a Testbed's, and another one in each process.
	address := fmt.Sprintf("127.63.%d.%d", os.Getpid()/250%250, os.Getpid()%250+1)
	i, err := NewInstance(t.Context(), "eu-west-1", "i-1", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// get is how an instance looks to a client that waits for patience.
func get(t *testing.T, i *Instance) (status int, err error) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort(i.Address, strconv.Itoa(HTTPPort)), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.ReadAll(resp.Body)
	return resp.StatusCode, err
}

func dial(t *testing.T, i *Instance, port int) (net.Conn, error) {
	t.Helper()
	c, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", net.JoinHostPort(i.Address, strconv.Itoa(port)))
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
		err = c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// shake does SSH's key exchange; the refusal of the client that follows it is
// none of its business.
func shake(c net.Conn) (exchanged bool, err error) {
	_, _, _, err = ssh.NewClientConn(c, "i", &ssh.ClientConfig{User: "x", HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error {
		exchanged = true
		return nil
	}})
	return exchanged, err
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func TestHTTPModes(t *testing.T) {
	i := playedInstance(t)
	for _, tt := range []struct {
		mode   Mode
		status int
		want   func(error) bool
	}{
		{Healthy, http.StatusOK, nil},
		{Hang, 0, timedOut},
		{Broken, http.StatusServiceUnavailable, nil},
		{Forbidden, http.StatusForbidden, nil},
		{Refuse, 0, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{Healthy, http.StatusOK, nil},
	} {
		if err := i.SetHTTP(tt.mode); err != nil {
			t.Fatal(err)
		}
		status, err := get(t, i)
		if status != tt.status || (err == nil) != (tt.want == nil) || err != nil && !tt.want(err) {
			t.Errorf("mode %d: %d, %v", tt.mode, status, err)
		}
	}
}

func TestSSHModes(t *testing.T) {
	i := playedInstance(t)
	for _, tt := range []struct {
		mode      Mode
		exchanged bool
		hangs     bool
	}{
		{Healthy, true, false},
		{Hang, false, true},
		{Broken, false, false},
		{Healthy, true, false},
	} {
		if err := i.SetSSH(tt.mode); err != nil {
			t.Fatal(err)
		}
		c, err := dial(t, i, SSHPort)
		if err != nil {
			t.Fatal(err)
		}
		if exchanged, err := shake(c); exchanged != tt.exchanged || err == nil || (tt.hangs != (timedOut(err) || strings.Contains(err.Error(), "i/o timeout"))) {
			t.Errorf("mode %d: key exchange %v, %v", tt.mode, exchanged, err)
		}
	}
}
