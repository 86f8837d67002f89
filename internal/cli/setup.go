package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"firstline/internal/toolchain"
)

// setupResult is where the programs are.
type setupResult struct {
	Command   string `json:"command"`
	Terraform string `json:"terraform"`
	Moto      string `json:"moto"`
	// Config is the Terraform CLI configuration; empty: the user's own.
	Config string `json:"terraform_cli_config"`
}

func newSetup() *cobra.Command {
	var asJSON, wantMoto bool
	c := &cobra.Command{
		Use:   "setup",
		Short: "Install what is missing: Terraform, and moto for the local AWS",
		Long: `Find Terraform, moto's server and a mirror of the AWS provider on this machine,
and install into build/ what is missing or does not fit. The other commands do
the same when they need it.

Exit codes: 0 all is there, 1 something could not be installed, 2 wrong usage, 130
interrupted.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			root, err := toolchain.Root()
			if err != nil {
				return usageError{err}
			}
			t := toolchain.Toolchain{Build: filepath.Join(root, "build"), Log: c.ErrOrStderr()}
			terraform, err := t.Terraform(c.Context())
			if err != nil {
				return err
			}
			moto := "not looked for"
			if wantMoto {
				if moto, err = t.Moto(c.Context()); err != nil {
					return err
				}
			}
			config, err := t.CLIConfig()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), setupResult{"setup", terraform, moto, config})
			}
			if config == "" {
				config = "your own"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "terraform: %s\nmoto_server: %s\nterraform CLI configuration: %s\n", terraform, moto, config)
			return err
		},
	}
	c.Flags().BoolVar(&wantMoto, "moto", true, "also moto, which only the local AWS needs")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}
