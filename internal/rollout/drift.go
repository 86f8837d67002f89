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
	"strconv"
	"strings"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tfjson "github.com/hashicorp/terraform-json"
)

// Drift returns what was changed outside of Terraform, in words, per region, and which
// instances are gone. It leaves out what Terraform does not set itself, but for what
// Lambda runs.
func (r *Root) Drift(ctx context.Context, p *Plan) (map[string][]string, error) {
	plan, err := r.showPlan(ctx, p)
	if err != nil {
		return nil, err
	}
	wanted := map[string]*tfjson.Change{}
	for _, c := range plan.ResourceChanges {
		wanted[c.Address] = c.Change
	}
	drift, err := r.goneInstances(ctx, p.Regions)
	if err != nil {
		return nil, err
	}
	for _, c := range plan.ResourceDrift {
		region := r.regionOf(c.Address)
		if words := changed(c, wanted[c.Address], configured(plan.Config, c)); region != "" && len(words) > 0 {
			drift[region] = append(drift[region], words...)
		}
	}
	for _, words := range drift {
		slices.Sort(words)
	}
	return drift, nil
}

// goneInstances says which instances of the regions nothing is left to watch of. Where
// EC2 does not tell, it says so.
func (r *Root) goneInstances(ctx context.Context, names []string) (map[string][]string, error) {
	wanted, gone := map[string][]string{}, map[string][]string{}
	for _, region := range names {
		if ids := r.vars.Instances(region); len(ids) > 0 {
			wanted[region] = ids
		}
	}
	found, mute, err := r.instances(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for region, ids := range wanted {
		if err := mute[region]; err != nil {
			_, _ = fmt.Fprintf(r.o.Log, "%s: cannot tell whether the instances exist (%s): that needs the right ec2:DescribeInstances\n", region, inOneLine(err))
			continue
		}
		for _, id := range ids {
			i, known := found[region][id]
			switch {
			case !known:
				gone[region] = append(gone[region], fmt.Sprintf("instance %s does not exist: take it out of the var file", id))
			case i.State != nil && i.State.Name == ec2types.InstanceStateNameTerminated:
				gone[region] = append(gone[region], fmt.Sprintf("instance %s terminated: take it out of the var file", id))
			}
		}
	}
	return gone, nil
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
	if p.file == "" {
		return &tfjson.Plan{}, nil
	}
	plan, err := r.tf.ShowPlanFile(ctx, p.file)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		return nil, fmt.Errorf("terraform show: %w", tidy(err))
	}
	return plan, nil
}

// kinds are what operators call the resources.
var kinds = map[string]string{
	"aws_cloudwatch_dashboard":                "dashboard",
	"aws_cloudwatch_event_rule":               "rule",
	"aws_cloudwatch_event_target":             "target of rule",
	"aws_cloudwatch_log_group":                "log group",
	"aws_cloudwatch_metric_alarm":             "alarm",
	"aws_dynamodb_table":                      "table",
	"aws_iam_policy":                          "policy",
	"aws_iam_role":                            "role",
	"aws_iam_role_policy":                     "policy of role",
	"aws_kms_key":                             "key",
	"aws_lambda_function":                     "function",
	"aws_lambda_function_event_invoke_config": "invocation of function",
	"aws_lambda_permission":                   "permission of function",
	"aws_s3_bucket":                           "bucket",
	"aws_s3_object":                           "object",
	"aws_sfn_state_machine":                   "state machine",
	"aws_sns_topic":                           "topic",
	"aws_sns_topic_policy":                    "policy of topic",
	"aws_sns_topic_subscription":              "subscription",
	"aws_sqs_queue":                           "queue",
	"aws_ssm_parameter":                       "parameter",
}

// names are the attributes that name a resource, the best first.
var names = []string{"alarm_name", "dashboard_name", "function_name", "rule", "role", "name", "bucket", "endpoint", "id"}

// title names a resource as an operator would.
func title(c *tfjson.ResourceChange, values map[string]any) string {
	kind := kinds[c.Type]
	if kind == "" {
		kind = strings.ReplaceAll(strings.TrimPrefix(c.Type, "aws_"), "_", " ")
	}
	for _, n := range names {
		if name, ok := values[n].(string); ok && name != "" {
			return kind + " " + name
		}
	}
	return kind + " " + c.Address
}

// most is how many changes inside of one attribute of a resource are told.
const most = 4

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

// changed tells what was changed of one resource. wanted is what Terraform would
// do to it now, sets what it sets.
func changed(c *tfjson.ResourceChange, wanted *tfjson.Change, sets map[string]*tfjson.Expression) []string {
	before, _ := c.Change.Before.(map[string]any)
	after, _ := c.Change.After.(map[string]any)
	what := title(c, before)
	if c.Change.Actions.Delete() || after == nil {
		return []string{what + " deleted"}
	}
	if wanted == nil {
		return nil
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
	var words []string
	for _, attribute := range slices.Sorted(maps.Keys(before)) {
		// Tags are there twice, once with those of the provider.
		if attribute == "tags" && after["tags_all"] != nil {
			continue
		}
		if reflect.DeepEqual(before[attribute], after[attribute]) || !puts(attribute) {
			continue
		}
		if isSensitive(c.Change.BeforeSensitive, attribute) || isSensitive(c.Change.AfterSensitive, attribute) {
			words = append(words, fmt.Sprintf("%s %s changed (sensitive)", what, attribute))
			continue
		}
		var inside []string
		name := strings.TrimSuffix(attribute, "_all")
		differences(name, before[attribute], after[attribute], func(path, was, is string) {
			inside = append(inside, fmt.Sprintf("%s %s %s -> %s", what, path, was, is))
		})
		if len(inside) > most+1 {
			inside = append(inside[:most], fmt.Sprintf("%s %s: %d more changes", what, name, len(inside)-most))
		}
		words = append(words, inside...)
	}
	return words
}

// isSensitive reads Terraform's marks: true for a whole, or a map for its parts.
func isSensitive(marks any, attribute string) bool {
	switch m := marks.(type) {
	case bool:
		return m
	case map[string]any:
		return marked(m[attribute])
	}
	return false
}

// marked reports whether anything in a mark is sensitive.
func marked(mark any) bool {
	switch m := mark.(type) {
	case bool:
		return m
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(m)), marked)
	case []any:
		return slices.ContainsFunc(m, marked)
	}
	return false
}

// differences walks two values and tells where they differ. Text that is JSON on
// both sides, such as a policy, is walked too.
func differences(path string, was, is any, tell func(path, was, is string)) {
	if a, b, ok := documents(was, is); ok {
		differences(path, a, b, tell)
		return
	}
	switch a := was.(type) {
	case map[string]any:
		if b, ok := is.(map[string]any); ok {
			all := slices.Sorted(maps.Keys(a))
			for k := range b {
				if _, ok := a[k]; !ok {
					all = append(all, k)
				}
			}
			slices.Sort(all)
			for _, k := range all {
				differences(path+"."+k, a[k], b[k], tell)
			}
			return
		}
	case []any:
		if b, ok := is.([]any); ok {
			for n := range max(len(a), len(b)) {
				var left, right any
				if n < len(a) {
					left = a[n]
				}
				if n < len(b) {
					right = b[n]
				}
				// Blocks that there is one of need no number.
				step := "." + strconv.Itoa(n)
				if len(a) == 1 && len(b) == 1 {
					step = ""
				}
				differences(path+step, left, right, tell)
			}
			return
		}
	}
	if !reflect.DeepEqual(was, is) {
		tell(path, value(was), value(is))
	}
}

// documents returns two texts as the JSON documents that they are.
func documents(was, is any) (a, b any, ok bool) {
	left, isText := was.(string)
	right, isTextToo := is.(string)
	if !isText || !isTextToo || !strings.HasPrefix(left, "{") || !strings.HasPrefix(right, "{") {
		return nil, nil, false
	}
	if json.Unmarshal([]byte(left), &a) != nil || json.Unmarshal([]byte(right), &b) != nil {
		return nil, nil, false
	}
	return a, b, !reflect.DeepEqual(a, b)
}

// longest is how much of a value is told, in runes: an ARN is whole.
const longest = 100

// value is a value in words.
func value(v any) string {
	var text string
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		text = strconv.Quote(v)
	case bool, float64, json.Number:
		text = fmt.Sprint(v)
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return "?"
		}
		text = string(raw)
	}
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return text
}
