package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/probe"
	"firstline/internal/regions"
	"firstline/internal/rollout"
)

// rootFlags are the flags of all commands that work on the Terraform root.
type rootFlags struct {
	dir                              string
	varFiles, backend, only, exclude []string
	json                             bool
	// name is what a command that is stateless may be given in place of the state.
	name      string
	stateless bool
}

func (f *rootFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.dir, "dir", "", "folder of the Terraform root (default: "+dirVariable+", or terraform in the project's folder)")
	flags.StringArrayVar(&f.varFiles, "var-file", nil, "file of variables, relative to the working directory; may be repeated")
	flags.StringArrayVar(&f.backend, "backend-config", nil, "KEY=VALUE or a file, for terraform init; may be repeated")
	flags.StringSliceVar(&f.only, "region", nil, "work on these regions only, comma-separated or repeated")
	flags.StringSliceVar(&f.exclude, "exclude-region", nil, "leave these regions out, comma-separated or repeated")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON; progress goes to standard error")
}

// people returns where that goes which people read: with --json standard output holds
// the result alone.
func (f *rootFlags) people(c *cobra.Command) io.Writer {
	if f.json {
		return c.ErrOrStderr()
	}
	return c.OutOrStdout()
}

// open opens the Terraform root that the flags speak of.
func (f *rootFlags) open(c *cobra.Command, log io.Writer, o rollout.Options) (*rollout.Root, error) {
	var err error
	if o.Dir, o.Project, err = f.folders(); err != nil {
		return nil, err
	}
	o.VarFiles, o.BackendConfig, o.Regions, o.Exclude = f.varFiles, f.backend, f.only, f.exclude
	o.Command, o.Log = strings.ReplaceAll(strings.TrimPrefix(c.CommandPath(), "firstline "), " ", "-"), log
	o.AWS = awsConfig
	root, err := rollout.Open(c.Context(), o)
	return root, usage(err)
}

// usage gives a mistake in the input the exit code of one.
func usage(err error) error {
	if _, ok := errors.AsType[rollout.InputError](err); ok {
		return usageError{err}
	}
	return err
}

// driftError says that there is drift.
type driftError struct{ regions int }

func (e driftError) Error() string {
	return fmt.Sprintf("%s changed outside of Terraform", count(e.regions, "region"))
}

// rolloutResult is what came of a rollout command.
type rolloutResult struct {
	Command      string               `json:"command"`
	Regions      []regionResult       `json:"regions"`
	Canary       []probe.Rehearsal    `json:"canary,omitempty"`
	Verification []probe.Verification `json:"verification,omitempty"`
	// Stopped are the incidents that were stopped in regions that were removed.
	Stopped []rollout.UnderWay `json:"stopped,omitempty"`
	Log     string             `json:"log"`
	Seconds float64            `json:"seconds"`
	// Error is what concerns all regions, such as a lock that somebody holds.
	Error string `json:"error,omitempty"`
}

// regionResult is what came of it in a region.
type regionResult struct {
	Region string `json:"region"`
	// Result is planned, done, unchanged, failed, skipped or interrupted.
	Result    string   `json:"result"`
	Added     int      `json:"added"`
	Changed   int      `json:"changed"`
	Destroyed int      `json:"destroyed"`
	Seconds   float64  `json:"seconds"`
	Errors    []string `json:"errors,omitempty"`
	// Changes are what was planned, Drift what was changed outside of Terraform.
	Changes []rollout.Change `json:"changes,omitempty"`
	Drift   []rollout.Change `json:"drift,omitempty"`
}

// rolloutRun is one run of plan, deploy, destroy or drift.
type rolloutRun struct {
	rootFlags
	parallelism    int
	verbose, yes   bool
	canary         []string
	canaryInstance string
	verify         bool
	// deploys says that it plans a deployment, so that the function's zip must fit.
	deploys bool

	c      *cobra.Command
	out    io.Writer // for people
	p      *progress
	board  *board
	root   *rollout.Root
	result rolloutResult
	// changes are what is planned and drift what was found, per region.
	changes, drift map[string][]rollout.Change
	// touched says that an apply was begun: what goes wrong then is no mistake
	// in the input any more.
	touched bool
}

// say says something above the lines of the regions.
func (r *rolloutRun) say(format string, args ...any) { _, _ = fmt.Fprintf(r.board, format, args...) }

const rolloutExits = `

Exit codes: 0 done, 1 some region failed, 2 wrong usage or input (nothing was
touched, and --json prints nothing), 130 interrupted.`

// newRollout makes a command of do, which is called with the root prepared.
func newRollout(r *rolloutRun, c *cobra.Command, do func(context.Context, *rolloutRun) error) *cobra.Command {
	c.Args = noArgs
	r.add(c)
	c.Flags().IntVar(&r.parallelism, "parallelism", 0, "operations that Terraform runs at the same time (default: fits the number of regions)")
	c.Flags().BoolVar(&r.verbose, "verbose", false, "show all changes, and Terraform's full text of the plan")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("parallelism") && r.parallelism < 1 {
			return usagef("--parallelism: %d is not 1 or more", r.parallelism)
		}
		return r.run(c, do)
	}
	return c
}

// insistence returns a context that ends when a signal says that an apply is to
// be cut off: the second interrupt, or whatever else ends programs, which leaves
// little time.
func insistence() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 4)
	notify := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		notify = append(notify, syscall.SIGHUP)
	}
	signal.Notify(signals, notify...)
	go func() {
		interrupts := 0
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				if interrupts++; s != os.Interrupt || interrupts > 1 {
					cancel()
				}
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

func (r *rolloutRun) run(c *cobra.Command, do func(context.Context, *rolloutRun) error) (err error) {
	r.c, r.out = c, r.people(c)
	r.p = newProgress(r.out)
	r.board = newBoard(r.p)
	r.board.run()
	insist, stop := insistence()
	defer stop()
	defer r.board.close()
	ctx := c.Context()
	r.result = rolloutResult{Command: c.Name(), Regions: []regionResult{}}
	if r.root, err = r.open(c, r.board, rollout.Options{Parallelism: r.parallelism, Tell: r.board.tell, Insist: insist, Deploys: r.deploys, Version: c.Root().Annotations[versionKey]}); err == nil {
		defer func() { err = errors.Join(err, r.root.Close()) }()
		r.result.Log = r.root.LogPath()
		r.say("reading the state")
		if err = usage(r.root.Prepare(ctx)); err == nil {
			if where, empty := r.root.State(); empty {
				r.say("nothing is deployed according to the state %s", where)
			}
			err = usage(do(ctx, r))
		}
	}
	if mistake, wrong := errors.AsType[usageError](err); wrong && !r.touched {
		return err
	} else if wrong {
		err = mistake.err
	}
	r.board.reset()
	switch _, drift := errors.AsType[driftError](err); {
	case err == nil || drift:
	case ctx.Err() != nil && r.touched:
		r.result.Error = "interrupted: what was done is in the state, and running this again goes on from there"
		r.say("%s", r.result.Error)
	case ctx.Err() != nil:
		r.result.Error = "interrupted: nothing was changed"
		r.say("%s", r.result.Error)
	default:
		r.result.Error = err.Error()
	}
	return errors.Join(err, r.report())
}

// plan plans the given regions and shows what would be done, per region.
func (r *rolloutRun) plan(ctx context.Context, names []string, destroy bool) (*rollout.Plan, error) {
	if len(names) == 0 {
		r.say("no region is left to plan")
	} else {
		r.say("planning %s (Terraform's output is in %s)", count(len(names), "region"), r.root.LogPath())
	}
	return r.root.Plan(ctx, names, destroy)
}

// propose plans, unless that would be refused, and shows what would be done: all that
// precedes the question. plan ends with it, so that it is refused what deploy is.
func (r *rolloutRun) propose(ctx context.Context, destroy bool) (*rollout.Plan, []rollout.Removal, error) {
	r.p.doing("asking AWS what a deploy would be refused for")
	if err := r.root.Refuse(ctx, destroy); err != nil {
		return nil, nil, err
	}
	p, err := r.plan(ctx, r.root.Chosen(), destroy)
	if err != nil {
		return nil, nil, err
	}
	r.p.doing("reading the plan")
	if r.changes, err = r.root.Changes(ctx, p); err != nil {
		return nil, nil, err
	}
	if err := r.show(ctx, p); err != nil {
		return nil, nil, err
	}
	going, err := r.removals(ctx, p)
	return p, going, err
}

// show prints a plan as a table with a line per region and in words, and Terraform's
// own text if wanted.
func (r *rolloutRun) show(ctx context.Context, p *rollout.Plan) error {
	r.board.reset()
	if r.verbose {
		text, err := r.root.Show(ctx, p)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(r.out, "\n"+text)
	}
	t := newTable(r.out)
	_, _ = fmt.Fprintln(t, "\n  REGION\tADD\tCHANGE\tDESTROY\t")
	for _, s := range r.root.Statuses() {
		note := ""
		if s.Phase == rollout.Failed {
			note = "cannot be planned, left out"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%d\t%d\t%d\t%s\n", s.Region, s.Add, s.Change, s.Destroy, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	printChanges(r.out, r.changes, r.verbose)
	_, err := fmt.Fprintln(r.out)
	return err
}

// mostLines is how many changes are printed of all regions together, and fewestLines of
// each region.
const mostLines, fewestLines = 40, 5

// printChanges prints changes under their regions: all of them, or the first ones.
// Regions with the same changes have them in common.
func printChanges(w io.Writer, of map[string][]rollout.Change, all bool) {
	most := max(fewestLines, mostLines/max(1, len(of)))
	var titles, texts []string
	for _, region := range slices.Sorted(maps.Keys(of)) {
		var text strings.Builder
		for n, c := range of[region] {
			if left := len(of[region]) - n; !all && n >= most && left > 1 {
				fmt.Fprintf(&text, "  and %d more; --verbose shows all\n", left)
				break
			}
			fmt.Fprintln(&text, "  "+c.Line(all))
		}
		if n := slices.Index(texts, text.String()); n >= 0 {
			titles[n] += ", " + region
			continue
		}
		titles, texts = append(titles, region), append(texts, text.String())
	}
	for n := range titles {
		_, _ = fmt.Fprintf(w, "\n%s\n%s", titles[n], texts[n])
	}
}

// apply applies a plan.
func (r *rolloutRun) apply(ctx context.Context, p *rollout.Plan) error {
	if p.Empty() {
		return nil
	}
	r.say("applying to %s", strings.Join(slices.Sorted(maps.Keys(p.Changes)), ", "))
	r.touched = true
	return r.root.Apply(ctx, p)
}

// confirm asks once.
func (r *rolloutRun) confirm(ctx context.Context, question string) error {
	if r.yes {
		return nil
	}
	r.board.hush(true)
	defer r.board.hush(false)
	return confirm(ctx, r.c.InOrStdin(), r.out, question)
}

// confirm asks a question that only "yes" answers.
func confirm(ctx context.Context, in io.Reader, out io.Writer, question string) error {
	_, _ = fmt.Fprintf(out, "%s Only \"yes\" is taken: ", question)
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && line == "" {
			close(answer)
			return
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		_, _ = fmt.Fprintln(out)
		return ctx.Err()
	case line, ok := <-answer:
		_, _ = fmt.Fprintln(out)
		switch {
		case !ok:
			return usagef("no answer on standard input, so nothing was changed: answer, or pass --yes")
		case line != "yes":
			return errors.New("not confirmed: nothing was changed")
		}
	}
	return nil
}

// statuses returns how far each region is: none, when it did not come to them.
func (r *rolloutRun) statuses() []rollout.Status {
	if r.root == nil {
		return nil
	}
	return r.root.Statuses()
}

// failed returns the regions that have failed.
func (r *rolloutRun) failed() []string {
	var names []string
	for _, s := range r.statuses() {
		if s.Phase == rollout.Failed {
			names = append(names, s.Region)
		}
	}
	return names
}

// report prints what came of it and returns an error when a region failed.
func (r *rolloutRun) report() error {
	planned := r.c.Name() == "plan" || r.c.Name() == "drift"
	for _, s := range r.statuses() {
		res := regionResult{
			Region: s.Region, Result: string(s.Phase), Added: s.Added, Changed: s.Changed, Destroyed: s.Destroyed,
			Seconds: s.Elapsed().Seconds(), Errors: s.Errors, Changes: r.changes[s.Region], Drift: r.drift[s.Region],
		}
		switch s.Phase {
		case rollout.Planned:
			if planned {
				res.Added, res.Changed, res.Destroyed = s.Add, s.Change, s.Destroy
			} else {
				res.Result = "skipped"
			}
		case rollout.Applying:
			res.Result = "interrupted"
		case rollout.Unchanged:
			// Unless it was a canary.
			if s.Added+s.Changed+s.Destroyed > 0 {
				res.Result = string(rollout.Done)
			}
		case rollout.Waiting, rollout.Planning:
			res.Result = "skipped"
		}
		r.result.Regions = append(r.result.Regions, res)
	}
	r.result.Seconds = time.Since(r.p.start).Seconds()
	if err := r.print(); err != nil {
		return err
	}
	if r.json {
		if err := printJSON(r.c.OutOrStdout(), likeAll{r.result}); err != nil {
			return err
		}
	}
	if failed := r.failed(); len(failed) > 0 {
		return fmt.Errorf("%s of %d failed: %s: correct the errors above, and run this again (log: %s)", count(len(failed), "region"), len(r.result.Regions), strings.Join(failed, ", "), r.result.Log)
	}
	return nil
}

// print prints the table at the end, with Terraform's errors under the region
// that they belong to.
func (r *rolloutRun) print() error {
	if !slices.ContainsFunc(r.result.Regions, func(s regionResult) bool { return s.Result != "skipped" }) {
		return nil // nothing came of it anywhere
	}
	if r.c.Name() != "plan" {
		t := newTable(r.out)
		head := "\n  REGION\tADDED\tCHANGED\tDESTROYED\tSECONDS\tRESULT"
		if r.c.Name() == "drift" {
			head = "\n  REGION\tDRIFT"
		}
		_, _ = fmt.Fprintln(t, head)
		for _, s := range r.result.Regions {
			if r.c.Name() == "drift" {
				what := "none"
				switch {
				case s.Result == string(rollout.Failed):
					what = "could not be looked at"
				case len(s.Drift) > 0:
					what = count(len(s.Drift), "change")
				}
				_, _ = fmt.Fprintf(t, "  %s\t%s\n", s.Region, what)
				continue
			}
			_, _ = fmt.Fprintf(t, "  %s\t%d\t%d\t%d\t%.0f\t%s\n", s.Region, s.Added, s.Changed, s.Destroyed, s.Seconds, s.Result)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	printChanges(r.out, r.drift, r.verbose)
	for _, s := range r.result.Regions {
		if len(s.Errors) > 0 {
			_, _ = fmt.Fprintf(r.out, "\n%s\n", s.Region)
		}
		for _, text := range s.Errors {
			_, _ = fmt.Fprintln(r.out, "  "+strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	_, err := fmt.Fprintln(r.out)
	return err
}

func newPlan() *cobra.Command {
	return newRollout(&rolloutRun{deploys: true}, &cobra.Command{
		Use:     "plan",
		Short:   "Show what a deploy would change, per region",
		Long:    "Show what a deploy would change, per region, or why it would be refused. It\nchanges nothing." + rolloutExits,
		Example: "  firstline plan --var-file terraform/regions.tfvars --verbose",
	}, func(ctx context.Context, r *rolloutRun) error {
		_, _, err := r.propose(ctx, false)
		return err
	})
}

func newDestroy() *cobra.Command {
	r := &rolloutRun{}
	c := newRollout(r, &cobra.Command{
		Use:   "destroy",
		Short: "Remove everything that was deployed",
		Long: `Remove everything that was deployed, in all regions or in those named with --region.
A region that stays in the var files is created again by the next deploy.

Incidents under way are named and stopped, and their instances are not looked after.
In a VPC this waits up to 45 minutes until Lambda has deleted its network interfaces.` + rolloutExits,
		Example: "  firstline destroy --var-file terraform/regions.tfvars --region eu-west-1",
	}, func(ctx context.Context, r *rolloutRun) error {
		p, going, err := r.propose(ctx, true)
		if err != nil || p.Empty() {
			return err
		}
		if err := r.confirm(ctx, fmt.Sprintf("Destroy this in %s?", strings.Join(slices.Sorted(maps.Keys(p.Changes)), ", "))); err != nil {
			return err
		}
		return r.remove(ctx, p, going)
	})
	c.Flags().BoolVar(&r.yes, "yes", false, "do not ask")
	return c
}

func newDrift() *cobra.Command {
	return newRollout(&rolloutRun{deploys: true}, &cobra.Command{
		Use:   "drift",
		Short: "Report what was changed outside of Terraform, per region",
		Long: `Report what was changed outside of Terraform, per region. It changes nothing.
It sees what Terraform would put back, what was deleted, other code of the function or a
version of it that was deleted, and instances that are gone; not what somebody has added.

Exit codes: 0 no drift, 1 some region could not be checked, 2 wrong usage or
input, 3 drift, 130 interrupted.`,
		Example: "  firstline drift --var-file terraform/regions.tfvars --json",
	}, func(ctx context.Context, r *rolloutRun) error {
		// It makes nothing, and so it is refused what a destroy is.
		if err := r.root.Refuse(ctx, true); err != nil {
			return err
		}
		p, err := r.plan(ctx, r.root.Chosen(), false)
		if err != nil {
			return err
		}
		r.p.doing("reading the plan")
		if r.drift, err = r.root.Drift(ctx, p); err != nil {
			return err
		}
		if len(r.drift) > 0 && len(r.failed()) == 0 {
			return driftError{len(r.drift)}
		}
		return nil
	})
}

func newDeploy() *cobra.Command {
	r := &rolloutRun{deploys: true}
	c := newRollout(r, &cobra.Command{
		Use:   "deploy",
		Short: "Deploy to the regions of the var files, and verify",
		Long: `Deploy to the regions of the var files: plan, show the plan in words, ask once,
apply exactly that plan, and verify what was deployed. A region that fails
does not stop the others; running the command again repairs it. Regions that the var
files no longer name are removed, as destroy does it.

With --canary these regions come first. A dry incident then runs in each of them,
from the event bus to its end, with reboot and messages suppressed; only when all
of them ended as they should do the other regions follow.

Secrets travel in the environment, as TF_VAR_slack_token or TF_VAR_jsm_api_key
(terraform/README.md#secrets has all). If Slack, a chosen pager or the heartbeat needs
one that is neither given nor stored, deploy refuses before it changes anything.` + rolloutExits,
		Example: "  firstline deploy --var-file terraform/regions.tfvars --canary eu-west-1",
	}, deployRegions)
	f := c.Flags()
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.StringSliceVar(&r.canary, "canary", nil, "deploy to these regions first and try a dry incident there, comma-separated or repeated")
	f.StringVar(&r.canaryInstance, "canary-instance", "", "instance of the dry incident (default: the first of each canary region)")
	f.BoolVar(&r.verify, "verify", true, "run the checks of every instance at the end")
	return c
}

func deployRegions(ctx context.Context, r *rolloutRun) error {
	if err := r.checkCanaries(r.root.Chosen()); err != nil {
		return err
	}
	p, going, err := r.propose(ctx, false)
	if err != nil {
		return err
	}
	if p.Empty() {
		if len(r.failed()) == 0 {
			r.say("nothing to change")
		}
	} else if err := r.confirm(ctx, fmt.Sprintf("Apply this to %s?", strings.Join(slices.Sorted(maps.Keys(p.Changes)), ", "))); err != nil {
		return err
	}
	if len(r.canary) > 0 {
		p, err = r.canaries(ctx, p)
		if err != nil {
			return err
		}
	}
	if err := r.remove(ctx, p, going); err != nil {
		return err
	}
	r.board.reset()
	return r.verifyDeployed(ctx)
}

// checkCanaries refuses canaries that are not among the regions, or that have no
// instance to try a dry incident with.
func (r *rolloutRun) checkCanaries(chosen []string) error {
	r.canary = regions.Union(r.canary)
	if r.canaryInstance != "" && len(r.canary) != 1 {
		return usagef("--canary-instance goes with exactly one --canary")
	}
	for _, name := range r.canary {
		instances := r.root.Instances(name)
		switch {
		case slices.Contains(r.failed(), name):
			return fmt.Errorf("the canary %s has failed: nothing was changed", name)
		case !slices.Contains(chosen, name):
			return usagef("--canary: %s is not among the regions to deploy to: %s", name, strings.Join(chosen, ", "))
		case len(instances) == 0:
			return usagef("--canary: %s has no instance in the var files to try a dry incident with", name)
		case r.canaryInstance != "" && !slices.Contains(instances, r.canaryInstance):
			return usagef("--canary-instance: %s is not in the var files; %s has %s", r.canaryInstance, name, strings.Join(instances, ", "))
		}
	}
	return nil
}

// canaries applies the canaries' part of the plan, tries them, and returns the
// plan of the rest. Both are made anew, as the first apply outdates the plan
// that was shown, and both must do exactly what was shown.
func (r *rolloutRun) canaries(ctx context.Context, shown *rollout.Plan) (*rollout.Plan, error) {
	agreed, err := r.root.Digests(ctx, shown)
	if err != nil {
		return nil, err
	}
	first, err := r.again(ctx, r.canary, shown, agreed)
	if err != nil {
		return nil, err
	}
	if err := r.apply(ctx, first); err != nil {
		return nil, err
	}
	for _, name := range r.canary {
		if slices.Contains(r.failed(), name) {
			return nil, fmt.Errorf("the canary %s has failed: no other region was touched", name)
		}
		// What was agreed on is done there.
		delete(agreed, name)
	}
	if err := r.rehearse(ctx); err != nil {
		return nil, err
	}
	return r.again(ctx, r.root.Chosen(), shown, agreed)
}

// again makes a plan anew of what was shown, for the given regions.
func (r *rolloutRun) again(ctx context.Context, names []string, shown *rollout.Plan, agreed map[string]string) (*rollout.Plan, error) {
	p, err := r.plan(ctx, names, shown.Destroy)
	if err != nil {
		return nil, err
	}
	return p, r.agree(ctx, p, shown, agreed)
}

// agree refuses a plan that does in a region anything else than what was shown, whose
// digests are agreed, or a part of it that only deletes.
func (r *rolloutRun) agree(ctx context.Context, p, shown *rollout.Plan, agreed map[string]string) error {
	digests, err := r.root.Digests(ctx, p)
	if err != nil {
		return err
	}
	for _, name := range p.Regions {
		other := slices.ContainsFunc(p.Changes[name], func(change string) bool {
			return !strings.HasPrefix(change, "delete ") || !slices.Contains(shown.Changes[name], change)
		})
		if digests[name] != agreed[name] && other {
			return fmt.Errorf("%s: the changes to make are no longer those that were shown: run this again", name)
		}
	}
	return nil
}

// rehearse tries a dry incident in each canary.
func (r *rolloutRun) rehearse(ctx context.Context) error {
	outputs, err := r.root.Outputs(ctx)
	if err != nil {
		return err
	}
	config, err := awsConfig(ctx)
	if err != nil {
		return err
	}
	var wrong []string
	for _, name := range r.canary {
		region, instance := outputs[name], r.canaryInstance
		switch {
		case instance == "" && len(region.InstanceIDs) == 0:
			return fmt.Errorf("the canary %s has no instance to try a dry incident with: no other region was touched", name)
		case instance == "":
			instance = region.InstanceIDs[0]
		case !slices.Contains(region.InstanceIDs, instance):
			return fmt.Errorf("--canary-instance: %s is not watched in %s: no other region was touched; there are %s", instance, name, strings.Join(region.InstanceIDs, ", "))
		}
		r.say("canary %s: a dry incident of %s", name, instance)
		rehearsal := probe.Canary(ctx, config, region, instance, func(state string) { r.say("  %s  %s", name, state) })
		r.result.Canary = append(r.result.Canary, rehearsal)
		if ctx.Err() != nil {
			r.say("the dry incident goes on in AWS and ends by itself: %s", cmp.Or(rehearsal.ExecutionARN, "not started yet"))
			return ctx.Err()
		}
		if !rehearsal.OK {
			wrong = append(wrong, fmt.Sprintf("%s: %s", name, rehearsal.Reason))
			continue
		}
		r.say("canary %s: ended as it should (%s, %.0f s)", name, rehearsal.EndState, rehearsal.Seconds)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("a dry incident did not end as it should, and no other region was touched: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// settle is how long new rights may take to reach all of AWS
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency).
const settle = 15 * time.Second

// verifyDenied tries the regions once more in which something was denied.
func (r *rolloutRun) verifyDenied(ctx context.Context, config aws.Config, outputs map[string]deployed.Region) {
	var again []deployed.Region
	for _, v := range r.result.Verification {
		if v.Denied() {
			again = append(again, outputs[v.Region])
		}
	}
	if len(again) == 0 || ctx.Err() != nil {
		return
	}
	r.say("some calls were denied; new rights may take a moment, so trying %s again", count(len(again), "region"))
	select {
	case <-ctx.Done():
		return
	case <-time.After(settle):
	}
	for _, v := range verifyRegions(ctx, r.p, config, again) {
		n := slices.IndexFunc(r.result.Verification, func(old probe.Verification) bool { return old.Region == v.Region })
		r.result.Verification[n] = v
	}
}

// verifyDeployed runs the checks of what was deployed to, unless that is not wanted,
// and deletes the versions of the function that it has replaced. What a check finds
// wrong with an instance is told; what firstline could not do is an error.
func (r *rolloutRun) verifyDeployed(ctx context.Context) error {
	r.p.doing("reading what is deployed")
	outputs, err := r.root.Outputs(ctx)
	if err != nil {
		return err
	}
	config, err := awsConfig(ctx)
	if err != nil {
		return err
	}
	var done []deployed.Region
	for _, s := range r.root.Statuses() {
		if o, ok := outputs[s.Region]; ok && (s.Phase == rollout.Done || s.Phase == rollout.Unchanged) {
			done = append(done, o)
		}
	}
	if r.verify && len(done) > 0 {
		r.say("verifying: running the checks of every instance, rebooting nothing")
		r.result.Verification = verifyRegions(ctx, r.p, config, done)
		r.verifyDenied(ctx, config, outputs)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := printVerification(r.out, r.result.Verification); err != nil {
			return err
		}
	}
	// Also where something is broken: each version may keep interfaces in a VPC.
	r.p.doing("deleting old versions of the functions")
	r.pruneVersions(ctx, done)
	var broken []string
	for _, v := range r.result.Verification {
		if v.Broken() {
			broken = append(broken, v.Region)
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("deployed, but firstline cannot do its work in %s: see the table", strings.Join(broken, ", "))
	}
	return nil
}
