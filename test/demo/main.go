// Command demo plays incidents on a local AWS, from the alarm to the message.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"firstline/internal/toolchain"
	"firstline/test/testbed"
)

const (
	// bootTime is how long a played instance takes to boot.
	bootTime = time.Second
	// pace divides the state machine's waits.
	pace = 5
)

const usage = `usage: demo [--json | --keep]

Without a flag, demo plays five stories on a local AWS, from the alarm to the message.
It starts a local AWS, deploys two regions with the real Terraform and AWS provider,
plays instances with real HTTP and SSH servers on loopback addresses and with Route 53
health checks that really check them, verifies them while they are healthy, has their
alarms fire, and shows each incident as it happens. The state machine's waits take a
fifth of their time. Nothing leaves this machine but the installation of what is missing.

With --keep it deploys one region with three instances and keeps running to play with,
until Ctrl-C: a healthy one, one that a reboot cures, and one that stays down. It prints
the endpoint and how to have an alarm fire, and shows the messages that Slack and
OpsGenie receive. firstline's other commands work on it with the --dir that it prints.

  --json   print the results as JSON; progress goes to standard error

Exit codes: 0 all stories ended as they should, or ended with Ctrl-C when ready;
1 failed, 2 wrong usage, 130 interrupted.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = io.WriteString(stderr, usage) }
	asJSON, keep := flags.Bool("json", false, ""), flags.Bool("keep", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0 || *asJSON && *keep:
		flags.Usage()
		return 2
	}
	var err error
	if *keep {
		err = up(ctx, stdout)
	} else {
		err = demo(ctx, *asJSON, stdout, stderr)
	}
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(stderr, "demo:", err)
	if ctx.Err() != nil {
		return 130
	}
	return 1
}

// progress prints what is being done, a line each, with the time since the start.
type progress struct {
	io.Writer
	start time.Time
}

func (p *progress) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.Writer, "%6.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// log is for packages that report in lines.
type log struct{ *progress }

func (l log) Write(text []byte) (int, error) {
	l.say("%s", strings.TrimRight(string(text), "\r\n"))
	return len(text), nil
}

// start starts a local AWS with what surrounds it.
func start(ctx context.Context, out io.Writer) (*progress, *testbed.Testbed, error) {
	root, err := toolchain.Root()
	if err != nil {
		return nil, nil, err
	}
	p := &progress{out, time.Now()}
	p.say("packing the function and starting the local AWS")
	bed, err := testbed.New(ctx, testbed.Options{Root: root, Log: log{p}, Pace: pace})
	return p, bed, err
}

// deploy applies the Terraform root, tells how far it is, and verifies what it has
// deployed while every instance is healthy: a check that has never passed causes no
// reboot. It returns the folder of the root.
func deploy(ctx context.Context, p *progress, bed *testbed.Testbed, variables map[string]any) (dir string, err error) {
	dir, err = bed.CopyRoot(variables)
	if err != nil {
		return "", err
	}
	p.say("deploying with Terraform (about a minute)")
	last := time.Now()
	err = bed.Deploy(ctx, dir, func(done, planned int) {
		if time.Since(last) > 5*time.Second || done == planned && done > 0 {
			last = time.Now()
			p.say("  %d of %d resources", done, planned)
		}
	})
	if err != nil {
		return dir, err
	}
	p.say("deployed; firstline verify:")
	root, err := toolchain.Root()
	if err != nil {
		return dir, err
	}
	verify := exec.CommandContext(ctx, filepath.Join(root, "build", "firstline"), "verify", "--dir", dir) //nolint:gosec // our own program
	verify.Env = os.Environ()
	for name, value := range bed.Environment() {
		verify.Env = append(verify.Env, name+"="+value)
	}
	verify.Stdout, verify.Stderr = p, p
	if err := verify.Run(); err != nil {
		return dir, fmt.Errorf("firstline verify: %w (see above)", err)
	}
	p.say("every check passes and is stored as the baseline")
	return dir, nil
}
