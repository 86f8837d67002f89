package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Change is one thing that a plan does, or that was done outside of Terraform.
type Change struct {
	// Words tell it in one line, with the first few of many instances.
	Words string `json:"words"`
	// Action is add, change or remove.
	Action string `json:"action"`
	// Attribute is what changes, "" where resources are added or removed.
	Attribute string `json:"attribute,omitempty"`
	// Before and After are its values, left out where they are none, sensitive, or
	// known only after the apply.
	Before any `json:"before,omitempty"`
	After  any `json:"after,omitempty"`
	// Count is about how many records or events are lost.
	Count *int64 `json:"count,omitempty"`
	// Instances are those that it concerns, sorted.
	Instances []string `json:"instances,omitempty"`
	// Resources are Terraform's addresses, sorted.
	Resources []string `json:"resources,omitempty"`

	// form is Words with {who} for the instances and {list} for list.
	form string
	list []string
	rank rank
}

// What a Change does.
const (
	adds    = "add"
	alters  = "change"
	removes = "remove"
)

// rank orders the changes of a region: what cannot be undone first, what only follows
// last.
type rank int

const (
	losing rank = iota
	watching
	ofInstances
	ofRegion
	following
)

// Line is the change in words, with all of what it names or with the first few.
func (c *Change) Line(all bool) string {
	name := some
	if all {
		name = func(names []string) string { return strings.Join(names, ", ") }
	}
	who, form := strings.Join(c.Instances, ""), c.form
	if len(c.Instances) > 1 {
		who = fmt.Sprintf("%d instances (%s)", len(c.Instances), name(c.Instances))
		form = strings.Replace(form, "{who} is ", "{who} are ", 1)
	}
	return strings.Replace(strings.Replace(form, "{who}", who, 1), "{list}", name(c.list), 1)
}

// lines collects the changes of a region.
type lines struct {
	found []Change
	same  map[string]int // index in found, by what is the same but for the instances
}

// add adds a change, or adds its instances to the one that is the same.
func (l *lines) add(c Change) {
	if len(c.Instances) > 0 {
		if l.same == nil {
			l.same = map[string]int{}
		}
		if n, ok := l.same[c.Action+c.form]; ok {
			f := &l.found[n]
			f.Instances, f.Resources = append(f.Instances, c.Instances...), append(f.Resources, c.Resources...)
			return
		}
		l.same[c.Action+c.form] = len(l.found)
	}
	l.found = append(l.found, c)
}

// told returns the changes in their order.
func (l *lines) told() []Change {
	for n := range l.found {
		c := &l.found[n]
		slices.Sort(c.Instances)
		slices.Sort(c.Resources)
		c.Instances, c.Resources = slices.Compact(c.Instances), slices.Compact(c.Resources)
		c.Words = c.Line(false)
	}
	slices.SortStableFunc(l.found, func(a, b Change) int {
		if a.rank != b.rank {
			return int(a.rank - b.rank)
		}
		return strings.Compare(a.Words, b.Words)
	})
	return l.found
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
	"aws_s3_bucket_policy":                    "policy of bucket",
	"aws_s3_object":                           "object",
	"aws_sfn_state_machine":                   "state machine",
	"aws_sns_topic":                           "topic",
	"aws_sns_topic_policy":                    "policy of topic",
	"aws_sns_topic_subscription":              "subscription",
	"aws_sqs_queue":                           "queue",
	"aws_ssm_parameter":                       "parameter",
}

// names are the attributes that name a resource, the best first.
var names = []string{"alarm_name", "dashboard_name", "function_name", "rule", "role", "name", "key", "bucket", "endpoint", "id"}

// subject is what a change is about. whole names the resource, part what changes of
// it, which {what} stands for; {who} stands for the instance.
type subject struct{ whole, part, instance string }

// about returns the subject of a resource: an instance's alarms and settings
// (terraform/modules/watch) are the instance's, all others have names. One of a kind
// that operators have no word for is named as Terraform does.
func about(c *tfjson.ResourceChange, values map[string]any) subject {
	id, _ := c.Index.(string)
	switch c.Type + "." + c.Name {
	case "aws_cloudwatch_metric_alarm.trigger":
		last := max(0, strings.LastIndexByte(id, '-')) // INSTANCE-TRIGGER
		alarm := "alarm " + strings.TrimPrefix(id[last:], "-")
		return subject{alarm + " of {who}", alarm + " {what} of {who}", id[:last]}
	case "aws_ssm_parameter.settings":
		return subject{"settings of {who}", "settings of {who}: {what}", id}
	}
	title := c.Address
	for _, n := range names {
		if name, ok := values[n].(string); ok && name != "" && kinds[c.Type] != "" {
			title = kinds[c.Type] + " " + name
			break
		}
	}
	return subject{title, title + " {what}", ""}
}

// change makes a change of the resource.
func (s subject) change(c *tfjson.ResourceChange, action, form string) Change {
	made := Change{Action: action, Resources: []string{c.Address}, form: form, rank: ofRegion}
	if s.instance != "" {
		made.Instances, made.rank = []string{s.instance}, ofInstances
	}
	return made
}

// altered makes a change of one of the resource's attributes.
func (s subject) altered(c *tfjson.ResourceChange, attribute string, was, is any) Change {
	part := strings.Replace(s.part, "{what}", attribute, 1)
	made := s.change(c, alters, fmt.Sprintf("%s %s -> %s", part, value(was), value(is)))
	made.Attribute, made.Before, made.After = attribute, was, is
	return made
}

// secret makes a change of an attribute whose values nobody may see.
func (s subject) secret(c *tfjson.ResourceChange, attribute string) Change {
	made := s.change(c, alters, strings.Replace(s.part, "{what}", attribute, 1)+" changed (sensitive)")
	made.Attribute = attribute
	return made
}

// most is how many changes inside of one attribute of a resource are told.
const most = 4

// altered adds what changes inside of an attribute, but for what is told elsewhere.
func (l *lines) altered(c *tfjson.ResourceChange, s subject, attribute string, was, is any, elsewhere func(at string, was, is any) bool) {
	var inside []Change
	differences(attribute, was, is, func(at string, was, is any) {
		if elsewhere == nil || !elsewhere(at, was, is) {
			inside = append(inside, s.altered(c, path(at), was, is))
		}
	})
	for n, one := range inside {
		if left := len(inside) - n; n >= most && left > 1 {
			form := strings.TrimRight(strings.Replace(s.part, "{what}", path(attribute), 1), ": ")
			l.add(s.change(c, alters, fmt.Sprintf("%s: %d more changes", form, left)))
			return
		}
		l.add(one)
	}
}

// isSensitive reads Terraform's marks: true for a whole, or a map for its parts.
func isSensitive(c *tfjson.Change, attribute string) bool {
	for _, marks := range []any{c.BeforeSensitive, c.AfterSensitive} {
		switch m := marks.(type) {
		case bool:
			if m {
				return true
			}
		case map[string]any:
			if marked(m[attribute]) {
				return true
			}
		}
	}
	return false
}

// marked reports whether anything in a mark is true.
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

// path is how an operator names an attribute, or a part of it: the settings are all
// that an instance's parameter holds.
func path(at string) string {
	if part, ok := strings.CutPrefix(at, "tags_all"); ok {
		return "tags" + part
	}
	return strings.TrimPrefix(strings.TrimPrefix(at, "insecure_value"), ".")
}

// twice reports whether another attribute holds what this one does: tags are there
// once more with those of the provider, and what is no secret once more as if it were.
func twice(attribute string, before, after map[string]any) bool {
	return attribute == "tags" && after["tags_all"] != nil ||
		attribute == "value" && !reflect.DeepEqual(before["insecure_value"], after["insecure_value"])
}

// differences walks two values and tells where they differ. Text that is JSON on
// both sides, such as a policy, is walked too. Lists of plain values are sets to it,
// and statements of a policy are known by their Sid.
func differences(path string, was, is any, tell func(path string, was, is any)) {
	if a, b, ok := documents(was, is); ok {
		was, is = a, b
	}
	if a, b, ok := bySid(was, is); ok {
		was, is = a, b
	}
	if reflect.DeepEqual(was, is) {
		return
	}
	a, isMap := was.(map[string]any)
	b, isMapToo := is.(map[string]any)
	if isMap && isMapToo {
		for _, k := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))))) {
			differences(path+"."+k, a[k], b[k], tell)
		}
		return
	}
	left, isList := was.([]any)
	right, isListToo := is.([]any)
	switch {
	case !isList && !isListToo:
		tell(path, was, is)
	case scalars(was) && scalars(is):
		gone, come := without(was, is), without(is, was)
		if gone == nil && come == nil {
			gone, come = was, is // another order
		}
		tell(path, gone, come)
	case !isList || !isListToo:
		tell(path, was, is)
	case len(left) == 1 && len(right) == 1:
		differences(path, left[0], right[0], tell) // blocks that there is one of need no number
	default:
		for n := range max(len(left), len(right)) {
			differences(path+"."+strconv.Itoa(n), at(left, n), at(right, n), tell)
		}
	}
}

// at is an element of a list, nil beyond its end.
func at(list []any, n int) any {
	if n < len(list) {
		return list[n]
	}
	return nil
}

// items are a list's elements; of a plain value itself, which policies write for a list
// of one.
func items(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

// scalars reports whether a value, or all of a list's, is neither list nor map.
func scalars(v any) bool {
	return !slices.ContainsFunc(items(v), func(one any) bool {
		switch one.(type) {
		case []any, map[string]any:
			return true
		}
		return false
	})
}

// without returns what a list holds and another does not: nil, a value or a list.
func without(list, other any) any {
	var left []any
	for _, one := range items(list) {
		if !slices.Contains(items(other), one) {
			left = append(left, one)
		}
	}
	switch len(left) {
	case 0:
		return nil
	case 1:
		return left[0]
	}
	return left
}

// bySid makes maps of two lists of statements.
func bySid(was, is any) (a, b any, ok bool) {
	of := func(v any) map[string]any {
		all := map[string]any{}
		list, _ := v.([]any)
		for _, one := range list {
			statement, _ := one.(map[string]any)
			sid, _ := statement["Sid"].(string)
			if _, twice := all[sid]; sid == "" || twice {
				return nil
			}
			all[sid] = statement
		}
		return all
	}
	left, right := of(was), of(is)
	return left, right, len(left) > 0 && len(right) > 0
}

// documents returns two texts as the JSON documents that they are.
func documents(was, is any) (a, b any, ok bool) {
	for _, pair := range []struct {
		text any
		into *any
	}{{was, &a}, {is, &b}} {
		text, _ := pair.text.(string)
		if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") || json.Unmarshal([]byte(text), pair.into) != nil {
			return nil, nil, false
		}
	}
	return a, b, true
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
