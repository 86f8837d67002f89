package cli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/coverage"
)

func TestCoverage(t *testing.T) {
	gone := coverageFinding{"eu-west-1", coverage.Finding{Kind: coverage.Gone, InstanceID: "i-0a1b2c3d", What: "EC2 does not know it", Do: "remove it"}}
	capped := coverageFinding{"us-east-1", coverage.Finding{Kind: coverage.Credits, InstanceID: "i-1a1b2c3d", What: "may be capped", Do: "pay", Warning: true}}
	down := []regionError{{"us-east-1", "no answer in time"}}
	for _, tt := range []struct {
		name   string
		result coverageResult
		want   string
		err    string
		found  bool // exit code 3
	}{
		{"nothing", coverageResult{}, "nothing found: every instance is watched as it should be\n", "", false},
		{"a warning", coverageResult{Findings: []coverageFinding{capped}}, "us-east-1 i-1a1b2c3d: warning: may be capped: pay\n", "", false},
		{"a finding", coverageResult{Findings: []coverageFinding{gone, capped}}, "eu-west-1 i-0a1b2c3d: EC2 does not know it: remove it\nus-east-1 i-1a1b2c3d: warning: may be capped: pay\n", "1 finding: see above", true},
		{"a region that does not answer", coverageResult{Findings: []coverageFinding{gone}, Errors: down}, "eu-west-1 i-0a1b2c3d: EC2 does not know it: remove it\n\nus-east-1: no answer in time\n", "what is watched could not be compared in us-east-1: see above", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := printCoverage(&out, tt.result)
			said := ""
			if err != nil {
				said = err.Error()
			}
			_, found := errors.AsType[gapsError](err)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" || said != tt.err || found != tt.found {
				t.Errorf("%q, %t (-want +got):\n%s", said, found, diff)
			}
		})
	}
}
