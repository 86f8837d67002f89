package test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gruntwork-io/terratest/modules/terraform"

	"firstline/internal/deployed"
	"firstline/internal/localaws"
	"firstline/internal/old/incident"
	"firstline/internal/probe"
	"firstline/internal/stage"
)

// TestVerify tries a deployment without touching it: a healthy instance, and one
// whose web server refuses.
func TestVerify(t *testing.T) {
	t.Parallel()
	w := world(t)
	var well, down *stage.Instance
	for _, i := range []**stage.Instance{&well, &down} {
		var err error
		if *i, err = w.AddInstance(t.Context(), home); err != nil {
			t.Fatal(err)
		}
	}
	if err := down.SetHTTP(stage.Refuse); err != nil {
		t.Fatal(err)
	}
	const healthCheck = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"
	w.AWS.SetHealthCheck(healthCheck, reports(8)...)
	overrides := map[string]map[string]any{well.ID: {"route53": map[string]any{"health_check_id": healthCheck, "attempts": 1}}}
	dir, err := w.CopyRoot(w.Variables(overrides, well, down))
	if err != nil {
		t.Fatal(err)
	}
	options := terraformOptions(w, dir)
	terraform.InitAndApplyContext(t, t.Context(), options)
	regions, err := deployed.Decode(map[string]json.RawMessage{home: json.RawMessage(terraform.OutputJSONContext(t, t.Context(), options, home))})
	if err != nil {
		t.Fatal(err)
	}
	region, ok := regions[home]
	if !ok || !slices.Contains(region.InstanceIDs, well.ID) || region.Alarm(well.ID) == "" {
		t.Fatalf("deployed: %+v", regions)
	}
	cfg := w.AWS.Config(other)

	t.Run("verify", func(t *testing.T) {
		v := probe.NewVerifier(cfg).Verify(t.Context(), region, nil)
		want := map[string]string{
			home + " " + well.ID + " url": "passed", home + " " + well.ID + " route53": "passed", home + " " + well.ID + " ssh": "passed", home + " " + well.ID + " reboot": "passed", home + " " + well.ID + " baseline": "passed",
			home + " " + down.ID + " url": "failed", home + " " + down.ID + " route53": "skipped", home + " " + down.ID + " ssh": "passed", home + " " + down.ID + " reboot": "passed", home + " " + down.ID + " baseline": "passed",
			home + " slack": "passed", home + " opsgenie": "passed",
		}
		if diff := cmp.Diff(want, flat([]probe.Verification{v})); diff != "" {
			t.Errorf("(-want +got):\n%s\n%+v", diff, v)
		}
		if !v.Failed() || v.Broken() {
			t.Errorf("failed %v, broken %v", v.Failed(), v.Broken())
		}
		for _, i := range v.Instances {
			if i.ID == down.ID && !strings.Contains(i.Checks[0].Reason, "refused") {
				t.Errorf("the reason is %q", i.Checks[0].Reason)
			}
		}
	})
	t.Run("verify without the right to reboot", func(t *testing.T) {
		fault := w.AWS.AddFault(localaws.Fault{Service: "ec2", Action: "RebootInstances", Contains: well.ID, Status: 403, Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation."})
		defer fault.Remove()
		v := probe.NewVerifier(cfg).Verify(t.Context(), region, nil)
		for _, i := range v.Instances {
			if c := i.Checks[3]; i.ID == well.ID && (c.Result != probe.Errored || !strings.HasPrefix(c.Reason, "Denied: ")) {
				t.Errorf("%+v", c)
			}
		}
		if !v.Broken() || v.Error != "" || fault.Hits() != 1 {
			t.Errorf("broken %v, %q, the fault struck %d times", v.Broken(), v.Error, fault.Hits())
		}
	})
	t.Run("verify a function that is gone", func(t *testing.T) {
		gone := region
		gone.FunctionARN += "99"
		if v := probe.NewVerifier(cfg).Verify(t.Context(), gone, nil); !strings.Contains(v.Error, "ResourceNotFoundException") {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a canary that is well", func(t *testing.T) {
		var told []string
		r := probe.Canary(t.Context(), cfg, region, well.ID, func(state string) { told = append(told, state) })
		if !r.OK || r.Status != "SUCCEEDED" || r.EndState != "All good" || len(r.Findings) != 3 || len(r.Suppressed) != 0 {
			t.Errorf("%+v\n%s", r, strings.Join(told, "\n"))
		}
		if len(told) < 6 {
			t.Errorf("told %q", told)
		}
	})
	t.Run("a canary that is down", func(t *testing.T) {
		r := probe.Canary(t.Context(), cfg, region, down.ID, nil)
		if r.OK || r.EndState != "Paged" || !strings.HasPrefix(r.Reason, down.ID+" would have been rebooted: url: ") || !strings.Contains(r.Reason, "refused") {
			t.Errorf("%+v", r)
		}
		var left []string
		for _, s := range r.Suppressed {
			left = append(left, s.Action)
		}
		if diff := cmp.Diff([]string{incident.ActionReboot, incident.ActionPage, incident.ActionSlack}, left); diff != "" {
			t.Errorf("suppressed (-want +got):\n%s", diff)
		}
	})
	t.Run("the commands", func(t *testing.T) {
		env := environ(w.Environment())
		out := startCommand(t, env, "", "verify", "--dir", dir).wait()
		if out.code != 1 {
			t.Errorf("verify: exit code %d", out.code)
		}
		for _, want := range []string{"REGION", "FAILED", "PAGER", "BASELINE", home + " " + down.ID + ": URL: failed: ", "refused", "2 instances, 1 would fail"} {
			if !strings.Contains(out.stdout, want) {
				t.Errorf("verify does not say %q:\n%s", want, out.stdout)
			}
		}
		if out = startCommand(t, env, "", "verify", "--dir", dir, "--instance", well.ID).wait(); out.code != 0 || strings.Contains(out.stdout, down.ID) {
			t.Errorf("verify --instance: exit code %d:\n%s%s", out.code, out.stdout, out.stderr)
		}
		for _, tt := range []struct{ args, want string }{
			{"verify --instance i-0a1b2c3d", "i-0a1b2c3d: not watched in " + home},
			{"verify --region " + other, other + ": not deployed; deployed are " + home},
			{"verify --exclude-region " + home, "no region is left"},
		} {
			if out := startCommand(t, env, "", append(strings.Fields(tt.args), "--dir", dir)...).wait(); out.code != 2 || !strings.Contains(out.stderr, tt.want) {
				t.Errorf("%s: exit code %d, want 2 and %q:\n%s%s", tt.args, out.code, tt.want, out.stdout, out.stderr)
			}
		}
		out = startCommand(t, env, "", "output", "--dir", dir).wait()
		if out.code != 0 || !strings.Contains(out.stdout, region.StateMachineARN) || !strings.Contains(out.stdout, "#/functions/"+region.FunctionName) {
			t.Errorf("output: exit code %d:\n%s%s", out.code, out.stdout, out.stderr)
		}
		undeployed, err := w.CopyRoot(w.Variables(nil, well))
		if err != nil {
			t.Fatal(err)
		}
		if out := startCommand(t, env, "", "verify", "--dir", undeployed).wait(); out.code != 2 || !strings.Contains(out.stderr, "nothing is deployed") {
			t.Errorf("verify of nothing: exit code %d:\n%s%s", out.code, out.stdout, out.stderr)
		}
		if out := startCommand(t, env, "", "output", "--dir", undeployed).wait(); out.code != 0 || !strings.Contains(out.stdout, home+"  not deployed") {
			t.Errorf("output of nothing: exit code %d:\n%s%s", out.code, out.stdout, out.stderr)
		}
	})
	operate(t, w, dir, region, well, down)

	if n := len(w.AWS.Reboots()); n != 0 {
		t.Errorf("%d reboots: %+v", n, w.AWS.Reboots())
	}
	for _, m := range slices.Concat(w.Slack.Received(), w.Pager.Received()) {
		t.Errorf("somebody was told: %s", m.Text)
	}
}
