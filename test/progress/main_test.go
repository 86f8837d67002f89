package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const events = `{"ImportPath":"x/a [x/a.test]","Action":"build-output","Output":"a_test.go:1: undefined: x\n"}
{"ImportPath":"x/a [x/a.test]","Action":"build-fail"}
{"Action":"start","Package":"x/a"}
{"Action":"fail","Package":"x/a","Elapsed":0,"FailedBuild":"x/a [x/a.test]"}
{"Action":"run","Package":"x/b","Test":"TestB"}
{"Action":"output","Package":"x/b","Test":"TestB","Output":"parent\n"}
{"Action":"run","Package":"x/b","Test":"TestB/good"}
{"Action":"output","Package":"x/b","Test":"TestB/good","Output":"not needed\n"}
{"Action":"pass","Package":"x/b","Test":"TestB/good"}
{"Action":"output","Package":"x/b","Test":"TestB/bad","Output":"wrong\n"}
{"Action":"fail","Package":"x/b","Test":"TestB/bad"}
{"Action":"fail","Package":"x/b","Test":"TestB","Elapsed":1}
{"Action":"output","Package":"x/b","Test":"TestSkipped","Output":"needs nginx\n"}
{"Action":"skip","Package":"x/b","Test":"TestSkipped"}
{"Action":"pass","Package":"x/b","Test":"TestLong","Elapsed":12}
{"Action":"pass","Package":"x/b","Test":"TestShort","Elapsed":1}
{"Action":"run","Package":"x/b","Test":"TestCutOff"}
{"Action":"output","Package":"x/b","Test":"TestCutOff","Output":"where it was\n"}
{"Action":"run","Package":"x/b","Test":"TestCutOff/part"}
`

const end = `{"Action":"output","Package":"x/b","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"x/b","Elapsed":30}
no event
{"Action":"output","Package":"x/c","Output":"ok  \tx/c\t(cached)\n"}
{"Action":"pass","Package":"x/c"}`

// TestReport has it read a run with all that can happen.
func TestReport(t *testing.T) {
	var out strings.Builder
	r := &report{out: &out, runs: map[string]bool{}, printed: map[string][]string{}}
	r.read(strings.NewReader(events))
	r.skipped, r.failed = "", "" // as if it were not the end yet
	out.Reset()
	r.said = r.said.Add(-long)
	r.tick()
	r.read(strings.NewReader(end))
	want := "      x/b TestCutOff/part\nFAIL  x/b (30.0 s)\nno event\nok    x/c (cached)\n\npanic: test timed out\nwhere it was\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("cut off (-want +got):\n%s", diff)
	}
	out.Reset()
	r.failed = ""
	r.read(strings.NewReader(events))
	want = "FAIL  x/a (0.0 s)\nFAIL  x/b TestB (1.0 s)\nok    x/b TestLong (12.0 s)\n\nneeds nginx\n\na_test.go:1: undefined: x\nwrong\nparent\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("to the end (-want +got):\n%s", diff)
	}
}
