package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/policy"
)

// pausedResult is what firstline does not reboot, and why.
type pausedResult struct {
	Command string     `json:"command"`
	Pauses  []standing `json:"pauses"`
	// Warnings are tags that are no pause though they were meant for one.
	Warnings   []standing    `json:"warnings"`
	HandedOver []handedOver  `json:"handed_over"`
	Errors     []regionError `json:"errors"`
}

// standing is a pause, or a tag that was meant for one.
type standing struct {
	Region string `json:"region"`
	// Instance is empty for the region as a whole.
	Instance string `json:"instance_id,omitempty"`
	// Until is zero where Warning says why the tag is no pause.
	Until   time.Time `json:"until,omitzero"`
	By      string    `json:"by,omitempty"`
	Warning string    `json:"warning,omitempty"`
}

// handedOver is an instance that is a member of an alert: a person has been
// paged, or the breaker holds it back, and it has not been well since.
type handedOver struct {
	Region   string    `json:"region"`
	Instance string    `json:"instance_id"`
	Name     string    `json:"name,omitempty"`
	Since    time.Time `json:"since"`
	// Alert is the alert's name at the pager, Key what it is about, and Pager who
	// has it; empty before one has taken it.
	Alert    string    `json:"alias"`
	Key      string    `json:"key"`
	Pager    string    `json:"pager,omitempty"`
	OpenedAt time.Time `json:"opened_at"`
	// ClosedAt is when a person was seen to have closed the alert.
	ClosedAt time.Time `json:"closed_at,omitzero"`
	// HeldBack: the region's breaker is open and holds it back, and Why says why.
	HeldBack  bool   `json:"held_back,omitempty"`
	Why       string `json:"why,omitempty"`
	Situation string `json:"situation,omitempty"`
	Severity  string `json:"severity,omitempty"`
	// Unconfirmed: no pager has confirmed its page yet.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
	// HandedBackBy is who has handed it back: the next look takes it out of the alert.
	HandedBackBy string `json:"handed_back_by,omitempty"`
}

// handedOverOf is the place of an instance in an alert; nil: it has none.
func handedOverOf(region string, i *policy.Instance, r *policy.Region) *handedOver {
	m := i.Membership
	if m == nil {
		return nil
	}
	a := r.Alerts[m.Alert]
	return &handedOver{
		Region: region, Instance: i.ID, Name: i.Name, Since: m.JoinedAt.Time(), Alert: cmp.Or(a.Alias, m.Alert), Key: a.Key, Pager: a.Pager,
		OpenedAt: a.OpenedAt.Time(), ClosedAt: a.ClosedAt.Time(), HeldBack: a.Key == policy.KeyBreaker && a.ClosedAt == 0, Why: a.Why,
		Situation: m.Situation, Severity: m.Severity.String(), Unconfirmed: !m.Confirmed, HandedBackBy: m.HandedBackBy,
	}
}

// state says how it stands with the alert.
func (h *handedOver) state() string {
	text := cmp.Or(h.Situation, "handed over")
	if h.HeldBack {
		text = "held back by the breaker"
		if h.Why != "" {
			text += ": " + clean(h.Why)
		}
	}
	if !h.ClosedAt.IsZero() {
		text += ", closed by a person at " + stamp(h.ClosedAt)
	}
	if h.Unconfirmed {
		text += ", not confirmed by a pager yet"
	}
	if h.HandedBackBy != "" {
		text += ", handed back by " + clean(h.HandedBackBy)
	}
	return text
}

func newPaused() *cobra.Command {
	var flags rootFlags
	c := &cobra.Command{
		Use:   "paused",
		Short: "List what is not rebooted: paused, handed over, or held back by the breaker",
		Long: `List what firstline does not reboot, over all regions.

What is paused: regions by their table, instances by their tag ` + incident.PauseTag + `, until
when, and who paused a region. A tag that is not a time, or that lies more than
seven days ahead, is a warning: it does not pause the instance, and the instance is
not rebooted either.

What is handed over: instances about which a person was paged and that have not been
well since, with the alert; and those that the region's breaker holds back.

Exit codes: 0 listed, 1 some region did not answer, 2 wrong usage or nothing
deployed, 130 interrupted.`,
		Example: "  firstline paused\n  firstline paused --json | jq -r '.handed_over[] | select(.held_back) | .instance_id'",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, cfg, err := flags.fleet(c, "pause")
			if err != nil {
				return err
			}
			p := newPauser(cfg)
			result := p.paused(c.Context(), d.regions)
			if err := c.Context().Err(); err != nil {
				return err
			}
			return flags.report(c, result, func(w io.Writer) error { return printPaused(w, result, p.now(), flags.name) })
		},
	}
	flags.add(c)
	flags.addName(c)
	return c
}

// paused returns what is not rebooted in the regions.
func (p *pauser) paused(ctx context.Context, all []deployed.Region) pausedResult {
	answers := everywhere(ctx, all, answerTime, p.pausedIn)
	result := pausedResult{Command: "paused", Pauses: []standing{}, Warnings: []standing{}, HandedOver: []handedOver{}, Errors: troubles(answers)}
	for _, a := range answers {
		result.Pauses = append(result.Pauses, a.value.Pauses...)
		result.Warnings = append(result.Warnings, a.value.Warnings...)
		result.HandedOver = append(result.HandedOver, a.value.HandedOver...)
	}
	return result
}

// pausedIn returns what is not rebooted in a region, with the errors of what could
// not be asked.
func (p *pauser) pausedIn(ctx context.Context, r deployed.Region) (found pausedResult, _ error) {
	var errs []string
	if err := p.addStored(ctx, r, &found); err != nil {
		errs = append(errs, "what is paused as a whole and handed over: "+inWords(err))
	}
	tags, err := p.tags(ctx, r)
	if err != nil {
		errs = append(errs, err.Error())
	}
	for _, id := range slices.Sorted(maps.Keys(tags)) {
		// As the function reads it: one that is over is none.
		switch until, err := incident.ParsePause(tags[id], p.now()); {
		case err != nil:
			found.Warnings = append(found.Warnings, standing{Region: r.Region, Instance: id, Warning: clean(err.Error())})
		case until > 0:
			found.Pauses = append(found.Pauses, standing{Region: r.Region, Instance: id, Until: until.Time()})
		}
	}
	if len(errs) > 0 {
		return found, errors.New(strings.Join(errs, "; "))
	}
	return found, nil
}

// addStored adds what the table knows. Items that cannot be read make an error,
// and hide no others.
func (p *pauser) addStored(ctx context.Context, r deployed.Region, found *pausedResult) error {
	table, err := p.table(r)
	if err != nil {
		return err
	}
	l, err := table.Instances(ctx)
	if err != nil {
		return err
	}
	if w := l.Region.Pause; w != nil && w.Until > incident.At(p.now()) {
		found.Pauses = append(found.Pauses, standing{Region: r.Region, Until: w.Until.Time(), By: w.By})
	}
	for n := range l.Instances {
		if h := handedOverOf(r.Region, &l.Instances[n], &l.Region); h != nil {
			found.HandedOver = append(found.HandedOver, *h)
		}
	}
	errs := []error{l.RegionErr}
	for _, id := range slices.Sorted(maps.Keys(l.Unreadable)) {
		errs = append(errs, l.Unreadable[id])
	}
	return errors.Join(errs...)
}

// tags returns the values of the tag of the watched instances that have it.
func (p *pauser) tags(ctx context.Context, r deployed.Region) (map[string]string, error) {
	tags := map[string]string{}
	// Not by id: one that is gone would have EC2 refuse the call.
	pages := ec2.NewDescribeInstancesPaginator(p.clients(r.Region).ec2, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: aws.String("tag-key"), Values: []string{incident.PauseTag}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("whether instances are paused by their tags: %s", inWords(err))
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				id := aws.ToString(i.InstanceId)
				gone := i.State != nil && i.State.Name == ec2types.InstanceStateNameTerminated
				n := slices.IndexFunc(i.Tags, func(tag ec2types.Tag) bool { return aws.ToString(tag.Key) == incident.PauseTag })
				if !gone && n >= 0 && slices.Contains(r.InstanceIDs, id) {
					tags[id] = aws.ToString(i.Tags[n].Value)
				}
			}
		}
	}
	return tags, nil
}

// printPaused prints what is not rebooted, and returns an error when a region did
// not answer. The name is what --name was given, or empty.
func printPaused(w io.Writer, result pausedResult, now time.Time, name string) error {
	t := newTable(w)
	if len(result.Pauses) > 0 {
		_, _ = fmt.Fprintln(t, "REGION\tINSTANCE\tPAUSED UNTIL\tLEFT\tBY")
	}
	for _, s := range result.Pauses {
		by := clean(s.By)
		if s.Instance != "" {
			by = "its tag"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.Region, cmp.Or(s.Instance, "all"), stamp(s.Until), brief(s.Until.Sub(now)), cmp.Or(by, "-"))
	}
	if len(result.HandedOver) > 0 {
		if len(result.Pauses) > 0 {
			_, _ = fmt.Fprintln(t)
		}
		_, _ = fmt.Fprintln(t, "REGION\tINSTANCE\tHANDED OVER SINCE\tFOR\tPAGER\tNAME, STATE, ALERT")
	}
	for _, h := range result.HandedOver {
		name := ""
		if h.Name != "" {
			name = incident.ClipLine(h.Name, maxName) + ", "
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s%s; alert %s\n", h.Region, h.Instance, stamp(h.Since), brief(now.Sub(h.Since)), cmp.Or(clean(h.Pager), "-"), name, h.state(), clean(h.Alert))
	}
	if len(result.Pauses)+len(result.HandedOver)+len(result.Errors) == 0 {
		_, _ = fmt.Fprintln(t, "nothing is paused, handed over or held back")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if name != "" {
		name = " --name " + name
	}
	if len(result.HandedOver) > 0 {
		_, _ = fmt.Fprintln(w, "\nOnce an instance is mended, this hands it back to firstline:")
	}
	for _, h := range result.HandedOver {
		_, _ = fmt.Fprintf(w, "  firstline handback%s --region %s --instance %s\n", name, h.Region, h.Instance)
	}
	for _, s := range result.Warnings {
		_, _ = fmt.Fprintf(w, "\n%s %s: its tag does not pause it, but nothing reboots it either: %s;\nset it anew with `firstline pause --region %s --instance %s`, or take it away with `firstline resume --region %s --instance %s`\n",
			s.Region, s.Instance, s.Warning, s.Region, s.Instance, s.Region, s.Instance)
	}
	return unanswered(w, result.Errors, "not all could be looked at")
}
