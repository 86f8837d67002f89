package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/probe"
)

// notifyResult is what came of notify test.
type notifyResult struct {
	Command string               `json:"command"`
	Regions []probe.Notification `json:"regions"`
	Log     string               `json:"log"`
	Seconds float64              `json:"seconds"`
	Error   string               `json:"error,omitempty"`
}

func newNotify() *cobra.Command {
	c := &cobra.Command{
		Use:   "notify",
		Short: "Test the channels through which people are told",
		Long:  "Test the channels through which people are told: `firstline notify test`.",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return usagef("name what to do: %s test", c.CommandPath()) },
	}
	c.AddCommand(newNotifyTest())
	return c
}

func newNotifyTest() *cobra.Command {
	var (
		flags rootFlags
		all   bool
	)
	c := &cobra.Command{
		Use:   "test",
		Short: "Send a message, labelled as a test, through every deployed channel",
		Long: `Send a message, labelled as a test, through every deployed channel: Slack, and each
pager at its lowest priority. Test alerts are closed again where the pager can do so.
The heartbeat is pinged as if all were well. In each region the deployed function does
it, with the secrets and the network path that it has in an incident.

People will read it, so --region or --all is required.

"confirmed" means that the service itself says that it has processed the message.
"accepted" means that it took the message and cannot tell more: check that it has
arrived. "FAILED" is followed by the reason and what to do. A message to an SNS topic
without a confirmed subscription has failed. A region that does not answer is reported
and does not stop the others.

Exit codes: 0 every channel took it, 1 some did not, 2 wrong usage or nothing
deployed, 130 interrupted.`,
		Example: "  firstline notify test --region eu-west-1\n  firstline notify test --all --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case all && len(flags.only) > 0:
				return usagef("--all: given with --region; give one of them")
			case !all && len(flags.only) == 0:
				return usagef("name the regions, because people will read it: --region eu-west-1, or --all for every region that is deployed")
			}
			ctx, start := c.Context(), time.Now()
			out := flags.people(c)
			p := newProgress(out)
			d, cfg, err := flags.fleet(c, "try")
			if err != nil {
				return err
			}
			for _, name := range d.missing {
				p.say("%s is in the var files and not deployed", name)
			}
			p.say("sending a test through every channel in %s", count(len(d.regions), "region"))
			// Interrupted, it still tells what it knows.
			result := notifyResult{Command: "notify test", Log: d.log, Regions: eachRegion(p, d.regions, delivered, func(r deployed.Region, _ func(string)) probe.Notification {
				return probe.Notify(ctx, cfg, r)
			})}
			if ctx.Err() != nil {
				result.Error = "interrupted"
			}
			if err := printNotifications(out, result.Regions); err != nil {
				return err
			}
			result.Seconds = time.Since(start).Seconds()
			if flags.json {
				if err := printJSON(c.OutOrStdout(), result); err != nil {
					return err
				}
			}
			return cmp.Or(ctx.Err(), notified(result.Regions))
		},
	}
	flags.add(c)
	flags.addName(c)
	c.Flags().BoolVar(&all, "all", false, "in every region that is deployed, less --exclude-region")
	return c
}

// delivered says in few words what came of a region.
func delivered(n probe.Notification) string {
	if n.Error != "" {
		return "given up: " + clean(n.Error)
	}
	var failed []string
	warned := ""
	for _, d := range n.Deliveries {
		if !d.OK {
			failed = append(failed, channel(d.Channel))
		}
		if d.Warning != "" {
			warned = ", with a warning"
		}
	}
	if len(failed) > 0 {
		return fmt.Sprintf("%d of %s failed: %s", len(failed), count(len(n.Deliveries), "channel"), strings.Join(failed, ", ")) + warned
	}
	confirmed := 0
	for _, d := range n.Deliveries {
		if d.Confirmed {
			confirmed++
		}
	}
	return fmt.Sprintf("%s: %d confirmed, %d accepted", count(len(n.Deliveries), "channel"), confirmed, len(n.Deliveries)-confirmed) + warned
}

// channel is what people call a channel.
func channel(name string) string { return cmp.Or(clean(probe.Title(name)), "-") }

// printNotifications prints a table of the channels, and under it the errors and
// warnings in full.
func printNotifications(w io.Writer, all []probe.Notification) error {
	t := newTable(w)
	_, _ = fmt.Fprintln(t, "\nREGION\tCHANNEL\tDELIVERED\tTOOK\tDETAIL")
	for _, n := range all {
		for _, d := range n.Deliveries {
			how := "accepted"
			switch {
			case !d.OK:
				how = "FAILED"
			case d.Confirmed:
				how = "confirmed"
			}
			took := fmt.Sprintf("%.1f s", float64(d.ElapsedMs)/1000)
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Region, channel(d.Channel), how, took, cmp.Or(clean(d.Detail), "-"))
		}
		if len(n.Deliveries) == 0 {
			_, _ = fmt.Fprintf(t, "%s\t-\t-\t-\t-\n", n.Region)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, n := range all {
		if n.Error != "" {
			_, _ = fmt.Fprintf(&b, "%s: %s\n", n.Region, clean(n.Error))
		}
		for _, d := range n.Deliveries {
			if !d.OK {
				_, _ = fmt.Fprintf(&b, "%s: %s: %s\n", n.Region, channel(d.Channel), cmp.Or(clean(d.Error), "it failed, and the function does not say why"))
			}
			if d.Warning != "" {
				_, _ = fmt.Fprintf(&b, "%s: %s: warning: %s\n", n.Region, channel(d.Channel), clean(d.Warning))
			}
		}
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(w, "\n"+b.String())
	return err
}

// notified is an error unless every channel took its message.
func notified(all []probe.Notification) error {
	var wrong []string
	for _, n := range all {
		if !n.OK() {
			wrong = append(wrong, n.Region)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not every channel took the test in %s: see above", strings.Join(wrong, ", "))
	}
	return nil
}
