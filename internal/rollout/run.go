package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"
	tfjson "github.com/hashicorp/terraform-json"

	"firstline/internal/regions"
	"firstline/internal/tfstream"
)

// Plan is a saved plan.
type Plan struct {
	// Destroy says that it removes everything.
	Destroy bool
	// Regions are those that it covers, sorted: the chosen ones that Terraform
	// could plan.
	Regions []string
	// Changes are what is to be done per region, as "create ADDRESS", sorted.
	Changes map[string][]string
	file    string
	shown   *tfjson.Plan // once it has been read
}

// Empty reports whether the plan changes no resource.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// Plan plans the given regions, those of Chosen that have not failed. A region
// that cannot be planned fails, and the others are planned without it.
func (r *Root) Plan(ctx context.Context, names []string, destroy bool) (*Plan, error) {
	return r.planOf(ctx, names, destroy, r.targets)
}

// planOf plans what targets names of the regions.
func (r *Root) planOf(ctx context.Context, names []string, destroy bool, targets func(names []string) []string) (*Plan, error) {
	for {
		// Terraform without a target would work on every region.
		if len(names) == 0 {
			return &Plan{Destroy: destroy}, nil
		}
		p, failed, err := r.plan(ctx, names, destroy, targets(names))
		r.warn(destroy)
		if err != nil || len(failed) == 0 {
			return p, err
		}
		for region, reasons := range failed {
			r.fail(region, reasons...)
			names = regions.Without(names, []string{region})
		}
		if len(names) > 0 {
			_, _ = fmt.Fprintf(r.o.Log, "planning again without what failed: %d left\n", len(names))
		}
	}
}

// plan plans once, restricted to the targets if there are any. The regions that
// failed are returned with the reasons; then there is no plan.
func (r *Root) plan(ctx context.Context, names []string, destroy bool, targets []string) (*Plan, map[string][]string, error) {
	file, err := os.CreateTemp(r.temp, "plan-")
	if err != nil {
		return nil, nil, err
	}
	_ = file.Close()
	p := &Plan{Destroy: destroy, Regions: slices.Clone(names), Changes: map[string][]string{}, file: file.Name()}
	slices.Sort(p.Regions)
	options, err := r.planOptions(p, targets)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		r.change(name, func(s *Status) {
			*s = Status{Region: s.Region, Phase: Planning, Added: s.Added, Changed: s.Changed, Destroyed: s.Destroyed, Began: s.Began, Ended: s.Ended}
		})
	}
	var beyond []string
	heard := map[string]bool{} // regions of which Terraform has said something
	bounded, giveUp := context.WithCancel(ctx)
	defer giveUp()
	silent := time.AfterFunc(r.silence, giveUp)
	defer silent.Stop()
	said, err := r.stream(bounded, func(ctx context.Context, w io.Writer) error {
		_, err := r.tf.PlanJSON(ctx, w, options...)
		return err
	}, func(m tfstream.Message) {
		silent.Reset(r.silence)
		if m.Hook != nil {
			heard[r.regionOf(m.Hook.Resource.Address)] = true
		}
		switch m.Type {
		case tfstream.RefreshComplete:
			r.change(r.regionOf(m.Hook.Resource.Address), func(s *Status) { s.Done++ })
		case tfstream.PlannedChange:
			region := r.regionOf(m.Change.Resource.Address)
			if !slices.Contains(names, region) {
				beyond = append(beyond, m.Change.Resource.Address)
				return
			}
			r.change(region, func(s *Status) { s.plan(m.Change.Action) })
			p.Changes[region] = append(p.Changes[region], m.Change.Action+" "+m.Change.Resource.Address)
		}
	})
	if bounded.Err() != nil && ctx.Err() == nil {
		failed, err := r.hung(names, heard)
		return nil, failed, err
	}
	if err != nil {
		return nil, nil, err
	}
	failed, err := r.judge(said, names, beyond)
	if err != nil || len(failed) > 0 {
		return nil, failed, err
	}
	for _, name := range names {
		slices.Sort(p.Changes[name])
		r.change(name, func(s *Status) {
			s.Phase, s.Done = Planned, 0
			if len(p.Changes[name]) == 0 {
				s.Phase = Unchanged
			}
		})
	}
	return p, nil, nil
}

// judge returns what was wrong with a plan: the reasons of the regions that failed, or an
// error of all. beyond are the resources that it would change outside of the regions.
func (r *Root) judge(said []*tfstream.Diagnostic, names, beyond []string) (map[string][]string, error) {
	failed, err := r.sort(said, names)
	inConfiguration := !slices.ContainsFunc(said, func(d *tfstream.Diagnostic) bool { return d.Range == nil })
	_, busy := errors.AsType[busyError](err)
	_, died := errors.AsType[diedError](err)
	switch {
	case err != nil && !busy && !died && inConfiguration:
		// What concerns all regions and has a place in a file is a setting.
		return nil, InputError{err}
	case err == nil && len(failed) == 0 && len(beyond) > 0:
		// The table would not show it.
		return nil, inputf("the plan would change %s too, which lies in none of the chosen regions' modules: see to it with terraform", some(beyond))
	}
	return failed, err
}

// planOptions are what a plan is made with.
func (r *Root) planOptions(p *Plan, targets []string) ([]tfexec.PlanOption, error) {
	options := []tfexec.PlanOption{tfexec.Out(p.file), tfexec.Destroy(p.Destroy), tfexec.Parallelism(r.parallelism(len(p.Regions)))}
	for _, f := range r.o.VarFiles {
		path, err := filepath.Abs(f)
		if err != nil {
			return nil, err
		}
		options = append(options, tfexec.VarFile(path))
	}
	for _, t := range targets {
		options = append(options, tfexec.Target(t))
	}
	return options, nil
}

// hung blames the regions in which something is under way for Terraform's
// silence, else those that have said nothing at all: their providers have not
// come to work.
func (r *Root) hung(names []string, heard map[string]bool) (map[string][]string, error) {
	busy := map[string]bool{}
	for _, s := range r.Statuses() {
		busy[s.Region] = len(s.Awaited) > 0
	}
	failed := map[string][]string{}
	blame := func(guilty func(string) bool) {
		for _, name := range names {
			if guilty(name) {
				failed[name] = []string{fmt.Sprintf("the region does not answer: Terraform has waited for it for %s", r.silence)}
			}
		}
	}
	if blame(func(name string) bool { return busy[name] }); len(failed) == 0 {
		blame(func(name string) bool { return !heard[name] })
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("terraform printed nothing for %s and was stopped (see %s)", r.silence, r.logPath)
	}
	return failed, nil
}

// plan counts one planned change.
func (s *Status) plan(action string) {
	switch action {
	case "create":
		s.Add++
	case "update":
		s.Change++
	case "delete":
		s.Destroy++
	case "replace":
		s.Add++
		s.Destroy++
		s.Planned++
	default:
		return
	}
	s.Planned++
}

// Apply applies a plan. What fails in a region is in its status; the error is
// about what concerns all of them.
//
// When ctx ends, the apply comes to its end all the same, and then the error is
// ctx's: interrupted, the AWS provider drops the answers of its calls under way,
// and what they have made exists without the state knowing. Options.Insist ends
// it at once.
func (r *Root) Apply(ctx context.Context, p *Plan) error {
	for name := range p.Changes {
		r.change(name, func(s *Status) { s.Phase, s.Began, s.Ended = Applying, time.Now(), time.Time{} })
	}
	insistence := r.o.Insist
	if insistence == nil {
		insistence = context.Background()
	}
	defer context.AfterFunc(ctx, func() {
		if insistence.Err() == nil {
			_, _ = fmt.Fprintln(r.o.Log, "interrupted: the apply under way comes to its end first, and nothing else begins; interrupt again to cut it off, which may leave in AWS what the state does not know")
		}
	})()
	insist, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	defer context.AfterFunc(insistence, release)()
	begun := map[string]bool{}
	broken := &errored{ids: map[string]string{}}
	said, err := r.stream(insist, func(ctx context.Context, w io.Writer) error {
		return r.tf.ApplyJSON(ctx, w, tfexec.DirOrPlan(p.file), tfexec.Parallelism(r.parallelism(len(p.Regions))))
	}, func(m tfstream.Message) {
		broken.note(m)
		if m.Hook != nil && m.Hook.Action == "create" {
			switch m.Type {
			case tfstream.ApplyStart:
				begun[m.Hook.Resource.Address] = true
			case tfstream.ApplyComplete:
				delete(begun, m.Hook.Resource.Address)
			}
		}
		if m.Hook == nil || m.Type != tfstream.ApplyComplete || m.Hook.Action == "read" {
			return
		}
		r.change(r.regionOf(m.Hook.Resource.Address), func(s *Status) {
			s.Done++
			s.did(m.Hook.Action)
			if s.Done == s.Planned {
				s.Phase, s.Ended = Done, time.Now()
			}
		})
	})
	r.warn(p.Destroy)
	if insist.Err() != nil && len(begun) > 0 {
		_, _ = fmt.Fprintf(r.o.Log, "cut off while these were being made; they may exist without the state knowing, and then the next run says so: delete them, or `terraform import` them (but no secret's parameter: its value would get into the state)\n  %s\n",
			strings.Join(slices.Sorted(maps.Keys(begun)), "\n  "))
	}
	for _, d := range said {
		broken.attribute(d)
	}
	var failed map[string][]string
	if err == nil {
		failed, err = r.sort(said, p.Regions)
	}
	for name, reasons := range failed {
		r.fail(name, reasons...)
	}
	r.conclude(p, err, insist.Err() != nil)
	return errors.Join(ctx.Err(), err)
}

// conclude gives the regions of which Terraform has not said that they are done their
// last phase. err is what concerns all of them; a cut-off apply leaves them applying.
func (r *Root) conclude(p *Plan, err error, cutOff bool) {
	_, busy := errors.AsType[busyError](err)
	for name := range p.Changes {
		switch s := r.status[name]; {
		case s == nil || s.Phase != Applying || cutOff:
		case busy:
			r.change(name, func(s *Status) { s.Phase, s.Began = Planned, time.Time{} })
		case err == nil:
			r.change(name, func(s *Status) { s.Phase, s.Ended = Done, time.Now() })
		default:
			r.fail(name, fmt.Sprintf("Terraform ended after %d of %d changes: the error that concerns all regions says why", s.Done, s.Planned))
		}
	}
}

// errored are the resources whose operation has failed. Terraform says of which one an
// error is, but not where it deletes: then it is found by the id in the error's text.
type errored struct {
	ids       map[string]string // of what was begun, by address
	addresses []string
}

func (e *errored) note(m tfstream.Message) {
	switch {
	case m.Hook == nil:
	case m.Type == tfstream.ApplyStart:
		e.ids[m.Hook.Resource.Address] = m.Hook.ID
	case m.Type == tfstream.ApplyErrored:
		e.addresses = append(e.addresses, m.Hook.Resource.Address)
	}
}

// attribute gives an error of no resource the one that it speaks of, each once: two
// regions have resources of the same name.
func (e *errored) attribute(d *tfstream.Diagnostic) {
	if d.Address != "" || d.Range != nil {
		return
	}
	text := d.Summary + " " + d.Detail
	speaks := func(address string) bool { return e.ids[address] != "" && strings.Contains(text, e.ids[address]) }
	n := slices.IndexFunc(e.addresses, func(address string) bool {
		m := inModule.FindStringSubmatch(address)
		return m != nil && speaks(address) && strings.Contains(text, m[1])
	})
	if n < 0 {
		n = slices.IndexFunc(e.addresses, speaks)
	}
	if n >= 0 {
		d.Address = e.addresses[n]
		e.addresses = slices.Delete(e.addresses, n, n+1)
	}
}

// did counts one change that was made.
func (s *Status) did(action string) {
	switch action {
	case "create":
		s.Added++
	case "update":
		s.Changed++
	case "delete":
		s.Destroyed++
	}
}

// stream runs Terraform with machine-readable output, writes all of it to the
// log, and returns the errors that it said; what it warned of is for warn. The error
// is of what kept Terraform from saying any.
func (r *Root) stream(ctx context.Context, do func(context.Context, io.Writer) error, each func(tfstream.Message)) ([]*tfstream.Diagnostic, error) {
	defer r.tf.SetStdout(nil)
	defer context.AfterFunc(ctx, func() {
		_, _ = fmt.Fprintln(r.o.Log, "waiting for Terraform to end")
	})()
	in, out := io.Pipe()
	var said []*tfstream.Diagnostic
	read := make(chan error, 1)
	go func() {
		read <- tfstream.Read(in, func(m tfstream.Message) {
			r.logMessage(m)
			r.await(m)
			if m.Type == tfstream.Diagnosed && m.Diagnostic != nil {
				if m.Diagnostic.Error() {
					said = append(said, m.Diagnostic)
				} else {
					r.said = append(r.said, m.Diagnostic)
				}
			}
			each(m)
		})
	}()
	err := do(ctx, out)
	_ = out.Close()
	unread := <-read
	switch {
	case ctx.Err() != nil:
		// What it says then comes of the interrupt.
		return nil, ctx.Err()
	case err != nil && strings.Contains(err.Error(), "signal: killed"):
		// Also if it has said an error: it has not come to its end.
		return nil, r.died()
	case err != nil && len(said) > 0:
		return said, nil
	case err != nil:
		return nil, fmt.Errorf("terraform: %w (see %s)", tidy(err), r.logPath)
	}
	return nil, unread
}

// logMessage writes a message to the log as a person would read it.
func (r *Root) logMessage(m tfstream.Message) {
	at := m.Timestamp
	if at.IsZero() {
		at = time.Now()
	}
	text := m.Text
	if m.Diagnostic != nil {
		text = m.Diagnostic.Severity + ": " + m.Diagnostic.String()
	}
	_, _ = fmt.Fprintf(r.log, "%s %s\n", at.UTC().Format(time.RFC3339), text)
}

var (
	lockWho  = regexp.MustCompile(`(?m)^\s*Who:\s*(\S+)`)
	lockWhen = regexp.MustCompile(`(?m)^\s*Created:\s*(\S+ [0-9:]+)`)
	lockWhat = regexp.MustCompile(`(?m)^\s*Operation:\s*(\S+)`)
	lockID   = regexp.MustCompile(`(?m)^\s*ID:\s*(\S+)`)
)

// checkedBy is what Terraform adds to a message of ours.
var checkedBy = regexp.MustCompile(`(?s)\s*This was checked by the validation rule at .*`)

// inOurWords is a diagnostic's text; of one whose words are this project's own
// just these.
func inOurWords(d *tfstream.Diagnostic) string {
	switch d.Summary {
	case "Invalid value for variable", "Module output value precondition failed", "Check block assertion failed":
		return strings.TrimSpace(checkedBy.ReplaceAllString(d.Detail, ""))
	}
	return d.String()
}

// sort tells the errors that one of the given regions is to blame for from those
// that concern all of them.
func (r *Root) sort(said []*tfstream.Diagnostic, names []string) (failed map[string][]string, err error) {
	failed = map[string][]string{}
	var errs []error
	died := slices.ContainsFunc(said, (*tfstream.Diagnostic).PluginDied)
	if died {
		errs = append(errs, r.died())
	}
	for _, d := range said {
		if died && (d.PluginDied() || d.Cancelled()) {
			continue // no region's fault
		}
		if region := r.regionOfDiagnostic(d); slices.Contains(names, region) {
			failed[region] = append(failed[region], d.String())
			continue
		}
		switch {
		case strings.Contains(d.Summary, "acquiring the state lock"):
			field := func(form *regexp.Regexp) string {
				if m := form.FindStringSubmatch(d.Detail); m != nil {
					return m[1]
				}
				return "unknown"
			}
			return nil, busyError{fmt.Errorf("the state is locked: %s is at %s since %s; wait until that has ended, or, if it never will, run `terraform force-unlock %s` in %s; this plan was not applied",
				field(lockWho), strings.TrimPrefix(field(lockWhat), "OperationType"), field(lockWhen), field(lockID), r.o.Dir)}
		case strings.Contains(d.Summary, "plan is stale"):
			return nil, busyError{errors.New("somebody else has applied since this plan was made, so it was not applied: run this again")}
		}
		errs = append(errs, errors.New(inOurWords(d)))
	}
	return failed, errors.Join(errs...)
}

// busyError is somebody else's use of the state.
type busyError struct{ error }

// diedError is the end of a process of Terraform's that nobody asked for.
type diedError struct{ error }

// What a plan takes, measured with the provider's version 5.100.0: 1.05 GB with 5
// regions in regions.tf, 2.0 GB with 17.
const planGB, planRegionGB = 0.65, 0.08

// died says what most likely ends a process of Terraform's, and what helps.
func (r *Root) died() error {
	n := len(r.providers)
	return diedError{fmt.Errorf("terraform or one of its %d providers was killed, most likely because the machine ran out of memory: a plan of the %d regions in regions.tf takes about %.1f GB; keep only those that you use with `firstline regions --from VAR_FILE`, or take a machine with more memory; then run this again (log: %s)",
		n, n, planGB+float64(n)*planRegionGB, r.logPath)}
}

// parallelism is how many operations Terraform runs at the same time. Most of an
// apply is waiting, and a region's own chain of resources is short.
func (r *Root) parallelism(n int) int {
	if r.o.Parallelism > 0 {
		return r.o.Parallelism
	}
	return min(max(10, 10*n), 40)
}

// Show returns Terraform's own text of a plan.
func (r *Root) Show(ctx context.Context, p *Plan) (string, error) {
	if p.file == "" {
		return "", nil
	}
	return r.tf.ShowPlanFileRaw(ctx, p.file)
}
