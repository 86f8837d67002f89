package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"firstline/internal/console"
	"firstline/internal/deployed"
	"firstline/internal/rollout"
)

// outputResult is what is deployed.
type outputResult struct {
	Command string         `json:"command"`
	Regions []outputRegion `json:"regions"`
	// NotDeployed are the regions that the var files name beside those.
	NotDeployed []string      `json:"not_deployed"`
	Errors      []regionError `json:"errors"`
	// Checkout is what a deploy would bring; with --name, nothing.
	Checkout *checkout `json:"checkout,omitempty"`
}

// checkout is the version and the commit of a Terraform root with its function.
type checkout struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

func (c checkout) String() string {
	text := "version " + c.Version
	if sha, dirty, _ := strings.Cut(c.Commit, "-"); sha != "" {
		text += ", commit " + sha[:min(len(sha), 12)]
		if dirty != "" {
			text += " and changes to it"
		}
	}
	return text
}

// outputRegion is a region with the pages of the console that speak of it.
type outputRegion struct {
	deployed.Region
	Links map[string]string `json:"links,omitempty"`
}

func newOutput() *cobra.Command {
	var flags rootFlags
	c := &cobra.Command{
		Use:   "output",
		Short: "Print what is deployed in each region: ARNs and console links",
		Long: `Print what is deployed in each region, with the ARNs and the links into the AWS
console that an operator needs. It reads Terraform's state, or with --name asks AWS.
Regions that the var files name and that are not deployed are listed as such. The
version and the commit of each region are those that were deployed there last; the
last line has those that a deploy of this checkout would bring.

Exit codes: 0 printed, 1 failed, 2 wrong usage or input, 130 interrupted.`,
		Example: "  firstline output --region eu-west-1\n  firstline output --json | jq -r '.regions[].links.state_machine'",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := flags.deployed(c, c.ErrOrStderr())
			if err != nil {
				return err
			}
			here, err := flags.checkout(c)
			if err != nil {
				return err
			}
			lost := d.lost()
			if flags.json {
				result := outputOf(d, lost)
				result.Checkout = here
				err = printJSON(c.OutOrStdout(), result)
			} else if err = printRegions(c.OutOrStdout(), d); err == nil && here != nil {
				_, err = fmt.Fprintf(c.OutOrStdout(), "this checkout  %s\n", here)
			}
			return errors.Join(err, unanswered(c.ErrOrStderr(), lost, "what is deployed could not be read"))
		},
	}
	flags.add(c)
	flags.addName(c)
	return c
}

// checkout returns what a deploy would bring, nil where no Terraform root is worked on.
func (f *rootFlags) checkout(c *cobra.Command) (*checkout, error) {
	if name, _, err := f.byName(c); name != "" || err != nil {
		return nil, err
	}
	dir, vars, err := f.vars()
	if err != nil {
		return nil, err
	}
	p, err := rollout.Checkout(c.Context(), dir, vars.Package())
	return &checkout{p.Version, p.Commit}, err
}

// outputOf is the result of regions but for those that are lost.
func outputOf(d deployment, lost []regionError) outputResult {
	result := outputResult{Command: "output", Regions: []outputRegion{}, NotDeployed: append([]string{}, d.missing...), Errors: lost}
	for _, r := range d.regions {
		if r.Lost != nil {
			continue
		}
		o := outputRegion{Region: r, Links: map[string]string{}}
		for _, p := range parts(r) {
			if p.link != "" {
				o.Links[p.key] = p.link
			}
		}
		result.Regions = append(result.Regions, o)
	}
	return result
}

// lost are the regions of which it could not be read what is deployed.
func (d deployment) lost() []regionError {
	all := []regionError{}
	for _, r := range d.regions {
		if r.Lost != nil {
			all = append(all, regionError{r.Region, inWords(r.Lost)})
		}
	}
	return all
}

// printJSON prints a command's result.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	// Links have ampersands.
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// part is one thing that is deployed: its key in JSON, what people call it, its
// name or ARN, and its page in the console.
type part struct{ key, label, name, link string }

// parts are what an operator may look for in a region.
func parts(r deployed.Region) []part {
	pages, public := console.In(r.Partition(), r.Region)
	all := []part{
		{"state_machine", "state machine", r.StateMachineARN, pages.StateMachine(r.StateMachineARN)},
		{"execution_log_group", "log of the incidents", r.ExecutionLogGroup, pages.LogGroup(r.ExecutionLogGroup)},
		{"function", "function", r.FunctionARN, pages.Function(r.FunctionName)},
		{"function_log_group", "log of the function", r.FunctionLogGroup, pages.LogGroup(r.FunctionLogGroup)},
		{"probe_log_group", "log of the probe", r.ProbeLogGroup, pages.LogGroup(r.ProbeLogGroup)},
		{"alarms", "alarms on instances", several(r.AlarmNames, r.Name+"-alarm-"), pages.Alarms(r.Name + "-alarm-")},
		{"self_alarms", "alarms on firstline", several(r.SelfAlarmNames, r.Name+"-self-"), pages.Alarms(r.Name + "-self-")},
		{"rule", "rule of alarms", r.RuleName, pages.Rule(r.RuleName)},
		{"canary_rule", "rule of dry incidents", r.CanaryRuleName, pages.Rule(r.CanaryRuleName)},
		{"reconcile_rule", "rule of reconcile", r.ReconcileRuleName, pages.Rule(r.ReconcileRuleName)},
		{"table", "table", r.TableName, pages.Table(r.TableName)},
		{"dashboard", "dashboard", r.DashboardName, pages.Dashboard(r.DashboardName)},
		{"dead_letter_queue", "dead-letter queue", r.DeadLetterQueueURL, pages.Queue(r.DeadLetterQueueURL)},
	}
	if r.AlarmTopicARN != nil {
		all = append(all, part{"alarm_topic", "topic of the subscribers", *r.AlarmTopicARN, pages.Topic(*r.AlarmTopicARN)})
	}
	var there []part
	for _, p := range all {
		if p.name == "" {
			continue
		}
		if !public {
			p.link = ""
		}
		there = append(there, p)
	}
	return there
}

// several says how many alarms there are with a prefix; "" when there are none.
func several(names []string, prefix string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%d: %s…", len(names), prefix)
}

// printRegions prints what is deployed for people to read.
func printRegions(w io.Writer, d deployment) error {
	for _, r := range d.regions {
		if r.Lost != nil {
			continue
		}
		version := ""
		if r.Version != "" {
			version = ", " + checkout{r.Version, r.Commit}.String()
		}
		if _, err := fmt.Fprintf(w, "%s  account %s, %s%s\n", r.Region, r.AccountID, count(len(r.InstanceIDs), "instance"), version); err != nil {
			return err
		}
		for _, p := range parts(r) {
			_, _ = fmt.Fprintf(w, "  %-25s %s\n", p.label, p.name)
			if p.link != "" {
				_, _ = fmt.Fprintf(w, "  %-25s %s\n", "", p.link)
			}
		}
		_, _ = fmt.Fprintln(w)
	}
	for _, name := range d.missing {
		_, _ = fmt.Fprintf(w, "%s  not deployed\n", name)
	}
	if len(d.regions) == 0 {
		_, err := fmt.Fprintf(w, "nothing is deployed according to the state %s\n", d.state)
		return err
	}
	return nil
}
