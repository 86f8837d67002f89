package rollout

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/regions"
	"firstline/internal/tfstream"
)

// held makes a Root of a regions.tf with these regions.
func held(t *testing.T, names ...string) *Root {
	t.Helper()
	source, err := regions.Render(names)
	if err != nil {
		t.Fatal(err)
	}
	return &Root{
		silence: time.Minute,
		o:       Options{Dir: "terraform", Tell: func(Status) {}}, source: source, providers: names,
		status: map[string]*Status{}, errors: map[string][]string{}, warned: map[string]bool{},
	}
}

// diagnostic decodes one as Terraform writes it.
func diagnostic(t *testing.T, text string) *tfstream.Diagnostic {
	t.Helper()
	d := new(tfstream.Diagnostic)
	if err := json.Unmarshal([]byte(text), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRegionOf(t *testing.T) {
	r := held(t, "eu-west-1", "us-east-1")
	for address, want := range map[string]string{
		"module.eu-west-1[0].module.function.aws_iam_role.function": "eu-west-1",
		"module.us-east-1.module.function.aws_iam_role.function":    "us-east-1",
		"module.eu-west-1[0]": "eu-west-1",
		`provider["registry.terraform.io/hashicorp/aws"].us-east-1`:                 "us-east-1",
		"module.settings.terraform_data.x":                                          "",
		"module.eu-west-2[0].aws_sqs_queue.q":                                       "",
		"aws_instance.web":                                                          "",
		`module.eu-west-1[0].module.watch.aws_ssm_parameter.settings["i-0a1b2c3d"]`: "eu-west-1",
		"": "",
	} {
		if got := r.regionOf(address); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}

// TestRegionOfEveryLine walks regions.tf: whichever line of a region's blocks a
// diagnostic names, it is that region's.
func TestRegionOfEveryLine(t *testing.T) {
	r := held(t, "eu-west-1", "eu-west-2", "us-east-1")
	in, found := "", map[string]int{}
	for n, line := range strings.Split(string(r.source), "\n") {
		if strings.HasPrefix(line, `provider "aws"`) {
			in = "next"
		}
		if m := block.FindStringSubmatch(line); m != nil {
			in = m[1] + m[2]
		}
		if in == "" || in == "next" || strings.TrimSpace(line) == "" || strings.TrimSpace(line) == "}" {
			continue
		}
		var d tfstream.Diagnostic
		raw := `{"severity":"error","range":{"filename":"regions.tf","start":{"line":` + string(mustJSON(t, n+1)) + `}}}`
		if err := json.Unmarshal([]byte(raw), &d); err != nil {
			t.Fatal(err)
		}
		if got := r.regionOfDiagnostic(&d); got != in {
			t.Errorf("line %d (%s): got %q, want %q", n+1, line, got, in)
		}
		found[in]++
	}
	if len(found) != 3 {
		t.Errorf("the walk found %v", found)
	}
	// The line that a provider's block begins with is its own, too.
	for n, line := range strings.Split(string(r.source), "\n") {
		if !strings.HasPrefix(line, `provider "aws"`) {
			continue
		}
		d := diagnostic(t, `{"severity":"error","range":{"filename":"regions.tf","start":{"line":`+string(mustJSON(t, n+1))+`}}}`)
		if got := r.regionOfDiagnostic(d); !strings.Contains(strings.Split(string(r.source), "\n")[n+1], `"`+got+`"`) || got == "" {
			t.Errorf("line %d: got %q", n+1, got)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSort(t *testing.T) {
	r := held(t, "eu-west-1", "us-east-1")
	region := `{"severity":"error","summary":"creating SQS Queue","detail":"503","address":"module.eu-west-1[0].module.trigger.aws_sqs_queue.dead_letter"}`
	lock := `{"severity":"error","summary":"Error acquiring the state lock","detail":"Error message: resource temporarily unavailable\nLock Info:\n  ID:        0e1d\n  Path:      terraform.tfstate\n  Operation: OperationTypeApply\n  Who:       ann@desk\n  Version:   1.11.4\n  Created:   2026-11-23 10:00:00.1 +0000 UTC\n  Info:      \n\n\nTerraform acquires a state lock"}`
	ours := `{"severity":"error","summary":"Invalid value for variable","detail":"regions: name at least one.\n\nThis was checked by the validation rule at variables.tf:12,3-13."}`
	for _, tt := range []struct {
		name  string
		said  []string
		want  map[string][]string
		says  string
		busy  bool
		noErr bool
	}{
		{name: "nothing", want: map[string][]string{}, noErr: true},
		{name: "a region's", said: []string{region}, noErr: true, want: map[string][]string{
			"eu-west-1": {"creating SQS Queue: 503\n  with module.eu-west-1[0].module.trigger.aws_sqs_queue.dead_letter"},
		}},
		{name: "a lock", said: []string{lock}, busy: true, says: "the state is locked: ann@desk is at Apply since 2026-11-23 10:00:00; wait until that has ended, or, if it never will, run `terraform force-unlock 0e1d` in terraform; this plan was not applied"},
		{name: "stale", said: []string{`{"severity":"error","summary":"Saved plan is stale","detail":"x"}`}, busy: true, says: "somebody else has applied since this plan was made, so it was not applied: run this again"},
		{name: "settings", said: []string{ours, region}, says: "regions: name at least one."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var said []*tfstream.Diagnostic
			for _, text := range tt.said {
				said = append(said, diagnostic(t, text))
			}
			failed, err := r.sort(said, r.providers)
			if tt.noErr {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, failed); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				return
			}
			if err == nil || err.Error() != tt.says {
				t.Errorf("got  %v\nwant %s", err, tt.says)
			}
			if _, busy := errors.AsType[busyError](err); busy != tt.busy {
				t.Errorf("busy: %v", busy)
			}
		})
	}
}

func TestTidy(t *testing.T) {
	in := errors.New("exit status 1\n╷\n│ Error: Failed to query available provider packages\n│ \n│ Could not retrieve the list\n╵\n") //nolint:revive // as terraform-exec returns it
	if got, want := tidy(in).Error(), "Failed to query available provider packages Could not retrieve the list"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTargets(t *testing.T) {
	r := held(t, "eu-west-1", "us-east-1")
	r.all = []string{"eu-west-1", "us-east-1"}
	if got := r.targets([]string{"us-east-1", "eu-west-1"}); got != nil {
		t.Errorf("all: got %v, want none", got)
	}
	if diff := cmp.Diff([]string{"module.us-east-1"}, r.targets([]string{"us-east-1"})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name          string
		only, exclude []string
		want          []string
		says          string
	}{
		{name: "all", want: []string{"eu-west-1", "us-east-1"}},
		{name: "one", only: []string{"us-east-1"}, want: []string{"us-east-1"}},
		{name: "all but one", exclude: []string{"us-east-1"}, want: []string{"eu-west-1"}},
		{name: "unknown", only: []string{"eu-west-2"}, says: "--region: eu-west-2: neither in the var files nor in the state; there are eu-west-1, us-east-1"},
		{name: "unknown exclusion", exclude: []string{"eu-west-2"}, says: "--exclude-region: eu-west-2: neither"},
		{name: "both", only: []string{"us-east-1"}, exclude: []string{"us-east-1"}, says: "us-east-1: given with both --region and --exclude-region"},
		{name: "none left", exclude: []string{"us-east-1", "eu-west-1"}, says: "no region is left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := held(t, "eu-west-1", "us-east-1")
			r.all = []string{"eu-west-1", "us-east-1"}
			r.o.Regions, r.o.Exclude = tt.only, tt.exclude
			err := r.choose()
			if tt.says != "" {
				if _, ok := errors.AsType[InputError](err); !ok || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want an InputError with %q", err, tt.says)
				}
				return
			}
			if diff := cmp.Diff(tt.want, r.Chosen()); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}
