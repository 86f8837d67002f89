package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	gocmp "github.com/google/go-cmp/cmp"
)

func TestRemovals(t *testing.T) {
	const (
		machine  = "module.%s[0].module.workflow.aws_sfn_state_machine.responder"
		function = "module.%s[0].module.function.aws_lambda_function.responder"
		rights   = "module.%s[0].module.function.aws_iam_role_policy.function"
		others   = "module.%s[0].module.workflow.aws_iam_role_policy.workflow"
		probe    = "module.%s[0].module.probe[0].aws_lambda_function.probe"
	)
	for _, tt := range []struct {
		name    string
		changes []string // of eu-west-1, as an action and an address
		want    []Removal
	}{
		{name: "nothing"},
		{
			name:    "all of it",
			changes: []string{"delete " + machine, "delete " + function, "delete " + rights, "delete " + others, "delete " + probe},
			want:    []Removal{{Region: "eu-west-1", machine: "arn:m", function: fmt.Sprintf(function, "eu-west-1"), rights: true}},
		},
		{name: "the rest, after an interrupt", changes: []string{"delete " + rights}, want: []Removal{{Region: "eu-west-1", rights: true}}},
		{name: "no other region asks it any more", changes: []string{"delete " + probe}},
		// Such as by another path: the function and its interfaces stay.
		{name: "the role is replaced", changes: []string{"replace " + rights, "replace " + others, "update " + function, "update " + machine}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Plan{file: "plan", Changes: map[string][]string{"us-east-1": {"create " + fmt.Sprintf(machine, "us-east-1")}}}
			var changes []string
			for _, change := range tt.changes {
				action, address, _ := strings.Cut(fmt.Sprintf(change, "eu-west-1"), " ")
				p.Changes["eu-west-1"] = append(p.Changes["eu-west-1"], action+" "+address)
				parts := strings.Split(address, ".")
				actions := map[string]string{"delete": `"delete"`, "replace": `"delete","create"`, "update": `"update"`}[action]
				changes = append(changes, fmt.Sprintf(`{"address":%q,"mode":"managed","type":%q,"name":%q,"change":{"actions":[%s],"before":{"arn":"arn:m"}}}`,
					address, parts[len(parts)-2], parts[len(parts)-1], actions))
			}
			r := played(t, map[string][]string{"show": {`{"format_version":"1.2","resource_changes":[` + strings.Join(changes, ",") + `]}`, "0"}}, "eu-west-1", "us-east-1")
			got, err := r.Removals(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.want, got, gocmp.AllowUnexported(Removal{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// stepFunctions is a region's Step Functions with running executions, 100 a page, the
// first of which is empty. It refuses the actions of refused: by code, or for the
// execution "0" alone.
type stepFunctions struct {
	running int
	refused map[string]string

	mu      sync.Mutex
	stopped int
}

func (f *stepFunctions) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	_, action, _ := strings.Cut(q.Header.Get("X-Amz-Target"), ".")
	var in struct{ NextToken, ExecutionArn string }
	_ = json.NewDecoder(q.Body).Decode(&in)
	if code := f.refused[action]; code != "" && (action != "StopExecution" || strings.HasSuffix(in.ExecutionArn, ":e0")) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, code)
		return
	}
	out := map[string]any{"startDate": 1.7e9, "stopDate": 1.7e9}
	switch action {
	case "ListExecutions":
		page := len(in.NextToken)
		var all []map[string]any
		for n := max(0, page-1) * 100; n < min(page*100, f.running); n++ {
			all = append(all, map[string]any{"executionArn": fmt.Sprintf("arn:aws:states:eu-west-1:123456789012:execution:firstline:e%d", n), "startDate": 1.7e9})
		}
		out["executions"] = all
		if page*100 < f.running {
			out["nextToken"] = strings.Repeat("x", page+1)
		}
	case "DescribeExecution":
		out["input"] = `{"source":"firstline.person","detail-type":"firstline look","account":"123456789012","region":"eu-west-1","time":"2026-01-01T00:00:00Z","detail":{"instance_id":"i-0a1b2c3d"}}`
	case "StopExecution":
		f.mu.Lock()
		f.stopped++
		f.mu.Unlock()
	}
	_ = json.NewEncoder(w).Encode(out)
}

// A storm is stopped to its end, also by somebody who may not learn whose incidents
// they are.
func TestStopIncidents(t *testing.T) {
	for _, tt := range []struct {
		name string
		*stepFunctions
		who     string
		stopped int
		err     string
	}{
		{name: "none", stepFunctions: &stepFunctions{}},
		{name: "a storm", stepFunctions: &stepFunctions{running: 250}, who: "i-0a1b2c3d", stopped: 250},
		{name: "nobody tells whose", stepFunctions: &stepFunctions{running: 250, refused: map[string]string{"DescribeExecution": "AccessDeniedException"}}, who: "execution e0", stopped: 250},
		{name: "one cannot be stopped", stepFunctions: &stepFunctions{running: 5, refused: map[string]string{"StopExecution": "AccessDeniedException"}}, who: "i-0a1b2c3d", stopped: 4, err: "eu-west-1: stop the incident of i-0a1b2c3d: AccessDeniedException: no"},
		{name: "they cannot be listed", stepFunctions: &stepFunctions{running: 5, refused: map[string]string{"ListExecutions": "AccessDeniedException"}}, err: "eu-west-1: AccessDeniedException: no"},
		{name: "the state machine is gone", stepFunctions: &stepFunctions{running: 5, refused: map[string]string{"ListExecutions": "StateMachineDoesNotExist"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.stepFunctions)
			defer server.Close()
			r := held(t, "eu-west-1")
			r.o.AWS = func(context.Context) (aws.Config, error) {
				return aws.Config{BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}, nil
			}
			got, err := r.StopIncidents(t.Context(), []Removal{{Region: "eu-west-1", machine: "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"}})
			if fmt.Sprint(err) != cmp.Or(tt.err, "<nil>") || len(got) != tt.stopped || tt.stepFunctions.stopped != tt.stopped {
				t.Errorf("%d of %d told, %v", len(got), tt.stepFunctions.stopped, err)
			}
			if len(got) > 0 && got[0].Who() != tt.who {
				t.Errorf("got %q, want %q", got[0].Who(), tt.who)
			}
		})
	}
}
