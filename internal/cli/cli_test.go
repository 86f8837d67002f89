package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// command runs a command line.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = Run(t.Context(), Build{}, args, &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestHelp(t *testing.T) {
	for name, want := range map[string]string{
		"":        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a finding, 130",
		"regions": "--only", "package": "--arch", "setup": "moto",
		"pause": "at most seven days ahead", "resume": "--instance", "paused": "the region's breaker holds back",
		"explain": "as if the alarm were in", "handback": "not rebooted for four hours", "incidents": "--since", "incident": "the row of the policy's table", "redrive": "however old its event is",
		"notify": "notify test", "notify test": "\"confirmed\" means that the service itself says",
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
	for _, tt := range []struct{ args, want string }{
		{"nonsense", `"nonsense" is not a command or flag of firstline`},
		{"--nonsense", "unknown flag: --nonsense"},
		{"setup now", `"now" is not a command or flag of firstline setup`},
		{"setup --port 1", "unknown flag: --port"},
		{"setup --json=perhaps", "invalid argument"},
		{"package --arch x", `--arch: "x" is not one of arm64, x86_64, all`},
	} {
		code, stdout, stderr := command(t, strings.Fields(tt.args)...)
		if code != exitUsage || !strings.Contains(stderr, tt.want) || stdout != "" {
			t.Errorf("firstline %s: %d, want 2 and %q:\n%s%s", tt.args, code, tt.want, stdout, stderr)
		}
	}
}

func TestOutsideTheProject(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"regions", "package", "setup"} {
		if code, _, stderr := command(t, name); code != exitUsage || !strings.Contains(stderr, "not inside firstline's folder") {
			t.Errorf("firstline %s: %d, want 2: %s", name, code, stderr)
		}
	}
}

// Elsewhere a command says how it may be told where to work, and works on a root whose
// folder stands alone.
func TestElsewhere(t *testing.T) {
	withoutAWS(t)
	t.Chdir(t.TempDir())
	const without, orDir = "not inside firstline's folder: change to it first, or name the Terraform root with --dir or FIRSTLINE_DIR", "regions.tf does not exist"
	dir := t.TempDir()
	for _, tt := range []struct{ args, env, want string }{
		{"plan", "", without + "\n"},
		{"incidents", "", without + ", or the deployment with --name and --region\n"},
		{"regions --check", "FIRSTLINE_DIR=" + dir, orDir},
		{"plan", "FIRSTLINE_DIR=" + dir, orDir},
		{"incident 8b1c", "FIRSTLINE_DIR=" + dir, orDir},
		{"incident 8b1c --dir " + dir, "FIRSTLINE_NAME=firstline", orDir},
		{"output", "FIRSTLINE_DIR=" + dir + "/none", "FIRSTLINE_DIR: there is no folder " + dir + "/none"},
		{"output --dir none", "", "--dir: there is no folder "},
		{"incidents", "FIRSTLINE_DIR=" + dir + " FIRSTLINE_NAME=firstline", "FIRSTLINE_DIR and FIRSTLINE_NAME are both set: unset one of them"},
		{"incidents --name firstline --dir " + dir, "", "--name and --dir do not go together"},
		{"incidents --name firstline --var-file x", "", "--name and --var-file do not go together"},
		{"paused --name firstline", "", "--name: name the regions too, with --region or FIRSTLINE_REGIONS"},
		{"paused", "FIRSTLINE_NAME=firstline", "FIRSTLINE_NAME: name the regions too, with --region or FIRSTLINE_REGIONS"},
		{"paused --name First", "", `--name: "First" is not the name of a deployment, such as firstline`},
		{"paused --name firstline --region Ireland", "", `"Ireland" is not a region such as eu-west-1`},
		{"paused --name firstline --region eu-west-1 --exclude-region eu-west-2,eu-west-1", "", "eu-west-1: given with both"},
		{"verify --exclude-region eu-west-1", "FIRSTLINE_NAME=firstline FIRSTLINE_REGIONS=eu-west-1", "no region is left to work on"},
		{"notify test --name firstline --region eu-west-1", "", "no AWS credentials: "},
		{"redrive", "FIRSTLINE_NAME=firstline FIRSTLINE_REGIONS=eu-west-1,us-east-1", "no AWS credentials: "},
		{"plan --name firstline", "", "unknown flag: --name"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			for v := range strings.FieldsSeq(tt.env) {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			code, stdout, stderr := command(t, strings.Fields(tt.args)...)
			if code == exitOK || code != exitUsage && tt.want != orDir || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("%s firstline %s: %d, want 2 and %q:\n%s%s", tt.env, tt.args, code, tt.want, stdout, stderr)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errOut bytes.Buffer
	code := Run(ctx, Build{}, []string{"package", "--arch", "arm64", "--out", t.TempDir()}, io.Discard, &errOut)
	if code != exitInterrupted || errOut.String() != "firstline: interrupted\n" {
		t.Errorf("%d, want 130: %s", code, errOut.String())
	}
	// What went wrong besides is said too.
	errOut.Reset()
	code = Run(ctx, Build{}, []string{"regions", "--check", "--dir", t.TempDir()}, io.Discard, &errOut)
	if code != exitInterrupted || !strings.Contains(errOut.String(), "regions.tf does not exist") {
		t.Errorf("%d, want 130 and the error: %s", code, errOut.String())
	}
}

// closedPipe is an output whose reader is gone.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestReaderIsGone(t *testing.T) {
	var errOut bytes.Buffer
	code := Run(t.Context(), Build{}, []string{"regions", "--check", "--dir", filepath.Dir(regionsFile(t, "eu-west-1"))}, closedPipe{}, &errOut)
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
