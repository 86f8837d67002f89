// Package regions knows AWS's commercial regions and writes terraform/regions.tf,
// which holds a provider and an instance of modules/region for each.
package regions

import (
	"bytes"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// Default returns the regions that every account has enabled
// (https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html), sorted.
func Default() []string { return slices.Clone(enabled) }

// Known returns every commercial region, those that an account must opt in to
// included, sorted.
func Known() []string {
	all := slices.Concat(enabled, optIn)
	slices.Sort(all)
	return all
}

var enabled = []string{
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
	"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3",
	"sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}

var optIn = []string{
	"af-south-1", "ap-east-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
	"ap-southeast-6", "ap-southeast-7", "ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1",
	"me-central-1", "me-south-1", "mx-central-1",
}

// Check returns an error for names that are no commercial region; it names the
// nearest one that is.
func Check(names []string) error {
	known := Known()
	var wrong []string
	for _, name := range names {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Sprintf("%q is not a commercial AWS region; did you mean %s?", name, nearest(name, known)))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// nearest returns the candidate that the fewest edits make of name.
func nearest(name string, candidates []string) string {
	return slices.MinFunc(candidates, func(a, b string) int { return distance(name, a) - distance(name, b) })
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// Union returns all names, sorted, each once.
func Union(lists ...[]string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(lists...))))
}

// Without returns the names that are not among others.
func Without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

//go:embed regions.tf.tmpl
var source string

var file = template.Must(template.New("regions.tf").Parse(source))

// Render returns the text of terraform/regions.tf for these regions, sorted
// and without repetition.
func Render(names []string) ([]byte, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("no region is left: name at least one")
	}
	if err := Check(names); err != nil {
		return nil, err
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	var out bytes.Buffer
	if err := file.Execute(&out, sorted); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

var providerRegion = regexp.MustCompile(`(?m)^\s*alias\s*=\s*"([^"]+)"`)

// Read returns the regions that a text of terraform/regions.tf holds, sorted.
func Read(text []byte) []string {
	var names []string
	for _, m := range providerRegion.FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	slices.Sort(names)
	return names
}
