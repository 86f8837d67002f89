package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"firstline/internal/atomicfile"
	"firstline/internal/regions"
	"firstline/internal/toolchain"
)

func newRegions() *cobra.Command {
	var (
		file      string
		only, add []string
		check     bool
		asJSON    bool
	)
	c := &cobra.Command{
		Use:   "regions",
		Short: "Write terraform/regions.tf: the regions that can be deployed to",
		Long: `Write terraform/regions.tf, which holds a provider and a module instance for
each region that regions.tfvars may name.

Without a flag it holds the 17 regions that every account has enabled, plus
those that --add brought in before. Every region costs a provider process in
each plan, so whoever uses few may cut the list with --only. Cut no region that
is still deployed: Terraform could no longer destroy what is in it.`,
		Example: "  firstline regions --add eu-south-1\n  firstline regions --only eu-west-1,us-east-1\n  firstline regions --check",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := exclusive(c, "only", "add", "check"); err != nil {
				return err
			}
			for _, name := range []string{"only", "add"} {
				if given, err := c.Flags().GetStringSlice(name); err == nil && len(given) == 0 && c.Flags().Changed(name) {
					return usagef("--%s: name at least one region", name)
				}
			}
			if file == "" {
				root, err := toolchain.Root()
				if err != nil {
					return usageError{err}
				}
				file = filepath.Join(root, "terraform", "regions.tf")
			}
			old, err := os.ReadFile(file) //nolint:gosec // the operator names the file
			if missing := errors.Is(err, fs.ErrNotExist); check && missing {
				return fmt.Errorf("%s does not exist: run `firstline regions` and commit the file", file)
			} else if err != nil && !missing {
				return err
			}
			held := regions.Read(old)
			if check && len(held) == 0 {
				return fmt.Errorf("%s holds no region: run `firstline regions` and commit the file", file)
			}
			var want []string
			switch {
			case len(only) > 0:
				want = only
			case check || len(add) > 0 && len(held) > 0:
				want = held
			default:
				want = slices.Concat(regions.Default(), held)
			}
			want = slices.Concat(want, add)
			slices.Sort(want)
			want = slices.Compact(want)
			text, err := regions.Render(want)
			if err != nil {
				return usageError{err}
			}
			changed := !bytes.Equal(old, text)
			switch {
			case check && changed:
				return fmt.Errorf("%s is not what this command writes: run `firstline regions` and commit the file", file)
			case changed && !check:
				if err := atomicfile.Write(file, text); err != nil {
					return err
				}
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"file": file, "regions": want, "changed": changed})
			}
			state := "unchanged"
			if changed {
				state = "written"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s, %s: %s\n", file, state, count(len(want), "region"), strings.Join(want, " "))
			return err
		},
	}
	f := c.Flags()
	f.StringSliceVar(&only, "only", nil, "exactly these regions, comma-separated or repeated")
	f.StringSliceVar(&add, "add", nil, "these regions besides those in the file, comma-separated or repeated")
	f.BoolVar(&check, "check", false, "write nothing; fail when the file is not what this command writes")
	f.StringVar(&file, "file", "", "the file (default: terraform/regions.tf in the project's folder)")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
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
