package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/test/localaws"
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

func TestRequestsOfTheDeployedFunctionAreLeftOut(t *testing.T) {
	n := fromOutside([]localaws.Call{{Service: "ssm", Action: "GetParameter"}, {Service: "ssm", Action: "GetParameter"}, {Service: "ssm", Action: "GetParameter", Role: "arn:aws:iam::123456789012:role/firstline"}})
	if n != 2 {
		t.Errorf("got %d requests, want 2", n)
	}
}

func TestGrowthRatios(t *testing.T) {
	used := func(seconds float64, bytes int64) usage { return usage{CPUSeconds: seconds, PeakBytes: bytes} }
	one := growthFigure{size: size{1, 1}, resources: 54, requests: 110, plan: used(4, 1000), refresh: used(8, 1000)}
	many := growthFigure{size: size{1, 101}, resources: 256, requests: 610, plan: used(6, 1100), refresh: used(20, 2000)}
	want := []compared{
		{"growth/resources-per-instance", 2.02, 0},
		{"growth/requests-per-instance", 5, 0.02},
		{"growth/plan/101-over-1/cpu", 1.5, cpuMargin},
		{"growth/plan/101-over-1/memory", 1.1, memoryMargin},
		{"growth/refresh/101-over-1/cpu", 2.5, cpuMargin},
		{"growth/refresh/101-over-1/memory", 2, memoryMargin},
	}
	if diff := cmp.Diff(want, growthRatios(one, many)); diff != "" {
		t.Error(diff)
	}
}
