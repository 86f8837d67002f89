package testbed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"

	"firstline/internal/tfstream"
)

// parallelism of an apply: most of a deployment's time is the provider's wait
// for a queue, which costs nothing.
const parallelism = 40

// interruptTime is how long Terraform may take to end when it is interrupted,
// before it is killed.
const interruptTime = 15 * time.Second

// foreign reports whether a variable of the environment may lead Terraform, its
// AWS provider or an SDK to another AWS or to other settings than a Testbed's own.
func foreign(name string) bool {
	for _, prefix := range []string{"AWS_", "TF_VAR_", "TF_CLI_ARGS"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"TF_DATA_DIR", "TF_WORKSPACE", "TF_REATTACH_PROVIDERS"}, name)
}

// Isolate takes the caller's AWS and Terraform settings out of this process's
// environment, for good, so that nothing that is meant for a Testbed leaves this
// machine. Deploy does it by itself; whoever runs Terraform otherwise, with
// Environment beside this process's own, calls it first.
func Isolate() error {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if foreign(name) {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Environment is what a Terraform run against this Testbed needs in its
// environment, beside the caller's own less what Isolate removes.
func (w *Testbed) Environment() map[string]string {
	env := w.AWS.Variables()
	maps.Copy(env, w.SecretVariables())
	env["TF_CLI_CONFIG_FILE"] = w.CLIConfig
	env["CHECKPOINT_DISABLE"] = "1"
	env["TMPDIR"] = w.temp()
	return env
}

// setenv sets variables in this process's environment until restore is called.
func setenv(env map[string]string) (restore func() error, err error) {
	var undo []func() error
	restore = func() error {
		var errs []error
		for _, u := range undo {
			errs = append(errs, u())
		}
		return errors.Join(errs...)
	}
	for k, v := range env {
		if old, ok := os.LookupEnv(k); ok {
			undo = append(undo, func() error { return os.Setenv(k, old) })
		} else {
			undo = append(undo, func() error { return os.Unsetenv(k) })
		}
		if err := os.Setenv(k, v); err != nil {
			return nil, errors.Join(err, restore())
		}
	}
	return restore, nil
}

// deploying lets one Deploy at a time change this process's environment.
var deploying sync.Mutex

// Progress is told how far an apply is.
type Progress func(done, planned int)

// Deploy applies a root that CopyRoot made. Meanwhile it puts Environment into
// this process's environment, since that is the only way on which terraform-exec
// lets secrets travel, and leaves it isolated (see Isolate). When ctx ends,
// Terraform is interrupted and gets 15 s to end.
func (w *Testbed) Deploy(ctx context.Context, dir string, tell Progress) (err error) {
	deploying.Lock()
	defer deploying.Unlock()
	if err := Isolate(); err != nil {
		return err
	}
	restore, err := setenv(w.Environment())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	defer context.AfterFunc(ctx, func() { _, _ = fmt.Fprintln(w.log, "interrupted: waiting for Terraform to end") })()
	tf, err := tfexec.NewTerraform(dir, w.Terraform)
	if err != nil {
		return err
	}
	if err := tf.SetWaitDelay(interruptTime); err != nil {
		return err
	}
	// Its providers end with it, but not when it is killed.
	defer func() { err = errors.Join(err, endStrays(w.temp())) }()
	if err := tf.Init(ctx); err != nil {
		return fmt.Errorf("terraform init: %w", cmp.Or(ctx.Err(), err))
	}
	r, out := io.Pipe()
	watched := make(chan []string, 1)
	go func() { watched <- watch(r, tell) }()
	err = tf.ApplyJSON(ctx, out, tfexec.Parallelism(parallelism))
	_ = out.Close()
	said := <-watched
	if ctx.Err() != nil {
		// What it says then comes of the interrupt.
		return fmt.Errorf("terraform apply: %w", ctx.Err())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("terraform apply: %w", err), errors.New(strings.Join(said, "\n")))
	}
	return nil
}

// watch reads an apply's output, tells how far it is, and returns its errors.
func watch(r io.Reader, tell Progress) (said []string) {
	done, planned := 0, 0
	err := tfstream.Read(r, func(m tfstream.Message) {
		switch {
		case m.Type == tfstream.ChangeSummary && planned == 0:
			planned = m.Changes.Add
		case m.Type == tfstream.ApplyComplete && m.Hook.Action == "create":
			done++
		case m.Type == tfstream.Diagnosed && m.Diagnostic.Error():
			said = append(said, m.Diagnostic.String())
		default:
			return
		}
		if tell != nil {
			tell(done, planned)
		}
	})
	if err != nil {
		said = append(said, err.Error())
	}
	return said
}
