package rollout

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"firstline/internal/regions"
	"firstline/internal/tfstate"
	"firstline/internal/tfvars"
)

// Prepare reads the var files and the state, checks both, and finds out which
// of the chosen regions answer. It touches nothing. Regions that do not answer
// are reported as failed and left out of what follows.
func (r *Root) Prepare(ctx context.Context) error {
	var err error
	if r.vars, err = tfvars.Load(r.o.Dir, r.o.VarFiles, os.Environ()); err != nil {
		return InputError{err}
	}
	if err := r.vars.Missing(); err != nil {
		return InputError{err}
	}
	for name, file := range r.vars.Secrets() {
		return inputf("%s stands in %s: secrets do not belong in files; take it out, and export it as TF_VAR_%s", name, file, name)
	}
	if missing := regions.Without(r.vars.Regions(), r.providers); len(missing) > 0 {
		return inputf("%s: named in the var files, but not in regions.tf: %s", strings.Join(missing, ", "), addRegions(missing))
	}
	if err := r.readState(ctx); err != nil {
		return err
	}
	if missing := regions.Without(r.state.Regions, r.providers); len(missing) > 0 {
		return inputf("%s: in the state, but not in regions.tf: %s", strings.Join(missing, ", "), addRegions(missing))
	}
	if have := r.state.Names; len(have) > 0 && !slices.Contains(have, r.vars.Name()) {
		return inputf("the state is of the deployment %q, the variables are of %q: take that one's var file, or the other state (to rename everything, use terraform apply)", strings.Join(have, ", "), r.vars.Name())
	}
	r.all = regions.Union(r.vars.Regions(), r.state.Regions)
	if err := r.choose(); err != nil {
		return err
	}
	if err := r.preparePackage(ctx); err != nil {
		return err
	}
	return r.identify(ctx)
}

// readState reads the state and refuses one that is not of this project.
func (r *Root) readState(ctx context.Context) (err error) {
	// A local state is read from its file: asking Terraform takes as long as a
	// good part of a small plan.
	r.state, err = tfstate.Read(ctx, r.o.Dir, os.Environ(), func(ctx context.Context) ([]byte, error) {
		raw, err := r.tf.StatePull(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the state: %w", tidy(err))
		}
		return []byte(raw), nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return InputError{err}
	}
	if len(r.state.Foreign) > 0 {
		return inputf("the state is not of this project: it holds %s; point the backend (or --dir) to the state of firstline", some(r.state.Foreign))
	}
	return nil
}

// State says where the state is, and whether it is empty, once it was read.
func (r *Root) State() (where string, empty bool) { return r.state.Where, r.state.Empty }

// some names the first few of many.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// addRegions is the command that brings regions into regions.tf.
func addRegions(names []string) string {
	if err := regions.Check(names); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("run `firstline regions --add %s`", strings.Join(names, ","))
}

// choose makes a status for each region that is to be worked on.
func (r *Root) choose() error {
	for _, f := range []struct {
		flag  string
		names []string
	}{{"--region", r.o.Regions}, {"--exclude-region", r.o.Exclude}} {
		if unknown := regions.Without(f.names, r.all); len(unknown) > 0 {
			return inputf("%s: %s: neither in the var files nor in the state; there are %s", f.flag, strings.Join(unknown, ", "), cmp.Or(strings.Join(r.all, ", "), "none"))
		}
	}
	for _, name := range r.o.Regions {
		if slices.Contains(r.o.Exclude, name) {
			return inputf("%s: given with both --region and --exclude-region", name)
		}
	}
	chosen := r.o.Regions
	if len(chosen) == 0 {
		chosen = r.all
	}
	chosen = regions.Without(chosen, r.o.Exclude)
	if len(chosen) == 0 {
		return inputf("no region is left to work on")
	}
	for _, name := range chosen {
		r.status[name] = &Status{Region: name, Phase: Waiting}
	}
	return nil
}

// Chosen returns the regions that are worked on and have not failed, sorted.
func (r *Root) Chosen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name, s := range r.status {
		if s.Phase != Failed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Instances returns the instances that the var files name in a region.
func (r *Root) Instances(region string) []string { return r.vars.Instances(region) }

// targets are what restricts Terraform to the given regions; none when they are
// all that there are.
func (r *Root) targets(names []string) []string {
	if len(regions.Without(r.all, names)) == 0 {
		return nil
	}
	var targets []string
	for _, name := range names {
		targets = append(targets, "module."+name)
	}
	return targets
}
