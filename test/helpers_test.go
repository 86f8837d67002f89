package test

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	"firstline/internal/toolchain"
	"firstline/test/testbed"
)

// root is the project's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// apply applies a root, whose Terraform does not share this process's environment
// with others.
func apply(ctx context.Context, w *testbed.Testbed, dir string) error {
	return runTerraform(ctx, w, dir, []string{"init", "-input=false", "-no-color"}, []string{"apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=40"})
}

// destroy destroys what apply has applied.
func destroy(ctx context.Context, w *testbed.Testbed, dir string) error {
	return runTerraform(ctx, w, dir, []string{"destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=40"})
}

func runTerraform(ctx context.Context, w *testbed.Testbed, dir string, commands ...[]string) error {
	env := environ(w.Environment())
	for _, args := range commands {
		c := exec.CommandContext(ctx, w.Terraform, args...) //nolint:gosec // Terraform
		c.Dir, c.Env = dir, env
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("terraform %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}
