package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// restricted are the warnings of Terraform that come of restricting it to regions,
// which is what it is told to do.
var restricted = []string{"Resource targeting is in effect", "Applied changes may be incomplete"}

// warn tells what Terraform has warned of, and what of the variables is allowed and
// easily meant otherwise: each once. What differs in the resource alone is one
// warning, as on Terraform's own terminal.
func (r *Root) warn(destroy bool) {
	texts, where := []string{}, map[string][]string{}
	note := func(text, at string) {
		text = strings.ReplaceAll(text, "\n\n", "\n") // it is one of many lines
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if at != "" && !slices.Contains(where[text], at) {
			where[text] = append(where[text], at)
		}
	}
	if !destroy {
		for _, text := range r.ownWarnings(time.Now()) {
			note(text, "")
		}
	}
	for _, d := range r.said {
		if !slices.Contains(restricted, d.Summary) {
			bare := *d
			bare.Address, bare.Range = "", nil
			note(inOurWords(&bare), strings.TrimPrefix(strings.TrimPrefix(d.String(), bare.String()), "\n"))
		}
	}
	r.said = nil
	for _, text := range texts {
		if r.warned[text] {
			continue
		}
		r.warned[text] = true
		if at := where[text]; len(at) > 0 && !strings.HasPrefix(at[0], "  with check.") {
			text += "\n" + at[0]
			if len(at) > 1 {
				text += fmt.Sprintf("\n  and %d more like it", len(at)-1)
			}
		}
		_, _ = fmt.Fprintf(r.o.Log, "warning: %s\n", text)
	}
}

// opsGenieEnds is when OpsGenie's API ends
// (https://www.atlassian.com/software/opsgenie/migration), and opsGenieWarned how
// long before it is warned of.
var opsGenieEnds = time.Date(2027, 4, 5, 0, 0, 0, 0, time.UTC)

const opsGenieWarned = 90 * 24 * time.Hour

// ownWarnings are of the variables. Terraform does not say them when it is restricted
// to some regions: terraform/main.tf has the same as checks.
func (r *Root) ownWarnings(now time.Time) []string {
	var all []string
	if zero := r.vars.Never(); len(zero) > 0 {
		all = append(all, fmt.Sprintf("breaker: %s = 0: no instance is ever rebooted, somebody is paged instead. If that is not intended, use 1 to 1000.", strings.Join(zero, " = 0 and ")))
	}
	if !r.vars.Slack() && len(r.vars.Pagers()) == 0 {
		all = append(all, "slack, pagers: there is no Slack and no pager, so nobody is told of an instance that is down. If that is not intended, set slack or a pager.")
	}
	if slices.Contains(r.vars.Pagers(), "opsgenie") && now.After(opsGenieEnds.Add(-opsGenieWarned)) {
		ends := "ends"
		if now.After(opsGenieEnds) {
			ends = "has ended"
		}
		all = append(all, fmt.Sprintf("pagers: OpsGenie's API %s on %s: choose another pager.", ends, opsGenieEnds.Format(time.DateOnly)))
	}
	return all
}
