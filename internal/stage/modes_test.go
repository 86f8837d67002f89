package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
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
	// Below those of a World's, and another one in each process.
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

func TestModes(t *testing.T) {
	i := playedInstance(t)
	if status, err := get(t, i); status != http.StatusOK || err != nil {
		t.Errorf("healthy: %d, %v", status, err)
	}
	hangs := []Mode{Hang, HangHeader, HangBody}
	if runtime.GOOS == "linux" {
		hangs = append(hangs, HangAccept)
	}
	for _, mode := range hangs {
		if err := i.SetHTTP(mode); err != nil {
			t.Fatal(err)
		}
		status, err := get(t, i)
		if !timedOut(err) || (status == http.StatusOK) != (mode == HangBody) {
			t.Errorf("mode %d: %d, %v", mode, status, err)
		}
		// It is back at once.
		if err := i.SetHTTP(Healthy); err != nil {
			t.Fatal(err)
		}
		if status, err := get(t, i); status != http.StatusOK || err != nil {
			t.Errorf("healthy after mode %d: %d, %v", mode, status, err)
		}
	}
	if err := i.SetHTTP(Refuse); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, i); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refuse: %v", err)
	}
	if err := i.SetHTTP(Broken); err != nil {
		t.Fatal(err)
	}
	if status, err := get(t, i); status != http.StatusServiceUnavailable || err != nil {
		t.Errorf("broken: %d, %v", status, err)
	}
}

func TestHangAccept(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux drops what does not fit a queue")
	}
	i := playedInstance(t)
	if err := i.SetSSH(HangAccept); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := dial(t, i, SSHPort); !timedOut(err) {
			t.Errorf("the connection does not hang: %v", err)
		}
	}
	// The same again, and the end while it hangs.
	if err := i.SetSSH(HangAccept); err != nil {
		t.Fatal(err)
	}
	i.Close()
	if _, err := dial(t, i, SSHPort); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the end: %v", err)
	}
	if err := i.SetSSH(HangAccept, Healthy); err == nil {
		t.Error("it takes turns with others")
	}
}

func TestSSHModes(t *testing.T) {
	i := playedInstance(t)
	read := func() []byte {
		c, err := dial(t, i, SSHPort)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "SSH-2.0-test\r\n"); err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(c)
		if !timedOut(err) {
			t.Errorf("it does not hang: %v", err)
		}
		return said
	}
	for _, tt := range []struct {
		mode      Mode
		exchanged bool
		hangs     bool
	}{
		{Healthy, true, false},
		{Hang, false, true},
		{HangBanner, false, true},
		{HangKeyExchange, false, true},
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
	if err := i.SetSSH(HangBanner); err != nil {
		t.Fatal(err)
	}
	if said := string(read()); said != "SSH-2.0-Open" {
		t.Errorf("in the banner: %q", said)
	}
	if err := i.SetSSH(HangKeyExchange); err != nil {
		t.Fatal(err)
	}
	// The version, and a packet of which the sixth byte is its kind: 20 is
	// SSH_MSG_KEXINIT (RFC 4253, section 7.1).
	banner, packet, _ := bytes.Cut(read(), []byte("\r\n"))
	if !strings.HasPrefix(string(banner), "SSH-2.0-") || len(packet) < 6 || packet[5] != 20 {
		t.Errorf("in the key exchange: %q and %q", banner, packet)
	}
}

func TestTurns(t *testing.T) {
	i := playedInstance(t)
	if err := i.SetHTTP(Healthy, Broken, Broken, Refuse, HangHeader); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for n, want := range []int{200, 503, 503, 0, 0} {
			status, err := get(t, i)
			if status != want || (err == nil) != (want != 0) || n == 3 && timedOut(err) || n == 4 && !timedOut(err) {
				t.Errorf("round %d, turn %d: %d, %v", round, n, status, err)
			}
		}
	}
	if err := i.SetHTTP(Healthy); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if status, err := get(t, i); status != 200 || err != nil {
			t.Errorf("got %d, %v", status, err)
		}
	}
}
