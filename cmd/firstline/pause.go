package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/fault"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
)

// regionSwitch is the switch of a region; see guard.Table.
type regionSwitch interface {
	PauseRegion(ctx context.Context, until time.Time, by string) error
	ResumeRegion(ctx context.Context) error
	RegionPause(ctx context.Context) (*incident.Pause, error)
}

// tagger is what pauses of instances need of EC2's client.
type tagger interface {
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	DeleteTags(context.Context, *ec2.DeleteTagsInput, ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error)
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
}

// identifier is the one call of STS's client that says who calls.
type identifier interface {
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// pauser sets, ends and finds pauses.
type pauser struct {
	now      func() time.Time
	switches func(deployed.Region) (regionSwitch, error)
	ec2      func(region string) tagger
	sts      func(region string) identifier
}

func newPauser(cfg aws.Config) *pauser {
	return &pauser{
		now:      time.Now,
		switches: func(r deployed.Region) (regionSwitch, error) { return tableOf(cfg, r) },
		ec2:      func(region string) tagger { return ec2.NewFromConfig(inRegion(cfg, region)) },
		// A region's own, since one elsewhere may be of another partition.
		sts: func(region string) identifier { return sts.NewFromConfig(inRegion(cfg, region)) },
	}
}

// pauseResult is what came of pause or resume.
type pauseResult struct {
	Command string    `json:"command"`
	Until   time.Time `json:"until,omitzero"`
	// Results has a line for each region or instance that was asked for.
	Results []pauseLine `json:"results"`
	// Still is what goes on pausing them after a resume.
	Still  []standing    `json:"still,omitempty"`
	Errors []regionError `json:"errors"`
}

// pauseLine is what came of one region, or of one instance.
type pauseLine struct {
	Region string `json:"region"`
	// Instance is empty for the region as a whole.
	Instance string `json:"instance,omitempty"`
	// Result is pauseSet, pauseEnded, pauseNone or pauseFailed.
	Result string `json:"result"`
	By     string `json:"by,omitempty"`
}

// What may come of pausing and resuming.
const (
	pauseSet    = "paused"
	pauseEnded  = "resumed"
	pauseNone   = "not paused"
	pauseFailed = "failed"
)

// standing is a pause, or a tag that was meant for one.
type standing struct {
	Region   string `json:"region"`
	Instance string `json:"instance,omitempty"`
	// Until is zero where Warning says that it is no pause.
	Until time.Time `json:"until,omitzero"`
	By    string    `json:"by,omitempty"`
	// Value is that of a tag that cannot be read, and Warning what is wrong
	// with it.
	Value   string `json:"value,omitempty"`
	Warning string `json:"warning,omitempty"`
}

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
		Short: "Check and tell Slack only: no reboot and no page, for a while",
		Long: `Check and tell Slack only: no reboot and no page, for a while.

Of a whole region with --region, or of instances with --instance. A pause ends by
itself at the time given, at most seven days ahead. The region's pause is a switch
in its table; an instance's is its tag ` + incident.PauseTag + `, which holds the time and
which may as well be set by hand. Of an incident that is open already it stops the
reboot; what is being rebooted is still paged about, and so is what cannot be checked.` + pauseExits,
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
			p := newPauser(cfg)
			result := p.pause(c.Context(), targets, end)
			return flags.reportPause(c, result)
		},
	}
	flags.add(c)
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
		Short: "End a pause before its time",
		Long: `End a pause before its time: of a whole region with --region, or of instances with
--instance. A region and its instances are paused each on their own; what goes on
being paused is listed.` + pauseExits,
		Example: "  firstline resume --region eu-west-1\n  firstline resume --instance i-0c1cbf2e7abdedf75",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			targets, cfg, err := flags.targets(c, instances)
			if err != nil {
				return err
			}
			return flags.reportPause(c, newPauser(cfg).resume(c.Context(), targets))
		},
	}
	flags.add(c)
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

// target is a deployed region to work on: as a whole, or some instances of it.
type target struct {
	region deployed.Region
	whole  bool
	// instances are sorted.
	instances []string
}

// targets returns what pause and resume are to work on.
func (f *rootFlags) targets(c *cobra.Command, instances []string) ([]target, aws.Config, error) {
	if len(f.only)+len(instances) == 0 {
		return nil, aws.Config{}, usagef("name what to %s: regions with --region, or instances with --instance", c.Name())
	}
	if err := validInstances(instances); err != nil {
		return nil, aws.Config{}, err
	}
	d, cfg, err := f.fleet(c, c.Name())
	if err != nil {
		return nil, cfg, err
	}
	targets, err := chooseTargets(d, f.only, instances)
	return targets, cfg, err
}

// chooseTargets returns the named regions as a whole, or the named instances in
// their regions.
func chooseTargets(d deployment, only, instances []string) ([]target, error) {
	for _, name := range d.missing {
		if slices.Contains(only, name) {
			return nil, usagef("--region: %s: not deployed; deployed are %s", name, d.names())
		}
	}
	chosen, err := onlyInstances(d.regions, instances)
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, r := range chosen {
		t := target{region: r, whole: len(instances) == 0}
		if !t.whole {
			t.instances = slices.Sorted(slices.Values(r.InstanceIDs))
		}
		targets = append(targets, t)
	}
	if len(instances) > 0 {
		for _, r := range d.regions {
			if slices.Contains(only, r.Region) && !slices.ContainsFunc(chosen, func(c deployed.Region) bool { return c.Region == r.Region }) {
				return nil, usagef("--region: %s: none of the given instances is watched there; leave it out, or name it in a command of its own for the region as a whole", r.Region)
			}
		}
	}
	return targets, nil
}

// each works on the targets of all regions at the same time.
func each[T any](ctx context.Context, targets []target, do func(context.Context, target) (T, error)) []answer[T] {
	var all []deployed.Region
	by := map[string]target{}
	for _, t := range targets {
		all = append(all, t.region)
		by[t.region.Region] = t
	}
	return everywhere(ctx, all, answerTime, func(ctx context.Context, r deployed.Region) (T, error) { return do(ctx, by[r.Region]) })
}

// lines are the results of a target of which all have come to the same.
func (t target) lines(result, by string) []pauseLine {
	if t.whole {
		return []pauseLine{{Region: t.region.Region, Result: result, By: by}}
	}
	var lines []pauseLine
	for _, id := range t.instances {
		lines = append(lines, pauseLine{Region: t.region.Region, Instance: id, Result: result, By: by})
	}
	return lines
}

// pause pauses the targets.
func (p *pauser) pause(ctx context.Context, targets []target, until time.Time) pauseResult {
	result := pauseResult{Command: "pause", Until: until, Results: []pauseLine{}}
	answers := each(ctx, targets, func(ctx context.Context, t target) ([]pauseLine, error) {
		if !t.whole {
			return p.tag(ctx, t, until)
		}
		by, err := p.turnOff(ctx, t.region, until)
		if err != nil {
			return t.lines(pauseFailed, ""), err
		}
		return t.lines(pauseSet, by), nil
	})
	for _, a := range answers {
		result.Results = append(result.Results, a.value...)
	}
	result.Errors = troubles(answers)
	return result
}

// turnOff sets a region's switch and returns who did.
func (p *pauser) turnOff(ctx context.Context, r deployed.Region, until time.Time) (by string, err error) {
	table, err := p.switches(r)
	if err != nil {
		return "", err
	}
	who, err := p.sts(r.Region).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("who asks for it: %s", inWords(err))
	}
	by = aws.ToString(who.Arn)
	return by, table.PauseRegion(ctx, until, by)
}

// mostTagged is how many instances EC2 tags in one call, at most
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html).
const mostTagged = 1000

// tag sets the tag of instances.
func (p *pauser) tag(ctx context.Context, t target, until time.Time) (lines []pauseLine, err error) {
	client := p.ec2(t.region.Region)
	for ids := range slices.Chunk(t.instances, mostTagged) {
		part := target{region: t.region, instances: ids}
		if err == nil {
			_, err = client.CreateTags(ctx, &ec2.CreateTagsInput{
				Resources: ids,
				Tags:      []ec2types.Tag{{Key: aws.String(incident.PauseTag), Value: aws.String(until.Format(time.RFC3339))}},
			})
		}
		if err != nil {
			lines = append(lines, part.lines(pauseFailed, "")...)
			continue
		}
		lines = append(lines, part.lines(pauseSet, "")...)
	}
	return lines, err
}

// resumed is what came of a resume in a region.
type resumed struct {
	lines []pauseLine
	still []standing
}

// resume ends the pauses of the targets, and looks what goes on pausing them.
func (p *pauser) resume(ctx context.Context, targets []target) pauseResult {
	result := pauseResult{Command: "resume", Results: []pauseLine{}}
	answers := each(ctx, targets, func(ctx context.Context, t target) (resumed, error) {
		if t.whole {
			return p.turnOn(ctx, t)
		}
		return p.untag(ctx, t)
	})
	for _, a := range answers {
		result.Results = append(result.Results, a.value.lines...)
		result.Still = append(result.Still, a.value.still...)
	}
	result.Errors = troubles(answers)
	return result
}

// turnOn ends a region's pause. Instances that are paused by their tag stay so.
func (p *pauser) turnOn(ctx context.Context, t target) (resumed, error) {
	table, err := p.switches(t.region)
	if err != nil {
		return resumed{lines: t.lines(pauseFailed, "")}, err
	}
	was, err := table.RegionPause(ctx)
	if err != nil && fault.KindOf(err) == fault.Internal {
		// There is one that cannot be read: it goes too.
		was, err = new(incident.Pause), nil
	}
	if err == nil && was != nil {
		err = table.ResumeRegion(ctx)
	}
	if err != nil {
		return resumed{lines: t.lines(pauseFailed, "")}, err
	}
	r := resumed{lines: t.lines(pauseNone, "")}
	if was != nil {
		r.lines = t.lines(pauseEnded, was.By)
	}
	tags, err := p.tags(ctx, t.region)
	if err != nil {
		return r, fmt.Errorf("whether instances are paused by their tags: %s", inWords(err))
	}
	r.still = p.read(t.region, tags)
	return r, nil
}

// untag takes the tag from instances. A paused region stays so.
func (p *pauser) untag(ctx context.Context, t target) (resumed, error) {
	tags, err := p.tags(ctx, t.region)
	if err != nil {
		return resumed{lines: t.lines(pauseFailed, "")}, err
	}
	var tagged []string
	for _, id := range t.instances {
		if _, ok := tags[id]; ok {
			tagged = append(tagged, id)
		}
	}
	var failed []string
	for ids := range slices.Chunk(tagged, mostTagged) {
		if err == nil {
			// Without a value, so that it goes whatever that is.
			_, err = p.ec2(t.region.Region).DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: ids, Tags: []ec2types.Tag{{Key: aws.String(incident.PauseTag)}}})
		}
		if err != nil {
			failed = append(failed, ids...)
		}
	}
	var r resumed
	for _, id := range t.instances {
		line := pauseLine{Region: t.region.Region, Instance: id, Result: pauseNone}
		switch {
		case slices.Contains(failed, id):
			line.Result = pauseFailed
		case slices.Contains(tagged, id):
			line.Result = pauseEnded
		}
		r.lines = append(r.lines, line)
	}
	if err != nil {
		return r, err
	}
	table, err := p.switches(t.region)
	if err != nil {
		return r, err
	}
	whole, err := table.RegionPause(ctx)
	if err != nil {
		return r, fmt.Errorf("whether the region is paused as a whole: %s", inWords(err))
	}
	if whole != nil {
		r.still = []standing{{Region: t.region.Region, Until: whole.Until, By: whole.By}}
	}
	return r, nil
}

// tags returns the values of the tag of the watched instances that have it.
func (p *pauser) tags(ctx context.Context, r deployed.Region) (map[string]string, error) {
	tags := map[string]string{}
	// Not by id: one that is gone would have EC2 refuse the call.
	pages := ec2.NewDescribeInstancesPaginator(p.ec2(r.Region), &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: aws.String("tag-key"), Values: []string{incident.PauseTag}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				id := aws.ToString(i.InstanceId)
				gone := i.State != nil && i.State.Name == ec2types.InstanceStateNameTerminated
				if gone || !slices.Contains(r.InstanceIDs, id) {
					continue
				}
				for _, tag := range i.Tags {
					if aws.ToString(tag.Key) == incident.PauseTag {
						tags[id] = aws.ToString(tag.Value)
					}
				}
			}
		}
	}
	return tags, nil
}

// read reads tags as the function does, by instance. One that is over is none.
func (p *pauser) read(r deployed.Region, tags map[string]string) []standing {
	var all []standing
	for _, id := range r.InstanceIDs {
		value, ok := tags[id]
		if !ok {
			continue
		}
		// An empty value is none of a tag that is not there.
		switch pause, err := guard.PauseFromTag(cmp.Or(value, " "), p.now()); {
		case err != nil:
			all = append(all, standing{Region: r.Region, Instance: id, Value: value, Warning: clean(err.Error())})
		case pause != nil:
			all = append(all, standing{Region: r.Region, Instance: id, Until: pause.Until})
		}
	}
	return all
}

// look returns all that pauses something in a region.
func (p *pauser) look(ctx context.Context, r deployed.Region) (all []standing, err error) {
	var whole *incident.Pause
	table, tableErr := p.switches(r)
	if tableErr == nil {
		whole, tableErr = table.RegionPause(ctx)
	}
	if tableErr != nil {
		tableErr = fmt.Errorf("whether the region is paused as a whole: %s", inWords(tableErr))
	} else if whole != nil {
		all = append(all, standing{Region: r.Region, Until: whole.Until, By: whole.By})
	}
	tags, err := p.tags(ctx, r)
	if err != nil {
		err = fmt.Errorf("whether instances are paused by their tags: %s", inWords(err))
	}
	all = append(all, p.read(r, tags)...)
	if tableErr != nil && err != nil {
		return all, fmt.Errorf("%w; %w", tableErr, err)
	}
	return all, cmp.Or(tableErr, err)
}

// reportPause prints what came of pause or resume.
func (f *rootFlags) reportPause(c *cobra.Command, result pauseResult) error {
	out := c.OutOrStdout()
	if f.json {
		out = c.ErrOrStderr()
	}
	err := printPause(out, result)
	if f.json {
		err = errors.Join(err, printJSON(c.OutOrStdout(), result))
	}
	return errors.Join(c.Context().Err(), err)
}

// printPause prints what came of pause or resume, and returns an error when it
// did not come to pass everywhere.
func printPause(w io.Writer, result pauseResult) error {
	t := newTable(w)
	_, _ = fmt.Fprintln(t, "REGION\tINSTANCE\tRESULT")
	paused := false
	for _, l := range result.Results {
		text := l.Result
		switch l.Result {
		case pauseSet:
			text, paused = "paused until "+stamp(result.Until), true
		case pauseFailed:
			text = strings.ToUpper(l.Result)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", l.Region, cmp.Or(l.Instance, "all"), text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if paused {
		_, _ = fmt.Fprintln(w, "\nChecks and Slack messages go on; nothing is rebooted and nobody is paged there.\n`firstline resume` ends it before, `firstline paused` lists what is paused.")
	}
	for n, s := range result.Still {
		if n == 0 {
			_, _ = fmt.Fprintln(w)
		}
		switch {
		case s.Warning != "":
			_, _ = fmt.Fprintln(w, s.warning())
		case s.Instance == "":
			_, _ = fmt.Fprintf(w, "%s: the region is still paused, until %s: `firstline resume --region %s` ends that\n", s.Region, stamp(s.Until), s.Region)
		default:
			_, _ = fmt.Fprintf(w, "%s %s: still paused by its tag, until %s: `firstline resume --instance %s` ends that\n", s.Region, s.Instance, stamp(s.Until), s.Instance)
		}
	}
	return unanswered(w, result.Errors, "something went wrong")
}

// warning says what a tag does that cannot be read.
func (s standing) warning() string {
	return fmt.Sprintf("%s %s: its tag %s does not pause it, but nothing reboots it either: %s; set it anew with `firstline pause --instance %s`, or take it away with `firstline resume --instance %s`",
		s.Region, s.Instance, incident.PauseTag, s.Warning, s.Instance, s.Instance)
}

// pausedResult is what is paused.
type pausedResult struct {
	Command string     `json:"command"`
	Pauses  []standing `json:"pauses"`
	// Warnings are tags that are no pause though they were meant for one.
	Warnings []standing    `json:"warnings"`
	Errors   []regionError `json:"errors"`
}

func newPaused() *cobra.Command {
	var flags rootFlags
	c := &cobra.Command{
		Use:   "paused",
		Short: "List what is paused, over all regions",
		Long: `List what is paused, over all regions: regions by their switch, instances by their
tag ` + incident.PauseTag + `, until when, and who paused a region. A tag that is not a time,
or that lies more than seven days ahead, is a warning: it does not pause the
instance, and the instance is not rebooted either.

Exit codes: 0 listed, 1 some region did not answer, 2 wrong usage or nothing
deployed, 130 interrupted.`,
		Example: "  firstline paused\n  firstline paused --json | jq -r '.pauses[].instance'",
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
			out := c.OutOrStdout()
			if flags.json {
				out = c.ErrOrStderr()
			}
			err = printPaused(out, result, p.now())
			if flags.json {
				err = errors.Join(err, printJSON(c.OutOrStdout(), result))
			}
			return err
		},
	}
	flags.add(c)
	return c
}

// paused returns what is paused in the regions.
func (p *pauser) paused(ctx context.Context, all []deployed.Region) pausedResult {
	result := pausedResult{Command: "paused", Pauses: []standing{}, Warnings: []standing{}}
	answers := everywhere(ctx, all, answerTime, p.look)
	for _, a := range answers {
		for _, s := range a.value {
			if s.Warning != "" {
				result.Warnings = append(result.Warnings, s)
				continue
			}
			result.Pauses = append(result.Pauses, s)
		}
	}
	result.Errors = troubles(answers)
	return result
}

// printPaused prints what is paused, and returns an error when a region did not
// answer.
func printPaused(w io.Writer, result pausedResult, now time.Time) error {
	if len(result.Pauses) > 0 {
		t := newTable(w)
		_, _ = fmt.Fprintln(t, "REGION\tINSTANCE\tUNTIL\tLEFT\tBY")
		for _, s := range result.Pauses {
			by := clean(s.By)
			if s.Instance != "" {
				by = "its tag"
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.Region, cmp.Or(s.Instance, "all"), stamp(s.Until), brief(s.Until.Sub(now)), cmp.Or(by, "-"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	} else if len(result.Errors) == 0 {
		if _, err := fmt.Fprintln(w, "nothing is paused"); err != nil {
			return err
		}
	}
	for n, s := range result.Warnings {
		if n == 0 {
			_, _ = fmt.Fprintln(w)
		}
		_, _ = fmt.Fprintln(w, s.warning())
	}
	return unanswered(w, result.Errors, "not all could be looked at")
}
