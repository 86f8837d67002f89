package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/old/checks"
	"firstline/internal/probe"
	"firstline/internal/regions"
	"firstline/internal/rollout"
	"firstline/internal/tfvars"
	"firstline/internal/toolchain"
)

// verifyResult is what came of verify.
type verifyResult struct {
	Command      string               `json:"command"`
	Verification []probe.Verification `json:"verification"`
	Log          string               `json:"log"`
	Seconds      float64              `json:"seconds"`
	Error        string               `json:"error,omitempty"`
}

func newVerify() *cobra.Command {
	var (
		flags     rootFlags
		instances []string
	)
	c := &cobra.Command{
		Use:   "verify",
		Short: "Try every check of every instance through what is deployed, acting on nothing",
		Long: `Try every check of every instance through what is deployed, acting on nothing.

In each region it calls the deployed function as an incident would: the checks of
URL, Route 53 and SSH once for each instance, then whether EC2 would reboot it,
and whether the secrets of Slack and of every chosen pager are stored. It asks SNS
whether anybody has confirmed a subscription of the topic that pages go to. Nothing is
rebooted and nobody is told (` + "`firstline notify test`" + ` does tell). What fails here would have an alarm reboot the instance, if it has
ever passed with these settings; what is an error would have an alarm page.

What passes is kept as the instance's baseline: a check that has never passed with
its settings of today cannot cause a reboot, it pages.

A region that does not answer is reported and does not stop the others.

Exit codes: 0 all passed, 1 something did not, 2 wrong usage or nothing deployed,
130 interrupted.`,
		Example: "  firstline verify\n  firstline verify --region eu-west-1 --instance i-0c1cbf2e7abdedf75",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, start := c.Context(), time.Now()
			out := c.OutOrStdout()
			if flags.json {
				out = c.ErrOrStderr()
			}
			p := newProgress(out)
			d, err := flags.deployed(c, p)
			if err != nil {
				return err
			}
			if len(d.regions) == 0 {
				where := ""
				if len(d.missing) > 0 {
					where = " in " + strings.Join(d.missing, ", ")
				}
				return usagef("nothing is deployed%s, so there is nothing to verify: run `firstline deploy` first", where)
			}
			if d.regions, err = onlyInstances(d.regions, instances); err != nil {
				return err
			}
			cfg, err := awsConfig(ctx)
			if err != nil {
				return err
			}
			for _, name := range d.missing {
				p.say("%s is in the var files and not deployed", name)
			}
			// Interrupted, it still tells what it has seen until then.
			result := verifyResult{Command: "verify", Verification: verifyRegions(ctx, p, cfg, d.regions), Log: d.log}
			if ctx.Err() != nil {
				result.Error = "interrupted"
			}
			if err := printVerification(out, result.Verification); err != nil {
				return err
			}
			result.Seconds = time.Since(start).Seconds()
			if flags.json {
				if err := printJSON(c.OutOrStdout(), result); err != nil {
					return err
				}
			}
			return cmp.Or(ctx.Err(), verdict(result.Verification))
		},
	}
	flags.add(c)
	c.Flags().StringSliceVar(&instances, "instance", nil, "try these instances only, comma-separated or repeated")
	return c
}

// verdict is an error unless everything passed.
func verdict(verified []probe.Verification) error {
	var wrong []string
	for _, v := range verified {
		if v.Failed() || v.Broken() {
			wrong = append(wrong, v.Region)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not everything passed in %s: see above", strings.Join(wrong, ", "))
	}
	return nil
}

// deployment is what is deployed of the regions that the flags choose.
type deployment struct {
	regions []deployed.Region // by name
	// missing are the regions that the var files name and that are not deployed.
	missing []string
	// log is the file with what Terraform said.
	log string
}

// deployed asks Terraform what is deployed.
func (f *rootFlags) deployed(c *cobra.Command, log io.Writer) (d deployment, err error) {
	for _, name := range f.only {
		if slices.Contains(f.exclude, name) {
			return d, usagef("%s: given with both --region and --exclude-region", name)
		}
	}
	named, err := f.named()
	if err != nil {
		return d, err
	}
	root, err := f.open(c, log, rollout.Options{})
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	d.log = root.LogPath()
	outputs, err := root.Outputs(c.Context())
	if err != nil {
		return d, err
	}
	have := slices.Sorted(maps.Keys(outputs))
	for _, given := range []struct {
		flag  string
		names []string
	}{{"--region", f.only}, {"--exclude-region", f.exclude}} {
		if unknown := regions.Without(given.names, slices.Concat(have, named)); len(unknown) > 0 {
			return d, usagef("%s: %s: not deployed; deployed are %s", given.flag, strings.Join(unknown, ", "), cmp.Or(strings.Join(have, ", "), "none"))
		}
	}
	chosen := func(name string) bool {
		return !slices.Contains(f.exclude, name) && (len(f.only) == 0 || slices.Contains(f.only, name))
	}
	for _, name := range have {
		if chosen(name) {
			d.regions = append(d.regions, outputs[name])
		}
	}
	for _, name := range regions.Without(named, have) {
		if chosen(name) {
			d.missing = append(d.missing, name)
		}
	}
	if len(have) > 0 && len(d.regions) == 0 && len(d.missing) == 0 {
		return d, usagef("no region is left to work on; deployed are %s", strings.Join(have, ", "))
	}
	return d, nil
}

// named returns the regions that the var files name. Without --var-file these
// are what Terraform reads by itself, if anything, and need not be right.
func (f *rootFlags) named() ([]string, error) {
	dir := f.dir
	if dir == "" {
		project, err := toolchain.Root()
		if err != nil {
			return nil, usageError{err}
		}
		dir = filepath.Join(project, "terraform")
	}
	vars, err := tfvars.Load(dir, f.varFiles, os.Environ())
	if err != nil {
		if len(f.varFiles) > 0 {
			return nil, usageError{err}
		}
		return nil, nil
	}
	return vars.Regions(), nil
}

// onlyInstances leaves the given instances, all when there are none, and the
// regions that have one.
func onlyInstances(all []deployed.Region, ids []string) ([]deployed.Region, error) {
	if len(ids) == 0 {
		return all, nil
	}
	var left []deployed.Region
	unknown := slices.Clone(ids)
	for _, r := range all {
		unknown = regions.Without(unknown, r.InstanceIDs)
		r.InstanceIDs = slices.DeleteFunc(slices.Clone(r.InstanceIDs), func(id string) bool { return !slices.Contains(ids, id) })
		if len(r.InstanceIDs) > 0 {
			left = append(left, r)
		}
	}
	if len(unknown) > 0 {
		var names, watched []string
		for _, r := range all {
			names = append(names, r.Region)
			watched = append(watched, r.InstanceIDs...)
		}
		return nil, usagef("--instance: %s: not watched in %s; watched are %s", strings.Join(unknown, ", "), strings.Join(names, ", "), some(watched))
	}
	return left, nil
}

// dialTime bounds the wait for a connection: a region that is down must not hold
// up the command for as long as the SDK would let it.
const dialTime = 5 * time.Second

// awsConfig is the caller's AWS configuration: the environment, profiles, single
// sign-on. That there are no credentials is a usage error.
func awsConfig(ctx context.Context) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTime })
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithDefaultRegion("us-east-1"))
	if err == nil {
		_, err = cfg.Credentials.Retrieve(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return aws.Config{}, ctx.Err()
	case err != nil:
		return aws.Config{}, usagef("no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	return cfg, nil
}

const (
	// regionsAtOnce is in how many regions verify works at the same time.
	regionsAtOnce = 10
	// sayInterval is how often it says how far a region is.
	sayInterval = 5 * time.Second
)

// verifyRegions tries everything in each region, several at a time, and tells
// how far it is. The results are in the order of the regions.
func verifyRegions(ctx context.Context, p *progress, cfg aws.Config, regions []deployed.Region) []probe.Verification {
	var (
		verifier = probe.NewVerifier(cfg)
		results  = make([]probe.Verification, len(regions))
		slots    = make(chan struct{}, regionsAtOnce)
		wg       sync.WaitGroup
		mu       sync.Mutex
	)
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		p.say(format, args...)
	}
	for n, r := range regions {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			last := time.Now()
			results[n] = verifier.Verify(ctx, r, func(done, total int) {
				if done < total && time.Since(last) > sayInterval {
					last = time.Now()
					say("  %s  %d of %s", r.Region, done, count(total, "instance"))
				}
			})
			say("  %s  %s", r.Region, tally(results[n]))
		})
	}
	wg.Wait()
	return results
}

// tally says in few words what came of a region.
func tally(v probe.Verification) string {
	if v.Error != "" {
		return "given up: " + v.Error
	}
	failed, broken := 0, 0
	for _, i := range v.Instances {
		of := func(r probe.Result) bool {
			return slices.ContainsFunc(i.Checks, func(c probe.CheckResult) bool { return c.Result == r })
		}
		switch {
		case of(probe.Failed):
			failed++
		case of(probe.Errored):
			broken++
		}
	}
	text := []string{count(len(v.Instances), "instance")}
	if failed > 0 {
		text = append(text, fmt.Sprintf("%d would fail", failed))
	}
	if broken > 0 {
		text = append(text, fmt.Sprintf("%d could not be told", broken))
	}
	if failed+broken == 0 && len(v.Instances) > 0 {
		text = append(text, "all well")
	}
	for _, m := range v.Messages {
		switch {
		case m.Result == probe.Warned:
			text = append(text, "a warning of "+column(m.Check))
		case m.Result != probe.Errored:
		case m.Check == probe.CheckSubscriptions:
			text = append(text, "nobody gets a page by SNS")
		default:
			text = append(text, column(m.Check)+" does not work")
		}
	}
	return strings.Join(text, ", ")
}

// column is what people call a check.
func column(check string) string {
	switch check {
	case probe.CheckSlack:
		return "Slack"
	case probe.CheckOpsGenie:
		return "the pager"
	case probe.CheckSubscriptions:
		return "SNS"
	}
	return cmp.Or(checks.Title(check), check)
}

// cell is a result in the table: what is not well stands out.
func cell(results []probe.CheckResult, check string) string {
	for _, r := range results {
		if r.Check != check {
			continue
		}
		switch r.Result {
		case probe.Failed, probe.Errored, probe.Warned:
			return strings.ToUpper(string(r.Result))
		case probe.Skipped:
			return "-"
		}
		if check == probe.CheckBaseline {
			return "kept"
		}
		return string(r.Result)
	}
	return "-"
}

// printVerification prints tables of what passed, and under them the reasons of
// what did not, in full. What SNS says has a column only where a page goes there.
func printVerification(w io.Writer, verified []probe.Verification) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nREGION\tINSTANCE\tURL\tROUTE53\tSSH\tREBOOT\tBASELINE")
	for _, v := range verified {
		for _, i := range v.Instances {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Region, i.ID, cell(i.Checks, checks.NameURL), cell(i.Checks, checks.NameRoute53),
				cell(i.Checks, checks.NameSSH), cell(i.Checks, probe.CheckReboot), cell(i.Checks, probe.CheckBaseline))
		}
		if len(v.Instances) == 0 {
			_, _ = fmt.Fprintf(t, "%s\t-\t-\t-\t-\t-\t-\n", v.Region)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	columns := []string{probe.CheckSlack, probe.CheckOpsGenie}
	heading := "\nREGION\tSLACK\tPAGER"
	if slices.ContainsFunc(verified, asksTopic) {
		columns, heading = append(columns, probe.CheckSubscriptions), heading+"\tSUBSCRIBED"
	}
	_, _ = fmt.Fprintln(t, heading)
	for _, v := range verified {
		row := []string{v.Region}
		for _, c := range columns {
			row = append(row, cell(v.Messages, c))
		}
		_, _ = fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, reasons(verified))
	return err
}

// asksTopic reports whether a region's pages go to a topic.
func asksTopic(v probe.Verification) bool {
	return slices.ContainsFunc(v.Messages, func(c probe.CheckResult) bool { return c.Check == probe.CheckSubscriptions })
}

// reasons says of all that did not pass why, a line each.
func reasons(verified []probe.Verification) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		if b.Len() == 0 {
			b.WriteString("\n")
		}
		_, _ = fmt.Fprintf(&b, format+"\n", args...)
	}
	for _, v := range verified {
		if v.Error != "" {
			line("%s: given up: %s", v.Region, v.Error)
		}
		for _, i := range v.Instances {
			for _, g := range grouped(i.Checks) {
				line("%s %s: %s: %s: %s", v.Region, i.ID, strings.Join(g.checks, ", "), g.result, g.reason)
			}
		}
		for _, g := range grouped(v.Messages) {
			line("%s: %s: %s: %s", v.Region, strings.Join(g.checks, ", "), g.result, g.reason)
		}
		if v.Error == "" && len(v.Instances) == 0 {
			line("%s: no instance is watched here, so nothing was tried", v.Region)
		}
	}
	return b.String()
}

// group is checks with one result for one reason.
type group struct {
	checks []string
	result probe.Result
	reason string
}

// grouped joins what went wrong for the same reason.
func grouped(results []probe.CheckResult) []group {
	var groups []group
	for _, r := range results {
		if r.Result == probe.Passed || r.Result == probe.Skipped {
			continue
		}
		name := column(r.Check)
		if n := slices.IndexFunc(groups, func(g group) bool { return g.result == r.Result && g.reason == r.Reason }); n >= 0 {
			groups[n].checks = append(groups[n].checks, name)
			continue
		}
		groups = append(groups, group{[]string{name}, r.Result, r.Reason})
	}
	return groups
}
