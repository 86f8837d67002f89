package testbed

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDeployInterrupted(t *testing.T) {
	w, dir, log := played(t, `trap 'exit 1' INT; sleep 300 >/dev/null 2>&1 & echo $! >child; mv child started; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Deploy(ctx, dir, nil) }()
	started := filepath.Join(dir, "started")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(started); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the interrupt", err)
	}
	if !strings.Contains(log.String(), "waiting for Terraform") {
		t.Errorf("it said %q", log.String())
	}
	strays, err := withVariable([]byte("TMPDIR=" + w.temp()))
	if err != nil || len(strays) != 0 {
		t.Errorf("%d processes are left, %v", len(strays), err)
	}
}

func TestEndStrays(t *testing.T) {
	temp := t.TempDir()
	start := func(temp string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sleep", "300")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + temp}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	stray, other := start(temp), start(temp+"2")
	ended := make(chan error, 1)
	go func() { ended <- stray.Wait() }()
	if err := endStrays(temp); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the stray ended with %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Errorf("another's process: %v", err)
	}
	_ = other.Wait()
}
