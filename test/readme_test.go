package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestREADMENames: README names every metric of the function, every alarm on the
// first line itself, and every setting of an instance.
func TestREADMENames(t *testing.T) {
	file := func(path string) string {
		text, err := os.ReadFile(filepath.Join(root(t), path)) //nolint:gosec // the project's own file
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	readme := file("README.md")
	want := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\tmetric\w+ += "(\w+)"$`).FindAllStringSubmatch(file("internal/old/handler/metrics.go"), -1) {
		want[m[1]]++
	}
	metrics := len(want)
	monitor := file("terraform/modules/monitor/main.tf")
	for _, m := range regexp.MustCompile(`(?m)^    ([a-z-]+) = \{$`).FindAllStringSubmatch(monitor, -1) {
		want[m[1]]++
	}
	for _, kind := range []string{"rule-alarm-failed", "rule-ok-failed", "rule-canary-failed", "rule-sweep-failed", "sweep-missing"} {
		want[kind]++
	}
	alarms := len(want) - metrics
	section := ""
	for line := range strings.Lines(file("terraform/modules/settings/schema.tf")) {
		if m := regexp.MustCompile(`(?m)^    (\w+) = \{$`).FindStringSubmatch(line); m != nil {
			section = m[1]
		}
		m := regexp.MustCompile(`^      (\w+) += \{ kind`).FindStringSubmatch(line)
		if m != nil && section != "slack" && section != "function" {
			want[section+"."+m[1]]++
		}
	}
	if settings := len(want) - metrics - alarms; metrics < 9 || alarms != 16 || settings < 40 {
		t.Errorf("%d metrics, %d alarms, %d settings: they are written otherwise than this test reads them", metrics, alarms, settings)
	}
	for name := range want {
		if !strings.Contains(readme, "`"+name+"`") {
			t.Errorf("README.md does not name %s", name)
		}
	}
}
