package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	gocmp "github.com/google/go-cmp/cmp"

	"firstline/internal/probe"
)

// intended are the settings of regions, space-separated, with Slack, pagers and a
// heartbeat.
func intended(names, pagers string) *desired {
	s := &desired{SecretsVersion: 1}
	s.Name = "firstline"
	s.Regions = map[string]probe.IntendedRegion{}
	for name := range strings.FieldsSeq(names) {
		s.Regions[name] = probe.IntendedRegion{}
	}
	secrets := map[string]map[string]probe.Secret{
		"opsgenie": {"key_parameter": "opsgenie-api-key"}, "jsm": {"key_parameter": "jsm-api-key"}, "heartbeat": {"key_parameter": "heartbeat-url"},
		"pagerduty": {"key_parameter": "pagerduty-routing-key"}, "jsm+token": {"key_parameter": "jsm-api-key", "token_parameter": "jsm-api-token"}, //nolint:gosec // their names
	}
	s.Channels = []probe.Channel{{Type: "slack", Secrets: map[string]probe.Secret{"token": "slack-token"}}}
	for name := range strings.FieldsSeq(pagers) {
		s.Channels = append(s.Channels, probe.Channel{Type: name, Secrets: secrets[name]})
	}
	return s
}

func TestMissingSecrets(t *testing.T) {
	const slack, opsgenie = "/firstline/secrets/slack-token", "/firstline/secrets/opsgenie-api-key"
	denied := &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not 100% yours"}
	for _, tt := range []struct {
		name    string
		regions string // of the var files; both are chosen
		pagers  string
		given   string  // names of the environment, without TF_VAR_
		version float64 // secrets_version
		// stored are the parameters that are there, NAME=VALUE; "?" is denied.
		stored           string
		missing, unclear []string
		destroy          bool
	}{
		{name: "all given, all new", regions: "eu-west-1", given: "slack_token opsgenie_api_key"},
		{
			name: "new, and one is not given", regions: "eu-west-1 us-east-1", given: "slack_token",
			missing: []string{"TF_VAR_opsgenie_api_key is not set, and no value is stored in eu-west-1, us-east-1: export it and run this again"},
		},
		{name: "all stored", regions: "eu-west-1", stored: slack + "=a " + opsgenie + "=b"},
		{
			name: "one is not stored", regions: "eu-west-1", stored: slack + "=a " + opsgenie + "=unset",
			missing: []string{"TF_VAR_opsgenie_api_key is not set, and no value is stored in eu-west-1: export it and run this again"},
		},
		{
			name: "a pager is chosen anew", regions: "eu-west-1", pagers: "jsm sns", stored: slack + "=a " + opsgenie + "=b",
			missing: []string{"TF_VAR_jsm_api_key is not set, and no value is stored in eu-west-1: export it and run this again"},
		},
		{name: "a pager is chosen anew, with its key", regions: "eu-west-1", pagers: "jsm sns", given: "jsm_api_key", stored: slack + "=a"},
		{
			name: "a pager is chosen without its secret, one with one of two, and a heartbeat without its URL", regions: "eu-west-1", pagers: "pagerduty jsm+token heartbeat", stored: slack + "=a", given: "jsm_api_key",
			missing: []string{
				"TF_VAR_heartbeat_url is not set, and no value is stored in eu-west-1: export it and run this again",
				"TF_VAR_jsm_api_token is not set, and no value is stored in eu-west-1: export it and run this again",
				"TF_VAR_pagerduty_routing_key is not set, and no value is stored in eu-west-1: export it and run this again",
			},
		},
		{
			name: "of each region its own is stored", regions: "eu-west-1 us-east-1", pagers: "heartbeat", given: "heartbeat_url",
			stored:  slack + "=a /firstline/secrets/heartbeat-url=https://hush/eu-west-1 /firstline/secrets-version/stored=1",
			unclear: []string{"TF_VAR_heartbeat_url is set, but this would not store it in us-east-1, where another is stored: raise secrets_version in the var file, with all secrets set"},
		},
		{name: "no pager that needs one", regions: "eu-west-1", pagers: "sns", stored: slack + "=a"},
		{
			name: "given, and would not be written", regions: "eu-west-1", given: "slack_token opsgenie_api_key",
			stored:  slack + "=hush " + opsgenie + "=unset /firstline/secrets-version/stored=1",
			missing: []string{"TF_VAR_opsgenie_api_key is set, but this would not store it in eu-west-1, where no value is: raise secrets_version in the var file, with all secrets set"},
		},
		{
			name: "given, and another is stored", regions: "eu-west-1", given: "slack_token opsgenie_api_key",
			stored:  slack + "=a " + opsgenie + "=hush /firstline/secrets-version/stored=1",
			unclear: []string{"TF_VAR_slack_token is set, but this would not store it in eu-west-1, where another is stored: raise secrets_version in the var file, with all secrets set"},
		},
		{
			name: "given, and written again", regions: "eu-west-1", given: "slack_token opsgenie_api_key", version: 2,
			stored: slack + "=unset " + opsgenie + "=unset /firstline/secrets-version/stored=1",
		},
		{
			name: "reading is denied", regions: "eu-west-1", stored: "?",
			unclear: []string{
				"TF_VAR_opsgenie_api_key is not set, and firstline cannot tell whether a value is stored in eu-west-1: AccessDeniedException: not 100% yours",
				"TF_VAR_slack_token is not set, and firstline cannot tell whether a value is stored in eu-west-1: AccessDeniedException: not 100% yours",
			},
		},
		{name: "reading is denied, and all are given", regions: "eu-west-1", given: "slack_token opsgenie_api_key", stored: "?"},
		{name: "a region that is removed", regions: "us-east-1", given: "slack_token opsgenie_api_key"},
		{name: "everything is removed", regions: "eu-west-1", destroy: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"slack_token", "opsgenie_api_key", "jsm_api_key", "jsm_api_token", "pagerduty_routing_key", "heartbeat_url"} {
				value := ""
				if slices.Contains(strings.Fields(tt.given), name) {
					value = map[bool]string{false: "hush", true: "https://hush/{region}"}[name == "heartbeat_url"]
				}
				t.Setenv("TF_VAR_"+name, value)
			}
			r := held(t, "eu-west-1", "us-east-1")
			r.desired = intended(tt.regions, cmp.Or(tt.pagers, "opsgenie"))
			r.desired.SecretsVersion = cmp.Or(tt.version, 1)
			r.status = map[string]*Status{"eu-west-1": {}, "us-east-1": {}}
			var log strings.Builder
			r.o.Log = &log
			r.parameter = func(_ context.Context, _, name string) (string, bool, error) {
				if tt.stored == "?" {
					return "", false, fmt.Errorf("operation error SSM: %w", denied)
				}
				for entry := range strings.FieldsSeq(tt.stored) {
					if key, value, _ := strings.Cut(entry, "="); key == name {
						return value, true, nil
					}
				}
				return "", false, nil
			}
			missing, err := missingSecrets(t.Context(), r, tt.destroy)
			if err != nil {
				t.Error(err)
			}
			if diff := gocmp.Diff(tt.missing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(tt.unclear, slices.Collect(strings.SplitSeq(strings.TrimSuffix(log.String(), "\n"), "\n"))); diff != "" && (log.Len() > 0 || tt.unclear != nil) {
				t.Errorf("unclear (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingSecretsInterrupted(t *testing.T) {
	t.Setenv("TF_VAR_slack_token", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := held(t, "eu-west-1")
	r.o.Log, r.status, r.desired = io.Discard, map[string]*Status{"eu-west-1": {}}, intended("eu-west-1", "")
	r.parameter = func(ctx context.Context, _, _ string) (string, bool, error) { return "", false, ctx.Err() }
	if _, err := missingSecrets(ctx, r, false); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestReadParameter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		answer string
		value  string
		want   bool
		err    string
	}{
		{"stored", 200, `{"Parameter": {"Value": "xoxb-hush"}}`, "xoxb-hush", true, ""},
		{"not there", 400, `{"__type": "ParameterNotFound"}`, "", false, ""},
		{"denied", 400, `{"__type": "AccessDeniedException", "message": "not authorized to perform ssm:GetParameter"}`, "", false, "AccessDeniedException: not authorized to perform ssm:GetParameter"},
		{"no parameter", 200, `{}`, "", false, "SSM answered without the parameter"},
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
			value, got, err := r.readParameter(t.Context(), "eu-west-1", "/firstline/secrets/slack-token")
			if value != tt.value || got != tt.want || err == nil && tt.err != "" || err != nil && inOneLine(err) != tt.err {
				t.Errorf("got %v, %v, want %v, %q", got, err, tt.want, tt.err)
			}
		})
	}
}
