package cli

import (
	"cmp"
	"context"
	"encoding/json"
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
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/probe"
	"firstline/internal/store"
)

// clients are what pauses need of AWS in a region, beside its table.
type clients struct {
	ec2 interface {
		CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
		DeleteTags(context.Context, *ec2.DeleteTagsInput, ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error)
		ec2.DescribeInstancesAPIClient
	}
	sts interface {
		GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
	}
	states interface {
		StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
	}
}

// pauser sets, ends and finds what keeps firstline from rebooting.
type pauser struct {
	now   func() time.Time
	table tables
	// clients are a region's own, since one elsewhere may be of another partition.
	clients func(region string) clients
}

func newPauser(cfg aws.Config) *pauser {
	return &pauser{now: time.Now, table: tablesOf(cfg), clients: func(region string) clients {
		cfg := probe.InRegion(cfg, region)
		return clients{ec2.NewFromConfig(cfg), sts.NewFromConfig(cfg), sfn.NewFromConfig(cfg)}
	}}
}

// pauseResult is what came of pause, resume or handback.
type pauseResult struct {
	Command string    `json:"command"`
	Until   time.Time `json:"until,omitzero"`
	// Results has a line for each region or instance that was asked for, and for
	// each instance that the breaker held back.
	Results []pauseLine   `json:"results"`
	Errors  []regionError `json:"errors"`
}

// pauseLine is what came of one region, or of one instance.
type pauseLine struct {
	Region string `json:"region"`
	// Instance is empty for the region as a whole.
	Instance string `json:"instance_id,omitempty"`
	// Result is one of the pause constants.
	Result string `json:"result"`
	By     string `json:"by,omitempty"`
}

// What may come of pausing and resuming.
const (
	pauseSet      = "paused"
	pauseEnded    = "resumed"
	pauseNone     = "not paused"
	pauseFailed   = "failed"
	pauseReleased = "released" // by the breaker
	pauseHanded   = "handed back"
)

const pauseExits = `

Exit codes: 0 done, 1 not everywhere, 2 wrong usage or nothing deployed (nothing
was touched), 130 interrupted.`

func newPause() *cobra.Command {
	var (
		flags     rootFlags
		instances []string
		until     string
	)
	c := &cobra.Command{
		Use:   "pause",
		Short: "Stop reboots and pages for a while; checks and Slack go on",
		Long: `Stop reboots and pages for a while, for a whole region with --region or for
instances with --instance. The checks go on, and Slack is told what fails. A pause
ends by itself at the time given, at most seven days ahead. A region's pause is in its
table; an instance's is its tag ` + incident.PauseTag + `, which holds the time and can also
be set by hand. A pause takes effect at the next look, and stops a reboot that is about
to be made.` + pauseExits,
		Example: "  firstline pause --region eu-west-1 --until 2h\n  firstline pause --instance i-0c1cbf2e7abdedf75 --until 2026-11-24T18:00:00Z",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			end, err := pauseUntil(until, time.Now())
			if err != nil {
				return err
			}
			targets, cfg, err := flags.targets(c, instances)
			if err != nil {
				return err
			}
			result := newPauser(cfg).pause(c.Context(), targets, end)
			return errors.Join(flags.report(c, result, func(w io.Writer) error { return printPause(w, result, flags.name) }), c.Context().Err())
		},
	}
	flags.add(c)
	flags.addName(c)
	c.Flags().StringSliceVar(&instances, "instance", nil, "pause these instances only, comma-separated or repeated")
	c.Flags().StringVar(&until, "until", "1h", "when it ends: RFC 3339, or a time from now such as 2h or 3d; at most 7d")
	return c
}

func newResume() *cobra.Command {
	var (
		flags     rootFlags
		instances []string
	)
	c := &cobra.Command{
		Use:   "resume",
		Short: "End a pause before its time, and close the breaker",
		Long: `End a pause before its time, of a whole region with --region or of instances with
--instance. The pauses of a region and of its instances are separate: resuming one
does not end the other.

For a whole region it also closes the breaker: the instances in its alert leave it,
even if a person has closed that alert, a look at each starts at once, and they may
be rebooted.` + pauseExits,
		Example: "  firstline resume --region eu-west-1\n  firstline resume --instance i-0c1cbf2e7abdedf75",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			targets, cfg, err := flags.targets(c, instances)
			if err != nil {
				return err
			}
			result := newPauser(cfg).resume(c.Context(), targets)
			return errors.Join(flags.report(c, result, func(w io.Writer) error { return printPause(w, result, flags.name) }), c.Context().Err())
		},
	}
	flags.add(c)
	flags.addName(c)
	c.Flags().StringSliceVar(&instances, "instance", nil, "resume these instances only, comma-separated or repeated")
	return c
}

// pauseUntil reads --until.
func pauseUntil(text string, now time.Time) (time.Time, error) {
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d, ok := parseSpan(text)
		if !ok {
			return time.Time{}, usagef("--until: %q is not a time: give RFC 3339 with its zone, such as %s, or a time from now such as 2h or 3d", text, stamp(now.Add(time.Hour)))
		}
		until = now.Add(d)
	}
	// The tag has whole seconds.
	until = until.UTC().Truncate(time.Second)
	switch {
	case !until.After(now):
		return time.Time{}, usagef("--until: %s is in the past, it is %s now: give a time to come, at most %s ahead", stamp(until), stamp(now), brief(incident.MaxPause))
	case until.Sub(now) > incident.MaxPause:
		return time.Time{}, usagef("--until: %s is more than %s ahead: give %s or earlier, and pause again then", stamp(until), brief(incident.MaxPause), stamp(now.Add(incident.MaxPause)))
	}
	return until, nil
}

// targets are deployed regions to work on: as a whole, or the instances that are
// left in them.
type targets struct {
	regions []deployed.Region
	whole   bool
}

// targets returns what pause and resume are to work on.
func (f *rootFlags) targets(c *cobra.Command, instances []string) (targets, aws.Config, error) {
	if len(f.only)+len(instances) == 0 {
		return targets{}, aws.Config{}, usagef("name what to %s: regions with --region, or instances with --instance", c.Name())
	}
	if err := validInstances(instances); err != nil {
		return targets{}, aws.Config{}, err
	}
	d, cfg, err := f.fleet(c, c.Name())
	if err != nil {
		return targets{}, cfg, err
	}
	t, err := chooseTargets(d, f.only, instances)
	return t, cfg, err
}

// chooseTargets returns the named regions as a whole, or the named instances in
// their regions.
func chooseTargets(d deployment, only, instances []string) (targets, error) {
	chosen, err := onlyInstances(d.regions, instances)
	if err != nil {
		return targets{}, err
	}
	for _, name := range only {
		if !slices.ContainsFunc(chosen, func(r deployed.Region) bool { return r.Region == name }) {
			return targets{}, usagef("--region: %s: it is not deployed, or watches none of the given instances; leave it out, or name it in a command of its own for the region as a whole", name)
		}
	}
	return targets{chosen, len(instances) == 0}, nil
}

// lines are the results of a region of which all have come to the same.
func (t targets) lines(r deployed.Region, result, by string) (lines []pauseLine) {
	if t.whole {
		return []pauseLine{{Region: r.Region, Result: result, By: by}}
	}
	for _, id := range r.InstanceIDs {
		lines = append(lines, pauseLine{Region: r.Region, Instance: id, Result: result, By: by})
	}
	return lines
}

// each works on the targets of all regions at the same time.
func (p *pauser) each(ctx context.Context, command string, t targets, do func(context.Context, *store.Table, deployed.Region) ([]pauseLine, error)) pauseResult {
	answers := everywhere(ctx, t.regions, answerTime, func(ctx context.Context, r deployed.Region) (lines []pauseLine, err error) {
		table, err := p.table(r)
		if err == nil {
			lines, err = do(ctx, table, r)
		}
		return lines, err
	})
	result := pauseResult{Command: command, Results: []pauseLine{}, Errors: troubles(answers)}
	for _, a := range answers {
		if len(a.value) == 0 {
			a.value = t.lines(a.region, pauseFailed, "")
		}
		result.Results = append(result.Results, a.value...)
	}
	return result
}

// pause pauses the targets.
func (p *pauser) pause(ctx context.Context, t targets, until time.Time) pauseResult {
	result := p.each(ctx, "pause", t, func(ctx context.Context, table *store.Table, r deployed.Region) ([]pauseLine, error) {
		pause := &policy.Pause{Until: incident.At(until)}
		if !t.whole {
			_, err := p.clients(r.Region).ec2.CreateTags(ctx, &ec2.CreateTagsInput{
				Resources: r.InstanceIDs,
				Tags:      []ec2types.Tag{{Key: aws.String(incident.PauseTag), Value: aws.String(until.Format(time.RFC3339))}},
			})
			if err != nil {
				return nil, err
			}
			return t.lines(r, pauseSet, ""), keepPauses(ctx, table, r.InstanceIDs, pause)
		}
		var err error
		if pause.By, err = p.caller(ctx, r); err != nil {
			return nil, err
		}
		err = table.UpdateRegion(ctx, func(stored *policy.Region) error {
			stored.Pause = pause
			return nil
		})
		if err != nil {
			return nil, err
		}
		return t.lines(r, pauseSet, pause.By), nil
	})
	result.Until = until
	return result
}

// caller is the ARN of who asks.
func (p *pauser) caller(ctx context.Context, r deployed.Region) (string, error) {
	who, err := p.clients(r.Region).sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("who asks for it: %s", inWords(err))
	}
	return aws.ToString(who.Arn), nil
}

// keepPauses has the table know what the tags of instances say, which counts
// while EC2 cannot be asked. An instance that was never looked at has no item.
func keepPauses(ctx context.Context, table *store.Table, ids []string, pause *policy.Pause) error {
	for _, id := range ids {
		_, err := table.Update(ctx, id, func(e *store.Entry) error {
			if !e.Exists {
				return nil
			}
			e.State.Instance.Pause = pause
			return nil
		})
		if err != nil {
			return fmt.Errorf("the tags are right, and the table does not know of it yet: %s", inWords(err))
		}
	}
	return nil
}

// resume ends the pauses of the targets, and closes the breakers of whole regions.
func (p *pauser) resume(ctx context.Context, t targets) pauseResult {
	return p.each(ctx, "resume", t, func(ctx context.Context, table *store.Table, r deployed.Region) ([]pauseLine, error) {
		if t.whole {
			return p.resumeRegion(ctx, table, r)
		}
		return p.untag(ctx, table, r)
	})
}

// resumeRegion ends a region's pause and closes its breaker. Instances that are
// paused by their tag stay so.
func (p *pauser) resumeRegion(ctx context.Context, table *store.Table, r deployed.Region) ([]pauseLine, error) {
	line := pauseLine{Region: r.Region, Result: pauseNone}
	err := table.UpdateRegion(ctx, func(stored *policy.Region) error {
		if stored.Pause == nil {
			return nil
		}
		line.Result, line.By = pauseEnded, stored.Pause.By
		stored.Pause = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	lines := []pauseLine{line}
	released, err := p.closeBreaker(ctx, table)
	for _, id := range released {
		lines = append(lines, pauseLine{Region: r.Region, Instance: id, Result: pauseReleased})
		err = cmp.Or(err, p.look(ctx, r, id, "resume"))
	}
	return lines, err
}

// breakerRounds is how often the breaker's members are released: one that is
// looked at while others are still members joins them again.
const breakerRounds = 3

// closeBreaker takes all instances out of the breaker's alert, and returns them.
func (p *pauser) closeBreaker(ctx context.Context, table *store.Table) (released []string, err error) {
	for range breakerRounds {
		var members []string
		err = table.UpdateRegion(ctx, func(r *policy.Region) error {
			members = nil
			for _, a := range r.Alerts {
				if a.Key == policy.KeyBreaker || a.Key == policy.KeyHeld {
					members = slices.AppendSeq(members, maps.Keys(a.Members))
				}
			}
			slices.Sort(members)
			return nil
		})
		if err != nil || len(members) == 0 {
			return released, err
		}
		for _, id := range members {
			_, err = table.Update(ctx, id, func(e *store.Entry) error {
				e.State, _ = policy.Resume(e.State, incident.At(p.now()))
				return nil
			})
			if err != nil {
				return released, fmt.Errorf("the breaker is still open: %w", err)
			}
			if !slices.Contains(released, id) {
				released = append(released, id)
			}
		}
	}
	return released, errors.New("the breaker opens again and again: pause the region, and look for what its instances have in common")
}

// look starts a look at an instance, for a command. What cannot be started here the
// schedule does within minutes.
func (p *pauser) look(ctx context.Context, r deployed.Region, id, command string) error {
	now := p.now().UTC().Truncate(time.Second)
	event, err := json.Marshal(incident.Look{
		Source: incident.SourcePerson, DetailType: incident.DetailTypeLook, Account: r.AccountID, Region: r.Region, Time: now,
		Detail: incident.LookDetail{InstanceID: id},
	})
	if err != nil {
		return err
	}
	_, err = p.clients(r.Region).states.StartExecution(ctx, &sfn.StartExecutionInput{
		StateMachineArn: &r.StateMachineARN, Name: aws.String(command + "-" + id + "-" + now.Format("20060102T150405")), Input: aws.String(string(event)),
	})
	if err != nil {
		return fmt.Errorf("the look at %s starts with the schedule, within minutes: %s", id, inWords(err))
	}
	return nil
}

// untag takes the tag from instances. A paused region stays so.
func (p *pauser) untag(ctx context.Context, table *store.Table, r deployed.Region) (lines []pauseLine, err error) {
	tags, err := p.tags(ctx, r)
	if err != nil {
		return nil, err
	}
	if tagged := slices.Sorted(maps.Keys(tags)); len(tagged) > 0 {
		// Without a value, so that it goes whatever that is.
		in := &ec2.DeleteTagsInput{Resources: tagged, Tags: []ec2types.Tag{{Key: aws.String(incident.PauseTag)}}}
		if _, err := p.clients(r.Region).ec2.DeleteTags(ctx, in); err != nil {
			return nil, err
		}
	}
	for _, id := range r.InstanceIDs {
		line := pauseLine{Region: r.Region, Instance: id, Result: pauseNone}
		if _, tagged := tags[id]; tagged {
			line.Result = pauseEnded
		}
		lines = append(lines, line)
	}
	return lines, keepPauses(ctx, table, r.InstanceIDs, nil)
}

// flags name what a result is about, as on a command line.
func (r pauseResult) flags() string {
	var names []string
	for _, l := range r.Results {
		names = append(names, " --region "+l.Region)
		if l.Instance != "" {
			names = append(names, " --instance "+l.Instance)
		}
	}
	seen := map[string]bool{}
	return strings.Join(slices.DeleteFunc(names, func(name string) bool {
		defer func() { seen[name] = true }()
		return seen[name]
	}), "")
}

// printPause prints what came of pause or resume, and returns an error when it
// did not come to pass everywhere. The name is what --name was given, or empty.
func printPause(w io.Writer, result pauseResult, name string) error {
	t := newTable(w)
	_, _ = fmt.Fprintln(t, "REGION\tINSTANCE\tRESULT")
	words := map[string]string{
		pauseSet: "paused until " + stamp(result.Until), pauseFailed: "FAILED", pauseReleased: "released by the breaker",
		pauseHanded: "handed back; a look takes it out of its alert",
	}
	for _, l := range result.Results {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", l.Region, cmp.Or(l.Instance, "all"), cmp.Or(words[l.Result], l.Result))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if result.Command == "pause" {
		if name != "" {
			name = " --name " + name
		}
		_, _ = fmt.Fprintf(w, "\nWhat is paused is checked, and Slack hears of it; nothing is rebooted and\nnobody is paged. This ends it before:\n  firstline resume%s%s\n", name, result.flags())
	}
	_, _ = fmt.Fprintln(w, "\n`firstline paused` lists what is still paused, handed over or held back.")
	return unanswered(w, result.Errors, "something went wrong")
}
