package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/coverage"
	"firstline/internal/incident"
	"firstline/internal/probe"
	"firstline/internal/regions"
)

// wrongSettings says what modules/settings refuses: a plan would say it too, after a
// while and in Terraform's frame.
func wrongSettings(ctx context.Context, r *Root, destroy bool) ([]string, error) {
	if destroy {
		return nil, nil
	}
	s, err := r.readDesired(ctx)
	if err != nil {
		return nil, err
	}
	return s.Problems, nil
}

// missingInstances says which instances of the chosen regions are not there: a deploy
// would find that out when it has made some fifty resources. Where EC2 does not answer,
// it goes on.
func missingInstances(ctx context.Context, r *Root, destroy bool) ([]string, error) {
	if destroy {
		return nil, nil
	}
	s, err := r.readDesired(ctx)
	if err != nil {
		return nil, err
	}
	wanted := map[string][]string{}
	for _, region := range r.Chosen() {
		// What has no id's form is a problem of the settings.
		if ids := slices.DeleteFunc(s.Regions[region].IDs(), func(id string) bool { return !incident.ValidInstanceID(id) }); len(ids) > 0 {
			wanted[region] = ids
		}
	}
	found, mute, err := r.instances(ctx, wanted)
	if err != nil {
		return nil, err
	}
	r.tellMute(mute)
	lost := map[string][]string{} // by the region that the file names
	var reasons []string
	for region, ids := range wanted {
		for _, id := range ids {
			i, known := found[region][id]
			switch {
			case mute[region] != nil:
			case !known:
				lost[region] = append(lost[region], id)
			case i.State != nil && slices.Contains([]types.InstanceStateName{types.InstanceStateNameTerminated, types.InstanceStateNameShuttingDown}, i.State.Name):
				reasons = append(reasons, fmt.Sprintf("%s in %s is %s: take it out of the var file", id, region, i.State.Name))
			}
		}
	}
	elsewhere, err := r.elsewhere(ctx, s.Regions, lost)
	if err != nil {
		return nil, err
	}
	reasons = append(reasons, elsewhere...)
	slices.Sort(reasons)
	return reasons, nil
}

// tellMute says of which regions EC2 did not tell what instances there are.
func (r *Root) tellMute(mute map[string]error) {
	for _, region := range slices.Sorted(maps.Keys(mute)) {
		_, _ = fmt.Fprintf(r.o.Log, "firstline cannot tell whether the instances of %s exist (%s): that needs the right ec2:DescribeInstances\n", region, inOneLine(mute[region]))
	}
}

// elsewhere says of instances that are not in their region where they are.
func (r *Root) elsewhere(ctx context.Context, named map[string]probe.IntendedRegion, lost map[string][]string) ([]string, error) {
	if len(lost) == 0 {
		return nil, nil
	}
	all := slices.Sorted(maps.Keys(named))
	ask := map[string][]string{}
	for _, other := range all {
		for region, ids := range lost {
			if region != other {
				ask[other] = append(ask[other], ids...)
			}
		}
	}
	found, mute, err := r.instances(ctx, ask)
	if err != nil {
		return nil, err
	}
	where := map[string][]string{}
	for region, ids := range lost {
		for _, id := range ids {
			said := fmt.Sprintf("not in %s, and in none of the regions of the var files: correct the id, or take it out", region)
			if dark := slices.Sorted(maps.Keys(mute)); len(dark) > 0 {
				said = fmt.Sprintf("not in %s, and %s could not be asked: correct the region or the id", region, strings.Join(dark, ", "))
			}
			for _, other := range all {
				if _, is := found[other][id]; is && other != region {
					said = fmt.Sprintf("not in %s, but in %s: name it there", region, other)
				}
			}
			where[said] = append(where[said], id)
		}
	}
	var reasons []string
	for said, ids := range where {
		slices.Sort(ids)
		reasons = append(reasons, strings.Join(ids, ", ")+": "+said)
	}
	return reasons, nil
}

// instances asks EC2 for instances in some regions, each for a while. mute are the
// regions that did not tell; the error is that ctx has ended or that there are no
// credentials.
func (r *Root) instances(ctx context.Context, ids map[string][]string) (found map[string]map[string]types.Instance, mute map[string]error, err error) {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return nil, nil, err
	}
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	found, mute = map[string]map[string]types.Instance{}, map[string]error{}
	for region, ids := range ids {
		wg.Go(func() {
			asked, cancel := context.WithTimeout(ctx, identifyTime)
			defer cancel()
			all, err := coverage.Instances(asked, ec2.NewFromConfig(probing(config, region)), regions.Union(ids))
			mu.Lock()
			defer mu.Unlock()
			if found[region] = all; err != nil {
				mute[region] = err
			}
		})
	}
	wg.Wait()
	return found, mute, ctx.Err()
}
