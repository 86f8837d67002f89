package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"firstline/internal/artifact"
	"firstline/internal/toolchain"
	"firstline/test/testbed"
)

// TestMain keeps whatever AWS account and Terraform settings the caller has out
// of the tests: they talk to this machine only.
func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if err := testbed.Isolate(); err != nil {
		return 1, err
	}
	if programs, err = os.MkdirTemp("", "firstline-test-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(programs)) }()
	return m.Run(), nil
}

// programs is the folder for what the tests build, for as long as they run.
var programs string

// hostPackage builds the function's zip for this machine once and returns its path.
var hostPackage = sync.OnceValues(func() (string, error) {
	dir, err := toolchain.Root()
	if err != nil {
		return "", err
	}
	return artifact.Build(context.Background(), dir, programs, artifact.HostArchitecture(runtime.GOARCH), nil)
})

// firstline builds the operator's command once and returns its path.
var firstline = sync.OnceValues(func() (string, error) {
	dir, err := toolchain.Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(programs, "firstline")
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/firstline") //nolint:gosec // our own program
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/firstline: %w\n%s", err, out)
	}
	return path, nil
})
