package rollout

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"firstline/internal/tfstream"
)

// Phase is how far a region is.
type Phase string

// Phases, in their order.
const (
	Waiting   Phase = "waiting"
	Planning  Phase = "planning"
	Planned   Phase = "planned"
	Unchanged Phase = "unchanged"
	Applying  Phase = "applying"
	Done      Phase = "done"
	Failed    Phase = "failed"
)

// Status is how far a region is.
type Status struct {
	Region string
	Phase  Phase
	// Done counts the resources that have been read (Planning) or changed
	// (Applying) so far, Planned those that are to be changed.
	Done, Planned int
	// Add, Change and Destroy are what is planned; a replacement adds and
	// destroys.
	Add, Change, Destroy int
	// Added, Changed and Destroyed are what was done.
	Added, Changed, Destroyed int
	// Awaited are the resources that Terraform reads or changes at the moment, those
	// that it began first at the beginning.
	Awaited []string
	// Began and Ended bound the apply in this region.
	Began, Ended time.Time
	// Errors are Terraform's own, in full.
	Errors []string
}

// Elapsed is how long the apply took, or has taken until now.
func (s Status) Elapsed() time.Duration {
	switch {
	case s.Began.IsZero():
		return 0
	case s.Ended.IsZero():
		return time.Since(s.Began)
	}
	return s.Ended.Sub(s.Began)
}

// Statuses returns all regions that are worked on, sorted by name.
func (r *Root) Statuses() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Status
	for _, s := range r.status {
		all = append(all, r.copy(s))
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Region, b.Region) })
	return all
}

// copy returns a status that no longer changes.
func (r *Root) copy(s *Status) Status {
	c := *s
	c.Awaited = slices.Clone(s.Awaited)
	c.Errors = slices.Clone(r.errors[s.Region])
	return c
}

// change changes a region's status and tells of it.
func (r *Root) change(region string, do func(*Status)) {
	r.mu.Lock()
	s := r.status[region]
	if s == nil {
		r.mu.Unlock()
		return
	}
	do(s)
	c := r.copy(s)
	r.mu.Unlock()
	r.o.Tell(c)
}

// await notes what Terraform says that it begins and ends.
func (r *Root) await(m tfstream.Message) {
	if m.Hook == nil {
		return
	}
	address := m.Hook.Resource.Address
	region := r.regionOf(address)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status[region]
	if s == nil {
		return
	}
	switch m.Type {
	case tfstream.RefreshStart, tfstream.ApplyStart:
		s.Awaited = append(s.Awaited, inModule.ReplaceAllString(address, ""))
	case tfstream.RefreshComplete, tfstream.ApplyComplete, tfstream.ApplyErrored:
		s.Awaited = slices.DeleteFunc(s.Awaited, func(a string) bool { return a == inModule.ReplaceAllString(address, "") })
	}
}

// fail marks a region as failed.
func (r *Root) fail(region string, reasons ...string) {
	r.change(region, func(s *Status) {
		s.Phase = Failed
		if !s.Began.IsZero() && s.Ended.IsZero() {
			s.Ended = time.Now()
		}
		for _, reason := range reasons {
			if exists.MatchString(reason) {
				reason += "\n  It exists without the state knowing, as after an apply that was cut off: `terraform import` it and run this again. What is new and empty may be deleted instead, and a secret's parameter must be, since its value would get into the state."
			}
			r.errors[region] = append(r.errors[region], reason)
		}
	})
}

// exists is what AWS's services say of what is there already.
var exists = regexp.MustCompile(`AlreadyExists|already exists|BucketAlreadyOwnedByYou|Function already exist|ResourceConflictException`)

var (
	inModule = regexp.MustCompile(`^module\.([a-z0-9-]+)(\[0\])?(\.|$)`)
	provider = regexp.MustCompile(`^provider\[[^\]]*\]\.([a-z0-9-]+)$`)
	block    = regexp.MustCompile(`^(?:module|output) "([a-z0-9-]+)"|^\s*alias\s*=\s*"([a-z0-9-]+)"`)
)

// regionOf returns the region that an address belongs to, "" for none.
func (r *Root) regionOf(address string) string {
	for _, form := range []*regexp.Regexp{inModule, provider} {
		if m := form.FindStringSubmatch(address); m != nil && slices.Contains(r.providers, m[1]) {
			return m[1]
		}
	}
	return ""
}

// regionOfDiagnostic returns the region that a diagnostic speaks of, "" for
// none. One about a provider's configuration has no address: it names a line of
// regions.tf.
func (r *Root) regionOfDiagnostic(d *tfstream.Diagnostic) string {
	if region := r.regionOf(d.Address); region != "" {
		return region
	}
	if d.Range == nil || d.Range.Filename != "regions.tf" {
		return ""
	}
	lines := strings.Split(string(r.source), "\n")
	// The line of an alias comes after the first of its block.
	for n := min(d.Range.Start.Line+1, len(lines)) - 1; n >= 0; n-- {
		if m := block.FindStringSubmatch(lines[n]); m != nil {
			return m[1] + m[2]
		}
	}
	return ""
}
