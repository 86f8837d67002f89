package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"firstline/internal/deployed"
	"firstline/internal/regions"
	"firstline/internal/rollout"
)

const (
	// stopPause is the time between two looks for incidents that have begun while
	// Terraform removes the rules that start them.
	stopPause = 5 * time.Second
	// interfacesTime is how long Lambda may take to delete its network interfaces. AWS
	// says 20 minutes
	// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html), the AWS
	// provider allows 45.
	interfacesTime = 45 * time.Minute
	// interfacesPause is the time between two looks at them, interfacesTold the time
	// between two lines that say so.
	interfacesPause, interfacesTold = 10 * time.Second, 5 * time.Minute
)

// removals returns the regions in which a plan removes what incidents run on, and
// says which incidents are under way there.
func (r *rolloutRun) removals(ctx context.Context, p *rollout.Plan) ([]rollout.Removal, error) {
	going, err := r.root.Removals(ctx, p)
	if err != nil || len(going) == 0 {
		return nil, err
	}
	r.p.doing("asking which incidents are under way")
	underWay, err := r.root.UnderWay(ctx, going)
	if err != nil {
		return nil, fmt.Errorf("find out which incidents are under way, which needs the right states:ListExecutions (or leave the region out with --exclude-region): %w", err)
	}
	if _, err := r.interfaces(ctx, going); err != nil {
		return nil, err
	}
	r.tellIncidents(underWay, "under way, to be stopped: %s")
	return going, nil
}

// tellIncidents says something of the incidents of each region.
func (r *rolloutRun) tellIncidents(all []rollout.UnderWay, format string) {
	for _, region := range regionsOf(all, func(u rollout.UnderWay) string { return u.Region }) {
		var names []string
		for _, u := range all {
			if u.Region == region {
				names = append(names, fmt.Sprintf("%s since %s", u.Who(), u.Since.UTC().Format("15:04 UTC")))
			}
		}
		slices.Sort(names)
		r.say("%s: %s "+format, region, count(len(names), "incident"), strings.Join(names, ", "))
	}
}

// regionsOf are the regions that all of these lie in, sorted.
func regionsOf[T any](all []T, region func(T) string) []string {
	var names []string
	for _, one := range all {
		names = append(names, region(one))
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// remove applies a plan that removes regions.
func (r *rolloutRun) remove(ctx context.Context, p *rollout.Plan, going []rollout.Removal) error {
	// The plan may be a later one, without regions that have failed since.
	going = slices.DeleteFunc(slices.Clone(going), func(g rollout.Removal) bool { return len(p.Changes[g.Region]) == 0 })
	if len(going) == 0 {
		return r.apply(ctx, p)
	}
	left, err := r.interfaces(ctx, going)
	if err != nil {
		return err
	}
	r.touched = true
	r.p.doing("stopping incidents")
	end, err := r.stopIncidents(ctx, going)
	if err != nil {
		return err
	}
	defer end()
	if len(left) > 0 {
		names := regionsOf(left, func(i rollout.Interface) string { return i.Region })
		inVPC := slices.DeleteFunc(slices.Clone(going), func(g rollout.Removal) bool { return !slices.Contains(names, g.Region) })
		if p, err = r.leaveVPCs(ctx, p, inVPC); err != nil {
			return err
		}
	}
	return r.apply(ctx, p)
}

// interfaces returns Lambda's network interfaces for the functions that are removed.
func (r *rolloutRun) interfaces(ctx context.Context, going []rollout.Removal) ([]rollout.Interface, error) {
	r.p.doing("asking for Lambda's network interfaces")
	left, err := r.root.Interfaces(ctx, going)
	if err != nil {
		err = fmt.Errorf("find out whether Lambda has network interfaces in a VPC, which needs the right ec2:DescribeNetworkInterfaces: %w", err)
	}
	return left, err
}

// stopIncidents stops the incidents of regions that are removed, and until end is
// called those that begin: the rules that start them stand for a while.
func (r *rolloutRun) stopIncidents(ctx context.Context, going []rollout.Removal) (end func(), err error) {
	told := map[string]bool{}
	stop := func(ctx context.Context) error {
		stopped, err := r.root.StopIncidents(ctx, going)
		// The list of executions lags behind: one that was stopped may be in it again.
		stopped = slices.DeleteFunc(stopped, func(u rollout.UnderWay) bool { return told[u.ExecutionARN] })
		for _, u := range stopped {
			told[u.ExecutionARN] = true
		}
		r.result.Stopped = append(r.result.Stopped, stopped...)
		r.tellIncidents(stopped, "stopped; look after these instances yourself: %s")
		return err
	}
	if err := stop(ctx); err != nil {
		return nil, err
	}
	// An interrupted apply still finishes, and so does this.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	said := map[string]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(stopPause):
				if err := stop(ctx); err != nil && ctx.Err() == nil && !said[err.Error()] {
					said[err.Error()] = true
					r.say("%v", err)
				}
			}
		}
	})
	return func() { cancel(); wg.Wait() }, nil
}

// leaveVPCs deletes the functions of regions in which Lambda has network interfaces in
// a VPC, waits until Lambda has deleted these, for which it needs the functions' roles,
// and returns the plan of the rest. A region whose function cannot be deleted keeps all
// that is left.
func (r *rolloutRun) leaveVPCs(ctx context.Context, shown *rollout.Plan, going []rollout.Removal) (*rollout.Plan, error) {
	agreed, err := r.root.Digests(ctx, shown)
	if err != nil {
		return nil, err
	}
	functions, err := r.root.PlanFunctions(ctx, going)
	if err != nil {
		return nil, err
	}
	if err := r.agree(ctx, functions, shown, agreed); err != nil {
		return nil, err
	}
	if err := r.apply(ctx, functions); err != nil {
		return nil, err
	}
	failed := r.failed()
	if err := r.awaitInterfaces(ctx, slices.DeleteFunc(going, func(g rollout.Removal) bool { return slices.Contains(failed, g.Region) })); err != nil {
		return nil, err
	}
	return r.again(ctx, regions.Without(shown.Regions, failed), shown, agreed)
}

// awaitInterfaces waits until Lambda has deleted its network interfaces, for
// interfacesTime at most.
func (r *rolloutRun) awaitInterfaces(ctx context.Context, going []rollout.Removal) error {
	began, told := time.Now(), time.Time{}
	for {
		left, err := r.root.Interfaces(ctx, going)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var ids []string
		for _, i := range left {
			ids = append(ids, i.Region+" "+i.ID)
		}
		switch names := strings.Join(ids, ", "); {
		case err == nil && len(left) == 0:
			return nil
		case err != nil && time.Since(began) > interfacesTime:
			return err
		case err != nil && time.Since(told) > interfacesTold:
			r.say("%v", err)
			told = time.Now()
		case err != nil:
		case time.Since(began) > interfacesTime:
			r.say("Lambda has not deleted its network interfaces within %.0f minutes, so the rest is deleted without waiting longer: %s. Another function may share them; delete those whose status is \"available\" with `aws ec2 delete-network-interface`", interfacesTime.Minutes(), names)
			return nil
		case time.Since(told) > interfacesTold:
			r.say("waiting for Lambda to delete its network interfaces, which takes up to %.0f minutes; the function's role stays until then: %s", interfacesTime.Minutes(), names)
			told = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(interfacesPause):
		}
	}
}

// pruneVersions deletes old versions of the functions that were deployed.
func (r *rolloutRun) pruneVersions(ctx context.Context, done []deployed.Region) {
	var wg sync.WaitGroup
	for _, d := range done {
		wg.Go(func() {
			p, err := r.root.PruneVersions(ctx, d)
			if len(p.Deleted) > 0 {
				r.say("%s: deleted old versions of the function: %s", d.Region, strings.Join(p.Deleted, ", "))
			}
			if len(p.Called) > 0 {
				r.say("%s: incidents under way call old versions of the function: %s; the next deploy deletes them", d.Region, strings.Join(p.Called, ", "))
			}
			if err != nil && ctx.Err() == nil {
				r.say("warning: %s: old versions of the function stay: %v", d.Region, err)
			}
		})
	}
	wg.Wait()
}
