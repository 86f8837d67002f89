package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tfjson "github.com/hashicorp/terraform-json"
)

// Drift returns what was changed outside of Terraform, per region, and which instances
// are gone. It leaves out what Terraform does not set itself, but for what Lambda runs.
func (r *Root) Drift(ctx context.Context, p *Plan) (map[string][]Change, error) {
	plan, err := r.showPlan(ctx, p)
	if err != nil {
		return nil, err
	}
	wanted := map[string]*tfjson.Change{}
	for _, c := range plan.ResourceChanges {
		wanted[c.Address] = c.Change
	}
	found, err := r.goneInstances(ctx, p.Regions)
	if err != nil {
		return nil, err
	}
	for _, c := range plan.ResourceDrift {
		region := r.regionOf(c.Address)
		if region == "" {
			continue
		}
		if found[region] == nil {
			found[region] = &lines{}
		}
		found[region].drifted(c, wanted[c.Address], configured(plan.Config, c))
	}
	drift := map[string][]Change{}
	for region, l := range found {
		if told := l.told(); len(told) > 0 {
			drift[region] = told
		}
	}
	return drift, nil
}

// goneInstances says which instances of the regions nothing is left to watch of. Where
// EC2 does not tell, it says so.
func (r *Root) goneInstances(ctx context.Context, names []string) (map[string]*lines, error) {
	wanted, gone := map[string][]string{}, map[string]*lines{}
	for _, region := range names {
		if ids := r.vars.Instances(region); len(ids) > 0 {
			wanted[region] = ids
		}
	}
	found, mute, err := r.instances(ctx, wanted)
	if err != nil {
		return nil, err
	}
	r.tellMute(mute)
	for region, ids := range wanted {
		if mute[region] != nil {
			continue
		}
		gone[region] = &lines{}
		for _, id := range ids {
			form := ""
			switch i, known := found[region][id]; {
			case !known:
				form = "{who} is not there: take it out of the var file"
			case i.State != nil && i.State.Name == ec2types.InstanceStateNameTerminated:
				form = "{who} is terminated: take it out of the var file"
			default:
				continue
			}
			gone[region].add(Change{Action: removes, Instances: []string{id}, form: form, rank: watching})
		}
	}
	return gone, nil
}

// module matches the modules in an address.
var module = regexp.MustCompile(`module\.([^.\[]+)`)

// configured are the attributes of a resource that Terraform's configuration sets.
func configured(config *tfjson.Config, c *tfjson.ResourceChange) map[string]*tfjson.Expression {
	if config == nil {
		return nil
	}
	at := config.RootModule
	for _, m := range module.FindAllStringSubmatch(c.ModuleAddress, -1) {
		if at == nil || at.ModuleCalls[m[1]] == nil {
			return nil
		}
		at = at.ModuleCalls[m[1]].Module
	}
	if at == nil {
		return nil
	}
	for _, r := range at.Resources {
		if r.Mode == c.Mode && r.Type == c.Type && r.Name == c.Name {
			return r.Expressions
		}
	}
	return nil
}

// runs are the attributes that say what a function runs. Terraform sets neither: it
// uploads what it has not uploaded yet, and calls the newest version that there is.
var runs = []string{"code_sha256", "version"}

// drifted adds what was changed of one resource. wanted is what Terraform would do to
// it now, sets what it sets.
func (l *lines) drifted(c *tfjson.ResourceChange, wanted *tfjson.Change, sets map[string]*tfjson.Expression) {
	before, _ := c.Change.Before.(map[string]any)
	after, _ := c.Change.After.(map[string]any)
	s := about(c, before)
	if c.Change.Actions.Delete() || after == nil {
		l.add(s.change(c, removes, s.whole+" deleted"))
		return
	}
	if wanted == nil {
		return
	}
	has, _ := wanted.Before.(map[string]any)
	gets, _ := wanted.After.(map[string]any)
	unknown, _ := wanted.AfterUnknown.(map[string]any)
	// What Terraform would put back was its own to set. What it would put there may not
	// be known before another resource is changed.
	puts := func(attribute string) bool {
		if unknown[attribute] == true {
			return sets[attribute] != nil
		}
		return !reflect.DeepEqual(has[attribute], gets[attribute]) || c.Type == "aws_lambda_function" && slices.Contains(runs, attribute)
	}
	for _, attribute := range slices.Sorted(maps.Keys(before)) {
		switch {
		case twice(attribute, before, after), reflect.DeepEqual(before[attribute], after[attribute]), !puts(attribute):
		case isSensitive(c.Change, attribute):
			l.add(s.secret(c, attribute))
		default:
			l.altered(c, s, attribute, before[attribute], after[attribute], nil)
		}
	}
}

// Digests returns a digest of all changes of a plan per region: two plans with the
// same digest do the same there.
func (r *Root) Digests(ctx context.Context, p *Plan) (map[string]string, error) {
	plan, err := r.showPlan(ctx, p)
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	slices.SortFunc(plan.ResourceChanges, func(a, b *tfjson.ResourceChange) int { return strings.Compare(a.Address, b.Address) })
	for _, c := range plan.ResourceChanges {
		region := r.regionOf(c.Address)
		if region == "" || c.Mode != tfjson.ManagedResourceMode || c.Change.Actions.NoOp() {
			continue
		}
		text, err := json.Marshal(c.Change)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", digests[region], c.Address, text))
		digests[region] = hex.EncodeToString(sum[:])
	}
	return digests, nil
}

// showPlan reads a plan; one of no region changes nothing.
func (r *Root) showPlan(ctx context.Context, p *Plan) (*tfjson.Plan, error) {
	switch {
	case p.file == "":
		return &tfjson.Plan{}, nil
	case p.shown != nil:
		return p.shown, nil
	}
	plan, err := r.tf.ShowPlanFile(ctx, p.file)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		return nil, fmt.Errorf("terraform show: %w", tidy(err))
	}
	p.shown = plan
	return plan, nil
}
