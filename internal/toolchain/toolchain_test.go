package toolchain

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakePython stands for python3, and for what it installs.
const fakePython = `#!/bin/sh
case "$*" in
*"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*"pip install"*)
	echo installed >>"$COUNT"
	sleep 0.3
	printf '#!%s\n' "$0" >"${0%/*}/moto_server"
	chmod +x "${0%/*}/moto_server" ;;
*moto.__version__*) echo 5.2.1 ;;
esac
`

// TestMotoIsInstalledOnce has several runs miss moto at the same time.
func TestMotoIsInstalledOnce(t *testing.T) {
	path, dir := t.TempDir(), t.TempDir()
	count := filepath.Join(dir, "count")
	for _, name := range []string{"sh", "mkdir", "cp", "chmod", "sleep"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		if err := os.Symlink(real, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "python3"), []byte(fakePython), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	t.Setenv("COUNT", count)
	tools := Toolchain{Build: filepath.Join(dir, "build")}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			got, err := tools.Moto(t.Context())
			if want := filepath.Join(tools.Build, "venv", "bin", "moto_server"); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
	wg.Wait()
	installed, err := os.ReadFile(count) //nolint:gosec // below the test's folder
	if err != nil || strings.Count(string(installed), "\n") != 1 {
		t.Errorf("installations: %q, %v; want one", installed, err)
	}
	left, err := filepath.Glob(filepath.Join(tools.Build, ".pip-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLockIsGivenUpOn(t *testing.T) {
	var log bytes.Buffer
	tools := Toolchain{Build: t.TempDir(), Log: &log}
	unlock, err := tools.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := tools.lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the wait", err)
	}
	if !strings.Contains(log.String(), "waiting for another run") {
		t.Errorf("it did not say what it waits for: %q", log.String())
	}
	unlock()
	unlock, err = tools.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestFindMirror(t *testing.T) {
	for path, want := range map[string]bool{
		"deep/registry.terraform.io/hashicorp/aws/" + ProviderVersion + "/linux_amd64/x":                                  true,
		"registry.terraform.io/hashicorp/aws/terraform-provider-aws_" + ProviderVersion + "_linux_amd64.zip":              true,
		"registry.terraform.io/hashicorp/aws/6.0.0/linux_amd64/x":                                                         false,
		"registry.terraform.io/hashicorp/google/" + ProviderVersion + "/linux_amd64/x":                                    false,
		"one/two/three/four/five/registry.terraform.io/hashicorp/aws/" + ProviderVersion + "/linux_amd64/x (is too deep)": false,
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		before, _, _ := strings.Cut(path, "registry.terraform.io")
		mirror := ""
		if want {
			mirror = filepath.Join(root, before)
		}
		if got := findMirror([]string{filepath.Join(root, "gone"), root}); got != mirror {
			t.Errorf("%s: got %q, want %q", path, got, mirror)
		}
	}
}

func TestCLIConfig(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("TF_CLI_CONFIG_FILE", "")
	tools := Toolchain{Build: filepath.Join(t.TempDir(), "build")}
	path, err := tools.CLIConfig()
	if err != nil || path != filepath.Join(tools.Build, "terraform.rc") {
		t.Fatalf("got %q, %v", path, err)
	}
	text, err := os.ReadFile(path) //nolint:gosec // below the test's folder
	if err != nil || !strings.Contains(string(text), "filesystem_mirror") && !strings.Contains(string(text), "plugin_cache_dir") {
		t.Errorf("got %s, %v", text, err)
	}
	// The user's own stays in charge.
	own := filepath.Join(t.TempDir(), "own.rc")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TF_CLI_CONFIG_FILE", own)
	if path, err := tools.CLIConfig(); err != nil || path != own {
		t.Errorf("got %q, %v; want %q", path, err, own)
	}
}
