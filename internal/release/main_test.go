package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBill(t *testing.T) {
	info := func(modules ...*debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{GoVersion: "go1.26.8", Deps: modules}
	}
	sdk := &debug.Module{Path: "github.com/AWS/sdk", Version: "v1.2.3", Sum: "h1:x="}
	text, err := bill("0.1.0", map[string]*debug.BuildInfo{
		"the command":  info(sdk, &debug.Module{Path: "old", Version: "v1.0.0", Replace: &debug.Module{Path: "new", Version: "v2.0.0+incompatible"}}),
		"the function": info(sdk),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		BOMFormat, SpecVersion string
		Components             []component
	}
	if err := json.Unmarshal(text, &got); err != nil || got.BOMFormat != "CycloneDX" {
		t.Errorf("%v: %s", err, text)
	}
	want := []component{
		{"library", "pkg:golang/github.com/aws/sdk@v1.2.3", "github.com/AWS/sdk", "v1.2.3", "pkg:golang/github.com/aws/sdk@v1.2.3", []property{{"go.sum", "h1:x="}, {"part of", "the command"}, {"part of", "the function"}}},
		{"library", "pkg:golang/new@v2.0.0%2Bincompatible", "new", "v2.0.0+incompatible", "pkg:golang/new@v2.0.0%2Bincompatible", []property{{"part of", "the command"}}},
		{"library", "pkg:golang/std@1.26.8", "std", "1.26.8", "pkg:golang/std@1.26.8", []property{{"part of", "the command"}, {"part of", "the function"}}},
	}
	if diff := cmp.Diff(want, got.Components); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if _, err := bill("0.1.0", nil); err == nil {
		t.Error("a bill of nothing")
	}
}

// TestReleaseIsTheSameTwice builds the last commit in two folders.
func TestOnlyAReleaseIsDeleted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		want  bool
	}{
		{"not there", nil, true},
		{"an older release", []string{sumsFile, "firstline.tar.gz"}, true},
		{"something else", []string{"main.go"}, false},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		for _, name := range tt.files {
			if err := os.MkdirAll(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := (&release{out: dir}).empty()
		_, left := os.Stat(dir)
		if (err == nil) != tt.want || (left != nil) != tt.want {
			t.Errorf("%s: %v; afterwards %v", tt.name, err, left)
		}
	}
}

func TestReleaseIsTheSameTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the function and the command twice")
	}
	if out, err := exec.CommandContext(t.Context(), "git", "rev-parse", "--git-dir").CombinedOutput(); err != nil {
		t.Skipf("this is no git checkout: %s", out)
	}
	from, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	var sums [2]string
	for n := range sums {
		dir := filepath.Join(t.TempDir(), "clone")
		if out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", from, dir).CombinedOutput(); err != nil { //nolint:gosec // a folder of our own
			t.Fatalf("%v: %s", err, out)
		}
		from = dir // the same commit, whatever is committed meanwhile
		t.Chdir(dir)
		r := &release{out: filepath.Join("build", "release"), platforms: []string{platform}, log: io.Discard}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(r.out, sumsFile))
		if err != nil {
			t.Fatal(err)
		}
		sums[n] = string(text)
		if n > 0 {
			continue
		}
		var names []string
		for line := range strings.Lines(sums[0]) {
			names = append(names, strings.Fields(line)[1])
		}
		slices.Sort(names)
		v := "firstline_" + r.version + "_"
		want := []string{v + strings.ReplaceAll(platform, "/", "_") + ".tar.gz", v + "sbom.cdx.json", v + "terraform.tar.gz", "responder-arm64.zip", "responder-arm64.zip.json", "responder-x86_64.zip", "responder-x86_64.zip.json"}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("what is in a release (-want +got):\n%s", diff)
		}
		unpacked := t.TempDir()
		if out, err := exec.CommandContext(t.Context(), "tar", "-xzf", filepath.Join(r.out, want[0]), "-C", unpacked).CombinedOutput(); err != nil { //nolint:gosec // what was just built
			t.Fatalf("%v: %s", err, out)
		}
		said, err := exec.CommandContext(t.Context(), filepath.Join(unpacked, "firstline"), "--version").Output() //nolint:gosec // what was just built
		if want := "firstline " + r.version + " (commit " + r.commit + ")\n"; err != nil || string(said) != want {
			t.Errorf("--version says %q, %v; want %q", said, err, want)
		}
		if err := os.WriteFile("new.txt", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.run(t.Context()); err == nil || !strings.Contains(err.Error(), "new.txt") {
			t.Errorf("a release of what is not committed: %v", err)
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds differ:\n%s\n%s", sums[0], sums[1])
	}
}
