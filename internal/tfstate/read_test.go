package tfstate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder writes files into a folder of their own.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	s3   = "terraform {\n  required_version = \">= 1.11\"\n  backend \"s3\" {\n    bucket = var.x\n  }\n}\n"
	note = `{"version": 3, "backend": {"type": "s3", "config": {"bucket": "b", "key": "a/k", "workspace_key_prefix": null}}}`
)

func TestRead(t *testing.T) {
	serial := func(n string) string { return `{"version": 4, "serial": ` + n + `, "resources": []}` }
	const pulled = 99
	for _, tt := range []struct {
		name    string
		files   map[string]string
		environ []string
		want    uint64
		where   string // below the folder, or s3:// or a backend
	}{
		{"nothing", nil, nil, 0, "terraform.tfstate"},
		{"local", map[string]string{"main.tf": `resource "x" "backend" {}`, "terraform.tfstate": serial("1")}, nil, 1, "terraform.tfstate"},
		{"local, initialised", map[string]string{"terraform.tfstate": serial("1"), ".terraform/modules/modules.json": "{}"}, nil, 1, "terraform.tfstate"},
		{"workspace", map[string]string{"terraform.tfstate": serial("1"), ".terraform/environment": "a\n", "terraform.tfstate.d/a/terraform.tfstate": serial("2")}, nil, 2, "terraform.tfstate.d/a/terraform.tfstate"},
		{"workspace, of the environment", map[string]string{"terraform.tfstate": serial("1"), ".terraform/environment": "a", "terraform.tfstate.d/b/terraform.tfstate": serial("3")}, []string{"TF_WORKSPACE=a", "TF_WORKSPACE=b"}, 3, "terraform.tfstate.d/b/terraform.tfstate"},
		{"workspace, default", map[string]string{"terraform.tfstate": serial("1"), ".terraform/environment": "a"}, []string{"TF_WORKSPACE=default"}, 1, "terraform.tfstate"},
		{"workspace, without a state yet", map[string]string{"terraform.tfstate": serial("1"), ".terraform/environment": "a"}, nil, 0, "terraform.tfstate.d/a/terraform.tfstate"},
		{"workspace, folder named", map[string]string{"terraform.tfstate": serial("1"), "data/environment": "a", "terraform.tfstate.d/a/terraform.tfstate": serial("2")}, []string{"TF_DATA_DIR=data"}, 2, "terraform.tfstate.d/a/terraform.tfstate"},
		{"backend", map[string]string{"main.tf": s3, ".terraform/terraform.tfstate": note, "terraform.tfstate": serial("1")}, nil, pulled, "s3://b/a/k"},
		{"backend, folder named", map[string]string{"main.tf": s3, "data/terraform.tfstate": note}, []string{"TF_DATA_DIR=data"}, pulled, "s3://b/a/k"},
		{"backend, gone from the configuration", map[string]string{".terraform/terraform.tfstate": note, ".terraform/environment": "a"}, nil, pulled, "s3://b/env:/a/a/k"},
		{"another backend", map[string]string{".terraform/terraform.tfstate": `{"backend": {"type": "gcs"}}`}, nil, pulled, `the backend "gcs"`},
		{"no backend where Terraform does not look", map[string]string{"sub/main.tf": s3, ".main.tf": s3, "main.tf.old": s3, "x.tf": "# backend \"s3\" {}\n", "terraform.tfstate": serial("1")}, nil, 1, "terraform.tfstate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, tt.files)
			if strings.HasPrefix(tt.where, "terraform.tfstate") {
				tt.where = filepath.Join(dir, tt.where)
			}
			got, err := Read(t.Context(), dir, tt.environ, func(context.Context) ([]byte, error) { return []byte(serial("99")), nil })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(State{Serial: tt.want, Empty: true, Where: tt.where}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"not initialised", map[string]string{"main.tf": s3}, "DIR/main.tf:3 keeps it in the backend \"s3\", which is not initialised: run `terraform init` in DIR first"},
		{"not initialised, JSON", map[string]string{"main.tf.json": "{\"terraform\": {\n\"backend\": {\"s3\": {}}}}"}, "DIR/main.tf.json:2 keeps it in the backend \"s3\""},
		{"not initialised, cloud", map[string]string{"main.tf": "terraform {\n  cloud {}\n}\n"}, "DIR/main.tf:2 keeps it in HCP Terraform, which is not"},
		{"does not parse", map[string]string{"main.tf": "\nterraform {"}, "DIR/main.tf:2: "},
		{"does not parse, JSON", map[string]string{"main.tf.json": "{"}, "DIR/main.tf.json:1: "},
		{"backend without a name", map[string]string{"main.tf": "terraform {\n  backend {}\n}\n"}, "DIR/main.tf:2: "},
		{"pull", map[string]string{"main.tf": s3, ".terraform/terraform.tfstate": note}, "no credentials"},
		{"no state", map[string]string{"terraform.tfstate": "x"}, "DIR/terraform.tfstate: no Terraform state: "},
		{"a folder", map[string]string{"terraform.tfstate/x": ""}, "read DIR/terraform.tfstate: is a directory"},
	} {
		dir := folder(t, tt.files)
		got, err := Read(t.Context(), dir, nil, func(context.Context) ([]byte, error) { return nil, errors.New("no credentials") })
		if want := strings.ReplaceAll(tt.want, "DIR", dir); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, %v; want %s", tt.name, got, err, want)
		}
	}
	if _, err := Read(t.Context(), filepath.Join(t.TempDir(), "nowhere"), nil, nil); err == nil {
		t.Error("a folder that is not there holds no state")
	}
}
