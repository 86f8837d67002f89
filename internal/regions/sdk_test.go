package regions

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestKnownIsWhatTheSDKKnows fails when a new version of the SDK brings a region
// that is missing here.
func TestKnownIsWhatTheSDKKnows(t *testing.T) {
	const module = "github.com/aws/aws-sdk-go-v2"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}} {{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	version, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	// Internal to the SDK, so it may move: then look where its endpoint rules'
	// aws.partition function has its data.
	raw, err := os.ReadFile(filepath.Join(dir, "internal", "endpoints", "awsrulesfn", "partitions.json")) //nolint:gosec // in the module cache
	if err != nil {
		t.Fatal(err)
	}
	var sdk struct {
		Partitions []struct {
			ID      string                     `json:"id"`
			Regions map[string]json.RawMessage `json:"regions"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(raw, &sdk); err != nil {
		t.Fatal(err)
	}
	var theirs []string
	for _, p := range sdk.Partitions {
		for name := range p.Regions {
			switch refusal := Check([]string{name}); {
			case strings.HasSuffix(name, "-global"): // not a region: where global services answer
			case p.ID != "aws" && (refusal == nil || !strings.Contains(refusal.Error(), "partition "+p.ID+";")):
				t.Errorf("%s of the partition %s: %v", name, p.ID, refusal)
			case p.ID == "aws" && refusal != nil:
				t.Errorf("%s %s: %v: correct Form", module, version, refusal)
			case p.ID == "aws":
				theirs = append(theirs, name)
			}
		}
	}
	ours := known()
	for _, name := range theirs {
		if !slices.Contains(ours, name) {
			t.Errorf("%s %s knows the region %s: add it to optIn in regions.go", module, version, name)
		}
	}
	for _, name := range ours {
		if !slices.Contains(theirs, name) {
			t.Errorf("%s %s does not know the region %s: take it out of regions.go", module, version, name)
		}
	}
}
