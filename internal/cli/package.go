package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"firstline/internal/artifact"
	"firstline/internal/toolchain"
)

func newPackage() *cobra.Command {
	var arch, dir string
	c := &cobra.Command{
		Use:   "package",
		Short: "Build the Lambda function's zip",
		Long:  "Build the Lambda function's zip. The same commit gives the same bytes.\n\nExit codes: 0 built, 1 failed, 2 wrong usage, 130 interrupted.",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var archs []string
			switch _, known := artifact.Architectures[arch]; {
			case arch == "all":
				archs = artifact.Names()
			case known:
				archs = []string{arch}
			default:
				return usagef("--arch: %q is not one of %s, all", arch, strings.Join(artifact.Names(), ", "))
			}
			root, err := toolchain.Root()
			if err != nil {
				return usageError{err}
			}
			if dir == "" {
				dir = filepath.Join(root, "build")
			}
			for _, a := range archs {
				path, err := artifact.Build(c.Context(), root, dir, a, c.ErrOrStderr())
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintln(c.OutOrStdout(), path)
			}
			return nil
		},
	}
	c.Flags().StringVar(&arch, "arch", "all", "arm64, x86_64 or all")
	c.Flags().StringVar(&dir, "out", "", "folder to write to (default: build in the project's folder)")
	return c
}
