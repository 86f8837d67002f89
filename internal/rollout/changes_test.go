package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
	tfjson "github.com/hashicorp/terraform-json"
)

// resource is a change in a plan of the resource at an address, such as
// TYPE.NAME["KEY"].
func resource(address string, c tfjson.Change) *tfjson.ResourceChange {
	kind, name, _ := strings.Cut(address, ".")
	name, key, keyed := strings.Cut(name, "[")
	made := &tfjson.ResourceChange{Address: "module.eu-west-1[0].module.m." + address, Mode: tfjson.ManagedResourceMode, Type: kind, Name: name, Change: &c}
	if keyed {
		made.Index = strings.Trim(key, `"]`)
	}
	return made
}

// altered is a change of these values beside those that stay.
func altered(stay, before, after values) tfjson.Change {
	c := tfjson.Change{Actions: tfjson.Actions{tfjson.ActionUpdate}, Before: maps.Clone(stay), After: maps.Clone(stay)}
	maps.Copy(c.Before.(values), before)
	maps.Copy(c.After.(values), after)
	return c
}

func created(after values) tfjson.Change {
	return tfjson.Change{Actions: tfjson.Actions{tfjson.ActionCreate}, After: after}
}

func deleted(before values) tfjson.Change {
	return tfjson.Change{Actions: tfjson.Actions{tfjson.ActionDelete}, Before: before}
}

func unchanged(of values) tfjson.Change {
	return tfjson.Change{Actions: tfjson.Actions{tfjson.ActionNoop}, Before: of, After: of}
}

func TestChanges(t *testing.T) {
	const alarm, settings = `aws_cloudwatch_metric_alarm.trigger["%s-cpu"]`, `aws_ssm_parameter.settings[%q]`
	policy := func(arns string) values {
		return values{"policy": `{"Statement":[{"Sid":"Log","Action":"a"},{"Sid":"Reboot","Resource":` + arns + `}]}`}
	}
	arn := func(id string) string { return `"arn:aws:ec2:eu-west-1:123456789012:instance/` + id + `"` }
	tags := func(version, team string) values {
		all := values{"project": "firstline"}
		for k, v := range map[string]string{"version": version, "team": team} {
			if v != "" {
				all[k] = v
			}
		}
		return values{"tags_all": all}
	}
	instance := func(id string, c tfjson.Change) []*tfjson.ResourceChange {
		return []*tfjson.ResourceChange{resource(fmt.Sprintf(alarm, id), c), resource(fmt.Sprintf(settings, id), c)}
	}
	function, queue := values{"function_name": "f"}, values{"name": "q"}
	code := func(hash, version string) values {
		all := tags(version, "")
		maps.Copy(all, values{"s3_key": hash + ".zip", "source_code_hash": hash, "version": "1"})
		return all
	}
	for _, tt := range []struct {
		name string
		all  []*tfjson.ResourceChange
		want []string
	}{
		{
			name: "an instance comes and one goes, and the rights on them with them",
			all: append(append(instance("i-0b", created(values{})), instance("i-0a", deleted(values{}))...),
				resource("aws_iam_role_policy.function", altered(values{"role": "r"}, policy("["+arn("i-0a")+","+arn("i-0c")+"]"), policy("["+arn("i-0b")+","+arn("i-0c")+"]")))),
			want: []string{"i-0a is no longer watched", "i-0b is watched from now on"},
		},
		{
			name: "other rights are told",
			all: append(instance("i-0b", created(values{})),
				resource("aws_iam_role_policy.function", altered(values{"role": "r"}, policy(arn("i-0a")), policy(`["*",`+arn("i-0a")+`,`+arn("i-0b")+`]`)))),
			want: []string{"i-0b is watched from now on", `policy of role r policy.Statement.Reboot.Resource none -> ["*","arn:aws:ec2:eu-west-1:123456789012:instance/i-0b"]`},
		},
		{
			name: "one of an instance's resources",
			all: []*tfjson.ResourceChange{
				resource(fmt.Sprintf(alarm, "i-0a"), created(values{})), resource(fmt.Sprintf(settings, "i-0a"), unchanged(values{})),
			},
			want: []string{"adds alarm cpu of i-0a"},
		},
		{
			name: "the same of many instances is one line",
			all: []*tfjson.ResourceChange{
				resource(fmt.Sprintf(alarm, "i-0a"), altered(values{}, values{"threshold": 100.0}, values{"threshold": 95.0})),
				resource(fmt.Sprintf(alarm, "i-0c"), altered(values{}, values{"threshold": 100.0}, values{"threshold": 95.0})),
				resource(fmt.Sprintf(alarm, "i-0b"), altered(values{}, values{"threshold": 90.0}, values{"threshold": 95.0})),
				resource(fmt.Sprintf(settings, "i-0a"), altered(values{}, values{"value": "a", "insecure_value": `{"reboot":{"dry_run":false}}`}, values{"value": "b", "insecure_value": `{"reboot":{"dry_run":true}}`})),
			},
			want: []string{
				"alarm cpu threshold of 2 instances (i-0a, i-0c) 100 -> 95", "alarm cpu threshold of i-0b 90 -> 95",
				"settings of i-0a: reboot.dry_run false -> true",
			},
		},
		{
			name: "a release",
			all: []*tfjson.ResourceChange{
				resource("aws_lambda_function.responder", func() tfjson.Change {
					c := altered(function, code("h1", "0.1.0"), code("h2", "0.2.0"))
					delete(c.After.(values), "version")
					c.AfterUnknown = values{"version": true}
					return c
				}()),
				resource("aws_s3_object.code", tfjson.Change{Actions: tfjson.Actions{tfjson.ActionDelete, tfjson.ActionCreate}, Before: values{"key": "h1.zip"}, After: values{"key": "h2.zip"}}),
				resource("aws_sfn_state_machine.responder", tfjson.Change{Actions: tfjson.Actions{tfjson.ActionUpdate}, Before: values{"name": "m", "definition": "{}"}, After: values{"name": "m"}, AfterUnknown: values{"definition": true}}),
			},
			want: []string{"the function's code 0.1.0 -> 0.2.0", "known only after the apply: definition of state machine m"},
		},
		{
			name: "a release with a probe",
			all: []*tfjson.ResourceChange{
				resource("aws_lambda_function.probe", altered(values{"function_name": "p"}, code("h1", ""), code("h2", ""))),
				resource("aws_lambda_function.responder", altered(function, code("h1", "0.1.0"), code("h2", "0.2.0"))),
				resource("aws_s3_object.code", tfjson.Change{Actions: tfjson.Actions{tfjson.ActionDelete, tfjson.ActionCreate}, Before: values{"key": "h1.zip"}, After: values{"key": "h2.zip"}}),
			},
			want: []string{"the function's code 0.1.0 -> 0.2.0"},
		},
		{
			name: "the probe's code was changed by hand",
			all:  []*tfjson.ResourceChange{resource("aws_lambda_function.probe", altered(values{"function_name": "p"}, code("h2", ""), code("h1", "")))},
			want: []string{`function p s3_key "h2.zip" -> "h1.zip"`, `function p source_code_hash "h2" -> "h1"`},
		},
		{
			name: "the version alone", all: []*tfjson.ResourceChange{resource("aws_lambda_function.responder", altered(function, code("h1", "0.1.0"), code("h1", "0.2.0")))},
			want: []string{"the function's version 0.1.0 -> 0.2.0; its code stays"},
		},
		{
			name: "the code alone", all: []*tfjson.ResourceChange{resource("aws_lambda_function.responder", altered(function, code("h1", "0.1.0"), code("h2", "0.1.0")))},
			want: []string{"the function's code changes; its version stays 0.1.0"},
		},
		{
			name: "tags in one line",
			all: []*tfjson.ResourceChange{
				resource("aws_sqs_queue.q", altered(queue, tags("", ""), tags("", "ops"))),
				resource("aws_sns_topic.t", altered(values{"name": "t"}, tags("", ""), tags("", "ops"))),
			},
			want: []string{`tags of 2 resources: team none -> "ops"`},
		},
		{
			name: "tags of one",
			all:  []*tfjson.ResourceChange{resource("aws_sqs_queue.q", altered(queue, tags("", ""), tags("", "ops")))},
			want: []string{`tags of 1 resource: team none -> "ops"`},
		},
		{
			name: "secrets stay secret",
			all: []*tfjson.ResourceChange{resource("aws_ssm_parameter.secret", func() tfjson.Change {
				c := altered(values{"name": "p"}, values{"value": "hush", "value_wo_version": 1.0}, values{"value": "hush2", "value_wo_version": 2.0})
				c.BeforeSensitive = values{"value": true}
				return c
			}())},
			want: []string{"parameter p value changed (sensitive)", "parameter p value_wo_version 1 -> 2"},
		},
		{
			name: "what nobody has words for",
			all: []*tfjson.ResourceChange{
				resource("aws_new_thing.x", altered(values{"id": "x"}, values{"on": true}, values{"on": false})),
				resource("aws_sqs_queue.q", tfjson.Change{Actions: tfjson.Actions{tfjson.ActionForget}, Before: queue}),
			},
			want: []string{"module.eu-west-1[0].module.m.aws_new_thing.x on true -> false", "module.eu-west-1[0].module.m.aws_sqs_queue.q: [forget]"},
		},
		{
			name: "a table is replaced",
			all: []*tfjson.ResourceChange{resource("aws_dynamodb_table.t", tfjson.Change{
				Actions: tfjson.Actions{tfjson.ActionDelete, tfjson.ActionCreate},
				Before:  values{"name": "t", "hash_key": "pk", "arn": "a", "stream": ""}, After: values{"name": "t", "hash_key": "id", "stream": nil}, AfterUnknown: values{"arn": true},
			}), resource("aws_sns_topic.t", unchanged(nil))},
			want: []string{"lost: table t", `replaces table t`, `table t hash_key "pk" -> "id"`},
		},
		{
			name: "part of a value is known later",
			all: []*tfjson.ResourceChange{resource("aws_lambda_function.responder", func() tfjson.Change {
				c := altered(function, values{"environment": []any{values{"A": "1", "B": "1"}}}, values{"environment": []any{values{"B": "2"}}})
				c.AfterUnknown = values{"environment": []any{values{"A": true}}}
				return c
			}())},
			want: []string{`function f environment.A "1" -> "known after the apply"`, `function f environment.B "1" -> "2"`},
		},
		{
			name: "a region comes",
			all:  append(instance("i-0a", created(values{})), resource("aws_lambda_function.responder", created(code("h1", "0.2.0"))), resource("aws_sqs_queue.q", created(queue))),
			want: []string{"firstline 0.2.0 is deployed: 2 resources", "i-0a is watched from now on"},
		},
		{
			name: "a region goes",
			all: append(instance("i-0a", deleted(values{})), resource("aws_lambda_function.responder", deleted(code("h1", "0.2.0"))),
				resource("aws_dynamodb_table.t", deleted(values{"name": "t"}))),
			want: []string{"lost: table t", "firstline 0.2.0 is removed: 2 resources", "i-0a is no longer watched"},
		},
		{
			name: "the rest of a removal", all: []*tfjson.ResourceChange{resource("aws_sqs_queue.q", deleted(queue))},
			want: []string{"the rest of firstline is removed: 1 resource"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := changesOf(tt.all, func(c *tfjson.ResourceChange, v map[string]any) *Change {
				if c.Type != "aws_dynamodb_table" {
					return nil
				}
				return &Change{form: "lost: " + about(c, v).whole, rank: losing}
			})
			if diff := cmp.Diff(tt.want, words(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if raw, err := json.Marshal(got); err != nil || strings.Contains(string(raw), "hush") {
				t.Errorf("as JSON: %s, %v", raw, err)
			}
		})
	}
}

// TestLost asks what is lost with a table and a queue.
func TestLost(t *testing.T) {
	for _, tt := range []struct {
		kind, answer string
		status       int
		want         string
	}{
		{"aws_dynamodb_table", `{"Table":{"ItemCount":41}}`, 200, "removes table x with about 41 records of incidents and instances (DynamoDB counts every six hours)"},
		{"aws_sqs_queue", `{"Attributes":{"ApproximateNumberOfMessages":"2","ApproximateNumberOfMessagesNotVisible":"1"}}`, 200, "removes queue x with about 3 events that started no incident"},
		{"aws_sqs_queue", `{"__type":"AccessDeniedException","message":"no"}`, 400, "removes queue x with all events that started no incident, not counted: AccessDeniedException: no"},
		{"aws_sns_topic", "", 0, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.answer)
		}))
		r := held(t, "eu-west-1")
		r.o.AWS = func(context.Context) (aws.Config, error) {
			return aws.Config{BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}, nil
		}
		got := r.lost(t.Context(), "eu-west-1", &tfjson.ResourceChange{Type: tt.kind}, values{"name": "x", "url": server.URL + "/x"})
		if got == nil && tt.want != "" || got != nil && got.form != tt.want {
			t.Errorf("%s: got %+v, want %q", tt.kind, got, tt.want)
		}
		server.Close()
	}
}
