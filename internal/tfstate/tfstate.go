// Package tfstate reads what the command has to know of a Terraform state: which
// regions it holds, and whether it is ours.
package tfstate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"firstline/internal/incident"
	"firstline/internal/regions"
)

// Format is the version of the format of a state that every Terraform since 0.12
// writes.
const Format = 4

// State is what a state says about a deployment. Lists are sorted, without
// repetition.
type State struct {
	// Regions are those whose module holds managed resources.
	Regions []string
	// Held are the regions that regions.tf must keep, since Terraform destroys
	// nothing without its provider: Regions, and those whose provider manages
	// something elsewhere. (It forgets a data source without one.)
	Held []string
	// Foreign are the addresses of managed resources that lie neither in a
	// region's module nor in module.settings: not ours, as it seems.
	Foreign []string
	// Accounts are the ids of the AWS accounts that our resources lie in.
	Accounts []string
	// Names are the deployments' names (var.name) in the regions' outputs.
	Names []string
	// Serial grows with every change of the state.
	Serial uint64
	// Empty means: no state yet, or one without managed resources.
	Empty bool
	// Where is the state, in words: the path of a file, s3://BUCKET/KEY, or the kind of
	// another backend.
	Where string
}

// state is the part of the format that matters here.
type state struct {
	Serial    uint64     `json:"serial"`
	Resources []resource `json:"resources"`
	Outputs   map[string]struct {
		Value json.RawMessage `json:"value"`
	} `json:"outputs"`
}

type resource struct {
	Module    string `json:"module"`
	Mode      string `json:"mode"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Provider  string `json:"provider"`
	Instances []struct {
		Attributes map[string]json.RawMessage `json:"attributes"`
	} `json:"instances"`
}

// Parse reads a state as `terraform state pull` prints it or as a local backend
// stores it; nothing at all is no state. It returns an error for what is no
// state and for a state of another format.
func Parse(raw []byte) (State, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return State{Empty: true}, nil
	}
	// The version comes first: another format may hold anything else.
	var head struct {
		Version *json.Number `json:"version"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return State{}, fmt.Errorf("no Terraform state: %w", err)
	}
	switch {
	case head.Version == nil:
		return State{}, fmt.Errorf("no Terraform state: it has no \"version\"; want what `terraform state pull` prints")
	case head.Version.String() != fmt.Sprint(Format):
		return State{}, fmt.Errorf("a state of format version %s, but %d is the one that is read here: use the Terraform that wrote it (\"terraform_version\" says which)", head.Version, Format)
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return State{}, fmt.Errorf("not a Terraform state of format version %d: %w", Format, err)
	}
	out := State{Serial: s.Serial, Empty: true}
	for _, r := range s.Resources {
		module := r.topModule()
		if r.Mode != "managed" {
			continue
		}
		out.Empty = false
		if alias := r.alias(); alias != "" {
			out.Held = append(out.Held, alias)
		}
		switch {
		case regions.Is(module):
			out.Regions = append(out.Regions, module)
			out.Held = append(out.Held, module)
			out.Accounts = append(out.Accounts, r.accounts()...)
		case module != "settings":
			out.Foreign = append(out.Foreign, r.address())
		}
	}
	for region, output := range s.Outputs {
		var value struct {
			Name string `json:"name"`
		}
		// What is of another form is not ours.
		if json.Unmarshal(output.Value, &value) == nil && value.Name != "" && slices.Contains(out.Regions, region) {
			out.Names = append(out.Names, value.Name)
		}
	}
	for _, list := range []*[]string{&out.Regions, &out.Held, &out.Foreign, &out.Accounts, &out.Names} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return out, nil
}

// outermost matches the outermost module of an address, which has an index when
// the module has a count.
var outermost = regexp.MustCompile(`^module\.([^.\[]+)`)

// topModule returns the name of the outermost module, which is a region's name
// when the resource is a region's; "" at the root.
func (r resource) topModule() string {
	if m := outermost.FindStringSubmatch(r.Module); m != nil {
		return m[1]
	}
	return ""
}

// rootProvider matches an AWS provider of the root that has an alias.
var rootProvider = regexp.MustCompile(`^provider\["[^"]*/hashicorp/aws"\]\.(.+)$`)

// alias returns the alias of the root's AWS provider that a resource needs, ""
// when it needs another one.
func (r resource) alias() string {
	if m := rootProvider.FindStringSubmatch(r.Provider); m != nil {
		return m[1]
	}
	return ""
}

func (r resource) address() string {
	return strings.TrimPrefix(r.Module+"."+r.Type+"."+r.Name, ".")
}

// accounts returns the account ids in the ARNs of a resource's instances.
func (r resource) accounts() []string {
	var ids []string
	for _, i := range r.Instances {
		var arn string
		if json.Unmarshal(i.Attributes["arn"], &arn) != nil {
			continue
		}
		// arn:partition:service:region:account:resource; a bucket has no account.
		if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[0] == "arn" && incident.ValidAccountID(parts[4]) {
			ids = append(ids, parts[4])
		}
	}
	return ids
}
