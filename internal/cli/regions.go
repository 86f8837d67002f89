package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firstline/internal/atomicfile"
	"firstline/internal/regions"
	"firstline/internal/tfstate"
	"firstline/internal/tfvars"
	"firstline/internal/toolchain"
)

func newRegions() *cobra.Command {
	var (
		o      regionsOptions
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "regions",
		Short: "Write terraform/regions.tf, the regions that can be deployed to",
		Long: `Write terraform/regions.tf, which holds a provider and a module instance for
each region that regions.tfvars may name.

Without a flag it holds the 17 regions that every account has enabled, plus
those that --add brought in before. Every region costs a provider process in
each plan, so cut the list if you use few: --from keeps the regions that var files
name, --only those listed. --from may be repeated. Every region of the partition
aws may be named, also one that AWS has opened since this version.

A region that is still deployed is kept and reported: without its provider
Terraform could no longer destroy what is in it. Before it drops a region, the
command reads the Terraform state in the folder of regions.tf. It reads the selected
workspace only (or that of TF_WORKSPACE), so do not drop a region that another
workspace holds. A backend must be initialised (terraform init) and its credentials
must be set, else no region is dropped and the exit code is 1.

--check, for CI, writes nothing and needs neither state nor credentials. It
fails when the file is not what this command writes, or when it lacks a region
that a --from file names.

Exit codes: 0 done, 1 the file must not or could not be written, or --check failed, 2 wrong
usage or input, 130 interrupted.`,
		Example: `  firstline regions --add eu-south-1
  firstline regions --only eu-west-1,us-east-1
  firstline regions --from terraform/regions.tfvars
  firstline regions --from staging.tfvars --from production.tfvars --add us-west-2
  firstline regions --check --from terraform/regions.tfvars`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, pair := range [][]string{{"only", "add"}, {"only", "from"}, {"check", "only"}, {"check", "add"}} {
				if err := exclusive(c, pair...); err != nil {
					return err
				}
			}
			for _, name := range []string{"only", "add"} {
				given, err := c.Flags().GetStringSlice(name)
				if err == nil && c.Flags().Changed(name) && len(given) == 0 {
					return usagef("--%s: name at least one region", name)
				}
			}
			if slices.Contains(o.from, "") {
				return usagef("--from: name a var file, such as regions.tfvars")
			}
			o.log = c.ErrOrStderr()
			result, err := o.run(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), result)
			}
			_, err = io.WriteString(c.OutOrStdout(), result.String())
			return err
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.only, "only", nil, "exactly these regions, comma-separated or repeated")
	f.StringSliceVar(&o.add, "add", nil, "these regions in addition to those in the file or of --from, comma-separated or repeated")
	f.StringArrayVar(&o.from, "from", nil, "exactly the regions that this var file names; may be repeated")
	f.BoolVar(&o.check, "check", false, "write nothing; fail when the file is not what this command writes or lacks a region of --from")
	f.StringVar(&o.dir, "dir", "", "folder of the Terraform root (default: "+dirVariable+", or terraform in the project's folder)")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

// regionsOptions are what the command line says.
type regionsOptions struct {
	dir, project    string
	file            string
	only, add, from []string
	check           bool
	log             io.Writer
}

// regionsResult is what the command prints.
type regionsResult struct {
	Command string   `json:"command"`
	File    string   `json:"file"`
	Regions []string `json:"regions"`
	Changed bool     `json:"changed"`
	// Kept are the regions that should have gone but are still deployed.
	Kept []string `json:"kept"`
}

func (r regionsResult) String() string {
	state := "unchanged"
	if r.Changed {
		state = "written"
	}
	text := fmt.Sprintf("%s: %s, %s: %s\n", r.File, state, count(len(r.Regions), "region"), strings.Join(r.Regions, " "))
	switch len(r.Kept) {
	case 0:
	case 1:
		text += r.Kept[0] + " is kept: the state still holds it; take it out of the var file and apply first, then run this again\n"
	default:
		text += strings.Join(r.Kept, ", ") + " are kept: the state still holds them; take them out of the var file and apply first, then run this again\n"
	}
	return text
}

// locate finds the folder of the Terraform root, and the file in it.
func (o *regionsOptions) locate() (err error) {
	flags := rootFlags{dir: o.dir}
	if o.dir, o.project, err = flags.folders(); err == nil {
		o.file = filepath.Join(o.dir, "regions.tf")
	}
	return err
}

func (o *regionsOptions) run(ctx context.Context) (regionsResult, error) {
	if err := o.locate(); err != nil {
		return regionsResult{}, err
	}
	old, err := os.ReadFile(o.file)
	if missing := errors.Is(err, fs.ErrNotExist); o.check && missing {
		return regionsResult{}, fmt.Errorf("%s does not exist: run `firstline regions` and commit the file", o.file)
	} else if err != nil && !missing {
		return regionsResult{}, err
	}
	held := regions.Read(old)
	if o.check && len(held) == 0 {
		return regionsResult{}, fmt.Errorf("%s holds no region: run `firstline regions` and commit the file", o.file)
	}
	named, err := namedBy(o.dir, o.from)
	if err != nil {
		return regionsResult{}, usageError{err}
	}
	want, err := o.want(held, named)
	if err != nil {
		return regionsResult{}, err
	}
	text, err := regions.Render(want)
	if err != nil {
		return regionsResult{}, usageError{err}
	}
	if o.check {
		if !bytes.Equal(old, text) {
			return regionsResult{}, fmt.Errorf("%s is not what this command writes: run `firstline regions` and commit the file", o.file)
		}
		if err := covers(o.file, held, named); err != nil {
			return regionsResult{}, err
		}
		return regionsResult{Command: "regions", File: o.file, Regions: want, Kept: []string{}}, nil
	}
	kept, err := o.deployed(ctx, held, want)
	if err != nil {
		return regionsResult{}, err
	}
	for _, warning := range regions.Warnings(regions.Without(want, held)) {
		_, _ = fmt.Fprintln(o.log, "warning:", warning)
	}
	if len(kept) > 0 {
		want = regions.Union(want, kept)
		if text, err = regions.Render(want); err != nil {
			return regionsResult{}, fmt.Errorf("%s holds what the state still needs: %w", o.file, err)
		}
	}
	changed := !bytes.Equal(old, text)
	if changed {
		if err := atomicfile.Write(o.file, text); err != nil {
			return regionsResult{}, err
		}
	}
	return regionsResult{Command: "regions", File: o.file, Regions: want, Changed: changed, Kept: kept}, nil
}

// want returns the regions that the file is to hold, as far as the command line
// goes.
func (o *regionsOptions) want(held []string, named map[string]string) ([]string, error) {
	switch {
	case len(o.only) > 0:
		return regions.Union(o.only), nil
	case len(named) > 0 && !o.check:
		return regions.Union(slices.Collect(maps.Keys(named)), o.add), nil
	}
	// What the file holds stays; somebody may have put a name in by hand.
	if err := regions.Check(held); err != nil {
		err = fmt.Errorf("%s: %w", o.file, err)
		if o.check {
			return nil, err
		}
		return nil, usageError{err}
	}
	if o.check || len(o.add) > 0 && len(held) > 0 {
		return regions.Union(held, o.add), nil
	}
	return regions.Union(regions.Default(), held, o.add), nil
}

// namedBy returns the regions that var files of the root in dir name, with where.
func namedBy(dir string, files []string) (map[string]string, error) {
	named := map[string]string{}
	for _, file := range files {
		found, err := tfvars.Named(dir, file)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if err := regions.Check([]string{name}); err != nil {
				return nil, fmt.Errorf("%s: %w", found[name], err)
			}
			named[name] = cmp.Or(named[name], found[name])
		}
	}
	if len(files) > 0 && len(named) == 0 {
		return nil, fmt.Errorf("%s: sets no regions; name the var file that does with --from", strings.Join(files, ", "))
	}
	return named, nil
}

// covers returns an error when a var file names a region that the file lacks.
func covers(file string, held []string, named map[string]string) error {
	var missing, where []string
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if !slices.Contains(held, name) {
			missing = append(missing, name)
			where = append(where, fmt.Sprintf("%s (%s)", name, named[name]))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s lacks %s: run `firstline regions --add %s` and commit the file", file, strings.Join(where, ", "), strings.Join(missing, ","))
}

// deployed returns those regions that the state holds among those that would go
// from the file, or an error when that cannot be told. Of a file that is gone or
// empty nothing is known: what it held may be deployed all the same.
func (o *regionsOptions) deployed(ctx context.Context, held, want []string) ([]string, error) {
	if len(held) > 0 && len(regions.Without(held, want)) == 0 {
		return []string{}, nil
	}
	state, err := tfstate.Read(ctx, o.dir, os.Environ(), func(ctx context.Context) ([]byte, error) { return pullState(ctx, o.dir, o.project, o.log) })
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("no region is dropped from %s: cannot find out which regions the state still holds: %w", o.file, err)
	}
	if len(held) == 0 {
		held = slices.DeleteFunc(slices.Clone(state.Held), func(name string) bool { return !regions.Is(name) })
	}
	return slices.DeleteFunc(regions.Union(regions.Without(held, want)), func(name string) bool { return !slices.Contains(state.Held, name) }), nil
}

// pullWait is how long Terraform may take to end when it is interrupted.
const pullWait = 10 * time.Second

// pullState runs `terraform state pull`. It is not terraform-exec's, which takes
// TF_WORKSPACE out of Terraform's environment: that would be another
// workspace's state.
func pullState(ctx context.Context, dir, project string, log io.Writer) ([]byte, error) {
	t := toolchain.Toolchain{Build: filepath.Join(project, "build"), Log: log}
	terraform, err := t.Terraform(ctx)
	if err != nil {
		return nil, err
	}
	config, err := t.CLIConfig()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, terraform, "state", "pull", "-no-color") //nolint:gosec // the Terraform that was found
	cmd.Dir = dir
	// It asks nobody, and its log would come between what it says.
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_LOG=", "TF_LOG_CORE=", "TF_LOG_PROVIDER=")
	if config != "" {
		cmd.Env = append(cmd.Env, "TF_CLI_CONFIG_FILE="+config)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = pullWait
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("terraform state pull in %s: %s: run `terraform init` there, or give the credentials of its backend", dir, cmp.Or(gist(stderr.String()), err.Error()))
	}
	return stdout.Bytes(), nil
}

// gist returns the first error that Terraform says, its heading and the first
// paragraph of the text below that is not source code, on one line; "" when it
// says none.
func gist(stderr string) string {
	_, said, ok := strings.Cut(stderr, "Error: ")
	if !ok {
		return ""
	}
	said, _, _ = strings.Cut(said, "\nError: ")
	var parts []string
	for part := range strings.SplitSeq(said, "\n\n") {
		isSource := strings.HasPrefix(strings.TrimLeft(part, "\n"), "  on ")
		if part = strings.Join(strings.Fields(part), " "); part != "" && !isSource {
			parts = append(parts, strings.TrimSuffix(part, "."))
		}
	}
	return strings.Join(parts[:min(len(parts), 2)], ": ")
}

// exclusive returns a usage error when more than one of the flags was given.
func exclusive(c *cobra.Command, names ...string) error {
	var given []string
	for _, name := range names {
		if c.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 1 {
		return usagef("%s do not go together", strings.Join(given, " and "))
	}
	return nil
}
