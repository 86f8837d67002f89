package rollout

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"firstline/internal/probe"
)

// desired is what the var files come to: terraform/modules/settings has checked and
// completed them.
type desired struct {
	// Problems are what is wrong with them, a sentence each.
	Problems       []string
	SecretsVersion float64 `json:"secrets_version"`
	probe.Intended
}

// settingsLocal has the module say in one value what is needed of it before a plan.
const settingsLocal = `variable "secrets_version" {
  type    = number
  default = 1
}

locals {
  intended = base64encode(jsonencode({
    problems         = local.problems
    secrets_version  = var.secrets_version
    channels = concat(
      [for slack in var.slack[*] : { type = "slack", settings = local.once.slack, secrets = { token = "slack-token" } }],
      [for type in local.pagers : { type = type, settings = merge(jsondecode(local.pagers_json[type]), { type = type }), secrets = local.pager_secrets[type] }],
      [for heartbeat in local.heartbeat[*] : { type = "heartbeat", settings = jsondecode(local.heartbeat_json), secrets = local.heartbeat_secrets }],
    )
    managed_policies = tonumber(local.once.function.managed_policies)
    regions = { for region, r in local.regions : region => {
      vpc       = r.vpc
      probe_concurrency = contains(flatten(values(local.peers)), region) ? tonumber(local.once.vantage.reserved_concurrency) : 0
      instances = { for id in keys(r.instances) : id => {
        settings = jsondecode(local.json["${region}/${id}"])
        alarms   = local.effective["${region}/${id}"].alarms
      } }
    } }
  }))
}
`

// packageProblem is one of modules/settings' that Prepare looks for itself: the zip's
// path is relative to the root, which is elsewhere here.
const packageProblem = "function.package: there is no file"

// readDesired has Terraform evaluate the var files: no Go code is to know what they
// may hold. The module needs neither provider nor state, so this takes a second where
// a plan takes many.
func (r *Root) readDesired(ctx context.Context) (*desired, error) {
	if r.desired != nil {
		return r.desired, nil
	}
	dir := filepath.Join(r.temp, "settings")
	if err := r.copySettings(dir); err != nil {
		return nil, err
	}
	args := []string{"console", "-no-color"}
	for _, file := range r.o.VarFiles {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		args = append(args, "-var-file="+path)
	}
	c := exec.CommandContext(ctx, r.tf.ExecPath(), args...) //nolint:gosec // the Terraform that was found
	c.Dir, c.Env, c.Stdin = dir, append(os.Environ(), "TF_DATA_DIR=", "TF_IN_AUTOMATION=1", "TF_LOG="), strings.NewReader("local.intended\n")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	_, _ = fmt.Fprintf(r.log, "terraform console in a copy of modules/settings\n%s", stderr.String())
	s := new(desired)
	// What is not declared there is warned of, above the value.
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	text, notQuoted := strconv.Unquote(lines[len(lines)-1])
	raw, notEncoded := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = cmp.Or(notQuoted, notEncoded, json.Unmarshal(raw, s))
	}
	if err != nil {
		return nil, inputf("the var files cannot be evaluated: %s", cmp.Or(tidy(fmt.Errorf("%s", stderr.String())).Error(), err.Error()))
	}
	s.Problems = slices.DeleteFunc(s.Problems, func(p string) bool { return strings.HasPrefix(p, packageProblem) })
	s.Name, r.desired = r.vars.Name(), s
	return s, nil
}

// Intended returns what the var files would deploy. An InputError says all that is
// wrong with them.
func (r *Root) Intended(ctx context.Context) (probe.Intended, error) {
	s, err := r.readDesired(ctx)
	if err != nil {
		return probe.Intended{}, err
	}
	return s.Intended, refusedFor(s.Problems)
}

// Versions are those of Terraform and of its AWS provider.
func (r *Root) Versions(ctx context.Context) (terraform, provider string, err error) {
	own, providers, err := r.tf.Version(ctx, true)
	if err != nil {
		return "", "", tidy(err)
	}
	if aws := providers["registry.terraform.io/hashicorp/aws"]; aws != nil {
		provider = aws.String()
	}
	return own.String(), provider, nil
}

// copySettings makes a root of modules/settings, with the var files that Terraform
// reads unasked.
func (r *Root) copySettings(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var files []string
	for _, pattern := range []string{"modules/settings/*.tf", "terraform.tfvars", "terraform.tfvars.json", "*.auto.tfvars", "*.auto.tfvars.json"} {
		found, err := filepath.Glob(filepath.Join(r.o.Dir, pattern))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file) //nolint:gosec // a file of the root
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), raw, 0o600); err != nil { //nolint:gosec // into a folder of our own
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "intended.tf"), []byte(settingsLocal), 0o600)
}
