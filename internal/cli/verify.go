package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/probe"
	"firstline/internal/regions"
	"firstline/internal/rollout"
	"firstline/internal/tfvars"
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
		Short: "Run every check of every instance with the deployed function; reboot and page nothing",
		Long: `Run every check of every instance with the deployed function. Nothing is rebooted
and nobody is told (` + "`firstline notify test`" + ` sends messages).

In each region the function runs the checks of URL, Route 53 and SSH once per
instance, asks EC2 with DryRun whether it would reboot the instance, and has Slack
and each pager take its secret, in calls that tell nobody anything: auth.test, and the
closing of an alert that was never made. "untried" means that there is no such call.

With your own rights the command reads whether each instance's alarm can fire (its
state, the instance's monitoring and credit mode), whether the rules are enabled, match,
and may start their targets, whether Lambda's concurrency is enough for all instances at
once, whether the topic of pages has a confirmed subscription, and whether the
subscribers of the deployment's own alarms hear anything. Without these rights it warns.
It says when reconcile last pinged the heartbeat, and which alerts are open at a pager
that is not configured any more.

What passes is stored as the instance's baseline: a check that has never passed with
its present settings leads to a page, not to a reboot.

"attention" and "busy" are answers that no reboot would change. "warning" means that a
check says nothing about the instance, such as an answer of another machine, that a
right is missing, or that something may fail later. "error" means that firstline could
not tell or could not do something, that an alarm cannot fire, or that nobody hears.
"handled" means that an incident of the instance was under way, so nothing was checked.
A region that does not answer is reported and does not stop the others.

Exit codes: 0 all passed or warned, 1 something did not, 2 wrong usage or nothing deployed,
130 interrupted.`,
		Example: "  firstline verify\n  firstline verify --region eu-west-1 --instance i-0c1cbf2e7abdedf75",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, start := c.Context(), time.Now()
			out := flags.people(c)
			p := newProgress(out)
			d, cfg, err := flags.fleet(c, "verify")
			if err != nil {
				return err
			}
			if d.regions, err = onlyInstances(d.regions, instances); err != nil {
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
	flags.addName(c)
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
	// state says where the state is that tells so; "" where none was asked.
	state string
	// log is the file with what Terraform said.
	log string
}

// deployed asks Terraform, or by name AWS, what is deployed.
func (f *rootFlags) deployed(c *cobra.Command, log io.Writer) (d deployment, err error) {
	for _, name := range f.only {
		if slices.Contains(f.exclude, name) {
			return d, usagef("%s: given with both --region and --exclude-region", name)
		}
	}
	name, chosenByName, err := f.byName(c)
	if err != nil {
		return d, err
	}
	if name != "" {
		return find(c.Context(), name, chosenByName)
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
	d.state, _ = root.State()
	have := slices.Sorted(maps.Keys(outputs))
	for _, given := range []struct {
		flag  string
		names []string
	}{{"--region", f.only}, {"--exclude-region", f.exclude}} {
		if unknown := regions.Without(given.names, slices.Concat(have, named)); len(unknown) > 0 {
			return d, usagef("%s: %s: not deployed according to the state %s; deployed are %s", given.flag, strings.Join(unknown, ", "), d.state, cmp.Or(strings.Join(have, ", "), "none"))
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

// named returns the regions that the var files name, with those that Terraform reads
// by itself; none when no file names any.
func (f *rootFlags) named() ([]string, error) {
	_, vars, err := f.vars()
	return vars.Regions(), err
}

// vars returns the folder of the Terraform root, and the variables that Terraform would
// read there.
func (f *rootFlags) vars() (dir string, vars tfvars.Vars, err error) {
	if dir, _, err = f.folders(); err != nil {
		return "", vars, err
	}
	if vars, err = tfvars.Load(dir, f.varFiles, os.Environ()); err != nil {
		return "", vars, usageError{err}
	}
	return dir, vars, nil
}

// onlyInstances leaves the given instances, all when there are none, and the
// regions that have one.
func onlyInstances(all []deployed.Region, ids []string) ([]deployed.Region, error) {
	if len(ids) == 0 {
		return all, nil
	}
	var left []deployed.Region
	var lost error
	unknown := slices.Clone(ids)
	for _, r := range all {
		unknown = regions.Without(unknown, r.InstanceIDs)
		r.InstanceIDs = slices.DeleteFunc(slices.Clone(r.InstanceIDs), func(id string) bool { return !slices.Contains(ids, id) })
		if len(r.InstanceIDs) > 0 {
			left = append(left, r)
		}
		if r.Lost != nil {
			lost = errors.Join(lost, fmt.Errorf("%s: %w", r.Region, r.Lost))
		}
	}
	if len(unknown) > 0 && lost != nil {
		return nil, fmt.Errorf("%s may be watched where nothing could be read, so nothing was done: %w", strings.Join(unknown, ", "), lost)
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
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithDefaultRegion("us-east-1"), config.WithLogger(logging.Nop{}))
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

// sayInterval is how often verify says how far a region is.
const sayInterval = 5 * time.Second

// verifyRegions tries everything in each region, and tells how far it is.
func verifyRegions(ctx context.Context, p *progress, cfg aws.Config, all []deployed.Region) []probe.Verification {
	verifier := probe.NewVerifier(cfg)
	return eachRegion(p, all, tally, func(r deployed.Region, say func(string)) probe.Verification {
		last := time.Now()
		return verifier.Verify(ctx, r, func(done, total int) {
			if done < total && time.Since(last) > sayInterval {
				last = time.Now()
				say(fmt.Sprintf("%d of %s", done, count(total, "instance")))
			}
		})
	})
}

// eachRegion does something in all regions at the same time, and says what came
// of each. The results are in the order of the regions.
func eachRegion[T any](p *progress, all []deployed.Region, sum func(T) string, do func(r deployed.Region, say func(string)) T) []T {
	var (
		results = make([]T, len(all))
		wg      sync.WaitGroup
		mu      sync.Mutex
	)
	for n, r := range all {
		wg.Go(func() {
			say := func(text string) {
				mu.Lock()
				defer mu.Unlock()
				p.status(fmt.Sprintf("  %s  %s", r.Region, text))
			}
			results[n] = do(r, say)
			say(sum(results[n]))
		})
	}
	wg.Wait()
	return results
}

// tally says in few words what came of a region.
func tally(v probe.Verification) string {
	if v.Error != "" {
		return "given up: " + clean(v.Error)
	}
	unhealthy, handled, broken, warned := 0, 0, 0, 0
	for _, i := range v.Instances {
		has := func(of func(probe.Result) bool) bool {
			return slices.ContainsFunc(i.Checks, func(c probe.CheckResult) bool { return of(c.Result) })
		}
		switch {
		case has(func(r probe.Result) bool { return r == probe.Handled }):
			handled++
		case has(func(r probe.Result) bool { return r == probe.Errored }):
			broken++
		case has(func(r probe.Result) bool { return !r.OK() }):
			unhealthy++
		case has(func(r probe.Result) bool { return r == probe.Warned }):
			warned++
		}
	}
	text := []string{count(len(v.Instances), "instance")}
	for _, of := range []struct {
		n    int
		what string
	}{{unhealthy, "not healthy"}, {handled, "being handled"}, {broken, "with an error"}, {warned, "with a warning"}} {
		if of.n > 0 {
			text = append(text, fmt.Sprintf("%d %s", of.n, of.what))
		}
	}
	if len(text) == 1 && len(v.Instances) > 0 {
		text = append(text, "all passed")
	}
	for _, m := range v.Deployment {
		switch {
		case m.Result == probe.Warned:
			text = append(text, "a warning of "+column(m.Check))
		case m.Result == probe.Errored && m.Check == probe.CheckSubscriptions:
			text = append(text, "nobody gets a page by SNS")
		case m.Result == probe.Errored && m.Check == probe.CheckSubscribers:
			text = append(text, "a subscriber hears nothing")
		case m.Result == probe.Errored && m.Check == probe.CheckRules:
			text = append(text, "a rule starts nothing")
		case m.Result == probe.Errored, m.Result == probe.Failed:
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
	case probe.CheckPager:
		return "the pager"
	case probe.CheckSubscriptions:
		return "SNS"
	case probe.CheckConcurrency:
		return "Lambda's concurrency"
	case probe.CheckRules:
		return "the rules"
	case probe.CheckHeartbeat:
		return "the heartbeat"
	}
	return cmp.Or(incident.CheckTitle(check), check)
}

// cells are results in the table: what is not well stands out.
func cells(results []probe.CheckResult, checks ...string) string {
	row := make([]string, len(checks))
	for n, check := range checks {
		row[n] = "-"
		for _, r := range results {
			switch {
			case r.Check != check || r.Result == probe.Skipped:
			case r.Result == probe.Passed:
				row[n] = string(r.Result)
			default:
				row[n] = strings.ToUpper(string(r.Result))
			}
		}
	}
	return strings.Join(row, "\t")
}

// printVerification prints tables of what passed, and under them the reasons of
// what did not, in full. Topics and the heartbeat have columns only where there are any.
func printVerification(w io.Writer, verified []probe.Verification) error {
	t := newTable(w)
	_, _ = fmt.Fprintln(t, "\nREGION\tINSTANCE\tURL\tROUTE53\tSSH\tREBOOT\tALARM")
	columns := append(slices.Clone(incident.Checks), probe.CheckReboot, probe.CheckAlarm)
	for _, v := range verified {
		for _, i := range v.Instances {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", v.Region, i.ID, cells(i.Checks, columns...))
		}
		if len(v.Instances) == 0 {
			_, _ = fmt.Fprintf(t, "%s\t-\t%s\n", v.Region, cells(nil, columns...))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	columns = []string{probe.CheckSlack, probe.CheckPager, probe.CheckConcurrency, probe.CheckRules}
	heading := "\nREGION\tSLACK\tPAGER\tCONCURRENCY\tRULES"
	for _, some := range []struct{ check, title string }{
		{probe.CheckSubscriptions, "SUBSCRIBED"}, {probe.CheckSubscribers, "SUBSCRIBERS"}, {probe.CheckHeartbeat, "HEARTBEAT"},
	} {
		asked := func(c probe.CheckResult) bool { return c.Check == some.check }
		if slices.ContainsFunc(verified, func(v probe.Verification) bool { return slices.ContainsFunc(v.Deployment, asked) }) {
			columns, heading = append(columns, some.check), heading+"\t"+some.title
		}
	}
	_, _ = fmt.Fprintln(t, heading)
	for _, v := range verified {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", v.Region, cells(v.Deployment, columns...))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, reasons(verified))
	return err
}

// reasons says of all that did not pass why, a line for each reason.
func reasons(verified []probe.Verification) string {
	var lines []string
	line := func(where, what string) { lines = append(lines, where+": "+clean(what)+"\n") }
	for _, v := range verified {
		if v.Error != "" {
			line(v.Region, "given up: "+v.Error)
		}
		for _, i := range v.Instances {
			for _, text := range grouped(i.Checks) {
				line(v.Region+" "+i.ID, text)
			}
		}
		for _, text := range grouped(v.Deployment) {
			line(v.Region, text)
		}
		if v.Error == "" && len(v.Instances) == 0 {
			line(v.Region, "no instance is watched here, so no check was tried")
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "\n" + strings.Join(lines, "")
}

// grouped says what went wrong, and of which checks for the same reason.
func grouped(results []probe.CheckResult) []string {
	var order []string
	checks := map[string][]string{}
	for _, r := range results {
		if r.Result == probe.Passed || r.Result == probe.Skipped {
			continue
		}
		what := string(r.Result) + ": " + r.Reason
		if checks[what] == nil {
			order = append(order, what)
		}
		checks[what] = append(checks[what], column(r.Check))
	}
	for n, what := range order {
		order[n] = strings.Join(checks[what], ", ") + ": " + what
	}
	return order
}
