package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVertexTimes(t *testing.T) {
	const log = `2026-11-23T18:00:00.000Z [INFO]  Terraform version: 1.11.4
2026-11-23T18:00:00.100Z [TRACE] vertex "module.settings.local.checked (expand)": starting visit (*terraform.nodeExpandLocal)
2026-11-23T18:00:00.110Z [TRACE] vertex "module.a[0].aws_x.y[\"i-1\"]": starting visit (*terraform.NodePlannableResourceInstance)
2026-11-23T18:00:00.120Z [TRACE] vertex "module.a[0].aws_x.y[\"i-2\"]": starting visit (*terraform.NodePlannableResourceInstance)
a line that belongs to another
2026-11-23T18:00:00.130Z [TRACE] vertex "module.a[0].aws_x.y[\"i-1\"]": visit complete
2026-11-23T18:00:00.150Z [TRACE] vertex "module.a[0].aws_x.y[\"i-2\"]": visit complete
2026-11-23T18:00:01.100Z [TRACE] vertex "module.settings.local.checked (expand)": visit complete
2026-11-23T18:00:02.100Z [TRACE] vertex "never begun": visit complete
2026-11-23T18:00:02.200Z [TRACE] vertex "again": starting visit (*x)
2026-11-23T18:00:02.300Z [TRACE] vertex "again": visit complete
2026-11-23T18:00:02.400Z [TRACE] vertex "again": starting visit (*x)
2026-11-23T18:00:02.450Z [TRACE] vertex "again": visit complete`
	got, err := vertexTimes(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"module.settings.local.checked (expand)": 1000, "module.a.aws_x.y": 50, "again": 150}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestInitTimes(t *testing.T) {
	got := initTimes("init internal/bytealg @0.008 ms, 0.25 ms clock, 0 bytes, 0 allocs\nelse\ninit runtime @0.05 ms, 0.5 ms clock, 1 bytes, 2 allocs\n")
	if diff := cmp.Diff(map[string]float64{"internal/bytealg": 0.25, "runtime": 0.5}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPrintTop(t *testing.T) {
	var b strings.Builder
	if err := printTop(&b, "T", map[string]float64{"b": 1, "a": 1, "c": 2.345}); err != nil {
		t.Fatal(err)
	}
	if want := "\n== T\n\n      2.35  c\n      1.00  a\n      1.00  b\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
