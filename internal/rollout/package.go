package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"

	"firstline/internal/artifact"
)

// Checkout says what a deploy of the Terraform root in dir would bring: the root's
// version, and the commit of the sources beside it, or where there are none, of the
// zip.
func Checkout(ctx context.Context, dir, zip string) (artifact.Provenance, error) {
	p, err := artifact.Checkout(ctx, filepath.Dir(dir))
	if !errors.Is(err, artifact.ErrNoSources) {
		return p, err
	}
	p.Version, err = artifact.Version(dir)
	if zip, unknown := artifact.Read(zip); unknown == nil {
		p.Commit = zip.Commit
	}
	return p, err
}

// preparePackage sees to it that the function's zip is there, and for a command that
// deploys, that it fits the root: in a clone it was built from the sources there, else
// from this version. In a clone, with Go, it is built when it does not: whoever has
// changed the code means to deploy it. A zip at another place is somebody's choice,
// and never written.
func (r *Root) preparePackage(ctx context.Context) error {
	zip := r.vars.Package()
	if zip == "" {
		return nil // modules/settings refuses it
	}
	want, err := Checkout(ctx, r.o.Dir, zip)
	if err != nil {
		return InputError{err}
	}
	if r.o.Deploys && r.o.Version != "" && r.o.Version != want.Version {
		return inputf("this firstline is version %s, and %s is version %s: run `make build`, or take the firstline of that version", r.o.Version, r.o.Dir, want.Version)
	}
	have, err := artifact.Read(zip)
	problem := misfit(have, want, err)
	if !r.o.Deploys && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	clone := filepath.Dir(r.o.Dir)
	arch := slices.IndexFunc(artifact.Names(), func(arch string) bool {
		return want.Source != "" && zip == filepath.Join(clone, "build", artifact.Name(arch))
	})
	switch built := arch >= 0; {
	case !built && problem == "":
		return nil
	case !built:
		return inputf("function.package: %s %s: %s", zip, problem, remedy(want))
	case err == nil && have.Source == want.Source: // at most the version or the commit is another
		return want.Write(zip)
	}
	if _, err := exec.LookPath("go"); err != nil {
		return inputf("%s %s, and Go is not installed, which builds it: install Go, or put the zip of this version and its .json there", zip, problem)
	}
	_, _ = fmt.Fprintf(r.o.Log, "building %s: it %s\n", zip, problem)
	if _, err = artifact.Build(ctx, clone, filepath.Dir(zip), artifact.Names()[arch], r.o.Log); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return InputError{err}
	}
	return nil
}

// misfit says why a zip that was read with err does not fit what is wanted, "" when
// it does.
func misfit(have, want artifact.Provenance, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is not there"
	case err != nil:
		return fmt.Sprintf("cannot be told from an old one (%v)", err)
	case have.Version != want.Version:
		return fmt.Sprintf("is of version %s, and this is version %s", cmp.Or(have.Version, "unknown"), want.Version)
	case want.Source != "" && have.Source != want.Source:
		return "was built from other sources than those here"
	}
	return ""
}

// remedy is what to do about a zip that is not built here.
func remedy(want artifact.Provenance) string {
	if want.Source != "" {
		return "run `make build` and leave function.package out, or take a zip that was built from this checkout, with its .json"
	}
	return fmt.Sprintf("take the zip of version %s and its .json from the release, or run `make build` in a clone of it", want.Version)
}
