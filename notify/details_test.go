package notify

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A detail that an operator adds to alerts must not take the place of one of ours:
// Terraform refuses the names that messages set.
func TestSettingsKnowOurDetails(t *testing.T) {
	schema, err := os.ReadFile("../terraform/modules/settings/schema.tf")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(schema), "own_details = [")
	list, _, found := strings.Cut(rest, "]")
	if !found {
		t.Fatal("modules/settings has no list own_details")
	}
	var known, ours []string
	for _, m := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(list, -1) {
		known = append(known, m[1])
	}
	for _, message := range messages {
		ours = slices.AppendSeq(ours, maps.Keys(describe(message()).details()))
		ours = slices.AppendSeq(ours, maps.Keys((&pagerDuty{}).trigger(message()).Payload.Details))
	}
	slices.Sort(known)
	slices.Sort(ours)
	if diff := cmp.Diff(slices.Compact(ours), known); diff != "" {
		t.Errorf("details (-messages +modules/settings):\n%s", diff)
	}
}
