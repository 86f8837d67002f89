package regions

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRenderIsWhatIsCommitted(t *testing.T) {
	committed, err := os.ReadFile("../../terraform/regions.tf")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Render(Read(committed))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(got)); diff != "" {
		t.Errorf("run `firstline regions` (-committed +rendered):\n%s", diff)
	}
}

func TestRenderReadsBack(t *testing.T) {
	got, err := Render([]string{"us-east-1", "me-south-1", "us-east-1", "ap-southeast-2"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ap-southeast-2", "me-south-1", "us-east-1"}, Read(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{nil, "name at least one"},
		{[]string{"eu-wset-1"}, `"eu-wset-1" is not a commercial AWS region; did you mean eu-west-1?`},
		{[]string{"eu-west-1", "us-gov-west-1"}, `"us-gov-west-1" is not a commercial`},
	} {
		if _, err := Render(tt.names); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %q", tt.names, err, tt.want)
		}
	}
}

func TestKnownIsSortedAndWithoutRepetition(t *testing.T) {
	known := Known()
	if !slices.IsSorted(known) || len(slices.Compact(slices.Clone(known))) != len(known) {
		t.Errorf("%v", known)
	}
	if n := len(Default()); n != 17 {
		t.Errorf("%d regions are enabled by default, want 17", n)
	}
}
