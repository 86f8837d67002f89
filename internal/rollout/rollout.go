// Package rollout runs Terraform on firstline's root, region by region: it
// plans, applies, destroys and finds drift, with a region that fails stopping no
// other. It works on the same root and the same state as plain Terraform, so
// that either may be used at any time.
package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/terraform-exec/tfexec"

	"firstline/internal/atomicfile"
	"firstline/internal/deployed"
	"firstline/internal/regions"
	"firstline/internal/tfstate"
	"firstline/internal/tfstream"
	"firstline/internal/tfvars"
	"firstline/internal/toolchain"
)

// InputError is a mistake in what the caller gave: flags, files, the
// environment. Nothing was touched when it is returned.
type InputError struct{ Err error }

func (e InputError) Error() string { return e.Err.Error() }
func (e InputError) Unwrap() error { return e.Err }

func inputf(format string, args ...any) error { return InputError{fmt.Errorf(format, args...)} }

// Options say what a Root works on.
type Options struct {
	// Project is the project's folder: tools and logs are in its build folder.
	Project string
	// Dir is the folder of the Terraform root.
	Dir string
	// VarFiles are given to Terraform in this order.
	VarFiles []string
	// BackendConfig is given to terraform init: KEY=VALUE, or a file, whose path
	// is relative to the working directory.
	BackendConfig []string
	// Regions are the regions to work on, all when empty, less Exclude.
	Regions, Exclude []string
	// Parallelism is how many operations Terraform runs at the same time; 0 is
	// one that fits the number of regions.
	Parallelism int
	// AWS is the caller's AWS configuration, asked for when it is needed first.
	AWS func(context.Context) (aws.Config, error)
	// Insist ends when an apply is to be cut off; see Root.Apply. Nil is never.
	Insist context.Context
	// Command names the log file.
	Command string
	// Deploys has Prepare see to it that the function's zip fits the root.
	Deploys bool
	// Version is that of the caller, "" when it does not know.
	Version string
	// Log is told of everything that takes time, but for what Tell is told.
	Log io.Writer
	// Tell is told whenever a region's status changes. It must be quick.
	Tell func(Status)
}

// interruptTime is how long an interrupted Terraform may take to save the state
// and to release the lock, before it is killed.
const interruptTime = 15 * time.Minute

// maxRetries is how often the AWS provider tries a call, unless a variable says
// otherwise. Its own 25 take some 40 minutes with a region that is down, which
// would hold up all others; these take half a minute. (AWS_MAX_ATTEMPTS has no
// say: provider 5.100.0 sets 25 itself.)
const maxRetries = "7"

// longSilence is how long Terraform may say nothing while it plans, before the
// region that it waits for is left out: some endpoints accept a connection and
// never answer, and the provider would wait for ever. It is more than the
// provider takes to give up one that is unreachable.
const longSilence = 10 * time.Minute

// Root is a Terraform root with its state.
type Root struct {
	o         Options
	tf        *tfexec.Terraform
	temp      string
	log       *os.File
	logPath   string
	providers []string // regions that regions.tf holds
	source    []byte   // regions.tf

	// silence is how long Terraform may say nothing while it plans.
	silence time.Duration

	vars  tfvars.Vars
	state tfstate.State
	all   []string // regions of the var files and of the state

	// desired is what the var files come to, once they have been read.
	desired *desired
	// parameter is readParameter, but in tests.
	parameter func(ctx context.Context, region, name string) (value string, exists bool, err error)

	said   []*tfstream.Diagnostic // what Terraform has warned of, but for what is in warned
	warned map[string]bool

	mu     sync.Mutex
	status map[string]*Status
	errors map[string][]string
}

// ours matches flags of Terraform, which it takes from the environment too, that
// decide what is done: a region would be said to be unchanged that was left out.
var ours = regexp.MustCompile(`(?:^|\s)--?(target|replace|var|var-file|destroy|refresh|refresh-only|state|out)(?:[=\s]|$)`)

// Open finds Terraform and initialises the root where that is needed. It sets
// variables in this process's environment, since terraform-exec takes no others
// for secrets to travel in.
func Open(ctx context.Context, o Options) (_ *Root, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Tell == nil {
		o.Tell = func(Status) {}
	}
	o.AWS = once(o.AWS)
	r := &Root{o: o, silence: longSilence, status: map[string]*Status{}, errors: map[string][]string{}, warned: map[string]bool{}}
	r.parameter = r.readParameter
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	path := filepath.Join(o.Dir, "regions.tf")
	if r.source, err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) { //nolint:gosec // the operator names the folder
		return nil, inputf("%s does not exist: give the folder of firstline's Terraform root with --dir, or write the file with `firstline regions`", path)
	} else if err != nil {
		return nil, InputError{err}
	}
	r.providers = regions.Read(r.source)
	if err := r.refuseEnvironment(); err != nil {
		return nil, err
	}
	if r.o.BackendConfig, err = absolute(o.BackendConfig); err != nil {
		return nil, err
	}
	tools := toolchain.Toolchain{Build: filepath.Join(o.Project, "build"), Log: o.Log}
	program, err := tools.Terraform(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		return nil, InputError{err}
	}
	config, err := tools.CLIConfig()
	if err != nil {
		return nil, err
	}
	if err := setEnvironment(config); err != nil {
		return nil, err
	}
	if r.tf, err = tfexec.NewTerraform(o.Dir, program); err != nil {
		return nil, err
	}
	if err := r.tf.SetWaitDelay(interruptTime); err != nil {
		return nil, err
	}
	if r.temp, err = os.MkdirTemp("", "firstline-rollout-"); err != nil {
		return nil, err
	}
	if err := r.openLog(); err != nil {
		return nil, err
	}
	return r, r.init(ctx)
}

// refuseEnvironment refuses what Terraform would take from the environment without
// this command knowing of it.
func (r *Root) refuseEnvironment() error {
	if name := os.Getenv("TF_WORKSPACE"); name != "" {
		return inputf("TF_WORKSPACE is set to %q, which terraform-exec does not pass on: unset it and run `terraform workspace select %s` in %s", name, name, r.o.Dir)
	}
	for _, name := range []string{"TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_CLI_ARGS_apply"} {
		if m := ours.FindStringSubmatch(os.Getenv(name)); m != nil {
			return inputf("%s holds -%s, which this command would not know of: unset it, and use --region and --var-file", name, m[1])
		}
	}
	return nil
}

// absolute makes the files among backend settings absolute: Terraform would look for
// them in the root's folder.
func absolute(settings []string) ([]string, error) {
	var all []string
	for _, c := range settings {
		if !strings.Contains(c, "=") {
			var err error
			if c, err = filepath.Abs(c); err != nil {
				return nil, err
			}
			if info, err := os.Stat(c); err != nil || info.IsDir() {
				return nil, inputf("--backend-config: %s: there is no such file, and it is not KEY=VALUE either", c)
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// setEnvironment sets what Terraform is to find in this process's environment; config
// is a Terraform CLI configuration, "" for the user's own.
func setEnvironment(config string) error {
	environment := map[string]string{"CHECKPOINT_DISABLE": "1"}
	if config != "" {
		environment["TF_CLI_CONFIG_FILE"] = config
	}
	if os.Getenv("TF_VAR_max_retries") == "" {
		environment["TF_VAR_max_retries"] = maxRetries
	}
	for k, v := range environment {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return nil
}

// once has load asked until it succeeds, and by one caller at a time: it may run a
// program that asks somebody for credentials.
func once(load func(context.Context) (aws.Config, error)) func(context.Context) (aws.Config, error) {
	var mu sync.Mutex
	var loaded *aws.Config
	return func(ctx context.Context) (aws.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		if loaded != nil {
			return *loaded, nil
		}
		config, err := load(ctx)
		if err == nil {
			loaded = &config
		}
		return config, err
	}
}

// Close removes temporary files. No Terraform must run any more.
func (r *Root) Close() error {
	var errs []error
	if r.log != nil {
		errs = append(errs, r.log.Close())
	}
	if r.temp != "" {
		errs = append(errs, os.RemoveAll(r.temp))
	}
	return errors.Join(errs...)
}

// logs is how many log files are kept, beside those that a command may be writing.
const logs = 50

// openLog opens the log file of this command and removes old ones.
func (r *Root) openLog() error {
	dir := filepath.Join(r.o.Project, "build", "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if old, err := filepath.Glob(filepath.Join(dir, "*.log")); err == nil && len(old) >= logs {
		slices.Sort(old)
		for _, path := range old[:len(old)-logs+1] {
			if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > time.Hour {
				_ = os.Remove(path)
			}
		}
	}
	// A name of its own, also for two commands in one second.
	file, err := os.CreateTemp(dir, time.Now().UTC().Format("20060102T150405Z-")+r.o.Command+"-*.log")
	if err != nil {
		return err
	}
	r.log, r.logPath = file, file.Name()
	r.tf.SetLogger(logger{file})
	r.tf.SetStderr(file)
	return nil
}

// logger is terraform-exec's: it is told the command lines. Secrets travel in
// the environment, but for what somebody configures a backend with.
type logger struct{ w io.Writer }

// backendValue matches a backend's setting on a command line.
var backendValue = regexp.MustCompile(`( -backend-config=[^= ]+=)\S*`)

func (l logger) Printf(format string, args ...any) {
	_, _ = fmt.Fprintln(l.w, backendValue.ReplaceAllString(fmt.Sprintf(format, args...), "${1}…"))
}

// LogPath is the file with Terraform's complete output.
func (r *Root) LogPath() string { return r.logPath }

// init runs terraform init unless nothing has changed since it was run last.
func (r *Root) init(ctx context.Context) error {
	data := tfstate.DataDir(r.o.Dir, os.Environ())
	stamp := filepath.Join(data, "firstline")
	want, err := r.initStamp(data)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want { //nolint:gosec // Terraform's own folder
		return nil
	}
	_, _ = fmt.Fprintln(r.o.Log, "terraform init")
	var options []tfexec.InitOption
	for _, c := range r.o.BackendConfig {
		options = append(options, tfexec.BackendConfig(c))
	}
	said, err := r.stream(ctx, func(ctx context.Context, w io.Writer) error { return r.tf.InitJSON(ctx, w, options...) }, func(tfstream.Message) {})
	r.warn(true)
	var wrong []string
	for _, d := range said {
		wrong = append(wrong, strings.Join(strings.Fields(d.String()), " "))
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return InputError{err}
	case len(wrong) > 0:
		return inputf("terraform init: %s", strings.Join(wrong, "; "))
	}
	// It may have written the lock file, and notes the backend.
	if want, err = r.initStamp(data); err != nil {
		return err
	}
	return atomicfile.Write(stamp, []byte(want))
}

// initStamp is a digest of all that terraform init depends on, and of what it
// noted in its data folder.
func (r *Root) initStamp(data string) (string, error) {
	h := sha256.New()
	var files []string
	err := filepath.WalkDir(r.o.Dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".terraform"):
			return filepath.SkipDir
		case !d.IsDir() && (strings.HasSuffix(path, ".tf") || strings.HasSuffix(path, ".tf.json")), d.Name() == ".terraform.lock.hcl":
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, c := range r.o.BackendConfig {
		_, _ = fmt.Fprintf(h, "%q\n", c)
		if !strings.Contains(c, "=") {
			files = append(files, c)
		}
	}
	// What the root is initialised with now: somebody may have run terraform
	// init with another backend since.
	files = append(files, filepath.Join(data, "terraform.tfstate"))
	for _, path := range files {
		text, err := os.ReadFile(path) //nolint:gosec // the root's own files
		if errors.Is(err, fs.ErrNotExist) {
			continue // no backend, or Terraform says so better
		} else if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(h, "%q %x\n", path, sha256.Sum256(text))
	}
	_, _ = fmt.Fprintf(h, "%q %q\n", r.tf.ExecPath(), os.Getenv("TF_CLI_CONFIG_FILE"))
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Outputs returns what is deployed, per region.
func (r *Root) Outputs(ctx context.Context) (map[string]deployed.Region, error) {
	out, err := r.tf.Output(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		return nil, fmt.Errorf("terraform output: %w", tidy(err))
	}
	if err := r.readState(ctx); err != nil {
		return nil, err
	}
	values := map[string]json.RawMessage{}
	for name, o := range out {
		// A region that was destroyed alone leaves its output behind.
		if slices.Contains(r.state.Regions, name) {
			values[name] = o.Value
		}
	}
	return deployed.Decode(values)
}

// tidy makes one line of the errors that Terraform prints to a terminal.
func tidy(err error) error {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(strings.Trim(strings.TrimSpace(line), "╷│╵"))
		if line != "" && line != "exit status 1" {
			lines = append(lines, line)
		}
	}
	return errors.New(strings.TrimPrefix(strings.Join(lines, " "), "Error: "))
}
