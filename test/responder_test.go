package test

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
	path, err := artifact.Build(t.Context(), root(t), dir, artifact.HostArchitecture(runtime.GOARCH))
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
	source := fstest.MapFS{}
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
				path, err := artifact.Build(t.Context(), folder, t.TempDir(), arch)
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

// The names that Retry and Catch match on must come out of the real binary:
// aws-lambda-go decides how an error travels.
func TestErrorNamesLeaveTheBinary(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join(root(t), "internal", "old", "handler", "testdata", "alarm.json"))
	if err != nil {
		t.Fatal(err)
	}
	event := strings.TrimSpace(string(sample))
	// A DynamoDB and an SSM that answer as told.
	ssm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if strings.Contains(string(body), "i-0c1cbf2e7abdedf75") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"AccessDeniedException","message":"not you"}`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"ThrottlingException","message":"not now"}`)
	}))
	defer ssm.Close()

	execution := `,"execution":{"id":"arn","name":"n","startedAt":"2026-11-22T10:00:00Z"}}`
	got := play(t, bootstrap(t), ssm.URL, []string{
		`{"step":"nonsense"}`,
		`{"step":"open","event":` + event + execution,
		`{"step":"open","event":` + strings.ReplaceAll(event, "i-0c1cbf2e7abdedf75", "i-0a1b2c3d") + execution,
		`{"step":"open"} trailing`,
		`{"step":"find-alert"}`,
		`{"step":"look-alert","incident":{"run":1}}`,
		`{"step":"all-clear","incident":{"run":3}}`,
		`{"step":"notify-test","incident":{}}`,
		`{"step":"opsgenie","incident":{"instanceId":"i-0c1cbf2e7abdedf75"}}`,
	})
	want := []string{"InvalidInput", "Denied", "Unavailable", "InvalidInput", "InvalidInput", "InvalidInput", "InvalidInput", "InvalidInput", "InvalidInput"}
	for n := range want {
		if got[n].ErrorType != want[n] {
			t.Errorf("invocation %d: %s (%s), want %s", n, got[n].ErrorType, got[n].ErrorMessage, want[n])
		}
		if strings.Contains(fmt.Sprint(got[n]), "very-secret") {
			t.Errorf("invocation %d shows a credential: %v", n, got[n])
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
		"FIRSTLINE_TABLE=firstline-incidents", "FIRSTLINE_EXECUTION_TIMEOUT_SECONDS=10800",
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
