package rollout

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstline/internal/artifact"
	"firstline/internal/tfvars"
)

// fakeGo stands for the compiler.
const fakeGo = "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\necho compiled >\"$2\"\n"

// TestPreparePackage has zips that fit and that do not, in a clone and outside of one.
func TestPreparePackage(t *testing.T) {
	for _, tt := range []struct {
		name string
		// set changes what fits: the clone, with the zip that was built from it.
		set     func(t *testing.T, dir string, o *Options)
		vars    string
		want    string // the error; "" for none
		says    string // the log
		version string // of the zip afterwards
	}{
		{name: "it fits", version: "1.2.3"},
		{name: "it is not there", set: remove("build/responder-arm64.zip"), says: "is not there", version: "1.2.3"},
		{name: "it does not say what it is", set: remove("build/responder-arm64.zip.json"), says: "cannot be told from an old one", version: "1.2.3"},
		{name: "it is another zip", set: put("build/responder-arm64.zip", "other"), says: "is of another zip", version: "1.2.3"},
		{name: "sources have changed", set: put("checks/checks.go", "package checks // changed"), says: "was built from other sources", version: "1.2.3"},
		{name: "the version alone has changed", set: put("terraform/VERSION", "1.2.4\n"), version: "1.2.4"},
		{name: "a removal takes any zip", set: func(t *testing.T, dir string, o *Options) {
			put("checks/checks.go", "package checks // changed")(t, dir, o)
			put("terraform/VERSION", "1.2.4\n")(t, dir, o)
			o.Deploys = false
		}, version: "1.2.3"},
		{name: "without Go", set: func(t *testing.T, dir string, o *Options) {
			t.Setenv("PATH", t.TempDir())
			put("checks/checks.go", "package checks // changed")(t, dir, o)
		}, want: "was built from other sources than those here, and Go is not installed", version: "1.2.3"},
		{name: "a zip of somebody's choice", set: put("mine.zip", "mine"), vars: `, "function": {"package": "../mine.zip"}`, want: "function.package: DIR/mine.zip cannot be told from an old one (DIR/mine.zip.json is missing, which says what the zip was built from): run `make build`", version: "1.2.3"},
		{name: "an older command", set: func(_ *testing.T, _ string, o *Options) { o.Version = "1.2.2" }, want: "this firstline is version 1.2.2, and DIR/terraform is version 1.2.3: run `make build`", version: "1.2.3"},
		{name: "no clone", set: remove("go.mod"), version: "1.2.3"},
		{name: "no clone, and an old zip", set: func(t *testing.T, dir string, o *Options) {
			remove("go.mod")(t, dir, o)
			put("terraform/VERSION", "1.2.4\n")(t, dir, o)
		}, want: "is of version 1.2.3, and this is version 1.2.4: take the zip of version 1.2.4 and its .json from the release", version: "1.2.3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, path := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(path, "go"), []byte(fakeGo), 0o755); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
			t.Setenv("PATH", path+string(filepath.ListSeparator)+os.Getenv("PATH"))
			for name, text := range map[string]string{
				"go.mod": "module firstline\n", "go.sum": "", "terraform/VERSION": "1.2.3\n", "checks/checks.go": "package checks",
				"cmd/responder/main.go": "package main\nimport _ \"firstline/checks\"\n", "ours.tfvars.json": `{"regions": {"eu-west-1": {"instances": {"i-0a1b2c3d": {}}}}` + tt.vars + `}`,
			} {
				put(name, text)(t, dir, nil)
			}
			zip, err := artifact.Build(t.Context(), dir, filepath.Join(dir, "build"), "arm64", nil)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			r := &Root{o: Options{Dir: filepath.Join(dir, "terraform"), Deploys: true, Log: &log}}
			if tt.set != nil {
				tt.set(t, dir, &r.o)
			}
			if r.vars, err = tfvars.Load(r.o.Dir, []string{filepath.Join(dir, "ours.tfvars.json")}, nil); err != nil {
				t.Fatal(err)
			}
			err = r.preparePackage(t.Context())
			if _, mistake := errors.AsType[InputError](err); mistake != (tt.want != "") || mistake && !strings.Contains(strings.ReplaceAll(err.Error(), dir, "DIR"), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if built := log.Len() > 0; built != (tt.says != "") || !strings.Contains(log.String(), tt.says) {
				t.Errorf("it says %q, want %q", log.String(), tt.says)
			}
			if have, err := artifact.Read(zip); err != nil || have.Version != tt.version {
				t.Errorf("the zip afterwards: %+v, %v", have, err)
			}
		})
	}
}

// put writes a file below the test's folder, remove removes one.
func put(name, text string) func(*testing.T, string, *Options) {
	return func(t *testing.T, dir string, _ *Options) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(name string) func(*testing.T, string, *Options) {
	return func(t *testing.T, dir string, _ *Options) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
