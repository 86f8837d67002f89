// Package cli is the command firstline: what its subcommands do, print and return.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, as every command documents them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitFinding     = 3
	exitInterrupted = 130
)

// usageError is a mistake in the command line or in a file that it names:
// nothing was touched.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef returns a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Build is what the command was built from; empty where that is not known.
type Build struct{ Version, Commit string }

// Run executes the command line and returns the exit code.
func Run(ctx context.Context, build Build, args []string, stdout, stderr io.Writer) int {
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, errOut := &output{w: stdout, cancel: cancel}, &output{w: stderr, cancel: cancel}
	cmd := newRoot(build)
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errOut)
	err := cmd.ExecuteContext(ctx)
	if broken := errors.Join(out.failed(), errOut.failed()); broken != nil {
		_, _ = fmt.Fprintln(stderr, "firstline: cannot write:", errors.Join(broken, besides(err)))
		return exitFailed
	}
	if err == nil {
		return exitOK
	}
	if caller.Err() != nil {
		_, _ = fmt.Fprintln(stderr, "firstline: interrupted")
		if more := besides(err); more != nil {
			_, _ = fmt.Fprintln(stderr, "firstline:", more)
		}
		return exitInterrupted
	}
	_, _ = fmt.Fprintln(stderr, "firstline:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	_, drift := errors.AsType[driftError](err)
	_, gaps := errors.AsType[gapsError](err)
	if drift || gaps {
		return exitFinding
	}
	return exitFailed
}

// output ends what is being done when it cannot be written to.
type output struct {
	w      io.Writer
	cancel context.CancelFunc

	mu  sync.Mutex
	err error
}

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(text)
	if err != nil {
		o.err = err
		o.cancel()
	}
	return n, err
}

// failed returns why a write failed, nil when none did.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// besides returns what an error says besides that something was cancelled, or
// could not be written.
func besides(err error) error {
	// This very error, not one that it wraps.
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, e := range joined.Unwrap() {
			rest = append(rest, besides(e))
		}
		return errors.Join(rest...)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

func newRoot(build Build) *cobra.Command {
	root := &cobra.Command{
		Use:           "firstline",
		Short:         "First line of support for EC2 instances in many regions",
		Long:          "First line of support for EC2 instances in many regions.\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 a finding, 130 interrupted before it\nwas done.",
		Version:       build.String(),
		Annotations:   map[string]string{versionKey: build.Version},
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.InitDefaultVersionFlag()
	root.SetVersionTemplate("firstline {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, c.CommandPath())
	})
	root.AddCommand(newRegions(), newPackage(), newSetup(),
		newDoctor(), newPlan(), newDeploy(), newDestroy(), newDrift(), newOutput(), newVerify(), newCoverage(), newNotify(),
		newPause(), newResume(), newPaused(), newHandBack(), newExplain(), newIncidents(), newIncident(), newRedrive())
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return root
}

// versionKey is where the root command carries its version.
const versionKey = "version"

// String is what --version says behind the name.
func (b Build) String() string {
	if b.Version == "" {
		return "of an unknown version: build it with `make build`"
	}
	return b.Version + " (commit " + cmp.Or(b.Commit, "unknown") + ")"
}

// noArgs is cobra.NoArgs with the exit code of a usage error.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q is not a command or flag of %s; see %s --help", args[0], c.CommandPath(), c.CommandPath())
	}
	return nil
}
