package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	if got := Names(); !slices.Equal(got, []string{"arm64", "x86_64"}) {
		t.Errorf("got %v", got)
	}
	for goarch, want := range map[string]string{"amd64": "x86_64", "arm64": "arm64", "riscv64": ""} {
		if got := HostArchitecture(goarch); got != want {
			t.Errorf("%s: got %q, want %q", goarch, got, want)
		}
	}
	if _, err := Build(t.Context(), t.TempDir(), t.TempDir(), "x86"); err == nil || !strings.Contains(err.Error(), "arm64, x86_64") {
		t.Errorf("got %v, want the architectures", err)
	}
}

// TestInterruptedBuildLeavesNothing interrupts a go that is at work.
func TestInterruptedBuildLeavesNothing(t *testing.T) {
	path, temp, out := t.TempDir(), t.TempDir(), t.TempDir()
	script := "#!/bin/sh\nmkdir \"$GOTMPDIR/go-build1\"\n: >\"$STARTED\"\nsleep 300\n"
	if err := os.WriteFile(filepath.Join(path, "go"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	started := filepath.Join(path, "started")
	t.Setenv("PATH", path+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Setenv("TMPDIR", temp)
	t.Setenv("STARTED", started)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := Build(ctx, t.TempDir(), out, "arm64")
		done <- err
	}()
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
	for _, dir := range []string{temp, out} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("left behind: %v, %v", entries, err)
		}
	}
}
