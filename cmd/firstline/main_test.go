package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/regions"
)

// command runs a command line.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(t.Context(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestHelp(t *testing.T) {
	for name, want := range map[string]string{
		"": "Exit codes: 0 done, 1 failed, 2 wrong usage, 130", "demo": "four incidents", "up": "Exit code 0 when it is ended",
		"regions": "--only", "package": "--arch", "setup": "moto",
	} {
		args := append(strings.Fields(name), "--help")
		code, stdout, stderr := command(t, args...)
		if code != exitOK || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("firstline %s: %d, want 0 and %q:\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
		}
	}
	if code, stdout, _ := command(t); code != exitOK || !strings.Contains(stdout, "Usage:") {
		t.Errorf("without a command: %d\n%s", code, stdout)
	}
}

func TestUsageErrors(t *testing.T) {
	file := regionsFile(t, "eu-west-1")
	for _, tt := range []struct{ args, want string }{
		{"nonsense", `"nonsense" is not a command or flag of firstline`},
		{"--nonsense", "unknown flag: --nonsense"},
		{"demo now", `"now" is not a command or flag of firstline demo`},
		{"up --port 1", "unknown flag: --port"},
		{"setup --json=perhaps", "invalid argument"},
		{"package --arch x", `--arch: "x" is not one of arm64, x86_64, all`},
		{"regions --file FILE --only eu-west-1 --add eu-west-2", "--only and --add do not go together"},
		{"regions --file FILE --check --only eu-west-1", "--only and --check do not go together"},
		{"regions --file FILE --check --add eu-west-1", "--add and --check do not go together"},
		{"regions --file FILE --only eu-wset-1", "did you mean eu-west-1?"},
		{"regions --file FILE --only=", "--only: name at least one region"},
		{"regions --file FILE --add=", "--add: name at least one region"},
	} {
		before := read(t, file)
		code, stdout, stderr := command(t, strings.Fields(strings.ReplaceAll(tt.args, "FILE", file))...)
		if code != exitUsage || !strings.Contains(stderr, tt.want) || stdout != "" {
			t.Errorf("firstline %s: %d, want 2 and %q:\n%s%s", tt.args, code, tt.want, stdout, stderr)
		}
		if read(t, file) != before {
			t.Errorf("firstline %s changed the file", tt.args)
		}
	}
}

// regionsFile writes a regions.tf and returns its path.
func regionsFile(t *testing.T, names ...string) string {
	t.Helper()
	text, err := regions.Render(names)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "regions.tf")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // below the test's folder
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRegions(t *testing.T) {
	for _, tt := range []struct {
		name, args string
		held       []string // nil: no file
		code       int
		want       []string
		says       string
	}{
		{"only", "--only us-east-1,eu-west-1", []string{"eu-west-2"}, exitOK, []string{"eu-west-1", "us-east-1"}, "written, 2 regions"},
		{"only, twice", "--only us-east-1 --only us-east-1", []string{"us-east-1"}, exitOK, []string{"us-east-1"}, "unchanged, 1 region:"},
		{"add", "--add eu-south-1", []string{"eu-west-2"}, exitOK, []string{"eu-south-1", "eu-west-2"}, "written, 2 regions"},
		{"neither", "", []string{"eu-south-1"}, exitOK, append(regions.Default(), "eu-south-1"), "written, 18 regions"},
		{"no file", "", nil, exitOK, regions.Default(), "written, 17 regions"},
		{"check", "--check", []string{"eu-south-1"}, exitOK, []string{"eu-south-1"}, "unchanged, 1 region:"},
		{"check without a file", "--check", nil, exitFailed, nil, "regions.tf does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "regions.tf")
			if tt.held != nil {
				file = regionsFile(t, tt.held...)
			}
			code, stdout, stderr := command(t, append([]string{"regions", "--file", file}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
				t.Errorf("%d, want %d and %q:\n%s%s", code, tt.code, tt.says, stdout, stderr)
			}
			if tt.want == nil {
				return
			}
			want := slices.Sorted(slices.Values(tt.want))
			if diff := cmp.Diff(want, regions.Read([]byte(read(t, file)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegionsCheckFails(t *testing.T) {
	file := regionsFile(t, "eu-west-1")
	edited := read(t, file) + "# by hand\n"
	for text, want := range map[string]string{edited: "is not what this command writes", "": "holds no region"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, "regions", "--check", "--file", file)
		if code != exitFailed || !strings.Contains(stderr, file) || !strings.Contains(stderr, want) {
			t.Errorf("%d, want 1 and %q: %s", code, want, stderr)
		}
		if read(t, file) != text {
			t.Error("--check changed the file")
		}
	}
}

func TestRegionsJSON(t *testing.T) {
	file := regionsFile(t, "eu-west-1")
	code, stdout, stderr := command(t, "regions", "--json", "--add", "eu-west-2", "--file", file)
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitOK {
		t.Fatalf("%d, %v: %s%s", code, err, stdout, stderr)
	}
	want := map[string]any{"file": file, "changed": true, "regions": []any{"eu-west-1", "eu-west-2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOutsideTheProject(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"regions", "package", "setup", "demo", "up"} {
		if code, _, stderr := command(t, name); code != exitUsage || !strings.Contains(stderr, "not inside firstline's folder") {
			t.Errorf("firstline %s: %d, want 2: %s", name, code, stderr)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errOut bytes.Buffer
	code := run(ctx, []string{"package", "--arch", "arm64", "--out", t.TempDir()}, io.Discard, &errOut)
	if code != exitInterrupted || errOut.String() != "firstline: interrupted\n" {
		t.Errorf("%d, want 130: %s", code, errOut.String())
	}
	// What went wrong besides is said too.
	errOut.Reset()
	code = run(ctx, []string{"regions", "--check", "--file", "nowhere.tf"}, io.Discard, &errOut)
	if code != exitInterrupted || !strings.Contains(errOut.String(), "nowhere.tf does not exist") {
		t.Errorf("%d, want 130 and the error: %s", code, errOut.String())
	}
}

// closedPipe is an output whose reader is gone.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestReaderIsGone(t *testing.T) {
	var errOut bytes.Buffer
	code := run(t.Context(), []string{"regions", "--check", "--file", regionsFile(t, "eu-west-1")}, closedPipe{}, &errOut)
	if want := "firstline: cannot write: broken pipe\n"; code != exitFailed || errOut.String() != want {
		t.Errorf("%d, want 1 and %q: %s", code, want, errOut.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := &output{w: closedPipe{}, cancel: cancel}
	if _, err := fmt.Fprintln(o, "text"); !errors.Is(err, syscall.EPIPE) || ctx.Err() == nil {
		t.Errorf("got %v; cancelled: %v", err, ctx.Err())
	}
}

func TestBesides(t *testing.T) {
	other := errors.New("no space left")
	interrupted := fmt.Errorf("terraform apply: %w", context.Canceled)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{interrupted, "<nil>"},
		{errors.Join(interrupted, other), "no space left"},
		{errors.Join(interrupted, errors.Join(context.Canceled, fmt.Errorf("close: %w", other))), "close: no space left"},
		{other, "no space left"},
		{nil, "<nil>"},
	} {
		if got := fmt.Sprint(besides(tt.err)); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	got := outcome{Status: "SUCCEEDED", Reboots: 1, Slack: 1}.String()
	if want := "succeeded, 1 reboot, 1 Slack, 0 pages"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
