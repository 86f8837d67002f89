// Package regions knows the regions of the partition aws and writes
// terraform/regions.tf, which holds a provider and an instance of modules/region
// for each.
package regions

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// Default returns the regions that every account has enabled
// (https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html), sorted.
func Default() []string { return slices.Clone(enabled) }

// known returns every region that this version knows, sorted.
func known() []string {
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

// Form is the pattern of the names of the partition aws's regions, also of those
// that AWS will open. terraform/modules/settings has the same.
const Form = `^(af|ap|ca|eu|il|me|mx|sa|us)-(central|(north|south)?(east|west)|north|south)-[1-9]$`

var form = regexp.MustCompile(Form)

// Is reports whether a name is that of a region of the partition aws, or may
// become one.
func Is(name string) bool { return form.MatchString(name) }

// others are the other partitions by what their regions' names begin with. They
// have accounts, endpoints and consoles of their own.
var others = []struct{ prefix, partition string }{
	{"cn-", "aws-cn"},
	{"eusc-", "aws-eusc"},
	{"us-gov-", "aws-us-gov"},
	{"us-iso-", "aws-iso"},
	{"us-isob-", "aws-iso-b"},
	{"eu-isoe-", "aws-iso-e"},
	{"us-isof-", "aws-iso-f"},
}

// Check returns an error for names that are no region's or another partition's.
func Check(names []string) error {
	var wrong []string
	for _, name := range names {
		if Is(name) {
			continue
		}
		other := slices.IndexFunc(others, func(o struct{ prefix, partition string }) bool { return strings.HasPrefix(name, o.prefix) })
		if other >= 0 {
			wrong = append(wrong, fmt.Sprintf("%q is a region of the partition %s; firstline was built for the partition aws and is not tested in any other", name, others[other].partition))
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%q is not the name of an AWS region; did you mean %s?", name, nearest(name, known())))
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// OptIn reports whether an account must enable a region before it can use it, as
// all that AWS has opened since 2019
// (https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html).
func OptIn(name string) bool { return Is(name) && !slices.Contains(enabled, name) }

// Enable says how to come to work in a region that is not enabled by default
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html).
func Enable(name string) string {
	return fmt.Sprintf("enable it in the account (`aws account enable-region --region-name %s`, which takes minutes to hours); session tokens of STS's global endpoint are not valid there: take yours from a regional one (AWS_STS_REGIONAL_ENDPOINTS=regional for older tools), or run `aws iam set-security-token-service-preferences --global-endpoint-token-version v2Token`", name)
}

// Warnings say of names that Check accepts what else it takes to use them.
func Warnings(names []string) []string {
	var all []string
	for _, name := range names {
		if !slices.Contains(known(), name) {
			all = append(all, fmt.Sprintf("%s is not known to this version: if you did not mean %s, use an AWS provider that knows it; firstline was not tested there", name, nearest(name, known())))
		}
		if OptIn(name) {
			all = append(all, fmt.Sprintf("%s is not enabled by default: %s", name, Enable(name)))
		}
	}
	return all
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
