package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"firstline/internal/artifact"
	"firstline/internal/regions"
	"firstline/internal/toolchain"
	"firstline/test/localaws"
)

// Secrets that the played services want. They are looked for in everything
// that may not hold them.
const (
	SlackToken  = "xoxb-played-slack-token" //nolint:gosec // the token of a Slack that is played
	OpsGenieKey = "played-opsgenie-key"
	JSMKey      = "played-jsm-key"
	JSMToken    = "played-jsm-token" //nolint:gosec // of a Jira Service Management that is played
	RoutingKey  = "PlayedPagerDutyRoutingKey0123456"
	// WebhookSecret is in base64 behind its prefix.
	WebhookSecret = "whsec_cGxheWVkIHdlYmhvb2sgc2VjcmV0LCAzMiBieXRlcyE=" //nolint:gosec // of a webhook that is played
	HeartbeatKey  = "played-heartbeat-key"
)

// jsmOperations are of the account at Jira Service Management.
var jsmOperations = Operations{
	CloudID: "11111111-2222-4333-8444-555555555555", Email: "firstline@example.com", Token: JSMToken,
	TeamID: "66666666-7777-4888-9999-000000000000", Requests: true,
}

// Testbed is a local AWS with instances, Slack and pagers.
type Testbed struct {
	AWS *localaws.AWS
	// Pager is OpsGenie, which Variables choose; JSM (Jira Service Management),
	// PagerDuty and Webhook are there for UsePagers, and Heartbeats for UseHeartbeat.
	Slack, Pager, JSM, PagerDuty, Webhook, Heartbeats *Service
	// Terraform is the program, CLIConfig its configuration ("" for none of
	// ours).
	Terraform, CLIConfig string
	// Package is the function's zip for this machine.
	Package string

	log       io.Writer
	root, dir string
	end       context.CancelFunc
	mu        sync.Mutex
	instances map[string]*Instance
}

// Options say how a Testbed starts.
type Options struct {
	// Root is the project's folder.
	Root string
	// Log is told of everything that takes time.
	Log io.Writer
	// Pace is as in localaws.Options.
	Pace float64
	// Package is the function's zip for this machine; "" has New build it.
	Package string
}

// New starts a Testbed. It has neither instances nor anything deployed. Once
// started, it ends with Close only: what is interrupted with ctx must still be
// able to end in good order.
func New(ctx context.Context, o Options) (_ *Testbed, err error) {
	w := &Testbed{log: o.Log, root: o.Root, instances: map[string]*Instance{}}
	if w.log == nil {
		w.log = io.Discard
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	build := filepath.Join(o.Root, "build")
	tools := toolchain.Toolchain{Build: build, Log: o.Log}
	if w.Terraform, err = tools.Terraform(ctx); err != nil {
		return nil, err
	}
	if w.CLIConfig, err = tools.CLIConfig(); err != nil {
		return nil, err
	}
	moto, err := tools.Moto(ctx)
	if err != nil {
		return nil, err
	}
	arch := artifact.HostArchitecture(runtime.GOARCH)
	if arch == "" {
		return nil, fmt.Errorf("this machine's architecture, %s, is none of Lambda's", runtime.GOARCH)
	}
	if w.dir, err = os.MkdirTemp("", "firstline-"); err != nil {
		return nil, err
	}
	if err = os.Mkdir(w.temp(), 0o700); err != nil {
		return nil, err
	}
	if w.Package = o.Package; w.Package == "" {
		if w.Package, err = artifact.Build(ctx, o.Root, w.dir, arch, o.Log); err != nil {
			return nil, err
		}
	}
	if err = w.play(ctx); err != nil {
		return nil, err
	}
	// An interrupt ends the start of it, but not what was started.
	var life context.Context
	life, w.end = context.WithCancel(context.WithoutCancel(ctx))
	started := context.AfterFunc(ctx, w.end)
	w.AWS, err = localaws.Start(life, localaws.Options{Log: o.Log, Moto: moto, Pace: o.Pace})
	if started(); err != nil {
		return nil, err
	}
	w.AWS.OnReboot(func(region, id string) {
		if i := w.Instance(id); i != nil && i.Region == region {
			i.Reboot()
		}
	})
	return w, nil
}

// play starts the services beside AWS.
func (w *Testbed) play(ctx context.Context) error {
	var errs [6]error
	w.Slack, errs[0] = NewSlack(ctx, SlackToken)
	w.Pager, errs[1] = NewPager(ctx, OpsGenieKey)
	w.JSM, errs[2] = NewJSM(ctx, JSMKey, jsmOperations)
	w.PagerDuty, errs[3] = NewPagerDuty(ctx, RoutingKey)
	w.Webhook, errs[4] = NewWebhook(ctx, WebhookSecret)
	w.Heartbeats, errs[5] = NewHeartbeats(ctx, HeartbeatKey)
	return errors.Join(errs[:]...)
}

// Pagers are the services that page.
func (w *Testbed) Pagers() []*Service { return []*Service{w.Pager, w.JSM, w.PagerDuty, w.Webhook} }

// temp is the folder for temporary files of Terraform and its providers.
func (w *Testbed) temp() string { return filepath.Join(w.dir, "tmp") }

// Close ends everything and removes its files. No Terraform must run any more;
// providers that it left behind are ended.
func (w *Testbed) Close() error {
	var errs []error
	if w.dir != "" {
		errs = append(errs, endStrays(w.temp()))
	}
	if w.end != nil {
		defer w.end()
	}
	if w.AWS != nil {
		errs = append(errs, w.AWS.Close())
	}
	for _, s := range append(w.Pagers(), w.Slack, w.Heartbeats) {
		if s != nil && s.server != nil {
			s.Close()
		}
	}
	for _, i := range w.instances {
		i.Close()
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// addresses is how many loopback addresses are tried for an instance: another
// run on this machine may hold some.
const addresses = 200

// next makes the addresses of a process's testbeds differ.
var next atomic.Int64

// AddInstance starts an instance in the local AWS, with servers on a loopback
// address that the local AWS shows as its public one.
func (w *Testbed) AddInstance(ctx context.Context, region string) (*Instance, error) {
	id, err := w.AWS.RunInstance(ctx, region)
	if err != nil {
		return nil, err
	}
	var i *Instance
	for range addresses {
		// Runs at the same time start at different places.
		n := (os.Getpid()*31 + int(next.Add(1))) % (64 * 250 * 250)
		address := fmt.Sprintf("127.%d.%d.%d", 64+n/(250*250), n/250%250, n%250+1)
		if i, err = NewInstance(ctx, region, id, address); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	w.AWS.SetPublicAddress(id, i.Address)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instances[id] = i
	return i, nil
}

// Instance returns a played instance, nil for none.
func (w *Testbed) Instance(id string) *Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.instances[id]
}

// AddHealthCheck makes a Route 53 health check of an instance's web server, and
// returns its id.
func (w *Testbed) AddHealthCheck(ctx context.Context, i *Instance) (id string, err error) {
	out, err := route53.NewFromConfig(w.AWS.Config(i.Region)).CreateHealthCheck(ctx, &route53.CreateHealthCheckInput{
		CallerReference: &i.ID,
		HealthCheckConfig: &types.HealthCheckConfig{
			Type: types.HealthCheckTypeHttp, IPAddress: &i.Address, Port: aws.Int32(HTTPPort), ResourcePath: aws.String("/healthz"),
		},
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.HealthCheck.Id), nil
}

// Variables are the Terraform variables, less the secrets, of a deployment that
// watches the given instances with waits short enough to look at.
func (w *Testbed) Variables(overrides map[string]map[string]any, instances ...*Instance) map[string]any {
	byRegion := map[string]any{}
	for _, i := range instances {
		if byRegion[i.Region] == nil {
			byRegion[i.Region] = map[string]any{"instances": map[string]any{}}
		}
		settings := overrides[i.ID]
		if settings == nil {
			settings = map[string]any{}
		}
		byRegion[i.Region].(map[string]any)["instances"].(map[string]any)[i.ID] = settings
	}
	return map[string]any{
		"regions": byRegion,
		"defaults": map[string]any{
			"url":  map[string]any{"port": HTTPPort, "path": "/healthz", "timeout_seconds": 2, "attempts": 2, "interval_seconds": 0.2},
			"ssh":  map[string]any{"port": SSHPort, "timeout_seconds": 2, "attempts": 2, "interval_seconds": 0.2},
			"boot": map[string]any{"first_look_seconds": 10, "interval_seconds": 10, "window_seconds": 10},
			// One more look confirms what the first one saw.
			"confirm_seconds": 1,
			"route53":         map[string]any{"attempts": 1},
		},
		"slack":       map[string]any{"channel_id": SlackChannel, "api_url": w.Slack.URL},
		"pagers":      []any{"opsgenie"},
		"opsgenie":    map[string]any{"endpoint": w.Pager.URL, "priority": "P2"},
		"subscribers": []any{},
		"function":    map[string]any{"package": w.Package, "architecture": artifact.HostArchitecture(runtime.GOARCH)},
	}
}

// UsePagers chooses a deployment's pagers, in order of fallback, in variables that
// Variables made: "opsgenie", "jsm", "pagerduty", "webhook" and "sns". With "sns" there is
// a subscriber, so that the deployment has a topic of its own. It is a telephone: SNS
// takes it without a confirmation, which nobody could give to a mail here.
func (w *Testbed) UsePagers(variables map[string]any, names ...string) {
	blocks := map[string]map[string]any{
		"opsgenie": {"endpoint": w.Pager.URL, "priority": "P2"},
		"jsm": {
			"endpoint": w.JSM.URL, "priority": "P2", "team_id": jsmOperations.TeamID,
			"cloud_id": jsmOperations.CloudID, "email": jsmOperations.Email,
		},
		"pagerduty": {"endpoint": w.PagerDuty.URL, "component": "played"},
		"webhook":   {"url": w.Webhook.URL},
		"sns":       {},
	}
	chosen := []any{}
	for name, block := range blocks {
		delete(variables, name)
		if slices.Contains(names, name) {
			variables[name] = block
		}
	}
	for _, name := range names {
		chosen = append(chosen, name)
	}
	variables["pagers"] = chosen
	if slices.Contains(names, "sns") {
		variables["subscribers"] = []any{map[string]any{"protocol": "sms", "endpoint": "+4930123456"}}
	}
}

// UseHeartbeat chooses what reconcile pings, in variables that Variables made: "opsgenie",
// "jsm" or "url", the heartbeat of each region.
func (w *Testbed) UseHeartbeat(variables map[string]any, service string) {
	heartbeat := map[string]any{"service": service}
	if service == "url" {
		heartbeat["failure_suffix"] = "/fail"
	}
	variables["heartbeat"] = heartbeat
}

// SecretVariables are the environment in which Terraform finds the secrets.
func (w *Testbed) SecretVariables() map[string]string {
	return map[string]string{
		"TF_VAR_slack_token": SlackToken, "TF_VAR_opsgenie_api_key": OpsGenieKey, "TF_VAR_jsm_api_key": JSMKey, "TF_VAR_jsm_api_token": JSMToken,
		"TF_VAR_pagerduty_routing_key": RoutingKey, "TF_VAR_webhook_secret": WebhookSecret, "TF_VAR_heartbeat_url": w.Heartbeats.URL + heartbeatName + "{region}",
	}
}

// VarFile is the file that CopyRoot writes the variables to. Terraform reads a
// file of this name by itself.
const VarFile = "terraform.tfvars.json"

// CopyRoot copies the Terraform root into a folder of its own, with the given
// variables, with the AWS provider that PinProvider names, and with a regions.tf
// that holds just the regions they name: every region costs a provider process.
func (w *Testbed) CopyRoot(variables map[string]any) (string, error) {
	dir, err := os.MkdirTemp(w.dir, "root-")
	if err != nil {
		return "", err
	}
	if err := CopyTerraform(dir, filepath.Join(w.root, "terraform")); err != nil {
		return "", err
	}
	var names []string
	if byRegion, ok := variables["regions"].(map[string]any); ok {
		for name := range byRegion {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text, err := regions.Render(names)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "regions.tf"), text, 0o600); err != nil {
		return "", err
	}
	return dir, errors.Join(PinProvider(dir), w.WriteVariables(dir, variables))
}

// WriteVariables writes a root's variables anew.
func (w *Testbed) WriteVariables(dir string, variables map[string]any) error {
	raw, err := json.MarshalIndent(variables, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, VarFile), raw, 0o600)
}

// PinProvider has a Terraform root take the AWS provider in the version that the
// local AWS is tested with, and not the newest that the root allows.
func PinProvider(dir string) error {
	text := fmt.Sprintf("terraform {\n  required_providers {\n    aws = {\n      source  = \"hashicorp/aws\"\n      version = %q\n    }\n  }\n}\n", toolchain.ProviderVersion)
	return os.WriteFile(filepath.Join(dir, "versions_override.tf"), []byte(text), 0o600)
}

// CopyTerraform copies a Terraform root and its modules, without what Terraform
// or an operator left there: neither a state nor the way to one.
func CopyTerraform(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := d.Name()
		left := strings.HasPrefix(name, ".terraform") || strings.Contains(name, ".tfstate") || name == "backend.tf" ||
			strings.Contains(name, ".tfvars") && !strings.HasPrefix(rel, "examples")
		switch {
		case d.IsDir() && left:
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o750)
		case left:
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // the project's own file
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o600) //nolint:gosec // below a folder of our own
	})
}
