package probe

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestChannelTakesItsSecrets: those of the environment, else those that are stored.
func TestChannelTakesItsSecrets(t *testing.T) {
	for _, tt := range []struct {
		name, given, stored string
		result              Result
		reason, said        string
	}{
		{"given", "given-key", "", Passed, "Jira Service Management takes its secret; nothing was sent", "GenieKey given-key"},
		{"stored", "", "stored-key", Passed, "Jira Service Management takes its secret; nothing was sent", "GenieKey stored-key"},
		{"neither", "", "unset", Errored, "TF_VAR_jsm_api_key is not set, and none is stored", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TF_VAR_jsm_api_key", tt.given)
			var mu sync.Mutex
			var said []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, req.Header.Get("Authorization"))
				switch {
				case req.Header.Get("X-Amz-Target") != "":
					w.Header().Set("Content-Type", "application/x-amz-json-1.1")
					_, _ = w.Write([]byte(`{"Parameter": {"Value": "` + tt.stored + `"}}`))
				default:
					w.WriteHeader(http.StatusAccepted)
					_, _ = w.Write([]byte(`{"result": "Request will be processed", "requestId": "r"}`))
				}
			}))
			defer server.Close()
			x := examination{region: "eu-west-1", ssm: ssm.New(ssm.Options{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("a", "b", ""))})}
			x.want.Name = "firstline"
			c := x.channel(t.Context(), Channel{
				Type: "jsm", Settings: map[string]any{"type": "jsm", "endpoint": server.URL},
				Secrets: map[string]Secret{"key_parameter": "jsm-api-key"},
			})
			if c.Result != tt.result || !strings.Contains(c.Reason, tt.reason) {
				t.Errorf("got %+v", c)
			}
			if all := strings.Join(said, "\n"); !strings.Contains(all, tt.said) {
				t.Errorf("authorized by\n%s", all)
			}
		})
	}
}
