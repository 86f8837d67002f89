package test

import (
	"fmt"
	"os"
	"testing"

	"firstline/internal/stage"
)

// TestMain keeps whatever AWS account and Terraform settings the caller has out
// of the tests: they talk to this machine only.
func TestMain(m *testing.M) {
	if err := stage.Isolate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
