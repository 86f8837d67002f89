package cli

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/probe"
	"firstline/internal/timeline"
)

// explainResult is what would happen to an instance if an alarm of it fired now.
type explainResult struct {
	Command  string            `json:"command"`
	Region   string            `json:"region"`
	Instance string            `json:"instance_id"`
	Name     string            `json:"name,omitempty"`
	At       incident.Millis   `json:"at"`
	Stored   known             `json:"stored"`
	Facts    []policy.FactSaid `json:"facts"`
	// Assumed is what Decision takes for granted and is not so now.
	Assumed  []string           `json:"assumed"`
	Decision incident.Decision  `json:"decision"`
	Guards   []policy.GuardSaid `json:"guards"`
}

// known is what is stored of an instance and its region.
type known struct {
	HandedOver     *handedOver       `json:"handed_over,omitempty"`
	Pauses         []standing        `json:"pauses"`
	BreakerOpen    bool              `json:"breaker_open"`
	Reboots        []incident.Reboot `json:"reboots"`
	LastLookAt     time.Time         `json:"last_look_at,omitzero"`
	HealthySince   time.Time         `json:"healthy_since,omitzero"`
	UnhealthySince time.Time         `json:"unhealthy_since,omitzero"`
	// UnderWay is the execution that works on the instance.
	UnderWay string `json:"execution_arn,omitempty"`
}

func newExplain() *cobra.Command {
	var (
		flags    rootFlags
		instance string
	)
	c := &cobra.Command{
		Use:   "explain",
		Short: "Say what would happen if an alarm of an instance fired now; do nothing",
		Long: `Say what would happen if an alarm of an instance fired now. The deployed function looks
at the instance, asks for all facts, and has the policy decide: as if the alarm were in
ALARM, and as if what it sees had held for confirm_seconds. What is assumed is said.

It shows what is stored (hand-over, pauses, the breaker, the reboots of the last 7
days), what each check sees, each fact or why it could not be asked, the row of the
policy's table (in handler/README.md) with its reason, and what each guard says to a
reboot. Row 10 asks the guards in this order until one refuses. Nothing is stored,
nobody is told and nothing is rebooted.

Exit codes: 0 explained, 1 failed, 2 wrong usage or nothing deployed, 130 interrupted.`,
		Example: "  firstline explain --instance i-0c1cbf2e7abdedf75\n  firstline explain --instance i-0c1cbf2e7abdedf75 --json | jq '.guards[] | select(.passes | not)'",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if instance == "" {
				return usagef("name the instance with --instance")
			}
			ids := []string{instance}
			if err := validInstances(ids); err != nil {
				return err
			}
			d, cfg, err := flags.fleet(c, "explain")
			if err != nil {
				return err
			}
			if d.regions, err = onlyInstances(d.regions, ids); err != nil {
				return err
			}
			newProgress(c.ErrOrStderr()).say("looking at %s in %s: this takes up to a minute", instance, d.names())
			x, err := probe.Explain(c.Context(), cfg, d.regions[0], instance)
			if c.Context().Err() != nil {
				return c.Context().Err()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", d.names(), err)
			}
			result := explained(d.regions[0].Region, x)
			return flags.report(c, likeAll{result}, func(w io.Writer) error { return printExplanation(w, &result) })
		},
	}
	flags.add(c)
	flags.addName(c)
	c.Flags().StringVar(&instance, "instance", "", "the instance to explain")
	return c
}

// explained is the result of what the function has said.
func explained(region string, x *policy.Explanation) explainResult {
	i, r := &x.State.Instance, &x.State.Region
	k := known{
		HandedOver: handedOverOf(region, i, r), Pauses: []standing{}, BreakerOpen: r.BreakerOpen(), Reboots: append([]incident.Reboot{}, i.Reboots...),
		LastLookAt: i.LastLookAt.Time(), HealthySince: i.HealthySince.Time(), UnhealthySince: i.UnhealthySince.Time(),
	}
	if until := r.Pause.EndsAfter(x.At); until > 0 {
		k.Pauses = append(k.Pauses, standing{Region: region, Until: until.Time(), By: r.Pause.By})
	}
	if until := i.Pause.EndsAfter(x.At); until > 0 {
		k.Pauses = append(k.Pauses, standing{Region: region, Instance: i.ID, Until: until.Time(), By: i.Pause.By})
	}
	if i.Lease.Held("", false, x.At) {
		k.UnderWay = i.Lease.Execution
	}
	return explainResult{
		Command: "explain", Region: region, Instance: i.ID, Name: i.Name, At: x.At, Stored: k,
		Facts: x.Facts, Assumed: x.Assumed, Decision: x.Decision, Guards: x.Guards,
	}
}

// printExplanation prints an explanation for people to read.
func printExplanation(w io.Writer, r *explainResult) error {
	t := newTable(w)
	row := func(name, text string) { _, _ = fmt.Fprintf(t, "%s\t%s\n", name, clean(text)) }
	_, _ = fmt.Fprintf(t, "%s in %s at %s\n\n", r.Instance, r.Region, stamp(r.At.Time()))
	_, _ = fmt.Fprintln(t, "IF AN ALARM FIRED NOW")
	row("decided", timeline.Decision(r.Decision))
	for _, a := range r.Assumed {
		row("assumed", a)
	}
	_, _ = fmt.Fprintln(t, "\nSTORED")
	if r.Name != "" {
		row("name", r.Name)
	}
	r.Stored.print(row)
	_, _ = fmt.Fprintln(t)
	row("CHECK", "SEES")
	for _, f := range r.Decision.Findings {
		row(f.Check, timeline.Finding(f))
	}
	_, _ = fmt.Fprintln(t)
	row("FACT", "VALUE")
	for _, f := range r.Facts {
		value := f.Value
		if f.Error != "" {
			value = "COULD NOT BE ASKED: " + f.Error
		}
		row(f.Fact, value)
	}
	_, _ = fmt.Fprintln(t)
	row("GUARD", "SAYS TO A REBOOT (ROW 10)")
	for _, g := range r.Guards {
		says := "passes"
		if !g.Passes {
			says = "REFUSES: " + g.Reason
		}
		row(g.Guard, says)
	}
	return t.Flush()
}

// print gives row what is stored.
func (k *known) print(row func(name, text string)) {
	if h := k.HandedOver; h != nil {
		row("handed over", "since "+stamp(h.Since)+": "+h.state()+"; alert "+h.Alert)
	} else {
		row("handed over", "no")
	}
	for _, p := range k.Pauses {
		row("paused", cmp.Or(p.Instance, "the region")+" until "+stamp(p.Until)+", by "+cmp.Or(p.By, "its tag"))
	}
	row("breaker", map[bool]string{true: "open", false: "closed"}[k.BreakerOpen])
	row("last look", stamp(k.LastLookAt))
	row("healthy since", stamp(k.HealthySince))
	row("unhealthy since", stamp(k.UnhealthySince))
	for _, b := range k.Reboots {
		row("reboot", stamp(b.At.Time())+": "+b.Request+", outcome "+cmp.Or(b.Outcome, "open")+": "+b.Reason)
	}
	if len(k.Reboots) == 0 {
		row("reboots", "none in 7 days")
	}
	if k.UnderWay != "" {
		row("under way", k.UnderWay)
	}
}
