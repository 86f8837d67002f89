package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firstline/internal/definition"
)

// rendered is a definition as modules/workflow deploys it.
func rendered(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), file)) //nolint:gosec // the project's own file
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer(
		"${partition}", "aws",
		"${all_clear_arn}", "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline-all-clear",
		"${function_arn}", "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:1",
	).Replace(string(text))
	var d map[string]any
	if err := json.Unmarshal([]byte(filled), &d); err != nil {
		t.Fatal(err)
	}
	d["TimeoutSeconds"] = 7200
	return d
}

func TestDefinitionPassesCfnLint(t *testing.T) {
	program, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not on PATH: pip install cfn-lint")
	}
	lint := func(d map[string]any) (string, error) {
		t.Helper()
		template, err := json.Marshal(map[string]any{
			"AWSTemplateFormatVersion": "2010-09-09",
			"Resources": map[string]any{"Machine": map[string]any{
				"Type":       "AWS::StepFunctions::StateMachine",
				"Properties": map[string]any{"RoleArn": "arn:aws:iam::123456789012:role/firstline", "Definition": d},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "template.json")
		if err := os.WriteFile(path, template, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), program, "--regions", "us-east-1", "--template", path).CombinedOutput() //nolint:gosec // a linter found on PATH
		return string(out), err
	}
	for _, file := range []string{definition.File, definition.AllClearFile} {
		if out, err := lint(rendered(t, file)); err != nil {
			t.Errorf("cfn-lint of %s: %v\n%s", file, err, out)
		}
	}
	d := rendered(t, definition.File)
	// It must be able to find something.
	delete(d["States"].(map[string]any)["Check URL"].(map[string]any), "Resource")
	if out, err := lint(d); err == nil || !strings.Contains(out, "'Resource' is a required property") {
		t.Errorf("cfn-lint does not miss a Task's resource: %v\n%s", err, out)
	}
}
