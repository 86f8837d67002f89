package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/tfvars"
)

// vars are variables that name Slack, regions, space-separated, and pagers: "" is
// OpsGenie alone.
func vars(t *testing.T, names, pagers string) tfvars.Vars {
	t.Helper()
	text := "regions = {\n"
	for name := range strings.FieldsSeq(names) {
		text += fmt.Sprintf("  %q = {}\n", name)
	}
	if pagers == "" {
		pagers = `["opsgenie"]`
	}
	text += "}\nslack = {}\npagers = " + pagers + "\n"
	file := filepath.Join(t.TempDir(), "r.tfvars")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := tfvars.Load(t.TempDir(), []string{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMissingSecrets(t *testing.T) {
	secret := func(action, region, name string) string {
		return fmt.Sprintf("%s module.%s[0].module.function.aws_ssm_parameter.secret[%q]", action, region, name)
	}
	denied := &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not 100% yours"}
	for _, tt := range []struct {
		name    string
		regions string // of the var files
		pagers  string
		given   string // names of the environment, without TF_VAR_
		plan    Plan
		// stored are the names with a value; those of "?" are denied.
		stored           string
		missing, unclear []string
		asked            string
	}{
		{
			name: "all given, all new", regions: "eu-west-1", given: "slack_token opsgenie_api_key",
			plan: Plan{Regions: []string{"eu-west-1"}, Changes: map[string][]string{"eu-west-1": {secret("create", "eu-west-1", "slack-token"), secret("create", "eu-west-1", "opsgenie-api-key")}}},
		},
		{
			name: "new, and one is not given", regions: "eu-west-1 us-east-1", given: "slack_token",
			plan: Plan{Regions: []string{"eu-west-1", "us-east-1"}, Changes: map[string][]string{
				"eu-west-1": {secret("create", "eu-west-1", "slack-token"), secret("create", "eu-west-1", "opsgenie-api-key")},
				"us-east-1": {secret("create", "us-east-1", "slack-token"), secret("replace", "us-east-1", "opsgenie-api-key")},
			}},
			missing: []string{"TF_VAR_opsgenie_api_key is not set, and no value is stored in eu-west-1, us-east-1: export it and run this again"},
		},
		{
			name: "one is not given, the other one is: new here, updated there", regions: "eu-west-1 us-east-1", given: "opsgenie_api_key",
			plan: Plan{Regions: []string{"eu-west-1", "us-east-1"}, Changes: map[string][]string{
				"us-east-1": {secret("create", "us-east-1", "slack-token"), secret("create", "us-east-1", "opsgenie-api-key")},
				"eu-west-1": {secret("create", "eu-west-1", "slack-token"), secret("update", "eu-west-1", "opsgenie-api-key")},
			}},
			missing: []string{"TF_VAR_slack_token is not set, and no value is stored in eu-west-1, us-east-1: export it and run this again"},
		},
		{
			name: "a region that exists, all stored", regions: "eu-west-1",
			plan: Plan{Regions: []string{"eu-west-1"}}, stored: "/firstline/secrets/slack-token /firstline/secrets/opsgenie-api-key",
			asked: "/firstline/secrets/opsgenie-api-key /firstline/secrets/slack-token",
		},
		{
			name: "a region that exists, one is not stored", regions: "eu-west-1",
			plan: Plan{Regions: []string{"eu-west-1"}}, stored: "/firstline/secrets/slack-token",
			missing: []string{"TF_VAR_opsgenie_api_key is not set, and no value is stored in eu-west-1: export it and run this again"},
			asked:   "/firstline/secrets/opsgenie-api-key /firstline/secrets/slack-token",
		},
		{
			name: "a pager is chosen anew", regions: "eu-west-1", pagers: `["jsm", "sns"]`,
			plan: Plan{Regions: []string{"eu-west-1"}, Changes: map[string][]string{"eu-west-1": {
				secret("create", "eu-west-1", "jsm-api-key"), secret("delete", "eu-west-1", "opsgenie-api-key"),
			}}}, stored: "/firstline/secrets/slack-token",
			missing: []string{"TF_VAR_jsm_api_key is not set, and no value is stored in eu-west-1: export it and run this again"},
			asked:   "/firstline/secrets/slack-token",
		},
		{
			name: "no pager that needs one", regions: "eu-west-1", pagers: `["sns"]`,
			plan: Plan{Regions: []string{"eu-west-1"}}, stored: "/firstline/secrets/slack-token",
			asked: "/firstline/secrets/slack-token",
		},
		{
			name: "given, and would not be written", regions: "eu-west-1", given: "slack_token opsgenie_api_key",
			plan: Plan{Regions: []string{"eu-west-1"}, Changes: map[string][]string{"eu-west-1": {"update module.eu-west-1[0].x"}}}, stored: "/firstline/secrets/slack-token",
			missing: []string{"TF_VAR_opsgenie_api_key is set, but this would not store it in eu-west-1, where no value is: raise secrets_version in the var file, with all secrets set"},
			asked:   "/firstline/secrets/opsgenie-api-key /firstline/secrets/slack-token",
		},
		{
			name: "given, and written again", regions: "eu-west-1", given: "slack_token opsgenie_api_key",
			plan: Plan{Regions: []string{"eu-west-1"}, Changes: map[string][]string{"eu-west-1": {
				secret("update", "eu-west-1", "slack-token"), secret("update", "eu-west-1", "opsgenie-api-key"),
			}}},
		},
		{
			name: "tags change, nothing is given", regions: "eu-west-1",
			plan: Plan{Regions: []string{"eu-west-1"}, Changes: map[string][]string{"eu-west-1": {
				secret("update", "eu-west-1", "slack-token"), secret("update", "eu-west-1", "opsgenie-api-key"),
			}}}, stored: "/firstline/secrets/slack-token",
			missing: []string{"TF_VAR_opsgenie_api_key is not set, and no value is stored in eu-west-1: export it and run this again"},
			asked:   "/firstline/secrets/opsgenie-api-key /firstline/secrets/slack-token",
		},
		{
			name: "reading is denied", regions: "eu-west-1", plan: Plan{Regions: []string{"eu-west-1"}}, stored: "?",
			unclear: []string{
				"TF_VAR_opsgenie_api_key is not set, and firstline cannot tell whether a value is stored in eu-west-1: AccessDeniedException: not 100% yours",
				"TF_VAR_slack_token is not set, and firstline cannot tell whether a value is stored in eu-west-1: AccessDeniedException: not 100% yours",
			},
			asked: "/firstline/secrets/opsgenie-api-key /firstline/secrets/slack-token",
		},
		{
			name: "reading is denied, and all are given", regions: "eu-west-1", given: "slack_token opsgenie_api_key",
			plan: Plan{Regions: []string{"eu-west-1"}}, stored: "?",
			asked: "/firstline/secrets/opsgenie-api-key /firstline/secrets/slack-token",
		},
		{
			name: "a region that is removed", regions: "us-east-1", given: "slack_token opsgenie_api_key",
			plan: Plan{Regions: []string{"eu-west-1"}, Changes: map[string][]string{"eu-west-1": {secret("delete", "eu-west-1", "slack-token")}}},
		},
		{name: "everything is removed", regions: "eu-west-1", plan: Plan{Regions: []string{"eu-west-1"}, Destroy: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"slack_token", "opsgenie_api_key", "jsm_api_key"} {
				value := ""
				if slices.Contains(strings.Fields(tt.given), name) {
					value = "hush"
				}
				t.Setenv("TF_VAR_"+name, value)
			}
			r := held(t, "eu-west-1", "us-east-1")
			r.vars = vars(t, tt.regions, tt.pagers)
			var mu sync.Mutex
			var asked []string
			r.storedSecret = func(_ context.Context, _, name string) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, name)
				if tt.stored == "?" {
					return false, fmt.Errorf("operation error SSM: %w", denied)
				}
				return slices.Contains(strings.Fields(tt.stored), name), nil
			}
			missing, unclear, err := r.MissingSecrets(t.Context(), &tt.plan)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.missing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.unclear, unclear); diff != "" {
				t.Errorf("unclear (-want +got):\n%s", diff)
			}
			slices.Sort(asked)
			if got := strings.Join(asked, " "); got != tt.asked {
				t.Errorf("asked for %q, want %q", got, tt.asked)
			}
		})
	}
}

func TestMissingSecretsInterrupted(t *testing.T) {
	t.Setenv("TF_VAR_slack_token", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := held(t, "eu-west-1")
	r.vars = vars(t, "eu-west-1", "")
	r.storedSecret = func(ctx context.Context, _, _ string) (bool, error) { return false, ctx.Err() }
	if _, _, err := r.MissingSecrets(ctx, &Plan{Regions: []string{"eu-west-1"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What a secret's value is stays with SSM: only whether there is one is told.
func TestReadSecret(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		answer string
		want   bool
		err    string
	}{
		{"stored", 200, `{"Parameter": {"Value": "xoxb-hush"}}`, true, ""},
		{"never given a value", 200, `{"Parameter": {"Value": "unset"}}`, false, ""},
		{"empty", 200, `{"Parameter": {"Value": ""}}`, false, ""},
		{"not there", 400, `{"__type": "ParameterNotFound"}`, false, ""},
		{"denied", 400, `{"__type": "AccessDeniedException", "message": "not authorized to perform ssm:GetParameter"}`, false, "AccessDeniedException: not authorized to perform ssm:GetParameter"},
		{"no parameter", 200, `{}`, false, "SSM answered without the parameter"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(req.Body)
				if got := string(body); !strings.Contains(got, `"WithDecryption":true`) || !strings.Contains(got, `"/firstline/secrets/slack-token"`) {
					t.Errorf("asked for %s", got)
				}
				if got := req.Header.Get("Authorization"); !strings.Contains(got, "/eu-west-1/ssm/") {
					t.Errorf("asked as %s", got)
				}
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer server.Close()
			r := held(t, "eu-west-1")
			r.o.AWS = func(context.Context) (aws.Config, error) {
				return aws.Config{BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}, nil
			}
			got, err := r.readSecret(t.Context(), "eu-west-1", "/firstline/secrets/slack-token")
			if got != tt.want || err == nil && tt.err != "" || err != nil && inOneLine(err) != tt.err {
				t.Errorf("got %v, %v, want %v, %q", got, err, tt.want, tt.err)
			}
		})
	}
}
