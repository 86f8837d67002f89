// Package contract tests what two parts must agree on and no compiler compares:
// the definition, the function, Terraform and the documentation. It needs neither
// AWS nor the local one.
package contract

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/handler"
	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/toolchain"
	"firstline/test/asl"
)

// root is the project's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// file is the text of a file of the project.
func file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// functionARN is that of a published version.
const functionARN = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:1"

// definition is the definition as Terraform deploys it.
func definition(t *testing.T) (*asl.Machine, []byte) {
	t.Helper()
	text, err := asl.Render(root(t), asl.Vars{FunctionARN: functionARN, TimeoutSeconds: 21600})
	if err != nil {
		t.Fatal(err)
	}
	m, err := asl.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	return m, text
}

// TestEveryStepIsCalled: by the definition, the schedule or the operator's command,
// and none of them calls a step that does not exist.
func TestEveryStepIsCalled(t *testing.T) {
	called := []string{"reconcile", "coverage", "channels", "verify", "explain", "notify-test", "probe"} // probe by other regions: cmd/responder
	if !strings.Contains(file(t, "terraform/modules/trigger/main.tf"), `{ step = "reconcile" }`) {
		t.Error("the schedule does not call reconcile")
	}
	m, _ := definition(t)
	for name, s := range m.States {
		if s.Type != "Task" {
			continue
		}
		var parameters struct{ Payload struct{ Step string } }
		if err := json.Unmarshal(s.Parameters, &parameters); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		called = append(called, parameters.Payload.Step)
	}
	slices.Sort(called)
	if diff := cmp.Diff(handler.Steps(), slices.Compact(called)); diff != "" {
		t.Errorf("steps (-handler +callers):\n%s", diff)
	}
}

// serviceErrors are the error names of Step Functions
// (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html)
// and of Lambda's Invoke
// (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors).
var serviceErrors = []string{
	"States.ALL",
	"Lambda.AWSLambdaException", "Lambda.ClientExecutionTimeoutException", "Lambda.EC2ThrottledException",
	"Lambda.EC2UnexpectedException", "Lambda.ENILimitReachedException", "Lambda.ResourceConflictException",
	"Lambda.ResourceNotReadyException", "Lambda.SdkClientException", "Lambda.ServiceException",
	"Lambda.SubnetIPAddressLimitReachedException", "Lambda.TooManyRequestsException",
}

// A retry of an error that nothing raises never happens.
func TestEveryErrorExists(t *testing.T) {
	known := slices.Concat(serviceErrors, []string{string(fault.InvalidInput), string(fault.Denied), string(fault.Unavailable), string(fault.Internal)})
	m, _ := definition(t)
	for name, s := range m.States {
		for _, r := range s.Retry {
			for _, e := range r.ErrorEquals {
				if !slices.Contains(known, e) {
					t.Errorf("%s: nothing raises an error named %q", name, e)
				}
			}
		}
	}
}

// constants are the texts of a package's constants whose names begin with a prefix,
// in the order of the source.
func constants(t *testing.T, path, prefix string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), path, file(t, path), parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			if value, err := strconv.Unquote(literal.Value); err == nil {
				values = append(values, value)
			}
		}
		return true
	})
	if len(values) < 3 {
		t.Fatalf("%s: only %v begin with %s", path, values, prefix)
	}
	return values
}

const (
	monitorFile = "terraform/modules/monitor/main.tf"
	metricsFile = "handler/metrics.go"
)

// The dashboard draws what the function counts.
func TestDashboardDrawsWhatIsCounted(t *testing.T) {
	monitor := file(t, monitorFile)
	for list, want := range map[string][]string{
		"checks": incident.Checks,
		"guards": constants(t, "internal/policy/guard.go", "Guard"),
	} {
		m := regexp.MustCompile(`(?m)^  ` + list + ` += (\[.*\])$`).FindStringSubmatch(monitor)
		if m == nil {
			t.Errorf("%s has no list %s", monitorFile, list)
			continue
		}
		var got []string
		if err := json.Unmarshal([]byte(m[1]), &got); err != nil {
			t.Errorf("%s: %v", list, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-code +dashboard):\n%s", list, diff)
		}
	}
	drawn := all(monitor, `\[local\.namespace, "(\w+)"`)
	counted := constants(t, metricsFile, "metric")
	slices.Sort(counted)
	if diff := cmp.Diff(counted, drawn); diff != "" {
		t.Errorf("metrics (-%s +dashboard):\n%s", metricsFile, diff)
	}
	if !strings.Contains(monitor, `namespace        = "`+handler.Namespace+`"`) {
		t.Errorf("the dashboard's namespace is not %s", handler.Namespace)
	}
}

// all are the texts of the first group of each match, sorted, each once.
func all(text, pattern string) []string {
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}
