package rollout

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// A log that another command may be writing stays, however many there are.
func TestLogsAreBounded(t *testing.T) {
	project := t.TempDir()
	dir := filepath.Join(project, "build", "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for n := range 2 * logs {
		path := filepath.Join(dir, fmt.Sprintf("20260101T%06dZ-plan-1.log", n))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if n >= 10 { // the ten oldest by name are written right now
			old := time.Now().Add(-2 * time.Hour)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	tf, err := tfexec.NewTerraform(project, "terraform")
	if err != nil {
		t.Fatal(err)
	}
	r := &Root{o: Options{Project: project, Command: "plan"}, tf: tf}
	if err := r.openLog(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.log.Close() }()
	left, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(left) != logs+10 {
		t.Errorf("%d logs are left, want %d and the ten that are new: %v", len(left), logs, err)
	}
}
