package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	tfjson "github.com/hashicorp/terraform-json"
)

// Changes returns what a plan does, per region. It asks AWS how much is lost with what
// the plan deletes.
func (r *Root) Changes(ctx context.Context, p *Plan) (map[string][]Change, error) {
	if p.Empty() {
		return nil, nil
	}
	plan, err := r.showPlan(ctx, p)
	if err != nil {
		return nil, err
	}
	resources := map[string][]*tfjson.ResourceChange{}
	for _, c := range plan.ResourceChanges {
		if region := r.regionOf(c.Address); region != "" && c.Mode == tfjson.ManagedResourceMode {
			resources[region] = append(resources[region], c)
		}
	}
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all = map[string][]Change{}
	)
	for region, changes := range resources {
		wg.Go(func() {
			told := changesOf(changes, func(c *tfjson.ResourceChange, values map[string]any) *Change { return r.lost(ctx, region, c, values) })
			mu.Lock()
			defer mu.Unlock()
			if len(told) > 0 {
				all[region] = told
			}
		})
	}
	wg.Wait()
	return all, ctx.Err()
}

// planning makes words of a region's part of a plan.
type planning struct {
	lines
	// come and gone are the instances that are watched from now on, and those that no
	// longer are, with their resources.
	come, gone map[string][]string
	// whole collects the resources when the whole region is added, or removed.
	whole *Change
	// release is the change of the function's code or version.
	release *Change
	// tags and late collect what changes of tags, and what is known only after the
	// apply.
	tags, late Change
}

// changesOf returns what is done to the resources of a region. lost returns what is lost
// with one of them, nil for nothing.
func changesOf(all []*tfjson.ResourceChange, lost func(*tfjson.ResourceChange, map[string]any) *Change) []Change {
	l := &planning{come: map[string][]string{}, gone: map[string][]string{}}
	l.survey(all)
	for _, c := range all {
		before, _ := c.Change.Before.(map[string]any)
		switch a := c.Change.Actions; {
		case a.NoOp(), a.Read():
		case a.Update():
			l.updated(c)
		case a.Delete(), a.Replace():
			if gone := lost(c, before); gone != nil {
				l.add(*gone)
			}
			l.made(c)
		case a.Create():
			l.made(c)
		default: // what Terraform may learn to do
			l.add(Change{Action: alters, Resources: []string{c.Address}, form: fmt.Sprintf("%s: %v", c.Address, a), rank: ofRegion})
		}
	}
	l.sum()
	return l.told()
}

// survey finds what is more than the sum of its resources: a region, an instance, a
// release.
func (l *planning) survey(all []*tfjson.ResourceChange) {
	version, of := "the rest of firstline", map[string][]*tfjson.ResourceChange{}
	for _, c := range all {
		s := about(c, nil)
		if s.instance != "" {
			of[s.instance] = append(of[s.instance], c)
		}
		if c.Type == "aws_lambda_function" && c.Name == "responder" {
			version = strings.TrimSpace("firstline " + cmp.Or(versionOf(c.Change.After), versionOf(c.Change.Before)))
			l.release = releaseOf(c)
		}
	}
	switch wholly(all) {
	case adds:
		l.whole = &Change{Action: adds, form: version + " is deployed", rank: watching}
	case removes:
		l.whole = &Change{Action: removes, form: version + " is removed", rank: watching}
	}
	for id, changes := range of {
		for _, c := range changes {
			switch wholly(changes) {
			case adds:
				l.come[id] = append(l.come[id], c.Address)
			case removes:
				l.gone[id] = append(l.gone[id], c.Address)
			}
		}
	}
}

// wholly returns what happens to all resources, "" if it is not the same.
func wholly(all []*tfjson.ResourceChange) string {
	switch {
	case !slices.ContainsFunc(all, func(c *tfjson.ResourceChange) bool { return !c.Change.Actions.Create() }):
		return adds
	case !slices.ContainsFunc(all, func(c *tfjson.ResourceChange) bool { return !c.Change.Actions.Delete() }):
		return removes
	}
	return ""
}

// versionOf is the version that the function has as a tag.
func versionOf(function any) string {
	values, _ := function.(map[string]any)
	for _, tags := range []string{"tags_all", "tags"} {
		all, _ := values[tags].(map[string]any)
		if version, ok := all["version"].(string); ok {
			return version
		}
	}
	return ""
}

// codeOf are the attributes of the function that change with its code alone.
var codeOf = []string{"s3_key", "s3_object_version", "source_code_hash"}

// releaseOf tells what becomes of the function's code, nil for nothing.
func releaseOf(c *tfjson.ResourceChange) *Change {
	if !c.Change.Actions.Update() {
		return nil
	}
	before, _ := c.Change.Before.(map[string]any)
	after, _ := c.Change.After.(map[string]any)
	made := Change{Action: alters, Attribute: "version", Before: versionOf(before), After: versionOf(after), Resources: []string{c.Address}, rank: ofRegion}
	code := slices.ContainsFunc(codeOf, func(a string) bool { return !reflect.DeepEqual(before[a], after[a]) })
	switch {
	case code && made.Before != made.After:
		made.form = fmt.Sprintf("the function's code %s -> %s", made.Before, made.After)
	case code:
		made.form = fmt.Sprintf("the function's code changes; its version stays %s", made.After)
	case made.Before != made.After:
		made.form = fmt.Sprintf("the function's version %s -> %s; its code stays", made.Before, made.After)
	default:
		return nil
	}
	return &made
}

// made adds that a resource is added, removed or replaced.
func (l *planning) made(c *tfjson.ResourceChange) {
	before, _ := c.Change.Before.(map[string]any)
	after, _ := c.Change.After.(map[string]any)
	s := about(c, before)
	switch a := c.Change.Actions; {
	// What is told as one:
	case l.come[s.instance] != nil, l.gone[s.instance] != nil:
	case l.whole != nil:
		l.whole.Resources = append(l.whole.Resources, c.Address)
	case a.Replace() && c.Type == "aws_s3_object" && l.release != nil:
		l.release.Resources = append(l.release.Resources, c.Address) // a package is named by its hash
	case a.Replace():
		l.add(s.change(c, alters, "replaces "+s.whole))
		l.updated(c)
	case a.Delete():
		l.add(s.change(c, removes, "removes "+s.whole))
	default:
		s = about(c, after)
		l.add(s.change(c, adds, "adds "+s.whole))
	}
}

// computed are the attributes that AWS sets itself whenever a resource changes.
var computed = []string{"arn", "code_sha256", "etag", "id", "last_modified", "qualified_arn", "qualified_invoke_arn", "source_code_size", "state_machine_version_arn", "version", "version_id"}

// updated adds what changes of a resource.
func (l *planning) updated(c *tfjson.ResourceChange) {
	before, _ := c.Change.Before.(map[string]any)
	after, _ := c.Change.After.(map[string]any)
	unknown, _ := c.Change.AfterUnknown.(map[string]any)
	s := about(c, before)
	for _, attribute := range slices.Sorted(maps.Keys(before)) {
		was, is := before[attribute], overlay(after[attribute], unknown[attribute])
		_, late := is.(later)
		switch {
		case twice(attribute, before, after), reflect.DeepEqual(was, is), late && slices.Contains(computed, attribute):
		case c.Change.Actions.Replace() && (late || empty(was) && empty(is)):
			// A new resource has everything anew.
		case isSensitive(c.Change, attribute):
			l.add(s.secret(c, attribute))
		case late:
			l.late.list = append(l.late.list, attribute+" of "+strings.ReplaceAll(strings.TrimPrefix(s.whole, attribute+" of "), "{who}", s.instance))
			l.late.Resources = append(l.late.Resources, c.Address)
		default:
			l.altered(c, s, attribute, was, is, func(at string, was, is any) bool { return l.elsewhere(c, at, was, is) })
		}
	}
}

// elsewhere reports whether another line tells of a difference, and adds it there.
func (l *planning) elsewhere(c *tfjson.ResourceChange, at string, was, is any) bool {
	if c.Type == "aws_lambda_function" && l.release != nil && (slices.Contains(codeOf, at) || path(at) == "tags.version") {
		l.release.Resources = append(l.release.Resources, c.Address) // the probe's code too
		return true
	}
	if tag, ok := strings.CutPrefix(path(at), "tags."); ok {
		l.tags.list = append(l.tags.list, fmt.Sprintf("%s %s -> %s", tag, value(was), value(is)))
		l.tags.Resources = append(l.tags.Resources, c.Address)
		return true
	}
	// The rights on an instance come and go with it.
	return strings.HasPrefix(at, "policy.") && l.moves(was, l.gone, c.Address) && l.moves(is, l.come, c.Address)
}

// moves reports whether a value of a policy, or all of a list, are ARNs of instances
// that come, or go, and counts the policy among what comes or goes with these.
func (l *planning) moves(v any, with map[string][]string, policy string) bool {
	var ids []string
	for _, one := range items(v) {
		arn, _ := one.(string)
		_, id, _ := strings.Cut(arn, ":instance/")
		if with[id] == nil {
			return false
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		with[id] = append(with[id], policy)
	}
	return true
}

// sum adds what was collected.
func (l *planning) sum() {
	for id, resources := range l.come {
		l.add(Change{Action: adds, Instances: []string{id}, Resources: resources, form: "{who} is watched from now on", rank: watching})
	}
	for id, resources := range l.gone {
		l.add(Change{Action: removes, Instances: []string{id}, Resources: resources, form: "{who} is no longer watched", rank: watching})
	}
	if l.whole != nil {
		l.whole.form += ": " + resources(len(l.whole.Resources))
		l.add(*l.whole)
	}
	if l.release != nil {
		l.add(*l.release)
	}
	for _, c := range []*Change{&l.tags, &l.late} {
		slices.Sort(c.list)
		slices.Sort(c.Resources)
		c.list, c.Resources = slices.Compact(c.list), slices.Compact(c.Resources)
		c.Action, c.rank = alters, following
	}
	l.tags.form, l.late.form = "tags of "+resources(len(l.tags.Resources))+": {list}", "known only after the apply: {list}"
	for _, c := range []Change{l.tags, l.late} {
		if len(c.list) > 0 {
			l.add(c)
		}
	}
}

// resources says how many there are.
func resources(n int) string {
	if n == 1 {
		return "1 resource"
	}
	return fmt.Sprintf("%d resources", n)
}

// later stands for a value that is known only after the apply.
type later struct{}

func (later) MarshalText() ([]byte, error) { return []byte("known after the apply"), nil }

// overlay puts later into a value where Terraform marks it as unknown.
func overlay(v, unknown any) any {
	switch u := unknown.(type) {
	case bool:
		if u {
			return later{}
		}
	case map[string]any:
		if !marked(u) {
			break
		}
		values, _ := v.(map[string]any)
		values = maps.Clone(values)
		if values == nil {
			values = map[string]any{}
		}
		for k := range u {
			values[k] = overlay(values[k], u[k])
		}
		return values
	case []any:
		if !marked(u) {
			break
		}
		list, _ := v.([]any)
		values := make([]any, max(len(list), len(u)))
		for n := range values {
			values[n] = overlay(at(list, n), at(u, n))
		}
		return values
	}
	return v
}

// empty reports whether a value says nothing: resources that are read back have "" and
// false where new ones have null.
func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return v == nil || v == "" || v == false
}

// lostTime bounds the question how much is lost.
const lostTime = 15 * time.Second

// lost says what is lost with a resource that is deleted, nil for nothing that anybody
// would miss.
func (r *Root) lost(ctx context.Context, region string, c *tfjson.ResourceChange, values map[string]any) *Change {
	var of string
	var count func(context.Context, aws.Config) (int64, error)
	switch c.Type {
	case "aws_dynamodb_table":
		// What DynamoDB counts itself: reading the records would need a right on them.
		of = "records of incidents and instances (DynamoDB counts every six hours)"
		count = func(ctx context.Context, config aws.Config) (int64, error) {
			name, _ := values["name"].(string)
			out, err := dynamodb.NewFromConfig(config).DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
			if err != nil || out.Table == nil {
				return 0, cmp.Or(err, errors.New("DynamoDB answered without the table"))
			}
			return aws.ToInt64(out.Table.ItemCount), nil
		}
	case "aws_sqs_queue":
		of = "events that started no incident"
		count = func(ctx context.Context, config aws.Config) (int64, error) {
			url, _ := values["url"].(string)
			kinds := []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible}
			out, err := sqs.NewFromConfig(config).GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: kinds})
			if err != nil {
				return 0, err
			}
			var sum int64
			for _, kind := range kinds {
				n, err := strconv.ParseInt(out.Attributes[string(kind)], 10, 64)
				if err != nil {
					return 0, err
				}
				sum += n
			}
			return sum, nil
		}
	default:
		return nil
	}
	s := about(c, values)
	made := s.change(c, removes, "removes "+s.whole+" with all "+of)
	made.rank = losing
	config, err := r.o.AWS(ctx)
	if err == nil {
		var n int64
		ctx, cancel := context.WithTimeout(ctx, lostTime)
		defer cancel()
		if n, err = count(ctx, probing(config, region)); err == nil {
			made.Count = &n
			made.form = fmt.Sprintf("removes %s with about %d %s", s.whole, n, of)
		}
	}
	if err != nil {
		made.form += ", not counted: " + inOneLine(err)
	}
	return &made
}
