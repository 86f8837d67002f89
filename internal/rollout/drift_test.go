package rollout

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfjson "github.com/hashicorp/terraform-json"
)

type values = map[string]any

func TestDrifted(t *testing.T) {
	update, noop := tfjson.Actions{tfjson.ActionUpdate}, tfjson.Actions{tfjson.ActionNoop}
	alarm := func(v values) values {
		all := values{"alarm_name": "firstline-alarm-i-0a1b2c3d-cpu", "threshold": 100.0, "tags": nil, "tags_all": values{"project": "firstline"}}
		maps.Copy(all, v)
		return all
	}
	for _, tt := range []struct {
		name   string
		kind   string
		drift  tfjson.Change
		wanted *tfjson.Change
		// sets is what the configuration sets, beside what wanted puts there.
		sets string
		want []string
	}{
		{
			name: "a number", kind: "aws_cloudwatch_metric_alarm",
			drift:  tfjson.Change{Actions: update, Before: alarm(nil), After: alarm(values{"threshold": 90.0})},
			wanted: &tfjson.Change{Actions: update, Before: alarm(values{"threshold": 90.0}), After: alarm(nil)},
			want:   []string{"alarm firstline-alarm-i-0a1b2c3d-cpu threshold 100 -> 90"},
		},
		{
			name: "what Terraform leaves alone is not told", kind: "aws_cloudwatch_metric_alarm",
			drift:  tfjson.Change{Actions: update, Before: alarm(nil), After: alarm(values{"threshold": 90.0, "ok_actions": []any{}})},
			wanted: &tfjson.Change{Actions: noop, Before: alarm(values{"threshold": 90.0}), After: alarm(values{"threshold": 90.0})},
		},
		{
			name: "only what would be put back", kind: "aws_cloudwatch_metric_alarm",
			drift:  tfjson.Change{Actions: update, Before: alarm(values{"alarm_actions": nil}), After: alarm(values{"threshold": 90.0, "alarm_actions": []any{}})},
			wanted: &tfjson.Change{Actions: update, Before: alarm(values{"threshold": 90.0, "alarm_actions": []any{}}), After: alarm(values{"alarm_actions": []any{}})},
			want:   []string{"alarm firstline-alarm-i-0a1b2c3d-cpu threshold 100 -> 90"},
		},
		{
			name: "tags, once", kind: "aws_cloudwatch_metric_alarm",
			drift:  tfjson.Change{Actions: update, Before: alarm(nil), After: alarm(values{"tags": values{"a": "b"}, "tags_all": values{"project": "firstline", "a": "b"}})},
			wanted: &tfjson.Change{Actions: update, Before: alarm(values{"tags": values{"a": "b"}, "tags_all": values{"project": "firstline", "a": "b"}}), After: alarm(nil)},
			want:   []string{`alarm firstline-alarm-i-0a1b2c3d-cpu tags.a none -> "b"`},
		},
		{
			name: "deleted", kind: "aws_ssm_parameter",
			drift:  tfjson.Change{Actions: tfjson.Actions{tfjson.ActionDelete}, Before: values{"name": "/firstline/instances/i-0a1b2c3d"}},
			wanted: &tfjson.Change{Actions: tfjson.Actions{tfjson.ActionCreate}},
			want:   []string{"parameter /firstline/instances/i-0a1b2c3d deleted"},
		},
		{
			name: "inside of a block", kind: "aws_lambda_function",
			drift: tfjson.Change{
				Actions: update,
				Before:  values{"function_name": "firstline", "environment": []any{values{"variables": values{"A": "1", "B": "2"}}}},
				After:   values{"function_name": "firstline", "environment": []any{values{"variables": values{"A": "1", "B": "3"}}}},
			},
			wanted: &tfjson.Change{
				Actions: update,
				Before:  values{"function_name": "firstline", "environment": []any{values{"variables": values{"A": "1", "B": "3"}}}},
				After:   values{"function_name": "firstline", "environment": []any{values{"variables": values{"A": "1", "B": "2"}}}},
			},
			want: []string{`function firstline environment.variables.B "2" -> "3"`},
		},
		{
			name: "inside of a policy", kind: "aws_iam_role_policy",
			drift: tfjson.Change{
				Actions: update,
				Before:  values{"role": "r", "policy": `{"Statement":[{"Action":"a"}],"Version":"2012-10-17"}`},
				After:   values{"role": "r", "policy": `{"Version":"2012-10-17","Statement":[{"Action":"*"}]}`},
			},
			wanted: &tfjson.Change{Actions: update, Before: values{"policy": "x"}, After: values{"policy": "y"}},
			want:   []string{`policy of role r policy.Statement.Action "a" -> "*"`},
		},
		{
			name: "sensitive", kind: "aws_ssm_parameter",
			drift: tfjson.Change{
				Actions: update, Before: values{"name": "p", "value": "old"}, After: values{"name": "p", "value": "new"},
				BeforeSensitive: values{"value": true},
			},
			wanted: &tfjson.Change{Actions: update, Before: values{"value": "new"}, After: values{"value": "old"}},
			want:   []string{"parameter p value changed (sensitive)"},
		},
		{
			name: "sensitive inside of a block", kind: "aws_thing",
			drift: tfjson.Change{
				Actions: update, Before: values{"id": "x", "auth": []any{values{"key": "old"}}}, After: values{"id": "x", "auth": []any{values{"key": "new"}}},
				AfterSensitive: values{"auth": []any{values{"key": true}}},
			},
			wanted: &tfjson.Change{Actions: update, Before: values{"auth": "new"}, After: values{"auth": "old"}},
			want:   []string{"a.b auth changed (sensitive)"},
		},
		{
			name: "marks of nothing", kind: "aws_thing",
			drift: tfjson.Change{
				Actions: update, Before: values{"id": "x", "tags": values{"a": "1"}}, After: values{"id": "x", "tags": values{"a": "2"}},
				AfterSensitive: values{"tags": values{}, "auth": []any{values{}}},
			},
			wanted: &tfjson.Change{Actions: update, Before: values{"tags": "2"}, After: values{"tags": "1"}},
			want:   []string{`a.b tags.a "1" -> "2"`},
		},
		{
			name: "computed only", kind: "aws_lambda_function",
			drift:  tfjson.Change{Actions: update, Before: values{"function_name": "f", "version": "1"}, After: values{"function_name": "f", "version": "2"}},
			wanted: &tfjson.Change{Actions: update, Before: values{"version": "2"}, After: values{}, AfterUnknown: values{"version": true}},
		},
		{
			name: "what would be put there is not known yet", kind: "aws_sfn_state_machine", sets: "definition",
			drift:  tfjson.Change{Actions: update, Before: values{"name": "f", "definition": "a", "revision_id": "1"}, After: values{"name": "f", "definition": "b", "revision_id": "2"}},
			wanted: &tfjson.Change{Actions: update, Before: values{"definition": "b", "revision_id": "2"}, After: values{}, AfterUnknown: values{"definition": true, "revision_id": true}},
			want:   []string{`state machine f definition "a" -> "b"`},
		},
		{
			name: "other code and a version less, which Terraform leaves alone", kind: "aws_lambda_function",
			drift:  tfjson.Change{Actions: update, Before: values{"function_name": "f", "version": "2", "code_sha256": "a", "last_modified": "m"}, After: values{"function_name": "f", "version": "1", "code_sha256": "b", "last_modified": "n"}},
			wanted: &tfjson.Change{Actions: noop, Before: values{"version": "1", "code_sha256": "b", "last_modified": "n"}, After: values{"version": "1", "code_sha256": "b", "last_modified": "n"}},
			want:   []string{`function f code_sha256 "a" -> "b"`, `function f version "2" -> "1"`},
		},
		{
			name: "an unknown kind", kind: "aws_new_thing",
			drift:  tfjson.Change{Actions: update, Before: values{"id": "x", "on": true, "list": []any{"a"}}, After: values{"id": "x", "on": false, "list": []any{"a", "b"}}},
			wanted: &tfjson.Change{Actions: update, Before: values{"on": false, "list": 1.0}, After: values{"on": true}},
			want:   []string{`a.b list none -> "b"`, "a.b on true -> false"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l lines
			l.drifted(&tfjson.ResourceChange{Address: "a.b", Type: tt.kind, Change: &tt.drift}, tt.wanted, map[string]*tfjson.Expression{tt.sets: {}})
			got := words(l.told())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// words are what the changes say.
func words(all []Change) []string {
	var told []string
	for _, c := range all {
		told = append(told, c.Words)
	}
	return told
}

// TestDriftedIsBounded shows that what was changed most does not hide the rest.
func TestDriftedIsBounded(t *testing.T) {
	environment := func(value string) []any {
		all := values{}
		for _, k := range "abcdefghijkl" {
			all[string(k)] = value
		}
		return []any{all}
	}
	before := values{"id": "x", "environment": environment("1"), "reserved_concurrent_executions": -1.0}
	after := values{"id": "x", "environment": environment("2"), "reserved_concurrent_executions": 0.0}
	drift := tfjson.Change{Actions: tfjson.Actions{tfjson.ActionUpdate}, Before: before, After: after}
	var l lines
	l.drifted(&tfjson.ResourceChange{Address: "a.b", Type: "aws_thing", Change: &drift}, &tfjson.Change{Actions: drift.Actions, Before: after, After: before}, nil)
	got := words(l.told())
	if len(got) != most+2 || got[most] != "a.b environment: 8 more changes" || got[most+1] != "a.b reserved_concurrent_executions -1 -> 0" {
		t.Errorf("got %q", got)
	}
}

func TestValueIsCut(t *testing.T) {
	long := ""
	for range 100 {
		long += "é"
	}
	if got := []rune(value(long)); len(got) != longest || got[longest-1] != '…' {
		t.Errorf("%d runes: %s", len(got), string(got))
	}
}
