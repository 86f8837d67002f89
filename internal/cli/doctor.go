package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/probe"
	"firstline/internal/rollout"
)

// doctorResult is what came of doctor.
type doctorResult struct {
	Command string `json:"command"`
	// Deployment are what no single region is to blame for: Terraform, what a deploy
	// would be refused for, IAM's quota.
	Deployment []probe.CheckResult  `json:"deployment"`
	Regions    []probe.Verification `json:"regions"`
	Log        string               `json:"log"`
	Seconds    float64              `json:"seconds"`
}

// What doctor looks at itself.
const (
	checkTerraform = "terraform"
	checkRefusal   = "refusal"
)

func newDoctor() *cobra.Command {
	var flags rootFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what would fail, before anything is deployed",
		Long: `Look for what would fail, before anything is deployed, from here and with your own
rights. Nothing is changed and nobody is told anything.

It says whether Terraform and its provider fit; whether the regions answer and are
enabled; what a deploy would be refused for, such as an instance of another region or a
secret that is missing; and of each region whether the instances run, what the three
checks find once from here, whether security groups and network ACLs let the function
in, whether the alarms could fire (the metric's data, monitoring, credits), Lambda's
concurrency and IAM's managed policies, and whether Slack and the pagers take their
secrets (those in the environment, else those that are stored) in calls that tell nobody.

A private address is not tried. "warning" means that this cannot be told from here, or
that something may fail later. Any other result but "passed" and "skipped" means that
something would fail. Each region is given 30 seconds.

Exit codes: 0 nothing would fail, 1 something would, 2 wrong usage or input, 130
interrupted.`,
		Example: "  firstline doctor --var-file terraform/regions.tfvars",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, start := c.Context(), time.Now()
			out := flags.people(c)
			p := newProgress(out)
			b := newBoard(p)
			b.run()
			defer b.close()
			// As plan and deploy do, so that it is refused what they are.
			root, err := flags.open(c, b, rollout.Options{Deploys: true, Version: c.Root().Annotations[versionKey]})
			if err != nil {
				return err
			}
			result, err := examine(ctx, p, root)
			if err = cmp.Or(err, root.Close()); err != nil {
				return usage(err)
			}
			b.hush(true) // what follows is the result
			result.Seconds = time.Since(start).Seconds()
			if err := printExamination(out, result); err != nil {
				return err
			}
			if flags.json {
				if err := printJSON(c.OutOrStdout(), result); err != nil {
					return err
				}
			}
			return cmp.Or(ctx.Err(), verdict(append(result.Regions, probe.Verification{Region: "the deployment", Deployment: result.Deployment})))
		},
	}
	flags.add(c)
	return c
}

// examine looks at everything. An error is a mistake in the input, or that ctx has
// ended.
func examine(ctx context.Context, p *progress, root *rollout.Root) (doctorResult, error) {
	result := doctorResult{Command: "doctor", Regions: []probe.Verification{}, Log: root.LogPath()}
	p.say("reading the state, and asking each region who is calling")
	if err := root.Prepare(ctx); err != nil {
		return result, err
	}
	want, err := root.Intended(ctx)
	if err != nil {
		return result, err
	}
	cfg, err := awsConfig(ctx)
	if err != nil {
		return result, err
	}
	own, provider, err := root.Versions(ctx)
	if err != nil {
		return result, err
	}
	result.Deployment = []probe.CheckResult{
		{Check: checkTerraform, Result: probe.Passed, Reason: own + ", provider " + provider},
		probe.Policies(ctx, cfg, want),
	}
	p.say("looking for what a deploy would be refused for")
	reasons, err := root.Reasons(ctx, false)
	if err != nil {
		return result, err
	}
	for _, reason := range reasons {
		result.Deployment = append(result.Deployment, probe.CheckResult{Check: checkRefusal, Result: probe.Errored, Reason: reason})
	}
	if len(reasons) == 0 {
		result.Deployment = append(result.Deployment, probe.CheckResult{Check: checkRefusal, Result: probe.Passed})
	}
	var here []deployed.Region
	for _, s := range root.Statuses() {
		switch _, named := want.Regions[s.Region]; {
		case s.Phase == rollout.Failed:
			result.Regions = append(result.Regions, probe.Verification{Region: s.Region, Error: strings.Join(s.Errors, "; ")})
		case named:
			here = append(here, deployed.Region{Region: s.Region})
		}
	}
	p.say("looking at %s", count(len(here), "region"))
	result.Regions = append(result.Regions, eachRegion(p, here, tally, func(r deployed.Region, _ func(string)) probe.Verification {
		return probe.Examine(ctx, cfg, r.Region, want)
	})...)
	return result, ctx.Err()
}

// areas are the lines of doctor's table: the checks that each is about.
var areas = []struct{ title, check string }{
	{"Terraform", checkTerraform},
	{"refusals", checkRefusal},
	{"policies", probe.CheckPolicies},
	{"instances", probe.CheckInstance},
	{"URL", "url"},
	{"Route 53", "route53"},
	{"SSH", "ssh"},
	{"firewalls", probe.CheckFirewall},
	{"alarms", probe.CheckAlarm},
	{"concurrency", probe.CheckConcurrency},
	{"Slack", probe.CheckSlack},
	{"pagers", probe.CheckPager},
}

// printExamination prints a line per area, and under them what is to be done.
func printExamination(w io.Writer, result doctorResult) error {
	all := append([]probe.Verification{{Region: "deployment", Deployment: result.Deployment}}, result.Regions...)
	tallies := map[string]map[probe.Result]int{}
	add := func(c probe.CheckResult) {
		if tallies[c.Check] == nil {
			tallies[c.Check] = map[probe.Result]int{}
		}
		tallies[c.Check][c.Result]++
	}
	unread := 0
	for _, v := range all {
		if v.Error != "" {
			unread++
		}
		for _, c := range v.Deployment {
			add(c)
		}
		for _, i := range v.Instances {
			for _, c := range i.Checks {
				add(c)
			}
		}
	}
	t := newTable(w)
	_, _ = fmt.Fprintf(t, "\nAREA\tRESULT\nregions\t%d passed%s\n", len(result.Regions)-unread, map[bool]string{true: fmt.Sprintf(", %d ERROR", unread)}[unread > 0])
	for _, a := range areas {
		var words []string
		for _, r := range []probe.Result{probe.Passed, probe.Skipped, probe.Warned, "attention", "busy", "contradicted", probe.Failed, probe.Errored} {
			if n := tallies[a.check][r]; n > 0 {
				word := string(r)
				if !r.OK() {
					word = strings.ToUpper(word)
				}
				words = append(words, fmt.Sprintf("%d %s", n, word))
			}
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\n", a.title, cmp.Or(strings.Join(words, ", "), "-"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	lines := []string{""}
	for _, c := range result.Deployment {
		switch {
		case c.Check == checkRefusal && !c.Result.OK():
			lines = append(lines, "a deploy would be refused: "+clean(c.Reason))
		case c.Result != probe.Passed:
			lines = append(lines, grouped([]probe.CheckResult{c})...)
		}
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"+strings.TrimPrefix(reasons(result.Regions), "\n"))
	return err
}
