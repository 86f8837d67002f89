package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/artifact"
	"firstline/test/localaws"
)

// release has the root be of a version, and its function a zip.
func (r *rollout) release(t *testing.T, version, zip string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "VERSION"), []byte(version+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.variables["function"] = map[string]any{"package": zip, "architecture": r.variables["function"].(map[string]any)["architecture"]}
	r.write(t, r.variables)
}

// upgraded deploys another version over what is deployed, and rolls back, each with
// an incident under way: it ends on the function that it began with.
func (r *rollout) upgraded(t *testing.T) {
	built, err := artifact.Read(r.zip)
	if err != nil {
		t.Fatal(err)
	}
	const next = "99.0.0"
	r.release(t, next, r.zip)
	if out := r.start(t, "plan").wait(); out.code != 2 || !strings.Contains(out.stderr, "is of version "+built.Version+", and this is version "+next) {
		t.Errorf("the zip of another version: exit code %d: %s", out.code, out.stderr)
	}

	// Built again with the same function, of another commit.
	again := built
	again.Version, again.Commit = next, "0a1b2c3d"
	if err := again.Write(r.zip); err != nil {
		t.Fatal(err)
	}
	out := r.run(t, 0, "plan")
	for _, region := range []string{first, second} {
		if got := out.in(region); got.Added != 0 || got.Changed != 1 || got.Destroyed != 0 {
			t.Errorf("%s: %+v, want one change", region, got)
		}
	}

	r.over(t, next, r.changedFunction(t))
	if err := built.Write(r.zip); err != nil {
		t.Fatal(err)
	}
	r.over(t, built.Version, r.zip)
	if tags := r.functionTags(t); tags["version"] != built.Version || tags["commit"] != built.Commit {
		t.Errorf("the function's tags: %v, want %s and %s", tags, built.Version, built.Commit)
	}
}

// changedFunction builds another function.
func (r *rollout) changedFunction(t *testing.T) string {
	t.Helper()
	sources := t.TempDir()
	for _, dir := range []string{"checks", "cmd/responder", "handler", "internal", "notify"} {
		if err := os.CopyFS(filepath.Join(sources, dir), os.DirFS(filepath.Join(root(t), dir))); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"terraform/VERSION": "99.0.0\n", "cmd/responder/changed.go": "package main\n\nfunc init() { println(\"another version\") }\n", "go.mod": "", "go.sum": ""} {
		if text == "" {
			read, err := os.ReadFile(filepath.Join(root(t), name)) //nolint:gosec // of the repository
			if err != nil {
				t.Fatal(err)
			}
			text = string(read)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(sources, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sources, name), []byte(text), 0o600); err != nil { //nolint:gosec // below a folder of our own
			t.Fatal(err)
		}
	}
	zip, err := artifact.Build(t.Context(), sources, filepath.Join(sources, "build"), r.variables["function"].(map[string]any)["architecture"].(string), nil)
	if err != nil {
		t.Fatal(err)
	}
	return zip
}

// over deploys a version over another in the first region while an incident is under
// way there.
func (r *rollout) over(t *testing.T, version, zip string) {
	t.Helper()
	r.release(t, version, zip)
	published := r.versions(t, first)
	under := r.hang(t, first, localaws.Fault{})
	defer under.release()
	r.run(t, 0, "deploy", "--yes", "--verify=false", "--region", first)
	now := slices.DeleteFunc(r.versions(t, first), func(v string) bool { return slices.Contains(published, v) })
	if len(now) != 1 {
		t.Fatalf("%s: published %v", version, now)
	}
	under.release()
	until(t, "the incident ends", func() bool { return under.status(t) != sfntypes.ExecutionStatusRunning })
	after := r.hang(t, first, localaws.Fault{})
	after.release()
	until(t, "the next incident ends", func() bool { return after.status(t) != sfntypes.ExecutionStatusRunning })
	for h, want := range map[*held]string{under: published[len(published)-1], after: now[0]} {
		if status := h.status(t); status != sfntypes.ExecutionStatusSucceeded {
			t.Errorf("%s: the incident ended as %s", version, status)
		}
		steps := 0
		for _, i := range r.AWS.Invocations("firstline-responder") {
			if strings.Contains(string(i.Event), h.name) {
				steps++
				if i.Version != want {
					t.Errorf("%s: a step called version %s of the function, want %s", version, i.Version, want)
				}
			}
		}
		if steps < 4 {
			t.Errorf("%s: found %d steps of the incident", version, steps)
		}
	}
}

// functionTags are the tags of the first region's function.
func (r *rollout) functionTags(t *testing.T) map[string]string {
	t.Helper()
	out, err := lambda.NewFromConfig(r.AWS.Config(first)).GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("firstline-responder")})
	if err != nil {
		t.Fatal(err)
	}
	return out.Tags
}
