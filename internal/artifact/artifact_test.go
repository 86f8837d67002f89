package artifact

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	if _, err := Build(t.Context(), t.TempDir(), t.TempDir(), "x86", nil); err == nil || !strings.Contains(err.Error(), "arm64, x86_64") {
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
		_, err := Build(ctx, project(t), out, "arm64", nil)
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

// write writes files below a folder: path, content, and so on.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for file := range slices.Chunk(files, 2) {
		path := filepath.Join(dir, file[0])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// project makes a small project.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "go.mod", "module firstline\n", "go.sum", "", "terraform/VERSION", "1.2.3\n", "terraform/modules/x/main.tf", "",
		"cmd/responder/main.go", "package main\nimport _ \"firstline/checks\"\nfunc main() {}\n", "checks/checks.go", "package checks\n")
	return dir
}

// TestSources compares with what Go builds the function from.
func TestSources(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := sources(root)
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{if not .Standard}}{{with .Module}}{{if .Main}}{{range $.GoFiles}}{{$.ImportPath}}/{{.}}{{"\n"}}{{end}}{{range $.EmbedFiles}}{{$.ImportPath}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}{{end}}`, "./cmd/responder")
	list.Dir, list.Env = root, append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"go.mod", "go.sum"}
	for name := range strings.FieldsSeq(string(out)) {
		want = append(want, strings.TrimPrefix(name, "firstline/"))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the sources (-want +got):\n%s", diff)
	}
	if _, err := sources(t.TempDir()); !errors.Is(err, ErrNoSources) {
		t.Errorf("of an empty folder: %v", err)
	}
}

// TestCheckout changes one thing after another in a project under git.
func TestCheckout(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	dir := project(t)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com"}, args...)...) //nolint:gosec // fixed words
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	checkout := func() Provenance {
		t.Helper()
		p, err := Checkout(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := checkout(); p.Commit != "" || p.Version != "1.2.3" {
		t.Errorf("outside of git: %+v", p)
	}
	commitAll := func() { t.Helper(); git("add", "-A"); git("commit", "-qm", "x") }
	git("init", "-q")
	commitAll()
	first := checkout()
	if len(first.Commit) != 40 {
		t.Errorf("the commit: %+v", first)
	}
	for _, step := range []struct {
		file, text              string
		source, dirty, isCommit bool // what changes
	}{
		{"README.md", "x", false, false, false},
		{"cmd/firstline/main.go", "package main", false, false, false},
		{"terraform/regions.tfvars", "x", false, false, false},
		{"checks/checks_test.go", "package checks", false, false, false},
		{"terraform/modules/x/main.tf", "# x", false, true, true},
		{"checks/more.go", "package checks", true, true, true},
	} {
		write(t, dir, step.file, step.text)
		now := checkout()
		if (now.Source != first.Source) != step.source || strings.HasSuffix(now.Commit, "-dirty") != step.dirty {
			t.Errorf("%s: %+v, before it %+v", step.file, now, first)
		}
		commitAll()
		if now = checkout(); (now.Commit != first.Commit) != step.isCommit || strings.HasSuffix(now.Commit, "-dirty") {
			t.Errorf("%s, committed: %+v, before it %+v", step.file, now, first)
		}
		first = now
	}
}

func TestRead(t *testing.T) {
	zip := filepath.Join(t.TempDir(), "x.zip")
	if _, err := Read(zip); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no zip: %v", err)
	}
	write(t, filepath.Dir(zip), "x.zip", "one")
	if _, err := Read(zip); err == nil || !strings.Contains(err.Error(), "x.zip.json is missing") {
		t.Errorf("no provenance: %v", err)
	}
	want := Provenance{Version: "1", Commit: "c", Source: "s", Zip: digest([]byte("one"))}
	if err := want.Write(zip); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(zip); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	write(t, filepath.Dir(zip), "x.zip", "two")
	if _, err := Read(zip); err == nil || !strings.Contains(err.Error(), "of another zip") {
		t.Errorf("another zip: %v", err)
	}
}
