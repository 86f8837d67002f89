package contract

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestDefinitionPassesCfnLint(t *testing.T) {
	program, err := exec.LookPath("cfn-lint")
	if err != nil || testing.Short() {
		t.Skip("it takes seconds, and needs cfn-lint on PATH: pip install cfn-lint")
	}
	_, text := definition(t)
	var right, wrong map[string]any
	if err := errors.Join(json.Unmarshal(text, &right), json.Unmarshal(text, &wrong)); err != nil {
		t.Fatal(err)
	}
	// It must be able to find something.
	delete(wrong["States"].(map[string]any)["Check URL"].(map[string]any), "Resource")
	machine := func(d map[string]any) any {
		return map[string]any{
			"Type":       "AWS::StepFunctions::StateMachine",
			"Properties": map[string]any{"RoleArn": "arn:aws:iam::123456789012:role/firstline", "Definition": d},
		}
	}
	template, err := json.Marshal(map[string]any{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Resources":                map[string]any{"Right": machine(right), "Wrong": machine(wrong)},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(path, template, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "--format", "json", "--regions", "us-east-1", "--template", path).Output() //nolint:gosec // a linter found on PATH
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	} else if ok && len(exit.Stderr) > 0 {
		t.Fatalf("cfn-lint: %s", exit.Stderr)
	}
	var found []struct {
		Message  string
		Location struct{ Path []any }
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(found) != 1 || found[0].Message != "'Resource' is a required property" || found[0].Location.Path[1] != "Wrong" {
		t.Errorf("cfn-lint finds %+v, want the Resource that one of both lacks", found)
	}
}
