// Package artifact builds the Lambda function's zip: the same bytes from the
// same commit, on any machine.
package artifact

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"firstline/internal/atomicfile"
)

// Architectures maps Lambda's name of an architecture to Go's.
var Architectures = map[string]string{"arm64": "arm64", "x86_64": "amd64"}

// Names returns Lambda's names of the architectures, sorted.
func Names() []string { return slices.Sorted(maps.Keys(Architectures)) }

// HostArchitecture returns Lambda's name of a Go architecture, "" for none.
func HostArchitecture(goarch string) string {
	for lambda, host := range Architectures {
		if host == goarch {
			return lambda
		}
	}
	return ""
}

// Name returns the zip's file name for Lambda's name of an architecture.
func Name(arch string) string { return "responder-" + arch + ".zip" }

// Build compiles the responder of the project in root for an architecture
// (Lambda's name: arm64 or x86_64) and writes the zip and its Provenance into dir.
// It returns the zip's path. Whatever else it writes is gone when it returns, also
// when ctx ends. It tells log, which may be nil, every ten seconds that it still
// works.
func Build(ctx context.Context, root, dir, arch string, log io.Writer) (string, error) {
	goarch, ok := Architectures[arch]
	if !ok {
		return "", fmt.Errorf("architecture %q is not one of %s", arch, strings.Join(Names(), ", "))
	}
	provenance, err := Checkout(ctx, root)
	if err != nil {
		return "", fmt.Errorf("build the function in %s: %w", root, err)
	}
	scratch, err := os.MkdirTemp("", "firstline-build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	bootstrap := filepath.Join(scratch, "bootstrap")
	if err := Compile(ctx, root, "./cmd/responder", "linux/"+goarch, bootstrap, "", log); err != nil {
		return "", err
	}
	binary, err := os.ReadFile(bootstrap) //nolint:gosec // our own scratch folder
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	var zipped bytes.Buffer
	if err := writeZip(&zipped, binary); err != nil {
		return "", err
	}
	path := filepath.Join(dir, Name(arch))
	if err := atomicfile.Write(path, zipped.Bytes()); err != nil {
		return "", err
	}
	return path, provenance.Write(path)
}

// tick tells log every ten seconds what is being done, until stop is called.
func tick(log io.Writer, what string) (stop func()) {
	if log == nil {
		return func() {}
	}
	began, done := time.Now(), make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		ticker := time.NewTicker(10 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				_, _ = fmt.Fprintf(log, "%s: %.0f s (minutes, the first time)\n", what, time.Since(began).Seconds())
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// Compile compiles a command of the project in root for a platform, such as
// linux/arm64, into the file out: the same bytes from the same sources, on any
// machine. The linker gets flags beside its own.
func Compile(ctx context.Context, root, command, platform, out, flags string, log io.Writer) error {
	defer tick(log, "building "+command+" for "+platform)()
	temp, err := os.MkdirTemp("", "firstline-build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	//nolint:gosec // our own words
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc",
		"-ldflags", strings.TrimSpace("-s -w -buildid= "+flags), "-o", out, command)
	// An interrupt goes to the compilers that it runs, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = root
	goos, goarch, _ := strings.Cut(platform, "/")
	// Whatever the caller's own settings are, the bytes must not depend on them.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "GOTMPDIR="+temp)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); ctx.Err() != nil {
		return fmt.Errorf("go build %s for %s: %w", command, platform, ctx.Err())
	} else if err != nil {
		return fmt.Errorf("go build %s for %s: %w: %s", command, platform, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// writeZip writes a zip with one file, bootstrap, and no trace of when or
// where it was made.
func writeZip(to io.Writer, binary []byte) error {
	w := zip.NewWriter(to)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	entry, err := w.CreateHeader(h)
	if err != nil {
		return err
	}
	if _, err := entry.Write(binary); err != nil {
		return err
	}
	return w.Close()
}
