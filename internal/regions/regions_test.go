package regions

import (
	"fmt"
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
		{[]string{"eu-wset-1"}, `"eu-wset-1" is not the name of an AWS region; did you mean eu-west-1?`},
		{[]string{"eu-west-1", "us-gov-west-1"}, `"us-gov-west-1" is a region of the partition aws-us-gov; firstline was built for the partition aws`},
	} {
		if _, err := Render(tt.names); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %q", tt.names, err, tt.want)
		}
	}
}

func TestKnownIsSortedAndWithoutRepetition(t *testing.T) {
	all := known()
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("%v", all)
	}
	if n := len(Default()); n != 17 {
		t.Errorf("%d regions are enabled by default, want 17", n)
	}
}

// AWS opens regions that this version does not know: they are accepted, and a
// word is said.
func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		optIn bool
		want  []string
	}{
		{"eu-west-1", false, nil},
		{"me-south-1", true, []string{"me-south-1 is not enabled by default: enable it in the account (`aws account enable-region --region-name me-south-1`"}},
		{"eu-west-9", true, []string{"eu-west-9 is not known to this version: if you did not mean eu-west-1", "eu-west-9 is not enabled by default"}},
	} {
		got := Warnings([]string{tt.name})
		if err := Check([]string{tt.name}); err != nil || OptIn(tt.name) != tt.optIn || len(got) != len(tt.want) {
			t.Errorf("%s: %v, OptIn %v, warnings %q", tt.name, err, OptIn(tt.name), got)
			continue
		}
		for n, want := range tt.want {
			if !strings.HasPrefix(got[n], want) {
				t.Errorf("%s: got %q, want %q", tt.name, got[n], want)
			}
		}
	}
}

// The plan refuses the same names, whoever wrote regions.tf.
func TestTerraformHasTheSameForm(t *testing.T) {
	text, err := os.ReadFile("../../terraform/modules/settings/schema.tf")
	if err != nil {
		t.Fatal(err)
	}
	if bare := strings.Trim(Form, "^$"); !strings.Contains(string(text), `region = "`+bare+`"`) {
		t.Errorf("modules/settings/schema.tf does not have the pattern %s", bare)
	}
	for _, o := range others {
		if !strings.Contains(string(text), fmt.Sprintf("%q = %q", o.prefix, o.partition)) {
			t.Errorf("modules/settings/schema.tf does not name the partition %s of %s...", o.partition, o.prefix)
		}
	}
}
