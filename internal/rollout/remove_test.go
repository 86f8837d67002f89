package rollout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemovals(t *testing.T) {
	const (
		machine  = "module.%s[0].module.workflow.aws_sfn_state_machine.responder"
		function = "module.%s[0].module.function.aws_lambda_function.responder"
		rights   = "module.%s[0].module.function.aws_iam_role_policy.function"
		others   = "module.%s[0].module.workflow.aws_iam_role_policy.workflow"
	)
	for _, tt := range []struct {
		name    string
		changes []string // of eu-west-1, as an action and an address
		want    []Removal
	}{
		{name: "nothing"},
		{
			name:    "all of it",
			changes: []string{"delete " + machine, "delete " + function, "delete " + rights, "delete " + others},
			want:    []Removal{{Region: "eu-west-1", machine: "arn:m", function: fmt.Sprintf(function, "eu-west-1"), rights: true}},
		},
		{name: "the rest, after an interrupt", changes: []string{"delete " + rights}, want: []Removal{{Region: "eu-west-1", rights: true}}},
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
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Removal{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
