package tfstate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"firstline/internal/tfconfig"
)

// Read returns the state of the Terraform root in dir: of the workspace that is
// selected there, or that environ's TF_WORKSPACE names. A local state that no
// backend is configured for is read from its file; any other is what pull
// returns, which runs `terraform state pull` in dir.
//
// It returns an error, one line that says what to do, when the configuration
// cannot be read, when its backend is not initialised, when pull fails, and when
// what is found is no state: then nothing is known about what is deployed.
func Read(ctx context.Context, dir string, environ []string, pull func(context.Context) ([]byte, error)) (State, error) {
	backend, err := backendOf(dir)
	if err != nil {
		return State{}, err
	}
	data := DataDir(dir, environ)
	// Terraform notes here which backend it was initialised with.
	note, err := os.ReadFile(filepath.Join(data, "terraform.tfstate")) //nolint:gosec // Terraform's own note
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return State{}, err
	}
	var source string
	var raw []byte
	switch {
	case err == nil:
		source = noted(note, workspace(environ, data))
		raw, err = pull(ctx)
	case backend != "":
		return State{}, fmt.Errorf("%s, which is not initialised: run `terraform init` in %s first", backend, dir)
	default:
		source = filepath.Join(dir, local(workspace(environ, data)))
		raw, err = os.ReadFile(source) //nolint:gosec // the state of the folder that the operator names
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return State{}, err
	}
	s, err := Parse(raw)
	if err != nil {
		return State{}, fmt.Errorf("%s: %w", source, err)
	}
	s.Where = source
	return s, nil
}

// noted says where the state is that Terraform's note of its backend means.
func noted(note []byte, workspace string) string {
	var n struct {
		Backend struct {
			Type   string `json:"type"`
			Config struct {
				Bucket, Key string
				Prefix      string `json:"workspace_key_prefix"`
			} `json:"config"`
		} `json:"backend"`
	}
	if err := json.Unmarshal(note, &n); err != nil || n.Backend.Type == "" {
		return "the state"
	}
	c := n.Backend.Config
	switch {
	case n.Backend.Type != "s3" || c.Bucket == "":
		return fmt.Sprintf("the backend %q", n.Backend.Type)
	case workspace != "default":
		// https://developer.hashicorp.com/terraform/language/backend/s3
		c.Key = path.Join(cmp.Or(c.Prefix, "env:"), workspace, c.Key)
	}
	return "s3://" + c.Bucket + "/" + c.Key
}

// DataDir returns the folder in which Terraform keeps what it notes of the root in
// dir: .terraform there, unless TF_DATA_DIR names another one.
func DataDir(dir string, environ []string) string {
	data := cmp.Or(lookup(environ, "TF_DATA_DIR"), ".terraform")
	if filepath.IsAbs(data) {
		return data
	}
	return filepath.Join(dir, data)
}

// workspace returns the name of the selected workspace.
func workspace(environ []string, data string) string {
	name := lookup(environ, "TF_WORKSPACE")
	if name == "" {
		selected, _ := os.ReadFile(filepath.Join(data, "environment")) //nolint:gosec // Terraform's own note
		name = strings.TrimSpace(string(selected))
	}
	return cmp.Or(name, "default")
}

// local returns the path of a workspace's state, below the root, when there is no
// backend.
func local(workspace string) string {
	if workspace == "default" {
		return "terraform.tfstate"
	}
	return filepath.Join("terraform.tfstate.d", workspace, "terraform.tfstate")
}

// lookup returns the value of a variable of an environment; the last one counts.
func lookup(environ []string, name string) string {
	value := ""
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// backendOf returns where and which backend the configuration in dir names, as
// the beginning of a sentence; "" when it names none.
func backendOf(dir string) (string, error) {
	files, err := tfconfig.Files(dir)
	if err != nil {
		return "", err
	}
	found := ""
	for _, path := range files {
		src, err := os.ReadFile(path) //nolint:gosec // a file of the root
		if err != nil {
			return "", err
		}
		file, diags := tfconfig.Parse(path, src)
		if diags.HasErrors() {
			return "", unparsed(diags, path)
		}
		settings, _, diags := file.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "terraform"}}})
		if diags.HasErrors() {
			return "", unparsed(diags, path)
		}
		for _, block := range settings.Blocks {
			backends, _, diags := block.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}}})
			if diags.HasErrors() {
				return "", unparsed(diags, path)
			}
			for _, b := range backends.Blocks {
				kind := "in HCP Terraform"
				if len(b.Labels) > 0 {
					kind = fmt.Sprintf("in the backend %q", b.Labels[0])
				}
				found = fmt.Sprintf("%s:%d keeps it %s", path, b.DefRange.Start.Line, kind)
			}
		}
	}
	return found, nil
}

// unparsed returns the first error of a file as one line.
func unparsed(diags hcl.Diagnostics, path string) error {
	for _, d := range diags {
		if d.Severity == hcl.DiagError && d.Subject != nil {
			return fmt.Errorf("%s:%d: %s; mend it first", path, d.Subject.Start.Line, strings.Join(strings.Fields(d.Summary+": "+d.Detail), " "))
		}
	}
	return fmt.Errorf("%s: %w; mend it first", path, diags)
}
