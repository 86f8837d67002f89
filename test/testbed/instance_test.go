package testbed

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/toolchain"
	"firstline/test/localaws"
)

// callers is an environment that leads elsewhere.
var callers = map[string]string{
	"AWS_ENDPOINT_URL_SSM": "https://elsewhere.example.com", "AWS_USE_FIPS_ENDPOINT": "true", "AWS_PROFILE": "production",
	"TF_VAR_regions": "{}", "TF_CLI_ARGS": "-no-color", "TF_CLI_ARGS_apply": "-target=nothing", "TF_DATA_DIR": "/nowhere",
	"TF_WORKSPACE": "production", "TF_REATTACH_PROVIDERS": "{}",
}

func TestIsolate(t *testing.T) {
	for k, v := range callers {
		t.Setenv(k, v)
	}
	t.Setenv("TF_PLUGIN_CACHE_DIR", "/kept")
	if err := Isolate(); err != nil {
		t.Fatal(err)
	}
	for k := range callers {
		if v, ok := os.LookupEnv(k); ok {
			t.Errorf("%s is still %q", k, v)
		}
	}
	if os.Getenv("TF_PLUGIN_CACHE_DIR") != "/kept" || os.Getenv("PATH") == "" {
		t.Error("it took more than it should")
	}
}

// played is a Testbed whose Terraform is a script that runs apply.
func played(t *testing.T, apply string) (w *Testbed, dir string, log *syncBuffer) {
	t.Helper()
	dir, log = t.TempDir(), &syncBuffer{}
	w = &Testbed{AWS: &localaws.AWS{}, Heartbeats: &Service{}, dir: t.TempDir(), log: log, CLIConfig: "/our/terraform.rc", Terraform: filepath.Join(t.TempDir(), "terraform")}
	if err := os.Mkdir(w.temp(), 0o700); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ncase $1 in\nversion) echo '{\"terraform_version\": \"1.11.4\"}' ;;\napply) " + apply + " ;;\nesac\n"
	if err := os.WriteFile(w.Terraform, []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return w, dir, log
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestDeployIsolatesTerraform(t *testing.T) {
	for k, v := range callers {
		t.Setenv(k, v)
	}
	t.Setenv("TMPDIR", os.TempDir())
	w, dir, _ := played(t, "env >environment")
	if err := w.Deploy(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "environment")) //nolint:gosec // below the test's folder
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(string(text), "\n")
	own := w.Environment()
	for _, v := range got {
		if name, _, _ := strings.Cut(v, "="); foreign(name) {
			if _, ok := own[name]; !ok {
				t.Errorf("Terraform got %s", v)
			}
		}
	}
	for k, v := range own {
		if !slices.Contains(got, k+"="+v) {
			t.Errorf("Terraform did not get %s=%s", k, v)
		}
	}
	if os.Getenv("TF_VAR_slack_token") != "" || os.Getenv("TMPDIR") == w.temp() {
		t.Error("this process's environment is not what it was")
	}
}

func TestCopyRootPinsTheProvider(t *testing.T) {
	root, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	w := &Testbed{root: root, dir: t.TempDir()}
	dir, err := w.CopyRoot(map[string]any{"regions": map[string]any{"eu-west-1": map[string]any{}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "versions_override.tf")) //nolint:gosec // below the test's folder
	if err != nil || !strings.Contains(string(text), `version = "`+toolchain.ProviderVersion+`"`) {
		t.Errorf("got %s, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, VarFile)); err != nil {
		t.Error(err)
	}
}

func TestVariables(t *testing.T) {
	w := &Testbed{Slack: &Service{URL: "slack"}, Pager: &Service{URL: "opsgenie"}, JSM: &Service{URL: "jsm"}, PagerDuty: &Service{URL: "pagerduty"}, Webhook: &Service{URL: "webhook"}}
	variables := w.Variables(nil)
	chosen := func() map[string]any {
		got := map[string]any{}
		for _, name := range []string{"pagers", "opsgenie", "jsm", "pagerduty", "webhook", "sns", "subscribers"} {
			if v, ok := variables[name]; ok {
				got[name] = v
			}
		}
		return got
	}
	opsgenie := map[string]any{"endpoint": "opsgenie", "priority": "P2"}
	if diff := cmp.Diff(map[string]any{
		"pagers": []any{"opsgenie"}, "opsgenie": opsgenie, "subscribers": []any{},
	}, chosen()); diff != "" {
		t.Error(diff)
	}
	w.UsePagers(variables, "webhook", "jsm", "sns")
	if diff := cmp.Diff(map[string]any{
		"pagers": []any{"webhook", "jsm", "sns"}, "webhook": map[string]any{"url": "webhook"}, "sns": map[string]any{},
		"jsm": map[string]any{
			"endpoint": "jsm", "priority": "P2", "team_id": jsmOperations.TeamID,
			"cloud_id": jsmOperations.CloudID, "email": jsmOperations.Email,
		},
		"subscribers": []any{map[string]any{"protocol": "sms", "endpoint": "+4930123456"}},
	}, chosen()); diff != "" {
		t.Error(diff)
	}
}
