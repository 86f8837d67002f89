package contract

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"firstline/internal/artifact"
)

// bootstrap builds the function for this machine and unpacks what Lambda
// would start.
func bootstrap(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path, err := artifact.Build(t.Context(), root(t), dir, artifact.HostArchitecture(runtime.GOARCH), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	f, err := r.Open("bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	binary, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "bootstrap")
	if err := os.WriteFile(out, binary, 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return out
}

// sourceOf is the project's Go code, with the texts that are embedded in it.
func sourceOf(t *testing.T) fs.FS {
	t.Helper()
	source := fstest.MapFS{"terraform/VERSION": &fstest.MapFile{Data: []byte("0.0.1\n"), Mode: 0o600}} // another: it must not get into the zip
	dir := os.DirFS(root(t))
	err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "build" || path == ".git" || path == "terraform"):
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".mod", ".sum", ".txt"}, filepath.Ext(path)):
			return nil
		}
		text, err := fs.ReadFile(dir, path)
		source[path] = &fstest.MapFile{Data: text, Mode: 0o600}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestZipIsTheSameTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the function four times")
	}
	t.Parallel()
	// The same source in another folder: no path may get into the binary.
	elsewhere := t.TempDir()
	if err := os.CopyFS(elsewhere, sourceOf(t)); err != nil {
		t.Fatal(err)
	}
	for arch := range artifact.Architectures {
		t.Run(arch, func(t *testing.T) {
			var zips [2][]byte
			for n, folder := range []string{root(t), elsewhere} {
				path, err := artifact.Build(t.Context(), folder, t.TempDir(), arch, nil)
				if err != nil {
					t.Fatal(err)
				}
				if zips[n], err = os.ReadFile(path); err != nil { //nolint:gosec // what was just built
					t.Fatal(err)
				}
			}
			if !bytes.Equal(zips[0], zips[1]) {
				t.Error("two builds differ")
			}
			t.Logf("%s: %.1f MB", artifact.Name(arch), float64(len(zips[0]))/1e6)
		})
	}
}

// alarmEvent is what CloudWatch sends of an instance.
const alarmEvent = `{"version":"0","id":"8c1d3f8e","detail-type":"CloudWatch Alarm State Change","source":"aws.cloudwatch","account":"123456789012",
"time":"2026-11-22T10:04:40Z","region":"eu-west-1","resources":["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-INSTANCE-cpu"],
"detail":{"alarmName":"firstline-alarm-INSTANCE-cpu","configuration":{"metrics":[{"id":"m1","metricStat":{"metric":{"dimensions":{"InstanceId":"INSTANCE"},"name":"CPUUtilization","namespace":"AWS/EC2"},"period":300,"stat":"Maximum"},"returnData":true}]},
"state":{"reason":"Threshold Crossed","timestamp":"2026-11-22T10:04:40.989+0000","value":"ALARM"}}}`

// leaky is what a service may let slip.
const leaky = "not you: Authorization=Bearer very-secret-token"

// The names that Retry and Catch match on must come out of the real binary, also
// when AWS answers what it should not: aws-lambda-go decides how an error travels,
// and the SDK what an answer means.
func TestErrorNamesLeaveTheBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the function")
	}
	answers := map[string]struct {
		status int
		body   string
	}{
		"i-00000001": {http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"` + leaky + `"}`},
		"i-00000002": {http.StatusBadRequest, `{"__type":"ThrottlingException","message":"not now"}`},
		"i-00000003": {http.StatusInternalServerError, `{"__type":"InternalServerError","message":"` + leaky + `"}`},
		"i-00000004": {http.StatusOK, "\x00 this is no answer: " + leaky},
		"i-00000005": {http.StatusOK, `{"Parameter":{"Value":"{\"url\": {\"prot\": 80}}"}}`},
	}
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		for instance, answer := range answers {
			if strings.Contains(string(body), instance) {
				w.WriteHeader(answer.status)
				_, _ = io.WriteString(w, answer.body)
			}
		}
	}))
	defer aws.Close()

	tests := []struct{ payload, want string }{
		{`{"step":"nonsense"}`, "InvalidInput"},
		{`{"step":"open"} trailing`, "InvalidInput"},
		{`{"step":"decide"}`, "InvalidInput"},
		{`{"step":"reboot","incident":{"instance_id":"web"}}`, "InvalidInput"},
		{`{"step":"reconcile","incident":{}}`, "InvalidInput"},
	}
	for n, kind := range []string{"Denied", "Unavailable", "Unavailable", "Unavailable", "InvalidInput"} {
		event := strings.ReplaceAll(alarmEvent, "INSTANCE", fmt.Sprintf("i-%08d", n+1))
		tests = append(tests, struct{ payload, want string }{
			`{"step":"open","event":` + event + `,"execution":{"id":"arn","name":"n","startedAt":"2026-11-22T10:00:00Z"}}`, kind,
		})
	}
	var payloads []string
	for _, tt := range tests {
		payloads = append(payloads, tt.payload)
	}
	got := play(t, bootstrap(t), aws.URL, payloads)
	for n, tt := range tests {
		if got[n].ErrorType != tt.want {
			t.Errorf("%s: %s (%s), want %s", tt.payload, got[n].ErrorType, got[n].ErrorMessage, tt.want)
		}
		if strings.Contains(fmt.Sprint(got[n]), "very-secret") {
			t.Errorf("%s: the answer shows a secret: %v", tt.payload, got[n])
		}
	}
}

type functionError struct{ ErrorType, ErrorMessage string }

// play runs the binary against a Lambda Runtime API of our own and returns
// what it answers to each payload.
func play(t *testing.T, binary, endpoint string, payloads []string) []functionError {
	t.Helper()
	answers := make([]functionError, len(payloads))
	var (
		mu   sync.Mutex
		next int
	)
	done := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := next
		next++
		mu.Unlock()
		if n >= len(payloads) {
			close(done)
			<-r.Context().Done()
			return
		}
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", fmt.Sprint(n))
		w.Header().Set("Lambda-Runtime-Deadline-Ms", "4102444800000")
		_, _ = io.WriteString(w, payloads[n])
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{kind}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.PathValue("id"), &n)
		body, _ := io.ReadAll(r.Body)
		if r.PathValue("kind") == "error" {
			_ = json.Unmarshal(body, &answers[n])
		}
		w.WriteHeader(http.StatusAccepted)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer server.CloseClientConnections()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(server.URL, "http://"), "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL=" + endpoint,
		"AWS_ACCESS_KEY_ID=very-secret-id", "AWS_SECRET_ACCESS_KEY=very-secret-key", "FIRSTLINE_SETTINGS_PATH=/firstline/instances/",
		"FIRSTLINE_TABLE=firstline-incidents",
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
		if strings.Contains(output.String(), "very-secret") {
			t.Errorf("the log shows a credential: %s", output.String())
		}
	}()
	select {
	case <-done:
	case <-ended:
		t.Fatalf("the function ended: %s", output.String())
	case <-t.Context().Done():
		t.Fatal("no answer")
	}
	return answers
}
