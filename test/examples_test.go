package test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/tfvars"
	"firstline/test/testbed"
)

// withInstances copies an example with the ids of instances that exist.
func withInstances(t *testing.T, w *testbed.Testbed, example string) (varFile string) {
	t.Helper()
	text, err := os.ReadFile(example) //nolint:gosec // of the repository
	if err != nil {
		t.Fatal(err)
	}
	v, err := tfvars.Load(t.TempDir(), []string{example}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, region := range v.Regions() {
		for _, id := range v.Instances(region) {
			started, err := w.AWS.RunInstance(t.Context(), region)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.ReplaceAll(text, []byte(id), []byte(started))
		}
	}
	varFile = filepath.Join(t.TempDir(), filepath.Base(example))
	if err := os.WriteFile(varFile, text, 0o600); err != nil { //nolint:gosec // below a folder of our own
		t.Fatal(err)
	}
	return varFile
}

// planned plans each example with plain Terraform, which warns of nothing. That of
// production is deployed.
func planned(t *testing.T, w *testbed.Testbed) {
	files, err := filepath.Glob(filepath.Join(root(t), "terraform", "examples", "*.tfvars"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	// The zip of this machine, which is there.
	function, err := json.Marshal(w.Variables(nil)["function"])
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == "production.tfvars" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			named, err := tfvars.Named(filepath.Join(root(t), "terraform"), file)
			if err != nil {
				t.Fatal(err)
			}
			dir := terraformCopy(t, slices.Sorted(maps.Keys(named))...)
			if err := testbed.PinProvider(dir); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"init"}, {"plan", "-var-file=" + file, "-var=function=" + string(function)}} {
				cmd := exec.CommandContext(t.Context(), w.Terraform, append(args, "-input=false", "-no-color")...) //nolint:gosec // Terraform
				cmd.Dir, cmd.Env = dir, environ(w.Environment())
				out, err := cmd.CombinedOutput()
				if err != nil || args[0] == "plan" && (strings.Contains(string(out), "Warning") || !strings.Contains(string(out), " to add, 0 to change, 0 to destroy.")) {
					t.Fatalf("terraform %s: %v\n%s", args[0], err, out)
				}
			}
		})
	}
}

// byTag has by-tag.sh find instances that have a tag: all of them or, when a region
// has none, an error, since the next deploy would remove the region.
func byTag(t *testing.T, w *testbed.Testbed) {
	for _, program := range []string{"bash", "aws", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s on PATH", program)
		}
	}
	client := ec2.NewFromConfig(w.AWS.Config(third))
	var ids []string
	for range 4 {
		id, err := w.AWS.RunInstance(t.Context(), third)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	key, value := "firstline", "watch"
	if _, err := client.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: ids[:3], Tags: []types.Tag{{Key: &key, Value: &value}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids[2:3]}); err != nil {
		t.Fatal(err)
	}
	prints := func(regions ...string) ([]byte, error) {
		script := filepath.Join(root(t), "terraform", "examples", "by-tag.sh")
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{script, key + "=" + value}, regions...)...) //nolint:gosec // of the repository
		cmd.Env = w.AWS.Environ()
		return cmd.Output()
	}
	out, err := prints(third)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "instances.tfvars.json")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	// It takes the place of the regions of a file before it.
	v, err := tfvars.Load(terraformCopy(t, third), []string{filepath.Join(root(t), "terraform", "examples", "evaluation.tfvars"), file}, nil)
	if err != nil || v.Missing() != nil {
		t.Fatalf("%v, %v: %s", err, v.Missing(), out)
	}
	slices.Sort(ids[:2])
	if diff := cmp.Diff(map[string][]string{third: ids[:2]}, map[string][]string{v.Regions()[0]: v.Instances(v.Regions()[0])}); diff != "" || len(v.Regions()) != 1 {
		t.Errorf("%v (-want +got):\n%s", v.Regions(), diff)
	}
	if out, err := prints(third, second); err == nil || len(out) > 0 {
		t.Errorf("a region without such an instance: %v, %s", err, out)
	}
}
