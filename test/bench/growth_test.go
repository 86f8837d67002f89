package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/localaws"
)

func TestInPlan(t *testing.T) {
	const text = `
Terraform will perform the following actions:

  # module.eu-west-1[0].module.watch.aws_ssm_parameter.settings["i-00000000000000001"] will be created
  + resource "aws_ssm_parameter" "settings" {
    }

  # module.eu-west-1[0].module.watch.aws_ssm_parameter.settings["i-0.will be created"] will be created
  # module.eu-west-1[0].module.table.aws_dynamodb_table.incidents will be created
  # aws_iam_policy.exact[3] will be created
  # module.eu-west-1[0].data.aws_region.current will be read during apply

Plan: 4 to add, 0 to change, 0 to destroy.
`
	for _, tt := range []struct {
		name, text string
		total      int
		types      map[string]int
		err        string
	}{
		{"all kinds", text, 4, map[string]int{"aws_ssm_parameter": 2, "aws_dynamodb_table": 1, "aws_iam_policy": 1}, ""},
		{"a change", strings.ReplaceAll(text, "0 to change", "1 to change"), 0, nil, "the plan does not say that it only adds"},
		{"nothing to do", "No changes. Your infrastructure matches the configuration.\n", 0, nil, "the plan does not say that it only adds: No changes."},
		{"one is not listed", strings.ReplaceAll(text, "Plan: 4", "Plan: 5"), 0, nil, "the plan says 5 resources and lists 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			total, types, err := inPlan(tt.text)
			if tt.err != "" {
				if !strings.Contains(errorText(err), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || total != tt.total {
				t.Errorf("got %d, %v", total, err)
			}
			if diff := cmp.Diff(tt.types, types); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCountCallsLeavesOutTheDeployedFunction(t *testing.T) {
	n, actions := countCalls([]localaws.Call{
		{Service: "ssm", Action: "GetParameter"},
		{Service: "ssm", Action: "GetParameter"},
		{Service: "cloudwatch", Action: "DescribeAlarms"},
		{Service: "cloudwatch", Action: "DescribeAlarms", Role: "arn:aws:iam::123456789012:role/firstline"},
	})
	if diff := cmp.Diff(map[string]int{"ssm:GetParameter": 2, "cloudwatch:DescribeAlarms": 1}, actions); n != 3 || diff != "" {
		t.Errorf("got %d\n%s", n, diff)
	}
}

func grown(n, resources, requests int, seconds float64) growthFigure {
	return growthFigure{
		Instances: n, Resources: resources, Requests: requests, ApplyRequests: 2 * requests,
		Types:   map[string]int{"aws_b": n, "aws_a": n, "aws_c": 1},
		Actions: map[string]int{"ssm:GetParameter": 3 * n, "iam:GetRole": 1},
		Plan:    used(seconds, 1000e6), Apply: used(3*seconds, 1100e6), Refresh: used(2*seconds, 1200e6),
	}
}

func TestGrowth(t *testing.T) {
	of := growthFigures{Region: growthRegion, Sizes: []growthFigure{grown(1, 54, 110, 4), grown(1000, 2072, 5105, 44.95)}}
	of.each()
	if of.ResourcesEach != 2.02 || of.RequestsEach != 5 {
		t.Errorf("an instance: %g resources, %g requests; want 2.02 and 5", of.ResourcesEach, of.RequestsEach)
	}
	wantRatios := []compared{
		{"growth/resources-per-instance", 2.02, 0},
		{"growth/requests-per-instance", 5, 0.02},
		{"growth/plan/1000-over-1/cpu", 22.475 / 2, cpuMargin},
		{"growth/plan/1000-over-1/memory", 1, memoryMargin},
		{"growth/refresh/1000-over-1/cpu", 44.95 / 4, cpuMargin},
		{"growth/refresh/1000-over-1/memory", 1, memoryMargin},
	}
	if diff := cmp.Diff(wantRatios, of.ratios()); diff != "" {
		t.Error(diff)
	}
	if got, want := of.dominates(), "Of 1000 instances most resources are aws_a 1000, aws_b 1000, and most requests of a refresh ssm:GetParameter 3000, iam:GetRole 1."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	wantTargets := []string{"2.02, and 5.00 requests a refresh: yes", "45.0 s the first, 89.9 s a refresh: yes"}
	if diff := cmp.Diff(wantTargets, verdicts(of.targets())); diff != "" {
		t.Error(diff)
	}
	of.Sizes[1] = grown(1000, 3052, 5105, 45)
	of.each()
	wantTargets = []string{"3.00, and 5.00 requests a refresh: **no**", "45.0 s the first, 90.0 s a refresh: **no**"}
	if diff := cmp.Diff(wantTargets, verdicts(of.targets())); diff != "" {
		t.Error(diff)
	}
	for _, table := range of.tables() {
		for _, r := range table.Rows {
			if len(r) != len(table.Head) {
				t.Errorf("%d cells below %d heads: %v", len(r), len(table.Head), r)
			}
		}
	}
	t.Run("one size alone", func(t *testing.T) {
		of := growthFigures{Sizes: []growthFigure{grown(1, 54, 110, 4)}}
		of.each()
		if diff := cmp.Diff([]string{"-: not measured", "-: not measured"}, verdicts(of.targets())); diff != "" || of.ratios() != nil {
			t.Errorf("%v\n%s", of.ratios(), diff)
		}
	})
}

// verdicts are what was measured of targets, and whether that is enough.
func verdicts(targets []target) (all []string) {
	for _, g := range targets {
		all = append(all, g.Measured+": "+g.verdict())
	}
	return all
}
