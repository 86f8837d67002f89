package test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/artifact"
	"firstline/internal/tfstate"
	"firstline/test/localaws"
	"firstline/test/testbed"
)

// The state's bucket, and its name in there.
const (
	stateBucket = "firstline-state"
	stateKey    = "firstline.tfstate"
)

// exampleRegions are those of examples/production.tfvars.
var exampleRegions = []string{first, other}

// newExample makes a checkout with what the project brings along, for what an
// operator needs to begin: the backend, and the zip that `make build` makes. Of
// regions.tf it has the example's regions, since each costs a process;
// TestTerraformIsValid has all of them.
func newExample(t *testing.T, w *testbed.Testbed, zip, varFile string) *operator {
	t.Helper()
	dir := terraformCopy(t, exampleRegions...)
	if err := testbed.PinProvider(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "backend.tf.example"), filepath.Join(dir, "backend.tf")); err != nil {
		t.Fatal(err)
	}
	build := filepath.Join(filepath.Dir(dir), "build")
	packed := filepath.Join(build, filepath.Base(zip))
	if err := errors.Join(os.Mkdir(build, 0o750), os.Link(zip, packed), os.Link(artifact.ProvenancePath(zip), artifact.ProvenancePath(packed))); err != nil {
		t.Fatal(err)
	}
	return &operator{Testbed: w, dir: dir, varFile: varFile}
}

// TestExampleDeploysAsItIs deploys the example, of which nothing but the ids is
// replaced, with the state in S3, and has two operators deploy at once, each from a
// checkout of their own.
func TestExampleDeploysAsItIs(t *testing.T) {
	t.Parallel()
	w := world(t)
	zip, err := artifact.Build(t.Context(), root(t), t.TempDir(), "arm64", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(w.AWS.Config(first), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket:                    aws.String(stateBucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(first)},
	}); err != nil {
		t.Fatal(err)
	}
	objects := func() []string {
		t.Helper()
		out, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(stateBucket)})
		if err != nil {
			t.Fatal(err)
		}
		return named(out.Contents, func(o s3types.Object) *string { return o.Key })
	}
	varFile := withInstances(t, w, filepath.Join(root(t), "terraform", "examples", "production.tfvars"))
	operators := [2]*operator{newExample(t, w, zip, varFile), newExample(t, w, zip, varFile)}
	// Once as words, once as a file.
	file := filepath.Join(t.TempDir(), "backend.hcl")
	if err := os.WriteFile(file, []byte("bucket = \""+stateBucket+"\"\nkey = \""+stateKey+"\"\nregion = \""+first+"\"\nuse_lockfile = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := [2][]string{
		{"--backend-config", "bucket=" + stateBucket, "--backend-config", "key=" + stateKey, "--backend-config", "region=" + first, "--backend-config", "use_lockfile=true"},
		{"--backend-config", file},
	}
	start := func(n int, args ...string) *process {
		t.Helper()
		return operators[n].start(t, append(args, flags[n]...)...)
	}

	release := make(chan struct{})
	// Once there is a function, the second is refused for another reason: the state does
	// not know it yet.
	held := w.AWS.AddFault(localaws.Fault{Service: "lambda", Action: "CreateFunction", Until: release})
	defer held.Remove()
	// Nothing answers on the instances.
	one := start(0, "deploy", "--yes", "--verify=false")
	one.until("the function is created", func() bool { return held.Hits() > 0 })
	if !slices.Contains(objects(), stateKey+".tflock") {
		t.Errorf("there is no lock: %v", objects())
	}
	two := start(1, "deploy", "--yes", "--verify=false").wait()
	if two.code != 1 {
		t.Errorf("the second: exit code %d, want 1", two.code)
	}
	for _, want := range []string{"the state is locked", "@", "was not applied"} {
		if !strings.Contains(two.stderr, want) {
			t.Errorf("the second does not say %q", want)
		}
	}
	close(release)
	if diff := cmp.Diff(map[string]string{first: "done", other: "done"}, one.result(0).results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{stateKey}, objects()); diff != "" {
		t.Errorf("what is in the bucket (-want +got):\n%s", diff)
	}
	// The second sees what the first has done.
	if diff := cmp.Diff(map[string]string{first: "unchanged", other: "unchanged"}, start(1, "plan").result(0).results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if out := start(1, "output").wait(); out.code != 0 || !strings.Contains(out.stdout, first) || !strings.Contains(out.stdout, other) {
		t.Errorf("output: exit code %d: %s", out.code, out.stdout)
	}
	if diff := cmp.Diff(map[string]string{first: "done", other: "done"}, start(1, "destroy", "--yes").result(0).results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	for _, o := range operators {
		o.nothingRuns(t)
		if _, err := os.Stat(filepath.Join(o.dir, "terraform.tfstate")); err == nil {
			t.Error("there is a local state")
		}
	}
	object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(stateBucket), Key: aws.String(stateKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = object.Body.Close() }()
	raw, err := io.ReadAll(object.Body)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := tfstate.Parse(raw); err != nil || !state.Empty {
		t.Errorf("the state after it: %v, %v", state.Regions, err)
	}
	// The bucket can be deleted, as nothing else is in there: no lock.
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(stateBucket), Key: aws.String(stateKey)}); err != nil {
		t.Error(err)
	}
	if _, err := client.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String(stateBucket)}); err != nil {
		t.Error(err)
	}
	auditEmpty(t, w, exampleRegions...)
	t.Run("the others can be planned", func(t *testing.T) { planned(t, w) })
	t.Run("instances by tag", func(t *testing.T) { byTag(t, w) })
}
