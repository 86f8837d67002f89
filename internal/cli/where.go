package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/probe"
	"firstline/internal/regions"
	"firstline/internal/toolchain"
)

// Variables that say where a command works which is not run in the project's folder:
// on a Terraform root, or on what is deployed under a name in some regions.
const (
	dirVariable     = "FIRSTLINE_DIR"
	nameVariable    = "FIRSTLINE_NAME"
	regionsVariable = "FIRSTLINE_REGIONS"
)

// addName adds the flag of commands that need no state.
func (f *rootFlags) addName(c *cobra.Command) {
	f.stateless = true
	c.Flags().StringVar(&f.name, "name", "", "work without Terraform's state on the deployment of this name, in the regions of --region")
}

// folders returns the Terraform root's folder, and the folder whose build folder has
// the tools and the logs: the project's if the root is in it, else one of the user's.
func (f *rootFlags) folders() (root, project string, err error) {
	root = f.dir
	if root == "" {
		root = os.Getenv(dirVariable)
	}
	if root == "" {
		if project, err = toolchain.Root(); err != nil {
			without := ""
			if f.stateless {
				without = ", or the deployment with --name and --region"
			}
			return "", "", usagef("%w, or name the Terraform root with --dir or %s%s", err, dirVariable, without)
		}
		return filepath.Join(project, "terraform"), project, nil
	}
	if root, err = filepath.Abs(root); err != nil {
		return "", "", err
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() { //nolint:gosec // the folder that the operator names
		given := "--dir"
		if f.dir == "" {
			given = dirVariable
		}
		return "", "", usagef("%s: there is no folder %s", given, root)
	}
	if project, err = toolchain.Above(root); err == nil {
		return root, project, nil
	}
	cache, err := os.UserCacheDir()
	return root, filepath.Join(cache, "firstline"), err
}

// byName returns the name and the regions of the deployment to work on without a
// state; name is empty where the state is to be read.
func (f *rootFlags) byName(c *cobra.Command) (name string, chosen []string, err error) {
	for _, flag := range []string{"dir", "var-file", "backend-config"} {
		if err := exclusive(c, "name", flag); err != nil {
			return "", nil, err
		}
	}
	given := "--name"
	if name = f.name; !c.Flags().Changed("name") {
		given, name = nameVariable, os.Getenv(nameVariable)
		switch {
		case !f.stateless || name == "" || f.dir != "" || len(f.varFiles)+len(f.backend) > 0:
			return "", nil, nil
		case os.Getenv(dirVariable) != "":
			return "", nil, usagef("%s and %s are both set: unset one of them", dirVariable, nameVariable)
		}
	}
	if !deployed.ValidName(name) {
		return "", nil, usagef("%s: %q is not the name of a deployment, such as firstline", given, name)
	}
	all := f.only
	if len(all) == 0 {
		all = strings.FieldsFunc(os.Getenv(regionsVariable), func(r rune) bool { return r == ',' || r == ' ' })
	}
	if len(all) == 0 {
		return "", nil, usagef("%s: name the regions too, with --region or %s", given, regionsVariable)
	}
	for _, region := range all {
		if !incident.ValidRegion(region) {
			return "", nil, usagef("%q is not a region such as eu-west-1", region)
		}
	}
	if chosen = regions.Without(regions.Union(all), f.exclude); len(chosen) == 0 {
		return "", nil, usagef("no region is left to work on")
	}
	return name, chosen, nil
}

// find asks AWS what is deployed under a name in the regions. One that does not answer
// is among them, as lost: it is reported, and does not stop the others.
func find(ctx context.Context, name string, chosen []string) (d deployment, err error) {
	cfg, err := awsConfig(ctx)
	if err != nil {
		return d, err
	}
	for _, region := range chosen {
		d.regions = append(d.regions, deployed.Region{Region: region, Name: name})
	}
	var none []error
	for n, a := range everywhere(ctx, d.regions, answerTime, func(ctx context.Context, r deployed.Region) (deployed.Region, error) {
		return deployed.Find(ctx, probe.InRegion(cfg, r.Region), name)
	}) {
		switch {
		case a.err == nil:
			d.regions[n] = a.value
		case errors.Is(a.err, deployed.ErrNone):
			none = append(none, a.err)
		default:
			d.regions[n].Lost = errors.New("what is deployed could not be read: " + inWords(a.err))
		}
	}
	if ctx.Err() != nil {
		return d, ctx.Err()
	}
	if len(none) > 0 {
		var texts []string
		for _, e := range none {
			texts = append(texts, e.Error())
		}
		return d, usagef("%s, as far as these credentials see", strings.Join(texts, "; "))
	}
	return d, nil
}
