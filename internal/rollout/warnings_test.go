package rollout

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/tfvars"
)

// TestWarnings: in the words of Terraform, which says them in a plain plan.
func TestWarnings(t *testing.T) {
	for brake, want := range map[string][]string{
		"{ in_flight = 1 }":                 nil,
		"{ in_flight = 0 }":                 {"brake: in_flight = 0: no instance is ever rebooted; whoever is on call is paged instead. If that is not meant, use 1 to 1000."},
		"{ in_flight = 0, per_hour = 0.0 }": {"brake: in_flight = 0 and per_hour = 0: no instance is ever rebooted; whoever is on call is paged instead. If that is not meant, use 1 to 1000."},
	} {
		file := filepath.Join(t.TempDir(), "r.tfvars")
		if err := os.WriteFile(file, []byte(`regions = { "eu-west-1" = {} }`+"\nbrake = "+brake), 0o600); err != nil {
			t.Fatal(err)
		}
		r := held(t, "eu-west-1")
		var err error
		if r.vars, err = tfvars.Load(t.TempDir(), []string{file}, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.Warnings()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", brake, diff)
		}
	}
}
