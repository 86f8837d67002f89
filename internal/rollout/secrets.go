package rollout

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// secretParameter is the address of a secret's SSM parameter.
var secretParameter = regexp.MustCompile(`\.aws_ssm_parameter\.secret\["([^"]+)"\]$`)

// MissingSecrets says which secrets a plan would store for the first time
// without having their values: the function could tell nobody then.
func (r *Root) MissingSecrets(p *Plan) []string {
	where := map[string][]string{}
	for region, changes := range p.Changes {
		for _, c := range changes {
			action, address, _ := strings.Cut(c, " ")
			m := secretParameter.FindStringSubmatch(address)
			if m == nil || action != "create" && action != "replace" {
				continue
			}
			variable := "TF_VAR_" + strings.ReplaceAll(m[1], "-", "_")
			if os.Getenv(variable) == "" {
				where[variable] = append(where[variable], region)
			}
		}
	}
	var missing []string
	for variable, regions := range where {
		slices.Sort(regions)
		missing = append(missing, fmt.Sprintf("%s is not set, and no value is stored in %s: export it and run this again", variable, strings.Join(regions, ", ")))
	}
	slices.Sort(missing)
	return missing
}
