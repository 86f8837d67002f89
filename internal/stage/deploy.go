package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// parallelism of an apply: most of a deployment's time is the provider's wait
// for a queue, which costs nothing.
const parallelism = 40

// Environment is what a Terraform run against this World needs in its
// environment, beside the caller's own.
func (w *World) Environment() map[string]string {
	env := w.AWS.Variables()
	maps.Copy(env, w.SecretVariables())
	env["TF_CLI_CONFIG_FILE"] = w.CLIConfig
	env["CHECKPOINT_DISABLE"] = "1"
	return env
}

// Progress is told how far an apply is.
type Progress func(done, planned int)

// Deploy applies a root that CopyRoot made. It puts Environment into this
// process's environment, since that is the only way on which terraform-exec
// lets secrets travel.
func (w *World) Deploy(ctx context.Context, dir string, tell Progress) error {
	for k, v := range w.Environment() {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	tf, err := tfexec.NewTerraform(dir, w.Terraform)
	if err != nil {
		return err
	}
	if err := tf.Init(ctx); err != nil {
		return fmt.Errorf("terraform init: %w", err)
	}
	r, out := io.Pipe()
	watched := make(chan []string, 1)
	go func() { watched <- watch(r, tell) }()
	err = tf.ApplyJSON(ctx, out, tfexec.Parallelism(parallelism))
	_ = out.Close()
	if said := <-watched; err != nil {
		return errors.Join(fmt.Errorf("terraform apply: %w", err), errors.New(strings.Join(said, "\n")))
	}
	return nil
}

// watch reads Terraform's machine-readable output
// (https://developer.hashicorp.com/terraform/internals/machine-readable-ui),
// tells how far it is, and returns its errors.
func watch(r io.Reader, tell Progress) (said []string) {
	done, planned := 0, 0
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m struct {
			Type    string `json:"type"`
			Level   string `json:"@level"`
			Message string `json:"@message"`
			Changes struct {
				Add int `json:"add"`
			} `json:"changes"`
			Hook struct {
				Action string `json:"action"`
			} `json:"hook"`
			Diagnostic struct {
				Summary string `json:"summary"`
				Detail  string `json:"detail"`
			} `json:"diagnostic"`
		}
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue
		}
		switch {
		case m.Type == "change_summary" && planned == 0:
			planned = m.Changes.Add
		case m.Type == "apply_complete" && m.Hook.Action == "create":
			done++
		case m.Type == "diagnostic" && m.Level == "error":
			said = append(said, m.Diagnostic.Summary+": "+m.Diagnostic.Detail)
		default:
			continue
		}
		if tell != nil {
			tell(done, planned)
		}
	}
	// Whatever is left keeps Terraform from blocking on a full pipe.
	_, _ = io.Copy(io.Discard, r)
	return said
}
